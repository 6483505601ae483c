"""``watch``: what it raises for and what it says; with NumPy's arrays, as all libraries do."""

import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent

from xentcli.bridge import save
from xentcli.bridge.options import MEMORY, BadLoss, BadLossWarning
from xentcli.bridge.watch import watch
from xentcli.errors import XentError

inf, nan = math.inf, math.nan
N, C = 64, 10


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xentcli.bridge.capture.FILES", save.Files())
    for remembered in (MEMORY.calls, MEMORY.good, MEMORY.rows):
        remembered.clear()


def batch() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.normal(size=(N, C)).astype(np.float32), random.integers(0, C, N)


def loss_of(x: Any, k: Any, *, is_naive: bool = False) -> Any:
    """Return the mean of the losses of rows that are not ignored; a label that is no class wraps."""
    rows = k != -100
    x, k = x[rows].astype(np.float32), k[rows] % x.shape[1]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_naive:
            e = np.exp(x - x.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
            return -(np.eye(x.shape[1], dtype=np.float32)[k] * np.log(p)).sum(axis=1).mean()
        top = x.max(axis=1, keepdims=True)
        return (np.log(np.exp(x - top).sum(axis=1)) - (x - top)[np.arange(len(k)), k]).mean()


def changed(row: int, column: int | None, value: float) -> tuple[Any, Any]:
    """Return the batch with a logit, or without a column a label, set to a value."""
    x, k = batch()
    if column is None:
        k[row] = value
    else:
        x[row, column] = value
    return x, k


BAD = {
    "infinite": (*changed(12, 7, inf), "loss is nan: infinite-logit in 1 of 64 rows (row 12, class 7)"),
    "nan": (*changed(5, 2, nan), "loss is nan: nan-logit in 1 of 64 rows (row 5, class 2)"),
    "label": (
        *changed(9, None, 77),
        "but means nothing: label-out-of-range in 1 of 64 rows (row 9, label 77)",
    ),
    "ignored": (
        batch()[0],
        np.full(N, -100),
        "loss is nan: empty-mean, all 64 labels are ignored (-100)",
    ),
    "weights": (
        np.full((N, C), nan, np.float32),
        batch()[1],
        "loss is nan: nan-logit in every row of 64: the fault lies before the loss, in the weights",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_loss_is_raised_with_its_cause_and_saved(xent: Xent, name: str) -> None:
    x, k, said = BAD[name]

    with pytest.raises(BadLoss) as raised:
        watch(loss_of(x, k), x, k, step=812)

    message, path = str(raised.value), "xent-000812.npz"
    assert message.startswith("step 812: loss is ")
    assert said in message
    assert message.endswith(f"; saved {path}; look: xent diagnose {path}")
    assert (raised.value.step, raised.value.rank, raised.value.path) == (812, None, path)
    run = xent("diagnose", path, "--format", "json")
    findings = [each["finding"] for each in json.loads(run.out)["findings"] if each["severity"] == "broken"]
    assert tuple(findings) == raised.value.findings
    assert sorted(entry.name for entry in Path().iterdir()) == [path]


def test_a_good_loss_is_returned_as_it_is_and_nothing_is_written() -> None:
    x, k = batch()
    loss = loss_of(x, k)

    assert watch(loss, x, k) is loss
    assert list(Path().iterdir()) == []


def test_a_formula_that_fails_on_rows_that_are_right_is_named() -> None:
    x, k = batch()
    x[3, (k[3] + 1) % C] = -200

    with pytest.raises(
        BadLoss, match=r"^loss is nan: zero-times-infinity in 1 of 64 rows \(row 3, class \d\), as in"
    ) as raised:
        watch(loss_of(x, k, is_naive=True), x, k)

    assert "the formula naive; no row is broken; saved xent.npz" in str(raised.value)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (
            -0.5,
            "loss is negative, -0.5: no row of 64 is broken, so it is the formula: 'xent check' looks at it",
        ),
        (0.0, "loss is 0, but the true mean is 2.77"),
        (-inf, "loss is -inf: "),
    ],
)
def test_a_loss_that_cannot_be_is_bad_whatever_the_rows(loss: float, said: str) -> None:
    with pytest.raises(BadLoss, match=re.escape(said)):
        watch(np.float32(loss), *batch())


def test_a_loss_of_zero_is_good_where_the_truth_is_zero() -> None:
    x = np.where(np.arange(C) == 1, 0, -inf) * np.ones((N, 1))

    assert watch(0.0, x, np.ones(N, int)) == 0


@pytest.mark.parametrize("zeros", [N, N - 1])
def test_losses_are_bad_when_all_of_them_are_zero(zeros: int) -> None:
    x, k = batch()
    losses = np.where(np.arange(N) < zeros, 0, 1.0)

    if zeros == N:
        with pytest.raises(BadLoss, match="loss is 0, but the true mean is"):
            watch(losses, x, k)
    else:
        assert watch(losses, x, k) is losses


@pytest.mark.parametrize("on", ["warn", "skip"])
def test_instead_of_raising_it_can_warn_or_return_zero(on: str) -> None:
    x, k, said = BAD["infinite"]

    with pytest.warns(BadLossWarning, match=re.escape(said)) as warned:
        loss = watch(loss_of(x, k), x, k, on=on)

    assert warned[0].filename == __file__
    assert loss == 0 if on == "skip" else math.isnan(loss)


@pytest.mark.parametrize(("step", "looked_at"), [(None, [0, 3, 6]), (4, [2, 5]), (3, [0, 3, 6])])
def test_every_so_many_steps_are_looked_at(step: int | None, looked_at: list[int]) -> None:
    x, k, _ = BAD["nan"]
    raised = []
    for call in range(7):
        try:
            watch(nan, x, k, every=3, step=None if step is None else step + call, most=0)
        except BadLoss:
            raised.append(call)

    assert raised == looked_at


def test_it_remembers_the_last_good_loss_and_step() -> None:
    x, k = batch()

    with pytest.raises(BadLoss, match=r"; the last good loss was 2\.77\d+, at step 811; saved"):  # noqa: PT012 - the second step
        for step, loss, logits in ((811, loss_of(x, k), x), (812, nan, BAD["weights"][0])):
            watch(loss, logits, k, step=step)


def test_what_another_line_has_watched_is_not_said() -> None:
    x, k = batch()
    watch(loss_of(x, k), x, k)
    with pytest.raises(BadLoss) as raised:
        watch(nan, *BAD["nan"][:2])

    assert "last good loss" not in str(raised.value)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("is_soft", [False, True])
def test_classes_are_on_the_last_axis_or_the_second(axis: int, is_soft: bool) -> None:
    random = np.random.default_rng(1)
    x, k = random.normal(size=(2, 3, 4, C)).astype(np.float32), random.integers(0, C, (2, 3, 4))
    x[1, 2, 3, 7] = inf
    labels: Any = np.eye(C, dtype=np.float32)[k] if is_soft else k
    if axis == 1:
        x = np.moveaxis(x, -1, 1)
        labels = np.moveaxis(labels, -1, 1) if is_soft else labels
    if is_soft and axis == 1:
        return  # probabilities of the logits' shape have their classes on the last axis

    with pytest.raises(BadLoss, match=r"infinite-logit in 1 of 24 rows \(row 23, class 7\)"):
        watch(nan, x, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "stop"}, "on='stop': expected one of 'raise', 'warn', 'skip'"),
        ({"keep": "some"}, "keep='some': expected one of 'rows', 'all'"),
        ({"every": 0}, "every=0, most=10: expected 1 or more, 0 or more"),
        ({"labels": np.zeros(3, int)}, "labels of shape (3,) do not go with logits of shape (64, 10)"),
        ({"step": 1.5}, "step=1.5: expected a whole number"),
        ({"context": {"rows": [1]}}, "context={'rows': …}: expected a name as of a variable, none of"),
        ({"context": {"file": [1]}}, "context={'file': …}: expected a name as of a variable, none of"),
        ({"context": {"a b": [1]}}, "context={'a b': …}: expected a name as of a variable, none of"),
        ({"gradient": True}, "gradient= is for torch; give the criterion to xentcli.Watched("),
        ({"labels": None}, "give logits and labels, or hidden, weight and labels"),
        ({"hidden": np.zeros((N, 3))}, "give logits and labels, or hidden, weight and labels"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    x, k = batch()

    with pytest.raises(XentError, match=re.escape(message)) as raised:
        watch(1.0, x, **{"labels": k, **options})

    assert not isinstance(raised.value, BadLoss)


def test_of_hidden_states_and_weights_logits_are_made() -> None:
    random = np.random.default_rng(2)
    hidden, weight = random.normal(size=(N, 4)), random.normal(size=(C, 4))
    hidden[6, 1] = inf

    with pytest.raises(BadLoss, match=r"in 1 of 9 rows looked at \(row 6, class") as raised:
        watch(nan, hidden=hidden, weight=weight, labels=batch()[1], context={"ids": np.arange(N)})

    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["rows"], np.arange(2, 11))
        assert np.array_equal(file["ids"], file["rows"])
        with np.errstate(all="ignore"):
            assert np.array_equal(file["logits"], (hidden @ weight.T)[2:11], equal_nan=True)


@pytest.mark.parametrize("suspect", ["loss", "label", "weight"])
def test_of_a_fused_loss_only_rows_that_can_be_to_blame_are_looked_at(suspect: str) -> None:
    random = np.random.default_rng(2)
    hidden, weight = random.normal(size=(N, 4)).astype(np.float16), random.normal(size=(C, 4)) / 100
    losses, (_, labels) = np.ones(N), batch()
    if suspect == "loss":  # overflows in float16 only
        losses[20], hidden[20], weight[3] = inf, 6e4, 1
    elif suspect == "label":
        labels[20] = C
    else:
        losses[20], weight[3, 0] = inf, nan

    said = {
        "loss": r"loss is inf: infinite-logit in 1 of 9 rows looked at \(row 20, class 3\)",
        "label": r"means nothing: label-out-of-range in 1 of 9 rows looked at \(row 20, label 10\)",
        "weight": "loss is inf: nan-logit in every row of 64: the fault lies before",
    }
    with pytest.raises(BadLoss, match=said[suspect]):
        watch(losses, hidden=hidden, weight=weight, labels=labels)


@pytest.mark.parametrize("step", [np.int64(5), np.array(5)])
def test_a_step_is_any_whole_number(step: Any) -> None:
    with pytest.raises(BadLoss, match=r"^step 5: .*saved xent-000005\.npz"):
        watch(nan, *BAD["nan"][:2], step=step)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_binary_logits_are_looked_at_as_such(shape: tuple[int, ...]) -> None:
    x, y = np.linspace(-3, 3, N), np.arange(N) % 2 * 1.0
    x[9] = nan

    with pytest.raises(BadLoss, match=r"loss is nan: nan-logit in 1 of 64 rows \(row 9\)"):
        watch(nan, x.reshape(shape), y.reshape(shape))


def test_several_labels_of_an_example_are_binary_each() -> None:
    x, y = np.full((N, 3), 200.0), np.ones((N, 3))
    x[9, 1] = inf
    y[9, 1] = 0

    with pytest.raises(BadLoss, match=r"infinite-logit in 1 of 192 rows \(row 9, class 1\)") as raised:
        watch(nan, x, y, context={"ids": np.arange(N)})
    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["ids"], file["rows"] // 3)
        assert json.loads(str(file["meta"]))["binary"]


def test_labels_that_are_whole_numbers_of_float32_are_class_indices() -> None:
    x, k = batch()
    k[3] = 12

    with pytest.raises(BadLoss, match=r"label-out-of-range in 1 of 64 rows \(row 3, label 12\)"):
        watch(1.5, x, k.astype(np.float32))


@pytest.mark.parametrize(("gap", "true"), [(25.0, "1.25e-10"), (106.0, "8.3e-46"), (106.5, None)])
def test_a_loss_of_zero_is_bad_unless_the_truth_rounds_to_it(gap: float, true: str | None) -> None:
    x = np.eye(4, 10, dtype=np.float32) * np.float32(gap)  # of float32 2^-150 = 7.006e-46 rounds to 0

    if true is None:
        assert watch(np.float32(0), x, np.arange(4)) == 0
        return
    with pytest.raises(
        BadLoss, match=f"loss is 0, but the true mean is {true}: tail-collapse in 4 of 4 rows"
    ):
        watch(np.float32(0), x, np.arange(4))


def test_smoothing_on_a_masked_class_is_named(xent: Xent) -> None:
    x, k = batch()
    x[5, (k[5] + 1) % C] = -inf

    with pytest.raises(BadLoss, match=r"loss is inf: label-on-mask, for smoothing.*in 1 of 64 rows \(row 5"):
        watch(inf, x, k)
    said = " ".join(xent("diagnose", "xent.npz").out.split())
    assert "But 1 row has a class masked by -inf: label smoothing, or a soft label, gives it weight." in said


def test_several_labels_that_are_all_0_are_binary_too() -> None:
    x = np.full((N, 3), -1.0)
    x[9, 1] = nan

    with pytest.raises(BadLoss, match=r"nan-logit in 1 of 192 rows \(row 9, class 1\)"):
        watch(nan, x, np.zeros((N, 3)))


def test_of_a_fused_loss_a_few_rows_are_not_said_to_be_all() -> None:
    hidden, weight, labels = np.ones((N, 4)), np.ones((C, 4)), np.zeros(N, int)
    hidden[:10] = nan
    with pytest.raises(BadLoss, match=r"nan-logit in 10 of 10 rows looked at \(row 0, class 0\)"):
        watch(nan, hidden=hidden, weight=weight, labels=labels)
    labels[:20] = -100
    with pytest.raises(BadLoss, match=r"nan: nan-logit in 10 of 11 rows looked at"):
        watch(nan, hidden=hidden, weight=weight, labels=labels)


@pytest.mark.parametrize("loss", [nan, 0.0])
def test_a_batch_without_rows_is_bad_where_its_mean_is_nan(loss: float) -> None:
    if loss == 0:
        assert watch(loss, np.zeros((0, C)), np.zeros(0, int)) == 0
    else:
        with pytest.raises(BadLoss, match="loss is nan: empty-mean, there are no rows"):
            watch(loss, np.zeros((0, C)), np.zeros(0, int))


def test_a_watched_function_can_be_copied_and_pickled() -> None:
    import copy
    import pickle

    from xentcli.bridge.watched import Watched

    for made in (copy.deepcopy(Watched(max, most=3)), pickle.loads(pickle.dumps(Watched(max, most=3)))):  # noqa: S301 - made here
        assert (made.criterion, made.options) == (max, {"most": 3})

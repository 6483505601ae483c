"""``watch`` in training loops of torch: eager, compiled, in bfloat16, with fused losses, on two processes."""

import gc
import json
import os
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Xent
from test_watch import in_a_folder  # noqa: F401 - a fixture of all tests here

from xentcli.bridge.options import BadLoss
from xentcli.bridge.watch import watch
from xentcli.bridge.watched import Watched
from xentcli.errors import XentError

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of torch's own
]
_INSTALLED = "is not installed; .ci/run tests with it"
WHY = r"step 812: loss is nan: infinite-logit in 1 of 32 rows \(row 3, class 5\)"


@pytest.fixture(name="torch")
def torch_library() -> Any:
    return pytest.importorskip("torch", reason=_INSTALLED)


def made(torch: Any, dtype: str = "float32") -> tuple[Any, Any, Any]:
    """Return a linear layer, input of which row 3 makes an infinite logit of class 5, and labels."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 10).to(getattr(torch, dtype))
    x, k = torch.randn(32, 16, dtype=getattr(torch, dtype)), torch.randint(0, 10, (32,))
    with torch.no_grad():
        layer.weight[:, 0] = 0
        layer.weight[5, 0] = 10
    return layer, x, k


def poisoned(x: Any) -> Any:
    x = x.clone()
    x[3, 0] = 3e38
    return x


def step_of(torch: Any, layer: Any, criterion: Any = None, **options: Any) -> Any:
    criterion = criterion or torch.nn.functional.cross_entropy

    def step(x: Any, k: Any, number: int) -> Any:
        logits = layer(x)
        return watch(criterion(logits, k), logits, k, step=number, **options)

    return step


@pytest.mark.parametrize("is_compiled", [False, True])
def test_torch_raises_eager_and_compiled_and_a_good_step_keeps_its_gradient(
    torch: Any, is_compiled: bool
) -> None:
    layer, x, k = made(torch)
    step = step_of(torch, layer, context={"ids": k})
    step = torch.compile(step, fullgraph=True) if is_compiled else step

    for number in range(3):
        step(x, k, number).backward()
    found, layer.weight.grad = layer.weight.grad / 3, None
    torch.nn.functional.cross_entropy(layer(x), k).backward()

    assert torch.allclose(found, layer.weight.grad, rtol=0, atol=2**-24)
    with pytest.raises(BadLoss, match=WHY) as raised:
        step(poisoned(x), k, 812)
    assert raised.value.path == "xent-000812.npz"
    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["ids"], k.numpy()[file["rows"]])


@pytest.mark.parametrize("is_compiled", [False, True])
def test_bfloat16_is_saved_bit_for_bit(torch: Any, xent: Xent, is_compiled: bool) -> None:
    layer, x, k = made(torch)
    step = step_of(torch, layer)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(BadLoss, match=WHY) as raised:
        (torch.compile(step, fullgraph=True) if is_compiled else step)(poisoned(x), k, 812)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        logits = layer(poisoned(x))

    assert logits.dtype == torch.bfloat16
    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["logits"].view(np.int16), logits.view(torch.int16).numpy()[file["rows"]])
        assert json.loads(str(file["meta"]))["dtype"] == "bfloat16"
    assert "infinite-logit" in xent("diagnose", raised.value.path).out


def test_a_model_that_diverges_by_itself_is_stopped_with_the_cause_that_diagnose_and_explain_name(
    torch: Any, xent: Xent
) -> None:
    layer, x, k = made(torch)
    optimiser = torch.optim.SGD(layer.parameters(), lr=30)

    def naive(logits: Any, k: Any) -> Any:
        return -(torch.nn.functional.one_hot(k, 10) * torch.log(torch.softmax(logits, 1))).sum(1).mean()

    step = step_of(torch, layer, naive)
    with pytest.raises(BadLoss, match=r"step \d+: loss is (nan|inf): ([a-z-]+) in \d+ of 32 rows") as raised:  # noqa: PT012 - it diverges some time
        for number in range(200):
            optimiser.zero_grad()
            step(x * 10, k, number).backward()
            optimiser.step()

    (cause,) = raised.value.findings
    assert cause in {"zero-times-infinity", "log-of-zero"}
    asked = xent("diagnose", raised.value.path, "--method", "naive", "--extract", "worst.yaml")
    assert cause in asked.out
    assert cause in xent("explain", "worst.yaml", "--method", "naive").out


def test_skipping_in_torch_leaves_gradients_as_they_are(torch: Any) -> None:
    layer, x, k = made(torch)
    step = step_of(torch, layer, on="skip")
    with pytest.warns(RuntimeWarning, match=WHY):
        loss = step(poisoned(x), k, 812)
    loss.backward()

    assert loss == 0
    assert layer.weight.grad is None


def test_skipping_is_refused_in_a_compiled_step(torch: Any) -> None:
    layer, x, k = made(torch)

    with pytest.raises(XentError, match="on='skip' needs eager code"):  # at the first step, be it good
        torch.compile(step_of(torch, layer, on="skip"), fullgraph=True)(x, k, 812)


def test_a_compiled_call_whose_result_is_not_used_looks_at_the_loss(torch: Any) -> None:
    layer, x, k = made(torch)

    def step(x: Any) -> Any:
        logits = layer(x)
        watch(torch.nn.functional.cross_entropy(logits, k), logits, k, step=812)
        return logits.sum()

    with pytest.raises(BadLoss, match=WHY):
        torch.compile(step, fullgraph=True)(poisoned(x))


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_gradient_that_is_not_finite_is_found_although_the_loss_is(torch: Any, is_compiled: bool) -> None:
    layer, x, k = made(torch)

    def guarded(logits: Any, k: Any) -> Any:  # what is not taken is nan, and its gradient 0 times nan
        masked = torch.where(logits > 1e6, torch.sqrt(logits - 1e6), 0.0)
        return torch.nn.functional.cross_entropy(logits, k) + masked.sum()

    step = step_of(torch, layer, guarded, gradient=True)
    step = torch.compile(step, fullgraph=True) if is_compiled else step
    loss = step(x, k, 812)

    with pytest.raises(
        BadLoss, match=r"but its gradient is not finite: nan-gradient in 32 of 32 rows \(row 0\)"
    ):
        loss.backward()


def test_fused_losses_give_hidden_states_and_weights(torch: Any) -> None:
    layer, x, k = made(torch, "bfloat16")

    with pytest.raises(BadLoss, match=r"\d+ of 32 rows \(row 3, class") as raised:
        watch(torch.tensor(float("nan")), hidden=poisoned(x), weight=layer.weight, labels=k, step=1)

    with np.load(str(raised.value.path)) as file:
        assert file["logits"].dtype.itemsize == 2


@pytest.mark.parametrize("is_compiled", [False, True])
def test_of_a_fused_loss_only_rows_that_can_be_to_blame_are_made(
    torch: Any, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x, k = made(torch)
    read = []
    from xentcli.bridge.torch import _Rows

    class Counted(_Rows):
        def __getitem__(self, rows: slice) -> Any:
            read.append(len(range(32)[rows]))
            return super().__getitem__(rows)

    monkeypatch.setattr("xentcli.bridge.torch._Rows", Counted)

    def step(x: Any, k: Any) -> Any:
        return watch(x.sum() * 0 + 1.0, hidden=x, weight=layer.weight, labels=k, step=812)

    step = torch.compile(step, fullgraph=True) if is_compiled else step
    assert step(x, k) == 1
    k[20] = 10
    with pytest.raises(BadLoss, match=r"label-out-of-range in 1 of 9 rows looked at \(row 20, label 10\)"):
        step(x, k)
    assert max(read) == 9


@pytest.mark.parametrize("options", [{}, {"gradient": True}, {"previous": True}])
def test_nothing_of_a_good_step_is_kept_alive(torch: Any, options: dict[str, Any]) -> None:
    layer, x, k = made(torch)
    logits = layer(x)
    alive = weakref.ref(logits), weakref.ref(logits.untyped_storage())
    loss = watch(torch.nn.functional.cross_entropy(logits, k), logits, k, **options)
    gc.disable()
    try:
        loss.backward()
        assert alive[0]() is not None
        del logits, loss
        assert alive[0]() is None
    finally:
        gc.enable()


def test_soft_labels_of_the_last_good_step_are_kept_as_rows(torch: Any) -> None:
    layer, x, _ = made(torch)
    y = torch.softmax(layer(x), 1).detach()
    criterion = Watched(lambda logits, _: logits.sum() * 0 + 1, previous=True)
    with pytest.raises(BadLoss) as raised:  # noqa: PT012 - the second
        for each in (x, poisoned(x)):
            criterion(layer(each), y)

    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["previous_labels"], y.numpy())


def test_rows_that_do_not_follow_each_other_are_read_where_they_are(torch: Any) -> None:
    x = torch.randn(3, 5, 7)
    x[2, 4, 6] = float("inf")

    with pytest.raises(BadLoss, match=r"infinite-logit in 1 of 12 rows \(row 11, class 6\)") as raised:
        watch(torch.tensor(float("nan")), x[:, 1:], torch.zeros(3, 4, dtype=torch.int64), keep="all")

    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["logits"], x[:, 1:].reshape(12, 7).numpy())


@pytest.mark.parametrize("is_soft", [False, True])
def test_classes_are_on_the_second_axis_as_torch_has_them(torch: Any, is_soft: bool) -> None:
    x, k = torch.randn(2, 4, 4), torch.randint(0, 4, (2, 4))
    x[1, 3, 2] = float("inf")
    y = torch.softmax(torch.randn(2, 4, 4), 1) if is_soft else k

    with pytest.raises(BadLoss, match=r"infinite-logit in 1 of 8 rows \(row 6, class 3\)"):
        watch(torch.nn.functional.cross_entropy(x, y), x, y)


def test_binary_criteria_are_watched(torch: Any) -> None:
    criterion = Watched(torch.nn.BCEWithLogitsLoss())
    x, y = torch.randn(32), torch.ones(32)

    assert torch.isfinite(criterion(x, y))
    x[3] = float("nan")
    with pytest.raises(BadLoss, match=r"loss is nan: nan-logit in 1 of 32 rows \(row 3\)"):
        criterion(x, y)


def test_rows_of_the_last_good_step_are_kept_when_asked_for(torch: Any) -> None:
    layer, x, k = made(torch)
    step = step_of(torch, layer, previous=True)
    step(x, k, 811)

    with pytest.raises(BadLoss, match=r"the last good loss was .* at step 811") as raised:
        step(x * float("nan"), k, 812)

    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["previous_logits"], layer(x).detach().numpy())
        assert np.array_equal(file["previous_labels"], k.numpy())
        assert json.loads(str(file["meta"]))["previous_step"] == 811


RANK = """
    import os, sys, time
    import torch
    import torch.distributed as dist
    from xentcli import BadLoss, watch
    rank = int(sys.argv[1])
    dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(16, 10))
    torch.manual_seed(0)
    x, k = torch.randn(32, 16), torch.randint(0, 10, (32,))
    group = dist.group.WORLD
    for step in range(4):
        is_bad = (torch.arange(32)[:, None] == 3) & (step == 2) & (rank == 1)
        logits = model(torch.where(is_bad, float("inf"), x))
        loss = torch.nn.functional.cross_entropy(logits, k)
        options = {"gradient": True} if sys.argv[3] == "gradient" else {"on": sys.argv[3]}
        try:
            if sys.argv[3] == "gradient":  # good where a nan is not taken, whose gradient is nan all the same
                is_guarded = (step == 2) & (rank == 1)
                logits = model(x)
                loss = torch.nn.functional.cross_entropy(logits, k)
                if is_guarded:
                    loss = loss + torch.where(logits > 1e6, torch.sqrt(logits - 1e6), 0.0).sum()
            loss = watch(loss, logits, k, step=step, group=group, **options)
            loss.backward()
            continue
        except BadLoss as bad:
            print(bad, file=sys.stderr, flush=True)
            os._exit(1)  # torch's threads now and then abort a process that ends by itself, watched or not
    print("went on", flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("on", ["raise", "skip", "gradient"])
def test_two_ranks_of_which_one_is_bad_end_together(torch: Any, tmp_path: Path, on: str) -> None:
    assert torch.distributed.is_available()
    script = tmp_path / "rank.py"
    script.write_text(textwrap.dedent(RANK), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-P", script, str(rank), str(tmp_path / "meet"), on],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        ended = []
        for process in ranks:
            out, err = process.communicate(timeout=120)
            ended.append((process.returncode, out, err, time.monotonic()))
    finally:
        for process in ranks:
            process.kill()

    if on == "gradient":
        assert [code for code, *_ in ended] == [1, 1]
        assert "step 2, rank 0: the gradient is bad on rank 1, whose message says why" in ended[0][2]
        assert "but its gradient is not finite: nan-gradient in 32 of 32 rows" in ended[1][2]
    elif on == "raise":
        assert [code for code, *_ in ended] == [1, 1]
        assert "step 2, rank 0: the loss is bad on rank 1, whose message says why" in ended[0][2]
        assert "step 2, rank 1: loss is nan" in ended[1][2] or "step 2, rank 1: loss is inf" in ended[1][2]
        assert "saved xent-000002-r1.npz" in ended[1][2]
    else:
        assert [(code, out) for code, out, *_ in ended] == [(0, "went on\n"), (0, "went on\n")]


def test_a_watched_criterion_of_torch_is_a_module_and_ignores_what_it_ignores(torch: Any) -> None:
    layer, x, k = made(torch)
    weights = torch.ones(10)
    criterion = Watched(torch.nn.CrossEntropyLoss(weight=weights, ignore_index=4), dir="dumps")

    assert isinstance(criterion, torch.nn.Module)
    assert "criterion.weight" in criterion.state_dict()
    assert torch.isfinite(criterion(layer(x), k))
    with pytest.raises(BadLoss, match=r"empty-mean, all 32 labels are ignored \(4\)"):
        criterion(layer(x), torch.full((32,), 4))

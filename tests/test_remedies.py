"""The remedies on the pages are run on the case of each finding.

Those of torch, JAX and Keras are marked; .ci/run installs those into an environment of their own.
"""

import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from page_code import (
    advice_of,
    cases,
    execute,
    gradient_of,
    in_every_library,
    inputs_of,
    knobs_of,
    library,
    losses_in_parts,
    with_findings,
    with_indices,
)

from xentcli import load
from xentcli.formats import FORMATS, ulps
from xentcli.judge.exact import compute_exact
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import ACCURATE, Finding
from xentcli.judge.verdicts import judge_gradient
from xentcli.load.sources import Source
from xentcli.methods.table import METHODS
from xentcli.model import Batch
from xentcli.run import evaluate, methods_of
from xentcli.show.pages import words
from xentcli.words import COPIES

CHECKS = {"check-labels", "check-logits"}
MEANS = "left-out-rows"
BAD = {"nan", "wrong", "dead"}
GRADIENTS = {"dead-gradient", "nan-gradient", "wrong-gradient", "labels-not-normalised"}
# Right to the rounding of 1, as frameworks are: the page of tail-collapse is for smaller losses.
RIGHT_TO_1 = {"from-logits"}


def remedy_of(finding: Finding) -> str:
    return advice_of(finding)["remedy"]


def code_of(remedy: str, name: str) -> str:
    return str(words()["remedies"][remedy][name])


def with_remedy(*remedies: str) -> pytest.MarkDecorator:
    return with_findings("remedy", *remedies)


def batch_of(finding: Finding) -> Batch:
    """Return the batch of the finding's case, with labels as its remedy takes them."""
    batch = cases()[finding.case].batch
    return batch if remedy_of(finding) == "rows-of-labels" else with_indices(batch)


def assert_right(remedy: str, losses: Any, name: str, batch: Batch) -> None:
    """Hold losses against the truth, in the format that they are in."""
    values, dtype = library(name).to_numpy(losses)
    assert remedy != "wider" or dtype == "float32"
    form = FORMATS[dtype]
    exact = compute_exact(batch, form.name, "none").losses
    assert len(values) == len(exact)
    for loss, true in zip(values.tolist(), exact, strict=True):
        error = ulps(loss, true, form)
        is_small = remedy in RIGHT_TO_1 and abs(Fraction(loss) - Fraction(true)) <= form.eps
        assert error is not None
        assert error <= ACCURATE or is_small, (loss, true)


@in_every_library
@with_remedy("from-logits", "small-loss", "rows-of-labels", "binary", "wider")
def test_a_remedy_is_right_where_methods_are_not(finding: Finding, name: str) -> None:
    remedy, batch = remedy_of(finding), batch_of(finding)

    with library(name).session():
        losses = execute(code_of(remedy, name), name, **inputs_of(batch))["losses"]

        assert_right(remedy, losses, name, batch)
    case = replace(cases()[finding.case], batch=batch)
    judgements = evaluate(case, methods_of(case, METHODS)).judgements
    found = [each for each in judgements if each is not None and finding.name in each.all_findings]
    assert any(each.verdict != "accurate" or (each.gradient and each.gradient.state in BAD) for each in found)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["jax", "keras"])
@with_remedy("from-logits", "small-loss", "rows-of-labels", "binary", "wider")
def test_a_remedy_is_right_when_it_is_compiled(finding: Finding, name: str) -> None:
    remedy, batch = remedy_of(finding), batch_of(finding)

    with library(name).session():
        arrays = {key: library(name).array(value) for key, value in inputs_of(batch).items()}
        losses = compiled(remedy, name, "losses", arrays)

        assert_right(remedy, losses, name, batch)


def compiled(remedy: str, name: str, result: str, arrays: dict[str, Any], **constants: Any) -> Any:
    """Return what the code of a remedy makes when it is compiled."""

    def made(**arrays: Any) -> Any:
        return execute(code_of(remedy, name), name, **arrays, **constants)[result]

    return library(name).compiled(made)(**arrays)


ROWS: dict[str, Any] = {
    "logits": np.array([[0, -np.inf, 2], [-np.inf] * 3, [1, 2, 3]], np.float32),
    "labels": np.arange(3),
}
TEXTS = {"logits": np.arange(24, dtype=np.float32).reshape(2, 4, 3), "labels": np.arange(8).reshape(2, 4) % 3}
TILES = {"tile": ROWS["logits"], "maximum": np.full(3, -np.inf, np.float32), "total": np.zeros(3, np.float32)}


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["jax", "keras"])
@pytest.mark.parametrize(
    ("remedy", "result", "arrays", "constants"),
    [
        ("smoothing", "losses", ROWS, {"smoothing": 0.1}),
        ("left-out-rows", "loss", ROWS, {"ignore_index": -100}),
        ("one-tile", "maximum", TILES, {}),
        ("one-tile", "total", TILES, {}),
        ("first-end", "labels", {"labels": TEXTS["labels"]}, {"ignore_index": 2}),
        ("shifted-logits", "stored", {"logits": ROWS["logits"][::2]}, {}),
        ("shifted-labels", "x", TEXTS, {}),
        ("shifted-labels", "k", TEXTS, {}),
    ],
)
def test_a_remedy_that_is_compiled_makes_the_same(
    remedy: str, result: str, arrays: dict[str, Any], constants: dict[str, Any], name: str
) -> None:
    with library(name).session():
        taken = {key: library(name).array(value) for key, value in arrays.items()}
        whole = compiled(remedy, name, result, taken, **constants)
        eager = execute(code_of(remedy, name), name, **taken, **constants)[result]

        # fused, a sum or an exp may round otherwise
        np.testing.assert_allclose(np.asarray(whole), np.asarray(eager), rtol=4 * 2.0**-23)


@in_every_library
@pytest.mark.parametrize("remedy", ["from-logits", "small-loss", "wider"])
def test_a_remedy_is_right_at_any_size_of_logits(remedy: str, name: str) -> None:
    dtype, far = ("float16", 6e4) if remedy == "wider" else ("float32", 1e8)
    logits = f"[[0, 1000, -1000], [0, 1000, 3], [{far}, {far}, {far}], [0.5, -1, -3], [-inf, 0, 1]]"
    text = f"title: t\ndtype: {dtype}\nlogits: {logits}\nlabels: [0, 1, 2, 1, 2]\n"
    batch = load.load(Source("case.yaml", "case", text.encode())).batch

    with library(name).session():
        losses = execute(code_of(remedy, name), name, **inputs_of(batch))["losses"]

        assert library(name).to_numpy(losses)[1] == "float32"
        assert_right(remedy, losses, name, batch)


@in_every_library
@pytest.mark.parametrize(
    "finding", [each for each in FINDINGS if each.name in GRADIENTS], ids=lambda each: each.name
)
def test_the_gradient_of_a_remedy_is_right(finding: Finding, name: str) -> None:
    batch, remedy = batch_of(finding), remedy_of(finding)

    with library(name).session():
        gradient = gradient_of(code_of(remedy, name), name, "losses", **inputs_of(batch))

    exact = compute_exact(batch, str(batch.logits.dtype), "none")
    judged = judge_gradient(gradient.reshape(batch.logits.shape), exact, binary=batch.binary)
    assert judged.state in {"alive", "zero"}


@in_every_library
def test_smoothing_leaves_masked_classes_out(name: str) -> None:
    case = cases()["smoothing-meets-mask"]
    batch, smoothing = case.batch, case.batch.weighting.smoothing
    allowed = ~np.isneginf(batch.logits)
    spread = smoothing * allowed / allowed.sum(axis=1, keepdims=True)
    rows = ((1 - smoothing) * batch.labels + spread).astype(batch.logits.dtype)
    weighting = replace(batch.weighting, smoothing=0.0)
    truth = replace(batch, labels=rows, indices=None, class_labels=None, weighting=weighting)

    with library(name).session():
        losses = execute(code_of("smoothing", name), name, **inputs_of(batch), smoothing=smoothing)["losses"]

        assert_right("smoothing", losses, name, truth)
        if name != "numpy":
            gradient = gradient_of(
                code_of("smoothing", name), name, "losses", **inputs_of(batch), smoothing=smoothing
            )
            assert np.isfinite(gradient).all()


@in_every_library
@pytest.mark.parametrize("case_name", ["empty-tile", "normal-3x3"])
def test_tiles_of_minus_infinity_add_nothing(case_name: str, name: str) -> None:
    batch = cases()[case_name].batch
    logits, labels = batch.logits, batch.class_labels
    assert labels is not None
    start = np.zeros(len(logits), logits.dtype)
    state = {"maximum": start - np.inf, "total": start}

    with library(name).session():
        state = {key: library(name).array(value) for key, value in state.items()}
        for tile in np.split(logits, range(2, logits.shape[1], 2), axis=1):
            made = execute(code_of("one-tile", name), name, tile=tile, **state)
            state = {key: made[key] for key in state}
        maximum, total = (np.asarray(value) for value in state.values())

    picked = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    assert_right("one-tile", np.log(total) - (picked - maximum), "numpy", batch)


@in_every_library
@with_remedy(MEANS)
def test_rows_that_are_left_out_reach_neither_the_mean_nor_the_gradient(finding: Finding, name: str) -> None:
    remedy, batch = remedy_of(finding), batch_of(finding)
    dtype = batch.logits.dtype
    ordinary = np.pad(np.array([[2, 1], [0, 3]], dtype), ((0, 0), (0, batch.logits.shape[1] - 2)))
    alone = inputs_of(batch) | {"ignore_index": -100}
    together = alone | {
        "logits": np.concatenate([batch.logits, ordinary]),
        "labels": np.concatenate([alone["labels"], [1, 1]]),
    }
    ignored = (
        np.zeros(len(batch.logits), bool) if batch.weighting.ignored is None else batch.weighting.ignored
    )
    kept = batch.logits[~ignored & ~np.isneginf(batch.logits).all(axis=1)]
    with library(name).session():
        means = [
            float(execute(code_of(remedy, name), name, **inputs)["loss"]) for inputs in (alone, together)
        ]
        if name != "numpy":
            gradient = gradient_of(code_of(remedy, name), name, "loss", **together)
            assert np.isfinite(gradient).all()
            assert not gradient[0].any()

    rows = [np.asarray(x, np.float64) for x in (kept, np.concatenate([kept, ordinary]))]
    # float32 means of a few rows: exp, log, sum and division round a few times each
    assert means == pytest.approx([plain_mean(x) for x in rows], rel=8 * 2.0**-23)


@in_every_library
def test_a_nan_is_not_left_out(name: str) -> None:
    inputs = {"logits": np.array([[np.nan, 0], [1, 2]], np.float32), "labels": np.array([0, 1])}

    with library(name).session():
        assert np.isnan(float(execute(code_of(MEANS, name), name, **inputs, ignore_index=-100)["loss"]))


def plain_mean(x: np.ndarray[Any, Any]) -> float:
    """Return the mean loss of moderate logits whose label is 1 everywhere, 0 of none."""
    return float((np.log(np.exp(x).sum(axis=1)) - x[:, 1]).sum() / max(len(x), 1))


@in_every_library
@with_remedy("cap", "no-padding", "temper", "with-z-loss", "smooth")
def test_a_loss_with_its_knobs_is_right(finding: Finding, name: str) -> None:
    batch, remedy = cases()[finding.case].batch, remedy_of(finding)
    taken = inputs_of(batch) | knobs_of(batch) | {"smoothing": batch.weighting.smoothing}
    if batch.padding is not None:
        taken["logits"] = np.hstack([batch.logits, batch.padding])
    code = code_of(remedy, name)
    if remedy == "no-padding" and batch.knobs.value("softcap") is None:
        code = re.sub(r"x = softcap .*", "x = logits[:, :classes]", code)

    with library(name).session():
        values, dtype = library(name).to_numpy(execute(code, name, **taken)["losses"])

    exact = [float(loss) for loss in compute_exact(batch, dtype, "none").losses]
    # a log-sum-exp as large as the logits is rounded, then the label's logit is subtracted
    assert values.tolist() == pytest.approx(exact, abs=16 * float(FORMATS[dtype].eps) * (1 + max(exact)))


@in_every_library
@with_remedy("one-mean")
def test_one_mean_over_all_parts_is_right(finding: Finding, name: str) -> None:
    batch = cases()[finding.case].batch
    taken = losses_in_parts(batch)
    if batch.parts is not None and batch.parts.along == COPIES:
        taken["sizes"] = [len(batch.logits)]

    with library(name).session():
        loss = execute(code_of("one-mean", name), name, **taken)["loss"]
        (value,), dtype = library(name).to_numpy(loss)[0].ravel(), library(name).to_numpy(loss)[1]

    form = FORMATS[min(dtype, str(batch.logits.dtype))]  # NumPy's float32 over int64 is float64
    error = ulps(float(value), compute_exact(batch, form.name, "mean").loss or Decimal(0), form)
    assert error is not None
    assert error <= ACCURATE


@in_every_library
def test_smoothing_over_all_shards_is_right(name: str) -> None:
    case = cases()["smoothing-over-a-shard"]
    parts, smoothing = case.batch.parts, case.batch.weighting.smoothing
    assert parts is not None

    with library(name).session():
        code = code_of("smoothing-of-all", name)
        taken = inputs_of(case.batch) | {"sizes": list(parts.sizes), "smoothing": smoothing}
        losses = execute(code, name, **taken)["losses"]

        assert_right("smoothing-of-all", losses, name, case.batch)


@in_every_library
@with_remedy(*CHECKS)
def test_a_check_names_the_rows_of_the_case_and_lets_healthy_ones_pass(finding: Finding, name: str) -> None:
    remedy, inputs = remedy_of(finding), inputs_of(batch_of(finding))
    healthy = {"logits": np.array([[-np.inf, 1, 0], [5, 6, 7]], np.float32), "labels": np.array([1, -100])}

    with library(name).session():
        execute(code_of(remedy, name), name, **healthy, ignore_index=-100)
        with pytest.raises(AssertionError, match=r"in rows (tensor\()?\[0\]"):
            execute(code_of(remedy, name), name, **inputs, ignore_index=-100)


@in_every_library
def test_the_first_end_of_a_text_counts_and_padding_does_not(name: str) -> None:
    labels = np.array([[5, 6, 2, 2, 2], [7, 2, 2, 2, 2], [3, 4, 5, 6, 7]])

    with library(name).session():
        kept = np.asarray(execute(code_of("first-end", name), name, labels=labels, ignore_index=2)["labels"])

    assert kept.tolist() == [[5, 6, 2, -100, -100], [7, 2, -100, -100, -100], [3, 4, 5, 6, 7]]


@in_every_library
def test_a_position_is_judged_with_the_next_label(name: str) -> None:
    logits, labels = np.arange(24, dtype=np.float32).reshape(2, 4, 3), np.arange(8).reshape(2, 4)

    with library(name).session():
        made = execute(code_of("shifted-labels", name), name, logits=logits, labels=labels)
        x, k = (np.asarray(made[key]).tolist() for key in "xk")

    assert k == [1, 2, 3, 5, 6, 7]
    assert [row[0] for row in x] == [0, 3, 6, 12, 15, 18]


@in_every_library
def test_logits_without_their_offset_survive_rounding(name: str) -> None:
    logits = np.array([[1000.2, 1000], [-3000.5, -3000]], np.float32)

    with library(name).session():
        stored = np.asarray(execute(code_of("shifted-logits", name), name, logits=logits)["stored"])

    assert stored.dtype == np.float16
    losses = [-float(np.log(np.exp(row) / np.exp(row).sum())[0]) for row in stored.astype(np.float64)]
    # mpmath: ln(1 + exp(-0.2)) and ln(1 + exp(0.5)); float16 keeps three digits of a gap below 1
    assert losses == pytest.approx([0.598139, 0.974077], rel=2.0**-10)

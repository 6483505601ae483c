"""The wrong code on the pages is run, and is wrong as the page of its finding says.

The code of torch, JAX and Keras is marked; .ci/run installs those into an environment of their own.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from page_code import (
    FRAMEWORKS,
    advice_of,
    cases,
    execute,
    gradient_of,
    inputs_of,
    knobs_of,
    library,
    losses_in_parts,
)

from xentcli.formats import FORMATS, ulps
from xentcli.judge.exact import compute_exact
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import ACCURATE, Finding
from xentcli.judge.verdicts import judge_gradient
from xentcli.show.pages import words
from xentcli.words import IGNORE_INDEX

LIBRARIES = [("numpy", ()), *((str(each.values[0]), each.marks) for each in FRAMEWORKS)]
TRIED: set[str] = set()  # what the pages say that a mistake gives, of which there is a test
FEW_ULPS = 2.0**-22  # 2 to 4 ulps of float32: exp, sum and log round once each
CAP = -math.log(1e-7)  # the loss at the bound of the clip
GRADIENTS = {"a gradient of 0": "dead", "a gradient of nan": "nan", "a wrong gradient": "wrong"}


def is_off(loss: float, true: Any, dtype: str) -> bool:
    error = ulps(loss, true, FORMATS[dtype])
    return error is not None and error > ACCURATE


# What the losses of a mistake are, beside the true ones: at least one loss of the case is so.
LOSSES: dict[str, Callable[[float, Any, str], bool]] = {
    "a loss of nan": lambda loss, *_: math.isnan(loss),
    "an infinite loss": lambda loss, *_: loss == math.inf,
    "a loss of 0": lambda loss, true, _: loss == 0 < true,
    "a loss that is off": lambda loss, *truth: 0 < loss < math.inf and is_off(loss, *truth),
    "a loss that is capped": lambda loss, true, _: loss == pytest.approx(CAP, rel=FEW_ULPS) and true > loss,
    "a finite loss of no class": lambda loss, true, _: math.isfinite(loss) and true.is_nan(),
}


def mistake_of(finding: Finding) -> dict[str, str]:
    mistake: dict[str, str] = words()["mistakes"][advice_of(finding)["mistake"]]
    return mistake


def with_mistakes(*gives: str, only: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Parametrise by the findings whose mistake gives one of these, in each library that it has code for."""
    TRIED.update(gives)
    rows = [
        pytest.param(finding, name, marks=marks, id=f"{finding.name}-{name}")
        for finding in FINDINGS
        if advice_of(finding)["gives"] in gives
        for name, marks in LIBRARIES
        if name in mistake_of(finding) and name in (only or (name,))
    ]
    return pytest.mark.parametrize(("finding", "name"), rows)


def inputs(finding: Finding) -> dict[str, Any]:
    """Return the arrays of the finding's case by the names that mistakes take."""
    batch = cases()[finding.case].batch
    taken = inputs_of(batch)
    if "labels (N, C)" in mistake_of(finding)["takes"]:
        taken["labels"] = batch.labels
    if "weights (N,)" in mistake_of(finding)["takes"]:  # padding has a label too, that of the last class
        ignored = taken["labels"] == IGNORE_INDEX
        taken["labels"] = np.where(ignored, batch.logits.shape[1] - 1, taken["labels"])
        taken["weights"] = (~ignored).astype(batch.logits.dtype)
    mask = np.isneginf(batch.logits)
    more = {"scores": np.where(mask, 0, batch.logits), "mask": mask}
    more |= knobs_of(batch)
    if batch.parts is not None:
        more |= losses_in_parts(batch) | {"copies": batch.parts.number}
    if batch.padding is not None:
        taken["logits"] = np.hstack([batch.logits, batch.padding])
    named = taken | more | {"smoothing": batch.weighting.smoothing, "ignore_index": IGNORE_INDEX}
    used = set(re.findall(r"\w+", mistake_of(finding)["takes"]))
    return {key: value for key, value in named.items() if key in used}


def numbers(array: Any, name: str) -> tuple[list[Any], str]:
    values, dtype = library(name).to_numpy(array)
    return np.atleast_1d(values).tolist(), dtype


@with_mistakes(*LOSSES)
def test_a_mistake_gives_on_the_case_what_its_page_says(finding: Finding, name: str) -> None:
    def result(**taken: Any) -> Any:
        return losses_of(execute(mistake_of(finding)[name], name, **taken))

    with library(name).session():
        assert_gives(finding, name, result(**inputs(finding)))


@with_mistakes(*LOSSES, only=("jax", "keras"))
def test_a_compiler_does_not_mend_a_mistake(finding: Finding, name: str) -> None:
    taken = inputs(finding)
    constants = {key: value for key, value in taken.items() if not isinstance(value, np.ndarray)}

    def result(**arrays: Any) -> Any:
        return losses_of(execute(mistake_of(finding)[name], name, **arrays, **constants))

    with library(name).session():
        arrays = {key: library(name).array(taken[key]) for key in taken.keys() - constants.keys()}
        assert_gives(finding, name, library(name).compiled(result)(**arrays))


def losses_of(result: dict[str, Any]) -> Any:
    return result["loss"] if "loss" in result else result["losses"]


def assert_gives(finding: Finding, name: str, result: Any) -> None:
    """Hold losses, or one mean of them, against the truth as the page of the finding says."""
    batch, gives = cases()[finding.case].batch, LOSSES[advice_of(finding)["gives"]]
    is_mean = not result.shape
    losses, dtype = numbers(result, name)
    exact = compute_exact(batch, dtype, "mean" if is_mean else "none")
    truth = [exact.loss] if is_mean else exact.losses
    assert any(gives(loss, true, dtype) for loss, true in zip(losses, truth, strict=True)), (losses, truth)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["torch", "jax", "keras"])
def test_a_sum_of_bfloat16_stops_at_256(name: str) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    logits, labels = np.zeros((1, 1000), bfloat16), np.array([0])

    with library(name).session():
        losses = execute(words()["mistakes"]["sum-in-half"][name], name, logits=logits, labels=labels)[
            "losses"
        ]
        right = execute(words()["remedies"]["wider"][name], name, logits=logits, labels=labels)["losses"]

        assert numbers(losses, name) == ([5.53125], "bfloat16")  # ln 256 = 5.545, to 8 bits
        assert numbers(right, name)[0] == pytest.approx([math.log(1000)], rel=FEW_ULPS)


@with_mistakes(*GRADIENTS)
def test_the_gradient_of_a_mistake_is_what_its_page_says(finding: Finding, name: str) -> None:
    batch = cases()[finding.case].batch
    if (finding.name, name) == ("labels-not-normalised", "keras") and library(name).backend != "tensorflow":
        pytest.skip(mistake_of(finding)["why"])

    with library(name).session():
        gradient = gradient_of(mistake_of(finding)[name], name, "losses", **inputs(finding))

    exact = compute_exact(batch, str(batch.logits.dtype), "none")
    judged = judge_gradient(gradient.reshape(batch.logits.shape), exact, binary=batch.binary)
    assert judged.state == GRADIENTS[advice_of(finding)["gives"]]


@with_mistakes("a sum of nan")
def test_a_tile_of_masks_makes_the_sum_nan(finding: Finding, name: str) -> None:
    logits = cases()[finding.case].batch.logits
    start = np.zeros(len(logits), logits.dtype)
    state = {"maximum": start - np.inf, "total": start}

    with library(name).session():
        state = {key: library(name).array(value) for key, value in state.items()}
        for tile in np.split(logits, [2], axis=1):
            result = execute(mistake_of(finding)[name], name, tile=tile, **state)
            state = {key: result[key] for key in state}
        total = numbers(state["total"], name)[0]

    assert np.isnan(total).all()


@with_mistakes("a logit of nan")
def test_a_constant_feature_makes_logits_nan_and_the_check_says_so(finding: Finding, name: str) -> None:
    features = np.array([[1, 2], [3, 2], [5, 2]], np.float32)
    weights = np.array([[1, 0, -1], [0, 1, 2]], np.float32)

    assert_check_fails(finding, name, np.isnan, features=features, weights=weights)


@with_mistakes("an infinite logit")
def test_a_score_above_float16_makes_a_logit_infinite_and_the_check_says_so(
    finding: Finding, name: str
) -> None:
    scores = np.array([[0, 7e4]], np.float32)  # as logits of float16 they are those of the case

    logits = assert_check_fails(finding, name, np.isposinf, scores=scores)

    assert logits == cases()[finding.case].batch.logits.tolist()


def assert_check_fails(finding: Finding, name: str, is_bad: Callable[[Any], Any], **taken: Any) -> list[Any]:
    """Make logits by a mistake; hold them and the check of the remedy against what the page says."""
    check = words()["remedies"][advice_of(finding)["remedy"]][name]
    with library(name).session():
        result = execute(mistake_of(finding)[name], name, **taken)["logits"]
        with pytest.raises(AssertionError, match="in rows"):
            execute(check, name, logits=result)
        logits = numbers(result, name)[0]

    assert is_bad(np.array(logits)).any(axis=1).all()
    return logits


@with_mistakes("labels without an end")
def test_padding_that_is_an_end_takes_every_end_from_the_labels(finding: Finding, name: str) -> None:
    labels = np.array([[5, 6, 2, 2, 2], [7, 2, 2, 2, 2]])

    with library(name).session():
        result = execute(mistake_of(finding)[name], name, labels=labels, pad_id=2)["labels"]

    assert np.asarray(result).tolist() == [[5, 6, -100, -100, -100], [7, -100, -100, -100, -100]]


@with_mistakes("logits of another loss")
def test_logits_that_are_rounded_with_their_offset_have_another_loss(finding: Finding, name: str) -> None:
    logits = np.array([[1000.2, 1000]], np.float32)  # as float16 they are those of the case

    with library(name).session():
        stored = np.asarray(execute(mistake_of(finding)[name], name, logits=logits)["stored"])

    assert stored.dtype == np.float16
    assert stored.tolist() == cases()[finding.case].batch.logits.tolist()
    loss = math.log(2)  # of two equal logits; mpmath: the loss of a gap of 0.2 is 0.598139
    assert loss > 1.01 * 0.598139


@with_mistakes("labels of the same position")
def test_without_a_shift_a_position_is_judged_with_its_own_label(finding: Finding, name: str) -> None:
    logits, labels = np.arange(24, dtype=np.float32).reshape(2, 4, 3), np.arange(8).reshape(2, 4)

    with library(name).session():
        result = execute(mistake_of(finding)[name], name, logits=logits, labels=labels)
        x, k = (np.asarray(result[key]).tolist() for key in "xk")

    assert [row[0] for row in x] == [3 * label for label in k] == [0, 3, 6, 9, 12, 15, 18, 21]


def test_every_mistake_is_tried_and_a_library_without_one_has_a_reason() -> None:
    assert {advice_of(finding)["gives"] for finding in FINDINGS} == TRIED
    for mistake in words()["mistakes"].values():
        assert ("why" in mistake) == any(name not in mistake for name, _ in LIBRARIES)


def test_wrong_code_is_short() -> None:
    for mistake in words()["mistakes"].values():
        for lines in (mistake[name].strip().splitlines() for name, _ in LIBRARIES if name in mistake):
            assert len(lines) <= 6
            assert max(map(len, lines)) <= 72

"""The atlas as a document: every case valid, minimal, sourced, titled, true, and unlike the others."""

import json
import re
from collections import Counter
from decimal import Decimal

import generated
import mpmath
import numpy as np
import pytest
from conftest import Xent
from oracles import rounded

from xentcli import atlas
from xentcli.atlas import Entry
from xentcli.formats import FORMATS, nearest, stored
from xentcli.identify.constants import FLOORS
from xentcli.judge import Result
from xentcli.judge.expectations import is_reproduced
from xentcli.judge.findings import FINDINGS
from xentcli.load import sources
from xentcli.load.keys import BATCH, KEYS, NUMERICS
from xentcli.model import Knobs
from xentcli.run import evaluate

ENTRIES = atlas.entries()
ATLAS = [entry for entry in ENTRIES if entry.folder]
RESULTS = {entry.case.name: evaluate(entry.case) for entry in ENTRIES}
every_case = pytest.mark.parametrize("entry", ATLAS, ids=lambda entry: entry.case.name)
every_result = pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS.keys())

DEFAULTS = {key.name: generated.plain(key.default) for key in KEYS if generated.is_scalar(key.default)}
KINDS_OF_STATE = ("open", "closed", "fixed", "intended", "not reported", "the definition", "another floor")


def key(entry: Entry, name: str) -> str:
    """Return the text of a key of the file."""
    match = re.search(rf"^{name}:(.*(\n[ -].*)*)", entry.text, re.MULTILINE)
    return match[1] if match else ""


# Valid, minimal, sourced, titled


def test_folders_are_named_after_the_failure() -> None:
    assert {entry.folder for entry in ATLAS} == {
        *("underflow", "overflow", "clipping", "cancellation", "infinities"),
        *("low-precision", "labels", "reductions", "binary", "denominators", "knobs"),
    }


def test_no_two_cases_have_the_same_name() -> None:
    names = [path.stem for path in sources.bundled()]

    assert sorted(names) == sorted(set(names)) == sorted(RESULTS)


@every_result
def test_every_expectation_of_a_case_is_reproduced(result: Result) -> None:
    assert result.numbers
    assert result.reproduced == result.numbers


@every_case
def test_a_case_is_minimal(entry: Entry) -> None:
    written = re.findall(r"[^\s,\[\]]+(?: x \d+)?", key(entry, "logits"))

    assert len(written) <= 10
    assert len(entry.case.batch.logits) <= 4
    assert not any(key(entry, name).strip() == default for name, default in DEFAULTS.items()), "a default"


@every_case
def test_a_case_is_sourced(entry: Entry) -> None:
    about = entry.case.about

    assert about.sources
    assert all(source.url.startswith("https://") for source in about.sources)
    assert all(affected.state.startswith(KINDS_OF_STATE) for affected in about.affects)
    for printed in about.prints:
        assert re.match(r"\d+\.\d+", printed.version)


@every_case
def test_a_title_is_a_statement_on_one_line(entry: Entry) -> None:
    title = entry.case.title

    assert len(title) <= 90
    assert title[-1] not in ".!?:"
    assert len(title.split()) >= 5
    assert re.search(r"\b(is|are|has|have|stays?|\w+s)\b", title), "no verb"


@every_case
def test_a_comment_says_where_each_expectation_is_from(entry: Entry) -> None:
    comments = re.findall(r"^(expect|derived): # (.*)$", entry.text, re.MULTILINE)

    origins = {"expect": "printed by the source", "derived": "from the definition, checked with mpmath"}
    assert comments
    assert all(origins[name] == origin for name, origin in comments)


# True


def losses_by_mpmath(entry: Entry) -> list[mpmath.mpf]:
    """Evaluate every example of a case by the published definition."""
    batch = entry.case.batch
    classes = batch.logits.shape[1]
    weighting = batch.weighting
    losses = []
    for row, (logits, labels) in enumerate(zip(batch.logits.tolist(), batch.labels.tolist(), strict=True)):
        class_weights = weighting.class_weights
        weights = [1.0] * classes if class_weights is None else class_weights.tolist()
        smoothing = mpmath.mpf(weighting.smoothing)
        x, y = [final(value, batch.knobs) for value in logits], [mpmath.mpf(value) for value in labels]
        if batch.binary:
            x, y, weights = [mpmath.mpf(0), *x], [1 - y[0], *y], [1.0, 1.0]
        ignored = batch.is_ignored(row)
        invalid = batch.is_invalid(row)
        each = smoothing / classes if weighting.over == "classes" else smoothing / max(1, classes - 1)
        own = 1 - smoothing + (each if weighting.over == "classes" else 0)
        targets = [w * (own * label + each * (1 - label)) for w, label in zip(weights, y, strict=True)]
        added = (
            batch.knobs.z_loss * mpmath.log(mpmath.fsum(map(mpmath.exp, x))) ** 2 if batch.knobs.z_loss else 0
        )
        losses.append(mpmath.mpf(0) if ignored else mpmath.nan if invalid else one_loss(x, targets) + added)
    return losses


def final(x: float, knobs: Knobs) -> mpmath.mpf:
    """Return a logit after scale, softcap and temperature, written out."""
    value = mpmath.mpf(x)
    for name, number in knobs.steps:
        if name == "scale":
            value *= number
        elif name == "temperature":
            value /= number
        else:
            value = number * mpmath.tanh(value / number)
    return value


def one_loss(x: list[mpmath.mpf], targets: list[mpmath.mpf]) -> mpmath.mpf:
    """Return Σ t (log Σ exp x - x), 0 · log 0 = 0; of infinite logits the limit, nan where there is none."""
    largest = max(x)
    if largest == -mpmath.inf or (mpmath.isinf(largest) and x.count(largest) > 1):
        return mpmath.nan
    if mpmath.isinf(largest):
        x = [mpmath.mpf(0) if value == largest else -mpmath.inf for value in x]
        largest = mpmath.mpf(0)
    counts = Counter(x)
    counts[largest] -= 1
    tail = mpmath.log1p(
        mpmath.fsum(number * mpmath.exp(v - largest) for v, number in counts.items() if number)
    )
    return mpmath.fsum(t * (tail + largest - value) for t, value in zip(targets, x, strict=True) if t)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.case.name)
def test_the_truth_is_that_of_mpmath(entry: Entry) -> None:
    case, exact = entry.case, RESULTS[entry.case.name].exact
    with mpmath.workprec(2000):  # its log1p of 1e-87 needs them
        losses = losses_by_mpmath(entry)
        divisor = float(case.batch.divisor)
        total = mpmath.fsum(losses)
        if case.reduction == "mean":
            total = total / divisor if divisor else mpmath.nan

    dtype = case.numerics.loss_dtype
    rounded_losses = [nearest(value, FORMATS[dtype]) for value in (*exact.losses, exact.loss or Decimal(0))]
    expected = [float("nan") if mpmath.isnan(value) else rounded(value, dtype) for value in (*losses, total)]
    assert np.array_equal(rounded_losses, expected, equal_nan=True)


# What an inaccurate method makes of a case, in closed form.
ln, exp, inf = mpmath.log, mpmath.exp, mpmath.inf
F1, F2, F3 = (ln(1 + exp(-gap)) for gap in (1, 2, 3))  # the loss of two classes whose label's is larger
FIVE = ln(exp(2) + exp(1) + 1 + exp(-1) + exp(0.5))
FOUR = ln(exp(2) + exp(1) + 1 + exp(-1))
CLOSED = {
    ("log-of-zero-is-not-the-loss", "clipped"): [0.96226019 * 10 * ln(10)],
    ("naive-ends-at-103", "naive"): [149 * ln(2), inf],  # the smallest number is 2^-149
    ("naive-in-float16", "naive"): [24 * ln(2), inf],  # and 2^-24
    ("clip-kills-gradient", "clipped"): [10 * ln(10)],
    ("oneflow-safelog", "clipped"): [20 * ln(10)],
    ("floor-of-the-dtype", "clipped"): [10 * ln(2)],
    ("offset-overshoots", "unshifted"): [1],  # 1e7 + 0.69 lies between 1e7 and 1e7 + 1
    ("masked-label", "clipped"): [36 * ln(10)],
    ("ordered-sum", "sparse"): [11 * ln(2)],  # 2048
    ("ordered-sum-in-bfloat16", "sparse"): [8 * ln(2)],  # 256
    ("negative-label-wraps", "sparse"): [ln(exp(0.2) + exp(0.1) + exp(0.4) + exp(0.6)) - 0.6],
    ("negative-label-wraps", "unshifted"): [ln(exp(0.2) + exp(0.1) + exp(0.4) + exp(0.6)) - 0.6],
    ("clamp-leaps", "bce_clamped"): [23 * ln(2), 100],  # 1 - p is 2^-23
    ("label-of-two", "bce_with_logits"): [ln(1 + exp(-10)) - 10],
    ("chunk-means-are-summed", "sum_of_means"): [(F2 + 2 + F2) / 2 + (1 + F1 + F3) / 2],
    ("mean-of-means", "mean_of_means"): [(F2 + (1 + F1 + F3) / 2) / 2],
    ("ignored-in-denominator", "divided_by_all"): [(F2 + 1 + F1 + F3) / 4],
    ("weighted-mean-of-shards", "mean_of_means"): [((F2 + 3 * ln(2)) / 4 + 2 + F2) / 2],
    ("gathered-logits-counted-again", "gathered_again"): [ln(16)],
    ("copies-are-added", "sum_of_means"): [4 * (ln(exp(1) + 2) - 1)],
    ("softcap-multiplies-itself", "softcap_times_logit"): [124 * mpmath.tanh(mpmath.mpf(124) / 30)],
    ("softcap-forgotten", "softcap_left_out"): [60],
    ("softcap-of-a-mask", "softcap_of_mask"): [ln(3 + exp(-1))],
    ("padding-in-the-sum", "padding_counted"): [ln(exp(1) + 4) - 1],
    ("softcap-before-scale", "softcap_first"): [ln(1 + exp(30 * mpmath.tanh(mpmath.mpf(4) / 3) / 16))],
    ("softcap-before-scale", "final_logits"): [30 * mpmath.tanh(mpmath.mpf(1) / 12), 0],
    ("z-loss-uninvited", "z_loss_left_out"): [ln(1 + 2 * exp(-12))],
    ("z-loss-square-of-mean", "z_loss_of_mean"): [mpmath.mpf(36) / 10000],
    ("temperature-on-logprobs", "temperature_late"): [(ln(exp(1) + 2) - 1) / mpmath.mpf("0.6")],
    ("smoothing-mass-times-c", "smoothing_swapped"): [
        0.9 * (2 * FIVE - 2 - mpmath.mpf("0.5"))  # the mean of the logits is a half
    ],
    ("smoothing-over-a-shard", "smoothing_per_shard"): [0.8 * (FOUR - 2) + 0.2 * (FOUR - 1.5)],
    ("smoothing-over-a-shard", "shard_losses"): [
        0.8 * (FOUR - 2) + 0.2 * (FOUR - rest) for rest in (1.5, -0.5)
    ],
}


@every_case
def test_what_is_derived_follows_from_the_definition(entry: Entry) -> None:
    result = RESULTS[entry.case.name]
    judged = dict(zip((o.method for o in result.outcomes), result.judgements, strict=True))
    exact = result.exact
    for check in result.comparisons:
        name, expectation = check.expectation.quantity, check.expectation
        judgement, closed = judged.get(name), CLOSED.get((entry.case.name, name))
        if not expectation.derived or (judgement is None and closed is None):
            continue
        for place, text in enumerate(expectation.texts):
            if judgement is None or closed is not None:
                assert closed is not None
                assert is_reproduced(text, in_format(closed[place], check.dtype)), (name, text)
                continue
            true = exact.losses[place] if expectation.shape else exact.loss
            verdict = judgement.verdicts[place] if expectation.shape else judgement.verdict
            if verdict == "accurate":
                assert true is not None
                assert is_reproduced(text, nearest(true, FORMATS[check.dtype])), (name, text)
            else:  # what IEEE 754 and the formula leave no choice about
                assert float(text) == 0 or not np.isfinite(float(text)), (name, text)


def in_format(value: mpmath.mpf | int, dtype: str) -> float:
    """Round a closed form to a format."""
    return float(stored(np.array([float(value)]), dtype)[0])


# No two alike, and none missing


def test_no_two_cases_show_the_same() -> None:
    titles = Counter(entry.case.title.casefold() for entry in ENTRIES)
    assert max(titles.values()) == 1
    inputs = [key.name for key in (*NUMERICS, *BATCH)] + ["reduction"]
    cases = Counter(tuple(key(entry, name).split("#")[0].strip() for name in inputs) for entry in ATLAS)
    assert max(cases.values()) == 1
    stories = Counter(story(RESULTS[entry.case.name]) for entry in ATLAS)
    assert [names for names, number in stories.items() if number > 1] == []


def story(result: Result) -> tuple[object, ...]:
    """Return what a case shows of the methods it is about: verdict, gradient, findings, and for whom."""
    about = {check.expectation.quantity for check in result.comparisons}
    case = result.case
    shown = [
        (
            outcome.method,
            judgement.verdicts,
            judgement.gradient and judgement.gradient.states,
            judgement.findings,
        )
        for outcome, judgement in zip(result.outcomes, result.judgements, strict=True)
        if judgement is not None and outcome.method in about
    ]
    return (case.numerics, case.reduction, case.batch.clip, str(shown), str(case.about.sources[0].url))


def test_every_finding_has_a_case_that_shows_it() -> None:
    by_name = {entry.case.name: entry for entry in ENTRIES}
    for finding in FINDINGS:
        is_found = finding.name in by_name[finding.case].findings()
        # A case has its logits as they are stored, and no sequences.
        assert is_found is (finding.name not in {"rounded-logits", "labels-out-of-step"}), finding.name


def test_every_floor_that_names_a_bundled_case_is_seen_in_it() -> None:
    for floor in FLOORS:
        if floor.bundled is not None:
            losses = [loss for outcome in RESULTS[floor.bundled].outcomes for loss in outcome.losses]
            # As the format of the case holds it.
            assert any(abs(loss - floor.value) <= 2.0**-10 * floor.value for loss in losses), floor


def test_json_says_which_numbers_are_derived(xent: Xent) -> None:
    (case,) = json.loads(xent("run", "keras-cap", "oneflow-safelog", "--format", "json").out)["cases"][:1]
    assert [check.get("derived") for check in case["expectations"]] == [None, None]
    (case,) = json.loads(xent("run", "oneflow-safelog", "--format", "json").out)["cases"]
    assert {check["derived"] for check in case["expectations"]} == {True}

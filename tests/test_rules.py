"""Every row rule against the method it is about, row by row, and the numbers of a survey."""

import math
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import first

from xentcli import formats
from xentcli.diagnose.columns import Columns, columns_of
from xentcli.diagnose.diagnosis import diagnosis_of
from xentcli.diagnose.dumps import Shard
from xentcli.diagnose.rules import CASE_CLIP, RowRule, rules_for
from xentcli.diagnose.survey import survey
from xentcli.judge.findings import FINDINGS
from xentcli.load.build import build_batch
from xentcli.methods import arithmetic, kernels
from xentcli.methods.arithmetic import sums
from xentcli.model import Batch

inf, nan = math.inf, math.nan
DTYPES = ("float16", "bfloat16", "float32", "float64")
HALVES = ("float16", "bfloat16")
CLIP = (2e-6, 0.999)  # the clip of a case
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def batch_of(x: Any, k: Any, **keys: Any) -> Batch:
    return build_batch(x, k, str(x.dtype), **keys)


def stored(values: Any, dtype: str) -> Any:
    array = formats.stored(np.asarray(values, np.float64), dtype)
    array.flags.writeable = False
    return array


class Found(NamedTuple):
    """The columns of rows, and the rules that they were asked for."""

    rules: tuple[RowRule, ...]
    columns: Columns

    def names(self) -> list[set[str]]:
        """Return the names of the rules of each row."""
        marks = [self.columns.applies(at) for at in range(len(self.rules))]
        return [
            {rule.name for rule, mark in zip(self.rules, marks, strict=True) if mark[row]}
            for row in range(len(self.columns.bits))
        ]


def found_in(x: Any, k: Any, dtype: str = "float32") -> Found:
    rules, labels = rules_for(dtype, CLIP), None if k is None else np.asarray(k)
    return Found(rules, columns_of(stored(x, dtype), labels, rules, -100))


def names_of(x: Any, k: Any, dtype: str = "float32") -> list[set[str]]:
    return found_in(x, k, dtype).names()


def applies(found: Found, name: str) -> Any:
    (at,) = (at for at, rule in enumerate(found.rules) if rule.name == name)
    return found.columns.applies(at)


def limits(dtype: str) -> list[float]:
    """Return the gaps and sizes of logits at which methods begin to fail."""
    form = formats.FORMATS[dtype]
    powers = (form.precision, form.precision - form.emin, form.precision - 1, 126)
    bounds = (1e-7, 1e-8, 1e-12, 1e-15, 1e-36, CLIP[0], 1 / CLIP[1] - 1, 1 / form.largest)
    return [power * math.log(2) for power in powers] + [-math.log(bound) for bound in bounds]


def rows_of(dtype: str, classes: int, count: int) -> tuple[Any, Any]:
    """Draw rows of many gaps, offsets and masks, most of them near the limit of some method; a label each."""
    random, form = np.random.default_rng(classes), formats.FORMATS[dtype]

    def pick(*values: float) -> Any:
        return random.choice(values, (count, 1))

    def spread(columns: int, *scales: float) -> Any:
        return random.normal(size=(count, columns)) * pick(*scales)

    k, other = random.integers(0, classes, (2, count))
    is_label, is_other = np.arange(classes) == k[:, None], np.arange(classes) == other[:, None]
    x = spread(classes, 0.01, 0.1, 1, 3, 10)
    top = x.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(x - top).sum(axis=1, keepdims=True)) + top
    near = pick(*limits(dtype)) + spread(1, 1e-3, 0.02, 0.3, 1.5)
    # So many terms make a unit together, which 1 loses; in some rows all of them stand side by side.
    tail = -form.precision * math.log(2) - np.log(pick(1, max(classes / 30, 1), max(classes / 4, 1), classes))
    tail = tail + spread(1, 0.7) + spread(classes, 0, 0.01, 0.5)
    first, last = np.sort(random.integers(0, classes + 1, (2, count, 1)), axis=0)
    is_outside = (np.arange(classes) < first) | (np.arange(classes) >= last)
    kinds = (
        x,
        np.where(is_label, log_sum - near, x),
        np.where(is_other, log_sum - near, x),
        np.where(is_label, log_sum + near + pick(0, 1, 2, 3, 4), x),
        x + pick(1, -1) * near - pick(0, 1) * top,
        x + spread(1, 1, 30, 1e3, 1e5, 1e7) + pick(0, 1) * is_label * random.uniform(0, 30, (count, 1)),
        np.where(is_label, 0, np.where(is_outside & (pick(0, 1) == 1), -form.largest / 4, tail))
        + spread(1, 0, 0.5),
    )
    x = np.stack(kinds)[random.integers(0, len(kinds), count), np.arange(count)]
    for value, share in ((-inf, 0.05), (form.largest, 0.02), (-form.largest, 0.02)):
        x[random.random(count) < share, random.integers(0, classes)] = value
    return stored(x, dtype), k


def oracle(x: Any, k: Any) -> tuple[Any, Any]:
    """Return losses and Σ exp(x - m) in long double; nan where the loss is not defined."""
    wide, rows = x.astype(np.longdouble), np.arange(len(x))
    terms = np.exp(wide - wide[rows, k][:, None])
    terms[rows, k] = 0
    tail, top = terms.sum(axis=1), wide.max(axis=1)
    total = np.exp(wide - top[:, None]).sum(axis=1)
    loss = np.where(tail > 1, np.log(total) + (top - wide[rows, k]), np.log1p(tail))
    return np.where(np.isfinite(top), loss, nan).astype(np.float64), total


def is_off(result: Any, loss: Any) -> Any:
    return ~(np.abs(result - loss) <= 0.01 * loss) & (result != loss)


def truth(x: Any, k: Any, dtype: str) -> dict[str, Any]:
    """Return what each method makes of each row, and what rounding does to it, by the name of the rule."""
    run = partial(_run, arithmetic.get("numpy", dtype), batch_of(x, k))
    with np.errstate(all="ignore"):
        loss, total = oracle(x, k)
        sound = np.isfinite(x.max(axis=1).astype(np.float64))
        label_logit = x[np.arange(len(x)), k].astype(np.float64)
        scale = np.minimum(np.abs(loss + label_logit), np.abs(label_logit))
        counts = sound & np.isfinite(loss)
        found = {
            "naive": sound & ~np.isfinite(run(kernels.naive)),
            "by_hand": sound & ~np.isfinite(run(kernels.by_hand)),
            "textbook": sound & ~np.isfinite(run(kernels.textbook)),
            "dense": sound & ~np.isfinite(run(kernels.dense)),
            "sparse": counts & (run(kernels.sparse) == 0) & (stored(loss, dtype) > 0),
            "guarded": counts & np.isinf(run(kernels.guarded)),
            "unshifted": counts & is_off(run(kernels.unshifted), loss) & (scale > 64 * loss),
        }
        for form in HALVES:
            found[f"sum in {form}"] = sound & (total * 0.99 > 2.0 ** formats.FORMATS[form].precision)
            if dtype not in HALVES:
                found[form] = counts & is_off(oracle(stored(x, form), k)[0], loss)
    return found


def _run(ar: Any, batch: Batch, kernel: Any) -> Any:
    return np.asarray(kernel(ar, batch)).astype(np.float64)[:, 0]


@every_dtype
@pytest.mark.parametrize(
    ("classes", "count"),
    first(2, [(1, 200), (2, 3000), (5, 3000), (9, 2000), (100, 800), (300, 500), (1000, 300)]),
)
def test_a_rule_says_what_its_method_does_in_every_row(dtype: str, classes: int, count: int) -> None:
    x, k = rows_of(dtype, classes, count)
    found = found_in(x, k, dtype)
    really = truth(x, k, dtype)
    said = {rule.name: applies(found, rule.name) for rule in found.rules}
    said["by_hand"] = said["naive"]
    said["dense"] = said["dense"] | said["difference-overflow"] | said["label-on-mask"]

    for name, rows in really.items():
        assert np.flatnonzero(said[name] != rows).tolist() == [], name
        if classes > 1 and name not in {"float16", "bfloat16", "sum in float16", "sum in bfloat16"}:
            assert 5 < rows.sum() < count - 5, name


@every_dtype
@pytest.mark.parametrize(("classes", "count"), first(2, [(2, 3000), (5, 3000), (129, 800), (1000, 300)]))
def test_a_clip_is_active_in_every_row_whose_loss_it_decides(dtype: str, classes: int, count: int) -> None:
    x, k = rows_of(dtype, classes, count)
    found, (loss, _) = found_in(x, k, dtype), oracle_of(x, k)
    counts, ar, form = np.isfinite(loss), arithmetic.get("numpy", dtype), formats.dtype(dtype).type
    with np.errstate(all="ignore"):
        plain = _run(ar, batch_of(x, k), kernels.guarded)
        p = kernels.softmax(ar, batch_of(x, k))[np.arange(count), k]
    for rule in found.rules:
        if rule.clip is None:
            continue
        low, high = map(form, rule.clip)
        said = applies(found, rule.name)
        with np.errstate(all="ignore"):
            clipped = _run(ar, batch_of(x, k, clip=rule.clip), kernels.clipped)
            bounds = [float(-np.log(bound)) for bound in (low, high)]

        assert np.array_equal(said, counts & ((p < low) | (p > high))), rule.name
        assert np.isin(clipped[said], bounds).all(), rule.name
        assert (said | ~counts | np.isnan(clipped) | (clipped == plain)).all(), rule.name
        assert said.any() or low == 0, rule.name


def oracle_of(x: Any, k: Any) -> Any:
    with np.errstate(all="ignore"):
        return oracle(x, k)


@pytest.mark.parametrize("form", HALVES)
def test_no_sum_in_order_is_larger_than_the_rule_says(form: str) -> None:
    most = 2.0 ** formats.FORMATS[form].precision
    x, k = rows_of(form, 3000, 60)
    found = found_in(x, k, form)
    with np.errstate(all="ignore"):
        terms = np.exp(x - x.max(axis=1)[:, None])
    sound = np.isfinite(found.columns.loss)
    reached = sums.sequential(terms)[sound, 0].astype(np.float64)
    total = oracle_of(x, k)[1][sound]
    said = applies(found, f"sum in {form}")[sound]

    assert reached.max() <= most
    assert (reached[said] < 0.99 * total[said]).all()
    assert said.any()
    for count in (int(most / 0.99), int(most / 0.99) + 1):  # of ones: within 1 % of the truth, and not
        short = float(sums.sequential(stored(np.ones((1, count)), form))[0, 0]) < 0.99 * count
        assert applies(found_in(np.zeros((1, count)), [0], form), f"sum in {form}").tolist() == [short]
    assert short


@pytest.mark.parametrize(("form", "size"), [("bfloat16", 20), ("float16", 40)])
def test_rounded_logits_are_a_finding_from_1_percent_of_the_loss(form: str, size: int) -> None:
    # From 16 on bfloat16 has the multiples of 1/8, from 32 on float16 those of 1/32: both round to ``size``.
    # The loss is exp(-gap): it grows by as much as the gap shrinks.
    assert form not in names_of([[size + 0.0099, 0]], [0])[0]
    assert form in names_of([[size + 0.0101, 0]], [0])[0]


@pytest.mark.slow
def test_offset_cancellation_is_a_finding_from_1_percent_of_the_loss() -> None:
    # n equal logits lose log n, and beside 2^20 multiples of 1/8 are left of it in float32.
    errors = [abs(round(8 * math.log(n)) / 8 / math.log(n) - 1) for n in range(2, 200)]
    pairs = [n for n in range(3, 200) if (errors[n - 2] > 0.01) != (errors[n - 3] > 0.01)]

    assert len(pairs) > 10
    for n in (m for pair in pairs for m in (pair - 1, pair)):
        said = "unshifted" in names_of(np.full((1, n), 2.0**20), [0])[0]
        assert said == (errors[n - 2] > 0.01), n


def test_offset_cancellation_needs_logits_of_64_times_the_loss() -> None:
    for row, cancels in (([3.431640625, 0.53271484375], True), ([0.70703125, -3.79296875], False)):
        x, k = stored([row], "float16"), np.array([0])
        exact, _ = oracle(x, k)
        assert abs(row[0] / exact[0] / 64 - 1) < 4e-5
        assert is_off(
            _run(arithmetic.get("numpy", "float16"), batch_of(x, k), kernels.unshifted), exact
        ).all()
        assert ("unshifted" in names_of(x, k, "float16")[0]) == cancels


@pytest.mark.parametrize(("form", "size"), [("bfloat16", 1), ("float16", 8)])
def test_rounding_is_a_finding_where_both_logits_move_by_half_an_ulp(form: str, size: float) -> None:
    # What rounding may change, 1.17 % of the loss by the bound, it does: the loss changes by 1.14 % at least.
    label_logit = size * (1 + 2.0 ** -formats.FORMATS[form].precision) * (1 - 1e-6)

    assert form in names_of([[label_logit, -2 * label_logit]], [0])[0]


@every_dtype
def test_next_to_a_unit_the_rounding_of_the_gap_decides(dtype: str) -> None:
    random, unit = np.random.default_rng(0), 2.0 ** -formats.FORMATS[dtype].precision
    x = random.uniform(-2, 2, (3000, 1)) + np.array([0, math.log(unit)])
    x[:, 1] += random.normal(size=3000) * 2 * unit * abs(math.log(unit))
    x, k = stored(x, dtype), np.zeros(3000, np.int64)
    collapsed = _run(arithmetic.get("numpy", dtype), batch_of(x, k), kernels.sparse) == 0

    assert np.array_equal(applies(found_in(x, k, dtype), "sparse"), collapsed)
    assert 900 < collapsed.sum() < 2100


@every_dtype
@pytest.mark.parametrize(
    ("classes", "columns", "units"),
    [
        # A term for each in the label's lane, each group of lanes that joins it, and each half that does.
        (128, [*range(8, 128, 8), 1, 2, 4], 0.9),
        (1000, [*range(8, 120, 8), 1, 2, 4, 120, 248, 496], 0.9),
        # Half of the terms in the half of the label, all in the other lanes.
        (300, [column for column in range(300) if column % 8 >= 4], 1.8 / 148),
    ],
)
def test_many_units_collapse_where_no_more_than_one_is_added_to_1_at_once(
    dtype: str, classes: int, columns: list[int], units: float
) -> None:
    x = np.full((1, classes), -4e4 if dtype == "float16" else -1e5)
    x[0, columns] = math.log(units) - formats.FORMATS[dtype].precision * math.log(2)
    x[0, 0] = 0
    x, k = stored(x, dtype), np.array([0])

    assert _run(arithmetic.get("numpy", dtype), batch_of(x, k), kernels.sparse) == 0
    assert "sparse" in names_of(x, k, dtype)[0]


@pytest.mark.parametrize("classes", [17_000, 40_000])
def test_terms_of_a_float16_tail_may_all_round_up_or_vanish(classes: int) -> None:
    # The terms of one half are next to half the smallest number. The sum is half a unit, but one in float16,
    # or more than a unit, but none in float16.
    gaps = np.linspace(17.2, 17.45, 16)
    x = np.full((16, classes), -6e4)
    x[:, classes // 2 :] = -gaps[:, None]
    x[:, 0] = 0
    x, k = stored(x, "float16"), np.zeros(16, np.int64)
    collapsed = _run(arithmetic.get("numpy", "float16"), batch_of(x, k), kernels.sparse) == 0

    assert np.array_equal(applies(found_in(x, k, "float16"), "sparse"), collapsed)
    assert 3 < collapsed.sum() < 13


@every_dtype
def test_ordinary_rows_are_decided_by_their_facts_alone(dtype: str) -> None:
    def method(*_: Any) -> Any:
        raise AssertionError

    random = np.random.default_rng(2)
    x, k = stored(random.normal(size=(500, 300)), dtype), random.integers(0, 300, 500)
    rules = tuple(replace(rule, method=rule.method and method) for rule in rules_for(dtype))
    ordinary = [rule for rule in rules if rule.name != "clip eps"]  # losses lie near it

    assert not columns_of(x, k, tuple(ordinary), -100).bits.any()


def test_a_row_has_the_same_rules_alone_and_in_any_order() -> None:
    for dtype in DTYPES:
        x, k = rows_of(dtype, 20, 300)
        order = np.random.default_rng(0).permutation(300)
        bits = found_in(x, k, dtype).columns.bits

        assert np.array_equal(found_in(x[order], k[order], dtype).columns.bits, bits[order])
        for row in range(0, 300, 10):
            assert found_in(x[row : row + 1], k[row : row + 1], dtype).columns.bits == bits[row]


@pytest.mark.parametrize(
    ("row", "label", "names"),
    [
        ([1, nan, 2], 0, {"nan-logit"}),
        ([1, inf, 2], 0, {"infinite-logit"}),
        ([-inf, -inf, -inf], 0, {"undefined-softmax"}),
        ([1, 2, 3], 3, {"label-out-of-range"}),
        ([1, 2, 3], -1, {"label-out-of-range"}),
        ([1, 2, 3], -100, set()),
        ([nan, 2, 3], -100, {"nan-logit"}),
        ([1, -inf, 3], 1, {"label-on-mask", "naive", "textbook"}),
        ([-inf, -inf, 3], 1, {"label-on-mask", "naive", "textbook", "dense"}),
        ([1, -inf, 3], 0, {"naive", "dense", "textbook"}),
        ([-inf, 2, 3], 3, {"label-out-of-range", "naive", "dense", "textbook"}),
        ([-3e38, 3e38, 0], 1, {"difference-overflow", "naive", "textbook", "float16", CASE_CLIP}),
        ([20, 0, 0], 0, {"sparse", "unshifted", CASE_CLIP}),
        ([0, -20, -20], 0, {"sparse", CASE_CLIP}),  # nothing cancels beside 0
        ([16.5, 0, -80], 0, {"unshifted", CASE_CLIP}),  # e^-16.5 is above 2^-24
        ([16.75, 0, -80], 0, {"sparse", "unshifted", CASE_CLIP}),  # and e^-16.75 below
        ([1e8, 1e8, 1e8], 0, {"unshifted", "textbook", "float16"}),
        ([90, 90, 90], 0, {"textbook"}),
        ([-200, -200, -200], 0, {"textbook"}),
        ([0, 17, 0], 0, {"clip 1e-7", "clip eps", CASE_CLIP}),
        ([2049, 2048, 0], 1, {"float16", "bfloat16", "textbook", "naive"}),
        ([1, 2, 3], 0, set()),
    ],
)
def test_a_row_has_exactly_these_rules(row: list[float], label: int, names: set[str]) -> None:
    assert names_of([row], [label]) == [names]


def test_without_labels_rules_that_need_them_are_skipped() -> None:
    x = np.array([[0, 200, 0], [nan, 0, 0], [20, 0, 0]], np.float32)

    assert names_of(x, None) == [{"naive", "textbook"}, {"nan-logit"}, set()]
    assert diagnosis_of(survey([Shard("a", x, None)], -100)).losses is None


def test_harm_comes_first_and_the_worst_row_of_each_rule_before_the_second_worst_of_any() -> None:
    x = np.array([[0, 40, 0], [0, 50, 0], [inf, 0, 0], [0, 60, 0], [inf, 0, 0]], np.float32)
    shards = [Shard("a", x, np.zeros(5, np.int64))]

    assert [row.row for row in diagnosis_of(survey(shards, -100, most=3)).rows] == [2, 4, 3]
    assert [row.row for row in diagnosis_of(survey(shards, -100, most=10**12)).rows] == [2, 4, 3, 1, 0]


def test_labels_beyond_int64_are_invalid() -> None:
    x, k = np.zeros((2, 3), np.float32), np.array([2**64 - 1, 2], np.uint64)

    assert names_of(x, k) == [{"label-out-of-range"}, set()]
    assert diagnosis_of(survey([Shard("a", x, k)], -100)).rows[0].label == 2**64 - 1


def test_rules_have_distinct_names_and_findings_of_the_catalogue_and_fit_into_their_bits() -> None:
    rules = rules_for("float32", CLIP)
    names = [rule.name for rule in rules]
    findings = {finding.name for finding in FINDINGS}

    assert len(set(names)) == len(names) <= 32
    assert {rule.finding for rule in rules} <= findings

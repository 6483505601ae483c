"""Every threshold of judging has twins: a result just inside and one just outside."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from xentcli import load, run
from xentcli.formats import Decimals
from xentcli.judge import Result
from xentcli.judge.evidence import Evidence, Examples, Reduction
from xentcli.judge.findings import FINDINGS
from xentcli.judge.verdicts import judge_gradient, judge_losses, judge_outcomes
from xentcli.load.build import build_batch
from xentcli.load.sources import Source
from xentcli.methods.table import select
from xentcli.model import Case, Exact, Operation, Outcome, Step

if TYPE_CHECKING:
    from xentcli.judge.findings.finding import Finding

inf, nan = math.inf, math.nan
EPS = 2.0**-23  # of float32
BY_NAME = {finding.name: finding for finding in FINDINGS}


def detects(name: str) -> Callable[[Evidence], bool]:
    return lambda e: bool(BY_NAME[name].detect(e)[0])


def read(text: str) -> Case:
    return load.load(Source("case.yaml", "case", f"title: t\n{text}".encode()))


def evaluated(text: str, methods: str) -> Result:
    return run.evaluate(read(text), select(methods))


def column(*values: float) -> Any:
    array = np.array([values], np.float32)
    array.flags.writeable = False
    return array


def step(
    operation: Operation, name: str, result: Any, *operands: Any, inputs: tuple[str | None, ...] = ()
) -> Step:
    return Step(operation, name, "", operands, inputs or (None,) * len(operands), result)


def evidence(*steps: Step, loss: float, true: str, word: str, batch: Any = None) -> Evidence:
    given = build_batch([[0.0, 0.0]], [0], "float32") if batch is None else batch
    truth, no_gradient = Decimals.of((Decimal(true),)), np.array([""])
    example = Examples(given, np.array([0]), truth)
    return Evidence(example, steps, "float32", np.array([loss]), np.array([word]), no_gradient)


# Verdicts


def _verdict(loss: float, true: str) -> str:
    return str(judge_losses(np.array([loss]), Decimals.of((Decimal(true),)), "float32")[0])


@pytest.mark.parametrize(("ulps", "word"), [(3, "accurate"), (4, "accurate"), (5, "off")])
@pytest.mark.parametrize("sign", [1, -1])
def test_4_ulps_are_accurate_and_5_are_off(ulps: int, word: str, sign: int) -> None:
    assert _verdict(1.5 + sign * ulps * EPS, "1.5") == word


def test_the_bar_counts_parts_of_an_ulp() -> None:
    bar = "1.500000476837158203125"  # 1.5 and 4 ulps

    assert _verdict(1.5, bar) == "accurate"
    assert _verdict(1.5, f"{bar}000000001") == "off"


# A loss and its truth for each verdict, the worst first.
LADDER = {
    "nan": (nan, "1"),
    "negative": (-1.0, "1"),
    "overflow": (inf, "1"),
    "collapsed": (0.0, "1"),
    "capped": (0.5, "1"),
    "off": (2.0, "1"),
    "undefined": (1.0, "nan"),
    "accurate": (1.0, "1"),
}


@pytest.mark.parametrize("worse", LADDER)
@pytest.mark.parametrize("better", LADDER)
def test_the_verdict_of_a_batch_is_the_worst_of_its_examples(worse: str, better: str) -> None:
    if list(LADDER).index(worse) > list(LADDER).index(better):
        worse, better = better, worse
    words = (better, worse)
    case = read("logits: [[0, 1], [0, 1]]\nlabels: [0, 0]\nreduction: none\n")
    clips = step(
        Operation.CLIP,
        "clipped",
        np.array([[0.5, 0.5] if word == "capped" else [0.1, 0.1] for word in words], np.float32),
        np.full((2, 2), 0.1, np.float32),
        0.5,
        1.0,
    )
    losses, truths = zip(*(LADDER[word] for word in words), strict=True)
    exact = Exact((0, 1), tuple(map(Decimal, truths)), (), None)

    (judgement,) = judge_outcomes(case, [Outcome("m", "float32", losses, None, None, (clips,))], exact)

    assert judgement is not None
    assert judgement.verdicts == words
    assert judgement.verdict == worse
    assert (judgement.ulps is None) == bool({"nan", "overflow", "undefined"} & set(words))


def test_the_ulps_of_a_batch_are_those_of_its_worst_example_and_none_beside_a_nan() -> None:
    case = read("logits: [[0, 1], [0, 1]]\nlabels: [0, 0]\nreduction: none\n")
    exact = Exact((0, 1), (Decimal(1), Decimal(1)), (), None)

    def ulps_of(*losses: float) -> Decimal | None:
        (judgement,) = judge_outcomes(case, [Outcome("m", "float32", losses, None, None, ())], exact)
        assert judgement is not None
        return judgement.ulps

    assert ulps_of(1 + 7 * EPS, 1 + 3 * EPS) == 7
    assert ulps_of(nan, 1 + 3 * EPS) is None


# Gradients


@pytest.mark.parametrize(("error", "state"), [(0.0099, "alive"), (0.0101, "wrong")])
def test_a_gradient_is_wrong_from_1_percent_of_its_largest_entry(error: float, state: str) -> None:
    exact = Exact((0,), (Decimal(1),), (np.array([-2.0, 2.0]),), None)

    judged = judge_gradient(np.array([[-2.0, 2.0 + 2 * error]]), exact, binary=False)

    assert judged.state == state
    assert judged.error == pytest.approx(error, rel=1e-12)  # one subtraction and a quotient of float64


@pytest.mark.parametrize(("entry", "state"), [(0.0, "zero"), (0.009, "alive"), (0.02, "wrong")])
def test_a_gradient_where_the_true_one_is_0_is_off_by_itself(entry: float, state: str) -> None:
    exact = Exact((0,), (Decimal(0),), (np.zeros(2),), None)

    judged = judge_gradient(np.array([[entry, 0.0]]), exact, binary=False)

    assert (judged.state, judged.error) == (state, entry)


STATES = {
    "nan": ([nan, 0.0], [1.0, -1.0]),
    "wrong": ([2.0, -1.0], [1.0, -1.0]),
    "dead": ([0.0, 0.0], [1.0, -1.0]),
    "undefined": ([1.0, -1.0], [nan, nan]),
    "alive": ([1.0, -1.0], [1.0, -1.0]),
    "zero": ([0.0, 0.0], [0.0, 0.0]),
}


@pytest.mark.parametrize("worse", STATES)
@pytest.mark.parametrize("better", STATES)
def test_the_state_of_a_batch_is_the_worst_of_its_examples(worse: str, better: str) -> None:
    if list(STATES).index(worse) > list(STATES).index(better):
        worse, better = better, worse
    pairs = [STATES[better], STATES[worse]]
    exact = Exact((0, 1), (Decimal(1), Decimal(1)), tuple(np.array(true) for _, true in pairs), None)

    judged = judge_gradient(np.array([values for values, _ in pairs]), exact, binary=False)

    assert judged.states == (better, worse)
    assert judged.state == worse


# Expectations


def test_a_loss_that_is_not_reduced_is_compared_with_no_scalar() -> None:
    case = read("logits: [[0, 1], [1, 0]]\nlabels: [0, 0]\nexpect: {dense: 0.81326}\n")
    unreduced = load.load(
        Source("c", "c", b"title: t\nlogits: [[0, 1], [1, 0]]\nlabels: [0, 0]\nexpect: {dense: 0.81326}\n"),
        load.Overrides(reduction="none"),
    )

    assert [c.reproduced for c in run.evaluate(case).comparisons] == [True]
    assert run.evaluate(unreduced).comparisons == ()


# Findings of an example


@pytest.mark.parametrize(("size", "found"), [(64, False), (65, True), (1000, True)])
def test_an_operand_64_times_the_result_has_cost_it_six_bits(size: int, found: bool) -> None:
    total, picked, left = column(size), column(size - 1), column(1)
    add = step(Operation.ADD, "total", total, column(0), total)
    difference = step(Operation.SUBTRACT, "difference", left, total, picked, inputs=("total", "picked"))
    larger = step(
        Operation.SUBTRACT, "difference", left, column(size), column(size + 1), inputs=("total", None)
    )

    detect = detects("offset-cancellation")

    assert detect(evidence(add, larger, loss=1.0, true="1", word="off")) is found
    assert detect(evidence(add, difference, loss=1.0, true="1", word="off")) is (size > 65)


@pytest.mark.parametrize(("eps", "found"), [(15, False), (16, False), (17, True), (100, True)])
def test_printed_probabilities_may_be_16_ulps_off(eps: int, found: bool) -> None:
    batch = build_batch([[0.0, 0.0]], [0], "float32", probabilities=[[0.5 + eps * EPS / 2, 0.5]])
    taken = step(Operation.LOG, "log", column(0, 0), batch.probabilities, inputs=("probabilities",))

    assert (
        detects("other-probabilities")(evidence(taken, loss=1.0, true="0.69", word="off", batch=batch))
        is found
    )


@pytest.mark.parametrize(("eps", "found"), [(1.5, False), (2, False), (2.5, True)])
def test_labels_may_be_off_1_by_a_rounding_per_class(eps: float, found: bool) -> None:
    batch = build_batch([[0.0, 0.0]], [[0.5, 0.5 + eps * EPS]], "float32")

    assert float(batch.labels.astype(np.float64).sum()) == 1 + eps * EPS
    assert detects("labels-not-normalised")(evidence(loss=1.0, true="1", word="off", batch=batch)) is found


@pytest.mark.parametrize(
    ("logits", "found"),
    [
        ("[-inf, -inf, 0, 1]", True),
        ("[-inf, -inf, 0, nan]", False),  # nan, not the tile, makes nan
        ("[-inf, 2, 0, 1]", False),
    ],
)
def test_an_empty_tile_is_found_where_only_it_makes_nan(logits: str, found: bool) -> None:
    (judgement,) = evaluated(f"logits: [{logits}]\nlabels: [3]\ntile: 2\n", "online").judgements

    assert judgement is not None
    assert ("empty-tile" in judgement.all_findings) is found


@pytest.mark.parametrize(("ulps", "found"), [(4, False), (5, True)])
def test_a_sum_may_be_4_ulps_of_its_terms_off(ulps: int, found: bool) -> None:
    terms = column(1.0, 0.5)
    total = step(Operation.SUM, "sum", column(1.5 + ulps * EPS), terms)

    assert detects("low-precision-sum")(evidence(total, loss=1.0, true="1", word="off")) is found


@pytest.mark.parametrize(("ulps", "found"), [(3, False), (5, True)])
def test_the_error_of_a_sum_counts_at_the_size_of_its_terms(ulps: int, found: bool) -> None:
    terms = column(2.0**20, -(2.0**20), 1.0)
    unit = 2.0**21 * EPS  # of the terms' magnitudes, 2^21 + 1
    total = step(Operation.SUM, "sum", column(1 + ulps * unit), terms)

    assert detects("low-precision-sum")(evidence(total, loss=1.0, true="1", word="off")) is found


@pytest.mark.parametrize(
    ("divisor", "ulps", "found"), [(2, 4, False), (2, 5, True), (1, 4, False), (1, 5, True)]
)
def test_a_reduction_may_be_4_ulps_off(divisor: int, ulps: int, found: bool) -> None:
    finding: Finding = BY_NAME["low-precision-sum"]
    loss = 3.0 / divisor
    reduced = Reduction(
        (1.0, 2.0),
        loss + ulps * EPS * 2.0 ** math.floor(math.log2(loss)),
        Fraction(divisor),
        "float32",
        Decimal(loss),
        build_batch([[1, 2], [2, 1]], [0, 1], "float32"),
    )

    assert finding.detect_in_reduction(reduced) is found


@pytest.mark.parametrize(("ulps", "found"), [(4, False), (6, True)])
def test_a_tail_may_be_4_ulps_off_in_the_sum(ulps: int, found: bool) -> None:
    exp = step(Operation.EXP, "exp", column(1.0, 1.0), column(0.0, 0.0))
    total = step(Operation.SUM, "sum", column(2 + ulps * EPS), column(1.0, 1.0), inputs=("exp",))

    assert detects("tail-collapse")(evidence(exp, total, loss=0.6, true="0.693", word="off")) is found


@pytest.mark.parametrize(("true", "found"), [("0.9999", True), ("1.0001", False)])
def test_a_tail_matters_to_a_loss_below_1(true: str, found: bool) -> None:
    exp = step(Operation.EXP, "exp", column(1.0, 0.5), column(0.0, math.log(0.5)))
    total = step(Operation.SUM, "sum", column(1.0), column(1.0, 0.5), inputs=("exp",))

    assert detects("tail-collapse")(evidence(exp, total, loss=0.4, true=true, word="off")) is found


@pytest.mark.parametrize(
    ("method", "logits"), [("textbook", [[25, 3]]), ("dense", [[20, 3]]), ("naive", [[3, -14]])]
)
def test_a_collapse_is_named_whatever_the_largest_logit_is(method: str, logits: list[list[int]]) -> None:
    (judgement,) = evaluated(f"logits: {logits}\nlabels: [0]\n", method).judgements

    assert judgement is not None
    assert judgement.verdict == "collapsed"
    assert "tail-collapse" in judgement.all_findings


@pytest.mark.parametrize(("operand", "found"), [("difference", False), ("logits", True)])
def test_a_sum_without_the_row_s_largest_term_swallows_nothing_that_matters(
    operand: str, found: bool
) -> None:
    terms = column(2.0**-10, 2.0**-50)
    exp = step(Operation.EXP_IN_ROWS, "exp", terms, column(0, 0), inputs=(operand,))
    total = step(Operation.SUM, "sum", column(2.0**-10), terms, inputs=("exp",))

    assert detects("tail-collapse")(evidence(exp, total, loss=0.0, true="1e-9", word="collapsed")) is found


@pytest.mark.parametrize(("ulps", "found"), [(3, False), (5, True)])
def test_the_error_of_a_reduction_counts_at_the_size_of_its_losses(ulps: int, found: bool) -> None:
    losses, batch = (2.0**20, -(2.0**20), 1.0), build_batch([[1, 2]] * 3, [0, 1, 1], "float32")
    reduced = Reduction(losses, 1 + ulps * 2.0**21 * EPS, Fraction(1), "float32", Decimal(1), batch)

    assert BY_NAME["low-precision-sum"].detect_in_reduction(reduced) is found

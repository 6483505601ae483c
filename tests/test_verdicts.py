"""Verdicts, gradients, findings, breakdown points: what is said of a result, against theory."""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from xentcli import load, run, words
from xentcli.formats import Decimals, stored
from xentcli.judge import Result
from xentcli.judge.findings import FINDINGS
from xentcli.judge.verdicts import VERDICTS, judge_losses
from xentcli.load.build import build_batch
from xentcli.load.sources import Source
from xentcli.methods import kernels
from xentcli.methods import table as methods
from xentcli.methods.arithmetic import Arithmetic
from xentcli.methods.arithmetic.sums import pairwise
from xentcli.methods.method import Method
from xentcli.model import Judgement, Outcome

FOLDER = Path(__file__).parent / "findings"
inf, nan = math.inf, math.nan


def result_of(text: str, *chosen: Method) -> Result:
    case = load.load(Source("case.yaml", "case", text.encode()))
    return run.evaluate(case, chosen or methods.METHODS)


def judged(text: str, name: str) -> tuple[Outcome, Judgement]:
    result = result_of(text, *methods.select(name))
    (judgement,) = result.judgements
    assert judgement is not None
    return result.outcomes[0], judgement


def case(logits: object, labels: object, **keys: object) -> str:
    keys = {"title": "t", "logits": logits, "labels": labels} | keys
    return "".join(f"{key}: {value}\n" for key, value in keys.items())


# Verdicts


@pytest.mark.parametrize(
    ("got", "true", "word"),
    [
        (1.0, "1", "accurate"),
        (1.0 + 4 * 2**-23, "1", "accurate"),
        (1.0 + 5 * 2**-23, "1", "off"),
        (0.0, "1e-9", "collapsed"),
        (0.0, "1e-60", "accurate"),  # the truth itself rounds to 0
        (inf, "1", "overflow"),
        (inf, "1e39", "accurate"),  # the truth itself rounds to inf
        (inf, "Infinity", "accurate"),
        (nan, "1", "nan"),
        (-1e-7, "1e-9", "negative"),
        (nan, "NaN", "undefined"),
        (0.0, "NaN", "undefined"),
    ],
)
def test_a_verdict_needs_only_numbers(got: float, true: str, word: str) -> None:
    assert judge_losses(np.array([got]), Decimals.of((Decimal(true),)), "float32").tolist() == [word]
    assert word in VERDICTS


# What the issue threads report, and the truth

CLIPPED = {"clip": "[1e-10, 1.0]"}


@pytest.mark.parametrize(
    ("text", "name", "loss", "word", "gradient"),
    [
        (case([[1e8, 1e8]], [0]), "unshifted", 0.0, "collapsed", [0.5 - 1, 0.5]),
        (case([[1e8, 1e8]], [0]), "sparse", 0.6931471824645996, "accurate", [0.5 - 1, 0.5]),
        (case([[1e8, 1e8]], [0]), "log1p", 0.6931471824645996, "accurate", [0.5 - 1, 0.5]),
        (case([[1e8, 1e8]], [0]), "online", 0.6931471824645996, "accurate", [0.5 - 1, 0.5]),
        (case("[[-inf, 0]]", [1]), "dense", nan, "nan", [0, 0]),
        (case("[[-inf, 0]]", [1]), "sparse", 0.0, "accurate", [0, 0]),
        (case([[0, 30]], [0], **CLIPPED), "clipped", 23.025850296020508, "capped", [0, 0]),
        (case([[0, 30]], [0], **CLIPPED), "dense", 30.0, "accurate", [-1, 1]),
        (case([[0, 200]], [1]), "naive", nan, "nan", [nan, nan]),
        (case([[2, 1, 0]], [[1, 1, 0]]), "dense", 1.8152120113372803, "accurate", [-0.3348, -0.7553, 0.0900]),
    ],
)
def test_documented_losses_and_gradients(
    text: str, name: str, loss: float, word: str, gradient: list[float]
) -> None:
    outcome, judgement = judged(text, name)

    assert outcome.gradient is not None
    assert np.array_equal(outcome.losses, [loss], equal_nan=True)
    assert judgement.verdict == word
    assert np.array_equal(outcome.gradient.round(4), [gradient], equal_nan=True)  # as the threads print them


@pytest.mark.parametrize(
    ("text", "name", "state"),
    [
        (case([[0, 30]], [0], **CLIPPED), "clipped", "dead"),
        (case([[0, 30]], [0], **CLIPPED), "dense", "alive"),
        (case([[0, 200]], [1]), "naive", "nan"),
        (case([[2, 1, 0]], [[1, 1, 0]]), "dense", "wrong"),
        (case([[2, 1, 0]], [[1, 1, 0]]), "log1p", "alive"),
        (case([[20, 0]], [0]), "sparse", "wrong"),  # its own class's share is lost in 1 - 1
        (case([[20, 0]], [0]), "log1p", "alive"),
        (case([[5]], [0]), "dense", "zero"),
        (case("[[-inf, -inf]]", [0]), "dense", "undefined"),
    ],
)
def test_the_state_of_a_gradient(text: str, name: str, state: str) -> None:
    _, judgement = judged(text, name)

    assert judgement.gradient is not None
    assert judgement.gradient.state == state


def test_the_residual_is_what_is_missing_from_a_sum_of_0() -> None:
    _, lost = judged(case([[20, 0]], [0]), "sparse")
    _, kept = judged(case([[20, 0]], [0]), "log1p")

    assert lost.gradient is not None
    assert kept.gradient is not None
    assert lost.gradient.residual == float(np.exp(np.float32(-20)))
    assert kept.gradient.residual == 0


def test_the_abnormal_case_as_the_blog_did_not_see_it() -> None:
    text = (Path(__file__).parent.parent / "cases" / "abnormal.yaml").read_text(encoding="utf-8")

    said = {name: judged(text, name)[1] for name in ("naive", "clipped", "dense", "sparse")}

    assert [(j.verdict, j.gradient and j.gradient.state) for j in said.values()] == [
        ("nan", "nan"),
        ("capped", "dead"),
        ("accurate", "alive"),
        ("accurate", "alive"),
    ]
    assert said["naive"].all_findings[0] == "zero-times-infinity"
    assert said["dense"].ulps is not None
    assert said["dense"].ulps < 1


def test_a_sampled_batch_is_judged_by_its_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xentcli.judge.exact._MOST_NUMBERS", 5_000)
    row = "[" + ", ".join(["0"] * 101) + "]"
    result = result_of(case(f"[{', '.join([row] * 200)}]", [0] * 200), *methods.select("dense"))

    assert len(result.exact.rows) == 5_000 // 101
    assert result.exact.loss is None
    (judgement,) = result.judgements
    assert judgement is not None
    assert judgement.verdict == "accurate"
    assert len(judgement.verdicts) == len(result.exact.rows)


# Findings

ONLY_IN_DUMPS = {"rounded-logits", "labels-out-of-step"}  # a case has its logits as they are stored
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_finding_is_told_here_and_not_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    method = re.match(r"# (\w+): ", text)
    assert method
    name = path.stem.removesuffix(".not")

    _, judgement = judged(text, method[1])

    assert (name in judgement.all_findings) is not path.stem.endswith(".not")


def test_every_finding_has_a_case_and_one_nearly_like_it() -> None:
    names = {finding.name for finding in FINDINGS} - ONLY_IN_DUMPS

    assert {path.stem for path in FILES} == names | {f"{name}.not" for name in names}


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        (case([[15, 0]], [0]), "dense", "tail-collapse"),  # off by a sixth, not yet 0
        (case([[100000040, 1e8]], [0]), "online", "tail-collapse"),  # the offset is subtracted exactly
        (case([[0, 30000]] * 3, [0] * 3, dtype="float16"), "dense", "low-precision-sum"),  # 90000 before / 3
        (case([[0, 30000]] * 3, [0] * 3, dtype="float16", reduction="sum"), "dense", "value-overflows-dtype"),
    ],
)
def test_findings_of_what_is_off_and_of_the_reduction(text: str, name: str, found: str) -> None:
    assert judged(text, name)[1].all_findings == (found,)


@pytest.mark.parametrize(
    ("text", "name", "unfound"),
    [
        (case("[[0, -inf, 1]]", [1]), "naive", "log-of-zero"),  # the true loss is inf
        (case([[40000, -40000]], [0], dtype="float16"), "dense", "zero-times-infinity"),  # no log of 0 in it
    ],
)
def test_a_cause_that_is_not_the_cause_is_not_told(text: str, name: str, unfound: str) -> None:
    assert unfound not in judged(text, name)[1].all_findings


@pytest.mark.parametrize("name", ["bce_naive", "bce_clipped", "bce_clamped", "bce_with_logits"])
def test_a_label_of_the_smallest_number_is_judged_without_a_warning(name: str) -> None:
    """The loss over the label is beyond float64."""
    numbers = case("[22.25, -16.5625]", "[5e-324, 0]", dtype="float64")

    assert judged(numbers, name)[1] is not None


def test_findings_are_complete_sentences_with_a_source() -> None:
    for finding in FINDINGS:
        assert finding.cause.endswith(".")
        assert finding.remedy.endswith(".")
        assert "://" in finding.source or "doi:" in finding.source


# Breakdown points (precision p: 1 + exp(-g) rounds to 1 from p ln 2 on)

COLLAPSE = {"float16": 7.6246, "bfloat16": 5.5452, "float32": 16.6355, "float64": 36.7368}
# Half the smallest subnormal: exp(-g) itself rounds to 0 from there on.
UNDERFLOW = {
    name: -math.log(tiny) for name, tiny in (("float16", 2**-25), ("bfloat16", 2**-134), ("float32", 2**-150))
}
OFFSET = {"float16": 63.0, "bfloat16": 6.9, "float32": 5.3e5, "float64": 2.9e14}


def first(low: float, high: float, happens: Callable[[float], bool]) -> float:
    """Bisect for the point from which something happens, to five digits."""
    while high / low > 1.00001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if happens(middle) else (middle, high)
    return high


@pytest.mark.parametrize("dtype", words.DTYPES)
def test_dense_collapses_where_1_plus_the_tail_rounds_to_1(dtype: str) -> None:
    def collapses(gap: float) -> bool:
        return judged(case([[gap, 0]], [0], dtype=dtype), "dense")[0].losses == (0.0,)

    gap = first(1, 100, collapses)

    # The format's own spacing of gaps: half an ulp at the gap, and half an ulp of the exponential.
    spacing = {"float16": 2**-8, "bfloat16": 2**-6, "float32": 1e-5, "float64": 1e-5}[dtype]
    assert abs(gap - COLLAPSE[dtype]) <= spacing + 1e-3


@pytest.mark.parametrize("dtype", UNDERFLOW)
def test_log1p_does_not_collapse_before_exp_underflows(dtype: str) -> None:
    def collapses(gap: float) -> bool:
        return judged(case([[gap, 0]], [0], dtype=dtype), "log1p")[0].losses == (0.0,)

    assert first(1, 1000, collapses) >= UNDERFLOW[dtype] * (1 - 2.0**-8)


@pytest.mark.parametrize("dtype", words.DTYPES)
def test_unshifted_is_off_by_a_hundredth_from_a_common_offset_on(dtype: str) -> None:
    grid = stored(np.geomspace(1, 1e16, 4000), dtype)
    given = build_batch(np.repeat(grid[:, None], 3, axis=1), np.zeros(len(grid), np.int64), dtype)

    with np.errstate(all="ignore"):  # from the format's end on the grid is infinite
        losses = kernels.unshifted(Arithmetic(), given)[:, 0].astype(np.float64)

    offset = float(grid[np.argmax(abs(losses - math.log(3)) > 0.01 * math.log(3))])
    assert abs(offset / OFFSET[dtype] - 1) < 0.03  # the values are given to two digits


# Sums in half formats


def test_half_sums_round_after_each_addition_in_numpy_s_order() -> None:
    rng = np.random.default_rng(0)
    for classes in (1, 7, 8, 9, 127, 128, 129, 1000):
        x = rng.random((3, classes)).astype(np.float32)
        assert np.array_equal(pairwise(x)[:, 0], np.array([row.sum() for row in x])), classes

    ones = np.array([[2048.0, *[1.0] * 7]], np.float16)
    assert Arithmetic().sum(ones).item() == 2048 + 2 + 4  # 2048 + 1 is lost, 2 and 4 are not
    assert Arithmetic("float32").sum(ones).item() == 2055

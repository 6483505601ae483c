"""explain and identify: the step that made the nan, and what a stuck loss means."""

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import Xent, assert_golden

from xentcli import words
from xentcli.identify import FLOORS, identify
from xentcli.methods.arithmetic import Arithmetic
from xentcli.methods.table import METHOD_NAMES
from xentcli.methods.trace import NOTATION
from xentcli.model import Operation


@pytest.mark.parametrize(
    ("case", "method"),
    [("abnormal", "naive"), ("abnormal", "clipped"), ("normal-3x3", "sparse"), ("normal-3x3", "online")],
)
def test_an_explanation_is_written_as_kept(xent: Xent, case: str, method: str) -> None:
    assert_golden(f"explain-{case}-{method}.plain", xent("explain", case, "--method", method).out)


def test_explain_names_the_operation_that_made_the_nan(xent: Xent) -> None:
    done = xent("explain", "cases/abnormal.yaml", "--method", "naive")

    assert done.code == 0
    assert "Born in log of class 0: log(0) is -inf." in done.out
    assert "Born in product of class 0: 0 × log(0) is nan." in done.out
    assert "\nzero-times-infinity: " in done.out
    assert "Remedy: " in done.out


def explained(xent: Xent, tmp_path: Path, text: str, *options: str) -> dict[str, object]:
    path = tmp_path / "mine.yaml"
    path.write_text(f"title: t\n{text}\n", encoding="utf-8")
    done = xent("explain", path, "--format", "json", *options)
    assert done.code == 0, done.err
    (explanation,) = json.loads(done.out)["explanations"]
    return dict(explanation)


def test_explain_takes_the_first_wrong_method_and_example(xent: Xent, tmp_path: Path) -> None:
    told = explained(xent, tmp_path, "logits: [[1, 2], [17, 0]]\nlabels: [0, 0]")

    assert (told["method"], told["example"], told["verdict"]) == ("naive", 1, "collapsed")


def test_explain_of_a_tile_without_a_finite_logit(xent: Xent, tmp_path: Path) -> None:
    text = "logits: [[-inf, -inf, -inf, -inf, 0, 1]]\nlabels: [4]"

    told = explained(xent, tmp_path, text, "--method", "online")

    assert told["born"] == [{"step": "difference", "sentence": "difference: -inf - -inf is nan"}]


def test_explain_sees_a_reduction_that_overflows(xent: Xent, tmp_path: Path) -> None:
    text = "dtype: float16\nlogits: [[0, 30000], [0, 30000], [0, 30000]]\nlabels: [0, 0, 0]"

    told = explained(xent, tmp_path, text, "--method", "dense")

    assert told["born"] == [{"step": "reduction", "sentence": "reduction: the sum over the examples is inf"}]


def test_the_case_of_a_mean_shows_the_mean(xent: Xent, tmp_path: Path) -> None:
    (candidate,) = identify("8.05904787")
    assert candidate.case is not None
    (tmp_path / "mean.yaml").write_text(candidate.case, encoding="utf-8")

    (case,) = json.loads(xent("run", tmp_path / "mean.yaml", "--format", "json").out)["cases"]

    assert case["methods"][1]["loss"] == 8.059048


def test_the_last_step_is_the_loss_that_run_prints(xent: Xent, tmp_path: Path) -> None:
    rows, flat = "logits: [[0.5, 2, 1]]\nlabels: [2]", "logits: [0.5]\nlabels: [1]"
    for dtype in words.DTYPES:
        for method in METHOD_NAMES:
            text = flat if method.startswith("bce_") else rows
            told = explained(xent, tmp_path, text, "--method", method, "--dtype", dtype)
            steps = told["steps"]
            assert isinstance(steps, list)
            assert steps[-1]["values"] == [told["loss"]], (dtype, method)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["abnormal", "--example", "2"], "there is no example 2; the case has 2 examples, 0 to 1"),
        (["abnormal", "--method", "nave"], "unknown method 'nave'; did you mean 'naive'?"),
        (["abnormal", "--method", "all"], "explain expects one method, not the group 'all'"),
        (["abnormal", "--method", "torch"], "explain follows xent's own methods step by step; torch shows"),
        (["nowhere"], "nowhere: no such file, folder or bundled case"),
    ],
)
def test_explain_refuses(xent: Xent, arguments: list[str], message: str) -> None:
    done = xent("explain", *arguments)

    assert (done.code, done.out) == (2, "")
    assert message in done.err


# identify: typed as a log prints it, the epsilon or number of classes it comes from, the share of examples


@pytest.mark.parametrize(
    ("typed", "definition", "share"),
    [
        ("103.2789", "2^-149", "1"),
        ("100", "the bound of a clamped log", "1"),
        ("87.3365", "FLT_MIN", "1"),
        ("87.336545", "FLT_MIN", "1"),
        ("82.893", "1e-36", "1"),
        ("82.89307", "1e-36", "1"),
        ("46.0517", "1e-20", "1"),
        ("36.8414", "1e-16", "1"),
        ("36.0437", "2^-52", "1"),
        ("34.5388", "1e-15", "1"),
        ("27.631", "1e-12", "1"),
        ("23.02585", "1e-10", "1"),
        ("18.42068", "1e-8", "1"),
        ("16.118", "1e-7", "1"),
        ("16.118095", "1e-7", "1"),
        ("15.9424", "2^-23", "1"),
        ("15.942385", "2^-23", "1"),
        ("15.42495", "2e-7", "1"),
        ("15.33324", "1e-7 + 2^-23", "1"),
        ("13.8155", "1e-6", "1"),
        ("6.93147", "2^-10", "1"),
        ("0.693147", "ln(2)", "1"),
        ("2.302585", "ln(10)", "1"),
        ("6.907755", "ln(1000)", "1"),
        ("10.3735", "ln(32000)", "1"),
        ("0.313262", "ln(e + 1) - 1", "1"),
        ("0.7437", "ln(e + 3) - 1", "1"),
        ("1.4612", "ln(e + 9) - 1", "1"),
        ("5.9095", "ln(e + 999) - 1", "1"),
        ("8.05904787", "1e-7", "1/2"),
        ("8.634694", "1e-15", "1/4"),
        ("9.010913", "2^-52", "1/4"),
    ],
)
def test_constants_as_threads_print_them(typed: str, definition: str, share: str) -> None:
    first = identify(typed)[0]

    assert definition in first.constant.definition
    assert first.share == Fraction(share)


@pytest.mark.parametrize(
    "typed", ["3.14159", "1.2345", "16.119", "16.1182", "7.123", "87.3366", "5.01e-3", "99.9"]
)
def test_nothing_is_claimed_when_nothing_fits(xent: Xent, typed: str) -> None:
    assert identify(typed) == ()
    done = xent("identify", typed)
    assert (done.code, done.out) == (1, f"{typed}: nothing known fits these digits.\n")


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("smoothing-meets-mask", "(dense, example 0"),  # not clipped, which is wrong too
        ("clamp-leaps", "(bce_clamped, example 1"),  # where it leaps
        ("keras-cap", "(clipped, example 1"),
        ("every-label-ignored", "(dense, example 0"),
    ],
)
def test_explain_begins_with_what_the_case_is_about(xent: Xent, name: str, about: str) -> None:
    assert about in xent("explain", name).out


def test_identify_of_0_is_the_tail_and_of_nan_no_constant(xent: Xent) -> None:
    (zero,) = identify("0.000")
    assert zero.constant.bundled == "tail-collapse"
    assert zero.case is not None

    done = xent("identify", "nan")
    assert (done.code, done.out) == (2, "")
    assert "'xent explain CASE' finds where it was born" in done.err


@pytest.mark.parametrize("typed", ["abc", "-16.118", "1e999", "16", "9" * 1000])
def test_identify_refuses_what_is_no_loss(xent: Xent, typed: str) -> None:
    done = xent("identify", "--", typed)

    assert done.code == 2
    assert "Traceback" not in done.err
    assert "write the number as it was printed" in done.err or "too few digits" in done.err


def test_the_case_of_a_constant_shows_that_constant(xent: Xent, tmp_path: Path) -> None:
    for constant in (*FLOORS, *(c.constant for c in (*identify("2.302585"), *identify("1.4612")))):
        if constant.case is None:
            continue
        path = tmp_path / "shown.yaml"
        path.write_text(constant.case, encoding="utf-8")
        options = ["--dtype", "float64", "--methods", "clipped", "--format", "json"]
        (case,) = json.loads(xent("run", path, *options).out)["cases"]
        # One rounding of the epsilon and one of its log.
        assert math.isclose(case["methods"][0]["loss"], constant.value, rel_tol=2**-50), constant


def test_identify_is_written_as_kept(xent: Xent) -> None:
    shown = [xent("identify", value).out for value in ("16.118", "8.05904787", "100", "10.3735")]
    assert_golden("identify.plain", "\n".join(shown))
    document = json.loads(xent("identify", "8.05904787", "--format", "json").out)
    assert (document["schema"], document["candidates"][0]["share"]) == ("xent.identify/1", "1/2")


def test_every_operation_of_an_arithmetic_can_be_recorded() -> None:
    offered = {
        name for name, value in vars(Arithmetic).items() if callable(value) and not name.startswith("_")
    }

    assert offered == {operation.value for operation in Operation} == {each.value for each in NOTATION}

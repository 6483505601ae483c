"""explain: the step that made the nan, its cause and its remedy."""

import json
from pathlib import Path

import pytest
from conftest import Xent, assert_golden

from xentcli import words
from xentcli.identify import identify
from xentcli.methods.arithmetic import Arithmetic
from xentcli.methods.table import METHODS
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
    sentence = " ".join(done.out.partition("\n\n")[0].split())
    assert "It starts in log of class 0: log(0) is -inf, then in product of class 0: 0 ×" in sentence
    assert "\n  zero-times-infinity\n" in done.out
    assert "  remedy  " in done.out


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


def test_a_mean_of_some_rows_says_what_they_are_part_of(xent: Xent) -> None:
    out = xent("explain", "mean-of-means", "--method", "mean_of_means").out

    assert out.count("  mean part of kept  ") == 2


def test_explain_of_an_invalid_label_names_it(xent: Xent, tmp_path: Path) -> None:
    text = "logits: [[1, 2]]\nlabels: [2]\nbad_labels: nan"

    explanation = explained(xent, tmp_path, text, "--method", "sparse")

    sentence = "picked: the entry of an invalid label is nan"
    assert explanation["born"] == [{"step": "picked", "sentence": sentence}]


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
        for method in METHODS:
            text = flat if method.binary else rows.replace("[2]", "[1]")
            text += f"\nparts: {{along: {method.parts[0]}, sizes: 1}}" if method.parts else ""
            text += "".join(f"\n{name}: {1 if name == 'padding' else 0.5}" for name in method.needs)
            told = explained(xent, tmp_path, text, "--method", method.name, "--dtype", dtype)
            steps = told["steps"]
            assert isinstance(steps, list)
            assert steps[-1]["values"] == [told["loss"]], (dtype, method.name)


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


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("smoothing-meets-mask", "dense · example 0"),  # not clipped, which is wrong too
        ("clamp-leaps", "bce_clamped · example 1"),  # where it leaps
        ("keras-cap", "clipped · example 1"),
        ("every-label-ignored", "dense · example 0"),
    ],
)
def test_explain_begins_with_what_the_case_is_about(xent: Xent, name: str, about: str) -> None:
    assert about in xent("explain", name).out


def test_every_operation_of_an_arithmetic_can_be_recorded() -> None:
    offered = {
        name for name, value in vars(Arithmetic).items() if callable(value) and not name.startswith("_")
    }

    assert offered == {operation.value[0] for operation in Operation}
    assert offered == {operation.name.lower() for operation in Operation}

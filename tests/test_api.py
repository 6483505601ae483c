"""What import xentcli offers: the answers of the command line, for arrays and files, without its cost."""

import copy
import dataclasses
import importlib
import json
import pickle
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CASES, Xent, first, program

import xentcli
from xentcli import XentError

LOGITS = np.array([[0.0, 200.0, 3.0], [2.0, 1.0, 0.5], [-5.0, 100.0, 7.0]], np.float32)
LABELS = np.array([0, 1, 1])
TRUE = [200.0, float(np.float32(1.4643688)), float(np.float32(np.exp(-93)))]  # by hand, rounded to float32
# Every way to a result, by what the command line is asked for the same.
SAME: dict[str, Callable[[], Any]] = {
    "run abnormal": lambda: xentcli.evaluate("abnormal"),
    "run cases/normal-3x3.yaml --methods all": lambda: xentcli.evaluate(CASES / "normal-3x3.yaml", "all"),
    "run abnormal --dtype float64 --arithmetic numpy": lambda: xentcli.evaluate(
        xentcli.load_case("abnormal", dtype="float64", arithmetic="numpy")
    ),
    "run --logits [[0.1,30],[2,1]] --labels [0,1]": lambda: xentcli.evaluate(
        logits=np.array([[0.1, 30], [2, 1]], np.float32), labels=np.array([0, 1])
    ),
    "explain abnormal --method clipped --example 1": lambda: xentcli.explain_case("abnormal", "clipped", 1),
    "explain abnormal": lambda: xentcli.explain_case(xentcli.load_case("abnormal")),
    "identify 2.302585": lambda: xentcli.identify_value(2.302585),
    "identify 47.88 --true 11.97": lambda: xentcli.identify_value("47.88", 11.97),
}


def on_a_terminal(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    return "\n".join(line.rstrip() for line in program(*arguments).stdout.splitlines())


@pytest.mark.parametrize("command", first(1, SAME))
def test_a_result_prints_what_the_terminal_shows(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = SAME[command]()

    assert repr(result) == str(result) == on_a_terminal(*command.split(), monkeypatch=monkeypatch) != ""


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--method", "naive"], ["--observed", "nan"]], ids=" ".join)
def test_arrays_are_diagnosed_as_a_file_of_them_is(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "batch.npz")
    np.savez(path, logits=LOGITS, labels=LABELS)
    keywords: dict[str, Any] = dict(zip(options[::2], options[1::2], strict=True))
    keywords = {"loss" if name == "--method" else name[2:]: value for name, value in keywords.items()}

    shown = on_a_terminal("diagnose", path, *options, monkeypatch=monkeypatch).splitlines()
    in_memory = xentcli.diagnose_logits(LOGITS, LABELS, **keywords)

    assert without_next(str(in_memory)) == without_next(str(xentcli.diagnose_logits(path, **keywords)))
    assert without_next(str(in_memory)) == [line for line in shown if not line.startswith("  next ")]


def without_next(text: str) -> list[str]:
    """Drop the line that says what to type next: a program calls what a shell types."""
    return [line for line in text.splitlines() if not line.startswith("  next ")]


def test_a_program_reads_results_by_name() -> None:
    evaluation = xentcli.evaluate(logits=LOGITS, labels=LABELS, methods=["naive", "log1p"], reduction="none")
    naive, log1p = evaluation["naive"], evaluation["log1p"]

    assert evaluation.methods == ("naive", "log1p")
    assert evaluation.true_loss is naive.loss is None
    assert evaluation.true_losses.tolist() == log1p.losses.tolist() == TRUE
    assert (naive.verdict, str(naive.losses[0]), log1p.verdict) == ("nan", "nan", "accurate")
    assert "log-of-zero" in naive.findings
    with pytest.raises(XentError, match="'dense' did not run; naive, log1p did"):
        evaluation["dense"]


def test_a_diagnosis_says_by_name_what_it_prints_and_its_worst_rows_are_a_case() -> None:
    diagnosis = xentcli.diagnose_logits(LOGITS, LABELS)

    assert " ".join(str(diagnosis).split()).startswith(diagnosis.verdict)
    assert diagnosis.findings["log-of-zero"] == 1
    assert [row.row for row in diagnosis.rows] == [0, 2]
    assert diagnosis.losses is not None
    assert diagnosis.losses.number == 3
    assert not diagnosis.is_wrong
    assert xentcli.diagnose_logits(LOGITS, LABELS, loss="naive").is_wrong
    assert xentcli.evaluate(diagnosis.worst_case(), "naive")["naive"].verdict == "nan"
    with pytest.raises(XentError, match="labels are unknown"):
        xentcli.diagnose_logits(LOGITS).worst_case()
    with pytest.raises(XentError, match="no row has a finding"):
        xentcli.diagnose_logits(np.eye(9)[:, :3], np.zeros(9, int)).worst_case()


def test_results_are_frozen_and_can_be_copied() -> None:
    for result in (
        xentcli.evaluate("abnormal"),
        xentcli.explain_case("abnormal"),
        xentcli.identify_value("2.302585"),
    ):
        assert dataclasses.is_dataclass(result)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, dataclasses.fields(result)[0].name, None)
        assert str(copy.copy(result)) == str(result)


def naive(logits: Any, labels: Any) -> Any:
    with np.errstate(all="ignore"):
        e = np.exp(logits)
        return np.log(e.sum(axis=1)) - logits[np.arange(len(labels)), labels]


@pytest.mark.parametrize("loss", [naive, lambda x, y: naive(x, y).mean()], ids=["losses", "mean"])
def test_a_function_in_this_process_is_asked(loss: Any) -> None:
    diagnosis = xentcli.diagnose_logits(LOGITS, LABELS, loss=loss)

    assert diagnosis.response is not None
    assert (diagnosis.response.infinite, diagnosis.response.nan) == (2, 0)
    assert diagnosis.response.name.endswith("()")


def fails(*_: Any) -> Any:
    raise RuntimeError("out of order")


REFUSED: dict[str, Callable[[], Any]] = {
    "logits are int64; expected float16": lambda: xentcli.diagnose_logits([[1, 2]], [0]),
    "logits are of shape (3,); expected (N, C) or (…, C), C at least 2; one logit per row is binary=True": (
        lambda: xentcli.diagnose_logits(LOGITS[0], LABELS)
    ),
    "more than one class on axis 5": lambda: xentcli.diagnose_logits(LOGITS, LABELS, class_axis=5),
    "labels are int64 of shape (2,); expected class indices for 3 rows": (
        lambda: xentcli.diagnose_logits(LOGITS, LABELS[:2])
    ),
    "labels are missing; expected a number from 0 to 1": (
        lambda: xentcli.diagnose_logits(LOGITS[0], binary=True)
    ),
    "logits and labels are both arrays or both files": lambda: xentcli.diagnose_logits("x.npy", LABELS),
    "rows is 0; expected 1 to 100": lambda: xentcli.diagnose_logits(LOGITS, rows=0),
    "observed is 'much'": lambda: xentcli.diagnose_logits(LOGITS, observed="much"),
    "a loss needs labels": lambda: xentcli.diagnose_logits(LOGITS, loss="naive"),
    "unknown method 'navie'; did you mean 'naive'?": (
        lambda: xentcli.diagnose_logits(LOGITS, LABELS, loss="navie")
    ),
    "loss is a int; expected a function": (
        lambda: xentcli.diagnose_logits(LOGITS, LABELS, loss=5)  # type: ignore[arg-type]
    ),
    "logits are of shape (1, 3, 3); expected (N, C)": lambda: xentcli.evaluate(
        logits=LOGITS[None], labels=[0]
    ),
    "the label 9 is out of range; 3 classes are 0 to 2; and 1 more; bad_labels='nan' keeps": lambda: (
        xentcli.evaluate(logits=LOGITS[[0] * 6], labels=range(5, 11))
    ),
    "loss 'all' is a group": lambda: xentcli.diagnose_logits(LOGITS, LABELS, loss="all"),
    "fails(): raised RuntimeError: out of order": (
        lambda: xentcli.diagnose_logits(LOGITS, LABELS, loss=fails)
    ),
    "absent.npy: cannot be read": lambda: xentcli.diagnose_logits("absent.npy"),
    "no such file, folder or bundled case": lambda: xentcli.load_case("abnormla"),
    "a case is a file, a name or a text, not a int": lambda: xentcli.load_case(3),  # type: ignore[arg-type]
    "unknown dtype 'float31'": lambda: xentcli.load_case("abnormal", dtype="float31"),
    "is a folder of": lambda: xentcli.load_case(CASES),
    "case:1:1: unknown key 'logit'; did you mean 'logits'?": lambda: xentcli.load_case("logit: 1\n"),
    "give a case, or both logits= and labels=": lambda: xentcli.evaluate(logits=LOGITS),
    "give a case or arrays, not both": lambda: xentcli.evaluate("abnormal", logits=LOGITS),
    "give arrays as logits= and labels=": lambda: xentcli.evaluate(LOGITS, LABELS),  # type: ignore[arg-type]
    "methods are names, not a function": lambda: xentcli.evaluate("abnormal", [naive]),  # type: ignore[list-item]
    "unknown key 'smoothing'": lambda: xentcli.evaluate(logits=LOGITS, labels=LABELS, smoothing=0.1),
    "explain_case expects one method": lambda: xentcli.explain_case("abnormal", "all"),
    "torch is another's": lambda: xentcli.explain_case("abnormal", "torch"),
    "shows too few digits": lambda: xentcli.identify_value("2.3"),
    "value is of shape (2,); expected one number": lambda: xentcli.identify_value([2.3, 4.5]),
    "logits: object is no array of numbers": lambda: xentcli.losses(object(), LABELS),  # type: ignore[arg-type]
    "logits: list cannot be read as an array": lambda: xentcli.losses([[1.0], [2.0, 3.0]], LABELS),
    "a case has at most 8 MiB": lambda: xentcli.evaluate(logits=np.zeros((2, 2**22)), labels=[0, 0]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_wrong_with_an_argument_is_one_message(message: str) -> None:
    with pytest.raises(XentError) as caught:
        REFUSED[message]()

    assert message in str(caught.value)


def test_a_label_that_is_no_class_is_refused_as_in_a_case_file() -> None:
    with pytest.raises(XentError, match="label 7 is out of range"):
        xentcli.evaluate(logits=LOGITS, labels=[0, 1, 7])
    assert np.isnan(xentcli.evaluate(logits=LOGITS, labels=[0, 1, 7], bad_labels="nan")["sparse"].losses[2])


def test_no_name_is_that_of_a_module_and_no_import_replaces_one() -> None:
    names = {name: getattr(xentcli, name) for name in xentcli.__all__}
    modules = [module.name for module in pkgutil.iter_modules(xentcli.__path__)]
    for module in sorted(set(modules) - {"__main__"}):
        importlib.import_module(f"xentcli.{module}")

    assert set(modules) & {*names} == set()
    assert {name: getattr(xentcli, name) for name in names} == names
    assert all(callable(value) and value.__doc__ for value in names.values())
    assert set(names) <= set(dir(xentcli))
    with pytest.raises(AttributeError, match="no attribute 'evaluated'"):
        xentcli.evaluated  # type: ignore[attr-defined] # noqa: B018 - that is the question


IMPORTS = """
import sys
before = set(sys.modules)
import xentcli
assert set(sys.modules) - before == {"xentcli"}, set(sys.modules) - before
dir(xentcli)
assert set(sys.modules) - before == {"xentcli"}
xentcli.losses
assert not {"yaml", "rich", "click", "xentcli.api", "xentcli.show"} & set(sys.modules)
xentcli.diagnose_logits
assert not {"rich", "click", "torch", "jax", "tensorflow"} & set(sys.modules)
from xentcli import *
assert evaluate is xentcli.evaluate
"""


def test_import_xentcli_imports_nothing_else() -> None:
    run = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "")


class Page(HTMLParser):
    """The tags, attributes and texts of a page; a tag that opens has to close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: D102 - as HTMLParser says
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:  # noqa: D102 - as HTMLParser says
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:  # noqa: D102 - as HTMLParser says
        self.texts.append(data)


def test_a_notebook_shows_the_same_words_as_tables_without_scripts() -> None:
    case = xentcli.load_case("title: '<script>alert(1)</script>'\nlogits: [[0, 1000]]\nlabels: [0]\n")
    diagnosis = xentcli.diagnose_logits(LOGITS, LABELS)
    for result in (
        xentcli.evaluate(case),
        xentcli.explain_case(case),
        xentcli.identify_value("2.302585"),
        diagnosis,
    ):
        page = Page()
        page.feed(html := result._repr_html_())
        text = "".join(page.texts).partition("}}")[2]

        assert page.open == []
        assert set(page.tags) <= {"div", "style", "span", "table", "thead", "tbody", "tr", "th", "td"}
        assert page.attributes <= {"class", "style", "colspan"}
        assert "prefers-color-scheme:dark" in html
        assert not [each for each in ("url(", "@import", "src=", "href=") if each in html]
        words = "".join(str(result).translate({ord("─"): None}).split())
        assert sorted("".join(text.split()).replace("\xa0", "")) == sorted(words)
    assert "<table>" in diagnosis._repr_html_()
    assert 'class="number"' in diagnosis._repr_html_()


def test_a_stream_that_has_no_unicode_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii:
        encoding = "ascii"

    monkeypatch.setattr(sys, "stdout", Ascii())
    result = xentcli.evaluate("abnormal")

    shown = str(result)

    assert "─" not in shown


def test_an_interrupted_diagnosis_ends() -> None:
    def interrupted(logits: Any, labels: Any) -> Any:
        if len(labels) > 1:  # after the row that it is tried with
            raise KeyboardInterrupt
        return naive(logits, labels)

    with pytest.raises(KeyboardInterrupt):
        xentcli.diagnose_logits(LOGITS, LABELS, loss=interrupted)


def test_results_that_hold_no_dump_are_pickled() -> None:
    explained = xentcli.explain_case("abnormal", "naive")

    again, evaluation = (
        pickle.loads(pickle.dumps(each))  # noqa: S301 - our own
        for each in (explained, xentcli.evaluate("abnormal"))
    )

    assert repr(again) == repr(explained)
    assert again.findings == explained.findings
    assert f"{evaluation.true_loss:.6g}" == "6.72853e+30"


def test_a_case_is_shown_in_a_line() -> None:
    assert re.fullmatch(
        r"Case\(name='abnormal', path='.*abnormal.yaml', .{,200}\)", repr(xentcli.load_case("abnormal"))
    )


def test_a_label_that_is_no_class_is_refused_with_what_to_pass() -> None:
    with pytest.raises(XentError, match=r"^the label 5 is out of range; .*; bad_labels='nan' keeps"):
        xentcli.evaluate(logits=[[1, 2]], labels=[5])
    with pytest.raises(XentError, match="pass ignore_index=-100; bad_labels="):
        xentcli.evaluate(logits=[[1, 2]], labels=[-100])
    assert np.isnan(
        xentcli.evaluate(logits=[[1, 2]], labels=[5], bad_labels="nan", methods="sparse")["sparse"].losses
    )


def test_a_file_that_watch_saved_is_diagnosed_as_on_the_command_line(xent: Xent, tmp_path: Path) -> None:
    x, k = np.zeros((9, 4), np.float32), np.zeros(9, int)
    x[3, 1] = np.inf
    with pytest.raises(xentcli.BadLoss) as raised:
        xentcli.watch(np.nan, x, k, dir=str(tmp_path), ignore_index=2)

    found = xentcli.diagnose_logits(str(raised.value.path))

    assert found.verdict.startswith("Your loss is nan because of row 3")
    assert found.survey.ignore_index == 2
    assert found.verdict == json.loads(xent("diagnose", raised.value.path, "--format", "json").out)["verdict"]

"""Case files: numbers as written, and every refusal with its place."""

import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Xent, first
from hypothesis import given
from hypothesis import strategies as st

from xentcli import load
from xentcli.errors import Refused
from xentcli.load import document
from xentcli.load.sources import Source
from xentcli.model import Case

BAD = Path(__file__).parent / "bad_cases"
BAD_CASES = sorted(BAD.glob("*/*.yaml"))
every_bad_case = pytest.mark.parametrize(
    "path", BAD_CASES, ids=lambda path: f"{path.parent.name}/{path.stem}"
)


def read(text: str | bytes, **overrides: str) -> Case:
    data = text.encode() if isinstance(text, str) else text
    return load.load(Source("case.yaml", "case", data), load.Overrides(**overrides))


def refusal(text: str | bytes) -> str:
    with pytest.raises(Refused) as caught:
        read(text)
    return str(caught.value)


def case(**keys: str) -> str:
    """Write a case of two examples and two classes, with keys added or replaced."""
    keys = {"title": "t", "logits": "[[1, 2], [3, 4]]", "labels": "[0, 1]"} | keys
    return "".join(f"{key}: {value}\n" for key, value in keys.items())


# Bad files


def expected_messages(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("# ") for line in lines if re.match(r"# \d+:\d+: ", line)]


@every_bad_case
def test_a_bad_case_is_refused_with_its_messages(path: Path) -> None:
    with pytest.raises(Refused) as caught:
        load.load(Source("case.yaml", "case", path.read_bytes()))

    messages = [str(problem).removeprefix("case.yaml:") for problem in caught.value.problems]
    assert messages == expected_messages(path) != []


@every_bad_case
def test_shows_the_line_with_a_caret_under_the_place(path: Path) -> None:
    with pytest.raises(Refused) as caught:
        load.load(Source("case.yaml", "case", path.read_bytes()))

    for problem in caught.value.problems:
        shown, carets = problem.excerpt().splitlines() or (" 1 | ", "   | ^")
        assert re.fullmatch(r" +\| [ \t]*\^+", carets)
        assert shown.startswith(f" {problem.line} | ")
        assert (
            problem.source is None
            or len(problem.source) > 76
            or carets.index("^") == len(f" {problem.line} | " + problem.source[: (problem.column or 1) - 1])
        )


def test_the_bad_cases_are_there() -> None:
    assert len(BAD_CASES) >= 70


# Bytes that no file under version control should hold

GOOD = case().encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "1:1: the file is empty; a case needs logits and labels"),
        (b"\xef\xbb\xbf", "1:1: the file is empty; a case needs logits and labels"),
        (
            b"title: caf\xe9\n",
            "1:11: byte 0xe9 is not UTF-8; save the file as UTF-8\n 1 | title: caf�\n   |           ^",
        ),
        (GOOD.decode().encode("utf-16"), "1:1: byte 0xff is not UTF-8; save the file as UTF-8"),
        (
            GOOD + b"\0",
            "4:1: a NUL byte is not allowed in a case file; remove it\n 4 | �\n   | ^",
        ),
        (
            b"title: \x1b[31mred\n",
            "1:8: the control character '\\x1b' is not allowed in a case file; remove it",
        ),
        (b"\xed\xa0\x80", "1:1: byte 0xed is not UTF-8; save the file as UTF-8"),
    ],
)
def test_refuses_bytes_that_are_no_text(data: bytes, message: str) -> None:
    assert refusal(data).startswith(f"case.yaml:{message}")


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n")])
def test_accepts_a_byte_order_mark_and_windows_lines(data: bytes) -> None:
    assert read(data).batch.logits.tolist() == [[1, 2], [3, 4]]


def test_a_caret_stands_under_wide_characters_and_far_columns() -> None:
    assert refusal(case(labels="[测, 0]")).splitlines()[-1] == "   |          ^^"
    shown, carets = refusal(case(logits=f"[[1, 2], [{'3,' * 200} x]]")).splitlines()[-2:]
    assert len(shown) < 90
    assert shown[carets.index("^")] == "x"


def test_ten_problems_of_a_file_are_shown_and_the_rest_counted() -> None:
    messages = refusal(case(logits=f"[{'[x, y], ' * 20}]", labels="[0]"))

    assert messages.count("is not a number") == 10
    assert messages.endswith("case.yaml: and 30 more problems")


def test_aliases_are_refused_before_they_multiply() -> None:
    bomb = "title: t\na: &a [x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefghi", "bcdefghij", strict=True)
    )

    assert "aliases are not expanded" in refusal(bomb)


@pytest.mark.parametrize("text", ["a: *x\nb: [1", "a: !!float 1\nb: [1", "a: *x\nb: {c: d: e}"])
def test_a_problem_before_a_syntax_error_is_noted_once(text: str) -> None:
    message = refusal(text)

    assert message.count("aliases are not expanded") + message.count("is not supported; remove it") == 1
    assert message.count("not YAML: ") == 1


# Depth

TOO_DEEP = "nested more than 8 deep; a case needs 3"


class ShallowLoader(yaml.SafeLoader):
    """A parser with a limit of its own, as libyaml has one."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - PyYAML's name
        """Refuse 400 levels, which may be seen before the event of the first is yielded."""
        if self.flow_level >= 400:
            raise yaml.MarkedYAMLError(problem="enough", problem_mark=self.get_mark())
        super().fetch_flow_collection_start(TokenClass)


@pytest.fixture(params=[None, yaml.SafeLoader, ShallowLoader], ids=["default", "python", "shallow"])
def _every_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(document, "_PARSER", request.param)


@pytest.mark.usefixtures("_every_parser")
@pytest.mark.parametrize("depth", first(1, [9, 500, 1001, 100_000]))
@pytest.mark.parametrize(
    ("level", "place"),
    [
        ("[", "1:9"),
        ("[ # and a comment\n", "9:1"),
        ("- ", "1:17"),
        ("? ", "1:17"),
        ("{a: ", "1:33"),
        ("[a: ", "1:17"),  # two levels: a pair in a list is a mapping
        ("[{a: ", "1:21"),
        ("- ? ", "1:17"),
    ],
)
def test_nesting_is_refused_at_the_ninth_level(level: str, place: str, depth: int) -> None:
    start = time.process_time()

    assert refusal(level * depth).startswith(f"case.yaml:{place}: {TOO_DEEP}\n")
    assert time.process_time() - start < 1  # it takes 0.1 s, and minutes if the work grew as depth²


@pytest.mark.usefixtures("_every_parser")
@pytest.mark.parametrize(("opening", "closing"), first(2, [("[", "]"), ("{a: ", "}"), ("- ", "")]))
def test_nesting_is_refused_inside_a_long_document_and_eight_levels_are_not(
    opening: str, closing: str
) -> None:
    def problem(depth: int) -> str:
        lines = [*["# 注释: naïve"] * 500, "logits:", f"  {opening * depth}1{closing * depth}"]
        return refusal("\n".join([*lines, *["labels: [0]"] * 500]))

    assert TOO_DEEP not in problem(7)  # the document itself is the first level
    for depth in (8, 500, 1001):
        assert problem(depth).startswith(f"case.yaml:502:{3 + 7 * len(opening)}: {TOO_DEEP}\n")


@pytest.mark.parametrize(
    ("logits", "number"),
    [("[[0 x 5], [0 x 5]]", 10), ("[[1, 2], [3, 4 x 1]]", 1), ("[[0 x 3, 1], [0 x 3, 7]]", 6)],
)
def test_the_repeated_numbers_of_a_file_are_counted_together(
    monkeypatch: pytest.MonkeyPatch, logits: str, number: int
) -> None:
    monkeypatch.setattr(load, "MOST_REPEATED", number)
    assert len(read(case(logits=logits)).batch.logits) == 2

    monkeypatch.setattr(load, "MOST_REPEATED", number - 1)
    assert "repeated numbers in the cases of a call" in refusal(case(logits=logits))


def test_a_key_that_is_like_no_other_is_answered_with_all_of_them() -> None:
    message = refusal(case(quaternion="2"))

    assert f"unknown key 'quaternion'; known are {', '.join(load.KEY_NAMES)}" in message


# Numbers


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1.0),
        ("+1", 1.0),
        ("-1.", -1.0),
        (".5", 0.5),
        ("1e31", 1e31),
        ("1.5664488E+31", 1.5664488e31),
        ("1e-3", 1e-3),
        ("010", 10.0),
        ("nan", np.nan),
        ("NaN", np.nan),
        (".nan", np.nan),
        ("inf", np.inf),
        ("+inf", np.inf),
        ("-inf", -np.inf),
        ("-.INF", -np.inf),
        ("Infinity", np.inf),
        ('"-inf"', -np.inf),
    ],
)
def test_numbers_mean_what_a_person_means(written: str, value: float) -> None:
    stored = read(case(dtype="float64", logits=f"[[{written}, 0]]", labels="[0]")).batch.logits

    assert np.array_equal(stored, [[value, 0]], equal_nan=True)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_every_float64_reads_back(value: float) -> None:
    stored = read(case(dtype="float64", logits=f"[[{value!r}]]", labels="[0]")).batch.logits

    assert stored.tobytes() == np.array([[value]]).tobytes()


@pytest.mark.parametrize(
    ("dtype", "written"),
    [
        ("float16", "65519.99"),
        ("float32", "3.4028235677973362e38"),
        ("float64", "1.7976931348623158e308"),
    ],
)
def test_what_rounds_to_the_largest_number_is_not_too_large(dtype: str, written: str) -> None:
    stored = read(case(dtype=dtype, logits=f"[[{written}]]", labels="[0]")).batch.logits

    assert stored.item() == np.finfo(dtype).max


def test_the_dtype_of_the_command_line_decides_what_is_too_large() -> None:
    with pytest.raises(Refused, match="1e5 is too large for float16"):
        read(case(logits="[[1e5]]", labels="[0]"), dtype="float16")


# What a case holds


def test_defaults() -> None:
    loaded = read(case())

    assert (loaded.dtype, loaded.numerics.arithmetic, loaded.reduction) == ("float32", "numpy", "mean")
    assert loaded.batch.clip == (1e-36, 1.0)
    assert loaded.about.sources == ()
    assert loaded.batch.probabilities is None
    assert loaded.expectations == ()
    assert loaded.overridden == ()


@pytest.mark.parametrize("labels", ["[1, 0]", "[1.0, 0e0]", "[[0, 1], [1, 0]]"])
def test_indices_and_one_hot_rows_are_the_same_labels(labels: str) -> None:
    batch = read(case(labels=labels)).batch

    assert batch.labels.tolist() == [[0, 1], [1, 0]]
    assert batch.indices is not None
    assert batch.indices.tolist() == [1, 0]


def test_soft_labels_have_no_indices() -> None:
    batch = read(case(labels="[[0.5, 0.5], [1, 0]]")).batch

    assert batch.indices is None
    assert batch.labels.tolist() == [[0.5, 0.5], [1, 0]]


def test_arrays_of_a_case_are_read_only() -> None:
    batch = read(case(probabilities="[[1, 0], [0, 1]]")).batch

    for array in (batch.logits, batch.labels, batch.indices, batch.probabilities):
        assert array is not None
        assert not array.flags.writeable


def test_expectations_keep_their_digits() -> None:
    loaded = read(case(expect="{naive: 1.50, dense: [1e3, .inf], softmax: [[1., 0], [0.250, NaN]]}"))

    assert [(e.quantity, e.texts, e.shape) for e in loaded.expectations] == [
        ("naive", ("1.50",), ()),
        ("dense", ("1e3", "inf"), (2,)),
        ("softmax", ("1.", "0", "0.250", "nan"), (2, 2)),
    ]


def test_a_reduction_from_the_command_line_does_not_refuse_expectations() -> None:
    assert len(read(case(expect="{naive: 1}"), reduction="none").expectations) == 1


def test_what_is_no_file_is_left_out_of_a_folder(xent: Xent, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.yaml").symlink_to("../pipe")
    (tmp_path / "d" / "b.yaml").symlink_to("/dev/zero")
    (tmp_path / "d" / "c.yaml").write_text(case(), encoding="utf-8")
    with (tmp_path / "pipe").open("r+b", buffering=0) as pipe:  # who reads it is refused, and does not wait
        pipe.write(b"no case")

        assert xent("run", tmp_path / "d").code == 0

        (tmp_path / "d" / "gone.yaml").symlink_to("nowhere")
        assert "gone.yaml: cannot be read: No such file" in xent("run", tmp_path / "d").err

"""Kinds of hostile input that a file can be: what each comes to. ``hostile/README.md`` lists all."""

import struct
import zipfile
from pathlib import Path

import fuzz_dumps
import numpy as np
import pytest
from fuzz import MOST_BYTES, Input, run_in_folder
from test_inert import assert_inert

HOSTILE = Path(__file__).parent / "hostile"
FILES = sorted(HOSTILE.glob("*.yaml"))
LONG = "9" * 10**5
CASE = "logits: [[0, 1]]\nlabels: [0]\n"
# Texts too long for a file here → what is said of them.
LONG_TEXTS = {
    f"{CASE}source: [{{url: a, date: {LONG}}}]": "is not a date",
    f"{CASE}title: !{LONG} a": "is not supported",
    f"{CASE}title: *a{LONG}": "aliases are not expanded",
    f"{CASE}k{LONG[:1000]}: 1": "unknown key",
    f"{CASE}dtype: {LONG}": "unknown dtype",
    f"{CASE}expect: {{k{LONG[:1000]}: 1}}": "unknown key",
    f"{'%TAG ! !' * 10**5}\n---\n{CASE}": "not YAML",
    f"{CASE}title: {'x' * 7_000_000}": "title has 7000000 characters",
    f"logits: [[{'x, ' * 10**5}0]]\nlabels: [0]": "is not a number",
    f"logits: {'[' * 10**5}": "nested more than",
    f"{CASE}{'- a' * 10**5}": "not YAML",
}
ROWS = np.array([[0, 200.0], [1, 2]], np.float32)
NPY, NAN = fuzz_dumps.npy(ROWS), fuzz_dumps.npy(np.full((1, 2), np.nan, np.float32))


def header(**changed: str) -> bytes:
    """Return a .npy whose header says something else."""
    fields = {"descr": "'<f4'", "fortran_order": "False", "shape": "(2, 2)"} | changed
    text = f"{{{', '.join(f'{name!r}: {value}' for name, value in fields.items())}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + ROWS.tobytes()


def npz(**arrays: bytes) -> bytes:
    return fuzz_dumps.npz(arrays, zipfile.ZIP_DEFLATED)


def labels(*numbers: int) -> bytes:
    return fuzz_dumps.npy(np.array(numbers, np.uint64))


def label_rows(*numbers: float) -> bytes:
    return fuzz_dumps.npy(np.array([numbers, [0, 1]], np.float32))


# Files and their options → exit code, and what is said of them.
DUMPS: dict[str, tuple[bytes, str, int, str]] = {
    "a shape of 2^64 numbers": (header(shape="(4294967296, 4294967296)"), "d.npy", 2, "the file 16 after"),
    "a shape that is no integer": (header(shape="(2.0, 2)"), "d.npy", 2, "is no .npy of plain arrays"),
    "a shape that wraps round": (header(shape="(2, 9223372036854775810)"), "d.npy", 2, "is no .npy"),
    "a shape below 0": (header(shape="(-2, -2)"), "d.npy", 2, "has a negative length"),
    "a header that is an expression": (header(shape="(2, 2) * 2"), "d.npy", 2, "is no .npy"),
    "a header that nests": (header(shape="(" * 9000), "d.npy", 2, "is no .npy"),
    "objects": (header(descr="'|O'"), "d.npy", 2, "it holds objects"),
    "a dtype of no bytes": (header(descr="'|V0'"), "d.npy", 2, "d.npy: "),
    "a dtype of fields": (header(descr="[('a', '<f4')]"), "d.npy", 2, "d.npy: "),
    "text": (header(descr="'<U1'"), "d.npy", 2, "logits are <U1; expected"),
    "a mean beyond float64": (fuzz_dumps.npy(np.full((3, 2), 1.7e308)), "d.npy --format json", 0, ""),
    "an archive of nothing": (npz(), "d.npz", 2, "holds no array"),
    "an archive that is cut": (npz(logits=NPY)[:-40], "d.npz", 2, "is no .npz of plain arrays"),
    "members that are no arrays": (npz(logits=b"text"), "d.npz", 2, "holds no array"),
    "a label row of nan": (npz(logits=NPY, labels=label_rows(np.nan, 1)), "d.npz", 1, ""),
    "a label row of an infinity": (npz(logits=NPY, labels=label_rows(-np.inf, 1)), "d.npz", 1, ""),
    "a label row of both infinities": (npz(logits=NPY, labels=label_rows(np.inf, -np.inf)), "d.npz", 1, ""),
    "labels of 64 bits": (npz(logits=NPY, labels=labels(2**64 - 1, 0)), "d.npz --extract -", 1, ""),
    "labels without number": (
        npz(logits=NPY, labels=labels(0, 1)),
        "d.npz --rows 1000000000000",
        2,
        "--rows",
    ),
    "a name of escapes": (npz(**{"\x1b[31m": NPY, "b": NPY}), "d.npz", 2, "has no array 'logits', but \\x1b"),
    "a name of 60 kB": (npz(**{"n" * 60_000: NPY, "b": NPY}), "d.npz", 2, "has no array 'logits'"),
}


def command(words: str, name: str) -> tuple[str, ...]:
    return tuple(word.replace("{}", name) for word in words.split())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_hostile_case_comes_to_what_its_first_lines_say(path: Path) -> None:
    words, ends, *_ = (line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines())
    code, _, said = ends.partition(" ")

    run = run_in_folder(Input(command(words, path.name), files={path.name: path.read_bytes()}))

    assert run.code == int(code)
    assert_harmless(run.out, run.err, said)
    assert run.grown == 0 or run.peak <= MOST_BYTES


@pytest.mark.parametrize("text", LONG_TEXTS, ids=lambda text: LONG_TEXTS[text])
def test_of_a_long_text_a_message_quotes_the_beginning(text: str) -> None:
    run = run_in_folder(Input(("run", "-"), text.encode()))

    assert run.code == 2
    assert len(run.err) < 10_000
    assert_harmless(run.out, run.err, LONG_TEXTS[text])


@pytest.mark.parametrize("kind", DUMPS)
def test_a_hostile_dump_comes_to_one_message_or_a_diagnosis(kind: str) -> None:
    data, words, code, said = DUMPS[kind]

    run = run_in_folder(Input(("diagnose", *words.split()), files={words.split()[0]: data}))

    assert run.code == code
    assert len(run.err) < 2_000
    assert_harmless(run.out, run.err, said)


def test_what_cannot_be_extracted_is_refused_before_anything_is_shown() -> None:
    run = run_in_folder(Input(("diagnose", "d.npy", "--extract", "w.yaml"), files={"d.npy": NAN}))

    assert (run.code, run.out) == (2, "")


def assert_harmless(out: str, err: str, said: str) -> None:
    assert said in err
    assert "Traceback" not in err
    assert "Warning" not in err
    assert_inert(out)
    assert_inert(err)


def test_every_file_is_in_the_list() -> None:
    listed = (HOSTILE / "README.md").read_text(encoding="utf-8")

    assert [path.name for path in FILES if f"`{path.name}`" not in listed] == []

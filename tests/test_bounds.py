"""What a small input may cost is bounded; what exceeds a bound is refused in one message."""

import io
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from test_load import case, read, refusal

from xentcli.errors import CaseError
from xentcli.load.checks import MOST_EXAMPLES
from xentcli.load.fields import LONGEST_TEXT, MOST_REPEATED
from xentcli.methods.table import select


def test_a_text_has_at_most_a_thousand_characters() -> None:
    read(case(title="x" * LONGEST_TEXT))

    assert f"title has {LONGEST_TEXT + 1} characters" in refusal(case(title="x" * (LONGEST_TEXT + 1)))


def test_a_case_repeats_at_most_so_many_numbers() -> None:
    inside, outside = (case(logits=f"[[0 x {n}], [1 x {n}]]", labels="[0, 1]") for n in (300_000, 300_001))

    assert read(inside).batch.logits.size == MOST_REPEATED
    assert f"more than {MOST_REPEATED} repeated numbers in the cases of a call; type them" in refusal(outside)


def test_a_case_has_at_most_so_many_examples() -> None:
    inside, outside = (
        case(logits=f"[0 x {n}]", labels=f"[0 x {n}]") for n in (MOST_EXAMPLES, MOST_EXAMPLES + 1)
    )

    assert len(read(inside).batch.logits) == MOST_EXAMPLES
    assert "'xent diagnose' reads dumps of any size" in refusal(outside)


@pytest.mark.parametrize(
    ("logits", "labels", "limit"),
    [
        (
            "[[0 x 1000]]",
            "[0]",
            "repeated numbers in the cases of a call; type them, dump the logits or name fewer cases",
        ),
        ("[0 x 1000]", "[0 x 1000]", "2000 repeated examples; name fewer cases at once"),
    ],
)
@pytest.mark.parametrize("command", ["run", "compare"])
def test_what_the_cases_of_a_call_repeat_is_bounded(  # noqa: PLR0913, PLR0917 - fixtures
    xent: Xent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    logits: str,
    labels: str,
    limit: str,
) -> None:
    monkeypatch.setattr(
        "xentcli.load.MOST_REPEATED" if "numbers" in limit else "xentcli.load.MOST_EXAMPLES", 2000
    )
    for at in range(3):
        (tmp_path / f"{at}.yaml").write_text(case(logits=logits, labels=labels), encoding="utf-8")

    assert xent(command, tmp_path / "0.yaml", tmp_path / "1.yaml").code == 0
    run = xent(command, tmp_path)

    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"{tmp_path / '2.yaml'}:")
    assert limit in run.err


def test_what_is_typed_is_not_bounded_by_the_call(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xentcli.load.MOST_REPEATED", 2)
    monkeypatch.setattr("xentcli.load.MOST_EXAMPLES", 2)
    for at in range(9):
        (tmp_path / f"{at}.yaml").write_text(
            case(logits="[[0,1],[1,2],[4,5]]", labels="[0,1,0]"), encoding="utf-8"
        )

    assert xent("run", tmp_path).code == 0


def test_online_reads_at_most_so_many_tiles() -> None:
    (online,) = select("online")
    assert online.most_tiles is not None
    for tiles, is_run in ((online.most_tiles, True), (online.most_tiles + 1, False)):
        batch = read(case(logits=f"[[0 x {tiles}]]", labels="[0]", tile="1")).batch
        assert (online.why_unsupported(batch) is None) is is_run


def bomb(path: Path, rows: int, method: int) -> None:
    """Write an .npz of zeros without holding them."""
    header = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (rows, 1024)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("logits.npy", "w") as file:
        file.write(header.getvalue())
        for _ in range(rows // 256):
            file.write(bytes(2**20))


@pytest.mark.slow
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_arrays_far_larger_than_their_file_are_not_unpacked(xent: Xent, tmp_path: Path, method: int) -> None:
    bomb(tmp_path / "large.npz", 2**15 + 256, method)  # 128 MiB and 1
    bomb(tmp_path / "small.npz", 2**10, method)

    large, small = (xent("diagnose", tmp_path / f"{name}.npz") for name in ("large", "small"))

    assert (large.code, large.out) == (2, "")
    if method == zipfile.ZIP_DEFLATED:
        assert (
            "its arrays take 129 MiB in memory, more than 50 times the file; save them as .npy" in large.err
        )
        assert small.code == 0
    else:  # one piece of it may unpack to any size
        assert "a member is packed by another method than those of numpy.savez" in large.err
        assert small.code == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return np.broadcast_to(0.0, 30_000_000)", "it returned 30000000 numbers for 2 examples"),
        ("return np.ma.masked_all(len(x))", "it returned a masked array; expected a plain one"),
        ("[os.write(n, b'{}' + b'\\n') for n in range(3, 9)]", "it wrote into the pipe of its responses"),
        ("os.closerange(3, 64)", "the process"),
        ("os.write(2, b'x'); return [x]", "it returned list; expected a NumPy array"),
    ],
)
def test_odd_answers_are_reported_as_what_they_are(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "os.write(n" in body:
        body = (
            "\n    for n in range(3, 9):\n        try: os.write(n, b'[1]\\n')\n        except OSError: pass"
        )
    text = f"import os\nimport numpy as np\ndef loss(x, y):\n    {body}\n"
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")

    run = xent("check", "mine.py:loss")

    assert (run.code, run.out) == (2, "")
    assert said in run.err


@pytest.mark.slow
def test_of_what_is_printed_the_beginning_is_kept(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = "print('a' * 10**6)\n    return np.zeros(len(x), x.dtype)"
    (tmp_path / "mine.py").write_text(f"import numpy as np\ndef loss(x, y):\n    {body}\n", encoding="utf-8")

    run = xent("check", "mine.py:loss", "--only", "quiet", "--format", "json")

    assert f"printed '{'a' * 60}'" in run.out
    assert len(run.out) < 10_000


def safetensors(path: Path, header: str, numbers: int) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(numbers))
    return path


def tensor(begin: int, end: int, shape: str = "[2, 2]") -> str:
    return f'{{"dtype": "F32", "shape": {shape}, "data_offsets": [{begin}, {end}]}}'


@pytest.mark.parametrize(
    ("header", "numbers"),
    [
        (f'{{"logits": {tensor(0, 16)}}}', 20),  # a rest
        (f'{{"logits": {tensor(0, 16)}}}', 12),  # cut off
        (f'{{"logits": {tensor(-16, 0)}}}', 16),  # in the header
        (f'{{"logits": {tensor(4, 20)}}}', 20),  # a hole
        (f'{{"logits": {tensor(16, 0)}}}', 16),  # backwards
        (f'{{"logits": {tensor(0, 16)}, "x": {tensor(0, 16)}}}', 16),  # one over the other
        (f'{{"logits": {tensor(0, 16)}, "logits": {tensor(16, 32)}}}', 32),  # twice
        (f'{{"logits": {tensor(0, 16, "[2, 3]")}}}', 16),
        (f'{{"logits": {tensor(0, 16, "[-2, -2]")}}}', 16),
        (f'{{"logits": {tensor(0, 16, "[NaN, 2]")}}}', 16),
        (f'{{"logits": {tensor(0, 16, "[4294967296, 4294967296]")}}}', 16),
        (f'{{"logits": {tensor(0, 16, "[2.0, 2]")}}}', 16),
        (f'{{"logits": {tensor(0, 16, "[true, 4]")}}}', 16),
        (f'{{"logits": {tensor(0, 16, chr(34) + "ab" + chr(34))}}}', 16),
        (f'{{"logits": {tensor(0, 16).replace("0, 16", "false, 16")}}}', 16),
        (f'{{"logits": {tensor(0, 16).replace("0, 16", "0")}}}', 16),
        (f'{{"logits": {tensor(0, 16).replace("0", "9" * 5000)}}}', 16),
        ("[" * 100_000, 16),
        ('{"logits": []}', 16),
        ("[]", 0),
        ("", 0),
    ],
)
def test_a_safetensors_file_is_checked_as_its_own_reader_does(
    xent: Xent, tmp_path: Path, header: str, numbers: int
) -> None:
    whole = safetensors(tmp_path / "whole.safetensors", f'{{"logits": {tensor(0, 16)}}}', 16)
    broken = safetensors(tmp_path / "broken.safetensors", header, numbers)

    run = xent("diagnose", broken)

    assert xent("diagnose", whole).code == 0
    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
    assert "broken.safetensors: is no .safetensors of plain arrays, or incomplete" in run.err


def test_long_names_of_arrays_are_cut_in_messages(xent: Xent, tmp_path: Path) -> None:
    arrays: Any = {"a" * 60_000: np.zeros((2, 2)), "b" * 60_000: np.zeros((2, 2))}
    np.savez(tmp_path / "x.npz", **arrays)

    run = xent("diagnose", tmp_path / "x.npz")

    assert run.code == 2
    assert len(run.err) < len(str(tmp_path)) + 300
    assert f"has no array 'logits', but {'a' * 40}… (2, 2), {'b' * 40}… (2, 2); pass" in run.err


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_signalling_nan_is_a_nan_and_no_warning(xent: Xent, tmp_path: Path, dtype: str) -> None:
    x = np.zeros((4, 3), dtype)
    bits = {"float16": 0x7D00, "float32": 0x7FA00000, "float64": 0x7FF4000000000000}[dtype]
    x.view(f"u{x.itemsize}")[1, 1] = bits
    np.savez(tmp_path / "x.npz", logits=x, labels=np.zeros(4, np.int64))

    run = xent("diagnose", tmp_path / "x.npz", "--extract", tmp_path / "w.yaml", "--method", "naive")

    assert run.out.startswith("1 of 4 rows is broken: row 1 (the logit of class 1 is nan).")
    assert run.code == 1


@pytest.mark.parametrize(
    "text",
    [
        case(source="[{url: x, date: LONG}]"),
        case(title="!LONG x"),
        case(title="*LONG"),
        case(title="!LONG!x y"),
        case(dtype="LONG"),
        "? LONG\n: 1\n",
        "%LONG x\n---\n",
        "@LONG",
    ],
)
def test_a_message_is_not_as_long_as_what_it_is_about(xent: Xent, tmp_path: Path, text: str) -> None:
    (tmp_path / "long.yaml").write_text(text.replace("LONG", "b" * 100_000), encoding="utf-8")

    run = xent("run", tmp_path / "long.yaml")

    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"{tmp_path / 'long.yaml'}:1:" if text[0] in "?%@" else f"{tmp_path}")
    assert max(map(len, run.err.splitlines())) <= 1010


@pytest.mark.parametrize(
    "command",
    [
        "LONG",
        "run LONG",
        "run --LONG",
        "run abnormal --methods LONG",
        "run abnormal --dtype LONG",
        "check LONG:loss",
        "identify LONG",
        "cases LONG",
        "cases --search LONG",
        "diagnose LONG.npy",
        "new --from LONG -",
    ],
)
def test_a_word_typed_is_cut_in_messages(xent: Xent, command: str) -> None:
    run = xent(*command.replace("LONG", "b" * 100_000).split())

    assert run.code in {1, 2}
    assert len(run.out + run.err) < 3000


def test_of_many_broken_files_the_first_are_shown(xent: Xent, tmp_path: Path) -> None:
    for at in range(100, 200):
        (tmp_path / f"{at}.yaml").write_text(f"logits: [[{'x, ' * 12}]]", encoding="utf-8")

    run = xent("run", tmp_path)

    assert run.code == 2
    assert "119.yaml: and 3 more problems\nand problems in 80 more files\n" in run.err
    assert run.err.count("is not a number") == 20 * 9  # and a missing key


def test_an_excerpt_of_a_long_line_is_quick_and_shows_every_letter() -> None:
    line = "a\u3000\u00a0é" + "x" * 2**26
    started = time.process_time()
    excerpt = CaseError("p", "q", 1, 5, line).excerpt()

    assert time.process_time() - started < 0.5  # isprintable of each takes several seconds
    assert excerpt.startswith(" 1 | a\u3000\u00a0éxxx")


def test_the_files_of_a_call_are_bounded_too(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xentcli.load.sources.MAX_BYTES_OF_ALL", 2**20)
    (tmp_path / "a.yaml").write_text(case() + "#" * 300_000, encoding="utf-8")
    for at in "bcd":
        (tmp_path / f"{at}.yaml").symlink_to("a.yaml")

    run = xent("run", tmp_path)

    assert (run.code, run.out) == (2, "")
    why = "with it the files of this call have more than 1 MiB; name fewer at once"
    assert run.err == f"{tmp_path / 'd.yaml'}: {why}\n"
    assert xent("run", *[tmp_path / "a.yaml"] * 3).code == 0


@pytest.mark.parametrize(("depth", "code"), [(32, 0), (33, 2), (300, 2)])
def test_folders_are_read_so_deep(xent: Xent, tmp_path: Path, depth: int, code: int) -> None:
    deepest = tmp_path.joinpath(*"d" * depth)
    deepest.mkdir(parents=True)
    (deepest / "a.yaml").write_text(case(), encoding="utf-8")

    run = xent("run", tmp_path)

    assert run.code == code
    assert code == 0 or run.err.endswith("has folders more than 32 deep; name the one with the cases\n")

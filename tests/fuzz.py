"""Broken case files by the thousand: none may end in a traceback, only in 0, 1 or 2.

python tests/fuzz.py [number] [seed]: the same call, the same files. Half are the bundled and bad cases with
bytes mutated, half are made by Hypothesis from the table of keys. A file that fails is printed, ready to be
kept.
"""

import io
import json
import random
import sys
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from xentcli import __main__, load, words
from xentcli.load.keys import ARRAY, Key
from xentcli.methods import table as methods

ROOT = Path(__file__).parent.parent
CORPUS = [
    path.read_bytes() for folder in ("cases", "tests/bad_cases") for path in (ROOT / folder).rglob("*.yaml")
]
TOKENS = [
    *(
        f"{key}: "
        for key in (*load.KEY_NAMES, *methods.METHOD_NAMES, "softmax", "softmax_matches", "class_indices")
    ),
    *words.DTYPES,
    *words.ARITHMETICS,
    *words.REDUCTIONS,
    *words.BAD_LABELS,
    *(words.SEQUENTIAL, " x 3", " x 99"),
    *"[]{},:-#|>&*!%@`'\"\t\r\n\0 ",
    *(
        "\n  ",
        "\n- ",
        "\n---\n",
        "...",
        "&a ",
        "*a",
        "!!float ",
        "? ",
        "<<: ",
        "\ufeff",
        "\x1b",
        "é",
        "测",
        "\u2028",
    ),
    *(
        "0",
        "1",
        "-1",
        "2.5",
        "1e31",
        "1e400",
        "1e-400",
        "nan",
        "-inf",
        ".inf",
        "0x1",
        "1_0",
        "9" * 30,
        "~",
        "true",
    ),
]
COUNTS: Counter[int] = Counter()


def check(data: bytes, form: str) -> None:
    """Run one file from standard input; its exit code must be one of those promised, and 2 must say why."""
    out, err = io.StringIO(), io.StringIO()
    stdin = io.TextIOWrapper(io.BytesIO(data))
    arguments = ["xent", "run", "-", "--format", form]
    with patch("sys.argv", arguments), patch("sys.stdin", stdin), redirect_stdout(out), redirect_stderr(err):
        code = __main__.main()
    COUNTS[code] += 1
    assert code in {0, 1, 2}, code
    assert err.getvalue(), "a run always says something"
    assert (code == 2) == (out.getvalue() == ""), "results come with 0 and 1, and only then"
    if code != 2 and form == "json":
        json.loads(out.getvalue(), parse_constant=lambda name: sys.exit(f"{name} is not JSON"))


def mutated(rng: random.Random) -> bytes:
    """Make one file of the corpus worse in up to eight places, in most files in one."""
    data = bytearray(rng.choice(CORPUS))
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        at, until = sorted(rng.randint(0, len(data)) for _ in "ab")
        until = min(until, at + rng.choice([0, 1, 8, 64]))
        piece = [
            b"",
            bytes([rng.randrange(256)]),
            rng.choice(TOKENS).encode(),
            data[at:until] * rng.choice([2, 2, 50]),
            rng.choice(CORPUS)[at:until],
        ]
        data[at:until] = rng.choice(piece)
    return bytes(data)


NUMBERS = st.floats(width=32).map(str) | st.sampled_from(
    ["0", "1", "1e31", "nan", "-inf", ".inf", "1e-400", "5e-324"]
)


@st.composite
def cases(draw: st.DrawFn) -> str:
    """Write a case that is nearly right: good shapes, any numbers, now and then a line of anything."""
    rows, classes = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    binary = draw(st.sampled_from([False, False, True]))
    if binary:
        logits, labels = draw(numbers(rows)), draw(numbers(rows))
    else:
        indices = st.lists(st.integers(0, classes - 1).map(str), min_size=rows, max_size=rows).map(listed)
        logits, labels = draw(matrix(rows, classes)), draw(indices | matrix(rows, classes))
    lines = [f"logits: {logits}", f"labels: {labels}"]
    keys = [key for key in load.KEYS if not (key.required or (binary and key.rows_only))]
    some = draw(st.lists(st.sampled_from(keys), max_size=5, unique_by=lambda key: key.name))
    lines += [f"{key.name}: {draw(value(key, rows, classes))}" for key in some]
    anything = draw(st.lists(st.sampled_from(TOKENS), max_size=20)) if draw(st.booleans()) else []
    return "\n".join([*lines, "".join(anything)])


def value(key: Key, rows: int, classes: int) -> st.SearchStrategy[str]:
    """Return values of a key that have the form of its schema, most of them."""
    schema = key.kind.schema
    by_reference = {
        "#/$defs/line": st.text(max_size=3).map("t{}".format),
        "#/$defs/weights": numbers(classes),
        "#/$defs/expectations": st.builds(
            "{{naive: {}, softmax: {}}}".format, NUMBERS, matrix(rows, classes)
        ),
    }
    by_type = {
        "boolean": st.sampled_from(["true", "false"]),
        "integer": st.integers(-1, 5).map(str),
        "number": NUMBERS,
        "array": numbers(2),
    }
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "$ref" in schema:
        return by_reference[schema["$ref"]]
    if key.kind is ARRAY:
        return matrix(rows, classes) | numbers(rows)
    return by_type.get(schema.get("type", ""), st.just(key.example)) | st.just(key.example)


def numbers(length: int) -> st.SearchStrategy[str]:
    return st.lists(NUMBERS, min_size=length, max_size=length).map(listed)


def matrix(rows: int, classes: int) -> st.SearchStrategy[str]:
    return st.lists(numbers(classes), min_size=rows, max_size=rows).map(listed)


def listed(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


FORMATS = st.sampled_from(words.FORMATS)


def main() -> None:
    """Run the number asked for and say how they ended."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    rng = random.Random(chosen)
    started = time.perf_counter()
    for _ in range(number // 2):
        data = mutated(rng)
        try:
            check(data, rng.choice(words.FORMATS))
        except BaseException:
            print(repr(data))
            raise
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    limits = settings(
        max_examples=number - number // 2, database=None, deadline=None, suppress_health_check=quiet
    )
    files = cases().map(lambda text: text.encode(errors="surrogatepass"))
    seed(chosen)(limits(given(files, FORMATS)(check)))()
    ends = ", ".join(f"{count} with {code}" for code, count in sorted(COUNTS.items()))
    print(f"{sum(COUNTS.values())} files in {time.perf_counter() - started:.0f} s: {ends}; no traceback")


if __name__ == "__main__":
    main()

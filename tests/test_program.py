"""xent check --program: a loss of any language, asked by lines of JSON; what it says is judged or refused."""

import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Xent
from test_docs import blocks, write_files

from xentcli.check.findings import judge_response
from xentcli.check.probes import Probe
from xentcli.check.tolerance import MaxUlps
from xentcli.check.trial import open_program
from xentcli.frameworks import program as programs
from xentcli.frameworks.program import SCHEMA, Program

EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "loss-protocol.md"
ONLY = ("--only", "cancellation", "--only", "gradient-sum", "--only", "invalid-labels")
# The checks of a moment: those of every kind but of large batches.
SOME = [word for name in ("cancellation", "underflow", "properties", "contract") for word in ("--only", name)]
# A right loss that speaks the protocol. CHANGE is what a test puts there: statements that see the answer
# before it is written, and may write something else. It imports little: it is started again and again.
TEXT = """
import json, math, os, sys, time
from struct import pack, unpack

DTYPES = ["float32", "float64"]
GREETING = {"name": "mine", "version": "1", "labels": "indices", "gradient": True, "dtypes": DTYPES}


def write(values, dtype):
    if dtype == "float32":
        values = [unpack("f", pack("f", value))[0] if abs(value) < 2**128 else value for value in values]
    return [value.hex() for value in values]


def one(x, k, upstream):
    top = x.index(max(x))
    if not math.isfinite(sum(v for v in x if v != -math.inf)) or x[top] == -math.inf:
        return math.nan, [math.nan] * len(x)
    e = [math.exp(v - x[top]) for v in x]
    others = math.fsum(e[:top] + e[top + 1 :])
    p = [upstream * v / (1 + others) for v in e]
    p[k] = -math.fsum(p[:k] + p[k + 1 :])
    return math.log1p(others) + (0.0 if k == top else x[top] - x[k]), p


def answer(request):
    if request["ask"] == "describe":
        return dict(GREETING)
    n, c = request["shape"]
    x, upstream = (list(map(float.fromhex, request[key])) for key in ("logits", "upstream"))
    if not all(0 <= label < c for label in request["labels"]):
        return {"refused": "label out of range"}
    pairs = [one(x[c * i : c * i + c], k, upstream[i]) for i, k in enumerate(request["labels"])]
    losses, gradient = [loss for loss, _ in pairs], [number for _, row in pairs for number in row]
    return {"losses": write(losses, request["dtype"]), "gradient": write(gradient, request["dtype"])}


for line in sys.stdin:
    request = json.loads(line)
    reply = {"schema": "xent.loss/1", "id": request["id"], **answer(request)}
    asked = request["ask"] == "losses"
    CHANGE
    print(json.dumps(reply), flush=True)
"""


def script(folder: Path, change: str = "pass", text: str = TEXT) -> str:
    """Write the program with a change, and return the command that starts it."""
    path = folder / "mine.py"
    path.write_text(text.replace("CHANGE", change), encoding="utf-8")
    return f"'{sys.executable}' -S '{path}'"


class Inside:
    """The program, in this process: what a change makes of its answers, in microseconds."""

    is_running = has_more = True

    def __init__(self, change: str) -> None:
        self._scope: dict[str, Any] = {}
        exec(TEXT.partition("for line in")[0], self._scope)  # noqa: S102 - the text above
        self._change, self._line = change, ""

    def send_line(self, line: str) -> None:
        """Answer a request."""
        self.request = request = json.loads(line)
        reply = {"schema": SCHEMA, "id": request["id"], **self._scope["answer"](request)}
        self._scope |= {"request": request, "reply": reply, "asked": request["ask"] == "losses"}
        exec(self._change, self._scope)  # noqa: S102 - a change of a test
        self._line = json.dumps(self._scope["reply"])

    def receive_line(self, _: float) -> str:
        """Return the answer."""
        return self._line

    def stop(self) -> None:
        """Nothing runs."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_LEAST", 0.1)


def test_a_right_program_passes_and_is_named(xent: Xent, tmp_path: Path) -> None:
    command = script(tmp_path)
    done = xent("check", "--program", command, *SOME, "--format", "json")
    document = json.loads(done.out)

    assert (done.code, done.err) == (0, "")
    assert document["summary"]["passed"] > 20
    assert document["summary"]["failed"] == document["summary"]["skipped"] == 0
    assert (document["target"], document["convention"]) == (command, "numpy")
    assert document["versions"] == "mine 1 in float32 and float64"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("if asked and 'losses' in reply: reply['losses'][0] = (2.5).hex()", "wrong-value"),
        ("if asked and 'gradient' in reply: reply['gradient'] = reply['gradient'][::-1]", "gradient"),
        ("if asked and 'losses' in reply: reply['losses'] = ['-0x0p+0' for _ in reply['losses']]", ""),
        (
            "reply['losses' if 'refused' in reply else 'n'] = [(1.0).hex()]; reply.pop('refused', 0)",
            "label-out",
        ),
    ],
)
def test_a_wrong_program_fails(xent: Xent, monkeypatch: pytest.MonkeyPatch, change: str, cause: str) -> None:
    monkeypatch.setattr(programs, "program", lambda _: Inside(change))

    done = xent("check", "--program", "true", *ONLY)

    assert done.code == 1, done.err
    assert cause in done.out


def test_upstream_that_is_left_out_is_seen(xent: Xent, tmp_path: Path) -> None:
    text = TEXT.replace("upstream * v / (1", "v / (1")
    assert text != TEXT

    done = xent("check", "--program", script(tmp_path, text=text), "--only", "normal-3x3")

    assert done.code == 1
    assert "gradient" in done.out


GREETINGS = [
    ("reply = 5", "at the greeting it wrote a line that is no JSON object: 5"),
    ("reply['id'] = 7", 'at the greeting it answered with the "id" 7; expected 1'),
    ("del reply['id']", 'the "id" missing; expected 1'),
    ("del reply['schema']", 'its "schema" is missing; expected "xent.loss/1"'),
    ("reply['schema'] = 'xent.loss/2'", 'its "schema" is xent.loss/2; expected "xent.loss/1"'),
    ("reply['dtypes'] = ['float8']", 'its "dtypes" are ["float8"]; expected a list of "float16", "bfloat16"'),
    ("reply['dtypes'] = []", 'its "dtypes" are []; expected a list of'),
    ("reply['dtypes'] = [[1], {}]", 'its "dtypes" are [[1], {}]; expected a list of'),
    ("reply['labels'] = 'one-hot'", 'its "labels" are one-hot; expected "indices", "rows" or "binary"'),
    ("reply['labels'] = {}", 'its "labels" are {}; expected "indices", "rows" or "binary"'),
    (
        "reply['takes'] = ['weight']",
        'its "takes" are ["weight"]; expected a list of "class_weights", "label_',
    ),
    ("reply['gradient'] = 1", 'its "gradient" is 1; expected true or false'),
    ("reply = request", "it sent the request back"),
]


@pytest.mark.parametrize(("change", "message"), GREETINGS)
def test_a_greeting_that_is_none_is_refused(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, change: str, message: str
) -> None:
    monkeypatch.setattr(programs, "program", lambda _: Inside(change))

    done = xent("check", "--program", "true")

    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert done.err.endswith(f"({SCHEMA})\n")


ANSWERS = [
    ("reply['losses'] = reply['losses'][:1]", "returned shape (1,); expected (2,)"),
    ("reply['losses'] = 'nan'", 'wrote "losses" as nan; expected a list'),
    (
        "reply['losses'] = [1.5, 2.5]",
        'wrote 1.5 in "losses"; expected a hexadecimal float such as "0x1.8p+1"',
    ),
    ("reply['losses'] = ['1.5', '2.5']", 'wrote 1.5 in "losses"; expected a hexadecimal float'),
    ("reply['losses'] = ['0x1p+1024', '0x0p0']", 'wrote 0x1p+1024 in "losses", which is beyond float64'),
    ("del reply['losses']", 'answered without "losses"'),
    ("reply = {'schema': reply['schema'], 'id': reply['id'], 'refused': 'busy'}", "raised a refusal: busy"),
    ("reply['id'] -= 1", 'it answered with the "id" '),
]
TWO = {  # a request of two examples and, unlike the trial's, of two classes
    "dtype": "float32",
    "shape": (2, 2),
    "scores": [1.0, 2.0, 0.5, 0.0],
    "labels_dtype": "int64",
    "labels_shape": (2,),
    "labels": [0, 1],
    "keywords": {},
    "reduction": "none",
}


@pytest.mark.parametrize(("change", "message"), ANSWERS)
def test_an_answer_that_is_none_is_one_finding(
    monkeypatch: pytest.MonkeyPatch, change: str, message: str
) -> None:
    changed = f"if asked and request['shape'] == [2, 2]:\n    {change}"
    monkeypatch.setattr(programs, "program", lambda _: Inside(changed))
    subject, _ = open_program("true", time.monotonic() + 60)
    probe = Probe.build(subject.convention, [[1, 2], [0.5, 0]], [0, 1], "float32")

    (finding,) = judge_response(probe, subject.respond(probe.request()), MaxUlps())[0]

    assert message in finding.message


@pytest.mark.parametrize(
    ("change", "item", "message"),
    [
        ("reply['gradient'] = reply['gradient'][1:]", "differentiable", 'numbers as "gradient"; expected '),
        ("del reply['gradient']", "differentiable", 'the gradient answered without "gradient"'),
        (
            "reply['losses'] = [(0.1).hex()] * len(reply['losses'])",
            "dtype",
            "returned float64 for logits of float32",
        ),
    ],
)
def test_what_breaks_the_contract_is_seen(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, change: str, item: str, message: str
) -> None:
    changed = f"if asked and 'losses' in reply: {change}"
    monkeypatch.setattr(programs, "program", lambda _: Inside(changed))

    done = xent("check", "--program", "true", "--only", item, "--only", "blog", "--format", "json")

    (finding,) = json.loads(done.out)["checks"][-1]["findings"]
    assert done.code == 1
    assert message in finding["message"]


def test_what_a_program_takes_is_what_it_is_given(tmp_path: Path) -> None:
    """The request is written down as it came."""
    seen_file = tmp_path / "seen"
    change = f"open({str(seen_file)!r}, 'w').write(line)"
    text = TEXT.replace('"gradient": True', '"gradient": True, "takes": ["class_weights", "label_smoothing"]')
    subject = Program(script(tmp_path, change, text), time.monotonic() + 60)
    keywords = {"class_weights": [0.1, 2.0], "label_smoothing": 0.1, "ignore_index": -100}
    request = {
        "dtype": "float32",
        "shape": (2, 2),
        "scores": [0.5, -math.inf, math.nan, 3.0],
        "labels": [0, 1],
    }

    response = subject.respond(
        {**request, "keywords": keywords, "reduction": "none", "labels_dtype": "int64"}
    )
    subject.stop()

    assert json.loads(seen_file.read_text(encoding="utf-8")) == {
        "schema": SCHEMA,
        "id": 2,
        "ask": "losses",
        "dtype": "float32",
        "shape": [2, 2],
        "logits": ["0x1.0000000000000p-1", "-inf", "nan", "0x1.8000000000000p+1"],
        "labels": [0, 1],
        "reduction": "none",
        "class_weights": [float(np.float32(0.1)).hex(), (2.0).hex()],
        "label_smoothing": (0.1).hex(),
        "upstream": ["0x1.0000000000000p+1", "0x1.0000000000000p+2"],
    }
    assert response["losses"][0] == 0
    assert math.isnan(response["losses"][1])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-nan(0x8)", "nan"),
        ("NaN", "nan"),
        ("-nan(ind)", "nan"),
        ("INFINITY", "inf"),
        ("-inf", "-inf"),
        ("0x1.8p+1", "3.0"),
        ("0X1.8P1", "3.0"),
        ("+0x18p-3", "3.0"),
        ("0x.18p5", "3.0"),
        ("-0x3", "-3.0"),
        ("-0x0p+0", "-0.0"),
    ],
)
def test_floats_are_read_as_languages_write_them(
    monkeypatch: pytest.MonkeyPatch, text: str, number: str
) -> None:
    monkeypatch.setattr(programs, "program", lambda _: Inside(f"reply['losses'] = [{text!r}] * 2"))

    response = Program("true", time.monotonic() + 60).respond(TWO)

    assert list(map(repr, response["losses"])) == [number] * 2


def test_other_dtypes_are_left_out_of_the_plan_and_a_case_in_one_is_skipped(
    xent: Xent, tmp_path: Path
) -> None:
    text = TEXT.replace('DTYPES = ["float32", "float64"]', 'DTYPES = ["float64"]')
    command = script(tmp_path, text=text)

    done = xent("check", "--program", command, "normal-3x3", "floor-of-the-dtype")

    assert done.code == 0
    assert "floor-of-the-dtype: the program takes float64, not float16" in " ".join(done.out.split())


def test_a_request_that_json_does_not_hold_is_not_made(tmp_path: Path) -> None:
    subject = Program(script(tmp_path), time.monotonic() + 60)
    subject.stop()

    assert subject.why_unsupported({"dtype": "float32"}) is None
    assert subject.why_unsupported({"dtype": "float32", "labels_dtype": "int64", "layout": ""}) is None
    assert subject.why_unsupported({"dtype": "float32", "labels_dtype": "uint8"}) is not None
    assert subject.why_unsupported({"dtype": "float32", "layout": "strided"}) is not None
    assert (
        subject.why_unsupported({"dtype": "float16"}) == "the program takes float32 and float64, not float16"
    )


def test_the_page_shows_parts_of_the_example() -> None:
    text = (EXAMPLES / "loss.c").read_text(encoding="utf-8")

    assert blocks(PAGE, "c")
    for block in blocks(PAGE, "c"):
        assert block in text


def test_what_the_page_types_gives_a_loss_that_passes_and_one_that_fails(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("cc is not installed: what docs/loss-protocol.md types is not run")
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    codes = []
    for block in blocks(PAGE, "sh"):
        compile_it, check = block.splitlines()
        subprocess.run(compile_it.split(), check=True)
        codes.append(xent(*check.split()[1:], "--only", "cancellation").code)

    assert codes == [0, 1]


def test_the_conversation_of_the_page_is_one_with_its_program(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    (block,) = blocks(PAGE, "json")
    requests, answers = block.splitlines()[::2], block.splitlines()[1::2]

    done = subprocess.run(
        [sys.executable, "answers.py"],
        input="\n".join(requests) + "\n",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    written = [json.loads(line) for line in done.stdout.splitlines()]
    shown = list(map(json.loads, answers))
    for lines in (written, shown):  # the last digit is that of NumPy's exp
        lines[1]["losses"] = [f"{float.fromhex(text):.12g}" for text in lines[1]["losses"]]
    assert written == shown

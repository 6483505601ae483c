"""Text from files, losses and names is inert: no escape, no command of a CI runner, no formula, no markup."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from conftest import Xent, first

HOSTILE = {
    "escape": "\x1b[31mred\x1b]0;title\x07",
    "c1": "\x9b31mred",
    "direction": "\u202egnp\u2066x",
    "command": "a\n::error::owned",
    "first": "::error::owned",
    "azure": "##[error]owned",
    "line": "a\u2028b\u2029c",
    "formula": "=cmd|' /c calc'!A0",
    "markup": "|x|<script>alert(1)</script>[l](javascript:x)`",
    "xml": "]]>&lt;<!--",
}
FORMS = ("table", "plain", "json", "csv", "markdown", "junit")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
CASE = "logits: [[0, 200]]\nlabels: [0]\n"
COMMANDS = [
    "run {}",
    "run abnormal --methods {}",
    "run abnormal -o no/{}",
    "run abnormal -o {}.txt",
    "run --logits {} --labels 0",
    "compare {}",
    "explain {}",
    "explain abnormal --method {}",
    "check {}",
    "check {}.py:loss",
    "check mine.py:loss --convention {}",
    "check mine.py:loss --only {}",
    "diagnose {}.npy",
    "diagnose {}",
    "diagnose d.npz --method {}",
    "diagnose d.npz --observed {}",
    "diagnose d.npz --logits-name {}",
    "diagnose d.npz --extract {}",
    "identify {}",
    "identify 1.234 --true {}",
    "cases --search {}",
    "cases --finding {}",
    "cases {}",
    "findings {}",
    "methods {}",
    "new {}",
    "new --from {} -",
    "nosuch{}",
]


def assert_inert(text: str) -> None:
    assert _CONTROL.search(text) is None, repr(text)
    assert not [line for line in text.splitlines() if line.lstrip().startswith(("::", "##["))], text


@pytest.fixture(params=HOSTILE)
def hostile(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return HOSTILE[str(request.param)]


@pytest.mark.parametrize("field", first(8, ["name", "title", "source"]))
def test_every_format_of_a_case_is_inert(xent: Xent, tmp_path: Path, hostile: str, field: str) -> None:
    path = tmp_path / (f"{hostile.replace('/', ' ')}.yaml" if field == "name" else "case.yaml")
    path.write_text(CASE + ("" if field == "name" else f"{field}: {json.dumps(hostile)}\n"), encoding="utf-8")
    shown = {form: xent("run", path.name, "--format", form) for form in FORMS}
    shown |= {"explain": xent("explain", path.name), "compare": xent("compare", path.name)}

    for run in shown.values():
        assert_inert(run.out)
        assert_inert(run.err)
    if shown["csv"].code == 0:
        cells = [cell for row in csv.reader(io.StringIO(shown["csv"].out)) for cell in row]
        assert not [cell for cell in cells if cell[:1] in set("=+@") and cell != "+"]
        assert "<script>" not in shown["markdown"].out.replace("\\<", "")
        assert ET.fromstring(shown["junit"].out).tag == "testsuites"  # noqa: S314 - it is our own
        assert json.loads(shown["json"].out)["schema"] == "xent.run/1"


@pytest.mark.slow
def test_every_message_is_inert(xent: Xent, tmp_path: Path, hostile: str) -> None:
    np.savez(tmp_path / "d.npz", logits=np.array([[0, 200.0]], np.float32), labels=np.array([0]))
    (tmp_path / "mine.py").write_text("def loss(x, y): return x[:, 0]", encoding="utf-8")
    for command in COMMANDS:
        if command.startswith("check mine") and hostile != HOSTILE["direction"]:
            continue  # a process each: one text is enough
        run = xent(*(word.replace("{}", hostile.replace("/", " ")) for word in command.split()))
        assert_inert(run.out)
        assert_inert(run.err)


def test_names_of_arrays_are_inert(xent: Xent, tmp_path: Path, hostile: str) -> None:
    name = hostile.replace("/", " ")
    beside: dict[str, Any] = {"logits": np.eye(2), name: np.zeros(3)}
    alone: dict[str, Any] = {name: np.zeros(3)}
    np.savez(tmp_path / "beside.npz", **beside)
    np.savez(tmp_path / "alone.npz", **alone)
    for command in ("diagnose beside.npz", "diagnose alone.npz", "new --from alone.npz -"):
        run = xent(*command.split())
        assert_inert(run.out)
        assert_inert(run.err)


@pytest.mark.slow
def test_what_a_loss_raises_and_prints_is_inert(xent: Xent, tmp_path: Path, hostile: str) -> None:
    text = f"V = {hostile!r}\ndef raises(x, y): raise ValueError(V)\n"
    text += "def prints(x, y):\n    print(V)\n    return x[:, 0]\n"
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    for command in (
        "check mine.py:raises",
        "check mine.py:prints --only quiet --format plain",
        "check mine.py:prints --only quiet --format junit",
    ):
        run = xent(*command.split())
        assert_inert(run.out)
        assert_inert(run.err)


def test_a_title_may_have_every_space_there_is(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text(f"{CASE}title: a\u00a0b\u3000c", encoding="utf-8")

    assert xent("run", tmp_path / "case.yaml").code == 0

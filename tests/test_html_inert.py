"""Reports of hostile cases, losses and dumps: nothing of them runs, and all of it is there as text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from html_pages import page, text

from xentcli.show.document import Code, Document, Facts, Link, Prose, Section, Several, anchors, render
from xentcli.show.sheet import Sheet

SCRIPT = "<script>alert(1)</script>"
ATTRIBUTE = '" onmouseover="alert(1)'
STYLE = "</style><img src=x onerror=alert(1)>"
ESCAPES = "\x1b[31mred\x1b]8;;http://x\x07"
BIDI = "\u202egnp.exe\u2066"
HOSTILE = (
    SCRIPT,
    ATTRIBUTE,
    STYLE,
    ESCAPES,
    BIDI,
    "]]>",
    "<!--",
    "&lt;script&gt;",
    "\x00",
    "\ud800",
    "\ufffe",
)
ADDRESSES = (
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "//example.com",
    "https:// x",
    "http://x\nonclick=1",
    "#a b",
)


def document(*words: str) -> str:
    """Return a document in which words stand wherever words of files can."""
    cells = tuple(words)
    return render(
        Document(
            " ".join(words),
            " ".join(words),
            (Prose(cells), Facts(((words[0], cells),)), Code("\n".join(words))),
            (
                Section(words[0], "one", (Sheet(words[0], cells, (cells, cells)),)),
                Section("two", "two", (Sheet("", ("a",), ((Several(cells),),)),)),
            ),
            " ".join(words),
        )
    )


@pytest.mark.parametrize("word", HOSTILE, ids=ascii)
def test_a_hostile_text_stays_text_wherever_it_stands(word: str) -> None:
    root = page(document(word, "other"))

    assert not [
        each for each in ("\x1b", "\x00", "\u202e", "\u2066", "\x07") if each in "".join(root.itertext())
    ]
    assert "alert(1)" in text(root.find(".//h1")) or "alert" not in word


@pytest.mark.parametrize("address", ADDRESSES, ids=ascii)
def test_a_link_that_is_no_address_of_the_web_is_text(address: str) -> None:
    html = render(Document("s", "a", (Prose((Link("words", address, hint=ATTRIBUTE),)),), (), "c"))

    assert [each for each in page(html).iter("a") if text(each) == "words"] == []


def test_a_hint_stays_an_attribute() -> None:
    root = page(
        render(Document("s", "a", (Prose((Link("words", "https://x.org/?a&b", hint=ATTRIBUTE),)),), (), "c"))
    )

    (link,) = [each for each in root.iter("a") if text(each) == "words"]
    assert link.attrib["title"] == ATTRIBUTE
    assert link.attrib["href"] == "https://x.org/?a&b"


def test_anchors_are_letters_digits_and_hyphens_and_no_two_are_alike() -> None:
    found = anchors(["a", "A", "a!", '"><', "", "é", "a-2"], "case")

    assert len(set(found)) == len(found)
    assert all(set(anchor) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for anchor in found)


def test_cases_whose_names_run_into_each_other_have_places_of_their_own(xent: Xent, tmp_path: Path) -> None:
    for name in ("x", "x-1", "x-title", "x--1", "X", "x-2", "x 2"):
        text_of = "title: t\nlogits: [[0, 1000]]\nlabels: [0]\n"
        (tmp_path / f"{name}.yaml").write_text(text_of, encoding="utf-8")

    for command in ("run", "compare"):
        page(xent(command, tmp_path, "--format", "html").out)


def test_a_hostile_case_is_text(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / f"{ATTRIBUTE}{SCRIPT.replace('/', '')}.yaml"
    path.write_text(
        f"title: '{SCRIPT}{STYLE}'\n"
        f"source:\n  - url: https://x.org/{SCRIPT}\n    title: '{SCRIPT}'\n"
        f"affects:\n  - {{library: '{SCRIPT}', versions: '{STYLE}', state: open}}\n"
        f"prints:\n  - {{library: '{SCRIPT}', version: '1', call: '{STYLE}', text: '{SCRIPT}'}}\n"
        "logits: [[0, 1000]]\nlabels: [0]\n",
        encoding="utf-8",
    )
    for words in (("run", path), ("run", path, "abnormal"), ("compare", path, "abnormal")):
        run = xent(*words, "--format", "html")

        assert run.code == 0, run.err
        root = page(run.out)
        assert SCRIPT in text(root.find(".//main"))
        assert "\u202e" not in "".join(root.itertext())


def test_what_a_loss_raises_is_text(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"def loss(x, y):\n    raise ValueError({SCRIPT + ESCAPES!r})\n", encoding="utf-8")

    for words in (
        ("run", "abnormal", "--methods", f"{path}:loss"),
        ("compare", "abnormal", "--methods", f"{path}:loss"),
    ):
        root = page(xent(*words, "--format", "html").out)
        assert SCRIPT in "".join(root.itertext()) + "".join(each.get("title", "") for each in root.iter())
        assert "\x1b" not in "".join(root.itertext())


def test_a_checked_loss_that_returns_what_is_hostile_is_text(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\n"
        "def loss(x, y):\n"
        f"    if abs(x).max() > 1e5: raise ValueError({SCRIPT + STYLE!r})\n"
        "    return np.logaddexp.reduce(x, axis=1) - x[np.arange(len(x)), y]\n",
        encoding="utf-8",
    )
    run = xent("check", f"{path}:loss", "--only", "blog", "--format", "html")

    assert run.code == 1, run.err
    assert SCRIPT in text(page(run.out).find(".//main"))


def test_a_hostile_dump_is_text(xent: Xent, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}{ATTRIBUTE}<b>&\u202e{{datum.x}}.npz" for number in range(2)]
    for path in files:
        inside: dict[str, Any] = {"logits": np.array([[np.nan, 0], [0, 1e5]]), "labels": np.array([0, 5])}
        np.savez(path, **inside)
    run = xent("diagnose", *files, "--format", "html")

    assert run.code == 1, run.err
    root = page(run.out)
    assert "<b>&" in text(root.find(".//section[@id='rows']"))
    assert "\u202e" not in "".join(root.itertext())

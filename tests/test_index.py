"""Finding one's way in the atlas: search, folders, what is left out, the index of the documentation."""

import re
import sys
from pathlib import Path

import pytest
from conftest import CASES, Xent

from xentcli import atlas
from xentcli.atlas import Entry
from xentcli.judge.findings import FINDINGS

ENTRIES = atlas.entries()
ATLAS = [entry for entry in ENTRIES if entry.folder]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--search", "label smoothing NaN"], {"smoothing-sum", "smoothing-sum-in-float32"}),
        (["--finding", "empty-tile"], {"empty-tile"}),
        (["--library", "FLASH-attn"], {"empty-tile"}),
        (["--library", "keras", "--finding", "tail-collapse"], {"keras-cap"}),
    ],
)
def test_cases_are_found(xent: Xent, options: list[str], names: set[str]) -> None:
    done = xent("cases", *options, "--format", "csv")

    assert done.code == 0
    assert {line.split(",")[1] for line in done.out.splitlines()[1:]} == names


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--search", "zebra"], 1, "no case has all the words of 'zebra'; none has one of them\n"),
        (["--finding", "tail-colapse"], 2, "unknown finding 'tail-colapse'; did you mean 'tail-collapse'?\n"),
        (["--library", "pytorch"], 2, "no case is of a library 'pytorch'; did you mean 'torch'?\n"),
    ],
)
def test_what_is_not_found_is_said(xent: Xent, options: list[str], code: int, message: str) -> None:
    done = xent("cases", *options)

    assert (done.code, done.out.strip(), done.err) == (code, "", message)


def test_a_word_too_many_leaves_the_cases_that_have_most(xent: Xent) -> None:
    done = xent("cases", "--search", "loss stuck zebra", "--format", "csv")

    assert (done.code, done.out.splitlines()[1].split(",")[1]) == (0, "caffe-floor")
    assert done.err == "no case has all the words of 'loss stuck zebra'; these have most of them\n"


def test_a_folder_of_the_atlas_runs_by_its_name(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    done = xent("run", "reductions", "binary/clamp-leaps", "clamp-leaps")

    assert done.code == 2
    assert "binary/clamp-leaps: no such file, folder or bundled case" in done.err
    assert xent("run", "reductions").code == 0


def test_the_atlas_runs_as_a_folder_with_one_line_a_case(xent: Xent) -> None:
    done = xent("run", "cases/")

    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["case", *(e.case.name for e in ENTRIES)]


def test_a_case_of_a_folder_that_needs_a_library_is_left_out(
    xent: Xent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)

    alone, together = xent("run", "bfloat16-steps"), xent("run", "low-precision")

    assert alone.code == 2
    assert "needs ml_dtypes" in alone.err
    assert together.code == 0
    assert "bfloat16" not in together.out
    assert "2 cases skipped: bfloat16 needs ml_dtypes" in together.err
    assert "3 cases skipped" in xent("cases").err


# The index

START, END = "<!-- the index, generated: make golden -->\n", "<!-- the end of the index -->\n"


def test_the_index_in_the_documentation_is_current() -> None:
    page = CASES / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(
        "<!-- the index, generated: make golden -->\n"
    )
    _, _, after = rest.partition("<!-- the end of the index -->\n")
    wanted = (
        f"{before}<!-- the index, generated: make golden -->\n{index()}<!-- the end of the index -->\n{after}"
    )

    if __import__("os").environ.get("UPDATE_GOLDEN"):
        page.write_text(wanted, encoding="utf-8")

    assert page.read_text(encoding="utf-8") == wanted


def index() -> str:
    """Write a table a folder: the case, what it shows, what is found, where it is reported."""
    parts = []
    for folder in dict.fromkeys(entry.folder for entry in ATLAS):
        rows = [row(entry) for entry in ATLAS if entry.folder == folder]
        parts += [
            f"\n### {folder}\n\n| case | what it shows | findings | reported |\n| --- | --- | --- | --- |\n"
        ]
        parts += rows
    return "".join(parts) + "\n"


def row(entry: Entry) -> str:
    case = entry.case
    found = entry.findings()
    findings = ", ".join(finding.name for finding in FINDINGS if finding.name in found)
    links = ", ".join(f"[{short(source.url)}]({source.url})" for source in case.about.sources)
    return f"| [{case.name}]({entry.folder}/{case.name}.yaml) | {case.title} | {findings} | {links} |\n"


def short(url: str) -> str:
    """Name an address: owner/name#number of a thread, else the host."""
    thread = re.fullmatch(r"https://github\.com/[^/]+/([^/]+)/(?:issues|pull)/(\d+)", url)
    return f"{thread[1]}#{thread[2]}" if thread else url.split("/")[2]

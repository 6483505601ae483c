"""The pages of the site that are made of cases and findings: all there, nothing of a file is markup."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, Xent

sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import atlas_pages
from atlas_pages import cases, curve, findings, index, links, record, text
from atlas_pages.known import Known
from atlas_pages.known import cases as known_cases

from xentcli import atlas
from xentcli.identifiers import identifier
from xentcli.judge import Result
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import Finding
from xentcli.load.sources import bundled
from xentcli.model import Reference
from xentcli.show.pages import words
from xentcli.show.sheet import Cell, Tone


def known(name: str) -> Known:
    return next(each for each in known_cases() if each.name == name)


@pytest.fixture(scope="module", autouse=True)
def without_pictures() -> Iterator[Callable[[Result], str]]:
    """Leave pictures out, which take most of the time; return the function that draws them."""
    with pytest.MonkeyPatch.context() as patch:
        drawn = curve.picture
        patch.setattr(curve, "picture", lambda _: "")
        yield drawn


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    atlas_pages.write(folder)
    return folder


@pytest.mark.slow
def test_every_case_and_finding_has_the_page_of_its_identifier(written: Path) -> None:
    names = {path.stem for path in (written / "atlas").glob("XE*.md")}

    assert {identifier("case", path.stem) for path in bundled()} <= names
    assert {identifier("finding", finding.name) for finding in FINDINGS} <= names
    assert len(names) == len(bundled()) + len(FINDINGS)


@pytest.mark.slow
def test_the_same_pages_are_written_twice_and_those_of_no_case_go(written: Path, tmp_path: Path) -> None:
    (tmp_path / "atlas").mkdir()
    (tmp_path / "atlas" / "XE1999.md").write_text("# gone\n", encoding="utf-8")
    atlas_pages.write(tmp_path)

    assert sorted(p.relative_to(written) for p in written.rglob("*.md")) == sorted(
        p.relative_to(tmp_path) for p in tmp_path.rglob("*.md")
    )
    for path in written.rglob("*.md"):
        assert path.read_bytes() == (tmp_path / path.relative_to(written)).read_bytes()


def test_the_page_of_a_case_has_its_numbers_causes_threads_and_file() -> None:
    page = cases.page(known("keras-cap"))

    assert page.startswith("# keras\\-cap: The clip of Keras at 1e\\-7 turns a loss of 150 into 8.059\n")
    for shown in (
        "[XE1025]{.identifier}",
        "| `clipped` | `8.05904786964` | the source | yes |",
        "[capped]{.silent}",
        "[dead]{.silent}",
        "[clip-active](XE0105.md)",
        "$ xent run keras-cap",
        "| keras | up to 3.15.1 | intended |",
        "`8.059047875479163`",
        "[keras\\-team/keras\\#7563](<https://github.com/keras-team/keras/issues/7563>)",
        "2017\\-08\\-08",
        "logits: [[300, 100, 100], [-100, 200, 500]]",
    ):
        assert shown in page


def test_related_cases_share_a_finding_or_the_folder() -> None:
    for each in known_cases():
        others = cases.related(each)

        assert each not in others
        for other in others:
            assert set(other.findings) & set(each.findings) or cases.folder(other) == cases.folder(each)


def test_the_page_of_a_finding_has_its_code_and_its_cases() -> None:
    (finding,) = (finding for finding in FINDINGS if finding.name == "tail-collapse")
    page = findings.page(finding)

    for shown in ("[XE0109]{.identifier}", "np.logaddexp.reduce", "F.logsigmoid", "jax.nn.softplus"):
        assert shown in page
    for each in known_cases():
        assert (f"]({each.page})" in page) == (finding in each.findings)


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: str(finding.name))
def test_a_finding_shows_wrong_code_before_right_code_for_every_library(finding: Finding) -> None:
    page = findings.page(finding)
    advice = words()["findings"][finding.name]

    for library in ("numpy", "torch", "jax", "keras"):
        right = words()["remedies"][advice["remedy"]][library].strip()
        wrong = words()["mistakes"][advice["mistake"]].get(library, "").strip()
        assert f"```python\n{right}\n```" in page
        assert page.find(f"```python\n{wrong}\n```") < page.rfind(f"```python\n{right}\n```")
    assert text.escaped(advice["gives"]) in page


def test_what_is_on_record_of_a_library_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capped = {"loss": 8.059, "verdict": "capped", "mark": "cap", "gradient": "dead"}
    results = {
        "3.2.1": capped,
        "3.10.0": capped,
        "3.9.0": capped,
        "3.15.1": {"raised": "TypeError", "mark": "×"},
    }
    for version, result in results.items():
        cases_of = {"keras-cap": {"keras.f": result}}
        document = {"schema": "xent.record/1", "library": "keras", "version": version, "cases": cases_of}
        (tmp_path / "keras").mkdir(exist_ok=True)
        (tmp_path / "keras" / f"{version}.json").write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    record.documents.cache_clear()

    assert record.case_rows("keras-cap") == [
        ("`keras.f`", "3.2.1 to 3.10.0", "8.059", "[capped]{.silent}", "dead"),
        ("`keras.f`", "3.15.1", "TypeError", "[raised]{.aloud}", ""),
    ]
    assert record.case_rows("abnormal") == []
    record.documents.cache_clear()


@pytest.mark.parametrize("name", [path.stem for path in bundled()])
def test_the_commands_of_a_case_do_what_they_say(name: str, xent: Xent) -> None:
    commands = re.findall(r"^\$ xent (.*?)(?: > mine\.yaml)?$", cases.page(known(name)), re.MULTILINE)

    assert [command.split()[0] for command in commands] == ["run", "explain", "cases"]
    for command in commands:
        assert xent(*command.split()).code == 0, command


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "example", "gap"),
    [
        ("keras-cap", 1, "\\-300"),  # of [200, 500] and [300, 100]: the one that loses most
        ("clamp-leaps", 1, "\\-16.7"),  # binary: the label 0 at a logit of 16.7
        ("clip-kills-gradient", 0, "\\-30"),
    ],
)
def test_a_picture_marks_the_gap_of_the_example_that_loses_most(
    without_pictures: Callable[[Result], str], name: str, example: int, gap: str
) -> None:
    pytest.importorskip("vl_convert", reason="is not installed: pip install 'xent[report]'")
    shown = without_pictures(known(name).result)

    assert shown.startswith(f"The gap of example {example} is {gap}.\n\n```{{raw}} html\n<svg ")
    assert ">this case</text>" in shown
    assert shown == without_pictures(known(name).result)


@pytest.mark.parametrize("name", ["masked-class", "nan-logit", "every-label-ignored", "loss-beyond-float16"])
def test_a_case_without_a_gap_has_no_picture(without_pictures: Callable[[Result], str], name: str) -> None:
    assert without_pictures(known(name).result) == ""


# Texts of files


@pytest.mark.parametrize(
    "evil",
    ["<script>", "`x`", "[a](b)", "{role}", "a | b", "# h", "$x$", "&lt;", "**b**", "a\nb", "\x1b[31m"],
)
def test_a_text_of_a_file_is_no_markup(evil: str) -> None:
    pytest.importorskip("markdown_it", reason="comes with the extra docs")
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark").enable("table").render(text.escaped(evil))
    shown = evil.replace("\n", "\\n").replace("\x1b", "\\x1b").replace("&", "&amp;").replace("<", "&lt;")

    assert html == f"<p>{shown.replace('>', '&gt;')}</p>\n"


def test_a_case_cannot_put_markup_into_its_page_or_the_index() -> None:
    base = known("abnormal")
    about = replace(
        base.entry.case.about,
        title="<img src=x> {raw}`x` `` | b",
        sources=(Reference("https://example.org/a>b<c", "<b>t</b>", "2018"),),
    )
    entry = atlas.Entry(replace(base.entry.case, about=about), "", "title: ```\n")
    evil = Known(entry, replace(base.result, case=entry.case), base.findings)

    page, line = cases.page(evil), index.line(index.case_item(evil), "case", "")

    assert "<img" not in page.replace("\\<img", "")
    assert "<b>" not in page.replace("\\<b\\>", "")
    assert "````yaml\ntitle: ```\n````\n" in page
    assert "<img" not in line
    assert "&lt;img src=x&gt;" in line


def test_a_cell_is_marked_by_what_it_means() -> None:
    assert text.cell(Cell("capped", Tone.SILENT)) == "[capped]{.silent}"
    assert text.cell("plain") == "plain"


# Links


@pytest.mark.parametrize(
    ("link", "origin", "page", "becomes"),
    [
        ("../cases/clipping/keras-cap.yaml", "docs/x.md", "x.md", "atlas/XE1025.md"),
        ("clipping/keras-cap.yaml", "cases/README.md", "project/cases.md", "../atlas/XE1025.md"),
        ("../cases/README.md#the-atlas", "docs/x.md", "x.md", "project/cases.md#the-atlas"),
        ("../README.md", "docs/x.md", "x.md", "index.md"),
        ("docs/design.md", "CONTRIBUTING.md", "project/contributing.md", "../design.md"),
        ("python.md", "docs/x.md", "x.md", "python.md"),
        ("../python.md", "docs/tutorial/x.md", "tutorial/x.md", "../python.md"),
        ("../xentcli/run.py", "docs/x.md", "x.md", "../xentcli/run.py"),
        ("https://example.org/README.md", "docs/x.md", "x.md", "https://example.org/README.md"),
    ],
)
def test_a_link_of_the_repository_leads_to_its_page(link: str, origin: str, page: str, becomes: str) -> None:
    assert links.rewritten(f"see [it]({link}).", origin, page) == f"see [it]({becomes})."


def test_every_document_is_in_the_navigation() -> None:
    home = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")

    for path in (
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/tutorial/*.md"),
        *ROOT.glob("docs/reference/*.md"),
    ):
        name = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
        assert name == "index" or f"\n{name}\n" in home or f"<{name}>" in home, name

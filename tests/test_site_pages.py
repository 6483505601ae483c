"""The site as files: every case and finding has its page, every link and anchor is whole, nothing is fetched.

Marked ``site``: 'make site-check' builds the site and runs these.
"""

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import GOLDEN, ROOT

from xentcli import atlas
from xentcli.judge.findings import FINDINGS

SITE = ROOT / "docs" / "_build" / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="the site is not built: make site"),
]


class Reader(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the anchor of an element, and where it leads or what it loads."""
        values = {name: value or "" for name, value in attrs}
        self.anchors += [values["id"]] if values.get("id") else []
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "form" and values.get("action"):
            self.links.append(values["action"])
        elif tag == "link" and values.get("rel") in {"index", "search", "next", "prev", "canonical"}:
            self.links.append(values["href"])
        else:
            self.loads += [values[name] for name in ("href", "src", "srcset", "data") if values.get(name)]


@cache
def read(name: str) -> Reader:
    reader = Reader()
    reader.feed((SITE / name).read_text(encoding="utf-8"))
    return reader


def broken(name: str) -> Iterator[str]:
    """Yield the links of a page that lead to no file, or to no place in one."""
    for link in read(name).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (SITE / name).parent / unquote(parts.path) if parts.path else SITE / name
        target = target.resolve()
        if not target.is_file():
            yield f"{name}: {link}: no such file"
        elif parts.fragment and target.suffix == ".html":
            page = target.relative_to(SITE.resolve()).as_posix()
            if unquote(parts.fragment) not in read(page).anchors:
                yield f"{name}: {link}: no such anchor"


def test_every_link_and_anchor_leads_somewhere() -> None:
    assert [problem for name in PAGES for problem in broken(name)] == []


def test_no_page_loads_anything_of_another_host() -> None:
    loads = {load for name in PAGES for load in read(name).loads}
    styles = [path.read_text(encoding="utf-8") for path in SITE.rglob("*.css")]

    assert {load for load in loads if urlsplit(load).netloc} == set()
    assert [
        found for style in styles for found in re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", style)
    ] == []


def test_links_to_other_hosts_are_encrypted() -> None:
    others = {link for name in PAGES for link in read(name).links if urlsplit(link).netloc}

    assert {link for link in others if urlsplit(link).scheme != "https"} == set()
    assert len(others) > 50


def test_every_recorded_identifier_has_its_page() -> None:
    recorded = [
        line.split() for line in (GOLDEN / "identifiers.txt").read_text(encoding="utf-8").splitlines()
    ]
    titles = {
        key: re.search("<title>(.*?)</title>", (SITE / "atlas" / f"{key}.html").read_text())
        for key, _ in recorded
    }

    for key, name in recorded:
        title = titles[key]
        assert title is not None
        assert title[1].startswith(f"{name}: "), key
    assert len(recorded) >= len(FINDINGS) + len(atlas.entries())


def test_the_index_has_an_anchor_for_every_name() -> None:
    anchors = read("atlas/index.html").anchors

    assert {f"finding-{finding.name}" for finding in FINDINGS} <= set(anchors)
    assert {f"case-{entry.case.name}" for entry in atlas.entries()} <= set(anchors)


@pytest.mark.parametrize("name", PAGES)
def test_an_anchor_is_there_once(name: str) -> None:
    anchors = read(name).anchors

    assert sorted(set(anchors)) == sorted(anchors)


def test_a_page_says_nothing_of_the_machine_that_built_it() -> None:
    whole = [(name, (SITE / name).read_text(encoding="utf-8")) for name in PAGES]

    assert [name for name, text in whole if str(ROOT) in text or str(Path.home()) + "/" in text] == []

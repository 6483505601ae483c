"""The site in a browser, opened from disk and served: no error, no other host, keyboard alone, axe, widths.

Marked ``site``: 'make site-check' builds the site, fetches axe-core and runs these in the system's Chromium.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from conftest import ROOT
from test_site_pages import PAGES, SITE

from xentcli import atlas
from xentcli.identify import identify
from xentcli.judge.findings import FINDINGS

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make site-check")

CHROMIUM = shutil.which("chromium")
AXE = ROOT / ".site" / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Every page that is written by hand, and one of each kind that is generated.
KINDS = [name for name in PAGES if not name.startswith("atlas/XE")] + [
    f"atlas/{key}.html" for key in ("XE0101", "XE0109", "XE1001", "XE1025", "XE1064")
]
SAMPLE = [
    f"{name}.html"
    for name in ("index", "search", "atlas/index", "atlas/XE0101", "atlas/XE1001", "project/schemas")
]
RUN_AXE = "wcag => axe.run({preload: false, runOnly: wcag, resultTypes: ['violations']})"
WIDE, NARROW = 1400, 360

pytestmark = [
    pytest.mark.site,
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="the site is not built: make site"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there: make site-check"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """Serve the site on a free port of this machine; return its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


DISK = SITE.as_uri()


@contextmanager
def opened(browser: Any, width: int = WIDE, scheme: str = "light", **options: Any) -> Iterator[Any]:
    """Open an empty tab of a width and a colour scheme, with scripts unless told otherwise."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
    yield context.new_page()
    context.close()


@dataclass
class Visit:
    """What was seen while pages were opened, each with the name of its page."""

    said: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[int, str]] = field(default_factory=list)
    too_wide: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def visit(tab: Any, home: str, pages: list[str], *, with_axe: list[str]) -> Visit:
    """Open pages one after the other; of some ask axe too."""
    seen, at, axe = Visit(), "", AXE.read_text(encoding="utf-8")
    tab.on("console", lambda message: seen.said.append(f"{at}: {message.text}"))
    tab.on("pageerror", lambda error: seen.said.append(f"{at}: {error}"))
    tab.on("request", lambda request: seen.asked.append((at, request.url)))
    tab.on("response", lambda response: seen.answers.append((response.status, response.url)))
    for at in pages:
        tab.goto(f"{home}/{at}")
        if tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
            seen.too_wide.append(at)
        if at in with_axe:
            tab.evaluate(axe)
            # preload would fetch the stylesheets anew, which a browser refuses for files
            found = tab.evaluate(RUN_AXE, WCAG)["violations"]
            seen.violations += [
                f"{at}: {each['id']}: {node['html'][:80]}" for each in found for node in each["nodes"][:2]
            ]
    return seen


@pytest.fixture(scope="module")
def from_disk(browser: Any) -> Visit:
    with opened(browser) as tab:
        return visit(tab, DISK, PAGES, with_axe=PAGES)


@pytest.fixture(scope="module")
def from_a_server(browser: Any, served: str) -> Visit:
    with opened(browser, NARROW, "dark") as tab:
        return visit(tab, served, PAGES, with_axe=KINDS)


def test_pages_opened_from_disk_have_no_errors(from_disk: Visit) -> None:
    assert from_disk.said == []


def test_pages_opened_from_disk_ask_no_other_host(from_disk: Visit) -> None:
    assert [asked for asked in from_disk.asked if not asked[1].startswith(f"{DISK}/")] == []


def test_pages_that_are_served_have_no_errors(from_a_server: Visit) -> None:
    assert from_a_server.said == []
    assert {status for status, _ in from_a_server.answers} <= {200, 304}


def test_pages_that_are_served_ask_no_other_host(from_a_server: Visit, served: str) -> None:
    assert [asked for asked in from_a_server.asked if not asked[1].startswith(f"{served}/")] == []


def test_no_page_is_wider_than_the_screen(from_disk: Visit, from_a_server: Visit) -> None:
    assert (from_disk.too_wide, from_a_server.too_wide) == ([], [])


def test_axe_finds_no_violation_on_any_page(from_disk: Visit) -> None:
    assert from_disk.violations == []


def test_axe_finds_no_violation_in_the_dark_on_a_narrow_screen(from_a_server: Visit) -> None:
    assert from_a_server.violations == []


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "dark"), (NARROW, "light")])
def test_axe_finds_no_violation_in_the_other_colours(browser: Any, width: int, scheme: str) -> None:
    with opened(browser, width, scheme) as tab:
        assert visit(tab, DISK, SAMPLE, with_axe=SAMPLE).violations == []


# The search by number


def focus_by_tab(tab: Any, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(200):
        tab.keyboard.press("Tab")
        if tab.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never comes to {selector}")


@pytest.mark.parametrize(
    ("number", "case"), [("16.118", "keras-cap"), ("82.89", "abnormal"), ("103.28", "naive-ends-at-103")]
)
@pytest.mark.parametrize("start", ["index.html", "atlas/index.html"])
def test_a_number_finds_its_case_by_the_keyboard_alone(
    browser: Any, start: str, number: str, case: str
) -> None:
    with opened(browser) as tab:
        tab.goto(f"{DISK}/{start}")
        focus_by_tab(tab, "article input[type=search]")
        tab.keyboard.type(number)
        tab.keyboard.press("Enter")
        tab.wait_for_function("document.activeElement.matches('.atlas a')")
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/XE*.html")

        assert tab.inner_text("h1").startswith(f"{case}: ")


def shown(tab: Any) -> list[str]:
    """Return the names of the entries that are shown."""
    return tab.eval_on_selector_all(".atlas li:not([hidden])", "items => items.map(item => item.id)")


@pytest.mark.parametrize(
    ("typed", "entry"),
    [
        ("16.118095", "case-keras-cap"),
        ("16.11809", "case-keras-cap"),  # cut off
        ("6.72853e+30", "case-abnormal"),
        ("nan", "case-abnormal"),
        ("xe1001", "case-abnormal"),
        ("diverged cnn", "case-abnormal"),
        ("keras#7563", "case-keras-cap"),
        ("log-of-zero", "finding-log-of-zero"),
    ],
)
def test_what_one_types_finds_the_entry(browser: Any, typed: str, entry: str) -> None:
    with opened(browser) as tab:
        tab.goto(f"{DISK}/atlas/index.html")
        everything = shown(tab)
        tab.fill("#atlas-q", typed)

        assert entry in shown(tab)
        assert len(shown(tab)) < len(everything)
        assert tab.inner_text("#atlas-count") == f"{len(shown(tab))} of {len(everything)} entries"


@pytest.mark.parametrize("typed", ["16.118", "27.631", "103.28", "82.893", "69.0776", "11.09037", "0.69315"])
def test_a_number_is_called_what_identify_calls_it(browser: Any, typed: str) -> None:
    with opened(browser) as tab:
        tab.goto(f"{DISK}/atlas/index.html")
        tab.fill("#atlas-q", typed)

        assert f"{identify(typed)[0].constant.definition}:" in tab.inner_text(
            ".atlas li:not([hidden]) >> nth=0"
        )


@pytest.mark.parametrize("typed", ["16.119", "16.117", "-16.118", "82.88", "zebra"])
def test_what_has_other_digits_does_not_find_it(browser: Any, typed: str) -> None:
    with opened(browser) as tab:
        tab.goto(f"{DISK}/atlas/index.html")
        tab.fill("#atlas-q", typed)

        assert not {"case-keras-cap", "case-abnormal"} & set(shown(tab))


def test_filters_leave_the_cases_of_a_folder_and_a_library(browser: Any) -> None:
    entries = atlas.entries()
    with opened(browser) as tab:
        tab.goto(f"{DISK}/atlas/index.html")
        assert len(shown(tab)) > len(entries) + len(FINDINGS)
        tab.select_option("select[name=folder]", "clipping")
        assert shown(tab) == [f"case-{entry.case.name}" for entry in entries if entry.folder == "clipping"]
        tab.select_option("select[name=folder]", "")
        tab.select_option("select[name=library]", "keras")
        assert shown(tab) == [f"case-{entry.case.name}" for entry in entries if "keras" in entry.libraries]


def test_the_search_for_words_works_from_disk(browser: Any) -> None:
    with opened(browser) as tab:
        tab.goto(f"{DISK}/search.html?q=subnormal")

        assert tab.wait_for_selector(
            "#search-results li a:has-text('flushed-probability')"
        )  # they come one by one


# Without scripts, without a mouse


def test_pages_stand_without_scripts(browser: Any) -> None:
    with opened(browser, java_script_enabled=False) as tab:
        tab.goto(f"{DISK}/atlas/index.html")
        assert tab.is_hidden("#atlas")
        assert tab.locator(".atlas li").count() > len(FINDINGS) + len(atlas.entries())
        assert tab.is_visible(".atlas li:last-child >> nth=0")
        tab.goto(f"{DISK}/atlas/XE1001.html")
        assert tab.is_visible("text=82.89307 >> nth=0")
        tab.goto(f"{DISK}/index.html")
        tab.fill("article input[type=search]", "16.118")
        tab.click("article button")
        tab.wait_for_url("**/atlas/index.html?q=16.118")
        assert "need scripts" in tab.inner_text("noscript")


@pytest.mark.parametrize("name", ["index.html", "atlas/index.html", "atlas/XE1001.html"])
def test_the_keyboard_can_skip_to_the_text_and_its_place_is_seen(browser: Any, name: str) -> None:
    with opened(browser) as tab:
        tab.goto(f"{DISK}/{name}")
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.getAttribute('href')") == "#furo-main-content"
        for _ in range(12):
            tab.keyboard.press("Tab")
            style = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style == "solid", tab.evaluate("document.activeElement.outerHTML")


def test_the_button_copies_commands_without_their_prompt(browser: Any, served: str) -> None:
    with opened(browser, permissions=["clipboard-read", "clipboard-write"]) as tab:
        tab.goto(f"{served}/atlas/XE1001.html")
        tab.click("button.copy >> nth=0")
        tab.wait_for_selector("button.copy:text('Copied')")

        assert tab.evaluate("navigator.clipboard.readText()") == "xent run abnormal"

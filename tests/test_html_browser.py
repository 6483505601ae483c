"""Reports in a browser: opened from disk, nothing runs, nothing is loaded, none is wider than the screen."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from test_html_inert import SCRIPT, STYLE, document

pytest.importorskip("playwright", reason="playwright is not installed; .ci/run tests with it")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
]
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
POINTED = """document.querySelectorAll("*").forEach(each =>
    ["mouseover", "mouseenter", "focus", "load"].forEach(kind => each.dispatchEvent(new MouseEvent(kind))))"""
LOSS = f"def loss(x, y):\n    raise ValueError({SCRIPT + STYLE!r})\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    options: dict[str, Any] = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
    with sync_playwright() as started, started.chromium.launch(**options) as opened:
        yield opened


@pytest.fixture
def reports(xent: Xent, tmp_path: Path) -> list[Path]:
    case = tmp_path / "<img src=x onerror=alert(1)>.yaml"
    case.write_text(f"title: '{SCRIPT}{STYLE}'\nlogits: [[0, 1000]]\nlabels: [0]\n", encoding="utf-8")
    mine = tmp_path / "mine.py"
    mine.write_text(LOSS, encoding="utf-8")
    logits = np.random.default_rng(0).normal(0, 30, (500, 20)).astype(np.float32)
    logits[7, 3] = np.nan
    dump = tmp_path / "<b onmouseover=alert(1)>.npz"
    np.savez(dump, logits=logits, labels=np.arange(500) % 20)
    calls: dict[str, tuple[str | Path, ...]] = {
        "run": ("run", case, "abnormal", "--methods", f"{mine}:loss,naive"),
        "compare": ("compare", case, "abnormal", "clamp-leaps"),
        "compare-all": ("compare",),
        "check": ("check", "--list"),
        "diagnose": ("diagnose", dump),
        "sweep": ("sweep", case, "--gap", "-9:9", "--points", "9", "--methods", f"{mine}:loss,naive"),
    }
    paths = [tmp_path / f"{name}.html" for name in calls]
    for path, words in zip(paths, calls.values(), strict=True):
        assert xent(*words, "-o", path).code in {0, 1}
    paths.append(tmp_path / "words.html")
    paths[-1].write_text(document(SCRIPT, STYLE, "x" * 300), encoding="utf-8")
    return paths


def noted(opened: Any) -> list[str]:
    """Return a list that takes what a page asks for, and what it says."""
    seen: list[str] = []

    def dismissed(dialog: Any) -> None:
        seen.append(dialog.message)
        dialog.dismiss()

    opened.on("console", lambda message: seen.append(message.text))
    opened.on("pageerror", lambda error: seen.append(str(error)))
    opened.on("request", lambda request: seen.append(request.url))
    opened.on("dialog", dismissed)
    return seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_a_report_runs_nothing_loads_nothing_and_fits(
    browser: Any, reports: list[Path], width: int, scheme: str
) -> None:
    for path in reports:
        opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        seen = noted(opened)
        opened.goto(path.as_uri())
        opened.evaluate(POINTED)

        assert seen == [path.as_uri()]
        scrolled, shown = opened.evaluate(WIDTHS)
        assert scrolled <= shown, path.name
        opened.close()


def test_the_keyboard_goes_to_the_report_first_and_then_to_its_links(
    browser: Any, reports: list[Path]
) -> None:
    opened = browser.new_page()
    opened.goto(reports[1].as_uri())

    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.className") == "skip"
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.activeElement.id") == "report"
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.tagName") == "A"


def test_a_link_of_the_matrix_shows_the_row(browser: Any, reports: list[Path]) -> None:
    opened = browser.new_page()
    opened.goto(reports[1].as_uri())

    opened.locator("#matrix td a", has_text="nan").first.click()
    assert opened.locator(":target th").inner_text()
    assert opened.locator(":target").is_visible()

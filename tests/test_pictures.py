"""README's picture says what a sweep finds today, for a reader and for a screen reader."""

import re
import sys
from html import unescape

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))
import pictures

from xentcli.show import charts
from xentcli.show.reports.sweep import picture
from xentcli.show.sweep import answer

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def test_the_picture_in_the_repository_says_what_is_found_today() -> None:
    kept = pictures.FILE.read_text(encoding="utf-8")
    drawn = pictures.curve()
    label = re.search(r'aria-label="([^"]+)"', kept)

    assert label is not None
    assert unescape(label[1]) == answer(drawn)
    for words in ("capped up to -82.893", "inf up to -103.97", "0 from 16.636", "nan from 103.97"):
        assert f">{words}<" in kept


def test_the_picture_is_readable_on_light_and_dark_pages() -> None:
    kept = pictures.FILE.read_text(encoding="utf-8")

    assert '<rect width="100%" height="100%" fill="#ffffff"/>' in kept
    assert "@media screen and (prefers-color-scheme:dark)" in kept
    assert 'fill="#ffffff"]{fill:#0d1117}' in kept
    assert "http" not in kept.replace("http://www.w3.org/", "")


def test_readme_shows_the_picture_with_its_words() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    (alt,) = re.findall(r"!\[([^]]+)\]\(docs/pictures/curve\.svg\)", readme)
    assert "82.89" in alt


@pytest.mark.slow
def test_the_picture_in_the_repository_is_the_one_that_the_command_writes() -> None:
    """Curves to a thousandth of a pixel: the text around them may change with the libraries that draw."""
    kept = pictures.FILE.read_text(encoding="utf-8")
    drawn = charts.svg(picture([pictures.curve()], beside=True), "", on_page=True)

    def numbers(svg: str) -> list[float]:
        return [float(n) for path in re.findall(r' d="(M[^"]+)"', svg) for n in NUMBER.findall(path)]

    assert numbers(drawn) == pytest.approx(numbers(kept), abs=1e-3)

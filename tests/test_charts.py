"""Pictures: for light and dark pages, of any numbers, the same bytes each time; texts are data."""

import math
import re
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from xentcli.diagnose.bins import bins_of
from xentcli.diagnose.distribution import distribution_of
from xentcli.show import charts

altair = pytest.importorskip("altair", reason="altair is not installed; xent[report] has it")
PAGES = {"light": "#ffffff", "dark": "#0d1117"}


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("role", [role for role in charts.PALETTE if role != "grid"])
def test_a_colour_is_told_from_its_page(role: str, page: str) -> None:
    least = 4.5 if role in {"text", "quiet"} else 3

    assert contrast(getattr(charts.PALETTE[role], page), PAGES[page]) >= least


def test_signs_of_lines_differ_in_more_than_colour() -> None:
    signs = [sign for role, sign in charts.PALETTE.items() if role not in {"text", "quiet", "grid"}]

    for names in ({sign.dash for sign in signs}, {sign.shape for sign in signs}):
        assert len(names) == len(signs)
    assert len({sign.light for sign in charts.PALETTE.values()}) == len(charts.PALETTE)


def drawn(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own


def test_every_colour_that_is_drawn_has_one_on_dark_pages() -> None:
    svg = charts.svg(charts.histogram([0.0, 1.0, 2.0], [1, 3], "loss"), "l")

    colours = {
        value
        for each in drawn(svg).iter()
        for name, value in each.attrib.items()
        if name in {"fill", "stroke"} and value not in {"none", "transparent"}
    }
    assert colours
    assert colours <= {sign.light for sign in charts.PALETTE.values()}
    assert "prefers-color-scheme:dark" in svg


def test_a_picture_is_the_same_each_time_and_its_texts_are_text() -> None:
    names = ("<script>alert(1)</script>\x1b", "{{datum.name}}", "\x00\ud800\ufffe\u202e")
    chart = charts.strips(10, [(name, [(0, 1, 1.0)]) for name in names])
    first, second = (charts.svg(chart, '"><script>') for _ in range(2))

    root = drawn(first)
    assert first == second
    assert root.attrib["aria-label"] == '"><script>'
    assert "{{datum.name}}" in "".join(root.itertext())
    assert not [each for each in root.iter() if each.tag.endswith("script")]


def bars(svg: str) -> list[float]:
    """Return the heights of the bars, in pixels."""
    paths = [each for each in drawn(svg).iter() if each.get("fill") == charts.PALETTE["main"].light]
    return [float(found[1]) for each in paths if (found := re.search(r"v(-?[\d.]+)h", each.attrib["d"]))]


def test_a_bar_is_as_high_as_its_rows_and_one_beside_many_is_seen() -> None:
    even = bars(charts.svg(charts.histogram([0.0, 1.0, 2.0], [10, 30], "loss"), "l"))
    uneven = bars(charts.svg(charts.histogram([0.0, 1.0, 2.0], [1, 1_000_000], "loss"), "l"))

    assert even[1] == pytest.approx(3 * even[0], rel=1e-9)  # pixels are written with all digits
    assert uneven[0] > 3


@pytest.mark.parametrize(
    "values",
    [
        *([0.0], [5e-324], [1e-300, 2e-300], [1.0, 1.0 + 2**-52], [-5.0, 5.0], [103.9], [1e31, 0.0]),
        *([-1e308, 1e308], [1.7e308], [-1e31], [-1e-3, 5e4], [104.0, 105.0], [1e8, 1e8 + 1]),
    ],
    ids=str,
)
def test_bins_hold_every_number_and_can_be_drawn(values: list[float]) -> None:
    bins = bins_of(distribution_of(np.array(values)))

    assert sum(bins.counts) == len(values)
    assert list(bins.edges) == sorted(set(bins.edges))
    assert 1 <= len(bins.counts) <= 50
    assert len(set(bins.names)) == len(bins.counts)
    names = None if bins.are_even else [" to ".join(each) for each in bins.names]
    assert len(drawn(charts.svg(charts.histogram(bins.edges, bins.counts, "loss", names), "l"))) > 0


def test_a_number_that_is_none_leaves_a_hole_in_a_picture() -> None:
    values: list[dict[str, Any]] = [{"x": 1.0, "y": float("nan")}, {"x": float("inf"), "y": 2.0}]
    chart = altair.Chart(altair.Data(values=values)).mark_point().encode(x="x:Q", y="y:Q")

    assert "NaN" not in charts.svg(chart, "l")


def test_a_png_has_the_scale_that_is_asked_for() -> None:
    chart = charts.histogram([0.0, 1.0], [1], "loss")
    one, two = (charts.png(chart, scale=scale) for scale in (1, 2))

    width = [int.from_bytes(each[16:20], "big") for each in (one, two)]
    assert one.startswith(b"\x89PNG")
    assert width == [charts.WIDTH, 2 * charts.WIDTH]


def test_a_picture_loads_nothing() -> None:
    chart = altair.Chart(altair.UrlData("https://example.com/data.json")).mark_point().encode(x="x:Q")

    with pytest.raises(ValueError, match="example"):
        charts.svg(chart, "l")


@pytest.mark.parametrize("is_log", [False, True])
def test_a_curve_is_broken_where_an_axis_has_no_place(is_log: bool) -> None:
    curves = [
        charts.Line("exact", [1.0, 2.0, 3.0, 4.0]),
        charts.Line("mine", [0.0, math.nan, math.inf, -1.0]),
    ]
    spec = charts.lines([1, 2, 3, 4], curves, (charts.Axis("x"), charts.Axis("y", is_log))).to_dict()
    rows = [row for layer in spec["layer"] for row in layer["data"]["values"] if row.get("line") == "mine"]

    assert [row["y"] for row in rows] == ([None] * 4 if is_log else [0, None, None, -1])


def test_equal_curves_are_one_line_with_all_names() -> None:
    curves = [charts.Line(name, [1.0, math.nan]) for name in ("exact", "one", "two")]
    spec = charts.lines([1, 2], curves, (charts.Axis("x"), charts.Axis("y"))).to_dict()
    names = {row["line"] for layer in spec["layer"] for row in layer["data"]["values"] if "line" in row}

    assert names == {"exact", "one, two"}

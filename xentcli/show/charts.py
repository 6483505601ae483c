"""Pictures: charts as SVG and PNG, for light and dark pages. Alone imports altair and vl_convert.

A chart's fields are named here, never by a file; texts of files are data. Nothing is loaded: charts hold
their data, and the converter may reach no address.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from html import escape
from typing import TYPE_CHECKING, Any, Final

from xentcli.errors import XentError, printable
from xentcli.show.junit import cleaned

if TYPE_CHECKING:
    import altair as alt

    Chart = alt.Chart | alt.LayerChart | alt.VConcatChart | alt.HConcatChart

WIDTH: Final = 460  # pixels of a chart with its axes: text of 12 is 9 high where it is drawn 340 wide
HEIGHT: Final = 200
_NAMES: Final = 60  # pixels that names of bins take below a histogram
_FEW: Final = 50  # times the smallest bar: from here the axis is logarithmic, so that one row is seen
_LONG: Final = 1e5  # a number with more digits before or after the point is written as a power of ten


@dataclass(frozen=True, slots=True)
class Sign:
    """How a role is drawn: on light and on dark pages, and, so that colour is not all, dashed and marked.

    Colours have a contrast of 3:1 or more with the page, those of text 4.5:1.
    """

    light: str
    dark: str
    dash: tuple[int, ...] = ()
    shape: str = "circle"


# The colours of Okabe and Ito, darker or lighter where the page asks for it: https://jfly.uni-koeln.de/color/
PALETTE: Final = {
    "text": Sign("#1f2328", "#e6edf3"),
    "quiet": Sign("#57606a", "#9198a1"),
    "grid": Sign("#d8dee4", "#30363d"),
    "main": Sign("#0072b2", "#56b4e9"),
    "wrong": Sign("#c44f00", "#f0933b", (6, 3), "triangle-up"),
    "right": Sign("#007a59", "#2bbd93", (2, 2), "square"),
    "other": Sign("#a34f80", "#d894bb", (8, 3, 2, 3), "diamond"),
    "fifth": Sign("#7a6a00", "#e5d432", (1, 3), "cross"),
    "sixth": Sign("#333a41", "#c9d1d9", (10, 4), "triangle-down"),
}


_PAGE: Final = Sign("#ffffff", "#0d1117")


def svg(chart: "Chart", label: str, *, on_page: bool = False) -> str:
    """Return a chart as an SVG document that takes the width it has; ``label`` says what it shows.

    With ``on_page`` it brings the page that its colours are for, to be readable on any other. Raises
    XentError where xent[report] is not installed.
    """
    drawn = _converter().vegalite_to_svg(_spec(chart), **_OFFLINE)
    size = re.search(r'viewBox="0 0 (\S+) (\S+)"', drawn)
    assert size is not None  # noqa: S101 - the converter writes it
    inner = drawn[drawn.index(">") + 1 :]
    name = f"chart-{blake2b(f'{label}{inner}'.encode(), digest_size=4).hexdigest()}"
    inner = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', inner)
    inner = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", inner)
    inner = re.sub(r' (?:role|aria-\w+)="[^"]*"', "", inner)  # the picture is one image, of that label
    said = escape(cleaned(printable(label)))
    page = f'<rect width="100%" height="100%" fill="{_PAGE.light}"/>' if on_page else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{said}" class="chart" '
        f'width="100%" viewBox="0 0 {size[1]} {size[2]}"><style>{_style()}</style>{page}{inner}\n'
    )


def png(chart: "Chart", scale: float = 2) -> bytes:
    """Return a chart as a PNG on a white page; raises XentError as ``svg`` does."""
    spec = _spec(chart)
    spec["config"]["background"] = "white"
    return bytes(_converter().vegalite_to_png(spec, scale=scale, **_OFFLINE))


def altair() -> Any:  # noqa: ANN401 - a module
    """Return the library; raises XentError where xent[report] is not installed."""
    try:
        import altair as alt
        import vl_convert  # noqa: F401 - a chart without it is never seen
    except ImportError as error:
        raise XentError("pictures need altair and vl-convert: pip install 'xent[report]'") from error
    return alt


def histogram(
    edges: Sequence[float], counts: Sequence[int], axis: str, names: Sequence[str] | None = None
) -> "Chart":
    """Return the chart of how many rows, ``counts`` (k,), have a number between two of ``edges`` (k + 1,).

    ``names`` (k,) of bins put them side by side, where their widths differ too much to be drawn.
    """
    alt = altair()
    rows = [
        {"from": low, "to": high, "rows": rows, "name": name}
        for low, high, rows, name in zip(edges, edges[1:], counts, names or [""] * len(counts), strict=False)
    ]
    x = (
        {"x": alt.X("from:Q", title=axis, scale=alt.Scale(nice=False)), "x2": "to:Q"}
        if names is None
        else {"x": alt.X("name:N", title=axis, sort=None, axis=alt.Axis(labelAngle=-50))}
    )
    bars = alt.Chart(alt.Data(values=rows)).mark_bar(color=PALETTE["main"].light, stroke=None)
    height = HEIGHT if names is None else HEIGHT + _NAMES
    return bars.encode(y=_rows_axis(counts), y2=alt.Y2Datum(0), **x).properties(width=WIDTH, height=height)


def _rows_axis(counts: Sequence[int]) -> Any:  # noqa: ANN401 - of a library without types
    """Return the axis of numbers of rows; a logarithmic one begins at 0 all the same."""
    alt, largest = altair(), max(counts, default=0)
    smallest = min((rows for rows in counts if rows), default=1)
    if largest < _FEW * smallest:
        ticks = alt.Axis(format="d", tickMinStep=1, tickCount=4)
        return alt.Y("rows:Q", title="rows", axis=ticks)
    powers = [0, *(10**power for power in range(math.ceil(math.log10(largest)) + 1))]
    ticks = alt.Axis(format="d", values=powers)
    scale = alt.Scale(type="symlog", domain=[0, largest], nice=False)
    return alt.Y("rows:Q", title="rows, logarithmic", scale=scale, axis=ticks)


def strips(total: int, strips: Sequence[tuple[str, Sequence[tuple[int, int, float]]]]) -> "Chart":
    """Return the chart of where findings lie in ``total`` rows: a strip for each.

    A strip is a name and the parts in which it lies: the first row, the one after the last, and the share of
    the part's rows that have it, above 0.
    """
    alt = altair()
    names = [name for name, _ in strips]
    parts = [
        # A share of any size has to be seen: a tenth of the darkness is left for none.
        {"name": name, "from": start, "to": stop, "share": 0.35 + 0.65 * share}
        for name, some in strips
        for start, stop, share in some
    ]
    tracks = [{"name": name, "from": 0, "to": total} for name in names]
    y = alt.Y("name:N", title=None, sort=None, axis=alt.Axis(domain=False, ticks=False, labelLimit=220))
    x = alt.X(
        "from:Q",
        title="row",
        scale=alt.Scale(domain=[0, total], nice=False),
        axis=alt.Axis(format="d", tickCount=5),
    )
    track = alt.Chart(alt.Data(values=tracks)).mark_bar(color=PALETTE["grid"].light, height=14)
    marks = alt.Chart(alt.Data(values=parts)).mark_bar(color=PALETTE["wrong"].light, height=14)
    shown = marks.encode(x=x, x2="to:Q", y=y, opacity=alt.Opacity("share:Q", scale=None, legend=None))
    return (track.encode(x=x, x2="to:Q", y=y) + shown).properties(width=WIDTH, height=24 * len(names))


@dataclass(frozen=True, slots=True)
class Line:
    """A curve by its name: ``ys`` has a nan where it is broken off."""

    name: str
    ys: Sequence[float]


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows, and whether it is logarithmic."""

    title: str
    is_log: bool = False


def lines(
    xs: Sequence[float],
    curves: Sequence[Line],
    axes: tuple[Axis, Axis],
    marks: Sequence[tuple[float, str]] = (),
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> "Chart":
    """Return the chart of curves over ``xs`` (n,), the first of which is the truth, wide and pale.

    ``marks`` are values of x with a word each, which stand at the foot of a curve that falls. A number that
    a logarithmic axis has no place for breaks its curve. Equal curves are one line, with the names of all.
    """
    alt = altair()
    equal: dict[tuple[str, ...], list[str]] = {}
    for curve in curves[1:]:
        equal.setdefault(tuple(map(repr, curve.ys)), []).append(curve.name)
    first = {curve.name: curve.ys for curve in curves}
    named = [(", ".join(names), first[names[0]]) for names in equal.values()]
    x = alt.X("x:Q", title=axes[0].title, scale=_scale(axes[0], xs), axis=_ticks(axes[0], xs))
    shown = [y for curve in curves for y in curve.ys if _has_place(axes[1], y)]
    y = alt.Y("y:Q", title=axes[1].title, scale=_scale(axes[1], shown), axis=_ticks(axes[1], shown))
    names = [name for name, _ in named]
    signs = [sign for role, sign in PALETTE.items() if role not in _OF_PAGE]
    chosen = [signs[at % len(signs)] for at in range(len(names))]
    legend = alt.Legend(title=None, orient="bottom", columns=2, symbolStrokeWidth=2.5, labelLimit=400)
    color = alt.Color("line:N", scale=alt.Scale(domain=names, range=[s.light for s in chosen]), legend=legend)
    dashes = alt.Scale(domain=names, range=[list(s.dash) or [1, 0] for s in chosen])
    truth = alt.Chart(alt.Data(values=_rows(xs, curves[0].ys, axes[1], curves[0].name)))
    others = [row for name, ys in named for row in _rows(xs, ys, axes[1], name)]
    layers = [truth.mark_line(color=PALETTE["grid"].light, strokeWidth=7).encode(x=x, y=y)]
    if names:  # a legend of nothing has no size, and the converter writes none
        dash = alt.StrokeDash("line:N", scale=dashes)
        drawn = alt.Chart(alt.Data(values=others)).mark_line(strokeWidth=2)
        layers.append(drawn.encode(x=x, y=y, color=color, strokeDash=dash))
    if marks:
        data = alt.Data(values=[{"x": at, "word": word} for at, word in marks])
        layers.append(alt.Chart(data).mark_rule(color=PALETTE["quiet"].light, strokeDash=[2, 3]).encode(x=x))
        falls = not axes[1].is_log and len(shown) > 0 and curves[0].ys[0] > curves[0].ys[-1]
        words = alt.Chart(data).mark_text(
            color=PALETTE["text"].light,
            fontSize=11,
            align="left" if falls else "right",
            baseline="bottom",
            angle=270,
            dx=4 if falls else -4,
            dy=-3,
        )
        layers.append(words.encode(x=x, y=alt.value("height" if falls else 0), text="word:N"))
    has_truth = any(map(math.isfinite, curves[0].ys))
    title = alt.Title("the pale band is the true loss" if has_truth else "", **_SMALL_TITLE)
    return alt.layer(*layers).properties(width=size[0], height=size[1], title=title)


def together(charts: "Sequence[Chart]", *, beside: bool = False) -> "Chart":
    """Return charts one below the other, or beside each other, with colours of their own."""
    put = altair().hconcat if beside else altair().vconcat
    return put(*charts).resolve_scale(color="independent", strokeDash="independent")


_SMALL_TITLE: Final[dict[str, Any]] = {"fontSize": 11, "fontWeight": "normal", "anchor": "start"}
_OF_PAGE: Final = frozenset({"text", "quiet", "grid"})  # roles that no curve has


def _rows(xs: Sequence[float], ys: Sequence[float], axis: Axis, name: str) -> list[dict[str, Any]]:
    return [
        {"x": x, "y": y if _has_place(axis, y) else None, "line": name} for x, y in zip(xs, ys, strict=True)
    ]


def _has_place(axis: Axis, value: float) -> bool:
    return math.isfinite(value) and (value > 0 or not axis.is_log)


def _scale(axis: Axis, values: Sequence[float]) -> Any:  # noqa: ANN401 - of a library without types
    ends = [min(values, default=1.0), max(values, default=1.0)]
    return altair().Scale(type="log" if axis.is_log else "linear", domain=ends, nice=axis.is_log, zero=False)


def _ticks(axis: Axis, values: Sequence[float]) -> Any:  # noqa: ANN401 - of a library without types
    """Return the ticks: numbers in full where they are short, else powers of ten."""
    is_long = any(abs(value) >= _LONG or (axis.is_log and value < 1 / _LONG) for value in values)
    return altair().Axis(tickCount=5, **({"format": ".2~e"} if is_long else {}))


_OFFLINE: Final[dict[str, Any]] = {"allowed_base_urls": []}


def _converter() -> Any:  # noqa: ANN401 - a module
    altair()
    import vl_convert

    return vl_convert


def _spec(chart: "Chart") -> dict[str, Any]:
    """Return a chart as JSON with the looks of all charts; its label says to a screen reader what it is."""
    text, quiet, grid = (PALETTE[role].light for role in ("text", "quiet", "grid"))
    axis = {
        "labelColor": quiet,
        "titleColor": text,
        "tickColor": quiet,
        "domainColor": quiet,
        "gridColor": grid,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelPadding": 4,
    }
    spec: dict[str, Any] = _inert(chart.to_dict())
    legend = {"labelColor": text, "titleColor": text, "labelFontSize": 12, "titleFontSize": 12}
    spec["config"] = {
        "aria": False,
        "background": None,
        "autosize": {"type": "fit", "contains": "padding"},
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False},
        "legend": legend,
        "header": {"labelColor": text, "titleColor": text},
        "title": {"color": text, "fontSize": 13},
    }
    return spec


def _inert(value: Any) -> Any:  # noqa: ANN401 - of JSON
    """Return a value as pictures can have it; the converter ends the process over others.

    A number that is nan or infinite is None, and a control character is escaped.
    """
    if isinstance(value, dict):
        return {key: _inert(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_inert(each) for each in value]
    if isinstance(value, str):
        return cleaned(printable(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _style() -> str:
    """Return the colours of dark pages: each of the palette by the one that it takes the place of."""
    rules = [
        f'.chart [{part}="{sign.light}"]{{{part}:{sign.dark}}}'
        for sign in (_PAGE, *PALETTE.values())
        for part in ("fill", "stroke")
    ]
    return f"@media screen and (prefers-color-scheme:dark){{{''.join(rules)}}}"

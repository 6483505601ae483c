"""Curves → the document of ``xent sweep``, and its pictures: losses, their errors and gradients."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.digits import format_ulps
from xentcli.errors import printable
from xentcli.formats import FORMATS, nearest
from xentcli.show import charts
from xentcli.show.charts import Axis, Line
from xentcli.show.document import Content, Document, Picture, Prose, Section, render
from xentcli.show.plot import value_text
from xentcli.show.sheet import Cell, Sheet, Tone, number_cell
from xentcli.show.sweep import about, answer, breakdown_sheet, main_breakdowns, words_of_theory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xentcli.formats import FloatArray
    from xentcli.show.charts import Chart
    from xentcli.sweep import Curve

_DECADES: Final = 1e4  # between the largest and the smallest loss: from there each has a picture
_SMALL: Final = 1.0  # a loss below it is a small one, and is drawn on a logarithmic axis
_NO_ERROR: Final = 1e-3  # ulps: what is drawn for no error, which a logarithmic axis has no place for
_ALONE: Final = (charts.WIDTH, 290)  # pixels of a chart, with its legend
_SIDE: Final = (330, 230)  # pixels of a chart beside another: two fill the width of a README


def report(curves: "Sequence[Curve]", command: str) -> str:
    """Return the document: where each loss breaks down, then a section per format.

    Raises XentError where xent[report] is not installed.
    """
    sections = [Section(curve.dtype, curve.dtype, tuple(_contents(curve))) for curve in curves]
    first, *others = map(answer, curves)
    subject = f"xent sweep, {curves[0].quantity.name}"
    contents = tuple(Prose((sentence,)) for sentence in others)
    return render(Document(subject, first, contents, tuple(sections), command))


def _contents(curve: "Curve") -> "Iterator[Content]":
    yield Prose((Cell(about(curve), Tone.CONTEXT),))
    if curve.breakdowns.rows:
        yield breakdown_sheet(curve)
    for words in words_of_theory(curve):
        yield Prose((Cell(words, Tone.CONTEXT),))
    for panel in panels(curve):
        label = f"{panel.title} by {curve.quantity.name}. {answer(curve)}"
        yield Picture(charts.svg(_chart(curve, panel), label), _numbers(curve, panel))


def picture(curves: "Sequence[Curve]", *, beside: bool = False) -> "Chart":
    """Return one chart of all: losses and their errors, of each format one below the other.

    ``beside`` puts the losses of the first format beside each other, and leaves out the rest.
    """
    chosen = [(curve, panel) for curve in curves for panel in panels(curve)]
    if beside:
        losses = [_chart(curve, panel, _SIDE) for curve, panel in chosen if panel.kind == "losses"]
        return charts.together(losses[:2], beside=True)
    return charts.together([_chart(curve, panel) for curve, panel in chosen if panel.kind != "slopes"])


@dataclass(frozen=True, slots=True)
class _Panel:
    """A chart: its title, the first and last point that it has, curves as they are drawn, and as texts."""

    kind: str
    title: str
    first: int
    last: int
    is_log: bool
    lines: tuple[Line, ...]
    dtypes: tuple[str, ...]


def panels(curve: "Curve") -> "Iterator[_Panel]":
    """Yield the panels: the losses, where both are there the large and the small apart; errors; slopes."""
    points, dtype = curve.points, curve.example.numerics.loss_dtype
    exact = [nearest(loss, FORMATS[dtype]) for loss in points.exact]
    names = [printable(track.method) for track in points.tracks]
    end = len(exact) - 1
    losses = [Line(name, t.losses.tolist()) for name, t in zip(names, points.tracks, strict=True)]
    dtypes = (dtype, *(track.dtype for track in points.tracks))
    for words, first, last, is_log in _parts(np.array(exact)):
        yield _Panel(
            "losses", f"{words}, {curve.dtype}", first, last, is_log, (Line("exact", exact), *losses), dtypes
        )
    errors = [
        Line(name, [math.nan if error is None else float(error) for error in track.ulps])
        for name, track in zip(names, points.tracks, strict=True)
    ]
    nothing = Line("", [math.nan] * len(exact))
    title = f"error in ulps, {curve.dtype}"
    yield _Panel("errors", title, 0, end, is_log=True, lines=(nothing, *errors), dtypes=())
    slopes = [
        Line(name, track.slopes.tolist())
        for name, track in zip(names, points.tracks, strict=True)
        if not np.isnan(track.slopes).all()
    ]
    true = Line("exact", points.exact_slopes.tolist())
    title = f"d loss / d logit of the {'label' if curve.quantity.name != 'logit' else 'class'}, {curve.dtype}"
    yield _Panel(
        "slopes", title, 0, end, is_log=False, lines=(true, *slopes), dtypes=(dtype,) * (1 + len(slopes))
    )


def _parts(exact: "FloatArray") -> "Iterator[tuple[str, int, int, bool]]":
    """Yield which points a chart of losses has: all, or the large and the small ones, each in one piece."""
    finite = exact[np.isfinite(exact) & (exact > 0)]
    is_wide = len(finite) > 0 and bool(finite.max() > _DECADES * finite.min())
    small = exact < _SMALL
    (changes,) = np.diff(small.astype(int)).nonzero()
    end = len(exact) - 1
    if not is_wide or len(changes) != 1:
        yield "loss", 0, end, is_wide
        return
    at = int(changes[0])
    for first, last in ((0, at), (at + 1, end)):
        yield f"{'small' if small[first] else 'large'} losses", first, last, bool(small[first])


def _chart(
    curve: "Curve",
    panel: _Panel,
    size: tuple[int, int] = _ALONE,
) -> "Chart":
    kept = slice(panel.first, panel.last + 1)
    values = curve.points.values[kept]
    least = _NO_ERROR if panel.kind == "errors" else -math.inf
    lines = [Line(line.name, [max(y, least) if y == y else y for y in line.ys[kept]]) for line in panel.lines]  # noqa: PLR0124 - nan stays
    marks = {
        each.first: f"{each.state} {'from' if each.is_upwards else 'up to'} {each.first:.5g}"
        for track in curve.points.tracks
        for each in main_breakdowns(curve, track.method)
        if values[0] <= each.first <= values[-1] and each.last is not None
    }
    axes = Axis(curve.quantity.name, curve.range.is_log), Axis(panel.title, panel.is_log)
    return charts.lines(values, lines, axes, sorted(marks.items()), size)


def _numbers(curve: "Curve", panel: _Panel) -> Sheet:
    """Return the numbers of a panel: a row per value."""
    lines = [line for line in panel.lines if line.name]
    dtypes = panel.dtypes or [None] * len(lines)
    rows = tuple(
        (
            Cell(value_text(curve, curve.points.values[at]), is_number=True),
            *(_number(line.ys[at], dtype) for line, dtype in zip(lines, dtypes, strict=True)),
        )
        for at in range(panel.first, panel.last + 1)
    )
    return Sheet(panel.title, (curve.quantity.name, *(line.name for line in lines)), rows)


def _number(value: float, dtype: str | None) -> Cell:
    """Write a loss or a slope of a dtype, or an error."""
    if dtype is None:
        return Cell("-" if math.isnan(value) else format_ulps(Decimal(value)), is_number=True)
    return number_cell(value, dtype)

"""Curves → the document of ``xent sweep``, and its pictures: losses, their errors and gradients."""

from typing import TYPE_CHECKING, Final

import numpy as np

from xentcli.errors import printable
from xentcli.formats import FORMATS, nearest
from xentcli.show import charts
from xentcli.show.charts import Axis, Line
from xentcli.show.document import Content, Document, Picture, Prose, Section, render
from xentcli.show.plot import value_text
from xentcli.show.sheet import Cell, Tone
from xentcli.show.sweep import about, answer, breakdown_sheet, points_sheet, told, words_of_theory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xentcli.show.charts import Chart
    from xentcli.sweep import Curve

_DECADES: Final = 1e4  # between the largest and the smallest loss: from there each has a picture
_SMALL: Final = 1.0  # a loss below it is a small one, and is drawn on a logarithmic axis
_NO_ERROR: Final = 1e-3  # ulps: what is drawn for no error, which a logarithmic axis has no place for
_SIDE: Final = (330, 230)  # pixels of a chart beside another: two fill the width of a README


def report(curves: "Sequence[Curve]", command: str) -> str:
    """Return the document: where each loss breaks down, then a section per format.

    Raises XentError where xent[report] is not installed.
    """
    sections = [Section(curve.dtype, curve.dtype, tuple(_contents(curve))) for curve in curves]
    name = curves[0].quantity.name
    sentence = " ".join(map(answer, curves))
    return render(Document(f"xent sweep, {name}", sentence, (), tuple(sections), command))


def _contents(curve: "Curve") -> "Iterator[Content]":
    yield Prose((Cell(about(curve), Tone.CONTEXT),))
    numbers = points_sheet([curve])
    for title, chart in panels(curve):
        label = f"{title} by {curve.quantity.name}, {curve.dtype}. {answer(curve)}"
        yield Picture(charts.svg(chart, label), numbers)
    if curve.breakdowns.found:
        yield breakdown_sheet(curve)
    for words in words_of_theory(curve):
        yield Prose((Cell(words, Tone.CONTEXT),))


def picture(curves: "Sequence[Curve]", *, beside: bool = False) -> "Chart":
    """Return one chart of all: losses and their errors, of each format one below the other.

    ``beside`` puts the losses of the first format beside each other, and leaves out the rest.
    """
    if beside:
        losses = [chart for title, chart in panels(curves[0], _SIDE) if title.startswith("loss")]
        return charts.together(losses, beside=True)
    return charts.together(
        [chart for curve in curves for title, chart in panels(curve) if title != _GRADIENT]
    )


_GRADIENT: Final = "gradient"


def panels(curve: "Curve", size: tuple[int, int] | None = None) -> "Iterator[tuple[str, Chart]]":
    """Yield charts with their titles: the losses, where both are there the large and the small apart."""
    points, form = curve.points, FORMATS[curve.example.numerics.loss_dtype]
    exact = np.array([nearest(loss, form) for loss in points.exact])
    losses = [Line("exact", exact.tolist())]
    losses += [Line(printable(track.method), track.losses.tolist()) for track in points.tracks]
    for title, keep, is_log in _parts(exact):
        yield title, _chart(curve, losses, Axis(f"{title}, {curve.dtype}", is_log), keep, size)
    everywhere = np.ones(len(exact), bool)
    errors = [Line("none", [np.nan] * len(exact))]
    for track in points.tracks:
        numbers = [np.nan if error is None else max(float(error), _NO_ERROR) for error in track.ulps]
        errors.append(Line(printable(track.method), numbers))
    yield "error", _chart(curve, errors, Axis(f"error in ulps, {curve.dtype}", is_log=True), everywhere, size)
    slopes = [Line("exact", points.exact_slopes.tolist())]
    slopes += [
        Line(printable(track.method), track.slopes.tolist())
        for track in points.tracks
        if not np.isnan(track.slopes).all()
    ]
    title = f"d loss / d logit, {curve.dtype}"
    yield _GRADIENT, _chart(curve, slopes, Axis(title), everywhere, size)


def _parts(
    exact: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> "Iterator[tuple[str, np.ndarray[tuple[int], np.dtype[np.bool_]], bool]]":
    """Yield which points a chart of losses has: all, or the large and the small ones, each in one piece."""
    finite = exact[np.isfinite(exact) & (exact > 0)]
    is_wide = len(finite) > 0 and finite.max() > _DECADES * finite.min()
    small = exact < _SMALL
    is_split = is_wide and small.any() and (np.diff(small.astype(int)) != 0).sum() == 1
    if not is_split:
        yield "loss", np.ones(len(exact), bool), is_wide
        return
    order = [False, True] if not small[0] else [True, False]
    for is_small in order:
        yield f"loss, {'small' if is_small else 'large'}", small == is_small, is_small


def _chart(
    curve: "Curve",
    lines: "Sequence[Line]",
    axis: Axis,
    keep: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    size: tuple[int, int] | None,
) -> "Chart":
    values = np.array(curve.points.values)[keep]
    kept = [Line(line.name, np.array(line.ys)[keep].tolist()) for line in lines]
    marks = {
        each.first: f"{each.state} {'from' if each.is_upwards else 'up to'} {value_text(curve, each.first)}"
        for track in curve.points.tracks
        for each in told(curve, track.method)
        if values.min() <= each.first <= values.max() and each.last is not None
    }
    axes = Axis(curve.quantity.name, curve.range.is_log), axis
    more = {} if size is None else {"size": size}
    return charts.lines(values.tolist(), kept, axes, sorted(marks.items()), **more)

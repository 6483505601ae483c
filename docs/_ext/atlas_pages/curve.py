"""The picture of a case: the loss of each method while the gap of its label varies, the case marked."""

from atlas_pages.text import block, escaped
from xentcli.errors import XentError
from xentcli.formats import FORMATS
from xentcli.judge import Result
from xentcli.methods.table import select
from xentcli.model import Case
from xentcli.run import methods_of
from xentcli.show import charts
from xentcli.show.charts import Axis, Line
from xentcli.show.reports.sweep import panels
from xentcli.sweep import QUANTITIES, Breakdowns, Curve, Range, case_example
from xentcli.sweep.points import Evaluator

_GAP = QUANTITIES["gap"]
_POINTS = 121  # a chart has 400 pixels, and a curve of straight pieces needs no more
_FEW_CLASSES = 100  # up to here the command, which looks for breakdowns too, takes seconds
_BEYOND = 1.25  # of a gap that is outside the usual range, so that the case stands inside the picture


def picture(result: Result) -> str:
    """Return the picture of a case with its command in Markdown; '' where no example has a gap to vary.

    Of several examples it is that with the largest loss, which decides the mean.
    """
    case, form = result.case, FORMATS[result.case.numerics.dtype]
    losses = dict(zip(result.exact.rows, result.exact.losses, strict=True))
    for row in sorted(losses, key=lambda row: losses[row] if losses[row].is_finite() else -1, reverse=True):
        try:
            example = case_example(case, row, None, _GAP)
        except XentError:
            continue
        gap = example.gap
        if abs(gap) <= form.largest:
            low, high = _GAP.default_range(form)
            low, high = (
                min(low, max(_BEYOND * gap, -form.largest)),
                max(high, min(_BEYOND * gap, form.largest)),
            )
            span = Range(low, high, _POINTS, is_log=False)
            evaluator = Evaluator(example, _GAP, methods_of(case, select("default,log1p")))
            points = evaluator.points(sorted({*span.values(_GAP, form), _GAP.rounded(gap, form)}))
            # A picture needs no breakdowns, which take minutes where there are many classes.
            curve = Curve(example, _GAP, span, points, Breakdowns((), (), are_exhaustive=False), ())
            return _drawn(case, row, gap, curve)
    return ""


def _drawn(case: Case, row: int, gap: float, curve: Curve) -> str:
    """Draw the panel of losses in which the gap lies."""
    values = curve.points.values
    losses = [each for each in panels(curve) if each.kind == "losses"]
    place = values.index(_GAP.rounded(gap, FORMATS[case.dtype]))
    panel = next(p for p in losses if p.first <= place <= p.last)
    kept = slice(panel.first, panel.last + 1)
    lines = [Line(line.name, line.ys[kept]) for line in panel.lines]
    axes = Axis("gap: the label's logit less the largest other"), Axis(panel.title, panel.is_log)
    chart = charts.lines(values[kept], lines, axes, [(gap, "this case")])
    said = f"The gap of example {row} is {gap:.5g}."
    label = f"The loss of each method while the gap of the label varies, {case.name} marked. {said}"
    command = f"$ xent sweep {case.name}{f' --example {row}' if row else ''}"
    shown = block(command, "console") if len(case.batch.logits[0]) <= _FEW_CLASSES else ""
    return f"{escaped(said)}\n\n```{{raw}} html\n{charts.svg(chart, label)}\n```\n\n{shown}"

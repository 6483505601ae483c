"""What ``xent sweep`` shows: where each loss breaks down, in a sentence per format, then the curve."""

from typing import TYPE_CHECKING, Any, Final

from xentcli import __version__
from xentcli.digits import format_ulps, json_number, json_ulps
from xentcli.errors import printable
from xentcli.formats import FORMATS, nearest
from xentcli.show import render
from xentcli.show.json import dump
from xentcli.show.plot import TONES, draw, given_text, value_text
from xentcli.show.sentences import joined
from xentcli.show.sheet import Cell, Lines, Part, Sheet, Tone, labelled, number_cell, paragraph
from xentcli.sweep import STATES
from xentcli.sweep.example import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xentcli.show.screen import Screen
    from xentcli.sweep import Breakdown, Curve
    from xentcli.sweep.points import Track

# What a sentence tells of a method: the first of these that it has, all of the first kind.
_TOLD: Final = (
    ("nan", "inf", "negative", "0", "capped"),
    ("off",),
    ("gradient nan", "gradient 0", "gradient wrong"),
    ("undefined", "none"),
)
_IS: Final = {
    "off": "off by 1 %",
    "undefined": "without a true loss",
    "none": "without a loss",
    "gradient nan": "right, with a gradient of nan,",
    "gradient 0": "right, with a gradient of 0,",
    "gradient wrong": "right, with a wrong gradient,",
}


def render_sweep(curves: "Sequence[Curve]", form: str, screen: "Screen", *, verbose: bool = False) -> str:
    """Render curves, one per format; ``verbose`` adds every point."""
    if form == "json":
        return as_json(curves)
    if form == "csv":
        return render([points_sheet(curves)], form, screen)
    width = screen.width if form == "table" else 80
    return render(parts(curves, width, form, verbose=verbose), form, screen)


def parts(curves: "Sequence[Curve]", width: int, form: str, *, verbose: bool) -> list[Part]:
    """Return the sentences, then per curve what was varied, the plot and the table of breakdowns."""
    lines = [line for curve in curves for line in paragraph(answer(curve), width, Tone.HEADING)]
    shown: list[Part] = [Lines(tuple(lines))]
    for curve in curves:
        shown.append(Lines(tuple(_about(curve, width))))
        if form in {"table", "plain"}:
            shown.append(draw(curve, width))
        if curve.breakdowns.rows:
            shown.append(breakdown_sheet(curve))
        notes = _notes(curve, width)
        shown += [Lines(tuple(notes))] if notes else []
    return [*shown, *([points_sheet(curves)] if verbose else ())]


def answer(curve: "Curve") -> str:
    """Say where each method breaks down, and which are right throughout."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for track in curve.points.tracks:
        for breakdown in main_breakdowns(curve, track.method):
            groups.setdefault(_where(curve, breakdown), []).append(track.method)
    clauses: dict[str, list[str]] = {}
    for (what, way, place), names in sorted(groups.items(), key=lambda item: -len(item[1])):
        verb = "is" if len(names) == 1 else "are"
        phrase = f"{curve.quantity.phrase} " if place and not clauses else ""
        states = clauses.setdefault(f"{joined(list(map(printable, names)))} {verb}", [])
        states.append(f"{what} {way} {phrase}{place}".rstrip())
    right = curve.breakdowns.right
    are_right = [f"{joined(right)} {'is' if len(right) == 1 else 'are'} right throughout"] if right else []
    said = [f"{names} {joined(states)}" for names, states in clauses.items()] + are_right
    failed = [f"{printable(t.method)} gives no loss: {printable(str(t.failure))}" for t in _failed(curve)]
    return f"{curve.dtype}: {'; '.join([*said, *failed])}."


def _failed(curve: "Curve") -> "list[Track]":
    """Return the tracks that have no loss at any value."""
    none = STATES.index("none")
    return [track for track in curve.points.tracks if (track.states == none).all()]


def main_breakdowns(curve: "Curve", method: str) -> "list[Breakdown]":
    """Return the breakdowns of a method that a sentence tells: the worst, and what begins long before."""
    own = [b for b in curve.breakdowns.rows if b.method == method]
    kind = next((kind for kind in _TOLD if any(b.state in kind for b in own)), ())
    told = [b for b in own if b.state in kind]
    early = [
        b
        for b in own
        if b.state == "off" not in kind
        and all(2 * abs(b.first) < abs(other.first) for other in told if other.is_upwards == b.is_upwards)
    ]
    return sorted([*early, *told], key=lambda b: (not b.is_upwards, abs(b.first)))


def _where(curve: "Curve", breakdown: "Breakdown") -> tuple[str, str, str]:
    """Return what a loss is, and from or up to which value; the value is empty where it is so everywhere."""
    what = _IS.get(breakdown.state, breakdown.state)
    others = [b for b in curve.breakdowns.rows if b.method == breakdown.method]
    if breakdown.last is None and len(others) == 1:
        return what, "everywhere", ""
    return what, _way(breakdown.is_upwards), value_text(curve, breakdown.first)


def _way(is_upwards: bool) -> str:
    return "from" if is_upwards else "up to"


def _about(curve: "Curve", width: int) -> list[tuple[str, ...]]:
    quantity = curve.quantity
    head = [("  ", Cell(quantity.name, Tone.COMMAND), f"  {quantity.what}")]
    return head + paragraph(about(curve), width, Tone.CONTEXT, indent=2)


def about(curve: "Curve") -> str:
    """Say what was varied, and of what."""
    example, quantity = curve.example, curve.quantity
    facts = [curve.dtype, example.numerics.arithmetic]
    if example.case is not None:
        facts = [f"example {example.row} of {printable(example.case.name)}", *facts]
        if example.case.batch.probabilities is not None:
            facts.append("its probabilities set aside: they do not follow the logits")
    settings = example.settings or {}
    facts += [
        f"{name} {given_text(value)}"
        for name, value in settings.items()
        if name != quantity.name and (name in {"gap", "classes"} or value != DEFAULTS[name])
    ]
    low, high = given_text(curve.range.low), given_text(curve.range.high)
    span = f"{len(curve.points.values)} values from {low} to {high}"
    return " · ".join([*facts, span + (", in equal ratios" if curve.range.is_log else "")])


def breakdown_sheet(curve: "Curve") -> Sheet:
    """Return a row per state and value: its neighbour, what theory says, and the methods."""
    rows: dict[tuple[str, bool, float], list[tuple[Breakdown, Any]]] = {}
    for breakdown, prediction in curve.with_theory():
        key = breakdown.state, breakdown.is_upwards, breakdown.first
        rows.setdefault(key, []).append((breakdown, prediction))
    cells = []
    for (state, is_upwards, first), members in sorted(rows.items(), key=lambda row: row[0][2]):
        breakdown = members[0][0]
        prediction = next((each for _, each in members if each is not None), None)
        last = "" if breakdown.last is None else value_text(curve, breakdown.last)
        theory = "" if prediction is None else value_text(curve, prediction.first)
        apart = "" if prediction is None else str(prediction.apart)
        cells.append(
            (
                Cell(state, TONES.get(state, Tone.CONTEXT)),
                Cell(f"{_way(is_upwards)} {value_text(curve, first)}", is_number=True),
                Cell(last, Tone.CONTEXT, is_number=True),
                Cell(theory, Tone.CONTEXT, is_number=True),
                Cell(apart, Tone.RIGHT if apart == "0" else Tone.PLAIN, is_number=True),
                " ".join(printable(each.method) for each, _ in members),
            )
        )
    columns = ("is", curve.quantity.name, "neighbour", "theory", "apart", "methods")
    sheet = Sheet("", columns, tuple(cells))
    return (
        sheet.narrowed(0, "theory", "apart")
        if not any(map(any, ((p,) for p in curve.predictions)))
        else sheet
    )


def _notes(curve: "Curve", width: int) -> list[tuple[str, ...]]:
    """Return the formulas of theory, whether all was tried, and which methods have no losses."""
    lines: list[tuple[str, ...]] = []
    for at, words in enumerate(words_of_theory(curve)):
        lines += labelled("" if at else "theory", words, width)
    if curve.breakdowns.are_exhaustive:
        every = f"every {curve.dtype} of the range was tried"
        lines += paragraph(every, width, Tone.CONTEXT, indent=2)
    failures = {t.failure: t.method for t in curve.points.tracks if t.failure and t not in _failed(curve)}
    for failure, method in failures.items():
        lines += paragraph(f"{printable(method)}: {printable(failure)}", width, Tone.CONTEXT, indent=2)
    return lines


def words_of_theory(curve: "Curve") -> list[str]:
    """Return a sentence per law, and what its letters mean."""
    laws = dict.fromkeys(
        (p.formula, f"{abs(p.value):.12g}", p.why) for p in curve.predictions if p is not None
    )
    words = [f"{formula} = {value}: {why}" for formula, value, why in laws]
    if laws and curve.quantity.name == "gap":
        form = FORMATS[curve.dtype]
        words.append(
            f"t is exp(-gap), p = {form.precision} and emin = {form.emin} are those of {curve.dtype}"
        )
    return words


def points_sheet(curves: "Sequence[Curve]") -> Sheet:
    """Return a row per format, method and value, every digit."""
    rows = []
    for curve in curves:
        points, dtype = curve.points, curve.example.numerics.loss_dtype
        for track in points.tracks:
            for at, value in enumerate(points.values):
                exact = number_cell(nearest(points.exact[at], FORMATS[dtype]), dtype)
                rows.append(
                    (
                        curve.dtype,
                        printable(track.method),
                        value_text(curve, value),
                        exact,
                        *_cells(curve, track, at),
                    )
                )
    columns = (
        "dtype",
        "method",
        curves[0].quantity.name,
        "exact",
        "loss",
        "ulps",
        "state",
    )
    return Sheet("", (*columns, "slope", "exact_slope"), tuple(rows))


def _cells(curve: "Curve", track: "Track", at: int) -> tuple[str, ...]:
    dtype = curve.example.numerics.loss_dtype
    state = STATES[track.states[at]]
    has_slope = state != "none" and not _is_nan(track.slopes).all()
    return (
        number_cell(float(track.losses[at]), track.dtype) if state != "none" else "",
        Cell(format_ulps(track.ulps[at]), Tone.CONTEXT, is_number=True),
        Cell(state, TONES.get(state, Tone.CONTEXT)),
        number_cell(float(track.slopes[at]), dtype) if has_slope else "",
        number_cell(float(curve.points.exact_slopes[at]), dtype),
    )


def _is_nan(values: Any) -> Any:  # noqa: ANN401 - an array, and which are nan
    return values != values  # noqa: PLR0124 - what nan alone does


def as_json(curves: "Sequence[Curve]") -> str:
    """Render by the schema ``xent.sweep/1``: keys are only ever added to it."""
    first = curves[0]
    return dump(
        {
            "schema": "xent.sweep/1",
            "version": __version__,
            "quantity": first.quantity.name,
            "case": None if first.example.case is None else first.example.case.name,
            "example": first.example.row,
            "spacing": "log" if first.range.is_log else "linear",
            "curves": [_curve_fields(curve) for curve in curves],
        }
    )


def _curve_fields(curve: "Curve") -> dict[str, Any]:
    form = FORMATS[curve.dtype]
    unit, dtype = curve.quantity.dtype(form), curve.example.numerics.loss_dtype
    points = curve.points
    return {
        "dtype": curve.dtype,
        "answer": answer(curve),
        "low": curve.range.low,
        "high": curve.range.high,
        "exhaustive": curve.breakdowns.are_exhaustive,
        "values": [json_number(value, unit) for value in points.values],
        "exact": [json_number(nearest(loss, FORMATS[dtype]), dtype) for loss in points.exact],
        "exact_slope": [json_number(slope, dtype) for slope in points.exact_slopes.tolist()],
        "methods": [_track_fields(track, dtype) for track in points.tracks],
        "breakdowns": [
            {
                "method": breakdown.method,
                "state": breakdown.state,
                "direction": "up" if breakdown.is_upwards else "down",
                "first": json_number(breakdown.first, unit),
                "last_before": json_number(breakdown.last, unit),
                "theory": None
                if prediction is None
                else {
                    "formula": prediction.formula,
                    "value": f"{prediction.value:.20g}",
                    "first": json_number(prediction.first, unit),
                    "apart": prediction.apart,
                },
            }
            for breakdown, prediction in curve.with_theory()
        ],
        "right": list(curve.breakdowns.right),
    }


def _track_fields(track: "Track", dtype: str) -> dict[str, Any]:
    return {
        "method": track.method,
        **({} if track.version is None else {"version": track.version}),
        **({} if track.failure is None else {"failure": track.failure}),
        "dtype": track.dtype,
        "losses": [json_number(loss, track.dtype) for loss in track.losses.tolist()],
        "ulps": [json_ulps(error) for error in track.ulps],
        "verdicts": list(track.verdicts),
        "states": [STATES[state] for state in track.states],
        "slopes": [json_number(slope, dtype) for slope in track.slopes.tolist()],
    }

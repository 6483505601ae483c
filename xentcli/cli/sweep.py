"""sweep: one quantity varied, the curve of each method, and where it breaks down."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from xentcli.cli.options import (
    command_line,
    complete_case,
    complete_methods,
    format_option,
    option,
    output_option,
    verbose_option,
)
from xentcli.cli.screen import screen
from xentcli.errors import XentError
from xentcli.words import ARITHMETICS, DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xentcli.model import Case
    from xentcli.show.screen import Screen
    from xentcli.sweep import Curve, Example, Quantity, Range

_POINTS = 241  # three to a column of a terminal of 80, and as many as a picture shows
_PICTURES = frozenset({"html", "svg", "png"})
_FORMATS = ("table", "plain", "json", "csv", "markdown", "html", "svg", "png")
_EPILOG = """\b
Exit codes: 0 the curve is shown, 2 bad usage or bad input, 130 interrupted."""


@click.command(epilog=_EPILOG)
@click.argument("case", required=False, shell_complete=complete_case)
@option("--gap", metavar="VALUE", help="The label's logit less every other.")
@option("--offset", metavar="VALUE", help="What is added to every logit.")
@option("--scale", metavar="VALUE", help="What every logit is multiplied by.")
@option("--classes", metavar="VALUE", help="The number of classes.")
@option("--smoothing", metavar="VALUE", help="The label smoothing.")
@option("--label-rank", metavar="VALUE", help="The rank of the label's logit, 1 the largest.")
@option("--logit", metavar="ROW,CLASS=VALUE", help="A logit of CASE by its place, from 0.")
@option(
    "--points", type=click.IntRange(2, 10_000), default=_POINTS, show_default=True, help="How many values."
)
@option(
    "--spacing",
    type=click.Choice(["linear", "log"]),
    help="Equal distances or equal ratios.  [default: log for offset, scale and classes]",
)
@option("--example", metavar="N", type=int, help="The example of CASE, from 0.  [default: 0]")
@option(
    "--methods",
    metavar="NAMES",
    help="Methods or groups, torch and the like, or mine.py:loss.  [default: default,log1p]",
    shell_complete=complete_methods,
)
@option(
    "--dtype",
    "dtypes",
    metavar="NAMES",
    help="Formats, such as float16,float32.  [default: float32, or the case's]",
)
@option("--arithmetic", type=click.Choice(ARITHMETICS), help="Carry out exp, log, sums and division so.")
@format_option(*_FORMATS, variable="XENT_SWEEP_FORMAT")
@output_option
@verbose_option
def sweep(  # noqa: PLR0913, PLR0917 - click hands over every option
    case: str | None,
    points: int,
    spacing: str | None,
    example: int | None,
    methods: str | None,
    dtypes: str | None,
    arithmetic: str | None,
    form: str,
    output: str | None,
    verbose: bool,
    **quantities: str | None,
) -> int:
    """Vary one quantity, and say from which value on each method is wrong.

    VALUE is a range LOW:HIGH of the quantity that is varied, or a number at which another one is held.
    Without CASE an example of two classes is varied: the label's logit is the gap, the other is 0. Where a
    method breaks down is found to the neighbouring number of the format.

    \b
    Examples:
      xent sweep
      xent sweep --gap 0:120 --dtype float16,float32 -o curve.html
      xent sweep --offset 1:1e9 --methods unshifted,sparse
      xent sweep --classes 2:100000 --gap 5 --methods torch
      xent sweep abnormal --logit 0,3=0:1e32
    """
    import sys

    from xentcli.cli import output as outputs

    chosen = _chosen(quantities, case)
    if form == "png" and output in {None, "-"} and sys.stdout is not None and sys.stdout.isatty():
        raise XentError("--format png: a picture is for a file: -o sweep.png")
    if form in _PICTURES:
        from xentcli.show.charts import altair

        altair()  # before the work
    with outputs.opened(output) as write:
        curves = _curves(case, chosen, points, spacing, example, methods, dtypes, arithmetic, output)
        write(_rendered(curves, form, screen(output), verbose=verbose))
    return 0


def _rendered(curves: "Sequence[Curve]", form: str, place: "Screen", *, verbose: bool) -> str | bytes:
    """Render curves in a format."""
    if form == "html":
        from xentcli.show.reports.sweep import report

        return report(curves, command_line())
    if form in _PICTURES:
        from xentcli.show import charts
        from xentcli.show.reports.sweep import picture
        from xentcli.show.sweep import answer

        chart = picture(curves)
        return charts.png(chart) if form == "png" else charts.svg(chart, " ".join(map(answer, curves)))
    from xentcli.show.sweep import render_sweep

    return render_sweep(curves, form, place, verbose=verbose)


def _chosen(
    quantities: dict[str, str | None], case: str | None
) -> "tuple[Quantity, str | None, dict[str, float]]":
    """Return the quantity that is varied, its range or None, and the numbers at which others are held."""
    from xentcli.sweep.quantities import QUANTITIES, check_value

    texts = {name.replace("_", "-"): text for name, text in quantities.items() if text is not None}
    ranges = [name for name, text in texts.items() if ":" in text]
    if len(ranges) > 1:
        raise XentError(
            f"--{ranges[0]} and --{ranges[1]}: give one range LOW:HIGH; hold the other at a number"
        )
    name = ranges[0] if ranges else "gap"
    span = texts.pop(name) if ranges else None
    if case is not None and texts:
        raise XentError(f"--{next(iter(texts))}: with CASE give one quantity, as a range LOW:HIGH")
    if "logit" in (name, *texts) and (case is None or not ranges):
        raise XentError("--logit: give CASE and ROW,CLASS=LOW:HIGH, such as abnormal --logit 0,3=0:1e32")
    held = {}
    for each, text in texts.items():
        if not ranges and each == "gap":
            raise XentError(f"--gap {text}: give a range LOW:HIGH, such as -20:20, of one quantity")
        try:
            held[each] = float(text)
        except ValueError:
            raise XentError(f"--{each} {text}: give a number, or a range LOW:HIGH") from None
        check_value(QUANTITIES[each], f"--{each} {text}", held[each])
    return QUANTITIES[name], span, held


def _curves(  # noqa: PLR0913, PLR0917 - what is varied, and how
    case: str | None,
    chosen: "tuple[Quantity, str | None, dict[str, float]]",
    points: int,
    spacing: str | None,
    example: int | None,
    methods: str | None,
    dtypes: str | None,
    arithmetic: str | None,
    output: str | None,
) -> "list[Curve]":
    """Read the case, open the libraries, and sweep in every format."""
    from xentcli import frameworks
    from xentcli.cli import output as outputs
    from xentcli.cli.progress import progress
    from xentcli.frameworks import runner
    from xentcli.methods.table import select
    from xentcli.run import methods_of
    from xentcli.sweep import sweep as vary

    theirs, rest = frameworks.select(methods or "default,log1p")
    targets = [method.target for method in theirs if method.is_target]
    outputs.refuse_conflicts([output], [*([] if case is None else [case]), *outputs.sources_of(*targets)])
    own = select(rest, frameworks.NAMES) if rest or not theirs else ()
    quantity, span, held = chosen
    examples = list(_examples(case, quantity, span, held, example, dtypes, arithmetic))
    curves = []
    with ExitStack() as stack:
        session = stack.enter_context(runner.Session(theirs)) if theirs else None
        for varied in examples:
            show = stack.enter_context(progress(f"{quantity.name} in {varied.numerics.dtype}"))
            fitting = own if varied.case is None else methods_of(varied.case, own) if own else ()
            reach = _range(quantity, span, points, spacing, varied.numerics.dtype)
            curves.append(
                vary(varied, quantity, reach, fitting, None if session is None else session.run, show)
            )
    return curves


def _range(quantity: "Quantity", span: str | None, points: int, spacing: str | None, dtype: str) -> "Range":
    from xentcli.formats import FORMATS
    from xentcli.sweep.quantities import read_range

    if span is None:
        low, high = quantity.default_range(FORMATS[dtype])
        span = f"{low:g}:{high:g}"
    return read_range(quantity, span.rpartition("=")[2], points, spacing)


def _examples(  # noqa: PLR0913, PLR0917 - each is an option
    case: str | None,
    quantity: "Quantity",
    span: str | None,
    held: dict[str, float],
    row: int | None,
    dtypes: str | None,
    arithmetic: str | None,
) -> "Iterator[Example]":
    """Yield the example that is varied, once per format."""
    from xentcli.methods import arithmetic as arithmetics
    from xentcli.model import Numerics
    from xentcli.sweep.example import DEFAULTS, DEFAULTS_BESIDE, case_example, standard_example

    names = _dtypes(dtypes)
    if case is not None:
        place = None
        if quantity.name == "logit":
            if row is not None:
                raise XentError(f"--example {row}: --logit {span} names the example")
            row, place = _place(str(span))
        for loaded in _cases(case, names, arithmetic):
            yield case_example(loaded, row or 0, place, quantity)
        return
    if row is not None:
        raise XentError("--example is of a case: name CASE")
    for name in names or ("float32",):
        arithmetics.get(arithmetic or "numpy", name)
        settings = {**DEFAULTS, **DEFAULTS_BESIDE.get(quantity.name, {}), **held}
        if quantity.name == "label-rank" and "classes" not in held:
            settings["classes"] = max(settings["classes"], float(str(span).rpartition(":")[2]))
        falls = True if quantity.name == "label-rank" else None
        yield standard_example(settings, Numerics(name, arithmetic or "numpy"), falls=falls)


def _dtypes(names: str | None) -> tuple[str, ...]:
    """Return the formats that are named, each once."""
    from xentcli.errors import did_you_mean
    from xentcli.formats import dtype

    if names is None:
        return ()
    chosen = tuple(dict.fromkeys(name for name in (part.strip() for part in names.split(",")) if name))
    for name in chosen:
        if name not in DTYPES:
            raise XentError(f"--dtype: unknown format '{name}'{did_you_mean(name, DTYPES)}")
        dtype(name)
    if not chosen:
        raise XentError(f"--dtype: name a format: {', '.join(DTYPES)}")
    return chosen


def _place(span: str) -> tuple[int, int]:
    """Return the row and class of ``ROW,CLASS=LOW:HIGH``."""
    place, _, _ = span.partition("=")
    try:
        row, column = (int(number) for number in place.split(","))
    except ValueError:
        raise XentError(f"--logit {span}: give ROW,CLASS=LOW:HIGH, such as 0,3=0:1e32") from None
    return row, column


def _cases(path: str, dtypes: tuple[str, ...], arithmetic: str | None) -> "Iterator[Case]":
    """Yield a case, once per format."""
    from xentcli import load
    from xentcli.load import Overrides, sources

    files, problems = sources.read_all((path,))
    for name in dtypes or (None,):
        (loaded, *others) = load.load_all(files, problems, Overrides(dtype=name, arithmetic=arithmetic))
        if others:
            raise XentError(f"{path}: name one case; it has {len(others) + 1}")
        yield loaded

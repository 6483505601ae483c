"""diagnose: what is wrong with a dump of logits, or with the loss of it."""

from typing import TYPE_CHECKING

import click

from xentcli.cli.check import complete_conventions
from xentcli.cli.options import complete_methods, force_option, format_option, note, option, output_option
from xentcli.cli.progress import progress
from xentcli.cli.screen import screen
from xentcli.errors import XentError, printable
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.diagnose.dumps import Layout
    from xentcli.diagnose.response import Response
    from xentcli.diagnose.summary import Diagnosis
    from xentcli.diagnose.survey import Survey
    from xentcli.methods.method import Method

_EXIT_WRONG, _EXIT_INTERRUPTED = 1, 130
_EPILOG = """\b
Exit codes: 0 every row has a loss, 1 a row is broken (nan, +inf, nothing but
-inf, an invalid or masked label) or the loss in question goes wrong, 2 bad usage
or bad input, 130 interrupted; what was read until then is shown."""


@click.command(epilog=_EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=str))
@option(
    "--method",
    metavar="NAME",
    help="Your loss, if it is one of xent's methods: say what it makes of the rows.",
    shell_complete=complete_methods,
)
@option("--loss", metavar="TARGET", help="Your loss, module:function or path/to/file.py:function.")
@option(
    "--convention",
    metavar="NAME",
    help="How --loss is called, such as torch.rows.  [default: that of its library, or numpy]",
    shell_complete=complete_conventions,
)
@option("--observed", metavar="nan|VALUE", help="The loss that you saw: does it come from these rows?")
@option("--labels", multiple=True, metavar="FILE", help="The labels; one file per file of logits.")
@option("--logits-name", metavar="NAME", help="The array of logits.  [default: logits, preds or outputs]")
@option("--labels-name", metavar="NAME", help="The array of labels.  [default: labels, targets, target or y]")
@option(
    "--class-axis",
    type=int,
    default=-1,
    show_default=True,
    metavar="AXIS",
    help="The axis of the classes, 1 of (N, C, H, W).",
)
@option("--binary", is_flag=True, help="One logit per row, (N,) or (N, 1), and labels from 0 to 1.")
@option("--ignore-index", type=int, help="The label of rows to ignore.  [default: -100]")
@option("--case", "case", metavar="CASE", help="Take ignore_index and clip from this case.")
@option("--extract", metavar="FILE", help="Write the worst rows as a case, with as few classes as show it.")
@force_option
@option(
    "--rows",
    "most",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="K",
    help="How many of the worst rows to show and extract.",
)
@format_option("table", "plain", "json", variable="XENT_DIAGNOSE_FORMAT")
@output_option
def diagnose(  # noqa: PLR0913, PLR0917 - click hands over every option
    files: tuple[str, ...],
    method: str | None,
    loss: str | None,
    convention: str | None,
    observed: str | None,
    labels: tuple[str, ...],
    logits_name: str | None,
    labels_name: str | None,
    class_axis: int,
    binary: bool,
    ignore_index: int | None,
    case: str | None,
    extract: str | None,
    force: bool,
    most: int,
    form: str,
    output: str | None,
) -> int:
    """Say what is wrong with a dump of logits, or what your loss makes of it, and show the worst rows.

    FILE is a .npy, .npz or .safetensors of logits (N, C), or a pattern in quotes; several are shards of one
    dump. An .npz or .safetensors may hold labels too: class indices (N,) or probabilities (N, C).

    \b
    Examples:
      xent diagnose batch.npz
      xent diagnose batch.npz --method naive --observed nan --extract worst.yaml
      xent diagnose batch.npz --loss mine.py:loss
      xent diagnose "shards/*.npy" --labels "labels/*.npy" --format json
    """
    from contextlib import ExitStack

    from xentcli import frameworks, show
    from xentcli.cli import output as outputs
    from xentcli.cli import signals
    from xentcli.diagnose.answer import failing_method, is_wrong
    from xentcli.diagnose.dumps import Layout, expanded
    from xentcli.diagnose.extract import extracted
    from xentcli.diagnose.summary import summarise

    read = [*expanded(files), *expanded(labels), *outputs.sources_of(loss), *([] if case is None else [case])]
    outputs.refuse_conflicts([output, extract], read)
    outputs.refuse_conflicts([extract], (), force=force)
    if method in frameworks.FUNCTIONS:
        function, method = frameworks.FUNCTIONS[method], None
        loss, convention = function.target, function.convention.name
    own = _method(method, loss, observed)
    layout = Layout(logits_name, labels_name, class_axis, binary)
    with ExitStack() as stack:
        write = stack.enter_context(outputs.opened(output))
        keep = None if extract is None else stack.enter_context(outputs.opened(extract))
        survey, clip = _surveyed(files, labels, layout, ignore_index, case)
        signals.listen()  # what was read until Ctrl-C is shown, unless it comes again
        response = _response(survey, own, loss, convention, clip)
        diagnosis = summarise(survey, most, response)
        after = _after(extract, failing_method(diagnosis) if method is None else method)
        write(show.diagnose(diagnosis, form, screen(output), observed, after))
        if keep is not None and diagnosis.rows:
            keep(extracted(diagnosis))
    if extract is not None:
        _note_extract(diagnosis, extract, after)
    if not survey.complete:
        return _EXIT_INTERRUPTED
    return _EXIT_WRONG if is_wrong(diagnosis, observed) else 0


def _note_extract(diagnosis: "Diagnosis", extract: str, after: str) -> None:
    """Say what was extracted, and what to type next."""
    if not diagnosis.rows:
        note(f"no row has a finding: nothing is written to {extract}")
    elif extract != "-":
        is_refused = diagnosis.survey.kind == "rows" and "label-out-of-range" in diagnosis.rows[0].findings
        note(f"wrote {extract}" + ("" if is_refused else f"; '{after}' says why"))


def _method(method: str | None, loss: str | None, observed: str | None) -> "Method | None":
    """Check the options of a loss; return the method that is named."""
    from xentcli.methods.table import select

    if method is not None and loss is not None:
        raise XentError("--method and --loss: give one of them")
    try:
        float(observed or 0)
    except ValueError:
        raise XentError(f"--observed {observed}: give nan, inf or the number that was printed") from None
    chosen = () if method is None else select(method)
    if len(chosen) > 1:
        raise XentError(f"--method {method}: give one method, not a group")
    return chosen[0] if chosen else None


def _after(extract: str | None, method: str | None) -> str:
    """Return the command that shows why the worst rows go wrong, or what was typed with --extract."""
    import shlex
    import sys

    if extract is None or extract == "-":
        return printable(shlex.join(["xent", *sys.argv[1:], "--extract", "worst.yaml"]))
    words = ["xent", "explain", extract, *([] if method is None else ["--method", method])]
    return printable(shlex.join(words))


def _response(
    survey: "Survey",
    method: "Method | None",
    loss: str | None,
    convention: str | None,
    clip: tuple[float, float] | None,
) -> "Response | None":
    """Have the loss in question respond to the dump."""
    if method is None and loss is None:
        return None
    if not survey.labelled:
        holds = survey.shards[0].holds
        inside = f"; the file holds {holds}" if holds else ""
        raise XentError(f"a loss needs labels: give --labels FILE or --labels-name NAME{inside}")
    from xentcli.diagnose.response import respond_by_method, respond_by_target
    from xentcli.frameworks.conventions import find_convention

    with progress(f"calling {loss or 'the method'}") as show:
        if method is not None:
            return respond_by_method(survey, method, clip, show)
        called = find_convention(convention, loss or "")
        return respond_by_target(survey, loss or "", called, show, is_chosen=convention is not None)


def _surveyed(
    files: tuple[str, ...],
    labels: tuple[str, ...],
    layout: "Layout",
    ignore_index: int | None,
    case: str | None,
) -> "tuple[Survey, tuple[float, float] | None]":
    """Read the dump; return the clip of the case, too."""
    from xentcli import load
    from xentcli.diagnose.dumps import shards
    from xentcli.diagnose.rules import rules_for
    from xentcli.diagnose.survey import survey
    from xentcli.load import sources

    clip = None
    if case is not None:
        inputs, problems = sources.read_all((case,))
        cases = load.load_all(inputs, problems)
        if len(cases) != 1:
            raise XentError(f"{case}: name one case")
        clip, ignored = cases[0].batch.clip, cases[0].batch.weighting.ignore_index
        ignore_index = ignored if ignore_index is None else ignore_index
    opened = shards(files, labels, layout)
    form = str(opened[0].logits.dtype.newbyteorder("="))
    rules = rules_for(form, clip) if opened[0].kind == "indices" else None
    total, read = max(1, sum(shard.logits.nbytes for shard in opened)), 0
    with progress("diagnosing") as show:

        def count_bytes(number: int) -> None:
            nonlocal read
            read += number
            show(read / total)

        return survey(
            opened, IGNORE_INDEX if ignore_index is None else ignore_index, rules, count_bytes
        ), clip

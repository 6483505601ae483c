"""diagnose: what is wrong with a dump of logits, or with the loss of it."""

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from xentcli.cli.against import AGAINST, compare
from xentcli.cli.check import complete_conventions
from xentcli.cli.options import (
    command_line,
    complete_methods,
    force_option,
    format_option,
    note,
    option,
    output_option,
)
from xentcli.cli.progress import waiting
from xentcli.cli.scale import Scale, counting, exit_code, scale_options
from xentcli.cli.screen import screen
from xentcli.cli.top_k import TopKOptions, diagnose_top_k, top_k_options
from xentcli.errors import XentError, printable
from xentcli.words import IGNORE_INDEX, MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xentcli.diagnose.diagnosis import Diagnosis
    from xentcli.diagnose.dumps import Shard
    from xentcli.diagnose.finished import Finished
    from xentcli.diagnose.loss import Loss
    from xentcli.diagnose.survey import Engine, Survey
    from xentcli.methods.method import Method

_EPILOG = """\b
Exit codes: 0 every row has a loss, 1 a row is broken (nan, +inf, nothing but
-inf, an invalid or masked label) or the loss in question goes wrong, 2 bad
usage, bad input or a file left out, 130 interrupted. What was read until a
Ctrl-C, or until a file changed, is shown."""


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
@option(
    "--losses",
    multiple=True,
    metavar="FILE",
    help="A file of your losses, one per row: are they the true ones?",
)
@option("--losses-name", metavar="NAME", help="The array of your losses, in FILE or beside the logits.")
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
@option(
    "--shift",
    is_flag=True,
    help="Judge each position of (B, T, C) with the label of the next (causal models).",
)
@option("--binary", is_flag=True, help="One logit per row, (N,) or (N, 1), and labels from 0 to 1.")
@option("--ignore-index", type=int, help="The label of rows to ignore.  [default: -100]")
@option("--case", "case", metavar="CASE", help="Take ignore_index and clip from this case.")
@option("--extract", metavar="FILE", help="Write the worst rows as a case, with as few classes as show it.")
@force_option
@option(
    "--rows",
    "most",
    type=click.IntRange(1, MOST_ROWS),
    default=5,
    show_default=True,
    metavar="K",
    help="How many of the worst rows to show and extract.",
)
@AGAINST
@top_k_options
@scale_options
@format_option("table", "plain", "json", "html", variable="XENT_DIAGNOSE_FORMAT")
@output_option
def diagnose(  # noqa: PLR0913, PLR0917 - click hands over every option
    files: tuple[str, ...],
    method: str | None,
    loss: str | None,
    convention: str | None,
    observed: str | None,
    losses: tuple[str, ...],
    losses_name: str | None,
    labels: tuple[str, ...],
    logits_name: str | None,
    labels_name: str | None,
    class_axis: int,
    shift: bool,
    binary: bool,
    ignore_index: int | None,
    case: str | None,
    extract: str | None,
    force: bool,
    most: int,
    against: tuple[str, ...],
    top_k: TopKOptions,
    scale: Scale,
    form: str,
    output: str | None,
) -> int:
    """Say what is wrong with a dump of logits, or what your loss makes of it, and show the worst rows.

    FILE is a .npy, .npz, .safetensors, .parquet or .pt of logits (N, C), or a pattern in quotes; several are
    shards of one dump. All but .npy may hold labels too: class indices (N,) or probabilities (N, C). A .pt
    holds tensors alone, and is read by torch, in a process of its own. FILE may be an address of fsspec, as
    s3://bucket/logits.npy: with xent[dask], and what fsspec needs for it. A FILE of values (N, k) and
    integers (N, k) called indices is a top-k dump: losses are known, or bounded.

    \b
    Examples:
      xent diagnose batch.npz
      xent diagnose batch.npz --method naive --observed nan --extract worst.yaml
      xent diagnose batch.npz --loss mine.py:loss
      xent diagnose "shards/*.npy" --labels "labels/*.npy" --format json
      xent diagnose "s3://bucket/*.npz" --dask tcp://scheduler:8786
      xent diagnose train.npz --against rollout.npz
    """
    from contextlib import ExitStack

    from xentcli import frameworks
    from xentcli.cli import output as outputs
    from xentcli.cli import signals
    from xentcli.diagnose.answer import failing_method, is_wrong
    from xentcli.diagnose.diagnosis import diagnosis_of
    from xentcli.diagnose.dumps import Layout
    from xentcli.diagnose.dumps import shards as open_shards
    from xentcli.diagnose.extract import extracted
    from xentcli.diagnose.files.storage import expanded
    from xentcli.diagnose.saved import ignored_by, observed_in

    read = [
        *expanded(files),
        *expanded(labels),
        *expanded(losses),
        *expanded(against),
        *(path for paths in top_k.files.values() for path in expanded(paths)),
        *outputs.sources_of(loss),
        *([] if case is None else [case]),
    ]
    outputs.refuse_conflicts([output, extract, scale.resume], read)
    outputs.refuse_conflicts([extract], (), force=force)
    if method in frameworks.FUNCTIONS:
        function = frameworks.FUNCTIONS[method]
        method, loss, convention = None, function.target, function.convention.name
    own, is_recorded = _method(method, loss, observed), bool(losses) or losses_name is not None
    scale.check(loss)
    if is_recorded and (own is not None or loss is not None):
        raise XentError("--losses and a loss: give what was recorded, or what to call")
    layout = Layout(
        logits_name, labels_name, class_axis, binary, shift, losses_name, top_k.is_top_k, top_k.normalised
    )
    with ExitStack() as stack:
        write = stack.enter_context(outputs.opened(output))
        keep = None if extract is None else stack.enter_context(outputs.opened(extract))
        with _opening(read):
            shards = open_shards(
                files, labels, layout, losses, scale.left_out if scale.keep_going else None, **top_k.files
            )
        if against:
            return compare(shards, against, layout, write, form, screen(output))
        if shards[0].is_top_k:
            return diagnose_top_k(shards, layout, ignore_index, most, scale, write, form, screen(output))
        if extract is not None and any(shard.labels is None for shard in shards):
            raise XentError("--extract needs labels: give --labels FILE or --labels-name NAME")
        steps = [shard.saved for shard in shards]
        ignore_index = ignored_by(steps) if ignore_index is None and case is None else ignore_index
        is_asked = any(each is not None for each in (observed, own, loss)) or is_recorded
        observed = observed if is_asked else observed_in(steps)
        ignore_index, clip = _options_of(case, ignore_index)
        asked = stack.enter_context(
            _loss(shards, own, loss, convention, clip, ignore_index, is_recorded=is_recorded)
        )
        engine = scale.engine()
        finished = stack.enter_context(
            scale.finished(
                layout,
                asked,
                ignore_index=ignore_index,
                clip=clip,
                rows=most,
                **({"format": form} if form == "html" else {}),  # whose summaries know more of each row
            )
        )
        signals.listen()  # what was read until Ctrl-C is shown, unless it comes again
        survey = _surveyed(
            shards, ignore_index, clip, most, asked, engine, finished, scale, is_profiled=form == "html"
        )
        signals.heard()
        diagnosis = diagnosis_of(survey)
        after = _after(extract, failing_method(diagnosis, observed) if method is None else method)
        write(_shown(diagnosis, form, output, observed, after))
        if keep is not None and diagnosis.rows:
            keep(extracted(diagnosis))
    if extract is not None:
        _note_extract(diagnosis, extract, after)
    return exit_code(diagnosis.survey, is_wrong=is_wrong(diagnosis, observed))


def _opening(files: "Sequence[str]") -> AbstractContextManager[None]:
    """Say what takes long where torch reads a file, its import alone takes seconds."""
    is_slow = any(path.endswith((".pt", ".pth")) for path in files)
    return waiting("reading tensors with torch") if is_slow else nullcontext()


def _shown(diagnosis: "Diagnosis", form: str, output: str | None, observed: str | None, after: str) -> str:
    """Return what is said of the dump, in a format; ``after`` is what to type next."""
    if form == "html":
        from xentcli.show.reports import diagnose as reports

        return reports.report(diagnosis, observed, after, command_line())
    from xentcli import show

    return show.diagnose(diagnosis, form, screen(output), observed, after)


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


@contextmanager
def _loss(  # noqa: PLR0913, PLR0917 - a dump, and each option about a loss
    shards: "Sequence[Shard]",
    method: "Method | None",
    target: str | None,
    convention: str | None,
    clip: tuple[float, float] | None,
    ignore_index: int,
    *,
    is_recorded: bool,
) -> "Iterator[Loss | None]":
    """Open the loss in question, if there is one."""
    if method is None and target is None and not is_recorded:
        yield None
        return
    if any(shard.labels is None for shard in shards):
        holds = shards[0].holds
        inside = f"; the file holds {holds}" if holds else ""
        raise XentError(f"a loss needs labels: give --labels FILE or --labels-name NAME{inside}")
    from xentcli.diagnose.loss import method_loss, recorded_loss, target_loss
    from xentcli.frameworks.conventions import find_convention

    if is_recorded:
        yield recorded_loss(shards[0].format, ignore_index)
    elif method is not None:
        yield method_loss(method, shards[0].format, ignore_index, clip)
    elif target is not None:
        called = find_convention(convention, target)
        with target_loss(shards, ignore_index, target, called, is_chosen=convention is not None) as loss:
            yield loss


def _options_of(case: str | None, ignore_index: int | None) -> tuple[int, tuple[float, float] | None]:
    """Return the label to ignore, as typed or as in a case, and the clip of the case."""
    clip = None
    if case is not None:
        from xentcli import load
        from xentcli.load import sources

        inputs, problems = sources.read_all((case,))
        cases = load.load_all(inputs, problems)
        if len(cases) != 1:
            raise XentError(f"{case}: name one case")
        clip, ignored = cases[0].batch.clip, cases[0].batch.weighting.ignore_index
        ignore_index = ignored if ignore_index is None else ignore_index
    return IGNORE_INDEX if ignore_index is None else ignore_index, clip


def _surveyed(  # noqa: PLR0913, PLR0917 - a dump, all that is asked of it, and how
    shards: "Sequence[Shard]",
    ignore_index: int,
    clip: tuple[float, float] | None,
    most: int,
    loss: "Loss | None",
    engine: "Engine | None",
    finished: "Finished | None",
    scale: Scale,
    *,
    is_profiled: bool,
) -> "Survey":
    """Go through the dump, and show how far it is."""
    from dataclasses import replace

    from xentcli.diagnose.rules import rules_for
    from xentcli.diagnose.survey import survey

    rules = rules_for(shards[0].format, clip) if shards[0].kind == "indices" else None
    doing = "diagnosing" if loss is None or loss.is_recorded else f"calling {loss.name}"
    with counting(shards, doing) as progress:
        found = survey(
            shards,
            ignore_index,
            rules,
            progress,
            most=most,
            loss=loss,
            engine=engine,
            finished=finished,
            keep_going=scale.keep_going,
            is_profiled=is_profiled,
        )
    return replace(found, left_out=(*scale.left_out, *found.left_out), notes=tuple(scale.notes))

"""check: anyone's loss against the atlas, the properties and a search."""

from typing import TYPE_CHECKING

import click

from xentcli.cli.options import (
    command_line,
    complete_case,
    force_option,
    format_option,
    note,
    option,
    output_option,
)
from xentcli.cli.screen import screen
from xentcli.errors import XentError, count

if TYPE_CHECKING:
    from xentcli.check.report import Report
    from xentcli.check.run import Options
    from xentcli.model import Case

_EXIT_FAILED = 1
_EPILOG = """\b
Exit codes: 0 every check passed or was skipped (with --beside: none failed
that the other loss passes), 1 one failed or was not reached, 2 bad usage, no
such function or one that cannot be judged, 130 interrupted."""


def complete_conventions(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a convention."""
    from xentcli.frameworks.conventions import CONVENTIONS

    return [name for name in CONVENTIONS if name.startswith(incomplete)]


@click.command(epilog=_EPILOG)
@click.argument("target", required=False)
@click.argument("cases", metavar="[CASE]...", nargs=-1, shell_complete=complete_case)
@option(
    "--convention",
    metavar="NAME",
    help="How it is called, such as torch or numpy.rows.  [default: as its library's losses are, else numpy]",
    shell_complete=complete_conventions,
)
@option(
    "--reduction",
    variable="XENT_CHECK_REDUCTION",
    type=click.Choice(("mean", "sum")),
    help="What the loss returns.  [default: one loss per example]",
)
@option(
    "--gradient",
    metavar="TARGET",
    help="Its gradient (N, C), a function of the same arguments.  [default: autodiff's]",
)
@option(
    "--max-ulps",
    type=click.FloatRange(min=0),
    help="The error allowed besides what rounding must cost.  [default: 4]",
)
@option(
    "--beside",
    metavar="TARGET",
    help="Check another loss too, such as torch.cross_entropy, and say what fails in mine alone.",
)
@option("--only", multiple=True, metavar="NAME", help="Run only this check or category; may be repeated.")
@option("--skip", multiple=True, metavar="NAME=REASON", help="Skip this check or category; may be repeated.")
@option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed of the search.")
@option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop after this time.  [default: 120]",
)
@option(
    "--save-failures",
    metavar="DIR",
    help="Write the counterexamples of the search into DIR, a case file each.",
)
@force_option
@click.option("--list", "lists", is_flag=True, help="List the conventions and the checks.")
@option("--verbose", "-v", is_flag=True, help="Show every check that failed, and each kind of finding in it.")
@format_option("table", "plain", "json", "junit", "html", variable="XENT_CHECK_FORMAT")
@output_option
def check(  # noqa: PLR0913, PLR0917 - click hands over every option
    target: str | None,
    cases: tuple[str, ...],
    convention: str | None,
    reduction: str | None,
    gradient: str | None,
    max_ulps: float | None,
    beside: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    seed: int,
    budget: float | None,
    save_failures: str | None,
    force: bool,
    lists: bool,
    verbose: bool,
    form: str,
    output: str | None,
) -> int:
    """Check a loss: the atlas, the properties of cross-entropy, and a search for failures that are new.

    TARGET is module:function or path/to/file.py:function. It is imported and called in a process of its own.
    With CASE (files, folders, names of bundled cases) only these cases are checked.

    \b
    Examples:
      xent check mine.py:loss
      xent check mine.py:loss --beside torch.cross_entropy
      xent check mine.py:loss --gradient mine.py:gradient --save-failures found
      xent check mine.py:loss found
      xent check torch.nn.functional:cross_entropy --skip one-class="-0.0 will do"
      xent check optax:softmax_cross_entropy --convention optax.rows --only blog
    """
    from dataclasses import replace

    from xentcli.check import run
    from xentcli.cli import output as outputs
    from xentcli.show.checked import verdict
    from xentcli.show.report import render, render_list
    from xentcli.show.reports import check as reports

    if lists:
        listed = convention or "numpy"
        with outputs.opened(output) as write:
            write(
                reports.listing(listed, command_line())
                if form == "html"
                else render_list(listed, form, screen(output))
            )
        return 0
    if target is None:
        raise click.UsageError("name a loss: module:function or path/to/file.py:function (or --list)")
    options = run.Options(
        **({} if max_ulps is None else {"max_ulps": max_ulps}),
        only=only,
        skip=_reasons(skip),
        seed=seed,
        cases=_load(cases),
    )
    read = [*(case.path for case in options.cases), *outputs.sources_of(target, gradient, beside)]
    outputs.refuse_conflicts([output], read)
    if save_failures is not None:
        _make_folder(save_failures, force=force)
    with outputs.opened(output) as write:
        called = (convention, reduction)
        report = _checked(*_called(target, gradient, called), options, budget)
        if beside is not None:
            other = _checked(*_named(beside), options, budget)
            report = replace(report, beside=replace(other, target=beside))
        write(
            reports.report(report, command_line())
            if form == "html"
            else render(report, form, screen(output), verbose=verbose)
        )
    if save_failures is not None:
        _save(report.counterexamples, save_failures, target)
    if output not in {None, "-"}:
        note(verdict(report))
    _note_bfloat16(report)
    return 0 if report.passed else _EXIT_FAILED


def _checked(
    target: str,
    gradient: str | None,
    called: tuple[str | None, str | None],
    options: "Options",
    budget: float | None,
) -> "Report":
    """Check one loss in a process of its own; ``called`` is its convention and reduction, or None."""
    from xentcli.check import run
    from xentcli.check.trial import open_subject
    from xentcli.cli.progress import progress
    from xentcli.frameworks.conventions import find_convention

    convention, reduction = called
    deadline = run.deadline(budget or run.BUDGET)
    how = find_convention(convention, target, reduction)
    subject, ordinary, remark = open_subject(
        target, gradient, how, deadline, is_chosen=convention is not None
    )
    if remark:
        note(remark)
    try:
        with progress(f"checking {target}") as show:
            return run.check(subject, options, target, deadline, ordinary, show)
    finally:
        subject.stop()


def _named(beside: str) -> tuple[str, None, tuple[str | None, None]]:
    """Return the target, the gradient and how to call a loss that --beside names."""
    from xentcli.errors import did_you_mean
    from xentcli.frameworks import FRAMEWORK_METHODS, select

    if ":" in beside:
        return beside, None, (None, None)
    methods = {method.name: method for method in FRAMEWORK_METHODS}
    if beside not in methods:
        near = did_you_mean(
            beside, list(methods), "expected module:function, or a name that 'xent methods' lists"
        )
        raise XentError(f"--beside {beside}: no such loss{near}")
    select(beside)  # raises where its library is not installed
    return methods[beside].target, None, (methods[beside].convention.name, None)


def _called(
    target: str, gradient: str | None, called: tuple[str | None, str | None]
) -> tuple[str, str | None, tuple[str | None, str | None]]:
    """Return the target, the gradient and how to call it; a name of 'xent methods' is a target too."""
    if ":" in target or called[0] is not None:
        return target, gradient, called
    from xentcli.frameworks import FUNCTIONS

    known = FUNCTIONS.get(target)
    return (
        (target, gradient, called)
        if known is None
        else (known.target, gradient, (known.convention.name, called[1]))
    )


def _load(cases: tuple[str, ...]) -> "list[Case]":
    """Load the cases that are named, none where none is."""
    from xentcli import load
    from xentcli.load import sources

    if not cases:
        return []
    loaded = load.load_all(*sources.read_all(cases))
    names = [case.name for case in loaded]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise XentError(f"two cases are called '{double}'; check them one after the other")
    return loaded


def _note_bfloat16(report: "Report") -> None:
    """Say that cases in bfloat16 were left out, where they would have been checked."""
    from xentcli import formats

    try:
        formats.dtype("bfloat16")
    except XentError:
        if any(check.category == "low-precision" for check in report.checks):
            note("checks in bfloat16 are left out: ml_dtypes is not installed (pip install ml_dtypes)")


def _reasons(skip: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=REASON; raises XentError where there is no reason."""
    pairs = [word.partition("=") for word in skip]
    for name, _, reason in pairs:
        if not reason.strip():
            raise XentError(f"--skip {name}: give the reason: --skip {name or 'NAME'}=REASON")
    return {name: reason.strip() for name, _, reason in pairs}


def _make_folder(folder: str, *, force: bool) -> None:
    """Make the folder for failures before anything is run.

    Raises XentError where that fails, or where cases lie in it already, but by ``force``.
    """
    import os
    from pathlib import Path

    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise XentError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise XentError(f"{folder}: cannot be written to")
    if not force and any(Path(folder).glob("*.yaml")):
        raise XentError(f"{folder}: holds cases already; name another folder, or pass --force to add to them")


def _save(cases: dict[str, str], folder: str, target: str) -> None:
    """Write cases under names that are free; one that is there already, word for word, is left."""
    from pathlib import Path

    from xentcli.cli import output

    for name, text in cases.items():
        path, number = Path(folder, f"{name}.yaml"), 1
        while path.exists() and not (path.is_file() and path.read_bytes() == text.encode()):
            number += 1
            path = Path(folder, f"{name}-{number}.yaml")
        with output.opened(str(path)) as write:
            write(text)
    if cases:
        wrote = f"wrote {count(len(cases), 'failure')} to {folder}"
        note(f"{wrote}; 'xent check {target} {folder}' fails on {'it' if len(cases) == 1 else 'them'} again")

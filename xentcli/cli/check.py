"""check: anyone's loss against the atlas, the properties and a search."""

from typing import TYPE_CHECKING

import click

from xentcli.cli.known import KnownFiles, known_options
from xentcli.cli.options import (
    command_line,
    complete_case,
    force_option,
    format_of,
    format_option,
    note,
    option,
    output_option,
)
from xentcli.cli.screen import screen
from xentcli.errors import XentError

if TYPE_CHECKING:
    from xentcli.check.report import Report
    from xentcli.check.run import Options
    from xentcli.check.tolerance import MaxUlps
    from xentcli.model import Case

# A target, its gradient, its convention and reduction.
Named = tuple[str, str | None, tuple[str | None, str | None]]
_EXIT_FAILED = 1
_EPILOG = """\b
Exit codes: 0 every check passed or was skipped (with --beside: none failed
that the other loss passes; with --baseline: what it lists failed and nothing
else), 1 one failed, was not reached or had a larger error than --against has,
2 bad usage, no such function or one that cannot be judged, 130 interrupted."""


def complete_conventions(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a convention."""
    from xentcli.frameworks.conventions import CONVENTIONS

    return [name for name in CONVENTIONS if name.startswith(incomplete)]


@click.command(epilog=_EPILOG)
@click.argument("target", required=False)
@click.argument("cases", metavar="[CASE]...", nargs=-1, shell_complete=complete_case)
@option(
    "--program",
    metavar="COMMAND",
    help="Check a program of any language, in the place of TARGET; docs/loss-protocol.md says what it reads.",
)
@option(
    "--convention",
    metavar="NAME",
    help="How it is called, such as torch or numpy.rows.  [default: as its library's losses are, else numpy]",
    shell_complete=complete_conventions,
)
@option(
    "--device",
    metavar="NAME",
    help="Where its arrays are: cpu, cuda, cuda:1, xpu, mps or npu.  [default: cpu]",
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
    help="Its gradient (N, C), or those of hidden and weight, a function of the same arguments.  [default: "
    "autodiff's]",
)
@option(
    "--max-ulps",
    metavar="ULPS",
    help="The error allowed besides what rounding must cost: 4, or bfloat16=1,float32=16.  [default: 4]",
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
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    metavar="TIMES",
    help="Call the loss with each batch so often, judge every call, and show by how much they differ.",
)
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
@known_options
@force_option
@click.option(
    "--tolerances", is_flag=True, help="Show --max-ulps as rtol and atol, beside those of other tests."
)
@click.option("--list", "lists", is_flag=True, help="List the conventions and the checks.")
@option("--verbose", "-v", is_flag=True, help="Show every check that failed, and each kind of finding in it.")
@format_option("table", "plain", "json", "junit", "github", "html", variable="XENT_CHECK_FORMAT")
@output_option
def check(  # noqa: PLR0913, PLR0917 - click hands over every option
    target: str | None,
    cases: tuple[str, ...],
    program: str | None,
    convention: str | None,
    device: str | None,
    reduction: str | None,
    gradient: str | None,
    max_ulps: str | None,
    beside: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    seed: int,
    repeat: int,
    budget: float | None,
    save_failures: str | None,
    baseline: str | None,
    baseline_update: bool,
    record: str | None,
    against: str | None,
    force: bool,
    tolerances: bool,
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
      xent check mine.py:loss --convention linear --device cuda
      xent check torch.nn.functional:cross_entropy --skip one-class="-0.0 will do"
      xent check optax:softmax_cross_entropy --convention optax.rows --only blog
      xent check --program './loss --fast'
    """
    from dataclasses import replace

    from xentcli.check import run
    from xentcli.check.tolerance import MaxUlps
    from xentcli.cli import failures
    from xentcli.cli import output as outputs
    from xentcli.show.checked import verdict

    allowed = MaxUlps() if max_ulps is None else MaxUlps.parse(max_ulps)
    if lists or tolerances:
        with outputs.opened(output) as write:
            write(_listed(None if tolerances else convention or "numpy", allowed, form, output))
        return 0
    if program is not None:
        cases = cases if target is None else (target, *cases)
        target = _program(
            program,
            {"convention": convention, "device": device, "reduction": reduction, "gradient": gradient},
        )
    if target is None:
        raise click.UsageError("name a loss: module:function or path/to/file.py:function (or --list)")
    options = run.Options(
        max_ulps=allowed,
        only=only,
        skip=_reasons(skip),
        seed=seed,
        repeat=repeat,
        cases=_load(cases),
    )
    sources = outputs.sources_of(gradient, beside)
    sources += outputs.sources_of(target) if program is None else outputs.files_of(program)
    read = [*(case.path for case in options.cases), *sources]
    files = KnownFiles(baseline, baseline_update, record, against)
    files.refuse(beside)
    outputs.refuse_conflicts([output, *files.written], [*read, *files.read])
    if save_failures is not None:
        failures.make_folder(save_failures, force=force)
    own = [case.name for case in options.cases]
    with outputs.opened(output) as write, files.opened(own) as compared:
        called = (convention, reduction)
        report = (
            _checked(_called(target, gradient, called), device, options, budget)
            if program is None
            else _checked_program(program, options, budget)
        )
        if beside is not None:
            other = _checked(_named(beside), device, options, budget)
            report = replace(report, beside=replace(other, target=beside))
        report = compared(report)
        if text := _shown(report, form, output, verbose=verbose):
            write(text)
    if form == "github":
        from xentcli.cli import github

        github.annotate(report, target)
    if save_failures is not None:
        failures.save(
            report.counterexamples, save_failures, target if program is None else f"--program '{program}'"
        )
    if output not in {None, "-"}:
        note(verdict(report))
    _note_bfloat16(report)
    return 0 if report.passed else _EXIT_FAILED


def _listed(convention: str | None, max_ulps: "MaxUlps", form: str, output: str | None) -> str:
    """Return the conventions and the checks of one; without one what rtol and atol the ulps are."""
    from xentcli.frameworks.conventions import find_convention
    from xentcli.show.report import render_list
    from xentcli.show.reports import check as reports
    from xentcli.show.tolerances import render_tolerances

    if convention is None:
        if form == "html":
            return reports.tolerances(max_ulps, command_line())
        return render_tolerances(max_ulps, form, screen(output))
    name = find_convention(convention, "").name
    return (
        reports.listing(name, command_line()) if form == "html" else render_list(name, form, screen(output))
    )


def _shown(report: "Report", form: str, output: str | None, *, verbose: bool) -> str:
    """Return what is written of a report; beside annotations, a file has the format of its suffix."""
    from xentcli.show.report import render
    from xentcli.show.reports import check as reports

    if form == "github":
        if output in {None, "-"}:
            return ""
        form = format_of(output, ("json", "junit", "html"))
    if form == "html":
        return reports.report(report, command_line())
    return render(report, form, screen(output), verbose=verbose)


def _checked(named: Named, device: str | None, options: "Options", budget: float | None) -> "Report":
    """Check one loss in a process of its own."""
    from xentcli.check import run
    from xentcli.check.trial import open_subject
    from xentcli.cli.progress import progress
    from xentcli.frameworks.conventions import CPU, find_convention

    target, gradient, (convention, reduction) = named
    deadline = run.deadline(budget or run.BUDGET)
    how = find_convention(convention, target, reduction, device or CPU)
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


def _program(command: str, how: dict[str, str | None]) -> str:
    """Return a program as a target; raises XentError where an option says what its greeting says."""
    if others := [f"--{name}" for name, value in how.items() if value is not None]:
        raise XentError(f"{others[0]}: a program says in its greeting how it is called; leave the option out")
    return command


def _checked_program(command: str, options: "Options", budget: float | None) -> "Report":
    """Check a program."""
    from xentcli.check import run
    from xentcli.check.trial import open_program
    from xentcli.cli.progress import progress

    deadline = run.deadline(budget or run.BUDGET)
    subject, ordinary = open_program(command, deadline)
    try:
        with progress(f"checking {command}") as show:
            return run.check(subject, options, command, deadline, ordinary, show)
    finally:
        subject.stop()


def _named(beside: str) -> Named:
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


def _called(target: str, gradient: str | None, called: tuple[str | None, str | None]) -> Named:
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

"""check: anyone's loss against the atlas, the properties and a search."""

import click

from xentcli.cli.options import format_option, option, output_option
from xentcli.cli.screen import screen
from xentcli.errors import XentError

_EXIT_FAILED = 1
_EPILOG = """\b
Exit codes: 0 every check passed or was skipped, 1 one failed or was not reached,
2 bad usage or no such function, 130 interrupted."""


def complete_conventions(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a convention."""
    from xentcli.frameworks.conventions import CONVENTIONS

    return [name for name in CONVENTIONS if name.startswith(incomplete)]


@click.command(epilog=_EPILOG)
@click.argument("target")
@option(
    "--convention",
    metavar="NAME",
    help="How it is called, such as torch or numpy.rows; by default that of its library, or numpy.",
    shell_complete=complete_conventions,
)
@option(
    "--reduction",
    variable="XENT_CHECK_REDUCTION",
    type=click.Choice(("mean", "sum")),
    help="What the loss returns; by default one loss per example.",
)
@option(
    "--gradient",
    metavar="TARGET",
    help="Its gradient (N, C), a function of the same arguments; by default autodiff's.",
)
@option(
    "--max-ulps",
    type=click.FloatRange(min=0),
    help="The error allowed besides what rounding must cost; by default 4.",
)
@option("--only", multiple=True, metavar="NAME", help="Run only this check or category; may be repeated.")
@option("--skip", multiple=True, metavar="NAME=REASON", help="Skip this check or category; may be repeated.")
@option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed of the search.")
@option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop after this time; by default 120.",
)
@option(
    "--save-failures",
    metavar="DIR",
    help="Write the counterexamples of the search into DIR, a case file each.",
)
@format_option("table", "plain", "json", "junit", variable="XENT_CHECK_FORMAT")
@output_option
def check(  # noqa: PLR0913, PLR0917 - click hands over every option
    target: str,
    convention: str | None,
    reduction: str | None,
    gradient: str | None,
    max_ulps: float | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    seed: int,
    budget: float | None,
    save_failures: str | None,
    form: str,
    output: str | None,
) -> int:
    """Check a loss: the atlas, the properties of cross-entropy, and a search for failures that are new.

    TARGET is module:function or path/to/file.py:function. It is imported and called in a process of its own.

    \b
    Examples:
      xent check mine.py:loss
      xent check mine.py:loss --gradient mine.py:gradient --save-failures found
      xent check torch.nn.functional:cross_entropy --skip one-class="-0.0 will do"
      xent check optax:softmax_cross_entropy --convention optax.rows --only cancellation
    """
    from xentcli import formats
    from xentcli.check import run
    from xentcli.cli import output as outputs
    from xentcli.frameworks.conventions import find_convention
    from xentcli.frameworks.subject import InSubprocess
    from xentcli.show.report import closing, render

    try:
        formats.dtype("bfloat16")
    except XentError:
        click.echo("bfloat16 is skipped: ml_dtypes is not installed (pip install ml_dtypes)", err=True)
    options = run.Options(
        **({} if max_ulps is None else {"max_ulps": max_ulps}), only=only, skip=_reasons(skip), seed=seed
    )
    called = find_convention(convention, target, reduction)
    if save_failures is not None:
        _make_folder(save_failures)
    with outputs.opened(output) as write:
        deadline = run.deadline(budget or run.BUDGET)
        subject = InSubprocess(target, gradient, called, deadline)
        try:
            report = run.check(subject, options, target, deadline)
        finally:
            subject.stop()
        write(render(report, form, screen(output)))
    if save_failures is not None:
        _save(report.counterexamples, save_failures)
    click.echo(closing(report), err=True)
    return 0 if report.passed else _EXIT_FAILED


def _reasons(skip: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=REASON; raises XentError where there is no reason."""
    pairs = [word.partition("=") for word in skip]
    for name, _, reason in pairs:
        if not reason.strip():
            raise XentError(f"--skip {name}: give the reason: --skip {name or 'NAME'}=REASON")
    return {name: reason.strip() for name, _, reason in pairs}


def _make_folder(folder: str) -> None:
    """Make the folder for failures before anything is run; raises XentError where that fails."""
    import os
    from pathlib import Path

    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise XentError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise XentError(f"{folder}: cannot be written to")


def _save(cases: dict[str, str], folder: str) -> None:
    """Write cases under names that are free; one that is there already, word for word, is left."""
    from pathlib import Path

    from xentcli.cli import output

    for name, text in cases.items():
        path, number = Path(folder, f"{name}.yaml"), 1
        while path.exists() and path.read_text(encoding="utf-8") != text:
            number += 1
            path = Path(folder, f"{name}-{number}.yaml")
        with output.opened(str(path)) as write:
            write(text)
        click.echo(f"wrote {path}; 'xent run {path}' runs it", err=True)

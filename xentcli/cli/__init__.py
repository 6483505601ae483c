"""The command line: parse, call the pipeline, print, exit code. The only folder that imports click.

What a command needs is imported inside it, so that ``--help`` starts as fast as click itself.
"""

import sys

import click

from xentcli import __version__
from xentcli.cli.cases import cases
from xentcli.cli.check import check
from xentcli.cli.compare import compare
from xentcli.cli.diagnose import diagnose
from xentcli.cli.explain import explain
from xentcli.cli.export import export
from xentcli.cli.findings import findings
from xentcli.cli.identify import identify
from xentcli.cli.methods import methods
from xentcli.cli.new import new
from xentcli.cli.options import EPILOG
from xentcli.cli.run import run
from xentcli.cli.screen import width
from xentcli.cli.sweep import sweep
from xentcli.errors import XentError, printable_lines

# What a person wants to do → the commands for it, each with the line that help has of it.
_TASKS = {
    "Reproduce": {
        run: "Run cases: what is reproduced, what is right, and why.",
        compare: "Put methods side by side, on one case or on all.",
        new: "Write a case file to start from.",
    },
    "Explain": {
        explain: "Follow a method step by step to where its nan starts.",
        sweep: "Vary one quantity: from which value on is each method wrong?",
    },
    "My loss": {
        check: "Test a loss function of your own, or of a library.",
        export: "Write test vectors, for a loss that is tested without xent.",
    },
    "My dump": {diagnose: "Find the rows of a dump of logits that break a loss."},
    "Look up": {
        identify: "Say what a loss that is stuck at a value may mean.",
        cases: "List, search and show the bundled cases.",
        findings: "List the named causes of a wrong loss.",
        methods: "List the methods and the functions of frameworks.",
    },
}
_EXIT_REFUSED, _EXIT_INTERRUPTED = 2, 130
_HELP_WIDTH = 100


def main() -> int:
    """Run the command line; every refusal ends here as one message on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal shows é as \xe9
    try:
        code = xent.main(prog_name="xent", standalone_mode=False, terminal_width=min(width(), _HELP_WIDTH))
    except click.ClickException as error:
        vars(error)["message"] = printable_lines(error.message)
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return _EXIT_INTERRUPTED
    except XentError as error:
        click.echo(printable_lines(str(error)), err=True)
        return _EXIT_REFUSED
    except OSError as error:  # help, to a full disk; a file that nobody has looked at before
        name = "standard output" if error.filename is None else str(error.filename)
        click.echo(printable_lines(f"{name}: cannot be read or written: {error.strerror}"), err=True)
        return _EXIT_REFUSED
    return code if isinstance(code, int) else 0


class _Commands(click.Group):
    """Commands that help lists by what a person wants to do."""

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per task."""
        for task, commands in _TASKS.items():
            with formatter.section(task):
                formatter.write_dl([(str(command.name), line) for command, line in commands.items()])


def _print_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print the version and end; with -v also which backend evaluates large arrays."""
    if not asked or context.resilient_parsing:
        return
    click.echo(f"xent {__version__}")
    if context.params.get("verbose"):
        from xentcli.bulk.backend import in_use

        click.echo(f"large arrays: {in_use()}")
    context.exit()


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "verbose", is_flag=True, is_eager=True, expose_value=True, hidden=True)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit; with -v also what evaluates large arrays.",
)
def xent(verbose: bool) -> None:
    """Say why a cross-entropy loss is nan, stuck or wrong, and reproduce the experiments that show it.

    \b
    Examples:
      xent run abnormal                      a bundled case
      xent run mine.yaml --format json       a case of your own, for a program
      xent compare --methods all             every method on every bundled case
      xent explain abnormal                  why it went nan, step by step
      xent sweep --gap 0:120                 from which gap on a method is wrong
      xent check mine.py:loss                your own loss, against all of it
      xent export -o vectors.npz             true losses, for tests without xent
      xent diagnose logits.npy               a dump of logits: which rows go wrong
      xent identify 16.118                   what a stuck loss means
      xent findings log-of-zero              what a name means, and what to do
      xent cases --search "label smoothing"  a documented failure like yours
      xent new mine.yaml                     a case to start from
    """


for command in (command for commands in _TASKS.values() for command in commands):
    xent.add_command(command)

"""How far a long task is, on a terminal, and gone when the task is over."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from xentcli.cli.options import is_quiet
from xentcli.errors import printable

_PATIENCE = 1.0  # seconds until anybody wonders
_LONGEST = 60  # characters of a label: the line is erased as one


@contextmanager
def progress(label: str) -> Iterator[Callable[[float], None]]:
    """Yield what takes the share that is done, from 0 to 1, and shows it on standard error.

    Nothing is shown in the first second, with --quiet, or where standard error is no terminal.
    """
    started = time.monotonic()
    is_shown = sys.stderr is not None and sys.stderr.isatty() and not is_quiet()
    written = 0

    def show(share: float) -> None:
        nonlocal written
        if is_shown and time.monotonic() - started > _PATIENCE:
            line = f"{printable(label)[:_LONGEST]} {share:.0%}"
            click.echo(f"\r{line}", nl=False, err=True)
            written = len(line)

    try:
        yield show
    finally:
        if written:
            click.echo(f"\r{' ' * written}\r", nl=False, err=True)

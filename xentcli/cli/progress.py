"""How far a long task is, or that it goes on, on a terminal, and gone when the task is over."""

import sys
import threading
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
    started, is_shown, written = time.monotonic(), _is_shown(), 0

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


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Show on standard error what a task does whose share is unknown, where ``progress`` would."""
    is_over = threading.Event()

    def show() -> None:
        if not is_over.wait(_PATIENCE):
            click.echo(f"{label} …", nl=False, err=True)
            is_over.wait()
            click.echo(f"\r{' ' * (len(label) + 2)}\r", nl=False, err=True)

    if not _is_shown():
        yield
        return
    thread = threading.Thread(target=show)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _is_shown() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and not is_quiet()

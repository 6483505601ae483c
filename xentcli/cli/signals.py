"""Signals that end a command: each is an exception, so that files and processes are cleared up on the way."""

import signal
from types import FrameType
from typing import Final

_ENDING: Final = ("SIGTERM", "SIGHUP", "SIGQUIT")
_PATIENCE: Final = 5.0  # seconds: clearing up takes one or two, most of them for a process to end


class Ended(BaseException):
    """A signal other than Ctrl-C ended the command; ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def install() -> None:
    """Raise KeyboardInterrupt or Ended at the first signal; one that is ignored, as by nohup, stays so."""
    listen()
    for name in _ENDING:
        number = getattr(signal, name, None)  # Windows has SIGTERM alone
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def listen() -> None:
    """Raise KeyboardInterrupt at the next Ctrl-C, and ignore those after it, so that clearing up is whole."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN or _is_interrupted:
        _is_interrupted.clear()
        signal.signal(signal.SIGINT, _interrupt)


def heard() -> None:
    """Say that the exception arrived: it is not raised again."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def ignore() -> None:
    """Ignore further signals: what remains is to end."""
    heard()
    for name in ("SIGINT", *_ENDING):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


_is_interrupted: list[bool] = []  # one entry once Ctrl-C was pressed


def _interrupt(_: int, __: FrameType | None) -> None:
    _is_interrupted.append(True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _raise(KeyboardInterrupt())


def _end(number: int, _: FrameType | None) -> None:
    ignore()
    _raise(Ended(number))


def _raise(error: BaseException) -> None:
    """Raise an exception, and again after a while: in a callback of the interpreter it is lost."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: _raise(error))
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    raise error

"""The way in: ``xent`` and ``python -m xentcli``."""

import sys

# Objects before the first collection of garbage: imports make tens of thousands, none of them garbage.
_COLLECT_FROM = 1_000_000
_EXIT_INTERRUPTED, _EXIT_SIGNAL = 130, 128  # the latter and the signal's number, as shells count


def main() -> int:
    """Run the command line; Ctrl-C is 130 from the first import on."""
    import gc

    gc.set_threshold(_COLLECT_FROM)
    try:
        from xentcli import cli

        return cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _EXIT_INTERRUPTED


def program() -> None:
    """Run the command line as a program: with signals and standard streams of its own."""
    # To import signal itself takes milliseconds, in which Ctrl-C would be a traceback.
    import _signal  # type: ignore[import-not-found]

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # until signals.install: nothing is to be cleared up
    _leave_current_folder()
    import warnings

    from xentcli import streams

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what a library warns of says nothing to who typed a command
    streams.open_standard_streams()
    streams.keep_standard_streams()
    from xentcli.cli import signals

    signals.install()
    try:
        code = main()
    except signals.Ended as ended:
        code = _EXIT_SIGNAL + ended.number
    signals.ignore()
    sys.exit(code)


def _leave_current_folder() -> None:
    """Import nothing more from there: ``python -m`` and relative entries of PYTHONPATH would."""
    import os  # Python itself has imported it before

    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    relative = (entry for entry in entries if not os.path.isabs(entry))  # noqa: PTH117 - pathlib may lie there
    left = {os.path.realpath(entry) for entry in ("", *relative)}
    sys.path[:] = [
        entry for entry in sys.path if os.path.realpath(entry) not in left or entry.startswith(sys.prefix)
    ]


if __name__ == "__main__":
    program()

"""The way in: ``xent`` and ``python -m xentcli``."""

import os
import sys


def _forget_this_folder() -> None:
    """Import nothing more from the current folder, nor from relative entries of PYTHONPATH."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.environ.get("PYTHONPATH") else []
    here = {os.path.realpath(entry) for entry in entries if not os.path.isabs(entry)}  # noqa: PTH117 - pathlib may lie there
    here.add(os.path.realpath(os.curdir))
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) not in here]


if __name__ == "__main__" or os.path.basename(sys.argv[0]) == "xent":  # noqa: PTH119 - a program, not part of one
    _forget_this_folder()

import gc  # noqa: E402 - after the path is safe, as all imports
import warnings  # noqa: E402

from xentcli import streams  # noqa: E402

# Objects before the first collection of garbage: imports make tens of thousands, none of them garbage.
_COLLECT_FROM = 1_000_000
_EXIT_INTERRUPTED, _EXIT_SIGNAL = 130, 128  # the latter and the signal's number, as shells count


def main() -> int:
    """Run the command line; Ctrl-C is 130 from the first import on."""
    gc.set_threshold(_COLLECT_FROM)
    try:
        from xentcli import cli

        return cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _EXIT_INTERRUPTED


def program() -> None:
    """Run the command line as a program: with signals and standard streams of its own."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what a library warns of says nothing to who typed a command
    streams.open_standard_streams()
    streams.keep_standard_streams()
    try:
        from xentcli.cli import signals
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
    signals.install()
    try:
        code = main()
    except signals.Ended as ended:
        code = _EXIT_SIGNAL + ended.number
    signals.ignore()
    sys.exit(code)


if __name__ == "__main__":
    program()

"""The way in: ``xent`` and ``python -m xentcli``."""

import gc
import sys

# Objects before the first collection of garbage: imports make tens of thousands, none of them garbage.
_COLLECT_FROM = 1_000_000


def main() -> int:
    """Run the command line; Ctrl-C is 130 from the first import on."""
    gc.set_threshold(_COLLECT_FROM)
    try:
        from xentcli import cli

        return cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())

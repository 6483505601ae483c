"""The way in: ``xent`` and ``python -m xentcli``."""

import sys


def main() -> int:
    """Run the command line; Ctrl-C is 130 from the first import on."""
    try:
        from xentcli import cli

        return cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())

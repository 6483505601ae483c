"""Start-up of xent beside the imports it cannot do without: medians of one run, taken in turn.

Run it where xent is installed: python benchmarks/startup.py [rounds]
"""

import compileall
import statistics
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "cases"
CASES = [str(path) for path in sorted(FOLDER.glob("*.yaml"))]  # the blog's
XENT = str(Path(sys.executable).with_name("xent"))
COMMANDS = {
    "python -c 'import click'": [sys.executable, "-c", "import click"],
    "xent --help": [XENT, "--help"],
    "python -c 'import numpy, click, rich.console, rich.table, yaml'": [
        sys.executable,
        "-c",
        "import numpy, click, rich.console, rich.table, yaml",
    ],
    "xent run, the three cases": [XENT, "run", *CASES],
    "xent run, the three cases, drawn as on a terminal": ["env", "FORCE_COLOR=1", XENT, "run", *CASES],
    "xent run, one case": [XENT, "run", CASES[0]],
    "xent run, all cases": [XENT, "run", str(FOLDER)],
}


def seconds(command: list[str]) -> float:
    """Wall time of one process, its output read and thrown away."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Time the commands in turn and print medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    # Also where the environment says that no bytecode is written: else the compiler is measured.
    compileall.compile_dir(FOLDER.parent / "xentcli", quiet=1)
    for command in COMMANDS.values():
        seconds(command)  # warm the file cache and the bytecode
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{median * 1000:7.1f} ms  {name}")
    click, help_, imports, run, drawn, one, atlas = medians.values()
    print(f"xent --help is {help_ / click:.2f} × its import, at most 1.35 wanted")
    print(f"xent run is {run / imports:.2f} × its imports, at most 1.35 wanted")
    print(f"drawn as on a terminal, xent run is {drawn / imports:.2f} × its imports")
    print(f"xent run on all cases is {atlas / one:.2f} × that on one, at most 2.5 wanted")


if __name__ == "__main__":
    main()

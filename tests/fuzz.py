"""Cases and dumps by the thousand: none may end in anything but 0, 1 or 2, nor take long, nor much memory.

python tests/fuzz.py [--cases N] [--dumps N] [--pickles N] [--seed N]: the same call, the same inputs.
``fuzz_cases`` and ``fuzz_dumps`` make them; most of them load, so that what comes after the loader is tried
too. Of each kind of failure the smallest input is kept in ``.fuzz``, ready to become a test. Where torch is
installed, ``fuzz_torch`` makes pickles of tensors too.
"""

import argparse
import csv
import io
import json
import os
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from unittest.mock import patch
from xml.etree import ElementTree as ET

from html_pages import page
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from test_inert import assert_inert

from xentcli import __main__

KEPT = Path(__file__).parent.parent / ".fuzz"
MOST_SECONDS, MOST_BYTES = 10, 2**30  # seconds of the processor: what else runs here fails no input
LONGEST_WAIT = 60  # seconds of the clock, then an input waits for what never comes
_MANY = 400  # inputs: of fewer the share that loads is a matter of chance
MOST_LINES = 31  # of a refusal: ten problems of three lines, and how many more there are
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # what getrusage counts in


@dataclass(frozen=True, slots=True)
class Input:
    """A command line, standard input, and the files of the folder in which it is run."""

    arguments: tuple[str, ...]
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How much there is to read for who looks into it."""
        return sum(map(len, (*self.arguments, self.stdin, *self.files.values())))

    def keep(self, folder: Path) -> None:
        """Write it as files, with the command that runs it among them."""
        folder.mkdir(parents=True, exist_ok=True)
        command = shlex.join(["xent", *self.arguments])
        if self.stdin:
            (folder / "stdin").write_bytes(self.stdin)
            command += " < stdin"
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        (folder / "command").write_text(f"{command}\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float
    peak: int
    grown: int


class TookTooLongError(BaseException):
    """The time is up; no handler of a program takes it for an error of its own."""


@dataclass(slots=True)
class Tally:
    """What became of the inputs of one kind."""

    what: str
    codes: Counter[int] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    peak: int = 0
    failed: int = 0
    failures: dict[str, tuple[Input, str]] = field(default_factory=dict)

    def add(self, given: Input) -> None:
        """Run an input; keep it where it fails and no smaller one fails in the same way."""
        try:
            run = run_in_folder(given)
            problem = problem_of(given, run)
        except (Exception, TookTooLongError) as error:  # noqa: BLE001 - all that is no exit code
            run, problem = None, f"{place_of(error)}: {type(error).__name__}: {error}"
        if run is not None:
            self.codes[run.code] += 1
            self.slowest = max(self.slowest, (run.seconds, shlex.join(given.arguments)))
            self.peak = max(self.peak, run.peak)
        if problem:
            self.failed += 1
            kind = problem.split(": ")[0]
            if kind not in self.failures or given.size < self.failures[kind][0].size:
                self.failures[kind] = given, problem

    @property
    def share(self) -> float:
        """The share of inputs that got past the loader."""
        return (self.codes[0] + self.codes[1]) / max(1, self.codes.total())

    def __str__(self) -> str:
        """Return how they ended, the slowest and the peak of memory, and each failure."""
        ends = ", ".join(f"{number} with {code}" for code, number in sorted(self.codes.items()))
        seconds, arguments = self.slowest
        cost = f"peak {self.peak / 2**20:.0f} MiB; slowest {seconds:.1f} s: {arguments}"
        share = f"{self.failed} failed; {self.share:.0%} past the loader"
        lines = [f"{self.codes.total()} {self.what}: {ends}, {share}; {cost}"]
        for number, (smallest, problem) in enumerate(self.failures.values()):
            folder = KEPT / f"{self.what}-{number}"
            smallest.keep(folder)
            lines.append(f"FAILED {shlex.join(smallest.arguments)} ({folder}): {problem}")
        return "\n".join(lines)


def run_in_folder(given: Input) -> Run:
    """Run a command in an empty folder of its own, with its files."""
    folder = tempfile.mkdtemp(prefix="xent-fuzz-")
    before = Path.cwd()
    try:
        for name, data in given.files.items():
            Path(folder, name).write_bytes(data)
        os.chdir(folder)
        return run_here(given)
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


def run_here(given: Input) -> Run:
    """Run a command in this process; a warning counts as a word on standard error."""
    out, err = io.StringIO(), io.StringIO()
    stdin = io.TextIOWrapper(io.BytesIO(given.stdin))
    before, started = peak_memory(), time.process_time()
    with (
        patch("sys.argv", ["xent", *given.arguments]),
        patch("sys.stdin", stdin),
        redirect_stdout(out),
        redirect_stderr(err),
        warnings.catch_warnings(record=True) as warned,
        alarm(LONGEST_WAIT),
    ):
        warnings.simplefilter("always")
        code = __main__.main()
    err.writelines(
        f"{Path(each.filename).name}:{each.lineno} {each.category.__name__}: {each.message}\n"
        for each in warned
    )
    seconds, peak = time.process_time() - started, peak_memory()
    return Run(code, out.getvalue(), err.getvalue(), seconds, peak, peak - before)


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TookTooLongError when the time is up."""

    def ring(_: int, __: FrameType | None) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def problem_of(given: Input, run: Run) -> str | None:
    """Say what a run did that it must not: its kind, then the details; None where all is well."""
    try:
        assert run.code in {0, 1, 2}, f"exit code {run.code}"
        assert "Traceback" not in run.err, run.err.splitlines()[-1]
        assert "Warning" not in run.err, run.err.splitlines()[-1]
        assert run.seconds <= MOST_SECONDS, f"slow: {run.seconds:.1f} s"
        assert run.grown == 0 or run.peak <= MOST_BYTES, f"large: {run.peak / 2**20:.0f} MiB"
        assert_inert(run.out)
        assert_inert(run.err)
        if run.code == 2:
            assert_refused(given, run)
        else:
            assert_well_formed(given.arguments, run.out)
    except AssertionError as error:
        return str(error)
    except (ValueError, csv.Error, ET.ParseError) as error:
        return f"no {given.arguments[3]}: {error}"
    return None


def assert_refused(given: Input, run: Run) -> None:
    """Hold a refusal to one message, on standard error alone; one of a case may have several lines."""
    lines = run.err.splitlines()
    assert run.out == "", f"refused with results: {run.out[:200]!r}, {run.err[:200]!r}"
    assert 1 <= len(lines) <= (MOST_LINES if given.stdin else 1), f"several messages: {run.err[:500]!r}"


def assert_well_formed(arguments: tuple[str, ...], out: str) -> None:
    """Parse what is read by programs."""
    form = arguments[arguments.index("--format") + 1] if "--format" in arguments else ""
    if "-" in arguments[1:] and arguments[0] == "diagnose":  # the extracted case comes after the results
        return
    if form == "json":
        json.loads(out, parse_constant=_refuse)
    elif form == "csv":
        rows = list(csv.reader(io.StringIO(out), strict=True))
        assert len({len(row) for row in rows}) == 1, "rows of several lengths"
    elif form == "junit":
        assert ET.fromstring(out).tag == "testsuites"  # noqa: S314 - it is our own
    elif form == "html":
        page(out)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def place_of(error: BaseException) -> str:
    """Name the line of the package where an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "xentcli" in frame.filename] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def fuzz(what: str, inputs: st.SearchStrategy[Input], number: int, chosen: int) -> Tally:
    """Run so many inputs; the same numbers give the same ones."""
    tally = Tally(what)
    if not number:
        return tally
    limits = settings(
        max_examples=number,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(chosen)(limits(given(inputs)(tally.add)))()
    return tally


def main(arguments: list[str] | None = None) -> None:
    """Run the numbers asked for, say how they ended, and fail where one must not have ended so."""
    import fuzz_cases
    import fuzz_dumps

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--dumps", type=int, default=5_000)
    parser.add_argument("--pickles", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    started = time.perf_counter()
    tallies = [
        fuzz("cases", fuzz_cases.inputs(), asked.cases, asked.seed),
        fuzz("dumps", fuzz_dumps.inputs(), asked.dumps, asked.seed),
    ]
    if asked.pickles and find_spec("torch"):
        import fuzz_torch

        print(fuzz_torch.fuzz(asked.pickles, asked.seed))
    print(*tallies, f"{time.perf_counter() - started:.0f} s", sep="\n")
    assert not any(tally.failures for tally in tallies), f"see {KEPT}"
    many = [tally for tally in tallies if tally.codes.total() >= _MANY]
    assert all(tally.share >= 0.5 for tally in many), "half of them load, or what follows is not tried"


if __name__ == "__main__":
    main()

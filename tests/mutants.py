"""Mutants: small faults, put into the code one at a time. A mutant that no test notices survives.

python tests/mutants.py [--number N] [--seed N] draws N of mutmut's changes of the rooms below. Each is tried
in a copy of the tree by the tests that execute its lines, fastest first. Survivors: .mutants/survivors.diff.

mutmut's own runner is not used: it leaves out constants of modules and decorated functions, and it puts all
mutants of a file into that file, where the tests that read the package's files fail.
"""

import argparse
import difflib
import hashlib
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".mutants"
ROOMS = ["judge/**/*.py", "methods/**/*.py", "bulk/**/*.py", "diagnose/**/*.py", "check/**/*.py"]
MEMORY = 4 << 30  # bytes; a mutant may ask for an array of any size
PYTEST = ["-m", "pytest", "--quiet", "--exitfirst", "-p", "no:cacheprovider", "-p", "mutants"]

Seconds = dict[str, float]  # of each test
Touches = dict[str, dict[str, list[str]]]  # file → line → the tests that execute it


# This file is a plugin of pytest, too


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests chosen for a mutant, in their order."""
    if "MUTANT_TESTS" in os.environ:
        names = json.loads(Path(os.environ["MUTANT_TESTS"]).read_text(encoding="utf-8"))
        by_name = {item.nodeid: item for item in items}
        items[:] = [by_name[name] for name in names if name in by_name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let coverage note the test with each line that it executes."""
    if recorder := coverage.Coverage.current():
        recorder.switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how long a test takes."""
    if "TEST_SECONDS" in os.environ and report.when == "call" and report.passed:
        with Path(os.environ["TEST_SECONDS"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps([report.nodeid, report.duration]) + "\n")


def copy_tree(target: Path) -> str:
    """Copy all files that git does not ignore; return a digest of them."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256()
    for name in sorted(name for name in names.split("\0") if (ROOT / name).is_file()):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


def environment(tree: Path, **more: Path) -> dict[str, str]:
    """Return the variables of a Python that imports from a tree."""
    path = f"{tree}{os.pathsep}{tree / 'tests'}"
    return {**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in more.items()}}


def observe(tree: Path, digest: str) -> tuple[Seconds, Touches]:
    """Return what all tests take and touch: as observed before on the same files, else now, by coverage."""
    cache = CACHE / f"{digest}.json"
    if cache.exists():
        seconds, touches = json.loads(cache.read_text(encoding="utf-8"))
        return seconds, touches
    record = tree / ".seconds"
    command = [sys.executable, "-m", "coverage", "run", "--source=xentcli", *PYTEST]
    if subprocess.run(command, cwd=tree, env=environment(tree, TEST_SECONDS=record), check=False).returncode:
        sys.exit("a test fails without any mutant")
    seconds = dict(json.loads(line) for line in record.read_text(encoding="utf-8").splitlines())
    data = coverage.CoverageData(str(tree / ".coverage"))
    data.read()
    touches = {}
    for path in data.measured_files():
        lines = data.contexts_by_lineno(path).items()
        tests = {str(line): sorted(set(names) & set(seconds)) for line, names in lines}
        touches[str(Path(path).relative_to(tree))] = tests
    for old in CACHE.glob("*.json"):
        old.unlink()
    cache.write_text(json.dumps([seconds, touches]), encoding="utf-8")
    return seconds, touches


@dataclass(frozen=True)
class Mutant:
    """A change in some lines of a file by one of mutmut's operators; ``code`` is the file's new text."""

    path: str
    lines: range
    is_called: bool  # the lines are inside a function; others are executed by an import
    operator: str
    code: str

    def tests(self, seconds: Seconds, touches: Touches) -> list[str]:
        """Return the tests that touch its lines, or its file where an import executes them; fastest first.

        Coverage does not see what only other processes execute; any test of the room may start one.
        """
        lines = touches.get(self.path, {})
        numbers = map(str, self.lines) if self.is_called else lines
        names = {name for number in numbers for name in lines.get(number, [])}
        if not names:
            room = [path for path in touches if Path(path).parent == Path(self.path).parent]
            names = {name for path in room for tests in touches[path].values() for name in tests}
        return sorted(names, key=lambda name: (seconds[name], name))

    def survives(self, tests: list[str], limit: float, tree: Path) -> bool:
        """Try it in a tree: whether all tests pass within so many seconds."""
        path, names = tree / self.path, tree / ".tests"
        original = path.read_bytes()
        names.write_text(json.dumps(tests), encoding="utf-8")
        command = [sys.executable, *PYTEST, *sorted({name.split("::")[0] for name in tests})]
        variables = environment(tree, MUTANT_TESTS=names)
        replace(path, self.code.encode())
        nowhere = subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=tree, env=variables, stdout=nowhere, stderr=nowhere, start_new_session=True
        ) as process:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
            try:  # no test is left where a mutant removes the rows that tests are parametrised over
                return process.wait(limit) in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return False
            finally:
                replace(path, original)


def replace(path: Path, data: bytes) -> None:
    """Write a module, and leave no bytecode of another one of the same second and size."""
    path.write_bytes(data)
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def changes(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield mutmut's changes of a node, but those that alter only a message or stop the program at once."""
    import libcst
    from mutmut.mutation import mutators

    if isinstance(node, libcst.Float):  # mutmut adds 1, which no test of a tolerance of 1e-7 can miss
        yield "double", node.with_changes(value=repr(2 * node.evaluated_value or 1.0))
        return
    without = mutators.operator_string, mutators.operator_dict_arguments, mutators.operator_assignment
    operators: Any = mutators.mutation_operators
    for kind, operator in operators:
        if isinstance(node, kind) and operator not in without:
            for other in operator(node):
                if operator is not mutators.operator_arg_removal or len(other.args) < len(node.args):
                    yield operator.__name__.removeprefix("operator_"), other


def draw(number: int, seed: int) -> list[Mutant]:
    """Draw mutants: places without replacement, then one change of each."""
    import libcst
    from libcst.metadata import MetadataWrapper, PositionProvider

    def visit(node: Any, statement: Any, lines: Any, is_called: bool) -> Iterator[tuple[Any, range, bool]]:
        if isinstance(node, libcst.Annotation | libcst.Decorator | libcst.Import | libcst.ImportFrom):
            return
        statement = node if isinstance(node, libcst.BaseStatement) else statement
        if any(changes(node)):
            start, end = lines[statement].start.line, lines.get(node, lines[statement]).end.line
            yield node, range(start, end + 1), is_called
        for child in node.children:
            is_body = isinstance(node, libcst.FunctionDef | libcst.Lambda) and child is node.body
            yield from visit(child, statement, lines, is_called or is_body)

    places = []
    for file in (file for room in ROOMS for file in sorted((ROOT / "xentcli").glob(room))):
        tree = MetadataWrapper(libcst.parse_module(file.read_text(encoding="utf-8")))
        sites = visit(tree.module, tree.module, tree.resolve(PositionProvider), is_called=False)
        places += [(str(file.relative_to(ROOT)), tree.module, *site) for site in sites]
    rng = random.Random(seed)
    mutants = []
    for path, module, node, where, is_called in rng.sample(places, min(number, len(places))):
        operator, other = rng.choice(list(changes(node)))
        mutants.append(Mutant(path, where, is_called, operator, module.deep_replace(node, other).code))
    return mutants


def main() -> None:
    """Draw, try and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    mutants = draw(options.number, options.seed)
    CACHE.mkdir(exist_ok=True)
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        first, *others = (Path(folder, str(number)) for number in range(os.cpu_count() or 1))
        seconds, touches = observe(first, copy_tree(first))
        trees: SimpleQueue[Path] = SimpleQueue()
        for tree in (first, *(shutil.copytree(first, other) for other in others)):
            trees.put(tree)

        def attempt(mutant: Mutant) -> tuple[int, bool]:
            tests = mutant.tests(seconds, touches)
            limit = 20 + 3 * sum(seconds[name] for name in tests)  # seconds; a start takes 4
            tree = trees.get()
            try:
                return len(tests), not tests or mutant.survives(tests, limit, tree)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(1 + len(others)) as pool, (CACHE / "survivors.diff").open("w") as report:
            outcomes = zip(mutants, pool.map(attempt, mutants), strict=True)
            for number, (mutant, (tests, survives)) in enumerate(outcomes, 1):
                line = f"{mutant.path}:{mutant.lines[0]} {mutant.operator}, {tests} tests: "
                print(f"{number}/{len(mutants)} {line}{'survives' if survives else 'killed'}", flush=True)
                if survives:
                    survivors += 1
                    old = (ROOT / mutant.path).read_text(encoding="utf-8")
                    names = f"a/{mutant.path}", f"b/{mutant.path}"
                    patch = difflib.unified_diff(
                        old.split("\n"), mutant.code.split("\n"), *names, lineterm=""
                    )
                    print(f"# {line}none fails", *patch, "", sep="\n", file=report, flush=True)
    print(f"{survivors} of {len(mutants)} mutants survive; see {CACHE.name}/survivors.diff")


if __name__ == "__main__":
    main()

"""The baselines in results/baselines say what real libraries fail today, so and no worse.

Those marked ``frameworks`` run the libraries, two at a time.
"""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from baselines import FOLDER, LIBRARIES, command, is_installed
from conftest import ROOT

from xentcli.check.baseline.entries import read_baseline
from xentcli.check.report import SUITE

Runs = dict[str, "Future[subprocess.CompletedProcess[str]]"]
TEST = "test_a_library_fails_what_its_baseline_lists_and_nothing_else"
AT_ONCE = 2  # processors of the smallest machine that CI runs on


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Runs]:
    """Start the libraries of all tests that are to run."""
    asked = {item.name for item in request.session.items}
    chosen = [name for name in LIBRARIES if f"{TEST}[{name}]" in asked and is_installed(name)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(check, name) for name in chosen}


def check(name: str) -> "subprocess.CompletedProcess[str]":
    call, environment = command(name, "--format=json")
    return subprocess.run(
        call, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )


@pytest.mark.frameworks
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_fails_what_its_baseline_lists_and_nothing_else(runs: Runs, name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"{LIBRARIES[name].module} is not installed; .ci/run tests with it")
    run = runs[name].result()
    assert run.stdout, run.stderr
    document = json.loads(run.stdout)
    held = document["baseline"]

    assert [(each["check"], each["message"]) for each in held["new"]] == []
    assert held["remove"] == []
    left_out = [each["name"] for each in document["checks"] if each["status"] == "skipped"]
    # What took too long on this machine has no failure to compare: its entries are unused, and no others.
    entries = read_baseline(str(FOLDER / f"{name}.toml")).entries
    assert held["unused"] == sum(entry.check in left_out for entry in entries)
    assert document["summary"]["not_reached"] == 0
    assert run.returncode == 0


def test_every_library_has_a_baseline_of_this_suite() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == LIBRARIES.keys()
    for name in LIBRARIES:
        assert read_baseline(str(FOLDER / f"{name}.toml")).suite == SUITE


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_reason_is_a_sentence_and_a_link_is_one_of_the_atlas(name: str) -> None:
    entries = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))["known"]
    cases = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "cases").rglob("*.yaml"))
    known = (ROOT / "results" / "known.toml").read_text(encoding="utf-8") + cases

    assert entries
    for entry in entries:
        assert entry["reason"][0].isupper()
        assert entry["reason"].endswith(".")
        assert f"{entry.get('url', '')}\n" in known or f'{entry.get("url", "")}"' in known

"""A few of the inputs of ``make fuzz``, and a larger share of them among the slow tests."""

import subprocess
import sys
from pathlib import Path

import fuzz_cases
import pytest

from xentcli.load.keys import KEY_NAMES


@pytest.mark.parametrize(
    ("cases", "dumps", "seed"), [(30, 10, 0), pytest.param(1500, 500, 1, marks=pytest.mark.slow)]
)
def test_cases_and_dumps_end_as_promised(cases: int, dumps: int, seed: int) -> None:
    """In a process of its own: the memory of the tests before it is not its own."""
    numbers = {"cases": cases, "dumps": dumps, "pickles": 0, "seed": seed}
    options = [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
    script = Path(__file__).with_name("fuzz.py")

    run = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_every_key_of_a_case_is_tried() -> None:
    assert tuple(fuzz_cases.VALUES.keys()) == KEY_NAMES

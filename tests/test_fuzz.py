"""A few of the inputs of ``make fuzz``, and a larger share of them among the slow tests."""

import fuzz
import fuzz_cases
import pytest

from xentcli.load.keys import KEY_NAMES


def test_cases_and_dumps_end_as_promised() -> None:
    fuzz.main(["--cases", "150", "--dumps", "50", "--pickles", "0"])


@pytest.mark.slow
def test_more_cases_and_dumps_end_as_promised() -> None:
    fuzz.main(["--cases", "1500", "--dumps", "500", "--pickles", "0", "--seed", "1"])


def test_every_key_of_a_case_is_tried() -> None:
    assert tuple(fuzz_cases.VALUES.keys()) == KEY_NAMES

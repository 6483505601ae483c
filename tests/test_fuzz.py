"""A few thousand of the broken case files of ``make fuzz``."""

import fuzz
import pytest


@pytest.mark.slow
def test_no_broken_case_file_ends_in_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fuzz", "5000"])

    fuzz.main()

"""Broken case files: the programs of ``tests/fuzz.py``, fewer of them."""

import fuzz
import pytest


@pytest.mark.slow
def test_no_broken_case_file_ends_in_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["fuzz", "2000"])

    fuzz.main()

"""xentcli.testing and docs/check.md: a test suite takes the checks as the page says."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import ROOT
from losses import right, wrong
from test_docs import write_files

from xentcli import testing
from xentcli.check.plan import CONTRACT
from xentcli.check.properties import PROPERTIES
from xentcli.errors import XentError
from xentcli.frameworks.conventions import CONVENTIONS


def table_of(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_page_has_every_convention_property_and_item_of_the_contract() -> None:
    page = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
    called = ((f"`{c.name}`", f"`{c.signature}`", c.library) for c in CONVENTIONS.values())

    assert table_of(called) in page
    assert table_of((f"`{each.name}`", each.asserts) for each in PROPERTIES) in page
    assert table_of((f"`{name}`", asserts) for name, asserts in CONTRACT.items()) in page


@pytest.mark.parametrize("name", ["numpy", pytest.param("torch", marks=pytest.mark.frameworks)])
def test_the_examples_of_a_test_suite_pass(name: str, tmp_path: Path) -> None:
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed; .ci/run tests with it")
    write_files(ROOT / "docs" / "check.md", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{name}_loss.py"]

    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout
    assert int(run.stdout.split()[-4]) > 50  # … passed in 1.23s


def test_a_suite_sees_what_is_wrong() -> None:
    with pytest.raises(AssertionError) as raised:
        testing.check_loss(wrong.labels_wrap, only="invalid-labels")

    assert "example 1 is 0.40760598, though its label is invalid (float32" in str(raised.value)


def test_a_suite_gives_the_options_of_the_command() -> None:
    testing.check_loss(right.mean, reduction="mean", only=["blog", "search"], max_ulps=4, seed=1)
    testing.check_loss(right.rows, "numpy.rows", gradient=right.gradient_of_rows, only="properties")
    with pytest.raises(AssertionError, match="gradient of example 0 is wrong"):
        testing.check_loss(right.log1p, gradient=wrong.gradient_of_the_other_sign, only="blog")
    with pytest.raises(XentError, match="unknown convention 'numpi'"):
        testing.check_loss(right.log1p, "numpi")


def test_gradients_are_a_check_where_there_are_any() -> None:
    assert "differentiable" not in testing.checks(right.log1p)
    assert "differentiable" in testing.checks(right.log1p, gradient=right.gradient)

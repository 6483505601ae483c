"""xentcli.testing, docs/check.md and check-reference.md: a test suite takes the checks as the pages say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from losses import right, wrong
from test_docs import write_files

from xentcli import testing
from xentcli.errors import XentError


@pytest.mark.parametrize(
    "name",
    [pytest.param("numpy", marks=pytest.mark.slow), pytest.param("torch", marks=pytest.mark.frameworks)],
)
def test_the_examples_of_a_test_suite_pass(name: str, tmp_path: Path) -> None:
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed; .ci/run tests with it")
    done = run_the_example(f"test_{name}_loss.py", tmp_path)

    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 50


@pytest.mark.slow
def test_the_example_of_the_plug_in_passes(tmp_path: Path) -> None:
    done = run_the_example("test_better_loss.py", tmp_path, "-k", "tail-collapse[float32]")

    assert done.returncode == 0, done.stdout
    assert "1 passed, " in done.stdout


def run_the_example(name: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    for page in ("check.md", "check-reference.md"):
        write_files(ROOT / "docs" / page, folder)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


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

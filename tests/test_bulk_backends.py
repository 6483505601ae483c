"""NumPy and the compiled kernels say the same of any row, and which of them is used."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bulk_backends import HAS_NUMBA, needs_numba
from test_bulk import every_dtype, rows_of_every_kind

from xentcli import bulk, formats
from xentcli.bulk import backend
from xentcli.errors import XentError


def difference(one: Any, other: Any, dtype: str) -> float:
    """Return the largest difference in ulps; infinite where only one of two numbers is finite."""
    form = formats.FORMATS[dtype]
    one, other = one.astype(np.float64), other.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    exponent = np.maximum(np.frexp(np.where(np.isfinite(other), other, 1))[1] - 1, form.emin)
    with np.errstate(invalid="ignore"):
        ulps = np.abs(one - other) / np.ldexp(1.0, exponent - form.precision + 1)
    return float(np.where(same, 0, np.where(np.isnan(ulps), math.inf, ulps)).max(initial=0))


@needs_numba
@every_dtype
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 50, 56, 57, 100, 257, 1000, 4097])
def test_both_backends_say_the_same_of_any_row(dtype: str, classes: int) -> None:
    x, k = rows_of_every_kind(dtype, classes, 40_000 // classes + 30 if classes < 400 else 60)
    numpy, fast = (bulk.losses_and_gradient(x, k, ignore_index=-100, backend=b) for b in backend.BACKENDS)

    # Losses are within 0.55 ulps, of float64 the same; entries within 2.5 by exp and two roundings each.
    assert difference(fast[0], numpy[0], dtype) <= 1
    # NumPy's of half formats may be 0 below 2^-40, as exp is below 2^-126 of a sum above e^-57.
    one, other = (
        np.where(np.abs(both[1].astype(np.float64)) < 2.0**-40, 0, both[1]) for both in (fast, numpy)
    )
    assert difference(one, other, dtype) <= 5


@needs_numba
def test_a_processor_without_float16_goes_to_numpy() -> None:
    program = (
        "import llvmlite.binding as binding; binding.get_host_cpu_features = dict; "
        "binding.get_process_triple = lambda: 'x86_64-linux'; "
        "from xentcli.bulk.backend import in_use; print(in_use())"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={})
    assert said.stdout.startswith("numpy ")


@pytest.mark.parametrize("name", ["numpy", pytest.param("fast", marks=needs_numba)])
@pytest.mark.parametrize("classes", [2, 300])
@pytest.mark.parametrize(("dtype", "largest"), [("float16", 65504.0), ("float32", 3.4028234663852886e38)])
def test_a_mask_has_no_part_beside_the_smallest_logit(
    dtype: str, largest: float, classes: int, name: str
) -> None:
    x = np.full((2, classes), -math.inf, dtype)
    x[:, 1] = [-largest, largest]
    losses, gradient = bulk.losses_and_gradient(x, np.array([1, 1]), backend=name)

    assert losses.tolist() == [0, 0]
    assert not gradient.any()


def test_a_backend_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, k = np.zeros((2, 3)), np.zeros(2, int)
    with pytest.raises(XentError, match="backend is 'gpu'; expected numpy or fast"):
        bulk.losses(x, k, backend="gpu")
    monkeypatch.setenv("XENT_BACKEND", "quick")
    with pytest.raises(XentError, match="XENT_BACKEND is 'quick'; expected numpy or fast"):
        bulk.losses(x, k)


def test_without_numba_numpy_is_used_and_fast_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XENT_BACKEND", raising=False)
    monkeypatch.setattr(backend, "_import", lambda: "No module named 'numba'")

    assert backend.in_use() == f"numpy {np.__version__}"
    with pytest.raises(XentError, match="needs numba: pip install"):
        bulk.losses(np.zeros((2, 3)), np.zeros(2, int), backend="fast")


@needs_numba
def test_where_numba_finds_no_folder_to_write_to_numpy_is_used(tmp_path: Path) -> None:
    code = (
        "import numba.core.caching as c; c.CacheImpl._locator_classes = []; import numpy as np; "
        "from xentcli import bulk; from xentcli.bulk.backend import in_use; "
        "print(in_use(), bulk.losses(np.zeros((1, 2)), np.zeros(1, int)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert run.stdout == f"numpy {np.__version__} [0.69314718]\n"


@pytest.mark.parametrize("forced", ["numpy", pytest.param("fast", marks=needs_numba)])
def test_the_version_says_with_v_which_backend_is_in_use(
    forced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XENT_BACKEND", forced)
    for arguments in (["--version", "-v"], ["-v", "--version"]):
        program = [sys.executable, "-m", "xentcli", *arguments]
        said = subprocess.run(program, capture_output=True, text=True, check=True).stdout

        assert said.splitlines()[1].startswith(f"large arrays: {forced}")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "abnormal"]], ids=" ".join)
def test_numba_is_not_imported_to_run_or_to_help(arguments: list[str]) -> None:
    code = (
        "import sys; from xentcli import cli; sys.argv[1:] = %r; cli.main(); "
        "sys.exit('numba' in sys.modules or 'xentcli.bulk.fast' in sys.modules)"
    )

    assert not subprocess.run(
        [sys.executable, "-c", code % arguments], capture_output=True, check=False
    ).returncode
    assert HAS_NUMBA or "numba" not in sys.modules

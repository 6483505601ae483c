"""The facts of rows by the compiled kernels are those by NumPy: the same rules, and losses to 2^-32."""

import numpy as np
import pytest
from bulk_backends import needs_numba
from test_bulk import rows_of_every_kind

from xentcli.diagnose.columns import columns_of
from xentcli.diagnose.rules import rules_for


@needs_numba
@pytest.mark.filterwarnings("ignore")  # nan and infinities are compared
@pytest.mark.parametrize("classes", [2, 10, 50, 128, 129, 256, 257, 1000, 4097])
def test_both_backends_find_the_same_in_any_row(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, k = rows_of_every_kind("float32", classes, 300)
    rules, found = rules_for("float32"), {}
    for backend in ("numpy", "fast"):
        monkeypatch.setenv("XENT_BACKEND", backend)
        found[backend] = columns_of(x, np.asarray(k), rules, -100)
    one, other = found.values()

    assert np.array_equal(one.bits, other.bits)
    assert np.array_equal(one.low, other.low, equal_nan=True)
    assert np.array_equal(one.high, other.high, equal_nan=True)
    same = (one.loss == other.loss) | (np.isnan(one.loss) & np.isnan(other.loss))
    assert (same | (np.abs(one.loss - other.loss) <= 2.0**-32 * np.abs(other.loss))).all()  # 2^-32.9 each

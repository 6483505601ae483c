"""The facts of rows by the compiled kernels are those by NumPy: the same rules, and losses to 2^-32."""

import mpmath
import numpy as np
import pytest
from bulk_backends import needs_numba
from test_bulk import rows_of_every_kind

from xentcli import formats
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


@needs_numba
@pytest.mark.parametrize("classes", [10, 300])
def test_losses_that_rounding_makes_large_are_told_from_those_that_it_does_not(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of losses near 69 the sum is 2^100, above which kernels refuse rows."""
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (3000, classes)).astype(np.float32)
    k = random.integers(0, classes, 3000)
    x[np.arange(3000), k] -= random.uniform(68.3, 69.3, 3000).astype(np.float32)
    rules, found = rules_for("float32"), []
    for backend in ("numpy", "fast"):
        monkeypatch.setenv("XENT_BACKEND", backend)
        found.append(columns_of(x, k, rules, -100).bits)

    assert np.array_equal(found[0], found[1])


def losses_of(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return the losses (n,) of float32 logits in long double, as the definition has them."""
    wide = x.astype(np.longdouble)
    terms = np.exp(wide - wide[np.arange(len(k)), k][:, None])
    terms[np.arange(len(k)), k] = 0
    return np.log1p(terms.sum(axis=1))


@pytest.mark.parametrize("backend", ["numpy", pytest.param("fast", marks=needs_numba)])
@pytest.mark.parametrize("classes", [3, 50, 129, 1000])
@pytest.mark.parametrize("form", ["float16", "bfloat16"])
def test_rounded_logits_are_found_in_rows_of_any_size(
    form: str, classes: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes about those from which the kernels expand exp, up to half a format's largest, and ties."""
    monkeypatch.setenv("XENT_BACKEND", backend)
    random = np.random.default_rng(classes)
    sizes = np.repeat([1e-5, 0.3, 1.99, 2.01, 15.9, 16.1, 63.9, 64.1, 511, 513, 3e4, 6.5e4], 60)[:, None]
    x = (random.uniform(-1, 1, (len(sizes), classes)) * sizes).astype(np.float32)
    x[::3] = formats.stored(x[::3].astype(np.float64), "float16").astype(np.float32)  # ties of bfloat16
    k = random.integers(0, classes, len(x))
    x[np.arange(len(k)), k] += np.where(random.random(len(k)) < 0.5, sizes[:, 0], 0).astype(np.float32)
    rounded = formats.stored(x.astype(np.float64), form).astype(np.float32)
    with np.errstate(all="ignore"):
        true, other = losses_of(x, k), losses_of(rounded, k)
        off = ~(np.abs(other - true) <= np.longdouble(0.01) * true)
        sure = (np.abs(np.abs(other - true) / true - 0.01) > 1e-9) & (true < 1e4) & (true > 1e-300)

    rules = rules_for("float32")
    bit = next(at for at, rule in enumerate(rules) if rule.finding == "rounded-logits" and rule.name == form)
    found = columns_of(x, k, rules, -100).applies(bit)

    assert 0 < (off & sure).sum() < sure.sum()
    assert np.array_equal(found[sure], off[sure])


@needs_numba
def test_the_compiled_log1p_is_right_to_2_to_the_minus_38() -> None:
    from xentcli.bulk.kernels import LOSSES

    random = np.random.default_rng(0)
    edges = [2.0**-1074, 2.0**-53, 2.0**-52, 0.41421356237309503, 0.4142135623730951, 1.0, 2.0**100]
    t = np.concatenate([10.0 ** random.uniform(-300, 30, 1000), random.uniform(0, 3, 1000), edges])
    found, nothing = np.empty_like(t), np.empty(2)
    LOSSES["float64"](t, found)
    LOSSES["float64"](np.array([0, np.nan]), nothing)
    with mpmath.workprec(200):
        errors = [
            abs(mpmath.mpf(one) / mpmath.log1p(mpmath.mpf(x)) - 1) for x, one in zip(t, found, strict=True)
        ]

    assert max(errors) < mpmath.mpf(2) ** -38
    assert nothing[0] == 0
    assert np.isnan(nothing[1])

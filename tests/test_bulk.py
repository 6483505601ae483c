"""Losses of large arrays: at most 1 ulp, any format and layout, bounded memory, no tail lost."""

import math
import tracemalloc
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xentcli import bulk, formats
from xentcli.errors import XentError
from xentcli.judge.exact import exact
from xentcli.load.build import build_batch

inf, nan = math.inf, math.nan
DTYPES = ("float16", "bfloat16", "float32", "float64")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def stored(values: Any, dtype: str) -> Any:
    array = formats.stored(np.asarray(values, np.float64), dtype)
    array.flags.writeable = False
    return array


def truth(x: Any, k: Any) -> Any:
    """Evaluate log Σ exp(x_j - x_k) row by row with mpmath, at 200 bits."""
    with mpmath.workprec(200):
        rows = zip(x.astype(np.float64).tolist(), k.tolist(), strict=True)
        return [
            mpmath.log1p(mpmath.fsum(mpmath.exp(mpmath.mpf(v) - row[i]) for j, v in enumerate(row) if j != i))
            for row, i in rows
        ]


def worst(got: Any, wanted: Any, dtype: str) -> float:
    """Return the largest error in ulps, against mpmath's numbers or those of a wider format."""
    errors = []
    for value, true in zip(got.astype(np.float64).tolist(), wanted, strict=True):
        with mpmath.workprec(200):
            exponent = max(int(mpmath.floor(mpmath.log(true, 2))), formats.FORMATS[dtype].emin) if true else 0
            unit = mpmath.mpf(2) ** (exponent - formats.FORMATS[dtype].precision + 1)
            errors.append(float(abs(value - true) / unit))
    return max(errors)


@every_dtype
@pytest.mark.parametrize("classes", [2, 3, 10, 300, 1000])
@pytest.mark.parametrize("scale", [0.1, 1, 5, 20])
def test_at_most_1_ulp_from_mpmath(dtype: str, classes: int, scale: float) -> None:
    random = np.random.default_rng(classes)
    rows = 1500 // classes if classes < 300 else 2
    x = random.normal(scale=scale, size=(rows, classes))
    k = np.where(random.random(rows) < 0.5, x.argmax(axis=1), random.integers(0, classes, rows))
    x[np.arange(rows), k] += random.choice([0.0, 3.0, 8.0, 20.0], rows)
    x += random.choice([0.0, 0.0, -60.0, 100.0, 1000.0], rows)[:, None]
    x = stored(x, dtype)

    assert worst(bulk.losses(x, k), truth(x, k), dtype) <= 1


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("classes", [5_000, 32_000, 262_144])
def test_at_most_1_ulp_at_large_vocabularies(dtype: str, classes: int) -> None:
    random = np.random.default_rng(classes)
    x = random.normal(scale=3, size=(8, classes))
    k = random.integers(0, classes, 8)
    x[np.arange(8), k] += [0, 5, 10, 15, 20, 25, 30, 40]
    x = stored(x, dtype)
    wide = x.astype(np.longdouble)  # 40 bits more than a float32 has
    terms = np.exp(wide - wide[np.arange(8), k][:, None])
    terms[np.arange(8), k] = 0

    assert np.finfo(np.longdouble).nmant > 52
    assert worst(bulk.losses(x, k), [mpmath.mpf(str(t)) for t in np.log1p(terms.sum(axis=1))], dtype) <= 1


@every_dtype
@given(data=st.data())
def test_any_small_batch_agrees_with_the_exact_loss_to_1_ulp(dtype: str, data: st.DataObject) -> None:
    classes = data.draw(st.integers(1, 5))
    numbers = st.floats(-300, 300, width=32) | st.just(-inf)
    rows = data.draw(st.lists(st.lists(numbers, min_size=classes, max_size=classes), min_size=1, max_size=4))
    k = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=len(rows), max_size=len(rows))))
    x = stored(rows, dtype)
    wanted = exact(build_batch(x, k, dtype), dtype, "none").losses

    for value, true in zip(bulk.losses(x, k).astype(np.float64).tolist(), wanted, strict=True):
        error = formats.ulps(value, true, formats.FORMATS[dtype])
        assert math.isnan(value) if true.is_nan() else error is not None and error <= 1
        assert value > 0 or not formats.nearest(true, formats.FORMATS[dtype]) > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gap", [1.0, 20.0, 60.0, 87.0, 95.0, 103.0, 104.0, 700.0, 740.0])
def test_no_tail_is_lost_however_many_classes_there_are(dtype: str, gap: float) -> None:
    for classes in (2, 5000):
        x = np.full((1, classes), -gap)
        x[0, -1] = 0
        x = stored(x, dtype)
        (loss,) = bulk.losses(x, np.array([classes - 1])).tolist()
        with mpmath.workprec(200):
            wanted = mpmath.log1p((classes - 1) * mpmath.exp(-gap))

        assert worst(np.array([loss]), [wanted], dtype) <= 1


def test_equal_logits_do_not_add_up_one_error_of_exp() -> None:
    gaps = np.linspace(1, 80, 20_000, dtype=np.float32)
    errors = np.abs(np.exp(-gaps).astype(np.float64) / np.exp(-gaps.astype(np.float64)) - 1)
    for gap in gaps[np.argsort(errors)[-5:]].tolist():  # where NumPy's exp is worst
        x = np.full((1, 5000), -gap, np.float32)
        x[0, 0] = 0
        with mpmath.workprec(200):
            wanted = mpmath.log1p(4999 * mpmath.exp(-gap))

        assert worst(bulk.losses(x, np.array([0])), [wanted], "float32") <= 1


@every_dtype
def test_layout_and_byte_order_do_not_matter(dtype: str) -> None:
    random = np.random.default_rng(3)
    x, k = stored(random.normal(scale=4, size=(40, 700)), dtype), random.integers(0, 700, 40)
    wide = np.zeros((80, 1400), x.dtype)
    wide[::2, ::2] = x
    layouts = [np.asfortranarray(x), wide[::2, ::2]]
    if dtype != "bfloat16":  # it has one byte order
        layouts.append(x.astype(x.dtype.newbyteorder(">")))
    wanted = bulk.losses(x, k)

    assert wanted.dtype == x.dtype
    for other in layouts:
        assert np.array_equal(bulk.losses(other, k), wanted)
        assert np.array_equal(bulk.losses_and_gradient(other, k)[1], bulk.losses_and_gradient(x, k)[1])
    assert np.array_equal(bulk.losses(x, k, threads=1), bulk.losses(x, k, threads=3))
    assert np.array_equal(bulk.losses(x, k.astype(np.uint16)), wanted)


def test_float16_is_rounded_to_as_numpy_rounds() -> None:
    random = np.random.default_rng(8)
    x = random.choice([-1, 1], (50, 3000)) * 2.0 ** random.uniform(-30, 0, (50, 3000))
    x[0, :6] = [0, -0.0, 2.0**-24, 2.0**-25, 3 * 2.0**-25, nan]
    x = x.astype(np.float32)
    with np.errstate(all="ignore"):
        wanted = x.astype(np.float16)

    got = formats.to_float16(x)

    assert np.array_equal(got, wanted, equal_nan=True)
    assert np.array_equal(np.signbit(got), np.signbit(wanted))


def test_masks_infinities_and_labels_are_those_of_the_sparse_form() -> None:
    x = stored(
        [
            [1, -inf, 3],
            [-inf, 0, 0],
            [inf, 0, 0],
            [0, inf, 0],
            [nan, 0, 0],
            [-inf] * 3,
            [1, 2, 3],
            [1, 2, 3],
            [nan] * 3,
        ],
        "float32",
    )
    k = np.array([0, 0, 0, 0, 1, 0, 3, -1, -100])

    losses, gradient = bulk.losses_and_gradient(x, k, ignore_index=-100)

    assert losses[0] == np.float32(2.126928)
    assert losses[1] == inf
    assert np.isnan(losses[2:8]).all()
    assert losses[8] == 0
    assert np.isfinite(gradient[:2]).all()
    assert gradient[1].tolist() == [-1, 0.5, 0.5]
    assert np.isnan(gradient[2:8]).all(axis=1).all()
    assert not gradient[8].any()


@every_dtype
@pytest.mark.parametrize("classes", [2, 10, 5000])
def test_gradients_agree_with_the_exact_ones(dtype: str, classes: int) -> None:
    random = np.random.default_rng(5)
    rows = 12 if classes < 100 else 1
    x = random.normal(scale=3, size=(rows, min(classes, 40)))
    x = np.tile(x, -(-classes // x.shape[1]))[:, :classes]  # many are alike: the exact ones come fast
    k = x.argmax(axis=1)
    x[np.arange(rows), k] += random.choice([0.0, 10.0, 25.0], rows)
    x = stored(x, dtype)
    wanted = exact(build_batch(x, k, dtype), dtype, "none").gradients

    _, gradient = bulk.losses_and_gradient(x, k)

    # exp in float32 (2.5 ulps), a product and the quotient rounded: 5 units of the entry
    form = formats.FORMATS[dtype]
    unit = np.ldexp(
        1.0, np.maximum(np.frexp(np.abs(np.array(wanted)))[1] - 1, form.emin) - form.precision + 1
    )
    assert (np.abs(gradient.astype(np.float64) - np.array(wanted)) <= 5 * unit).all()
    if dtype == "float64":
        assert np.abs(gradient.sum(axis=1) / np.abs(gradient).max(axis=1)).max() < 1e-12


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((3000, 2000), "float32"),
        ((3000, 2000), "float16"),
        ((60, 100_000), "float64"),
        ((300_000, 20), "float32"),
    ],
)
def test_a_thread_works_in_less_than_8_mib(shape: tuple[int, int], dtype: str) -> None:
    random = np.random.default_rng(6)
    x = random.standard_normal(shape).astype(dtype)
    k = x.argmax(axis=1)
    x[np.arange(len(x)), k] += 9  # all losses are small: everything is evaluated again
    of_rows = len(x) * 8 * 16  # what is known of each row, and of its label

    tracemalloc.start()
    bulk.losses(x, k, threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8 * 2**20 + of_rows


def test_nothing_is_written_to_what_is_given_and_none_of_it_is_needed_twice() -> None:
    x, k = stored(np.zeros((0, 3)), "float32"), np.zeros(0, np.int64)

    assert bulk.losses(x, k).shape == (0,)
    assert bulk.losses_and_gradient(x, k)[1].shape == (0, 3)
    assert bulk.losses(stored([[5.0], [-1e30]], "float32"), np.array([0, 0])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3), np.int64), np.zeros(2, int), "logits are int64 of shape (2, 3)"),
        (np.zeros((2, 3), complex), np.zeros(2, int), "logits are complex128"),
        (
            np.zeros(3),
            np.zeros(3, int),
            "of shape (3,); wanted are float16, bfloat16, float32, float64 of shape (N, C)",
        ),
        (np.zeros((3, 0)), np.zeros(3, int), "C at least 1"),
        (np.zeros((2, 3)), np.zeros(3, int), "labels are int64 of shape (3,); wanted are class indices (2,)"),
        (np.zeros((2, 3)), np.zeros(2), "labels are float64"),
    ],
)
def test_what_is_no_batch_is_refused(logits: Any, labels: Any, message: str) -> None:
    with pytest.raises(XentError) as refused:
        bulk.losses(logits, labels)

    assert message in str(refused.value)


def test_what_one_thread_raises_is_raised_and_ends_the_others() -> None:
    done: list[int] = []
    rows = bulk.Rows(np.zeros((10, 2**20), np.float32), np.zeros(10, int), None)

    def evaluate(part: slice, _: bulk.Memory) -> None:
        done.append(part.start)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bulk.in_blocks(rows, evaluate, threads=2)
    assert len(done) <= 2

"""Losses of large arrays: at most 1 ulp, any format and layout, bounded memory, no tail lost."""

import math
import tracemalloc
from typing import Any

import mpmath
import numpy as np
import pytest
from bulk_backends import HAS_NUMBA, backend  # noqa: F401 - a fixture of all tests here
from conftest import first
from hypothesis import given
from hypothesis import strategies as st

from xentcli import bulk, formats
from xentcli.errors import XentError
from xentcli.judge.exact import compute_exact
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
@pytest.mark.parametrize("classes", first(1, [2, 3, 10, 300, 1000]))
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


@pytest.mark.slow
@every_dtype
@given(data=st.data())
def test_any_small_batch_agrees_with_the_exact_loss_to_1_ulp(dtype: str, data: st.DataObject) -> None:
    classes = data.draw(st.integers(1, 5))
    numbers = st.floats(-300, 300, width=32) | st.just(-inf)
    rows = data.draw(st.lists(st.lists(numbers, min_size=classes, max_size=classes), min_size=1, max_size=4))
    k = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=len(rows), max_size=len(rows))))
    x = stored(rows, dtype)
    wanted = compute_exact(build_batch(x, k, dtype), dtype, "none").losses

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


def equal_rows(logits: Any, classes: int, label_logit: float = 0.0) -> Any:
    """Return rows in which all logits but the label's, the first, are the same; float32."""
    x = np.repeat(np.asarray(logits, np.float32)[:, None], classes, axis=1)
    x[:, 0] = label_logit
    return x


def loss_of_equal_rows(x: Any) -> Any:
    with mpmath.workprec(200):
        return [
            mpmath.log1p((x.shape[1] - 1) * mpmath.exp(mpmath.mpf(float(row[1])) - float(row[0])))
            for row in x
        ]


def test_a_row_of_logits_far_below_0_is_shifted_before_its_terms_lose_digits() -> None:
    # exp(-95) is a subnormal float32.
    x = equal_rows(np.linspace(-94, -100, 20), 5000)
    x[:, 0] = x[:, 1]

    assert worst(bulk.losses(x, np.zeros(20, int)), loss_of_equal_rows(x), "float32") <= 1


def test_a_sum_whose_reciprocal_is_subnormal_is_evaluated_again_with_a_shift() -> None:
    # Up to 10,000 exp(83) = 1e40, whose partial sums over 256 are finite in float32.
    for logit in (78.0, 79.0, 81.0, 83.0):
        x = equal_rows([logit], 10_000, 50.0)
        gradient = bulk.losses_and_gradient(x, np.array([0]))[1]

        assert gradient[0, 1] == pytest.approx(1 / 9999, rel=5 * 2**-24)


@pytest.mark.parametrize("label_logit", [9.544179916381836, 5.78472900390625, 5.604008674621582])
def test_losses_of_equal_logits_of_4_to_8_are_right(label_logit: float) -> None:
    # With the error of NumPy's AVX-512 exp in float32, 3.6 · 2^-24, losses of 4.2 and 7.9 are 1.1 ulps off.
    x = equal_rows([4.5142011642456055], 10_000, label_logit)

    assert worst(bulk.losses(x, np.array([0])), loss_of_equal_rows(x), "float32") <= 1


def test_subnormal_terms_of_a_small_sum_keep_their_digits() -> None:
    random = np.random.default_rng(0)
    for low, high in ((-96, -94), (-86, -84), (-74, -72)):
        x = random.uniform(low, high, (4, 5000)).astype(np.float32)
        x[:, 0] = 0

        assert worst(bulk.losses(x, np.zeros(4, int)), truth(x, np.zeros(4, int)), "float32") <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_equal_terms_do_not_add_up_their_rounding(dtype: str) -> None:
    # Losses of log 16,384; whether a running sum rounds up or down depends on the term.
    x = np.repeat(np.log(np.linspace(0.5, 1, 48))[:, None], 16_384, axis=1).astype(dtype)
    with mpmath.workprec(200):
        wanted = [mpmath.log(16_384)] * 48

    assert worst(bulk.losses(x, np.zeros(48, int)), wanted, dtype) <= 1


def test_equal_logits_do_not_add_up_one_error_of_exp() -> None:
    gaps = np.linspace(1, 80, 20_000, dtype=np.float32)
    errors = np.abs(np.exp(-gaps).astype(np.float64) / np.exp(-gaps.astype(np.float64)) - 1)
    for gap in gaps[np.argsort(errors)[-5:]].tolist():  # where NumPy's exp is worst
        x = np.full((1, 5000), -gap, np.float32)
        x[0, 0] = 0
        with mpmath.workprec(200):
            wanted = mpmath.log1p(4999 * mpmath.exp(-gap))

        assert worst(bulk.losses(x, np.array([0])), [wanted], "float32") <= 1


def rows_of_every_kind(dtype: str, classes: int, count: int) -> tuple[Any, Any]:
    """Draw rows near 0 and far, of any loss, masked, nan or infinite; labels ignored or invalid."""
    random, rows = np.random.default_rng(classes), np.arange(count)
    x = random.normal(size=(count, classes)) * random.choice([0.1, 3, 20], (count, 1))
    k = random.integers(0, classes, count)
    x[rows, k] += random.choice([0, 5, 15, 30, 90], count)
    x += random.choice([0, 0, 56, 58, -57.5, 85, 500, -100], (count, 1))
    for value, share in ((nan, 0.05), (inf, 0.05), (-inf, 0.1)):
        x[random.random(count) < share, random.integers(0, classes)] = value
    x[random.random(count) < 0.02] = -inf
    k[random.random(count) < 0.05], k[random.random(count) < 0.05] = classes, -100
    with np.errstate(all="ignore"):
        return stored(x, dtype), k


def bits_of(x: Any, k: Any, **options: Any) -> list[bytes]:
    """Return the bits of the loss and the gradient of each row; every nan is one."""
    losses, gradient = bulk.losses_and_gradient(x, k, ignore_index=-100, **options)
    assert losses.dtype == gradient.dtype == x.dtype.newbyteorder("=")
    again = bulk.losses(x, k, ignore_index=-100, **options)
    assert again.dtype == losses.dtype
    assert np.array_equal(again, losses, equal_nan=True)
    both = np.concatenate([losses[:, None], gradient], axis=1)
    both[np.isnan(both)] = nan
    return [row.tobytes() for row in both]


@every_dtype
@pytest.mark.parametrize(
    ("classes", "count"), first(2, [(1, 40), (3, 600), (17, 400), (700, 150), (4097, 40)])
)
def test_a_row_has_the_same_bits_in_any_block_order_thread_layout_and_byte_order(
    dtype: str, classes: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, k = rows_of_every_kind(dtype, classes, count)
    alone = [bits for row in range(count) for bits in bits_of(x[row : row + 1], k[row : row + 1])]
    assert bits_of(x, k) == alone  # in one block
    order = np.random.default_rng(0).permutation(count)
    strided = np.zeros((2 * count, 2 * classes), x.dtype)
    strided[::2, ::2] = x
    layouts = [x, x[order], np.asfortranarray(x), strided[::2, ::2]]
    if dtype != "bfloat16":  # it has one byte order
        layouts.append(x.astype(x.dtype.newbyteorder(">")))

    monkeypatch.setattr("xentcli.bulk.rows._BLOCK", dict.fromkeys(("float32", "float64"), x.size // 20))
    if HAS_NUMBA:
        monkeypatch.setattr("xentcli.bulk.fast._BLOCK", x.size // 20)
    for threads, layout in zip((1, 2, 3, 8, 3), layouts, strict=False):
        shuffled = layout is layouts[1]
        wanted = [alone[row] for row in order] if shuffled else alone
        assert bits_of(layout, k[order] if shuffled else k, threads=threads) == wanted
    for threads in (1, 2, 3, 8):
        assert bits_of(x, k, threads=threads) == alone


def test_the_same_call_gives_the_same_bits_while_rows_far_from_0_are_among_them() -> None:
    random = np.random.default_rng(0)
    x, k = random.normal(size=(5000, 200)).astype(np.float32), random.integers(0, 200, 5000)
    x[:1000] += 500
    x = np.tile(x, (5, 1))  # five blocks and more
    first = bulk.losses(x, np.tile(k, 5), threads=3)

    assert x.nbytes > 4 * 2**22
    assert np.array_equal(first.reshape(5, 5000), [first[:5000]] * 5)
    for _ in range(8):
        assert np.array_equal(bulk.losses(x, np.tile(k, 5), threads=3), first)


@every_dtype
def test_labels_of_any_integer_type_are_taken_and_none_is_wrapped(dtype: str) -> None:
    x = stored(np.random.default_rng(0).normal(size=(4, 200)), dtype)
    k = np.array([0, 5, 100, 199])
    wanted = bulk.losses(x, k)

    for kind in ("u1", "u2", ">i4", "u8"):
        assert np.array_equal(bulk.losses(x, k.astype(kind)), wanted)
    huge = np.array([2**63, 2**64 - 1, 2**64 - 100, 2**63 + 5], np.uint64)
    assert np.isnan(bulk.losses(x, huge)).all()
    assert np.isnan(bulk.losses(x, huge, ignore_index=-100)).all()
    assert np.isnan(bulk.losses(x, np.array([-1, -200, -(2**63), 200]))).all()
    assert np.isnan(bulk.losses(x, np.array([-1, -56, -100, -128], np.int8), ignore_index=156)).all()


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
    wanted = compute_exact(build_batch(x, k, dtype), dtype, "none").gradients

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
    x[np.arange(len(x)), k] += 9  # all losses are small
    of_rows = len(x) * 8 * 16  # what is known of each row, and of its label

    tracemalloc.start()
    bulk.losses(x, k, threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8 * 2**20 + of_rows


def test_no_rows_and_one_class_are_batches_too() -> None:
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
            "of shape (3,); expected float16, bfloat16, float32, float64 of shape (N, C)",
        ),
        (np.zeros((3, 0)), np.zeros(3, int), "C at least 1"),
        (
            np.zeros((2, 3)),
            np.zeros(3, int),
            "labels are int64 of shape (3,); expected class indices of shape (2,)",
        ),
        (np.zeros((2, 3)), np.zeros(2), "labels are float64"),
    ],
)
def test_what_is_no_batch_is_refused(logits: Any, labels: Any, message: str) -> None:
    with pytest.raises(XentError) as refused:
        bulk.losses(logits, labels)

    assert message in str(refused.value)

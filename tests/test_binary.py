"""Binary cross-entropy: the contract of binary.py, against mpmath and what PyTorch and Keras print."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import rounded

from xentcli import formats, load, run, words
from xentcli.judge import Result
from xentcli.load.build import build_batch
from xentcli.load.sources import Source
from xentcli.methods import arithmetic
from xentcli.methods.method import Method
from xentcli.methods.table import METHODS
from xentcli.model import Batch

BINARY = [method for method in METHODS if method.binary]
every_method = pytest.mark.parametrize("method", BINARY, ids=lambda method: method.name)
every_dtype = pytest.mark.parametrize("dtype", words.DTYPES)
inf, nan = math.inf, math.nan


def batch(logits: list[float], labels: list[float], dtype: str = "float32") -> Batch:
    return build_batch(logits, labels, dtype)


def losses(method: Method, given: Batch) -> list[float]:
    with np.errstate(all="ignore"):
        result = method.loss(arithmetic.get("numpy", given.logits.dtype.name), given)
    assert result.shape == given.logits.shape
    assert result.dtype == given.logits.dtype
    return result[:, 0].tolist()


def result_of(text: str) -> Result:
    case = load.load(Source("case.yaml", "case", text.encode()))
    return run.evaluate(case)


def with_mpmath(x: float, y: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Evaluate y softplus(-x) + (1 - y) softplus(x) and sigmoid(x) - y, at 3000 bits: e^-800 has 1154."""
    with mpmath.workprec(3000):
        label = mpmath.mpf(y)
        loss = label * mpmath.log1p(mpmath.exp(-x)) + (1 - label) * mpmath.log1p(mpmath.exp(x))
        return loss, 1 / (1 + mpmath.exp(-x)) - label


@every_dtype
@every_method
def test_a_logit_of_0_loses_ln_2(method: Method, dtype: str) -> None:
    got = losses(method, batch([0.0, 0.0], [0.0, 1.0], dtype))

    assert got == [float(formats.stored(np.array([math.log(2)]), dtype)[0])] * 2


@every_method
def test_nan_is_nan_for_that_example_alone(method: Method) -> None:
    first, second = losses(method, batch([nan, 1.0], [1.0, 1.0]))

    assert math.isnan(first)
    assert math.isfinite(second)


@pytest.mark.slow
@every_method
@given(x=st.floats(-9, 9, width=32), y=st.sampled_from([0.0, 0.25, 1.0]))
def test_agrees_with_mpmath_on_ordinary_logits(method: Method, x: float, y: float) -> None:
    (loss,) = losses(method, batch([x], [y], "float64"))

    wanted, _ = with_mpmath(x, y)
    # 1 - p has lost up to 9 / ln 2 = 13 of 53 bits to the rounding of p; a dozen roundings beside.
    assert abs(loss - wanted) <= 2.0**-36 * wanted


# What the frameworks print, torch 2.13.0 and Keras 3.15.1


@pytest.mark.parametrize(
    ("name", "x", "y", "printed"),
    [
        ("bce_clamped", 16.6, 0, 15.942384719848633),
        ("bce_clamped", 16.7, 0, 100.0),
        ("bce_clamped", -50, 1, 50.0),
        ("bce_clamped", -200, 1, 100.0),
        ("bce_with_logits", 16.7, 0, 16.700000762939453),
        ("bce_with_logits", 10, 1, 4.539889414445497e-05),
        ("bce_with_logits", inf, 1, nan),
        ("bce_clipped", -100, 1, 16.11809539794922),
        ("bce_clipped", 100, 0, 15.942384719848633),
        ("bce_naive", 20, 0, inf),
        ("bce_naive", 20, 1, nan),
    ],
)
def test_what_frameworks_print(name: str, x: float, y: float, printed: float) -> None:
    method = next(method for method in BINARY if method.name == name)

    assert np.array_equal(losses(method, batch([x], [y])), [printed], equal_nan=True)


# The truth


def has_no_tail(x: float) -> bool:
    """Whether no tie can hang on a tail of 10^-80; further out than 80 one may too."""
    return x == 0 or abs(x) > 1e-60


@pytest.mark.slow
@every_dtype
@given(x=st.floats(-80, 80).filter(has_no_tail), y=st.floats(0, 1))
def test_the_truth_is_that_of_mpmath_to_the_last_bit(dtype: str, x: float, y: float) -> None:
    stored = batch([x], [y], dtype)
    x, y = float(stored.logits[0, 0]), float(stored.labels[0, 0])
    result = result_of(f"title: t\ndtype: {dtype}\nlogits: [{x!r}]\nlabels: [{y!r}]\n")

    wanted = with_mpmath(x, y)

    got = (formats.nearest(result.exact.losses[0], formats.FORMATS[dtype]), result.exact.gradients[0][0])
    assert got == tuple(rounded(value, dtype) for value in wanted)


@pytest.mark.parametrize(
    ("x", "y", "loss", "gradient"),
    [("inf", 1, 0.0, 0.0), ("inf", 0.9, inf, 0.1), ("-inf", 0, 0.0, 0.0), ("nan", 1, nan, nan)],
)
def test_infinite_logits_have_their_limits(x: str, y: float, loss: float, gradient: float) -> None:
    result = result_of(f"title: t\ndtype: float64\nlogits: [{x}]\nlabels: [{y}]\n")

    got = [float(result.exact.losses[0]), round(float(result.exact.gradients[0][0]), 15)]
    assert np.array_equal(got, [loss, gradient], equal_nan=True)


@pytest.mark.parametrize(
    ("name", "x", "y", "state"),
    [
        ("bce_naive", -1000, 1, "nan"),
        ("bce_clipped", -100, 1, "dead"),
        ("bce_clamped", 17, 0, "dead"),
        ("bce_clamped", -50, 1, "wrong"),
        ("bce_with_logits", -1000, 1, "alive"),
        ("bce_with_logits", 20, 1, "dead"),  # 1 - 1
    ],
)
def test_gradients_as_frameworks_have_them(name: str, x: float, y: float, state: str) -> None:
    result = result_of(f"title: t\nlogits: [{x}]\nlabels: [{y}]\n")
    judgement = result.judgements[[method.name for method in BINARY].index(name)]

    assert judgement is not None
    assert judgement.gradient is not None
    assert judgement.gradient.state == state


@pytest.mark.parametrize("label", ["nan", "inf", "-inf", "2", "-0.5"])
def test_a_label_that_is_no_probability_has_no_truth(label: str) -> None:
    result = result_of(f"title: t\nlogits: [1]\nlabels: [{label}]\nbad_labels: as_is\n")

    assert result.exact.losses[0].is_nan()
    for judgement in result.judgements:
        assert judgement is not None
        assert judgement.verdict == "undefined"
        assert judgement.gradient is not None
        assert judgement.gradient.residual is None


def test_a_small_loss_of_the_clamped_method_is_kept_by_log1p_as_torch_prints_it() -> None:
    (loss,) = result_of("title: t\nlogits: [-20]\nlabels: [0]\n").outcomes[2].losses

    assert f"{loss:.4e}" == "2.0612e-09"


def test_the_vanishing_gradient_is_the_one_torch_prints() -> None:
    clamped = result_of("title: t\nlogits: [-50]\nlabels: [1]\n").outcomes[2]

    assert clamped.gradient is not None
    assert f"{clamped.gradient[0, 0]:.4e}" == "-1.9287e-10"

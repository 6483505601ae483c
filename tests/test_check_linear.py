"""Losses of hidden states and a weight: every check through a product, and checks of products."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from conftest import first
from losses import linear, right

from xentcli.check.findings import judge_response
from xentcli.check.probes import Probe
from xentcli.check.properties import products
from xentcli.check.properties.setting import Setting
from xentcli.check.report import Report
from xentcli.check.run import Options, check, deadline
from xentcli.check.tolerance import MaxUlps
from xentcli.formats import FORMATS, ulp
from xentcli.frameworks.conventions import CONVENTIONS, find_convention
from xentcli.frameworks.function import LossFunction
from xentcli.frameworks.request import How, Product

LINEAR = CONVENTIONS["linear.numpy"]


def report(
    loss: Callable[..., Any], gradient: Any = None, reduction: str | None = None, **options: Any
) -> Report:
    subject = LossFunction.build(loss, gradient, find_convention("linear.numpy", "", reduction))
    return check(subject, Options(**options), "loss", deadline(60))


def failing(report: Report) -> dict[str, set[str]]:
    checks = (check for check in report.checks if check.status != "passed")
    return {check.name: {finding.name for finding in check.findings} for check in checks}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "gradient", "reduction"),
    [
        (linear.in_float32, linear.gradients, None),
        (linear.rounded_once, None, None),
        (linear.mean_in_float32, None, "mean"),
    ],
)
def test_a_right_loss_passes(loss: Any, gradient: Any, reduction: str | None) -> None:
    result = report(loss, gradient, reduction, only=["linear", "blog", "gradient-sum", "contract"])

    assert failing(result) == {}
    assert {"products", "sums-over-width", "sums-over-rows"} <= {check.name for check in result.checks}


@pytest.mark.parametrize(
    ("loss", "names"),
    first(
        2,
        [
            (linear.summed_in_its_own_dtype, {"sums-over-width"}),
            (linear.without_bias, {"bias", "layouts-of-factors", "reused-factors"}),
            (linear.last_column_left_out, {"products", "layouts-of-factors"}),
            (linear.transposed_where_it_fits, {"products"}),
        ],
    ),
)
def test_a_wrong_product_fails_its_check(loss: Any, names: set[str]) -> None:
    result = report(loss, only=["linear", "one-class"], skip={"sums-over-rows": "slow"})

    assert set(result.failed) == names
    assert {cause.name for cause in result.causes} == {"product-sum"}


def test_the_gradient_of_either_factor_is_judged() -> None:
    result = report(linear.in_float32, linear.hidden_gradient_alone, only=["blog"])

    assert failing(result)["abnormal"] == {"gradient wrong"}  # one row of many classes: of the weight
    assert "normal-3x3" not in failing(result)  # as many rows as classes: of hidden


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_what_no_product_is_has_a_reason(odd: float) -> None:
    batch = Probe.build(LINEAR, [[1.0, odd], [0.5, 2.0]], [0, 1], "float32").batch

    assert (
        LINEAR.why_unsupported(batch, ()) == "logits that are infinite or nan are no product: 0 · inf is nan"
    )


@pytest.mark.parametrize(("examples", "classes"), [(1, 3), (2, 3), (3, 3), (5, 2), (0, 4), (1, 1)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_product_is_the_logits_bit_by_bit(examples: int, classes: int, dtype: str) -> None:
    seen = []

    def loss(hidden: Any, weight: Any, labels: Any) -> Any:
        logits = sum((h * w.astype(object) for h, w in zip(hidden.T[:, :, None], weight.T, strict=True)), 0)
        seen.append(np.array(logits, dtype).reshape(len(hidden), len(weight)))
        return np.zeros(len(labels), dtype)

    values = np.random.default_rng(1).normal(scale=1e4, size=(examples, classes)).astype(dtype)
    values[values == 0] = 1
    probe = Probe.build(LINEAR, values, np.zeros(examples, int), dtype)
    LossFunction.build(loss, None, LINEAR).respond(probe.request())

    assert seen[0].shape == (examples, classes)
    assert np.array_equal(seen[0], values)


def setting(dtype: str, *parameters: str) -> Setting:
    return Setting(LINEAR, parameters, dtype)


def _unit(array: Any) -> float:
    """Return the largest power of two, at most 1, that all numbers are multiples of."""
    units = (2.0**-power for power in range(32))
    return next(unit for unit in units if (array / unit == np.round(array / unit)).all())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_factors_are_numbers_of_the_dtype_and_their_product_is_exact(dtype: str) -> None:
    pytest.importorskip("ml_dtypes", reason="brings bfloat16")
    for prop in products.PROPERTIES:
        for probe in prop.probes(LINEAR, ("bias",)):
            product = probe.how.product
            assert product is not None
            bias = np.where(np.isneginf(product.bias), 0, product.bias)  # a mask is exact in any sum
            # With this as a unit every term is a whole number: a float32 holds such sums up to 2^24.
            unit = min(_unit(product.hidden) * _unit(product.weight), _unit(bias))
            largest = (np.abs(product.hidden) @ np.abs(product.weight).T + np.abs(bias)).max()
            assert largest / unit <= 2**24
            for factor in (product.hidden, product.weight, bias):
                assert np.array_equal(factor.astype(np.float16).astype(np.float64), factor)
                assert (np.abs(factor) <= 2**4).all()
            if probe.dtype == dtype:
                assert probe.batch.logits.dtype == np.float32


# What rounding each logit once may cost: Σ |p_i - y_i| |δ_i| + max δ² / 2.

ROW = Product(np.array([[1.0, 1 / 1024]]), np.array([[8.0, 8.0], [8.0, -8.0]]), np.zeros(2))


def test_the_allowance_of_a_rounded_logit_by_hand() -> None:
    # Logits 8 ± 2^-7 are numbers of float16: nothing is allowed there.
    probe = replace(Probe.build(LINEAR, ROW.logits, [0], "float32"), dtype="float16", how=How(product=ROW))
    true = probe.truth.losses[0]
    assert probe.allowance(0, true, MaxUlps()) == replace(probe, how=How()).allowance(0, true, MaxUlps())

    # In bfloat16 numbers are 2^-4 apart above 8 and 2^-5 below. Both |p - y| are 0.4961, an ulp is 2^-8.
    probe = replace(probe, dtype="bfloat16")
    more = probe.allowance(0, true, MaxUlps()) - replace(probe, how=How()).allowance(0, true, MaxUlps())
    assert more == pytest.approx((0.4961 * (2**-5 + 2**-6) + 2**-11) / 2**-8, rel=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("share", "names"), [(0.98, []), (1.02, ["off"])])
def test_a_loss_of_a_product_may_be_off_by_its_allowance(sign: int, share: float, names: list[str]) -> None:
    random = np.random.default_rng(3)
    product = products.draw_factors(random, 1, 16, 5)
    probe = products.probe_of(setting("float16"), product, [2])
    true = probe.truth.losses[0]
    unit = float(ulp(Fraction(true), FORMATS["float16"]))
    allowed = probe.allowance(0, true, MaxUlps()) * unit
    response = {"losses": [float(true) + sign * share * allowed], "shape": [1], "dtype": "float16"}

    assert [finding.name for finding in judge_response(probe, response, MaxUlps())[0]] == names


def softmax_gradient(probe: Probe) -> np.ndarray:
    """Return p - y in float64: ten digits are plenty here."""
    x = probe.batch.logits.astype(np.float64)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True) - probe.batch.labels


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_true_gradients_of_factors(reduction: str) -> None:
    random = np.random.default_rng(5)
    called = replace(LINEAR, reduction=reduction)
    product = products.draw_factors(random, 6, 16, 4)
    probe = products.probe_of(Setting(called, (), "float32"), product, [0, 1, 2, 3, 0, 1])

    found = products.true_gradients(probe)

    back = {"none": np.array([2, 4] * 3), "mean": np.full(6, 1 / 6), "sum": np.ones(6)}[reduction]
    of_logits = softmax_gradient(probe) * back[:, None]
    assert found["hidden"] == pytest.approx(
        np.einsum("nc,ch->nh", of_logits, product.weight), rel=1e-9, abs=1e-12
    )
    assert found["weight"] == pytest.approx(
        np.einsum("nc,nh->ch", of_logits, product.hidden), rel=1e-9, abs=1e-12
    )
    assert found["bias"] == pytest.approx(of_logits.sum(axis=0), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("factor", ["hidden", "weight", "bias"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("share", "number"), [(0.99, 0), (1.01, 1), (np.nan, 1)])
def test_an_entry_of_a_gradient_may_be_off_by_its_allowance(
    factor: str, sign: int, share: float, number: int
) -> None:
    product = Product(np.array([[1.0, 2], [0, 1]]), np.array([[1.0, 0], [0, 1], [1, 1]]), np.ones(3))
    probe = products.probe_of(setting("float16"), product, [0, 2])
    given, allowed = products.true_gradients(probe), products.allowed_errors(probe, MaxUlps())
    given[factor].flat[1] += sign * share * allowed[factor].flat[1]
    packed = np.zeros((5, 3))
    packed[:2, :2], packed[2:, :2], packed[2:, 2] = given["hidden"], given["weight"], given["bias"]

    found = list(products.gradient_findings([(probe, {"gradient": packed.ravel().tolist()})], MaxUlps()))

    assert len(found) == number
    if number:
        assert factor in found[0].statement


def test_a_half_precision_sum_over_rows_is_beyond_what_is_allowed() -> None:
    # Of 4,096 times 3 · 0.25, bfloat16 adds up 256 or so, and float16 no more than to 2,048.
    for dtype in ("float16", "bfloat16"):
        (probe,) = next(p for p in products.PROPERTIES if p.name == "sums-over-rows").inputs(setting(dtype))
        true = products.true_gradients(probe)["weight"]
        allowed = products.allowed_errors(probe, MaxUlps())["weight"]
        assert (np.abs(true[1:] - 2048) > allowed[1:]).all()
        assert (allowed < np.abs(true) / 2).all()


# Rows of the convention


def test_the_order_of_rows_gradients_and_reduction_reach_the_loss() -> None:
    probe = Probe.build(LINEAR, [[1.0, 2, 3]], [2], "float64")
    subject = LossFunction.build(linear.in_float32, linear.gradients, LINEAR)

    response = subject.respond(probe.request())

    x = np.array([[1.0, 2, 3]])
    assert response["losses"] == pytest.approx([np.log(np.exp(x - 3).sum())], rel=1e-15)
    assert response["gradient"] == pytest.approx(right.gradient(x, np.array([2]))[0], rel=1e-12)
    assert subject.parameters == ("bias",)


def test_a_gradient_that_is_none_is_refused() -> None:
    probe = Probe.build(LINEAR, [[1.0, 2, 3]], [2], "float64")
    subject = LossFunction.build(linear.in_float32, lambda *_: np.zeros((1, 3)), LINEAR)

    failed = subject.respond(probe.request())["gradient_failed"]

    assert failed == "returned ndarray; expected the gradients of hidden and weight"

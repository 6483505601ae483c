"""Logits that are a product: hidden states times a weight, and what becomes of the gradients of both.

Factors are small integers times powers of two. So the product is exact in float32, whatever the order that it
is added in, and in half precision only where nothing is rounded on the way.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from xentcli.check.probes import Probe
from xentcli.check.properties.setting import INF, ONE, WITHIN, Called, Property, Setting
from xentcli.check.report import CheckFinding, Place
from xentcli.check.tolerance import MaxUlps
from xentcli.formats import FORMATS
from xentcli.frameworks.call import upstream_of
from xentcli.frameworks.conventions import CHUNKS
from xentcli.frameworks.request import FROZEN, LAYOUTS, How, Product
from xentcli.judge.exact import compute_exact
from xentcli.methods.steps import STEPS
from xentcli.words import Z_LOSS

_HALF: Final = ("float16", "bfloat16")
_EVERY: Final = (*ONE, *_HALF)
# Examples, width, classes: below and beyond tiles, more examples than classes and fewer, no shape that tells
# a factor from its transpose.
_SHAPES: Final = ((5, 7, 3), (9, 16, 33), (33, 65, 17), (3, 128, 257), (3, 16, 700), (130, 24, 2), (6, 6, 6))
# Beyond chunks of 4,096 and 8,192 rows; no class has a 4,096th of a row.
_LARGE: Final = ((4099, 8, 3), (8197, 4, 3), (3, 8, 8200))
_WIDTH: Final = 8200  # beyond blocks of 4,096, and a rest
_ROWS: Final = {"float16": 4099, "bfloat16": 1027}  # the first counts to 2,048 in ones, the other to 256
_ACCUMULATED: Final = 2.0**-23  # float32's epsilon
_FACTORS: Final = ("hidden", "weight", "bias")


def probe_of(
    setting: Setting,
    product: Product,
    labels: "Iterable[int]",
    **options: Any,  # noqa: ANN401 - as Probe.build
) -> Probe:
    """Build a probe of a product, whose logits are those of float32, whatever the dtype of its factors."""
    exact = replace(setting, dtype="float32").probe(
        product.logits, np.array(labels), reduction=setting.convention.reduction, **options
    )
    return replace(exact, dtype=setting.dtype, how=How(product=product))


def draw_factors(random: np.random.Generator, examples: int, width: int, classes: int) -> Product:
    """Draw factors whose logits are a few units large."""
    hidden = random.integers(-3, 4, size=(examples, width)).astype(np.float64)
    scale = 2.0 ** -np.round(np.log2(width) / 2)
    weight = random.choice([-1.0, -0.5, 0.5, 1.0, 2.0], size=(classes, width)) * scale
    return Product(hidden, weight, np.zeros(classes))


def _products(setting: Setting) -> Iterable[Probe]:
    """Factors of many shapes."""
    random = np.random.default_rng(31)
    shapes = _SHAPES + _LARGE if setting.dtype in ONE else _SHAPES
    for examples, width, classes in shapes if setting.convention.linear else ():
        product = draw_factors(random, examples, width, classes)
        yield probe_of(setting, product, random.integers(0, classes, examples))


def _laid_out(setting: Setting) -> Iterable[Probe]:
    """Lay out all factors in every way that the library has; in Fortran's order one is a transpose."""
    random = np.random.default_rng(34)
    for layout in LAYOUTS.get(setting.convention.library, ()) if setting.convention.linear else ():
        for examples, width, classes in ((7, 9, 5), (9, 130, 33)):
            if layout != "expanded":  # a product of equal rows
                labels = random.integers(0, classes, examples)
                product = _with_bias(setting, random, examples, width, classes)
                probe = probe_of(setting, product, labels)
                yield replace(probe, how=replace(probe.how, layout=layout), may_decline=True)


def _reused(setting: Setting) -> Iterable[Probe]:
    """Write a step of training into the same hidden, weight and bias, and call the loss again."""
    random = np.random.default_rng(35)
    if setting.convention.linear and setting.convention.library in LAYOUTS:
        products = tuple(_with_bias(setting, random, 7, 9, 5) for _ in range(2))
        probe, other = (probe_of(setting, product, random.integers(0, 5, 7)) for product in products)
        yield replace(
            probe, how=How(when="in place", others=(other.batch,), product=products[0], products=products[1:])
        )


def _with_bias(
    setting: Setting, random: np.random.Generator, examples: int, width: int, classes: int
) -> Product:
    """Draw factors, and a bias where the loss has one."""
    product = draw_factors(random, examples, width, classes)
    bias = random.integers(-16, 17, size=classes) / 4
    return replace(product, bias=bias) if "bias" in setting.parameters else product


def _biased(setting: Setting) -> Iterable[Probe]:
    """Factors and a bias, of which each class has another."""
    random = np.random.default_rng(32)
    for examples, width, classes in (
        (*_SHAPES[:3], _SHAPES[4], _SHAPES[6], (3, 8, 1500)) if "bias" in setting.parameters else ()
    ):
        product = _with_bias(setting, random, examples, width, classes)
        yield probe_of(setting, product, random.integers(0, classes, examples))
    if "bias" in setting.parameters and setting.dtype in ONE:  # the first part of a vocabulary is masked
        product = _with_bias(setting, random, 3, 16, 700)
        bias = np.where(np.arange(700) < 3 * 700 // 4, -INF, product.bias)
        yield probe_of(setting, replace(product, bias=bias), [540, 699, 600])


def _frozen(setting: Setting) -> Iterable[Probe]:
    """Ask for the gradient of one factor alone: the other one is frozen, as a backbone or a head is."""
    random = np.random.default_rng(36)
    for frozen in _FACTORS[:2] if setting.convention.linear and setting.convention.library in FROZEN else ():
        probe = probe_of(setting, _with_bias(setting, random, 9, 16, 7), random.integers(0, 7, 9))
        yield replace(probe, how=replace(probe.how, frozen=frozen))


def _ignored(setting: Setting) -> Iterable[Probe]:
    """Ignore rows, which have no share in any gradient."""
    random = np.random.default_rng(37)
    if setting.convention.linear and "ignore_index" in setting.parameters:
        for examples, width, classes in _SHAPES[:3]:
            labels = np.where(np.arange(examples) % 3 == 1, -100, random.integers(0, classes, examples))
            yield probe_of(setting, draw_factors(random, examples, width, classes), labels, ignore_index=-100)


def _optioned(setting: Setting) -> Iterable[Probe]:
    """Each option beside a bias, and all three."""
    random = np.random.default_rng(38)
    options: dict[str, Any] = {"class_weights": [0.5, 2, 3, 1, 0.25], "label_smoothing": 0.125}
    options |= {"ignore_index": 1} if setting.takes_indices else {}
    each = [{name: value} for name, value in options.items()]
    for chosen in (*each, options) if setting.convention.linear else ():
        product = _with_bias(setting, random, 7, 9, 5)
        yield probe_of(setting, product, np.arange(7) % 5, **chosen)


def _knobbed(setting: Setting) -> Iterable[Probe]:
    """Each knob of a product with a bias, which it changes too."""
    random = np.random.default_rng(39)
    values = {step.name: step.tried[0] for step in STEPS} | {Z_LOSS: 0.125}
    for name, value in values.items() if setting.convention.linear else ():
        probe = probe_of(setting, _with_bias(setting, random, 7, 9, 5), np.arange(7) % 5, **{name: value})
        yield replace(probe, how=replace(probe.how, with_gradient=False))


def _wide(setting: Setting) -> Iterable[Probe]:
    """Add 8,192 terms, of which one half takes back the other but for a few.

    The sums in between go up to some 10,000 in steps of a half: float32 holds them, half precision does not.
    """
    if not setting.convention.linear:
        return
    random = np.random.default_rng(33)
    half, examples, classes = _WIDTH // 2, 6, 5
    hidden = random.integers(1, 5, size=(examples, half)).astype(np.float64)
    weight = random.choice([0.5, 1.0, 1.5], size=(classes, half))
    back, order = -weight.copy(), random.permutation(half)
    back[:, :4] += random.choice([-0.5, 0.0, 0.5], size=(classes, 4))
    hidden = np.concatenate([hidden, hidden[:, order]], axis=1)
    product = Product(hidden, np.concatenate([weight, back[:, order]], axis=1), np.zeros(classes))
    yield probe_of(setting, product, random.integers(0, classes, examples))


def _deep(setting: Setting) -> Iterable[Probe]:
    """Thousands of rows, each of which adds as much to the gradients of weight and bias as the others."""
    if setting.convention.linear:
        bias = np.full(4, 0.5 if "bias" in setting.parameters else 0.0)  # the same for all moves no loss
        rows = _ROWS[setting.dtype]
        product = Product(np.ones((rows, 2)), np.zeros((4, 2)), bias)
        probe = probe_of(setting, product, np.zeros(rows, np.int64))
        yield probe
        for name in (name for name in CHUNKS if name in setting.parameters):
            yield replace(probe, how=replace(probe.how, keyword=(name, 1)), may_decline=True)


def gradient_findings(called: Called, max_ulps: MaxUlps) -> Iterator[CheckFinding]:
    """Compare the gradients of the factors with the true ones, entry by entry."""
    for probe, response in called:
        product, given = probe.how.product, response.get("batch_gradient", response.get("gradient"))
        if product is None or given is None:
            continue
        values = _unpacked(product, np.array(given, np.float64).reshape(product.packed.shape))
        true, allowed = true_gradients(probe), allowed_errors(probe, max_ulps)
        names = _FACTORS if product.bias.any() else _FACTORS[:2]
        for name in (name for name in names if name != probe.how.frozen):
            excess = np.abs(values[name] - true[name]) / allowed[name]
            if not (excess <= 1).all():  # nan is beyond any number
                place = np.unravel_index(np.argmax(np.nan_to_num(excess, nan=np.inf)), excess.shape)
                numbers = f"{values[name][place]:.6g}, truth {true[name][place]:.6g}"
                where = f"[{', '.join(str(int(axis)) for axis in place)}]"
                message = f"the gradient of {name}{where} is {numbers}"
                yield CheckFinding("gradient of factor", message, probe.describe(0), Place(probe, 0))
                break


def _unpacked(product: Product, packed: np.ndarray) -> dict[str, np.ndarray]:
    examples = len(product.hidden)
    return {"hidden": packed[:examples, :-1], "weight": packed[examples:, :-1], "bias": packed[examples:, -1]}


def _upstream(probe: Probe) -> np.ndarray:
    """Return what comes back to each loss (N, 1)."""
    examples, reduction = len(probe.batch.logits), probe.convention.reduction
    if reduction == "none":
        return upstream_of(examples)[:, None]
    return np.full((examples, 1), 1 / float(probe.divisor) if reduction == "mean" else 1.0)


def true_gradients(probe: Probe) -> dict[str, np.ndarray]:
    """Return the gradients of the factors, as they come back: of sums of rows, in float64."""
    product = probe.how.product
    assert product is not None  # noqa: S101 - its callers have one
    of_logits = np.array(compute_exact(probe.batch, "float64", "none").gradients) * _upstream(probe)
    return {
        "hidden": of_logits @ product.weight,
        "weight": of_logits.T @ product.hidden,
        "bias": of_logits.sum(axis=0),
    }


def allowed_errors(probe: Probe, max_ulps: MaxUlps) -> dict[str, np.ndarray]:
    """Return how much each entry of the gradients may be off.

    An entry p_i - y_i of a row may be off by what it may be for logits that are given, and logits that are
    rounded once, by at most d, take p_i to at most p_i e^(2 d). These errors E go through the products as the
    entries do: E |weight| and Eᵀ |hidden|. The sums are those of float32, n terms with n epsilons of the sum
    of absolute values, and the result is rounded to the dtype. Sums in the dtype itself are not allowed for.
    """
    product = probe.how.product
    assert product is not None  # noqa: S101 - its callers have one
    rows = range(len(probe.batch.logits))
    exact = np.array(compute_exact(probe.batch, "float64", "none").gradients)
    p = exact + probe.batch.targets.astype(np.float64)
    moved = np.array([np.expm1(2 * probe.rounding_of_logits(row).max()) for row in rows])[:, None]
    entries = np.array([probe.gradient_allowance(row, max_ulps) for row in rows])[:, None] + p * moved
    entries, sizes = entries * _upstream(probe), np.abs(exact) * _upstream(probe)
    true, one = true_gradients(probe), np.ones((len(exact), 1))
    factors = {
        "hidden": (entries @ np.abs(product.weight), sizes @ np.abs(product.weight), sizes.shape[1]),
        "weight": (entries.T @ np.abs(product.hidden), sizes.T @ np.abs(product.hidden), len(exact)),
        "bias": ((entries.T @ one)[:, 0], (sizes.T @ one)[:, 0], len(exact)),
    }
    eps, tiny = float(FORMATS[probe.dtype].eps), float(FORMATS[probe.dtype].smallest_normal)
    return {
        name: error + terms * _ACCUMULATED * size + eps * np.abs(true[name]) + tiny
        for name, (error, size, terms) in factors.items()
    }


def _property(
    name: str, asserts: str, inputs: Callable[[Setting], Iterable[Probe]], *dtypes: str, since: int = 2
) -> Property:
    return Property(
        name, asserts, inputs, rule=gradient_findings, dtypes=dtypes, category="linear", since=since
    )


PROPERTIES: Final = (
    _property(
        "products",
        f"logits are hidden · weightᵀ, rounded once at most, and both have their gradients: {WITHIN}, and "
        "what that rounding moves",
        _products,
        *_EVERY,
    ),
    _property("bias", f"a bias is added to them, and has its gradient: {WITHIN}", _biased, *_EVERY),
    _property(
        "ignored-rows-of-products",
        f"an ignored row has no share in the gradient of any factor: {WITHIN}",
        _ignored,
        *ONE,
        since=3,
    ),
    _property(
        "options-of-products",
        f"weights, smoothing and ignored rows go with a product and its bias: {WITHIN}",
        _optioned,
        *ONE,
        since=3,
    ),
    _property(
        "knobs-of-products",
        f"a scale, softcap or temperature changes the product with its bias, a z-loss is of both: {WITHIN}",
        _knobbed,
        *ONE,
        since=3,
    ),
    _property(
        "frozen-factors",
        f"one factor has its gradient where the other needs none: {WITHIN}",
        _frozen,
        *ONE,
        since=3,
    ),
    _property(
        "layouts-of-factors",
        f"hidden, weight and bias may lie in memory in any way, or are refused: {WITHIN}",
        _laid_out,
        *ONE,
    ),
    _property(
        "reused-factors",
        f"factors that a step of training has written into are new ones: {WITHIN}",
        _reused,
        *ONE,
    ),
    _property(
        "sums-over-width",
        f"the product is added up in float32: of {_WIDTH:,} terms in half precision nothing is lost but what "
        "rounding the logit loses",
        _wide,
        *_HALF,
    ),
    _property(
        "sums-over-rows",
        "and so are the gradients of weight and bias, over thousands of rows: in bfloat16 they would stand "
        "still after some hundred",
        _deep,
        *_HALF,
    ),
)

"""Results beside what was expected: the rule that says whether a printed number was reproduced."""

import decimal
import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from xentcli.model import Case, Comparison, Expectation, Floats, Observation, Outcome

# Exact for every float64, at most 767 digits, beside every expectation that the loader accepts: at most 800
# characters with an exponent of at most 400.
_EXACT: Final = decimal.Context(prec=2500, rounding=ROUND_HALF_EVEN, Emin=-9999, Emax=9999)


def compare(
    case: Case, outcomes: tuple[Outcome, ...], observations: tuple[Observation, ...]
) -> tuple[Comparison, ...]:
    """Compare every expectation of the case with what was computed.

    Left out are expectations of methods that were not run or gave no numbers, and of a loss that was not
    reduced.
    """
    by_method = {outcome.method: outcome for outcome in outcomes if outcome.failure is None}
    by_quantity = {observation.quantity: observation for observation in observations}
    comparisons = []
    for expectation in case.expectations:
        if observation := by_quantity.get(expectation.quantity):
            comparisons.append(_compare(expectation, observation.dtype, observation.values))
        elif outcome := by_method.get(expectation.quantity):
            if expectation.shape != ():
                comparisons.append(_compare(expectation, outcome.dtype, outcome.losses))
            elif outcome.loss is not None:
                comparisons.append(_compare(expectation, outcome.dtype, (outcome.loss,)))
    return tuple(comparisons)


def is_reproduced(expected: str, value: float) -> bool:
    """Whether a result, rounded to the digits that the expectation shows, is the same number.

    Trailing zeros count, ties go to the even digit (as NumPy and printf round); nan is reproduced by nan
    only, an infinity by the same infinity only.
    """
    want = Decimal(expected)
    if want.is_nan() or math.isnan(value):
        return want.is_nan() and math.isnan(value)
    if want.is_infinite() or math.isinf(value):
        return want.is_infinite() and math.isinf(value) and (want > 0) == (value > 0)
    return Decimal(value).quantize(want, context=_EXACT) == want


def _compare(expectation: Expectation, dtype: str, values: Floats) -> Comparison:
    pairs = zip(expectation.texts, values, strict=True)
    return Comparison(expectation, dtype, values, tuple(is_reproduced(*pair) for pair in pairs))

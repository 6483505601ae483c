"""Outcomes beside what was expected: the rule that says whether a printed number was reproduced."""

import decimal
import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property

from xentcli.judge.exact import exact
from xentcli.judge.verdicts import judge_outcome
from xentcli.model import Case, Check, Exact, Expectation, Floats, Judgement, Observation, Outcome

# Exact for every float64 (at most 767 digits) beside every expectation the loader lets in.
_CONTEXT = decimal.Context(prec=2500, rounding=ROUND_HALF_EVEN, Emin=-9999, Emax=9999)


@dataclass(frozen=True, eq=False)
class Result:
    """One case with its outcomes and checks; the truth is evaluated when it is first asked for."""

    case: Case
    outcomes: tuple[Outcome, ...]
    checks: tuple[Check, ...]

    @cached_property
    def exact(self) -> Exact:
        """The true losses and gradients."""
        return exact(self.case.batch, self.case.numerics.of_losses, self.case.reduction)

    @cached_property
    def judgements(self) -> tuple[Judgement | None, ...]:
        """Every outcome held against the truth; None where it is inapplicable."""
        return tuple(judge_outcome(self.case, outcome, self.exact) for outcome in self.outcomes)

    @property
    def numbers(self) -> int:
        """How many single numbers were expected of what was run."""
        return sum(len(check.hits) for check in self.checks)

    @property
    def reproduced(self) -> int:
        """How many of them came out."""
        return sum(sum(check.hits) for check in self.checks)

    @property
    def as_expected(self) -> bool:
        """Whether the case decides for exit code 0: an overridden case always does."""
        return bool(self.case.overridden) or self.reproduced == self.numbers


def judge(case: Case, outcomes: tuple[Outcome, ...], observations: tuple[Observation, ...]) -> Result:
    """Hold every expectation of the case against what came out; those of methods not run are left out."""
    by_method = {outcome.method: outcome for outcome in outcomes if outcome.missing is None}
    by_quantity = {observation.quantity: observation for observation in observations}
    checks = []
    for expectation in case.expectations:
        if observation := by_quantity.get(expectation.quantity):
            checks.append(_check(expectation, observation.dtype, observation.values))
        elif outcome := by_method.get(expectation.quantity):
            scalar = expectation.shape == ()
            got = ((outcome.loss,) if outcome.loss is not None else ()) if scalar else outcome.losses
            if got:
                checks.append(_check(expectation, outcome.dtype, got))
    return Result(case, outcomes, tuple(checks))


def is_reproduced(expected: str, got: float) -> bool:
    """Whether a result, rounded to the digits that the expectation shows, is the same number.

    Trailing zeros count, ties go to the even digit (as NumPy and printf round); nan is reproduced by nan
    only, an infinity by the same infinity only.
    """
    want = Decimal(expected)
    if want.is_nan() or math.isnan(got):
        return want.is_nan() and math.isnan(got)
    if want.is_infinite() or math.isinf(got):
        return want.is_infinite() and math.isinf(got) and (want > 0) == (got > 0)
    return Decimal(got).quantize(want, context=_CONTEXT) == want


def _check(expectation: Expectation, dtype: str, got: Floats) -> Check:
    pairs = zip(expectation.texts, got, strict=True)
    return Check(expectation, dtype, got, tuple(is_reproduced(expected, value) for expected, value in pairs))

"""Outcomes × truth → Result: what was expected, what is true, how each method stands to it and why."""

from dataclasses import dataclass

from xentcli.judge.exact import compute_exact
from xentcli.judge.expectations import compare
from xentcli.judge.verdicts import judge_outcomes
from xentcli.model import Case, Comparison, Exact, Judgement, Observation, Outcome


@dataclass(frozen=True, eq=False)
class Result:
    """One case with its outcomes, the truth, a judgement per outcome, and what was expected.

    A judgement is None where the method gave no numbers.
    """

    case: Case
    outcomes: tuple[Outcome, ...]
    exact: Exact
    judgements: tuple[Judgement | None, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def numbers(self) -> int:
        """How many single numbers were expected of what was run."""
        return sum(len(comparison.hits) for comparison in self.comparisons)

    @property
    def reproduced(self) -> int:
        """How many of them were reproduced."""
        return sum(sum(comparison.hits) for comparison in self.comparisons)

    @property
    def as_expected(self) -> bool:
        """Whether the case decides for exit code 0: an overridden case always does."""
        return bool(self.case.overridden) or self.reproduced == self.numbers


def judge(case: Case, outcomes: tuple[Outcome, ...], observations: tuple[Observation, ...]) -> Result:
    """Judge the outcomes of a case by the truth and by its expectations."""
    truth = compute_exact(case.batch, case.numerics.loss_dtype, case.reduction)
    judgements = judge_outcomes(case, outcomes, truth)
    return Result(case, outcomes, truth, judgements, compare(case, outcomes, observations))

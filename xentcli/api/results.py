"""Results for Python programs: frozen, printed as the terminal shows them, drawn as tables in a notebook."""

import sys
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from xentcli.diagnose.answer import failing_method, is_wrong
from xentcli.diagnose.diagnosis import Diagnosis
from xentcli.errors import XentError
from xentcli.explain import Explanation
from xentcli.formats import FORMATS, nearest
from xentcli.identify import Candidate
from xentcli.judge import Result
from xentcli.load import load
from xentcli.load.sources import Source

if TYPE_CHECKING:
    from xentcli.formats import FloatArray, Format
    from xentcli.model import Case, Judgement, Outcome
    from xentcli.show import Screen

_WIDTH = 80
_ENDLESS = 10**6  # columns: a browser breaks lines itself


class Shown:
    """What prints as the terminal shows it, at 80 columns without colours."""

    __slots__ = ()

    def __repr__(self) -> str:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        text = self._render("table", unicode=encoding.lower().startswith("utf"))
        return "\n".join(line.rstrip() for line in text.splitlines())

    def _repr_html_(self) -> str:
        """Draw it for a notebook."""
        return self._render("html")

    def _render(self, form: str, *, unicode: bool = True) -> str:
        from xentcli.show import Screen

        width = _ENDLESS if form == "html" else _WIDTH
        return self._shown(form, Screen(width, is_terminal=True, colour=False, unicode=unicode))

    def _shown(self, form: str, screen: "Screen") -> str:
        raise NotImplementedError

    @classmethod
    def of(cls, result: Any, **more: Any) -> Self:  # noqa: ANN401 - what the class is made from
        """Make one of a result that has the same fields but those of ``more``."""
        return cls(**{each.name: getattr(result, each.name) for each in fields(result)}, **more)


@dataclass(frozen=True, slots=True, eq=False)
class MethodResult:
    """What one method gives for a case, and how that stands to the truth.

    ``losses`` (N,) and ``gradient`` (N, C) are float64 and empty where the method gives none; ``loss`` is
    None under reduction none. ``ulps`` is the error of the loss, and ``verdicts`` and the state of the
    gradient are those of each example evaluated. ``failure`` says why there are no numbers.
    """

    method: str
    loss: float | None
    losses: "FloatArray"
    gradient: "FloatArray | None" = field(repr=False)
    ulps: float | None
    verdict: str | None
    verdicts: tuple[str, ...]
    gradient_state: str | None
    findings: tuple[str, ...]
    failure: str | None

    @classmethod
    def of(cls, outcome: "Outcome", judgement: "Judgement | None") -> Self:
        """Join an outcome and its judgement."""
        losses, loss, gradient = np.array(outcome.losses, np.float64), outcome.loss, outcome.gradient
        if judgement is None:
            return cls(outcome.method, loss, losses, gradient, None, None, (), None, (), outcome.failure)
        return cls(
            outcome.method,
            loss,
            losses,
            gradient,
            None if judgement.ulps is None else float(judgement.ulps),
            judgement.verdict,
            judgement.verdicts,
            None if judgement.gradient is None else judgement.gradient.state,
            judgement.all_findings,
            None,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Shown, Result):
    """A case, what each method gives, and the truth: prints what ``xent run`` prints.

    ``evaluation["naive"]`` is the result of one method; see ``Result`` for the rest.
    """

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the methods that ran."""
        return tuple(outcome.method for outcome in self.outcomes)

    @property
    def true_loss(self) -> float | None:
        """The exact loss, rounded once to the dtype of the losses; None where the losses are not reduced."""
        return None if self.exact.loss is None else nearest(self.exact.loss, self._format)

    @property
    def true_losses(self) -> "FloatArray":
        """The exact losses of the examples evaluated, each rounded once to the dtype of the losses."""
        return self.exact.numbers.nearest(self._format)[:-1].copy()

    def __getitem__(self, method: str) -> MethodResult:
        """Return the result of a method; raises XentError for one that did not run."""
        if method not in self.methods:
            raise XentError(f"'{method}' did not run; {', '.join(self.methods)} did")
        at = self.methods.index(method)
        return MethodResult.of(self.outcomes[at], self.judgements[at])

    @property
    def _format(self) -> "Format":
        return FORMATS[self.case.numerics.loss_dtype]

    def _shown(self, form: str, screen: "Screen") -> str:
        from xentcli.show.run import render_run

        return render_run([self], form, screen, verbose=False)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CaseExplanation(Shown, Explanation):
    """A method on an example, step by step: prints what ``xent explain`` prints."""

    def _shown(self, form: str, screen: "Screen") -> str:
        from xentcli.show.explanations import render

        return render([self], form, screen)


@dataclass(frozen=True, slots=True, repr=False)
class Identification(Shown):
    """What a loss may mean, the likeliest first: prints what ``xent identify`` prints.

    ``typed`` has the digits that were compared.
    """

    typed: str
    candidates: tuple[Candidate, ...]

    def _shown(self, form: str, screen: "Screen") -> str:
        from xentcli.show.candidates import render

        return render([(self.typed, self.candidates)], form, screen)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogitsDiagnosis(Shown, Diagnosis):
    """What is wrong with logits, or with a loss of them: prints what ``xent diagnose`` prints.

    ``rows`` are the worst rows, ``losses`` the true losses in a few numbers, or None. ``observed`` is the
    loss that was seen. See ``Diagnosis`` for the rest.
    """

    observed: str | None = None

    @property
    def verdict(self) -> str:
        """The sentence that it begins with."""
        from xentcli.show.verdict import verdict

        return verdict(self, self.observed)

    @property
    def findings(self) -> dict[str, int]:
        """The names of the findings, the worst first, with the number of rows that have each."""
        found: dict[str, int] = {}
        for rule, number in self.rules.items():
            found[rule.finding] = max(number, found.get(rule.finding, 0))
        return found

    @property
    def is_wrong(self) -> bool:
        """Whether a row is broken, the loss asked about goes wrong, or the one observed is another."""
        return is_wrong(self, self.observed)

    def worst_case(self) -> "Case":
        """Return the worst rows as a case, with as few classes as show what is wrong.

        Raises XentError where no row has a finding, where labels are unknown, or where one of probabilities
        is invalid: no case has such labels.
        """
        from xentcli.diagnose.extract import extracted

        if not self.rows or not self.survey.labelled:
            why = "no row has a finding" if self.survey.labelled else "labels are unknown"
            raise XentError(f"there is no worst case: {why}")
        return load(Source("worst rows", "worst", extracted(self).encode()))

    def _shown(self, form: str, screen: "Screen") -> str:
        from xentcli import show

        method = failing_method(self, self.observed)
        response = self.response
        if response is not None:
            method = response.name if response.is_method else None
        asked = "" if method is None else f", {method!r}"
        after = f"xentcli.explain_case(diagnosis.worst_case(){asked})"
        return show.diagnose(self, form, screen, self.observed, after)

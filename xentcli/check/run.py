"""Check a loss: ask, judge, collect."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from xentcli import new
from xentcli.check.conventions import versions
from xentcli.check.faults import judged, may_refuse
from xentcli.check.plan import CONDUCT, Check, plan
from xentcli.check.report import SEARCH, Checked, Fault, Found, Report
from xentcli.check.search import probe, search
from xentcli.check.subjects import OutOfTime, Subject
from xentcli.errors import XentError, count, did_you_mean
from xentcli.judge.findings.finding import ACCURATE

if TYPE_CHECKING:
    from xentcli.check.probes import Probe
    from xentcli.process import Fields

BUDGET = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Options:
    """What is checked, and how strictly.

    ``only`` and ``skip`` name checks or categories, and the latter says why.
    """

    max_ulps: float = ACCURATE
    only: Sequence[str] = ()
    skip: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_ulps < math.inf:
            raise XentError(f"max_ulps is a number, at least 0, not {self.max_ulps:g}")
        if self.seed < 0:
            raise XentError(f"a seed is at least 0, not {self.seed}")


def check(subject: Subject, options: Options, target: str) -> Report:
    """Give a loss every check that it can take; raises XentError where ``only`` or ``skip`` names none."""
    checks = plan(subject.convention, subject.keywords, gradient=subject.has_gradient)
    _known(checks, [*options.only, *options.skip])
    run = _Run(subject, options, target)
    chosen = [each for each in checks if not options.only or {each.name, each.category} & set(options.only)]
    manners = [each for each in chosen if each.category == CONDUCT]
    # How a loss behaves shows in what else it is asked.
    others = [each for each in chosen if each.category != CONDUCT]
    asked = others or [each for each in checks if each.category not in {CONDUCT, SEARCH}]
    done = [run.checked(each, _reason(each, options.skip)) for each in asked]
    done = [*(done if others else ()), *(run.behaved(each, _reason(each, options.skip)) for each in manners)]
    return Report(
        target,
        subject.convention.name,
        versions(target, subject.convention),
        options.max_ulps,
        tuple(done),
        tuple(run.found),
    )


def _reason(each: Check, skip: Mapping[str, str]) -> str | None:
    return skip.get(each.name, skip.get(each.category))


def _known(checks: Sequence[Check], names: Sequence[str]) -> None:
    """Refuse a name that is none, or of a check that this loss cannot be given."""
    known = dict.fromkeys(name for each in checks for name in (each.category, each.name))
    for name in names:
        if name not in known:
            near = did_you_mean(
                name, list(known), "a check's name or its category is wanted, of those the loss can take"
            )
            raise XentError(f"no check is called '{name}'{near}")


class _Run:
    """One pass over the checks; what a loss does besides its answers is collected on the way."""

    def __init__(self, subject: Subject, options: Options, target: str) -> None:
        self._subject, self._options, self._target = subject, options, target
        self._conduct: dict[str, list[str]] = {}
        self._answered = False
        self.found: list[Found] = []

    def checked(self, each: Check, skipped: str | None) -> Checked:
        """Ask what one check asks; a check that time ran out in is not reached."""
        blank = Checked(each.category, each.name, each.asserts, skipped=skipped)
        if skipped is not None:
            return blank
        if each.category == SEARCH:
            return self._searched(blank)
        convention, bar = self._subject.convention, self._options.max_ulps
        asked: list[tuple[Probe, Fields]] = []
        faults: list[Fault] = []
        errors: list[Decimal] = []
        try:
            for one in each.probes:
                asked.append((one, self._asked(one, each.name)))
                found, error = judged(*asked[-1], convention, bar)
                faults += [fault for fault in found if each.counts(fault)]
                errors += [] if error is None or each.words is not None else [error]
        except OutOfTime:
            pass
        faults += [] if each.rule is None else each.rule(asked, convention, bar)
        return replace(
            blank,
            asked=len(asked),
            ulps=max(errors, default=None),
            faults=tuple(faults),
            reached=len(asked) == len(each.probes),
        )

    def behaved(self, each: Check, skipped: str | None) -> Checked:
        """Say how the loss behaved in all calls together."""
        said = self._conduct.get(each.name, [])
        more = f" and {count(len(said) - 1, 'more call')})" if len(said) > 1 else ")"
        faults = () if not said or skipped is not None else (Fault(each.name, said[0] + more),)
        answered = self._answered or each.name == "quiet"
        return Checked(each.category, each.name, each.asserts, 0, None, faults, skipped, answered)

    def _asked(self, one: "Probe", name: str) -> "Fields":
        """Ask, and note how the loss behaves; ``name`` is the check's."""
        convention = self._subject.convention
        answer = self._subject.answer(one.question(convention))
        examples = len(one.batch.logits)
        if answer.get("printed"):
            self._note("quiet", name, f"printed {answer['printed']!r}")
        if answer.get("wrote"):
            self._note("untouched", name, f"wrote into the {' and the '.join(answer['wrote'])}")
        if "raised" in answer or "unusable" in answer:
            return answer
        self._answered = True
        if answer["shape"] != [examples]:
            reduced = "; a loss that is reduced needs --reduction" if not answer["shape"] else ""
            said = f"returned shape {tuple(answer['shape'])} for {examples} examples{reduced}"
            self._note("shape", name, said)
        if answer["dtype"] not in {one.dtype, "float" if convention.reduction != "none" else one.dtype}:
            self._note("dtype", name, f"returned {answer['dtype']} for logits of {one.dtype}")
        if answer.get("gradient_dtype", one.dtype) != one.dtype:
            self._note("dtype", name, f"the gradient is {answer['gradient_dtype']} for logits of {one.dtype}")
        gradient = answer.get("gradient", [])
        if gradient is None:
            self._note("differentiable", name, "for autodiff the losses do not depend on the logits")
        elif isinstance(gradient, str) and not may_refuse(one):
            self._note("differentiable", name, f"the gradient {gradient}")
        return answer

    def _note(self, manner: str, name: str, said: str) -> None:
        self._conduct.setdefault(manner, []).append(f"{said} (in {name}")

    def _searched(self, blank: Checked) -> Checked:
        """Search; of each kind of fault one row is kept, and shrunk."""
        convention = self._subject.convention

        def judge(one: "Probe") -> tuple[list[Fault], Decimal | None]:
            return judged(one, self._asked(one, SEARCH), convention, self._options.max_ulps)

        state = search(judge, convention, self._options.seed)
        faults = []
        for word, row in state.kinds.items():
            one = probe([row], convention)
            try:
                said = next((fault.said for fault in judge(one)[0] if fault.word == word), word)
            except OutOfTime:
                said = f"{word}, and no time was left to shrink it"
            title = f"{self._target}: {said.rpartition(' (')[0] or said}"
            name = f"{word.replace(' ', '-')}-{row.dtype}"
            faults.append(Fault(word, said))
            batch = one.batch
            labels = batch.labels if batch.indices is None else batch.indices
            flat = (batch.logits[:, 0], labels[:, 0]) if batch.binary else (batch.logits, labels)
            self.found.append(Found(name, new.text(title, *flat)))
        return replace(blank, asked=state.asked, ulps=state.ulps, faults=tuple(faults), reached=state.ended)

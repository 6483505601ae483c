"""Check a loss: call it, judge what it returns, collect."""

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from xentcli.check.causes import causes
from xentcli.check.findings import judge_response, spread_of
from xentcli.check.pace import Pace, why_unanswered
from xentcli.check.plan import CONTRACT_CATEGORY, PROPERTY, CheckSpec, case_spec, in_dtypes, plan, suited
from xentcli.check.report import SEARCH, CheckFinding, CheckResult, Report, worst_severity
from xentcli.check.search import ROUNDS, rounds, shrink, split
from xentcli.check.tolerance import MaxUlps
from xentcli.errors import XentError, count, did_you_mean
from xentcli.frameworks import versions
from xentcli.frameworks.function import LossFunction
from xentcli.frameworks.program import Program
from xentcli.frameworks.subject import why_unsupported
from xentcli.load.write import case_yaml

if TYPE_CHECKING:
    from xentcli.check.probes import Probe
    from xentcli.frameworks.subject import Subject
    from xentcli.model import Case
    from xentcli.process import Fields

BUDGET = 120.0  # seconds; JAX, which compiles every shape of array, computes for 30


@dataclass(frozen=True, slots=True)
class Options:
    """What is checked, and how strictly.

    ``only`` and ``skip`` name checks or categories; ``skip`` gives the reason for each. ``cases`` are checked
    in place of everything else, where there are any. ``dtypes``, where there are any, are those of the
    logits.
    """

    max_ulps: MaxUlps = field(default_factory=MaxUlps)
    only: Sequence[str] = ()
    skip: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    repeat: int = 1
    cases: Sequence["Case"] = ()
    dtypes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise XentError(f"a seed is at least 0, not {self.seed}")
        if self.repeat < 1:
            raise XentError(f"repeat is at least 1, not {self.repeat}")


def deadline(budget: float) -> float:
    """Return when a budget in seconds is spent, by ``time.monotonic``; raises XentError for no such time."""
    if not 0 < budget < math.inf:
        raise XentError(f"a budget is a number of seconds above 0, not {budget:g}")
    return time.monotonic() + budget


def check(  # noqa: PLR0913, PLR0917 - the last two have defaults
    subject: "Subject",
    options: Options,
    target: str,
    deadline: float,
    ordinary: Sequence[CheckFinding] = (),
    show: Callable[[float], None] = lambda _: None,
) -> Report:
    """Run the checks that suit a loss, until the deadline; raises XentError where an option names none.

    ``ordinary`` has what is wrong with ordinary logits; ``show`` takes the share that is done.
    """
    specs = plan(
        subject.convention,
        subject.parameters,
        gradient=subject.has_gradient,
        autodiff=subject.has_autodiff,
    )
    if options.cases:
        specs = tuple(case_spec(case, subject.convention, subject.parameters) for case in options.cases)
    if isinstance(subject, Program):
        specs = tuple(suited(spec, subject) for spec in specs)
        specs = tuple(spec for spec in specs if spec.unsupported is None or options.cases)
    specs = tuple(in_dtypes(spec, options.dtypes) for spec in specs)
    known = dict.fromkeys(name for spec in specs for name in (spec.category, spec.name))
    for name in (*options.only, *options.skip):
        if name not in known:
            near = did_you_mean(name, list(known), "expected a check or a category that suits this loss")
            raise XentError(f"no check is called '{name}'{near}")
    chosen = [spec for spec in specs if not options.only or {spec.name, spec.category} & set(options.only)]
    contract = [spec for spec in chosen if spec.category == CONTRACT_CATEGORY]
    others = [spec for spec in chosen if spec.category != CONTRACT_CATEGORY]
    # The contract is checked in the calls of the others: where it alone is chosen, of all but the search.
    called = others or [spec for spec in specs if spec.category not in {CONTRACT_CATEGORY, SEARCH}]
    run = _Run(subject, options, target, deadline)
    run.take_turns(called, show)
    results = tuple(run.results[spec] for spec in others)
    results += tuple(run.check_contract(spec) for spec in contract)
    used = subject.versions if isinstance(subject, Program) else versions(target, subject.convention)
    return Report(
        target=target,
        convention=subject.convention.name,
        versions=used,
        max_ulps=options.max_ulps,
        checks=results,
        counterexamples=run.counterexamples,
        causes=causes(results, run.right_batches(others), ordinary),
        ordinary=worst_severity(ordinary),
        device=subject.convention.device,
        remarks=run.remarks,
    )


class _Run:
    """One pass over the checks; what breaks the contract is collected on the way."""

    def __init__(self, subject: "Subject", options: Options, target: str, deadline: float) -> None:
        self._subject, self._options, self._target, self._deadline = subject, options, target, deadline
        self._broken: list[tuple[str, str, str]] = []  # item of the contract, how, in which check
        self._returned = False
        self._pace = Pace(deadline)
        self._left_out: str | None = None
        self._lost: str | None = None  # how a device was lost that the loss cannot be given again
        self.results: dict[CheckSpec, CheckResult] = {}
        self.counterexamples: dict[str, str] = {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of the device."""
        device, lacks = self._subject.convention.device, self._subject.convention.lacks
        said = [f"{' and '.join(lacks)} left out: {device} has no such arrays"] if lacks else []
        if self._lost is not None:
            said.append(f"{device} was lost {self._lost}; 'xent check' would call the rest in a new process")
        return (*said, *filter(None, [self._left_out]))

    def take_turns(self, specs: Sequence[CheckSpec], show: Callable[[float], None]) -> None:
        """Run checks, one call of each category after the other: little time is enough to begin them all."""
        categories = dict.fromkeys(spec.category for spec in specs)
        turns = deque(
            self._category([spec for spec in specs if spec.category == name]) for name in categories
        )
        done, total = 0, sum(ROUNDS if spec.category == SEARCH else len(spec.probes) for spec in specs)
        late: list[Iterator[bool]] = []
        while turns:
            turn = turns.popleft()
            if (goes_on := next(turn, None)) is not None:
                done += 1
                show(done / (total + 1))
                (turns if goes_on else late).append(turn)
        for turn in late:
            deque(turn, maxlen=0)

    def _category(self, specs: Sequence[CheckSpec]) -> Iterator[bool]:
        """Run the checks of a category; yield after each call, False before what the others go before."""
        for spec in specs:
            result = self._begin(spec)
            if result.skipped is None:
                check = self._search(result) if spec.category == SEARCH else self._call_all(spec, result)
                result = yield from check
            self.results[spec] = result

    def _begin(self, spec: CheckSpec) -> CheckResult:
        skip = self._options.skip
        reason = skip.get(spec.name, skip.get(spec.category, spec.unsupported))
        return CheckResult(spec.category, spec.name, spec.asserts, skipped=reason, since=spec.since)

    def right_batches(self, specs: Sequence[CheckSpec]) -> "list[Probe]":
        """Return the batches of the cases that passed."""
        cases = [spec for spec in specs if spec.category not in {PROPERTY, SEARCH}]
        passed = (spec.probes[0] for spec in cases if self.results[spec].status == "passed")
        # Every method is run on them, and on a batch that is repeated only once.
        return [probe for probe in passed if not probe.is_large and probe.repeated is None]

    def check_contract(self, spec: CheckSpec) -> CheckResult:
        """Say whether all calls together kept to one item of the contract."""
        result = self._begin(spec)
        if result.skipped is not None:
            return result
        findings = []
        if broken := [place for item, *place in self._broken if item == result.name]:
            how, name = broken[0]
            more = f" and {count(len(broken) - 1, 'more call')}" if len(broken) > 1 else ""
            findings = [CheckFinding(result.name, how, f"in {name}{more}")]
        return replace(result, findings=tuple(findings), reached=self._returned or result.name == "quiet")

    def _call_all(self, spec: CheckSpec, result: CheckResult) -> Generator[bool, None, CheckResult]:
        called: list[tuple[Probe, Fields]] = []
        findings: list[CheckFinding] = []
        errors: dict[str, Decimal] = {}
        spread, left_out, reached = Decimal(0), None, False
        with suppress(TimeoutError):
            for one in spec.probes:
                responses, reason = self._responses(one, spec)
                left_out = left_out or reason
                for response in responses:
                    found, error = judge_response(one, response, self._options.max_ulps)
                    findings += [each for each in found if spec.kinds is None or each.name in spec.kinds]
                    if error is not None and spec.kinds is None:
                        errors[one.dtype] = max(error, errors.get(one.dtype, error))
                called += [(one, response) for response in responses[:1]]
                spread = max(spread, spread_of(one, responses))
                yield True
            reached = True
        findings += [] if spec.rule is None else spec.rule(called, self._options.max_ulps)
        worst = max(errors.values(), default=None)
        result = replace(
            result, batches=len(called), ulps=worst, errors=errors, spread=spread, skipped=left_out
        )
        return replace(result, findings=tuple(findings), reached=reached)

    @property
    def _restarting(self) -> float:
        return getattr(self._subject, "restarting", 0.0)

    def _responses(self, one: "Probe", spec: CheckSpec) -> "tuple[list[Fields], str | None]":
        """Return the response to a batch, several of repeated calls; or none, and why it is left out."""
        if reason := self._pace.why_left_out(one):
            return [], reason
        if reason := self._pace.why_no_label(one, self._restarting):
            self._left_out = reason  # the labels before it say enough of the check
            return [], None
        responses = []
        for _ in range(self._options.repeat):
            begin, restarting = time.monotonic(), self._restarting
            response = self._call(one, spec.name, compared=spec.rule is not None)
            if "losses" in response or response.get("late"):  # what is refused takes no time
                self._pace.note(one, time.monotonic() - begin - (self._restarting - restarting))
            if reason := why_unanswered(one, response):
                return [], reason
            responses.append(response)
        return responses, None

    def _search(self, result: CheckResult) -> Generator[bool, None, CheckResult]:
        """Search until the rounds or the time are up; keep an example of each finding, and simplify it."""
        examples: dict[str, Probe] = {}
        in_batches: list[CheckFinding] = []
        errors: list[Decimal | None] = []
        ended = False
        with suppress(TimeoutError):
            dtypes, convention = self._options.dtypes, self._subject.convention
            for batch in rounds(convention, self._options.seed):
                if (dtypes and batch.dtype not in dtypes) or batch.dtype in convention.lacks:
                    continue
                if why_unsupported(self._subject, batch.request()) is not None:
                    continue
                findings, error = self._judge(batch)
                errors.append(error)
                rows = split(batch) if findings else []
                alone = {name: one for one in reversed(rows) for name in self._findings(one)}
                examples = alone | examples
                in_batches += [] if alone else findings[:1]  # of this batch, or of this call, only
                yield True
            yield False  # to make examples simple takes many calls
            for name, one in examples.items():
                examples[name] = shrink(one, name, self._findings)
            ended = True
        found = tuple(self._counterexample(name, one) for name, one in examples.items())
        found += tuple(in_batches[:1]) if not found else ()
        worst = max(filter(None, errors), default=None)
        return replace(result, batches=len(errors), ulps=worst, findings=found, reached=ended)

    def _judge(self, one: "Probe") -> tuple[list[CheckFinding], Decimal | None]:
        return judge_response(one, self._call(one, SEARCH), self._options.max_ulps)

    def _findings(self, one: "Probe") -> dict[str, CheckFinding]:
        """Return the findings of one example by name."""
        return {finding.name: finding for finding in self._judge(one)[0]}

    def _counterexample(self, name: str, one: "Probe") -> CheckFinding:
        """Return the finding of an example, and keep the example as a case."""
        finding = CheckFinding(name, f"{name}, and no time was left to simplify it")
        with suppress(TimeoutError):
            finding = self._findings(one).get(name, finding)
        batch = one.batch
        labels = batch.labels if batch.indices is None else batch.indices
        arrays = (batch.logits[:, 0], labels[:, 0]) if batch.binary else (batch.logits, labels)
        text = case_yaml(f"{self._target}: {finding.statement}", *arrays)
        self.counterexamples[f"{name.replace(' ', '-')}-{one.dtype}"] = text
        return finding

    def _call(self, one: "Probe", name: str, *, compared: bool = False) -> "Fields":
        """Call the loss, and note what breaks the contract; raises TimeoutError after the deadline.

        ``compared``: its losses are with those of other calls, to the last digit.
        """
        if time.monotonic() > self._deadline or self._lost is not None:
            raise TimeoutError
        response = self._subject.respond({**one.request(), "compared": compared})
        if "lost" in response and isinstance(self._subject, LossFunction):
            self._lost = f"in {name}, {response['lost']}"
        if response.get("ended") and time.monotonic() > self._deadline:  # the deadline ended it
            raise TimeoutError
        if why_unanswered(one, response) is None:
            self._broken += [(item, how, name) for item, how in _broken_items(one, response)]
        self._returned |= "losses" in response
        return response


def _broken_items(probe: "Probe", response: "Fields") -> Iterator[tuple[str, str]]:
    """Yield what of the contract a call broke, and how."""
    if response.get("printed"):
        yield "quiet", f"printed {response['printed']!r}"
    if response.get("wrote"):
        yield "untouched", f"wrote into the {' and the '.join(response['wrote'])}"
    if "losses" not in response:
        return
    examples, shape = len(probe.batch.logits), tuple(response["shape"])
    if shape != (examples,) and not probe.only_loss:
        hint = "" if shape else "; a loss that is reduced needs --reduction"
        yield "shape", f"returned shape {shape} for {count(examples, 'example')}{hint}"
    reduces = probe.convention.reduction != "none"
    if response["dtype"] not in {probe.dtype, "float" if reduces else probe.dtype}:
        yield "dtype", f"returned {response['dtype']} for logits of {probe.dtype}"
    if response.get("gradient_dtype", probe.dtype) != probe.dtype:
        yield "dtype", f"the gradient is {response['gradient_dtype']} for logits of {probe.dtype}"
    if "gradient" in response and response["gradient"] is None:
        yield "differentiable", "for autodiff the losses do not depend on the logits"
    elif "gradient_failed" in response and not probe.may_be_refused:
        yield "differentiable", f"the gradient {response['gradient_failed']}"

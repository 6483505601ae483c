"""Check a loss: call it, judge what it returns, collect."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from xentcli.check.findings import judge_response
from xentcli.check.plan import CONTRACT_CATEGORY, CheckSpec, plan
from xentcli.check.report import SEARCH, CheckFinding, CheckResult, Report
from xentcli.check.search import rounds, shrink, split
from xentcli.errors import XentError, count, did_you_mean
from xentcli.frameworks import versions
from xentcli.judge.findings.finding import ACCURATE
from xentcli.load.write import case_yaml

if TYPE_CHECKING:
    from xentcli.check.probes import Probe
    from xentcli.frameworks.subject import Subject
    from xentcli.process import Fields

BUDGET = 120.0  # seconds; JAX, which compiles every shape of array, computes for 50


@dataclass(frozen=True, slots=True)
class Options:
    """What is checked, and how strictly.

    ``only`` and ``skip`` name checks or categories; ``skip`` gives the reason for each.
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


def deadline(budget: float) -> float:
    """Return when a budget in seconds is spent, by ``time.monotonic``; raises XentError for no such time."""
    if not 0 < budget < math.inf:
        raise XentError(f"a budget is a number of seconds above 0, not {budget:g}")
    return time.monotonic() + budget


def check(subject: "Subject", options: Options, target: str, deadline: float) -> Report:
    """Run the checks that suit a loss, until the deadline; raises XentError where an option names none."""
    specs = plan(subject.convention, subject.parameters, gradient=subject.has_gradient)
    known = dict.fromkeys(name for spec in specs for name in (spec.category, spec.name))
    for name in (*options.only, *options.skip):
        if name not in known:
            near = did_you_mean(name, list(known), "expected a check or a category that suits this loss")
            raise XentError(f"no check is called '{name}'{near}")
    chosen = [spec for spec in specs if not options.only or {spec.name, spec.category} & set(options.only)]
    contract = [spec for spec in chosen if spec.category == CONTRACT_CATEGORY]
    others = [spec for spec in chosen if spec.category != CONTRACT_CATEGORY]
    # The contract is checked in the calls of the others: where it alone is chosen, of all but the search.
    run = _Run(subject, options, target, deadline)
    called = others or [spec for spec in specs if spec.category not in {CONTRACT_CATEGORY, SEARCH}]
    results = tuple(run.check(spec) for spec in called)[: len(others)]
    results += tuple(run.check(spec) for spec in contract)
    used = versions(target, subject.convention)
    return Report(target, subject.convention.name, used, options.max_ulps, results, run.counterexamples)


class _Run:
    """One pass over the checks; what breaks the contract is collected on the way."""

    def __init__(self, subject: "Subject", options: Options, target: str, deadline: float) -> None:
        self._subject, self._options, self._target, self._deadline = subject, options, target, deadline
        self._broken: list[tuple[str, str, str]] = []  # item of the contract, how, in which check
        self._returned = False
        self.counterexamples: dict[str, str] = {}

    def check(self, spec: CheckSpec) -> CheckResult:
        """Run one check; one that time ran out in is not reached."""
        skip = self._options.skip
        reason = skip.get(spec.name, skip.get(spec.category))
        result = CheckResult(spec.category, spec.name, spec.asserts, skipped=reason)
        if reason is not None:
            return result
        if spec.category == CONTRACT_CATEGORY:
            return self._check_contract(result)
        return self._search(result) if spec.category == SEARCH else self._call_all(spec, result)

    def _check_contract(self, result: CheckResult) -> CheckResult:
        """Say whether all calls together kept to one item of the contract."""
        findings = []
        if broken := [place for item, *place in self._broken if item == result.name]:
            how, name = broken[0]
            more = f" and {count(len(broken) - 1, 'more call')}" if len(broken) > 1 else ""
            findings = [CheckFinding(result.name, how, f"in {name}{more}")]
        return replace(result, findings=tuple(findings), reached=self._returned or result.name == "quiet")

    def _call_all(self, spec: CheckSpec, result: CheckResult) -> CheckResult:
        called: list[tuple[Probe, Fields]] = []
        findings: list[CheckFinding] = []
        errors: list[Decimal] = []
        with suppress(TimeoutError):
            for one in spec.probes:
                called.append((one, self._call(one, spec.name)))
                found, error = judge_response(*called[-1], self._options.max_ulps)
                findings += [each for each in found if spec.kinds is None or each.name in spec.kinds]
                errors += [] if error is None or spec.kinds is not None else [error]
        findings += [] if spec.rule is None else spec.rule(called, self._options.max_ulps)
        worst, reached = max(errors, default=None), len(called) == len(spec.probes)
        return replace(result, batches=len(called), ulps=worst, findings=tuple(findings), reached=reached)

    def _search(self, result: CheckResult) -> CheckResult:
        """Search until the rounds or the time are up; keep an example of each finding, and simplify it."""
        examples: dict[str, Probe] = {}
        errors: list[Decimal | None] = []
        ended = False
        with suppress(TimeoutError):
            for batch in rounds(self._subject.convention, self._options.seed):
                findings, error = self._judge(batch)
                errors.append(error)
                for one in split(batch) if findings else ():
                    for name in self._findings(one):
                        examples.setdefault(name, one)
            for name, one in examples.items():
                examples[name] = shrink(one, name, self._findings)
            ended = True
        found = tuple(self._counterexample(name, one) for name, one in examples.items())
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

    def _call(self, one: "Probe", name: str) -> "Fields":
        """Call the loss, and note what breaks the contract; raises TimeoutError after the deadline."""
        if time.monotonic() > self._deadline:
            raise TimeoutError
        response = self._subject.respond(one.request())
        if response.get("ended") and time.monotonic() > self._deadline:  # the deadline ended it
            raise TimeoutError
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
    if shape != (examples,):
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

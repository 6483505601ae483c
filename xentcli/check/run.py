"""Check a loss: call it, judge what it returns, collect."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from xentcli.check.findings import judge_response
from xentcli.check.plan import CONTRACT_CATEGORY, CheckSpec, plan
from xentcli.check.report import SEARCH, CheckFinding, CheckResult, Counterexample, Report
from xentcli.check.search import OutOfTime, SearchRow, probe, search
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
    _refuse_unknown(specs, [*options.only, *options.skip])
    chosen = [spec for spec in specs if not options.only or {spec.name, spec.category} & set(options.only)]
    contract = [spec for spec in chosen if spec.category == CONTRACT_CATEGORY]
    others = [spec for spec in chosen if spec.category != CONTRACT_CATEGORY]
    # The contract is checked in the calls of the others: where it alone is chosen, of all but the search.
    run = _Run(subject, options, target, deadline)
    for spec in others or [spec for spec in specs if spec.category not in {CONTRACT_CATEGORY, SEARCH}]:
        run.check(spec)
    results = (*(run.results if others else ()), *(run.check_contract(spec) for spec in contract))
    convention = subject.convention
    used = versions(target, convention)
    return Report(target, convention.name, used, options.max_ulps, results, tuple(run.counterexamples))


def _refuse_unknown(specs: Sequence[CheckSpec], names: Sequence[str]) -> None:
    """Refuse the name of no check, or of one that does not suit the loss."""
    known = dict.fromkeys(name for spec in specs for name in (spec.category, spec.name))
    for name in names:
        if name not in known:
            near = did_you_mean(name, list(known), "expected a check or a category that suits this loss")
            raise XentError(f"no check is called '{name}'{near}")


class _Run:
    """One pass over the checks; what breaks the contract is collected on the way."""

    def __init__(self, subject: "Subject", options: Options, target: str, deadline: float) -> None:
        self._subject, self._options, self._target, self._deadline = subject, options, target, deadline
        self._broken: dict[
            str, list[tuple[str, str]]
        ] = {}  # by item of the contract: how, and in which check
        self._returned = False
        self.results: list[CheckResult] = []
        self.counterexamples: list[Counterexample] = []

    def check(self, spec: CheckSpec) -> None:
        """Run one check; one that time ran out in is not reached."""
        result = self._blank(spec)
        if result.skipped is None:
            result = self._search(result) if spec.category == SEARCH else self._call_all(spec, result)
        self.results.append(result)

    def check_contract(self, spec: CheckSpec) -> CheckResult:
        """Say whether all calls together kept to one item of the contract."""
        result, broken = self._blank(spec), self._broken.get(spec.name, [])
        findings = []
        if broken and result.skipped is None:
            how, name = broken[0]
            more = f" and {count(len(broken) - 1, 'more call')}" if len(broken) > 1 else ""
            findings = [CheckFinding(spec.name, how, f"in {name}{more}")]
        return replace(result, findings=tuple(findings), reached=self._returned or spec.name == "quiet")

    def _blank(self, spec: CheckSpec) -> CheckResult:
        skip = self._options.skip
        reason = skip.get(spec.name, skip.get(spec.category))
        return CheckResult(spec.category, spec.name, spec.asserts, skipped=reason)

    def _call_all(self, spec: CheckSpec, result: CheckResult) -> CheckResult:
        called: list[tuple[Probe, Fields]] = []
        findings: list[CheckFinding] = []
        errors: list[Decimal] = []
        with suppress(OutOfTime):
            for each in spec.probes:
                called.append((each, self._call(each, spec.name)))
                against_truth, error = judge_response(*called[-1], self._options.max_ulps)
                findings += [finding for finding in against_truth if spec.counts(finding)]
                errors += [] if error is None or spec.kinds is not None else [error]
        findings += [] if spec.rule is None else spec.rule(called, self._options.max_ulps)
        return replace(
            result,
            batches=len(called),
            ulps=max(errors, default=None),
            findings=tuple(findings),
            reached=len(called) == len(spec.probes),
        )

    def _search(self, result: CheckResult) -> CheckResult:
        """Search; of each kind of finding one row is kept and made simple."""
        state = search(self._judge, self._subject.convention, self._options.seed)
        findings = [self._counterexample(name, row) for name, row in state.rows.items()]
        return replace(
            result, batches=state.batches, ulps=state.ulps, findings=tuple(findings), reached=state.ended
        )

    def _judge(self, one: "Probe") -> tuple[list[CheckFinding], Decimal | None]:
        return judge_response(one, self._call(one, SEARCH), self._options.max_ulps)

    def _counterexample(self, name: str, row: SearchRow) -> CheckFinding:
        """Return the finding of a row, and keep the row as a case."""
        one = probe([row], self._subject.convention)
        finding = CheckFinding(name, f"{name}, and no time was left to simplify it")
        with suppress(OutOfTime):
            finding = next((each for each in self._judge(one)[0] if each.name == name), finding)
        batch = one.batch
        labels = batch.labels if batch.indices is None else batch.indices
        arrays = (batch.logits[:, 0], labels[:, 0]) if batch.binary else (batch.logits, labels)
        text = case_yaml(f"{self._target}: {finding.statement}", *arrays)
        self.counterexamples.append(Counterexample(f"{name.replace(' ', '-')}-{row.dtype}", text))
        return finding

    def _call(self, one: "Probe", name: str) -> "Fields":
        """Call the loss, and note what breaks the contract; ``name`` is the check's."""
        if time.monotonic() > self._deadline:
            raise OutOfTime
        response = self._subject.respond(one.request())
        if response.get("ended") and time.monotonic() > self._deadline:  # the deadline ended it
            raise OutOfTime
        for item, how in _broken_items(one, response):
            self._broken.setdefault(item, []).append((how, name))
        self._returned |= "losses" in response
        return response


def _broken_items(probe: "Probe", response: "Fields") -> list[tuple[str, str]]:
    """Return what of the contract a call broke, and how."""
    broken = []
    if response.get("printed"):
        broken.append(("quiet", f"printed {response['printed']!r}"))
    if response.get("wrote"):
        broken.append(("untouched", f"wrote into the {' and the '.join(response['wrote'])}"))
    if "losses" not in response:
        return broken
    examples, shape = len(probe.batch.logits), tuple(response["shape"])
    if shape != (examples,):
        hint = "" if shape else "; a loss that is reduced needs --reduction"
        broken.append(("shape", f"returned shape {shape} for {count(examples, 'example')}{hint}"))
    reduces = probe.convention.reduction != "none"
    if response["dtype"] not in {probe.dtype, "float" if reduces else probe.dtype}:
        broken.append(("dtype", f"returned {response['dtype']} for logits of {probe.dtype}"))
    if response.get("gradient_dtype", probe.dtype) != probe.dtype:
        broken.append(("dtype", f"the gradient is {response['gradient_dtype']} for logits of {probe.dtype}"))
    if "gradient" in response and response["gradient"] is None:
        broken.append(("differentiable", "for autodiff the losses do not depend on the logits"))
    elif "gradient_failed" in response and not probe.may_be_refused:
        broken.append(("differentiable", f"the gradient {response['gradient_failed']}"))
    return broken

"""The first call of a loss, with a batch that breaks nothing: whether it can be judged, how it is called."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xentcli.check.findings import judge_response
from xentcli.check.probes import Probe
from xentcli.check.report import CheckFinding
from xentcli.errors import XentError
from xentcli.frameworks.conventions import convention_of_library, find_convention
from xentcli.frameworks.subject import InSubprocess
from xentcli.judge.findings.finding import ACCURATE

if TYPE_CHECKING:
    from xentcli.frameworks.conventions import Convention
    from xentcli.frameworks.subject import Subject
    from xentcli.process import Fields

_LOGITS: Final = ((0.5, -1.25, 2.0), (1.5, 0.25, -0.75))
_LABELS: Final = (0, 2)
_NEAR: Final = 1e-3  # the first digits tell a mean from a sum


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of the first call: ``problem`` says why nothing can be judged, None where it can.

    ``findings`` are what is wrong with the losses.
    """

    problem: str | None
    findings: tuple[CheckFinding, ...] = ()


def try_loss(subject: "Subject", max_ulps: float) -> Trial:
    """Call a loss with two rows of ordinary logits, in float32."""
    convention = subject.convention
    logits, labels = (_LOGITS[0], (1.0, 0.0, 1.0)) if convention.binary else (_LOGITS, _LABELS)
    probe = Probe.build(convention, logits, labels, "float32", convention.reduction)
    response = subject.respond(probe.request())
    problem = _problem(probe, response)
    if problem is not None:
        return Trial(problem)
    findings, _ = judge_response(probe, response, max_ulps)
    if "gradient" in response and response["gradient"] is None:
        findings.append(CheckFinding("differentiable", "for autodiff the losses do not depend on the logits"))
    return Trial(None, tuple(findings))


def open_subject(
    target: str, gradient: str | None, convention: "Convention", deadline: float, *, is_chosen: bool
) -> tuple[InSubprocess, tuple[CheckFinding, ...], str]:
    """Start a loss in a process and call it once; return it, what was wrong, and a note on the call.

    One that fails as NumPy's is called as one of the library that its file imports, unless its convention
    ``is_chosen``. Raises XentError where the target cannot be imported, or cannot be judged.
    """
    subject = InSubprocess(target, gradient, convention, deadline)
    trial = try_loss(subject, ACCURATE)
    if (problem := trial.problem) is None:
        return subject, trial.findings, ""
    subject.stop()
    if subject.is_class:
        name = target.rpartition(":")[2]
        called = f"a function that calls an instance, such as def loss(x, y): return {name}()(x, y)"
        raise XentError(f"{target} is a class; name {f'{target}.apply' if subject.has_apply else called}")
    hint = "" if "; " in problem else f"; it was called as {convention.name} (--list has other conventions)"
    for library in () if is_chosen else subject.libraries:
        name = convention_of_library(library)
        other = InSubprocess(target, gradient, find_convention(name, target, convention.reduction), deadline)
        trial = try_loss(other, ACCURATE)
        if trial.problem is None:
            return other, trial.findings, f"called as {name}: it imports {library}"
        other.stop()
        problem, hint = f"called as {name}, {trial.problem}", ""
    raise XentError(f"{target} was not judged: {problem}{hint}")


def _problem(probe: Probe, response: "Fields") -> str | None:
    """Say why a response to ordinary logits holds no losses."""
    if "raised" in response:
        what = response["raised"] if response.get("ended") else f"it raised {response['raised']}"
        return f"{what} (of ordinary logits, 2 × 3 in float32)"
    if "unusable" in response:
        return f"it {response['unusable']}"
    losses, true = response["losses"], probe.truth.losses
    if len(losses) == len(true):
        return None
    if len(losses) != 1:
        return f"it returns shape {tuple(response['shape'])} for {len(true)} examples; expected one loss each"
    known = {"mean": float(sum(true)) / len(true), "sum": float(sum(true))}
    near = [name for name, loss in known.items() if abs(losses[0] - loss) <= _NEAR * loss]
    options = " or ".join(f"--reduction {name}" for name in near or known)
    return f"it returns one number for {len(true)} examples; add {options}"

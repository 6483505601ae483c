"""The first call of a loss, with a batch that breaks nothing: whether it can be judged, how it is called."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from xentcli.check.findings import judge_response
from xentcli.check.probes import Probe
from xentcli.check.report import CheckFinding
from xentcli.check.tolerance import MaxUlps
from xentcli.errors import XentError, printable
from xentcli.formats import FORMATS
from xentcli.frameworks.conventions import CPU, convention_of_library, find_convention
from xentcli.frameworks.program import Program
from xentcli.frameworks.subject import InSubprocess, why_unsupported

if TYPE_CHECKING:
    from xentcli.frameworks.conventions import Convention
    from xentcli.frameworks.subject import Subject
    from xentcli.process import Fields

_LOGITS: Final = ((0.5, -1.25, 2.0), (1.5, 0.25, -0.75))
_LABELS: Final = (0, 2)
_NO_DEVICE: Final = "NumPy's arrays are on the cpu; --convention says whose arrays it takes"
_NEAR: Final = 1e-3  # the first digits tell a mean from a sum


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of the first call: ``problem`` says why nothing can be judged, None where it can.

    ``findings`` are what is wrong with the losses.
    """

    problem: str | None
    findings: tuple[CheckFinding, ...] = ()


def try_loss(subject: "Subject", max_ulps: MaxUlps) -> Trial:
    """Call a loss with two rows of ordinary logits, in float32 unless it has none."""
    convention = subject.convention
    logits, labels = (_LOGITS[0], (1.0, 0.0, 1.0)) if convention.binary else (_LOGITS, _LABELS)
    dtype = next(name for name in ("float32", *FORMATS) if why_unsupported(subject, {"dtype": name}) is None)
    probe = Probe.build(convention, logits, labels, dtype, convention.reduction)
    response = subject.respond(probe.request())
    problem = _problem(probe, response, may_reduce=not isinstance(subject, Program))
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
    known = is_chosen or convention.device == CPU or convention.library != "numpy"
    begin = convention if known else replace(convention, device=CPU)  # NumPy has no other
    subject = InSubprocess(target, gradient, begin, deadline)
    trial = try_loss(subject, MaxUlps()) if known else Trial(_NO_DEVICE)
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
        how = find_convention(name, target, convention.reduction, convention.device)
        other = InSubprocess(target, gradient, how, deadline)
        trial = try_loss(other, MaxUlps())
        if trial.problem is None:
            return other, trial.findings, f"called as {name}: it imports {library}"
        other.stop()
        problem, hint = f"called as {name}, {trial.problem}", ""
    raise XentError(f"{target} was not judged: {problem}{hint}")


def open_program(command: str, deadline: float) -> tuple[Program, tuple[CheckFinding, ...]]:
    """Start a program and call it once; return it and what was wrong.

    Raises XentError where it cannot be started, or cannot be judged.
    """
    subject = Program(command, deadline)
    try:
        trial = try_loss(subject, MaxUlps())
    except BaseException:  # interrupted
        subject.stop()
        raise
    if trial.problem is None:
        return subject, trial.findings
    subject.stop()
    raise XentError(f"{printable(command)} was not judged: {trial.problem}")


def _problem(probe: Probe, response: "Fields", *, may_reduce: bool) -> str | None:
    """Say why a response to ordinary logits holds no losses."""
    if "raised" in response:
        what = response["raised"] if response.get("ended") else f"it raised {response['raised']}"
        return f"{what} (of ordinary logits, 2 × 3 in {probe.dtype})"
    if "unusable" in response:
        return f"it {response['unusable']}"
    losses, true = response["losses"], probe.truth.losses
    if len(losses) == len(true):
        return None
    if len(losses) != 1 or not may_reduce:
        return f"it returns shape {tuple(response['shape'])} for {len(true)} examples; expected one loss each"
    known = {"mean": float(sum(true)) / len(true), "sum": float(sum(true))}
    near = [name for name, loss in known.items() if abs(losses[0] - loss) <= _NEAR * loss]
    options = " or ".join(f"--reduction {name}" for name in near or known)
    return f"it returns one number for {len(true)} examples; add {options}"

"""``check_loss`` for one check or all, ``checks`` to parametrise a test over them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xentcli.check.plan import plan
from xentcli.check.run import BUDGET, Options, check, deadline
from xentcli.check.tolerance import MaxUlps
from xentcli.check.trial import try_loss
from xentcli.frameworks.conventions import CPU, find_convention
from xentcli.frameworks.function import LossFunction
from xentcli.judge.findings.finding import ACCURATE
from xentcli.show import Screen
from xentcli.show.report import render

if TYPE_CHECKING:
    from xentcli.check.plan import CheckSpec
    from xentcli.check.report import Report

Loss = Callable[..., Any]


def checks(
    loss: Loss,
    convention: str | None = None,
    *,
    gradient: Loss | None = None,
    reduction: str | None = None,
    device: str = CPU,
) -> list[str]:
    """Name the checks that suit a loss of a convention, to parametrise a test with.

    ``convention`` is a name, or the path of a file with a convention of one's own (.toml). Raises XentError
    for an unknown convention, or one whose library is not installed.
    """
    subject = build(loss, convention, gradient, reduction, device)
    specs = plan_of(subject)
    return [spec.name for spec in specs]


def check_loss(  # noqa: PLR0913 - each is an option of xent check too
    loss: Loss,
    convention: str | None = None,
    *,
    only: str | Sequence[str] = (),
    gradient: Loss | None = None,
    reduction: str | None = None,
    skip: Mapping[str, str] | None = None,
    max_ulps: float | Mapping[str, float] = ACCURATE,
    seed: int = 0,
    repeat: int = 1,
    budget: float = BUDGET,
    device: str = CPU,
) -> None:
    """Raise AssertionError, with verdict and findings, where a loss fails a check; see ``xent check``.

    The loss is called in this process, by the convention, which unless given is that of the library that it
    comes from, or numpy's: for ``numpy`` with logits (N, C) of a floating
    dtype and labels (N,) int64, to return losses (N,) of that dtype. ``only`` and ``skip``, which gives
    reasons, name checks or categories; ``gradient`` is a function of the same arguments that returns (N, C);
    ``max_ulps`` is the error allowed besides what rounding must cost, one number or a number
    per dtype, such as ``{"bfloat16": 1}``; each batch is called with ``repeat`` times; ``budget`` is in
    seconds; ``device`` is where the arrays are, such as ``"cuda:1"``. Raises XentError for unknown names, a
    library that is not installed and a device that is not there.
    """
    chosen = (only,) if isinstance(only, str) else tuple(only)
    ulps = MaxUlps.from_value(max_ulps)
    options = Options(max_ulps=ulps, only=chosen, skip=skip or {}, seed=seed, repeat=repeat)
    subject = build(loss, convention, gradient, reduction, device)
    report = judge(loss, subject, options, deadline(budget))
    if not report.passed:
        raise AssertionError(described(report))


def build(
    loss: Loss, convention: str | None, gradient: Loss | None, reduction: str | None, device: str = CPU
) -> LossFunction:
    """Return a loss as what is called in this process; raises XentError where that cannot be."""
    library = str(getattr(loss, "__module__", None) or type(loss).__module__)
    return LossFunction.build(loss, gradient, find_convention(convention, library, reduction, device))


def plan_of(subject: LossFunction) -> "tuple[CheckSpec, ...]":
    """Return the checks that suit a loss."""
    return plan(
        subject.convention,
        subject.parameters,
        gradient=subject.has_gradient,
        autodiff=subject.has_autodiff,
    )


def judge(loss: Loss, subject: LossFunction, options: Options, end: float) -> "Report":
    """Run the checks until a deadline; raises AssertionError where a loss cannot be judged."""
    name = getattr(loss, "__qualname__", repr(loss))
    trial = try_loss(subject, options.max_ulps)
    if trial.problem is not None:
        raise AssertionError(f"{name} was not judged: {trial.problem}")
    return check(subject, options, name, end, ordinary=trial.findings)


def described(report: "Report") -> str:
    """Return the verdict with every finding, as in a file."""
    return render(report, "plain", Screen(100, is_terminal=False, colour=False, unicode=True), verbose=True)

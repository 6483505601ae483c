"""xent in a test suite: ``check_loss`` for one check or all, ``checks`` to parametrise a test over them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xentcli.check.plan import plan
from xentcli.check.run import BUDGET, Options, check, deadline
from xentcli.check.trial import try_loss
from xentcli.frameworks.conventions import find_convention
from xentcli.frameworks.function import LossFunction
from xentcli.judge.findings.finding import ACCURATE
from xentcli.show import Screen
from xentcli.show.report import render

__all__ = ["check_loss", "checks"]


def checks(
    loss: Callable[..., Any],
    convention: str | None = None,
    *,
    gradient: Callable[..., Any] | None = None,
    reduction: str | None = None,
) -> list[str]:
    """Name the checks that suit a loss of a convention, to parametrise a test with.

    Raises XentError for an unknown convention, or one whose library is not installed.
    """
    subject = LossFunction.build(loss, gradient, find_convention(convention, _library_of(loss), reduction))
    specs = plan(subject.convention, subject.parameters, gradient=subject.has_gradient)
    return [spec.name for spec in specs]


def _library_of(loss: Callable[..., Any]) -> str:
    """Name the library that a function or a module of it comes from."""
    return str(getattr(loss, "__module__", None) or type(loss).__module__)


def check_loss(  # noqa: PLR0913 - each is an option of xent check too
    loss: Callable[..., Any],
    convention: str | None = None,
    *,
    only: str | Sequence[str] = (),
    gradient: Callable[..., Any] | None = None,
    reduction: str | None = None,
    skip: Mapping[str, str] | None = None,
    max_ulps: float = ACCURATE,
    seed: int = 0,
    budget: float = BUDGET,
) -> None:
    """Raise AssertionError, with verdict and findings, where a loss fails a check; see ``xent check``.

    The loss is called in this process, by the convention, which unless given is that of the library that it
    comes from, or numpy's: for ``numpy`` with logits (N, C) of a floating
    dtype and labels (N,) int64, to return losses (N,) of that dtype. ``only`` and ``skip``, which gives
    reasons, name checks or categories; ``gradient`` is a function of the same arguments that returns (N, C);
    ``max_ulps`` is the error allowed besides what rounding must cost; ``budget`` is in seconds. Raises
    XentError for unknown names and a library that is not installed.
    """
    end = deadline(budget)
    subject = LossFunction.build(loss, gradient, find_convention(convention, _library_of(loss), reduction))
    chosen = (only,) if isinstance(only, str) else tuple(only)
    options = Options(max_ulps=max_ulps, only=chosen, skip=skip or {}, seed=seed)
    name = getattr(loss, "__qualname__", repr(loss))
    trial = try_loss(subject, max_ulps)
    if trial.problem is not None:
        raise AssertionError(f"{name} was not judged: {trial.problem}")
    report = check(subject, options, name, end, ordinary=trial.findings)
    if not report.passed:
        screen = Screen(100, is_terminal=False, colour=False, unicode=True)
        raise AssertionError(render(report, "plain", screen, verbose=True))

"""The pytest plug-in: the fixture ``xent_check`` makes of one test a test per check and dtype of a loss.

pytest imports this whenever it starts: what takes time is imported where a test uses the fixture.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from xentcli.testing.items import Item

_FIXTURE = "xent_check"
_ARGUMENTS = "convention, reduction, dtypes, only, skip, max_ulps, seed, repeat, budget, device"
_MARKERS = (
    f"xent({_ARGUMENTS}): how the fixture xent_check calls a loss, and what it checks",
    "gpu: calls a loss on a device other than the CPU",
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(trylast=True)  # after the parameters of the test itself
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test per check and dtype of one that uses the fixture; the loss is not called for that."""
    if _FIXTURE not in metafunc.fixturenames:
        return
    from xentcli.errors import XentError
    from xentcli.testing.items import Settings, items

    try:
        found = items(Settings.build(list(metafunc.definition.iter_markers("xent"))))
    except XentError as error:
        pytest.fail(f"{metafunc.function.__qualname__}: {error}", pytrace=False)
    metafunc.parametrize(
        _FIXTURE, [pytest.param(item, id=item.id, marks=_marks(item)) for item in found], indirect=True
    )


def _marks(item: "Item") -> list[pytest.MarkDecorator]:
    skipped = [] if item.skipped is None else [pytest.mark.skip(reason=item.skipped)]
    on_device = [] if item.settings.device == "cpu" else [pytest.mark.gpu]
    return [pytest.mark.xent, *on_device, *skipped]


@pytest.hookimpl(trylast=True)  # after the test itself, where that did not raise
def pytest_runtest_call(item: pytest.Item) -> None:
    """Fail a test that has the fixture and checked nothing."""
    check = getattr(item, "funcargs", {}).get(_FIXTURE)
    if isinstance(check, XentCheck) and not check.is_called:
        pytest.fail("xent_check was not called: call it with the loss, as xent_check(loss)", pytrace=False)


@pytest.fixture
def xent_check(request: pytest.FixtureRequest) -> "XentCheck":
    """Check a loss: ``xent_check(loss)``, once per check and dtype; ``pytest.mark.xent`` says how."""
    return XentCheck(request.param)


class XentCheck:
    """One check of a loss, called with the loss."""

    def __init__(self, item: "Item") -> None:
        self._item, self.is_called = item, False

    def __call__(self, loss: "Callable[..., Any]", *, gradient: "Callable[..., Any] | None" = None) -> None:
        """Fail the test where the loss fails the check, with the verdict; skip it where it does not suit.

        The loss is called in this process; ``gradient`` is a function of the same arguments that returns
        d loss / d logits of each example, (N, C).
        """
        __tracebackhide__ = True
        self.is_called = True
        from xentcli.errors import XentError

        failed = reason = None
        try:
            reason = self._item.check(loss, gradient)
        except (AssertionError, XentError) as error:
            failed = str(error)
        if failed is not None:
            pytest.fail(failed, pytrace=False)
        if reason is not None:
            pytest.skip(reason)

"""Each test of large arrays on both backends, where numba is installed."""

import importlib.util
from collections.abc import Iterator

import pytest

HAS_NUMBA = importlib.util.find_spec("numba") is not None
needs_numba = pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed: pip install 'xent[fast]'")


@pytest.fixture(scope="module", autouse=True, params=["numpy", pytest.param("fast", marks=needs_numba)])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Evaluate by a backend; of a module, for Hypothesis takes no fixture of a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XENT_BACKEND", request.param)
        yield request.param

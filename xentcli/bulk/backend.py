"""Which backend evaluates large arrays: NumPy, or the kernels that numba compiles."""

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from xentcli.errors import XentError

if TYPE_CHECKING:
    from types import ModuleType

BACKENDS: Final = ("numpy", "fast")


def load_fast(backend: str | None = None) -> "ModuleType | None":
    """Return ``xentcli.bulk.fast``, None where the backend is NumPy.

    Raises XentError for an unknown backend, and for fast where numba cannot be imported.
    """
    name = backend or os.environ.get("XENT_BACKEND") or None
    if name not in {None, *BACKENDS}:
        source = "backend" if backend else "XENT_BACKEND"
        raise XentError(f"{source} is {name!r}; expected {' or '.join(BACKENDS)}")
    if name == "numpy":
        return None
    found = _import()
    if isinstance(found, str):
        if name is None:
            return None
        raise XentError(f"the backend fast needs numba: pip install 'xent[fast]' ({found})")
    return found


@lru_cache(maxsize=1)
def _import() -> "ModuleType | str":
    """Import the compiled backend, or return why not: numba is not there, or does not work."""
    try:
        from xentcli.bulk import fast
    except (ImportError, RuntimeError) as error:  # the second without a folder for what is compiled
        return str(error)
    return fast


def in_use() -> str:
    """Say in words which backend large arrays are evaluated by, and its version."""
    if load_fast() is None:
        import numpy as np

        return f"numpy {np.__version__}"
    from importlib.metadata import version

    return f"fast, numba {version('numba')}"

"""How exp, log, sums and division are carried out: the only place where kernels get their numbers from."""

from typing import cast

from xentcli.errors import XentError
from xentcli.methods.arithmetic.base import PYTHON, Arithmetic
from xentcli.methods.arithmetic.eigen import Eigen, EigenAvx
from xentcli.methods.arithmetic.flushed import Flushed

__all__ = ["ARITHMETICS", "PYTHON", "Arithmetic", "by_name", "get"]

ARITHMETICS = (Arithmetic, Eigen, EigenAvx)


def by_name(name: str) -> type[Arithmetic]:
    """Return the class of an arithmetic."""
    return next(arithmetic for arithmetic in ARITHMETICS if arithmetic.name == name)


def get(
    name: str,
    dtype: str,
    accumulate: str | None = None,
    *,
    sequential: bool = False,
    flush_subnormals: bool = False,
) -> Arithmetic:
    """Return an arithmetic; raises XentError where it does not support the dtype or the way of adding."""
    arithmetic = by_name(name)
    if dtype not in arithmetic.dtypes:
        raise XentError(
            f"arithmetic {name} supports {' and '.join(arithmetic.dtypes)}, not {dtype}; "
            f"take arithmetic numpy or dtype {arithmetic.dtypes[0]}"
        )
    if (accumulate is not None or sequential) and arithmetic.own_sums:
        raise XentError(f"arithmetic {name} has sums of its own; accumulate goes with arithmetic numpy")
    instance = arithmetic(accumulate, sequential=sequential)
    return cast("Arithmetic", Flushed(instance)) if flush_subnormals else instance

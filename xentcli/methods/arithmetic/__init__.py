"""How exp, log, sums and division are carried out: the only place where kernels get their numbers from."""

from typing import cast

from xentcli.errors import XentError
from xentcli.methods.arithmetic.base import PYTHON, Arithmetic
from xentcli.methods.arithmetic.eigen import Eigen, EigenAvx
from xentcli.methods.arithmetic.flushed import Flushed

__all__ = ["ARITHMETICS", "PYTHON", "Arithmetic", "get", "named"]

ARITHMETICS = (Arithmetic, Eigen, EigenAvx)


def named(name: str) -> type[Arithmetic]:
    """Return the kind of arithmetic of that name."""
    return next(arithmetic for arithmetic in ARITHMETICS if arithmetic.name == name)


def get(
    name: str,
    dtype: str,
    accumulate: str | None = None,
    *,
    in_order: bool = False,
    flush_subnormals: bool = False,
) -> Arithmetic:
    """Return the arithmetic of that name; raises XentError where it does not work so or in that dtype."""
    found = named(name)
    if dtype not in found.dtypes:
        raise XentError(
            f"arithmetic {name} works in {' and '.join(found.dtypes)}, not in {dtype}; "
            f"take arithmetic numpy or dtype {found.dtypes[0]}"
        )
    if (accumulate is not None or in_order) and found.own_sums:
        raise XentError(f"arithmetic {name} has sums of its own; accumulate goes with arithmetic numpy")
    made = found(accumulate, in_order=in_order)
    return cast("Arithmetic", Flushed(made)) if flush_subnormals else made

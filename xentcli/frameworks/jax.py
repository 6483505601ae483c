"""JAX's arrays and its autodiff, and a loss compiled as a whole.

What XLA compiles takes most of a check: a loss is compiled once per shape and not operation by operation.
What is compiled is kept in the user's cache folder, unless the user has named another one to JAX, and is the
same however often it is read.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import jax
import jax.extend.core as jaxprs
import numpy as np

from xentcli.frameworks.adapter import Loss

try:
    from jax import enable_x64
except ImportError:  # before 0.8
    from jax.experimental import enable_x64

ARRAY, ARRAY_NAME = jax.Array, "a jax.Array"
REDUCE = {"mean": jax.numpy.mean, "sum": jax.numpy.sum}
if jax.config.jax_compilation_cache_dir is None:
    _cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "xent", "jax")
    jax.config.update("jax_compilation_cache_dir", str(_cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
session = partial(enable_x64, True)  # without 64-bit types float64 is float32
_CAN_TAKE_APART = hasattr(jaxprs, "ClosedJaxpr")  # before 0.4.36 it was no public name

_OF_OWN_DTYPE = {"xla_allow_excess_precision": False}  # each result is rounded to its dtype, as it is alone


def can_compile(loss: Callable[..., Any]) -> bool:
    """Whether a loss is not compiled yet, and nobody wants to look at its operations."""
    config = jax.config
    debugs = config.jax_disable_jit or config.jax_debug_nans or config.jax_debug_infs
    return _CAN_TAKE_APART and not (debugs or isinstance(loss, jax.stages.Wrapped))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of arrays as a whole, once per shape and dtype.

    Its operations are kept apart: XLA would take log(exp(x)) for x, and hide what the function gets wrong.
    Fused all the same, they may differ in the last digit.
    """

    @partial(jax.jit, static_argnums=0, compiler_options=_OF_OWN_DTYPE)
    def whole(constants: tuple[tuple[str, Any], ...], *arrays: Any, **named: Any) -> Any:
        def returned(*arrays: Any, **named: Any) -> Any:
            result = function(*arrays, **named, **dict(constants))
            if not isinstance(result, ARRAY):  # jit would make it one
                raise TypeError
            return result

        closed = jax.make_jaxpr(returned)(*arrays, **named)
        return _apart(closed.jaxpr, closed.consts, jax.tree.leaves((arrays, named)))[0]

    @wraps(function)
    def call(*arrays: Any, **keywords: Any) -> Any:
        named = {name: value for name, value in keywords.items() if isinstance(value, ARRAY)}
        constants = tuple((name, value) for name, value in keywords.items() if name not in named)
        return whole(constants, *arrays, **named)

    return call


def _apart(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Evaluate operations with a barrier after each, where an eager call would have another one begin."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))

    def read(variables: Sequence[Any]) -> list[Any]:
        return [each.val if isinstance(each, jaxprs.Literal) else values[each] for each in variables]

    for operation in jaxpr.eqns:
        inner = operation.params.get("call_jaxpr")  # of a function with a derivative of its own
        if inner is None:
            inputs = list(
                dict.fromkeys(each for each in operation.invars if not isinstance(each, jaxprs.Literal))
            )
            alone = jaxpr.replace(constvars=[], invars=inputs, outvars=operation.outvars, eqns=[operation])
            results = jaxprs.jaxpr_as_fun(jaxprs.ClosedJaxpr(alone, []))(*read(inputs))
        else:
            results = _apart(inner.jaxpr, inner.consts, read(operation.invars))
        values.update(zip(operation.outvars, jax.lax.optimization_barrier(results), strict=True))
    return read(jaxpr.outvars)


def array(values: Any, dtype: str) -> Any:
    """Make an array of the dtype."""
    return jax.numpy.asarray(values).astype(dtype)


def to_numpy(array: Any) -> tuple[Any, str]:
    """Copy the numbers; they are exact in float64."""
    return np.asarray(array).astype(np.float64), str(array.dtype)


def gradient(loss: Loss, x: Any) -> Any:
    """Differentiate; what does not depend on x has a gradient of zeros."""
    return jax.grad(lambda logits: loss(logits).sum())(x)

"""JAX's arrays and its autodiff, and a loss compiled as a whole.

What XLA compiles takes most of a check: a loss is compiled once per shape and not operation by operation.
What is compiled is kept in the user's cache folder, unless the user has named another one to JAX, and is the
same however often it is read.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial, update_wrapper, wraps
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
LAYOUTS: dict[str, Any] = {}  # an array lies in memory in one way
if jax.config.jax_compilation_cache_dir is None:
    _cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "xent", "jax")
    jax.config.update("jax_compilation_cache_dir", str(_cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
session = partial(enable_x64, True)  # without 64-bit types float64 is float32
_compiler = ThreadPoolExecutor(max_workers=1)
_CAN_TAKE_APART = hasattr(jaxprs, "ClosedJaxpr")  # before 0.4.36 it was no public name

_OF_OWN_DTYPE = {"xla_allow_excess_precision": False}  # each result is rounded to its dtype, as it is alone


def compile_both(
    loss: Callable[..., Any], differentiate: Callable[..., Any]
) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Compile a loss and what differentiates it; None where somebody wants to look at its operations.

    What the user compiled stays as it is, and XLA may make of its operations and their derivative what it
    does in training. Those of another loss are kept apart: XLA would take log(exp(x)) for x, and hide what
    the function gets wrong.
    """
    config = jax.config
    if config.jax_disable_jit or config.jax_debug_nans or config.jax_debug_infs:
        return None
    if isinstance(loss, jax.stages.Wrapped):
        return loss, _Compiled(differentiate)
    return (_compiled_apart(loss), _compiled_apart(differentiate)) if _CAN_TAKE_APART else None


class _Compiled:
    """A function of arrays, compiled as a whole once per shape and dtype, and for other arguments anew.

    XLA keeps one processor busy: what is begun compiles while another function is called.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        def whole(constants: tuple[tuple[str, Any], ...], *arrays: Any, **named: Any) -> Any:
            return function(*arrays, **named, **dict(constants))

        update_wrapper(self, function)  # its parameters say how it can be called
        self._whole = jax.jit(whole, static_argnums=0, **options)
        self._begun: dict[Any, Future[Any]] = {}

    def begin(self, *arrays: Any, **keywords: Any) -> None:
        """Trace it for such arguments, and have another thread compile it."""
        constants, named = _constants(keywords)
        if (key := _shapes(constants, arrays, named)) not in self._begun:
            lowered = self._whole.lower(constants, *arrays, **named)
            self._begun[key] = _compiler.submit(lowered.compile)

    def __call__(self, *arrays: Any, **keywords: Any) -> Any:
        constants, named = _constants(keywords)
        begun = self._begun.get(_shapes(constants, arrays, named))
        if begun is None:
            return self._whole(constants, *arrays, **named)
        return begun.result()(*arrays, **named)


def _constants(keywords: dict[str, Any]) -> tuple[tuple[tuple[str, Any], ...], dict[str, Any]]:
    """Return the keyword arguments that are no arrays, and those that are."""
    named = {name: value for name, value in keywords.items() if isinstance(value, ARRAY)}
    return tuple((name, value) for name, value in keywords.items() if name not in named), named


def _shapes(constants: Any, arrays: Sequence[Any], named: dict[str, Any]) -> Any:
    """Return what a function is compiled for."""
    each = tuple((array.shape, array.dtype) for array in (*arrays, *named.values()))
    return constants, tuple(named), each


def _compiled_apart(function: Callable[..., Any]) -> _Compiled:
    """Compile with a barrier between operations; fused all the same, they may differ in the last digit."""

    def apart(*arrays: Any, **keywords: Any) -> Any:
        constants, named = _constants(keywords)

        def returned(*arrays: Any, **named: Any) -> Any:
            result = function(*arrays, **named, **dict(constants))
            if not isinstance(result, ARRAY):  # jit would make it one
                raise TypeError
            return result

        closed = jax.make_jaxpr(returned)(*arrays, **named)
        return _apart(closed.jaxpr, closed.consts, jax.tree.leaves((arrays, named)))[0]

    return _Compiled(wraps(function)(apart), compiler_options=_OF_OWN_DTYPE)


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
    """Make an array of the dtype: NumPy converts it, since JAX would compile that for each shape."""
    return jax.device_put(np.asarray(values).astype(jax.numpy.dtype(dtype)))


def to_numpy(array: Any) -> tuple[Any, str]:
    """Copy the numbers; they are exact in float64."""
    return np.asarray(array).astype(np.float64), str(array.dtype)


def devices() -> dict[str, Any]:
    """Name the devices of each backend, the default one first; a GPU is cuda too."""
    found: dict[str, Any] = {}
    for backend in dict.fromkeys((jax.default_backend(), "cpu", "gpu", "tpu")):
        try:
            here = jax.devices(backend)
        except RuntimeError:  # there is no such backend
            continue
        for kind in ("gpu", "cuda") if backend in {"gpu", "cuda"} else (backend.lower(),):
            found[kind] = here[0]
            found |= {f"{kind}:{number}": device for number, device in enumerate(here)}
    return found


def place(array: Any, device: Any) -> Any:
    """Copy the array there; what is computed of it is there too."""
    return jax.device_put(array, device)


def computing(device: Any) -> Any:
    """Return no context: JAX computes where its arrays are."""
    del device
    return nullcontext()


def identity(array: Any, size: int) -> Any:
    """Make the identity (size, size) in an array's dtype."""
    return jax.numpy.eye(size, dtype=array.dtype)


def contiguous(array: Any) -> Any:
    """Return the array: it lies in memory in one way."""
    return array


def _in_training(loss: Loss, x: Any) -> Any:
    """Return the losses as the forward pass of jax.vjp has them."""
    return jax.vjp(loss, x)[0]


MODES = {"training": _in_training}


def gradient(loss: Loss, x: Any, *, between: Any = None, twice: bool = False) -> Any:
    """Differentiate; what does not depend on x has a gradient of zeros."""
    if between is None and not twice:
        return jax.grad(lambda logits: loss(logits).sum())(x)
    losses, back = jax.vjp(loss, x)
    if between is not None:
        between()
    for _ in range(1 + twice):
        (slope,) = back(jax.numpy.ones_like(losses))
    return slope

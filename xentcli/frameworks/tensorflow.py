"""TensorFlow's tensors and the gradients of its tape."""

from contextlib import nullcontext
from typing import Any

import tensorflow as tf

from xentcli.frameworks.adapter import Loss

ARRAY, ARRAY_NAME = (tf.Tensor, tf.Variable), "a tensor of TensorFlow"
session = nullcontext
compile_both = None
REDUCE = {"mean": tf.reduce_mean, "sum": tf.reduce_sum}
LAYOUTS: dict[str, Any] = {}  # a tensor lies in memory in one way


def array(values: Any, dtype: str) -> Any:
    """Make a tensor of the dtype."""
    return tf.cast(tf.constant(values), dtype)


def to_numpy(array: Any) -> tuple[Any, str]:
    """Copy the numbers; they are exact in float64."""
    return tf.cast(array, tf.float64).numpy(), array.dtype.name


def devices() -> dict[str, str]:
    """Name the devices, those first that TensorFlow computes on unless told otherwise; a GPU is cuda too."""
    here = tf.config.list_logical_devices()
    found: dict[str, str] = {}
    for device in sorted(here, key=lambda device: (device.device_type == "CPU", device.name)):
        number, kind = device.name.rpartition(":")[2], device.device_type.lower()
        for name in ("gpu", "cuda") if kind == "gpu" else (kind,):
            found.setdefault(name, device.name)
            found[f"{name}:{number}"] = device.name
    return found


def place(array: Any, device: str) -> Any:
    """Copy the tensor there."""
    with tf.device(device):
        return tf.identity(array)


def computing(device: str) -> Any:
    """Return the context in which operations run there, and not where TensorFlow would rather."""
    return tf.device(device)


def _in_training(loss: Loss, x: Any) -> Any:
    """Return the losses while the tape records."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        return loss(x)


MODES = {"training": _in_training}


def gradient(loss: Loss, x: Any, *, between: Any = None, twice: bool = False) -> Any:
    """Differentiate what the tape records."""
    with tf.GradientTape(persistent=twice) as tape:
        tape.watch(x)
        total = tf.reduce_sum(loss(x))
        if between is not None:
            between()
    slope = tape.gradient(total, x)
    slope = tape.gradient(total, x) if twice else slope
    return None if slope is None else tf.convert_to_tensor(slope)

"""Losses where TensorFlow and JAX are told that the CPU is two devices: they have to stay on the second."""

import sys
from typing import Any

import numpy as np


def tensorflowed(labels: Any, logits: Any) -> Any:
    tf = sys.modules["tensorflow"]
    assert logits.device.endswith("CPU:1"), logits.device
    assert labels.device.endswith("CPU:1"), labels.device
    losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
    assert losses.device.endswith("CPU:1"), losses.device
    return losses


def jaxed(logits: Any, labels: Any) -> Any:
    jax = sys.modules["jax"]
    np.asarray(labels)  # raises where the loss is traced as a whole: it is called as it is then
    assert {device.id for device in labels.devices()} == {1}, labels.devices()
    if not isinstance(logits, jax.core.Tracer):
        assert {device.id for device in logits.devices()} == {1}, logits.devices()
    x = jax.nn.log_softmax(logits)
    losses = -jax.numpy.take_along_axis(x, labels[:, None], 1)[:, 0]
    return jax.numpy.where((labels >= 0) & (labels < logits.shape[1]), losses, jax.numpy.nan)


if "tensorflow" in sys.modules:
    _config = sys.modules["tensorflow"].config
    _config.set_logical_device_configuration(
        _config.list_physical_devices("CPU")[0], [_config.LogicalDeviceConfiguration()] * 2
    )

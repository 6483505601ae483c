"""ONNX's SoftmaxCrossEntropyLoss on ONNX Runtime, in a model made here."""

from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from xentcli import formats
from xentcli.frameworks.given import Answer, Given

_TYPES = {
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}
_OPSET, _IR = 13, 8


def answer(given: Given) -> Answer:
    """Run the operator on the CPU, unreduced and reduced."""
    losses = _run(given, "none").reshape(-1)
    return Answer(losses, None if given.reduction == "none" else _run(given, given.reduction))


def _run(given: Given, reduction: str) -> Any:  # noqa: ANN401 - an array
    kind, dtype = _TYPES[given.dtype], formats.dtype(given.dtype)
    feeds = {"x": given.logits.astype(dtype), "k": given.indices}
    shapes = {"x": (kind, given.logits.shape), "k": (TensorProto.INT64, given.indices.shape)}
    if given.weights is not None:
        feeds["w"], shapes["w"] = given.weights.astype(dtype), (kind, given.weights.shape)
    inputs = [helper.make_tensor_value_info(name, *shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("loss", kind, None)
    node = helper.make_node(
        "SoftmaxCrossEntropyLoss", list(shapes), ["loss"], reduction=reduction, ignore_index=-100
    )
    graph = helper.make_graph([node], "loss", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])

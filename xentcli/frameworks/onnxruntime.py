"""ONNX's SoftmaxCrossEntropyLoss on ONNX Runtime, in a model of that one operator."""

from typing import Any

import numpy as np
import onnxruntime
from onnx import helper

_OPSET, _IR = 13, 8  # the operator's last version, and the format that goes with it


def softmax_cross_entropy(
    logits: Any, labels: Any, class_weights: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """Run the operator on the CPU."""
    feeds = {"logits": logits, "labels": labels}
    if class_weights is not None:
        feeds["weights"] = class_weights
    types = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
    inputs = [helper.make_tensor_value_info(name, types[name], feeds[name].shape) for name in feeds]
    output = helper.make_tensor_value_info("loss", types["logits"], None)
    node = helper.make_node(
        "SoftmaxCrossEntropyLoss", list(feeds), ["loss"], reduction=reduction, ignore_index=ignore_index
    )
    graph = helper.make_graph([node], "loss", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])

"""The second peer for inference: our network, with its weights, as an ONNX graph that onnxruntime runs.

Where onnxruntime or onnx is not installed, there is no runner.
"""

from typing import Any

import numpy as np

from minicnn import BatchNormalization, Conv2D, Dense, Flatten, Layer, MaxPooling2D, Sequential

from . import networks
from .report import Runner

try:
    import onnx
    import onnxruntime  # type: ignore[import-untyped]
except ImportError:
    onnxruntime = None


def installed() -> bool:
    return onnxruntime is not None


def inference(model: Sequential, x: np.ndarray, threads: int) -> list[Runner]:
    if not installed():
        return []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    images = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    session = onnxruntime.InferenceSession(graph(model, images.shape), options, providers=["CPUExecutionProvider"])
    return [lambda: session.run(None, {"images": images})[0]]


def graph(model: Sequential, shape: tuple[int, ...]) -> bytes:
    """The network for a batch of just this shape, (N, C, H, W)."""
    nodes, constants, last = [], [], "images"
    for layer, weights in zip(model.layers, networks.channels_first(model), strict=True):
        names = [f"{layer.name} {number}" for number in range(len(weights))]
        constants += [onnx.numpy_helper.from_array(*pair) for pair in zip(weights, names, strict=True)]
        for operator, attributes in operators(layer):
            result = f"{layer.name} {operator}"
            nodes.append(onnx.helper.make_node(operator, [last, *names], [result], **attributes))
            last, names = result, []
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)
        for name, sizes in (("images", shape), (last, (shape[0], *model.output_shape[1:])))
    ]
    whole = onnx.helper.make_graph(nodes, model.name, ends[:1], ends[1:], constants)
    written = onnx.helper.make_model(whole, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return bytes(written.SerializeToString())


def operators(layer: Layer) -> list[tuple[str, dict[str, Any]]]:
    """What the layer is called in ONNX, with attributes; the first operator takes the weights. Dropout is nothing."""
    relu: list[tuple[str, dict[str, Any]]] = [("Relu", {})] if getattr(layer, "activation_name", "") == "relu" else []
    match layer:
        case Conv2D():
            (top, bottom), (left, right) = layer.pads
            return [("Conv", {"strides": layer.strides, "pads": (top, left, bottom, right)}), *relu]
        case MaxPooling2D():
            return [("MaxPool", {"kernel_shape": layer.pool_size, "strides": layer.strides})]
        case BatchNormalization():
            return [("BatchNormalization", {"epsilon": layer.epsilon})]
        case Flatten():
            return [("Flatten", {})]
        case Dense():
            return [("Gemm", {"transB": 1}), *relu]
    return []

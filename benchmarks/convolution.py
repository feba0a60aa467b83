"""Convolution: the layers of three of the reference networks, and depthwise ones, forward and both gradients.

GFLOP/s count the multiply-adds of the definition, twice over in the backward pass, whatever a kernel does to get round
them.
"""

from typing import Any

import numpy as np

from minicnn import Conv2D, DepthwiseConv2D, get_ops
from minicnn.ops.reference import Pads, Pair

from . import networks, peers
from .report import Row, Runner, Table
from .timing import Settings, check, measure

BATCH = 128
CHECKED = slice(None, None, 8)  # every eighth image: the columns of all, in float64, would fill a gigabyte


def run(settings: Settings) -> Table:
    rows = [row for layer, users in layers() for row in rows_of(layer, users, settings)]
    return Table("conv", f"batch {BATCH}, float32", rows)


def depthwise(settings: Settings) -> Table:
    """Layers as those of MobileNets for digits, and one with a larger kernel."""
    rows = []
    for side, channels, size, strides in (
        (28, 64, 3, 1),
        (28, 64, 3, 2),
        (14, 128, 3, 1),
        (7, 256, 3, 1),
        (14, 128, 5, 1),
    ):
        layer = DepthwiseConv2D(size, strides, "same", use_bias=False)
        layer.build((None, side, side, channels))
        rows += rows_of(layer, "", settings)
    return Table("depthwise", f"channels by themselves, batch {BATCH}, float32", rows)


def layers() -> list[tuple[Conv2D, str]]:
    """The different convolution layers, without their activation, each with the names of the networks it is in."""
    found: dict[str, tuple[Conv2D, str]] = {}
    for name in ("example", "ghouzam", "deotte"):
        for its in networks.build(name).layers:
            if isinstance(its, Conv2D):
                layer = alone(its.input_shape, its.filters, its.kernel_size, its.strides, its.padding)
                first, users = found.get(title(layer), (layer, ""))
                found[title(layer)] = first, f"{users}, {name}" if users else name
    return list(found.values())


def alone(
    image: tuple[Any, ...],
    filters: int,
    size: int | Pair,
    strides: int | Pair = 1,
    padding: str = "same",
    use_bias: bool = True,
) -> Conv2D:
    """The layer, built for images of this shape (batch first), with random numbers as its parameters."""
    layer = Conv2D(filters, size, strides, padding, use_bias=use_bias, bias_initializer="glorot_uniform")
    layer.build(image)
    return layer


def title(layer: Conv2D | DepthwiseConv2D) -> str:
    source, target = ("×".join(map(str, shape[1:])) for shape in (layer.input_shape, layer.output_shape))
    stride = "" if layer.strides == (1, 1) else f", stride {layer.strides[0]}"
    return f"{source} → {target}, {layer.kernel_size[0]}×{layer.kernel_size[1]}{stride}"


def rows_of(layer: Conv2D | DepthwiseConv2D, users: str, settings: Settings) -> list[Row]:
    (forward, backward), theirs = contestants(layer, BATCH, CHECKED)
    there = measure(forward, {"PyTorch": [runner for runner, _ in theirs]}, settings)
    back = measure(backward, {"PyTorch": [runner for _, runner in theirs]}, settings)
    label: Row = {"layer": title(layer), "networks": users}
    flop = 2 * BATCH * layer.multiply_adds()
    return [
        label | {"pass": "forward"} | there.columns(flop),
        label | {"pass": "backward"} | back.columns(flop * (1 + has_input_gradient(layer))),
    ]


def has_input_gradient(layer: Conv2D | DepthwiseConv2D) -> bool:
    """Not for one channel or three: such a layer is the first, whose input is the data."""
    return bool(layer.input_shape[3] > 3)


def contestants(
    layer: Conv2D | DepthwiseConv2D, batch: int, checked: slice
) -> tuple[tuple[Runner, Runner], list[tuple[Runner, Runner]]]:
    """(forward, backward) of the layer, and a list of the same in PyTorch; the `checked` images are right in all."""
    rng, name, input_gradient = np.random.default_rng(0), title(layer), has_input_gradient(layer)
    x, dy = (rng.standard_normal((batch, *shape[1:]), np.float32) for shape in (layer.input_shape, layer.output_shape))
    bias = None if layer.bias is None else layer.bias.value
    where, apart = (layer.strides, layer.pads), isinstance(layer, DepthwiseConv2D)

    def forward() -> Any:
        return layer.forward(x, training=True)

    def backward(dy: np.ndarray = dy) -> Any:
        return layer.linear_backward(dy, input_gradient)

    few = np.zeros_like(dy)
    few[checked] = dy[checked]
    operation = "depthwise_conv2d" if apart else "conv2d"
    y, dx, *expected = reference(x[checked], layer.kernel.value, bias, dy[checked], *where, operation)
    check(f"y of the convolution {name}", forward()[checked], y)
    found = backward(few)
    if input_gradient:
        check(f"dx of the convolution {name}", found[checked], dx)
    for parameter, right in zip(layer.parameters, expected, strict=False):  # without a bias, there is one of each more
        check(f"the gradient for {parameter.name} of the convolution {name}", parameter.gradient, right)
    kernel, groups = layer.kernel.value, 1
    if apart:
        kernel, groups = kernel.reshape(*layer.kernel_size, 1, -1), x.shape[3]
    theirs = peers.convolution(x, kernel, bias, dy, *where, input_gradient, groups)
    for peer, _ in theirs:
        check(f"PyTorch's convolution {name}", peers.as_ours(peer(), peers.is_mirrored(layer.pads))[checked], y)
    return (forward, backward), theirs


def reference(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, dy: np.ndarray, strides: Pair, pads: Pads,
    operation: str = "conv2d",
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """(y, dx, dkernel, dbias) by the definition, in float64."""
    ops = get_ops("reference")
    x, kernel, dy = (array.astype("float64") for array in (x, kernel, dy))
    bias = None if bias is None else bias.astype("float64")
    y, saved = getattr(ops, operation)(x, kernel, bias, strides, pads, (1, 1))
    return y, *getattr(ops, f"{operation}_backward")(dy, kernel, saved)

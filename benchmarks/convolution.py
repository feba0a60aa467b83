"""Convolution: the layers of three of the reference networks, forward and both gradients.

GFLOP/s count the multiply-adds of the definition, twice over in the backward pass, whatever a kernel does to get round
them.
"""

from typing import Any

import numpy as np

from minicnn import Conv2D, get_ops
from minicnn.ops.reference import Pads, Pair

from . import networks, peers
from .report import Row, Table
from .timing import Settings, check, measure

BATCH = 128
CHECKED = slice(None, None, 8)  # every eighth image: the columns of all, in float64, would fill a gigabyte


def run(settings: Settings) -> Table:
    rows = [row for layer, users in layers() for row in rows_of(layer, users, settings)]
    return Table("conv", f"batch {BATCH}, float32", rows)


def layers() -> list[tuple[Conv2D, str]]:
    """The different convolution layers, each with the names of the networks it is in."""
    found: dict[str, tuple[Conv2D, str]] = {}
    for name in ("example", "ghouzam", "deotte"):
        for layer in networks.build(name).layers:
            if isinstance(layer, Conv2D):
                first, users = found.get(title(layer), (layer, ""))
                found[title(layer)] = first, f"{users}, {name}" if users else name
    return list(found.values())


def title(layer: Conv2D) -> str:
    source, target = ("×".join(map(str, shape[1:])) for shape in (layer.input_shape, layer.output_shape))
    stride = "" if layer.strides == (1, 1) else f", stride {layer.strides[0]}"
    return f"{source} → {target}, {layer.kernel_size[0]}×{layer.kernel_size[1]}{stride}"


def rows_of(layer: Conv2D, users: str, settings: Settings) -> list[Row]:
    ops, rng, name = get_ops("cpu"), np.random.default_rng(0), title(layer)
    where = layer.strides, layer.pads
    x, dy = (rng.standard_normal((BATCH, *shape[1:]), np.float32) for shape in (layer.input_shape, layer.output_shape))
    kernel, bias = (rng.standard_normal(shape, np.float32) for shape in (layer.kernel.shape, layer.filters))
    input_gradient = x.shape[3] > 1  # the first layer's input is the data

    y, saved = ops.conv2d(x, kernel, bias, *where, (1, 1))
    few = np.zeros_like(dy)
    few[CHECKED] = dy[CHECKED]
    dx, dkernel, dbias = ops.conv2d_backward(few, kernel, saved, input_gradient)
    expected = reference(x[CHECKED], kernel, bias, dy[CHECKED], *where)
    results = y[CHECKED], expected[1] if dx is None else dx[CHECKED], dkernel, dbias
    for what, ours, right in zip(("y", "dx", "dkernel", "dbias"), results, expected, strict=True):
        check(f"{what} of the convolution {name}", ours, right)
    forward, backward = peers.convolution(x, kernel, bias, dy, *where, input_gradient)
    for peer in forward:
        check(f"PyTorch's convolution {name}", peers.as_ours(peer())[CHECKED], expected[0])

    def run_forward() -> object:
        return ops.conv2d(x, kernel, bias, *where, (1, 1))

    def run_backward() -> object:
        return ops.conv2d_backward(dy, kernel, saved, input_gradient)

    label: Row = {"layer": name, "networks": users}
    flop = 2 * BATCH * layer.multiply_adds()
    return [
        label | {"pass": "forward"} | measure(run_forward, {"PyTorch": forward}, settings).columns(flop),
        label
        | {"pass": "backward"}
        | measure(run_backward, {"PyTorch": backward}, settings).columns(flop * (1 + input_gradient)),
    ]


def reference(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, dy: np.ndarray, strides: Pair, pads: Pads
) -> tuple[Any, Any, Any, Any]:
    """(y, dx, dkernel, dbias) by the definition, in float64."""
    ops = get_ops("reference")
    x, kernel, bias, dy = (array.astype("float64") for array in (x, kernel, bias, dy))
    y, saved = ops.conv2d(x, kernel, bias, strides, pads, (1, 1))
    return y, *ops.conv2d_backward(dy, kernel, saved)

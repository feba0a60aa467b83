"""Whether the cost rule takes the fastest way to convolve: each layer by the definition, image by image ("direct") or through
the columns of a batch ("im2col"), and by Winograd's F(m×m), with a few images at a time or, "*", with all.

Forward and both gradients on one tape, as in a training step.
"""

import numpy as np

from minicnn import Conv2D
from minicnn.kernels import winograd
from minicnn.ops.cpu_convolution import (
    Convolution,
    Direct,
    Geometry,
    Im2col,
    OneWindow,
    Winograd,
    WinogradBatch,
    choose,
)
from minicnn.tape import Tape

from . import convolution, networks
from .report import Row, Runner, Table, geometric_mean
from .scaling import BATCH, Shape, resnet_50
from .timing import Settings, check, race

# Such as come last in networks for digits.
DEEP = [Shape(12, 64, 64, 3), Shape(7, 64, 128, 3), Shape(6, 96, 96, 3), Shape(4, 128, 128, 3)]
FORMS = {"": Winograd, "*": WinogradBatch}


def run(settings: Settings) -> Table:
    layers = [(layer, networks.BATCH) for layer, _ in convolution.layers()]
    layers += [(alone(shape), images) for images in (networks.BATCH, 32) for shape in DEEP]
    layers += [(alone(shape), BATCH) for shape in resnet_50() if shape.size > 1]
    rows = [row for layer, images in layers if (row := row_of(layer, images, settings))]
    title = "convolutions forward and backward, float32, in every way (F(m) of a few images at a time, F(m)* of all)"
    return Table("algorithms", title, rows, {"chosen vs fastest": geometric_mean(rows, "chosen vs fastest")})


def alone(shape: Shape) -> Conv2D:
    image = None, shape.side, shape.side, shape.channels
    return convolution.alone(image, shape.filters, shape.size, shape.stride)


def row_of(layer: Conv2D, images: int, settings: Settings) -> Row | None:
    """None for a dense layer: a kernel as large as the image."""
    geometry = Geometry.of(layer.input_shape[1:3], layer.kernel.value, layer.strides, layer.pads, (1, 1))
    algorithms, chosen = ways(geometry), choose(geometry, images, "float32", "fast")
    if isinstance(chosen, OneWindow):
        return None
    runners, results = [], []
    for algorithm in algorithms.values():
        runner, result = step(layer, images, algorithm)
        runner()
        runners.append(runner)
        results.append(result)
    for way, result in zip(algorithms, results, strict=True):
        for what, ours, expected in zip(("y", "dx", "dkernel"), result, results[0], strict=True):
            check(f"{what} of {convolution.title(layer)} by {way}", ours, expected, 1e-3)
    times = dict(zip(algorithms, race(runners, settings.seconds, settle=0.0), strict=True))
    name = next(
        name
        for name, way in algorithms.items()
        if (type(way), getattr(way, "m", 0)) == (type(chosen), getattr(chosen, "m", 0))
    )
    row: Row = {"layer": convolution.title(layer), "batch": images}
    for way in ("direct", "im2col", *(f"F({m}){star}" for m in range(2, winograd.LARGEST + 1) for star in FORMS)):
        row[f"{way} ms"] = 1e3 * times[way] if way in times else None
    return row | {"chosen": name, "chosen vs fastest": min(times.values()) / times[name]}


def ways(geometry: Geometry) -> dict[str, Convolution]:
    found: dict[str, Convolution] = {"direct": Direct(geometry, "float32"), "im2col": Im2col(geometry, "float32")}
    for m in winograd.sizes(geometry.kernel, geometry.strides, geometry.channels):
        found |= {f"F({m}){star}": kind(geometry, m, "float32") for star, kind in FORMS.items()}
    return found


def step(layer: Conv2D, images: int, algorithm: Convolution) -> tuple[Runner, list[np.ndarray]]:
    """What runs a tape with the layer's instructions, and y, dx and dkernel, which it writes."""
    rng, kernel = np.random.default_rng(0), layer.kernel.value
    x, dy = (rng.standard_normal((images, *shape[1:]), np.float32) for shape in (layer.input_shape, layer.output_shape))
    y, dx, dkernel = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(kernel)
    tape = Tape("float32")
    algorithm.prepare_forward(tape, kernel)
    algorithm.prepare_backward(tape, kernel)
    algorithm.forward(tape, x, None, False, y)
    algorithm.backward(tape, dy, None, x, kernel, dx, dkernel, None)()
    return tape.run, [y, dx, dkernel]

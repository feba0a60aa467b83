"""Where we lead and where we don't: convolutions, forward and backward together, over all sizes of images, channels and
batches, and over the layers of ResNet-50 and of VGG-16.
"""

from typing import NamedTuple

from . import convolution
from .report import Row, Runner, Table, geometric_mean
from .timing import Settings, measure

BATCH, SIDE = 16, 224  # of ResNet's and VGG's images
IMAGES = 28, 56, 112, 224
CHANNELS = 8, 16, 32, 64, 128, 256, 512
BATCHES = 1, 8, 64, 256, 1024
CHECKED = slice(-1, None)  # the last image: its columns alone, in float64, fill up to 231 MB


class Shape(NamedTuple):
    """A convolution with zeros around the image ("same")."""

    side: int
    channels: int
    filters: int
    size: int = 3
    stride: int = 1


def run(settings: Settings) -> Table:
    sweeps = {
        "image": [(BATCH // 2, Shape(side, 32, 32)) for side in IMAGES],
        "channels": [(BATCH, Shape(28, channels, channels)) for channels in CHANNELS],
        "batch": [(batch, Shape(28, 32, 32)) for batch in BATCHES],
    }
    rows = [{"sweep": name, **row_of(*case, settings)} for name, cases in sweeps.items() for case in cases]
    return Table("scaling", "one convolution forward and backward, float32", rows)


def resnet(settings: Settings) -> Table:
    return layers_of("resnet", "ResNet-50", resnet_50(), False, settings)


def vgg(settings: Settings) -> Table:
    return layers_of("vgg", "VGG-16", vgg_16(), True, settings)


def layers_of(stem: str, network: str, shapes: list[Shape], use_bias: bool, settings: Settings) -> Table:
    rows = [row_of(BATCH, shape, settings, use_bias) for shape in shapes]
    title = f"the {len(rows)} different convolutions of {network}, forward and backward, batch {BATCH}, float32"
    return Table(stem, title, rows, {"vs PyTorch": geometric_mean(rows, "vs PyTorch")})


def resnet_50() -> list[Shape]:
    """The first layer, and the bottlenecks (1×1, 3×3 with the stride, 1×1) of four stages with their shortcuts."""
    shapes, side, inputs = [Shape(SIDE, 3, 64, 7, 2)], SIDE // 4, 64
    for inner in (64, 128, 256, 512):
        stride, outer = 1 if inner == 64 else 2, 4 * inner
        end = side // stride
        first = Shape(side, inputs, inner, 1), Shape(side, inner, inner, 3, stride), Shape(end, inner, outer, 1)
        shortcut = Shape(side, inputs, outer, 1, stride)
        others = Shape(end, outer, inner, 1), Shape(end, inner, inner, 3)
        shapes += [*first, shortcut, *others]
        side, inputs = end, outer
    return list(dict.fromkeys(shapes))


def vgg_16() -> list[Shape]:
    """Five stages of 3×3, the image halved between them."""
    shapes, inputs = [], 3
    for stage, filters in enumerate((64, 128, 256, 512, 512)):
        shapes += [Shape(SIDE >> stage, inputs, filters), Shape(SIDE >> stage, filters, filters)]
        inputs = filters
    return list(dict.fromkeys(shapes))


def row_of(batch: int, shape: Shape, settings: Settings, use_bias: bool = True) -> Row:
    image = None, shape.side, shape.side, shape.channels
    layer = convolution.alone(image, shape.filters, shape.size, shape.stride, use_bias=use_bias)
    ours, theirs = convolution.contestants(layer, batch, CHECKED)
    times = measure(both(ours), {"PyTorch": [both(pair) for pair in theirs]}, settings)
    flop = 2 * batch * layer.multiply_adds() * (2 + convolution.has_input_gradient(layer))
    return {"layer": convolution.title(layer), "batch": batch, **times.columns(flop)}


def both(pair: tuple[Runner, Runner]) -> Runner:
    """Forward, then backward."""
    forward, backward = pair

    def run() -> None:
        forward()
        backward()

    return run

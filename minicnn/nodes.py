"""Nodes: which instructions each kind of layer stands for on a tape, forward and backward.

They are the instructions that the layer's own `forward` and `backward` run one by one, so the numbers are the same to the
bit. What a node decides is only in which memory they meet, and what need not be kept. A layer that has no node of its own,
one of yours say, gets a `Node`, which calls it between two parts of the tape.
"""

from collections.abc import Sequence
from math import gcd, prod
from typing import Any

import numpy as np

from . import layers as all_layers
from .layers.activation import Linear, ReLU
from .layers.augmentation import _RandomAffine
from .layers.base import Layer, apply
from .layers.parameter import Parameter
from .ops import instructions
from .ops.cpu import CpuOps
from .ops.cpu_convolution import Convolution, Geometry, as_rows, choose, in_bands
from .ops.cpu_dense import Dense
from .ops.instructions import Moments
from .ops.reference import NO_PADS, SELU_LEAST, Array, alpha_scale, pooled, repeats, spread
from .tape import Buffer, Steps, Tape

STEPS = 16  # training steps of one run of a tape, at most: Python fills in beforehand what differs between them
TERMS = 25  # up to so many, a sum takes no longer than to write the number to memory and to read it again
KEPT = 1 << 21  # bytes, which stay in a cache


class Node:
    """A layer on one tape. This base class calls the layer's own methods, so it works for every layer."""

    settings: tuple[str, ...] = ()  # of the layer, that are written on the tape: another value takes another tape

    def __init__(self, layer: Layer, tape: Tape, ops: CpuOps, training: bool, images: int) -> None:
        self.layer: Any = layer  # of any class, whose settings a node knows
        self.tape, self.ops, self.training, self.images = tape, ops, training, images
        self.input_gradient = False  # whether something before it is trained

    def buffer(self, images: int, like: Sequence[int | None], dtype: Any = None) -> Buffer:
        return self.tape.buffer((images, *(int(n or 0) for n in like[1:])), dtype=dtype)

    def prepare(self) -> None:
        """Adds the instructions that depend on the parameters alone."""

    def refresh(self) -> None:
        """Computes anew, in Python, what depends on the parameters alone."""

    def forward(self, x: Buffer) -> Buffer:
        self.x, self.y = x, self.buffer(len(x), self.layer.output_shape)

        def call() -> None:
            self.write("its output", self.output(self.tape.array(self.x)), self.y)

        self.tape.call(call, self.x, self.y)
        return self.y

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(self.x.shape)

        def call() -> None:
            gradient = self.gradient(self.tape.array(dy))
            if self.input_gradient:
                self.write("what its backward returns", gradient, dx)

        self.tape.call(call, dy, dx)
        return dx

    def write(self, what: str, values: Array, place: Buffer) -> None:
        """Puts what the layer made in its place, which may not be filled by repeating it."""
        if np.shape(values) != place.shape:
            found = "None" if values is None else f"of shape {np.shape(values)}"
            raise ValueError(f"layer {self.layer.name}: {what} must be of shape {place.shape}, and is {found}")
        self.tape.array(place)[...] = values

    def output(self, x: Array) -> Array:
        return apply(self.layer, x, self.training)

    def gradient(self, dy: Array) -> Array:
        return self.layer.backward(dy)

    def recompute(self) -> Buffer | None:
        """Adds instructions that compute y once more, where that is cheaper for the backward than to keep it; else None."""
        return None

    def finish(self) -> None:
        """Adds what runs when no layer can fail any more: sums of the parts that `backward` left, moving averages."""

    def before_step(self, number: int) -> None:
        """What Python does before the tape runs, for each of the steps it runs for: draws keys."""


class ScoresNode(Node):
    """The layer without its activation."""

    def output(self, x: Array) -> Array:
        return self.layer.linear(x)

    def gradient(self, dy: Array) -> Array:
        return self.layer.linear_backward(dy)


class SameNode(Node):
    """y = x, perhaps in another shape."""

    def forward(self, x: Buffer) -> Buffer:
        self.x = x
        return x.reshaped(len(x), *self.layer.output_shape[1:])

    def backward(self, dy: Buffer) -> Buffer:
        return dy.reshaped(*self.x.shape)


class ActivityNode(Node):
    """The penalty for what came out of the layer: y = x, and its gradient is added to dy."""

    def forward(self, x: Buffer) -> Buffer:
        def call() -> None:
            self.layer.activity = self.tape.array(x)

        self.tape.call(call, x)
        return x

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(dy.shape)

        def call() -> None:
            self.tape.array(dx)[...] = self.layer.with_activity(self.tape.array(dy))

        self.tape.call(call, dy, dx)
        return dx


class RescalingNode(Node):
    settings = "scale", "offset"

    def forward(self, x: Buffer) -> Buffer:
        y = self.buffer(len(x), x.shape)
        instructions.rescale(self.tape, x, y, self.layer.scale, self.layer.offset)
        return y

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(dy.shape)
        instructions.rescale(self.tape, dy, dx, self.layer.scale, 0.0)
        return dx


class ProductNode(Node):
    """What a convolution and a dense layer have in common: a kernel, a bias, and perhaps a ReLU."""

    relu = False
    masked = False  # whether dy comes with the ReLU's zeros already

    def gradients(self) -> list[Any]:
        """Where the gradients of kernel, or kernels, and bias go; nobody looks at those of a frozen layer."""
        layer, trainable = self.layer, self.layer.trainable_parameters
        found = [p.gradient if p in trainable else np.empty(p.shape, layer.dtype) for p in layer.parameters]
        if layer.bias is None or layer.bias not in trainable:
            found[len(found) - (layer.bias is not None) :] = [None]
        return found

    def mask(self) -> Buffer | None:
        return self.y if self.relu and not self.masked else None


class ConvolutionNode(ProductNode):
    apart = False  # whether channels stay so
    transposed = False

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        layer, kernel = self.layer, self.kernel
        image = (layer.output_shape if self.transposed else layer.input_shape)[1:3]
        window = layer.strides, layer.pads, layer.dilation_rate
        self.algorithm = self.choice(Geometry.of(image, kernel, *window, self.apart, self.transposed))
        self.relu = layer.fused_relu
        terms = prod(layer.kernel_size) * (1 if self.apart else layer.input_shape[3])
        self.cheap = terms <= TERMS and self.algorithm.by_image

    @property
    def kernel(self) -> Array:
        return self.layer.kernel.data

    def choice(self, geometry: Geometry) -> Convolution:
        return choose(geometry, self.images, self.tape.dtype, self.ops.precision)

    def prepare(self) -> None:
        self.algorithm.prepare_forward(self.tape, self.kernel)
        if self.input_gradient:
            self.algorithm.prepare_backward(self.tape, self.kernel)

    def forward(self, x: Buffer) -> Buffer:
        self.x, self.y = x, self.buffer(len(x), self.layer.output_shape)
        self.algorithm.forward(self.tape, x, self.layer.bias_data, self.relu, self.y)
        return self.y

    def recompute(self) -> Buffer | None:
        return self.forward(self.x) if self.cheap and self.y.nbytes > KEPT else None

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(self.x.shape)
        self.finish = self.algorithm.backward(  # type: ignore[method-assign]
            self.tape, dy, self.mask(), self.x, self.kernel, dx if self.input_gradient else None, *self.gradients()
        )
        return dx


class DepthwiseNode(ConvolutionNode):
    apart = True


class TransposedNode(ConvolutionNode):
    transposed = True


class SeparableNode(DepthwiseNode):
    """A depthwise convolution, and one of 1×1 pixels over what comes out."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.points = self.layer.pointwise_kernel.data
        self.pointwise = self.choice(Geometry.of(self.layer.output_shape[1:3], self.points, (1, 1), NO_PADS, (1, 1)))
        self.between_again, self.cheap = self.cheap and self.pointwise.by_image, False

    @property
    def kernel(self) -> Array:
        return self.layer.depthwise_kernel.data

    def prepare(self) -> None:
        super().prepare()
        self.pointwise.prepare_forward(self.tape, self.points)
        if self.training:
            self.pointwise.prepare_backward(self.tape, self.points)

    def forward(self, x: Buffer) -> Buffer:
        self.x, self.y = x, self.buffer(len(x), self.layer.output_shape)
        self.between = self.depthwise(x)
        self.pointwise.forward(self.tape, self.between, self.layer.bias_data, self.relu, self.y)
        return self.y

    def depthwise(self, x: Buffer) -> Buffer:
        between = self.tape.buffer((*self.y.shape[:3], self.points.shape[2]))
        self.algorithm.forward(self.tape, x, None, False, between)
        return between

    def backward(self, dy: Buffer) -> Buffer:
        between, dkernel, dpoints, dbias = self.between, *self.gradients()
        dx, dbetween = self.tape.buffer(self.x.shape), self.tape.buffer(between.shape)
        if self.between_again and between.nbytes > KEPT:
            between = self.depthwise(self.x)
        finish_points = self.pointwise.backward(
            self.tape, dy, self.mask(), between, self.points, dbetween, dpoints, dbias
        )
        finish_kernel = self.algorithm.backward(
            self.tape, dbetween, None, self.x, self.kernel, dx if self.input_gradient else None, dkernel, None
        )

        def finish() -> None:
            finish_points()
            finish_kernel()

        self.finish = finish  # type: ignore[method-assign]
        return dx


class DenseNode(ProductNode):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.relu = self.layer.fused_relu
        inputs, units = self.layer.kernel.shape
        self.product = Dense(inputs, units, self.tape.dtype)

    def forward(self, x: Buffer) -> Buffer:
        self.x, self.y = x, self.buffer(len(x), self.layer.output_shape)
        kernel = self.layer.kernel.data
        self.product.forward(self.tape, as_rows(x), kernel, self.layer.bias_data, self.relu, as_rows(self.y))
        return self.y

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(self.x.shape)
        mask = self.mask()
        self.product.backward(
            self.tape, as_rows(dy), None if mask is None else as_rows(mask), as_rows(self.x),
            self.layer.kernel.data, as_rows(dx) if self.input_gradient else None, *self.gradients(),
        )  # fmt: skip
        return dx


def in_same_bands(x: Buffer, y: Buffer) -> tuple[Buffer, Buffer]:
    """x and y, of equal shape, in the bands that x was computed in, so that elementwise layers go by bands, too."""
    y.bands = x.bands
    return in_bands(x, x.bands), in_bands(y, x.bands)


class ReLUNode(Node):
    settings = "max_value", "negative_slope", "threshold"  # none of which it has

    def forward(self, x: Buffer) -> Buffer:
        self.y = self.buffer(len(x), x.shape)
        instructions.relu(self.tape, *in_same_bands(x, self.y))
        return self.y

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(dy.shape)
        instructions.relu_backward(self.tape, dy, self.y, dx)
        return dx


class MaxPoolingNode(Node):
    relu = False  # whether a ReLU follows
    after: ProductNode | None = None  # the convolution before, whose ReLU's mask pooling applies to the gradient

    def window(self) -> tuple[Any, Any, Any]:
        return self.layer.pool_size, self.layer.strides, self.layer.pads

    def forward(self, x: Buffer) -> Buffer:
        size, strides, pads = self.window()
        self.x, y = x, self.buffer(len(x), self.layer.output_shape)
        self.y_shape = y_shape = pooled(x.shape, size, strides, pads)
        kind = instructions.winner_type(size, self.tape.dtype)
        self.winner = self.buffer(len(x), y_shape, kind) if self.training else None
        bands = self.bands(x, y_shape)
        positive = self.relu
        if self.after is not None and self.training:
            positive = self.after.masked = True
        winner = None if self.winner is None else in_bands(self.winner, bands)
        images = in_bands(x, bands), in_bands(y.reshaped(*y_shape), bands), winner
        instructions.max_pool(self.tape, *images, size, strides, pads, positive)
        return y

    def bands(self, x: Buffer, y_shape: tuple[int, ...]) -> int:
        """How many bands of an image are pooled apart, each from whole bands of x; 1 unless windows tile it."""
        size, strides, pads = self.window()
        apart = size == strides and pads == NO_PADS and y_shape[1] * size[0] == x.shape[1]
        return gcd(x.bands, y_shape[1]) if apart else 1

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(self.x.shape)
        assert self.winner is not None
        instructions.max_pool_backward(self.tape, dy.reshaped(*self.y_shape), self.winner, dx, *self.window())
        return dx


class AveragePoolingNode(MaxPoolingNode):
    def forward(self, x: Buffer) -> Buffer:
        size, strides, pads = self.window()
        self.x, y = x, self.buffer(len(x), self.layer.output_shape)
        self.y_shape = pooled(x.shape, size, strides, pads)
        bands = self.bands(x, self.y_shape)
        images = in_bands(x, bands), in_bands(y.reshaped(*self.y_shape), bands)
        instructions.avg_pool(self.tape, *images, size, strides, pads)
        return y

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(self.x.shape)
        instructions.avg_pool_backward(self.tape, dy.reshaped(*self.y_shape), dx, *self.window())
        return dx


class GlobalMaxPoolingNode(MaxPoolingNode):
    def window(self) -> tuple[Any, Any, Any]:
        return self.layer.input_shape[1:3], (1, 1), NO_PADS


class GlobalAveragePoolingNode(AveragePoolingNode):
    def window(self) -> tuple[Any, Any, Any]:
        return self.layer.input_shape[1:3], (1, 1), NO_PADS


class RandomNode(Node):
    """Base of nodes that draw a number for every element: each step has a key of its own."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.keys = np.zeros((STEPS, 3), np.uint64)

    def before_step(self, number: int) -> None:
        self.keys[number] = instructions.key_array(self.layer.next_key())


class DropoutNode(RandomNode):
    settings = ("rate",)

    def forward(self, x: Buffer) -> Buffer:
        return self.dropped(x)

    def backward(self, dy: Buffer) -> Buffer:
        return self.dropped(dy)

    def dropped(self, x: Buffer) -> Buffer:
        y = self.tape.buffer(x.shape)
        instructions.dropout(self.tape, x, y, self.layer.rate, Steps(self.keys))
        return y


class SpatialDropoutNode(DropoutNode):
    def forward(self, x: Buffer) -> Buffer:
        ones = np.ones((len(x), x.shape[-1]), self.tape.dtype)
        self.factor = self.tape.buffer(ones.shape)
        rate = self.layer.rate
        instructions.dropout(self.tape, ones, self.factor, rate, Steps(self.keys))
        return self.dropped(x)

    def dropped(self, x: Buffer) -> Buffer:
        y = self.tape.buffer(x.shape)
        instructions.times_channels(self.tape, x, self.factor, y)
        return y


class GaussianDropoutNode(SpatialDropoutNode):
    """A factor for each number, as if each were a channel."""

    def forward(self, x: Buffer) -> Buffer:
        ones = np.ones((len(x), int(np.prod(x.shape[1:]))), self.tape.dtype)
        self.factor = self.tape.buffer(ones.shape)
        instructions.gaussian_noise(self.tape, ones, self.factor, spread(self.layer.rate), Steps(self.keys))
        return self.dropped(x)


class AlphaDropoutNode(DropoutNode):
    def forward(self, x: Buffer) -> Buffer:
        return self.rescaled(self.dropped(self.rescaled(x, 1.0, -SELU_LEAST)), self.scale, self.scale * SELU_LEAST)

    def backward(self, dy: Buffer) -> Buffer:
        return self.rescaled(self.dropped(dy), self.scale, 0.0)

    @property
    def scale(self) -> float:
        return alpha_scale(self.layer.rate)

    def rescaled(self, x: Buffer, scale: float, offset: float) -> Buffer:
        y = self.tape.buffer(x.shape)
        instructions.rescale(self.tape, x, y, scale, offset)
        return y


class GaussianNoiseNode(RandomNode):
    settings = ("stddev",)

    def forward(self, x: Buffer) -> Buffer:
        y = self.tape.buffer(x.shape)
        instructions.gaussian_noise(self.tape, x, y, self.layer.stddev, Steps(self.keys))
        return y

    def backward(self, dy: Buffer) -> Buffer:
        return dy  # noise does not depend on x


class PReLUNode(Node):
    """A PReLU whose α, as a flat array, is repeated along each flat sample, once or more often."""

    def slopes(self, x: Buffer) -> tuple[np.ndarray, np.ndarray | None]:
        """α, and where its gradient goes."""
        alpha: Parameter = self.layer.alpha
        return alpha.data, alpha.gradient if alpha in self.layer.trainable_parameters else None

    def forward(self, x: Buffer) -> Buffer:
        self.x, y = x, self.tape.buffer(x.shape)
        self.alpha, self.dalpha = self.slopes(x)
        instructions.prelu(self.tape, x, self.alpha, y)
        return y

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(dy.shape)
        instructions.prelu_backward(self.tape, dy, self.x, self.alpha, dx, self.dalpha)
        return dx


class LeakyReLUNode(PReLUNode):
    """A LeakyReLU: one α for all, which nobody trains."""

    settings = ("negative_slope",)

    def slopes(self, x: Buffer) -> tuple[np.ndarray, np.ndarray | None]:
        return np.full(list(x.shape[1:]), self.layer.negative_slope, x.dtype), None


class RandomAffineNode(Node):
    """A random affine map of each image, and perhaps displacements; the maps are drawn in Python."""

    settings = "elastic", "fill_mode", "fill_value"
    field: Buffer | None = None

    def before_step(self, number: int) -> None:
        layer = self.layer
        self.matrices[number] = layer.matrices(len(self.x))
        if self.field is not None:
            rows, columns, strength, key = layer.displacements(len(self.x))
            drawn = rows, columns, instructions.reach(rows, columns), strength, instructions.key_array(key)
            for kept, one in zip(self.drawn, drawn, strict=True):
                kept[number] = one

    def forward(self, x: Buffer) -> Buffer:
        layer = self.layer
        self.x, self.matrices, y = x, np.zeros((STEPS, len(x), 2, 3)), self.tape.buffer(x.shape)
        if layer.elastic is not None:
            N, H, W, _ = x.shape
            rows, columns, strength = (np.zeros((STEPS, size), self.tape.dtype) for size in (H, W, N))
            self.drawn = rows, columns, np.zeros((STEPS, 2), int), strength, np.zeros((STEPS, 3), np.uint64)
            self.field = self.tape.buffer((N, 2, H, W))
            instructions.random_field(self.tape, [Steps(kept) for kept in self.drawn], self.field)
        instructions.affine(self.tape, x, Steps(self.matrices), y, layer.fill_mode, layer.fill_value, self.field)
        return y

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(dy.shape)

        def call() -> None:
            field = None if self.field is None else self.tape.array(self.field)
            saved = dy.shape, self.matrices[0], self.layer.fill_mode, field
            self.tape.array(dx)[...] = self.ops.affine_backward(self.tape.array(dy), saved)

        self.tape.call(call, dy, dx, *([] if self.field is None else [self.field]))
        return dx


class MomentNormalizationNode(Node):
    settings = "width", "factors"

    def forward(self, x: Buffer) -> Buffer:
        maps, y = self.tape.buffer((len(x), 2, 3), dtype=np.float64), self.tape.buffer(x.shape)
        instructions.moment_maps(self.tape, x, maps, self.layer.width, self.layer.factors)
        instructions.affine(self.tape, x, maps, y, "constant", 0.0)
        return y

    def backward(self, dy: Buffer) -> Buffer:
        return self.layer.backward(dy)  # which says that there is none


class RandomBlurNode(Node):
    def before_step(self, number: int) -> None:
        rows, columns, chosen = self.layer.blurs(len(self.chosen[0]))
        self.weights[0][number], self.weights[1][number], self.chosen[number] = rows, columns, chosen
        self.reach[number] = instructions.reach(rows, columns)

    def forward(self, x: Buffer) -> Buffer:
        self.weights = [np.zeros((STEPS, size), self.tape.dtype) for size in x.shape[1:3]]
        self.reach, self.chosen = (np.zeros((STEPS, size), np.int64) for size in (2, len(x)))
        return self.backward(x)

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.tape.buffer(dy.shape)
        rows, columns = map(Steps, self.weights)
        instructions.blur(self.tape, dy, rows, columns, Steps(self.reach), Steps(self.chosen), dx)
        return dx


class RandomErasingNode(Node):
    settings = "fill_value", "value_range"

    def before_step(self, number: int) -> None:
        self.boxes[number], key = self.layer.boxes(len(self.boxes[0]))
        self.keys[number] = instructions.key_array(key)

    def forward(self, x: Buffer) -> Buffer:
        layer = self.layer
        self.boxes, self.keys = np.zeros((STEPS, len(x), 4), np.int64), np.zeros((STEPS, 3), np.uint64)
        y, fill = self.tape.buffer(x.shape), None if layer.fill is None else np.array(layer.fill)
        instructions.erase(self.tape, x, Steps(self.boxes), fill, layer.value_range, Steps(self.keys), y)
        return y

    def backward(self, dy: Buffer) -> Buffer:
        dx, nothing = self.tape.buffer(dy.shape), np.zeros(dy.shape[3])
        instructions.erase(self.tape, dy, Steps(self.boxes), nothing, (0.0, 0.0), 0, dx)
        return dx


class RandomNoiseNode(Node):
    def before_step(self, number: int) -> None:
        self.levels[number], key = self.layer.levels(len(self.levels[0]))
        self.keys[number] = instructions.key_array(key)

    def forward(self, x: Buffer) -> Buffer:
        self.levels, self.keys, y = (
            np.zeros((STEPS, len(x))),
            np.zeros((STEPS, 3), np.uint64),
            self.tape.buffer(x.shape),
        )
        instructions.random_noise(self.tape, x, Steps(self.levels), Steps(self.keys), y)
        return y

    def backward(self, dy: Buffer) -> Buffer:
        return dy


class BatchNormalizationNode(Node):
    """Batch normalisation with the statistics of the batch."""

    settings = "epsilon", "momentum"
    relu = False  # whether a ReLU follows
    before: Node | None = None  # what x comes from, if that may be cheaper to compute again than to keep

    def forward(self, x: Buffer) -> Buffer:
        layer = self.layer
        C = x.shape[-1]
        self.x, self.found = x, Moments.of(C, self.tape.dtype)
        gamma = np.ones(C, self.tape.dtype) if layer.gamma is None else layer.gamma.data
        self.beta = np.zeros(C, self.tape.dtype) if layer.beta is None else layer.beta.data
        instructions.batch_moments(self.tape, x, gamma, layer.epsilon, self.found)
        self.tape.barrier()  # else the second convolution would join the strand of the first
        return self.recompute()

    def recompute(self) -> Buffer:
        y = self.tape.buffer(self.x.shape)
        instructions.scale_rows(
            self.tape, self.recomputed_x(), self.found.mean, self.found.scale, self.beta, y, self.relu
        )
        return y

    def recomputed_x(self) -> Buffer:
        """x, computed again if that is cheap: adds the instructions."""
        recomputed = None if self.before is None else self.before.recompute()
        self.x = self.x if recomputed is None else recomputed
        return self.x

    def backward(self, dy: Buffer) -> Buffer:
        layer = self.layer
        dx = self.tape.buffer(dy.shape)
        dgamma = self.found.dgamma if layer.gamma is None else layer.gamma.gradient
        dbeta = self.found.dbeta if layer.beta is None else layer.beta.gradient
        shift = self.beta if self.relu else None
        instructions.gradient_sums(self.tape, dy, self.x, self.found, dgamma, dbeta, shift)
        if self.input_gradient:
            self.tape.barrier()
            instructions.input_gradient(self.tape, dy, self.recomputed_x(), dx, self.found, shift)
        return dx

    def finish(self) -> None:
        layer = self.layer
        averages = (self.found.mean, layer.moving_mean.data), (self.found.variance, layer.moving_variance.data)
        for found, moving in averages:
            instructions.optimize(self.tape, "moving_average", (found, moving), np.array([layer.momentum, 0.0]))


class FixedBatchNormalizationNode(Node):
    """Batch normalisation with the moving averages: outside training."""

    settings = ("epsilon",)
    relu = False

    def forward(self, x: Buffer) -> Buffer:
        layer = self.layer
        C, y = x.shape[-1], self.tape.buffer(x.shape)
        self.scale, self.shift = np.zeros((2, C), self.tape.dtype)
        x_bands, y_bands = in_same_bands(x, y)
        mean = layer.moving_mean.data
        instructions.scale_rows(self.tape, x_bands, mean, self.scale, self.shift, y_bands, self.relu)
        return y

    def refresh(self) -> None:
        layer = self.layer
        inverse = 1 / np.sqrt(layer.moving_variance.data + self.scale.dtype.type(layer.epsilon))
        self.scale[:] = inverse if layer.gamma is None else layer.gamma.data * inverse
        self.shift[:] = 0 if layer.beta is None else layer.beta.data


class NormalizationNode(Node):
    """Shifts and scales by numbers that nobody trains, but that may be others in the next step."""

    settings = ("invert",)

    def forward(self, x: Buffer) -> Buffer:
        layer = self.layer
        self.coefficients = [np.array(one) for one in layer.coefficients()]
        return self.scaled(x, *self.coefficients)

    def backward(self, dy: Buffer) -> Buffer:
        _, scale, _ = self.coefficients
        zero = np.zeros_like(scale)
        return self.scaled(dy, zero, scale, zero)

    def scaled(self, x: Buffer, centre: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> Buffer:
        y = self.tape.buffer(x.shape)
        rows = len(x), int(np.prod(x.shape[1:])) // scale.size, scale.size
        instructions.scale_rows(self.tape, x.reshaped(*rows), centre, scale, shift, y.reshaped(*rows))
        return y

    def refresh(self) -> None:
        layer = self.layer
        for kept, found in zip(self.coefficients, layer.coefficients(), strict=True):
            kept[:] = found

    def before_step(self, number: int) -> None:
        self.refresh()


class ZeroPaddingNode(Node):
    def forward(self, x: Buffer) -> Buffer:
        y = self.buffer(len(x), self.layer.output_shape)
        instructions.pad(self.tape, x, y, self.layer.padding)
        return y

    def backward(self, dy: Buffer) -> Buffer:
        dx = self.buffer(len(dy), self.layer.input_shape)
        instructions.crop(self.tape, dy, dx, self.layer.padding)
        return dx


ALWAYS: dict[type[Layer], type[Node]] = {
    all_layers.Input: SameNode,
    all_layers.Identity: SameNode,
    all_layers.ActivityRegularization: SameNode,
    Linear: SameNode,
    ReLU: ReLUNode,
    all_layers.Flatten: SameNode,
    all_layers.Reshape: SameNode,
    all_layers.Rescaling: RescalingNode,
    all_layers.MomentNormalization: MomentNormalizationNode,
    all_layers.Normalization: NormalizationNode,
    all_layers.Conv2D: ConvolutionNode,
    all_layers.Conv2DTranspose: TransposedNode,
    all_layers.DepthwiseConv2D: DepthwiseNode,
    all_layers.SeparableConv2D: SeparableNode,
    all_layers.Dense: DenseNode,
    all_layers.MaxPooling2D: MaxPoolingNode,
    all_layers.AveragePooling2D: AveragePoolingNode,
    all_layers.GlobalMaxPooling2D: GlobalMaxPoolingNode,
    all_layers.GlobalAveragePooling2D: GlobalAveragePoolingNode,
    all_layers.ZeroPadding2D: ZeroPaddingNode,
    all_layers.LeakyReLU: LeakyReLUNode,
    all_layers.PReLU: PReLUNode,
}
TRAINING: dict[type[Layer], type[Node]] = dict.fromkeys(_RandomAffine.__subclasses__(), RandomAffineNode)
TRAINING |= ALWAYS | {
    all_layers.Dropout: DropoutNode,
    all_layers.SpatialDropout2D: SpatialDropoutNode,
    all_layers.AlphaDropout: AlphaDropoutNode,
    all_layers.GaussianDropout: GaussianDropoutNode,
    all_layers.GaussianNoise: GaussianNoiseNode,
    all_layers.RandomErasing: RandomErasingNode,
    all_layers.RandomGaussianNoise: RandomNoiseNode,
    all_layers.RandomGaussianBlur: RandomBlurNode,
    all_layers.BatchNormalization: BatchNormalizationNode,
}
INFERENCE: dict[type[Layer], type[Node]] = dict.fromkeys(TRAINING, SameNode)
INFERENCE |= ALWAYS | {all_layers.BatchNormalization: FixedBatchNormalizationNode}

# nodes that can do a ReLU that follows, as well
RECTIFYING = (
    *(ConvolutionNode, TransposedNode, DenseNode, MaxPoolingNode, BatchNormalizationNode),
    FixedBatchNormalizationNode,
)


def node_class(layer: Any, training: bool) -> type[Node]:
    """The node class for this very class of layer, as it is set now; `Node` for subclasses, which may do anything."""
    kind = (TRAINING if training else INFERENCE).get(type(layer), Node)
    if issubclass(kind, DropoutNode) and not layer.rate or kind is GaussianNoiseNode and not layer.stddev:
        return SameNode
    if kind is ReLUNode and (layer.max_value is not None or layer.negative_slope or layer.threshold):
        return Node
    if kind is PReLUNode and not repeats(layer.alpha, layer.input_shape[1:]):
        return Node
    if type(layer) is all_layers.BatchNormalization and not (layer.of_channels and (layer.trainable or not training)):
        return Node
    return kind


def settings_of(layer: Layer) -> list[str]:
    """The settings of a layer that its nodes, in training or not, have written on a tape."""
    return sorted({name for kinds in (TRAINING, INFERENCE) for name in kinds.get(type(layer), Node).settings})

"""The engine: turns a model into tapes, on which a whole training step runs on all cores without Python in between.

Each kind of layer that is known here has a node, which adds the layer's instructions to a tape: the same that the layer's
own `forward` and `backward` would run one by one, so the numbers are the same to the bit. What a node decides is only in
which memory they meet, and what need not be kept. A layer that is not known, one of your own say, is called between two
parts of the tape.

A tape is made for one number of images. The first step with a batch of another size makes another one.
"""

import threading
from collections.abc import Sequence
from functools import partial
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from . import layers as all_layers
from .absent import without
from .kernels import arrays
from .layers.activation import Activation, Linear, ReLU, Softmax
from .layers.augmentation import _RandomAffine
from .layers.base import ActivatedLayer, Layer, Parameter, RandomLayer, WithActivation
from .losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from .ops import instructions
from .ops.cpu import CpuOps
from .ops.cpu_convolution import Geometry, choose, in_bands
from .ops.cpu_dense import Dense
from .ops.instructions import Moments
from .optimizers import Operation, Optimizer
from .regularizers import L1, L1L2, L2
from .tape import GROUPS, Buffer, Each, Steps, Tape, Times
from .threads import forks

if TYPE_CHECKING:
    from .models import Sequential

__getattr__, _ = without(__name__, "", {})  # for what scripts take from keras.engine

NO_LOSS = np.zeros(1)
SETTINGS_OF_OPERATION = 8  # at most, of an optimizer's
STEPS = 16  # that a tape can be run for at once: so many times Python fills in what they differ in
TERMS = 25  # of a sum, which takes no longer than to write the number to memory and to read it
KEPT = 1 << 21  # bytes, which stay in a cache
STAGED = 1 << 16  # bytes of inputs at most, which are copied: to have the tape find them takes longer
ASKED = 64  # groups of a batch that is not trained on: nothing is added up, so more workers can share it


class Node:
    """A layer on one tape. This one calls the layer itself: it serves every layer."""

    def __init__(self, layer: Layer, tape: Tape, ops: CpuOps, training: bool, images: int) -> None:
        self.layer, self.tape, self.ops, self.training = layer, tape, ops, training

    def buffer(self, images: int, like: Sequence[int | None], dtype: Any = None) -> Buffer:
        return self.tape.buffer((images, *(int(n or 0) for n in like[1:])), dtype=dtype)

    def prepare(self, input_gradient: bool) -> None:
        """Adds what depends on the parameters alone."""

    def refresh(self) -> None:
        """Does in Python what depends on the parameters alone."""

    def forward(self, x: Buffer) -> Buffer:
        self.x, self.y = x, self.buffer(len(x), self.layer.output_shape)

        def call() -> None:
            y = self.layer.forward(self.tape.array(self.x), training=self.training)
            if y.shape != self.y.shape:
                raise ValueError(
                    f"layer {self.layer.name}: gives an output of shape {y.shape}, but says {self.y.shape}"
                )
            self.tape.array(self.y)[...] = y

        self.tape.call(call, self.x, self.y)
        return self.y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(self.x.shape)

        def call() -> None:
            self.tape.array(dx)[...] = self.layer.backward(self.tape.array(dy))

        self.tape.call(call, dy, dx)
        return dx

    def again(self) -> Buffer | None:
        """Adds what computes y once more, where that is cheaper for a backward that reads y than to keep it."""
        return None

    def finish(self) -> None:
        """Adds what comes when no layer can fail any more: sums of what `backward` has left in parts, moving averages."""

    def before_step(self, number: int) -> None:
        """What Python does before the tape runs, for each of the steps it runs for: draws keys."""


class Scores(Node):
    """The layer without its activation."""

    def forward(self, x: Buffer) -> Buffer:
        self.x, self.y = x, self.buffer(len(x), self.layer.output_shape)

        def call() -> None:
            self.tape.array(self.y)[...] = self.layer.linear(self.tape.array(self.x))  # type: ignore[attr-defined]

        self.tape.call(call, self.x, self.y)
        return self.y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(self.x.shape)

        def call() -> None:
            self.tape.array(dx)[...] = self.layer.linear_backward(self.tape.array(dy))  # type: ignore[attr-defined]

        self.tape.call(call, dy, dx)
        return dx


class Same(Node):
    """y = x, perhaps in another shape."""

    def forward(self, x: Buffer) -> Buffer:
        self.x = x
        return x.reshaped(len(x), *self.layer.output_shape[1:])

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        return dy.reshaped(*self.x.shape)


class Rescale(Node):
    def forward(self, x: Buffer) -> Buffer:
        y = self.buffer(len(x), x.shape)
        instructions.rescale(self.tape, x, y, self.layer.scale, self.layer.offset)  # type: ignore[attr-defined]
        return y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(dy.shape)
        instructions.rescale(self.tape, dy, dx, self.layer.scale, 0.0)  # type: ignore[attr-defined]
        return dx


class Linearity(Node):
    """What a convolution and a dense layer have in common: a kernel, a bias, and perhaps a ReLU."""

    relu = False
    masked = False  # whether dy comes with the ReLU's zeros already

    @property
    def bias(self) -> Any:
        return None if self.layer.bias is None else self.layer.bias.data  # type: ignore[attr-defined]

    def gradients(self) -> tuple[Any, Any]:
        """Where the gradients of kernel and bias go; nobody looks at those of a frozen layer."""
        trainable = self.layer.trainable_parameters
        found = [parameter.gradient if parameter in trainable else None for parameter in self.layer.parameters]
        kernel, bias = (found + [None])[:2]
        if kernel is None:
            kernel = np.empty(self.layer.parameters[0].shape, self.layer.dtype)
        return kernel, bias

    def mask(self) -> Buffer | None:
        return self.y if self.relu and not self.masked else None


class Convolve(Linearity):
    def __init__(self, layer: Any, tape: Tape, ops: CpuOps, training: bool, images: int) -> None:
        super().__init__(layer, tape, ops, training, images)
        kernel = layer.kernel.data
        geometry = Geometry.of(layer.input_shape[1:3], kernel, layer.strides, layer.pads, layer.dilation_rate)
        self.algorithm = choose(geometry, images, tape.dtype, ops.precision)
        self.relu = layer.fused_relu
        self.cheap = kernel[..., 0].size <= TERMS and self.algorithm.by_image

    def prepare(self, input_gradient: bool) -> None:
        self.algorithm.prepare_forward(self.tape, self.layer.kernel.data)  # type: ignore[attr-defined]
        if input_gradient:
            self.algorithm.prepare_backward(self.tape, self.layer.kernel.data)  # type: ignore[attr-defined]

    def forward(self, x: Buffer) -> Buffer:
        self.x, self.y = x, self.buffer(len(x), self.layer.output_shape)
        self.algorithm.forward(self.tape, x, self.bias, self.relu, self.y)
        return self.y

    def again(self) -> Buffer | None:
        return self.forward(self.x) if self.cheap and self.y.nbytes > KEPT else None

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(self.x.shape)
        kernel = self.layer.kernel.data  # type: ignore[attr-defined]
        self.finish = self.algorithm.backward(  # type: ignore[method-assign]
            self.tape, dy, self.mask(), self.x, kernel, dx if input_gradient else None, *self.gradients()
        )
        return dx


class Densely(Linearity):
    def __init__(self, layer: Any, tape: Tape, ops: CpuOps, training: bool, images: int) -> None:
        super().__init__(layer, tape, ops, training, images)
        self.relu = layer.fused_relu
        inputs, units = layer.kernel.shape
        self.product = Dense(inputs, units, tape.dtype)

    def forward(self, x: Buffer) -> Buffer:
        self.x, self.y = x, self.buffer(len(x), self.layer.output_shape)
        kernel = self.layer.kernel.data  # type: ignore[attr-defined]
        self.product.forward(self.tape, self.rows(x), kernel, self.bias, self.relu, self.rows(self.y))
        return self.y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(self.x.shape)
        mask = self.mask()
        self.product.backward(
            self.tape, self.rows(dy), None if mask is None else self.rows(mask), self.rows(self.x),
            self.layer.kernel.data, self.rows(dx) if input_gradient else None, *self.gradients(),  # type: ignore[attr-defined]
        )  # fmt: skip
        return dx

    @staticmethod
    def rows(x: Buffer) -> Buffer:
        return x.reshaped(int(np.prod(x.shape[:-1])), x.shape[-1])


def alike(x: Buffer, y: Buffer) -> tuple[Buffer, Buffer]:
    """x and y, of one shape, in the bands in which x was made: as many items, for a layer that treats each number alike."""
    y.bands = x.bands
    return in_bands(x, x.bands), in_bands(y, x.bands)


class Rectify(Node):
    def forward(self, x: Buffer) -> Buffer:
        self.y = self.buffer(len(x), x.shape)
        instructions.relu(self.tape, *alike(x, self.y))
        return self.y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(dy.shape)
        instructions.relu_backward(self.tape, dy, self.y, dx)
        return dx


class MaxPool(Node):
    relu = False  # whether a ReLU follows
    after: Linearity | None = None  # what x comes from, if it ends with a ReLU: its zeros need not be looked up again

    def window(self) -> tuple[Any, Any, Any]:
        layer: Any = self.layer
        return layer.pool_size, layer.strides, layer.pads

    def forward(self, x: Buffer) -> Buffer:
        size, strides, pads = self.window()
        self.x, y = x, self.buffer(len(x), self.layer.output_shape)
        y_shape = (len(x), (x.shape[1] + sum(pads[0]) - size[0]) // strides[0] + 1,
                   (x.shape[2] + sum(pads[1]) - size[1]) // strides[1] + 1, x.shape[3])  # fmt: skip
        self.y_shape = y_shape
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
        """How many parts of an image can be done apart, as those that have just been made."""
        size, strides, pads = self.window()
        apart = size == strides and pads == NO_PADS and y_shape[1] * size[0] == x.shape[1]
        return gcd(x.bands, y_shape[1]) if apart else 1

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(self.x.shape)
        assert self.winner is not None
        instructions.max_pool_backward(self.tape, dy.reshaped(*self.y_shape), self.winner, dx, *self.window())
        return dx


class AveragePool(MaxPool):
    def forward(self, x: Buffer) -> Buffer:
        size, strides, pads = self.window()
        self.x, y = x, self.buffer(len(x), self.layer.output_shape)
        self.y_shape = (len(x), (x.shape[1] + sum(pads[0]) - size[0]) // strides[0] + 1,
                        (x.shape[2] + sum(pads[1]) - size[1]) // strides[1] + 1, x.shape[3])  # fmt: skip
        bands = self.bands(x, self.y_shape)
        images = in_bands(x, bands), in_bands(y.reshaped(*self.y_shape), bands)
        instructions.avg_pool(self.tape, *images, size, strides, pads)
        return y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(self.x.shape)
        instructions.avg_pool_backward(self.tape, dy.reshaped(*self.y_shape), dx, *self.window())
        return dx


NO_PADS = ((0, 0), (0, 0))


class GlobalMaxPool(MaxPool):
    def window(self) -> tuple[Any, Any, Any]:
        return self.layer.input_shape[1:3], (1, 1), NO_PADS


class GlobalAveragePool(AveragePool):
    def window(self) -> tuple[Any, Any, Any]:
        return self.layer.input_shape[1:3], (1, 1), NO_PADS


class Drop(Node):
    def __init__(self, layer: Any, tape: Tape, ops: CpuOps, training: bool, images: int) -> None:
        super().__init__(layer, tape, ops, training, images)
        self.rate, self.keys = layer.rate, np.zeros((STEPS, 3), np.uint64)

    def before_step(self, number: int) -> None:
        self.keys[number] = instructions.key_array(self.layer.next_key())  # type: ignore[attr-defined]

    def forward(self, x: Buffer) -> Buffer:
        return self.dropped(x)

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        return self.dropped(dy)

    def dropped(self, x: Buffer) -> Buffer:
        y = self.tape.buffer(x.shape)
        instructions.dropout(self.tape, x, y, self.rate, Steps(self.keys))
        return y


class DropChannels(Drop):
    def forward(self, x: Buffer) -> Buffer:
        ones = np.ones((len(x), x.shape[-1]), self.tape.dtype)
        self.factor = self.tape.buffer(ones.shape)
        instructions.dropout(self.tape, ones, self.factor, self.rate, Steps(self.keys))
        return self.dropped(x)

    def dropped(self, x: Buffer) -> Buffer:
        y = self.tape.buffer(x.shape)
        instructions.times_channels(self.tape, x, self.factor, y)
        return y


class Disturb(Drop):
    """Noise: the gradient passes as it is."""

    def __init__(self, layer: Any, tape: Tape, ops: CpuOps, training: bool, images: int) -> None:
        Node.__init__(self, layer, tape, ops, training, images)
        self.keys = np.zeros((STEPS, 3), np.uint64)

    def forward(self, x: Buffer) -> Buffer:
        y = self.tape.buffer(x.shape)
        instructions.gaussian_noise(self.tape, x, y, self.layer.stddev, Steps(self.keys))  # type: ignore[attr-defined]
        return y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        return dy


class Leak(Node):
    """A PReLU whose α follow each other in a sample once, or again and again."""

    def slopes(self, x: Buffer) -> tuple[np.ndarray, np.ndarray | None]:
        """α, and where its gradient goes."""
        alpha: Parameter = self.layer.alpha  # type: ignore[attr-defined]
        return alpha.data, alpha.gradient if alpha in self.layer.trainable_parameters else None

    def forward(self, x: Buffer) -> Buffer:
        self.x, y = x, self.tape.buffer(x.shape)
        self.alpha, self.dalpha = self.slopes(x)
        instructions.prelu(self.tape, x, self.alpha, y)
        return y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(dy.shape)
        instructions.prelu_backward(self.tape, dy, self.x, self.alpha, dx, self.dalpha)
        return dx


class LeakAlike(Leak):
    """A LeakyReLU: one α for all, which nobody trains."""

    def slopes(self, x: Buffer) -> tuple[np.ndarray, np.ndarray | None]:
        layer: Any = self.layer
        return np.full(list(x.shape[1:]), layer.negative_slope, x.dtype), None


class Move(Node):
    """A random affine map of each image, and perhaps displacements; the maps are drawn in Python."""

    field: Buffer | None = None

    def before_step(self, number: int) -> None:
        layer: Any = self.layer
        self.matrices[number] = layer.matrices(len(self.x))
        if self.field is not None:
            rows, columns, strength, key = layer.displacements(len(self.x))
            settings = rows, columns, instructions.reach(rows, columns), strength, instructions.key_array(key)
            for kept, setting in zip(self.settings, settings, strict=True):
                kept[number] = setting

    def forward(self, x: Buffer) -> Buffer:
        layer: Any = self.layer
        self.x, self.matrices, y = x, np.zeros((STEPS, len(x), 2, 3)), self.tape.buffer(x.shape)
        if layer.elastic is not None:
            N, H, W, _ = x.shape
            rows, columns, strength = (np.zeros((STEPS, size), self.tape.dtype) for size in (H, W, N))
            self.settings = rows, columns, np.zeros((STEPS, 2), int), strength, np.zeros((STEPS, 3), np.uint64)
            self.field = self.tape.buffer((N, 2, H, W))
            instructions.random_field(self.tape, [Steps(kept) for kept in self.settings], self.field)
        instructions.affine(self.tape, x, Steps(self.matrices), y, layer.fill_mode, layer.fill_value, self.field)
        return y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(dy.shape)

        def call() -> None:
            field = None if self.field is None else self.tape.array(self.field)
            saved = dy.shape, self.matrices[0], self.layer.fill_mode, field  # type: ignore[attr-defined]
            self.tape.array(dx)[...] = self.ops.affine_backward(self.tape.array(dy), saved)

        self.tape.call(call, dy, dx, *([] if self.field is None else [self.field]))
        return dx


class Blur(Node):
    def before_step(self, number: int) -> None:
        rows, columns, chosen = self.layer.blurs(len(self.chosen[0]))  # type: ignore[attr-defined]
        self.weights[0][number], self.weights[1][number], self.chosen[number] = rows, columns, chosen
        self.reach[number] = instructions.reach(rows, columns)

    def forward(self, x: Buffer) -> Buffer:
        self.weights = [np.zeros((STEPS, size), self.tape.dtype) for size in x.shape[1:3]]
        self.reach, self.chosen = (np.zeros((STEPS, size), np.int64) for size in (2, len(x)))
        return self.backward(x, True)

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.tape.buffer(dy.shape)
        rows, columns = map(Steps, self.weights)
        instructions.blur(self.tape, dy, rows, columns, Steps(self.reach), Steps(self.chosen), dx)
        return dx


class Erase(Node):
    def before_step(self, number: int) -> None:
        self.boxes[number], key = self.layer.boxes(len(self.boxes[0]))  # type: ignore[attr-defined]
        self.keys[number] = instructions.key_array(key)

    def forward(self, x: Buffer) -> Buffer:
        layer: Any = self.layer
        self.boxes, self.keys = np.zeros((STEPS, len(x), 4), np.int64), np.zeros((STEPS, 3), np.uint64)
        y, fill = self.tape.buffer(x.shape), None if layer.fill is None else np.array(layer.fill)
        instructions.erase(self.tape, x, Steps(self.boxes), fill, layer.value_range, Steps(self.keys), y)
        return y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx, nothing = self.tape.buffer(dy.shape), np.zeros(dy.shape[3])
        instructions.erase(self.tape, dy, Steps(self.boxes), nothing, (0.0, 0.0), 0, dx)
        return dx


class Noisy(Node):
    def before_step(self, number: int) -> None:
        self.levels[number], key = self.layer.levels(len(self.levels[0]))  # type: ignore[attr-defined]
        self.keys[number] = instructions.key_array(key)

    def forward(self, x: Buffer) -> Buffer:
        self.levels, self.keys, y = (
            np.zeros((STEPS, len(x))),
            np.zeros((STEPS, 3), np.uint64),
            self.tape.buffer(x.shape),
        )
        instructions.random_noise(self.tape, x, Steps(self.levels), Steps(self.keys), y)
        return y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        return dy


class Normalize(Node):
    """Batch normalisation with the statistics of the batch."""

    relu = False  # whether a ReLU follows
    before: Node | None = None  # what x comes from, if that may be cheaper to compute again than to keep

    def forward(self, x: Buffer) -> Buffer:
        layer: Any = self.layer
        C = x.shape[-1]
        self.x, self.found = x, Moments.of(C, self.tape.dtype)
        gamma = np.ones(C, self.tape.dtype) if layer.gamma is None else layer.gamma.data
        self.beta = np.zeros(C, self.tape.dtype) if layer.beta is None else layer.beta.data
        instructions.batch_moments(self.tape, x, gamma, layer.epsilon, self.found)
        self.tape.barrier()  # else the second convolution would join the strand of the first
        return self.again()

    def again(self) -> Buffer:
        y = self.tape.buffer(self.x.shape)
        instructions.scale_rows(self.tape, self.x_again(), self.found.mean, self.found.scale, self.beta, y, self.relu)
        return y

    def x_again(self) -> Buffer:
        """x, computed again if that is cheap: adds the instructions."""
        again = None if self.before is None else self.before.again()
        self.x = self.x if again is None else again
        return self.x

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        layer: Any = self.layer
        dx = self.tape.buffer(dy.shape)
        dgamma = self.found.dgamma if layer.gamma is None else layer.gamma.gradient
        dbeta = self.found.dbeta if layer.beta is None else layer.beta.gradient
        shift = self.beta if self.relu else None
        instructions.gradient_sums(self.tape, dy, self.x, self.found, dgamma, dbeta, shift)
        if input_gradient:
            self.tape.barrier()
            instructions.input_gradient(self.tape, dy, self.x_again(), dx, self.found, shift)
        return dx

    def finish(self) -> None:
        layer: Any = self.layer
        averages = (self.found.mean, layer.moving_mean.data), (self.found.variance, layer.moving_variance.data)
        for found, moving in averages:
            instructions.optimize(self.tape, "moving_average", (found, moving), np.array([layer.momentum, 0.0]))


class NormalizeFixed(Node):
    """Batch normalisation with the moving averages: outside training."""

    relu = False

    def forward(self, x: Buffer) -> Buffer:
        layer: Any = self.layer
        C, y = x.shape[-1], self.tape.buffer(x.shape)
        self.scale, self.shift = np.zeros((2, C), self.tape.dtype)
        x_bands, y_bands = alike(x, y)
        mean = layer.moving_mean.data
        instructions.scale_rows(self.tape, x_bands, mean, self.scale, self.shift, y_bands, self.relu)
        return y

    def refresh(self) -> None:
        layer: Any = self.layer
        inverse = 1 / np.sqrt(layer.moving_variance.data + self.scale.dtype.type(layer.epsilon))
        self.scale[:] = inverse if layer.gamma is None else layer.gamma.data * inverse
        self.shift[:] = 0 if layer.beta is None else layer.beta.data


class Standardize(Node):
    """Shifts and scales by numbers that nobody trains, but that may be others in the next step."""

    def forward(self, x: Buffer) -> Buffer:
        layer: Any = self.layer
        self.coefficients = [np.array(one) for one in layer.coefficients()]
        return self.scaled(x, *self.coefficients)

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        _, scale, _ = self.coefficients
        zero = np.zeros_like(scale)
        return self.scaled(dy, zero, scale, zero)

    def scaled(self, x: Buffer, centre: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> Buffer:
        y = self.tape.buffer(x.shape)
        rows = len(x), int(np.prod(x.shape[1:])) // scale.size, scale.size
        instructions.scale_rows(self.tape, x.reshaped(*rows), centre, scale, shift, y.reshaped(*rows))
        return y

    def refresh(self) -> None:
        layer: Any = self.layer
        for kept, found in zip(self.coefficients, layer.coefficients(), strict=True):
            kept[:] = found

    def before_step(self, number: int) -> None:
        self.refresh()


class Pad(Node):
    def forward(self, x: Buffer) -> Buffer:
        y = self.buffer(len(x), self.layer.output_shape)
        instructions.pad(self.tape, x, y, self.layer.padding)  # type: ignore[attr-defined]
        return y

    def backward(self, dy: Buffer, input_gradient: bool) -> Buffer:
        dx = self.buffer(len(dy), self.layer.input_shape)
        instructions.crop(self.tape, dy, dx, self.layer.padding)  # type: ignore[attr-defined]
        return dx


ALWAYS: dict[type[Layer], type[Node]] = {
    all_layers.Input: Same,
    Linear: Same,
    all_layers.Flatten: Same,
    all_layers.Reshape: Same,
    all_layers.Rescaling: Rescale,
    all_layers.Normalization: Standardize,
    all_layers.Conv2D: Convolve,
    all_layers.Dense: Densely,
    all_layers.MaxPooling2D: MaxPool,
    all_layers.AveragePooling2D: AveragePool,
    all_layers.GlobalMaxPooling2D: GlobalMaxPool,
    all_layers.GlobalAveragePooling2D: GlobalAveragePool,
    all_layers.ZeroPadding2D: Pad,
    all_layers.LeakyReLU: LeakAlike,
}
TRAINING: dict[type[Layer], type[Node]] = {
    all_layers.Dropout: Drop,
    all_layers.SpatialDropout2D: DropChannels,
    all_layers.GaussianNoise: Disturb,
    all_layers.RandomErasing: Erase,
    all_layers.RandomGaussianNoise: Noisy,
    all_layers.RandomGaussianBlur: Blur,
    all_layers.BatchNormalization: Normalize,
}
ASKING: dict[type[Layer], type[Node]] = {
    all_layers.Dropout: Same,
    all_layers.SpatialDropout2D: Same,
    all_layers.GaussianNoise: Same,
    all_layers.RandomErasing: Same,
    all_layers.RandomGaussianNoise: Same,
    all_layers.RandomGaussianBlur: Same,
    all_layers.BatchNormalization: NormalizeFixed,
}


RECTIFYING = Convolve, Densely, MaxPool, Normalize, NormalizeFixed  # nodes that can do a ReLU that follows, as well


def node_class(layer: Layer, training: bool) -> type[Node]:
    """The class of exactly this layer: a subclass of ours may do anything."""
    kind = type(layer)
    if kind is ReLU:
        plain = layer.max_value is None and not layer.negative_slope and not layer.threshold  # type: ignore[attr-defined]
        return Rectify if plain else Node
    if isinstance(layer, _RandomAffine) and kind.__module__ == _RandomAffine.__module__:
        return Move if training else Same
    if kind in (all_layers.Dropout, all_layers.SpatialDropout2D) and not layer.rate:  # type: ignore[attr-defined]
        return Same
    if kind is all_layers.GaussianNoise and not layer.stddev:  # type: ignore[attr-defined]
        return Same
    if kind is all_layers.PReLU:
        alpha: Parameter = layer.alpha  # type: ignore[attr-defined]
        return Node if instructions.repeats(alpha.shape, layer.input_shape[1:]) is None else Leak
    if kind is all_layers.BatchNormalization and not (layer.of_channels and (layer.trainable or not training)):  # type: ignore[attr-defined]
        return Node
    return ALWAYS.get(kind) or (TRAINING if training else ASKING).get(kind) or Node


class Run:
    """A model on a tape for batches of one size: "train", "evaluate" (scores and losses) or "predict"."""

    def __init__(self, model: "Sequential", images: int, kind: str) -> None:
        self.model, self.images, self.kind = model, images, kind
        self.training = kind == "train"
        dtype = model._layers[0].dtype
        assert isinstance(model.ops, CpuOps)
        self.tape = Tape(dtype, GROUPS if self.training else ASKED, model.ops.poison)
        self.sources = np.zeros((STEPS, 3), np.int64)
        self.penalties: list[np.ndarray] = []
        self.nodes = self._nodes(model.ops)
        self.first = self._first_trainable()
        for number, node in enumerate(self.nodes):
            node.prepare(self.training and number > self.first)
        if self.training:
            self.tape.barrier()
        else:
            self.tape.split()
        x = self.tape.buffer((images, *model._layers[0].input_shape[1:]))
        size = int(np.prod(x.shape[1:]))
        self.staged = not self.training and x.nbytes <= STAGED
        if self.staged:
            self.tape.keep(x)
        else:
            self.tape.add(arrays.gather, images, source=Steps(self.sources), first=Times(1), x=Each(x), image=size)
        self.x = x
        for node in self.nodes:
            x = node.forward(x)
        self.scores = x
        self.tape.keep(x)
        if self.training:
            self.kept = np.zeros((STEPS, *x.shape), x.dtype)
            instructions.copy(self.tape, x, Steps(self.kept))
        if kind != "predict":
            self._loss()
        if self.training:
            dy = self.gradient
            for number in range(len(self.nodes) - 1, self.first - 1, -1):
                node = self.nodes[number]
                if isinstance(node, Convolve) and node.algorithm.by_image and number:
                    if type(self._after(number)) is Densely:
                        self.tape.barrier()  # else what is computed again would be done beside the dense layer's gradients
                    again = self.nodes[number - 1].again()
                    node.x = node.x if again is None else again
                dy = node.backward(dy, number > self.first)
            for node in self.nodes:
                node.finish()
            self._penalties()
            self._optimizer()
        self.tape.finish()
        self.hooks = [node for node in self.nodes if type(node).before_step is not Node.before_step]
        self.most = STEPS if self.training and self.tape.unbroken else 1  # steps at once
        self.listed = [layer for layer in model._layers if isinstance(layer, RandomLayer)]
        self.rows, self.shape = np.arange(images), tuple(model._layers[0].input_shape[1:])
        self.parameters = model.parameters
        if self.staged:
            self.inputs, self.outputs = self.tape.array(self.x), self.tape.array(self.scores)
        self.prepared = -1  # `Parameter.writes` when it was done

    def _nodes(self, ops: CpuOps) -> list[Node]:
        """A node per layer, two for a layer whose activation has its own; a final softmax is left out for the loss."""
        layers: list[Layer] = []
        for layer in self.model._layers:
            layers.append(layer.activate if type(layer) is Activation else layer)
            if type(layer) in (all_layers.Conv2D, all_layers.Dense) and isinstance(layer, ActivatedLayer):
                layers.append(layer.activate)
        if self.kind != "predict" and self.model.ends_with_softmax:
            last = layers[-1]
            if isinstance(last, Softmax | Activation):
                layers.pop()
        nodes: list[Node] = []
        for layer in layers:
            kind = node_class(layer, self.training)
            scores = layer is layers[-1] and self.kind != "predict" and self.model.ends_with_softmax
            if scores and isinstance(layer, ActivatedLayer) and kind is Node:
                kind = Scores
            before = nodes[-1] if nodes else None
            if kind is Rectify and type(before) in RECTIFYING and not before.relu:  # type: ignore[union-attr]
                before.relu = True  # type: ignore[union-attr]
                continue
            if type(layer) is Linear:
                continue
            node = kind(layer, self.tape, ops, self.training, self.images)
            if type(node) is MaxPool and isinstance(before, Convolve) and before.relu:
                node.after = before
            if isinstance(node, Convolve) and node.algorithm.by_image and isinstance(before, Normalize) and nodes[:-1]:
                before.before = nodes[-2]
            nodes.append(node)
        return nodes

    def _after(self, number: int) -> Node | None:
        """The next node that computes something."""
        return next((node for node in self.nodes[number + 1 :] if type(node) is not Same), None)

    def _first_trainable(self) -> int:
        """The number of the first node with parameters to train: gradients go back to there."""
        found = [n for n, node in enumerate(self.nodes) if node.layer.trainable_parameters]
        return min(found, default=len(self.nodes))

    def _loss(self) -> None:
        model, scores = self.model, self.scores
        assert model.loss is not None
        self.native_loss = (
            type(model.loss) in (CategoricalCrossentropy, SparseCategoricalCrossentropy)
            and (model.loss.from_logits or model.ends_with_softmax)
            and model.loss.reduction == "sum_over_batch_size"
            and len(scores.shape) == 2
        )
        if self.native_loss:
            self.targets = np.zeros((STEPS, *scores.shape), self.tape.dtype)
            self.weights, self.losses = np.zeros((2, STEPS, self.images), self.tape.dtype)
            targets, weights, losses = Steps(self.targets), Steps(self.weights), Steps(self.losses)
            probabilities, self.gradient = self.tape.buffer(scores.shape), self.tape.buffer(scores.shape)
            instructions.softmax_cross_entropy(self.tape, scores, targets, losses, probabilities)
            if self.training:
                instructions.softmax_gradient(self.tape, probabilities, targets, weights, self.gradient)
            return
        self.gradient = self.tape.buffer(scores.shape)

        def call() -> None:
            self.loss, gradient = model.loss_of(self.y, self.tape.array(scores), self.sample_weight)
            self.tape.array(self.gradient)[...] = gradient

        self.tape.call(call, scores, self.gradient)

    def _penalties(self) -> None:
        """Adds the gradients of penalties, and finds these themselves: each is the sum of a step's numbers."""
        punished = [p for p in self.model.trainable_parameters if p.regularizer is not None]
        parts: list[Buffer] = []
        for p in punished:
            if type(p.regularizer) in (L1, L2, L1L2):
                w, g, factors = p.data.reshape(-1), p.gradient.reshape(-1), p.regularizer
                parts.append(instructions.penalize(self.tape, w, g, factors.l1, factors.l2))  # type: ignore[union-attr]
                self.penalties.append(np.zeros((STEPS, *parts[-1].shape), self.tape.dtype))
        for part, found in zip(parts, self.penalties, strict=True):
            instructions.copy(self.tape, part, Steps(found))
        for p in punished:
            if type(p.regularizer) not in (L1, L2, L1L2):
                self.penalties.append(np.zeros((1, 1)))
                self.tape.call(partial(self._penalize, p, self.penalties[-1]))

    def _penalize(self, parameter: Parameter, found: np.ndarray) -> None:
        found[0] = parameter.regularizer.penalize(self.model.ops, parameter.data, parameter.gradient)  # type: ignore[union-attr]

    def _optimizer(self) -> None:
        optimizer, flat = self.model.optimizer, self.model._flat
        assert optimizer is not None and flat is not None
        self.updates: list[tuple[Operation, np.ndarray]] = []  # with their settings, step by step
        if flat[0].size == 0:
            return
        if not optimizer.native:
            self.tape.call(lambda: optimizer.update(*flat))
            return
        for operation in optimizer.operations(*flat):
            settings = np.zeros((STEPS, SETTINGS_OF_OPERATION))
            self.updates.append((operation, settings))
            for call in operation.calls:
                instructions.optimize(self.tape, operation.name, call, Steps(settings))

    def _set_optimizer(self, optimizer: Optimizer, number: int) -> None:
        rate = optimizer.learning_rate
        optimizer.iterations += 1
        for operation, settings in self.updates:
            values = operation.settings(rate)
            settings[number, : len(values)] = values

    def __call__(self, x: np.ndarray, rows: np.ndarray | None, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Runs on the images `rows` of x, or on the first ones if that is None; the scores are in `result`.

        In training these may be the images of up to `most` steps. Returns the loss of each step.
        """
        if self.staged:
            self.inputs[...] = x if rows is None else x[rows]
            self.steps = 1
        else:
            x = self._point(x, rows)  # kept until the run is over
        if self.kind != "predict":
            self.y, self.sample_weight = y, sample_weight
            if self.native_loss:
                self._set_targets(y, sample_weight)
        if self.training:
            self._train()
        else:
            self._ask()
        if self.kind == "predict":
            return NO_LOSS
        steps = self.steps
        losses = (self.losses[:steps] * self.weights[:steps]).sum(axis=1) if self.native_loss else np.array([self.loss])
        if self.penalties:
            losses = losses + [sum(float(found[step].sum()) for found in self.penalties) for step in range(steps)]
        return losses

    def _point(self, x: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """Has the tape gather the images `rows` of x, or all; returns what it will read them from."""
        if x.dtype != np.uint8 and x.dtype != self.tape.dtype or not x.flags.c_contiguous:
            x, rows = np.ascontiguousarray(x if rows is None else x[rows], self.tape.dtype), None
        if rows is None:
            self.rows_now = self.rows if len(x) == self.images else np.arange(len(x))
        else:
            self.rows_now = _rows_of(rows, len(x))
        self.steps = steps = len(self.rows_now) // self.images
        starts = self.rows_now.ctypes.data + self.rows_now.itemsize * self.images * np.arange(steps)
        self.sources[:steps, 0], self.sources[:steps, 1] = x.ctypes.data, starts
        self.sources[:steps, 2] = x.dtype == np.uint8
        return x

    def _train(self) -> None:
        """Runs the tape; steps that were not finished, because a layer raised or the user pressed Ctrl-C, do not count."""
        optimizer, flat = self.model.optimizer, self.model._flat
        assert optimizer is not None and flat is not None
        native = optimizer.native or flat[0].size == 0  # others count their steps themselves
        for number in range(self.steps):
            for layer in self.listed:
                layer.step = optimizer.iterations
            for node in self.hooks:
                node.before_step(number)
            if native:
                self._set_optimizer(optimizer, number)
        Parameter.writes += 1
        try:
            self.tape.run(steps=self.steps)
        except BaseException:
            if native and not self.tape.complete:
                optimizer.iterations -= self.steps
            raise

    def _ask(self) -> None:
        """Runs the tape, its first section only where parameters may have changed."""
        shared = Parameter.handed_out and any([parameter.shared for parameter in self.parameters])
        if shared or self.prepared != Parameter.writes:
            for node in self.nodes:
                node.refresh()
            self.prepared = -1
            self.tape.run(0, 1)
            self.prepared = Parameter.writes
        self.tape.run(1)

    def _set_targets(self, y: Any, sample_weight: Any) -> None:
        loss: Any = self.model.loss
        smoothing, classes = loss.label_smoothing, self.scores.shape[1]
        targets = loss.one_hot(np.asarray(y), classes)
        steps, images = self.steps, self.images
        if len(targets) != steps * images:
            raise ValueError(f"{loss.name}: {steps * images} predictions but {len(targets)} targets")
        self.targets[:steps] = (targets * (1 - smoothing) + smoothing / classes).reshape(steps, images, classes)
        if sample_weight is None:
            self.weights.fill(1 / images)
        elif np.size(sample_weight) != len(targets):
            shape = np.shape(sample_weight)
            raise ValueError(f"{loss.name}: expected a weight per sample, {len(targets)} numbers, got shape {shape}")
        else:
            self.weights[:steps] = np.asarray(sample_weight, float).reshape(steps, images) / images

    @property
    def result(self) -> np.ndarray:
        """The scores, or the prediction, of the last call; overwritten by the next."""
        if self.training:
            return self.kept[: self.steps].reshape(-1, *self.scores.shape[1:])
        return self.outputs if self.staged else self.tape.array(self.scores)


# Settings of layers that are written on a tape.
SETTINGS = (
    *("rate", "stddev", "epsilon", "momentum", "scale", "offset", "fill_mode", "fill_value", "value_range", "elastic"),
    *("max_value", "negative_slope", "threshold", "activate"),
)


def _rows_of(rows: Any, samples: int) -> np.ndarray:
    """Sample numbers as kernels read them; IndexError for one that there is not."""
    rows = np.asarray(rows)
    if rows.dtype == bool or (rows.size and (rows.min() < 0 or rows.max() >= samples)):
        rows = np.arange(samples)[rows]
    return np.ascontiguousarray(rows, np.int64)


def _settings(model: "Sequential", training: bool) -> list[tuple[Any, str]]:
    """(object, attribute) of all that a tape depends on, in training or not, and that may be changed at any time."""
    found: list[tuple[Any, str]] = []
    inner = [layer.activate for layer in model._layers if isinstance(layer, WithActivation)]
    inner = [layer for layer in inner if type(layer) is not Linear]  # which has no settings
    for layer in [*model._layers, *inner]:
        ours = isinstance(layer, ReLU | WithActivation)
        if node_class(layer, True) is not Node or ours:  # a layer that is called may have any others
            found += [(layer, name) for name in SETTINGS if hasattr(layer, name)]
    if not training:
        return found
    judges = (model.optimizer, "parts"), (model.loss, "from_logits")
    found += [(owner, name) for owner, name in judges if hasattr(owner, name)]
    punished = [parameter.regularizer for parameter in model.parameters if isinstance(parameter.regularizer, L1L2)]
    found += [(regularizer, factor) for regularizer in punished for factor in ("l1", "l2")]
    found += [(parameter, name) for parameter in model.parameters for name in ("trainable", "regularizer")]
    return found + [(layer, "trainable") for layer in model._layers]


MOST_RUNS = 16  # that a model keeps


class Engine:
    """The runs of one model, by kind and number of images; who uses one holds the `lock`."""

    def __init__(self) -> None:
        self.forks = -1
        self.runs: dict[tuple[str, int], Run] = {}
        self.state: tuple[Any, ...] = ()
        self.glances: list[list[Any]] = [[], []]  # what `_glance` found, not in training and in training
        self.settings: list[list[tuple[Any, ...]]] = []  # objects and their attributes, as well

    @property
    def lock(self) -> Any:
        """A new one after a fork: a thread that is not there any more may have held the old one."""
        if self.forks != forks():
            self.forks, self._lock = forks(), threading.RLock()
        return self._lock

    def __reduce__(self) -> tuple[Any, ...]:
        return Engine, ()  # a copy of a model has memory of its own

    def latest(self, model: "Sequential", images: int, kind: str) -> Run | None:
        """What `run` returned, if nothing can have changed since then: a cheaper question than what has."""
        training = kind != "predict"
        return self.runs.get((kind, images)) if self.glances[training] == self._glance(model, training) else None

    def keep(self, key: tuple[str, int], run: Any) -> None:
        """Adds a run; the oldest goes where there are too many: each has memory of its own."""
        if len(self.runs) == MOST_RUNS:
            del self.runs[next(iter(self.runs))]
        self.runs[key] = run

    def own_writes(self) -> None:
        """Says that what has been written to parameters since `latest` or `run` was the run's own doing."""
        for glance in self.glances:
            glance[0] = Parameter.writes

    def run(self, model: "Sequential", images: int, kind: str) -> Run:
        """The run for batches of so many images; made anew if the model has changed."""
        state = self._state(model)
        if state != self.state:
            self.runs.clear()
            self.state = state
            self.kept = model._flat, model.optimizer, model.loss, _moments(model), [p.data for p in model.parameters]
        if (kind, images) not in self.runs:
            from .warmup import Helper  # which builds runs itself

            with Helper(model, kind, images):
                self.keep((kind, images), Run(model, images, kind))
        self.settings = [[*zip(*_settings(model, training), strict=True)] for training in (False, True)]
        self.glances = [self._glance(model, training) for training in (False, True)]
        return self.runs[kind, images]

    def _glance(self, model: "Sequential", training: bool) -> list[Any]:
        """What changes with any change of parameters, and all else that a model does not notice itself."""
        ops: Any = model.ops
        found = [Parameter.writes, model._flat is None, model.run_eagerly, ops, ops.name]
        if isinstance(ops, CpuOps):
            found += [ops.precision, ops.poison]
        if training:
            found += [model.optimizer, model.loss]
            found += [] if model.optimizer is None else map(id, model.optimizer.state.values())
        if self.settings and self.settings[training]:
            found += map(getattr, *self.settings[training])
        return found

    @staticmethod
    def _state(model: "Sequential") -> tuple[Any, ...]:
        """What a tape was made from: it is made anew when any of this has changed."""
        assert model._flat is not None
        return (
            id(model._flat[0]), id(model.optimizer), *map(id, _moments(model)), id(model.loss), model.ops.precision, model.ops.poison,  # type: ignore[attr-defined]
            *(id(parameter.data) for parameter in model.parameters), *map(id, model._layers),
            *(getattr(owner, name) for owner, name in _settings(model, True)),
        )  # fmt: skip


def _moments(model: "Sequential") -> list[Any]:
    return [] if model.optimizer is None else list(model.optimizer.state.values())


def usable(model: "Sequential") -> bool:
    """Whether the model is on the CPU, in one number type."""
    return isinstance(model.ops, CpuOps) and len({layer.dtype for layer in model._layers}) == 1

"""The operations on the CPU, each a tape of few instructions: checks and memory here, the arithmetic in `minicnn.kernels`.

What is not overridden is the array code of the definition, which is fast enough there. Both number types run the same
kernels, from the same source. A model is trained by longer tapes of the same instructions: see `engine.py`.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..memory import POOL
from ..tape import Tape
from . import instructions
from .cpu_convolution import Geometry, convolve, convolve_backward
from .cpu_dense import dense_layer, dense_layer_backward
from .instructions import Moments
from .reference import (
    Array,
    Key,
    Pads,
    Pair,
    Saved,
    WithKernels,
    expect,
    expect_alike,
    expect_per_channel,
    expect_transposed,
    expect_weights,
    pooled,
    positions,
    repeats,
    uniform,
)

LARGEST_TAPE = 1 << 22  # bytes that a tape may take to be kept
ALL_TAPES = 1 << 26  # bytes that all kept tapes may take
TAPE = 1 << 14  # bytes that a tape takes besides its buffers


class Tapes:
    """A cache of short tapes that can run again on arrays of the same shapes, since writing a tape takes longer.

    A thread takes a tape out while it uses it. When they take too much memory, all are dropped.
    """

    def __init__(self) -> None:
        self.free: dict[Any, list[Tape]] = {}
        self.bytes = 0  # of all tapes that belong to `free`, those taken out included
        self.lock = threading.Lock()

    def take(self, key: Any) -> Tape | None:
        try:
            return self.free[key].pop()
        except (KeyError, IndexError):
            return None

    def keep(self, key: Any, tape: Tape) -> None:
        if tape.home is not self.free and not self._admits(tape):
            return
        tape.home.setdefault(key, []).append(tape)

    def _admits(self, tape: Tape) -> bool:
        """Makes room for a new tape; not for a large one, nor while another thread does so, or did so when it was forked."""
        size = TAPE + tape.held_bytes
        if size > LARGEST_TAPE or not self.lock.acquire(blocking=False):
            return False
        try:
            if self.bytes + size > ALL_TAPES:
                self.free, self.bytes = {}, 0
            self.bytes += size
            tape.home = self.free
        finally:
            self.lock.release()
        return True


class CpuOps(WithKernels):
    name = "cpu"

    def __init__(self) -> None:
        self.pool = POOL
        self.tapes = Tapes()
        self.poison = False  # whether memory that nobody has written to holds no numbers: for tests

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        return self.pool.empty(tuple(shape), dtype)

    def zeros(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        zeros = self.empty(shape, dtype)
        zeros.fill(0)
        return zeros

    def tape(self, dtype: Any) -> Tape:
        return Tape(dtype, poison=self.poison)

    def run(self, write: Callable[..., None], *arguments: Any) -> None:
        """Does what `write(tape, *arguments)` puts on a tape, in the number type of the first array.

        `write` looks at shapes, types and settings, never at the numbers in an array or at anything else: the tape may run
        again for other arrays.
        """
        arrays: list[np.ndarray] = []
        key = write, *_key(arguments, arrays)
        tape = None if self.poison else self.tapes.take(key)
        if tape is None:
            tape = self.tape(arrays[0].dtype)
            write(tape, *arguments)
            if self.poison or not tape.detach(arrays):
                tape.run()
                return
        tape.run_on(arrays)
        self.tapes.keep(key, tape)

    # ------------------------------------------------------------------ convolution

    def conv2d(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        return self._convolve("conv2d", x, kernel, bias, strides, pads, dilation)

    def conv2d_relu(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        return self._convolve("conv2d", x, kernel, bias, strides, pads, dilation, relu=True)

    def depthwise_conv2d(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        return self._convolve("depthwise_conv2d", x, kernel, bias, strides, pads, dilation)

    def _convolve(
        self, name: str, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair,
        relu: bool = False,
    ) -> tuple[Array, Saved]:  # fmt: skip
        x, kernel, bias = self.alike(x, kernel, bias)
        geometry = Geometry.of(x.shape[1:3], kernel, strides, pads, dilation, name == "depthwise_conv2d")
        expect_weights(name, kernel, (*kernel.shape[:2], x.shape[3], kernel.shape[3]), bias, geometry.filters)
        _check_pads(name, pads)
        outputs = positions(x.shape[1:3], pads, kernel.shape[:2], strides, dilation)
        if min(outputs) < 1:
            raise ValueError(f"{name}: a kernel of shape {kernel.shape} does not fit into an input of shape {x.shape}")
        y = self.empty((len(x), *outputs, geometry.filters), x.dtype)
        if len(x):
            self.run(convolve, x, kernel, bias, y, geometry, self.precision, relu)
        return y, (geometry, self.precision, x, y, kernel.shape, relu, name)

    def conv2d_transpose(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair, image: Pair
    ) -> tuple[Array, Saved]:
        x, kernel, bias = self.alike(x, kernel, bias)
        _check_pads("conv2d_transpose", pads)
        expect_transposed(x, kernel, bias, strides, pads, dilation, image)
        geometry = Geometry.of(image, kernel, strides, pads, dilation, transposed=True)
        y = self.empty((len(x), *image, kernel.shape[2]), x.dtype)
        if len(x):
            self.run(convolve, x, kernel, bias, y, geometry, self.precision, False)
        return y, (geometry, self.precision, x, y, kernel.shape, False, "conv2d_transpose")

    def conv2d_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        geometry, precision, x, y, kernel_shape, relu, name = saved
        expect(f"{name} gradient", dy, y.shape)
        expect(f"{name} kernel", kernel, kernel_shape)
        dy, kernel = (np.ascontiguousarray(array, x.dtype) for array in (dy, kernel))  # the type of the forward
        dx = self.empty(x.shape, x.dtype) if input_gradient else None
        dkernel, dbias = self.zeros(kernel.shape, x.dtype), self.zeros(y.shape[3:], x.dtype)
        if len(x):
            y = y if relu else None
            self.run(convolve_backward, dy, y, x, kernel, dx, dkernel, dbias, geometry, precision)
        return dx, dkernel, dbias

    conv2d_relu_backward = depthwise_conv2d_backward = conv2d_transpose_backward = conv2d_backward

    # ------------------------------------------------------------------ dense

    def dense(self, x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Saved]:
        return self._dense(x, kernel, bias, relu=False)

    def dense_relu(self, x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Saved]:
        return self._dense(x, kernel, bias, relu=True)

    def _dense(self, x: Array, kernel: Array, bias: Array | None, relu: bool) -> tuple[Array, Saved]:
        x, kernel, bias = self.alike(x, kernel, bias)
        C, F = x.shape[-1], kernel.shape[-1]
        expect_weights("dense", kernel, (C, F), bias, F)
        y = self.empty((*x.shape[:-1], F), x.dtype)
        self.run(dense_layer, x.reshape(-1, C), kernel, bias, relu, y.reshape(-1, F))
        return y, (x, y if relu else None)

    def dense_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        x, y = saved
        C, F = x.shape[-1], kernel.shape[-1]
        expect("dense kernel", kernel, (C, F))
        expect("dense gradient", dy, (*x.shape[:-1], F))
        dy, kernel = (np.ascontiguousarray(array, x.dtype) for array in (dy, kernel))
        dx = self.empty(x.shape, x.dtype) if input_gradient else None
        dkernel, dbias = self.zeros(kernel.shape, x.dtype), self.zeros((F,), x.dtype)
        if len(x):
            rows = [None if array is None else array.reshape(-1, n) for array, n in ((dy, F), (y, F), (x, C), (dx, C))]
            self.run(dense_layer_backward, *rows, kernel, dkernel, dbias)
        return dx, dkernel, dbias

    dense_relu_backward = dense_backward

    # ------------------------------------------------------------------ pooling

    def max_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        y = self.empty(self._pooled(x, size, strides, pads), x.dtype)
        winner = self.empty(y.shape, instructions.winner_type(size, x.dtype))
        self.run(instructions.max_pool, x, y, winner, size, strides, pads)
        return y, (winner, x.shape, size, strides, pads)

    def max_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        winner, x_shape, size, strides, pads = saved
        expect("max_pool2d gradient", dy, winner.shape)
        (dy,) = self.alike(dy)
        dx = self.empty(x_shape, dy.dtype)
        if winner.dtype != np.uint8:
            winner = winner.astype(dy.dtype)
        self.run(instructions.max_pool_backward, dy, winner, dx, size, strides, pads)
        return dx

    def avg_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        y = self.empty(self._pooled(x, size, strides, pads), x.dtype)
        self.run(instructions.avg_pool, x, y, size, strides, pads)
        return y, (y.shape, x.shape, size, strides, pads)

    def avg_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        y_shape, x_shape, size, strides, pads = saved
        expect("avg_pool2d gradient", dy, y_shape)
        (dy,) = self.alike(dy)
        dx = self.empty(x_shape, dy.dtype)
        self.run(instructions.avg_pool_backward, dy, dx, size, strides, pads)
        return dx

    def _pooled(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[int, ...]:
        _check_pads("pooling", pads)
        return pooled(x.shape, size, strides, pads)

    # ------------------------------------------------------------------ activations

    def rescale(self, x: Array, scale: float, offset: float) -> Array:
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.rescale, x, y, scale, offset)
        return y

    def relu(
        self, x: Array, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
    ) -> tuple[Array, Saved]:
        if negative_slope or max_value is not None or threshold:
            y, slope = super().relu(x, negative_slope, max_value, threshold)
            return y, (y, slope)
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.relu, x, y)
        return y, (y, None)

    def relu_backward(self, dy: Array, saved: Saved) -> Array:
        y, slope = saved
        expect("relu gradient", dy, y.shape)
        if slope is not None:
            return super().relu_backward(dy, slope)
        dy, y = self.alike(dy, y)
        dx = self.empty(dy.shape, dy.dtype)
        self.run(instructions.relu_backward, dy, y, dx)
        return dx

    def erf(self, x: Array) -> Array:
        x = np.ascontiguousarray(x, np.float64)
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.erf, x.reshape(-1), y.reshape(-1))
        return y

    def prelu(self, x: Array, alpha: Array) -> tuple[Array, Saved]:
        x, alpha = self.alike(x, alpha)
        if not repeats(alpha, x.shape[1:]):
            return super().prelu(x, alpha)
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.prelu, x, alpha, y)
        return y, (x, alpha)

    def prelu_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array]:
        x, alpha = saved
        expect("prelu gradient", dy, x.shape)
        if not repeats(alpha, x.shape[1:]):
            return super().prelu_backward(dy, saved)
        dy = np.ascontiguousarray(dy, x.dtype)
        dx, dalpha = self.empty(x.shape, x.dtype), self.zeros(alpha.shape, x.dtype)
        self.run(instructions.prelu_backward, dy, x, alpha, dx, dalpha)
        return dx, dalpha

    # ------------------------------------------------------------------ softmax cross-entropy

    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Saved]:
        logits, targets = self.alike(logits, targets)
        expect("softmax_cross_entropy targets", targets, logits.shape)
        losses, probabilities = np.empty(len(logits), logits.dtype), np.empty_like(logits)
        self.run(instructions.softmax_cross_entropy, logits, targets, losses, probabilities)
        return losses, (probabilities, targets)

    def softmax_cross_entropy_backward(self, dlosses: Array, saved: Saved) -> Array:
        probabilities, targets = saved
        expect("softmax_cross_entropy gradient", dlosses, targets.shape[:1])
        dlosses, gradient = np.ascontiguousarray(dlosses, targets.dtype), np.empty_like(targets)
        self.run(instructions.softmax_gradient, probabilities, targets, dlosses, gradient)
        return gradient

    # ------------------------------------------------------------------ dropout

    def dropout(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        return self._drop(x, rate, key), (x.shape, rate, key)

    def dropout_backward(self, dy: Array, saved: Saved) -> Array:
        shape, rate, key = saved
        expect("dropout gradient", dy, shape)
        return self._drop(dy, rate, key)  # the mask is a function of the key: it is drawn again, not kept

    def _drop(self, x: Array, rate: float, key: Key) -> Array:
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.dropout, x, y, rate, instructions.key_array(key))
        return y

    def spatial_dropout2d(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        factor = self._drop(np.ones((len(x), x.shape[3]), x.dtype), rate, key)
        return self.spatial_dropout2d_backward(x, factor), factor

    def spatial_dropout2d_backward(self, dy: Array, saved: Saved) -> Array:
        factor = saved
        expect("spatial_dropout2d gradient", dy, (len(factor), *dy.shape[1:-1], factor.shape[1]))
        dy = np.ascontiguousarray(dy, factor.dtype)
        dx = self.empty(dy.shape, dy.dtype)
        self.run(instructions.times_channels, dy, factor, dx)
        return dx

    def gaussian_noise(self, x: Array, stddev: float, key: Key) -> Array:
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.gaussian_noise, x, y, stddev, instructions.key_array(key))
        return y

    # ------------------------------------------------------------------ geometry

    def affine(
        self,
        x: Array,
        matrices: Array,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        field: Array | None = None,
    ) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        matrices = np.ascontiguousarray(matrices, np.float64)
        expect("affine matrices", matrices, (len(x), 2, 3))
        if field is not None:
            field = np.ascontiguousarray(field, x.dtype)
            expect("affine field", field, (len(x), 2, *x.shape[1:3]))
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.affine, x, matrices, y, fill_mode, fill_value, field)
        return y, (x.shape, matrices, fill_mode, field)

    def affine_backward(self, dy: Array, saved: Saved) -> Array:
        shape, matrices, fill_mode, field = saved
        expect("affine gradient", dy, shape)
        _, taps = super().affine(np.zeros(shape, dy.dtype), matrices, fill_mode, 0.0, field)
        return super().affine_backward(dy, taps)

    def moment_maps(self, x: Array, width: float, factors: tuple[float, float]) -> Array:
        (x,) = self.alike(x)
        maps = self.empty((len(x), 2, 3), np.float64)
        self.run(instructions.moment_maps, x, maps, width, factors)
        return maps

    def random_field(self, rows: Array, columns: Array, strength: Array, key: Key) -> Array:
        rows, columns = self.alike(rows, columns)
        strength = np.ascontiguousarray(strength, rows.dtype)
        for weights in (rows, columns, strength):
            expect("random_field", weights, (len(weights),))
        field = self.empty((len(strength), 2, len(rows), len(columns)), rows.dtype)
        settings = rows, columns, instructions.reach(rows, columns), strength, instructions.key_array(key)
        self.run(instructions.random_field, settings, field)
        return field

    def blur(self, x: Array, rows: Array, columns: Array, chosen: Array) -> Array:
        (x,) = self.alike(x)
        rows, columns = (np.ascontiguousarray(weights, x.dtype) for weights in (rows, columns))
        chosen, y = np.ascontiguousarray(chosen, np.int64), self.empty(x.shape, x.dtype)
        for weights, size in zip((chosen, rows, columns), x.shape[:3], strict=True):
            expect("blur", weights, (size,))
        self.run(instructions.blur, x, rows, columns, instructions.reach(rows, columns), chosen, y)
        return y

    def erase(
        self, x: Array, boxes: Array, fill: Sequence[float] | None, limits: tuple[float, float], key: Key
    ) -> Array:
        (x,) = self.alike(x)
        boxes, y = np.ascontiguousarray(boxes, np.int64), self.empty(x.shape, x.dtype)
        expect("erase boxes", boxes, (len(x), 4))
        colour = None if fill is None else np.ascontiguousarray(np.broadcast_to(fill, x.shape[3:]), np.float64)
        self.run(instructions.erase, x, boxes, colour, limits, instructions.key_array(key), y)
        return y

    def random_noise(self, x: Array, levels: Array, key: Key) -> Array:
        (x,) = self.alike(x)
        levels, y = np.ascontiguousarray(levels, np.float64), self.empty(x.shape, x.dtype)
        expect("random_noise levels", levels, (len(x),))
        self.run(instructions.random_noise, x, levels, instructions.key_array(key), y)
        return y

    # ------------------------------------------------------------------ batch normalisation

    def batch_norm(self, x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array, Saved]:
        expect_per_channel("batch_norm", x, gamma=gamma, beta=beta)
        x, gamma, beta = self.alike(x, gamma, beta)
        found = Moments.of(x.shape[-1], x.dtype.name)
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.batch_norm, x, gamma, beta, y, found, epsilon)
        return y, found.mean, found.variance, (x, found)

    def batch_norm_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        x, found = saved
        expect("batch_norm gradient", dy, x.shape)
        dy = np.ascontiguousarray(dy, x.dtype)
        dx = self.empty(x.shape, x.dtype)
        self.run(instructions.batch_norm_backward, dy, x, dx, found)
        return dx, found.dgamma, found.dbeta

    def normalize(
        self, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
    ) -> tuple[Array, Saved]:
        expect_per_channel("normalize", x, gamma=gamma, beta=beta, mean=mean, variance=variance)
        x, gamma, beta, mean, variance = self.alike(x, gamma, beta, mean, variance)
        inverse = 1 / np.sqrt(variance + x.dtype.type(epsilon))  # (C,)
        y = self.empty(x.shape, x.dtype)
        self.run(instructions.scale_rows, x, mean, gamma * inverse, beta, y)
        return y, (x, mean, inverse, gamma)

    def normalize_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        x, mean, inverse, gamma = saved
        return super().normalize_backward(dy, ((x - mean) * inverse, inverse, gamma))

    # ------------------------------------------------------------------ penalties

    def penalize(self, w: Array, g: Array | None, l1: float, l2: float) -> float:
        if w.size == 0 or not uniform(w, w if g is None else g):
            return super().penalize(w, g, l1, l2)
        if g is not None:
            expect("penalize", g, w.shape)
        tape = self.tape(w.dtype)
        parts = instructions.penalize(tape, w.reshape(-1), None if g is None else g.reshape(-1), l1, l2)
        tape.run()
        return float(tape.array(parts).sum())

    # ------------------------------------------------------------------ optimizers

    def _optimize(self, name: str, arrays: tuple[Array | None, ...], *settings: float) -> None:
        """An operation that changes arrays of one shape; the settings are those of its kernel."""
        expect_alike(name, *arrays)
        flat = tuple(None if array is None else array.reshape(-1) for array in arrays)
        self.run(instructions.optimize, name, flat, np.array(settings, float))

    def sgd(self, w: Array, g: Array, velocity: Array | None, rate: float, momentum: float, nesterov: float) -> None:
        self._optimize("sgd", (w, g, velocity), rate, momentum, nesterov)

    def rmsprop(self, w: Array, g: Array, square: Array, mean: Array | None, velocity: Array | None,
                rate: float, rho: float, momentum: float, epsilon: float) -> None:  # fmt: skip
        self._optimize("rmsprop", (w, g, square, mean, velocity), rate, rho, momentum, epsilon)

    def adagrad(self, w: Array, g: Array, square: Array, rate: float, epsilon: float) -> None:
        self._optimize("adagrad", (w, g, square), rate, epsilon)

    def adadelta(
        self, w: Array, g: Array, square: Array, moved: Array, rate: float, rho: float, epsilon: float
    ) -> None:
        self._optimize("adadelta", (w, g, square, moved), rate, rho, epsilon)

    def adam(self, w: Array, g: Array, m: Array, v: Array, top: Array | None,
             rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        self._optimize("adam", (w, g, m, v, top), rate, beta_1, beta_2, epsilon)

    def nadam(self, w: Array, g: Array, m: Array, v: Array, along_m: float, along_g: float, growth: float,
              beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        self._optimize("nadam", (w, g, m, v), along_m, along_g, growth, beta_1, beta_2, epsilon)

    def adamax(self, w: Array, g: Array, m: Array, u: Array,
               rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        self._optimize("adamax", (w, g, m, u), rate, beta_1, beta_2, epsilon)

    def lion(self, w: Array, g: Array, m: Array, rate: float, beta_1: float, beta_2: float) -> None:
        self._optimize("lion", (w, g, m), rate, beta_1, beta_2)

    def ftrl(self, w: Array, g: Array, n: Array, z: Array, rate: float, power: float,
             l1: float, l2: float, shrinkage: float, beta: float) -> None:  # fmt: skip
        self._optimize("ftrl", (w, g, n, z), rate, power, l1, l2, shrinkage, beta)

    def clip_value(self, g: Array, most: float) -> None:
        self._optimize("clip_value", (g,), most)

    def clip_norm(self, g: Array, most: float) -> None:
        self._optimize("clip_norm", (g,), most)

    def decay(self, w: Array, share: float) -> None:
        self._optimize("decay", (w,), share)

    def moving_average(self, w: Array, mean: Array, momentum: float, overwrite: float) -> None:
        self._optimize("moving_average", (w, mean), momentum, overwrite)


def _check_pads(name: str, pads: Pads) -> None:
    if min(min(pads)) < 0:
        raise ValueError(f"{name}: expected pads from 0 on, got {pads}")


def _key(arguments: Iterable[Any], arrays: list[np.ndarray]) -> Iterator[Any]:
    """The key of a tape: shape and type of each array (appended to `arrays`), every other argument as it is."""
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            arrays.append(argument)
            yield argument.shape, argument.dtype.char
        elif isinstance(argument, tuple | list):
            yield tuple(_key(argument, arrays))
        elif isinstance(argument, float | np.floating):
            yield argument, math.copysign(1, argument)  # 0.0 == -0.0
        else:
            yield argument

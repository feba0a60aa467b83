"""The operations on an NVIDIA GPU that go through their arrays number by number, pixel by pixel or row by row."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .gpu_kernels import KernelOps, address
from .reference import (
    ELEMENTWISE,
    FILL_MODES,
    LEAST_VARIANCE,
    Array,
    Key,
    Pads,
    Pair,
    Saved,
    drop_threshold,
    expect,
    expect_per_channel,
    pooled,
    repeats,
)

FUNCTIONS = ("elu", *ELEMENTWISE)  # in the order of their numbers in activation.cu
TAPS = 2**16  # a window has at most, for its winner to fit into 16 bits


def expect_type(what: str, array: Array, dtype: Any) -> None:
    """ValueError unless the array has this number type and is contiguous: a kernel would read something else."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(
            f"{what}: expected a contiguous array of {np.dtype(dtype).name}, received one of {array.dtype}"
        )


class ElementwiseOps(KernelOps):
    def _key(self, key: Key) -> tuple[Any, ...]:
        """A key as the kernels take it; its step may also be an array of one int64, which is read when the kernel runs."""
        seed, step, layer = key
        counter = step if getattr(step, "ndim", 0) else None
        if counter is not None:
            expect_type("the step of a random key", counter, np.int64)
        number = 0 if counter is not None else int(step)
        return np.uint64(seed & (2**64 - 1)), np.uint32(number & 0xFFFFFFFF), np.uint32(layer & 0xFFFFFFFF), counter

    # ------------------------------------------------------------------ pooling

    def max_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        if not self._pools(x, size, pads):
            return super().max_pool2d(x, size, strides, pads)
        (x,) = self.alike(x)
        y = self.empty(pooled(x.shape, size, strides, pads), x.dtype)
        winner = self.empty(y.shape, np.uint16)
        self._pool("max_pool", y, [x, y, winner], x, y, size, strides, pads)
        if relu := self.relu_of(x):
            self.rectified(y, relu)  # the largest is positive, or none is
        return y, (winner, x.shape, size, strides, pads)

    def max_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        winner, x_shape, size, strides, pads = saved
        if winner.dtype != np.uint16:
            return super().max_pool2d_backward(dy, saved)
        expect("max_pool2d gradient", dy, winner.shape)
        (dy,) = self.alike(dy)
        dx = self.empty(x_shape, dy.dtype)
        self._pool("max_pool_backward", dx, [dy, winner, dx], dx, dy, size, strides, pads)
        return dx

    def avg_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        if not self._pools(x, size, pads):
            return super().avg_pool2d(x, size, strides, pads)
        (x,) = self.alike(x)
        y = self.empty(pooled(x.shape, size, strides, pads), x.dtype)
        self._pool("avg_pool", y, [x, y], x, y, size, strides, pads)
        return y, (None, x.shape, size, strides, pads)

    def avg_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        count, x_shape, size, strides, pads = saved
        if count is not None:
            return super().avg_pool2d_backward(dy, saved)
        expect("avg_pool2d gradient", dy, pooled(x_shape, size, strides, pads))
        (dy,) = self.alike(dy)
        dx = self.empty(x_shape, dy.dtype)
        self._pool("avg_pool_backward", dx, [dy, dx], dx, dy, size, strides, pads)
        return dx

    def _pools(self, x: Array, size: Pair, pads: Pads) -> bool:
        """Whether the kernels pool so: every window has a pixel of the image."""
        inside = all(max(pad) < k for pad, k in zip(pads, size, strict=True))
        return bool(x.size) and inside and prod(size) <= TAPS

    def _pool(
        self, name: str, made: Array, arrays: Sequence[Array], x: Array, y: Array, size: Pair, strides: Pair, pads: Pads
    ) -> None:
        """Launches a kernel that makes an array of the others, for these windows of x that y is made of."""
        pixels, (H, W, C) = prod(made.shape[:3]), x.shape[1:]
        together = 4 if C % 4 == 0 and not any(address(array) % (4 * array.itemsize) for array in arrays) else 1
        window = H, W, C // together, *size, *strides, pads[0][0], pads[1][0], *y.shape[1:3]
        shape = pixels, C // together
        self._rows("pooling", name, made.dtype, shape, *arrays, pixels, *window, TOGETHER=together)

    # ------------------------------------------------------------------ activations

    def rescale(self, x: Array, scale: float, offset: float) -> Array:
        (x,) = self.alike(x)
        y, settings = self.empty(x.shape, x.dtype), (float(scale), float(offset))
        self._each("activation", "rescale", x.dtype, -(-x.size // 4), x, y, np.int64(x.size), *settings)
        return y

    def relu(
        self, x: Array, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
    ) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        settings = float(negative_slope), float("inf") if max_value is None else float(max_value), float(threshold)
        self._each("activation", "relu", x.dtype, -(-x.size // 4), x, y, np.int64(x.size), *settings)
        if settings == (0.0, float("inf"), 0.0):  # y has all that the gradient asks for
            return y, (y, settings, self.rectified(y))
        return y, (x, settings, None)

    def relu_backward(self, dy: Array, saved: Saved) -> Array:
        x, settings, own = saved
        if own is not None and not own.undo():
            return dy
        return self._through("relu_backward", dy, x, *settings)

    def elu(self, x: Array, alpha: float) -> tuple[Array, Saved]:
        return self._activate(x, "elu", alpha)

    def elu_backward(self, dy: Array, saved: Saved) -> Array:
        return self.activate_backward(dy, saved)

    def activate(self, x: Array, name: str) -> tuple[Array, Saved]:
        return self._activate(x, name)

    def _activate(self, x: Array, name: str, alpha: float = 0.0) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        y, settings = self.empty(x.shape, x.dtype), (FUNCTIONS.index(name), float(alpha))
        self._each("activation", "activate", x.dtype, -(-x.size // 4), x, y, np.int64(x.size), *settings)
        return y, (x, settings)

    def activate_backward(self, dy: Array, saved: Saved) -> Array:
        x, settings = saved
        return self._through("activate_backward", dy, x, *settings)

    def _through(self, name: str, dy: Array, x: Array, *settings: Any) -> Array:
        """dx of an elementwise function of x."""
        expect("the gradient of an activation", dy, x.shape)
        dy = self.xp.ascontiguousarray(dy, x.dtype)
        dx = self.empty(x.shape, x.dtype)
        self._each("activation", name, x.dtype, -(-x.size // 4), dy, x, dx, np.int64(x.size), *settings)
        return dx

    def erf(self, x: Array) -> Array:
        x = self.xp.ascontiguousarray(x, np.float64)
        y = self.empty(x.shape, np.float64)
        self._each("activation", "error_function", x.dtype, x.size, x, y, np.int64(x.size))
        return y

    def prelu(self, x: Array, alpha: Array) -> tuple[Array, Saved]:
        x, alpha = self.alike(x, alpha)
        if not (x.size and repeats(alpha, x.shape[1:])):
            return super().prelu(x, alpha)
        y, shape = self.empty(x.shape, x.dtype), (x.size // alpha.size, alpha.size)
        self._rows("activation", "prelu", x.dtype, shape, x, alpha, y, *self._sizes(shape))
        return y, (x, alpha)

    def prelu_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array]:
        x, alpha = saved
        expect("prelu gradient", dy, x.shape)
        if not (x.size and repeats(alpha, x.shape[1:])):
            return super().prelu_backward(dy, saved)
        dy = self.xp.ascontiguousarray(dy, x.dtype)
        dx, shape = self.empty(x.shape, x.dtype), (x.size // alpha.size, alpha.size)
        sums = self._sum_rows("activation", "prelu_backward", x.dtype, shape, 1, dy, x, alpha, dx)
        return dx, sums.reshape(alpha.shape)

    # ------------------------------------------------------------------ softmax and cross-entropy

    def softmax(self, x: Array, axis: int = -1) -> tuple[Array, Saved]:
        if axis not in (-1, x.ndim - 1):
            return super().softmax(x, axis)
        y = self._softmax(x, logarithm=False)
        return y, (y, axis)

    def softmax_backward(self, dy: Array, saved: Saved) -> Array:
        y, axis = saved
        if axis not in (-1, y.ndim - 1):
            return super().softmax_backward(dy, saved)
        return self._softmax_backward(dy, y, logarithm=False)

    def log_softmax(self, x: Array, axis: int = -1) -> tuple[Array, Saved]:
        if axis not in (-1, x.ndim - 1):
            return super().log_softmax(x, axis)
        y = self._softmax(x, logarithm=True)
        return y, (y, axis)

    def log_softmax_backward(self, dy: Array, saved: Saved) -> Array:
        y, axis = saved
        if axis not in (-1, y.ndim - 1):
            return super().log_softmax_backward(dy, saved)
        return self._softmax_backward(dy, y, logarithm=True)

    def _softmax(self, x: Array, logarithm: bool) -> Array:
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        self._warps("softmax", x.dtype, prod(x.shape[:-1]), x.shape[-1], x, y, ending=(logarithm,))
        return y

    def _softmax_backward(self, dy: Array, y: Array, logarithm: bool) -> Array:
        expect("softmax gradient", dy, y.shape)
        dy = self.xp.ascontiguousarray(dy, y.dtype)
        dx = self.empty(y.shape, y.dtype)
        self._warps("softmax_backward", y.dtype, prod(y.shape[:-1]), y.shape[-1], dy, y, dx, ending=(logarithm,))
        return dx

    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Saved]:
        logits, targets = self.alike(logits, targets)
        expect("softmax_cross_entropy targets", targets, logits.shape)
        losses, probabilities = self.empty(logits.shape[:1], logits.dtype), self.empty(logits.shape, logits.dtype)
        self._warps("softmax_cross_entropy", logits.dtype, *logits.shape, logits, targets, losses, probabilities)
        return losses, (probabilities, targets)

    def softmax_cross_entropy_backward(self, dlosses: Array, saved: Saved) -> Array:
        probabilities, targets = saved
        expect("softmax_cross_entropy gradient", dlosses, targets.shape[:1])
        dlosses, gradient = self.xp.ascontiguousarray(dlosses, targets.dtype), self.empty(targets.shape, targets.dtype)
        arrays = dlosses, probabilities, targets, gradient
        self._warps("softmax_cross_entropy_backward", targets.dtype, *targets.shape, *arrays)
        return gradient

    def label_cross_entropy(
        self, logits: Array, labels: Array, weights: Array, smoothing: float, losses: Array, scores: Array, step: Array
    ) -> Array:
        """Softmax, cross-entropy and its gradient in one launch, for a captured step: returns dlogits (N, K).

        labels, int32, weights and losses (S, N), scores (S, N, K), step one int64: of row *step the labels and the weights
        are used, the weighted losses and the logits written to it. `smoothing` is as in the losses.
        """
        (logits,) = self.alike(logits)
        (N, K), steps, dtype = logits.shape, len(labels), logits.dtype
        for name, array, shape, kind in (
            ("labels", labels, (steps, N), np.int32),
            ("weights", weights, (steps, N), dtype),
            ("losses", losses, (steps, N), dtype),
            ("scores", scores, (steps, N, K), dtype),
            ("step", step, (1,), np.int64),
        ):
            expect(f"label_cross_entropy {name}", array, shape)
            expect_type(f"label_cross_entropy {name}", array, kind)
        gradient = self.empty(logits.shape, dtype)
        arrays = logits, labels, weights, losses, gradient, scores, step
        self._warps("label_cross_entropy", dtype, N, K, *arrays, ending=(steps, float(smoothing)))
        return gradient

    def _warps(self, name: str, dtype: Any, rows: int, K: int, *arrays: Any, ending: tuple[Any, ...] = ()) -> None:
        """Launches a kernel with a warp per row of K scores."""
        if rows and K:
            grid = 1, min(-(-rows // 8), 65535)
            self.kernels.launch("softmax", name, dtype, grid, (32, 8), (*arrays, rows, K, *ending))

    # ------------------------------------------------------------------ dropout

    def random_bits(self, key: Key, count: int) -> Array:
        bits = self.empty((count,), np.uint32)
        self._each("random", "random_bits", np.float32, -(-count // 4), bits, np.int64(count), *self._key(key))
        return bits

    def dropout(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        y, relu = self._drop(x, rate, key), self.relu_of(x)
        if relu is not None:
            self.rectified(y, relu)  # what was dropped has no gradient anyway
        return y, (x.shape, rate, key)

    def dropout_backward(self, dy: Array, saved: Saved) -> Array:
        shape, rate, key = saved
        expect("dropout gradient", dy, shape)
        return self._drop(dy, rate, key)  # the mask is a function of the key: it is drawn again, not kept

    def _drop(self, x: Array, rate: float, key: Key) -> Array:
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        settings = np.int64(x.size), *self._key(key), np.uint32(drop_threshold(rate)), 1.0 / (1.0 - float(rate))
        self._each("random", "dropout", x.dtype, -(-x.size // 4), x, y, *settings)
        return y

    def spatial_dropout2d(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        factor = self._drop(self.constant(np.ones((len(x), x.shape[3])), x.dtype), rate, key)
        return self.spatial_dropout2d_backward(x, factor), factor

    def spatial_dropout2d_backward(self, dy: Array, saved: Saved) -> Array:
        factor = saved
        expect("spatial_dropout2d gradient", dy, (len(factor), *dy.shape[1:-1], factor.shape[1]))
        dy = self.xp.ascontiguousarray(dy, factor.dtype)
        dx, (N, H, W, C) = self.empty(dy.shape, dy.dtype), dy.shape
        self._rows("random", "times_channels", dy.dtype, (N * H * W, C), dy, factor, dx, N * H * W, H * W, C)
        return dx

    def gaussian_noise(self, x: Array, stddev: float, key: Key) -> Array:
        (x,) = self.alike(x)
        y, settings = self.empty(x.shape, x.dtype), (np.int64(x.size), *self._key(key), np.float64(stddev))
        self._each("random", "gaussian_noise", x.dtype, -(-x.size // 4), x, y, *settings)
        return y

    # ------------------------------------------------------------------ captured steps, and geometry

    def gather(self, data: Array, order: Array, step: Array, batch: int, dtype: Any) -> Array:
        """Batch number *step of an epoch, in a captured step: x (B, …).

        data (M, …) are bytes, or of this number type; order int32, step one int64. `order` has the samples of all batches of
        an epoch; after the last one the first follows.
        """
        expect_type("gather data", data, np.uint8 if data.dtype == np.uint8 else dtype)
        expect_type("gather order", order, np.int32)
        expect_type("gather step", step, np.int64)
        x, numbers = self.empty((batch, *data.shape[1:]), dtype), prod(data.shape[1:])
        arguments = data, order, x, step, batch, order.size // batch, numbers
        self._rows("arrays", "gather", dtype, (batch, numbers), *arguments, OF_BYTES=int(data.dtype == np.uint8))
        return x

    def keep(self, values: Array, kept: Array, step: Array) -> None:
        """Row *step (after the last one the first) of kept (S, …) becomes the values."""
        expect("keep", values, kept.shape[1:])
        for array, dtype in ((values, kept.dtype), (kept, kept.dtype), (step, np.int64)):
            expect_type("keep", array, dtype)
        arguments = values, kept, step, len(kept), np.int64(values.size)
        self._each("arrays", "keep", values.dtype, values.size, *arguments)

    def take(self, kept: Array, step: Array) -> Array:
        """Row *step (after the last one the first) of kept (S, …)."""
        expect_type("take", kept, kept.dtype)
        expect_type("take", step, np.int64)
        values = self.empty(kept.shape[1:], kept.dtype)
        self._each("arrays", "take", kept.dtype, values.size, kept, values, step, len(kept), np.int64(values.size))
        return values

    def collect(self, parts: Sequence[tuple[Array, int]], y: Array) -> None:
        """Copies arrays into y (n,), each to its place there, 32 in a launch."""
        for first in range(0, len(parts), 32):
            some = [(self.xp.ascontiguousarray(array, y.dtype), place) for array, place in parts[first : first + 32]]
            places = np.zeros((2, 32), np.int64)
            for number, (array, place) in enumerate(some):
                places[:, number] = place, array.size
            arrays = [array for array, _ in some] + [None] * (32 - len(some))
            grid = max(1, min(64, -(-int(places[1].max()) // 256))), len(some)
            arguments = *arrays, y, self.constant(places, np.int64)
            self.kernels.launch("arrays", "collect", y.dtype, grid, (256,), arguments)

    def advance(self, counter: Array) -> None:
        """Every number of counter (n,), int64, one further."""
        expect_type("advance", counter, np.int64)
        self.kernels.launch("arrays", "advance_counter", np.float32, (1,), (counter.size,), (counter,))

    def random_maps(self, table: Sequence[Sequence[float]], samples: int, drawn: int, image: Pair, key: Key) -> Array:
        """The matrices (N, 2, 3) of random affine maps in one launch, as `RandomAffine` makes them of array code.

        table (7, 3): for turn, down, right, higher, wider, tilt and slant the number of its random number among the `drawn`
        ones of an image (-1: it is 0), and its limits.
        """
        matrices = self.empty((samples, 2, 3), np.float64)
        settings = self.constant(table, np.float64), matrices, samples, drawn, *image, *self._key(key)
        self._each("augment", "random_maps", np.float64, samples, *settings)
        return matrices

    def moment_maps(self, x: Array, width: float, factors: tuple[float, float]) -> Array:
        (x,) = self.alike(x)
        maps, (N, H, W, C) = self.empty((len(x), 2, 3), np.float64), x.shape
        settings = map(float, (width, *factors, LEAST_VARIANCE))
        self._each("augment", "moment_maps", x.dtype, 32 * N, x, maps, N, H, W, C, *settings)
        return maps

    def affine(
        self,
        x: Array,
        matrices: Array,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        field: Array | None = None,
    ) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        matrices = self.xp.ascontiguousarray(matrices, np.float64)
        expect("affine matrices", matrices, (len(x), 2, 3))
        if field is not None:
            field = self.xp.ascontiguousarray(field, x.dtype)
            expect("affine field", field, (len(x), 2, *x.shape[1:3]))
        y, (N, H, W, C), mode = self.empty(x.shape, x.dtype), x.shape, FILL_MODES.index(fill_mode)
        arguments = x, matrices, field, y, N * H * W, H, W, C, mode, float(fill_value)
        self._rows("augment", "affine", x.dtype, (N * H * W, C), *arguments)
        return y, (x.shape, matrices, field, mode)

    def affine_backward(self, dy: Array, saved: Saved) -> Array:
        shape, matrices, field, mode = saved
        expect("affine gradient", dy, shape)
        (dy,) = self.alike(dy)
        field = None if field is None else self.xp.ascontiguousarray(field, dy.dtype)
        dx, (N, H, W, C) = self.zeros(dy.shape, dy.dtype), dy.shape
        arguments = dy, matrices, field, dx, N, H, W, C, mode
        self._each("augment", "affine_backward", dy.dtype, N * C, *arguments)
        return dx

    def random_field(self, rows: Array, columns: Array, strength: Array, key: Key) -> Array:
        N, H, W = len(strength), len(rows), len(columns)
        rows, columns = self.alike(rows, columns)
        strength = self.xp.ascontiguousarray(strength, rows.dtype)
        for weights in (rows, columns, strength):
            expect("random_field", weights, (len(weights),))
        noise = self.empty((N, 2, H, W), rows.dtype)
        arguments = strength, noise, N, 2 * H * W, *self._key(key)
        self._each("augment", "uniform_noise", rows.dtype, N * -(-2 * H * W // 4), *arguments)
        return self._smooth(noise, rows, columns, None, 1)

    def blur(self, x: Array, rows: Array, columns: Array, chosen: Array) -> Array:
        x, rows, columns = self.alike(x, rows, columns)
        for weights, size in zip((chosen, rows, columns), x.shape[:3], strict=True):
            expect("blur", weights, (size,))
        return self._smooth(x, rows, columns, self.xp.ascontiguousarray(chosen, np.bool_), x.shape[3])

    def _smooth(self, x: Array, rows: Array, columns: Array, chosen: Array | None, C: int) -> Array:
        """x (…, H, W, C), with C an axis or 1, smoothed along both axes, where the image is chosen."""
        H, W, each = len(rows), len(columns), x.size // max(1, len(x))
        half, y = self.empty(x.shape, x.dtype), self.empty(x.shape, x.dtype)
        count = np.int64(x.size)
        for source, weights, target, length, inner in ((x, rows, half, H, W * C), (half, columns, y, W, C)):
            arguments = source, weights, x, chosen, target, count, length, inner, each
            self._each("augment", "smooth", x.dtype, x.size, *arguments)
        return y

    def erase(
        self, x: Array, boxes: Array, fill: Sequence[float] | None, limits: tuple[float, float], key: Key
    ) -> Array:
        (x,) = self.alike(x)
        y, (N, H, W, C), boxes = self.empty(x.shape, x.dtype), x.shape, self.xp.ascontiguousarray(boxes, np.int64)
        expect("erase boxes", boxes, (N, 4))
        new = None if fill is None else self.constant(np.broadcast_to(fill, C), x.dtype)
        arguments = x, boxes, new, y, N * H * W, H, W, C, *map(float, limits), *self._key(key)
        self._rows("augment", "erase", x.dtype, (N * H * W, C), *arguments)
        return y

    # ------------------------------------------------------------------ batch normalisation

    def batch_norm(self, x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array, Saved]:
        if x.size == 0:
            return super().batch_norm(x, gamma, beta, epsilon)
        return self._batch_norm(x, gamma, beta, epsilon, (None, None), 0.0)

    def batch_norm_with_averages(
        self, x: Array, gamma: Array, beta: Array, epsilon: float, mean: Array, variance: Array, momentum: float
    ) -> tuple[Array, Saved]:
        if x.size == 0 or mean.dtype != x.dtype:
            return super().batch_norm_with_averages(x, gamma, beta, epsilon, mean, variance, momentum)
        y, _, _, saved = self._batch_norm(x, gamma, beta, epsilon, (mean, variance), momentum)
        return y, saved

    def _batch_norm(
        self, x: Array, gamma: Array, beta: Array, epsilon: float, moving: tuple[Array | None, ...], momentum: float
    ) -> tuple[Array, Array, Array, Saved]:
        expect_per_channel("batch_norm", x, gamma=gamma, beta=beta)
        x, gamma, beta = self.alike(x, gamma, beta)
        for average in moving:
            if average is not None:
                expect("batch_norm moving average", average, x.shape[-1:])
                expect_type("batch_norm moving average", average, x.dtype)
        C = x.shape[-1]
        shape = x.size // C, C
        mean, variance, inverse = (self.empty((C,), x.dtype) for _ in range(3))
        grid, block = self._parts(shape)
        parts, settings = self.empty((grid[1], 2, C), x.dtype), (float(epsilon), np.float64(momentum))
        found = mean, variance, inverse, *moving
        arguments = x, parts, self._counters(grid[0]), *found, *self._sizes(shape), *settings
        self.kernels.launch("normalization", "moments", x.dtype, grid, block, arguments)
        return self._scale(x, mean, inverse, gamma, beta), mean, variance, (x, mean, inverse, gamma, self.relu_of(x))

    def batch_norm_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        x, mean, inverse, gamma, before = saved
        dy, sums = self._gradient_sums(dy, x, mean, inverse, self.rooms.get(address(gamma)))
        dx, shape = self.empty(x.shape, x.dtype), (x.size // x.shape[-1], x.shape[-1])
        arrays, positive = (dy, x, mean, inverse, gamma, sums, dx), before is not None and before.undo()
        self._rows("normalization", "input_gradient", x.dtype, shape, *arrays, *self._sizes(shape), positive)
        return dx, sums[0], sums[1]

    def normalize(
        self, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
    ) -> tuple[Array, Saved]:
        expect_per_channel("normalize", x, gamma=gamma, beta=beta, mean=mean, variance=variance)
        x, gamma, beta, mean, variance = self.alike(x, gamma, beta, mean, variance)
        inverse = 1 / self.xp.sqrt(variance + x.dtype.type(epsilon))  # (C,)
        return self._scale(x, mean, inverse, gamma, beta), (x, mean, inverse, gamma)

    def normalize_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        x, mean, inverse, gamma = saved
        dy, sums = self._gradient_sums(dy, x, mean, inverse)
        return dy * (gamma * inverse), sums[0], sums[1]

    def _scale(self, x: Array, mean: Array, inverse: Array, gamma: Array, beta: Array) -> Array:
        """γ (x - mean) · inverse + β"""
        y, C = self.empty(x.shape, x.dtype), x.shape[-1]
        shape = x.size // C, C
        arrays = x, mean, inverse, gamma, beta, y
        self._rows("normalization", "scale_rows", x.dtype, shape, *arrays, *self._sizes(shape))
        return y

    def _gradient_sums(
        self, dy: Array, x: Array, mean: Array, inverse: Array, room: Array | None = None
    ) -> tuple[Array, Array]:
        """dy as the kernels expect it, and dγ and dβ, (2, C); in `room`, if that is given."""
        expect("batch_norm gradient", dy, x.shape)
        dy, C = self.xp.ascontiguousarray(dy, x.dtype), x.shape[-1]
        shape = x.size // C, C
        arrays = dy, x, mean, inverse
        return dy, self._sum_rows("normalization", "gradient_sums", x.dtype, shape, 2, *arrays, room=room)

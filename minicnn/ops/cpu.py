"""The operations on the CPU: checks, memory and the cutting into tasks here; the arithmetic in `minicnn.kernels`.

What is not overridden is the array code of the definition, which is fast enough there. Both number types run the same
kernels, from the same source.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels import activation, augment, dense, normalization, optimizers, pooling, random, softmax
from ..threads import parallel
from .cpu_convolution import Geometry, choose
from .memory import Pool
from .reference import Array, Key, Ops, Pads, Pair, Saved, adam_rate, drop_threshold, expect
from .tasks import MULTIPLY_ADDS, elementwise, groups, over


class CpuOps(Ops):
    name = "cpu"

    def __init__(self) -> None:
        self.pool = Pool()
        self.precision = "fast"

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        return self.pool.empty(tuple(shape), dtype)

    def zeros(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        zeros = self.empty(shape, dtype)
        zeros.fill(0)
        return zeros

    def alike(self, *arrays: Array) -> list[np.ndarray]:
        """The arrays C-contiguous and of one float type, the smallest that holds them all: what kernels expect."""
        dtype = np.result_type(*arrays, np.float32)
        return [np.ascontiguousarray(array, dtype) for array in arrays]

    # ------------------------------------------------------------------ convolution

    def conv2d(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        return self._convolve(x, kernel, bias, strides, pads, dilation, relu=False)

    def conv2d_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        return self._convolve_backward(dy, kernel, saved, input_gradient)

    def conv2d_relu(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        return self._convolve(x, kernel, bias, strides, pads, dilation, relu=True)

    def conv2d_relu_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        return self._convolve_backward(dy, kernel, saved, input_gradient)

    def _convolve(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair, relu: bool
    ) -> tuple[Array, Saved]:
        x, kernel, *rest = self.alike(x, kernel, *([] if bias is None else [bias]))
        expect("conv2d kernel", kernel, (*kernel.shape[:2], x.shape[3], kernel.shape[3]))
        for bias in rest:
            expect("conv2d bias", bias, kernel.shape[3:])
        geometry = Geometry.of(x, kernel, strides, pads, dilation)
        if min(geometry.outputs) < 1:
            raise ValueError(f"conv2d: a kernel of shape {kernel.shape} does not fit into an input of shape {x.shape}")
        algorithm = choose(geometry, x.dtype.name, self.precision)
        y = self.empty((len(x), *geometry.outputs, geometry.filters), x.dtype)
        algorithm.forward(self, x, kernel, rest[0] if rest else None, relu, y)
        return y, (algorithm, x, y, relu)

    def _convolve_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool
    ) -> tuple[Array | None, Array, Array]:
        algorithm, x, y, relu = saved
        expect("conv2d gradient", dy, y.shape)
        dy, kernel = (np.ascontiguousarray(array, x.dtype) for array in (dy, kernel))  # the type of the forward
        dx = self.empty(x.shape, x.dtype) if input_gradient else None
        dkernel, dbias = algorithm.backward(self, dy, y if relu else None, x, kernel, dx)
        return dx, dkernel, dbias

    # ------------------------------------------------------------------ dense

    def dense(self, x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Saved]:
        return self._dense(x, kernel, bias, relu=False)

    def dense_relu(self, x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Saved]:
        y, x = self._dense(x, kernel, bias, relu=True)
        return y, (x, y)

    def dense_relu_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        x, y = saved
        return self.dense_backward(self.relu_backward(dy, (y, None)), kernel, x, input_gradient)

    def _dense(self, x: Array, kernel: Array, bias: Array | None, relu: bool) -> tuple[Array, Array]:
        shape = x.shape
        x, kernel, bias_ = self.alike(x.reshape(-1, shape[-1]), kernel, x.dtype.type(0) if bias is None else bias)
        (N, C), F = x.shape, kernel.shape[1]
        expect("dense kernel", kernel, (C, F))
        if bias is not None:
            expect("dense bias", bias, (F,))
        y = self.empty((N, F), x.dtype)
        height, width = -(-N // -(-N // dense.ROWS)), dense.COLUMNS
        if N * C * F < dense.SMALL:
            height, width = N, F
        blocks = [(row, column) for column in range(0, F, width) for row in range(0, N, height)]

        def task(number: int) -> None:
            row, column = blocks[number]
            rows, columns = min(height, N - row), min(width, F - column)
            passes = range(0, C, dense.DEPTH)
            plans = []
            for k in (0, passes[len(passes) // 2], passes[-1]):
                depth, start, last = min(dense.DEPTH, C - k), 2 if k else int(bias is not None), k == passes[-1]
                plans.append(dense.forward_plan(x.dtype.name, rows, columns, depth, F, start, int(relu and last)))
            dense.dense(x, row, rows, kernel, column, columns, bias_.reshape(-1), y, *plans)

        parallel(len(blocks), task)
        return y.reshape(*shape[:-1], F), x.reshape(shape)

    def dense_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        x = saved
        shape, F = x.shape, kernel.shape[1]
        expect("dense gradient", dy, (*shape[:-1], F))
        x, dy, kernel = self.alike(x.reshape(-1, shape[-1]), dy.reshape(-1, F), kernel)
        N, C = x.shape
        dy_copy = self.zeros((N, F + dense.SKEW), x.dtype)
        dy_copy[:, :F] = dy
        dkernel = self.empty(kernel.shape, x.dtype)
        dx = self.empty((N, C) if input_gradient else (0, 0), x.dtype)

        def task(number: int, first: int, last: int) -> None:
            for start in range(first * dense.BLOCK, min(C, last * dense.BLOCK), dense.BLOCK):
                stop = min(C, start + dense.BLOCK)
                kernel_plan = dense.kernel_gradient_plan(x.dtype.name, N, F, stop - start)
                input_plan = dense.input_gradient_plan(x.dtype.name, N, C, F, stop - start)
                dense.dense_backward(x, dy_copy, kernel, start, stop, kernel_plan, dkernel, input_plan, dx)

        over(groups(-(-C // dense.BLOCK), dense.BLOCK * N * F, MULTIPLY_ADDS), task)
        return dx.reshape(shape) if input_gradient else None, dkernel, dy.sum(axis=0)

    # ------------------------------------------------------------------ pooling

    def max_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        N, H, W, C = x.shape
        y = self.empty((N, *self._outputs(x, size, strides, pads), C), x.dtype)
        winner = self.empty(y.shape, np.uint8 if math.prod(size) <= 256 else np.int32)
        over(
            groups(N, x[0].size),
            lambda _, first, last: pooling.max_pool(x, first, last, *size, *strides, pads[0][0], pads[1][0], y, winner),
        )
        return y, (winner, x.shape, size, strides, pads)

    def max_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        winner, x_shape, size, strides, pads = saved
        expect("max_pool2d gradient", dy, winner.shape)
        (dy,) = self.alike(dy)
        dx = self.empty(x_shape, dy.dtype)
        over(
            groups(len(dy), math.prod(x_shape[1:])),
            lambda _, first, last: pooling.max_pool_backward(
                dy, winner, first, last, *size, *strides, pads[0][0], pads[1][0], dx
            ),
        )
        return dx

    def avg_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        y = self.empty((len(x), *self._outputs(x, size, strides, pads), x.shape[3]), x.dtype)
        over(
            groups(len(x), x[0].size),
            lambda _, first, last: pooling.avg_pool(x, first, last, *size, *strides, pads[0][0], pads[1][0], y),
        )
        return y, (y.shape, x.shape, size, strides, pads)

    def avg_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        y_shape, x_shape, size, strides, pads = saved
        expect("avg_pool2d gradient", dy, y_shape)
        (dy,) = self.alike(dy)
        dx = self.empty(x_shape, dy.dtype)
        over(
            groups(len(dy), math.prod(x_shape[1:])),
            lambda _, first, last: pooling.avg_pool_backward(
                dy, first, last, *size, *strides, pads[0][0], pads[1][0], dx
            ),
        )
        return dx

    def _outputs(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> list[int]:
        return [(n + sum(p) - k) // s + 1 for n, p, k, s in zip(x.shape[1:3], pads, size, strides, strict=True)]

    # ------------------------------------------------------------------ activations

    def relu(
        self, x: Array, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
    ) -> tuple[Array, Saved]:
        if negative_slope or max_value is not None or threshold:
            y, slope = super().relu(x, negative_slope, max_value, threshold)
            return y, (y, slope)
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        elementwise(activation.relu, x, y)
        return y, (y, None)

    def relu_backward(self, dy: Array, saved: Saved) -> Array:
        y, slope = saved
        expect("relu gradient", dy, y.shape)
        if slope is not None:
            return super().relu_backward(dy, slope)
        dy, y = self.alike(dy, y)
        dx = self.empty(dy.shape, dy.dtype)
        elementwise(activation.relu_backward, dy, y, dx)
        return dx

    # ------------------------------------------------------------------ softmax cross-entropy

    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Saved]:
        logits, targets = self.alike(logits, targets)
        expect("softmax_cross_entropy targets", targets, logits.shape)
        losses, probabilities = np.empty(len(logits), logits.dtype), np.empty_like(logits)
        softmax.softmax_cross_entropy(logits, targets, losses, probabilities)
        return losses, (probabilities, targets)

    # ------------------------------------------------------------------ dropout

    def dropout(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        y = self._drop(x, rate, key)
        return y, (rate, key)

    def dropout_backward(self, dy: Array, saved: Saved) -> Array:
        return self._drop(dy, *saved)  # the mask is a function of the key: it is drawn again, not kept

    def _drop(self, x: Array, rate: float, key: Key) -> Array:
        (x,) = self.alike(x)
        y = self.empty(x.shape, x.dtype)
        flat_x, flat_y = x.reshape(-1), y.reshape(-1)
        scale, threshold = x.dtype.type(1.0 / (1.0 - rate)), drop_threshold(rate)
        seed, step, layer = key

        def task(_: int, first: int, last: int) -> None:
            part = slice(first, last)
            random.dropout(flat_x[part], first, np.uint64(seed), step, layer, threshold, scale, flat_y[part])

        over(groups(x.size, unit=4), task)
        return y

    # ------------------------------------------------------------------ geometry

    def affine(
        self, x: Array, matrices: Array, fill_mode: str = "constant", fill_value: float = 0.0
    ) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        matrices = np.ascontiguousarray(matrices, np.float64)
        y = self.empty(x.shape, x.dtype)
        mode, fill = augment.FILL_MODES[fill_mode], x.dtype.type(fill_value)
        over(
            groups(len(x), 16 * x[0].size),
            lambda _, first, last: augment.affine(x, first, last, matrices, mode, fill, y),
        )
        return y, (x.shape, matrices, fill_mode)

    def affine_backward(self, dy: Array, saved: Saved) -> Array:
        shape, matrices, fill_mode = saved
        _, taps = super().affine(np.zeros(shape, dy.dtype), matrices, fill_mode)
        return super().affine_backward(dy, taps)

    # ------------------------------------------------------------------ batch normalisation

    def batch_norm(self, x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array, Saved]:
        x, gamma, beta = self.alike(x, gamma, beta)
        rows = x.reshape(-1, x.shape[-1])
        M = len(rows)
        parts = groups(M, rows.shape[1])
        means, squares = np.empty((2, len(parts), rows.shape[1]), x.dtype)
        over(parts, lambda part, first, last: normalization.moments(rows, first, last, means[part], squares[part]))
        shares = np.array([(last - first) / M for first, last in parts], x.dtype)[:, None]
        mean = (shares * means).sum(axis=0)  # (C,)
        within, between = squares.sum(axis=0) / M, (shares * (means - mean) ** 2).sum(axis=0)  # the parts
        variance = within + between  # (C,)
        inverse = 1 / np.sqrt(variance + x.dtype.type(epsilon))  # (C,)
        y = self._scale_rows(rows, mean, gamma * inverse, beta)
        return y.reshape(x.shape), mean, variance, (x, mean, inverse, gamma)

    def batch_norm_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        x, mean, inverse, gamma = saved
        expect("batch_norm gradient", dy, x.shape)
        dy, x = self.alike(dy, x)
        rows, dy_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
        M = len(rows)
        parts = groups(M, rows.shape[1])
        totals = np.empty((len(parts), 2, rows.shape[1]), x.dtype)
        over(
            parts,
            lambda part, first, last: normalization.gradient_sums(
                dy_rows, rows, first, last, mean, totals[part, 0], totals[part, 1]
            ),
        )
        dbeta, dgamma = totals.sum(axis=0) * np.stack([np.ones_like(inverse), inverse])  # (C,) each
        scale, along_one, along_x = gamma * inverse, dbeta / M, dgamma * inverse / M
        dx = self.empty(rows.shape, x.dtype)
        over(
            parts,
            lambda _, first, last: normalization.input_gradient(
                dy_rows, rows, first, last, mean, scale, along_one, along_x, dx
            ),
        )
        return dx.reshape(x.shape), dgamma, dbeta

    def _scale_rows(self, rows: Array, mean: Array, scale: Array, shift: Array) -> Array:
        y = self.empty(rows.shape, rows.dtype)
        over(
            groups(len(rows), rows.shape[1]),
            lambda _, first, last: normalization.scale_rows(rows, first, last, mean, scale, shift, y),
        )
        return y

    def normalize(
        self, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
    ) -> tuple[Array, Saved]:
        x, gamma, beta, mean, variance = self.alike(x, gamma, beta, mean, variance)
        inverse = 1 / np.sqrt(variance + x.dtype.type(epsilon))  # (C,)
        y = self._scale_rows(x.reshape(-1, x.shape[-1]), mean, gamma * inverse, beta)
        return y.reshape(x.shape), (x, mean, inverse, gamma)

    def normalize_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        x, mean, inverse, gamma = saved
        return super().normalize_backward(dy, ((x - mean) * inverse, inverse, gamma))

    # ------------------------------------------------------------------ optimizers

    def sgd(self, w: Array, g: Array, velocity: Array, learning_rate: float, momentum: float, nesterov: bool) -> None:
        for array in (g, velocity):
            expect("sgd", array, w.shape)
        rate, momentum = w.dtype.type(learning_rate), w.dtype.type(momentum)
        elementwise(lambda *parts: optimizers.sgd(*parts, rate, momentum, nesterov), w, g, velocity)

    def adam(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        step: int,
        learning_rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
    ) -> None:
        for array in (g, m, v):
            expect("adam", array, w.shape)
        rate = adam_rate(step, learning_rate, beta_1, beta_2)
        settings = [w.dtype.type(setting) for setting in (rate, 1.0 - beta_1, 1.0 - beta_2, epsilon)]
        elementwise(lambda *parts: optimizers.adam(*parts, *settings), w, g, m, v)

"""The operations on the CPU: checks, memory and the cutting into tasks here; the arithmetic in `minicnn.kernels`.

What is not overridden is the array code of the definition, which is fast enough there. Both number types run the same
kernels.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels import (
    activation,
    augment,
    convolution,
    dense,
    normalization,
    optimizers,
    pooling,
    random,
    softmax,
    winograd,
)
from ..threads import parallel
from .memory import Pool
from .reference import Array, Key, Ops, Pads, Pair, Saved, adam_rate, drop_threshold

GROUPS = 8  # parts into which a batch is cut; a constant, so that sums over the batch have one order
NO_PADS: Pads = ((0, 0), (0, 0))
ELEMENTS = 1 << 16  # fewest elements that are worth a task of an elementwise kernel


def groups(items: int, least: int = 1, unit: int = 1) -> list[tuple[int, int]]:
    """(first, last) of at most `GROUPS` equal parts of at least `least` items, which begin at multiples of `unit`."""
    parts = max(1, min(GROUPS, items // least))
    cuts = [items * part // parts // unit * unit for part in range(parts)] + [items]
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def over(parts: list[tuple[int, int]], task: Callable[[int, int, int], object]) -> None:
    """Calls task(number, first, last) for every part, on all threads."""
    parallel(len(parts), lambda number: task(number, *parts[number]))


def elementwise(kernel: Callable[..., object], *arrays: np.ndarray) -> None:
    """Runs a kernel over arrays of equal size, a part on every thread."""
    flat = [array.reshape(-1) for array in arrays]
    over(groups(arrays[0].size, ELEMENTS), lambda _, first, last: kernel(*(array[first:last] for array in flat)))


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
        x, kernel, bias_ = self.alike(x, kernel, x.dtype.type(0) if bias is None else bias)
        N, H, W, C = x.shape
        KH, KW, _, F = kernel.shape
        if (H, W) == (KH, KW) and pads == NO_PADS and dilation == (1, 1):  # one window: a dense layer
            y, _ = self._dense(x.reshape(N, -1), kernel.reshape(-1, F), bias, relu)
            return y.reshape(N, 1, 1, F), (x, y.reshape(N, 1, 1, F) if relu else None, strides, pads, dilation)
        (top, bottom), (left, right) = pads
        image = top + H + bottom, left + W + right
        OH, OW = ((n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(image, (KH, KW), dilation, strides, strict=True))
        m = self._winograd_size(x, kernel, (OH, OW), strides, dilation)
        y = self.empty((N, OH, OW, F), x.dtype)
        if m:
            self._convolve_winograd(x, kernel, bias_, pads, m, relu, y)
            return y, (x, y if relu else None, strides, pads, dilation)
        start = 0 if bias is None else 1
        plan = convolution.forward_plan(
            x.dtype.name, image, C, (KH, KW), F, (OH, OW), strides, dilation, start, int(relu)
        )

        def task(number: int, first: int, last: int) -> None:
            padded = self.empty((*image, C) if image != (H, W) else (0, 0, 0), x.dtype)
            convolution.convolve(x, first, last, top, left, padded, plan, kernel, bias_.reshape(-1), y)

        over(groups(N), task)
        return y, (x, y if relu else None, strides, pads, dilation)

    def _convolve_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool
    ) -> tuple[Array | None, Array, Array]:
        x, y, strides, pads, dilation = saved
        dy, kernel, x = self.alike(dy, kernel, x)
        N, H, W, C = x.shape
        KH, KW, _, F = kernel.shape
        _, OH, OW, _ = dy.shape
        if (H, W) == (KH, KW) and pads == NO_PADS and dilation == (1, 1):
            dy = dy if y is None else self.relu_backward(dy, (y, None))
            dx, dkernel, dbias = self.dense_backward(
                dy.reshape(N, F), kernel.reshape(-1, F), x.reshape(N, -1), input_gradient
            )
            return None if dx is None else dx.reshape(x.shape), dkernel.reshape(kernel.shape), dbias
        if m := self._winograd_size(x, kernel, (OH, OW), strides, dilation):
            return self._convolve_winograd_backward(x, dy, kernel, y, pads, m, input_gradient)
        (top, bottom), (left, right) = pads
        image = top + H + bottom, left + W + right
        name, nothing = x.dtype.name, np.empty((0, 0, 0, 0), x.dtype)

        dy_pads = NO_PADS
        input_plan, flipped, dx = np.empty((0, 0), np.int64), np.empty(0, x.dtype), nothing
        if input_gradient:
            input_plan, order, dy_pads = convolution.input_gradient_plan(
                name, (H, W), pads, C, (KH, KW), F, (OH, OW), strides, dilation
            )
            flipped = convolution.flipped_kernel(kernel, order)
            every_pixel = len(order) == strides[0] * strides[1]
            dx = self.empty(x.shape, x.dtype) if every_pixel else self.zeros(x.shape, x.dtype)
        (dy_top, dy_bottom), (dy_left, dy_right) = dy_pads
        dy_image = dy_top + OH + dy_bottom, dy_left + OW + dy_right
        kernel_plan = convolution.kernel_gradient_plan(
            name, image, C, (KH, KW), F, (OH, OW), strides, dilation, dy_image[1]
        )

        cuts = groups(N)
        dkernels = self.empty((len(cuts), *kernel.shape), x.dtype)
        dbiases = self.empty((len(cuts), F), x.dtype)

        def task(number: int, first: int, last: int) -> None:
            padded = self.empty((*image, C) if image != (H, W) else (0, 0, 0), x.dtype)
            padded_dy = self.empty((*dy_image, F), x.dtype)
            convolution.convolve_backward(
                x, first, last, top, left, padded, dy, nothing if y is None else y, dy_top, dy_left, padded_dy,
                kernel_plan, dkernels[number], dbiases[number], input_plan, flipped, dx,
            )  # fmt: skip

        over(cuts, task)
        return dx if input_gradient else None, dkernels.sum(axis=0), dbiases.sum(axis=0)

    def _winograd_size(self, x: Array, kernel: Array, outputs: Pair, strides: Pair, dilation: Pair) -> int:
        """m of the algorithm F(m×m, r×r) to take, or 0 for the direct kernels."""
        if self.precision == "exact" or strides != (1, 1) or dilation != (1, 1):
            return 0
        return winograd.choose(x.dtype.name, outputs, kernel.shape[:2], *kernel.shape[2:])

    def _winograd_room(self, images: int, down: int, across: int) -> int:
        """How many images are transformed together."""
        return min(images, -(-winograd.PATCHES // (down * across)))

    def _transform_kernel(self, kind: str, source: Array, side: int, m: int, r: int) -> Array:
        """(i, j, C·F) to (side, side, C·F): a kernel to its planes, or the gradient of the planes to that of a kernel."""
        function = winograd.transformation(kind, m, r)
        target = self.empty((side, side, source.shape[2]), source.dtype)
        parts = groups(source.shape[2], 4096, unit=winograd.UNIT)
        over(parts, lambda _, first, last: winograd.transform_channels(function, source, target, first, last))
        return target

    def _convolve_winograd(
        self, x: Array, kernel: Array, bias: Array, pads: Pads, m: int, relu: bool, y: Array
    ) -> None:
        r, _, C, F = kernel.shape
        T, down, across = m + r - 1, -(-y.shape[1] // m), -(-y.shape[2] // m)
        functions = np.array([winograd.transformation(kind, m, r) for kind in ("patch", "output")])
        U = self._transform_kernel("kernel", kernel.reshape(r, r, C * F), T, m, r)
        bias = np.ascontiguousarray(np.broadcast_to(bias, F))

        def task(number: int, first: int, last: int) -> None:
            room = self._winograd_room(last - first, down, across)
            patches, rest = room * down * across, (last - first) % room * down * across
            plan, _, _ = winograd.plans(m, r, patches, patches, C, F)
            rest_plan = winograd.plans(m, r, patches, rest, C, F)[0] if rest else plan
            padded = self.empty((room, down * m + r - 1, across * m + r - 1, C), x.dtype)
            V, M = self.empty((T, T, patches, C), x.dtype), self.empty((T, T, patches, F), x.dtype)
            results = self.empty((room, down * m, across * m, F), x.dtype)
            winograd.convolve(
                x, first, last, pads[0][0], pads[1][0], m, down, across, functions,
                plan, rest_plan, U, bias, int(relu), padded, V, M, results, y,
            )  # fmt: skip

        over(groups(len(x)), task)

    def _convolve_winograd_backward(
        self, x: Array, dy: Array, kernel: Array, y: Array | None, pads: Pads, m: int, input_gradient: bool
    ) -> tuple[Array | None, Array, Array]:
        r, _, C, F = kernel.shape
        T, down, across = m + r - 1, -(-dy.shape[1] // m), -(-dy.shape[2] // m)
        kinds = ("patch", "output", "output gradient", "patch gradient")
        functions = np.array([winograd.transformation(kind, m, r) for kind in kinds])
        U = self._transform_kernel("kernel", kernel.reshape(r, r, C * F), T, m, r)
        Ut = np.ascontiguousarray(U.reshape(T * T, C, F).transpose(0, 2, 1))
        cuts = groups(len(x))
        dU, dbias = self.empty((len(cuts), T * T, C, F), x.dtype), self.empty((len(cuts), F), x.dtype)
        nothing = np.empty((0, 0, 0, 0), x.dtype)
        dx = self.empty(x.shape, x.dtype) if input_gradient else nothing

        def task(number: int, first: int, last: int) -> None:
            room = self._winograd_room(last - first, down, across)
            patches, rest = room * down * across, (last - first) % room * down * across
            _, kernel_plan, input_plan = winograd.plans(m, r, patches, patches, C, F)
            _, kernel_rest, input_rest = winograd.plans(m, r, patches, rest or patches, C, F)
            padded, padded_dx = self.empty((2, room, down * m + r - 1, across * m + r - 1, C), x.dtype)
            padded_dy = self.empty((room, down * m, across * m, F), x.dtype)
            V, Z = self.empty((T, T, patches, C), x.dtype), self.empty((T, T, patches, F), x.dtype)
            winograd.convolve_backward(
                x, first, last, pads[0][0], pads[1][0], m, down, across, functions,
                padded, V, dy, nothing if y is None else y, padded_dy, Z, kernel_plan, kernel_rest, dU[number], dbias[number],
                input_plan, input_rest, Ut, padded_dx, dx,
            )  # fmt: skip

        over(cuts, task)
        dkernel = self._transform_kernel("kernel gradient", dU.sum(axis=0).reshape(T, T, C * F), r, m, r)
        return dx if input_gradient else None, dkernel.reshape(kernel.shape), dbias.sum(axis=0)

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

        over(groups(-(-C // dense.BLOCK)), task)
        return dx.reshape(shape) if input_gradient else None, dkernel, dy.sum(axis=0)

    # ------------------------------------------------------------------ pooling

    def max_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        N, H, W, C = x.shape
        y = self.empty((N, *self._outputs(x, size, strides, pads), C), x.dtype)
        winner = self.empty(y.shape, np.uint8 if math.prod(size) <= 256 else np.int32)
        over(
            groups(N),
            lambda _, first, last: pooling.max_pool(x, first, last, *size, *strides, pads[0][0], pads[1][0], y, winner),
        )
        return y, (winner, x.shape, size, strides, pads)

    def max_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        winner, x_shape, size, strides, pads = saved
        (dy,) = self.alike(dy)
        dx = self.empty(x_shape, dy.dtype)
        over(
            groups(len(dy)),
            lambda _, first, last: pooling.max_pool_backward(
                dy, winner, first, last, *size, *strides, pads[0][0], pads[1][0], dx
            ),
        )
        return dx

    def avg_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        y = self.empty((len(x), *self._outputs(x, size, strides, pads), x.shape[3]), x.dtype)
        over(
            groups(len(x)),
            lambda _, first, last: pooling.avg_pool(x, first, last, *size, *strides, pads[0][0], pads[1][0], y),
        )
        return y, (x.shape, size, strides, pads)

    def avg_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        x_shape, size, strides, pads = saved
        (dy,) = self.alike(dy)
        dx = self.empty(x_shape, dy.dtype)
        over(
            groups(len(dy)),
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
        if slope is not None:
            return super().relu_backward(dy, slope)
        dy, y = self.alike(dy, y)
        dx = self.empty(dy.shape, dy.dtype)
        elementwise(activation.relu_backward, dy, y, dx)
        return dx

    # ------------------------------------------------------------------ softmax cross-entropy

    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Saved]:
        logits, targets = self.alike(logits, targets)
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

        over(groups(x.size, ELEMENTS, unit=4), task)
        return y

    # ------------------------------------------------------------------ geometry

    def affine(
        self, x: Array, matrices: Array, fill_mode: str = "constant", fill_value: float = 0.0
    ) -> tuple[Array, Saved]:
        (x,) = self.alike(x)
        matrices = np.ascontiguousarray(matrices, np.float64)
        y = self.empty(x.shape, x.dtype)
        mode, fill = augment.FILL_MODES[fill_mode], x.dtype.type(fill_value)
        over(groups(len(x)), lambda _, first, last: augment.affine(x, first, last, matrices, mode, fill, y))
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
        parts = groups(M, 1024)
        means, squares = np.empty((2, len(parts), rows.shape[1]), x.dtype)
        over(parts, lambda part, first, last: normalization.moments(rows, first, last, means[part], squares[part]))
        shares = np.array([(last - first) / M for first, last in parts], x.dtype)[:, None]
        mean = (shares * means).sum(axis=0)  # (C,)
        variance = squares.sum(axis=0) / M + (shares * (means - mean) ** 2).sum(
            axis=0
        )  # (C,): within and between parts
        inverse = 1 / np.sqrt(variance + x.dtype.type(epsilon))  # (C,)
        y = self._scale_rows(rows, mean, gamma * inverse, beta)
        return y.reshape(x.shape), mean, variance, (x, mean, inverse, gamma)

    def batch_norm_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        x, mean, inverse, gamma = saved
        dy, x = self.alike(dy, x)
        rows, dy_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
        M = len(rows)
        parts = groups(M, 1024)
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
            groups(len(rows), 1024),
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
        rate = adam_rate(step, learning_rate, beta_1, beta_2)
        settings = [w.dtype.type(setting) for setting in (rate, 1.0 - beta_1, 1.0 - beta_2, epsilon)]
        elementwise(lambda *parts: optimizers.adam(*parts, *settings), w, g, m, v)

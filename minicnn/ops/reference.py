"""The definition of every operation a layer may ask of a device: plain array code, each forward with its backward
directly below it.

`Ops` runs on whatever `xp` is: NumPy here, CuPy in `gpu.py`. `cpu.py` overrides the pairs for which a kernel is faster,
and the tests hold every override to what is written in this file.

Shapes: N batch, H W input height and width, C input channels, F filters (output channels), KH KW kernel, OH OW output.
Arrays are NHWC, kernels HWIO. A forward whose backward needs more than dy also returns `saved`, which only that backward
looks into.
"""

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # a NumPy or a CuPy array
Saved: TypeAlias = Any  # what a backward needs of its forward
Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[Pair, Pair]  # zeros added to an image: ((top, bottom), (left, right))
Key: TypeAlias = tuple[int, int, int]  # what randomness is a function of: (seed, step, layer)

NO_PADS: Pads = ((0, 0), (0, 0))
LEAST_VARIANCE = 1e-6  # square pixels, below which what an image shows has no height, or no width
FILL_MODES = "constant", "nearest", "reflect", "wrap"  # what lies outside an image, see `Ops.affine`
UNIT = 16  # every parameter of a model begins at a multiple of so many numbers: 64 bytes in float32


def positions(image: Sequence[int], pads: Pads, size: Sequence[int], strides: Pair, dilation: Pair = (1, 1)) -> Pair:
    """(OH, OW): how many places a window has in an image (H, W), as many as ⌊(H + pads - reach) / stride⌋ + 1."""
    axes = zip(image, pads, size, strides, dilation, strict=True)
    OH, OW = ((n + sum(pad) - (k - 1) * d - 1) // s + 1 for n, pad, k, s, d in axes)
    return OH, OW


def pooled(x_shape: Sequence[int], size: Pair, strides: Pair, pads: Pads) -> tuple[int, ...]:
    """(N, OH, OW, C), the shape of an array (N, H, W, C) after pooling."""
    OH, OW = positions(x_shape[1:3], pads, size, strides)
    if min(OH, OW) < 1:
        raise ValueError(f"pooling: windows of {size} do not fit into an input of shape {tuple(x_shape)}")
    return x_shape[0], OH, OW, x_shape[3]


def repeats(alpha: Array, sample: Sequence[int]) -> bool:
    """Whether a flat sample repeats flat alpha: not where axes of alpha other than the first are shared."""
    own = tuple(alpha.shape)
    while own[:1] == (1,):
        own = own[1:]
    return own == tuple(sample[len(sample) - len(own) :])


class Ops:
    """Every operation, on the arrays of `xp`."""

    name = "reference"
    xp: ModuleType = np
    precision = "fast"  # see minicnn.set_precision

    def __deepcopy__(self, memo: dict[int, Any]) -> "Ops":
        return self  # a device, not data: copies of a layer share it

    def __reduce__(self) -> tuple[Any, ...]:
        from . import get_ops

        return get_ops, (self.name,)

    # ------------------------------------------------------------------ arrays

    def array(self, values: Array, dtype: Any = None) -> Array:
        """`values` on this device, C-contiguous."""
        return self.xp.asarray(values, dtype=dtype, order="C")

    def constant(self, values: Any, dtype: Any) -> Array:
        """A few numbers of the host that stay the same, of which some devices keep their copy; not to be written to."""
        return self.array(values, dtype)

    def numpy(self, values: Array) -> np.ndarray:
        """`values` in the host's memory."""
        return np.asarray(values)

    def zeros(self, shape: Sequence[int], dtype: Any) -> Array:
        return self.xp.zeros(tuple(shape), dtype)

    # ------------------------------------------------------------------ padding and columns

    def pad2d(self, x: Array, pads: Pads, value: float = 0.0) -> Array:
        return self.xp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)  # (N, top+H+bottom, left+W+right, C)

    def pad2d_backward(self, dy: Array, pads: Pads) -> Array:
        (top, bottom), (left, right) = pads
        return dy[:, top : dy.shape[1] - bottom, left : dy.shape[2] - right]  # (N, H, W, C)

    def windows(self, x: Array, size: Pair, strides: Pair, dilation: Pair = (1, 1)) -> Array:
        """The window under the kernel at each output position, as a view of x: (N, OH, OW, KH, KW, C)."""
        N, H, W, C = x.shape
        OH, OW = positions((H, W), NO_PADS, size, strides, dilation)
        if min(OH, OW) < 1:
            raise ValueError(f"windows of {tuple(size)} do not fit into images of shape {tuple(x.shape)}")
        image, row, column, channel = x.strides
        places, taps = (strides[0] * row, strides[1] * column), (dilation[0] * row, dilation[1] * column)
        # CuPy's sliding_window_view would send the size to the device, and wait for it
        return self.xp.lib.stride_tricks.as_strided(x, (N, OH, OW, *size, C), (image, *places, *taps, channel))

    def im2col(self, x: Array, size: Pair, strides: Pair, pads: Pads, dilation: Pair) -> Array:
        windows = self.windows(self.pad2d(x, pads), size, strides, dilation)
        return windows.reshape(*windows.shape[:3], -1)  # (N, OH, OW, KH*KW*C)

    def col2im(
        self, columns: Array, x_shape: Sequence[int], size: Pair, strides: Pair, pads: Pads, dilation: Pair
    ) -> Array:
        """The adjoint of `im2col`: every number of the columns is added to the pixel it was copied from."""
        N, H, W, C = x_shape
        OH, OW = columns.shape[1:3]
        columns = columns.reshape(N, OH, OW, *size, C)
        (top, bottom), (left, right) = pads
        dx = self.xp.zeros((N, top + H + bottom, left + W + right, C), columns.dtype)
        for a in range(size[0]):
            for b in range(size[1]):
                i, j = a * dilation[0], b * dilation[1]
                dx[:, i : i + OH * strides[0] : strides[0], j : j + OW * strides[1] : strides[1]] += columns[
                    :, :, :, a, b
                ]
        return self.pad2d_backward(dx, pads)  # (N, H, W, C)

    # ------------------------------------------------------------------ convolution

    def conv2d(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        """y[n,i,j,f] = Σ_abc x[n, i·s+a·d, j·s+b·d, c] · kernel[a,b,c,f] + bias[f], x padded with zeros."""
        KH, KW, C, F = kernel.shape
        columns = self.im2col(x, (KH, KW), strides, pads, dilation)  # (N, OH, OW, KH*KW*C)
        y = columns @ kernel.reshape(-1, F)  # (N, OH, OW, F)
        if bias is not None:
            y += bias
        return y, (columns, x.shape, strides, pads, dilation)

    def conv2d_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        columns, x_shape, strides, pads, dilation = saved
        KH, KW, C, F = kernel.shape
        # y = columns @ kernel + bias
        dbias = dy.sum(axis=(0, 1, 2))  # (F,)
        dkernel = columns.reshape(-1, KH * KW * C).T @ dy.reshape(-1, F)  # (KH*KW*C, F)
        dkernel = dkernel.reshape(kernel.shape)
        if not input_gradient:
            return None, dkernel, dbias
        dcolumns = dy @ kernel.reshape(-1, F).T  # (N, OH, OW, KH*KW*C)
        # columns = im2col(x)
        return self.col2im(dcolumns, x_shape, (KH, KW), strides, pads, dilation), dkernel, dbias

    def conv2d_relu(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        """relu(conv2d(x)) as one operation."""
        y, conv = self.conv2d(x, kernel, bias, strides, pads, dilation)
        y, relu = self.relu(y)
        return y, (conv, relu)

    def conv2d_relu_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        conv, relu = saved
        return self.conv2d_backward(self.relu_backward(dy, relu), kernel, conv, input_gradient)

    def depthwise_conv2d(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        """y[n,i,j,c·M+m] = Σ_ab x[n, i·s+a·d, j·s+b·d, c] · kernel[a,b,c,m] + bias[c·M+m], x padded with zeros."""
        KH, KW, C, M = kernel.shape
        windows = self.windows(self.pad2d(x, pads), (KH, KW), strides, dilation)[..., None]  # (N, OH, OW, KH, KW, C, 1)
        y = sum(windows[:, :, :, a, b] * kernel[a, b] for a, b in np.ndindex(KH, KW))  # (N, OH, OW, C, M)
        y = y.reshape(*y.shape[:3], C * M)
        if bias is not None:
            y += bias
        return y, (windows, x.shape, strides, pads, dilation)

    def depthwise_conv2d_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        windows, x_shape, strides, pads, dilation = saved
        KH, KW, C, M = kernel.shape
        # y += bias
        dbias = dy.sum(axis=(0, 1, 2))  # (C*M,)
        # y = Σ windows[:, :, :, a, b] * kernel[a, b]
        dy, dkernel = dy.reshape(*dy.shape[:3], C, M), self.xp.empty_like(kernel)
        for a, b in np.ndindex(KH, KW):
            dkernel[a, b] = (windows[:, :, :, a, b] * dy).sum(axis=(0, 1, 2))  # (C, M)
        if not input_gradient:
            return None, dkernel, dbias
        dcolumns = self.xp.empty(windows.shape[:-1], dy.dtype)  # (N, OH, OW, KH, KW, C)
        for a, b in np.ndindex(KH, KW):
            dcolumns[:, :, :, a, b] = (dy * kernel[a, b]).sum(axis=4)
        return self.col2im(dcolumns, x_shape, (KH, KW), strides, pads, dilation), dkernel, dbias

    def conv2d_transpose(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair, image: Pair
    ) -> tuple[Array, Saved]:
        """y[n, i·s+a·d, j·s+b·d, f] += x[n,i,j,c] · kernel[a,b,f,c], and + bias[f]: the input gradient of `conv2d`.

        y is of height and width `image`, and what would lie on the `pads` around it is left out.
        """
        KH, KW, F, C = kernel.shape
        columns = x @ kernel.reshape(-1, C).T  # (N, H, W, KH*KW*F)
        y = self.col2im(columns, (len(x), *image, F), (KH, KW), strides, pads, dilation)  # (N, *image, F)
        if bias is not None:
            y += bias
        return y, (x, strides, pads, dilation)

    def conv2d_transpose_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        x, strides, pads, dilation = saved
        KH, KW, F, C = kernel.shape
        # y = col2im(columns) + bias
        dbias = dy.sum(axis=(0, 1, 2))  # (F,)
        dcolumns = self.im2col(dy, (KH, KW), strides, pads, dilation)  # (N, H, W, KH*KW*F)
        # columns = x @ kernelᵀ
        dkernel = dcolumns.reshape(-1, KH * KW * F).T @ x.reshape(-1, C)  # (KH*KW*F, C)
        return dcolumns @ kernel.reshape(-1, C) if input_gradient else None, dkernel.reshape(kernel.shape), dbias

    # ------------------------------------------------------------------ dense

    def dense(self, x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Saved]:
        """y = x · kernel + bias over the last axis; x (…, C), kernel (C, F)."""
        y = x @ kernel  # (…, F)
        if bias is not None:
            y += bias
        return y, x

    def dense_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        x = saved
        C, F = kernel.shape
        # y = x @ kernel + bias
        rows = dy.reshape(-1, F)
        dbias = rows.sum(axis=0)  # (F,)
        dkernel = x.reshape(-1, C).T @ rows  # (C, F)
        return dy @ kernel.T if input_gradient else None, dkernel, dbias

    def dense_relu(self, x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Saved]:
        """relu(dense(x)) as one operation."""
        y, dense = self.dense(x, kernel, bias)
        y, relu = self.relu(y)
        return y, (dense, relu)

    def dense_relu_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        dense, relu = saved
        return self.dense_backward(self.relu_backward(dy, relu), kernel, dense, input_gradient)

    # ------------------------------------------------------------------ pooling

    def max_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        """The largest number of each window; padding never wins, and of equal numbers the first does."""
        windows = self.windows(self.pad2d(x, pads, -self.xp.inf), size, strides)  # (N, OH, OW, KH, KW, C)
        windows = windows.reshape(*windows.shape[:3], -1, x.shape[3])
        winner = windows.argmax(axis=3)  # (N, OH, OW, C)
        return windows.max(axis=3), (winner, x.shape, size, strides, pads)

    def max_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        winner, x_shape, size, strides, pads = saved
        taps = self.xp.arange(size[0] * size[1])[:, None]  # (KH*KW, 1)
        columns = (winner[:, :, :, None] == taps) * dy[:, :, :, None]  # (N, OH, OW, KH*KW, C)
        return self.col2im(columns, x_shape, size, strides, pads, (1, 1))

    def avg_pool2d(self, x: Array, size: Pair, strides: Pair, pads: Pads) -> tuple[Array, Saved]:
        """The mean of each window, taken over its pixels inside the image."""
        sums = self.windows(self.pad2d(x, pads), size, strides).sum(axis=(3, 4))  # (N, OH, OW, C)
        inside = self.pad2d(self.xp.ones((1, *x.shape[1:3], 1), x.dtype), pads)
        count = self.windows(inside, size, strides).sum(axis=(3, 4))  # (1, OH, OW, 1)
        return sums / count, (count, x.shape, size, strides, pads)

    def avg_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        count, x_shape, size, strides, pads = saved
        taps = self.xp.ones((size[0] * size[1], 1), dy.dtype)
        columns = (dy / count)[:, :, :, None] * taps  # (N, OH, OW, KH*KW, C)
        return self.col2im(columns, x_shape, size, strides, pads, (1, 1))

    def global_avg_pool2d(self, x: Array) -> tuple[Array, Saved]:
        return x.mean(axis=(1, 2)), x.shape  # (N, C)

    def global_avg_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        N, H, W, C = saved
        return self.array(self.xp.broadcast_to((dy / (H * W))[:, None, None], saved))

    def global_max_pool2d(self, x: Array) -> tuple[Array, Saved]:
        pixels = x.reshape(len(x), -1, x.shape[3])  # (N, H*W, C)
        return pixels.max(axis=1), (pixels.argmax(axis=1), x.shape)  # (N, C)

    def global_max_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        winner, (N, H, W, C) = saved
        dx = (self.xp.arange(H * W)[:, None] == winner[:, None]) * dy[:, None]  # (N, H*W, C)
        return dx.reshape(N, H, W, C)

    # ------------------------------------------------------------------ activations

    def rescale(self, x: Array, scale: float, offset: float) -> Array:
        """x · scale + offset, in the number type of x; the gradient is that with offset 0."""
        return x * x.dtype.type(scale) + x.dtype.type(offset)

    def relu(
        self, x: Array, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
    ) -> tuple[Array, Saved]:
        """x above the threshold, cut off at max_value; below it negative_slope · (x - threshold)."""
        y = self.xp.where(x > threshold, x, negative_slope * (x - threshold)).astype(x.dtype)
        slope = self.xp.where(x > threshold, 1.0, negative_slope).astype(x.dtype)
        if max_value is not None:
            slope[y >= max_value] = 0.0
            y = self.xp.minimum(y, x.dtype.type(max_value))
        return y, slope

    def relu_backward(self, dy: Array, saved: Saved) -> Array:
        return dy * saved

    def elu(self, x: Array, alpha: float) -> tuple[Array, Saved]:
        """x where positive, α (eˣ - 1) elsewhere (Clevert et al., 2015)."""
        y = self.xp.where(x > 0, x, alpha * self.xp.expm1(self.xp.minimum(x, 0))).astype(x.dtype)
        return y, (x, alpha)

    def elu_backward(self, dy: Array, saved: Saved) -> Array:
        x, alpha = saved
        return (dy * self.xp.where(x > 0, 1.0, alpha * self.xp.exp(self.xp.minimum(x, 0)))).astype(dy.dtype)

    def prelu(self, x: Array, alpha: Array) -> tuple[Array, Saved]:
        """x where positive, α x elsewhere (He et al., 2015); alpha has the shape of one sample, or 1 where it is shared."""
        return self.xp.where(x > 0, x, alpha * x), (x, alpha)

    def prelu_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array]:
        x, alpha = saved
        shared = tuple(axis for axis, size in enumerate((1, *alpha.shape)) if size == 1)
        dalpha = self.xp.where(x > 0, 0, dy * x).sum(axis=shared, keepdims=True)[0]  # the shape of alpha
        return self.xp.where(x > 0, dy, alpha * dy), dalpha

    def activate(self, x: Array, name: str) -> tuple[Array, Saved]:
        """The elementwise function of this name in `ELEMENTWISE`."""
        function, _ = ELEMENTWISE[name]
        return function(self, x).astype(x.dtype), (name, x)

    def activate_backward(self, dy: Array, saved: Saved) -> Array:
        name, x = saved
        _, slope = ELEMENTWISE[name]
        return dy * slope(self, x).astype(dy.dtype)

    def erf(self, x: Array) -> Array:
        """2/√π ∫₀ˣ exp(-t²) dt, in float64; NumPy has no such function, and Python's takes one number at a time."""
        return self.xp.asarray(np.vectorize(math.erf, otypes=[float])(self.numpy(x)))

    def softmax(self, x: Array, axis: int = -1) -> tuple[Array, Saved]:
        """eˣ / Σ eˣ along one axis; the maximum is subtracted first, so nothing overflows."""
        e = self.xp.exp(x - x.max(axis=axis, keepdims=True))
        y = e / e.sum(axis=axis, keepdims=True)
        return y, (y, axis)

    def softmax_backward(self, dy: Array, saved: Saved) -> Array:
        y, axis = saved
        return y * (dy - (dy * y).sum(axis=axis, keepdims=True))

    def log_softmax(self, x: Array, axis: int = -1) -> tuple[Array, Saved]:
        """x - log Σ eˣ along one axis: the logarithm of `softmax`, also where that is too small to be told from 0."""
        shifted = x - x.max(axis=axis, keepdims=True)
        y = shifted - self.xp.log(self.xp.exp(shifted).sum(axis=axis, keepdims=True))
        return y, (y, axis)

    def log_softmax_backward(self, dy: Array, saved: Saved) -> Array:
        y, axis = saved
        return dy - self.xp.exp(y) * dy.sum(axis=axis, keepdims=True)

    # ------------------------------------------------------------------ cross-entropy

    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Saved]:
        """-Σ_k t_k log softmax(logits)_k for every sample; logits and targets (N, K), result (N,)."""
        shifted = logits - logits.max(axis=1, keepdims=True)  # (N, K)
        log_sum = self.xp.log(self.xp.exp(shifted).sum(axis=1))  # (N,)
        losses = targets.sum(axis=1) * log_sum - (targets * shifted).sum(axis=1)
        return losses, (self.xp.exp(shifted - log_sum[:, None]), targets)

    def softmax_cross_entropy_backward(self, dlosses: Array, saved: Saved) -> Array:
        probabilities, targets = saved
        return dlosses[:, None] * (probabilities * targets.sum(axis=1, keepdims=True) - targets)  # (N, K)

    def cross_entropy(self, probabilities: Array, targets: Array) -> tuple[Array, Saved]:
        """-Σ_k t_k log(p_k / Σp) for every sample, p kept within [1e-7, 1 - 1e-7] as in Keras; (N, K) to (N,)."""
        total = probabilities.sum(axis=1, keepdims=True)  # (N, 1)
        p = probabilities / total
        clipped = self.xp.clip(p, 1e-7, 1.0 - 1e-7)
        return -(targets * self.xp.log(clipped)).sum(axis=1), (p, clipped, total, targets)

    def cross_entropy_backward(self, dlosses: Array, saved: Saved) -> Array:
        p, clipped, total, targets = saved
        dp = self.xp.where(p == clipped, -targets / clipped, 0.0) * dlosses[:, None]  # (N, K)
        # p = probabilities / total
        return (dp - (dp * p).sum(axis=1, keepdims=True)) / total

    # ------------------------------------------------------------------ dropout

    def random_bits(self, key: Key, count: int) -> Array:
        """`count` random uint32, a function of the key and the index alone.

        Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
        (2011): the seed is its key; block index, step and layer are its counter; every block gives four numbers.
        """
        seed, step, layer = key
        low = 0xFFFFFFFF
        block = self.xp.arange(-(-count // 4), dtype=np.uint64)
        c0, c1 = block & low, block >> 32
        c2, c3 = self.xp.full_like(block, step & low), self.xp.full_like(block, layer & low)
        k0, k1 = seed & low, seed >> 32 & low
        for _ in range(10):
            product0, product1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
            c0, c1, c2, c3 = (product1 >> 32) ^ c1 ^ k0, product1 & low, (product0 >> 32) ^ c3 ^ k1, product0 & low
            k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
        return self.xp.stack([c0, c1, c2, c3], axis=1).reshape(-1)[:count].astype(np.uint32)

    def dropout(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        """Each number is zero with probability `rate`, else divided by 1 - rate (Srivastava et al., 2014, inverted)."""
        kept = self.random_bits(key, x.size).reshape(x.shape) >= drop_threshold(rate)
        scale = x.dtype.type(1.0 / (1.0 - float(rate)))
        return x * kept * scale, (kept, scale)

    def dropout_backward(self, dy: Array, saved: Saved) -> Array:
        kept, scale = saved
        return dy * kept * scale

    def spatial_dropout2d(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        """Dropout of whole channels: one random number for each channel of each image (Tompson et al., 2015)."""
        factor, _ = self.dropout(self.xp.ones((len(x), x.shape[3]), x.dtype), rate, key)  # (N, C)
        return x * factor[:, None, None], factor

    def spatial_dropout2d_backward(self, dy: Array, saved: Saved) -> Array:
        factor = saved
        return dy * factor[:, None, None]

    def alpha_dropout(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        """a x + b, or with probability `rate` a l + b, l = -λα being the least that selu gives (Klambauer et al., 2017).

        a = ((1 - rate) (1 + rate l²))^-½ and b = -a l rate keep a mean of 0 and a variance of 1. Written with what dropout
        divides by, y = a (1 - rate) · (dropout(x - l) + l).
        """
        scale = alpha_scale(rate)
        y, saved = self.dropout(self.rescale(x, 1.0, -SELU_LEAST), rate, key)
        return self.rescale(y, scale, scale * SELU_LEAST), (saved, scale)

    def alpha_dropout_backward(self, dy: Array, saved: Saved) -> Array:
        dropped, scale = saved
        return self.rescale(self.dropout_backward(dy, dropped), scale, 0.0)

    def gaussian_dropout(self, x: Array, rate: float, key: Key) -> tuple[Array, Saved]:
        """x · (1 + √(rate / (1 - rate)) z), z as in `gaussian_noise` (Srivastava et al., 2014)."""
        factor = self.gaussian_noise(self.xp.ones_like(x), spread(rate), key)
        return x * factor, factor

    def gaussian_dropout_backward(self, dy: Array, saved: Saved) -> Array:
        factor = saved
        return dy * factor

    def gaussian_noise(self, x: Array, stddev: float, key: Key) -> Array:
        """x + stddev · z, z of mean 0 and variance 1: two random numbers give two of them (Box and Muller, 1958)."""
        pairs = self.random_bits(key, x.size + x.size % 2).reshape(-1, 2)
        radius, angle = self.xp.sqrt(-2 * self.xp.log((pairs[:, 0] + 0.5) / 2**32)), pairs[:, 1] * (2 * math.pi / 2**32)
        z = self.xp.stack([radius * self.xp.cos(angle), radius * self.xp.sin(angle)], axis=1)  # (⌈size / 2⌉, 2)
        return (x + stddev * z.reshape(-1)[: x.size].reshape(x.shape)).astype(x.dtype)

    # ------------------------------------------------------------------ geometry

    def affine(
        self,
        x: Array,
        matrices: Array,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        field: Array | None = None,
    ) -> tuple[Array, Saved]:
        """y[n,i,j] is x[n] at the point matrices[n] · (i, j, 1) + field[n,:,i,j], bilinear between the four pixels around.

        matrices (N, 2, 3)   field (N, 2, H, W), in pixels down and to the right. Outside the image lie fill_value
        ("constant"), its last pixels ("nearest"), its mirror image ("reflect": d c b a | a b c d | d c b a) or its
        repetition ("wrap").
        """
        N, H, W, C = x.shape
        grid = self.xp.stack([*self.xp.indices((H, W)).reshape(2, -1), self.xp.ones(H * W)])  # (3, H*W): i, j, 1
        points = matrices @ grid  # (N, 2, H*W)
        if field is not None:
            points += field.reshape(N, 2, H * W)
        corner = self.xp.floor(points)
        share = points - corner  # of the pixel below, and to the right
        sample = self.xp.arange(N)[:, None]  # (N, 1)
        y = self.xp.zeros((N, H * W, C), x.dtype)
        taps = []
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (share[:, 0] if a else 1 - share[:, 0]) * (share[:, 1] if b else 1 - share[:, 1])  # (N, H*W)
            row, row_inside = self._fill(corner[:, 0] + a, H, fill_mode)
            column, column_inside = self._fill(corner[:, 1] + b, W, fill_mode)
            inside = row_inside & column_inside
            value = self.xp.where(inside[..., None], x[sample, row, column], x.dtype.type(fill_value))  # (N, H*W, C)
            y += weight[..., None].astype(x.dtype) * value
            taps.append((row, column, weight * inside))
        return y.reshape(x.shape), taps

    def affine_backward(self, dy: Array, saved: Saved) -> Array:
        N, H, W, C = dy.shape
        dx = self.xp.zeros_like(dy)
        sample = self.xp.arange(N)[:, None]
        for row, column, weight in saved:
            # y += weight * x[sample, row, column]
            self.xp.add.at(dx, (sample, row, column), weight[..., None].astype(dy.dtype) * dy.reshape(N, H * W, C))
        return dx

    def moment_maps(self, x: Array, width: float, factors: tuple[float, float]) -> Array:
        """The matrices (N, 2, 3) with which `affine` makes images upright and `width` wide, see `MomentNormalization`."""
        N, H, W, _ = x.shape
        centre = (H - 1) / 2, (W - 1) / 2
        i, j = self.xp.arange(H)[:, None] - centre[0], self.xp.arange(W) - centre[1]
        mass = x.sum(axis=3, dtype=np.float64)  # (N, H, W)
        whole = mass.sum(axis=(1, 2))  # (N,)
        there = whole > 0

        def mean(of: Array) -> Array:
            return (mass * of).sum(axis=(1, 2)) / self.xp.where(there, whole, 1.0)

        down, right = mean(i), mean(j)
        rows, both, columns = mean(i * i) - down * down, mean(i * j) - down * right, mean(j * j) - right * right
        upright = there & (rows > LEAST_VARIANCE)
        slant = self.xp.where(upright, both / self.xp.where(upright, rows, 1.0), 0.0)
        spread = self.xp.sqrt(self.xp.maximum(columns - slant * both, LEAST_VARIANCE))
        scale = self.xp.where(there, 1 / self.xp.clip(width / spread, *factors), 1.0)
        maps = self.zeros((N, 2, 3), np.float64)
        maps[:, 0, 0], maps[:, 1, 0], maps[:, 1, 1] = 1.0, slant, scale
        maps[:, 1, 2] = (1 - scale) * (right + centre[1]) - slant * (down + centre[0])
        return maps

    def resize(self, x: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
        """y[n,i,j,c] = Σ_tu v[i,t] · w[j,u] · x[n, p[i,t], q[j,u], c], where rows are (p, v) and columns (q, w)

        p, v (OH, T)   q, w (OW, U)   y (N, OH, OW, C). The gradient is such a map of dy, by where each pixel went.
        """
        for axis, (places, weights) in ((1, rows), (2, columns)):
            along = [1 if k != axis else -1 for k in range(4)]
            x = sum(self.xp.take(x, p, axis) * w.reshape(along) for p, w in zip(places.T, weights.T, strict=True))
        return x

    def random_field(self, rows: Array, columns: Array, strength: Array, key: Key) -> Array:
        """Random displacements: strength[n] · u, u uniform in [-1, 1), smoothed as by `blur` (Simard et al., 2003).

        rows (H,)   columns (W,)   strength (N,)   field (N, 2, H, W). The random numbers of an image begin at a multiple
        of 4, which is a block of the generator.
        """
        N, H, W = len(strength), len(rows), len(columns)
        drawn = self.random_bits(key, N * -(-2 * H * W // 4) * 4).reshape(N, -1)[:, : 2 * H * W]
        u = (drawn.astype(rows.dtype) / 2**31 - 1).reshape(N, 2, H, W)
        return (
            self._by_distance(rows)
            @ (strength.astype(rows.dtype)[:, None, None, None] * u)
            @ self._by_distance(columns)
        )

    def blur(self, x: Array, rows: Array, columns: Array, chosen: Array) -> Array:
        """y[n,i,j] = Σ_kl rows[|i-k|] · x[n,k,l] · columns[|j-l|] for images that are chosen, else x[n].

        rows (H,), columns (W,): the weights of each distance; zeros lie outside. chosen (N,). The gradient is the same map
        of dy.
        """
        y = self._by_distance(rows) @ self.xp.moveaxis(x, 3, 1) @ self._by_distance(columns)  # (N, C, H, W)
        y = self.xp.moveaxis(y, 1, 3)
        return self.xp.where(chosen[:, None, None, None], y, x).astype(x.dtype)

    def _by_distance(self, weights: Array) -> Array:
        """The matrix with the weight of each row's and column's distance."""
        place = self.xp.arange(len(weights))
        return weights[abs(place[:, None] - place)]

    def erase(
        self, x: Array, boxes: Array, fill: Sequence[float] | None, limits: tuple[float, float], key: Key
    ) -> Array:
        """x, but `fill`, a number per channel, in box n of image n: rows and columns [from, to), boxes (N, 4).

        Where `fill` is None, normal numbers times the upper limit, each a function of its index. All are kept within
        the limits. The gradient is that of x with zeros in the boxes.
        """
        N, H, W, C = x.shape
        row, column = self.xp.arange(H)[None, :, None], self.xp.arange(W)[None, None, :]
        top, bottom, left, right = boxes.T[:, :, None, None]
        inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)  # (N, H, W)
        noise = self.gaussian_noise(self.xp.zeros_like(x), limits[1], key) if fill is None else None
        new = self.xp.clip(self.xp.asarray(fill, x.dtype) if noise is None else noise, *limits)
        return self.xp.where(inside[..., None], new, x).astype(x.dtype)

    def random_noise(self, x: Array, levels: Array, key: Key) -> Array:
        """x + levels[n] · z for image n, z as in `gaussian_noise`; levels (N,)."""
        z = self.gaussian_noise(self.xp.zeros_like(x), 1.0, key)
        return (x + levels.reshape(-1, *[1] * (x.ndim - 1)) * z).astype(x.dtype)

    def _fill(self, index: Array, length: int, mode: str) -> tuple[Array, Array]:
        """(the pixel that stands for each index, whether it counts)."""
        inside = (index >= 0) & (index < length) | (mode != "constant")
        if mode == "wrap":
            index = index % length
        elif mode == "reflect":
            index = length - 0.5 - self.xp.abs(index % (2 * length) + 0.5 - length)
        return self.xp.clip(index, 0, length - 1).astype(np.int64), inside

    # ------------------------------------------------------------------ batch normalisation

    def batch_norm(self, x: Array, gamma: Array, beta: Array, epsilon: float) -> tuple[Array, Array, Array, Saved]:
        """y = γ (x - mean) / √(variance + ε) + β, both statistics over all axes but the last (Ioffe and Szegedy, 2015).

        Returns y, mean (C,), variance (C,) (the biased one, as in Keras) and saved.
        """
        rows = x.reshape(-1, x.shape[-1])  # (M, C)
        mean = rows.mean(axis=0)
        variance = ((rows - mean) ** 2).mean(axis=0)
        inverse = 1.0 / self.xp.sqrt(variance + x.dtype.type(epsilon))  # (C,)
        normalized = (x - mean) * inverse
        return gamma * normalized + beta, mean, variance, (normalized, inverse, gamma)

    def batch_norm_with_averages(
        self, x: Array, gamma: Array, beta: Array, epsilon: float, mean: Array, variance: Array, momentum: float
    ) -> tuple[Array, Saved]:
        """`batch_norm`; the moving averages `mean` and `variance`, in place, follow those of the batch."""
        y, *found, saved = self.batch_norm(x, gamma, beta, epsilon)
        for moving, value in zip((mean, variance), found, strict=True):
            self.moving_average(self.xp.asarray(value, moving.dtype), moving, momentum, 0.0)
        return y, saved

    def batch_norm_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        normalized, inverse, gamma = saved
        axes = tuple(range(dy.ndim - 1))
        # y = gamma * normalized + beta
        dbeta = dy.sum(axis=axes)  # (C,)
        dgamma = (dy * normalized).sum(axis=axes)  # (C,)
        # normalized = (x - mean) / sqrt(variance + epsilon), where x is in mean and variance as well: what dy has along 1
        # and along normalized goes
        M = dy.size // dy.shape[-1]
        dx = gamma * inverse * (dy - dbeta / M - normalized * (dgamma / M))
        return dx, dgamma, dbeta

    def normalize(
        self, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
    ) -> tuple[Array, Saved]:
        """Batch normalisation with given statistics: what inference does with the moving averages."""
        inverse = 1.0 / self.xp.sqrt(variance + x.dtype.type(epsilon))  # (C,)
        normalized = (x - mean) * inverse
        return gamma * normalized + beta, (normalized, inverse, gamma)

    def normalize_backward(self, dy: Array, saved: Saved) -> tuple[Array, Array, Array]:
        normalized, inverse, gamma = saved
        axes = tuple(range(dy.ndim - 1))
        return dy * (gamma * inverse), (dy * normalized).sum(axis=axes), dy.sum(axis=axes)

    # ------------------------------------------------------------------ penalties

    def penalize(self, w: Array, g: Array | None, l1: float, l2: float) -> float:
        """l1 Σ|w| + l2 Σw²; its gradient, l1 sign(w) + 2 l2 w, is added to g in place."""
        if g is not None:
            g += (l1 * self.xp.sign(w) + 2 * l2 * w).astype(g.dtype)
        return float(l1 * self.xp.abs(w).sum() + l2 * (w * w).sum())

    # ------------------------------------------------------------------ optimizers: w, g and the moments change in place

    def sgd(self, w: Array, g: Array, velocity: Array | None, rate: float, momentum: float, nesterov: float) -> None:
        """v = μ v - η g;  w += v, or with Nesterov's look-ahead w += μ v - η g; without v, w -= η g."""
        if velocity is None:
            w -= rate * g
            return
        velocity *= momentum
        velocity -= rate * g
        w += momentum * velocity - rate * g if nesterov else velocity

    def rmsprop(self, w: Array, g: Array, square: Array, mean: Array | None, velocity: Array | None,
                rate: float, rho: float, momentum: float, epsilon: float) -> None:  # fmt: skip
        """s = ρ s + (1-ρ) g²;  w -= η g / √(s + ε), s less the squared mean when that is kept ("centered")."""
        square += (1.0 - rho) * (g * g - square)
        variance = square
        if mean is not None:
            mean += (1.0 - rho) * (g - mean)
            variance = square - mean * mean
        step = rate * g / self.xp.sqrt(variance + epsilon)
        if velocity is not None:
            velocity *= momentum
            velocity += step
            step = velocity
        w -= step

    def adagrad(self, w: Array, g: Array, square: Array, rate: float, epsilon: float) -> None:
        """s = s + g²;  w -= η g / √(s + ε)."""
        square += g * g
        w -= rate * g / self.xp.sqrt(square + epsilon)

    def adadelta(
        self, w: Array, g: Array, square: Array, moved: Array, rate: float, rho: float, epsilon: float
    ) -> None:
        """s = ρ s + (1-ρ) g²;  d = g √((x + ε) / (s + ε));  x = ρ x + (1-ρ) d²;  w -= η d."""
        square += (1.0 - rho) * (g * g - square)
        step = g * self.xp.sqrt((moved + epsilon) / (square + epsilon))
        moved += (1.0 - rho) * (step * step - moved)
        w -= rate * step

    def adam(self, w: Array, g: Array, m: Array, v: Array, top: Array | None,
             rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        """m = β₁ m + (1-β₁) g;  v = β₂ v + (1-β₂) g²;  w -= η m / (√v + ε), with the largest v so far if that is kept."""
        m += (1.0 - beta_1) * (g - m)
        v += (1.0 - beta_2) * (g * g - v)
        if top is not None:
            self.xp.maximum(top, v, out=top)
            v = top
        w -= rate * m / (self.xp.sqrt(v) + epsilon)

    def nadam(self, w: Array, g: Array, m: Array, v: Array, along_m: float, along_g: float, growth: float,
              beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        """m and v as Adam's;  w -= (a m + b g) / (√(c v) + ε)."""
        m += (1.0 - beta_1) * (g - m)
        v += (1.0 - beta_2) * (g * g - v)
        w -= (along_m * m + along_g * g) / (self.xp.sqrt(growth * v) + epsilon)

    def adamax(self, w: Array, g: Array, m: Array, u: Array,
               rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        """m = β₁ m + (1-β₁) g;  u = max(β₂ u, |g|);  w -= η m / (u + ε)."""
        m += (1.0 - beta_1) * (g - m)
        self.xp.maximum(beta_2 * u, abs(g), out=u)
        w -= rate * m / (u + epsilon)

    def lion(self, w: Array, g: Array, m: Array, rate: float, beta_1: float, beta_2: float) -> None:
        """w -= η sign(β₁ m + (1-β₁) g);  m = β₂ m + (1-β₂) g."""
        w -= rate * self.xp.sign(m + (1.0 - beta_1) * (g - m))
        m += (1.0 - beta_2) * (g - m)

    def ftrl(self, w: Array, g: Array, n: Array, z: Array, rate: float, power: float,
             l1: float, l2: float, shrinkage: float, beta: float) -> None:  # fmt: skip
        """n = n₋ + g²;  z += g + 2 λₛ w - (nᵖ - n₋ᵖ) / η · w;  w = (clip(z, ±λ₁) - z) / ((β + nᵖ) / η + 2 λ₂), 0 for 0 / 0."""
        before = n**power
        n += g * g
        z += g + (2.0 * shrinkage - (n**power - before) / rate) * w
        curvature = (beta + n**power) / rate + 2.0 * l2
        w[...] = (self.xp.clip(z, -l1, l1) - z) / self.xp.maximum(curvature, self.xp.finfo(w.dtype).tiny)

    def clip_value(self, g: Array, most: float) -> None:
        """No number is larger than `most`, or less than its negative."""
        self.xp.clip(g, -most, most, out=g)

    def clip_norm(self, g: Array, most: float) -> None:
        """g is scaled down to the Euclidean norm `most` where its own is larger."""
        g *= most / self.xp.maximum(self.xp.sqrt((g * g).sum()), g.dtype.type(most))

    def decay(self, w: Array, share: float) -> None:
        """w = (1 - share) w."""
        w *= 1.0 - share

    def moving_average(self, w: Array, mean: Array, momentum: float, overwrite: float) -> None:
        """a = μ a + (1-μ) w; unless `overwrite` is 0, w becomes a."""
        mean += (1.0 - momentum) * (w - mean)
        if overwrite:
            w[...] = mean


class WithKernels(Ops):
    """What op sets with kernels share: arrays as these expect them, and global pooling as pooling of one window."""

    def alike(self, *arrays: Array | None) -> list[Array]:
        """The arrays C-contiguous and of one float type, the smallest that holds them all: what kernels expect. None stays."""
        dtype = np.result_type(*(array.dtype for array in arrays if array is not None), np.float32)
        return [None if array is None else self.xp.ascontiguousarray(array, dtype) for array in arrays]

    def global_avg_pool2d(self, x: Array) -> tuple[Array, Saved]:
        y, saved = self.avg_pool2d(x, x.shape[1:3], (1, 1), NO_PADS)
        return y.reshape(len(x), -1), saved

    def global_avg_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        return self.avg_pool2d_backward(dy[:, None, None], saved)

    def global_max_pool2d(self, x: Array) -> tuple[Array, Saved]:
        y, saved = self.max_pool2d(x, x.shape[1:3], (1, 1), NO_PADS)
        return y.reshape(len(x), -1), saved

    def global_max_pool2d_backward(self, dy: Array, saved: Saved) -> Array:
        return self.max_pool2d_backward(dy[:, None, None], saved)


def _sigmoid(ops: Ops, x: Array) -> Array:
    e = ops.xp.exp(-ops.xp.abs(x))  # 1 / (1 + e⁻ˣ), without overflow
    return ops.xp.where(x > 0, 1, e) / (1 + e)


def _sigmoid_slope(ops: Ops, x: Array) -> Array:
    e = ops.xp.exp(-ops.xp.abs(x))
    return e / (1 + e) ** 2


def _softplus(ops: Ops, x: Array) -> Array:
    return ops.xp.maximum(x, 0) + ops.xp.log1p(ops.xp.exp(-ops.xp.abs(x)))  # log(1 + eˣ), without overflow


def _normal_below(ops: Ops, x: Array) -> Array:
    return 0.5 * (1 + ops.erf(x * math.sqrt(0.5)))  # the probability that a normal number is below x


def _mish_slope(ops: Ops, x: Array) -> Array:
    s = _softplus(ops, x)
    return ops.xp.tanh(s) + 4 * x * _sigmoid_slope(ops, 2 * s) * _sigmoid(ops, x)


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # keep mean 0 and variance 1 (Klambauer et al., 2017)
SELU_LEAST = -SELU_SCALE * SELU_ALPHA

# name: (y, dy/dx), both functions of the operations and of x
ELEMENTWISE: dict[str, tuple[Callable[[Ops, Array], Array], Callable[[Ops, Array], Array]]] = {
    "sigmoid": (_sigmoid, _sigmoid_slope),
    "tanh": (lambda ops, x: ops.xp.tanh(x), lambda ops, x: 4 * _sigmoid_slope(ops, 2 * x)),
    "selu": (
        lambda ops, x: SELU_SCALE * ops.xp.where(x > 0, x, SELU_ALPHA * ops.xp.expm1(ops.xp.minimum(x, 0))),
        lambda ops, x: SELU_SCALE * ops.xp.where(x > 0, 1, SELU_ALPHA * ops.xp.exp(ops.xp.minimum(x, 0))),
    ),
    "gelu": (  # Hendrycks and Gimpel (2016)
        lambda ops, x: x * _normal_below(ops, x),
        lambda ops, x: _normal_below(ops, x) + x * ops.xp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
    ),
    "silu": (lambda ops, x: x * _sigmoid(ops, x), lambda ops, x: _sigmoid(ops, x) + x * _sigmoid_slope(ops, x)),
    "softplus": (_softplus, _sigmoid),
    "softsign": (lambda ops, x: x / (1 + ops.xp.abs(x)), lambda ops, x: 1 / (1 + ops.xp.abs(x)) ** 2),
    "hard_sigmoid": (
        lambda ops, x: ops.xp.clip(x + 3, 0, 6) / 6,
        lambda ops, x: ops.xp.where(ops.xp.abs(x) < 3, 1 / 6, 0),
    ),
    "hard_silu": (  # Howard et al., "Searching for MobileNetV3" (2019)
        lambda ops, x: x * (ops.xp.clip(x + 3, 0, 6) / 6),
        lambda ops, x: ops.xp.where(ops.xp.abs(x) < 3, (2 * x + 3) / 6, x > 0),
    ),
    "mish": (lambda ops, x: x * ops.xp.tanh(_softplus(ops, x)), _mish_slope),  # Misra (2019)
    "exponential": (lambda ops, x: ops.xp.exp(x), lambda ops, x: ops.xp.exp(x)),
}


def expect(what: str, array: Array, shape: Sequence[int]) -> None:
    """ValueError unless the array has this shape."""
    if np.shape(array) != tuple(shape):
        raise ValueError(f"{what}: expected an array of shape {tuple(shape)}, received {np.shape(array)}")


def expect_weights(what: str, kernel: Array, shape: Sequence[int], bias: Array | None, filters: int) -> None:
    """ValueError unless the kernel has this shape, and the bias, if there is one, a number for each filter."""
    expect(f"{what} kernel", kernel, shape)
    if bias is not None:
        expect(f"{what} bias", bias, (filters,))


def expect_transposed(
    x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair, image: Pair
) -> None:
    """ValueError unless these are what `conv2d_transpose` takes."""
    expect_weights("conv2d_transpose", kernel, (*kernel.shape[:3], x.shape[3]), bias, kernel.shape[2])
    outputs = positions(image, pads, kernel.shape[:2], strides, dilation)
    if outputs != tuple(x.shape[1:3]):
        raise ValueError(
            f"conv2d_transpose: an image of {tuple(image)} has {outputs} windows, expected the {tuple(x.shape[1:3])} of x"
        )


def expect_per_channel(operation: str, x: Array, **arrays: Array) -> None:
    """ValueError unless each of the arrays has one number for each channel of x."""
    for name, array in arrays.items():
        expect(f"{operation} {name}", array, x.shape[-1:])


def expect_alike(what: str, *arrays: Array | None) -> None:
    """ValueError unless all arrays that are not None have one shape, and a kernel reads them as they are."""
    first, *others = [array for array in arrays if array is not None]
    for array in others:
        expect(what, array, first.shape)
    if not uniform(first, *others):
        raise ValueError(f"{what}: expected contiguous arrays of one number type, float32 or float64")


def uniform(*arrays: Array) -> bool:
    """Whether the arrays are contiguous and of one number type that kernels compute in."""
    dtype = arrays[0].dtype
    return dtype.char in "fd" and all(array.flags.c_contiguous and array.dtype == dtype for array in arrays)


def drop_threshold(rate: float) -> int:
    """Random bits below this number mean "dropped"."""
    return min(int(float(rate) * 2**32), 2**32 - 1)


def alpha_scale(rate: float) -> float:
    """a (1 - rate) of `Ops.alpha_dropout`."""
    return math.sqrt((1 - float(rate)) / (1 + float(rate) * SELU_LEAST**2))


def spread(rate: float) -> float:
    """The standard deviation of the factors of `Ops.gaussian_dropout`."""
    return math.sqrt(float(rate) / (1 - float(rate)))

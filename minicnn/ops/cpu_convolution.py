"""The three ways in which the CPU convolves: each fills y, and computes both gradients, for one geometry.

`choose` takes the cheapest: a dense layer where there is one window only, Winograd's algorithm where it saves work and
the precision allows it, else the direct kernels, which serve every geometry and number type.
"""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..kernels import convolution, winograd
from .reference import Array, Pads, Pair
from .tasks import MULTIPLY_ADDS, groups, over

if TYPE_CHECKING:
    from .cpu import CpuOps

NO_PADS: Pads = ((0, 0), (0, 0))


class Geometry(NamedTuple):
    """All sizes of a convolution but that of the batch."""

    image: Pair  # H, W
    channels: int
    kernel: Pair  # KH, KW
    filters: int
    strides: Pair
    pads: Pads
    dilation: Pair

    @classmethod
    def of(cls, x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair) -> "Geometry":
        KH, KW, C, F = kernel.shape
        return cls(x.shape[1:3], C, (KH, KW), F, strides, pads, dilation)

    @property
    def padded(self) -> Pair:
        """Height and width of the image with its zeros."""
        (top, bottom), (left, right) = self.pads
        return top + self.image[0] + bottom, left + self.image[1] + right

    @property
    def outputs(self) -> Pair:
        """OH, OW."""
        sizes = zip(self.padded, self.kernel, self.dilation, self.strides, strict=True)
        OH, OW = ((length - (k - 1) * d - 1) // s + 1 for length, k, d, s in sizes)
        return OH, OW

    def groups(self, images: int) -> list[tuple[int, int]]:
        """The parts of a batch that are convolved as one task."""
        multiply_adds = prod(self.outputs) * prod(self.kernel) * self.channels * self.filters
        return groups(images, multiply_adds, MULTIPLY_ADDS)


class Algorithm(Protocol):
    """What `choose` returns."""

    def forward(self, ops: "CpuOps", x: Array, kernel: Array, bias: Array | None, relu: bool, y: Array) -> None: ...

    def backward(
        self, ops: "CpuOps", dy: Array, y: Array | None, x: Array, kernel: Array, dx: Array | None
    ) -> tuple[Array, Array]:
        """Fills dx, if it is wanted, and returns dkernel and dbias; y is the result of a ReLU, if there was one."""
        ...


def choose(geometry: Geometry, dtype: str, precision: str) -> Algorithm:
    plain = geometry.strides == (1, 1) and geometry.dilation == (1, 1)
    if geometry.image == geometry.kernel and geometry.pads == NO_PADS and geometry.dilation == (1, 1):
        return OneWindow(geometry)
    if precision == "fast" and plain:
        m = winograd.choose(dtype, geometry.outputs, geometry.kernel, geometry.channels, geometry.filters)
        if m:
            return Winograd(geometry, m, dtype)
    return Direct(geometry)


def empty_image(dtype: Any) -> np.ndarray:
    """Tells a kernel that an image is not there."""
    return np.empty((0, 0, 0, 0), dtype)


class OneWindow:
    """A kernel as large as the image: a dense layer on flattened images."""

    def __init__(self, geometry: Geometry) -> None:
        self.inputs, self.filters = geometry.image[0] * geometry.image[1] * geometry.channels, geometry.filters

    def forward(self, ops: "CpuOps", x: Array, kernel: Array, bias: Array | None, relu: bool, y: Array) -> None:
        dense = ops.dense_relu if relu else ops.dense
        y[:, 0, 0], _ = dense(x.reshape(-1, self.inputs), kernel.reshape(-1, self.filters), bias)

    def backward(
        self, ops: "CpuOps", dy: Array, y: Array | None, x: Array, kernel: Array, dx: Array | None
    ) -> tuple[Array, Array]:
        if y is not None:
            dy = ops.relu_backward(dy, (y, None))
        dy, x = dy.reshape(-1, self.filters), x.reshape(-1, self.inputs)
        found, dkernel, dbias = ops.dense_backward(dy, kernel.reshape(-1, self.filters), x, dx is not None)
        if dx is not None and found is not None:
            dx[...] = found.reshape(dx.shape)
        return dkernel.reshape(kernel.shape), dbias


class Direct:
    """The definition's multiplications, image by image on the register tile."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry

    def scratch(self, ops: "CpuOps", dtype: Any) -> Array:
        """Room for one padded image; nothing where there is no padding."""
        g = self.geometry
        return ops.empty((*g.padded, g.channels) if g.padded != g.image else (0, 0, 0), dtype)

    def forward(self, ops: "CpuOps", x: Array, kernel: Array, bias: Array | None, relu: bool, y: Array) -> None:
        g = self.geometry
        plan = convolution.forward_plan(
            x.dtype.name, g.padded, g.channels, g.kernel, g.filters, g.outputs, g.strides, g.dilation,
            start=0 if bias is None else 1, relu=int(relu),
        )  # fmt: skip
        start = np.empty(0, x.dtype) if bias is None else bias

        def task(_: int, first: int, last: int) -> None:
            padded = self.scratch(ops, x.dtype)
            convolution.convolve(x, first, last, g.pads[0][0], g.pads[1][0], padded, plan, kernel, start, y)

        over(g.groups(len(x)), task)

    def backward(
        self, ops: "CpuOps", dy: Array, y: Array | None, x: Array, kernel: Array, dx: Array | None
    ) -> tuple[Array, Array]:
        g, name = self.geometry, x.dtype.name
        dy_pads, input_plan, flipped = NO_PADS, np.empty((0, 0), np.int64), np.empty(0, x.dtype)
        if dx is not None:
            input_plan, order, dy_pads = convolution.input_gradient_plan(
                name, g.image, g.pads, g.channels, g.kernel, g.filters, g.outputs, g.strides, g.dilation
            )
            flipped = convolution.flipped_kernel(kernel, order)
            if len(order) < g.strides[0] * g.strides[1]:
                dx.fill(0)  # there are pixels that no window touches
        (dy_top, dy_bottom), (dy_left, dy_right) = dy_pads
        dy_image = dy_top + g.outputs[0] + dy_bottom, dy_left + g.outputs[1] + dy_right
        kernel_plan = convolution.kernel_gradient_plan(
            name, g.padded, g.channels, g.kernel, g.filters, g.outputs, g.strides, g.dilation, dy_image[1]
        )
        result, gradient = (empty_image(x.dtype) if array is None else array for array in (y, dx))
        cuts = g.groups(len(x))
        dkernels = ops.empty((len(cuts), *kernel.shape), x.dtype)
        dbiases = ops.empty((len(cuts), g.filters), x.dtype)

        def task(number: int, first: int, last: int) -> None:
            padded, padded_dy = self.scratch(ops, x.dtype), ops.empty((*dy_image, g.filters), x.dtype)
            convolution.convolve_backward(
                x, first, last, g.pads[0][0], g.pads[1][0], padded, dy, result, dy_top, dy_left, padded_dy,
                kernel_plan, dkernels[number], dbiases[number], input_plan, flipped, gradient,
            )  # fmt: skip

        over(cuts, task)
        return dkernels.sum(axis=0), dbiases.sum(axis=0)


class Winograd:
    """F(m×m, r×r), a few images at a time; see `kernels/winograd.py`."""

    def __init__(self, geometry: Geometry, m: int, dtype: str) -> None:
        self.geometry, self.m, self.r, self.dtype = geometry, m, geometry.kernel[0], dtype
        self.T = m + self.r - 1
        OH, OW = geometry.outputs
        self.down, self.across = -(-OH // m), -(-OW // m)  # patches of an image

    def functions(self, *kinds: str) -> np.ndarray:
        return np.array([winograd.transformation(self.dtype, kind, self.m, self.r) for kind in kinds])

    def transform_kernel(self, ops: "CpuOps", kind: str, source: Array, side: int) -> Array:
        """(i, j, C·F) to (side, side, C·F): a kernel to its planes, or the gradient of the planes to that of a kernel."""
        (function,) = self.functions(kind)
        target = ops.empty((side, side, source.shape[2]), source.dtype)
        parts = groups(source.shape[2], self.T**2, unit=winograd.UNIT)
        over(parts, lambda _, first, last: winograd.transform_channels(function, source, target, first, last))
        return target

    def planes(self, ops: "CpuOps", kernel: Array) -> Array:
        """U, (T·T, C, F)."""
        g = self.geometry
        U = self.transform_kernel(ops, "kernel", kernel.reshape(self.r, self.r, -1), self.T)
        return U.reshape(-1, g.channels, g.filters)

    def rooms(self, images: int) -> tuple[int, Sequence[np.ndarray], Sequence[np.ndarray]]:
        """How many images are computed together, and the plans for so many and for what is left at the end."""
        patches = self.down * self.across
        room = max(1, min(images, -(-winograd.PATCHES // patches)))
        sizes = self.dtype, self.m, self.r, room * patches
        channels, filters = self.geometry.channels, self.geometry.filters
        plans = winograd.plans(*sizes, room * patches, channels, filters)
        left = images % room * patches
        return room, plans, winograd.plans(*sizes, left, channels, filters) if left else plans

    def padded(self, ops: "CpuOps", room: int, channels: int, dtype: Any, border: int) -> Array:
        """Room for images that consist of whole patches, with a border."""
        return ops.empty((room, self.down * self.m + border, self.across * self.m + border, channels), dtype)

    def forward(self, ops: "CpuOps", x: Array, kernel: Array, bias: Array | None, relu: bool, y: Array) -> None:
        g, T = self.geometry, self.T
        functions = self.functions("patch", "output")
        U = self.planes(ops, kernel)
        start = np.zeros(g.filters, x.dtype) if bias is None else bias

        def task(number: int, first: int, last: int) -> None:
            room, (plan, _, _), (rest, _, _) = self.rooms(last - first)
            patches = room * self.down * self.across
            V, M = (ops.empty((T, T, patches, channels), x.dtype) for channels in (g.channels, g.filters))
            padded = self.padded(ops, room, g.channels, x.dtype, self.r - 1)
            results = self.padded(ops, room, g.filters, x.dtype, 0)
            winograd.convolve(
                x, first, last, g.pads[0][0], g.pads[1][0], self.m, self.down, self.across, functions,
                plan, rest, U, start, int(relu), padded, V, M, results, y,
            )  # fmt: skip

        over(g.groups(len(x)), task)

    def backward(
        self, ops: "CpuOps", dy: Array, y: Array | None, x: Array, kernel: Array, dx: Array | None
    ) -> tuple[Array, Array]:
        g, T = self.geometry, self.T
        functions = self.functions("patch", "output gradient", "patch gradient")
        Ut = np.ascontiguousarray(self.planes(ops, kernel).transpose(0, 2, 1))  # (T·T, F, C)
        result, gradient = (empty_image(x.dtype) if array is None else array for array in (y, dx))
        cuts = g.groups(len(x))
        dU = ops.empty((len(cuts), T, T, g.channels * g.filters), x.dtype)
        dbiases = ops.empty((len(cuts), g.filters), x.dtype)

        def task(number: int, first: int, last: int) -> None:
            room, (_, kernel_plan, input_plan), (_, kernel_rest, input_rest) = self.rooms(last - first)
            patches = room * self.down * self.across
            V, Z = (ops.empty((T, T, patches, channels), x.dtype) for channels in (g.channels, g.filters))
            padded, padded_dx = (self.padded(ops, room, g.channels, x.dtype, self.r - 1) for _ in range(2))
            padded_dy = self.padded(ops, room, g.filters, x.dtype, 0)
            winograd.convolve_backward(
                x, first, last, g.pads[0][0], g.pads[1][0], self.m, self.down, self.across, functions,
                padded, V, dy, result, padded_dy, Z, kernel_plan, kernel_rest, dU[number], dbiases[number],
                input_plan, input_rest, Ut, padded_dx, gradient,
            )  # fmt: skip

        over(cuts, task)
        dkernel = self.transform_kernel(ops, "kernel gradient", dU.sum(axis=0), self.r)
        return dkernel.reshape(kernel.shape), dbiases.sum(axis=0)

"""Convolution and dense layers on an NVIDIA GPU, all of them one product: `minicnn/cuda/gemm.cuh`.

In float32 the factors are rounded to TF32, whose 10 bits of mantissa the tensor cores multiply, unless
`minicnn.set_precision("exact")` is said; sums are float32. The result then differs from the definition by up to 2⁻¹⁰ of the
sum of the products' absolute values (and float32's own rounding). float64 is always exact.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .gpu_kernels import KernelOps, address
from .reference import Array, Pads, Pair, Saved, expect, expect_transposed, expect_weights, positions


@dataclass(frozen=True)
class Tile:
    """How a block of threads goes through a product: rows and columns, those of one warp, depth, and stages of copies."""

    BM: int
    BN: int
    WM: int
    WN: int
    BK: int
    STAGES: int

    def blocks(self, rows: int, columns: int) -> int:
        return -(-rows // self.BM) * -(-columns // self.BN)

    @property
    def threads(self) -> int:
        return self.BM // self.WM * (self.BN // self.WN) * 32

    def shared(self, dtype: Any, transposed: bool) -> int:
        """Bytes of shared memory, with the padding of `A_STRIDE` and `B_STRIDE` in gemm.cuh."""
        a = self.BK * (self.BM + 8) if transposed else self.BM * (self.BK + 4)
        return self.STAGES * (a + self.BK * (self.BN + 8)) * np.dtype(dtype).itemsize

    def shared_run(self, length: int) -> int:
        """The same in convolution_runs.cu, of runs of so many pixels."""
        return 4 * (self.BK + 24 + 2 * length * (self.BK + 4) + self.STAGES * self.BK * (self.BN + 8))

    @property
    def resident(self) -> int:
        """Blocks that a processor has registers for: 65,536, of which a thread takes 255 or, with fewer sums, 128."""
        return (256 if self.WM * self.WN > 2048 else 512) // self.threads

    def macros(self, together: Pair, fast: bool) -> dict[str, int]:
        """What the kernels are compiled with; together: how many numbers of A, and of B, are copied together."""
        resident = self.resident if fast and together[0] > 1 else 1  # else there is nothing to gain
        return vars(self) | {"VEC_A": together[0], "VEC_B": together[1], "FAST": int(fast), "BLOCKS": resident}


TILES = [  # the largest first; four stages would take memory from the L1 cache
    Tile(128, 64, 64, 32, 16, 3),
    Tile(64, 64, 32, 32, 16, 3),
    Tile(128, 32, 32, 32, 16, 3),
    Tile(64, 32, 32, 32, 16, 3),
]
LARGE = [  # for tensor cores and wide copies: the registers hold the sums of few blocks, but shared memory is read less
    Tile(128, 256, 64, 64, 16, 3),
    Tile(128, 128, 64, 64, 16, 3),
    Tile(256, 64, 64, 64, 16, 3),
]
DOUBLE = [Tile(64, 64, 32, 32, 16, 2), Tile(64, 32, 32, 32, 16, 2)]
LEAST_DEPTH = 8  # of a tile, BK: a smaller share of a sum is not worth a block of its own
FULL = 0.7  # of the processors: where so many have a block, tiles need not be smaller
MANY = 4  # shares: where so many processors have a block anyway, fewer are not worth adding up
ROOM = 296 * 1024  # bytes of shared memory for all resident blocks with runs: of the 228 KiB for three quarters of them
MOST = 99 * 1024  # for one block: as much as the smallest processors have, from sm_80 on
MOST_PIXELS = 2**31 - 2**16  # of a product, which the kernels number, and some of a block beyond the last one
MOST_TAPS = 15  # along an axis, of which a kernel with runs has a bit each
THIN = 16  # terms of an output, up to which a kernel's gradient does without tensor cores
DEEP = 1024  # terms of a sum for which writing it, and reading it again to add the shares, costs little


@dataclass(frozen=True)
class Geometry:
    """Where the window of each output pixel lies in an image: the arguments of the kernels, in their order."""

    H: int
    W: int
    C: int
    OH: int
    OW: int
    F: int
    KH: int
    KW: int
    up: Pair
    step: Pair
    offset: Pair
    down: Pair = (1, 1)  # see convolution.cu

    @property
    def K(self) -> int:
        return self.KH * self.KW * self.C

    @property
    def longest(self) -> int:
        """The length of the longest sum of all phases; without `down`, every tap times C."""
        settings = zip((self.KH, self.KW), self.step, self.down, strict=True)
        return math.prod(-(-taps * math.gcd(step, down) // down) for taps, step, down in settings) * self.C

    @property
    def arguments(self) -> tuple[int, ...]:
        sizes = self.H, self.W, self.C, self.OH, self.OW, self.F, self.KH, self.KW
        return *sizes, *self.up, *self.step, *self.offset

    def turned(self) -> "Geometry":
        """Of the gradient of the input."""
        return Geometry(
            self.OH, self.OW, self.F, self.H, self.W, self.C, self.KH, self.KW,
            (1, 1), (-self.step[0], -self.step[1]), (-self.offset[0], -self.offset[1]), self.up,
        )  # fmt: skip


@lru_cache(1024)
def longest_run(g: Geometry, N: int, BM: int) -> int:
    """The most pixels in a run of convolution_runs.cu: from the first to the last that a block of BM outputs sees in N images."""
    first, pixels, ends = np.arange(0, N * g.OH * g.OW, BM), N * g.OH * g.OW, []
    for pixel, farthest, more in ((first, min, 0), (np.minimum(first + BM, pixels) - 1, max, 1)):
        row, j = np.divmod(pixel, g.OW)
        n, i = np.divmod(row, g.OH)
        y = i * g.up[0] + g.offset[0] + farthest(0, (g.KH - 1) * g.step[0])
        x = j * g.up[1] + g.offset[1] + farthest(0, (g.KW - 1) * g.step[1]) + more
        x = np.where((y >= 0) & (y < g.H), np.clip(x, 0, g.W), 0)
        ends.append((n * g.H + np.clip(y, 0, g.H)) * g.W + x)
    return int((ends[1] - ends[0]).max())


def together(array: Array, neighbours: int) -> int:
    """How many consecutive numbers of the last axis one copy moves: 16 bytes of them, if length and alignment allow, or one."""
    wide = 16 // array.dtype.itemsize
    return wide if neighbours % wide == 0 and address(array) % 16 == 0 else 1


class ConvolutionOps(KernelOps):
    # ------------------------------------------------------------------ padding and columns

    def im2col(self, x: Array, size: Pair, strides: Pair, pads: Pads, dilation: Pair) -> Array:
        (x,) = self.alike(x)
        N, H, W, C = x.shape
        OH, OW = positions(x.shape[1:3], pads, size, strides, dilation)
        columns = self.empty((N, OH, OW, size[0] * size[1] * C), x.dtype)
        self._columns("im2col", x, columns, x.shape, (OH, OW), size, strides, pads, dilation)
        return columns

    def col2im(self, columns: Array, x_shape: Any, size: Pair, strides: Pair, pads: Pads, dilation: Pair) -> Array:
        outputs = positions(x_shape[1:3], pads, size, strides, dilation)
        (columns,) = self.alike(columns.reshape(x_shape[0], *outputs, math.prod(size) * x_shape[3]))
        x = self.empty(x_shape, columns.dtype)
        self._columns("col2im", columns, x, x_shape, outputs, size, strides, pads, dilation)
        return x

    def _columns(
        self, name: str, source: Array, target: Array, x_shape: Any, outputs: Any, size: Pair, strides: Pair, pads: Pads,
        dilation: Pair,
    ) -> None:  # fmt: skip
        corner = pads[0][0], pads[1][0]
        self._each(
            "convolution_parts", name, source.dtype, target.size, source, target, np.int64(target.size), *x_shape[1:],
            *outputs, *size, *strides, *dilation, *corner,
        )  # fmt: skip

    # ------------------------------------------------------------------ convolution

    def conv2d(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        return self._convolve(x, kernel, bias, strides, pads, dilation, relu=False)

    def conv2d_relu(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair
    ) -> tuple[Array, Saved]:
        return self._convolve(x, kernel, bias, strides, pads, dilation, relu=True)

    def _convolve(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair, relu: bool
    ) -> tuple[Array, Saved]:
        x, kernel, bias = self.alike(x, kernel, bias)
        N, H, W, C = x.shape
        KH, KW, _, F = kernel.shape
        expect_weights("conv2d", kernel, (KH, KW, C, F), bias, F)
        OH, OW = positions(x.shape[1:3], pads, (KH, KW), strides, dilation)
        if min(OH, OW) < 1:
            raise ValueError(f"conv2d: a kernel of shape {kernel.shape} does not fit into an input of shape {x.shape}")
        y = self.empty((N, OH, OW, F), x.dtype)
        if (KH, KW, *strides, OH, OW) == (1, 1, 1, 1, H, W):
            geometry = rows(N * H * W, C, F)
        else:
            geometry = Geometry(H, W, C, OH, OW, F, KH, KW, strides, dilation, (-pads[0][0], -pads[1][0]))
        return y, self._forward(geometry, x, kernel, bias, y, relu)

    def _forward(self, geometry: Geometry, x: Array, kernel: Array, bias: Array | None, y: Array, relu: bool) -> Saved:
        ahead, mark = None, self.kernels.mark()
        self._product(geometry, x, kernel, bias, y, relu)
        if self.chained:  # so that the backward pass need not wait; whether it needs this at all is known only there
            with self.kernels.beside(mark):
                ahead = kernel, self._swapped(geometry.turned(), kernel)  # both must be there until the join
        before = self.relu_of(x)
        return x, y, kernel.shape, before, relu, self.rectified(y) if relu else None, geometry, ahead

    def conv2d_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        x, y, kernel_shape, before, relu, own, geometry, ahead = saved
        operation = "conv2d" if len(kernel_shape) == 4 else "dense"
        expect(f"{operation} gradient", dy, y.shape)
        expect(f"{operation} kernel", kernel, kernel_shape)
        dy, kernel = (self.xp.ascontiguousarray(array, x.dtype) for array in (dy, kernel))  # the type of the forward
        if relu and (own is None or own.undo()):
            dy, given = self.empty(dy.shape, dy.dtype), dy
            self._each("convolution_parts", "where_positive", dy.dtype, dy.size, given, y, dy, np.int64(dy.size))
        self.kernels.join()
        room = self.rooms.get(address(kernel))
        if not input_gradient:
            dkernel, dbias = self._kernel_gradient(geometry, x, dy, room)
            return None, dkernel.reshape(kernel.shape), dbias
        mark = self.kernels.mark()
        dx, turned = self.empty(x.shape, x.dtype), geometry.turned()
        positive = x if before is not None and before.undo() else None
        swapped = self._swapped(turned, kernel) if ahead is None else ahead[1]
        self._product(turned, dy, swapped, None, dx, False, positive)
        with self.kernels.beside(mark):
            dkernel, dbias = self._kernel_gradient(geometry, x, dy, room)
        self.kernels.join()
        return dx, dkernel.reshape(kernel.shape), dbias

    conv2d_relu_backward = dense_backward = dense_relu_backward = conv2d_backward

    def conv2d_transpose(
        self, x: Array, kernel: Array, bias: Array | None, strides: Pair, pads: Pads, dilation: Pair, image: Pair
    ) -> tuple[Array, Saved]:
        x, kernel, bias = self.alike(x, kernel, bias)
        expect_transposed(x, kernel, bias, strides, pads, dilation, image)
        (N, H, W, C), (KH, KW, F, _) = x.shape, kernel.shape
        geometry = Geometry(*image, F, H, W, C, KH, KW, strides, dilation, (-pads[0][0], -pads[1][0]))
        y, turned = self.empty((N, *image, F), x.dtype), geometry.turned()
        self._product(turned, x, self._swapped(turned, kernel), bias, y, False)
        return y, (x, y.shape, kernel.shape, self.relu_of(x), geometry)

    def conv2d_transpose_backward(
        self, dy: Array, kernel: Array, saved: Saved, input_gradient: bool = True
    ) -> tuple[Array | None, Array, Array]:
        x, y_shape, kernel_shape, before, geometry = saved
        expect("conv2d_transpose gradient", dy, y_shape)
        expect("conv2d_transpose kernel", kernel, kernel_shape)
        dy, kernel = (self.xp.ascontiguousarray(array, x.dtype) for array in (dy, kernel))
        dkernel, _ = self._kernel_gradient(geometry, dy, x)  # x is the gradient of what a convolution makes of dy
        dx = None
        if input_gradient:
            dx, positive = self.empty(x.shape, x.dtype), x if before is not None and before.undo() else None
            self._product(geometry, dy, kernel, None, dx, False, positive)
        return dx, dkernel.reshape(kernel.shape), dy.sum(axis=(0, 1, 2))

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
        geometry = rows(y.size // F if F else 0, C, F)
        return y, self._forward(geometry, x, kernel, bias, y, relu)

    # ------------------------------------------------------------------ the product

    def _product(
        self, geometry: Geometry, x: Array, kernel: Array, bias: Array | None, y: Array, relu: bool,
        positive: Array | None = None,
    ) -> None:  # fmt: skip
        """y = im2col(x) · kernel + bias, and ReLU; 0 where `positive`, an array like y, is not positive."""
        g = geometry
        if y.size == 0:
            return
        N, phases = y.size // (g.OH * g.OW * g.F), g.down[0] * g.down[1]
        if N * max(g.H * g.W, g.OH * g.OW) > MOST_PIXELS:
            raise ValueError(
                f"a convolution of {N:,} images has too many pixels, expected {MOST_PIXELS:,}: use smaller batches"
            )
        pixels = N * -(-g.OH // g.down[0]) * -(-g.OW // g.down[1])  # of the first phase, the largest
        neighbours = together(x, g.C), together(kernel, g.F)
        tile, depth, shares = self._divide(x.dtype, pixels, g.F, g.longest, neighbours[0] > 1, phases)
        run = self._run(g, N, tile) if neighbours[0] > 1 and self._fast(x.dtype) else 0
        if run:  # a share is made of whole groups of channels
            depth = -(-depth // (g.KH * g.KW))
            shares = -(-g.C // (depth * tile.BK))
        out = self.empty((shares * y.size,), x.dtype) if shares > 1 else y
        finish = (None, None, out, False) if shares > 1 else (bias, positive, out, relu)
        arguments, grid = (x, kernel, *finish, N, *g.arguments), (tile.blocks(pixels, g.F), phases, shares)
        if run:
            shared, arguments = tile.shared_run(run), (*arguments, depth)
            self._launch("convolution_runs", "conv2d_runs", tile, grid, neighbours, shared, x.dtype, arguments)
        else:
            shared, arguments = tile.shared(x.dtype, False), (*arguments, *g.down, depth)
            self._launch("convolution", "conv2d", tile, grid, neighbours, shared, x.dtype, arguments)
        if shares > 1:
            self._sum(out, bias, positive, y, relu, shares, g.F)

    def _run(self, g: Geometry, N: int, tile: Tile) -> int:
        """How many pixels a block copies once for all taps, see convolution_runs.cu; 0: those of every tap anew."""
        taps = g.KH * g.KW
        if g.C % tile.BK or g.down != (1, 1) or taps <= tile.STAGES or max(g.KH, g.KW) > MOST_TAPS:
            return 0
        run = longest_run(g, N, tile.BM)
        worth = 2 * run <= taps * tile.BM  # half of what all taps copy
        return run if worth and tile.shared_run(run) <= min(MOST, ROOM // tile.resident) else 0

    def _kernel_gradient(
        self, geometry: Geometry, x: Array, dy: Array, room: Array | None = None
    ) -> tuple[Array, Array]:
        """im2col(x)ᵀ · dy (K, F), and the sum of the rows of dy (F,); in `room`, if that is given."""
        g = geometry
        gradients = self.empty((g.K * g.F + g.F,), x.dtype) if room is None else room
        if dy.size == 0:
            gradients.fill(0)
        else:
            self._sum_over_pixels(g, x, dy, gradients)
        return gradients[: g.K * g.F], gradients[g.K * g.F :]

    def _sum_over_pixels(self, g: Geometry, x: Array, dy: Array, gradients: Array) -> None:
        """Both gradients, one after the other; the pixels are shared among blocks, whose sums are added up."""
        pixels = dy.size // g.F
        if g.K <= THIN:
            wide = min(32, 1 << (g.F - 1).bit_length())  # filters of a block
            columns, steps = -(-g.F // wide), -(-pixels // 256)
            depth = 256 * -(-steps // max(1, min(steps, 2 * self.kernels.processors // columns)))
            shares = -(-pixels // depth)
        else:
            neighbours = together(x, g.C), together(dy, g.F)
            tile, depth, shares = self._divide(x.dtype, g.K, g.F, pixels, neighbours[0] > 1)
        out = self.empty((shares * gradients.size,), x.dtype) if shares > 1 else gradients
        arguments = x, dy, out, pixels, *g.arguments, depth
        if g.K <= THIN:
            self.kernels.launch(
                "convolution_thin", "conv2d_gradient_thin", x.dtype, (columns, 1, shares), (256,), arguments, TERMS=g.K, WIDE=wide
            )  # fmt: skip
        else:
            grid, shared = (tile.blocks(g.K, g.F), 1, shares), tile.shared(x.dtype, True)
            self._launch("convolution_gradient", "conv2d_gradient", tile, grid, neighbours, shared, x.dtype, arguments)
        if shares > 1:
            self._sum(out, None, None, gradients, False, shares, g.F)

    def _swapped(self, turned: Geometry, kernel: Array) -> Array:
        """The kernel for the gradient of the input: channels and filters in each other's place, the taps as it meets them."""
        t = turned
        swapped = self.empty((t.KH * t.KW, t.C, t.F), kernel.dtype)
        if kernel.size:
            squares = -(-t.C // 32) * -(-t.F // 32)  # in grid.x, which alone may be larger than 65,535
            self.kernels.launch(
                "convolution_parts", "swap_channels", kernel.dtype, (squares, t.KH * t.KW), (32, 8),
                (kernel, swapped, t.F, t.C, t.KH, t.KW, *t.step, *t.offset, *t.down),
            )  # fmt: skip
        return swapped

    def _sum(
        self, parts: Array, bias: Array | None, positive: Array | None, out: Array, relu: bool, shares: int, F: int
    ) -> None:
        rows = 32 if shares > 64 else 8
        self.kernels.launch(
            "convolution_parts", "sum_parts", out.dtype, (-(-out.size // 32),), (32, rows),
            (parts, bias, positive, out, relu, shares, out.size, F),
        )  # fmt: skip

    def _launch(
        self, file: str, name: str, tile: Tile, grid: tuple[int, int, int], together: Pair, shared: int, dtype: Any,
        arguments: tuple[Any, ...],
    ) -> None:  # fmt: skip
        macros = tile.macros(together, self._fast(dtype))
        self.kernels.launch(file, name, dtype, grid, (tile.threads,), arguments, shared, **macros)

    def _fast(self, dtype: Any) -> bool:
        return dtype == np.float32 and self.precision == "fast"

    def _divide(
        self, dtype: Any, rows: int, columns: int, reduction: int, wide: bool, phases: int = 1
    ) -> tuple[Tile, int, int]:
        """(tile, depth, shares): a block sums `depth` steps of BK terms, so that `shares` blocks share every sum.

        wide: whether neighbours in the rows of A are copied together. Of the tiles that leave few processors without a block
        it is the one for which least is copied; where processors are left nevertheless, sums are shared.
        """
        processors = self.kernels.processors
        enough = FULL * processors  # blocks
        tiles = DOUBLE if dtype == np.float64 else LARGE + TILES if wide and self._fast(dtype) else TILES
        fitting = [  # not mostly empty
            t for t in tiles if (t.BN == 32 or columns > t.BN // 2) and (t.BM == 64 or rows > t.BM // 2)
        ]
        deep = max(1, reduction // DEEP)  # blocks that may share a sum at little cost
        full = [t for t in fitting if phases * t.blocks(rows, columns) * deep >= enough]
        tile = min(full or fitting[-1:], key=lambda t: t.blocks(rows, columns) * (t.BM + t.BN))  # the least to copy
        blocks, depths = phases * tile.blocks(rows, columns), max(1, -(-reduction // tile.BK))
        wanted = max(
            1, max(2, 256 // tile.threads) * processors // blocks
        )  # shares, for 256 threads or two blocks each
        if blocks >= enough and wanted < MANY:
            wanted = 1
        depth = -(-depths // min(wanted, max(1, depths // LEAST_DEPTH)))
        return tile, depth, -(-depths // depth)


def rows(number: int, C: int, F: int) -> Geometry:
    """A product of plain rows: one image, one line high."""
    return Geometry(1, number, C, 1, number, F, 1, 1, (1, 1), (1, 1), (0, 0))

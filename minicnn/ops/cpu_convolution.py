"""The ways in which the CPU convolves, as instructions: each gives y, and both gradients, for one geometry.

`choose` takes the cheapest: a dense layer where there is one window only, Winograd's algorithm where it saves work and the
precision allows it, a dense layer on the columns of im2col where the kernel is large and windows are few, else the direct
kernels, which serve every geometry and number type. A transposed convolution takes these forward, and for its gradients,
which are a convolution's output and its kernel's gradient, the cheapest.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..kernels import arrays, convolution, product, winograd
from ..kernels.product import table
from ..kernels.simd import BIAS
from ..tape import FRESH, LANES, LAST, Buffer, Constant, Each, Far, Fitted, Part, Place, Tape, Times, cut, pieces
from .cpu_dense import Dense
from .instructions import add_up
from .reference import NO_PADS, Array, Pads, Pair, positions

LINE = 24  # pixels in a line that are enough for whole tiles
PARTIAL = 1 << 22  # the most numbers in all partial gradients of a kernel together
POINTS = 4096  # pixels of a batch that a dense layer goes through at once
BANDS = 16  # of all images of a batch together, where these are few
WORTH = 1 << 14  # multiply-adds of a band at least, or bytes
PRODUCT = 6  # patches in a product at least
UNCACHED = 1 << 19  # numbers in a kernel that no second-level cache holds
COLUMNS = 1 << 24  # numbers in the columns of a batch at most


def bands_of(images: int, lines: int, work: int) -> int:
    """Into how many bands of equally many lines an image is cut; `work` is its multiply-adds, or bytes that are gone through."""
    most = min(BANDS // images, work // WORTH) if 0 < images <= winograd.FEW else 1
    return max((bands for bands in range(1, min(most, lines) + 1) if lines % bands == 0), default=1)


def in_bands(images: Place, bands: int) -> Any:
    """Images (N, H, W, C) as (N · bands, H / bands, W, C)."""
    if bands == 1:
        return images
    N, H, W, C = images.shape
    shape = N * bands, H // bands, W, C
    return images.reshape(shape) if isinstance(images, np.ndarray) else images.reshaped(*shape)


class Geometry(NamedTuple):
    """All sizes of a convolution but that of the batch."""

    image: Pair  # H, W
    channels: int
    kernel: Pair  # KH, KW
    filters: int
    strides: Pair
    pads: Pads
    dilation: Pair
    apart: int = 0  # filters of each channel, where channels stay apart
    transposed: bool = False  # whether it is done backwards: from what comes out of it to images of these sizes

    @classmethod
    def of(
        cls, image: Pair, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, apart: bool = False,
        transposed: bool = False,
    ) -> "Geometry":  # fmt: skip
        KH, KW, C, F = kernel.shape
        if apart and C > 1:
            return cls(image, C, (KH, KW), C * F, strides, pads, dilation, F)
        if (KH, KW) == (1, 1) and strides == (1, 1) and pads == NO_PADS and image[1] < LINE:
            image = (1, image[0] * image[1])  # a product of matrices: all pixels are one line
        return cls(image, C, (KH, KW), F, strides, pads, dilation, transposed=transposed)

    @property
    def padded(self) -> Pair:
        """Height and width of the image with its zeros."""
        (top, bottom), (left, right) = self.pads
        return top + self.image[0] + bottom, left + self.image[1] + right

    @property
    def outputs(self) -> Pair:
        """OH, OW."""
        return positions(self.image, self.pads, self.kernel, self.strides, self.dilation)

    def bands(self, images: int) -> int:
        """The parts of its output that an image is cut into, of equally many lines: more than one where images are few."""
        work = prod(self.outputs) * prod(self.kernel) * self.filters * (1 if self.apart else self.channels)
        return bands_of(images, self.outputs[0], work)


class Convolution(Protocol):
    """What `choose` returns: emits instructions on a tape.

    `prepare_forward` comes before `forward`, `prepare_backward` before a `backward` that is to give dx. `backward`
    leaves partial sums, which the function it returns adds up; y is the result of a ReLU, or None where there was none.
    """

    by_image: bool  # whether x is read image by image

    def prepare_forward(self, tape: Tape, kernel: Array) -> None: ...

    def prepare_backward(self, tape: Tape, kernel: Array) -> None: ...

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None: ...

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]: ...  # fmt: skip


def choose(geometry: Geometry, images: int, dtype: str, precision: str) -> Convolution:
    """The fastest of the ways to convolve so many images, as far as counting tells; "exact" leaves Winograd's out."""
    if geometry.apart:
        return Depthwise(geometry, dtype)
    if geometry.transposed:
        return Transposed(geometry._replace(transposed=False), images, dtype, precision)
    if geometry.image == geometry.kernel and geometry.pads == NO_PADS and geometry.dilation == (1, 1):
        return OneWindow(geometry, dtype)
    pixels = images * geometry.image[0] * geometry.image[1]
    if geometry.kernel == geometry.strides == (1, 1) and geometry.pads == NO_PADS and pixels <= POINTS:
        return Pointwise(geometry, dtype)
    if precision == "fast" and geometry.dilation == (1, 1):
        g = geometry
        group = max(1, *(b - a for a, b in pairwise(cut(images))))
        m, whole = winograd.choose(dtype, g.outputs, g.kernel, g.strides, g.channels, g.filters, max(1, images), group)
        if m:
            return (WinogradBatch if whole else Winograd)(geometry, m, dtype)
    terms, windows = prod(geometry.kernel) * geometry.channels, images * prod(geometry.outputs)
    few = windows <= POINTS and terms * windows <= COLUMNS
    if few and terms * geometry.filters >= UNCACHED and images > winograd.FEW:
        return Im2col(geometry, dtype)
    return Direct(geometry, dtype)


def convolve(
    tape: Tape, x: Array, kernel: Array, bias: Array | None, y: Array, geometry: Geometry, precision: str, relu: bool
) -> None:
    algorithm = choose(geometry, len(x), tape.dtype, precision)
    algorithm.prepare_forward(tape, kernel)
    algorithm.forward(tape, x, bias, relu, y)


def convolve_backward(
    tape: Tape, dy: Array, y: Array | None, x: Array, kernel: Array, dx: Array | None, dkernel: Array, dbias: Array,
    geometry: Geometry, precision: str,
) -> None:  # fmt: skip
    algorithm = choose(geometry, len(x), tape.dtype, precision)
    if dx is not None:
        algorithm.prepare_backward(tape, kernel)
    algorithm.backward(tape, dy, y, x, kernel, dx, dkernel, dbias)()


class OneWindow:
    """A kernel as large as the image: a dense layer on flattened images."""

    by_image = False

    def __init__(self, geometry: Geometry, dtype: str) -> None:
        g = geometry
        self.dense = Dense(g.image[0] * g.image[1] * g.channels, g.filters, dtype)

    def prepare_forward(self, tape: Tape, kernel: Array) -> None:
        self.kernel = kernel

    def prepare_backward(self, tape: Tape, kernel: Array) -> None:
        pass

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        self.dense.forward(tape, x, self.kernel, bias, relu, y)

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]:  # fmt: skip
        self.dense.backward(tape, dy, y, x, kernel, dx, dkernel, dbias)
        return lambda: None


class Pointwise(OneWindow):
    """A kernel of one pixel: a dense layer on all pixels of the batch, where these are few."""

    def __init__(self, geometry: Geometry, dtype: str) -> None:
        self.dense = Dense(geometry.channels, geometry.filters, dtype)

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        super().forward(tape, as_rows(x), bias, relu, as_rows(y))

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]:  # fmt: skip
        y, dx = (None if place is None else as_rows(place) for place in (y, dx))
        return super().backward(tape, as_rows(dy), y, as_rows(x), kernel, dx, dkernel, dbias)


class Im2col:
    """A dense layer on the windows of all images, where the kernel is too large to be read for each of these."""

    by_image = True

    def __init__(self, geometry: Geometry, dtype: str) -> None:
        self.geometry = geometry
        self.dense = Dense(prod(geometry.kernel) * geometry.channels, geometry.filters, dtype)

    def prepare_forward(self, tape: Tape, kernel: Array) -> None:
        self.kernel = kernel

    def prepare_backward(self, tape: Tape, kernel: Array) -> None:
        pass

    def _sizes(self) -> dict[str, int]:
        g = self.geometry
        return {
            "H": g.image[0], "W": g.image[1], "C": g.channels, "KH": g.kernel[0], "KW": g.kernel[1], "SH": g.strides[0],
            "SW": g.strides[1], "DH": g.dilation[0], "DW": g.dilation[1], "top": g.pads[0][0], "left": g.pads[1][0],
            "OH": g.outputs[0], "OW": g.outputs[1],
        }  # fmt: skip

    def _room(self, tape: Tape, images: int) -> Buffer:
        return tape.buffer((images, *self.geometry.outputs, self.dense.inputs))

    def _columns(self, tape: Tape, x: Place) -> Buffer:
        columns = self._room(tape, len(x))
        tape.add(convolution.im2col, len(x), x=Each(x), columns=Each(columns), **self._sizes())
        return columns

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        self.dense.forward(tape, as_rows(self._columns(tape, x)), self.kernel, bias, relu, as_rows(y))

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]:  # fmt: skip
        columns, y = self._columns(tape, x), None if y is None else as_rows(y)
        if dx is None:
            self.dense.backward(tape, as_rows(dy), y, as_rows(columns), kernel, None, dkernel, dbias)
        else:
            dcolumns = self._room(tape, len(x))
            self.dense.backward(tape, as_rows(dy), y, as_rows(columns), kernel, as_rows(dcolumns), dkernel, dbias)
            tape.add(convolution.col2im, len(x), columns=Each(dcolumns), dx=Each(dx), **self._sizes())
        return lambda: None


def as_rows(images: Place) -> Place:
    """Images (N, H, W, C), or anything (…, C), as rows (N·H·W, C)."""
    shape = prod(images.shape[:-1]), images.shape[-1]
    return images.reshape(shape) if isinstance(images, np.ndarray) else images.reshaped(*shape)


class Direct:
    """The definition's multiplications, image by image on the register tile."""

    by_image = True
    apart = False

    def __init__(self, geometry: Geometry, dtype: str) -> None:
        self.geometry, self.dtype = geometry, dtype

    def prepare_forward(self, tape: Tape, kernel: Array) -> None:
        self.kernel = kernel

    def _input_gradient_plan(self, start: int = 0, relu: bool = False) -> tuple[np.ndarray, list[Any], Pads]:
        g = self.geometry
        return convolution.input_gradient_plan(
            self.dtype, g.image, g.pads, g.channels, g.kernel, g.filters, g.outputs, g.strides, g.dilation, self.apart,
            start, int(relu),
        )  # fmt: skip

    def prepare_backward(self, tape: Tape, kernel: Array) -> None:
        g = self.geometry
        self.input_plan, phases, self.dy_pads = self._input_gradient_plan()
        order = convolution.tap_order(phases, g.kernel[1])
        channels = 1 if self.apart else g.channels
        self.flipped = tape.whole(max(1, len(order)), g.filters, channels)
        tape.add(
            convolution.flip_kernel, len(order), cut(len(order)), 0,
            kernel=kernel, order=Constant(order), flipped=self.flipped, first=Times(1), C=channels, F=g.filters,
        )  # fmt: skip

    def _sizes(self) -> dict[str, int]:
        g = self.geometry
        return {
            "H": g.image[0], "W": g.image[1], "C": g.channels, "top": g.pads[0][0], "left": g.pads[1][0],
            "padded_width": g.padded[1],
        }  # fmt: skip

    def _padded(self, tape: Tape) -> Buffer | int:
        g = self.geometry
        return tape.cleared(*g.padded, g.channels) if g.padded != g.image else 0

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        g, bands = self.geometry, self.geometry.bands(len(x))
        if isinstance(y, Buffer):
            y.bands = bands
        lines = g.outputs[0] // bands
        plan = convolution.forward_plan(
            self.dtype, g.padded, g.channels, g.kernel, g.filters, (lines, g.outputs[1]), g.strides, g.dilation,
            start=0 if bias is None else BIAS, relu=int(relu), apart=self.apart,
        )  # fmt: skip
        common = {
            "weights": self.kernel, "bias": 0 if bias is None else bias, "plan": Constant(plan), "panels": len(plan),
            **self._sizes(),
        }  # fmt: skip
        y_band = lines * g.outputs[1] * g.filters * y.dtype.itemsize
        if bands == 1:
            tape.add(
                convolution.convolve, len(x), x=Each(x), y=Each(y), padded=self._padded(tape), y_image=y_band, **common
            )
            return
        reach = (lines - 1) * g.strides[0] + (g.kernel[0] - 1) * g.dilation[0] + 1
        tape.add(
            convolution.convolve_bands, bands * len(x), x=x, y=Each(in_bands(y, bands)), first=Times(1), bands=bands,
            step=lines * g.strides[0], reach=reach, y_band=y_band,
            padded=tape.cleared(reach, g.padded[1], g.channels) if g.padded != g.image else 0, **common,
        )  # fmt: skip

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]:  # fmt: skip
        g = self.geometry
        if self.by_columns:
            finish_columns = self._kernel_gradient_by_columns(tape, dy, y, x, dkernel, dbias)
            if dx is None:
                return finish_columns
        (dy_top, dy_bottom), (dy_left, dy_right) = self.dy_pads if dx is not None else NO_PADS
        dy_height, dy_width = dy_top + g.outputs[0] + dy_bottom, dy_left + g.outputs[1] + dy_right
        kernel_plan = self._kernel_gradient_plan(dy_width)
        cuts = cut(len(x), max(2, min(tape.groups, PARTIAL // dkernel.size)))
        parts = len(cuts) - 1
        dkernels = tape.whole(parts, *dkernel.shape)
        dbiases = tape.whole(parts, g.filters)
        copied = y is not None or (dy_height, dy_width) != g.outputs
        input_gradient: dict[str, Any] = {"flipped": 0, "dx": 0, "input_plan": 0, "input_panels": 0}
        if dx is not None:
            input_gradient = {
                "flipped": self.flipped, "dx": Each(dx), "input_plan": Constant(self.input_plan),
                "input_panels": len(self.input_plan),
            }  # fmt: skip
        tape.add(
            convolution.convolve_backward, len(x), cuts,
            fresh=FRESH, x=Each(x), dy=Each(dy), y=0 if y is None else Each(y), padded=self._padded(tape),
            padded_dy=tape.cleared(dy_height, dy_width, g.filters) if copied else 0,
            dkernel=Part(dkernels), dbias=Part(dbiases), kernel_plan=Constant(kernel_plan),
            kernel_panels=0 if self.by_columns else len(kernel_plan),
            OH=g.outputs[0], OW=g.outputs[1], F=g.filters, dy_top=dy_top, dy_left=dy_left, dy_width=dy_width,
            weights=dkernel.size, **input_gradient, **self._sizes(),
        )  # fmt: skip

        def finish() -> None:
            add_up(tape, dkernels, dkernel)
            if dbias is not None:
                add_up(tape, dbiases, dbias)

        return finish_columns if self.by_columns else finish

    def _kernel_gradient_plan(self, dy_width: int) -> np.ndarray:
        g = self.geometry
        return convolution.kernel_gradient_plan(
            self.dtype, g.padded, g.channels, g.kernel, g.filters, g.outputs, g.strides, g.dilation, dy_width
        )

    def input_gradient(self, tape: Tape, dy: Place, bias: Array | None, relu: bool, dx: Place) -> None:
        """dx alone, with a bias added, after a ReLU."""
        g, ((top, bottom), (left, right)) = self.geometry, self.dy_pads
        (OH, OW), plan = g.outputs, self._input_gradient_plan(0 if bias is None else BIAS, relu)[0]
        height, width = top + OH + bottom, left + OW + right
        tape.add(
            convolution.convolve, len(dy), x=Each(dy), weights=self.flipped, bias=0 if bias is None else bias, y=Each(dx),
            padded=tape.cleared(height, width, g.filters) if (height, width) != (OH, OW) else 0, plan=Constant(plan),
            panels=len(plan), H=OH, W=OW, C=g.filters, top=top, left=left, padded_width=width,
            y_image=prod(g.image) * g.channels * dx.dtype.itemsize,
        )  # fmt: skip

    @property
    def by_columns(self) -> bool:
        """Whether the columns of im2col are written for the kernel gradient."""
        g = self.geometry
        return g.channels == 1 and g.strides[1] == 1 and g.kernel[0] > 1 and g.filters >= convolution.WIDE

    def _kernel_gradient_by_columns(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, dkernel: Array, dbias: Array | None
    ) -> Callable[[], None]:
        g, (OH, OW), (KH, KW), F = self.geometry, self.geometry.outputs, self.geometry.kernel, self.geometry.filters
        taps = KH * KW
        lines = max(1, min(OH, convolution.BAND // (OW * (1 + taps + F))))
        room = lines * OW
        plans = [convolution.column_plan(self.dtype, room, n * OW, taps, F) for n in (lines, OH % lines) if n]
        parts = tape.whole(tape.parts(len(x)), 1 + taps, F)
        tape.add(
            convolution.kernel_gradient_by_columns, len(x), fresh=FRESH, x=Each(x), dy=Each(dy), y=0 if y is None else Each(y),
            padded=tape.cleared(prod(g.padded) + LANES), columns=tape.scratch((1 + taps) * room + LANES),
            passed=0 if y is None else tape.scratch(room, F), part=Part(parts), plans=Constant(table(plans)), lines=lines,
            H=g.image[0], W=g.image[1], top=g.pads[0][0], left=g.pads[1][0], padded_width=g.padded[1], OH=OH, OW=OW, F=F,
            KH=KH, KW=KW, SH=g.strides[0], DH=g.dilation[0], DW=g.dilation[1],
        )  # fmt: skip

        def finish() -> None:
            add_up(tape, parts, dkernel, skip=F)
            if dbias is not None:
                add_up(tape, parts, dbias)

        return finish


class Depthwise(Direct):
    """Channels that stay apart, on the register tile; one that has several filters is repeated for each of them."""

    apart, by_columns = True, False

    def __init__(self, geometry: Geometry, dtype: str) -> None:
        super().__init__(geometry._replace(channels=geometry.filters), dtype)

    def _kernel_gradient_plan(self, dy_width: int) -> np.ndarray:
        g = self.geometry
        return convolution.apart_kernel_gradient_plan(
            self.dtype, g.padded, g.channels, g.kernel, g.outputs, g.strides, g.dilation, dy_width
        )

    def _repeated(self, tape: Tape, x: Place) -> Place:
        times = self.geometry.apart
        if times == 1:
            return x
        y, numbers = tape.buffer((*x.shape[:3], x.shape[3] * times)), prod(x.shape[1:])
        tape.add(arrays.repeat_channels, len(x), x=Each(x), y=Each(y), numbers=numbers, times=times)
        return y

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        super().forward(tape, self._repeated(tape, x), bias, relu, y)

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]:  # fmt: skip
        repeated, times = self._repeated(tape, x), self.geometry.apart
        total = dx if dx is None or times == 1 else tape.buffer(repeated.shape)
        finish = super().backward(tape, dy, y, repeated, kernel, total, dkernel, dbias)
        if total is not None and dx is not None and times > 1:
            tape.add(arrays.add_channels, len(x), x=Each(total), y=Each(dx), numbers=prod(dx.shape[1:]), times=times)
        return finish


class Transposed:
    """The input gradient of a convolution as a layer's forward: x is its dy, y its dx, and the layer's dy is its x."""

    def __init__(self, geometry: Geometry, images: int, dtype: str, precision: str) -> None:
        self.direct, self.convolution = Direct(geometry, dtype), choose(geometry, images, dtype, precision)
        self.by_image = self.convolution.by_image

    def prepare_forward(self, tape: Tape, kernel: Array) -> None:
        self.direct.prepare_backward(tape, kernel)

    def prepare_backward(self, tape: Tape, kernel: Array) -> None:
        self.convolution.prepare_forward(tape, kernel)

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        self.direct.input_gradient(tape, x, bias, relu, y)

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]:  # fmt: skip
        F, passed = dy.shape[3], dy if y is None else tape.buffer(dy.shape)
        dbiases = tape.whole(tape.parts(len(dy)), F)
        tape.add(
            convolution.gradient_of_output, len(dy), fresh=FRESH, dy=Each(dy), y=0 if y is None else Each(y),
            passed=0 if y is None else Each(passed), part=Part(dbiases), pixels=prod(dy.shape[1:3]), F=F,
        )  # fmt: skip
        if dx is not None:
            self.convolution.forward(tape, passed, None, False, dx)
        finish_kernel = self.convolution.backward(tape, x, None, passed, kernel, None, dkernel, None)

        def finish() -> None:
            finish_kernel()
            if dbias is not None:
                add_up(tape, dbiases, dbias)

        return finish


@lru_cache(maxsize=256)
def winograd_tables(
    dtype: str, patches: int, room: int, counts: tuple[int, ...], C: int, F: int
) -> tuple[np.ndarray, ...]:
    """The tables of `winograd.plans` for 0 … `room` images of so many patches, where needed."""
    needed = {piece for count in counts for piece in pieces(count, room)}
    plans = [
        winograd.plans(dtype, images * patches, C, F) if images in needed else (None,) * 4 for images in range(room + 1)
    ]
    return tuple(table(kind) for kind in zip(*plans, strict=True))


class Winograd:
    """F(m×m, r×r), a few images at a time; see `kernels/winograd.py`."""

    by_image = True

    def __init__(self, geometry: Geometry, m: int, dtype: str) -> None:
        self.geometry, self.m, self.dtype, self.stride = geometry, m, dtype, geometry.strides[0]
        self.r = -(-geometry.kernel[0] // self.stride)
        self.T = m + self.r - 1
        self.channels = self.stride**2 * geometry.channels
        OH, OW = geometry.outputs
        self.down, self.across = -(-OH // m), -(-OW // m)  # patches of an image
        self.whole = (self.down * m, self.across * m) == (OH, OW)  # the output has no pixel beside them
        self.padded = (
            max(geometry.padded[0], self.stride * (self.down * m + self.r - 1)),
            max(geometry.padded[1], self.stride * (self.across * m + self.r - 1)),
        )
        self.inside = self.padded == geometry.image  # nor do they reach beyond the image

    def _function(self, kind: str) -> int:
        """The native function for patches of x, of y, or for the kernel's pairs of a channel and a filter."""
        g = self.geometry
        channels = {"patch": g.channels, "output": g.filters, "kernel": self.channels * g.filters}[kind.split()[0]]
        return winograd.transformation(self.dtype, kind, self.m, self.r, channels)

    def functions(self, *kinds: str) -> Constant:
        return Constant(np.array([self._function(kind) for kind in kinds]))

    def _transform_kernel(
        self, tape: Tape, kind: str, source: Place, side: int, target: Place, target_side: int
    ) -> None:
        pairs = self.channels * self.geometry.filters
        tape.add(
            winograd.transform_kernel, pairs, cut(pairs, unit=LANES), 0, source=source, target=target,
            function=self._function(kind), channels=pairs, first=Times(1), side=side, target_side=target_side,
        )  # fmt: skip

    def _to_planes(self, tape: Tape, kernel: Place) -> Buffer:
        planes = tape.whole(self.T * self.T, self.channels * self.geometry.filters)
        self._transform_kernel(tape, "kernel", kernel, self.r, planes, self.T)
        return planes

    def _taps(self) -> dict[str, int]:
        g, size = self.geometry, np.dtype(self.dtype).itemsize
        return {"size": g.kernel[0], "S": self.stride, "r": self.r, "bytes_": g.channels * g.filters * size}

    def _spread(self, tape: Tape, kernel: Array) -> Place:
        """The kernel as one for stride 1, (r, r, channels, filters)."""
        if self.stride == 1:
            return kernel
        taps = (self.r * self.stride) ** 2
        spread = tape.whole(self.r, self.r, self.channels, self.geometry.filters)
        tape.add(winograd.spread_taps, taps, cut(taps), 0, kernel=kernel, spread=spread, first=Times(1), **self._taps())
        return spread

    def prepare_forward(self, tape: Tape, kernel: Array) -> None:
        self.U = self._to_planes(tape, self._spread(tape, kernel))

    def prepare_backward(self, tape: Tape, kernel: Array) -> None:
        taps, filters = self.r * self.r, self.geometry.filters
        flipped = tape.whole(taps, filters, self.channels)
        tape.add(
            convolution.flip_kernel, taps, cut(taps), 0, kernel=self._spread(tape, kernel), flipped=flipped,
            order=Constant(np.arange(taps)), first=Times(1), C=self.channels, F=filters,
        )  # fmt: skip
        self.Ut = self._to_planes(tape, flipped)  # (T·T, F, channels)

    def _room(self, tape: Tape, images: int) -> int:
        """How many images are computed together."""
        return winograd.together(self.down * self.across, -(-images // tape.groups))

    def _plans(self, room: int, kind: int) -> Fitted:
        filters, patches = self.geometry.filters, self.down * self.across
        sizes = self.dtype, patches, room
        return Fitted(lambda counts: winograd_tables(*sizes, tuple(counts), self.channels, filters)[kind])

    def _sizes(self, room: int) -> dict[str, int]:
        g = self.geometry
        return {
            "H": g.image[0], "W": g.image[1], "C": g.channels, "F": g.filters, "S": self.stride, "top": g.pads[0][0],
            "left": g.pads[1][0], "padded_width": self.padded[1],
            "OH": g.outputs[0], "OW": g.outputs[1], "m": self.m, "T": self.T, "down": self.down, "across": self.across,
            "room": room, "skew": winograd.SKEW,
        }  # fmt: skip

    def _planes(self, tape: Tape, room: int, channels: int) -> Buffer:
        return tape.scratch(self.T * self.T, room * self.down * self.across * channels + winograd.SKEW)

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        g = self.geometry
        if 0 < len(x) <= winograd.FEW:
            self._forward_in_rows(tape, x, bias, relu, y)
            return
        room = self._room(tape, len(x))
        tape.add(
            winograd.winograd, len(x), None, room,
            x=Each(x), U=self.U, bias=np.zeros(g.filters, self.dtype) if bias is None else bias, y=Each(y),
            y_far=Far(y), padded=0 if self.inside else tape.cleared(*self.padded, g.channels),
            V=self._planes(tape, room, self.channels), M=self._planes(tape, room, g.filters),
            results=0 if self.whole else tape.scratch(self.down * self.m, self.across * self.m, g.filters),
            plans=self._plans(room, 0), functions=self.functions("patch", "output"), relu=int(relu), **self._sizes(room),
        )  # fmt: skip

    def _forward_in_rows(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        """For few images: a worker takes some rows of patches."""
        g, rows = self.geometry, len(x) * self.down
        together = -(-PRODUCT // self.across)
        cuts = cut(rows, max(min(2, rows), -(-rows // together)))
        room = max(b - a for a, b in pairwise(cuts))
        if isinstance(y, Buffer):
            y.bands = bands_of(len(x), g.outputs[0], y.each)
        sizes = self._sizes(room)
        tables = partial(winograd_tables, self.dtype, self.across, room)
        V, M = (tape.scratch(self.T**2, room * self.across * n + winograd.SKEW) for n in (self.channels, g.filters))
        tape.add(
            winograd.winograd_rows, rows, cuts, 0,
            x=x, U=self.U, bias=np.zeros(g.filters, self.dtype) if bias is None else bias, y=y, V=V, M=M,
            padded=0 if self.inside else tape.cleared(self.T * self.stride, self.padded[1], g.channels),
            results=0 if self.whole else tape.scratch(self.m, self.across * self.m, g.filters),
            plans=Fitted(lambda counts: tables(tuple(counts), self.channels, g.filters)[0]),
            functions=self.functions("patch", "output"), first=Times(1), relu=int(relu), **sizes,
        )  # fmt: skip

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]:  # fmt: skip
        g, T, taps = self.geometry, self.T, self.r * self.r
        room = self._room(tape, len(x))
        parts = tape.parts(len(x))
        dkernels = tape.whole(parts, taps, self.channels, g.filters)
        dbiases = tape.whole(parts, g.filters)
        tape.add(
            winograd.winograd_backward, len(x), None, room,
            fresh=FRESH, last=LAST, x=Each(x), dy=Each(dy), y=0 if y is None else Each(y), Ut=0 if dx is None else self.Ut,
            dkernel=Part(dkernels), dbias=Part(dbiases), dx=0 if dx is None else Each(dx),
            dx_far=0 if dx is None else Far(dx), padded=0 if self.inside else tape.cleared(*self.padded, g.channels),
            padded_dy=0 if self.whole and y is None else tape.cleared(self.down * self.m, self.across * self.m, g.filters),
            padded_dx=0 if self.inside else tape.scratch(*self.padded, g.channels),
            V=self._planes(tape, room, self.channels), Z=self._planes(tape, room, g.filters),
            dU=tape.cleared(T * T, self.channels * g.filters + winograd.SKEW),
            first_plans=self._plans(room, 1), plans=self._plans(room, 2), input_plans=self._plans(room, 3), r=self.r,
            padded_bytes=prod(self.padded) * g.channels * np.dtype(self.dtype).itemsize,
            functions=self.functions("patch", "output gradient", "patch gradient", "kernel gradient"), **self._sizes(room),
        )  # fmt: skip

        return self._finish(tape, lambda spread: add_up(tape, dkernels, spread), dkernel, dbiases, dbias)

    def _finish(
        self, tape: Tape, fill: Callable[[Place], None], dkernel: Array, dbiases: Buffer, dbias: Array | None
    ) -> Callable[[], None]:
        """What `backward` returns; `fill` gives the gradient of the kernel as one for stride 1."""
        g = self.geometry

        def finish() -> None:
            spread = dkernel if self.stride == 1 else tape.whole(self.r, self.r, self.channels, g.filters)
            fill(spread)
            if self.stride > 1:
                taps, sizes = prod(g.kernel), self._taps()
                tape.add(
                    winograd.collect_taps, taps, cut(taps), 0, spread=spread, kernel=dkernel, first=Times(1), **sizes
                )
            if dbias is not None:
                add_up(tape, dbiases, dbias)

        return finish


class WinogradBatch(Winograd):
    """`Winograd` where U is too large to read once per few images, or these are too few: plane by plane, for the whole batch.

    Every product takes all patches of the batch, so dU, the sum over them, needs no partial sums.
    """

    def _all_planes(self, tape: Tape, images: int, channels: int) -> Buffer:
        return tape.whole(self.T * self.T, images * self.down * self.across * channels + winograd.SKEW)

    def _layout(self) -> dict[str, int]:
        return {"m": self.m, "T": self.T, "down": self.down, "across": self.across}

    def _image(self) -> dict[str, int]:
        g = self.geometry
        return self._layout() | {
            "H": g.image[0], "W": g.image[1], "C": g.channels, "S": self.stride, "top": g.pads[0][0], "left": g.pads[1][0],
            "padded_width": self.padded[1],
        }  # fmt: skip

    def _output(self) -> dict[str, int]:
        g = self.geometry
        return self._layout() | {"OH": g.outputs[0], "OW": g.outputs[1], "F": g.filters}

    def _products(self, tape: Tape, plan: np.ndarray, a: Buffer, b: Buffer, c: Buffer) -> None:
        planes = self.T * self.T
        tape.add(
            product.products,
            planes,
            cut(planes, 256),
            a=Each(a),
            b=Each(b),
            c=Each(c),
            plan=Constant(plan),
            panels=len(plan),
        )

    def _images_to_planes(self, tape: Tape, x: Place) -> Buffer:
        V = self._all_planes(tape, len(x), self.channels)
        tape.add(
            winograd.images_to_planes, len(x), x=Each(x), V=V, function=self._function("patch"), first=Times(1),
            padded=0 if self.inside else tape.cleared(*self.padded, self.geometry.channels), plane=V.each, **self._image(),
        )  # fmt: skip
        return V

    def _plane_plans(self, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = images * self.down * self.across
        return winograd.plane_plans(self.dtype, rows, self.channels, self.geometry.filters)

    def forward(self, tape: Tape, x: Place, bias: Array | None, relu: bool, y: Place) -> None:
        g = self.geometry
        V, M = self._images_to_planes(tape, x), self._all_planes(tape, len(x), g.filters)
        self._products(tape, self._plane_plans(len(x))[0], V, self.U, M)
        tape.add(
            winograd.planes_to_outputs, len(x), M=M, bias=np.zeros(g.filters, self.dtype) if bias is None else bias,
            y=Each(y), results=0 if self.whole else tape.scratch(self.down * self.m, self.across * self.m, g.filters),
            function=self._function("output"), first=Times(1), plane=M.each, relu=int(relu), **self._output(),
        )  # fmt: skip

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> Callable[[], None]:  # fmt: skip
        g = self.geometry
        V, Z = self._images_to_planes(tape, x), self._all_planes(tape, len(x), g.filters)
        dbiases = tape.whole(tape.parts(len(x)), g.filters)
        tape.add(
            winograd.gradients_to_planes, len(x), fresh=FRESH, dy=Each(dy), y=0 if y is None else Each(y), Z=Z,
            dbias=Part(dbiases), function=self._function("output gradient"), first=Times(1), plane=Z.each,
            padded_dy=0 if self.whole and y is None else tape.cleared(self.down * self.m, self.across * self.m, g.filters),
            **self._output(),
        )  # fmt: skip
        _, kernel_plan, input_plan = self._plane_plans(len(x))
        dU = tape.whole(self.T * self.T, self.channels * g.filters)
        self._products(tape, kernel_plan, V, Z, dU)
        if dx is not None:
            dV = self._all_planes(tape, len(x), self.channels)
            self._products(tape, input_plan, Z, self.Ut, dV)
            tape.add(
                winograd.planes_to_gradients, len(x), V=dV, dx=Each(dx), function=self._function("patch gradient"),
                padded=0 if self.inside else tape.scratch(*self.padded, g.channels), first=Times(1), plane=dV.each,
                padded_bytes=prod(self.padded) * g.channels * np.dtype(self.dtype).itemsize, **self._image(),
            )  # fmt: skip

        def fill(spread: Place) -> None:
            self._transform_kernel(tape, "kernel gradient", dU, self.T, spread, self.r)

        return self._finish(tape, fill, dkernel, dbiases, dbias)

"""Winograd's convolution: fewer multiplications than the definition has, at the price of a few digits.

F(m×m, r×r) computes m×m pixels of a stride-1 convolution with an r×r kernel from a T×T patch of the image, T = m + r - 1
(Winograd, 1980; Lavin and Gray, 2015; the matrices by Cook and Toom's rule). Per channel, with three small constant
matrices,

    V = Bᵀ d B    (patch d, T×T)      U = G g Gᵀ    (kernel g, r×r)      y = Aᵀ (Σ_c V ⊙ U) A    (m×m)

and Σ_c V ⊙ U is, for each of the T·T positions, a product of matrices: (patches × channels) · (channels × filters). They
run on the register tile. F(4×4, 3×3) needs 36 multiplications for what takes the definition 144, F(4×4, 5×5) 64 for 400.

The gradients are the exact adjoints, step by step: with Z = A dy Aᵀ

    dU = Σ_patches V ⊙ Z   dkernel = Gᵀ dU G          dV = Σ_f Z ⊙ U   dx += B dV Bᵀ, patch by overlapping patch

In float32 the result differs from the definition by about 5e-6 of its largest number, against 6e-7 for the direct
kernels; in float64, in which gradients are checked, by about 1e-14.
"""

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .convolution import clear, copy_gradient, copy_inside
from .jit import kernel, native
from .product import plan, run_plan
from .simd import Emitter, call, i64, lanes

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # where polynomials are evaluated, and infinity: small, so exact
TRANSFORM = 10  # multiply-adds
UNIT = 16  # channels in the largest vector
PATCHES = 48  # computed together: enough rows for the tile, and few enough for the second-level cache


@cache
def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Aᵀ (m, T), G (T, r), Bᵀ (T, T)) of F(m, r)."""
    n = m + r - 2
    points = np.array(POINTS[:n])
    others = [np.delete(points, j) for j in range(n)]
    At, G, Bt = np.zeros((m, n + 1)), np.zeros((n + 1, r)), np.zeros((n + 1, n + 1))
    At[:, :n] = points ** np.arange(m)[:, None]
    G[:n] = points[:, None] ** np.arange(r) / np.array([np.prod(points[j] - others[j]) for j in range(n)])[:, None]
    At[-1, -1] = G[-1, -1] = 1.0  # the point at infinity
    Bt[:n, :n] = [np.poly(other)[::-1] for other in others]
    Bt[n] = np.poly(points)[::-1]
    return At, G, Bt


def choose(dtype: str, image: tuple[int, int], size: tuple[int, int], channels: int, filters: int) -> int:
    """m of the fastest F(m×m, r×r) for an output of height and width `image`, or 0 where the direct kernels are faster.

    Counted in multiply-adds; a transformation costs about as much as `TRANSFORM` of them for each of its numbers.
    """
    r, width = size[0], lanes(np.dtype(dtype))
    if size not in ((3, 3), (5, 5)) or channels % width or filters % width:
        return 0
    costs = {0: image[0] * image[1] * r * r * channels * filters}
    for m in (2, 4):
        patches = -(-image[0] // m) * -(-image[1] // m)
        costs[m] = patches * (m + r - 1) ** 2 * (channels * filters + TRANSFORM * (channels + filters))
    return min(costs, key=lambda m: costs[m])


@intrinsic(prefer_literal=True)
def transform(typing, dtype, kind, m, r, source, s_i, s_j, target, t_i, t_j, bias, relu):  # type: ignore[no-untyped-def]
    """L d Lᵀ for one vector of channels; element (i, j) of d lies at source + i·s_i + j·s_j, and so for the result.

    kind "patch": L = Bᵀ; "kernel": L = G; "output": L = Aᵀ, then bias and ReLU where wanted; and their adjoints
    "patch gradient": L = B, and the result is added to what is there; "kernel gradient": L = Gᵀ; "output gradient": A.
    """
    kind_, m_, r_ = (argument.literal_value for argument in (kind, m, r))
    At, G, Bt = matrices(m_, r_)
    forward, _, adjoint = kind_.partition(" ")
    L = {"patch": Bt, "kernel": G, "output": At}[forward]
    L = L.T if adjoint else L

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        source, s_i, s_j, target, t_i, t_j, bias, relu = arguments[4:]
        emit = Emitter(builder, dtype.literal_value)

        def times(row: np.ndarray, vectors: list[Any]) -> Any:
            """Σ_k row[k] · vectors[k], with additions alone where a coefficient is 1 or -1."""
            total = None
            for factor, vector in zip(row, vectors, strict=True):
                if factor == 0:
                    continue
                if total is None:
                    total = vector if factor == 1 else builder.fmul(vector, emit.constant(factor))
                elif abs(factor) == 1:
                    total = (builder.fadd if factor == 1 else builder.fsub)(total, vector)
                else:
                    total = emit.multiply_add(vector, emit.constant(factor), total)
            return total

        def at(base: Any, stride_i: Any, stride_j: Any, i: int, j: int) -> Any:
            return emit.at(emit.at(base, stride_i, i), stride_j, j)

        height, width = L.shape
        d = [[emit.load(at(source, s_i, s_j, i, j)) for j in range(width)] for i in range(width)]
        half = [[times(L[i], [d[k][j] for k in range(width)]) for j in range(width)] for i in range(height)]  # L d
        start = emit.load(bias) if kind_ == "output" else None
        for i in range(height):
            for j in range(height):
                value = times(L[j], half[i])  # (L d) Lᵀ
                address = at(target, t_i, t_j, i, j)
                if kind_ == "output":
                    value = builder.fadd(value, start)
                    wanted = builder.icmp_signed("!=", relu, i64(0))
                    value = builder.select(wanted, emit.positive(value), value)
                elif kind_ == "patch gradient":
                    value = builder.fadd(value, emit.load(address))
                emit.store(value, address)
        return context.get_dummy_value()

    return types.void(dtype, kind, m, r, *[types.intp] * 8), generate


@cache
def transformation(dtype: str, kind: str, m: int, r: int) -> int:
    """Address of the native function that transforms all channels of one patch.

    It takes the source and its two strides, the target and its two strides (in bytes), the number of channels, the
    address of the bias, and whether ReLU follows.
    """
    size = np.dtype(dtype).itemsize
    step = size * lanes(np.dtype(dtype))

    def channels(source, s_i, s_j, target, t_i, t_j, count, bias, relu):  # type: ignore[no-untyped-def]
        for c in range(0, size * count, step):
            transform(dtype, kind, m, r, source + c, s_i, s_j, target + c, t_i, t_j, bias + c, relu)

    return native(types.void(*[types.intp] * 9), channels, f"winograd_{dtype}_{kind.replace(' ', '_')}_{m}_{r}")


@lru_cache(maxsize=256)
def plans(
    dtype: str, m: int, r: int, patches: int, rows: int, C: int, F: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The T·T products of `rows` patches (of `patches` there is room for): forward, kernel gradient, input gradient."""
    planes = (m + r - 1) ** 2
    sizes = {"I": planes, "a_k": 1}
    return (
        plan(dtype, rows, F, **sizes, a_i=patches * C, b_i=C * F, c_i=patches * F, a_row=C, c_row=F, K=C, b_k=F),
        plan(
            dtype, C, F, I=planes, a_i=patches * C, b_i=patches * F, c_i=C * F, a_row=1, c_row=F,
            K=rows, a_k=C, b_k=F, start=2,
        ),
        plan(dtype, rows, C, **sizes, a_i=patches * F, b_i=F * C, c_i=patches * C, a_row=F, c_row=C, K=F, b_k=C),
    )  # fmt: skip


@kernel
def transform_channels(function: int, source: Any, target: Any, first: int, last: int) -> None:
    """A transformation of (i, j, channels) into another such array, for the channels first … last-1: of a kernel."""
    offset = source.itemsize * first
    call(
        function, source.ctypes.data + offset, source.strides[0], source.strides[1],
        target.ctypes.data + offset, target.strides[0], target.strides[1], last - first, 0, 0,
    )  # fmt: skip


@kernel
def to_planes(images: Any, count: int, m: int, down: int, across: int, function: int, planes: Any) -> None:
    """Transforms the patches of images (·, H, W, C), which begin m pixels apart, into planes (T, T, patches, C)."""
    size, C = images.itemsize, images.shape[3]
    patch = 0
    for n in range(count):
        for i in range(down):
            for j in range(across):
                pixel = images.ctypes.data + n * images.strides[0] + m * (i * images.strides[1] + j * images.strides[2])
                place = planes.ctypes.data + size * C * patch
                call(
                    function, pixel, images.strides[1], images.strides[2],
                    place, planes.strides[0], planes.strides[1], C, 0, 0,
                )  # fmt: skip
                patch += 1


@kernel
def from_planes(
    planes: Any, count: int, m: int, down: int, across: int, function: int, bias: Any, relu: int, images: Any
) -> None:
    """The other way round: planes (T, T, patches, C) into, or added to, images (·, H, W, C)."""
    size, C = images.itemsize, images.shape[3]
    patch = 0
    for n in range(count):
        for i in range(down):
            for j in range(across):
                pixel = images.ctypes.data + n * images.strides[0] + m * (i * images.strides[1] + j * images.strides[2])
                place = planes.ctypes.data + size * C * patch
                call(
                    function, place, planes.strides[0], planes.strides[1],
                    pixel, images.strides[1], images.strides[2], C, bias.ctypes.data, relu,
                )  # fmt: skip
                patch += 1


@kernel
def crop(padded: Any, top: int, left: int, image: Any) -> None:
    """Copies the inside of a padded image into an image (H, W, C)."""
    H, W, C = image.shape
    for i in range(H):
        source = padded[top + i].reshape(-1)[left * C :]
        target = image[i].reshape(-1)
        for k in range(W * C):
            target[k] = source[k]


@kernel
def convolve(
    x: Any, first: int, last: int, top: int, left: int, m: int, down: int, across: int, functions: Any,
    plan: Any, rest: Any, U: Any, bias: Any, relu: int, padded: Any, V: Any, M: Any, results: Any, y: Any,
) -> None:  # fmt: skip
    """Forward, for the images first … last-1, as many at a time as `padded` has room for; `rest` is the last plan."""
    room = len(padded)
    clear(padded)
    for n in range(first, last, room):
        count = min(room, last - n)
        for k in range(count):
            copy_inside(x[n + k], top, left, padded[k])
        to_planes(padded, count, m, down, across, functions[0], V)
        run_plan(plan if count == room else rest, V.ctypes.data, U.ctypes.data, 0, M.ctypes.data)
        from_planes(M, count, m, down, across, functions[1], bias, relu, results)
        for k in range(count):
            crop(results[k], 0, 0, y[n + k])


@kernel
def convolve_backward(
    x: Any, first: int, last: int, top: int, left: int, m: int, down: int, across: int, functions: Any,
    padded: Any, V: Any, dy: Any, y: Any, padded_dy: Any, Z: Any, kernel_plan: Any, kernel_rest: Any, dU: Any, dbias: Any,
    input_plan: Any, input_rest: Any, Ut: Any, padded_dx: Any, dx: Any,
) -> None:  # fmt: skip
    """Both gradients, for the images first … last-1; `y` is empty without a ReLU, `dx` if it is not wanted."""
    room = len(padded)
    clear(padded)
    clear(padded_dy)
    clear(dU)
    clear(dbias)
    for n in range(first, last, room):
        count = min(room, last - n)
        for k in range(count):
            copy_inside(x[n + k], top, left, padded[k])
            copy_gradient(dy, y, n + k, 0, 0, padded_dy[k], dbias)
        to_planes(padded, count, m, down, across, functions[0], V)
        to_planes(padded_dy, count, m, down, across, functions[1], Z)
        run_plan(kernel_plan if count == room else kernel_rest, V.ctypes.data, Z.ctypes.data, 0, dU.ctypes.data)
        if dx.size:
            run_plan(input_plan if count == room else input_rest, Z.ctypes.data, Ut.ctypes.data, 0, V.ctypes.data)
            clear(padded_dx)
            from_planes(V, count, m, down, across, functions[2], dbias, 0, padded_dx)
            for k in range(count):
                crop(padded_dx[k], top, left, dx[n + k])

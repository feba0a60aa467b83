"""Winograd's convolution: fewer multiplications than the definition has, at the price of a few digits.

F(m×m, r×r) computes m×m pixels of a stride-1 convolution with an r×r kernel from a T×T patch of the image, T = m + r - 1
(Winograd, 1980; Lavin and Gray, 2015; the matrices by Cook and Toom's rule). Per channel, with three small constant
matrices,

    V = Bᵀ d B    (patch d, T×T)      U = G g Gᵀ    (kernel g, r×r)      y = Aᵀ (Σ_c V ⊙ U) A    (m×m)

and Σ_c V ⊙ U is, for each of the T·T positions, a product of matrices: (patches × channels) · (channels × filters). They
run on the register tile. F(4×4, 3×3) needs 36 multiplications for what takes the definition 144, F(4×4, 5×5) 64 for 400.

A convolution of stride s is one of stride 1: every s-th pixel of every s-th line makes an image of its own, with every
s-th tap of the kernel, so that there are s² times as many channels, and kernels of ⌈size / s⌉ taps a side.

The gradients are the exact adjoints, step by step: with Z = A dy Aᵀ

    dU = Σ_patches V ⊙ Z   dkernel = Gᵀ dU G          dV = Σ_f Z ⊙ U   dx += B dV Bᵀ, patch by overlapping patch

In float32 a result that is a sum over K channels, 16 or more, differs from the definition by up to 3e-6 · √K of its largest
number (2e-5 for 32, 7e-5 for 512 with the largest patches; typically a third of that; 1.2e-5 for fewer than 16), the direct
kernels by up to 6e-6; in float64, in which gradients are checked, both by about 1e-14.
"""

from functools import cache, lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .convolution import pad, prepare_gradient, take_lines
from .jit import kernel, native, part
from .product import plan, run_plan
from .simd import (
    ACCUMULATE,
    Emitter,
    call,
    clear,
    copy,
    i64,
    in_vectors,
    int_at,
    lanes,
    last_width,
    prefetch,
    size_of,
)  # fmt: skip

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # where polynomials are evaluated, and infinity: small, so exact
LARGEST = 6  # m: the powers of the points, and with them the error, grow with it
FEWEST = 4  # channels: sums shorter than that spend their time on beginning and ending
SHORT = 8  # multiply-adds that beginning and ending a sum costs
SKEW = 16  # numbers between the planes, which must not lie a power of two apart: they would evict each other
NEAR = 15  # multiply-adds that reading or writing a number costs where a few images' planes are in the cache: one of U or dU
FAR = 21  # the same where a whole batch's planes are not: one of these
LARGE = 1 << 19  # numbers in U, up to which a worker's own cache holds it
ROWS = 256  # patches whose products are added up at a time, where all of a batch are
FEW = 4  # images, which workers share row by row of patches
PATCHES = 32  # computed together: enough rows for the tile, and few enough for the second-level cache


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


def sizes(size: tuple[int, int], strides: tuple[int, int], channels: int) -> range:
    """The m for which there is an F(m×m, r×r) for kernels of this size."""
    r = -(-size[0] // strides[0])
    if size[0] != size[1] or strides[0] != strides[1] or not 2 <= r <= 5 or channels < FEWEST:
        return range(0)
    return range(2, min(LARGEST, len(POINTS) + 2 - r) + 1)


def together(patches: int, group: int) -> int:
    """How many images of so many patches are computed together, if a worker has groups of so many."""
    return min(group, -(-PATCHES // max(1, patches)))


def choose(
    dtype: str, image: tuple[int, int], size: tuple[int, int], strides: tuple[int, int], channels: int, filters: int,
    images: int = 128, group: int = 8,
) -> tuple[int, bool]:  # fmt: skip
    """(m, whole): the fastest F(m×m, r×r) for an output of height and width `image`, or 0 where the direct kernels are
    faster; and whether to go plane by plane through the whole batch, not through all planes with a few images of a group.

    Counted in multiply-adds, of which a transformation takes about T - 1 for each of its numbers. For every few images of
    a training step U is read twice, and dU read and written. Of a whole batch V is written and read twice, dV and M once,
    and Z is written once and read twice. The rows of patches of a single image are shared by two workers.
    """
    type_, parts = np.dtype(dtype), strides[0] ** 2
    r, C, F = -(-size[0] // strides[0]), in_vectors(channels, type_), in_vectors(filters, type_)
    spread = parts * channels
    products = (2 * channels * F + C * filters) / 3  # the mean of forward, kernel gradient and input gradient
    costs = {(0, False): image[0] * image[1] * size[0] ** 2 * products}
    each = ((2 * spread + SHORT) * F + parts * C * (filters + SHORT)) / 3
    for m in sizes(size, strides, channels):
        patches = -(-image[0] // m) * -(-image[1] // m)
        planes = (m + r - 1) ** 2
        cost = patches * planes * (each + (m + r - 2) * (parts * C + F))
        if images == 1:
            rows = -(-image[0] // m)
            cost *= (rows + rows % 2) / rows
        U = planes * spread * filters
        near = 0 if images <= FEW and U <= LARGE else NEAR * 4 * U / together(patches, group)
        costs[m, False] = cost + near / 3
        costs[m, True] = cost + FAR * patches * planes * (6 * spread + 5 * filters) / 3
    return min(costs, key=lambda way: costs[way])


def pairs(rows: np.ndarray) -> list[tuple[int, int]]:
    """Rows that differ in signs only, as those of the points p and -p do; each row in one pair at most."""
    found: list[tuple[int, int]] = []
    for i, k in combinations(range(len(rows)), 2):
        if (abs(rows[i]) == abs(rows[k])).all() and not {i, k} & {n for pair in found for n in pair}:
            found.append((i, k))
    return found


def multiply(emit: Emitter, L: np.ndarray, vectors: list[Any]) -> list[Any]:
    """L · vectors, with up to half of the arithmetic saved: of two columns that differ in signs the sum and the difference of the
    vectors are taken first, of two such rows the common and the opposite part are computed once."""
    builder, L, vectors = emit.builder, L.copy(), list(vectors)
    for j, k in pairs(L.T):
        a, b = vectors[j], vectors[k]
        vectors[j], vectors[k] = builder.fadd(a, b), builder.fsub(a, b)
        L[:, j], L[:, k] = (L[:, j] + L[:, k]) / 2, (L[:, j] - L[:, k]) / 2

    def times(row: np.ndarray) -> Any:
        """Σ_k row[k] · vectors[k], with additions alone where a coefficient is 1 or -1."""
        total = None
        for factor, vector in sorted(zip(row, vectors, strict=True), key=lambda term: abs(term[0]) != 1):
            if factor == 0:
                continue
            if total is None:
                total = vector if factor == 1 else builder.fmul(vector, emit.constant(factor))
            elif abs(factor) == 1:
                total = (builder.fadd if factor == 1 else builder.fsub)(total, vector)
            else:
                total = emit.multiply_add(vector, emit.constant(factor), total)
        return emit.zero if total is None else total

    results = [None] * len(L)
    for i, k in pairs(L):
        common, opposite = times((L[i] + L[k]) / 2), times((L[i] - L[k]) / 2)
        results[i], results[k] = builder.fadd(common, opposite), builder.fsub(common, opposite)
    return [times(row) if result is None else result for row, result in zip(L, results, strict=True)]


@intrinsic(prefer_literal=True)
def transform(typing, dtype, kind, m, r, width, masked, channels, source, s_i, s_j, target, t_i, t_j, bias, relu):
    """L d Lᵀ for one vector of channels; element (i, j) of d lies at source + i·s_i + j·s_j, and so for the result.

    The vector has `width` lanes, and if `masked`, only so many as there are `channels` are used.

    kind "patch": L = Bᵀ; "kernel": L = G; "output": L = Aᵀ, then bias and ReLU where wanted; and their adjoints
    "patch gradient": L = B, and the result is added to what is there; "kernel gradient": L = Gᵀ; "output gradient": A.
    """
    kind_, m_, r_, width_, masked_ = (argument.literal_value for argument in (kind, m, r, width, masked))
    At, G, Bt = matrices(m_, r_)
    forward, _, adjoint = kind_.partition(" ")
    L = {"patch": Bt, "kernel": G, "output": At}[forward]
    L = L.T if adjoint else L

    def generate(context, builder, signature, arguments):
        channels, source, s_i, s_j, target, t_i, t_j, bias, relu = arguments[6:]
        emit = Emitter(builder, dtype.literal_value, width_)
        mask = emit.mask(channels) if masked_ else None

        height, across = L.shape
        columns = [
            multiply(emit, L, [emit.load(address, mask) for address in column])
            for column in emit.grid(source, s_j, across, s_i, across)
        ]  # of L d
        if kind_ == "output":
            start, wanted = emit.load(bias, mask), builder.icmp_signed("!=", relu, i64(0))
            floor = builder.select(wanted, emit.zero, emit.constant(-np.inf))
        for i, row in enumerate(emit.grid(target, t_i, height, t_j, height)):
            values = multiply(emit, L, [column[i] for column in columns])  # of (L d) Lᵀ
            for value, address in zip(values, row, strict=True):
                if kind_ == "output":
                    value = emit.above(builder.fadd(value, start), floor)
                elif kind_ == "patch gradient":
                    value = builder.fadd(value, emit.load(address, mask))
                emit.store(value, address, mask)
        return context.get_dummy_value()

    return types.void(dtype, kind, m, r, width, masked, *[types.intp] * 9), generate


def transformation(dtype: str, kind: str, m: int, r: int, channels: int) -> int:
    """Address of the native function that transforms all channels of one patch, or some whole vectors of them.

    It takes the source and its two strides, the target and its two strides (in bytes), the number of channels, the
    address of the bias, and whether ReLU follows.
    """
    type_ = np.dtype(dtype)
    width, rest = lanes(type_), channels % lanes(type_)
    last = last_width(rest, type_) if rest else 0
    return _transformation(dtype, kind, m, r, channels >= width, last, rest != last)


@cache
def _transformation(dtype: str, kind: str, m: int, r: int, whole: bool, last: int, masked: bool) -> int:
    """`transformation` for whole vectors, if `whole`, then one of `last` lanes, unless that is 0, perhaps `masked`."""
    size, width = np.dtype(dtype).itemsize, lanes(np.dtype(dtype))

    def every(source, s_i, s_j, target, t_i, t_j, count, bias, relu):
        left = count
        if whole:
            while left >= width:
                transform(dtype, kind, m, r, width, False, left, source, s_i, s_j, target, t_i, t_j, bias, relu)
                source, target, bias = source + size * width, target + size * width, bias + size * width
                left -= width
        if last and left:
            transform(dtype, kind, m, r, last, masked, left, source, s_i, s_j, target, t_i, t_j, bias, relu)

    vectors = "_whole" * whole + f"_{last}{'_masked' * masked}" * bool(last)
    return native(types.void(*[types.intp] * 9), every, f"winograd_{dtype}_{kind.replace(' ', '_')}_{m}_{r}{vectors}")


@lru_cache(maxsize=256)
def plans(dtype: str, rows: int, C: int, F: int) -> tuple[np.ndarray, ...]:
    """The products of one plane with so many patches: forward, kernel gradient, the same added to what is there, input
    gradient."""
    gradient = {"a_row": 1, "c_row": F, "K": rows, "a_k": C, "b_k": F}
    return (
        plan(dtype, rows, F, a_row=C, c_row=F, K=C, a_k=1, b_k=F),
        plan(dtype, C, F, **gradient),
        plan(dtype, C, F, **gradient, start=ACCUMULATE),
        plan(dtype, rows, C, a_row=F, c_row=C, K=F, a_k=1, b_k=C),
    )


@lru_cache(maxsize=256)
def plane_plans(dtype: str, rows: int, C: int, F: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forward, kernel gradient and input gradient with all patches of a batch."""
    forward, _, _, input_gradient = plans(dtype, rows, C, F)
    chunks = [
        plan(
            dtype, C, F, a_offset=first * C, b_offset=first * F, a_row=1, c_row=F, K=min(ROWS, rows - first), a_k=C, b_k=F,
            start=ACCUMULATE if first else 0,
        )
        for first in range(0, rows, ROWS)
    ]  # fmt: skip
    return forward, np.concatenate(chunks), input_gradient


@part
def run_planes(entry, planes, a, a_plane, b, b_plane, c, c_plane):
    """Runs the plan in an entry of a table for plane after plane, which are so many bytes apart."""
    for k in range(planes):
        run_plan(int_at(entry), int_at(entry + 8), a + k * a_plane, b + k * b_plane, 0, c + k * c_plane)


@part
def to_planes(function, image, line, pixel, m, down, across, C, planes, row, plane, T):
    """Transforms the patches of an image, m pixels apart, into planes, whose rows of so many bytes are for one patch.

    line, pixel and plane are the bytes of a line and a pixel of the image and of a plane, C the number of channels.
    """
    for i in range(down):
        for j in range(across):
            patch = image + m * (i * line + j * pixel)
            call(function, patch, line, pixel, planes + row * (i * across + j), T * plane, plane, C, 0, 0)


@part
def from_planes(function, planes, row, plane, T, m, down, across, C, bias, relu, image, line, pixel):
    """The other way round: from planes into, or added to, an image."""
    for i in range(down):
        for j in range(across):
            patch = image + m * (i * line + j * pixel)
            call(function, planes + row * (i * across + j), T * plane, plane, patch, line, pixel, C, bias, relu)


@kernel("spread")
def spread_taps(zero, count, kernel, spread, first, size, S, r, bytes_):
    """The taps of a kernel as one for stride 1: (r, r, S, S, C, F), where (i, j, a, b) is tap (i·S + a, j·S + b) or 0.

    `size` is that of the kernel, and `bytes_` what one tap, (C, F), takes.
    """
    for number in range(first, first + count):
        b, a, j, i = number % S, number // S % S, number // (S * S) % r, number // (S * S * r)
        row, column = i * S + a, j * S + b
        if row < size and column < size:
            copy(kernel + bytes_ * (row * size + column), spread + bytes_ * number, bytes_)
        else:
            clear(spread + bytes_ * number, bytes_)


@kernel("kernel")
def collect_taps(zero, count, spread, kernel, first, size, S, r, bytes_):
    """The other way round, for the taps of the kernel from number `first` on."""
    for number in range(first, first + count):
        row, column = number // size, number % size
        place = ((row // S * r + column // S) * S + row % S) * S + column % S
        copy(spread + bytes_ * place, kernel + bytes_ * number, bytes_)


@kernel("target")
def transform_kernel(zero, count, source, target, function, channels, first, side, target_side):
    """U = G g Gᵀ, or dkernel = Gᵀ dU G, for `count` of the channel pairs (so many in all), from number `first` on.

    Of a pair there are side · side numbers in the source.
    """
    size = size_of(zero)
    step, place = size * channels, size * first
    call(function, source + place, side * step, step, target + place, target_side * step, step, count, 0, 0)


@part
def image_to_planes(function, image, line, pixel, S, m, down, across, C, planes, row, plane, T):
    """As `to_planes`, for each of the S² images of every S-th pixel, whose channels lie side by side."""
    for a in range(S):
        for b in range(S):
            corner, place = image + a * line + b * pixel, planes + pixel * (a * S + b)
            to_planes(function, corner, S * line, S * pixel, m, down, across, C, place, row, plane, T)


@part
def images_into(zero, function, x, images, V, padded, H, W, C, S, top, left, padded_width, m, T, down, across, plane):
    """The patches of so many images into planes; `padded` is 0 where an image consists of whole patches."""
    size = size_of(zero)
    row, line, pixel, padded_line = size * S * S * C, size * W * C, size * C, size * padded_width * C
    for n in range(images):
        image, image_line = x + n * H * line, line
        if padded:
            pad(image, H, line, padded + top * padded_line + left * pixel, padded_line)
            image, image_line = padded, padded_line
        place = V + n * down * across * row
        image_to_planes(function, image, image_line, pixel, S, m, down, across, C, place, row, plane, T)


@part
def outputs_from(function, M, images, bias, relu, y, results, OH, OW, pixel, F, m, T, down, across, plane):
    """y of so many images from planes; `results` is 0 where an image consists of whole patches, `pixel` the bytes of one."""
    y_line, result_line = OW * pixel, across * m * pixel
    for n in range(images):
        image = y + n * OH * y_line
        target, target_line = (results, result_line) if results else (image, y_line)
        place = M + n * down * across * pixel
        from_planes(function, place, pixel, plane, T, m, down, across, F, bias, relu, target, target_line, pixel)
        if results:
            for i in range(OH):
                copy(results + i * result_line, image + i * y_line, y_line)


@part
def gradients_into(zero, function, dy, y, images, Z, dbias, padded_dy, OH, OW, F, m, T, down, across, plane):
    """As `images_into`, for dy with the zeros of the ReLU that gave y (address 0: none), whose sum is added to dbias."""
    pixel = size_of(zero) * F
    line, padded_line = OW * pixel, across * m * pixel
    for n in range(images):
        gradient, gradient_line = dy + n * OH * line, line
        prepare_gradient(zero, gradient, y + n * OH * line if y else 0, OH, OW, F, padded_dy, padded_line, dbias)
        if padded_dy:
            gradient, gradient_line = padded_dy, padded_line
        place = Z + n * down * across * pixel
        to_planes(function, gradient, gradient_line, pixel, m, down, across, F, place, pixel, plane, T)


@part
def images_from(
    zero, function, V, images, dx, padded, padded_bytes, H, W, C, S, top, left, padded_width, m, T, down, across, plane
):  # fmt: skip
    """dx of so many images from planes, patch by overlapping patch; `padded` is 0 where images consist of whole patches."""
    size = size_of(zero)
    row, line, pixel, padded_line = size * S * S * C, size * W * C, size * C, size * padded_width * C
    for n in range(images):
        target = dx + n * H * line
        image, image_line = (padded, padded_line) if padded else (target, line)
        clear(image, padded_bytes)
        for a in range(S):
            for b in range(S):
                from_planes(
                    function, V + n * down * across * row + pixel * (a * S + b), row, plane, T, m, down, across, C, 0, 0,
                    image + a * image_line + b * pixel, S * image_line, S * pixel,
                )  # fmt: skip
        if padded:
            for i in range(H):
                copy(padded + (top + i) * padded_line + left * pixel, target + i * line, line)


@kernel("y", "padded", "V", "M", "results")
def winograd(
    zero, count, x, U, bias, y, y_far, padded, V, M, results, plans, functions, H, W, C, F, S, top, left, padded_width,
    OH, OW, m, T, down, across, room, skew, relu,
):  # fmt: skip
    """Forward; `padded` is 0 where an image consists of whole patches, `results` where the output does.

    `plans` lists, for each number of images up to `room`, the address and the panels of the plan of its products.
    `y_far`, the bytes of an image of y if these are not in the cache, come there while the products run.
    """
    size, patches = size_of(zero), down * across
    row, result_row = size * S * S * C, size * F
    plane, result_plane = row * patches * room + size * skew, result_row * patches * room + size * skew
    while count > 0:
        pieces = (count + room - 1) // room
        images = (count + pieces - 1) // pieces
        images_into(
            zero, int_at(functions), x, images, V, padded, H, W, C, S, top, left, padded_width, m, T, down, across, plane
        )  # fmt: skip
        share = images * y_far // (T * T)
        for k in range(T * T):
            prefetch(y + k * share, share, 1)
            run_planes(plans + 16 * images, 1, V + k * plane, 0, U + k * row * F, 0, M + k * result_plane, 0)
        outputs_from(
            int_at(functions + 8), M, images, bias, relu, y, results, OH, OW, result_row, F, m, T, down, across, result_plane
        )  # fmt: skip
        x += images * H * W * C * size
        y += images * OH * OW * result_row
        count -= images


@kernel("y", "padded", "V", "M", "results")
def winograd_rows(
    zero, count, x, U, bias, y, padded, V, M, results, plans, functions, first, H, W, C, F, S, top, left, padded_width,
    OH, OW, m, T, down, across, room, skew, relu,
):  # fmt: skip
    """Forward for rows of patches, `down` an image, from number `first` of the batch on; x and y are all images.

    `padded` and `results` are one row of patches, 0 where none reaches beyond x or y; `plans` lists plans by rows.
    """
    size = size_of(zero)
    row, result_row = size * S * S * C, size * F
    plane, result_plane = row * across * room + size * skew, result_row * across * room + size * skew
    line, pixel, padded_line = size * W * C, size * C, size * padded_width * C
    y_line, result_line = size * OW * F, size * across * m * F
    for n in range(count):
        image, begin = x + (first + n) // down * H * line, (first + n) % down * m * S - top
        source, source_line, place = image + begin * line, line, V + n * across * row
        if padded:
            take_lines(image, H, line, begin, T * S, padded + left * pixel, padded_line)
            source, source_line = padded, padded_line
        image_to_planes(int_at(functions), source, source_line, pixel, S, m, 1, across, C, place, row, plane, T)
    run_planes(plans + 16 * count, T * T, V, plane, U, row * F, M, result_plane)
    for n in range(count):
        begin, place = (first + n) % down * m, M + n * across * result_row
        lines = y + ((first + n) // down * OH + begin) * y_line
        target, target_line = (results, result_line) if results else (lines, y_line)
        from_planes(
            int_at(functions + 8), place, result_row, result_plane, T, m, 1, across, F, bias, relu, target, target_line,
            size * F,
        )  # fmt: skip
        if results:
            for i in range(min(m, OH - begin)):
                copy(results + i * result_line, lines + i * y_line, y_line)


@kernel("dkernel", "dbias", "dx", "padded", "padded_dy", "padded_dx", "V", "Z", "dU")
def winograd_backward(
    zero, count, fresh, last, x, dy, y, Ut, dkernel, dbias, dx, dx_far, padded, padded_dy, padded_dx, V, Z, dU, first_plans,
    plans, input_plans, functions, H, W, C, F, S, top, left, padded_width, padded_bytes, OH, OW, m, r, T, down, across, room,
    skew,
):  # fmt: skip
    """Both gradients. Addresses that are 0: `y` without a ReLU, `dx` where it is not wanted, `padded` where images are
    whole patches, `padded_dy` where dy is and no ReLU masks it. `dx_far` is as `y_far` in `winograd`.

    dU sums over the patches of a group, in planes with `skew` numbers between them; the whole sum gives dkernel. The
    first products, by `first_plans`, write dU, all others add to it.
    """
    size, patches = size_of(zero), down * across
    row, dy_row = size * S * S * C, size * F
    pairs = row * F
    dU_plane = pairs + size * skew
    if fresh:
        clear(dbias, size * F)
    plane, dy_plane = row * patches * room + size * skew, dy_row * patches * room + size * skew
    while count > 0:
        pieces = (count + room - 1) // room
        images = (count + pieces - 1) // pieces
        images_into(
            zero, int_at(functions), x, images, V, padded, H, W, C, S, top, left, padded_width, m, T, down, across, plane
        )  # fmt: skip
        gradients_into(
            zero, int_at(functions + 8), dy, y, images, Z, dbias, padded_dy, OH, OW, F, m, T, down, across, dy_plane
        )  # fmt: skip
        gradient_plans = (first_plans if fresh else plans) + 16 * images
        share = images * dx_far // (T * T)
        # both products while a plane is in the cache; the second writes over what the first has read
        for k in range(T * T):
            prefetch(dx + k * share, share, 1)
            x_plane, gradient_plane = V + k * plane, Z + k * dy_plane
            run_planes(gradient_plans, 1, x_plane, 0, gradient_plane, 0, dU + k * dU_plane, 0)
            if dx:
                run_planes(input_plans + 16 * images, 1, gradient_plane, 0, Ut + k * pairs, 0, x_plane, 0)
        if dx:
            images_from(
                zero, int_at(functions + 16), V, images, dx, padded_dx, padded_bytes, H, W, C, S, top, left, padded_width, m, T,
                down, across, plane,
            )  # fmt: skip
            dx += images * H * W * C * size
        if y:
            y += images * OH * OW * dy_row
        x += images * H * W * C * size
        dy += images * OH * OW * dy_row
        count -= images
        fresh = 0
    if last:  # dkernel = Gᵀ dU G
        call(int_at(functions + 24), dU, T * dU_plane, dU_plane, dkernel, r * pairs, pairs, S * S * C * F, 0, 0)


# ---------------------------------------------------------------------- all patches of a batch at once


@kernel("V", "padded")
def images_to_planes(
    zero, count, x, V, padded, function, first, H, W, C, S, top, left, padded_width, m, T, down, across, plane
):  # fmt: skip
    """The patches of images from number `first` of the batch on, into planes of so many bytes; `padded` as above."""
    place = V + first * down * across * S * S * C * size_of(zero)
    images_into(zero, function, x, count, place, padded, H, W, C, S, top, left, padded_width, m, T, down, across, plane)


@kernel("Z", "dbias", "padded_dy")
def gradients_to_planes(
    zero, count, fresh, dy, y, Z, dbias, padded_dy, function, first, OH, OW, F, m, T, down, across, plane
):  # fmt: skip
    """As `images_to_planes`, for dy with the zeros of the ReLU that gave y (address 0: none), and dbias, its sum."""
    size = size_of(zero)
    if fresh:
        clear(dbias, size * F)
    place = Z + first * down * across * F * size
    gradients_into(zero, function, dy, y, count, place, dbias, padded_dy, OH, OW, F, m, T, down, across, plane)


@kernel("y", "results")
def planes_to_outputs(
    zero, count, M, bias, y, results, function, first, OH, OW, F, m, T, down, across, plane, relu
):  # fmt: skip
    """y of images from number `first` on; `results` is 0 where they consist of whole patches."""
    pixel = size_of(zero) * F
    place = M + first * down * across * pixel
    outputs_from(function, place, count, bias, relu, y, results, OH, OW, pixel, F, m, T, down, across, plane)


@kernel("dx", "padded")
def planes_to_gradients(
    zero, count, V, dx, padded, function, first, H, W, C, S, top, left, padded_width, padded_bytes, m, T, down, across, plane
):  # fmt: skip
    """dx of images from number `first` on, patch by overlapping patch."""
    place = V + first * down * across * S * S * C * size_of(zero)
    images_from(
        zero, function, place, count, dx, padded, padded_bytes, H, W, C, S, top, left, padded_width, m, T, down, across, plane
    )  # fmt: skip

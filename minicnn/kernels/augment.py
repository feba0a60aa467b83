"""Affine maps of images, one per image, with bilinear interpolation."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import inlined, kernel
from .simd import Emitter, _masked, i32, i64, lanes_of, number_at, put, real, size_of

CONSTANT, NEAREST, REFLECT, WRAP = 0, 1, 2, 3
FILL_MODES = {"constant": CONSTANT, "nearest": NEAREST, "reflect": REFLECT, "wrap": WRAP}


@inlined
def pixel(index, length, mode):
    """The pixel that stands for an index, or -1 where the fill value does."""
    if 0 <= index < length:
        return index
    if mode == NEAREST:
        return 0 if index < 0 else length - 1
    if mode == REFLECT:
        index %= 2 * length
        return index if index < length else 2 * length - 1 - index
    if mode == WRAP:
        return index % length
    return -1


@intrinsic
def rounded(typing, value, zero):
    """A float64 as a number of zero's type."""
    return zero(value, zero), lambda context, builder, signature, arguments: context.cast(
        builder, arguments[0], value, zero
    )


@intrinsic
def points(typing):
    """How many points `blend_points` does at once: the float64 in a vector register."""
    return types.intp(), lambda context, builder, signature, arguments: i64(lanes_of(types.float64))


@intrinsic
def blend_points(typing, row, column, down, right, first, left, image, line, target, zero):
    """`blend` at the points (row + down · j, column + right · j) from j = `first` on, `left` of them or a vector full.

    For images of one channel, whose lines lie `line` bytes apart; all four pixels of a point must be inside. Points are
    rounded as by the caller, who has seen that the first and the last one are inside: no fused multiply-add here.
    """

    def generate(context, builder, signature, arguments):
        row, column, down, right, first, left, image, line, target = arguments[:9]
        place = Emitter(builder, "float64")
        emit = Emitter(builder, str(zero), place.width)
        whole, pairs = (ir.VectorType(kind, place.width) for kind in (i64, ir.IntType(16 * emit.size)))
        lane, last = ir.Constant(whole, list(range(place.width))), emit.broadcast(builder.sub(left, i64(1)))
        lane = builder.select(builder.icmp_signed("<", lane, last), lane, last)  # those beyond do the last point again
        j = builder.sitofp(builder.add(lane, emit.broadcast(first)), place.vector)
        corner, shares = emit.broadcast(image), []
        for start, step, stride in ((row, down, line), (column, right, i64(emit.size))):
            at = builder.fadd(place.broadcast(start), builder.fmul(place.broadcast(step), j))
            index = builder.fptosi(at, ir.VectorType(i32, place.width))
            corner = builder.add(corner, builder.mul(builder.sext(index, whole), emit.broadcast(stride)))
            share = builder.fsub(at, builder.sitofp(index, place.vector))
            shares.append(share if emit.vector == place.vector else builder.fptrunc(share, emit.vector))

        def between(share, a, b):
            return builder.fadd(a, builder.fmul(share, builder.fsub(b, a)))

        def along_line(offset):
            """Between the pixels so many bytes after the corner and their neighbours: one load for both."""
            found = ir.Constant(pairs, ir.Undefined)
            for lane in range(emit.width):
                address = builder.add(builder.extract_element(corner, i64(lane)), offset)
                pair = builder.load(builder.inttoptr(address, pairs.element.as_pointer()), align=emit.size)
                found = builder.insert_element(found, pair, i64(lane))
            found = builder.bitcast(found, ir.VectorType(emit.number, 2 * emit.width))
            sides = (ir.Constant(ir.VectorType(i32, emit.width), list(range(k, 2 * emit.width, 2))) for k in (0, 1))
            return between(shares[1], *(builder.shuffle_vector(found, found, side) for side in sides))

        value = between(shares[0], along_line(i64(0)), along_line(line))
        target = builder.add(target, builder.mul(first, i64(emit.size)))
        _masked(emit, left, lambda: emit.store(value, target), lambda mask: emit.store(value, target, mask))
        return context.get_dummy_value()

    return types.void(*[types.float64] * 4, *[types.intp] * 5, zero), generate


@inlined
def tap(image, row, column, W, C, k, outside):
    """Channel k of a pixel, or the fill value for row or column -1."""
    if row < 0 or column < 0:
        return outside
    return number_at(image + size_of(outside) * ((row * W + column) * C + k), outside)


@inlined
def blend(v00, v01, v10, v11, below, right):
    """Bilinear between four pixels, at such shares of the way down and to the right."""
    top, bottom = v00 + right * (v01 - v00), v10 + right * (v11 - v10)
    return top + below * (bottom - top)


@kernel("y")
def affine(zero, count, x, matrices, y, H, W, C, mode, fill_value):
    """y[n,i,j] = x[n] at matrices[n] · (i, j, 1); matrices (·, 2, 3) are float64, fill_value one in an integer's bits."""
    size = size_of(zero)
    outside = rounded(real(fill_value), zero)
    line, last_row, last_column = W * C * size, H - 1.0, W - 1.0
    for n in range(count):
        image, m = x + n * H * line, matrices + n * 48
        a, b, c = number_at(m, 0.0), number_at(m + 8, 0.0), number_at(m + 16, 0.0)
        d, e, f = number_at(m + 24, 0.0), number_at(m + 32, 0.0), number_at(m + 40, 0.0)
        for i in range(H):
            target = y + n * H * line + i * line
            row_start, column_start = a * i + c, d * i + f
            j = 0
            while j < W:
                row, column = row_start + b * j, column_start + e * j
                if C == 1 and 0 <= row < last_row and 0 <= column < last_column:
                    end = W  # of the points inside, which follow each other
                    while not (
                        0 <= row_start + b * (end - 1) < last_row and 0 <= column_start + e * (end - 1) < last_column
                    ):
                        end -= 1
                    while j < end:
                        blend_points(row_start, column_start, b, e, j, end - j, image, line, target, zero)
                        j += points()
                    j = end
                else:
                    top, left = np.floor(row), np.floor(column)
                    below, right = rounded(row - top, zero), rounded(column - left, zero)
                    r0, r1 = pixel(int(top), H, mode), pixel(int(top) + 1, H, mode)
                    c0, c1 = pixel(int(left), W, mode), pixel(int(left) + 1, W, mode)
                    for k in range(C):
                        v00, v01 = tap(image, r0, c0, W, C, k, outside), tap(image, r0, c1, W, C, k, outside)
                        v10, v11 = tap(image, r1, c0, W, C, k, outside), tap(image, r1, c1, W, C, k, outside)
                        put(blend(v00, v01, v10, v11, below, right), target + (j * C + k) * size, zero)
                    j += 1

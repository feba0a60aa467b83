"""Motions of images with bilinear interpolation, an affine map and displacements per image; blur, and erased boxes."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inlined, kernel
from .random import gaussian_noise, philox, quarter_of
from .simd import (
    Emitter,
    Vector,
    _load,
    _masked,
    clear,
    copy,
    fill,
    i32,
    i64,
    int_at,
    lanes_of,
    load,
    number_at,
    put,
    real,
    size_of,
    store,
    width_of,
)

CONSTANT, NEAREST, REFLECT, WRAP = range(4)  # in the order of `FILL_MODES` in ops/reference.py


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
def blend_points(typing, row, column, down, right, first, left, image, line, shifts, plane, target, zero):
    """`blend` at the points (row + down · j, column + right · j) from j = `first` on, `left` of them or a vector full.

    For images of one channel, whose lines lie `line` bytes apart; all four pixels of a point must be inside. The caller
    has checked that with separate multiplications and additions, so points are computed without fused ones here, too.
    Unless it is 0, `shifts` is the address of displacements added to the rows; `plane` bytes on are the columns'.
    """

    def generate(context, builder, signature, arguments):
        row, column, down, right, first, left, image, line, shifts, plane, target = arguments[:11]
        place = Emitter(builder, "float64")
        emit = Emitter(builder, str(zero), place.width)
        whole, pairs = (ir.VectorType(kind, place.width) for kind in (i64, ir.IntType(16 * emit.size)))
        lane, last = ir.Constant(whole, list(range(place.width))), emit.broadcast(builder.sub(left, i64(1)))
        wanted = builder.icmp_signed("<=", lane, last)
        lane = builder.select(wanted, lane, last)  # those beyond do the last point again
        j = builder.sitofp(builder.add(lane, emit.broadcast(first)), place.vector)
        corner, shares = emit.broadcast(image), []
        shifted = builder.icmp_signed("!=", shifts, i64(0))
        shift = builder.add(shifts, builder.mul(first, i64(emit.size)))
        axes = ((row, down, line, shift), (column, right, i64(emit.size), builder.add(shift, plane)))
        for start, step, stride, more in axes:
            point = cgutils.alloca_once(builder, place.vector)
            at = builder.fadd(place.broadcast(start), builder.fmul(place.broadcast(step), j))
            builder.store(at, point)
            with builder.if_then(shifted):
                more = _load(emit, more, left, emit.vector)
                more = more if emit.vector == place.vector else builder.fpext(more, place.vector)
                at = builder.select(wanted, builder.fadd(at, more), place.zero)  # or the first pixel
                builder.store(at, point)
            at = builder.load(point)
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

    return types.void(*[types.float64] * 4, *[types.intp] * 7, zero), generate


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
def affine(zero, count, x, matrices, field, y, H, W, C, mode, fill_value):
    """y[n,i,j] = x[n] at matrices[n] · (i, j, 1) + field[n,:,i,j]; field (·, 2, H, W) may be 0.

    matrices (·, 2, 3) are float64, fill_value one in an integer's bits.
    """
    size = size_of(zero)
    outside = rounded(real(fill_value), zero)
    line, last_row, last_column, plane = W * C * size, H - 1.0, W - 1.0, H * W * size
    for n in range(count):
        image, m = x + n * H * line, matrices + n * 48
        a, b, c = number_at(m, 0.0), number_at(m + 8, 0.0), number_at(m + 16, 0.0)
        d, e, f = number_at(m + 24, 0.0), number_at(m + 32, 0.0), number_at(m + 40, 0.0)
        for i in range(H):
            target = y + n * H * line + i * line
            row_start, column_start = a * i + c, d * i + f
            shifts = field + 2 * n * plane + i * W * size if field else 0
            j = 0
            while j < W:
                row, column = row_start + b * j, column_start + e * j
                if field:
                    row += number_at(shifts + j * size, zero)
                    column += number_at(shifts + j * size + plane, zero)
                if C == 1 and 0 <= row < last_row and 0 <= column < last_column:
                    if field:  # the points inside that follow each other, a vector full at most
                        end = j + 1
                        while end < min(W, j + points()):
                            row = row_start + b * end + number_at(shifts + end * size, zero)
                            column = column_start + e * end + number_at(shifts + end * size + plane, zero)
                            if not (0 <= row < last_row and 0 <= column < last_column):
                                break
                            end += 1
                    else:
                        end = W  # all of them follow each other
                        while not (
                            0 <= row_start + b * (end - 1) < last_row
                            and 0 <= column_start + e * (end - 1) < last_column
                        ):
                            end -= 1
                    while j < end:
                        blend_points(
                            row_start, column_start, b, e, j, end - j, image, line, shifts, plane, target, zero
                        )
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


@kernel("maps")
def moment_maps(zero, count, x, maps, H, W, C, width, least, most, tiny):
    """maps (·, 2, 3), float64, as `Ops.moment_maps`; width, the factors `least` and `most`, and the least variance `tiny`
    are float64 in an integer's bits."""
    size = size_of(zero)
    middle, centre = (H - 1) / 2, (W - 1) / 2
    for n in range(count):
        image, m = x + n * H * W * C * size, maps + n * 48
        mass = down = right = rows = both = columns = 0.0
        for i in range(H):
            of_row = to_right = squared = 0.0
            for j in range(W):
                pixel_mass = 0.0
                for k in range(C):
                    pixel_mass += number_at(image + ((i * W + j) * C + k) * size, zero)
                of_row += pixel_mass
                to_right += pixel_mass * (j - centre)
                squared += pixel_mass * (j - centre) * (j - centre)
            mass += of_row
            down += of_row * (i - middle)
            right += to_right
            rows += of_row * (i - middle) * (i - middle)
            both += to_right * (i - middle)
            columns += squared
        slant, scale = 0.0, 1.0
        if mass > 0:
            down, right = down / mass, right / mass
            rows, both, columns = rows / mass - down * down, both / mass - down * right, columns / mass - right * right
            if rows > real(tiny):
                slant = both / rows
            factor = real(width) / np.sqrt(max(columns - slant * both, real(tiny)))
            scale = 1 / min(max(factor, real(least)), real(most))
        shift = (1 - scale) * (right + centre) - slant * (down + middle)
        for k, number in enumerate((1.0, 0.0, 0.0, slant, scale, shift)):
            put(number, m + 8 * k, 0.0)


@intrinsic
def as_numbers(typing, bits, zero):
    """A vector of uint32 as one of numbers of zero's type."""

    def generate(context, builder, signature, arguments):
        return builder.uitofp(arguments[0], ir.VectorType(context.get_value_type(zero), bits.width))

    return Vector(zero, bits.width)(bits, zero), generate


@inlined
def smooth(x, rows, columns, reach, lines, y, H, W, C, zero):
    """y[i,j] = Σ_kl rows[|i-k|] · x[k,l] · columns[|j-l|] for an image, zeros outside.

    `reach` holds the largest distance with a weight in `rows` and in `columns`; `lines` is scratch for twelve lines of
    the image. Four lines are done at a time, as their sums are independent; if fewer are left, the last is repeated.
    """
    size, lanes, L = size_of(zero), width_of(zero), W * C
    up, along = int_at(reach), int_at(reach + 8)
    padded = size * (L + 2 * along * C)
    inner = lines + size * along * C
    clear(lines, 4 * padded)
    for i0 in range(0, H, 4):
        i1, i2, i3 = min(i0 + 1, H - 1), min(i0 + 2, H - 1), min(i0 + 3, H - 1)
        for j in range(0, L, lanes):
            a, b, c, d = fill(zero, zero), fill(zero, zero), fill(zero, zero), fill(zero, zero)
            for k in range(max(0, i0 - up), min(H, i3 + up + 1)):
                value = load(x + size * (k * L + j), L - j, zero)
                a += fill(number_at(rows + size * abs(i0 - k), zero), zero) * value
                b += fill(number_at(rows + size * abs(i1 - k), zero), zero) * value
                c += fill(number_at(rows + size * abs(i2 - k), zero), zero) * value
                d += fill(number_at(rows + size * abs(i3 - k), zero), zero) * value
            place = inner + size * j
            store(a, place, L - j)
            store(b, place + padded, L - j)
            store(c, place + 2 * padded, L - j)
            store(d, place + 3 * padded, L - j)
        for j in range(0, L, lanes):
            a, b, c, d = fill(zero, zero), fill(zero, zero), fill(zero, zero), fill(zero, zero)
            for k in range(-along, along + 1):
                weight, place = fill(number_at(columns + size * abs(k), zero), zero), inner + size * (j + k * C)
                a += weight * load(place, L - j, zero)
                b += weight * load(place + padded, L - j, zero)
                c += weight * load(place + 2 * padded, L - j, zero)
                d += weight * load(place + 3 * padded, L - j, zero)
            place = y + size * j
            store(a, place + size * i0 * L, L - j)
            store(b, place + size * i1 * L, L - j)
            store(c, place + size * i2 * L, L - j)
            store(d, place + size * i3 * L, L - j)


@kernel("field")
def random_field(zero, count, rows, columns, reach, strength, key, noise, field, first, H, W):
    """strength[n] · u, u uniform in [-1, 1), after `smooth`; for images from number `first` on.

    `key` as for `dropout`; `noise` has room for two images and twelve lines.
    """
    size, lanes, numbers = size_of(zero), width_of(zero), 2 * H * W
    seed, step, layer = int_at(key), int_at(key + 8), int_at(key + 16)
    unit, one = fill(2.0**-31, zero), fill(1.0, zero)
    for n in range(count):
        factor, k = fill(number_at(strength + size * n, zero), zero), 0
        while k < numbers:
            r0, r1, r2, r3 = philox((first + n) * ((numbers + 3) // 4) + k // 4, seed, step, layer, zero)
            for quarter in range(4):
                bits = quarter_of(r0, r1, r2, r3, quarter)
                if k < numbers:
                    store(factor * (as_numbers(bits, zero) * unit - one), noise + size * k, numbers - k)
                k += lanes
        for m in range(2):
            place = size * m * H * W
            target = field + size * n * numbers + place
            smooth(noise + place, rows, columns, reach, noise + size * numbers, target, H, W, 1, zero)


@kernel("y")
def blur(zero, count, x, rows, columns, reach, chosen, lines, y, H, W, C):
    """y[n] is x[n] after `smooth` where the int64 chosen[n] is not 0, else x[n]."""
    image = size_of(zero) * H * W * C
    for n in range(count):
        if int_at(chosen + 8 * n):
            smooth(x + n * image, rows, columns, reach, lines, y + n * image, H, W, C, zero)
        else:
            copy(x + n * image, y + n * image, image)


add_noise = inlined(gaussian_noise.function)


@kernel("y")
def random_noise(zero, count, x, levels, key, y, first, each):
    """y = x + levels[n] · z for images of `each` numbers; levels (·,) are float64; z, `first` and `key` as in `gaussian_noise`."""
    size = size_of(zero) * each
    for n in range(count):
        if number_at(levels + 8 * n, 0.0) == 0:
            copy(x + n * size, y + n * size, size)
        else:
            add_noise(zero, 1, x + n * size, y + n * size, first + n * each, each, key, int_at(levels + 8 * n))


@kernel("y")
def erase(zero, count, x, boxes, fill, key, y, first, H, W, C, least, most):
    """y = x, with the rows and columns [from, to) of boxes (·, 4), int64, filled by numbers clipped to [least, most].

    The numbers are `fill` (C,), float64, or, where that address is 0, normal numbers times `most`, functions of their
    index, which is `first` for x's first number. `key` as for `dropout`; `least` and `most` are float64 in an
    integer's bits.
    """
    size, numbers = size_of(zero), H * W * C
    low, high = rounded(real(least), zero), rounded(real(most), zero)
    copy(x, y, size * count * numbers)
    for n in range(count):
        box = boxes + 32 * n
        top, bottom, left, right = int_at(box), int_at(box + 8), int_at(box + 16), int_at(box + 24)
        for i in range(max(top, 0), min(bottom, H)):
            begin = (i * W + max(left, 0)) * C
            wide = (i * W + min(right, W)) * C - begin
            if wide <= 0:
                continue
            target = y + size * (n * numbers + begin)
            if fill == 0:
                clear(target, size * wide)
                add_noise(zero, 1, target, target, first + n * numbers + begin, wide, key, most)
            for k in range(wide):
                value = number_at(target + size * k, zero)
                if fill:
                    value = rounded(number_at(fill + 8 * (k % C), 0.0), zero)
                put(min(max(value, low), high), target + size * k, zero)

"""Convolution through the register tile, image by image, nearly without writing the columns of im2col.

In NHWC memory a row of the im2col matrix is, for one row of the kernel, a contiguous run of the padded image: KW·C
numbers beginning at the window's first pixel. So the tile reads its operand a straight from the image, with strides for
the windows, and the three products of a convolution differ only in their plans:

    forward          y[i,j,f]       = Σ_abc x[i·s + a·d, j·s + b·d, c] · kernel[a,b,c,f]     rows: pixels of a line of y
    kernel gradient  dkernel[a,b,c,f] = Σ_ij x[i·s + a·d, j·s + b·d, c] · dy[i,j,f]          rows: taps and channels (b, c)
    input gradient   dx[i,j,c]      = Σ_abf dy[(i - a·d)/s, (j - b·d)/s, f] · kernel[a,b,c,f]  rows: pixels of a line of dx

A depthwise convolution has the same three, of channels that stay `apart`: c = f, and there is no sum over either.

On images of one channel a row of the kernel is so short that it fills no tile. There the columns are written after all for
the kernel gradient, a few lines at a time. And where the kernel is larger than a cache and an image has few windows, the
columns of all images are written, so that the kernel is read once per batch and not once per image.

A strided input gradient reaches a pixel only through the taps a with a·d ≡ i (mod s): pixels of equal remainder (a
phase) form a plain convolution with some of the taps, or none, so there are s·s small plans and no multiplication by a
zero that was put in between. With a bias and a ReLU this is the forward of a transposed convolution, too.
"""

from functools import lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np

from .arrays import transpose
from .jit import kernel, part
from .product import HEAD, plan, run_plan
from .simd import (
    ACCUMULATE,
    FIELDS,
    apart_shape,
    clear,
    copy,
    fill,
    int_at,
    lanes,
    load,
    select,
    size_of,
    store,
    width_of,
)

BAND = 1 << 13  # numbers in the columns and dy of the lines that are done at once: a first-level cache of 32 KiB
WIDE = 8  # filters from which on columns are worth it
PIXELS = 4  # that the gradient of a kernel whose channels stay apart adds up at once
TERMS = 5  # that a tile of channels which stay apart adds up at once, at most
CACHED = 1 << 16  # numbers that are read again and again: a quarter of a second-level cache of 1 MiB
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def side_by_side(taps: int, channels: int, together: bool, spacing: int) -> dict[str, int]:
    """A sum over the taps of a kernel row, of channels that stay apart: at once where taps lie as far apart as pixels."""
    if together and taps <= TERMS:
        return {"apart": taps}
    return {"apart": 1, "K": taps, "a_k": spacing * channels, "b_k": channels}


@lru_cache(maxsize=256)
def forward_plan(
    dtype: str,
    image: Pair,
    channels: int,
    size: Pair,
    filters: int,
    outputs: Pair,
    strides: Pair,
    dilation: Pair,
    start: int,
    relu: int,
    apart: bool = False,
) -> np.ndarray:
    """One image: a is the padded image of height and width `image`, b the kernel, c the output."""
    _, W = image
    KW, C, F, OW = size[1], channels, filters, outputs[1]
    if apart:
        taps = side_by_side(KW, C, strides[1] == dilation[1] == 1, dilation[1]) | {"b_p": KW * C}
    elif dilation[1] == 1:  # the taps of one kernel row lie side by side
        taps = {"K": KW * C, "a_k": 1, "b_k": F, "b_p": KW * C * F}
    else:
        taps = {"Q": KW, "K": C, "a_q": dilation[1] * C, "b_q": C * F, "a_k": 1, "b_k": F, "b_p": KW * C * F}
    return plan(
        dtype, OW, F, I=outputs[0], a_i=strides[0] * W * C, c_i=OW * F, a_row=strides[1] * C, c_row=F,
        P=size[0], a_p=dilation[0] * W * C, start=start, relu=relu, **taps,
    )  # fmt: skip


@lru_cache(maxsize=256)
def kernel_gradient_plan(
    dtype: str,
    image: Pair,
    channels: int,
    size: Pair,
    filters: int,
    outputs: Pair,
    strides: Pair,
    dilation: Pair,
    dy_width: int,
) -> np.ndarray:
    """One image: a is the padded image, b is dy in lines of `dy_width` pixels, and c, which is added to, dkernel.

    As many lines at a time as the second-level cache holds: each of them is read again for every tile of dkernel.
    """
    _, W = image
    KW, C, F = size[1], channels, filters
    contiguous = dilation[1] == 1
    lines = max(1, CACHED // (strides[0] * W * C + dy_width * F))
    parts = [
        plan(
            dtype, KW * C if contiguous else C, F, a_offset=(first * strides[0] * W + b * dilation[1]) * C,
            b_offset=first * dy_width * F, c_offset=b * C * F,
            I=size[0], a_i=dilation[0] * W * C, c_i=KW * C * F, a_row=1, c_row=F,
            Q=min(lines, outputs[0] - first), a_q=strides[0] * W * C, b_q=dy_width * F,
            K=outputs[1], a_k=strides[1] * C, b_k=F, start=ACCUMULATE,
        )
        for first in range(0, outputs[0], lines)
        for b in range(1 if contiguous else KW)
    ]  # fmt: skip
    return np.concatenate(parts)


@lru_cache(maxsize=256)
def apart_kernel_gradient_plan(
    dtype: str, image: Pair, channels: int, size: Pair, outputs: Pair, strides: Pair, dilation: Pair, dy_width: int
) -> np.ndarray:
    """`kernel_gradient_plan` for channels that stay apart: rows are the taps of one kernel row.

    As many lines at a time as the first-level cache holds of a tile's channels: they are read again for each kernel row.
    Pixels are taken a few at once, and those that are left over together, where they lie as far apart as taps.
    """
    _, W = image
    KW, C, OW = size[1], channels, outputs[1]
    at_once = PIXELS if strides[1] == dilation[1] == 1 else 1
    wide = min(C, apart_shape(KW, at_once)[1] * lanes(np.dtype(dtype)))
    lines = max(1, BAND // 2 // ((strides[0] * W + dy_width) * wide))
    parts = [
        plan(
            dtype, KW, C, a_offset=(first * strides[0] * W + begin * strides[1]) * C,
            b_offset=(first * dy_width + begin) * C, apart=terms,
            I=size[0], a_i=dilation[0] * W * C, c_i=KW * C, a_row=dilation[1] * C, c_row=C,
            Q=min(lines, outputs[0] - first), a_q=strides[0] * W * C, b_q=dy_width * C,
            K=count, a_k=terms * strides[1] * C, b_k=terms * C, start=ACCUMULATE,
        )
        for first in range(0, outputs[0], lines)
        for begin, terms, count in ((0, at_once, OW // at_once), (OW - OW % at_once, OW % at_once, 1))
        if terms and count
    ]  # fmt: skip
    return np.concatenate(parts)


@lru_cache(maxsize=256)
def column_plan(dtype: str, room: int, pixels: int, taps: int, filters: int) -> np.ndarray:
    """Some pixels: a has ones and then the taps' pixels, `room` apart, b is dy, and c, which is added to, dbias and dkernel."""
    return plan(dtype, 1 + taps, filters, a_row=room, c_row=filters, K=pixels, a_k=1, b_k=filters, start=ACCUMULATE)


class Phase(NamedTuple):
    """The pixels of dx, along one axis, that lie s apart and are reached by the same taps of the kernel, or by none."""

    pixel: int  # the first of them
    pixels: int
    tap: int  # the first tap that reaches them
    step: int  # from one of these taps to the next
    taps: int
    line: int  # the line of dy from which the last tap reaches the first pixel; below 0 in the zeros before dy
    spacing: int  # distance, in lines of dy, between two neighbouring taps of a pixel


def phases(length: int, before: int, size: int, outputs: int, s: int, d: int) -> tuple[list[Phase], Pair]:
    """The phases of one axis of an input gradient, and the zeros to put before and after dy.

    Pixel i of dx and line o of dy meet in tap a where i + before = o·s + a·d.
    """
    common = gcd(s, d)
    step, spacing = s // common, d // common
    found = []
    for remainder in range(s):
        tap = next((a for a in range(min(size, s)) if (remainder - a * d) % s == 0), size)
        taps = len(range(tap, size, step))
        pixel = (remainder - before) % s
        pixels = len(range(pixel, length, s))
        if pixels:
            line = (pixel + before - tap * d) // s - (taps - 1) * spacing if taps else 0
            found.append(Phase(pixel, pixels, tap, step, taps, line, spacing))
    zeros_before = max([0, *(-phase.line for phase in found)])
    lines = [phase.line + (phase.taps - 1) * phase.spacing + phase.pixels for phase in found if phase.taps]
    return found, (zeros_before, max([0, *(line - outputs for line in lines)]))


@lru_cache(maxsize=256)
def input_gradient_plan(
    dtype: str,
    image: Pair,
    pads: Pads,
    channels: int,
    size: Pair,
    filters: int,
    outputs: Pair,
    strides: Pair,
    dilation: Pair,
    apart: bool = False,
    start: int = 0,
    relu: int = 0,
) -> tuple[np.ndarray, list[tuple[Phase, Phase]], Pads]:
    """One image: a is dy between zeros, b the flipped kernel, c the input gradient of height and width `image`.

    Returns the plan, the phases of its parts in order, and the zeros to put around dy.
    """
    C, F, tap = channels, filters, channels if apart else channels * filters  # numbers of the kernel in a tap
    (down, (top, bottom)), (across, (left, right)) = (
        phases(image[k], pads[k][0], size[k], outputs[k], strides[k], dilation[k]) for k in (0, 1)
    )
    width = left + outputs[1] + right
    parts, order, b_offset = [np.empty((0, HEAD + len(FIELDS)), np.int64)], [], 0
    for i in down:
        for j in across:
            inner = {"Q": 1, "K": j.taps * F, "a_k": 1, "b_k": C}
            if apart:
                inner = side_by_side(j.taps, C, j.spacing == 1, j.spacing)
            elif j.spacing != 1:
                inner = {"Q": j.taps, "K": F, "a_k": 1, "b_k": C, "a_q": j.spacing * F, "b_q": F * C}
            parts.append(
                plan(
                    dtype, j.pixels, C,
                    a_offset=((top + i.line) * width + left + j.line) * F,
                    b_offset=b_offset,
                    c_offset=(i.pixel * image[1] + j.pixel) * C,
                    I=i.pixels, a_i=width * F, c_i=strides[0] * image[1] * C, a_row=F, c_row=strides[1] * C,
                    P=i.taps * bool(j.taps), a_p=i.spacing * width * F, b_p=j.taps * tap, start=start, relu=relu, **inner,
                )
            )  # fmt: skip
            order.append((i, j))
            b_offset += i.taps * j.taps * tap
    return np.concatenate(parts), order, ((top, bottom), (left, right))


def tap_order(order: list[tuple[Phase, Phase]], width: int) -> np.ndarray:
    """The taps, numbered a · KW + b, in the order in which the input gradient multiplies by them: last ones first."""
    taps = []
    for i, j in order:
        downwards, across = (range(p.tap, p.tap + p.taps * p.step, p.step) for p in (i, j))
        taps += [a * width + b for a in reversed(downwards) for b in reversed(across)]
    return np.array(taps, np.int64)


@kernel("flipped")
def flip_kernel(zero, count, kernel, order, flipped, first, C, F):
    """The taps (C, F) named by `order`, from number `first` on, transposed to (F, C)."""
    size = size_of(zero)
    for k in range(count):
        source = kernel + size * int_at(order + 8 * (first + k)) * C * F
        target = flipped + size * (first + k) * C * F
        transpose(source, C, F, size * F, target, size * C, zero)


@part
def pad(image, lines, line, padded, padded_line):
    """Copies so many lines of so many bytes to the inside of a padded image, whose border is zero and stays so."""
    for i in range(lines):
        copy(image + i * line, padded + i * padded_line, line)


@kernel("y", "padded")
def convolve(
    zero, count, x, weights, bias, y, padded, plan, panels, H, W, C, top, left, padded_width, y_image,
):  # fmt: skip
    """Forward; `padded` is one image of scratch, 0 where there is no padding, and `y_image` the bytes of one of y."""
    size = size_of(zero)
    line, padded_line = size * W * C, size * padded_width * C
    for n in range(count):
        source = x + n * H * line
        if padded:
            pad(source, H, line, padded + top * padded_line + left * size * C, padded_line)
            source = padded
        run_plan(plan, panels, source, weights, bias, y + n * y_image)


@part
def take_lines(image, lines, line, first, wanted, target, target_line):
    """Copies `wanted` lines of `line` bytes from number `first` of an image on; lines outside the image become zero."""
    for i in range(first, first + wanted):
        if 0 <= i < lines:
            copy(image + i * line, target, line)
        else:
            clear(target, line)
        target += target_line


@kernel("y", "padded")
def convolve_bands(
    zero, count, x, weights, bias, y, padded, plan, panels, first, bands, step, reach, H, W, C, top, left, padded_width,
    y_band,
):  # fmt: skip
    """Forward for `count` bands of lines of y, `bands` an image, from number `first` of the batch on.

    A band of y takes `y_band` bytes and reads `reach` lines of x, `step` lines after those of the band before; `padded`
    is scratch for them, or 0.
    """
    size = size_of(zero)
    line, padded_line = size * W * C, size * padded_width * C
    for n in range(count):
        image, begin = x + (first + n) // bands * H * line, (first + n) % bands * step - top
        source = image + begin * line
        if padded:
            take_lines(image, H, line, begin, reach, padded + left * size * C, padded_line)
            source = padded
        run_plan(plan, panels, source, weights, bias, y + n * y_band)


@part
def prepare_gradient(zero, dy, y, lines, width, F, padded_dy, padded_line, total):
    """Copies dy of one image into a padded one, with zeros where y, the result of a ReLU, is zero; adds all to total (F,).

    y is 0 where there was no ReLU, padded_dy is 0 where no copy is needed.
    """
    size, lanes = size_of(zero), width_of(zero)
    nothing = fill(zero, zero)
    for i in range(lines):
        for f in range(0, F, lanes):
            left = F - f
            sum0 = load(total + size * f, left, zero)
            sum1 = nothing
            source, target = size * (i * width * F + f), padded_dy + i * padded_line + size * f
            for _ in range(width):
                gradient = load(dy + source, left, zero)
                if y:
                    gradient = select(load(y + source, left, zero) <= nothing, nothing, gradient)
                if padded_dy:
                    store(gradient, target, left)
                sum0, sum1 = sum1, sum0 + gradient
                source += size * F
                target += size * F
            store(sum0 + sum1, total + size * f, left)


@kernel("dkernel", "dbias", "dx", "padded", "padded_dy")
def convolve_backward(
    zero, count, fresh, x, dy, y, padded, padded_dy, dkernel, dbias, flipped, dx, kernel_plan, kernel_panels,
    input_plan, input_panels, H, W, C, top, left, padded_width, OH, OW, F, dy_top, dy_left, dy_width, weights,
):  # fmt: skip
    """Both gradients, dkernel of so many `weights`; `y` is 0 without a ReLU, `dx` if it is not wanted."""
    size = size_of(zero)
    if fresh:
        clear(dkernel, size * weights)
        clear(dbias, size * F)
    line, padded_line, dy_line = size * W * C, size * padded_width * C, size * dy_width * F
    padded_start = padded_dy + dy_top * dy_line + dy_left * size * F if padded_dy else 0
    for n in range(count):
        image = size * n * OH * OW * F
        result = y + image if y else 0
        source, gradient = x + n * H * line, dy + image
        prepare_gradient(zero, gradient, result, OH, OW, F, padded_start, dy_line, dbias)
        start = gradient
        if padded_dy:
            start, gradient = padded_start, padded_dy
        if padded:
            pad(source, H, line, padded + top * padded_line + left * size * C, padded_line)
            source = padded
        run_plan(kernel_plan, kernel_panels, source, start, 0, dkernel)
        if dx:
            run_plan(input_plan, input_panels, gradient, flipped, 0, dx + n * H * line)


@kernel("part", "passed")
def gradient_of_output(zero, count, fresh, dy, y, passed, part, pixels, F):
    """Adds dy to part (F,), a group's sum so far: dbias. `y` is 0 without a ReLU, else dy after its mask goes to `passed`."""
    size = size_of(zero)
    if fresh:
        clear(part, size * F)
    for n in range(count):
        image = size * n * pixels * F
        prepare_gradient(
            zero, dy + image, y + image if y else 0, 1, pixels, F, passed + image if passed else 0, 0, part
        )


@kernel("part", "padded", "columns", "passed")
def kernel_gradient_by_columns(
    zero, count, fresh, x, dy, y, padded, columns, passed, part, plans, lines, H, W, top, left, padded_width, OH, OW, F, KH,
    KW, SH, DH, DW,
):  # fmt: skip
    """Adds to part (1 + KH·KW, F), a group's sum so far: dbias, and below it dkernel, of images of one channel.

    The columns of im2col are written for `lines` lines of dy at a time, which fit the first-level cache: a row of ones
    for dbias, then for every tap the pixels that it meets. `y` is 0 without a ReLU; `passed` is scratch for dy after
    the ReLU's mask. `plans` has the plan for `lines` lines and the one for the last, fewer lines.
    """
    size, lanes, nothing = size_of(zero), width_of(zero), fill(zero, zero)
    room = lines * OW
    if fresh:
        clear(part, size * (1 + KH * KW) * F)
    for k in range(0, room, lanes):
        store(fill(1, zero), columns + size * k, room - k)
    padded_line = size * padded_width
    for n in range(count):
        inside = padded + top * padded_line + left * size
        pad(x + size * n * H * W, H, size * W, inside, padded_line)
        for begin in range(0, OH, lines):
            end = min(begin + lines, OH)
            for a in range(KH):
                for b in range(KW):
                    column = columns + size * (1 + a * KW + b) * room
                    pixel = padded + (begin * SH + a * DH) * padded_line + size * b * DW
                    for _ in range(begin, end):
                        for k in range(0, OW, lanes):  # what is more than a line is overwritten by what comes next
                            store(load(pixel + size * k, lanes, zero), column + size * k, lanes)
                        column += size * OW
                        pixel += SH * padded_line
            place = size * (n * OH + begin) * OW * F
            gradient = dy + place
            if y:
                numbers = (end - begin) * OW * F
                for k in range(0, numbers, lanes):
                    value = load(gradient + size * k, numbers - k, zero)
                    stopped = load(y + place + size * k, numbers - k, zero) <= nothing
                    store(select(stopped, nothing, value), passed + size * k, numbers - k)
                gradient = passed
            entry = plans if end - begin == lines else plans + 16
            run_plan(int_at(entry), int_at(entry + 8), columns, gradient, 0, part)


# ---------------------------------------------------------------------- the columns of all images


@part
def inside(before, step, taps, length):
    """The first tap that lies on the image, and the one after the last; tap t lies at pixel t · step - before of `length`."""
    first = min((before + step - 1) // step, taps) if before > 0 else 0
    last = (length + before + step - 1) // step
    return first, max(first, min(last, taps))


@kernel("columns")
def im2col(zero, count, x, columns, H, W, C, KH, KW, SH, SW, DH, DW, top, left, OH, OW):
    """The windows of images as rows (KH, KW, C) of a matrix, one for each pixel of the output; zeros beside the image."""
    pixel = size_of(zero) * C
    for _ in range(count):
        for i in range(OH):
            above = top - i * SH
            a, a_end = inside(above, DH, KH, H)
            for j in range(OW):
                before = left - j * SW
                b, b_end = inside(before, DW, KW, W)
                if (a_end - a) * (b_end - b) < KH * KW:
                    clear(columns, KH * KW * pixel)
                for p in range(a, a_end):
                    source = x + ((p * DH - above) * W + b * DW - before) * pixel
                    target = columns + (p * KW + b) * pixel
                    if DW == 1:
                        copy(source, target, (b_end - b) * pixel)
                    else:
                        for q in range(b_end - b):
                            copy(source + q * DW * pixel, target + q * pixel, pixel)
                columns += KH * KW * pixel
        x += H * W * pixel


@kernel("dx")
def col2im(zero, count, columns, dx, H, W, C, KH, KW, SH, SW, DH, DW, top, left, OH, OW):
    """Its adjoint: each number of a row is added to the pixel that it would have come from."""
    size, lanes = size_of(zero), width_of(zero)
    pixel = size * C
    for _ in range(count):
        clear(dx, H * W * pixel)
        for i in range(OH):
            above = top - i * SH
            a, a_end = inside(above, DH, KH, H)
            for j in range(OW):
                before = left - j * SW
                b, b_end = inside(before, DW, KW, W)
                for p in range(a, a_end):
                    for q in range(b, b_end):
                        target = dx + ((p * DH - above) * W + q * DW - before) * pixel
                        source = columns + (p * KW + q) * pixel
                        for c in range(0, C, lanes):
                            number, left_over = size * c, C - c
                            total = load(target + number, left_over, zero) + load(source + number, left_over, zero)
                            store(total, target + number, left_over)
                columns += KH * KW * pixel
        dx += H * W * pixel

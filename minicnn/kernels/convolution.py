"""Convolution through the register tile, image by image, without ever writing the columns of im2col.

In NHWC memory a row of the im2col matrix is, for one row of the kernel, a contiguous run of the padded image: KW·C
numbers beginning at the window's first pixel. So the tile reads its operand a straight from the image, with strides for
the windows, and the three products of a convolution differ only in their plans:

    forward          y[i,j,f]       = Σ_abc x[i·s + a·d, j·s + b·d, c] · kernel[a,b,c,f]     rows: pixels of a line of y
    kernel gradient  dkernel[a,b,c,f] = Σ_ij x[i·s + a·d, j·s + b·d, c] · dy[i,j,f]          rows: taps and channels (b, c)
    input gradient   dx[i,j,c]      = Σ_abf dy[(i - a·d)/s, (j - b·d)/s, f] · kernel[a,b,c,f]  rows: pixels of a line of dx

A strided input gradient reaches a pixel only through the taps a with a·d ≡ i (mod s): pixels of equal remainder (a
phase) form a plain convolution with some of the taps, so there are s·s small plans and no multiplication by a zero that
was put in between.
"""

from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from .jit import kernel
from .product import HEAD, plan, run_plan
from .simd import FIELDS

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


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
) -> np.ndarray:
    """One image: a is the padded image of height and width `image`, b the kernel, c the output."""
    _, W = image
    KW, C, F, OW = size[1], channels, filters, outputs[1]
    contiguous = dilation[1] == 1  # the taps of one kernel row lie side by side
    taps = {"Q": 1, "K": KW * C} if contiguous else {"Q": KW, "K": C, "a_q": dilation[1] * C, "b_q": C * F}
    return plan(
        dtype, OW, F, I=outputs[0], a_i=strides[0] * W * C, c_i=OW * F, a_row=strides[1] * C, c_row=F,
        P=size[0], a_p=dilation[0] * W * C, b_p=KW * C * F, a_k=1, b_k=F, start=start, relu=relu, **taps,
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
    """One image: a is the padded image, b is dy in lines of `dy_width` pixels, and c, which is added to, dkernel."""
    _, W = image
    KW, C, F = size[1], channels, filters
    contiguous = dilation[1] == 1
    parts = [
        plan(
            dtype, KW * C if contiguous else C, F, a_offset=b * dilation[1] * C, c_offset=b * C * F,
            I=size[0], a_i=dilation[0] * W * C, c_i=KW * C * F, a_row=1, c_row=F,
            Q=outputs[0], a_q=strides[0] * W * C, b_q=dy_width * F, K=outputs[1], a_k=strides[1] * C, b_k=F, start=2,
        )
        for b in range(1 if contiguous else KW)
    ]  # fmt: skip
    return np.concatenate(parts)


class Phase(NamedTuple):
    """The pixels of dx, along one axis, that lie s apart and are reached by the same taps of the kernel."""

    pixel: int  # the first of them
    pixels: int
    tap: int  # the first tap that reaches them
    step: int  # between these taps
    taps: int
    line: int  # of dy, where the last tap reaches the first pixel from; before 0 there are zeros
    spacing: int  # of the lines of dy that two neighbouring taps reach a pixel from


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
        if taps and pixels:
            line = (pixel + before - tap * d) // s - (taps - 1) * spacing
            found.append(Phase(pixel, pixels, tap, step, taps, line, spacing))
    zeros_before = max([0, *(-phase.line for phase in found)])
    lines = [phase.line + (phase.taps - 1) * phase.spacing + phase.pixels for phase in found]
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
) -> tuple[np.ndarray, list[tuple[Phase, Phase]], Pads]:
    """One image: a is dy between zeros, b the flipped kernel, c the input gradient of height and width `image`.

    Returns the plan, the phases of its parts in order, and the zeros to put around dy.
    """
    C, F = channels, filters
    (down, (top, bottom)), (across, (left, right)) = (
        phases(image[k], pads[k][0], size[k], outputs[k], strides[k], dilation[k]) for k in (0, 1)
    )
    width = left + outputs[1] + right
    parts, order, b_offset = [np.empty((0, HEAD + len(FIELDS)), np.int64)], [], 0
    for i in down:
        for j in across:
            inner = {"Q": 1, "K": j.taps * F}
            if j.spacing != 1:
                inner = {"Q": j.taps, "K": F, "a_q": j.spacing * F, "b_q": F * C}
            parts.append(
                plan(
                    dtype, j.pixels, C,
                    a_offset=((top + i.line) * width + left + j.line) * F,
                    b_offset=b_offset,
                    c_offset=(i.pixel * image[1] + j.pixel) * C,
                    I=i.pixels, a_i=width * F, c_i=strides[0] * image[1] * C, a_row=F, c_row=strides[1] * C,
                    P=i.taps, a_p=i.spacing * width * F, b_p=j.taps * F * C, a_k=1, b_k=C, **inner,
                )
            )  # fmt: skip
            order.append((i, j))
            b_offset += i.taps * j.taps * F * C
    return np.concatenate(parts), order, ((top, bottom), (left, right))


def flipped_kernel(weights: np.ndarray, order: list[tuple[Phase, Phase]]) -> np.ndarray:
    """The kernel as the input gradient multiplies by it: the taps of each phase as (taps, taps, F, C), last ones first."""
    parts = [weights[i.tap :: i.step, j.tap :: j.step][::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1) for i, j in order]
    return np.concatenate([np.empty(0, weights.dtype), *parts])


@kernel
def clear(x: Any) -> None:
    flat = x.reshape(-1)
    for i in range(flat.size):
        flat[i] = 0


@kernel
def copy_inside(image: Any, top: int, left: int, padded: Any) -> None:
    """Copies an image (H, W, C) into the inside of a padded one."""
    H, W, C = image.shape
    for i in range(H):
        source = image[i].reshape(-1)
        target = padded[top + i].reshape(-1)
        for k in range(W * C):
            target[left * C + k] = source[k]


@kernel
def copy_gradient(dy: Any, y: Any, n: int, top: int, left: int, padded: Any, total: Any) -> None:
    """As `copy_inside` for dy[n], with zeros where y, the result of a ReLU, is zero; adds all pixels to total (F,)."""
    H, W, F = dy.shape[1:]
    for i in range(H):
        target = padded[top + i].reshape(-1)[left * F :]
        gradient = dy[n, i].reshape(-1)
        if y.size:
            result = y[n, i].reshape(-1)
            for k in range(W * F):
                target[k] = 0 if result[k] <= 0 else gradient[k]
        else:
            for k in range(W * F):
                target[k] = gradient[k]
        for j in range(W):
            for f in range(F):
                total[f] += target[j * F + f]


@kernel
def convolve(
    x: Any, first: int, last: int, top: int, left: int, padded: Any, plan: Any, weights: Any, bias: Any, y: Any
) -> None:
    """Forward, for the images first … last-1; `padded` is one image of scratch, or empty where there is no padding."""
    clear(padded)
    for n in range(first, last):
        source = x[n].ctypes.data
        if padded.size:
            copy_inside(x[n], top, left, padded)
            source = padded.ctypes.data
        run_plan(plan, source, weights.ctypes.data, bias.ctypes.data, y[n].ctypes.data)


@kernel
def convolve_backward(
    x: Any, first: int, last: int, top: int, left: int, padded: Any, dy: Any, y: Any, dy_top: int, dy_left: int, padded_dy: Any,
    kernel_plan: Any, dkernel: Any, dbias: Any, input_plan: Any, flipped: Any, dx: Any,
) -> None:  # fmt: skip
    """Both gradients, for the images first … last-1; `y` is empty without a ReLU, `flipped` if dx is not wanted."""
    clear(padded)
    clear(padded_dy)
    clear(dkernel)
    clear(dbias)
    F = dy.shape[3]
    dy_inside = padded_dy.itemsize * (dy_top * padded_dy.shape[1] + dy_left) * F
    for n in range(first, last):
        copy_gradient(dy, y, n, dy_top, dy_left, padded_dy, dbias)
        source = x[n].ctypes.data
        if padded.size:
            copy_inside(x[n], top, left, padded)
            source = padded.ctypes.data
        run_plan(kernel_plan, source, padded_dy.ctypes.data + dy_inside, 0, dkernel.ctypes.data)
        if flipped.size:
            run_plan(input_plan, padded_dy.ctypes.data, flipped.ctypes.data, 0, dx[n].ctypes.data)

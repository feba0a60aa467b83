"""Convolution through the register tile, image by image, without ever writing the columns of im2col.

In NHWC memory a row of the im2col matrix is, for one row of the kernel, a contiguous run of the padded image: KW·C
numbers beginning at the window's first pixel. So the tile reads its operand a straight from the image, with strides for
the windows, and the three products of a convolution differ only in their plans:

    forward          y[i,j,f]       = Σ_abc x[i·s + a·d, j·s + b·d, c] · kernel[a,b,c,f]     rows: pixels of a line of y
    kernel gradient  dkernel[a,b,c,f] = Σ_ij x[i·s + a·d, j·s + b·d, c] · dy[i,j,f]          rows: taps and channels (b, c)
    input gradient   dx[i,j,c]      = Σ_abf dy[(i - a·d)/s, (j - b·d)/s, f] · kernel[a,b,c,f]  rows: pixels of a line of dx

A strided input gradient reaches a pixel only through the taps a ≡ i (mod s): pixels of equal remainder form a plain
convolution with every s-th tap of the kernel, so there are s·s small plans and no multiplication by an inserted zero.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from .jit import kernel
from .product import plan, run_plan

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
) -> tuple[np.ndarray, tuple[tuple[int, int, int, int], ...], Pads]:
    """One image: a is dy between zeros, b the flipped kernel, c the input gradient of height and width `image`.

    Returns the plan; the taps (first row, first column, step down, step right) of the kernel's parts in the order in
    which the plan expects them, each part flipped; and the zeros to put around dy.
    """
    C, F = channels, filters
    phases: list[
        list[tuple[int, int, int, int, int]]
    ] = []  # for each axis: (remainder, taps, first pixel, pixels, dy line of the first)
    around = []
    for axis in (0, 1):
        s, d, K, length, before, out = (
            strides[axis],
            dilation[axis],
            size[axis],
            image[axis],
            pads[axis][0],
            outputs[axis],
        )
        found = []
        for remainder in range(s):
            taps = len(range(remainder, K, s))
            first = (remainder - before) % s  # the first pixel i of dx with (i + before) ≡ remainder
            pixels = len(range(first, length, s))
            if pixels and taps:
                found.append((remainder, taps, first, pixels, (first + before) // s - (taps - 1) * d))
        phases.append(found)
        zeros_before = max(0, *(-line for *_, line in found)) if found else 0
        zeros_after = max(
            (line + pixels - 1 + (taps - 1) * d - (out - 1) for _, taps, _, pixels, line in found), default=0
        )
        around.append((zeros_before, max(0, zeros_after)))
    (top, _), (left, right) = around
    width = left + outputs[1] + right
    parts, order, b_offset = [], [], 0
    for row_phase, row_taps, i, lines, dy_line in phases[0]:
        for column_phase, column_taps, j, pixels, dy_pixel in phases[1]:
            inner = {"Q": 1, "K": column_taps * F}
            if dilation[1] != 1:
                inner = {"Q": column_taps, "K": F, "a_q": dilation[1] * F, "b_q": F * C}
            parts.append(
                plan(
                    dtype, pixels, C, a_offset=((top + dy_line) * width + left + dy_pixel) * F, b_offset=b_offset,
                    c_offset=(i * image[1] + j) * C, I=lines, a_i=width * F, c_i=strides[0] * image[1] * C, a_row=F, c_row=strides[1] * C,
                    P=row_taps, a_p=dilation[0] * width * F, b_p=column_taps * F * C, a_k=1, b_k=C, **inner,
                )
            )  # fmt: skip
            order.append((row_phase, column_phase, strides[0], strides[1]))
            b_offset += row_taps * column_taps * F * C
    return np.concatenate(parts), tuple(order), (around[0], around[1])


def flipped_kernel(weights: np.ndarray, order: tuple[tuple[int, int, int, int], ...]) -> np.ndarray:
    """The kernel as the input gradient multiplies by it: its parts (taps, taps, F, C), reversed both ways, in order."""
    parts = [weights[a::down, b::right][::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1) for a, b, down, right in order]
    return np.concatenate(parts)


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
def copy_masked(dy: Any, y: Any, top: int, left: int, padded: Any) -> None:
    """As `copy_inside`, with zeros where y, the result of a ReLU, is zero."""
    H, W, C = dy.shape
    for i in range(H):
        source = dy[i].reshape(-1)
        result = y[i].reshape(-1)
        target = padded[top + i].reshape(-1)
        for k in range(W * C):
            target[left * C + k] = source[k] if result[k] > 0 else 0


@kernel
def add_pixels(padded: Any, top: int, left: int, H: int, W: int, total: Any) -> None:
    """Adds all pixels inside a padded image to total (C,)."""
    C = total.size
    for i in range(H):
        line = padded[top + i].reshape(-1)
        for j in range(W):
            for c in range(C):
                total[c] += line[(left + j) * C + c]


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
    OH, OW, F = dy.shape[1:]
    dy_inside = padded_dy.itemsize * (dy_top * padded_dy.shape[1] + dy_left) * F
    for n in range(first, last):
        if y.size:
            copy_masked(dy[n], y[n], dy_top, dy_left, padded_dy)
        else:
            copy_inside(dy[n], dy_top, dy_left, padded_dy)
        add_pixels(padded_dy, dy_top, dy_left, OH, OW, dbias)
        source = x[n].ctypes.data
        if padded.size:
            copy_inside(x[n], top, left, padded)
            source = padded.ctypes.data
        run_plan(kernel_plan, source, padded_dy.ctypes.data + dy_inside, 0, dkernel.ctypes.data)
        if flipped.size:
            run_plan(input_plan, padded_dy.ctypes.data, flipped.ctypes.data, 0, dx[n].ctypes.data)

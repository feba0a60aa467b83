"""Affine maps of images, one per image, with bilinear interpolation."""

from typing import Any

import numpy as np

from .jit import kernel

CONSTANT, NEAREST, REFLECT, WRAP = 0, 1, 2, 3
FILL_MODES = {"constant": CONSTANT, "nearest": NEAREST, "reflect": REFLECT, "wrap": WRAP}


@kernel
def pixel(index: int, length: int, mode: int) -> int:
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


@kernel
def affine(x: Any, first: int, last: int, matrices: Any, mode: int, fill_value: float, y: Any) -> None:
    """y[n,i,j] = x[n] at matrices[n] · (i, j, 1), for the images first … last-1."""
    H, W, C = x.shape[1:]
    number = x.dtype.type
    for n in range(first, last):
        m = matrices[n]
        for i in range(H):
            for j in range(W):
                row = m[0, 0] * i + m[0, 1] * j + m[0, 2]
                column = m[1, 0] * i + m[1, 1] * j + m[1, 2]
                top, left = np.floor(row), np.floor(column)
                below, right = row - top, column - left
                r0, r1 = pixel(int(top), H, mode), pixel(int(top) + 1, H, mode)
                c0, c1 = pixel(int(left), W, mode), pixel(int(left) + 1, W, mode)
                w00, w01 = number((1 - below) * (1 - right)), number((1 - below) * right)
                w10, w11 = number(below * (1 - right)), number(below * right)
                for c in range(C):
                    v00 = x[n, r0, c0, c] if r0 >= 0 and c0 >= 0 else fill_value
                    v01 = x[n, r0, c1, c] if r0 >= 0 and c1 >= 0 else fill_value
                    v10 = x[n, r1, c0, c] if r1 >= 0 and c0 >= 0 else fill_value
                    v11 = x[n, r1, c1, c] if r1 >= 0 and c1 >= 0 else fill_value
                    y[n, i, j, c] = w00 * v00 + w01 * v01 + w10 * v10 + w11 * v11

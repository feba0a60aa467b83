"""Affine maps of images, one per image, with bilinear interpolation."""

import numpy as np

from .jit import inlined, kernel
from .simd import number_at, put, real, size_of

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


@kernel("y")
def affine(zero, count, x, matrices, y, H, W, C, mode, fill_value):
    """y[n,i,j] = x[n] at matrices[n] · (i, j, 1); matrices (·, 2, 3) are float64, fill_value one in an integer's bits."""
    size = size_of(zero)
    outside = zero + real(fill_value)
    for n in range(count):
        image, m = x + n * H * W * C * size, matrices + n * 48
        a, b, c = number_at(m, 0.0), number_at(m + 8, 0.0), number_at(m + 16, 0.0)
        d, e, f = number_at(m + 24, 0.0), number_at(m + 32, 0.0), number_at(m + 40, 0.0)
        target = y + n * H * W * C * size
        for i in range(H):
            for j in range(W):
                row, column = a * i + b * j + c, d * i + e * j + f
                top, left = np.floor(row), np.floor(column)
                below, right = row - top, column - left
                r0, r1 = pixel(int(top), H, mode), pixel(int(top) + 1, H, mode)
                c0, c1 = pixel(int(left), W, mode), pixel(int(left) + 1, W, mode)
                w00, w01 = (1 - below) * (1 - right), (1 - below) * right
                w10, w11 = below * (1 - right), below * right
                for k in range(C):
                    v00 = number_at(image + size * ((r0 * W + c0) * C + k), zero) if r0 >= 0 and c0 >= 0 else outside
                    v01 = number_at(image + size * ((r0 * W + c1) * C + k), zero) if r0 >= 0 and c1 >= 0 else outside
                    v10 = number_at(image + size * ((r1 * W + c0) * C + k), zero) if r1 >= 0 and c0 >= 0 else outside
                    v11 = number_at(image + size * ((r1 * W + c1) * C + k), zero) if r1 >= 0 and c1 >= 0 else outside
                    put(w00 * v00 + w01 * v01 + w10 * v10 + w11 * v11, target, zero)
                    target += size

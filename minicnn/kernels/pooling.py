"""Pooling kernels: channels are contiguous, so every innermost loop runs over them and becomes vector code."""

from typing import Any

from .jit import kernel


@kernel
def max_pool(
    x: Any, first: int, last: int, KH: int, KW: int, SH: int, SW: int, top: int, left: int, y: Any, winner: Any
) -> None:
    """y (N, OH, OW, C) and, for the images first … last-1, the number a·KW + b of the winning pixel of each window."""
    H, W, C = x.shape[1:]
    OH, OW = y.shape[1:3]
    for n in range(first, last):
        for i in range(OH):
            for j in range(OW):
                best = y[n, i, j]
                number = winner[n, i, j]
                fresh = True
                for a in range(max(0, top - i * SH), min(KH, H + top - i * SH)):
                    for b in range(max(0, left - j * SW), min(KW, W + left - j * SW)):
                        pixel = x[n, i * SH + a - top, j * SW + b - left]
                        tap = a * KW + b
                        if fresh:
                            for c in range(C):
                                best[c] = pixel[c]
                                number[c] = tap
                        else:
                            for c in range(C):
                                better = not pixel[c] <= best[c]  # also where the pixel is not a number
                                best[c] = pixel[c] if better else best[c]
                                number[c] = tap if better else number[c]
                        fresh = False


@kernel
def max_pool_backward(
    dy: Any, winner: Any, first: int, last: int, KH: int, KW: int, SH: int, SW: int, top: int, left: int, dx: Any
) -> None:
    """dx of the images first … last-1: every dy goes to the pixel that won."""
    H, W, C = dx.shape[1:]
    OH, OW = dy.shape[1:3]
    disjoint = SH >= KH and SW >= KW
    for n in range(first, last):
        image = dx[n].reshape(-1)
        for k in range(image.size):
            image[k] = 0
        for i in range(OH):
            for j in range(OW):
                gradient = dy[n, i, j]
                number = winner[n, i, j]
                for a in range(max(0, top - i * SH), min(KH, H + top - i * SH)):
                    for b in range(max(0, left - j * SW), min(KW, W + left - j * SW)):
                        pixel = dx[n, i * SH + a - top, j * SW + b - left]
                        tap = a * KW + b
                        if disjoint:
                            for c in range(C):
                                pixel[c] = gradient[c] if number[c] == tap else 0
                        else:
                            for c in range(C):
                                pixel[c] += gradient[c] if number[c] == tap else 0


@kernel
def avg_pool(x: Any, first: int, last: int, KH: int, KW: int, SH: int, SW: int, top: int, left: int, y: Any) -> None:
    """y of the images first … last-1: means over the pixels of the window that lie inside the image."""
    H, W, C = x.shape[1:]
    OH, OW = y.shape[1:3]
    for n in range(first, last):
        for i in range(OH):
            a0, a1 = max(0, top - i * SH), min(KH, H + top - i * SH)
            for j in range(OW):
                b0, b1 = max(0, left - j * SW), min(KW, W + left - j * SW)
                mean = y[n, i, j]
                for c in range(C):
                    mean[c] = 0
                for a in range(a0, a1):
                    for b in range(b0, b1):
                        pixel = x[n, i * SH + a - top, j * SW + b - left]
                        for c in range(C):
                            mean[c] += pixel[c]
                count = (a1 - a0) * (b1 - b0)
                for c in range(C):
                    mean[c] /= count


@kernel
def avg_pool_backward(
    dy: Any, first: int, last: int, KH: int, KW: int, SH: int, SW: int, top: int, left: int, dx: Any
) -> None:
    """dx of the images first … last-1: every dy is shared equally by the pixels of its window."""
    H, W, C = dx.shape[1:]
    OH, OW = dy.shape[1:3]
    for n in range(first, last):
        image = dx[n].reshape(-1)
        for k in range(image.size):
            image[k] = 0
        for i in range(OH):
            a0, a1 = max(0, top - i * SH), min(KH, H + top - i * SH)
            for j in range(OW):
                b0, b1 = max(0, left - j * SW), min(KW, W + left - j * SW)
                gradient = dy[n, i, j]
                count = (a1 - a0) * (b1 - b0)
                for a in range(a0, a1):
                    for b in range(b0, b1):
                        pixel = dx[n, i * SH + a - top, j * SW + b - left]
                        for c in range(C):
                            pixel[c] += gradient[c] / count

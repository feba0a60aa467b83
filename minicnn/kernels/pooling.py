"""Pooling kernels, vectors of channels at a time."""

from .jit import inlined, kernel
from .simd import clear, fill, load, load_bytes, select, size_of, store, store_bytes, width_of

NOBODY = 255  # no pixel of the window: the number, as a byte, of a winner that a ReLU would have stopped; else -1


@inlined
def clip(low, high, length):
    """The part of low … high-1 that lies in 0 … length-1, counted from low."""
    return (0 if low >= 0 else -low), (high if high < length else length) - low


@inlined
def larger(pixel, tap, best, number, rest, zero):
    """The larger of a pixel and the best so far, and which tap it is; what is not a number wins."""
    value = load(pixel, rest, zero)
    kept = value <= best
    return select(kept, best, value), select(kept, number, fill(tap, zero))


@inlined
def largest(pixel, best, rest, zero):
    """The same without which it is."""
    value = load(pixel, rest, zero)
    return select(value <= best, best, value)


@kernel("y", "winner")
def max_pool(zero, count, x, y, winner, H, W, C, KH, KW, SH, SW, top, left, OH, OW, wide, positive):
    """y and, unless `winner` is 0, the number a·KW + b of the winning pixel of each window, as a byte or as a `wide` number.

    With `positive`, x is the result of a ReLU, and where it is 0 there is no winner.
    """
    size, lanes = size_of(zero), width_of(zero)
    line, nobody, nothing = size * W * C, fill(-1 if wide else NOBODY, zero), fill(zero, zero)
    two_by_two = KH == 2 and KW == 2 and top == 0 and left == 0 and (OH - 1) * SH + 2 <= H and (OW - 1) * SW + 2 <= W
    for n in range(count):
        for i in range(OH):
            a0, a1 = clip(i * SH - top, i * SH - top + KH, H)
            for j in range(OW):
                b0, b1 = clip(j * SW - left, j * SW - left + KW, W)
                corner = x + (n * H + i * SH - top) * line + (j * SW - left) * size * C
                place = ((n * OH + i) * OW + j) * C
                for c in range(0, C, lanes):
                    rest = C - c
                    pixel = corner + a0 * line + b0 * size * C + size * c
                    best = load(pixel, rest, zero)
                    if winner == 0:
                        if two_by_two:
                            best = largest(pixel + size * C, best, rest, zero)
                            best = largest(pixel + line, best, rest, zero)
                            best = largest(pixel + line + size * C, best, rest, zero)
                        for a in range(a0, a0 if two_by_two else a1):
                            pixel = corner + a * line + b0 * size * C + size * c
                            for _ in range(b0, b1):
                                best = largest(pixel, best, rest, zero)
                                pixel += size * C
                        store(best, y + size * (place + c), rest)
                        continue
                    number = fill(a0 * KW + b0, zero)
                    if two_by_two:
                        best, number = larger(pixel + size * C, 1, best, number, rest, zero)
                        best, number = larger(pixel + line, 2, best, number, rest, zero)
                        best, number = larger(pixel + line + size * C, 3, best, number, rest, zero)
                    for a in range(a0, a0 if two_by_two else a1):
                        pixel = corner + a * line + b0 * size * C + size * c
                        for b in range(b0, b1):
                            best, number = larger(pixel, a * KW + b, best, number, rest, zero)
                            pixel += size * C
                    if positive:
                        number = select(best <= nothing, nobody, number)
                    store(best, y + size * (place + c), rest)
                    if wide:
                        store(number, winner + size * (place + c), rest)
                    else:
                        store_bytes(number, winner + place + c, rest)


@kernel("dx")
def max_pool_backward(zero, count, dy, winner, dx, H, W, C, KH, KW, SH, SW, top, left, OH, OW, wide):
    """Every dy goes to the pixel that won."""
    size, lanes = size_of(zero), width_of(zero)
    line, nothing = size * W * C, fill(zero, zero)
    apart = SH >= KH and SW >= KW
    two_by_two = apart and KH == 2 and KW == 2 and top == 0 and left == 0 and OH * SH <= H and OW * SW <= W
    if not (SH == KH and SW == KW and top == 0 and left == 0 and OH * KH == H and OW * KW == W):
        clear(dx, count * H * line)
    for n in range(count):
        for i in range(OH):
            a0, a1 = clip(i * SH - top, i * SH - top + KH, H)
            for j in range(OW):
                b0, b1 = clip(j * SW - left, j * SW - left + KW, W)
                corner = dx + (n * H + i * SH - top) * line + (j * SW - left) * size * C
                place = ((n * OH + i) * OW + j) * C
                for c in range(0, C, lanes):
                    rest = C - c
                    gradient = load(dy + size * (place + c), rest, zero)
                    if wide:  # noqa: SIM108  Numba compiles no conditional expression of two vectors
                        number = load(winner + size * (place + c), rest, zero)
                    else:
                        number = load_bytes(winner + place + c, rest, zero)
                    if two_by_two:
                        pixel = corner + size * c
                        store(select(number == fill(0, zero), gradient, nothing), pixel, rest)
                        store(select(number == fill(1, zero), gradient, nothing), pixel + size * C, rest)
                        store(select(number == fill(2, zero), gradient, nothing), pixel + line, rest)
                        store(select(number == fill(3, zero), gradient, nothing), pixel + line + size * C, rest)
                        continue
                    for a in range(a0, a1):
                        pixel = corner + a * line + b0 * size * C + size * c
                        for b in range(b0, b1):
                            value = select(number == fill(a * KW + b, zero), gradient, nothing)
                            if not apart:
                                value += load(pixel, rest, zero)
                            store(value, pixel, rest)
                            pixel += size * C


@kernel("y")
def avg_pool(zero, count, x, y, H, W, C, KH, KW, SH, SW, top, left, OH, OW):
    """Means over the pixels of the window that lie inside the image."""
    size, lanes = size_of(zero), width_of(zero)
    line = size * W * C
    for n in range(count):
        for i in range(OH):
            a0, a1 = clip(i * SH - top, i * SH - top + KH, H)
            for j in range(OW):
                b0, b1 = clip(j * SW - left, j * SW - left + KW, W)
                corner = x + (n * H + i * SH - top) * line + (j * SW - left) * size * C
                place = ((n * OH + i) * OW + j) * C
                pixels = fill((a1 - a0) * (b1 - b0), zero)
                for c in range(0, C, lanes):
                    rest = C - c
                    total = fill(zero, zero)
                    for a in range(a0, a1):
                        pixel = corner + a * line + b0 * size * C + size * c
                        for _ in range(b0, b1):
                            total += load(pixel, rest, zero)
                            pixel += size * C
                    store(total / pixels, y + size * (place + c), rest)


@kernel("dx")
def avg_pool_backward(zero, count, dy, dx, H, W, C, KH, KW, SH, SW, top, left, OH, OW):
    """Every dy is shared equally by the pixels of its window."""
    size, lanes = size_of(zero), width_of(zero)
    line = size * W * C
    clear(dx, count * H * line)
    for n in range(count):
        for i in range(OH):
            a0, a1 = clip(i * SH - top, i * SH - top + KH, H)
            for j in range(OW):
                b0, b1 = clip(j * SW - left, j * SW - left + KW, W)
                corner = dx + (n * H + i * SH - top) * line + (j * SW - left) * size * C
                place = ((n * OH + i) * OW + j) * C
                pixels = fill((a1 - a0) * (b1 - b0), zero)
                for c in range(0, C, lanes):
                    rest = C - c
                    share = load(dy + size * (place + c), rest, zero) / pixels
                    for a in range(a0, a1):
                        pixel = corner + a * line + b0 * size * C + size * c
                        for _ in range(b0, b1):
                            store(load(pixel, rest, zero) + share, pixel, rest)
                            pixel += size * C

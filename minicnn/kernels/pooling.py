"""Pooling kernels, vectors of channels at a time."""

from .jit import inlined, kernel
from .simd import clear, fill, load, load_bytes, select, size_of, store, store_bytes, width_of

NOBODY = 255  # the winner's number, as a byte, where a ReLU stops the gradient: that of no pixel; in wide winners -1


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
    """As `larger`, but without the tap."""
    value = load(pixel, rest, zero)
    return select(value <= best, best, value)


@inlined
def pool_four(pixel, right, below, y, winner, rest, positive, zero):
    """One vector of y from the four pixels of a 2×2 window, and the number of the winner as a byte."""
    nothing = fill(zero, zero)
    best = load(pixel, rest, zero)
    if winner:
        number = nothing
        best, number = larger(pixel + right, 1, best, number, rest, zero)
        best, number = larger(pixel + below, 2, best, number, rest, zero)
        best, number = larger(pixel + below + right, 3, best, number, rest, zero)
        if positive:
            number = select(best <= nothing, fill(NOBODY, zero), number)
        store_bytes(number, winner, rest)
    else:
        best = largest(pixel + right, best, rest, zero)
        best = largest(pixel + below, best, rest, zero)
        best = largest(pixel + below + right, best, rest, zero)
    if positive:
        best = select(best <= nothing, nothing, best)
    store(best, y, rest)


@inlined
def share_four(dy, winner, pixel, right, below, rest, zero):
    """The other way round: one vector of dy goes to the winners among four pixels."""
    nothing, gradient, number = fill(zero, zero), load(dy, rest, zero), load_bytes(winner, rest, zero)
    store(select(number == nothing, gradient, nothing), pixel, rest)
    store(select(number == fill(1, zero), gradient, nothing), pixel + right, rest)
    store(select(number == fill(2, zero), gradient, nothing), pixel + below, rest)
    store(select(number == fill(3, zero), gradient, nothing), pixel + below + right, rest)


@inlined
def mean_of_four(pixel, right, below, y, rest, zero):
    """One vector of y, the mean of the four pixels of a 2×2 window."""
    above = load(pixel, rest, zero) + load(pixel + right, rest, zero)
    total = above + (load(pixel + below, rest, zero) + load(pixel + below + right, rest, zero))
    store(total * fill(0.25, zero), y, rest)


@inlined
def spread_to_four(dy, pixel, right, below, rest, zero):
    """The other way round: a quarter of one vector of dy goes to each of four pixels."""
    share = load(dy, rest, zero) * fill(0.25, zero)
    store(share, pixel, rest)
    store(share, pixel + right, rest)
    store(share, pixel + below, rest)
    store(share, pixel + below + right, rest)


@kernel("y", "winner")
def max_pool_four(zero, count, x, y, winner, H, W, C, SH, SW, OH, OW, positive):
    """`max_pool` for windows of 2×2 pixels, none of which reaches beyond the image."""
    size, lanes = size_of(zero), width_of(zero)
    right, below, whole = size * C, size * W * C, C - C % lanes
    for n in range(count):
        for i in range(OH):
            corner = x + (n * H + i * SH) * below
            for _ in range(OW):
                for c in range(0, whole, lanes):
                    pool_four(corner + size * c, right, below, y, winner, lanes, positive, zero)
                    y += size * lanes
                    winner += lanes if winner else 0
                if whole < C:
                    pool_four(corner + size * whole, right, below, y, winner, C - whole, positive, zero)
                    y += size * (C - whole)
                    winner += C - whole if winner else 0
                corner += SW * right


@kernel("dx")
def max_pool_four_backward(zero, count, dy, winner, dx, H, W, C, SH, SW, OH, OW):
    """Where the windows do not overlap."""
    size, lanes = size_of(zero), width_of(zero)
    right, below, whole = size * C, size * W * C, C - C % lanes
    if not (SH == 2 and SW == 2 and OH * 2 == H and OW * 2 == W):
        clear(dx, count * H * below)
    for n in range(count):
        for i in range(OH):
            corner = dx + (n * H + i * SH) * below
            for _ in range(OW):
                for c in range(0, whole, lanes):
                    share_four(dy, winner, corner + size * c, right, below, lanes, zero)
                    dy, winner = dy + size * lanes, winner + lanes
                if whole < C:
                    share_four(dy, winner, corner + size * whole, right, below, C - whole, zero)
                    dy, winner = dy + size * (C - whole), winner + C - whole
                corner += SW * right


@kernel("y", "winner")
def max_pool(zero, count, x, y, winner, H, W, C, KH, KW, SH, SW, top, left, OH, OW, wide, positive):
    """y and, unless `winner` is 0, the number a·KW + b of the winning pixel of each window, as a byte or as a `wide` number.

    With `positive` y is no less than 0, and where it is 0 there is no winner: a ReLU comes before, or after.
    """
    size, lanes = size_of(zero), width_of(zero)
    line, nobody, nothing = size * W * C, fill(-1 if wide else NOBODY, zero), fill(zero, zero)
    for n in range(count):
        for i in range(OH):
            a0, a1 = clip(i * SH - top, i * SH - top + KH, H)
            for j in range(OW):
                b0, b1 = clip(j * SW - left, j * SW - left + KW, W)
                corner = x + (n * H + i * SH - top) * line + (j * SW - left) * size * C
                place = ((n * OH + i) * OW + j) * C
                for c in range(0, C, lanes):
                    rest = C - c
                    best = load(corner + a0 * line + b0 * size * C + size * c, rest, zero)
                    number = fill(a0 * KW + b0, zero)
                    for a in range(a0, a1):
                        pixel = corner + a * line + b0 * size * C + size * c
                        for b in range(b0, b1):
                            if winner:
                                best, number = larger(pixel, a * KW + b, best, number, rest, zero)
                            else:
                                best = largest(pixel, best, rest, zero)
                            pixel += size * C
                    if positive:
                        number = select(best <= nothing, nobody, number)
                        best = select(best <= nothing, nothing, best)
                    store(best, y + size * (place + c), rest)
                    if wide:
                        store(number, winner + size * (place + c), rest)
                    elif winner:
                        store_bytes(number, winner + place + c, rest)


@kernel("dx")
def max_pool_backward(zero, count, dy, winner, dx, H, W, C, KH, KW, SH, SW, top, left, OH, OW, wide):
    """Every dy goes to the pixel that won."""
    size, lanes = size_of(zero), width_of(zero)
    line, nothing = size * W * C, fill(zero, zero)
    apart = SH >= KH and SW >= KW
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
                    for a in range(a0, a1):
                        pixel = corner + a * line + b0 * size * C + size * c
                        for b in range(b0, b1):
                            value = select(number == fill(a * KW + b, zero), gradient, nothing)
                            if not apart:
                                value += load(pixel, rest, zero)
                            store(value, pixel, rest)
                            pixel += size * C


@kernel("y")
def avg_pool_four(zero, count, x, y, H, W, C, SH, SW, OH, OW):
    """`avg_pool` for windows of 2×2 pixels, none of which reaches beyond the image."""
    size, lanes = size_of(zero), width_of(zero)
    right, below, whole = size * C, size * W * C, C - C % lanes
    for n in range(count):
        for i in range(OH):
            corner = x + (n * H + i * SH) * below
            for _ in range(OW):
                for c in range(0, whole, lanes):
                    mean_of_four(corner + size * c, right, below, y + size * c, lanes, zero)
                if whole < C:
                    mean_of_four(corner + size * whole, right, below, y + size * whole, C - whole, zero)
                y += right
                corner += SW * right


@kernel("dx")
def avg_pool_four_backward(zero, count, dy, dx, H, W, C, SH, SW, OH, OW):
    """Where the windows do not overlap."""
    size, lanes = size_of(zero), width_of(zero)
    right, below, whole = size * C, size * W * C, C - C % lanes
    if not (SH == 2 and SW == 2 and OH * 2 == H and OW * 2 == W):
        clear(dx, count * H * below)
    for n in range(count):
        for i in range(OH):
            corner = dx + (n * H + i * SH) * below
            for _ in range(OW):
                for c in range(0, whole, lanes):
                    spread_to_four(dy + size * c, corner + size * c, right, below, lanes, zero)
                if whole < C:
                    spread_to_four(dy + size * whole, corner + size * whole, right, below, C - whole, zero)
                dy += right
                corner += SW * right


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
    apart = SH >= KH and SW >= KW
    if not (SH == KH and SW == KW and top == 0 and left == 0 and OH * KH == H and OW * KW == W):
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
                            value = share
                            if not apart:
                                value += load(pixel, rest, zero)
                            store(value, pixel, rest)
                            pixel += size * C

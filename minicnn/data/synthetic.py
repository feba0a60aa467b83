"""Handwritten-looking digits drawn from strokes of our own, for when no file is at hand.

Each image takes one of a few shapes of its digit, bends it smoothly, slants, turns and sizes it, and draws it with a
pen of some width.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from ..checks import is_whole

CHUNK = 100  # images drawn from one random generator, ten of each digit
SEGMENTS = 32  # straight pieces of which a shape is made
WAVES = 4  # sine waves of which a bend is made

# digit → shapes; a shape is strokes, separated by "|"; a stroke is points x,y in hundredths of the unit square, x to
# the right and y down. A stroke runs smoothly through its points; where the pen turns a corner, another begins. One
# that ends where it began is a smooth loop.
SHAPES = {
    0: [
        "50,0 20,17 10,50 20,83 50,100 80,83 90,50 80,17 50,0",
        "55,0 33,17 22,55 30,88 48,100 67,85 76,45 70,12 55,0",
        "62,7 38,5 18,28 12,62 30,95 62,96 86,68 84,30 62,4 42,0",
    ],
    1: [
        "50,0 50,100",
        "60,0 52,50 42,100",
        "27,25 42,15 55,0 | 55,0 53,100",
        "27,22 42,13 53,0 | 53,0 52,100 | 22,100 82,99",
    ],
    2: [
        "15,25 28,5 58,0 78,20 68,50 42,80 13,100 | 13,100 88,98",
        "17,20 35,2 65,3 78,25 66,55 40,88 18,98 10,87 25,78 48,88 70,99 92,90",
        "10,10 45,0 75,12 76,40 50,72 15,97 | 15,97 40,88 65,97 95,92",
    ],
    3: [
        "16,16 38,0 68,5 76,25 60,43 36,48 | 36,48 66,52 84,72 70,95 38,100 12,86",
        "15,2 80,0 | 80,0 42,40 | 42,40 74,47 85,72 67,96 38,100 12,88",
        "15,13 42,0 73,10 70,34 46,50 37,46 47,42 75,53 85,76 63,97 32,100 10,88",
    ],
    4: [
        "20,2 13,30 17,52 45,57 80,50 | 80,0 77,50 72,100",
        "66,0 40,33 8,66 | 8,66 95,64 | 66,0 65,100",
        "25,0 10,56 | 10,56 92,53 | 68,15 62,100",
    ],
    5: [
        "82,0 25,1 | 25,1 19,43 | 19,43 50,36 80,53 81,80 53,100 13,92",
        "88,0 55,3 30,10 24,30 43,42 70,54 77,80 50,100 13,93",
        "27,6 20,42 | 20,42 52,38 78,58 73,88 40,100 10,90 | 28,6 90,0",
    ],
    6: [
        "72,0 40,20 20,52 20,83 45,100 73,90 78,68 56,54 33,62 21,80",
        "45,0 26,33 17,70 30,97 60,97 80,78 66,57 40,60 19,78",
        "80,8 55,2 28,25 15,60 28,95 60,98 78,74 60,52 35,53 16,70",
    ],
    7: [
        "12,3 86,0 | 86,0 62,42 42,100",
        "12,3 86,0 | 86,0 60,45 42,100 | 30,50 82,46",
        "10,20 13,3 | 13,3 85,2 | 85,2 70,30 58,100",
        "10,14 38,2 72,3 82,15 66,50 46,100",
    ],
    8: [
        "50,0 28,10 29,32 50,47 74,68 73,90 49,100 24,90 26,67 50,47 71,30 71,10 50,0",
        "50,0 30,8 24,24 34,40 50,46 66,40 76,24 70,8 50,0 | 50,46 27,54 16,73 27,92 50,100 73,92 84,73 73,54 50,46",
        "82,10 55,0 30,14 34,36 58,55 70,78 50,100 26,88 32,66 56,45 74,27 84,7",
    ],
    9: [
        "74,20 60,2 36,4 20,25 32,48 57,45 74,20 | 75,5 72,50 68,100",
        "75,18 52,0 24,12 20,37 42,50 67,37 76,12 77,50 64,88 38,100 17,92",
        "78,8 52,0 25,14 22,38 45,46 70,30 78,8 | 78,8 62,55 42,100",
    ],
}


def synthetic_digits(n: int, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """`n` digits drawn at random: images uint8 (n, 28, 28, 1), white on black as in MNIST, and labels int64 (n,).

    The same seed gives the same images, whatever `n`: more of them only come after. Every hundred images hold ten of
    each digit, in random order. Raises ValueError if `n` or `seed` is negative.
    """
    if not all(is_whole(given) and given >= 0 for given in (n, seed)):
        raise ValueError(f"expected a number of images and a seed of 0 or more, got {n!r} and {seed!r}")
    images = np.empty((n, 28, 28, 1), np.uint8)
    labels = np.empty(n, np.int64)
    for start in range(0, n, CHUNK):
        rng = np.random.default_rng([seed, start // CHUNK])
        digits = rng.permutation(np.arange(CHUNK) % 10)  # (CHUNK,)
        part = slice(start, min(start + CHUNK, n))
        images[part, :, :, 0] = _draw(digits, rng)[: n - start]
        labels[part] = digits[: n - start]
    return images, labels


def _draw(digits: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One image of each digit (B,): uint8 (B, 28, 28)."""
    B = len(digits)

    def uniform(low: float, high: float) -> npt.NDArray[np.float64]:
        return rng.uniform(low, high, (B, 1, 1))

    shapes, first, count = _table()
    shape = first[digits] + rng.integers(0, count[digits])  # (B,)
    lines = _bend(shapes[shape], rng)  # (B, SEGMENTS, 2 ends, 2)
    x, y = lines[..., 0] * uniform(0.75, 1.2), lines[..., 1]  # (B, SEGMENTS, 2 ends)
    x = x - rng.normal(0.12, 0.17, (B, 1, 1)) * y  # slant
    angle = rng.normal(0, 0.1, (B, 1, 1))
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y

    # Like MNIST: the ink fills a box of about 20 pixels, and its centre of mass is about the centre of the image.
    pen = np.exp(rng.normal(0.3, 0.2, (B, 1, 1)))  # half the width of a stroke, in pixels
    extent = np.maximum(np.ptp(x, axis=(1, 2), keepdims=True), np.ptp(y, axis=(1, 2), keepdims=True))
    size = (uniform(17, 20.5) - 2 * pen) / extent
    x, y = size * x, size * y  # from here on in pixels
    length = np.hypot(x[..., 1] - x[..., 0], y[..., 1] - y[..., 0])[..., np.newaxis]  # (B, SEGMENTS, 1)
    x += 13.5 + uniform(-1, 1) - _mean(x, length)
    y += 13.5 + uniform(-1, 1) - _mean(y, length)

    edge = uniform(1, 1.9)  # pixels over which the ink fades: 1 is sharp, more is blurred
    ink = uniform(200, 255)
    cover = (pen - _distance(x, y)) / edge + 0.5  # (B, 28, 28)
    return (np.clip(cover, 0, 1) * ink + 0.5).astype(np.uint8)


def _bend(lines: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Moves points (B, ..., 2) by a smooth random field, the sum of a few long waves; points that touch still touch."""
    B = len(lines)
    points = lines.reshape(B, -1, 1, 2)
    frequency = rng.uniform(-1, 1, (B, 1, WAVES, 2))  # cycles per unit square
    phase = rng.uniform(0, 1, (B, 1, WAVES))
    height = rng.normal(0, 0.04, (B, 1, WAVES, 2))
    wave = np.sin(2 * np.pi * ((points * frequency).sum(axis=3) + phase))[..., np.newaxis]  # (B, points, WAVES, 1)
    moved: npt.NDArray[np.float64] = lines + (wave * height).sum(axis=2).reshape(lines.shape)
    return moved


def _mean(x: npt.NDArray[np.float64], length: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean coordinate of the ink: of the segments' middles, weighted by their lengths."""
    middle = x.mean(axis=2, keepdims=True)  # (B, SEGMENTS, 1)
    mean: npt.NDArray[np.float64] = (middle * length).sum(axis=1, keepdims=True) / length.sum(axis=1, keepdims=True)
    return mean


def _distance(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """From every pixel to the nearest of the segments with ends x, y (B, SEGMENTS, 2): (B, 28, 28).

    In the frame of a segment, u along it and v across it from its middle, the square of the distance is
    v² + max(|u| - length / 2, 0)².
    """
    pixel = np.arange(28)
    dx, dy = x[..., 1] - x[..., 0], y[..., 1] - y[..., 0]  # (B, SEGMENTS)
    length = np.hypot(dx, dy)
    dx = np.divide(dx, length, out=np.ones_like(dx), where=length > 0)  # a point has the direction (1, 0)
    dy = np.divide(dy, length, out=np.zeros_like(dy), where=length > 0)
    right = pixel - x.mean(axis=2)[..., np.newaxis]  # (B, SEGMENTS, 28)
    down = pixel - y.mean(axis=2)[..., np.newaxis]
    dx, dy = dx[..., np.newaxis], dy[..., np.newaxis]
    u_right, u_down = (dx * right).astype(np.float32), (dy * down).astype(np.float32)
    v_right, v_down = (dy * right).astype(np.float32), (dx * down).astype(np.float32)
    half = (length / 2).astype(np.float32)[..., np.newaxis, np.newaxis]

    nearest = np.full((len(x), 28, 28), np.inf, np.float32)
    u, v = np.empty_like(nearest), np.empty_like(nearest)
    for s in range(x.shape[1]):
        np.add(u_right[:, s, np.newaxis, :], u_down[:, s, :, np.newaxis], out=u)
        np.subtract(v_right[:, s, np.newaxis, :], v_down[:, s, :, np.newaxis], out=v)
        np.abs(u, out=u)
        u -= half[:, s]
        np.maximum(u, 0, out=u)
        u *= u
        v *= v
        u += v
        np.minimum(nearest, u, out=nearest)
    return np.sqrt(nearest)


@cache
def _table() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All shapes as segments (shapes, SEGMENTS, 2 ends, 2); of each digit its first shape and how many it has (10,)."""
    shapes = np.array([_segments(shape) for digit in range(10) for shape in SHAPES[digit]])
    count = np.array([len(SHAPES[digit]) for digit in range(10)])
    return shapes, np.cumsum(count) - count, count


def _segments(shape: str) -> npt.NDArray[np.float64]:
    """A shape as SEGMENTS straight pieces (SEGMENTS, 2 ends, 2), shared out by length."""
    strokes = [[point.split(",") for point in stroke.split()] for stroke in shape.split("|")]
    curves = [_curve(np.array(stroke, float) / 100) for stroke in strokes]
    travelled = [np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))]) for curve in curves]
    lengths = np.array([t[-1] for t in travelled])
    ends = np.round(np.cumsum(lengths) / lengths.sum() * SEGMENTS).astype(int)
    pieces = []
    for curve, t, number in zip(curves, travelled, np.diff(ends, prepend=0), strict=True):
        steps = np.linspace(0, t[-1], number + 1)
        points = np.stack([np.interp(steps, t, curve[:, axis]) for axis in (0, 1)], axis=1)  # (number + 1, 2)
        pieces.append(np.stack([points[:-1], points[1:]], axis=1))
    return np.concatenate(pieces)


def _curve(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Many points on the smooth curve through those given.

    Source: E. Catmull, R. Rom, "A class of local interpolating splines", 1974.
    """
    closed = len(points) > 2 and np.array_equal(points[0], points[-1])
    before, after = (points[-2], points[1]) if closed else (2 * points[0] - points[1], 2 * points[-1] - points[-2])
    p = np.vstack([before, points, after])[:, np.newaxis]  # (K + 2, 1, 2)
    t = np.linspace(0, 1, 20)[:, np.newaxis]  # (20, 1)
    p0, p1, p2, p3 = p[:-3], p[1:-2], p[2:-1], p[3:]
    square, cube = 2 * p0 - 5 * p1 + 4 * p2 - p3, 3 * (p1 - p2) + p3 - p0
    curve: npt.NDArray[np.float64] = p1 + t / 2 * (p2 - p0 + t * (square + t * cube))  # (K - 1, 20, 2)
    return curve.reshape(-1, 2)

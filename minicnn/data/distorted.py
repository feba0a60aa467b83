"""Digits made hard to read: turned, slanted, resized, blurred, noisy and partly covered.

They show what a network is worth beyond clean scans, and are drawn otherwise than what networks are trained on
(`layers.RandomAffine` and its relatives), so that a network cannot have learnt just these.
"""

import numpy as np
import numpy.typing as npt

from ..checks import NUMBER, check, whole

CHUNK = 1000  # images distorted with one random generator


def distort(images: npt.ArrayLike, seed: int = 0, strength: float = 1.0) -> npt.NDArray[np.uint8]:
    """The images, uint8 (N, H, W, 1) of bright ink on black, each distorted at random; of the same shape.

    Every image is turned by up to 35° and slanted by up to 0.35 (pixels to the right per pixel down), made 0.8 to 1.15
    times as large in each direction apart, and moved by up to a twelfth of its side. Then, each for half of the images:
    a Gaussian blur of 0.5 to 1.2 pixels; normal noise of a standard deviation of up to 70; and a rectangle of up to
    0.4 of the sides, black or of one grey, over a random place. `strength` scales all but the probabilities. The same
    seed gives the same images. ValueError for other shapes.
    """
    check("distort", NUMBER, strength=strength)
    check("distort", whole("a whole number from 0 on", 0), seed=seed)
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 1:
        raise ValueError(f"expected images of shape (N, H, W, 1), got {images.shape}")
    parts = [
        _distorted(images[first : first + CHUNK], np.random.default_rng([seed, first]), strength)
        for first in range(0, len(images), CHUNK)
    ]
    return np.concatenate([np.zeros_like(images, np.uint8)[:0], *parts])


def _distorted(images: npt.NDArray[np.uint8], draw: np.random.Generator, strength: float) -> npt.NDArray[np.uint8]:
    N, H, W, _ = images.shape
    turn, slant = (strength * draw.uniform(-1, 1, (2, N)).T * [np.deg2rad(35), 0.35]).T
    sizes = 1 + strength * draw.uniform(-0.2, 0.15, (2, N))
    shift = strength * draw.uniform(-1, 1, (2, N)) * [[H / 12], [W / 12]]
    y = _moved(images[..., 0].astype(np.float32), turn, slant, sizes, shift)  # (N, H, W)

    blurred, noisy, covered = draw.random((3, N, 1, 1)) < 0.5
    y = np.where(blurred, _blurred(y, np.maximum(0.01, strength * draw.uniform(0.5, 1.2, N))), y)
    deviation = strength * draw.uniform(0, 70, (N, 1, 1))
    y = np.where(noisy, y + deviation * draw.standard_normal(y.shape), y)

    side = np.maximum(1, strength * draw.uniform(0.15, 0.4, (2, N)) * [[H], [W]])
    first = draw.random((2, N)) * ([[H], [W]] - side)
    inside = [
        (start[:, None] <= np.arange(length)) & (np.arange(length) < (start + size)[:, None])
        for start, size, length in zip(first, side, (H, W), strict=True)
    ]  # (N, H), (N, W)
    grey = np.where(draw.random((N, 1, 1)) < 0.5, 0, draw.uniform(0, 255, (N, 1, 1)))
    y = np.where(covered & inside[0][:, :, None] & inside[1][:, None, :], grey, y)
    return np.clip(np.rint(y), 0, 255).astype(np.uint8)[..., None]


def _moved(
    x: npt.NDArray[np.float32],
    turn: npt.NDArray[np.float64],
    slant: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Images (N, H, W) slanted, resized, turned and moved about their centre, by bilinear interpolation; 0 outside."""
    N, H, W = x.shape
    i, j = np.meshgrid(np.arange(H) - (H - 1) / 2, np.arange(W) - (W - 1) / 2, indexing="ij")  # (H, W)
    down, right = i - shift[0][:, None, None], j - shift[1][:, None, None]  # (N, H, W)
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    # y = turn · size · slant · x, undone from the left
    row = (cos * down + sin * right) / sizes[0][:, None, None]
    column = (cos * right - sin * down) / sizes[1][:, None, None] - slant[:, None, None] * row
    row, column = row + (H + 1) / 2, column + (W + 1) / 2  # in an image with a black frame
    padded = np.pad(x, ((0, 0), (1, 2), (1, 2)))
    row, column = np.clip(row, 0, H + 1), np.clip(column, 0, W + 1)
    top, left = row.astype(int), column.astype(int)
    below, beside = row - top, column - left
    n = np.arange(N)[:, None, None]
    upper = padded[n, top, left] * (1 - beside) + padded[n, top, left + 1] * beside
    lower = padded[n, top + 1, left] * (1 - beside) + padded[n, top + 1, left + 1] * beside
    return (upper * (1 - below) + lower * below).astype(np.float32)


def _blurred(x: npt.NDArray[np.float32], deviation: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Images (N, H, W) after a Gaussian of these standard deviations (N,) in pixels, cut off at three pixels."""
    offsets = np.arange(-3, 4)
    weights = np.exp(-(offsets**2) / (2 * deviation[:, None] ** 2))
    weights = (weights / weights.sum(axis=1, keepdims=True))[..., None, None]  # (N, 7, 1, 1)
    N, H, W = x.shape
    padded = np.pad(x, ((0, 0), (3, 3), (0, 0)))
    x = sum(weights[:, k] * padded[:, k : k + H] for k in range(7))
    padded = np.pad(x, ((0, 0), (0, 0), (3, 3)))
    return np.asarray(sum(weights[:, k] * padded[:, :, k : k + W] for k in range(7)), np.float32)

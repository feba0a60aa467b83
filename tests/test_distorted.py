"""Distorted digits against scipy-free loops, and what their seed and strength promise."""

import math

import numpy as np
import pytest

from minicnn.data import distort, synthetic_digits
from minicnn.data.distorted import _blurred, _moved

IMAGES, _ = synthetic_digits(30)


def test_the_seed_decides_and_more_images_only_come_after():
    images = np.concatenate([IMAGES] * 40)  # more than one chunk
    whole = distort(images, seed=3)
    assert whole.shape == images.shape and whole.dtype == np.uint8
    np.testing.assert_array_equal(whole, distort(images, seed=3))
    np.testing.assert_array_equal(whole[:1000], distort(images[:1000], seed=3))
    assert (whole != distort(images, seed=4)).any(axis=(1, 2, 3)).all()
    assert (whole[:30] != whole[30:60]).any(axis=(1, 2, 3)).all()  # each image otherwise


def test_without_strength_at_most_one_pixel_is_covered():
    changed = (distort(IMAGES, strength=0) != IMAGES).sum(axis=(1, 2, 3))
    assert changed.max() <= 1


def test_stronger_means_further_from_the_original():
    far = [np.abs(distort(IMAGES, strength=s).astype(float) - IMAGES).mean() for s in (0.25, 0.5, 1.0)]
    assert far == sorted(far)


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 28, 28, 3)])
def test_other_shapes(shape):
    with pytest.raises(ValueError, match=r"expected images of shape \(N, H, W, 1\)"):
        distort(np.zeros(shape, np.uint8))


def test_no_images():
    assert distort(IMAGES[:0]).shape == (0, 28, 28, 1)


def test_motion_point_by_point():
    x = IMAGES[:3, :9, 6:16, 0].astype(np.float32)  # (3, 9, 10)
    turn, slant = np.array([0.4, -0.3, 0.0]), np.array([0.2, 0.0, -0.3])
    sizes, shift = np.array([[0.8, 1.1, 1.0], [1.2, 0.9, 1.0]]), np.array([[1.0, -0.5, 0.0], [0.25, 2.0, 0.0]])
    y = _moved(x, turn, slant, sizes, shift)
    for n in range(3):
        sheared = np.array([[1, 0], [slant[n], 1]])  # columns move with rows
        turned = np.array([[math.cos(turn[n]), -math.sin(turn[n])], [math.sin(turn[n]), math.cos(turn[n])]])
        back = np.linalg.inv(turned @ np.diag(sizes[:, n]) @ sheared)
        for i in range(9):
            for j in range(10):
                row, column = back @ (np.array([i - 4.0, j - 4.5]) - shift[:, n]) + [4.0, 4.5]
                expected = 0.0
                for p in range(9):
                    for q in range(10):
                        expected += max(0, 1 - abs(row - p)) * max(0, 1 - abs(column - q)) * x[n, p, q]
                assert y[n, i, j] == pytest.approx(expected, abs=1e-2)


def test_blur_point_by_point():
    x = IMAGES[:2, 5:14, 5:15, 0].astype(np.float32)
    y = _blurred(x, np.array([0.6, 1.1]))
    for n, deviation in enumerate((0.6, 1.1)):
        weights = {d: math.exp(-d * d / (2 * deviation**2)) for d in range(-3, 4)}
        total = sum(weights.values()) ** 2
        for i in range(9):
            for j in range(10):
                near = [
                    (p, q) for p in range(max(0, i - 3), min(9, i + 4)) for q in range(max(0, j - 3), min(10, j + 4))
                ]
                expected = sum(weights[p - i] * weights[q - j] * x[n, p, q] for p, q in near) / total
                assert y[n, i, j] == pytest.approx(expected, rel=1e-4, abs=1e-3)

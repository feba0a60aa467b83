"""Tests of the drawn digits: shapes, repeatability, balance, and that they look like digits on paper.

The distance behind the drawing is compared with its definition, one segment and one pixel at a time.
"""

import math

import numpy as np
import pytest

from minicnn.data import synthetic, synthetic_digits


@pytest.mark.parametrize("n", [0, 1, 99, 100, 101, 250])
def test_shapes_and_types(n):
    images, labels = synthetic_digits(n)
    assert images.shape == (n, 28, 28, 1) and images.dtype == np.uint8
    assert labels.shape == (n,) and labels.dtype == np.int64


def test_more_images_only_come_after():
    images, labels = synthetic_digits(310, seed=5)
    for n in (10, 100, 150, 300):
        fewer_images, fewer_labels = synthetic_digits(n, seed=5)
        np.testing.assert_array_equal(fewer_images, images[:n])
        np.testing.assert_array_equal(fewer_labels, labels[:n])


def test_seeds_and_chunks_differ():
    images, labels = synthetic_digits(200, seed=0)
    others, _ = synthetic_digits(200, seed=1)
    every = np.concatenate([images, others]).reshape(400, -1)
    assert len(np.unique(every, axis=0)) == 400
    assert labels[:100].tolist() != labels[100:].tolist()


def test_every_hundred_is_balanced_and_shuffled():
    _, labels = synthetic_digits(500, seed=2)
    for part in labels.reshape(5, 100):
        assert np.bincount(part).tolist() == [10] * 10
        assert (np.diff(part) < 0).sum() > 20  # neither sorted nor the digits in turn
        assert len(set(part[:30].tolist())) > 5


def test_ink_is_white_on_black_and_centred():
    images, _ = synthetic_digits(1000, seed=3)
    ink = images[..., 0] / 255.0
    assert np.median(images) == 0 and 0.08 < ink.mean() < 0.18  # MNIST: 0.13
    assert ink.max(axis=(1, 2)).min() > 0.7
    mass = ink.sum(axis=(1, 2))
    for axis in (1, 2):
        centre = (ink.sum(axis=3 - axis) * np.arange(28)).sum(axis=1) / mass
        assert np.abs(centre - 13.5).max() < 2.5
    assert ink[:, [0, -1]].mean() < 0.01 and ink[:, :, [0, -1]].mean() < 0.01
    height, width = ((ink.max(axis=axis) > 0.1).sum(axis=1) for axis in (2, 1))
    box = np.maximum(height, width)
    assert box.min() >= 15 and box.max() <= 24


def test_a_digit_is_most_like_its_own_kind():
    """The nearest neighbour among other images has the same label, nearly always: the digits can be told apart."""
    images, labels = synthetic_digits(2500, seed=4)
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    nearest = (flat[2000:] @ flat[:2000].T).argmax(axis=1)
    right = (labels[nearest] == labels[2000:]).mean()
    assert 0.85 < right < 0.999


def test_distance_to_segments():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 27, (2, 3, 4, 2))
    x[0, 0], y[0, 0] = 5, 7  # a segment that is a point
    distance = synthetic._distance(x, y)
    for b in range(3):
        for row in range(0, 28, 3):
            for column in range(0, 28, 3):
                expected = math.inf
                for s in range(4):
                    (x0, x1), (y0, y1) = x[b, s], y[b, s]
                    squared = (x1 - x0) ** 2 + (y1 - y0) ** 2
                    t = ((column - x0) * (x1 - x0) + (row - y0) * (y1 - y0)) / squared if squared else 0.0
                    t = min(max(t, 0.0), 1.0)
                    expected = min(expected, math.hypot(column - x0 - t * (x1 - x0), row - y0 - t * (y1 - y0)))
                assert distance[b, row, column] == pytest.approx(expected, abs=1e-4)


def test_shapes_stay_in_the_unit_square_and_strokes_join():
    shapes, first, count = synthetic._table()
    assert (
        shapes.shape == (count.sum(), synthetic.SEGMENTS, 2, 2)
        and first.tolist() == np.cumsum([0, *count[:-1]]).tolist()
    )
    assert shapes.min() > -0.1 and shapes.max() < 1.1
    for digit, strings in synthetic.SHAPES.items():
        for shape, string in zip(shapes[first[digit] :], strings, strict=False):
            lifted = np.any(shape[:-1, 1] != shape[1:, 0], axis=1).sum()  # where a segment does not start at the last
            assert lifted <= string.count("|")


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="-1"):
        synthetic_digits(-1)
    with pytest.raises(ValueError, match="-2"):
        synthetic_digits(10, seed=-2)

"""Pooling and its gradients against loops over the windows, for shapes drawn at random.

Padding is no pixel: it never wins a maximum and is not counted in a mean, and of equal pixels the first wins.
"""

import naive
import numpy as np
import pytest
from conftest import LAYOUTS, arranged, assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st

from minicnn import AveragePooling2D, MaxPooling2D

sizes = st.sampled_from([1, 2, 3, 4])


@st.composite
def axes(draw):
    """(length, window, stride, pads) of one axis."""
    size, stride = draw(sizes), draw(sizes)
    if draw(st.booleans()):
        length = draw(st.integers(1, 9))
        return length, size, stride, naive.same_pads(length, size, stride)
    return draw(st.integers(size, 9)), size, stride, (0, 0)


batches = st.sampled_from([1, 2, 17, 19])
channels = st.sampled_from([1, 3, 16, 21])


@given(make=makers(), rows=axes(), columns=axes(), N=batches, C=channels)
@pytest.mark.parametrize("pool", ["max_pool2d", "avg_pool2d"])
def test_pooling_and_its_gradient(ops, pool, make, rows, columns, N, C):
    image, size, strides, pads = zip(rows, columns, strict=True)
    x = make(N, *image, C)
    dy = make(N, *naive.outputs(image, size, strides, pads), C)
    expected, expected_dx = getattr(naive, pool)(x, dy, size, strides, pads)
    y, saved = run(ops, pool, x, size, strides, pads)
    dx = run(ops, pool + "_backward", dy, saved)
    assert_close(ops.numpy(y), expected)
    assert_close(ops.numpy(dx), expected_dx)
    assert y.dtype == dx.dtype == x.dtype


@pytest.mark.parametrize("pool", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_small_window(ops, pool, size, stride):
    """Where the last window ends beside the last pixel, and where it reaches beyond it."""
    random = np.random.default_rng(0)
    for length in range(1, 7):
        for pad in {(0, 0), naive.same_pads(length, size, stride)}:
            if length + sum(pad) < size:
                continue
            geometry = (size, size), (stride, stride), (pad, pad)
            x = random.standard_normal((2, length, length, 3)).astype("float32")
            dy = random.standard_normal((2, *naive.outputs((length, length), *geometry), 3)).astype("float32")
            expected, expected_dx = getattr(naive, pool)(x, dy, *geometry)
            y, saved = run(ops, pool, x, *geometry)
            assert_close(ops.numpy(y), expected)
            assert_close(ops.numpy(run(ops, pool + "_backward", dy, saved)), expected_dx)


@given(image=st.tuples(st.integers(1, 6), st.integers(1, 6)), make=makers(), N=batches, C=channels)
@pytest.mark.parametrize("pool", ["max_pool2d", "avg_pool2d"])
def test_global_pooling_and_its_gradient(ops, pool, image, make, N, C):
    """The same as one window over the whole image."""
    x, dy = make(N, *image, C), make(N, C)
    expected, expected_dx = getattr(naive, pool)(x, dy[:, None, None], image, (1, 1), ((0, 0), (0, 0)))
    y, saved = run(ops, "global_" + pool, x)
    assert_close(ops.numpy(y), expected[:, 0, 0])
    assert_close(ops.numpy(run(ops, f"global_{pool}_backward", dy, saved)), expected_dx)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape, size", [((2, 2), 2), ((3, 3), 2), ((5, 4), 3)])
def test_of_equal_pixels_the_first_wins(ops, shape, size, layout):
    x = arranged(np.ones((3, *shape, 5), "float32"), layout)
    pads = tuple(naive.same_pads(length, size, size) for length in shape)
    dy = np.ones((3, *naive.outputs(shape, (size, size), (size, size), pads), 5), "float32")
    _, expected = naive.max_pool2d(x, dy, (size, size), (size, size), pads)
    _, saved = run(ops, "max_pool2d", x, (size, size), (size, size), pads)
    np.testing.assert_array_equal(ops.numpy(run(ops, "max_pool2d_backward", dy, saved)), expected)
    _, saved = run(ops, "global_max_pool2d", x)
    dx = ops.numpy(run(ops, "global_max_pool2d_backward", np.ones((3, 5), "float32"), saved))
    assert (dx[:, 0, 0] == 1).all() and dx.sum() == 15


def test_padding_never_wins(device_layer):
    layer = device_layer(MaxPooling2D(3, strides=1, padding="same"))
    x = -np.arange(1.0, 10.0, dtype="float32").reshape(1, 3, 3, 1)
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    np.testing.assert_array_equal(y[0, :, :, 0], [[-1, -1, -2], [-1, -1, -2], [-4, -4, -5]])


def test_a_mean_counts_only_pixels_inside(device_layer):
    """A 2×2 window over 3×3 pixels; "same" puts the one zero line below and to the right."""
    layer = device_layer(AveragePooling2D(2, padding="same"))
    x = np.arange(1.0, 10.0, dtype="float32").reshape(1, 3, 3, 1)
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    np.testing.assert_array_equal(y[0, :, :, 0], [[(1 + 2 + 4 + 5) / 4, (3 + 6) / 2], [(7 + 8) / 2, 9]])
    dx = layer.ops.numpy(layer.backward(layer.ops.array(np.float32([[[[4], [2]], [[2], [1]]]]))))
    np.testing.assert_array_equal(dx[0, :, :, 0], np.ones((3, 3)))


def test_windows_of_more_than_256_pixels(ops):
    """The number of the winner does not fit into one byte."""
    x = np.random.default_rng(0).standard_normal((2, 20, 21, 3)).astype("float32")
    dy = np.ones((2, 1, 1, 3), "float32")
    expected, expected_dx = naive.max_pool2d(x, dy, (20, 21), (1, 1), ((0, 0), (0, 0)))
    y, saved = run(ops, "max_pool2d", x, (20, 21), (1, 1), ((0, 0), (0, 0)))
    assert_close(ops.numpy(y), expected)
    assert_close(ops.numpy(run(ops, "max_pool2d_backward", dy, saved)), expected_dx)

"""Layers and operations that only move numbers: every number arrives where the definition says, and its gradient comes back.

im2col and col2im are adjoint: <im2col(x), u> = <x, col2im(u)>.
"""

import naive
import numpy as np
import pytest
from conftest import assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st
from test_convolution import geometries

from minicnn import Flatten, Input, Reshape, ZeroPadding2D

sides = st.tuples(st.integers(0, 3), st.integers(0, 3))


@given(
    make=makers(),
    image=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    pads=st.tuples(sides, sides),
    C=st.sampled_from([1, 3]),
)
@pytest.mark.parametrize("value", [0.0, -np.inf])
def test_padding(ops, value, make, image, pads, C):
    x = make(2, *image, C)
    (top, bottom), (left, right) = pads
    expected = np.full((2, top + image[0] + bottom, left + image[1] + right, C), value)
    for n, i, j, c in np.ndindex(x.shape):
        expected[n, top + i, left + j, c] = x[n, i, j, c]
    y = run(ops, "pad2d", x, pads, value)
    np.testing.assert_array_equal(ops.numpy(y), expected)
    np.testing.assert_array_equal(ops.numpy(ops.pad2d_backward(y, pads)), x)


@given(make=makers(), geometry=geometries(), N=st.sampled_from([1, 3]), C=st.sampled_from([1, 2, 5]))
def test_columns_and_their_adjoint(ops, make, geometry, N, C):
    image, size, strides, pads, dilation = geometry
    x = make(N, *image, C)
    columns = run(ops, "im2col", x, size, strides, pads, dilation)
    expected = np.zeros((N, *naive.outputs(image, size, strides, pads, dilation), *size, C))
    for i, j, window in naive.positions(image, size, strides, pads, dilation):
        for (a, b), (p, q) in window:
            expected[:, i, j, a, b] = x[:, p, q]
    np.testing.assert_array_equal(ops.numpy(columns), expected.reshape(columns.shape))
    u = make(*columns.shape)
    dx = ops.numpy(run(ops, "col2im", u, x.shape, size, strides, pads, dilation))
    left, right = (u.astype(float) * ops.numpy(columns)).sum(), (dx.astype(float) * x).sum()
    assert abs(left - right) <= 100 * np.finfo(x.dtype).eps * np.abs(u.astype(float) * ops.numpy(columns)).sum()


@pytest.mark.parametrize(
    "padding, pads", [(2, ((2, 2), (2, 2))), ((1, 3), ((1, 1), (3, 3))), (((1, 0), (0, 2)), ((1, 0), (0, 2)))]
)
def test_zero_padding_layer(device_layer, padding, pads):
    layer = device_layer(ZeroPadding2D(padding))
    x = np.arange(24.0, dtype="float32").reshape(2, 2, 2, 3)
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), *pads, (0, 0))))
    assert layer.output_shape == (None, *y.shape[1:])
    np.testing.assert_array_equal(layer.ops.numpy(layer.backward(layer.ops.array(y))), x)


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (Flatten(), (3, 4, 5), (60,)),
        (Flatten(), (7,), (7,)),
        (Reshape((5, 12)), (3, 4, 5), (5, 12)),
        (Reshape((2, -1, 3)), (3, 4, 5), (2, 10, 3)),
        (Reshape((-1,)), (3, 4, 5), (60,)),
        (Input((3, 4, 5)), (3, 4, 5), (3, 4, 5)),
    ],
    ids=lambda value: str(value) if isinstance(value, tuple) else type(value).__name__,
)
def test_rows_stay_in_order(ops, layer, shape, expected):
    layer.to(ops)
    layer.build((None, *shape))
    x = np.arange(2.0 * np.prod(shape), dtype="float32").reshape(2, *shape)
    y = ops.numpy(layer.forward(ops.array(x)))
    assert layer.output_shape == (None, *expected)
    np.testing.assert_array_equal(y, x.reshape(2, *expected))
    np.testing.assert_array_equal(ops.numpy(layer.backward(ops.array(y))), x)


@pytest.mark.parametrize("layer", [Flatten(), Reshape((3, 2))])
def test_whole_numbers_come_out_as_floats(layer):
    y = layer(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.reshape(-1), np.arange(12))


def test_numbers_cross_to_the_device_and_back(ops):
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    assert_close(ops.numpy(ops.array(x.T)), x.T)
    assert ops.array([1, 2], "float64").dtype == "float64"
    zeros = ops.zeros((2, 3), "float32")
    assert zeros.dtype == "float32"
    np.testing.assert_array_equal(ops.numpy(zeros), np.zeros((2, 3)))

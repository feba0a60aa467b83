"""Depthwise convolution and its gradients against loops over the definition, for shapes drawn at random."""

import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st
from test_convolution import batches, geometries

from minicnn import get_ops


@given(
    make=makers(), geometry=geometries(), N=batches, C=st.sampled_from([1, 2, 3, 16, 35]), M=st.sampled_from([1, 1, 2, 5]),
    biased=st.booleans(),
)  # fmt: skip
def test_convolution_of_channels_apart_and_its_gradients(ops, make, geometry, N, C, M, biased):
    image, size, *window = geometry
    x, kernel, bias = make(N, *image, C), make(*size, C, M), make(C * M) if biased else None
    expected = naive.depthwise_conv2d(x, kernel, bias, *window)
    dy = make(*expected.shape)

    y, saved = run(ops, "depthwise_conv2d", x, kernel, bias, *window)
    gradients = run(ops, "depthwise_conv2d_backward", dy, kernel, saved)
    without_dx = run(ops, "depthwise_conv2d_backward", dy, kernel, saved, False)

    assert_close(ops.numpy(y), expected)
    for got, wanted in zip(gradients, naive.depthwise_conv2d_backward(x, dy, kernel, *window), strict=True):
        assert_close(ops.numpy(got), wanted)
        assert got.dtype == x.dtype
    assert without_dx[0] is None
    for got, same in zip(without_dx[1:], gradients[1:], strict=True):
        np.testing.assert_array_equal(ops.numpy(got), ops.numpy(same))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "image, size, strides, pads",
    [((9, 28), (3, 3), (1, 1), ((1, 1), (1, 1))), ((15, 14), (5, 5), (2, 2), ((2, 2), (1, 2))),
     ((7, 7), (7, 7), (1, 1), ((0, 0), (0, 0)))],
)  # fmt: skip
@pytest.mark.parametrize("C", [17, 64, 100])
def test_images_and_depths_of_real_networks(ops, image, size, strides, pads, C, dtype):
    """Which take several tiles of each kind, and the gradient of the kernel several passes."""
    random, window = np.random.default_rng(1), (strides, pads, (1, 1))
    x, kernel, bias = (random.standard_normal(shape).astype(dtype) for shape in ((2, *image, C), (*size, C, 1), (C,)))
    expected = naive.depthwise_conv2d(x, kernel, bias, *window)
    dy = random.standard_normal(expected.shape).astype(dtype)
    y, saved = run(ops, "depthwise_conv2d", x, kernel, bias, *window)
    gradients = run(ops, "depthwise_conv2d_backward", dy, kernel, saved)
    assert_close(ops.numpy(y), expected)
    for got, wanted in zip(gradients, naive.depthwise_conv2d_backward(x, dy, kernel, *window), strict=True):
        assert_close(ops.numpy(got), wanted)


def test_a_convolution_of_two_channels_worked_out_by_hand(ops):
    x = np.stack([np.arange(9.0), 10 * np.arange(9.0)], axis=-1).reshape(1, 3, 3, 2)
    kernel = np.array([[[[1.0], [0.0]], [[2.0], [1.0]]], [[[3.0], [0.0]], [[4.0], [-1.0]]]])  # (2, 2, 2, 1)
    y, _ = run(ops, "depthwise_conv2d", x, kernel, np.array([0.5, 0.0]), (1, 1), ((0, 0), (0, 0)), (1, 1))
    # 0·1 + 1·2 + 3·3 + 4·4 = 27, and 10 more for each step to the right, 30 for each step down; 10 - 40 = -30
    np.testing.assert_array_equal(ops.numpy(y)[0, :, :, 0], [[27.5, 37.5], [57.5, 67.5]])
    np.testing.assert_array_equal(ops.numpy(y)[0, :, :, 1], [[-30, -30], [-30, -30]])


def test_filters_of_one_channel_lie_side_by_side(ops):
    x, kernel = np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    y, _ = run(ops, "depthwise_conv2d", x, kernel, None, (1, 1), ((0, 0), (0, 0)), (1, 1))
    np.testing.assert_array_equal(ops.numpy(y).ravel(), [1, 2, 3, 40, 50, 60])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strides, C, M", [((1, 1), 16, 1), ((2, 2), 37, 1), ((1, 1), 3, 4)])
def test_bits_do_not_depend_on_threads(threads, strides, C, M, dtype):
    ops, random = get_ops("cpu"), np.random.default_rng(3)
    x, kernel = random.standard_normal((37, 9, 8, C)).astype(dtype), random.standard_normal((3, 3, C, M)).astype(dtype)
    found = []
    for number in (1, 2, 3, 5):
        threads(number)
        y, saved = ops.depthwise_conv2d(x, kernel, kernel[0, 0].reshape(-1), strides, ((1, 1), (1, 1)), (1, 1))
        found.append([y, *ops.depthwise_conv2d_backward(y, kernel, saved)])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_arrays_that_do_not_fit_are_refused():
    x, cpu = np.ones((2, 9, 9, 4)), get_ops("cpu")
    window = (1, 1), ((0, 0), (0, 0)), (1, 1)
    with pytest.raises(ValueError, match=r"depthwise_conv2d kernel: expected .*\(3, 3, 4, 2\).* \(3, 3, 5, 2\)"):
        cpu.depthwise_conv2d(x, np.ones((3, 3, 5, 2)), None, *window)
    with pytest.raises(ValueError, match=r"depthwise_conv2d bias: expected .*\(8,\).* \(4,\)"):
        cpu.depthwise_conv2d(x, np.ones((3, 3, 4, 2)), np.ones(4), *window)
    with pytest.raises(ValueError, match=r"depthwise_conv2d: a kernel of shape \(10, 3, 4, 2\) does not fit"):
        cpu.depthwise_conv2d(x, np.ones((10, 3, 4, 2)), None, *window)
    _, saved = cpu.depthwise_conv2d(x, np.ones((3, 3, 4, 2)), None, *window)
    with pytest.raises(ValueError, match=r"depthwise_conv2d gradient: expected .*\(2, 7, 7, 8\).* \(2, 7, 7, 4\)"):
        cpu.depthwise_conv2d_backward(np.ones((2, 7, 7, 4)), np.ones((3, 3, 4, 2)), saved)

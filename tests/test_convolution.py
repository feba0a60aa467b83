"""Convolution, its fusion with ReLU, and all gradients against loops over the definition, for shapes drawn at random.

Keras' lopsided "same" padding is shown on examples worked out by hand.
"""

import naive
import numpy as np
import pytest
from calls import MOST
from conftest import DTYPES, assert_close, in_form, makers, run
from hypothesis import given
from hypothesis import strategies as st

from minicnn import Conv2D, get_ops
from minicnn.kernels import convolution
from minicnn.layers.convolution import window_pads
from minicnn.ops import cpu_convolution
from minicnn.ops.cpu_convolution import Direct, Geometry, Im2col, choose


@st.composite
def axes(draw, dilated):
    """(length, kernel, stride, pads, dilation) of one axis on which at least one window fits."""
    kernel = draw(st.sampled_from([1, 2, 3, 5]))
    stride = 1 if dilated else draw(st.sampled_from([1, 2, 3, 4]))
    dilation = draw(st.sampled_from([1, 2, 3])) if dilated else 1
    reach = (kernel - 1) * dilation + 1
    padding = draw(st.sampled_from(["valid", "same", "any"]))
    if padding == "same":
        length = draw(st.integers(1, 8))
        return length, kernel, stride, naive.same_pads(length, kernel, stride, dilation), dilation
    pads = (0, 0) if padding == "valid" else draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    return draw(st.integers(max(1, reach - sum(pads)), reach + 6)), kernel, stride, pads, dilation


@st.composite
def geometries(draw):
    """((H, W), (KH, KW), strides, pads, dilation); as in Keras, strides and dilation are not combined."""
    dilated = draw(st.booleans())
    return tuple(zip(draw(axes(dilated)), draw(axes(dilated)), strict=True))


batches = st.sampled_from([1, 2, 5, 17])
channels = st.sampled_from([1, 2, 3, 16, 19])
filters = st.sampled_from([1, 5, 16, 33])


@given(make=makers(), geometry=geometries(), N=batches, C=channels, F=filters, biased=st.booleans())
@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
def test_convolution_and_its_gradients(ops, relu, make, geometry, N, C, F, biased):
    check(ops, relu, make, geometry, N, C, F, biased)


def check(ops, relu, make, geometry, N, C, F, biased):
    image, size, strides, pads, dilation = geometry
    x, kernel, bias = make(N, *image, C), make(*size, C, F), make(F) if biased else None
    expected = naive.conv2d(x, kernel, bias, strides, pads, dilation)
    dy = make(*expected.shape)
    passed = dy * (expected > 0) if relu else dy
    name = "conv2d_relu" if relu else "conv2d"

    y, saved = run(ops, name, x, kernel, bias, strides, pads, dilation)
    gradients = run(ops, name + "_backward", dy, kernel, saved)
    without_dx = run(ops, name + "_backward", dy, kernel, saved, False)

    assert_close(ops.numpy(y), np.maximum(expected, 0) if relu else expected)
    for got, wanted in zip(gradients, naive.conv2d_backward(x, passed, kernel, strides, pads, dilation), strict=True):
        assert_close(ops.numpy(got), wanted)
        assert got.dtype == x.dtype
    assert without_dx[0] is None
    for got, same in zip(without_dx[1:], gradients[1:], strict=True):
        np.testing.assert_array_equal(ops.numpy(got), ops.numpy(same))


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("image, C, F", [((12, 13), 16, 16), ((8, 8), 32, 20), ((9, 17), 24, 48)])
def test_stride_one_with_many_channels(ops, image, C, F, size, padding):
    """The shapes of the inner layers of a network, for which a faster algorithm may be chosen."""
    random = np.random.default_rng(1)
    x, kernel = random.standard_normal((3, *image, C)), random.standard_normal((size, size, C, F))
    pads = ((padding, padding),) * 2
    expected = naive.conv2d(x, kernel, None, (1, 1), pads, (1, 1))
    dy = random.standard_normal(expected.shape)
    gradients = naive.conv2d_backward(x, dy, kernel, (1, 1), pads, (1, 1))
    for dtype in ("float32", "float64"):
        y, saved = run(ops, "conv2d", x.astype(dtype), kernel.astype(dtype), None, (1, 1), pads, (1, 1))
        got = run(ops, "conv2d_backward", dy.astype(dtype), kernel.astype(dtype), saved)
        assert_close(ops.numpy(y), expected)
        for actual, wanted in zip(got, gradients, strict=True):
            assert_close(ops.numpy(actual), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("F", range(1, MOST + 1))
def test_any_number_of_channels(ops, F, dtype):
    """Through the tile alone: no faster algorithm takes such a kernel."""
    settings, random, C = ((1, 1), ((1, 0), (0, 1)), (1, 1)), np.random.default_rng(2), MOST + 1 - F
    x, kernel, bias = (random.standard_normal(shape).astype(dtype) for shape in ((2, 6, 5, C), (3, 2, C, F), (F,)))
    expected = naive.conv2d(x, kernel, bias, *settings)
    dy = random.standard_normal(expected.shape).astype(dtype)
    y, saved = run(ops, "conv2d_relu", x, kernel, bias, *settings)
    gradients = run(ops, "conv2d_relu_backward", dy, kernel, saved)
    assert_close(ops.numpy(y), np.maximum(expected, 0))
    for got, wanted in zip(gradients, naive.conv2d_backward(x, dy * (expected > 0), kernel, *settings), strict=True):
        assert_close(ops.numpy(got), wanted)


@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
@pytest.mark.parametrize("numbers", [1, 1500, 1 << 20])
@pytest.mark.parametrize(
    "size, strides, pads, dilation",
    [((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)), ((5, 4), (1, 1), ((2, 2), (1, 2)), (1, 1)),
     ((2, 1), (3, 1), ((1, 0), (0, 0)), (1, 1)), ((3, 2), (1, 1), ((0, 1), (2, 0)), (2, 3))],
)  # fmt: skip
def test_images_of_one_channel(monkeypatch, relu, numbers, size, strides, pads, dilation):
    """Whose columns are written for so many numbers of columns and dy at once: for one line, a few, or all."""
    monkeypatch.setattr(convolution, "BAND", numbers)
    random, cpu = np.random.default_rng(4), get_ops("cpu")
    for dtype, F in (("float32", 16), ("float64", 21), ("float32", 8)):
        x, kernel, bias = (random.standard_normal(n).astype(dtype) for n in ((19, 10, 11, 1), (*size, 1, F), (F,)))
        expected = naive.conv2d(x, kernel, bias, strides, pads, dilation)
        dy = random.standard_normal(expected.shape).astype(dtype)
        passed = dy * (expected > 0) if relu else dy
        name = "conv2d_relu" if relu else "conv2d"
        _, saved = run(cpu, name, x, kernel, bias, strides, pads, dilation)
        gradients = run(cpu, name + "_backward", dy, kernel, saved)
        for got, wanted in zip(
            gradients, naive.conv2d_backward(x, passed, kernel, strides, pads, dilation), strict=True
        ):
            assert_close(got, wanted)


@given(make=makers(), geometry=geometries(), N=batches, C=channels, F=filters, biased=st.booleans())
@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
def test_the_columns_of_all_images(relu, make, geometry, N, C, F, biased):
    """As large kernels have them: here every kernel is large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_convolution, "UNCACHED", 0)
        in_form(patch, False, 0)
        check(get_ops("cpu"), relu, make, geometry, N, C, F, biased)


@pytest.mark.parametrize("strides, dilation", [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 3))])
@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
@pytest.mark.parametrize("pads", [((2, 2), (2, 2)), ((0, 5), (5, 0)), ((7, 1), (0, 9))])
def test_columns_of_windows_that_lie_beside_the_image(monkeypatch, pads, size, strides, dilation):
    monkeypatch.setattr(cpu_convolution, "UNCACHED", 0)
    in_form(monkeypatch, False, 0)
    random = np.random.default_rng(0)
    make = lambda *shape: random.standard_normal(shape)  # noqa: E731
    check(get_ops("cpu"), False, make, ((4, 3), size, strides, pads, dilation), 6, 3, 5, True)


def test_negative_pads_are_refused():
    x, kernel = np.ones((2, 9, 9, 4)), np.ones((3, 3, 4, 4))
    with pytest.raises(ValueError, match=r"conv2d: expected pads from 0 on, got \(\(-1, 0\), \(0, 0\)\)"):
        get_ops("cpu").conv2d(x, kernel, None, (1, 1), ((-1, 0), (0, 0)), (1, 1))


def test_large_kernels_take_the_columns_of_all_images():
    pads = ((1, 1), (1, 1))
    for C, strides, images, kind in (
        (256, (2, 2), 8, Im2col), (255, (2, 2), 8, Direct), (256, (2, 2), 4, Direct), (256, (1, 2), 200, Direct)
    ):  # fmt: skip
        geometry = Geometry((14, 14), C, (3, 3), 228, strides, pads, (1, 1))
        assert type(choose(geometry, images, "float32", "exact")) is kind


def test_strides_together_with_dilation(ops):
    """No layer asks for it, as in Keras, but the operation is defined for it."""
    random, geometry = np.random.default_rng(1), ((2, 3), ((2, 2), (1, 0)), (2, 2))
    x, kernel = random.standard_normal((2, 6, 7, 2)), random.standard_normal((2, 3, 2, 3))
    expected = naive.conv2d(x, kernel, None, *geometry)
    dy = random.standard_normal(expected.shape)
    y, saved = run(ops, "conv2d", x, kernel, None, *geometry)
    assert_close(ops.numpy(y), expected)
    gradients = run(ops, "conv2d_backward", dy, kernel, saved)
    for got, wanted in zip(gradients, naive.conv2d_backward(x, dy, kernel, *geometry), strict=True):
        assert_close(ops.numpy(got), wanted)


def test_a_convolution_worked_out_by_hand(ops):
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    kernel = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    bias, nowhere = np.array([0.5]), ((0, 0), (0, 0))
    y, saved = run(ops, "conv2d", x, kernel, bias, (1, 1), nowhere, (1, 1))
    # 0·1 + 1·2 + 3·3 + 4·4 = 27, and 10 more for each step to the right, 30 for each step down
    np.testing.assert_array_equal(ops.numpy(y)[0, :, :, 0], [[27.5, 37.5], [57.5, 67.5]])
    dx, dkernel, dbias = run(ops, "conv2d_backward", np.array([1.0, 0, 0, -1]).reshape(1, 2, 2, 1), kernel, saved)
    np.testing.assert_array_equal(ops.numpy(dx)[0, :, :, 0], [[1, 2, 0], [3, 3, -2], [0, -3, -4]])
    np.testing.assert_array_equal(ops.numpy(dkernel)[:, :, 0, 0], [[0 - 4, 1 - 5], [3 - 7, 4 - 8]])
    np.testing.assert_array_equal(ops.numpy(dbias), [0])


@pytest.mark.parametrize(
    "length, size, stride, dilation, pads",
    [
        (28, 3, 1, 1, (1, 1)),
        (28, 5, 1, 1, (2, 2)),
        (28, 2, 1, 1, (0, 1)),  # an odd total: the additional zero comes after
        (28, 3, 2, 1, (0, 1)),  # 14 windows reach (14 - 1)·2 + 3 = 29 pixels
        (28, 4, 1, 1, (1, 2)),
        (7, 3, 2, 1, (1, 1)),
        (6, 1, 3, 1, (0, 0)),  # a stride larger than the kernel needs no zeros
        (1, 5, 1, 1, (2, 2)),
        (2, 5, 2, 1, (1, 2)),
        (9, 3, 1, 3, (3, 3)),
        (5, 2, 1, 3, (1, 2)),
    ],
)
def test_same_padding_by_hand(length, size, stride, dilation, pads):
    assert naive.same_pads(length, size, stride, dilation) == pads
    got = window_pads((length, 1), (size, 1), (stride, 1), "same", (dilation, 1))
    assert got == (pads, (0, 0))


@given(length=st.integers(1, 40), size=st.integers(1, 9), stride=st.integers(1, 5), dilation=st.integers(1, 4))
def test_same_padding_is_the_least_that_does(length, size, stride, dilation):
    pads = window_pads((length, length), (size, size), (stride, stride), "same", (dilation, dilation))
    assert pads == (naive.same_pads(length, size, stride, dilation),) * 2


def test_same_padding_is_lopsided(device_layer):
    """Of an odd number of zeros the last is below and to the right: the first window of [1 2 3 4] begins at 1."""
    layer = device_layer(Conv2D(1, (1, 3), strides=(1, 2), padding="same", kernel_initializer="ones", use_bias=False))
    y = layer(layer.ops.array(np.array([1, 2, 3, 4], "float32").reshape(1, 1, 4, 1)))
    np.testing.assert_array_equal(layer.ops.numpy(y).reshape(-1), [1 + 2 + 3, 3 + 4 + 0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strides, C", [((1, 1), 16), ((1, 2), 16), ((2, 1), 3)])
def test_bits_do_not_depend_on_threads(threads, strides, C, dtype):
    ops, random = get_ops("cpu"), np.random.default_rng(3)
    x, kernel = random.standard_normal((37, 9, 8, C)).astype(dtype), random.standard_normal((3, 3, C, 20)).astype(dtype)
    found = []
    for number in (1, 2, 3, 5):
        threads(number)
        y, saved = ops.conv2d_relu(x, kernel, kernel[0, 0, 0], strides, ((1, 1), (1, 1)), (1, 1))
        found.append([y, *ops.conv2d_relu_backward(y, kernel, saved)])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)

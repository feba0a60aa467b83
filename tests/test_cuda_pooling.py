"""Pooling on the GPU, and on its emulator: against loops, for every kind of window, and to the bit whichever thread is first."""

import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close

from minicnn import get_ops

WINDOWS = [  # window, strides, pads
    ((2, 2), (2, 2), ((0, 0), (0, 0))),
    ((3, 3), (2, 2), ((1, 1), (1, 1))),
    ((3, 3), (1, 1), ((1, 1), (1, 1))),
    ((3, 2), (2, 1), ((2, 0), (0, 1))),
    ((1, 2), (3, 3), ((0, 0), (1, 0))),
    ((5, 4), (1, 2), ((2, 3), (0, 3))),
    ((9, 11), (1, 1), ((0, 0), (0, 0))),
]


def drawn(dtype, *shape):
    return np.random.default_rng(0).integers(-4, 5, shape).astype(dtype)  # with many equal ones


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [1, 3, 32, 40])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling_and_its_gradient(gpu, kind, window, C, dtype):
    x = drawn(dtype, 2, 9, 11, C)
    y, saved = getattr(gpu, f"{kind}_pool2d")(x, *window)
    dy = drawn(dtype, *y.shape)
    dx = getattr(gpu, f"{kind}_pool2d_backward")(dy, saved)
    expected, expected_dx = getattr(naive, f"{kind}_pool2d")(x, dy, *window)
    assert_close(y, expected)
    assert_close(dx, expected_dx)
    assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_bits_do_not_depend_on_the_order_of_threads(gpu, window, monkeypatch):
    x, found = np.random.default_rng(1).standard_normal((3, 9, 11, 5)).astype("float32"), []
    for backwards in (False, True):
        monkeypatch.setattr(gpu.kernels, "backwards", backwards, raising=False)
        for kind in ("max", "avg"):
            y, saved = getattr(gpu, f"{kind}_pool2d")(x, *window)
            found += [y, getattr(gpu, f"{kind}_pool2d_backward")(y, saved)]
    for one, other in zip(found[:4], found[4:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_not_a_number_wins_once(gpu):
    x = np.array([1, np.nan, np.inf, np.nan], "float32").reshape(1, 2, 2, 1)
    y, saved = gpu.max_pool2d(x, (2, 2), (2, 2), ((0, 0), (0, 0)))
    assert np.isnan(y).all()
    dx = gpu.max_pool2d_backward(np.ones_like(y), saved)
    np.testing.assert_array_equal(dx.reshape(-1), [0, 1, 0, 0])


def test_windows_too_large_for_the_kernel(gpu):
    """Of more pixels than a winner's 16 bits can number, and with padding as wide as the window, array code pools."""
    x = np.random.default_rng(0).standard_normal((1, 257, 257, 1))
    y, saved = gpu.global_max_pool2d(x)
    assert y == x.max() and gpu.global_max_pool2d_backward(y, saved).argmax() == x.argmax()
    window = (2, 2), (2, 2), ((2, 0), (0, 2))
    y, _ = gpu.max_pool2d(x[:, :6, :6], *window)
    np.testing.assert_array_equal(y, get_ops("reference").max_pool2d(x[:, :6, :6], *window)[0])


def test_a_window_that_does_not_fit(gpu):
    with pytest.raises(
        ValueError, match=r"pooling: windows of \(3, 3\) do not fit into an input of shape \(1, 2, 2, 1\)"
    ):
        gpu.max_pool2d(np.zeros((1, 2, 2, 1)), (3, 3), (1, 1), ((0, 0), (0, 0)))

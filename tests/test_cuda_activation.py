"""Activations on the GPU, and on its emulator: every function and its slope by central differences, and at its corners."""

import numpy as np
import pytest
from conftest import DTYPES, assert_close

from minicnn import get_ops
from minicnn.ops.reference import ELEMENTWISE

REFERENCE = get_ops("reference")
LARGE = np.array([-1e4, -300.0, -80.0, -3.0, -1e-8, 0.0, 1e-8, 3.0, 80.0, 300.0, 1e4])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slopes_by_central_differences(gpu, name):
    x = np.random.default_rng(0).uniform(-4, 4, 203)
    h = 1e-5
    expected = (gpu.activate(x + h, name)[0] - gpu.activate(x - h, name)[0]) / (2 * h)
    got = gpu.activate_backward(np.ones_like(x), gpu.activate(x, name)[1])
    np.testing.assert_allclose(got, expected, atol=1e-8 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != "exponential"])
def test_large_numbers(gpu, name, dtype):
    """Where an exponential on the way would overflow."""
    x = LARGE.astype(dtype)
    y, saved = gpu.activate(x, name)
    expected, reference = REFERENCE.activate(LARGE, name)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-7)
    slopes = gpu.activate_backward(np.ones_like(x), saved)
    np.testing.assert_allclose(slopes, REFERENCE.activate_backward(np.ones(len(x)), reference), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1027])
@pytest.mark.parametrize("first", [0, 1])
def test_ends_and_places_that_are_not_aligned(gpu, size, first):
    ops, x = gpu.ops, np.random.default_rng(0).standard_normal(size + first).astype("float32")
    y, saved = ops.relu(ops.array(x)[first:], 0.25, 1.0, 0.5)
    expected, slope = REFERENCE.relu(x[first:], 0.25, 1.0, 0.5)
    np.testing.assert_array_equal(ops.numpy(y), expected)
    np.testing.assert_array_equal(ops.numpy(ops.relu_backward(ops.array(x)[first:], saved)), x[first:] * slope)


def test_a_relu_of_what_is_no_number_or_infinite(gpu):
    x = np.array([np.nan, np.inf, -np.inf, -0.0], "float32")
    np.testing.assert_array_equal(gpu.relu(x)[0], [np.nan, np.inf, 0, 0])


@pytest.mark.parametrize("shape", [(1, 1, 5), (4, 3, 5), (5,), (1, 3, 5), (1, 1, 1), (4, 1, 1)], ids=str)
def test_prelu_by_central_differences(gpu, shape):
    random = np.random.default_rng(0)
    x, alpha, dy = (
        random.standard_normal((6, 4, 3, 5)),
        random.standard_normal(shape),
        random.standard_normal((6, 4, 3, 5)),
    )
    if x.ndim - 1 != alpha.ndim:  # of another kind of input
        x, dy = x.reshape(-1, 5), dy.reshape(-1, 5)
    y, saved = gpu.prelu(x, alpha)
    dx, dalpha = gpu.prelu_backward(dy, saved)
    assert_close(dx, dy * np.where(x > 0, 1, alpha))
    for index in np.ndindex(alpha.shape):
        change = np.zeros_like(alpha)
        change[index] = 1e-6
        difference = ((gpu.prelu(x, alpha + change)[0] - gpu.prelu(x, alpha - change)[0]) * dy).sum() / 2e-6
        assert dalpha[index] == pytest.approx(difference, abs=1e-6)


def test_the_error_function(gpu):
    import math

    x = np.linspace(-6, 6, 1001)
    np.testing.assert_allclose(gpu.erf(x), [math.erf(number) for number in x], rtol=0, atol=1e-15)

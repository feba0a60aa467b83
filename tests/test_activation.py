"""Activations and their derivatives against one-line formulas on single numbers, kinks and huge numbers included.

The softmax gradient is held to the whole Jacobian.
"""

import math

import naive
import numpy as np
import pytest
from conftest import assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn.layers import activation

shapes = st.sampled_from([(1,), (3, 5), (2, 3, 4, 5), (17, 1, 7)])


def leaky(x, slope=0.0, most=math.inf, threshold=0.0):
    """(y, dy/dx) of Keras' ReLU with all its settings."""
    if x > threshold:
        return (x, 1.0) if x < most else (most, 0.0)
    return min(most, slope * (x - threshold)), slope


FUNCTIONS = {
    "relu": ([], lambda x: leaky(x)),
    "relu leaking": ([0.3], lambda x: leaky(x, 0.3)),
    "relu up to 0.8": ([0.0, 0.8], lambda x: leaky(x, 0.0, 0.8)),
    "relu with all": ([0.1, 1.5, 0.25], lambda x: leaky(x, 0.1, 1.5, 0.25)),
    "elu": ([0.7], lambda x: (x, 1.0) if x > 0 else (0.7 * (math.exp(x) - 1), 0.7 * math.exp(x))),
    "sigmoid": ([], lambda x: (1 / (1 + math.exp(-x)), math.exp(-x) / (1 + math.exp(-x)) ** 2)),
    "tanh": ([], lambda x: (math.tanh(x), 1 / math.cosh(x) ** 2)),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@given(make=makers(), shape=shapes)
def test_activations_and_their_derivatives(ops, function, make, shape):
    settings, formula = FUNCTIONS[function]
    operation = function.split()[0]
    x, dy = 2 * make(*shape), make(*shape)
    expected, slopes = np.vectorize(lambda number: formula(float(number)), otypes=[float, float])(x)
    y, saved = run(ops, operation, x, *settings)
    dx = run(ops, operation + "_backward", dy, saved)
    assert_close(ops.numpy(y), expected)
    assert_close(ops.numpy(dx), np.float64(dy) * slopes)
    assert y.dtype == dx.dtype == x.dtype


def test_relu_at_zero_passes_nothing_back(ops):
    x = np.array([-1.0, -0.0, 0.0, 1.0], "float32")
    y, saved = run(ops, "relu", x)
    np.testing.assert_array_equal(ops.numpy(y), [0, 0, 0, 1])
    np.testing.assert_array_equal(ops.numpy(run(ops, "relu_backward", np.ones(4, "float32"), saved)), [0, 0, 0, 1])


@pytest.mark.parametrize("name", sorted(activation.BY_NAME))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_overflows(ops, name, dtype):
    layer = activation.get(name).to(ops)
    x = np.array([[-1e4, -100.0, -1.0, 0.0], [1.0, 20.0, 100.0, 1e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = ops.numpy(layer.forward(ops.array(x)))
        dx = ops.numpy(layer.backward(ops.array(np.ones_like(x))))
    assert np.isfinite(y).all() and np.isfinite(dx).all() and y.dtype == dx.dtype == dtype


@given(make=makers(), shape=st.sampled_from([(1, 1), (3, 10), (2, 3, 4)]), axis=st.sampled_from([-1, 1]))
def test_softmax_and_its_gradient(ops, make, shape, axis):
    x, dy = make(*shape), make(*shape)
    rows, dy_rows = (np.moveaxis(np.float64(a), axis, -1).reshape(-1, a.shape[axis]) for a in (x, dy))
    expected = np.array([naive.softmax(row) for row in rows])
    gradients = np.array([(np.diag(p) - np.outer(p, p)) @ d for p, d in zip(expected, dy_rows, strict=True)])
    moved = np.moveaxis(x, axis, -1).shape
    y, saved = run(ops, "softmax", x, axis)
    assert_close(ops.numpy(y), np.moveaxis(expected.reshape(moved), -1, axis))
    dx = run(ops, "softmax_backward", dy, saved)
    assert_close(ops.numpy(dx), np.moveaxis(gradients.reshape(moved), -1, axis))


@pytest.mark.parametrize(
    "layer, x, y",
    [
        (minicnn.ReLU(), [-2, 0, 3], [0, 0, 3]),
        (minicnn.ReLU(6.0), [-2, 5, 7], [0, 5, 6]),
        (minicnn.ReLU(6.0, 0.5, 1.0), [-1, 1, 3], [-1, 0, 3]),
        (minicnn.LeakyReLU(), [-2, 3], [-0.6, 3]),
        (minicnn.ELU(), [-1, 2], [math.exp(-1) - 1, 2]),
        (minicnn.ELU(2.0), [-1, 2], [2 * math.exp(-1) - 2, 2]),
        (minicnn.Softmax(), [0, math.log(3)], [0.25, 0.75]),
        (minicnn.Activation("relu6"), [-1, 8], [0, 6]),
        (minicnn.Activation("leaky_relu"), [-1, 8], [-0.2, 8]),
        (minicnn.Activation("linear"), [-1, 8], [-1, 8]),
        (minicnn.Activation("sigmoid"), [0, math.log(3)], [0.5, 0.75]),
        (minicnn.Activation("tanh"), [0, math.log(2)], [0, 0.6]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, minicnn.Layer) else "",
)
def test_the_defaults_of_keras(layer, x, y):
    assert_close(layer(np.array([x], "float32")), [y])

"""Activations and their derivatives against one-line formulas on single numbers, kinks and huge numbers included.

The softmax gradient is held to the whole Jacobian.
"""

import math
from functools import partial

import naive
import numpy as np
import pytest
from conftest import assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import activations, layers
from minicnn.layers import activation
from minicnn.ops.reference import ELEMENTWISE

shapes = st.sampled_from([(1,), (3, 5), (2, 3, 4, 5), (17, 1, 7)])


def leaky(x, slope=0.0, most=math.inf, threshold=0.0):
    """(y, dy/dx) of Keras' ReLU with all its settings."""
    if x > threshold:
        return (x, 1.0) if x < most else (most, 0.0)
    return min(most, slope * (x - threshold)), slope


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def bell(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def below(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def hard(x):
    return min(max(x + 3, 0), 6) / 6


def soft(x):
    return math.tanh(math.log1p(math.exp(x)))


SCALE, ALPHA = 1.05070098735548, 1.67326324235438  # of the paper on self-normalizing networks
BY_NAME = {  # y and dy/dx
    "sigmoid": lambda x: (sigmoid(x), math.exp(-x) * sigmoid(x) ** 2),
    "tanh": lambda x: (math.tanh(x), 1 / math.cosh(x) ** 2),
    "selu": lambda x: (SCALE * x, SCALE) if x > 0 else (SCALE * ALPHA * math.expm1(x), SCALE * ALPHA * math.exp(x)),
    "gelu": lambda x: (x * below(x), below(x) + x * bell(x)),
    "silu": lambda x: (x * sigmoid(x), sigmoid(x) + x * math.exp(-x) * sigmoid(x) ** 2),
    "softplus": lambda x: (math.log1p(math.exp(x)), sigmoid(x)),
    "softsign": lambda x: (x / (1 + abs(x)), 1 / (1 + abs(x)) ** 2),
    "hard_sigmoid": lambda x: (hard(x), 1 / 6 if abs(x) < 3 else 0.0),
    "hard_silu": lambda x: (x * hard(x), hard(x) + (x / 6 if abs(x) < 3 else 0.0)),
    "mish": lambda x: (x * soft(x), soft(x) + x * (1 - soft(x) ** 2) * sigmoid(x)),
    "exponential": lambda x: (math.exp(x), math.exp(x)),
}
FUNCTIONS = {
    "relu": ([], lambda x: leaky(x)),
    "relu leaking": ([0.3], lambda x: leaky(x, 0.3)),
    "relu up to 0.8": ([0.0, 0.8], lambda x: leaky(x, 0.0, 0.8)),
    "relu with all": ([0.1, 1.5, 0.25], lambda x: leaky(x, 0.1, 1.5, 0.25)),
    "elu": ([0.7], lambda x: (x, 1.0) if x > 0 else (0.7 * math.expm1(x), 0.7 * math.exp(x))),
    **{f"activate {name}": ([name], formula) for name, formula in BY_NAME.items()},
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
    slope = ops.numpy(dx) / np.where(dy == 0, 1, dy)  # of the size of 1, a sum that may cross zero
    assert_close(np.append(slope, slope.dtype.type(1)), np.append(np.where(dy == 0, 0, slopes), 1))
    assert y.dtype == dx.dtype == x.dtype


def test_relu_at_zero_passes_nothing_back(ops):
    x = np.array([-1.0, -0.0, 0.0, 1.0], "float32")
    y, saved = run(ops, "relu", x)
    np.testing.assert_array_equal(ops.numpy(y), [0, 0, 0, 1])
    np.testing.assert_array_equal(ops.numpy(run(ops, "relu_backward", np.ones(4, "float32"), saved)), [0, 0, 0, 1])


def test_every_function_has_a_formula_here():
    assert set(BY_NAME) == set(ELEMENTWISE)


@pytest.mark.parametrize("name", sorted(set(activation.BY_NAME) - {"exponential"}))
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
    rows, dy_rows = (np.moveaxis(a.astype(float), axis, -1).reshape(-1, a.shape[axis]) for a in (x, dy))
    expected = np.array([naive.softmax(row) for row in rows])
    gradients = np.array([(np.diag(p) - np.outer(p, p)) @ d for p, d in zip(expected, dy_rows, strict=True)])
    moved = np.moveaxis(x, axis, -1).shape
    y, saved = run(ops, "softmax", x, axis)
    assert_close(ops.numpy(y), np.moveaxis(expected.reshape(moved), -1, axis))
    dx = run(ops, "softmax_backward", dy, saved)
    assert_close(ops.numpy(dx), np.moveaxis(gradients.reshape(moved), -1, axis))


@given(make=makers(), shape=st.sampled_from([(1, 1), (3, 10), (2, 3, 4)]), axis=st.sampled_from([-1, 1]))
def test_log_softmax_and_its_gradient(ops, make, shape, axis):
    x, dy = make(*shape), make(*shape)
    y, saved = run(ops, "log_softmax", x, axis)
    p, softmax = run(ops, "softmax", x.astype(float), axis)
    assert_close(ops.numpy(y), np.log(ops.numpy(p)))
    expected = run(ops, "softmax_backward", dy.astype(float) / ops.numpy(p), softmax)
    assert_close(ops.numpy(run(ops, "log_softmax_backward", dy, saved)), ops.numpy(expected))


@given(make=makers(), shared=st.sampled_from([(), (1,), (1, 2), (2,), (3,), (1, 2, 3)]))
def test_prelu_and_its_gradients(ops, make, shared):
    shape = (5, 3, 4, 19)
    x, dy, alpha = make(*shape), make(*shape), make(*(1 if axis in shared else shape[axis] for axis in (1, 2, 3)))
    y, saved = run(ops, "prelu", x, alpha)
    dx, dalpha = run(ops, "prelu_backward", dy, saved)
    slopes = np.where(x > 0, 1, np.broadcast_to(alpha, shape[1:]).astype(float))
    assert_close(ops.numpy(y), x * slopes)
    assert_close(ops.numpy(dx), dy * slopes)
    expected = np.zeros(alpha.shape)
    for index in zip(*np.nonzero(x <= 0), strict=True):
        place = tuple(0 if axis in shared else index[axis] for axis in (1, 2, 3))
        expected[place] += float(dy[index]) * float(x[index])
    assert_close(ops.numpy(dalpha), expected)
    assert y.dtype == dx.dtype == dalpha.dtype == x.dtype


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


def test_activations_by_their_names():
    assert minicnn.activations.serialize(minicnn.activations.relu) == "relu"
    assert minicnn.activations.deserialize("relu") is minicnn.activations.relu
    with pytest.raises(ValueError, match="the activation abs is not one of minicnn.activations"):
        minicnn.activations.serialize(abs)


# ---------------------------------------------------------------------- functions of one's own


def capped(x):
    return activations.relu(x, max_value=1.5)


HANDED_ON = [  # what a function gives its argument to, the formula, and the name by which it is saved, if it has one
    (lambda x: activations.relu(x), leaky, "relu"),
    (lambda x: activations.relu(x, negative_slope=0.1), lambda x: leaky(x, 0.1), ""),
    (partial(activations.relu, negative_slope=0.1, max_value=2.0), lambda x: leaky(x, 0.1, 2.0), ""),
    (capped, lambda x: leaky(x, 0.0, 1.5), ""),
    (lambda x: minicnn.ops.relu6(x), lambda x: leaky(x, 0.0, 6.0), ""),
    (lambda x: activations.leaky_relu(x), lambda x: leaky(x, 0.2), "leaky_relu"),
    (lambda x: activations.leaky_relu(x, 0.01), lambda x: leaky(x, 0.01), ""),
    (lambda x: layers.LeakyReLU(0.05)(x), lambda x: leaky(x, 0.05), ""),
    (lambda x: activations.elu(x, alpha=0.5), lambda x: (x, 1) if x > 0 else (math.expm1(x) / 2, math.exp(x) / 2), ""),
    (lambda x: activations.get("tanh")(x), BY_NAME["tanh"], "tanh"),
    (lambda x: x, lambda x: (x, 1.0), "linear"),
]


@pytest.mark.parametrize("function, formula, name", HANDED_ON)
def test_a_function_that_hands_its_argument_on_is_this_activation(function, formula, name):
    x = np.linspace(-3.9, 8.1, 24, dtype="float32").reshape(4, 6)
    expected = np.array([formula(float(one)) for one in x.ravel()]).reshape(4, 6, 2)
    layer = layers.Activation(function)
    layer.build(x.shape)
    assert_close(layer.forward(x), expected[..., 0])
    assert_close(layer.backward(np.full_like(x, 2)), 2 * expected[..., 1])
    assert layer.activation_name == name
    again = layers.Activation.from_config(layer.get_config())
    assert_close(again(x), expected[..., 0])
    dense = layers.Dense(6, activation=function, kernel_initializer=lambda shape, dtype: np.eye(*shape, dtype=dtype))
    assert_close(dense(x[:, :6]), expected[..., 0])


@pytest.mark.parametrize("function, slope", [(lambda x: 2 * x, 2), (lambda x: 1 - x / 4, -0.25), (lambda x: -x, -1)])
def test_a_function_that_multiplies_by_a_number(function, slope):
    x = np.linspace(-3, 3, 8, dtype="float32").reshape(2, 4)
    dense = layers.Dense(4, activation=function, kernel_initializer="identity")
    assert_close(dense(x), function(x))
    assert_close(dense.backward(np.ones_like(x)), np.full(x.shape, slope))
    assert dense.activation is function


def test_a_function_of_ones_own_gives_no_layer_another_name():
    minicnn.backend.clear_session()
    for function, *_ in HANDED_ON:
        layers.Dense(3, activation=function, name="dense")
    assert layers.ReLU().name == "re_lu" and layers.Input((3,)).name == "input_layer" and layers.ELU().name == "elu"


def test_a_last_softmax_that_a_function_hands_on_to_is_fused_with_the_loss():
    model = minicnn.Sequential(
        [layers.Input((6,)), layers.Dense(3, activation=lambda x: activations.softmax(x, axis=-1))]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.ends_with_softmax


@pytest.mark.parametrize(
    "function",
    [
        lambda x: activations.get("relu"),
        lambda x: np.cbrt(x),
        lambda x: np.asarray(x) * 2,
        lambda x: x if x > 0 else 0 * x,
        lambda x: 3,
        lambda x, y: x,
        np.cbrt,
        layers.LeakyReLU,
    ],
)
def test_a_function_whose_derivative_is_not_known(function):
    with pytest.raises(
        ValueError, match="activation takes a name or a function of minicnn.activations, not .* derivative is not"
    ):
        layers.Dense(3, activation=function)

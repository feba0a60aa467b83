"""Derivatives of functions of one's own, against central differences in float64."""

import numpy as np
import pytest

import minicnn
from minicnn import activations, layers, losses, ops, regularizers
from minicnn.derivatives import FLAT, FUNCTIONS, RULES, UnknownDerivative, derivative

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(0.3, 2.0, (3, 4)) * np.where(RANDOM.random((3, 4)) < 0.5, 1, -1)
C = RANDOM.uniform(0.3, 2.0, (3, 4))
ROW = RANDOM.uniform(0.3, 2.0, (1, 4))


def differences(function, x, dy, step=1e-6):
    """The gradient of Σ dy · function(x), number by number."""
    found = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            values.append(np.sum(dy * function(moved)))
        found[place] = (values[0] - values[1]) / (2 * step)
    return found


def check(function, x=X):
    y, back = derivative(function, x)
    np.testing.assert_allclose(y, function(x), rtol=1e-12)
    dy = np.random.default_rng(1).normal(size=np.shape(y))
    np.testing.assert_allclose(back(dy), differences(function, x, dy), rtol=1e-6, atol=1e-7)


UNARY = [ufunc for ufunc in RULES if ufunc.nin == 1]
BINARY = [ufunc for ufunc in RULES if ufunc.nin == 2 and ufunc is not np.matmul]


@pytest.mark.parametrize("ufunc", UNARY)
def test_functions_of_one_array(ufunc):
    check(ufunc, abs(X) if ufunc in (np.sqrt, np.log, np.log1p, np.log2, np.log10) else X)


@pytest.mark.parametrize("other", [C, ROW, 1.7, C[:, :1]], ids=["same", "row", "number", "column"])
@pytest.mark.parametrize("ufunc", BINARY)
def test_functions_of_two_arrays(ufunc, other):
    check(lambda x: ufunc(x, other), abs(X))
    check(lambda x: ufunc(other, x), abs(X))
    check(lambda x: ufunc(x[:1], x * other), abs(X))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x @ np.ones((4, 2)) * 2,
        lambda x: np.arange(6.0).reshape(2, 3) @ x,
        lambda x: np.dot(x, x.T),
        lambda x: x**3 - 2 / x + -x + abs(x) + (3 - x) * (x - 1) + 2**x,
        lambda x: x ** np.zeros(4),
        lambda x: np.sum(x), lambda x: x.sum(axis=0), lambda x: np.sum(x, axis=(0, 1)), lambda x: x.sum(1, keepdims=True),
        lambda x: np.mean(x), lambda x: x.mean(axis=-1), lambda x: np.mean(x * x, axis=0, keepdims=True),
        lambda x: np.max(x), lambda x: x.max(axis=1), lambda x: np.min(x, axis=0, keepdims=True), lambda x: x.min(),
        lambda x: np.var(x, axis=1), lambda x: np.std(x), lambda x: np.std(x, axis=0, keepdims=True, ddof=1),
        lambda x: np.clip(x, -1, 1), lambda x: x.clip(-0.5, None), lambda x: np.clip(x, None, ROW),
        lambda x: np.where(x > 0, x * x, 3), lambda x: np.where(x > 0.5, ROW, x), lambda x: np.where(x != 0, ROW * x[:1], 0),
        lambda x: x.reshape(2, 6) * np.arange(6), lambda x: np.reshape(x, (-1,)) ** 2, lambda x: np.ravel(x)[::2],
        lambda x: np.expand_dims(x, 1) * C[:, :, None], lambda x: np.squeeze(x[:, :1], -1), lambda x: x[1], lambda x: x[..., 2],
        lambda x: x[:, [0, 0, 3]], lambda x: x[x > 0], lambda x: x[:, None, ::-1],
        lambda x: x.T * np.arange(3), lambda x: np.transpose(x[None], (2, 0, 1)) * np.arange(3),
        lambda x: np.concatenate([x, 2 * x[:, :2], C], axis=1) * np.arange(10),
        lambda x: np.linalg.norm(x), lambda x: np.linalg.norm(x, axis=1), lambda x: np.broadcast_to(x[:, None], (3, 2, 4)) * 2,
        lambda x: np.sign(x) * x, lambda x: np.zeros_like(x) + x * (x > 0), lambda x: x.astype("float64") * len(x) * x.shape[1],
        lambda x: x * x.sum() + np.exp(x).sum(axis=1, keepdims=True) * x,
        lambda x: x,
        lambda x: 2.5 * np.ones((3, 4)) * x[0, 0],
        lambda x: ops.logsumexp(x, axis=1), lambda x: ops.rsqrt(x * x), lambda x: ops.cast(x, "float64") * 2,
        lambda x: ops.norm(x), lambda x: ops.convert_to_tensor(x) * 3,
        lambda x: ops.stop_gradient(np.sign(x)) * x,
    ],
)  # fmt: skip
def test_what_is_calculated(function):
    check(function)


@pytest.mark.parametrize("name", activations.NAMES)
def test_activations(name):
    check(lambda x: 2 * getattr(activations, name)(x * x - 1.1) + x)


def test_activations_with_settings():
    check(lambda x: x + activations.relu(x, negative_slope=0.1, max_value=1.0, threshold=0.1))
    check(lambda x: activations.softmax(x, axis=0) * x)
    check(lambda x: activations.gelu(x, approximate=True))


@pytest.mark.parametrize("name", sorted({function.__name__ for function in losses.FUNCTIONS}))
def test_losses_within_functions(name):
    function = getattr(losses, name)
    y = np.array([0, 3, 1]) if "sparse" in name else C if "percentage" in name else np.eye(4)[[0, 3, 1]]
    p = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    check(lambda p: 2 * function(y, p) + p[:, 0] ** 2, p)
    reduced = losses.get(name)
    check(lambda p: reduced(y, p) * np.mean(p * p), p)


def test_what_is_added_twice_counts_twice():
    y, back = derivative(lambda x: x + x + x[:, ::-1][:, ::-1], X)
    np.testing.assert_array_equal(back(np.ones((3, 4))), np.full((3, 4), 3.0))


def test_ties_share_the_gradient():
    same = np.array([[1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(derivative(lambda x: x.max(axis=1), same)[1](np.ones(1)), [[0.5, 0.5, 0]])
    np.testing.assert_array_equal(derivative(lambda x: np.maximum(x, 1), same)[1](np.ones((1, 3))), [[0.5, 0.5, 0]])


def test_types_stay():
    x = X.astype("float32")
    y, back = derivative(lambda x: (x**2 * np.float32(2) + 0.5).mean(axis=1) / 3, x)
    assert y.dtype == "float32" and back(np.ones(3, "float32")).dtype == "float32"


@pytest.mark.parametrize(
    "function, sentence",
    [
        (np.cbrt, "the derivative of np.cbrt is not known here"),
        (lambda x: np.cumsum(x), "the derivative of np.cumsum is not known here"),
        (lambda x: np.linalg.norm(x, 1, axis=1), "the derivative of a norm of order 1 is not known here"),
        (lambda x: np.add.reduce(x), "the derivative of np.add is not known with out, where or reduce"),
        (lambda x: x if x.sum() > 0 else -x, None),
        (lambda x: np.asarray(x) * 2, "not known of functions that make a plain array"),
        (lambda x: np.ones(3), "does not follow from its argument"),
        (lambda x: x > 0, "does not follow from its argument"),
        (lambda x: losses.mse(x, C), "not known of functions that make a plain array"),
        (lambda x: losses.MeanSquaredError()(x, x), "has a derivative for its second argument"),
    ],
)
def test_what_has_no_derivative(function, sentence):
    if sentence is None:  # a number can be asked
        return check(function)
    with pytest.raises(UnknownDerivative, match=sentence):
        derivative(function, X)


def test_weights_of_others_are_refused():
    layer = layers.Dense(2)
    layer.build((None, 4))
    with pytest.raises(UnknownDerivative, match="it uses .*kernel, which is of another layer"):
        derivative(lambda x: x @ layer.kernel, X)


def test_a_penalty_for_activities():
    """As the sparse autoencoder of Géron's book, chapter 17, has it."""

    class Sparse(regularizers.Regularizer):
        def __call__(self, x):
            mean = ops.mean(x, axis=0)
            return 0.5 * (losses.kl_divergence(0.1, mean) + losses.kl_divergence(0.9, 1.0 - mean))

    p = 1 / (1 + np.exp(-X))
    mean = p.mean(axis=0)
    assert Sparse()(p) == pytest.approx(0.5 * (0.1 * np.log(0.1 / mean) + 0.9 * np.log(0.9 / (1 - mean))).sum())
    np.testing.assert_allclose(Sparse().gradient(p), differences(Sparse(), p, 1.0), rtol=1e-6)
    model = minicnn.Sequential(
        [minicnn.Input((4,)), layers.Dense(3, "sigmoid", activity_regularizer=Sparse()), layers.Dense(4)]
    )
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(p, p, verbose=0).history["loss"][0])


def test_every_operation_is_tested_or_flat():
    assert len(UNARY) + len(BINARY) + 1 == len(RULES) and not set(RULES) & FLAT and not set(FUNCTIONS) & FLAT

"""Derivatives of functions of one's own, against central differences in float64."""

import numpy as np
import pytest

import minicnn
from minicnn import activations, backend, derivatives, layers, losses, ops, regularizers
from minicnn.derivatives import FLAT, FUNCTIONS, RULES, Traced, UnknownDerivative, derivative

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
    np.testing.assert_allclose(back(dy)[0], differences(function, x, dy), rtol=1e-6, atol=1e-7)


def losses_of(function, reduction="sum_over_batch_size"):
    """A loss class of one's own, within another function."""
    return type("Own", (losses.Loss,), {"call": lambda self, y, p: function(y, p)})(reduction=reduction)


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


CALCULATED = [
    lambda x: x @ np.ones((4, 2)) * 2,
    lambda x: np.arange(6.0).reshape(2, 3) @ x,
    lambda x: np.dot(x, x.T),
    lambda x: x**3 - 2 / x + -x + abs(x) + (3 - x) * (x - 1) + 2**x,
    lambda x: x ** np.zeros(4),
    lambda x: np.sum(x), lambda x: x.sum(axis=0), lambda x: np.sum(x, axis=(0, 1)), lambda x: x.sum(1, keepdims=True),
    lambda x: np.mean(x), lambda x: x.mean(axis=-1), lambda x: np.mean(x * x, axis=0, keepdims=True),
    lambda x: np.max(x), lambda x: x.max(axis=1), lambda x: np.min(x, axis=0, keepdims=True), lambda x: x.min(),
    lambda x: np.amax(x, 1) * np.amin(x),
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
    lambda x: x @ ROW[0], lambda x: C[:, 0] @ x, lambda x: x[0] @ C[0], lambda x: C[0] @ x[1], lambda x: x @ x[0],
    lambda x: (C[:2, None, :3] @ x) * 2, lambda x: x[None] @ np.stack([C.T, C.T + 1]), lambda x: C[0, :2] @ x.reshape(2, 2, 3),
    lambda x: np.dot(x, ROW[0]), lambda x: np.dot(x, 2.0), lambda x: np.dot(3, x), lambda x: np.dot(C[None], x.T), lambda x: x.dot(x.T),
    lambda x: np.transpose(x.reshape(2, 2, 3), (-1, 0, 1)) * C.reshape(3, 2, 2), lambda x: x.reshape(2, 2, 3).transpose(-1, 0, 1)[0],
    lambda x: np.clip(C, 0.9, x), lambda x: np.clip(x[0], C, None), lambda x: np.clip(x, min=-1, max=1),
    lambda x: np.stack([x[0], 2 * x[1], C[0]], axis=-1) * np.arange(3), lambda x: np.concatenate([x, C], axis=None) * np.arange(24),
    lambda x: np.swapaxes(x, 0, 1)[1], lambda x: np.moveaxis(x[None], -1, 0)[1:], lambda x: np.flip(x, 1) * x,
    lambda x: np.roll(x, 1, axis=0) * x, lambda x: np.repeat(x, 2, axis=1) ** 2, lambda x: np.tile(x, (2, 1)) * np.arange(6)[:, None],
    lambda x: np.take(x, [1, 1, 0], axis=0) ** 2, lambda x: x[[0, 2, 2], [1, 3, 3]] ** 2, lambda x: np.full_like(x, 2.0) * x,
    lambda x: x.var(axis=(0, -1)) * x.std() * x.ravel()[3] + x.flatten()[1], lambda x: np.linalg.norm(x[None], "fro", axis=(-2, -1)),
    lambda x: x * [1, 2, 3, 4] + np.power(abs(x), [0, 1, 2, 3]),
    lambda x: ops.convert_to_tensor(x, "float64") * 3, lambda x: ops.sum(x * x, [0, 1]), lambda x: ops.mean(x, -1, True) * x,
    lambda x: backend.max(x, axis=[-1]),
    lambda x: np.einsum("ij,kj->ik", x, C) * x[:, :3], lambda x: np.einsum("ij, ij -> j", x, x), lambda x: np.einsum("ij->j", x),
    lambda x: np.einsum("ij,kj,k->ki", C, x, ROW[0, :3]), lambda x: np.einsum("ik,jl->lj", x, C), lambda x: ops.einsum("ij->ji", x),
    lambda x: np.tensordot(x, C, axes=[[1], [1]]) * x[:, :3], lambda x: np.tensordot(C, x), lambda x: np.tensordot(x, ROW[0], 1),
    lambda x: np.tensordot(x.reshape(3, 2, 2), C.reshape(2, 3, 2), ((2, 0), (-1, 1))), lambda x: np.tensordot(x, ROW, 0),
    lambda x: ops.split(x, 2, axis=-1)[1] * np.split(x, [1, 3], 1)[1],
    lambda x: activations.relu(x.sum()) + activations.sigmoid(x[:, 0]).sum(),
    lambda x: losses_of(lambda y, p: 3 * (p - y) ** 2)(C, x) * x.sum(),
    lambda x: np.sum(losses_of(lambda y, p: (p - y) ** 2 * p.sum(), None)(C, x) * ROW),
]  # fmt: skip


@pytest.mark.parametrize("function", CALCULATED)
def test_what_is_calculated(function):
    check(function)


def test_numbers_that_are_whole_have_no_slope():
    y, back = derivative(lambda x: (3 * x).astype(int) * x, X)
    np.testing.assert_array_equal(back(np.ones((3, 4)))[0], (3 * X).astype(int))


def test_in_place_is_as_in_keras_another_array():
    def function(x):
        y = x
        y += x
        y *= x
        y -= 1
        y /= x  # which is as before
        y **= 3
        return y

    y, back = derivative(function, X)
    np.testing.assert_allclose(y, (2 * X - 1 / X) ** 3)
    np.testing.assert_allclose(back(1.0)[0], 3 * (2 * X - 1 / X) ** 2 * (2 + 1 / X**2))


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
    np.testing.assert_array_equal(back(np.ones((3, 4)))[0], np.full((3, 4), 3.0))


def test_ties_share_the_gradient():
    same = np.array([[1.0, 1.0, 0.0]])
    np.testing.assert_array_equal(derivative(lambda x: x.max(axis=1), same)[1](np.ones(1))[0], [[0.5, 0.5, 0]])
    np.testing.assert_array_equal(derivative(lambda x: np.maximum(x, 1), same)[1](np.ones((1, 3)))[0], [[0.5, 0.5, 0]])


def test_no_samples():
    none = np.zeros((0, 3))
    for function in (np.mean, np.var):
        y, back = derivative(lambda x, function=function: x * function(x, axis=1, keepdims=True), none)
        assert y.shape == back(np.ones((0, 3)))[0].shape == (0, 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x**2, lambda x: 2.0**x, lambda x: np.maximum(x, 0), lambda x: x.max(axis=1) * np.float32(1), lambda x: np.log2(x),
        lambda x: x[:, [0, 0]], lambda x: np.where(x > 0, x, 0.5), lambda x: x.std(axis=0), lambda x: x * np.float64(2),
    ],
)  # fmt: skip
def test_gradients_have_the_type_of_their_array(function):
    """Also of those in between, which a float64 one would make slow."""
    heard = []

    def listen(x):
        return Traced(x.array, (x, lambda dy: heard.append(dy.dtype) or dy))

    derivative(lambda x: function(listen(x)), abs(X).astype("float32"))[1](1.0)
    assert heard == ["float32"]


def test_types_stay():
    x = X.astype("float32")
    y, back = derivative(lambda x: (x**2 * np.float32(2) + 0.5).mean(axis=1) / 3, x)
    assert y.dtype == "float32" and back(np.ones(3, "float32"))[0].dtype == "float32"


@pytest.mark.parametrize(
    "function, sentence",
    [
        (np.cbrt, "the derivative of np.cbrt is not known here"),
        (lambda x: np.cumsum(x), "the derivative of np.cumsum is not known here"),
        (lambda x: np.linalg.norm(x, 1, axis=1), "the derivative of a norm of order 1 is not known here"),
        (lambda x: np.add.reduce(x), "the derivative of np.add is not known with reduce"),
        (lambda x: x if x.sum() > 0 else -x, None),
        (lambda x: np.asarray(x) * 2, "not known of functions that make a plain array"),
        (lambda x: np.ones(3), "does not follow from its argument"),
        (lambda x: x > 0, "does not follow from its argument"),
        (lambda x: losses.mse(x, C), "not known of functions that make a plain array"),
        (lambda x: x * float(x[0, 0]), "functions that make a plain number"),
        (lambda x: x * int(x[0, 0]), "functions that make a plain number"),
        (lambda x: x * float(f"{x[0, 0]:.2f}"), "functions that make a plain number"),
        (lambda x: x.sum().item() * x, "the derivative of an array's item is not known"),
        (lambda x: x.__setitem__(0, 1), "needs where instead of numbers that are replaced"),
        (lambda x: np.reshape(x, (4, 3), order="F"), "np.reshape is not known with order"),
        (lambda x: np.ravel(x, "F"), "np.ravel is not known with 2 arguments"),
        (lambda x: np.sum(x, where=X > 0), "np.sum is not known with where"),
        (lambda x: np.sum(x, axis=0, out=np.zeros(4)), "np.sum is not known with axis, out"),
        (lambda x: np.where(x), "np.where is not known with 1 arguments"),
        (lambda x: np.einsum("ij,kj", x, C), "np.einsum is known where -> names what is left"),
        (lambda x: np.einsum("ii->i", x[:, :3]), "each array has a letter once"),
        (lambda x: np.einsum("...j->...", x), "there are no dots"),
        (lambda x: np.dot(x, C[:, :, None] * np.ones((3, 4, 2))), "np.dot is not known for more than two axes"),
        (lambda x: np.linalg.norm(x, 2, axis=(0, 1)), "norm of order 2 is not known"),
        (lambda x: np.add(x, x, out=np.zeros((3, 4))), "np.add is not known with out"),
        (lambda x: losses.MeanSquaredError()(x, x), "has a derivative for its second argument"),
    ],
)
def test_what_has_no_derivative(function, sentence):
    if sentence is None:  # a number can be asked
        return check(function)
    with pytest.raises(UnknownDerivative, match=sentence):
        derivative(function, X)


def test_weights_of_others_are_refused():
    """Their gradient would be lost. Those that are not trained, and numbers that were asked for, are constants."""
    layer = layers.Dense(2)
    layer.build((None, 4))
    for function in (
        lambda x: x @ layer.kernel,
        lambda x: layer.kernel * x[0, 0],
        lambda x: x.sum() + ops.sum(ops.square(layer.kernel)),
        lambda x: x.sum() * (layer.kernel**2).sum(),
        lambda x: x.sum() * layer.kernel[0, 0],
    ):
        with pytest.raises(UnknownDerivative, match="it uses .*kernel, which is of another layer"):
            derivative(function, X)
    assert np.asarray(layer.kernel).shape == (4, 2)
    check(lambda x: x @ layer.kernel.numpy().astype("float64"))
    layer.kernel.trainable = False
    check(lambda x: (x @ layer.kernel) * layer.kernel[0])


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


def test_every_function_is_among_what_is_calculated(monkeypatch):
    used = set()

    def noting(function, rule):
        return lambda *arguments, **options: used.add(function) or rule(*arguments, **options)

    noted = {function: noting(function, rule) for function, rule in FUNCTIONS.items()}
    monkeypatch.setattr(derivatives, "FUNCTIONS", noted)
    for function in CALCULATED:
        derivative(function, X)
    assert used == set(FUNCTIONS)
    assert not set(RULES) & FLAT and not set(FUNCTIONS) & FLAT

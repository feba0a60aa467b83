"""Initializers: limits, spread and cut-off of the numbers they draw, against the formulas of their papers.

One seed decides every number; two parameters of one model never start alike.
"""

import inspect
import math

import numpy as np
import pytest

import minicnn
from minicnn import initializers

KERNEL = (5, 5, 16, 48)
FAN_IN, FAN_OUT = 5 * 5 * 16, 5 * 5 * 48
# √ of the variance of a standard normal cut off at ±2: 1 - 2·2·φ(2) / (Φ(2) - Φ(-2))
CUT = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(2 / math.sqrt(2)))


@pytest.mark.parametrize(
    "name, variance",
    [
        ("glorot_uniform", 2 / (FAN_IN + FAN_OUT)),
        ("glorot_normal", 2 / (FAN_IN + FAN_OUT)),
        ("he_uniform", 2 / FAN_IN),
        ("he_normal", 2 / FAN_IN),
        ("lecun_uniform", 1 / FAN_IN),
        ("lecun_normal", 1 / FAN_IN),
        ("variance_scaling", 1 / FAN_IN),
        ("random_normal", 0.05**2),
        ("random_uniform", 0.05**2 / 3),
        ("truncated_normal", (0.05 * CUT) ** 2),
    ],
)
def test_mean_spread_and_limits(name, variance):
    values = initializers.get(name)(KERNEL)
    deviation = math.sqrt(variance)
    assert values.shape == KERNEL and values.dtype == np.float64
    assert abs(values.mean()) < 4 * deviation / math.sqrt(values.size)
    assert values.std() == pytest.approx(deviation, rel=4 / math.sqrt(2 * values.size))
    if name == "truncated_normal":
        most = 2 * 0.05
    elif "uniform" in name:
        most = math.sqrt(3) * deviation
    elif name == "random_normal":
        most = math.inf
    else:
        most = 2 * deviation / CUT
    assert np.abs(values).max() <= most
    if most < math.inf:
        assert np.abs(values).max() > 0.98 * most  # the range is used


def test_dense_kernels_and_biases():
    values = initializers.get("he_uniform")((100, 7))
    assert np.abs(values).max() <= math.sqrt(6 / 100)
    np.testing.assert_array_equal(initializers.get("zeros")((3,)), np.zeros(3))
    np.testing.assert_array_equal(initializers.get("ones")((3,)), np.ones(3))
    np.testing.assert_array_equal(initializers.Constant(0.25)((2, 1)), [[0.25], [0.25]])


@pytest.mark.parametrize(
    "distribution, most", [("truncated_normal", 2 / CUT), ("untruncated_normal", math.inf), ("uniform", math.sqrt(3))]
)
@pytest.mark.parametrize("mode, fan", [("fan_in", FAN_IN), ("fan_out", FAN_OUT), ("fan_avg", (FAN_IN + FAN_OUT) / 2)])
def test_variance_scaling(mode, fan, distribution, most):
    values = initializers.VarianceScaling(3.0, mode, distribution)(KERNEL)
    deviation = math.sqrt(3 / fan)
    assert values.std() == pytest.approx(deviation, rel=4 / math.sqrt(values.size))
    assert np.abs(values).max() <= most * deviation


def test_seeds():
    unseeded, seeded = initializers.get("he_normal"), initializers.VarianceScaling(seed=3)
    first, second = unseeded((4, 5)), unseeded((4, 5))
    assert (first != second).all()
    np.testing.assert_array_equal(seeded((4, 5)), seeded((4, 5)))
    minicnn.set_random_seed(7)
    np.testing.assert_array_equal(unseeded((4, 5)), first)
    minicnn.set_random_seed(8)
    assert (unseeded((4, 5)) != first).all()
    with pytest.raises(ValueError, match="not -1"):
        minicnn.set_random_seed(-1)


@pytest.mark.parametrize("name", sorted(initializers.BY_NAME))
def test_the_configuration_comes_back(name):
    first = initializers.get(name)
    again = initializers.get(initializers.serialize(first))
    assert type(again) is type(first) and again.get_config() == first.get_config()


@pytest.mark.parametrize("name", ["GlorotNormal", "HeUniform", "Zeros", "Orthogonal"])
def test_names_of_classes_and_classes_themselves(name):
    cls = getattr(initializers, name)
    assert type(initializers.get(name)) is type(initializers.get(cls)) is type(initializers.get(cls())) is cls


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (3, 2, 4, 5), (1, 1, 3, 30)])
def test_orthogonal(shape):
    matrix = initializers.Orthogonal(2.0, seed=1)(shape).reshape(-1, shape[-1])
    smaller = matrix if matrix.shape[0] < matrix.shape[1] else matrix.T
    np.testing.assert_allclose(smaller @ smaller.T, 4 * np.eye(len(smaller)), atol=1e-12)
    found = initializers.Orthogonal()
    first = np.mean([found((2, 2))[0, 0] for _ in range(400)])
    assert abs(first) < 4 * math.sqrt(0.5 / 400)  # any direction is as likely as its opposite


def test_identity():
    np.testing.assert_array_equal(initializers.get("identity")((2, 3)), [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(initializers.Identity(0.5)((2, 2)), [[0.5, 0], [0, 0.5]])


def test_fans_of_vectors_and_scalars():
    """A vector of n numbers has n inputs and outputs, as in Keras."""
    assert np.abs(initializers.HeUniform()((600,))).max() == pytest.approx(math.sqrt(6 / 600), rel=0.03)
    assert abs(initializers.HeUniform()(())) <= math.sqrt(6)


def ramp(shape, dtype=None):
    return np.arange(math.prod(shape), dtype=dtype).reshape(shape)


class Checkered(initializers.Initializer):
    def __init__(self, height=1.0):
        self.height = height

    def __call__(self, shape, dtype=None):
        return self.height * (np.indices(shape).sum(axis=0) % 2).astype(dtype)


def test_a_function_and_a_class_of_ones_own(tmp_path):
    dense = minicnn.Dense(3, kernel_initializer=ramp, bias_initializer=Checkered(2.0))
    model = minicnn.Sequential([minicnn.Input((2,)), dense])
    kernel, bias = dense.get_weights()
    np.testing.assert_array_equal(kernel, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(bias, [0, 2, 0])
    assert kernel.dtype == bias.dtype == "float32"
    model.save(tmp_path / "m.safetensors")
    again = minicnn.load_model(tmp_path / "m.safetensors").layers[0]
    assert again.kernel_initializer is ramp and again.bias_initializer.height == 2.0


def test_an_array_is_what_a_parameter_starts_with(tmp_path):
    edges = np.arange(18.0).reshape(3, 3, 1, 2)
    for kernel in (edges, initializers.Constant(edges)):
        layer = minicnn.Conv2D(2, 3, kernel_initializer=kernel, bias_initializer=np.array([1, -1]))
        model = minicnn.Sequential([minicnn.Input((4, 4, 1)), layer])
        model.save(tmp_path / "m.safetensors")
        again = minicnn.models.model_from_json(model.to_json())
        for found in (model, minicnn.load_model(tmp_path / "m.safetensors"), again):
            np.testing.assert_array_equal(found.get_weights()[0], edges)
            np.testing.assert_array_equal(found.get_weights()[1], [1, -1])
    with pytest.raises(
        ValueError, match=r"Constant: values of shape \(2, 2\) do not fit a parameter of shape \(4, 3\)$"
    ):
        minicnn.Dense(3, kernel_initializer=np.ones((2, 2))).build((None, 4))


def test_functions_of_one_name_in_two_models(tmp_path):
    """As a function that builds models makes them."""

    def build(value):
        def filled(shape, dtype=None):
            return np.full(shape, value, dtype)

        return minicnn.Sequential([minicnn.Input((2,)), minicnn.Dense(2, kernel_initializer=filled)])

    for number, model in enumerate([build(1), build(2)]):
        model.save(tmp_path / f"{number}.safetensors")
        np.testing.assert_array_equal(
            minicnn.load_model(tmp_path / f"{number}.safetensors").get_weights()[0], number + 1
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(initializers.BY_NAME))
def test_number_types(name, dtype):
    assert initializers.get(name)((3, 4), dtype=dtype).dtype == dtype


@pytest.mark.parametrize(
    "cls, expected",
    [
        (initializers.TruncatedNormal, {"mean": 0.0, "stddev": 0.05, "seed": None}),
        (initializers.GlorotUniform, {"seed": None}),
        (initializers.HeNormal, {"seed": None}),
        (initializers.Orthogonal, {"gain": 1.0, "seed": None}),
        (initializers.Identity, {"gain": 1.0}),
        (initializers.Constant, {"value": 0.0}),
        (initializers.Zeros, {}),
        (initializers.RandomNormal, {"mean": 0.0, "stddev": 0.05, "seed": None}),
        (initializers.RandomUniform, {"minval": -0.05, "maxval": 0.05, "seed": None}),
        (
            initializers.VarianceScaling,
            {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal", "seed": None},
        ),
    ],
)
def test_names_order_and_defaults_of_keras(cls, expected):
    parameters = inspect.signature(cls).parameters
    assert list(parameters) == list(expected)
    assert {name: parameter.default for name, parameter in parameters.items()} == expected


@pytest.mark.parametrize("kind", [initializers.RandomNormal, initializers.TruncatedNormal])
def test_a_negative_spread_is_a_spread(kind):
    """As in Keras: normal numbers are as even with either sign."""
    values = kind(1.0, -0.5, seed=3)((100, 100))
    deviation = 0.5 * (CUT if kind is initializers.TruncatedNormal else 1)
    assert abs(values.mean() - 1) < 0.02 and abs(values.std() - deviation) < 0.02


def test_bad_shapes_and_settings():
    with pytest.raises(ValueError, match=r"Orthogonal: expected a shape of two axes or more, received \(3,\)"):
        initializers.Orthogonal()((3,))
    with pytest.raises(ValueError, match=r"Identity: expected a shape of two axes, received \(3, 3, 1\)"):
        initializers.Identity()((3, 3, 1))
    with pytest.raises(ValueError, match="VarianceScaling: scale must be above 0, not 0"):
        initializers.VarianceScaling(0)
    with pytest.raises(ValueError, match="unknown initializer 'Lost': one of your own must be defined"):
        initializers.get({"class": "Lost", "config": {}})
    with pytest.raises(ValueError, match="unknown initializer 3; expected one of constant, "):
        initializers.get(3)


def test_bad_names():
    with pytest.raises(ValueError, match="unknown initializer 'he'; expected one of constant, "):
        initializers.get("he")
    with pytest.raises(ValueError, match="unknown mode 'fan'"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match="unknown distribution 'normal'"):
        initializers.VarianceScaling(distribution="normal")

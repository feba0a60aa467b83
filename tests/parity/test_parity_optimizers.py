"""Optimizers and schedules beside those of Keras: the same weights after 20 steps, the same rates over 100."""

import numpy as np
import pytest

import minicnn
from minicnn import Sequential, layers, optimizers
from minicnn.optimizers import schedules

pytestmark = pytest.mark.parity

NAMES = ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Nadam", "Adamax", "Ftrl", "Lion"]
OWN = {  # what each has beside the common arguments
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"nesterov": True}],
    "RMSprop": [
        {},
        {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-5},
        {"centered": True},
        {"centered": True, "momentum": 0.9},
    ],
    "Adagrad": [{}, {"initial_accumulator_value": 0.5, "epsilon": 1e-3}],
    "Adadelta": [{}, {"learning_rate": 1.0, "rho": 0.8, "epsilon": 1e-3}],
    "Adam": [{}, {"amsgrad": True}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}],
    "AdamW": [{}, {"weight_decay": 0.5}, {"amsgrad": True}],
    "Nadam": [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}],
    "Adamax": [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}],
    "Ftrl": [
        {},
        {"learning_rate_power": -0.7, "initial_accumulator_value": 0.5, "beta": 0.3},
        {"l1_regularization_strength": 0.5, "l2_regularization_strength": 0.2},
        {"learning_rate_power": 0.0, "l2_shrinkage_regularization_strength": 0.1},
    ],
    "Lion": [{}, {"beta_1": 0.5, "beta_2": 0.8}],
}
COMMON = [
    {"learning_rate": 0.02},
    {"weight_decay": 0.3},
    {"clipnorm": 0.7},
    {"clipvalue": 0.1},
    {"global_clipnorm": 1.0},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    {"weight_decay": 0.1, "clipnorm": 0.7, "use_ema": True, "ema_overwrite_frequency": 7, "learning_rate": 0.05},
]
CASES = [(name, {"learning_rate": 0.01} | options) for name in NAMES for options in OWN[name] + COMMON]

# Every schedule, its arguments by name.
SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 13, "decay_rate": 0.7}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 13, "decay_rate": 0.7, "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 13, "decay_rate": 0.7}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 13, "decay_rate": 0.7, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [10, 40, 41], "values": [0.3, 0.2, 0.4, 0.1]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 60}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 60, "end_learning_rate": 0.01, "power": 0.5}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 32, "power": 2.0, "cycle": True}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 60}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 60, "alpha": 0.2}),
    ("CosineDecay", {"initial_learning_rate": 0.01, "decay_steps": 60, "alpha": 0.1, "warmup_target": 0.2, "warmup_steps": 20}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 16, "alpha": 0.1, "m_mul": 0.7}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 32, "t_mul": 1.0, "m_mul": 0.9}),
]  # fmt: skip


def label(value):
    return (
        value
        if isinstance(value, str)
        else " ".join(f"{k}={v}" for k, v in value.items() if k != "initial_learning_rate")
    )


def apart(ours, theirs):
    """The largest difference, in parts of the largest number."""
    return max(
        np.abs(one - np.asarray(other)).max() / max(1e-30, np.abs(other).max())
        for one, other in zip(ours, theirs, strict=True)
    )


def stepped(keras, ours, theirs, steps=20):
    """The weights after steps along the same random gradients, by each; and after `finalize_variable_values`."""
    random = np.random.default_rng(0)
    model = Sequential([layers.Input((5,)), layers.Dense(7), layers.Dense(3)])
    model.compile(ours, "sparse_categorical_crossentropy")
    model.build()
    for parameter in model.parameters:
        parameter.value = random.standard_normal(parameter.shape).astype("float32")
    variables = [
        keras.Variable(weight, name=p.name.split("/")[1])
        for p, weight in zip(model.parameters, model.get_weights(), strict=True)
    ]
    for _ in range(steps):
        gradients = [random.standard_normal(p.shape).astype("float32") for p in model.parameters]
        for parameter, gradient in zip(model.parameters, gradients, strict=True):
            parameter.gradient = gradient
        ours.update(*model._flat)
        theirs.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
    before = model.get_weights(), [np.asarray(variable.value) for variable in variables]
    ours.finalize_variable_values(model.trainable_parameters)
    theirs.finalize_variable_values(variables)
    return before, (model.get_weights(), [np.asarray(variable.value) for variable in variables])


@pytest.mark.parametrize("name, options", CASES, ids=label)
def test_weights_after_20_steps(keras, name, options):
    for pair in stepped(keras, getattr(optimizers, name)(**options), getattr(keras.optimizers, name)(**options)):
        assert apart(*pair) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_and_its_weight_decay(keras, name):
    makers = optimizers, keras.optimizers
    pair = [
        getattr(maker, name)(maker.schedules.ExponentialDecay(0.1, 5, 0.5), weight_decay=0.1) if name != "AdamW"
        else maker.AdamW(maker.schedules.ExponentialDecay(0.1, 5, 0.5), 0.1)
        for maker in makers
    ]  # fmt: skip
    assert apart(*stepped(keras, *pair)[0]) < 1e-4


def test_parameters_that_do_not_decay(keras):
    ours, theirs = optimizers.SGD(0.1, weight_decay=0.5), keras.optimizers.SGD(0.1, weight_decay=0.5)
    for optimizer in (ours, theirs):
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert apart(*stepped(keras, ours, theirs)[0]) < 1e-4


@pytest.mark.parametrize(
    "options",
    [{}, {"global_clipnorm": 0.05}, {"clipnorm": 0.02, "use_ema": True, "ema_overwrite_frequency": 4}],
    ids=label,
)
@pytest.mark.parametrize("name", NAMES)
def test_a_model_trained_for_20_steps(keras, name, options):
    """Through `train_on_batch` of both, and so on the engine's tapes."""
    minicnn.set_random_seed(3)
    random = np.random.default_rng(1)
    x, y = random.standard_normal((20, 16, 6, 6, 2)).astype("float32"), random.integers(0, 3, (20, 16))
    model = Sequential(
        [
            layers.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="tanh"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    L = keras.layers
    twin = keras.Sequential(
        [L.Input((6, 6, 2)), L.Conv2D(4, 3, activation="tanh"), L.Flatten(), L.Dense(3, activation="softmax")]
    )
    model.compile(getattr(optimizers, name)(0.01, **options), "sparse_categorical_crossentropy")
    twin.compile(getattr(keras.optimizers, name)(0.01, **options), "sparse_categorical_crossentropy")
    twin.set_weights(model.get_weights())
    for one, other in zip(x, y, strict=True):
        model.train_on_batch(one, other)
        twin.train_on_batch(one, other)
    assert apart(model.get_weights(), twin.get_weights()) < 1e-4


@pytest.mark.parametrize("name, arguments", SCHEDULES, ids=label)
def test_rates_over_100_steps(keras, name, arguments):
    import jax

    ours, theirs = getattr(schedules, name)(**arguments), getattr(keras.optimizers.schedules, name)(**arguments)
    rate = jax.jit(theirs)  # else every step is compiled
    expected = np.array([float(rate(step)) for step in range(101)])
    np.testing.assert_allclose([ours(step) for step in range(101)], expected, rtol=0, atol=1e-6 * expected.max())
    np.testing.assert_array_equal(ours(np.arange(101)), [ours(step) for step in range(101)])
    np.testing.assert_array_equal(ours([[5], [7]]), [[ours(5)], [ours(7)]])


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_defaults(keras, name):
    import inspect

    ours, theirs = (inspect.signature(getattr(maker, name)).parameters for maker in (optimizers, keras.optimizers))
    assert list(ours) == [key for key in theirs if key != "kwargs"]
    assert {key: p.default for key, p in ours.items()} == {key: theirs[key].default for key in ours}
    config = getattr(optimizers, name)().get_config()
    expected = getattr(keras.optimizers, name)().get_config()
    assert set(expected) - set(config) == {"loss_scale_factor", "gradient_accumulation_steps"}
    assert {k: v for k, v in config.items() if k not in ("name", "learning_rate")}.items() <= expected.items()
    assert type(optimizers.get({"class_name": name, "config": expected})).__name__ == name


@pytest.mark.parametrize("name, arguments", SCHEDULES, ids=label)
def test_the_configuration_of_a_schedule_is_that_of_keras(keras, name, arguments):
    ours, theirs = getattr(schedules, name)(**arguments), getattr(keras.optimizers.schedules, name)(**arguments)
    assert ours.get_config() == theirs.get_config()
    again = schedules.deserialize(keras.optimizers.schedules.serialize(theirs))
    assert type(again) is type(ours) and again.get_config() == ours.get_config()

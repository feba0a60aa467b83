"""Optimizers against Keras 3's formulas in Python's own floats, one number at a time, and schedules at their corners.

Sizes that are cut into several tasks and tails of vectors are included; the bits do not depend on the number of threads.
That they train as Keras' do is tested beside Keras itself, in `tests/parity`.
"""

import copy
import importlib
import inspect
import math
import pickle

import naive
import numpy as np
import pytest
from networks import assert_same, twins

import minicnn
from minicnn import Sequential, layers, load_model, optimizers
from minicnn import backend as K
from minicnn.optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lion,
    Nadam,
    Optimizer,
    RMSprop,
    schedules,
)
from minicnn.schedules import CosineDecay, CosineDecayRestarts, ExponentialDecay, LearningRateSchedule, OneCycle

CLASSES = [SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, Nadam, Adamax, Ftrl, Lion]
SETTINGS = [
    (SGD, naive.sgd, {}),
    (SGD, naive.sgd, {"learning_rate": 0.1, "momentum": 0.9}),
    (SGD, naive.sgd, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGD, naive.sgd, {"nesterov": True}),
    (RMSprop, naive.rmsprop, {}),
    (RMSprop, naive.rmsprop, {"learning_rate": 0.02, "rho": 0.8, "momentum": 0.5, "epsilon": 1e-5}),
    (RMSprop, naive.rmsprop, {"centered": True}),
    (RMSprop, naive.rmsprop, {"centered": True, "momentum": 0.9}),
    (Adagrad, naive.adagrad, {}),
    (Adagrad, naive.adagrad, {"learning_rate": 0.1, "initial_accumulator_value": 0.5, "epsilon": 1e-3}),
    (Adadelta, naive.adadelta, {}),
    (Adadelta, naive.adadelta, {"learning_rate": 1.0, "rho": 0.8, "epsilon": 1e-3}),
    (Adam, naive.adam, {}),
    (Adam, naive.adam, {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-4}),
    (Adam, naive.adam, {"learning_rate": 0.01, "beta_2": 0.3, "amsgrad": True}),
    (Nadam, naive.nadam, {}),
    (Nadam, naive.nadam, {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-4}),
    (Adamax, naive.adamax, {}),
    (Adamax, naive.adamax, {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-4}),
    (Lion, naive.lion, {}),
    (Lion, naive.lion, {"learning_rate": 0.1, "beta_1": 0.5, "beta_2": 0.8}),
    (Ftrl, naive.ftrl, {}),
    (
        Ftrl,
        naive.ftrl,
        {"learning_rate": 0.1, "learning_rate_power": -0.7, "initial_accumulator_value": 0.5, "beta": 0.3},
    ),
    (Ftrl, naive.ftrl, {"learning_rate": 0.1, "l1_regularization_strength": 2.0, "l2_regularization_strength": 0.2}),
    (Ftrl, naive.ftrl, {"learning_rate": 0.1, "learning_rate_power": 0.0, "l2_shrinkage_regularization_strength": 0.1}),
]


def trained(ops, optimizer, w, gradients):
    w = ops.array(w.copy())
    optimizer.start(w, ops)
    for g in gradients:
        optimizer.update(w, ops.array(g.copy()))
    return ops.numpy(w)


def normal(*shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize(
    "cls, formula, settings", SETTINGS, ids=lambda value: getattr(value, "__name__", None) or str(value)
)
def test_steps_by_the_formulas_of_keras(ops, cls, formula, settings, dtype, tolerance):
    w, gradients = normal(37, dtype=dtype), normal(6, 37, dtype=dtype)
    got = trained(ops, cls(**settings), w, gradients)
    expected = [
        formula(float(start), column.tolist(), **settings) for start, column in zip(w, gradients.T, strict=True)
    ]
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(w).max())


def test_a_first_step_of_adam_by_hand(ops):
    """Both bias corrections cancel in the first step: it is as long as the learning rate, whatever the gradient."""
    w = trained(ops, Adam(0.5), np.zeros(3), np.array([[1e-3, -1.0, 1e3]]))
    np.testing.assert_allclose(w, [-0.5, 0.5, -0.5], rtol=1e-2)


@pytest.mark.parametrize(
    "optimizer, name", [(SGD(0.1, 0.9), "velocity"), (Adam(), "m"), (RMSprop(momentum=0.9), "velocity")]
)
def test_moving_averages_of_what_has_become_zero_keep_all_their_digits(optimizer, name):
    """Or end. Rounded to the nearest number, 0.9 times the fifth smallest one is itself: slow to work with, and for ever."""
    w = np.ones(40, "float32")
    optimizer.start(w, minicnn.get_ops("cpu"))
    optimizer.update(w, np.full(40, 1e-3, "float32"))
    for _ in range(1100):
        optimizer.update(w, np.zeros(40, "float32"))
    least = np.finfo("float32").tiny
    average = optimizer.state[name]
    assert ((average == 0) | (average >= least)).all() and average.max() < 10 * least
    number = np.float32(1e-3)
    for _ in range(1100):
        number *= np.float32(0.9)
    assert 0 < number < np.finfo("float32").tiny


def test_lion_and_ftrl_where_the_gradient_is_zero(ops):
    """The sign of 0 is 0, and 0 / 0 is no weight; it is where weights lie apart in the memory of a model."""
    w, gradients = np.array([1.0, -2.0, 0.0]), np.array([[0.0, 1.0, 0.0]] * 2)
    np.testing.assert_allclose(trained(ops, Lion(0.5), w, gradients), [1.0, -3.0, 0.0])
    found = trained(ops, Ftrl(0.5, initial_accumulator_value=0.0), w, gradients)
    np.testing.assert_allclose(found, [0.0, naive.ftrl(-2.0, [1.0, 1.0], 0.5, initial_accumulator_value=0.0), 0.0])


def test_ftrl_sets_weights_to_zero(ops):
    w = trained(ops, Ftrl(0.1, l1_regularization_strength=5.0), normal(37), normal(6, 37))
    assert 5 < (w == 0).sum() < 37


def test_late_steps_of_nadam():
    """The product of the momenta is that of a loop, also where it is found otherwise."""
    optimizer, product, u = Nadam(1.0, 0.999), 1.0, lambda t: 0.999 * (1 - 0.5 * 0.96**t)
    for t in range(1, 1500):
        product *= u(t)
        optimizer.iterations = t
        along_m, along_g, *_ = optimizer.settings(1.0)
        assert along_m == pytest.approx(u(t + 1) / (1 - product * u(t + 1)), rel=1e-12)
        assert along_g == pytest.approx((1 - u(t)) / (1 - product), rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 50.0, "weight_decay": 0.1, "use_ema": True}], ids=str)
@pytest.mark.parametrize("cls", CLASSES)
def test_large_buffers_and_threads(ops, threads, cls, options):
    size, found = (1 << 17) + 13, []
    w, gradients = normal(size, dtype="float32"), normal(3, size, dtype="float32")
    for number in (1, 3, 5):
        threads(number)
        found.append(trained(ops, cls(0.1, **options), w, gradients))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    if options:
        return
    for part in (slice(0, 40), slice(size // 2 - 20, size // 2 + 20), slice(size - 40, size)):
        alone = trained(ops, cls(0.1), w[part], gradients[:, part])
        np.testing.assert_allclose(found[0][part], alone, rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------------- what all optimizers can do beside their step


@pytest.mark.parametrize("norm", [0.3, 1e9])
def test_global_clipnorm(ops, norm):
    w, g = normal(5000), normal(5000) / 50
    got = trained(ops, SGD(1.0, global_clipnorm=norm), w, g[None])
    length = math.sqrt(sum(number**2 for number in g.tolist()))
    np.testing.assert_allclose(got, w - g * min(1.0, norm / length), rtol=1e-13, atol=1e-13)


def test_clipvalue(ops):
    w, g = np.zeros(5), np.array([0.5, -3.0, 0.0, 2.0, np.nan])
    np.testing.assert_array_equal(trained(ops, SGD(1.0, clipvalue=1.0), w, g[None]), [-0.5, 1.0, 0.0, -1.0, np.nan])


def test_a_gradient_of_no_number_is_not_hidden_by_clipping(ops):
    for options in ({"global_clipnorm": 1.0}, {"clipnorm": 1.0}):
        assert np.isnan(trained(ops, SGD(1.0, **options), np.zeros(3), np.array([[1.0, np.nan, 0.0]]))).all()


def test_weight_decay_is_taken_off_before_the_step(ops):
    w, gradients, expected = normal(9), normal(4, 9), normal(9)
    for step, g in enumerate(gradients):
        rate = ExponentialDecay(0.1, 2, 0.5)(step)
        expected = expected * (1 - rate * 0.3) - rate * g
    got = trained(ops, SGD(ExponentialDecay(0.1, 2, 0.5), weight_decay=0.3), w, gradients)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_averages_of_the_parameters(ops):
    """The first average is the first result; every third step the parameters become their average."""
    w, gradients = normal(9), normal(7, 9)
    optimizer = SGD(0.1, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=3)
    got, expected, average = trained(ops, optimizer, w, gradients), w, None
    for step, g in enumerate(gradients, start=1):
        expected = expected - 0.1 * g
        average = expected if average is None else 0.7 * average + 0.3 * expected
        expected = average if step % 3 == 0 else expected
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    np.testing.assert_allclose(ops.numpy(optimizer.state["average"]), average, rtol=1e-13)


X = np.random.default_rng(0).standard_normal((12, 6)).astype("float32")
Y = np.random.default_rng(0).integers(0, 3, 12)


def network(optimizer):
    model = Sequential([layers.Input((6,)), layers.Dense(5, activation="relu"), layers.Dense(3, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def test_clipnorm_is_for_each_parameter():
    """Every parameter moves by its own gradient, cut to the norm."""
    model = network(SGD(1.0, clipnorm=0.05))
    before = model.get_weights()
    model.gradients_of_batch(X, Y)
    model.build()
    gradients = [np.array(parameter.gradient) for parameter in model.parameters]
    model.train_on_batch(X, Y)
    for old, new, g in zip(before, model.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(old - new, g * min(1, 0.05 / np.linalg.norm(g)), rtol=1e-4, atol=1e-6)
    assert {round(float(np.linalg.norm(a - b)), 4) for a, b in zip(before, model.get_weights(), strict=True)} >= {0.05}


def test_parameters_without_decay():
    model = network(SGD(0.5, weight_decay=0.5))
    first = model.layers[0]
    model.optimizer.exclude_from_weight_decay([first.kernel], ["bi.s"])
    before = model.get_weights()
    other = network(SGD(0.5))
    other.set_weights(before)
    for each in (model, other):
        each.train_on_batch(X, Y)
    for old, one, two, decays in zip(before, model.get_weights(), other.get_weights(), [0, 0, 1, 0], strict=True):
        np.testing.assert_allclose(one, two - 0.25 * decays * old, rtol=1e-5, atol=1e-6)


def test_final_values_are_the_averages():
    model = network(Adam(0.05, use_ema=True, ema_momentum=0.8))
    averages = None
    for _ in range(5):
        model.train_on_batch(X, Y)
        now = model.get_weights()
        averages = now if averages is None else [0.8 * a + 0.2 * w for a, w in zip(averages, now, strict=True)]
    before = model.predict(X)
    model.optimizer.finalize_variable_values(model.trainable_parameters[1:])
    after = model.get_weights()
    np.testing.assert_array_equal(after[0], now[0])  # was not asked for
    for one, other in zip(after[1:], averages[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(model.predict(X), before)
    network(Adam(use_ema=True)).optimizer.finalize_variable_values([])  # nothing has been averaged


CHANGES = {
    "clipnorm": ("clipnorm", 0.01),
    "clipvalue": ("clipvalue", 0.001),
    "global_clipnorm": ("global_clipnorm", 0.01),
    "weight_decay": ("weight_decay", 0.3),
    "averages": ("use_ema", True),
    "momentum": ("momentum", 0.9),
    "nesterov": ("nesterov", True),
}


@pytest.mark.parametrize("start", [{}, {"clipvalue": 0.02, "weight_decay": 0.1, "momentum": 0.5}], ids=str)
@pytest.mark.parametrize("name, value", CHANGES.values(), ids=CHANGES)
def test_options_that_change_between_steps(name, value, start):
    """The engine notices, and goes on with the numbers of the layers one by one."""
    model, eager = twins(network(SGD(0.1, ema_overwrite_frequency=2, **start)))
    for each in (model, eager):
        for _ in range(2):
            each.train_on_batch(X, Y)
        setattr(each.optimizer, name, value)
        for _ in range(3):
            each.train_on_batch(X, Y)
    assert_same(model, eager)
    assert model._engine.runs and not eager._engine.runs


def test_exclusion_between_steps_is_noticed():
    model, eager = twins(network(SGD(0.1, weight_decay=0.5)))
    for each in (model, eager):
        each.train_on_batch(X, Y)
        each.optimizer.exclude_from_weight_decay([each.layers[1].kernel])
        each.train_on_batch(X, Y)
    assert_same(model, eager)


@pytest.mark.parametrize("options", [{"clipnorm": 0.05}, {"global_clipnorm": 0.05, "use_ema": True}], ids=str)
def test_threads_do_not_change_a_bit(threads, options):
    found = []
    for number in (1, 2, 5):
        threads(number)
        minicnn.set_random_seed(1)
        model = network(Adam(0.01, weight_decay=0.1, **options))
        model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
        found.append(model.get_weights())
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_optimizers_of_ours_need_no_python_between_steps():
    for cls in CLASSES:
        model = network(cls(clipnorm=1.0, use_ema=True))
        model.train_on_batch(X, Y)
        assert all(run.most > 1 for run in model._engine.runs.values()), cls


# ---------------------------------------------------------------------- names, arguments, files


@pytest.mark.parametrize(
    "cls, expected",
    [
        (SGD, {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
        (RMSprop, {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False}),
        (Adagrad, {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7}),
        (Adadelta, {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7}),
        (Adam, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False}),
        (
            AdamW,
            {
                "learning_rate": 0.001,
                "weight_decay": 0.004,
                "beta_1": 0.9,
                "beta_2": 0.999,
                "epsilon": 1e-7,
                "amsgrad": False,
            },
        ),
        (Nadam, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        (Adamax, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        (Lion, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99}),
        (
            Ftrl,
            {
                "learning_rate": 0.001,
                "learning_rate_power": -0.5,
                "initial_accumulator_value": 0.1,
                "l1_regularization_strength": 0.0,
                "l2_regularization_strength": 0.0,
                "l2_shrinkage_regularization_strength": 0.0,
                "beta": 0.0,
            },
        ),
    ],
)
def test_names_order_and_defaults_of_keras(cls, expected):
    common = {
        "weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None, "use_ema": False, "ema_momentum": 0.99,
        "ema_overwrite_frequency": None, "loss_scale_factor": None, "gradient_accumulation_steps": None, "name": None,
    }  # fmt: skip
    parameters = inspect.signature(cls).parameters
    found = {name: parameter.default for name, parameter in parameters.items()}
    assert found == expected | {name: default for name, default in common.items() if name not in expected}
    assert list(found)[: len(expected)] == list(expected)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1, 0.9, True, clipnorm=2.0),
        RMSprop(0.1, centered=True, use_ema=True, ema_overwrite_frequency=3),
        Adam(OneCycle(0.1, 50, 0.2), amsgrad=True, name="mine"),
        AdamW(CosineDecay(0.1, 50, warmup_target=0.2, warmup_steps=3), 0.1),
        *(cls() for cls in CLASSES),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_the_configuration_comes_back(optimizer):
    again = optimizers.get(optimizers.serialize(optimizer))
    assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()
    assert again.learning_rate == optimizer.learning_rate and again.name == optimizer.name
    again = pickle.loads(pickle.dumps(copy.deepcopy(optimizer)))
    assert again.get_config() == optimizer.get_config()


def test_attributes_of_optimizers():
    model = network("adam")
    model.fit(X, Y, batch_size=6, verbose=0)
    optimizer = model.optimizer
    assert optimizer.iterations == 2 == optimizer.iterations.numpy() == optimizer.variables[0]
    assert optimizer.variables[1] == 0.001 and len(optimizer.variables) == 2 + 2 * len(model.weights)
    assert [moment.shape for moment in optimizer.variables[2:6]] == [weight.shape for weight in model.weights]
    optimizer.variables[2][...] = 3
    assert (optimizer.state["m"] == 3).sum() == 30
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.iterations == 2 and copy.deepcopy(optimizer).iterations == 2 and "iterations" not in again.get_config()


@pytest.mark.parametrize("cls", [RMSprop, Adagrad, Adadelta, Adam, AdamW, Nadam, Adamax])
def test_an_epsilon_of_none_is_that_of_keras(cls):
    optimizer = cls(epsilon=None)
    assert optimizer.epsilon == optimizer.get_config()["epsilon"] == 1e-7
    for wrong in (-1e-7, "1e-7", float("nan")):
        with pytest.raises(ValueError, match=f"{cls.__name__}: epsilon must be a number from 0 on, not "):
            cls(epsilon=wrong)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: SGD(momentum=None), "SGD: momentum must be between 0 and 1, not None"),
        (lambda: RMSprop(rho="0.9"), "RMSprop: rho must be between 0 and 1, not '0.9'"),
        (lambda: Adam(beta_1=None), "Adam: beta_1 must be from 0 to below 1, not None"),
        (lambda: Nadam(beta_2=1), "Nadam: beta_2 must be from 0 to below 1, not 1"),
        (lambda: Lion(beta_2=1.5), "Lion: beta_2 must be between 0 and 1, not 1.5"),
        (lambda: Lion(beta_1=0), "Lion: beta_1 must be above 0"),
        (lambda: Ftrl(learning_rate_power=0.5), "Ftrl: learning_rate_power must be a number up to 0, not 0.5"),
        (lambda: Ftrl(beta=-1), "Ftrl: beta must be a number from 0 on, not -1"),
        (
            lambda: trained(minicnn.get_ops("cpu"), Ftrl(0.0), np.ones(3), [np.ones(3)]),
            "must be above 0, as it is divided by, but is 0 in step 1",
        ),
    ],
)
def test_settings_that_mean_nothing(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_names():
    names = ["sgd", "RMSprop", "adagrad", "adadelta", "Adam", "adamw", "nadam", "adamax", "Ftrl", "lion"]
    assert [type(optimizers.get(name)) for name in names] == CLASSES
    with pytest.raises(ValueError, match="unknown optimizer 'lamb'; expected one of sgd, rmsprop, adagrad, adadelta"):
        optimizers.get("lamb")
    assert importlib.import_module("minicnn.optimizers.schedules").OneCycle is OneCycle is minicnn.schedules.OneCycle


class Signs(Optimizer):
    """w = w - η · share · (sign of g)"""

    def __init__(self, learning_rate=0.1, share=1.0, **options):
        super().__init__(learning_rate, **options)
        self.share = share

    def apply(self, w, g, learning_rate):
        w -= learning_rate * self.share * np.sign(g)


class Fixed(Signs):
    """Takes one argument only."""

    def __init__(self, learning_rate):
        super().__init__(learning_rate, 0.25, weight_decay=0.1)


class Halving(LearningRateSchedule):
    def __call__(self, step):
        return 0.5**step


@pytest.mark.parametrize(
    "make",
    [
        *(lambda cls=cls: cls(0.01, use_ema=True, clipnorm=0.5) for cls in CLASSES),
        lambda: Adam(0.01, amsgrad=True, weight_decay=0.1),
        lambda: Signs(Halving(), 0.5, weight_decay=0.2),
        lambda: Fixed(0.1),
    ],
)
def test_a_saved_model_goes_on_as_if_nothing_had_happened(tmp_path, make):
    model = network(make())
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors", {"Signs": Signs, "Fixed": Fixed, "Halving": Halving})
    for each in (model, again):
        each.fit(X, Y, batch_size=4, epochs=4, initial_epoch=2, verbose=0)
    assert_same(model, again)


@pytest.mark.parametrize("cls", CLASSES)
def test_names_of_former_days(cls):
    with pytest.raises(TypeError, match=f"^{cls.__name__}: lr is called learning_rate today$"):
        cls(lr=0.1)
    with pytest.warns(UserWarning, match=f"^{cls.__name__}: decay is ignored, as in Keras 3; .* InverseTimeDecay$"):
        assert cls(decay=1e-6).get_config() == cls().get_config()
    with pytest.raises(TypeError, match="there is no argument 'speed'"):
        cls(speed=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(-1),
        lambda: SGD(momentum=1.5),
        lambda: Adam(float("nan")),
        lambda: Adam("fast"),
        lambda: OneCycle(1, 0),
        lambda: Adam(beta_1=1.0),
        lambda: Adagrad(initial_accumulator_value=-1),
        lambda: AdamW(weight_decay=None),
        lambda: SGD(clipnorm=-1.0),
        lambda: SGD(clipnorm=1.0, clipvalue=1.0),
        lambda: SGD(use_ema=True, ema_momentum=2),
        lambda: SGD(ema_overwrite_frequency=0),
        lambda: SGD(loss_scale_factor=2.0),
        lambda: SGD(gradient_accumulation_steps=4),
        lambda: ExponentialDecay(0.1, 0, 0.5),
        lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1]),
        lambda: CosineDecayRestarts(0.1, 5, t_mul=0.5),
        lambda: schedules.deserialize({"class_name": "Falling", "config": {}}),
        lambda: optimizers.serialize(SGD(lambda: 0.1)),
    ],
)
def test_bad_settings(make):
    with pytest.raises(ValueError, match="not|unknown|cannot"):
        make()


def test_an_optimizer_that_does_nothing_says_so():
    with pytest.raises(TypeError, match=r"Optimizer does not define apply\(w, g, learning_rate\)"):
        Optimizer(0.1).update(np.zeros(3), np.zeros(3))


# ---------------------------------------------------------------------- learning rates


def test_a_schedule_sets_the_rate_of_every_step(ops):
    schedule = OneCycle(0.4, 10)
    got = trained(ops, SGD(schedule), np.zeros(1), np.ones((10, 1)))
    np.testing.assert_allclose(got, -sum(schedule(step) for step in range(10)))


def test_the_learning_rate_is_a_number():
    optimizer = SGD(0.5)
    optimizer.learning_rate = 0.25
    assert optimizer.learning_rate == 0.25
    optimizer.learning_rate = lambda: 0.125
    assert optimizer.learning_rate == 0.125
    optimizer.learning_rate = Halving()
    optimizer.iterations = 2
    assert optimizer.learning_rate == 0.25
    with pytest.raises(
        TypeError, match="^SGD: the learning rate is set by a schedule, and cannot become 0.1 beside it$"
    ):
        optimizer.learning_rate = 0.1


def test_a_learning_rate_can_be_assigned_to():
    model = network("sgd")
    model.optimizer.learning_rate.assign(0.25)
    assert model.optimizer.learning_rate == 0.25 == model.optimizer.learning_rate.numpy()
    K.set_value(model.optimizer.learning_rate, 0.5)
    assert K.get_value(model.optimizer.learning_rate) == 0.5
    assert type(copy.deepcopy(model.optimizer.learning_rate)) is float

    class Mine(minicnn.optimizers.SGD):
        def __init__(self, lr):
            super().__init__(lr)
            self.lr = lr

    assert Mine(0.25).lr == 0.25
    for use in (lambda: model.optimizer.lr, lambda: setattr(model.optimizer, "lr", 1.0)):
        with pytest.raises(AttributeError, match="lr is called learning_rate today"):
            use()


def test_one_cycle_at_its_corners():
    schedule = OneCycle(peak=1.0, steps=100, warmup=0.3)
    rates = [schedule(step) for step in range(101)]
    np.testing.assert_allclose(
        [rates[0], rates[15], rates[30], rates[65], rates[100]], [1 / 25, 0.52, 1, 0.500002, 4e-6]
    )
    assert rates[:31] == sorted(rates[:31]) and rates[30:] == sorted(rates[30:], reverse=True)
    assert schedule(1000) == rates[100]


@pytest.mark.parametrize(
    "schedule, expected",
    [
        (ExponentialDecay(0.8, 10, 0.5), {0: 0.8, 5: 0.8 * 0.5**0.5, 20: 0.2}),
        (ExponentialDecay(0.8, 10, 0.5, staircase=True), {9: 0.8, 10: 0.4, 29: 0.2}),
        (schedules.InverseTimeDecay(0.8, 10, 1.0), {0: 0.8, 10: 0.4, 15: 0.32, 30: 0.2}),
        (schedules.PiecewiseConstantDecay([3, 5], [1.0, 0.5, 0.1]), {0: 1, 3: 1, 4: 0.5, 5: 0.5, 6: 0.1, 99: 0.1}),
        (schedules.PolynomialDecay(1.0, 10, 0.2, 2.0), {0: 1, 5: 0.4, 10: 0.2, 99: 0.2}),
        (schedules.PolynomialDecay(1.0, 10, 0.2, cycle=True), {0: 1, 5: 0.6, 10: 0.2, 11: 1 - 0.8 * 11 / 20, 20: 0.2}),
        (CosineDecay(1.0, 10, 0.2), {0: 1, 5: 0.6, 10: 0.2, 99: 0.2}),
        (CosineDecay(0.2, 10, warmup_target=1.0, warmup_steps=4), {0: 0.2, 2: 0.6, 4: 1, 9: 0.5, 14: 0, 99: 0}),
        (CosineDecayRestarts(1.0, 4), {0: 1, 2: 0.5, 4: 1, 8: 0.5, 12: 1, 20: 0.5, 28: 1}),
        (CosineDecayRestarts(1.0, 4, 1.0, 0.5, 0.2), {0: 1, 2: 0.6, 4: 0.6, 6: 0.4, 8: 0.4}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_schedules_at_their_corners(schedule, expected):
    assert {step: schedule(step) for step in expected} == pytest.approx(expected, abs=1e-12)
    again = schedules.deserialize(schedules.serialize(schedule))
    assert type(again) is type(schedule) and again.get_config() == schedule.get_config()

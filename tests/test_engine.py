"""A model on tapes does what its layers do one by one, to the bit: steps, fit, evaluate, predict, after every change.

What both have in common, the operations, is held to its definition elsewhere; here the gradients of whole models are held
to differences of the loss, and results to the reference operations.
"""

import copy
import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import DTYPES, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import CLASSES, CPU, NETWORKS, Network, Scale, assert_same, top, twins

import minicnn
from minicnn import Sequential, batches, callbacks, layers, losses, nodes, seeding, training
from minicnn.engine import Run
from minicnn.kernels.convolution import convolve
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.nodes import STEPS
from minicnn.optimizers import SGD, Adam, RMSprop
from minicnn.schedules import LearningRateSchedule


@pytest.fixture
def poison():
    """Memory of tapes that nobody has written to holds no numbers."""
    CPU.poison = True
    yield
    CPU.poison = False


@pytest.fixture
def precision():
    yield minicnn.set_precision
    minicnn.set_precision("fast")


def assert_same_step(model, eager, *batch, **options):
    """The same loss, scores and everything that training changes; the one by the engine, the other not."""
    loss, scores = model.train_step(*batch, **options)
    expected_loss, expected_scores = eager.train_step(*batch, **options)
    assert loss == expected_loss and np.isfinite(loss)
    assert scores.dtype == expected_scores.dtype
    np.testing.assert_array_equal(scores, expected_scores)
    assert_same(model, eager)
    assert ("train", len(scores)) in model._engine.runs and not eager._engine.runs


# ---------------------------------------------------------------------- the same bits as the layers one by one


class Watching(callbacks.Callback):
    """Wants to see every batch, so that it is called between any two steps."""

    def __init__(self):
        self.batches = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, self.model.optimizer.iterations))


@pytest.mark.parametrize("name", NETWORKS)
def test_several_steps_at_once(poison, monkeypatch, name):
    """`fit` does as many as take no time, unless a callback watches; nothing else differs, the logs not either."""
    monkeypatch.setattr(training, "PAUSE", 1e9)
    model, one_by_one = NETWORKS[name].model(), None
    one_by_one, watching = copy.deepcopy(model), Watching()
    x, y = NETWORKS[name].data(65)
    together = []
    monkeypatch.setattr(
        Run, "__call__", lambda run, *data, call=Run.__call__: (call(run, *data), together.append(run.steps))[0]
    )
    logs = model.fit(x, y, batch_size=3, epochs=2, verbose=0).history
    most = max(run.most for run in model._engine.runs.values())
    assert most == (STEPS if most > 1 else 1) and max(together) == most  # 21 batches are 1, 16, 4; then 16, 5
    assert together.count(STEPS) == (2 if most > 1 else 0)
    together.clear()
    assert one_by_one.fit(x, y, batch_size=3, epochs=2, verbose=0, callbacks=[watching]).history == logs
    assert set(together) == {1}
    assert [batch for batch, _ in watching.batches] == [*range(22), *range(22)]
    assert [step for _, step in watching.batches] == list(range(1, 45))
    assert_same(model, one_by_one)


@pytest.mark.parametrize("name", ["lenet", "bytes"])
def test_several_steps_with_weights_and_a_schedule(name):
    class Falling(LearningRateSchedule):
        def __call__(self, step):
            return 0.1 / (1 + step)

        def get_config(self):
            return {}

    model = NETWORKS[name].model()
    model.compile(SGD(Falling(), 0.9, nesterov=True), model.loss)
    other = copy.deepcopy(model)
    x, y = NETWORKS[name].data(40)
    weights = np.linspace(0, 2, 40)
    rows = np.random.default_rng(0).permutation(40)
    losses, scores = model.train_steps(x, y[rows], weights[rows], rows, 2)  # more than fit at once
    expected = [other.train_step(x, y[two], weights[two], two) for two in rows.reshape(20, 2)]
    assert losses == [loss for loss, _ in expected]
    np.testing.assert_array_equal(scores, np.concatenate([found for _, found in expected]))
    assert_same(model, other)


@pytest.mark.parametrize("eagerly", [False, True])
def test_several_steps_on_all_samples(eagerly):
    model = NETWORKS["lenet"].model()
    model.run_eagerly = eagerly
    other = copy.deepcopy(model)
    x, y = NETWORKS["lenet"].data(2 * (STEPS + 1))  # more than a run takes at once
    losses, scores = model.train_steps(x, y, None, None, 2)
    expected = [other.train_step(x[first : first + 2], y[first : first + 2]) for first in range(0, len(x), 2)]
    assert losses == [loss for loss, _ in expected]
    np.testing.assert_array_equal(scores, np.concatenate([found for _, found in expected]))
    assert_same(model, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_steps(poison, name, dtype):
    model, eager = twins(NETWORKS[name].model(dtype))
    x, y = NETWORKS[name].data(40, dtype)
    assert_same_step(model, eager, x[:19], y[:19])
    assert_same_step(model, eager, x[19:22], y[19:22])
    assert_same_step(model, eager, x[21:], y[21:], np.linspace(0, 2, 19))
    rows = np.array([39, 0, 7, 7, 20])
    assert_same_step(model, eager, x, y[rows], rows=rows)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["Winograd 3", "Winograd 5", "Winograd, any channels"])
def test_steps_with_all_patches_of_a_batch_at_once(poison, whole_batch, name, dtype):
    model, eager = twins(NETWORKS[name].model(dtype))
    x, y = NETWORKS[name].data(22, dtype)
    assert_same_step(model, eager, x[:19], y[:19])
    assert_same_step(model, eager, x[19:], y[19:])
    np.testing.assert_array_equal(model.predict(x, 7), eager.predict(x, 7))
    strands = [strand for run in model._engine.runs.values() for strand in run.tape._all_strands()]
    assert "images_to_planes" in {instruction.kernel.name for s in strands for instruction in s.instructions}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name, frozen, most", [("cheap sums", 0, 2), ("cheap sums, normalised", 0, 4), ("cheap sums, normalised", 1, 3)]
)
def test_what_is_cheap_is_computed_again(poison, monkeypatch, name, frozen, most, dtype):
    """Instead of being kept for the gradients, or for batch norm, where it is more than `KEPT` bytes."""
    for kept, times in ((1 << 30, 1), (0, most)):
        monkeypatch.setattr(nodes, "KEPT", kept)
        model = NETWORKS[name].model(dtype)
        for layer in model.layers[:frozen]:
            layer.trainable = False
        model, eager = twins(model)
        x, y = NETWORKS[name].data(19, dtype)
        assert_same_step(model, eager, x, y)
        (run,) = model._engine.runs.values()
        found = [i for strand in run.tape._all_strands() for i in strand.instructions if i.kernel is convolve]
        kernel = model.layers[0].kernel.data
        first = [i for i in found if any(argument is kernel for argument in i.arguments)]
        assert len(first) == times


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, number", [("separable", 0), ("depthwise", 3)])
def test_channels_by_themselves_are_computed_again(poison, monkeypatch, name, number, dtype):
    """For the convolution of 1×1 pixels, or for batch norm; the batch is so large that it goes image by image."""
    for kept, again in ((1 << 30, False), (0, True)):
        monkeypatch.setattr(nodes, "KEPT", kept)
        model, eager = twins(NETWORKS[name].model(dtype))
        x, y = NETWORKS[name].data(50, dtype)
        assert_same_step(model, eager, x, y)
        (run,) = model._engine.runs.values()
        found = [i for strand in run.tape._all_strands() for i in strand.instructions if i.kernel is convolve]
        kernel = model.layers[number].parameters[0].data
        assert (len([i for i in found if any(argument is kernel for argument in i.arguments)]) > 1) == again


@pytest.mark.parametrize("name", NETWORKS)
def test_fit_evaluate_and_predict(poison, name):
    model, eager = twins(NETWORKS[name].model())
    x, y = NETWORKS[name].data(29)
    options = {"batch_size": 8, "epochs": 2, "validation_data": (x[:11], y[:11], np.linspace(1, 2, 11)), "verbose": 0}
    weights = np.linspace(0, 1, 29)
    history, expected = (m.fit(x, y, sample_weight=weights, **options).history for m in (model, eager))
    assert history == expected
    assert_same(model, eager)
    assert model.evaluate(x, y, batch_size=7, sample_weight=weights) == eager.evaluate(x, y, 7, sample_weight=weights)
    for batch_size in (1, 7, 256):
        np.testing.assert_array_equal(model.predict(x, batch_size), eager.predict(x, batch_size))
    kinds = {kind for kind, _ in model._engine.runs}
    assert kinds == {"train", "evaluate", "predict"} and not eager._engine.runs


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_in_float64(poison, name):
    model, eager = twins(NETWORKS[name].model("float64"))
    x, y = NETWORKS[name].data(29, "float64")
    for batch_size in (1, 7, 256):
        np.testing.assert_array_equal(model.predict(x, batch_size), eager.predict(x, batch_size))
    assert model.evaluate(x, y, batch_size=7) == eager.evaluate(x, y, batch_size=7)


def test_a_model_whose_first_data_build_it(poison):
    minicnn.set_random_seed(0)
    model, eager = twins(Sequential([layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(CLASSES)]))
    x, y = NETWORKS["lenet"].data()
    eager.build((None, *x.shape[1:]))
    eager.set_weights([w + 0.01 for w in eager.get_weights()])
    assert model.predict(x).shape == (19, CLASSES)
    model.set_weights(eager.get_weights())
    np.testing.assert_array_equal(model.predict(x), eager.predict(x))


@pytest.mark.parametrize(
    "layout", ["sliced", "transposed", "reversed", "float64", "float16", "int16", "big-endian", "bool"]
)
def test_data_of_any_type_and_order(poison, layout):
    x, y = NETWORKS["lenet"].data()
    x = {
        "sliced": lambda: np.repeat(x, 2, axis=1)[:, ::2],
        "transposed": lambda: np.asfortranarray(x),
        "reversed": lambda: x[::-1],
        "big-endian": lambda: x.astype(">f4"),
        "int16": lambda: (100 * x).astype("int16"),
    }.get(layout, lambda: x.astype(layout))()
    model, eager = twins(NETWORKS["lenet"].model())
    assert_same_step(model, eager, x, y)
    assert_same_step(model, eager, x, y[[3, 0, 18]], rows=np.array([3, 0, 18], "int32"))
    np.testing.assert_array_equal(model.predict(x, 7), eager.predict(x, 7))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_a_table_is_put_in_order_once(dtype):
    """As a DataFrame gives it, column by column; `fit` learns the same from it to the bit."""
    table = pd.DataFrame(np.random.default_rng(4).integers(0, 256, (75, 12 * 12)).astype(dtype))
    x, y = table.to_numpy().reshape(-1, 12, 12, 1), np.arange(75) % 3
    assert not x.flags.c_contiguous
    kept = batches.sample_by_sample(x, "float32")
    assert kept.flags.c_contiguous and kept.dtype == ("uint8" if dtype == "uint8" else "float32")
    weights = []
    for images in (x, np.ascontiguousarray(x, "float32")):
        minicnn.utils.set_random_seed(1)
        model = Sequential([layers.Input((12, 12, 1)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3), *top()])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(images, y, 8, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for some, others in zip(*weights, strict=True):
        np.testing.assert_array_equal(some, others)


# ---------------------------------------------------------------------- independent of all that: calculus, definitions

DIFFERENTIABLE = [name for name, network in NETWORKS.items() if network.model().trainable_parameters]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_a_step_follows_the_slope_of_the_loss(name):
    """The gradient, as a step of plain SGD shows it, along random directions; the loss is that of the reference."""
    network = NETWORKS[name]._replace(optimizer=lambda: SGD(1.0))
    model = network.model("float64")
    x, y = network.data(dtype="float64")
    judge = copy.deepcopy(model).to("reference")
    judge.optimizer.learning_rate = 0.0
    before = [np.array(parameter.value) for parameter in model.trainable_parameters]
    loss, _ = model.train_step(x, y)
    gradients = [old - new.value for old, new in zip(before, model.trainable_parameters, strict=True)]

    def loss_at(moved, step):
        judge.optimizer.iterations = 0  # dropout and random motions are a function of it
        moved.value = moved.value + step
        found, _ = judge.train_step(x, y)
        moved.value = moved.value - step
        return found

    random, h = np.random.default_rng(0), 1e-6
    assert loss == pytest.approx(loss_at(judge.trainable_parameters[0], 0.0), rel=1e-12)
    size = max(np.linalg.norm(gradient) for gradient in gradients)
    assert size > 1e-3
    for gradient, parameter in zip(gradients, judge.trainable_parameters, strict=True):
        for _ in range(2):
            v = random.standard_normal(gradient.shape)
            slope = (loss_at(parameter, h * v) - loss_at(parameter, -h * v)) / (2 * h)
            assert abs((gradient * v).sum() - slope) < 1e-6 * size, parameter


@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_that_of_the_reference(name):
    model = NETWORKS[name].model("float64")
    x, y = NETWORKS[name].data(dtype="float64")
    judge = copy.deepcopy(model).to("reference")
    for _ in range(2):
        assert model.train_step(x, y)[0] == pytest.approx(judge.train_step(x, y)[0], rel=1e-9)
    for one, other in zip(model.get_weights(), judge.get_weights(), strict=True):
        assert_close(one, other, 1e-8)
    assert_close(model.predict(x, 7), judge.predict(x), 1e-8)


# ---------------------------------------------------------------------- threads

THREADS = [2, 3, 5, 16, 64]


@pytest.mark.parametrize(
    "name",
    ["lenet", "Winograd 3", "Winograd 5", "Winograd, any channels", "strides, batch normalisation and dropout"],
)
def test_bits_do_not_depend_on_threads(threads, name):
    x, y = NETWORKS[name].data(35)
    fresh, found = NETWORKS[name].model(), []
    for number in [1, *THREADS]:
        threads(number)
        model = copy.deepcopy(fresh)
        for _ in range(2):
            model.train_step(x, y)
        found.append((model, model.predict(x, 32)))
    for model, predictions in found[1:]:
        assert_same(model, found[0][0])
        np.testing.assert_array_equal(predictions, found[0][1])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("images", [1, 3])
def test_the_parts_of_few_images_are_shared(threads, name, images):
    """By any number of threads with the same bits, those of the layers one by one; and as in a large batch."""
    x, _ = NETWORKS[name].data(35)
    model = NETWORKS[name].model()
    model.predict(x[:9])
    expected, found = model.predict(x, 35)[:images], []
    for number in [1, *THREADS]:
        threads(number)
        found.append(copy.deepcopy(model).predict(x[:images]))
    model.run_eagerly = True
    for prediction in found:
        np.testing.assert_array_equal(prediction, model.predict(x[:images]))
        assert_close(prediction, expected, 1e-4)


LARGE = [  # images, filters and layers of which one image is cut
    (28, 1, [(32, 5, 1, "same"), (32, 5, 1, "same")]),
    (26, 3, [(20, 3, 1, "valid"), (40, 3, 2, "same"), (24, 5, 2, "same")]),
    (33, 16, [(16, 3, 1, "same"), (24, 4, 3, "valid"), (24, 2, 1, "valid")]),
]


@pytest.mark.parametrize("size, channels, convolutions", LARGE)
@pytest.mark.parametrize("images", [1, 2, 4])
@pytest.mark.parametrize("precision", ["fast", "exact"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bands_of_few_images(size, channels, convolutions, images, precision, dtype):
    """With layers in between that take each number, or each window, by itself; in float64 as the definition."""
    minicnn.set_random_seed(1)
    model = Sequential([layers.Input((size, size, channels))])
    for filters, kernel, strides, padding in convolutions:
        model.add(layers.Conv2D(filters, kernel, strides=strides, padding=padding))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    for pool in (layers.MaxPooling2D, layers.AveragePooling2D):
        model.add(layers.Conv2D(16, 3, padding="same", activation="relu"))
        model.add(pool(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(CLASSES))
    model = model.astype(dtype)
    x = np.random.default_rng(0).standard_normal((images, size, size, channels)).astype(dtype)
    before = CPU.precision
    minicnn.set_precision(precision)
    CPU.poison = True
    try:
        for _ in range(2):
            found = model.predict(x)
    finally:
        CPU.poison = False
        minicnn.set_precision(before)
    judge = copy.deepcopy(model).to("reference").astype("float64")
    assert_close(found, judge.predict(x), 1e-4 if dtype == "float32" else 1e-11)
    kernels = {i.kernel.name for s in model._engine.runs["predict", images].tape._all_strands() for i in s.instructions}
    assert "convolve_bands" in kernels and ("winograd_rows" in kernels) == (precision == "fast")


# ---------------------------------------------------------------------- what is changed between steps


def changing():
    """A model with something of everything that can be changed."""
    network = Network(
        (8, 9, 16),
        lambda: [
            layers.Rescaling(0.5, 0.1, name="rescaling"),
            layers.Normalization(name="standard"),
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant", name="motion"),
            layers.Conv2D(16, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.BatchNormalization(center=False, scale=False, name="bare"),
            layers.BatchNormalization(axis=1, name="rows"),
            layers.Activation(layers.LeakyReLU(0.2), name="leaky"),
            layers.Conv2D(5, 3, name="second"),
            layers.ReLU(name="relu"),
            layers.Dropout(0.3, name="dropout"),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax", name="dense"),
        ],
    )
    return network.model(), *network.data()


def layer(model, name):
    return next(layer for layer in model.layers if layer.name == name)


def setting(name, attribute, value):
    """Sets an attribute of a layer, of the optimizer or of the loss."""
    return lambda model: setattr(getattr(model, name, None) or layer(model, name), attribute, value)


def compiling(optimizer, loss):
    """Compiles a model with what these functions make of it."""
    return lambda model: model.compile(optimizer(model), loss(model), run_eagerly=model.run_eagerly)


def step_eagerly(model):
    before, model.run_eagerly = model.run_eagerly, True
    model.train_step(np.ones((2, 8, 9, 16), "float32"), np.array([0, 1]))
    model.run_eagerly = before


class Growing(LearningRateSchedule):
    def __call__(self, step):
        return 0.01 * step


CHANGES = {
    "the first layer frozen": setting("conv", "trainable", False),
    "a layer in the middle frozen": setting("second", "trainable", False),
    "batch normalisation frozen": setting("norm", "trainable", False),
    "batch normalisation without parameters frozen": setting("bare", "trainable", False),
    "a kernel frozen": lambda model: setattr(layer(model, "conv").kernel, "trainable", False),
    "a bias frozen": lambda model: setattr(layer(model, "dense").bias, "trainable", False),
    "all frozen": lambda model: [setattr(layer, "trainable", False) for layer in model.layers],
    "rate": setting("dropout", "rate", 0.6),
    "no rate": setting("dropout", "rate", 0.0),
    "seed": setting("dropout", "seed", 77),
    "scale": setting("rescaling", "scale", 2.0),
    "offset": setting("rescaling", "offset", -1.0),
    "way to move": setting("motion", "height_factor", 0.4),
    "fill mode": setting("motion", "fill_mode", "wrap"),
    "fill value": setting("motion", "fill_value", 0.5),
    "slope": setting("relu", "negative_slope", 0.3),
    "slope of an activation": lambda model: setattr(layer(model, "leaky").activation, "negative_slope", 0.9),
    "another activation": setting("second", "activation", "tanh"),
    "no activation": setting("conv", "activation", None),
    "another last activation": setting("dense", "activation", "sigmoid"),
    "statistics": lambda model: layer(model, "standard").adapt(np.arange(2 * 8 * 9 * 16.0).reshape(2, 8, 9, 16)),
    "momentum of averages": setting("norm", "momentum", 0.5),
    "epsilon": setting("norm", "epsilon", 0.5),
    "learning rate": setting("optimizer", "learning_rate", 0.5),
    "schedule": setting("optimizer", "learning_rate", Growing()),
    "momentum": setting("optimizer", "momentum", 0.1),
    "nesterov": setting("optimizer", "nesterov", True),
    "moments": lambda model: model.optimizer.state.update(velocity=np.ones_like(model.optimizer.state["velocity"])),
    "label smoothing": setting("loss", "label_smoothing", 0.3),
    "reduction": setting("loss", "reduction", "sum"),
    "optimizer": compiling(lambda model: Adam(0.01), lambda model: model.loss),
    "optimizer without velocity": compiling(lambda model: RMSprop(0.01), lambda model: model.loss),
    "loss": compiling(
        lambda model: model.optimizer, lambda model: SparseCategoricalCrossentropy(label_smoothing=0.3)
    ),
    "weights": lambda model: model.set_weights([weight / 2 for weight in model.get_weights()]),
    "one weight": lambda model: layer(model, "second").bias.value.__setitem__(0, 3.0),
    "a step without the engine": lambda model: step_eagerly(model),
    "weights of one layer": lambda model: layer(model, "norm").set_weights([w + 1 for w in layer(model, "norm").get_weights()]),
    "number type": lambda model: model.astype("float64"),
    "number type and back": lambda model: model.astype("float64").astype("float32"),
    "one more layer": lambda model: model.add(layers.Dense(CLASSES, name="more", kernel_initializer="ones")),
    "precision": lambda model: minicnn.set_precision("exact"),
    "device and back": lambda model: model.to("reference").to("cpu"),
    "compiled again": compiling(lambda model: model.optimizer, lambda model: model.loss),
}  # fmt: skip
NEUTRAL = {"device and back", "compiled again"}


@pytest.mark.parametrize("next_one", ["train_step", "predict", "evaluate"])
@pytest.mark.parametrize("name", CHANGES)
def test_changes_between_steps_are_noticed(precision, name, next_one):
    """By whatever comes next, if the same has just been done; one model after the other, since they share a counter."""
    model, x, y = changing()
    model, eager = twins(model)
    _, unchanged = twins(model)
    found = []
    for each in (model, eager, unchanged):
        precision("fast")
        data = (x,) if next_one == "predict" else (x, y)
        each.train_step(x, y)
        getattr(each, next_one)(*data)
        if each is not unchanged:
            CHANGES[name](each)
        results = [getattr(each, next_one)(*data), each.train_step(x, y), each.predict(x), each.evaluate(x, y)]
        results += [each.train_step(x, y), each.evaluate(x, y), each.predict(x)]
        found.append([*results, each.get_weights(), list(each.optimizer.state.values())])
    assert model._engine.runs and not eager._engine.runs
    for one, other in zip(*map(flat, found[:2]), strict=True):
        np.testing.assert_array_equal(one, other)
    differs = len(eager.layers) != len(unchanged.layers) or any(
        map(differ, eager.get_weights(), unchanged.get_weights())
    )
    assert differs == (name not in NEUTRAL)


SAMPLE = {  # what a layer is made with where it asks, or its default says nothing
    "filters": 2, "kernel_size": 3, "units": 3, "rate": 0.4, "stddev": 0.2, "scale": 0.5, "groups": 1, "target_shape": (4, 9, 2),
    "dims": (2, 1, 3), "height": 3, "width": 4, "factor": 0.3, "height_factor": 0.2, "width_factor": 0.1, "activation": "relu",
    "function": np.abs, "cropping": 1, "value_range": (0.0, 1.0), "mean": 0.3, "variance": 2.0,
}  # fmt: skip
ELSE = {
    "fill_mode": "wrap",
    "fill_value": 0.7,
    "elastic": (2.0, 3.0),
    "max_value": 0.5,
}  # what cannot be told from the value


def another(value):
    """Another value of the same kind; None if there is none."""
    if isinstance(value, tuple | list):
        return type(value)(map(another, value))
    if isinstance(value, float):
        return value / 2 + 0.25
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else None


def outcome(ask, *data):
    try:
        return ask(*data)
    except (ValueError, IndexError) as error:
        return [type(error).__name__]


KINDS = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, layers.Layer)}


@pytest.mark.parametrize("name", sorted(kind.__name__ for kind in KINDS - {layers.Layer, layers.Input}))
def test_any_setting_that_can_be_changed_is_noticed(name):
    """Of every layer: what a tape was laid out for, it is laid out anew for, or the change is refused."""
    kind = getattr(layers, name)
    arguments = list(inspect.signature(kind).parameters)
    made = {argument: SAMPLE[argument] for argument in arguments if argument in SAMPLE}
    random = np.random.default_rng(0)
    x, y = random.random((5, 6, 6, 2), "float32"), np.arange(5) % CLASSES
    for argument in arguments:
        minicnn.set_random_seed(1)
        chain = [layers.Conv2D(2, 1), kind(**made), layers.Flatten(), layers.Dense(CLASSES)]
        chain[0].trainable = name != "MomentNormalization"  # whose gradient there is not
        chain += [chain.pop(1)] if name == "Softmax" else []
        model = Sequential([layers.Input(x.shape[1:]), *chain])
        model.compile(SGD(0.1), SparseCategoricalCrossentropy(from_logits=name != "Softmax"))
        changed = next(layer for layer in model.layers if type(layer) is kind and layer is not chain[0])
        value = vars(changed).get(argument)
        value = ELSE[argument] if argument in ELSE and value is None or argument == "fill_mode" else another(value)
        if value is None:
            continue
        found = []
        for each in twins(model):
            given = each.layers[model.layers.index(changed)]
            results = [each.train_step(x, y), each.predict(x), each.evaluate(x, y)]
            try:
                setattr(given, argument, value)
            except ValueError as error:
                assert "make a new one" in str(error)
                break
            asked = (
                (each.predict, x),
                (each.train_step, x, y),
                (each.evaluate, x, y),
                (each.train_step, x, y),
                (each.predict, x),
            )
            found.append([*results, *(outcome(*one) for one in asked), each.get_weights()])
        for one, other in zip(*map(flat, found), strict=True) if found else ():
            np.testing.assert_array_equal(one, other, err_msg=f"{argument} = {value}")


def flat(results):
    """The arrays in lists of lists."""
    return sum(map(flat, results), []) if isinstance(results, list | tuple) else [np.asarray(results)]


def differ(one, other):
    return (one != other).any()


def test_writing_to_an_array_taken_before_is_noticed():
    model, x, y = changing()
    model.train_step(x, y)
    bias, kernel = layer(model, "second").bias.value, layer(model, "conv").kernel.value
    for _ in range(2):
        model.predict(x)
        bias[0] += 3
        kernel *= 2
        _, eager = twins(model)
        np.testing.assert_array_equal(model.predict(x), eager.predict(x))
        assert_same_step(model, eager, x, y)


def test_changes_of_the_loss_are_noticed():
    network = NETWORKS["logits"]
    model, eager = twins(network.model())
    x, y = network.data()
    for from_logits in (True, False, True):
        for each in (model, eager):
            each.set_weights([np.full(w.shape, 0.01, w.dtype) for w in each.get_weights()])
            each.loss.from_logits = from_logits
        assert_same_step(model, eager, np.abs(x), y)


@pytest.mark.parametrize("loss", losses.CLASSES)
def test_training_on_any_loss(loss):
    network = NETWORKS["lenet"]
    model, eager = twins(network.model())
    x, y = network.data()
    y = y if "sparse" in loss else 0.9 * np.eye(CLASSES)[y] + 0.05
    for each in (model, eager):
        each.compile("sgd", loss, metrics=[loss], run_eagerly=each.run_eagerly)
    found, expected = (each.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0) for each in (model, eager))
    assert found.history == expected.history and np.isfinite(found.history["loss"]).all()
    assert_same(model, eager)


def test_models_that_share_a_layer():
    """One trains it, the other uses it frozen; each finds it where the other has left it."""
    minicnn.set_random_seed(1)
    shared = layers.Dense(4, activation="relu")
    ahead = Sequential([layers.Input((3,)), layers.Dense(5), shared, layers.Dense(CLASSES, activation="softmax")])
    alone = Sequential([layers.Input((5,)), shared, layers.Dense(CLASSES, activation="softmax")])
    random = np.random.default_rng(0)
    x, z, y = (random.standard_normal((7, n)).astype("float32") for n in (3, 5, 1))
    y = (y[:, 0] > 0).astype(int)
    for model in (ahead, alone):
        model.compile(SGD(0.5), "sparse_categorical_crossentropy")
    for _ in range(3):
        shared.trainable = True
        alone.train_step(z, y)
        for trainable in (False, True):
            shared.trainable = trainable
            _, eager = twins(ahead)
            np.testing.assert_array_equal(ahead.predict(x), eager.predict(x))
            assert_same_step(ahead, eager, x, y)
        shared.trainable = False
        ahead.predict(x)
        shared.trainable = True
        alone.compile(SGD(0.5), "sparse_categorical_crossentropy")  # gathers its parameters anew
        alone.train_step(z, y)
        shared.trainable = False
        _, eager = twins(ahead)
        np.testing.assert_array_equal(ahead.predict(x), eager.predict(x))


def test_a_layer_of_ones_own_may_have_settings_of_any_kind():
    class Rates(Scale):
        rate = scale = np.ones(2)

    minicnn.set_random_seed(0)
    model = Sequential([layers.Input((2,)), Rates(), layers.Dense(CLASSES, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model, eager = twins(model)
    x, y = np.ones((4, 2), "float32"), np.arange(4) % 3
    for _ in range(2):
        assert_same_step(model, eager, x, y)
        model.layers[0].rate = model.layers[0].scale = np.ones(2)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("name", ["strides, batch normalisation and dropout", "Winograd 5"])
def test_a_copy_goes_on_as_the_original_and_apart_from_it(name, duplicate):
    model = NETWORKS[name].model()
    x, y = NETWORKS[name].data()
    model.train_step(x, y)
    model.predict(x)
    other = duplicate(model)
    assert_same(model, other)
    model.train_step(x, y)
    other.train_step(x, y)
    assert_same(model, other)
    weights = model.get_weights()
    other.train_step(x, y)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


# ---------------------------------------------------------------------- results and failures


def test_results_stay_when_others_are_computed():
    model = NETWORKS["lenet"].model()
    x, y = NETWORKS["lenet"].data(20)
    first, predicted = model.train_step(x[:10], y[:10])[1], model.predict(x[:10])
    asked = model.scores_of(x[:10], y[:10])[1]
    kept = [array.copy() for array in (first, predicted, asked)]
    model.train_step(x[10:], y[10:])
    model.predict(x[10:])
    model.scores_of(x[10:], y[10:])
    for array, before in zip((first, predicted, asked), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_asking_changes_nothing():
    model = NETWORKS["strides, batch normalisation and dropout"].model()
    x, y = NETWORKS["strides, batch normalisation and dropout"].data()
    model.train_step(x, y)
    before = copy.deepcopy(model)
    model.predict(x)
    model.evaluate(x, y)
    assert_same(model, before)


class Failing(layers.Layer):
    """y = x, but not when told."""

    way = ""

    def forward(self, x, training=False):
        if self.way == "forward":
            raise RuntimeError("forward")
        return x

    def backward(self, dy):
        if self.way == "backward":
            raise RuntimeError("backward")
        return dy


@pytest.mark.parametrize("way", ["labels", "weights", "forward", "backward"])
def test_a_step_that_fails_is_no_step(way):
    minicnn.set_random_seed(0)
    model = Sequential(
        [layers.Input((6, 6, 1)), layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization(), Failing(),
         layers.Dropout(0.2), layers.Flatten(), layers.Dense(CLASSES, activation="softmax")]
    )  # fmt: skip
    model.compile(Adam(0.1), "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(0).standard_normal((8, 6, 6, 1)).astype("float32"), np.arange(8) % CLASSES
    model, eager = twins(model)
    assert_same_step(model, eager, x, y)
    model.layers[2].way = way
    with pytest.raises((ValueError, RuntimeError)):
        model.train_step(x, y + (way == "labels"), np.ones(8 if way != "weights" else 3))
    model.layers[2].way = ""
    assert_same(model, eager, gradients=False)
    assert_same_step(model, eager, x, y)


@pytest.mark.parametrize("given", [{"y": np.zeros(1, int)}, {"y": np.zeros(19, int), "sample_weight": np.ones(1)}])
@pytest.mark.parametrize("eagerly", [False, True])
def test_one_target_or_weight_for_a_whole_batch_is_refused(eagerly, given):
    model = NETWORKS["lenet"].model()
    model.run_eagerly = eagerly
    with pytest.raises(ValueError):
        model.train_step(NETWORKS["lenet"].data()[0], **given)


def test_rows_are_those_of_numpy():
    model, eager = twins(NETWORKS["lenet"].model())
    x, y = NETWORKS["lenet"].data()
    assert_same_step(model, eager, x, y[[-1, -19, 3]], rows=np.array([-1, -19, 3]))
    for each in (model, eager):
        for row in (19, -20):
            with pytest.raises(IndexError):
                each.train_step(x, y[:2], rows=np.array([0, row]))
    assert_same(model, eager)


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_layer_that_does_not_give_the_shape_it_says_is_refused(eagerly):
    class Mean(layers.Layer):
        def forward(self, x, training=False):
            return x.mean(axis=-1, keepdims=True)

    model = Sequential([layers.Input((4,)), Mean(), layers.Dense(CLASSES)])
    model.run_eagerly = eagerly
    with pytest.raises(ValueError, match="shape"):
        model.predict(np.ones((2, 4), "float32"))


@pytest.mark.parametrize("channels", [2, 16])
def test_no_image_has_no_gradient(poison, channels):
    new = np.random.default_rng(0).standard_normal
    kernel, matrix = (new(size).astype("float32") for size in ((3, 3, channels, channels), (channels, 4)))
    y, saved = CPU.conv2d(np.zeros((0, 8, 8, channels), "float32"), kernel, None, (1, 1), ((1, 1), (1, 1)), (1, 1))
    dx, dkernel, dbias = CPU.conv2d_backward(y, kernel, saved)
    assert dx.shape == y.shape and not dkernel.any() and not dbias.any()
    y, saved = CPU.dense(np.zeros((0, channels), "float32"), matrix, None)
    dx, dkernel, dbias = CPU.dense_backward(y, matrix, saved)
    assert dx.shape == (0, channels) and not dkernel.any() and not dbias.any()


# ---------------------------------------------------------------------- random networks

sizes = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 11])
channels = st.sampled_from([1, 2, 3, 8, 16, 17])


def drawn_layer(draw, height, width):
    """Some layer that fits images of this size; windows are often as large as they."""
    window = min(draw(st.sampled_from([1, 2, 3, 5])), height), min(draw(st.sampled_from([1, 2, 3, 5])), width)
    strides, padding = draw(st.sampled_from([1, 1, 2, (2, 1)])), draw(st.sampled_from(["same", "valid"]))
    enlarging = ["transposed"] if height * width < 100 else []
    kind = draw(st.sampled_from(["conv", "conv", "conv", *enlarging, "max", "average", "other"]))
    if kind in ("conv", "transposed"):
        activation, bias = draw(st.sampled_from(["relu", "relu", "linear", "tanh"])), draw(st.booleans())
        cls = layers.Conv2D if kind == "conv" else layers.Conv2DTranspose
        return cls(draw(channels), window, strides, padding, activation=activation, use_bias=bias)
    if kind == "max":
        return layers.MaxPooling2D(window, strides, padding)
    if kind == "average":
        return layers.AveragePooling2D(window, strides, padding)
    return draw(
        st.sampled_from(
            [layers.ReLU, layers.ZeroPadding2D, layers.BatchNormalization, Scale, lambda: layers.Dropout(0.4, seed=1),
             lambda: layers.Rescaling(0.5, 0.1), lambda: layers.Dense(4, activation="relu"),
             lambda: layers.RandomTranslation(0.3, 0.3, seed=2)]
        )
    )()  # fmt: skip


@st.composite
def networks(draw):
    image = draw(sizes), draw(sizes), draw(channels)
    seeding._sequence = np.random.SeedSequence(draw(st.integers(0, 99)))  # `random` belongs to hypothesis here
    model = Sequential([layers.Input(image)])
    for _ in range(draw(st.integers(1, 5))):
        model.add(drawn_layer(draw, *model.output_shape[1:3]))
    if draw(st.booleans()):
        model.add(layers.GlobalMaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(CLASSES, activation="softmax"))
    for layer in model.layers:
        layer.trainable = draw(st.integers(0, 9)) > 0
    return model, image


@settings(max_examples=60)
@given(drawn=networks(), images=st.integers(1, 40), dtype=st.sampled_from(DTYPES), number=st.integers(1, 4))
def test_random_networks(drawn, images, dtype, number):
    """To the bit as the layers one by one, on any number of threads, and as the reference but for rounding."""
    model, image = drawn
    before = minicnn.get_threads()
    minicnn.set_threads(number)
    CPU.poison = True
    try:
        model = model.astype(dtype)
        model.compile(Adam(0.01), "sparse_categorical_crossentropy")
        model, eager = twins(model)
        random = np.random.default_rng(images)
        x, y = random.standard_normal((images, *image)), random.integers(0, CLASSES, images)
        judge = copy.deepcopy(model).to("reference")
        assert_close(model.predict(x), judge.predict(x), 1e-4 if dtype == "float32" else 1e-11)
        np.testing.assert_array_equal(model.predict(x, 16), eager.predict(x, 16))
        for _ in range(2):
            assert_same_step(model, eager, x, y)
        loss, scores = model.scores_of(x, y)
        assert (loss, scores.tolist()) == (eager.scores_of(x, y)[0], eager.scores_of(x, y)[1].tolist())
    finally:
        CPU.poison = False
        minicnn.set_threads(before)


@pytest.mark.parametrize("bias", [-100.0, 0.0])
def test_a_relu_stops_the_gradient_of_windows_with_more_pixels_than_a_byte_counts(bias):
    """All pixels of a window are 0 after the ReLU: nobody wins, not the pixel whose number says so in small windows."""
    model = Sequential([
        layers.Input((32, 16, 1)), layers.Conv2D(4, 3, padding="same", activation="relu"), layers.MaxPooling2D(16),
        layers.Flatten(), layers.Dense(3),
    ])  # fmt: skip
    model.compile("sgd", SparseCategoricalCrossentropy(from_logits=True))
    start = model.get_weights()
    start[1][:] = bias
    model.set_weights(start)
    eager = copy.deepcopy(model)
    eager.run_eagerly = True
    x, y = np.random.default_rng(0).random((5, 32, 16, 1), np.float32), np.arange(5) % 3
    for one in (model, eager):
        one.train_step(x, y)
    for after, same, before in zip(model.get_weights()[:2], eager.get_weights(), start, strict=False):
        np.testing.assert_array_equal(after, same)
        assert (after == before).all() == (bias < 0)  # no gradient comes through

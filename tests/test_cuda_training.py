"""Training on the GPU, and on its emulator, against training on the CPU: same steps, same weights.

Once as layers do it one by one, and once as a step that is captured does: everything that changes from step to step, the
samples, the random numbers and the settings of the optimizer, is found by a counter on the device.
"""

import numpy as np
import pytest

import minicnn
from minicnn import Sequential, layers, models
from minicnn.layers.base import RandomLayer
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.optimizers import SGD, Adam, RMSprop
from minicnn.schedules import OneCycle

BATCH, STEPS, SMOOTHING = 16, 20, 0.1
random = np.random.default_rng(0)
IMAGES, LABELS = random.integers(0, 256, (4 * BATCH, 8, 8, 1), np.uint8), random.integers(0, 10, 4 * BATCH)
ORDER = random.permutation(4 * BATCH)
OPTIMIZERS = [
    lambda: Adam(OneCycle(0.02, STEPS), weight_decay=0.01, clipnorm=1.0),
    lambda: SGD(0.05, 0.9, True, global_clipnorm=1.0, use_ema=True, ema_overwrite_frequency=3),
    lambda: RMSprop(0.005, centered=True, clipvalue=0.05),
]


def network(optimizer):
    minicnn.set_random_seed(3)
    model = Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.RandomTranslation(0.1, 0.1, "constant", seed=1),
            layers.Conv2D(6, 3, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Dropout(0.3, seed=5),
            layers.Conv2D(5, 2, activation="relu"),
            layers.AveragePooling2D(2, 1, "same"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer(), SparseCategoricalCrossentropy(label_smoothing=SMOOTHING), metrics=["accuracy"])
    model.build((None, 8, 8, 1))
    return model


@pytest.fixture
def moved(gpu, monkeypatch):
    """Moves a model to the GPU of the test."""
    choose = models.get_ops
    monkeypatch.setattr(models, "get_ops", lambda device: gpu.ops if device == "gpu" else choose(device))
    return lambda model: model.to("gpu")


def rows(step):
    return ORDER[step % 4 * BATCH :][:BATCH]


def assert_same_weights(one, other):
    for got, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["Adam", "SGD", "RMSprop"])
def test_steps_of_layers_are_those_of_the_cpu(moved, optimizer):
    model, cpu = moved(network(optimizer)), network(optimizer)
    for step in range(STEPS):
        loss, _ = model.train_step(IMAGES[rows(step)], LABELS[rows(step)])
        assert loss == pytest.approx(cpu.train_step(IMAGES[rows(step)], LABELS[rows(step)])[0], rel=1e-4)
    assert_same_weights(model, cpu)


def counted(ops, model, monkeypatch):
    """A step as it is captured, from number 1 on; its losses are the result, its scores what is kept."""
    data, labels, order = ops.array(IMAGES), ops.array(LABELS, "int32"), ops.array(ORDER, "int32")
    counter, kept = ops.array([1]), ops.zeros((STEPS, BATCH, 10), "float32")
    for layer in model.layers:
        if isinstance(layer, RandomLayer):
            monkeypatch.setattr(layer, "next_key", lambda seed=layer.seed: (seed, counter, 0))
    update, table = ops.optimizer_step(model.optimizer, *model._flat), np.zeros((STEPS, 12))
    for number in range(1, STEPS):
        rate = model.optimizer.learning_rate
        model.optimizer.iterations += 1
        table[number] = update.settings(rate)
    table = ops.array(table)

    def step():
        x, y = ops.gather(data, labels, order, counter, BATCH, "float32")
        scores = model.forward(x, training=True, scores=True)
        losses, dscores = ops.label_cross_entropy(scores, y, None, SMOOTHING, 1 / BATCH)
        model.backward(dscores, scores=True, input_gradient=False)
        update(table=table, step=counter)
        ops.keep(scores, kept, counter)
        ops.advance(counter)
        return losses

    return step, kept


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["Adam", "SGD", "RMSprop"])
def test_a_step_that_finds_all_by_a_counter(moved, gpu, optimizer, monkeypatch):
    model, cpu = moved(network(optimizer)), network(optimizer)
    for one in (model, cpu):
        one.train_step(IMAGES[rows(0)], LABELS[rows(0)])  # which makes the moments
    step, kept = counted(gpu.ops, model, monkeypatch)
    for number in range(1, STEPS):
        loss, scores = cpu.train_step(IMAGES[rows(number)], LABELS[rows(number)])
        assert float(step().sum()) == pytest.approx(loss, rel=1e-4)
        np.testing.assert_allclose(gpu.ops.numpy(kept)[number], scores, rtol=0, atol=1e-4 * np.abs(scores).max())
    assert_same_weights(model, cpu)


class OfDevice(np.ndarray):
    """An array that must not be looked at by the host, which would have to wait for the device."""

    def refuse(self, *arguments):
        raise AssertionError("the host asks for a number of the device")

    __float__ = __int__ = __bool__ = __index__ = item = tolist = refuse


def test_a_counted_step_asks_the_device_for_nothing(emulated, monkeypatch):
    """Nor does it move anything there: neither is possible while a stream is captured."""

    def made(name):
        make = getattr(emulated.xp, name)

        def call(values, *arguments, **options):
            moves = name in ("array", "asarray", "ascontiguousarray")
            assert not (watched and moves) or isinstance(values, OfDevice), "the host moves numbers to the device"
            return make(values, *arguments, **options).view(OfDevice)

        return call

    watched = False
    for name in ("empty", "zeros", "ones", "zeros_like", "ones_like", "array", "asarray", "ascontiguousarray"):
        monkeypatch.setattr(emulated.xp, name, made(name))
    monkeypatch.setattr(models, "get_ops", lambda device: emulated)
    model = network(OPTIMIZERS[0]).to("gpu")
    model.build((None, 8, 8, 1))
    model.optimizer.prepare(model._flat[0], emulated)
    step, _ = counted(emulated, model, monkeypatch)
    step()
    watched = True
    step()
    with pytest.raises(AssertionError, match="the host moves numbers to the device"):
        model.train_step(IMAGES[rows(0)], LABELS[rows(0)])

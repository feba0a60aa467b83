"""Training on the GPU, and on its emulator, against training on the CPU: same steps, same weights.

Once as layers do it one by one, and once as captured steps do: everything that changes from step to step, the samples, the
random numbers and the settings of the optimizer, is found by a counter on the device.
"""

import numpy as np
import pytest

import minicnn
from minicnn import Sequential, captured, chain, layers
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
    choose = chain.get_ops
    monkeypatch.setattr(chain, "get_ops", lambda device: gpu.ops if device == "gpu" else choose(device))
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


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["Adam", "SGD", "RMSprop"])
def test_captured_steps_are_those_of_the_cpu(moved, optimizer):
    model, cpu = moved(network(optimizer)), network(optimizer)
    order = np.concatenate([rows(step) for step in range(STEPS)])
    losses, scores = model.train_steps(IMAGES, LABELS[order], None, order, BATCH)
    assert isinstance(model._engine.run(model, BATCH, "train"), captured.Run)
    for step in range(STEPS):
        loss, expected = cpu.train_step(IMAGES[rows(step)], LABELS[rows(step)])
        assert losses[step] == pytest.approx(loss, rel=1e-4)
        found = scores[step * BATCH :][:BATCH]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert_same_weights(model, cpu)

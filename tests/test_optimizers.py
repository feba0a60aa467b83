"""Optimizers against Keras 3's formulas in Python's own floats, one number at a time, and schedules at their corners.

Sizes that are cut into several tasks and tails of vectors are included; the bits do not depend on the number of threads.
"""

import inspect

import naive
import numpy as np
import pytest

from minicnn import optimizers
from minicnn.optimizers import SGD, Adam, RMSprop
from minicnn.schedules import OneCycle

SETTINGS = [
    (SGD, naive.sgd, {}),
    (SGD, naive.sgd, {"learning_rate": 0.1, "momentum": 0.9}),
    (SGD, naive.sgd, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGD, naive.sgd, {"nesterov": True}),
    (RMSprop, naive.rmsprop, {}),
    (RMSprop, naive.rmsprop, {"learning_rate": 0.02, "rho": 0.8, "momentum": 0.5, "epsilon": 1e-5}),
    (RMSprop, naive.rmsprop, {"centered": True}),
    (RMSprop, naive.rmsprop, {"centered": True, "momentum": 0.9}),
    (Adam, naive.adam, {}),
    (Adam, naive.adam, {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-4}),
]


def trained(ops, optimizer, w, gradients):
    w = ops.array(w.copy())
    optimizer.build(w, ops)
    for g in gradients:
        optimizer.update(w, ops.array(g))
    return ops.numpy(w)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize(
    "cls, formula, settings", SETTINGS, ids=lambda value: getattr(value, "__name__", None) or str(value)
)
def test_steps_by_the_formulas_of_keras(ops, cls, formula, settings, dtype, tolerance):
    random = np.random.default_rng(0)
    w, gradients = random.standard_normal(37).astype(dtype), random.standard_normal((6, 37)).astype(dtype)
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


@pytest.mark.parametrize("cls", [SGD, RMSprop, Adam])
def test_large_buffers_and_threads(ops, threads, cls):
    size = (1 << 17) + 13
    random, found = np.random.default_rng(0), []
    w, gradients = random.standard_normal(size).astype("float32"), random.standard_normal((3, size)).astype("float32")
    for number in (1, 3, 5):
        threads(number)
        found.append(trained(ops, cls(0.1), w, gradients))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    for part in (slice(0, 40), slice(size // 2 - 20, size // 2 + 20), slice(size - 40, size)):
        alone = trained(ops, cls(0.1), w[part], gradients[:, part])
        np.testing.assert_allclose(found[0][part], alone, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "cls, expected",
    [
        (SGD, {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
        (RMSprop, {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False}),
        (Adam, {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
    ],
)
def test_names_order_and_defaults_of_keras(cls, expected):
    parameters = inspect.signature(cls).parameters
    assert list(parameters) == list(expected)
    assert {name: parameter.default for name, parameter in parameters.items()} == expected


@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9, True), RMSprop(0.1, centered=True), Adam(OneCycle(0.1, 50, 0.2))])
def test_the_configuration_comes_back(optimizer):
    again = optimizers.get(optimizers.serialize(optimizer))
    assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()
    assert again.current_learning_rate == optimizer.current_learning_rate


def test_names():
    assert [type(optimizers.get(name)) for name in ("sgd", "Adam", "RMSprop")] == [SGD, Adam, RMSprop]
    with pytest.raises(ValueError, match="unknown optimizer 'adamw'; expected one of sgd, rmsprop, adam"):
        optimizers.get("adamw")


@pytest.mark.parametrize(
    "make", [lambda: Adam(-1), lambda: SGD(momentum=1.5), lambda: Adam(float("nan")), lambda: OneCycle(1, 0)]
)
def test_bad_settings(make):
    with pytest.raises(ValueError, match="not"):
        make()


def test_a_schedule_sets_the_rate_of_every_step(ops):
    schedule = OneCycle(0.4, 10)
    got = trained(ops, SGD(schedule), np.zeros(1), np.ones((10, 1)))
    np.testing.assert_allclose(got, -sum(schedule(step) for step in range(10)))


def test_one_cycle_at_its_corners():
    schedule = OneCycle(peak=1.0, steps=100, warmup=0.3)
    rates = [schedule(step) for step in range(101)]
    np.testing.assert_allclose(
        [rates[0], rates[15], rates[30], rates[65], rates[100]], [1 / 25, 0.52, 1, 0.500002, 4e-6]
    )
    assert rates[:31] == sorted(rates[:31]) and rates[30:] == sorted(rates[30:], reverse=True)
    assert schedule(1000) == rates[100]

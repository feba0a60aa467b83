"""Constraints: their formulas, and that weights obey them after every step, however it is done."""

import copy
from functools import partial

import numpy as np
import pytest

import minicnn
from minicnn import Dense, Input, Sequential, constraints, layers
from minicnn.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((40, 8, 8, 2)).astype("float32"), RANDOM.integers(0, 3, 40)


def naive(w, axes, change):
    """Every number of w times change(norm) / norm, for the norm over the axes of what it belongs to."""
    y, w = np.zeros(w.shape), w.astype(float)
    rest = [axis for axis in range(w.ndim) if axis not in axes]
    for place in np.ndindex(*(w.shape[axis] for axis in rest)):
        chosen = [slice(None)] * w.ndim
        for axis, index in zip(rest, place, strict=True):
            chosen[axis] = index
        part = w[tuple(chosen)]
        norm = np.sqrt((part**2).sum())
        y[tuple(chosen)] = part * change(norm) / (norm + 1e-7)
    return y


@pytest.mark.parametrize("shape, axis", [((5, 4), 0), ((5, 4), 1), ((3, 2, 4, 5), (0, 1, 2)), ((7,), 0)])
def test_norms(shape, axis):
    w = RANDOM.standard_normal(shape).astype("float32")
    axes = (axis,) if isinstance(axis, int) else axis
    for constraint, change in (
        (MaxNorm(0.9, axis), lambda n: min(n, 0.9)),
        (UnitNorm(axis), lambda n: 1.0),
        (MinMaxNorm(1.5, 2.5, 0.3, axis), lambda n: 0.3 * min(max(n, 1.5), 2.5) + 0.7 * n),
    ):
        found = constraint(w)
        assert found.dtype == w.dtype
        np.testing.assert_allclose(found, naive(w, axes, change), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(NonNeg()(w), np.where(w > 0, w, 0))


def test_whole_numbers_and_lists_are_weights_too():
    for w in (np.array([[3, 0], [4, -5]]), [[3, 0], [4, -5]]):
        np.testing.assert_allclose(UnitNorm()(w), [[0.6, 0], [0.8, -1]], rtol=1e-6)
        np.testing.assert_allclose(MaxNorm(2)(w), [[1.2, 0], [1.6, -2]], rtol=1e-6)
        np.testing.assert_allclose(MinMaxNorm(10, 20)(w), [[6, 0], [8, -10]], rtol=1e-6)


class Halved(Constraint):
    def __call__(self, w):
        return w / 2


def network(**options):
    minicnn.set_random_seed(1)
    model = minicnn.Sequential([
        layers.Input((8, 8, 2)),
        layers.Conv2D(6, 3, activation="relu", kernel_constraint=MaxNorm(0.4, axis=(0, 1, 2)), bias_constraint="non_neg"),
        layers.BatchNormalization(gamma_constraint=Halved()),
        layers.PReLU("ones", alpha_constraint=MinMaxNorm(0.2, 0.5)),
        layers.Flatten(),
        layers.Dense(3, kernel_constraint=constraints.max_norm(0.5)),
    ])  # fmt: skip
    model.compile("adam", minicnn.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def test_a_step_of_the_optimizer_and_then_the_constraints():
    model = network()
    free = copy.deepcopy(model)
    for parameter in free.parameters:
        parameter.constraint = None
    for each in (model, free):
        each.train_on_batch(X, Y)
    expected = {parameter.name: parameter.numpy() for parameter in free.parameters}
    for layer, name, apply in (
        (0, "kernel", MaxNorm(0.4, (0, 1, 2))), (0, "bias", NonNeg()), (1, "gamma", Halved()),
        (2, "alpha", MinMaxNorm(0.2, 0.5)), (4, "kernel", MaxNorm(0.5)),
    ):  # fmt: skip
        full = f"{model.layers[layer].name}/{name}"
        expected[full] = apply(expected[full])
    for parameter in model.parameters:
        np.testing.assert_allclose(parameter.numpy(), expected[parameter.name], rtol=1e-6, atol=1e-7)


def test_all_ways_to_train_are_one():
    models = [network(), network(run_eagerly=True), network()]
    models[0].fit(X, Y, batch_size=8, epochs=3, verbose=0)
    models[1].fit(X, Y, batch_size=8, epochs=3, verbose=0)
    models[2].fit(
        X, Y, batch_size=8, epochs=3, verbose=0, callbacks=[minicnn.callbacks.LambdaCallback(on_batch_end=print)]
    )
    kernel = models[0].layers[0].kernel.numpy()
    assert (np.sqrt((kernel**2).sum(axis=(0, 1, 2))) < 0.4001).all() and (models[0].layers[0].bias.numpy() >= 0).all()
    for other in models[1:]:
        for a, b in zip(models[0].get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))  # with kernels of the last step


@pytest.mark.parametrize("name", ["m.safetensors", "m.keras"])
def test_constraints_are_saved(tmp_path, name):
    model = network()
    model.save(tmp_path / name)
    again = minicnn.load_model(tmp_path / name)
    for a, b in zip(model.parameters, again.parameters, strict=True):
        assert constraints.serialize(a.constraint) == constraints.serialize(b.constraint)
    again.seed = model.seed
    for each in (model, again):
        each.fit(X, Y, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Bounded(Constraint):
    def __init__(self, bounds=None, note=None):
        self.bounds, self.note = bounds, note

    def __call__(self, w):
        return w.clip(self.bounds["low"], self.bounds["high"])

    def get_config(self):
        return {"bounds": self.bounds, "note": self.note}


def test_a_constraint_of_your_own_with_settings_of_any_kind(tmp_path):
    layer = layers.Dense(2, kernel_constraint=Bounded({"low": -0.1, "high": 0.1}))
    model = minicnn.Sequential([layers.Input((3,)), layer])
    model.save(tmp_path / "m.safetensors")
    again = minicnn.load_model(tmp_path / "m.safetensors").layers[0].kernel.constraint
    assert type(again) is Bounded and again.get_config() == {"bounds": {"low": -0.1, "high": 0.1}, "note": None}


def test_a_constraint_may_be_a_function(tmp_path):
    def halve(w):
        return w / 2

    model = minicnn.Sequential([minicnn.Input((3,)), Dense(2, kernel_constraint=halve, use_bias=False)])
    model.compile(minicnn.optimizers.SGD(0.0), "mse")
    w = model.layers[0].kernel.numpy().copy()
    model.fit(np.zeros((4, 3), "float32"), np.zeros((4, 2), "float32"), verbose=0)
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), w / 2)
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(
        ValueError, match="unknown constraint 'halve': one of your own must be defined, or be among cust"
    ):
        minicnn.load_model(tmp_path / "m.safetensors")
    found = minicnn.load_model(tmp_path / "m.safetensors", custom_objects={"halve": halve})
    assert found.layers[0].kernel_constraint is halve and "halve" not in minicnn.utils.get_custom_objects()
    with minicnn.utils.custom_object_scope({"halve": halve}):
        assert minicnn.load_model(tmp_path / "m.safetensors").layers[0].kernel_constraint is halve
    assert isinstance(minicnn.constraints.get(minicnn.constraints.NonNeg), minicnn.constraints.NonNeg)


def test_a_constraint_without_a_name_is_in_no_file():
    model = Sequential([Input((4,)), Dense(2, kernel_constraint=lambda w: w)])
    with pytest.raises(ValueError, match="a constraint without a name cannot be saved"):
        model.get_config()
    with pytest.raises(ValueError, match="a constraint without a name cannot be saved"):
        minicnn.constraints.serialize(partial(np.clip, a_min=-1, a_max=1))

    def half(w):
        return w / 2

    model = Sequential([Input((4,)), Dense(2, kernel_constraint=half)])
    assert minicnn.models.clone_model(model).layers[0].kernel_constraint is half


def test_what_is_no_constraint():
    with pytest.raises(ValueError, match="unknown constraint 'large'; expected one of max_norm, min_max_norm"):
        layers.Dense(3, kernel_constraint="large")
    with pytest.raises(TypeError, match=r"constraint Empty does not define __call__\(w\)"):
        type("Empty", (Constraint,), {})()(X)
    assert constraints.get({"class": "MaxNorm", "config": {"max_value": 3, "axis": [0, 1]}}).axis == [0, 1]

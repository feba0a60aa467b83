"""Penalties: their formulas and gradients on every device, and what they do to the loss, a step and a saved model."""

import copy
import json

import numpy as np
import pytest
from conftest import assert_close
from networks import NETWORKS, Cubes, twins

import minicnn
from minicnn import Dense, layers, regularizers
from minicnn.gradcheck import check_model, smooth_input
from minicnn.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

RANDOM = np.random.default_rng(0)
CHOICES = {
    "l1": (L1(0.3), lambda w: 0.3 * np.abs(w).sum()),
    "l2": (L2(0.2), lambda w: 0.2 * (w**2).sum()),
    "both": (L1L2(0.3, 0.2), lambda w: 0.3 * np.abs(w).sum() + 0.2 * (w**2).sum()),
    "orthogonal rows": (
        OrthogonalRegularizer(0.5),
        lambda w: 0.5 * np.mean([abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs(w)]),
    ),
    "orthogonal columns": (
        OrthogonalRegularizer(0.5, "columns"),
        lambda w: 0.5 * np.mean([abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs(w.T)]),
    ),
    "one's own": (Cubes(), lambda w: 0.01 * (np.abs(w) ** 3).sum()),
}


def pairs(rows):
    return [(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("regularizer, formula", CHOICES.values(), ids=CHOICES)
def test_values_and_gradients(ops, regularizer, formula, dtype):
    w = smooth_input((5, 7))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    on_device, g = ops.array(w, dtype), ops.array(np.ones((5, 7)), dtype)
    assert regularizer.penalize(ops, on_device) == pytest.approx(formula(w), rel=tolerance)
    assert regularizer.penalize(ops, on_device, g) == pytest.approx(formula(w), rel=tolerance)
    assert float(regularizer(on_device)) == pytest.approx(formula(w), rel=tolerance)
    assert_close(ops.numpy(g) - 1, ops.numpy(regularizer.gradient(on_device)), tolerance)
    if dtype == "float32":
        return
    for index in np.ndindex(w.shape):
        step = np.zeros(w.shape)
        step[index] = 1e-6
        slope = (formula(w + step) - formula(w - step)) / 2e-6
        assert ops.numpy(g)[index] - 1 == pytest.approx(slope, abs=1e-8)


def test_the_slope_at_zero_is_zero(ops):
    g = ops.array(np.full(3, 5.0, "float32"))
    assert ops.penalize(ops.array(np.zeros(3, "float32")), g, 0.3, 0.2) == 0
    np.testing.assert_array_equal(ops.numpy(g), [5, 5, 5])


def test_rows_of_zeros_have_no_direction(ops):
    """A ReLU gives such rows: they are orthogonal to all, and nothing turns them."""
    w = np.zeros((4, 3))
    w[:2] = smooth_input((2, 3))
    on_device, g = ops.array(w), ops.array(np.zeros((4, 3)))
    expected = OrthogonalRegularizer(0.5).penalize(ops, on_device[:2]) / 6  # of 6 pairs
    assert OrthogonalRegularizer(0.5).penalize(ops, on_device, g) == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(ops.numpy(g)).all() and (ops.numpy(g)[2:] == 0).all()


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 63, 64, 65, 1024, 1025, 100_003])
def test_sizes_and_threads(threads, size):
    w, cpu = RANDOM.standard_normal(size).astype("float32"), minicnn.get_ops("cpu")
    found = []
    for number in (1, 2, 5):
        threads(number)
        g = np.zeros_like(w)
        found.append((cpu.penalize(w, g, 0.3, 0.2), g))
    exact = w.astype(float)
    assert found[0][0] == pytest.approx(0.3 * np.abs(exact).sum() + 0.2 * (exact**2).sum(), rel=1e-6)
    assert_close(found[0][1], 0.3 * np.sign(exact) + 0.4 * exact)
    for value, g in found[1:]:
        assert value == found[0][0]
        np.testing.assert_array_equal(g, found[0][1])


# ---------------------------------------------------------------------- names and configurations


@pytest.mark.parametrize(
    "identifier, cls, config",
    [
        ("l1", L1, {"l1": 0.01}),
        ("l2", L2, {"l2": 0.01}),
        ("l1_l2", L1L2, {"l1": 0.0, "l2": 0.0}),
        ("L1L2", L1L2, {"l1": 0.0, "l2": 0.0}),
        ("orthogonal_regularizer", OrthogonalRegularizer, {"factor": 0.01, "mode": "rows"}),
        (regularizers.l2(0.5), L2, {"l2": 0.5}),
        (regularizers.l2, L2, {"l2": 0.01}),
        (Cubes, Cubes, {}),
        (Cubes(), Cubes, {}),
    ],
)
def test_names_defaults_and_configurations(identifier, cls, config):
    found = regularizers.get(identifier)
    assert type(found) is cls and found.get_config() == config
    again = regularizers.get(json.loads(json.dumps(regularizers.serialize(found))))
    assert type(again) is cls and again.get_config() == config


def test_none_is_none():
    assert regularizers.get(None) is None and regularizers.serialize(None) is None


def rooted(w):
    return np.cbrt(w).sum()


class NoGradient(Regularizer):
    def __call__(self, x):
        return np.cbrt(x).sum()


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: regularizers.get("l3"), "unknown regularizer 'l3'; expected one of l1, l2, l1_l2, orthogonal_regularizer or an"),
        (lambda: regularizers.get(rooted).gradient(np.ones(3)), r"the regularizer rooted has no gradient \(.*: make a"),
        (lambda: regularizers.get({"class": "Lost", "config": {}}), "unknown regularizer 'Lost': one of your own must be defined"),
        (lambda: L2(-1), "the factor l2 of a regularizer must be a number from 0 on, not -1"),
        (lambda: L1("much"), "the factor l1 of a regularizer must be a number from 0 on, not 'much'"),
        (lambda: L1L2(0.1, float("nan")), "the factor l2 of a regularizer must be a number from 0 on, not nan"),
        (lambda: OrthogonalRegularizer(mode="both"), "mode must be 'rows' or 'columns', not 'both'"),
        (lambda: OrthogonalRegularizer()(np.ones((3, 3, 1))), r"expected weights of two axes, received an array of shape \(3, 3, 1\)"),
        (lambda: NoGradient().gradient(np.ones(3)), r"the regularizer NoGradient has no gradient \(.*: make a"),
        (lambda: regularizers.serialize(regularizers.get(lambda w: abs(w).sum())), "a regularizer without a name cannot be saved"),
        (lambda: layers.Input((3,), name="i", activity_regularizer="l2"), "layer i: activity_regularizer is not offered here"),
    ],
)  # fmt: skip
def test_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------- in a model

MODELS = [
    "penalties",
    "penalties of one's own",
    "penalties for what comes out",
    "noise, dropped channels and learned slopes",
]


def penalties_of(model):
    """By the formulas, for every trained parameter."""
    found = 0.0
    for parameter in model.trainable_parameters:
        if parameter.regularizer is not None:
            found += float(parameter.regularizer(np.float64(parameter.data)))
    return found


@pytest.mark.parametrize("name", ["penalties", "penalties of one's own", "penalties, frozen"])
@pytest.mark.parametrize("eagerly", [True, False])
def test_the_loss_holds_the_penalties(name, eagerly):
    model = NETWORKS[name].model()
    model.run_eagerly = eagerly
    x, y = NETWORKS[name].data()
    bare = copy.deepcopy(model)
    for parameter in bare.parameters:
        parameter.regularizer = None
    expected = penalties_of(model)
    assert expected > 0.05
    assert model.evaluate(x, y, verbose=0)[0] - bare.evaluate(x, y, verbose=0)[0] == pytest.approx(expected, rel=1e-4)
    assert model.train_step(x, y)[0] - bare.train_step(x, y)[0] == pytest.approx(expected, rel=1e-4)
    logs = model.fit(x, y, batch_size=19, epochs=1, verbose=0, validation_data=(x, y)).history
    assert logs["val_loss"][0] == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-6)


@pytest.mark.parametrize("name", ["penalties for what comes out", "penalties for what frozen layers give"])
@pytest.mark.parametrize("eagerly", [True, False])
def test_the_loss_holds_the_penalties_for_what_comes_out(name, eagerly):
    """Divided by the number of samples in the batch, and of layers that are not trained too."""
    model = NETWORKS[name].model("float64")
    model.run_eagerly = eagerly
    x, y = NETWORKS[name].data(dtype="float64")
    bare, outputs, expected = copy.deepcopy(model), x, 0.0
    for layer in model.layers:
        outputs = layer.forward(outputs)
        if layer.activity_regularizer is not None:
            expected += float(layer.activity_regularizer(outputs)) / len(x)
    for layer in bare.layers:
        layer.activity_regularizer = None
    assert expected > 0.05
    loss, without = (m.evaluate(x, y, verbose=0)[0] for m in (model, bare))
    assert loss - without == pytest.approx(expected, rel=1e-9)
    assert sum(model.losses) == pytest.approx(model.penalty(), rel=1e-12)
    model.set_weights(bare.get_weights())
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0
    loss, _ = model.train_step(x, y)
    assert loss - without == pytest.approx(expected, rel=1e-9)


def test_a_penalty_for_what_comes_out_by_hand():
    """Of a layer alone, and in a step: y = w x, of which the gradient for w is Σ (2 (y - t) / N + 2 · 0.5 y / N) x."""
    layer = layers.Dense(1, use_bias=False, kernel_initializer="ones", activity_regularizer=L2(0.5))
    x = np.array([[1.0], [2.0], [4.0]], "float32")
    assert layer.losses == []
    layer(x)
    assert layer.losses == [pytest.approx(0.5 * (1 + 4 + 16) / 3)]
    for eagerly in (True, False):
        model = minicnn.Sequential([layers.Input((1,)), layers.Dense.from_config(layer.get_config())])
        model.compile(minicnn.optimizers.SGD(0.1), "mse", run_eagerly=eagerly)
        loss = model.train_on_batch(x, np.zeros((3, 1)))
        assert loss == pytest.approx((1 + 4 + 16) / 3 * 1.5)
        assert model.get_weights()[0] == pytest.approx(1 - 0.1 * (2 + 1) * (1 + 4 + 16) / 3)


@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_changed_activity_regularizer_is_noticed(place):
    network = NETWORKS["penalties for what frozen layers give"]
    model, eager = twins(network.model())
    x, y = network.data()
    for change in (L1(0.3), None, L2(0.2)):
        for one in (model, eager):
            one.layers[place].activity_regularizer = change
        assert model.evaluate(x, y, verbose=0) == eager.evaluate(x, y, verbose=0)
        assert model.train_step(x, y)[0] == eager.train_step(x, y)[0]
        for one, two in zip(model.get_weights(), eager.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_steps_stay_on_the_tape():
    model = NETWORKS["penalties"].model()
    x, y = NETWORKS["penalties"].data(60)
    other = copy.deepcopy(model)
    model.train_steps(x, y, None, np.arange(60), 6)
    (run,) = model._engine.runs.values()
    assert run.most > 1
    for part in np.arange(60).reshape(10, 6):
        other.train_step(x, y[part], rows=part)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_changed_factor_or_regularizer_is_noticed():
    model, eager = twins(NETWORKS["penalties"].model())
    x, y = NETWORKS["penalties"].data()
    for change in (
        lambda layer: None,
        lambda layer: setattr(layer.kernel.regularizer, "l2", 0.5),
        lambda layer: setattr(layer.kernel, "regularizer", L1(0.4)),
        lambda layer: setattr(layer.kernel, "regularizer", None),
    ):
        change(model.layers[0])
        change(eager.layers[0])
        assert model.train_step(x, y)[0] == eager.train_step(x, y)[0]
        for one, two in zip(model.get_weights(), eager.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


PENALIZED = (
    "penalties", "penalties of one's own", "penalties for what comes out", "noise, dropped channels and learned slopes",
)  # fmt: skip


@pytest.mark.parametrize("name", PENALIZED)
def test_gradients_of_whole_models(name):
    network = NETWORKS[name]
    model = network.model("float64")
    _, y = network.data(2)
    assert check_model(model, smooth_input((2, *network.image)), y) < 1e-6


@pytest.mark.parametrize("name", PENALIZED)
def test_a_saved_model_goes_on_as_it_was(name, tmp_path):
    model = NETWORKS[name].model()
    x, y = NETWORKS[name].data()
    model.train_step(x, y)
    model.save(tmp_path / "model.safetensors")
    again = minicnn.load_model(tmp_path / "model.safetensors")
    assert again.train_step(x, y)[0] == model.train_step(x, y)[0]
    for one, two in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_penalty_alone_moves_the_weights():
    """Where the loss is flat, plain SGD shrinks the weights by the factor 1 - 2 η l2."""
    model = minicnn.Sequential([layers.Input((4,)), layers.Dense(3, kernel_regularizer=L2(0.1))])
    model.compile(minicnn.optimizers.SGD(0.5), minicnn.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = model.get_weights()[0]
    model.train_step(np.zeros((5, 4), "float32"), np.array([0, 1, 2, 0, 1]))
    assert_close(model.get_weights()[0], before * (1 - 2 * 0.5 * 0.1), 1e-6)


def test_a_penalty_of_ones_own_in_the_place_of_that_of_l2():
    class Cubed(minicnn.regularizers.L2):
        def __call__(self, x):
            return (abs(x) ** 3).sum()

        def gradient(self, x):
            return 3 * x * abs(x)

    layer = Dense(2, use_bias=False, kernel_regularizer=Cubed(7.0))
    model = minicnn.Sequential([minicnn.Input((3,)), layer])
    w = layer.kernel.numpy().copy()
    assert layer.losses == model.losses == [pytest.approx((abs(w) ** 3).sum(), rel=1e-5)]
    model.compile(minicnn.optimizers.SGD(0.1), "mse")
    model.fit(np.zeros((4, 3), "float32"), np.zeros((4, 2), "float32"), verbose=0)
    np.testing.assert_allclose(layer.kernel.numpy(), w - 0.3 * w * abs(w), atol=1e-6)


@pytest.mark.parametrize("name", ["penalties", "noise, dropped channels and learned slopes"])
def test_bits_of_a_step_do_not_depend_on_threads(threads, name):
    x, y = NETWORKS[name].data(35)
    fresh, found = NETWORKS[name].model(), []
    for number in (1, 2, 3, 16):
        threads(number)
        model = copy.deepcopy(fresh)
        found.append([model.train_step(x, y)[0], *model.get_weights()])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)

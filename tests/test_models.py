"""Sequential: how it is built, also of other models, what it says of itself, and that forward, backward and weights go in order.

A final softmax in any of its three forms is fused into the loss: the gradient is p - y, and no logarithm meets a zero.
"""

import copy
import gc
import io
import pickle
import re
import sys
import weakref

import naive
import numpy as np
import pytest
from conftest import assert_close
from small import X, Y, small

import minicnn
from minicnn import Conv2D, Dense, Flatten, Input, Model, Sequential, layers
from minicnn import backend as K
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.nodes import Node

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.standard_normal((6, 8, 7, 2)).astype("float32")
LABELS = np.array([0, 2, 1, 1, 0, 2])


def network(**options):
    return Sequential(
        [
            layers.Input((8, 7, 2)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling2D(name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="dense"),
        ],
        **options,
    )


def test_layers_are_built_as_they_are_added():
    model = Sequential()
    model.add(layers.Input((8, 7, 2)))
    model.add(layers.Conv2D(4, 3))
    assert model.layers[-1].built and model.output_shape == (None, 6, 5, 4)
    with pytest.raises(ValueError, match="layer big: a window of 9×9 does not fit into an input of shape"):
        model.add(layers.MaxPooling2D(9, name="big"))


def test_models_have_names_of_their_own():
    minicnn.backend.clear_session()
    i = Input((2,))
    names = [Sequential().name, Sequential().name, Model(i, Dense(2)(i)).name, Sequential(name="mine").name]
    assert names == ["sequential", "sequential_1", "functional", "mine"]


def test_layers_and_weights_of_a_model():
    model = small()
    conv = model.get_layer(index=0)
    assert model.get_layer(conv.name) is conv is model.layers[0]
    assert [weight.shape for weight in model.weights] == [(3, 3, 1, 3), (3,), (48, 4), (4,)]
    assert model.weights == model.trainable_weights and conv.weights == conv.trainable_weights == model.weights[:2]
    conv.trainable = False
    assert model.non_trainable_weights == conv.weights and model.trainable_weights == model.weights[2:]
    np.testing.assert_array_equal(conv.weights[0].numpy(), conv.get_weights()[0])
    with pytest.raises(ValueError, match="the model has no layer 'dense_of_mine'; it has conv2d"):
        model.get_layer("dense_of_mine")
    with pytest.raises(ValueError, match="the model has no layer 7"):
        model.get_layer(index=7)
    assert isinstance(model.pop(), Dense) and model.predict(X).shape == (50, 48)
    model.add(Dense(2, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y % 2, verbose=0)
    assert model.predict(X).shape == (50, 2)


def test_the_names_of_keras_for_weights_and_metrics():
    model = small()
    assert model.metrics_names == ["loss", "accuracy"]
    assert model.variables == model.weights and model.trainable_variables == model.trainable_weights
    assert model.non_trainable_variables == [] and model.reset_metrics() is None
    model.weights[0].assign(np.ones(model.weights[0].shape))
    assert (K.get_value(model.weights[0]) == 1).all()


def test_without_an_input_the_first_data_build_the_model():
    model = Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
    assert not model.layers[0].built
    with pytest.raises(ValueError, match="does not know the shape of its input: put an Input first, or call build"):
        model.count_params()
    assert model.predict(IMAGES).shape == (6, 3)
    assert model.input_shape == (None, 8, 7, 2) and model.output_shape == (None, 3)
    explicit = Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
    explicit.build((None, 8, 7, 2))
    assert explicit.count_params() == model.count_params()


def test_what_a_model_cannot_be_made_of():
    with pytest.raises(TypeError, match="a model is made of layers, not of 'relu'"):
        Sequential(["relu"])
    with pytest.raises(ValueError, match="two layers of a model cannot both be named 'twin'"):
        Sequential([layers.Flatten(name="twin"), layers.ReLU(name="twin")])
    with pytest.raises(ValueError, match="an Input can only be the first layer"):
        Sequential([layers.Flatten(), layers.Input((3,))])
    with pytest.raises(ValueError, match="a model without layers cannot be built"):
        Sequential().build((None, 3))


def test_data_of_another_shape():
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    sentence = r"expected an input of shape \(None, 8, 7, 2\), received \((None|6), 8, 7\)"
    for use in (model.predict, lambda x: model.fit(x, LABELS, verbose=0), lambda x: model.evaluate(x, LABELS),
                lambda x: model.train_on_batch(x, LABELS)):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            use(IMAGES[..., 0])


def test_summary():
    lines = []
    network(name="tiny").summary(print_fn=lambda text: lines.extend(text.split("\n")))
    text = "\n".join(lines)
    assert lines[0] == "Model: tiny"
    for pattern in (
        rf"conv \(Conv2D\) +6 × 5 × 4 +{3 * 3 * 2 * 4 + 4} +{6 * 5 * 72:,} +{6 * 5 * 4 * 4 / 1024:.1f} KiB",
        r"norm \(BatchNormalization\) +6 × 5 × 4 +16 +0",
        r"pool \(MaxPooling2D\) +3 × 2 × 4 +0 +0",
        r"dense +3 +75 +72",
        r"parameters: 167 \(159 trainable\)",
        rf"one image: {2160 + 72:,} multiply-adds",
    ):
        assert re.search(pattern, text), pattern
    table = [line for line in lines if line.endswith("KiB")]
    assert len({len(line) for line in table}) == 1  # columns stand under each other


def test_summary_fits_80_columns():
    lines = []
    model = minicnn.Sequential([minicnn.Input((224, 224, 3))], name="large")
    for number in range(12):
        model.add(minicnn.BatchNormalization(name="a_layer_with_a_name_of_some_length" if number == 5 else None))
        model.add(minicnn.Conv2D(128, 3, padding="same"))
    model.summary(print_fn=lambda text: lines.extend(text.split("\n")))
    assert max(map(len, lines)) <= 80


def test_what_is_printed_where_signs_have_no_code(monkeypatch):
    """The output of a Windows of old, into a file."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1251", write_through=True))
    network().summary()
    assert "6 ? 5 ? 4" in written.getvalue().decode("cp1251")


def test_summary_prints(capsys):
    network().summary()
    assert "Conv2D" in capsys.readouterr().out


def test_a_summary_before_the_shapes_are_known(capsys):
    Sequential([Conv2D(3, 3), Flatten()], name="open").summary()
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0] == "Model: open"
        and lines[4].split()[1:] == ["?"] * 4
        and lines[-1].startswith("not built: the shapes")
    )


def test_predict_is_one_layer_after_the_other():
    model = network()
    x = IMAGES
    for layer in model.layers:
        x = layer.forward(x)
    np.testing.assert_array_equal(model.predict(IMAGES), x)
    np.testing.assert_array_equal(model.predict(IMAGES, batch_size=4), x)
    assert_close(x.sum(axis=1), np.ones(6))
    assert model.predict(IMAGES.astype("float64")).dtype == "float32"


def test_calling_a_model_hands_no_parameters_out():
    """What was handed out may be written to at any time, and is prepared anew for every prediction."""
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    model(IMAGES)
    model.train_on_batch(IMAGES, LABELS)
    assert not any(parameter.shared for parameter in model.parameters)
    assert model.layers[0].kernel.value is not None and model.layers[0].kernel.shared


def test_memory_for_batches_of_many_sizes_is_bounded():
    """A run that is not used any more goes at once, without waiting for Python's search for cycles."""
    model, every, runs, often = network(), [], [], set()
    model.compile("sgd", "mse")
    gc.collect()
    gc.disable()
    try:
        for images in range(1, 60):
            every.append(model.predict(IMAGES[:1].repeat(images, axis=0)))
            model.test_on_batch(IMAGES[:1].repeat(images, axis=0), np.eye(3)[[0] * images])
            runs.append(weakref.ref(model._engine.runs["predict", images]))
            runs.append(weakref.ref(model._engine.runs["evaluate", images]))
            model.predict(IMAGES[:1])  # in between, always the same
            often.add(id(model._engine.runs["predict", 1]))
        assert len([run for run in runs if run() is not None]) == len(model._engine.runs) == 32
    finally:
        gc.enable()
    assert len(often) == 1
    assert all((y == every[0][0]).all() for y in every)


def test_parameters_are_views_of_one_aligned_buffer():
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.get_weights()
    model.build()
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for tensors in ([p.value for p in model.trainable_parameters], [p.gradient for p in model.trainable_parameters]):
        starts = [tensor.ctypes.data for tensor in tensors]
        assert all(start % 64 == 0 for start in starts)
        ends = [start + tensor.nbytes for start, tensor in zip(starts, tensors, strict=True)]
        assert all(0 <= start - end < 64 for start, end in zip(starts[1:], ends, strict=False))
        base = tensors[0]
        while base.base is not None and isinstance(base.base, np.ndarray):
            base = base.base
        assert all(np.shares_memory(tensor, base) for tensor in tensors)
    kernel = model.layers[0].kernel
    kernel.value = np.zeros(kernel.shape)
    values, _ = model._flat
    assert not values[: kernel.value.size].any() and values[kernel.value.size :].any()  # written into the buffer


def test_a_step_changes_what_the_layers_see():
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = [p.value.copy() for p in model.trainable_parameters]
    model.train_on_batch(IMAGES, LABELS)
    for parameter, old in zip(model.trainable_parameters, before, strict=True):
        assert_close(parameter.value, old - 0.01 * np.float64(parameter.gradient), 1e-6)


# ---------------------------------------------------------------------- softmax and loss


ENDS = {
    "Dense(activation='softmax')": lambda: [layers.Dense(3, activation="softmax", name="last")],
    "Softmax()": lambda: [layers.Dense(3, name="last"), layers.Softmax()],
    "Activation('softmax')": lambda: [layers.Dense(3, name="last"), layers.Activation("softmax")],
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_gradient_of_the_scores_is_p_less_y(ops, end):
    model = Sequential([layers.Input((4,)), *end()]).to(ops.name)
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.ends_with_softmax
    x = RANDOM.standard_normal((6, 4)).astype("float32")
    loss, scores = model.gradients_of_batch(x, LABELS)
    p = np.array([naive.softmax(row) for row in ops.numpy(scores)])
    assert loss == pytest.approx(-np.log(p[range(6), LABELS]).mean(), rel=1e-6)
    assert_close(model.predict(x), p)
    last = next(layer for layer in model.layers if layer.name == "last")
    assert_close(ops.numpy(last.kernel.gradient), x.T @ (p - np.eye(3)[LABELS]) / 6)
    assert_close(ops.numpy(last.bias.gradient), (p - np.eye(3)[LABELS]).mean(axis=0))


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_enormous_scores_train(end):
    model = Sequential([layers.Input((4,)), *end()])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = 1e6 * RANDOM.standard_normal((6, 4)).astype("float32")
    with np.errstate(all="raise", under="ignore"):
        loss, _ = model.train_on_batch(x, LABELS)
        again = model.evaluate(x, LABELS)[0]
        p = model.predict(x)
    assert np.isfinite([loss, again]).all() and loss > 1e4
    assert np.isfinite(p).all() and all(np.isfinite(w).all() for w in model.get_weights())


def test_all_ends_train_alike():
    weights = []
    for end in ENDS.values():
        minicnn.set_random_seed(1)
        model = Sequential([layers.Input((4,)), *end()])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(IMAGES[:, 0, :2, :].reshape(6, 4), LABELS, epochs=3, verbose=0)
        weights.append(model.get_weights())
    minicnn.set_random_seed(1)
    scores = Sequential([layers.Input((4,)), layers.Dense(3)])
    scores.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
    scores.fit(IMAGES[:, 0, :2, :].reshape(6, 4), LABELS, epochs=3, verbose=0)
    weights.append(scores.get_weights())
    for others in weights[1:]:
        for one, other in zip(weights[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_softmax_over_another_axis_is_not_fused():
    model = Sequential([layers.Input((4,)), layers.Dense(3), layers.Softmax(axis=0)])
    assert not model.ends_with_softmax


def test_probabilities_without_softmax_use_their_logarithm():
    model = Sequential([layers.Input((4,)), layers.Dense(3, activation="sigmoid")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = RANDOM.standard_normal((6, 4)).astype("float32")
    p = np.float64(model.predict(x))
    expected = -np.log((p / p.sum(axis=1, keepdims=True))[range(6), LABELS]).mean()
    assert model.evaluate(x, LABELS) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_the_input():
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    y = model.forward(IMAGES, training=True)
    dx = model.backward(np.ones_like(y))
    assert dx.shape == IMAGES.shape
    model.forward(IMAGES, training=True)
    assert model.backward(np.ones_like(y), input_gradient=False) is None


# ---------------------------------------------------------------------- weights and devices


def test_weights_move_between_models():
    one, two = network(), network()
    assert (one.predict(IMAGES) != two.predict(IMAGES)).any()
    two.set_weights(one.get_weights())
    np.testing.assert_array_equal(one.predict(IMAGES), two.predict(IMAGES))
    assert [w.shape for w in one.get_weights()] == [(3, 3, 2, 4), (4,), (4,), (4,), (4,), (4,), (24, 3), (3,)]
    assert sum(w.size for w in one.get_weights()) == one.count_params()
    with pytest.raises(ValueError, match="expected 8 arrays, one per parameter, got 7"):
        two.set_weights(one.get_weights()[1:])
    with pytest.raises(ValueError, match=r"conv/kernel: expected values of shape \(3, 3, 2, 4\), got \(4, 3, 3, 2\)"):
        two.set_weights([np.moveaxis(w, -1, 0) for w in one.get_weights()])


def test_a_model_moves_to_another_device(ops):
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    expected = model.predict(IMAGES)
    model.to(ops.name)
    assert_close(model.predict(IMAGES), expected)
    model.train_on_batch(IMAGES, LABELS)
    twin = network()
    twin.set_weights(model.get_weights())
    assert_close(model.to("cpu").predict(IMAGES), twin.predict(IMAGES))
    model.train_on_batch(IMAGES, LABELS)
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        model.to("tpu")


def test_float64():
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(IMAGES, LABELS)
    single = model.predict(IMAGES)
    model.astype("float64")
    assert model.predict(IMAGES).dtype == "float64"
    assert_close(single, model.predict(IMAGES))
    model.train_on_batch(IMAGES, LABELS)


def test_a_frozen_layer_is_not_changed():
    model = network()
    model.layers[0].trainable = model.layers[1].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.get_weights()
    model.fit(IMAGES, LABELS, epochs=3, verbose=0)
    after = model.get_weights()
    for old, new in zip(before[:6], after[:6], strict=True):
        np.testing.assert_array_equal(old, new)
    assert all((old != new).any() for old, new in zip(before[6:], after[6:], strict=True))
    model.layers[0].trainable = True
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(IMAGES, LABELS, epochs=1, verbose=0)
    assert (model.get_weights()[0] != before[0]).any()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("lamb", "sparse_categorical_crossentropy"), "unknown optimizer 'lamb'; expected one of"),
        (("adam", "dice"), "unknown loss 'dice'; expected one of categorical_crossentropy, sparse_"),
        (("adam", "categorical_crossentropy", ["f1"]), "unknown metric 'f1'; expected one of accuracy"),
    ],
)
def test_unknown_names(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        network().compile(**dict(zip(("optimizer", "loss", "metrics"), arguments, strict=False)))


def test_a_model_that_was_not_compiled():
    with pytest.raises(ValueError, match=r"the model has no optimizer: call compile\(optimizer, loss\) first"):
        network().fit(IMAGES, LABELS, verbose=0)
    with pytest.raises(ValueError, match=r"the model has no loss: call compile\(optimizer, loss\) first"):
        network().evaluate(IMAGES, LABELS)


def test_compile_says_what_it_cannot_do():
    with pytest.raises(ValueError, match="compile cannot take loss_weights"):
        small(loss_weights=[1, 2])
    small(loss_weights=[1.0])
    small(loss_weights={"out": 1.0})


def test_metrics_in_the_place_of_weights_of_losses():
    with pytest.raises(ValueError, match="compile cannot take loss_weights.*; metrics are given by name, metrics=…"):
        small().compile("sgd", "mse", ["accuracy"])


# ---------------------------------------------------------------------- layers with a mode of their own


def vector_model(training=None):
    """A model of tensors and its dropout, which is called with `training`."""
    minicnn.set_random_seed(1)
    x = layers.Input((6,))
    drop = layers.Dropout(0.5, seed=1)
    y = layers.BatchNormalization(momentum=0.5)(layers.Dense(40, activation="relu")(x))
    return minicnn.Model(x, layers.Dense(3, activation="softmax")(drop(y, training=training))), drop


VECTORS = RANDOM.standard_normal((8, 6)).astype("float32")


@pytest.mark.parametrize("eagerly", [False, True])
def test_dropout_that_never_rests(eagerly):
    model, drop = vector_model(True)
    model.compile(loss="mse", run_eagerly=eagerly)
    drawn = np.array([model.predict(VECTORS, verbose=0) for _ in range(200)])
    assert (drawn[0] != drawn[1]).any(axis=1).all() and drawn.std(axis=0).min() > 0.003
    drop.rate = 0.0
    resting = model.predict(VECTORS, verbose=0)
    drop.rate = 0.5
    other = minicnn.Sequential(model.layers[1:])  # of the same layers, where dropout does as the model does
    np.testing.assert_array_equal(other.predict(VECTORS, verbose=0), other.predict(VECTORS, verbose=0))
    np.testing.assert_allclose(other.predict(VECTORS, verbose=0), resting, rtol=1e-6)


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_what_never_works_as_in_training(eagerly, frozen):
    """The loss in training is that of predictions, and the statistics stay; without, they do not."""
    inside, _ = vector_model()
    inside.layers[2].trainable = not frozen
    x = layers.Input((6,))
    model, labels = minicnn.Model(x, inside(x, training=False)), np.arange(8) % 3
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=eagerly)
    moving = inside.layers[2].moving_variance.numpy()
    expected = -np.log(model.predict(VECTORS, verbose=0)[np.arange(8), labels]).mean()
    losses = [model.train_on_batch(VECTORS, labels) for _ in range(2)]
    assert losses[1] < losses[0] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(inside.layers[2].moving_variance.numpy(), moving)
    inside.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=eagerly)
    inside.train_on_batch(VECTORS, labels)
    assert (inside.layers[2].moving_variance.numpy() == moving).all() == frozen


@pytest.mark.parametrize("name", ["model.safetensors", "model.keras"])
def test_modes_are_saved(tmp_path, name):
    model, _ = vector_model(True)
    model.save(tmp_path / name)
    for loaded in (minicnn.load_model(tmp_path / name), minicnn.models.clone_model(model), copy.deepcopy(model)):
        assert (loaded.predict(VECTORS, verbose=0) != loaded.predict(VECTORS, verbose=0)).any()
        head = minicnn.Model(loaded.input, loaded.layers[-1].output)
        assert (head.predict(VECTORS, verbose=0) != head.predict(VECTORS, verbose=0)).any()
    model, _ = vector_model(None)
    model.save(tmp_path / name)
    loaded = minicnn.load_model(tmp_path / name)
    np.testing.assert_array_equal(loaded.predict(VECTORS, verbose=0), model.predict(VECTORS, verbose=0))


class Uncertain(minicnn.Model):
    """Calls a layer twice, and one that it makes itself."""

    def __init__(self):
        super().__init__()
        self.drop, self.dense = layers.Dropout(0.5), layers.Dense(40)

    def call(self, x):
        x = self.drop(self.dense(self.drop(x, training=True)), training=True)
        return layers.Dropout(0.5)(x, training=True)


def zeros(y):
    return (np.asarray(y) == 0).mean()


def test_modes_of_copies_and_of_layers_that_a_call_makes():
    model = Uncertain()
    assert 0.65 < zeros(model.predict(np.ones((50, 6), "float32"), verbose=0)) < 0.85  # two in a row
    assert model._modes == [None, True, None, True, True]


@pytest.mark.parametrize("make", [Uncertain, lambda: Sequential([layers.Input((6,)), vector_model(True)[0]])])
def test_modes_in_any_model_are_described(tmp_path, make):
    model = make()
    model.predict(VECTORS, verbose=0)
    model.save(tmp_path / "model.keras")
    for again in (
        minicnn.load_model(tmp_path / "model.keras"), minicnn.models.clone_model(model),
        minicnn.models.clone_model(model, clone_function=lambda layer: type(layer).from_config(layer.get_config())),
        minicnn.models.model_from_json(model.to_json()),
    ):  # fmt: skip
        assert [mode for mode in again._modes if mode] == [mode for mode in model._modes if mode]
        assert (again.predict(VECTORS, verbose=0) != again.predict(VECTORS, verbose=0)).any()


def test_modes_belong_to_places():
    """Of the same layer put behind another in a second chain, of a model that is added twice, of one that is taken off again."""
    minicnn.set_random_seed(1)  # of 1,000 numbers a share is off by 0.014
    x, drop = layers.Input((1000,)), layers.Dropout(0.5)
    model = minicnn.Model(x, drop(x, training=True))
    ones = np.ones((1, 1000), "float32")
    for other in (minicnn.Model(x, drop.output), minicnn.Model(x, model.layers[-1].output)):
        assert 0.4 < zeros(other.predict(ones, verbose=0)) < 0.6
    assert zeros(minicnn.Model(x, drop(x)).predict(ones, verbose=0)) == 0
    twice = Sequential([layers.Input((1000,))])
    twice.add(model)
    twice.add(model)
    assert 0.7 < zeros(twice.predict(ones, verbose=0)) < 0.8
    twice.pop()
    assert 0.4 < zeros(twice.predict(ones, verbose=0)) < 0.6
    twice.pop()
    twice.add(drop)
    assert zeros(twice.predict(ones, verbose=0)) == 0 and twice._modes == [None, None]


class Moved(layers.Layer):
    """Calls another layer, and does not say whether it trains."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, training=False):
        return np.asarray(self.inner(x))

    def backward(self, dy):
        return dy


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("chained", [False, True])
def test_layers_that_a_layer_calls_do_as_it_does(chained, eagerly):
    inner = layers.RandomTranslation(0.5, 0.5, fill_mode="constant")
    inner = Sequential([inner]) if chained else inner
    for own in (Moved(inner), layers.Lambda(lambda x: np.asarray(inner(x)))):
        model = Sequential([layers.Input((8, 7, 2)), own])
        model.compile(loss="mse", run_eagerly=eagerly)
        np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), IMAGES)
        np.testing.assert_array_equal(model(IMAGES, training=False), IMAGES)
        assert (np.asarray(model(IMAGES, training=True)) != IMAGES).any()
    assert (np.asarray(inner(IMAGES)) != IMAGES).any()


class Compared(layers.Layer):
    """Equal to others of its class, and so without a hash."""

    def __eq__(self, other):
        return type(other) is type(self)

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


def test_layers_without_a_hash():
    model = Sequential([layers.Input((6,)), Compared(), layers.Dense(2)])
    assert model.predict(VECTORS, verbose=0).shape == (8, 2)


@pytest.mark.parametrize("literal", [True, None])
def test_modes_that_a_call_gives(literal):
    class OneMode(minicnn.Model):
        def __init__(self):
            super().__init__()
            self.drop, self.last = layers.Dropout(0.5), layers.Dense(3)

        def call(self, x, training=None):
            return self.last(self.drop(x, training=training if literal is None else literal))

    model = OneMode()
    first, second = model.predict(VECTORS, verbose=0), model.predict(VECTORS, verbose=0)
    assert (first != second).any() == bool(literal)
    assert (model(VECTORS, training=True) != model(VECTORS, training=True)).any()


def test_a_mode_of_what_has_none_costs_nothing():
    x = layers.Input((8, 7, 2))
    y = layers.Conv2D(4, 3, activation="relu")(x, training=True)
    model = minicnn.Model(x, layers.Dense(3)(layers.Flatten()(y, training=True), training=False))
    model.predict(IMAGES, verbose=0)
    assert not any(type(node) is Node for node in model._engine.found(("predict", 6)).nodes)


def test_several_outputs_know_the_modes():
    model, _ = vector_model(True)
    ends = minicnn.Model(model.input, [model.layers[2].output, model.output])
    (rest, first), (again, second) = ends.predict(VECTORS, verbose=0), ends.predict(VECTORS, verbose=0)
    np.testing.assert_array_equal(rest, again)
    assert (first != second).any()


# ---------------------------------------------------------------------- models of a class, and clones


class Parted(minicnn.Model):
    def __init__(self):
        super().__init__()
        self.features = Sequential([layers.Flatten(), layers.Dense(8)])
        self.head = layers.Dense(3)

    def call(self, x):
        return self.head(self.features(x))


def test_the_layers_of_a_class_are_those_that_it_calls():
    model = Parted()
    model(IMAGES)
    assert model.layers == [model.features, model.head] and len(model.chain) == 3
    model.layers[0].trainable = False
    assert [weight.name for weight in model.trainable_weights] == [p.name for p in model.head.parameters]
    assert [layer.name for layer in model.chain] == [*(one.name for one in model.features.layers), model.head.name]


def test_clones_with_other_layers():
    def linear(layer):
        return type(layer).from_config(layer.get_config() | ({"activation": "linear"} if "conv" in layer.name else {}))

    model = network(name="mine")
    clone = minicnn.models.clone_model(model, clone_function=linear)
    assert [layer.name for layer in clone.layers] == [layer.name for layer in model.layers] and clone.name == "mine"
    assert clone.layers[0].activation_name == "linear" and model.layers[0].activation_name == "relu"
    assert clone.layers[0].kernel is not model.layers[0].kernel
    functional, drop = vector_model(True)
    clone = minicnn.models.clone_model(
        functional, clone_function=lambda layer: type(layer).from_config(layer.get_config())
    )
    assert type(clone) is minicnn.Model and clone.layers[3].name == drop.name
    assert (clone.predict(VECTORS, verbose=0) != clone.predict(VECTORS, verbose=0)).any()
    with pytest.raises(ValueError, match="clone_model takes no input_tensors"):
        minicnn.models.clone_model(model, layers.Input((8, 7, 2)))
    built = Sequential([layers.Dense(3), layers.Dense(2)])
    built.build((None, 6))
    minicnn.models.clone_model(built, clone_function=linear).set_weights(built.get_weights())
    several = minicnn.Model(functional.input, [functional.layers[1].output, functional.output])
    with pytest.raises(ValueError, match="a model of several outputs, .* not cloned"):
        minicnn.models.clone_model(several, clone_function=linear)


def test_clones_have_functions_that_calculate():
    def bent(x):
        return x / (1 + abs(x))

    def rooted(w):
        return 0.1 * minicnn.ops.sum(abs(w) ** 1.5)

    model = small(activation=bent)
    model.add(Dense(2, activation=bent, kernel_regularizer=rooted))
    clone = minicnn.models.clone_model(model)
    assert clone.layers[-1].activation is bent and clone.layers[-1].kernel_regularizer.function is rooted


# ---------------------------------------------------------------------- models within models


def test_a_model_within_a_model_shares_its_layers():
    inner = small()
    outer = minicnn.Sequential([inner, layers.Softmax(name="shares")])
    assert outer.layers == [inner, outer.get_layer("shares")] and outer.get_layer(inner.name) is inner
    assert outer.chain == [*inner.layers, outer.layers[1]] and outer.get_layer(inner.layers[0].name) is inner.layers[0]
    inner.fit(X, Y, epochs=1, verbose=0)
    np.testing.assert_array_equal(outer.get_weights()[0], inner.get_weights()[0])
    np.testing.assert_allclose(outer.predict(X), layers.Softmax()(inner.predict(X)), rtol=1e-6)
    turned = minicnn.Sequential([layers.RandomRotation(0.1), layers.RandomZoom(0.1)])
    x = Input((28, 28, 1))
    model = Model(x, Dense(3)(Flatten()(turned(x))))
    assert [type(layer).__name__ for layer in model.chain] == ["RandomRotation", "RandomZoom", "Flatten", "Dense"]
    with pytest.raises(ValueError, match="already built for inputs of shape"):
        minicnn.Sequential([Input((28, 28, 1)), inner])
    with pytest.raises(ValueError, match="cannot both be named 'shares'"):
        outer.add(minicnn.Sequential([Dense(3, name="new"), Dense(2, name="shares")]))
    assert "new" not in [layer.name for layer in outer.layers]


def test_models_that_share_layers_which_are_built_later():
    x = np.ones((3, 4), "float32")
    inner = minicnn.Sequential([Dense(3)])
    outer, other = minicnn.Sequential([inner, Dense(2)]), minicnn.Sequential([inner, Dense(5)])
    assert inner.predict(x).shape == (3, 3) and outer.predict(x).shape == (3, 2) and other.predict(x).shape == (3, 5)
    np.testing.assert_array_equal(Model(outer.inputs, outer.outputs).predict(x), outer.predict(x))


def test_layers_that_were_built_apart_must_fit():
    first, second = Dense(5), minicnn.Sequential([Input((4000,)), Dense(2)]).layers[0]
    model = minicnn.Sequential([first, second])
    minicnn.Sequential([Input((3,)), first])
    with pytest.raises(ValueError, match=r"already built for inputs of shape \(None, 4000\), received \(None, 5\)"):
        model.predict(np.ones((2, 3)))
    model = minicnn.Sequential([Dense(3, input_shape=(4,))])
    with pytest.raises(ValueError, match="already built"):
        model.add(minicnn.Sequential([layers.ReLU(), second]))
    assert len(model.layers) == 1 and model.output.shape == (None, 3)


def test_models_that_change_after_they_were_added():
    inner = Sequential([Dense(4), Dense(5)])
    outer = Sequential([Input((6,)), Dense(6), inner])
    inner.add(Dense(2))
    assert outer.pop() is inner and outer.chain == outer.layers and len(outer.chain) == 1
    model = Sequential([Input((6,)), Dense(6), Dense(6)])
    last = model.pop()
    model.add(layers.ReLU())
    model.add(last)
    assert Model(model.input, model.layers[-1].output).chain == model.chain
    nested = Sequential([Input((6,)), Sequential([Dense(4), Dense(5)]), Dense(2)])
    for again in (copy.deepcopy(nested), pickle.loads(pickle.dumps(nested))):
        assert Model(again.input, again.chain[0].output).chain == again.chain[:1]
        assert Model(again.input, again.output).chain == again.chain
    several = Model(nested.input, [nested.layers[0].layers[0].output, nested.output])
    with pytest.raises(
        ValueError, match="a model of several outputs, or of outputs by name, is asked what they give, and not added"
    ):
        Sequential([several, Dense(2)])


def test_models_within_models_are_frozen_and_popped_whole():
    base = Sequential([Input((4,)), Dense(3), Dense(3)], name="base")
    model = Sequential([base, Dense(2)])
    model.layers[0].trainable = False
    assert len(model.layers) == 2 and len(model.trainable_weights) == 2 and not base.layers[1].trainable
    assert model.pop().name.startswith("dense") and model.layers == [base] and model.output_shape == (None, 3)
    model.add(Dense(5))
    assert model.output_shape == (None, 5) and [type(one) for one in model.layers] == [Sequential, Dense]
    assert model.pop() and model.pop() is base and model.layers == [] and model.chain == []
    after = Sequential([Input((3,)), Dense(4), base])
    assert after.pop() is base and len(after.chain) == 1 and after.output.shape == (None, 4)


def test_a_model_within_a_model_is_frozen_as_one():
    inner = small()
    assert inner.trainable
    inner.trainable = False
    outer = minicnn.Sequential([inner, Dense(2)])
    outer.compile("sgd", "mse")
    before = inner.get_weights()
    outer.fit(X, np.zeros((len(X), 2)), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, inner.get_weights(), strict=True))
    assert len(outer.trainable_weights) == 2 and not inner.trainable and outer.trainable


def test_freezing_a_model_freezes_the_models_within_it_with_their_inputs():
    inner = minicnn.Sequential([minicnn.Input((3,)), Dense(3)])
    model = minicnn.Sequential([minicnn.Input((3,)), inner, Dense(3)])
    model.trainable = False
    assert not inner.trainable and not model.trainable_weights
    inner.trainable = True
    assert len(model.trainable_weights) == 2


def test_a_model_that_is_not_trainable_freezes_what_comes_later():
    model = Sequential(trainable=False)
    model.add(Input((4,)))
    model.add(Dense(2))
    assert not model.trainable and model.trainable_weights == []

    class Frozen(Model):
        def __init__(self):
            super().__init__(trainable=False)
            self.last = Dense(2)

        def call(self, x):
            return self.last(x)

    frozen = Frozen()
    frozen(np.ones((2, 4), "float32"))
    assert frozen.trainable_weights == [] and not frozen.trainable
    frozen.trainable = True
    assert len(frozen.trainable_weights) == 2
    assert not minicnn.models.clone_model(model).trainable


def test_a_name_that_a_layer_gave_itself_makes_way_for_one_that_is_there():
    minicnn.utils.clear_session()
    base = Sequential([Input((4,)), Dense(3)])
    minicnn.utils.clear_session()  # as in another process, which has loaded the base
    model = Sequential([base, Dense(2), Dense(2)])
    assert [layer.name for layer in model.chain] == ["dense", "dense_1", "dense_1_1"]
    assert [p.name for p in model.parameters][2] == "dense_1/kernel"
    with pytest.raises(ValueError, match="two layers of a model cannot both be named 'dense'"):
        Sequential([base, Dense(2, name="dense")])


def test_a_layer_of_two_models_keeps_its_name():
    shared = Dense(6)
    one = Sequential([shared, Dense(6, name=f"{shared.name}_1")])
    with pytest.raises(ValueError, match="two layers of a model cannot both be named"):
        Sequential([Dense(6, name=shared.name), shared])
    assert [layer.name for layer in one.layers] == [shared.name, f"{shared.name}_1"]
    minicnn.utils.clear_session()
    base = Sequential([Input((4,)), Dense(3), Dense(3)])
    minicnn.utils.clear_session()
    start = Input((4,))
    for model in (Model(start, Dense(2)(base(start))), Model(base.input, Dense(2)(base.output))):
        first, second, third = (layer.name for layer in model.chain)
        assert (first, second) == ("dense", "dense_1") and third in ("dense_2", "dense_1_1")

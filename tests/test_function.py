"""Lambda: a layer made of a function, against the function itself."""

import json

import numpy as np
import pytest

import minicnn
from minicnn import Dense, Input, Sequential, activations, layers

X = np.random.default_rng(0).standard_normal((24, 5, 4, 2)).astype("float32")
Y = np.arange(24) % 3
MEAN, DEVIATION = X.mean().astype(np.float32), X.std()


def standardize(x):
    return (x - MEAN) / DEVIATION


def cut(x, rows, factor=1.0):
    return x[:, :rows] * factor


def network(first, **options):
    minicnn.set_random_seed(1)
    model = minicnn.Sequential([first, layers.Flatten(), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", **options)
    return model


@pytest.mark.parametrize(
    "make, function",
    [
        (lambda **o: layers.Lambda(standardize, **o), standardize),
        (lambda **o: layers.Lambda(lambda x: x / np.float64(255), **o), lambda x: x / 255),
        (lambda **o: layers.Lambda(cut, arguments={"rows": 3, "factor": 2.0}, **o), lambda x: 2 * x[:, :3]),
        (lambda **o: layers.Lambda(lambda x: x.mean(axis=(1, 2)), **o), lambda x: x.mean(axis=(1, 2))),
        (lambda **o: layers.Lambda(np.square, **o), np.square),
        (lambda **o: layers.Lambda(lambda x: x[:, ::-1], (5, 4, 2), **o), lambda x: x[:, ::-1]),
        (lambda **o: layers.Lambda(lambda x: x + 1, lambda shape: shape, **o), lambda x: x + 1),
    ],
)
def test_what_it_computes(make, function):
    layer = make()
    np.testing.assert_allclose(layer(X), function(X), rtol=1e-6)
    assert layer(X).dtype == "float32" and layer.output_shape == (None, *function(X).shape[1:])
    assert layer(X.astype("float64")).dtype == "float64"
    found = []
    for eager in (False, True):
        model = network(make(input_shape=(5, 4, 2)), run_eagerly=eager)
        losses = model.fit(X, Y, batch_size=8, epochs=2, verbose=0).history["loss"]
        found.append([losses, model.predict(X), model.evaluate(X, Y), *model.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    expected = minicnn.Sequential(model.layers[1:]).predict(np.asarray(function(X), "float32"))
    np.testing.assert_allclose(found[0][1], expected, rtol=1e-5)


@pytest.mark.parametrize("eager", [False, True])
def test_a_function_that_writes_to_its_argument_changes_no_data(eager):
    def centred(x):
        x -= 1
        return x

    model, before = network(layers.Lambda(centred, input_shape=(5, 4, 2)), run_eagerly=eager), X.copy()
    model.fit(X, Y, verbose=0)
    model.predict(X)
    model(X)
    np.testing.assert_array_equal(X, before)


def test_it_is_told_of_training():
    layer = layers.Lambda(lambda x, training: x * 2 if training else x)
    np.testing.assert_array_equal(layer(X, training=True), 2 * X)
    np.testing.assert_array_equal(layer(X), X)


@pytest.mark.parametrize("eager", [False, True])
def test_nothing_before_it_is_trained(eager):
    model = network(layers.Conv2D(3, 2, input_shape=(5, 4, 2)), run_eagerly=eager)
    model = minicnn.Sequential([model.layers[0], layers.Lambda(np.cbrt, name="l"), *model.layers[1:2], layers.Dense(3)])
    model.compile("adam", "mse", run_eagerly=eager)
    for action in (lambda: model.fit(X, np.eye(3)[Y], verbose=0), lambda: model.train_on_batch(X, np.eye(3)[Y])):
        with pytest.raises(ValueError, match="layer l: the derivative of a Lambda is not known, so no layer before it"):
            action()
    assert model.optimizer.iterations == 0
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(X, np.eye(3)[Y], verbose=0)
    changed = [(one != other).any() for one, other in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]


def bent(x):
    return 2 - activations.relu(x / 4.0 + 0.5, negative_slope=0.1)


@pytest.mark.parametrize(
    "make, slope",
    [
        (lambda: layers.Lambda(bent), lambda x: np.where(x > -2, -0.25, -0.025)),
        (lambda: layers.Lambda(lambda x, by: by * x, arguments={"by": np.float32(3)}), lambda x: np.full(x.shape, 3.0)),
        (lambda: layers.Lambda(lambda x: layers.LeakyReLU(0.5)(x)), lambda x: np.where(x > 0, 1, 0.5)),
        (lambda: layers.Lambda(minicnn.ops.tanh), lambda x: 1 / np.cosh(x) ** 2),
        (lambda: layers.Lambda(lambda x: x), np.ones_like),
    ],
)
def test_a_function_that_puts_layers_one_behind_the_other_has_their_derivative(make, slope):
    layer, dy = make(), np.random.default_rng(2).standard_normal(X.shape)
    x = 4 * X.astype(float)
    np.testing.assert_allclose(layer(x), layer.function(x, **layer.arguments), rtol=1e-12)
    np.testing.assert_allclose(layer.backward(dy), dy * slope(x), rtol=1e-6, atol=1e-9)
    found = []
    for eager in (False, True):
        model = network(layers.Conv2D(3, 2, input_shape=(5, 4, 2)), run_eagerly=eager)
        model = minicnn.Sequential([model.layers[0], make(), *model.layers[1:]])
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=eager)
        before = model.get_weights()[0]
        model.fit(X, Y, epochs=2, verbose=0)
        assert (model.get_weights()[0] != before).all()
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "function",
    [
        np.cbrt,
        lambda x: np.asarray(x),
        lambda x: layers.PReLU()(x),
        lambda x: layers.Dropout(0.5)(x),
        lambda x: np.ones(x.shape),
    ],
)
def test_functions_without_a_known_derivative(function):
    layer = layers.Lambda(function)
    layer(X, training=True)
    with pytest.raises(ValueError, match="the derivative of a Lambda is not known"):
        layer.backward(X)


@pytest.mark.parametrize("name", ["m.safetensors", "m.keras"])
def test_files_keep_the_name_of_the_function(tmp_path, name):
    if name == "m.keras":
        pytest.importorskip("h5py")
    model = network(layers.Lambda(standardize, input_shape=(5, 4, 2), name="l"))
    model.layers[0].given_output_shape = lambda shape: shape
    model.save(tmp_path / name)
    again = minicnn.load_model(tmp_path / name, {"standardize": standardize})
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    with pytest.raises(
        ValueError, match=f"{name}: .*layer l: unknown function 'standardize'; pass it in custom_objects"
    ):
        minicnn.load_model(tmp_path / name)
    model = network(layers.Lambda(lambda x: x, input_shape=(5, 4, 2), name="l"))
    with pytest.raises(ValueError, match="layer l: a lambda has no name under which it could be saved: write"):
        model.save(tmp_path / "other")
    model.save_weights(tmp_path / "weights")
    model.load_weights(tmp_path / "weights")


def scaled(x, by):
    return x * by


def test_functions_are_cloned_and_their_arguments_saved(tmp_path):
    model = Sequential([Input((3,)), layers.Lambda(scaled, arguments={"by": np.float32(2)}), Dense(2)])
    assert minicnn.models.clone_model(model).layers[0].function is scaled
    for name in ("m.keras", "m.safetensors"):
        model.save(tmp_path / name)
        again = minicnn.load_model(tmp_path / name, {"scaled": scaled})
        np.testing.assert_array_equal(again.predict(X[:, 0, :3, 0]), model.predict(X[:, 0, :3, 0]))


def test_a_second_place_in_a_chain():
    one, start = layers.Lambda(lambda x: x + 1), layers.Input((3,))
    model = minicnn.Model(start, one(layers.ReLU()(one(start))))
    np.testing.assert_array_equal(model.predict(np.zeros((2, 3))), np.full((2, 3), 2))
    penalized = layers.Lambda(lambda x: x + 1, trainable=False, activity_regularizer="l2", dtype="float64")
    first, second = (penalized(layers.Dense(2)(penalized(layers.Input((3,))))).chain[at] for at in (1, 3))
    assert first is penalized and second is not penalized
    for name in ("trainable", "activity_regularizer", "dtype", "function"):
        assert getattr(second, name) is getattr(first, name)
    config = layers.Lambda(cut, arguments={"rows": 3}, name="c").get_config()
    assert json.loads(json.dumps(config))["arguments"] == {"rows": 3}


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: layers.Lambda("cut", name="l"), "layer l: unknown function 'cut'; pass it in custom_objects"),
        (lambda: layers.Lambda(cut, mask=1, name="l"), "layer l: mask is not offered here"),
        (lambda: layers.Lambda(cut, name="l").build((None, 3)), "layer l: the function fails for zeros of shape .*rows"),
        (lambda: layers.Lambda(np.mean, name="l").build((None, 3)), r"layer l: .* the batch axis, .* \(\) for \(2, 3\)"),
    ],
)  # fmt: skip
def test_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_derivative_is_needed_in_training_and_outside_of_it():
    layer = layers.Lambda(lambda x, training: x * 2 if training else np.cbrt(x))
    np.testing.assert_allclose(layer(X), np.cbrt(X), rtol=1e-6)
    np.testing.assert_array_equal(layer(X, training=True), 2 * X)
    with pytest.raises(ValueError, match="the derivative of a Lambda is not known.*np.cbrt is not known here"):
        layer.backward(X)

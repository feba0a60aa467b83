"""A saved model comes back whole: predictions to the bit, and training that goes on as if nothing had happened.

The file appears whole or not at all, and what is no saved model gets one clear sentence.
"""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minicnn
from minicnn import Sequential, layers, load_model
from minicnn.layers import Layer
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.optimizers import SGD, Adam, RMSprop
from minicnn.schedules import OneCycle

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((40, 6, 6, 1)).astype("float32")
Y = RANDOM.integers(0, 3, 40)


def network(optimizer="adam", with_input=True):
    model = Sequential([layers.Input((6, 6, 1))] if with_input else [], name="net")
    for layer in (
        layers.Rescaling(0.5),
        layers.ZeroPadding2D(1),
        layers.Conv2D(4, 3, strides=2, padding="same", kernel_initializer="he_normal"),
        layers.BatchNormalization(),
        layers.LeakyReLU(0.1),
        layers.Dropout(0.3),
        layers.Reshape((-1, 4)),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ):
        model.add(layer)
    model.compile(optimizer, SparseCategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"])
    return model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def assert_same(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("with_input", [True, False])
def test_predictions_are_the_same_bits(path, with_input):
    model = network(with_input=with_input)
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(path)
    again = load_model(path)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert_same(again, model)
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in model.layers]
    assert again.name == "net" and again.metrics == ["accuracy"] and again.loss.label_smoothing == 0.1
    assert again.evaluate(X, Y) == model.evaluate(X, Y)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(OneCycle(0.01, 40)),
        lambda: SGD(0.1, 0.9, True),
        lambda: RMSprop(centered=True, momentum=0.5),
        lambda: "adam",
    ],
    ids=["adam, one cycle", "sgd", "rmsprop", "by name"],
)
def test_training_goes_on_as_if_nothing_had_happened(path, make):
    """Moments, the step of the schedule, dropout masks and the order of the samples all continue."""
    model = network(make())
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    model.save(path)
    minicnn.set_random_seed(99)  # another program, another seed
    again = load_model(str(path))
    assert again.optimizer.iterations == model.optimizer.iterations == 6
    histories = [m.fit(X, Y, batch_size=16, epochs=4, initial_epoch=2, verbose=0).history for m in (model, again)]
    assert histories[0] == histories[1]
    assert_same(model, again)


def test_a_model_that_was_never_trained_or_compiled(path):
    model = Sequential([layers.Input((4,)), layers.Dense(2)])
    model.save(path)
    again = load_model(path)
    assert again.optimizer is None and again.loss is None
    np.testing.assert_array_equal(again.predict(X[:, 0, :4, 0]), model.predict(X[:, 0, :4, 0]))
    network().save(path)
    assert load_model(path).train_on_batch(X, Y)


def test_frozen_layers_and_float64_stay_what_they_are(path):
    model = Sequential([layers.Input((4,)), layers.Dense(3, trainable=False), layers.Dense(2, activation="softmax")])
    model.astype("float64")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(X[:, 0, :4, 0], Y % 2)
    model.save(path)
    again = load_model(path)
    assert not again.layers[0].trainable and again.predict(X[:, 0, :4, 0]).dtype == "float64"
    assert again.train_on_batch(X[:, 0, :4, 0], Y % 2) == model.train_on_batch(X[:, 0, :4, 0], Y % 2)
    assert_same(again, model)


def test_the_file_is_plain_safetensors(path):
    model = network()
    model.train_on_batch(X, Y)
    model.save(path)
    tensors = load_file(path)
    names = {parameter.name for parameter in model.parameters}
    assert set(tensors) == names | {"optimizer/m", "optimizer/v"}
    for parameter in model.parameters:
        np.testing.assert_array_equal(tensors[parameter.name], parameter.value)


# ---------------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize("failing", ["builtins.open", "os.fsync", "os.replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch, failing):
    network().save(path)
    before = path.read_bytes()

    def fail(*arguments, **named):
        raise OSError(28, "No space left on device")

    model = network()
    monkeypatch.setattr(failing, fail)
    with pytest.raises(ValueError, match=r"model.safetensors: .*\(no space left on device\)"):
        model.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="model.safetensors: the file cannot be written"):
        network().save(tmp_path / "missing" / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_saving_again_replaces_the_file(path):
    network().save(path)
    model = network()
    model.save(path)
    assert_same(load_model(path), model)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# ---------------------------------------------------------------------- what is no saved model


def edited(path, change):
    """Rewrites the file with a changed header and tensors."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()["minicnn"])
    tensors = dict(load_file(path))
    header = change(header, tensors) or header
    save_file(tensors, path, {"minicnn": header if isinstance(header, str) else json.dumps(header)})


def put(mapping, key, value):
    mapping[key] = value


def drop(tensors, end):
    del tensors[next(name for name in tensors if name.endswith(end))]


DAMAGES = {
    "no file": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "cut off in the header": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "text": lambda path: path.write_text("label,pixel0\n"),
    "another program's": lambda path: save_file({"w": np.zeros(3, "float32")}, path),
    "no JSON": lambda path: edited(path, lambda header, tensors: "{"),
    "an empty header": lambda path: edited(path, lambda header, tensors: "{}"),
    "a tensor is missing": lambda path: edited(path, lambda header, tensors: drop(tensors, "/kernel")),
    "the moments are missing": lambda path: edited(path, lambda header, tensors: drop(tensors, "optimizer/m")),
    "a tensor has another shape": lambda path: edited(
        path, lambda h, tensors: put(tensors, sorted(tensors)[0], np.zeros(99))
    ),
    "an unknown layer": lambda path: edited(path, lambda header, tensors: put(header["layers"][1], "class", "Conv9D")),
    "an unknown setting": lambda path: edited(
        path, lambda header, tensors: put(header["layers"][1]["config"], "speed", 9)
    ),
    "an unknown optimizer": lambda path: edited(
        path, lambda header, tensors: put(header["optimizer"], "name", "adamw")
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_and_foreign_files(path, damage):
    model = network()
    model.train_on_batch(X, Y)
    model.save(path)
    damage(path)
    with pytest.raises(ValueError, match="model.safetensors: ") as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_a_folder_is_not_a_model(tmp_path):
    with pytest.raises((ValueError, OSError), match=str(tmp_path)):
        load_model(tmp_path)


# ---------------------------------------------------------------------- layers of one's own


class Power(Layer):
    def __init__(self, exponent, **options):
        super().__init__(**options)
        self.exponent = exponent

    def build(self, input_shape):
        super().build(input_shape)
        self.factor = self.add_weight((input_shape[-1],), "random_uniform", name="factor")

    def forward(self, x, training=False):
        self.x = x
        return self.factor.value * x**self.exponent

    def backward(self, dy):
        self.factor.gradient = (dy * self.x**self.exponent).sum(axis=0)
        return dy * self.factor.value * self.exponent * self.x ** (self.exponent - 1)

    def get_config(self):
        return super().get_config() | {"exponent": self.exponent}


def test_layers_of_ones_own_come_back_through_custom_objects(path):
    model = Sequential([layers.Input((4,)), Power(2), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(X[:, 0, :4, 0], Y)
    model.save(path)
    with pytest.raises(ValueError, match="unknown layer class Power; pass it in custom_objects"):
        load_model(path)
    again = load_model(path, custom_objects={"Power": Power})
    assert again.layers[0].exponent == 2
    assert again.train_on_batch(X[:, 0, :4, 0], Y) == model.train_on_batch(X[:, 0, :4, 0], Y)
    assert_same(again, model)

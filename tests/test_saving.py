"""A saved model comes back whole: predictions to the bit, and training that goes on as if nothing had happened.

The file appears whole or not at all, and what is no saved model gets one clear sentence.
"""

import io
import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small import small, weights_equal

import minicnn
from minicnn import Dense, Sequential, layers, load_model
from minicnn.layers import Layer
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.optimizers import SGD, Adam, RMSprop
from minicnn.schedules import OneCycle

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((40, 6, 6, 1)).astype("float32")
Y = RANDOM.integers(0, 3, 40)


def network(optimizer="adam", with_input=True, label_smoothing=0.0):
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
    model.compile(optimizer, SparseCategoricalCrossentropy(label_smoothing=label_smoothing), metrics=["accuracy"])
    return model


@pytest.fixture
def plain(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture(params=["model.safetensors", "the model.keras"])
def path(request, tmp_path):
    if request.param.endswith(".keras"):
        pytest.importorskip("h5py")
    return tmp_path / request.param


def assert_same(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("with_input", [True, False])
def test_predictions_are_the_same_bits(path, with_input):
    smoothing = 0.0 if path.suffix == ".keras" else 0.1  # which Keras' loss does not have
    model = network(with_input=with_input, label_smoothing=smoothing)
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(path)
    again = load_model(path)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert_same(again, model)
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in model.layers]
    assert (
        again.name == "net" and again.metrics_names == ["loss", "accuracy"] and again.loss.label_smoothing == smoothing
    )
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


def test_the_file_is_plain_safetensors(plain):
    model = network()
    model.train_on_batch(X, Y)
    model.save(plain)
    tensors = load_file(plain)
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
    with pytest.raises(ValueError, match=rf"{path.name}: .*\(no space left on device\)"):
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
    "an unknown layer": lambda path: edited(
        path, lambda header, tensors: put(header["layers"][1], "class_name", "Conv9D")
    ),
    "a layer without a class": lambda path: edited(path, lambda h, tensors: drop(h["layers"][1], "class_name")),
    "an unknown setting": lambda path: edited(
        path, lambda header, tensors: put(header["layers"][1]["config"], "speed", 9)
    ),
    "an unknown optimizer": lambda path: edited(
        path, lambda header, tensors: put(header["optimizer"], "class_name", "adamw")
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_and_foreign_files(plain, damage):
    model = network()
    model.train_on_batch(X, Y)
    model.save(plain)
    damage(plain)
    with pytest.raises(ValueError, match="model.safetensors: ") as error:
        load_model(plain)
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


class Affine(Layer):
    """Two parameters for which it has no names."""

    def build(self, input_shape):
        super().build(input_shape)
        self.slope, self.start = self.add_weight(input_shape[1:], "ones"), self.add_weight(input_shape[1:], "zeros")

    def forward(self, x, training=False):
        return self.slope.value * x + self.start.value


def test_parameters_without_names_are_told_apart(path):
    model = Sequential([layers.Input((3,)), Affine()], name="net")
    model.save(path)
    again = load_model(path, custom_objects={"Affine": Affine})
    assert [array.tolist() for array in again.get_weights()] == [[1, 1, 1], [0, 0, 0]]
    model.set_weights([np.arange(3.0), np.arange(3, 6.0)])
    model.save_weights(path.with_name("w.safetensors"))
    again.load_weights(path.with_name("w.safetensors"))
    assert [array.tolist() for array in again.get_weights()] == [[0, 1, 2], [3, 4, 5]]


class Fourfold(minicnn.losses.MeanSquaredError):
    def terms(self, targets, y_pred, xp):
        losses, gradient = super().terms(targets, y_pred, xp)
        return 4 * losses, 4 * gradient


class Cubic(minicnn.losses.Loss):
    def __init__(self, scale=1.0, **options):
        super().__init__(**options)
        self.scale = scale

    def terms(self, targets, y_pred, xp):
        difference = y_pred - targets
        slope = 3 * self.scale * difference * abs(difference) / y_pred.shape[-1]
        return self.scale * (abs(difference) ** 3).mean(axis=-1), slope

    def get_config(self):
        return super().get_config() | {"scale": self.scale}


class Told(minicnn.losses.MeanAbsoluteError):
    """Its configuration is not what it is made with."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def get_config(self):
        return {"words": str(self.factor)}

    @classmethod
    def from_config(cls, config):
        return cls(float(config["words"]))


@pytest.mark.parametrize("loss", [Fourfold(), Cubic(0.5, name="cubic", reduction="sum"), Told(3.0)])
def test_a_loss_of_ones_own_comes_back_through_custom_objects(path, loss):
    model = Sequential([layers.Input((4,)), layers.Dense(3)], name="net")
    model.compile("sgd", loss)
    model.save(path)
    kind = type(loss)
    with pytest.raises(ValueError, match=f"{kind.__name__}.*custom_objects"):
        load_model(path)
    again = load_model(path, custom_objects={kind.__name__: kind})
    assert type(again.loss) is kind and again.loss.get_config() == loss.get_config()
    x, y = X[:, 0, :4, 0], X[:, 1, :3, 0]
    assert again.train_on_batch(x, y) == model.train_on_batch(x, y)
    assert_same(again, model)


def test_a_loss_as_older_files_have_it():
    loss = minicnn.losses.get({"name": "mean_squared_error", "config": {"reduction": "sum", "name": "mine"}})
    assert type(loss) is minicnn.losses.MeanSquaredError and loss.reduction == "sum"


def test_older_files_name_classes_by_other_keys(plain):
    model = network()
    model.compile(Adam(OneCycle(0.1, 10)), SparseCategoricalCrossentropy(), metrics=["accuracy"])
    model.save(plain)

    def rename(header, tensors):
        for layer in header["layers"]:
            layer["class"] = layer.pop("class_name")
            for setting in layer["config"].values():
                if isinstance(setting, dict) and "class_name" in setting:
                    setting["class"] = setting.pop("class_name")
        header["optimizer"]["name"] = header["optimizer"].pop("class_name").lower()
        rate = header["optimizer"]["config"]["learning_rate"]
        rate["schedule"] = rate.pop("class_name")

    edited(plain, rename)
    again = load_model(plain)
    assert type(again.optimizer) is Adam and type(again.optimizer._learning_rate) is OneCycle
    assert_same(again, model)


def test_numbers_of_numpy_among_the_settings(path):
    turned = layers.RandomRotation(np.float32(0.25))
    model = Sequential([layers.Input((8, 8, 1)), turned, layers.Conv2D(np.int64(2), np.int64(3)), layers.Flatten()])
    model.save(path)
    assert load_model(path).layers[0].factor == 0.25


def test_settings_that_cannot_be_written(path):
    class Odd(layers.ReLU):
        def get_config(self):
            return super().get_config() | {"table": np.zeros(3)}

    with pytest.raises(ValueError, match="a setting that is of the class ndarray cannot be saved"):
        Sequential([layers.Input((3,)), Odd()]).save(path)
    assert not path.exists()


def test_an_optimizer_schedule_and_loss_of_ones_own_in_a_file_for_keras(path):
    """Keras opens such a file too if it is given classes of these names."""

    class Slow(minicnn.schedules.LearningRateSchedule):
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, step):
            return self.rate / (1 + step)

    model = Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile(SGD(Slow(0.5), momentum=0.5), "sparse_categorical_crossentropy")
    model.train_on_batch(X[:, 0, :4, 0], Y)
    model.save(path)
    with pytest.raises(ValueError, match="Slow.*custom_objects"):
        load_model(path)
    again = load_model(path, custom_objects={"Slow": Slow})
    assert again.train_on_batch(X[:, 0, :4, 0], Y) == model.train_on_batch(X[:, 0, :4, 0], Y)
    assert_same(again, model)


def halves(shape, dtype=None):
    return np.full(shape, 0.5, dtype)


class Quarters(minicnn.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return np.full(shape, 0.25, dtype)


def test_initializers_and_metrics_of_ones_own(path):
    dense = layers.Dense(3, kernel_initializer=halves, bias_initializer=Quarters(), kernel_regularizer="l2")
    model = Sequential([layers.Input((4,)), dense])
    model.compile("sgd", "mse", metrics=[minicnn.metrics.TopKCategoricalAccuracy(k=2), "mae"])
    model.save(path)
    again = load_model(path)
    assert again.layers[0].get_config() == dense.get_config()
    assert again.evaluate(X[:, 0, :4, 0], X[:, 0, :3, 0]) == model.evaluate(X[:, 0, :4, 0], X[:, 0, :3, 0])


def test_a_model_that_was_loaded_is_saved_again(path):
    """With metrics that are objects, and softmax over several axes, which JSON calls a list."""
    model = Sequential([layers.Input((2, 2, 3)), layers.Softmax(axis=(1, 2))])
    model.compile("sgd", "mse", metrics=[minicnn.metrics.MeanAbsoluteError(name="off"), "mse"])
    x = RANDOM.random((4, 2, 2, 3)).astype("float32")
    for _ in range(2):
        model.save(path)
        again = load_model(path)
        np.testing.assert_array_equal(again.predict(x), model.predict(x))
        assert again.evaluate(x, x, return_dict=True) == model.evaluate(x, x, return_dict=True)
        model = again
    assert again.layers[0].axis == (1, 2) and layers.Softmax(axis=[1, 2]).axis == (1, 2)


def test_parameters_that_weight_decay_spares(path):
    model = network(minicnn.optimizers.AdamW(0.1, weight_decay=0.5))
    model.optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    model.train_on_batch(X, Y)
    model.save(path)
    again = load_model(path)
    for one in (model, again):
        one.fit(X, Y, epochs=2, verbose=0)
    assert_same(again, model)


# ---------------------------------------------------------------------- weights alone


@pytest.fixture(params=["w.weights.h5", "w.safetensors", "whole.keras", "whole.safetensors"])
def weights(request, tmp_path):
    """A trained model and a file with its weights."""
    if request.param.endswith((".h5", ".keras")):
        pytest.importorskip("h5py")
    model = network()
    model.train_on_batch(X, Y)
    path = tmp_path / request.param
    (model.save if "whole" in request.param else model.save_weights)(path)
    return model, path


def test_weights_go_into_another_model_of_the_same_layers(weights):
    model, path = weights
    other = network("sgd")
    other.load_weights(path)
    assert_same(other, model)
    assert other.optimizer.iterations == 0  # it had made no step


def test_weights_that_do_not_fit(weights):
    model, path = weights
    other = Sequential([layers.Input((6, 6, 1)), layers.ZeroPadding2D(1), layers.Conv2D(4, 3, strides=2, padding="same"),
                        layers.BatchNormalization(), layers.Flatten(), layers.Dense(5, name="head")])  # fmt: skip
    before = other.get_weights()
    with pytest.raises(ValueError, match=rf"{path.name}: layer head has parameters of shapes .*, the file has .*3"):
        other.load_weights(path)
    for a, b in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)  # all or none
    with pytest.warns(UserWarning, match="not loaded: layer head"):
        other.load_weights(path, skip_mismatch=True)
    for a, b in zip(other.get_weights(), [*model.get_weights()[:-2], *before[-2:]], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_that_was_not_built_cannot_take_weights(weights):
    with pytest.raises(ValueError, match="put an Input first"):
        network(with_input=False).load_weights(weights[1])


def test_an_optimizer_that_is_another_keeps_its_state(tmp_path):
    pytest.importorskip("h5py")
    models = network("adam"), network(SGD(0.1))
    for model in models:
        model.train_on_batch(X, Y)
    models[0].save_weights(tmp_path / "a.weights.h5")
    with pytest.warns(UserWarning, match="the optimizer sgd keeps 2 arrays, and the 14 in the file are not those"):
        models[1].load_weights(tmp_path / "a.weights.h5")
    assert_same(*models)
    assert models[1].optimizer.learning_rate == 0.1


def test_weights_and_models_are_not_taken_for_each_other(tmp_path):
    model = minicnn.Sequential([minicnn.Input((3,)), Dense(2)])
    with pytest.raises(ValueError, match=r"w\.keras: a \.keras file holds a model; weights alone are named"):
        model.save_weights(tmp_path / "w.keras")
    assert not (tmp_path / "w.keras").exists()
    minicnn.saving.save_weights(model, filepath=tmp_path / "w.safetensors", overwrite=True)
    minicnn.saving.load_weights(model, filepath=tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"w\.safetensors: it holds weights alone, for load_weights"):
        minicnn.load_model(tmp_path / "w.safetensors")
    (tmp_path / "old.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match=r"old\.h5: HDF5, Keras' older format, which is not read: save it in Keras as"):
        minicnn.load_model(tmp_path / "old.h5")


@pytest.mark.parametrize("name", ["model.safetensors", "model.keras"])
def test_files_with_the_arguments_of_keras(tmp_path, name):
    model, path = small(), tmp_path / name
    model.fit(X, Y, verbose=0)
    model.save(filepath=path, overwrite=False)
    with pytest.raises(ValueError, match=f"{name}: there is a file of this name, which is not to be written over"):
        model.save(path, overwrite=False)
    found = minicnn.load_model(path, compile=False)
    assert found.optimizer is None and found.loss is None and weights_equal(model, found)
    assert minicnn.load_model(filepath=path).optimizer.iterations == model.optimizer.iterations


def test_what_save_may_be_told(tmp_path):
    model = small()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras", include_optimizer=False)
    assert minicnn.load_model(tmp_path / "m.keras").optimizer is None and model.optimizer.iterations == 2
    with pytest.warns(UserWarning, match="save_format says nothing"):
        model.save(tmp_path / "m.safetensors", save_format="h5")
    for save, name in ((model.save, "m.h5"), (model.save_weights, "w.hdf5")):
        with pytest.warns(UserWarning, match=r"is written in the format of safetensors, whatever its name"):
            save(tmp_path / name)
    model.save_weights(tmp_path / "m.weights.h5")


# ---------------------------------------------------------------------- configurations


def test_a_model_from_its_configuration():
    model = network()
    again = minicnn.models.clone_model(model)
    assert [w.shape for w in again.get_weights()] == [w.shape for w in model.get_weights()]
    assert again.name == "net" and again.optimizer is None
    assert again.get_config() == model.get_config()
    assert minicnn.models.model_from_json(model.to_json()).metrics_names == ["loss", "accuracy"]


# ---------------------------------------------------------------------- models within models


class Doubled(Layer):
    def forward(self, x, training=False):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def blocks():
    """A block that moves images, and one with another in it and an `Input` of its own; frozen."""
    moved = Sequential([layers.RandomTranslation(0.1, 0.1), layers.RandomRotation(0.1)], name="moved")
    deepest = Sequential([layers.BatchNormalization(), Doubled(), layers.ReLU()], name="deepest")
    base = Sequential([layers.Input((6, 6, 1)), layers.Conv2D(4, 3), deepest], name="base")
    base.trainable = False
    return moved, base


def in_a_sequence():
    start = layers.Input((4, 4, 4))
    head = minicnn.Model(start, layers.Dropout(0.5)(layers.Flatten()(start), training=True), name="head")
    return Sequential([layers.Input((6, 6, 1)), *blocks(), head, layers.Dense(3, activation="softmax")], name="net")


def first_in_a_sequence():
    return Sequential([blocks()[1], layers.Flatten(), layers.Dense(3, activation="softmax")], name="net")


def of_tensors():
    x, (moved, base) = layers.Input((6, 6, 1)), blocks()
    features = layers.Flatten()(base(moved(x, training=True), training=False))
    return minicnn.Model(x, layers.Dense(3, activation="softmax")(features), name="net")


def structure(model):
    """Class, name and whether it is trained, of all layers and models."""
    return [
        (type(one), one.name, one.trainable or not one.get_weights(), structure(one) if hasattr(one, "layers") else [])
        for one in model.layers
    ]


def file_named(name):
    def back(model, folder):
        model.save(folder / name)
        return load_model(folder / name, custom_objects={"Doubled": Doubled})

    return back


def like(layer):
    return type(layer).from_config(layer.get_config())


WAYS = {
    "safetensors": file_named("m.safetensors"),
    "keras": file_named("m.keras"),
    "json": lambda model, _: minicnn.models.model_from_json(model.to_json(), {"Doubled": Doubled}),
    "config": lambda model, _: type(model).from_config(model.get_config(), {"Doubled": Doubled}),
    "clone": lambda model, _: minicnn.models.clone_model(model, custom_objects={"Doubled": Doubled}),
    "clone layer by layer": lambda model, _: minicnn.models.clone_model(model, clone_function=like),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [in_a_sequence, first_in_a_sequence, of_tensors])
def test_models_within_a_model_come_back(tmp_path, make, way):
    if way == "keras":
        pytest.importorskip("h5py")
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(X, Y)
    again = WAYS[way](model, tmp_path)
    assert type(again) is type(model) and again.name == "net" and structure(again) == structure(model)
    assert again._modes == model._modes and again.get_layer("base").trainable is False
    assert [one.name for one in again.get_layer("base").get_layer("deepest").layers] == [
        one.name for one in model.get_layer("base").get_layer("deepest").layers
    ]
    assert again.get_layer("base").output_shape == (None, 4, 4, 4)
    if way in ("safetensors", "keras"):
        assert again.train_on_batch(X, Y) == model.train_on_batch(X, Y)
        assert_same(again, model)
    again.set_weights(model.get_weights())
    for one, other in zip(again.get_layer("base").get_weights(), model.get_layer("base").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    again.get_layer("base").trainable = True
    assert len(again.trainable_weights) == len(model.trainable_weights) + 4


def test_frozen_layers_in_a_block_that_is_trained(tmp_path, path):
    model = first_in_a_sequence()
    model.get_layer("base").get_layer("deepest").trainable = True
    model.save(path)
    again = load_model(path, {"Doubled": Doubled})
    assert [one.trainable for one in again.get_layer("base").layers] == [False, True]
    assert len(again.trainable_weights) == len(model.trainable_weights) == 4


def test_the_weights_of_a_file_of_single_layers_fit_models_within_a_model(path):
    """As all files were before; what is made of single layers is described as it was then."""
    model = first_in_a_sequence()
    flat = Sequential([layers.Input((6, 6, 1)), *(like(layer) for layer in model.chain)], name="net")
    flat.save(path)
    model.load_weights(path)
    assert_same(model, flat)
    again = load_model(path, {"Doubled": Doubled})
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.chain]


class Parted(minicnn.Model):
    def __init__(self):
        super().__init__(name="parted")
        self.features, self.last = Sequential([layers.Flatten(), layers.Dense(4)], name="features"), layers.Dense(3)

    def call(self, x):
        return self.last(self.features(x))


def changed():
    model = Sequential([layers.Input((6, 6, 1)), Sequential([layers.Flatten(), layers.Dense(3)])])
    model.layers[0].add(layers.Dense(2))
    return model


def twice():
    pool = Sequential([layers.Input((6, 6, 1)), layers.MaxPooling2D(2, strides=1, padding="same")])
    return Sequential([layers.Input((6, 6, 1)), pool, pool, layers.Flatten(), layers.Dense(3)])


def of_a_class():
    return Sequential([layers.Input((6, 6, 1)), Parted(), layers.Softmax()])


@pytest.mark.parametrize("make", [changed, twice, of_a_class, Parted])
def test_what_is_no_longer_one_model_comes_back_as_layers(path, make):
    """Changed after it was added, in a second place, of a class of one's own; one that such a class calls stays."""
    model = make()
    expected = model.predict(X, verbose=0)
    model.save(path)
    again = load_model(path)
    np.testing.assert_array_equal(again.predict(X, verbose=0), expected)
    assert len(again.chain) == len(model.chain)
    kept = {twice: model.layers[:1], Parted: [m for m in model.layers if m.name == "features"]}.get(make, [])
    assert [one.name for one in again.layers if isinstance(one, Sequential)] == [one.name for one in kept]


def test_keras_tells_models_apart_by_name(tmp_path, plain):
    named = [Sequential([layers.Flatten()], name="block"), Sequential([layers.Dense(3)], name="block")]
    model = Sequential([layers.Input((6, 6, 1)), *named])
    with pytest.raises(ValueError, match="Keras allows no two layers or models .* but two are named 'block'"):
        model.save(tmp_path / "m.keras")
    model.save(plain)
    assert [one.name for one in load_model(plain).layers] == ["block", "block"]


def test_an_unknown_class_within_a_block(tmp_path, plain):
    pytest.importorskip("h5py")
    for name, message in (("m.keras", "layer base: layer deepest: layer doubled"), ("m.safetensors", "unknown layer")):
        first_in_a_sequence().save(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name}: the model cannot be restored: {message}.* Doubled") as error:
            load_model(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("depth", [300, 3000])
def test_models_within_models_without_end(plain, depth):
    """Deeper than Python calls functions, and than it reads JSON."""
    layer, model = '{"class_name": "Flatten", "config": {}}', '{"name": "m", "input_shape": [null, 2], "layers": [%s]}'
    for _ in range(depth):
        layer = '{"class_name": "Sequential", "config": %s}' % (model % layer)
    save_file({}, plain, {"minicnn": model % layer})
    with pytest.raises(ValueError, match=f"{plain}: the .*recursion"):
        load_model(plain)


# ---------------------------------------------------------------------- files for Keras that are damaged or foreign


def repacked(path, change):
    """Rewrites a `.keras` file whose parts, by name, `change` has changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def configured(path, change):
    def edit(parts):
        config = json.loads(parts["config.json"])
        change(config)
        parts["config.json"] = json.dumps(config)

    repacked(path, edit)


def stored(path, change):
    def edit(parts):
        import h5py

        buffer = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(buffer, "r+") as file:
            change(file, h5py)
        parts["model.weights.h5"] = buffer.getvalue()

    repacked(path, edit)


def moved(file, h5py, link):
    del file["layers/conv2d/vars/0"]
    file["layers/conv2d/vars/0"] = link


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def entry(config, number):
    return config["config"]["layers"][number]


FOREIGN = {
    "no file": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "text": lambda path: path.write_text("label,pixel0\n"),
    "a flipped byte": flip,
    "another zip": lambda path: repacked(path, lambda parts: parts.pop("config.json")),
    "no weights": lambda path: repacked(path, lambda parts: parts.pop("model.weights.h5")),
    "weights that are none": lambda path: repacked(path, lambda parts: put(parts, "model.weights.h5", b"weights")),
    "weights cut off": lambda path: repacked(
        path, lambda parts: put(parts, "model.weights.h5", parts["model.weights.h5"][:3000])
    ),
    "no JSON": lambda path: repacked(path, lambda parts: put(parts, "config.json", "{")),
    "other JSON": lambda path: repacked(path, lambda parts: put(parts, "config.json", "[1]")),
    "no layers": lambda path: configured(path, lambda config: config["config"].pop("layers")),
    "layers that are none": lambda path: configured(path, lambda config: put(config["config"], "layers", [7])),
    "another class": lambda path: configured(path, lambda config: put(config, "class_name", "MyModel")),
    "an unknown layer": lambda path: configured(path, lambda config: put(entry(config, 3), "class_name", "Conv9D")),
    "no layer but code": lambda path: configured(path, lambda config: put(entry(config, 3), "class_name", "Any")),
    "an unknown setting": lambda path: configured(path, lambda config: put(entry(config, 3)["config"], "speed", 9)),
    "a setting that is wrong": lambda path: configured(
        path, lambda config: put(entry(config, 3)["config"], "filters", "many")
    ),
    "an activation that is code": lambda path: configured(
        path,
        lambda config: put(
            entry(config, 3)["config"],
            "activation",
            {"module": "builtins", "class_name": "__lambda__", "config": {"code": "AA=="}},
        ),
    ),
    "an unknown optimizer": lambda path: configured(
        path, lambda config: put(config["compile_config"]["optimizer"], "class_name", "Lamb")
    ),
    "several losses": lambda path: configured(path, lambda config: put(config["compile_config"], "loss", ["mse"])),
    "an array is missing": lambda path: stored(path, lambda file, h5py: file.pop("layers/conv2d/vars/1")),
    "a layer is missing": lambda path: stored(path, lambda file, h5py: file.pop("layers/dense")),
    "an array of another shape": lambda path: stored(path, lambda file, h5py: moved(file, h5py, np.zeros(5))),
    "an array of words": lambda path: stored(path, lambda file, h5py: moved(file, h5py, b"words")),
    "an array in another file": lambda path: stored(
        path, lambda file, h5py: moved(file, h5py, h5py.ExternalLink("/etc/passwd", "/"))
    ),
    "a link to nowhere": lambda path: stored(path, lambda file, h5py: moved(file, h5py, h5py.SoftLink("/nowhere"))),
    "moments are missing": lambda path: stored(path, lambda file, h5py: file.pop("optimizer/vars/5")),
}


@pytest.mark.parametrize("damage", FOREIGN.values(), ids=FOREIGN)
def test_files_for_keras_that_are_damaged_or_foreign(tmp_path, damage):
    pytest.importorskip("h5py")
    path = tmp_path / "model.keras"
    model = network()
    model.train_on_batch(X, Y)
    model.save(path)
    damage(path)
    with pytest.raises(ValueError, match="model.keras: ") as error:
        load_model(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("keep", [0, 50, 3000])
def test_weights_that_are_damaged(tmp_path, keep):
    pytest.importorskip("h5py")
    path = tmp_path / "m.weights.h5"
    model = network()
    model.save_weights(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="m.weights.h5: the file is damaged, or not of the format HDF5") as error:
        model.load_weights(path)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="nowhere.weights.h5: expected a file, but there is none"):
        model.load_weights(tmp_path / "nowhere.weights.h5")


def test_a_file_that_does_not_exist_is_not_found(tmp_path):
    """By scripts that try to go on with what an earlier run has saved: `except OSError`."""
    pytest.importorskip("h5py")
    for load, names in (
        (minicnn.load_model, ["m.keras", "m.safetensors"]),
        (network().load_weights, ["m.keras", "m.safetensors", "m.weights.h5"]),
    ):
        for name in names:
            with pytest.raises(FileNotFoundError, match=f"{name}: ") as error:
                load(tmp_path / name)
            assert isinstance(error.value, minicnn.data.DataError) and "\n" not in str(error.value)


def test_weights_with_wrong_bytes_are_read_or_refused(tmp_path):
    pytest.importorskip("h5py")
    path = tmp_path / "m.weights.h5"
    model = network()
    model.save_weights(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        damaged = whole.copy()
        damaged[random.integers(0, len(whole), 10)] = random.integers(0, 256, 10)
        path.write_bytes(damaged.tobytes())
        try:
            model.load_weights(path)
        except ValueError as error:
            assert "m.weights.h5: " in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 30


def test_a_small_file_that_would_fill_the_memory(tmp_path):
    pytest.importorskip("h5py")
    path = tmp_path / "m.keras"
    network().save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (parts | {"config.json": b" " * 50_000_000}).items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"m.keras: the file is damaged: \d+ bytes cannot hold 500\d+"):
        load_model(path)


def test_optimizers_of_keras_on_pytorch_are_the_same(tmp_path):
    """There Keras writes the module that has their code for this backend."""
    pytest.importorskip("h5py")
    model = network()
    model.train_on_batch(X, Y)
    model.save(tmp_path / "m.keras")

    def as_on_pytorch(config):
        optimizer = config["compile_config"]["optimizer"]
        name = optimizer["class_name"]
        optimizer |= {"module": f"keras.src.backend.torch.optimizers.torch_{name.lower()}", "registered_name": name}

    configured(tmp_path / "m.keras", as_on_pytorch)
    loaded = load_model(tmp_path / "m.keras")
    assert (type(loaded.optimizer), loaded.optimizer.iterations) == (type(model.optimizer), 1)
    assert loaded.train_on_batch(X, Y) == model.train_on_batch(X, Y)


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    """Neither pickle nor an import of what the file names."""
    pytest.importorskip("h5py")
    path = tmp_path / "m.keras"
    network().save(path)

    def spoil(config):
        for layer in config["config"]["layers"]:
            layer["module"], layer["registered_name"] = "evil_module", "Evil>Layer"
        config["compile_config"]["loss"] = {"module": "os", "class_name": "system", "config": {"command": "exit 1"}}

    configured(path, spoil)
    (tmp_path / "evil_module.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pickle, "loads", lambda *arguments: pytest.fail("unpickled"))
    with pytest.raises(ValueError, match="unknown class os.system"):
        load_model(path)
    assert "evil_module" not in sys.modules


def test_without_h5py_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        network().save(tmp_path / "m.keras")
    with pytest.raises(ImportError, match="pip install h5py"):
        network().save_weights(tmp_path / "m.weights.h5")
    assert list(tmp_path.iterdir()) == []


def test_three_lines_in_another_process(path):
    model = network()
    model.train_on_batch(X, Y)
    model.save(path)
    folder = path.parent
    np.save(folder / "x.npy", X)
    script = (
        "import sys, numpy, minicnn\n"
        "model = minicnn.load_model(sys.argv[1])\n"
        "numpy.save('y.npy', model.predict(numpy.load('x.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, cwd=folder)
    np.testing.assert_array_equal(np.load(folder / "y.npy"), model.predict(X))


def test_an_optimizer_that_was_built_takes_over_its_state_before_its_first_step(tmp_path):
    pytest.importorskip("h5py")
    trained, without, built = network("adam"), network("adam"), network("adam")
    trained.train_on_batch(X, Y)
    trained.save_weights(tmp_path / "a.weights.h5")
    built.optimizer.build(built.trainable_variables)
    for model in (without, built):
        model.load_weights(tmp_path / "a.weights.h5")
    for ours, theirs in zip(built.optimizer.variables, trained.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (built.optimizer.iterations, without.optimizer.iterations) == (1, 0)


def test_save_model_takes_what_save_does(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.warns(UserWarning, match="save_format says nothing"):
        minicnn.models.save_model(network(), path, overwrite=True, include_optimizer=False, save_format="h5")
    assert minicnn.models.load_model(path).optimizer is None

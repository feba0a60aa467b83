"""A model of minicnn opens in Keras 3 and goes on to train there, and the other way round."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import minicnn
from minicnn import layers
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.optimizers import schedules

pytestmark = pytest.mark.parity
h5py = pytest.importorskip("h5py")

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((48, 8, 8, 2)).astype("float32")
Y = RANDOM.integers(0, 3, 48)
OPTIONS = {"batch_size": 16, "epochs": 1, "shuffle": False, "verbose": 0}


def everything(layers):
    """A layer of every kind that both have; those that are random do nothing, so that both train alike."""
    return [
        layers.Input((8, 8, 2), name="the input"),
        layers.RandomTranslation((0.0, 0.0), (0.0, 0.0), name="moved"),
        layers.RandomRotation((0.0, 0.0), fill_mode="constant", fill_value=0.5),
        layers.RandomZoom((0.0, 0.0)),
        layers.Rescaling(0.5, offset=0.1),
        layers.RandomBrightness((0.0, 0.0), (-9.0, 9.0)),
        layers.RandomContrast((0.0, 0.0), (-9.0, 9.0)),
        layers.Resizing(6, 7, "nearest", True),
        layers.Resizing(5, 5, pad_to_aspect_ratio=True, fill_value=0.5, antialias=True),
        layers.UpSampling2D((2, 2), interpolation="bilinear"),
        layers.CenterCrop(8, 8),
        layers.Cropping2D(0),
        layers.Identity(),
        layers.ActivityRegularization(0.001, 0.002),
        layers.Permute((2, 1, 3)),
        layers.ZeroPadding2D(((1, 0), (0, 1))),
        layers.GaussianNoise(0.0),
        layers.AlphaDropout(0.0),
        layers.GaussianDropout(0.0),
        layers.LayerNormalization([1, 3], epsilon=0.1),
        layers.GroupNormalization(2, beta_initializer="ones"),
        layers.UnitNormalization([1, 2]),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", kernel_initializer="he_normal"),
        layers.BatchNormalization(momentum=0.9),
        layers.Conv2D(6, (3, 2), dilation_rate=2, padding="same", use_bias=False, kernel_regularizer="l2", name="a b"),
        layers.DepthwiseConv2D(
            3, padding="same", depth_multiplier=2, depthwise_initializer="he_normal", activation="relu"
        ),
        layers.SeparableConv2D(6, 2, padding="same", depthwise_regularizer="l2", pointwise_constraint="unit_norm"),
        layers.Conv2DTranspose(
            5, (3, 2), 2, "same", (0, 1), kernel_initializer="he_normal", kernel_regularizer="l2", name="up"
        ),
        layers.PReLU(shared_axes=[1, 2]),
        layers.SpatialDropout2D(0.0),
        layers.MaxPooling2D(2, strides=1),
        layers.AveragePooling2D((2, 1), padding="same"),
        layers.ReLU(max_value=4.0, negative_slope=0.1),
        layers.BatchNormalization(scale=False, epsilon=0.01),
        layers.LeakyReLU(0.2),
        layers.ELU(),
        layers.Activation("tanh"),
        layers.Flatten(),
        layers.Reshape((4, -1)),
        layers.Dense(5, activation="selu", bias_initializer="ones"),
        layers.Flatten(),
        layers.Dropout(0.0),
        layers.Dense(3),
        layers.Softmax(),
    ]


def small(layers):
    return [
        layers.Input((8, 8, 2)),
        layers.Conv2D(3, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5, activation="tanh"),
        layers.Dense(3, activation="softmax"),
    ]


def largest(layers):
    return [
        layers.Input((8, 8, 2)),
        layers.GlobalMaxPooling2D(keepdims=True),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]


def adapted(layers):
    """Statistics of data, and activation layers."""
    first, second = layers.Normalization(axis=(1, 3)), layers.Normalization(None, invert=True)
    for layer in (first, second):
        layer.adapt(2 + X)
    return [
        layers.Input((8, 8, 2)),
        first,
        layers.Normalization(mean=[0.1, 0.2], variance=[0.5, 2.0]),
        second,
        layers.Conv2D(3, 3, activation=layers.LeakyReLU(0.2)),
        layers.Activation(layers.ReLU(max_value=3.0)),
        layers.Flatten(),
        layers.Dense(4, activation=layers.ELU(0.5)),
        layers.Dense(3, activation=layers.Softmax()),
    ]


def doubled(x, factor=2.0):
    return factor * x


def test_functions_are_looked_up_by_their_names(keras, tmp_path):
    def network(k):
        return k.Sequential(
            [k.layers.Input((4,)), k.layers.Lambda(doubled, arguments={"factor": 3.0}, name="l"), k.layers.ReLU()]
        )

    x = RANDOM.standard_normal((5, 4)).astype("float32")
    network(minicnn).save(tmp_path / "ours.keras")
    network(keras).save(tmp_path / "theirs.keras")
    for name in ("ours.keras", "theirs.keras"):
        for k in (minicnn, keras):
            model = k.models.load_model(tmp_path / name, custom_objects={"doubled": doubled})
            np.testing.assert_allclose(model.predict(x, verbose=0), np.maximum(3 * x, 0), rtol=1e-6)


def cubed(y_true, y_pred):
    return abs(y_true - y_pred) ** 3


def squashed(x):
    return x / (1 + abs(x))


def absolute(w):
    return 0.01 * abs(w).sum()


def test_functions_that_calculate_are_looked_up_by_their_names(keras, tmp_path):
    mine = {"cubed": cubed, "squashed": squashed, "absolute": absolute}
    x, y = RANDOM.standard_normal((5, 4)).astype("float32"), RANDOM.standard_normal((5, 2)).astype("float32")
    for k, name in ((minicnn, "ours.keras"), (keras, "theirs.keras"), (minicnn, "ours.safetensors")):
        model = k.Sequential([k.Input((4,)), k.layers.Dense(2, activation=squashed, kernel_regularizer=absolute)])
        model.compile("sgd", cubed)
        expected = model.predict(x, verbose=0), model.evaluate(x, y, verbose=0)
        model.save(tmp_path / name)
        for other in (minicnn, keras)[: 1 + name.endswith(".keras")]:
            again = other.models.load_model(tmp_path / name, custom_objects=mine)
            np.testing.assert_allclose(again.predict(x, verbose=0), expected[0], rtol=1e-5, atol=1e-6)
            assert again.evaluate(x, y, verbose=0) == pytest.approx(expected[1], rel=1e-5)
            again.fit(x, y, verbose=0)
        with pytest.raises(ValueError, match="cannot be restored: .*unknown .*(squashed|cubed|absolute)"):
            minicnn.load_model(tmp_path / name)
    with pytest.raises(ValueError, match="an activation without a name cannot be saved"):
        minicnn.Sequential([minicnn.Input((4,)), minicnn.Dense(2, activation=lambda x: x * x)]).save(
            tmp_path / "m.keras"
        )


def test_every_layer_is_in_one_of_the_models():
    used = {type(layer).__name__ for make in (everything, small, largest, adapted) for layer in make(layers)}
    drawn = {type(layer).__name__ for layer in augmentations(layers)}
    ours = {"MomentNormalization", "RandomAffine", "RandomGaussianNoise", "Lambda"}
    kinds = {getattr(layers, name) for name in layers.__all__}  # without what stands for those that are not here
    assert used | drawn | ours | {"Layer"} == {
        kind.__name__ for kind in kinds if isinstance(kind, type) and issubclass(kind, layers.Layer)
    }


def augmentations(layers):
    """What Keras does not do to nothing, even where nothing is to be done."""
    return [
        layers.RandomShear(0.2, 0.1, fill_mode="constant"),
        layers.RandomFlip("vertical"),
        layers.RandomElasticTransform((0.0, 0.5), scale=(0.0, 0.5)),
        layers.RandomErasing((0.1, 0.2), (0.1, 0.3), 0.5, value_range=(0, 1)),
        layers.RandomGaussianBlur((0.0, 0.5), (3, 5), (0.0, 0.5)),
    ]


NOT_COMPARED = (
    "name",
    "seed",
    "dtype",
    "x_factor",
    "y_factor",
)  # of a shear Keras notes both ends, which it refuses itself


def test_augmentations_are_those_of_keras_on_disk(keras, tmp_path):
    ours = minicnn.Sequential([layers.Input((8, 8, 2)), *augmentations(layers)])
    ours.save(tmp_path / "ours.keras")
    theirs = keras.Sequential([keras.layers.Input((8, 8, 2)), *augmentations(keras.layers)])
    theirs.save(tmp_path / "theirs.keras")
    for one, other in (
        (keras.saving.load_model(tmp_path / "ours.keras"), theirs),
        (minicnn.load_model(tmp_path / "theirs.keras"), ours),
    ):
        for a, b in zip(one.layers, other.layers, strict=True):
            mine = {name: value for name, value in a.get_config().items() if name not in NOT_COMPARED}
            assert {name: np.ravel(b.get_config()[name]).tolist() for name in mine} == {
                name: np.ravel(value).tolist() for name, value in mine.items()
            }


def same(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()))


def train(model):
    model.fit(X, Y, **OPTIONS)
    model.optimizer.finalize_variable_values(getattr(model, "trainable_parameters", None) or model.trainable_variables)


def assert_same_training(ours, theirs, then=None):
    """Predictions are equal, and so are the weights after one more epoch in each; then Keras' model is saved there."""
    same(ours.predict(X), theirs.predict(X, verbose=0))
    assert ours.optimizer.iterations == int(theirs.optimizer.iterations)
    train(ours)
    train(theirs)
    if then is not None:
        theirs.save(then)  # Keras cannot do so after evaluate, with use_ema on JAX
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        same(a, b, 1e-4)
    same(ours.evaluate(X, Y, verbose=0), theirs.evaluate(X, Y, verbose=0), 1e-4)


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("make", [everything, small, largest, adapted])
def test_a_model_of_ours_in_keras(keras, tmp_path, make, functional):
    ours = minicnn.Sequential(make(layers), name="my net")
    if functional:
        ours = minicnn.Model(ours.input, ours.output, name="my net")
    ours.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    ours.fit(X, Y, **OPTIONS)
    ours.save(tmp_path / "m.keras")
    theirs = keras.models.load_model(tmp_path / "m.keras")
    assert isinstance(theirs, keras.Sequential) is not functional
    assert theirs.name == "my net" and [a.name for a in theirs.layers] == [a.name for a in ours.layers]
    assert_same_training(ours, theirs)
    assert len(theirs.evaluate(X, Y, verbose=0)) == 2


@pytest.mark.parametrize("make", [everything, small, largest, adapted])
@pytest.mark.parametrize("functional", [False, True])
def test_a_model_of_keras_in_ours(keras, tmp_path, make, functional):
    if functional:
        first, *rest = make(keras.layers)
        tensor = first
        for layer in rest:
            tensor = layer(tensor)
        theirs = keras.Model(first, tensor, name="chain")
    else:
        theirs = keras.Sequential(make(keras.layers))
    theirs.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    theirs.fit(X, Y, **OPTIONS)
    theirs.save(tmp_path / "m.keras")
    ours = minicnn.load_model(tmp_path / "m.keras")
    assert ours.name == theirs.name and type(ours) is (minicnn.Model if functional else minicnn.Sequential)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert_same_training(ours, theirs)


def test_training_in_calls_is_saved_both_ways(keras, tmp_path):
    """`layer(x, training=…)`: Keras 3 minds it where the model itself is called without saying whether it trains."""

    def network(k):
        x = k.layers.Input((8, 8, 2))
        y = k.layers.Dropout(0.5, name="on")(k.layers.Flatten()(x), training=True)
        return k.Model(x, k.layers.Dropout(0.5, name="off")(y, training=False))

    def dropped(model):
        return (np.asarray(model(np.ones((9, 8, 8, 2), "float32"))) == 0).mean()

    for first, second in ((minicnn, keras), (keras, minicnn)):
        network(first).save(tmp_path / "m.keras")
        model = second.models.load_model(tmp_path / "m.keras")
        assert 0.4 < dropped(network(first)) < 0.6 and 0.4 < dropped(model) < 0.6
        model.save(tmp_path / "again.keras")
        configs = [json.loads(zipfile.ZipFile(tmp_path / n).read("config.json")) for n in ("m.keras", "again.keras")]
        modes = [
            {
                layer["name"]: node["kwargs"].get("training")
                for layer in c["config"]["layers"]
                for node in layer["inbound_nodes"]
            }
            for c in configs
        ]
        assert modes[0]["on"] is True and modes[0]["off"] is False
        if first is keras:
            modes[0]["off"] = None  # Keras writes False where nothing was said, too
        assert modes[0] == modes[1]


OPTIMIZERS = {
    "SGD": {},
    "SGD with momentum": {"momentum": 0.9, "nesterov": True, "clipnorm": 0.1},
    "RMSprop": {},
    "RMSprop, all": {"momentum": 0.5, "centered": True},
    "Adam": {"learning_rate": 0.003, "amsgrad": True, "use_ema": True, "ema_momentum": 0.5},
    "AdamW": {"weight_decay": 0.1, "global_clipnorm": 0.5},
    "Nadam": {"beta_1": 0.8},
    "Adamax": {},
    "Adadelta": {"learning_rate": 1.0},
    "Ftrl": {"learning_rate": 0.1, "l2_regularization_strength": 0.1},
    "Lion": {"beta_2": 0.9},
    "Adagrad": {"clipvalue": 0.01, "initial_accumulator_value": 0.2},
}
SCHEDULES = {
    "CosineDecay": {"initial_learning_rate": 0.0, "decay_steps": 20, "warmup_target": 0.01, "warmup_steps": 4},
    "CosineDecayRestarts": {"initial_learning_rate": 0.01, "first_decay_steps": 2},
    "ExponentialDecay": {"initial_learning_rate": 0.01, "decay_steps": 2, "decay_rate": 0.5, "staircase": True},
    "InverseTimeDecay": {"initial_learning_rate": 0.01, "decay_steps": 2, "decay_rate": 0.5},
    "PiecewiseConstantDecay": {"boundaries": [2, 4], "values": [0.01, 0.005, 0.001]},
    "PolynomialDecay": {"initial_learning_rate": 0.01, "decay_steps": 8, "cycle": True},
}


def compiled(make, optimizers, schedules):
    name = make.split()[0].rstrip(",")
    if name in SCHEDULES:
        return optimizers.Adam(getattr(schedules, name)(**SCHEDULES[name]))
    return getattr(optimizers, name)(**OPTIMIZERS[make])


@pytest.mark.parametrize("make", [*OPTIMIZERS, *SCHEDULES])
def test_every_optimizer_and_schedule_goes_on_both_ways(keras, tmp_path, make):
    loss = "sparse_categorical_crossentropy"
    ours = minicnn.Sequential(small(layers))
    ours.compile(compiled(make, minicnn.optimizers, schedules), loss)
    train(ours)
    ours.save(tmp_path / "m.keras")
    assert_same_training(ours, keras.models.load_model(tmp_path / "m.keras"), tmp_path / "k.keras")
    again = minicnn.load_model(tmp_path / "k.keras")
    assert type(again.optimizer) is type(ours.optimizer)
    assert_same_training(again, keras.models.load_model(tmp_path / "k.keras"))


@pytest.mark.parametrize(
    ("loss", "metric", "targets"),
    [
        ("SparseCategoricalCrossentropy", "SparseCategoricalAccuracy", Y),
        ("CategoricalCrossentropy", "CategoricalAccuracy", np.eye(3)[Y]),
        ("MeanSquaredError", "MeanAbsoluteError", np.eye(3)[Y]),
        ("MeanSquaredError", "CategoricalCrossentropy", np.eye(3)[Y]),
        ("SparseCategoricalCrossentropy", "SparseCategoricalCrossentropy", Y),
        ("BinaryCrossentropy", "BinaryAccuracy", np.eye(3)[Y]),
        *(("MeanSquaredError", name, np.eye(3)[Y]) for name in ("Precision", "Recall", "AUC", "F1Score", "FBetaScore")),
        ("Huber", "LogCoshError", np.eye(3)[Y]),
        ("CosineSimilarity", "CosineSimilarity", np.eye(3)[Y]),
        *(
            (name, name, np.eye(3)[Y])
            for name in ("KLDivergence", "Poisson", "Hinge", "SquaredHinge", "CategoricalHinge")
        ),
        *((name, name, np.eye(3)[Y] + 0.1) for name in ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError")),
        ("LogCosh", "KLDivergence", np.eye(3)[Y]),
        ("BinaryFocalCrossentropy", "Poisson", np.eye(3)[Y]),
        ("CategoricalFocalCrossentropy", "Hinge", np.eye(3)[Y]),
    ],
)
def test_losses_and_metrics_as_objects(keras, tmp_path, loss, metric, targets):
    options = {
        "CategoricalCrossentropy": {"label_smoothing": 0.1},
        "BinaryFocalCrossentropy": {"apply_class_balancing": True, "alpha": 0.7, "gamma": 1.5},
        "CategoricalFocalCrossentropy": {"alpha": [0.1, 0.2, 0.3], "gamma": 1.5},
    }.get(loss, {})
    ours = minicnn.Sequential(small(layers))
    average = {"average": "macro"} if metric in ("F1Score", "FBetaScore") else {}
    asked = [getattr(minicnn.metrics, metric)(name="m", **average)]
    ours.compile("sgd", getattr(minicnn.losses, loss)(**options), metrics=asked)
    ours.save(tmp_path / "m.keras")
    theirs = keras.models.load_model(tmp_path / "m.keras")
    same(ours.evaluate(X, targets), theirs.evaluate(X, targets, verbose=0))
    theirs.save(tmp_path / "k.keras")
    again = minicnn.load_model(tmp_path / "k.keras")
    same(again.evaluate(X, targets), ours.evaluate(X, targets))
    assert list(again.evaluate(X, targets, return_dict=True)) == ["loss", "m"]


@pytest.mark.parametrize("name", sorted(minicnn.initializers.BY_NAME))
def test_every_initializer(keras, name):
    config = minicnn.initializers.serialize(minicnn.initializers.get(name))["config"]
    layer = layers.Dense(2, kernel_initializer=name, bias_regularizer="l1_l2", name="d")
    model = minicnn.Sequential([layers.Input((3,)), layer])
    theirs = keras.models.model_from_json(model.to_json())
    found = theirs.layers[0].kernel_initializer
    assert {key: getattr(found, key) for key in config} == config
    assert theirs.layers[0].bias_regularizer.get_config() == layer.bias_regularizer.get_config()
    again = minicnn.keras_format.model_of(json.loads(theirs.to_json()))
    assert again.layers[0].get_config()["kernel_initializer"] == layer.get_config()["kernel_initializer"]


def test_frozen_layers(keras, tmp_path):
    ours = minicnn.Sequential(everything(layers))
    for layer in ours.layers[:22]:
        layer.trainable = False
    ours.compile("adam", "sparse_categorical_crossentropy")
    ours.fit(X, Y, **OPTIONS)
    ours.save(tmp_path / "m.keras")
    theirs = keras.models.load_model(tmp_path / "m.keras")
    assert len(theirs.trainable_weights) == len(ours.trainable_parameters)
    before = ours.get_weights()
    assert_same_training(ours, theirs)
    np.testing.assert_array_equal(before[0], theirs.get_weights()[0])
    theirs.save(tmp_path / "k.keras")
    assert_same_training(minicnn.load_model(tmp_path / "k.keras"), theirs)


@pytest.mark.parametrize("compile_first", [True, False])
def test_weights_alone_both_ways(keras, tmp_path, compile_first):
    ours, theirs = minicnn.Sequential(everything(layers)), keras.Sequential(everything(keras.layers))
    if compile_first:
        for model in (ours, theirs):
            model.compile("adam", "sparse_categorical_crossentropy")
        ours.fit(X, Y, **OPTIONS)
        theirs.fit(X, Y, **(OPTIONS | {"epochs": 3}))
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    expected = ours.predict(X)
    ours.load_weights(tmp_path / "theirs.weights.h5")
    same(ours.predict(X), theirs.predict(X, verbose=0))
    assert not compile_first or ours.optimizer.iterations == 9
    theirs.load_weights(tmp_path / "ours.weights.h5")
    same(theirs.predict(X, verbose=0), expected)
    assert not compile_first or int(theirs.optimizer.iterations) == 3


def nested(module):
    """Models within a model, one of them made of tensors."""
    start = module.Input((4,))
    inner = module.Model(start, module.layers.Dense(5)(module.layers.Dense(2)(start)))
    model = module.Sequential([module.Input((3,)), module.Sequential([module.layers.Dense(3), module.layers.Dense(4)])])
    for layer in (inner, module.layers.Dense(2), module.Sequential([module.layers.BatchNormalization()])):
        model.add(layer)
    model.build((None, 3))
    return model


def test_weights_of_models_within_a_model_both_ways(keras, tmp_path):
    theirs, ours = nested(keras), nested(minicnn)
    weights = [RANDOM.random(array.shape).astype("float32") for array in ours.get_weights()]
    theirs.set_weights(weights)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    assert all(map(np.array_equal, ours.get_weights(), weights))
    ours.set_weights([2 * array for array in weights])
    ours.save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    ours.save(tmp_path / "ours.keras")
    again, read = nested(minicnn), keras.models.load_model(tmp_path / "ours.keras")
    again.load_weights(tmp_path / "ours.keras")
    for model in (theirs, read, again):
        assert all(np.array_equal(found, 2 * array) for found, array in zip(model.get_weights(), weights, strict=True))


def blocks(k, with_input):
    """A block that does not move images, and one with another in it, of which the convolution is frozen."""
    made = k.layers
    moved = k.Sequential(
        [made.RandomTranslation((0.0, 0.0), (0.0, 0.0)), made.RandomRotation((0.0, 0.0))], name="moved"
    )
    deepest = k.Sequential([made.BatchNormalization(name="norm"), made.ReLU()], name="deepest")
    start = [made.Input((8, 8, 2))] if with_input else []
    base = k.Sequential([*start, made.Conv2D(4, 3, name="conv"), made.MaxPooling2D(2), deepest], name="base")
    base.layers[0].trainable = False
    inner = made.Input((3, 3, 4))
    head = k.Model(inner, made.Dropout(0.0)(made.Flatten(name="flat")(inner), training=False), name="head")
    return moved, base, head


def in_a_sequence(k):
    last = k.layers.Dense(3, activation="softmax", name="last")
    return k.Sequential([k.layers.Input((8, 8, 2)), *blocks(k, False), last], name="net")


def first_in_a_sequence(k):
    return k.Sequential([blocks(k, True)[1], k.layers.Flatten(), k.layers.Dense(3, activation="softmax")], name="net")


def of_tensors(k):
    x, (moved, base, head) = k.layers.Input((8, 8, 2)), blocks(k, True)
    y = head(base(moved(x), training=False))
    return k.Model(x, k.layers.Dense(3, activation="softmax", name="last")(y), name="net")


def structure(model):
    """Names of layers and models, and which weights are trained."""
    found = []
    for one in model.layers:
        inner = structure(one) if hasattr(one, "layers") else []
        found.append((one.name, [tuple(weight.shape) for weight in one.trainable_weights], inner))
    return found


@pytest.mark.parametrize("make", [in_a_sequence, first_in_a_sequence, of_tensors])
@pytest.mark.parametrize("whole", [False, True])
def test_models_within_a_model_both_ways(keras, tmp_path, make, whole):
    for first, second in ((minicnn, keras), (keras, minicnn)):
        model = make(first)
        if whole:
            model.get_layer("base").trainable = False
        model.compile("adam", "sparse_categorical_crossentropy")
        if make is not of_tensors:  # where Keras' `fit` does not mind training=False
            model.fit(X, Y, **OPTIONS)
        model.save(tmp_path / "m.keras")
        again = second.models.load_model(tmp_path / "m.keras")
        assert structure(again) == structure(model)
        assert (type(again).__name__ == "Sequential") is (make is not of_tensors)
        conv, norm = again.get_layer("base").get_layer("conv"), again.get_layer("base").get_layer("deepest").layers[0]
        assert not conv.trainable and norm.trainable is not whole
        assert np.array_equal(conv.get_weights()[0], model.get_layer("base").get_layer("conv").get_weights()[0])
        same(again.predict(X, verbose=0), model.predict(X, verbose=0))
        if make is of_tensors:  # elsewhere Keras' normalisation trains behind random layers if nobody says `training`
            same(np.asarray(again(X)), np.asarray(model(X)))
        again.save(tmp_path / "again.keras")
        assert structure(first.models.load_model(tmp_path / "again.keras")) == structure(model)
        if make is not of_tensors:
            assert_same_training(*((model, again) if first is minicnn else (again, model)))


def test_training_in_calls_of_models_is_saved_both_ways(keras, tmp_path):
    """A model that is called with training=True: half of its output is dropped whenever the outer model is called."""

    def network(k):
        x = k.layers.Input((8, 8, 2))
        return k.Model(x, k.Sequential([k.layers.Flatten(), k.layers.Dropout(0.5)], name="on")(x, training=True))

    for first, second in ((minicnn, keras), (keras, minicnn)):
        network(first).save(tmp_path / "m.keras")
        second.models.load_model(tmp_path / "m.keras").save(tmp_path / "again.keras")
        for name in ("m.keras", "again.keras"):
            with zipfile.ZipFile(tmp_path / name) as archive:
                entry = json.loads(archive.read("config.json"))["config"]["layers"][1]
            assert entry["name"] == "on" and entry["inbound_nodes"][0]["kwargs"]["training"] is True
            y = np.asarray(minicnn.load_model(tmp_path / name)(np.ones((9, 8, 8, 2), "float32")))
            assert 0.4 < (y == 0).mean() < 0.6


@pytest.mark.parametrize("make", [in_a_sequence, of_tensors])
def test_models_within_a_model_are_laid_out_as_keras_lays_them_out(keras, tmp_path, make):
    make(minicnn).save(tmp_path / "m.keras")
    make(keras).save(tmp_path / "k.keras")
    arrays = []
    for name in ("m.keras", "k.keras"):
        found = {}
        with zipfile.ZipFile(tmp_path / name) as archive, h5py.File(archive.open("model.weights.h5")) as file:
            file.visititems(
                lambda path, item, found=found: found.update({path: item.shape} if hasattr(item, "shape") else {})
            )
        arrays.append(found)
    assert arrays[0] == arrays[1] and "layers/sequential_1/layers/sequential/layers/batch_normalization/vars/0" in found


def test_the_files_are_laid_out_as_keras_lays_them_out(keras, tmp_path):
    """Groups, arrays, shapes, number types and names in the HDF5 file; the settings in config.json."""
    ours = minicnn.Sequential(everything(layers), name="net")
    ours.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    ours.fit(X, Y, **OPTIONS)
    ours.save(tmp_path / "m.keras")
    keras.models.load_model(tmp_path / "m.keras").save(tmp_path / "k.keras")
    trees, configs = [], []
    for name in ("m.keras", "k.keras"):
        tree = {}
        with zipfile.ZipFile(tmp_path / name) as archive, h5py.File(archive.open("model.weights.h5")) as file:
            assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
            file.visititems(
                lambda path, item, tree=tree: tree.update(
                    {path: (dict(item.attrs), getattr(item, "shape", ()), getattr(item, "dtype", ""))}
                )
            )
            configs.append(json.loads(archive.read("config.json")))
        trees.append(tree)
    assert trees[0] == trees[1]
    for mine, keras_s in zip(*(config["config"]["layers"] for config in configs), strict=True):
        assert mine["class_name"] == keras_s["class_name"] and mine["module"] == keras_s["module"]
        for setting, value in mine["config"].items():
            if setting != "dtype" and not isinstance(value, dict):
                assert value == keras_s["config"][setting], (mine["class_name"], setting)


def test_random_layers_keep_their_rates(keras, tmp_path):
    made = [layers.Input((8, 8, 2)), layers.Dropout(0.3, seed=2**40 + 5), layers.SpatialDropout2D(0.4),
            layers.GaussianNoise(0.2), layers.RandomRotation(0.1)]  # fmt: skip
    ours = minicnn.Sequential(made)
    ours.save(tmp_path / "m.keras")
    theirs = keras.models.load_model(tmp_path / "m.keras")
    assert [theirs.layers[0].rate, theirs.layers[1].rate, theirs.layers[2].stddev] == [0.3, 0.4, 0.2]
    assert list(theirs.layers[3].factor) == [-0.1, 0.1] and theirs.layers[0].seed == 5
    theirs.save(tmp_path / "k.keras")
    again = minicnn.load_model(tmp_path / "k.keras")
    assert [layer.seed for layer in again.layers[:2]] == [layer.seed for layer in theirs.layers[:2]]


def test_a_model_built_by_its_first_batch(keras, tmp_path):
    for library, name in ((keras, "k.keras"), (minicnn, "m.keras")):
        model = library.Sequential([library.layers.Flatten(), library.layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.train_on_batch(X, Y)
        model.save(tmp_path / name)
        expected = model.predict(X, verbose=0)
        same(minicnn.load_model(tmp_path / name).predict(X), expected)
        same(keras.models.load_model(tmp_path / name).predict(X, verbose=0), expected)


def test_float64(keras, tmp_path):
    """Keras on JAX computes in float64 only in a process that was started so, and some layers not even then."""
    made = [layers.Conv2D(3, 3, activation="relu"), layers.Flatten(), layers.Dense(3, activation="softmax")]
    ours = minicnn.Sequential([layers.Input((8, 8, 2)), *made]).astype("float64")
    ours.compile("adam", "sparse_categorical_crossentropy")
    ours.fit(X, Y, **OPTIONS)
    ours.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", X)
    script = (
        "import sys, keras, numpy as np; m = keras.models.load_model(sys.argv[1] + '/m.keras')\n"
        "np.save(sys.argv[1] + '/y.npy', m.predict(np.load(sys.argv[1] + '/x.npy').astype('float64'), verbose=0))\n"
        "m.save(sys.argv[1] + '/k.keras')"
    )
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=environment)
    expected = ours.predict(X.astype("float64"))
    found = np.load(tmp_path / "y.npy")
    assert found.dtype == "float64"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    again = minicnn.load_model(tmp_path / "k.keras")
    np.testing.assert_array_equal(again.predict(X.astype("float64")), expected)
    assert again.train_on_batch(X, Y) == ours.train_on_batch(X, Y)


# ---------------------------------------------------------------------- what minicnn does not have


def branches(keras):
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Add(name="sum")([keras.layers.Dense(3)(x), keras.layers.Dense(3)(x)]))


def two_outputs(keras):
    x = keras.Input((4,))
    return keras.Model(x, [keras.layers.Dense(3)(x), keras.layers.Dense(2)(x)])


def shared_model(keras):
    x, inner = keras.Input((4,)), keras.Sequential([keras.layers.Dense(4)], name="inner")
    return keras.Model(x, inner(inner(x)))


def shared(keras):
    x, layer = keras.Input((4,)), keras.layers.Dense(4, name="twice")
    return keras.Model(x, layer(layer(x)))


def chain(*made):
    return lambda keras: keras.Sequential([keras.Input((4, 4, 2)), *[make(keras.layers) for make in made]])


FOREIGN = {
    "branches": (branches, "layer sum has 2 inputs"),
    "two outputs": (two_outputs, "the model has 2 outputs"),
    "a shared layer": (shared, "layer twice has 2 inputs"),
    "an unknown layer": (
        chain(lambda k: k.RMSNormalization(name="g")),
        "layer g: unknown layer class RMSNormalization",
    ),
    "a lambda": (
        chain(lambda k: k.Lambda(lambda x: x, name="mine")),
        "layer mine: its function is a lambda, which is code",
    ),
    "a shared model": (shared_model, "layer inner has 2 inputs"),
    "an unknown layer inside": (
        lambda keras: keras.Sequential(
            [keras.Input((4, 4, 2)), keras.Sequential([keras.layers.RMSNormalization(name="g")], name="inner")]
        ),
        "layer inner: layer g: unknown layer class RMSNormalization",
    ),
    "groups": (chain(lambda k: k.Conv2D(2, 1, groups=2, name="c")), "layer c: .*groups"),
    "channels first": (chain(lambda k: k.Flatten("channels_first", name="f")), "layer f: .*channels_last"),
    "renorm": (chain(lambda k: k.BatchNormalization(renorm=True, name="b")), "layer b: .* no renorm, which is True"),
    "half precision": (
        chain(lambda k: k.Dense(2, dtype="float16", name="d")),
        "layer d: .*float32 or float64.*float16",
    ),
    "mixed precision": (chain(lambda k: k.Dense(2, dtype="mixed_float16", name="d")), "layer d: .*mixed_float16"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_minicnn_does_not_have_is_one_sentence(keras, tmp_path, case):
    make, message = FOREIGN[case]
    make(keras).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=f"m.keras: .*{message}") as error:
        minicnn.load_model(tmp_path / "m.keras")
    assert "\n" not in str(error.value)


def test_an_optimizer_that_minicnn_does_not_have(keras, tmp_path):
    model = keras.Sequential(small(keras.layers))
    model.compile("adafactor", "sparse_categorical_crossentropy")
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="unknown class keras.optimizers.Adafactor"):
        minicnn.load_model(tmp_path / "m.keras")
    model.compile("adam", "dice")
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="unknown loss 'dice'"):
        minicnn.load_model(tmp_path / "m.keras")


def test_what_keras_does_not_have(keras, tmp_path):
    model = minicnn.Sequential(small(layers))
    model.compile("adam", SparseCategoricalCrossentropy(label_smoothing=0.1))
    with pytest.raises(ValueError, match="SparseCategoricalCrossentropy has no label_smoothing, which is 0.1 here"):
        model.save(tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


def test_classes_of_ones_own_open_in_keras_by_their_names(keras, tmp_path):
    class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self, **options):
            self.ours = schedules.OneCycle(**options)

        def __call__(self, step):
            values = keras.ops.convert_to_tensor([self.ours(number) for number in range(self.ours.steps)])
            return values[keras.ops.cast(step, int)]

        def get_config(self):
            return self.ours.get_config()

    ours = minicnn.Sequential(small(layers))
    ours.compile(minicnn.optimizers.Adam(schedules.OneCycle(0.01, 12)), "sparse_categorical_crossentropy")
    ours.fit(X, Y, **OPTIONS)
    ours.save(tmp_path / "m.keras")
    theirs = keras.models.load_model(tmp_path / "m.keras", custom_objects={"OneCycle": OneCycle})
    assert_same_training(ours, theirs)


def test_a_default_of_keras_calls_says_nothing_about_training(keras, tmp_path):
    """Keras writes `training` of every call where its layer has a default; fit and predict go their own way."""
    start = keras.Input((8, 8, 2))
    h = keras.layers.RandomFlip()(start)
    h = keras.layers.RandomContrast(0.5, (-9.0, 9.0))(h)
    h = keras.layers.GaussianNoise(0.5)(keras.layers.Dropout(0.5)(h))
    h = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(h))
    theirs = keras.Model(start, h)
    theirs.save(tmp_path / "m.keras")
    ours = minicnn.load_model(tmp_path / "m.keras")
    same(ours.predict(X), theirs.predict(X, verbose=0))
    assert set(ours._modes) == {None}
    dropout = next(layer for layer in ours.layers if isinstance(layer, layers.Dropout))
    seen = []
    forward = dropout.forward
    dropout.forward = lambda x, training=False: (seen.append(training), forward(x, training))[1]
    ours.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    ours.fit(X, Y, **OPTIONS)
    assert set(seen) == {True}


@pytest.mark.parametrize("mode", [True, False])
def test_what_a_call_says_itself_is_kept_in_files_that_keras_reads(keras, tmp_path, mode):
    start = minicnn.Input((8, 8, 2))
    h = layers.Dropout(0.5)(start, training=mode)
    ours = minicnn.Model(start, layers.Dense(3, activation="softmax")(layers.Flatten()(h)))
    ours.save(tmp_path / "m.keras")
    assert minicnn.load_model(tmp_path / "m.keras")._modes == ours._modes == [None, mode, None, None]
    theirs = keras.models.load_model(tmp_path / "m.keras")
    if not mode:
        same(ours.predict(X), theirs.predict(X, verbose=0))

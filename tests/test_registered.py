"""Classes of your own: known by name wherever a description is read, and refused where nobody would call what they define."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small import X, weights_equal

import minicnn
from minicnn import Dense, Flatten, Input, Model, Sequential, layers, losses, metrics


def test_classes_of_ones_own_are_known_wherever_a_description_is_read():
    class Own(losses.MeanSquaredError):
        pass

    class Slow(minicnn.optimizers.SGD):
        pass

    class Falling(minicnn.schedules.ExponentialDecay):
        pass

    class Hits(metrics.BinaryAccuracy):
        pass

    made = [
        (losses, Own()), (minicnn.optimizers, Slow(0.5)), (minicnn.schedules, Falling(0.1, 3, 0.5)), (metrics, Hits()),
    ]  # fmt: skip
    for module, thing in made:
        told = module.serialize(thing)
        with pytest.raises(ValueError, match=type(thing).__name__):
            module.deserialize(told)
        with minicnn.utils.custom_object_scope({type(thing).__name__: type(thing)}):
            assert type(module.deserialize(told)) is type(thing)
        assert type(module.deserialize(told, custom_objects={type(thing).__name__: type(thing)})) is type(thing)


@pytest.mark.parametrize("name", ["model.safetensors", "model.keras"])
def test_classes_that_every_file_may_name(tmp_path, name):
    class Twice(layers.Layer):
        def forward(self, x, training=False):
            return 2 * x

        def backward(self, dy):
            return 2 * dy

    path, model = tmp_path / name, Sequential([Input((6, 6, 1)), Twice(), Flatten(), Dense(2)])
    minicnn.models.save_model(model, path)
    minicnn.saving.save_model(model, filepath=path, overwrite=True)
    with pytest.raises(ValueError, match="which is not to be written over"):
        minicnn.models.save_model(model, path, overwrite=False)
    with pytest.raises(ValueError, match="unknown layer class Twice; pass it in custom_objects"):
        minicnn.load_model(path)
    with minicnn.utils.custom_object_scope({"Twice": Twice}):
        assert weights_equal(model, minicnn.load_model(path))
    assert minicnn.saving.get_custom_objects() == {}
    assert minicnn.saving.register_keras_serializable(package="mine")(Twice) is Twice
    try:
        found = minicnn.saving.load_model(path, compile=False, safe_mode=False)
        np.testing.assert_array_equal(found.predict(X), model.predict(X))
        assert type(minicnn.models.model_from_json(model.to_json()).layers[0]) is Twice
    finally:
        minicnn.utils.get_custom_objects().clear()
    twin = type("ThresholdedReLU", (Twice,), {})
    Sequential([Input((2,)), twin()]).save(path)
    with pytest.raises(ValueError, match="unknown layer class ThresholdedReLU; pass it in custom_objects"):
        minicnn.load_model(path)


def test_activations_of_your_own_by_name(tmp_path):
    def doubled(x):
        return 2 * x

    with pytest.raises(ValueError, match="unknown activation 'doubled'; expected one of linear, relu, "):
        layers.Activation("doubled")
    minicnn.utils.get_custom_objects().update({"doubled": doubled, "two": layers.Activation(doubled), "relu": doubled})
    x = np.array([[-1.0, 2.0]], "float32")
    try:
        for name in ("doubled", "two"):
            model = Sequential([Input((2,)), Dense(2, activation=name, kernel_initializer="identity")])
            np.testing.assert_array_equal(model.predict(x), 2 * x)
            np.testing.assert_array_equal(layers.Activation(name)(x), 2 * x)
        model.save(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(minicnn.load_model(tmp_path / "m.safetensors").predict(x), 2 * x)
        np.testing.assert_array_equal(layers.Activation("relu")(x), np.maximum(x, 0))  # as in Keras 3
    finally:
        minicnn.utils.get_custom_objects().clear()
    with minicnn.utils.custom_object_scope({"doubled": doubled}):
        assert layers.Activation("doubled").activation is doubled


def test_custom_objects_are_those_of_their_own_thread(tmp_path):
    def model(kind):
        return Sequential([Input((4,)), kind(), Dense(2)])

    class Left(layers.Layer):
        def forward(self, x, training=False):
            return x

    class Right(Left):
        pass

    class L2(Left):
        pass

    kinds = {kind.__name__: kind for kind in (Left, Right)}
    for name, kind in kinds.items():
        model(kind).save(tmp_path / f"{name}.bin")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(2) as pool:
            found = list(
                pool.map(lambda name: minicnn.load_model(tmp_path / f"{name}.bin", {name: kinds[name]}), [*kinds] * 30)
            )
    finally:
        sys.setswitchinterval(before)
    assert [type(one.layers[0]).__name__ for one in found] == [*kinds] * 30
    assert not kinds.keys() & minicnn.utils.get_custom_objects().keys()

    named_alike = Sequential([Input((4,)), L2(), Dense(2, kernel_regularizer="l2")])
    named_alike.save(tmp_path / "alike.bin")
    both = minicnn.load_model(tmp_path / "alike.bin", custom_objects={"L2": L2}).layers
    assert type(both[0]) is L2 and type(both[1].kernel_regularizer) is minicnn.regularizers.L2


def test_everything_that_has_a_configuration_is_made_of_it():
    for thing in (
        metrics.TopKCategoricalAccuracy(k=3), metrics.AUC(curve="PR"), losses.MeanSquaredError("sum"),
        losses.BinaryCrossentropy(label_smoothing=0.1), minicnn.initializers.HeNormal(seed=3),
        minicnn.initializers.RandomUniform(-1.0, 1.0), minicnn.regularizers.L1L2(0.1, 0.2), minicnn.constraints.MaxNorm(3),
        minicnn.optimizers.schedules.CosineDecay(0.1, 8, warmup_target=0.2, warmup_steps=3),
    ):  # fmt: skip
        again = type(thing).from_config(thing.get_config())
        assert type(again) is type(thing) and again.get_config() == thing.get_config()
    start = minicnn.initializers.HeNormal(seed=3)
    assert start.clone() is not start and np.array_equal(start.clone()((3, 4)), start((3, 4)))


def test_a_configuration_that_a_class_of_ones_own_changes():
    class Doubled(minicnn.regularizers.L2):
        @classmethod
        def from_config(cls, config):
            return cls(2 * config["l2"])

    found = minicnn.regularizers.get({"class_name": "Doubled", "config": {"l2": 0.25}})
    assert type(found) is Doubled and found.l2 == 0.5


# ---------------------------------------------------------------------- methods that nobody would call


def test_steps_of_models_and_a_call_beside_forward_are_refused():
    for base, name in ((Sequential, "train_step"), (Model, "compute_loss"), (Sequential, "test_step")):
        with pytest.raises(TypeError, match=f"model class Mine: a {name} of your own is not called here"):
            type("Mine", (base,), {name: lambda self, *arguments: None})
    with pytest.raises(TypeError, match=r"layer class Mine: expected forward\(x, training\) .*, got call"):
        type("Mine", (minicnn.Layer,), dict.fromkeys(["call", "forward", "backward"], lambda self, x: x))


@pytest.mark.parametrize(
    "base, name, sentence",
    [
        (minicnn.Sequential, "call", "class Own: a call of your own belongs to a Model, not to a Sequential"),
        (minicnn.Model, "forward", "class Own: a model has forward already"),
        (minicnn.optimizers.SGD, "update_step", r"class Own: expected apply\(w, g, learning_rate\), got update_step"),
        (minicnn.Conv2D, "convolution_op", "class Own: expected forward and backward, got convolution_op"),
        (minicnn.RandomFlip, "transform_images", "class Own: expected forward and backward, got transform_images"),
        (minicnn.losses.MeanSquaredError, "__call__", r"class Own: expected call\(y_true, y_pred\), got __call__"),
        (minicnn.regularizers.L2, "__call__", r"Own: expected gradient\(x\) beside its own __call__"),
        (minicnn.preprocessing.image.ImageDataGenerator, "standardize", "Own: batches are not made by standardize"),
    ],
)
def test_methods_that_nobody_would_call_are_refused(base, name, sentence):
    with pytest.raises(TypeError, match=sentence):
        type(base)("Own", (base,), {name: lambda self, *arguments: None})

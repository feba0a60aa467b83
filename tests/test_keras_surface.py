"""What a Keras script asks for beside layers: models of tensors, batches from generators, losses, metrics, old names."""

import copy
import importlib
import inspect
import json
import pickle
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import minicnn
from minicnn import (
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    MaxPooling2D,
    Model,
    Sequential,
    callbacks,
    layers,
    losses,
    metrics,
)
from minicnn import backend as K

RANDOM = np.random.default_rng(3)
X, Y = RANDOM.standard_normal((50, 6, 6, 1)).astype("float32"), RANDOM.integers(0, 4, 50)


def small(last=4, activation="softmax", **options):
    minicnn.set_random_seed(5)
    model = Sequential(
        [Input((6, 6, 1)), Conv2D(3, 3, activation="relu"), Flatten(), Dense(last, activation=activation)]
    )
    model.compile(
        **({"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | options)
    )
    return model


def weights_equal(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


# ---------------------------------------------------------------------- models of tensors


def test_a_model_of_tensors_is_the_same_chain():
    minicnn.set_random_seed(5)
    x = Input(shape=(6, 6, 1))
    h = Conv2D(3, 3, activation="relu")(x)
    assert h.shape == (None, 4, 4, 3)
    y = Dense(4, activation="softmax")(Flatten()(h))
    model, other = Model(inputs=x, outputs=y), small()
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(X), other.predict(X))
    assert [type(layer).__name__ for layer in model.layers] == [
        "InputLayer",
        "Conv2D",
        "Flatten",
        "Dense",
    ]  # as in Keras
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.seed = other.seed
    for each in (model, other):
        each.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    assert weights_equal(model, other)


def test_a_part_of_a_chain_is_a_model():
    x = Input((6, 6, 1))
    h = Conv2D(3, 3)(x)
    whole, part = Model(x, Flatten()(MaxPooling2D()(h))), Model([x], [h])
    assert part.predict(X).shape == (50, 4, 4, 3) and whole.predict(X).shape == (50, 12)


def test_the_output_of_a_model_within_a_model_is_seen_from_the_whole():
    minicnn.set_random_seed(5)
    base = Sequential([Input((6, 6, 1)), Conv2D(3, 3), MaxPooling2D()], name="base")
    top = Sequential([Flatten(), Dense(4)], name="top")
    x = Input((6, 6, 1))
    by_call = Model(x, top(base(x)))
    for whole in (Sequential([layers.Rescaling(1.0, name="first"), base, top]), Sequential([base, top]), by_call):
        whole.build((None, 6, 6, 1))
        expected = {"base": base.predict(X), "top": by_call.predict(X)}
        for name, values in expected.items():
            for inputs in (whole.inputs, whole.input):
                part = Model(inputs, whole.get_layer(name).output)
                np.testing.assert_array_equal(part.predict(X), values)
        both = Model(whole.inputs, [whole.get_layer("base").output, whole.output])
        for found, values in zip(both.predict(X), expected.values(), strict=True):
            np.testing.assert_allclose(found, values, atol=1e-6)
    with pytest.raises(ValueError, match="must be made from its input, layer by layer"):
        Model(Input((6, 6, 1)), base.output)
    with pytest.raises(ValueError, match="must be made from its input, layer by layer"):
        Model(small().input, base.output)


def test_what_layers_see_is_a_model_of_several_outputs():
    model = small()
    model.compile("adam", "sparse_categorical_crossentropy")
    wanted = [model.layers[2].output, model.layers[0].output, model.input, model.layers[2].output]
    seen = Model(inputs=model.inputs, outputs=wanted)
    assert seen.output_shape == [(None, 4), (None, 4, 4, 3), (None, 6, 6, 1), (None, 4)]
    assert [tensor.shape for tensor in seen.output] == seen.output_shape and seen.layers[1:] == model.layers
    for _ in range(2):  # also after training, of the layers that both have
        model.fit(X, Y, verbose=0)
        maps = np.asarray(model.layers[0].forward(X))
        for found in (seen.predict(X), seen.predict(X, batch_size=16), seen.predict_on_batch(X), seen(X)):
            for one, expected in zip(found, [model.predict(X), maps, X, model.predict(X)], strict=True):
                np.testing.assert_allclose(one, expected, atol=1e-6)
    other = Input((6, 6, 1))
    again = Model(other, seen(other))
    np.testing.assert_array_equal(again.predict(X)[1], seen.predict(X)[1])
    assert [part.dtype for part in seen.astype("float64").predict(X)] == [np.float64] * 4
    for act in (seen.compile, seen.get_config, seen.to_json, lambda: seen.save("never.keras")):
        with pytest.raises(
            ValueError, match="a model of several outputs, or of outputs by name, is asked what they give, and not"
        ):
            act()


class Called(Model):
    """`small` in the manner of classes: one pooling layer in two places, dropout in training."""

    def __init__(self, **options):
        super().__init__(name="called", **options)
        self.convolve, self.pool, self.flatten = Conv2D(3, 3, activation="relu"), MaxPooling2D(), Flatten()
        self.drop, self.last = layers.Dropout(0.5), Dense(4, activation="softmax")

    def call(self, x, training=False):
        x = self.pool(self.pool(self.convolve(x)))
        x = self.flatten(x)
        if training:
            x = self.drop(x, training=training)
        return self.last(x)


def test_a_class_with_a_call_is_the_chain_it_goes_through():
    minicnn.set_random_seed(5)
    model = Called()
    with pytest.raises(ValueError, match="does not know the shape of its input"):
        model.build()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    kinds = ["Conv2D", "MaxPooling2D", "MaxPooling2D", "Flatten", "Dropout", "Dense"]
    assert [type(layer).__name__ for layer in model.layers] == kinds
    assert model.layers[0] is model.convolve and model.layers[1] is model.pool is not model.layers[2]
    plain = Sequential([Input((6, 6, 1)), Conv2D(3, 3, activation="relu"), *(MaxPooling2D() for _ in range(2))])
    for layer in (Flatten(), Dense(4, activation="softmax")):
        plain.add(layer)
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    np.testing.assert_array_equal(Model(model.inputs, model.layers[0].output).predict(X), model.convolve.forward(X))
    np.testing.assert_array_equal(Called()(X).shape, (50, 4))


class Block(minicnn.Layer):
    """Layers one behind the other, as scripts write them."""

    def __init__(self, filters, **options):
        super(Block, self).__init__(**options)  # noqa: UP008 (so they do)
        self.convolve, self.norm = Conv2D(filters, 3, padding="same"), layers.BatchNormalization()

    def call(self, x, training=False):
        return minicnn.ops.relu(self.norm(self.convolve(x), training=training))


class Blocks(Model):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.flatten, self.last = Block(3), Block(2), Flatten(), Dense(4, activation="softmax")

    def call(self, x, training=False):
        return self.last(self.flatten(self.second(self.first(x, training=training), training=training)))


def plain_blocks():
    parts = [(Conv2D(n, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()) for n in (3, 2)]
    return Sequential([Input((6, 6, 1)), *parts[0], *parts[1], Flatten(), Dense(4, activation="softmax")])


def of_tensors():
    x = Input((6, 6, 1))
    return Model(x, Dense(4, activation="softmax")(Flatten()(Block(2)(Block(3)(x)))))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sequential([Input((6, 6, 1)), Block(3), Block(2), Flatten(), Dense(4, activation="softmax")]),
        lambda: Sequential([Block(3, name="one"), Block(2), Flatten(), Dense(4, activation="softmax")]),
        lambda: Sequential([Sequential([Block(3), Block(2)]), Flatten(), Dense(4, activation="softmax")]),
        lambda: Sequential([layers.Rescaling(1.0), Block(3), Sequential([Block(2), Flatten()]), Dense(4, activation="softmax")]),
        of_tensors,
        Blocks,
    ],
)  # fmt: skip
def test_a_layer_whose_call_puts_layers_one_behind_the_other_is_these(make):
    model, plain = make(), plain_blocks()
    for each in (model, plain):
        each.seed = 3
        each.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model(X)
    plain.set_weights(model.get_weights())
    found, expected = (each.fit(X, Y, epochs=2, batch_size=16, verbose=0).history for each in (model, plain))
    assert found == expected and weights_equal(model, plain)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    kinds = [type(layer) for layer in model.chain if not isinstance(layer, layers.Rescaling)]
    assert kinds == [type(layer) for layer in plain.chain]


def test_what_waits_for_the_shape_of_its_input(capsys):
    model = Sequential([Block(3, name="block"), Flatten(), Dense(4)])
    assert [type(layer) for layer in model.layers] == [Block, Flatten, Dense] and not model.built
    model.summary()
    assert re.search(r"block +\?.*\nflatten.*\?.*\ndense.*\?", capsys.readouterr().out)
    for act in (model.get_config, model.to_json, model.count_params, lambda: model.astype("float64")):
        with pytest.raises(ValueError, match="does not know the shape of its input: put an Input first"):
            act()
    assert type(model.pop()) is Dense and len(model.layers) == 2
    with pytest.raises(TypeError, match="a model is made of layers, not of 3"):
        model.add(3)
    model.add(layers.Reshape((5, 5)))
    for _ in range(2):  # an error leaves the model as it was
        with pytest.raises(ValueError, match="cannot be reshaped to"):
            model.build((None, 6, 6, 1))
        assert [type(layer) for layer in model.layers] == [Block, Flatten, layers.Reshape] and not model.built
    model.pop()
    model.layers[0].trainable = False
    assert model.compute_output_shape((None, 6, 6, 1)) == model.output_shape == (None, 108) and model.built
    assert model.layers[0].name == "block" and not model.trainable_weights and len(model.weights) == 6
    again = minicnn.models.clone_model(model)
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


class Mixed(minicnn.Layer):
    """The antirectifier of Keras' examples, whose `build` also calls the one of `Layer`."""

    def __init__(self, start="he_normal", **options):
        super().__init__(**options)
        self.start = start

    def build(self, input_shape):
        batch, features = input_shape
        self.kernel = self.add_weight(shape=(2 * features, 3), initializer=self.start, name="kernel", regularizer="l2")
        super().build(input_shape)

    def call(self, inputs, training=None):
        centred = inputs - minicnn.ops.mean(inputs, axis=-1, keepdims=True)
        halves = minicnn.ops.concatenate([minicnn.ops.relu(centred), minicnn.ops.relu(-centred)], axis=-1)
        return minicnn.ops.matmul(halves, self.kernel) * (2 if training else 1)

    def get_config(self):
        return super().get_config() | {"start": self.start}


class Affine(minicnn.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.factor = self.add_weight(shape=(3,), initializer="ones", trainable=True)
        self.offset = self.add_weight(shape=(3,), initializer="zeros", trainable=False)

    def call(self, x):
        return x * self.factor + self.offset


class Swish(minicnn.Layer):
    def call(self, x):
        return x * minicnn.ops.sigmoid(x)


class Power(minicnn.Layer):
    def __init__(self, power=3, **options):
        super().__init__(**options)
        self.power = power

    def call(self, x):
        return x**self.power


def bent(x, axes):
    return minicnn.ops.tanh(minicnn.ops.subtract(x, minicnn.ops.mean(x, axis=axes, keepdims=True)))


class Bent(minicnn.Layer):
    def build(self, input_shape):
        self.axes = [*range(1, len(input_shape))]
        super().build(input_shape)

    def call(self, x):
        return bent(x, self.axes)


@pytest.mark.parametrize("make", [Mixed, Affine, Swish, Power, Bent])
def test_layers_whose_call_calculates(make):
    layer = make()
    layer.build((None, 3))
    minicnn.gradcheck.check_layer(layer.astype("float64"), np.random.default_rng(0).normal(size=(4, 3)))
    assert layer(np.ones((2, 3))).shape == (2, *layer.output_shape[1:]) == (2, 3)


def test_a_model_of_layers_whose_call_calculates(tmp_path):
    pytest.importorskip("h5py")
    model = Sequential(
        [Input((6, 6, 1)), Flatten(), Dense(3), Mixed(name="mixed"), Affine(), Swish(), Dense(4, activation="softmax")]
    )
    assert [len(layer.weights) for layer in model.layers] == [0, 2, 1, 2, 0, 2]
    assert model.layers[3].trainable_weights == [model.layers[3].factor] and model.output_shape == (None, 4)
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.get_weights()
    losses = model.fit(X, Y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    same = [np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True)]
    assert same == [False, False, False, False, True, False, False]
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), minicnn.models.clone_model(model)):
        copied.set_weights(model.get_weights())
        np.testing.assert_array_equal(copied.predict(X), model.predict(X))
    model.pop()
    model = Sequential([*model.layers[:3], model.layers[4]])
    for name in ("m.keras", "m.safetensors"):
        model.save(tmp_path / name)
        again = minicnn.load_model(tmp_path / name, {"Mixed": Mixed, "Swish": Swish})
        np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-6)


def test_a_call_that_is_a_row_of_layers_it_was_given_or_made_elsewhere():
    def dense():
        return Dense(3)

    class Made(minicnn.Layer):
        def __init__(self):
            super().__init__()
            self.inner = dense()

        def call(self, x):
            return self.inner(x) * 2

    class Given(minicnn.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner = [inner]

        def call(self, x):
            return minicnn.ops.relu(self.inner[0](x))

    model = Sequential([Input((6, 6, 1)), Flatten(), Made(), Given(Dense(4)), layers.Softmax()])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    first, first_bias, second, second_bias = model.get_weights()
    logits = np.maximum(2 * (X.reshape(len(X), -1) @ first + first_bias) @ second + second_bias, 0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4)


def test_layers_from_descriptions():
    layer = Conv2D(3, 2, activation="tanh", kernel_regularizer="l2", name="mine")
    again = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
    assert type(again) is Conv2D and again.get_config() == layer.get_config()
    again = layers.deserialize({"class_name": "Mixed", "config": {"start": "ones"}}, custom_objects={"Mixed": Mixed})
    assert type(again) is Mixed and again.start == "ones"
    with pytest.raises(ValueError, match="unknown layer class Mixed; pass it in custom_objects"):
        layers.deserialize(layers.serialize(again))


def test_clones_have_functions_that_calculate():
    def bent(x):
        return x / (1 + abs(x))

    def rooted(w):
        return 0.1 * minicnn.ops.sum(abs(w) ** 1.5)

    model = small(activation=bent)
    model.add(Dense(2, activation=bent, kernel_regularizer=rooted))
    clone = minicnn.models.clone_model(model)
    assert clone.layers[-1].activation is bent and clone.layers[-1].kernel_regularizer.function is rooted


def test_a_layer_whose_call_has_no_derivative_says_what_to_define():
    class Root(minicnn.Layer):
        def call(self, x):
            return np.cbrt(x)

    class Within(minicnn.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((1,))
            self.dense = Dense(3)

        def call(self, x):
            return self.dense(x) * self.factor

    for layer, why in ((Root(name="r"), "np.cbrt is not known here"), (Within(name="r"), "as it has the layer dense")):
        with pytest.raises(
            ValueError, match=f"layer r: the derivative of its call is not known.*{why}.*: define forward"
        ):
            Sequential([Input((6, 6, 1)), Flatten(), layer])


class Scaled(minicnn.Layer):
    def build(self, input_shape):
        self.factor = self.also = self.add_weight((input_shape[-1],), "ones", name="factor")

    def call(self, x):
        return self.factor.value * x + 3 * x * self.also


class Shifted(Scaled):
    def build(self, input_shape):
        super().build(input_shape)
        self.offset = self.add_weight((input_shape[-1],), "zeros", name="offset")

    def call(self, x):
        self.last = x
        return super().call(x) + self.offset


class Weighing(minicnn.Layer):
    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")


class Weighed(Weighing):
    def call(self, x):
        return x * self.factor


@pytest.mark.parametrize("make", [Scaled, Shifted, Weighed])
def test_layers_whose_call_calculates_made_from_others(make):
    """And one whose weight has two names, and is asked for its value."""
    layer = make()
    layer.build((None, 3))
    assert len(layer.parameters) == 1 + (make is Shifted)
    minicnn.gradcheck.check_layer(layer.astype("float64"), np.random.default_rng(0).normal(size=(4, 3)))
    assert not hasattr(layer, "last")
    assert isinstance(layer.factor, type(layer.parameters[0]))


def test_threads_calculate_with_one_layer():
    """The second begins while the first calculates, and goes on after it has ended."""
    events = {3: threading.Event(), 4: threading.Event(), "ended": threading.Event()}

    class Slow(minicnn.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((3,), "ones", name="factor")

        def call(self, x):
            if len(x) > 2:
                events[len(x)].set()
                assert events[4 if len(x) == 3 else "ended"].wait(60)
            return x * self.factor

    layer = Slow()
    layer.build((None, 3))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(layer.forward, np.ones((3, 3), "float32"))
        assert events[3].wait(60)
        second = pool.submit(layer.forward, np.ones((4, 3), "float32"))
        assert first.result().sum() == 9
        events["ended"].set()
        assert second.result().sum() == 12
    assert layer.factor is layer.parameters[0]


def test_layers_whose_call_cannot_be_derived_name_themselves():
    class Listed(minicnn.Layer):
        def build(self, input_shape):
            self.factors = [self.add_weight((3,), name="factor")]

        def call(self, x):
            return self.factors[0] * x

    class Total(minicnn.Layer):
        def call(self, x):
            return minicnn.ops.sum(x, axis=0)

    class Branches(minicnn.Layer):
        def call(self, x):
            return x if x > 0 else -x

    for make, sentence in (
        (Listed, "layer l: the derivative of its call is not known .its weight l/factor is no attribute of the layer"),
        (Total, r"layer l: its call must keep the batch axis, but gives shape \(3,\) for \(2, 3\)"),
        (Branches, r"layer l: its call fails for an input of shape \(2, 3\): The truth value"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make(name="l").build((None, 3))
    with pytest.raises(TypeError, match="Lambda are layers, and so is a class of your own whose call calculates"):
        Dense(2)(Input((3,))) ** 2


def test_what_a_model_does_not_have():
    assert Blocks().make_predict_function() is None
    for name, hint in (
        ("_make_predict_function", "Keras 3 has dropped it, use make_predict_function"),
        ("add_loss", "a Regularizer"),
        ("export", "Keras reads, and exports"),
        ("add_metric", "compile"),
    ):
        with pytest.raises(AttributeError, match=f"a model has no attribute '{name}': .*{hint}"):
            getattr(Blocks(), name)


def test_a_call_that_is_no_chain():
    class Halves(Model):
        def call(self, x, training):
            return Flatten()(x) if training else Dense(2)(Flatten()(x))

    class Sums(Model):
        def call(self, x):
            return x + Conv2D(1, 3, padding="same", name="same")(x)

    with pytest.raises(ValueError, match="may leave out nothing but random layers"):
        Halves().build((None, 6, 6, 1))
    for calculate in (lambda x: 255 / x, lambda x: x * x, lambda x: x + np.ones(1), lambda x: x**2, lambda x: x[0]):
        with pytest.raises(TypeError, match="cannot be calculated with, but by a number: Activation and Lambda"):
            calculate(Input((6, 6, 1)))
    with pytest.raises(TypeError, match="what comes out of input.* goes from layer to layer"):
        Sums().predict(X)


def test_a_tensor_times_or_plus_a_number_is_rescaled():
    class Scaled(Model):
        def __init__(self):
            super().__init__()
            self.convolve, self.flatten, self.last = Conv2D(2, 3), Flatten(), Dense(4, activation="softmax")

        def call(self, x):
            x = self.convolve(1 - x / 4.0)
            return self.last(self.flatten(-(2 * x - np.float32(0.5)) + 3))

    minicnn.set_random_seed(5)
    model, start = Scaled(), Input((6, 6, 1))
    x = Conv2D(2, 3)(layers.Rescaling(-0.25, 1)(start))
    plain = Model(start, Dense(4, activation="softmax")(Flatten()(layers.Rescaling(-2, 3.5)(x))))
    model.build((None, 6, 6, 1))
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(model.predict(X), plain.predict(X), atol=1e-6)
    for each in (model, plain):
        each.seed = 1
        each.compile("sgd", "sparse_categorical_crossentropy")
        each.fit(X, Y, epochs=2, verbose=0)
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    with pytest.raises(ZeroDivisionError):
        start / 0


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda x: Model([x, Input((3,))], Flatten()(x)), "one chain of layers here, with one input, not 2"),
        (lambda x: Model(x, [Flatten()(x), Flatten()(x)]), "its outputs must lie on the way to the farthest of them"),
        (lambda x: Model(x, []), "at least one output"),
        (lambda x: Model(x, [x, Input((6, 6, 1))]), "must be made from its input"),
        (lambda x: Model(Input((6, 6, 1)), Flatten()(x)), "must be made from its input"),
        (lambda x: Model(x, 3), "must be made from its input"),
        (lambda x: Model(), r"expected Model\(inputs, outputs\)"),
        (lambda x: [same := Conv2D(2, 3, name="same"), same(same(x))], "layer same: is called twice in one chain"),
        (lambda x: Flatten(name="flat")([x, x]), "layer flat: a model is one chain of layers here"),
        (lambda x: Conv2D(2, 9, name="wide")(x), "layer wide"),
    ],
)
def test_what_is_no_chain(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(Input((6, 6, 1)))


# ---------------------------------------------------------------------- where batches come from


def in_batches(times=None, weights=False):
    """The batches of 10 that arrays would be cut into, again and again."""
    turn = 0
    while times is None or turn < times:
        turn += 1
        for first in range(0, 50, 10):
            part = slice(first, first + 10)
            yield (X[part], Y[part], np.arange(10)) if weights else (X[part], Y[part])


class Batches:
    def __init__(self):
        self.ends = 0

    def __len__(self):
        return 5

    def __getitem__(self, number):
        part = slice(10 * number, 10 * number + 10)
        return X[part], Y[part]

    def on_epoch_end(self):
        self.ends += 1


def test_a_generator_trains_as_arrays_do():
    model, other, sequence = small(), small(), small()
    logs = model.fit(X, Y, batch_size=10, epochs=3, shuffle=False, verbose=0, validation_data=(X, Y))
    found = other.fit(
        in_batches(), steps_per_epoch=5, epochs=3, verbose=0, validation_data=in_batches(), validation_steps=5
    )
    assert weights_equal(model, other) and found.history.keys() == logs.history.keys()
    for name, values in found.history.items():
        assert values == pytest.approx(logs.history[name], rel=1e-6)
    batches = Batches()
    assert sequence.fit(batches, epochs=3, shuffle=False, verbose=0).history["loss"] == found.history["loss"]
    assert weights_equal(model, sequence) and batches.ends == 3


def test_a_shuffled_sequence_gives_every_batch_once_in_another_order():
    class Spying(Batches):
        asked = []

        def __getitem__(self, number):
            self.asked.append(number)
            return super().__getitem__(number)

    class Based(Spying, minicnn.utils.PyDataset):
        def __init__(self):
            super().__init__()
            minicnn.utils.PyDataset.__init__(self, workers=2)

    small().fit(Based(), epochs=2, verbose=0)
    assert sorted(Spying.asked[:5]) == sorted(Spying.asked[5:]) == list(range(5))
    assert Spying.asked[:5] != Spying.asked[5:]


def test_a_generator_with_weights_and_class_weights():
    model, other = small(), small()
    classes = {0: 1.0, 1: 0.5, 2: 2.0, 3: 0.0}
    model.fit(in_batches(1, weights=True), class_weight=classes, verbose=0)
    of_sample = np.tile(np.arange(10), 5) * np.array([classes[label] for label in Y.tolist()])
    other.fit(X, Y, batch_size=10, shuffle=False, sample_weight=of_sample, verbose=0)
    assert weights_equal(model, other)


class Loader:
    """What can be gone through again and again, without numbers, as PyTorch's DataLoader."""

    def __init__(self):
        self.turns = 0

    def __len__(self):
        return 5

    def __iter__(self):
        self.turns += 1
        return in_batches(1)


class Unsized:
    def __iter__(self):
        return in_batches(1)


@pytest.mark.parametrize("steps", [None, 5, 3])
def test_what_can_be_gone_through_again_is(steps):
    model, other, source = small(), small(), Loader()
    model.fit(source, epochs=4, steps_per_epoch=steps, verbose=0)
    other.fit(in_batches(), epochs=4, steps_per_epoch=steps or 5, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))
    assert source.turns == (3 if steps == 3 else 4)  # 12 steps of 5 in a turn
    assert model.evaluate(source) == other.evaluate(X, Y, batch_size=10)


def test_what_has_no_length_ends_its_epochs_itself():
    model, other = small(), small()
    model.fit(Unsized(), epochs=3, verbose=0)
    other.fit(in_batches(), epochs=3, steps_per_epoch=5, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))


def test_evaluate_and_predict_from_batches():
    model = small()
    expected = model.evaluate(X, Y, batch_size=10, return_dict=True)
    for source in (in_batches(1), Batches()):
        assert model.evaluate(source, return_dict=True) == expected
    assert model.evaluate(in_batches(), steps=5) == [expected["loss"], expected["accuracy"]]
    np.testing.assert_array_equal(model.predict(Batches()), model.predict(X))
    np.testing.assert_array_equal(model.predict(in_batches(), steps=2), model.predict(X[:20]))
    np.testing.assert_array_equal(model.predict(X, batch_size=8, steps=3), model.predict(X[:24]))
    np.testing.assert_array_equal(model.predict_on_batch(X[:7]), model.predict(X[:7]))


class Lists(Batches):
    def __getitem__(self, number):
        return list(super().__getitem__(number))


@pytest.mark.parametrize(
    "source",
    [Batches, Lists, Loader, Unsized, lambda: in_batches(1), lambda: (X[n : n + 10] for n in range(0, 50, 10)),
     lambda: ([X[n : n + 10]] for n in range(0, 50, 10))],
)  # fmt: skip
@pytest.mark.parametrize("steps", [None, 3, 5, 9])
def test_predictions_are_of_one_pass_at_most(source, steps):
    model, given = small(), source()
    np.testing.assert_array_equal(model.predict(given, steps=steps), model.predict(X[: 10 * (steps or 5)]))
    assert getattr(given, "ends", 1) == getattr(given, "turns", 1) == 1


def test_a_prediction_leaves_the_rest_to_whom_it_belongs():
    source = in_batches(1)
    small().predict(source, steps=2)
    assert len(list(source)) == 3


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (
            {"x": in_batches(1), "steps_per_epoch": 9},
            "the generator has ended after 5 batches of this epoch; expected 9",
        ),
        ({"x": in_batches(), "epochs": 2}, "needs steps_per_epoch to be trained on for several epochs"),
        ({"x": in_batches(), "y": Y}, "fit cannot take y with a generator"),
        ({"x": in_batches(), "validation_split": 0.5}, "fit cannot take validation_split with a generator"),
        (
            {"x": type("Empty", (Batches,), {"__len__": lambda self: 0})()},
            "expected at least one batch, but the length of this Empty is 0",
        ),
        ({"x": iter([X])}, r"a generator must give \(x, y\) or \(x, y, sample_weight\)"),
        ({"x": iter([])}, "the generator gave no batch"),
        ({"x": iter([(X, Y[:3])])}, "50 samples but 3 targets"),
        ({"x": X, "y": Y, "steps_per_epoch": 0}, "steps_per_epoch must be a whole number from 1 on, not 0"),
        ({"x": X, "y": Y, "validation_data": (X,)}, "validation_data must be"),
    ],
)
def test_what_gives_no_batches(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        small().fit(verbose=0, **arguments)


def test_steps_per_epoch_ends_an_epoch_of_arrays_early():
    model = small()
    model.fit(X, Y, batch_size=10, steps_per_epoch=2, epochs=3, verbose=0)
    assert model.optimizer.iterations == 6


class Seen(callbacks.Callback):
    """Has the numbers of the samples of each step, which are the weights of a linear model's input."""

    def __init__(self):
        self.steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self.before = self.model.get_weights()[0]

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(frozenset(np.flatnonzero(self.model.get_weights()[0] != self.before).tolist()))


def seen(source, steps, epochs, shuffle, batch_size=None):
    """Sample n has a 1 in place n, so that a step changes the weights of its samples only."""
    minicnn.set_random_seed(4)
    model, listener = Sequential([Input((10,)), Dense(1, use_bias=False)]), Seen()
    model.compile("sgd", "mse")
    data = (np.eye(10), 5 + np.arange(10.0))
    source = source(*data) if source else data[0]
    targets = {} if source is not data[0] else {"y": data[1], "batch_size": batch_size}
    model.fit(source, steps_per_epoch=steps, epochs=epochs, shuffle=shuffle, verbose=0, callbacks=[listener], **targets)
    return listener.steps


class Threes(minicnn.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 4

    def __getitem__(self, number):
        part = slice(3 * number, 3 * number + 3)
        return self.x[part], self.y[part]


@pytest.mark.parametrize("source", [None, Threes])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_epoch_of_fewer_steps_goes_on_where_the_last_has_ended(source, steps):
    found = seen(source, steps, 12 // steps, False, 3)
    batches = [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9}]
    assert found == batches * 3
    shuffled = seen(source, steps, 12 // steps, True, 3)
    passes = [shuffled[first : first + 4] for first in (0, 4, 8)]
    assert all(frozenset.union(*one) == set(range(10)) for one in passes)
    assert passes[0] != passes[1] != passes[2] and shuffled == seen(source, None, 3, True, 3)


class Growing(Threes):
    """Has another length in every epoch."""

    lengths = (3, 4, 2)

    def __init__(self, x, y):
        super().__init__(x, y)
        self.epoch = 0

    def __len__(self):
        return self.lengths[self.epoch]

    def on_epoch_end(self):
        self.epoch = min(self.epoch + 1, 2)


def test_epochs_of_a_sequence_whose_length_changes():
    batches = [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9}]
    assert seen(Growing, None, 3, False) == batches[:3] + batches + batches[:2]


def test_a_pass_goes_on_whatever_a_callback_does_to_the_optimizer():
    """A step of its own, and another optimizer, whose steps are counted from 0."""
    minicnn.set_random_seed(4)
    model, listener = Sequential([Input((10,)), Dense(1, use_bias=False)]), Seen()
    model.compile("sgd", "mse")

    def meddle(epoch, logs):
        if epoch == 0:
            model.train_on_batch(np.zeros((1, 10)), np.zeros((1, 1)))
        if epoch == 1:
            model.compile("sgd", "mse")

    hook = callbacks.LambdaCallback(on_epoch_end=meddle)
    model.fit(
        np.eye(10),
        5 + np.arange(10.0),
        batch_size=3,
        steps_per_epoch=1,
        epochs=8,
        verbose=0,
        callbacks=[listener, hook],
    )
    for one in (listener.steps[:4], listener.steps[4:]):
        assert frozenset.union(*one) == set(range(10))


def test_validation_batches_are_not_cut_to_the_size_of_the_training_data():
    x = np.arange(12.0)[:, None]
    model = Sequential([Input((1,)), Dense(1, use_bias=False)])
    model.set_weights([np.ones((1, 1))])
    model.compile(minicnn.optimizers.SGD(0.0), losses.MeanSquaredError(reduction="sum"))
    history = model.fit(x[:3], 0 * x[:3], validation_data=(x, 0 * x), verbose=0).history
    assert history["val_loss"] == [sum(n * n for n in range(12))]


def test_logs_of_tests_are_in_order():
    heard = []

    class Listening(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            heard.append(list(logs))

        def on_test_end(self, logs=None):
            heard.append(list(logs))

    small(metrics=["sparse_categorical_accuracy", "accuracy"]).evaluate(X, Y, callbacks=[Listening()])
    assert heard == [["accuracy", "loss", "sparse_categorical_accuracy"]] * 3  # two batches and the end


def test_errors_in_properties_are_not_hidden():
    class Slow(minicnn.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return self.rat

    class Odd(Sequential):
        @property
        def shape(self):
            return self.shap

    with pytest.raises(AttributeError, match="'Slow' object has no attribute 'rat'"):
        _ = minicnn.optimizers.SGD(Slow()).learning_rate
    with pytest.raises(AttributeError, match="'Odd' object has no attribute 'shap'"):
        _ = Odd([Input((3,))]).shape


def test_the_end_of_training_hears_what_was_measured():
    heard = []

    class Listening(callbacks.Callback):
        def on_train_end(self, logs=None):
            heard.append(list(logs))

    small().fit(X, Y, verbose=0, callbacks=[callbacks.LearningRateScheduler(lambda epoch: 0.1), Listening()])
    assert heard == [["accuracy", "loss"]]


def test_validation_now_and_then():
    history = small().fit(X, Y, epochs=5, verbose=0, validation_split=0.2, validation_freq=2, validation_batch_size=3)
    assert len(history.history["val_loss"]) == 2 and len(history.history["loss"]) == 5


def test_validation_after_the_epochs_of_a_list():
    seen = []

    class Seen(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch + 1, "val_loss" in logs))

    plateau = callbacks.ReduceLROnPlateau(patience=1)  # which watches val_loss
    small().fit(X, Y, epochs=4, verbose=0, validation_split=0.2, validation_freq=[1, 4, 9], callbacks=[Seen(), plateau])
    assert seen == [(1, True), (2, False), (3, False), (4, True)]


def test_hooks_of_tests_and_predictions():
    heard = []

    class Listening(callbacks.Callback):
        pass

    for hook in (
        "test_begin",
        "test_batch_begin",
        "test_batch_end",
        "test_end",
        "train_batch_end",
        "predict_batch_end",
    ):
        setattr(Listening, f"on_{hook}", lambda self, *given, hook=hook: heard.append(hook))
    model = small()
    model.fit(X, Y, batch_size=25, verbose=0, validation_data=(X, Y), validation_batch_size=50, callbacks=Listening())
    assert heard == ["train_batch_end"] * 2 + ["test_begin", "test_batch_begin", "test_batch_end", "test_end"]
    heard.clear()
    model.predict(X, batch_size=25, callbacks=[Listening()])
    model.evaluate(X, Y, callbacks=Listening())
    assert heard == ["predict_batch_end"] * 2 + ["test_begin", *["test_batch_begin", "test_batch_end"] * 2, "test_end"]


def test_a_callback_stops_within_an_epoch():
    class Stopping(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    model = small()
    model.fit(X, Y, batch_size=5, epochs=4, verbose=0, callbacks=[Stopping()])
    assert model.optimizer.iterations == 3


# ---------------------------------------------------------------------- losses


def slope(loss, targets, predictions, weights):
    """The gradient, by central differences in float64."""
    gradient = np.zeros_like(predictions)
    for place in np.ndindex(predictions.shape):
        moved = []
        for step in (1e-6, -1e-6):
            near = predictions.copy()
            near[place] += step
            moved.append(loss(targets, near, weights))
        gradient[place] = (moved[0] - moved[1]) / 2e-6
    return gradient


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2, 0, 1.0])])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@pytest.mark.parametrize("shape", [(4, 3), (4, 1), (4, 2, 2, 3)])
@pytest.mark.parametrize(
    "cls, options, term",
    [
        (losses.MeanSquaredError, {}, lambda t, p: (p - t) ** 2),
        (losses.MeanAbsoluteError, {}, lambda t, p: abs(p - t)),
        (losses.BinaryCrossentropy, {}, lambda t, p: -(t * np.log(p) + (1 - t) * np.log(1 - p))),
        (
            losses.BinaryCrossentropy,
            {"from_logits": True, "label_smoothing": 0.2},
            lambda t, z: np.log(1 + np.exp(z)) - (0.8 * t + 0.1) * z,
        ),
    ],
)
def test_values_and_gradients(cls, options, term, shape, reduction, weights):
    random = np.random.default_rng(1)
    t, p = random.integers(0, 2, shape).astype(float), random.uniform(0.05, 0.95, shape)
    loss = cls(**options, reduction=reduction)
    value, gradient = loss.value_and_gradient(t, p, weights)
    total, count = 0.0, 0
    for place in np.ndindex(shape[:-1]):
        count += 1
        total += np.mean([term(a, b) for a, b in zip(t[place], p[place], strict=True)]) * (
            1 if weights is None else weights[place[0]]
        )
    assert value == pytest.approx(total / (count if reduction == "sum_over_batch_size" else 1), rel=1e-12)
    np.testing.assert_allclose(gradient, slope(loss, t, p, weights), atol=1e-7)
    again = losses.get(losses.serialize(loss))
    assert type(again) is cls and again.get_config() == loss.get_config()


def test_large_scores_neither_overflow_nor_vanish():
    loss = losses.BinaryCrossentropy(from_logits=True)
    value, gradient = loss.value_and_gradient([[1.0], [0.0]], np.array([[-1000.0], [1000.0]]))
    assert value == 1000 and gradient.tolist() == [[-0.5], [0.5]]


@pytest.mark.parametrize(
    "name", ["categorical_crossentropy", "binary_crossentropy", "mean_squared_error", "mse", "mae"]
)
def test_functions_and_names_of_losses(name):
    function = getattr(losses, name)
    assert type(losses.get(function)) is type(losses.get(name))
    t, p = np.eye(3)[[0, 2]], np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    assert function(t, p).shape == (2,)
    assert losses.get(name)(t, p) == pytest.approx(function(t, p).mean(), rel=1e-12)


@pytest.mark.parametrize(
    "last, activation, loss", [(4, "softmax", "mse"), (4, "sigmoid", "binary_crossentropy"), (1, None, "mae")]
)
def test_a_model_trains_on_any_loss(last, activation, loss):
    """Its steps follow the gradient of the loss of what `predict` gives, which a softmax is part of."""
    model = small(last, activation, loss=loss, metrics=[loss]).astype("float64")
    targets = np.eye(4)[Y] if last == 4 else Y.astype(float)
    x, before = X.astype(float), model.get_weights()
    value = model.train_on_batch(x, targets)[0]
    steps = [(old - new) / 0.01 for old, new in zip(before, model.get_weights(), strict=True)]

    def loss_at(move):
        model.set_weights([weight + move * step for weight, step in zip(before, steps, strict=True)])
        return losses.get(loss)(targets, model.predict(x))

    assert value == pytest.approx(loss_at(0), rel=1e-9)
    rise = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5
    assert rise == pytest.approx(sum((step**2).sum() for step in steps), rel=1e-5)
    found = model.evaluate(x, targets, return_dict=True)
    assert found[loss] == pytest.approx(found["loss"], rel=1e-9)


@pytest.mark.parametrize(
    "loss, sentence",
    [
        ("dice", "unknown loss 'dice'; expected one of categorical_crossentropy"),
    ],
)
def test_what_is_no_loss(loss, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(loss=loss)
    with pytest.raises(ValueError, match="predictions of shape .* but targets of shape"):
        small(loss="mse").fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="reduction must be"):
        losses.MeanSquaredError(reduction="mean")


# ---------------------------------------------------------------------- metrics


def test_metrics_by_name_object_and_function():
    def certainty(y_true, y_pred):
        return y_pred.max(axis=1)

    class Largest(metrics.Metric):
        def reset_state(self):
            self.found = 0.0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.found = max(self.found, float(y_pred.max()))

        def result(self):
            return self.found

    top = metrics.SparseTopKCategoricalAccuracy(k=2, name="top2")
    asked = ["accuracy", top, "sparse_categorical_crossentropy", certainty, Largest()]
    model = small(metrics=asked)
    found, p = model.evaluate(X, Y, batch_size=8, return_dict=True), model.predict(X).astype(float)
    ranks = np.array([sum(other > row[label] for other in row) for row, label in zip(p, Y.tolist(), strict=True)])
    expected = {
        "loss": -np.log(p[range(50), Y]).mean(),
        "accuracy": (ranks == 0).mean(),
        "top2": (ranks < 2).mean(),
        "sparse_categorical_crossentropy": -np.log(p[range(50), Y]).mean(),
        "certainty": p.max(axis=1).mean(),
        "largest": p.max(),
    }
    assert list(found) == sorted(expected) and found == pytest.approx(expected, rel=1e-5)
    assert list(model.fit(X, Y, verbose=0).history) == sorted(expected)
    assert model.test_on_batch(X, Y, return_dict=True).keys() == expected.keys()


def test_metrics_of_a_step_do_not_depend_on_how_many_are_done_at_once(monkeypatch):
    monkeypatch.setattr(minicnn.training, "PAUSE", 1e9)
    logs = small(metrics=["accuracy", "sparse_top_k_categorical_accuracy"]).fit(X, Y, batch_size=4, epochs=3, verbose=0)
    monkeypatch.setattr(minicnn.training, "PAUSE", 0.0)
    again = small(metrics=["accuracy", "sparse_top_k_categorical_accuracy"]).fit(
        X, Y, batch_size=4, epochs=3, verbose=0
    )
    assert logs.history == again.history


def test_accuracy_of_one_probability():
    assert metrics.accuracy([[0], [1], [1]], np.array([[0.2], [0.7], [0.4]])).tolist() == [1, 1, 0]
    assert metrics.BinaryAccuracy(threshold=0.3)([0, 1, 1], np.array([[0.2], [0.7], [0.4]])) == 1


@pytest.mark.parametrize(
    "metric", [metrics.SparseTopKCategoricalAccuracy(3), metrics.MeanSquaredError(name="error"), "mae"]
)
def test_metrics_are_saved(metric, tmp_path):
    model = small(metrics=[metric])
    model.save(tmp_path / "model.safetensors")
    again = minicnn.load_model(tmp_path / "model.safetensors")
    targets = np.eye(4)[Y] if metric == "mae" or isinstance(metric, metrics.MeanSquaredError) else Y
    model.compile("sgd", "categorical_crossentropy" if targets is not Y else model.loss, metrics=[metric])
    again.compile("sgd", model.loss, metrics=again.metrics[1:])
    assert again.evaluate(X, targets, return_dict=True) == model.evaluate(X, targets, return_dict=True)


def test_what_is_no_metric():
    with pytest.raises(ValueError, match="unknown metric 'sensitivity'; expected one of accuracy"):
        small(metrics=["sensitivity"])
    with pytest.raises(TypeError, match="SparseTopKCategoricalAccuracy.* unexpected keyword argument 'top'"):
        metrics.SparseTopKCategoricalAccuracy(top=3)


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


# ---------------------------------------------------------------------- utils, backend, old names


def test_to_categorical():
    np.testing.assert_array_equal(minicnn.utils.to_categorical([2, 0, 1]), np.eye(3)[[2, 0, 1]])
    assert minicnn.utils.to_categorical(np.array([[1], [3]]), num_classes=5).shape == (2, 5)
    for wrong, sentence in (([0, -1], r"label \(1,\).*got -1"), ([0.5], "got 0.5"), ([3], "from 0 to 2, got 3")):
        with pytest.raises(ValueError, match=sentence):
            minicnn.utils.to_categorical(wrong, 3)


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(minicnn.utils.normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_array_equal(minicnn.utils.normalize(x, axis=0, order=1), [[1, 1], [0, 0]])


def test_backend():
    assert K.image_data_format() == "channels_last" and K.floatx() == "float32"
    K.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match=r"images are channels_last here.*moveaxis"):
        K.set_image_data_format("channels_first")


@pytest.mark.parametrize(
    "ask, sentence",
    [
        (lambda: small().fit_generator, "Keras 3 has dropped it, use fit"),
        (lambda: small().predict_classes, r"use predict\(x\).argmax\(axis=-1\)"),
        (lambda: minicnn.utils.np_utils, "use minicnn.utils.to_categorical"),
        (lambda: small().nothing, "has no attribute 'nothing'$"),
    ],
)
def test_what_keras_has_dropped(ask, sentence):
    with pytest.raises(AttributeError, match=sentence):
        ask()


@pytest.mark.parametrize(
    "statement, sentence",
    [
        ("from minicnn.utils import np_utils", "minicnn.utils has no np_utils: Keras 3 .*, use minicnn.utils.to_categ"),
        (
            "from minicnn.utils.np_utils import to_categorical",
            "Keras 3 has dropped it, use minicnn.utils.to_categorical",
        ),
        (
            "from minicnn.layers.core import Dense",
            "minicnn.layers has no core: Keras 3 has dropped it, use minicnn.layers",
        ),
        ("import minicnn.layers.convolutional", "use minicnn.layers$"),
        ("from minicnn.applications import VGG16", "minicnn has no applications: nothing is trained beforehand"),
        ("from minicnn.datasets import cifar10", "minicnn.datasets has no cifar10: the data sets are mnist"),
        ("from minicnn.wrappers.scikit_learn import KerasClassifier", "minicnn has no wrappers: call fit and predict"),
    ],
)
def test_an_import_from_a_module_that_is_not_here_says_so(statement, sentence):
    with pytest.raises(ImportError, match=sentence):
        exec(statement, {})


def test_a_class_that_is_not_here_given_as_a_setting():
    for name, choose in (("losses.Dice", "loss"), ("optimizers.Lion", "optimizer")):
        module, _, kind = name.partition(".")
        with pytest.raises(ValueError, match=f"minicnn has no {choose} {kind}: "):
            small(**{choose: getattr(getattr(minicnn, module), kind)})
    with pytest.raises(ValueError, match="minicnn has no metric MeanIoU: "):
        small(metrics=[minicnn.metrics.MeanIoU])


def test_the_order_of_the_arguments_of_losses():
    assert (
        minicnn.losses.MeanSquaredError("sum").reduction == minicnn.losses.MeanAbsoluteError("sum").reduction == "sum"
    )
    assert minicnn.Loss("mine", "sum").get_config() == {"name": "mine", "reduction": "sum"}


def test_a_dataset_is_told_of_epochs():
    class Told(Batches, minicnn.utils.PyDataset):
        begun = 0

        def on_epoch_begin(self):
            self.begun += 1
            super().on_epoch_begin()

    told = Told()
    small().fit(told, epochs=2, verbose=0)
    assert told.begun == told.ends == 2 and told.num_batches == 5
    small().evaluate(told)
    assert told.begun == told.ends == 3


def test_a_dataset_without_batches():
    class Nothing(minicnn.utils.Sequence):
        pass

    with pytest.raises(TypeError, match=r"Nothing does not define __len__\(\)"):
        small().fit(Nothing(), verbose=0)


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


def test_models_that_share_layers_which_are_built_later():
    x = np.ones((3, 4), "float32")
    inner = minicnn.Sequential([Dense(3)])
    outer, other = minicnn.Sequential([inner, Dense(2)]), minicnn.Sequential([inner, Dense(5)])
    assert inner.predict(x).shape == (3, 3) and outer.predict(x).shape == (3, 2) and other.predict(x).shape == (3, 5)
    np.testing.assert_array_equal(Model(outer.inputs, outer.outputs).predict(x), outer.predict(x))


def test_the_output_of_a_model_is_of_its_own_layers():
    i, p, q, a = Input((4,)), Dense(3), Dense(3), Dense(2)
    one, two = Model(i, a(p(i))), Model(i, a(q(i)))
    for model, first in ((one, p), (two, q)):
        assert Model(model.input, model.output).chain == [first, a]
    base = minicnn.Sequential([Input((4,)), Dense(3)])
    outer = minicnn.Sequential([Input((4,)), base, Dense(2)])
    assert Model(outer.inputs, outer.outputs).chain == outer.chain


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


def test_parts_of_models_with_models_inside():
    base = minicnn.Sequential([Input((8,)), Dense(4), Dense(3)])
    x = Input((8,))
    functional = Model(x, Dense(2, name="last")(base(x)))
    chain = minicnn.Sequential([Input((8,)), base, Dense(2, name="last")])
    scaled = minicnn.Sequential([Input((8,)), layers.Rescaling(0.5), base, Dense(2, name="last")])
    for model in (functional, chain, scaled):
        base.input  # noqa: B018  changes nothing
        part = Model(outputs=model.get_layer("last").output, inputs=model.input)
        assert part.chain == model.chain
    assert functional.layers == [x, base, functional.get_layer("last")] and chain.layers[0] is base
    assert Model(base.input, base.layers[0].output).chain == base.layers[:1]


def test_layers_in_two_orders():
    one, two = Dense(8), Dense(8)
    first = minicnn.Sequential([one, two])
    first.build((None, 8))
    other = minicnn.Sequential([two, one])
    other.build()
    assert Model(first.input, two.output).chain == [one, two]
    assert Model(other.input, other.output).chain == [two, one]
    again = copy.copy(first)
    assert again.layers == first.layers and Model(first.input, two.output).chain == [one, two]
    again = copy.deepcopy(first)
    assert again.layers[0].input.shape == (None, 8) and layers.LSTM is layers.LSTM
    named = minicnn.Sequential([Dense(3, name="input", input_shape=(2,))])
    assert Model(named.input, named.output).chain == named.layers


def test_copies_of_layers_and_models():
    model = minicnn.Sequential([Dense(300, input_shape=(400,)), Dense(3)])
    alone = pickle.loads(data := pickle.dumps(model.layers[1]))
    assert len(data) < 20_000 and alone.output.shape == (None, 3)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        part = Model(again.input, again.layers[0].output)
        assert part.chain == again.layers[:1] and part.predict(np.ones((2, 400))).shape == (2, 300)
    long = minicnn.Sequential([Input((2,)), *(layers.ReLU() for _ in range(1200))])
    x = i = Input((2,))
    for _ in range(1200):
        x = layers.ReLU()(x)
    assert len(Model(i, x).layers) == 1201
    assert copy.deepcopy(long.layers[-1]).name and long.output.shape == (None, 2)
    long.astype("float64")
    assert long.output.dtype == "float64"


def test_a_layer_of_ones_own_may_keep_what_it_likes():
    class Mine(layers.Layer):
        def forward(self, x, training=False):
            self.input, self.source = x, x
            self.output = x + 1
            return self.output

        def backward(self, dy):
            return dy

    one = Mine()
    model, x = minicnn.Sequential([Input((3,)), one]), np.zeros((2, 3), "float32")
    assert (model.predict(x) == 1).all() and (
        minicnn.Sequential([Input((3,)), one, layers.ReLU()]).predict(x) == 1
    ).all()
    assert Model(model.input, model.output).chain == [one]


@pytest.mark.parametrize("first", [0, 1])
def test_a_model_up_to_one_of_another_models_layers(first):
    model = minicnn.Sequential([*[Input((8,))][:first], Dense(5, activation="relu"), Dense(3)])
    with pytest.raises(AttributeError, match="layer dense.* has no output yet"):
        minicnn.Sequential([layers.Flatten(), Dense(2)]).layers[1].output  # noqa: B018
    x = np.random.default_rng(0).standard_normal((4, 8)).astype("float32")
    y = model.predict(x)
    part = Model(model.input, model.layers[0].output)
    rest = np.maximum(x @ model.get_weights()[0] + model.get_weights()[1], 0)
    np.testing.assert_allclose(part.predict(x), rest, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(Model(inputs=model.inputs, outputs=model.outputs).predict(x), y)
    assert model.layers[1].input.shape == (None, 5) and model.output.shape == (None, 3) and model.built


def test_the_names_of_keras_for_weights_and_metrics():
    model = small()
    assert model.metrics_names == ["loss", "accuracy"]
    assert model.variables == model.weights and model.trainable_variables == model.trainable_weights
    assert model.non_trainable_variables == [] and model.reset_metrics() is None
    model.weights[0].assign(np.ones(model.weights[0].shape))
    assert (K.get_value(model.weights[0]) == 1).all()


def test_a_learning_rate_can_be_assigned_to():
    model = small()
    model.optimizer.learning_rate.assign(0.25)
    assert model.optimizer.learning_rate == 0.25 == model.optimizer.learning_rate.numpy()
    K.set_value(model.optimizer.learning_rate, 0.5)
    assert K.get_value(model.optimizer.learning_rate) == 0.5
    assert type(copy.deepcopy(model.optimizer.learning_rate)) is float

    class Mine(minicnn.optimizers.SGD):
        def __init__(self, lr):
            super().__init__(lr)
            self.lr = lr

    assert Mine(0.25).lr == 0.25
    for use in (lambda: model.optimizer.lr, lambda: setattr(model.optimizer, "lr", 1.0)):
        with pytest.raises(AttributeError, match="lr is called learning_rate today"):
            use()


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


def test_metrics_take_their_arguments_in_the_order_of_keras():
    assert minicnn.metrics.TopKCategoricalAccuracy(3, "best").get_config() == {"name": "best", "k": 3}
    assert minicnn.metrics.BinaryAccuracy("right", None, 0.7).get_config() == {"name": "right", "threshold": 0.7}
    assert list(inspect.signature(minicnn.metrics.TopKCategoricalAccuracy).parameters) == ["k", "name", "dtype"]
    with pytest.raises(TypeError, match="Accuracy.* unexpected keyword argument 'k'"):
        minicnn.metrics.Accuracy(k=2)
    np.testing.assert_array_equal(
        minicnn.metrics.confusion_matrix([0, 2, 2], [0, 1, 2]), [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    )


def test_pictures_as_arrays():
    assert minicnn.utils.img_to_array(np.zeros((5, 4), "uint8")).shape == (5, 4, 1)
    with pytest.raises(ValueError, match=r"expected an array \(H, W\) or \(H, W, C\), got shape \(3,\)"):
        minicnn.preprocessing.image.img_to_array([1, 2, 3])


@pytest.mark.parametrize("name, today", [("nb_epoch", "epochs"), ("workers", "the arguments of a utils.PyDataset")])
def test_arguments_of_fit_that_keras_has_dropped(name, today):
    with pytest.raises(TypeError, match=f"fit has no argument '{name}': Keras 3 has dropped it, use {today}$"):
        small().fit(X, Y, **{name: 3})


def test_compile_says_what_it_cannot_do():
    with pytest.raises(ValueError, match="compile cannot take loss_weights"):
        small(loss_weights=[1, 2])
    small(loss_weights=[1.0])


@pytest.mark.parametrize(
    "name, why", [("Concatenate", "one chain"), ("LSTM", "images"), ("RandomCrop", "a Layer of your own")]
)
def test_layers_that_are_not_here_say_so_when_used(name, why):
    layer = getattr(minicnn.layers, name)
    with pytest.raises(ValueError, match=f"minicnn has no layer {name}: .*{why}"):
        layer(3)
    assert not hasattr(minicnn.layers, "Conv2d") and minicnn.layers.MaxPool2D is MaxPooling2D


@pytest.mark.parametrize(
    "name",
    [
        "callbacks.RemoteMonitor", "utils.model_to_dot", "constraints.maxnorm", "optimizers.Lion", "losses.Dice",
        "metrics.MeanIoU",
    ],
)  # fmt: skip
def test_other_things_that_are_not_here_say_so_when_used(name):
    module, name = name.split(".")
    module = importlib.import_module(f"minicnn.{module}")
    with pytest.raises(ValueError, match=f"^minicnn has no [a-z ]*{name}: "):
        getattr(module, name)(1, to_file="a")
    with pytest.raises(ValueError, match=f"^minicnn has no [a-z ]*{name}: "):
        type("Mine", (getattr(module, name),), {})
    assert not isinstance(3, getattr(module, name))
    assert not hasattr(module, "Nothing")


def test_base_classes_and_initializers_by_the_names_of_keras():
    assert issubclass(minicnn.losses.MeanSquaredError, minicnn.Loss)
    assert issubclass(minicnn.optimizers.SGD, minicnn.Optimizer) and issubclass(
        minicnn.regularizers.L2, minicnn.Regularizer
    )
    assert minicnn.initializers.he_normal is minicnn.initializers.HeNormal and minicnn.Initializer and minicnn.Metric


def test_the_length_of_samples_with_one_axis():
    model = minicnn.Sequential([Dense(3, input_dim=5)])
    assert model.output_shape == (None, 3) and model.input_shape == (None, 5)


@pytest.mark.parametrize("at_once", [0.0, 1e9])
def test_a_loss_that_is_no_number_ends_training_and_says_where(monkeypatch, at_once):
    monkeypatch.setattr(minicnn.training, "PAUSE", at_once)
    x = X.copy()
    x[37] = np.nan
    with pytest.raises(ValueError, match="the loss is nan in epoch 1, step 10: lower the learning rate"):
        small().fit(x, Y, batch_size=4, shuffle=False, verbose=0)
    stopped = small()
    stopped.fit(x, Y, batch_size=4, shuffle=False, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    assert stopped.optimizer.iterations == 10


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


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8"])
def test_several_steps_of_data_of_any_type(monkeypatch, dtype):
    """What the layers do not compute in is converted, batch by batch."""
    monkeypatch.setattr(minicnn.training, "PAUSE", 1e9)
    x = (10 * X).astype(dtype)
    model, other = small(), small()
    other.run_eagerly = True
    logs = [each.fit(x, Y, batch_size=4, epochs=2, verbose=0).history for each in (model, other)]
    assert weights_equal(model, other) and logs[0] == logs[1]


def test_the_history_says_what_was_recorded():
    history = small().fit(X, Y, verbose=0).history
    assert history == dict(history)
    with pytest.raises(KeyError, match="'acc' was not recorded; Keras 3 calls it 'accuracy'; there are accuracy, loss"):
        history["acc"]
    with pytest.raises(KeyError, match="'val_loss' was not recorded; there are accuracy, loss"):
        history["val_loss"]
    history = small().fit(X, Y, verbose=0, callbacks=callbacks.LearningRateScheduler(lambda epoch: 0.1)).history
    with pytest.raises(KeyError, match="'lr' was not recorded; Keras 3 calls it 'learning_rate'; there are accuracy"):
        history["lr"]


# ---------------------------------------------------------------------- small things that scripts rely on


def test_layers_of_models_within_models():
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


def test_a_model_of_tensors_counts_its_input(tmp_path):
    minicnn.set_random_seed(5)
    i = Input((6, 6, 1))
    model = Model(i, Dense(2)(Flatten()(Conv2D(3, 3)(i))))
    assert model.layers[0] is i and model.get_layer(index=1).kernel.shape == (3, 3, 1, 3)
    model.compile("adam", "mse")
    for name in ("m.keras", "m.safetensors"):
        model.save(tmp_path / name)
        again = minicnn.load_model(tmp_path / name)
        assert type(again) is Model and [type(a) for a in again.layers] == [type(a) for a in model.layers]
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for again in (Model.from_config(model.get_config()), minicnn.models.model_from_json(model.to_json(indent=1))):
        assert type(again) is Model and len(again.layers) == 4


def test_models_have_names_of_their_own():
    minicnn.backend.clear_session()
    i = Input((2,))
    names = [Sequential().name, Sequential().name, Model(i, Dense(2)(i)).name, Sequential(name="mine").name]
    assert names == ["sequential", "sequential_1", "functional", "mine"]


def test_methods_that_would_not_be_called():
    for base, name in ((Sequential, "train_step"), (Model, "compute_loss"), (Sequential, "test_step")):
        with pytest.raises(TypeError, match=f"model class Mine: a {name} of your own is not called here"):
            type("Mine", (base,), {name: lambda self, *arguments: None})
    with pytest.raises(TypeError, match=r"layer class Mine: expected forward\(x, training\) .*, got call"):
        type("Mine", (minicnn.Layer,), dict.fromkeys(["call", "forward", "backward"], lambda self, x: x))


def test_lists_of_one_array_and_axes_of_one():
    model = small()
    y = model.predict(X)
    for x in (X.tolist(), tuple(X.tolist()), X[..., 0].tolist()):
        np.testing.assert_array_equal(model(x), y)
    for x in ([X], (X,), X[..., 0], [X[..., 0]]):
        np.testing.assert_array_equal(model.predict(x), y)
        np.testing.assert_array_equal(model.predict_on_batch(x), y)
        assert model.evaluate(x, [Y]) == model.evaluate(X, Y)
    np.testing.assert_array_equal(model(X[..., 0]), model(X))
    assert model.predict([X[0]]).shape == model.predict(list(X[:1])).shape == (1, 4)
    flat = Sequential([Flatten(input_shape=(6, 6)), Dense(2)])
    np.testing.assert_array_equal(flat.predict(X), flat.predict(X[..., 0]))
    one, other = small(), small()
    one.fit([X], [Y], verbose=0)
    other.fit(X, Y, verbose=0)
    assert weights_equal(one, other)
    small().fit((([X[:8]], [Y[:8]]) for _ in range(2)), steps_per_epoch=2, verbose=0)
    assert Sequential([Flatten(), Dense(2)]).predict([X]).shape == (50, 2)
    with pytest.raises(ValueError, match=r"expected an input of shape \(None, 6, 6, 1\), received \(None, 6, 5\)"):
        model.predict(X[:, :, :5, 0])


def test_batches_larger_than_the_data_and_classes_without_a_weight():
    one, other = small(), small()
    one.fit(X, Y, batch_size=500, class_weight={0: 2.0, 2: 0.5}, verbose=0)
    other.fit(X, Y, batch_size=50, sample_weight=np.choose(Y, [2.0, 1.0, 0.5, 1.0]), verbose=0)
    assert weights_equal(one, other)


def test_a_metric_of_one_number_for_a_batch():
    """Batches count alike, as in Keras' MeanMetricWrapper."""

    def share(y_true, y_pred):
        return (y_pred.argmax(axis=1) == y_true).mean()

    model = small(metrics=[share])
    p = model.predict(X).argmax(axis=1) == Y
    expected = np.mean([p[k : k + 16].mean() for k in range(0, 50, 16)])
    assert model.evaluate(X, Y, batch_size=16)[1] == pytest.approx(expected)
    rates = minicnn.optimizers.SGD(0.0)
    for callback in ([], [callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]):
        model.compile(rates, "sparse_categorical_crossentropy", metrics=[share])
        found = model.fit(X, Y, batch_size=16, shuffle=False, callbacks=callback, verbose=0).history["share"][0]
        assert found == pytest.approx(expected)


def test_losses_and_metrics_listed_by_outputs():
    for loss in ("mse", ["mse"], {"dense": "mse"}):
        for asked in (["mae"], [["mae"]], {"dense": ["mae"]}, {"dense": "mae"}, "mae"):
            assert small(loss=loss, metrics=asked, activation=None).evaluate(
                X, np.eye(4)[Y], return_dict=True
            ).keys() == {"loss", "mae"}
    with pytest.raises(ValueError, match="compile: expected one loss, as a model has one output, got 2"):
        small(loss=["mse", "mae"])
    with pytest.raises(ValueError, match="compile: expected one list of metrics, as a model has one output, got 2"):
        small(metrics={"a": "mae", "b": "mse"})


def test_a_metric_is_called_as_it_was_asked_for():
    found = small(metrics=["Accuracy", "SparseCategoricalAccuracy", "acc"]).evaluate(X, Y, return_dict=True)
    assert (
        list(found) == ["Accuracy", "SparseCategoricalAccuracy", "acc", "loss"]
        and len({*list(found.values())[:3]}) == 1
    )


def test_logs_of_batches_have_the_loss_and_the_metrics_alone():
    logs = []
    small().fit(
        X, Y, verbose=1, callbacks=[callbacks.LambdaCallback(on_train_batch_end=lambda batch, of: logs.append(of))]
    )
    assert [list(one) for one in logs] == [["accuracy", "loss"]] * 2


def test_scores_that_a_softmax_has_become():
    with pytest.warns(UserWarning, match="sparse_categorical_crossentropy expects scores .* before the last softmax"):
        small(loss=losses.SparseCategoricalCrossentropy(from_logits=True))


def test_a_summary_before_the_shapes_are_known(capsys):
    Sequential([Conv2D(3, 3), Flatten()], name="open").summary()
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[0] == "Model: open"
        and lines[4].split()[1:] == ["?"] * 4
        and lines[-1].startswith("not built: the shapes")
    )


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


# ---------------------------------------------------------------------- names, arguments and attributes that scripts know


def starred(module):
    found = {}
    exec(f"from minicnn.{module} import *", found)
    return {name: value for name, value in found.items() if not name.startswith("__")}


@pytest.mark.parametrize(
    "module, some",
    [
        ("layers", "AvgPool2D Convolution2D SeparableConvolution2D GlobalMaxPool2D Dense Input Add LSTM average"),
        ("models", "Model Sequential load_model model_from_json save_model clone_model model_from_yaml"),
        ("callbacks", "ModelCheckpoint EarlyStopping History TensorBoard"),
        ("losses", "Loss MeanSquaredError categorical_crossentropy mse get Huber hinge kld Dice"),
        ("metrics", "Metric Mean categorical_crossentropy mean_squared_error CategoricalAccuracy MeanIoU"),
        ("utils", "to_categorical Sequence model_to_dot get_file set_random_seed get_custom_objects"),
        ("optimizers", "Adam SGD schedules Lion adam get"),
        ("optimizers.schedules", "ExponentialDecay"),
        ("initializers", "HeNormal he_normal get STFT"),
        ("regularizers", "l2 L2 get"),
        ("activations", "relu softmax get glu"),
        ("constraints", "MaxNorm max_norm get maxnorm"),
        ("backend", "image_data_format clear_session set_value"),
        ("config", "floatx set_floatx set_dtype_policy"),
        ("saving", "load_model register_keras_serializable"),
        ("preprocessing", "image image_dataset_from_directory"),
        ("preprocessing.image", "ImageDataGenerator img_to_array load_img"),
    ],
)
def test_a_star_brings_the_names_of_keras_and_no_others(module, some):
    found = starred(module)
    assert set(some.split()) <= set(found)
    no_names = {"np", "Any", "Sequence", "Callable", "Mapping", "without", "refuse", "Path", "Ops", "Array", "sum"}
    assert set(found) & no_names == ({"Sequence"} if module == "utils" else set())
    modules = {name for name, value in found.items() if inspect.ismodule(value)}
    assert modules <= {"schedules", "image"} and all(callable(found[name]) for name in set(found) - modules)


def test_stars_of_models_and_utils_one_after_the_other():
    found = {}
    exec("from minicnn.utils import *\nfrom minicnn.models import *\nfrom minicnn.layers import *", found)
    assert found["Sequence"] is minicnn.utils.Sequence and found["MaxPool2D"] is MaxPooling2D
    with pytest.raises(ValueError, match="minicnn has no layer Add: a model is one chain of layers here"):
        found["Add"]()


@pytest.mark.parametrize(
    "place, sentence",
    [
        ("backend.function", r"Keras 3 has dropped it, use Model\(model.inputs, layer.output\).predict"),
        ("backend.image_dim_ordering", "use image_data_format"),
        ("backend.set_image_dim_ordering", "use set_image_data_format"),
        ("backend.set_session", "there are no sessions"),
        ("backend.learning_phase", "by the argument training"),
        ("optimizers.adam", "Keras 3 has dropped it, the classes are SGD, RMSprop"),
        ("losses.Reduction", "Keras 3 has dropped it, write reduction='sum', 'sum_over_batch_size' or None"),
        ("regularizers.l1l2", "Keras 3 has dropped it, use l1_l2"),
        ("regularizers.activity_l2", "Keras 3 has dropped it, give the layer an activity_regularizer"),
        ("models.model_from_yaml", "use model_from_json"),
        ("layers.MaxPool1D", "for the classification of images"),
        ("layers.RepeatVector", "for the classification of images"),
        ("layers.ThresholdedReLU", "make a Layer of your own"),
        ("layers.multiply", "one chain of layers"),
        ("layers.InputSpec", "input_rank"),
        ("losses.dice", "a Loss with `terms`"),
        ("metrics.IoU", "a function of y_true and y_pred"),
        ("callbacks.BaseLogger", "fit shows its progress itself"),
        ("utils.multi_gpu_model", "a model is on one device, that of model.to"),
        ("initializers.STFT", "one of your own is a function of shape and dtype"),
        ("activations.glu", "make a Layer of your own"),
        ("config.set_dtype_policy", "numbers are float32"),
        ("saving.KerasFileEditor", "h5py and safetensors"),
    ],
)
def test_names_of_any_keras_say_what_is_used_today(place, sentence):
    module, _, name = place.rpartition(".")
    module = importlib.import_module(f"minicnn.{module}")
    with pytest.raises(ValueError, match=f"^minicnn has no .*{name}: .*{sentence}"):
        getattr(module, name)("anything", of=3)
    with pytest.raises(AttributeError, match=sentence):  # what was a module once
        getattr(module, name).anything  # noqa: B018
    assert not hasattr(getattr(module, name), "__anything__")


@pytest.mark.parametrize(
    "statement, sentence",
    [
        ("import minicnn; minicnn.backend.l2_normalize(3)", "use NumPy's functions or those of minicnn.activations"),
        (
            "from minicnn.ops import scatter",
            "minicnn.ops has no scatter: it is where a device is chosen, not keras.ops",
        ),
        ("import minicnn; minicnn.ops.vectorized_map(3)", "use NumPy's functions or those of minicnn.activations"),
        ("from minicnn.layers.merge import add", "minicnn.layers has no merge: a model is one chain of layers here"),
        ("from minicnn.layers.recurrent import LSTM", "for the classification of images"),
        ("from minicnn.layers.advanced_activations import LeakyReLU", "use minicnn.layers$"),
        ("from minicnn.engine.topology import Layer", "use minicnn.layers.Layer"),
        ("from minicnn.callbacks.callbacks import History", "use minicnn.callbacks$"),
        ("from minicnn.callbacks import callbacks", "use minicnn.callbacks$"),
        ("from minicnn.utils.vis_utils import plot_model", "use minicnn.utils$"),
        ("from minicnn.utils.data_utils import Sequence", "use minicnn.utils$"),
        ("from minicnn.preprocessing.text import Tokenizer", "for the classification of images"),
        ("from minicnn.preprocessing import sequence", "for the classification of images"),
        ("from minicnn.backend.tensorflow_backend import set_session", "use minicnn.backend$"),
        ("from minicnn.optimizer_v2.adam import Adam", "use minicnn.optimizers$"),
        ("from minicnn.optimizers import adam_v2; adam_v2.Adam()", "the classes are"),
        ("from minicnn.src.layers import Dense", "minicnn has no src: import from minicnn itself"),
        ("import minicnn.legacy", "import from minicnn itself"),
        ("from minicnn.objectives import mse", "use minicnn.losses$"),
        ("import minicnn.initializations", "use minicnn.initializers$"),
        ("from minicnn.datasets import imdb", "are mnist and fashion_mnist"),
        ("from minicnn.random import normal", "numpy.random"),
        ("from minicnn.callbacks import Nothing", "cannot import name 'Nothing'"),
        ("import minicnn.layers.nothing", "No module named 'minicnn.layers.nothing'"),
    ],
)
def test_places_of_any_keras_say_what_is_used_today(statement, sentence):
    with pytest.raises((ImportError, AttributeError), match=sentence):
        exec(statement, {})


@pytest.mark.parametrize(
    "give, sentence",
    [
        (lambda: small().predict(X, workers=2), "predict has no argument 'workers': Keras 3 .* utils.PyDataset"),
        (
            lambda: small().evaluate(X, Y, use_multiprocessing=True),
            "evaluate has no argument 'use_multiprocessing'.* utils.PyDataset",
        ),
        (lambda: small().fit(X, Y, show_accuracy=True), r"use metrics=\['accuracy'\] of compile"),
        (lambda: small().load_weights("w.weights.h5", by_name=True), "use skip_mismatch"),
        (
            lambda: callbacks.ModelCheckpoint("a.keras", period=5),
            "ModelCheckpoint has no argument 'period'.* save_freq",
        ),
        (lambda: callbacks.ReduceLROnPlateau(what=1), "ReduceLROnPlateau has no argument 'what'$"),
        (lambda: minicnn.utils.to_categorical([1], dtype="float32"), r"use astype\(dtype\) of what is returned"),
        (lambda: small().predict(X, what=2), "predict has no argument 'what'$"),
    ],
)
def test_arguments_that_keras_has_dropped(give, sentence):
    with pytest.raises(TypeError, match=sentence):
        give()


def test_arguments_of_layers_that_keras_has_dropped():
    with pytest.raises(ValueError, match="layer c: a Conv2D has no argument weights.* use set_weights of the built"):
        Conv2D(8, 3, weights=[1], name="c")
    with pytest.warns(UserWarning, match="alpha is called negative_slope today"):
        assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1
    with pytest.warns(UserWarning, match="epsilon is called min_delta today"):
        assert callbacks.ReduceLROnPlateau(epsilon=0.5).min_delta == 0.5


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("apply_gradients", "there is train_on_batch"),
        ("get_weights", "Keras 3 has dropped get_weights, use variables"),
        ("nothing", "'SGD' object has no attribute 'nothing'"),
    ],
)
def test_what_an_optimizer_does_not_have(name, sentence):
    with pytest.raises(AttributeError, match=sentence):
        getattr(small().optimizer, name)
    assert not hasattr(small().optimizer, name)


@pytest.mark.parametrize("labels", [np.array(["2", "0", "1"], object), ["2", "0", "1"], np.array([2, 0, 1], object)])
def test_labels_of_strings(labels):
    np.testing.assert_array_equal(minicnn.utils.to_categorical(labels), np.eye(3)[[2, 0, 1]])
    with pytest.raises(ValueError, match=r"label \(0,\): expected a whole number from 0 to 1, got 2"):
        minicnn.utils.to_categorical(labels, 2)
    with pytest.raises(ValueError, match="labels must be whole numbers, or strings of such: .*'cat'"):
        minicnn.utils.to_categorical(["cat", *labels])


def test_losses_are_metrics_too():
    for name in ("categorical_crossentropy", "mean_squared_error", "mse", "binary_crossentropy"):
        assert getattr(metrics, name) is getattr(losses, name)
    assert small(loss="mse", last=1, metrics=[metrics.mean_squared_error]).metrics_names[1:] == ["mean_squared_error"]
    for module, one in ((losses, losses.MeanSquaredError()), (metrics, metrics.BinaryAccuracy(threshold=0.7))):
        assert module.deserialize(module.serialize(one)).get_config() == one.get_config()


@pytest.mark.parametrize("name", ["model.keras", "model.safetensors"])
def test_losses_as_objects_are_metrics_with_their_settings(name, tmp_path):
    targets = np.eye(4, dtype=np.float32)[Y]
    asked = [losses.Huber(0.1), losses.KLDivergence(name="mine"), "kl_divergence"]
    model = small(loss="mse", metrics=asked)
    found = model.evaluate(X, targets, return_dict=True, verbose=0)
    assert list(found) == ["huber_loss", "kl_divergence", "loss", "mine"]
    assert found["huber_loss"] == pytest.approx(asked[0](targets, model.predict(X)))
    assert found["mine"] == pytest.approx(found["kl_divergence"])
    model.save(tmp_path / name)
    assert minicnn.load_model(tmp_path / name).evaluate(X, targets, return_dict=True, verbose=0) == found


def test_metrics_of_numbers():
    mean, total = metrics.Mean(), metrics.Sum("all")
    assert mean([1, 3]) == 2 and mean.result() == 2 and mean(6) == pytest.approx(10 / 3) and mean.name == "mean"
    total.update_state([1, 3], sample_weight=[2, 0])
    mean.reset_state()
    assert total.result() == 2 and total.name == "all" and mean.result() == 0
    mean.update_state([[1, 2], [3, 4]], sample_weight=[1, 0])
    assert mean.result() == 1.5


def test_what_is_set_for_all_of_keras():
    config = minicnn.config
    assert (config.floatx(), config.epsilon(), config.backend(), K.floatx is config.floatx) == (
        "float32",
        1e-7,
        "minicnn",
        True,
    )
    for module in (config, K):
        module.set_floatx("float32"), module.set_epsilon(1e-7), module.set_image_data_format("channels_last")
        with pytest.raises(ValueError, match="floatx is 'float32' here, not 'float16': give layers a dtype"):
            module.set_floatx("float16")
        with pytest.raises(ValueError, match="epsilon is 1e-07 here, not 0.1"):
            module.set_epsilon(0.1)


def test_attributes_of_layers_weights_and_inputs():
    model = small()
    conv = model.layers[0]
    assert conv.variables == conv.trainable_variables == conv.weights and conv.non_trainable_variables == []
    conv.trainable = False
    assert conv.trainable_variables == [] and conv.non_trainable_weights == conv.weights
    norm = minicnn.Sequential([Input((3,)), layers.BatchNormalization()]).layers[0]
    assert [one.path.split("/")[1] for one in norm.non_trainable_variables] == ["moving_mean", "moving_variance"]
    assert conv.weights[0].dtype == "float32" and conv.weights[0].path == f"{conv.name}/kernel"
    x = Input((6, 6, 1))
    assert x.shape == conv(x).shape[:1] + (6, 6, 1) == (None, 6, 6, 1) and x.ndim == conv(x).ndim == 4
    assert Input(batch_shape=(8, 3)).shape == (None, 3) and Input.from_config(x.get_config()).shape == x.shape


def test_attributes_of_models():
    model = small()
    assert isinstance(model, Model) and issubclass(Sequential, Model) and not isinstance(model, Called)
    assert not isinstance(3, Model) and isinstance(Called(), Model) and isinstance(Called(), Called)
    assert model.compiled and not Sequential([Dense(3)]).compiled and model.losses == []
    assert (
        model.compute_output_shape((None, 6, 6, 1))
        == (None, 4)
        == Sequential([Dense(4)]).compute_output_shape((None, 9))
    )
    assert Model(model.inputs, [model.layers[0].output, model.output]).compute_output_shape((7, 6, 6, 1)) == [
        (7, 4, 4, 3), (7, 4),
    ]  # fmt: skip
    punished = Sequential([Input((3,)), Dense(2, kernel_regularizer="l2"), Dense(2)])
    assert punished.losses == [pytest.approx(punished.penalty())] and punished.losses[0] > 0


def test_attributes_of_optimizers():
    model = small(optimizer="adam")
    model.fit(X, Y, batch_size=25, verbose=0)
    optimizer = model.optimizer
    assert optimizer.iterations == 2 == optimizer.iterations.numpy() == optimizer.variables[0]
    assert optimizer.variables[1] == 0.001 and len(optimizer.variables) == 2 + 2 * len(model.weights)
    assert [moment.shape for moment in optimizer.variables[2:6]] == [weight.shape for weight in model.weights]
    optimizer.variables[2][...] = 3
    assert (optimizer.state["m"] == 3).sum() == 27
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.iterations == 2 and copy.deepcopy(optimizer).iterations == 2 and "iterations" not in again.get_config()


def test_activations_by_their_names():
    assert minicnn.activations.serialize(minicnn.activations.relu) == "relu"
    assert minicnn.activations.deserialize("relu") is minicnn.activations.relu
    with pytest.raises(ValueError, match="the activation abs is not one of minicnn.activations"):
        minicnn.activations.serialize(abs)


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


def test_a_metric_that_keeps_variables():
    class Right(minicnn.Metric):
        def __init__(self, name="right", **options):
            super().__init__(name=name, **options)
            self.count = self.add_variable(shape=(), initializer="zeros", name="count")
            self.seen = self.add_weight(name="seen", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.count.assign(self.count + (y_pred.argmax(axis=1) == y_true).sum())
            self.seen.assign_add(len(y_true))

        def result(self):
            return self.count / self.seen.value

    model = small(metrics=[Right(), "accuracy"])
    for _ in range(2):
        _, right, accuracy = model.evaluate(X, Y, batch_size=16)
        assert right == pytest.approx(accuracy)
    history = model.fit(X, Y, epochs=2, verbose=0).history
    assert history["right"] == pytest.approx(history["accuracy"])
    assert Right().count.numpy() == 0


def test_metrics_in_the_place_of_weights_of_losses():
    with pytest.raises(ValueError, match="compile cannot take loss_weights.*; metrics are given by name, metrics=…"):
        small().compile("sgd", "mse", ["accuracy"])


def test_operations_of_keras_in_a_metric():
    from minicnn import ops

    def f1(y_true, y_pred):
        right = ops.cast(ops.equal(ops.argmax(y_pred, axis=-1), ops.convert_to_tensor(y_true)), "float32")
        return ops.sum(right) / (len(right) + ops.relu(-1.0))

    found = small(metrics=[f1, "accuracy"]).evaluate(X, Y)
    assert found[1] == pytest.approx(found[2])


def test_what_a_class_with_a_call_does_before_it_is_built():
    assert [type(one) for one in Sequential([Input((6, 6, 1)), Called(), layers.Softmax()]).layers] == [
        Called,
        layers.Softmax,
    ]
    i = Input((6, 6, 1))
    model = Model(i, layers.Softmax()(Called()(i)))
    assert len(model.chain) == 7 and [type(one) for one in model.layers] == [Input, Called, layers.Softmax]
    with pytest.raises(ValueError, match="does not know the shape of its input"):
        Sequential([Called()]).build()
    with pytest.raises(ValueError, match="does not know the shape of its input"):
        Called().astype("float64")
    one, other = (Called() for _ in range(2))
    for each in (one, other):
        each.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = one.evaluate(X, Y)
    p = one.predict(X)
    assert accuracy == (p.argmax(axis=1) == Y).mean() and loss == pytest.approx(
        -np.log(p[range(50), Y]).mean(), rel=1e-5
    )
    other.fit(((X, Y) for _ in range(2)), steps_per_epoch=2, verbose=0)

    class Twice(Model):
        def call(self, x):
            return Dense(2, name="q")(Dense(2, name="q")(Flatten()(x)))

    model = Twice()
    for _ in range(2):
        with pytest.raises(ValueError, match="two layers of a model cannot both be named 'q'"):
            model.predict(X)


def test_random_layers_in_two_places_draw_apart():
    x, drop = Input((1000,)), layers.Dropout(0.5)
    y = Model(x, drop(drop(x)))(np.ones((4, 1000), "float32"), training=True)
    assert abs((y != 0).mean() - 0.25) < 0.03


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


def test_dictionaries_of_tensors_and_an_output_that_is_the_input():
    i = Input((6, 6, 1))
    flat = Flatten()(i)
    assert Model({"image": i}, flat).output_shape == (None, 36)
    model = small()
    seen = Model(model.inputs, {layer.name: layer.output for layer in model.layers})
    whole = Model(model.inputs, [layer.output for layer in model.layers])
    for ask in (Model.predict, Model.predict_on_batch, Model.__call__):
        found = ask(seen, X[:7])
        assert list(found) == [layer.name for layer in model.layers]
        assert all(map(np.array_equal, found.values(), ask(whole, X[:7])))
    tensors = Model(i, {"a": flat})(Input((6, 6, 1)))
    assert list(tensors) == ["a"] and tensors["a"].shape == (None, 36)
    with pytest.raises(ValueError, match="is asked what they give, and not trained"):
        Model(i, {"a": flat}).compile("sgd", "mse")
    x = X.copy()
    Model(i, [i, flat]).predict(x)[0][:] = 9
    np.testing.assert_array_equal(x, X)


def test_activation_functions_of_tensors_are_layers():
    calls = {
        "relu": [lambda x: minicnn.activations.relu(x, 0.1, 2.0, 0.05), layers.ReLU(2.0, 0.1, 0.05)],
        "leaky_relu": [minicnn.activations.leaky_relu, layers.LeakyReLU(0.2)],
        "elu": [lambda x: minicnn.activations.elu(x, alpha=0.5), layers.ELU(0.5)],
        "softmax": [lambda x: minicnn.activations.softmax(x, axis=1), layers.Softmax(1)],
        "gelu": [minicnn.activations.gelu, layers.Activation("gelu")],
        "swish": [minicnn.activations.swish, layers.Activation("silu")],
        "relu6": [minicnn.activations.relu6, layers.ReLU(6.0)],
        "log_softmax": [minicnn.activations.log_softmax, layers.Activation("log_softmax")],
        "linear": [minicnn.activations.linear, layers.Activation("linear")],
    }
    for name, (function, layer) in calls.items():
        models = []
        for follows in (function, layer):
            minicnn.set_random_seed(5)
            start = Input((6, 6, 1))
            models.append(Model(start, Flatten()(follows(Conv2D(3, 3)(start)))))
        np.testing.assert_array_equal(*(model.predict(X) for model in models), err_msg=name)
        values = np.linspace(-1, 3, 6, dtype="float32").reshape(1, 2, 3)
        np.testing.assert_allclose(function(values), layer(values), atol=1e-6, err_msg=name)
    with pytest.raises(TypeError, match="goes from layer to layer here and cannot be calculated with"):
        minicnn.activations.gelu(Input((3,)), approximate=True)

    class Net(Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.dense = Flatten(), Dense(4)

        def call(self, x):
            return minicnn.activations.softmax(self.dense(self.flatten(x)))

    model = Net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    np.testing.assert_allclose(model.predict(X).sum(axis=1), 1, rtol=1e-5)


def test_a_layer_without_parameters_stands_in_several_places_of_a_model():
    pool, dense = MaxPooling2D(), Dense(3)
    model = Sequential([Input((8, 8, 1)), Conv2D(2, 1), pool, Conv2D(2, 1), pool, Flatten()])
    assert model.output_shape == (None, 8) and [type(layer) for layer in model.layers[1::2]] == [MaxPooling2D] * 2
    with pytest.raises(ValueError, match="layer dense.*: is called twice in one chain"):
        Sequential([Input((3,)), dense, dense])
    with pytest.raises(ValueError, match="two layers of a model cannot both be named"):
        Sequential([Dense(3, name="a"), Dense(3, name="a")])
    pool = MaxPooling2D()
    with pytest.raises(ValueError, match="two layers of a model cannot both be named"):
        Sequential([pool, pool])  # nobody knows yet whether it has parameters

    class Times(layers.Layer):
        def __init__(self, factor, **options):
            super().__init__(**options)
            self.factor = factor

        def forward(self, x, training=False):
            return x * self.factor

    class Described(Times):
        def get_config(self):
            return super().get_config() | {"factor": self.factor}

    three = Described(3.0)
    assert Sequential([Input((1,)), three, three]).predict(np.ones((1, 1)), verbose=0) == 9
    three = Times(3.0)
    with pytest.raises(ValueError, match="a Times can stand in several places of a chain when its get_config says"):
        Sequential([Input((1,)), three, three])


def test_functions_of_metrics_have_names_of_their_own(tmp_path):
    names = "sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy"
    model = small(metrics=[*(getattr(metrics, name) for name in names), "accuracy"])
    history = model.fit(X, Y, epochs=1, verbose=0).history
    assert list(history) == ["accuracy", "loss", *names] and history["accuracy"] == history[names[0]]
    model.save(tmp_path / "m.safetensors")
    assert minicnn.load_model(tmp_path / "m.safetensors").metrics_names == ["loss", *names, "accuracy"]


def test_metrics_of_ones_own_see_every_batch():
    class Batches(minicnn.Metric):
        def __init__(self):
            super().__init__(name="batches")
            self.count = self.add_weight(name="count")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.count.assign_add(1)

        def result(self):
            return {"batches": self.count, "twice": 2 * self.count}

    history = small(metrics=[Batches()]).fit(X, Y, batch_size=5, epochs=4, verbose=0).history
    assert history["batches"] == [10] * 4 and history["twice"] == [20] * 4


def test_several_numbers_cannot_be_watched():
    stop = callbacks.EarlyStopping(monitor="f1_score", mode="max")
    model = small(metrics=[metrics.F1Score()], loss="categorical_crossentropy")
    with pytest.raises(ValueError, match="EarlyStopping: expected monitor to be one number, but 'f1_score' is several"):
        model.fit(X, np.eye(4)[Y], verbose=0, callbacks=[stop])


def scaled(x, by):
    return x * by


def test_functions_are_cloned_and_their_arguments_saved(tmp_path):
    model = Sequential([Input((3,)), layers.Lambda(scaled, arguments={"by": np.float32(2)}), Dense(2)])
    assert minicnn.models.clone_model(model).layers[0].function is scaled
    for name in ("m.keras", "m.safetensors"):
        model.save(tmp_path / name)
        again = minicnn.load_model(tmp_path / name, {"scaled": scaled})
        np.testing.assert_array_equal(again.predict(X[:, 0, :3, 0]), model.predict(X[:, 0, :3, 0]))


def test_the_input_by_its_name():
    model = small()
    model.predict(X, verbose=0)
    named = {model._layers[0].name: X}
    np.testing.assert_array_equal(model.predict(named, verbose=0), model.predict(X, verbose=0))
    assert model.evaluate(named, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    model.fit(named, Y, verbose=0)
    with pytest.raises(ValueError, match="a model has one output: expected its targets, not a dictionary with out"):
        model.fit(X, {"out": Y}, verbose=0)


def test_what_is_said_of_names_and_arguments_that_are_gone():
    with pytest.raises(TypeError, match="train_on_batch has no argument 'reset_metrics': Keras 3 has dropped it"):
        small().train_on_batch(X, Y, reset_metrics=False)
    flow = minicnn.preprocessing.image.ImageDataGenerator().flow(np.zeros((4, 5, 5, 1)), np.zeros(4))
    with pytest.raises(AttributeError, match=r"no attribute 'next': Keras 3 has dropped it, use next\(iterator\)"):
        flow.next()


def test_functions_of_keras_ops_that_numpy_has_not():
    x = np.array([[1.0, 2.0, -3.0], [4.0, 900.0, 0.0]])
    np.testing.assert_array_equal(minicnn.ops.one_hot([2, 0, 5], 3), [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(minicnn.ops.logsumexp(x, axis=1), [np.log(np.exp(x[0]).sum()), 900.0], rtol=1e-12)
    assert minicnn.ops.logsumexp(x, axis=1, keepdims=True).shape == (2, 1) and minicnn.ops.logsumexp(x) == 900
    infinite = np.array([[-np.inf, -np.inf], [np.inf, 1.0]])
    np.testing.assert_array_equal(minicnn.ops.logsumexp(infinite, axis=1), [-np.inf, np.inf])
    np.testing.assert_allclose(minicnn.ops.rsqrt(np.array([4.0])), 0.5)
    assert minicnn.ops.norm(np.array([3.0, 4.0])) == 5


def test_what_tf_keras_has_in_its_backend():
    backend, model = minicnn.backend, small()
    kernel, bias = model.layers[-1].weights
    assert (
        backend.int_shape(model.output) == (None, *model.output.shape[1:])
        and backend.count_params(bias) == bias.shape[0]
    )
    before, (again, _) = kernel.numpy(), backend.batch_get_value([kernel, bias])
    np.testing.assert_array_equal(again, before)
    backend.batch_set_value([(kernel, before + 1), (bias, 2 * np.ones(bias.shape))])
    np.testing.assert_array_equal(backend.eval(kernel), before + 1)
    assert (backend.eval(bias) == 2).all() and backend.eval(model.optimizer.learning_rate) == pytest.approx(
        float(model.optimizer.learning_rate)
    )
    assert (
        backend.constant(3, shape=(2, 2)).tolist() == [[3, 3], [3, 3]]
        and backend.dtype(backend.constant([1])) == "float32"
    )
    assert backend.constant([1], "int64").dtype == "int64" and backend.cast_to_floatx([1, 2]).dtype == "float32"
    np.testing.assert_array_equal(backend.eval(backend.constant([[1.0, 2.0]])), [[1, 2]])


def test_a_quickstart():
    """The steps of the best-known introduction, which looks at tensors with `.numpy()` in between."""
    keras = minicnn
    images, labels = minicnn.data.synthetic_digits(200)
    images = images[..., 0] / 255.0
    model = keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=(28, 28)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ]
    )
    predictions = model(images[:1]).numpy()
    assert type(predictions) is np.ndarray and predictions.shape == (1, 10)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = np.log(np.exp(predictions[0].astype(float)).sum()) - predictions[0, labels[0]]
    assert loss_fn(labels[:1], predictions).numpy() == pytest.approx(expected, rel=1e-5)
    model.compile(optimizer="adam", loss=loss_fn, metrics=["accuracy"])
    model.fit(images, labels, epochs=2, verbose=0)
    model.evaluate(images, labels, verbose=2)
    probability_model = keras.Sequential([model, keras.layers.Softmax()])
    np.testing.assert_allclose(probability_model(images[:5]).numpy().sum(axis=1), 1, rtol=1e-5)


# ---------------------------------------------------------------------- classes of one's own that Keras would call


class Named(minicnn.Model):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units, self.last = units, Dense(units)

    def call(self, x):
        return self.last(x)

    def get_config(self):
        return super().get_config() | {"units": self.units}


def test_a_model_class_with_a_config_of_its_own_is_made_from_it():
    model = Named(5, name="mine", trainable=True, dtype="float32")
    model(np.ones((2, 3), "float32"))
    for made in (Named.from_config(model.get_config()), minicnn.models.clone_model(model)):
        assert type(made) is Named and (made.units, made.name) == (5, "mine")
        assert made(np.ones((2, 3), "float32")).shape == (2, 5)
    assert minicnn.Sequential([Dense(3)], False, "still").trainable is False
    assert minicnn.Sequential([Dense(3)], False, "still").name == "still"
    with pytest.raises(ValueError, match="a model begins in float32, not 'float64'"):
        Named(5, dtype="float64")


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


def test_freezing_a_model_freezes_the_models_within_it_with_their_inputs():
    inner = minicnn.Sequential([minicnn.Input((3,)), Dense(3)])
    model = minicnn.Sequential([minicnn.Input((3,)), inner, Dense(3)])
    model.trainable = False
    assert not inner.trainable and not model.trainable_weights
    inner.trainable = True
    assert len(model.trainable_weights) == 2


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


def test_pixels_of_whole_numbers_go_in_as_floats():
    x = np.arange(12, dtype="uint8").reshape(3, 4)
    model = minicnn.Sequential([minicnn.Input((4,), dtype="uint8"), minicnn.Rescaling(0.5)])
    np.testing.assert_array_equal(model.predict(x), x / 2)
    assert model(x / 255.0).dtype == np.float32
    np.testing.assert_array_equal(minicnn.Rescaling(2.0)([[1.0, 2.0]]), [[2.0, 4.0]])
    with pytest.raises(ValueError, match="dtype must be float32 or float64, not 'float16'"):
        minicnn.Input((4,), dtype="float16")


def test_metrics_written_with_the_backend_of_tf_keras():
    from minicnn import backend as K

    def recall(y_true, y_pred):
        found = K.sum(K.round(K.clip(y_true * y_pred, 0, 1)))
        return found / (K.sum(K.round(K.clip(y_true, 0, 1))) + K.epsilon())

    y, p = np.eye(2)[[0, 1, 1]], np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    assert recall(y, p) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(K.flatten(y), y.ravel())
    with pytest.raises(AttributeError, match=r"minicnn\.backend has no nothing"):
        K.nothing  # noqa: B018


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


def test_optimizers_show_their_numbers_as_variables_do():
    optimizer = minicnn.optimizers.SGD(0.25)
    assert optimizer.learning_rate.value == np.float32(0.25) and optimizer.iterations.value == 0
    minicnn.config.enable_unsafe_deserialization()


# ---------------------------------------------------------------------- metrics as objects


class Count(minicnn.Metric):
    """How many samples were counted, and the weights of those that had one."""

    def __init__(self, name=None):
        super().__init__(name=name)
        self.samples = self.add_variable()
        self.weights = self.add_variable()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.samples.assign_add(len(y_true))
        if sample_weight is not None:
            self.weights.assign_add(sample_weight.sum())

    def result(self):
        return self.samples


def test_a_metric_that_was_given_holds_what_was_found_last():
    right, seen = metrics.SparseCategoricalAccuracy(name="right"), Count()
    model = small(metrics=[right, seen])
    loss, accuracy, samples = model.evaluate(X[:20], Y[:20])
    assert (
        (right.result(), seen.result(), model.metrics[0].result()) == (accuracy, 20, loss) == (accuracy, samples, loss)
    )
    model.fit(X, Y, epochs=2, verbose=0)
    assert seen.result() == 50 and right.result() == model.history.history["right"][-1]
    model.fit(X, Y, verbose=0, validation_data=(X[:7], Y[:7]))
    assert seen.result() == 7 and right.result() == model.history.history["val_right"][-1]
    model.train_on_batch(X[:5], Y[:5])
    assert seen.result() == 5
    model.reset_metrics()
    assert [metric.result() for metric in model.metrics] == [0, 0, 0]


def test_an_evaluation_in_the_middle_of_an_epoch_does_not_disturb_its_metrics():
    class Curious(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.evaluate(X[:3], Y[:3], verbose=0)

    found = []
    for listeners in ([], [Curious()]):
        seen = Count(name="count")
        model = small(metrics=["accuracy", seen])
        found.append(model.fit(X, Y, epochs=2, batch_size=16, verbose=0, callbacks=listeners).history)
        assert seen.result() == 50
    assert found[0] == found[1]


def test_the_metrics_of_a_model_are_objects_with_names():
    model = small(metrics=["acc", metrics.SparseCategoricalAccuracy(name="right"), lambda y_true, y_pred: y_true])
    assert [metric.name for metric in model.metrics] == model.metrics_names == ["loss", "acc", "right", "lambda"]
    assert repr(model.metrics[2]) == "<SparseCategoricalAccuracy right>"
    found = model.evaluate(X, Y)
    assert [metric.result() for metric in model.metrics] == found and list(map(type, found)) == [float] * 4
    assert Sequential().metrics == [] and list(model.evaluate(X, Y, return_dict=True)) == sorted(model.metrics_names)
    with pytest.raises(ValueError, match=r"metric loss: a Mean is of loops of your own, not of compile"):
        small(metrics=model.metrics)

    class Own(Model):
        def __init__(self):
            super().__init__()
            self.last, self.mine = Dense(4, activation="softmax"), metrics.Mean("mine")

        def call(self, x):
            return self.last(x)

        @property
        def metrics(self):
            return [self.mine]

    own = Own()
    own.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    own.fit(X.reshape(50, 36), Y, verbose=0)
    assert own.metrics == [own.mine] and list(own.history.history) == ["accuracy", "loss"]


def test_a_copy_of_a_model_brings_its_metrics_along():
    asked = ["mse", "top_k_categorical_accuracy", "AUC", "Precision", "categorical_accuracy", metrics.BinaryAccuracy()]
    model = small(loss="categorical_crossentropy", metrics=[*asked, Count()], weighted_metrics=["bce"])
    found = model.evaluate(X, np.eye(4)[Y])
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [metric.result() for metric in again.metrics] == found
        assert again.evaluate(X[:5], np.eye(4)[Y[:5]]) != found == [metric.result() for metric in model.metrics]


def test_a_metric_made_of_metrics():
    class F1(minicnn.Metric):
        def __init__(self, name=None):
            super().__init__(name=name)
            self.p, self.parts = metrics.Precision(), {"r": [metrics.Recall()][0], "seen": Count()}

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.p.update_state(y_true, y_pred, sample_weight)
            for part in self.parts.values():
                part.update_state(y_true, y_pred, sample_weight)

        def result(self):
            p, r = self.p.result(), self.parts["r"].result()
            return 2 * p * r / (p + r)

    f1 = F1()
    rows = np.eye(4)[Y]
    model = small(loss="categorical_crossentropy", metrics=[f1])
    predicted, sure = model.predict(X) > 0.5, rows > 0.5
    expected = 2 * (predicted & sure).sum() / (predicted.sum() + sure.sum())  # the definition, of counts
    for _ in range(2):
        assert model.evaluate(X, rows)[1] == pytest.approx(expected)
    assert f1.variables == f1.parts["seen"].variables and f1.variables[0] == 50
    assert f1.name == "f1" and metrics.Precision().variables == []


def test_weighted_metrics(tmp_path):
    weights = RANDOM.uniform(0, 2, 50)
    model = small(metrics=["accuracy"], weighted_metrics=["accuracy", "acc", Count(name="count")])
    assert model.metrics_names == ["loss", "accuracy", "weighted_accuracy", "acc", "count"]
    right = model.predict(X).argmax(axis=1) == Y
    found = model.evaluate(X, Y, sample_weight=weights, batch_size=16, return_dict=True)
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["acc"] == found["weighted_accuracy"] == pytest.approx((right * weights).sum() / weights.sum())
    assert model.metrics[-1].weights == pytest.approx(weights.sum(), rel=1e-5)
    again = model.evaluate(X, Y, return_dict=True)
    assert again["accuracy"] == again["weighted_accuracy"]
    silent = minicnn.optimizers.SGD(0.0)
    model.compile(silent, model.loss, weighted_metrics=["accuracy"])
    by_class = model.fit(X, Y, verbose=0, class_weight={1: 3.0}).history["accuracy"]
    factors = np.where(Y == 1, 3, 1)
    assert by_class == [pytest.approx((right * factors).sum() / factors.sum())]
    assert model.train_on_batch(X, Y, class_weight={1: 3.0})[1] == pytest.approx(by_class[0])
    for name in ("m.keras", "m.safetensors"):
        if name == "m.keras":
            pytest.importorskip("h5py")
        model.save(tmp_path / name)
        assert minicnn.load_model(tmp_path / name).evaluate(X, Y, sample_weight=weights) == model.evaluate(
            X, Y, sample_weight=weights
        )


# ---------------------------------------------------------------------- numbers that answer to .numpy()


def test_what_metrics_layers_losses_and_schedules_return_answers_to_numpy():
    class Half(minicnn.Metric):
        def reset_state(self): ...

        def update_state(self, y_true, y_pred, sample_weight=None): ...

        def result(self):
            return {"half": np.float32(0.5), "both": np.array([1.0, 2.0])}

    rows, p = np.eye(4)[Y], np.full((50, 4), 0.25, "float32")
    mean = metrics.Mean()
    for value in (
        mean([1.0, 3.0]), mean.result(), metrics.Precision()(rows, p), metrics.AUC()(rows, p),
        minicnn.optimizers.schedules.CosineDecay(0.1, 8)(3),
    ):  # fmt: skip
        assert isinstance(value, float) and value.numpy() == np.float32(value)
        assert type(pickle.loads(pickle.dumps(value))) is type(value) and json.loads(json.dumps(value)) == value
    for values in (
        metrics.F1Score()(rows, p), losses.categorical_crossentropy(rows, p), losses.mse(rows, p), Dense(2)(p),
        minicnn.optimizers.schedules.CosineDecay(0.1, 8)(np.arange(9)),
    ):  # fmt: skip
        assert type(values.numpy()) is np.ndarray and np.array_equal(values.numpy(), values)
        assert np.array_equal(pickle.loads(pickle.dumps(values)), values)
    half = Half()(rows, p)
    assert half["half"].numpy() == 0.5 and half["both"].numpy().tolist() == [1, 2]
    model = small(metrics=["accuracy", Count(), "AUC"], loss="mse")
    history = model.fit(X, rows, epochs=2, verbose=0, validation_split=0.5).history
    assert {type(value) for values in history.values() for value in values} == {float}
    json.dumps(history)


# ---------------------------------------------------------------------- made of configurations, and short names


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


@pytest.mark.parametrize("short", ["bce", "kld", "mse", "mae", "mape", "msle"])
def test_short_names(short):
    name = type(losses.get(short)).name
    assert type(losses.get(short.upper())) is type(losses.get(short)) is type(losses.get(name))
    t, p = np.round(RANDOM.random((9, 3))), RANDOM.random((9, 3))
    for each in (short, short.upper(), name):
        assert metrics.get(each).name == each and metrics.get(each)(t, p) == pytest.approx(losses.get(name)(t, p))
    assert type(metrics.get("mean")) is type(metrics.get("Mean")) is metrics.Mean and metrics.get("sum")([1, 2]) == 3


# ---------------------------------------------------------------------- losses without a reduction


@pytest.mark.parametrize("reduction", [None, "none"])
@pytest.mark.parametrize("cls", [losses.CategoricalCrossentropy, losses.BinaryCrossentropy, losses.MeanSquaredError])
def test_a_loss_without_a_reduction_gives_that_of_every_sample(cls, reduction):
    rows, weights = np.eye(4)[Y[:9]], RANDOM.uniform(0, 2, 9)
    p = RANDOM.dirichlet(np.ones(4), 9)
    loss = cls(reduction=reduction, dtype="float32")
    terms = [cls()(rows[n : n + 1], p[n : n + 1]) for n in range(9)]
    np.testing.assert_allclose(loss(rows, p).numpy(), terms, rtol=1e-9)
    np.testing.assert_allclose(loss(rows, p, weights), weights * terms, rtol=1e-9)
    with pytest.raises(ValueError, match=r"compile: the loss \w+ needs a reduction, 'sum_over_batch_size' or 'sum'"):
        small(loss=loss)


@pytest.mark.parametrize("kind", ["U", "S", "O"])
def test_labels_that_are_written_as_strings(kind):
    numbers, words = small(), small()
    numbers.fit(X, Y, verbose=0)
    words.fit(X, Y.astype(str).astype(kind), verbose=0)
    assert weights_equal(numbers, words) and numbers.history.history == words.history.history
    assert words.evaluate(X, Y.astype(str), verbose=0) == numbers.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match="targets must be numbers: could not convert string to float: .*four"):
        words.fit(X, np.where(Y == 3, "four", "1"), verbose=0)


def test_a_built_in_metric_may_have_an_update_of_its_own():
    class Counting(metrics.SparseCategoricalAccuracy):
        batches = 0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.batches += 1
            super().update_state(y_true, y_pred, sample_weight)

    metric = Counting(name="right")
    model = small(metrics=[metric, "accuracy"])
    history = model.fit(X, Y, batch_size=10, verbose=0).history
    assert metric.batches == 5 and history["right"] == history["accuracy"]


def test_a_model_is_drawn(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    inner = Sequential([Conv2D(2, 3)], name="base")
    model = Sequential([Input((6, 6, 1), name="start"), inner, Flatten(), Dense(4, activation="softmax", name="end")])
    drawn = {}
    for expand in (False, True):
        path = tmp_path / f"{expand}.svg"
        minicnn.utils.plot_model(
            model, path, show_shapes=True, show_layer_names=True, show_layer_activations=True, expand_nested=expand
        )
        drawn[expand] = "\n".join(
            re.findall("<!-- (.*?) -->", path.read_text())
        )  # the words, which are drawn as shapes
    for text in drawn.values():
        assert [text.index(name) for name in ("start", "flatten", "end")] == sorted(
            text.index(name) for name in ("start", "flatten", "end")
        )
        assert "end (Dense)" in text and "activation: softmax" in text and "output: (None, 32)" in text
    assert "base (Sequential)" in drawn[False] and "(Conv2D)" not in drawn[False]
    assert "base (Sequential)" not in drawn[True] and "(Conv2D)" in drawn[True]
    minicnn.utils.plot_model(model, tmp_path / "m.png", rankdir="LR", dpi=60)
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(minicnn.data.DataError, match=r"m\.words: the picture cannot be written"):
        minicnn.utils.plot_model(model, tmp_path / "m.words")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(UserWarning, match="nothing is drawn without the package matplotlib"):
        minicnn.utils.plot_model(model, tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


# ---------------------------------------------------------------------- what is measured amid something else


class Amid(callbacks.Callback):
    """Asks for other numbers of the same model after every batch."""

    def ask(self):
        self.model.test_on_batch(X[:10], (Y[:10] + 1) % 4)
        self.model.evaluate(X[:20], (Y[:20] + 2) % 4, verbose=0)

    def on_test_batch_end(self, batch, logs=None):
        if not getattr(self, "asking", False):
            self.asking = True
            self.ask()
            self.asking = False

    def on_train_batch_end(self, batch, logs=None):
        self.on_test_batch_end(batch)


def test_what_is_measured_amid_an_evaluation_or_an_epoch_does_not_disturb_it():
    alone, disturbed = small(), small()
    assert alone.fit(X, Y, verbose=0).history == disturbed.fit(X, Y, verbose=0, callbacks=[Amid()]).history
    assert alone.evaluate(X, Y, 16, verbose=0) == disturbed.evaluate(X, Y, 16, verbose=0, callbacks=[Amid()])

    def asking():
        for first in range(0, 50, 10):
            disturbed.test_on_batch(X[:3], Y[:3])
            yield X[first : first + 10], Y[first : first + 10]

    expected = alone.evaluate(X, Y, 10, verbose=0)
    assert disturbed.evaluate(asking(), steps=5, verbose=0) == expected
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: disturbed.evaluate(X, Y, 10, verbose=0), range(40))) == [expected] * 40


def test_a_fit_amid_a_fit_leaves_the_outer_count_alone():
    inner = small()

    class Nested(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model is not None and not getattr(self, "done", False):
                self.done = True
                weights, optimizer = self.model.get_weights(), self.model.optimizer.iterations
                self.model.fit(X[:8], Y[:8], verbose=0)
                self.model.set_weights(weights)
                self.model.optimizer.iterations = optimizer
            self.model.evaluate(X[:20], (Y[:20] + 1) % 4, verbose=0)

    assert inner.fit(X, Y, 10, shuffle=False, verbose=0, callbacks=[Nested()]).history == small().fit(
        X, Y, 10, shuffle=False, verbose=0
    ).history  # fmt: skip


# ---------------------------------------------------------------------- models that are frozen, names that are taken


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


def test_numbers_of_metrics_and_schedules_calculate_as_their_own_types():
    rate = minicnn.optimizers.schedules.CosineDecay(0.1, 100)(3)
    assert (np.ones(3, "float32") * rate).dtype == np.float32 and f"{rate:.3f}" == "0.100"
    assert rate.item() == float(rate) and rate.shape == ()

    class Own(metrics.Metric):
        def reset_state(self):
            pass

        def result(self):
            return np.float32(0.25)

    found = Own().result()
    assert found.dtype == np.float32 and found.numpy() == found.item() == 0.25 and found.astype(int) == 0


def test_small_things_of_other_types():
    cropped = minicnn.Cropping2D(np.int64(1))
    assert cropped.get_config()["cropping"] == ((1, 1), (1, 1)) and type(cropped.cropping[0][0]) is int
    assert minicnn.Input((2,), dtype="bool").dtype == np.float32
    with pytest.raises(ValueError, match="expected a function that has a name, or a Constraint, to be saved"):
        minicnn.constraints.serialize(partial(np.clip, a_min=-1, a_max=1))
    stopping = callbacks.EarlyStopping("val_hits")
    for metric, upwards in ((metrics.FBetaScore(name="hits"), True), (metrics.MeanSquaredError("hits"), False)):
        stopping.set_model(small(metrics=[metric]))
        assert stopping.upwards is upwards


def test_a_model_class_may_make_its_layers_in_a_build_of_its_own():
    shapes = []

    class Early(Model):
        def build(self, input_shape):
            shapes.append(tuple(input_shape))
            self.flatten, self.last = Flatten(), Dense(4, activation="softmax")
            super().build(input_shape)
            self.built = True

        def call(self, x):
            return self.last(self.flatten(x))

    class Late(Early):
        def build(self, input_shape):
            super().build(input_shape)

    for kind in (Early, Late):
        minicnn.set_random_seed(5)
        model = kind()
        assert not model.built
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(X, Y, verbose=0)
        assert model.built and model.count_params() == 36 * 4 + 4 and model.predict(X).shape == (50, 4)
    assert shapes == [(None, 6, 6, 1)] * 2


def test_what_is_calculated_from_results_are_numbers():
    per_sample = losses.mean_squared_error(np.eye(3), np.full((3, 3), 0.33))
    y = Dense(2, kernel_initializer="ones")(np.ones((2, 3), "float32"))
    for array in (per_sample, y):
        for value in (array.mean(), array.max(), array.std(), np.sum(array), array[0].min()):
            assert isinstance(value, np.floating) and round(value, 3) == pytest.approx(float(value), abs=1e-3)
            assert {value} and f"{value:.2f}"
        assert array.mean().numpy() == array.mean() and (array + 1).shape == array.shape
    assert type(y.mean(axis=0)) is type(y) and y.mean(axis=0).shape == (2,)
    assert json.loads(json.dumps({"mean": per_sample.mean()}))["mean"] == pytest.approx(per_sample.mean())


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


def test_functions_that_files_cannot_name():
    model = Sequential([Input((4,)), Dense(2, kernel_constraint=lambda w: w)])
    with pytest.raises(ValueError, match="expected a function that has a name"):
        model.get_config()

    def half(w):
        return w / 2

    model = Sequential([Input((4,)), Dense(2, kernel_constraint=half)])
    assert minicnn.models.clone_model(model).layers[0].kernel_constraint is half


class MonteCarloDropout(Dropout):
    def call(self, inputs):
        return super().call(inputs, training=True)


def test_a_layer_that_says_in_its_call_how_the_built_in_one_works(tmp_path):
    x = np.linspace(0.1, 1, 64 * 12, dtype=np.float32).reshape(64, 12)
    layer = MonteCarloDropout(0.5, seed=3)
    y = layer.forward(x, training=False)
    np.testing.assert_array_equal(np.unique(np.round(y / x, 5)), [0, 2])
    np.testing.assert_array_equal(layer.backward(np.ones_like(x)), np.where(y == 0, 0, 2))
    minicnn.gradcheck.check_layer(MonteCarloDropout(0.4, seed=1), (3, 5))

    model = Sequential([Dense(8, input_shape=(12,)), MonteCarloDropout(0.5), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, np.arange(64) % 3, epochs=1, verbose=0)
    assert (model.predict(x) != model.predict(x)).any() and (model(x).numpy() != model(x).numpy()).any()
    plain = Sequential([Dense(8, input_shape=(12,)), Dropout(0.5), Dense(3, activation="softmax")])
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(plain.predict(x), plain.predict(x))
    mean = np.mean([model.layers[1](np.ones((400, 12), np.float32)) for _ in range(10)])
    assert abs(mean - 1) < 0.05  # 48,000 draws of 0 or 2: five standard deviations are 0.023
    model.save(tmp_path / "m.keras")
    again = minicnn.models.load_model(tmp_path / "m.keras", custom_objects={"MonteCarloDropout": MonteCarloDropout})
    assert type(again.layers[1]) is MonteCarloDropout and (again.predict(x) != again.predict(x)).any()


def test_a_call_of_a_built_in_layer_may_not_calculate():
    class Doubled(Dense):
        def call(self, x, training=None):
            return 2 * super().call(x, training=training)

    class Shifted(Dense):
        def call(self, x):
            return super().call(x + 1)

    class Forgotten(Dense):
        def call(self, x):
            return x

    for kind in (Doubled, Shifted, Forgotten):
        with pytest.raises(TypeError, match="expected its call to return what super"):
            kind(12)(np.ones((2, 12), np.float32))

    class Same(Dense):
        def call(self, x, training=None):
            return super().call(x, training=training)

    class Third(Same):
        def call(self, x):
            return super().call(x)

    x, same, plain = np.ones((2, 12), np.float32), Third(4), Dense(4)
    y = same(x)
    plain.build((None, 12))
    plain.set_weights(same.get_weights())
    np.testing.assert_array_equal(y, plain(x))
    np.testing.assert_array_equal(plain.call(x), y)


def test_layers_without_weights_take_arrays_of_any_shape():
    for make, oracle in (
        (
            lambda: MaxPooling2D(2, name="mine"),
            lambda x: x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4)),
        ),
        (Flatten, lambda x: x.reshape(len(x), -1)),
    ):
        layer = make()
        for shape in ((1, 8, 8, 3), (2, 6, 4, 5), (1, 8, 8, 3)):
            x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
            np.testing.assert_array_equal(layer(x), oracle(x))
            assert layer.output_shape[1:] == oracle(x).shape[1:]
    pool = MaxPooling2D(2)
    assert pool(np.zeros((1, 4, 4, 1))).shape == (1, 2, 2, 1)
    model = Sequential([Input((8, 8, 1)), pool, Flatten(), Dense(2)])
    with pytest.raises(ValueError, match=r"expected an input of shape \(None, 8, 8, 1\), received \(1, 6, 6, 1\)"):
        pool(np.zeros((1, 6, 6, 1), np.float32))
    assert model.predict(np.zeros((1, 8, 8, 1))).shape == (1, 2)


@pytest.mark.parametrize("further", [minicnn.Layer.build, lambda layer, shape: setattr(layer, "built", True)])
def test_a_build_of_ones_own_runs_once(further):
    class Times(minicnn.Layer):
        def build(self, input_shape):
            further(self, input_shape)
            self.factors = np.ones(input_shape[-1])

        def forward(self, x, training=False):
            return x * self.factors

    layer = Times()
    layer(np.ones((2, 3)))
    layer.factors[:] = 5
    for shape in ((2, 3), (2, 4, 3)):
        np.testing.assert_array_equal(layer(np.ones(shape)), np.full(shape, 5))


def test_batches_that_can_be_seen_have_32_samples():
    class Counting(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            sizes.append("test")

        def on_predict_batch_end(self, batch, logs=None):
            sizes.append(logs["outputs"].shape)

    sizes = []
    model = Sequential([Dense(3, input_shape=(5,), kernel_initializer="ones")])
    model.compile("sgd", minicnn.losses.MeanAbsoluteError(reduction="sum"))
    x, y = np.ones((80, 5), np.float32), np.zeros((80, 3), np.float32)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(144)  # 160, 160 and 80, by the samples of each
    model.predict(x, callbacks=[Counting()])
    model.evaluate(x, y, callbacks=Counting(), verbose=0)
    assert sizes == [(32, 3), (32, 3), (16, 3)] + ["test"] * 3

"""Models of tensors and of classes with a `call`: the chain they stand for, what of it is asked for, what is no chain."""

import copy
import pickle
import re

import numpy as np
import pytest
from small import X, Y, small, weights_equal

import minicnn
from minicnn import Conv2D, Dense, Flatten, Input, MaxPooling2D, Model, Sequential, layers


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


def test_random_layers_in_two_places_draw_apart():
    x, drop = Input((1000,)), layers.Dropout(0.5)
    y = Model(x, drop(drop(x)))(np.ones((4, 1000), "float32"), training=True)
    assert abs((y != 0).mean() - 0.25) < 0.03


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


class Joins(minicnn.Layer):
    """As Keras' layers for two inputs are written."""

    def __init__(self):
        super().__init__()
        self.last = Dense(2)

    def call(self, first, second):
        return self.last(second)


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
        (lambda x: small()([x, x]), "model .*: a model is one chain of layers here, with one input, not 2"),
        (lambda x: Joins()(x, x), "model joins.*: a model is one chain of layers here, with one input, not 2"),
        (lambda x: Conv2D(2, 9, name="wide")(x), "layer wide"),
    ],
)
def test_what_is_no_chain(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(Input((6, 6, 1)))


def test_a_model_is_called_on_a_list_of_one():
    model, x = small(), Input((6, 6, 1))
    whole = Model([x], [model([x])])
    np.testing.assert_array_equal(whole.predict(X), model.predict(X))


def test_the_inputs_of_a_model_in_a_list_of_one_begin_another():
    model = small()
    seen = Model([model.inputs], [model.layers[0].output, model.output])
    maps, scores = seen.predict(X)
    np.testing.assert_allclose(maps, np.asarray(model.layers[0].forward(X)), atol=1e-6)
    np.testing.assert_array_equal(scores, model.predict(X))
    with pytest.raises(ValueError, match="with one input, not 2"):
        Model([[Input((6, 6, 1)), *model.inputs]], model.output)


# ---------------------------------------------------------------------- several outputs, and parts of models


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


def test_a_model_from_one_of_another_models_layers_on(tmp_path):
    i = Input((6,))
    model = Model(i, Dense(5, name="d")(layers.Dropout(0.5)(Dense(4, activation="relu")(Dense(3, name="code")(i)))))
    chain = minicnn.Sequential([Dense(3, name="code", input_shape=(6,)), *model.layers[2:]])
    codes = np.random.default_rng(1).standard_normal((7, 3)).astype("float32")

    def expected():
        w, b, v, a = model.layers[2].get_weights() + model.layers[4].get_weights()
        return np.maximum(codes @ w + b, 0) @ v + a

    from_input, from_output = model.layers[2].input, model.get_layer("code").output
    parts = [Model(start, model.output) for start in (from_input, from_output)]
    parts.append(Model(chain.get_layer("code").output, chain.output))
    parts[0].compile("sgd", "mse")
    for _ in range(2):  # the layers are those of the whole, also when it has been trained in part
        for part in parts:
            np.testing.assert_allclose(part.predict(codes), expected(), rtol=1e-5, atol=1e-6)
            assert part.layers[1:] == model.layers[2:] and part.input_shape == (None, 3)
        before = expected()
        parts[0].fit(codes, np.ones((7, 5)), verbose=0)
        assert np.abs(before - expected()).max() > 1e-4
    parts[0].save(tmp_path / "part.safetensors")
    np.testing.assert_array_equal(
        minicnn.load_model(tmp_path / "part.safetensors").predict(codes), parts[0].predict(codes)
    )
    hidden, out = Model(from_output, [model.layers[2].output, from_output]).predict(codes)
    np.testing.assert_array_equal(out, codes)
    assert hidden.shape == (7, 4) and model.predict(np.ones((2, 6))).shape == (2, 5)
    encoder, decoder = Sequential([Input((6,)), Dense(3)], name="e"), Sequential([Input((3,)), Dense(6)], name="d")
    whole = Sequential([encoder, decoder])
    later = Model(whole.get_layer("e").output, whole.output)
    np.testing.assert_array_equal(later.predict(codes), decoder.predict(codes))
    for start in (Dense(3), 3, np.ones((1, 6))):
        with pytest.raises(
            ValueError, match="a model begins at an Input, or behind a layer that was called on one, not"
        ):
            Model(start, model.output)
    with pytest.raises(ValueError, match="must be made from its input, layer by layer"):
        Model(model.output, from_output)


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


def test_the_output_of_a_model_is_of_its_own_layers():
    i, p, q, a = Input((4,)), Dense(3), Dense(3), Dense(2)
    one, two = Model(i, a(p(i))), Model(i, a(q(i)))
    for model, first in ((one, p), (two, q)):
        assert Model(model.input, model.output).chain == [first, a]
    base = minicnn.Sequential([Input((4,)), Dense(3)])
    outer = minicnn.Sequential([Input((4,)), base, Dense(2)])
    assert Model(outer.inputs, outer.outputs).chain == outer.chain


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


def test_parts_of_two_models_that_have_the_same_layers_in_two_orders():
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


def test_copies_of_models_have_parts_of_their_own_and_those_of_layers_no_model():
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


# ---------------------------------------------------------------------- classes with a call


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


class Assigned(Model):
    """As many models that are published keep the shape they are made with."""

    def __init__(self, input_shape, classes, **options):
        super().__init__(**options)
        self.input_shape, self.output_shape = input_shape, (classes,)
        self.inputs, self.outputs = "images", Dense(classes, activation="softmax")
        self.flatten = Flatten()

    def call(self, x):
        return self.outputs(self.flatten(x))


def test_attributes_of_your_own_in_the_place_of_shapes_and_ends(tmp_path):
    model = Assigned((6, 6, 1), 4)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, verbose=0)
    assert (model.input_shape, model.output_shape, model.inputs) == ((6, 6, 1), (4,), "images")
    assert model.outputs is model.layers[-1] and model.output.shape == (None, 4)
    plain = Sequential([Input((6, 6, 1)), Flatten(), Dense(4, activation="softmax")])
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert model.evaluate(X, Y, verbose=0) == model.test_on_batch(X, Y)
    model.save_weights(tmp_path / "a.weights.h5")
    other = Assigned((6, 6, 1), 4)
    other.build((None, 6, 6, 1))
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


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
        with pytest.raises(
            TypeError, match="cannot be calculated with, but by a number: Reshape, Activation and Lambda"
        ):
            calculate(Input((6, 6, 1)))
    with pytest.raises(TypeError, match="what comes out of input.* goes from layer to layer"):
        Sums().predict(X)


# ---------------------------------------------------------------------- layers whose call puts layers one behind the other


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

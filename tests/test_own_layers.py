"""Layers of your own: with `forward` and `backward`, with a `call` that calculates, and made from one that is here."""

import copy
import inspect
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod

import numpy as np
import pytest
from networks import Scale
from small import X, Y

import minicnn
from minicnn import Conv2D, Dense, Dropout, Flatten, Input, Model, Sequential, layers
from minicnn.gradcheck import check_model
from minicnn.layers import Layer

RANDOM = np.random.default_rng(0)


def test_the_docstring_shows_a_layer_that_is_tested():
    _, _, *lines = inspect.getsource(Scale).splitlines()  # without the head and the docstring
    body = [line.strip() for line in lines if line.strip()]
    documented = [line.strip() for line in Layer.__doc__.splitlines()]
    assert [line for line in body if line not in documented] == []


@pytest.mark.parametrize("device", ["reference", "cpu"])
def test_a_layer_of_ones_own_trains_in_a_model(device):
    assert minicnn.gradcheck.check_layer(Scale(), (3, 4)) < 1e-6
    scale = Scale()
    model = minicnn.Sequential([layers.Input((2,)), scale, layers.Dense(2, activation="softmax")]).to(device)
    model.compile(minicnn.optimizers.Adam(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = RANDOM.standard_normal((256, 2)).astype("float32")
    y = (x[:, 0] > 0.3 * x[:, 1]).astype(int)
    model.fit(x, y, epochs=8, verbose=0)
    assert model.evaluate(x, y)[1] > 0.95
    assert (scale.get_weights()[0] != 1).all()


class Wrong(Scale):
    """Its `backward` returns what `wrong` makes of the gradient."""

    wrong = None

    def backward(self, dy):
        return self.wrong(super().backward(dy))


@pytest.mark.parametrize(
    "wrong, found",
    [
        (lambda dx: None, "None"),
        (lambda dx: dx.sum(axis=0), r"of shape \(2,\)"),
        (lambda dx: dx.sum(axis=1, keepdims=True), r"of shape \(4, 1\)"),
        (lambda dx: dx.sum(), r"of shape \(\)"),
    ],
)
def test_a_backward_that_returns_no_gradient_of_its_input(monkeypatch, wrong, found):
    monkeypatch.setattr(Wrong, "wrong", staticmethod(wrong))
    x, y = np.ones((4, 2), "float32"), np.arange(4) % 2
    model = minicnn.Sequential([Input((2,)), layers.Dense(2), Wrong(name="mine"), layers.Dense(2)])
    model.compile("sgd", minicnn.losses.SparseCategoricalCrossentropy(from_logits=True))
    sentence = rf"^layer mine: what its backward returns must be of shape \(4, 2\), and is {found}$"
    with pytest.raises(ValueError, match=sentence):
        model.fit(x, y, verbose=0)
    model.layers[0].trainable = False  # so that nobody asks for it
    for model.run_eagerly in (False, True):
        assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()


def test_a_loss_whose_gradient_has_another_shape():
    class Short(minicnn.losses.Loss):
        def terms(self, targets, y_pred, xp):
            return (y_pred - targets)[..., 0] ** 2, 2 * (y_pred - targets)[..., :1]

    model = minicnn.Sequential([Input((2,)), layers.Dense(3)])
    model.compile("sgd", Short(name="short"))
    with pytest.raises(ValueError, match=r"^loss short: its gradient must be of shape \(4, 3\), not \(4, 1\)$"):
        model.fit(np.ones((4, 2), "float32"), np.ones((4, 3)), verbose=0)


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


# ---------------------------------------------------------------------- a call that calculates


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


class Squared(minicnn.Layer):
    def power(self, x, exponent):
        return x**exponent

    call = partialmethod(power, exponent=2)


@pytest.mark.parametrize("make", [Mixed, Affine, Swish, Power, Bent, Squared])
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


def test_layers_may_be_called_as_functions_with_a_derivative_are():
    class Given(minicnn.Layer):
        def __init__(self, norm, dot):
            super().__init__()
            self.norm, self.dot = norm, dot

        def call(self, x):
            return self.dot(self.norm(x))

    kernel = np.arange(8.0).reshape(4, 2)
    model = Sequential([Input((4,)), Given(layers.Rescaling(0.5), Dense(2, use_bias=False))])
    model.set_weights([kernel])
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict(np.eye(4)), kernel / 2)
    model.fit(np.eye(4), np.zeros((4, 2)), verbose=0)


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


def test_layers_from_descriptions():
    layer = Conv2D(3, 2, activation="tanh", kernel_regularizer="l2", name="mine")
    again = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
    assert type(again) is Conv2D and again.get_config() == layer.get_config()
    again = layers.deserialize({"class_name": "Mixed", "config": {"start": "ones"}}, custom_objects={"Mixed": Mixed})
    assert type(again) is Mixed and again.start == "ones"
    with pytest.raises(ValueError, match="unknown layer class Mixed; pass it in custom_objects"):
        layers.deserialize(layers.serialize(again))


def test_a_layer_whose_call_has_no_derivative_says_what_to_define():
    class Within(minicnn.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((1,))
            self.dense = Dense(3)

        def call(self, x):
            return self.dense(x) * self.factor

    with pytest.raises(
        ValueError, match="layer r: the derivative of its call .*as it has the layer dense.*: define forward"
    ):
        Sequential([Input((6, 6, 1)), Flatten(), Within(name="r")])


def test_a_layer_without_a_derivative_stands_where_nothing_before_it_is_trained():
    """As images are prepared within a model; `Rooted` says the same with a `forward`."""

    class Root(minicnn.Layer):
        def call(self, x):
            return np.cbrt(x)

    class Rooted(minicnn.Layer):
        def forward(self, x, training=False):
            return np.cbrt(x)

    x, y = np.random.default_rng(0).standard_normal((20, 4)).astype("float32"), np.arange(20) % 3
    found = []
    for cls in (Root, Rooted):
        minicnn.set_random_seed(1)
        model = Sequential([Input((4,)), cls(name="r"), Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=5, epochs=2, verbose=0)
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    model = Sequential([Input((4,)), Dense(4), Root(name="r"), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.predict(x, verbose=0).shape == (20, 3)
    with pytest.raises(
        ValueError, match="layer r: the derivative of its call .*cbrt.*, so no layer before it can be trained"
    ):
        model.fit(x, y, verbose=0)


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


# ---------------------------------------------------------------------- a call that says how a built-in layer works


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


class Doubling:
    """What a layer gives for twice its input, with the gradient for that."""

    def forward(self, x, training=False):
        return super().forward(2 * x, training)

    def backward(self, dy):
        return 2 * super().backward(dy)


@pytest.mark.parametrize("base, options", [(Dense, {"units": 4}), (layers.Activation, {}), (layers.Softmax, {})])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_last_softmax_of_ones_own_is_what_the_loss_is_of(base, options, run_eagerly):
    """The loss is that of what `predict` gives, and a step goes down its slope, as central differences find it."""

    class Own(Doubling, base):
        pass

    last = Own(**({} if base is layers.Softmax else options | {"activation": "softmax"}))
    model = Sequential([Input((6, 6, 1)), Flatten(), Dense(4), last]).astype("float64")
    model.compile(minicnn.optimizers.SGD(0.01), "sparse_categorical_crossentropy", run_eagerly=run_eagerly)
    x, before = X.astype(float), model.get_weights()

    def loss_of(weights):
        model.set_weights(weights)
        return -np.log(model.predict(x, verbose=0)[np.arange(len(Y)), Y]).mean()

    assert model.evaluate(x, Y, verbose=0) == pytest.approx(loss_of(before), rel=1e-9)
    model.train_on_batch(x, Y)
    steps = [(old - new) / 0.01 for old, new in zip(before, model.get_weights(), strict=True)]
    ahead, behind = (
        loss_of([w + move * step for w, step in zip(before, steps, strict=True)]) for move in (1e-5, -1e-5)
    )
    assert (ahead - behind) / 2e-5 == pytest.approx(sum((step**2).sum() for step in steps), rel=1e-5)


def test_a_backward_of_ones_own_is_called_layer_by_layer_too():
    class Own(Doubling, Conv2D):
        pass

    model = Sequential([Input((6, 6, 1)), Conv2D(2, 3), Own(3, 2, activation="relu"), Flatten(), Dense(4)])
    start, found = model.astype("float64").get_weights(), []
    for run_eagerly in (False, True):
        model.set_weights(start)
        loss = minicnn.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, run_eagerly=run_eagerly)
        check_model(model, X[:3], Y[:3])  # by differences
        model.train_on_batch(X, Y)
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


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


@pytest.mark.parametrize("base", [minicnn.Model, minicnn.Layer])
def test_a_class_whose_init_forgets_that_of_its_base(base):
    class Forgetful(base):
        def __init__(self):
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    with pytest.raises(AttributeError, match=r"class Forgetful: its __init__ must first call super\(\).__init__\(\)"):
        Forgetful()(X)


def test_a_layer_that_calculates_whose_init_forgets_that_of_its_base():
    class Forgetful(layers.Layer):
        def __init__(self, factor):
            self.factor = factor

        def call(self, x):
            return x * self.factor

    with pytest.raises(AttributeError, match=r"class Forgetful: its __init__ must first call super\(\).__init__\(\)"):
        minicnn.Sequential([layers.Input((3,)), Forgetful(2)])


def scaling(build):
    """A class of layers, x · factor, with this `build`."""
    return type("Scaling", (layers.Layer,), {"build": build, "forward": Scale.forward, "backward": Scale.backward})


def build_alone(self, input_shape):
    self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")


def build_last(self, input_shape):
    self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
    layers.Layer.build(self, input_shape)


@pytest.mark.parametrize("build", [build_alone, build_last])
def test_a_build_may_leave_out_that_of_the_base_or_end_with_it(build):
    kind = scaling(build)
    assert minicnn.gradcheck.check_layer(kind(), (3, 4)) < 1e-6
    found = []
    for layer in (kind(), Scale()):
        minicnn.set_random_seed(0)
        model = Sequential([Input((4,)), layer, Dense(2)])
        model.compile("sgd", "mse")
        x = np.arange(40.0).reshape(10, 4) / 40
        model.fit(x, x[:, :2], epochs=2, verbose=0)
        assert layer.built and layer.output_shape == (None, 4) and len(layer.weights) == 1
        found.append(model.get_weights())
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("build", [build_alone, build_last])
def test_a_built_layer_of_ones_own_is_built_anew(build):
    layer = scaling(build)()
    for features in (4, 3):
        layer.build((None, features))
        assert [weight.shape for weight in layer.weights] == [(features,)] and layer.output_shape == (None, features)


def test_weights_made_in_init_stay():
    class Scaled(layers.Layer):
        def __init__(self):
            super().__init__()
            self.factor = self.add_weight((1,), "ones", name="factor")

        forward, backward = Scale.forward, Scale.backward

    model = Sequential([Input((1,)), Scaled()])
    assert [weight.name for weight in model.trainable_weights] == [f"{model.layers[0].name}/factor"]

"""What a Keras script asks for beside layers: models of tensors, batches from generators, losses, metrics, old names."""

import copy
import importlib
import inspect
import pickle

import numpy as np
import pytest

import minicnn
from minicnn import Conv2D, Dense, Flatten, Input, MaxPooling2D, Model, Sequential, callbacks, layers, losses, metrics
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
    assert [type(layer).__name__ for layer in model.layers] == ["Conv2D", "Flatten", "Dense"]
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


def test_what_layers_see_is_a_model_of_several_outputs():
    model = small()
    model.compile("adam", "sparse_categorical_crossentropy")
    wanted = [model.layers[2].output, model.layers[0].output, model.input, model.layers[2].output]
    seen = Model(inputs=model.inputs, outputs=wanted)
    assert seen.output_shape == [(None, 4), (None, 4, 4, 3), (None, 6, 6, 1), (None, 4)]
    assert [tensor.shape for tensor in seen.output] == seen.output_shape and seen.layers == model.layers
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
        with pytest.raises(ValueError, match="a model of 4 outputs is asked what they give, and not"):
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
        model.summary()
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


def test_a_call_that_is_no_chain():
    class Halves(Model):
        def call(self, x, training):
            return Flatten()(x) if training else Dense(2)(Flatten()(x))

    class Sums(Model):
        def call(self, x):
            return x + Conv2D(1, 3, padding="same", name="same")(x)

    with pytest.raises(ValueError, match="may leave out nothing but random layers"):
        Halves().build((None, 6, 6, 1))
    with pytest.raises(TypeError, match="Rescaling and Activation are layers"):
        Input((6, 6, 1)) / 255
    with pytest.raises(TypeError, match="what comes out of input.* goes from layer to layer"):
        Sums().predict(X)


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


def test_validation_now_and_then():
    history = small().fit(X, Y, epochs=5, verbose=0, validation_split=0.2, validation_freq=2, validation_batch_size=3)
    assert len(history.history["val_loss"]) == 2 and len(history.history["loss"]) == 5


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
    assert heard == ["predict_batch_end"] * 2 + ["test_begin", "test_batch_begin", "test_batch_end", "test_end"]


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
        (lambda y_true, y_pred: 0.0, "is a function without a gradient: make a subclass of Loss"),
        ("hinge", "unknown loss 'hinge'; expected one of categorical_crossentropy"),
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
    assert list(found) == list(expected) and found == pytest.approx(expected, rel=1e-5)
    assert list(model.fit(X, Y, verbose=0).history) == list(expected)
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
    again.compile("sgd", model.loss, metrics=again.metrics)
    assert again.evaluate(X, targets, return_dict=True) == model.evaluate(X, targets, return_dict=True)


def test_what_is_no_metric():
    with pytest.raises(ValueError, match="unknown metric 'sensitivity'; expected one of accuracy"):
        small(metrics=["sensitivity"])
    with pytest.raises(TypeError, match="SparseTopKCategoricalAccuracy has no argument 'top'"):
        metrics.SparseTopKCategoricalAccuracy(top=3)


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
        (lambda: K.image_dim_ordering, "use image_data_format"),
        (lambda: small().nothing, "a model has no attribute 'nothing'$"),
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
        ("from minicnn.datasets import fashion_mnist", "minicnn.datasets has no fashion_mnist: load_mnist"),
        ("from minicnn.wrappers.scikit_learn import KerasClassifier", "minicnn has no wrappers: call fit and predict"),
    ],
)
def test_an_import_from_a_module_that_is_not_here_says_so(statement, sentence):
    with pytest.raises(ImportError, match=sentence):
        exec(statement, {})


def test_a_class_that_is_not_here_given_as_a_setting():
    for name, choose in (("losses.Huber", "loss"), ("optimizers.Lion", "optimizer")):
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
    assert outer.layers == [*inner.layers, outer.get_layer("shares")]
    inner.fit(X, Y, epochs=1, verbose=0)
    np.testing.assert_array_equal(outer.get_weights()[0], inner.get_weights()[0])
    np.testing.assert_allclose(outer.predict(X), layers.Softmax()(inner.predict(X)), rtol=1e-6)
    turned = minicnn.Sequential([layers.RandomRotation(0.1), layers.RandomZoom(0.1)])
    x = Input((28, 28, 1))
    model = Model(x, Dense(3)(Flatten()(turned(x))))
    assert [type(layer).__name__ for layer in model.layers] == ["RandomRotation", "RandomZoom", "Flatten", "Dense"]
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
        assert Model(model.input, model.output).layers == [first, a]
    base = minicnn.Sequential([Input((4,)), Dense(3)])
    outer = minicnn.Sequential([Input((4,)), base, Dense(2)])
    assert Model(outer.inputs, outer.outputs).layers == outer.layers


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
        assert part.layers == model.layers
    assert Model(base.input, base.layers[0].output).layers == base.layers[:1]


def test_layers_in_two_orders():
    one, two = Dense(8), Dense(8)
    first = minicnn.Sequential([one, two])
    first.build((None, 8))
    other = minicnn.Sequential([two, one])
    other.build()
    assert Model(first.input, two.output).layers == [one, two]
    assert Model(other.input, other.output).layers == [two, one]
    again = copy.copy(first)
    assert again.layers == first.layers and Model(first.input, two.output).layers == [one, two]
    again = copy.deepcopy(first)
    assert again.layers[0].input.shape == (None, 8) and layers.LSTM is layers.LSTM
    named = minicnn.Sequential([Dense(3, name="input", input_shape=(2,))])
    assert Model(named.input, named.output).layers == named.layers


def test_copies_of_layers_and_models():
    model = minicnn.Sequential([Dense(300, input_shape=(400,)), Dense(3)])
    alone = pickle.loads(data := pickle.dumps(model.layers[1]))
    assert len(data) < 20_000 and alone.output.shape == (None, 3)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        part = Model(again.input, again.layers[0].output)
        assert part.layers == again.layers[:1] and part.predict(np.ones((2, 400))).shape == (2, 300)
    long = minicnn.Sequential([Input((2,)), *(layers.ReLU() for _ in range(1200))])
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
    assert Model(model.input, model.output).layers == [one]


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
    with pytest.raises(TypeError, match="Accuracy has no argument 'k'; it has name, dtype"):
        minicnn.metrics.Accuracy(k=2)
    np.testing.assert_array_equal(
        minicnn.metrics.confusion_matrix([0, 2, 2], [0, 1, 2]), [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    )


def test_pictures_as_arrays():
    assert minicnn.utils.img_to_array(np.zeros((5, 4), "uint8")).shape == (5, 4, 1)
    with pytest.raises(ValueError, match=r"expected an array \(H, W\) or \(H, W, C\), got shape \(3,\)"):
        minicnn.preprocessing.image.img_to_array([1, 2, 3])
    with pytest.raises(ValueError, match="minicnn has no load_img: Pillow"):
        minicnn.preprocessing.image.load_img("a.png")


@pytest.mark.parametrize("name, today", [("nb_epoch", "epochs"), ("workers", "the arguments of a utils.PyDataset")])
def test_arguments_of_fit_that_keras_has_dropped(name, today):
    with pytest.raises(TypeError, match=f"fit has no argument '{name}': Keras 3 has dropped it, use {today}$"):
        small().fit(X, Y, **{name: 3})


def test_compile_says_what_it_cannot_do():
    with pytest.raises(ValueError, match="compile cannot take loss_weights"):
        small(loss_weights=[1, 2])


@pytest.mark.parametrize(
    "name, why", [("Concatenate", "one chain"), ("LSTM", "images"), ("Resizing", "a Layer of your own")]
)
def test_layers_that_are_not_here_say_so_when_used(name, why):
    layer = getattr(minicnn.layers, name)
    with pytest.raises(ValueError, match=f"minicnn has no layer {name}: .*{why}"):
        layer(3)
    assert not hasattr(minicnn.layers, "Conv2d") and minicnn.layers.MaxPool2D is MaxPooling2D


@pytest.mark.parametrize(
    "name",
    [
        "callbacks.TensorBoard", "utils.plot_model", "constraints.max_norm", "optimizers.Lion", "losses.Huber",
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
    with pytest.raises(KeyError, match="'acc' was not recorded; Keras 3 calls it 'accuracy'; there are loss, accuracy"):
        history["acc"]
    with pytest.raises(KeyError, match="'val_loss' was not recorded; there are loss, accuracy"):
        history["val_loss"]

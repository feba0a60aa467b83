"""Where batches come from: generators, sequences and what can be gone through again, against arrays; arrays in any form."""

import numpy as np
import pytest
from small import X, Y, small, weights_equal

import minicnn
from minicnn import Dense, Flatten, Input, Model, Sequential, callbacks, losses


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


def test_a_dataset_without_batches():
    class Nothing(minicnn.utils.Sequence):
        pass

    with pytest.raises(TypeError, match=r"Nothing does not define __len__\(\)"):
        small().fit(Nothing(), verbose=0)


# ---------------------------------------------------------------------- evaluations and predictions


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


def test_validation_batches_are_not_cut_to_the_size_of_the_training_data():
    x = np.arange(12.0)[:, None]
    model = Sequential([Input((1,)), Dense(1, use_bias=False)])
    model.set_weights([np.ones((1, 1))])
    model.compile(minicnn.optimizers.SGD(0.0), losses.MeanSquaredError(reduction="sum"))
    history = model.fit(x[:3], 0 * x[:3], validation_data=(x, 0 * x), verbose=0).history
    assert history["val_loss"] == [sum(n * n for n in range(12))]


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


# ---------------------------------------------------------------------- epochs of fewer steps


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


# ---------------------------------------------------------------------- arrays in any form


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8"])
def test_several_steps_of_data_of_any_type(monkeypatch, dtype):
    """What the layers do not compute in is converted, batch by batch."""
    monkeypatch.setattr(minicnn.training, "PAUSE", 1e9)
    x = (10 * X).astype(dtype)
    model, other = small(), small()
    other.run_eagerly = True
    logs = [each.fit(x, Y, batch_size=4, epochs=2, verbose=0).history for each in (model, other)]
    assert weights_equal(model, other) and logs[0] == logs[1]


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


def test_the_input_by_its_name():
    model = small()
    model.predict(X, verbose=0)
    named = {model._layers[0].name: X}
    np.testing.assert_array_equal(model.predict(named, verbose=0), model.predict(X, verbose=0))
    assert model.evaluate(named, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    model.fit(named, Y, verbose=0)


def test_the_targets_by_the_name_of_the_output():
    model = small()
    assert model.evaluate(X, {model.layers[-1].name: Y}, verbose=0) == model.evaluate(X, Y, verbose=0)
    x = Input(X.shape[1:], name="image")
    outer = Model(x, Sequential(model.layers, name="digit")(x))
    outer.compile("sgd", {"digit": "sparse_categorical_crossentropy"}, metrics={"digit": ["accuracy"]})
    outer.fit({"image": X}, {"digit": Y}, validation_data=({"image": X}, {"digit": Y}), verbose=0)
    for wrong in ({"out": Y}, {model.layers[-1].name: Y, "out": Y}):
        with pytest.raises(
            ValueError, match="a model has one output: expected its targets, not a dictionary with .*out"
        ):
            model.fit(X, wrong, verbose=0)


def test_arrays_of_different_shapes_are_no_samples():
    model = small()
    for wrong in ([(X[:8], Y[:8])], [X[0], X[0, :4]], [X, Y]):
        with pytest.raises(ValueError, match="^samples must be one array, or arrays of equal shape in a list$"):
            model.predict(wrong, verbose=0)
    with pytest.raises(ValueError, match="^targets must be one array, or arrays of equal shape in a list$"):
        model.fit(X[:2], [[0], [1, 0]], verbose=0)


@pytest.mark.parametrize("kind", ["U", "S", "O"])
def test_labels_that_are_written_as_strings(kind):
    numbers, words = small(), small()
    numbers.fit(X, Y, verbose=0)
    words.fit(X, Y.astype(str).astype(kind), verbose=0)
    assert weights_equal(numbers, words) and numbers.history.history == words.history.history
    assert words.evaluate(X, Y.astype(str), verbose=0) == numbers.evaluate(X, Y, verbose=0)
    with pytest.raises(ValueError, match="targets must be numbers: could not convert string to float: .*four"):
        words.fit(X, np.where(Y == 3, "four", "1"), verbose=0)


def test_sparse_matrices():
    class Sparse:
        """As scipy.sparse has them: neither an array nor with a length."""

        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __getitem__(self, key):
            return Sparse(self.array[key])

        def toarray(self):
            return self.array

    x, y = X.reshape(50, 36) * (np.abs(X.reshape(50, 36)) > 1), np.eye(4)[Y]
    models = []
    for kind in (np.asarray, Sparse):
        minicnn.set_random_seed(5)
        model = Sequential([Input((36,)), Dense(4, activation="softmax")])
        model.compile("sgd", "categorical_crossentropy")
        model.fit(kind(x), kind(y), validation_data=(kind(x), kind(y)), verbose=0)
        models.append(model)
        model.found = model.predict(kind(x)), model.evaluate(kind(x), kind(y), verbose=0)
    assert weights_equal(*models) and models[0].found[1] == models[1].found[1]
    np.testing.assert_array_equal(models[0].found[0], models[1].found[0])


def test_batches_larger_than_the_data_and_classes_without_a_weight():
    one, other = small(), small()
    one.fit(X, Y, batch_size=500, class_weight={0: 2.0, 2: 0.5}, verbose=0)
    other.fit(X, Y, batch_size=50, sample_weight=np.choose(Y, [2.0, 1.0, 0.5, 1.0]), verbose=0)
    assert weights_equal(one, other)

"""fit, evaluate and train_on_batch: what is learned, in which order, with which weights, and what is said about it.

One seed gives the same bits, with any number of threads; data that cannot be trained on get one clear sentence.
"""

import random
import re

import naive
import numpy as np
import pytest
from tqdm import tqdm

import minicnn
from minicnn import Sequential, layers
from minicnn.callbacks import Callback
from minicnn.seeding import generator

LOSS = "sparse_categorical_crossentropy"


def bars(n, seed=0):
    """8×8 images of noise with a bright bar: across (class 0), down (1), or none (2)."""
    random = np.random.default_rng(seed)
    x, y = random.random((n, 8, 8, 1)).astype("float32"), random.integers(0, 3, n)
    for image, label, place in zip(x, y, random.integers(0, 8, n), strict=True):
        if label == 0:
            image[place] += 2
        if label == 1:
            image[:, place] += 2
    return x, y


def network(seed=7, optimizer="adam", metrics=("accuracy",)):
    minicnn.set_random_seed(seed)
    model = Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(momentum=0.9),
            layers.MaxPooling2D(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer, LOSS, metrics=metrics)
    return model


def linear(seed=7, optimizer="sgd", classes=3, metrics=()):
    minicnn.set_random_seed(seed)
    model = Sequential([layers.Input((4,)), layers.Dense(classes, activation="softmax")])
    model.compile(optimizer, LOSS, metrics=metrics)
    return model


X = np.random.default_rng(1).standard_normal((20, 4)).astype("float32")
Y = np.random.default_rng(2).integers(0, 3, 20)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


# ---------------------------------------------------------------------- learning


@pytest.mark.parametrize("device", ["reference", "cpu"])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: minicnn.optimizers.Adam(0.01),
        lambda: minicnn.optimizers.SGD(0.05, 0.9),
        lambda: minicnn.optimizers.RMSprop(0.005),
    ],
    ids=["adam", "sgd", "rmsprop"],
)
def test_a_small_problem_is_learned(device, optimizer):
    x, y = bars(400)
    model = network(optimizer=optimizer()).to(device)
    history = model.fit(x, y, batch_size=20, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    _, accuracy = model.evaluate(*bars(200, seed=1))
    assert accuracy >= 0.95
    assert (model.predict(x).argmax(axis=1) == y).mean() >= 0.95


def test_one_step_of_sgd_by_hand():
    model = linear()
    kernel, bias = (np.float64(w) for w in model.get_weights())
    p = np.array([naive.softmax(row) for row in X @ kernel + bias])
    error = (p - np.eye(3)[Y]) / len(X)
    loss = model.train_on_batch(X, Y)
    assert loss == pytest.approx(-np.log(p[range(20), Y]).mean(), rel=1e-6)
    np.testing.assert_allclose(model.get_weights()[0], kernel - 0.01 * X.T @ error, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.get_weights()[1], bias - 0.01 * error.sum(axis=0), rtol=1e-5, atol=1e-7)


def test_an_epoch_without_shuffling_is_its_batches_in_order():
    one, other = linear(), linear()
    one.fit(X, Y, batch_size=6, epochs=2, shuffle=False, verbose=0)
    for _ in range(2):
        for first in range(0, 20, 6):
            other.train_on_batch(X[first : first + 6], Y[first : first + 6])
    assert same(one, other)


class Seen(layers.Layer):
    """y = x, and the first number of every sample that came by in training is kept."""

    def __init__(self, **options):
        super().__init__(**options)
        self.samples = []

    def forward(self, x, training=False):
        if training:
            self.samples.append(x[:, 0].astype(int).tolist())
        return x

    def backward(self, dy):
        return dy


def seen(**options):
    minicnn.set_random_seed(3)
    watcher = Seen()
    model = Sequential([layers.Input((1,)), watcher, layers.Dense(2, activation="softmax")])
    model.compile("sgd", LOSS)
    model.fit(np.arange(10.0)[:, None], np.arange(10) % 2, batch_size=4, verbose=0, **options)
    return watcher.samples


def test_shuffling_takes_every_sample_once_an_epoch_in_another_order():
    batches = seen(epochs=2)
    assert [len(batch) for batch in batches] == [4, 4, 2] * 2
    first, second = sum(batches[:3], []), sum(batches[3:], [])
    assert sorted(first) == sorted(second) == list(range(10)) and list(range(10)) != first != second
    assert seen(epochs=2) == batches
    assert seen(epochs=1) == batches[:3]  # the first epoch does not depend on how many follow
    assert seen(shuffle=False) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


class Batches(Callback):
    """Counts the batches of each kind."""

    def __init__(self):
        self.counts = dict.fromkeys(("train", "test", "predict"), 0)

    def on_train_batch_end(self, batch, logs=None):
        self.counts["train"] += 1

    def on_test_batch_end(self, batch, logs=None):
        self.counts["test"] += 1

    def on_predict_batch_end(self, batch, logs=None):
        self.counts["predict"] += 1


def test_steps_without_a_batch_size_see_all_samples():
    x, y, batches = np.tile(X, (48, 1))[:950], np.tile(Y, 48)[:950], Batches()
    model = linear(metrics=["accuracy"])
    outputs = model.predict(x, steps=2, callbacks=[batches])
    np.testing.assert_array_equal(outputs.argmax(axis=1), np.tile(outputs[:20].argmax(axis=1), 48)[:950])
    assert model.evaluate(x, y, steps=3, callbacks=[batches])[1] == pytest.approx((outputs.argmax(axis=1) == y).mean())
    assert batches.counts == {"train": 0, "test": 3, "predict": 2}
    watcher, batches = Seen(), Batches()
    model = Sequential([layers.Input((1,)), watcher, layers.Dense(2, activation="softmax")])
    model.compile("sgd", LOSS)
    x, y = np.arange(120.0)[:, None], np.arange(120) % 2
    options = {"validation_split": 0.2, "validation_steps": 4, "verbose": 0}
    model.fit(x, y, steps_per_epoch=10, callbacks=[batches], **options)
    assert [len(samples) for samples in watcher.samples] == [10] * 9 + [6]
    assert sorted(sum(watcher.samples, [])) == list(range(96))
    assert batches.counts == {"train": 10, "test": 4, "predict": 0}
    model.fit(x, y, steps_per_epoch=2, batch_size=8, callbacks=[batches], **options)
    assert [len(samples) for samples in watcher.samples[10:]] == [8, 8]
    assert batches.counts["test"] == 7  # of 8 samples each


@pytest.mark.parametrize(
    "spoilt, sentence",
    [
        (lambda x, y: (x[:, :4], y), r"expected an input of shape \(None, 8, 8, 1\), received \(None, 4, 8, 1\)"),
        (lambda x, y: (x, y[:9]), "20 samples but 9 targets"),
        (lambda x, y: (x, y + 1), "label .* is 3"),
        (lambda x, y: x, r"validation_data needs targets: \(x, y\)"),
        (lambda x, y: (x, y, y, y), "not 4 things"),
    ],
)
def test_validation_data_are_looked_at_before_anything_is_trained(spoilt, sentence):
    model, (x, y) = network(), bars(40)
    with pytest.raises(ValueError, match=sentence):
        model.fit(x, y, verbose=0, validation_data=spoilt(*bars(20)))
    assert model.optimizer.iterations == 0


def test_validation_split_takes_the_last_share_before_shuffling():
    assert sorted(sum(seen(validation_split=0.3), [])) == list(range(7))
    one, other = linear(metrics=["accuracy"]), linear(metrics=["accuracy"])
    a = one.fit(X, Y, batch_size=5, epochs=3, validation_split=0.25, verbose=0).history
    b = other.fit(X[:15], Y[:15], batch_size=5, epochs=3, validation_data=(X[15:], Y[15:]), verbose=0).history
    assert a == b and same(one, other)
    assert list(a) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    loss, accuracy = one.evaluate(X[15:], Y[15:])
    assert (a["val_loss"][-1], a["val_accuracy"][-1]) == (pytest.approx(loss, rel=1e-6), accuracy)


@pytest.mark.parametrize("targets", [Y, Y[:, None], np.eye(3)[Y]], ids=["labels", "column", "one-hot"])
def test_class_weights_are_sample_weights(targets):
    weights = {0: 0.5, 1: 2.0, 2: 1.25}
    each = np.array([weights[label] for label in Y])
    models = [linear(), linear()]
    for model in models:
        model.compile("sgd", LOSS if targets.size == 20 else "categorical_crossentropy")
    models[0].fit(X, targets, batch_size=8, epochs=2, class_weight=weights, verbose=0)
    models[1].fit(X, targets, batch_size=8, epochs=2, sample_weight=each, verbose=0)
    assert same(*models)
    models[0].fit(X, targets, batch_size=8, class_weight=weights, sample_weight=np.full((20, 1), 0.5), verbose=0)
    models[1].fit(X, targets, batch_size=8, sample_weight=each / 2, verbose=0)
    assert same(*models)


def test_class_weights_of_soft_targets_are_those_of_the_nearest_label():
    targets = np.tile([0.1, 0.9, 0.4, 0.95], 5)
    models = [Sequential([layers.Input((4,)), layers.Dense(1, "sigmoid")]) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    for model, weights in zip(
        models, ({"class_weight": {1: 3.0}}, {"sample_weight": np.tile([1, 3, 1, 3], 5)}), strict=True
    ):
        model.compile("sgd", "binary_crossentropy")
        model.fit(X, targets, shuffle=False, verbose=0, **weights)
    assert same(*models)


def test_weighted_loss_by_hand():
    model = linear()
    kernel, bias = (np.float64(w) for w in model.get_weights())
    losses = [-np.log(naive.softmax(row)[label]) for row, label in zip(X @ kernel + bias, Y, strict=True)]
    factor = {0: 0.5, 1: 2.0, 2: 0.0}
    own = np.linspace(0, 1, 20)
    expected = sum(factor[label] * w * loss for label, w, loss in zip(Y, own, losses, strict=True)) / 20
    assert model.evaluate(X, Y, sample_weight=own * [factor[label] for label in Y]) == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(X, Y, sample_weight=own, class_weight=factor) == pytest.approx(expected, rel=1e-5)


def test_history_averages_over_samples():
    """The last batch is smaller; a batch counts by its size."""
    model, history = linear(optimizer=minicnn.optimizers.SGD(0.0), metrics=["accuracy"]), {}
    history = model.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    loss, accuracy = model.evaluate(X, Y)
    assert history.history == {"loss": [pytest.approx(loss, rel=1e-6)], "accuracy": [pytest.approx(accuracy)]}
    assert history.epoch == [0] and model.history is history
    assert model.evaluate(X, Y, return_dict=True) == {"loss": loss, "accuracy": accuracy}
    assert model.evaluate(X, Y, batch_size=3)[0] == pytest.approx(loss, rel=1e-6)
    assert model.evaluate(X, Y, batch_size=1000)[0] == loss


def test_callbacks_hear_everything_and_can_stop():
    events = []

    class Listener(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            events.append(f"begin {epoch}")

        def on_train_batch_end(self, batch, logs=None):
            events.append(f"batch {batch}")

        def on_epoch_end(self, epoch, logs=None):
            assert {"loss", "val_loss"} <= set(logs)
            self.model.stop_training = epoch == 1

        def on_train_end(self, logs=None):
            events.append(f"end after {self.params['samples']} samples")

    history = linear().fit(X, Y, batch_size=10, epochs=5, verbose=0, validation_split=0.25, callbacks=[Listener()])
    epoch = ["batch 0", "batch 1"]
    assert events == ["begin 0", *epoch, "begin 1", *epoch, "end after 15 samples"]
    assert history.epoch == [0, 1]


def test_callbacks_know_how_many_steps_there_will_be():
    heard = []

    class Listener(Callback):
        def on_train_begin(self, logs=None):
            heard.append(self.params)

        on_test_begin = on_predict_begin = on_train_begin

    def batches():
        yield from ((X[first : first + 8], Y[first : first + 8]) for first in (0, 8, 16))

    model = linear()
    for source, targets, steps in (X, Y, 3), ([*X], Y, 3), (batches(), None, None):
        size = None if targets is None else 8
        model.evaluate(source, targets, size, verbose=0, callbacks=Listener())
        model.predict(batches() if targets is None else source, size, verbose=2, callbacks=[Listener()])
        assert heard == [{"epochs": 1, "steps": steps, "verbose": verbose} for verbose in (0, 2)]
        heard.clear()
    for steps in (2, 5):
        model.evaluate(X, Y, steps=steps, callbacks=[Listener()])
        model.predict(X, steps=steps, callbacks=[Listener()])
        assert [params["steps"] for params in heard] == [steps, steps]
        heard.clear()
    model.fit(X, Y, epochs=2, validation_split=0.5, verbose=0, callbacks=Listener())
    assert [params["epochs"] for params in heard] == [2, 2, 2]


# ---------------------------------------------------------------------- output


def test_verbose_0_prints_nothing(capsys):
    linear().fit(X, Y, epochs=2, verbose=0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [2, "auto"])  # the output of a test is no terminal
def test_verbose_2_prints_a_line_per_epoch(capsys, verbose):
    linear(metrics=["accuracy"]).fit(X, Y, epochs=12, validation_split=0.5, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    number = r"\d\.\d{4}"
    for epoch, line in enumerate(lines, start=1):
        wanted = rf"epoch {epoch:2}/12: accuracy {number}, loss {number}, val_accuracy {number}, val_loss {number}"
        assert re.fullmatch(wanted, line)


def test_verbose_1_draws_a_bar_with_rate_and_time_left_and_ends_with_a_line(capsys, monkeypatch):
    """However narrow the terminal is: the line is not cut off where it ends."""
    start = tqdm.__init__
    monkeypatch.setattr(tqdm, "__init__", lambda *of, **how: start(*of, **how | {"mininterval": 0, "ncols": 72}))
    linear(metrics=["accuracy", LOSS]).fit(X, Y, epochs=2, verbose=1, validation_split=0.5)
    shown = re.split(r"[\r\n]+", capsys.readouterr().out)
    lines = [line for line in shown if line.strip() and "|" not in line]
    number = r"\d+\.\d{4}"
    names = "accuracy", "loss", LOSS
    names = *names, *(f"val_{name}" for name in names)
    wanted = rf"epoch [12]/2, [\d.]+k? images/s: {', '.join(f'{name} {number}' for name in names)}"
    assert len(lines) == 2 and all(re.fullmatch(wanted, line) for line in lines), shown
    bars = [line for line in shown if "|" in line]
    assert (
        all(re.match(r"epoch [12]/2 +\d+% \|[█▏▎▍▌▋▊▉ ]+\| +.*images/s, [\d:?]+ left", bar) for bar in bars)
        and len(bars) > 2
    )


def test_a_bar_goes_when_training_fails(capsys):
    """tqdm would draw it again, below each line that is printed later."""

    class Failing(Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop") as failed:
        linear().fit(X, Y, epochs=2, verbose=1, callbacks=[Failing()])
    assert not tqdm._instances and failed.traceback  # which keeps the bar itself alive


def test_an_evaluation_prints_a_line(capsys):
    model = linear(metrics=["accuracy"])
    model.fit(X, Y, verbose=0)
    found = model.evaluate(X, Y, return_dict=True)
    said = ", ".join(f"{name} {value:.4f}" for name, value in sorted(found.items()))
    assert capsys.readouterr().out == f"evaluation: {said}\n"

    class Evaluate(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(X, Y)

    model.fit(X, Y, verbose=1, callbacks=[Evaluate()])
    assert re.search(r"\revaluation: accuracy \d\.\d{4}, loss \d\.\d{4}\n", capsys.readouterr().out)
    model.evaluate(X, Y, verbose=0)
    model.predict(X)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------------- the same bits


def test_one_seed_gives_the_same_bits_with_any_number_of_threads(threads):
    x, y = bars(90)
    models, histories = [], []
    for number in (1, 1, 2, 3, 5):
        threads(number)
        models.append(network())
        histories.append(models[-1].fit(x, y, batch_size=32, epochs=2, verbose=0, validation_split=0.2).history)
    for model, history in zip(models[1:], histories[1:], strict=True):
        assert same(models[0], model) and history == histories[0]
    other = network(seed=8)
    other.fit(x, y, batch_size=32, epochs=2, verbose=0)
    assert not same(models[0], other)


def test_seeds_of_64_bits_differ_in_every_bit():
    """NumPy would make numbers of float64 of a list with such a one, and a seed of 2⁶⁴ - 1 would not be one."""
    seeds = [*range(2**63, 2**63 + 50), *range(2**64 - 50, 2**64)]
    orders = {tuple(generator(seed, 3).permutation(20)) for seed in seeds}
    assert len(orders) == len(seeds)
    words = np.random.Philox(key=2**63 + 5 + (3 << 64)).random_raw(4)  # the same key as one number
    np.testing.assert_array_equal(generator(2**63 + 5, 3).bit_generator.random_raw(4), words)


def test_a_seed_is_also_that_of_numpy_and_python():
    drawn = []
    for _ in range(2):
        minicnn.set_random_seed(2**40 + 3)
        drawn.append((np.random.random(), random.random()))
    assert drawn[0] == drawn[1]
    for seed in (None, "7", 1.5, True, -1):
        with pytest.raises(ValueError, match="a seed is an integer from 0 on, not"):
            minicnn.set_random_seed(seed)


def test_without_a_seed_every_model_differs():
    assert not same(
        Sequential([layers.Input((4,)), layers.Dense(3)]), Sequential([layers.Input((4,)), layers.Dense(3)])
    )


# ---------------------------------------------------------------------- one clear sentence


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1 on, not 0"),
        ({"y": Y[:19]}, "20 samples but 19 targets"),
        ({"sample_weight": np.ones(21)}, "20 samples but 21 sample weights"),
        ({"x": X[:0], "y": Y[:0]}, r"expected at least one sample, got an array of shape \(0, 4\)"),
        ({"y": None}, r"fit needs targets: fit\(x, y\)"),
        ({"validation_split": 1.0}, "validation_split must be between 0 and 1, not 1.0"),
        ({"validation_split": -0.1}, "validation_split must be between 0 and 1, not -0.1"),
        ({"validation_split": 0.99}, "validation_split=0.99 of 20 samples leaves no sample on one side"),
        ({"y": Y + 1}, "labels must be integers from 0 to 2, but label "),
        ({"y": Y - 1}, "labels must be integers from 0 to 2, but label .* is -1"),
        ({"y": np.eye(3)[Y]}, r"expects labels of shape \(batch,\), got \(20, 3\); for one-hot targets use categorical"),
        ({"validation_data": (X, Y[:3])}, "20 samples but 3 targets"),
        ({"x": {"image": X}}, "a model has one input: expected its array, not a dictionary with image"),
        ({"epochs": "3"}, "epochs must be a whole number, not '3'"),
        ({"epochs": 2.0}, "epochs must be a whole number, not 2.0"),
        ({"validation_freq": 0}, "validation_freq must be a whole number from 1 on, not 0"),
        ({"validation_split": 0.5, "validation_steps": 0}, "validation_steps must be a whole number from 1 on, not 0"),
        ({"validation_split": 0.5, "validation_batch_size": 1.5}, "validation_batch_size must be a whole number from 1 on, not 1.5"),
        ({"validation_freq": [1, "2"]}, "validation_freq must be a whole number from 1 on, not '2'"),
        ({"sample_weight": np.ones((20, 2))}, r"expected a weight per sample, 20 numbers, got shape \(20, 2\)"),
        ({"class_weight": [1.0, 2.0]}, r"class_weight must be a dictionary from labels to weights, not \[1.0, 2.0\]"),
        ({"x": X[:, :3]}, r"expected an input of shape \(None, 4\), received \(None, 3\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on(arguments, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        linear().fit(**{"x": X, "y": Y, "verbose": 0} | arguments)
    assert "\n" not in str(error.value)


def test_bad_labels_leave_the_weights_alone():
    model, untouched = linear(), linear()
    with pytest.raises(ValueError, match="but label 4 is 3"):
        model.train_on_batch(X, np.where(np.arange(20) == 4, 3, Y))
    assert same(model, untouched)


def test_other_methods_refuse_too():
    with pytest.raises(ValueError, match="20 samples but 3 targets"):
        linear().evaluate(X, Y[:3])
    with pytest.raises(ValueError, match="20 samples but 3 targets"):
        linear().train_on_batch(X, Y[:3])
    with pytest.raises(ValueError, match="steps must be a whole number from 1 on, not 0"):
        linear().evaluate(X, Y, steps=0)
    with pytest.raises(ValueError, match="steps must be a whole number from 1 on, not 1.5"):
        linear().predict(X, steps=1.5)
    with pytest.raises(ValueError, match="expected at least one sample"):
        linear().predict(X[:0])
    with pytest.raises(ValueError, match="the number of threads must be a positive integer, not 0"):
        minicnn.set_threads(0)

"""Callbacks in real trainings: when they act, what they write, and that a killed training goes on with the same bits.

What they decide is compared with Keras in parity/test_parity_callbacks.py.
"""

import csv
import math
import re
import struct
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from small import small

import minicnn
from minicnn import Sequential, callbacks, layers, metrics, optimizers, training
from minicnn.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    SwapEMAWeights,
    TerminateOnNaN,
)

X = np.random.default_rng(0).standard_normal((50, 6, 6, 1)).astype("float32")
Y = (X[:, 0, 0, 0] > 0).astype(int) + (X[:, 3, 3, 0] > 0)
STEPS = 7  # of an epoch: six batches of eight samples, and one of two


def network(seed=1, optimizer="adam", filters=4):
    minicnn.set_random_seed(seed)
    model = Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(filters, 3, activation="relu"),
            layers.BatchNormalization(momentum=0.9),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fit(model, *listeners, epochs=4, **options):
    return model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=listeners, **options)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


class Notes(Callback):
    """Keeps the weights and the learning rate of every epoch."""

    def on_train_begin(self, logs=None):
        self.weights, self.rates = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())


def scripted(values, name="val_loss"):
    """Puts the next of these values into the logs of every epoch, for the callbacks that follow."""
    return LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update({name: values[epoch]}))


# ---------------------------------------------------------------------- hooks


def test_only_what_needs_every_batch_hears_of_every_batch(tmp_path):
    for save_freq, watches in (("epoch", False), (3, True)):
        assert ModelCheckpoint(tmp_path / "x", save_freq=save_freq).watches_batches == watches
        assert BackupAndRestore(tmp_path, save_freq=save_freq).watches_batches == watches
    quiet = [
        EarlyStopping(),
        ReduceLROnPlateau(),
        LearningRateScheduler(lambda epoch: 0.1),
        CSVLogger(tmp_path / "x"),
        LambdaCallback(on_epoch_end=print),
        callbacks.History(),
        callbacks.ProgressBar(),
    ]
    assert not any(listener.watches_batches for listener in quiet)
    assert TerminateOnNaN().watches_batches and LambdaCallback(on_train_batch_end=print).watches_batches


def test_functions_hear_what_they_are_there_for():
    heard = []
    names = ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end", "on_train_end"]  # fmt: skip
    functions = {name: lambda *arguments, name=name: heard.append((name, *arguments[:-1])) for name in names}
    fit(network(), LambdaCallback(**functions), epochs=1)
    batches = [(name, batch) for batch in range(STEPS) for name in names[2:4]]
    assert heard == [(names[0],), (names[1], 0), *batches, (names[4], 0), (names[5],)]
    with pytest.raises(TypeError, match="LambdaCallback: on_epoch_ends is no hook; expected some of on_train_begin, "):
        LambdaCallback(on_epoch_ends=print)


@pytest.mark.parametrize("wrong", [[None], [EarlyStopping], EarlyStopping, [[TerminateOnNaN()]], print, 3])
def test_what_is_no_callback_is_said(wrong):
    model = network()
    for act in (model.fit, model.evaluate, lambda x, y, **options: model.predict(x, **options)):
        with pytest.raises(TypeError, match="expected callbacks that are objects of a class made from Callback, got "):
            act(X, Y, callbacks=wrong, verbose=0)


def test_older_names_of_the_batch_hooks():
    heard = []
    fit(network(), LambdaCallback(on_batch_begin=lambda batch, logs: heard.append(batch)), epochs=1)

    class Old(Callback):
        def on_batch_end(self, batch, logs=None):
            heard.append(-batch)

    fit(network(), Old(), epochs=1)
    assert heard == [*range(STEPS), *(-batch for batch in range(STEPS))]


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


def test_the_end_of_training_hears_what_was_measured():
    heard = []

    class Listening(callbacks.Callback):
        def on_train_end(self, logs=None):
            heard.append(list(logs))

    small().fit(X, Y, verbose=0, callbacks=[callbacks.LearningRateScheduler(lambda epoch: 0.1), Listening()])
    assert heard == [["accuracy", "loss"]]


def test_logs_of_tests_are_in_order():
    heard = []

    class Listening(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            heard.append(list(logs))

        def on_test_end(self, logs=None):
            heard.append(list(logs))

    small(metrics=["sparse_categorical_accuracy", "accuracy"]).evaluate(X, Y, callbacks=[Listening()])
    assert heard == [["accuracy", "loss", "sparse_categorical_accuracy"]] * 3  # two batches and the end


def test_logs_of_batches_have_the_loss_and_the_metrics_alone():
    logs = []
    small().fit(
        X, Y, verbose=1, callbacks=[callbacks.LambdaCallback(on_train_batch_end=lambda batch, of: logs.append(of))]
    )
    assert [list(one) for one in logs] == [["accuracy", "loss"]] * 2


def test_a_bar_without_a_known_number_of_samples(capsys):
    bar = callbacks.ProgressBar()
    bar.set_params({"epochs": 2, "steps": None, "verbose": 1})
    bar.on_epoch_begin(0)
    bar.add(30)
    bar.on_train_batch_end(0, {"loss": 0.5})
    bar.on_epoch_end(0, {"loss": 0.5})
    out = capsys.readouterr().out
    assert "epoch 1/2 0.00 images, " in out and re.search(r"\repoch 1/2, [\d.]+[kM]? images/s: loss 0.5000\n$", out)


# ---------------------------------------------------------------------- monitor and mode


@pytest.mark.parametrize("make", [EarlyStopping, ReduceLROnPlateau, lambda **o: ModelCheckpoint("x", **o, save_best_only=True)])  # fmt: skip
def test_a_name_that_is_not_in_the_logs_is_an_error(make):
    with pytest.raises(
        ValueError, match=r"expected monitor to be one of accuracy, loss.*, not 'val_accuracy' \(without"
    ):
        fit(network(), make(monitor="val_accuracy"))
    with pytest.raises(
        ValueError, match=r"expected monitor to be one of accuracy, loss, val_accuracy, val_loss.*not 'acc'$"
    ):
        fit(network(), make(monitor="acc"), validation_split=0.2)
    with pytest.raises(
        ValueError, match="the name 'val_dice' does not tell whether more is better: pass mode='max' or"
    ):
        fit(network(), make(monitor="val_dice"))
    with pytest.raises(ValueError, match="mode must be auto, min or max, not 'up'"):
        make(mode="up")


def test_several_numbers_cannot_be_watched():
    stop = callbacks.EarlyStopping(monitor="f1_score", mode="max")
    model = small(metrics=[metrics.F1Score()], loss="categorical_crossentropy")
    with pytest.raises(ValueError, match="EarlyStopping: expected monitor to be one number, but 'f1_score' is several"):
        model.fit(X, np.eye(4)[Y], verbose=0, callbacks=[stop])


def test_epochs_without_validation_are_passed_over():
    stopping = EarlyStopping(patience=2)
    stopping.set_model(SimpleNamespace())
    stopping.set_params({"validation_freq": 2})
    stopping.on_train_begin()
    for epoch, logs in enumerate([{}, {"val_loss": 1.0}, {}, {"val_loss": 2.0}]):
        stopping.on_epoch_end(epoch, {"loss": 0.0} | logs)
    assert (stopping.best, stopping.wait) == (1.0, 1)


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


@pytest.mark.parametrize(
    ("name", "upwards"),
    [("val_loss", False), ("accuracy", True), ("val_acc", True), ("accuracy_loss", False), ("val_mean_absolute_error", False), ("auc_1", True),
     ("val_log_cosh", False), ("kld", False), ("cosine_similarity", True)],
)  # fmt: skip
def test_auto_goes_by_the_name(name, upwards):
    assert EarlyStopping(name).upwards == upwards


@pytest.mark.parametrize(
    "metric, upwards",
    [
        (minicnn.metrics.SparseTopKCategoricalAccuracy(2, "hits"), True),
        (minicnn.metrics.FBetaScore(name="hits"), True),
        (minicnn.metrics.MeanSquaredError("hits"), False),
    ],
)
def test_auto_goes_by_the_class_of_a_metric_whose_name_says_nothing(metric, upwards):
    model, stopping = network(), EarlyStopping("val_hits")
    model.compile("sgd", model.loss, metrics=[metric])
    stopping.set_model(model)
    assert stopping.upwards is upwards


# ---------------------------------------------------------------------- stopping and saving


def test_early_stopping_brings_back_the_best_weights(capsys):
    notes, model = Notes(), network()
    stopping = EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    history = fit(model, notes, scripted([3, 1, 2, 1.5, 0, 0]), stopping, epochs=6)
    assert history.epoch == [0, 1, 2, 3] and stopping.stopped_epoch == 3
    assert same(model.get_weights(), notes.weights[1]) and not same(notes.weights[1], notes.weights[3])
    assert capsys.readouterr().out == "epoch 4: stopped early\nweights of epoch 2 restored\n"
    fit(model, notes, scripted([3, 1, 2]), EarlyStopping(restore_best_weights=True, patience=9), epochs=3)
    assert same(model.get_weights(), notes.weights[1])


def test_checkpoints_are_models(tmp_path, capsys):
    notes, values = Notes(), [0.5, 0.75, 0.25]
    path = tmp_path / "new" / "folder" / "{epoch:02d}-{val_loss:.2f}.safetensors"
    best = tmp_path / "best.safetensors"
    model = network()
    fit(model, notes, scripted(values), ModelCheckpoint(path), ModelCheckpoint(best, save_best_only=True, verbose=1), epochs=3)  # fmt: skip
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "01-0.50.safetensors",
        "02-0.75.safetensors",
        "03-0.25.safetensors",
    ]
    for epoch, value in enumerate(values):
        saved = minicnn.load_model(str(path).format(epoch=epoch + 1, val_loss=value))
        assert same(saved.get_weights(), notes.weights[epoch])
        assert saved.optimizer.iterations == STEPS * (epoch + 1)
    assert same(minicnn.load_model(best).get_weights(), notes.weights[2])
    said = [f"epoch {e}: val_loss {v:.5f} is the best so far, saved as {best}" for e, v in ((1, 0.5), (3, 0.25))]
    assert capsys.readouterr().out.splitlines() == said


def test_checkpoints_between_epochs(tmp_path):
    model, iterations = network(), {}
    model.save = lambda path: iterations.update({path: model.optimizer.iterations})
    fit(model, ModelCheckpoint("{epoch}-{batch}", save_freq=5), epochs=2)
    assert iterations == {"1-5": 5, "2-3": 10}


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_batch_end"])
@pytest.mark.parametrize("save_freq", ["epoch", 5])
def test_hooks_of_a_class_made_from_one_that_saves(tmp_path, monkeypatch, hook, save_freq):
    monkeypatch.setattr(training, "PAUSE", 1e9)  # so that what watches nothing hears of several batches at once
    heard = []

    def hear(self, batch, logs=None):
        heard.append(batch)
        getattr(super(type(self), self), hook)(batch, logs)

    checkpoint, backup = (type("Heard", (cls,), {hook: hear}) for cls in (ModelCheckpoint, BackupAndRestore))
    for callback in (
        checkpoint(tmp_path / "{epoch}.safetensors", save_freq=save_freq),
        backup(tmp_path / "b", save_freq),
    ):
        fit(network(), callback, LambdaCallback(on_epoch_begin=lambda epoch, logs: heard.append(None)), epochs=2)
        assert heard == [None, *range(STEPS)] * 2
        heard.clear()
    found = [minicnn.load_model(tmp_path / f"{epoch}.safetensors").optimizer.iterations for epoch in (1, 2)]
    assert found == ([STEPS, 2 * STEPS] if save_freq == "epoch" else [5, 10])


def test_weights_alone_are_saved_by_save_weights():
    model, saved = SimpleNamespace(), []
    model.save_weights = saved.append
    checkpoint = ModelCheckpoint("{epoch}", save_weights_only=True)
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(4, {})
    assert saved == ["5"]


def test_checkpoints_that_cannot_be(tmp_path):
    with pytest.raises(
        ValueError, match=r"filepath '{val_loss}' cannot be filled in \('val_loss'\); the names are accuracy, loss"
    ):
        fit(network(), ModelCheckpoint("{val_loss}"))
    for save_freq in ("batch", 0, True, 1.5):
        for make in (ModelCheckpoint, BackupAndRestore):
            with pytest.raises(
                ValueError, match=f"{make.__name__}: save_freq must be 'epoch' or a whole number of batch"
            ):
                make(tmp_path, save_freq=save_freq)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_training_ends_after_the_batch_whose_loss_is_no_number(loss, monkeypatch, capsys):
    model, steps = network(), Sequential.train_steps
    monkeypatch.setattr(
        Sequential,
        "train_steps",
        lambda self, *a: ([loss] if self.optimizer.iterations == 2 else [1.0], steps(self, *a)[1]),
    )
    fit(model, TerminateOnNaN())
    assert model.optimizer.iterations == 3
    assert capsys.readouterr().out == f"batch 2: the loss is {loss}, training stops\n"
    model = network()
    with pytest.raises(RuntimeError, match=f"TerminateOnNaN: after batch 2 the loss is {loss}"):
        fit(model, TerminateOnNaN(raise_error=True))


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


# ---------------------------------------------------------------------- learning rate


def test_a_scheduled_rate_is_the_one_that_trains():
    notes, model = Notes(), network(optimizer=optimizers.SGD(0.5))
    fit(model, LearningRateScheduler(lambda epoch, rate: rate / 2), notes, epochs=3)
    assert notes.rates == [0.25, 0.125, 0.0625]
    by_hand = network(optimizer=optimizers.SGD(0.5))
    for epoch, rate in enumerate(notes.rates):
        by_hand.optimizer.learning_rate = rate
        fit(by_hand, initial_epoch=epoch, epochs=epoch + 1)
    assert same(model.get_weights(), by_hand.get_weights())


def test_a_plateau_reduces_the_rate(capsys):
    notes, model = Notes(), network(optimizer=optimizers.SGD(0.5))
    reduce = ReduceLROnPlateau(factor=0.5, patience=1, cooldown=2, min_lr=0.2, verbose=1)
    logged = []
    watch = LambdaCallback(on_epoch_end=lambda epoch, logs: logged.append(logs["learning_rate"]))
    fit(model, notes, scripted([1, 1, 1, 1, 0, 0, 0]), reduce, watch, epochs=7)
    assert notes.rates == logged == [0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]
    assert capsys.readouterr().out == "epoch 2: learning rate reduced to 0.25\nepoch 4: learning rate reduced to 0.2\n"


def test_rates_that_cannot_be():
    model = network(optimizer=optimizers.SGD(minicnn.schedules.OneCycle(0.1, 10)))
    for callback in (ReduceLROnPlateau("loss"), LearningRateScheduler(lambda epoch: 0.1)):
        sentence = f"{type(callback).__name__}: expected an optimizer whose learning_rate is a number, not a schedule or a func"
        with pytest.raises(ValueError, match=sentence):
            fit(model, callback)
    for rate in (None, "0.1", -1, math.nan):
        with pytest.raises(ValueError, match=f"schedule must return a number from 0 on, not {rate!r}"):
            fit(network(), LearningRateScheduler(lambda epoch, *, value=rate: value))
    with pytest.raises(ValueError, match="ReduceLROnPlateau: factor must be from 0 on and below 1, not 1.0"):
        ReduceLROnPlateau(factor=1.0)


# ---------------------------------------------------------------------- tables


def test_a_table_has_a_row_per_epoch(tmp_path):
    path, model = tmp_path / "log.csv", network()
    path.write_text("something else")
    seen = []
    history = fit(model, CSVLogger(path), LambdaCallback(on_epoch_end=lambda *_: seen.append(len(pandas.read_csv(path)))),
                  validation_split=0.2, epochs=3)  # fmt: skip
    assert seen == [1, 2, 3]
    table = list(csv.DictReader(path.open()))
    assert list(table[0]) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    for name, values in history.history.items():
        assert [float(row[name]) for row in table] == values
    fit(model, CSVLogger(path, append=True), validation_split=0.2, initial_epoch=3, epochs=5)
    assert pandas.read_csv(path)["epoch"].tolist() == [0, 1, 2, 3, 4]
    other = network()
    other.compile("sgd", "sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"])
    with pytest.raises(
        ValueError, match="log.csv has the columns epoch, accuracy, loss, val_accuracy, val_loss, and none"
    ):
        fit(other, CSVLogger(path, append=True))
    assert len(pandas.read_csv(path)) == 5


# ---------------------------------------------------------------------- killed trainings


class Killed(BaseException):
    pass


def killer(after):
    """Ends the training after so many steps of the optimizer."""

    def hook(batch, logs):
        if killed.model.optimizer.iterations == after:
            raise Killed

    killed = LambdaCallback(on_train_batch_end=hook)
    return killed


def state(model):
    return [*model.get_weights(), *model.optimizer.state.values()]


@pytest.mark.parametrize(
    ("save_freq", "kills", "first"),
    [("epoch", [3], (0, 0)), ("epoch", [8], (1, 0)), ("epoch", [15, 27], (3, 0)), (1, [8], (1, 1)),
     (3, [11], (1, 2)), (5, [16, 24], (2, 6)), (7, [7], (0, 0)), (7, [8], (1, 0)), (4, [13], (1, 5))],
)  # fmt: skip
def test_a_killed_training_goes_on_with_the_same_bits(tmp_path, save_freq, kills, first):
    rates = LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    whole = network()
    expected = fit(whole, rates).history
    backup = tmp_path / "backup"
    for seed, kill in enumerate(kills, start=1):
        with pytest.raises(Killed):
            fit(network(seed), rates, BackupAndRestore(backup, save_freq), killer(kill))
    heard = []
    listener = LambdaCallback(
        on_epoch_begin=lambda epoch, logs: heard.append(epoch),
        on_train_batch_begin=lambda batch, logs: heard.append(batch),
    )
    model = network(seed=99 if backup.exists() else 1)
    history = fit(model, rates, BackupAndRestore(backup, save_freq), listener)
    assert tuple(heard[:2]) == first
    assert same(state(model), state(whole)) and model.optimizer.iterations == whole.optimizer.iterations == 4 * STEPS
    assert model.seed == whole.seed
    for name, values in expected.items():
        complete = history.history[name][1 if first[1] else 0 :]  # the first may have been cut
        assert complete == values[len(values) - len(complete) :]
    assert not backup.exists()


@pytest.mark.parametrize(("save_freq", "kill"), [("epoch", 9), (2, 5), (4, 8), (5, 11)])
def test_epochs_of_fewer_steps_go_on_where_they_were_killed(tmp_path, save_freq, kill):
    whole, model, backup = network(), network(seed=99), tmp_path / "backup"
    fit(whole, steps_per_epoch=3, epochs=6)  # two and a half passes
    with pytest.raises(Killed):
        fit(network(), BackupAndRestore(backup, save_freq), killer(kill), steps_per_epoch=3, epochs=6)
    fit(model, BackupAndRestore(backup, save_freq), steps_per_epoch=3, epochs=6)
    assert same(state(model), state(whole)) and model.optimizer.iterations == whole.optimizer.iterations == 18


def resume(folder, model, **options):
    """What `fit` does before the first epoch."""
    callback = BackupAndRestore(folder, **options)
    model.build()
    callback.set_model(model)
    callback.on_train_begin()
    return callback


def test_a_backup_holds_all_that_training_depends_on(tmp_path):
    """Without `fit`: train on a few batches, back up, go on in another model with other seeds."""
    model, other = network(optimizer=optimizers.SGD(0.1, momentum=0.9)), network(5, optimizers.SGD(0.3, momentum=0.9))
    callback = resume(tmp_path / "backup", model)
    for first in (0, 8):
        model.train_on_batch(X[first : first + 8], Y[first : first + 8])
    model.optimizer.learning_rate = 0.05
    callback.on_epoch_end(2)
    other.train_on_batch(X, Y)  # whose tape and moments must not survive
    resume(tmp_path / "backup", other)
    assert (other.initial_epoch, other.initial_step) == (3, 0)
    assert (other.optimizer.iterations, other.optimizer.learning_rate, other.seed) == (2, 0.05, model.seed)
    for _ in range(3):
        model.train_on_batch(X, Y)
        other.train_on_batch(X, Y)
        assert same(state(model), state(other))


def test_a_backup_holds_statistics_of_data(tmp_path):
    """Of which one, a count, is a number without axes."""
    models = [
        Sequential([layers.Input((6, 6, 1)), layers.Normalization(), layers.Flatten(), layers.Dense(3)]) for _ in "12"
    ]
    for model in models:
        model.compile("adam", "mse")
    models[0].layers[0].adapt(X)
    callback = resume(tmp_path, models[0])
    callback.on_epoch_end(0)
    resume(tmp_path, models[1])
    assert same(state(models[0]), state(models[1])) and () in [weight.shape for weight in models[1].get_weights()]
    assert models[1].initial_epoch == 1


def backed_up(folder, times=1, **options):
    """A model with a backup or more of it; returns the weights of each."""
    model = network()
    callback, weights = resume(folder, model, **options), []
    for epoch in range(times):
        model.train_on_batch(X, Y)
        callback.on_epoch_end(epoch)
        weights.append(model.get_weights())
    return callback, weights


def test_of_two_backups_the_whole_one_is_taken(tmp_path):
    callback, weights = backed_up(tmp_path, 3, double_checkpoint=True)
    model = network(5)
    resume(tmp_path, model)
    assert same(model.get_weights(), weights[2]) and model.initial_epoch == 3
    callback.path.write_bytes(callback.path.read_bytes()[:-100])
    resume(tmp_path, model)
    assert same(model.get_weights(), weights[1]) and model.initial_epoch == 2
    callback.path.unlink()  # killed between taking the old name away and giving it to the new one
    resume(tmp_path, model)
    assert same(model.get_weights(), weights[1])


def test_backups_that_cannot_be_used(tmp_path):
    callback, _ = backed_up(tmp_path)
    deeper = network()
    deeper.add(layers.Dropout(0.1))
    for model, sentence in (
        (
            network(filters=5),
            r"latest.safetensors: the backup is of another model: expected weights of shapes \[\[3, 3",
        ),
        (
            network(optimizer="sgd"),
            "latest.safetensors: the backup is of another model: expected optimizer SGD, got Adam",
        ),
        (deeper, r"another model: expected layers \['Conv2D', .*'Dense', 'Dropout'\], got \['Conv2D'"),
    ):
        before = model.get_weights()
        with pytest.raises(ValueError, match=sentence):
            resume(tmp_path, model)
        assert same(model.get_weights(), before)
    content = callback.path.read_bytes()
    network().save(callback.path)
    other = callback.path.read_bytes()
    broken, foreign = "not a safetensors file", "a safetensors file of something else, with no 'backup' in its header"
    for damaged, sentence in ((b"", broken), (content[:100], broken), (content[:-1], broken), (other, foreign)):
        callback.path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"latest.safetensors: {sentence}"):
            resume(tmp_path, network())
    with pytest.raises(ValueError, match="backup_dir must name a folder, and is empty"):
        BackupAndRestore("")


def test_only_the_backups_are_deleted_at_the_end(tmp_path):
    callback, _ = backed_up(tmp_path / "alone", 2, double_checkpoint=True)
    callback.on_train_end()
    assert not (tmp_path / "alone").exists()
    callback, _ = backed_up(tmp_path, 2, double_checkpoint=True)
    (tmp_path / "thesis.txt").touch()
    callback.on_train_end()
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
    callback, _ = backed_up(tmp_path, delete_checkpoint=False)
    callback.on_train_end()
    assert callback.path.exists()


# ---------------------------------------------------------------------- averages


def test_averages_are_evaluated_and_parameters_trained():
    plain, model = network(), network(optimizer=optimizers.Adam(use_ema=True, ema_momentum=0.5))
    notes, kept, swap = Notes(), Notes(), SwapEMAWeights()
    model.optimizer.finalize_variable_values = lambda parameters: None  # so that fit ends with what was trained
    fit(plain, notes)
    fit(model, swap, kept, validation_split=0.0)
    assert all(same(one, other) for one, other in zip(notes.weights, kept.weights, strict=True))
    average, parameters = model.optimizer.state["average"].copy(), model.get_weights()
    assert model.evaluate(X, Y) == plain.evaluate(X, Y) != model.evaluate(X, Y, callbacks=[swap])
    assert not np.array_equal(model.predict(X), model.predict(X, callbacks=[swap]))
    assert same(model.get_weights(), parameters) and np.array_equal(model.optimizer.state["average"], average)
    with pytest.raises(ValueError, match="SwapEMAWeights: expected an optimizer with use_ema=True, not Adam without"):
        fit(network(), SwapEMAWeights(swap_on_epoch=True))


# ---------------------------------------------------------------------- TensorBoard


def scalars(folder):
    """{name: [(step, value), …]} and the names of histograms in the event files of a folder, read by their format:

    length (8 bytes), checksum (4), an Event of protobuf, checksum (4).
    """
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="needs tensorboardX")
    found, histograms = {}, set()
    for path in sorted(Path(folder).iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = event_pb2.Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length
            for value in event.summary.value:
                if value.HasField("histo"):
                    histograms.add(value.tag)
                else:
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found, histograms


def test_tensorboard_gets_the_numbers_of_epochs_and_batches(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    model = network()
    board = callbacks.TensorBoard(tmp_path / "logs", histogram_freq=1, update_freq="batch")
    history = fit(model, board, validation_split=0.2, epochs=3).history
    train, histograms = scalars(tmp_path / "logs" / "train")
    held, _ = scalars(tmp_path / "logs" / "validation")
    for name in ("loss", "accuracy"):
        assert train[f"epoch_{name}"] == [(epoch, pytest.approx(x, rel=1e-6)) for epoch, x in enumerate(history[name])]
        assert held[f"epoch_{name}"] == [
            (epoch, pytest.approx(x, rel=1e-6)) for epoch, x in enumerate(history[f"val_{name}"])
        ]
    assert [step for step, _ in train["batch_loss"]] == list(range(1, int(model.optimizer.iterations) + 1))
    assert train["epoch_learning_rate"][0][1] == pytest.approx(float(model.optimizer.learning_rate))
    assert histograms == {f"{parameter.name}/histogram" for parameter in model.parameters}
    assert not callbacks.TensorBoard().watches_batches and board.watches_batches


def test_tensorboard_without_its_package_warns_once_and_trains(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.warns(UserWarning, match="nothing is written without the package tensorboardX") as warned:
        history = fit(network(), callbacks.TensorBoard(tmp_path / "logs"), validation_split=0.2, epochs=2)
    assert len(history.epoch) == 2 and len(warned) == 1 and not (tmp_path / "logs").exists()
    with pytest.raises(ValueError, match="TensorBoard: update_freq must be 'epoch' or a whole number of batches"):
        callbacks.TensorBoard(update_freq=0)


# ---------------------------------------------------------------------- what was recorded


def test_renamed_numbers_in_logs():
    """What Keras 3 calls otherwise: an error that says so where Keras has one, a warning where it returns None."""
    heard = []

    def look(epoch, logs):
        with pytest.raises(
            KeyError, match="'acc' was not recorded; Keras 3 calls it 'accuracy'; there are accuracy, loss"
        ):
            logs["acc"]
        with pytest.warns(UserWarning, match="'acc' was not recorded; Keras 3 calls it 'accuracy'"):
            heard.append(logs.get("acc"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            heard.extend([logs.get("acc", 1.0), logs.get("val_acc"), "acc" in logs, logs.get("accuracy") is None])

    model = network()
    model.compile("sgd", model.loss, metrics=["accuracy"])
    fit(model, LambdaCallback(on_epoch_end=look), epochs=1)
    assert heard == [None, 1.0, None, False, False]


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

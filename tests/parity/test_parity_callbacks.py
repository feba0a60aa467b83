"""Callbacks decide as Keras' do: both are told the same numbers, epoch by epoch, about a model that only writes down."""

import inspect
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import callbacks

pytestmark = pytest.mark.parity

# eighths, of which Keras' float32 loses nothing; few of them, so that many are equal
NUMBERS = st.integers(-8, 8).map(lambda number: number / 8)
VALUES = st.lists(NUMBERS | st.sampled_from([math.nan, math.inf]), min_size=1, max_size=25)
MODES = st.sampled_from(["auto", "min", "max"])
DELTAS = st.sampled_from([0, 1e-4, 0.125, -0.2, 0.6])


class Model:
    """A model whose weights are the number of its epoch, and which notes what is saved."""

    def __init__(self, rate=0.5):
        self.optimizer = SimpleNamespace(learning_rate=rate)
        self.stop_training, self.epoch, self.restored, self.saved = False, None, None, []

    def get_weights(self):
        return [self.epoch]

    def set_weights(self, weights):
        self.restored = weights

    def save(self, path, overwrite=True):
        self.saved.append((self.epoch, "model", str(path)))

    def save_weights(self, path, overwrite=True):
        self.saved.append((self.epoch, "weights", str(path)))


def train(callback, values, batches=0, name="val_loss"):
    """Calls a callback as `fit` does; returns the model and the learning rate of each epoch that was trained."""
    model, rates = Model(), []
    callback.set_model(model)
    callback.set_params({"epochs": len(values), "steps": batches, "verbose": 0})
    callback.on_train_begin({})
    for model.epoch, value in enumerate(values):
        callback.on_epoch_begin(model.epoch, {})
        rates.append(float(model.optimizer.learning_rate))
        for batch in range(batches):
            callback.on_train_batch_begin(batch, {})
            callback.on_train_batch_end(batch, {name: value + batch})
        logs = {"loss": 0.0, name: value}
        callback.on_epoch_end(model.epoch, logs)
        rates.append(logs.get("learning_rate"))
        if model.stop_training:
            break
    callback.on_train_end({})
    return model, rates


def same(first, second):
    return first == second or (first is not None and math.isnan(first) and math.isnan(second))


@given(
    values=VALUES,
    options=st.fixed_dictionaries(
        {
            "patience": st.integers(0, 4),
            "min_delta": DELTAS,
            "mode": MODES,
            "baseline": st.none() | NUMBERS,
            "restore_best_weights": st.booleans(),
            "start_from_epoch": st.integers(0, 5),
        }
    ),
)
def test_early_stopping_stops_and_restores_at_the_same_epoch(keras, values, options):
    ours, theirs = callbacks.EarlyStopping(**options), keras.callbacks.EarlyStopping(**options)
    (model, _), (expected, _) = train(ours, values), train(theirs, values)
    assert (model.epoch, model.stop_training, model.restored) == (
        expected.epoch,
        expected.stop_training,
        expected.restored,
    )
    assert (ours.stopped_epoch, ours.best_epoch, ours.wait) == (theirs.stopped_epoch, theirs.best_epoch, theirs.wait)
    assert same(ours.best, theirs.best)


@given(
    values=VALUES,
    options=st.fixed_dictionaries(
        {
            "factor": st.sampled_from([0.1, 0.5, 0.9, 0.0]),
            "patience": st.integers(0, 4),
            "min_delta": DELTAS,
            "mode": MODES,
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0.0, 0.001, 0.07, 0.3, 1.0]),
        }
    ),
)
def test_reduce_on_plateau_gives_the_same_rates(keras, values, options):
    ours, theirs = callbacks.ReduceLROnPlateau(**options), keras.callbacks.ReduceLROnPlateau(**options)
    (model, rates), (expected, expected_rates) = train(ours, values), train(theirs, values)
    assert rates == expected_rates and model.optimizer.learning_rate == expected.optimizer.learning_rate


def test_a_class_made_from_early_stopping_may_calculate_what_is_watched(keras):
    found = []
    for module in (callbacks, keras.callbacks):

        class Sum(module.EarlyStopping):
            def get_monitor_value(self, logs):
                return logs["val_loss"] + 0.5 * (logs["val_loss"] < 0)

        stopping = Sum(patience=1)
        model, _ = train(stopping, [0.25, 0.125, -0.125, -1, 0])  # the third is no better then
        found.append((model.epoch, float(stopping.best), stopping.stopped_epoch))
    assert found == [(2, 0.125, 2)] * 2


@pytest.mark.parametrize(("mode", "noted"), [("min", [1, 4]), ("max", [2])])
def test_a_class_made_from_reduce_on_plateau_compares_with_the_best(keras, mode, noted):
    for module in (callbacks, keras.callbacks):

        class Back(module.ReduceLROnPlateau):
            seen = ()

            def on_epoch_end(self, epoch, logs=None):
                waits = epoch > 0 and not self.in_cooldown()
                if waits and not self.monitor_op(logs[self.monitor], self.best):
                    self.seen = [*self.seen, epoch]
                super().on_epoch_end(epoch, logs)

        back = Back(patience=1, factor=0.5, cooldown=2, mode=mode)
        train(back, [0.5, 0.75, 0.375, 0.25, 0.5, 0.125])
        assert back.seen == noted


@given(
    values=VALUES,
    batches=st.integers(1, 7),
    options=st.fixed_dictionaries(
        {
            "save_best_only": st.booleans(),
            "mode": MODES,
            "save_freq": st.just("epoch") | st.integers(1, 10),
            "initial_value_threshold": st.none() | NUMBERS,
        }
    ),
    weights=st.booleans(),
)
def test_checkpoints_are_saved_at_the_same_epochs_under_the_same_names(keras, values, batches, options, weights):
    name = "{epoch:02d}-{val_loss:.2f}" + ("" if options["save_freq"] == "epoch" else "-{batch:03d}")
    name += ".weights.h5" if weights else ".keras"
    ours = callbacks.ModelCheckpoint(name, save_weights_only=weights, **options)
    theirs = keras.callbacks.ModelCheckpoint(name, save_weights_only=weights, **options)
    theirs._set_monitor_op()  # which Keras forgets before the end of the first epoch
    assert train(ours, values, batches)[0].saved == train(theirs, values, batches)[0].saved


@pytest.mark.parametrize(
    "schedule",
    [
        lambda epoch: 0.5 / (1 + epoch),
        lambda epoch, rate: rate * 0.9,
        lambda epoch, rate: rate if epoch < 3 else rate * math.exp(-0.1),
    ],
)
def test_scheduler_gives_the_same_rates(keras, schedule):
    ours, theirs = callbacks.LearningRateScheduler(schedule), keras.callbacks.LearningRateScheduler(schedule)
    assert train(ours, range(8))[1] == train(theirs, range(8))[1]


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_averages_are_evaluated_and_seen_at_the_end_of_an_epoch(keras, random, swap_on_epoch):
    x, y = random.standard_normal((40, 5)).astype("float32"), random.standard_normal((40, 3)).astype("float32")
    first, losses, weights = None, [], []
    for library in (keras, minicnn):
        model = library.Sequential([library.layers.Input((5,)), library.layers.Dense(3)])
        first = first or model.get_weights()
        model.set_weights(first)
        model.compile(library.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.8), "mse")
        at_end = []
        keep = library.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, model=model, at_end=at_end: at_end.extend(model.get_weights())
        )
        listeners = [library.callbacks.SwapEMAWeights(swap_on_epoch), keep]
        history = model.fit(x, y, 8, 4, 0, listeners, validation_data=(x, y), shuffle=False).history
        losses.append(history["loss"] + history["val_loss"])
        weights.append(at_end)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    for ours, theirs in zip(weights[1], weights[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("options", [{}, {"steps": 5}, {"steps": 2, "batch_size": 16}])
def test_as_many_steps_are_made_and_told(keras, options):
    """Of 32 samples where nothing else is said: our batches outside training are larger."""
    of_library, x, y = [], np.ones((96, 2), "float32"), np.ones((96, 1), "float32")
    for library in (keras, minicnn):
        steps = dict.fromkeys(("train", "test", "predict"), 0)

        class Counting(library.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None, steps=steps):
                steps["train"] += 1

            def on_test_batch_end(self, batch, logs=None, steps=steps):
                steps["test"] += 1

            def on_predict_batch_end(self, batch, logs=None, steps=steps):
                steps["predict"] += 1

        told = []
        model = library.Sequential([library.layers.Input((2,)), library.layers.Dense(1)])
        model.compile("sgd", "mse")
        batch_size = options.get("batch_size", None if "steps" in options else 32)
        for ask, data in ((model.evaluate, (x, y)), (model.predict, (x,))):
            listener = Counting()
            ask(*data, batch_size=batch_size, steps=options.get("steps"), verbose=0, callbacks=[listener])
            told.append(listener.params)
        model.fit(x, y, batch_size, steps_per_epoch=options.get("steps"), verbose=0, callbacks=[Counting()])
        validation = {"validation_split": 0.25, "validation_steps": options.get("steps")}
        model.fit(x, y, batch_size, verbose=0, callbacks=[Counting()], **validation)
        of_library.append((steps, told))
    assert of_library[0] == of_library[1]


@pytest.mark.parametrize("separator", [",", ";"])
def test_tables_are_the_same_bytes(keras, tmp_path, separator):
    runs = [
        [{"loss": 0.1 + 0.2, "accuracy": 1.0}, {"loss": 1e-20, "val_loss": 3.0}],
        [{"loss": math.nan, "accuracy": np.array([0.25, 1 / 3])}],
    ]
    for module, name in ((callbacks, "ours.csv"), (keras.callbacks, "theirs.csv")):
        for append, logs_of_run in zip((False, True), runs, strict=True):
            logger = module.CSVLogger(str(tmp_path / name), separator, append)
            logger.on_train_begin()
            for epoch, logs in enumerate(logs_of_run):
                logger.on_epoch_end(epoch, logs)
            logger.on_train_end()
    first, second = (tmp_path / "ours.csv").read_bytes(), (tmp_path / "theirs.csv").read_bytes()
    assert first == second and len(first.splitlines()) == 4


@pytest.mark.parametrize("loss", [1.0, 0.0, math.nan, math.inf, -math.inf])
def test_terminate_stops_at_the_same_losses(keras, loss):
    stopped = []
    for module in (callbacks, keras.callbacks):
        callback, model = module.TerminateOnNaN(), Model()
        callback.set_model(model)
        callback.on_train_batch_end(0, {"loss": loss})
        stopped.append(model.stop_training)
    assert stopped == [not math.isfinite(loss)] * 2


def test_auto_knows_the_direction_of_all_metrics_that_have_one(keras):
    shapes = {"num_classes": 2, "target_class_ids": [0], "recall": 0.5, "precision": 0.5, "sensitivity": 0.5, "specificity": 0.5}  # fmt: skip
    checked = 0
    for cls in vars(keras.metrics).values():
        if not (inspect.isclass(cls) and issubclass(cls, keras.metrics.Metric)):
            continue
        needed = [p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
        if not set(needed) <= set(shapes):
            continue
        metric = cls(**{name: shapes[name] for name in needed})
        direction = getattr(metric, "_direction", None)
        if direction is not None:
            assert callbacks.EarlyStopping(f"val_{metric.name}").upwards == (direction == "up"), metric.name
            checked += 1
    assert checked > 30


def test_names_of_hooks_and_arguments_are_the_same(keras):
    hooks = [name for name in vars(keras.callbacks.Callback) if name.startswith("on_")]
    assert sorted(callbacks.HOOKS) == sorted(hooks)
    for name in hooks:
        ours, theirs = getattr(callbacks.Callback, name), getattr(keras.callbacks.Callback, name)
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
    for cls in [
        "ModelCheckpoint",
        "EarlyStopping",
        "ReduceLROnPlateau",
        "LearningRateScheduler",
        "CSVLogger",
        "TerminateOnNaN",
        "LambdaCallback",
        "BackupAndRestore",
        "History",
    ]:
        ours, theirs = (inspect.signature(getattr(module, cls)).parameters for module in (callbacks, keras.callbacks))
        ours, theirs = (  # what Keras makes nothing of, and we a sentence, is left out
            {name: p.default for name, p in found.items() if p.kind != p.VAR_KEYWORD} for found in (ours, theirs)
        )
        assert ours == theirs, cls

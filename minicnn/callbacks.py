"""Callbacks: objects that `fit` tells what happens. The history and the progress bar are callbacks themselves.

Arguments, defaults and decisions are those of Keras 3. What watches a number finds it in the logs of an epoch, and a name
that is not there is an error.
"""

import csv
import inspect
import io
import math
import os
import re
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .absent import refuse_arguments, without
from .checks import COUNT, FUNCTION, NUMBER, PATH, check, numbers, or_none
from .data.files import PathLike, make_folder, read_bytes, read_tensors, write_bytes, write_tensors
from .registered import snake_case

Logs = dict[str, float]
Hook = Callable[..., None]


class Callback:
    """Base class with a hook for every event; `self.model` is the model and `self.params` has epochs, steps and verbose.

    `fit` does several steps at once unless some callback `watches_batches`, as one does that has a hook of its own for
    training batches: define one only where it is needed. `on_batch_begin` and `on_batch_end` are older names of these hooks.
    """

    model: Any = None
    params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    if not TYPE_CHECKING:  # which is to find what is no attribute

        def __getattr__(self, name: str) -> Any:
            if name == "validation_data":
                raise AttributeError(
                    f"{type(self).__name__} has no {name}: Keras 3 has dropped it, give the data to your callback"
                )
            return object.__getattribute__(self, name)  # raises what a property did

    @property
    def watches_batches(self) -> bool:
        """Whether it is to be called after every batch, and not only after several."""
        return overrides(self, Callback)

    def on_train_begin(self, logs: Logs | None = None) -> None: ...
    def on_train_end(self, logs: Logs | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None: ...
    def on_test_end(self, logs: Logs | None = None) -> None: ...
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_begin(self, logs: Logs | None = None) -> None: ...
    def on_predict_end(self, logs: Logs | None = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...


HOOKS = [name for name in vars(Callback) if name.startswith("on_")]


def overrides(callback: Callback, cls: type[Callback]) -> bool:
    """Whether a callback has another hook for training batches than this class."""
    names = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(getattr(getattr(callback, name), "__func__", None) is not getattr(cls, name) for name in names)


def say(text: str) -> None:
    """Prints a line, above the progress bar if there is one; a "?" where the output has no code for a sign."""
    from tqdm import tqdm

    try:
        tqdm.write(text, file=sys.stdout)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding
        tqdm.write(text.encode(encoding, "replace").decode(encoding), file=sys.stdout)


class LambdaCallback(Callback):
    """A callback made of functions, one per hook; TypeError for a name that is no hook.

    They are called as `f(epoch, logs)`, `f(batch, logs)` or `f(logs)`.
    """

    def __init__(
        self,
        on_epoch_begin: Hook | None = None,
        on_epoch_end: Hook | None = None,
        on_train_begin: Hook | None = None,
        on_train_end: Hook | None = None,
        on_train_batch_begin: Hook | None = None,
        on_train_batch_end: Hook | None = None,
        **kwargs: Hook,
    ) -> None:
        unknown = sorted(set(kwargs) - set(HOOKS))
        if unknown:
            raise TypeError(f"LambdaCallback: {unknown[0]} is no hook; expected some of {', '.join(HOOKS)}")
        named = {name: function for name, function in locals().items() if name in HOOKS} | kwargs
        given = {name: function for name, function in named.items() if function is not None}
        check("LambdaCallback", FUNCTION, **given)
        vars(self).update(given)


class Recorded(dict[str, Any]):
    """Numbers by name; asked for a name that is not there, it says which are. `get` warns of one that Keras 3 has renamed."""

    def _hint(self, name: str) -> str:
        today = {"acc": "accuracy", "val_acc": "val_accuracy", "lr": "learning_rate"}.get(name)
        return f"; Keras 3 calls it {today!r}" if today in self and name not in self else ""

    def __missing__(self, name: str) -> Any:
        raise KeyError(f"{name!r} was not recorded{self._hint(name)}; there are {', '.join(self) or 'none'}")

    def get(self, name: str, default: Any = None) -> Any:
        if default is None and (hint := self._hint(name)):
            warnings.warn(f"{name!r} was not recorded{hint}", stacklevel=2)
        return super().get(name, default)


class History(Callback):
    """Keeps the logs of every epoch: `history` maps each name to a list with one number per epoch."""

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = Recorded()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


def format_logs(logs: Logs) -> str:
    return ", ".join(f"{name} {np.mean(value):.4f}" for name, value in logs.items())


class ProgressBar(Callback):
    """verbose=1: a bar per epoch with images per second and the time left, and then a line; verbose=2: the line alone."""

    bar: Any = None

    @property
    def watches_batches(self) -> bool:
        return overrides(self, ProgressBar)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        from tqdm import tqdm

        digits = len(str(self.params["epochs"]))
        self.title = f"epoch {epoch + 1:{digits}}/{self.params['epochs']}"
        samples = self.params.get("samples")
        self.bar = tqdm(
            total=samples,
            desc=self.title,
            unit=" images",
            unit_scale=True,
            mininterval=0.2,
            file=sys.stdout,
            disable=self.params["verbose"] != 1,
            leave=False,  # a line as wide as it has to be takes its place
            bar_format="{desc} {n_fmt} images, {rate_fmt}{postfix}"
            if samples is None
            else "{desc} {percentage:3.0f}% |{bar:20}| {rate_fmt}, {remaining} left{postfix}",
        )

    def add(self, samples: int) -> None:
        """Moves the bar on."""
        self.bar.update(samples)

    def close(self) -> None:
        """Takes the bar away, in the middle of an epoch too."""
        if self.bar is not None:
            self.bar.close()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.bar.set_postfix_str(format_logs(logs or {}), refresh=False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        seen, seconds = self.bar.n, self.bar.format_dict["elapsed"]
        self.close()
        if self.params["verbose"]:
            speed = f", {self.bar.format_sizeof(seen / seconds)} images/s" if seen and seconds else ""
            print(f"{self.title}{speed}: {format_logs(logs or {})}", flush=True)


# ---------------------------------------------------------------------- what watches a number

# words of a metric's name that tell which way is better
DOWN = "loss|error|crossentropy|divergence|hinge|huber|poisson|log_?cosh|bce|kld|mse|mae|mape|msle|false_(?:posi|nega)tives"
UP = "acc|accuracy|auc|precision|recall|sensitivity|specificity|f1|f_?beta|io_?u|r2|similarity|correlation|true_(?:posi|nega)tives"


def _upwards(name: str) -> bool | None:
    """Whether more is better of what has this name; None if it does not tell."""
    down, up = (re.search(rf"(?:^|_)(?:{words})(?:_|$)", name) for words in (DOWN, UP))
    return not down if down or up else None


class MonitorCallback(Callback):
    """Base of callbacks that watch one number of an epoch's logs.

    `mode` says what is better: "min", "max", or "auto", which knows losses and errors from accuracies and their like by
    the name of what is watched, or of its class; `fit` raises ValueError for others. A value counts as better if it is so by
    more than `min_delta`.
    """

    best: float | None = None

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode must be auto, min or max, not {mode!r}")
        if not isinstance(monitor, str):
            raise ValueError(f"{type(self).__name__}: monitor must be a name, such as 'val_loss', not {monitor!r}")
        check(type(self).__name__, NUMBER, min_delta=min_delta)
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.upwards = _upwards(monitor) if mode == "auto" else mode == "max"
        self.told = self.upwards is not None

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        if not self.told:
            metric = model._means.all.get(self.monitor.removeprefix("val_"))
            self.upwards = _upwards(snake_case(type(metric).__name__))
        if self.upwards is None:
            raise ValueError(
                f"{type(self).__name__}: the name {self.monitor!r} does not tell whether more is better: pass mode='max' or "
                "mode='min'"
            )

    def improves(self, value: float, reference: float | None) -> bool:
        if reference is None:
            return True
        return value - self.min_delta > reference if self.upwards else value + self.min_delta < reference

    @property
    def monitor_op(self) -> Callable[[Any, Any], Any]:
        """np.greater where more is better, else np.less."""
        return np.greater if self.upwards else np.less

    def get_monitor_value(self, logs: Logs) -> float | None:
        """The number that is watched, which a class of your own may calculate from the logs.

        None in an epoch without validation, else ValueError if there is none.
        """
        if np.size(logs.get(self.monitor, 0.0)) > 1:
            raise ValueError(
                f"{type(self).__name__}: expected monitor to be one number, but {self.monitor!r} is several"
            )
        if self.monitor in logs:
            return logs[self.monitor]
        if self.monitor.startswith("val_") and self.params.get("validation_freq", 1) != 1:
            return None
        names = ", ".join(logs) or "nothing"
        hint = ""
        if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in logs):
            hint = " (without validation data there are no names with val_)"
        raise ValueError(f"{type(self).__name__}: expected monitor to be one of {names}, not {self.monitor!r}{hint}")


class EarlyStopping(MonitorCallback):
    """Stops the training after `patience` epochs in which the monitored value did not improve.

    With a `baseline`, only values better than that count. The first `start_from_epoch` epochs are not looked at. With
    `restore_best_weights` the model ends with the weights of its best epoch, however the training ended.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        check(type(self).__name__, NUMBER, patience=patience, start_from_epoch=start_from_epoch)
        check(type(self).__name__, or_none(NUMBER), baseline=baseline)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best, self.best_weights = None, None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = self.get_monitor_value(logs or {})
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.improves(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            say(f"epoch {self.stopped_epoch + 1}: stopped early")
        if self.best_weights is not None:
            if self.verbose:
                say(f"weights of epoch {self.best_epoch + 1} restored")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(MonitorCallback):
    """Saves the model after every epoch, or after every `save_freq` batches if that is a number.

    `filepath` may hold {epoch} (from 1 on), {batch} and all names of the logs, with formats: "{epoch:02d}-{val_loss:.2f}".
    `save_best_only` saves only what is better than all before, and than `initial_value_threshold`; `save_weights_only`
    calls `model.save_weights`, else `model.save`. A file that was there stays whole until the new one is.
    """

    def __init__(
        self,
        filepath: PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        **dropped: Any,
    ) -> None:
        refuse_arguments("ModelCheckpoint", dropped)
        super().__init__(monitor, mode)
        check(type(self).__name__, PATH, filepath=filepath)
        check(type(self).__name__, or_none(NUMBER), initial_value_threshold=initial_value_threshold)
        self.filepath, self.verbose, self.best = os.fspath(filepath), verbose, initial_value_threshold
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.batches = batches_between(self, save_freq)

    @property
    def watches_batches(self) -> bool:
        return self.batches is not None or overrides(self, ModelCheckpoint)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        if self.batches is not None and self.batches.due(batch):
            self._save(self.epoch, logs or {}, {"batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.batches is None:
            self._save(epoch, logs or {}, {})

    def _save(self, epoch: int, logs: Logs, batch: Logs) -> None:
        names: dict[str, Any] = batch | logs | {"epoch": epoch + 1}
        try:
            path = self.filepath.format(**names)
        except (LookupError, ValueError) as error:
            raise ValueError(
                f"ModelCheckpoint: filepath {self.filepath!r} cannot be filled in ({error}); the names are {', '.join(names)}"
            ) from None
        if self.save_best_only:
            value = self.get_monitor_value(logs)
            if value is None or not self.improves(value, self.best):
                return
            self.best = value
        if os.path.dirname(path):
            make_folder(os.path.dirname(path))
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            why = f"{self.monitor} {self.best:.5f} is the best so far, " if self.save_best_only else ""
            say(f"epoch {epoch + 1}: {why}saved as {path}")


class EveryFewBatches:
    """Counts batches, also from one epoch to the next, and says when it is time again."""

    def __init__(self, number: int) -> None:
        self.number, self.count, self.last = number, 0, -1

    def due(self, batch: int) -> bool:
        """Whether `number` batches have passed at the end of this one; `batch` starts from 0 in every epoch."""
        self.count += batch - self.last if batch > self.last else batch + 1
        self.last = batch
        if self.count < self.number:
            return False
        self.count = 0
        return True


def batches_between(callback: Any, frequency: str | int, name: str = "save_freq") -> EveryFewBatches | None:
    """None for "epoch", the counter for a number; ValueError for anything else."""
    if frequency == "epoch":
        return None
    kind = "'epoch' or a whole number of batches from 1 on", lambda number: number is not True and COUNT[1](number)
    check(type(callback).__name__, kind, **{name: frequency})
    return EveryFewBatches(int(frequency))


# ---------------------------------------------------------------------- what sets the learning rate


def learning_rate_of(callback: Callback) -> float:
    """The number that is the optimizer's learning rate; ValueError if it is a schedule."""
    rate = fixed_rate(callback.model.optimizer)
    if rate is None:
        raise ValueError(
            f"{type(callback).__name__}: expected an optimizer whose learning_rate is a number, not a schedule or a "
            "function, which would set it as well"
        )
    return rate


def fixed_rate(optimizer: Any) -> float | None:
    """The learning rate, or None where a schedule or a function says it."""
    return None if callable(getattr(optimizer, "_learning_rate", None)) else float(optimizer.learning_rate)


class LearningRateScheduler(Callback):
    """Sets the learning rate of every epoch to `schedule(epoch, learning_rate)`, or `schedule(epoch)`; it is in the logs.

    ValueError if that is no number from 0 on.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        check("LearningRateScheduler", FUNCTION, schedule=schedule)
        self.schedule, self.verbose = schedule, verbose
        try:
            inspect.signature(schedule).bind(0, 0.0)
            self.takes_rate = True
        except (TypeError, ValueError):  # the latter: a function of C that does not tell
            self.takes_rate = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        before = learning_rate_of(self)
        rate = self.schedule(epoch, before) if self.takes_rate else self.schedule(epoch)
        if not isinstance(rate, int | float | np.floating) or not rate >= 0:
            raise ValueError(f"LearningRateScheduler: schedule must return a number from 0 on, not {rate!r}")
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose:
            say(f"epoch {epoch + 1}: learning rate {rate:g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = learning_rate_of(self)


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` after `patience` epochs in which the monitored value did not improve.

    After that, epochs are not counted until the last of `cooldown` epochs (as in Keras, where a cooldown of 1 is none). The
    rate never goes below `min_lr`. The rate of each epoch is in the logs.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **dropped: Any,
    ) -> None:
        if "epsilon" in dropped:
            warnings.warn("ReduceLROnPlateau: epsilon is called min_delta today", stacklevel=2)
            min_delta = dropped.pop("epsilon")
        refuse_arguments("ReduceLROnPlateau", dropped)
        super().__init__(monitor, mode, min_delta)
        check(type(self).__name__, numbers("from 0 on and below 1", lambda factor: 0 <= factor < 1), factor=factor)
        check(type(self).__name__, NUMBER, patience=patience, cooldown=cooldown, min_lr=min_lr)
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr

    def on_train_begin(self, logs: Logs | None = None) -> None:
        learning_rate_of(self)  # says now, and not after an epoch, if it is a schedule
        self.best, self.wait, self.cooldown_counter = None, 0, 0

    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        rate = logs["learning_rate"] = learning_rate_of(self)
        value = self.get_monitor_value(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best, self.wait = value, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                self.model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    say(f"epoch {epoch + 1}: learning rate reduced to {self.model.optimizer.learning_rate:g}")


# ---------------------------------------------------------------------- what writes, stops, resumes and swaps


def _cell(value: Any) -> Any:
    """What a table has of a number, or of the several numbers of one metric, as Keras writes these."""
    return f'"[{", ".join(map(str, value))}]"' if np.ndim(value) else value


class CSVLogger(Callback):
    """Writes the logs of every epoch as a row of a table: epoch (from 0 on), then the names in alphabetical order.

    A row is written at once, or not at all. A name that is missing in an epoch is NA. With `append` the rows go below
    those that are there, in the same columns; ValueError if these do not have all names of the logs.
    """

    def __init__(self, filename: PathLike, separator: str = ",", append: bool = False) -> None:
        check("CSVLogger", PATH, filename=filename)
        kind = "one character", lambda text: isinstance(text, str) and len(text) == 1
        check("CSVLogger", kind, separator=separator)
        self.filename, self.separator, self.append = filename, separator, append

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.columns: list[str] = []
        if self.append and os.path.exists(self.filename):
            first = read_bytes(self.filename).decode().splitlines()[:1]
            self.columns = next(csv.reader(first, delimiter=self.separator), [])
        else:
            write_bytes(self.filename, b"")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        row: dict[str, Any] = {"epoch": epoch} | (logs or {})
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.separator)
        if not self.columns:
            names = sorted(logs or {})
            later = [] if any(name.startswith("val_") for name in names) else [f"val_{name}" for name in names]
            self.columns = ["epoch", *names, *later]
            writer.writerow(self.columns)
        unknown = [name for name in row if name not in self.columns]
        if unknown:
            raise ValueError(
                f"CSVLogger: {self.filename} has the columns {', '.join(self.columns)}, and none for {unknown[0]}"
            )
        writer.writerow([_cell(row.get(name, "NA")) for name in self.columns])
        with open(self.filename, "ab", buffering=0) as file:
            file.write(text.getvalue().encode())


class TensorBoard(Callback):
    """Writes the numbers of every epoch for TensorBoard, into the folders `train` and `validation` of `log_dir`, as Keras does.

    With `histogram_freq` also all weights, after every so many epochs; with an `update_freq` of "batch", or a number of
    batches, the numbers of these as well. The other settings are there for Keras' sake. This takes tensorboardX: without
    it there is a warning, and nothing is written.
    """

    def __init__(
        self,
        log_dir: PathLike = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        check("TensorBoard", PATH, log_dir=log_dir)
        self.log_dir, self.histogram_freq = log_dir, histogram_freq
        self.batches = batches_between(self, 1 if update_freq == "batch" else update_freq, "update_freq")
        self.writers: dict[str, Any] = {}
        self.missing = False

    @property
    def watches_batches(self) -> bool:
        return self.batches is not None or overrides(self, TensorBoard)

    def writer(self, folder: str) -> Any:
        """What writes into this folder of `log_dir`; None where tensorboardX is missing."""
        if folder not in self.writers and not self.missing:
            try:
                writer = import_module("tensorboardX").SummaryWriter
            except ImportError:
                self.missing = True
                warnings.warn(
                    "TensorBoard: nothing is written without the package tensorboardX: pip install tensorboardX",
                    stacklevel=2,
                )
            else:
                make_folder(Path(self.log_dir, folder))
                self.writers[folder] = writer(str(Path(self.log_dir, folder)))
        return self.writers.get(folder)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.batches is not None and self.batches.due(batch):
            self._write("batch", logs or {}, int(self.model.optimizer.iterations))
        super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._write("epoch", {"learning_rate": float(self.model.optimizer.learning_rate)} | (logs or {}), epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0 and (writer := self.writer("train")):
            for parameter in self.model.parameters:
                writer.add_histogram(f"{parameter.name}/histogram", parameter.numpy(), epoch)
        for writer in self.writers.values():
            writer.flush()

    def _write(self, kind: str, logs: Logs, step: int) -> None:
        for name, value in logs.items():
            writer = self.writer("validation" if name.startswith("val_") else "train")
            if writer and np.size(value) == 1:
                writer.add_scalar(f"{kind}_{name.removeprefix('val_')}", float(value), step)

    def on_train_end(self, logs: Logs | None = None) -> None:
        for writer in self.writers.values():
            writer.close()
        self.writers = {}


class TerminateOnNaN(Callback):
    """Stops the training after a batch whose loss is no finite number, or with `raise_error` raises RuntimeError."""

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: after batch {batch} the loss is {loss}")
        say(f"batch {batch}: the loss is {loss}, training stops")
        self.model.stop_training = True


class BackupAndRestore(Callback):
    """Keeps a backup of a training in a folder, so that the same `fit`, called again after it was killed, goes on there.

    A backup is written after every epoch, or every `save_freq` batches, whole or not at all: weights, the optimizer's
    moments and iterations, the learning rate before the epoch began, all seeds, epoch and step. What is trained from
    there on has the same bits as in a run that was not killed, if `fit` gets the same data in the same order. Not in it
    are the counters of other callbacks, nor the means of an epoch that was cut: its logs are of its remaining steps.

    It belongs behind the callbacks that change the learning rate. `double_checkpoint` keeps the backup before the
    latest too, for when the latest is damaged. `delete_checkpoint` removes both when the training has ended by itself.
    ValueError for a backup that cannot be read, or that is of another model.

    `fit` reads where to start after `on_train_begin`: at the step `model.initial_step` of the epoch
    `model.initial_epoch`, both from 0 on.
    """

    def __init__(
        self,
        backup_dir: PathLike,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        check("BackupAndRestore", PATH, backup_dir=backup_dir)
        if not os.fspath(backup_dir):
            raise ValueError("BackupAndRestore: backup_dir must name a folder, and is empty")
        self.folder = Path(backup_dir)
        self.path, self.previous = self.folder / "latest.safetensors", self.folder / "previous.safetensors"
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self.batches = batches_between(self, save_freq)

    @property
    def watches_batches(self) -> bool:
        return self.batches is not None or overrides(self, BackupAndRestore)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.due = False
        there = [path for path in (self.path, self.previous) if path.exists()]
        for path in there:
            try:
                header, tensors = read_tensors(path, "backup")
            except ValueError:
                if path is there[-1]:
                    raise
                continue
            self._restore(path, header, tensors)
            break
        self.rate = fixed_rate(self.model.optimizer)

    def _restore(self, path: Path, header: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        model, optimizer = self.model, self.model.optimizer
        for part, expected in outline(model).items():
            found = header["outline"][part]
            if found != expected:
                raise ValueError(f"{path}: the backup is of another model: expected {part} {expected}, got {found}")
        model.set_weights([tensors.pop(f"weight/{number}") for number in range(len(model.parameters))])
        model.seed = header["seed"]
        for layer, seed in zip(seeded_layers(model), header["layer_seeds"], strict=True):
            layer.seed = seed
        optimizer.ops = model.ops
        optimizer.state = {name: model.ops.array(moment) for name, moment in tensors.items()}
        optimizer.iterations = header["iterations"]
        if header["learning_rate"] is not None:
            optimizer.learning_rate = header["learning_rate"]
        model.initial_epoch, model.initial_step = header["epoch"], header["step"]
        if self.batches is not None:
            self.batches.last = header["step"] - 1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        super().on_train_batch_end(batch, logs)
        self.due = self.batches is not None and self.batches.due(batch)
        if self.due and batch + 1 != self.params.get("steps"):  # else it waits for the end of the epoch
            self._save(self.epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.rate = fixed_rate(self.model.optimizer)  # what schedulers do when the next epoch begins, they do again
        if self.batches is None or self.due:
            self._save(epoch + 1, 0)

    def _save(self, epoch: int, step: int) -> None:
        model, optimizer = self.model, self.model.optimizer
        tensors = {f"weight/{number}": weight for number, weight in enumerate(model.get_weights())}
        tensors |= {name: model.ops.numpy(moment) for name, moment in optimizer.state.items()}
        header = {
            "epoch": epoch,
            "step": step,
            "outline": outline(model),
            "seed": model.seed,
            "layer_seeds": [layer.seed for layer in seeded_layers(model)],
            "iterations": optimizer.iterations,
            "learning_rate": self.rate,
        }
        make_folder(self.folder)
        if self.double_checkpoint and self.path.exists():
            os.replace(self.path, self.previous)
        write_tensors(self.path, tensors, "backup", header)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.delete_checkpoint and self.folder.exists():
            self.path.unlink(missing_ok=True)
            self.previous.unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the averages that an optimizer with `use_ema` keeps, in the place of the parameters.

    With `swap_on_epoch` they are swapped at the end of each epoch as well, until the next one begins, so that callbacks
    behind this one save the averages. ValueError for an optimizer without averages.
    """

    swapped = False

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = swap_on_epoch

    def _swap(self, swapped: bool) -> None:
        """Makes the model hold its averages, or its parameters again, if it does not."""
        optimizer = self.model.optimizer
        if not getattr(optimizer, "use_ema", False):
            raise ValueError(
                f"SwapEMAWeights: expected an optimizer with use_ema=True, not {type(optimizer).__name__} without"
            )
        if self.swapped == swapped or "average" not in optimizer.state:  # which it is not before the first step
            return
        self.swapped = swapped
        for parameter, part in optimizer.spans:
            average = optimizer.state["average"][part]
            before = parameter.data.reshape(-1).copy()
            parameter.value = average.reshape(parameter.shape)
            average[...] = before

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._swap(True)
            if epoch == self.params["epochs"] - 1 or self.model.stop_training:  # fit will end with what is in `average`
                self.swapped = False
                for parameter, part in self.model.optimizer.spans:
                    self.model.optimizer.state["average"][part] = parameter.data.reshape(-1)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._swap(False)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._swap(True)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._swap(False)


def outline(model: Any) -> dict[str, Any]:
    """Kinds of layers, shapes of weights, optimizer: where they agree, models can exchange weights and moments."""
    kinds = [type(layer).__name__ + ("" if layer.trainable else " (not trained)") for layer in model.chain]
    shapes = [list(parameter.shape) for parameter in model.parameters]
    return {"layers": kinds, "weights of shapes": shapes, "optimizer": type(model.optimizer).__name__}


def seeded_layers(model: Any) -> list[Any]:
    return [layer for layer in model.chain if getattr(layer, "seed", None) is not None]


__getattr__, _absent = without(__name__, "callback ", {
    "fit shows its progress itself, CSVLogger writes it to a file": "RemoteMonitor ProgbarLogger",
    "fit shows its progress itself, and Keras 3 has dropped it: make yours from Callback": "BaseLogger",
    "fit calls callbacks itself": "CallbackList",
    "BackupAndRestore keeps backups": "OrbaxCheckpoint",
})  # fmt: skip

__all__ = [
    "BackupAndRestore", "CSVLogger", "Callback", "EarlyStopping", "History", "LambdaCallback", "LearningRateScheduler",
    "ModelCheckpoint", "ReduceLROnPlateau", "SwapEMAWeights", "TensorBoard", "TerminateOnNaN", *_absent,
]  # fmt: skip

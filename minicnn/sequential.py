"""The model: how a chain of layers is compiled, trained, asked and saved."""

import json
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from . import captured, engine, keras_format, losses, optimizers, saving
from .absent import by_name, refuse_arguments
from .batches import (
    INFERENCE,
    SEEN,
    Arrays,
    Feed,
    Stream,
    as_batch,
    batch_size_for,
    checked,
    is_stream,
    positive_integer,
    sample_by_sample,
    split,
    to_measure,
    to_predict,
    weights_of,
)
from .callbacks import Callback, History, ProgressBar, Recorded, format_logs, say
from .chain import Chain, is_ours
from .checks import ARRAY, PATH, check, check_begun
from .data.files import DataError
from .layers.base import Layer, RandomLayer
from .ops import Ops
from .ops.reference import Array
from .training import (
    RunningMeans,
    check_counts,
    check_fitting,
    in_order,
    introduced,
    is_validated,
    measure,
    summed,
    tell,
    train_epoch,
    validation_of,
)

S = TypeVar("S", bound="Sequential")
OVERRIDDEN = "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics", "make_train_function"
TAKEN = "forward", "backward", "chain", "ops", "parameters", "inputs", "outputs"  # of which some are not Keras' as well
LACKED = by_name({  # methods that scripts call, behind what there is in their place
    "the model itself is called, model(x) or model(x, training=True)": "call",
    "a layer with weights of its own defines forward(x, training) and backward(dy)": "add_weight add_variable",
    "a penalty for weights or outputs is a Regularizer, a loss of your own a Loss with `terms`": "add_loss",
    "metrics are given to compile": "add_metric",
    "save writes files that Keras reads, and exports": "export",
    "numbers are float32 and nothing is quantized": "quantize",
    "a model has its gradients inside; train_on_batch makes one step": "stateless_call",
})  # fmt: skip


class Sequential(Chain):
    """Layers one after the other: `compile` says how they are trained, `fit` trains them, and `predict` asks them.

    With an `Input` first, every layer is built when it is added, and one that does not fit its input is reported at
    once; otherwise the model is built when it first sees data. Of a model that is added, this one gets the layers
    themselves: what either learns, both have learnt.
    """

    def __init__(
        self,
        layers: Iterable[Layer | Chain] | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        self.history: History | None = None
        self._means = RunningMeans()
        self._engine = engine.Engine()
        self.run_eagerly = False
        self.stop_training = False
        self.initial_epoch = self.initial_step = 0  # where `fit` begins
        super().__init__(layers, trainable, name, dtype)

    def to(self: S, device: str | Ops) -> S:
        """Moves the model to a device: "cpu", "gpu" or "reference".

        On a GPU a training step is captured once and then replayed as one CUDA graph; where that is not possible it is done
        layer by layer, and a warning says why. `fit` copies x to the GPU when it begins: changes of x meanwhile are not seen.
        """
        super().to(device)
        self._engine = captured.engine_of(self.ops)
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in OVERRIDDEN:
            if name in vars(cls):
                raise TypeError(
                    f"model class {cls.__name__}: a {name} of your own is not called here; train_on_batch makes one step, "
                    "a Loss or a Callback of your own does the rest"
                )
        if is_ours(cls):
            return
        for name in TAKEN:
            if name in vars(cls):
                raise TypeError(f"model class {cls.__name__}: a model has {name} already, give yours another name")
        if "call" in vars(cls) and not cls._may_call:
            raise TypeError(f"model class {cls.__name__}: a call of your own belongs to a Model, not to a Sequential")

    def __getattr__(self, name: str) -> Any:
        """Says what a method that Keras has dropped is called today."""
        check_begun(self, "_layers", name)
        today = {
            "fit_generator": "fit", "evaluate_generator": "evaluate", "predict_generator": "predict",
            "predict_proba": "predict", "predict_classes": "predict(x).argmax(axis=-1)", "to_yaml": "to_json",
            "_make_predict_function": "make_predict_function",
        }.get(name)  # fmt: skip
        if today:
            raise AttributeError(f"a model has no attribute {name!r}: Keras 3 has dropped it, use {today}")
        if name in LACKED:
            raise AttributeError(f"a model has no attribute {name!r}: {LACKED[name]}")
        return object.__getattribute__(self, name)  # raises what a property did

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: str | bool = "auto",
        auto_scale_loss: bool = True,
        **dropped: Any,
    ) -> None:
        """Chooses how to train: an optimizer, a loss and metrics, as objects or by name.

        `metrics` count all samples alike, `weighted_metrics` by the weights that the loss counts them with.
        With `run_eagerly` every layer is called on its own, with the same numbers, so that a debugger sees it. The last
        three are there for Keras' sake: all kernels are compiled, and how many steps are done at once `fit` decides.
        """
        refuse_arguments("compile", dropped)
        loss_weights = list(loss_weights.values()) if isinstance(loss_weights, dict) else loss_weights
        if loss_weights and loss_weights not in ([1], 1):
            given = loss_weights if isinstance(loss_weights, list | tuple) else [loss_weights]
            words = all(isinstance(one, str) for one in given)
            hint = "; metrics are given by name, metrics=…" if words else ""
            raise ValueError(f"compile cannot take loss_weights: a model has one output{hint}")
        self._needs_one_output("trained")
        self.run_eagerly = run_eagerly
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(_of_one_output(loss, "loss"))
        if getattr(self.loss, "reduction", "") in ("none", None):
            raise ValueError(
                f"compile: the loss {self.loss.name} needs a reduction, 'sum_over_batch_size' or 'sum', to be one number"  # type: ignore[union-attr]
            )
        if self.loss is not None and self.loss.from_logits and self._layers and self.ends_with_softmax:
            warnings.warn(
                f"the loss {self.loss.name} expects scores (from_logits=True), and gets those before the last softmax",
                stacklevel=2,
            )
        self._means = RunningMeans(_list_of_metrics(metrics), _list_of_metrics(weighted_metrics))
        self._flat = None

    @property
    def compiled(self) -> bool:
        return self.optimizer is not None

    def check_compiled(self) -> None:
        """ValueError for a model that has no optimizer or no loss."""
        for what in ("optimizer", "loss"):
            if getattr(self, what) is None:
                raise ValueError(f"the model has no {what}: call compile(optimizer, loss) first")

    def loss_of(self, y_true: Any, scores: Array, sample_weight: Any = None) -> tuple[float, Array]:
        """The compiled loss of scores (see `forward`) and its gradient."""
        if self.loss is None:
            raise ValueError("the model has no loss: call compile(optimizer, loss) first")
        from_logits = self.loss.from_logits or self.ends_with_softmax
        return self.loss.value_and_gradient(y_true, scores, sample_weight, from_logits=from_logits, ops=self.ops)

    def gradients_of_batch(self, x: Any, y: Any, sample_weight: Any = None) -> tuple[float, Array]:
        """(loss, scores) of a batch in training; its gradients are in the parameters afterwards."""
        scores = self.forward(self.as_input(x), training=True, scores=True)
        loss, dscores = self.loss_of(y, scores, sample_weight)
        self.backward(dscores, scores=True, input_gradient=False)
        return loss + self.penalty(gradients=True), scores

    def penalty(self, gradients: bool = False) -> float:
        """What the regularizers of all trained parameters, and of the last outputs, add to the loss.

        With `gradients`, those of the parameters' regularizers are added to the parameters' own.
        """
        regularized = [parameter for parameter in self.trainable_parameters if parameter.regularizer is not None]
        found = [p.regularizer.penalize(self.ops, p.data, p.gradient if gradients else None) for p in regularized]  # type: ignore[union-attr]
        found += [loss for layer in self._layers for loss in layer.activity_losses]
        return sum(found) if found else 0

    def train_step(
        self, x: np.ndarray, y: Any, sample_weight: Any = None, rows: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """One step of the optimizer on a batch; returns the loss and the scores from before it.

        The batch is x, or with `rows` those samples of x; y and sample_weight are of the batch.
        """
        losses, scores = self.train_steps(x, y, sample_weight, rows, len(x if rows is None else rows))
        return losses[0], scores

    def train_steps(
        self, x: np.ndarray, y: Any, sample_weight: Any, rows: np.ndarray | None, batch_size: int
    ) -> tuple[list[float], np.ndarray]:
        """`train_step` for batch after batch of `batch_size` samples, all or those `rows` of x; returns all losses and scores.

        The engine does several steps without Python in between.
        """
        with self._engine.lock:
            run = self._run(x, batch_size, "train")
            losses, scores = [], []
            constrained = [(p, p.constraint) for p, _ in self._views if p.constraint is not None]
            samples = len(x if rows is None else rows)
            most = batch_size * (1 if run is None or constrained else run.most)
            for first in range(0, samples, most):
                part = slice(first, first + most)
                of_part = [
                    values if values is None or samples <= most else values[part] for values in (rows, y, sample_weight)
                ]
                batches = x if rows is not None else x[part]
                if run is None:
                    loss, found = self._step_by_layers(batches, *of_part)
                    losses.append(loss)
                    scores.append(found)
                else:
                    losses += run(batches, *of_part).tolist()
                    scores.append(run.result.copy())
                for parameter, constraint in constrained:
                    value = constraint(parameter.data)
                    check(parameter.name, ARRAY, **{"what its constraint makes of it": value})
                    parameter.value = value
                if run is not None:
                    self._engine.own_writes()
        return losses, scores[0] if len(scores) == 1 else np.concatenate(scores)

    def _step_by_layers(
        self, x: np.ndarray, rows: np.ndarray | None, y: Any, sample_weight: Any
    ) -> tuple[float, np.ndarray]:
        assert self.optimizer is not None and self._flat is not None
        for layer in self._layers:
            if isinstance(layer, RandomLayer):
                layer.step = self.optimizer.iterations
        loss, scores = self.gradients_of_batch(x if rows is None else x[rows], y, sample_weight)
        self.optimizer.update(*self._flat)
        return loss, self.ops.numpy(scores)

    def _run(self, x: np.ndarray, images: int, kind: str) -> "engine.Run | None":
        """What does this for batches like x on tapes, after all checks; None where it goes layer by layer."""
        run = self._engine.unchanged_run(self, images, kind)
        if run is None or run.shape != x.shape[1:]:
            if kind == "train":
                self.check_compiled()
            self.build((None, *x.shape[1:]))
            if kind == "train":
                assert self.optimizer is not None and self._flat is not None
                self.optimizer.prepare(self._flat[0], self.ops)
            run = self._engine.run(self, images, kind)
        return run

    def scores_of(self, x: np.ndarray, y: Any, sample_weight: Any = None) -> tuple[float, np.ndarray]:
        """The loss and the scores of a batch, without training."""
        with self._engine.lock:
            run = self._run(x, len(x), "evaluate")
            if run is not None:
                return float(run(x, None, y, sample_weight)[0]) + self.penalty(), run.result.copy()
        scores = self.forward(self.as_input(x), scores=True)
        return self.loss_of(y, scores, sample_weight)[0] + self.penalty(), self.ops.numpy(scores)

    def outputs_of(self, x: np.ndarray) -> np.ndarray:
        """The output for a batch."""
        with self._engine.lock:
            run = self._engine.unchanged_run(self, len(x), "predict")
            if run is None or run.shape != x.shape[1:]:
                x = as_batch(self, x)
                run = self._run(x, len(x), "predict")
            if run is None:
                return self.ops.numpy(self.forward(self.as_input(x)))
            run(x, None)
            return run.result.copy()

    @property
    def metrics(self) -> list[Any]:
        """The mean of the loss and the metrics as objects, which hold what the last epoch or evaluation has found."""
        return list(self._means.all.values()) if self.compiled else []

    def reset_metrics(self) -> None:
        """Has all metrics forget what they hold; each epoch and evaluation begins so anyway."""
        for metric in self._means.all.values():
            metric.reset_state()

    @property
    def metrics_names(self) -> list[str]:
        """Of the numbers that `evaluate` returns."""
        return list(self._means.all)

    def check_targets(self, y: Any) -> None:
        """Raises ValueError for targets that do not fit the loss and the output."""
        if self.loss is not None and hasattr(self.loss, "targets_of"):
            self.loss.targets_of(y, (None, *self.output.shape[1:]))

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
        **dropped: Any,
    ) -> Any:
        """One step on one batch; returns the loss, [loss, metrics …] if there are metrics, or a dictionary of them."""
        refuse_arguments("train_on_batch", dropped)
        x, y, sample_weight = checked(self, x, y, sample_weight)
        weights = weights_of(y, sample_weight, class_weight)
        loss, scores = self.train_step(x, y, weights)
        return self._report(loss, y, scores, weights, return_dict)

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False, **dropped: Any
    ) -> Any:
        """The same without training."""
        refuse_arguments("test_on_batch", dropped)
        x, y, sample_weight = checked(self, x, y, sample_weight)
        loss, scores = self.scores_of(x, y, sample_weight)
        return self._report(loss, y, scores, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The output for one batch."""
        return np.array(self.outputs_of(checked(self, x)[0]))

    def _report(self, loss: float, y: Any, scores: np.ndarray, sample_weight: Any, return_dict: bool) -> Any:
        with self._means.counting() as means:
            means.add(self, [loss], y, scores, sample_weight)
            logs = means.logs() | {"loss": loss}
        return in_order(logs) if return_dict else list(logs.values()) if len(logs) > 1 else loss

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callback | Iterable[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | list[int] = 1,
        **dropped: Any,
    ) -> History:
        """Trains for `epochs` passes over x (N, …) and y, and returns the history of loss and metrics.

        A batch has 32 samples unless told. x may also give batches (x, y) or (x, y, sample_weight): an iterator such as
        `ImageDataGenerator.flow`, or a sequence of them. `steps_per_epoch` ends an epoch after so many batches, which hold
        all samples of an array unless `batch_size` is given too; so do those of `validation_steps`.
        `validation_split` keeps the last share of the samples, before shuffling, for validation; `validation_data` is
        (x, y), (x, y, sample_weight) or something that gives batches, and looked at after every `validation_freq`-th
        epoch, or after those that `validation_freq` lists, 1 being the first. `verbose`: 1 a progress bar, 2 a line per
        epoch, 0 nothing; "auto" is 1 on a terminal, else 2. ValueError for data that do not fit the model, each other or
        the batch.
        """
        refuse_arguments("fit", dropped)
        validated = validation_data is not None or bool(validation_split)
        check_counts(
            epochs, initial_epoch, validation_freq, steps_per_epoch=steps_per_epoch,
            **{"validation_steps": validation_steps, "validation_batch_size": validation_batch_size} if validated else {},
        )  # fmt: skip
        self.check_compiled()
        assert self.optimizer is not None
        feed: Feed
        if is_stream(x):
            for name, value in (
                ("y", y),
                ("sample_weight", sample_weight),
                ("validation_split", validation_split or None),
            ):
                if value is not None:
                    raise ValueError(f"fit cannot take {name} with a generator, whose batches hold everything")
            feed = Stream(x, steps_per_epoch, class_weight, shuffle)
            if feed.steps is None and not feed.repeats and epochs - initial_epoch > 1:
                raise ValueError(
                    "a generator without a length needs steps_per_epoch to be trained on for several epochs"
                )
        else:
            x, y, sample_weight = checked(self, x, y, sample_weight)
            if y is None:
                raise ValueError("fit needs targets: fit(x, y)")
            if validation_data is None and validation_split:
                x, y, sample_weight, validation_data = split(x, y, sample_weight, validation_split)
            size = batch_size_for(len(x), batch_size, steps_per_epoch, 32)
            weights = weights_of(y, sample_weight, class_weight)
            check_fitting(self, x, y)
            feed = Arrays(
                sample_by_sample(x, self._layers[0].dtype), y, weights, min(len(x), size), shuffle, steps_per_epoch
            )
            if validation_steps is None:  # which say the size of validation batches
                batch_size = 32 if batch_size is None else size
        validation = None
        if validated:
            validation = validation_of(self, validation_data, validation_batch_size or batch_size, validation_steps)

        if verbose == "auto":
            verbose = 1 if sys.stdout.isatty() else 2
        history = History()
        bar = ProgressBar() if verbose else None
        listeners = introduced(
            self, callbacks, history, *([bar] if bar else []),
            epochs=epochs, steps=feed.steps, samples=feed.samples, verbose=verbose, validation_freq=validation_freq,
        )  # fmt: skip
        self.history, self.stop_training = history, False
        self.initial_epoch, self.initial_step = initial_epoch, 0
        logs: dict[str, float] = {}
        tell(listeners, "on_train_begin", {})
        try:
            for epoch in range(self.initial_epoch, epochs):
                tell(listeners, "on_epoch_begin", epoch, {})
                first, self.initial_step = self.initial_step, 0
                feed.begin(self, epoch - initial_epoch, first)
                logs = train_epoch(self, feed, epoch, first, listeners, bar)
                if validation is not None and is_validated(epoch, validation_freq):
                    found = measure(self, validation(), listeners)
                    logs = in_order(logs | {f"val_{name}": value for name, value in found.items()})
                tell(listeners, "on_epoch_end", epoch, Recorded(logs))
                if self.stop_training:
                    break
        finally:
            if bar:
                bar.close()
        self.optimizer.finalize_variable_values(self.trainable_parameters)
        tell(listeners, "on_train_end", logs)
        return history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        return_dict: bool = False,
        **dropped: Any,
    ) -> Any:
        """[loss, metrics …] over all samples (the loss alone if there are no metrics), or a dictionary of them.

        x is an array, or gives batches as for `fit`. The numbers are also printed, in one line, unless `verbose` is 0.
        """
        refuse_arguments("evaluate", dropped)
        default = SEEN if summed(self) or callbacks else INFERENCE
        feed = to_measure(self, x, y, sample_weight, batch_size, steps, default)
        logs = measure(self, feed, introduced(self, callbacks, epochs=1, steps=feed.steps, verbose=verbose))
        if verbose:
            say(f"evaluation: {format_logs(in_order(logs))}")
        if return_dict:
            return in_order(logs)
        return list(logs.values()) if len(logs) > 1 else logs["loss"]

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        **dropped: Any,
    ) -> Any:
        """The output for all samples, as a NumPy array; of several outputs a list of arrays, of outputs by name a dictionary.

        Nothing is printed, whatever `verbose` says.
        """
        refuse_arguments("predict", dropped)
        most = INFERENCE if batch_size is None else batch_size
        if (
            type(x) is np.ndarray
            and type(most) is int
            and x.ndim
            and 0 < len(x) <= most
            and steps is None
            and not callbacks
        ):
            # one batch, for which all that follows would take as long as a small network
            return self._named(self.outputs_of(x))
        if steps is not None:
            positive_integer("steps", steps)
        count, batches = to_predict(self, x, batch_size, steps, SEEN if callbacks else INFERENCE)
        listeners = introduced(self, callbacks, epochs=1, steps=count, verbose=verbose)
        tell(listeners, "on_predict_begin", {})
        parts: list[Any] = []
        for number, batch in enumerate(batches):
            tell(listeners, "on_predict_batch_begin", number, {})
            parts.append(self.outputs_of(batch))
            tell(listeners, "on_predict_batch_end", number, {"outputs": parts[-1]} if listeners else {})
        tell(listeners, "on_predict_end", {})
        if not parts:
            raise ValueError("there was no batch to predict")
        if isinstance(parts[0], list):  # of several outputs
            return self._named([np.concatenate(of_one) for of_one in zip(*parts, strict=True)])
        return self._named(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def make_predict_function(self, force: bool = False) -> None:
        """There for Keras' sake, and for programs that serve requests: nothing is to be made before `predict` is called."""

    # ------------------------------------------------------------------ files

    def save(
        self,
        filepath: str | Path,
        overwrite: bool = True,
        include_optimizer: bool = True,
        save_format: str | None = None,
        zipped: bool | None = None,
    ) -> None:
        """Writes weights, architecture, optimizer and its state into one file, for `load_model`.

        Models within this one come back as models; those of a class of your own, or changed since they were added, as layers.
        Named `….keras` it is in Keras 3's own format, which `keras.models.load_model` reads (this needs h5py), else in
        that of safetensors. Without `include_optimizer` it is as if the model had not been compiled; `save_format` and
        `zipped` are there for Keras' sake, as the name says it. DataError where the file cannot be written, or is there and
        is not to be written over, and ValueError for what Keras does not have.
        """
        self._needs_one_output("saved")
        self.build()
        _check_overwrite(filepath, overwrite)
        if save_format is not None:
            warnings.warn("save_format says nothing: the end of the name does, .keras or any other", stacklevel=2)
        compiled = self.optimizer, self.loss, self._means
        try:
            if not include_optimizer:
                self.optimizer, self.loss, self._means = None, None, RunningMeans()
            saving.write_model(self, filepath)
        finally:
            self.optimizer, self.loss, self._means = compiled

    def save_weights(self, filepath: str | Path, overwrite: bool = True) -> None:
        """Writes the weights alone; named `….weights.h5` in Keras 3's own format, with the state of the optimizer."""
        self.build()
        _check_overwrite(filepath, overwrite)
        saving.write_weights(self, filepath)

    def load_weights(self, filepath: str | Path, skip_mismatch: bool = False, **dropped: Any) -> None:
        """Takes over the weights of a file that `save_weights` or `save` wrote, or Keras 3, layer by layer.

        In Keras' formats the layers of each class are matched in their order, else all layers that have parameters. A
        `.weights.h5` or `.keras` file also sets the optimizer, if that was built or has made a step. ValueError where shapes
        differ; with `skip_mismatch` such layers keep their weights, and a warning names them.
        """
        refuse_arguments("load_weights", dropped)
        self.build()
        saving.read_weights(self, filepath, skip_mismatch)

    def get_config(self) -> dict[str, Any]:
        """Name, layers and input shape as Keras writes them, for `from_config`.

        Of a class whose own `get_config` asks for it, what a constructor passes on: the name.
        """
        if type(self).get_config is not Sequential.get_config:
            return {"name": self.name}
        self._needs_one_output("described")
        self._needs_layers()
        config: dict[str, Any] = keras_format.config_of(self)["config"]
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> "Sequential":
        """A new model, not compiled, of the layers that `get_config` described.

        A class with a `get_config` of its own is called with what that has returned.
        """
        if cls.get_config is not Sequential.get_config:
            return cls(**config)
        kind = "Functional" if "input_layers" in config else "Sequential"
        return keras_format.model_of({"class_name": kind, "config": config}, custom_objects)

    def to_json(self, **options: Any) -> str:
        """The layers and what was compiled, as Keras writes them; `keras.models.model_from_json` reads it.

        The options are those of `json.dumps`.
        """
        self._needs_one_output("described")
        self._needs_layers()
        return json.dumps(keras_format.config_of(self), **options)

    def _named(self, outputs: Any) -> Any:
        """The outputs as they were asked for: by name, or as they are."""
        return outputs


def _of_one_output(given: Any, what: str) -> Any:
    """A setting of `compile` for the only output: itself, or out of a list or a dictionary of one."""
    if isinstance(given, dict) and "config" not in given:
        given = list(given.values())
    if not isinstance(given, list | tuple):
        return given
    if len(given) != 1:
        raise ValueError(f"compile: expected one {what}, as a model has one output, got {len(given)}")
    return given[0]


def _list_of_metrics(given: Any) -> list[Any]:
    """Metrics as `compile` takes them: one, several, or those of the only output in a list or a dictionary."""
    if isinstance(given, dict) or (isinstance(given, list) and any(isinstance(one, list) for one in given)):
        given = _of_one_output(given, "list of metrics")
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple | set) else [given]


def _check_overwrite(path: str | Path, overwrite: bool) -> None:
    check("", PATH, filepath=path)
    if not overwrite and Path(path).exists():
        raise DataError(f"{path}: there is a file of this name, which is not to be written over")

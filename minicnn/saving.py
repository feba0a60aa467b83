"""Models on disk: one safetensors file with all weights and moments, and the architecture as JSON in its header.

Names that end in `.keras` or `.weights.h5` are those of Keras' own formats (`keras_format`). A file appears whole or not
at all, and what was there before stays until then.
"""

import json
import warnings
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import keras_format, losses, metrics, optimizers
from .absent import without
from .data.files import read_tensors, write_tensors
from .layers.base import Layer
from .registered import (
    CustomObjectScope,
    class_of,
    custom_object_scope,
    description,
    get_custom_objects,
    known,
    register_keras_serializable,
)

if TYPE_CHECKING:
    from .chain import Chain
    from .sequential import Sequential


def save_model(
    model: "Sequential", filepath: str | Path, overwrite: bool = True, zipped: bool | None = None, **options: Any
) -> None:
    """`model.save(filepath, overwrite, …)`; of `zipped` the end of the name decides."""
    model.save(filepath, overwrite, zipped=zipped, **options)


def write_model(model: "Sequential", path: str | Path) -> None:
    """See `Sequential.save`. Raises DataError (a ValueError) where the file cannot be written."""
    if str(path).endswith(".keras"):
        return keras_format.save_model(model, path)
    tensors = _weights(model)
    if model.optimizer is not None:
        tensors |= {f"optimizer/{name}": model.ops.numpy(moment) for name, moment in model.optimizer.state.items()}
    _write(path, tensors, describe(model) | {"weights": list(_weights(model))})


def save_weights(model: "Sequential", filepath: str | Path, overwrite: bool = True) -> None:
    """`model.save_weights(filepath, overwrite)`."""
    model.save_weights(filepath, overwrite)


def write_weights(model: "Sequential", path: str | Path) -> None:
    """See `Sequential.save_weights`. Raises DataError (a ValueError) where the file cannot be written."""
    if str(path).endswith(".weights.h5"):
        return keras_format.save_weights(model, path)
    if str(path).endswith(".keras"):
        raise ValueError(f"{path}: a .keras file holds a model; weights alone are named ….weights.h5, or otherwise")
    _write(path, _weights(model), {"weights": list(_weights(model))})


def _weights(model: "Sequential") -> dict[str, np.ndarray]:
    parameters = [parameter for layer in model.chain for parameter in keras_format.stored_parameters(layer)]
    return {parameter.name: model.ops.numpy(parameter.data) for parameter in parameters}


def _write(path: str | Path, tensors: dict[str, np.ndarray], header: dict[str, Any]) -> None:
    if str(path).endswith((".h5", ".hdf5")):
        warnings.warn(
            f"{path} is written in the format of safetensors, whatever its name; Keras reads what is named ….keras, and "
            "weights named ….weights.h5",
            stacklevel=4,
        )
    write_tensors(path, tensors, "minicnn", header)


def describe(model: "Sequential") -> dict[str, Any]:
    """All but the numbers: layers, loss, metrics and optimizer, in types that JSON has."""
    model.build()
    header = _chain_description(model) | {
        "metrics": [metrics.serialize(metric) for metric in metrics.told_apart(model._means.asked)],
        "weighted_metrics": [metrics.serialize(metric) for metric in metrics.told_apart(model._means.asked_weighted)],
        "loss": None if model.loss is None else losses.serialize(model.loss),
        "optimizer": None,
    }
    if model.optimizer is not None:
        header["optimizer"] = optimizers.serialize(model.optimizer) | {
            "iterations": model.optimizer.iterations,
            "moments": list(model.optimizer.state),
            "excluded": [p.name for p in model.trainable_parameters if not model.optimizer.decays(p)],
        }
    described: dict[str, Any] = json.loads(json.dumps(header, default=keras_format.in_json))
    return described


def _chain_description(model: "Chain") -> dict[str, Any]:
    """The layers of a built model; one within it is described like a layer, with this as its settings."""
    members = model._members
    layers = [
        description(one) if isinstance(one, Layer) else {"class_name": "Sequential", "config": _chain_description(one)}
        for one, _ in members
    ]
    chain = {
        "name": model.name,
        "functional": model._made_of_tensors,
        "seed": model.seed,
        "layers": layers,
        "input_shape": model._layers[0].input_shape,
    }
    chain |= {} if model._trainable else {"trainable": False}
    modes = [mode for _, mode in members]
    return chain | {"modes": modes} if any(mode is not None for mode in modes) else chain


def load_model(
    filepath: str | Path,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> "Sequential":
    """The model that `save` wrote, or Keras 3 in a file `….keras`; `custom_objects` has classes of your own by their names.

    With `compile` False it has no optimizer, loss and metrics. `safe_mode` is there for Keras' sake: no file holds code.
    ValueError, naming the file, for a damaged one, and for what minicnn does not have: branches, unknown layers, …
    """
    path = filepath
    if str(path).endswith(".keras"):
        return keras_format.load_model(path, custom_objects, compile)
    if str(path).endswith(".weights.h5"):
        raise ValueError(f"{path}: it holds weights alone, for load_weights")
    header, tensors = read_tensors(path, "minicnn")
    if "layers" not in header:
        raise ValueError(f"{path}: it holds weights alone, for load_weights")
    if not compile:
        header |= {"optimizer": None, "loss": None, "metrics": [], "weighted_metrics": []}
    try:
        return _restore(header, tensors, custom_objects)
    except KeyError as error:
        raise ValueError(f"{path}: the file is damaged: {error} is missing or unknown") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: the model cannot be restored: {error}") from error


def load_weights(model: "Sequential", filepath: str | Path, skip_mismatch: bool = False) -> None:
    """`model.load_weights(filepath, skip_mismatch)`."""
    model.load_weights(filepath, skip_mismatch)


def read_weights(model: "Sequential", path: str | Path, skip_mismatch: bool = False) -> None:
    """See `Sequential.load_weights`. Raises ValueError, naming the file, for weights that do not fit."""
    if str(path).endswith((".keras", ".weights.h5")):
        left_out = keras_format.load_weights(model, path, skip_mismatch)
    else:
        header, tensors = read_tensors(path, "minicnn")
        try:
            left_out = _set_weights(model, header, tensors, skip_mismatch)
        except KeyError as error:
            raise ValueError(f"{path}: the file is damaged: {error} is missing") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: {error}") from error
    for sentence in left_out:
        warnings.warn(f"{path}: not loaded: {sentence}", stacklevel=3)


def _set_weights(
    model: "Sequential", header: dict[str, Any], tensors: dict[str, np.ndarray], skip_mismatch: bool
) -> list[str]:
    """Gives the layers with parameters, whatever their names, the tensors of those in the file; returns what did not fit."""
    names = header.get("weights") or [parameter.name for parameter in model.parameters]
    layers = [layer for layer in model.chain if layer.parameters]
    stored = [[tensors[name] for name in group] for _, group in groupby(names, lambda name: name.rpartition("/")[0])]
    if len(stored) != len(layers) and not skip_mismatch:
        raise ValueError(f"the model has {len(layers)} layers with parameters, the file {len(stored)}")
    stored += [[]] * (len(layers) - len(stored))
    return keras_format.set_layers(list(zip(layers, stored, strict=False)), skip_mismatch)


def _restore(
    header: dict[str, Any], tensors: dict[str, np.ndarray], custom_objects: Mapping[str, Any] | None
) -> "Sequential":
    """The model that the header describes, with the tensors as its weights and moments."""
    with custom_object_scope(custom_objects or {}):
        model = from_description(header)
    for parameter in model.parameters:
        parameter.value = model.ops.array(tensors[parameter.name], parameter.data.dtype)
    if model.optimizer is not None:
        moments = header["optimizer"]["moments"]
        model.optimizer.state = {name: model.ops.array(tensors[f"optimizer/{name}"]) for name in moments}
    return model


def from_description(header: dict[str, Any]) -> "Sequential":
    """A new model as `describe` told; KeyError, ValueError or TypeError for what is no description of one."""
    model = _chain(header)
    model.build()
    if header["optimizer"] is not None:
        loss = header["loss"] and losses.get(header["loss"])
        asked: dict[str, Any] = {
            kind: [one if isinstance(one, str) else metrics.get(one) for one in header.get(kind, [])]
            for kind in ("metrics", "weighted_metrics")
        }
        model.compile(optimizers.get(header["optimizer"]), loss, **asked)
        assert model.optimizer is not None
        model.optimizer.iterations = header["optimizer"]["iterations"]
        excluded = header["optimizer"].get("excluded", [])
        model.optimizer.exclude_from_weight_decay([p for p in model.parameters if p.name in excluded])
        model.optimizer.ops = model.ops
    return model


def _chain(told: Mapping[str, Any]) -> "Sequential":
    """The model, not compiled, that `_chain_description` told."""
    from .functional import assembled

    modes = told.get("modes") or [None] * len(told["layers"])
    members = ((layer_of(entry), mode) for entry, mode in zip(told["layers"], modes, strict=True))
    model = assembled(told["name"], members, told["input_shape"], bool(told.get("functional")))
    model.seed, model._trainable = told["seed"], told.get("trainable", True)
    return model


def layer_of(entry: Mapping[str, Any]) -> "Layer | Chain":
    """The layer, or the model within the model, that was described; ValueError for an unknown class."""
    name, config = class_of(entry), dict(entry["config"])
    cls = known().get(name) or keras_format.find("keras.layers", name)
    if cls is None and name == "Sequential":
        return _chain(config)
    if cls is None:
        raise ValueError(f"unknown layer class {name}; pass it in custom_objects")
    if isinstance(config.get("function"), str):  # the name of one
        config["function"] = known().get(config["function"], config["function"])
    layer: Layer = cls.from_config(config)
    return layer


__getattr__, _absent = without(__name__, "", {
    "get_config and from_config describe a model or layer": """
        serialize_keras_object deserialize_keras_object get_registered_name get_registered_object""",
    "h5py and safetensors open the files": "KerasFileEditor",
})  # fmt: skip

__all__ = [
    "CustomObjectScope", "custom_object_scope", "get_custom_objects", "load_model", "load_weights", "register_keras_serializable",
    "save_model", "save_weights", *_absent,
]  # fmt: skip

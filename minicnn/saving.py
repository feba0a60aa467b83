"""Models on disk: one safetensors file with all weights and moments, and the architecture as JSON in its header.

The file appears whole or not at all, and what was there before stays until then.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import losses, optimizers
from .data.files import write_bytes

if TYPE_CHECKING:
    from .layers.base import Layer
    from .models import Sequential


def save_model(model: "Sequential", path: str | Path) -> None:
    """See `Sequential.save`. Raises DataError (a ValueError) where the file cannot be written."""
    from safetensors.numpy import save

    tensors = {parameter.name: model.ops.numpy(parameter.data) for parameter in model.parameters}
    if model.optimizer is not None:
        tensors |= {f"optimizer/{name}": model.ops.numpy(moment) for name, moment in model.optimizer.state.items()}
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, {"minicnn": json.dumps(describe(model))}))


def describe(model: "Sequential") -> dict[str, Any]:
    """All but the numbers: layers, loss, metrics and optimizer, in types that JSON has."""
    header: dict[str, Any] = {
        "name": model.name,
        "seed": model.seed,
        "layers": [{"class": type(layer).__name__, "config": layer.get_config()} for layer in model._layers],
        "input_shape": model.input_shape,
        "metrics": model.metrics,
        "loss": None if model.loss is None else losses.serialize(model.loss),
        "optimizer": None,
    }
    if model.optimizer is not None:
        header["optimizer"] = optimizers.serialize(model.optimizer) | {
            "iterations": model.optimizer.iterations,
            "moments": list(model.optimizer.state),
        }
    return header


def load_model(path: str | Path, custom_objects: "Mapping[str, type[Layer]] | None" = None) -> "Sequential":
    """See `minicnn.load_model`. Raises ValueError, naming the file, for one that is not a whole saved model."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: the file cannot be read ({error})") from None
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from None
    if "minicnn" not in metadata:
        raise ValueError(f"{path}: a safetensors file, but not one of a minicnn model")
    try:
        return _restore(json.loads(metadata["minicnn"]), tensors, custom_objects or {})
    except KeyError as error:
        raise ValueError(f"{path}: the file is damaged: {error} is missing or unknown") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: the model cannot be restored: {error}") from error


def _restore(
    header: dict[str, Any], tensors: dict[str, np.ndarray], custom_objects: "Mapping[str, type[Layer]]"
) -> "Sequential":
    """The model that the header describes, with the tensors as its weights and moments."""
    model = from_description(header, custom_objects)
    for parameter in model.parameters:
        parameter.value = model.ops.array(tensors[parameter.name], parameter.data.dtype)
    if model.optimizer is not None:
        moments = header["optimizer"]["moments"]
        model.optimizer.state = {name: model.ops.array(tensors[f"optimizer/{name}"]) for name in moments}
    return model


def from_description(header: dict[str, Any], custom_objects: "Mapping[str, type[Layer]] | None" = None) -> "Sequential":
    """A new model as `describe` told; KeyError, ValueError or TypeError for what is no description of one."""
    from . import layers
    from .models import Sequential

    model = Sequential(name=header["name"])
    for entry in header["layers"]:
        cls = (custom_objects or {}).get(entry["class"]) or getattr(layers, entry["class"], None)
        if cls is None:
            raise ValueError(f"unknown layer class {entry['class']}; pass it in custom_objects")
        model.add(cls.from_config(entry["config"]))
    model.seed = header["seed"]
    model.build(header["input_shape"])
    if header["optimizer"] is not None:
        model.compile(optimizers.get(header["optimizer"]), header["loss"], metrics=header["metrics"])
        assert model.optimizer is not None
        model.optimizer.iterations = header["optimizer"]["iterations"]
        model.optimizer.ops = model.ops
    return model

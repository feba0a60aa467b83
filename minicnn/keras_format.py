"""Keras 3's own files: `.keras` (a zip of metadata.json, config.json and model.weights.h5) and `.weights.h5`.

What both libraries have is called alike in both, so that few lines translate. Nothing of a file is ever executed: its
classes are looked up among ours and the caller's `custom_objects`.
"""

import inspect
import io
import json
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import constraints, initializers, layers, losses, metrics, optimizers, regularizers
from .data.files import DataError, read_bytes, reason, write_bytes
from .layers.base import Layer, RandomLayer
from .layers.parameter import Parameter
from .layers.reshaping import Input
from .optimizers import schedules
from .registered import class_of, custom_object_scope, known, made, snake_case

if TYPE_CHECKING:
    from .chain import Chain
    from .sequential import Sequential

Arrays = Sequence[Any]  # NumPy arrays or h5py's data sets, which are read when they are indexed
Listing: TypeAlias = "Callable[[Sequential], list[Any]]"  # the layers of a model, and models within it
FORMAT = "3.15.1"  # of which Keras the files are
MODE = "minicnn_training"  # beside the calls that Keras reads: whether one said so itself

# Keras' modules, ours, and the base of their classes
FAMILIES: dict[str, tuple[Any, type]] = {
    "keras.layers": (layers, Layer),
    "keras.initializers": (initializers, initializers.Initializer),
    "keras.regularizers": (regularizers, regularizers.Regularizer),
    "keras.constraints": (constraints, constraints.Constraint),
    "keras.optimizers": (optimizers, optimizers.Optimizer),
    "keras.optimizers.schedules": (schedules, schedules.LearningRateSchedule),
    "keras.losses": (losses, losses.Loss),
    "keras.metrics": (metrics, metrics.Metric),
    "minicnn.optimizers.schedules": (schedules, schedules.LearningRateSchedule),
}
OURS = {
    "OneCycle": "minicnn.optimizers.schedules",
    "MomentNormalization": "minicnn.layers",
    "RandomAffine": "minicnn.layers",
    "RandomGaussianNoise": "minicnn.layers",
}  # classes that Keras does not have
# settings that only one of the two has, with the value at which they do nothing
LACKING_IN_KERAS = {
    ("SparseCategoricalCrossentropy", "label_smoothing"): 0.0,
    ("RandomElasticTransform", "alpha"): None,
    ("RandomElasticTransform", "sigma"): None,
}
LACKING_HERE = {
    "axis": -1, "data_format": "channels_last", "ema_momentum": 0.99, "groups": 1, "interpolation": "bilinear",
    "reduction": "sum_over_batch_size", "renorm_momentum": 0.99,
}  # fmt: skip
# Keras' order of our moments, after the averages; those in one bracket alternate from parameter to parameter
MOMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "SGD": (("velocity",),),
    "RMSprop": (("square",), ("velocity",), ("mean",)),
    "Adam": (("m", "v"), ("top",)),
    "AdamW": (("m", "v"), ("top",)),
    "Nadam": (("m", "v"),),
    "Adamax": (("m", "u"),),
    "Adadelta": (("square", "moved"),),
    "Adagrad": (("square",),),
    "Ftrl": (("accumulator", "linear"),),
    "Lion": (("m",),),
}


# ---------------------------------------------------------------------- configurations


def config_of(model: "Sequential") -> dict[str, Any]:
    """What Keras' `model.to_json()` says: the layers, how the model was built and how it was compiled."""
    model.build()
    config = _model_config(model)
    if model.optimizer is not None:
        config["compile_config"] = {
            "optimizer": _encode(model.optimizer),
            "loss": None if model.loss is None else _encode(model.loss),
            "loss_weights": None,
            "metrics": [_metric(metric) for metric in metrics.told_apart(model._means.asked)],
            "weighted_metrics": [_metric(metric) for metric in metrics.told_apart(model._means.asked_weighted)] or None,
            "run_eagerly": model.run_eagerly,
            "steps_per_execution": 1,
        }
    return config


def _kind(model: "Chain") -> str:
    """Keras' class for a model: calls, which may say `training`, it writes of models made of tensors alone."""
    called = model._made_of_tensors or any(mode is not None for _, mode in model._members)
    return "Functional" if called else "Sequential"


def _model_config(model: "Chain") -> dict[str, Any]:
    """`config_of` without what was compiled, for a model that is built; models within it are described like layers."""
    kind, shape, members = _kind(model), list(model._layers[0].input_shape), model._members
    if kind == "Functional" and not isinstance(members[0][0], Input):
        start = Input(batch_shape=model._layers[0].input_shape, name=f"{members[0][0].name}_input")
        start.build()
        members = [(start, None), *members]
    names = [member.name for member, _ in members]
    for name in (model.name, *names):
        if "/" in name:
            raise ValueError(f"Keras allows no / in the name of a model or layer, but one is named {name!r}")
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise ValueError(f"Keras allows no two layers or models side by side of one name, but two are named {twice!r}")
    layers = [_layer_config(member) for member, _ in members]
    inner = {"name": model.name, "trainable": True, "layers": layers, "build_input_shape": shape}
    if kind == "Functional":
        sources = [None, *(member for member, _ in members)]
        for entry, name, (_, mode), source in zip(layers, names, members, sources, strict=False):
            entry |= {"name": name, "inbound_nodes": [] if source is None else [_call(source, mode)]}
            entry |= {} if mode is None else {MODE: mode}
        del inner["build_input_shape"]
        inner |= {"input_layers": [names[0], 0, 0], "output_layers": [names[-1], 0, 0]}
    return {
        "module": "keras.src.models.functional" if kind == "Functional" else "keras",
        "class_name": kind,
        "config": inner,
        "registered_name": "Functional" if kind == "Functional" else None,
        "build_config": {"input_shape": shape},
    }


def model_of(config: Any, custom_objects: Mapping[str, Any] | None = None) -> "Sequential":
    """The model, built and compiled, that `config_of` or Keras described; ValueError for what minicnn does not have."""
    with custom_object_scope(custom_objects or {}):
        model = _model(config)
        compiled = config.get("compile_config") or {}
        if compiled.get("optimizer") is not None:
            asked = ("optimizer", "loss", "metrics", "weighted_metrics")
            options = {name: _decode(compiled.get(name)) for name in asked}
            if compiled.get("loss_weights"):
                raise ValueError("the model is compiled with loss_weights, which minicnn does not have")
            if isinstance(options["loss"], list | dict):
                raise ValueError("the model has several losses; minicnn's models have one output and one loss")
            model.compile(**options, run_eagerly=bool(compiled.get("run_eagerly")))
    return model


def _model(config: Any) -> "Sequential":
    """The model that was described, not compiled."""
    from .functional import assembled

    kind, inner = class_of(config), config["config"]
    if kind not in ("Sequential", "Functional"):
        raise ValueError(f"the model is of the class {kind}; minicnn reads Sequential and Functional")
    functional = kind == "Functional"
    members = ((_layer(entry), _mode(entry)) for entry in (_chain(inner) if functional else inner["layers"]))
    shape = inner.get("build_input_shape") or (config.get("build_config") or {}).get("input_shape")
    return assembled(inner.get("name"), members, shape, functional)


def _mode(entry: Any) -> bool | None:
    """What `training` the call of a layer says, in a model made of tensors; None where it says nothing.

    Keras writes the default of a layer's `call` where nothing was said, and minds neither in `fit` and `predict`.
    """
    if MODE in entry:
        return bool(entry[MODE])
    calls = entry.get("inbound_nodes") or [{}]
    training = calls[0].get("kwargs", {}).get("training")
    cls = find("keras.layers", entry["class_name"])
    default = getattr(cls, "works_as_in_training", None) if cls and issubclass(cls, RandomLayer) else None
    return None if training in (None, default) else bool(training)


def _call(source: "Layer | Chain", mode: bool | None) -> dict[str, Any]:
    """How Keras writes that a layer was called with what comes out of another, perhaps with training=mode."""
    last = source if isinstance(source, Layer) else source._layers[-1]
    tensor = {"shape": list(last.output_shape), "dtype": last.dtype.name, "keras_history": [source.name, 0, 0]}
    settings = {} if mode is None else {"training": mode}
    return {"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": settings}


def _layer_config(layer: "Layer | Chain") -> dict[str, Any]:
    if not isinstance(layer, Layer):
        config = _model_config(layer)
        config["config"]["trainable"] = layer.trainable
        return config
    shape = list(layer.input_shape)
    if isinstance(layer, Input):
        own = {"batch_shape": shape, "dtype": layer.dtype.name, "name": layer.name}
        return {"module": "keras.layers", "class_name": "InputLayer", "config": own, "registered_name": None}
    entry = _encode(layer)
    if "data_format" in _settings(type(layer)):
        entry["config"]["data_format"] = "channels_last"
    if layer.trainable or not layer.parameters:
        entry["config"].pop("trainable", None)  # not every class takes it
    if isinstance(layer, layers.Lambda):
        entry["config"]["function"] = _function(entry["config"]["function"])
    if isinstance(layer, RandomLayer):
        entry["config"]["seed"] = layer.seed % 2**32
    return entry | {"build_config": {"input_shape": shape}}


def _function(name: str) -> dict[str, Any]:
    return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}


def _metric(metric: Any) -> Any:
    found = metrics.serialize(metric)
    if isinstance(found, str):
        return found
    if isinstance(metric, metrics.Metric | losses.Loss):
        return _encode(metric)
    return found | {"module": "builtins", "registered_name": "function"}


def _encode(thing: Any) -> dict[str, Any]:
    """An object of ours as Keras writes it."""
    name, module = type(thing).__name__, type(thing).__module__
    if isinstance(thing, losses.FunctionLoss):
        return _function(thing.name)
    if not hasattr(thing, "get_config"):
        raise ValueError(f"an object of the class {name} cannot be saved: it has no get_config()")
    module = next((family for family in FAMILIES if find(family, name) is type(thing)), module)
    return _entry(module, name, thing.get_config())


def _entry(module: str, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    own = {}
    for key, value in config.items():
        if (name, key) not in LACKING_IN_KERAS:
            own[key] = _plain(value)
        elif value != LACKING_IN_KERAS[name, key]:
            raise ValueError(
                f"Keras' {name} has no {key}, which is {value!r} here; save to a file that does not end in .keras"
            )
    module = OURS.get(name, module)
    registered = None if module.startswith("keras.") else name
    return {"module": module, "class_name": name, "config": own, "registered_name": registered}


def in_json(value: Any) -> Any:
    """A number of NumPy's as one of Python's; ValueError for what JSON has no form for."""
    if isinstance(value, np.generic):
        return value.item()
    raise ValueError(
        f"a setting that is of the class {type(value).__name__} cannot be saved: get_config must give another"
    )


def _plain(value: Any) -> Any:
    """A setting, in which objects that our own `serialize` wrote become Keras' entries."""
    if isinstance(value, dict) and "config" in value:
        name = class_of(value)
        if name == "function":
            return _function(value["config"])
        module = next((module for module in FAMILIES if find(module, name)), value.get("module") or "custom")
        return _entry(module, name, value["config"])
    return value.item() if isinstance(value, np.generic) else value


def find(module: str, name: str) -> Any:
    """Our class of this name in the family; None if there is none."""
    ours, base = FAMILIES.get(module, (None, object))
    found = getattr(ours, name, None)
    return found if isinstance(found, type) and issubclass(found, base) and found is not base else None


def _decode(value: Any) -> Any:
    """A setting, in which Keras' entries become objects of ours."""
    if isinstance(value, list):
        return [_decode(one) for one in value]
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    name, config = value["class_name"], value["config"]
    if name == "function":
        return known().get(config, config)  # the name of a function
    if name == "__lambda__":
        raise ValueError("its function is a lambda, which is code in the file: none is ever executed")
    if name in ("DTypePolicy", "FloatDTypePolicy"):
        return config["name"]
    module = value.get("module") or ""
    if module.startswith("keras.src.backend.torch.optimizers."):  # as Keras on PyTorch calls its own
        module = "keras.optimizers"
    cls = known().get(name) or find(module, name)
    for defined in (initializers.CLASSES, initializers.functions, regularizers.CLASSES, constraints.CLASSES):
        cls = cls or defined.get(name)
    if cls is None:
        raise ValueError(f"unknown class {value.get('module')}.{name}; pass it in custom_objects")
    if not isinstance(cls, type):
        return cls
    return made(cls, _accepted(cls, name, config))


def _layer(entry: Any) -> "Layer | Chain":
    name, config = entry["class_name"], entry["config"]
    label = f"layer {config.get('name', name)}"
    try:
        if name == "InputLayer":
            dtype = str(_decode(config.get("dtype")) or "float32")
            dtype = dtype if "float" in dtype else "float32"  # whole numbers become floats in the first layer
            return Input(tuple(config["batch_shape"][1:]), name=config["name"], dtype=dtype)
        if name in ("Sequential", "Functional"):
            model = _model(entry)
            if config.get("trainable") is False and not model.trainable_parameters:
                model.trainable = False  # nothing is written of frozen layers that have no parameters
            return model
        cls = known().get(name) or find("keras.layers", name)
        if cls is None:
            raise ValueError(f"unknown layer class {name}; pass it in custom_objects")
        layer: Layer = cls.from_config(_accepted(cls, name, config))
        return layer
    except (ValueError, TypeError) as error:
        raise ValueError(str(error) if str(error).startswith(label) else f"{label}: {error}") from error


def _settings(cls: type) -> set[str]:
    """The names of all arguments that a class takes, its bases included."""
    makers = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    return {name for maker in makers for name in inspect.signature(maker).parameters}


def _accepted(cls: Any, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that minicnn lacks and that do nothing; ValueError for one that does something."""
    decoded = {key: _decode(value) for key, value in config.items()}
    if name in known() or issubclass(cls, metrics.Metric):
        return decoded
    taken = _settings(cls)
    for key in [key for key in decoded if key not in taken]:
        value = decoded.pop(key)
        if value is not None and value is not False and key != "name" and LACKING_HERE.get(key) != value:
            raise ValueError(f"minicnn's {name} has no {key}, which is {value!r} in the file")
    return decoded


def _chain(config: Mapping[str, Any]) -> list[Any]:
    """The layers of a Functional model from its input to its output; ValueError unless they are one chain."""
    entries = {entry["name"]: entry for entry in config["layers"]}
    ends = []
    for role in ("input", "output"):
        found = config[f"{role}_layers"]
        if found and isinstance(found[0], list) and len(found) == 1:
            found = found[0]
        if not found or not isinstance(found[0], str):
            raise ValueError(f"the model has {len(found)} {role}s; minicnn's models are one chain of layers")
        ends.append(found[0])
    first, name = ends
    chain = []
    while True:
        entry = entries.pop(name, None)
        if entry is None:
            raise ValueError(f"layer {name} is missing; minicnn's models are one chain of layers")
        chain.append(entry)
        if name == first:
            break
        sources = _tensors(entry["inbound_nodes"])
        if len(sources) != 1:
            raise ValueError(f"layer {name} has {len(sources)} inputs; minicnn's models are one chain of layers")
        name = sources[0]
    if entries:
        raise ValueError(f"layer {next(iter(entries))} is a branch; minicnn's models are one chain of layers")
    return chain[::-1]


def _tensors(value: Any) -> list[str]:
    """The names of the layers whose outputs occur in the arguments of a call."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return [value["config"]["keras_history"][0]]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for one in inner for name in _tensors(one)]


# ---------------------------------------------------------------------- weights


def _h5py() -> Any:
    try:
        return import_module("h5py")
    except ImportError as error:
        raise ImportError("files of Keras need the package h5py: pip install h5py") from error


def stored_parameters(layer: Layer) -> list[Parameter]:
    """The parameters in the order in which Keras stores them."""
    return sorted(layer.parameters, key=lambda parameter: not parameter.trainable)


def _as_added(model: "Sequential") -> list[Any]:
    return model.layers


def _as_described(model: "Sequential") -> list[Any]:
    """As in the model's description: those within it that come back as models."""
    return [member for member, _ in model._members if not isinstance(member, Input)]


def _side_by_side(model: "Sequential") -> list[Any]:
    """As in `.keras` files that were written before descriptions had models."""
    return model.chain


def _groups(model: "Sequential", listing: Listing, place: str = "layers") -> Iterator[tuple[str, Layer]]:
    """Keras' group in a file for every layer: its class in snake case, numbered from the second on.

    The layers of a model within the model stand below its own group.
    """
    counts: Counter[str] = Counter()
    for layer in listing(model):
        name = type(layer).__name__
        name = _kind(layer) if name in ("Sequential", "Model") else name
        kind = snake_case(name)
        group = f"{place}/{kind}_{counts[kind]}" if counts[kind] else f"{place}/{kind}"
        counts[kind] += 1
        if isinstance(layer, Layer):
            yield group, layer
        else:
            yield from _groups(layer, listing, f"{group}/layers")


def _moments(optimizer: optimizers.Optimizer) -> list[tuple[str, slice, tuple[int, ...]]]:
    """(moment, where it lies in the flat array, its shape), in Keras' order."""
    order = MOMENTS.get(type(optimizer).__name__, ())
    order = tuple((name,) for name in optimizer.state if not any(name in names for names in order)) + order
    return [
        (name, part, parameter.shape)
        for names in order for parameter, part in optimizer.spans for name in names if name in optimizer.state
    ]  # fmt: skip


def _scalars(optimizer: optimizers.Optimizer) -> list[Any]:
    """The steps made and, unless it is a schedule, the learning rate: what Keras stores before the moments."""
    scheduled = isinstance(optimizer._learning_rate, schedules.LearningRateSchedule)
    return [np.int32(optimizer.iterations)] + ([] if scheduled else [np.float32(optimizer.learning_rate)])


def _products(optimizer: optimizers.Optimizer) -> list[Any]:
    """What Keras stores after the moments: of Nadam the product of all momenta so far, a function of the steps made."""
    if not isinstance(optimizer, optimizers.Nadam):
        return []
    steps = np.arange(1, optimizer.iterations + 1)
    return [np.float32(np.prod(optimizer.beta_1 * (1 - 0.5 * 0.96**steps)))]


def weights_file(model: "Sequential", listing: Listing) -> bytes:
    """The contents of a `.weights.h5` file: all parameters, and the state of the optimizer."""
    buffer = io.BytesIO()
    with _h5py().File(buffer, "w") as file:
        file.create_group("vars").attrs["name"] = model.name
        for group, layer in _groups(model, listing):
            arrays = [model.ops.numpy(parameter.data) for parameter in stored_parameters(layer)]
            _write(file, group, layer.name, arrays)
        if model.optimizer is not None:
            optimizer = _started(model)
            state = {name: model.ops.numpy(moment) for name, moment in optimizer.state.items()}
            moments = [state[name][place].reshape(shape) for name, place, shape in _moments(optimizer)]
            _write(file, "optimizer", optimizer.name, [*_scalars(optimizer), *moments, *_products(optimizer)])
    return buffer.getvalue()


def _write(file: Any, group: str, name: str, arrays: Arrays) -> None:
    place = file.create_group(f"{group}/vars")
    place.attrs["name"] = name
    for number, array in enumerate(arrays):
        place[str(number)] = array


def _started(model: "Sequential") -> optimizers.Optimizer:
    """The optimizer, with moments even if it has made no step."""
    model.build()
    assert model.optimizer is not None and model._flat is not None
    model.optimizer.prepare(model._flat[0], model.ops)
    return model.optimizer


def _read(file: Any, group: str) -> list[Any]:
    """The data sets of a group, in order; ValueError for any that lies in another file."""
    place, h5py = file, _h5py()
    for part in f"{group}/vars".split("/"):
        link = place.get(part, getlink=True)
        if link is None:
            return []
        place = place[part] if isinstance(link, h5py.HardLink) else None
        if not isinstance(place, h5py.Group):
            raise ValueError(f"{group} is not a group of arrays")
    arrays = []
    for number in range(len(place)):
        link = place.get(str(number), getlink=True)
        array = place[str(number)] if isinstance(link, h5py.HardLink) else None
        if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external or array.dtype.kind not in "fiu":
            raise ValueError(f"{group}/vars/{number} is missing, or no array of numbers")
        arrays.append(array)
    return arrays


def set_layers(pairs: Sequence[tuple[Layer, Arrays]], skip_mismatch: bool = False) -> list[str]:
    """Gives each layer its arrays, all or none; with `skip_mismatch` only those that fit, and returns what did not."""
    fitting, wrong = [], []
    for layer, arrays in pairs:
        expected = [parameter.shape for parameter in stored_parameters(layer)]
        found = [tuple(array.shape) for array in arrays]
        if found == expected:
            fitting.append((layer, [np.asarray(array[()]) for array in arrays]))
        else:
            wrong.append(f"layer {layer.name} has parameters of shapes {expected}, the file has {found}")
    if wrong and not skip_mismatch:
        raise ValueError(wrong[0])
    for layer, arrays in fitting:
        for parameter, array in zip(stored_parameters(layer), arrays, strict=True):
            parameter.value = layer.ops.array(array, parameter.data.dtype)
    return wrong


def _set_optimizer(model: "Sequential", arrays: Arrays) -> None:
    optimizer = _started(model)
    scalars, moments = _scalars(optimizer), _moments(optimizer)
    expected = [()] * len(scalars) + [shape for _, _, shape in moments] + [()] * len(_products(optimizer))
    found = [tuple(array.shape) for array in arrays]
    if found not in (expected, expected[: len(scalars)]):  # the second: it had made no step
        raise ValueError(
            f"the optimizer {optimizer.name} keeps {len(expected)} arrays, and the {len(found)} in the file are not those"
        )
    state = {name: np.array(model.ops.numpy(moment)) for name, moment in optimizer.state.items()}
    for (name, place, _), array in zip(moments, arrays[len(scalars) :], strict=False):
        state[name][place] = np.asarray(array[()]).reshape(-1)
    optimizer.iterations = int(arrays[0][()])
    if len(scalars) == 2 and scalars[1] != arrays[1][()]:
        optimizer.learning_rate = float(arrays[1][()])
    optimizer.state = {name: model.ops.array(moment) for name, moment in state.items()}


def _set_weights(model: "Sequential", content: bytes, skip_mismatch: bool = False, whole: bool = False) -> list[str]:
    """Gives a model the weights of a `.weights.h5` file, and returns what did not fit.

    The optimizer takes over its state if it was built or has made a step, or for `whole`.
    """
    try:
        with _h5py().File(io.BytesIO(content), "r") as file:
            found = [
                [(layer, _read(file, group)) for group, layer in _groups(model, listing)]
                for listing in (_side_by_side, _as_added, _as_described)
            ]
            pairs = max(found, key=lambda pairs: sum(len(arrays) for _, arrays in pairs))
            wrong = set_layers(pairs, skip_mismatch)
            stored = _read(file, "optimizer") if model.optimizer is not None else []
            if (
                model.optimizer is not None
                and stored
                and (whole or model.optimizer.built or model.optimizer.iterations)
            ):
                try:
                    _set_optimizer(model, stored)
                except ValueError as error:
                    if whole:
                        raise
                    wrong.append(str(error))
            return wrong
    except (
        OSError,
        RuntimeError,
        LookupError,
        ArithmeticError,
        TypeError,
        MemoryError,
    ) as error:  # h5py raises them all
        raise ValueError(f"the file is damaged, or not of the format HDF5 ({reason(error)})") from error


# ---------------------------------------------------------------------- files


def save_model(model: "Sequential", path: str | Path) -> None:
    """Writes a `.keras` file. Raises DataError where it cannot be written, ValueError for what Keras does not have."""
    own: dict[str, Any] = {"seed": model.seed}  # what Keras has no place for; it reads none of metadata.json
    own["seeds"] = {layer.name: layer.seed for layer in model.chain if isinstance(layer, RandomLayer)}
    if model.optimizer is not None:
        own["excluded"] = [p.name for p in model.trainable_parameters if not model.optimizer.decays(p)]
    metadata = {"keras_version": FORMAT, "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S"), "minicnn": own}
    parts: dict[str, str | bytes] = {
        "metadata.json": json.dumps(metadata),
        "config.json": json.dumps(config_of(model), default=in_json),
        "model.weights.h5": weights_file(model, _as_described),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    write_bytes(path, buffer.getvalue())


def load_model(
    path: str | Path, custom_objects: Mapping[str, Any] | None = None, compiled: bool = True
) -> "Sequential":
    """The model of a `.keras` file. Raises ValueError, naming the file, for a damaged one and for what minicnn lacks."""
    parts = _parts(path, "metadata.json", "config.json", "model.weights.h5")
    try:
        config = json.loads(parts["config.json"])
        model = model_of(config if compiled else config | {"compile_config": None}, custom_objects)
        own = json.loads(parts["metadata.json"]).get("minicnn")
        if model._layers[0].built:
            _set_weights(model, parts["model.weights.h5"], whole=True)
        if own is not None:
            model.seed = int(own["seed"])
            for layer in model.chain:
                if isinstance(layer, RandomLayer):
                    layer.seed = int(own["seeds"][layer.name])
            if model.optimizer is not None:
                excluded = own["excluded"]
                model.optimizer.exclude_from_weight_decay([p for p in model.parameters if p.name in excluded])
    except KeyError as error:
        raise ValueError(f"{path}: the file is damaged: {error} is missing or unknown") from error
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"{path}: the model cannot be restored: {error}") from error
    return model


def save_weights(model: "Sequential", path: str | Path) -> None:
    """Writes a `.weights.h5` file. Raises DataError where it cannot be written."""
    write_bytes(path, weights_file(model, _as_added))


def load_weights(model: "Sequential", path: str | Path, skip_mismatch: bool = False) -> list[str]:
    """Reads the weights of a `.weights.h5` or `.keras` file, and returns what was left out for `skip_mismatch`.

    Raises ValueError, naming the file, where they do not fit.
    """
    name = "model.weights.h5"
    content = _parts(path, name)[name] if str(path).endswith(".keras") else read_bytes(path)
    try:
        return _set_weights(model, content, skip_mismatch)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parts(path: str | Path, *names: str) -> dict[str, bytes]:
    """Files in a zip archive."""
    content = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(archive.getinfo(name).file_size for name in names)
            if size > 100 * len(content):
                raise DataError(f"{path}: the file is damaged: {len(content)} bytes cannot hold {size}")
            return {name: archive.read(name) for name in names}
    except KeyError as error:
        raise DataError(f"{path}: not a model of Keras 3: {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise DataError(f"{path}: the file is damaged, or not a model of Keras 3 ({reason(error)})") from error

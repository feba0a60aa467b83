"""The kinds of models, and copies of them: what Keras has in its module of this name."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from . import keras_format
from .absent import without
from .chain import Chain
from .checks import check
from .functional import Model, assembled
from .layers.activation import WithActivation
from .layers.base import Layer
from .layers.function import Lambda
from .layers.reshaping import Input
from .registered import custom_object_scope
from .saving import load_model, save_model
from .sequential import Sequential


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Sequential:
    """A new model as `Sequential.to_json`, or that of Keras 3, described it; with new weights."""
    try:
        config = json.loads(json_string)
    except (TypeError, ValueError) as error:
        raise ValueError(f"model_from_json: expected what to_json wrote, got {json_string!r:.60} ({error})") from None
    return keras_format.model_of(config, custom_objects)


def clone_model(
    model: Sequential,
    input_tensors: None = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
) -> Sequential:
    """A model of the same layers, not compiled, with new weights.

    `clone_function` makes what stands in the place of each layer, by default one with the same settings. The clone has an
    `Input` of its own: ValueError for `input_tensors`.
    """
    check("clone_model", ("a Sequential or Model", lambda one: isinstance(one, Sequential)), model=model)
    if input_tensors is not None:
        raise ValueError("clone_model takes no input_tensors: the clone has an Input of its own")
    if clone_function is not None:
        model._needs_one_output("cloned")
        return _cloned(model, clone_function)
    activations = [layer.activate for layer in model.chain if isinstance(layer, WithActivation)]
    mine: list[Any] = [layer.function for layer in [*model.chain, *activations] if isinstance(layer, Lambda)]
    mine += [
        setting for one in model.parameters for setting in (one.constraint, getattr(one.regularizer, "function", None))
    ]
    mine += [type(layer) for layer in model.chain if not type(layer).__module__.startswith(f"{__package__}.")]
    own = {one.__name__: one for one in mine if hasattr(one, "__name__")}
    with custom_object_scope(own | dict(custom_objects or {})):
        return type(model).from_config(model.get_config())


def _cloned(model: Chain, make: Callable[[Layer], Layer]) -> Sequential:
    """A model with what `make` makes in the place of each layer, also of those of models within it."""

    def clone(member: Layer | Chain) -> Layer | Chain:
        if isinstance(member, Chain):
            return _cloned(member, make)
        return Input.from_config(member.get_config()) if isinstance(member, Input) else make(member)

    members = ((clone(member), mode) for member, mode in model._members)
    shape = model._layers[0].input_shape if model._layers else None
    return assembled(model.name, members, shape, model._made_of_tensors)


__getattr__, _absent = without(__name__, "", {
    "Keras 3 has dropped it, use model_from_json": "model_from_yaml",
    "Keras 3 has dropped it, use Model.from_config": "model_from_config",
    "Keras 3 has dropped it, use Sequential or Model": "Graph Functional",
})  # fmt: skip

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model", *_absent]

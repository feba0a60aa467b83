"""Optimizers: how a step is made of gradients, with the formulas and defaults of Keras 3; `schedules` for their rates."""

from collections.abc import Mapping
from typing import Any

from ..absent import refuse, without
from ..registered import class_of, description, known
from . import schedules
from .algorithms import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Ftrl, Lion, Nadam, RMSprop
from .base import Operation as Operation
from .base import Optimizer

CLASSES: dict[str, type[Optimizer]] = {
    cls.__name__.lower(): cls for cls in (SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, Nadam, Adamax, Ftrl, Lion)
}


def get(identifier: Any, custom_objects: Mapping[str, Any] | None = None) -> Optimizer:
    """An optimizer from its name, from what `serialize` returned, or itself.

    `custom_objects` has classes of optimizers and schedules of your own by name, beside those that are registered.
    ValueError for a name that is not known.
    """
    refuse(identifier)
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type):
        raise ValueError(f"an optimizer is an object, {identifier.__name__}(), not its class")
    config: dict[str, Any] = (
        identifier if isinstance(identifier, dict) else {"class_name": str(identifier), "config": {}}
    )
    name = class_of(config)
    own = {key.lower(): value for key, value in known(custom_objects).items()}
    cls = own.get(name.lower()) or CLASSES.get(name.lower())
    if cls is None:
        raise ValueError(f"unknown optimizer {name!r}; expected one of {', '.join(CLASSES)}")
    return cls.from_config(config["config"], custom_objects)


deserialize = get


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer in types that JSON has, without its moments, for `get`."""
    return description(optimizer)


_classes = ", ".join(cls.__name__ for cls in CLASSES.values())
__getattr__, _absent = without(__name__, "optimizer ", {
    f"there are {_classes}": """
        Adafactor Lamb Muon LossScaleOptimizer MultiOptimizer OptimizerMap ScheduleFreeAdamW TFOptimizer""",
    f"Keras 3 has dropped it, the classes are {_classes}": """
        sgd rmsprop adagrad adadelta adam adamax nadam gradient_descent_v2 rmsprop_v2 adagrad_v2 adadelta_v2 adam_v2 adamax_v2
        nadam_v2 ftrl lion""",
})  # fmt: skip

__all__ = [
    "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "Nadam", "Optimizer", "RMSprop", "deserialize", "get", "schedules",
    "serialize", *_absent,
]  # fmt: skip

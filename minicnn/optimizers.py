"""Optimizers: how a step is made of gradients, with the formulas and defaults of Keras 3.

An optimizer works on one flat array that holds all parameters of a model, and keeps moments of the same size.
"""

from typing import Any

from . import schedules
from .ops import Ops, get_ops
from .ops.reference import Array
from .schedules import LearningRateSchedule


class Optimizer:
    """Base class; `update(w, g)` makes one step from parameters w along gradients g, in place."""

    moments: tuple[str, ...] = ()  # names of the arrays kept from step to step

    def __init__(self, learning_rate: float | LearningRateSchedule) -> None:
        if not isinstance(learning_rate, LearningRateSchedule) and not learning_rate >= 0:
            raise ValueError(f"learning_rate must be a number from 0 on, or a schedule, not {learning_rate!r}")
        self.learning_rate = learning_rate
        self.iterations = 0
        self.state: dict[str, Array] = {}

    def build(self, w: Array, ops: Ops) -> None:
        """Starts the moments of parameters w at zero."""
        self.ops = ops
        self.state = {name: ops.zeros(w.shape, w.dtype) for name in self.moments}

    def update(self, w: Array, g: Array) -> None:
        if any(moment.shape != w.shape for moment in self.state.values()) or not hasattr(self, "ops"):
            self.build(w, get_ops("cpu"))
        rate = self.current_learning_rate
        self.iterations += 1
        self.apply(w, g, rate)

    def apply(self, w: Array, g: Array, learning_rate: float) -> None:
        raise TypeError(f"{type(self).__name__} does not define apply")

    @property
    def current_learning_rate(self) -> float:
        """The learning rate of the next step."""
        rate = self.learning_rate
        return rate(self.iterations) if isinstance(rate, LearningRateSchedule) else float(rate)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in types that JSON has."""
        config = {name: value for name, value in vars(self).items() if name not in ("iterations", "state", "ops")}
        rate = self.learning_rate
        if isinstance(rate, LearningRateSchedule):
            config["learning_rate"] = {"schedule": type(rate).__name__, "config": rate.get_config()}
        return config


class SGD(Optimizer):
    """v = μ v - η g;  w = w + v, or with Nesterov's look-ahead w = w + μ v - η g"""

    moments = ("velocity",)

    def __init__(
        self, learning_rate: float | LearningRateSchedule = 0.01, momentum: float = 0.0, nesterov: bool = False
    ) -> None:
        super().__init__(learning_rate)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be between 0 and 1, not {momentum}")
        self.momentum, self.nesterov = momentum, nesterov

    def apply(self, w: Array, g: Array, learning_rate: float) -> None:
        self.ops.sgd(w, g, self.state["velocity"], learning_rate, self.momentum, self.nesterov)


class RMSprop(Optimizer):
    """s = ρ s + (1-ρ) g²;  w = w - η g / √(s + ε)  (Tieleman and Hinton, 2012)

    `centered` takes the squared mean of the gradients off s; `momentum` gives the steps a velocity.
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
    ) -> None:
        super().__init__(learning_rate)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    @property
    def moments(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("square", *(("mean",) if self.centered else ()), *(("velocity",) if self.momentum else ()))

    def apply(self, w: Array, g: Array, learning_rate: float) -> None:
        square, mean, velocity = (self.state.get(name) for name in ("square", "mean", "velocity"))
        self.ops.rmsprop(w, g, square, mean, velocity, learning_rate, self.rho, self.momentum, self.epsilon)


class Adam(Optimizer):
    """m = β₁ m + (1-β₁) g;  v = β₂ v + (1-β₂) g²;  w = w - η √(1-β₂ᵗ) / (1-β₁ᵗ) · m / (√v + ε)  (Kingma and Ba, 2014)"""

    moments = ("m", "v")

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def apply(self, w: Array, g: Array, learning_rate: float) -> None:
        self.ops.adam(
            w,
            g,
            self.state["m"],
            self.state["v"],
            self.iterations,
            learning_rate,
            self.beta_1,
            self.beta_2,
            self.epsilon,
        )


CLASSES: dict[str, type[Optimizer]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam}


def get(identifier: Any) -> Optimizer:
    """An optimizer from its name, from what `serialize` returned, or itself."""
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, dict):
        config = dict(identifier["config"])
        rate = config["learning_rate"]
        if isinstance(rate, dict):
            config["learning_rate"] = schedules.CLASSES[rate["schedule"]](**rate["config"])
        return CLASSES[identifier["name"]](**config)
    if str(identifier).lower() not in CLASSES:
        raise ValueError(f"unknown optimizer {identifier!r}; expected one of {', '.join(CLASSES)}")
    return CLASSES[str(identifier).lower()]()  # type: ignore[call-arg]


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    return {"name": type(optimizer).__name__.lower(), "config": optimizer.get_config()}

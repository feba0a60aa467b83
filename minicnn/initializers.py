"""How parameters start: Keras' initializers, drawn from a counter-based generator that `set_random_seed` controls.

The variance-scaling family keeps the size of activations (Glorot and Bengio, 2010; He et al., 2015; LeCun et al., 1998)
through the layers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .seeding import new_seed

TRUNCATED_STDDEV = 0.87962566103423978  # of a standard normal cut off at ±2


class Initializer:
    """Base class: `initializer(shape)` returns a float64 array. With a `seed`, every call returns the same numbers."""

    seed: int | None = None

    def generator(self) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(new_seed() if self.seed is None else self.seed))

    def __call__(self, shape: Sequence[int]) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} does not define __call__(shape)")

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


class Constant(Initializer):
    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int]) -> np.ndarray:
        return np.full(shape, self.value)


class RandomNormal(Initializer):
    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def __call__(self, shape: Sequence[int]) -> np.ndarray:
        return self.generator().normal(self.mean, self.stddev, shape)


class RandomUniform(Initializer):
    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def __call__(self, shape: Sequence[int]) -> np.ndarray:
        return self.generator().uniform(self.minval, self.maxval, shape)


class VarianceScaling(Initializer):
    """Numbers of variance scale / fan, fan being inputs (`fan_in`), outputs (`fan_out`) or their mean (`fan_avg`).

    A kernel (KH, KW, C, F) has KH·KW·C inputs and KH·KW·F outputs. `truncated_normal` redraws what lies beyond two
    standard deviations.
    """

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None
    ) -> None:
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"unknown mode {mode!r}; expected fan_in, fan_out or fan_avg")
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(
                f"unknown distribution {distribution!r}; expected truncated_normal, untruncated_normal or uniform"
            )
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def __call__(self, shape: Sequence[int]) -> np.ndarray:
        area = math.prod(shape[:-2])
        fan_in, fan_out = area * (shape[-2] if len(shape) > 1 else 1), area * shape[-1]
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        random = self.generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.uniform(-limit, limit, shape)
        values = random.standard_normal(shape)
        if self.distribution == "truncated_normal":
            while (outside := np.abs(values) > 2.0).any():
                values[outside] = random.standard_normal(np.count_nonzero(outside))
            values /= TRUNCATED_STDDEV
        return math.sqrt(variance) * values


def _scaling(scale: float, mode: str, distribution: str) -> Callable[..., VarianceScaling]:
    return lambda seed=None: VarianceScaling(scale, mode, distribution, seed)


BY_NAME: dict[str, Callable[..., Initializer]] = {
    "zeros": Constant,
    "ones": lambda: Constant(1.0),
    "constant": Constant,
    "random_normal": RandomNormal,
    "random_uniform": RandomUniform,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": _scaling(1.0, "fan_avg", "uniform"),
    "glorot_normal": _scaling(1.0, "fan_avg", "truncated_normal"),
    "he_uniform": _scaling(2.0, "fan_in", "uniform"),
    "he_normal": _scaling(2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": _scaling(1.0, "fan_in", "uniform"),
    "lecun_normal": _scaling(1.0, "fan_in", "truncated_normal"),
}
CLASSES = {cls.__name__: cls for cls in (Constant, RandomNormal, RandomUniform, VarianceScaling)}


def get(identifier: str | dict[str, Any] | Initializer) -> Initializer:
    """An initializer from its name, from what `serialize` returned, or itself."""
    if isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, dict):
        return CLASSES[identifier["class"]](**identifier["config"])
    if identifier not in BY_NAME:
        raise ValueError(f"unknown initializer {identifier!r}; expected one of {', '.join(sorted(BY_NAME))}")
    return BY_NAME[identifier]()


def serialize(initializer: Initializer) -> dict[str, Any]:
    return {"class": type(initializer).__name__, "config": initializer.get_config()}

"""How parameters start: Keras' initializers, drawn from a counter-based generator that `set_random_seed` controls.

The variance-scaling family keeps the size of activations (Glorot and Bengio, 2010; He et al., 2015; LeCun et al., 1998)
through the layers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .absent import without
from .checks import ABOVE_ZERO, NUMBER, NUMBERS, SEED, check, numbers
from .registered import Configured, described, description, snake_case
from .seeding import new_seed

TRUNCATED_STDDEV = 0.87962566103423978  # of a standard normal cut off at ±2
CLASSES: dict[str, type["Initializer"]] = {}  # by name; those of your own too, from when they are defined on
functions: dict[str, Callable[..., Any]] = {}  # of your own, by name


class Initializer(Configured):
    """Base class. One of your own defines `initializer(shape, dtype=None)`, which returns an array of that shape.

    Ours draw in float64. With a `seed`, every call returns the same numbers.
    """

    seed: int | None = None

    def __init_subclass__(cls) -> None:
        CLASSES[cls.__name__] = cls

    def generator(self) -> np.random.Generator:
        check(f"initializer {type(self).__name__}", SEED, seed=self.seed)
        return np.random.Generator(np.random.Philox(new_seed() if self.seed is None else self.seed))

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        raise TypeError(f"initializer {type(self).__name__} does not define __call__(shape, dtype=None)")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return np.asarray(self.draw(tuple(shape)), dtype)

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def clone(self) -> "Initializer":
        """Another one with the same arguments."""
        return self.from_config(self.get_config())


class Zeros(Initializer):
    """w = 0"""

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        return np.zeros(shape)


class Ones(Initializer):
    """w = 1"""

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        return np.ones(shape)


class Constant(Initializer):
    """w = value, a number or an array; ValueError for one that does not fit."""

    def __init__(self, value: Any = 0.0) -> None:
        check(f"initializer {type(self).__name__}", NUMBERS, value=value)
        self.value = value

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        value = np.asarray(self.value, float)
        try:
            return np.array(np.broadcast_to(value, shape))
        except ValueError:
            raise ValueError(
                f"initializer Constant: values of shape {value.shape} do not fit a parameter of shape {tuple(shape)}"
            ) from None

    def get_config(self) -> dict[str, Any]:
        return {"value": np.asarray(self.value).tolist()}


class RandomNormal(Initializer):
    """w ~ N(mean, stddev²)"""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        check(f"initializer {type(self).__name__}", NUMBER, mean=mean, stddev=stddev)
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        return self.generator().normal(self.mean, abs(self.stddev), shape)  # as even with either sign


class TruncatedNormal(RandomNormal):
    """Normal numbers; those beyond two standard deviations are drawn again: their standard deviation is 0.88 · stddev."""

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        return self.mean + self.stddev * _truncated(self.generator(), shape)


class RandomUniform(Initializer):
    """w evenly from minval to maxval"""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        check(f"initializer {type(self).__name__}", NUMBER, minval=minval)
        kind = numbers(f"a number from minval, {minval}, on", lambda most: most >= minval)
        check(f"initializer {type(self).__name__}", kind, maxval=maxval)
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        return self.generator().uniform(self.minval, self.maxval, shape)


class Orthogonal(Initializer):
    """gain · a matrix with orthogonal rows or columns, whichever are fewer (Saxe et al., 2014)

    The axes but the last are taken together. It is the Q of a random matrix, made unique by the signs of R.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        check(f"initializer {type(self).__name__}", NUMBER, gain=gain)
        self.gain, self.seed = gain, seed

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"initializer Orthogonal: expected a shape of two axes or more, received {tuple(shape)}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self.generator().standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diag(r) < 0, -1, 1)
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class Identity(Initializer):
    """gain on the diagonal of a matrix, else 0"""

    def __init__(self, gain: float = 1.0) -> None:
        check(f"initializer {type(self).__name__}", NUMBER, gain=gain)
        self.gain = gain

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(f"initializer Identity: expected a shape of two axes, received {tuple(shape)}")
        return self.gain * np.eye(shape[0], shape[1])


class VarianceScaling(Initializer):
    """Numbers of variance scale / fan, fan being inputs (`fan_in`), outputs (`fan_out`) or their mean (`fan_avg`).

    A kernel (KH, KW, C, F) has KH·KW·C inputs and KH·KW·F outputs, a bias (F,) F of both. `truncated_normal` redraws what
    lies beyond two standard deviations.
    """

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None
    ) -> None:
        check(f"initializer {type(self).__name__}", ABOVE_ZERO, scale=scale)
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"unknown mode {mode!r}; expected fan_in, fan_out or fan_avg")
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(
                f"unknown distribution {distribution!r}; expected truncated_normal, untruncated_normal or uniform"
            )
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def draw(self, shape: Sequence[int]) -> np.ndarray:
        inputs, outputs = (1, 1) if not shape else (shape[-2:][0], shape[-1])
        area = math.prod(shape[:-2])
        fan_in, fan_out = area * inputs, area * outputs
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        random = self.generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return math.sqrt(variance) * random.standard_normal(shape)
        return math.sqrt(variance) / TRUNCATED_STDDEV * _truncated(random, shape)


class _Scaled(VarianceScaling):
    settings: tuple[float, str, str]  # scale, mode and distribution

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.settings, seed=seed)

    def get_config(self) -> dict[str, Any]:
        return {} if self.seed is None else {"seed": self.seed}


class GlorotUniform(_Scaled):
    """Between ±√(6 / (inputs + outputs)) (Glorot and Bengio, 2010)"""

    settings = 1.0, "fan_avg", "uniform"


class GlorotNormal(_Scaled):
    """Of variance 2 / (inputs + outputs)"""

    settings = 1.0, "fan_avg", "truncated_normal"


class HeUniform(_Scaled):
    """Between ±√(6 / inputs) (He et al., 2015)"""

    settings = 2.0, "fan_in", "uniform"


class HeNormal(_Scaled):
    """Of variance 2 / inputs"""

    settings = 2.0, "fan_in", "truncated_normal"


class LecunUniform(_Scaled):
    """Between ±√(3 / inputs) (LeCun et al., 1998)"""

    settings = 1.0, "fan_in", "uniform"


class LecunNormal(_Scaled):
    """Of variance 1 / inputs"""

    settings = 1.0, "fan_in", "truncated_normal"


def _truncated(random: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Standard normal numbers between -2 and 2."""
    values = random.standard_normal(shape)
    while (outside := np.abs(values) > 2.0).any():
        values[outside] = random.standard_normal(np.count_nonzero(outside))
    return values


BY_NAME: dict[str, type[Initializer]] = {
    snake_case(name): cls for name, cls in CLASSES.items() if not name.startswith("_")
} | {"zero": Zeros, "one": Ones, "normal": RandomNormal, "uniform": RandomUniform}  # the last four are Keras' too


_without, _absent = without(__name__, "initializer ", {
    "one of your own is a function of shape and dtype": "STFT STFTInitializer stft",
    "it is called so without Initializer": "IdentityInitializer OrthogonalInitializer",
})  # fmt: skip


def __getattr__(name: str) -> Any:
    """A class by its name in small letters, as in Keras: `he_normal`."""
    return BY_NAME[name] if name in BY_NAME else _without(name)


def get(identifier: Any) -> Callable[..., Any]:
    """An initializer from its name ("he_normal" or "HeNormal"), from what `serialize` returned, or itself; `Constant` of an array.

    A function f(shape, dtype=None) of your own is one too. A saved model finds it, or a class of your own, by its name,
    among `custom_objects` or when the class has been defined, or the function passed to `get`, before `load_model`.
    """
    if isinstance(identifier, dict):
        return described("initializer", Initializer, CLASSES | functions, identifier)
    if isinstance(identifier, str) and (identifier in BY_NAME or identifier in CLASSES):
        return (BY_NAME.get(identifier) or CLASSES[identifier])()
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if isinstance(identifier, np.ndarray | np.generic):
        return Constant(identifier)
    if not callable(identifier):
        raise ValueError(f"unknown initializer {identifier!r}; expected one of {', '.join(sorted(BY_NAME))}")
    if not isinstance(identifier, Initializer):
        functions[_name(identifier)] = identifier
    return identifier


def serialize(initializer: Callable[..., Any]) -> dict[str, Any]:
    """What `get` makes the same initializer of, in types that JSON has."""
    if isinstance(initializer, Initializer):
        return description(initializer)
    return {"class_name": _name(initializer), "config": {}}


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


deserialize = get
__all__ = [
    *(name for name in CLASSES if not name.startswith("_")), *BY_NAME, "Initializer", "deserialize", "get", "serialize", *_absent,
]  # fmt: skip

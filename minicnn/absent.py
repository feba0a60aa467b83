"""What stands for the parts of Keras that are not here, and for those that Keras 3 has dropped."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from types import ModuleType, new_class
from typing import Any

DROPPED = {  # modules that Keras 3 has no longer, and what is used today
    "utils.np_utils": "minicnn.utils.to_categorical",
    "layers.core": "minicnn.layers",
    "layers.convolutional": "minicnn.layers",
    "layers.noise": "minicnn.layers",
    "layers.advanced_activations": "minicnn.layers",
    "layers.experimental": "minicnn.layers",
    "optimizers.legacy": "minicnn.optimizers",
    "optimizers.experimental": "minicnn.optimizers",
}
ABSENT = {  # modules that are not here, and why
    "applications": "nothing is trained beforehand, build a Sequential",
    "datasets.fashion_mnist": "load_mnist and read_kaggle of minicnn.data read files of its formats",
    "datasets.cifar10": "the data sets are those of handwritten digits",
    "datasets.cifar100": "the data sets are those of handwritten digits",
    "mixed_precision": "numbers are float32, or float64 where a layer is given that dtype",
    "wrappers": "call fit and predict yourself",
}


class Absent:
    """Base of what can be imported, and says that it is not here when it is called or made a base: ValueError."""

    why = ""

    def __new__(cls, *arguments: Any, **options: Any) -> "Absent":
        raise ValueError(cls.why)

    def __init_subclass__(cls, why: str = "") -> None:
        if not why:
            raise ValueError(cls.why)
        cls.why = why


@cache
def absent(name: str, why: str) -> type[Absent]:
    """What stands for the class or function of this name; `why` is the sentence."""
    return new_class(name, (Absent,), {"why": why})


def refuse(thing: Any) -> None:
    """ValueError for what is not here, also where only its class is given."""
    if isinstance(thing, type) and issubclass(thing, Absent):
        thing()


def without(module: str, kind: str, reasons: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module: for the names of Keras that are not there, listed by the reason, what says so."""
    found = {name: why for why, names in reasons.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name in found:
            return absent(name, f"minicnn has no {kind}{name}: {found[name]}")
        raise AttributeError(sentence(module, name))

    return __getattr__


def sentence(module: str, name: str) -> str:
    """What to say of a name that a module does not have."""
    place = f"{module}.{name}".partition(".")[2]
    if place in DROPPED:
        return f"{module} has no {name}: Keras 3 has dropped it, use {DROPPED[place]}"
    if place in ABSENT:
        return f"{module} has no {name}: {ABSENT[place]}"
    return f"module {module!r} has no attribute {name!r}"


class Finder(MetaPathFinder):
    """Comes last when a module is imported: for one of Keras' that is not here, says so."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        package, _, place = name.partition(".")
        if package == __package__ and (place in DROPPED or place in ABSENT):
            raise ModuleNotFoundError(sentence(*name.rsplit(".", 1)))  # whose `name` is not set: it is not passed over


sys.meta_path.append(Finder())

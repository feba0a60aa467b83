"""What stands for the parts of Keras that are not here, and for those that Keras 3 has dropped."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
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


def absent(why: str) -> Callable[..., Any]:
    """Something that can be imported, and says so when it is called: ValueError with this sentence."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise ValueError(why)

    return refuse


def without(module: str, kind: str, reasons: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module: for the names of Keras that are not there, listed by the reason, what says so."""
    found = {name: why for why, names in reasons.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name in found:
            return absent(f"minicnn has no {kind}{name}: {found[name]}")
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
            raise ImportError(sentence(*name.rsplit(".", 1)))


sys.meta_path.append(Finder())

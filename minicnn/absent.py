"""What stands for the parts of Keras that are not here, and for those that Keras 3 has dropped."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from types import ModuleType, new_class
from typing import Any

import numpy as np


def by_name(reasons: Mapping[str, str]) -> dict[str, str]:
    """{name: sentence} from {sentence: its names, separated by spaces}."""
    return {name: why for why, names in reasons.items() for name in names.split()}


DROPPED = by_name({  # modules that Keras 3 has no longer, behind what is used today
    "minicnn.utils": "utils.data_utils utils.generic_utils utils.all_utils utils.vis_utils",
    "minicnn.utils.to_categorical": "utils.np_utils",
    "minicnn.layers": """
        layers.core layers.convolutional layers.noise layers.advanced_activations layers.experimental layers.preprocessing
        layers.normalization_v2""",
    "minicnn.optimizers": "optimizers.legacy optimizers.experimental optimizer_v2 optimizer_v1",
    "minicnn.callbacks": "callbacks.callbacks callbacks_v1",
    "minicnn.losses": "objectives",
    "minicnn.initializers": "initializations initializers_v1 initializers_v2",
    "minicnn.layers.Layer, or minicnn.Model": """
        engine.topology engine.base_layer engine.training engine.network engine.sequential engine.functional
        engine.input_layer engine.input_spec engine.saving""",
    "minicnn.backend": "backend.tensorflow_backend backend.common backend.theano_backend backend.cntk_backend",
})  # fmt: skip
_IMAGES = "the layers here are those for the classification of images"
_CHAIN = "a model is one chain of layers here, and nothing joins branches"
_DATASETS = "the data sets are mnist, fashion_mnist, cifar10 and cifar100"
ABSENT = by_name({  # modules that are not here, behind the reason
    "nothing is trained beforehand, build a Sequential": "applications",
    _DATASETS: """
        datasets.cifar datasets.imdb datasets.reuters datasets.boston_housing
        datasets.california_housing""",
    "numbers are float32, or float64 where a layer is given that dtype": "mixed_precision dtype_policies",
    "call fit and predict yourself": "wrappers estimator",
    _CHAIN: "layers.merge layers.merging",
    _IMAGES: """
        layers.recurrent layers.recurrent_v2 layers.convolutional_recurrent layers.cudnn_recurrent layers.rnn layers.wrappers
        layers.embeddings layers.attention layers.dense_attention layers.local layers.locally_connected
        preprocessing.text preprocessing.sequence preprocessing.timeseries""",
    "a model is on one device, that of model.to": "utils.multi_gpu_utils utils.training_utils distribution",
    "numpy.random draws, and set_random_seed seeds all": "random",
    "import from minicnn itself, without it": "src api legacy python",
    "numbers are float32 and nothing is quantized": "quantizers",
    "model.save writes files that Keras reads, and exports": "export",
    "report.write writes a page about the trained model": "visualization",
    "lists and dictionaries of arrays are walked by Python itself": "tree",
    "the features are arrays": "feature_column experimental premade_models distillation",
})  # fmt: skip
MODULES = {  # of whose functions there are too many to name: what to say of any
    "minicnn.ops": "it is where a device is chosen, not keras.ops; ",
    "minicnn.backend": "metrics get NumPy arrays, losses and layers those of their device; ",
}
ARGUMENTS = by_name({  # that Keras 3 has dropped, behind what is used today
    "epochs": "nb_epoch",
    "steps_per_epoch": "samples_per_epoch",
    "validation_steps": "nb_val_samples",
    "the arguments of a utils.PyDataset": "workers use_multiprocessing max_queue_size max_q_size nb_worker pickle_safe",
    "metrics=['accuracy'] of compile": "show_accuracy",
    "save_freq, a number of batches": "period",
    "nothing in its place: the numbers are those of this call alone": "reset_metrics",
    "skip_mismatch, which leaves out layers that do not fit": "by_name",
    "set_weights of the built layer": "weights",
    "astype(dtype) of what is returned": "dtype",
    "x": "generator",
    "inputs": "input",
    "outputs": "output",
    "steps": "val_samples",
    "steps_per_execution": "experimental_steps_per_execution",
    "run_eagerly": "experimental_run_tf_function",
    "sample_weight or class_weight of fit alone": "sample_weight_mode",
    "the y of fit": "target_tensors",
    "model.to, a model is on one device": "distribute",
})  # fmt: skip


class _AbsentKind(type):
    """Attributes of an absent class raise its sentence too: some names were once modules, whose classes scripts ask for."""

    why: str

    def __getattr__(cls, name: str) -> Any:
        raise AttributeError(name if name.startswith("__") else cls.why)


class Absent(metaclass=_AbsentKind):
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


def without(module: str, kind: str, reasons: Mapping[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """(`__getattr__` for a module, names for its `__all__`): names of Keras that it lacks become stand-ins.

    `reasons` lists these names by the reason why they are absent.
    """
    found = by_name(reasons)

    def __getattr__(name: str) -> Any:
        if name == "__path__":
            return []  # as of a package, so that `Finder` is asked for what is imported from the module and is not there
        if name in found:
            return absent(name, f"minicnn has no {kind}{name}: {found[name]}")
        raise AttributeError(sentence(module, name) or f"module {module!r} has no attribute {name!r}")

    return __getattr__, list(found)


def sentence(module: str, name: str) -> str:
    """What to say of a name that a module does not have; nothing if it is not known."""
    place = f"{module}.{name}".partition(".")[2]
    if place in DROPPED:
        return f"{module} has no {name}: Keras 3 has dropped it, use {DROPPED[place]}"
    if place in ABSENT:
        return f"{module} has no {name}: {ABSENT[place]}"
    if module in MODULES and not name.startswith("_"):
        function = f"numpy.{name}" if hasattr(np, name) else "NumPy's functions or those of minicnn.activations"
        return f"{module} has no {name}: {MODULES[module]}use {function}"
    return ""


def refuse_arguments(place: str, given: Mapping[str, Any]) -> None:
    """TypeError for unknown arguments, with today's name of those that Keras 3 has dropped."""
    if given:
        name = next(iter(given))
        raise TypeError(f"{place} has no argument {name!r}{today(name)}")


def today(argument: str) -> str:
    """The end of a sentence that says that there is no such argument."""
    return f": Keras 3 has dropped it, use {ARGUMENTS[argument]}" if argument in ARGUMENTS else ""


class Finder(MetaPathFinder):
    """Comes last when a module is imported: for one of Keras' that is not here, says so."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        module, _, last = name.rpartition(".")
        if module.partition(".")[0] == __package__ and (said := sentence(module, last)):
            raise ModuleNotFoundError(said)  # whose `name` is not set: it is not passed over


sys.meta_path.append(Finder())

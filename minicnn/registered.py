"""How classes are named, also in files, and your own that every file may name, so that `load_model` needs no `custom_objects`."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Kind = TypeVar("Kind")
Made = TypeVar("Made", bound="Configured")
_known: dict[str, Any] = {}
instances: Counter[str] = Counter()  # how many have named themselves so, by this name
_in_scope: ContextVar[dict[str, Any]] = ContextVar("custom objects", default={})  # noqa: B039 (it is never written to)


def get_custom_objects() -> dict[str, Any]:
    """The classes by their names; what is put into this dictionary is known from then on."""
    return _known


def known(custom_objects: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """These, those of the `with` blocks of `custom_object_scope` that are open here, and those that are given."""
    return _known | _in_scope.get() | dict(custom_objects or {})


def snake_case(name: str) -> str:
    """The name of a class in small letters, as Keras makes it: max_pooling2d, p_re_lu, my_cnn_model."""
    return re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name).lower()


def new_name(kind: str) -> str:
    """The name of a class in small letters, with a number from the second object on: max_pooling2d_1."""
    kind = snake_case(kind)
    count = instances[kind]
    instances[kind] += 1
    return f"{kind}_{count}" if count else kind


def name_of_function(function: Any, what: str) -> str:
    """Under which a file keeps it; ValueError where there is none."""
    name = getattr(function, "__name__", "<lambda>")
    if name == "<lambda>":
        raise ValueError(f"{what} without a name cannot be saved: write it with def")
    return str(name)


class Configured:
    """Base of what is made again of the arguments that its `get_config` returns."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in types that JSON has."""
        return dict(vars(self))

    @classmethod
    def from_config(cls: type[Made], config: Mapping[str, Any]) -> Made:
        """An object of this class, made with these arguments."""
        return cls(**config)


def description(thing: Any) -> dict[str, Any]:
    """The class of an object and the arguments it was made with, in types that JSON has: for files."""
    return {"class_name": type(thing).__name__, "config": thing.get_config()}


def class_of(description: Mapping[str, Any]) -> str:
    """The name of the class that was described; in older files it has other keys. ValueError for no description."""
    if not isinstance(description, Mapping):
        raise ValueError(f"expected a description, with a class_name and a config, got {description!r}")
    for key in ("class_name", "class", "schedule", "name"):
        if key in description and "config" in description:
            return str(description[key])
    found = ", ".join(map(str, description)) or "nothing"
    raise ValueError(f"expected a description, with a class_name and a config, got a dictionary with {found}")


def made(kind: Any, config: Mapping[str, Any]) -> Any:
    """An object of a class, also of your own, by its `from_config` if it has one."""
    return kind.from_config(config) if hasattr(kind, "from_config") else kind(**config)


def described(kind: str, base: type[Made], classes: Mapping[str, Any], description: Mapping[str, Any]) -> Made:
    """The object that was described: of one of these classes, of your own with this base, or a function; else ValueError."""
    name = class_of(description)
    found: Any = known().get(name)
    if found is None or (isinstance(found, type) and not issubclass(found, base)):
        found = classes.get(name)
    if found is None:
        raise ValueError(
            f"unknown {kind} {name!r}: one of your own must be defined, or be among custom_objects, when it is loaded"
        )
    return made(found, description["config"]) if isinstance(found, type) else found


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Kind], Kind]:
    """Makes a class known by its name; `package` and `name`, by which Keras calls it beside, are there for Keras' sake."""

    def register(kind: Kind) -> Kind:
        _known[getattr(kind, "__name__", name or "")] = kind
        return kind

    return register


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any]) -> Iterator[None]:
    """Makes classes known within a `with`, to the thread that runs it."""
    before = _in_scope.set(_in_scope.get() | dict(custom_objects))
    try:
        yield
    finally:
        _in_scope.reset(before)


CustomObjectScope = custom_object_scope  # Keras' other name

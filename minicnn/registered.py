"""Classes of one's own that every file may name, so that `load_model` needs no `custom_objects`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

Kind = TypeVar("Kind")
_known: dict[str, Any] = {}


def get_custom_objects() -> dict[str, Any]:
    """The classes by their names; what is put into this dictionary is known from then on."""
    return _known


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Kind], Kind]:
    """Makes a class known by its name; `package` and `name`, by which Keras calls it beside, are there for Keras' sake."""

    def register(kind: Kind) -> Kind:
        _known[getattr(kind, "__name__", name or "")] = kind
        return kind

    return register


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any]) -> Iterator[None]:
    """Makes classes known within a `with`."""
    before = _known.copy()
    _known.update(custom_objects)
    try:
        yield
    finally:
        _known.clear()
        _known.update(before)


CustomObjectScope = custom_object_scope  # Keras' other name

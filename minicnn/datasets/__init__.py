"""Data sets under the names of Keras."""

from ..absent import without
from . import fashion_mnist, mnist

__all__ = ["fashion_mnist", "mnist"]

__getattr__, _ = without(__name__, "", {})

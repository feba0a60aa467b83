"""Data sets under the names of Keras."""

from ..absent import without
from . import mnist

__all__ = ["mnist"]

__getattr__, _ = without(__name__, "", {})

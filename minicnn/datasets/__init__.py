"""Data sets under the names of Keras."""

from . import mnist

__all__ = ["mnist"]

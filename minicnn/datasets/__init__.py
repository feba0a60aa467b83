"""Data sets under the names of Keras."""

from ..absent import without
from . import cifar10, cifar100, fashion_mnist, mnist

__all__ = ["cifar10", "cifar100", "fashion_mnist", "mnist"]

__getattr__, _ = without(__name__, "", {})

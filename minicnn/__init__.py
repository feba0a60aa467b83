"""minicnn: convolutional networks written from scratch, on NumPy and Numba."""

from . import callbacks, data, gradcheck, initializers, layers, losses, metrics, optimizers, recipes, schedules
from .layers import (
    ELU,
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Input,
    Layer,
    LeakyReLU,
    MaxPooling2D,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    ReLU,
    Rescaling,
    Reshape,
    Softmax,
    ZeroPadding2D,
)
from .models import Sequential, load_model
from .ops import get_ops
from .seeding import set_random_seed
from .threads import get_threads, set_threads

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Input",
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Sequential",
    "Softmax",
    "ZeroPadding2D",
    "callbacks",
    "data",
    "get_ops",
    "get_threads",
    "gradcheck",
    "initializers",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "optimizers",
    "recipes",
    "schedules",
    "set_random_seed",
    "set_threads",
]

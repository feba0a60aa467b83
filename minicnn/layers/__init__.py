"""The layers, with the names, argument orders and defaults of Keras 3."""

from .activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from .augmentation import RandomRotation, RandomTranslation, RandomZoom
from .base import Layer, Parameter
from .convolution import Conv2D
from .dense import Dense
from .dropout import Dropout
from .normalization import BatchNormalization, Rescaling
from .pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from .reshaping import Flatten, Input, Reshape, ZeroPadding2D

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
    "Parameter",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "Reshape",
    "Rescaling",
    "Softmax",
    "ZeroPadding2D",
]

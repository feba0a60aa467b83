"""The layers, with the names, argument orders and defaults of Keras 3."""

from typing import Any

from ..absent import absent
from .activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from .augmentation import (
    RandomAffine,
    RandomElasticTransform,
    RandomErasing,
    RandomGaussianBlur,
    RandomGaussianNoise,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from .base import Layer, Parameter
from .convolution import Conv2D
from .dense import Dense
from .dropout import Dropout, GaussianNoise, SpatialDropout2D
from .normalization import BatchNormalization, Rescaling
from .pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from .reshaping import Flatten, Input, InputLayer, Reshape, ZeroPadding2D

# Keras' other names for the same
Convolution2D, MaxPool2D, AvgPool2D = Conv2D, MaxPooling2D, AveragePooling2D
GlobalMaxPool2D, GlobalAvgPool2D = GlobalMaxPooling2D, GlobalAveragePooling2D

ABSENT = {  # layers of Keras that are not here, by the reason
    "a model is one chain of layers here, and nothing joins branches": """
        Add Subtract Multiply Average Maximum Minimum Concatenate Dot add concatenate""",
    "the layers here are those for the classification of images": """
        LSTM GRU SimpleRNN RNN Bidirectional TimeDistributed Embedding Attention MultiHeadAttention Conv1D Conv3D
        MaxPooling1D MaxPooling3D Masking""",
    "make a Layer of your own, with forward and backward": """
        Lambda LayerNormalization GroupNormalization Conv2DTranspose SeparableConv2D DepthwiseConv2D UpSampling2D Permute
        Cropping2D RandomFlip RandomContrast RandomCrop Resizing Normalization GaussianDropout AlphaDropout
        CenterCrop RandomBrightness Identity ActivityRegularization""",
}


def __getattr__(name: str) -> Any:
    """For a layer of Keras that is not here: something that can be imported, and says so when it is used."""
    why = next((why for why, names in ABSENT.items() if name in names.split()), None)
    if why is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return absent(f"minicnn has no layer {name}: {why}")


__all__ = [
    "ELU",
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Input",
    "InputLayer",
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "PReLU",
    "Parameter",
    "RandomAffine",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomGaussianBlur",
    "RandomGaussianNoise",
    "RandomRotation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "Reshape",
    "Rescaling",
    "Softmax",
    "SpatialDropout2D",
    "ZeroPadding2D",
]

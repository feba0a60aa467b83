"""The layers, with the names, argument orders and defaults of Keras 3."""

from ..absent import without
from .activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from .augmentation import (
    RandomAffine,
    RandomElasticTransform,
    RandomErasing,
    RandomFlip,
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
from .function import Lambda
from .normalization import BatchNormalization, Normalization, Rescaling
from .pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from .reshaping import Flatten, Input, InputLayer, Reshape, ZeroPadding2D

# Keras' other names for the same
Convolution2D, MaxPool2D, AvgPool2D = Conv2D, MaxPooling2D, AveragePooling2D
GlobalMaxPool2D, GlobalAvgPool2D = GlobalMaxPooling2D, GlobalAveragePooling2D

__getattr__ = without(__name__, "layer ", {
    "a model is one chain of layers here, and nothing joins branches": """
        Add Subtract Multiply Average Maximum Minimum Concatenate Dot add concatenate merge""",
    "the layers here are those for the classification of images": """
        LSTM GRU SimpleRNN RNN Bidirectional TimeDistributed Embedding Attention MultiHeadAttention Conv1D Conv3D
        MaxPooling1D MaxPooling3D Masking""",
    "make a Layer of your own, with forward and backward": """
        LayerNormalization GroupNormalization Conv2DTranspose SeparableConv2D DepthwiseConv2D UpSampling2D Permute
        Cropping2D RandomContrast RandomCrop Resizing GaussianDropout AlphaDropout
        CenterCrop RandomBrightness Identity ActivityRegularization""",
})  # fmt: skip

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
    "Lambda",
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "Normalization",
    "PReLU",
    "Parameter",
    "RandomAffine",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
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

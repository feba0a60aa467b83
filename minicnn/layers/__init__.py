"""The layers, with the names, argument orders and defaults of Keras 3."""

from collections.abc import Mapping
from typing import Any

from ..absent import without
from ..registered import custom_object_scope, description
from .activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from .augmentation import (
    RandomAffine,
    RandomBrightness,
    RandomContrast,
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
from .base import Layer
from .convolution import Conv2D, Conv2DTranspose, DepthwiseConv2D, SeparableConv2D
from .dense import Dense
from .dropout import AlphaDropout, Dropout, GaussianDropout, GaussianNoise, SpatialDropout2D
from .function import Lambda
from .normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    Normalization,
    Rescaling,
    UnitNormalization,
)
from .parameter import Parameter
from .pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from .reshaping import (
    ActivityRegularization,
    Cropping2D,
    Flatten,
    Identity,
    Input,
    InputLayer,
    Permute,
    Reshape,
    ZeroPadding2D,
)
from .resizing import CenterCrop, MomentNormalization, Resizing, UpSampling2D

# Keras' other names for the same
Convolution2D, SeparableConvolution2D, MaxPool2D, AvgPool2D = Conv2D, SeparableConv2D, MaxPooling2D, AveragePooling2D
Convolution2DTranspose = Conv2DTranspose
GlobalMaxPool2D, GlobalAvgPool2D = GlobalMaxPooling2D, GlobalAveragePooling2D


def serialize(layer: Layer) -> dict[str, Any]:
    """A layer's class and settings, in types that JSON has, for `deserialize`."""
    return description(layer)


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A new layer as `serialize` described it; `custom_objects` has classes and functions of your own by name."""
    from ..saving import layer_of

    with custom_object_scope(custom_objects or {}):
        return layer_of(config)


__getattr__, _absent = without(__name__, "layer ", {
    "a model is one chain of layers here, and nothing joins branches": """
        Add Subtract Multiply Average Maximum Minimum Concatenate Dot add subtract multiply average maximum minimum
        concatenate dot merge Merge""",
    "the layers here are those for the classification of images": """
        LSTM GRU SimpleRNN RNN LSTMCell GRUCell SimpleRNNCell StackedRNNCells CuDNNLSTM CuDNNGRU ConvLSTM1D ConvLSTM2D
        ConvLSTM3D Bidirectional TimeDistributed TimeDistributedDense Embedding ReversibleEmbedding Masking RepeatVector
        Attention AdditiveAttention MultiHeadAttention GroupQueryAttention EinsumDense Conv1D Conv3D Convolution1D Convolution3D
        Conv1DTranspose Conv3DTranspose Convolution1DTranspose Convolution3DTranspose SeparableConv1D SeparableConvolution1D
        DepthwiseConv1D MaxPooling1D MaxPooling3D MaxPool1D MaxPool3D AveragePooling1D AveragePooling3D AvgPool1D AvgPool3D
        GlobalAveragePooling1D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool3D GlobalMaxPooling1D GlobalMaxPooling3D
        GlobalMaxPool1D GlobalMaxPool3D AdaptiveAveragePooling1D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
        AdaptiveMaxPooling3D Cropping1D Cropping3D UpSampling1D UpSampling3D ZeroPadding1D ZeroPadding3D SpatialDropout1D
        SpatialDropout3D TextVectorization StringLookup IntegerLookup CategoryEncoding Discretization Hashing HashedCrossing
        MelSpectrogram STFTSpectrogram MaxNumBoundingBoxes DenseFeatures""",
    "make a Layer of your own, whose call calculates, or with forward and backward": """
        RandomCrop ThresholdedReLU LocallyConnected1D LocallyConnected2D
        Deconvolution2D AtrousConvolution2D RMSNormalization
        SpectralNormalization AdaptiveAveragePooling2D AdaptiveMaxPooling2D Highway MaxoutDense Wrapper Pipeline AugMix
        AutoContrast ContrastLimitedAdaptiveHistogramEqualization CutMix MixUp Equalization RandAugment RandomColorDegeneration
        RandomColorJitter RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomSaturation
        RandomSharpness RandomHeight RandomWidth Solarization""",
    "a layer checks its input itself, as far as its input_rank says": "InputSpec",
    "layers of other libraries have no backward here": "FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper",
})  # fmt: skip

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "AlphaDropout",
    "AveragePooling2D",
    "BatchNormalization",
    "CenterCrop",
    "Conv2D",
    "Conv2DTranspose",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "Identity",
    "Input",
    "InputLayer",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "MaxPooling2D",
    "MomentNormalization",
    "Normalization",
    "PReLU",
    "Parameter",
    "Permute",
    "RandomAffine",
    "RandomBrightness",
    "RandomContrast",
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
    "Resizing",
    "SeparableConv2D",
    "Softmax",
    "SpatialDropout2D",
    "UnitNormalization",
    "UpSampling2D",
    "ZeroPadding2D",
    # what a star brings beside
    "AvgPool2D",
    "Convolution2D",
    "Convolution2DTranspose",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "MaxPool2D",
    "SeparableConvolution2D",
    "deserialize",
    "serialize",
    *_absent,
]

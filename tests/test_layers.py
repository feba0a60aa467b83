"""Layers by themselves: Keras' arguments and defaults, shapes, parameters, configurations, and one clear sentence for what cannot be."""

import inspect
import json
import math

import naive
import numpy as np
import pytest
from conftest import assert_close
from small import small

import minicnn
from minicnn import Dense, Flatten, Input, MaxPooling2D, Sequential, activations, layers
from minicnn.constraints import NonNeg
from minicnn.gradcheck import check_layer
from minicnn.initializers import Ones
from minicnn.layers import Layer
from minicnn.regularizers import L1L2

RANDOM = np.random.default_rng(0)
ONES = (1, 1)
NEEDED = inspect.Parameter.empty
WEIGHTED = {
    "use_bias": True, "kernel_initializer": "glorot_uniform", "bias_initializer": "zeros", "kernel_regularizer": None,
    "bias_regularizer": None, "activity_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
}  # fmt: skip
MOTION = {"fill_mode": "reflect", "interpolation": "bilinear", "seed": None, "fill_value": 0.0}
SIGNATURES = {  # as in Keras 3; only the size of AveragePooling2D has no default there
    "Conv2D": {
        "filters": NEEDED, "kernel_size": NEEDED, "strides": ONES, "padding": "valid", "data_format": None, "dilation_rate": ONES,
        "groups": 1, "activation": None,
    } | WEIGHTED,
    "Conv2DTranspose": {
        "filters": NEEDED, "kernel_size": NEEDED, "strides": ONES, "padding": "valid", "output_padding": None,
        "data_format": None, "dilation_rate": ONES, "activation": None,
    } | WEIGHTED,
    "DepthwiseConv2D": {
        "kernel_size": NEEDED, "strides": ONES, "padding": "valid", "depth_multiplier": 1, "data_format": None,
        "dilation_rate": ONES, "activation": None, "use_bias": True, "depthwise_initializer": "glorot_uniform",
        "bias_initializer": "zeros", "depthwise_regularizer": None, "bias_regularizer": None, "activity_regularizer": None,
        "depthwise_constraint": None, "bias_constraint": None,
    },
    "SeparableConv2D": {
        "filters": NEEDED, "kernel_size": NEEDED, "strides": ONES, "padding": "valid", "data_format": None, "dilation_rate": ONES,
        "depth_multiplier": 1, "activation": None, "use_bias": True, "depthwise_initializer": "glorot_uniform",
        "pointwise_initializer": "glorot_uniform", "bias_initializer": "zeros", "depthwise_regularizer": None,
        "pointwise_regularizer": None, "bias_regularizer": None, "activity_regularizer": None, "depthwise_constraint": None,
        "pointwise_constraint": None, "bias_constraint": None,
    },
    "Dense": {"units": NEEDED, "activation": None} | WEIGHTED,
    "MaxPooling2D": {"pool_size": (2, 2), "strides": None, "padding": "valid", "data_format": None},
    "AveragePooling2D": {"pool_size": (2, 2), "strides": None, "padding": "valid", "data_format": None},
    "GlobalAveragePooling2D": {"data_format": None, "keepdims": False},
    "GlobalMaxPooling2D": {"data_format": None, "keepdims": False},
    "Flatten": {"data_format": None},
    "Reshape": {"target_shape": NEEDED},
    "ZeroPadding2D": {"padding": (1, 1), "data_format": None},
    "Cropping2D": {"cropping": ((0, 0), (0, 0)), "data_format": None},
    "Permute": {"dims": NEEDED},
    "Resizing": {
        "height": NEEDED, "width": NEEDED, "interpolation": "bilinear", "crop_to_aspect_ratio": False, "pad_to_aspect_ratio": False,
        "fill_mode": "constant", "fill_value": 0.0, "antialias": False, "data_format": None,
    },
    "CenterCrop": {"height": NEEDED, "width": NEEDED, "data_format": None},
    "UpSampling2D": {"size": (2, 2), "data_format": None, "interpolation": "nearest"},
    "ActivityRegularization": {"l1": 0.0, "l2": 0.0},
    "LayerNormalization": {
        "axis": -1, "epsilon": 1e-3, "center": True, "scale": True, "beta_initializer": "zeros", "gamma_initializer": "ones",
        "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None, "gamma_constraint": None,
    },
    "GroupNormalization": {
        "groups": 32, "axis": -1, "epsilon": 1e-3, "center": True, "scale": True, "beta_initializer": "zeros",
        "gamma_initializer": "ones", "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None, "gamma_constraint": None,
    },
    "UnitNormalization": {"axis": -1},
    "RandomBrightness": {"factor": NEEDED, "value_range": (0, 255), "seed": None, "data_format": None},
    "RandomContrast": {"factor": NEEDED, "value_range": (0, 255), "seed": None, "data_format": None},
    "Dropout": {"rate": NEEDED, "noise_shape": None, "seed": None},
    "BatchNormalization": {
        "axis": -1, "momentum": 0.99, "epsilon": 1e-3, "center": True, "scale": True, "beta_initializer": "zeros",
        "gamma_initializer": "ones", "moving_mean_initializer": "zeros", "moving_variance_initializer": "ones",
        "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None, "gamma_constraint": None, "synchronized": False,
    },
    "PReLU": {"alpha_initializer": "zeros", "alpha_regularizer": None, "alpha_constraint": None, "shared_axes": None},
    "SpatialDropout2D": {"rate": NEEDED, "data_format": None, "seed": None, "name": None},
    "AlphaDropout": {"rate": NEEDED, "noise_shape": None, "seed": None},
    "GaussianDropout": {"rate": NEEDED, "seed": None},
    "GaussianNoise": {"stddev": NEEDED, "seed": None},
    "RandomTranslation": {"height_factor": NEEDED, "width_factor": NEEDED} | MOTION,
    "RandomRotation": {"factor": NEEDED} | MOTION,
    "RandomZoom": {"height_factor": NEEDED, "width_factor": None} | MOTION,
    "Activation": {"activation": NEEDED},
    "ReLU": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0},
    "LeakyReLU": {"negative_slope": 0.3},
    "ELU": {"alpha": 1.0},
    "Softmax": {"axis": -1},
    "Rescaling": {"scale": NEEDED, "offset": 0.0},
    "Normalization": {"axis": -1, "mean": None, "variance": None, "invert": False},
    "RandomFlip": {"mode": "horizontal_and_vertical", "seed": None, "data_format": None},
    "Lambda": {"function": NEEDED, "output_shape": None, "mask": None, "arguments": None},
    "Input": {"shape": None, "batch_size": None, "dtype": None},
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_order_and_defaults_of_keras(name):
    parameters = list(inspect.signature(getattr(layers, name).__init__).parameters.values())[1:]  # without self
    parameters = [p for p in parameters if p.kind != p.VAR_KEYWORD]
    assert [p.name for p in parameters] == list(SIGNATURES[name])
    assert {p.name: p.default for p in parameters} == SIGNATURES[name]


EXAMPLES = {  # layer, shape of the input, shape of the output, parameters, multiply-adds
    "conv": (lambda **o: layers.Conv2D(6, (3, 2), **o), (9, 8, 4), (7, 7, 6), 3 * 2 * 4 * 6 + 6, 7 * 7 * 6 * 24),
    "conv, strided": (lambda **o: layers.Conv2D(6, 3, 2, "same", **o), (9, 8, 4), (5, 4, 6), 222, 5 * 4 * 6 * 36),
    "conv, dilated": (lambda **o: layers.Conv2D(6, 3, dilation_rate=(3, 2), use_bias=False, **o), (9, 8, 4), (3, 4, 6), 216, 12 * 216),
    "conv, relu": (lambda **o: layers.Conv2D(2, 3, activation="relu", kernel_initializer="he_normal", **o), (3, 3, 1), (1, 1, 2), 20, 18),
    "transposed": (lambda **o: layers.Conv2DTranspose(6, (3, 2), 2, **o), (4, 3, 5), (9, 6, 6), 3 * 2 * 5 * 6 + 6, 4 * 3 * 180),
    "transposed, same": (lambda **o: layers.Conv2DTranspose(6, 3, (2, 3), "same", (0, 2), **o), (4, 3, 5), (7, 9, 6), 276, 12 * 270),
    "transposed, dilated": (lambda **o: layers.Conv2DTranspose(2, 3, dilation_rate=2, activation="relu", use_bias=False, **o),
        (4, 3, 5), (8, 7, 2), 90, 12 * 90),
    "depthwise": (lambda **o: layers.DepthwiseConv2D((3, 2), 2, "same", 3, **o), (9, 8, 4), (5, 4, 12), 3 * 2 * 12 + 12, 5 * 4 * 72),
    "depthwise, dilated": (lambda **o: layers.DepthwiseConv2D(3, dilation_rate=2, use_bias=False, **o), (9, 8, 4), (5, 4, 4), 36, 20 * 36),
    "separable": (lambda **o: layers.SeparableConv2D(6, (3, 2), 2, "same", None, 1, 3, **o), (9, 8, 4), (5, 4, 6), 72 + 72 + 6, 20 * 144),
    "separable, penalties": (lambda **o: layers.SeparableConv2D(6, 3, activation="tanh", use_bias=False, depthwise_regularizer="l1",
        depthwise_constraint="non_neg", pointwise_initializer="he_normal", **o), (9, 8, 4), (7, 6, 6), 36 + 24, 42 * 60),
    "dense": (lambda **o: layers.Dense(5, "tanh", **o), (7,), (5,), 40, 35),
    "dense, an activation layer": (lambda **o: layers.Dense(5, layers.LeakyReLU(0.2, name="l"), **o), (7,), (5,), 40, 35),
    "conv, an activation layer": (lambda **o: layers.Conv2D(2, 3, activation=layers.ReLU(1.0, name="r"), **o), (3, 3, 1), (1, 1, 2), 20, 18),
    "dense on more axes": (lambda **o: layers.Dense(5, use_bias=False, **o), (3, 4, 7), (3, 4, 5), 35, 12 * 35),
    "max pool": (lambda **o: layers.MaxPooling2D(**o), (9, 8, 4), (4, 4, 4), 0, 0),
    "max pool, same": (lambda **o: layers.MaxPooling2D((3, 2), 2, "same", **o), (9, 8, 4), (5, 4, 4), 0, 0),
    "average pool": (lambda **o: layers.AveragePooling2D(3, (1, 4), **o), (9, 8, 4), (7, 2, 4), 0, 0),
    "global average": (lambda **o: layers.GlobalAveragePooling2D(**o), (9, 8, 4), (4,), 0, 0),
    "global maximum": (lambda **o: layers.GlobalMaxPooling2D(keepdims=True, **o), (9, 8, 4), (1, 1, 4), 0, 0),
    "flatten": (lambda **o: layers.Flatten(**o), (9, 8, 4), (288,), 0, 0),
    "reshape": (lambda **o: layers.Reshape((-1, 4), **o), (9, 8, 4), (72, 4), 0, 0),
    "padding": (lambda **o: layers.ZeroPadding2D(((1, 2), (0, 3)), **o), (9, 8, 4), (12, 11, 4), 0, 0),
    "cropping": (lambda **o: layers.Cropping2D(((1, 2), (0, 3)), **o), (9, 8, 4), (6, 5, 4), 0, 0),
    "resizing": (lambda **o: layers.Resizing(6, 11, antialias=True, **o), (9, 8, 4), (6, 11, 4), 0, 0),
    "resizing, cropped": (lambda **o: layers.Resizing(6, 11, "nearest", True, **o), (9, 8, 4), (6, 11, 4), 0, 0),
    "resizing, padded": (lambda **o: layers.Resizing(6, 11, pad_to_aspect_ratio=True, fill_value=0.5, **o), (9, 8, 4), (6, 11, 4), 0, 0),
    "centre": (lambda **o: layers.CenterCrop(6, 5, **o), (9, 8, 4), (6, 5, 4), 0, 0),
    "centre of what is too small": (lambda **o: layers.CenterCrop(6, 11, **o), (9, 8, 4), (6, 11, 4), 0, 0),
    "up": (lambda **o: layers.UpSampling2D((2, 3), interpolation="bilinear", **o), (9, 8, 4), (18, 24, 4), 0, 0),
    "permutation": (lambda **o: layers.Permute((3, 1, 2), **o), (9, 8, 4), (4, 9, 8), 0, 0),
    "identity": (lambda **o: layers.Identity(**o), (9, 8, 4), (9, 8, 4), 0, 0),
    "penalty for what comes out": (lambda **o: layers.ActivityRegularization(0.1, 0.2, **o), (9, 4), (9, 4), 0, 0),
    "layer norm": (lambda **o: layers.LayerNormalization((1, 3), **o), (9, 8, 4), (9, 8, 4), 72, 0),
    "group norm": (lambda **o: layers.GroupNormalization(2, **o), (9, 8, 4), (9, 8, 4), 8, 0),
    "instance norm of rows": (lambda **o: layers.GroupNormalization(-1, 1, **o), (9, 8, 4), (9, 8, 4), 18, 0),
    "unit norm": (lambda **o: layers.UnitNormalization((1, 2), **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "layer norm, bare": (lambda **o: layers.LayerNormalization(center=False, scale=False, **o), (4,), (4,), 0, 0),
    "brightness": (lambda **o: layers.RandomBrightness((-0.2, 0.4), (0, 1), seed=3, **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "contrast": (lambda **o: layers.RandomContrast(0.3, (0, 1), seed=3, **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "dropout": (lambda **o: layers.Dropout(0.3, seed=11, **o), (9, 4), (9, 4), 0, 0),
    "translation": (lambda **o: layers.RandomTranslation(0.1, (0.0, 0.2), seed=3, **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "rotation": (lambda **o: layers.RandomRotation(0.1, "constant", seed=3, **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "zoom": (lambda **o: layers.RandomZoom(0.2, 0.1, seed=3, **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "flip": (lambda **o: layers.RandomFlip("vertical", seed=3, **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "normalization": (lambda **o: layers.Normalization(**o), (9, 8, 4), (9, 8, 4), 4 + 4 + 1, 0),
    "normalization of each number": (lambda **o: layers.Normalization([1, 2, 3], **o), (9, 8, 4), (9, 8, 4), 2 * 288 + 1, 0),
    "normalization, given": (lambda **o: layers.Normalization(2, 0.5, 4.0, True, **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "batch norm": (lambda **o: layers.BatchNormalization(momentum=0.9, **o), (9, 8, 4), (9, 8, 4), 16, 0),
    "batch norm, bare": (lambda **o: layers.BatchNormalization(center=False, scale=False, **o), (4,), (4,), 8, 0),
    "activation": (lambda **o: layers.Activation("sigmoid", **o), (9, 4), (9, 4), 0, 0),
    "activation, a layer": (lambda **o: layers.Activation(layers.ELU(0.5, name="e"), **o), (9, 4), (9, 4), 0, 0),
    "relu": (lambda **o: layers.ReLU(6.0, 0.1, 0.5, **o), (9, 4), (9, 4), 0, 0),
    "leaky relu": (lambda **o: layers.LeakyReLU(0.2, **o), (9, 4), (9, 4), 0, 0),
    "elu": (lambda **o: layers.ELU(0.5, **o), (9, 4), (9, 4), 0, 0),
    "prelu": (lambda **o: layers.PReLU("ones", "l2", **o), (9, 4), (9, 4), 36, 0),
    "prelu, shared": (lambda **o: layers.PReLU("random_normal", shared_axes=[1, 2], **o), (9, 8, 4), (9, 8, 4), 4, 0),
    "alpha dropout": (lambda **o: layers.AlphaDropout(0.3, seed=11, **o), (9, 4), (9, 4), 0, 0),
    "gaussian dropout": (lambda **o: layers.GaussianDropout(0.3, seed=11, **o), (9, 4), (9, 4), 0, 0),
    "noise": (lambda **o: layers.GaussianNoise(0.3, seed=11, **o), (9, 4), (9, 4), 0, 0),
    "spatial dropout": (lambda **o: layers.SpatialDropout2D(0.3, seed=11, **o), (9, 8, 4), (9, 8, 4), 0, 0),
    "penalties": (lambda **o: layers.Conv2D(2, 3, kernel_regularizer="l1", bias_regularizer=L1L2(0.1, 0.2), **o), (3, 3, 1), (1, 1, 2), 20, 18),
    "penalties on batch norm": (lambda **o: layers.BatchNormalization(beta_regularizer="l2", **o), (4,), (4,), 16, 0),
    "penalty for an activation": (lambda **o: layers.Dense(5, "relu", activity_regularizer=L1L2(0.1, 0.2), **o), (7,), (5,), 40, 35),
    "softmax": (lambda **o: layers.Softmax(axis=1, **o), (9, 4), (9, 4), 0, 0),
    "rescaling": (lambda **o: layers.Rescaling(0.5, -1.0, **o), (9, 4), (9, 4), 0, 0),
    "input": (lambda **o: layers.Input((9, 4), **o), (9, 4), (9, 4), 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("make, shape, output, count, multiply_adds", EXAMPLES.values(), ids=EXAMPLES)
def test_a_layer_alone(ops, make, shape, output, count, multiply_adds):
    minicnn.set_random_seed(2)  # of two filters and three images, something is positive
    random = np.random.default_rng(1)
    layer = make().to(ops)
    layer.build((None, *shape))
    layer.to(ops)
    assert layer.output_shape == layer.compute_output_shape((None, *shape)) == (None, *output)
    assert layer.count_params() == count and layer.multiply_adds() == multiply_adds
    x = random.standard_normal((3, *shape)).astype("float32")
    y = layer.forward(ops.array(x), training=True)
    assert y.shape == (3, *output) and y.dtype == "float32"
    dx = layer.backward(ops.array(random.standard_normal(y.shape).astype("float32")))
    assert dx.shape == x.shape and dx.dtype == "float32"
    for parameter in layer.trainable_parameters:
        assert parameter.gradient.shape == parameter.value.shape == parameter.shape
        assert ops.numpy(parameter.gradient).any(), "the gradient was never written"
    assert layer(ops.array(x)).shape == (3, *output)


@pytest.mark.parametrize("make, shape", [example[:2] for example in EXAMPLES.values()], ids=EXAMPLES)
def test_the_configuration_makes_the_same_layer(make, shape):
    layer = make(name="one", trainable=False)
    config = json.dumps(layer.get_config())
    again = type(layer).from_config(json.loads(config))
    assert json.dumps(again.get_config()) == config and again.name == "one" and not again.trainable
    x = RANDOM.standard_normal((3, *shape)).astype("float32")
    for copy in (layer, again):
        copy.build((None, *shape))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again.forward(x, training=True), layer.forward(x, training=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dense(3),
        lambda: layers.Conv2D(3, 2),
        lambda: layers.Conv2DTranspose(3, 2),
        lambda: layers.DepthwiseConv2D(2),
        lambda: layers.SeparableConv2D(3, 2),
        layers.PReLU,
        layers.LayerNormalization,
        lambda: layers.GroupNormalization(-1),
        layers.BatchNormalization,
    ],
    ids=[
        *("Dense", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D", "PReLU"),
        *("LayerNormalization", "GroupNormalization", "BatchNormalization"),
    ],
)
def test_settings_of_parameters_are_attributes_which_may_change_until_the_layer_is_built(make):
    layer = make()
    changes = [("initializer", Ones()), ("regularizer", L1L2(0.1, 0.2)), ("constraint", NonNeg())]
    for setting in layer.get_config():
        for ending, change in changes:
            if setting.endswith(ending):
                assert hasattr(layer, setting)
                setattr(layer, setting, change)
    layer.build((None, 4, 4, 2))
    for parameter in layer.parameters:
        assert (parameter.data == 1).all()
        settings = [change for _, change in changes[1:]] if parameter.trainable else [None, None]
        assert [parameter.regularizer, parameter.constraint] == settings


@pytest.mark.parametrize(
    "called", [minicnn.Dense(3, name="last"), Sequential([Input((4,)), minicnn.Dense(2)], name="last")]
)
@pytest.mark.parametrize("given", [minicnn.Dense(4, name="other"), minicnn.Flatten(name="other")])
def test_a_layer_is_not_called_on_a_layer(called, given):
    with pytest.raises(
        ValueError, match="(layer|model) last: is called on what comes out of .* not on the layer other itself"
    ):
        called(given)


def test_values_may_be_lists():
    layer = minicnn.Dense(2, use_bias=False, name="last")
    layer.build((None, 2))
    layer.kernel.value = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(layer.kernel.value, np.array([[1, 2], [3, 4]], np.float32))
    with pytest.raises(ValueError, match=r"last/kernel: expected values of shape \(2, 2\), got \(1, 2\)"):
        layer.kernel.value = [[1, 2]]


@pytest.mark.parametrize("gradient", [None, 1.0, np.ones((2, 1), np.float32)])
def test_a_gradient_of_another_shape_is_refused(gradient):
    layer = minicnn.Dense(3, name="last")
    layer.build((None, 2))
    with pytest.raises(ValueError, match=r"last/kernel: expected a gradient of shape \(2, 3\), got"):
        layer.kernel.gradient = gradient


def test_gradients_are_overwritten_not_added():
    layer = layers.Dense(3)
    x, dy = RANDOM.standard_normal((4, 5)).astype("float32"), RANDOM.standard_normal((4, 3)).astype("float32")
    layer(x)
    layer.backward(dy)
    first = layer.kernel.gradient.copy()
    layer.backward(dy)
    np.testing.assert_array_equal(layer.kernel.gradient, first)
    assert_close(first, x.T @ dy)


def test_an_activation_is_the_layer_after():
    x, dy = (
        RANDOM.standard_normal((2, 6, 5, 3)).astype("float32"),
        RANDOM.standard_normal((2, 4, 3, 7)).astype("float32"),
    )
    for name in ("relu", "elu", "softmax", "tanh"):
        both, plain, after = layers.Conv2D(7, 3, activation=name), layers.Conv2D(7, 3), layers.Activation(name)
        for layer in (both, plain):
            layer.build((None, 6, 5, 3))
        plain.set_weights(both.get_weights())
        assert_close(both(x), after(plain(x)))
        assert_close(both.backward(dy), plain.backward(after.backward(dy)))


def test_an_activation_layer_is_the_layer_after():
    x, dy = RANDOM.standard_normal((4, 6)).astype("float32"), RANDOM.standard_normal((4, 5)).astype("float32")
    for after in (layers.LeakyReLU(0.1), layers.ReLU(6.0, 0.1, 0.2), layers.ReLU(), layers.ELU(), layers.Softmax(),
                  layers.Softmax(1), layers.Activation("tanh"), layers.Activation(layers.ELU(0.5))):  # fmt: skip
        both, plain = layers.Dense(5, activation=after), layers.Dense(5)
        for layer in (both, plain):
            layer.build((None, 6))
        plain.set_weights(both.get_weights())
        np.testing.assert_array_equal(both(x), after(plain(x)))
        np.testing.assert_array_equal(both.backward(dy), plain.backward(after.backward(dy)))


def test_an_activation_layer_may_serve_many():
    """Each has a copy of its own."""
    shared = layers.LeakyReLU(0.1)
    first, second = layers.Dense(5, activation=shared), layers.Activation(shared)
    assert type(first.activation) is type(second.activation) is layers.LeakyReLU
    assert first.activation is not second.activation and first.activation.negative_slope == 0.1
    assert check_layer(layers.Conv2D(3, 2, activation=shared), (2, 4, 5, 2)) < 1e-6
    assert check_layer(layers.Dense(3, activation=layers.ReLU(0.5, 0.2)), (4, 5)) < 1e-6


@pytest.mark.parametrize(
    "make", [lambda a: layers.Dense(5, a), lambda a: layers.Conv2D(5, 1, activation=a), layers.Activation]
)
def test_the_activation_of_a_layer_is_shown_and_assigned(make):
    x = RANDOM.standard_normal((3, 2, 2, 5)).astype("float32")
    layer = make("relu")
    assert layer.activation is activations.relu and layer.activation.__name__ == "relu"
    assert (layer(x) >= 0).all()
    for given, expected in (("linear", activations.linear), (None, activations.linear), (activations.tanh, activations.tanh),
                            ("relu", activations.relu), ("swish", activations.silu), (layers.Softmax(), activations.softmax)):  # fmt: skip
        layer.activation = given
        assert layer.activation is expected and layer.get_config()["activation"] == expected.__name__
        plain = make("linear")
        plain.build((None, 2, 2, 5))
        plain.set_weights(layer.get_weights())
        assert_close(layer(x), expected(plain(x)))
        layer.backward(x)
    layer.activation = layers.LeakyReLU(0.5)
    assert layer.activation.negative_slope == 0.5 and layer(x).shape == x.shape
    for wrong, sentence in ((np.cbrt, "takes a name or a function of minicnn.activations"), ("swosh", "unknown activation 'swosh'"),
                            (layers.Dense(3, name="d"), "add the layer d to the model after this one")):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            layer.activation = wrong
    assert layer.activation.negative_slope == 0.5


def test_a_layer_computes_what_the_oracle_does(device_layer):
    """Strides, padding and dilation arrive in the operation as they were given to the layer: (height, width) each."""
    x = RANDOM.standard_normal((2, 7, 6, 3))
    for options in ({"strides": (2, 1)}, {"dilation_rate": (1, 2)}):
        layer = device_layer(
            layers.Conv2D(4, (3, 2), padding="same", dtype="float64", bias_initializer="ones", **options)
        )
        y = layer(layer.ops.array(x))
        strides, dilation = options.get("strides", ONES), options.get("dilation_rate", ONES)
        pads = [naive.same_pads(n, k, s, d) for n, k, s, d in zip((7, 6), (3, 2), strides, dilation, strict=True)]
        assert_close(layer.ops.numpy(y), naive.conv2d(x, layer.get_weights()[0], np.ones(4), strides, pads, dilation))


def test_names_count_up_and_parameters_carry_them():
    first, second = layers.Conv2D(1, 1), layers.Conv2D(1, 1)
    assert first.name != second.name and first.name.startswith("conv2d") and second.name.startswith("conv2d_")
    first.build((None, 2, 2, 1))
    assert [p.name for p in first.parameters] == [f"{first.name}/kernel", f"{first.name}/bias"]
    assert layers.MaxPooling2D(name="pool").name == "pool"


def test_names_are_those_of_keras():
    class MyCNNLayer(Layer):
        pass

    minicnn.backend.clear_session()
    made = layers.PReLU(), layers.ReLU(), layers.MaxPooling2D(), layers.GlobalAveragePooling2D(), MyCNNLayer()
    assert [layer.name for layer in made] == [
        "p_re_lu", "re_lu", "max_pooling2d", "global_average_pooling2d", "my_cnn_layer",
    ]  # fmt: skip


def test_weights_in_and_out():
    layer = layers.Dense(3, name="d")
    layer.build((None, 2))
    weights = layer.get_weights()
    assert [w.shape for w in weights] == [(2, 3), (3,)]
    weights[0][:] = 5  # a copy
    assert not (layer.get_weights()[0] == 5).any()
    layer.set_weights(weights)
    np.testing.assert_array_equal(layer.get_weights()[0], np.full((2, 3), 5))
    with pytest.raises(ValueError, match="layer d: expected 2 arrays, got 1"):
        layer.set_weights(weights[:1])
    with pytest.raises(ValueError, match=r"d/kernel: expected values of shape \(2, 3\), got \(3, 2\)"):
        layer.set_weights([weights[0].T, weights[1]])


def test_calculating_with_parameters():
    """They are arrays of NumPy's to whoever looks: an expression gives what it gives with their values."""
    layer = layers.Dense(3)
    layer.build((None, 4))
    kernel, w = layer.kernel, layer.kernel.numpy().copy()
    x = np.random.default_rng(0).standard_normal((2, 4)).astype("float32")
    for found, expected in (
        (np.asarray(kernel), w), (kernel + 1, w + 1), (1 - kernel, 1 - w), (kernel * 2, w * 2), (2 * kernel, w * 2),
        (kernel / 2, w / 2), (1 / kernel, 1 / w), (kernel**2, w * w), (-kernel, -w), (abs(kernel), np.abs(w)),
        (x @ kernel, x @ w), (kernel @ w.T, w @ w.T), (kernel - kernel, w - w), (kernel[0], w[0]), (np.abs(kernel), np.abs(w)),
        (np.mean(kernel), w.mean()), (np.linalg.norm(kernel), np.linalg.norm(w)), (np.asarray(kernel, "float64"), w.astype(float)),
    ):  # fmt: skip
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    assert (
        kernel.ndim == 2
        and np.size(kernel) == 12
        and len(kernel) == 4
        and kernel in [layer.kernel]
        and bool(layer.bias)
    )
    with pytest.raises(TypeError, match="/kernel: a parameter is changed by assign, assign_add or assign_sub"):
        layer.kernel += 1
    kernel.assign(kernel + 1)
    kernel.assign_add(np.ones((4, 3)))
    kernel.assign_sub(0.5)
    np.testing.assert_allclose(kernel.numpy(), w + 1.5, rtol=1e-6)
    np.asarray(kernel)[...] = 0  # a copy
    assert kernel.numpy().any()


def test_attributes_of_layers_weights_and_inputs():
    model = small()
    conv = model.layers[0]
    assert conv.variables == conv.trainable_variables == conv.weights and conv.non_trainable_variables == []
    conv.trainable = False
    assert conv.trainable_variables == [] and conv.non_trainable_weights == conv.weights
    norm = minicnn.Sequential([Input((3,)), layers.BatchNormalization()]).layers[0]
    assert [one.path.split("/")[1] for one in norm.non_trainable_variables] == ["moving_mean", "moving_variance"]
    assert conv.weights[0].dtype == "float32" and conv.weights[0].path == f"{conv.name}/kernel"
    x = Input((6, 6, 1))
    assert x.shape == conv(x).shape[:1] + (6, 6, 1) == (None, 6, 6, 1) and x.ndim == conv(x).ndim == 4
    assert Input((6, 6, 1), sparse=False, ragged=None, tensor=None, optional=False).shape == x.shape
    with pytest.raises(ValueError, match="layer x: tensor is not offered here: it must be None, not array"):
        Input(tensor=np.ones((2, 3)), shape=(3,), name="x")
    assert Input(batch_shape=(8, 3)).shape == (None, 3) and Input.from_config(x.get_config()).shape == x.shape


def test_float64():
    layer = layers.Conv2D(2, 3, dtype="float64")
    y = layer(RANDOM.standard_normal((1, 5, 5, 1)))
    assert y.dtype == layer.kernel.value.dtype == layer.kernel.gradient.dtype == "float64"
    layer.astype("float32")
    assert layer.kernel.value.dtype == layer.kernel.gradient.dtype == "float32"


def test_pixels_of_whole_numbers_go_in_as_floats():
    x = np.arange(12, dtype="uint8").reshape(3, 4)
    model = minicnn.Sequential([minicnn.Input((4,), dtype="uint8"), minicnn.Rescaling(0.5)])
    np.testing.assert_array_equal(model.predict(x), x / 2)
    assert model(x / 255.0).dtype == np.float32
    np.testing.assert_array_equal(minicnn.Rescaling(2.0)([[1.0, 2.0]]), [[2.0, 4.0]])
    with pytest.raises(ValueError, match="dtype must be float32 or float64, not 'float16'"):
        minicnn.Input((4,), dtype="float16")
    assert minicnn.Input((2,), dtype="bool").dtype == np.float32


def test_layers_without_weights_take_arrays_of_any_shape():
    for make, oracle in (
        (
            lambda: MaxPooling2D(2, name="mine"),
            lambda x: x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4)),
        ),
        (Flatten, lambda x: x.reshape(len(x), -1)),
    ):
        layer = make()
        for shape in ((1, 8, 8, 3), (2, 6, 4, 5), (1, 8, 8, 3)):
            x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
            np.testing.assert_array_equal(layer(x), oracle(x))
            assert layer.output_shape[1:] == oracle(x).shape[1:]
    pool = MaxPooling2D(2)
    assert pool(np.zeros((1, 4, 4, 1))).shape == (1, 2, 2, 1)
    model = Sequential([Input((8, 8, 1)), pool, Flatten(), Dense(2)])
    with pytest.raises(ValueError, match=r"expected an input of shape \(None, 8, 8, 1\), received \(1, 6, 6, 1\)"):
        pool(np.zeros((1, 6, 6, 1), np.float32))
    assert model.predict(np.zeros((1, 8, 8, 1))).shape == (1, 2)


@pytest.mark.parametrize(
    "first",
    [
        lambda **o: layers.Conv2D(2, 3, input_shape=(8, 8, 1), **o),
        lambda **o: layers.Conv2D(2, 3, batch_shape=(32, 8, 8, 1), **o),
        lambda **o: layers.Conv2D(2, 3, input_shape=(8, 8, 1), batch_size=32, **o),
        lambda **o: layers.Flatten(input_shape=(8, 8, 1), **o),
        lambda **o: layers.Rescaling(0.5, input_shape=[8, 8, 1], **o),
        lambda **o: layers.InputLayer((8, 8, 1), **o),
        lambda **o: layers.InputLayer(input_shape=(8, 8, 1), **o),
        lambda **o: layers.Input(batch_shape=(None, 8, 8, 1), **o),
        lambda **o: layers.Input(shape=(8, 8, 1), batch_size=7, **o),
    ],
)
def test_the_first_layer_says_the_shape(first, tmp_path):
    """Also of a layer that is not the first, where it says nothing."""
    model = minicnn.Sequential([first(name="first"), layers.Flatten(), layers.Dense(3, input_shape=(99,))])
    assert model.layers[-1].built and model.input_shape == (None, 8, 8, 1)
    x = RANDOM.standard_normal((4, 8, 8, 1)).astype("float32")
    expected = model.predict(x)
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(minicnn.load_model(tmp_path / "m.safetensors").predict(x), expected)


def test_the_length_of_samples_with_one_axis():
    model = minicnn.Sequential([Dense(3, input_dim=5)])
    assert model.output_shape == (None, 3) and model.input_shape == (None, 5)


@pytest.mark.parametrize("name", [*activations.NAMES])
def test_activations_by_name_and_function(name):
    function = getattr(minicnn.activations, name)
    assert activations.get(name) is function is activations.get(function)
    x = RANDOM.standard_normal((5, 7)).astype("float32")
    layer = layers.Activation(name)
    y = layer(x)
    assert_close(function(x), y)
    assert layer.get_config()["activation"] == layers.Activation(function).get_config()["activation"]
    by_name, by_function = (layers.Dense(4, activation=one, kernel_initializer=Ones()) for one in (name, function))
    np.testing.assert_array_equal(by_name(x), by_function(x))
    assert_close(by_name(x), function(x @ np.ones((7, 4), "float32")))


def test_activations_of_other_types():
    assert activations.get(None) is activations.linear
    assert_close(activations.relu([-1, 2]), np.array([0, 2]))
    assert_close(activations.gelu(np.array([1.0]), approximate=True), [0.8411919906082768], 1e-12)
    assert_close(activations.gelu(np.array([1.0])), [0.8413447460685429], 1e-12)
    with pytest.raises(ValueError, match="unknown activation 'swosh'; expected one of linear, relu, "):
        activations.get("swosh")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.PReLU("random_normal"),
        lambda: layers.PReLU("random_normal", shared_axes=[1, 2]),
        lambda: layers.PReLU("random_normal", shared_axes=[1]),
        lambda: layers.PReLU("random_normal", shared_axes=[2, 3]),
        lambda: layers.PReLU("random_normal", shared_axes=[1, 2, 3]),
        lambda: layers.GaussianNoise(0.3),
        lambda: layers.SpatialDropout2D(0.4),
    ],
)
def test_gradients_of_the_layers_with_slopes_and_noise(device_layer, make, training):
    assert check_layer(device_layer(make()), (3, 4, 5, 19), training=training) < 1e-6


@pytest.mark.parametrize("stddev", [0.1, 1.0])
def test_noise_is_normal_and_a_function_of_seed_and_step(device_layer, stddev):
    layer, twin = (device_layer(layers.GaussianNoise(stddev, seed=3)) for _ in range(2))
    x = layer.ops.array(np.full((200, 1001), 0.5))
    first, second = (layer.ops.numpy(layer(x, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, twin.ops.numpy(twin(x, training=True)))
    z = np.sort((np.concatenate([first, second]).reshape(-1) - 0.5) / stddev)
    size = z.size
    assert abs(z.mean()) < 4 / np.sqrt(size) and abs(z.var() - 1) < 4 * np.sqrt(2 / size)
    below = np.array([(1 + math.erf(t / math.sqrt(2))) / 2 for t in (-3, -2, -1, -0.5, 0, 0.5, 1, 2, 3)])
    found = np.searchsorted(z, [-3, -2, -1, -0.5, 0, 0.5, 1, 2, 3]) / size
    assert (np.abs(found - below) < 4 * np.sqrt(below * (1 - below) / size)).all()
    pairs = first.reshape(-1)[: size // 2] - 0.5
    for lag in (1, 2, 3, 4):  # of one pair of random numbers, of one counter
        assert abs((pairs[lag:] * pairs[:-lag]).mean()) < 4 * stddev**2 / np.sqrt(size / 2)
    np.testing.assert_array_equal(layer.ops.numpy(layer(x)), np.full((200, 1001), 0.5))  # inference
    np.testing.assert_array_equal(layer.ops.numpy(layer.backward(x)), layer.ops.numpy(x))


def test_noise_of_one_image_is_that_of_the_batch(ops):
    """It follows from the index alone, also where the first one is in the middle of a counter's four."""
    x = ops.array(np.zeros((7, 5)))
    y = ops.numpy(ops.gaussian_noise(x, 1.0, (3, 1, 0)))
    np.testing.assert_array_equal(y[:3], ops.numpy(ops.gaussian_noise(x[:3], 1.0, (3, 1, 0))))
    bits = naive.random_bits((3, 1, 0), 36)
    for k in range(35):
        radius = math.sqrt(-2 * math.log((bits[k - k % 2] + 0.5) / 2**32))
        angle = 2 * math.pi * bits[k - k % 2 + 1] / 2**32
        assert y.flat[k] == pytest.approx(radius * (math.sin if k % 2 else math.cos)(angle), rel=1e-12, abs=1e-14)


def test_spatial_dropout_drops_whole_channels(device_layer):
    layer = device_layer(layers.SpatialDropout2D(0.3, seed=3))
    x = np.random.default_rng(0).standard_normal((200, 3, 2, 101)) + 5
    y = layer.ops.numpy(layer(layer.ops.array(x), training=True))
    kept = np.reshape(naive.dropout_mask((3, 0, 0), 0.3, 200 * 101), (200, 1, 1, 101))
    assert_close(y, x * kept / 0.7)
    assert abs(kept.mean() - 0.7) < 4 * np.sqrt(0.21 / kept.size)
    assert_close(layer.ops.numpy(layer.backward(layer.ops.array(x))), x * kept / 0.7)
    assert_close(layer.ops.numpy(layer(layer.ops.array(x))), x)


def test_unshared_and_shared_slopes_of_prelu(device_layer):
    layer = device_layer(layers.PReLU(shared_axes=[1, 2]))
    layer.build((None, 2, 2, 3))
    assert layer.alpha.shape == (1, 1, 3)
    layer.set_weights([np.array([[[0.0, 0.5, -1.0]]])])
    y = layer.ops.numpy(layer(-layer.ops.array(np.ones((1, 2, 2, 3), "float32"))))
    np.testing.assert_array_equal(y[0, 0, 0], [0, -0.5, 1])


# ---------------------------------------------------------------------- one clear sentence


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: layers.Conv2D(0, 3), "filters must be a positive integer, not 0"),
        (lambda: layers.Conv2D(2.5, 3), "filters must be a positive integer, not 2.5"),
        (lambda: layers.Conv2D(2, (3, 0)), r"kernel_size must be a positive integer or a pair of them, not \(3, 0\)"),
        (lambda: layers.Conv2D(2, (3, 3, 3)), r"kernel_size must be a positive integer or a pair of them, not \(3, 3, 3\)"),
        (lambda: layers.Conv2D(2, 3, strides=0), "strides must be a positive integer or a pair of them, not 0"),
        (lambda: layers.Conv2D(2, 3, padding="full"), "padding must be 'valid' or 'same', not 'full'"),
        (lambda: layers.Conv2D(2, 3, padding=1), "padding must be 'valid' or 'same', not 1"),
        (lambda: layers.Conv2D(2, 3, data_format="channels_first"), "one layout, channels_last .* not 'channels_first'"),
        (lambda: layers.Conv2D(2, 3, groups=2), "groups must be 1, not 2"),
        (lambda: layers.Conv2DTranspose(2, 3, 2, output_padding=2), r"output_padding \(2, 2\) must be less than strides \(2, 2\)"),
        (lambda: layers.Conv2DTranspose(2, 3, 2, output_padding=-1), "output_padding must be an integer from 0 on or a pair of them, not -1"),
        (lambda: layers.Conv2DTranspose(2, 3, 2, dilation_rate=2), "strides .* and dilation_rate .* cannot both differ from 1"),
        (lambda: layers.Conv2DTranspose(2, 2, 1, "same", 0).build((None, 1, 4, 1)), r"no pixel is left of an input of shape \(None, 1, 4, 1\)"),
        (lambda: layers.Conv2DTranspose(2, 3, groups=1), "a Conv2DTranspose has no argument groups"),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "depth_multiplier must be a positive integer, not 0"),
        (lambda: layers.DepthwiseConv2D(3, strides=2, dilation_rate=2), "strides .* and dilation_rate .* cannot both differ from 1"),
        (lambda: layers.DepthwiseConv2D(3, kernel_initializer="zeros"), "a DepthwiseConv2D has no argument kernel_initializer"),
        (lambda: layers.SeparableConv2D(0, 3), "filters must be a positive integer, not 0"),
        (lambda: layers.SeparableConv2D(2, 3, depth_multiplier=1.5), "depth_multiplier must be a positive integer, not 1.5"),
        (lambda: layers.SeparableConv2D(2, 3, data_format="channels_first"), "one layout, channels_last"),
        (lambda: layers.Conv2D(2, 3, strides=2, dilation_rate=2), "strides .* and dilation_rate .* cannot both differ from 1"),
        (lambda: layers.Conv2D(2, 3, activation="swosh"), "unknown activation 'swosh'; expected one of linear, relu, "),
        (lambda: layers.Conv2D(2, 3, kernel_initializer="he"), "unknown initializer 'he'"),
        (lambda: layers.Dense(-1), "units must be a positive integer, not -1"),
        (lambda: layers.Dense(3, layers.PReLU(name="p")), "one of the layers ReLU, LeakyReLU, ELU, Softmax; add the layer p to the model"),
        (lambda: layers.Dense(3, {"class_name": "Swish", "config": {}}), "unknown activation layer Swish"),
        (lambda: layers.MaxPooling2D(0), "pool_size must be a positive integer or a pair of them, not 0"),
        (lambda: layers.Cropping2D(-1), "cropping must be a number, .* not -1"),
        (lambda: layers.Cropping2D(2).build((None, 4, 9, 1)), r"cropping \(\(2, 2\), \(2, 2\)\) leaves nothing of an input"),
        (lambda: layers.Resizing(0, 32), "height must be a positive integer, not 0"),
        (lambda: layers.CenterCrop(32, 3.5), "width must be a positive integer, not 3.5"),
        (lambda: layers.Resizing(8, 8, "bicubic", name="r"), "layer r: interpolation must be 'bilinear' or 'nearest', not 'bicubic'"),
        (lambda: layers.UpSampling2D(interpolation="lanczos3"), "interpolation must be 'bilinear' or 'nearest', not 'lanczos3'"),
        (lambda: layers.UpSampling2D((2, 0)), r"size must be a positive integer or a pair of them, not \(2, 0\)"),
        (lambda: layers.Resizing(8, 8, fill_mode="wrap"), "fill_mode must be 'constant', not 'wrap'"),
        (lambda: layers.Resizing(8, 8, "nearest", True, True), "cropped or padded to the aspect ratio, not both"),
        (lambda: layers.Resizing(8, 8, fill_value="white"), "fill_value must be a number, not 'white'"),
        (lambda: layers.MomentNormalization(0, name="m"), "layer m: width must be a positive number, not 0"),
        (lambda: layers.MomentNormalization(factors=2, name="m"), r"layer m: factors must be a pair \(lowest, highest\), not 2"),
        (lambda: layers.MomentNormalization(factors=(0, 2)), r"factors must be positive numbers, not \(0, 2\)"),
        (lambda: layers.Permute((0, 1)), r"dims must be the numbers from 1 on in some order, not \(0, 1\)"),
        (lambda: layers.Permute((2, 1)).build((None, 4, 9, 1)), r"dims \(2, 1\) are for 2 axes beside the batch"),
        (lambda: layers.LayerNormalization(axis=0).build((None, 4)), r"axis must be from 1 to 1 for an input of shape"),
        (lambda: layers.GroupNormalization(0, name="g"), "layer g: groups must be a whole number from 1 on, or -1, not 0"),
        (lambda: layers.GroupNormalization(name="g").build((None, 5, 5, 48)), r"layer g: the 48 channels of an input of shape "
            r"\(None, 5, 5, 48\), along the axis -1, cannot be put into 32 groups of one size"),
        (lambda: layers.UnitNormalization(4).build((None, 4)), "axis must be from 1 to 1 for an input of shape"),
        (lambda: layers.RandomBrightness(2), "factor must lie between -1 and 1, not 2"),
        (lambda: layers.RandomContrast((0.1, 2)), r"factor must be a number from 0 to 1 or a pair .* not \(0.1, 2\)"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), r"padding must be a number, .* not \(1, 2, 3\)"),
        (lambda: layers.ZeroPadding2D(-1), "padding must be a number, .* not -1"),
        (lambda: layers.Dropout(1.0, name="d"), "layer d: rate must be at least 0 and below 1, not 1.0"),
        (lambda: layers.Dropout(0.5, noise_shape=(1, 2)), r"noise_shape must be None.*not \(1, 2\); SpatialDropout2D drops whole channels"),
        (lambda: layers.SpatialDropout2D(1, name="s"), "layer s: rate must be at least 0 and below 1, not 1"),
        (lambda: layers.AlphaDropout(0.5, (1, 2)), r"noise_shape must be None.*not \(1, 2\)"),
        (lambda: layers.AlphaDropout(1, name="a"), "layer a: rate must be at least 0 and below 1, not 1"),
        (lambda: layers.GaussianDropout("half", name="g"), "layer g: rate must be at least 0 and below 1, not 'half'"),
        (lambda: layers.GaussianNoise(-1, name="n"), "layer n: stddev must be a number from 0 on, not -1"),
        (lambda: layers.Flatten("channels_first", name="f"), r"layer f: .* are turned by x.transpose\(0, 2, 3, 1\)"),
        (lambda: layers.Dense(3, unit=4, name="d"), "^layer d: a Dense has no argument unit$"),
        (lambda: layers.Conv2D(nb_filter=3, nb_row=3, nb_col=3), "^a Conv2D has no argument nb_filter; it is called filters today$"),
        (lambda: layers.Conv2D(3, nb_row=3, nb_col=3, name="c"), "^layer c has no argument nb_row; it is called kernel_size today$"),
        (lambda: layers.Conv2D(3, 3, border_mode="same"), "no argument border_mode; it is called padding today"),
        (lambda: layers.Conv2D(3, 3, subsample=(2, 2)), "no argument subsample; it is called strides today"),
        (lambda: layers.Conv2D(3, 3, dim_ordering="tf"), "no argument dim_ordering; it is called data_format today"),
        (lambda: layers.Dense(3, init="uniform"), "no argument init; it is called kernel_initializer today"),
        (lambda: layers.Dense(3, W_regularizer="l2"), "no argument W_regularizer; it is called kernel_regularizer today"),
        (lambda: layers.Dense(output_dim=3), "no argument output_dim; it is called units today"),
        (lambda: layers.Dropout(p=0.5), "no argument p; it is called rate today"),
        (lambda: layers.ReLU(alpha=0.5), "a ReLU has no argument alpha$"),
        (lambda: layers.Dense(3, input_shape=7, name="d"), r"layer d: input_shape must be a tuple of sizes, .* not 7"),
        (lambda: layers.Input(name="i"), r"layer i: an Input needs the shape of one sample"),
        (lambda: layers.Dense(3, activity_regularizer="l3"), "unknown regularizer 'l3'; expected one of l1, l2"),
        (lambda: layers.ActivityRegularization(l2=-1), "the factor l2 of a regularizer must be a number from 0 on, not -1"),
        (lambda: layers.BatchNormalization(beta_constraint="c", name="b"), "unknown constraint 'c'; expected one of max_norm"),
        (lambda: layers.Dense(3, activation=np.cbrt), "takes a name or a function of minicnn.activations, not <ufunc 'cbrt'>"),
        (lambda: layers.Dense(3, kernel_regularizer="l3"), "unknown regularizer 'l3'; expected one of l1, l2"),
        (lambda: layers.Dropout(-0.1), "rate must be at least 0 and below 1, not -0.1"),
        (lambda: layers.Activation("swosh"), "unknown activation 'swosh'"),
        (lambda: layers.ReLU(negative_slope=-1), "negative_slope must not be negative, not -1"),
        (lambda: layers.Conv2D(4, None), "kernel_size must be a positive integer or a pair of them, not None"),
        (lambda: layers.Reshape(784), "target_shape must be a tuple of sizes, one of which may be -1, not 784"),
        (lambda: layers.Reshape((-2, 2)), r"target_shape must be a tuple of sizes, one of which may be -1, not \(-2, 2\)"),
        (lambda: layers.Dropout(None), "rate must be at least 0 and below 1, not None"),
        (lambda: layers.GaussianNoise("much"), "stddev must be a number from 0 on, not 'much'"),
        (lambda: layers.Dense(2, dtype="foo", name="d"), "layer d: dtype must be float32 or float64, not 'foo'"),
        (lambda: layers.Dense(2, name="d").astype("float16"), "layer d: dtype must be float32 or float64, not 'float16'"),
        (lambda: layers.Dense(2, input_shape=np.int64(3)), "input_shape must be a tuple of sizes, .* not .*3"),
        (lambda: layers.PReLU(shared_axes=[1.5]), r"shared_axes must be a number of an axis, or some, not \[1.5\]"),
        (lambda: layers.Rescaling([1, 2]), r"scale must be a number, not \[1, 2\]"),
        (lambda: layers.LeakyReLU(None, name="l"), "layer l: negative_slope must be a number, not None"),
        (lambda: layers.ReLU("6"), "max_value must be a number, not '6'"),
        (lambda: layers.ELU([1.0]), r"alpha must be a number, not \[1.0\]"),
        (lambda: layers.BatchNormalization(momentum="high"), "momentum must be a number, not 'high'"),
        (lambda: layers.BatchNormalization(epsilon=None), "epsilon must be a number, not None"),
        (lambda: layers.RandomRotation(None), "factor must be a number from 0 on or a pair .* not None"),
        (lambda: layers.RandomZoom((0.1, (0, 0.2))), r"must be a number from 0 on or a pair .* not \(0.1, \(0, 0.2\)\)"),
        (lambda: layers.Dense(3, ["relu"]), r"unknown activation \['relu'\]; expected one of linear, relu, "),
        (lambda: layers.Dense(3, {"config": {}}), "expected a description, with a class_name .* a dictionary with config$"),
        (lambda: layers.Dense(3, kernel_regularizer={}), "expected a description, with a class_name .* a dictionary with nothing$"),
        (lambda: layers.Dense(3, kernel_constraint={"class_name": "NonNeg"}), "and a config, got a dictionary with class_name$"),
        (lambda: layers.Dropout(0.5, seed=1.5, name="d"), "layer d: seed must be a whole number, or None, not 1.5"),
        (lambda: layers.RandomFlip(seed=[1]), r"seed must be a whole number, or None, not \[1\]"),
        (lambda: layers.RandomRotation(0.1, fill_value="black"), "fill_value must be a number, not 'black'"),
        (lambda: layers.BatchNormalization(1.5).build((None, 4, 4, 1)), "axis must be from 1 to 3 .*, not 1.5"),
        (lambda: layers.Normalization("x").build((None, 4)), r"axis must be from 1 to 1 .*, not \['x'\]"),
    ],
)  # fmt: skip
def test_bad_settings(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda one: layers.Conv2D(one(4), one(3), strides=one(1), dilation_rate=(one(1), 1)),
        lambda one: layers.ZeroPadding2D(one(1)),
        lambda one: layers.ZeroPadding2D((one(1), 2)),
        lambda one: layers.PReLU(shared_axes=one(1)),
        lambda one: layers.Dropout(np.array(one(0))),
        lambda one: layers.RandomZoom(one(1)),
        lambda one: layers.RandomErasing(one(1), (0.02, one(1))),
        lambda one: layers.RandomGaussianNoise(one(1), one(1)),
        lambda one: layers.Reshape((one(2), -1)),
        lambda one: layers.BatchNormalization(axis=-one(1)),
        lambda one: layers.Rescaling(one(1)),
        lambda one: layers.Normalization(axis=-one(1)),
        lambda one: layers.LeakyReLU(one(1)),
    ],
)
def test_numbers_of_numpy_are_numbers(make):
    own = {"name": "", "seed": 0}
    assert make(np.int64).get_config() | own == make(int).get_config() | own


def test_croppings_of_numpy_are_numbers():
    cropped = minicnn.Cropping2D(np.int64(1))
    assert cropped.get_config()["cropping"] == ((1, 1), (1, 1)) and type(cropped.cropping[0][0]) is int


@pytest.mark.parametrize("axis", [np.int64(-1), np.array([1, 2]), (np.int32(1), 2)])
def test_axes_of_numpy_are_axes(axis):
    x = np.random.default_rng(0).standard_normal((5, 3, 2))
    layer = layers.Normalization(axis, dtype="float64")
    layer.adapt(x)
    others = tuple({0, 1, 2} - {int(one) % 3 for one in np.ravel(axis)})
    assert_close(layer(x), (x - x.mean(others, keepdims=True)) / x.std(others, keepdims=True), 1e-12)


class Cube(Layer):
    input_rank = 3


def two_ones(shape, dtype=None):
    return np.ones(2, dtype)


@pytest.mark.parametrize(
    "layer, shape, sentence",
    [
        (Cube(name="c"), (None, 2, 2, 2), r"layer c: expected an input of 3 axes, received \(None, 2, 2, 2\)"),
        (layers.Conv2D(2, 3, name="c"), (None, 28), r"layer c: expected .* \(batch, height, width, channels\), received \(None, 28\)"),
        (layers.Conv2D(2, 3, name="c"), (None, 28, 28), r"received \(None, 28, 28\): grey images have one channel, x\[\.\.\., None\]"),
        (layers.Conv2D(2, 5, name="c"), (None, 4, 8, 1), r"layer c: a window of 5×5 does not fit .* \(None, 4, 8, 1\); use padding='same'"),
        (layers.Conv2D(2, 3, dilation_rate=2, name="c"), (None, 8, 4, 1), r"layer c: a window of 5×5 does not fit"),
        (layers.MaxPooling2D(3, name="p"), (None, 2, 8, 1), r"layer p: a window of 3×3 does not fit into an input of shape \(None, 2, 8, 1\)"),
        (layers.GlobalMaxPooling2D(name="g"), (None, 3, 4), r"layer g: .*received"),
        (layers.Reshape((7, 4), name="r"), (None, 3, 9), r"layer r: an input of shape \(None, 3, 9\) cannot be reshaped to \(7, 4\)"),
        (layers.Reshape((-1, 4), name="r"), (None, 3, 9), r"layer r: an input of shape \(None, 3, 9\) cannot be reshaped to \(-1, 4\)"),
        (layers.Dense(2, name="d"), (None, None), r"layer d: a model is built for samples of one size, .* received \(None, None\)"),
        (layers.PReLU(shared_axes=[3], name="p"), (None, 3, 4), r"layer p: shared_axes must be from 1 to 2 .*\(None, 3, 4\), not 3"),
        (layers.Dense(3, kernel_initializer=two_ones, name="d"), (None, 4), r"layer d: .* asked for shape \(4, 3\) and gave \(2,\)"),
        (layers.BatchNormalization(axis=4, name="b"), (None, 3, 4, 5), "layer b: axis must be from 1 to 3 .*, not 4"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)  # fmt: skip
def test_inputs_that_do_not_fit(layer, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        layer.build(shape)


@pytest.mark.parametrize(
    "layer, built, given",
    [
        (layers.Conv2D(2, 3, name="one"), (None, 8, 8, 3), (2, 8, 8, 1)),
        (layers.Dense(2, name="one"), (None, 8), (2, 9)),
        (layers.MaxPooling2D(name="one"), (None, 8, 8, 3), (2, 8, 9, 3)),
        (layers.BatchNormalization(name="one"), (None, 8), (2, 9)),
        (layers.Reshape((8,), name="one"), (None, 2, 4), (2, 4, 2)),
        (layers.ZeroPadding2D(name="one"), (None, 8, 8, 3), (2, 8, 3)),
        (layers.Flatten(name="one"), (None, 2, 4), (2, 4, 4)),
        (layers.Input((3,), name="one"), (None, 3), (2, 4)),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else type(value).__name__,
)
def test_a_layer_built_for_another_shape(layer, built, given):
    layer.build(built)
    with pytest.raises(ValueError, match="layer one: expected an input of shape") as error:
        layer.forward(np.zeros(given, "float32"))
    assert str(built) in str(error.value) and str(given) in str(error.value)


def test_unit_normalization_of_nothing_but_zeros():
    layer, x = layers.UnitNormalization(), np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(layer(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(layer.backward(np.ones((2, 2))), [[0.032, -0.024], [0, 0]])  # (dy - y Σ dy y) / 5


def test_a_layer_takes_one_input():
    x = layers.Input((3,))
    for call in (
        lambda layer: layer(x, x),
        lambda layer: layer(np.ones((2, 3)), np.ones((2, 3))),
        lambda layer: layer([x, x]),
    ):
        with pytest.raises(
            ValueError, match="layer one: a model is one chain of layers here, and no layer takes several inputs"
        ):
            call(layers.Dense(2, name="one"))


def test_a_layer_that_was_not_built():
    with pytest.raises(
        ValueError, match=r"layer d has not been built: call build\(input_shape\), or the layer itself, first"
    ):
        layers.Dense(2, name="d").forward(np.zeros((1, 2), "float32"))


def test_a_layer_that_defines_nothing():
    with pytest.raises(TypeError, match=r"layer \w+ does not define forward\(x, training\)"):
        Layer()(np.zeros((1, 2)))


@pytest.mark.parametrize(
    "make, setting",
    [
        (lambda: minicnn.Conv2D(3, 0, name="c"), "kernel_size"),
        (lambda: minicnn.Conv2D(3, 3, padding="full", name="c"), "padding"),
        (lambda: minicnn.Conv2D(3, 3, strides=2, dilation_rate=2, name="c"), "strides"),
        (lambda: minicnn.MaxPooling2D(0, name="c"), "pool_size"),
        (lambda: minicnn.RandomGaussianBlur(kernel_size="a", name="c"), "kernel_size"),
    ],
)
def test_errors_name_the_layer(make, setting):
    with pytest.raises(ValueError, match=f"^layer c: {setting}"):
        make()


@pytest.mark.parametrize(
    "layer, setting, value",
    [
        (layers.Conv2D(2, 3, name="c"), "padding", "same"),
        (layers.Conv2DTranspose(2, 3, strides=2, name="c"), "strides", (1, 1)),
        (layers.DepthwiseConv2D(3, name="c"), "kernel_size", (5, 5)),
        (layers.MaxPooling2D(name="c"), "pool_size", (3, 3)),
        (layers.GlobalMaxPooling2D(name="c"), "keepdims", True),
        (layers.ZeroPadding2D(name="c"), "padding", ((2, 0), (2, 0))),
        (layers.Cropping2D(1, name="c"), "cropping", ((2, 0), (2, 0))),
        (layers.Permute((2, 1, 3), name="c"), "dims", (1, 2, 3)),
        (layers.Reshape((8, 9), name="c"), "target_shape", (9, 8)),
        (layers.UpSampling2D(name="c"), "size", (3, 3)),
        (layers.Resizing(3, 4, name="c"), "width", 5),
        (layers.CenterCrop(3, 4, name="c"), "height", 5),
        (layers.Conv2D(2, 3, name="c"), "filters", 3),
        (layers.Dense(2, name="c"), "units", 3),
    ],
)
def test_a_built_layer_keeps_what_its_memory_was_laid_out_for(layer, setting, value):
    setattr(layer, setting, getattr(layer, setting))
    layer.build((None, 6, 6, 2))
    with pytest.raises(ValueError, match=f"^layer c: {setting} says what shape comes out"):
        setattr(layer, setting, value)

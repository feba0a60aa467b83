"""Every layer's gradients pass the public gradient check in float64, and the check finds the errors planted for it.

Inputs and biases keep all numbers away from kinks by construction, so that nothing here depends on luck.
"""

import copy
import re

import numpy as np
import pytest
from cuda_emulator import EmulatedKernels
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import gradcheck, layers
from minicnn.gradcheck import GradientError, check_layer, check_model, smooth_input
from minicnn.layers.activation import BY_NAME

BOUND = 1e-6
ACTIVATIONS = sorted(BY_NAME)
images = st.tuples(st.integers(1, 2), st.integers(3, 6), st.integers(3, 6), st.integers(1, 3))  # (N, H, W, C)


def error_of(layer, x, **options):
    """`check_layer`; on the GPU's emulator, which is slow, along random directions alone, for tensors of any size."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(getattr(layer.ops, "kernels", None), EmulatedKernels):
            patch.setattr(gradcheck, "SMALL", 0)
        return check_layer(layer, x, **options)


def away_from_kinks(layer, x, kinks=(0.0,)):
    """Moves each bias so that no sum comes near a kink of the activation that follows: into the middle of a wide gap."""
    layer.astype("float64")
    layer.build((None, *x.shape[1:]))
    plain = copy.deepcopy(layer)
    plain.fused_relu = False
    sums = plain.ops.numpy(plain.linear(plain.ops.array(x))).reshape(-1, layer.bias.shape[0])
    bias = np.zeros(layer.bias.shape)
    for f, column in enumerate(sums.T):
        shifts = np.linspace(-0.5, 0.5, 401)
        nearest = [min(np.abs(column + shift - kink).min() for kink in kinks) for shift in shifts]
        bias[f] = shifts[int(np.argmax(nearest))]
        assert max(nearest) > 1e-4
    layer.bias.value = layer.ops.array(bias)
    return layer


def kinks_of(activation):
    return {"relu6": (0.0, 6.0), "hard_sigmoid": (-3.0, 3.0), "hard_silu": (-3.0, 3.0)}.get(activation, (0.0,))


@settings(max_examples=6)
@given(
    shape=images,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    filters=st.integers(1, 3),
    activation=st.sampled_from(ACTIVATIONS),
)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "window",
    [{"strides": s} for s in (1, 2, 3, 4, (1, 2))] + [{"dilation_rate": d} for d in (2, 3, (2, 1))],
    ids=str,
)
def test_convolution(device_layer, window, padding, shape, kernel, filters, activation):
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, np.broadcast_to(window.get("dilation_rate", 1), 2), strict=True)]
    N, H, W, C = shape
    if padding == "valid":
        H, W = max(H, reach[0]), max(W, reach[1])
    x = smooth_input((N, H, W, C))
    layer = layers.Conv2D(filters, kernel, padding=padding, activation=activation, **window)
    assert error_of(away_from_kinks(device_layer(layer), x, kinks_of(activation)), x) < BOUND


@settings(max_examples=5)
@given(
    shape=images,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    multiplier=st.integers(1, 3),
    activation=st.sampled_from(ACTIVATIONS),
)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window", [{}, {"strides": 2}, {"strides": (1, 3)}, {"dilation_rate": (2, 1)}], ids=str)
@pytest.mark.parametrize("separable", [False, True], ids=["depthwise", "separable"])
def test_depthwise_and_separable_convolution(
    device_layer, separable, window, padding, shape, kernel, multiplier, activation
):
    N, H, W, C = shape
    x = smooth_input((N, H + 2, W, C))
    settings = {"padding": padding, "depth_multiplier": multiplier, "activation": activation} | window
    layer = layers.SeparableConv2D(2, kernel, **settings) if separable else layers.DepthwiseConv2D(kernel, **settings)
    assert error_of(away_from_kinks(device_layer(layer), x, kinks_of(activation)), x) < BOUND


@settings(max_examples=5)
@given(
    shape=images,
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    filters=st.integers(1, 3),
    activation=st.sampled_from(ACTIVATIONS),
)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "window",
    [{}, {"strides": 2}, {"strides": (1, 3)}, {"strides": (2, 3), "output_padding": (0, 2)}, {"dilation_rate": (2, 1)}],
    ids=str,
)
def test_transposed_convolution(device_layer, window, padding, shape, kernel, filters, activation):
    x = smooth_input(shape)
    layer = layers.Conv2DTranspose(filters, kernel, padding=padding, activation=activation, **window)
    assert error_of(away_from_kinks(device_layer(layer), x, kinks_of(activation)), x) < BOUND


@settings(max_examples=5)
@given(shape=st.sampled_from([(1, 3), (5, 4), (17, 2), (2, 3, 4)]), units=st.sampled_from([1, 2, 5]))
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense(device_layer, activation, shape, units):
    x = smooth_input(shape)
    layer = layers.Dense(units, activation=activation)
    assert error_of(away_from_kinks(device_layer(layer), x, kinks_of(activation)), x) < BOUND


@settings(max_examples=6)
@given(shape=images)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size, strides", [(2, None), (3, 1), (3, 2), ((1, 2), (3, 3)), ((3, 2), (2, 1))])
@pytest.mark.parametrize("cls", [layers.MaxPooling2D, layers.AveragePooling2D])
def test_pooling(device_layer, cls, size, strides, padding, shape):
    assert error_of(device_layer(cls(size, strides, padding)), shape) < BOUND


@settings(max_examples=5)
@given(shape=images)
@pytest.mark.parametrize(
    "make",
    {
        "global average": layers.GlobalAveragePooling2D,
        "global average, kept": lambda: layers.GlobalAveragePooling2D(keepdims=True),
        "global maximum": layers.GlobalMaxPooling2D,
        "global maximum, kept": lambda: layers.GlobalMaxPooling2D(keepdims=True),
        "flatten": layers.Flatten,
        "reshape": lambda: layers.Reshape((-1, 1)),
        "zero padding": lambda: layers.ZeroPadding2D(((1, 0), (2, 3))),
        "cropping": lambda: layers.Cropping2D(((0, 0), (0, 0))),
        "resizing": lambda: layers.Resizing(4, 7),
        "resizing, padded": lambda: layers.Resizing(3, 4, pad_to_aspect_ratio=True, fill_value=0.5, antialias=True),
        "resizing, cropped, to the nearest": lambda: layers.Resizing(5, 3, "nearest", True),
        "centre": lambda: layers.CenterCrop(2, 3),
        "up": layers.UpSampling2D,
        "up, bilinear": lambda: layers.UpSampling2D((2, 3), interpolation="bilinear"),
        "permutation": lambda: layers.Permute((3, 1, 2)),
        "identity": layers.Identity,
        "layer normalisation": layers.LayerNormalization,
        "layer normalisation of images": lambda: layers.LayerNormalization((1, 2, 3), scale=False),
        "layer normalisation of columns": lambda: layers.LayerNormalization(1, center=False),
        "group normalisation": lambda: layers.GroupNormalization(1),
        "group normalisation of rows": lambda: layers.GroupNormalization(-1, 1, scale=False),
        "unit normalisation": layers.UnitNormalization,
        "unit normalisation of images": lambda: layers.UnitNormalization((1, 2, 3)),
        "brightness": lambda: layers.RandomBrightness(0.3, (-2, 2)),
        "contrast": lambda: layers.RandomContrast(0.4, (-1.5, 1.5)),
        "rescaling": lambda: layers.Rescaling(0.3, 2.0),
        "dropout": lambda: layers.Dropout(0.4),
        "alpha dropout": lambda: layers.AlphaDropout(0.4),
        "gaussian dropout": lambda: layers.GaussianDropout(0.4),
        "translation": lambda: layers.RandomTranslation(0.2, 0.3),
        "rotation": lambda: layers.RandomRotation(0.1, "constant"),
        "zoom": lambda: layers.RandomZoom(0.2, fill_mode="wrap"),
        "batch normalisation": layers.BatchNormalization,
        "batch normalisation of rows": lambda: layers.BatchNormalization(axis=1),
        "batch normalisation, bare": lambda: layers.BatchNormalization(center=False, scale=False),
        "relu": layers.ReLU,
        "relu with all": lambda: layers.ReLU(0.6113, 0.1, 0.2371),
        "leaky relu": layers.LeakyReLU,
        "elu": lambda: layers.ELU(0.7),
        "softmax": layers.Softmax,
        "softmax over rows": lambda: layers.Softmax(axis=1),
        **{f"activation {name}": lambda name=name: layers.Activation(name) for name in ACTIVATIONS},
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("training", [True, False])
def test_the_other_layers(device_layer, training, make, shape):
    assert error_of(device_layer(make[1]()), shape, training=training) < BOUND


@pytest.mark.parametrize(
    "layer",
    [layers.Conv2D(16, 3, padding="same"), layers.DepthwiseConv2D(3, padding="same"), layers.DepthwiseConv2D(5, 2),
     layers.SeparableConv2D(16, 3, activation="tanh"), layers.Conv2DTranspose(16, 3, padding="same"),
     layers.Conv2DTranspose(9, 5, 2, activation="tanh"), layers.Dense(70), layers.BatchNormalization()],
)  # fmt: skip
def test_large_tensors_along_random_directions(layer):
    assert check_layer(layer, (17, 9, 10, 16)) < BOUND


def small_model(*middle, loss="sparse_categorical_crossentropy", last="softmax", **compiling):
    model = minicnn.Sequential([layers.Input((5, 6, 2)), *middle, layers.Flatten(), layers.Dense(3, activation=last)])
    model.compile("adam", compiling.pop("loss_object", loss), **compiling)
    return model


MODELS = {
    "dense": lambda: small_model(),
    "convolution and pooling": lambda: small_model(
        layers.Conv2D(3, 3, padding="same", activation="tanh"), layers.MaxPooling2D()
    ),
    "batch normalisation": lambda: small_model(
        layers.Conv2D(3, 3, use_bias=False), layers.BatchNormalization(), layers.ELU()
    ),
    "batch normalisation after a bias": lambda: small_model(layers.Conv2D(3, 3), layers.BatchNormalization()),
    "depthwise and separable convolutions": lambda: small_model(
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="tanh"),
        layers.SeparableConv2D(3, (2, 3), use_bias=False),
        layers.BatchNormalization(),
    ),
    "transposed convolutions": lambda: small_model(
        layers.Conv2D(4, 3, strides=2, padding="same", activation="tanh"),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid"),
        layers.Conv2DTranspose(2, (2, 3), use_bias=False),
    ),
    "dropout": lambda: small_model(layers.Conv2D(3, 3, strides=2, activation="sigmoid"), layers.Dropout(0.5)),
    "no softmax": lambda: small_model(
        last=None, loss_object=minicnn.losses.SparseCategoricalCrossentropy(from_logits=True)
    ),
    "label smoothing": lambda: small_model(
        layers.AveragePooling2D(), loss_object=minicnn.losses.SparseCategoricalCrossentropy(label_smoothing=0.2)
    ),
    "probabilities of another kind": lambda: small_model(last="sigmoid"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    y = np.array([0, 2, 1, 1])
    assert check_model(MODELS[name](), smooth_input((4, 5, 6, 2)), y) < BOUND


def test_a_model_with_one_hot_targets():
    model = small_model(loss="categorical_crossentropy")
    assert check_model(model, smooth_input((4, 5, 6, 2)), np.eye(3)[[0, 2, 1, 1]]) < BOUND


# ---------------------------------------------------------------------- planted errors


class Square(layers.Layer):
    """y = factor · x², with one gradient spoiled as it is told."""

    def __init__(self, spoil=None, **options):
        super().__init__(**options)
        self.spoil = spoil

    def build(self, input_shape):
        super().build(input_shape)
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def forward(self, x, training=False):
        self.x = x
        return self.factor.value * x * x

    def backward(self, dy):
        dfactor = (dy * self.x**2).reshape(-1, dy.shape[-1]).sum(axis=0)
        dx = 2 * self.factor.value * self.x * dy
        if self.spoil == "input":
            dx[1, 2] *= 1.001
        if self.spoil == "parameter":
            dfactor[3] += 0.01 * abs(dfactor).max()
        if self.spoil == "nan":
            dx[0, 1] = np.nan
        if self.spoil == "shape":
            dx = dx[:, :-1]
        if self.spoil == "everywhere":
            dx = -dx
        self.factor.gradient = dfactor
        return dx


def test_a_right_layer_of_ones_own():
    assert check_layer(Square(name="square"), (3, 4)) < BOUND


def numbers_of(error):
    backward, difference = re.search(r"backward gives (\S+), the difference quotient (\S+) ", str(error.value)).groups()
    return float(backward), float(difference)


def test_a_wrong_number_in_the_input_gradient_is_found():
    with pytest.raises(GradientError, match=r"^layer square, input\[1, 2\]: backward gives") as error:
        check_layer(Square("input", name="square"), (3, 4))
    backward, difference = numbers_of(error)
    assert backward == pytest.approx(1.001 * difference, rel=1e-6)


def test_a_wrong_number_in_a_parameter_gradient_is_found():
    with pytest.raises(GradientError, match=r"^layer square, square/factor\[3\]: backward gives") as error:
        check_layer(Square("parameter", name="square"), (3, 4))
    x, u = smooth_input((3, 4)), np.random.default_rng(1).standard_normal((3, 4))  # as drawn by the check with seed 0
    gradient = (u * x * x).sum(axis=0)
    backward, difference = numbers_of(error)
    assert difference == pytest.approx(gradient[3], rel=1e-6)
    assert backward == pytest.approx(gradient[3] + 0.01 * np.abs(gradient).max(), rel=1e-6)


def test_a_wrong_number_in_a_large_tensor_is_found():
    with pytest.raises(GradientError, match=r"^layer square, input along random direction \d: backward gives"):
        check_layer(Square("input", name="square"), (50, 60))


def test_nan_is_found():
    with pytest.raises(
        GradientError, match=r"layer square, input\[\d, \d\]: backward gives nan, the difference quotient \S+"
    ):
        check_layer(Square("nan", name="square"), (3, 4))


def test_a_wrong_shape_is_found():
    message = r"^layer square: the gradient for an input of shape \(3, 4\) has shape \(3, 3\)$"
    with pytest.raises(GradientError, match=message):
        check_layer(Square("shape", name="square"), (3, 4))


@pytest.mark.parametrize(
    "spoil, tensor", [("input", r"dense\w*/kernel"), ("parameter", "square/factor"), ("everywhere", "input")]
)
def test_errors_in_a_model_are_found(spoil, tensor):
    before = [layers.Dense(4)] if spoil == "input" else []
    model = minicnn.Sequential(
        [layers.Input((4,)), *before, Square(spoil, name="square"), layers.Dense(3, activation="softmax")], name="small"
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(
        GradientError, match=rf"^model small, ({tensor}|input)\[[\d, ]+\]: backward gives \S+, the difference"
    ):
        check_model(model, smooth_input((3, 4)), [0, 1, 2])


# ---------------------------------------------------------------------- what the check leaves behind


def state_of(layer):
    return [
        (p.name, p.value.dtype, p.value.tobytes(), p.gradient is None or p.gradient.tobytes()) for p in layer.parameters
    ]


@pytest.mark.parametrize(
    "make", [lambda: layers.Conv2D(2, 3), lambda: layers.BatchNormalization(), lambda: layers.Dropout(0.5)]
)
def test_the_layer_is_left_as_it_was(make):
    layer = make()
    check_layer(layer, (2, 5, 4, 3))
    assert not layer.built and layer.parameters == []
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 3)).astype("float32")
    layer.backward(layer(x, training=True))
    before, step = state_of(layer), getattr(layer, "step", None)
    check_layer(layer, x)
    assert state_of(layer) == before and getattr(layer, "step", None) == step and layer.dtype == "float32"


def test_the_model_is_left_as_it_was():
    model = small_model(layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Dropout(0.3))
    x, y = smooth_input((4, 5, 6, 2)).astype("float32"), np.array([0, 2, 1, 1])
    model.train_on_batch(x, y)
    before = [state_of(layer) for layer in model.layers]
    moments = {name: moment.tobytes() for name, moment in model.optimizer.state.items()}
    check_model(model, x, y, tolerance=1)
    assert [state_of(layer) for layer in model.layers] == before
    assert {name: moment.tobytes() for name, moment in model.optimizer.state.items()} == moments
    twin = copy.deepcopy(model)
    assert twin.train_on_batch(x, y) == model.train_on_batch(x, y)


@pytest.mark.parametrize("shape", [(1,), (5,), (4, 3), (7, 3, 3)])
def test_smooth_inputs_keep_their_distance(shape):
    values = np.sort(smooth_input(shape).reshape(-1))
    size = values.size
    assert np.diff(values).min(initial=2) >= 1 / size - 1e-12
    assert np.abs(values).min() >= 0.5 / size - 1e-12 and np.abs(values).max() <= 1

"""Small networks with every layer, optimizer and loss, for the tests that hold for all of them alike.

Batches are no multiple of the engine's groups, images no multiple of a tile.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minicnn
from minicnn import Sequential, get_ops, layers
from minicnn.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from minicnn.optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Ftrl, Lion, Nadam, Optimizer, RMSprop
from minicnn.optimizers.schedules import CosineDecay
from minicnn.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

CLASSES = 3
CPU = get_ops("cpu")


class Scale(layers.Layer):
    """The layer in the documentation of `Layer`: a factor per channel."""

    def build(self, input_shape):
        super().build(input_shape)
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def forward(self, x, training=False):
        self.x = x
        return x * self.factor.value

    def backward(self, dy):
        self.factor.gradient = (dy * self.x).sum(axis=tuple(range(dy.ndim - 1)))
        return dy * self.factor.value


class Halves(layers.Conv2D):
    """A convolution that halves its result."""

    def linear(self, x):
        return super().linear(x) / 2

    def linear_backward(self, dy, input_gradient=True):
        return super().linear_backward(dy / 2, input_gradient)


class Offset(layers.Dense):
    """A dense layer whose sums are larger by one, the first by two."""

    def linear(self, x):
        return super().linear(x) + (np.arange(self.units) == 0).astype(x.dtype) + 1


class Signs(Optimizer):
    """w = w - η · (sign of a running mean of g)"""

    moments = ("mean",)

    def apply(self, w, g, learning_rate):
        mean = self.state["mean"]
        mean += (g - mean) / self.iterations
        w -= learning_rate * np.sign(mean)


class Clipped(SGD):
    """No gradient is larger than 0.01."""

    def update(self, w, g):
        np.clip(g, -0.01, 0.01, out=g)
        super().update(w, g)


class Sparing(Adam):
    """Biases do not decay."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.exclude_from_weight_decay(var_names=["bias"])


class Slower(Nadam):
    """Half the learning rate: what it has of its own is a number in the settings."""

    def settings(self, learning_rate):
        return super().settings(learning_rate / 2)


class Doubled(SparseCategoricalCrossentropy):
    """Twice the loss."""

    def value_and_gradient(self, *arguments, **options):
        loss, gradient = super().value_and_gradient(*arguments, **options)
        return 2 * loss, 2 * gradient


class Cubes(Regularizer):
    """0.01 Σ|w|³"""

    def __call__(self, x):
        return 0.01 * (abs(x) ** 3).sum()

    def gradient(self, x):
        return 0.03 * x * abs(x)


class Network(NamedTuple):
    image: tuple[int, ...]
    layers: Callable[[], list[layers.Layer]]
    optimizer: Callable[[], Any] = lambda: SGD(0.1, 0.9)
    loss: Callable[[], Any] = SparseCategoricalCrossentropy
    bytes: bool = False  # whether the images are uint8
    frozen: tuple[int, ...] = ()  # numbers of layers that are not trained

    def model(self, dtype="float32"):
        minicnn.set_random_seed(5)
        model = Sequential([layers.Input(self.image), *self.layers()]).astype(dtype)
        for number in self.frozen:
            model.layers[number].trainable = False
        model.compile(self.optimizer(), self.loss(), metrics=["accuracy"])
        random = np.random.default_rng(1)
        model.set_weights([w + 0.1 * random.random(w.shape) for w in model.get_weights()])  # biases begin as zeros
        return model

    def data(self, images=19, dtype="float32", seed=0):
        random = np.random.default_rng(seed)
        x = (
            random.integers(0, 256, (images, *self.image))
            if self.bytes
            else random.standard_normal((images, *self.image))
        )
        y = random.integers(0, CLASSES, images)
        y = np.eye(CLASSES)[y] if isinstance(self.loss(), CategoricalCrossentropy) else y
        return x.astype("uint8" if self.bytes else dtype), y


def top(*before, activation="softmax"):
    return [*before, layers.Flatten(), layers.Dense(CLASSES, activation=activation)]


L = layers
NETWORKS = {
    "lenet": Network(
        (12, 12, 1),
        lambda: top(
            L.Conv2D(6, 5, padding="same", activation="relu"),
            L.MaxPooling2D(),
            L.Conv2D(9, 3, activation="relu"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(17, activation="relu"),
        ),
    ),
    "Winograd 3": Network(
        (10, 9, 16),
        lambda: [
            L.Conv2D(16, 3, padding="same", activation="relu"),
            L.Conv2D(32, 3, activation="relu"),
            L.MaxPooling2D(),
            L.Conv2D(16, 3, padding="same"),
            L.GlobalAveragePooling2D(),
            L.Dense(CLASSES, activation="softmax"),
        ],
        lambda: SGD(0.05, 0.9, nesterov=True),
    ),
    "Winograd 5": Network(
        (11, 14, 16),
        lambda: top(
            L.Conv2D(16, 5, padding="same", activation="relu", use_bias=False),
            L.Conv2D(32, 5, activation="relu"),
            L.AveragePooling2D(),
        ),
        lambda: Adam(0.01),
    ),
    "Winograd, any channels": Network(
        (9, 10, 5),
        lambda: [
            L.Conv2D(20, 5, padding="same"),
            L.Conv2D(31, 3),
            L.BatchNormalization(),
            L.Conv2D(8, 5, strides=2, padding="same"),
            L.Conv2D(24, 3, padding="same", activation="relu", use_bias=False),
            L.GlobalAveragePooling2D(),
            L.Dense(CLASSES, activation="softmax"),
        ],
        lambda: Adam(0.001),
    ),
    "cheap sums": Network(
        (10, 9, 1),
        lambda: top(L.Conv2D(5, 5, padding="same", activation="relu"), L.Conv2D(4, 3), L.Conv2D(3, 2)),
        lambda: Adam(0.01),
    ),
    "cheap sums, normalised": Network(
        (10, 9, 1),
        lambda: top(
            L.Conv2D(5, 3, padding="same", activation="relu"),
            L.BatchNormalization(),
            L.Conv2D(4, 3),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
            L.Conv2D(3, 2),
        ),
        lambda: Adam(0.01),
    ),
    "ReLU after pooling and normalisation": Network(
        (13, 11, 1),
        lambda: top(
            L.Conv2D(6, 3),
            L.MaxPooling2D(),
            L.ReLU(),
            L.Conv2D(5, 2, use_bias=False),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
            L.Conv2D(7, 2, activation="relu"),
            L.MaxPooling2D(2, 1, padding="same"),
            L.ReLU(),
            L.BatchNormalization(center=False),
            L.ReLU(),
            L.ReLU(),
        ),
        lambda: Adam(0.01),
    ),
    "depthwise": Network(
        (11, 10, 1),
        lambda: top(
            L.Conv2D(18, 3, padding="same", use_bias=False),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
            L.DepthwiseConv2D(3, padding="same", use_bias=False),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
            L.Conv2D(20, 1, use_bias=False),
            L.DepthwiseConv2D(3, 2, activation="relu"),
            L.MaxPooling2D(),
            L.DepthwiseConv2D((1, 2), depth_multiplier=2, activation="elu"),
        ),
        lambda: Adam(0.01),
    ),
    "separable": Network(
        (12, 11, 2),
        lambda: top(
            L.SeparableConv2D(17, 3, padding="same", activation="relu", depth_multiplier=3),
            L.MaxPooling2D(),
            L.SeparableConv2D(33, 3, strides=2, padding="same", use_bias=False),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
            L.SeparableConv2D(9, 2, activation="tanh", depthwise_regularizer=L2(0.01), pointwise_regularizer="l1"),
        ),
        lambda: SGD(0.05, 0.9),
    ),
    "one channel by itself": Network(
        (9, 10, 1),
        lambda: top(L.DepthwiseConv2D(3, depth_multiplier=8, activation="relu"), L.SeparableConv2D(5, 2)),
        lambda: Adam(0.01),
    ),
    "separable, frozen": Network(
        (9, 10, 3),
        lambda: top(
            L.DepthwiseConv2D(2),
            L.SeparableConv2D(4, 2, activation="relu"),
            L.SeparableConv2D(3, 2),
            L.DepthwiseConv2D(2),
        ),
        lambda: Adam(0.01),
        frozen=(1, 3),
    ),
    "transposed": Network(
        (6, 7, 3),
        lambda: top(
            L.Conv2D(5, 3, strides=2, padding="same", activation="relu"),
            L.Conv2DTranspose(17, 3, strides=2, padding="same", activation="relu"),
            L.MaxPooling2D(),
            L.Conv2DTranspose(4, (3, 2), strides=(2, 3), output_padding=(1, 2), use_bias=False),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
            L.Conv2DTranspose(1, 3, padding="same", activation="sigmoid", kernel_regularizer="l2"),
        ),
        lambda: Adam(0.01),
    ),
    "transposed, fast gradients": Network(
        (8, 7, 16),
        lambda: [
            L.Conv2DTranspose(16, 3, padding="same", activation="relu"),
            L.Conv2DTranspose(20, 4, strides=2, padding="same"),
            L.GlobalAveragePooling2D(),
            L.Dense(CLASSES, activation="softmax"),
        ],
        lambda: SGD(0.05, 0.9),
    ),
    "transposed, from one pixel": Network(
        (9,),
        lambda: top(
            L.Dense(6, activation="relu"),
            L.Reshape((1, 1, 6)),
            L.Conv2DTranspose(5, (3, 4), activation="relu"),
            L.Conv2DTranspose(4, 1),
            L.Conv2DTranspose(3, 2, dilation_rate=2, activation="elu"),
        ),
        lambda: Adam(0.01),
    ),
    "transposed, frozen": Network(
        (4, 5, 2),
        lambda: top(
            L.Conv2DTranspose(3, 2, strides=2),
            L.Conv2DTranspose(4, 3, activation="relu"),
            L.Conv2DTranspose(3, 3, strides=2, padding="same", activation="relu"),
            L.Conv2D(2, 3),
        ),
        lambda: Adam(0.01),
        frozen=(0, 2),
    ),
    "strides, batch normalisation and dropout": Network(
        (9, 10, 2),
        lambda: top(
            L.Conv2D(5, 3, strides=2, padding="same"),
            L.BatchNormalization(momentum=0.9),
            L.ReLU(),
            L.Dropout(0.3),
            L.Conv2D(7, (3, 2), strides=(1, 2), use_bias=False),
            L.BatchNormalization(momentum=0.8, center=False, scale=False),
            L.Dense(6, activation="relu"),
            L.BatchNormalization(momentum=0.5),
            L.Dropout(0.4),
        ),
        lambda: RMSprop(0.01, 0.8, 0.5, centered=True),
    ),
    "dilation, one pixel, one window": Network(
        (8, 7, 2),
        lambda: [
            L.Conv2D(4, 3, dilation_rate=2, activation="relu"),
            L.Conv2D(5, 1, activation="relu"),
            L.Conv2D(17, (4, 3), activation="relu"),
            L.Flatten(),
            L.Dense(CLASSES, activation="softmax"),
        ],
        lambda: RMSprop(0.01),
    ),
    "pooling": Network(
        (11, 9, 3),
        lambda: [
            L.AveragePooling2D(3, 2, padding="same"),
            L.Conv2D(4, 2, activation="relu"),
            L.MaxPooling2D(3, 1, padding="same"),
            L.Conv2D(5, 2, activation="relu"),
            L.AveragePooling2D((2, 1)),
            L.Conv2D(6, 1, activation="relu"),
            L.GlobalMaxPooling2D(keepdims=True),
            L.Conv2D(4, 1),
            L.GlobalAveragePooling2D(),
            L.Dense(CLASSES, activation="softmax"),
        ],
        lambda: Adam(0.01),
    ),
    "padding, reshaping and ReLU apart": Network(
        (5, 6, 2),
        lambda: top(
            L.ZeroPadding2D(((1, 0), (2, 3))),
            L.Conv2D(4, 3),
            L.ReLU(),
            L.MaxPooling2D(2),
            L.ZeroPadding2D(1),
            L.ReLU(),
            L.Reshape((-1, 4)),
            L.Dense(3),
            L.ReLU(),
            L.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.1),
        ),
        loss=lambda: SparseCategoricalCrossentropy(label_smoothing=0.1),
    ),
    "upright": Network(
        (9, 8, 2),
        lambda: top(
            L.MomentNormalization(2.0, (0.7, 1.8)), L.RandomAffine(0.1, 0.1, seed=3), L.Conv2D(4, 3, activation="relu")
        ),
        lambda: Adam(0.01),
    ),
    "resized": Network(
        (7, 8, 2),
        lambda: top(
            L.Resizing(9, 10),
            L.Conv2D(4, 3, activation="relu"),
            L.UpSampling2D(),
            L.MaxPooling2D(3),
            L.Resizing(5, 3, "nearest", pad_to_aspect_ratio=True, fill_value=0.2),
            L.Conv2D(3, 2),
            L.CenterCrop(2, 2),
        ),
        lambda: Adam(0.01),
    ),
    "bytes": Network(
        (8, 8, 1),
        lambda: top(L.Rescaling(1 / 127.5, -1.0), L.Conv2D(3, 3, activation="relu"), L.Rescaling(0.5, 0.1)),
        bytes=True,
    ),
    "random motions": Network(
        (7, 8, 2),
        lambda: top(
            L.RandomTranslation(0.2, 0.1, fill_mode="constant", fill_value=0.3),
            L.RandomRotation(0.1, fill_mode="nearest"),
            L.RandomZoom(0.2, 0.1, fill_mode="wrap"),
            L.Conv2D(4, 3, activation="relu"),
        ),
        lambda: SGD(0.1),
    ),
    "random motions after a convolution": Network(
        (7, 8, 2), lambda: top(L.Conv2D(4, 3, activation="relu"), L.RandomTranslation(0.2, 0.1), L.RandomRotation(0.1))
    ),
    "activations": Network(
        (7, 8, 2),
        lambda: [
            L.Conv2D(4, 3, activation="elu"),
            L.Activation("tanh"),
            L.Conv2D(3, 2, activation="softmax"),
            L.LeakyReLU(0.2),
            L.Activation("relu"),
            L.Flatten(),
            L.Dense(6, activation="sigmoid"),
            L.ELU(0.5),
            L.Dense(CLASSES),
            L.Activation("linear"),
            L.Activation("softmax"),
        ],
        loss=CategoricalCrossentropy,
    ),
    "activations as layers": Network(
        (7, 8, 2),
        lambda: [
            L.Conv2D(4, 3, activation=L.LeakyReLU(0.2)),
            L.BatchNormalization(),
            L.Activation(L.ReLU()),
            L.Conv2D(3, 2, activation=L.ReLU(max_value=0.5, negative_slope=0.1)),
            L.MaxPooling2D(),
            L.Activation(L.ELU(0.5)),
            L.Flatten(),
            L.Dense(6, activation=L.ReLU()),
            L.Dense(CLASSES, activation=L.Softmax()),
        ],
    ),
    "standardized": Network(
        (7, 8, 2),
        lambda: top(
            L.Lambda(lambda x: x[:, :6] - 0.5),
            L.Normalization(mean=[0.1, 0.2], variance=[0.5, 2.0]),
            L.RandomFlip(),
            L.Normalization([1, 2, 3]),
            L.Conv2D(4, 3, activation="relu"),
            L.Normalization(None, 0.1, 0.5),
            L.RandomFlip("vertical"),
            L.Normalization(2, invert=True),
        ),
    ),
    "noise, dropped channels and learned slopes": Network(
        (7, 8, 3),
        lambda: top(
            L.GaussianNoise(0.1),
            L.Conv2D(5, 3),
            L.PReLU("random_normal", shared_axes=[1, 2]),
            L.SpatialDropout2D(0.4),
            L.Conv2D(19, 2),
            L.PReLU("ones"),
            L.MaxPooling2D(),
            L.GaussianNoise(0.2),
            L.Flatten(),
            L.Dense(7),
            L.PReLU("random_uniform"),
        ),
        lambda: Adam(0.01),
    ),
    "dropouts": Network(
        (7, 8, 3),
        lambda: top(
            L.GaussianDropout(0.2),
            L.Conv2D(5, 3, activation="relu"),
            L.AlphaDropout(0.3),
            L.MaxPooling2D(),
            L.GaussianDropout(0.1),
            L.Flatten(),
            L.Dense(7, "selu", kernel_initializer="lecun_normal"),
            L.AlphaDropout(0.1),
            L.AlphaDropout(0),
            L.GaussianDropout(0),
        ),
        lambda: Adam(0.01),
    ),
    "slopes shared along one axis": Network(
        (4, 5, 2),
        lambda: top(
            L.PReLU("random_normal", shared_axes=2), L.Conv2D(4, 2, activation="gelu"), L.PReLU(shared_axes=[1])
        ),
    ),
    "penalties": Network(
        (6, 7, 2),
        lambda: [
            L.Conv2D(4, 3, activation="relu", kernel_regularizer=L2(0.01), bias_regularizer="l1"),
            L.BatchNormalization(gamma_regularizer=L1(0.02), beta_regularizer="l2"),
            L.PReLU("ones", L1L2(0.01, 0.02), shared_axes=[1, 2]),
            L.Flatten(),
            L.Dense(9, activation="relu", kernel_regularizer=L1L2(0.001, 0.002)),
            L.Dense(CLASSES, activation="softmax", kernel_regularizer="l2"),
        ],
        lambda: SGD(0.05, 0.9),
    ),
    "penalties of one's own": Network(
        (5, 5, 1),
        lambda: [
            L.Conv2D(4, 3, kernel_regularizer=L2(0.01)),
            L.Flatten(),
            L.Dense(5, kernel_regularizer=Cubes()),
            L.Dense(CLASSES, activation="softmax", kernel_regularizer=OrthogonalRegularizer(0.1)),
        ],
        lambda: SGD(0.01),
    ),
    "penalties for what comes out": Network(
        (9, 8, 2),
        lambda: [
            L.ActivityRegularization(0.01, 0.02),
            L.Conv2D(4, 3, activation="relu", activity_regularizer=L2(0.03), kernel_regularizer="l2"),
            L.MaxPooling2D(activity_regularizer="l1"),
            L.Conv2D(3, 2, activation="elu", activity_regularizer=Cubes()),
            L.ReLU(activity_regularizer="l2"),
            L.Flatten(),
            L.Dense(6, activity_regularizer=OrthogonalRegularizer(0.5)),
            L.Activation("tanh", activity_regularizer="l2"),
            L.Dropout(0.3, activity_regularizer="l2"),
            L.Dense(CLASSES, "softmax", activity_regularizer=L1L2(0.1, 0.2)),
        ],
        lambda: SGD(0.05, 0.9),
    ),
    "penalties for what frozen layers give": Network(
        (5, 5, 1),
        lambda: [
            L.Conv2D(4, 3, activation="relu", activity_regularizer="l2"),
            L.ActivityRegularization(0.1),
            L.Conv2D(3, 2, activation="relu"),
            L.GlobalAveragePooling2D(),
            Offset(CLASSES, activation="softmax", activity_regularizer=L2(0.5)),
        ],
        frozen=(0,),
    ),
    "penalties, frozen": Network(
        (5, 5, 1),
        lambda: top(
            L.Conv2D(4, 3, kernel_regularizer="l2"),
            L.PReLU(alpha_regularizer="l1"),
            L.Conv2D(3, 2, kernel_regularizer="l1"),
        ),
        frozen=(0, 1),
    ),
    "frozen": Network(
        (9, 8, 2),
        lambda: top(
            L.Conv2D(4, 3, activation="relu"),
            L.Conv2D(5, 3, activation="relu"),
            L.BatchNormalization(),
            L.Conv2D(4, 3, activation="relu"),
            L.MaxPooling2D(2),
            L.Dense(7, activation="relu"),
            L.Dense(6, activation="relu"),
        ),
        frozen=(0, 2, 3, 6),
    ),
    "all frozen": Network((4, 4, 1), lambda: top(L.Conv2D(2, 3), L.BatchNormalization()), frozen=(0, 1, 3)),
    "no parameters": Network((CLASSES,), lambda: [L.Softmax()]),
    "a layer of one's own": Network(
        (7, 8, 2),
        lambda: top(
            L.Conv2D(4, 3, activation="relu"), Scale(), L.MaxPooling2D(), Scale(), L.Dense(5, activation="relu")
        ),
        lambda: Adam(0.01),
    ),
    "an activation before a softmax apart": Network((4,), lambda: [Offset(CLASSES, "tanh"), L.Softmax()]),
    "a convolution of one's own": Network(
        (7, 8, 2), lambda: top(L.Conv2D(4, 2), Halves(3, 2, activation="relu"), L.MaxPooling2D())
    ),
    "first and last of one's own": Network(
        (7, 8, 2), lambda: [Halves(3, 2, activation="tanh"), L.GlobalAveragePooling2D(), Scale(), L.Softmax()]
    ),
    "a last layer of one's own": Network((7, 3, 2), lambda: [L.Flatten(), Offset(CLASSES, activation="softmax")]),
    "an optimizer of one's own": Network((6,), lambda: [L.Dense(CLASSES, activation="softmax")], lambda: Signs(0.01)),
    "an optimizer that clips": Network((6,), lambda: [L.Dense(CLASSES, activation="softmax")], lambda: Clipped(0.1)),
    **{
        name: Network((6, 5, 2), lambda: top(L.Conv2D(4, 3, activation="relu"), L.Dense(7)), optimizer)
        for name, optimizer in {
            "SGD without momentum": lambda: SGD(0.1, clipvalue=0.01),
            "Adagrad": lambda: Adagrad(0.1, clipnorm=0.02, weight_decay=0.1),
            "Adadelta": lambda: Adadelta(1.0, global_clipnorm=0.05, use_ema=True),
            "Adam with amsgrad": lambda: Adam(
                0.01, amsgrad=True, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3
            ),
            "AdamW": lambda: AdamW(0.01, 0.1, clipnorm=0.05),
            "Adam that spares biases": lambda: Sparing(0.01, weight_decay=0.2),
            "Nadam": lambda: Nadam(CosineDecay(0.02, 9), weight_decay=0.1, global_clipnorm=0.1),
            "slower Nadam": lambda: Slower(0.01),
            "Adamax": lambda: Adamax(0.01, use_ema=True, ema_overwrite_frequency=2),
            "Lion": lambda: Lion(0.01, weight_decay=0.1),
            "Ftrl": lambda: Ftrl(0.1, l1_regularization_strength=0.01, global_clipnorm=0.1),
        }.items()
    },
    "an optimizer of one's own with options": Network(
        (6,),
        lambda: [L.Dense(CLASSES, activation="softmax")],
        lambda: Signs(0.01, weight_decay=0.1, clipnorm=0.1, use_ema=True, ema_overwrite_frequency=2),
    ),
    "a loss of one's own": Network((5, 5, 2), lambda: top(L.Conv2D(4, 3, activation="relu")), loss=Doubled),
    "probabilities": Network(
        (5, 5, 2),
        lambda: top(L.Conv2D(4, 3), activation="sigmoid"),
        loss=lambda: CategoricalCrossentropy(label_smoothing=0.2),
    ),
    "logits": Network(
        (5, 5, 2), lambda: top(L.Conv2D(4, 3), activation=None), loss=lambda: CategoricalCrossentropy(from_logits=True)
    ),
    "softmax over the other axis": Network((CLASSES,), lambda: [L.Dense(CLASSES), L.Softmax(axis=1)]),
}


def twins(model):
    """A model, and a copy of it whose layers are called one by one."""
    eager = copy.deepcopy(model)
    eager.run_eagerly = True
    return model, eager


def numbers(model, gradients=True):
    """All that training changes, by name; without `Parameter.value`, which makes the engine careful."""
    found = dict(zip([parameter.name for parameter in model.parameters], model.get_weights(), strict=True))
    if gradients:
        found |= {f"gradient of {p.name}": p.gradient for p in model.trainable_parameters}
    if model.optimizer is not None:
        found |= {f"optimizer's {name}": moment for name, moment in model.optimizer.state.items()}
        found["step"] = np.array(model.optimizer.iterations)
    return found


def assert_same(model, other, gradients=True):
    """The same bits in all parameters, gradients, moving averages and moments; nothing is infinite or no number."""
    one, two = numbers(model, gradients), numbers(other, gradients)
    assert list(one) == list(two)
    for name in one:
        assert one[name].dtype == two[name].dtype, name
        assert np.isfinite(one[name]).all(), name
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)

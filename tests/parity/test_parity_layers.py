"""Every layer against its namesake in Keras: outputs, gradients of the input and of all weights, what training changes.

Penalties and the numbers that are only drawn (initializers, noise, dropout) are compared by value and by statistics.
"""

import numpy as np
import pytest

import minicnn
from minicnn import activations, layers

pytestmark = pytest.mark.parity


def assert_close(actual, expected, tolerance):
    """Equal shapes, and differences that are small beside the largest expected number."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1e-30))


CONVOLUTIONS = {
    f"Conv2D {size} {options}": ("Conv2D", (5, size), options, (11, 14, 3))
    for size in (1, 2, 3, 5, (4, 3))
    for padding in ("valid", "same")
    for options in (
        {"padding": padding},
        {"padding": padding, "strides": 2},
        {"padding": padding, "strides": (1, 3)},
        {"padding": padding, "strides": 4},
        {"padding": padding, "dilation_rate": 2},
        {"padding": padding, "dilation_rate": (1, 3)},
    )
}
DEPTHWISE = {
    f"{name} {size} {options}": (name, (*filters, size), options, (11, 14, 3))
    for name, filters in (("DepthwiseConv2D", ()), ("SeparableConv2D", (5,)))
    for size in (1, 3, (4, 3))
    for padding in ("valid", "same")
    for options in (
        {"padding": padding},
        {"padding": padding, "strides": 2, "depth_multiplier": 2},
        {"padding": padding, "dilation_rate": (2, 1), "activation": "relu", "use_bias": False},
    )
}
TRANSPOSED = {
    f"Conv2DTranspose {size} {options}": ("Conv2DTranspose", (5, size), options, (5, 6, 3))
    for size in (1, 2, 3, (4, 3), (2, 5))
    for padding in ("valid", "same")
    for options in (
        {"padding": padding},
        {"padding": padding, "strides": 2},
        {"padding": padding, "strides": 3, "use_bias": False},
        {"padding": padding, "strides": (1, 3), "activation": "relu"},
        {"padding": padding, "output_padding": 0},
        {"padding": padding, "strides": 2, "output_padding": 1},
        {"padding": padding, "strides": (3, 2), "output_padding": (2, 0)},
        {"padding": padding, "dilation_rate": 2},
        {"padding": padding, "dilation_rate": (1, 3)},
    )
}
POOLINGS = {
    f"{name} {size} {options}": (name, (size,), options, (9, 8, 3))
    for name in ("MaxPooling2D", "AveragePooling2D")
    for size in (2, 3, (1, 2))
    for options in (
        {},
        {"padding": "same"},
        {"strides": 1},
        {"strides": (3, 2), "padding": "same"},
        {"strides": (1, 2), "padding": "valid"},
    )
}
NAMES = [
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "swish", "softplus", "softsign", "tanh"),
    *("sigmoid", "hard_sigmoid", "hard_silu", "mish", "exponential", "softmax", "log_softmax"),
]
OTHERS = {
    "Conv2D without bias": ("Conv2D", (4, 3), {"use_bias": False}, (7, 6, 16)),
    "Conv2D, Winograd 3": ("Conv2D", (32, 3), {"padding": "same"}, (14, 14, 16)),
    "Conv2D, Winograd 5": ("Conv2D", (32, 5), {"padding": "same"}, (14, 14, 16)),
    "Conv2DTranspose, Winograd": ("Conv2DTranspose", (32, 3), {"padding": "same"}, (14, 14, 16)),
    "Conv2DTranspose from one pixel": ("Conv2DTranspose", (5, (3, 4)), {}, (1, 1, 20)),
    "Dense": ("Dense", (5,), {}, (7,)),
    "Dense without bias": ("Dense", (5,), {"use_bias": False}, (7,)),
    "Dense on images": ("Dense", (5,), {}, (4, 3, 7)),
    "GlobalAveragePooling2D": ("GlobalAveragePooling2D", (), {}, (5, 6, 3)),
    "GlobalMaxPooling2D": ("GlobalMaxPooling2D", (), {}, (5, 6, 3)),
    "GlobalAveragePooling2D kept": ("GlobalAveragePooling2D", (), {"keepdims": True}, (5, 6, 3)),
    "GlobalMaxPooling2D kept": ("GlobalMaxPooling2D", (), {"keepdims": True}, (5, 6, 3)),
    "BatchNormalization": ("BatchNormalization", (), {"momentum": 0.8}, (5, 6, 3)),
    "BatchNormalization bare": (
        "BatchNormalization",
        (),
        {"center": False, "scale": False, "epsilon": 1e-2},
        (5, 6, 3),
    ),
    "BatchNormalization of rows": ("BatchNormalization", (), {"axis": 1, "momentum": 0.8}, (5, 6, 3)),
    "BatchNormalization of vectors": ("BatchNormalization", (), {}, (6,)),
    "ReLU": ("ReLU", (), {}, (5, 6)),
    "ReLU with all": ("ReLU", (), {"max_value": 1.1, "negative_slope": 0.2, "threshold": 0.3}, (5, 6)),
    "LeakyReLU": ("LeakyReLU", (), {}, (5, 6)),
    "LeakyReLU 0.1": ("LeakyReLU", (0.1,), {}, (5, 6)),
    "ELU": ("ELU", (), {}, (5, 6)),
    "ELU 0.5": ("ELU", (0.5,), {}, (5, 6)),
    "PReLU": ("PReLU", (), {}, (5, 6, 3)),
    "PReLU by channel": ("PReLU", (), {"shared_axes": [1, 2]}, (5, 6, 3)),
    "PReLU by column": ("PReLU", (), {"shared_axes": [1, 3]}, (5, 6, 3)),
    "Softmax": ("Softmax", (), {}, (5, 6)),
    "Softmax of columns": ("Softmax", (), {"axis": 1}, (5, 6)),
    "Flatten": ("Flatten", (), {}, (5, 6, 3)),
    "Reshape": ("Reshape", ((-1, 9),), {}, (5, 6, 3)),
    "ZeroPadding2D": ("ZeroPadding2D", (), {}, (5, 6, 3)),
    "Cropping2D": ("Cropping2D", (1,), {}, (5, 6, 3)),
    "Cropping2D uneven": ("Cropping2D", (((1, 0), (2, 3)),), {}, (5, 6, 3)),
    **{
        f"Resizing {given} {options}": ("Resizing", given, options, shape)
        for given, options, shape in (
            ((32, 32), {}, (28, 28, 1)),
            ((4, 7), {}, (9, 5, 3)),
            ((4, 7, "nearest"), {}, (9, 5, 3)),
            ((9, 5, "nearest"), {}, (4, 7, 2)),
            ((4, 3), {"antialias": True}, (9, 8, 3)),
            ((4, 7), {"crop_to_aspect_ratio": True}, (9, 5, 3)),
            ((7, 4, "nearest", True), {}, (8, 9, 3)),
            ((4, 7), {"pad_to_aspect_ratio": True, "fill_value": 2.5}, (9, 6, 3)),
            ((7, 3), {"pad_to_aspect_ratio": True, "antialias": True}, (5, 9, 3)),
        )
    },
    "CenterCrop": ("CenterCrop", (4, 3), {}, (7, 8, 3)),
    "CenterCrop of less": ("CenterCrop", (4, 9), {}, (7, 8, 3)),
    "UpSampling2D": ("UpSampling2D", (), {}, (4, 3, 2)),
    "UpSampling2D bilinear": ("UpSampling2D", ((3, 2),), {"interpolation": "bilinear"}, (4, 3, 2)),
    "Permute": ("Permute", ((3, 1, 2),), {}, (5, 6, 3)),
    "Identity": ("Identity", (), {}, (5, 6, 3)),
    "LayerNormalization": ("LayerNormalization", (), {}, (5, 6, 3)),
    "LayerNormalization of images": ("LayerNormalization", ((1, 2, 3), 0.1), {}, (5, 6, 3)),
    "LayerNormalization, axes from both ends": ("LayerNormalization", ([1, -1],), {}, (5, 6, 3)),
    "LayerNormalization of rows": ("LayerNormalization", (), {"axis": [3, 1], "center": False}, (5, 6, 3)),
    "GroupNormalization": ("GroupNormalization", (2,), {}, (5, 6, 8)),
    "GroupNormalization of one": ("GroupNormalization", (1, -1, 0.1), {"scale": False}, (5, 6, 3)),
    "GroupNormalization of channels": ("GroupNormalization", (), {"groups": -1, "center": False}, (5, 6, 3)),
    "GroupNormalization of rows": ("GroupNormalization", (), {"groups": 3, "axis": 1}, (6, 4, 3)),
    "UnitNormalization": ("UnitNormalization", (), {}, (5, 6, 3)),
    "UnitNormalization of images": ("UnitNormalization", ((1, 3),), {}, (5, 6, 3)),
    "ZeroPadding2D uneven": ("ZeroPadding2D", (((1, 0), (2, 3)),), {}, (5, 6, 3)),
    "Rescaling": ("Rescaling", (1 / 255, -0.5), {}, (5, 6, 3)),
    "Normalization": ("Normalization", (), {"mean": [0.1, 0.2, 0.3], "variance": [1.0, 0.5, 0.0]}, (5, 6, 3)),
    "Normalization inverted": ("Normalization", (None, 0.5, 3.0), {"invert": True}, (5, 6, 3)),
    "Normalization of places": ("Normalization", ((3, 1), [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), {}, (5, 6, 3)),
    "Lambda": ("Lambda", (lambda x, s: x[:, :2] * s,), {"arguments": {"s": 2.0}}, (5, 6, 3)),
    "Lambda that averages": ("Lambda", (lambda x: x.mean(axis=(1, 2)),), {}, (5, 6, 3)),
    "Dropout asked": ("Dropout", (0.5,), {}, (5, 6)),
    "SpatialDropout2D asked": ("SpatialDropout2D", (0.5,), {}, (5, 6, 3)),
    "AlphaDropout asked": ("AlphaDropout", (0.5,), {}, (5, 6)),
    "GaussianDropout asked": ("GaussianDropout", (0.5,), {}, (5, 6)),
    "GaussianNoise asked": ("GaussianNoise", (0.5,), {}, (5, 6)),
    **{f"Activation {name}": ("Activation", (name,), {}, (5, 6)) for name in NAMES},
    **{f"Dense {name}": ("Dense", (5, name), {}, (7,)) for name in NAMES},
    **{f"Conv2D {name}": ("Conv2D", (5, 3), {"activation": name}, (6, 5, 3)) for name in NAMES},
}
TAKES_TRAINING = {
    "BatchNormalization", "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
}  # fmt: skip
CASES = CONVOLUTIONS | DEPTHWISE | TRANSPOSED | POOLINGS | OTHERS


def gradients(layer, x, dy, **options):
    """y, the gradients of Σ dy · y for x and the trained weights, and the other weights afterwards."""
    import jax

    def loss(x, trainable, others):
        y, others = layer.stateless_call(trainable, others, x, **options)
        return (y * dy).sum(), (y, others)

    trainable, others = (
        [variable.value for variable in some] for some in (layer.trainable_variables, layer.non_trainable_variables)
    )
    step = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))  # else every operation is compiled by itself
    (dx, dweights), (y, others) = step(x, trainable, others)
    return (
        [np.asarray(array) for array in (y, dx)],
        [np.asarray(array) for array in dweights],
        [*map(np.asarray, others)],
    )


def twins(keras, name, arguments, options, shape, random):
    ours, theirs = getattr(layers, name)(*arguments, **options), getattr(keras.layers, name)(*arguments, **options)
    return alike(ours, theirs, shape, random)


def alike(ours, theirs, shape, random):
    """Both, built and with the same weights."""
    ours.build((None, *shape))
    theirs.build((None, *shape))
    weights = [(0.3 * random.standard_normal(w.shape)).astype("float32") for w in ours.get_weights()]
    if isinstance(ours, layers.BatchNormalization):
        weights = [np.abs(w) + 0.1 for w in weights]
    ours.set_weights(weights)
    state = [variable for variable in theirs.variables if "seed_generator" not in variable.path]
    assert [tuple(variable.shape) for variable in state] == [w.shape for w in weights]  # in one order
    for variable, weight in zip(state, weights, strict=True):
        variable.assign(weight)
    return ours, theirs


@pytest.mark.parametrize("name, arguments, options, shape", CASES.values(), ids=CASES)
def test_outputs_and_gradients(keras, random, name, arguments, options, shape):
    compare(keras, random, name, arguments, options, shape, training=False)


@pytest.mark.parametrize("case", [name for name in CASES if name.startswith("BatchNormalization")])
def test_batch_normalization_in_training(keras, random, case):
    compare(keras, random, *CASES[case], training=True)


def compare(keras, random, name, arguments, options, shape, training):
    compare_two(*twins(keras, name, arguments, options, shape, random), random, shape, training)


def compare_two(ours, theirs, random, shape, training=False):
    name = type(ours).__name__
    x = random.standard_normal((6, *shape)).astype("float32")
    y = ours.forward(x, training=training)
    dy = random.standard_normal(y.shape).astype("float32")
    (expected, expected_dx), dweights, others = gradients(
        theirs, x, dy, **({"training": training} if name in TAKES_TRAINING else {})
    )
    assert_close(y, expected, 1e-5)
    if name != "Lambda":
        assert_close(ours.backward(dy), expected_dx, 1e-4)
    for parameter, gradient in zip(ours.trainable_parameters, dweights, strict=True):
        assert_close(parameter.gradient, gradient, 1e-4)
    states = [parameter for parameter in ours.parameters if not parameter.trainable]
    for parameter, state in zip(states, others, strict=False):
        assert_close(parameter.data, state, 1e-5)
    assert ours.output_shape == tuple(theirs.compute_output_shape((None, *shape)))


@pytest.mark.parametrize("name", [*NAMES, "hard_swish"])
def test_activation_functions(keras, random, name):
    x = 4 * random.standard_normal((5, 6)).astype("float32")
    expected = np.asarray(getattr(keras.activations, name)(x))
    assert_close(activations.get(name)(x), expected, 1e-5)


@pytest.mark.parametrize(
    "name, options",
    [
        ("relu", {"negative_slope": 0.1, "max_value": 2.0, "threshold": 0.5}),
        ("leaky_relu", {"negative_slope": 0.4}),
        ("elu", {"alpha": 0.3}),
        ("gelu", {"approximate": True}),
        ("softmax", {"axis": 0}),
        ("log_softmax", {"axis": 0}),
    ],
)
def test_settings_of_activation_functions(keras, random, name, options):
    x = 4 * random.standard_normal((5, 6)).astype("float32")
    expected = np.asarray(getattr(keras.activations, name)(x, **options))
    assert_close(getattr(activations, name)(x, **options), expected, 1e-5)


def penalty(k, w):
    return 0.01 * k.ops.sum(k.ops.abs(w) ** 1.5)


@pytest.mark.parametrize(
    "activation",
    [
        lambda k, x: x * k.ops.sigmoid(1.5 * x),
        lambda k, x: x * k.ops.tanh(k.ops.softplus(x)),
        lambda k, x: k.ops.maximum(x, 0.1 * x) + k.ops.square(x) / 9,
        lambda k, x: x / k.ops.sqrt(k.ops.sum(k.ops.square(x), axis=-1, keepdims=True) + 1e-3),
    ],
)
def test_activations_layers_and_penalties_that_are_calculated(keras, random, activation):
    """The loss of three epochs, and the weights after their 21 steps."""
    x, y = random.standard_normal((28, 6, 6, 2)).astype("float32"), random.integers(0, 3, 28)
    start, found = None, []
    for k in (minicnn, keras):

        def function(x, k=k):
            return activation(k, x)

        model = k.Sequential(
            [
                k.Input((6, 6, 2)),
                k.layers.Conv2D(3, 3, activation=function, kernel_regularizer=lambda w, k=k: penalty(k, w)),
                k.layers.Lambda(lambda x, k=k: k.ops.concatenate([x, k.ops.relu(-x)], axis=-1) ** 2),
                k.layers.Flatten(),
                k.layers.Dense(4),
                k.layers.Activation(function),
                k.layers.Dense(3, activation="softmax"),
            ]
        )
        start = model.get_weights() if start is None else start
        model.set_weights(start)
        model.compile(k.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        history = model.fit(x, y, 4, 3, shuffle=False, verbose=0).history["loss"]
        found.append((history, *model.get_weights()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def antirectifier(k):
    class Antirectifier(k.layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(2 * input_shape[-1], 5), initializer="he_normal", name="kernel")
            self.scale = self.add_weight(shape=(5,), initializer="ones", name="scale", regularizer="l2")

        def call(self, x):
            x = x - k.ops.mean(x, axis=-1, keepdims=True)
            x = x / k.ops.sqrt(k.ops.sum(k.ops.square(x), axis=-1, keepdims=True) + 1e-6)
            mixed = k.ops.matmul(k.ops.concatenate([k.ops.relu(x), k.ops.relu(-x)], axis=-1), self.kernel)
            return mixed * self.scale

    return Antirectifier()


def test_layers_whose_call_calculates(keras, random):
    """The loss of three epochs, and the weights after their 21 steps."""
    x, y = random.standard_normal((28, 4)).astype("float32"), random.integers(0, 3, 28)
    start, found = None, []
    for k in (minicnn, keras):
        model = k.Sequential(
            [k.Input((4,)), k.layers.Dense(6), antirectifier(k), k.layers.Dense(3, activation="softmax")]
        )
        start = model.get_weights() if start is None else start
        model.set_weights(start)
        model.compile(k.optimizers.SGD(0.3), "sparse_categorical_crossentropy")
        history = model.fit(x, y, 4, 3, shuffle=False, verbose=0).history["loss"]
        found.append((history, *model.get_weights()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("axis", [-1, None, 1, (1, 2, 3), [3, 1]])
def test_the_statistics_of_data(keras, random, axis, invert):
    x = (3 + random.standard_normal((50, 4, 3, 2))).astype("float32")
    ours, theirs = layers.Normalization(axis, invert=invert), keras.layers.Normalization(axis, invert=invert)
    theirs.adapt(x)
    for data in (x, [x[:20], x[20:]]):
        ours.adapt(data)
        assert_close(ours(x), np.asarray(theirs(x)), 1e-5)
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert_close(one, np.asarray(other), 1e-5)


@pytest.mark.parametrize(
    "name, arguments, options",
    [("LeakyReLU", (), {}), ("ReLU", (0.7,), {"negative_slope": 0.1}), ("ELU", (0.5,), {}), ("Softmax", (), {})],
)
@pytest.mark.parametrize(
    "layer, own, shape", [("Dense", (5,), (7,)), ("Conv2D", (4, 3), (6, 5, 2)), ("Activation", (), (5, 6))]
)
def test_activation_layers(keras, random, layer, own, shape, name, arguments, options):
    ours, theirs = (
        getattr(library.layers, layer)(*own, activation=getattr(library.layers, name)(*arguments, **options))
        for library in (minicnn, keras)
    )
    compare_two(*alike(ours, theirs, shape, random), random, shape)


# ---------------------------------------------------------------------- penalties


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("L1", ()),
        ("L2", ()),
        ("L1", (0.3,)),
        ("L2", (0.2,)),
        ("L1L2", (0.3, 0.2)),
        ("OrthogonalRegularizer", ()),
        ("OrthogonalRegularizer", (0.3, "columns")),
    ],
)
def test_penalties(keras, random, name, arguments):
    import jax

    w = random.standard_normal((7, 5)).astype("float32")
    ours, theirs = getattr(minicnn.regularizers, name)(*arguments), getattr(keras.regularizers, name)(*arguments)
    g, value = np.zeros_like(w), jax.numpy.asarray(w)
    assert ours.penalize(minicnn.get_ops("cpu"), w, g) == pytest.approx(float(theirs(value)), rel=1e-5)
    assert_close(g, np.asarray(jax.grad(theirs)(value)), 1e-4)


def test_training_with_penalties(keras, random):
    """The loss that fit and evaluate report, and the weights after 20 steps."""

    def network(k, regularizers):
        r = regularizers
        return k.Sequential(
            [
                k.layers.Input((6, 6, 2)),
                k.layers.Conv2D(4, 3, activation="relu", kernel_regularizer=r.L2(0.01), bias_regularizer="l2"),
                k.layers.BatchNormalization(gamma_regularizer=r.L1(0.02)),
                k.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, depthwise_regularizer=r.L2(0.01)),
                k.layers.SeparableConv2D(
                    5, 2, activation="relu", depthwise_regularizer="l2", pointwise_regularizer="l1"
                ),
                k.layers.Conv2DTranspose(
                    4, 2, 2, bias_initializer="ones", kernel_regularizer="l2", bias_regularizer=r.L1(0.01)
                ),
                k.layers.PReLU("ones", alpha_regularizer=r.L1L2(0.01, 0.02), shared_axes=[1, 2]),
                k.layers.Flatten(),
                k.layers.Dense(3, activation="softmax", kernel_regularizer="l2"),
            ]
        )

    ours, theirs = network(minicnn, minicnn.regularizers), network(keras, keras.regularizers)
    theirs.set_weights(ours.get_weights())
    x, y = random.standard_normal((80, 6, 6, 2)).astype("float32"), random.integers(0, 3, 80)
    logs = []
    for model, k in ((ours, minicnn), (theirs, keras)):
        model.compile(k.optimizers.SGD(0.05, 0.9), "sparse_categorical_crossentropy")
        found = model.fit(x, y, batch_size=16, epochs=4, shuffle=False, verbose=0).history["loss"]
        logs.append([*found, model.evaluate(x, y, batch_size=80, verbose=0)])
    np.testing.assert_allclose(*logs, rtol=1e-4)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_close(one, other, 1e-4)


def test_training_with_penalties_for_what_comes_out(keras, random, tmp_path, monkeypatch):
    """Batches of 16 and one of 8; also of the models that each reads from a file of the other."""
    kept, add_loss = (
        [],
        keras.layers.Layer.add_loss,
    )  # Keras tells penalties by their ids, which are given anew if they go

    def add_and_keep(layer, loss):
        kept.append(loss)
        add_loss(layer, loss)

    monkeypatch.setattr(keras.layers.Layer, "add_loss", add_and_keep)

    def network(k):
        r = k.regularizers
        return k.Sequential(
            [
                k.layers.Input((6, 6, 2)),
                k.layers.ActivityRegularization(0.001, 0.002),
                k.layers.Conv2D(4, 3, activation="relu", activity_regularizer=r.L2(0.01), kernel_regularizer="l2"),
                k.layers.MaxPooling2D(activity_regularizer="l1"),
                k.layers.Flatten(),
                k.layers.Dense(5, activity_regularizer=r.OrthogonalRegularizer(0.1)),
                k.layers.Activation("tanh", activity_regularizer="l2"),
                k.layers.Dense(3, activation="softmax", activity_regularizer=r.L1L2(0.1, 0.2)),
            ]
        )

    ours, theirs = network(minicnn), network(keras)
    theirs.set_weights(ours.get_weights())
    for model in (ours, theirs):
        model.get_layer(index=1).trainable = False
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    models = [
        (ours, minicnn),
        (theirs, keras),
        (keras.models.load_model(tmp_path / "ours.keras"), keras),
        (minicnn.load_model(tmp_path / "theirs.keras"), minicnn),
    ]
    x, y = random.standard_normal((40, 6, 6, 2)).astype("float32"), random.integers(0, 3, 40)
    logs = []
    for model, k in models:
        model.compile(k.optimizers.SGD(0.05, 0.9), "sparse_categorical_crossentropy")
        found = model.fit(x, y, batch_size=16, epochs=4, shuffle=False, verbose=0).history["loss"]
        logs.append([*found, model.evaluate(x, y, batch_size=16, verbose=0)])
    for log in logs[1:]:
        np.testing.assert_allclose(log, logs[0], rtol=1e-4)
    for one, *others in zip(*(model.get_weights() for model, _ in models), strict=True):
        for other in others:
            assert_close(one, other, 1e-4)


@pytest.mark.parametrize(
    "name, settings",
    [
        ("UnitNorm", {}),
        ("MaxNorm", {}),
        ("MaxNorm", {"max_value": -1}),
        ("MinMaxNorm", {"min_value": 2, "max_value": 1, "rate": -1}),
        ("NonNeg", {}),
    ],
)
def test_constraints_of_whole_numbers_and_with_odd_settings(keras, name, settings):
    w = np.array([[3, -1], [4, 2]])
    found, expected = (getattr(k.constraints, name)(**settings)(w) for k in (minicnn, keras))
    assert_close(np.asarray(found, "float32"), np.asarray(expected, "float32"), 1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_with_constraints(keras, random, tmp_path, optimizer):
    """Weights after 20 steps, also of the models that each reads from a file of the other."""

    def network(k):
        c = k.constraints
        bound = {"kernel_constraint": c.MaxNorm(0.8, axis=[0, 1, 2]), "bias_constraint": "non_neg"}
        return k.Sequential(
            [
                k.layers.Input((6, 6, 2)),
                k.layers.Conv2D(4, 3, activation="relu", **bound),
                k.layers.BatchNormalization(gamma_constraint=c.MinMaxNorm(0.5, 0.9, 0.5), beta_constraint="unit_norm"),
                k.layers.DepthwiseConv2D(3, 2, "same", use_bias=False, depthwise_constraint="non_neg"),
                k.layers.SeparableConv2D(
                    5, 2, padding="same", depthwise_constraint=c.MaxNorm(0.5), pointwise_constraint="unit_norm"
                ),
                k.layers.Conv2DTranspose(4, 3, 2, kernel_constraint=c.MaxNorm(0.7), bias_constraint="non_neg"),
                k.layers.Flatten(),
                k.layers.Dense(3, activation="softmax", kernel_constraint="max_norm"),
            ]
        )

    ours, theirs = network(minicnn), network(keras)
    ours.save(tmp_path / "m.keras")
    theirs.set_weights(ours.get_weights())
    read = keras.models.load_model(tmp_path / "m.keras")
    theirs.save(tmp_path / "theirs.keras")
    back = minicnn.load_model(tmp_path / "theirs.keras")
    x, y = random.standard_normal((80, 6, 6, 2)).astype("float32"), random.integers(0, 3, 80)
    for model in (ours, theirs, read, back):
        model.compile(optimizer, "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=16, epochs=4, shuffle=False, verbose=0)
    for one, *others in zip(*(model.get_weights() for model in (ours, theirs, read, back)), strict=True):
        for other in others:
            assert_close(one, other, 1e-4)


def test_training_an_autoencoder(keras, random):
    """The losses and the weights after five steps, and the images that come out."""

    def network(k):
        same = {"padding": "same", "activation": "relu"}
        return k.Sequential(
            [
                k.layers.Input((28, 28, 1)),
                k.layers.Conv2D(8, 3, strides=2, **same),
                k.layers.Conv2D(4, 3, strides=2, **same),
                k.layers.Conv2DTranspose(4, 3, strides=2, **same),
                k.layers.Conv2DTranspose(8, 3, strides=2, **same),
                k.layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
            ]
        )

    ours, theirs = network(minicnn), network(keras)
    theirs.set_weights(ours.get_weights())
    x = (minicnn.data.synthetic_digits(80, seed=1)[0] / 255).astype("float32").reshape(-1, 28, 28, 1)
    for model, k in ((ours, minicnn), (theirs, keras)):
        model.compile(k.optimizers.Adam(0.01, epsilon=1e-3), "binary_crossentropy")  # no step for the sign of nearly 0
    for begin in range(0, 80, 16):
        batch = x[begin : begin + 16]
        losses = [float(model.train_on_batch(batch, batch)) for model in (ours, theirs)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_close(one, other, 1e-4)
    assert_close(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-5)


def test_the_part_of_a_model_behind_a_layer(keras, random):
    parts = []
    for k in (minicnn, keras):
        i = k.Input((6,))
        whole = k.Model(i, k.layers.Dense(5)(k.layers.ReLU()(k.layers.Dense(3, name="code")(i))))
        parts.append([k.Model(start, whole.output) for start in (whole.layers[2].input, whole.layers[1].output)])
    weights = [random.standard_normal(weight.shape) for weight in parts[0][0].get_weights()]
    x = random.standard_normal((4, 3)).astype("float32")
    for ours, theirs in zip(*parts, strict=True):
        assert [type(one).__name__ for one in ours.layers] == [type(one).__name__ for one in theirs.layers]
        for part in (ours, theirs):
            part.set_weights(weights)
        assert_close(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-6)


def test_frozen_layers_have_no_penalty(keras, random):
    losses = []
    weights = [random.standard_normal(shape).astype("float32") for shape in ((4, 3), (3,))]
    x, y = random.standard_normal((8, 4)).astype("float32"), random.integers(0, 3, 8)
    for k in (minicnn, keras):
        model = k.Sequential([k.layers.Input((4,)), k.layers.Dense(3, "softmax", kernel_regularizer="l2")])
        model.set_weights(weights)
        model.layers[0].trainable = False
        model.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(model.evaluate(x, y, verbose=0))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# ---------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("shape", [(5, 5, 16, 48), (100, 70)])
@pytest.mark.parametrize(
    "name, options",
    [
        *((f"{author}{kind}", {}) for author in ("Glorot", "He", "Lecun") for kind in ("Normal", "Uniform")),
        ("RandomNormal", {"mean": 0.3, "stddev": 0.2}),
        ("RandomUniform", {"minval": -0.1, "maxval": 0.3}),
        ("TruncatedNormal", {"mean": 0.3, "stddev": 0.2}),
        ("VarianceScaling", {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"}),
        ("VarianceScaling", {"scale": 3.0, "mode": "fan_avg", "distribution": "truncated_normal"}),
        ("Orthogonal", {"gain": 2.0}),
        ("Zeros", {}),
        ("Ones", {}),
        ("Constant", {"value": 0.3}),
    ],
)
def test_initializers(keras, name, options, shape):
    """Mean, spread and limits."""
    ours = getattr(minicnn.initializers, name)(**options)(shape)
    theirs = np.asarray(getattr(keras.initializers, name)(**options)(shape))
    deviation = 5 * theirs.std() / np.sqrt(theirs.size) + 1e-6
    assert abs(ours.mean() - theirs.mean()) < 2 * deviation
    assert abs(ours.std() - theirs.std()) < 2 * deviation
    if "Uniform" in name or "Truncated" in name or name in ("GlorotNormal", "HeNormal", "LecunNormal"):
        np.testing.assert_allclose([ours.min(), ours.max()], [theirs.min(), theirs.max()], atol=0.02 * theirs.std())


def test_identity(keras):
    ours, theirs = (library.initializers.Identity(0.5)((4, 3)) for library in (minicnn, keras))
    np.testing.assert_array_equal(ours, np.asarray(theirs))


@pytest.mark.parametrize("name", ["Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"])
def test_random_layers(keras, random, name):
    """Mean, variance, the share of zeros, how low they go, and what is alike within a channel."""
    x = np.full((400, 4, 3, 25), 2.0, "float32")
    found = []
    for library in (minicnn, keras):
        y = np.asarray(getattr(library.layers, name)(0.3, seed=1)(x, training=True), float)
        channels = y.mean(axis=(1, 2))
        found.append([y.mean(), y.std(), (y == 0).mean(), *np.quantile(y, (0.1, 0.9)), channels.std()])
    np.testing.assert_allclose(*found, atol=0.04)


@pytest.mark.parametrize("name, arguments", [("LeakyReLU", ()), ("PReLU", ()), ("ELU", ()), ("GaussianNoise", (0.1,))])
def test_configurations_have_the_names_of_keras(keras, name, arguments):
    ours = getattr(layers, name)(*arguments).get_config()
    theirs = getattr(keras.layers, name)(*arguments).get_config()
    assert set(ours) <= set(theirs) | {"seed"}


@pytest.mark.parametrize("axis, order", [(-1, 2), (1, 1)])  # for axis 0 Keras takes the last
def test_normalize(keras, axis, order):
    x = np.random.default_rng(0).standard_normal((4, 5, 6))
    x[2], x[:, 1] = 0, 0
    np.testing.assert_allclose(
        minicnn.utils.normalize(x, axis, order), keras.utils.normalize(x, axis, order), rtol=1e-12
    )

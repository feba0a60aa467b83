"""Training on the GPU as a captured step, on a stand-in that writes down what is captured, against training on the CPU."""

import gc
import itertools
import os
import pickle
import warnings
import weakref
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from cuda_emulator import COMPILER, MISSING
from cuda_recorder import DeviceArray, recording_ops

import minicnn
from minicnn import Sequential, backend, captured, layers, losses
from minicnn.callbacks import BackupAndRestore, Callback
from minicnn.constraints import MaxNorm
from minicnn.cuda import Kernels
from minicnn.losses import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from minicnn.optimizers import SGD, Adam
from minicnn.regularizers import L2
from minicnn.schedules import OneCycle

random = np.random.default_rng(0)
IMAGES, LABELS = random.integers(0, 256, (70, 8, 8, 1), np.uint8), random.integers(0, 10, 70)
BATCH = 16  # four batches, and one of six


class Counted:
    """The kernels of a GPU, whose captures and replays are counted as by the stand-in."""

    def __init__(self, kernels):
        self.kernels, self.captured, self.replayed, self.refused, self.step = kernels, 0, 0, None, None

    def __getattr__(self, name):
        return getattr(self.kernels, name)

    def capture(self, step):
        if self.refused:
            raise self.refused
        replay = self.kernels.capture(step)
        self.captured += 1

        def counted():
            self.replayed += 1
            replay()

        return counted


@pytest.fixture(params=["recorded", pytest.param("gpu", marks=pytest.mark.gpu)])
def gpu(request, monkeypatch):
    """The operations of a GPU, in full precision: on the stand-in, and on one."""
    if request.param == "recorded":
        if COMPILER is None:
            pytest.skip(MISSING)
        return recording_ops()
    try:
        found = minicnn.get_ops("gpu")
    except RuntimeError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(found, "precision", "exact")
    monkeypatch.setattr(found, "kernels", Counted(found.kernels))
    return found


def network(dtype="float32", **options):
    minicnn.set_random_seed(3)
    model = Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.RandomAffine(0.05, 0.1, 0.1, 0.1, seed=1),
            layers.Conv2D(6, 3, use_bias=False, kernel_regularizer=L2(1e-3)),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Dropout(0.3, seed=5),
            layers.Conv2D(5, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = Adam(
        OneCycle(0.02, 20), weight_decay=0.01, global_clipnorm=1.0, use_ema=True, ema_overwrite_frequency=3
    )
    loss = SparseCategoricalCrossentropy(label_smoothing=0.1)
    model.compile(optimizer, loss, metrics=["accuracy"], **options)
    model.build((None, 8, 8, 1))
    return model.astype(dtype)


def fit(model, epochs=3, **options):
    options = {"batch_size": BATCH, "verbose": 0, "validation_data": (IMAGES, LABELS)} | options
    return model.fit(IMAGES, LABELS, epochs=epochs, **options).history


def assert_same(one, other, tolerance=1e-4):
    for got, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_is_that_of_the_cpu(gpu, dtype):
    model, cpu = network(dtype).to(gpu), network(dtype)
    tolerance = {"float32": 1e-4, "float64": 1e-9}[dtype]
    for epochs in (3, 1):  # the second time with the graphs of the first
        found, expected = fit(model, epochs), fit(cpu, epochs)
        assert list(found) == list(expected)
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, rel=tolerance), name
        assert_same(model, cpu, tolerance)
        np.testing.assert_allclose(model.predict(IMAGES), cpu.predict(IMAGES), atol=tolerance)
    assert model.optimizer.iterations == cpu.optimizer.iterations == 20
    assert (gpu.kernels.captured, gpu.kernels.replayed) == (
        2,
        18,
    )  # a graph for each size of batches, after a first step
    assert [layer.step for layer in model.layers if hasattr(layer, "seed")] == [20, 20]


def test_all_of_a_step_is_kernels(gpu):
    model = network().to(gpu)
    fit(model, 1)
    if gpu.kernels.step is None:
        pytest.skip("a graph of CUDA's does not say what is in it")
    assert "array code" not in gpu.kernels.step
    assert [gpu.kernels.step.count(name) for name in ("gather", "label_cross_entropy", "collect", "optimize")] == [
        1
    ] * 4


def test_gradients_are_computed_where_the_optimizer_expects_them(gpu):
    """Those of kernels, biases, γ and β whose sizes leave no gaps."""
    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        chain = [convolve(16, activation="relu"), layers.BatchNormalization(), layers.GlobalAveragePooling2D()]
        model = Sequential([layers.Input((8, 8, 1)), layers.Rescaling(1 / 255), *chain, layers.Dense(10)])
        model.compile(SGD(0.05), SparseCategoricalCrossentropy(from_logits=True))
        models.append(model.to(device))
    histories = [model.fit(IMAGES, LABELS, BATCH, 2, 0).history["loss"] for model in models]
    assert histories[1] == pytest.approx(histories[0], rel=1e-4)
    assert_same(*models)
    if gpu.kernels.step is not None:
        assert "gradient_sums" in gpu.kernels.step and "collect" not in gpu.kernels.step


def test_replayed_steps_are_the_same_as_those_started_one_by_one(gpu, monkeypatch):
    models = []
    for capture in (gpu.kernels.capture, lambda step: step):
        monkeypatch.setattr(gpu.kernels, "capture", capture)
        models.append(network().to(gpu))
        fit(models[-1])
    assert gpu.kernels.replayed == 15 - 2
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_repeats_to_the_bit(gpu, monkeypatch):
    found = []
    for backwards in (False, True):
        monkeypatch.setattr(gpu.kernels, "backwards", backwards, raising=False)
        model = network().to(gpu)
        found.append([*fit(model)["loss"], *model.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_replay_drops_others(gpu):
    model = Sequential([layers.Input((50,)), layers.Dropout(0.5, seed=1), layers.Dense(1, kernel_initializer="ones")])
    model.compile(SGD(0.0), "mse")
    model.to(gpu)
    x = np.ones((2, 50), np.float32)
    _, scores = model.train_steps(x, np.zeros(12), None, np.tile([0, 1], 6), 2)
    assert gpu.kernels.replayed == 5 and len(np.unique(scores)) > 5
    cpu = Sequential([layers.Input((50,)), layers.Dropout(0.5, seed=1), layers.Dense(1, kernel_initializer="ones")])
    cpu.compile(SGD(0.0), "mse")
    np.testing.assert_allclose(scores, cpu.train_steps(x, np.zeros(12), None, np.tile([0, 1], 6), 2)[1], rtol=1e-5)


LOSSES = [
    (lambda: CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), "linear"),
    (CategoricalCrossentropy, "sigmoid"),
    (BinaryCrossentropy, "sigmoid"),
    (lambda: MeanSquaredError(reduction="sum"), "linear"),
    (lambda: SparseCategoricalCrossentropy(reduction="sum"), "softmax"),
    *((kind, "linear") for kind in (Huber, LogCosh, CosineSimilarity, Hinge, SquaredHinge, CategoricalHinge)),
    *((kind, "sigmoid") for kind in (MeanSquaredLogarithmicError, Poisson)),
    *((kind, "softmax") for kind in (KLDivergence, CategoricalFocalCrossentropy)),
    (lambda: BinaryFocalCrossentropy(True, from_logits=True), "linear"),
    (lambda: CategoricalFocalCrossentropy(np.linspace(0.1, 1, 10), 1.5, from_logits=True), "linear"),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss, activation", LOSSES, ids=lambda one: getattr(one, "__name__", one))
def test_losses(gpu, loss, activation, weighted):
    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        model = Sequential(
            [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, activation, kernel_regularizer="l2")]
        )
        model.compile(SGD(0.01), loss(), metrics=["accuracy"])
        models.append(model.to(device))
    y = LABELS if isinstance(models[0].loss, SparseCategoricalCrossentropy) else np.eye(10)[LABELS]
    x = (IMAGES / 255).astype(np.float32)
    weights = random.uniform(0, 2, len(y)) if weighted else None
    for given in (weights, None):
        histories = [m.fit(x, y, BATCH, 2, 0, sample_weight=given).history for m in models]
        assert histories[1]["loss"] == pytest.approx(histories[0]["loss"], rel=1e-4)
        assert histories[1]["accuracy"] == pytest.approx(histories[0]["accuracy"])
    assert_same(*models)
    assert gpu.kernels.captured


LAYERS = [
    lambda: layers.RandomTranslation(0.1, 0.1, "constant", seed=1),
    lambda: layers.RandomRotation(0.1, seed=1),
    lambda: layers.RandomZoom(0.2, seed=1),
    lambda: layers.RandomZoom((0.1, 0.2), 0.3, seed=1),
    lambda: layers.RandomShear(0.2, 0.1, seed=1),
    lambda: layers.RandomFlip(seed=1),
    lambda: layers.Normalization(2, 0.5, 4.0),
    lambda: layers.Normalization(),
    lambda: layers.Activation(layers.LeakyReLU()),
    lambda: layers.Dense(3, layers.ReLU(1.0)),
    lambda: layers.RandomAffine(0.1, elastic=(2.0, 1.5), seed=1),
    lambda: layers.RandomErasing(0.7, seed=1, fill_value=0.5),
    lambda: layers.RandomErasing(seed=1, value_range=(0, 1)),
    lambda: layers.RandomGaussianNoise(0.8, 0.2, seed=1),
    lambda: layers.GaussianNoise(0.2, seed=1),
    lambda: layers.SpatialDropout2D(0.4, seed=1),
    lambda: layers.AlphaDropout(0.4, seed=1),
    lambda: layers.GaussianDropout(0.4, seed=1),
    lambda: layers.Conv2DTranspose(4, 3, 2, "same", activation="relu"),
    lambda: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2),
    lambda: layers.SeparableConv2D(5, 3, dilation_rate=2),
    lambda: layers.BatchNormalization(scale=False, center=False),
    lambda: layers.BatchNormalization(trainable=False),
    lambda: layers.PReLU(),
    lambda: layers.PReLU(shared_axes=[1, 2]),
    lambda: layers.LeakyReLU(),
    lambda: layers.ELU(),
    lambda: layers.ReLU(1.0, 0.1, 0.1),
    lambda: layers.Activation("gelu"),
    lambda: layers.Softmax(),
    lambda: layers.Activation("log_softmax"),
    lambda: layers.ZeroPadding2D(),
    lambda: layers.Cropping2D(1),
    lambda: layers.Permute((2, 1, 3)),
    lambda: layers.Resizing(5, 9),
    lambda: layers.CenterCrop(5, 6),
    lambda: layers.UpSampling2D(2),
    lambda: layers.LayerNormalization(),
    lambda: layers.GroupNormalization(1),
    lambda: layers.UnitNormalization(),
    lambda: layers.RandomBrightness(0.2, (-1, 1), seed=1),
    lambda: layers.RandomContrast(0.2, (-1, 1), seed=1),
    lambda: layers.AveragePooling2D(2, 1, "same"),
    lambda: layers.Reshape((4, 4, 12)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda make: repr(make()).split()[0][1:])
def test_layers(gpu, layer):
    """Each between others, so that its gradient is asked for too."""
    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        convolved = layers.Conv2D(3, 1, use_bias=False)
        chain = [
            layers.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            convolved,
            layer(),
            layers.GlobalAveragePooling2D(),
        ]
        model = Sequential([*chain, layers.Dense(10)])
        model.compile(SGD(0.01, 0.9), SparseCategoricalCrossentropy(from_logits=True))
        models.append(model.to(device))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        histories = [model.fit(IMAGES, LABELS, BATCH, 2, 0).history["loss"] for model in models]
    assert histories[1] == pytest.approx(histories[0], rel=1e-4)
    assert_same(*models)
    assert gpu.kernels.captured == 2


def convolve(filters=4, size=2, **options):
    return layers.Conv2D(filters, size, **options)


CHAINS = {  # what follows the ReLUs, and how many gradients of theirs are computed by themselves
    "products": (0, lambda: [convolve(5, 3, activation="relu"), convolve(strides=2, activation="relu"),
        layers.Flatten(), layers.Dense(9, "relu"), layers.Dense(7, layers.ReLU()), layers.Dropout(0.2, seed=2)]),
    "batch norm": (0, lambda: [convolve(activation="relu"), layers.BatchNormalization(), convolve(activation="relu"),
        layers.BatchNormalization(momentum=0.9), layers.Flatten()]),
    "batch norm before": (0, lambda: [convolve(use_bias=False), layers.BatchNormalization(), layers.ReLU(), convolve(use_bias=False),
        layers.MaxPooling2D(), layers.BatchNormalization(), layers.ReLU(), layers.Flatten()]),
    "pooling and dropout": (0, lambda: [convolve(activation="relu"), layers.MaxPooling2D(3, 2, "same"),
        layers.Dropout(0.3, seed=1), convolve(6, activation="relu"), layers.Dropout(0.1, seed=3),
        layers.MaxPooling2D(2, 1), layers.Flatten(), layers.Dense(8, "relu")]),
    "the largest of all": (0, lambda: [convolve(activation="relu"), layers.GlobalMaxPooling2D()]),
    "means": (1, lambda: [convolve(activation="relu"), layers.AveragePooling2D(), convolve(), layers.Flatten()]),
    "means of the largest": (1, lambda: [convolve(activation="relu"), layers.MaxPooling2D(),
        layers.AveragePooling2D(), layers.Flatten()]),
    "a constant batch norm": (1, lambda: [convolve(activation="relu"), layers.BatchNormalization(trainable=False),
        layers.Flatten()]),
    "depthwise and separable": (2, lambda: [convolve(activation="relu"), layers.DepthwiseConv2D(3, padding="same"),
        layers.SeparableConv2D(5, 2, activation="relu", depth_multiplier=2), layers.MaxPooling2D(),
        layers.DepthwiseConv2D(2, activation="relu"), layers.Flatten()]),
    "transposed": (0, lambda: [convolve(activation="relu"), layers.Conv2DTranspose(5, 3, 2, "same", activation="relu"),
        convolve(6, 3, activation="relu"), layers.Conv2DTranspose(3, (2, 1)), layers.Flatten()]),
    "other activations": (5, lambda: [convolve(activation="relu"), layers.LeakyReLU(), convolve(activation="relu"),
        layers.GaussianNoise(0.1, seed=1), layers.ReLU(), layers.ReLU(1.0), layers.Flatten()]),
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
def test_who_follows_a_relu_computes_its_gradient_as_well(gpu, chain):
    own, make = CHAINS[chain]
    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        model = Sequential([layers.Input((8, 8, 1)), layers.Rescaling(1 / 255), *make(), layers.Dense(10)])
        model.compile(SGD(0.05, 0.9), SparseCategoricalCrossentropy(from_logits=True))
        models.append(model.to(device))
    histories = [model.fit(IMAGES, LABELS, BATCH, 2, 0).history["loss"] for model in models]
    assert histories[1] == pytest.approx(histories[0], rel=1e-4)
    assert_same(*models)
    if gpu.kernels.step is not None:
        assert sum(gpu.kernels.step.count(name) for name in ("where_positive", "relu_backward")) == own
    # alone, a layer's gradient is still its own
    x, relu = gpu.array(np.array([[-1.0, 2.0]], np.float32)), layers.ReLU().to(gpu)
    relu.forward(x)
    assert gpu.numpy(relu.backward(x)).tolist() == [[0, 2]]


@pytest.mark.parametrize("early", [False, True])
def test_what_runs_beside_the_rest_may_do_so_early_or_late(gpu, monkeypatch, early):
    monkeypatch.setattr(gpu.kernels, "early", early, raising=False)
    model, cpu = network().to(gpu), network()
    fit(model), fit(cpu)
    assert_same(model, cpu)


def test_kernels_are_swapped_beside_the_forward_pass(gpu, monkeypatch):
    """In a captured step, for all layers, and joined before the backward pass asks for them; elsewhere when it does."""
    kernels, log = gpu.kernels, []
    launch, beside, join = kernels.launch, kernels.beside, kernels.join

    @contextmanager
    def noted(mark):
        log.append("beside")
        with beside(mark):
            yield
        log.append("back")

    monkeypatch.setattr(kernels, "launch", lambda *a, **k: (log.append(a[1]), launch(*a, **k))[1])
    monkeypatch.setattr(kernels, "beside", noted)
    monkeypatch.setattr(kernels, "join", lambda: (log.append("join"), join())[1])
    model = network().to(gpu)
    model.train_steps(IMAGES, LABELS[:32], None, np.arange(32), BATCH)
    assert kernels.captured == 1
    step = log[len(log) - log[::-1].index("gather") - 1 :]  # the captured one
    forward, backward = (lambda end: (step[:end], step[end:]))(step.index("label_cross_entropy"))
    assert [forward[i - 1 : i + 2] for i, what in enumerate(forward) if what == "swap_channels"] == [
        ["beside", "swap_channels", "back"]
    ] * 3
    assert [forward[i - 2] for i, what in enumerate(forward) if what == "swap_channels"] == ["conv2d"] * 3
    assert "join" not in forward and "swap_channels" not in backward
    assert backward.index("join") < backward.index("beside")

    del log[:]
    x, kernel = gpu.array(random.standard_normal((2, 5, 5, 3))), gpu.array(random.standard_normal((2, 2, 3, 4)))
    y, saved = gpu.conv2d(x, kernel, None, (1, 1), ((0, 0), (0, 0)), (1, 1))
    assert "swap_channels" not in log
    gpu.conv2d_backward(y, kernel, saved)
    assert log.count("swap_channels") == 1


def test_a_step_whose_kernels_are_all_frozen(gpu):
    """No gradient of theirs joins what was begun beside the forward pass: the end of the chain does."""
    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        chain = [
            convolve(trainable=False),
            convolve(3, trainable=False),
            layers.GlobalAveragePooling2D(),
            layers.PReLU(),
        ]
        model = Sequential([layers.Input((8, 8, 1)), layers.Rescaling(1 / 255), *chain])
        model.compile(SGD(0.1), "mse")
        models.append(model.to(device))
    y = random.standard_normal((len(IMAGES), 3))
    histories = [model.fit(IMAGES, y, BATCH, 2, 0).history["loss"] for model in models]
    assert histories[1] == pytest.approx(histories[0], rel=1e-4)
    assert_same(*models)
    assert gpu.kernels.captured == 2


class Twice(layers.Layer):
    def forward(self, x, training=False):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


class Own(SGD):
    def apply(self, w, g, learning_rate):
        w -= learning_rate * g


class OwnLoss(MeanSquaredError):
    pass


class OwnPenalty(minicnn.regularizers.Regularizer):
    def __call__(self, x):
        return (x**4).sum()

    def gradient(self, x):
        return 4 * x**3


@pytest.mark.parametrize(
    "chain, optimizer, loss, reason",
    [
        ([layers.ReLU(name="r", activity_regularizer="l2")], "sgd", "mse", "what comes out of layer r is penalized"),
        ([Twice(name="twice")], "sgd", "mse", "layer twice, a Twice, may do anything"),
        (
            [layers.RandomGaussianBlur(name="soft")],
            "sgd",
            "mse",
            "layer soft, a RandomGaussianBlur, waits for the device",
        ),
        ([layers.RandomElasticTransform(name="bent")], "sgd", "mse", "layer bent, a RandomElasticTransform, waits for"),
        ([], Own(), "mse", "the optimizer, a Own, may do anything"),
        ([], "sgd", OwnLoss(), "the loss, a OwnLoss, may do anything"),
        ([layers.Conv2D(1, 1, kernel_regularizer=OwnPenalty(), name="c")], "sgd", "mse", "the regularizer of c/kernel"),
    ],
    ids=["activity", "layer", "blur", "elastic", "optimizer", "loss", "regularizer"],
)
def test_what_cannot_be_captured_is_said_once(gpu, chain, optimizer, loss, reason):
    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        copies = pickle.loads(pickle.dumps(chain))
        model = Sequential([layers.Input((8, 8, 1)), *copies, layers.Flatten(), layers.Dense(1)])
        model.compile(pickle.loads(pickle.dumps(optimizer)), loss)
        models.append(model.to(device))
    cpu, model = models
    y = LABELS / 10
    expected = cpu.fit(IMAGES / 255, y, BATCH, 2, 0).history
    with pytest.warns(
        UserWarning, match=f"model sequential.* is trained layer by layer, not as one captured step: {reason}"
    ) as said:
        found = model.fit(IMAGES / 255, y, BATCH, 1, 0).history
        found["loss"] += model.fit(IMAGES / 255, y, BATCH, 2, 0, initial_epoch=1).history["loss"]
    assert len(said) == 1
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert not gpu.kernels.captured


SHARES = np.linspace(1, 2, 10)
OWN_LOSSES = {
    "an array of the host": lambda y_true, y_pred: np.sum(SHARES * (y_true - y_pred) ** 2, axis=-1),
    "a product": lambda y_true, y_pred: ((y_pred @ np.diag(SHARES)) * y_true).mean(axis=-1),
    "other losses": lambda y_true, y_pred: losses.mean_squared_error(y_true, y_pred) + Huber()(y_true, y_pred),
    "another type": lambda y_true, y_pred: backend.square(backend.cast(y_true, "float32") - y_pred).mean(axis=-1),
}


@pytest.mark.parametrize("loss", OWN_LOSSES)
def test_losses_that_calculate_as_on_the_cpu(gpu, loss):
    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        model = Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, "softmax")])
        model.compile(SGD(0.1), OWN_LOSSES[loss])
        models.append(model.to(device))
    x, y = IMAGES / np.float32(255), np.eye(10)[LABELS]
    expected = models[0].fit(x, y, BATCH, 2, 0).history["loss"]
    with pytest.warns(UserWarning, match="may do anything"):
        found = models[1].fit(x, y, BATCH, 2, 0).history["loss"]
    assert found == pytest.approx(expected, rel=1e-4)
    assert_same(*models)


def test_functions_with_arrays_of_the_host(gpu, monkeypatch):
    if gpu.kernels.step is not None:
        monkeypatch.setattr(
            DeviceArray, "__cuda_array_interface__", property(lambda self: self.__array_interface__), raising=False
        )
        monkeypatch.setattr("minicnn.derivatives.get_ops", lambda name: gpu)
    middle, rest = np.linspace(-1, 1, 12, dtype=np.float32), np.ones((BATCH, 2), np.float32)

    def function(x):
        return np.concatenate([np.where(x > middle, x - middle, middle), rest[: len(x)]], axis=1)

    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        chain = [layers.Flatten(), layers.Dense(12), layers.Lambda(function), layers.Dense(10)]
        model = Sequential([layers.Input((8, 8, 1)), *chain])
        model.compile(SGD(0.1), SparseCategoricalCrossentropy(from_logits=True))
        models.append(model.to(device))
    x = IMAGES / np.float32(255)
    expected = models[0].fit(x, LABELS, BATCH, 2, 0).history["loss"]
    with pytest.warns(UserWarning, match="may do anything"):
        found = models[1].fit(x, LABELS, BATCH, 2, 0).history["loss"]
    assert found == pytest.approx(expected, rel=1e-4)
    assert_same(*models)


def test_a_capture_that_fails_is_said_once(gpu):
    gpu.kernels.refused = RuntimeError("no graphs today")
    model, cpu = network().to(gpu), network()
    with pytest.warns(UserWarning, match=r"kernel by kernel.*the step cannot be captured \(no graphs today\)") as said:
        fit(model)
    fit(cpu)
    assert len(said) == 1
    assert_same(model, cpu)


def test_a_capture_without_memory_is_an_exception_after_which_training_goes_on(gpu, monkeypatch):
    model, cpu = network().to(gpu), network()
    capture, empty, calls = gpu.kernels.capture, gpu.empty, itertools.count()

    def short(step):
        with monkeypatch.context() as patch:
            patch.setattr(gpu, "empty", lambda *size: empty(*size) if next(calls) < 9 else refuse())
            return capture(step)

    def refuse():
        raise MemoryError("the GPU is full")

    rows = np.arange(32)
    with monkeypatch.context() as patch:
        patch.setattr(gpu.kernels, "capture", short)
        with pytest.raises(MemoryError, match="the GPU is full"):
            model.train_steps(IMAGES, LABELS[rows], None, rows, BATCH)
    assert next(calls) == 10 and model.optimizer.iterations == 1
    cpu.train_steps(IMAGES, LABELS[:16], None, rows[:16], BATCH)
    assert_same(model, cpu)
    fit(model, 1), fit(cpu, 1)
    assert_same(model, cpu)


def test_a_model_that_runs_eagerly_says_nothing(gpu):
    model, cpu = network(run_eagerly=True).to(gpu), network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model)
    fit(cpu)
    assert_same(model, cpu)
    assert not gpu.kernels.captured


def test_a_callback_sees_every_batch(gpu):
    class Losses(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, logs["loss"], logs["accuracy"]))

    found = []
    for device in ("cpu", gpu):
        found.append(seen := [])
        fit(network().to(device), callbacks=[Losses()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    assert gpu.kernels.replayed == 13


def test_what_changes_between_steps(gpu):
    """Weights, settings of layers and of the optimizer, frozen layers, the data themselves, and the device."""

    def freeze(model):
        model.layers[2].trainable = False
        model.layers[7].kernel.trainable = False

    def halve(model):
        model.set_weights([weight / 2 for weight in model.get_weights()])

    def change(model):
        model.layers[6].rate = 0.6
        model.layers[3].momentum = 0.5
        model.layers[1].rotation = 0.2

    def slower(model):
        model.optimizer.weight_decay = 0.1
        model.optimizer.global_clipnorm = 0.1

    model, cpu = network().to(gpu), network()
    for what in (halve, change, slower, freeze):
        for one in (model, cpu):
            fit(one, 1)
            what(one)
        fit(model, 1), fit(cpu, 1)
        assert_same(model, cpu)
    for one, device in ((model, "cpu"), (cpu, gpu)):
        one.to(device)
    for x in (IMAGES[::-1], IMAGES / 255):
        for one in (model, cpu):
            one.fit(x, LABELS, BATCH, 1, 0)
            one.train_on_batch(x[:5], LABELS[:5])
    assert_same(model, cpu)


@pytest.mark.parametrize(
    "loss, name, value",
    [(Huber, "delta", 0.1), (BinaryFocalCrossentropy, "gamma", 0.5), (CategoricalFocalCrossentropy, "alpha", 2.0)],
)
def test_settings_of_a_loss_that_change_between_steps(gpu, loss, name, value):
    models = []
    for device in ("cpu", gpu):
        minicnn.set_random_seed(1)
        model = Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, "softmax")])
        model.compile(SGD(0.5), loss())
        model.to(device).fit(IMAGES / 255, np.eye(10)[LABELS], BATCH, 1, 0)
        setattr(model.loss, name, value)
        model.fit(IMAGES / 255, np.eye(10)[LABELS], BATCH, 1, 0)
        models.append(model)
    assert_same(*models)


def test_batches_that_are_changed_in_place(gpu):
    model, cpu = network().to(gpu), network()
    x = np.empty((BATCH, 8, 8, 1), np.uint8)
    for first in (0, 16, 32, 48):
        x[...] = IMAGES[first : first + BATCH]
        for one in (model, cpu):
            one.train_on_batch(x, LABELS[first : first + BATCH])
    assert_same(model, cpu)
    assert (gpu.kernels.captured, gpu.kernels.replayed) == (1, 3)


def test_a_generator(gpu):
    def batches():
        while True:
            for first in range(0, 64, BATCH):
                yield IMAGES[first : first + BATCH], LABELS[first : first + BATCH]

    model, cpu = network().to(gpu), network()
    for one in (model, cpu):
        one.fit(batches(), epochs=2, steps_per_epoch=4, verbose=0)
    assert_same(model, cpu)


def test_labels_that_there_are_not(gpu):
    model = network().to(gpu)
    with pytest.raises(ValueError, match="labels must be integers from 0 to 9, but label 1 is 10"):
        model.train_on_batch(IMAGES[:3], np.array([1, 10, 2]))
    assert model.optimizer.iterations == 0


def test_an_interrupted_step_does_not_count(gpu, monkeypatch):
    model, cpu = network().to(gpu), network()
    rows = np.arange(64)
    replays = iter([lambda replay: replay(), lambda replay: replay()])

    def capture(step, capture=gpu.kernels.capture):
        replay = capture(step)

        def limited():
            found = next(replays, None)
            if found is None:
                raise KeyboardInterrupt
            found(replay)

        return limited

    with monkeypatch.context() as patch:
        patch.setattr(gpu.kernels, "capture", capture)
        with pytest.raises(KeyboardInterrupt):
            model.train_steps(IMAGES, LABELS[rows], None, rows, BATCH)
    assert model.optimizer.iterations == 3
    cpu.train_steps(IMAGES, LABELS[:48], None, rows[:48], BATCH)
    assert_same(model, cpu)


def test_more_steps_than_are_done_at_once(gpu, monkeypatch):
    monkeypatch.setattr(captured, "MOST", 5)
    monkeypatch.setattr(captured, "AHEAD", 2)
    rows = np.tile(np.arange(64), 3)
    found = [model.train_steps(IMAGES, LABELS[rows], None, rows, BATCH) for model in (network().to(gpu), network())]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-4 * np.abs(found[1][1]).max())


def test_saved_on_one_device_and_loaded_on_another(gpu, tmp_path):
    model, cpu = network().to(gpu), network()
    for one in (model, cpu):
        fit(one, 1)
    model.save(tmp_path / "model.safetensors")
    loaded = minicnn.load_model(tmp_path / "model.safetensors")
    for one in (model, loaded, cpu):
        one.seed = 1
        fit(one, 1)
    assert_same(loaded, cpu)
    assert_same(model, cpu)


def test_nothing_of_a_run_remains(gpu):
    model = network().to(gpu)
    fit(model, 1)
    runs = [weakref.ref(run) for run in model._engine.runs.values()]
    model.layers[6].rate = 0.1
    fit(model, 1)
    gc.collect()
    assert len(runs) == 2 and not any(run() for run in runs)
    in_use = []
    for _ in range(4):
        fit(model, 1)
        gc.collect()
        pool = getattr(gpu.xp, "get_default_memory_pool", None)
        arrays = sum(isinstance(one, DeviceArray) for one in gc.get_objects())
        in_use.append(arrays if pool is None else pool().used_bytes())
    assert len(set(in_use[1:])) == 1


def free_memory(gpu):
    """Bytes of a GPU that no process has taken: only one may be at work."""
    if gpu.kernels.step is not None:
        pytest.skip("for a GPU")
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("the tests beside this one take memory of the GPU too: it needs a run without -n")
    return gpu.xp.cuda.runtime.memGetInfo()[0]


@pytest.mark.gpu
def test_a_thousand_steps_leave_nothing(gpu):
    free_memory(gpu)
    model = network().to(gpu)
    rows = np.tile(np.arange(64), 250)
    for _ in range(2):  # the first one empties the pool in the middle
        model.train_steps(IMAGES, LABELS[rows], None, rows, BATCH)
    free = free_memory(gpu)
    model.train_steps(IMAGES, LABELS[rows], None, rows, BATCH)
    assert free_memory(gpu) == free


@pytest.mark.gpu
def test_graphs_that_are_gone_leave_nothing(gpu):
    free_memory(gpu)
    x, free = gpu.array(np.ones(2**22, np.float32)), []
    gpu.rescale(x, 2.0, 0.0)
    for _ in range(6):
        replay = gpu.kernels.capture(lambda: [gpu.rescale(x, 2.0, 0.0) for _ in range(4)])
        replay()
        del replay
        free.append(free_memory(gpu))
    assert len(set(free[1:])) == 1


def test_numbers_of_another_type_begin_anew(gpu):
    """Bytes and floats are gathered by two kernels: each is compiled by a step that is not captured."""
    model, rows, kernels = network().to(gpu), np.arange(64), gpu.kernels
    model.train_steps(IMAGES, LABELS[rows], None, rows, BATCH)
    assert (kernels.captured, kernels.replayed) == (1, 3)
    floats = IMAGES.astype("float32")
    model.train_steps(floats, LABELS[rows], None, rows, BATCH)
    assert (kernels.captured, kernels.replayed) == (2, 6)


def test_constraints_follow_every_step(gpu):
    def bounded():
        minicnn.set_random_seed(3)
        bound = {"kernel_constraint": MaxNorm(0.3, axis=(0, 1, 2)), "bias_constraint": "non_neg"}
        model = Sequential([layers.Conv2D(4, 3, input_shape=(8, 8, 1), **bound), layers.Flatten(), layers.Dense(10)])
        model.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
        return model

    model, cpu = bounded().to(gpu), bounded()
    for each in (model, cpu):
        each.fit(IMAGES / np.float32(255), LABELS, BATCH, 2, verbose=0, shuffle=False)
    assert_same(model, cpu)
    assert (np.sqrt((model.get_weights()[0] ** 2).sum(axis=(0, 1, 2))) < 0.3001).all()
    assert gpu.kernels.replayed == 8  # all but the first of sixteen images and the first of six


def test_numbers_of_the_host_go_into_parameters(gpu):
    model = network().to(gpu)
    model.build((None, 8, 8, 1))
    kernel = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D)).kernel
    kernel.assign(np.full(kernel.shape, 2.0))
    np.testing.assert_array_equal(kernel.numpy(), np.full(kernel.shape, 2.0, "float32"))
    kernel.value = gpu.array(np.ones(kernel.shape, "float32"))
    np.testing.assert_array_equal(kernel.numpy(), np.ones(kernel.shape, "float32"))


def test_weights_drawn_anew_are_not_kept_on_the_device(gpu):
    layer = layers.RandomGaussianBlur(1.0, 5, (0.3, 1.0), seed=1).to(gpu)
    layer.build((None, 8, 8, 1))
    kept = len(vars(gpu).get("_constants", {}))
    for _ in range(5):
        layer(gpu.array(IMAGES[:4], "float32"), training=True)
    assert len(vars(gpu).get("_constants", {})) == kept


@pytest.mark.gpu
def test_memory_that_there_is_not(gpu):
    """It is an exception, after which training goes on."""
    if gpu.kernels.step is not None:
        pytest.skip("for a GPU")
    model, pool = network().to(gpu), gpu.xp.get_default_memory_pool()
    many = np.zeros((1_000_000, 8, 8, 1), np.uint8)
    fit(model, 1)
    pool.set_limit(pool.total_bytes() + 2**20)
    try:
        with pytest.raises(MemoryError):
            model.fit(many, np.zeros(len(many), int), BATCH, verbose=0)
    finally:
        pool.set_limit(0)
    cpu = network()
    fit(cpu, 1)
    assert_same(model, cpu)
    fit(model, 1), fit(cpu, 1)
    assert_same(model, cpu)


def test_training_that_was_interrupted(gpu, tmp_path):
    """It is taken up by another model, on the GPU, and ends as that of the CPU which nobody interrupted."""

    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    model, cpu = network().to(gpu), network()
    with pytest.raises(KeyboardInterrupt):
        fit(model, callbacks=[BackupAndRestore(tmp_path), Stop()])
    again = network().to(gpu)
    again.seed = cpu.seed = model.seed
    fit(again, callbacks=[BackupAndRestore(tmp_path)])
    fit(cpu)
    assert_same(again, cpu)


class Fake:
    """So much of CuPy as a capture needs; `log` has what is asked for."""

    class CUDARuntimeError(Exception):
        pass

    def __init__(self):
        self.log = log = []
        at = SimpleNamespace
        self.graph = graph = at(launch=lambda: log.append("launch"), upload=lambda: log.append("upload"))

        def end():
            log.append("end")
            if "failed" in log:
                raise self.CUDARuntimeError("invalidated")
            return graph

        names, within = itertools.cycle(["stream", "side"]), []

        @contextmanager
        def entered(name):
            log.append(name)
            within.append(name)
            yield
            log.append("default")
            within.pop()

        @contextmanager
        def using_allocator(malloc):
            log.append(malloc)
            yield
            log.append("pool")

        def stream(name):
            contexts = []
            found = MagicMock(begin_capture=lambda: log.append("begin"), end_capture=end)
            found.__enter__.side_effect = lambda: [contexts.append(entered(name)), contexts[-1].__enter__()]
            found.__exit__.side_effect = lambda *error: contexts.pop().__exit__(*error)
            found.record = lambda: (log.append(f"{name} is marked"), f"what {name} had to do")[1]
            found.wait_event = lambda event: log.append(f"{name} waits for {event}")
            return found

        self.get_default_memory_pool = lambda: at(free_all_blocks=lambda: log.append("free"))
        self.cuda = at(
            MemoryPool=self.pool, Memory=self.memory, MemoryPointer=lambda *of: of, Stream=lambda non_blocking: stream(next(names)),
            get_current_stream=lambda: stream(within[-1]), using_allocator=using_allocator,
            runtime=at(CUDARuntimeError=self.CUDARuntimeError), Device=lambda: at(attributes={"MultiProcessorCount": 1}),
        )  # fmt: skip
        self.in_use = 0  # bytes of a pool that arrays keep
        self.error = None  # what an allocation ends with

    def memory(self, size):
        if self.error:
            raise self.CUDARuntimeError(self.error)
        return f"{size} bytes"

    def pool(self, allocator):
        self.allocator = allocator
        return SimpleNamespace(
            malloc="own pool",
            free_all_blocks=lambda: self.log.append("own pool freed"),
            total_bytes=lambda: self.in_use,
        )


def test_what_a_capture_asks_of_cupy():
    cupy = Fake()
    replay = Kernels(cupy).capture(lambda: cupy.log.append(gc.isenabled()))
    assert cupy.log == ["free", "stream", "own pool", "begin", False, "end", "upload", "pool", "default"]
    assert gc.isenabled()
    del cupy.log[:]
    replay(), replay()
    assert cupy.log == ["launch", "launch"]


def test_the_memory_of_a_graph_goes_when_it_does():
    """At once what is free, and the rest, which arrays still use, before the next captures, until nothing is left."""
    cupy = Fake()
    kernels = Kernels(cupy)
    replay, kept = kernels.capture(lambda: None), []
    del cupy.log[:], replay
    assert cupy.log == ["own pool freed"]
    for in_use, freed in ((8, 1), (0, 1), (0, 0)):
        del cupy.log[:]
        cupy.in_use = in_use
        kept.append(kernels.capture(lambda: None))
        assert cupy.log.count("own pool freed") == freed


def test_two_streams_of_a_capture():
    """What may run beside the rest begins after all before its mark, and all that comes after a `join` after it."""
    cupy = Fake()
    kernels = Kernels(cupy)

    def step():
        kernels.join()  # of nothing
        for name in ("beside", "again"):
            mark = kernels.mark()
            cupy.log.append(f"before {name}")
            with kernels.beside(mark):
                cupy.log.append(name)
        cupy.log.append("meanwhile")
        kernels.join()
        kernels.join()
        cupy.log.append("joined")

    step()
    together = ["before beside", "beside", "before again", "again", "meanwhile", "joined"]
    assert cupy.log == together  # without a capture in turn
    del cupy.log[:]
    kernels.capture(step)
    first, last = cupy.log.index("begin"), cupy.log.index("end")
    assert cupy.log[first + 1 : last] == [
        "stream is marked", "before beside", "side waits for what stream had to do", "side", "beside", "default",
        "stream is marked", "before again", "side waits for what stream had to do", "side", "again", "default",
        "meanwhile", "side is marked", "stream waits for what side had to do", "joined",
    ]  # fmt: skip


def test_a_capture_that_fails_ends():
    def step():
        cupy.log.append("failed")
        raise RuntimeError("not now")

    cupy = Fake()
    with pytest.raises(RuntimeError, match="not now"):
        Kernels(cupy).capture(step)
    assert "end" in cupy.log and "upload" not in cupy.log and gc.isenabled()


@pytest.mark.parametrize(
    "error, kind, sentence",
    [
        ("cudaErrorMemoryAllocation: all used", MemoryError, "^the GPU has no 4,096 bytes left for a captured step$"),
        ("cudaErrorStreamCaptureUnsupported: not now", Fake.CUDARuntimeError, "not now"),
    ],
)
def test_a_graph_for_which_there_is_too_little_memory(error, kind, sentence):
    """CuPy's pool does not see the error, after which it would free what earlier nodes use; the next capture frees it all."""
    cupy = Fake()
    kernels = Kernels(cupy)
    kernels.capture(lambda: cupy.log.append(cupy.allocator(512)))
    assert ("512 bytes", 0) in cupy.log
    cupy.error = error
    with pytest.raises(kind, match=sentence):
        kernels.capture(lambda: cupy.allocator(4096))
    del cupy.log[:]
    kept = kernels.capture(lambda: None)
    assert cupy.log.count("own pool freed") == 1 and kept


def test_a_graph_that_is_not_made_executable():
    """It fails while it is captured, not when it is launched."""

    def upload():
        raise Fake.CUDARuntimeError("no room for the graph")

    cupy = Fake()
    cupy.graph.upload = upload
    with pytest.raises(Fake.CUDARuntimeError, match="no room for the graph"):
        Kernels(cupy).capture(lambda: None)
    assert gc.isenabled()


# ---------------------------------------------------------------------- operations of a step


def test_rows_of_steps(gpu):
    table, step = random.standard_normal((3, 4, 5)), gpu.array(np.array([4]))
    np.testing.assert_array_equal(gpu.numpy(gpu.take(gpu.array(table), step)), table[1])
    gpu.advance(step)
    np.testing.assert_array_equal(gpu.numpy(gpu.take(gpu.array(table, "float32"), step)), table[2].astype("float32"))


def test_gathered_numbers(gpu):
    data, order = random.standard_normal((9, 3, 2)), random.permutation(9)
    arrays = gpu.array(data), gpu.array(order, "int32"), gpu.array(np.array([5]))
    np.testing.assert_array_equal(gpu.numpy(gpu.gather(*arrays, 4, "float64")), data[order[4:8]])
    with pytest.raises(
        ValueError, match="gather data: expected a contiguous array of float32, received one of float64"
    ):
        gpu.gather(*arrays, 4, "float32")


def test_counters_advance_together(gpu):
    counter = gpu.array(np.array([3, 2**40]))
    gpu.advance(counter)
    np.testing.assert_array_equal(gpu.numpy(counter), [4, 2**40 + 1])


@pytest.mark.parametrize("count", [1, 32, 70])
def test_collected_parts(gpu, count):
    parts = [random.standard_normal((size % 5 + 1, size)) for size in range(1, 10 * count, 10)]
    places = np.cumsum([3, *(part.size + 2 for part in parts)])
    y = gpu.array(np.full(places[-1], 7.0))
    gpu.collect([(gpu.array(part), int(place)) for part, place in zip(parts, places, strict=False)], y)
    expected = np.full(places[-1], 7.0)
    for part, place in zip(parts, places, strict=False):
        expected[place : place + part.size] = part.ravel()
    np.testing.assert_array_equal(gpu.numpy(y), expected)


def test_the_loss_of_a_step(gpu):
    """In its row; the others stay."""
    scores, labels = random.standard_normal((7, 10)), random.integers(0, 10, (3, 7))
    weights, step = random.uniform(0, 2, (3, 7)), gpu.array(np.array([5]))
    losses, kept = gpu.array(np.full((3, 7), 9.0)), gpu.array(np.full((3, 7, 10), 9.0))
    arrays = gpu.array(scores), gpu.array(labels, "int32"), gpu.array(weights)
    gradient = gpu.label_cross_entropy(*arrays, 0.1, losses, kept, step)
    p, targets = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), 0.9 * np.eye(10)[labels[2]] + 0.01
    found = -weights[2] * (targets * np.log(p)).sum(axis=1)
    np.testing.assert_allclose(gpu.numpy(losses), np.stack([*np.full((2, 7), 9.0), found]), rtol=1e-12)
    np.testing.assert_allclose(gpu.numpy(gradient), weights[2][:, None] * (p - targets), atol=1e-14)
    np.testing.assert_array_equal(gpu.numpy(kept), np.stack([*np.full((2, 7, 10), 9.0), scores]))


def test_averages_that_follow_a_batch(gpu):
    x, mean, variance = random.standard_normal((6, 5, 4)), random.standard_normal(4), random.uniform(1, 2, 4)
    moving = gpu.array(mean), gpu.array(variance)
    gpu.batch_norm_with_averages(gpu.array(x), gpu.array(np.ones(4)), gpu.array(np.zeros(4)), 1e-3, *moving, 0.9)
    for got, before, found in zip(moving, (mean, variance), (x.mean((0, 1)), x.var((0, 1))), strict=True):
        np.testing.assert_allclose(gpu.numpy(got), 0.9 * before + 0.1 * found, rtol=1e-12)

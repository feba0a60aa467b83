"""The four reference networks through minicnn's public API, and how much they compute.

They take 28×28×1 images and give ten scores; `peers.py` has the same four in PyTorch.
"""

import copy
from collections.abc import Callable

import numpy as np

from minicnn import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D, Sequential
from minicnn.losses import SparseCategoricalCrossentropy

from .report import Runner
from .timing import check

BATCH, STEPS = 128, 8  # images per batch, and batches per epoch, where training is timed
CHECKED = 16  # images on which a network is checked: the reference writes out the columns of each in float64


def lenet() -> list[Layer]:
    return [
        Conv2D(8, 3, padding="same", activation="relu"),
        MaxPooling2D(),
        Conv2D(16, 3, padding="same", activation="relu"),
        MaxPooling2D(),
        Flatten(),
        Dense(64, activation="relu"),
        Dropout(0.5),
        Dense(10),
    ]


def example() -> list[Layer]:
    """The MNIST example of Keras and of PyTorch."""
    return [
        Conv2D(32, 3, activation="relu"),
        Conv2D(64, 3, activation="relu"),
        MaxPooling2D(),
        Dropout(0.25),
        Flatten(),
        Dense(128, activation="relu"),
        Dropout(0.5),
        Dense(10),
    ]


def ghouzam() -> list[Layer]:
    """Yassine Ghouzam's Kaggle notebook, "Introduction to CNN Keras", 2017."""
    return [
        Conv2D(32, 5, padding="same", activation="relu"),
        Conv2D(32, 5, padding="same", activation="relu"),
        MaxPooling2D(),
        Dropout(0.25),
        Conv2D(64, 3, padding="same", activation="relu"),
        Conv2D(64, 3, padding="same", activation="relu"),
        MaxPooling2D(),
        Dropout(0.25),
        Flatten(),
        Dense(256, activation="relu"),
        Dropout(0.5),
        Dense(10),
    ]


def deotte() -> list[Layer]:
    """One net of Chris Deotte's Kaggle ensemble, "25 Million Images", 2018."""

    def normalized(filters: int, size: int, strides: int = 1) -> list[Layer]:
        padding = "valid" if strides == 1 else "same"
        return [Conv2D(filters, size, strides=strides, padding=padding, activation="relu"), BatchNormalization()]

    groups = [[*normalized(F, 3), *normalized(F, 3), *normalized(F, 5, 2), Dropout(0.4)] for F in (32, 64)]
    return [*groups[0], *groups[1], *normalized(128, 4), Flatten(), Dropout(0.4), Dense(10)]


NETWORKS: dict[str, Callable[[], list[Layer]]] = {
    "lenet": lenet,
    "example": example,
    "ghouzam": ghouzam,
    "deotte": deotte,
}


def build(name: str) -> Sequential:
    """The network, ready to be trained with Adam."""
    model = Sequential([Input((28, 28, 1)), *NETWORKS[name]()], name=name)
    model.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
    return model


def inference_flop(model: Sequential) -> int:
    """For one image: two per multiply-add."""
    return 2 * sum(layer.multiply_adds() for layer in model.layers)


def training_flop(model: Sequential) -> int:
    """For one image: each layer has three products (forward and both gradients), the first one no input gradient."""
    products = [layer.multiply_adds() for layer in model.layers if layer.multiply_adds()]
    return 2 * (3 * sum(products) - products[0])


def epoch(model: Sequential, x: np.ndarray, y: np.ndarray) -> Runner:
    """One pass of `fit` over the images."""
    return lambda: model.fit(x, y, batch_size=BATCH, verbose=0)


def channels_first(model: Sequential, mirrored: bool = False) -> list[list[np.ndarray]]:
    """The weights of each layer as PyTorch and ONNX have them: outputs before inputs, channels before pixels.

    With `mirrored`, they give the same scores for mirror images: see `peers.is_mirrored`.
    """
    step = -1 if mirrored else 1
    found, flattened = [], None
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, Flatten):
            flattened = layer.input_shape[1:]
        elif isinstance(layer, Conv2D):
            weights[0] = weights[0].transpose(3, 2, 0, 1)[:, :, ::step, ::step]
        elif isinstance(layer, Dense):
            if flattened:
                pixels = weights[0].reshape(*flattened, -1)[::step, ::step]
                weights[0] = pixels.transpose(2, 0, 1, 3).reshape(weights[0].shape)
                flattened = None
            weights[0] = weights[0].T
        found.append([np.ascontiguousarray(array) for array in weights])
    return found


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28, 1) and labels (N,) at random: speed does not depend on what they show."""
    rng = np.random.default_rng(0)
    return rng.random((count, 28, 28, 1), np.float32), rng.integers(0, 10, count)


def check_network(model: Sequential, device: str = "cpu") -> None:
    """Raises Failure unless the model computes on this device what it computes on the reference in float64.

    In float64 all digits of everything must agree. In float32 only the scores can be compared: a ReLU whose input is
    next to zero may fall on the other side, and its whole gradient with it.
    """
    expected = results(copy.deepcopy(model).to("reference").astype("float64"))
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-2)):
        found = results(copy.deepcopy(model).to(device).astype(dtype))
        for what, values in found.items():
            if dtype == "float64" or "gradient" not in what:
                check(f"{what} of {model.name} in {dtype} on the {device}", values, expected[what], tolerance)


def results(model: Sequential) -> dict[str, np.ndarray]:
    """What the model makes of a few images: predictions, scores in training, and all gradients."""
    x, y = digits(CHECKED)
    found = {"the inference": model.predict(x), "the forward pass": model.gradients_of_batch(x, y)[1]}
    gradients = {f"the gradient for {parameter.name}": parameter.gradient for parameter in model.trainable_parameters}
    return {what: model.ops.numpy(values) for what, values in (found | gradients).items()}

"""The networks and schedules behind `examples/train_mnist.py --recipe`.

A recipe is a network for 28×28 digits with pixels of 0 to 255, and how long and how fast to train it. The learning rate
follows a one-cycle schedule to its end.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
    RandomTranslation,
    Rescaling,
)
from .losses import SparseCategoricalCrossentropy
from .models import Sequential
from .optimizers import Adam
from .schedules import OneCycle


@dataclass(frozen=True)
class Recipe:
    """A network with its training; `peak` is the highest learning rate of the one-cycle schedule."""

    layers: Callable[[], list[Layer]]
    epochs: int
    batch_size: int
    peak: float
    label_smoothing: float = 0.0

    def model(self, samples: int, epochs: int | None = None, batch_size: int | None = None) -> Sequential:
        """The compiled model, its schedule laid out for so many training samples, epochs and images per batch."""
        steps = (epochs or self.epochs) * -(-samples // (batch_size or self.batch_size))
        model = Sequential([Input((28, 28, 1)), Rescaling(1 / 255), *self.layers()], name="digits")
        model.compile(
            optimizer=Adam(OneCycle(self.peak, steps)),
            loss=SparseCategoricalCrossentropy(label_smoothing=self.label_smoothing),
            metrics=["accuracy"],
        )
        return model


def _fast() -> list[Layer]:
    return [
        Conv2D(16, 5, activation="relu"),
        MaxPooling2D(),
        BatchNormalization(momentum=0.9),
        Conv2D(32, 3, activation="relu"),
        MaxPooling2D(),
        BatchNormalization(momentum=0.9),
        Flatten(),
        Dense(128, activation="relu"),
        BatchNormalization(momentum=0.9),
        Dropout(0.3),
        Dense(10, activation="softmax"),
    ]


def _default() -> list[Layer]:
    return [
        RandomTranslation(0.08, 0.08, fill_mode="constant"),  # up to two pixels each way
        Conv2D(32, 5, activation="relu"),
        MaxPooling2D(),
        BatchNormalization(momentum=0.9),
        Conv2D(64, 3, activation="relu"),
        BatchNormalization(momentum=0.9),
        Conv2D(64, 3, activation="relu"),
        MaxPooling2D(),
        BatchNormalization(momentum=0.9),
        Dropout(0.1),
        Flatten(),
        Dense(128, activation="relu"),
        BatchNormalization(momentum=0.9),
        Dropout(0.3),
        Dense(10, activation="softmax"),
    ]


RECIPES = {
    "fast": Recipe(_fast, epochs=4, batch_size=256, peak=1e-2),
    "default": Recipe(_default, epochs=6, batch_size=256, peak=8e-3),
}


def get(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; expected one of {', '.join(RECIPES)}")
    return RECIPES[name]

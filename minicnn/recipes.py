"""The networks and schedules behind `examples/train_mnist.py --recipe`, and what trains and asks them.

A recipe is one network for 28×28 digits with pixels of 0 to 255, or several that vote, and how long and how fast to train
it. The learning rate follows a one-cycle schedule to its end.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import saving
from .backend import clear_session
from .callbacks import BackupAndRestore, Callback, History, Logs, Recorded
from .data.files import DataError, make_folder, read_bytes, write_bytes
from .layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
    MomentNormalization,
    RandomAffine,
    RandomErasing,
    RandomGaussianBlur,
    RandomGaussianNoise,
    ReLU,
    Rescaling,
)
from .losses import SparseCategoricalCrossentropy
from .models import Sequential, load_model
from .optimizers import Adam
from .schedules import OneCycle
from .seeding import set_random_seed

AT_REST: dict[type[Layer], dict[str, Any]] = {  # settings with which images are left as they are
    RandomAffine: dict.fromkeys(("rotation", "translation", "zoom", "shear"), 0.0),
    **dict.fromkeys((RandomErasing, RandomGaussianBlur, RandomGaussianNoise), {"factor": (0.0, 0.0)}),
}
Network = Callable[[], list[Layer]]


@dataclass(frozen=True)
class Recipe:
    """Networks with their training; `peak` is the highest learning rate of the one-cycle schedule.

    With `shifts` predictions are means over each image and the same moved by one pixel up, down, left and right. `calm` is
    the share of the epochs, at the end, in which images are not changed: as they will be in predictions. `held_out` is the
    share of the images that the example keeps out of training, to measure accuracy on, if nobody says how many.
    `distorted` is the recipe for images that are distorted before they are learnt from, where that is another one.
    """

    networks: tuple[Network, ...]
    epochs: int
    batch_size: int
    peak: float
    label_smoothing: float = 0.0
    shifts: bool = False
    calm: float = 0.0
    held_out: float = 0.05
    distorted: "Recipe | None" = None

    def suited_to(self, images: np.ndarray) -> "Recipe":
        """The recipe for these training images (N, H, W, C): `distorted`, if there is one and they are, else this one.

        A scan of a digit is black all round: 99 in 100 of Kaggle's are, but only one in four of `data.distort`'s.
        """
        edge = np.ones(images.shape[1:3], bool)
        edge[1:-1, 1:-1] = False
        soiled = images[:, edge].any(axis=(1, 2))  # (N,)
        return self.distorted if self.distorted is not None and soiled.sum() > 0.2 * len(images) else self

    def model(
        self, samples: int, epochs: int | None = None, batch_size: int | None = None, member: int = 0
    ) -> Sequential:
        """A compiled network, its schedule laid out for so many training samples, epochs and images per batch."""
        steps = (epochs or self.epochs) * -(-samples // (batch_size or self.batch_size))
        clear_session()  # names of layers begin anew
        model = Sequential([Input((28, 28, 1)), Rescaling(1 / 255), *self.networks[member]()], name="digits")
        model.compile(
            optimizer=Adam(OneCycle(self.peak, steps)),
            loss=SparseCategoricalCrossentropy(label_smoothing=self.label_smoothing),
            metrics=["accuracy"],
        )
        return model

    def predict(self, models: Sequence[Sequential], images: np.ndarray) -> np.ndarray:
        """Probabilities (N, 10) of the digits: the mean over networks and, with `shifts`, over five places.

        Of networks trained with labels smoothed by s, what is right in the mean is q = (1 - s) p + s / 10; p is returned.
        """
        moves = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)] if self.shifts else [(0, 0)]
        moved = [shifted(images, *move) for move in moves]
        votes = [model.predict(seen).astype(np.float64) for model in models for seen in moved]
        q, s = np.asarray(sum(votes) / len(votes)), self.label_smoothing
        p = np.maximum(0, (q - s / q.shape[1]) / (1 - s))
        return p / p.sum(axis=1, keepdims=True)


def shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Images (N, H, W, C) moved by at most one pixel each way, with 0 where nothing came from."""
    _, H, W, _ = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return padded[:, 1 - down : 1 - down + H, 1 - right : 1 - right + W]


# ---------------------------------------------------------------------- the networks


def convolution(filters: int, kernel_size: int, padding: str = "valid", pool: bool = False) -> list[Layer]:
    """Convolution, perhaps the largest of 2×2 pixels, batch norm and ReLU; batch norm has a bias of its own."""
    return [
        Conv2D(filters, kernel_size, padding=padding, use_bias=False),
        *([MaxPooling2D()] if pool else []),
        BatchNormalization(momentum=0.9),
        ReLU(),
    ]


def _fast() -> list[Layer]:
    return [
        RandomAffine(translation=0.04),  # up to a pixel each way
        Conv2D(16, 5, activation="relu"),
        MaxPooling2D(),
        BatchNormalization(momentum=0.9),
        Conv2D(32, 3, activation="relu"),
        MaxPooling2D(),
        BatchNormalization(momentum=0.9),
        Flatten(),
        Dense(128, activation="relu"),
        BatchNormalization(momentum=0.9),
        Dense(10, activation="softmax"),
    ]


def _default() -> list[Layer]:
    return [
        RandomAffine(translation=0.08),  # up to two pixels each way
        *convolution(32, 5, pool=True),
        *convolution(64, 3),
        *convolution(64, 3, pool=True),
        Dropout(0.1),
        *_head(128),
    ]


def _large(kernel_size: int, upright: bool = False) -> Network:
    """Two convolutions on the whole image, perhaps made upright, two on its half, two on what is left."""
    return lambda: [
        *([MomentNormalization()] if upright else []),
        RandomAffine(rotation=0.04, translation=0.1, zoom=0.12, shear=0.15),
        *convolution(32, kernel_size),
        *convolution(32, kernel_size),
        MaxPooling2D(),
        Dropout(0.15),
        *convolution(64, kernel_size, padding="same"),
        *convolution(64, kernel_size, padding="same"),
        MaxPooling2D(),
        Dropout(0.3),
        *convolution(128, 3),
        *convolution(128, 3),
        Flatten(),
        Dropout(0.3),
        Dense(10, activation="softmax"),
    ]


def _robust() -> list[Layer]:
    covers = {0.0: 0.22, 0.35: 0.15, 0.7: 0.15, 1.0: 0.1, None: 0.15}  # brightness, None for noise: how often
    return [
        RandomAffine(rotation=0.11, translation=0.1, zoom=0.2, shear=0.3),
        RandomGaussianBlur((0.5, 0.5), 5, (0.3, 1.0), value_range=(0, 1)),
        RandomGaussianNoise((0.5, 0.5), 0.3),
        ReLU(max_value=1.0),  # what is brighter than white is white
        *[RandomErasing((p, p), (0.02, 0.16), value, value_range=(0, 1)) for value, p in covers.items()],
        *convolution(24, 5),
        *convolution(24, 3, padding="same"),
        MaxPooling2D(),
        *convolution(48, 3, padding="same"),
        *convolution(48, 3, padding="same"),
        MaxPooling2D(),
        *convolution(96, 3, padding="same"),
        *convolution(96, 3, padding="same"),
        MaxPooling2D(),
        *_head(256, dropout=0.15),
    ]


def _head(units: int, dropout: float = 0.3) -> list[Layer]:
    return [
        Flatten(),
        Dense(units, use_bias=False),
        BatchNormalization(momentum=0.9),
        ReLU(),
        Dropout(dropout),
        Dense(10, activation="softmax"),
    ]


BEST = Recipe(
    (_large(3),), epochs=80, batch_size=128, peak=4e-3, label_smoothing=0.1, shifts=True, calm=0.25, held_out=0.02
)
KINDS = _large(5), _large(3, upright=True), _large(3), _large(5, upright=True)
ROBUST = Recipe((_robust,), epochs=16, batch_size=128, peak=4e-3, shifts=True)

RECIPES = {
    "fast": Recipe((_fast,), epochs=3, batch_size=256, peak=1.5e-2),
    "default": Recipe((_default,), epochs=12, batch_size=256, peak=8e-3, shifts=True),
    "best": BEST,
    "ensemble": replace(BEST, networks=(KINDS * 2)[:7]),
    "robust": replace(ROBUST, distorted=replace(ROBUST, calm=0.25)),
}


def get(name: str) -> Recipe:
    """The recipe of this name; ValueError, with the names there are, for another."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; expected one of {', '.join(RECIPES)}")
    return RECIPES[name]


# ---------------------------------------------------------------------- training


@dataclass
class Trained:
    """What `train` returns: the networks, of each the history of its epochs, and which images it did not learn from."""

    recipe: Recipe
    models: list[Sequential]
    histories: list[History]
    held_out: list[np.ndarray]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (N, 10) of the digits in images (N, 28, 28, 1) of 0 to 255."""
        return self.recipe.predict(self.models, images)

    def out_of_bag(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(which, (n,), probabilities (n, 10)) of the training images that were held out, in their order.

        Each is asked of the networks only that did not learn from it: "out-of-bag estimation", Breiman (1996). Of several
        networks this shows how well each of them does; their vote over new images should err less.
        """
        votes, voters = np.zeros((len(images), 10)), np.zeros((len(images), 1))
        for model, held_out in zip(self.models, self.held_out, strict=True):
            if len(held_out):
                votes[held_out] += self.recipe.predict([model], images[held_out])
                voters[held_out] += 1
        which = np.flatnonzero(voters)
        return which, votes[which] / voters[which]


def train(
    recipe: Recipe,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int = 0,
    epochs: int | None = None,
    batch_size: int | None = None,
    held_out: float = 0.0,
    device: str = "cpu",
    folder: str | Path | None = None,
    verbose: int | str = "auto",
) -> Trained:
    """Trains the networks of a recipe on images (N, 28, 28, 1) of 0 to 255 and labels (N,), one after the other.

    Network k, from 0 on, is a function of seed · 100 + k, and does not learn from the share `held_out` of the images: the
    last ones are kept from network 0, those before them from network 1, and so on. It is measured on them after every
    epoch, and `Trained.out_of_bag` measures all. In `folder` every network is kept when it is trained, and one
    in training after each epoch: the same call goes on there after it was interrupted, with the same result to the bit.
    DataError (a ValueError) where the folder holds networks of another training.
    """
    labels, size = np.asarray(labels), int(len(images) * held_out)
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out is a share of the images from 0 on and below 1, not {held_out}")
    epochs, batch_size = epochs or recipe.epochs, batch_size or min(recipe.batch_size, len(images) - size)
    calm = Calm(round(epochs * (1 - recipe.calm)))
    set_random_seed(seed)  # refuses one that is none, by its own value
    trained = Trained(recipe, [], [], [])
    for member in range(len(recipe.networks)):
        set_random_seed(seed * 100 + member)
        held = np.arange(len(images) - (member + 1) * size, len(images) - member * size) % len(images)
        x, y = (np.delete(images, held, axis=0), np.delete(labels, held)) if size else (images, labels)
        model = recipe.model(len(x), epochs, batch_size, member).to(device)
        kept = None
        if folder is not None:
            settings = {"seed": seed, "epochs": epochs, "batch_size": batch_size, "calm": calm.first}
            kept = Kept(Path(folder), member, model, x, y, **settings)
        if kept is not None and kept.trained:
            model, history = load_model(kept.network).to(device), History()
            history.set_model(model)
            history.set_params({"epochs": epochs, "steps": -(-len(x) // batch_size)})
        else:
            if verbose and len(recipe.networks) > 1:
                print(f"network {member + 1} of {len(recipe.networks)}", flush=True)
            callbacks = [calm, kept] if kept is not None else [calm]
            validation = (images[held], labels[held]) if size else None
            history = model.fit(x, y, batch_size, epochs, verbose, callbacks, validation_data=validation)
        if kept is not None:  # some epochs may have been trained by an earlier call
            history.epoch, history.history = [], Recorded()
            for epoch, logs in enumerate(kept.epochs):
                history.on_epoch_end(epoch, logs)
        model._engine.runs.clear()  # with the memory of training, which the next network needs
        trained.models.append(model)
        trained.histories.append(history)
        trained.held_out.append(held)
    return trained


class Calm(Callback):
    """From epoch `first` on (0 is the first) the layers of AT_REST leave images as they are; after training they are as before."""

    def __init__(self, first: int) -> None:
        self.first, self.before = first, list[tuple[Layer, str, Any]]()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if epoch >= self.first and not self.before:
            for layer in self.model.chain:
                settings = next((found for kind, found in AT_REST.items() if isinstance(layer, kind)), {})
                self.before += [(layer, name, getattr(layer, name)) for name in settings]
                for name, value in settings.items():
                    setattr(layer, name, value)

    def on_train_end(self, logs: Logs | None = None) -> None:
        for layer, name, value in self.before:
            setattr(layer, name, value)
        self.before = []


class Kept(BackupAndRestore):
    """The place of one network in a folder: the network, how it was trained, and its backup while it is in training."""

    def __init__(self, folder: Path, member: int, model: Sequential, images: Any, labels: Any, **settings: Any) -> None:
        stem = f"network-{member + 1:02d}"
        super().__init__(folder / f"{stem}-backup")
        self.network, self.record = folder / f"{stem}.safetensors", folder / f"{stem}.json"
        about = saving.describe(model)
        layers = [(layer["class_name"], layer["config"] | {"name": ""}) for layer in about["layers"]]
        network = json.dumps([layers, about["loss"], about["optimizer"]["config"]], default=str)
        self.settings = settings | {
            "images": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
            "labels": hashlib.sha256(np.ascontiguousarray(labels).data).hexdigest(),
            "network": hashlib.sha256(network.encode()).hexdigest(),
        }
        self.trained, self.epochs = False, list[dict[str, float]]()
        make_folder(folder)
        if self.record.exists():
            self.read()
        else:
            self.write()

    def read(self) -> None:
        """Takes over what the record says; DataError where it is of another training."""
        try:
            found = json.loads(read_bytes(self.record))
            self.trained, self.epochs, settings = found["trained"], found["epochs"], found["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.record}: expected the record of a training, but it is damaged ({error})."
            ) from error
        for name, value in self.settings.items():
            if settings.get(name) != value:
                raise DataError(
                    f"{self.record}: expected the {name} of this training, {value}, got {settings.get(name)}: "
                    "name another folder, or delete this one to train anew."
                )

    def write(self) -> None:
        record = {"settings": self.settings, "trained": self.trained, "epochs": self.epochs}
        write_bytes(self.record, json.dumps(record, indent=1).encode())

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epochs = [*self.epochs[:epoch], dict(logs or {})]
        self.write()
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """The network is on disk before its backup goes."""
        self.model.save(self.network)
        self.trained = True
        self.write()
        super().on_train_end(logs)

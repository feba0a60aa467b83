"""What scripts for Keras take from `keras.utils`."""

from typing import Any

import numpy as np

from ..absent import without
from ..preprocessing.image import img_to_array
from ..seeding import set_random_seed

__all__ = ["PyDataset", "Sequence", "img_to_array", "normalize", "set_random_seed", "to_categorical"]


class PyDataset:
    """Base of data that are read batch by batch: define `__len__`, the number of batches, and `__getitem__`.

    The batch of a number is (x, y) or (x, y, sample_weight). `fit` asks for batches in a new order in every epoch, and
    calls `on_epoch_begin` before and `on_epoch_end` after it. It takes any object that has these, and one batch at a
    time: the settings are there for Keras' sake.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} does not define __len__(), the number of its batches")

    def __getitem__(self, index: int) -> Any:
        raise TypeError(f"{type(self).__name__} does not define __getitem__(index), the batch of a number")

    @property
    def num_batches(self) -> int:
        return len(self)

    def on_epoch_begin(self) -> None: ...

    def on_epoch_end(self) -> None: ...


Sequence = PyDataset  # Keras' other name


def normalize(x: Any, axis: int = -1, order: int = 2) -> np.ndarray:
    """x divided by its norms of this order along an axis, where these are not 0: a copy."""
    norms = np.linalg.norm(x, ord=order, axis=axis, keepdims=True)
    return np.asarray(x / np.where(norms == 0, 1, norms))


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Labels (…) as rows of zeros with a one: float64 (…, num_classes), by default as many classes as there are labels.

    ValueError for a label that is not a whole number from 0 to num_classes - 1.
    """
    labels = np.asarray(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    found = labels.astype(np.int64)
    classes = int(found.max(initial=-1)) + 1 if num_classes is None else num_classes
    wrong = np.argwhere((found != labels) | (found < 0) | (found >= classes))
    if wrong.size:
        place = tuple(wrong[0].tolist())
        raise ValueError(f"label {place}: expected a whole number from 0 to {classes - 1}, got {labels[place]}")
    return np.eye(classes)[found]


__getattr__ = without(__name__, "", {
    "Pillow reads and writes pictures, and numpy.asarray makes an array of one": """
        array_to_img load_img save_img image_dataset_from_directory""",
    "download the file yourself; datasets.mnist.load_data does it for MNIST": "get_file",
    "fit shows its progress itself, and tqdm that of your own loops": "Progbar",
    "model.summary() prints the layers, report.write a page about the trained model": "plot_model model_to_dot",
})  # fmt: skip

"""What scripts for Keras take from `keras.utils`."""

from typing import Any

import numpy as np

from ..absent import refuse_arguments, without
from ..backend import clear_session
from ..preprocessing.pictures import array_to_img, img_to_array, load_img, save_img
from ..registered import CustomObjectScope, custom_object_scope, get_custom_objects, register_keras_serializable
from ..seeding import set_random_seed
from .plot import plot_model


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


def to_categorical(x: Any, num_classes: int | None = None, **dropped: Any) -> np.ndarray:
    """Labels (…) as rows of zeros with a one: float64 (…, num_classes), by default one more than the largest label.

    A label may also be written as a string, "7". ValueError for one that is not a whole number from 0 to num_classes - 1.
    """
    refuse_arguments("to_categorical", dropped)
    labels = np.asarray(x)
    if labels.dtype.kind not in "buif":  # strings, or objects, which come from tables
        try:
            labels = labels.astype(str).astype(float)
        except ValueError as error:
            raise ValueError(f"labels must be whole numbers, or strings of such: {error}") from None
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    found = labels.astype(np.int64)
    classes = int(found.max(initial=-1)) + 1 if num_classes is None else num_classes
    wrong = np.argwhere((found != labels) | (found < 0) | (found >= classes))
    if wrong.size:
        place = tuple(wrong[0].tolist())
        raise ValueError(f"label {place}: expected a whole number from 0 to {classes - 1}, got {labels[place]}")
    return np.eye(classes)[found]


__getattr__, _absent = without(__name__, "", {
    "preprocessing.image.ImageDataGenerator().flow_from_directory gives batches of pictures in folders": """
        image_dataset_from_directory""",
    "read the files into arrays": """
        audio_dataset_from_directory text_dataset_from_directory timeseries_dataset_from_array FeatureSpace HDF5Matrix""",
    "download the file yourself; datasets.mnist.load_data does it for MNIST": "get_file",
    "fit shows its progress itself, and tqdm that of your own loops": "Progbar",
    "model.summary() prints the layers, report.write a page about the trained model": """
        model_to_dot print_summary""",
    "a model is on one device, that of model.to": "multi_gpu_model",
    "an array is split by its indices: x[:n] and x[n:]": "split_dataset",
    "fit and predict have the argument verbose": """
        disable_interactive_logging enable_interactive_logging is_interactive_logging_enabled""",
    "a PyDataset gives batches in order": "OrderedEnqueuer GeneratorEnqueuer SequenceEnqueuer",
    "the layers here are those for the classification of images": "pad_sequences bounding_boxes",
    "get_config and from_config describe a model or layer": """
        serialize_keras_object deserialize_keras_object get_registered_name get_registered_object""",
    "metrics get NumPy arrays": "is_keras_tensor standardize_dtype",
    "a model is one chain of layers here: model.layers": "get_source_inputs layer_utils convert_all_kernels_in_model",
    "a batch is a tuple (x, y) or (x, y, sample_weight)": "pack_x_y_sample_weight unpack_x_y_sample_weight",
    "import from minicnn itself": "Config legacy",
})  # fmt: skip

__all__ = [
    "CustomObjectScope", "PyDataset", "Sequence", "array_to_img", "clear_session", "custom_object_scope", "get_custom_objects",
    "img_to_array", "load_img", "normalize", "plot_model", "register_keras_serializable", "save_img", "set_random_seed", "to_categorical",
    *_absent,
]  # fmt: skip

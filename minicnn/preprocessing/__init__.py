"""What is done to data before a network sees it."""

from ..absent import without
from . import image

__getattr__, _absent = without(__name__, "", {
    "image.ImageDataGenerator().flow_from_directory gives batches of pictures in folders": "image_dataset_from_directory",
    "read the files into arrays": "text_dataset_from_directory timeseries_dataset_from_array",
})  # fmt: skip

__all__ = ["image", *_absent]

"""What is done to data before a network sees it."""

from ..absent import without
from . import image

__getattr__, _absent = without(__name__, "", {
    "read the files into arrays": """
        image_dataset_from_directory text_dataset_from_directory timeseries_dataset_from_array""",
})  # fmt: skip

__all__ = ["image", *_absent]

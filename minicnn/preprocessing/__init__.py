"""What is done to data before a network sees it."""

from . import image

__all__ = ["image"]

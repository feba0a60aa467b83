"""`minicnn.optimizers.schedules` under a shorter name."""

from .optimizers.schedules import *  # noqa: F403

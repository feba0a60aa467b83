"""Keras' constraints, of which there are none here: what scripts import says so when it is called."""

from typing import Any

from .absent import absent

CLASSES = ("Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm")
FUNCTIONS = ("max_norm", "maxnorm", "min_max_norm", "non_neg", "unit_norm")


def __getattr__(name: str) -> Any:
    if name in CLASSES + FUNCTIONS:
        return absent(f"minicnn has no constraint {name}: regularizers keep weights small, a clipnorm their steps")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

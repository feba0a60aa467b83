"""Keras' constraints, of which there are none here: what scripts import says so when it is called."""

from .absent import without

__getattr__, __all__ = without(__name__, "constraint ", {
    "regularizers keep weights small, a clipnorm their steps": """
        Constraint MaxNorm MinMaxNorm NonNeg UnitNorm max_norm maxnorm min_max_norm non_neg nonneg unit_norm unitnorm""",
    "there are no constraints": "get serialize deserialize",
})  # fmt: skip

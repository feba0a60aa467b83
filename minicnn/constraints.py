"""Keras' constraints, of which there are none here: what scripts import says so when it is called."""

from .absent import without

__getattr__ = without(__name__, "constraint ", {
    "regularizers keep weights small, a clipnorm their steps": """
        Constraint MaxNorm MinMaxNorm NonNeg UnitNorm max_norm maxnorm min_max_norm non_neg unit_norm""",
})  # fmt: skip

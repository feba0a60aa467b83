"""Results that also answer to `.numpy()`, which scripts ask of the tensors that Keras' models and losses return."""

from typing import Any

import numpy as np


class Numbers(np.ndarray):
    """An array of NumPy's."""

    def numpy(self) -> np.ndarray:
        return np.array(self)


class Number(float):
    """A number of Python's."""

    def numpy(self) -> np.float32:
        return np.float32(self)


def as_numbers(results: Any) -> Any:
    """An array of the host, or each of a list, as `Numbers`; arrays of a device are what they are."""
    if isinstance(results, list):
        return [as_numbers(one) for one in results]
    return results.view(Numbers) if type(results) is np.ndarray else results

"""Results that also answer to `.numpy()`, which scripts ask of the tensors that Keras returns."""

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
    """A float as `Number`, an array of the host as `Numbers`, and each of a list or dictionary; all else is what it is."""
    if isinstance(results, list):
        return [as_numbers(one) for one in results]
    if isinstance(results, dict):
        return {name: as_numbers(one) for name, one in results.items()}
    if isinstance(results, float | np.floating):
        return Number(results)
    return results.view(Numbers) if type(results) is np.ndarray else results

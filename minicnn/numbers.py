"""Results that also answer to `.numpy()`, which scripts ask of the tensors that Keras returns."""

from typing import Any

import numpy as np


class Numbers(np.ndarray):
    """An array of NumPy's."""

    def numpy(self) -> np.ndarray:
        return np.array(self)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """What a calculation gives: a number where an array would give one."""
        return as_numbers(array[()]) if return_scalar else super().__array_wrap__(array, context, return_scalar)

    def mean(self, *arguments: Any, **options: Any) -> Any:
        return as_numbers(super().mean(*arguments, **options))

    def std(self, *arguments: Any, **options: Any) -> Any:
        return as_numbers(super().std(*arguments, **options))

    def var(self, *arguments: Any, **options: Any) -> Any:
        return as_numbers(super().var(*arguments, **options))


class Number(float):
    """A number of Python's, also in calculations with arrays, whose type it does not change."""

    shape, ndim = (), 0

    def numpy(self) -> np.float32:
        return np.float32(self)

    def item(self) -> float:
        return float(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = (float(one) if isinstance(one, Number) else one for one in inputs)
        return getattr(ufunc, method)(*plain, **options)


class Number32(np.float32):
    """A number of NumPy's."""

    def numpy(self) -> np.float32:
        return np.float32(self)


class Number64(np.float64):
    """A number of NumPy's."""

    def numpy(self) -> np.float64:
        return np.float64(self)


def as_numbers(results: Any) -> Any:
    """A float as `Number`, an array of the host as `Numbers`, and each of a list or dictionary; all else is what it is."""
    if isinstance(results, list):
        return [as_numbers(one) for one in results]
    if isinstance(results, dict):
        return {name: as_numbers(one) for name, one in results.items()}
    for kind, answering in ((float, Number), (np.float32, Number32), (np.float64, Number64)):
        if type(results) is kind:
            return answering(results)
    return results.view(Numbers) if type(results) is np.ndarray else results

"""What the operations that launch CUDA kernels share: arrays as the kernels expect them, and the launch itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .reference import Array, Ops


class KernelOps(Ops):
    """Operations with arrays of `xp` and an object that launches the kernels of `minicnn.cuda` on them."""

    kernels: Any
    rooms: Mapping[int, Array] = {}  # where the gradients of a kernel and its bias go together, by its address

    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        return self.xp.empty(tuple(shape), dtype)

    def alike(self, *arrays: Array) -> list[Array]:
        """The arrays C-contiguous and of one float type, the smallest that holds them all: what kernels expect."""
        dtype = np.result_type(*(array.dtype for array in arrays), np.float32)
        return [self.xp.ascontiguousarray(array, dtype) for array in arrays]

    def for_each(
        self, file: str, name: str, dtype: Any, count: int, *arguments: Any, threads: int = 256, **macros: int
    ) -> None:
        """Launches a kernel with at least one thread for each of `count` things, and nothing where there are none."""
        if count:
            self.kernels.launch(file, name, dtype, (-(-count // threads),), (threads,), arguments, **macros)

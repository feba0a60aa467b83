"""What the operations that launch CUDA kernels share: arrays as the kernels expect them, and the launch itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .reference import Array, Ops


def address(array: Array) -> int:
    interface = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    return int(interface["data"][0])


class Relu:
    """A ReLU in a chain of operations; `undone`: whether its mask has been applied to the gradient already."""

    undone = False

    def undo(self) -> bool:
        """Whether the mask is still to be applied; if so, the caller applies it now."""
        left, self.undone = not self.undone, True
        return left


class KernelOps(Ops):
    """Operations with arrays of `xp` and an object that launches the kernels of `minicnn.cuda` on them."""

    kernels: Any
    rooms: Mapping[int, Array] = {}  # where the gradients of a kernel and its bias go together, by its address
    chained = False
    _made: tuple[Array, Relu] | None = None

    @contextmanager
    def chain(self, rooms: Mapping[int, Array]) -> Iterator[None]:
        """For a captured step: promises that every result has one consumer only, from which its gradient comes.

        So the consumer of what a ReLU made can apply the ReLU's mask while it writes that gradient. What was started beside
        the rest has been joined when the chain ends.
        """
        self.rooms, self.chained = rooms, True
        try:
            yield
            self.kernels.join()
        finally:
            self.rooms, self.chained, self._made = {}, False, None

    def rectified(self, y: Array, relu: Relu | None = None) -> Relu | None:
        """Notes, in a chain, that y is positive where a ReLU lets its input through: this one, or a new one."""
        self._made = (y, relu or Relu()) if self.chained else None
        return self._made and self._made[1]

    def relu_of(self, x: Array) -> Relu | None:
        """The ReLU that x came from, if the last operation of the chain noted one."""
        return self._made[1] if self._made and address(self._made[0]) == address(x) else None

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

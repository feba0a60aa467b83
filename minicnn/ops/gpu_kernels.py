"""What the operations that launch CUDA kernels share: arrays as the kernels expect them, and the launch itself.

A launch is described by what its threads go through: all numbers (`_each`), rows of columns (`_rows`), or rows of columns
that are added up (`_sum_rows`), in parts that depend on the shape alone, so that a run repeats to the bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .reference import Array, WithKernels


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


THREADS = 256  # of a block
BLOCKS = 1024  # fill a large GPU: where there would be more, a thread takes up to four numbers
PARTS = 256  # that a sum is made of, at most


class KernelOps(WithKernels):
    """Operations with arrays of `xp` and an object that launches the kernels of `minicnn.cuda` on them."""

    kernels: Any
    chained = False
    rooms: Mapping[
        int, Array
    ] = {}  # by the address of a kernel or a γ: where its gradient and that of its bias or β go
    _made: tuple[Array, Relu] | None = None  # by the last operation of a chain, see `rectified`

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

    def constant(self, values: Any, dtype: Any) -> Array:
        """A few numbers on the device, copied there when first asked for: no copy while a step is captured."""
        values = np.ascontiguousarray(values, dtype)
        key = values.tobytes(), values.shape, values.dtype.str
        found = self.__dict__.setdefault("_constants", {})
        if key not in found:
            found[key] = self.array(values)
        return found[key]

    # ------------------------------------------------------------------ launches

    def _each(self, file: str, name: str, dtype: Any, items: int, *arguments: Any, **macros: int) -> None:
        """Launches a kernel over `items` things, one after the other in memory."""
        if items:
            blocks = -(-items // THREADS)
            grid = (min(blocks, max(BLOCKS, -(-blocks // 4))),)
            self.kernels.launch(file, name, dtype, grid, (THREADS,), arguments, **macros)

    def _block(self, columns: int) -> tuple[int, int]:
        """Threads along the columns, and along the rows."""
        along = min(32, 1 << (columns - 1).bit_length())
        return along, THREADS // along

    def _rows(self, file: str, name: str, dtype: Any, shape: tuple[int, int], *arguments: Any, **macros: int) -> None:
        """Launches a kernel over rows of columns."""
        rows, columns = shape
        if rows and columns:
            along, high = self._block(columns)
            blocks, wide = -(-rows // high), -(-columns // along)
            grid = wide, min(blocks, max(-(-BLOCKS // wide), -(-blocks // 4)), 65535)
            self.kernels.launch(file, name, dtype, grid, (along, high), arguments, **macros)

    def _parts(self, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The grid and the block for sums over rows: which row is added where depends on the shape alone."""
        rows, columns = shape
        along, high = self._block(columns)
        return (-(-columns // along), max(1, min(-(-rows // (8 * high)), PARTS))), (along, high)

    def _sum_rows(
        self, file: str, name: str, dtype: Any, shape: tuple[int, int], kinds: int, *arguments: Any,
        room: Array | None = None,
    ) -> Array:  # fmt: skip
        """Sums over rows of columns, (kinds, columns), of a kernel that takes what they need and the two sizes last.

        In `room`, if that is given.
        """
        grid, block = self._parts(shape)
        parts = self.empty((grid[1], kinds, shape[1]), dtype)
        sums = (self.empty((kinds * shape[1],), dtype) if room is None else room).reshape(kinds, shape[1])
        needed = parts, sums, self._counters(grid[0]), *self._sizes(shape)
        self.kernels.launch(file, name, dtype, grid, block, (*arguments, *needed))
        return sums

    def _counters(self, count: int) -> Array:
        """Counters for `last_of_blocks`, 0 between launches: those that take them come one after the other, on one stream."""
        found = self.__dict__.setdefault("_blocks", {})
        if count not in found:
            found[count] = self.array(np.zeros(count, np.uint32))
        return found[count]

    def _add_parts(self, parts: Array) -> Array:
        """The sum over the first axis."""
        sums = self.empty(parts.shape[1:], parts.dtype)
        along, high = self._block(min(sums.size, 8))  # many rows at once: what one thread reads, it waits for
        arguments = parts, sums, len(parts), sums.size
        self.kernels.launch("sums", "add_parts", parts.dtype, (-(-sums.size // along),), (along, high), arguments)
        return sums

    def _sizes(self, shape: tuple[int, int]) -> tuple[Any, int]:
        return np.int64(shape[0]), shape[1]

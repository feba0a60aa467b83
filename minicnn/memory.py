"""Memory for activations that is used again and again.

Fresh memory costs a page fault for each page, which is as much time as a kernel takes to fill it. A block here returns to
a free list when the last array on it is gone, and the next array of that size gets it, still warm.
"""

import math
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: a cache line and a full vector register


def aligned(size: int) -> np.ndarray:
    """So many uninitialised bytes, the first of which begins a cache line."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


def rounded(size: int) -> int:
    """So many bytes, from 1 on, and up to a quarter more: a multiple of an eighth of the next power of two."""
    eighth = 1 << max(0, (size - 1).bit_length() - 3)
    return -(-size // eighth) * eighth


class _Memory:
    """So many bytes, and the address of the first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.bytes = aligned(size)
        self.start = self.bytes.ctypes.data


class _Loan:
    """Shows memory to NumPy as an array, and returns it to its pool when no array uses it any more."""

    def __init__(self, pool: "Pool", memory: _Memory, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.pool, self.memory = pool, memory
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (memory.start, False),
        }

    def __del__(self) -> None:
        self.pool.give_back(self.memory)


class Pool:
    """Arrays of uninitialised memory; free memory never exceeds what was in use at the peak.

    Sizes are rounded up, so that a free block serves arrays of nearly its size as well.
    """

    def __init__(self) -> None:
        self.free: defaultdict[int, list[_Memory]] = defaultdict(list)
        self.free_bytes = self.used_bytes = self.peak_bytes = 0
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """A lock of its own: that of a parent process may be held by a thread that a child does not have."""
        self.lock = threading.RLock()

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        shape, dtype = tuple(shape), np.dtype(dtype)
        size = rounded(max(1, math.prod(shape) * dtype.itemsize))
        with self.lock:
            if self.free[size]:
                memory = self.free[size].pop()
                self.free_bytes -= size
            else:
                memory = _Memory(size)
            self.used_bytes += memory.size
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)
        return np.asarray(_Loan(self, memory, shape, dtype))

    def give_back(self, memory: _Memory) -> None:
        with self.lock:
            self.used_bytes -= memory.size
            if self.free_bytes + memory.size <= self.peak_bytes:
                self.free[memory.size].append(memory)
                self.free_bytes += memory.size


POOL = Pool()  # of the CPU

"""Memory for activations that is used again and again.

Fresh memory costs a page fault every 4 KiB, which is as much time as a kernel takes to fill it. A block here returns to
a free list when the last array on it is gone, and the next array of that size gets it, still warm.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

ALIGNMENT = 64  # bytes: a cache line and a full vector register


class _Block:
    """Hands a piece of memory to NumPy, and back to its pool at the end."""

    def __init__(self, pool: "Pool", memory: np.ndarray, size: int) -> None:
        self.pool, self.memory, self.size = pool, memory, size
        start = memory.ctypes.data + -memory.ctypes.data % ALIGNMENT
        self.__array_interface__ = {"version": 3, "shape": (size,), "typestr": "|u1", "data": (start, False)}

    def __del__(self) -> None:
        self.pool.give_back(self.memory, self.size)


class Pool:
    """Arrays of uninitialised memory; free memory never exceeds what was in use at the peak."""

    def __init__(self) -> None:
        self.free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        self.free_bytes = self.used_bytes = self.peak_bytes = 0
        self.lock = threading.RLock()

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray:
        dtype = np.dtype(dtype)
        size = max(1, math.prod(shape) * dtype.itemsize)
        with self.lock:
            blocks = self.free[size]
            if blocks:
                memory = blocks.pop()
                self.free_bytes -= size
            else:
                memory = np.empty(size + ALIGNMENT, np.uint8)
            self.used_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.used_bytes)
        return np.asarray(_Block(self, memory, size))[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)

    def give_back(self, memory: np.ndarray, size: int) -> None:
        with self.lock:
            self.used_bytes -= size
            if self.free_bytes + size <= self.peak_bytes:
                self.free[size].append(memory)
                self.free_bytes += size

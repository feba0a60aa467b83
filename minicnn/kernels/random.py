"""The counter-based random generator, and dropout, which is made of it.

The same function of (seed, step, layer, index) as `Ops.random_bits`: Philox4x32-10 of Salmon et al. (2011), four
numbers per counter.
"""

from typing import Any

import numba
import numpy as np

from .jit import kernel

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


@numba.njit(inline="always", error_model="numpy")
def philox(block: int, seed: int, step: int, layer: int) -> Any:
    """The four uint32 (as uint64) of one counter."""
    c0, c1, c2, c3 = np.uint64(block) & LOW, np.uint64(block) >> HALF, np.uint64(step) & LOW, np.uint64(layer) & LOW
    k0, k1 = np.uint64(seed) & LOW, np.uint64(seed) >> HALF
    for _ in range(10):
        product0 = c0 * np.uint64(0xD2511F53)
        product1 = c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (product1 >> HALF) ^ c1 ^ k0, product1 & LOW, (product0 >> HALF) ^ c3 ^ k1, product0 & LOW
        k0 = (k0 + np.uint64(0x9E3779B9)) & LOW
        k1 = (k1 + np.uint64(0xBB67AE85)) & LOW
    return c0, c1, c2, c3


@kernel
def dropout(x: Any, first: int, seed: int, step: int, layer: int, threshold: int, scale: float, y: Any) -> None:
    """y = x · scale where the random number of the index reaches the threshold, else 0.

    x is the part of the whole array that begins at index `first`, a multiple of 4.
    """
    limit = np.uint64(threshold)
    zero = x.dtype.type(0)
    for block in range(x.size // 4):
        r0, r1, r2, r3 = philox(first // 4 + block, seed, step, layer)
        k = 4 * block
        y[k] = x[k] * scale if r0 >= limit else zero
        y[k + 1] = x[k + 1] * scale if r1 >= limit else zero
        y[k + 2] = x[k + 2] * scale if r2 >= limit else zero
        y[k + 3] = x[k + 3] * scale if r3 >= limit else zero
    if x.size % 4:
        rest = philox((first + x.size) // 4, seed, step, layer)
        for k in range(x.size // 4 * 4, x.size):
            y[k] = x[k] * scale if rest[k % 4] >= limit else zero

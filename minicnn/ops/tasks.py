"""How work on the CPU is cut into tasks: by the shape of the data alone, so that sums have one order."""

from collections.abc import Callable

import numpy as np

from ..threads import parallel

GROUPS = 8  # parts into which a batch is cut
ELEMENTS = 1 << 16  # fewest numbers that are worth a task of their own where memory is the limit
MULTIPLY_ADDS = 1 << 21  # the same for products


def groups(items: int, work: int = 1, enough: int = ELEMENTS, unit: int = 1) -> list[tuple[int, int]]:
    """(first, last) of at most `GROUPS` equal parts of the items, which begin at multiples of `unit`.

    An item is so much `work`; there are fewer parts where that leaves less than `enough` for one.
    """
    parts = max(1, min(GROUPS, items, items * work // enough))
    cuts = [items * part // parts // unit * unit for part in range(parts)] + [items]
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def over(parts: list[tuple[int, int]], task: Callable[[int, int, int], object]) -> None:
    """Calls task(number, first, last) for every part, on all threads."""
    parallel(len(parts), lambda number: task(number, *parts[number]))


def elementwise(kernel: Callable[..., object], *arrays: np.ndarray) -> None:
    """Runs a kernel over arrays of equal size, a part on every thread."""
    flat = [array.reshape(-1) for array in arrays]
    over(groups(arrays[0].size), lambda _, first, last: kernel(*(array[first:last] for array in flat)))

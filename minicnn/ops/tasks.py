"""How work on the CPU is cut into tasks: by the shape of the data alone, so that sums have one order."""

from collections.abc import Callable

import numpy as np

from ..threads import parallel

GROUPS = 8  # parts into which a batch is cut
ELEMENTS = 1 << 16  # fewest elements that are worth a task of an elementwise kernel


def groups(items: int, least: int = 1, unit: int = 1) -> list[tuple[int, int]]:
    """(first, last) of at most `GROUPS` equal parts of at least `least` items, which begin at multiples of `unit`."""
    parts = max(1, min(GROUPS, items // least))
    cuts = [items * part // parts // unit * unit for part in range(parts)] + [items]
    return list(zip(cuts[:-1], cuts[1:], strict=True))


def over(parts: list[tuple[int, int]], task: Callable[[int, int, int], object]) -> None:
    """Calls task(number, first, last) for every part, on all threads."""
    parallel(len(parts), lambda number: task(number, *parts[number]))


def elementwise(kernel: Callable[..., object], *arrays: np.ndarray) -> None:
    """Runs a kernel over arrays of equal size, a part on every thread."""
    flat = [array.reshape(-1) for array in arrays]
    over(groups(arrays[0].size, ELEMENTS), lambda _, first, last: kernel(*(array[first:last] for array in flat)))

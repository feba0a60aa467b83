"""Cuts a product into register tiles: which tile shapes cover it, where each begins, and the kernel that runs them all.

A plan is an int64 array with one row per panel of equal tiles: the address of the panel's native function, the byte
offsets of its corner in a, b, the bias and c, and the geometry of `simd.FIELDS`.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np

from . import simd
from .jit import kernel, part
from .simd import call, int_at

HEAD = 5  # columns of a plan before the geometry: function, and the offsets in a, b, bias and c


SIZES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24)  # rows of a tile: few, since each is compiled
PACKED = 2  # vectors of a row that lie side by side in a packed operand: as many as most tiles have
BUSY = 8  # sums in a tile that keep the multiply-add units going: fewer take as long


@lru_cache(maxsize=1024)
def tiles(rows: int, vectors: int, most: int) -> tuple[int, ...]:
    """The cheapest way to make so many rows of tiles of at most `most` rows, larger ones first."""
    costs: list[tuple[float, tuple[int, ...]]] = [(0, ())]
    for covered in range(1, rows + 1):
        costs.append(
            min(
                (costs[covered - size][0] + max(size, BUSY / vectors) + 1, (size, *costs[covered - size][1]))
                for size in SIZES
                if size <= min(covered, most)
            )
        )
    return tuple(sorted(costs[rows][1], reverse=True))


def row_spans(rows: int, vectors: int, most: int) -> Iterator[tuple[int, int, int]]:
    """(rows of a tile, first row, number of tiles) of tiles that cover so many rows."""
    first = 0
    for size, group in groupby(tiles(rows, vectors, most)):
        number = len(list(group))
        yield size, first, number
        first += size * number


def channel_blocks(channels: int, width: int, vectors: int) -> Iterator[tuple[int, int, int]]:
    """(vectors of a tile, first channel, channels in its last vector): full tiles, then one for what is left over."""
    for first in range(0, channels, vectors * width):
        left = min(channels - first, vectors * width)
        used = -(-left // width)
        yield used, first, left - (used - 1) * width


@lru_cache(maxsize=1024)
def plan(
    dtype: str,
    rows: int,
    channels: int,
    a_offset: int = 0,
    b_offset: int = 0,
    c_offset: int = 0,
    packed: int = 0,
    apart: int = 0,
    **geometry: int,
) -> np.ndarray:
    """The panels of a product with so many rows (in each of the I lines) and output channels; offsets in elements.

    `geometry` gives those of `simd.FIELDS` that are not 0; counts left out are 1. The channels of b and c are
    contiguous; but a b of `packed` rows, if that is not 0, holds the first PACKED vectors of every row, row after row,
    then the next PACKED vectors of every row. Where channels stay apart, those of a
    are contiguous, too, and `apart` is the number of terms that lie side by side, as far from each other as the rows.
    """
    type_ = np.dtype(dtype)
    size, width = type_.itemsize, simd.lanes(type_)
    table = []
    vectors = PACKED if packed else simd.tile_shape(rows, channels, type_)[1]
    most = 0
    if apart:
        most, vectors = simd.apart_shape(rows, apart)
    for used, channel, last in channel_blocks(channels, width, vectors):
        last_vector = simd.last_width(last, type_)
        for tile_rows, first, tiles in row_spans(rows, used, most or simd.tile_rows(used)):
            fields = {"I": 1, "P": 1, "Q": 1, "K": 1} | geometry
            if packed:
                fields["b_k"] = min(channels - channel, vectors * width)
            fields |= {
                "J": tiles,
                "a_j": tile_rows * fields["a_row"],
                "c_j": tile_rows * fields["c_row"],
                "lanes": last,
            }
            function = simd.panel(tile_rows, used, last_vector, last != last_vector, dtype, apart)
            offsets = (
                a_offset + first * fields["a_row"] + channel * bool(apart),
                b_offset + channel * max(1, packed),
                channel,
                c_offset + first * fields["c_row"] + channel,
            )
            table.append(
                [function, *(size * offset for offset in offsets), *(fields.get(name, 0) for name in simd.FIELDS)]
            )
    return np.array(table, np.int64)


def table(plans: Sequence[np.ndarray | None]) -> np.ndarray:
    """Address and number of panels of each plan, two int64 for each, and behind them the plans themselves."""
    data = np.zeros(sum(2 + (0 if plan is None else plan.size) for plan in plans), np.int64)
    place = 2 * len(plans)
    for number, plan in enumerate(plans):
        if plan is not None:
            data[place : place + plan.size] = plan.reshape(-1)
            data[2 * number : 2 * number + 2] = data.ctypes.data + 8 * place, len(plan)
            place += plan.size
    return data


ROW = 8 * (HEAD + len(simd.FIELDS))  # bytes of a row of a plan


@part
def run_plan(plan, panels, a, b, bias, c):
    """Runs the panels of the plan at an address; a, b, bias and c are addresses too."""
    for row in range(plan, plan + panels * ROW, ROW):
        function, a_offset, b_offset, bias_offset, c_offset = (
            int_at(row), int_at(row + 8), int_at(row + 16), int_at(row + 24), int_at(row + 32),
        )  # fmt: skip
        call(function, row + 8 * HEAD, a + a_offset, b + b_offset, bias + bias_offset, c + c_offset)


@kernel("c")
def products(zero, count, a, b, c, plan, panels):
    """One product, `count` times over: a tape asks for one, benchmarks of the tile for many."""
    for _ in range(count):
        run_plan(plan, panels, a, b, 0, c)

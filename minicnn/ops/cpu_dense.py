"""A dense layer as instructions, and the adding up of partial sums."""

from functools import lru_cache

import numpy as np

from ..kernels import arrays, dense
from ..kernels.product import table
from ..tape import Buffer, Constant, Each, Place, Tape, Times, cut
from .reference import Array

LANES = 64  # numbers that parts of an array begin at multiples of


def add_up(tape: Tape, parts: Buffer, total: Place) -> None:
    """total = Σ parts, along the first axis of the parts."""
    numbers = parts.each // parts.dtype.itemsize
    tape.add(
        arrays.add_rows, numbers, cut(numbers, unit=LANES), 0,
        rows=parts, number=len(parts), stride=parts.each, total=total, first=Times(1),
    )  # fmt: skip


@lru_cache(maxsize=256)
def forward_table(dtype: str, N: int, C: int, F: int, height: int, width: int, start: int, relu: int) -> np.ndarray:
    """The plans of full and last row blocks, full and last column blocks, and of the first, a middle and the last pass."""
    plans: list[np.ndarray | None] = []
    for rows in (height, N % height):
        for columns in (width, F % width):
            for k in (0, dense.DEPTH, (-(-C // dense.DEPTH) - 1) * dense.DEPTH):
                last, depth = k + dense.DEPTH >= C, min(dense.DEPTH, C - k)
                fits = rows and columns and 0 <= k < C
                begin = start if k == 0 else 2
                plans.append(
                    dense.forward_plan(dtype, rows, columns, depth, F, begin, relu if last else 0) if fits else None
                )
    return table(plans)


@lru_cache(maxsize=256)
def backward_table(dtype: str, N: int, C: int, F: int) -> np.ndarray:
    """The kernel's and the input's plan for a full block, and both for the last."""
    plans: list[np.ndarray | None] = []
    for rows in (min(C, dense.BLOCK), C % dense.BLOCK):
        plans.append(dense.kernel_gradient_plan(dtype, N, F, rows) if rows else None)
        plans.append(dense.input_gradient_plan(dtype, N, C, F, rows) if rows else None)
    return table(plans)


class Dense:
    """y = x · kernel + bias with x (N, C), kernel (C, F), y (N, F); x and y may have other shapes of equal size."""

    def __init__(self, inputs: int, units: int, dtype: str) -> None:
        self.inputs, self.units, self.dtype = inputs, units, dtype

    def forward(self, tape: Tape, x: Place, kernel: Array, bias: Array | None, relu: bool, y: Place) -> None:
        N, C, F = len(x), self.inputs, self.units
        if N == 0:
            return
        height, width = -(-N // -(-N // dense.ROWS)), min(F, dense.COLUMNS)
        blocks = -(-N // height) * -(-F // width)
        plans = forward_table(self.dtype, N, C, F, height, width, int(bias is not None), int(relu))
        depth = min(C, dense.DEPTH)
        tape.add(
            dense.dense, blocks, cut(blocks, 256), block=Times(1),
            x=x, weights=kernel, bias=0 if bias is None else bias, y=y, x_copy=tape.scratch(height, dense.DEPTH + dense.SKEW),
            weights_copy=tape.scratch(depth, width), plans=Constant(plans), N=N, C=C, F=F, height=height, width=width,
            depth=dense.DEPTH, skew=dense.SKEW,
        )  # fmt: skip

    def backward(
        self, tape: Tape, dy: Place, y: Place | None, x: Place, kernel: Array, dx: Place | None, dkernel: Array,
        dbias: Array | None,
    ) -> None:  # fmt: skip
        N, C, F = len(x), self.inputs, self.units
        spread = tape.buffer((N, F + dense.SKEW))
        tape.add(
            dense.spread_rows, N, dy=Each(dy), y=0 if y is None else Each(y), spread=Each(spread), F=F, skew=dense.SKEW
        )
        blocks = -(-C // dense.BLOCK)
        width = min(C, dense.BLOCK)
        tape.add(
            dense.dense_backward, blocks, cut(blocks, 256), block=Times(1),
            x=x, dy=spread, weights=kernel, dkernel=dkernel, dx=0 if dx is None else dx, x_copy=tape.scratch(N, width),
            weights_copy=tape.scratch(F, width), plans=Constant(backward_table(self.dtype, N, C, F)), N=N, C=C, F=F,
            width=width, skew=dense.SKEW,
        )  # fmt: skip
        if dbias is not None:
            tape.add(
                arrays.add_rows, F, cut(F, unit=LANES), 0,
                rows=spread, number=N, stride=spread.each, total=dbias, first=Times(1),
            )  # fmt: skip

"""A dense layer as instructions."""

from functools import lru_cache

import numpy as np

from ..kernels import dense, product
from ..kernels.product import table
from ..kernels.simd import ACCUMULATE, BIAS
from ..tape import GROUPS, Constant, Each, Place, Tape, Times, cut
from .instructions import add_up
from .reference import Array

TERMS = 16  # sums are cut at multiples of so many


@lru_cache(maxsize=256)
def forward_table(
    dtype: str, N: int, C: int, F: int, height: int, width: int, depth: int, together: bool, start: int, relu: int,
    packed: bool,
) -> np.ndarray:  # fmt: skip
    """The plans of full and last row blocks, full and last column blocks, and of the first, a middle and the last slice."""
    plans: list[np.ndarray | None] = []
    last = (-(-C // depth) - 1) * depth
    for rows in (height, N % height):
        for columns in (width, F % width):
            for k in (0, depth, last):
                needed = rows and columns and k <= last
                terms, begin = min(depth, C - k), ACCUMULATE if together and k else start
                ends = relu if k == last else 0
                plans.append(
                    dense.forward_plan(dtype, rows, columns, depth, terms, F, begin, ends, packed) if needed else None
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
        height = -(-N // -(-N // dense.ROWS))
        packed = dense.packs(height, F, self.dtype)
        width = min(F, dense.PACKED_COLUMNS if packed else dense.COLUMNS)
        blocks = -(-N // height) * -(-F // width)
        slices = max(-(-C // dense.DEPTH), min(-(-GROUPS // blocks), C // dense.SHALLOW))
        depth = -(-C // slices // TERMS) * TERMS
        slices = -(-C // depth)
        together = blocks >= GROUPS or slices == 1
        parts = y if together else tape.whole(slices, N, F)
        start, last = (0 if bias is None else BIAS, int(relu)) if together else (0, 0)
        plans = forward_table(self.dtype, N, C, F, height, width, depth, together, start, last, packed)
        tasks = blocks if together else blocks * slices
        tape.add(
            dense.dense, tasks, cut(tasks, 256), block=Times(1),
            x=x, weights=kernel, bias=0 if bias is None else bias, y=parts, x_copy=tape.scratch(height, depth + dense.SKEW),
            weights_copy=tape.scratch(depth, width) if packed else 0, vectors=product.PACKED, plans=Constant(plans),
            N=N, C=C, F=F, height=height, width=width, depth=depth, skew=dense.SKEW, together=int(together),
            part=parts.nbytes // len(parts),
        )  # fmt: skip
        if not together:
            tape.add(
                dense.add_slices, N, parts=parts, number=slices, part=parts.nbytes // slices,
                bias=0 if bias is None else bias, y=Each(y), first=Times(1), F=F, relu=int(relu),
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
            width=width,
        )  # fmt: skip
        if dbias is not None:
            add_up(tape, spread, dbias)


def dense_layer(tape: Tape, x: Array, kernel: Array, bias: Array | None, relu: bool, y: Array) -> None:
    Dense(kernel.shape[0], kernel.shape[1], tape.dtype).forward(tape, x, kernel, bias, relu, y)


def dense_layer_backward(
    tape: Tape, dy: Array, y: Array | None, x: Array, dx: Array | None, kernel: Array, dkernel: Array, dbias: Array
) -> None:
    Dense(kernel.shape[0], kernel.shape[1], tape.dtype).backward(tape, dy, y, x, kernel, dx, dkernel, dbias)

"""Dense layers: the three shapes of the `example` and `ghouzam` networks, forward and both gradients, as on a tape.

They are matrix products, so NumPy's BLAS is a peer of its own.
"""

import numpy as np

from minicnn import get_ops
from minicnn.ops.cpu_dense import Dense
from minicnn.tape import Tape

from . import peers
from .report import Row, Table
from .timing import Settings, check, measure

SHAPES = ((128, 9216, 128), (128, 3136, 256), (128, 128, 10))  # batch, inputs, units


def run(settings: Settings) -> Table:
    rows = [row for shape in SHAPES for row in rows_of(*shape, settings)]
    return Table("dense", "batch × inputs × units, float32", rows)


def rows_of(N: int, C: int, F: int, settings: Settings) -> list[Row]:
    ops, definition, rng = get_ops("cpu"), get_ops("reference"), np.random.default_rng(0)
    x, kernel, bias, dy = (rng.standard_normal(shape, np.float32) for shape in ((N, C), (C, F), F, (N, F)))
    x64, kernel64, bias64, dy64 = (array.astype("float64") for array in (x, kernel, bias, dy))
    name = f"{N}×{C}×{F}"

    y, saved = ops.dense(x, kernel, bias)
    expected, kept = definition.dense(x64, kernel64, bias64)
    results = y, *ops.dense_backward(dy, kernel, saved)
    rights = expected, *definition.dense_backward(dy64, kernel64, kept)
    for what, ours, right in zip(("y", "dx", "dkernel", "dbias"), results, rights, strict=True):
        check(f"{what} of the dense layer {name}", ours, right)

    forward, backward = peers.dense(x, kernel, bias, dy)
    layer, there_tape, back_tape = Dense(C, F, "float32"), Tape("float32"), Tape("float32")
    layer.forward(there_tape, x, kernel, bias, False, np.empty_like(y))
    layer.backward(back_tape, dy, None, x, kernel, *map(np.empty_like, (x, kernel, bias)))
    there = measure(there_tape.run, {"NumPy": [lambda: x @ kernel + bias], "PyTorch": forward}, settings)
    back = measure(
        back_tape.run,
        {"NumPy": [lambda: (dy @ kernel.T, x.T @ dy, dy.sum(axis=0))], "PyTorch": backward},
        settings,
    )
    label: Row = {"layer": name}
    return [
        label | {"pass": "forward"} | there.columns(2 * N * C * F),
        label | {"pass": "backward"} | back.columns(4 * N * C * F),
    ]

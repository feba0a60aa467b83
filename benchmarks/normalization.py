"""Batch normalisation in training, on the shapes of the `deotte` network.

GB/s count every input and every output once, although the statistics must be known before the first output.
"""

import numpy as np

from minicnn import BatchNormalization, get_ops

from . import networks, peers
from .report import Row, Table
from .timing import Settings, check, measure

BATCH, EPSILON = 128, 1e-3


def run(settings: Settings) -> Table:
    layers = networks.build("deotte").layers
    shapes = [layer.input_shape[1:] for layer in layers if isinstance(layer, BatchNormalization)]
    rows = [row for shape in shapes for row in rows_of(shape, settings)]
    return Table("norm", f"batch normalisation in training, batch {BATCH}, float32", rows)


def rows_of(shape: tuple[int, ...], settings: Settings) -> list[Row]:
    ops, definition, rng = get_ops("cpu"), get_ops("reference"), np.random.default_rng(0)
    x, dy = (rng.standard_normal((BATCH, *shape), np.float32) for _ in range(2))
    gamma, beta = (rng.standard_normal(shape[-1], np.float32) for _ in range(2))
    x64, dy64, gamma64, beta64 = (array.astype("float64") for array in (x, dy, gamma, beta))
    name = "×".join(map(str, shape))

    y, mean, variance, saved = ops.batch_norm(x, gamma, beta, EPSILON)
    *expected, kept = definition.batch_norm(x64, gamma64, beta64, EPSILON)
    results = y, mean, variance, *ops.batch_norm_backward(dy, saved)
    rights = *expected, *definition.batch_norm_backward(dy64, kept)
    names = "y", "mean", "variance", "dx", "dgamma", "dbeta"
    for what, ours, right in zip(names, results, rights, strict=True):
        check(f"{what} of batch normalisation {name}", ours, right)
    forward, backward = peers.batch_norm(x, gamma, beta, dy, EPSILON)
    for peer in forward:
        check(f"PyTorch's batch normalisation {name}", peers.as_ours(peer()), expected[0])

    there = measure(lambda: ops.batch_norm(x, gamma, beta, EPSILON), {"PyTorch": forward}, settings)
    back = measure(lambda: ops.batch_norm_backward(dy, saved), {"PyTorch": backward}, settings)
    label: Row = {"shape": name}
    return [
        label | {"pass": "forward"} | there.columns(bytes_=2 * x.nbytes),
        label | {"pass": "backward"} | back.columns(bytes_=3 * x.nbytes),
    ]

"""Pooling: windows of 2×2 over the shapes at which the reference networks pool.

It computes nearly nothing; GB/s count x and y once each (dx and dy in the backward pass), the least that must move.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import MaxPooling2D, get_ops

from . import networks, peers
from .report import Row, Table
from .timing import Settings, check, measure

BATCH = 128
WINDOW = (2, 2), (2, 2), ((0, 0), (0, 0))  # size, strides, pads


def run(settings: Settings) -> Table:
    shapes = {
        layer.input_shape[1:]: name
        for name in networks.NETWORKS
        for layer in networks.build(name).layers
        if isinstance(layer, MaxPooling2D)
    }
    kinds = "max", "average"
    rows = [row for kind in kinds for shape, name in shapes.items() for row in rows_of(kind, shape, name, settings)]
    return Table("pool", f"windows of 2×2, batch {BATCH}, float32", rows)


def rows_of(kind: str, shape: tuple[int, ...], network: str, settings: Settings) -> list[Row]:
    rng, name = np.random.default_rng(0), f"{kind} {'×'.join(map(str, shape))}"
    pool, pool_backward = functions("cpu", kind)
    define, define_backward = functions("reference", kind)
    H, W, C = shape
    x, dy = (rng.standard_normal((BATCH, H // s, W // s, C), np.float32) for s in (1, 2))

    y, saved = pool(x, *WINDOW)
    expected, kept = define(x.astype("float64"), *WINDOW)
    check(f"y of pooling {name}", y, expected)
    check(f"dx of pooling {name}", pool_backward(dy, saved), define_backward(dy.astype("float64"), kept))
    forward, backward = {"max": peers.max_pool, "average": peers.avg_pool}[kind](x, dy, *WINDOW[:2])
    for peer in forward:
        check(f"PyTorch's pooling {name}", peers.as_ours(peer()), expected)

    label: Row = {"pool": name, "network": network}
    moved = x.nbytes + y.nbytes
    there = measure(lambda: pool(x, *WINDOW), {"PyTorch": forward}, settings)
    back = measure(lambda: pool_backward(dy, saved), {"PyTorch": backward}, settings)
    return [
        label | {"pass": "forward"} | there.columns(bytes_=moved),
        label | {"pass": "backward"} | back.columns(bytes_=moved),
    ]


def functions(device: str, kind: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    ops = get_ops(device)
    if kind == "max":
        return ops.max_pool2d, ops.max_pool2d_backward
    return ops.avg_pool2d, ops.avg_pool2d_backward

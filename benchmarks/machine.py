"""The machine and what it can do at most.

Every row is compared with the register tile itself, running on numbers that never leave the first-level cache: the
limit that a kernel made of tiles can come near to.
"""

import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from minicnn.kernels import product, simd
from minicnn.tape import Constant, Each, Tape

DEPTH = 128  # terms of each sum: both operands of a tile fit the first-level cache
REPEATS = 1000  # tiles per task, about a millisecond


class Tile:
    """One tile of float32 over and over, on all threads at once; `flop` is what one `run` computes."""

    def __init__(self, threads: int) -> None:
        float32 = np.dtype("float32")
        rows, vectors = simd.tile_shape(1000, 1000, float32)
        channels = vectors * simd.lanes(float32)
        tasks = 4 * threads
        self.flop = 2 * rows * channels * DEPTH * REPEATS * tasks
        plan = product.plan(
            "float32", rows, channels, I=REPEATS, a_row=DEPTH, c_row=channels, K=DEPTH, a_k=1, b_k=channels
        )
        a = np.ones((tasks, rows, DEPTH), np.float32)
        b = np.ones((tasks, DEPTH, channels), np.float32)
        c = np.zeros((tasks, rows, channels), np.float32)
        operands = {"a": Each(a), "b": Each(b), "c": Each(c)}
        together, alone = Tape("float32"), Tape("float32")
        cuts = tuple(range(tasks + 1))
        together.add(product.products, tasks, cuts, plan=Constant(plan), panels=len(plan), **operands)
        alone.add(product.products, tasks, (0, tasks), 1, plan=Constant(plan), panels=len(plan), **operands)
        self.run, self.run_alone = together.run, alone.run  # the latter on one core


def versions() -> dict[str, str | None]:
    """Of Python and the libraries that matter; None for one that is not installed."""
    found: dict[str, str | None] = {"Python": platform.python_version()}
    for name, package in {"NumPy": "numpy", "Numba": "numba", "PyTorch": "torch", "onnxruntime": "onnxruntime"}.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = None
    return found

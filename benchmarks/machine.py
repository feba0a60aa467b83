"""The machine and what it can do at most.

Every row is compared with the register tile itself, running on numbers that never leave the first-level cache: the
limit that a kernel made of tiles can come near to.
"""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from minicnn.kernels import product, simd
from minicnn.threads import parallel

DEPTH = 128  # terms of each sum: both operands of a tile fit the first-level cache
REPEATS = 1000  # tiles per task, about a millisecond


class Tile:
    """One tile of float32 over and over, on all threads at once; `flop` is what one `run` computes."""

    def __init__(self, threads: int) -> None:
        float32 = np.dtype("float32")
        rows, vectors = simd.tile_shape(1000, 1000, float32)
        channels = vectors * simd.lanes(float32)
        self.tasks = 4 * threads
        self.flop = 2 * rows * channels * DEPTH * REPEATS * self.tasks
        self.plan = product.plan(
            "float32", rows, channels, I=REPEATS, a_row=DEPTH, c_row=channels, K=DEPTH, a_k=1, b_k=channels
        )
        self.a = np.ones((self.tasks, rows, DEPTH), np.float32)
        self.b = np.ones((self.tasks, DEPTH, channels), np.float32)
        self.c = np.zeros((self.tasks, rows, channels), np.float32)

    def run(self) -> None:
        parallel(self.tasks, self.task)

    def run_alone(self) -> None:
        """The same on one core."""
        for number in range(self.tasks):
            self.task(number)

    def task(self, number: int) -> None:
        a, b, c = self.a[number], self.b[number], self.c[number]
        product.run_plan(self.plan, a.ctypes.data, b.ctypes.data, 0, c.ctypes.data)


def processor() -> str:
    """The model name of the CPU, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str | None]:
    """Of Python and the libraries that matter; None for one that is not installed."""
    found: dict[str, str | None] = {"Python": platform.python_version()}
    for name, package in {"NumPy": "numpy", "Numba": "numba", "PyTorch": "torch"}.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = None
    return found

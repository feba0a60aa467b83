"""The steps of the optimizers on an NVIDIA GPU.

A step is one launch over all parameters, whatever it consists of, see optimizers.cu; only the norms that gradients are
clipped by are measured before.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .gpu_kernels import PARTS, THREADS, KernelOps
from .reference import UNIT, Array, expect, expect_alike, uniform

if TYPE_CHECKING:
    from ..optimizers import Optimizer

MOST_SETTINGS = 12  # of a program, as in optimizers.cu
CODES = {
    name: code
    for code, name in enumerate(
        ("clip_value", "clip_norm", "clip_norms", "decay", "sgd", "rmsprop", "adagrad", "adadelta", "adam", "nadam", "adamax",
         "lion", "ftrl", "moving_average"), start=1,
    )
}  # fmt: skip


class OptimizerOps(KernelOps):
    # ------------------------------------------------------------------ single operations

    def _program(
        self,
        names: Sequence[str],
        arrays: Sequence[Array | None],
        settings: Sequence[float] = (),
        tables: Sequence[Array | None] = (None,) * 5,
    ) -> None:
        """Launches `optimize`: arrays are w, g, three moments and the averages, None where there are none."""
        expect_alike(names[0], *arrays)
        first = next(array for array in arrays if array is not None)
        program = sum(CODES[name] << 4 * place for place, name in enumerate(names))
        numbers = [np.float64(number) for number in (*settings, *[0.0] * MOST_SETTINGS)][:MOST_SETTINGS]
        arguments = np.int64(first.size), np.uint64(program), *arrays, *tables, *numbers
        self._each("optimizers", "optimize", first.dtype, first.size, *arguments, UNIT=UNIT)

    def _squares(self, g: Array, starts: Array | None) -> Array:
        """The sums (S,) of the squares of the parts of g that begin at starts (S + 1,), or of all."""
        parts = self.empty((PARTS // 4, 1 if starts is None else starts.size - 1), g.dtype)
        grid, arguments = parts.shape[::-1], (g, starts, parts, np.int64(g.size))
        self.kernels.launch("optimizers", "square_sums", g.dtype, grid, (1, THREADS), arguments)
        return self._add_parts(parts)

    def sgd(self, w: Array, g: Array, velocity: Array | None, rate: float, momentum: float, nesterov: float) -> None:
        self._program(["sgd"], (w, g, velocity, None, None, None), (rate, momentum, nesterov))

    def rmsprop(self, w: Array, g: Array, square: Array, mean: Array | None, velocity: Array | None,
                rate: float, rho: float, momentum: float, epsilon: float) -> None:  # fmt: skip
        self._program(["rmsprop"], (w, g, square, mean, velocity, None), (rate, rho, momentum, epsilon))

    def adagrad(self, w: Array, g: Array, square: Array, rate: float, epsilon: float) -> None:
        self._program(["adagrad"], (w, g, square, None, None, None), (rate, epsilon))

    def adadelta(
        self, w: Array, g: Array, square: Array, moved: Array, rate: float, rho: float, epsilon: float
    ) -> None:
        self._program(["adadelta"], (w, g, square, moved, None, None), (rate, rho, epsilon))

    def adam(self, w: Array, g: Array, m: Array, v: Array, top: Array | None,
             rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        self._program(["adam"], (w, g, m, v, top, None), (rate, beta_1, beta_2, epsilon))

    def nadam(self, w: Array, g: Array, m: Array, v: Array, along_m: float, along_g: float, growth: float,
              beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        self._program(["nadam"], (w, g, m, v, None, None), (along_m, along_g, growth, beta_1, beta_2, epsilon))

    def adamax(self, w: Array, g: Array, m: Array, u: Array,
               rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:  # fmt: skip
        self._program(["adamax"], (w, g, m, u, None, None), (rate, beta_1, beta_2, epsilon))

    def lion(self, w: Array, g: Array, m: Array, rate: float, beta_1: float, beta_2: float) -> None:
        self._program(["lion"], (w, g, m, None, None, None), (rate, beta_1, beta_2))

    def ftrl(self, w: Array, g: Array, n: Array, z: Array, rate: float, power: float,
             l1: float, l2: float, shrinkage: float, beta: float) -> None:  # fmt: skip
        self._program(["ftrl"], (w, g, n, z, None, None), (rate, power, l1, l2, shrinkage, beta))

    def clip_value(self, g: Array, most: float) -> None:
        self._program(["clip_value"], (None, g, None, None, None, None), (most,))

    def clip_norm(self, g: Array, most: float) -> None:
        expect_alike("clip_norm", g)
        tables = None, None, self._squares(g, None), None, None
        self._program(["clip_norm"], (None, g, None, None, None, None), (most,), tables)

    def decay(self, w: Array, share: float) -> None:
        self._program(["decay"], (w, None, None, None, None, None), (share,))

    def moving_average(self, w: Array, mean: Array, momentum: float, overwrite: float) -> None:
        self._program(["moving_average"], (w, None, None, None, None, mean), (momentum, overwrite))

    def penalize(self, w: Array, g: Array | None, l1: float, l2: float) -> float:
        if w.size == 0 or not uniform(w, w if g is None else g):
            return super().penalize(w, g, l1, l2)
        return float(self.penalty(w, g, l1, l2))

    def penalty(self, w: Array, g: Array | None, l1: float, l2: float) -> Array:
        """`penalize` with the result left on the device, ()."""
        if g is not None:
            expect("penalize", g, w.shape)
        shape = w.size, 1
        grid, block = self._parts(shape)
        parts = self.empty((grid[1], 1), w.dtype)
        arguments = w, g, parts, np.int64(w.size), float(l1), float(l2)
        self.kernels.launch("optimizers", "penalize", w.dtype, grid, block, arguments)
        return self._add_parts(parts).reshape(())

    # ------------------------------------------------------------------ all of a step

    def optimizer_step(self, optimizer: "Optimizer", w: Array, g: Array) -> "OptimizerStep":
        """What one `optimizer.update(w, g)` does, in one launch, or in three where norms are clipped."""
        return OptimizerStep(self, optimizer, w, g)


class OptimizerStep:
    """The operations of an optimizer's step as one program, for as long as `optimizer.parts`, w and g stay the same.

    The optimizer must be `native`, and have its moments (`prepare`).
    """

    def __init__(self, ops: OptimizerOps, optimizer: "Optimizer", w: Array, g: Array) -> None:
        self.ops, self.g = ops, g
        self.operations = optimizer.operations(w, g)
        self.names = [operation.name for operation in self.operations]
        calls = {operation.name: operation.calls for operation in self.operations}
        _, _, *moments = calls[optimizer.operation][0]
        _, average = calls["moving_average"][0] if "moving_average" in calls else (None, None)
        self.arrays = w, g, *(*moments, None, None, None)[:3], average
        self.owner = self.starts = self.decayed = None
        starts = np.array([part.start for _, part in optimizer.spans] + [w.size], np.int64)
        if len(calls.get("clip_norm", ())) > 1:  # every parameter by itself
            self.names[self.names.index("clip_norm")] = "clip_norms"
            self.starts = ops.array(starts)
        if "decay" in calls and not any(array is w for (array,) in calls["decay"]):
            self.decayed = ops.array([optimizer.decays(parameter) for parameter, _ in optimizer.spans], np.uint8)
        if self.starts is not None or self.decayed is not None:
            self.owner = ops.array(np.searchsorted(starts, np.arange(0, w.size, UNIT), "right") - 1, np.int32)

    def settings(self, rate: float) -> list[float]:
        """A row of a table: what all operations take in step number `optimizer.iterations`, at a learning rate."""
        found = [number for operation in self.operations for number in operation.settings(rate)]
        return (found + [0.0] * MOST_SETTINGS)[:MOST_SETTINGS]

    def __call__(self, settings: Sequence[float] = (), table: Array | None = None, step: Array | None = None) -> None:
        """Makes the step with these settings; or, when captured, with row *step (one int64) of table (·, 12), float64."""
        clipped = "clip_norm" in self.names or "clip_norms" in self.names
        squares = self.ops._squares(self.g, self.starts) if clipped else None
        self.ops._program(self.names, self.arrays, settings, (self.owner, self.decayed, squares, table, step))

"""How a number is measured: contestants take turns in one process, and the median call of each counts.

A result is checked before it is timed, against the reference operations in float64: a fast wrong kernel is worth
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from .machine import Tile
from .report import Failure, Row, Runner

TURN = 0.05  # seconds of timed calls before the next contestant's turn
SETTLE = 0.03  # seconds: the helper threads of PyTorch go on spinning for about so long after a call
SETTLE_BLAS = 0.12  # and those of NumPy's BLAS


@dataclass(frozen=True)
class Settings:
    """What was asked for on the command line, and the tile that every row is compared with."""

    seconds: float  # per row, all contestants together
    threads: int
    data: Path | None
    tile: Tile


def race(runners: Sequence[Runner], seconds: float, settle: float = SETTLE) -> list[float]:
    """Median seconds per call of each runner; they take turns until `seconds` have passed, one turn each at least.

    A turn begins with calls that are not timed, until caches and cores belong to the runner alone.
    """
    end = perf_counter() + seconds
    turn = min(TURN, seconds / (4 * len(runners)))
    times: list[list[float]] = [[] for _ in runners]
    for run in runners:
        run()  # compiles, allocates
    while not times[-1] or perf_counter() < end:
        for run, own in zip(runners, times, strict=True):
            calls(run, settle * turn / TURN)
            own += calls(run, turn)
    return [median(own) for own in times]


def calls(run: Runner, seconds: float) -> list[float]:
    """The duration of each call, one after the other until `seconds` have passed; one call at least."""
    durations: list[float] = []
    begin = now = perf_counter()
    while not durations or now - begin < seconds:
        before = now
        run()
        now = perf_counter()
        durations.append(now - before)
    return durations


@dataclass(frozen=True)
class Timing:
    """Seconds per call of ours and of the best runner of each peer (None without one), and the tile's FLOP/s then."""

    ours: float
    peak: float
    peers: dict[str, float | None]

    def columns(self, flop: float | None = None, bytes_: int | None = None, images: int | None = None) -> Row:
        """The row's numbers; "vs peer" is how many times as fast as the peer we are."""
        row: Row = {"ms": 1e3 * self.ours}
        if images is not None:
            row["images/s"] = images / self.ours
        if flop is not None:
            row |= {"GFLOP/s": flop / self.ours / 1e9, "of peak": flop / self.ours / self.peak}
        if bytes_ is not None:
            row["GB/s"] = bytes_ / self.ours / 1e9
        row["tile GFLOP/s"] = self.peak / 1e9
        for name, peer in self.peers.items():
            row |= {f"{name} ms": peer and 1e3 * peer, f"vs {name}": peer and peer / self.ours}
        return row


def measure(ours: Runner, peers: Mapping[str, Sequence[Runner]], settings: Settings) -> Timing:
    """Times ours, all runners of every peer, and the tile, all in alternation."""
    runners = [ours, settings.tile.run, *(run for its in peers.values() for run in its)]
    settle = SETTLE_BLAS if "NumPy" in peers else SETTLE
    own, tile, *rest = race(runners, settings.seconds, settle)
    best: dict[str, float | None] = {}
    for name, its in peers.items():
        best[name] = min(rest[: len(its)], default=None)
        rest = rest[len(its) :]
    return Timing(own, settings.tile.flop / tile, best)


def check(what: str, result: Any, expected: Any, tolerance: float = 1e-4) -> None:
    """Raises Failure unless two arrays agree: the largest difference, in units of the largest number expected."""
    result, expected = np.asarray(result), np.asarray(expected)
    if result.shape != expected.shape:
        raise Failure(f"{what} is wrong and is not timed: expected shape {expected.shape}, got {result.shape}")
    error = np.abs(result - expected).max() / max(np.abs(expected).max(), 1e-30)
    if not error <= tolerance:  # so written, it also catches a NaN
        raise Failure(f"{what} is wrong and is not timed: relative error {error:.1e}, allowed {tolerance:.0e}")

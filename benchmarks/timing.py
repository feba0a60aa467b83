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
SETTLE = {"PyTorch": 0.03, "onnxruntime": 0.06, "NumPy": 0.12}  # seconds its helper threads spin after a call, at most


@dataclass(frozen=True)
class Settings:
    """What was asked for on the command line, and the tile that every row is compared with."""

    seconds: float  # per row, all contestants together
    threads: int
    data: Path | None
    tile: Tile


def race(runners: Sequence[Runner], seconds: float, settle: float = SETTLE["PyTorch"]) -> list[float]:
    """Median seconds per call of each runner; they take turns until `seconds` have passed, one turn each at least.

    A turn begins with calls that are not timed, until caches and cores belong to the runner alone.
    """
    turn = min(TURN, seconds / (4 * len(runners)))
    times: list[list[float]] = [[] for _ in runners]
    for run in runners:
        run()  # compiles, allocates
    end = perf_counter() + seconds
    while not times[-1] or perf_counter() < end:
        for run, own in zip(runners, times, strict=True):
            calls(run, settle)
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
        if len(self.peers) > 1:
            best = min((peer for peer in self.peers.values() if peer), default=None)
            row["vs best"] = best and best / self.ours
        return row


def measure(ours: Runner, peers: Mapping[str, Sequence[Runner]], settings: Settings, steps: int = 1) -> Timing:
    """Times ours, all runners of every peer, and the tile, all in alternation; a call, but of the tile, is `steps`."""
    runners = [ours, settings.tile.run, *(run for its in peers.values() for run in its)]
    settle = max((SETTLE[name] for name, its in peers.items() if its), default=0.0)
    own, tile, *rest = race(runners, settings.seconds, settle)
    best: dict[str, float | None] = {}
    for name, its in peers.items():
        best[name] = min((seconds / steps for seconds in rest[: len(its)]), default=None)
        rest = rest[len(its) :]
    return Timing(own / steps, settings.tile.flop / tile, best)


def check(what: str, result: Any, expected: Any, tolerance: float = 1e-4) -> None:
    """Raises Failure unless two arrays agree: the largest difference, in units of the largest number expected."""
    result, expected = np.asarray(result), np.asarray(expected)
    if result.shape != expected.shape:
        raise Failure(f"{what} is wrong and is not timed: expected shape {expected.shape}, got {result.shape}")
    error = np.abs(result - expected).max() / max(np.abs(expected).max(), 1e-30)
    if not error <= tolerance:  # so written, it also catches a NaN
        raise Failure(f"{what} is wrong and is not timed: relative error {error:.1e}, allowed {tolerance:.0e}")

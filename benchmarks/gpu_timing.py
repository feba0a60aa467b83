"""How a number is measured on a GPU: by events of the device, many calls between two of them, contestants in turn.

The calls are captured into a CUDA graph, whose replay has no Python in it: else small kernels would be measured by how
fast Python launches them. Every call of a graph has arrays of its own, and together they are larger than the cache of the
device, so that a call finds its own in memory.

What is measured runs in a process of its own, see `Worker`: a kernel that touches memory which is not its own ends all
work with the GPU in its process, and one that never ends is ended with it.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from minicnn import get_ops

from . import peers
from .report import Failure, Runner

BURST = 0.002  # seconds of calls between two events, about
ROUNDS = 3  # turns that every contestant has at least
COPIES = 32  # calls in a graph, at most
LIMIT = 150.0  # seconds for one row, compilation included


class Ours:
    """Calls of CuPy, on a stream of their own: the one that belongs to everybody cannot be captured."""

    def __init__(self) -> None:
        self.cuda: Any = get_ops("gpu").xp.cuda
        self.stream = self.cuda.Stream(non_blocking=True)

    def make(self, makers: Sequence[Callable[[], Runner]]) -> list[Runner]:
        """Runners with their arrays, called once: compiled, and with memory in the pool."""
        with self.stream:
            runs = [maker() for maker in makers]
            for run in runs:
                run()
        self.stream.synchronize()
        return runs

    def capture(self, runs: Sequence[Runner]) -> Runner:
        pool = self.cuda.MemoryPool()  # of its own: what the calls let go is not given to another contestant
        with self.stream, self.cuda.using_allocator(pool.malloc):
            self.stream.begin_capture()
            try:
                kept = [run() for run in runs]  # alive: no two calls write to the same memory
            except BaseException:
                with suppress(Exception):  # says again that the capture was broken off
                    self.stream.end_capture()
                raise
            graph = self.stream.end_capture()
        return lambda kept=(kept, pool): graph.launch(self.stream)  # type: ignore[misc]

    def seconds(self, run: Runner) -> float:
        begin, end = self.cuda.Event(), self.cuda.Event()
        with self.stream:
            begin.record(self.stream)
            run()
            end.record(self.stream)
        end.synchronize()
        return float(self.cuda.get_elapsed_time(begin, end)) / 1e3


class Theirs:
    """Calls of PyTorch."""

    def __init__(self) -> None:
        self.cuda: Any = peers.torch.cuda

    def make(self, makers: Sequence[Callable[[], Runner]]) -> list[Runner]:
        runs = [maker() for maker in makers]
        side = self.cuda.Stream()
        side.wait_stream(self.cuda.current_stream())
        with self.cuda.stream(side):
            for _ in range(3):  # what PyTorch asks for before a capture
                for run in runs:
                    run()
        self.cuda.current_stream().wait_stream(side)
        self.cuda.synchronize()
        return runs

    def capture(self, runs: Sequence[Runner]) -> Runner:
        graph = self.cuda.CUDAGraph()
        with self.cuda.graph(graph):
            kept = [run() for run in runs]
        return lambda kept=kept: graph.replay()  # type: ignore[misc]

    def seconds(self, run: Runner) -> float:
        begin, end = self.cuda.Event(enable_timing=True), self.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1e3


@dataclass
class Contestant:
    """So many calls that follow each other when `run` is called, on the stream of `lane`."""

    lane: Ours | Theirs
    run: Runner
    calls: int
    captured: bool

    def burst(self, times: int) -> float:
        """Seconds per call."""

        def run() -> None:
            for _ in range(times):
                self.run()

        return self.lane.seconds(run) / (times * self.calls)


def contestant(lane: Ours | Theirs, maker: Callable[[], Runner], bytes_: float, cache: float) -> Contestant:
    """Calls of runners from `maker`, each on `bytes_` bytes of its own, together about twice the cache."""
    runs = lane.make([maker] * max(1, min(COPIES, round(2 * cache / max(bytes_, 1.0)))))
    try:
        return Contestant(lane, lane.capture(runs), len(runs), True)
    except Exception:  # whatever a library refuses to capture
        return Contestant(lane, lambda: [run() for run in runs], len(runs), False)


def race(contestants: Sequence[Contestant], seconds: float) -> list[float]:
    """Median seconds per call of each; they take turns until `seconds` have passed."""
    times: list[list[float]] = [[] for _ in contestants]
    bursts = []
    for one in contestants:
        one.burst(1)
        bursts.append(max(1, min(100, int(BURST / max(one.burst(1) * one.calls, 1e-7)))))
    end = time.perf_counter() + seconds
    while len(times[-1]) < ROUNDS or time.perf_counter() < end:
        for one, burst, own in zip(contestants, bursts, times, strict=True):
            own.append(one.burst(burst))
    return [median(own) for own in times]


# ---------------------------------------------------------------------- apart from this process


def sentence(error: BaseException) -> str:
    """An error on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200]


def alive() -> bool:
    """Whether this process can still use the GPU."""
    try:
        get_ops("gpu").xp.cuda.Device().synchronize()
    except Exception:
        return False
    return True


def serve(pipe: Any) -> None:
    """Answers calls until there are no more, or until the GPU is lost."""
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((function(*arguments), "", True))
        except Exception as error:
            usable = alive()
            pipe.send((None, sentence(error), usable))
            if not usable:
                return


class Worker:
    """A process that is asked for rows, and replaced when it has died, lost the GPU or does not answer."""

    def __init__(self, limit: float = LIMIT) -> None:
        self.limit = limit
        self.process: Any = None
        self.context = multiprocessing.get_context("spawn")

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function(*arguments)` returns there; Failure with its error in one sentence."""
        if self.process is None or not self.process.is_alive():
            self.stop()
            self.pipe, other = self.context.Pipe()
            self.process = self.context.Process(target=serve, args=(other,), daemon=True)
            self.process.start()
            other.close()
        try:
            self.pipe.send((function, arguments))
            if not self.pipe.poll(self.limit):
                self.stop()
                raise Failure(f"no answer within {self.limit:g} seconds: its process was ended")
            found, error, usable = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            self.stop()
            raise Failure(f"its process died with status {code}") from None
        if not usable:
            self.stop()
        if error:
            raise Failure(error)
        return found

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
            self.process = None

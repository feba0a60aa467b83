"""The threads that tapes run on: the caller's, and helpers beside it.

Kernels hold no interpreter lock, so plain Python threads keep all cores busy. A helper waits for jobs in a queue; after
each it spins for a tenth of a millisecond, as many helpers as there are cores for, so that a run that follows soon need
not wake it (see `kernels/walk.py`). Then it sleeps.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np

from .checks import SIZE, check
from .kernels import walk
from .memory import aligned

Job = Callable[[], object]
SPIN = 1.2e-4  # seconds that a helper spins
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
SPINNERS = min(CORES - 1, 64)


class _Helpers:
    """The threads beside the calling one; they are started when first needed, and again after a fork, which ends them."""

    def __init__(self) -> None:
        self.forks = -1
        self.threads = CORES
        self.words = aligned(8 * walk.LINE * (1 + SPINNERS)).view(np.int64).reshape(-1, walk.LINE)
        self.orders, self.boxes = self.words[0], self.words[1:]  # how many ticks to spin, and whether a job waits
        self.ready = self.boxes[:, 0]
        self.orders[:2] = 0
        self.first, self.last = self.boxes.ctypes.data, self.boxes.ctypes.data + self.boxes.nbytes
        self.forget()
        atexit.register(self.rest)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.forks += 1
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self.running = 0
        self.lock = threading.Lock()
        self.ready[:] = walk.ASLEEP

    def hand_over(self, job: Job) -> None:
        if self.running < self.threads - 1:
            with self.lock:
                while self.running < self.threads - 1:
                    box = self.first + 8 * walk.LINE * self.running if self.running < SPINNERS else 0
                    attend = walk.entry(walk.attend).call
                    if self.running == 0:
                        self.orders[0] = SPIN * walk.ticks_per_second(1e-3)
                    thread = threading.Thread(
                        target=self.serve, args=(self.jobs, attend, box), name="minicnn", daemon=True
                    )
                    try:
                        thread.start()
                    except RuntimeError:  # the system has no more; the caller does all
                        return
                    self.running += 1
        self.jobs.put(job)

    def serve(self, jobs: SimpleQueue[Job], attend: Callable[..., int], box: int) -> None:
        orders = self.orders.ctypes.data
        while True:
            jobs.get()()
            if box:
                self.orders[1] = not jobs.empty()
                attend(box, orders)

    def rest(self) -> None:
        """At the end of the program: nobody spins while what it looks at is taken down."""
        self.orders[0] = 0
        until = time.perf_counter() + 1
        while self.ready.any() and time.perf_counter() < until:
            time.sleep(1e-5)


_helpers = _Helpers()


def set_threads(threads: int) -> None:
    """How many threads kernels use, from 1; all cores of this process by default. Results do not depend on it."""
    check("", SIZE, **{"the number of threads": threads})
    _helpers.threads = int(threads)


def get_threads() -> int:
    """How many threads kernels use, the caller's among them."""
    return _helpers.threads


def hand_over(job: Job) -> None:
    """Has a helper call `job` when one is free. Nobody waits for it, and nothing may depend on it."""
    _helpers.orders[1] = 1
    _helpers.hand_over(job)


def call_helper(job: Job) -> None:
    """The same for a helper that sleeps; those that spin go on waiting for a run."""
    _helpers.hand_over(job)


def boxes() -> tuple[int, int]:
    """The addresses [first, end) of the helpers' boxes."""
    return _helpers.first, _helpers.last


def spinning() -> int:
    """How many helpers wait at their boxes."""
    return _helpers.ready.tolist().count(walk.READY)


def forks() -> int:
    """How many forks lie between this process and the one that loaded the package: helpers do not survive one."""
    return _helpers.forks

"""The threads that tapes run on: the caller's, and helpers beside it.

Kernels hold no interpreter lock, so plain Python threads keep all cores busy.
"""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], object]


class _Helpers:
    """The threads beside the calling one; they are started when first needed, and again after a fork, which ends them."""

    def __init__(self) -> None:
        self.forks = -1
        self.threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.forks += 1
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self.running = 0
        self.lock = threading.Lock()

    def hand_over(self, job: Job) -> None:
        if self.running < self.threads - 1:
            with self.lock:
                while self.running < self.threads - 1:
                    try:
                        threading.Thread(target=self.serve, args=(self.jobs,), name="minicnn", daemon=True).start()
                    except RuntimeError:  # the system has no more; the caller does all
                        return
                    self.running += 1
        self.jobs.put(job)

    @staticmethod
    def serve(jobs: SimpleQueue[Job]) -> None:
        while True:
            jobs.get()()


_helpers = _Helpers()


def set_threads(threads: int) -> None:
    """How many threads kernels use, from 1; all cores of this process by default. Results do not depend on it."""
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"the number of threads must be a positive integer, not {threads!r}")
    _helpers.threads = threads


def get_threads() -> int:
    return _helpers.threads


def hand_over(job: Job) -> None:
    """Has a helper call `job` when one is free. Nobody waits for it, and nothing may depend on it."""
    _helpers.hand_over(job)


def forks() -> int:
    """How many forks lie between this process and the one that loaded the package: helpers do not survive one."""
    return _helpers.forks

"""The threads that kernels run on: how many there are, and how a list of tasks is handed to them.

Kernels hold no interpreter lock, so plain Python threads keep all cores busy. Tasks are cut by the shape of the data
alone, never by the number of threads, and therefore results are the same to the bit for any number.
"""

import os
import threading
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue

Job = Callable[[], object]


class _Helpers:
    """The threads beside the calling one; they are started when first needed, and again after a fork, which ends them."""

    def __init__(self) -> None:
        self.threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self.running = 0
        self.lock = threading.Lock()

    def hand_over(self, job: Job, times: int) -> None:
        """Has `job` called so many times, each time by a helper."""
        with self.lock:
            while self.running < self.threads - 1:
                threading.Thread(target=self.serve, args=(self.jobs,), name="minicnn", daemon=True).start()
                self.running += 1
        for _ in range(times):
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


def parallel(tasks: int, task: Callable[[int], object]) -> None:
    """Calls task(0), …, task(tasks - 1) once each, in any order, on all threads; returns when all are done.

    If a task raises, the others are still finished or not begun, and the first exception is raised here.
    """
    threads = min(_helpers.threads, tasks)
    if threads <= 1:
        for index in range(tasks):
            task(index)
        return
    numbers = count()  # its next() is atomic: each number goes to one thread
    finished: SimpleQueue[BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            while (index := next(numbers)) < tasks:
                task(index)
        except BaseException as error:
            finished.put(error)
        else:
            finished.put(None)

    _helpers.hand_over(work, threads - 1)
    work()
    errors = [error for _ in range(threads) if (error := finished.get()) is not None]
    if errors:
        raise errors[0]

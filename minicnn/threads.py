"""The threads that kernels run on: how many there are, and how a list of tasks is handed to them.

Kernels hold no interpreter lock, so plain Python threads keep all cores busy. Tasks are cut by the shape of the data
alone, never by the number of threads, and therefore results are the same to the bit for any number.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count


class _Pool:
    """The helpers beside the calling thread; made anew after a fork, which leaves a child without threads."""

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor: ThreadPoolExecutor | None = None
    process = 0

    @classmethod
    def helpers(cls) -> ThreadPoolExecutor:
        if cls.executor is None or cls.process != os.getpid():
            cls.executor = ThreadPoolExecutor(max(1, cls.threads - 1), thread_name_prefix="minicnn")
            cls.process = os.getpid()
        return cls.executor


def set_threads(threads: int) -> None:
    """How many threads kernels use, from 1; all cores this process may run on by default. Results do not depend on it."""
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"the number of threads must be a positive integer, not {threads!r}")
    _Pool.threads, _Pool.executor = threads, None


def get_threads() -> int:
    return _Pool.threads


def parallel(tasks: int, task: Callable[[int], object]) -> None:
    """Calls task(0), …, task(tasks - 1) once each, in any order, on all threads; returns when all are done."""
    threads = min(_Pool.threads, tasks)
    if threads <= 1:
        for index in range(tasks):
            task(index)
        return
    numbers = count()  # its next() is atomic: each number goes to one thread

    def work() -> None:
        while (index := next(numbers)) < tasks:
            task(index)

    waiting = [_Pool.helpers().submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for helper in waiting:
            helper.result()

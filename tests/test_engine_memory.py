"""Kernels stay inside the memory that a tape gives them: every buffer, shared or a worker's own, lies between guards.

A guard is a pattern that must not change, or a page that the system lets nobody touch: then a read beside a buffer ends
the process as well. Buffers begin right behind a guard, or end right before one.
"""

import copy
import mmap
import os
import signal
from itertools import pairwise

import numpy as np
import pytest
from guards import PAGE, PLACES, between_pages, pages, protect, protecting
from networks import NETWORKS, assert_same

from minicnn import tape as tapes
from minicnn.kernels import arrays
from minicnn.memory import ALIGNMENT
from minicnn.tape import Buffer, Each, Tape

PATTERN = 0xA5


class Pages:
    """Stands for the pool from which workers get their memory."""

    @staticmethod
    def empty(shape, dtype):
        return np.frombuffer(mmap.mmap(-1, pages(shape[0])), dtype)


class Guards:
    """Guards around all memory of all tapes that are finished from now on."""

    def __init__(self, place, protected):
        self.place, self.protected = place, protected
        self.blocks = []  # (memory, guarded places)
        self.buffers = 0

    def patch(self, monkeypatch):
        finish, add_worker = Tape.finish, tapes.Program.add_worker

        def finish_with_guards(tape):
            finish(tape)
            self.move(tape)
            return tape

        def add_worker_with_guards(program):
            with monkeypatch.context() as patch:
                patch.setattr(tapes, "POOL", Pages)
                add_worker(program)
            own, _ = program.workers[-1]
            self.guard(own, program.tape.own_spans)

        monkeypatch.setattr(Tape, "finish", finish_with_guards)
        monkeypatch.setattr(tapes.Program, "add_worker", add_worker_with_guards)

    def move(self, tape):
        """Gives every buffer of a tape a new place, a page away from all others."""
        blocks = {strand.number: strand.block for strand in tape._all_strands()}
        ends, spans = {True: 0, False: 0}, {True: [], False: []}
        for buffer in tape.buffers:
            size, own = buffer.size, buffer.local
            if own and buffer.kind == "items":
                size = min(blocks[min(buffer.strands)], len(buffer)) * buffer.each
            unit = 1 if buffer.kind == "items" else ALIGNMENT  # single items may begin anywhere
            start = ends[own] + PAGE
            if self.place == "before":
                start += (pages(size) - size) // unit * unit
            buffer.address = start
            spans[own].append((start, start + size))
            ends[own] += PAGE + pages(size)
            self.buffers += 1
        tape.local_bytes, tape.own_spans = ends[True] + PAGE, spans[True]
        tape.memory = np.frombuffer(mmap.mmap(-1, ends[False] + PAGE), np.uint8)
        if tape.poison:
            tape.memory.fill(0xFF)
        self.guard(tape.memory, spans[False])

    def guard(self, memory, spans):
        edges = [0, *(edge for span in spans for edge in span), len(memory)]
        outside = [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
        for gap in outside:
            assert gap.stop - gap.start >= PAGE
            memory[gap] = PATTERN
            if self.protected:
                for page in range(pages(gap.start), gap.stop - PAGE + 1, PAGE):
                    protect(memory, page, allowed=False)
        self.blocks.append((memory, outside))

    def release(self):
        if self.protected:
            for memory, outside in self.blocks:
                for gap in outside:
                    for page in range(pages(gap.start), gap.stop - PAGE + 1, PAGE):
                        protect(memory, page, allowed=True)

    def intact(self):
        """Whether nobody has written to a guard; those that are protected may be touched from now on."""
        self.release()
        return all((memory[gap] == PATTERN).all() for memory, outside in self.blocks for gap in outside)


@pytest.fixture
def guarded(monkeypatch):
    """Puts guards around all that follows."""
    found = []

    def begin(place, protected):
        guards = Guards(place, protected)
        found.append(guards)
        guards.patch(monkeypatch)
        return guards

    yield begin
    for guards in found:
        guards.release()


def used(model, network, dtype):
    """Trains and asks a model; the results."""
    x, y = network.data(21, dtype)
    found = [*model.train_step(x, y), *model.train_step(x[:3], y[:3]), *model.scores_of(x, y), model.predict(x, 7)]
    return [np.array(array) for array in found]


GUARDED = pytest.mark.parametrize(
    "dtype, protected, place",
    [
        pytest.param(dtype, protected, place, marks=[protecting] if protected else [])
        for dtype, protected in (("float32", False), ("float32", True), ("float64", True))
        for place in PLACES
    ],
)


def assert_stays_inside(guarded, network, dtype, place, protected):
    model = network.model(dtype)
    other = copy.deepcopy(model)
    expected = used(other, network, dtype)
    guards = guarded(place, protected)
    got = used(model, network, dtype)
    assert guards.intact() and guards.buffers > 4
    assert_same(model, other)
    for one, two in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, two)


@GUARDED
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_beside_a_buffer_is_touched(guarded, threads, name, dtype, place, protected):
    threads(2)
    assert_stays_inside(guarded, NETWORKS[name], dtype, place, protected)


@GUARDED
@pytest.mark.parametrize("name", ["Winograd 5", "Winograd, any channels"])
def test_nothing_beside_a_buffer_of_a_whole_batch_is_touched(
    guarded, threads, whole_batch, name, dtype, place, protected
):
    threads(2)
    assert_stays_inside(guarded, NETWORKS[name], dtype, place, protected)


@protecting
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["lenet", "bytes"])
def test_nothing_beside_the_data_is_read(name, place):
    """The samples lie next to a page that nobody may touch."""
    network = NETWORKS[name]
    model = network.model()
    other = copy.deepcopy(model)
    x, y = network.data(21)
    fenced, rows = between_pages(x, place), np.array([20, 0, 20, 3])
    model.train_step(fenced, y[rows], rows=rows)
    other.train_step(x, y[rows], rows=rows)
    assert_same(model, other)
    np.testing.assert_array_equal(model.predict(fenced, 8), other.predict(x, 8))


# ---------------------------------------------------------------------- where buffers really lie


def layout(tape):
    """Where buffers lie: in shared memory; and in a worker's own, a list for each instruction, of all that live with it."""
    spans = lambda buffers: [(b.address, b.address + b.size) for b in buffers]  # noqa: E731
    shared = spans(b for b in tape.buffers if b.kind in ("items", "whole") and not b.local)
    cleared, own = spans(b for b in tape.buffers if b.kind == "cleared"), []
    for strand in tape._all_strands():
        kept = [b for b in tape.buffers if b.kind == "items" and b.local and b.strands == {strand.number}]
        places = [(b.address, b.address + min(strand.block, len(b)) * b.each) for b in kept]
        for instruction in strand.instructions:
            used = {a.storage for a in instruction.arguments if isinstance(a, Buffer) and a.kind == "scratch"}
            own.append(cleared + places + spans(used))
    return shared, own


@pytest.mark.parametrize("name", NETWORKS)
def test_buffers_lie_apart(name):
    """At least a line between any two that live at the same time, all of them inside their block, at multiples of 64."""
    model = NETWORKS[name].model()
    used(model, NETWORKS[name], "float32")
    for run in model._engine.runs.values():
        shared, own = layout(run.tape)
        together = [(shared, len(run.tape.memory)), *((spans, run.tape.local_bytes) for spans in own)]
        for spans, size in together:
            spans.sort()
            assert all(start >= 0 and start % ALIGNMENT == 0 and end <= size for start, end in spans)
            assert all(end + ALIGNMENT <= start for (_, end), (start, _) in pairwise(spans))


def gaps(spans, size):
    """What lies between the spans."""
    free = np.ones(size, bool)
    for start, end in spans:
        free[start:end] = False
    assert free.sum() >= min(len(spans), 1) * ALIGNMENT
    return free


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gaps_between_buffers_stay_as_they_are(threads, name):
    threads(2)
    model = NETWORKS[name].model()
    used(model, NETWORKS[name], "float32")
    watched = []
    for run in model._engine.runs.values():
        shared, own = layout(run.tape)
        watched.append((run.tape.memory, gaps(shared, len(run.tape.memory))))
        for program in run.tape.programs:
            if isinstance(program, tapes.Program):
                watched += [(memory, gaps(sum(own, []), len(memory))) for memory, _ in program.workers]
    for memory, gap in watched:
        memory[gap] = PATTERN
    runs = list(model._engine.runs.values())
    used(model, NETWORKS[name], "float32")
    assert list(model._engine.runs.values()) == runs
    assert all((memory[gap] == PATTERN).all() for memory, gap in watched)


# ---------------------------------------------------------------------- the guards themselves


def writing(number, kind):
    """A tape that writes one number of a buffer of 27."""
    tape = Tape("float32")
    place = tape.buffer((9, 3), kind)
    if kind == "items":
        x = np.ones((9, number + 1), "float32")
        tape.add(arrays.rescale, 9, x=Each(x), y=Each(place), image=number + 1, scale=1.0, offset=0.0)
    else:
        rows = np.ones(64, "float32")[8:]  # with numbers before and behind it, so that what is written is 1
        tape.add(arrays.add_rows, 1, (0, 1), 0, rows=rows, number=1, stride=0, total=place, first=number, skip=0)
    return tape


@pytest.mark.parametrize(
    "kind, number, intact",
    [("items", 2, True), ("items", 3, False)]
    + [
        (kind, *case)
        for kind in ("whole", "scratch", "cleared")
        for case in ((0, True), (26, True), (27, False), (-1, False))
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_the_guards_notice(guarded, place, kind, number, intact):
    guards = guarded(place, protected=False)
    writing(number, kind).run()
    assert guards.intact() == intact


@protecting
@pytest.mark.parametrize("place, number", [("before", 32), ("behind", -1)])
def test_the_guarded_pages_are_guarded(guarded, place, number):
    """A process that writes there is ended."""
    guarded(place, protected=True)
    tape = writing(number, "whole")
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            tape.run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV

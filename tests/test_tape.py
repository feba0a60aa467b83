"""The tape: which instructions wait for which, what a worker is told to do, and that all of it is done exactly once.

The kernels here are functions of Python, which native code calls: they write down what they are asked for.
"""

import ctypes
import gc
import threading
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import tape as tapes
from minicnn.kernels import arrays, optimizers, walk
from minicnn.kernels.walk import ARITIES
from minicnn.memory import aligned
from minicnn.ops import instructions
from minicnn.tape import FRESH, LAST, Constant, Each, Far, Fitted, Part, Steps, Tape, Times, cut, pieces

FAILURES = []


@pytest.fixture(autouse=True)
def no_failures():
    yield
    failures = list(FAILURES)
    FAILURES.clear()
    assert failures == []


class Spy:
    """A kernel with arguments of these names, of which it writes some; `do` gets the number of items and the arguments."""

    def __init__(self, name, names, writes="", do=lambda count, *arguments: None):
        self.name, self.names, self.writes = name, names.split(), frozenset(writes.split())
        self.do = do
        self.native = ctypes.CFUNCTYPE(None, ctypes.c_float, *[ctypes.c_int64] * (1 + len(self.names)))(self.called)

    def called(self, zero, count, *arguments):
        try:
            self.do(count, *arguments)
        except BaseException as failure:  # ctypes would only print it
            FAILURES.append(failure)

    def address(self, dtype):
        return ctypes.cast(self.native, ctypes.c_void_p).value


def floats(address, count):
    """The numbers at an address."""
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), (count,))


def shape(tape):
    """The names of the kernels by section, phase and strand."""
    return [
        "call" if callable(section) else [[[i.kernel.name for i in s.instructions] for s in phase] for phase in section]
        for section in tape.sections
    ]


# ---------------------------------------------------------------------- cutting

counts = st.integers(1, 10_000)


@given(items=counts, parts=st.integers(1, 300), unit=st.integers(1, 100))
def test_groups_are_all_items_in_equal_parts(items, parts, unit):
    cuts = cut(items, parts, unit)
    sizes = [b - a for a, b in pairwise(cuts)]
    assert cuts[0] == 0 and cuts[-1] == items and min(sizes) > 0
    assert len(sizes) == min(parts, -(-items // unit))
    assert all(start % unit == 0 for start in cuts[:-1])
    assert max(sizes) - min(sizes) < 2 * unit


@given(items=st.integers(0, 10_000), most=st.integers(1, 300))
def test_pieces_are_few_and_nearly_equal(items, most):
    sizes = pieces(items, most)
    assert sum(sizes) == items and len(sizes) == -(-items // most)
    assert not sizes or max(sizes) <= most and max(sizes) - min(sizes) <= 1


def test_groups_do_not_depend_on_threads(threads):
    found = []
    for number in (1, 64):
        threads(number)
        tape = Tape("float32")
        tape.add(Spy("a", "x"), 100, x=0)
        found.append(tape.sections[0][0][0].cuts)
    assert found[0] == found[1] == cut(100, tapes.GROUPS)


# ---------------------------------------------------------------------- who waits for whom

WRITE, READ, BOTH = Spy("w", "y", "y"), Spy("r", "x"), Spy("b", "x y", "y")


def programs():
    """Sentences, each with what is put on a tape and the strands of the phases that come of it."""

    def program(sentence, *expected):
        def enter(function):
            cases[sentence] = function, list(expected)

        return enter

    cases = {}

    @program("a worker goes on with the items it has just done", [["w", "b", "r"]])
    def _(tape):
        x, y = tape.buffer((9, 2)), tape.buffer((9, 2))
        tape.add(WRITE, 9, y=Each(x))
        tape.add(BOTH, 9, x=Each(x), y=Each(y))
        tape.add(READ, 9, x=Each(y))

    @program("what is read as a whole is waited for", [["w"]], [["r"]])
    def _(tape):
        x = tape.buffer((9, 2))
        tape.add(WRITE, 9, y=Each(x))
        tape.add(READ, 9, x=x)

    @program("what is written as a whole is waited for", [["w"]], [["r"]])
    def _(tape):
        x = tape.buffer((9, 2))
        tape.add(WRITE, 9, y=x)
        tape.add(READ, 9, x=Each(x))

    @program("a view is the memory it shows", [["w"]], [["r"]])
    def _(tape):
        x = tape.buffer((9, 2))
        tape.add(WRITE, 9, y=Each(x.reshaped(9, 1, 2)))
        tape.add(READ, 9, x=x.reshaped(18))

    @program("items in other groups are waited for", [["w"]], [["r"]])
    def _(tape):
        x = tape.buffer((9, 2))
        tape.add(WRITE, 9, y=Each(x))
        tape.add(READ, 9, cut(9, 2), x=Each(x))

    @program("a reader is waited for by the next writer", [["r"]], [["w"]])
    def _(tape):
        x = tape.buffer((9, 2))
        tape.add(READ, 9, x=Each(x))
        tape.add(WRITE, 9, y=x)

    @program("but not by a writer of the same items", [["r", "w"]])
    def _(tape):
        x = tape.buffer((9, 2))
        tape.add(READ, 9, x=Each(x))
        tape.add(WRITE, 9, y=Each(x))

    @program("two writers of the whole follow each other", [["w"]], [["w"]])
    def _(tape):
        x = tape.buffer((9, 2))
        tape.add(WRITE, 9, y=x)
        tape.add(WRITE, 9, y=x)

    @program("readers do not mind each other", [["r", "r"], ["r"]])
    def _(tape):
        x = tape.buffer((9, 2))
        tape.add(READ, 9, x=x)
        tape.add(READ, 9, x=Each(x))
        tape.add(READ, 8, x=x)

    @program("what is independent shares a phase", [["w"], ["w"]], [["r"]])
    def _(tape):
        x, y = tape.whole(3), tape.whole(3)
        tape.add(WRITE, 9, y=x)
        tape.add(WRITE, 8, y=y)
        tape.add(READ, 7, x=x)

    @program("each goes on with its own", [["w", "r"], ["w", "r"]])
    def _(tape):
        x, y = tape.buffer((9, 2)), tape.buffer((8, 2))
        tape.add(WRITE, 9, y=Each(x))
        tape.add(WRITE, 8, y=Each(y))
        tape.add(READ, 9, x=Each(x))
        tape.add(READ, 8, x=Each(y))

    @program("what needs two strands waits for both", [["w"], ["w"]], [["b"]])
    def _(tape):
        x, y = tape.buffer((9, 2)), tape.buffer((8, 2))
        tape.add(WRITE, 9, y=Each(x))
        tape.add(WRITE, 8, y=Each(y))
        tape.add(BOTH, 9, x=y, y=Each(x))

    @program("parts of groups are added up afterwards", [["w"]], [["r"]])
    def _(tape):
        parts = tape.whole(9, 2)
        tape.add(WRITE, 9, y=Part(parts))
        tape.add(READ, 2, cut(2), x=parts)

    @program("arrays wait like buffers", [["w", "r"]], [["r"]])
    def _(tape):
        array = np.zeros((9, 2))
        tape.add(WRITE, 9, y=Each(array))
        tape.add(READ, 9, x=Each(array))
        tape.add(READ, 9, x=array[3:])

    @program("other parts of an array do not", [["w"], ["r"]])
    def _(tape):
        array = np.zeros((9, 2))
        tape.add(WRITE, 9, y=array[:4])
        tape.add(READ, 8, x=array[4:])

    @program("a constant is not waited for", [["w"], ["r"]])
    def _(tape):
        array = np.zeros((9, 2))
        tape.add(WRITE, 9, y=array)
        tape.add(READ, 8, x=Constant(array))

    @program("scratch is each worker's own", [["b", "b"]])
    def _(tape):
        x, y = tape.scratch(3), tape.cleared(3)
        tape.add(BOTH, 9, x=x, y=y)
        tape.add(BOTH, 9, x=y, y=x)

    @program("a barrier is waited for", [["w"]], [["w", "r"]])
    def _(tape):
        tape.add(WRITE, 9, y=tape.whole(2))
        tape.barrier()
        tape.add(WRITE, 9, y=tape.whole(2))
        tape.add(READ, 9, x=tape.whole(2))

    @program("nothing is not done", [["w"]])
    def _(tape):
        tape.add(READ, 0, x=tape.buffer((0, 2)))
        tape.add(WRITE, 9, y=tape.whole(2))

    return [pytest.param(*case, id=sentence) for sentence, case in cases.items()]


@pytest.mark.parametrize("put, expected", programs())
def test_waiting(put, expected):
    tape = Tape("float32")
    put(tape)
    assert shape(tape) == [expected]


def test_python_is_called_between_phases():
    tape = Tape("float32")
    x = tape.buffer((9, 2))
    tape.add(WRITE, 9, y=Each(x))
    tape.call(lambda: None, x)
    tape.barrier()
    tape.add(READ, 9, x=Each(x))
    tape.call(lambda: None)
    assert shape(tape) == [[[["w"]]], "call", [[["r"]]], "call"]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_phase_begins_when_the_one_before_is_done(threads, number):
    """Every task of three phases notes its beginning and its end; some are slow."""
    threads(number)
    log, tape = [], Tape("float32")

    def work(phase):
        def do(count, first, *places):
            log.append((phase, "begins"))
            threading.Event().wait(0.002 * (first % 3 == 0))
            log.append((phase, "ends"))

        return do

    x = tape.buffer((20, 2))
    tape.add(Spy("0", "first y", "y", work(0)), 20, first=Times(1), y=x)
    tape.add(Spy("1", "first x", "", work(1)), 20, first=Times(1), x=x)
    tape.call(lambda: log.append((2, threading.current_thread())))
    tape.add(Spy("3", "first", "", work(3)), 20, first=Times(1))
    for _ in range(3):
        log.clear()
        tape.run()
        assert [phase for phase, _ in log] == [0] * 40 + [1] * 40 + [2] + [3] * 40
        assert log[80][1] is threading.current_thread()


# ---------------------------------------------------------------------- everything once


@settings(max_examples=60)
@given(
    items=st.integers(1, 60),
    groups=st.integers(1, 20),
    at_once=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    number=st.sampled_from([1, 2, 3, 5, 16, 64]),
)
def test_every_item_is_done_once(items, groups, at_once, number):
    """With the addresses and numbers it was promised, in blocks that do not leave their group."""
    before = minicnn.get_threads()
    minicnn.set_threads(number)
    try:
        tape, log = Tape("float32", groups), []
        array, parts = np.zeros((items, 3), np.float32), np.zeros((groups, 5), np.float64)
        buffer, sums = tape.buffer((items, 7)), tape.whole(groups, 2)
        fitted = []
        spies = [
            Spy(
                str(k), "k first x part y sum fresh last fitted", "x part y sum",
                lambda count, *arguments: log.append((count, *arguments)),
            )
            for k in range(len(at_once))
        ]  # fmt: skip
        for k, block in enumerate(at_once):
            tape.add(
                spies[k], items, None, block, k=k, first=Times(10), x=Each(array), part=Part(parts), y=Each(buffer),
                sum=Part(sums), fresh=FRESH, last=LAST,
                fitted=Fitted(lambda counts: fitted.append(list(counts)) or np.zeros(1)),
            )  # fmt: skip
        tape.keep(buffer)
        tape.run()
        cuts = cut(items, groups)
        block = max(n or items for n in at_once)
        expected = []
        for group, (start, end) in enumerate(pairwise(cuts)):
            first = start
            for count in pieces(end - start, block):
                for k in range(len(at_once)):
                    expected.append(
                        (
                            count, k, 10 * first, array.ctypes.data + first * 12, parts.ctypes.data + group * 40,
                            tape.array(buffer).ctypes.data + first * 28, tape.array(sums).ctypes.data + group * 8,
                            int(first == start), int(first + count == end),
                        )
                    )  # fmt: skip
                first += count
        assert sorted(entry[:-1] for entry in log) == sorted(expected)
        assert all(set(found) == {entry[0] for entry in log} for found in fitted) and len(fitted) == len(at_once)
    finally:
        minicnn.set_threads(before)


def test_a_worker_does_a_block_of_items_with_all_instructions_before_the_next():
    log, tape = [], Tape("float32", groups=2)
    x = tape.buffer((8, 2))
    for name in "ab":
        spy = Spy(name, "first x", "x", lambda count, first, x, name=name: log.append((name, first, count)))
        tape.add(spy, 8, None, 3, first=Times(1), x=Each(x))
    tape.run()
    groups = [[("a", n, 2), ("b", n, 2), ("a", n + 2, 2), ("b", n + 2, 2)] for n in (0, 4)]
    assert sorted(log) == sorted(sum(groups, []))
    for group in groups:
        assert [entry for entry in log if entry in group] == group


def test_what_lies_in_a_workers_own_memory_is_not_far():
    tape, seen = Tape("float32"), []
    own, kept, array = tape.buffer((4, 3)), tape.buffer((4, 5)), np.zeros((4, 7))
    tape.keep(kept)
    spy = Spy("s", "a b c x y z", "x y", lambda count, a, b, c, *others: seen.append((a, b, c)))
    tape.add(spy, 4, a=Far(own), b=Far(kept), c=Far(array), x=Each(own), y=Each(kept), z=Each(array))
    tape.run()
    assert set(seen) == {(0, 20, 56)}


def test_the_parts_of_a_group_are_read_when_they_are_complete():
    """Not after the first of its blocks."""
    tape, seen = Tape("float32", groups=2), []

    def add(count, fresh, part):
        floats(part, 1)[0] = (0 if fresh else floats(part, 1)[0]) + count

    parts = tape.whole(2, 1)
    tape.add(Spy("w", "fresh part", "part", add), 10, fresh=FRESH, part=Part(parts))
    tape.add(Spy("r", "x", "", lambda count, x: seen.append(floats(x, 1)[0])), 10, x=Part(parts))
    tape.run()
    assert set(seen) == {5.0}


@pytest.mark.parametrize("most", ARITIES)
def test_arguments_of_every_kind_and_number(most):
    """A kernel is called with one of a few numbers of arguments: with that many, and with one less, and more than before."""
    for number in {most, most - 1, (ARITIES[ARITIES.index(most) - 1] if most > ARITIES[0] else 0) + 1}:
        names, got, tape = [f"a{k}" for k in range(number)], [], Tape("float32")
        spy = Spy("many", " ".join(names), "", lambda count, *arguments, got=got: got.append((count, *arguments)))
        tape.add(spy, 1, **{name: 1000 - k for k, name in enumerate(names)})
        tape.run()
        assert got == [(1, *(1000 - k for k in range(number)))]


@given(st.floats(allow_nan=False))
def test_real_numbers_travel_as_their_bits(value):
    got, tape = [], Tape("float64")
    tape.add(Spy("real", "value", "", lambda count, value: got.append(value)), 1, value=value)
    tape.run()
    assert np.array(got).view(np.float64)[0] == value


def test_arguments_that_a_kernel_does_not_have():
    with pytest.raises(AssertionError, match="kernel w has no argument z"):
        Tape("float32").add(WRITE, 9, y=0, z=1)
    with pytest.raises(KeyError):
        Tape("float32").add(BOTH, 9, y=0)


@given(rows=st.integers(1, 40), columns=st.integers(1, 300), number=st.integers(1, 5), dtype=st.sampled_from("fd"))
def test_a_real_kernel(rows, columns, number, dtype):
    """Columns are added up in parts, in any number of groups."""
    before = minicnn.get_threads()
    minicnn.set_threads(number)
    x = np.random.default_rng(columns).integers(-9, 9, (rows, columns)).astype(dtype)
    total, tape = np.full(columns, np.nan, dtype), Tape(x.dtype)
    tape.add(
        arrays.add_rows, columns, cut(columns, number), 0, rows=x, number=rows, stride=x[0].nbytes, total=total,
        first=Times(1), skip=0,
    )  # fmt: skip
    tape.run()
    minicnn.set_threads(before)
    np.testing.assert_array_equal(total, x.sum(axis=0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("momentum, start", [(0.5, 1.0), (64.0, 0.125)], ids=["results", "operands"])
def test_numbers_without_all_their_digits_are_zero(threads, dtype, momentum, start):
    """For every worker; afterwards this thread rounds as it did."""
    least = np.finfo(dtype).tiny
    w, g, velocity = np.zeros(4096, dtype), np.zeros(4096, dtype), np.full(4096, start * least, dtype)
    threads(3)
    tape = Tape(dtype)
    tape.add(
        optimizers.sgd, w.size, cut(w.size, 64), 0, w=Each(w), g=Each(g), velocity=Each(velocity),
        settings=np.array([0.0, momentum, 0.0]),
    )  # fmt: skip
    tape.run()
    assert (velocity == 0).all()
    half = np.full(9, least) * np.array(0.5, dtype)
    assert (half > 0).all() and (half * 2 == least).all()


def test_nothing_is_done_twice_where_workers_contend(threads):
    """Very many tasks that take no time, each of which takes 1 off a number."""
    threads(4)
    runs, size = 4, 200_000
    w, g, velocity = np.full(size, float(runs)), np.ones(size), np.zeros(size)
    tape = Tape("float64")
    instructions.optimize(tape, "sgd", (w[:1], g[:1], velocity[:1]), np.zeros(3))  # a phase before
    tape.barrier()
    tape.add(
        optimizers.sgd, size, cut(size, size), 0, w=Each(w), g=Each(g), velocity=Each(velocity),
        settings=np.array([1.0, 0.0, 0.0]),
    )  # fmt: skip
    for _ in range(runs):
        tape.run()
    assert (w == 0).all()


def test_runs_are_counted_round_and_round(threads):
    """The number of a run has 23 bits."""
    threads(3)
    done, tape = [], Tape("float32")
    tape.add(Spy("a", "first", "", lambda count, first: done.append(first)), 12, first=Times(1))
    tape.finish().programs[0].words.number = 0x7FFFFF - 2
    for _ in range(5):
        done.clear()
        tape.run()
        assert sorted(done) == list(range(12))


# ---------------------------------------------------------------------- several steps in one run


@given(steps=st.integers(1, 9), items=st.integers(1, 40), number=st.integers(1, 4))
def test_step_after_step(steps, items, number):
    """Two phases: each item gets the mean of all, of the step before, plus a number of the step and one of step and item."""
    before = minicnn.get_threads()
    minicnn.set_threads(number)
    random = np.random.default_rng(steps)
    w, y = np.zeros(items, "float32"), np.zeros(items, "float32")
    own, one = random.random((9, items), np.float32), random.random((9, 1), np.float32)
    tape = Tape("float32")

    def add(count, y, x, own, one):
        floats(y, count)[:] = floats(x, items).mean() + floats(own, count) + floats(one, 1)

    def move(count, y, x, first):
        floats(y, items)[first : first + count] = floats(x, items)[first : first + count]

    tape.add(Spy("add", "y x own one", "y", add), items, y=Each(y), x=w, own=Each(Steps(own)), one=Steps(one))
    tape.add(Spy("move", "y x first", "y", move), items, y=w, x=y, first=Times(1))
    assert shape(tape) == [[[["add"]], [["move"]]]] and tape.unbroken
    expected = np.zeros(items, "float32")
    for _ in range(2):
        tape.run(steps=steps)
        for step in range(steps):
            expected = expected.mean() + own[step] + one[step]
    minicnn.set_threads(before)
    np.testing.assert_array_equal(w, expected)


def test_a_tape_that_calls_python_is_broken():
    tape = Tape("float32")
    tape.add(Spy("a", ""), 3)
    assert tape.unbroken
    tape.call(lambda: None)
    assert not tape.unbroken


def test_a_helper_of_a_shorter_run_leaves_a_longer_one_alone(threads, helpers):
    threads(2)
    done, tape = [], Tape("float32")
    tape.add(Spy("a", "first", "", lambda count, first: done.append(first)), 12, first=Times(1))
    for steps in (1, 5, 2, 1):
        done.clear()
        tape.run(steps=steps)
        for job in helpers:
            job()
        assert sorted(done) == sorted(list(range(12)) * steps)


# ---------------------------------------------------------------------- workers


@pytest.fixture
def helpers(monkeypatch):
    """The jobs that are handed to helpers, which nobody does."""
    jobs = []
    monkeypatch.setattr(tapes, "SHORT", 0)
    monkeypatch.setattr(tapes, "call_helper", jobs.append)
    monkeypatch.setattr(tapes, "spinning", lambda: 0)
    monkeypatch.setattr(tapes, "boxes", lambda: (0, 0))
    return jobs


def test_helpers_that_come_late_or_never_are_only_missed(threads, helpers):
    threads(4)
    done, tape = [], Tape("float32")
    tape.add(Spy("a", "first", "", lambda count, first: done.append(first)), 12, first=Times(1))
    tape.run()
    assert sorted(done) == list(range(12)) and len(helpers) == 3
    for job in helpers:
        job()
    assert len(done) == 12
    late = list(helpers)
    tape.add(Spy("b", ""), 1)
    for _ in range(3):
        tape.run()
        for job in late:
            job()
    assert len(done) == 48


def test_a_helper_of_an_earlier_run_leaves_a_later_one_alone(threads, helpers):
    """It would have the memory of a worker who is there already."""
    threads(2)
    done, tape, late = [], Tape("float32"), []

    def do(count, first):
        done.append((first, threading.get_ident()))
        while late:  # in the middle of a run
            visitor = threading.Thread(target=late.pop())
            visitor.start()
            visitor.join()

    tape.add(Spy("a", "first", "", do), 12, first=Times(1))
    tape.run()
    late += helpers
    done.clear()
    tape.run()
    assert sorted(first for first, _ in done) == list(range(12)) and late == []
    assert {ident for _, ident in done} == {threading.get_ident()}


@pytest.fixture
def box(monkeypatch):
    """A box that programs know of, and how many cycles a helper looks at it."""
    words = aligned(16 * walk.LINE).view(np.int64)
    words[:] = 0
    start = words.ctypes.data
    monkeypatch.setattr(tapes, "boxes", lambda: (start, start + 8 * walk.LINE))
    monkeypatch.setattr(tapes, "spinning", lambda: 3)
    return words[: walk.LINE], words[walk.LINE :]


def test_a_helper_that_spins_does_run_after_run(threads, box):
    threads(2)
    box, patience = box
    patience[0] = 1 << 62
    helper = threading.Thread(target=walk.entry(walk.attend).call, args=(box.ctypes.data, patience.ctypes.data))
    helper.start()
    try:
        for _ in range(3):
            tape = Tape("float32")
            found = meeting(2, tape, 9)
            for _ in range(3):
                while box[0] != walk.READY:
                    pass
                tape.run()
                assert len(found) == 2
    finally:
        patience[0] = 0
        helper.join(20)
    assert not helper.is_alive() and box[0] == walk.ASLEEP


def test_the_clock_counts():
    """Compilers of old gave 0 for it on ARM, or what the processor refuses."""
    assert walk.ticks_per_second(0.01) > 1e6


def test_a_run_that_is_found_in_the_box_too_late_is_left(threads, box):
    """Also when its program is gone, and its words are another's."""
    threads(2)
    box, _ = box
    box[0] = walk.READY  # but nobody is there
    done, late = [], []
    for number in range(5):
        tape = Tape("float32")
        tape.add(Spy("a", "", "", lambda count, number=number: (done.append(number), *(job() for job in late))), 2)
        tape.run()
        assert box[0] == walk.POSTED
        program = tape.programs[0]
        assert number in done and done.count(number) == 2 and box[1] == program.address
        address, *arguments = (int(box[k]) for k in (4, 1, 2, 3))
        assert address == walk.walker("float32").address
        late.append(partial(walk.walker("float32").call, *arguments))
        box[0] = walk.READY
        del tape, program
        gc.collect()
        for job in late:
            job()
    assert len(done) == 10 and len({job.args[0] for job in late}) < 5


def meeting(number, tape, items, *places):
    """Adds a kernel whose first calls wait until so many workers have come; returns the addresses each worker was given."""
    barrier, met, found = threading.Barrier(number), threading.local(), {}

    def do(count, *addresses):
        if not getattr(met, "once", False):
            met.once = True
            barrier.wait(20)
        found.setdefault(threading.get_ident(), set()).add(addresses)

    names = [f"p{k}" for k in range(len(places))]
    tape.add(Spy("meeting", " ".join(names), " ".join(names), do), items, **dict(zip(names, places, strict=True)))
    return found


def test_a_worker_keeps_the_items_that_it_did_in_the_phase_before(threads, monkeypatch):
    """Where all are equally fast; what is left of one's share is done by others."""
    threads(3)
    monkeypatch.setattr(tapes, "spinning", lambda: 0)
    monkeypatch.setattr(tapes, "boxes", lambda: (0, 0))
    together, slow = threading.Barrier(3), threading.Event()
    phases = [[], [], []]

    def note(phase, first):
        phases[phase].append((threading.get_ident(), first))

    def in_step(phase, first):
        together.wait(20)
        note(phase, first)

    def one_waits(first):
        note(2, first)
        if len(phases[2]) == 12:
            slow.set()
        if first == 0:
            assert slow.wait(20)

    tape, y = Tape("float32"), np.zeros(1, np.float32)
    tape.add(Spy("a", "first y", "y", lambda count, first, y: in_step(0, first)), 12, first=Times(1), y=y)
    tape.add(Spy("b", "first y", "y", lambda count, first, y: in_step(1, first)), 12, first=Times(1), y=y)
    tape.add(Spy("c", "first y", "y", lambda count, first, y: one_waits(first)), 12, first=Times(1), y=y)
    tape.run()
    own = [{thread: {first for who, first in phase if who == thread} for thread, _ in phase} for phase in phases]
    assert own[0] == own[1] and set(map(frozenset, own[0].values())) == {frozenset(range(k, k + 4)) for k in (0, 4, 8)}
    assert sorted(first for _, first in phases[2]) == list(range(12))


def test_words_that_workers_change_are_never_anything_else(threads):
    """A worker that comes late from another program may still change one, if that says what it has read."""
    threads(40)
    for phases, items in ((30, 2), (1, 40), (300, 1)):
        tape, y = Tape("float32"), np.zeros((40, 2), np.float32)
        for _ in range(phases):
            tape.barrier()
            tape.add(WRITE, items, cut(items, items), y=y)
        tape.finish()
        program = tape.programs[0]
        start = program.words.array.ctypes.data
        assert program.address == start + 8 * walk.LINE * (2 + walk.MOST_SHARES)
        tape.run()
        assert len(program.workers) == min(40, items) and program.head[walk.SHARES] == min(walk.MOST_SHARES, items)


def test_numbers_of_runs_begin_anew(threads):
    """What a share says of a run long ago, of the same number, is not taken for this one's: that run would not end."""
    done = []
    tape = Tape("float32")
    tape.add(Spy("a", "first", "", lambda count, first: done.append(first)), 10, first=Times(1))
    tape.finish()
    program = tape.programs[0]
    program.words.array[2 * walk.LINE : walk.LINE * (2 + walk.MOST_SHARES)] = 0  # nobody has had them before
    for before, workers in ((5, 4), (0x7FFFFF - 1, 1), (0x7FFFFF, 1), (5, 4)):  # the run before, and who does this one
        program.words.number = before
        threads(workers)
        done.clear()
        run = threading.Thread(target=tape.run, daemon=True)
        run.start()
        run.join(20)
        assert not run.is_alive() and sorted(done) == list(range(10))


@pytest.mark.parametrize("number", [2, 7])
def test_every_worker_has_memory_of_its_own(threads, number, monkeypatch):
    threads(number)
    monkeypatch.setattr(tapes, "spinning", lambda: 0)  # all are called: one that spins may fall asleep meanwhile
    monkeypatch.setattr(tapes, "boxes", lambda: (0, 0))
    tape = Tape("float32")
    mine, cleared, scratch = tape.buffer((16, 10)), tape.cleared(6), tape.scratch(70)
    shared = tape.whole(5)
    found = meeting(number, tape, 16, Each(mine), cleared, scratch, shared)
    tape.run()
    assert len(found) == number
    assert all(len(addresses) == 1 for addresses in found.values())  # the same for every item
    places = [next(iter(addresses)) for addresses in found.values()]
    assert {place[3] for place in places} == {tape.array(shared).ctypes.data}
    spans = sorted((start, start + size) for place in places for start, size in zip(place, (40, 24, 280), strict=False))
    assert len(spans) == 3 * number
    assert all(end + 64 <= start for (_, end), (start, _) in pairwise(spans))
    assert all(start % 64 == 0 for start, _ in spans)


def test_what_only_one_strand_uses_has_room_for_its_blocks_alone():
    tape = Tape("float32")
    mine, kept, crossing, whole = (tape.buffer((1000, 16)) for _ in range(4))
    for buffer in (mine, kept, crossing):
        tape.add(WRITE, 1000, None, 3, y=Each(buffer))
    tape.add(WRITE, 1000, None, 5, y=Each(mine))
    tape.keep(kept)
    tape.barrier()
    tape.add(WRITE, 1000, y=Each(crossing))
    tape.add(WRITE, 1000, y=whole)
    tape.finish()
    assert [buffer.local for buffer in (mine, kept, crossing, whole)] == [True, False, False, False]
    assert 5 * 64 <= tape.local_bytes < 1000
    assert 3 * 64000 <= len(tape.memory) < 3 * 64000 + 1000


def test_scratch_is_used_again_by_the_next_instruction():
    tape = Tape("float32")
    one, two, other, kept = tape.scratch(1000), tape.scratch(500), tape.scratch(1200), tape.cleared(10)
    tape.add(BOTH, 9, x=one, y=two)
    tape.add(BOTH, 9, x=kept, y=other)
    tape.finish()
    assert 6000 <= tape.local_bytes < 6500
    assert two.address >= one.address + 4000 + 64 and other.address == one.address >= kept.address + 40 + 64


@pytest.mark.parametrize("poison", [False, True])
def test_poison(threads, poison):
    """Cleared memory is zero; all other is no number, if wanted."""
    threads(2)
    tape, seen = Tape("float32", poison=poison), []
    places = [tape.cleared(6), Each(tape.buffer((16, 3))), tape.scratch(70), tape.whole(5)]
    sizes = (6, 3, 70, 5)

    def do(count, *addresses):
        seen.append([floats(address, size).copy() for address, size in zip(addresses, sizes, strict=True)])

    tape.add(Spy("spy", "a b c d", "", do), 16, **dict(zip("abcd", places, strict=True)))
    tape.run()
    assert len(seen) == 16
    for cleared, *others in seen:
        assert (cleared == 0).all()
        assert not poison or all(np.isnan(other).all() for other in others)


# ---------------------------------------------------------------------- Python in between


def test_a_function_of_python_between_two_kernels():
    tape = Tape("float32")
    x, y = tape.buffer((9, 2)), tape.buffer((9, 2))
    numbers = np.arange(18, dtype="float32").reshape(9, 2)
    out, total = np.zeros((9, 2), "float32"), np.zeros(2, "float32")
    tape.add(arrays.rescale, 9, x=Each(numbers), y=Each(x), image=2, scale=2.0, offset=1.0)

    def call():
        assert tape.array(x).shape == (9, 2)
        tape.array(y)[:] = tape.array(x) ** 2

    tape.call(call, x, y)
    tape.add(arrays.rescale, 9, x=Each(y), y=Each(out), image=2, scale=1.0, offset=-3.0)
    tape.add(
        arrays.add_rows, 2, (0, 2), 0, rows=y, number=9, stride=y.each, total=total, first=Times(1), skip=0
    )  # fmt: skip
    for _ in range(2):
        tape.run()
        np.testing.assert_array_equal(out, (2 * numbers + 1) ** 2 - 3)
        np.testing.assert_array_equal(total, ((2 * numbers + 1) ** 2).sum(axis=0))
        numbers += 1


def test_a_function_that_fails_ends_the_run_and_the_next_begins_anew(threads):
    threads(2)
    log, fails, tape = [], [True], Tape("float32")
    tape.add(Spy("a", "", "", lambda count: log.append("a")), 3)

    def call():
        if fails:
            raise RuntimeError("no")
        log.append("call")

    tape.call(call)
    tape.add(Spy("b", "", "", lambda count: log.append("b")), 3)
    with pytest.raises(RuntimeError, match="no"):
        tape.run()
    assert log == ["a"] * 3
    fails.clear()
    tape.run()
    assert log == ["a"] * 6 + ["call"] + ["b"] * 3


def test_the_size_of_a_buffer():
    x = Tape("float64").buffer((5, 2, 3))
    assert (len(x), x.each, x.size, x.dtype) == (5, 48, 240, np.float64)
    view = x.reshaped(10, 3)
    assert (len(view), view.each, view.size, view.storage) == (10, 24, 240, x)
    assert Tape("float64").buffer((5, 3), dtype="uint8").each == 3

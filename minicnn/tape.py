"""The tape: work for all cores as a list of instructions, and the memory they share.

An instruction is a kernel, its arguments, and the number of equal items (images, rows, numbers) it is done for. The items
are cut into groups by their number alone, never by the number of workers, so that every sum has one order and results
are the same to the bit for any number of threads.

Instructions that follow each other through the same items form a strand: a worker takes a group and does all of them for
a few items at a time, while those are in its cache. Strands that do not touch each other's memory form a phase. A phase
begins when the one before it is done. All of this follows from what each kernel reads and writes.
"""

import math
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .kernels import walk
from .kernels.jit import Kernel
from .memory import ALIGNMENT, POOL, aligned
from .threads import boxes, call_helper, forks, get_threads, spinning

GROUPS = 16  # parts of a batch: as many workers can share it, and so many partial gradients are added up
LANES = 64  # numbers that parts of a flat array begin at multiples of


def cut(items: int, parts: int = GROUPS, unit: int = 1) -> tuple[int, ...]:
    """Where the groups of so many items begin and end: equal parts that begin at multiples of `unit`."""
    blocks = -(-items // unit)
    parts = max(1, min(parts, blocks))
    return (*(blocks * part // parts * unit for part in range(parts)), items)


def pieces(items: int, most: int) -> list[int]:
    """So many items in as few pieces of nearly equal size as there can be with at most `most` in one."""
    sizes = []
    while items:
        sizes.append(-(-items // -(-items // most)))
        items -= sizes[-1]
    return sizes


class Buffer:
    """Memory of a tape: for a number of items (`each` has so many bytes), for a group's partial result, or for scratch.

    `kind` "items": one part per item; it stays in a worker's cache if a single strand uses it. "whole": one for all.
    "scratch": each worker's own, and any instruction may overwrite it; "cleared": each worker's own, zero at first, and
    nobody else's.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, kind: str) -> None:
        self.shape, self.dtype, self.kind = tuple(shape), np.dtype(dtype), kind
        self.size = max(1, math.prod(self.shape)) * self.dtype.itemsize
        self.storage = self  # what lies in the same memory has the same storage
        self.strands: set[int] = set()  # that use it, by number
        self.address = 0  # of the first byte; of a worker's own memory, the offset there
        self.local = kind in ("scratch", "cleared")  # a place in every worker's own memory
        self.each = self.size // self.shape[0] if self.shape and self.shape[0] else 0
        self.bands = 1  # that each of its images was made in

    def reshaped(self, *shape: int) -> "Buffer":
        """The same memory, seen in another shape."""
        view = Buffer(shape, self.dtype, self.kind)
        view.storage = self.storage
        return view

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return self.size


Place = Buffer | np.ndarray


class Steps(NamedTuple):
    """As an argument, alone or inside `Each`: this step's row of an array that has one row per step."""

    array: np.ndarray


class Each(NamedTuple):
    """As an argument: the address of the block's first item."""

    place: Place | Steps


class Far(NamedTuple):
    """As an argument: the bytes from item to item, or 0 for a worker's private buffer, which is in its cache anyway."""

    place: Place


class Part(NamedTuple):
    """As an argument: the address of this group's part."""

    place: Place


class Times(NamedTuple):
    """As an argument: `factor` times the index of the block's first item."""

    factor: int


class Constant(NamedTuple):
    """As an argument: an array that nobody writes to any more."""

    array: np.ndarray


class Fitted(NamedTuple):
    """As an argument: the array that `make(counts)` gives once the sizes of all blocks are known."""

    make: Callable[[Sequence[int]], np.ndarray]


class Fresh(NamedTuple):
    """As an argument: 1 in the first block of a group, 0 afterwards."""


class Last(NamedTuple):
    """As an argument: 1 in the last block of a group, 0 before."""


class Given(NamedTuple):
    """As an argument: an address `offset` bytes into array `number` of those that `run_on` is given, with the strides from
    group to group and from item to item in bytes."""

    number: int
    offset: int
    group: int
    item: int


FRESH, LAST = Fresh(), Last()
Argument = Place | Steps | Each | Far | Part | Times | Constant | Fitted | Fresh | Last | Given | int | float


class Access(NamedTuple):
    """What an instruction does to memory."""

    place: Place
    way: str  # "each", "part" or "whole"
    writes: bool

    def meets(self, other: "Access") -> bool:
        """Whether one writes to memory that the other uses, too."""
        if not (self.writes or other.writes):
            return False
        if isinstance(self.place, Buffer) and isinstance(other.place, Buffer):
            return self.place.storage is other.place.storage
        if isinstance(self.place, Buffer) or isinstance(other.place, Buffer):
            return False
        return bool(np.may_share_memory(self.place, other.place))

    def follows(self, other: "Access") -> bool:
        """Whether one worker may do both for its group, one after the other, without waiting for other groups."""
        return self.way == other.way == "each" or (self.way == other.way == "part" and self.writes and other.writes)


@dataclass
class Instruction:
    """A kernel, what it is called with, and what it does to memory."""

    kernel: Kernel
    dtype: str
    arguments: list[Argument]
    accesses: list[Access]


@dataclass
class Strand:
    """Instructions done one after the other for a group of items, `block` items at a time."""

    number: int
    cuts: tuple[int, ...]
    block: int
    instructions: list[Instruction] = field(default_factory=list)

    def counts(self) -> list[int]:
        """The numbers of items done at once."""
        return sorted({n for a, b in zip(self.cuts, self.cuts[1:], strict=False) for n in pieces(b - a, self.block)})

    def meets(self, accesses: list[Access]) -> bool:
        return any(a.meets(b) for i in self.instructions for a in i.accesses for b in accesses)

    def takes(self, accesses: list[Access]) -> bool:
        return all(not a.meets(b) or a.follows(b) for i in self.instructions for a in i.accesses for b in accesses)


Phase = list[Strand]
Call = Callable[[], None]


class Tape:
    """Instructions in the order in which they are added; `run` does them all."""

    def __init__(self, dtype: Any, groups: int = GROUPS, poison: bool = False) -> None:
        self.dtype, self.groups, self.poison = np.dtype(dtype).name, groups, poison
        self.sections: list[list[Phase] | Call] = []
        self.buffers: list[Buffer] = []
        self.strands = 0
        self.programs: list[Program | Call] = []
        self.local_bytes = 0
        self.memory: np.ndarray = np.empty(0, np.uint8)
        self.starts: np.ndarray = np.empty(0, np.int64)  # addresses of the arrays that it is run on, if it is detached
        self.home: dict[Any, list[Tape]] = {}  # where it is kept when it has run, if it is
        self.wall = False

    # ------------------------------------------------------------------ memory

    def buffer(self, shape: Sequence[int], kind: str = "items", dtype: Any = None) -> Buffer:
        buffer = Buffer(shape, dtype or self.dtype, kind)
        self.buffers.append(buffer)
        return buffer

    def whole(self, *shape: int) -> Buffer:
        return self.buffer(shape, "whole")

    def scratch(self, *shape: int) -> Buffer:
        return self.buffer(shape, "scratch")

    def cleared(self, *shape: int) -> Buffer:
        return self.buffer(shape, "cleared")

    def array(self, buffer: Buffer) -> np.ndarray:
        """A buffer as an array, after `finish`; not one that a single strand uses, which lies in workers' memory."""
        start = buffer.storage.address
        return self.memory[start : start + buffer.size].view(buffer.dtype).reshape(buffer.shape)

    # ------------------------------------------------------------------ instructions

    def add(
        self, kernel: Kernel, items: int, cuts: tuple[int, ...] | None = None, at_once: int = 1, /, **named: Argument
    ) -> None:
        """Adds a kernel over `items` items, in the groups of `cuts`, by default those that `cut` makes.

        A group is done in blocks of `at_once` items, 0 for all at once. The arguments are the kernel's, by name: a
        buffer or an array stands for its address.
        """
        if items == 0:
            return
        arguments = [named.pop(name) for name in kernel.names]
        assert not named, f"kernel {kernel.name} has no argument {min(named)}"
        accesses = []
        for name, argument in zip(kernel.names, arguments, strict=True):
            place = argument.place if isinstance(argument, Each | Part) else argument
            place = place.array if isinstance(place, Steps) else place
            if isinstance(place, Buffer) and place.storage.local:
                continue
            if isinstance(place, Buffer | np.ndarray):
                way = "each" if isinstance(argument, Each) else "part" if isinstance(argument, Part) else "whole"
                accesses.append(Access(place, way, name in kernel.writes))
        cuts = cut(items, self.groups) if cuts is None else cuts
        block = at_once or items
        strand = self._strand(cuts, accesses, block)
        strand.instructions.append(Instruction(kernel, self.dtype, arguments, accesses))
        strand.block = max(strand.block, block)
        for access in accesses:
            if isinstance(access.place, Buffer):
                access.place.storage.strands.add(strand.number if access.way == "each" else -1)

    def _strand(self, cuts: tuple[int, ...], accesses: list[Access], block: int) -> Strand:
        """The strand of the last phase that can take an instruction; else a new one, in a new phase if it must wait."""
        if not self.sections or callable(self.sections[-1]):
            self.sections.append([])
        phases = self.sections[-1]
        assert isinstance(phases, list)
        if not phases or self.wall:
            phases.append([])
            self.wall = False
        met = [strand for strand in phases[-1] if strand.meets(accesses)]
        if len(met) <= 1:
            for strand in met or phases[-1][-1:]:
                if strand.cuts == cuts and strand.takes(accesses):
                    return strand
        if met:
            phases.append([])
        self.strands += 1
        strand = Strand(self.strands, cuts, block)
        phases[-1].append(strand)
        return strand

    def keep(self, place: Buffer) -> None:
        """Gives a buffer a place where `array` finds it after a run."""
        place.storage.strands.add(-1)

    def split(self) -> None:
        """Ends a section: `run` can do those before and after on their own."""
        self.sections += [] if self.sections else [[]]
        self.sections.append([])

    def barrier(self) -> None:
        """What comes next waits for all before it."""
        self.wall = True

    def call(self, function: Call, *places: Buffer) -> None:
        """Has the caller's thread call a function of Python between phases; it may use these buffers."""
        self.sections.append(function)
        for place in places:
            self.keep(place)

    def parts(self, items: int) -> int:
        """Into how many groups so many items are cut: the number of partial sums over them."""
        return len(cut(items, self.groups)) - 1

    # ------------------------------------------------------------------ finishing

    def finish(self) -> "Tape":
        """Gives every buffer its place and translates the instructions for the workers."""
        size, cleared = 0, 0
        own: dict[int, list[Buffer]] = {}  # buffers that a strand keeps to itself, by its number
        for buffer in self.buffers:
            if buffer.kind == "items" and len(buffer.strands) == 1 and -1 not in buffer.strands:
                buffer.local = True
                own.setdefault(next(iter(buffer.strands)), []).append(buffer)
            elif buffer.kind == "cleared":
                buffer.address, cleared = cleared, cleared + _room(buffer.size)
            elif buffer.kind != "scratch":
                buffer.address, size = size, size + _room(buffer.size)
        self.local_bytes = cleared
        for strand in self._all_strands():  # all in the same place, which stays in the cache
            local = cleared
            for buffer in own.get(strand.number, []):
                buffer.address, local = local, local + _room(min(strand.block, len(buffer)) * buffer.each)
            for instruction in strand.instructions:
                used = local
                for place, argument in enumerate(instruction.arguments):
                    if isinstance(argument, Fitted):
                        instruction.arguments[place] = Constant(argument.make(strand.counts()))
                    if isinstance(argument, Buffer) and argument.kind == "scratch":
                        argument.storage.address, used = used, used + _room(argument.size)
                self.local_bytes = max(self.local_bytes, used)
        self.memory = POOL.empty((size,), np.uint8)
        if self.poison:
            self.memory.fill(0xFF)  # as floats: not a number
        self.programs = [s if callable(s) else Program(self, s) for s in self.sections]
        return self

    def _all_strands(self) -> Iterable[Strand]:
        return (strand for section in self.sections if not callable(section) for phase in section for strand in phase)

    def run(self, first: int = 0, last: int | None = None, steps: int = 1) -> None:
        """Runs all sections, or those in [first, last); an `unbroken` tape can run `steps` training steps at once."""
        if not self.programs:
            self.finish()
        ending = self.programs[-1] if self.programs else None
        self.started = ending.state[0] if isinstance(ending, Program) else 0
        for program in self.programs[first:last]:
            if isinstance(program, Program):
                program(steps)
            else:
                program()

    @property
    def unbroken(self) -> bool:
        """Whether no Python is called, so that workers can do step after step."""
        return len(self.sections) == 1

    def detach(self, arrays: Sequence[np.ndarray]) -> bool:
        """Replaces every reference into these arrays by (array, offset), so that `run_on` can run the tape on others of the
        same shapes. To be called before the first run.

        False, and nothing is changed, if any of the arrays overlap: others may not, and which strands run side by side was
        decided for these.
        """
        spans = sorted((start, start + a.nbytes) for a in arrays for start in [a.ctypes.data] if a.nbytes)
        if any(end > start for (_, end), (start, _) in pairwise(spans)):
            return False
        for strand in self._all_strands():
            for instruction in strand.instructions:
                instruction.accesses = []
                instruction.arguments = [_detached(argument, arrays) for argument in instruction.arguments]
        return True

    def run_on(self, arrays: Sequence[np.ndarray]) -> None:
        """Runs a detached tape on arrays of the shapes that it was written for."""
        self.starts = np.array([array.ctypes.data for array in arrays], np.int64)
        for program in self.programs:
            assert isinstance(program, Program)
            program.point_to_arrays()
        self.run()

    @property
    def held_bytes(self) -> int:
        """What its buffers take, its own and those of its workers."""
        workers = max((len(p.workers) for p in self.programs if isinstance(p, Program)), default=0)
        return self.memory.nbytes + workers * self.local_bytes

    @property
    def complete(self) -> bool:
        """Whether the last program has been done in this run, although it was interrupted."""
        last = self.programs[-1]
        return isinstance(last, Program) and last.over and last.state[0] != self.started


def _room(size: int) -> int:
    """Bytes that a buffer takes, so that the next begins at a cache line; a line is left between any two."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT + ALIGNMENT


def _detached(argument: Argument, arrays: Sequence[np.ndarray]) -> Argument:
    """The argument; if it is a place in one of the arrays, a `Given`."""
    place = argument.place if isinstance(argument, Each | Far | Part) else argument
    if not isinstance(place, np.ndarray):
        return argument
    step = place[:1].nbytes
    if isinstance(argument, Far):
        return step
    group, item = step if isinstance(argument, Part) else 0, step if isinstance(argument, Each) else 0
    for number, array in enumerate(arrays):
        offset = place.ctypes.data - array.ctypes.data
        if 0 <= offset < array.nbytes:
            return Given(number, offset, group, item)
    return argument


class Words:
    """Shared int64 words, which a late helper may still read when the run has ended and the program is gone.

    So they are recycled and never freed; the next owner goes on counting runs from `number`.
    """

    free: defaultdict[int, list[tuple[np.ndarray, int]]] = defaultdict(list)
    all: list[np.ndarray] = []  # also those that an interrupted `__del__` has lost

    def __init__(self, words: int) -> None:
        self.size = 1 << (words - 1).bit_length()
        try:
            self.array, self.number = self.free[self.size].pop()
        except IndexError:
            self.array, self.number = aligned(8 * self.size).view(np.int64), 0
            self.array.fill(0)
            self.all.append(self.array)

    def __del__(self) -> None:
        self.free[self.size].append((self.array, self.number))


class Program:
    """Phases without Python between them, as the arrays that `walk` reads, and the memory of each worker."""

    def __init__(self, tape: Tape, phases: list[Phase]) -> None:
        self.tape: Tape = weakref.proxy(tape)  # whose memory goes back as soon as nobody uses it any more
        self.listed = [i for phase in phases for strand in phase for i in strand.instructions]
        table, strands, cuts, instructions = [], [], [], []  # type: ignore[var-annotated]
        offset = 0
        for phase in phases:
            table.append((len(strands), sum(len(strand.cuts) - 1 for strand in phase)))
            for strand in phase:
                begin = len(instructions)
                for instruction in strand.instructions:
                    instructions.append((instruction.kernel.address(instruction.dtype), offset))
                    offset += 1 + walk.FIELDS * _arity(instruction)
                strands.append((begin, len(instructions), len(cuts), len(strand.cuts) - 1, strand.block))
                cuts += strand.cuts
        self.phases = len(phases)
        self.most_tasks = max((tasks for _, tasks in table), default=0)
        before = walk.LINE * (2 + walk.MOST_SHARES)  # words before the head: only those that workers change
        self.words = Words(before + 2 * walk.LINE + 2 * len(table))
        self.state, self.head = (part.data for part in np.split(self.words.array, [before]))
        for place, number in enumerate(number for row in table for number in row):
            self.head[2 * walk.LINE + place] = number
        self.forks = forks()
        self._end()
        self.times = np.zeros(len(phases) + 1, np.int64).data
        self.tables = [np.array(rows, np.int64) for rows in (strands, cuts, instructions)]
        start = int(self.words.array.ctypes.data)
        self.address = start + 8 * before
        addresses = {
            walk.STATE: start, walk.TIMES: np.asarray(self.times).ctypes.data, walk.PHASES: self.phases,
            walk.PHASE_TABLE: self.address + 16 * walk.LINE, walk.WALK: walk.walker(tape.dtype).address,
        }  # fmt: skip
        places = (walk.STRAND_TABLE, walk.CUTS, walk.INSTRUCTIONS, walk.BOXES, walk.BEHIND_BOXES)
        addresses |= zip(places, [*(int(table.ctypes.data) for table in self.tables), *boxes()], strict=True)
        for name, address in addresses.items():
            self.head[name] = address
        self.pointers = np.array([*self._pointers()], np.int64).reshape(-1, 3).T
        self.walk, self.lead = walk.walker(tape.dtype).call, walk.entry(walk.lead).call
        self.workers: list[tuple[np.ndarray, np.ndarray]] = []  # the memory of each, and its arguments
        # the number of runs that were watched and the seconds of the shortest, by the number of helpers
        self.trials: defaultdict[int, tuple[int, float]] = defaultdict(lambda: (0, math.inf))
        self.fastest, self.ended = math.inf, 0.0  # seconds of a run, and when the last one was over

    def _pointers(self) -> Iterable[tuple[int, int, int]]:
        """Where a worker's arguments point into arrays that are given: the argument's place, and number and offset there."""
        place = 0
        for instruction in self.listed:
            for number, argument in enumerate(instruction.arguments):
                if isinstance(argument, Given):
                    yield place + 1 + walk.FIELDS * number, argument.number, argument.offset
            place += 1 + walk.FIELDS * _arity(instruction)

    def point_to_arrays(self) -> None:
        """Has the workers' arguments point into the arrays that the tape is run on now."""
        places, numbers, offsets = self.pointers
        addresses = self.tape.starts[numbers] + offsets
        for _, arguments in self.workers:
            arguments[places] = addresses

    def _end(self) -> None:
        """Leaves the words as they are after a run."""
        self.state[walk.LINE] = 0
        self.state[0] = walk.OVER << walk.PHASE

    def add_worker(self) -> None:
        """Memory for another worker, and its arguments: like all others', but for the addresses of its own memory."""
        own = POOL.empty((self.tape.local_bytes,), np.uint8)
        if self.tape.poison:
            own.fill(0xFF)
        for buffer in self.tape.buffers:
            if buffer.kind == "cleared":
                own[buffer.address : buffer.address + buffer.size] = 0
        rows = [row for instruction in self.listed for row in self._fields(instruction, own.ctypes.data)]
        workers = [*self.workers, (own, np.array(rows, np.int64))]
        addresses = np.array([arguments.ctypes.data for _, arguments in workers], np.int64)
        self.tables.append(addresses)
        self.head[walk.WORKERS] = addresses.ctypes.data
        self.workers = workers  # at last, since an interrupt may fall in between

    def _fields(self, instruction: Instruction, own: int) -> list[int]:
        rows = [_arity(instruction)]
        for argument in instruction.arguments:
            rows += self._field(argument, own)
        return rows + [0] * (1 + walk.FIELDS * rows[0] - len(rows))

    def _field(self, argument: Argument, own: int) -> tuple[int, ...]:
        """Value, and what is added to it per group, per item, in a group's first and last block, and per step."""
        match argument:
            case Fresh():
                return 0, 0, 0, 1, 0, 0
            case Last():
                return 0, 0, 0, 0, 1, 0
            case Times(factor):
                return 0, 0, factor, 0, 0, 0
            case Steps(array):
                return array.ctypes.data, 0, 0, 0, 0, array[:1].nbytes
            case Each(Steps(array)):
                return array.ctypes.data, 0, array[0, :1].nbytes, 0, 0, array[:1].nbytes
            case Each(Buffer() | np.ndarray() as place):
                if isinstance(place, np.ndarray):
                    return place.ctypes.data, 0, place[:1].nbytes, 0, 0, 0
                if place.storage.local:
                    return own + place.storage.address, 0, 0, 0, 0, 0
                return self._address(place), 0, place.each, 0, 0, 0
            case Far(place):
                local = isinstance(place, Buffer) and place.storage.local
                return 0 if local else place.nbytes // len(place), 0, 0, 0, 0, 0
            case Given(number, offset, group, item):
                return int(self.tape.starts[number]) + offset, group, item, 0, 0, 0
            case Constant(array):
                return array.ctypes.data, 0, 0, 0, 0, 0
            case Part(place):
                if isinstance(place, np.ndarray):
                    return place.ctypes.data, place[:1].nbytes, 0, 0, 0, 0
                return self._address(place), place.each, 0, 0, 0, 0
            case np.ndarray():
                return argument.ctypes.data, 0, 0, 0, 0, 0
            case Buffer():
                if argument.storage.local:
                    return own + argument.storage.address, 0, 0, 0, 0, 0
                return self._address(argument), 0, 0, 0, 0, 0
            case float() | np.floating():
                return int(np.float64(argument).view(np.int64)), 0, 0, 0, 0, 0
            case _:
                return int(argument), 0, 0, 0, 0, 0  # type: ignore[arg-type]

    def _address(self, buffer: Buffer) -> int:
        return int(self.tape.memory.ctypes.data) + buffer.storage.address

    def __call__(self, steps: int = 1) -> None:
        """Runs so many times on all workers; returns when the last task is done."""
        if not self.phases:
            return
        if self.forks != forks():
            self.forks = forks()
            self._end()  # of a run that the parent process was in
        if not self.over:
            self._lead(0)  # a run that an interrupt of the caller left to the helpers
        self.words.number = number = self.words.number % 0x7FFFFF + 1
        if number == 1:  # numbers begin anew: what shares say of runs long ago must not be of this one
            self.words.array[2 * walk.LINE : walk.LINE * (2 + walk.MOST_SHARES)] = 0
        helpers, called = self._helpers()
        while len(self.workers) <= helpers:
            self.add_worker()
        self.head[walk.SHARES], self.head[walk.STEPS_OF_RUN] = min(1 + helpers, walk.MOST_SHARES), steps
        self.state[0] = walk.begin(number)
        try:
            for worker in range(helpers, helpers - called, -1):
                call_helper(partial(self._help, worker, number))
        finally:
            start = time.perf_counter()
            posted = self._lead(helpers - called)
        self.ended = time.perf_counter()
        took = self.ended - start
        self.fastest = min(self.fastest, took)
        if self.fastest < TINY and posted == helpers and not called:
            runs, shortest = self.trials[posted]
            if runs < TRIALS:
                self.trials[posted] = runs + 1, min(shortest, took)

    @property
    def over(self) -> bool:
        return walk.is_over(self.state[0])

    def _helpers(self) -> tuple[int, int]:
        """How many helpers a run gets, and how many of them are called, because too few spin.

        A long run gets all that find a task. For a short one none is called unless runs follow each other so soon that the
        next will find it spinning, and a tiny one gets none at all if it has been quicker without.
        """
        helpers = min(get_threads(), self.most_tasks) - 1
        if helpers == 0:
            return 0, 0
        if self.fastest < SHORT:
            if self.fastest < TINY:
                (together, shared), (alone, own) = self.trials[helpers], self.trials[0]
                if alone < together or (together == TRIALS and own < shared):
                    return 0, 0
            if time.perf_counter() - self.ended > SOON:
                return helpers, 0
        return helpers, max(0, helpers - spinning())

    def _lead(self, helpers: int) -> int:
        return self.lead(self.address, self.words.number, helpers)

    def _help(self, worker: int, number: int) -> None:
        self.walk(self.address, worker, number)


TRIALS = 8  # runs from which is judged whether helpers help
TINY = 4e-5  # seconds: what takes longer is shared with helpers that spin
SHORT = 4e-4  # seconds: what takes longer is shared with all helpers
SOON = 2e-4  # seconds between runs within which helpers are kept awake


def _arity(instruction: Instruction) -> int:
    return next(arity for arity in walk.ARITIES if arity >= len(instruction.arguments))

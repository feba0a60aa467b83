"""How the workers go through a tape: which takes what, and how they wait for each other.

A program is a list of phases, gone through once per step; a phase is a list of tasks, in any order, by any worker. One
64-bit word says where all of them are: (run, phase counted over all steps). The tasks of a phase are cut into as many
shares as there are workers, and each share has a word of its own: (run, phase, next task). A worker takes a task by an
atomic exchange of such a word: of its own share first, since the images it did in one phase, and the part of the weights
that it changed, are still in its cache in the next; then of the others'. A worker that finds no task left adds the number
it has done to the phase's total, and the one that completes the total opens the next phase. So no worker is ever waited
for: one that comes late, or not at all, is only missed, and a worker of an earlier run finds that the word has moved on,
and leaves.

Waking a thread takes longer than running a small network. So an idle helper first spins for a while on a box of its
own, where the leader of the next run posts that run. A box is in one of four states, and a thread acts on it only after
changing the state by an atomic exchange: the helper from READY to ASLEEP, or a leader from READY to WRITTEN, and then
to POSTED. A posted run is never taken back, and nobody waits for a helper to leave one: the memory that a late helper
still reads (the state, the head and the table of phases) is never freed (`tape.Words`).

While a thread walks, numbers with less than a full mantissa are 0: some processors take thirty times as long for them, and
moving averages of gradients that have become 0, as of units that are never active, would stay such numbers for ever.
"""

import ctypes
import os
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .jit import native, part
from .simd import call, i32, i64, int_at

FIELDS = 6  # of an argument: value, and what is added to it per group, per item, in a group's first and last block, and per step
ARITIES = (12, 24, 36, 48)  # a kernel is called with one of these numbers of arguments; it ignores those beyond its own
RUN, PHASE = 40, 20  # first bits, in a word, of the numbers of the run and of the phase; the bits below hold a task
OVER = NEXT = 0xFFFFF  # the phase when all is done; the bits of the next task
LINE = 8  # int64 in a cache line: words that workers contend for lie apart
MOST_SHARES = 32  # of the tasks of a phase
MOST_PAUSES = 2000  # pauses after which a waiting worker gives its core to others


@intrinsic
def read(typing, address):
    """The int64 at an address that other threads write to."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(builder.inttoptr(arguments[0], i64.as_pointer()), "acquire", 8)

    return types.intp(types.intp), generate


@intrinsic
def write(typing, address, value):
    def generate(context, builder, signature, arguments):
        address, value = arguments
        builder.store_atomic(value, builder.inttoptr(address, i64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def exchange(typing, address, old, new):
    """Compare-and-swap: `new` for `old`; returns whether it happened."""

    def generate(context, builder, signature, arguments):
        address, old, new = arguments
        pair = builder.cmpxchg(builder.inttoptr(address, i64.as_pointer()), old, new, "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(types.intp, types.intp, types.intp), generate


@intrinsic
def add(typing, address, number):
    """Adds a number to what is there, and returns the sum."""

    def generate(context, builder, signature, arguments):
        address, number = arguments
        before = builder.atomic_rmw("add", builder.inttoptr(address, i64.as_pointer()), number, "acq_rel")
        return builder.add(before, number)

    return types.intp(types.intp, types.intp), generate


@intrinsic
def pause(typing, times):
    """Lets a core's other thread go first; after `MOST_PAUSES` times also other programs, where the system knows how."""
    machine = cpu_target.target_context.codegen().magic_tuple()[0]

    def generate(context, builder, signature, arguments):
        void = ir.VoidType()
        if machine.startswith("x86_64"):
            hint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(void, []), "llvm.x86.sse2.pause")
            builder.call(hint, [])
        if os.name == "posix":
            with builder.if_then(builder.icmp_signed(">", arguments[0], i64(MOST_PAUSES)), likely=False):
                kind = ir.FunctionType(ir.IntType(32), [])
                builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(types.intp), generate


def control(builder, change=None):
    """The register that says how this thread rounds, which is then given what `change` makes of it."""
    machine = cpu_target.target_context.codegen().magic_tuple()[0]

    def call_of(name, result, *arguments):
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}"), arguments)

    if machine.startswith("x86_64"):
        place = cgutils.alloca_once(builder, i32)
        address = builder.bitcast(place, ir.IntType(8).as_pointer())
        call_of("x86.sse.stmxcsr", ir.VoidType(), address)
        before = builder.load(place)
        builder.store(change(before, 1 << 15 | 1 << 6), place)  # results, and operands
        call_of("x86.sse.ldmxcsr", ir.VoidType(), address)
        return builder.zext(before, i64)
    if machine.startswith("aarch64"):
        before = call_of("aarch64.get.fpcr", i64)
        call_of("aarch64.set.fpcr", ir.VoidType(), change(before, 1 << 24))
        return before
    return i64(0)


@intrinsic
def flush(typing):
    """From now on this thread takes numbers too small for a full mantissa (1.2e-38 in float32) for 0; returns how it rounded."""

    def generate(context, builder, signature, arguments):
        return control(builder, lambda before, bits: builder.or_(before, before.type(bits)))

    return types.intp(), generate


@intrinsic
def unflush(typing, before):
    """This thread rounds as it did before."""

    def generate(context, builder, signature, arguments):
        def change(now, bits):
            return arguments[0] if now.type == i64 else builder.trunc(arguments[0], now.type)

        control(builder, change)
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def clock(typing):
    """The processor's own counter of time, in ticks."""

    def generate(context, builder, signature, arguments):
        counter = cgutils.get_or_insert_function(builder.module, ir.FunctionType(i64, []), "llvm.readcyclecounter")
        return builder.call(counter, [])

    return types.intp(), generate


@intrinsic
def call_kernel(typing, zero, function, arguments, group, first, count, fresh, last, step):
    """Calls a kernel for `count` items from `first` on; `arguments` is the address of the fields of each argument."""

    def generate(context, builder, signature, values):
        zero_value, function, table, group, first, count, fresh, last, step = values
        number = zero_value.type
        fields = builder.inttoptr(table, i64.as_pointer())
        arity = builder.load(fields)
        done = builder.append_basic_block("done")
        switch = builder.switch(arity, done)
        for most in ARITIES:
            block = builder.append_basic_block()
            switch.add_case(i64(most), block)
            builder.position_at_end(block)
            passed = [zero_value, count]
            for k in range(most):
                value, *strides = (
                    builder.load(builder.gep(fields, [i64(1 + FIELDS * k + column)])) for column in range(FIELDS)
                )
                for stride, times in zip(strides, (group, first, fresh, last, step), strict=True):
                    value = builder.add(value, builder.mul(stride, times))
                passed.append(value)
            kind = ir.FunctionType(ir.VoidType(), [number] + [i64] * (1 + most))
            builder.call(builder.inttoptr(function, kind.as_pointer()), passed)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(zero, *[types.intp] * 8), generate


# A program is an array of int64; these are the places of its first numbers, most of them addresses of the rest.
(
    STATE, SHARES, TIMES, PHASES, STEPS_OF_RUN, PHASE_TABLE, STRAND_TABLE, CUTS, INSTRUCTIONS, WALK, WORKERS, BOXES,
    BEHIND_BOXES,
) = range(13)  # fmt: skip


@part
def run_task(zero, program, step, task, strand, arguments):
    """One task of a phase: all instructions of a strand, for the items of one group, block by block.

    A row of the strand table: first instruction, one past the last, first cut, number of groups, items per block.
    """
    row = number_of(program, STRAND_TABLE) + 40 * strand
    while task >= number_of(row, 3):
        task -= number_of(row, 3)
        row += 40
    begin, end, block = number_of(row, 0), number_of(row, 1), number_of(row, 4)
    cuts = number_of(program, CUTS) + 8 * (number_of(row, 2) + task)
    item, behind = number_of(cuts, 0), number_of(cuts, 1)
    fresh = 1
    while item < behind:
        blocks = (behind - item + block - 1) // block
        count = (behind - item + blocks - 1) // blocks  # blocks of nearly equal size
        last = int(blocks == 1)
        for i in range(begin, end):
            instruction = number_of(program, INSTRUCTIONS) + 16 * i
            fields = arguments + 8 * number_of(instruction, 1)
            call_kernel(zero, number_of(instruction, 0), fields, task, item, count, fresh, last, step)
        item += count
        fresh = 0


@part
def number_of(table, place):
    """The number in this place of an array of int64."""
    return int_at(table + 8 * place)


@part
def take(program, word, worker, tasks):
    """The index of a task of the phase in `word` that nobody has taken, or -1.

    A share's word may be left from an earlier phase, so the state is read again after it.
    """
    state, shares = number_of(program, STATE), number_of(program, SHARES)
    for other in range(shares):
        share = (worker + other) % shares
        own = state + 8 * LINE * (2 + share)
        first, behind = (tasks * share + shares - 1) // shares, (tasks * (share + 1) + shares - 1) // shares
        while True:
            taken = read(own)
            if read(state) != word:
                return -1
            task = taken & NEXT if taken >> PHASE == word >> PHASE else first
            if task >= behind:
                break
            if exchange(own, taken, word + task + 1):
                return task
    return -1


@part
def walk(zero, program, worker, run):
    """Does tasks of a program until all steps are done.

    The workers' table has the address of each one's arguments. The table of phases has the first strand and the number of
    tasks of each; TIMES takes the clock at the beginning and at the end of each in the last step.
    """
    state, times, phases = number_of(program, STATE), number_of(program, TIMES), number_of(program, PHASES)
    last = phases * number_of(program, STEPS_OF_RUN) - 1
    finished = state + 8 * LINE
    done = waited = 0
    empty = -1  # what the word says of a phase in which no task is left
    while True:
        word = read(state)
        if word == empty:
            waited += 1
            pause(waited)
            continue
        phase = (word >> PHASE) & OVER
        if word >> RUN != run or phase == OVER:
            return
        step, place = phase // phases, phase % phases
        row = number_of(program, PHASE_TABLE) + 16 * place
        tasks = number_of(row, 1)
        task = take(program, word, worker, tasks)
        if task >= 0:
            if place == 0 and task == 0:
                write(times, clock())
            arguments = number_of(number_of(program, WORKERS), worker)
            run_task(zero, program, step, task, number_of(row, 0), arguments)
            done += 1
            continue
        if done and add(finished, done) == tasks:
            write(finished, 0)
            write(times + 8 * (place + 1), clock())
            write(state, (run << RUN) | ((OVER if phase == last else phase + 1) << PHASE))
        empty, done, waited = word, 0, 0


class Entry(NamedTuple):
    """A function of integers, which returns one: its address, and as a function of Python, without interpreter lock."""

    address: int
    call: Callable[..., int]


@cache
def entry(function: Callable[..., object]) -> Entry:
    arguments = function.__code__.co_argcount
    address = native(types.intp(*[types.intp] * arguments), function, f"walk_{function.__name__}")
    return Entry(address, ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * arguments)(address))


def walk_float32(program, worker, run):
    before = flush()
    walk(np.float32(0), program, worker, run)
    unflush(before)
    return 0


def walk_float64(program, worker, run):
    before = flush()
    walk(np.float64(0), program, worker, run)
    unflush(before)
    return 0


def walker(dtype: str) -> Entry:
    """`walk` for a number type."""
    return entry({"float32": walk_float32, "float64": walk_float64}[dtype])


# What the first word of a box says. The next three are the arguments of `walk`, and one is its address.
ASLEEP, READY, WRITTEN, POSTED = range(4)


def attend(box, orders):
    """A helper spins on its box and does the runs posted there; it leaves after some ticks without one, or when told.

    `orders` is the address of that number of ticks, followed by 1 when helpers have other jobs to do.
    """
    write(box, READY)
    start, waited = clock(), 0
    while True:
        word = read(box)
        if word == POSTED:
            call(number_of(box, 4), number_of(box, 1), number_of(box, 2), number_of(box, 3))
            write(box, READY)
            start, waited = clock(), 0
        elif word == READY and (clock() - start >= read(orders) or read(orders + 8)):
            if exchange(box, READY, ASLEEP):
                return 0
        else:
            waited += 1
            pause(waited)


def lead(program, run, helpers):
    """Posts a run to at most `helpers` helpers that are READY, then takes part in it; returns how many got it."""
    function = number_of(program, WALK)
    posted = 0
    for box in range(number_of(program, BOXES), number_of(program, BEHIND_BOXES), 8 * LINE):
        if posted == helpers:
            break
        if read(box) == READY and exchange(box, READY, WRITTEN):
            posted += 1
            write(box + 8, program)
            write(box + 16, posted)
            write(box + 24, run)
            write(box + 32, function)
            write(box, POSTED)
    call(function, program, 0, run)
    return posted


def begin(run: int) -> int:
    """The word at the start of a run."""
    return run << RUN


def is_over(word: int) -> bool:
    return (word >> PHASE) & OVER == OVER


def ticks_per_second(seconds: float) -> float:
    """The rate of `clock`, measured for so many seconds: about the processor's on x86, 24 MHz to 1 GHz on ARM.

    The median of three, since a thread may lose its processor between two readings.
    """
    ticks, rates = entry(now).call, list[float]()
    for _ in range(3):
        start, first = time.perf_counter(), ticks()
        time.sleep(seconds / 3)
        end, last = time.perf_counter(), ticks()
        rates.append((last - first) / (end - start))
    return sorted(rates)[1]


def now():
    return clock()

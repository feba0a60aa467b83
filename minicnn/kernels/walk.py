"""How the workers go through a tape: which takes what, and how they wait for each other.

A program is a list of phases; a phase is a list of tasks, in any order, by any worker. One 64-bit word says where all of
them are: (run, phase, next task). A worker takes a task by an atomic exchange of that word; who finishes the last task of
a phase opens the next. So no worker is ever needed: one that comes late, or not at all, is only missed, and a worker of
an earlier run finds that the word has moved on, and leaves.
"""

import os
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .jit import cached, part
from .simd import i64

FIELDS = 4  # of an argument: value, and what is added to it per group, per item, and in a group's first block
ARITIES = (12, 24, 36, 48)  # a kernel is called with one of these numbers of arguments; it ignores those beyond its own
RUN, PHASE = 40, 20  # bits below which the number of the run and of the phase stand in the word
LINE = 8  # int64 in a cache line: words that workers contend for lie apart
PATIENCE = 2000  # pauses after which a waiting worker gives its core to others


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
    """Writes `new` if `old` is there; whether it was."""

    def generate(context, builder, signature, arguments):
        address, old, new = arguments
        pair = builder.cmpxchg(builder.inttoptr(address, i64.as_pointer()), old, new, "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(types.intp, types.intp, types.intp), generate


@intrinsic
def add_one(typing, address):
    """Adds 1 to what is there, and returns the sum."""

    def generate(context, builder, signature, arguments):
        before = builder.atomic_rmw("add", builder.inttoptr(arguments[0], i64.as_pointer()), i64(1), "acq_rel")
        return builder.add(before, i64(1))

    return types.intp(types.intp), generate


@intrinsic
def pause(typing, times):
    """Lets a core's other thread go first; after `PATIENCE` times also other programs, where the system knows how."""
    machine = cpu_target.target_context.codegen().magic_tuple()[0]

    def generate(context, builder, signature, arguments):
        void = ir.VoidType()
        if machine.startswith(("x86_64", "i686", "i386")):
            hint = cgutils.get_or_insert_function(builder.module, ir.FunctionType(void, []), "llvm.x86.sse2.pause")
            builder.call(hint, [])
        if os.name == "posix":
            with builder.if_then(builder.icmp_signed(">", arguments[0], i64(PATIENCE)), likely=False):
                kind = ir.FunctionType(ir.IntType(32), [])
                builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def clock(typing):
    """The processor's cycle counter."""

    def generate(context, builder, signature, arguments):
        counter = cgutils.get_or_insert_function(builder.module, ir.FunctionType(i64, []), "llvm.readcyclecounter")
        return builder.call(counter, [])

    return types.intp(), generate


@intrinsic
def call_kernel(typing, zero, function, arguments, group, first, count, fresh):
    """Calls a kernel for `count` items from `first` on; `arguments` is the address of the fields of each argument."""

    def generate(context, builder, signature, values):
        zero_value, function, table, group, first, count, fresh = values
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
                value, by_group, by_item, by_fresh = (
                    builder.load(builder.gep(fields, [i64(1 + FIELDS * k + column)])) for column in range(FIELDS)
                )
                for step, times in ((by_group, group), (by_item, first), (by_fresh, fresh)):
                    value = builder.add(value, builder.mul(step, times))
                passed.append(value)
            kind = ir.FunctionType(ir.VoidType(), [number] + [i64] * (1 + most))
            builder.call(builder.inttoptr(function, kind.as_pointer()), passed)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(zero, *[types.intp] * 6), generate


@part
def run_task(
    zero: Any, task: int, strand: int, strands: Any, cuts: Any, instructions: Any, arguments: int, spent: Any
) -> None:  # fmt: skip
    """One task of a phase: all instructions of a strand, for the items of one group, block by block."""
    while task >= strands[strand, 3]:
        task -= strands[strand, 3]
        strand += 1
    begin, end, cut, block = strands[strand, 0], strands[strand, 1], strands[strand, 2], strands[strand, 4]
    first, last = cuts[cut + task], cuts[cut + task + 1]
    fresh = 1
    while first < last:
        blocks = (last - first + block - 1) // block
        count = (last - first + blocks - 1) // blocks  # blocks of nearly equal size
        for i in range(begin, end):
            start = clock() if spent.size else 0
            call_kernel(zero, instructions[i, 0], arguments + 8 * instructions[i, 1], task, first, count, fresh)
            if spent.size:
                spent[i] += clock() - start
        first += count
        fresh = 0


@cached
def walk(
    zero: Any, run: int, state: int, phases: Any, strands: Any, cuts: Any, instructions: Any, arguments: int, times: Any,
    spent: Any,
) -> None:  # fmt: skip
    """Does tasks of a program until all are done; `state` is the address of the word, a line later of the tasks done.

    `times` takes the cycle counter at the end of each phase and `spent`, unless it is empty, this worker's cycles in each
    instruction.
    """
    finished = state + 8 * LINE
    waited = 0
    while True:
        word = read(state)
        phase = (word >> PHASE) & 0xFFFFF
        if word >> RUN != run or phase == phases.shape[0]:
            return
        task, tasks = word & 0xFFFFF, phases[phase, 1]
        if task < tasks:
            if exchange(state, word, word + 1):
                waited = 0
                run_task(zero, task, phases[phase, 0], strands, cuts, instructions, arguments, spent)
                if add_one(finished) == tasks:
                    write(finished, 0)
                    times[phase + 1] = clock()
                    write(state, (run << RUN) | ((phase + 1) << PHASE))
        else:
            waited += 1
            pause(waited)


def begin(run: int) -> int:
    """The word at the start of a run."""
    return run << RUN


def is_over(word: int, phases: int) -> bool:
    return (word >> PHASE) & 0xFFFFF == phases


@cached
def now() -> int:
    return clock()


NUMBERS = {name: np.dtype(name).type(0) for name in ("float32", "float64")}

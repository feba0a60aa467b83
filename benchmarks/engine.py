"""Where the time of a training step goes: the phases of the tape of each reference network, one row each.

A phase is what all workers do before they wait for each other; "Python" is what is left of the step.
"""

from time import perf_counter

import numpy as np

from minicnn.kernels.walk import ticks_per_second
from minicnn.tape import Program

from . import networks
from .report import Row, Table
from .timing import Settings

SHORT = 0.002  # phases that take a smaller part of the step share a row


def run(settings: Settings) -> Table:
    rows = [row for name in networks.NETWORKS for row in rows_of(name, settings)]
    return Table("engine", f"the phases of a training step, batch {networks.BATCH}, float32, medians", rows)


def rows_of(name: str, settings: Settings) -> list[Row]:
    model = networks.build(name)
    images, labels = networks.digits(networks.BATCH)
    model.train_step(images, labels)  # compiles
    tape = model._engine.run(model, networks.BATCH, "train").tape
    programs = [program for program in tape.programs if isinstance(program, Program)]
    steps, phases, end = [], [], perf_counter() + settings.seconds
    while len(steps) < 3 or perf_counter() < end:
        start = perf_counter()
        model.train_step(images, labels)
        steps.append(perf_counter() - start)
        phases.append(np.concatenate([np.diff(program.times) for program in programs]))
    step = float(np.median(steps))
    times = np.median(phases, axis=0) / ticks_per_second(0.05)
    labels_of = [phase for section in tape.sections if isinstance(section, list) for phase in section]
    rows: list[Row] = []
    rest = 0.0
    for phase, seconds in zip(labels_of, times, strict=True):
        if seconds < SHORT * step:
            rest += seconds
            continue
        tasks = sum(len(strand.cuts) - 1 for strand in phase)
        kernels = " | ".join(" ".join(i.kernel.name for i in strand.instructions) for strand in phase)
        rows.append(_row(name, f"{tasks} tasks: {kernels}", seconds, step))
    rows.append(_row(name, f"{len(labels_of) - len(rows)} short phases", rest, step))
    rows.append(_row(name, "Python", step - float(times.sum()), step))
    return rows


def _row(name: str, phase: str, seconds: float, step: float) -> Row:
    return {"network": name, "phase": phase, "ms": 1e3 * seconds, "of step": seconds / step}

"""The GPU: a training step of the four reference networks through `model.to("gpu")`, beside PyTorch, eager.

Both multiply in TF32 and find their images on the device; the first step of training, which compiles, is a column of
its own.
"""

import os
from time import perf_counter
from typing import Any

os.environ.setdefault("CUPY_TF32", "1")  # CuPy reads it when it is imported, which `get_ops("gpu")` does

from minicnn import get_ops

from . import networks, peers
from .report import Row, Runner, Table
from .timing import Settings, race

BATCH = 128
STEPS = 10  # between two synchronisations, so that the host can run ahead of the device


def unavailable() -> str | None:
    """Why there is nothing to measure here; None where a GPU can be used."""
    try:
        get_ops("gpu")
    except RuntimeError as error:
        return str(error)
    return None


def steps(step: Runner, synchronize: Runner) -> Runner:
    """`STEPS` steps, from an idle device to an idle device."""

    def run() -> None:
        for _ in range(STEPS):
            step()
        synchronize()

    return run


def run(settings: Settings) -> Table:
    xp: Any = get_ops("gpu").xp
    name = xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)["name"].decode()
    rows = [row_of(network, settings) for network in networks.NETWORKS]
    return Table("gpu", f"training at batch {BATCH} on {name}, TF32", rows)


def row_of(network: str, settings: Settings) -> Row:
    xp: Any = get_ops("gpu").xp
    synchronize = xp.cuda.Device().synchronize
    model = networks.build(network)
    networks.check_network(model, "gpu")
    model.to("gpu")

    x, y = networks.digits(BATCH)
    images = xp.asarray(x)

    def step() -> None:
        model.train_step(images, y)

    begin = perf_counter()
    step()
    synchronize()
    first = perf_counter() - begin
    theirs = peers.training(network, x, y, "cuda") if peers.has_cuda() else []
    contestants = [steps(step, synchronize), *(steps(run, peers.synchronize) for run in theirs)]
    ours, *others = (seconds / STEPS for seconds in race(contestants, settings.seconds))
    best = min(others, default=None)
    return {
        "network": network,
        "first ms": 1e3 * first,
        "ms": 1e3 * ours,
        "images/s": BATCH / ours,
        "GFLOP/s": BATCH * networks.training_flop(model) / ours / 1e9,
        "PyTorch ms": best and 1e3 * best,
        "vs PyTorch": best and best / ours,
    }

"""The GPU: its kernels beside what it can do at most, large convolutions, training steps, recipes, and the whole job.

Each row comes from a process that may fail alone: then the row says why, and the next one follows. Rows are also printed
to the standard error as soon as they are there.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, median
from typing import Any

os.environ.setdefault("CUPY_TF32", "1")  # CuPy reads it when it is imported, which `get_ops("gpu")` does

import numpy as np

from minicnn import get_ops
from minicnn.ops.gpu import version
from minicnn.recipes import RECIPES

from . import gpu_cases, gpu_training, job, networks, peers
from .gpu_timing import Contestant, Ours, Theirs, Worker, contestant, race, sentence
from .machine import versions
from .report import Failure, Row, Table, cell, child
from .timing import Settings

SIDE, COPIED = 8192, 2**31  # of the product, and bytes of the copy, that show what the device can do
BATCHES = 128, 1024
ROUNDS = {"cold": 1, "warm": 3}
TRAINED = 0.9  # share of the labelled images; the rest shows how well `fast` has learned
DRAWN = 42_000, 4_200  # images for the recipes where there are no files, and more to ask about
JOB_LIMIT = 200.0  # seconds for one run
KERNEL_COLUMNS = "µs", "TFLOP/s", "GB/s", "of ceiling", "PyTorch µs", "vs PyTorch"


def unavailable() -> str | None:
    """Why there is nothing to measure here; None where a GPU can be used."""
    try:
        get_ops("gpu")
    except RuntimeError as error:
        return str(error)
    return None


def about() -> Row:
    """The device and what drives it."""
    xp: Any = get_ops("gpu").xp
    device = xp.cuda.Device()
    properties = xp.cuda.runtime.getDeviceProperties(device.id)

    return {
        "GPU": properties["name"].decode(),
        "compute capability": device.compute_capability,
        "GPU memory, GB": device.mem_info[1] / 1e9,
        "driver": driver(),
        "CUDA of the driver": version(xp.cuda.runtime.driverGetVersion()),
        "CUDA of CuPy": version(xp.cuda.runtime.runtimeGetVersion()),
        "CuPy": xp.__version__,
        "PyTorch": versions()["PyTorch"],
        "CUDA of PyTorch": None if peers.torch is None else peers.torch.version.cuda,
    }


def driver() -> str | None:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


# ---------------------------------------------------------------------- rows that may fail


def filled(
    stem: str, title: str, columns: Iterable[str], jobs: Iterable[tuple[Row, Callable[..., Row], tuple[Any, ...]]],
    worker: Worker,
) -> Table:  # fmt: skip
    """A table with a row for each job (label, function, arguments), whose numbers `function(*arguments)` returns."""
    table = Table(stem, title)
    for label, function, arguments in jobs:
        try:
            found = worker.ask(function, *arguments)
        except Failure as error:
            found = {"note": str(error)}
        row = label | dict.fromkeys(columns) | {"note": ""} | found
        table.rows.append(row)
        numbers = ", ".join(f"{name} {cell(name, value)}" for name, value in row.items() if value and name not in label)
        print(f"{stem}: {' '.join(map(str, label.values()))}: {numbers}", file=sys.stderr, flush=True)
    return table


def ceilings() -> tuple[float, float, float]:
    """FLOP/s of a large product in TF32, bytes/s of a large copy (read and written), and the bytes of the cache."""
    ops: Any = get_ops("gpu")
    xp, lane = ops.xp, Ours()
    numbers = np.random.default_rng(0).random((2, SIDE, SIDE), np.float32) - np.float32(0.5)
    if peers.has_cuda():
        a, b = peers.torch.from_numpy(numbers).to(gpu_cases.DEVICE)
        product = Contestant(Theirs(), lambda: a @ b, 1, False)
    else:
        c, d = ops.array(numbers)
        product = Contestant(lane, lambda: c @ d, 1, False)
    source = xp.ones(COPIED // 4, np.float32)
    target = xp.empty_like(source)
    copy = Contestant(lane, lambda: xp.copyto(target, source), 1, False)
    product_seconds, copy_seconds = race([product, copy], 0.5)
    cache = xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)["l2CacheSize"]
    return 2 * SIDE**3 / product_seconds, 2 * COPIED / copy_seconds, float(cache)


def limits(worker: Worker) -> tuple[tuple[float, float, float] | None, str]:
    """The ceilings, and what a title says of them."""
    try:
        found: tuple[float, float, float] = worker.ask(ceilings)
    except Failure as error:
        return None, f"no ceiling was measured: {error}"
    return found, f"the device at most: {found[0] / 1e12:.0f} TFLOP/s in TF32, {found[1] / 1e9:,.0f} GB/s copied"


def kernel_row(cases: str, number: int, top: tuple[float, float, float] | None, seconds: float) -> Row:
    """Times one case, after its result was checked."""
    case, ops = getattr(gpu_cases, cases)()[number], get_ops("gpu")
    case.check(ops)
    lane, cache, notes = Ours(), top[2] if top else 0.0, []
    racing = [contestant(lane, lambda: case.ours(ops), case.bytes, cache)]
    less = case.less
    if less is not None:
        racing.append(contestant(lane, lambda: less(ops), case.bytes, cache))
    own = len(racing)
    if peers.has_cuda():
        peers.torch.backends.cudnn.benchmark = True
        for maker in case.theirs:
            try:
                racing.append(contestant(Theirs(), maker, case.bytes, cache))
            except Exception as error:
                notes.append(f"PyTorch: {sentence(error)}")
    if not all(one.captured for one in racing[:own]):
        notes.append("not captured: with the time of Python's launches")
    if not all(one.captured for one in racing[own:]):
        notes.append("PyTorch's is not captured")
    times = race(racing, seconds)
    ours = times[0] - (times[1] if less is not None else 0.0)
    if ours <= 0:
        raise Failure("the difference of two times is lost in their noise")
    best = min(times[own:], default=None)
    floor = max(case.flop / top[0], case.bytes / top[1]) if top else None
    return {
        "µs": 1e6 * ours,
        "TFLOP/s": case.flop / ours / 1e12 if case.flop else None,
        "GB/s": case.bytes / ours / 1e9,
        "of ceiling": floor and floor / ours,
        "PyTorch µs": best and 1e6 * best,
        "vs PyTorch": best and best / ours,
        "note": "; ".join(notes),
    }


# ---------------------------------------------------------------------- tables


def table_of_cases(stem: str, title: str, cases: str, settings: Settings) -> Table:
    worker = Worker()
    try:
        top, said = limits(worker)
        jobs: list[Any] = [
            ({"kernel": case.kernel, "size": case.size}, kernel_row, (cases, number, top, settings.seconds / 3))
            for number, case in enumerate(getattr(gpu_cases, cases)())
        ]
        return filled(stem, f"{title}; {said}; of ceiling: the nearer of the two", KERNEL_COLUMNS, jobs, worker)
    finally:
        worker.stop()


def kernels(settings: Settings) -> Table:
    return table_of_cases(
        "gpu-kernels", "products in TF32, caches cold unless 32 calls fit into them", "kernels", settings
    )


def convolutions(settings: Settings) -> Table:
    return table_of_cases("gpu-convolutions", "large ones in TF32, images: layer", "large", settings)


def steps(settings: Settings) -> Table:
    worker = Worker()
    jobs: list[Any] = [
        ({"network": name, "batch": batch}, gpu_training.step_row, (name, batch, settings.seconds))
        for name in networks.NETWORKS
        for batch in BATCHES
    ]
    title = "a training step of `fit`, TF32; first s: the first epoch, with compilation; eager, graph: PyTorch's best"
    try:
        return filled("gpu-steps", title, gpu_training.STEP_COLUMNS, jobs, worker)
    finally:
        worker.stop()


def recipes(settings: Settings) -> Table:
    """On the training file; without files, on drawn digits."""
    images, labels, trained = labelled(settings.data)
    worker = Worker()
    jobs: list[Any] = [
        ({"recipe": name, "images": trained}, gpu_training.recipe_row, (name, images, labels, trained))
        for name in RECIPES
    ]
    title = f"training on {'drawn digits' if settings.data is None else settings.data}; fast: a second training, whole"
    try:
        return filled("gpu-recipes", title, gpu_training.RECIPE_COLUMNS, jobs, worker)
    finally:
        worker.stop()


def labelled(folder: Path | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Images, labels, and how many of them are to be learned."""
    from minicnn.data import read_kaggle, synthetic_digits

    if folder is None:
        images, labels = synthetic_digits(sum(DRAWN), 0)
        return images, labels, DRAWN[0]
    images, found = read_kaggle(folder / "train.csv", labels=True)
    assert found is not None
    return images, found, int(TRAINED * len(images))


def whole_job(settings: Settings) -> Table:
    """`benchmarks.job` on the GPU, as processes of their own; cold is without compiled kernels."""
    table = Table("gpu-job", f"from CSV files to the submission on the GPU, {job.EPOCHS} epochs")
    programs = ["with_minicnn", *(["with_pytorch"] if peers.has_cuda() else [])]
    runs: dict[str, list[tuple[float, float]]] = {}
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="minicnn-job-") as place:
        folder = Path(place)
        train, test = job.files(settings.data or folder, draw=settings.data is None)
        caches = {name: str(folder / name) for name in ("NUMBA_CACHE_DIR", "CUPY_CACHE_DIR")}
        order = [("with_minicnn", "cold")] * ROUNDS["cold"] + [(p, "warm") for p in programs] * ROUNDS["warm"]
        for number, (program, state) in enumerate(order):
            name = f"{program} {state}"
            arguments = [train, test, str(folder / "submission.csv"), str(settings.threads), str(number), "gpu"]
            begin = time.perf_counter()
            try:
                accuracy = float(child(["benchmarks.job", program, *arguments], os.environ | caches, JOB_LIMIT))
            except Failure as error:
                notes[name] = str(error)
                continue
            runs.setdefault(name, []).append((time.perf_counter() - begin, accuracy))
            print(f"gpu-job: {name}: {runs[name][-1][0]:.2f} seconds", file=sys.stderr, flush=True)
    theirs = median(seconds for seconds, _ in runs.get("with_pytorch warm", [(0.0, 0.0)]))
    for name in dict.fromkeys(f"{program} {state}" for program, state in order):
        program, state = name.split()
        own = program == "with_minicnn"
        row: Row = {"program": "minicnn" if own else "PyTorch", "kernel cache": state if own else "none"}
        row |= {"seconds": None, "accuracy": None, "vs PyTorch": None, "note": notes.get(name, "")}
        if found := runs.get(name):
            seconds = median(seconds for seconds, _ in found)
            row |= {"seconds": seconds, "accuracy": mean(accuracy for _, accuracy in found)}
            row["vs PyTorch"] = theirs / seconds if theirs else None
        table.rows.append(row)
    return table

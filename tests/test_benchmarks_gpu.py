"""Tests of the benchmarks of the GPU without one: every line of them runs, on a stand-in, and every part fails alone.

No time is judged. The stand-in is the emulator of the kernels, with NumPy for CuPy and a clock that adds a millisecond with
every look; PyTorch runs on the CPU.
"""

import itertools
import json
import os
import sys
import time
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import convolution, gpu, gpu_cases, gpu_timing, gpu_training, job, networks, peers
from benchmarks.gpu_timing import Worker
from benchmarks.report import Failure
from minicnn import recipes

CLOCK = itertools.count()


class Stream:
    """Of CuPy: what is captured is run at once, and not again."""

    def __init__(self, non_blocking=False, refuses=False):
        self.capturing = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def synchronize(self): ...

    def begin_capture(self, mode=None):
        self.capturing = True

    def end_capture(self):
        assert self.capturing
        self.capturing = False
        return SimpleNamespace(launch=lambda stream=None: None)


class Event:
    """Of both libraries."""

    def __init__(self, enable_timing=False): ...

    def record(self, stream=None):
        self.time = float(next(CLOCK))

    def synchronize(self): ...

    def elapsed_time(self, end):
        return end.time - self.time


class Device:
    id, compute_capability, mem_info = 0, "90", (1e9, 2e9)
    attributes = {"MultiProcessorCount": 4}

    def synchronize(self): ...


def cupy_cuda():
    runtime = SimpleNamespace(
        getDeviceProperties=lambda number: {"name": b"a stand-in", "l2CacheSize": 1 << 16},
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13020,
    )
    elapsed = lambda begin, end: begin.elapsed_time(end)  # noqa: E731
    pool = SimpleNamespace(malloc=None)
    return SimpleNamespace(
        Stream=Stream, Event=Event, Device=Device, runtime=runtime, get_elapsed_time=elapsed, MemoryPool=lambda: pool,
        using_allocator=nullcontext,
    )  # fmt: skip


class Here:
    """Asks in this process."""

    def ask(self, function, *arguments):
        try:
            return function(*arguments)
        except Exception as error:
            raise Failure(gpu_timing.sentence(error)) from error

    def stop(self): ...


@pytest.fixture
def device(emulated, monkeypatch):
    """The emulator as the device "gpu" of the benchmarks, without PyTorch; networks train on array code, which is faster."""
    from minicnn import get_ops
    from minicnn.ops.reference import Ops

    monkeypatch.setattr(emulated.xp, "cuda", cupy_cuda(), raising=False)
    monkeypatch.setattr(emulated.xp, "__version__", "14", raising=False)
    pool = SimpleNamespace(free_all_blocks=lambda: None)
    monkeypatch.setattr(emulated.xp, "get_default_memory_pool", lambda: pool, raising=False)
    for module in (gpu, gpu_timing, gpu_training):
        monkeypatch.setattr(module, "get_ops", lambda name: emulated if name == "gpu" else get_ops(name))
    monkeypatch.setattr("minicnn.chain.get_ops", lambda name: Ops() if name == "gpu" else get_ops(name))
    monkeypatch.setattr(gpu, "Worker", Here)
    monkeypatch.setattr(peers, "has_cuda", lambda: False)
    monkeypatch.setattr(gpu, "SIDE", 8)
    monkeypatch.setattr(gpu, "COPIED", 64)
    monkeypatch.setattr(gpu_timing, "COPIES", 2)
    monkeypatch.setattr(gpu, "BATCHES", (4,))
    monkeypatch.setattr(gpu, "ROUNDS", {"cold": 1, "warm": 1})
    monkeypatch.setattr(gpu, "DRAWN", (20, 10))
    monkeypatch.setattr(gpu_training, "IMAGES", 8)
    monkeypatch.setattr(gpu_training, "TURN", 1)
    monkeypatch.setattr(job, "DIGITS", (60, 10))
    monkeypatch.setattr(job, "BATCH", 16)
    monkeypatch.setattr(networks, "CHECKED", 2)
    monkeypatch.setattr(networks, "NETWORKS", {name: networks.NETWORKS[name] for name in ("lenet", "deotte")})
    few = [convolution.alone((None, 6, 6, C), 4, 3, stride) for C, stride in ((1, 1), (4, 2))]
    cases = [case for layer in few for case in gpu_cases.convolutions(layer, 4)]
    cases += gpu_cases.dense(4, 6, 5)
    for make in (gpu_cases.pooling, gpu_cases.batch_norm, gpu_cases.dropout):
        cases += make((4, 6, 6, 4))
    cases += [
        *gpu_cases.softmax(4, 10),
        gpu_cases.affine((4, 6, 6, 1)),
        gpu_cases.gather((4, 6, 6, 1)),
        gpu_cases.adam(40),
    ]
    monkeypatch.setattr(gpu_cases, "kernels", lambda: cases)
    monkeypatch.setattr(gpu_cases, "large", lambda: cases[2:4])
    monkeypatch.setattr(recipes, "RECIPES", {name: recipes.RECIPES[name] for name in ("fast",)})
    monkeypatch.setattr(gpu, "RECIPES", recipes.RECIPES)
    monkeypatch.setattr(gpu_training, "RECIPES", recipes.RECIPES)
    return emulated


@pytest.fixture
def torch(monkeypatch):
    """PyTorch on the CPU, as if that were a GPU."""
    if peers.torch is None:
        pytest.skip("PyTorch is not installed")

    @contextmanager
    def graph(captured):
        yield

    fake = {"Stream": SimpleNamespace, "current_stream": lambda: stream, "stream": lambda side: nullcontext()}
    stream = SimpleNamespace(wait_stream=lambda other: None)
    fake |= {"Stream": lambda: stream, "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None), "graph": graph}
    fake |= {"Event": Event, "synchronize": lambda: None}
    for name, value in fake.items():
        monkeypatch.setattr(peers.torch.cuda, name, value)
    monkeypatch.setattr(peers, "has_cuda", lambda: True)
    for module in (gpu_cases, gpu_training):
        monkeypatch.setattr(module, "DEVICE", "cpu")
    return peers.torch


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, arguments)])
    monkeypatch.setattr(program, "prepare", lambda threads: None)  # leaves the environment alone
    monkeypatch.delenv("MINICNN_DATA", raising=False)  # 42,000 images are too many for array code
    program.main()


def in_this_process(arguments, environment, limit):
    """What `report.child` would return, with our job on array code."""
    module, which, *rest = arguments
    assert module == "benchmarks.job" and rest[-1] == "gpu" and limit and "CUPY_CACHE_DIR" in environment
    return repr(getattr(job, which)(*rest[:3], *map(int, rest[3:5]), "gpu" if which == "with_minicnn" else "cpu"))


@pytest.mark.parametrize("peer", [False, True], ids=["alone", "beside PyTorch"])
def test_all_tables(device, monkeypatch, request, threads, tmp_path, capsys, peer):
    if peer:
        request.getfixturevalue("torch")
    else:
        monkeypatch.setattr(peers, "torch", None)
    monkeypatch.setattr(gpu, "child", in_this_process)
    file = tmp_path / "rows.json"
    run(monkeypatch, "gpu", "--seconds", "0.001", "--threads", "1", "--json", file)
    out, err = capsys.readouterr()
    written = json.loads(file.read_text())
    tables = {table["stem"]: table["rows"] for table in written["tables"]}
    assert list(tables) == program.GPU
    assert {stem: len(rows) for stem, rows in tables.items()} == {
        "gpu-kernels": len(gpu_cases.kernels()), "gpu-convolutions": 2, "gpu-steps": 2, "gpu-recipes": 1,
        "gpu-job": 3 if peer else 2,
    }  # fmt: skip
    assert written["machine"]["gpu"]["GPU"] == "a stand-in" and "CUDA of CuPy: 13.2" in out
    lost = "the difference of two times is lost in their noise"  # of the stand-in's clock
    for stem, rows in tables.items():
        for row in rows:
            assert row["note"] == "" or lost in row["note"], row
            assert list(row) == list(rows[0])
            ratios = [value for name, value in row.items() if name.startswith("vs ")]
            if not row["note"]:
                assert all(value is not None and value > 0 for value in ratios) == peer or stem == "gpu-recipes"
                assert all(row[name] > 0 for name in ("µs", "GB/s", "of ceiling", "ms", "epoch ms") if name in row)
        if stem != "gpu-job":
            assert err.count(f"{stem}: ") == len(rows)
    assert sum(bool(row["note"]) for row in tables["gpu-kernels"]) < len(tables["gpu-kernels"]) / 2


def test_a_part_that_fails_is_a_row_that_says_so(device, monkeypatch, capsys):
    monkeypatch.setattr(device, "dense", lambda *_: 1 / 0)
    monkeypatch.setattr(device, "dropout", lambda x, *_: (2 * x, None))
    table = gpu.kernels(SimpleNamespace(seconds=0.001))
    notes = {row["kernel"]: row["note"] for row in table.rows}
    assert notes["dense forward"] == notes["dense gradients"] == "ZeroDivisionError: division by zero"
    assert notes["dropout"].startswith("Failure: result 1 of dropout 4×6×6×4 is wrong and is not timed")
    assert notes["max pooling"] == "" and "dense forward" in table.text()


def test_what_cannot_be_captured_is_launched_call_by_call(device, monkeypatch):
    monkeypatch.setattr(Stream, "end_capture", lambda self: 1 / 0)
    rows = gpu.convolutions(SimpleNamespace(seconds=0.001)).rows
    assert all("not captured" in row["note"] or "noise" in row["note"] for row in rows)


def test_a_peer_that_fails_leaves_our_row(device, torch, monkeypatch):
    monkeypatch.setattr(gpu_training, "replayed", lambda *_: 1 / 0)
    row = gpu_training.step_row("lenet", 4, 0.001)
    assert row["eager ms"] > 0 and row["graph ms"] is None and row["vs graph"] is None
    assert row["note"].count("ZeroDivisionError") == 2 and row["ms"] > 0


# ---------------------------------------------------------------------- the process apart


def double(number):
    return 2 * number


def dies(number):
    os._exit(number)


def hangs():
    time.sleep(100)


def test_a_worker_survives_what_it_is_asked():
    worker = Worker(limit=60)
    try:
        assert worker.ask(double, 4) == 8
        with pytest.raises(Failure, match="TypeError: unsupported operand"):
            worker.ask(double, None)  # without a GPU its process ends, too
        with pytest.raises(Failure, match="died with status 3"):
            worker.ask(dies, 3)
        assert worker.ask(double, np.arange(3)).tolist() == [0, 2, 4]
        worker.limit = 0.5
        with pytest.raises(Failure, match=r"no answer within 0.5 seconds"):
            worker.ask(hangs)
        worker.limit = 60
        assert worker.ask(double, 5) == 10
    finally:
        worker.stop()
    assert worker.process is None


def test_what_is_measured_can_be_sent_to_a_worker():
    import pickle

    for function in (gpu.ceilings, gpu.kernel_row, gpu_training.step_row, gpu_training.recipe_row):
        assert pickle.loads(pickle.dumps(function)) is function


def test_the_cases_of_a_device():
    kernels, large = gpu_cases.kernels(), gpu_cases.large()
    assert {case.kernel for case in large} == {
        "convolution forward", "convolution weight gradient", "convolution data gradient",
    }  # fmt: skip
    assert len(large) == 3 * len(gpu_cases.LARGE) and len({(c.kernel, c.size) for c in kernels}) == len(kernels)

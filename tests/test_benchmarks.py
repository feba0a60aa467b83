"""Tests of the benchmarks: that every row is there, and that mistakes are said in one sentence.

No time is judged. The peers are hidden, so that the rows are the same on every machine.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import exported, networks, peers
from benchmarks.report import Failure, geometric_mean
from benchmarks.threads import counts
from benchmarks.timing import check

ROOT = Path(__file__).parents[1]
HIDDEN = "import runpy, sys; sys.modules['torch'] = sys.modules['onnxruntime'] = None"
SMALL = """
from benchmarks import job, networks, scaling
networks.BATCH, networks.STEPS = 8, 2
scaling.SIDE, scaling.BATCH = 32, 2
scaling.IMAGES, scaling.CHANNELS, scaling.BATCHES = [9], [8, 40], [1, 3]
job.ROUNDS, job.DIGITS = 1, (300, 20)
job.child = lambda arguments, _: repr(job.with_minicnn(*arguments[2:5], *map(int, arguments[5:])))  # cold takes long
"""
FEW = """
from benchmarks import algorithms
algorithms.resnet_50 = lambda: [shape for shape in scaling.resnet_50() if shape.channels <= 128]
"""
START = "runpy.run_module('benchmarks', None, '__main__')"


def benchmarks(*arguments, change=""):
    environment = {name: value for name, value in os.environ.items() if name != "MINICNN_DATA"}
    command = [sys.executable, "-c", f"{HIDDEN}\n{change}\n{START}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_rows_are_printed_and_written(tmp_path):
    file = tmp_path / "rows.json"
    numbers = {
        "conv": 24,
        "depthwise": 10,
        "pool": 20,
        "dense": 6,
        "norm": 14,
        "step": 12,
        "threads": 8,
        "scaling": 5,
        "resnet": 23,
    }
    numbers |= {"vgg": 9, "job": 2, "memory": 1}
    done = benchmarks(*numbers, "--seconds", "0.01", "--threads", "2", "--json", file, change=SMALL)
    assert done.returncode == 0, done.stderr
    written = json.loads(file.read_text())
    assert written["machine"]["threads"] == 2
    assert written["machine"]["tile GFLOP/s, one core"] > 0

    tables = {table["stem"]: table["rows"] for table in written["tables"]}
    assert {stem: len(rows) for stem, rows in tables.items()} == numbers
    lines = done.stdout.splitlines()
    for stem, rows in tables.items():
        first = next(number for number, line in enumerate(lines) if line.startswith(f"{stem}: ")) + 2
        for row, line in zip(rows, lines[first:], strict=False):
            assert list(row) == list(rows[0])
            assert line.startswith(next(iter(row.values())))
            assert row.get("vs PyTorch") is None and row.get("vs onnxruntime") is None
            assert line.endswith("-") == (stem not in ("dense", "threads", "memory"))  # no peer, no ratio
            assert all(row[name] > 0 for name in ("ms", "GFLOP/s", "of peak", "GB/s") if name in row)
    assert all(row["vs NumPy"] > 0 for row in tables["dense"])
    assert all(row["vs one worker"] > 0 for row in tables["threads"])
    assert lines.count("geometric mean of vs PyTorch: -") == 2 and "geometric mean of vs best, latency: -" in lines


def test_every_way_to_convolve(tmp_path):
    file = tmp_path / "rows.json"
    done = benchmarks("algorithms", "--seconds", "0.01", "--json", file, change=SMALL + FEW)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(file.read_text())["tables"]
    for row in table["rows"]:
        times = {name.removesuffix(" ms"): value for name, value in row.items() if name.endswith(" ms") and value}
        assert row["chosen vs fastest"] == min(times.values()) / times[row["chosen"]] <= 1


def test_the_phases_make_up_the_step(tmp_path):
    file = tmp_path / "rows.json"
    done = benchmarks("engine", "--seconds", "0.01", "--json", file, change=SMALL)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(file.read_text())["tables"]
    for name in networks.NETWORKS:
        rows = [row for row in table["rows"] if row["network"] == name]
        assert sum(row["of step"] for row in rows) == pytest.approx(1) and rows[-1]["phase"] == "Python"


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_peers_give_our_scores(name):
    if not (exported.installed() or peers.formats()):
        pytest.skip("neither PyTorch nor onnxruntime is installed")
    model = networks.build(name)
    x, y = networks.digits(40)
    model.train_step(x, y)  # so that batch normalisation has statistics of its own
    scores = model.predict(x)
    for runner in peers.inference(name, x, networks.channels_first(model, mirrored=True)):
        check("PyTorch", runner(), scores)
    for runner in exported.inference(model, x, threads=1):
        check("onnxruntime", runner(), scores)


def test_geometric_mean_needs_all_rows():
    assert geometric_mean([{"ratio": 2.0}, {"ratio": 8.0}], "ratio") == pytest.approx(4)
    assert geometric_mean([{"ratio": 2.0}, {"ratio": None}], "ratio") is None


def test_threads_are_doubled_up_to_all():
    assert [counts(threads) for threads in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["convolution"], "there is no benchmark 'convolution'; expected any of conv, depthwise, algorithms, pool"),
        (["dense", "--seconds", "nan"], "--seconds must be above 0, not nan"),
        (["dense", "--threads", "0"], "--threads must be 1 or more, not 0"),
        (["job", "--data", "nowhere"], "expected train.csv and test.csv in the folder nowhere"),
        (["dense", "--json", "nowhere/rows.json"], "nowhere/rows.json: the file cannot be written"),
    ],
)
def test_mistakes_are_one_sentence(arguments, sentence):
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"benchmarks: {sentence}")


def test_a_wrong_kernel_is_not_timed():
    expected = np.arange(6.0)
    check("a right kernel", expected + 1e-6, expected)
    for wrong in (expected + 0.01, expected[:5], np.where(expected == 3, np.nan, expected)):
        with pytest.raises(Failure, match="a wrong kernel is wrong and is not timed"):
            check("a wrong kernel", wrong, expected)

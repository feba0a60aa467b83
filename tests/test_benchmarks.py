"""Tests of the benchmarks: that every row is there, and that mistakes are said in one sentence.

No time is judged. PyTorch is hidden, so that the rows are the same on every machine.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import Failure
from benchmarks.timing import check

ROOT = Path(__file__).parents[1]
START = "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('benchmarks', None, '__main__')"


def benchmarks(*arguments):
    environment = {name: value for name, value in os.environ.items() if name != "MINICNN_DATA"}
    command = [sys.executable, "-c", START, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_rows_are_printed_and_written(tmp_path):
    file = tmp_path / "rows.json"
    done = benchmarks("conv", "pool", "dense", "--seconds", "0.01", "--json", file)
    assert done.returncode == 0, done.stderr
    written = json.loads(file.read_text())
    assert written["machine"]["threads"] >= 1
    assert written["machine"]["tile GFLOP/s, one core"] > 0

    tables = {table["stem"]: table["rows"] for table in written["tables"]}
    assert {stem: len(rows) for stem, rows in tables.items()} == {"conv": 24, "pool": 20, "dense": 6}
    lines = done.stdout.splitlines()
    for stem, rows in tables.items():
        first = next(number for number, line in enumerate(lines) if line.startswith(f"{stem}: ")) + 2
        for row, line in zip(rows, lines[first:], strict=False):
            assert list(row) == list(rows[0])
            assert line.startswith(next(iter(row.values())))
            assert line.endswith("-")  # no PyTorch, no ratio
            assert row["ms"] > 0 and row["vs PyTorch"] is None
    assert all(row["GFLOP/s"] > 0 and row["of peak"] > 0 for row in tables["conv"] + tables["dense"])
    assert all(row["GB/s"] > 0 for row in tables["pool"])
    assert all(row["vs NumPy"] > 0 for row in tables["dense"])


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["convolution"], "there is no benchmark 'convolution'; expected any of conv, pool, dense"),
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

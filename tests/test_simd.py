"""The register tile, as the compiler made it: its sums must stay in registers.

That they are right is tested with the products that are made of it.
"""

import os
import re
import subprocess
import sys

import pytest

from minicnn.kernels import simd

COMPILE = """
import numpy as np
from minicnn.kernels import jit, simd
for dtype in ("float32", "float64"):
    for vectors in (1, 2, 4):
        simd.panel(simd.tile_rows(vectors), vectors, simd.lanes(np.dtype(dtype)), False, dtype)
for compiled in jit._kept:
    print(compiled._library.get_asm_str())
"""
SPILL = re.compile(r"vmov\w+\s+(%[xyz]mm\d+, -?\d*\(%rsp\)|-?\d*\(%rsp\), %[xyz]mm\d+)")


@pytest.mark.skipif(simd.vector_registers()[0] < 32, reason="the pattern knows the assembly of AVX2 and AVX-512")
def test_the_sums_of_the_largest_tiles_are_never_put_on_the_stack(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    compiled = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    assert compiled.stdout.count("vfmadd") > 6 * 8
    assert not SPILL.findall(compiled.stdout)


@pytest.mark.parametrize("registers", [16, 32])
def test_tiles_for_any_number_of_registers(monkeypatch, registers):
    monkeypatch.setattr(simd, "vector_registers", lambda: (32, registers))
    for vectors in (1, 2, 4):
        rows = simd.tile_rows(vectors)
        assert rows >= 2 and rows * vectors + vectors + 1 <= registers  # sums, a row of b, one broadcast

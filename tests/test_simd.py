"""The register tile, as the compiler made it: its sums must stay in registers.

That they are right is tested with the products that are made of it.
"""

import os
import platform
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
    for rows, terms in ((99, 1), (99, 3), (99, 5), (3, 4), (5, 4)):  # where channels stay apart
        most, vectors = simd.apart_shape(rows, terms)
        simd.panel(min(rows, most), vectors, simd.lanes(np.dtype(dtype)), False, dtype, terms)
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


NEON = """
import re, sys
import llvmlite.binding as llvm
import numpy as np
from minicnn.kernels import jit, simd

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=3)
simd.vector_registers = lambda: (16, 32)
for vectors, dtype in ((2, "float32"), (4, "float32"), (2, "float64")):
    simd.panel(simd.tile_rows(vectors), vectors, simd.lanes(np.dtype(dtype)), False, dtype)
    text = re.sub(r"target (datalayout|triple) = .*", "", jit._kept[-1]._library.get_llvm_str())
    text = re.sub(r"attributes (#[0-9]+) = {[^}]*}", r"attributes \\1 = { nounwind }", text)
    print(machine.emit_assembly(llvm.parse_assembly(text)))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for another processor from this one")
def test_the_tile_on_neon(tmp_path):
    """Compiled for it, not run: 24 multiply-adds a step, as many as there are sums, and none of these on the stack."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    compiled = subprocess.run([sys.executable, "-c", NEON], env=environment, capture_output=True, text=True)
    if "No available targets" in compiled.stderr or "Unable to find target" in compiled.stderr:
        pytest.skip("this LLVM compiles for no other processor")
    assert compiled.returncode == 0, compiled.stderr
    assert len(re.findall(r"\tfmla\tv", compiled.stdout)) == 3 * 24
    assert not re.findall(r"\t(?:str|ldr|stp|ldp)\tq\d+.*\[sp", compiled.stdout)


@pytest.mark.parametrize("registers", [16, 32])
def test_tiles_for_any_number_of_registers(monkeypatch, registers):
    monkeypatch.setattr(simd, "vector_registers", lambda: (32, registers))
    for vectors in (1, 2, 4):
        rows = simd.tile_rows(vectors)
        assert rows >= 2 and rows * vectors + vectors + 1 <= registers  # sums, a row of b, one broadcast
    for rows, terms in ((99, 1), (99, 3), (99, 5), (3, 4), (5, 4), (1, 5), (7, 3)):
        most, vectors = simd.apart_shape(rows, terms)
        rows = min(rows, most)
        assert rows >= 1 and (rows + min(rows, terms) + 1) * vectors <= registers  # sums, rows of b, one of a

"""Machine code that an earlier process has left on disk is all that a later one needs."""

import subprocess
import sys

import pytest

LOAD = """
import importlib, pkgutil, sys
from minicnn import kernels
from minicnn.kernels import jit, simd, walk, winograd

missed = []
jit.watch.missed = lambda: missed.append(1)
for module in pkgutil.iter_modules(kernels.__path__):
    for kernel in vars(importlib.import_module("minicnn.kernels." + module.name)).values():
        if isinstance(kernel, jit.Kernel):
            assert kernel.address("DTYPE")
walk.walker("DTYPE"), walk.entry(walk.lead), walk.entry(walk.attend)
simd.panel(4, 2, 4, True, "DTYPE")
for kind in ("patch", "kernel", "output", "patch gradient", "kernel gradient", "output gradient"):
    winograd.transformation("DTYPE", kind, 4, 3, 16)
print(len(jit._kept), len(missed), "numba.np.linalg" in sys.modules)
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_are_loaded_without_what_could_compile_them(dtype):
    """Were a symbol missing, LLVM would end the process."""
    for attempt in range(2):
        found = subprocess.run([sys.executable, "-c", LOAD.replace("DTYPE", dtype)], capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        loaded, missed, compiler = found.stdout.split()
        assert int(loaded) > 60
        if attempt:
            assert (missed, compiler) == ("0", "False")

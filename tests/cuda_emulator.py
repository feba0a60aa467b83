"""The kernels of minicnn/cuda without a GPU: the same sources, compiled by g++ and run thread by thread.

`EmulatedKernels` stands in for `minicnn.cuda.Kernels`, and `emulated_ops()` is `GpuOps` on NumPy arrays with it. What is
checked on the way is said in cuda_emulator.h.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from minicnn import cuda
from minicnn.ops.gpu import GpuOps

HEADER = Path(__file__).with_name("cuda_emulator.h")
COMPILER = shutil.which("g++")
MISSING = "the CUDA kernels are emulated by g++, which is not installed"
COMMAND = [
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-w",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",
]


class Argument(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
        ("itemsize", ctypes.c_int32),
        ("kind", ctypes.c_int32),
    ]


def built(suffix, text, *arguments):
    """What g++ makes of this text with these arguments, kept in a temporary folder from run to run."""
    key = hashlib.sha256("\n".join([text, *COMMAND, *map(str, arguments)]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"minicnn-emulator-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    target = folder / f"{key}{suffix}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            file, made = Path(temporary) / "kernels.cpp", Path(temporary) / "made"
            file.write_text(text)
            done = subprocess.run([COMPILER, *COMMAND, *arguments, file, "-o", made], capture_output=True, text=True)
            if done.returncode:
                raise AssertionError(f"g++ does not compile a kernel:\n{done.stderr[:4000]}")
            made.rename(target)
    return target


@functools.cache
def header():
    """The header, of which g++ finds what it has made of it before: reading it takes longer than most kernels do."""
    text = HEADER.read_text()
    copy = built(".h.gch", text, "-x", "c++-header").with_suffix("")
    copy.write_text(text)  # for another g++
    return copy


@functools.cache
def library(text):
    """The kernels of this source as a shared library."""
    kernels = re.findall(
        r"^(?:KERNEL|extern \"C\" __global__ void)\s+(?:__launch_bounds__\([^\n]*\)\s+)?(\w+)\(", text, re.M
    )
    entries = [
        f'extern "C" const char* emulate_{name}(emulator::Argument* arguments, int number, const int* shape, int backwards)'
        f" {{ return emulator::launch({name}, arguments, number, shape, backwards); }}"
        for name in kernels
    ]
    text = text.replace("#pragma unroll\n", "#pragma GCC unroll 16\n")
    return ctypes.CDLL(str(built(".so", "\n".join([text, *entries, ""]), "-shared", "-include", header())))


def within_limits(name, grid, block, shared):
    assert np.prod(block) <= 1024 and shared <= 227 * 1024, f"{name}: no GPU has so large a block"
    assert grid[0] < 2**31 and max(grid[1:], default=1) < 2**16, f"{name}: no GPU takes the grid {grid}"


class EmulatedKernels:
    processors = 4
    backwards = False  # whether the last thread runs first

    def capture(self, step):
        """A stand-in for a graph that does the step anew each time; `recording_ops` has one that does not."""
        return step

    def mark(self): ...

    def beside(self, mark):
        return contextlib.nullcontext()

    def join(self): ...

    def launch(self, file, name, dtype, grid, block, arguments, shared=0, **macros):
        self.launch_source(cuda.source(file), name, dtype, grid, block, arguments, shared, **macros)

    def launch_source(self, text, name, dtype, grid, block, arguments, shared=0, **macros):
        within_limits(name, grid, block, shared)
        given, kept = (Argument * len(arguments))(), []
        for place, argument in zip(given, cuda.by_value(arguments, dtype), strict=True):
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous, f"{name}: an array is not contiguous"
                place.bytes = argument.nbytes
            else:
                argument = np.array(argument)
                place.bytes = -1
            kept.append(argument)
            place.data, place.itemsize, place.kind = argument.ctypes.data, argument.itemsize, ord(argument.dtype.kind)
        shape = (*grid, 1, 1)[:3] + (*block, 1, 1)[:3] + (shared,)
        assert min(shape[:6]) > 0, f"{name}: an empty grid or block {shape[:6]}"
        entry = getattr(library(cuda.defined(dtype, macros) + text), f"emulate_{name}")
        entry.restype = ctypes.c_char_p
        error = entry(given, len(given), (ctypes.c_int * 7)(*map(int, shape)), int(self.backwards))
        if error:
            raise AssertionError(f"{name}: {error.decode()}")


def _empty(shape, dtype=float):
    """Memory nobody has written to holds no numbers."""
    array = np.empty(shape, dtype)
    array.view(np.uint8).fill(0xFF) if array.flags.c_contiguous and array.size and array.ndim else None
    return array


def emulated_ops():
    """GpuOps with NumPy in the place of CuPy and the emulator in that of the GPU, in full precision."""
    ops = object.__new__(GpuOps)
    ops.xp = SimpleNamespace(**{**vars(np), "asnumpy": np.asarray, "empty": _empty})
    ops.kernels = EmulatedKernels()
    ops.name = "emulated"
    ops.precision = "exact"
    return ops

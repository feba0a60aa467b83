"""CUDA C++ for `ops/gpu.py`: the kernels in the .cu files beside this one, compiled by NVRTC when first launched.

`Kernels.launch` is all that the operations know of this folder, so a stand-in can take its place: the tests compile the
same sources for the CPU (tests/cuda_emulator.py).
"""

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
FILES = sorted(path.stem for path in FOLDER.glob("*.cu"))
SHARED = 48 * 1024  # bytes of shared memory a kernel may use without asking for more


@cache
def source(file: str) -> str:
    """The text of `file`.cu, complete: its own key in a cache of binaries. In ASCII: CuPy writes it in any encoding."""
    return included(f'#include "{file}.cu"').encode("ascii", "backslashreplace").decode()


def included(text: str) -> str:
    """The text with each file of this folder that it includes inserted at the first `#include` of that file."""

    def read(text: str, name: str) -> str:
        lines = []
        for number, line in enumerate(text.splitlines(), start=1):
            include = re.fullmatch(r'#include "([\w.]+)"', line)
            if include is None:
                lines.append(line)
            elif include[1] not in seen:
                seen.add(include[1])
                inner = read((FOLDER / include[1]).read_text(encoding="utf-8"), include[1])
                lines += [f'#line 1 "{include[1]}"', inner, f'#line {number + 1} "{name}"']
        return "\n".join(lines)

    seen: set[str] = set()
    return read(text, "source") + "\n"


def defined(dtype: Any, macros: dict[str, int]) -> str:
    """Lines to stand before a source: REAL is the number type, and every macro is defined.

    They are no compiler options, since for every other list of these CuPy compiles an empty file first.
    """
    real = {"float32": "float", "float64": "double"}[np.dtype(dtype).name]
    return "".join(f"#define {name} {value}\n" for name, value in (("REAL", real), *sorted(macros.items())))


def module(cupy: Any, code: str) -> Any:
    """CuPy's module of this source, compiled when a function of it is asked for."""
    return cupy.RawModule(code=code, options=("-std=c++17",), backend="nvrtc")


def by_value(arguments: tuple[Any, ...], dtype: Any) -> tuple[Any, ...]:
    """What a kernel receives: arrays as they are, None as a null pointer, an int as int, a float as REAL."""

    def convert(argument: Any) -> Any:
        if argument is None:
            return np.uint64(0)
        if isinstance(argument, np.generic):
            return argument
        if isinstance(argument, int):  # and bool
            return np.int32(argument)
        return np.dtype(dtype).type(argument) if isinstance(argument, float) else argument

    return tuple(convert(argument) for argument in arguments)


class Graph:
    """What runs a captured step again. Its memory goes back to the device when nobody needs the graph any more."""

    def __init__(self, graph: Any, pool: Any, left: list[Any]) -> None:
        self.graph, self.pool, self.left = graph, pool, left

    def __call__(self) -> None:
        self.graph.launch()

    def __del__(self) -> None:
        self.graph = None  # before its memory goes
        self.left.append(self.pool)
        with suppress(Exception):  # as where Python ends
            self.pool.free_all_blocks()  # which from CuPy 14.1 on a pool does not do by itself


class Kernels:
    """The kernels on the current device of CuPy, which has them compiled with -ftz=true: float32 below 1.2e-38 are 0."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.processors: int = cupy.cuda.Device().attributes["MultiProcessorCount"]
        self.functions: dict[tuple[str, str, str], Any] = {}
        self.side: Any = None  # while a graph is captured, a second stream
        self.parted = False  # whether it has been used since the last `join`
        self.left: list[Any] = []  # pools of graphs that are gone, or were none: arrays may still use their memory

    def launch(
        self,
        file: str,
        name: str,
        dtype: Any,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        shared: int = 0,
        **macros: int,
    ) -> None:
        """Starts kernel `name` of `file`.cu on the current stream, compiled for this number type and these macros.

        Arguments are C-contiguous arrays (pointers to their first number), None (a null pointer), int (an int), float
        (a REAL) or NumPy scalars (themselves); shared is the dynamic shared memory in bytes.
        """
        key = file, name, defined(dtype, macros)
        function = self.functions.get(key)
        if function is None:
            function = self.functions[key] = module(self.cupy, key[2] + source(file)).get_function(name)
        if shared > SHARED and function.max_dynamic_shared_size_bytes < shared:
            function.max_dynamic_shared_size_bytes = shared
        function(grid, block, by_value(arguments, dtype), shared_mem=shared)

    def capture(self, step: Callable[[], None]) -> Callable[[], None]:
        """Records what `step` starts on the device, without running it, as a CUDA graph; returns what runs all of it again.

        What `step` allocates lies in memory of the graph's own, and what it starts must have been compiled before. What it
        cannot do while it is recorded, wait for the device above all, raises CuPy's or the driver's exception; where there
        is too little memory, that is a MemoryError.
        """
        self.cupy.get_default_memory_pool().free_all_blocks()  # the graph's own memory is as much again
        for pool in self.left:
            pool.free_all_blocks()
        self.left[:] = [pool for pool in self.left if pool.total_bytes()]
        pool, stream = self.cupy.cuda.MemoryPool(self._allocate), self.cupy.cuda.Stream(non_blocking=True)
        collecting = gc.isenabled()
        gc.disable()  # what it frees may be memory of the device, for which that has to wait
        self.side = self.cupy.cuda.Stream(non_blocking=True)
        try:
            with stream, self.cupy.cuda.using_allocator(pool.malloc):
                stream.begin_capture()
                try:
                    step()
                except BaseException:
                    with suppress(self.cupy.cuda.runtime.CUDARuntimeError):
                        stream.end_capture()  # which fails as well
                    raise
                graph = stream.end_capture()
                graph.upload()  # makes it executable, which CuPy may leave to the first launch
        except BaseException:
            self.left.append(pool)
            raise
        finally:
            self.side, self.parted = None, False
            if collecting:
                gc.enable()

        return Graph(graph, pool, self.left)

    def _allocate(self, size: int) -> Any:
        """A block of a graph's pool, which after CUDA's own error would try again without free blocks that the graph uses."""
        cuda = self.cupy.cuda
        try:
            return cuda.MemoryPointer(cuda.Memory(size), 0)
        except cuda.runtime.CUDARuntimeError as error:
            if "cudaErrorMemoryAllocation" not in str(error):
                raise
            raise MemoryError(f"the GPU has no {size:,} bytes left for a captured step") from error

    def mark(self) -> Any:
        """This place in a graph, for `beside`."""
        return None if self.side is None else self.cupy.cuda.get_current_stream().record()

    @contextmanager
    def beside(self, mark: Any) -> Iterator[None]:
        """In a graph, kernels launched inside may run in parallel with those launched after the mark, until `join`.

        What takes longer should come first, between the mark and this: CUDA goes on with what was recorded first. The arrays
        they read must be kept until the join: memory that is freed earlier may be overwritten.
        """
        if self.side is None:
            yield
            return
        self.side.wait_event(mark)
        self.parted = True
        with self.side:
            yield

    def join(self) -> None:
        """What is started from here on comes after all that was started before, `beside` too."""
        if self.parted:
            self.cupy.cuda.get_current_stream().wait_event(self.side.record())
            self.parted = False

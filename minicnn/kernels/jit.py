"""How a kernel is compiled and where its machine code is kept.

A kernel is a function of integers: a `zero` of the number type, how many items it has to do (images, rows, numbers), and
then addresses, sizes and settings. It is compiled for a number type when its address is first asked for, to native code
that is stored on disk and found again by the next process, unless any file of this folder or the processor has changed.
"""

import hashlib
import inspect
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba import types
from numba.core import caching, config
from numba.core.ccallback import CFunc
from numba.core.runtime import rtsys

SOURCES = Path(__file__).parent


@cache
def cache_folder() -> str:
    """A writable folder named after a hash of all kernel sources.

    Numba alone compares only the file of the cached function; a kernel also depends on the code it inlines from its
    neighbours. The places tried are `NUMBA_CACHE_DIR`, this folder, the user's cache folder, and a temporary folder,
    which is always there.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.py")))).hexdigest()[:12]
    user = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    for place in filter(None, (config.CACHE_DIR, SOURCES / "__pycache__", user / "minicnn")):
        folder = Path(place) / f"kernels-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return str(folder)
    return tempfile.mkdtemp(prefix="minicnn-kernels-")


class _Locator(caching._CacheLocator):
    """Tells Numba where compiled kernels are; freshness is in the folder's name, so the stamp can be constant."""

    def get_cache_path(self) -> str:
        return cache_folder()

    def get_source_stamp(self) -> str:
        return ""

    def get_disambiguator(self) -> str:
        return ""

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls()


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _Cache(caching.FunctionCache):
    _impl_class = _Implementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Like Numba's, but without importing first all that could be compiled: that takes longer than all loading."""
        rtsys.initialize(target_context)  # which has functions that machine code calls
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)
        if found is None and watch.missed is not None:
            watch.missed()
        return found


class Watch:
    """Hooks into compilation.

    `missed` is called when machine code is not on disk. While `noted` is a list, nothing is compiled, and the arguments of
    `native` are collected there.
    """

    missed: Callable[[], None] | None = None
    noted: list[tuple[Any, Callable[..., Any], str]] | None = None


watch = Watch()


def native(signature: Any, function: Callable[..., Any], name: str) -> int:
    """The address of `function`, compiled under a name of its own: two functions of one name would share a symbol.

    Division follows IEEE 754: Python's check for a zero divisor would stop vectorisation.
    """
    if watch.noted is not None:
        watch.noted.append((signature, function, name))
        return 0
    function = FunctionType(function.__code__, function.__globals__, name, None, function.__closure__)
    function.__qualname__ = name
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options={"error_model": "numpy"})
    compiled._cache = _Cache(function)
    compiled.compile()
    _kept.append(compiled)
    return int(compiled.address or 0)


_kept: list[Any] = []  # whose machine code must stay


class Kernel:
    """A function kernel(zero, count, …) and what of the rest it writes to."""

    def __init__(self, function: Callable[..., Any], writes: tuple[str, ...]) -> None:
        self.function, self.writes = function, frozenset(writes)
        self.names = list(inspect.signature(function).parameters)[2:]
        self.__doc__ = function.__doc__
        if unknown := self.writes - set(self.names):
            raise ValueError(f"kernel {self.name} has no argument {min(unknown)}")

    @property
    def name(self) -> str:
        return self.function.__name__

    @cache  # noqa: B019  kernels live as long as the program
    def address(self, dtype: str) -> int:
        """Of the native code for a number type: a function of zero, and of count and all the rest as int64."""
        number = getattr(types, dtype)
        integers = [types.intp] * (1 + len(self.names))
        stem = self.function.__module__.rpartition(".")[2]
        return native(types.void(number, *integers), self.function, f"{stem}_{self.name}_{dtype}")


def kernel(*writes: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Makes a function a kernel; `writes` names those of its arguments that are addresses it writes to."""
    return lambda function: Kernel(function, writes)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that kernels call: compiled once, for all of them."""
    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # Python never calls it
    return numba.njit(nogil=True, error_model="numpy", **options)(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that becomes part of the kernels that call it: a call would pass its vectors through memory."""
    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": True}
    return numba.njit(nogil=True, error_model="numpy", **options)(function)

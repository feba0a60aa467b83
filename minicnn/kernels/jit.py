"""How a kernel is compiled and where its machine code is kept.

Every kernel of this folder carries `@kernel`; the code it compiles to runs without the interpreter lock, is stored on
disk and is found again by the next process, unless any file of this folder or the processor has changed.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, config
from numba.core.ccallback import CFunc

SOURCES = Path(__file__).parent


@cache
def cache_folder() -> str:
    """A writable folder named after a hash of all kernel sources.

    Numba alone compares only the file of the cached function; a kernel also depends on the code it inlines from its
    neighbours. The places tried are `NUMBA_CACHE_DIR`, this folder, the user's cache folder, and a temporary folder,
    which is always there.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.py")))).hexdigest()[:12]
    user = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
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


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `function` at its first call, to code that needs no interpreter lock and is cached on disk.

    Division follows IEEE 754: Python's check for a zero divisor would stop vectorisation.
    """
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    if not config.DISABLE_JIT:
        compiled._cache = _Cache(function)
    return compiled


def native(signature: Any, function: Callable[..., Any], name: str) -> int:
    """The address of `function`, compiled under a name of its own: two functions of one name would share a symbol."""
    function.__name__ = function.__qualname__ = name
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options={"error_model": "numpy"})
    compiled._cache = _Cache(function)
    compiled.compile()
    return int(compiled.address or 0)

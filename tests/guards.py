"""Pages of memory that the system lets nobody touch: to read or write there ends the process."""

import ctypes
import mmap
import sys

import numpy as np
import pytest

PAGE = mmap.PAGESIZE
PLACES = ["behind", "before"]  # such a page
protecting = pytest.mark.skipif(sys.platform != "linux", reason="pages are guarded on Linux")


def pages(size):
    """A whole number of pages with room for so many bytes."""
    return -(-size // PAGE) * PAGE


def protect(memory, start, allowed):
    """Lets nobody, or everybody, touch the page of a block of memory that begins at a number of bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    mode = mmap.PROT_READ | mmap.PROT_WRITE if allowed else 0
    if libc.mprotect(ctypes.c_void_p(memory.ctypes.data + start), PAGE, mode):
        raise OSError(ctypes.get_errno(), "mprotect")


def between_pages(x, place):
    """A copy of an array that begins right behind a guarded page, or ends right before one."""
    memory = np.frombuffer(mmap.mmap(-1, pages(x.nbytes) + 2 * PAGE), np.uint8)
    start = PAGE if place == "behind" else PAGE + pages(x.nbytes) - x.nbytes
    copy = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    copy[...] = x
    for page in (0, PAGE + pages(x.nbytes)):
        protect(memory, page, allowed=False)
    return copy

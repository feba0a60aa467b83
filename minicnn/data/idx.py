"""The IDX format of the MNIST files: a few bytes that say what the numbers are, then the numbers.

Byte 2 is the type of the numbers, byte 3 the number of dimensions; then each dimension as a big-endian int32, then the
numbers, big-endian, last index fastest (Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "File formats").
"""

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from .files import DataError, PathLike, read_bytes

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: PathLike) -> npt.NDArray[Any]:
    """The array in an IDX file, gzip or not, in the byte order of this machine.

    Raises DataError if the file cannot be read, does not begin as IDX files do, or is shorter or longer than its
    dimensions say.
    """
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        known, found = ", ".join(f"{code:02x}" for code in TYPES), content[:4].hex(" ") or "nothing"
        raise DataError(f"{path}: expected an IDX file, beginning 00 00 and one of {known}, got {found}.")
    dtype, start = np.dtype(TYPES[content[2]]), 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(
            f"{path}: expected {content[3]} dimensions in {start} bytes, but the file ends after {len(content)}."
        )
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    size = start + math.prod(shape) * dtype.itemsize
    if len(content) != size:
        raise DataError(f"{path}: expected {size} bytes for the shape {shape}, got {len(content)}.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))

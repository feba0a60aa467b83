"""Tests of the IDX reader, on bytes packed by hand.

Every type of number, every way a file can be damaged.
"""

import gzip
import struct

import numpy as np
import pytest

from minicnn.data import DataError, read_idx

VALUES = [0, 1, 2, 100, 3, 4]


def packed(code, letter, shape=(2, 3), values=VALUES):
    return struct.pack(f">BBBB{len(shape)}I{len(values)}{letter}", 0, 0, code, len(shape), *shape, *values)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    "code, letter, dtype",
    [
        (0x08, "B", np.uint8),
        (0x09, "b", np.int8),
        (0x0B, "h", np.int16),
        (0x0C, "i", np.int32),
        (0x0D, "f", np.float32),
        (0x0E, "d", np.float64),
    ],
)
def test_reads_every_type(tmp_path, code, letter, dtype, compress):
    values = VALUES if code == 0x08 else [-value for value in VALUES]
    path = tmp_path / "data"
    path.write_bytes((gzip.compress if compress else bytes)(packed(code, letter, values=values)))
    array = read_idx(path)
    assert array.dtype == dtype and array.dtype.isnative and array.flags.writeable
    assert array.tolist() == [values[:3], values[3:]]


@pytest.mark.parametrize("shape", [(6,), (3, 2), (1, 2, 3), (1, 1, 1, 6), (0,), (0, 28, 28), ()])
def test_reads_every_shape(tmp_path, shape):
    values = VALUES[: int(np.prod(shape))]
    path = tmp_path / "data"
    path.write_bytes(packed(0x0C, "i", shape, values))
    array = read_idx(path)
    assert array.shape == shape and array.ravel().tolist() == values


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "got nothing"),
        (b"\0\0\x08", "got 00 00 08"),
        (b"label,pixel0\n", "got 6c 61 62 65"),
        (packed(0x07, "B"), "got 00 00 07 02"),
        (b"\1" + packed(0x08, "B")[1:], "got 01 00 08 02"),
        (packed(0x08, "B")[:9], "expected 2 dimensions in 12 bytes, but the file ends after 9"),
        (packed(0x08, "B")[:-1], "expected 18 bytes for the shape (2, 3), got 17"),
        (packed(0x08, "B") + b"\0", "expected 18 bytes for the shape (2, 3), got 19"),
        (packed(0x0E, "d", (2**32 - 1,) * 3), "got 64"),
        (gzip.compress(packed(0x08, "B"), mtime=0)[:-3], "expected a complete gzip file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, words):
    path = tmp_path / "data"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ") and words in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="none.gz: expected a file"):
        read_idx(tmp_path / "none.gz")

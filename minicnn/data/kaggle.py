"""The files of Kaggle's Digit Recognizer competition: `train.csv`, `test.csv` and the submission.

A file is read by pandas as one table of small integers, fast and trusting; when anything looks odd, it is read again
with care, row by row, either to understand it after all or to say exactly what is wrong and where.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .files import DataError, PathLike, read_bytes, write_bytes

Pixels: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]

BOM = b"\xef\xbb\xbf"  # the mark with which some programs begin a UTF-8 file
PIXELS = [f"pixel{i}" for i in range(28 * 28)]
COLUMNS = {"label", *PIXELS}
CHUNK = 1 << 17  # bytes that are looked through at a time: what is found of each lies in memory that is used again
BYTES = {f"{value}{tail}": value for value in range(256) for tail in ("", ".0")}  # how a pixel is usually written
INTEGER = re.compile(r"\s*([+-]?[0-9]{1,9})(\.0*)?\s*", re.ASCII)  # how else it may be


def read_kaggle(path: PathLike, *, labels: bool | None = None) -> tuple[Pixels, Labels | None]:
    """Images uint8 (N, 28, 28, 1) and labels int64 (N,) of a CSV file in the format of Kaggle's Digit Recognizer.

    The header names the columns `pixel0` to `pixel783`, row by row of the image, and perhaps `label`, in any order and
    case; the file may be gzip. With `labels` True the label column must be there, with False it is ignored, with None
    the file decides; where there are no labels, None is returned in their place. Raises DataError if the file cannot be
    read, a column is missing, unknown or there twice, a row has too few or too many cells, or a cell is not an integer
    from 0 to 255 (a label: 0 to 9). Source: https://www.kaggle.com/competitions/digit-recognizer/data.
    """
    content = read_bytes(path).removeprefix(BOM)
    _, header = next(_lines(path, content), (0, []))
    if not header:
        raise DataError(f"{path}: header (line 1): expected the columns {PIXELS[0]} to {PIXELS[-1]}, got nothing.")
    names = [name.strip().lower() for name in header]
    _check_header(path, names, labels)
    wanted = ["label", *PIXELS] if "label" in names and labels is not False else PIXELS
    places = {name: place for place, name in enumerate(names)}
    order = [places[name] for name in wanted]

    table = _read_fast(path, content, order, len(names))
    if table is None:
        table = _read_carefully(path, content, order, names)
    images = np.ascontiguousarray(table[:, -len(PIXELS) :]).reshape(-1, 28, 28, 1)
    return images, table[:, 0].astype(np.int64) if wanted[0] == "label" else None


def _check_header(path: PathLike, names: list[str], labels: bool | None) -> None:
    """Raises DataError unless the names are those of all pixels and perhaps the label, each once."""
    where = f"{path}: header (line 1)"
    if labels and "label" not in names:
        raise DataError(
            f"{where}: expected a column label, got {len(names)} columns, the first being {names[0][:40]!r}."
        )
    present = set(names)
    if missing := [name for name in PIXELS if name not in present]:
        raise DataError(
            f"{where}, column {missing[0]}: expected the columns {PIXELS[0]} to {PIXELS[-1]}, got none of this name (missing: {len(missing)})."
        )
    seen: set[str] = set()
    for column, name in enumerate(names, start=1):
        if name not in COLUMNS:
            raise DataError(
                f"{where}, column {column}: expected label or one of {PIXELS[0]} to {PIXELS[-1]}, got {name!r}."
            )
        if name in seen:
            raise DataError(f"{where}, column {column}: expected each column once, got {name} a second time.")
        seen.add(name)


def _read_fast(path: PathLike, content: bytes, order: list[int], width: int) -> Pixels | None:
    """Columns `order` of the rows below the header: uint8 (N, columns); None if anything is out of the ordinary.

    Ordinary are full rows of digits, commas and line ends, and nothing else. pandas is given the path where the file is
    its content as it stands: it reads a file much faster than bytes.
    """
    import pandas as pd

    begin = content.find(b"\n") + 1
    lines, commas, others = _counts(content, begin)
    rows = lines + (begin > 0 and not content.endswith(b"\n"))
    if rows < 1 or others or commas != rows * (width - 1):
        return None
    file = Path(path).absolute()
    plain = file.is_file() and file.stat().st_size in (len(content), len(BOM) + len(content))
    try:
        frame = pd.read_csv(
            file if plain else io.BytesIO(content), compression=None, header=0, names=range(width), index_col=False,
            dtype=_safe_type(), na_filter=False,
        )  # fmt: skip
    except (ValueError, OverflowError):
        return None
    table = frame.to_numpy()  # (N, columns), column by column
    if len(table) != rows or table.min() < 0 or table.max() > 255:
        return None
    if order != list(range(width)):
        table = table.T[order].T
    table = table.astype(np.uint8, copy=False)
    return table if len(order) == len(PIXELS) or table[:, 0].max() <= 9 else None


def _counts(content: bytes, begin: int) -> tuple[int, int, int]:
    """How many line ends, commas, and bytes that are neither of these nor digits there are from byte `begin` on."""
    data = np.frombuffer(content, np.uint8)
    lines = commas = others = 0
    for first in range(begin, len(data), CHUNK):
        part = data[first : first + CHUNK]
        ends, separators, returns = (int(np.count_nonzero(part == ord(sign))) for sign in "\n,\r")
        digits = int(np.count_nonzero(part - np.uint8(ord("0")) < 10))  # what is below "0" wraps around
        lines, commas = lines + ends, commas + separators
        others += len(part) - ends - separators - returns - digits
    return lines, commas, others


def _safe_type() -> type[np.integer[Any]]:
    """uint8 if this pandas refuses what does not fit into it, else int64: before version 3, 256 silently became 0."""
    import pandas as pd

    try:
        pd.read_csv(io.BytesIO(b"pixel\n256\n"), dtype=np.uint8)
    except (ValueError, OverflowError):
        return np.uint8
    return np.int64


def _read_carefully(path: PathLike, content: bytes, order: list[int], names: list[str]) -> Pixels:
    """Columns `order` of the rows below the header: uint8 (N, columns); raises DataError at the first wrong cell."""
    rows: list[bytes] = []
    blank = ""
    for row, (line, cells) in enumerate(_lines(path, content)):
        where = f"{path}: row {row} (line {line})"
        if row == 0:
            continue  # the header
        if not cells:
            blank = blank or where
            continue
        if blank:  # and more rows below it
            raise DataError(f"{blank}, column {names[0]}: expected {len(names)} cells, got a blank line.")
        if len(cells) != len(names):
            column = names[len(cells)] if len(cells) < len(names) else len(names) + 1
            raise DataError(f"{where}, column {column}: expected a row of {len(names)} cells, got {len(cells)}.")
        if names[order[0]] == "label":
            _value(cells[order[0]], f"{where}, column label", 9)
        try:
            rows.append(bytes([BYTES[cells[i]] for i in order]))
        except KeyError:
            rows.append(bytes([_value(cells[i], f"{where}, column {names[i]}", 255) for i in order]))
    if not rows:
        raise DataError(
            f"{path}: row 1 (line 2), column {names[0]}: expected at least one row below the header, got none."
        )
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), len(order))


def _value(cell: str, where: str, largest: int) -> int:
    """The integer a cell holds; raises DataError unless it is one from 0 to `largest`."""
    match = INTEGER.fullmatch(cell)
    if not match or not 0 <= int(match[1]) <= largest:
        raise DataError(f"{where}: expected an integer from 0 to {largest}, got {cell[:40]!r}.")
    return int(match[1])


def _lines(path: PathLike, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, the header among them, each with the number of its line (RFC 4180)."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace", newline=""))
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"{path}: line {reader.line_num}: expected cells with commas between them, got something else ({error})."
        ) from error


def write_submission(path: PathLike, labels: npt.ArrayLike, sample: PathLike | None = None) -> Path:
    """Writes the labels (N,), integers from 0 to 9, as a Kaggle submission and returns its path.

    The header is `ImageId,Label` and the ids are 1 to N; with `sample`, the path of a sample submission, header, ids
    (first column, in their order) and line ends are the sample's. The file appears whole or not at all: on DataError,
    raised for labels or a sample that do not fit and for a place that cannot be written, what was there is untouched.
    """
    values = np.asarray(labels)  # (N,)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(
            f"{path}: expected labels in one dimension of integers, got shape {values.shape} of {values.dtype}."
        )
    if wrong := np.flatnonzero((values < 0) | (values > 9)).tolist():
        raise DataError(
            f"{path}: row {wrong[0] + 1}, column Label: expected an integer from 0 to 9, got {values[wrong[0]]}."
        )
    header, ids, end = ["ImageId", "Label"], [str(i) for i in range(1, len(values) + 1)], "\n"
    if sample is not None:
        header, ids, end = _read_sample(sample)
    if len(ids) != len(values):
        raise DataError(f"{sample}: expected {len(values)} rows, one for each label, got {len(ids)}.")
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows([header, *zip(ids, values.tolist(), strict=True)])
    write_bytes(path, text.getvalue().encode())
    return Path(path)


def _read_sample(path: PathLike) -> tuple[list[str], list[str], str]:
    """Header, ids and line end of a sample submission."""
    content = read_bytes(path).removeprefix(BOM)
    rows = [(line, cells) for line, cells in _lines(path, content) if cells]
    for row, (line, cells) in enumerate(rows):
        if len(cells) != 2:
            where = f"{path}: row {row} (line {line}), column {min(len(cells), 2) + 1}"
            raise DataError(f"{where}: expected an id and a label, got {len(cells)} cells.")
    if not rows:
        raise DataError(f"{path}: expected a sample submission with a header, but the file is empty.")
    _, header = rows[0]
    return header, [cells[0] for _, cells in rows[1:]], "\r\n" if b"\r\n" in content else "\n"

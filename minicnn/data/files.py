"""Whole files in and out: read at once, gzip or not, and replaced in one step or not at all.

Everything that can go wrong with a user's file is a `DataError`, whose message is one sentence that names the file.
"""

import gzip
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..checks import PATH, check

PathLike: TypeAlias = str | os.PathLike[str]


class DataError(ValueError):
    """A user's data cannot be used; the message says where (file, row, column), what was expected and what came."""


class MissingFile(DataError, FileNotFoundError):
    """There is no file of this name: for those who catch OSError, as for files that Python opens."""


def read_bytes(path: PathLike) -> bytes:
    """The contents of a file, decompressed if its name ends in `.gz` or its first bytes are gzip's (RFC 1952).

    Raises DataError if the file is missing, cannot be read, or is a damaged gzip file.
    """
    check("", PATH, path=path)
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise MissingFile(f"{path}: expected a file, but there is none of this name.") from None
    except IsADirectoryError:
        raise DataError(f"{path}: expected a file, but this is a directory.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise DataError(f"{path}: the file cannot be read ({reason(error)}).") from error
    if not content.startswith(b"\x1f\x8b") and Path(path).suffix.lower() != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected a complete gzip file, but it is damaged ({reason(error)}).") from error


def write_bytes(path: PathLike, content: bytes) -> None:
    """Makes `content` the contents of a file in one step: whoever looks sees the old file or the new one, whole.

    The bytes go to a temporary file in the same folder, to the disk, and only then take the name; a link is followed,
    and the permissions of a file that was there stay. Raises DataError if the place cannot be written; nothing is left
    behind, and what was there is untouched.
    """
    _replace(path, content)


def write_tensors(path: PathLike, tensors: Mapping[str, np.ndarray], key: str, header: Mapping[str, Any]) -> None:
    """`write_bytes` for arrays by name, in the format of safetensors; the header is JSON, under `key` in the file's own."""
    from safetensors.numpy import save

    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, {key: json.dumps(header)}))


def read_tensors(path: PathLike, key: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays that `write_tensors` wrote; DataError if there is no such file, or it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except FileNotFoundError:
        raise MissingFile(f"{path}: there is no such file") from None
    except OSError as error:
        why = "this is a directory" if os.path.isdir(path) else reason(error)
        raise DataError(f"{path}: the file cannot be read ({why})") from None
    except SafetensorError as error:
        with open(path, "rb") as file:
            hdf5 = file.read(4) == b"\x89HDF"
        old = "HDF5, Keras' older format, which is not read: save it in Keras as ….keras"
        raise DataError(f"{path}: {old if hdf5 else 'not a safetensors file'} ({error})") from None
    if key not in metadata:
        raise DataError(f"{path}: a safetensors file of something else, with no {key!r} in its header")
    try:
        return json.loads(metadata[key]), tensors
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: the file is damaged: {error}") from error


def check_writable(path: PathLike) -> None:
    """Raises DataError if `write_bytes` could not write this path; touches nothing that is there.

    Meant to be called before a long training, so that its result is not lost at the end.
    """
    _replace(path, None)


def _replace(path: PathLike, content: bytes | None) -> None:
    """`write_bytes`; without content it stops just before the temporary file would take the name."""
    check("", PATH, path=path)
    try:
        target = Path(path).resolve()
        if target.exists() and not (target.is_file() and os.access(target, os.W_OK)):
            found = "this is a directory" if target.is_dir() else "what is there is read-only or no regular file"
            raise DataError(f"{path}: expected a file that can be written, but {found}.")
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with open(temporary, "xb") as file:
                file.write(content or b"")
                file.flush()
                os.fsync(file.fileno())
            if content is not None:
                if target.exists():
                    shutil.copymode(target, temporary)
                os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except DataError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # also for a null character in the name, and a circle of links
        raise DataError(f"{path}: the file cannot be written ({reason(error)}).") from error


def make_folder(path: PathLike) -> None:
    """Makes a folder and those above it where they are missing; raises DataError if that cannot be done."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the folder cannot be made ({reason(error)}).") from error


def reason(error: Exception) -> str:
    """What an exception says, in lower case and without numbers of errors or names of files."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text[0].lower() + text[1:].rstrip(".")

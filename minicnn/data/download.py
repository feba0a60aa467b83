"""Files of data sets, downloaded once from public mirrors and kept in a cache folder.

The original files are known by their SHA-256, so it does not matter who sent them.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from .files import PathLike, make_folder, reason, write_bytes

TIMEOUT = 10.0  # seconds without an answer


@dataclass(frozen=True)
class Source:
    """The files of a data set: where they are downloaded from, and what each must hash to."""

    folder: str  # in the cache
    mirrors: tuple[str, ...]
    sha256: dict[str, str]  # name of the file: digest in hexadecimal


def fetch(source: Source, name: str, cache: PathLike | None) -> Path:
    """The path of an intact copy of the file in the cache, downloaded if there is none.

    The cache is by default `minicnn` in `$XDG_CACHE_HOME` or `~/.cache`. Raises ConnectionError if no mirror gives the file,
    DataError if the folder cannot be written.
    """
    from http.client import HTTPException

    user = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    folder = (Path(user, "minicnn") if cache is None else Path(cache)) / source.folder

    def is_intact(content: bytes) -> bool:
        return hashlib.sha256(content).hexdigest() == source.sha256[name]

    path, failures = folder / name, []
    if path.is_file():
        if is_intact(path.read_bytes()):
            return path
        failures.append(f"the copy in {folder} is damaged")
    make_folder(folder)
    for mirror in source.mirrors:
        try:
            content = _download(mirror + name)
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)  # a URLError wraps what happened
            failures.append(f"{mirror} gave no answer ({reason(cause) if isinstance(cause, Exception) else cause})")
            continue
        if is_intact(content):
            write_bytes(path, content)
            return path
        failures.append(f"{mirror} sent a damaged file")
    raise ConnectionError(
        f"{name} could not be downloaded ({'; '.join(failures)}): put {', '.join(source.sha256)} into {folder} by hand."
    )


def _download(url: str) -> bytes:
    """What the address gives, with a progress bar on a terminal."""
    from urllib.request import urlopen

    from tqdm import tqdm

    content = bytearray()
    name = url.rpartition("/")[2]
    with (
        urlopen(url, timeout=TIMEOUT) as answer,
        tqdm(total=answer.length, unit="B", unit_scale=True, desc=name, disable=None) as bar,
    ):
        while block := answer.read(1 << 16):
            content += block
            bar.update(len(block))
    return bytes(content)

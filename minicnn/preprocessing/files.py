"""Pictures in files: which there are, in Keras' order, with their labels, and all of them as one array."""

import os
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.files import DataError
from .pictures import MODES, load_img

EXTENSIONS = ".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff"
MOST = 2 * 10**9  # bytes of pictures that are held in memory


class Files(NamedTuple):
    """N pictures below a folder; classes, with their numbers; the numbers of the pictures' (N,), or targets; weights (N,)."""

    directory: str
    names: list[str]
    class_indices: dict[str, int]
    labels: np.ndarray | None
    weights: np.ndarray | None = None

    @property
    def paths(self) -> list[str]:
        return [os.path.join(self.directory, name) for name in self.names]


def in_folders(directory: str, classes: Sequence[str] | None, follow_links: bool, share: tuple[float, float]) -> Files:
    """Pictures in one folder for each class, and in folders below it, sorted: of each class the `share` from a to b.

    Classes are the folders, sorted, unless they are named. DataError for a folder that is missing.
    """
    expected = "expected a folder with one folder of pictures for each class"
    if not os.path.isdir(directory):
        raise DataError(f"{directory}: {expected}, but there is no folder of this name")
    folders = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    class_indices = {name: number for number, name in enumerate(dict.fromkeys(map(str, classes or folders)))}
    if not class_indices:
        raise DataError(f"{directory}: {expected}, but there is no folder in it")
    names: list[str] = []
    labels: list[int] = []
    for name, number in class_indices.items():
        if not os.path.isdir(folder := os.path.join(directory, name)):
            raise DataError(f"{directory}: {expected}, but there is no folder {name!r} in it")
        walk = sorted(os.walk(folder, followlinks=follow_links), key=lambda found: found[0])
        found = [os.path.join(root, file) for root, _, files in walk for file in sorted(files) if _is_picture(file)]
        found = found[_part(found, share)]
        names += [os.path.relpath(path, directory) for path in found]
        labels += [number] * len(found)
    return Files(directory, names, class_indices, np.array(labels, np.int32))


def in_table(
    table: Any, directory: str, x_col: str, y_col: Any, weight_col: str | None, classes: Sequence[str] | None,
    class_mode: str | None, validate: bool, share: tuple[float, float],
) -> Files:  # fmt: skip
    """Pictures that the rows of a DataFrame name, of those rows the `share` from a to b.

    Rows of files that are not there are left out with a warning (unless not to `validate`), and those of classes that are
    not named. For the mode "raw" labels are what a column, or a list of columns, holds. ValueError for other columns.
    """
    where, columns = "flow_from_dataframe", list(getattr(table, "columns", ()))
    of_classes, raw = class_mode in ("categorical", "binary", "sparse"), class_mode == "raw"
    targets = y_col if raw and isinstance(y_col, list) else [y_col] if raw or of_classes else []
    for name in (x_col, *targets, *([weight_col] if weight_col else [])):
        if name not in columns:
            got = f"a {type(table).__name__} with {columns}"
            raise ValueError(f"{where}: expected a DataFrame with a column {name!r}, got {got}")
    for name in (x_col, y_col)[: 1 + of_classes]:
        if strange := [value for value in table[name] if not isinstance(value, str)]:
            hint = "astype(str) makes strings, and class_mode 'raw' takes numbers"
            raise ValueError(f"{where}: column {name!r} must hold strings, not {strange[0]!r}: {hint}")
    if validate:
        paths = [os.path.join(directory, name) for name in table[x_col]]
        valid = [_is_picture(path) and os.path.isfile(path) for path in paths]
        if not all(valid):
            first = f"first {paths[valid.index(False)]}"
            warnings.warn(f"{where}: {valid.count(False)} rows name no picture and are left out, {first}", stacklevel=3)
        table = table.loc[valid]
    names = dict.fromkeys(classes or sorted(set(table[y_col]))) if of_classes else ()
    class_indices = {name: number for number, name in enumerate(names)}
    if class_mode == "binary" and len(names) != 2:
        raise ValueError(f"{where}: class_mode 'binary' needs two classes, not {list(names)}")
    if of_classes:
        table = table.loc[table[y_col].isin(list(names))]
    table = table.iloc[_part(table, share)]
    labels = table[y_col].to_numpy() if raw else None
    if of_classes:
        labels = np.array([class_indices[name] for name in table[y_col]], np.int32)
    weights = table[weight_col].to_numpy() if weight_col else None
    return Files(directory, list(table[x_col]), class_indices, labels, weights)


def read(
    where: str, found: Files, subset: str | None, color_mode: str, target_size: Sequence[int], interpolation: str,
    keep_aspect_ratio: bool,
) -> np.ndarray:  # fmt: skip
    """The pictures as an array (N, H, W, C) of uint8, or of float32 if one is gray and deeper than a byte.

    ValueError for settings that are none, and for more than 2 GB; DataError for no picture, and one that cannot be read.
    """
    if color_mode not in MODES:
        raise ValueError(f"{where}: color_mode must be one of {', '.join(MODES)}, not {color_mode!r}")
    if np.shape(target_size) != (2,) or not all(isinstance(n, int | np.integer) and n > 0 for n in target_size):
        raise ValueError(f"{where}: target_size must be two whole numbers (height, width), not {target_size!r}")
    if not (paths := found.paths):
        place = (found.directory or "these paths") + (f" for the {subset} subset" if subset else "")
        raise DataError(f"{where}: no picture was found in {place}; names must end in {', '.join(EXTENSIONS)}")
    shape = int(target_size[0]), int(target_size[1]), len(MODES[color_mode])
    if (size := len(paths) * float(np.prod(shape))) > MOST:
        raise ValueError(
            f"{where}: {len(paths)} pictures of shape {shape} would take {size / 1e9:.1f} GB of memory, which holds all of "
            "them, up to 2 GB: give a smaller target_size, or write a utils.PyDataset that reads batches"
        )
    x = np.empty((len(paths), *shape), np.uint8)
    for k, path in enumerate(paths):
        picture = np.asarray(load_img(path, color_mode, shape, interpolation, keep_aspect_ratio))
        if picture.dtype != np.uint8:
            x = x.astype(np.float32, copy=False)
        x[k] = picture.reshape(shape)
    return x


def _is_picture(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def _part(found: Any, share: tuple[float, float]) -> slice:
    return slice(*(int(end * len(found)) for end in share))

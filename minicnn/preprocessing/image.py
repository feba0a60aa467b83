"""Images moved, turned, sheared, resized, flipped and normalised at random, batch by batch: Keras' ImageDataGenerator.

All motions of an image are one affine map, so that it is interpolated once. What is drawn is a function of the seed, the
epoch and the number of the image in the data set: neither batch size nor number of threads changes an image. While a
model trains on one batch, a helper thread makes the next.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Event, Lock
from typing import Any, TypeAlias

import numpy as np

from ..absent import without
from ..checks import COUNT, FINITE, FUNCTION, NUMBER, PATH, WHOLE, Kind, check, is_number, is_whole, numbers, or_none
from ..kernels import arrays
from ..memory import POOL
from ..ops import get_ops, instructions
from ..ops.reference import FILL_MODES
from ..seeding import generator, new_seed
from ..tape import Each, Tape, Times
from ..threads import forks, get_threads, hand_over
from . import files
from .pictures import array_to_img, img_to_array, load_img, save_img

DRAWN = 12  # random numbers per image
CLASS_MODES = "categorical", "binary", "sparse", "input", None
PAIR: Kind = "a pair of numbers (lower, upper)", lambda pair: np.shape(pair) == (2,) and all(map(is_number, pair))
IMAGE_SHAPE: Kind = "the shape of an image, (H, W, C)", lambda shape: len(shape) in (2, 3) and all(map(COUNT[1], shape))
PARAMETERS, FITTED = 0, 1  # which of a seed's streams of random numbers

Shift: TypeAlias = float | Sequence[float]
Transform: TypeAlias = dict[str, Any]  # numbers, or an array (N,) of each, under the names in UNMOVED

UNMOVED: Transform = {
    "theta": 0.0, "tx": 0.0, "ty": 0.0, "shear": 0.0, "zx": 1.0, "zy": 1.0, "flip_horizontal": False,
    "flip_vertical": False, "channel_shift_intensity": None, "brightness": None,
}  # fmt: skip


def _sine(degrees: np.ndarray) -> np.ndarray:
    """Exact at multiples of a quarter turn, so that such a turn only moves pixels."""
    return np.where(degrees % 180 == 0, 0.0, np.sin(np.deg2rad(degrees)))


def _matrices(transform: Transform, H: int, W: int) -> np.ndarray:
    """(N, 2, 3): for each image the map from a pixel (i, j, 1) of the result to a point of the source.

    With x to the right and y down from the centre, the point is R (S Z F p + t): flips F, zoom Z, shear S, shift t,
    rotation R.
    """
    turn, shear, tx, ty = (np.asarray(transform[name], float) for name in ("theta", "shear", "tx", "ty"))
    zx = transform["zx"] * np.where(transform["flip_horizontal"], -1.0, 1.0)
    zy = transform["zy"] * np.where(transform["flip_vertical"], -1.0, 1.0)
    sine, cosine = _sine(turn), _sine(turn + 90)
    xx, xy = cosine * zx, -_sine(turn + shear) * zy
    yx, yy = sine * zx, _sine(turn + shear + 90) * zy
    x, y = (W - 1) / 2, (H - 1) / 2
    right = cosine * tx - sine * ty + x - xx * x - xy * y
    down = sine * tx + cosine * ty + y - yx * x - yy * y
    rows = np.broadcast_arrays(*map(np.atleast_1d, (yy, yx, down, xy, xx, right)))
    return np.stack(rows, axis=1).reshape(-1, 2, 3)


def _shifted(amounts: int | float | list[float], length: int, u: np.ndarray) -> np.ndarray:
    """Shifts in pixels (N,), drawn by u (2, N): up to a float, whole ones below an int, or of a list; to both sides."""
    if isinstance(amounts, float):
        drawn = (2 * u[0] - 1) * amounts
    else:
        choices = np.asarray(amounts if isinstance(amounts, list) else range(max(1, amounts)), float)
        drawn = choices[(u[0] * len(choices)).astype(int)] * np.where(u[1] < 0.5, -1, 1)
    return drawn * (length if np.max(amounts) < 1 else 1)


def _recolour(images: np.ndarray, transform: Transform) -> np.ndarray:
    """Images (N, H, W, C) after channel shift and brightness, in place."""
    if (shift := transform["channel_shift_intensity"]) is not None:
        least, most = (f(axis=(1, 2, 3), keepdims=True) for f in (images.min, images.max))
        images += np.reshape(shift, (-1, 1, 1, 1))
        np.clip(images, least, most, out=images)
    if (brightness := transform["brightness"]) is not None:
        images *= np.reshape(brightness, (-1, 1, 1, 1))
        np.clip(images, 0, 255, out=images)
    return images


def _numbers(x: Any) -> np.ndarray:
    """`x` C-contiguous, as bytes if it is that, else as float32."""
    x = np.asarray(x)
    return np.ascontiguousarray(x, np.uint8 if x.dtype == np.uint8 else np.float32)


class _Mover:
    """Gathers images of a data set and maps them, as float32, on all cores."""

    def __init__(self, x: np.ndarray, fill_mode: str, cval: float) -> None:
        self.x, self.fill = x, (fill_mode, cval)
        self.tapes: dict[int, list[tuple[Tape, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]] = {}

    def __call__(self, rows: np.ndarray, matrices: np.ndarray) -> np.ndarray:
        free = self.tapes.setdefault(len(rows), [])
        try:
            parts = free.pop()
        except IndexError:  # all are in use
            parts = self.laid_out(len(rows))
        tape, own_rows, own_matrices, y, _ = parts
        own_rows[:], own_matrices[:] = rows, matrices
        tape.run()
        images = POOL.empty(y.shape, y.dtype)
        images[:] = y
        free.append(parts)
        return images

    def laid_out(self, samples: int) -> tuple[Tape, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """A tape for so many images, and the arrays that it reads and writes."""
        shape = (samples, *self.x.shape[1:])
        rows, matrices, y = np.empty(samples, np.int64), np.empty((samples, 2, 3)), np.empty(shape, np.float32)
        source = np.array([self.x.ctypes.data, rows.ctypes.data, self.x.dtype == np.uint8], np.int64)
        tape = Tape("float32")
        x = tape.buffer(shape)
        tape.add(arrays.gather, samples, source=source, first=Times(1), x=Each(x), image=instructions.each(x))
        instructions.affine(tape, x, matrices, y, *self.fill)
        return tape, rows, matrices, y, source


class ImageDataGenerator:
    """Draws motions of images, applies them, and normalises the result, with the arguments of Keras.

    Motions, each drawn evenly for every image: `rotation_range` in degrees, to both sides; `width_shift_range` and
    `height_shift_range`, a share of the width or height if below 1, else pixels, whole ones for an integer (all below
    it), or a list to choose from, always to both sides; `shear_range` in degrees; `zoom_range`, a number z for factors
    from 1 - z to 1 + z or a pair of factors, drawn apart for the two directions (above 1: the content gets smaller);
    `horizontal_flip` and `vertical_flip`, for half of the images. Outside the image lie its last pixels ("nearest"),
    `cval` ("constant"), its mirror image ("reflect": d c b a | a b c d | d c b a) or its repetition ("wrap").

    Colours: `channel_shift_range`, a number added to an image, which stays between its smallest and largest;
    `brightness_range`, a pair of factors, for images from 0 to 255, where they stay.

    Normalisation afterwards, in this order: `preprocessing_function` of each image (H, W, C); times `rescale`; minus the
    mean of the image (`samplewise_center`), divided by its standard deviation (`samplewise_std_normalization`); minus the
    mean of each channel of the data that `fit` has seen (`featurewise_center`), divided by its standard deviation
    (`featurewise_std_normalization`); whitened (`zca_whitening`: Krizhevsky, 2009, appendix A).

    Unlike in Keras 3.15, `width_shift_range` moves along the width (there the two are exchanged), the centre of an
    image that is not square is its centre, "wrap" has the period of the image, "constant" blends the last pixel with
    `cval` within one pixel of the edge, and brightness is not rounded to bytes.

    Raises ValueError for an argument that is none of this.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Shift = 0.0,
        height_shift_range: Shift = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: float | Sequence[float] = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[np.ndarray], Any] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ) -> None:
        self.featurewise_center, self.samplewise_center = featurewise_center, samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range = _number("rotation_range", rotation_range)
        self.shear_range = _number("shear_range", shear_range)
        self.channel_shift_range = _number("channel_shift_range", channel_shift_range)
        self.width_shift_range = _shifts("width_shift_range", width_shift_range)
        self.height_shift_range = _shifts("height_shift_range", height_shift_range)
        self.brightness_range = None if brightness_range is None else _pair("brightness_range", brightness_range)
        if np.ndim(zoom_range) == 0:
            zoom = _number("zoom_range", zoom_range)
            zoom_range = 1 - zoom, 1 + zoom
        self.zoom_range = _pair("zoom_range", zoom_range)
        self.fill_mode, self.cval = fill_mode, cval
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        share = numbers("a number from 0 to below 1", lambda share: 0 <= share < 1)
        check("ImageDataGenerator", share, validation_split=validation_split)
        self.validation_split = float(validation_split)
        check("ImageDataGenerator", NUMBER, cval=cval, zca_epsilon=zca_epsilon)
        if rescale is not None:
            check("ImageDataGenerator", NUMBER, rescale=rescale)
        check("ImageDataGenerator", or_none(FUNCTION), preprocessing_function=preprocessing_function)
        for name, value, allowed in (
            ("fill_mode", fill_mode, FILL_MODES),
            ("data_format", data_format, (None, "channels_last")),
            ("interpolation_order", interpolation_order, (1,)),
            ("dtype", dtype, (None, "float32", np.float32)),
        ):
            if value not in allowed:
                raise _wrong(name, " or ".join(map(repr, allowed)), value)
        self.data_format, self.interpolation_order, self.dtype = "channels_last", 1, "float32"
        self.mean: np.ndarray | None = None  # (1, 1, C)
        self.std: np.ndarray | None = None  # (1, 1, C)
        self.zca_whitening_matrix: np.ndarray | None = None  # (H*W*C, H*W*C)
        if zca_whitening and featurewise_std_normalization:
            self.featurewise_std_normalization = False
            warnings.warn("ImageDataGenerator: zca_whitening replaces featurewise_std_normalization", stacklevel=2)
        for name in ("zca_whitening", "featurewise_std_normalization", "samplewise_std_normalization"):
            center = "samplewise_center" if name.startswith("samplewise") else "featurewise_center"
            if getattr(self, name) and not getattr(self, center):
                setattr(self, center, True)
                warnings.warn(f"ImageDataGenerator: {name} needs {center}, which is now on", stacklevel=2)

    # ------------------------------------------------------------------ motions

    def _draw(self, shape: Sequence[int], samples: int, key: tuple[int, int, int]) -> Transform:
        """Transform parameters of so many images of this shape (H, W, C), an array (N,) of each."""
        bits = get_ops("reference").random_bits(key, DRAWN * samples).reshape(samples, DRAWN)
        u = np.ascontiguousarray(bits.T) / 2**32  # (DRAWN, N) from 0 to below 1

        def between(low: float, high: float, which: int) -> np.ndarray:
            return low + (high - low) * u[which]

        return {
            "theta": between(-self.rotation_range, self.rotation_range, 0),
            "tx": _shifted(self.width_shift_range, shape[1], u[1:3]),
            "ty": _shifted(self.height_shift_range, shape[0], u[3:5]),
            "shear": between(-self.shear_range, self.shear_range, 5),
            "zx": between(*self.zoom_range, 6),
            "zy": between(*self.zoom_range, 7),
            "flip_horizontal": (u[8] < 0.5) & self.horizontal_flip,
            "flip_vertical": (u[9] < 0.5) & self.vertical_flip,
            "channel_shift_intensity": (
                between(-self.channel_shift_range, self.channel_shift_range, 10) if self.channel_shift_range else None
            ),
            "brightness": None if self.brightness_range is None else between(*self.brightness_range, 11),
        }

    def get_random_transform(self, img_shape: Sequence[int], seed: int | None = None) -> Transform:
        """Parameters of a motion for an image of this shape (H, W, C), a function of the seed if there is one.

        theta and shear in degrees, tx (along the width) and ty in pixels, the factors zx and zy, flip_horizontal,
        flip_vertical, channel_shift_intensity and brightness (None where not asked for).
        """
        check("get_random_transform", IMAGE_SHAPE, img_shape=img_shape)
        drawn = self._draw(img_shape, 1, (_seed(seed), 0, PARAMETERS))
        return {name: None if value is None else value[0].item() for name, value in drawn.items()}

    def apply_transform(self, x: Any, transform_parameters: Transform) -> np.ndarray:
        """The image (H, W, C), moved: float32. Parameters that are not given change nothing.

        A turn by theta is counter-clockwise, and the content moves to the left by tx and up by ty.
        """
        kind = "a dictionary", lambda given: isinstance(given, dict)
        check("apply_transform", kind, transform_parameters=transform_parameters)
        if unknown := set(transform_parameters) - set(UNMOVED):
            raise ValueError(f"apply_transform: there is no parameter {min(unknown)!r}; there are {', '.join(UNMOVED)}")
        for name, value in transform_parameters.items():
            if value is not UNMOVED[name] and not name.startswith("flip"):
                check("apply_transform", NUMBER, **{name: value})
        return self._transformed(_rank("apply_transform", x, 3)[None], UNMOVED | transform_parameters)[0]

    def random_transform(self, x: Any, seed: int | None = None) -> np.ndarray:
        """The image (H, W, C), moved as drawn: float32."""
        return self.apply_transform(x, self.get_random_transform(np.shape(x), seed))

    def _transformed(self, images: np.ndarray, transform: Transform) -> np.ndarray:
        matrices = _matrices(transform, *images.shape[1:3])
        moved, _ = get_ops("cpu").affine(images.astype(np.float32), matrices, self.fill_mode, self.cval)
        return _recolour(moved, transform)

    # ------------------------------------------------------------------ normalisation

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Takes mean, standard deviation and whitening matrix from images (N, H, W, C), rescaled as `rescale` says.

        With `augment`, from so many `rounds` of motions of all images, drawn as the seed says. The matrix is U diag(√N /
        (s + zca_epsilon)) Uᵀ, where s² and U are the eigenvalues and eigenvectors of the centred images' Σ x xᵀ.
        Raises ValueError for arrays that are not images.
        """
        x = _rank("fit", x, 4).astype(np.float32)
        if not (COUNT[1](rounds) and len(x)):
            raise ValueError(f"fit: expected at least one image and one round, got {len(x)} and rounds={rounds!r}")
        if self.rescale:
            x *= self.rescale
        if augment:
            seed = _seed(seed)
            x = np.concatenate(
                [self._transformed(x, self._draw(x.shape[1:], len(x), (seed, r, FITTED))) for r in range(rounds)]
            )
        if self.featurewise_center:
            self.mean = x.mean(axis=(0, 1, 2), dtype=float, keepdims=True)[0].astype(np.float32)
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = x.std(axis=(0, 1, 2), dtype=float, keepdims=True)[0].astype(np.float32)
            x /= self.std + np.float32(1e-6)
        if self.zca_whitening:
            flat = x.reshape(len(x), -1).astype(float)  # (N, H*W*C)
            squares, u = np.linalg.eigh(flat.T @ flat)
            s = np.sqrt(squares.clip(0))
            self.zca_whitening_matrix = ((u * (np.sqrt(len(x)) / (s + self.zca_epsilon))) @ u.T).astype(np.float32)

    def __init_subclass__(cls) -> None:
        for name in ("random_transform", "get_random_transform", "apply_transform", "standardize"):
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}: batches are not made by {name}; what is to be done to every image is the "
                    "preprocessing_function"
                )

    def standardize(self, x: Any) -> np.ndarray:
        """The image (H, W, C) or images (N, H, W, C), normalised: float32; an array of floats itself is changed, as in Keras.

        Warns where `fit` is missing; that step is then left out.
        """
        images = _rank("standardize", x, 3 if np.ndim(x) == 3 else 4).astype(np.float32)
        self._warn_if_unfitted()
        images = self._standardized(images[None])[0] if images.ndim == 3 else self._standardized(images)
        if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.flags.writeable:
            x[:] = images
        return images

    def _warn_if_unfitted(self) -> None:
        for name, found in self._fitted():
            if found is None:
                warnings.warn(f"ImageDataGenerator: {name} is left out until fit(x) has seen data", stacklevel=3)

    def _fitted(self) -> Iterator[tuple[str, np.ndarray | None]]:
        """What was asked for and what `fit` has found for it."""
        found = (self.mean, self.std, self.zca_whitening_matrix)
        names = ("featurewise_center", "featurewise_std_normalization", "zca_whitening")
        return ((name, value) for name, value in zip(names, found, strict=True) if getattr(self, name))

    def _standardized(self, images: np.ndarray) -> np.ndarray:
        """Normalises images (N, H, W, C), in place where it can."""
        if self.preprocessing_function:
            for image in images:
                found = np.asarray(self.preprocessing_function(image))
                if found.shape != image.shape:
                    raise ValueError(
                        f"preprocessing_function: expected an image of shape {image.shape}, as given, got {found.shape}"
                    )
                image[:] = found
        if self.rescale:
            images *= np.float32(self.rescale)
        flat = images.reshape(len(images), -1)  # the same memory, a row per image
        if self.samplewise_center:
            flat -= flat.mean(axis=1, keepdims=True)
        if self.samplewise_std_normalization:
            flat /= flat.std(axis=1, keepdims=True) + np.float32(1e-6)
        for name, fitted in self._fitted():
            if fitted is None:
                continue
            if name == "featurewise_center":
                images -= fitted
            elif name == "featurewise_std_normalization":
                images /= fitted + np.float32(1e-6)
            else:
                images = (flat @ fitted).reshape(images.shape)
        return images

    # ------------------------------------------------------------------ batches

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> "NumpyArrayIterator":
        """Batches of images x (N, H, W, C), moved and normalised, with their targets y and sample weights, if given.

        `subset` "validation" takes the first `validation_split` of the samples, "training" the others; both must have the
        same classes in y unless `ignore_class_split`. Raises ValueError for arrays that do not go together.

        Every image that is taken is also written into the folder `save_to_dir`, if there is one, as a picture that Pillow
        makes, spread over 0 to 255: {save_prefix}_{number of the sample}_{number at random}.{save_format}.
        """
        self._checked("flow", batch_size, subset)
        x = _rank("flow", x, 4)
        if y is None and sample_weight is not None:
            raise ValueError("flow: sample_weight needs y")
        y, sample_weight = (None if values is None else np.asarray(values) for values in (y, sample_weight))
        for name, values in (("y", y), ("sample_weight", sample_weight)):
            if values is not None and (values.ndim == 0 or len(values) != len(x)):
                raise ValueError(
                    f"flow: expected {len(x)} samples in {name}, as in x, got an array of shape {values.shape}"
                )
        if subset is not None:
            cut = int(len(x) * self.validation_split)
            parts = {"validation": slice(cut), "training": slice(cut, None)}
            if y is not None and not ignore_class_split:
                first, second = (np.unique(y[part]) for part in parts.values())
                if not np.array_equal(first, second):
                    raise ValueError(
                        "flow: the classes in y of the training and of the validation subset differ; shuffle the samples first"
                    )
            x, y, sample_weight = (
                None if values is None else values[parts[subset]] for values in (x, y, sample_weight)
            )
        if len(x) == 0:
            raise ValueError("flow: there is no sample" + (f" in the {subset} subset" if subset else ""))
        self._warn_if_unfitted()
        saving = save_to_dir, save_prefix, save_format
        return NumpyArrayIterator(self, x, y, sample_weight, int(batch_size), shuffle, seed, *saving)

    def flow_from_directory(
        self, directory: str | os.PathLike[str], target_size: Sequence[int] = (256, 256), color_mode: str = "rgb",
        classes: Sequence[str] | None = None, class_mode: str | None = "categorical", batch_size: int = 32,
        shuffle: bool = True, seed: int | None = None, save_to_dir: str | os.PathLike[str] | None = None, save_prefix: str = "",
        save_format: str = "png", follow_links: bool = False, subset: str | None = None, interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> "PictureIterator":  # fmt: skip
        """Batches, as of `flow`, of the pictures in a folder that has a folder for each class; `classes` names some of these.

        Targets are rows with a one ("categorical"), numbers of classes as float32 ("binary", "sparse"), or the images
        themselves ("input"); None: no targets. `subset` "validation" takes the first `validation_split` of each class's
        files. The other arguments are those of `load_img`, and of `flow`.

        All pictures are read now, and held in memory: ValueError for more than 2 GB, and for arguments that are none of
        these; DataError, a ValueError, for folders and pictures that are missing or cannot be read.
        """
        share = self._checked("flow_from_directory", batch_size, subset, class_mode, CLASS_MODES)
        check("flow_from_directory", PATH, directory=directory)
        found = files.in_folders(os.fspath(directory), classes, follow_links, share)
        print(f"Found {len(found.names)} images belonging to {len(found.class_indices)} classes.")
        reading = color_mode, target_size, interpolation, keep_aspect_ratio
        x = files.read("flow_from_directory", found, subset, *reading)
        self._warn_if_unfitted()
        saving = save_to_dir, save_prefix, save_format
        return PictureIterator(self, x, found, class_mode, int(batch_size), shuffle, seed, *saving)

    def flow_from_dataframe(
        self, dataframe: Any, directory: str | os.PathLike[str] | None = None, x_col: str = "filename",
        y_col: str | list[str] = "class", weight_col: str | None = None, target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb", classes: Sequence[str] | None = None, class_mode: str | None = "categorical",
        batch_size: int = 32, shuffle: bool = True, seed: int | None = None, save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "", save_format: str = "png", subset: str | None = None, interpolation: str = "nearest",
        validate_filenames: bool = True,
    ) -> "PictureIterator":  # fmt: skip
        """As `flow_from_directory`, of the pictures that a DataFrame names in a column `x_col`, in `directory` if there is one.

        The column `y_col` has the classes, strings; with `class_mode` "raw" it, or a list of columns, has the targets. The
        column `weight_col` has sample weights. `subset` "validation" takes the first `validation_split` of the rows. Rows of
        files that are not there are left out with a warning, unless not `validate_filenames`, and those of other `classes`.
        """
        modes = (*CLASS_MODES, "raw")
        share = self._checked("flow_from_dataframe", batch_size, subset, class_mode, modes)
        columns = x_col, y_col, weight_col
        found = files.in_table(
            dataframe, os.fspath(directory or ""), *columns, classes, class_mode, validate_filenames, share
        )
        belonging = f" belonging to {len(found.class_indices)} classes" if found.class_indices else ""
        print(f"Found {len(found.names)} {'' if validate_filenames else 'non-'}validated image filenames{belonging}.")
        x = files.read("flow_from_dataframe", found, subset, color_mode, target_size, interpolation, False)
        self._warn_if_unfitted()
        saving = save_to_dir, save_prefix, save_format
        return PictureIterator(self, x, found, class_mode, int(batch_size), shuffle, seed, *saving)

    def _checked(
        self, where: str, batch_size: Any, subset: Any, class_mode: Any = None, modes: Any = (None,)
    ) -> tuple[float, float]:
        """From where to where, of all samples, the subset goes."""
        check(where, COUNT, batch_size=batch_size)
        if subset not in (None, "training", "validation"):
            raise ValueError(f"{where}: subset must be 'training' or 'validation', not {subset!r}")
        if class_mode not in modes:
            raise ValueError(f"{where}: class_mode must be {' or '.join(map(repr, modes))}, not {class_mode!r}")
        split = self.validation_split
        return (split if subset == "training" else 0, split if subset == "validation" else 1)


class NumpyArrayIterator:
    """What `ImageDataGenerator.flow` returns: batches x, (x, y) or (x, y, sample_weight), x as float32.

    `flow[i]` is batch i of the present epoch, `next(flow)` the next of endlessly many; `len(flow)` batches are an epoch. A
    batch is a function of seed, epoch and i. While the caller is busy with one, helper threads make the two after it;
    an error in there reaches the caller who asks for that batch.
    """

    def __init__(
        self,
        generator: ImageDataGenerator,
        x: np.ndarray,
        y: np.ndarray | None,
        sample_weight: np.ndarray | None,
        batch_size: int,
        shuffle: bool,
        seed: int | None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
    ) -> None:
        self.image_data_generator = generator
        self.save_to_dir, self.save_prefix, self.save_format = save_to_dir, save_prefix, save_format
        self.x, self.y, self.sample_weight = _numbers(x), y, sample_weight
        self.n, self.batch_size, self.shuffle = len(x), batch_size, shuffle
        self.seed = _seed(seed)
        self.epoch = 0
        self.batch_index = 0  # of the batch that `next` takes
        self._mover = _Mover(self.x, generator.fill_mode, generator.cval)
        self._plans: dict[int, tuple[np.ndarray, Transform, np.ndarray]] = {}
        # by epoch, number, and the forks so far: helpers do not survive one
        self._ahead: dict[tuple[int, int, int], _Promise] = {}

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        check("flow", WHOLE, **{"the number of a batch": index})
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no batch {index}: an epoch has {len(self)}")
        return self._take(self.epoch, index % len(self))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = self._take(self.epoch, self.batch_index)
        self.batch_index += 1
        if self.batch_index == len(self):
            self.on_epoch_end()
        return batch

    def __getattr__(self, name: str) -> Any:
        hint = ": Keras 3 has dropped it, use next(iterator)" if name == "next" else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")

    def on_epoch_end(self) -> None:
        """Begins the next epoch: another order, other motions."""
        self.epoch, self.batch_index = self.epoch + 1, 0

    def reset(self) -> None:
        """`next` then begins an epoch: the next one, unless nothing has been taken of the present one."""
        if self.batch_index:
            self.on_epoch_end()

    def _take(self, epoch: int, index: int) -> Any:
        """A batch. Helpers make the next two ahead; so does the caller, while a helper makes this one."""
        taken, keys = (epoch, index), [(epoch, index, forks())]
        while get_threads() > 1 and len(keys) < 3:
            epoch, index = (epoch, index + 1) if index + 1 < len(self) else (epoch + 1, 0)
            keys.append((epoch, index, forks()))
        made, self._ahead = self._ahead, {}  # which stays empty if this is interrupted
        promises = {key: made.get(key) or _Promise(partial(self._batch, *key[:2])) for key in keys}
        wanted = promises.pop(keys[0])
        wanted.keep()
        for key, other in promises.items():
            if key in made and not wanted.over.is_set():
                other.keep()
        batch = wanted.get()
        for key, other in promises.items():
            if key not in made:
                hand_over(other.keep)
        self._ahead = promises
        if self.save_to_dir is not None:
            self._save(*taken, batch)
        return batch

    def _save(self, epoch: int, index: int, batch: Any) -> None:
        """Writes the images of a batch as pictures."""
        images = batch[0] if isinstance(batch, tuple) else batch
        rows = self._plan(epoch)[0][index * self.batch_size :]
        for row, image, number in zip(
            rows, images, np.random.default_rng().integers(10**7, size=len(images)), strict=False
        ):
            name = f"{self.save_prefix}_{row}_{number}.{self.save_format}"
            save_img(os.path.join(os.fspath(self.save_to_dir or ""), name), image)

    def _plan(self, epoch: int) -> tuple[np.ndarray, Transform, np.ndarray]:
        """The order of the samples in an epoch, and the motion of each."""
        plan = self._plans.get(epoch)
        if plan is None:
            order = np.arange(self.n)
            if self.shuffle:
                order = generator(self.seed, epoch).permutation(self.n)
            transform = self.image_data_generator._draw(self.x.shape[1:], self.n, (self.seed, epoch, PARAMETERS))
            plan = order, transform, _matrices(transform, *self.x.shape[1:3])
            before = {number: known for number, known in self._plans.items() if number == epoch - 1}
            self._plans = before | {epoch: plan}
        return plan

    def _batch(self, epoch: int, index: int) -> Any:
        order, transform, matrices = self._plan(epoch)
        rows = order[index * self.batch_size : (index + 1) * self.batch_size]
        own = {name: None if values is None else values[rows] for name, values in transform.items()}
        images = _recolour(self._mover(rows, matrices[rows]), own)
        images = self.image_data_generator._standardized(images)
        rest = [values[rows] for values in (self.y, self.sample_weight) if values is not None]
        return (images, *rest) if rest else images


class PictureIterator(NumpyArrayIterator):
    """What `flow_from_directory` and `flow_from_dataframe` return: batches as of `flow`, of pictures that are read before.

    `filenames` below the folder, and `filepaths` with it; `class_indices`, the number of each class by name, `num_classes`
    of them; `classes` or `labels` (N,), the number of each picture's, or its raw target; `samples` or `n`, and `image_shape`.
    """

    def __init__(
        self, generator: ImageDataGenerator, x: np.ndarray, found: files.Files, class_mode: str | None, *flow: Any
    ) -> None:
        self.filenames, self.filepaths, self.class_mode = found.names, found.paths, class_mode
        self.class_indices, self.num_classes = found.class_indices, len(found.class_indices)
        self.classes = self.labels = found.labels
        self.samples, self.image_shape = len(x), x.shape[1:]
        y = found.labels if class_mode == "raw" else None
        if class_mode == "categorical":
            y = np.eye(self.num_classes, dtype=np.float32)[found.labels]
        elif class_mode in ("binary", "sparse"):
            y = np.asarray(found.labels, np.float32)
        super().__init__(generator, x, y, None if class_mode is None else found.weights, *flow)

    def _batch(self, epoch: int, index: int) -> Any:
        batch = super()._batch(epoch, index)
        if self.class_mode != "input":
            return batch
        images, *rest = batch if isinstance(batch, tuple) else (batch,)
        return images, images.copy(), *rest


class _Promise:
    """Something that is made once, by whoever comes first: the helper that it was handed to, or the one who wants it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make, self.begun, self.over = make, Lock(), Event()
        self.error: BaseException | None = None

    def keep(self) -> None:
        """Makes it, unless that has begun."""
        if self.begun.acquire(blocking=False):
            try:
                self.value = self.make()
            except BaseException as error:
                self.error = error
            del self.make  # which leads back to the iterator
            self.over.set()
            if isinstance(self.error, KeyboardInterrupt):  # of the caller, who may not want what was made
                raise self.error

    def get(self) -> Any:
        self.keep()
        self.over.wait()
        if self.error is not None:
            raise self.error
        return self.value


# ---------------------------------------------------------------------- arguments


def _wrong(name: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"ImageDataGenerator: {name} must be {expected}, not {value!r}")


def _number(name: str, value: Any) -> float:
    check("ImageDataGenerator", FINITE, **{name: value})
    return float(value)


def _pair(name: str, value: Any) -> tuple[float, float]:
    check("ImageDataGenerator", PAIR, **{name: value})
    return float(value[0]), float(value[1])


def _shifts(name: str, value: Any) -> int | float | list[float]:
    """An int, a float, or a list of float."""
    if isinstance(value, Sequence | np.ndarray) and len(value) and all(map(is_number, value)):
        return [float(amount) for amount in value]
    check("ImageDataGenerator", ("a number from 0 on or a list of numbers", FINITE[1]), **{name: value})
    return int(value) if is_whole(value) else float(value)


def _seed(value: Any) -> int:
    """`value`, or a new seed for None."""
    if value is None:
        return new_seed()
    kind = "a whole number from 0 to below 2**64", lambda seed: is_whole(seed) and 0 <= seed < 2**64
    check("ImageDataGenerator", kind, **{"a seed": value})
    return int(value)


def _rank(where: str, x: Any, rank: int) -> np.ndarray:
    expected = f"{where}: expected numbers in an array {'(H, W, C)' if rank == 3 else '(N, H, W, C)'}"
    try:
        x = np.asarray(x)
    except ValueError:
        raise ValueError(f"{expected}, got arrays of different shapes") from None
    if x.ndim != rank or x.dtype.kind not in "buif":
        raise ValueError(f"{expected}, got {x.dtype} of shape {x.shape}")
    return x


__getattr__, _absent = without(__name__, "", {
    "load_img resizes pictures": "smart_resize",
    "flow_from_directory and flow_from_dataframe of an ImageDataGenerator give batches of pictures in files": """
        DirectoryIterator DataFrameIterator Iterator""",
    "it is an argument of ImageDataGenerator, or a layer": """
        random_rotation random_shift random_shear random_zoom random_brightness random_channel_shift apply_affine_transform
        apply_brightness_shift apply_channel_shift""",
})  # fmt: skip

__all__ = [
    "ImageDataGenerator", "NumpyArrayIterator", "array_to_img", "img_to_array", "load_img", "save_img", *_absent,
]  # fmt: skip

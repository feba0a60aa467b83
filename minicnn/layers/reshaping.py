"""Layers that only rearrange: Input, Identity, ActivityRegularization, Flatten, Reshape, Permute, ZeroPadding2D, Cropping2D."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..checks import SIZES, Kind, check, whole
from ..ops.reference import Array, Pads
from ..regularizers import L1L2
from .base import Layer, Shape, channels_last
from .symbolic import Symbol

RESHAPED: Kind = "a tuple of sizes, one of which may be -1", lambda shape: all(map(whole("", -1)[1], shape))
PERMUTED: Kind = "the numbers from 1 on in some order", lambda dims: sorted(dims) == list(range(1, len(dims) + 1))


class InputLayer(Symbol, Layer):
    """The shape of one sample, as the first entry of a model: Input((28, 28, 1)). y = x

    `Input` is the usual name of it. `shape` may also be given as `input_shape`, or with the batch axis as `batch_shape`. A
    `dtype` of whole numbers, which are those of pixels, is taken for float32: in that layers calculate.
    """

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        **options: Any,
    ) -> None:
        if shape is not None:
            check(f"layer {options.get('name') or 'input_layer'}", SIZES, shape=shape)
            options["input_shape"] = shape
        if getattr(dtype, "__name__", str(dtype)).startswith(("uint", "int", "bool")):
            dtype = None  # of whole numbers, which become floats
        lacked = {name: options.pop(name, None) for name in ("sparse", "ragged", "tensor", "optional", "type_spec")}
        super().__init__(dtype=dtype, batch_size=batch_size, **options)
        self.refuse(activity_regularizer=self.activity_regularizer)
        self.refuse(**{name: value for name, value in lacked.items() if value is not False})
        if self.given_shape is None:
            raise ValueError(f"layer {self.name}: an Input needs the shape of one sample, such as Input((28, 28, 1))")
        self.shape = self.given_shape

    def build(self, input_shape: Sequence[int | None] = ()) -> None:
        super().build(self.shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.check_input(x)

    def backward(self, dy: Array) -> Array:
        return dy

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"shape": self.shape[1:], "batch_size": self.batch_size}


Input = InputLayer  # of which Keras makes two


class Identity(Layer):
    """y = x"""

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.check_input(x)

    def backward(self, dy: Array) -> Array:
        return dy


class ActivityRegularization(Identity):
    """y = x, with the penalty (l1 Σ|x| + l2 Σx²) / N in the model's loss, N being the samples of the batch"""

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(activity_regularizer=L1L2(l1, l2), **options)
        self.l1, self.l2 = l1, l2

    def get_config(self) -> dict[str, Any]:
        config = super().get_config() | {"l1": self.l1, "l2": self.l2}
        del config["activity_regularizer"]
        return config


class Flatten(Layer):
    """(N, …) to (N, the product of the rest)"""

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(self, data_format)

    def forward(self, x: Array, training: bool = False) -> Array:
        x = self.check_input(x)
        self.shape = x.shape
        return x.reshape(len(x), self.output_shape[1])

    def backward(self, dy: Array) -> Array:
        return dy.reshape(self.shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], prod(n for n in input_shape[1:] if n is not None)


class Reshape(Layer):
    """(N, …) to (N, *target_shape), one size of which may be -1; ValueError where the numbers of a sample do not fit"""

    shaping = ("target_shape",)

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        check(f"layer {self.name}", RESHAPED, target_shape=target_shape)
        self.target_shape = tuple(map(int, target_shape))

    def forward(self, x: Array, training: bool = False) -> Array:
        self.shape = x.shape
        return self.check_input(x).reshape(len(x), *self.output_shape[1:])

    def backward(self, dy: Array) -> Array:
        return dy.reshape(self.shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size, known = prod(n for n in input_shape[1:] if n is not None), prod(n for n in self.target_shape if n != -1)
        if (
            self.target_shape.count(-1) > 1
            or known < 1
            or size % known
            or (-1 not in self.target_shape and size != known)
        ):
            raise ValueError(
                f"layer {self.name}: an input of shape {input_shape} cannot be reshaped to {self.target_shape}"
            )
        return input_shape[0], *(size // known if n == -1 else n for n in self.target_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"target_shape": self.target_shape}


class Permute(Layer):
    """(N, …) with its other axes in the order `dims`, in which the first of them is 1: Permute((2, 1)) transposes samples"""

    shaping = ("dims",)

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        check(f"layer {self.name}", PERMUTED, dims=dims)
        self.dims = tuple(map(int, dims))

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.ops.xp.ascontiguousarray(self.check_input(x).transpose(0, *self.dims))

    def backward(self, dy: Array) -> Array:
        back = [1 + self.dims.index(axis) for axis in range(1, dy.ndim)]
        return self.ops.xp.ascontiguousarray(dy.transpose(0, *back))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != len(self.dims) + 1:
            raise ValueError(
                f"layer {self.name}: dims {self.dims} are for {len(self.dims)} axes beside the batch, the input has shape {input_shape}"
            )
        return input_shape[0], *(input_shape[axis] for axis in self.dims)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"dims": self.dims}


def four_sides(layer: Layer, given: Any, name: str) -> Pads:
    """((top, bottom), (left, right)) from these, from (rows, columns), or from one number; else ValueError."""
    both = given if np.iterable(given) else (given, given)
    sides: Any = tuple(tuple(side) if np.iterable(side) else (side, side) for side in both)
    if len(sides) != 2 or not all(
        len(side) == 2 and all(isinstance(n, int | np.integer) and n >= 0 for n in side) for side in sides
    ):
        raise ValueError(
            f"layer {layer.name}: {name} must be a number, (rows, columns) or ((top, bottom), (left, right)), not {given!r}"
        )
    (top, bottom), (left, right) = sides
    return (int(top), int(bottom)), (int(left), int(right))


class ZeroPadding2D(Layer):
    """Zeros around an image: padding is one number, (rows, columns), or ((top, bottom), (left, right))"""

    input_rank = 4
    shaping = ("padding",)

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(self, data_format)
        self.padding = four_sides(self, padding, "padding")

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.ops.pad2d(self.check_input(x), self.padding)

    def backward(self, dy: Array) -> Array:
        return self.ops.pad2d_backward(dy, self.padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        (top, bottom), (left, right) = self.padding
        N, H, W, C = input_shape
        return N, top + H + bottom, left + W + right, C

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"padding": self.padding}


class Cropping2D(Layer):
    """An image without its border: cropping is one number, (rows, columns), or ((top, bottom), (left, right))"""

    input_rank = 4
    shaping = ("cropping",)

    def __init__(self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(self, data_format)
        self.cropping = four_sides(self, cropping, "cropping")

    def forward(self, x: Array, training: bool = False) -> Array:
        (top, bottom), (left, right) = self.cropping
        _, H, W, _ = x.shape
        return self.ops.xp.ascontiguousarray(self.check_input(x)[:, top : H - bottom, left : W - right])

    def backward(self, dy: Array) -> Array:
        return self.ops.pad2d(dy, self.cropping)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        N, H, W, C = input_shape
        height, width = (length - sum(cut) for length, cut in zip((H, W), self.cropping, strict=True))
        if height < 1 or width < 1:
            raise ValueError(
                f"layer {self.name}: cropping {self.cropping} leaves nothing of an input of shape {input_shape}"
            )
        return N, height, width, C

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"cropping": self.cropping}

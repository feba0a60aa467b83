"""Operations of the CPU as instructions on a tape: which kernel, over what, with which sizes.

What a convolution and a dense layer are made of is in `cpu_convolution.py` and `cpu_dense.py`.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..kernels import activation, arrays, augment, normalization, optimizers, penalties, pooling, random, softmax
from ..kernels.simd import lanes
from ..tape import FRESH, LANES, Buffer, Each, Part, Place, Steps, Tape, Times, cut
from .reference import FILL_MODES, LEAST_VARIANCE, Array, Key, Pads, Pair, drop_threshold


def each(place: Place) -> int:
    """Numbers per item."""
    return prod(place.shape[1:])


def add_up(tape: Tape, parts: Buffer, total: Place, skip: int = 0) -> None:
    """total = Σ parts, along the first axis of the parts, of which each begins with `skip` numbers of something else."""
    numbers = total.nbytes // total.dtype.itemsize
    tape.add(
        arrays.add_rows, numbers, cut(numbers, unit=LANES), 0,
        rows=parts, number=len(parts), stride=parts.each, total=total, first=Times(1), skip=skip,
    )  # fmt: skip


def rescale(tape: Tape, x: Place, y: Place, scale: float, offset: float) -> None:
    tape.add(arrays.rescale, len(x), x=Each(x), y=Each(y), image=each(x), scale=float(scale), offset=float(offset))


def relu(tape: Tape, x: Place, y: Place) -> None:
    tape.add(activation.relu, len(x), x=Each(x), y=Each(y), each=each(x))


def relu_backward(tape: Tape, dy: Place, y: Place, dx: Place) -> None:
    tape.add(activation.relu_backward, len(y), dy=Each(dy), y=Each(y), dx=Each(dx), each=each(y))


def erf(tape: Tape, x: Array, y: Array) -> None:
    tape.add(activation.erf, x.size, cut(x.size, unit=LANES), 0, x=Each(x), y=Each(y))


def prelu(tape: Tape, x: Place, alpha: Array, y: Place) -> None:
    C = alpha.size
    tape.add(activation.prelu, len(x), x=Each(x), alpha=alpha, y=Each(y), rows=each(x) // C, C=C)


def prelu_backward(tape: Tape, dy: Place, x: Place, alpha: Array, dx: Place, dalpha: Array | None) -> None:
    C = alpha.size
    parts = None if dalpha is None else tape.whole(tape.parts(len(x)), C)
    tape.add(
        activation.prelu_backward, len(x), fresh=FRESH, dy=Each(dy), x=Each(x), alpha=alpha, dx=Each(dx),
        part=0 if parts is None else Part(parts), rows=each(x) // C, C=C,
    )  # fmt: skip
    if parts is not None and dalpha is not None:
        add_up(tape, parts, dalpha)


def key_array(key: Key) -> np.ndarray:
    """(seed, step, layer) as a kernel reads them."""
    return np.array([key[0] & 0xFFFFFFFFFFFFFFFF, key[1], key[2]], np.uint64)


def dropout(tape: Tape, x: Place, y: Place, rate: float, key: np.ndarray | Steps) -> None:
    """`key` is (seed, step, layer) as uint64; the gradient is the same map of dy."""
    numbers = each(x)
    tape.add(
        random.dropout, len(x), x=Each(x), y=Each(y), first=Times(numbers), each=numbers, key=key,
        threshold=drop_threshold(rate), scale=1.0 / (1.0 - float(rate)),
    )  # fmt: skip


def times_channels(tape: Tape, x: Place, factor: Place, y: Place) -> None:
    """Each channel of each image times a number, factor (N, C)."""
    C = factor.shape[1]
    tape.add(random.times_channels, len(x), x=Each(x), factor=Each(factor), y=Each(y), rows=each(x) // C, C=C)


def gaussian_noise(tape: Tape, x: Place, y: Place, stddev: float, key: np.ndarray | Steps) -> None:
    numbers = each(x)
    tape.add(
        random.gaussian_noise, len(x), x=Each(x), y=Each(y), first=Times(numbers), each=numbers, key=key, stddev=float(stddev)
    )  # fmt: skip


def affine(
    tape: Tape,
    x: Place,
    matrices: Place | Steps,
    y: Place,
    fill_mode: str,
    fill_value: float,
    field: Place | None = None,
) -> None:
    _, H, W, C = x.shape
    tape.add(
        augment.affine, len(x), x=Each(x), matrices=Each(matrices), field=0 if field is None else Each(field), y=Each(y),
        H=H, W=W, C=C, mode=FILL_MODES.index(fill_mode), fill_value=float(fill_value),
    )  # fmt: skip


def moment_maps(tape: Tape, x: Place, maps: Place, width: float, factors: tuple[float, float]) -> None:
    """`maps` are float64."""
    _, H, W, C = x.shape
    tape.add(
        augment.moment_maps, len(x), x=Each(x), maps=Each(maps), H=H, W=W, C=C,
        width=float(width), least=float(factors[0]), most=float(factors[1]), tiny=LEAST_VARIANCE,
    )  # fmt: skip


def reach(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The largest distances with a weight, as a kernel reads them."""
    return np.array([np.flatnonzero(weights).max(initial=0) for weights in (rows, columns)], np.int64)


def random_field(tape: Tape, settings: Sequence[np.ndarray | Steps], field: Place) -> None:
    """`settings`: rows, columns, their `reach`, strength, and a key as for `dropout`; floats are of the tape's type."""
    rows, columns, reach, strength, key = settings
    _, _, H, W = field.shape
    tape.add(
        augment.random_field, len(field), rows=rows, columns=columns, reach=reach, strength=Each(strength), key=key,
        noise=tape.scratch(2 * H + 12, W), field=Each(field), first=Times(1), H=H, W=W,
    )  # fmt: skip


def blur(
    tape: Tape,
    x: Place,
    rows: np.ndarray | Steps,
    columns: np.ndarray | Steps,
    reach: np.ndarray | Steps,
    chosen: np.ndarray | Steps,
    y: Place,
) -> None:
    """`reach` is that of rows and columns; `chosen` are int64, 0 for an image that is copied."""
    _, H, W, C = x.shape
    tape.add(
        augment.blur, len(x), x=Each(x), rows=rows, columns=columns, reach=reach, chosen=Each(chosen),
        lines=tape.scratch(12, W, C), y=Each(y), H=H, W=W, C=C,
    )  # fmt: skip


def erase(
    tape: Tape,
    x: Place,
    boxes: np.ndarray | Steps,
    fill: np.ndarray | None,
    limits: tuple[float, float],
    key: np.ndarray | Steps | int,
    y: Place,
) -> None:
    """`boxes` are int64, `fill` (C,) float64; `key`, as for `dropout`, is used where that is None."""
    _, H, W, C = x.shape
    tape.add(
        augment.erase, len(x), x=Each(x), boxes=Each(boxes), fill=0 if fill is None else fill, key=key, y=Each(y),
        first=Times(H * W * C), H=H, W=W, C=C, least=float(limits[0]), most=float(limits[1]),
    )  # fmt: skip


def random_noise(tape: Tape, x: Place, levels: np.ndarray | Steps, key: np.ndarray | Steps, y: Place) -> None:
    """`levels` are float64."""
    numbers = each(x)
    tape.add(
        augment.random_noise, len(x), x=Each(x), levels=Each(levels), key=key, y=Each(y), first=Times(numbers), each=numbers
    )  # fmt: skip


def copy(tape: Tape, x: Place, y: Place | Steps) -> None:
    size = each(x) * x.dtype.itemsize
    tape.add(
        arrays.move_lines, len(x), x=Each(x), y=Each(y), x_corner=0, y_corner=0, cleared=0, lines=1, line=size,
        x_image=size, x_line=size, y_image=size, y_line=size,
    )  # fmt: skip


def pad(tape: Tape, x: Place, y: Place, pads: Pads) -> None:
    """Copies images to the inside of larger ones, with zeros around."""
    size, (_, H, W, C), (_, PH, PW, _) = x.dtype.itemsize, x.shape, y.shape
    corner = size * (pads[0][0] * PW + pads[1][0]) * C
    tape.add(
        arrays.move_lines, len(x), x=Each(x), y=Each(y), x_corner=0, y_corner=corner, cleared=1, lines=H, line=size * W * C,
        x_image=size * H * W * C, x_line=size * W * C, y_image=size * PH * PW * C, y_line=size * PW * C,
    )  # fmt: skip


def crop(tape: Tape, x: Place, y: Place, pads: Pads) -> None:
    """The other way round."""
    size, (_, PH, PW, C), (_, H, W, _) = x.dtype.itemsize, x.shape, y.shape
    corner = size * (pads[0][0] * PW + pads[1][0]) * C
    tape.add(
        arrays.move_lines, len(x), x=Each(x), y=Each(y), x_corner=corner, y_corner=0, cleared=0, lines=H, line=size * W * C,
        x_image=size * PH * PW * C, x_line=size * PW * C, y_image=size * H * W * C, y_line=size * W * C,
    )  # fmt: skip


# ---------------------------------------------------------------------- pooling


def _window(
    x_shape: tuple[int, ...], y_shape: tuple[int, ...], size: Pair, strides: Pair, pads: Pads
) -> dict[str, int]:
    _, H, W, C = x_shape
    return {
        "H": H, "W": W, "C": C, "KH": size[0], "KW": size[1], "SH": strides[0], "SW": strides[1],
        "top": pads[0][0], "left": pads[1][0], "OH": y_shape[1], "OW": y_shape[2],
    }  # fmt: skip


def winner_type(size: Pair, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Of the numbers of the pixels of a window."""
    return np.dtype(np.uint8) if prod(size) < pooling.NOBODY else np.dtype(dtype)


def max_pool(
    tape: Tape, x: Place, y: Place, winner: Place | None, size: Pair, strides: Pair, pads: Pads, positive: bool = False
) -> None:
    """`winner` is None where no gradient is wanted; `positive`: a ReLU comes before or after, whose gradient stops here."""
    sizes = _window(x.shape, y.shape, size, strides, pads)
    kernel = pooling.max_pool_four if _four_inside(**sizes) else pooling.max_pool
    sizes["wide"] = int(winner is not None and winner.dtype != np.uint8)
    tape.add(
        kernel, len(x), x=Each(x), y=Each(y), winner=0 if winner is None else Each(winner), positive=int(positive),
        **{name: sizes[name] for name in kernel.names if name in sizes},
    )  # fmt: skip


def max_pool_backward(tape: Tape, dy: Place, winner: Place, dx: Place, size: Pair, strides: Pair, pads: Pads) -> None:
    sizes = _window(dx.shape, dy.shape, size, strides, pads)
    four = _four_inside(**sizes) and min(strides) >= 2
    kernel = pooling.max_pool_four_backward if four else pooling.max_pool_backward
    sizes["wide"] = int(winner.dtype != np.uint8)
    tape.add(
        kernel, len(dx), dy=Each(dy), winner=Each(winner), dx=Each(dx),
        **{name: sizes[name] for name in kernel.names if name in sizes},
    )  # fmt: skip


def _four_inside(
    H: int, W: int, KH: int, KW: int, SH: int, SW: int, top: int, left: int, OH: int, OW: int, **others: int
) -> bool:
    """Whether all windows are of 2×2 pixels and none reaches beyond the image."""
    inside = (OH - 1) * SH + 2 <= H and (OW - 1) * SW + 2 <= W
    return KH == KW == 2 and top == left == 0 and inside


def avg_pool(tape: Tape, x: Place, y: Place, size: Pair, strides: Pair, pads: Pads) -> None:
    sizes = _window(x.shape, y.shape, size, strides, pads)
    kernel = pooling.avg_pool_four if _four_inside(**sizes) else pooling.avg_pool
    tape.add(kernel, len(x), x=Each(x), y=Each(y), **{name: sizes[name] for name in kernel.names if name in sizes})


def avg_pool_backward(tape: Tape, dy: Place, dx: Place, size: Pair, strides: Pair, pads: Pads) -> None:
    sizes = _window(dx.shape, dy.shape, size, strides, pads)
    four = _four_inside(**sizes) and min(strides) >= 2
    kernel = pooling.avg_pool_four_backward if four else pooling.avg_pool_backward
    tape.add(kernel, len(dx), dy=Each(dy), dx=Each(dx), **{name: sizes[name] for name in kernel.names if name in sizes})


# ---------------------------------------------------------------------- batch normalisation


class Moments(NamedTuple):
    """What a batch normalisation finds per channel, each an array (C,)."""

    mean: Array
    variance: Array
    inverse: Array  # 1 / √(variance + ε)
    scale: Array  # γ · inverse
    dgamma: Array
    dbeta: Array
    along_one: Array  # what the gradient loses, since the mean and the variance depend on x too
    along_x: Array

    @classmethod
    def of(cls, channels: int, dtype: str) -> "Moments":
        return cls(*np.zeros((len(cls._fields), channels), dtype))


def batch_moments(tape: Tape, x: Place, gamma: Array, epsilon: float, found: Moments) -> None:
    C = x.shape[-1]
    parts = tape.whole(tape.parts(len(x)), 2 * C + 1)
    tape.add(normalization.moments, len(x), fresh=FRESH, x=Each(x), part=Part(parts), rows=each(x) // C, C=C)
    tape.add(
        normalization.combine_moments, C, (0, C), 0, parts=parts, number=len(parts), gamma=gamma, mean=found.mean,
        variance=found.variance, inverse=found.inverse, scale=found.scale, first=Times(1), C=C, epsilon=float(epsilon),
    )  # fmt: skip


def scale_rows(tape: Tape, x: Place, mean: Array, scale: Array, shift: Array, y: Place, relu: bool = False) -> None:
    C = x.shape[-1]
    tape.add(
        normalization.scale_rows, len(x), x=Each(x), mean=mean, scale=scale, shift=shift, y=Each(y), rows=each(x) // C, C=C,
        relu=int(relu),
    )  # fmt: skip


def gradient_sums(
    tape: Tape, dy: Place, x: Place, found: Moments, dgamma: Array, dbeta: Array, shift: Array | None = None
) -> None:
    """The gradients of γ and β, and what `input_gradient` takes off.

    `shift` is β where a ReLU followed, of whose result dy is the gradient.
    """
    C = x.shape[-1]
    rows = each(x) // C
    parts = tape.whole(tape.parts(len(x)), 2 * C)
    tape.add(
        normalization.gradient_sums, len(x), fresh=FRESH, part=Part(parts), dy=Each(dy), x=Each(x), mean=found.mean,
        scale=found.scale, shift=0 if shift is None else shift, rows=rows, C=C,
    )  # fmt: skip
    tape.add(
        normalization.combine_sums, C, (0, C), 0, parts=parts, number=len(parts), inverse=found.inverse,
        dgamma=dgamma, dbeta=dbeta, along_one=found.along_one, along_x=found.along_x, first=Times(1), C=C,
        rows=len(x) * rows,
    )  # fmt: skip


def input_gradient(tape: Tape, dy: Place, x: Place, dx: Place, found: Moments, shift: Array | None = None) -> None:
    C = x.shape[-1]
    tape.add(
        normalization.input_gradient, len(x), dy=Each(dy), x=Each(x), mean=found.mean, scale=found.scale,
        shift=0 if shift is None else shift, along_one=found.along_one, along_x=found.along_x, dx=Each(dx),
        rows=each(x) // C, C=C,
    )  # fmt: skip


def batch_norm(tape: Tape, x: Array, gamma: Array, beta: Array, y: Array, found: Moments, epsilon: float) -> None:
    batch_moments(tape, x, gamma, epsilon, found)
    scale_rows(tape, x, found.mean, found.scale, beta, y)


def batch_norm_backward(tape: Tape, dy: Array, x: Array, dx: Array, found: Moments) -> None:
    gradient_sums(tape, dy, x, found, found.dgamma, found.dbeta)
    input_gradient(tape, dy, x, dx, found)


# ---------------------------------------------------------------------- penalties


def penalize(tape: Tape, w: Array, g: Array | None, l1: float, l2: float) -> Buffer:
    """Returns where the penalty of a flat w will be, as the sum of all numbers there."""
    cuts = cut(w.size, unit=LANES)
    parts = tape.whole(len(cuts) - 1, lanes(w.dtype))
    tape.add(
        penalties.penalize, w.size, cuts, 0, w=Each(w), g=0 if g is None else Each(g), part=Part(parts),
        l1=float(l1), l2=float(l2),
    )  # fmt: skip
    return parts


# ---------------------------------------------------------------------- loss and optimizers


def softmax_cross_entropy(
    tape: Tape, scores: Place, targets: Place | Steps, losses: Place | Steps, probabilities: Place
) -> None:
    tape.add(
        softmax.softmax_cross_entropy, len(scores), scores=Each(scores), targets=Each(targets), losses=Each(losses),
        probabilities=Each(probabilities), K=scores.shape[-1],
    )  # fmt: skip


def softmax_gradient(
    tape: Tape, probabilities: Place, targets: Place | Steps, weights: Place | Steps, gradient: Place
) -> None:
    tape.add(
        softmax.gradient, len(probabilities), probabilities=Each(probabilities), targets=Each(targets), weights=Each(weights),
        gradient=Each(gradient), K=probabilities.shape[-1],
    )  # fmt: skip


def optimize(tape: Tape, name: str, arrays: Sequence[Array | None], settings: np.ndarray | Steps) -> None:
    """The operation of this name on flat arrays of one size (one that is not kept is None), which change in place.

    `settings` are the float64 numbers that follow the arrays in that operation.
    """
    first = arrays[0]
    assert first is not None
    kernel, cuts = getattr(optimizers, name), cut(first.size, unit=LANES)
    named: dict[str, Any] = {
        key: 0 if array is None else Each(array) for key, array in zip(kernel.names, arrays, strict=False)
    }
    if kernel is optimizers.clip_norm:
        sums = tape.whole(len(cuts) - 1, lanes(np.dtype(tape.dtype)))
        tape.add(optimizers.square_sums, first.size, cuts, 0, g=Each(first), part=Part(sums))
        named |= {"sums": sums, "number": prod(sums.shape)}
    tape.add(kernel, first.size, cuts, 0, **named, settings=settings)

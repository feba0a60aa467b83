"""What `gpu-kernels` and `gpu-convolutions` measure: every operation with its shape, its work, and the same in PyTorch.

Images repeat after a few, which changes no time: so a result can be checked by computing those few in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

import numpy as np

from minicnn import Conv2D, MaxPooling2D, get_ops

from . import convolution, networks, peers
from .report import Runner
from .timing import check

DEVICE = "cuda"  # of PyTorch
FEW = 2  # images that differ
TOLERANCE = 5e-3  # of products, whose factors are rounded to TF32, in units of the largest result
EXACT = 1e-4
BATCHES = 128, 1024
LARGE = (  # pixels along a side, channels, images
    (56, 64, 256), (56, 128, 256), (56, 256, 256), (112, 64, 128), (112, 128, 64), (224, 64, 32),
)  # fmt: skip
Maker = Callable[[], Runner]  # makes arrays, and what works on them


@dataclass(frozen=True)
class Case:
    """One row: `ours` and `theirs` make what is timed; `less` what `ours` does besides, whose time is taken off.

    `flop` counts two per multiply-add of the definition, `bytes` every input and every output once.
    """

    kernel: str
    size: str
    bytes: float
    ours: Callable[[Any], Runner]  # of the operations
    check: Callable[[Any], None]
    theirs: list[Maker] = field(default_factory=list)
    flop: float = 0.0
    less: Callable[[Any], Runner] | None = None


@cache
def kernels() -> list[Case]:
    found: list[Case] = []
    for batch in BATCHES:
        for layer, _ in convolution.layers():
            found += convolutions(layer, batch)
        for shape in ((9216, 128), (3136, 256), (128, 10)):
            found += dense(batch, *shape)
        for image in pooled():
            found += pooling((batch, *image))
        found += [
            *batch_norm((batch, 26, 26, 32)),
            *softmax(batch, 10),
            *dropout((batch, 12, 12, 64)),
            affine((batch, 28, 28, 1)),
            gather((batch, 28, 28, 1)),
        ]
    return [*found, adam(networks.build("lenet").count_params()), adam(networks.build("example").count_params())]


@cache
def large() -> list[Case]:
    found = []
    for side, channels, batch in LARGE:
        found += convolutions(convolution.alone((None, side, side, channels), channels, 3), batch)
    return found


def pooled() -> list[tuple[int, ...]]:
    """The different images that the reference networks pool."""
    layers = [layer for name in networks.NETWORKS for layer in networks.build(name).layers]
    return list(dict.fromkeys(layer.input_shape[1:] for layer in layers if isinstance(layer, MaxPooling2D)))


# ---------------------------------------------------------------------- arrays


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def repeated(ops: Any, few: np.ndarray, count: int) -> Any:
    """So many images on the device."""
    return ops.xp.ascontiguousarray(ops.xp.concatenate([ops.array(few)] * -(-count // len(few)))[:count])


def tensor(few: np.ndarray, count: int, memory_format: Any) -> Any:
    """The same in PyTorch, laid out in this format."""
    torch = peers.torch
    images = torch.from_numpy(few).permute(0, 3, 1, 2).to(DEVICE).repeat(-(-count // len(few)), 1, 1, 1)[:count]
    return torch.empty(images.shape, memory_format=memory_format, device=DEVICE).copy_(images)


def there(array: np.ndarray) -> Any:
    return peers.torch.from_numpy(np.ascontiguousarray(array)).to(DEVICE)


def text(*sizes: int) -> str:
    return "×".join(map(str, sizes))


def compare(what: str, ops: Any, results: Any, expected: Any, tolerance: float) -> None:
    """Raises Failure unless arrays on the device agree with those expected."""
    for number, (result, right) in enumerate(zip(results, expected, strict=True), start=1):
        check(f"result {number} of {what}", ops.numpy(result), right, tolerance)


def double(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


# ---------------------------------------------------------------------- products


def convolutions(layer: Conv2D, batch: int) -> list[Case]:
    """Forward and both gradients; that of the input is not asked for on its own: its time is that of both less the other."""
    assert layer.bias is not None
    kernel, bias, where = layer.kernel.value, layer.bias.value, (layer.strides, layer.pads, (1, 1))
    x = normal(FEW, *layer.input_shape[1:])
    dy = normal(FEW, *layer.output_shape[1:], seed=1)
    x_bytes, y_bytes = 4 * batch * x[0].size, 4 * batch * dy[0].size
    size, reference = f"{batch}: {convolution.title(layer)}", get_ops("reference")

    def forward(ops: Any) -> Runner:
        images, weights, offset = repeated(ops, x, batch), ops.array(kernel), ops.array(bias)
        return lambda: ops.conv2d(images, weights, offset, *where)

    def backward(input_gradient: bool) -> Callable[[Any], Runner]:
        def make(ops: Any) -> Runner:
            gradient, weights = repeated(ops, dy, batch), ops.array(kernel)
            _, saved = forward(ops)()
            return lambda: ops.conv2d_backward(gradient, weights, saved, input_gradient)

        return make

    @cache
    def right() -> tuple[Any, ...]:
        y, saved = reference.conv2d(*double(x, kernel, bias), *where)
        return y, *reference.conv2d_backward(*double(dy, kernel), saved)

    def check_forward(ops: Any) -> None:
        y = forward(ops)()[0]
        compare(f"convolution {size}", ops, (y[:FEW], y[-FEW:]), right()[:1] * 2, TOLERANCE)

    def check_kernel(ops: Any) -> None:
        _, dkernel, dbias = backward(False)(ops)()
        share = batch / FEW
        compare(f"weight gradient {size}", ops, (dkernel, dbias), [share * r for r in right()[2:]], TOLERANCE)

    def check_input(ops: Any) -> None:
        dx = backward(True)(ops)()[0]
        compare(f"data gradient {size}", ops, (dx[:FEW], dx[-FEW:]), right()[1:2] * 2, TOLERANCE)

    def peer(kind: str) -> list[Maker]:
        padding, strides = [max(pair) for pair in layer.pads], layer.strides

        def maker(memory_format: Any) -> Maker:
            def make() -> Runner:
                torch, functional = peers.torch, peers.nn.functional
                image, gradient = tensor(x, batch, memory_format), tensor(dy, batch, memory_format)
                weight, offset = tensor(kernel.transpose(3, 0, 1, 2), len(bias), memory_format), there(bias)
                if kind == "forward":
                    return lambda: functional.conv2d(image, weight, offset, strides, padding)
                wanted = [True, False, False] if kind == "data" else [False, True, True]
                settings = [len(bias)], strides, padding, [1, 1], False, [0, 0], 1, wanted
                return lambda: torch.ops.aten.convolution_backward(gradient, image, weight, *settings)

            return make

        return [maker(memory_format) for memory_format in peers.formats()]

    flop, moved = 2.0 * batch * layer.multiply_adds(), float(x_bytes + y_bytes + kernel.nbytes)
    found = [
        Case("convolution forward", size, moved, forward, check_forward, peer("forward"), flop),
        Case("convolution weight gradient", size, moved, backward(False), check_kernel, peer("weights"), flop),
    ]
    if convolution.has_input_gradient(layer):
        both, less = backward(True), backward(False)
        found.append(Case("convolution data gradient", size, moved, both, check_input, peer("data"), flop, less))
    return found


def dense(N: int, C: int, F: int) -> list[Case]:
    x, kernel, bias, dy = normal(N, C), normal(C, F, seed=1), normal(F, seed=2), normal(N, F, seed=3)
    size, reference = text(N, C, F), get_ops("reference")

    def forward(ops: Any) -> Runner:
        arrays = [ops.array(array) for array in (x, kernel, bias)]
        return lambda: ops.dense(*arrays)

    def backward(ops: Any) -> Runner:
        (_, saved), gradient, weights = forward(ops)(), ops.array(dy), ops.array(kernel)
        return lambda: ops.dense_backward(gradient, weights, saved)

    def check_forward(ops: Any) -> None:
        right, _ = reference.dense(*double(x, kernel, bias))
        compare(f"dense {size}", ops, forward(ops)()[:1], [right], TOLERANCE)

    def check_backward(ops: Any) -> None:
        _, saved = reference.dense(*double(x, kernel, bias))
        right = reference.dense_backward(*double(dy, kernel), saved)
        compare(f"dense gradients {size}", ops, backward(ops)(), right, TOLERANCE)

    def peer_forward() -> Runner:
        rows, weight, offset = there(x), there(kernel.T), there(bias)
        return lambda: peers.nn.functional.linear(rows, weight, offset)

    def peer_backward() -> Runner:
        rows, weight, gradient = there(x), there(kernel.T), there(dy)
        return lambda: (gradient @ weight, gradient.t() @ rows, gradient.sum(0))

    flop, moved = 2.0 * N * C * F, 4.0 * (N * C + C * F + N * F)
    return [
        Case("dense forward", size, moved, forward, check_forward, only(peer_forward), flop),
        Case("dense gradients", size, moved + 4 * (N * C + C * F), backward, check_backward, only(peer_backward), 2 * flop),
    ]  # fmt: skip


def only(maker: Maker) -> list[Maker]:
    return [] if peers.torch is None else [maker]


# ---------------------------------------------------------------------- what moves bytes


def pair(
    kernel: str, shape: tuple[int, ...], forward: str, arguments: tuple[Any, ...], results: int, gradient: tuple[int, ...],
    bytes_: tuple[float, float], peer: Callable[[bool], list[Maker]],
) -> Iterator[Case]:  # fmt: skip
    """Cases of an operation on x (N, …), which returns `results` results and `saved`, and of `forward`_backward."""
    few, dy = normal(FEW, *shape[1:]), normal(FEW, *gradient[1:], seed=1)
    size = text(*shape)

    def make(ops: Any, x: Any) -> Runner:
        given = [ops.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
        return lambda: getattr(ops, forward)(x, *given)

    def ours(ops: Any) -> Runner:
        return make(ops, repeated(ops, few, shape[0]))

    def backward(ops: Any) -> Runner:
        saved, given = ours(ops)()[-1], repeated(ops, dy, shape[0])
        return lambda: getattr(ops, f"{forward}_backward")(given, saved)

    @cache
    def right() -> tuple[Any, Any]:
        reference = get_ops("reference")
        x, given = repeated(reference, few, shape[0]), repeated(reference, dy, shape[0])
        *found, saved = make(reference, x.astype(np.float64))()
        gradients = getattr(reference, f"{forward}_backward")(given.astype(np.float64), saved)
        return found[:results], gradients if isinstance(gradients, tuple) else (gradients,)

    def check_forward(ops: Any) -> None:
        compare(f"{kernel} {size}", ops, ours(ops)()[:results], right()[0], EXACT)

    def check_backward(ops: Any) -> None:
        found = backward(ops)()
        compare(f"{kernel} gradient {size}", ops, found if isinstance(found, tuple) else (found,), right()[1], EXACT)

    yield Case(kernel, size, bytes_[0], ours, check_forward, peer(False))
    yield Case(f"{kernel} gradient", size, bytes_[1], backward, check_backward, peer(True))


def per_format(make: Callable[[Any, bool], Runner]) -> Callable[[bool], list[Maker]]:
    def makers(gradient: bool) -> list[Maker]:
        return [lambda memory_format=f: make(memory_format, gradient) for f in peers.formats()]  # type: ignore[misc]

    return makers


def pooling(shape: tuple[int, ...]) -> Iterator[Case]:
    N, H, W, C = shape
    outputs = N, H // 2, W // 2, C
    few, dy = normal(FEW, H, W, C), normal(FEW, *outputs[1:], seed=1)

    def peer(memory_format: Any, gradient: bool) -> Runner:
        aten = peers.torch.ops.aten
        x, given = tensor(few, N, memory_format), tensor(dy, N, memory_format)
        _, winner = aten.max_pool2d_with_indices(x, (2, 2), (2, 2))
        if not gradient:
            return lambda: aten.max_pool2d_with_indices(x, (2, 2), (2, 2))
        settings = (2, 2), (2, 2), [0, 0], [1, 1], False, winner
        return lambda: aten.max_pool2d_with_indices_backward(given, x, *settings)

    moved = 4.0 * (prod(shape) + prod(outputs))
    window = (2, 2), (2, 2), ((0, 0), (0, 0))
    return pair("max pooling", shape, "max_pool2d", window, 1, outputs, (moved, moved), per_format(peer))


def batch_norm(shape: tuple[int, ...]) -> Iterator[Case]:
    N, C = shape[0], shape[-1]
    few, dy, epsilon = normal(FEW, *shape[1:]), normal(FEW, *shape[1:], seed=1), 1e-3
    gamma, beta = normal(C, seed=2), normal(C, seed=3)

    def peer(memory_format: Any, gradient: bool) -> Runner:
        aten, scale, shift = peers.torch.ops.aten, there(gamma), there(beta)
        x, given = tensor(few, N, memory_format), tensor(dy, N, memory_format)
        _, mean, inverse = aten.native_batch_norm(x, scale, shift, None, None, True, 0.1, epsilon)
        if not gradient:
            return lambda: aten.native_batch_norm(x, scale, shift, None, None, True, 0.1, epsilon)
        settings = scale, None, None, mean, inverse, True, epsilon, [True, True, True]
        return lambda: aten.native_batch_norm_backward(given, x, *settings)

    bytes_ = 8.0 * prod(shape), 12.0 * prod(shape)
    return pair("batch norm", shape, "batch_norm", (gamma, beta, epsilon), 3, shape, bytes_, per_format(peer))


def softmax(N: int, K: int) -> Iterator[Case]:
    targets = np.eye(K, dtype=np.float32)[np.random.default_rng(2).integers(0, K, FEW)]
    targets = np.ascontiguousarray(np.resize(targets, (N, K)))
    logits = np.resize(normal(FEW, K), (N, K))

    def peer(gradient: bool) -> list[Maker]:
        def make() -> Runner:
            torch = peers.torch
            labels = there(targets.argmax(axis=1))
            scores = there(logits)
            if not gradient:
                return lambda: torch.nn.functional.cross_entropy(scores, labels)
            probabilities, ones = torch.log_softmax(scores, 1), torch.ones_like(scores)
            return lambda: torch.ops.aten._log_softmax_backward_data(ones, probabilities, 1, torch.float32)

        return only(make)

    bytes_ = 12.0 * N * K, 12.0 * N * K
    return pair("softmax cross-entropy", (N, K), "softmax_cross_entropy", (targets,), 1, (N,), bytes_, peer)


def dropout(shape: tuple[int, ...]) -> Iterator[Case]:
    N, rate = shape[0], 0.25
    few = normal(FEW, *shape[1:])

    def peer(memory_format: Any, gradient: bool) -> Runner:
        x = tensor(few, N, memory_format)
        if not gradient:
            return lambda: peers.torch.native_dropout(x, rate, True)
        mask = peers.torch.native_dropout(x, rate, True)[1]
        return lambda: peers.torch.ops.aten.native_dropout_backward(x, mask, 1 / (1 - rate))

    bytes_ = 8.0 * prod(shape), 8.0 * prod(shape)
    return pair("dropout", shape, "dropout", (rate, (7, 1, 2)), 1, shape, bytes_, per_format(peer))


def affine(shape: tuple[int, ...]) -> Case:
    N, H, W, _ = shape
    few, rng = normal(FEW, *shape[1:]), np.random.default_rng(1)
    matrices = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (N, 1, 1)) + rng.uniform(-0.1, 0.1, (N, 2, 3))

    def make(ops: Any, dtype: Any = np.float32) -> Runner:
        x, maps = repeated(ops, few, N).astype(dtype), ops.array(matrices)
        return lambda: ops.affine(x, maps)

    def right(ops: Any) -> None:
        expected = make(get_ops("reference"), np.float64)()
        compare(f"affine {text(*shape)}", ops, make(ops)()[:1], expected[:1], EXACT)

    def peer() -> Runner:
        functional, maps = peers.nn.functional, there(matrices.astype(np.float32))
        x = tensor(few, N, peers.torch.contiguous_format)
        settings = {"align_corners": False}
        return lambda: functional.grid_sample(x, functional.affine_grid(maps, x.shape, **settings), **settings)

    return Case("affine", text(*shape), 8.0 * prod(shape), make, right, only(peer))


def gather(shape: tuple[int, ...]) -> Case:
    """A batch out of a data set of bytes that is ten times as long."""
    N, rng = shape[0], np.random.default_rng(0)
    data = rng.integers(0, 256, (10 * N, *shape[1:]), np.uint8)
    order = rng.permutation(10 * N).astype(np.int32)

    def make(ops: Any) -> Runner:
        arrays = [ops.array(array) for array in (data, order, np.ones(1, np.int64))]
        return lambda: ops.gather(*arrays, N, np.float32)

    def right(ops: Any) -> None:
        compare(f"gather {text(*shape)}", ops, [make(ops)()], [data[order[N : 2 * N]]], 0.0)

    def peer() -> Runner:
        images, rows = there(data), there(order[N : 2 * N].astype(np.int64))
        return lambda: images[rows].float()

    return Case("gather", text(*shape), 5.0 * prod(shape) + 4 * N, make, right, only(peer))


def adam(count: int) -> Case:
    """A step over a flat buffer of so many weights: it reads four numbers for each and writes three."""
    arrays = normal(count), normal(count, seed=1), normal(count, seed=2), np.abs(normal(count, seed=3))
    settings = None, 1e-3, 0.9, 0.999, 1e-7

    def make(ops: Any) -> Runner:
        there = [ops.array(array.copy()) for array in arrays]
        return lambda: ops.adam(*there, *settings)

    def right(ops: Any) -> None:
        found, expected = [ops.array(array.copy()) for array in arrays], double(*arrays)
        ops.adam(*found, *settings)
        get_ops("reference").adam(*expected, *settings)
        compare(f"Adam over {count:,} weights", ops, found, expected, EXACT)

    def peer() -> Runner:
        torch = peers.torch
        weights = there(arrays[0]).requires_grad_()
        weights.grad = there(arrays[1])
        return torch.optim.Adam([weights], fused=True, capturable=DEVICE == "cuda").step  # type: ignore[no-any-return]

    return Case("Adam", f"{count:,} weights", 28.0 * count, make, right, only(peer))

"""`python -m minicnn.cuda`: checks, step by step and with a line for each, that the GPU of this machine can be used.

Every kernel file is compiled, operations are compared with their definition in float64, a graph is captured and replayed,
and a small network is trained as on the CPU. The status is 1, with a sentence about what failed first, unless all is right.
"""

import copy
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import seeding
from ..layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D, Rescaling
from ..losses import SparseCategoricalCrossentropy
from ..models import Sequential
from ..ops import Ops, get_ops
from ..ops.gpu import dotted, version
from . import FILES, module, source

EXACT, FAST = 1e-5, 5e-3  # errors allowed, in units of the largest number expected
KEY = (7, 3, 1)
NONE, ONE = ((0, 0), (0, 0)), ((1, 1), (1, 1))
New = Callable[..., Any]  # makes an array of normal numbers of a shape
Call = Callable[[Any, New], list[Any]]


class Wrong(Exception):
    """A check that failed; the message says what came out."""


# ---------------------------------------------------------------------- what is launched


def convolution(ops: Any, new: New) -> list[Any]:
    found = []
    for image, kernel, strides, pads in (
        ((5, 12, 11, 32), (3, 3, 32, 64), (1, 1), ONE),
        ((5, 15, 14, 1), (5, 5, 1, 8), (1, 1), NONE),
        ((5, 13, 12, 8), (3, 3, 8, 12), (2, 2), ONE),
    ):
        weights = new(*kernel)
        y, saved = ops.conv2d(new(*image), weights, new(kernel[3]), strides, pads, (1, 1))
        found += [y, *ops.conv2d_backward(new(*y.shape), weights, saved)]
    return found


def dense(ops: Any, new: New) -> list[Any]:
    kernel = new(100, 30)
    y, saved = ops.dense(new(64, 100), kernel, new(30))
    return [y, *ops.dense_backward(new(64, 30), kernel, saved)]


def columns(ops: Any, new: New) -> list[Any]:
    shape, window = (3, 8, 7, 4), ((3, 2), (2, 1), ONE, (1, 2))
    found = ops.im2col(new(*shape), *window)
    return [found, ops.col2im(found, shape, *window)]


def pooling(ops: Any, new: New) -> list[Any]:
    found = []
    for name in ("max_pool2d", "avg_pool2d"):
        y, saved = getattr(ops, name)(new(4, 9, 8, 6), (3, 2), (2, 2), NONE)
        found += [y, getattr(ops, f"{name}_backward")(new(*y.shape), saved)]
    return found


def activations(ops: Any, new: New) -> list[Any]:
    found = [ops.rescale(new(50), 2.0, 1.0)]
    y, saved = ops.relu(new(5, 41), 0.1)
    found += [y, ops.relu_backward(new(5, 41), saved)]
    for name in ("gelu", "tanh", "sigmoid"):
        y, saved = ops.activate(new(5, 41), name)
        found += [y, ops.activate_backward(new(5, 41), saved)]
    return found


def batch_norm(ops: Any, new: New) -> list[Any]:
    y, mean, variance, saved = ops.batch_norm(new(8, 6, 5, 24), new(24), new(24), 1e-3)
    return [y, mean, variance, *ops.batch_norm_backward(new(8, 6, 5, 24), saved)]


def cross_entropy(ops: Any, new: New) -> list[Any]:
    logits, targets = new(50, 10), new(50, 10)
    targets = ops.softmax(targets)[0]
    losses, saved = ops.softmax_cross_entropy(logits, targets)
    return [losses, ops.softmax_cross_entropy_backward(new(50), saved)]


def random(ops: Any, new: New) -> list[Any]:
    y, saved = ops.dropout(new(7, 33), 0.4, KEY)
    return [y, ops.dropout_backward(new(7, 33), saved), ops.gaussian_noise(new(201), 0.5, KEY)]


def augmentation(ops: Any, new: New) -> list[Any]:
    maps = ops.array(np.tile([[0.9, 0.1, 0.3], [-0.2, 1.1, 0.4]], (5, 1, 1)))
    y, saved = ops.affine(new(5, 9, 8, 2), maps)
    return [y, ops.affine_backward(new(5, 9, 8, 2), saved), ops.moment_maps(abs(new(5, 9, 8, 2)), 2.0, (0.8, 1.2))]


def optimizers(ops: Any, new: New) -> list[Any]:
    w, g, m, v = new(777), new(777), new(777), abs(new(777))
    ops.adam(w, g, m, v, None, 1e-3, 0.9, 0.999, 1e-7)
    velocity = new(777)
    ops.sgd(w, g, velocity, 0.1, 0.9, True)
    return [w, m, v, velocity]


CALLS: dict[str, Call] = {
    "convolution": convolution, "dense": dense, "im2col": columns, "pooling": pooling, "activations": activations,
    "batch norm": batch_norm, "softmax cross-entropy": cross_entropy, "random numbers": random,
    "augmentation": augmentation, "optimizers": optimizers,
}  # fmt: skip
PRODUCTS = "convolution", "dense"  # which tensor cores compute


# ---------------------------------------------------------------------- the checks


def largest_error(results: list[Any], expected: list[Any], allowed: float) -> str:
    """What a line says of results on the host; Wrong where one is not what is expected."""
    errors = []
    for number, (result, right) in enumerate(zip(results, expected, strict=True), start=1):
        if result.shape != right.shape:
            raise Wrong(f"result {number} has the shape {result.shape}, expected {right.shape}")
        error = float(np.abs(result - right).max() / max(np.abs(right).max(), 1e-30))
        if not error <= allowed:  # a NaN is not, either
            raise Wrong(
                f"result {number} differs from the definition by {error:.1e} of its largest number; allowed are {allowed:.0e}"
            )
        errors.append(error)
    return f"largest error {max(errors):.1e}, allowed {allowed:.0e}"


def compare(ops: Any, call: Call, precision: str, allowed: float) -> str:
    """The results of the device beside those of the definition in float64."""
    reference = Ops()

    def new(device: Any, dtype: str) -> New:
        generator = np.random.default_rng(0)
        return lambda *shape: device.array(generator.standard_normal(shape, np.float32), dtype)

    before, ops.precision = ops.precision, precision
    try:
        results = [ops.numpy(result) for result in call(ops, new(ops, "float32"))]
    finally:
        ops.precision = before
    return largest_error(results, call(reference, new(reference, "float64")), allowed)


def compiled(ops: Any, file: str) -> str:
    module(ops.xp, source(file)).compile()
    return "compiled by NVRTC"


def captured(ops: Any) -> str:
    """A kernel that is captured, and replayed on other numbers than were there when it was."""
    x, y = ops.array(np.ones(100, np.float32)), ops.array(np.zeros((1, 100), np.float32))
    step = ops.array(np.zeros(1, np.int64))
    ops.keep(x, y, step)
    replay = ops.kernels.capture(lambda: ops.keep(x, y, step))
    x[...] = ops.array(np.arange(100, dtype=np.float32))
    replay()
    if not np.array_equal(ops.numpy(y)[0], np.arange(100)):
        raise Wrong("a replayed graph has not computed what was captured")
    return "a graph was captured and replayed"


def trained(ops: Any) -> str:
    """A small network after some steps of `fit`, here and on the CPU."""
    seeding.set_random_seed(0)
    layers = [Conv2D(8, 3, activation="relu"), MaxPooling2D(), BatchNormalization(), Flatten(), Dropout(0.3), Dense(10)]
    cpu = Sequential([Input((12, 12, 1)), Rescaling(1 / 255), *layers])
    cpu.compile("sgd", SparseCategoricalCrossentropy(from_logits=True))
    model, generator = copy.deepcopy(cpu), np.random.default_rng(0)
    x, y = generator.integers(0, 256, (96, 12, 12, 1), np.uint8), generator.integers(0, 10, 96)
    before, ops.precision = ops.precision, "exact"
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model.to("gpu").fit(x, y, batch_size=16, epochs=3, verbose=0)
    finally:
        ops.precision = before
    cpu.fit(x, y, batch_size=16, epochs=3, verbose=0)
    errors = largest_error(model.get_weights(), cpu.get_weights(), 1e-3)
    notes = [str(warning.message) for warning in said]
    for note in notes:
        if "not as one captured step" in note:
            raise Wrong(note)
    return "; ".join([f"18 steps as on the CPU, {errors}", *notes])


def facts(ops: Any) -> Iterator[tuple[str, Callable[[], str]]]:
    runtime, device = ops.xp.cuda.runtime, ops.xp.cuda.Device()

    yield "CuPy", lambda: f"{ops.xp.__version__}, for CUDA {version(runtime.runtimeGetVersion())}"
    yield "driver", lambda: f"for CUDA up to {version(runtime.driverGetVersion())}"
    yield "device", lambda: str(runtime.getDeviceProperties(device.id)["name"].decode())
    yield "memory", lambda: f"{device.mem_info[0] / 1e9:.1f} of {device.mem_info[1] / 1e9:.1f} GB free"
    yield "compute capability", lambda: dotted(int(device.compute_capability))


def checks(ops: Any) -> Iterator[tuple[str, Callable[[], str]]]:
    """The name of every check, and what makes it: returns what its line says, or raises."""
    yield from facts(ops)
    for file in FILES:
        yield f"{file}.cu", lambda file=file: compiled(ops, file)  # type: ignore[misc]
    for name, call in CALLS.items():
        kinds = (("exact", EXACT), ("fast", FAST)) if name in PRODUCTS else (("exact", EXACT),)
        for precision, allowed in kinds:
            title = f"{name}, {'TF32' if precision == 'fast' else 'float32'}"
            yield title, lambda call=call, p=precision, a=allowed: compare(ops, call, p, a)  # type: ignore[misc]
    yield "graph", lambda: captured(ops)
    yield "training", lambda: trained(ops)


def main() -> int:
    try:
        ops = get_ops("gpu")
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    failed = ""
    for name, check in checks(ops):
        begin = time.perf_counter()
        try:
            said, state = check(), "ok"
        except Exception as error:
            kind = "" if isinstance(error, Wrong) else f"{type(error).__name__}: "
            said, state = " ".join(f"{kind}{error}".split()), "FAILED"
            failed = failed or f"{name}: {said}"
        print(f"{state:6}  {name}: {said} ({1e3 * (time.perf_counter() - begin):,.0f} ms)", flush=True)
    if failed:
        print(f"the GPU cannot be used as it is; the first thing that failed is {failed}", file=sys.stderr)
        return 1
    print("the GPU can be used")
    return 0


if __name__ == "__main__":
    sys.exit(main())

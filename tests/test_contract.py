"""The contract that all op sets keep: the same operations with the same arguments, and on the same inputs the same results.

No operation changes its inputs or the number type, and its bits do not depend on the number of threads.
"""

import inspect
from functools import cache
from itertools import count

import numpy as np
import pytest
from calls import CALLS, CONVOLUTIONS, normal
from conftest import DEVICES, DTYPES, arranged, assert_close

from minicnn import get_ops
from minicnn.ops import Ops
from minicnn.ops.cpu import CpuOps
from minicnn.ops.gpu import GpuOps

REFERENCE = get_ops("reference")
CHANGED = {
    "sgd",
    "rmsprop",
    "ada",
    "nadam",
    "lion",
    "ftrl",
    "clip_",
    "decay",
    "moving_average",
    "penalize",
    "cross_entropy",
    "softmax_cross_entropy",
}  # by the operation, or by the call itself: how its name begins


def operations(cls):
    return {name: member for name, member in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


def arguments(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", operations(Ops))
@pytest.mark.parametrize("cls", [CpuOps, GpuOps])
def test_same_arguments_and_defaults(cls, name):
    assert arguments(operations(cls)[name]) == arguments(operations(Ops)[name])


def test_every_backward_has_its_forward():
    names = operations(Ops)
    assert [name for name in names if name.endswith("_backward") and name.removesuffix("_backward") not in names] == []


def test_the_calls_cover_every_operation():
    class Recorder:
        def __getattribute__(self, name):
            called.add(name)
            return getattr(REFERENCE, name)

    called = set()
    for call in CALLS.values():
        call(Recorder(), normal("float32"))
    assert set(operations(Ops)) - called == set()


@cache
def defined(call, dtype):
    return call(REFERENCE, normal(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_results_are_those_of_the_definition(ops, call, dtype):
    got = call(ops, normal(dtype, ops.array))
    for one, other in zip(got, defined(call, dtype), strict=True):
        assert one.dtype == other.dtype
        if one.dtype.kind == "f":
            assert_close(ops.numpy(one), other)
        else:
            np.testing.assert_array_equal(ops.numpy(one), other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_number_types_stay_and_inputs_are_not_changed(ops, name, dtype):
    given = []

    def place(x):
        given.append((ops.array(x.copy()), x))
        return given[-1][0]

    results = CALLS[name](ops, normal(dtype, place))
    if name not in {"random_bits", "arrays"}:
        assert {result.dtype.name for result in results} == {dtype}
    if not name.startswith(tuple(CHANGED)):
        for on_device, before in given:
            np.testing.assert_array_equal(ops.numpy(on_device), before)


ALTERED = {
    "of another type": lambda x: x.astype("float64" if x.dtype == "float32" else "float32"),
    "spread in memory": lambda x: arranged(x, "sliced"),
    "of one row": lambda x: x[:1],
    "of a row more": lambda x: np.concatenate([x, x[:1]]),
    "of one column": lambda x: x[..., :1].copy(),
}


class Altering:
    """Operations to which one array goes altered: number `number` of all that a call gives to them, `saved` not counted."""

    def __init__(self, ops, number, alter):
        self.ops, self.left, self.alter, self.given = ops, number, alter, []

    def __getattr__(self, name):
        found = getattr(self.ops, name)
        if name in ("array", "numpy") or not inspect.ismethod(found):
            return found

        def call(*values):
            values = list(values)
            for k, parameter in zip(range(len(values)), inspect.signature(found).parameters, strict=False):
                if getattr(values[k], "ndim", 0) and parameter != "saved":
                    if self.left == 0:
                        values[k] = self.alter(values[k])
                        self.given.append(values[k])
                    self.left -= 1
            return found(*values)

        return call


def outcome(ops, name, number, alter):
    """What came of a call with this array altered, that array included; None where it was refused; and whether there is one."""
    altering = Altering(ops, number, alter)
    try:
        results = CALLS[name](altering, normal("float32", ops.array))
    except (ValueError, IndexError):
        return None, True
    return [ops.numpy(result) for result in (*results, *altering.given)], bool(altering.given)


@pytest.mark.parametrize("ops", DEVICES[1:], indirect=True)
@pytest.mark.parametrize(
    "name",
    [name for name in CALLS if "conv2d" not in name or name in ("conv2d 0", "conv2d_relu 0", "conv2d_transpose 0")],
)
def test_no_array_is_misread(ops, name):
    """Whatever its type, its shape and its place in memory: what is not refused has the results of the definition."""
    for what, alter in ALTERED.items():
        for number in count():
            got, there = outcome(ops, name, number, alter)
            if not there:
                break
            if got is not None:
                expected, _ = outcome(REFERENCE, name, number, alter)
                assert expected is not None, f"array {number} {what} is not refused"
                for one, other in zip(got, expected, strict=True):
                    assert_close(one.astype(float), other, 2e-5)


@pytest.mark.parametrize("ops", DEVICES[1:], indirect=True)
@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith(tuple(CHANGED)) and "entropy" not in name])
def test_what_changes_in_place_may_have_several_axes(ops, name):
    flat = CALLS[name](ops, normal("float32", ops.array))
    for one, other in zip(CALLS[name](ops, normal("float32", lambda x: ops.array(x[None]))), flat, strict=True):
        np.testing.assert_array_equal(ops.numpy(one).reshape(-1), ops.numpy(other).reshape(-1))


@pytest.mark.parametrize("name", CALLS)
def test_bits_do_not_depend_on_threads(threads, name):
    found = []
    for number in (1, 2, 3, 5):
        threads(number)
        found.append(CALLS[name](get_ops("cpu"), normal("float32")))
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("case", range(len(CONVOLUTIONS)))
@pytest.mark.parametrize("biased", [False, True])
def test_conv2d_relu_is_its_parts(ops, case, biased):
    image, C, F, size, *settings = CONVOLUTIONS[case]
    new = normal("float64", ops.array)
    x, kernel, bias = new(3, *image, C), new(*size, C, F), new(F) if biased else None
    fused, saved = ops.conv2d_relu(x, kernel, bias, *settings)
    y, conv = ops.conv2d(x, kernel, bias, *settings)
    y, relu = ops.relu(y)
    dy = new(*y.shape)
    parts = ops.conv2d_backward(ops.relu_backward(dy, relu), kernel, conv)
    assert_close(ops.numpy(fused), ops.numpy(y))
    for one, other in zip(ops.conv2d_relu_backward(dy, kernel, saved), parts, strict=True):
        assert_close(ops.numpy(one), ops.numpy(other))


@pytest.mark.parametrize("biased", [False, True])
def test_dense_relu_is_its_parts(ops, biased):
    new = normal("float64", ops.array)
    x, kernel, bias = new(19, 30), new(30, 21), new(21) if biased else None
    fused, saved = ops.dense_relu(x, kernel, bias)
    y, dense = ops.dense(x, kernel, bias)
    y, relu = ops.relu(y)
    dy = new(*y.shape)
    parts = ops.dense_backward(ops.relu_backward(dy, relu), kernel, dense)
    assert_close(ops.numpy(fused), ops.numpy(y))
    for one, other in zip(ops.dense_relu_backward(dy, kernel, saved), parts, strict=True):
        assert_close(ops.numpy(one), ops.numpy(other))


def test_softmax_cross_entropy_is_its_parts(ops):
    new = normal("float64", ops.array)
    scores, targets, dlosses = new(19, 10), ops.softmax(new(19, 10))[0], new(19)
    fused, saved = ops.softmax_cross_entropy(scores, targets)
    p, softmax = ops.softmax(scores)
    losses, entropy = ops.cross_entropy(p, targets)
    assert_close(ops.numpy(fused), ops.numpy(losses))
    parts = ops.softmax_backward(ops.cross_entropy_backward(dlosses, entropy), softmax)
    assert_close(ops.numpy(ops.softmax_cross_entropy_backward(dlosses, saved)), ops.numpy(parts))


def test_devices_by_name():
    assert (
        get_ops("cpu") is get_ops("cpu") and get_ops("cpu").name == "cpu" and get_ops("reference").name == "reference"
    )
    with pytest.raises(ValueError, match="unknown device 'tpu'; expected one of cpu, gpu, reference"):
        get_ops("tpu")


def test_asking_for_a_gpu_where_there_is_no_cupy_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(RuntimeError, match=r'^the GPU needs CuPy.*pip install "cupy-cuda13x\[ctk\]"[^\n]*$'):
        GpuOps()

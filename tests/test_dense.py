"""Dense layers and their gradients against sums of products written out, for shapes drawn at random.

Their results have the same bits for any number of threads.
"""

import naive
import numpy as np
import pytest
from calls import MOST
from conftest import DTYPES, assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st

from minicnn import get_ops
from minicnn.kernels import dense
from minicnn.ops.cpu import CpuOps

rows = st.sampled_from([(1,), (3,), (17,), (64,), (65,), (130,), (2, 3), (2, 1, 4)])
channels = st.sampled_from([1, 3, 16, 31, 33, 515])
units = st.sampled_from([1, 7, 10, 16, 64, 70])


@given(make=makers(), rows=rows, C=channels, F=units, biased=st.booleans())
@pytest.mark.parametrize("relu", [False, True], ids=["linear", "relu"])
def test_dense_and_its_gradients(ops, relu, make, rows, C, F, biased):
    x, kernel, bias = make(*rows, C), make(C, F), make(F) if biased else None
    expected = naive.dense(x, kernel, bias)
    dy = make(*expected.shape)
    passed = dy * (expected > 0) if relu else dy
    name = "dense_relu" if relu else "dense"

    y, saved = run(ops, name, x, kernel, bias)
    gradients = run(ops, name + "_backward", dy, kernel, saved)
    without_dx = run(ops, name + "_backward", dy, kernel, saved, False)

    assert_close(ops.numpy(y), np.maximum(expected, 0) if relu else expected)
    for got, wanted in zip(gradients, naive.dense_backward(x, passed, kernel), strict=True):
        assert_close(ops.numpy(got), wanted)
        assert got.dtype == x.dtype
    assert without_dx[0] is None
    for got, same in zip(without_dx[1:], gradients[1:], strict=True):
        np.testing.assert_array_equal(ops.numpy(got), ops.numpy(same))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("F", range(1, MOST + 1))
def test_any_number_of_channels(ops, F, dtype):
    random, C = np.random.default_rng(2), MOST + 1 - F
    x, kernel, bias, dy = (random.standard_normal(shape).astype(dtype) for shape in ((5, C), (C, F), (F,), (5, F)))
    expected = naive.dense(x, kernel, bias)
    y, saved = run(ops, "dense_relu", x, kernel, bias)
    gradients = run(ops, "dense_relu_backward", dy, kernel, saved)
    assert_close(ops.numpy(y), np.maximum(expected, 0))
    for got, wanted in zip(gradients, naive.dense_backward(x, dy * (expected > 0), kernel), strict=True):
        assert_close(ops.numpy(got), wanted)


@pytest.mark.parametrize("way", [1, 1 << 40], ids=["packed", "in its place"])
@pytest.mark.parametrize("N, C, F", [(24, 40, 64), (131, 600, 150), (130, 515, 33), (257, 31, 129), (130, 515, 300)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_of_a_kernel_packed_and_in_their_place(monkeypatch, dtype, N, C, F, way):
    monkeypatch.setattr(dense, "WAY", way)
    monkeypatch.setattr(dense, "LINE", 0)  # as where registers are not shorter than one
    assert dense.packs(N, F, dtype) == (way == 1)
    random = np.random.default_rng(4)
    x, kernel, bias = (random.standard_normal(shape).astype(dtype) for shape in ((N, C), (C, F), (F,)))
    y, _ = CpuOps().dense(x, kernel, bias)
    assert_close(y, x.astype(float) @ kernel.astype(float) + bias)


def test_which_kernels_are_packed(monkeypatch):
    monkeypatch.setattr(dense, "LINE", 1 << 20)  # longer than any register
    assert dense.packs(24, 200, "float32") and not dense.packs(23, 200, "float32") and not dense.packs(24, 8, "float32")
    monkeypatch.setattr(dense, "LINE", 0)
    assert dense.packs(24, 1024, "float32") and not dense.packs(24, 1000, "float32")


def test_a_product_worked_out_by_hand(ops):
    x, kernel, bias = np.array([[1.0, 2.0]]), np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), np.array([0.0, 10.0, 100.0])
    y, saved = run(ops, "dense", x, kernel, bias)
    np.testing.assert_array_equal(ops.numpy(y), [[9, 22, 115]])
    dx, dkernel, dbias = run(ops, "dense_backward", np.array([[1.0, 0.0, -1.0]]), kernel, saved)
    np.testing.assert_array_equal(ops.numpy(dx), [[-2, -2]])
    np.testing.assert_array_equal(ops.numpy(dkernel), [[1, 0, -1], [2, 0, -2]])
    np.testing.assert_array_equal(ops.numpy(dbias), [1, 0, -1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_threads(threads, dtype):
    ops, random = get_ops("cpu"), np.random.default_rng(3)
    x, kernel = random.standard_normal((131, 600)).astype(dtype), random.standard_normal((600, 150)).astype(dtype)
    found = []
    for number in (1, 2, 3, 5):
        threads(number)
        y, saved = ops.dense_relu(x, kernel, kernel[0])
        found.append([y, *ops.dense_relu_backward(y, kernel, saved)])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)

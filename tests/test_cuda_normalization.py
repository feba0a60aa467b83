"""Batch normalisation on the GPU, and on its emulator: against loops, far from zero, and to the bit whichever thread is first."""

import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close

from minicnn.ops.gpu_kernels import PARTS


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def both_ways(ops, x, dy, gamma, beta, epsilon=1e-3):
    y, mean, variance, saved = ops.batch_norm(x, gamma, beta, epsilon)
    return [y, mean, variance, *ops.batch_norm_backward(dy, saved)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("M, C", [(1, 1), (2, 3), (7, 32), (65, 33), (300, 1), (129, 70)])
def test_batch_norm_and_its_gradient(gpu, M, C, dtype):
    x, dy, gamma, beta = (drawn(k, *shape).astype(dtype) for k, shape in enumerate([(M, C), (M, C), (C,), (C,)]))
    got = both_ways(gpu, x, dy, gamma, beta, 0.1)
    expected = [*naive.batch_norm(x, gamma, beta, 0.1), *naive.batch_norm_backward(x, dy, gamma, 0.1)]
    for one, other, name in zip(got, expected, ("y", "mean", "variance", "dx", "dgamma", "dbeta"), strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(
            one,
            other,
            rtol=0,
            atol={"float32": 1e-5, "float64": 1e-13}[dtype] * max(1, np.abs(other).max()),
            err_msg=name,
        )


def test_all_rows_in_more_parts_than_there_can_be(gpu):
    """So many rows that each block reads several times."""
    x = drawn(0, 8 * 256 * PARTS + 777, 1).astype("float32")
    _, mean, variance, _ = gpu.batch_norm(x, np.ones(1, "float32"), np.zeros(1, "float32"), 1e-3)
    assert_close(mean, x.astype(float).mean(axis=0), 1e-4)  # of a mean near 0
    assert_close(variance, x.astype(float).var(axis=0), 1e-6)


@pytest.mark.parametrize("offset", [1e2, 1e4])
def test_digits_are_kept_far_from_zero(gpu, offset):
    """A sum of squares less the square of the sum would keep none: 1e8 has a float32's digits to itself."""
    x = (drawn(0, 4000, 5) + offset).astype("float32")
    _, mean, variance, _ = gpu.batch_norm(x, np.ones(5, "float32"), np.zeros(5, "float32"), 1e-3)
    assert_close(mean, x.astype(float).mean(axis=0), 1e-6)
    assert_close(variance, x.astype(float).var(axis=0), 1e-6)


def test_bits_do_not_depend_on_the_order_of_threads(gpu, monkeypatch):
    x, dy, gamma, beta = (
        drawn(k, *s).astype("float32") for k, s in enumerate([(6, 7, 5, 40), (6, 7, 5, 40), (40,), (40,)])
    )
    found = []
    for backwards in (False, True):
        monkeypatch.setattr(gpu.kernels, "backwards", backwards, raising=False)
        found.append(both_ways(gpu, x, dy, gamma, beta))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_launches_each_way_that_leave_their_counters_at_0(gpu, monkeypatch):
    """So the next ones, of other numbers of rows, count from there."""
    launched, launch = [], gpu.kernels.launch
    monkeypatch.setattr(gpu.kernels, "launch", lambda *a, **k: (launched.append(a[1]), launch(*a, **k))[1])
    for M in (65, 1000, 3, 1000):
        x, dy = (drawn(k, M, 70) for k in range(2))
        got = both_ways(gpu, x, dy, np.ones(70), np.zeros(70))
        dx, dgamma, dbeta = naive.batch_norm_backward(x, dy, np.ones(70), 1e-3)
        for one, other in zip(got[1:], (x.mean(axis=0), x.var(axis=0), dx, dgamma, dbeta), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * M)
    assert launched == ["moments", "scale_rows", "gradient_sums", "input_gradient"] * 4
    assert not gpu.back(gpu.ops._counters(3)).any()


def test_rows_that_are_unlike(gpu):
    """The first row, which is taken off all, or the first part, from whose mean the others are measured, or parts at all."""
    x = drawn(0, 5000, 1).astype("float32")
    part = np.arange(5000)[:, None] // 256 % 3  # as blocks of one column take the rows
    for apart in (np.arange(5000)[:, None] == 0, part == 0, part - 1):
        moved = x + 1000 * apart.astype("float32")
        _, mean, variance, _ = gpu.batch_norm(moved, np.ones(1, "float32"), np.zeros(1, "float32"), 1e-3)
        np.testing.assert_allclose(mean, moved.astype(float).mean(axis=0), rtol=0, atol=1e-6 * 1000)
        assert_close(variance, moved.astype(float).var(axis=0), 1e-5)


def test_a_gradient_of_another_shape(gpu):
    _, _, _, saved = gpu.batch_norm(np.ones((4, 3)), np.ones(3), np.ones(3), 1e-3)
    with pytest.raises(
        ValueError, match=r"batch_norm gradient: expected an array of shape \(4, 3\), received \(3, 3\)"
    ):
        gpu.batch_norm_backward(np.ones((3, 3)), saved)

"""Cross-entropy of scores and of probabilities against logarithms of sums written out, with gradients by central differences.

Enormous scores neither overflow nor meet a logarithm of zero.
"""

import math

import naive
import numpy as np
import pytest
from conftest import LAYOUTS, arranged, assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def targets(draw, N, K):
    """Rows of probabilities, one-hot rows, or rows whose sum is not one."""
    kind, random = draw(st.sampled_from(["soft", "one-hot", "any"])), np.random.default_rng(draw(st.integers(0, 99)))
    if kind == "one-hot":
        return np.eye(K)[random.integers(0, K, N)]
    rows = random.random((N, K)) + 0.1
    return rows / rows.sum(axis=1, keepdims=True) if kind == "soft" else rows


@given(data=st.data(), make=makers(), N=st.sampled_from([1, 3, 17]), K=st.sampled_from([1, 2, 10, 17]))
def test_softmax_cross_entropy(ops, data, make, N, K):
    scores, weights = 3 * make(N, K), make(N)
    wanted = data.draw(targets(N, K)).astype(scores.dtype)
    losses, saved = run(ops, "softmax_cross_entropy", scores, wanted)
    assert_close(ops.numpy(losses), naive.softmax_cross_entropy(scores, wanted), 2 * np.finfo(scores.dtype).eps * 10)
    gradient = run(ops, "softmax_cross_entropy_backward", weights, saved)
    p = np.array([naive.softmax(row) for row in scores])
    expected = weights.astype(float)[:, None] * (p * wanted.sum(axis=1, keepdims=True) - wanted)
    largest = (
        np.abs(weights).max() * wanted.sum(axis=1).max()
    )  # p and t are close to each other where the model is right
    assert np.abs(ops.numpy(gradient) - expected).max() <= 10 * np.finfo(scores.dtype).eps * largest
    assert losses.dtype == gradient.dtype == scores.dtype


@given(
    data=st.data(), N=st.sampled_from([1, 3, 17]), K=st.sampled_from([2, 5, 10]), scale=st.sampled_from([1.0, 0.3, 4.0])
)
def test_cross_entropy_of_probabilities(ops, data, N, K, scale):
    """Rows that do not sum to one are divided by their sum, as in Keras."""
    p = scale * (np.random.default_rng(N).random((N, K)) + 0.05)
    wanted = data.draw(targets(N, K))

    def formula(p):
        return [
            -math.fsum(t * math.log(q / math.fsum(row)) for t, q in zip(ts, row, strict=True))
            for ts, row in zip(wanted, p, strict=True)
        ]

    losses, saved = run(ops, "cross_entropy", p, wanted)
    assert_close(ops.numpy(losses), formula(p))
    gradient = ops.numpy(run(ops, "cross_entropy_backward", np.ones(N), saved))
    expected, h = np.zeros_like(p), 1e-5
    for k in range(K):
        step = h * np.eye(K)[k]
        expected[:, k] = (np.array(formula(p + step)) - formula(p - step)) / (2 * h)
    np.testing.assert_allclose(gradient, expected, atol=1e-6 * np.abs(expected).max(initial=1))


@pytest.mark.parametrize("dtype, size", [("float32", 1e4), ("float32", 1e30), ("float64", 1e300)])
def test_enormous_scores(ops, dtype, size):
    scores = np.array([[size, 0, -size], [-size, -size / 2, 0]], dtype)
    right, wrong, ones = np.eye(3, dtype=dtype)[[0, 2]], np.eye(3, dtype=dtype)[[2, 0]], np.ones(2, dtype)
    for wanted, expected in ((right, [0, 0]), (wrong, [2 * size, size])):
        losses, saved = run(ops, "softmax_cross_entropy", scores, wanted)
        np.testing.assert_allclose(ops.numpy(losses), expected, rtol=1e-6)
        gradient = run(ops, "softmax_cross_entropy_backward", ones, saved)
        np.testing.assert_array_equal(ops.numpy(gradient), right - wanted)


def test_probabilities_of_zero_and_one(ops):
    """Keras keeps probabilities within [1e-7, 1 - 1e-7]: the loss is finite, and nothing flows back through the clipping."""
    p, wanted = np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    losses, saved = run(ops, "cross_entropy", p, wanted)
    np.testing.assert_allclose(ops.numpy(losses), [-math.log(1e-7), -math.log(1 - 1e-7)])
    np.testing.assert_array_equal(ops.numpy(run(ops, "cross_entropy_backward", np.ones(2), saved)), np.zeros((2, 2)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_order_of_memory(ops, layout):
    random = np.random.default_rng(0)
    scores, wanted = random.standard_normal((17, 10)), np.eye(10)[random.integers(0, 10, 17)]
    losses, _ = run(ops, "softmax_cross_entropy", arranged(scores, layout), arranged(wanted, layout))
    assert_close(ops.numpy(losses), naive.softmax_cross_entropy(scores, wanted))

"""Softmax and cross-entropy on the GPU, and on its emulator: for few and many classes, large scores, and labels in one launch."""

import math

import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close

from minicnn.losses import SparseCategoricalCrossentropy

CLASSES = [1, 2, 10, 31, 32, 33, 1000]


def drawn(dtype, *shape, size=3.0):
    return (size * np.random.default_rng(len(shape) + shape[0]).standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_softmax_and_its_gradient(gpu, K, dtype):
    x, dy = drawn(dtype, 13, K), drawn(dtype, 14, K)[:13]
    p = np.array([naive.softmax(row) for row in x])
    y, saved = gpu.softmax(x)
    assert_close(y, p)
    jacobians = [np.diag(row) - np.outer(row, row) for row in p]
    dx = np.array([row @ jacobian for row, jacobian in zip(dy.astype(float), jacobians, strict=True)])
    scale = np.abs(p[:, None] * dy[:, :, None].astype(float)).max()
    np.testing.assert_allclose(
        gpu.softmax_backward(dy, saved), dx, rtol=0, atol=scale * {"float32": 1e-5, "float64": 1e-13}[dtype]
    )
    y, saved = gpu.log_softmax(x)
    assert_close(y, np.log(p)) if K > 1 else np.testing.assert_array_equal(y, 0)
    dx = dy - p * dy.sum(axis=1, keepdims=True, dtype=float)
    np.testing.assert_allclose(
        gpu.log_softmax_backward(dy, saved), dx, rtol=0,
        atol=max(1.0, float(np.abs(dy).sum(axis=1).max())) * {"float32": 1e-5, "float64": 1e-13}[dtype],
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_cross_entropy_of_scores(gpu, K, dtype):
    scores, targets = drawn(dtype, 9, K), np.abs(drawn(dtype, 10, K))[:9]
    losses, saved = gpu.softmax_cross_entropy(scores, targets)
    assert_close(losses, naive.softmax_cross_entropy(scores, targets), {"float32": 1e-5, "float64": 1e-13}[dtype])
    weights = drawn(dtype, 9)
    p = np.array([naive.softmax(row) for row in scores])
    expected = weights[:, None] * (p * targets.sum(axis=1, keepdims=True, dtype=float) - targets)
    assert_close(gpu.softmax_cross_entropy_backward(weights, saved), expected) if K > 1 else None


@pytest.mark.parametrize(
    "scores, loss",
    [
        ([1000.0, 0.0, -1000.0], 0.0),
        ([-1000.0, 0.0, 1000.0], 2000.0),
        ([-1e30] * 3, math.log(3)),
        ([90.0] * 3, math.log(3)),
    ],
    ids=str,
)
def test_large_scores(gpu, scores, loss):
    losses, saved = gpu.softmax_cross_entropy(np.array([scores], "float32"), np.eye(3, dtype="float32")[[0]])
    assert losses[0] == pytest.approx(loss, rel=1e-6)
    assert np.isfinite(gpu.softmax_cross_entropy_backward(np.ones(1, "float32"), saved)).all()


def test_what_is_not_a_number_shows(gpu):
    losses, _ = gpu.softmax_cross_entropy(np.array([[0, np.nan, 1]], "float32"), np.eye(3, dtype="float32")[[0]])
    assert np.isnan(losses).all() and np.isnan(gpu.softmax(np.array([[np.nan, 1.0]]))[0]).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("K", [2, 10, 40])
def test_labels_in_one_launch(gpu, K, smoothing, weighted):
    """What the loss computes of targets, weights and smoothing, in float64 beside it."""
    random = np.random.default_rng(K)
    scores, labels = random.standard_normal((21, K)), random.integers(0, K, 21)
    weights = random.uniform(0, 2, 21) if weighted else np.ones(21)
    loss = SparseCategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    value, gradient = loss.value_and_gradient(labels, scores, weights)
    losses, kept = np.zeros((1, 21)), np.zeros((1, 21, K))
    rows = labels[None].astype("int32"), weights[None] / 21, smoothing, losses, kept
    assert_close(gpu.label_cross_entropy(scores, *rows, np.array([0])), gradient)
    assert math.fsum(losses[0]) == pytest.approx(value, rel=1e-12)


def test_bits_do_not_depend_on_the_order_of_threads(gpu, monkeypatch):
    scores, found = drawn("float32", 21, 70), []
    for backwards in (False, True):
        monkeypatch.setattr(gpu.kernels, "backwards", backwards, raising=False)
        y, saved = gpu.softmax(scores)
        losses, kept = np.zeros((1, 21), "float32"), np.zeros((1, *scores.shape), "float32")
        rows = np.arange(21, dtype="int32")[None], np.full((1, 21), 0.5, "float32"), 0.1, losses, kept
        gradient = gpu.label_cross_entropy(scores, *rows, np.array([0]))
        found.append([y, gpu.softmax_backward(scores, saved), losses, gradient])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)

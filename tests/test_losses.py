"""Losses and metrics against their formulas on single rows: both forms of targets, weights, smoothing, scores and probabilities.

The gradient that comes with a loss is that of its value, by central differences.
"""

import inspect
import math

import naive
import numpy as np
import pytest

from minicnn import get_ops, losses, metrics
from minicnn.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy

N, K = 7, 5
RANDOM = np.random.default_rng(0)
SCORES = RANDOM.standard_normal((N, K))
PROBABILITIES = RANDOM.random((N, K)) + 0.1
LABELS = RANDOM.integers(0, K, N)
WEIGHTS = RANDOM.random(N) * 3
ONE_HOT = np.eye(K)[LABELS]


def formula(predictions, weights, smoothing, from_logits):
    """Σ_n w_n · loss_n / N, with targets 1 - ε + ε/K for the true class and ε/K for every other."""
    total = 0.0
    for row, label, weight in zip(predictions, LABELS, weights, strict=True):
        p = naive.softmax(row) if from_logits else [value / math.fsum(row) for value in row]
        for k in range(K):
            target = smoothing / K + (1 - smoothing) * (k == label)
            total -= weight * target * math.log(p[k])
    return total / N


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("cls, targets", [(SparseCategoricalCrossentropy, LABELS), (CategoricalCrossentropy, ONE_HOT)])
@pytest.mark.parametrize("device", ["reference", "cpu"])
def test_cross_entropy(device, cls, targets, from_logits, smoothing, weights):
    predictions = SCORES if from_logits else PROBABILITIES
    loss = cls(from_logits=from_logits, label_smoothing=smoothing)
    value, gradient = loss.value_and_gradient(targets, predictions, weights, ops=get_ops(device))
    w = np.ones(N) if weights is None else weights
    assert value == pytest.approx(formula(predictions, w, smoothing, from_logits), rel=1e-12)
    assert loss(targets, predictions, weights) == pytest.approx(value, rel=1e-12)
    h = 1e-5
    for index in np.ndindex(N, K):
        step = np.zeros((N, K))
        step[index] = h
        above, below = (formula(predictions + s, w, smoothing, from_logits) for s in (step, -step))
        assert gradient[index] == pytest.approx((above - below) / (2 * h), abs=1e-8)


def test_labels_may_stand_in_a_column_and_be_of_any_type():
    loss = SparseCategoricalCrossentropy()
    value = loss(LABELS, PROBABILITIES)
    assert value == loss(LABELS[:, None], PROBABILITIES) == loss(LABELS.astype("float32"), PROBABILITIES)
    assert value == loss(LABELS.astype("uint8"), PROBABILITIES) == loss(LABELS.tolist(), PROBABILITIES)


def test_a_model_that_knows_nothing():
    assert SparseCategoricalCrossentropy(from_logits=True)(LABELS, np.zeros((N, K))) == pytest.approx(math.log(K))


@pytest.mark.parametrize(
    "loss, targets, sentence",
    [
        (
            SparseCategoricalCrossentropy(),
            [0, 1, 5, 2, 3, 4, 0],
            "labels must be integers from 0 to 4, but label 2 is 5",
        ),
        (
            SparseCategoricalCrossentropy(),
            [0, -1, 5, 2, 3, 4, 0],
            "labels must be integers from 0 to 4, but label 1 is -1",
        ),
        (
            SparseCategoricalCrossentropy(),
            [0, 1, 2, 2.5, 3, 4, 0],
            "labels must be integers from 0 to 4, but label 3 is 2.5",
        ),
        (
            SparseCategoricalCrossentropy(),
            [0, 1, 2, 2, 3, math.nan, 0],
            "labels must be integers from 0 to 4, but label 5 is nan",
        ),
        (
            SparseCategoricalCrossentropy(),
            ONE_HOT,
            r"expects labels of shape \(batch,\), got \(7, 5\); for one-hot targets use categorical",
        ),
        (
            CategoricalCrossentropy(),
            LABELS,
            r"expects one-hot targets of shape \(batch, 5\), got \(7,\); for labels use sparse_",
        ),
        (CategoricalCrossentropy(), ONE_HOT[:, :4], r"expects one-hot targets of shape \(batch, 5\), got \(7, 4\)"),
        (SparseCategoricalCrossentropy(), LABELS[:3], "7 predictions but 3 targets"),
    ],
)
def test_bad_targets(loss, targets, sentence):
    with pytest.raises(ValueError, match=sentence):
        loss(targets, PROBABILITIES)


def test_bad_settings_and_names():
    with pytest.raises(ValueError, match="label_smoothing must be between 0 and 1, not 1.5"):
        CategoricalCrossentropy(label_smoothing=1.5)
    with pytest.raises(
        ValueError,
        match="unknown loss 'poisson'; expected one of categorical_crossentropy, sparse_categorical_crossentropy",
    ):
        losses.get("poisson")
    with pytest.raises(ValueError, match=r"expects predictions of shape \(batch, classes\), got \(2, 3, 4\)"):
        CategoricalCrossentropy()(ONE_HOT, np.ones((2, 3, 4)))


KERAS = {"from_logits": False, "label_smoothing": 0.0, "axis": -1, "reduction": "sum_over_batch_size", "name": None}
SPARSE = {"from_logits": False, "ignore_class": None, "reduction": "sum_over_batch_size", "axis": -1, "name": None}


@pytest.mark.parametrize("cls, arguments", [(CategoricalCrossentropy, KERAS), (SparseCategoricalCrossentropy, SPARSE)])
def test_names_order_defaults_and_configuration(cls, arguments):
    """Those of Keras; label smoothing for labels is ours."""
    parameters = inspect.signature(cls).parameters
    found = {name: p.default for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert found == arguments and list(found) == list(arguments)
    again = losses.get(losses.serialize(cls(True, label_smoothing=0.2, name="loss of mine")))
    assert type(again) is cls
    assert (again.from_logits, again.label_smoothing, again.name) == (True, 0.2, "loss of mine")
    assert type(losses.get(cls.name)) is type(losses.get(cls.__name__)) is type(losses.get(cls)) is cls


@pytest.mark.parametrize("targets", [LABELS, LABELS[:, None], ONE_HOT], ids=["labels", "column", "one-hot"])
def test_accuracy(targets):
    expected = [float(max(range(K), key=lambda k: row[k]) == label) for row, label in zip(SCORES, LABELS, strict=True)]
    assert metrics.accuracy(targets, SCORES).tolist() == expected


def test_confusion_matrix():
    matrix = metrics.confusion_matrix([0, 0, 1, 2, 2], [0, 1, 1, 0, 0], 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [2, 0, 0]])
    with pytest.raises(ValueError, match="unknown metric 'precision'"):
        metrics.get("precision")

"""Losses and metrics, and what `fit` reports of them, beside Keras."""

import numpy as np
import pytest

import minicnn
from minicnn import losses, metrics

pytestmark = pytest.mark.parity

LOSSES = [
    ("CategoricalCrossentropy", {}, "rows"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "rows"),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.3}, "rows"),
    ("SparseCategoricalCrossentropy", {}, "labels"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "labels"),
    ("BinaryCrossentropy", {}, "rows"),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, "rows"),
    ("BinaryCrossentropy", {"from_logits": True}, "rows"),
    ("MeanSquaredError", {}, "rows"),
    ("MeanAbsoluteError", {}, "rows"),
]


def targets_and_predictions(kind, from_logits, random):
    scores = random.standard_normal((9, 4)).astype("float32")
    labels = random.integers(0, 4, 9)
    powers = np.exp(scores)
    predictions = scores if from_logits else powers / powers.sum(axis=1, keepdims=True)
    return labels if kind == "labels" else np.eye(4, dtype="float32")[labels], predictions


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name, options, kind", LOSSES)
def test_losses(keras, random, name, options, kind, weighted, reduction):
    import jax

    y, p = targets_and_predictions(kind, options.get("from_logits"), random)
    weights = random.uniform(0, 2, 9).astype("float32") if weighted else None
    theirs = getattr(keras.losses, name)(**options, reduction=reduction)
    expected, slope = jax.value_and_grad(lambda p: theirs(y, p, sample_weight=weights))(p)
    value, gradient = getattr(losses, name)(**options, reduction=reduction).value_and_gradient(y, p, weights)
    assert value == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(gradient, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("name", sorted({loss.__name__ for loss in losses.FUNCTIONS}))
def test_functions(keras, random, name):
    y, p = targets_and_predictions("labels" if "sparse" in name else "rows", False, random)
    np.testing.assert_allclose(getattr(losses, name)(y, p), getattr(keras.losses, name)(y, p), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name, options, kind",
    [
        ("CategoricalAccuracy", {}, "rows"), ("SparseCategoricalAccuracy", {}, "labels"), ("BinaryAccuracy", {}, "rows"),
        ("BinaryAccuracy", {"threshold": 0.2}, "rows"), ("TopKCategoricalAccuracy", {"k": 2}, "rows"),
        ("SparseTopKCategoricalAccuracy", {"k": 3}, "labels"), ("MeanSquaredError", {}, "rows"),
        ("MeanAbsoluteError", {}, "rows"), ("BinaryCrossentropy", {}, "rows"),
        ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "rows"), ("SparseCategoricalCrossentropy", {}, "labels"),
    ],
)  # fmt: skip
def test_metrics(keras, random, name, options, kind, weighted):
    ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    assert ours.name == theirs.name
    for _ in range(3):
        y, p = targets_and_predictions(kind, False, random)
        weights = random.uniform(0, 2, 9).astype("float32") if weighted else None
        ours.update_state(y, p, weights)
        theirs.update_state(y, p, sample_weight=weights)
        assert float(ours.result()) == pytest.approx(float(theirs.result()), rel=1e-5)


@pytest.mark.parametrize(
    "loss, asked, kind",
    [
        ("sparse_categorical_crossentropy", ["accuracy", "sparse_top_k_categorical_accuracy"], "labels"),
        ("categorical_crossentropy", ["acc", "mse"], "rows"),
        ("mse", ["mae", "categorical_accuracy"], "rows"),
        ("binary_crossentropy", ["accuracy"], "one"),
    ],
)
def test_what_fit_reports(keras, random, loss, asked, kind):
    """The same batches in the same order: names and numbers of every epoch, of evaluate, and the predictions."""
    x, labels = random.standard_normal((60, 5)).astype("float32"), random.integers(0, 7, 60)
    y = {"labels": labels, "rows": np.eye(7, dtype="float32")[labels], "one": (labels > 3)[:, None].astype("float32")}[
        kind
    ]
    last = 1 if kind == "one" else 7
    activation = "sigmoid" if kind == "one" else "softmax"
    model = minicnn.Sequential([
        minicnn.Input((5,)), minicnn.Dense(8, activation="relu"), minicnn.Dense(last, activation=activation),
    ])  # fmt: skip
    theirs = keras.Sequential([
        keras.Input((5,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(last, activation=activation),
    ])  # fmt: skip
    theirs.set_weights(model.get_weights())
    logs = []
    for each in (model, theirs):
        each.compile("sgd", loss, metrics=list(asked))
        options = {"class_weight": {n: 0.5 + n for n in range(7)}} if kind == "labels" else {}
        history = each.fit(
            x, y, batch_size=16, epochs=3, shuffle=False, verbose=0, validation_split=0.25, **options
        ).history
        logs.append(
            history | {"evaluate " + k: [v] for k, v in each.evaluate(x, y, verbose=0, return_dict=True).items()}
        )
    assert sorted(logs[0]) == sorted(logs[1])
    for name, values in logs[0].items():
        assert values == pytest.approx(logs[1][name], rel=1e-4), name
    np.testing.assert_allclose(model.predict(x), theirs.predict(x, verbose=0), atol=1e-5)

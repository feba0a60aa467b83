"""Losses and metrics against their formulas on single rows: both forms of targets, weights, smoothing, scores and probabilities.

The gradient that comes with a loss is that of its value, by central differences.
"""

import inspect
import json
import math

import naive
import numpy as np
import pytest

import minicnn
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
        match="unknown loss 'dice'; expected one of categorical_crossentropy, sparse_categorical_crossentropy",
    ):
        losses.get("dice")
    with pytest.raises(ValueError, match=r"unknown loss \['mse'\]; expected one of"):
        losses.get(["mse"])
    with pytest.raises(ValueError, match="expected a description, with a class_name and a config, got .* with loss"):
        losses.get({"loss": "mse"})
    with pytest.raises(ValueError, match=r"expects predictions of shape \(batch, classes\), got \(2, 3, 4\)"):
        CategoricalCrossentropy()(ONE_HOT, np.ones((2, 3, 4)))


# ---------------------------------------------------------------------- errors, divergences, hinges and focal losses


def mean(values):
    return math.fsum(values) / len(values)


def logistic(z):
    return 1 / (1 + math.exp(-z))


def focal(t, p, gamma=2.0, alpha=None):
    right = t * p + (1 - t) * (1 - p)
    weight = 1 if alpha is None else t * alpha + (1 - t) * (1 - alpha)
    return -weight * (1 - right) ** gamma * (t * math.log(p) + (1 - t) * math.log(1 - p))


def focal_of_classes(t, p, gamma, alphas):
    shares = [value / math.fsum(p) for value in p]
    return -math.fsum(a * y * (1 - q) ** gamma * math.log(q) for a, y, q in zip(alphas, t, shares, strict=True))


def cosine(t, p):
    return -np.dot(t, p) / math.sqrt(np.dot(t, t) * np.dot(p, p))


def smoothed(t, by):
    return t * (1 - by) + by / K


def each(term):
    """The mean of a term of single numbers."""
    return lambda t, p: mean([term(*pair) for pair in zip(t, p, strict=True)])


ROW_LOSSES = [  # class, settings, kind of targets and predictions, the loss of a row
    ("MeanAbsolutePercentageError", {}, "any", each(lambda t, p: 100 * abs(t - p) / abs(t))),
    ("MeanSquaredLogarithmicError", {}, "positive", each(lambda t, p: (math.log(1 + t) - math.log(1 + p)) ** 2)),
    ("LogCosh", {}, "any", each(lambda t, p: math.log(math.cosh(p - t)))),
    ("Huber", {}, "any", each(lambda t, p: (p - t) ** 2 / 2 if abs(p - t) <= 1 else abs(p - t) - 1 / 2)),
    ("Huber", {"delta": 0.3}, "any", each(lambda t, p: (p - t) ** 2 / 2 if abs(p - t) <= 0.3 else 0.3 * abs(p - t) - 0.045)),
    ("Poisson", {}, "positive", each(lambda t, p: p - t * math.log(p + 1e-7))),
    ("KLDivergence", {}, "shares", lambda t, p: math.fsum(a * math.log(a / b) for a, b in zip(t, p, strict=True))),
    ("CosineSimilarity", {}, "any", cosine),
    ("Hinge", {}, "signs", each(lambda t, p: max(0, 1 - t * p))),
    ("Hinge", {}, "one-hot", each(lambda t, p: max(0, 1 - (2 * t - 1) * p))),
    ("SquaredHinge", {}, "signs", each(lambda t, p: max(0, 1 - t * p) ** 2)),
    ("SquaredHinge", {}, "one-hot", each(lambda t, p: max(0, 1 - (2 * t - 1) * p) ** 2)),
    ("CategoricalHinge", {}, "one-hot",
     lambda t, p: max(0, 1 + max(b if a == 0 else 0 for a, b in zip(t, p, strict=True)) - p[list(t).index(1)])),
    ("BinaryFocalCrossentropy", {}, "shares", each(focal)),
    ("BinaryFocalCrossentropy", {"gamma": 0}, "shares", each(lambda t, p: focal(t, p, 0))),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.7, "gamma": 0.5}, "shares",
     each(lambda t, p: focal(t, p, 0.5, 0.7))),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, "one-hot",
     each(lambda t, z: focal(0.8 * t + 0.1, logistic(z)))),
    ("CategoricalFocalCrossentropy", {}, "shares", lambda t, p: focal_of_classes(t, p, 2, [0.25] * K)),
    ("CategoricalFocalCrossentropy", {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5], "gamma": 0.5}, "positive",
     lambda t, p: focal_of_classes(t, p, 0.5, [0.1, 0.2, 0.3, 0.4, 0.5])),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1, "alpha": 1}, "one-hot",
     lambda t, z: focal_of_classes(smoothed(t, 0.1), naive.softmax(z), 2, [1] * K)),
]  # fmt: skip
ROW_NAMES = [f"{name} {kind} {options}" for name, options, kind, _ in ROW_LOSSES]


def rows(kind, shape):
    """Targets and predictions; no kink of a loss is near."""
    drawn = np.random.default_rng(4)
    one_hot = np.eye(K)[drawn.integers(0, K, shape)]
    p = drawn.uniform(0.05, 0.95, (*shape, K))
    if kind in ("any", "signs", "one-hot"):
        p = 2 * drawn.standard_normal((*shape, K))
    targets = {
        "any": drawn.standard_normal((*shape, K)), "positive": drawn.uniform(0.1, 3, (*shape, K)),
        "shares": drawn.dirichlet(np.ones(K), shape), "signs": 2 * one_hot - 1, "one-hot": one_hot,
    }  # fmt: skip
    return targets[kind], p


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@pytest.mark.parametrize("shape", [(6,), (3, 2)])
@pytest.mark.parametrize("name, options, kind, of_row", ROW_LOSSES, ids=ROW_NAMES)
def test_losses_of_rows(name, options, kind, of_row, shape, reduction, weighted):
    loss = getattr(losses, name)(**options, reduction=reduction)
    targets, p = rows(kind, shape)
    weights = np.random.default_rng(5).uniform(0, 2, shape[0]) if weighted else None
    counts = np.ones(shape[0]) if weights is None else weights

    def formula(p):
        terms = [counts[place[0]] * of_row(targets[place], p[place]) for place in np.ndindex(shape)]
        return math.fsum(terms) / (len(terms) if reduction == "sum_over_batch_size" else 1)

    value, gradient = loss.value_and_gradient(targets, p, weights)
    assert value == pytest.approx(formula(p), rel=1e-12) and gradient.dtype == p.dtype
    h = 1e-6
    for index in np.ndindex(p.shape):
        step = np.zeros(p.shape)
        step[index] = h
        assert gradient[index] == pytest.approx((formula(p + step) - formula(p - step)) / (2 * h), rel=1e-5, abs=1e-8)
    single, slope = loss.value_and_gradient(targets, p.astype("float32"), weights)
    assert single == pytest.approx(value, rel=1e-5) and slope.dtype == np.float32
    if reduction == "sum_over_batch_size" and not weighted:
        every = losses.BY_NAME[loss.name.removesuffix("_loss")](targets, p, **options)
        assert every.shape == shape and every.mean() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name, options, kind, of_row", ROW_LOSSES, ids=ROW_NAMES)
def test_names_and_configurations_of_losses_of_rows(name, options, kind, of_row):
    loss = getattr(losses, name)(**options)
    again = losses.get(losses.serialize(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    assert options.items() <= loss.get_config().items()
    json.dumps(loss.get_config())
    function = getattr(losses, type(loss).name)
    assert function.__name__ == type(loss).name
    for each_name in (name, type(loss).name, function, type(loss)):
        assert type(losses.get(each_name)) is type(loss)
    short = {"KLDivergence": "kld", "MeanAbsolutePercentageError": "mape", "MeanSquaredLogarithmicError": "msle"}.get(
        name
    )
    assert short is None or losses.BY_NAME[short] is losses.BY_NAME[short.upper()] is function
    sign = -1 if name == "CosineSimilarity" else 1  # as a metric it is larger where vectors are more alike
    targets, p = rows(kind, (6,))
    assert metrics.get(type(loss).name)(targets, p) == pytest.approx(sign * type(loss)()(targets, p), rel=1e-12)


def test_where_losses_are_clipped_or_have_kinks():
    zero = np.zeros((1, K))
    for p, expected in ((zero, 0), (np.full((1, K), 2.0), 0)):  # outside of [1e-7, 1]
        assert (losses.KLDivergence().value_and_gradient(np.full((1, K), 0.2), p)[1] == expected).all()
    assert (losses.MeanSquaredLogarithmicError().value_and_gradient(zero + 1, zero - 1)[1] == 0).all()
    value, gradient = losses.CosineSimilarity().value_and_gradient(zero, zero)
    assert value == 0 and np.isfinite(gradient).all()
    _, gradient = losses.CategoricalHinge().value_and_gradient([[1, 0, 0, 0]], np.array([[0.5, 1.0, 1.0, 0.0]]))
    np.testing.assert_array_equal(gradient, [[-1, 0.5, 0.5, 0]])
    assert losses.LogCosh()([[0.0]], [[1000.0]]) == pytest.approx(1000 - math.log(2))
    for gamma in (0.0, 0.5, 1.0, 2.0):
        for scores in (np.array([[1000.0, -1000.0]]), np.array([[-1000.0, 1000.0]]), np.float32([[88, -104]])):
            for kind in (losses.BinaryFocalCrossentropy, losses.CategoricalFocalCrossentropy):
                value, gradient = kind(gamma=gamma, from_logits=True).value_and_gradient([[1, 0]], scores)
                assert np.isfinite(value) and np.isfinite(gradient).all()


def test_settings_of_losses_that_cannot_be():
    for make, sentence in (
        (lambda: losses.Huber(0), "delta must be a positive number, not 0"),
        (lambda: losses.Huber("1"), "delta must be a positive number, not '1'"),
        (lambda: losses.CategoricalFocalCrossentropy(gamma=None), "gamma must be a number from 0 on, not None"),
        (lambda: losses.BinaryFocalCrossentropy(alpha="a"), "alpha must be a number, not 'a'"),
        (lambda: losses.CategoricalFocalCrossentropy(None), "alpha must be a number, or one for each class, not None"),
        (lambda: losses.CategoricalFocalCrossentropy([[1], [2, 3]]), "alpha must be a number, or one for each class, not "),
        (lambda: losses.CosineSimilarity(1), "only the last axis, -1, can hold the classes, not axis 1"),
        (lambda: losses.BinaryFocalCrossentropy(gamma=-1), "gamma must be a number from 0 on, not -1"),
        (lambda: losses.CategoricalFocalCrossentropy(gamma=-1), "gamma must be a number from 0 on, not -1"),
        (lambda: losses.CategoricalFocalCrossentropy([1, 2])(ONE_HOT, SCORES), "alpha must be one number, or 5, not .1.0, 2.0"),
        (lambda: losses.CategoricalFocalCrossentropy()(LABELS, SCORES), r"predictions of shape \(7, 5\) but targets of shape"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            make()


LAST = {"name": None, "dtype": None}
KERAS = {"from_logits": False, "label_smoothing": 0.0, "axis": -1, "reduction": "sum_over_batch_size"} | LAST
SPARSE = {"from_logits": False, "ignore_class": None, "reduction": "sum_over_batch_size", "axis": -1} | LAST


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


def test_accuracy_of_predictions_for_every_pixel():
    p = np.random.default_rng(0).random((2, 3, 2, 4))
    labels = np.random.default_rng(1).integers(0, 4, (2, 3, 2))
    ranks = np.zeros(labels.shape)
    for place in np.ndindex(labels.shape):
        ranks[place] = sum(p[place][k] > p[place][labels[place]] for k in range(4))
    for targets in (labels, labels[..., None], np.eye(4)[labels]):
        np.testing.assert_array_equal(metrics.accuracy(targets, p), ranks == 0)
        np.testing.assert_array_equal(metrics.top_k_categorical_accuracy(targets, p, 2), ranks < 2)
    sides = (p[..., :1] > 0.5) == (labels[..., None] % 2)
    np.testing.assert_array_equal(metrics.accuracy(labels % 2, p[..., :1]), sides.reshape(2, -1).mean(axis=1))


def test_confusion_matrix():
    matrix = metrics.confusion_matrix([0, 0, 1, 2, 2], [0, 1, 1, 0, 0], 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [2, 0, 0]])
    with pytest.raises(ValueError, match="unknown metric 'sensitivity'"):
        metrics.get("sensitivity")


# ---------------------------------------------------------------------- precision, recall and their like

BINARY = np.array([1, 0, 1, 1, 0, 0, 1, 0, 0, 1])
CHANCES = np.array([0.9, 0.8, 0.7, 0.2, 0.5, 0.1, 0.5, 0.6, 0.0, 1.0])
ROWS = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25], [0.3, 0.3, 0.4]])
TRUE = np.array([1, 0, 0, 2, 2])


def counts(y, p, threshold, weights=None):
    """TP, FP and FN, one number after the other."""
    found = {"tp": 0.0, "fp": 0.0, "fn": 0.0}
    for true, chance, weight in zip(y, p, np.ones(len(y)) if weights is None else weights, strict=True):
        if chance > threshold:
            found["tp" if true else "fp"] += weight
        elif true:
            found["fn"] += weight
    return found.values()


@pytest.mark.parametrize("weights", [None, np.arange(10.0)], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("shape", [(10,), (10, 1)])
@pytest.mark.parametrize("thresholds", [None, 0.3, [0.9, 0.0, 0.5]])
def test_precision_and_recall(shape, thresholds, weights):
    asked = [0.5] if thresholds is None else np.ravel(thresholds)
    expected = [counts(BINARY, CHANCES, threshold, weights) for threshold in asked]
    for metric, other in ((metrics.Precision(thresholds), 1), (metrics.Recall(thresholds), 2)):
        for part in (slice(0, 4), slice(4, 10)):
            given = None if weights is None else weights[part]
            metric.update_state(BINARY[part], CHANCES.reshape(shape)[part], given)
        found = [row[0] / (row[0] + row[other]) for row in map(list, expected)]
        np.testing.assert_allclose(metric.result(), found if np.ndim(thresholds) else found[0])
        metric.reset_state()
        assert np.max(metric.result()) == 0


@pytest.mark.parametrize("weights", [None, np.arange(10.0)], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("thresholds", [None, 0.3, [0.9, 0.0, 0.5]])
def test_counts_of_right_and_wrong_predictions(thresholds, weights):
    expected = []
    for threshold in [0.5] if thresholds is None else np.ravel(thresholds):
        tp, fp, fn = counts(BINARY, CHANCES, threshold, weights)
        expected.append([tp, fp, (10.0 if weights is None else weights.sum()) - tp - fp - fn, fn])
    kinds = metrics.TruePositives, metrics.FalsePositives, metrics.TrueNegatives, metrics.FalseNegatives
    for kind, found in zip(kinds, np.transpose(expected), strict=True):
        metric = kind(thresholds)
        for part in (slice(0, 4), slice(4, 10)):
            metric.update_state(BINARY[part], CHANCES[part], None if weights is None else weights[part])
        np.testing.assert_allclose(metric.result(), found if np.ndim(thresholds) else found[0])
        assert type(metric).from_config(metric.get_config()).thresholds.tolist() == metric.thresholds.tolist()
        metric.reset_state()
        assert np.max(metric.result()) == 0


def test_metrics_number_their_names():
    minicnn.backend.clear_session()
    made = [metrics.AUC(), metrics.get("AUC"), metrics.AUC(name="auc"), metrics.get(metrics.AUC), metrics.AUC()]
    assert [metric.name for metric in made] == ["auc", "AUC", "auc", "auc_2", "auc_3"]
    fixed = metrics.Mean, metrics.Sum, metrics.F1Score, metrics.BinaryAccuracy, metrics.MeanSquaredError
    for kind in (*fixed, metrics.RootMeanSquaredError):
        assert kind().name == kind().name == metrics.snake_case(kind.__name__)
    minicnn.backend.clear_session()
    assert [metrics.Precision().name for _ in range(2)] == ["precision", "precision_1"]


def test_the_root_of_the_mean_squared_error():
    metric, other = metrics.RootMeanSquaredError(), RANDOM.standard_normal(ROWS.shape)
    for part in (slice(0, 2), slice(2, 5)):
        metric.update_state(other[part], ROWS[part], np.arange(5.0)[part])
    expected = np.sqrt((np.arange(5)[:, None] * (other - ROWS) ** 2).sum() / (10 * 3))
    assert metric.result() == pytest.approx(expected)


def test_precision_of_the_likeliest_classes_and_of_one():
    one_hot = np.eye(3)[TRUE]
    assert metrics.Precision(top_k=1)(one_hot, ROWS) == pytest.approx(3 / 5)
    assert metrics.Recall(top_k=1)(one_hot, ROWS) == pytest.approx(3 / 5)
    assert metrics.Recall(top_k=2)(one_hot, ROWS) == pytest.approx(3 / 5)
    assert metrics.Precision(top_k=2)(one_hot, ROWS) == pytest.approx(3 / 10)
    assert metrics.Precision()(one_hot, ROWS) == pytest.approx(1 / 2)
    assert metrics.Recall(0.2, class_id=0)(one_hot, ROWS) == pytest.approx(1 / 2)
    assert metrics.Precision(0.2, class_id=0)(one_hot, ROWS) == pytest.approx(1 / 3)


def test_f1_score():
    one_hot = np.eye(3)[TRUE]
    tp, fp, fn = np.array([1, 1, 1]), np.array([1, 0, 1]), np.array([1, 0, 1])  # rows say 1, 0, 2, 0, 2
    scores = 2 * tp / (2 * tp + fp + fn)
    np.testing.assert_allclose(metrics.F1Score()(one_hot, ROWS), scores, rtol=1e-6)
    assert metrics.F1Score("macro")(one_hot, ROWS) == pytest.approx(scores.mean())
    assert metrics.F1Score("weighted")(one_hot, ROWS) == pytest.approx((scores * [2, 1, 2]).sum() / 5)
    assert metrics.F1Score("micro")(one_hot, ROWS) == pytest.approx(3 / 5)
    precision, recall = 1 / 2, 1 / 2
    assert metrics.FBetaScore(beta=2.0)(one_hot, ROWS)[0] == pytest.approx(
        5 * precision * recall / (4 * precision + recall)
    )
    assert metrics.F1Score("macro", threshold=0.5)(BINARY, CHANCES[:, None]) == pytest.approx(2 * 3 / (2 * 3 + 2 + 2))


def test_the_area_under_the_roc_curve_is_the_chance_that_a_true_one_is_above_a_false_one():
    pairs = [(p > q) + 0.5 * (p == q) for p in CHANCES[BINARY == 1] for q in CHANCES[BINARY == 0]]
    assert metrics.AUC()(BINARY, CHANCES) == pytest.approx(np.mean(pairs))
    scores = np.log(np.clip(CHANCES, 0.01, 0.99) / (1 - np.clip(CHANCES, 0.01, 0.99)))
    assert metrics.AUC(from_logits=True)(BINARY, scores) == pytest.approx(np.mean(pairs))
    lower, upper = (metrics.AUC(9, summation_method=way)(BINARY, CHANCES) for way in ("minoring", "majoring"))
    assert lower < metrics.AUC(9)(BINARY, CHANCES) < upper
    both = np.stack([CHANCES, 1 - CHANCES], axis=1), np.stack([BINARY, BINARY], axis=1)
    assert metrics.AUC(multi_label=True)(both[1], both[0]) == pytest.approx(0.5)
    assert metrics.AUC(multi_label=True, label_weights=[1, 0])(both[1], both[0]) == pytest.approx(np.mean(pairs))
    assert metrics.AUC(curve="PR")(BINARY, BINARY.astype(float)) == pytest.approx(1)


def test_metrics_that_count_in_a_model():
    """By name and as objects: what they say of the predictions; several numbers are kept, and their mean is printed."""
    minicnn.backend.clear_session()
    x, labels = RANDOM.standard_normal((40, 5)).astype("float32"), RANDOM.integers(0, 3, 40)
    model = minicnn.Sequential([minicnn.Input((5,)), minicnn.Dense(3, activation="softmax")])
    asked = ["precision", "AUC", metrics.Recall(0.3), metrics.F1Score(), metrics.F1Score("macro", name="f1")]
    asked += ["true_positives", metrics.FalseNegatives(0.2, name="fn"), "RootMeanSquaredError"]
    model.compile("sgd", "categorical_crossentropy", metrics=asked)
    history = model.fit(x, np.eye(3)[labels], epochs=2, verbose=2, validation_split=0.2).history
    assert np.shape(history["val_f1_score"]) == (2, 3) and type(history["val_AUC"][0]) is float
    found, p = model.evaluate(x, np.eye(3)[labels], return_dict=True), model.predict(x)
    names = "precision", "AUC", "recall", "f1_score", "f1", "true_positives", "fn", "RootMeanSquaredError"
    for name, metric in zip(names, asked, strict=True):
        metric = metrics.get(metric)
        metric.reset_state()
        np.testing.assert_allclose(found[name], metric(np.eye(3)[labels], p), rtol=1e-6)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["recall"])
    with pytest.raises(
        ValueError, match=r"metric recall: .*\(32, 3\), received \(32,\); utils.to_categorical makes them"
    ):
        model.fit(x, labels, verbose=0)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: metrics.Precision(1.5), "metric precision: thresholds must be from 0 to 1, not 1.5"),
        (lambda: metrics.Recall(class_id=3)(np.eye(3), np.eye(3)), r"metric recall: there is no class 3 in .* \(3, 3\)"),
        (lambda: metrics.AUC(1), "metric auc: num_thresholds must be 2 or more, not 1"),
        (lambda: metrics.AUC(curve="DET"), "metric auc: curve must be ROC or PR, not 'DET'"),
        (lambda: metrics.AUC(summation_method="up"), "summation_method must be interpolation, minoring or majoring, not 'up'"),
        (lambda: metrics.AUC(multi_label=True)([0, 1], [0, 1]), r"metric auc: .* \(batch, labels\), received \(2,\)"),
        (lambda: metrics.F1Score("mean"), "metric f1_score: average must be micro, macro, weighted or None, not 'mean'"),
        (lambda: metrics.F1Score(threshold=0), "threshold must be above 0 and at most 1, not 0"),
        (lambda: metrics.FBetaScore(beta=-1.0), "beta must be a positive number, not -1.0"),
        (lambda: metrics.F1Score()([0, 1], [0, 1]), r"metric f1_score: .* \(batch, classes\), received \(2,\)"),
    ],
)  # fmt: skip
def test_metrics_that_cannot_be(make, sentence):
    minicnn.backend.clear_session()
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@pytest.mark.parametrize("shape", [(3,), (3, 2)])
def test_weights_of_several_batches_are_those_of_each(reduction, shape):
    loss, given = losses.MeanSquaredError(reduction), np.random.default_rng(0).random((4, *shape))
    expected = given if reduction == "sum" else given / np.prod(shape)
    found = loss.weights(given.reshape(12, *shape[1:]), (12, *shape[1:]), 4)
    np.testing.assert_array_equal(found.reshape(given.shape), expected)


def test_functions_that_give_their_arguments_to_a_loss():
    def smoothed(y_true, y_pred):
        return losses.categorical_crossentropy(y_true, y_pred, from_logits=True, label_smoothing=0.2)

    none = losses.MeanSquaredError(reduction="none")
    sum_ = losses.Huber(0.5, reduction="sum")
    rng = np.random.default_rng(0)
    y, p = np.eye(4)[rng.integers(0, 4, 12)], rng.normal(size=(12, 4))
    t = y * 0.8 + 0.2 / 4
    entropy = -(t * (p - np.log(np.exp(p).sum(axis=1, keepdims=True)))).sum(axis=1).mean()
    d = abs(p - y)
    huber = np.where(d <= 0.5, d**2 / 2, 0.5 * d - 0.125).mean(axis=1).sum()
    for function, expected in (
        (smoothed, entropy),
        (lambda a, b: none(a, b), ((p - y) ** 2).mean()),
        (lambda a, b: sum_(a, b), huber),
        (lambda *both: losses.mse(*both), ((p - y) ** 2).mean()),
    ):
        assert losses.get(function).value_and_gradient(y, p)[0] == pytest.approx(expected, rel=1e-6)
    assert none.reduction == "none"
    for function in (
        lambda a, b: losses.mse(b, a),
        lambda a, b: np.sum(np.cbrt(a - b)),
        lambda a, b: np.sum(losses.mse(a, np.asarray(b))),
        lambda a, b: b if b else -b,
        lambda a, b: None,
        lambda a, b: a,
    ):
        with pytest.raises(
            ValueError, match="'<lambda>' is a function without a gradient \\(.*make a subclass of Loss"
        ):
            losses.get(function).value_and_gradient(y, p)


def test_a_function_that_fails_names_itself_and_the_shapes():
    y, p = np.ones((4, 3), "float32"), np.ones((4, 3), "float32")

    def crooked(y_true, y_pred):
        return (y_true - y_pred) @ np.ones((7, 2))

    with pytest.raises(
        ValueError,
        match=r"the loss 'crooked' fails for targets of shape \(4, 3\) and predictions of shape \(4, 3\): matmul",
    ):
        losses.get(crooked).value_and_gradient(y, p)


@pytest.mark.parametrize("reduction, expected", [("sum", 3.0 * 6), ("sum_over_batch_size", 3.0 * 2)])
def test_one_loss_for_all_samples_is_weighed_by_each(reduction, expected):
    class Largest(losses.Loss):
        def call(self, y_true, y_pred):
            return minicnn.ops.max(y_pred)

    p = np.array([[1.0], [3.0], [2.0]])
    value, gradient = Largest(reduction=reduction).value_and_gradient(np.zeros((3, 1)), p, np.array([1.0, 2.0, 3.0]))
    assert value == expected
    np.testing.assert_array_equal(gradient, [[0], [expected / 3], [0]])

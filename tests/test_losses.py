"""Losses against their formulas on single rows: both forms of targets, weights, smoothing, scores and probabilities.

The gradient that comes with a loss is that of its value, by central differences.
"""

import inspect
import json
import math

import naive
import numpy as np
import pytest
from small import X, Y, small

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


# ---------------------------------------------------------------------- errors and binary cross-entropy


def slope(loss, targets, predictions, weights):
    """The gradient, by central differences in float64."""
    gradient = np.zeros_like(predictions)
    for place in np.ndindex(predictions.shape):
        moved = []
        for step in (1e-6, -1e-6):
            near = predictions.copy()
            near[place] += step
            moved.append(loss(targets, near, weights))
        gradient[place] = (moved[0] - moved[1]) / 2e-6
    return gradient


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2, 0, 1.0])])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@pytest.mark.parametrize("shape", [(4, 3), (4, 1), (4, 2, 2, 3)])
@pytest.mark.parametrize(
    "cls, options, term",
    [
        (losses.MeanSquaredError, {}, lambda t, p: (p - t) ** 2),
        (losses.MeanAbsoluteError, {}, lambda t, p: abs(p - t)),
        (losses.BinaryCrossentropy, {}, lambda t, p: -(t * np.log(p) + (1 - t) * np.log(1 - p))),
        (
            losses.BinaryCrossentropy,
            {"from_logits": True, "label_smoothing": 0.2},
            lambda t, z: np.log(1 + np.exp(z)) - (0.8 * t + 0.1) * z,
        ),
    ],
)
def test_errors_and_binary_crossentropy(cls, options, term, shape, reduction, weights):
    random = np.random.default_rng(1)
    t, p = random.integers(0, 2, shape).astype(float), random.uniform(0.05, 0.95, shape)
    loss = cls(**options, reduction=reduction)
    value, gradient = loss.value_and_gradient(t, p, weights)
    total, count = 0.0, 0
    for place in np.ndindex(shape[:-1]):
        count += 1
        total += np.mean([term(a, b) for a, b in zip(t[place], p[place], strict=True)]) * (
            1 if weights is None else weights[place[0]]
        )
    assert value == pytest.approx(total / (count if reduction == "sum_over_batch_size" else 1), rel=1e-12)
    np.testing.assert_allclose(gradient, slope(loss, t, p, weights), atol=1e-7)
    again = losses.get(losses.serialize(loss))
    assert type(again) is cls and again.get_config() == loss.get_config()


def test_large_scores_neither_overflow_nor_vanish():
    loss = losses.BinaryCrossentropy(from_logits=True)
    value, gradient = loss.value_and_gradient([[1.0], [0.0]], np.array([[-1000.0], [1000.0]]))
    assert value == 1000 and gradient.tolist() == [[-0.5], [0.5]]


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
        (lambda: losses.CategoricalCrossentropy(label_smoothing="a"), "label_smoothing must be between 0 and 1, not 'a'"),
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


def test_the_order_of_the_arguments_of_losses():
    assert (
        minicnn.losses.MeanSquaredError("sum").reduction == minicnn.losses.MeanAbsoluteError("sum").reduction == "sum"
    )
    assert minicnn.Loss("mine", "sum").get_config() == {"name": "mine", "reduction": "sum"}


@pytest.mark.parametrize(
    "name", ["categorical_crossentropy", "binary_crossentropy", "mean_squared_error", "mse", "mae"]
)
def test_functions_and_names_of_losses(name):
    function = getattr(losses, name)
    assert type(losses.get(function)) is type(losses.get(name))
    t, p = np.eye(3)[[0, 2]], np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    assert function(t, p).shape == (2,)
    assert losses.get(name)(t, p) == pytest.approx(function(t, p).mean(), rel=1e-12)


@pytest.mark.parametrize("short", ["bce", "kld", "mse", "mae", "mape", "msle"])
def test_short_names_of_losses_and_of_metrics(short):
    name = type(losses.get(short)).name
    assert type(losses.get(short.upper())) is type(losses.get(short)) is type(losses.get(name))
    t, p = np.round(RANDOM.random((9, 3))), RANDOM.random((9, 3))
    for each in (short, short.upper(), name):
        assert metrics.get(each).name == each and metrics.get(each)(t, p) == pytest.approx(losses.get(name)(t, p))
    assert type(metrics.get("mean")) is type(metrics.get("Mean")) is metrics.Mean and metrics.get("sum")([1, 2]) == 3


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


@pytest.mark.parametrize(
    "cls, options, y",
    [
        (losses.CategoricalCrossentropy, {"label_smoothing": 0.2}, ONE_HOT),
        (losses.SparseCategoricalCrossentropy, {}, LABELS),
        (losses.BinaryCrossentropy, {"label_smoothing": 0.1}, ONE_HOT),
        (losses.CategoricalFocalCrossentropy, {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5], "label_smoothing": 0.1}, ONE_HOT),
        (losses.Huber, {"delta": 0.3}, ONE_HOT),
    ],
)
def test_a_call_of_yours_may_change_what_a_loss_gives(cls, options, y):
    """3 l + l², whose slope is 3 + 2 l times that of l; the targets are those that were given."""
    p = PROBABILITIES / PROBABILITIES.sum(axis=1, keepdims=True)

    class Changed(cls):
        def call(self, y_true, y_pred):
            np.testing.assert_array_equal(y_true, y)
            of_sample = super().call(y_true, y_pred)
            assert np.shape(of_sample) == (N,)
            return 3 * of_sample + of_sample**2

    terms, slopes = zip(*(cls(**options).value_and_gradient(y[n : n + 1], p[n : n + 1]) for n in range(N)), strict=True)
    terms, slopes = np.array(terms), np.concatenate(slopes)
    value, gradient = Changed(**options).value_and_gradient(y, p, WEIGHTS)
    assert value == pytest.approx((WEIGHTS * (3 * terms + terms**2)).mean(), rel=1e-9)
    np.testing.assert_allclose(gradient, (WEIGHTS * (3 + 2 * terms))[:, None] * slopes / N, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(cls(**options).call(y, p), terms, rtol=1e-9)


# ---------------------------------------------------------------------- in a model


def test_a_call_of_your_own_gets_what_the_model_gives():
    """And not the scores before its softmax, which the loss that it is made from would take."""

    class Own(losses.CategoricalCrossentropy):
        def call(self, y_true, y_pred):
            return -minicnn.ops.sum(y_true * minicnn.ops.log(y_pred), axis=-1)

    rows = np.eye(4, dtype="float32")[Y]
    models = [small(loss=loss) for loss in (Own(), "categorical_crossentropy")]
    values = [model.fit(X, rows, epochs=2, shuffle=False, verbose=0).history["loss"] for model in models]
    np.testing.assert_allclose(*values, rtol=1e-5)
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert models[0].evaluate(X, rows, verbose=0)[0] == pytest.approx(
        models[1].evaluate(X, rows, verbose=0)[0], rel=1e-5
    )


@pytest.mark.parametrize(
    "last, activation, loss", [(4, "softmax", "mse"), (4, "sigmoid", "binary_crossentropy"), (1, None, "mae")]
)
def test_a_model_trains_on_any_loss(last, activation, loss):
    """Its steps follow the gradient of the loss of what `predict` gives, which a softmax is part of."""
    model = small(last, activation, loss=loss, metrics=[loss]).astype("float64")
    targets = np.eye(4)[Y] if last == 4 else Y.astype(float)
    x, before = X.astype(float), model.get_weights()
    value = model.train_on_batch(x, targets)[0]
    steps = [(old - new) / 0.01 for old, new in zip(before, model.get_weights(), strict=True)]

    def loss_at(move):
        model.set_weights([weight + move * step for weight, step in zip(before, steps, strict=True)])
        return losses.get(loss)(targets, model.predict(x))

    assert value == pytest.approx(loss_at(0), rel=1e-9)
    rise = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5
    assert rise == pytest.approx(sum((step**2).sum() for step in steps), rel=1e-5)
    found = model.evaluate(x, targets, return_dict=True)
    assert found[loss] == pytest.approx(found["loss"], rel=1e-9)


def test_scores_that_a_softmax_has_become():
    with pytest.warns(UserWarning, match="sparse_categorical_crossentropy expects scores .* before the last softmax"):
        small(loss=losses.SparseCategoricalCrossentropy(from_logits=True))


@pytest.mark.parametrize("reduction", [None, "none"])
@pytest.mark.parametrize("cls", [losses.CategoricalCrossentropy, losses.BinaryCrossentropy, losses.MeanSquaredError])
def test_a_loss_without_a_reduction_gives_that_of_every_sample(cls, reduction):
    rows, weights = np.eye(4)[Y[:9]], RANDOM.uniform(0, 2, 9)
    p = RANDOM.dirichlet(np.ones(4), 9)
    loss = cls(reduction=reduction, dtype="float32")
    terms = [cls()(rows[n : n + 1], p[n : n + 1]) for n in range(9)]
    np.testing.assert_allclose(loss(rows, p).numpy(), terms, rtol=1e-9)
    np.testing.assert_allclose(loss(rows, p, weights), weights * terms, rtol=1e-9)
    with pytest.raises(ValueError, match=r"compile: the loss \w+ needs a reduction, 'sum_over_batch_size' or 'sum'"):
        small(loss=loss)


@pytest.mark.parametrize("name", sorted(losses.CLASSES))
def test_whole_numbers_are_losses_as_the_same_floats_are(name):
    loss = losses.CLASSES[name]()
    targets = [1, 0] if name == "sparse_categorical_crossentropy" else [[0, 1], [1, 0]]
    whole = [[1, 2], [3, 1]]
    np.testing.assert_array_equal(loss(targets, whole), loss(targets, np.array(whole, np.float32)))


def test_the_mean_of_squares_of_whole_numbers():
    assert losses.MeanSquaredError()([[1, 2], [3, 4]], [[2, 2], [3, 3]]) == 0.5
    assert losses.MeanSquaredError()([0.5, 1.5], [1, 2]) == 0.25


def test_targets_and_reductions_that_do_not_fit():
    with pytest.raises(ValueError, match="predictions of shape .* but targets of shape"):
        small(loss="mse").fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="reduction must be"):
        losses.MeanSquaredError(reduction="mean")

"""Losses and metrics, and what `fit` reports of them, beside Keras."""

import inspect

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
    ("MeanAbsolutePercentageError", {}, "positive"),
    ("MeanAbsolutePercentageError", {}, "rows"),
    *(
        (name, {}, kind)
        for name in ("MeanSquaredLogarithmicError", "Poisson", "KLDivergence")
        for kind in ("positive", "rows")
    ),
    *((name, {}, kind) for name in ("LogCosh", "Huber", "CosineSimilarity") for kind in ("numbers", "rows")),
    ("Huber", {"delta": 0.4}, "numbers"),
    *((name, {}, kind) for name in ("Hinge", "SquaredHinge") for kind in ("signs", "rows")),
    ("CategoricalHinge", {}, "rows"),
    ("BinaryFocalCrossentropy", {}, "rows"),
    (
        "BinaryFocalCrossentropy",
        {"apply_class_balancing": True, "alpha": 0.6, "gamma": 1.5, "label_smoothing": 0.1},
        "rows",
    ),
    ("BinaryFocalCrossentropy", {"from_logits": True, "gamma": 0.5}, "rows"),
    ("CategoricalFocalCrossentropy", {}, "rows"),
    ("CategoricalFocalCrossentropy", {"alpha": [0.1, 0.2, 0.3, 0.4], "gamma": 1.5, "label_smoothing": 0.1}, "rows"),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "gamma": 0.5}, "rows"),
]


def targets_and_predictions(kind, from_logits, random):
    if kind in ("signs", "numbers", "positive"):
        y, p = random.standard_normal((2, 9, 4)).astype("float32")
        return {"signs": (np.sign(y), p), "numbers": (y, p), "positive": (np.exp(y), np.exp(p))}[kind]
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


def focal(k, y, p):
    p = k.ops.clip(p, 1e-7, 1 - 1e-7)
    return k.ops.mean(k.ops.sum(0.25 * k.ops.power(1 - p, 2.0) * -y * k.ops.log(p), axis=-1))


def weighed(k, y, p):
    p = p / k.ops.sum(p, axis=-1, keepdims=True)
    return -k.ops.sum(y * k.ops.log(k.ops.clip(p, 1e-7, 1)) * np.array([0.5, 1, 2, 3], "float32"), axis=-1)


def huber(k, y, p):
    error = y - p
    return k.ops.where(k.ops.abs(error) < 0.5, k.ops.square(error) / 2, 0.5 * k.ops.abs(error) - 0.125)


def overlap(k, y, p):
    return 1 - (2 * k.ops.sum(y * p) + 1) / (k.ops.sum(y) + k.ops.sum(p) + 1)


def mixed(k, y, p):
    return k.losses.categorical_crossentropy(y, p, label_smoothing=0.1) + 0.3 * k.losses.mean_squared_error(y, p)


def entropies(k, y, p):
    return k.ops.max(k.ops.binary_crossentropy(y, p), axis=-1) + k.ops.mean(k.ops.categorical_crossentropy(y, p)) / 2


CALCULATED = [focal, weighed, huber, overlap, mixed, entropies]


@pytest.mark.parametrize("as_class", [False, True])
@pytest.mark.parametrize(
    "function, weighted",
    [
        *((function, False) for function in CALCULATED),
        *(
            (function, True) for function in CALCULATED if function is not huber
        ),  # Keras weighs no losses (N, K) by sample
    ],
)
def test_losses_that_are_calculated(keras, random, function, as_class, weighted):
    """Losses of three epochs, and the weights after their 21 steps."""
    x, start = random.standard_normal((28, 5)).astype("float32"), random.standard_normal((5, 4)).astype("float32")
    y = np.eye(4, dtype="float32")[random.integers(0, 4, 28)]
    weights = random.uniform(0, 2, 28).astype("float32") if weighted else None
    found = []
    for k in (minicnn, keras):
        own = {"call": lambda self, y_true, y_pred, k=k: function(k, y_true, y_pred)}
        loss = (
            type("Own", (k.losses.Loss,), own)()
            if as_class
            else lambda y_true, y_pred, k=k: function(k, y_true, y_pred)
        )
        model = k.Sequential([k.Input((5,)), k.layers.Dense(4, activation="softmax", use_bias=False)])
        model.layers[-1].set_weights([start])
        model.compile(k.optimizers.SGD(0.3), loss)
        history = model.fit(x, y, 4, 3, sample_weight=weights, shuffle=False, verbose=0).history["loss"]
        evaluated = model.evaluate(x, y, batch_size=7, sample_weight=weights, verbose=0)
        whole = model.evaluate(np.tile(x, (3, 1)), np.tile(y, (3, 1)), verbose=0)  # in batches of 32
        found.append((history, evaluated, whole, model.get_weights()[0]))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name, options",
    [
        ("CategoricalCrossentropy", {"label_smoothing": 0.1}),
        ("SparseCategoricalCrossentropy", {}),
        ("BinaryCrossentropy", {"from_logits": True}),
        ("MeanSquaredError", {}),
    ],
)
def test_losses_made_from_others(keras, random, name, options):
    """Losses of three epochs, and the weights after their 12 steps."""
    x, start = random.standard_normal((28, 5)).astype("float32"), random.standard_normal((5, 4)).astype("float32")
    labels = random.integers(0, 4, 28)
    y = labels if name.startswith("Sparse") else np.eye(4, dtype="float32")[labels]
    found = []
    for k in (minicnn, keras):

        class Own(getattr(k.losses, name)):
            def call(self, y_true, y_pred, k=k):
                return 2 * super().call(y_true, y_pred) + k.ops.max(y_pred, axis=-1)

        model = k.Sequential([k.Input((5,)), k.layers.Dense(4, activation="softmax", use_bias=False)])
        model.layers[-1].set_weights([start])
        model.compile(k.optimizers.SGD(0.3), Own(**options))
        history = model.fit(x, y, 7, 3, shuffle=False, verbose=0).history["loss"]
        found.append((history, model.evaluate(x, y, verbose=0), model.get_weights()[0]))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted({loss.__name__ for loss in losses.FUNCTIONS}))
def test_functions(keras, random, name):
    y, p = targets_and_predictions("labels" if "sparse" in name else "rows", False, random)
    from_logits = {} if "focal" in name else {"from_logits": True}
    for arguments in [(y, p), (y, np.log(p), *from_logits.values())] if "crossentropy" in name else [(y, p)]:
        ours, theirs = (getattr(module, name)(*arguments) for module in (losses, keras.losses))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, shape) for name in ("accuracy", "BinaryAccuracy") for shape in ((3, 2, 4), (2, 6), (3, 2, 1), (2, 1))),
        *((f"{kind}CategoricalAccuracy", shape) for kind in ("", "TopK") for shape in ((3, 2, 4), (2, 6))),
    ],
)
def test_metrics_of_predictions_for_every_pixel(keras, random, name, shape):
    p = random.random((7, *shape)).astype("float32")
    wide = shape[-1] > 1
    targets = (
        np.eye(shape[-1])[random.integers(0, shape[-1], (7, *shape[:-1]))] if wide else np.round(random.random(p.shape))
    )
    found = []
    for module in (keras, minicnn):
        metric = name if name == "accuracy" else getattr(module.metrics, name)(**({"k": 1} if "TopK" in name else {}))
        model = module.Sequential([module.Input(shape), module.layers.Activation("linear")])
        model.compile("sgd", "mse", metrics=[metric])
        found.append(model.evaluate(p, targets, verbose=0)[1])
    assert found[1] == pytest.approx(found[0], abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name, options, kind",
    [
        ("CategoricalAccuracy", {}, "rows"), ("SparseCategoricalAccuracy", {}, "labels"), ("BinaryAccuracy", {}, "rows"),
        ("BinaryAccuracy", {"threshold": 0.2}, "rows"), ("TopKCategoricalAccuracy", {"k": 2}, "rows"),
        ("SparseTopKCategoricalAccuracy", {"k": 3}, "labels"), ("MeanSquaredError", {}, "rows"),
        ("MeanAbsoluteError", {}, "rows"), ("BinaryCrossentropy", {}, "rows"),
        ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "rows"), ("SparseCategoricalCrossentropy", {}, "labels"),
        *((name, {}, "positive") for name in ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "Poisson")),
        ("KLDivergence", {}, "rows"), ("LogCoshError", {}, "numbers"), ("CosineSimilarity", {}, "numbers"),
        ("Hinge", {}, "signs"), ("SquaredHinge", {}, "signs"), ("CategoricalHinge", {}, "rows"),
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


COUNTED = [
    *((name, options) for name in ("Precision", "Recall") for options in (
        {}, {"thresholds": 0.3}, {"thresholds": [0.6, 0.1, 0.3]}, {"thresholds": [0.0, 0.5, 1.0]}, {"top_k": 2},
        {"top_k": 1, "thresholds": 0.5}, {"class_id": 2}, {"class_id": 1, "top_k": 2},
    )),
    *(("AUC", {"curve": curve, "summation_method": method} | options) for curve in ("ROC", "PR")
      for method in ("interpolation", "minoring", "majoring")
      for options in ({}, {"num_thresholds": 7}, {"thresholds": [0.1, 0.25, 0.7]}, {"from_logits": True},
                      {"multi_label": True, "num_labels": 4}, {"multi_label": True, "label_weights": [0.1, 0.2, 0.3, 0.4]},
                      {"label_weights": [0.1, 0.2, 0.3, 0.4]})),
    *(("F1Score", {"average": average, "threshold": threshold}) for average in (None, "micro", "macro", "weighted")
      for threshold in (None, 0.3)),
    *((name, options) for name in ("TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives")
      for options in ({}, {"thresholds": 0.3}, {"thresholds": [0.6, 0.1, 0.3]})),
    ("RootMeanSquaredError", {}), ("RootMeanSquaredError", {"name": "rmse"}),
    ("FBetaScore", {"beta": 2.0}), ("FBetaScore", {"average": "macro", "beta": 0.5, "threshold": 0.2}),
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name, options", COUNTED)
def test_metrics_that_count(keras, random, name, options, weighted):
    """One-hot rows of four classes and, where there is no class to choose, numbers of one; a class that is never true."""
    for classes in (4, 1):
        if classes == 1 and (set(options) & {"class_id", "top_k", "label_weights", "num_labels"} or "Score" in name):
            continue
        minicnn.backend.clear_session()
        keras.backend.clear_session(free_memory=False)  # which looks at every object there is
        for _ in range(2):  # the second time with another name
            ours, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
        again = metrics.get(metrics.serialize(ours))
        assert ours.name == theirs.name == again.name
        assert ours.get_config().keys() == theirs.get_config().keys() - {"dtype"}
        for _ in range(3):
            scores = random.standard_normal((9, classes)).astype("float32")
            p = scores if options.get("from_logits") else 1 / (1 + np.exp(-scores))
            y = np.eye(4, dtype="float32")[random.integers(0, 3, 9)][:, :classes]
            weights = random.uniform(0, 2, 9).astype("float32") if weighted else None
            for metric in (ours, again):
                metric.update_state(y, p, weights)
            theirs.update_state(y, p, sample_weight=weights)
            np.testing.assert_allclose(ours.result(), theirs.result(), rtol=2e-5, atol=2e-6)
            np.testing.assert_array_equal(ours.result(), again.result())
        ours.reset_state()
        theirs.reset_state()
        np.testing.assert_array_equal(np.max(ours.result()), np.max(theirs.result()))


@pytest.mark.parametrize(
    "name",
    ["Precision", "Recall", "TruePositives", "FalseNegatives", "RootMeanSquaredError", "AUC", "F1Score", "FBetaScore"],
)
def test_arguments_of_metrics_that_count(keras, name):
    def settings(library):
        found = inspect.signature(getattr(library.metrics, name).__init__).parameters.values()
        return [(p.name, p.default) for p in found]

    assert settings(minicnn) == settings(keras)


@pytest.mark.parametrize(
    "loss, asked, kind",
    [
        ("sparse_categorical_crossentropy", ["accuracy", "sparse_top_k_categorical_accuracy"], "labels"),
        ("categorical_crossentropy", ["acc", "mse"], "rows"),
        ("mse", ["mae", "categorical_accuracy"], "rows"),
        ("binary_crossentropy", ["accuracy"], "one"),
        ("binary_crossentropy", ["AUC", "precision", "recall"], "one"),
        ("categorical_crossentropy", ["auc", "Precision", "Recall", "f1_score", "F1Score"], "rows"),
        ("kld", ["msle", "mape", "kl_divergence", "KLDivergence", "CosineSimilarity"], "rows"),
        ("huber", ["cosine_similarity", "log_cosh_error", "LogCoshError", "poisson", "hinge", "squared_hinge"], "rows"),
        ("categorical_focal_crossentropy", ["categorical_hinge"], "rows"),
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
        np.testing.assert_allclose(values, logs[1][name], rtol=1e-4, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(model.predict(x), theirs.predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize("name, options, kind", LOSSES)
def test_training(keras, random, name, options, kind):
    """Twenty steps from the same weights on the same batches; what comes out is what such a loss is made for."""
    x, start = random.standard_normal((80, 6)).astype("float32"), random.standard_normal((6, 4)).astype("float32")
    y = np.concatenate([targets_and_predictions(kind, False, random)[0] for _ in range(9)])[:80]
    bounded = kind in ("rows", "labels", "positive") and not options.get("from_logits") and "Hinge" not in name
    found = []
    for module in (minicnn, keras):
        last = module.layers.Dense(4, activation="softmax" if bounded else "linear")
        model = module.Sequential([module.layers.Input((6,)), last])
        model.set_weights([start, np.zeros(4)])
        rate = 1e-9 if name == "MeanAbsolutePercentageError" and kind == "rows" else 0.05  # the slope is of size 1e9
        model.compile(module.optimizers.SGD(rate), getattr(module.losses, name)(**options))
        history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
        found.append((history, model.get_weights()))
    (ours, weights), (theirs, expected) = found
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())
    assert np.abs(weights[0] - start).max() > 1e-3


@pytest.mark.parametrize("name", sorted(losses.CLASSES))
def test_arguments_of_losses(keras, name):
    """Keras' names, in its order, with its defaults; label smoothing for labels is ours. Functions go by the same order."""
    cls = losses.CLASSES[name]
    ours, theirs = (
        {p.name: p.default for p in inspect.signature(each).parameters.values()}
        for each in (cls, getattr(keras.losses, cls.__name__))
    )
    if name == "sparse_categorical_crossentropy":
        del ours["label_smoothing"]
    assert list(ours) == list(theirs)
    assert {**ours, "name": cls().name} == {**theirs, "name": theirs["name"]}
    function = getattr(keras.losses, name)
    assert keras.losses.get(name) is function and getattr(losses, name).__name__ == function.__name__
    order = [p for p in inspect.signature(function).parameters if p not in ("y_true", "y_pred")]
    assert [p for p in ours if p in order] == order or name == "sparse_categorical_crossentropy"


@pytest.mark.parametrize("of", ["samples", "classes"])
def test_weighted_metrics_and_names(keras, random, of):
    """Weights of samples and classes count in the loss and in `weighted_metrics`, not in `metrics`; a lambda has a name."""
    x, y = random.standard_normal((30, 5)).astype("float32"), random.integers(0, 3, 30)
    weights = random.uniform(0, 2, 30).astype("float32")
    start, found = [random.standard_normal((5, 3)), np.zeros(3)], []
    for module in (minicnn, keras):
        L = module.layers
        model = module.Sequential([L.Input((5,)), L.Dense(3, activation="softmax")])
        model.set_weights(start)
        top = module.metrics.SparseTopKCategoricalAccuracy(2, name="top")
        model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=["accuracy", lambda y_true, y_pred: y_pred[:, 0]],
            weighted_metrics=["accuracy", "acc", top, module.metrics.SparseTopKCategoricalAccuracy(2, name="top_2")],
        )
        options = {"batch_size": 8, "verbose": 0}
        history = model.fit(
            x, y, epochs=2, shuffle=False, validation_data=(x[:9], y[:9], weights[:9]), **options,
            **({"sample_weight": weights} if of == "samples" else {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}),
        ).history  # fmt: skip
        assert float(top.result()) == pytest.approx(history["val_top"][-1])
        evaluated = model.evaluate(x, y, sample_weight=weights, return_dict=True, **options)
        assert float(top.result()) == pytest.approx(evaluated["top"])
        assert float(model.metrics[0].result()) == pytest.approx(evaluated["loss"])
        found.append(history | {f"evaluate {name}": value for name, value in evaluated.items()})
    ours, theirs = found
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if "evaluate" not in name] == [name for name in theirs if "evaluate" not in name]
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("units", [1, 3])
def test_weights_of_places(keras, random, units):
    """Weights of the places of a sample, as of the pixels that a mask leaves: in the loss and in `weighted_metrics`."""
    x = random.standard_normal((30, 4, 5)).astype("float32")
    y, weights = random.integers(0, 2, (30, 4, units)).astype("float32"), random.uniform(0, 2, (30, 4))
    start, found = [random.standard_normal((5, units)), np.zeros(units)], []
    for module in (minicnn, keras):
        model = module.Sequential([module.layers.Input((4, 5)), module.layers.Dense(units, activation="sigmoid")])
        model.set_weights(start)
        names = ["accuracy", "mse", "binary_accuracy", "bce", "Precision", "Recall", "AUC", "TruePositives"]
        model.compile("sgd", "binary_crossentropy", metrics=["accuracy"], weighted_metrics=names)
        found.append(model.fit(x, y, 8, 2, 0, shuffle=False, sample_weight=weights).history)
    ours, theirs = found
    assert list(ours) == list(theirs)
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_metric_made_of_metrics(keras, random):
    def made(base):
        class F1(base.Metric):
            def __init__(self, **options):
                super().__init__(**options)
                self.p, self.r = base.Precision(), base.Recall()

            def update_state(self, y_true, y_pred, sample_weight=None):
                self.p.update_state(y_true, y_pred, sample_weight)
                self.r.update_state(y_true, y_pred, sample_weight)

            def result(self):
                p, r = self.p.result(), self.r.result()
                return 2 * p * r / (p + r + 1e-7)

        return F1()

    ours, theirs = made(metrics), made(keras.metrics)
    assert ours.name == theirs.name == "f1"
    for _ in range(2):
        y, p = targets_and_predictions("rows", False, random)
        ours.reset_state()
        theirs.reset_state()
        assert ours(y, p) == pytest.approx(float(theirs(y, p)), rel=1e-5)


def test_every_short_name_of_keras(keras):
    """Those that belong to classes which are here, of losses and of metrics."""
    from keras.src.losses import ALL_OBJECTS_DICT as LOSS_NAMES
    from keras.src.metrics import ALL_OBJECTS_DICT as METRIC_NAMES

    for module, names in ((losses, LOSS_NAMES), (metrics, METRIC_NAMES)):
        for name, thing in names.items():
            if (thing.__name__ in module.CLASSES or thing.__name__ in losses.BY_NAME) and name != "Metric":
                assert module.get(name) is not None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name, options, kind", LOSSES)
def test_losses_of_every_sample(keras, random, name, options, kind, weighted):
    y, p = targets_and_predictions(kind, options.get("from_logits"), random)
    weights = random.uniform(0, 2, 9).astype("float32") if weighted else None
    ours, theirs = (
        getattr(module, name)(**options, reduction=None, dtype="float32")(y, p, weights)
        for module in (losses, keras.losses)
    )
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-6)

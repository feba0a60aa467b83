"""Metrics against counts on single rows, in models by name, as functions, as objects and of your own, and amid each other."""

import copy
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small import Count, X, Y, small

import minicnn
from minicnn import Dense, Model, Sequential, callbacks, layers, losses, metrics

K = 5
RANDOM = np.random.default_rng(0)
SCORES, LABELS = RANDOM.standard_normal((7, K)), RANDOM.integers(0, K, 7)
ONE_HOT = np.eye(K)[LABELS]


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
    np.testing.assert_array_equal(metrics.accuracy(labels % 2, p[..., :1]), sides[..., 0])


def test_accuracy_of_one_probability():
    assert metrics.accuracy([[0], [1], [1]], np.array([[0.2], [0.7], [0.4]])).tolist() == [1, 1, 0]
    assert metrics.BinaryAccuracy(threshold=0.3)([0, 1, 1], np.array([[0.2], [0.7], [0.4]])) == 1


def test_a_confusion_matrix_of_more_labels_than_predictions():
    with pytest.raises(ValueError, match="expected as many predictions as labels, 3, got 1"):
        metrics.confusion_matrix([0, 1, 1], [1])


def test_confusion_matrix():
    matrix = metrics.confusion_matrix([0, 0, 1, 2, 2], [0, 1, 1, 0, 0], 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [2, 0, 0]])
    with pytest.raises(ValueError, match="unknown metric 'sensitivity'"):
        metrics.get("sensitivity")


def test_mean_and_sum_of_numbers():
    mean, total = metrics.Mean(), metrics.Sum("all")
    assert mean([1, 3]) == 2 and mean.result() == 2 and mean(6) == pytest.approx(10 / 3) and mean.name == "mean"
    total.update_state([1, 3], sample_weight=[2, 0])
    mean.reset_state()
    assert total.result() == 2 and total.name == "all" and mean.result() == 0
    mean.update_state([[1, 2], [3, 4]], sample_weight=[1, 0])
    assert mean.result() == 1.5


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


# ---------------------------------------------------------------------- names and arguments


def test_metrics_by_name_object_and_function():
    def certainty(y_true, y_pred):
        return y_pred.max(axis=1)

    class Largest(metrics.Metric):
        def reset_state(self):
            self.found = 0.0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.found = max(self.found, float(y_pred.max()))

        def result(self):
            return self.found

    top = metrics.SparseTopKCategoricalAccuracy(k=2, name="top2")
    asked = ["accuracy", top, "sparse_categorical_crossentropy", certainty, Largest()]
    model = small(metrics=asked)
    found, p = model.evaluate(X, Y, batch_size=8, return_dict=True), model.predict(X).astype(float)
    ranks = np.array([sum(other > row[label] for other in row) for row, label in zip(p, Y.tolist(), strict=True)])
    expected = {
        "loss": -np.log(p[range(50), Y]).mean(),
        "accuracy": (ranks == 0).mean(),
        "top2": (ranks < 2).mean(),
        "sparse_categorical_crossentropy": -np.log(p[range(50), Y]).mean(),
        "certainty": p.max(axis=1).mean(),
        "largest": p.max(),
    }
    assert list(found) == sorted(expected) and found == pytest.approx(expected, rel=1e-5)
    assert list(model.fit(X, Y, verbose=0).history) == sorted(expected)
    assert model.test_on_batch(X, Y, return_dict=True).keys() == expected.keys()


def test_a_metric_is_called_as_it_was_asked_for():
    found = small(metrics=["Accuracy", "SparseCategoricalAccuracy", "acc"]).evaluate(X, Y, return_dict=True)
    assert (
        list(found) == ["Accuracy", "SparseCategoricalAccuracy", "acc", "loss"]
        and len({*list(found.values())[:3]}) == 1
    )


def test_functions_of_metrics_have_names_of_their_own(tmp_path):
    names = "sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy"
    model = small(metrics=[*(getattr(metrics, name) for name in names), "accuracy"])
    history = model.fit(X, Y, epochs=1, verbose=0).history
    assert list(history) == ["accuracy", "loss", *names] and history["accuracy"] == history[names[0]]
    model.save(tmp_path / "m.safetensors")
    assert minicnn.load_model(tmp_path / "m.safetensors").metrics_names == ["loss", *names, "accuracy"]


def test_losses_are_metrics_too():
    for name in ("categorical_crossentropy", "mean_squared_error", "mse", "binary_crossentropy"):
        assert getattr(metrics, name) is getattr(losses, name)
    assert small(loss="mse", last=1, metrics=[metrics.mean_squared_error]).metrics_names[1:] == ["mean_squared_error"]
    for module, one in ((losses, losses.MeanSquaredError()), (metrics, metrics.BinaryAccuracy(threshold=0.7))):
        assert module.deserialize(module.serialize(one)).get_config() == one.get_config()


@pytest.mark.parametrize("name", ["model.keras", "model.safetensors"])
def test_losses_as_objects_are_metrics_with_their_settings(name, tmp_path):
    targets = np.eye(4, dtype=np.float32)[Y]
    asked = [losses.Huber(0.1), losses.KLDivergence(name="mine"), "kl_divergence"]
    model = small(loss="mse", metrics=asked)
    found = model.evaluate(X, targets, return_dict=True, verbose=0)
    assert list(found) == ["huber_loss", "kl_divergence", "loss", "mine"]
    assert found["huber_loss"] == pytest.approx(asked[0](targets, model.predict(X)))
    assert found["mine"] == pytest.approx(found["kl_divergence"])
    model.save(tmp_path / name)
    assert minicnn.load_model(tmp_path / name).evaluate(X, targets, return_dict=True, verbose=0) == found


def test_losses_and_metrics_listed_by_outputs():
    for loss in ("mse", ["mse"], {"dense": "mse"}):
        for asked in (["mae"], [["mae"]], {"dense": ["mae"]}, {"dense": "mae"}, "mae"):
            assert small(loss=loss, metrics=asked, activation=None).evaluate(
                X, np.eye(4)[Y], return_dict=True
            ).keys() == {"loss", "mae"}
    with pytest.raises(ValueError, match="compile: expected one loss, as a model has one output, got 2"):
        small(loss=["mse", "mae"])
    with pytest.raises(ValueError, match="compile: expected one list of metrics, as a model has one output, got 2"):
        small(metrics={"a": "mae", "b": "mse"})


def test_metrics_take_their_arguments_in_the_order_of_keras():
    assert minicnn.metrics.TopKCategoricalAccuracy(3, "best").get_config() == {"name": "best", "k": 3}
    assert minicnn.metrics.BinaryAccuracy("right", None, 0.7).get_config() == {"name": "right", "threshold": 0.7}
    assert list(inspect.signature(minicnn.metrics.TopKCategoricalAccuracy).parameters) == ["k", "name", "dtype"]
    with pytest.raises(TypeError, match="Accuracy.* unexpected keyword argument 'k'"):
        minicnn.metrics.Accuracy(k=2)
    np.testing.assert_array_equal(
        minicnn.metrics.confusion_matrix([0, 2, 2], [0, 1, 2]), [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    )


@pytest.mark.parametrize(
    "metric", [metrics.SparseTopKCategoricalAccuracy(3), metrics.MeanSquaredError(name="error"), "mae"]
)
def test_metrics_are_saved(metric, tmp_path):
    model = small(metrics=[metric])
    model.save(tmp_path / "model.safetensors")
    again = minicnn.load_model(tmp_path / "model.safetensors")
    targets = np.eye(4)[Y] if metric == "mae" or isinstance(metric, metrics.MeanSquaredError) else Y
    model.compile("sgd", "categorical_crossentropy" if targets is not Y else model.loss, metrics=[metric])
    again.compile("sgd", model.loss, metrics=again.metrics[1:])
    assert again.evaluate(X, targets, return_dict=True) == model.evaluate(X, targets, return_dict=True)


# ---------------------------------------------------------------------- in a model


def test_metrics_of_a_step_do_not_depend_on_how_many_are_done_at_once(monkeypatch):
    monkeypatch.setattr(minicnn.training, "PAUSE", 1e9)
    logs = small(metrics=["accuracy", "sparse_top_k_categorical_accuracy"]).fit(X, Y, batch_size=4, epochs=3, verbose=0)
    monkeypatch.setattr(minicnn.training, "PAUSE", 0.0)
    again = small(metrics=["accuracy", "sparse_top_k_categorical_accuracy"]).fit(
        X, Y, batch_size=4, epochs=3, verbose=0
    )
    assert logs.history == again.history


def test_a_metric_of_one_number_for_a_batch():
    """Batches count alike, as in Keras' MeanMetricWrapper."""

    def share(y_true, y_pred):
        return (y_pred.argmax(axis=1) == y_true).mean()

    model = small(metrics=[share])
    p = model.predict(X).argmax(axis=1) == Y
    expected = np.mean([p[k : k + 16].mean() for k in range(0, 50, 16)])
    assert model.evaluate(X, Y, batch_size=16)[1] == pytest.approx(expected)
    rates = minicnn.optimizers.SGD(0.0)
    for callback in ([], [callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]):
        model.compile(rates, "sparse_categorical_crossentropy", metrics=[share])
        found = model.fit(X, Y, batch_size=16, shuffle=False, callbacks=callback, verbose=0).history["share"][0]
        assert found == pytest.approx(expected)


def test_weighted_metrics(tmp_path):
    weights = RANDOM.uniform(0, 2, 50)
    model = small(metrics=["accuracy"], weighted_metrics=["accuracy", "acc", Count(name="count")])
    assert model.metrics_names == ["loss", "accuracy", "weighted_accuracy", "acc", "count"]
    right = model.predict(X).argmax(axis=1) == Y
    found = model.evaluate(X, Y, sample_weight=weights, batch_size=16, return_dict=True)
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["acc"] == found["weighted_accuracy"] == pytest.approx((right * weights).sum() / weights.sum())
    assert model.metrics[-1].weights == pytest.approx(weights.sum(), rel=1e-5)
    again = model.evaluate(X, Y, return_dict=True)
    assert again["accuracy"] == again["weighted_accuracy"]
    silent = minicnn.optimizers.SGD(0.0)
    model.compile(silent, model.loss, weighted_metrics=["accuracy"])
    by_class = model.fit(X, Y, verbose=0, class_weight={1: 3.0}).history["accuracy"]
    factors = np.where(Y == 1, 3, 1)
    assert by_class == [pytest.approx((right * factors).sum() / factors.sum())]
    assert model.train_on_batch(X, Y, class_weight={1: 3.0})[1] == pytest.approx(by_class[0])
    for name in ("m.keras", "m.safetensors"):
        if name == "m.keras":
            pytest.importorskip("h5py")
        model.save(tmp_path / name)
        assert minicnn.load_model(tmp_path / name).evaluate(X, Y, sample_weight=weights) == model.evaluate(
            X, Y, sample_weight=weights
        )


def test_the_metrics_of_a_model_are_objects_with_names():
    model = small(metrics=["acc", metrics.SparseCategoricalAccuracy(name="right"), lambda y_true, y_pred: y_true])
    assert [metric.name for metric in model.metrics] == model.metrics_names == ["loss", "acc", "right", "lambda"]
    assert repr(model.metrics[2]) == "<SparseCategoricalAccuracy right>"
    found = model.evaluate(X, Y)
    assert [metric.result() for metric in model.metrics] == found and list(map(type, found)) == [float] * 4
    assert Sequential().metrics == [] and list(model.evaluate(X, Y, return_dict=True)) == sorted(model.metrics_names)
    with pytest.raises(ValueError, match=r"metric loss: a Mean is of loops of your own, not of compile"):
        small(metrics=model.metrics)

    class Own(Model):
        def __init__(self):
            super().__init__()
            self.last, self.mine = Dense(4, activation="softmax"), metrics.Mean("mine")

        def call(self, x):
            return self.last(x)

        @property
        def metrics(self):
            return [self.mine]

    own = Own()
    own.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    own.fit(X.reshape(50, 36), Y, verbose=0)
    assert own.metrics == [own.mine] and list(own.history.history) == ["accuracy", "loss"]


def test_a_metric_that_was_given_holds_what_was_found_last():
    right, seen = metrics.SparseCategoricalAccuracy(name="right"), Count()
    model = small(metrics=[right, seen])
    loss, accuracy, samples = model.evaluate(X[:20], Y[:20])
    assert (
        (right.result(), seen.result(), model.metrics[0].result()) == (accuracy, 20, loss) == (accuracy, samples, loss)
    )
    model.fit(X, Y, epochs=2, verbose=0)
    assert seen.result() == 50 and right.result() == model.history.history["right"][-1]
    model.fit(X, Y, verbose=0, validation_data=(X[:7], Y[:7]))
    assert seen.result() == 7 and right.result() == model.history.history["val_right"][-1]
    model.train_on_batch(X[:5], Y[:5])
    assert seen.result() == 5
    model.reset_metrics()
    assert [metric.result() for metric in model.metrics] == [0, 0, 0]


def test_a_copy_of_a_model_brings_its_metrics_along():
    asked = ["mse", "top_k_categorical_accuracy", "AUC", "Precision", "categorical_accuracy", metrics.BinaryAccuracy()]
    model = small(loss="categorical_crossentropy", metrics=[*asked, Count()], weighted_metrics=["bce"])
    found = model.evaluate(X, np.eye(4)[Y])
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [metric.result() for metric in again.metrics] == found
        assert again.evaluate(X[:5], np.eye(4)[Y[:5]]) != found == [metric.result() for metric in model.metrics]


# ---------------------------------------------------------------------- amid something else


def test_an_evaluation_in_the_middle_of_an_epoch_does_not_disturb_its_metrics():
    class Curious(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.evaluate(X[:3], Y[:3], verbose=0)

    found = []
    for listeners in ([], [Curious()]):
        seen = Count(name="count")
        model = small(metrics=["accuracy", seen])
        found.append(model.fit(X, Y, epochs=2, batch_size=16, verbose=0, callbacks=listeners).history)
        assert seen.result() == 50
    assert found[0] == found[1]


class Amid(callbacks.Callback):
    """Asks for other numbers of the same model after every batch."""

    def ask(self):
        self.model.test_on_batch(X[:10], (Y[:10] + 1) % 4)
        self.model.evaluate(X[:20], (Y[:20] + 2) % 4, verbose=0)

    def on_test_batch_end(self, batch, logs=None):
        if not getattr(self, "asking", False):
            self.asking = True
            self.ask()
            self.asking = False

    def on_train_batch_end(self, batch, logs=None):
        self.on_test_batch_end(batch)


def test_what_is_measured_amid_an_evaluation_or_an_epoch_does_not_disturb_it():
    alone, disturbed = small(), small()
    assert alone.fit(X, Y, verbose=0).history == disturbed.fit(X, Y, verbose=0, callbacks=[Amid()]).history
    assert alone.evaluate(X, Y, 16, verbose=0) == disturbed.evaluate(X, Y, 16, verbose=0, callbacks=[Amid()])

    def asking():
        for first in range(0, 50, 10):
            disturbed.test_on_batch(X[:3], Y[:3])
            yield X[first : first + 10], Y[first : first + 10]

    expected = alone.evaluate(X, Y, 10, verbose=0)
    assert disturbed.evaluate(asking(), steps=5, verbose=0) == expected
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: disturbed.evaluate(X, Y, 10, verbose=0), range(40))) == [expected] * 40


def test_a_fit_amid_a_fit_leaves_the_outer_count_alone():
    inner = small()

    class Nested(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model is not None and not getattr(self, "done", False):
                self.done = True
                weights, optimizer = self.model.get_weights(), self.model.optimizer.iterations
                self.model.fit(X[:8], Y[:8], verbose=0)
                self.model.set_weights(weights)
                self.model.optimizer.iterations = optimizer
            self.model.evaluate(X[:20], (Y[:20] + 1) % 4, verbose=0)

    assert inner.fit(X, Y, 10, shuffle=False, verbose=0, callbacks=[Nested()]).history == small().fit(
        X, Y, 10, shuffle=False, verbose=0
    ).history  # fmt: skip


# ---------------------------------------------------------------------- metrics of your own


def test_a_metric_that_keeps_variables():
    class Right(minicnn.Metric):
        def __init__(self, name="right", **options):
            super().__init__(name=name, **options)
            self.count = self.add_variable(shape=(), initializer="zeros", name="count")
            self.seen = self.add_weight(name="seen", initializer="zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            right = minicnn.ops.cast(y_pred.argmax(axis=1) == y_true, self.dtype)
            self.count.assign(self.count + right.sum())
            self.seen.assign_add(len(y_true))

        def result(self):
            return self.count / self.seen.value

    model = small(metrics=[Right(), "accuracy"])
    for _ in range(2):
        _, right, accuracy = model.evaluate(X, Y, batch_size=16)
        assert right == pytest.approx(accuracy)
    history = model.fit(X, Y, epochs=2, verbose=0).history
    assert history["right"] == pytest.approx(history["accuracy"])
    assert Right().count.numpy() == 0 and Right().count.dtype == Right.dtype == minicnn.Loss.dtype == "float32"


def test_metrics_of_ones_own_see_every_batch():
    class Batches(minicnn.Metric):
        def __init__(self):
            super().__init__(name="batches")
            self.count = self.add_weight(name="count")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.count.assign_add(1)

        def result(self):
            return {"batches": self.count, "twice": 2 * self.count}

    history = small(metrics=[Batches()]).fit(X, Y, batch_size=5, epochs=4, verbose=0).history
    assert history["batches"] == [10] * 4 and history["twice"] == [20] * 4


def test_a_built_in_metric_may_have_an_update_of_its_own():
    class Counting(metrics.SparseCategoricalAccuracy):
        batches = 0

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.batches += 1
            super().update_state(y_true, y_pred, sample_weight)

    metric = Counting(name="right")
    model = small(metrics=[metric, "accuracy"])
    history = model.fit(X, Y, batch_size=10, verbose=0).history
    assert metric.batches == 5 and history["right"] == history["accuracy"]


def test_a_metric_made_of_metrics():
    class F1(minicnn.Metric):
        def __init__(self, name=None):
            super().__init__(name=name)
            self.p, self.parts = metrics.Precision(), {"r": [metrics.Recall()][0], "seen": Count()}

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.p.update_state(y_true, y_pred, sample_weight)
            for part in self.parts.values():
                part.update_state(y_true, y_pred, sample_weight)

        def result(self):
            p, r = self.p.result(), self.parts["r"].result()
            return 2 * p * r / (p + r)

    f1 = F1()
    rows = np.eye(4)[Y]
    model = small(loss="categorical_crossentropy", metrics=[f1])
    predicted, sure = model.predict(X) > 0.5, rows > 0.5
    expected = 2 * (predicted & sure).sum() / (predicted.sum() + sure.sum())  # the definition, of counts
    for _ in range(2):
        assert model.evaluate(X, rows)[1] == pytest.approx(expected)
    assert f1.variables == f1.parts["seen"].variables and f1.variables[0] == 50
    assert f1.name == "f1" and metrics.Precision().variables == []


def second(y_true, y_pred):
    return np.argsort(y_pred)[:, -2] == np.reshape(y_true, -1)


class Steps(metrics.Metric):
    def __init__(self, name="steps", by=1, dtype=None):
        super().__init__(dtype, name)
        self.by, self.count = by, self.add_variable()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(self.by)

    def result(self):
        return self.count

    def get_config(self):
        return super().get_config() | {"by": self.by}


@pytest.mark.parametrize("name", ["m.safetensors", "m.keras"])
def test_metrics_of_your_own_are_saved_by_name(tmp_path, name):
    x, y = RANDOM.standard_normal((20, 4)).astype("float32"), RANDOM.integers(0, 3, 20)
    model = minicnn.Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy", second, Steps(by=2)])
    model.fit(x, y, verbose=0, callbacks=[minicnn.callbacks.ModelCheckpoint(tmp_path / name)])
    loaded = minicnn.load_model(tmp_path / name, custom_objects={"second": second, "Steps": Steps})
    found = loaded.evaluate(x, y, verbose=0, return_dict=True)
    assert found == model.evaluate(x, y, verbose=0, return_dict=True) and found["steps"] == 2 and "second" in found
    assert minicnn.load_model(tmp_path / name, compile=False).optimizer is None
    with pytest.raises(ValueError, match="pass it in custom_objects"):
        minicnn.load_model(tmp_path / name)


@pytest.mark.parametrize("name", ["m.safetensors", "m.keras"])
def test_metrics_of_names_that_others_have(tmp_path, name):
    def accuracy(y_true, y_pred):
        return 7.0

    x, y = RANDOM.standard_normal((20, 4)).astype("float32"), RANDOM.integers(0, 3, 20)
    model = minicnn.Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[accuracy])
    model.save(tmp_path / name)
    loaded = minicnn.load_model(tmp_path / name, custom_objects={"accuracy": accuracy})
    assert loaded.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] == 7.0
    model.compile("sgd", "mse", metrics=[lambda y_true, y_pred: 1.0, lambda y_true, y_pred: 2.0])
    with pytest.raises(ValueError, match="two metrics are named '<lambda>', and cannot be saved"):
        model.save(tmp_path / name)


def test_accuracy_as_an_object_says_that_it_compares_labels():
    with pytest.raises(ValueError, match=r"compares labels with labels, .* \(32,\) and predictions of shape \(32, 4\)"):
        small(metrics=[minicnn.metrics.Accuracy()]).fit(X, Y, verbose=0)

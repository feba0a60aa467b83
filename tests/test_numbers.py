"""Results answer to `.numpy()` as those of Keras do, and are numbers and arrays of NumPy's all the same."""

import json
import pickle

import numpy as np
import pytest
from small import Count, X, Y, small

import minicnn
from minicnn import Dense, losses, metrics


def test_what_metrics_layers_losses_and_schedules_return_answers_to_numpy():
    class Half(minicnn.Metric):
        def reset_state(self): ...

        def update_state(self, y_true, y_pred, sample_weight=None): ...

        def result(self):
            return {"half": np.float32(0.5), "both": np.array([1.0, 2.0])}

    rows, p = np.eye(4)[Y], np.full((50, 4), 0.25, "float32")
    mean = metrics.Mean()
    for value in (
        mean([1.0, 3.0]), mean.result(), metrics.Precision()(rows, p), metrics.AUC()(rows, p),
        minicnn.optimizers.schedules.CosineDecay(0.1, 8)(3),
    ):  # fmt: skip
        assert isinstance(value, float) and value.numpy() == np.float32(value)
        assert type(pickle.loads(pickle.dumps(value))) is type(value) and json.loads(json.dumps(value)) == value
    for values in (
        metrics.F1Score()(rows, p), losses.categorical_crossentropy(rows, p), losses.mse(rows, p), Dense(2)(p),
        *(getattr(minicnn.activations, name)(p) for name in ("softmax", "log_softmax", "relu", "gelu", "sigmoid")),
        minicnn.optimizers.schedules.CosineDecay(0.1, 8)(np.arange(9)),
    ):  # fmt: skip
        assert type(values.numpy()) is np.ndarray and np.array_equal(values.numpy(), values)
        assert np.array_equal(pickle.loads(pickle.dumps(values)), values)
    half = Half()(rows, p)
    assert half["half"].numpy() == 0.5 and half["both"].numpy().tolist() == [1, 2]
    model = small(metrics=["accuracy", Count(), "AUC"], loss="mse")
    history = model.fit(X, rows, epochs=2, verbose=0, validation_split=0.5).history
    assert {type(value) for values in history.values() for value in values} == {float}
    json.dumps(history)


def test_numbers_of_metrics_and_schedules_calculate_as_their_own_types():
    rate = minicnn.optimizers.schedules.CosineDecay(0.1, 100)(3)
    assert (np.ones(3, "float32") * rate).dtype == np.float32 and f"{rate:.3f}" == "0.100"
    assert rate.item() == float(rate) and rate.shape == ()

    class Own(metrics.Metric):
        def reset_state(self):
            pass

        def result(self):
            return np.float32(0.25)

    found = Own().result()
    assert found.dtype == np.float32 and found.numpy() == found.item() == 0.25 and found.astype(int) == 0


def test_what_is_calculated_from_results_are_numbers():
    per_sample = losses.mean_squared_error(np.eye(3), np.full((3, 3), 0.33))
    y = Dense(2, kernel_initializer="ones")(np.ones((2, 3), "float32"))
    for array in (per_sample, y):
        for value in (array.mean(), array.max(), array.std(), np.sum(array), array[0].min()):
            assert isinstance(value, np.floating) and round(value, 3) == pytest.approx(float(value), abs=1e-3)
            assert {value} and f"{value:.2f}"
        assert array.mean().numpy() == array.mean() and (array + 1).shape == array.shape
    assert type(y.mean(axis=0)) is type(y) and y.mean(axis=0).shape == (2,)
    assert json.loads(json.dumps({"mean": per_sample.mean()}))["mean"] == pytest.approx(per_sample.mean())


def test_optimizers_show_their_numbers_as_variables_do():
    optimizer = minicnn.optimizers.SGD(0.25)
    assert optimizer.learning_rate.value == np.float32(0.25) and optimizer.iterations.value == 0


def test_a_quickstart():
    """The steps of the best-known introduction, which looks at tensors with `.numpy()` in between."""
    keras = minicnn
    images, labels = minicnn.data.synthetic_digits(200)
    images = images[..., 0] / 255.0
    model = keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=(28, 28)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ]
    )
    predictions = model(images[:1]).numpy()
    assert type(predictions) is np.ndarray and predictions.shape == (1, 10)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = np.log(np.exp(predictions[0].astype(float)).sum()) - predictions[0, labels[0]]
    assert loss_fn(labels[:1], predictions).numpy() == pytest.approx(expected, rel=1e-5)
    model.compile(optimizer="adam", loss=loss_fn, metrics=["accuracy"])
    model.fit(images, labels, epochs=2, verbose=0)
    model.evaluate(images, labels, verbose=2)
    probability_model = keras.Sequential([model, keras.layers.Softmax()])
    np.testing.assert_allclose(probability_model(images[:5]).numpy().sum(axis=1), 1, rtol=1e-5)

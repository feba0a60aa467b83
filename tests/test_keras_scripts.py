"""Lines of public scripts for Keras that once ended in an error of Python's own, or in another result."""

import numpy as np
import pytest

import minicnn
from minicnn import layers

RANDOM = np.random.default_rng(0)
X = RANDOM.random((40, 6, 6, 1), np.float32)
Y = RANDOM.integers(0, 3, 40)


def network(**options):
    model = minicnn.Sequential([layers.Input((6, 6, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")])
    model.compile(**{"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | options)
    return model


def test_save_model_takes_what_save_does(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.warns(UserWarning, match="save_format says nothing"):
        minicnn.models.save_model(network(), path, overwrite=True, include_optimizer=False, save_format="h5")
    assert minicnn.models.load_model(path).optimizer is None


def test_accuracy_as_an_object_says_that_it_compares_labels():
    with pytest.raises(ValueError, match=r"compares labels with labels, .* \(32,\) and predictions of shape \(32, 3\)"):
        network(metrics=[minicnn.metrics.Accuracy()]).fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    "line, sentence",
    [
        (lambda: minicnn.callbacks.BaseLogger(), "Keras 3 has dropped it: make yours from Callback"),
        (
            lambda: minicnn.backend.dropout(X, 0.5),
            "a layer Dropout that is called with training=True drops in predictions",
        ),
        (lambda: minicnn.ops.image.resize(X, (3, 3)), "minicnn has no ops.image: the layer Resizing, called on images"),
        (
            lambda: layers.Flatten(name="f").get_output_at(0),
            "layer f: there is no get_output_at: .* dropped it, use output",
        ),
        (
            lambda: layers.Flatten(name="f").add_loss(X),
            "layer f: there is no add_loss: .* argument activity_regularizer",
        ),
        (
            lambda: network().stateless_call([], [], X),
            "no attribute 'stateless_call': a model has its gradients inside",
        ),
        (lambda: network().quantize("int8"), "no attribute 'quantize': numbers are float32 and nothing is quantized"),
    ],
)
def test_what_is_said_of_names_that_are_not_here(line, sentence):
    with pytest.raises((ValueError, AttributeError), match=sentence):
        line()


@pytest.mark.parametrize("base", [minicnn.Model, minicnn.Layer])
def test_a_class_whose_init_forgets_that_of_its_base(base):
    class Forgetful(base):
        def __init__(self):
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    with pytest.raises(AttributeError, match=r"class Forgetful: its __init__ must first call super\(\).__init__\(\)"):
        Forgetful()(X)


def test_a_layer_that_calculates_whose_init_forgets_that_of_its_base():
    class Forgetful(layers.Layer):
        def __init__(self, factor):
            self.factor = factor

        def call(self, x):
            return x * self.factor

    with pytest.raises(AttributeError, match=r"class Forgetful: its __init__ must first call super\(\).__init__\(\)"):
        minicnn.Sequential([layers.Input((3,)), Forgetful(2)])

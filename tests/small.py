"""A small classifier, its data, and a metric that counts: for tests of what scripts ask of models, whatever these compute."""

import numpy as np

import minicnn
from minicnn import Conv2D, Dense, Flatten, Input, Sequential

RANDOM = np.random.default_rng(3)
X, Y = RANDOM.standard_normal((50, 6, 6, 1)).astype("float32"), RANDOM.integers(0, 4, 50)


def small(last=4, activation="softmax", **options):
    minicnn.set_random_seed(5)
    model = Sequential(
        [Input((6, 6, 1)), Conv2D(3, 3, activation="relu"), Flatten(), Dense(last, activation=activation)]
    )
    model.compile(
        **({"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | options)
    )
    return model


def weights_equal(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


class Count(minicnn.Metric):
    """How many samples were counted, and the weights of those that had one."""

    def __init__(self, name=None):
        super().__init__(name=name)
        self.samples = self.add_variable()
        self.weights = self.add_variable()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.samples.assign_add(len(y_true))
        if sample_weight is not None:
            self.weights.assign_add(sample_weight.sum())

    def result(self):
        return self.samples

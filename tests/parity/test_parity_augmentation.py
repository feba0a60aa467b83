"""The random layers against Keras with the same draws: directions, matrices, Gaussians, rectangles; and the size of what
Keras draws itself. Arguments have Keras' names, order and defaults.
"""

import inspect

import numpy as np
import pytest

from minicnn import layers

pytestmark = pytest.mark.parity

NAMES = [
    *("RandomTranslation", "RandomRotation", "RandomZoom", "RandomShear", "RandomElasticTransform", "RandomErasing"),
    *("RandomGaussianBlur", "RandomFlip"),
]


def fixed(layer, keys, **drawn):
    """The layer with numbers in the place of what it would draw."""
    layer.uniform = lambda key, samples, limits: [np.full(samples, drawn[name], float) for name in keys]
    return layer


@pytest.mark.parametrize("name", NAMES)
def test_names_order_and_defaults(keras, name):
    def settings(layer):
        found = inspect.signature(getattr(layer, name).__init__).parameters.values()
        return {p.name: p.default for p in found if p.kind == p.POSITIONAL_OR_KEYWORD and p.name != "data_format"}

    ours, theirs = settings(layers), settings(keras.layers)
    assert list(ours) == list(theirs) and ours == theirs


@pytest.mark.parametrize("mode", ["constant", "nearest", "reflect", "wrap"])
@pytest.mark.parametrize("x, y", [(0.3, 0.0), (0.0, 0.2), (0.4, 0.1)])
def test_shear(keras, random, x, y, mode):
    images = random.random((2, 9, 7, 3)).astype("float32")
    ours = fixed(layers.RandomShear(fill_mode=mode), ("x", "y", "side"), x=x, y=y, side=1.0)
    theirs = keras.layers.RandomShear(fill_mode=mode)
    factors = keras.ops.convert_to_tensor(np.array([[x, y]] * 2, "float32"))
    expected = theirs._transform_images(images, {"shear_factor": factors, "input_shape": images.shape}, "bilinear")
    np.testing.assert_allclose(ours(images, training=True), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("chance", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("mode", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flips(keras, random, mode, chance):
    images = random.random((2, 9, 6, 3)).astype("float32")
    ours, theirs = fixed(layers.RandomFlip(mode), ["chance"], chance=chance), keras.layers.RandomFlip(mode)
    flips = keras.ops.convert_to_tensor(np.full((2, 1, 1, 1), chance <= 0.5))
    expected = theirs.transform_images(images, {"flips": flips, "input_shape": images.shape})
    np.testing.assert_array_equal(ours(images, training=True), expected)


@pytest.mark.parametrize("sigmas", [(0.3, 0.9), (1.0, 0.5)])
@pytest.mark.parametrize("size", [3, (5, 3), 9])
def test_blur(keras, random, size, sigmas):
    images = random.random((2, 9, 7, 3)).astype("float32")
    drawn = {"p": 1.0, "u": 0.0, "wide": sigmas[0], "high": sigmas[1]}
    ours = fixed(layers.RandomGaussianBlur(1.0, size), ("p", "u", "wide", "high"), **drawn)
    theirs = keras.layers.RandomGaussianBlur(1.0, size)
    settings = {"should_apply_blur": np.ones(2, bool), "blur_factor": np.array(sigmas, "float32") + 1e-6}
    expected = theirs.transform_images(images, settings, training=True)
    np.testing.assert_allclose(ours(images, training=True), expected, rtol=0, atol=1e-5)


def test_the_size_of_elastic_displacements(keras):
    """Of an image whose numbers are its rows: what comes out is where it came from."""
    side, scale = 48, 0.8
    rows = np.tile(np.arange(side, dtype="float32")[None, :, None, None], (64, 1, side, 1))
    options = {"factor": (1.0, 1.0), "scale": (scale, scale), "fill_mode": "nearest", "seed": 3}
    found = []
    for one in (layers.RandomElasticTransform(**options), keras.layers.RandomElasticTransform(**options)):
        moved = (np.asarray(one(rows, training=True)) - rows)[:, 12:-12, 12:-12, 0]
        steps = np.diff(moved, axis=1)
        found.append([np.sqrt((moved**2).mean()), np.sqrt((steps**2).mean())])
    np.testing.assert_allclose(found[0], found[1], rtol=0.05)


def test_the_rectangles_of_erasing(keras):
    images = np.full((3000, 20, 30, 1), 300.0, "float32")
    found = []
    for one in (layers.RandomErasing(seed=1), keras.layers.RandomErasing(seed=1)):
        erased = np.asarray(one(images, training=True))[..., 0]
        hidden = erased[erased != 300]
        boxes = erased != 300
        found.append(
            [
                boxes.any(axis=(1, 2)).mean(),
                boxes.mean(),
                boxes.any(axis=1).sum(axis=1).std() / 30,
                boxes.any(axis=2).sum(axis=1).std() / 20,
                (hidden == 0).mean(),
                (hidden == 255).mean(),
                hidden.std() / 255,
            ]
        )
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=0.025)

"""Affine maps of images against bilinear interpolation one pixel at a time, with all four ways to fill what lies outside.

The random layers move, turn and resize in Keras' directions, and draw one motion per image from their seed and step.
"""

import naive
import numpy as np
import pytest
from conftest import assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st

from minicnn import layers

MODES = ["constant", "nearest", "reflect", "wrap"]
IMAGES = np.random.default_rng(0).standard_normal((3, 4, 4, 2)).astype("float32")


@given(
    make=makers(),
    shape=st.sampled_from([(1, 1, 1, 1), (2, 5, 4, 3), (17, 3, 6, 1), (1, 1, 7, 2)]),
    size=st.sampled_from([0.1, 1.0, 5.0]),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("mode", MODES)
def test_affine_and_its_gradient(ops, mode, make, shape, size, seed):
    x, dy = make(*shape), make(*shape)
    matrices = np.eye(2, 3) + size * np.random.default_rng(seed).standard_normal((shape[0], 2, 3))
    expected, expected_dx = naive.affine(x, dy, matrices, mode, 0.5)
    y, saved = run(ops, "affine", x, matrices, mode, 0.5)
    dx = run(ops, "affine_backward", dy, saved)
    assert_close(ops.numpy(y), expected)
    assert_close(ops.numpy(dx), expected_dx)
    assert y.dtype == dx.dtype == x.dtype


@pytest.mark.parametrize("mode", MODES)
def test_the_identity_changes_nothing(ops, mode):
    y, _ = run(ops, "affine", IMAGES, np.tile(np.eye(2, 3), (3, 1, 1)), mode, 9.0)
    np.testing.assert_array_equal(ops.numpy(y), IMAGES)


@pytest.mark.parametrize(
    "mode, row",
    [
        ("constant", [9, 9, 9, 1, 2]),
        ("nearest", [1, 1, 1, 1, 2]),
        ("reflect", [3, 2, 1, 1, 2]),
        ("wrap", [3, 4, 5, 1, 2]),
    ],
)
def test_three_pixels_to_the_right_by_hand(device_layer, mode, row):
    layer = device_layer(layers.RandomTranslation(0, (0.6, 0.6), fill_mode=mode, fill_value=9.0))
    x = np.arange(1.0, 6.0, dtype="float32").reshape(1, 1, 5, 1)
    np.testing.assert_allclose(layer.ops.numpy(layer(layer.ops.array(x), training=True)).reshape(-1), row, rtol=1e-5)


@pytest.mark.parametrize(
    "layer, expected",
    [
        (layers.RandomTranslation((0.25, 0.25), 0.0, "wrap"), np.roll(IMAGES, 1, axis=1)),  # down
        (layers.RandomTranslation(0.0, (0.25, 0.25), "wrap"), np.roll(IMAGES, 1, axis=2)),  # to the right
        (layers.RandomRotation((0.25, 0.25)), np.rot90(IMAGES, 1, axes=(1, 2))),  # counter-clockwise
        (layers.RandomRotation((0.5, 0.5)), IMAGES[:, ::-1, ::-1]),
    ],
    ids=["down", "right", "quarter turn", "half turn"],
)
def test_the_directions_of_keras(layer, expected):
    assert_close(layer(IMAGES, training=True), expected, 1e-5)


def test_a_positive_zoom_makes_the_content_smaller():
    x = np.zeros((1, 9, 9, 1), "float32")
    x[:, 1:8, 1:8] = 1
    out = layers.RandomZoom((0.5, 0.5), fill_mode="constant")(x, training=True)
    closer = layers.RandomZoom((-0.5, -0.5), fill_mode="constant")(x, training=True)
    assert out.sum() < x.sum() < closer.sum()
    only_rows = layers.RandomZoom((0.5, 0.5), (0.0, 0.0), fill_mode="constant")(x, training=True)
    np.testing.assert_array_equal(only_rows[0, 4, :, 0], x[0, 4, :, 0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RandomTranslation(0.2, 0.2, seed=5),
        lambda: layers.RandomRotation(0.2, seed=5),
        lambda: layers.RandomZoom(0.2, seed=5),
    ],
)
def test_motions_follow_seed_and_step(make):
    x = np.repeat(IMAGES[:1], 8, axis=0)
    layer = make()
    first, second = layer(x, training=True), layer(x, training=True)
    np.testing.assert_array_equal(make()(x, training=True), first)
    assert len(np.unique(np.concatenate([first, second]), axis=0)) == 16  # every image has a motion of its own
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: layers.RandomRotation(0.1, "mirror", name="r"),
            "layer r: fill_mode must be constant, nearest, reflect or wrap",
        ),
        (
            lambda: layers.RandomRotation(0.1, interpolation="nearest", name="r"),
            "layer r: interpolation must be 'bilinear'",
        ),
        (lambda: layers.RandomRotation((0.2, 0.1)), r"factor must be a number .*, not \(0.2, 0.1\)"),
        (lambda: layers.RandomZoom(-0.1), "height_factor must be a number .*, not -0.1"),
        (lambda: layers.RandomTranslation(0.1, (1, 2, 3)), r"width_factor must be a number .*, not \(1, 2, 3\)"),
    ],
)
def test_bad_settings(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()

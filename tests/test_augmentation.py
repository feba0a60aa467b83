"""Affine maps of images against bilinear interpolation one pixel at a time, with all four ways to fill what lies outside.

The random layers move, turn and resize in Keras' directions, and draw one motion per image from their seed and step. Random
fields, blur and erased boxes are checked number by number and by their statistics.
"""

import json
from itertools import product

import naive
import numpy as np
import pytest
from conftest import assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import layers
from minicnn.gradcheck import check_layer
from minicnn.nodes import STEPS

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
    np.testing.assert_array_equal(layer(x, training=False), x)
    np.testing.assert_array_equal(layer.backward(x), x)


@pytest.mark.parametrize("mode, axes", [("horizontal", (2,)), ("vertical", (1,)), ("horizontal_and_vertical", (1, 2))])
@pytest.mark.parametrize("size", [(5, 4), (4, 7), (1, 1)])
def test_half_of_the_images_are_turned_over(device_layer, mode, axes, size):
    """To the bit, and so is the gradient."""
    layer = device_layer(layers.RandomFlip(mode, seed=4))
    x = np.random.default_rng(1).standard_normal((200, *size, 3)).astype("float32")
    y = layer.ops.numpy(layer(layer.ops.array(x), training=True))
    over = np.flip(x, axes)
    turned = [np.array_equal(one, other) for one, other in zip(y, over, strict=True)]
    np.testing.assert_array_equal(y, np.where(np.reshape(turned, (200, 1, 1, 1)), over, x))
    assert size == (1, 1) or 70 < sum(turned) < 130
    np.testing.assert_array_equal(layer.ops.numpy(layer.backward(layer.ops.array(y))), x)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: layers.RandomFlip("both", name="f"), "layer f: mode must be horizontal, .*, not 'both'"),
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


# ---------------------------------------------------------------------- several motions in one interpolation


def bent(x, dy, matrices, field, mode, fill_value):
    """`naive.affine`, pixel by pixel with its displacement: (y, dx)."""
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for n, i, j in np.ndindex(x.shape[:3]):
        at = np.array(matrices[n : n + 1], float)
        at[0, :, 2] += at[0, :, :2] @ (i, j) + field[n, :, i, j]  # a map that takes pixel (0, 0) where this one goes
        first = np.zeros((1, *dy.shape[1:]))
        first[0, 0, 0] = dy[n, i, j]
        y_one, dx_one = naive.affine(x[n : n + 1], first, at, mode, fill_value)
        y[n, i, j], dx[n] = y_one[0, 0, 0], dx[n] + dx_one[0]
    return y, dx


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(2, 5, 6, 1), (2, 4, 3, 2), (1, 1, 7, 1), (1, 3, 19, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_affine_map_with_displacements_and_its_gradient(ops, random, dtype, shape, mode):
    x, dy, field = (random.standard_normal(s).astype(dtype) for s in (shape, shape, (shape[0], 2, *shape[1:3])))
    matrices = np.eye(2, 3) + 0.2 * random.standard_normal((shape[0], 2, 3))
    expected, expected_dx = bent(x, dy, matrices, field, mode, 0.5)
    y, saved = run(ops, "affine", x, matrices, mode, 0.5, field)
    assert_close(ops.numpy(y), expected)
    assert_close(ops.numpy(run(ops, "affine_backward", dy, saved)), expected_dx)
    same, _ = run(ops, "affine", x, matrices, mode, 0.5, np.zeros_like(field))
    np.testing.assert_array_equal(ops.numpy(same), ops.numpy(run(ops, "affine", x, matrices, mode, 0.5)[0]))


def test_a_random_affine_is_shear_then_zoom_then_rotation_then_translation(device_layer):
    H, W = 9, 12
    exact = {
        "rotation": (0.07, 0.07),
        "translation": ((0.1, 0.1), (-0.2, -0.2)),
        "zoom": ((0.2, 0.2), (-0.1, -0.1)),
        "shear": ((0.3, 0.3), (-0.1, -0.1)),
    }
    layer = device_layer(layers.RandomAffine(**exact))
    layer.build((None, H, W, 1))
    (matrix,) = layer.ops.numpy(layer.matrices(1))
    for i, j in [(0, 0), (3, 10), (8, 5)]:
        # what is seen at (i, j) was, before the move, there; as a complex number: to the right, and up
        point = complex(j - (W - 1) / 2 + 0.2 * W, -(i - (H - 1) / 2 - 0.1 * H))
        point *= np.exp(-2j * np.pi * 0.07)  # before it was turned counter-clockwise
        down, right = -point.imag * 1.2, point.real * 0.9
        down, right = down + 0.3 * right, right - 0.1 * down
        np.testing.assert_allclose(matrix @ (i, j, 1), (down + (H - 1) / 2, right + (W - 1) / 2), atol=1e-6)


@pytest.mark.parametrize(
    "one, other",
    [
        (layers.RandomAffine(rotation=(0.1, 0.1)), layers.RandomRotation((0.1, 0.1), "constant")),
        (
            layers.RandomAffine(translation=((0.2, 0.2), (-0.1, -0.1))),
            layers.RandomTranslation((0.2, 0.2), (-0.1, -0.1), "constant"),
        ),
        (
            layers.RandomAffine(zoom=((0.2, 0.2), (-0.1, -0.1)), fill_mode="wrap"),
            layers.RandomZoom((0.2, 0.2), (-0.1, -0.1), "wrap"),
        ),
    ],
    ids=["rotation", "translation", "zoom"],
)
def test_a_random_affine_with_one_motion_is_that_layer(one, other):
    assert_close(one(IMAGES, training=True), other(IMAGES, training=True))


def test_what_a_random_affine_draws():
    layer = layers.RandomAffine(0.1, (0.2, 0.3), 0.1, (0.0, 0.4), seed=1)
    layer.build((None, 28, 28, 1))
    drawn = np.array(layer.draw(4000))
    ranges = [0.1, 0.2, 0.3, 0.1, 0.1, 0.0, 0.4]
    np.testing.assert_allclose(drawn.max(axis=1), ranges, rtol=0.01)
    np.testing.assert_allclose(drawn.min(axis=1), -np.array(ranges), rtol=0.01)
    np.testing.assert_allclose(drawn.std(axis=1), np.array(ranges) / np.sqrt(3), rtol=0.03)
    different = np.corrcoef(drawn[[0, 1, 2, 3, 4, 6]]) - np.eye(6)
    assert np.abs(different).max() < 0.07  # the two directions of a zoom, say, have nothing to do with each other


def test_shear_of_keras(device_layer):
    layer = device_layer(layers.RandomShear((0.2, 0.2), (0.1, 0.1), seed=3))
    layer.build((None, 5, 6, 1))
    matrices = layer.ops.numpy(layer.matrices(400))
    sign = np.sign(matrices[:, 0, 1])
    np.testing.assert_allclose(matrices[:, 0], np.stack([sign**2, 0.1 * sign, 0 * sign], axis=1), rtol=1e-6)
    np.testing.assert_allclose(matrices[:, 1], np.stack([0.2 * sign, sign**2, 0 * sign], axis=1), rtol=1e-6)
    assert abs(sign.mean()) < 0.15
    layer = layers.RandomShear(0.3, seed=3)
    layer.build((None, 5, 6, 1))
    slants = layer.matrices(4000)[:, 1, 0]
    assert abs(slants.mean()) < 0.02 and 0.29 < slants.max() <= 0.3
    assert (layer.matrices(9)[:, 0, 1] == 0).all()


# ---------------------------------------------------------------------- elastic


def smoothed(x, rows, columns):
    """Σ_kl rows[|i-k|] · x[k,l] · columns[|j-l|], number by number."""
    y = np.zeros(x.shape)
    for (i, j), (k, m) in product(np.ndindex(x.shape), np.ndindex(x.shape)):
        y[i, j] += float(rows[abs(i - k)]) * float(columns[abs(j - m)]) * float(x[k, m])
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("H, W", [(1, 1), (3, 5), (7, 4), (4, 19)])
def test_a_random_field_number_by_number(ops, random, dtype, H, W):
    key, strength = (5, 6, 1), np.array([0.0, 1.0, 2.5], dtype)
    rows, columns = random.random(H).astype(dtype), random.random(W).astype(dtype)
    rows[H // 2 + 1 :] = 0
    field = ops.numpy(run(ops, "random_field", rows, columns, strength, key))
    whole = -(-2 * H * W // 4) * 4
    bits = np.asarray(ops.numpy(ops.random_bits(key, 3 * whole)), float).reshape(3, whole)[:, : 2 * H * W]
    u = (bits / 2**31 - 1).reshape(3, 2, H, W)
    expected = [[strength[n] * smoothed(u[n, m], rows, columns) for m in range(2)] for n in range(3)]
    assert field.dtype == dtype
    assert_close(field, expected)


@pytest.mark.parametrize("alpha, sigma", [(5.0, 3.0), (2.0, 1.5)])
def test_displacements_have_the_size_and_the_smoothness_that_is_asked_for(alpha, sigma):
    layer = layers.RandomAffine(elastic=(alpha, sigma), seed=1)
    layer.build((None, 48, 40, 1))
    layer.matrices(300)
    field = layer.ops.random_field(*layer.displacements(300))
    field = np.asarray(field, float)[:, :, 12:-12, 12:-12]  # far from the edges
    variance = alpha**2 / (4 * np.pi)
    np.testing.assert_allclose((field**2).mean(), variance, rtol=0.05)
    assert abs(field.mean()) < 0.05 and abs((field[:, 0] * field[:, 1]).mean()) < 0.03 * variance
    for distance in (1, 3, 5):  # two Gaussians that overlap
        expected = variance * np.exp(-((distance / sigma) ** 2) / 4)
        np.testing.assert_allclose(
            (field[..., distance:] * field[..., :-distance]).mean(), expected, atol=0.06 * variance
        )


def test_elastic_transform_follows_factor_and_scale():
    x = np.random.default_rng(0).random((600, 20, 30, 1)).astype("float32")
    for factor, share in ((0.0, 0.0), ((0.25, 0.25), 0.25), (1.0, 0.5), ((1.0, 1.0), 1.0), ((0.0, 0.5), 0.25)):
        layer = layers.RandomElasticTransform(factor, (0.5, 0.5), seed=4)
        moved = (layer(x, training=True) != x).any(axis=(1, 2, 3))
        assert abs(moved.mean() - share) < 0.06, factor
    layer = layers.RandomElasticTransform((1.0, 1.0), (0.5, 0.5), seed=4)
    layer.build((None, 20, 30, 1))
    layer.matrices(3)
    rows, _, strength, _ = layer.displacements(3)
    np.testing.assert_allclose(strength, np.sqrt(3) * 0.1 * 0.5 * 30 * 0.05 * 0.5 * 20, rtol=1e-6)
    np.testing.assert_allclose(rows[1] / rows[0], np.exp(-0.5 / (0.05 * 0.5 * 20) ** 2), rtol=1e-6)
    found = []
    layer = layers.RandomElasticTransform((1.0, 1.0), 1.0, seed=4)
    layer.build((None, 20, 30, 1))
    for _ in range(200):
        layer.matrices(2)
        found.append(np.sqrt(layer.displacements(2)[2] / (np.sqrt(3) * 0.1 * 30 * 0.05 * 20)))
    scales = np.array(found)
    np.testing.assert_array_equal(scales[:, 0], scales[:, 1])  # one for the batch
    assert abs(scales.mean() - 0.5) < 0.06 and scales.max() > 0.95 and scales.min() < 0.05
    layer = layers.RandomElasticTransform((1.0, 1.0), alpha=4.0, sigma=2.0)
    layer.build((None, 20, 30, 1))
    layer.matrices(1)
    np.testing.assert_allclose(layer.displacements(1)[2], np.sqrt(3) * 8)


# ---------------------------------------------------------------------- erasing and blur


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fill", [None, (0.3, -2.0, 9.0)])
def test_erase_number_by_number(ops, random, dtype, fill):
    x = random.standard_normal((5, 6, 7, 3)).astype(dtype)
    boxes = np.array([[0, 6, 0, 7], [1, 3, 2, 6], [2, 2, 0, 7], [-4, 1, 5, 90], [4, 1, 0, 7]])
    noise = ops.numpy(ops.gaussian_noise(ops.zeros(x.shape, dtype), 1.5, (1, 2, 3)))
    y = ops.numpy(ops.erase(ops.array(x), ops.array(boxes), fill, (-1.0, 1.5), (1, 2, 3)))
    expected = x.astype(float)
    for n, i, j, c in np.ndindex(x.shape):
        top, bottom, left, right = boxes[n]
        if top <= i < bottom and left <= j < right:
            expected[n, i, j, c] = min(max(noise[n, i, j, c] if fill is None else fill[c], -1.0), 1.5)
    assert_close(y, expected)
    assert y.dtype == dtype


def test_boxes_of_random_erasing():
    layer = layers.RandomErasing(scale=(0.02, 0.33), factor=(0.9, 0.9), fill_value=0, seed=2)
    layer.build((None, 200, 300, 1))
    boxes, _ = layer.boxes(4000)
    erased = boxes.any(axis=1)
    assert abs(erased.mean() - 0.9) < 0.02
    high, wide = ((boxes[erased][:, k + 1] - boxes[erased][:, k]) / size for k, size in ((0, 200), (2, 300)))
    for share in (high, wide):  # √u, u from 0.02 to 0.33
        assert abs(share.min() - np.sqrt(0.02)) < 0.01 and abs(share.max() - np.sqrt(0.33)) < 0.01
        assert abs((share**2).mean() - 0.175) < 0.01
    assert abs(np.corrcoef(high, wide)[0, 1]) < 0.05
    at = boxes[erased][:, 2] / (300 * (1 - wide))  # anywhere
    assert abs(at.mean() - 0.5) < 0.02 and at.min() < 0.02 and 0.98 < at.max() <= 1.02
    assert (boxes >= 0).all() and (boxes[:, 1] <= 200).all() and (boxes[:, 3] <= 300).all()


def test_random_erasing_hides_and_lets_no_gradient_through(device_layer):
    layer = device_layer(layers.RandomErasing((1.0, 1.0), (0.1, 0.3), seed=2, value_range=(0, 1)))
    x = layer.ops.array(np.full((40, 12, 12, 2), 7.0, "float32"))
    y, dx = layer.ops.numpy(layer(x, training=True)), layer.ops.numpy(layer.backward(x))
    inside = y != 7
    assert 0.1 < inside.mean() < 0.3 and inside.any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(dx, np.where(inside, 0, 7))
    hidden = y[inside]
    assert (
        abs((hidden == 0).mean() - 0.5) < 0.05 and abs((hidden == 1).mean() - 0.159) < 0.04
    )  # normal numbers, clipped
    assert np.shares_memory(layer(x, training=False), x) and layer.backward(x) is x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_of_a_level_per_image(ops, random, dtype):
    x = random.standard_normal((5, 3, 7, 3)).astype(dtype)
    levels = np.array([0.5, 0.0, 2.0, 1e-3, 0.0])
    y = ops.numpy(ops.random_noise(ops.array(x), ops.array(levels), (1, 2, 3)))
    for n, level in enumerate(levels):
        whole = ops.numpy(ops.gaussian_noise(ops.array(x), float(level), (1, 2, 3)))
        assert_close(y[n], whole[n])
    np.testing.assert_array_equal(y[levels == 0], x[levels == 0])
    assert y.dtype == dtype


def test_levels_of_random_noise():
    layer = layers.RandomGaussianNoise(factor=(0.6, 0.6), stddev=(0.1, 0.4), seed=2)
    layer.build((None, 2, 2, 1))
    levels, _ = layer.levels(4000)
    noisy = levels[levels > 0]
    assert abs(len(noisy) / 4000 - 0.6) < 0.03
    assert 0.1 <= noisy.min() < 0.102 and 0.398 < noisy.max() <= 0.4 and abs(noisy.mean() - 0.25) < 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (2, 1, 1, 1), (2, 3, 33, 1)])
def test_blur_number_by_number(ops, random, dtype, shape):
    x = random.standard_normal(shape).astype(dtype)
    rows, columns = random.random(shape[1]).astype(dtype), random.random(shape[2]).astype(dtype)
    columns[2:] = 0
    chosen = np.arange(shape[0]) != 1
    y = run(ops, "blur", x, rows, columns, chosen)
    expected = x.astype(float)
    for n, c in product(np.flatnonzero(chosen), range(shape[3])):
        expected[n, :, :, c] = smoothed(x[n, :, :, c], rows, columns)
    assert_close(ops.numpy(y), expected)


def test_random_blur_follows_factor_sigma_and_kernel_size():
    x = np.random.default_rng(0).random((600, 6, 7, 1)).astype("float32")
    layer = layers.RandomGaussianBlur((0.25, 0.25), 3, (0.5, 0.5), seed=4)
    changed = (layer(x, training=True) != x).any(axis=(1, 2, 3))
    assert abs(changed.mean() - 0.25) < 0.06
    layer = layers.RandomGaussianBlur((1.0, 1.0), (3, 5), (0.2, 1.0), seed=4)
    layer.build((None, 6, 7, 1))
    ratios = []
    for _ in range(100):
        rows, columns, chosen = layer.blurs(2)
        assert chosen.all() and (columns[2:] == 0).all() and (rows[3:] == 0).all() and rows[2] > 0  # (width, height)
        for weights in (rows, columns):
            assert abs(weights[0] + 2 * weights[1:].sum() - 1) < 1e-6
        ratios.append([rows[1] / rows[0], columns[1] / columns[0]])
    sigmas = np.sqrt(-0.5 / np.log(ratios))
    assert 0.2 <= sigmas.min() < 0.25 and 0.95 < sigmas.max() <= 1.001 and (sigmas[:, 0] != sigmas[:, 1]).all()


# ---------------------------------------------------------------------- what holds for all of them

EVERY = {
    "affine": lambda **o: layers.RandomAffine(0.1, (0.1, 0.2), 0.2, 0.1, seed=5, **o),
    "affine, elastic": lambda **o: layers.RandomAffine(0.1, 0.1, (0.1, (0, 0.2)), 0.1, (3, 1.5), "wrap", seed=5, **o),
    "flip": lambda **o: layers.RandomFlip(seed=5, **o),
    "flip, left to right": lambda **o: layers.RandomFlip("horizontal", seed=6, **o),
    "shear": lambda **o: layers.RandomShear(0.2, (0.1, 0.2), seed=5, **o),
    "elastic": lambda **o: layers.RandomElasticTransform((0.5, 0.9), seed=5, **o),
    "elastic, by hand": lambda **o: layers.RandomElasticTransform(
        alpha=4.0, sigma=2.0, fill_mode="constant", seed=5, **o
    ),
    "erasing": lambda **o: layers.RandomErasing(value_range=(-1, 1), seed=5, **o),
    "erasing, filled": lambda **o: layers.RandomErasing((0.8, 1.0), 0.5, 0.3, (0, 1), seed=5, **o),
    "noise": lambda **o: layers.RandomGaussianNoise((0.5, 0.7), (0.1, 0.5), seed=5, **o),
    "blur": lambda **o: layers.RandomGaussianBlur((0.7, 0.9), (3, 5), (0.5, 1.0), seed=5, **o),
}


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_a_layer_is_a_function_of_seed_and_step(make):
    x = np.random.default_rng(0).standard_normal((12, 8, 9, 2)).astype("float32")
    layer = make()
    first, second = layer(x, training=True), layer(x, training=True)
    again = make()
    np.testing.assert_array_equal(again(x, training=True), first)
    np.testing.assert_array_equal(again(x, training=True), second)
    assert (first != second).any() and (first != x).any()
    np.testing.assert_array_equal(layer(x, training=False), x)
    np.testing.assert_array_equal(layer.backward(x), x)
    np.testing.assert_array_equal(make()(x[:5], training=True), first[:5])  # each image has its own
    reference = make().to("reference")
    assert_close(first, reference(x, training=True))


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_the_gradient(device_layer, make):
    assert check_layer(device_layer(make()), (3, 6, 7, 2), training=True) < 1e-6


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_configurations_and_files(tmp_path, make):
    layer = make(name="one")
    config = json.dumps(layer.get_config())
    again = type(layer).from_config(json.loads(config))
    assert json.dumps(again.get_config()) == config
    x = np.random.default_rng(0).standard_normal((4, 8, 9, 2)).astype("float32")
    expected = layer(x, training=True)
    np.testing.assert_array_equal(again(x, training=True), expected)
    minicnn.Sequential([layers.Input((8, 9, 2)), make(), layers.Flatten()]).save(tmp_path / "model.safetensors")
    loaded = minicnn.load_model(tmp_path / "model.safetensors").layers[0]
    np.testing.assert_array_equal(loaded(x, training=True), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("after", [False, True], ids=["in front", "after a convolution"])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_the_engine_trains_as_layer_by_layer_with_any_number_of_threads(threads, make, after, dtype):
    random = np.random.default_rng(0)
    x, y = random.random((75, 8, 9, 2)).astype(dtype), random.integers(0, 3, 75)
    found = []
    for workers, eager in ((1, False), (2, False), (1, True)):
        threads(workers)
        minicnn.set_random_seed(3)
        middle = [layers.Conv2D(3, 2, dtype=dtype)] if after else []
        model = minicnn.Sequential(
            [layers.Input((8, 9, 2), dtype=dtype), *middle, make(dtype=dtype), layers.Flatten(dtype=dtype)]
        )
        model.add(layers.Dense(3, activation="softmax", dtype=dtype))
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=eager)
        losses = model.fit(x, y, batch_size=15, epochs=2, verbose=0).history["loss"]
        found.append([np.array(losses), model.predict(x, verbose=0), *model.get_weights()])
        if not (after or eager):
            assert model._engine.run(model, 15, "train").most == STEPS  # no Python within a step
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_settings_that_are_changed_between_two_steps_count():
    x, y = np.random.default_rng(0).random((8, 8, 8, 1)).astype("float32"), np.zeros(8, int)
    found = []
    for eager in (False, True):
        minicnn.set_random_seed(3)
        bend, hide = layers.RandomAffine(seed=1), layers.RandomErasing(fill_value=0.5, value_range=(0, 1), seed=1)
        model = minicnn.Sequential([layers.Input((8, 8, 1)), bend, hide, layers.Flatten(), layers.Dense(2)])
        model.compile("sgd", "mse", run_eagerly=eager)
        changes = [
            (bend, "rotation", 0.1),
            (bend, "elastic", (4.0, 2.0)),
            (hide, "fill_value", 0.9),
            (hide, "value_range", (0, 0.1)),
            (bend, "rotation", 0.2),
        ]
        for layer, name, value in changes:
            setattr(layer, name, value)
            model.train_on_batch(x, np.eye(2)[y])
            found.append(model.get_weights()[0].copy())
    for one, other in zip(found[:5], found[5:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: layers.RandomAffine(-0.1, name="a"), "layer a: rotation must be a number .*, not -0.1"),
        (lambda: layers.RandomAffine(0, (0.1, -0.2), name="a"), r"layer a: translation \(width\) must be .*, not -0.2"),
        (
            lambda: layers.RandomAffine(zoom=(1, 2, 3), name="a"),
            r"layer a: zoom \(height\) must be .*, not \(1, 2, 3\)",
        ),
        (lambda: layers.RandomAffine(elastic=(3, 0), name="a"), r"layer a: elastic must be a pair .*, not \(3, 0\)"),
        (lambda: layers.RandomAffine(elastic=3, name="a"), "layer a: elastic must be a pair .*, not 3"),
        (lambda: layers.RandomShear(1.5, name="s"), "layer s: x_factor must lie between -1 and 1, not 1.5"),
        (lambda: layers.RandomShear(data_format="channels_first", name="s"), "layer s: there is one layout"),
        (
            lambda: layers.RandomElasticTransform(2.0, name="e"),
            "layer e: factor must be a number from 0 to 1 .*, not 2.0",
        ),
        (
            lambda: layers.RandomElasticTransform(scale=-1, name="e"),
            "layer e: scale must be a number from 0 to 1 .*, not -1",
        ),
        (lambda: layers.RandomElasticTransform(sigma=0, name="e"), "layer e: sigma must be a positive number, not 0"),
        (
            lambda: layers.RandomGaussianNoise(stddev=-1, name="n"),
            "layer n: stddev must be a number from 0 on .*, not -1",
        ),
        (lambda: layers.RandomErasing(scale=(0.5, 0.2), name="e"), r"layer e: scale must be .*, not \(0.5, 0.2\)"),
        (
            lambda: layers.RandomErasing(value_range=(1, 0), name="e"),
            r"layer e: value_range must be a pair .*, not \(1, 0\)",
        ),
        (
            lambda: layers.RandomErasing(fill_value=(1, 2), name="e").build((None, 4, 4, 3)),
            r"layer e: fill_value must be a number or one for each of 3 channels, not \(1, 2\)",
        ),
        (
            lambda: layers.RandomGaussianBlur(kernel_size=4, name="b"),
            "layer b: kernel_size must be an odd number .*, not 4",
        ),
        (lambda: layers.RandomGaussianBlur(sigma=3, name="b"), "layer b: sigma must be a number from 0 to 1 .*, not 3"),
    ],
)
def test_bad_settings_of_the_new_layers(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


# ---------------------------------------------------------------------- called by themselves


@pytest.mark.parametrize("make", [
    lambda: layers.RandomRotation(0.2, seed=1), lambda: layers.RandomFlip(seed=1), lambda: layers.RandomErasing(1.0, seed=1),
    lambda: layers.RandomGaussianBlur(1.0, seed=1), lambda: layers.RandomElasticTransform(1.0, seed=1),
])  # fmt: skip
def test_images_change_where_nobody_says_whether_a_network_trains(make):
    """As in Keras: by the layer alone, and through a model that is called, but not where it predicts."""
    x = np.random.default_rng(0).uniform(0, 255, (40, 12, 12, 1)).astype("float32")
    layer, chain = make(), minicnn.Sequential([make()])
    tensor = layers.Input((12, 12, 1))
    model = minicnn.Model(tensor, make()(tensor))
    for call in (layer, chain, model):
        assert (np.abs(call(x) - x).max(axis=(1, 2, 3)) > 0).any()
        np.testing.assert_array_equal(call(x, training=False), x)
    for each in (chain, model):
        np.testing.assert_array_equal(each.predict(x, verbose=0), x)
    one = make()(x[0])  # without the axis of the batch
    assert one.shape == (12, 12, 1)
    np.testing.assert_array_equal(one, make()(x[:1])[0])
    drop = layers.Dropout(0.5)
    np.testing.assert_array_equal(drop(x), x)  # which is not for images


# ---------------------------------------------------------------------- brightness and contrast


@pytest.mark.parametrize("value_range", [(0, 1), (0.2, 0.9)])
def test_brightness_adds_a_number_to_every_image(value_range):
    x = np.random.default_rng(5).uniform(0.3, 0.6, (200, 3, 4, 2)).astype("float32")
    layer = minicnn.RandomBrightness((-0.1, 0.3), value_range, seed=4)
    layer.build((None, 3, 4, 2))
    y = layer.forward(x, training=True)
    lowest, highest = value_range
    added = []
    for one, other in zip(x, y, strict=True):
        free = (other > lowest) & (other < highest)
        found = (other - one)[free]
        np.testing.assert_allclose(found, found[0], atol=1e-6)
        np.testing.assert_allclose(other, np.clip(one + found[0], lowest, highest), atol=1e-6)
        added.append(found[0] / (highest - lowest))
    assert -0.1 <= min(added) < -0.09 and 0.29 < max(added) <= 0.3 + 1e-6
    assert np.mean(added) == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(layer.forward(x), x)


def test_contrast_moves_every_channel_away_from_its_mean():
    x = np.random.default_rng(6).uniform(80, 120, (200, 3, 4, 2)).astype("float32")
    layer = minicnn.RandomContrast((0.5, 0.2), (90, 115), seed=4)
    layer.build((None, 3, 4, 2))
    y = layer.forward(x, training=True)
    factors = []
    for one, other in zip(x.astype(float), y, strict=True):
        mean = one.mean(axis=(0, 1))
        free = (other > 90) & (other < 115) & (abs(one - mean) > 1)
        found = ((other - mean) / (one - mean))[free]
        np.testing.assert_allclose(found, found[0], atol=1e-4)
        np.testing.assert_allclose(other, np.clip((one - mean) * found[0] + mean, 90, 115), atol=2e-3)
        factors.append(found[0])
    assert 0.5 <= min(factors) < 0.52 and 1.18 < max(factors) <= 1.2 + 1e-4
    assert minicnn.RandomContrast(0.3).limits() == (0.7, 1.3)

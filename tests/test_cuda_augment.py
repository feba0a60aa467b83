"""Batches and their augmentation on the GPU, and on its emulator: gathering, random maps, interpolation and its adjoint."""

import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close

from minicnn import get_ops, layers

REFERENCE = get_ops("reference")
KEY = (2**63 + 5, 3, 0)


@pytest.mark.parametrize("numbers", [1, 12, 784, 1500])
def test_gather_goes_through_the_epoch(gpu, numbers):
    random = np.random.default_rng(0)
    data, order = random.integers(0, 256, (50, numbers), np.uint8), random.permutation(50).astype("int32")
    step = np.array([0])
    for number in range(13):
        x = gpu.gather(data, order, step, 8, "float32")  # six batches; two samples are left over
        np.testing.assert_array_equal(x, data[order[number % 6 * 8 :][:8]].astype("float32"))
        gpu.advance(step)
    assert gpu.gather(data, order, step, 8, "float64").dtype == "float64"


def test_types_that_a_kernel_would_misread(gpu):
    data, order, step = np.zeros((4, 3), np.uint8), np.arange(4, dtype="int32"), np.array([0])
    with pytest.raises(ValueError, match="gather order: expected a contiguous array of int32, received one of int64"):
        gpu.gather(data, order.astype("int64"), step, 2, "float32")
    with pytest.raises(ValueError, match="keep: expected a contiguous array of float32, received one of float64"):
        gpu.keep(np.zeros(3), np.zeros((2, 3), "float32"), step)
    with pytest.raises(ValueError, match="the step of a random key: expected a contiguous array of int64"):
        gpu.random_bits((1, order[:1], 2), 4)


def test_what_is_kept_of_every_step(gpu):
    kept, step, values = np.zeros((3, 5, 2)), np.array([0]), np.random.default_rng(0).standard_normal((5, 5, 2))
    for value in values:
        gpu.keep(value, kept, step)
        gpu.advance(step)
    np.testing.assert_array_equal(kept, values[[3, 4, 2]])


def affine_case(dtype, shape, seed=0):
    random = np.random.default_rng(seed)
    x, dy = (random.standard_normal(shape).astype(dtype) for _ in range(2))
    return x, dy, np.eye(2, 3) + 1.5 * random.standard_normal((shape[0], 2, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 4, 3), (2, 8, 9, 1), (2, 3, 3, 33)], ids=str)
@pytest.mark.parametrize("mode", ["constant", "nearest", "reflect", "wrap"])
def test_affine_and_its_gradient(gpu, mode, shape, dtype):
    x, dy, matrices = affine_case(dtype, shape)
    expected, expected_dx = naive.affine(x, dy, matrices, mode, 0.5)
    y, saved = gpu.affine(x, matrices, mode, 0.5)
    assert_close(y, expected)
    assert_close(gpu.affine_backward(dy, saved), expected_dx)


@pytest.mark.parametrize("mode", ["constant", "nearest", "reflect", "wrap"])
def test_a_field_moves_every_pixel_by_itself(gpu, mode):
    x, dy, matrices = affine_case("float64", (3, 6, 5, 2))
    field = 3 * np.random.default_rng(1).standard_normal((3, 2, 6, 5))
    y, saved = gpu.affine(x, matrices, mode, 0.0, field)
    expected, taps = REFERENCE.affine(x, matrices, mode, 0.0, field)
    assert_close(y, expected)
    dx = gpu.affine_backward(dy, saved)
    assert_close(dx, REFERENCE.affine_backward(dy, taps))
    assert (y * dy).sum() == pytest.approx((x * dx).sum(), rel=1e-12)  # adjoint


@pytest.mark.parametrize(
    "layer, table",
    [
        (layers.RandomTranslation(0.2, (0.1, 0.3), seed=11), {1: (0, -0.2, 0.2), 2: (1, 0.1, 0.3)}),
        (layers.RandomRotation(0.1, seed=11), {0: (0, -0.1, 0.1)}),
        (layers.RandomZoom(0.3, seed=11), {3: (0, -0.3, 0.3), 4: (0, -0.3, 0.3)}),
        (layers.RandomZoom(0.3, 0.1, seed=11), {3: (0, -0.3, 0.3), 4: (1, -0.1, 0.1)}),
        (
            layers.RandomAffine(0.1, (0.2, 0.3), 0.1, 0.4, seed=11),
            {k: (k, -r, r) for k, r in enumerate((0.1, 0.2, 0.3, 0.1, 0.1, 0.4, 0.4))},
        ),
    ],
    ids=["translation", "rotation", "zoom", "two zooms", "affine"],
)
def test_random_maps_are_those_of_the_layers(gpu, layer, table):
    layer.build((None, 7, 9, 1))
    layer.step = 6
    expected = layer.matrices(13)
    rows = [table.get(k, (-1, 0.0, 0.0)) for k in range(7)]
    drawn = 1 + max(int(row[0]) for row in rows)
    for step in (6, np.array([6])):
        got = gpu.random_maps(rows, 13, drawn, (7, 9), (11, step, 0))
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 4, 3), (9, 8, 9, 1)], ids=str)
def test_moments(gpu, shape, dtype):
    x = np.random.default_rng(0).random(shape).astype(dtype)
    x[0] = 0
    expected = [naive.moment_map(one, 1.2, (0.8, 1.5)) for one in x]
    np.testing.assert_allclose(gpu.moment_maps(x, 1.2, (0.8, 1.5)), expected, rtol=0, atol=1e-6)  # settings are float32


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_fields_and_blur(gpu, dtype):
    random = np.random.default_rng(0)
    rows, columns = (np.exp(-(np.arange(length) ** 2) / 4.0).astype(dtype) for length in (7, 5))
    strength = random.uniform(0, 2, 4)
    assert_close(
        gpu.random_field(rows, columns, strength, KEY),
        REFERENCE.random_field(rows.astype(float), columns.astype(float), strength, KEY),
    )
    x, chosen = random.standard_normal((4, 7, 5, 3)).astype(dtype), np.array([True, False, True, False])
    y = gpu.blur(x, rows, columns, chosen)
    assert_close(y, REFERENCE.blur(x.astype(float), rows.astype(float), columns.astype(float), chosen))
    np.testing.assert_array_equal(y[~chosen], x[~chosen])


@pytest.mark.parametrize("fill", [None, [0.5, -3.0, 9.0]])
def test_erased_boxes(gpu, fill):
    x = np.random.default_rng(0).standard_normal((4, 6, 5, 3))
    boxes = np.array([[0, 6, 0, 5], [1, 3, 2, 4], [2, 2, 0, 5], [4, 9, -3, 2]])
    got = gpu.erase(x, boxes, fill, (-1.0, 2.0), KEY)
    np.testing.assert_allclose(got, REFERENCE.erase(x, boxes, fill, (-1.0, 2.0), KEY), rtol=1e-13)


def test_bits_do_not_depend_on_the_order_of_threads(gpu, monkeypatch):
    x, dy, matrices = affine_case("float32", (3, 6, 5, 2))
    found = []
    for backwards in (False, True):
        monkeypatch.setattr(gpu.kernels, "backwards", backwards, raising=False)
        y, saved = gpu.affine(x, matrices, "reflect")
        found.append([y, gpu.affine_backward(dy, saved)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)

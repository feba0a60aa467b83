"""Images of another size, against bilinear interpolation one pixel at a time, repeated pixels and examples by hand;
images made upright, against moments added up one pixel at a time."""

import naive
import numpy as np
import pytest
from conftest import assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import CenterCrop, MomentNormalization, Resizing, UpSampling2D

lengths = st.integers(1, 6)


@given(
    make=makers(),
    N=st.sampled_from([1, 3]),
    image=st.tuples(lengths, lengths),
    size=st.tuples(lengths, lengths),
    taps=st.tuples(lengths, lengths),
    seed=st.integers(0, 99),
)
def test_the_operation(ops, make, N, image, size, taps, seed):
    random = np.random.default_rng(seed)
    x, row_weights, column_weights = make(N, *image, 2), make(size[0], taps[0]), make(size[1], taps[1])
    rows, columns = (random.integers(0, image[axis], (size[axis], taps[axis])) for axis in (0, 1))
    expected = np.zeros((N, *size, 2))
    for i, j in np.ndindex(*size):
        for t, u in np.ndindex(*taps):
            expected[:, i, j] += (
                float(row_weights[i, t]) * float(column_weights[j, u]) * x[:, rows[i, t], columns[j, u]]
            )
    tables = ([ops.array(table) for table in pair] for pair in ((rows, row_weights), (columns, column_weights)))
    y = run(ops, "resize", x, *tables)
    assert_close(ops.numpy(y), expected)
    assert y.dtype == x.dtype


@pytest.mark.parametrize("image", [(1, 1), (4, 7), (5, 5), (9, 2)])
@pytest.mark.parametrize("size", [(1, 1), (3, 8), (5, 5), (10, 4)])
def test_between_pixels(device_layer, image, size):
    x = np.random.default_rng(0).standard_normal((2, *image, 3))
    expected = [naive.resized(one, *size) for one in x]
    layer = device_layer(Resizing(*size))
    assert_close(layer.ops.numpy(layer(layer.ops.array(x))), np.array(expected), 1e-12)
    rows, columns = ([int((k + 0.5) * n / m) for k in range(m)] for n, m in zip(image, size, strict=True))
    layer = device_layer(Resizing(*size, "nearest"))
    np.testing.assert_array_equal(layer.ops.numpy(layer(layer.ops.array(x))), x[:, rows][:, :, columns])


def test_a_smaller_image_is_made_of_all_pixels_if_asked():
    x = np.arange(4.0).reshape(1, 4, 1, 1)
    y = Resizing(2, 1, antialias=True, dtype="float64")(x)
    near = np.array([0.75, 0.75, 0.25, 0]) / 1.75  # half a pixel, and one and a half, of two
    assert_close(y.reshape(-1), [near @ np.arange(4), near[::-1] @ np.arange(4)], 1e-12)
    np.testing.assert_array_equal(Resizing(8, 1, antialias=True)(x), Resizing(8, 1)(x))


def test_the_ratio_of_the_sides_is_kept_if_asked():
    x = np.random.default_rng(0).standard_normal((2, 6, 9, 2))
    cropped = Resizing(3, 3, crop_to_aspect_ratio=True)(x)
    assert_close(cropped, Resizing(3, 3)(x[:, :, 1:7]), 1e-12)
    padded = Resizing(4, 4, pad_to_aspect_ratio=True, fill_value=2.0)(x)
    around = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)), constant_values=2.0)  # three rows are missing, an odd number
    assert_close(padded, Resizing(4, 4)(around), 1e-12)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_padding_may_be_all_that_is_left(interpolation):
    """Where an image is so narrow that none of the places lies on it."""
    layer = Resizing(10, 4, interpolation, pad_to_aspect_ratio=True, fill_value=1.5)
    y, dx = layer(np.ones((2, 23, 1, 3))), layer.backward(np.ones((2, 10, 4, 3)))
    assert y.shape == (2, 10, 4, 3) and (y == 1.5).all()
    assert dx.shape == (2, 23, 1, 3) and (dx == 0).all()


@pytest.mark.parametrize("fill", [255.0, -1e9])
def test_what_is_beside_an_image_does_not_touch_it(device_layer, fill):
    x = np.random.default_rng(0).random((2, 4, 4, 3)).astype("float32")
    layer = device_layer(Resizing(4, 8, "nearest", pad_to_aspect_ratio=True, fill_value=fill))
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), (2, 2), (0, 0)), constant_values=fill))


@pytest.mark.parametrize("size", [1, 2, (3, 1), (2, 5)])
def test_repeated_pixels(device_layer, size):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    rows, columns = np.broadcast_to(size, 2)
    layer = device_layer(UpSampling2D(size))
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    np.testing.assert_array_equal(y, x.repeat(rows, axis=1).repeat(columns, axis=2))
    layer = device_layer(UpSampling2D(size, interpolation="Bilinear"))
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    assert_close(y, np.array([naive.resized(one, 3 * rows, 4 * columns) for one in x]), 1e-12)


def test_the_middle(device_layer):
    x = np.random.default_rng(0).standard_normal((2, 7, 8, 3))
    layer = device_layer(CenterCrop(4, 3))
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    np.testing.assert_array_equal(y, x[:, 1:5, 2:5])
    dx = layer.ops.numpy(layer.backward(layer.ops.array(y)))
    np.testing.assert_array_equal(dx, np.pad(y, ((0, 0), (1, 2), (2, 3), (0, 0))))
    layer = device_layer(CenterCrop(8, 4))  # of 7 rows: resized is what has the ratio 2 : 1
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    assert_close(y, np.array([naive.resized(one, 8, 4) for one in x[:, :, 2:5]]), 1e-12)


@pytest.mark.parametrize("layer", [Resizing(5, 6), CenterCrop(3, 2), UpSampling2D()], ids=lambda one: one.name)
def test_bytes(layer):
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 1)).astype("uint8")
    y = layer(x)
    assert y.dtype == "float32"
    np.testing.assert_array_equal(y, layer(x.astype("float32")))


@pytest.mark.parametrize("layer", [Resizing(5, 6), CenterCrop(3, 2)], ids=lambda one: one.name)
def test_one_image(layer):
    x = np.random.default_rng(0).standard_normal((4, 3, 1))
    np.testing.assert_array_equal(layer(x), layer(x[None])[0])


def test_networks_for_larger_images_take_digits():
    """LeNet-5, for 32×32 pixels: what it learns is what it learns from images that were resized before."""
    x = np.random.default_rng(0).integers(0, 256, (30, 28, 28, 1)).astype("uint8")
    y, found = np.arange(30) % 10, []
    for inside in (True, False):
        minicnn.set_random_seed(1)
        start = [minicnn.Input((28, 28, 1)), Resizing(32, 32)] if inside else [minicnn.Input((32, 32, 1))]
        rest = [minicnn.Conv2D(6, 5, activation="tanh"), minicnn.AveragePooling2D(), minicnn.Flatten()]
        model = minicnn.Sequential([*start, minicnn.Rescaling(1 / 255), *rest, minicnn.Dense(10, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        images = x if inside else Resizing(32, 32)(x)
        loss = model.fit(images, y, batch_size=10, epochs=2, shuffle=False, verbose=0).history["loss"]
        found.append([*loss, model.evaluate(images, y, verbose=0), *model.predict(images).ravel()])
    np.testing.assert_array_equal(*found)


@given(make=makers(), shape=st.tuples(st.sampled_from([1, 3]), lengths, lengths, st.sampled_from([1, 2])))
def test_moments(ops, make, shape):
    x = np.abs(make(*shape))
    expected = np.array([naive.moment_map(one, 1.2, (0.8, 1.5)) for one in x])
    maps = ops.numpy(run(ops, "moment_maps", x, 1.2, (0.8, 1.5)))
    assert maps.dtype == "float64"
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-9 if x.dtype == "float64" else 1e-6)


def strokes(slants, deviations):
    """Smooth slanted strokes (N, 28, 28, 1), off the middle, whose columns have these standard deviations without slant."""
    i, j = np.indices((28, 28)) - 13.5
    across = [(j + 1 - slant * (i - 0.5)) / deviation for slant, deviation in zip(slants, deviations, strict=True)]
    return np.exp(-(np.array(across) ** 2) / 2 - (i - 0.5) ** 2 / 18)[..., None]


def test_strokes_become_upright_and_equally_wide(device_layer):
    x = strokes([-0.6, 0.0, 0.7, 0.3], [1.5, 2.5, 3.0, 4.0])
    layer = device_layer(MomentNormalization(2.0, (0.6, 1.6)))
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    i, j = np.indices((28, 28))
    for image, width in zip(y[..., 0], [2.0, 2.0, 2.0, 0.6 * 4.0], strict=True):
        mass = image / image.sum()
        middle_i, middle_j = (mass * i).sum(), (mass * j).sum()
        assert (middle_i, middle_j) == pytest.approx((14.0, 12.5), abs=0.02)
        assert (mass * (i - middle_i) * (j - middle_j)).sum() == pytest.approx(0, abs=0.1)  # it was up to 6.3
        deviation = np.sqrt((mass * (j - middle_j) ** 2).sum())
        assert deviation == pytest.approx(width, abs=0.1)  # the interpolation blurs a little


def test_what_has_no_mass_or_one_row_stays_readable():
    black, line = np.zeros((2, 5, 6, 1)), np.zeros((1, 5, 6, 1))
    line[0, 2, 1:5] = 1.0
    np.testing.assert_array_equal(MomentNormalization()(black), black)
    np.testing.assert_array_equal(MomentNormalization(factors=(1, 1))(line), line)  # there is no slant in one row


def test_a_model_with_moments_comes_back_from_a_file(tmp_path):
    x, layer = strokes([0.5, -0.3], [2.0, 3.0]).astype("float32"), MomentNormalization(2.0, (0.7, 1.5))
    model = minicnn.Sequential([minicnn.Input((28, 28, 1)), layer])
    for name in ("m.safetensors", "m.keras"):
        model.save(tmp_path / name)
        again = minicnn.load_model(tmp_path / name)
        np.testing.assert_array_equal(again.predict(x), layer(x))


def test_nothing_before_moments_is_trained():
    layers = [minicnn.Input((6, 6, 1)), minicnn.Conv2D(1, 3, activation="relu"), MomentNormalization(name="m")]
    for eager in (False, True):
        model = minicnn.Sequential([*layers, minicnn.Flatten(), minicnn.Dense(2)])
        model.compile("sgd", "mse", run_eagerly=eager)
        with pytest.raises(ValueError, match="layer m: the derivative of moments is not calculated, so no layer bef"):
            model.fit(np.ones((2, 6, 6, 1)), np.ones((2, 2)), verbose=0)

"""Batch normalisation: statistics, result and gradients against single sums and the whole Jacobian, in training and inference.

The layer's moving averages follow Keras' formula, and are what inference uses.
"""

import naive
import numpy as np
import pytest
from conftest import assert_close, makers, run
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import BatchNormalization, Rescaling, layers
from minicnn.gradcheck import check_layer

rows = st.sampled_from([(2,), (17,), (2, 3, 5), (3, 1, 1), (19, 4, 3)])
channels = st.sampled_from([1, 3, 16, 21])
EPSILON = 1e-3


@given(make=makers(), rows=rows, C=channels)
def test_batch_norm_and_its_gradients(ops, make, rows, C):
    x, gamma, beta, dy = 3 * make(*rows, C) + 2, make(C), make(C), make(*rows, C)
    flat_x, flat_dy = x.reshape(-1, C), dy.reshape(-1, C)
    expected = naive.batch_norm(flat_x, gamma, beta, EPSILON)
    *found, saved = run(ops, "batch_norm", x, gamma, beta, EPSILON)
    assert found[0].shape == x.shape
    for got, wanted in zip(found, expected, strict=True):
        assert_close(ops.numpy(got).reshape(wanted.shape), wanted)
    dx, dgamma, dbeta = run(ops, "batch_norm_backward", dy, saved)
    for got, wanted in zip(
        (dx, dgamma, dbeta), naive.batch_norm_backward(flat_x, flat_dy, gamma, EPSILON), strict=True
    ):
        # what is projected out is as large as dy itself and may leave much less behind
        scale = (
            np.abs(dy).max() / np.sqrt(expected[2].min() + EPSILON) * np.abs(gamma).max()
            if got is dx
            else np.abs(dy).sum()
        )
        assert np.abs(ops.numpy(got).reshape(wanted.shape) - wanted).max() <= 30 * np.finfo(x.dtype).eps * scale
        assert got.dtype == x.dtype


@given(make=makers(), rows=rows, C=channels)
def test_normalize_and_its_gradients(ops, make, rows, C):
    x, gamma, beta, mean, dy = make(*rows, C), make(C), make(C), make(C), make(*rows, C)
    variance = make(C) ** 2 + x.dtype.type(0.1)
    deviation = np.sqrt(np.float64(variance) + EPSILON)
    z = (np.float64(x) - mean) / deviation
    y, saved = run(ops, "normalize", x, gamma, beta, mean, variance, EPSILON)
    assert_close(ops.numpy(y), gamma * z + beta)
    gradients = run(ops, "normalize_backward", dy, saved)
    axes = tuple(range(x.ndim - 1))
    for got, wanted in zip(
        gradients, (dy * gamma / deviation, (dy * z).sum(axes), np.float64(dy).sum(axes)), strict=True
    ):
        assert_close(ops.numpy(got), wanted)


@pytest.mark.parametrize("momentum", [0.99, 0.5, 0.0])
def test_moving_averages(device_layer, momentum):
    layer = device_layer(BatchNormalization(momentum=momentum, dtype="float64"))
    batches = np.random.default_rng(0).normal(2, 3, (4, 8, 3, 5, 2))
    mean, variance = np.zeros(2), np.ones(2)
    for x in batches:
        layer(layer.ops.array(x), training=True)
        for c in range(2):
            mean[c] = momentum * mean[c] + (1 - momentum) * x[..., c].mean()
            variance[c] = momentum * variance[c] + (1 - momentum) * x[..., c].var()  # the biased one
    gamma, beta, *moving = layer.get_weights()
    assert_close(moving[0], mean)
    assert_close(moving[1], variance)
    y = layer.ops.numpy(layer(layer.ops.array(batches[0])))
    assert_close(y, (batches[0] - mean) / np.sqrt(variance + 1e-3))
    np.testing.assert_array_equal(layer.get_weights(), [gamma, beta, *moving])  # inference changes nothing


def test_a_constant_batch_becomes_beta(device_layer):
    layer = device_layer(BatchNormalization(beta_initializer="ones"))
    x = layer.ops.array(np.full((4, 3), 7.0, "float32"))
    np.testing.assert_array_equal(layer.ops.numpy(layer(x, training=True)), np.ones((4, 3)))
    assert np.isfinite(layer.ops.numpy(layer.backward(x))).all()


def test_a_large_mean_does_not_swallow_the_variance(ops):
    """Squares are summed around the mean: the mean of squares less the square of the mean would be all rounding here."""
    x = (1000 + np.random.default_rng(0).standard_normal((4096, 3))).astype("float32")
    _, _, variance, _ = run(ops, "batch_norm", x, np.ones(3, "float32"), np.zeros(3, "float32"), 1e-3)
    np.testing.assert_allclose(ops.numpy(variance), np.float64(x).var(axis=0), rtol=1e-4)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_center_and_scale_choose_the_parameters(device_layer, center, scale):
    layer = device_layer(BatchNormalization(center=center, scale=scale))
    x = layer.ops.array(np.random.default_rng(0).standard_normal((6, 4)).astype("float32"))
    y = layer.ops.numpy(layer(x, training=True))
    names = [parameter.name.split("/")[1] for parameter in layer.parameters]
    assert names == ["gamma"] * scale + ["beta"] * center + ["moving_mean", "moving_variance"]
    assert [p.trainable for p in layer.parameters] == [True] * (scale + center) + [False] * 2
    assert_close(y, naive.batch_norm(layer.ops.numpy(x), np.ones(4), np.zeros(4), 1e-3)[0])


def test_a_frozen_layer_keeps_its_statistics(device_layer):
    layer = device_layer(BatchNormalization(trainable=False))
    x = layer.ops.array(np.random.default_rng(0).standard_normal((6, 4)).astype("float32"))
    np.testing.assert_allclose(layer.ops.numpy(layer(x, training=True)), layer.ops.numpy(x) / np.sqrt(1.001), rtol=1e-6)
    np.testing.assert_array_equal(layer.get_weights()[2:], [np.zeros(4), np.ones(4)])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_rescaling(device_layer, dtype):
    layer = device_layer(Rescaling(1 / 255, offset=-0.5))
    x = layer.ops.array(np.array([[0, 51, 255]], dtype))
    y = layer(x)
    assert y.dtype == "float32"
    assert_close(layer.ops.numpy(y), [[-0.5, -0.3, 0.5]])
    assert_close(layer.ops.numpy(layer.backward(y)), [[-0.5 / 255, -0.3 / 255, 0.5 / 255]])


# ---------------------------------------------------------------------- statistics of data


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("axis", [-1, None, 1, (1, 2, 3), (3, 1), [-2]])
def test_the_statistics_of_data(device_layer, axis, invert):
    """Number by number, with loops over what belongs together."""
    x = 3 + 2 * np.random.default_rng(0).standard_normal((2100, 3, 2, 4))
    layer = device_layer(layers.Normalization(axis, invert=invert, dtype="float64"))
    layer.adapt(x)
    kept = [a % 4 for a in ([] if axis is None else np.ravel(axis))]
    y = layer.ops.numpy(layer(layer.ops.array(x)))
    for place in np.ndindex(*[n if a in kept else 1 for a, n in enumerate(x.shape)]):
        at = tuple(index if a in kept else slice(None) for a, index in enumerate(place))
        mean, deviation = x[at].mean(), x[at].std()
        np.testing.assert_allclose(y[at], x[at] * deviation + mean if invert else (x[at] - mean) / deviation, atol=1e-9)
    assert check_layer(device_layer(layers.Normalization(axis, invert=invert)), (3, 4, 5, 2)) < 1e-6


def test_data_in_parts():
    x = np.random.default_rng(0).random((70, 3, 2)).astype("float32")
    whole = layers.Normalization()
    whole.adapt(x)
    for parts in (
        [x[:5], x[5:40], x[40:]],
        ((part, None) for part in np.split(x, 7)),
        (x[n : n + 1] for n in range(70)),
    ):
        layer = layers.Normalization()
        layer.adapt(parts)
        for one, other in zip(layer.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
    whole.adapt((x * 255).astype("uint8"))
    assert 110 < whole.mean.numpy().mean() < 145
    constant = layers.Normalization()
    constant.adapt(np.full((4, 3), 7.0))
    np.testing.assert_array_equal(constant(np.full((2, 3), 7.0)), 0)


@pytest.mark.parametrize("name", ["m.safetensors", "m.keras"])
def test_statistics_are_saved(tmp_path, name):
    if name == "m.keras":
        pytest.importorskip("h5py")
    x = np.random.default_rng(0).random((20, 3, 2)).astype("float32")
    model = minicnn.Sequential(
        [layers.Input((3, 2)), layers.Normalization(None), layers.Normalization(1, [1, 2, 3], [4, 5, 6])]
    )
    model.layers[0].adapt(x)
    model.save(tmp_path / name)
    np.testing.assert_array_equal(minicnn.load_model(tmp_path / name).predict(x), model.predict(x))


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: layers.Normalization(mean=1.0, name="n"), "layer n: mean and variance must both be given"),
        (lambda: layers.Normalization(mean=[1.0], variance=1.0, name="n"), "layer n: .*in one shape"),
        (lambda: layers.Normalization(0, name="n").build((None, 3)), "layer n: axis must be from 1 to 1 for an input"),
        (lambda: layers.Normalization(2, name="n").build((None, 3)), "layer n: axis must be from 1 to 1 .*, not 2"),
        (lambda: layers.Normalization(1, [1, 2], [1, 2], name="n").build((None, 3)), r"layer n: .*shape \(2,\) do not fit"),
        (lambda: layers.Normalization(mean=1.0, variance=1.0, name="n").adapt(np.ones((2, 3))), "were given, and cannot be"),
        (lambda: layers.Normalization(name="n").adapt([]), "layer n: adapt needs at least one sample"),
    ],
)  # fmt: skip
def test_statistics_that_cannot_be(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_statistics_of_single_numbers():
    x = np.array([1, 2, 3, 4, 5], "float32")
    layer = layers.Normalization(axis=None)
    layer.adapt(x)
    assert_close(layer(x), (x - 3) / np.sqrt(2))

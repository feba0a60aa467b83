"""Random bits are Philox4x32-10, by the known answers of its authors; dropout masks are made of them and of nothing else.

A mask is a function of (seed, step, layer) and the index, keeps the share 1 - rate, and leaves the mean where it was.
"""

import naive
import numpy as np
import pytest
from conftest import arranged, assert_close, run
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn import Dropout

words = st.integers(0, 2**32 - 1)
keys = st.tuples(st.integers(0, 2**64 - 1), words, words)
sizes = st.sampled_from([1, 2, 3, 4, 5, 63, 64, 65, 200])
FULL = 0xFFFFFFFF


@pytest.mark.parametrize(
    "counter, key, answer",
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([FULL] * 4, [FULL] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_the_oracle_gives_the_known_answers_of_random123(counter, key, answer):
    assert " ".join(f"{word:08x}" for word in naive.philox(counter, key)) == answer


def test_the_first_known_answer_on_every_device(ops):
    assert [f"{bits:08x}" for bits in ops.numpy(ops.random_bits((0, 0, 0), 4)).tolist()] == [
        "6627e8d5",
        "e169c58d",
        "bc57ac4c",
        "9b00dbd8",
    ]


@given(key=keys, size=sizes)
def test_random_bits(ops, key, size):
    bits = ops.numpy(ops.random_bits(key, size))
    assert bits.dtype == np.uint32
    assert bits.tolist() == naive.random_bits(key, size)


@given(
    key=keys,
    size=sizes,
    rate=st.sampled_from([0.1, 0.25, 0.5, 0.9, 0.999]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_dropout_and_its_gradient(ops, key, size, rate, dtype):
    mask = np.array(naive.dropout_mask(key, rate, size))
    x, dy = np.random.default_rng(0).standard_normal((2, size)).astype(dtype)
    y, saved = run(ops, "dropout", x, rate, key)
    assert_close(ops.numpy(y), x.astype(float) * mask / (1 - rate))
    assert_close(ops.numpy(run(ops, "dropout_backward", dy, saved)), dy.astype(float) * mask / (1 - rate))
    assert y.dtype == dtype


@pytest.mark.parametrize("layout", ["transposed", "sliced", "reversed"])
def test_the_index_is_that_of_the_shape_not_of_the_memory(ops, layout):
    x = np.ones((3, 5, 7), "float32")
    y, saved = run(ops, "dropout", arranged(x, layout), 0.5, (1, 2, 3))
    expected = 2.0 * np.reshape(naive.dropout_mask((1, 2, 3), 0.5, x.size), x.shape)
    np.testing.assert_array_equal(ops.numpy(y), expected)
    dx = run(ops, "dropout_backward", arranged(x, layout), saved)
    np.testing.assert_array_equal(ops.numpy(dx), expected)


@pytest.mark.parametrize("size", [300_001, (1 << 17) + 6])
def test_large_arrays_and_threads(ops, threads, size):
    """Sizes that are cut into tasks in the middle of an odd number of blocks."""
    key, found = (12345678901234567890, 7, 1), []
    bits = ops.numpy(ops.random_bits(key, size))
    for number in (1, 3, 5):
        threads(number)
        found.append(ops.numpy(run(ops, "dropout", np.ones(size, "float32"), 0.3, key)[0]))
    for y in found:
        np.testing.assert_array_equal(y > 0, bits >= int(0.3 * 2**32))
    last = size - size % 4
    assert bits[last:].tolist() == naive.philox([last // 4, 0, 7, 1], [key[0] % 2**32, key[0] >> 32])[: size - last]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_rates_may_be_numbers_of_numpy(ops, kind):
    x, scale = np.ones((4, 6, 5, 2), np.float32), np.float32(4 / 3)
    expected = scale * np.reshape(naive.dropout_mask((7, 2, 1), 0.25, x.size), x.shape)
    np.testing.assert_array_equal(ops.numpy(run(ops, "dropout", x, kind(0.25), (7, 2, 1))[0]), expected)
    channels = scale * np.reshape(naive.dropout_mask((7, 2, 1), 0.25, 4 * 2), (4, 1, 1, 2))
    np.testing.assert_array_equal(ops.numpy(run(ops, "spatial_dropout2d", x, kind(0.25), (7, 2, 1))[0]), x * channels)
    model = minicnn.Sequential(
        [minicnn.Input((60,)), Dropout(kind(0.5), seed=1), minicnn.Dense(1, kernel_initializer="ones")]
    )
    model.compile("sgd", "mse")
    assert model.train_step(np.ones((8, 60), np.float32), np.zeros(8))[1].mean() > 40


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_expectation_is_kept(ops, rate):
    size = 1_000_000
    y = ops.numpy(run(ops, "dropout", np.ones(size), rate, (5, 0, 0))[0])
    deviation = np.sqrt(rate / (1 - rate) / size)  # of the mean of y
    assert abs(y.mean() - 1) < 4 * deviation
    assert abs((y == 0).mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / size)


def test_another_seed_step_or_layer_is_another_mask(ops):
    keys = [(0, 0, 0), (1, 0, 0), (1 << 32, 0, 0), (0, 1, 0), (0, 0, 1)]
    masks = [ops.numpy(run(ops, "dropout", np.ones(4096), 0.5, key)[0]) > 0 for key in keys]
    again = ops.numpy(run(ops, "dropout", np.ones(4096), 0.5, keys[0])[0]) > 0
    np.testing.assert_array_equal(masks[0], again)
    for a in range(len(keys)):
        for b in range(a):
            assert abs((masks[a] == masks[b]).mean() - 0.5) < 4 * 0.5 / 64


@pytest.mark.parametrize("rate", [0.05, 0.3, np.float32(0.5)])
def test_alpha_dropout_puts_the_least_of_selu(ops, rate):
    """Of numbers with mean 0 and variance 1, so are the results."""
    key, x = (12345, 6, 0), np.random.default_rng(0).standard_normal((1000, 301))
    least = float(minicnn.activations.selu(np.array([-1e3]))[0])
    y, saved = run(ops, "alpha_dropout", x, rate, key)
    y, rate = ops.numpy(y), float(rate)
    kept = np.reshape(naive.dropout_mask(key, rate, x.size), x.shape)
    a = ((1 - rate) * (1 + rate * least**2)) ** -0.5
    assert_close(y, a * (kept * x + (1 - kept) * least) - a * least * rate, 1e-12)
    assert abs(y.mean()) < 4 / np.sqrt(x.size) and abs(y.var() - 1) < 8 / np.sqrt(x.size)
    assert_close(ops.numpy(run(ops, "alpha_dropout_backward", x, saved)), a * kept * x, 1e-12)


@pytest.mark.parametrize("rate", [0.05, 0.5, np.float32(0.8)])
def test_gaussian_dropout_has_the_mean_and_the_variance_of_dropout(ops, rate):
    """And its factors are the noise of the same key."""
    key, x = (12345, 6, 0), np.random.default_rng(0).standard_normal((1000, 301)) + 3
    y, saved = run(ops, "gaussian_dropout", x, rate, key)
    factor, size, rate = ops.numpy(y) / x, x.size, float(rate)
    spread = np.sqrt(rate / (1 - rate))
    assert abs(factor.mean() - 1) < 4 * spread / np.sqrt(size)
    assert abs(factor.var() / spread**2 - 1) < 4 * np.sqrt(2 / size)
    assert_close(factor, 1 + ops.numpy(run(ops, "gaussian_noise", 0 * x, spread, key)), 1e-12)
    assert_close(ops.numpy(run(ops, "gaussian_dropout_backward", x, saved)), factor * x, 1e-12)


def test_the_layer(device_layer):
    layer, twin = device_layer(Dropout(0.4, seed=3)), device_layer(Dropout(0.4, seed=3))
    x = layer.ops.array(np.ones((20, 30), "float32"))
    first, second = (layer.ops.numpy(layer(x, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, layer.ops.numpy(twin(x, training=True)))
    assert (first != second).any()
    np.testing.assert_array_equal(layer.ops.numpy(layer.backward(x)), second)
    np.testing.assert_array_equal(layer.ops.numpy(layer(x)), np.ones((20, 30)))  # inference
    np.testing.assert_array_equal(layer.ops.numpy(layer.backward(x)), np.ones((20, 30)))
    layer.step = 0
    np.testing.assert_array_equal(layer.ops.numpy(layer(x, training=True)), first)


def test_a_rate_of_zero_drops_nothing(device_layer):
    layer = device_layer(Dropout(0))
    x = layer.ops.array(np.ones((4, 5), "float32"))
    np.testing.assert_array_equal(layer.ops.numpy(layer(x, training=True)), np.ones((4, 5)))
    np.testing.assert_array_equal(layer.ops.numpy(layer.backward(x)), np.ones((4, 5)))

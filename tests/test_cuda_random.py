"""Random numbers on the GPU, and on its emulator: those of every other device, to the bit."""

import naive
import numpy as np
import pytest
from conftest import DTYPES

from minicnn import get_ops

CPU, REFERENCE = get_ops("cpu"), get_ops("reference")
KEYS = [(0, 0, 0), (7, 1, 2), (2**64 - 1, 2**32 - 1, 2**32 - 1), (2**63 + 12345, 2**31, 1)]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1023, 5000])
def test_random_bits(gpu, key, count):
    bits = gpu.random_bits(key, count)
    assert bits.dtype == np.uint32 and bits.tolist() == naive.random_bits(key, count)


def test_more_numbers_than_threads(gpu):
    """Every thread takes several counters."""
    np.testing.assert_array_equal(gpu.random_bits(KEYS[1], 4_200_003), REFERENCE.random_bits(KEYS[1], 4_200_003))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.0, np.float64(0.25), 0.999999])
@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("shape", [(1,), (7, 3), (5, 401)])
def test_dropout_is_that_of_the_cpu_to_the_bit(gpu, shape, key, rate, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    y, saved = gpu.dropout(x, rate, key)
    np.testing.assert_array_equal(y, CPU.dropout(x, rate, key)[0])
    np.testing.assert_array_equal(gpu.dropout_backward(x, saved), y)
    mask = np.array(naive.dropout_mask(key, rate, x.size)).reshape(shape)
    np.testing.assert_array_equal(y != 0, mask == 1)


@pytest.mark.parametrize("name, arguments", [("random_bits", (1001,)), ("dropout", (0.4,)), ("gaussian_noise", (0.5,))])
def test_a_step_that_is_counted_on_the_device(gpu, name, arguments):
    """The key's step may be an array: what a captured step draws changes with what is in it, and nothing else."""
    x, counter = np.ones((3, 37), "float32"), np.array([5])
    call = getattr(gpu, name)

    def drawn(step):
        found = call((9, step, 2), *arguments) if name == "random_bits" else call(x, *arguments, (9, step, 2))
        return found[0] if name == "dropout" else found

    np.testing.assert_array_equal(drawn(counter), drawn(5))
    gpu.advance(counter)
    assert counter == [6]
    np.testing.assert_array_equal(drawn(counter), drawn(6))
    assert (drawn(counter) != drawn(5)).any()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1001])
def test_noise_of_the_cpu(gpu, size):
    x = np.random.default_rng(0).standard_normal(size)
    np.testing.assert_allclose(
        gpu.gaussian_noise(x, 0.7, KEYS[3]), CPU.gaussian_noise(x, 0.7, KEYS[3]), rtol=1e-14, atol=1e-14
    )

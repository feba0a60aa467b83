"""Kernels read nothing that was not written and nothing beside their inputs, and write nothing beside their outputs.

Fresh memory is poisoned with NaN, every array stands between canaries, and the results must not notice.
"""

import numpy as np
import pytest
from calls import CALLS, CHANNELS, normal
from conftest import DTYPES
from guards import PLACES, between_pages, protecting

from minicnn import get_ops
from minicnn.memory import Pool

MARGIN = 256  # numbers on either side of an array: more than a tile can reach past its end by mistake
CPU = get_ops("cpu")
CALLS = CALLS | CHANNELS


class Fenced:
    """Makes arrays filled with poison, and remembers what lies around them."""

    def __init__(self):
        self.around = []

    def empty(self, pool, shape, dtype):
        dtype, size = np.dtype(dtype), int(np.prod(shape))
        poison = np.nan if dtype.kind == "f" else 0x7B
        memory = np.full(size + 2 * MARGIN, poison, dtype)
        self.around.append((memory[:MARGIN], memory[MARGIN + size :]))
        for canary in self.around[-1]:
            canary.view(np.uint8)[:] = 0x5A
        return memory[MARGIN : MARGIN + size].reshape(shape)

    def intact(self):
        return all((canary.view(np.uint8) == 0x5A).all() for pair in self.around for canary in pair)


@pytest.fixture
def fenced(monkeypatch):
    """Runs a function on fenced memory."""

    def run(function):
        fence = Fenced()
        with monkeypatch.context() as patch:
            patch.setattr(Pool, "empty", lambda pool, shape, dtype: fence.empty(pool, shape, dtype))
            patch.setattr(CPU, "poison", True)
            return function(), fence

    return run


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_nothing_uninitialised_is_read_and_nothing_outside_written(fenced, name, dtype):
    got, fence = fenced(lambda: CALLS[name](CPU, normal(dtype)))
    assert fence.intact()
    for one, other in zip(got, CALLS[name](CPU, normal(dtype)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_nothing_beside_the_inputs_is_read(name, dtype):
    """Every input lies between NaNs, which would spread into the results."""

    def among_nans(x):
        memory = np.full(x.size + 2 * MARGIN, np.nan, x.dtype)
        memory[MARGIN : MARGIN + x.size] = x.reshape(-1)
        return memory[MARGIN : MARGIN + x.size].reshape(x.shape)

    for one, other in zip(CALLS[name](CPU, normal(dtype, among_nans)), CALLS[name](CPU, normal(dtype)), strict=True):
        np.testing.assert_array_equal(one, other)


@protecting
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_no_page_beside_the_inputs_is_touched(name, dtype, place):
    """By lanes of a vector that are not wanted either."""
    got = CALLS[name](CPU, normal(dtype, lambda x: between_pages(x, place)))
    for one, other in zip(got, CALLS[name](CPU, normal(dtype)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("offset", [1, 3, 7])
@pytest.mark.parametrize("name", CALLS)
def test_inputs_need_no_alignment(name, offset):
    def shifted(x):
        memory = np.empty(x.size + offset, x.dtype)[offset:]
        memory[:] = x.reshape(-1)
        return memory.reshape(x.shape)

    for one, other in zip(
        CALLS[name](CPU, normal("float32", shifted)), CALLS[name](CPU, normal("float32")), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_fence_notices(fenced):
    """A canary that is written, and a number that is never written, are seen by the tests above."""
    x, fence = fenced(lambda: CPU.empty((3, 4), "float32"))
    assert np.isnan(x).all() and fence.intact()
    np.lib.stride_tricks.as_strided(x, (13,), (4,))[12] = 0
    assert not fence.intact()

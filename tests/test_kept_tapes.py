"""A tape that is kept gives what a new one gives, to the bit, whatever arrays it is run on."""

import threading

import numpy as np
import pytest
from calls import CALLS, CHANNELS, normal
from conftest import DTYPES

from minicnn import get_ops
from minicnn.ops import cpu
from minicnn.ops.cpu import CpuOps, Tapes

KEEPING = get_ops("cpu")


def fresh():
    """Operations that write each tape anew."""
    ops = CpuOps()
    ops.tapes.take = lambda key: None
    return ops


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS | CHANNELS)
def test_the_same_bits_on_other_arrays(name, dtype):
    call = (CALLS | CHANNELS)[name]
    for seed in range(3):
        got = call(KEEPING, normal(dtype, seed=seed))
        for one, other in zip(got, call(fresh(), normal(dtype, seed=seed)), strict=True):
            np.testing.assert_array_equal(one, other)


def test_tapes_run_again(monkeypatch):
    ops, written = CpuOps(), []
    monkeypatch.setattr(ops, "tape", lambda dtype, new=ops.tape: written.append(dtype) or new(dtype))
    for shape in ((5, 3), (5, 3), (3, 5), (5, 3)):
        for x in (np.ones(shape, np.float32), np.ones(shape)):
            ops.relu(x)
    assert len(written) == 4
    ops.poison = True
    ops.relu(np.ones((5, 3)))
    assert len(written) == 5


def test_an_array_given_twice_stays_two_arguments():
    """The scale of this batch normalisation is its shift as well; that of the next is not."""
    ops, x, one = CpuOps(), np.random.default_rng(0).standard_normal((4, 3, 2, 5)), np.ones(5)
    for gamma, beta in ((one, one), (one, one + 1), (one + 1, one), (one, one)):
        np.testing.assert_array_equal(
            ops.batch_norm(x, gamma, beta, 0.1)[0], fresh().batch_norm(x, gamma, beta, 0.1)[0]
        )


def test_settings_are_looked_at():
    ops, x = CpuOps(), np.random.default_rng(0).standard_normal((40, 7))
    for rate, key in ((0.5, (1, 2, 3)), (0.25, (1, 2, 3)), (0.25, (1, 2, 4)), (0.5, (1, 2, 3))):
        np.testing.assert_array_equal(ops.dropout(x, rate, key)[0], fresh().dropout(x, rate, key)[0])


def test_threads_of_the_caller_take_tapes_of_their_own():
    ops, wrong = CpuOps(), []

    def work(number):
        x = np.full((3, 6, 6, 4), float(number))
        for _ in range(50):
            if (
                not (ops.relu(x)[0] == x).all()
                or not (ops.max_pool2d(x, (2, 2), (2, 2), ((0, 0), (0, 0)))[0] == number).all()
            ):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_large_tapes_go_and_all_together_stay_small(monkeypatch):
    tapes, sizes = Tapes(), iter([cpu.SHORT, cpu.SHORT + 1, *[cpu.SHORT] * 200])

    class Sized:
        ended = False

        def __init__(self):
            self.bytes = next(sizes)

        def end(self):
            self.ended = True

    small, large = Sized(), Sized()
    tapes.keep("small", small)
    tapes.keep("large", large)
    assert tapes.take("small") is small and tapes.take("small") is None
    assert tapes.take("large") is None and large.ended and tapes.bytes == 0
    for number in range(200):
        tapes.keep(number, Sized())
        assert tapes.bytes == cpu.SHORT * sum(map(len, tapes.free.values())) <= cpu.KEPT
    assert tapes.take(199) is not None

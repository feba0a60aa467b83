"""A tape that is kept gives what a new one gives, to the bit, whatever arrays it is run on."""

import sys
import threading
import weakref

import numpy as np
import pytest
from calls import CALLS, CHANNELS, normal
from conftest import DTYPES

from minicnn import get_ops
from minicnn.ops import cpu
from minicnn.ops.cpu import CpuOps

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


def test_zero_has_a_sign():
    ops, x = CpuOps(), np.full((1, 2), -0.0)
    for offset in (0.0, -0.0):
        assert np.array_equal(np.signbit(ops.rescale(x, 1.0, offset)), np.signbit(x + offset))


def test_arrays_are_not_kept():
    ops, shape, pads = CpuOps(), (40, 12, 12, 8), ((1, 1), (1, 1))
    x, kernel = np.ones(shape, np.float32), np.ones((3, 3, 8, 8), np.float32)
    y, saved = ops.conv2d(x, kernel, None, (1, 1), pads, (1, 1))
    dx, *_ = ops.conv2d_backward(y, kernel, saved)
    kept = weakref.ref(y), weakref.ref(dx)
    assert len(ops.tapes.free) == 2
    del y, dx, saved
    assert [array() for array in kept] == [None, None]


def test_large_tapes_go_and_all_together_stay_few(monkeypatch):
    monkeypatch.setattr(cpu, "LARGEST_TAPE", 1 << 18)
    ops = CpuOps()
    ops.conv2d(
        np.ones((64, 40, 40, 32), np.float32), np.ones((3, 3, 32, 32), np.float32), None, (1, 1), ((1, 1),) * 2, (1, 1)
    )
    assert ops.tapes.bytes == 0 and not ops.tapes.free
    monkeypatch.setattr(cpu, "ALL_TAPES", 10 * cpu.TAPE)
    for length in range(1, 40):
        ops.relu(np.ones(length))
        assert ops.tapes.bytes == cpu.TAPE * sum(map(len, ops.tapes.free.values())) <= cpu.ALL_TAPES
    ops.rescale(np.ones(3), float("nan"), 0.0)


def test_threads_that_make_room_at_the_same_time(monkeypatch):
    monkeypatch.setattr(cpu, "ALL_TAPES", 5 * cpu.TAPE)
    ops, failures = CpuOps(), []
    interval = sys.getswitchinterval()

    def work(number):
        lengths = np.random.default_rng(number).integers(1, 40, 300)
        try:
            for length in lengths:
                assert (ops.relu(np.full(length, 2.0))[0] == 2).all()
        except BaseException as error:
            failures.append(error)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures and ops.tapes.bytes <= cpu.ALL_TAPES


def test_a_tape_that_was_interrupted_is_given_up(monkeypatch):
    ops, x = CpuOps(), np.ones((2, 3))
    ops.relu(x)
    (tape,) = next(iter(ops.tapes.free.values()))

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(tape), "run", interrupted)
        ops.relu(x)
    assert ops.tapes.take(next(iter(ops.tapes.free))) is None
    np.testing.assert_array_equal(ops.relu(x)[0], x)

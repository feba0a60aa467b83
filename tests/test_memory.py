"""The memory pool: blocks come back when the last array on them is gone, are aligned, and are never shared by two arrays.

Training on it settles: after the first steps no more memory is asked of the system.
"""

import gc
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minicnn
from minicnn.memory import ALIGNMENT, Pool


def address(array):
    return array.ctypes.data


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int32"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (17, 2, 3, 4), (0, 3), (1 << 16,)])
def test_shape_type_and_alignment(shape, dtype):
    array = Pool().empty(shape, dtype)
    assert array.shape == shape and array.dtype == dtype
    assert array.flags.c_contiguous and array.flags.writeable
    assert address(array) % ALIGNMENT == 0 and ALIGNMENT == 64


def test_memory_is_used_again_when_the_last_view_is_gone():
    pool = Pool()
    first = pool.empty((100, 10), "float32")
    place, view = address(first), first[3:5].T
    del first
    assert address(pool.empty((1000,), "float32")) != place  # the view still needs it
    view[...] = 1
    del view
    gc.collect()
    assert place in {address(array) for array in [pool.empty((1000,), "float32"), pool.empty((500,), "float64")]}


@given(steps=st.lists(st.tuples(st.booleans(), st.sampled_from([1, 60, 64, 100, 1000])), max_size=60))
def test_no_two_living_arrays_share_memory(steps):
    """Arrays are made and dropped in any order; each holds its own number to the end, and the books balance."""
    pool, living = Pool(), []
    for number, (make, size) in enumerate(steps):
        if make or not living:
            array = pool.empty((size,), "uint8")
            array[:] = number
            living.append((number, array))
        else:
            number, array = living.pop(size % len(living))
            assert (array == number).all()
        del array
    spans = sorted((address(array), address(array) + array.nbytes) for _, array in living)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
    assert all((array == number).all() for number, array in living)
    sizes = sum(array.nbytes for _, array in living)
    assert sizes <= pool.used_bytes <= 1.25 * sizes
    assert pool.free_bytes == sum(size * len(blocks) for size, blocks in pool.free.items()) <= pool.peak_bytes
    living.clear()
    assert pool.used_bytes == 0


def test_a_block_serves_arrays_of_nearly_its_size():
    pool, held = Pool(), []
    places = []
    for size in (1000, 990, 1020):
        array = pool.empty((size,), "uint8")
        places.append(address(array))
        del array
    held.append(pool.empty((500,), "uint8"))
    assert len(set(places)) == 1 and address(held[0]) != places[0] and pool.free_bytes == 1024


def test_threads_never_get_the_same_block():
    pool, failures = Pool(), []

    def work(number):
        for _ in range(300):
            array = pool.empty((256,), "int32")
            array[:] = number
            if (array != number).any():
                failures.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == [] and pool.used_bytes == 0


def test_training_does_not_grow(threads):
    threads(1)  # with more, how many scratch images are in use at once is chance
    layers = minicnn.layers
    model = minicnn.Sequential(
        [
            layers.Input((12, 12, 1)),
            layers.Conv2D(8, 5, padding="same", activation="relu"),
            layers.Conv2D(8, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(strides=2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("rmsprop", "sparse_categorical_crossentropy")
    random, pool = np.random.default_rng(0), model.ops.pool
    x, y = random.random((32, 12, 12, 1)).astype("float32"), random.integers(0, 10, 32)
    held = []
    for _ in range(12):
        model.train_on_batch(x, y)
        gc.collect()
        held.append((pool.used_bytes, pool.used_bytes + pool.free_bytes))
    assert held[-1] == held[4]

"""A whole step of an optimizer in one launch, on a GPU and on its emulator: against the operations one by one, from array code."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import assert_close

from minicnn import get_ops
from minicnn.ops import gpu_optimizers
from minicnn.ops.gpu_kernels import BLOCKS, THREADS
from minicnn.optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Ftrl, Lion, Nadam, RMSprop
from minicnn.schedules import ExponentialDecay

REFERENCE = get_ops("reference")
SIZES = {"conv/kernel": (0, 450), "conv/bias": (464, 469), "dense/kernel": (480, 1777), "dense/bias": (1792, 1795)}
COUNT = 1808
OPTIMIZERS = [
    lambda **o: SGD(0.1, **o),
    lambda **o: SGD(0.1, 0.9, **o),
    lambda **o: SGD(0.1, 0.9, True, **o),
    lambda **o: RMSprop(0.02, centered=True, momentum=0.5, epsilon=1e-3, **o),
    lambda **o: RMSprop(0.02, epsilon=1e-3, **o),
    lambda **o: Adagrad(0.1, **o),
    lambda **o: Adadelta(1.0, epsilon=1e-3, **o),
    lambda **o: Adam(ExponentialDecay(0.1, 3, 0.5), **o),
    lambda **o: Adam(0.1, amsgrad=True, **o),
    lambda **o: AdamW(0.1, **o),
    lambda **o: Nadam(0.1, **o),
    lambda **o: Adamax(0.1, **o),
    lambda **o: Lion(0.1, **o),
    lambda **o: Ftrl(0.1, l1_regularization_strength=0.5, l2_regularization_strength=0.1, **o),
    lambda **o: Ftrl(0.1, -0.7, beta=0.2, l2_shrinkage_regularization_strength=0.1, **o),
]
OPTIONS = [
    {},
    {"clipvalue": 0.3, "weight_decay": 0.1},
    {"clipnorm": 3.0, "use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    {"global_clipnorm": 5.0, "weight_decay": 0.1, "use_ema": True},
    {"global_clipnorm": 1e9},
]


def pair(make, options, spared):
    """Two optimizers alike, that know where parameters lie, with their weights."""
    found = []
    for _ in range(2):
        optimizer = make(**options)
        optimizer.spans = [(SimpleNamespace(name=name), slice(*place)) for name, place in SIZES.items()]
        if spared:
            optimizer.exclude_from_weight_decay(var_names=["bias"])
        found.append(optimizer)
    w = np.zeros(COUNT)
    for place in SIZES.values():
        w[slice(*place)] = np.random.default_rng(place[0]).standard_normal(place[1] - place[0])
    return *found, w


def gradient(step):
    g = np.zeros(COUNT)
    for place in SIZES.values():
        g[slice(*place)] = np.random.default_rng(step).standard_normal(place[1] - place[0])
    return g


@pytest.mark.parametrize("spared", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("make", OPTIMIZERS, ids=range(len(OPTIMIZERS)))
def test_a_step_in_one_launch(gpu, make, options, spared):
    one, other, w = pair(make, options, spared)
    ops, expected = gpu.ops, w.copy()
    got, g, counter, table = ops.array(w), ops.zeros((COUNT,), "float64"), ops.array([0]), np.zeros((5, 12))
    one.ops = REFERENCE
    other.start(got, ops)
    step = ops.optimizer_step(other, got, g)
    copied = copy.copy(other)
    for number in range(5):  # the settings of all steps are known before
        rate = copied.learning_rate
        copied.iterations += 1
        other.iterations = copied.iterations
        table[number] = step.settings(rate)
    for number in range(5):
        g[:] = ops.array(gradient(number))
        one.update(expected, gradient(number))
        if number < 3:
            step(table=ops.array(table), step=counter)
        else:
            step(table[number])
        ops.advance(counter)
        assert_close(ops.numpy(got), expected, 1e-12)
    assert one.state.keys() == other.state.keys()
    for name, moment in one.state.items():
        assert_close(ops.numpy(other.state[name]), moment, 1e-12)


def test_parameters_begin_where_the_kernel_is_told(gpu, monkeypatch):
    """At multiples of 8 numbers, say: every number is clipped by the norm of its own parameter."""
    monkeypatch.setattr(gpu_optimizers, "UNIT", 8)
    one, other, w = pair(SGD, {"clipnorm": 3.0}, False)
    got, expected = gpu.ops.array(w), w.copy()
    one.ops = REFERENCE
    other.start(got, gpu.ops)
    other.iterations = 1
    step = gpu.ops.optimizer_step(other, got, gpu.ops.array(gradient(0)))
    step(step.settings(other.learning_rate))
    one.update(expected, gradient(0))
    assert_close(gpu.ops.numpy(got), expected, 1e-12)


def test_one_launch_or_three(gpu, monkeypatch):
    ops, launched, launch = gpu.ops, [], gpu.kernels.launch
    monkeypatch.setattr(ops.kernels, "launch", lambda *a, **k: (launched.append(a[1]), launch(*a, **k))[1])
    for options, names in [
        ({"clipvalue": 1.0, "weight_decay": 0.1, "use_ema": True}, ["optimize"]),
        ({"clipnorm": 1.0}, ["square_sums", "add_parts", "optimize"]),
    ]:
        _, optimizer, w = pair(Adam, options, False)
        w, g = ops.array(w), ops.array(np.ones(COUNT))
        optimizer.start(w, ops)
        launched.clear()
        ops.optimizer_step(optimizer, w, g)([0.0] * 12)
        assert launched == names


def test_more_numbers_than_threads(gpu):
    """Each thread reads, computes and writes several, by all that is kept for them."""
    count = (BLOCKS + 3) * THREADS + 5
    arrays = [np.random.default_rng(k).standard_normal(count) for k in range(3)]
    arrays += [np.random.default_rng(k).uniform(0.1, 2, count) for k in (3, 4)]
    expected = [array.copy() for array in arrays]
    for ops, (w, g, m, v, top) in ((gpu, arrays), (REFERENCE, expected)):
        ops.adam(w, g, m, v, top, 0.1, 0.9, 0.99, 1e-7)
    for one, other in zip(arrays, expected, strict=True):
        assert_close(one, other, 1e-12)
    assert np.any(arrays[4] != np.random.default_rng(4).uniform(0.1, 2, count))


def test_norms_repeat_to_the_bit(gpu, monkeypatch):
    g = np.random.default_rng(0).standard_normal(300_001).astype("float32")
    starts, found = np.array([0, 48, 100_000, 300_001]), []
    for backwards in (False, True):
        monkeypatch.setattr(gpu.kernels, "backwards", backwards, raising=False)
        found.append([gpu._squares(g, None), gpu._squares(g, starts)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    parts = [np.sum(g[a:b].astype(float) ** 2) for a, b in zip(starts[:-1], starts[1:], strict=True)]
    np.testing.assert_allclose(found[0][0], sum(parts), rtol=1e-6)
    np.testing.assert_allclose(found[0][1], parts, rtol=1e-6)


def test_arrays_that_a_kernel_cannot_take(gpu):
    with pytest.raises(ValueError, match="adagrad: expected contiguous arrays of one number type"):
        gpu.ops.adagrad(
            gpu.ops.array(np.ones(8)), gpu.ops.array(np.ones(16))[::2], gpu.ops.array(np.ones(8)), 0.1, 1e-7
        )
    with pytest.raises(ValueError, match=r"adagrad: expected an array of shape \(8,\), received \(9,\)"):
        gpu.adagrad(np.ones(8), np.ones(9), np.ones(8), 0.1, 1e-7)

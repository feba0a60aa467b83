"""Transposed convolution and its gradients against loops over the definition; the sizes of images; a decoder that trains.

Keras' sizes and paddings are shown on examples worked out by hand, and compared with Keras in tests/parity.
"""

import copy

import naive
import numpy as np
import pytest
from conftest import DTYPES, assert_close, in_form, makers, run
from hypothesis import given
from hypothesis import strategies as st
from networks import CLASSES, assert_same, twins
from test_convolution import batches, channels, filters, geometries

import minicnn
from minicnn import Conv2D, Conv2DTranspose, get_ops, layers, nodes
from minicnn.kernels.convolution import convolve
from minicnn.ops import cpu_convolution
from minicnn.ops.cpu_convolution import Direct, Geometry, Im2col, OneWindow, Pointwise, Winograd, WinogradBatch, choose

NONE, ONE = ((0, 0), (0, 0)), ((1, 1), (1, 1))


def check(ops, make, geometry, N, C, F, biased):
    image, size, *window = geometry
    x = make(N, *naive.outputs(image, size, *window), C)
    kernel, bias, dy = make(*size, F, C), make(F) if biased else None, make(N, *image, F)

    y, saved = run(ops, "conv2d_transpose", x, kernel, bias, *window, image)
    gradients = run(ops, "conv2d_transpose_backward", dy, kernel, saved)
    without_dx = run(ops, "conv2d_transpose_backward", dy, kernel, saved, False)

    assert_close(ops.numpy(y), naive.conv2d_transpose(x, kernel, bias, *window, image))
    for got, wanted in zip(gradients, naive.conv2d_transpose_backward(x, dy, kernel, *window), strict=True):
        assert_close(ops.numpy(got), wanted)
        assert got.dtype == x.dtype
    assert without_dx[0] is None
    for got, same in zip(without_dx[1:], gradients[1:], strict=True):
        np.testing.assert_array_equal(ops.numpy(got), ops.numpy(same))


@given(make=makers(), geometry=geometries(), N=batches, C=channels, F=filters, biased=st.booleans())
def test_the_operation_and_its_gradients(ops, make, geometry, N, C, F, biased):
    check(ops, make, geometry, N, C, F, biased)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "kind, geometry, N, C, F",
    [
        (OneWindow, ((4, 3), (4, 3), (1, 1), NONE, (1, 1)), 5, 20, 9),
        (Pointwise, ((6, 5), (1, 1), (1, 1), NONE, (1, 1)), 5, 20, 9),
        (Direct, ((8, 9), (3, 3), (2, 2), ((0, 1), (1, 1)), (1, 1)), 5, 3, 2),
        (Direct, ((8, 9), (3, 3), (1, 1), ONE, (1, 1)), 19, 16, 1),
        (Im2col, ((8, 9), (3, 2), (2, 2), NONE, (1, 1)), 19, 5, 17),
        (Winograd, ((9, 14), (3, 3), (1, 1), ONE, (1, 1)), 19, 16, 20),
        (Winograd, ((13, 16), (4, 4), (2, 2), ((1, 1), (2, 1)), (1, 1)), 19, 32, 16),
        (WinogradBatch, ((9, 14), (3, 3), (1, 1), ONE, (1, 1)), 19, 16, 20),
    ],
)
def test_gradients_by_every_way_to_convolve(monkeypatch, request, kind, geometry, N, C, F, dtype):
    if kind is Im2col:
        monkeypatch.setattr(cpu_convolution, "UNCACHED", 0)
        in_form(monkeypatch, False, 0)
    if kind is WinogradBatch:
        request.getfixturevalue("whole_batch")
    random, (image, size, *window) = np.random.default_rng(3), geometry
    chosen = choose(Geometry.of(image, np.zeros((*size, F, C)), *window, transposed=True), N, dtype, "fast")
    assert type(chosen.convolution) is kind
    check(get_ops("cpu"), lambda *shape: random.standard_normal(shape).astype(dtype), geometry, N, C, F, True)


@pytest.mark.parametrize("precision, kind", [("fast", Winograd), ("exact", Direct)])
def test_precision_is_that_of_the_convolution(precision, kind):
    geometry = Geometry((14, 14), 16, (3, 3), 16, (1, 1), ONE, (1, 1), transposed=True)
    assert type(choose(geometry, 19, "float32", precision).convolution) is kind


def test_it_is_the_adjoint_of_a_convolution(ops):
    """⟨conv2d(y), x⟩ = ⟨y, conv2d_transpose(x)⟩"""
    random, window = np.random.default_rng(5), ((2, 3), ((1, 2), (0, 1)), (1, 1))
    y, kernel = random.standard_normal((3, 9, 10, 4)), random.standard_normal((3, 4, 4, 5))
    convolved, _ = run(ops, "conv2d", y, kernel, None, *window)
    x = random.standard_normal(convolved.shape)
    spread, _ = run(ops, "conv2d_transpose", x, kernel, None, *window, (9, 10))
    assert (ops.numpy(convolved) * x).sum() == pytest.approx((y * ops.numpy(spread)).sum(), rel=1e-12)


def test_an_example_worked_out_by_hand(ops):
    x, kernel = np.array([[[[1.0], [10.0]]]]), np.array([[1.0, 2.0, 3.0]]).reshape(1, 3, 1, 1)
    y, saved = run(ops, "conv2d_transpose", x, kernel, np.array([0.5]), (1, 2), NONE, (1, 1), (1, 6))
    # 1·[1 2 3] from column 0 on, 10·[1 2 3] from column 2 on; nothing reaches the last column
    np.testing.assert_array_equal(ops.numpy(y).ravel(), [1.5, 2.5, 13.5, 20.5, 30.5, 0.5])
    dy = np.array([1.0, 0, 0, 0, -1, 7]).reshape(1, 1, 6, 1)
    dx, dkernel, dbias = run(ops, "conv2d_transpose_backward", dy, kernel, saved)
    np.testing.assert_array_equal(ops.numpy(dx).ravel(), [1, -3])
    np.testing.assert_array_equal(ops.numpy(dkernel).ravel(), [1, 0, -10])
    np.testing.assert_array_equal(ops.numpy(dbias), [7])


@pytest.mark.parametrize(
    "length, size, stride, padding, output_padding, dilation, y",
    [  # x is 1, 10, …, the kernel 1, 2, 3, …, the bias 0.5, which is left out here; what is cut off stands in the comment
        (2, 3, 1, "valid", None, 1, [1, 12, 23, 30]),
        (2, 3, 1, "same", None, 1, [12, 23]),  # 1 before, 30 after
        (2, 2, 1, "same", None, 1, [1, 12]),  # 20 after: of an odd number the last is cut off at the end
        (2, 4, 1, "same", None, 1, [12, 23]),  # 1 before, 34 40 after
        (2, 3, 2, "valid", None, 1, [1, 2, 13, 20, 30]),
        (2, 3, 2, "same", None, 1, [1, 2, 13, 20]),  # 30 after
        (2, 2, 3, "valid", None, 1, [1, 2, 0, 10, 20, 0]),  # as many as the strides are
        (2, 2, 3, "same", None, 1, [1, 2, 0, 10, 20, 0]),
        (2, 5, 2, "same", None, 1, [2, 13, 24, 35]),  # 1 before, 40 50 after
        (2, 3, 2, "valid", 1, 1, [1, 2, 13, 20, 30, 0]),
        (2, 2, 3, "valid", 0, 1, [1, 2, 0, 10, 20]),
        (2, 3, 2, "same", 0, 1, [2, 13, 20]),  # 1 before, 30 after
        (2, 3, 2, "same", 1, 1, [1, 2, 13, 20]),
        (2, 1, 2, "same", 1, 1, [1, 0, 10, 0]),
        (2, 2, 2, "same", 0, 1, [2, 10]),  # 1 before, 20 after
        (2, 2, 1, "valid", None, 2, [1, 10, 2, 20]),
        (2, 2, 1, "same", None, 2, [10, 2]),
    ],
)  # fmt: skip
def test_sizes_and_paddings_by_hand(length, size, stride, padding, output_padding, dilation, y):
    padded = None if output_padding is None else (0, output_padding)
    layer = Conv2DTranspose(1, (1, size), (1, stride), padding, padded, dilation_rate=(1, dilation))
    layer.build((None, 1, length, 1))
    layer.set_weights([1.0 + np.arange(size).reshape(1, size, 1, 1), np.array([0.5])])
    assert layer.output_shape == (None, 1, len(y), 1)
    x = 10.0 ** np.arange(length).reshape(1, 1, length, 1)
    np.testing.assert_array_equal(layer(x).ravel(), np.array(y) + 0.5)


@pytest.mark.parametrize("strides, length", [(1, 7), (2, 7), (3, 8)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_output_paddings_tell_images_apart_that_a_convolution_makes_alike(size, padding, strides, length):
    """Each `output_padding` undoes the shape of one of them."""
    shape = Conv2D(1, size, strides, padding).compute_output_shape((None, length, length, 1))
    paddings = range(strides)
    undone = {Conv2DTranspose(1, size, strides, padding, p).compute_output_shape(shape)[1] for p in paddings}
    images = range(1 if padding == "same" else size, 30)
    assert undone == {
        n for n in images if Conv2D(1, size, strides, padding).compute_output_shape((1, n, n, 1))[1] == shape[1]
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strides, C", [((1, 1), 16), ((2, 2), 5)])
def test_bits_do_not_depend_on_threads(threads, strides, C, dtype):
    ops, random, window = get_ops("cpu"), np.random.default_rng(3), (strides, ONE, (1, 1))
    x, kernel = random.standard_normal((37, 9, 8, C)).astype(dtype), random.standard_normal((3, 3, 20, C)).astype(dtype)
    image, found = tuple((n - 1) * s + 1 for n, s in zip((9, 8), strides, strict=True)), []
    for number in (1, 2, 3, 5):
        threads(number)
        y, saved = ops.conv2d_transpose(x, kernel, kernel[0, 0, :, 0].copy(), *window, image)
        found.append([y, *ops.conv2d_transpose_backward(y, kernel, saved)])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_arrays_that_do_not_fit_are_refused(request, device):
    ops = request.getfixturevalue("emulated") if device == "emulated" else get_ops(device)
    x, kernel, window = np.ones((2, 4, 5, 3)), np.ones((3, 3, 6, 3)), ((2, 2), NONE, (1, 1))
    with pytest.raises(ValueError, match=r"conv2d_transpose kernel: expected .*\(3, 3, 3, 3\).* \(3, 3, 3, 6\)"):
        ops.conv2d_transpose(x, np.ones((3, 3, 3, 6)), None, *window, (9, 11))
    with pytest.raises(ValueError, match=r"conv2d_transpose bias: expected .*\(6,\).* \(3,\)"):
        ops.conv2d_transpose(x, kernel, np.ones(3), *window, (9, 11))
    with pytest.raises(ValueError, match=r"an image of \(9, 9\) has \(4, 4\) windows, expected the \(4, 5\) of x"):
        ops.conv2d_transpose(x, kernel, None, *window, (9, 9))
    y, saved = ops.conv2d_transpose(x, kernel, None, *window, (9, 11))
    with pytest.raises(ValueError, match=r"conv2d_transpose gradient: expected .*\(2, 9, 11, 6\).* \(1, 9, 11, 6\)"):
        ops.conv2d_transpose_backward(y[:1], kernel, saved)


def test_no_image_has_no_gradient():
    cpu, kernel = get_ops("cpu"), np.ones((3, 3, 2, 5), "float32")
    y, saved = cpu.conv2d_transpose(np.zeros((0, 4, 4, 5), "float32"), kernel, None, (2, 2), NONE, (1, 1), (9, 9))
    dx, dkernel, dbias = cpu.conv2d_transpose_backward(y, kernel, saved)
    assert y.shape == (0, 9, 9, 2) and dx.shape == (0, 4, 4, 5) and not dkernel.any() and dbias.tolist() == [0, 0]


def test_what_is_cheap_is_computed_again(monkeypatch):
    """As of other convolutions: instead of being kept for the gradient of the next, where it is large."""
    counts = []
    for kept in (1 << 30, 0):
        monkeypatch.setattr(nodes, "KEPT", kept)
        chain = [layers.Conv2DTranspose(6, 3, 2, "same", activation="relu"), layers.Conv2D(5, 3), layers.Flatten()]
        model = minicnn.Sequential([layers.Input((8, 7, 2)), *chain, layers.Dense(CLASSES, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        random = np.random.default_rng(0)
        x, y = random.standard_normal((50, 8, 7, 2)).astype("float32"), random.integers(0, CLASSES, 50)
        model, eager = twins(model)
        for one in (model, eager):
            one.train_step(x, y)
        assert_same(model, eager)
        (found,) = model._engine.runs.values()
        counts.append([i.kernel for strand in found.tape._all_strands() for i in strand.instructions].count(convolve))
    assert counts[1] == counts[0] + 1


def autoencoder():
    minicnn.set_random_seed(3)
    same = {"padding": "same", "activation": "relu"}
    model = minicnn.Sequential([
        layers.Input((28, 28, 1)), layers.Conv2D(8, 3, strides=2, **same), layers.Conv2D(4, 3, strides=2, **same),
        layers.Conv2DTranspose(4, 3, strides=2, **same), layers.Conv2DTranspose(8, 3, strides=2, **same),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ])  # fmt: skip
    model.compile(minicnn.optimizers.Adam(0.01), "binary_crossentropy")
    return model


def test_an_autoencoder_learns():
    """From images to the same images; on the tape the same bits as layer by layer."""
    images, _ = minicnn.data.synthetic_digits(200, seed=1)
    x = (images / 255).astype("float32").reshape(-1, 28, 28, 1)
    model = autoencoder()
    eager = copy.deepcopy(model)
    eager.run_eagerly = True
    before = model.evaluate(x, x, verbose=0)
    history, same = (one.fit(x, x, batch_size=16, epochs=2, verbose=0).history["loss"] for one in (model, eager))
    assert model.evaluate(x, x, verbose=0) < history[1] < history[0] < before
    assert history == same
    np.testing.assert_array_equal(model.predict(x, verbose=0), eager.predict(x, verbose=0))

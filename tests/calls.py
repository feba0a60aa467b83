"""One or more calls of every operation, forward and backward, for the tests that hold for all of them alike.

A call takes the operations and `new`, which makes an input of a given shape, and returns every array that came of it.
"""

import numpy as np

from minicnn.ops.reference import ELEMENTWISE, positions

KEY = (0x0123456789ABCDEF, 5, 1)
NONE = ((0, 0), (0, 0))
ONE = ((1, 1), (1, 1))

CONVOLUTIONS = [  # image, channels, filters, kernel, strides, pads, dilation
    ((10, 9), 1, 5, (5, 5), (1, 1), NONE, (1, 1)),
    ((9, 8), 16, 16, (3, 3), (1, 1), ONE, (1, 1)),
    ((8, 9), 16, 33, (5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1)),
    ((8, 7), 3, 17, (3, 2), (2, 3), ((0, 1), (2, 0)), (1, 1)),
    ((7, 7), 2, 3, (1, 1), (3, 3), NONE, (1, 1)),
    ((9, 9), 4, 20, (3, 3), (1, 1), NONE, (2, 3)),
    ((8, 9), 16, 33, (5, 4), (1, 1), ((2, 2), (2, 1)), (1, 1)),
    ((6, 4), 256, 230, (3, 3), (1, 1), ((2, 0), (0, 1)), (2, 1)),  # so large a kernel that all columns are written
    ((5, 4), 703, 750, (1, 1), (2, 3), NONE, (1, 1)),
]
BLOCKS = [  # likewise, for Winograd's algorithm: it takes two images together, and of an odd batch one is left
    ((14, 21), 16, 32, (3, 3), (1, 1), ONE, (1, 1)),
    ((15, 22), 32, 16, (5, 5), (1, 1), ((2, 2), (1, 2)), (1, 1)),
    ((13, 16), 16, 32, (4, 4), (2, 2), ((1, 1), (2, 1)), (1, 1)),
    ((13, 18), 128, 256, (4, 4), (2, 2), ONE, (1, 1)),  # so large a kernel that it takes all images together
    ((14, 19), 5, 20, (5, 5), (1, 1), ((2, 2), (1, 2)), (1, 1)),  # and so with vectors that are not full
    ((13, 16), 20, 31, (4, 4), (2, 2), ((1, 1), (2, 1)), (1, 1)),
    ((13, 18), 116, 139, (4, 4), (2, 2), ONE, (1, 1)),
]
TRANSPOSED = [  # image that comes out, its channels, those that go in, kernel, strides, pads, dilation
    ((10, 9), 1, 20, (3, 3), (1, 1), ONE, (1, 1)),
    ((9, 8), 5, 3, (3, 3), (2, 2), ((0, 1), (1, 1)), (1, 1)),  # of which the last column gets the bias alone
    ((9, 11), 17, 4, (2, 1), (3, 2), NONE, (1, 1)),
    ((9, 9), 4, 20, (3, 3), (1, 1), ((1, 2), (0, 0)), (2, 3)),
    ((14, 21), 16, 32, (3, 3), (1, 1), ONE, (1, 1)),
]
MOST = 24  # channels: as many as one and a half of the widest vectors
DEPTHWISE = [  # image, channels, filters of each, kernel, strides, pads, dilation
    ((10, 9), 1, 5, (3, 3), (1, 1), NONE, (1, 1)),
    ((9, 8), 37, 1, (3, 3), (1, 1), ONE, (1, 1)),
    ((8, 9), 16, 2, (5, 4), (2, 3), ((2, 2), (2, 1)), (1, 1)),
    ((9, 9), 3, 1, (3, 3), (1, 1), NONE, (2, 3)),
]
POOLINGS = [  # window, strides, pads
    ((2, 2), (2, 2), NONE),
    ((3, 2), (2, 1), ((1, 0), (0, 1))),
    ((1, 2), (3, 3), NONE),
]


def normal(dtype, place=lambda x: x, seed=0):
    """A `new` that draws normal numbers and passes each array through `place`."""
    random = np.random.default_rng(seed)
    return lambda *shape: place(random.standard_normal(shape).astype(dtype))


def _convolution(name, image, C, F, size, strides, pads, dilation, N=18):
    def call(ops, new):
        kernel = new(*size, C, F)
        y, saved = getattr(ops, name)(new(N, *image, C), kernel, new(F), strides, pads, dilation)
        return [y, *getattr(ops, name + "_backward")(new(*y.shape), kernel, saved)]

    return call


def _depthwise(image, C, M, size, strides, pads, dilation):
    def call(ops, new):
        kernel = new(*size, C, M)
        y, saved = ops.depthwise_conv2d(new(18, *image, C), kernel, new(C * M), strides, pads, dilation)
        return [y, *ops.depthwise_conv2d_backward(new(*y.shape), kernel, saved)]

    return call


def _transposed(image, F, C, size, strides, pads, dilation, N=18):
    def call(ops, new):
        kernel, outputs = new(*size, F, C), positions(image, pads, size, strides, dilation)
        y, saved = ops.conv2d_transpose(new(N, *outputs, C), kernel, new(F), strides, pads, dilation, image)
        return [y, *ops.conv2d_transpose_backward(new(*y.shape), kernel, saved)]

    return call


def _dense(name, N, C, F):
    def call(ops, new):
        kernel = new(C, F)
        y, saved = getattr(ops, name)(new(N, C), kernel, new(F))
        return [y, *getattr(ops, name + "_backward")(new(N, F), kernel, saved)]

    return call


def _channels(number):
    """From some channels to others by the tile alone: a convolution that has no faster algorithm, also backwards, a dense
    layer, and channels that stay apart."""
    image, size, strides, pads, dilation = (6, 5), (3, 2), (1, 1), ((1, 0), (0, 1)), (1, 1)
    convolution = _convolution("conv2d_relu", image, MOST + 1 - number, number, size, strides, pads, dilation, N=2)
    backwards = _transposed(image, number, MOST + 1 - number, size, strides, pads, dilation, N=2)
    dense = _dense("dense_relu", 5, MOST + 1 - number, number)
    apart = _depthwise(image, 1 + number, 1, size, strides, pads, dilation)
    return lambda ops, new: [*convolution(ops, new), *backwards(ops, new), *dense(ops, new), *apart(ops, new)]


def _elementwise(name, shape, *settings):
    """Also pooling: one array in, one array out."""

    def call(ops, new):
        y, saved = getattr(ops, name)(new(*shape), *settings)
        return [y, getattr(ops, name + "_backward")(new(*y.shape), saved)]

    return call


def _cross_entropy(name):
    def call(ops, new):
        predictions, targets = new(19, 10), new(19, 10)
        for rows in (predictions, targets):
            rows *= rows  # positive
            rows /= rows.sum(axis=1, keepdims=True)
        losses, saved = getattr(ops, name)(predictions, targets)
        return [losses, getattr(ops, name + "_backward")(new(19), saved)]

    return call


def _batch_norm_with_averages(ops, new):
    averages = new(19) + 0, new(19) + 0  # they are changed in place
    y, _ = ops.batch_norm_with_averages(new(5, 6, 7, 19), new(19), new(19), 1e-3, *averages, 0.9)
    return [y, *averages]


def _batch_norm(ops, new):
    *found, saved = ops.batch_norm(new(5, 30, 30, 19), new(19), new(19), 1e-3)
    return [*found, *ops.batch_norm_backward(new(5, 30, 30, 19), saved)]


def _normalize(ops, new):
    y, saved = ops.normalize(new(5, 30, 30, 19), new(19), new(19), new(19), new(19) ** 2, 1e-3)
    return [y, *ops.normalize_backward(new(5, 30, 30, 19), saved)]


def _padding(ops, new):
    y = ops.pad2d(new(2, 3, 4, 5), ((1, 0), (2, 3)))
    return [y, ops.pad2d_backward(new(*y.shape), ((1, 0), (2, 3)))]


def _columns(ops, new):
    columns = ops.im2col(new(2, 6, 7, 3), (3, 2), (1, 2), ONE, (1, 1))
    return [columns, ops.col2im(new(*columns.shape), (2, 6, 7, 3), (3, 2), (1, 2), ONE, (1, 1))]


def _affine(mode):
    def call(ops, new):
        matrices = ops.array(np.random.default_rng(1).standard_normal((18, 2, 3)))
        y, saved = ops.affine(new(18, 6, 7, 3), matrices, mode, 0.5)
        return [y, ops.affine_backward(new(18, 6, 7, 3), saved)]

    return call


def _affine_with_field(channels):
    def call(ops, new):
        matrices = ops.array(np.eye(2, 3) + 0.1 * np.random.default_rng(1).standard_normal((18, 2, 3)))
        field = new(18, 2, 6, 37)
        y, saved = ops.affine(new(18, 6, 37, channels), matrices, "constant", 0.5, field)
        return [y, ops.affine_backward(new(18, 6, 37, channels), saved)]

    return call


def _resize(ops, new):
    random = np.random.default_rng(1)
    rows, columns = (ops.array(random.integers(0, *shape)) for shape in ((6, (9, 2)), (7, (4, 3))))
    return [ops.resize(new(18, 6, 7, 3), (rows, new(9, 2)), (columns, new(4, 3)))]


def _chosen(ops):
    return ops.array(np.arange(18) % 3 > 0)


def _boxes(ops):
    return ops.array(np.random.default_rng(1).integers(-1, 6, (18, 4)))


def _prelu(shape):
    def call(ops, new):
        y, saved = ops.prelu(new(18, 6, 7, 19), new(*shape))
        return [y, *ops.prelu_backward(new(*y.shape), saved)]

    return call


def _penalize(l1, l2):
    def call(ops, new):
        w, g = new(57, 61), new(57, 61)
        alone, both = ops.penalize(w, None, l1, l2), ops.penalize(w, g, l1, l2)
        return [g, ops.xp.asarray([alone, both], w.dtype)]

    return call


def _optimizer(name, moments, *settings):
    """On so many arrays, w and g or one of them included."""

    def call(ops, new):
        arrays = [new(140_003) ** 2 for _ in range(moments)]
        getattr(ops, name)(*arrays, *settings)
        return arrays

    return call


def _rmsprop(ops, new):
    w, g, mean, velocity = (new(140_003) for _ in range(4))
    square = mean**2 + new(140_003) ** 2 + 0.1  # far from its smallest, where the difference has no digits left
    ops.rmsprop(w, g, square, mean, velocity, 0.1, 0.9, 0.5, 1e-3)
    return [w, square, mean, velocity]


def _ftrl(power):
    def call(ops, new):
        w, g, n, z = new(140_003), new(140_003), new(140_003) ** 2 + 0.1, new(140_003)
        ops.ftrl(w, g, n, z, 0.1, power, 0.3, 0.2, 0.1, 0.2)
        return [w, n, z]

    return call


CALLS = {
    **{f"conv2d {k}": _convolution("conv2d", *case) for k, case in enumerate(CONVOLUTIONS)},
    **{f"conv2d in blocks {k}": _convolution("conv2d", *case, N=19) for k, case in enumerate(BLOCKS)},
    **{f"conv2d_relu {k}": _convolution("conv2d_relu", *case) for k, case in enumerate(CONVOLUTIONS)},
    **{f"conv2d_transpose {k}": _transposed(*case) for k, case in enumerate(TRANSPOSED)},
    **{f"depthwise_conv2d {k}": _depthwise(*case) for k, case in enumerate(DEPTHWISE)},
    **{f"dense {N}": _dense("dense", N, C, F) for N, C, F in [(1, 3, 2), (65, 530, 70)]},
    **{f"dense_relu {N}": _dense("dense_relu", N, C, F) for N, C, F in [(1, 3, 2), (65, 530, 70)]},
    **{f"max_pool2d {k}": _elementwise("max_pool2d", (18, 7, 8, 19), *case) for k, case in enumerate(POOLINGS)},
    **{f"avg_pool2d {k}": _elementwise("avg_pool2d", (18, 7, 8, 19), *case) for k, case in enumerate(POOLINGS)},
    "global_max_pool2d": _elementwise("global_max_pool2d", (18, 5, 6, 7)),
    "global_avg_pool2d": _elementwise("global_avg_pool2d", (18, 5, 6, 7)),
    "rescale": lambda ops, new: [ops.rescale(new(18, 5, 7, 3), 0.3, 0.7)],
    "relu": _elementwise("relu", (700, 201)),
    "relu with settings": _elementwise("relu", (70, 21), 0.1, 1.0, 0.2),
    "elu": _elementwise("elu", (70, 21), 0.5),
    **{name: _elementwise("activate", (70, 21), name) for name in ELEMENTWISE},
    "erf": lambda ops, new: [ops.erf(new(70, 21)).astype(new(1).dtype)],
    **{f"prelu {shape}": _prelu(shape) for shape in [(6, 7, 19), (1, 1, 19), (1, 7, 19), (1, 1, 1), (6, 7, 1)]},
    "softmax": _elementwise("softmax", (70, 21)),
    "log_softmax": _elementwise("log_softmax", (70, 21)),
    "softmax_cross_entropy": _cross_entropy("softmax_cross_entropy"),
    "cross_entropy": _cross_entropy("cross_entropy"),
    "dropout": _elementwise("dropout", (700, 201), 0.4, KEY),
    "spatial_dropout2d": _elementwise("spatial_dropout2d", (19, 5, 6, 19), 0.4, KEY),
    "alpha_dropout": _elementwise("alpha_dropout", (700, 201), 0.4, KEY),
    "gaussian_dropout": _elementwise("gaussian_dropout", (700, 201), 0.4, KEY),
    "gaussian_noise": lambda ops, new: [ops.gaussian_noise(new(700, 201), 0.3, KEY)],
    "random_bits": lambda ops, new: [ops.random_bits(KEY, 1001)],
    "batch_norm": _batch_norm,
    "batch_norm_with_averages": _batch_norm_with_averages,
    "normalize": _normalize,
    "padding": _padding,
    "columns": _columns,
    "windows": lambda ops, new: [ops.windows(new(2, 6, 7, 3), (3, 2), (1, 2))],
    **{f"affine {mode}": _affine(mode) for mode in ("constant", "nearest", "reflect", "wrap")},
    **{f"affine with a field, {C} channels": _affine_with_field(C) for C in (1, 2)},
    "moment_maps": lambda ops, new: [ops.moment_maps(new(18, 6, 7, 3) ** 2, 1.5, (0.8, 1.2)).astype(new(1).dtype)],
    "resize": _resize,
    "random_field": lambda ops, new: [ops.random_field(new(9), new(7), new(18), KEY)],
    "blur": lambda ops, new: [ops.blur(new(18, 6, 7, 3), new(6), new(7), _chosen(ops))],
    "random_noise": lambda ops, new: [ops.random_noise(new(18, 5, 4, 3), ops.array(np.arange(18) % 3 / 2), KEY)],
    "erase": lambda ops, new: [ops.erase(new(18, 5, 4, 3), _boxes(ops), (0.2, -3.0, 0.5), (-1.0, 1.0), KEY)],
    "erase to noise": lambda ops, new: [ops.erase(new(18, 5, 4, 3), _boxes(ops), None, (0.1, 1.0), KEY)],
    "arrays": lambda ops, new: [
        ops.array(new(2, 3)),
        ops.numpy(new(2, 3)),
        ops.zeros((2, 3), "float32"),
        ops.constant(np.arange(6.0).reshape(2, 3), "float64"),  # of the host, as CuPy has it
    ],
    "penalize": _penalize(0.3, 0.2),
    "sgd": _optimizer("sgd", 3, 0.1, 0.9, True),
    "sgd without velocity": _optimizer("sgd", 2, None, 0.1, 0.9, True),
    "rmsprop": _rmsprop,
    "rmsprop without mean and velocity": _optimizer("rmsprop", 3, None, None, 0.1, 0.9, 0.5, 1e-3),
    "adagrad": _optimizer("adagrad", 3, 0.1, 1e-7),
    "adadelta": _optimizer("adadelta", 4, 0.1, 0.9, 1e-3),
    "adam": _optimizer("adam", 4, None, 0.1, 0.9, 0.999, 1e-7),
    "adam with amsgrad": _optimizer("adam", 5, 0.1, 0.9, 0.999, 1e-7),
    "nadam": _optimizer("nadam", 4, 0.1, 0.2, 1.5, 0.9, 0.999, 1e-7),
    "adamax": _optimizer("adamax", 4, 0.1, 0.9, 0.999, 1e-7),
    "lion": _optimizer("lion", 3, 0.1, 0.9, 0.99),
    "ftrl": _ftrl(0.5),
    "ftrl with another power": _ftrl(0.7),
    "clip_value": _optimizer("clip_value", 1, 0.7),
    "clip_norm": _optimizer("clip_norm", 1, 20.0),
    "clip_norm of few": lambda ops, new: [g for g in [new(37)] if ops.clip_norm(g, 1e9) is None],
    "decay": _optimizer("decay", 1, 0.1),
    "moving_average": _optimizer("moving_average", 2, 0.9, False),
    "moving_average, taken": _optimizer("moving_average", 2, 0.9, True),
}
CHANNELS = {f"{number} channels": _channels(number) for number in range(1, MOST + 1)}  # however full the last vector

"""Winograd's convolution against the definition: its matrices and transformations, results and gradients in both number
types, how far float32 is off, and where it is taken.

Every shape here is one for which it is taken, in all forms and with strides, with numbers of channels and filters that
fill vectors and that do not, with patches that reach past the image, pixels that no window reaches, and batches that
leave some images over when they are computed a few at a time.
"""

import ctypes
from fractions import Fraction
from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import naive
import numpy as np
import pytest
from calls import BLOCKS
from conftest import DTYPES, FAR, NEAR, assert_close, choose_form, in_form, run
from guards import PLACES, between_pages, protecting
from networks import NETWORKS

import minicnn
from minicnn import Conv2D, get_ops
from minicnn.kernels import winograd
from minicnn.kernels.simd import in_vectors, lanes
from minicnn.ops.cpu_convolution import Winograd, WinogradBatch, choose
from minicnn.tape import GROUPS

CPU, REFERENCE = get_ops("cpu"), get_ops("reference")
EXACT = 2e-6  # of the largest number: what the direct kernels are held to
NONE = ((0, 0), (0, 0))
FORMS = sorted(
    {
        (m, size)
        for size in range(2, 6)
        for height, width in np.ndindex(17, 17)
        if (m := choose_form("float32", (height, width), (size, size), (1, 1), 64, 64)[0])
    },
    key=lambda form: form[::-1],
)
KINDS = ["patch", "kernel", "output", "patch gradient", "kernel gradient", "output gradient"]


def bound(terms, dtype="float32"):
    """The largest error beside the largest number, for sums of so many terms: in float32, 3e-6·√terms."""
    return 25 * np.finfo(dtype).eps * max(16, terms) ** 0.5


class Case(NamedTuple):
    N: int
    image: tuple[int, int]
    C: int
    F: int
    size: int
    pads: tuple[tuple[int, int], tuple[int, int]]
    stride: int = 1

    @property
    def padded(self):
        return tuple(n + sum(pads) for n, pads in zip(self.image, self.pads, strict=True))

    @property
    def outputs(self):
        return tuple((n - self.size) // self.stride + 1 for n in self.padded)

    @property
    def unread(self):
        """Lines and columns at the end, of the image and its zeros, that no window reaches."""
        return tuple((n - self.size) % self.stride for n in self.padded)

    @property
    def r(self):
        return -(-self.size // self.stride)

    @property
    def form(self):
        """(m, whether the whole batch goes plane by plane)"""
        sizes = self.outputs, (self.size,) * 2, (self.stride,) * 2, self.C, self.F
        return winograd.choose("float32", *sizes, max(1, self.N), max(1, -(-self.N // GROUPS)))

    @property
    def m(self):
        return self.form[0]

    @property
    def settings(self):
        return (self.stride,) * 2, self.pads, (1, 1)

    @property
    def shapes(self):
        """Of x, the kernel, the bias and y."""
        return (
            (self.N, *self.image, self.C),
            (self.size, self.size, self.C, self.F),
            (self.F,),
            (self.N, *self.outputs, self.F),
        )

    @property
    def patches(self):
        """Of one image."""
        return -(-self.outputs[0] // self.m) * -(-self.outputs[1] // self.m)

    @property
    def together(self):
        """How many images are computed together; with two, some task of an odd batch has one left over."""
        return -(-winograd.PATCHES // self.patches)

    def bounds(self, dtype="float32"):
        """Of y, dx, dkernel and dbias, by the products that are added up for one number."""
        terms = self.stride**2 * self.C, self.F, self.N * self.patches
        return [*(bound(n, dtype) for n in terms), EXACT * np.finfo(dtype).eps / np.finfo("float32").eps]

    def normal(self, dtype="float32"):
        """x, kernel, bias and dy."""
        random = np.random.default_rng(5)
        return [random.standard_normal(shape).astype(dtype) for shape in self.shapes]


def same(size):
    return ((size // 2, size // 2),) * 2


CASES = [
    Case(7, (12, 13), 16, 16, 3, same(3)),
    Case(1, (14, 15), 32, 48, 3, NONE),
    Case(33, (22, 13), 48, 16, 3, same(3)),
    Case(33, (12, 12), 32, 48, 3, ((0, 3), (2, 1))),
    Case(3, (29, 26), 16, 64, 3, same(3)),
    Case(7, (2, 9), 48, 64, 3, same(3)),
    Case(5, (4, 8), 32, 16, 3, same(3)),
    Case(5, (2, 8), 16, 32, 3, same(3)),
    Case(7, (12, 13), 16, 16, 5, same(5)),
    Case(33, (22, 13), 16, 48, 5, same(5)),
    Case(1, (30, 27), 32, 16, 5, ((1, 2), (0, 3))),
    Case(7, (2, 9), 32, 64, 5, same(5)),
    Case(3, (2, 2), 16, 16, 5, same(5)),
    Case(7, (6, 4), 16, 16, 2, ((0, 1), (1, 0))),
    Case(5, (5, 10), 16, 32, 2, ((1, 0), (0, 0))),
    Case(3, (13, 9), 16, 32, 4, ((1, 2), (2, 1))),
    Case(33, (5, 6), 16, 16, 4, ((0, 1), (1, 0))),
    Case(2, (2, 3), 16, 16, 4, ((1, 2), (2, 1))),
    Case(3, (2, 2), 32, 16, 4, ((1, 2), (2, 1))),
    Case(7, (27, 26), 32, 48, 5, ((1, 2), (2, 1)), 2),
    Case(2, (28, 28), 16, 16, 5, NONE, 2),
    Case(33, (12, 13), 16, 32, 3, ((0, 1), (1, 0)), 2),
    Case(3, (14, 22), 32, 32, 3, NONE, 2),
    Case(3, (15, 15), 32, 16, 4, NONE, 2),
    Case(7, (7, 9), 16, 16, 4, ((1, 1), (1, 2)), 2),
    Case(3, (7, 9), 16, 16, 4, ((1, 1), (1, 1)), 2),
    Case(5, (5, 5), 16, 16, 4, ((1, 1), (0, 1)), 2),
    Case(5, (30, 31), 16, 16, 7, NONE, 3),
    Case(3, (17, 25), 16, 32, 7, ((3, 3), (2, 3)), 3),
    Case(33, (9, 11), 16, 16, 7, same(7), 2),
    Case(2, (11, 13), 16, 16, 9, ((4, 4), (3, 4)), 2),
    Case(7, (9, 10), 4, 24, 5, same(5)),
    Case(3, (13, 12), 5, 20, 5, ((1, 2), (2, 0))),
    Case(5, (12, 13), 8, 31, 3, same(3)),
    Case(33, (7, 6), 10, 5, 5, same(5)),
    Case(19, (11, 9), 20, 4, 5, same(5)),
    Case(7, (10, 12), 24, 8, 3, NONE),
    Case(8, (8, 5), 31, 10, 3, ((0, 2), (1, 1))),
    Case(3, (13, 11), 4, 31, 5, ((2, 1), (0, 2)), 2),
    Case(7, (11, 12), 5, 8, 7, same(7), 2),
    Case(5, (15, 16), 8, 5, 7, same(7), 2),
    Case(33, (9, 12), 10, 24, 4, ((1, 1), (1, 2)), 2),
    Case(19, (12, 11), 20, 10, 5, ((2, 1), (0, 2)), 2),
    Case(5, (15, 16), 24, 4, 7, same(7), 2),
    Case(5, (9, 11), 31, 20, 5, ((2, 1), (0, 2)), 2),
]
PARTS = {4, 5, 8, 10, 20, 24, 31}  # of channels: less than half of a vector, half, more, and so behind whole ones


def taken(saved):
    """The algorithm of a convolution, from what it saved for its gradients."""
    geometry, precision, x, *_ = saved
    return choose(geometry, len(x), x.dtype.name, precision)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Every test begins with, and leaves, what it may change."""
    monkeypatch.setattr(CPU, "precision", "fast")


@pytest.fixture(params=[Winograd, WinogradBatch], ids=["few images", "whole batch"])
def way(request, monkeypatch):
    """A few images at a time, or the whole batch plane by plane, whatever that costs."""
    in_form(monkeypatch, request.param is WinogradBatch)
    return request.param


class Problem(NamedTuple):
    """A case with numbers: x, kernel, bias and dy in float32, and in float64 what the definition makes of them."""

    case: Case
    x: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    dy: np.ndarray
    y: np.ndarray
    saved: tuple

    def gradients(self, dy):
        return REFERENCE.conv2d_backward(np.float64(dy), np.float64(self.kernel), self.saved)


@pytest.fixture(scope="module", params=CASES, ids=str)
def problem(request):
    x, kernel, bias, dy = request.param.normal()
    y, saved = REFERENCE.conv2d(np.float64(x), np.float64(kernel), np.float64(bias), *request.param.settings)
    return Problem(request.param, x, kernel, bias, dy, y, saved)


def forward_and_backward(problem, name="conv2d", dtype="float32"):
    """(y, dx, dkernel, dbias) on the CPU."""
    x, kernel, bias, dy = (a.astype(dtype) for a in (problem.x, problem.kernel, problem.bias, problem.dy))
    y, saved = run(CPU, name, x, kernel, bias, *problem.case.settings)
    return y, *run(CPU, name + "_backward", dy, kernel, saved)


def assert_same_bits(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


def errors(found, expected):
    """Of every array, the largest difference beside the largest number."""
    return [np.abs(one - other).max() / np.abs(other).max() for one, other in zip(found, expected, strict=True)]


# ---------------------------------------------------------------------- the matrices


def fractions(matrix):
    """The numbers that the floats of a matrix stand for, such as 1/6."""
    exact = [[Fraction(number).limit_denominator(1000) for number in row] for row in matrix]
    np.testing.assert_array_equal(np.array(exact, float), matrix)
    return np.array(exact, object)


def test_the_forms_are_all_that_patches_of_eight_pixels_allow():
    assert {r for _, r in FORMS} == {2, 3, 4, 5}
    assert {m for m, _ in FORMS} == set(range(2, winograd.LARGEST + 1))
    assert max(m + r - 1 for m, r in FORMS) == 8


@pytest.mark.parametrize("m, r", FORMS)
def test_one_dimension_for_every_tap_and_pixel(m, r):
    """Both sides are linear in g and in d: with g tap number a alone, and d pixel number p alone, y[i] is p == i + a."""
    At, G, Bt = map(fractions, winograd.matrices(m, r))
    assert (At.shape, G.shape, Bt.shape) == ((m, m + r - 1), (m + r - 1, r), (m + r - 1, m + r - 1))
    for a, g in enumerate(np.eye(r, dtype=int)):
        for p, d in enumerate(np.eye(m + r - 1, dtype=int)):
            assert (At @ ((G @ g) * (Bt @ d))).tolist() == [p == i + a for i in range(m)]


@pytest.mark.parametrize("m, r", FORMS)
def test_one_dimension_for_random_integers(m, r):
    matrices, random = winograd.matrices(m, r), np.random.default_rng(0)
    At, G, Bt = map(fractions, matrices)
    for _ in range(10):
        g, d = random.integers(-99, 100, r), random.integers(-99, 100, m + r - 1)
        expected = np.correlate(d, g)
        assert (At @ ((G @ g) * (Bt @ d))).tolist() == expected.tolist()
        assert_close(matrices[0] @ ((matrices[1] @ g) * (matrices[2] @ d)), expected)


@pytest.mark.parametrize("m, r", FORMS)
def test_two_dimensions(m, r):
    At, G, Bt = winograd.matrices(m, r)
    random = np.random.default_rng(0)
    for _ in range(10):
        d, g = random.standard_normal((m + r - 1, m + r - 1)), random.standard_normal((r, r))
        expected = naive.conv2d(d[None, :, :, None], g[:, :, None, None], None, (1, 1), NONE, (1, 1))
        assert_close(At @ ((G @ g @ G.T) * (Bt @ d @ Bt.T)) @ At.T, expected[0, :, :, 0])


# ---------------------------------------------------------------------- the transformations


def matrix(kind, m, r):
    At, G, Bt = winograd.matrices(m, r)
    L = {"patch": Bt, "kernel": G, "output": At}[kind.split()[0]]
    return L.T if kind.endswith("gradient") else L


class Calculator:
    """In place of an emitter and its builder: does what it is told, and counts."""

    def __init__(self):
        self.builder, self.zero, self.multiply_adds = SimpleNamespace(fadd=self.add, fsub=self.sub, fmul=self.mul), 0, 0

    def constant(self, value):
        return Fraction(value)

    def add(self, a, b):
        self.multiply_adds += 1
        return a + b

    def sub(self, a, b):
        self.multiply_adds += 1
        return a - b

    def mul(self, a, b):
        self.multiply_adds += 1
        return a * b

    def multiply_add(self, a, b, c):
        self.multiply_adds += 1
        return a * b + c


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m, r", FORMS)
def test_the_shortened_product_is_the_product(m, r, kind):
    """With numbers that are exact; and it is never longer."""
    L, random, calculator = matrix(kind, m, r), np.random.default_rng(0), Calculator()
    vectors = [Fraction(int(number)) for number in random.integers(-99, 100, L.shape[1])]
    expected = np.array([[Fraction(number) for number in row] for row in L], object) @ vectors
    assert winograd.multiply(calculator, L, vectors) == expected.tolist()
    assert calculator.multiply_adds <= np.count_nonzero(L)


@pytest.mark.parametrize(
    "L",
    [np.zeros((2, 3)), -np.eye(3), np.ones((4, 4)), [[1, 1], [1, -1]], [[0, 2], [0, -2], [3, 0]], [[-1, 2, -2]], [[5]]],
    ids=str,
)
def test_the_shortened_product_of_other_matrices(L):
    L = np.array(L, float)
    vectors = [Fraction(7**k) for k in range(L.shape[1])]
    expected = np.array([[Fraction(number) for number in row] for row in L], object) @ vectors
    assert winograd.multiply(Calculator(), L, vectors) == expected.tolist()


def test_no_row_is_in_two_pairs():
    rows = np.array([[1, 2], [1, -2], [0, 3], [-1, 2], [-1, -2], [1, 2], [2, 1], [0, -3]], float)
    found = winograd.pairs(rows)
    assert len({n for pair in found for n in pair}) == 2 * len(found) == 6
    assert all((abs(rows[i]) == abs(rows[k])).all() for i, k in found)


def counts(width):
    """Numbers of channels, by what they fill of vectors of so many lanes."""
    part = {"less than half": max(1, width // 2 - 1), "half": width // 2, "more than half": width // 2 + 1}
    return {"whole": 3 * width, **part} | {f"whole and {name}": 2 * width + number for name, number in part.items()}


FILLED = list(counts(16))
FEW = [(2, 2), (4, 3), (4, 5)]  # forms of few, some and many numbers
TRANSFORMED = [
    (m, r, filled)
    for m, r in FORMS
    for filled in FILLED
    if (m, r) in FEW or filled in ("whole", "whole and less than half")
]


class Transformation:
    """One with random numbers, and what is to come of it, with ReLU or without."""

    def __init__(self, m, r, kind, dtype, channels):
        self.L, self.dtype, random = matrix(kind, m, r), dtype, np.random.default_rng(0)
        height, length = self.L.shape
        self.d, self.bias, self.before = (
            random.standard_normal(shape).astype(dtype)
            for shape in ((length, length, channels), channels, (height, height, channels))
        )
        self.expected = np.einsum("ia,abc,jb->ijc", self.L, np.float64(self.d), self.L)
        self.expected += self.before if kind == "patch gradient" else 0  # to which it is added
        self.expected += self.bias if kind == "output" else 0
        self.function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 9)(
            winograd.transformation(dtype, kind, m, r, channels)
        )

    def __call__(self, source, target, bias, channels, relu=0):
        addresses = source.ctypes.data, *source.strides[:2], target.ctypes.data, *target.strides[:2]
        self.function(*addresses, channels, bias.ctypes.data, relu)

    def assert_close(self, result, expected):
        assert_close(result, expected, 20 * np.finfo(self.dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m, r, filled", TRANSFORMED)
def test_transformations(m, r, filled, kind, dtype):
    """L d Lᵀ for some channels, and nothing beside them is read or written."""
    width = lanes(np.dtype(dtype))
    channels = counts(width)[filled]
    transform = Transformation(m, r, kind, dtype, channels)
    height, length = transform.L.shape
    room = channels + 2 * width
    source, bias = (np.full(shape, np.nan, dtype) for shape in ((length, length + 1, room), room))
    target = np.full((height + 1, height, room), 77, dtype)
    source[:, :length, width:-width], bias[width:-width] = transform.d, transform.bias
    inputs = source.copy(), bias.copy()
    inside = source[:, :, width:-width], target[:height, :, width:-width], bias[width:-width]
    result = inside[1]
    for relu in (0, 1) if kind == "output" else (0,):
        result[:] = transform.before
        transform(*inside, channels, relu)
        expected = transform.expected
        transform.assert_close(result, np.maximum(expected, 0) if relu else expected)
    whole = channels // width * width  # the kernel's pairs come in pieces, all but the last of whole vectors
    result[:] = transform.before
    transform(*inside, whole)
    transform.assert_close(result[..., :whole], transform.expected[..., :whole])
    np.testing.assert_array_equal(result[..., whole:], transform.before[..., whole:])
    result[:] = 77
    assert (target == 77).all()
    for one, other in zip(inputs, (source, bias), strict=True):
        np.testing.assert_array_equal(one, other)


@protecting
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("filled", FILLED)
def test_transformations_touch_no_other_page(filled, kind, dtype, place):
    channels = counts(lanes(np.dtype(dtype)))[filled]
    transform = Transformation(4, 3, kind, dtype, channels)
    source, target, bias = (between_pages(a, place) for a in (transform.d, transform.before, transform.bias))
    transform(source, target, bias, channels)
    transform.assert_close(target, transform.expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_lanes_that_channels_take(dtype):
    """Those of whole vectors, and of a last one that is half as long where that is enough and still has 16 bytes."""
    type_ = np.dtype(dtype)
    unit = max(lanes(type_) // 2, 16 // type_.itemsize)
    for channels in range(1, 100):
        assert in_vectors(channels, type_) == -(-channels // unit) * unit


# ---------------------------------------------------------------------- results and gradients


def test_the_cases_cover_what_they_should():
    assert {(case.m, case.r) for case in CASES} == set(FORMS)
    sizes = {(case.size, case.stride) for case in CASES}
    assert sizes >= {(2, 1), (3, 1), (4, 1), (5, 1), (3, 2), (4, 2), (5, 2), (7, 3)}
    for some in ([case for case in CASES if case.stride == 1], [case for case in CASES if case.stride > 1]):
        assert any(case.N % 2 and case.together == 2 < case.N / GROUPS for case in CASES)
        assert any(n % case.m for case in some for n in case.outputs)
        assert any(not any(n % case.m for n in case.outputs) for case in some)  # whole patches
        assert any(length % 2 for case in some for length in case.image)
        assert any(pads[0] != pads[1] for case in some for pads in case.pads)
        assert {case.C for case in some} >= PARTS and {case.F for case in some} >= PARTS
    assert {n for case in CASES if case.pads == NONE for n in case.unread} >= {0, 1, 2}  # of the image itself
    beyond = [case for case in CASES if case.padded[0] > case.stride * (case.outputs[0] + case.r - 1)]
    assert any(case.pads == NONE and case.outputs[0] % case.m == 0 for case in beyond)  # no patch reaches them either
    assert any(case.patches > winograd.PATCHES for case in CASES)


def test_the_calls_of_all_other_tests_have_such_shapes():
    """So memory is also fenced and poisoned around them, forward and backward, and next to guarded pages."""
    cases = [Case(19, image, C, F, size[0], pads, strides[0]) for image, C, F, size, strides, pads, _ in BLOCKS]
    assert all(case.m and case.together > 1 for case in cases)
    assert {case.stride for case in cases} == {1, 2}
    for some in (cases, [case for case in cases if case.C % 8 and case.F % 8]):
        assert {case.form[1] for case in some} == {False, True}


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("Winograd")])
def test_the_networks_of_all_other_tests_take_it(name):
    """So it is also what the engine does, between guards."""
    model = NETWORKS[name].model()
    model.train_step(*NETWORKS[name].data())
    (run,) = model._engine.runs.values()
    used = [instruction.kernel.name for strand in run.tape._all_strands() for instruction in strand.instructions]
    convolutions = sum(isinstance(layer, Conv2D) for layer in model.layers)
    for few, whole in (("winograd", "planes_to_outputs"), ("winograd_backward", "gradients_to_planes")):
        assert used.count(few) + used.count(whole) == convolutions and used.count(few) > 1


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu"])
def test_results_and_gradients(problem, name, way):
    y, saved = getattr(CPU, name)(problem.x, problem.kernel, problem.bias, *problem.case.settings)
    assert type(taken(saved)) is way
    gradients = getattr(CPU, name + "_backward")(problem.dy, problem.kernel, saved)
    relu, (limit, *limits) = name == "conv2d_relu", problem.case.bounds()
    assert_close(y, np.maximum(problem.y, 0) if relu else problem.y, limit)
    passed = problem.dy * (y > 0) if relu else problem.dy  # of the function that was computed: y may be ±1e-6
    for got, wanted, limit in zip(gradients, problem.gradients(passed), limits, strict=True):
        assert got.dtype == np.float32
        assert_close(got, wanted, limit)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu"])
def test_float64_takes_it_too_and_is_exact(problem, name, way):
    """Also where both number types meet: they are computed in the larger."""
    y, *gradients = forward_and_backward(problem, name, "float64")
    relu, (limit, *limits) = name == "conv2d_relu", problem.case.bounds("float64")
    assert y.dtype == np.float64
    assert_close(y, np.maximum(problem.y, 0) if relu else problem.y, limit)
    passed = problem.dy * (problem.y > 0) if relu else problem.dy
    for got, wanted, limit in zip(gradients, problem.gradients(passed), limits, strict=True):
        assert_close(got, wanted, limit)
    mixed, saved = getattr(CPU, name)(problem.x, np.float64(problem.kernel), problem.bias, *problem.case.settings)
    np.testing.assert_array_equal(mixed, y)
    assert type(taken(saved)) is way


LOOPS = [
    *(Case(3, image, 32, 32, size, same(size)) for size in (3, 5) for image in ((2, 9), (12, 13))),
    Case(2, (13, 11), 32, 16, 5, ((2, 1), (0, 2)), 2),
    Case(3, (12, 13), 16, 32, 3, ((0, 1), (1, 0)), 2),
    Case(3, (15, 9), 16, 16, 4, NONE, 2),
    Case(2, (21, 13), 16, 16, 7, ((3, 1), (2, 3)), 3),
    Case(3, (12, 13), 5, 24, 5, same(5)),
    Case(2, (13, 11), 20, 31, 5, ((2, 1), (0, 2)), 2),
]


@pytest.mark.parametrize("case", LOOPS, ids=str)
@pytest.mark.parametrize("biased", [False, True])
def test_against_loops(case, biased, way):
    x, kernel, bias, dy = case.normal()
    expected = naive.conv2d(x, kernel, bias if biased else None, *case.settings)
    wanted = naive.conv2d_backward(x, dy, kernel, *case.settings)
    for dtype in DTYPES:
        limit, *limits = case.bounds(dtype)
        numbers = [a.astype(dtype) for a in (x, kernel, bias)][: 2 + biased] + [None] * (not biased)
        y, saved = CPU.conv2d(*numbers, *case.settings)
        assert type(taken(saved)) is way
        assert_close(y, expected, limit)
        for got, gradient, limit in zip(CPU.conv2d_backward(dy, kernel, saved), wanted, limits, strict=True):
            assert_close(got, gradient, limit)


@pytest.mark.parametrize(
    "case",
    [
        Case(17, (2, 8), 16, 64, 3, same(3)),
        Case(17, (7, 9), 32, 16, 4, ((1, 1), (1, 2)), 2),
        Case(5, (7, 6), 16, 16, 4, NONE, 2),
        Case(17, (2, 8), 20, 31, 3, same(3)),
        Case(17, (7, 9), 20, 8, 4, ((1, 1), (1, 2)), 2),
    ],
    ids=str,
)
def test_small_integers_come_out_exactly(case, way):
    """With the points 0, 1 and -1, all numbers are multiples of 1/4, which float32 holds: the algorithm has no error."""
    assert case.m + case.r <= 5
    random = np.random.default_rng(2)
    x, kernel, bias, dy = (random.integers(-3, 4, shape).astype("float32") for shape in case.shapes)
    y, saved = CPU.conv2d(x, kernel, bias, *case.settings)
    assert type(taken(saved)) is way
    np.testing.assert_array_equal(y, naive.conv2d(x, kernel, bias, *case.settings))
    assert_same_bits(CPU.conv2d_backward(dy, kernel, saved), naive.conv2d_backward(x, dy, kernel, *case.settings))


NUMBERS = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31]  # of channels


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("C, F", list(zip(NUMBERS, NUMBERS[::-1], strict=True)))
def test_any_numbers_of_channels_and_filters(C, F, stride, way, monkeypatch):
    """Also those for which it is not taken."""
    in_form(monkeypatch, way is WinogradBatch, 4)
    monkeypatch.setattr(CPU, "poison", True)
    case = Case(3, (5, 6) if stride == 1 else (10, 13), C, F, 3 * stride, ((1, 2), (2, 0)), stride)
    x, kernel, bias, dy = case.normal()
    y = naive.conv2d(x, kernel, bias, *case.settings)
    for dtype in DTYPES:
        limit, *limits = case.bounds(dtype)
        numbers = [a.astype(dtype) for a in (x, kernel, bias)]
        got, saved = CPU.conv2d_relu(*numbers, *case.settings)
        assert type(taken(saved)) is way
        assert_close(got, np.maximum(y, 0), limit)
        wanted = naive.conv2d_backward(x, dy * (got > 0), kernel, *case.settings)
        gradients = CPU.conv2d_relu_backward(dy.astype(dtype), numbers[1], saved)
        for one, other, limit in zip(gradients, wanted, limits, strict=True):
            assert_close(one, other, limit)


def test_gradients_are_adjoints(problem, way):
    """⟨dy, conv(x)⟩ = ⟨dx, x⟩ = ⟨dkernel, kernel⟩, as the convolution is linear in each of both."""
    case, x, kernel, dy = problem.case, problem.x, problem.kernel, problem.dy
    y, saved = CPU.conv2d(x, kernel, None, *case.settings)
    dx, dkernel, dbias = CPU.conv2d_backward(dy, kernel, saved)

    def dot(a, b):
        return np.vdot(np.float64(a), np.float64(b))

    scale = np.sqrt(dot(dy, dy) * dot(y, y))
    assert abs(dot(dy, y) - dot(dx, x)) < 2e-7 * scale
    assert abs(dot(dy, y) - dot(dkernel, kernel)) < 2e-7 * scale
    np.testing.assert_allclose(dbias, np.float64(dy).sum(axis=(0, 1, 2)), rtol=0, atol=1e-5 * np.abs(dbias).max())


def test_the_input_gradient_can_be_left_out(problem, way):
    _, saved = CPU.conv2d(problem.x, problem.kernel, problem.bias, *problem.case.settings)
    dx, *rest = CPU.conv2d_backward(problem.dy, problem.kernel, saved, False)
    assert dx is None
    assert_same_bits(rest, CPU.conv2d_backward(problem.dy, problem.kernel, saved)[1:])


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu"])
def test_an_empty_batch(name, way, monkeypatch):
    """Gradients are sums of nothing, not what the memory happens to hold."""
    monkeypatch.setattr(CPU, "poison", True)
    case = Case(0, (27, 26), 32, 48, 5, ((1, 2), (2, 1)), 2)
    x, kernel, bias, dy = case.normal()
    y, saved = getattr(CPU, name)(x, kernel, bias, *case.settings)
    assert type(taken(saved)) is way and y.shape == dy.shape
    dx, dkernel, dbias = getattr(CPU, name + "_backward")(dy, kernel, saved)
    assert dx.shape == x.shape and dkernel.shape == kernel.shape and dbias.shape == bias.shape
    assert not dkernel.any() and not dbias.any()


def test_lines_beyond_all_patches_have_no_gradient(way):
    """The last line and column of the image: no window reaches them, and no patch."""
    case = Case(3, (15, 15), 32, 16, 4, NONE, 2)
    assert case.unread == (1, 1) and case.outputs == (case.m, case.m)
    x, kernel, bias, dy = case.normal()
    y, saved = CPU.conv2d(x, kernel, bias, *case.settings)
    dx, *rest = CPU.conv2d_backward(dy, kernel, saved)
    assert not dx[:, 14].any() and not dx[:, :, 14].any()
    x[:, 14] = x[:, :, 14] = np.nan  # nor are they read
    other, saved = CPU.conv2d(x, kernel, bias, *case.settings)
    assert_same_bits([other, *CPU.conv2d_backward(dy, kernel, saved)], [y, dx, *rest])


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu"])
@pytest.mark.parametrize("case", [CASES[0], CASES[8], CASES[19], CASES[-1]], ids=str)
def test_a_gradient_of_the_other_number_type(case, name):
    """A float64 dy, as a loss in float64 makes it, is no reason for other numbers."""
    x, kernel, _, dy = case.normal()
    _, saved = getattr(CPU, name)(x, kernel, None, *case.settings)
    backward = getattr(CPU, name + "_backward")
    assert_same_bits(backward(np.float64(dy), kernel, saved), backward(dy, kernel, saved))


def test_bits_do_not_depend_on_threads(problem, threads, way):
    found = []
    for number in (1, 2, 3, 5):
        threads(number)
        found.append(forward_and_backward(problem, "conv2d_relu"))
    for others in found[1:]:
        assert_same_bits(found[0], others)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu"])
def test_nothing_is_read_before_it_is_written(problem, name, way, monkeypatch):
    """Between the input and the result: there the memory of a tape holds no numbers at first."""
    expected = forward_and_backward(problem, name)
    monkeypatch.setattr(CPU, "poison", True)
    assert_same_bits(forward_and_backward(problem, name), expected)


# ---------------------------------------------------------------------- precision, and what takes the direct kernels


@cache
def defined(case, positive):
    """x, kernel, bias and dy, and y and the gradients by the definition; x and kernels as they are, or x from a ReLU and
    kernels whose taps cancel."""
    x, kernel, bias, dy = case.normal()
    if positive:
        x, kernel = np.maximum(x, 0), kernel - kernel.mean(axis=(0, 1, 2))
    y, kept = REFERENCE.conv2d(np.float64(x), np.float64(kernel), np.float64(bias), *case.settings)
    return (x, kernel, bias, dy), (y, *REFERENCE.conv2d_backward(np.float64(dy), np.float64(kernel), kept))


@pytest.mark.parametrize("C, F", [(16, 16), (128, 128), (512, 32), (4, 20), (31, 5)])
@pytest.mark.parametrize("m, r", FORMS)
def test_errors_stay_below_the_bound(m, r, C, F, way, monkeypatch):
    in_form(monkeypatch, way is WinogradBatch, m)
    case = Case(2, (9, 10), C, F, r, same(r))
    for positive in (False, True):
        (x, kernel, bias, dy), expected = defined(case, positive)
        y, saved = CPU.conv2d(x, kernel, bias, *case.settings)
        assert type(taken(saved)) is way and taken(saved).m == m
        found = errors((y, *CPU.conv2d_backward(dy, kernel, saved)), expected)
        assert all(error < limit for error, limit in zip(found, case.bounds(), strict=True))


@pytest.mark.parametrize("m, r", [form for form in FORMS if form in ((2, 5), (4, 3), (6, 3))])
def test_errors_of_sums_over_many_patches(m, r, way, monkeypatch):
    in_form(monkeypatch, way is WinogradBatch, m)
    case = Case(32, (28, 28), 16, 16, r, same(r))
    x, kernel, _, dy = case.normal()
    _, saved = CPU.conv2d(x, kernel, None, *case.settings)
    _, kept = REFERENCE.conv2d(np.float64(x), np.float64(kernel), None, *case.settings)
    wanted = REFERENCE.conv2d_backward(np.float64(dy), np.float64(kernel), kept, False)
    found = errors(CPU.conv2d_backward(dy, kernel, saved, False)[1:], wanted[1:])
    assert all(error < limit for error, limit in zip(found, case.bounds()[2:], strict=True))


def test_exact_precision(problem):
    expected = problem.y, *problem.gradients(problem.dy)
    fast = forward_and_backward(problem)
    minicnn.set_precision("exact")
    assert CPU.precision == "exact"
    exact = forward_and_backward(problem)
    assert max(errors(exact, expected)) < EXACT
    assert not np.array_equal(exact[0], fast[0])  # so the fast one was indeed another algorithm
    minicnn.set_precision("fast")
    assert_same_bits(forward_and_backward(problem), fast)


def test_the_attribute_is_the_setting(problem):
    minicnn.set_precision("exact")
    exact = forward_and_backward(problem)
    minicnn.set_precision("fast")
    CPU.precision = "exact"
    assert_same_bits(forward_and_backward(problem), exact)


@pytest.mark.parametrize("first, then", [("fast", "exact"), ("exact", "fast")])
@pytest.mark.parametrize("case", [CASES[0], CASES[19], CASES[-1]], ids=str)
def test_the_precision_may_change_between_forward_and_backward(case, first, then):
    x, kernel, _, dy = case.normal()
    _, kept = REFERENCE.conv2d(np.float64(x), np.float64(kernel), None, *case.settings)
    wanted = REFERENCE.conv2d_backward(np.float64(dy), np.float64(kernel), kept)
    minicnn.set_precision(first)
    _, saved = CPU.conv2d(x, kernel, None, *case.settings)
    minicnn.set_precision(then)
    for got, gradient, limit in zip(CPU.conv2d_backward(dy, kernel, saved), wanted, case.bounds()[1:], strict=True):
        assert_close(got, gradient, limit)


@pytest.mark.parametrize("precision", ["medium", "", None, "Fast"])
def test_an_unknown_precision(precision):
    with pytest.raises(ValueError, match="'fast'.*'exact'"):
        minicnn.set_precision(precision)
    assert CPU.precision == "fast"


TAKEN = {"dtype": "float32", "image": (12, 12), "size": (3, 3), "strides": (1, 1), "channels": 16, "filters": 16}


@pytest.mark.parametrize(
    "change",
    [
        {"size": (1, 1)},
        {"size": (6, 6)},
        {"size": (7, 7)},
        {"size": (3, 5)},
        {"size": (5, 3)},
        {"size": (1, 3)},
        {"size": (5, 6), "strides": (2, 2)},  # three taps each way all the same
        {"size": (2, 2), "strides": (2, 2)},
        {"size": (3, 3), "strides": (3, 3)},
        {"size": (3, 3), "strides": (5, 5)},
        {"size": (11, 11), "strides": (2, 2)},
        {"strides": (1, 2)},
        {"strides": (2, 1)},
        {"size": (3, 6), "strides": (1, 2)},
        {"channels": 1},
        {"channels": 2},
        {"channels": 3},
        {"channels": 3, "filters": 64, "size": (5, 5)},  # however much it would save
        {"channels": 3, "filters": 64, "size": (5, 5), "strides": (2, 2)},
        {"image": (1, 1)},
    ],
    ids=str,
)
def test_where_it_is_not_taken(change):
    assert choose_form(**TAKEN)[0]
    assert choose_form(**TAKEN | change)[0] == 0


@pytest.fixture
def costs(monkeypatch):
    monkeypatch.setattr(winograd, "NEAR", NEAR)
    monkeypatch.setattr(winograd, "FAR", FAR)


@pytest.mark.parametrize("image, channels, images, whole", [
    ((12, 12), 16, 128, False),
    ((12, 12), 64, 128, False),
    ((12, 12), 512, 128, True),  # too large a kernel to read every few images
    ((4, 4), 128, 128, True),  # so few patches that it would be read too often
    ((12, 12), 64, 16, True),  # a group is one image
    ((12, 12), 64, 1, False),  # rows of patches are shared
    ((12, 12), 512, 1, True),
])  # fmt: skip
def test_what_goes_through_the_cache(costs, image, channels, images, whole):
    """The kernel, for every few images, or the patches of the whole batch: whichever is less."""
    sizes = TAKEN | {"image": image, "channels": channels, "filters": channels}
    assert choose_form(**sizes, images=images, group=-(-images // GROUPS))[1] == whole


def test_what_is_saved_must_be_worth_reading_the_kernel(costs):
    sizes = TAKEN | {"image": (7, 7), "strides": (2, 2), "channels": 64, "filters": 64}
    assert choose_form(**sizes)[0] == 0
    assert choose_form(**sizes | {"size": (5, 5)})[0]


@pytest.mark.parametrize(
    "stride, size", [(1, 2), (1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5), (2, 7), (3, 7), (4, 8)]
)
def test_where_it_is_taken(stride, size):
    changes = {"size": (size, size), "strides": (stride, stride), "channels": 32, "filters": 32}
    assert (choose_form(**TAKEN | changes)[0], -(-size // stride)) in FORMS


@pytest.mark.parametrize("name", ["channels", "filters"])
@pytest.mark.parametrize("number", [4, 5, 8, 9, 15, 16, 17, 24, 31, 63, 72])
def test_channels_and_filters_need_not_fill_vectors(name, number):
    assert choose_form(**TAKEN | {"size": (5, 5), name: number})[0]


@pytest.mark.parametrize("C", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_few_channels_take_the_direct_kernels(C, stride):
    case, found = Case(5, (27, 26), C, 32, 5, same(5), stride), []
    x, kernel, bias, dy = case.normal()
    for precision in ("fast", "exact"):
        minicnn.set_precision(precision)
        y, saved = CPU.conv2d(x, kernel, bias, *case.settings)
        found.append([y, *CPU.conv2d_backward(dy, kernel, saved)])
    assert_same_bits(*found)


@pytest.mark.parametrize(
    "strides, dilation",
    [((1, 2), (1, 1)), ((2, 1), (1, 1)), ((1, 1), (2, 2)), ((1, 1), (2, 1)), ((2, 2), (2, 2)), ((5, 5), (1, 1))],
)
@pytest.mark.parametrize("size", [3, 5])
def test_other_strides_and_dilation_take_the_direct_kernels(strides, dilation, size):
    settings, random = (strides, same(size), dilation), np.random.default_rng(6)
    x, kernel = random.standard_normal((5, 27, 26, 16)), random.standard_normal((size, size, 16, 16))
    y, saved = REFERENCE.conv2d(x, kernel, None, *settings)
    dy = random.standard_normal(y.shape)
    expected = y, *REFERENCE.conv2d_backward(dy, kernel, saved)
    # it is the settings alone that forbid it
    assert choose_form("float32", y.shape[1:3], (size, size), (1, 1), 16, 16)[0]
    found = []
    for precision in ("fast", "exact"):
        minicnn.set_precision(precision)
        y, saved = CPU.conv2d(np.float32(x), np.float32(kernel), None, *settings)
        found.append([y, *CPU.conv2d_backward(np.float32(dy), np.float32(kernel), saved)])
    assert_same_bits(*found)
    assert max(errors(found[0], expected)) < EXACT

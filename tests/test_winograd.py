"""Winograd's convolution against the definition: its matrices, its float32 results and gradients, and where it is taken.

Every shape here is one for which it is taken, in all four forms, with patches that reach past the image, and batches
that leave some images over when they are computed a few at a time.
"""

from typing import NamedTuple

import naive
import numpy as np
import pytest
from calls import BLOCKS
from conftest import assert_close, run

import minicnn
from minicnn import get_ops
from minicnn.kernels import winograd
from minicnn.kernels.simd import lanes

CPU, REFERENCE = get_ops("cpu"), get_ops("reference")
FORMS = [(2, 3), (4, 3), (2, 5), (4, 5)]
FAST, EXACT = 2e-5, 2e-6  # of the largest number; the direct kernels are held to EXACT, Winograd's cannot be
WIDTH = lanes(np.dtype("float32"))


class Case(NamedTuple):
    N: int
    image: tuple[int, int]
    C: int
    F: int
    r: int
    pads: tuple[tuple[int, int], tuple[int, int]]

    @property
    def outputs(self):
        return tuple(n + sum(pads) - self.r + 1 for n, pads in zip(self.image, self.pads, strict=True))

    @property
    def m(self):
        return winograd.choose("float32", self.outputs, (self.r, self.r), self.C, self.F)

    @property
    def settings(self):
        return (1, 1), self.pads, (1, 1)

    @property
    def patches(self):
        """Of one image."""
        return -(-self.outputs[0] // self.m) * -(-self.outputs[1] // self.m)


def same(r):
    return ((r // 2, r // 2),) * 2


CASES = [
    Case(7, (12, 13), 16, 16, 3, same(3)),
    Case(1, (14, 15), 32, 48, 3, ((0, 0), (0, 0))),
    Case(33, (22, 13), 48, 16, 3, same(3)),
    Case(33, (12, 12), 32, 48, 3, ((0, 3), (2, 1))),
    Case(2, (29, 26), 16, 64, 3, same(3)),
    Case(7, (2, 9), 48, 64, 3, same(3)),
    Case(7, (12, 13), 16, 16, 5, same(5)),
    Case(33, (22, 13), 16, 48, 5, same(5)),
    Case(1, (30, 27), 32, 16, 5, ((1, 2), (0, 3))),
    Case(7, (2, 9), 32, 64, 5, same(5)),
]


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Every test begins with, and leaves, what it may change."""
    monkeypatch.setattr(CPU, "precision", "fast")


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
    case, random = request.param, np.random.default_rng(5)
    shapes = (case.N, *case.image, case.C), (case.r, case.r, case.C, case.F), (case.F,), (case.N, *case.outputs, case.F)
    x, kernel, bias, dy = (random.standard_normal(shape).astype("float32") for shape in shapes)
    y, saved = REFERENCE.conv2d(np.float64(x), np.float64(kernel), np.float64(bias), *case.settings)
    return Problem(case, x, kernel, bias, dy, y, saved)


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


@pytest.mark.parametrize("m, r", FORMS)
def test_one_dimension_for_every_tap_and_pixel(m, r):
    """Both sides are linear in g and in d: with g tap number a alone, and d pixel number p alone, y[i] is p == i + a."""
    At, G, Bt = winograd.matrices(m, r)
    assert (At.shape, G.shape, Bt.shape) == ((m, m + r - 1), (m + r - 1, r), (m + r - 1, m + r - 1))
    for a, g in enumerate(np.eye(r)):
        for p, d in enumerate(np.eye(m + r - 1)):
            expected = np.array([float(p == i + a) for i in range(m)])
            np.testing.assert_allclose(At @ ((G @ g) * (Bt @ d)), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("m, r", FORMS)
def test_two_dimensions(m, r):
    At, G, Bt = winograd.matrices(m, r)
    random = np.random.default_rng(0)
    for _ in range(10):
        d, g = random.standard_normal((m + r - 1, m + r - 1)), random.standard_normal((r, r))
        expected = naive.conv2d(d[None, :, :, None], g[:, :, None, None], None, (1, 1), ((0, 0), (0, 0)), (1, 1))
        assert_close(At @ ((G @ g @ G.T) * (Bt @ d @ Bt.T)) @ At.T, expected[0, :, :, 0])


# ---------------------------------------------------------------------- results and gradients


def together(case):
    """How many images are computed together; with two, some task of an odd batch has one left over, however it is cut."""
    return -(-winograd.PATCHES // case.patches)


def test_the_cases_cover_what_they_should():
    assert all(case.m for case in CASES)
    assert {(case.m, case.r) for case in CASES} == set(FORMS)
    for r in (3, 5):
        of_size = [case for case in CASES if case.r == r]
        assert any(n % case.m for case in of_size for n in case.outputs)
        assert any(case.patches > winograd.PATCHES for case in of_size)
        assert any(case.N % 2 and together(case) == 2 for case in of_size)


def test_the_calls_of_all_other_tests_have_such_shapes():
    """So memory is also fenced and poisoned around them, forward and backward."""
    cases = [Case(19, image, C, F, size[0], pads) for image, C, F, size, _, pads, _ in BLOCKS]
    assert {case.r for case in cases if case.m} == {3, 5}
    assert all(together(case) == 2 for case in cases)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu"])
def test_results_and_gradients(problem, name):
    y, *gradients = forward_and_backward(problem, name)
    relu = name == "conv2d_relu"
    assert_close(y, np.maximum(problem.y, 0) if relu else problem.y, FAST)
    passed = problem.dy * (y > 0) if relu else problem.dy  # of the function that was computed: y may be ±1e-6
    for got, wanted in zip(gradients, problem.gradients(passed), strict=True):
        assert got.dtype == np.float32
        assert_close(got, wanted, FAST)


@pytest.mark.parametrize("r", [3, 5])
@pytest.mark.parametrize("image", [(2, 9), (12, 13)])
@pytest.mark.parametrize("biased", [False, True])
def test_against_loops(image, r, biased):
    case, random = Case(3, image, 32, 32, r, same(r)), np.random.default_rng(1)
    assert case.m
    x, kernel = random.standard_normal((3, *image, 32)), random.standard_normal((r, r, 32, 32))
    x, kernel, bias = np.float32(x), np.float32(kernel), np.float32(kernel[0, 0, 0]) if biased else None
    expected = naive.conv2d(x, kernel, bias, *case.settings)
    dy = random.standard_normal(expected.shape).astype("float32")
    y, saved = CPU.conv2d(x, kernel, bias, *case.settings)
    assert_close(y, expected, FAST)
    wanted = naive.conv2d_backward(x, dy, kernel, *case.settings)
    for got, gradient in zip(CPU.conv2d_backward(dy, kernel, saved), wanted, strict=True):
        assert_close(got, gradient, FAST)


def test_small_integers_come_out_exactly():
    """All numbers within F(2×2, 3×3) are then multiples of 1/4, which float32 holds: the algorithm itself has no error."""
    case, random = Case(17, (2, 9), 16, 64, 3, same(3)), np.random.default_rng(2)
    assert case.m == 2
    x, kernel, bias, dy = (
        random.integers(-3, 4, shape).astype("float32")
        for shape in ((17, 2, 9, 16), (3, 3, 16, 64), (64,), (17, 2, 9, 64))
    )
    y, saved = CPU.conv2d(x, kernel, bias, *case.settings)
    np.testing.assert_array_equal(y, naive.conv2d(x, kernel, bias, *case.settings))
    assert_same_bits(CPU.conv2d_backward(dy, kernel, saved), naive.conv2d_backward(x, dy, kernel, *case.settings))


def test_gradients_are_adjoints(problem):
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


def test_the_input_gradient_can_be_left_out(problem):
    _, saved = CPU.conv2d(problem.x, problem.kernel, problem.bias, *problem.case.settings)
    dx, *rest = CPU.conv2d_backward(problem.dy, problem.kernel, saved, False)
    assert dx is None
    assert_same_bits(rest, CPU.conv2d_backward(problem.dy, problem.kernel, saved)[1:])


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu"])
@pytest.mark.parametrize("case", [CASES[0], CASES[6]], ids=str)
def test_a_gradient_of_the_other_number_type(case, name):
    """A float64 dy, as a loss in float64 makes it, is no reason for other numbers."""
    random = np.random.default_rng(3)
    x = random.standard_normal((case.N, *case.image, case.C)).astype("float32")
    kernel = random.standard_normal((case.r, case.r, case.C, case.F)).astype("float32")
    y, saved = getattr(CPU, name)(x, kernel, None, *case.settings)
    dy = random.standard_normal(y.shape).astype("float32")
    backward = getattr(CPU, name + "_backward")
    for got, wanted in zip(backward(np.float64(dy), kernel, saved), backward(dy, kernel, saved), strict=True):
        assert_close(got, wanted, FAST)


def test_bits_do_not_depend_on_threads(problem, threads):
    found = []
    for number in (1, 2, 3, 5):
        threads(number)
        found.append(forward_and_backward(problem, "conv2d_relu"))
    for others in found[1:]:
        assert_same_bits(found[0], others)


# ---------------------------------------------------------------------- precision, and what takes the direct kernels


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
def test_the_precision_may_change_between_forward_and_backward(first, then):
    random, settings = np.random.default_rng(4), ((1, 1), same(3), (1, 1))
    x, kernel = random.standard_normal((3, 9, 10, 16)), random.standard_normal((3, 3, 16, 16))
    dy = random.standard_normal((3, 9, 10, 16))
    wanted = REFERENCE.conv2d_backward(dy, kernel, REFERENCE.conv2d(x, kernel, None, *settings)[1])
    minicnn.set_precision(first)
    _, saved = CPU.conv2d(np.float32(x), np.float32(kernel), None, *settings)
    minicnn.set_precision(then)
    for got, gradient in zip(CPU.conv2d_backward(np.float32(dy), np.float32(kernel), saved), wanted, strict=True):
        assert_close(got, gradient, FAST)


@pytest.mark.parametrize("precision", ["medium", "", None, "Fast"])
def test_an_unknown_precision(precision):
    with pytest.raises(ValueError, match="'fast'.*'exact'"):
        minicnn.set_precision(precision)
    assert CPU.precision == "fast"


@pytest.mark.parametrize("name", ["conv2d", "conv2d_relu"])
def test_float64_takes_it_too_and_is_exact(problem, name):
    """Also where both number types meet: they are computed in the larger."""
    y, *gradients = forward_and_backward(problem, name, "float64")
    relu = name == "conv2d_relu"
    assert y.dtype == np.float64
    assert_close(y, np.maximum(problem.y, 0) if relu else problem.y)
    passed = problem.dy * (problem.y > 0) if relu else problem.dy
    for got, wanted in zip(gradients, problem.gradients(passed), strict=True):
        assert_close(got, wanted)
    mixed, _ = getattr(CPU, name)(problem.x, np.float64(problem.kernel), problem.bias, *problem.case.settings)
    np.testing.assert_array_equal(mixed, y)


TAKEN = {"dtype": "float32", "image": (12, 12), "size": (3, 3), "channels": 16, "filters": 16}


@pytest.mark.parametrize(
    "change",
    [
        {"size": (1, 1)},
        {"size": (2, 2)},
        {"size": (4, 4)},
        {"size": (7, 7)},
        {"size": (3, 5)},
        {"size": (5, 3)},
        {"size": (1, 3)},
        {"channels": 1},
        {"channels": 3 * WIDTH + 1},
        {"channels": 64 + WIDTH // 2},
        {"filters": 1},
        {"filters": 4 * WIDTH - 1},
        {"filters": 64 + WIDTH // 2},
        {"image": (1, 1)},
    ],
    ids=str,
)
def test_where_it_is_not_taken(change):
    assert winograd.choose(**TAKEN) in (2, 4)
    assert winograd.choose(**TAKEN | change) == 0


@pytest.mark.parametrize("strides, dilation", [((2, 2), (1, 1)), ((1, 2), (1, 1)), ((1, 1), (2, 2)), ((1, 1), (2, 1))])
@pytest.mark.parametrize("r", [3, 5])
def test_strides_and_dilation_take_the_direct_kernels(strides, dilation, r):
    settings, random = (strides, same(r), dilation), np.random.default_rng(6)
    x, kernel = random.standard_normal((5, 27, 26, 16)), random.standard_normal((r, r, 16, 16))
    y, saved = REFERENCE.conv2d(x, kernel, None, *settings)
    dy = random.standard_normal(y.shape)
    expected = y, *REFERENCE.conv2d_backward(dy, kernel, saved)
    assert winograd.choose("float32", y.shape[1:3], (r, r), 16, 16)  # it is the settings alone that forbid it
    found = []
    for precision in ("fast", "exact"):
        minicnn.set_precision(precision)
        y, saved = CPU.conv2d(np.float32(x), np.float32(kernel), None, *settings)
        found.append([y, *CPU.conv2d_backward(np.float32(dy), np.float32(kernel), saved)])
    assert_same_bits(*found)
    assert max(errors(found[0], expected)) < EXACT

"""The CUDA kernels: that NVIDIA's compiler takes them, and that products on tensor cores are what they should be.

Without a GPU the kernels run on the emulator, here and for all operations in test_contract.py.
"""

from dataclasses import replace
from types import SimpleNamespace

import naive
import numpy as np
import nvrtc
import pytest
from calls import normal
from conftest import DTYPES, TOLERANCE, assert_close
from cuda_emulator import COMPILER, EmulatedKernels, emulated_ops, within_limits
from cuda_emulator import MISSING as NO_COMPILER
from hypothesis import assume, given
from hypothesis import strategies as st

import minicnn
from minicnn import cuda, get_ops
from minicnn.ops import gpu_convolution
from minicnn.ops.gpu_convolution import DOUBLE, LARGE, TILES, Geometry, longest_run

REFERENCE = get_ops("reference")
ARCHITECTURES = ["sm_80", "sm_90"]
PRODUCTS = ["convolution", "convolution_gradient"]
RUNS = "convolution_runs"  # for float32 alone


# ---------------------------------------------------------------------- compiling


def compiled(file, dtype, architecture, **macros):
    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    given_by_cupy = "-ftz=true", "--device-as-default-execution-space"
    options = "-std=c++17", f"--gpu-architecture={architecture}", "--ptxas-options=-v", *given_by_cupy
    log = nvrtc.compile(cuda.defined(dtype, macros) + cuda.source(file), file + ".cu", options)
    assert "warning" not in log, log
    assert log.count("0 bytes spill stores, 0 bytes spill loads") == log.count("bytes stack frame") > 0, log


def test_sources_are_written_in_any_encoding():
    """CuPy opens their files without naming one."""
    assert all(cuda.source(file).isascii() for file in cuda.FILES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    "file, dtype", [(file, dtype) for file in cuda.FILES for dtype in DTYPES[: 1 if file == RUNS else 2]]
)
def test_every_file_compiles_and_keeps_its_numbers_in_registers(file, dtype, architecture):
    compiled(file, dtype, architecture)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pooling_of_several_channels_compiles(dtype):
    compiled("pooling", dtype, "sm_90", TOGETHER=4)


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])  # one of them: there are many tiles
@pytest.mark.parametrize("together", [(1, 1), (4, 4)])
@pytest.mark.parametrize("fast", [0, 1])
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.BM}x{tile.BN}")
@pytest.mark.parametrize("file", PRODUCTS)
def test_every_tile_compiles_and_keeps_its_numbers_in_registers(file, tile, fast, together, architecture):
    compiled(file, "float32", architecture, **tile.macros(together, fast))


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])  # one of them: there are many tiles
@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("tile", LARGE, ids=lambda tile: f"{tile.BM}x{tile.BN}")
@pytest.mark.parametrize("file", PRODUCTS)
def test_every_large_tile_compiles_and_keeps_its_numbers_in_registers(file, tile, together, architecture):
    compiled(file, "float32", architecture, **tile.macros((4, together), fast=True))


@pytest.mark.parametrize("architecture, together", [("sm_80", 4), ("sm_90", 1), ("sm_90", 4)])
@pytest.mark.parametrize("tile", LARGE + TILES, ids=lambda tile: f"{tile.BM}x{tile.BN}")
def test_every_tile_of_runs_compiles_and_keeps_its_numbers_in_registers(tile, together, architecture):
    compiled(RUNS, "float32", architecture, **tile.macros((4, together), fast=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])  # one of them: there are many tiles
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("tile", DOUBLE, ids=lambda tile: f"{tile.BM}x{tile.BN}")
@pytest.mark.parametrize("file", PRODUCTS)
def test_every_tile_compiles_in_float64(file, tile, together, architecture):
    compiled(file, "float64", architecture, **tile.macros((together, together), fast=False))


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("terms, wide", [(1, 1), (9, 8), (16, 32)])
def test_gradients_of_few_terms_compile(terms, wide, dtype, architecture):
    compiled("convolution_thin", dtype, architecture, TERMS=terms, WIDE=wide)


class FakeCuPy:
    """What `Kernels` uses of CuPy; remembers what it is given."""

    def __init__(self):
        self.cuda, self.modules, self.launches = self, [], []

    def Device(self):
        return SimpleNamespace(attributes={"MultiProcessorCount": 132})

    def RawModule(self, **settings):
        self.modules.append(settings)
        return self

    def get_function(self, name):
        def function(grid, block, arguments, *, shared_mem):
            self.launches.append((name, grid, block, arguments, shared_mem, function.max_dynamic_shared_size_bytes))

        function.max_dynamic_shared_size_bytes = 48 * 1024
        return function


def test_a_kernel_is_compiled_once_and_its_arguments_have_the_types_of_c():
    cupy = FakeCuPy()
    kernels = cuda.Kernels(cupy)
    x = np.zeros(3, np.float32)
    for number in (7, 8):
        for dtype in DTYPES:
            arguments = (x, None, number, True, 0.5, np.int64(3))
            kernels.launch("convolution", "conv2d", dtype, (1,), (32,), arguments, 60_000, BM=64, FAST=0)
    assert [module["code"] for module in cupy.modules] == [
        f"#define REAL {real}\n#define BM 64\n#define FAST 0\n{cuda.source('convolution')}"
        for real in ("float", "double")
    ]
    assert all(module["options"] == ("-std=c++17",) for module in cupy.modules)
    assert "#include" not in cuda.source("convolution")
    assert [launch[4:] for launch in cupy.launches] == [(60_000, 60_000)] * 4
    for (_, _, _, received, *_), dtype in zip(cupy.launches, DTYPES * 2, strict=True):
        assert received[0] is x
        assert [number.dtype.name for number in received[1:]] == ["uint64", "int32", "int32", dtype, "int64"]


@pytest.mark.parametrize("transposed", [False, True])
def test_tiles_fit_into_shared_memory(transposed):
    for dtype, tiles in (("float32", LARGE + TILES), ("float64", DOUBLE)):
        assert max(tile.shared(dtype, transposed) for tile in tiles) <= 99 * 1024  # that of the smallest sm_80 to sm_90
    assert max(tile.threads for tile in LARGE + TILES + DOUBLE) <= 256


# ---------------------------------------------------------------------- products


@pytest.fixture(scope="module", params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    """Operations of the GPU whose settings a test may change."""
    if request.param == "gpu":
        try:
            found = minicnn.get_ops("gpu")
        except RuntimeError as error:
            pytest.skip(str(error))
        before = found.precision, found.kernels.processors
        yield found
        found.precision, found.kernels.processors = before
    else:
        if COMPILER is None:
            pytest.skip(NO_COMPILER)
        yield emulated_ops()


def tf32(x):
    """x rounded to 10 bits of mantissa, ties away from zero."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32).astype(float)


CHANNELS = [1, 2, 3, 4, 5, 8, 16, 17, 20]
FILTERS = [1, 3, 4, 10, 32, 33, 68, 132]
pairs = st.tuples


@st.composite
def convolutions(draw):
    """x and kernel of normal numbers, settings, and how the work is divided."""
    size, strides = draw(pairs(st.integers(1, 4), st.integers(1, 4))), draw(pairs(st.integers(1, 3), st.integers(1, 3)))
    pads = draw(pairs(*[pairs(st.integers(0, 3), st.integers(0, 3))] * 2))
    dilation = draw(pairs(st.integers(1, 2), st.integers(1, 2)))
    shape = draw(pairs(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.sampled_from(CHANNELS)))
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    assume(all(n + sum(p) >= r for n, p, r in zip(shape[1:3], pads, reach, strict=True)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = random.standard_normal(shape)
    kernel = random.standard_normal((*size, shape[3], draw(st.sampled_from(FILTERS))))
    bias, processors = random.standard_normal(kernel.shape[3:]), draw(st.sampled_from([1, 9, 132]))
    return x, kernel, bias, strides, pads, dilation, processors


def round_trip(ops, name, x, kernel, bias, settings, dy=None):
    y, saved = getattr(ops, name)(x, kernel, bias, *settings)
    dy = ops.xp.asarray(np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)) if dy is None else dy
    return dy, [y, *getattr(ops, name + "_backward")(dy, kernel, saved)]


def assert_rounded(actual, expected, terms, tolerance):
    """As `assert_close`, of sums: measured against those of their terms' absolute values."""
    assert actual.shape == expected.shape
    assert np.all(abs(actual - expected) <= tolerance * terms.max(initial=0))


def only(patch, tile, double=DOUBLE[0], large=None):
    """Products are made with these tiles, and shared among blocks wherever that can be."""
    small = replace(tile, BN=32, BM=64, WM=32, WN=32)  # for what is narrower
    patch.setattr(gpu_convolution, "TILES", [tile, small])
    patch.setattr(gpu_convolution, "DOUBLE", [double, DOUBLE[-1]])
    patch.setattr(gpu_convolution, "LARGE", [large] if large else [])
    patch.setattr(gpu_convolution, "LEAST_DEPTH", 1)
    patch.setattr(gpu_convolution, "DEEP", 1)


def on_device(ops, dtype, *arrays):
    return [ops.array(array.astype(dtype)) for array in arrays]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", ["conv2d", "conv2d_relu"])
@given(case=convolutions(), tile=st.integers(0, len(TILES) - 1))
def test_exact_convolutions_of_any_geometry(device, fused, dtype, case, tile):
    with pytest.MonkeyPatch.context() as patch:
        only(patch, TILES[tile], DOUBLE[tile % 2])
        check_exact(device, fused, dtype, case)


@given(case=convolutions(), tile=st.integers(0, 11))
def test_tensor_cores_multiply_rounded_factors_and_add_in_float32(device, case, tile):
    with pytest.MonkeyPatch.context() as patch:
        only(patch, TILES[tile % 4], large=LARGE[tile % 3])
        check_fast(device, case)


@pytest.mark.parametrize("strides, C, more", [((1, 1), 8, 4), ((2, 1), 5, 3)])
@pytest.mark.parametrize("tile", LARGE + TILES, ids=lambda tile: f"{tile.BM}x{tile.BN}")
def test_every_tile_and_its_edges(device, monkeypatch, tile, strides, C, more):
    if tile in LARGE:
        only(monkeypatch, TILES[0], large=tile)
    else:
        only(monkeypatch, tile)
    new = normal("float64")
    case = new(2, 9, 10, C), new(3, 2, C, tile.BN + more), new(tile.BN + more), strides, ((1, 1), (1, 0)), (1, 1), 9
    check_fast(device, case)
    check_exact(device, "conv2d_relu", "float32", case)


@pytest.mark.parametrize("strides, C", [((1, 1), 48), ((2, 2), 32), ((3, 1), 48)])
@pytest.mark.parametrize("processors", [1, 132])  # with the latter, blocks begin at any tap of any group
def test_sums_of_groups_of_channels(device, monkeypatch, processors, strides, C):
    only(monkeypatch, TILES[-1])
    new = normal("float64")
    case = new(1, 7, 6, C), new(3, 2, C, 20), new(20), strides, ((1, 1), (1, 0)), (1, 1), processors
    check_fast(device, case)
    check_exact(device, "conv2d", "float32", case)


def test_neighbouring_taps_are_added_before_the_next_channels(device):
    x, kernel = np.zeros((1, 1, 2, 32)), np.ones((1, 2, 32, 1))
    x[0, 0, :, 0], x[0, 0, 0, 20] = (2.0**24, -(2.0**24)), 1  # which is nothing beside the first number
    device.precision = "exact"
    y, _ = device.conv2d(*on_device(device, "float32", x, kernel), None, (1, 1), ((0, 0), (0, 0)), (1, 1))
    assert device.numpy(y).item() == 1


@pytest.fixture
def runs(device, monkeypatch):
    """Of every convolution launched, whether its blocks copied runs of pixels."""
    found, launch = [], device.kernels.launch

    def noticed(file, name, *arguments, **macros):
        if name in ("conv2d", "conv2d_runs"):
            found.append(name == "conv2d_runs")
        launch(file, name, *arguments, **macros)

    monkeypatch.setattr(device.kernels, "launch", noticed)
    return found


@pytest.mark.parametrize("processors", [1, 132])  # with the latter, blocks begin at any group of channels
@pytest.mark.parametrize(
    "shape, kernel, strides, pads, dilation, used",
    [
        ((2, 9, 10, 16), (3, 3, 48), (1, 1), ((1, 1), (1, 1)), (1, 1), (True, True)),
        ((1, 13, 12, 48), (5, 5, 16), (1, 1), ((0, 0), (0, 0)), (1, 1), (True, True)),
        ((45, 2, 3, 32), (3, 3, 33), (1, 1), ((1, 1), (1, 1)), (1, 1), (True, False)),  # many images in a tile
        ((2, 8, 9, 16), (7, 7, 32), (1, 1), ((3, 3), (3, 3)), (1, 1), (True, True)),
        ((3, 9, 7, 32), (4, 4, 16), (1, 1), ((1, 2), (2, 1)), (1, 1), (True, True)),
        ((3, 8, 9, 16), (2, 2, 68), (1, 1), ((3, 3), (3, 3)), (1, 1), (True, False)),  # windows that see nothing
        ((2, 3, 40, 16), (1, 15, 16), (1, 1), ((0, 0), (7, 7)), (1, 1), (True, True)),
        ((2, 40, 3, 16), (15, 1, 16), (1, 1), ((7, 7), (0, 0)), (1, 1), (True, True)),
        ((2, 2, 40, 16), (1, 16, 16), (1, 1), ((0, 0), (7, 8)), (1, 1), (False, False)),  # too wide
        ((2, 3, 40, 16), (1, 3, 16), (1, 1), ((0, 0), (1, 1)), (1, 1), (False, False)),  # too few taps
        ((2, 4, 150, 16), (3, 3, 16), (1, 1), ((1, 1), (1, 1)), (1, 1), (False, False)),  # lines too long
        ((1, 11, 9, 32), (5, 5, 16), (2, 2), ((2, 2), (2, 2)), (1, 1), (True, False)),
        ((1, 11, 10, 16), (3, 3, 16), (1, 1), ((2, 2), (1, 1)), (2, 3), (True, True)),
    ],
)
def test_pixels_that_are_copied_once_for_all_taps(
    device, monkeypatch, runs, shape, kernel, strides, pads, dilation, used, processors
):
    only(monkeypatch, TILES[3])
    device.precision, device.kernels.processors = "fast", processors
    random, F, settings = np.random.default_rng(0), kernel[2], (strides, pads, dilation)
    kernel = kernel[:2] + (shape[3], F)
    x, kernel, bias = (tf32(random.standard_normal(size)) for size in (shape, kernel, (F,)))
    dy = tf32(random.standard_normal(naive.conv2d(x, kernel, bias, *settings).shape))
    placed = on_device(device, "float32", x, kernel, bias)
    _, found = round_trip(device, "conv2d", *placed, settings, device.array(dy, "float32"))
    assert tuple(runs) == used
    expected = naive.conv2d(x, kernel, bias, *settings), *naive.conv2d_backward(x, dy, kernel, *settings)
    for one, other in zip(found, expected, strict=True):
        assert_close(device.numpy(one), other, 3 * TOLERANCE["float32"])


@st.composite
def convolutions_of_groups(draw):
    """As `convolutions`, of whole groups of channels, and larger."""
    size, pads = draw(pairs(st.integers(2, 5), st.integers(2, 5))), draw(pairs(*[pairs(*[st.integers(0, 5)] * 2)] * 2))
    shape = draw(pairs(st.integers(1, 5), st.integers(1, 15), st.integers(1, 15), st.sampled_from([16, 32, 48])))
    assume(all(n + sum(p) >= k for n, p, k in zip(shape[1:3], pads, size, strict=True)))
    strides, dilation = draw(st.sampled_from([((1, 1), (1, 1))] * 4 + [((2, 1), (1, 1)), ((1, 1), (1, 2))]))
    assume(dilation == (1, 1) or shape[2] + sum(pads[1]) >= 2 * size[1] - 1)
    new = np.random.default_rng(draw(st.integers(0, 2**32))).standard_normal
    F = draw(st.sampled_from([16, 32, 48, 33, 80]))
    return new(shape), new((*size, shape[3], F)), new(F), strides, pads, dilation, draw(st.sampled_from([1, 9, 132]))


@given(case=convolutions_of_groups(), tile=st.integers(0, 11), backwards=st.booleans())
def test_pixels_of_any_geometry_that_are_copied_once(device, case, tile, backwards):
    with pytest.MonkeyPatch.context() as patch:
        only(patch, TILES[tile % 4], large=LARGE[tile % 3] if tile > 3 else None)
        if isinstance(device.kernels, EmulatedKernels):
            patch.setattr(device.kernels, "backwards", backwards)
        check_fast(device, case)


def test_pixels_that_are_copied_once_make_the_same_sums(device, monkeypatch, runs):
    device.precision, device.kernels.processors = "fast", 1
    new = normal("float32")
    arrays = on_device(device, "float32", new(3, 14, 13, 48), new(3, 3, 48, 32), new(32))
    settings = (1, 1), ((1, 1), (0, 0)), (1, 1)
    first = round_trip(device, "conv2d_relu", *arrays, settings)[1]
    monkeypatch.setattr(type(device), "_run", lambda *_: 0)
    for one, other in zip(first, round_trip(device, "conv2d_relu", *arrays, settings)[1], strict=True):
        np.testing.assert_array_equal(device.numpy(one), device.numpy(other))
    assert runs == [True, True, False, False]


@pytest.mark.parametrize(
    "N, length, size, stride, pad", [(3, 14, 3, 1, 1), (2, 12, 5, 1, 0), (2, 12, 5, 1, 4), (2, 17, 5, 2, 2)]
)
def test_the_longest_run_holds_all_that_a_block_sees(N, length, size, stride, pad):
    settings = (length,) * 2, (size,) * 2, (stride,) * 2, ((pad, pad),) * 2
    outputs = naive.outputs(*settings)
    geometry = Geometry(length, length, 16, *outputs, 16, size, size, (stride,) * 2, (1, 1), (-pad, -pad))
    windows = [[p * length + q for _, (p, q) in window] for *_, window in naive.positions(*settings)]
    seen = [[n * length**2 + pixel for pixel in window] for n in range(N) for window in windows]
    for BM in (64, 128):
        spans = [sum(seen[first : first + BM], []) for first in range(0, len(seen), BM)]
        assert longest_run(geometry, N, BM) == max(max(span) - min(span) + 1 for span in spans)


@pytest.mark.parametrize("precision", ["fast", "exact"])
@pytest.mark.parametrize("tile", LARGE + TILES, ids=lambda tile: f"{tile.BM}x{tile.BN}")
def test_the_gradient_of_a_bias_is_not_rounded_to_tf32(device, monkeypatch, tile, precision):
    """The sum of numbers of 20 bits, exact in float32; of more pixels than go into a tile, in several shares."""
    only(monkeypatch, TILES[0] if tile in LARGE else tile, large=tile if tile in LARGE else None)
    device.precision, device.kernels.processors = precision, 9
    random, C, F = np.random.default_rng(0), 264, tile.BN + 4
    x, kernel = on_device(device, "float32", random.standard_normal((75, C)), random.standard_normal((C, F)))
    dy = random.integers(-(2**16), 2**16, (75, F)) / 2**4
    _, saved = device.dense(x, kernel, None)
    dbias = device.dense_backward(*on_device(device, "float32", dy), kernel, saved, False)[2]
    np.testing.assert_array_equal(device.numpy(dbias), dy.sum(axis=0))


def check_exact(device, fused, dtype, case):
    *arrays, strides, pads, dilation, processors = case
    device.precision, device.kernels.processors = "exact", processors
    x, kernel, bias = on_device(device, dtype, *arrays)
    dy, found = round_trip(device, fused, x, kernel, bias, (strides, pads, dilation))
    given = [device.numpy(array).astype(float) for array in (x, kernel, bias)]
    dy, settings = device.numpy(dy).astype(float), (strides, pads, dilation)
    _, expected = round_trip(REFERENCE, fused, *given, settings, dy)
    _, terms = round_trip(REFERENCE, "conv2d", *map(abs, given), settings, abs(dy))
    for one, other, sums in zip(found, expected, terms, strict=True):
        assert one.dtype == dtype
        assert_rounded(device.numpy(one), other, sums, TOLERANCE[dtype])


def check_fast(device, case):
    *arrays, strides, pads, dilation, processors = case
    settings = strides, pads, dilation
    device.precision, device.kernels.processors = "fast", processors
    x, kernel, bias = on_device(device, "float32", *arrays)
    dy, (y, dx, dkernel, dbias) = round_trip(device, "conv2d", x, kernel, bias, settings)
    x, kernel, bias, dy, y, dx, dkernel, dbias = map(device.numpy, (x, kernel, bias, dy, y, dx, dkernel, dbias))
    wide = [array.astype(float) for array in (x, kernel, bias, dy)]
    _, terms = round_trip(REFERENCE, "conv2d", *map(abs, wide[:3]), settings, abs(wide[3]))
    # Of rounded factors the results are those of the definition; a tensor core may cut off its sums instead of rounding.
    # The gradient of a kernel of few terms goes without.
    _, rounded = round_trip(REFERENCE, "conv2d", tf32(x), tf32(kernel), wide[2], settings, tf32(dy))
    _, exact = round_trip(REFERENCE, "conv2d", *wide[:3], settings, wide[3])
    expected = [*rounded[:2], exact[2] if kernel[..., 0].size <= gpu_convolution.THIN else rounded[2]]
    for one, other, sums in zip((y, dx, dkernel), expected, terms[:3], strict=True):
        assert_rounded(one, other, sums, TOLERANCE["float32"])
    # So each product is wrong by 2⁻¹¹ for each of its factors.
    for one, other, sums in zip((y, dx, dkernel), exact[:3], terms[:3], strict=True):
        assert np.all(abs(one - other) <= 2.01 * 2**-11 * sums + TOLERANCE["float32"] * sums.max())
    assert_rounded(dbias, exact[3], terms[3], TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["fast", "exact"])
@pytest.mark.parametrize("processors", [1, 64])  # with the latter the sums are shared among blocks
@pytest.mark.parametrize("F", [10, 36])  # alone, and several together
def test_products_are_0_where_a_relu_lets_nothing_through(device, monkeypatch, F, processors, precision, dtype):
    only(monkeypatch, TILES[1])
    device.precision, device.kernels.processors = precision, processors
    new = normal("float64")
    x, kernel, seen = on_device(device, dtype, new(2, 7, 6, 8), new(3, 3, 8, F), new(2, 7, 6, F))
    seen[0, 0, 0, :2] = device.array(np.array([0.0, np.nan], dtype))
    geometry = Geometry(7, 6, 8, 7, 6, F, 3, 3, (1, 1), (1, 1), (-1, -1))
    found = [device.xp.empty((2, 7, 6, F), dtype) for _ in range(2)]
    device._product(geometry, x, kernel, None, found[0], False)
    device._product(geometry, x, kernel, None, found[1], False, seen)
    everything, left = map(device.numpy, found)
    assert np.all(everything)
    np.testing.assert_array_equal(left, np.where(device.numpy(seen) > 0, everything, 0))


@pytest.mark.parametrize("precision", ["fast", "exact"])
@pytest.mark.parametrize("N, C, F", [(1, 1, 1), (65, 130, 70), (3, 512, 10), (200, 6, 129)])
def test_dense_layers(device, N, C, F, precision):
    device.precision, device.kernels.processors = precision, 9
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape) for shape in ((N, C), (C, F), (F,))]
    if precision == "fast":
        arrays = [tf32(array) for array in arrays]
    x, kernel, bias = on_device(device, "float32", *arrays)
    dy = device.array(tf32(random.standard_normal((N, F))), "float32")
    _, found = round_trip(device, "dense_relu", x, kernel, bias, (), dy)
    given = [device.numpy(array).astype(float) for array in (x, kernel, bias)]
    _, expected = round_trip(REFERENCE, "dense_relu", *given, (), device.numpy(dy).astype(float))
    for one, other in zip(found, expected, strict=True):
        assert_close(device.numpy(one), other, 3 * TOLERANCE["float32"])


def test_infinities_and_nans_are_not_hidden(device):
    x, kernel = np.ones((4, 8), np.float32), np.ones((8, 4), np.float32)
    x[1, 2], x[2, 3] = np.inf, np.nan
    for precision in ("fast", "exact"):
        device.precision = precision
        for name in ("dense", "dense_relu"):
            y = device.numpy(getattr(device, name)(device.array(x), device.array(kernel), None)[0])
            np.testing.assert_array_equal(y[:, 0], np.array([8, np.inf, np.nan, 8], np.float32))


@pytest.mark.parametrize("precision", ["fast", "exact"])
def test_runs_repeat_to_the_bit(device, monkeypatch, precision):
    only(monkeypatch, TILES[1])
    device.precision, device.kernels.processors = precision, 64
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape).astype("float32") for shape in ((3, 11, 10, 5), (3, 3, 5, 20), (20,))]
    runs = []
    for backwards in (False, True, False):
        if isinstance(device.kernels, EmulatedKernels):
            device.kernels.backwards = backwards
        placed = map(device.array, arrays)
        runs.append(round_trip(device, "conv2d_relu", *placed, ((1, 1), ((1, 1), (1, 1)), (1, 1)))[1])
    for others in runs[1:]:
        for one, other in zip(runs[0], others, strict=True):
            np.testing.assert_array_equal(device.numpy(one), device.numpy(other))


def test_weights_may_lie_anywhere_in_a_flat_buffer(device):
    device.precision = "exact"
    flat = device.array(np.random.default_rng(0).standard_normal(200).astype("float32"))
    x = device.array(np.random.default_rng(1).standard_normal((5, 8)).astype("float32"))
    for first in range(4):
        kernel, bias = flat[first : first + 96].reshape(8, 12), flat[first + 96 : first + 108]
        y, saved = device.dense(x, kernel, bias)
        assert_close(device.numpy(y), device.numpy(x).astype(float) @ device.numpy(kernel) + device.numpy(bias))
        dx = device.dense_backward(y, kernel, saved)[0]
        assert_close(device.numpy(dx), device.numpy(y).astype(float) @ device.numpy(kernel).T)


def test_a_reduction_is_shared_among_blocks_without_gaps():
    ops = emulated_ops()
    for processors in (1, 4, 132):
        ops.kernels.processors = processors
        for rows in (1, 1000, 100_000):
            for reduction in (1, 16, 17, 500, 100_000):
                tile, depth, shares = ops._divide(np.dtype("float32"), rows, 70, reduction, True)
                depths = -(-reduction // tile.BK)
                assert (shares - 1) * depth < depths <= shares * depth
                at_once = max(2, 256 // tile.threads) * processors
                assert shares == 1 or shares * tile.blocks(rows, 70) <= at_once


@pytest.mark.parametrize("shape", [(224 * 224 * 64, 1), (1, 224 * 224 * 64)])
def test_grids_of_the_largest_dense_layers_are_within_the_limits(monkeypatch, shape):
    ops, launched = emulated_ops(), []

    def launch(file, name, dtype, grid, block, arguments, shared=0, **macros):
        within_limits(name, grid, block, shared)
        launched.append(name)

    monkeypatch.setattr(ops.kernels, "launch", launch)
    ops.kernels.processors = 132
    x, kernel = np.zeros((2, shape[0]), np.float32), np.zeros(shape, np.float32)
    y, saved = ops.dense(x, kernel, None)
    ops.dense_backward(y, kernel, saved)
    assert {"conv2d", "swap_channels"} <= set(launched)


def test_more_pixels_than_the_kernels_count(monkeypatch):
    """They number them in 32 bits, so beyond these nothing would be written, without an error."""
    ops = emulated_ops()
    monkeypatch.setattr(ops.kernels, "launch", lambda *_, **__: None)
    images, kernel = np.broadcast_to(np.float32(0), (2**21, 32, 32, 1)), np.zeros((2, 2, 1, 1), np.float32)
    wide = Geometry(32, 32, 1, 16, 16, 1, 2, 2, (2, 2), (1, 1), (0, 0))
    with pytest.raises(ValueError, match="a convolution of 2,097,152 images has too many pixels"):
        ops._product(wide, images, kernel, None, images[:, ::2, ::2], False)


@pytest.mark.parametrize(
    "rows, columns, reduction, tile, shares",
    [
        (1024 * 56 * 56, 256, 2304, LARGE[0], 1),  # a large convolution: few reads of shared memory
        (1024 * 56 * 56, 64, 576, LARGE[2], 1),
        (576, 64, 1024 * 56 * 56, LARGE[2], 88),  # and its weights' gradient
        (288, 64, 1024 * 56 * 56, TILES[0], 88),  # of which a larger tile would be empty for the most part
        (128 * 14 * 14, 64, 288, LARGE[2], 1),  # a small one, which leaves some processors without a block
        (128 * 8 * 8, 64, 576, TILES[1], 1),  # nor is its sum shared by two
        (128 * 28 * 28, 32, 800, TILES[2], 1),
        (128, 10, 256, TILES[3], 2),  # a last layer
    ],
)
def test_the_tile_fits_the_work(rows, columns, reduction, tile, shares):
    ops = emulated_ops()
    ops.kernels.processors, ops.precision = 132, "fast"
    found, _, divided = ops._divide(np.dtype("float32"), rows, columns, reduction, True)
    assert (found, divided) == (tile, shares)


def test_the_input_gradient_of_an_input_gradient_is_the_convolution():
    forward = Geometry(7, 8, 3, 4, 5, 6, 2, 3, (2, 1), (1, 2), (-1, 0))
    turned = forward.turned()
    assert (turned.H, turned.W, turned.C, turned.OH, turned.OW, turned.F) == (4, 5, 6, 7, 8, 3)
    assert (turned.up, turned.step, turned.offset, turned.down) == ((1, 1), (-1, -2), (1, 0), (2, 1))


# ---------------------------------------------------------------------- the emulator


def launch(text, *arguments, threads=64, shared=0, backwards=False):
    if COMPILER is None:
        pytest.skip(NO_COMPILER)
    kernels = EmulatedKernels()
    kernels.backwards = backwards
    text = f'#include "common.cuh"\nKERNEL probe({text}}}\n'
    kernels.launch_source(cuda.included(text), "probe", "float32", (1,), (threads,), arguments, shared)


def numbers(count=64):
    return np.arange(count, dtype=np.float32)


REVERSED = """const real* x, real* y) {{
    __shared__ real line[64];
    line[threadIdx.x] = x[threadIdx.x];
    {}
    y[threadIdx.x] = line[63 - threadIdx.x];
"""


@pytest.mark.parametrize("backwards", [False, True])
def test_the_emulator_knows_barriers(backwards):
    y = np.empty(64, np.float32)
    launch(REVERSED.format("__syncthreads();"), numbers(), y, backwards=backwards)
    np.testing.assert_array_equal(y, numbers()[::-1])
    launch(REVERSED.format(""), numbers(), y, backwards=backwards)
    assert np.isnan(y).sum() == 32  # those that were read before they were written


@pytest.mark.parametrize("backwards", [False, True])
def test_the_last_block_sees_what_all_have_written(backwards):
    """Whichever that is, for every column of blocks; and launch after launch, as the counters are 0 again."""
    if COMPILER is None:
        pytest.skip(NO_COMPILER)
    kernels, counters = EmulatedKernels(), np.zeros(3, np.uint32)
    kernels.backwards = backwards
    text = (
        '#include "rows.cuh"\n'
        "KERNEL probe(real* parts, real* sums, int* seen, unsigned* counters) {"
        "if (threadIdx.y == 0) parts[blockIdx.y * 6 + blockIdx.x * 2 + threadIdx.x] = blockIdx.x + 10 * blockIdx.y + 1;"
        "seen[blockIdx.x] = blockIdx.y;"
        "add_up<1>(parts, sums, counters, 6); }\n"
    )
    for blocks in (4, 1, 30):
        parts, sums = np.full((blocks, 6), np.nan, np.float32), np.full(6, np.nan, np.float32)
        seen = np.zeros(3, np.int32)
        arguments = parts, sums, seen, counters
        kernels.launch_source(cuda.included(text), "probe", "float32", (3, blocks), (2, 2), arguments)
        np.testing.assert_array_equal(sums, parts.sum(axis=0))
        np.testing.assert_array_equal(seen, 0 if backwards else blocks - 1)
        assert not counters.any()


def test_the_emulator_delivers_asynchronous_copies_late():
    text = """const real* x, real* y) {{
        __shared__ real line[64];
        copy_async<4>(&line[threadIdx.x], x + threadIdx.x, threadIdx.x != 5);
        copy_commit();
        {}
        y[threadIdx.x] = line[threadIdx.x];
        copy_wait<0>();
    """
    y = np.empty(64, np.float32)
    launch(text.format("copy_wait<0>();"), numbers(), y)
    np.testing.assert_array_equal(y, np.where(numbers() == 5, 0, numbers()))
    launch(text.format("copy_wait<1>();"), numbers(), y)
    assert np.isnan(y).all()


@pytest.mark.parametrize(
    "text, arguments, error",
    [
        ("const real* x) { if (threadIdx.x < 7) __syncthreads(); ", (numbers(),), "a barrier some threads never reach.* 7 wait"),
        ("const real* x) { if (threadIdx.x < 40) __syncwarp(); ", (numbers(),), "a warp that never meets.* 8 for their warp"),
        ("const real* x, real* y) { y[threadIdx.x] = x[threadIdx.x + 1]; ", (numbers(), numbers()), r"thread \(63, 0, 0\) .*outside"),
        ("const real* x) { const_cast<real*>(x)[threadIdx.x] = 0; ", (numbers(),), "outside"),
        ("real* x) { x[threadIdx.x] = 0; ", (numbers(63),), "just outside"),
        ("real* x) { ", (numbers().astype(float),), "argument 0 is an array of kind f and 8 bytes"),
        ("int* x) { ", (numbers(),), "argument 0 is an array"),
        ("int x) { ", (0.5,), "argument 0 is a number of kind f"),
        ("int x, real y) { ", (1,), "takes 2 arguments, not 1"),
        ("real* x, real* y) { ", (lambda x: (x[:40], x[20:]))(numbers()), "overlap"),
    ],
)  # fmt: skip
def test_the_emulator_finds_mistakes(text, arguments, error):
    with pytest.raises(AssertionError, match="^probe: " + error + "|^probe: .*" + error):
        launch(text, *arguments)
    launch("real* x) { x[threadIdx.x] = 1; ", numbers())  # and lives on


def test_the_tensor_core_of_the_emulator_multiplies_matrices():
    random = np.random.default_rng(0)
    a, b, c = (random.standard_normal(shape).astype("float32") for shape in ((16, 8), (8, 8), (16, 8)))
    expected = c + tf32(a) @ tf32(b)
    launch(
        """const real* a, const real* b, real* c) {
        const int g = threadIdx.x / 4, t = threadIdx.x % 4;
        const unsigned left[4] = {to_tf32(a[8 * g + t]), to_tf32(a[8 * (g + 8) + t]), to_tf32(a[8 * g + t + 4]),
                                  to_tf32(a[8 * (g + 8) + t + 4])};
        const unsigned right[2] = {to_tf32(b[8 * t + g]), to_tf32(b[8 * (t + 4) + g])};
        real* to[4] = {c + 8 * g + 2 * t, c + 8 * g + 2 * t + 1, c + 8 * (g + 8) + 2 * t, c + 8 * (g + 8) + 2 * t + 1};
        real sums[4] = {*to[0], *to[1], *to[2], *to[3]};
        mma_tf32(sums, left, right);
        for (int i = 0; i < 4; i++) *to[i] = sums[i];
        """,
        a, b, c, threads=32,
    )  # fmt: skip
    assert_close(c, expected, 1e-6)

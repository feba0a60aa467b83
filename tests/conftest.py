"""What all tests share: the op sets, one seed, arrays in awkward memory, and what "close" means.

A difference is measured against the largest number of the expected array, so that sums which cancel are not held to more
digits than their terms have.
"""

import gc
import os

# Tests run side by side, and the threads of one process would wait for those of another; NumPy reads this when imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
from cuda_device import OnDevice
from cuda_emulator import COMPILER, MISSING, emulated_ops
from hypothesis import strategies as st

import minicnn
from minicnn.kernels import winograd
from minicnn.ops.cpu import Tapes

hypothesis.settings.register_profile(
    "minicnn",
    deadline=None,
    derandomize=True,
    max_examples=30,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("minicnn")

TOLERANCE = {"float32": 1e-5, "float64": 1e-13}
DEVICES = ["reference", "cpu", "emulated", pytest.param("gpu", marks=pytest.mark.gpu)]
DTYPES = ["float32", "float64"]
LAYOUTS = ["contiguous", "transposed", "sliced", "reversed"]


def on(request):
    """The operations of the device that a fixture asks for; those of the GPU, on one or on its emulator, in full precision."""
    if request.param == "emulated":
        return request.getfixturevalue("emulated")
    try:
        found = minicnn.get_ops(request.param)
    except RuntimeError as error:
        if request.param != "gpu":
            raise
        pytest.skip(str(error))
    if request.param == "gpu":
        found.precision = "exact"
    return found


@pytest.fixture(scope="session", params=DEVICES)
def ops(request):
    """The operations of every device in turn."""
    return on(request)


@pytest.fixture(scope="session", params=DEVICES[2:])
def gpu(request):
    """The operations of the GPU for NumPy arrays, on its emulator and on one; `gpu.ops` are those for arrays of its own."""
    return OnDevice(on(request))


@pytest.fixture(scope="session")
def emulated():
    """The operations of the GPU without one: its kernels, compiled by g++. Models know them as the device "emulated"."""
    if COMPILER is None:
        pytest.skip(MISSING)
    found = emulated_ops()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minicnn.chain.get_ops", lambda name: found if name == "emulated" else minicnn.get_ops(name))
        yield found


@pytest.fixture(scope="session")
def keras(tmp_path_factory):
    """Keras 3 on its JAX backend, an independent oracle; skips where it is not installed."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # most of the time goes into compiling
    run = tmp_path_factory.getbasetemp()  # whose processes share what is compiled
    run = run.parent if "PYTEST_XDIST_WORKER" in os.environ else run
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(run / "jax"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    try:
        import keras
    except ImportError as error:
        pytest.skip(
            f"parity needs Keras, which cannot be imported ({error}); install it with: pip install -e '.[parity]'"
        )
    assert keras.backend.backend() == "jax"
    keras.config.set_floatx("float32")
    return keras


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def anew():
    """No test sees random numbers, or tapes, of another one."""
    minicnn.set_random_seed(7)
    minicnn.get_ops("cpu").tapes = Tapes()


@pytest.fixture
def threads():
    """`set_threads`, undone at the end."""
    before = minicnn.get_threads()
    yield minicnn.set_threads
    minicnn.set_threads(before)


def assert_close(actual, expected, tolerance=None):
    """Equal shapes, and differences that are small beside the largest expected number, as the number type of `actual` allows."""
    expected = np.asarray(expected, float)
    assert actual.shape == expected.shape
    tolerance = TOLERANCE[actual.dtype.name] if tolerance is None else tolerance
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1e-30))


def arranged(array, layout):
    """The same numbers in another order of memory."""
    if layout == "transposed":
        return np.asfortranarray(array)
    if layout == "sliced":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed":
        return np.flip(np.flip(array).copy())
    return array


NEAR, FAR = winograd.NEAR, winograd.FAR  # the images of tests are few: only what they are spared in arithmetic counts
winograd.NEAR, winograd.FAR = 1e-9 * NEAR, 1e-9 * FAR
choose_form = winograd.choose


def in_form(monkeypatch, whole, m=None):
    """Winograd's algorithm goes through the whole batch plane by plane, or through all planes with a few images; by F(m×m),
    if that is said, and where m is 0 it is not taken."""
    monkeypatch.setattr(winograd, "choose", lambda *sizes: (choose_form(*sizes)[0] if m is None else m, whole))


@pytest.fixture
def whole_batch(monkeypatch):
    in_form(monkeypatch, True)


@st.composite
def makers(draw):
    """A function that makes an array of normal numbers from its shape, in a drawn number type and order of memory."""
    dtype, layout = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(LAYOUTS))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))

    def make(*shape):
        return arranged(random.standard_normal(shape).astype(dtype), layout)

    return make


def run(ops, operation, *arguments):
    """Calls an operation on its device; arrays go there in the memory order they have, and all results come back."""
    moved = [ops.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    return getattr(ops, operation)(*moved)


@pytest.fixture(scope="session")
def device_layer(ops):
    """Moves a layer to the device of the test."""
    return lambda layer: layer.to(ops)


def pytest_collection_finish():
    """Tests stay to the end: whoever looks for garbage, and some tests do, need not go through all of them each time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """One line for all that was skipped for one reason; every single one is shown by -rs."""
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])]
    for reason in sorted(set(reasons)):
        terminalreporter.write_line(f"skipped {reasons.count(reason)}: {reason}")

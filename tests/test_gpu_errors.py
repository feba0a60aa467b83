"""What is said where a GPU is asked for and something is missing, and `python -m minicnn.cuda`, on stand-ins for CuPy."""

import subprocess
import sys
import warnings
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import minicnn
from minicnn import cuda
from minicnn.cuda import __main__ as checking
from minicnn.ops.gpu import GpuOps


class CUDARuntimeError(RuntimeError): ...


def cupy(devices=1, error="", driver=13000, needed=13020, capability="90", nvrtc="", headers=""):
    """What `import cupy` gives where the driver says so, and where NVRTC is not found for some reason."""

    def count():
        if error:
            raise CUDARuntimeError(error)
        return devices

    found = ModuleType("cupy")
    runtime = SimpleNamespace(
        getDeviceCount=count,
        CUDARuntimeError=CUDARuntimeError,
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: needed,
        getDeviceProperties=lambda number: {"name": b"a stand-in"},
    )

    def version():
        if nvrtc:
            raise RuntimeError(nvrtc)
        return 13, 0

    device = SimpleNamespace(
        id=0, compute_capability=capability, mem_info=(2e9, 3e9), attributes={"MultiProcessorCount": 4}
    )
    compiler = SimpleNamespace(getVersion=version)
    found.cuda = SimpleNamespace(runtime=runtime, Device=lambda: device, nvrtc=compiler)
    found.__version__ = "14.2.0"

    def compile():
        if headers:
            raise RuntimeError(headers)

    found.RawModule = lambda code, options, backend: SimpleNamespace(compile=compile)
    return found


OLD = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
NO_DEVICE = "cudaErrorNoDevice: no CUDA-capable device is detected"


@pytest.mark.parametrize(
    "module, sentence",
    [
        (None, r'needs CuPy, which cannot be imported \(.*\); install it with: pip install "cupy-cuda13x\[ctk\]" .*'),
        (cupy(error=OLD, driver=0), r"needs NVIDIA's driver, and none is loaded; install it from nvidia.com/drivers.*"),
        (cupy(error=OLD, driver=12080), r"driver is too old for this CuPy: it knows CUDA 12.8.*13.2; update.*cupy-cuda12x"),
        (cupy(error=NO_DEVICE), r"needs an NVIDIA GPU, and the driver finds none.*CUDA_VISIBLE_DEVICES.*"),
        (cupy(devices=0), r"needs an NVIDIA GPU, and the driver finds none.*CUDA_VISIBLE_DEVICES.*"),
        (cupy(error="cudaErrorSystemNotReady: not\nyet"), r"cannot be used: cudaErrorSystemNotReady: not yet"),
        (cupy(capability="75"), r"is too old: the kernels need compute capability 8.0, an Ampere GPU or newer, and it has 7.5"),
        (cupy(nvrtc="libnvrtc.so.13\nnot found"), r"needs NVRTC, .* \(libnvrtc.so.13 not found\); install it with: .*"),
        (
            cupy(headers="Failed to find\nCUDA headers"),
            r"cannot be used, since no kernel can be compiled \(Failed to find CUDA headers\); install .*",
        ),
    ],
    ids=["no CuPy", "no driver", "an old driver", "no device", "none visible", "something else", "an old GPU", "no NVRTC", "no headers"],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_sentence(monkeypatch, capsys, module, sentence):
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(checking, "get_ops", lambda name: GpuOps())
    with pytest.raises(RuntimeError, match=rf"^the GPU {sentence}$") as said:
        GpuOps()
    assert "\n" not in str(said.value)
    assert checking.main() == 1
    out, err = capsys.readouterr()
    assert out == "" and err == f"{said.value}\n"


def test_a_cupy_that_is_broken_says_so_on_one_line(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('====\\nFailed to import CuPy.\\n\\nlibcuda.so.1\\n====')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        RuntimeError, match=r"^the GPU needs CuPy, .*\(==== Failed to import CuPy. libcuda.so.1 ====\); "
    ):
        GpuOps()


def test_a_home_that_cannot_be_written_says_so(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise PermissionError(13, 'Permission denied', '/home/me/.cupy')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=r"^the GPU needs CuPy, .*Permission denied: '/home/me/.cupy'"):
        GpuOps()


def test_the_check_is_a_program():
    program = "import sys, runpy; sys.modules['cupy'] = None; runpy.run_module('minicnn.cuda', None, '__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("the GPU needs CuPy") and done.stderr.count("\n") == 1


# ---------------------------------------------------------------------- on the emulator


@pytest.fixture
def device(emulated, monkeypatch):
    """The emulator as the device of the check; returns the options of what NVRTC was given."""
    given = []
    monkeypatch.setattr(emulated.xp, "cuda", cupy().cuda, raising=False)
    monkeypatch.setattr(emulated.xp, "__version__", "14.2.0", raising=False)

    def module(code, options, backend):
        given.append((code, options, backend))
        return SimpleNamespace(compile=lambda: None)

    monkeypatch.setattr(emulated.xp, "RawModule", module, raising=False)
    choose = minicnn.get_ops
    for place in ("minicnn.sequential.get_ops", "minicnn.cuda.__main__.get_ops"):
        monkeypatch.setattr(place, lambda name: emulated if name == "gpu" else choose(name))
    return SimpleNamespace(ops=emulated, given=given)


def test_a_device_that_is_right(device, capsys):
    assert checking.main() == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and lines[-1] == "the GPU can be used" and all(line.startswith("ok ") for line in lines[:-1])
    assert [code for code, _, _ in device.given] == [cuda.source(file) for file in cuda.FILES]
    names = [line.split(":")[0].split(None, 1)[1] for line in lines[:-1]]
    assert names[:5] == ["CuPy", "driver", "device", "memory", "compute capability"]
    assert names[-2:] == ["graph", "training"] and "convolution, TF32" in names and "dense, float32" in names
    assert "for CUDA 13.2" in lines[0] and "up to 13.0" in lines[1] and lines[4].split(": ")[1].startswith("9.0")
    assert "layer by layer" not in lines[-2] and "18 steps as on the CPU, largest error" in lines[-2]


def test_the_first_thing_that_fails_is_named(device, monkeypatch, capsys):
    monkeypatch.setattr(device.ops, "max_pool2d", lambda *_: 1 / 0)
    monkeypatch.setattr(device.ops, "dropout", lambda x, *_: (x, None))
    monkeypatch.setattr(device.ops, "rescale", lambda x, *_: np.full_like(x, np.nan))
    monkeypatch.setattr(device.ops.kernels, "capture", lambda step: lambda: None)
    assert checking.main() == 1
    out, err = capsys.readouterr()
    failed = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 5 and "FAILED  pooling, float32: ZeroDivisionError: division by zero" in failed[0]
    assert "differs from the definition by nan" in failed[1] and "random numbers" in failed[2]
    assert "has not computed what was captured" in failed[3] and "training" in failed[4]
    assert err.startswith("the GPU cannot be used as it is; the first thing that failed is pooling, float32: ")
    assert err.count("\n") == 1


@pytest.mark.filterwarnings("ignore:something is deprecated")
def test_other_warnings_are_told(device, monkeypatch, capsys):
    def launch(*arguments, **options):
        warnings.warn("something is deprecated", DeprecationWarning, stacklevel=1)
        return start(*arguments, **options)

    start = device.ops.kernels.launch
    monkeypatch.setattr(device.ops.kernels, "launch", launch)
    assert checking.main() == 0
    assert "; something is deprecated" in capsys.readouterr().out.splitlines()[-2]


def test_a_device_that_captures_no_training(device, monkeypatch, capsys):
    capture, calls = device.ops.kernels.capture, []

    def refuse(step):
        calls.append(step)
        if len(calls) > 1:
            raise RuntimeError("no memory while a stream is captured")
        return capture(step)

    monkeypatch.setattr(device.ops.kernels, "capture", refuse)
    assert checking.main() == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1 and "training" in failed[0] and "no memory while a stream is captured" in failed[0]

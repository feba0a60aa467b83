"""The operations on an NVIDIA GPU: CUDA kernels where they pay, else the array code of the definition, run by CuPy.

CuPy's arrays follow NumPy's interface, so what no kernel does better is inherited. The overrides are in `gpu_convolution.py`,
`gpu_elementwise.py` and `gpu_optimizers.py`, the kernels in `minicnn/cuda`.
"""

from typing import Any

import numpy as np

from ..cuda import Kernels, module
from .gpu_convolution import ConvolutionOps
from .gpu_elementwise import ElementwiseOps
from .gpu_optimizers import OptimizerOps
from .reference import Array

INSTALL = 'install it with: pip install "cupy-cuda13x[ctk]" (on CUDA 12: "cupy-cuda12x[ctk]")'
LEAST = 80  # compute capability 8.0, whose tensor cores take TF32


def missing(cuda: Any) -> str | None:
    """What there is to do before CuPy can compile kernels for a GPU; None where it can."""
    runtime = cuda.runtime
    try:
        if runtime.getDeviceCount():
            return _lacking(cuda)
        error = "cudaErrorNoDevice"
    except runtime.CUDARuntimeError as raised:
        error = " ".join(str(raised).split())
    known, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if known == 0:
        return (
            "needs NVIDIA's driver, and none is loaded; install it from nvidia.com/drivers, or start the container with "
            "--gpus all"
        )
    if "cudaErrorInsufficientDriver" in error:
        return (
            f"driver is too old for this CuPy: it knows CUDA {version(known)}, CuPy is made for {version(needed)}; update "
            "the driver, or replace cupy-cuda13x with cupy-cuda12x"
        )
    if "cudaErrorNoDevice" in error:
        return "needs an NVIDIA GPU, and the driver finds none; if there is one, see what CUDA_VISIBLE_DEVICES says"
    return f"cannot be used: {error}"


def _lacking(cuda: Any) -> str | None:
    """The same where there is a GPU."""
    capability = int(cuda.Device().compute_capability)
    if capability < LEAST:
        return (
            f"is too old: the kernels need compute capability {dotted(LEAST)}, an Ampere GPU or newer, and it has "
            f"{dotted(capability)}"
        )
    try:
        cuda.nvrtc.getVersion()
    except Exception as error:  # of a class that differs from version to version
        return f"needs NVRTC, which compiles the kernels, and it cannot be loaded ({' '.join(str(error).split())}); {INSTALL}"
    return None


def dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"


def version(number: int) -> str:
    """Of CUDA, which writes 13.2 as 13020."""
    return f"{number // 1000}.{number % 1000 // 10}"


class GpuOps(ConvolutionOps, ElementwiseOps, OptimizerOps):
    name = "gpu"

    def __init__(self) -> None:
        try:
            import cupy
        except (ImportError, OSError) as error:  # CuPy makes a folder for its cache
            reason = " ".join(str(error).split())
            raise RuntimeError(f"the GPU needs CuPy, which cannot be imported ({reason}); {INSTALL}") from None
        if found := missing(cupy.cuda):
            raise RuntimeError(f"the GPU {found}")
        try:
            module(cupy, 'extern "C" __global__ void nothing() {}').compile()
        except Exception as error:  # where CUDA's headers are missing
            reason = " ".join(str(error).split())
            raise RuntimeError(
                f"the GPU cannot be used, since no kernel can be compiled ({reason}); {INSTALL}"
            ) from None
        self.xp = cupy
        self.kernels = Kernels(cupy)

    def numpy(self, values: Array) -> np.ndarray:
        return np.asarray(self.xp.asnumpy(values))

"""The operations on an NVIDIA GPU: CUDA kernels where they pay, else the array code of the definition, run by CuPy.

CuPy's arrays follow NumPy's interface, so what no kernel does better is inherited. The overrides are in `gpu_convolution.py`
and `gpu_elementwise.py`, the kernels in `minicnn/cuda`.
"""

from typing import Any

import numpy as np

from ..cuda import Kernels
from .gpu_convolution import ConvolutionOps
from .gpu_elementwise import ElementwiseOps
from .reference import Array

INSTALL = (
    'install the extra with: pip install "minicnn[gpu]" (CuPy for CUDA 13; on CUDA 12 install cupy-cuda12x instead)'
)


def missing(runtime: Any) -> str | None:
    """What there is to do before CuPy can use a GPU; None where it can."""
    try:
        if runtime.getDeviceCount():
            return None
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
        versions = [f"{version // 1000}.{version % 1000 // 10}" for version in (known, needed)]
        return (
            f"driver is too old for this CuPy: it knows CUDA {versions[0]}, CuPy is made for {versions[1]}; update the "
            "driver, or replace cupy-cuda13x with cupy-cuda12x"
        )
    if "cudaErrorNoDevice" in error:
        return "needs an NVIDIA GPU, and the driver finds none; if there is one, see what CUDA_VISIBLE_DEVICES says"
    return f"cannot be used: {error}"


class GpuOps(ConvolutionOps, ElementwiseOps):
    name = "gpu"

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            reason = " ".join(str(error).split())
            raise RuntimeError(f"the GPU needs CuPy, which cannot be imported ({reason}); {INSTALL}") from None
        if found := missing(cupy.cuda.runtime):
            raise RuntimeError(f"the GPU {found}")
        self.xp = cupy
        self.kernels = Kernels(cupy)

    def numpy(self, values: Array) -> np.ndarray:
        return np.asarray(self.xp.asnumpy(values))

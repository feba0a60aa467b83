"""The operations on an NVIDIA GPU: CUDA kernels where they pay, else the array code of the definition, run by CuPy.

CuPy's arrays follow NumPy's interface, so what no kernel does better is inherited. The overrides are in `gpu_convolution.py`
and `gpu_elementwise.py`, the kernels in `minicnn/cuda`.
"""

import numpy as np

from ..cuda import Kernels
from .gpu_convolution import ConvolutionOps
from .gpu_elementwise import ElementwiseOps
from .reference import Array

INSTALL = (
    'install the extra with: pip install "minicnn[gpu]" (CuPy for CUDA 13; on CUDA 12 install cupy-cuda12x instead)'
)


class GpuOps(ConvolutionOps, ElementwiseOps):
    name = "gpu"

    def __init__(self) -> None:
        try:
            import cupy
        except ImportError as error:
            raise RuntimeError(f"the GPU needs CuPy, which cannot be imported ({error}); {INSTALL}") from None
        try:
            devices = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise RuntimeError(
                f"CuPy is installed, but no GPU can be used: {error}; is there an NVIDIA GPU with its driver?"
            ) from None
        if devices == 0:
            raise RuntimeError("CuPy is installed, but there is no CUDA device; use the CPU instead")
        self.xp = cupy
        self.kernels = Kernels(cupy)

    def numpy(self, values: Array) -> np.ndarray:
        return np.asarray(self.xp.asnumpy(values))

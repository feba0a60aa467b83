"""The operations on an NVIDIA GPU: the array code of the definition, run by CuPy.

CuPy's arrays follow NumPy's interface, so nothing has to be written again; what a CUDA kernel does better can be
overridden here, pair by pair.
"""

import numpy as np

from .reference import Array, Ops

INSTALL = (
    'install the extra with: pip install "minicnn[gpu]" (CuPy for CUDA 13; on CUDA 12 install cupy-cuda12x instead)'
)


class GpuOps(Ops):
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

    def numpy(self, values: Array) -> np.ndarray:
        return np.asarray(self.xp.asnumpy(values))

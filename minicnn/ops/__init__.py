"""The one place where a device is chosen: `get_ops("cpu")`, `get_ops("gpu")` or `get_ops("reference")`."""

from functools import cache

from .keras import find as __getattr__  # noqa: F401  what Keras has under this name
from .reference import Ops

DEVICES = ("cpu", "gpu", "reference")


@cache
def get_ops(device: str) -> Ops:
    """The operations of a device. Raises ValueError for an unknown name and RuntimeError where there is no usable GPU."""
    if device == "cpu":
        from .cpu import CpuOps

        return CpuOps()
    if device == "gpu":
        from .gpu import GpuOps

        return GpuOps()
    if device == "reference":
        return Ops()
    raise ValueError(f"unknown device {device!r}; expected one of {', '.join(DEVICES)}")


def set_precision(precision: str) -> None:
    """How float32 is convolved, "fast" or "exact".

    On the CPU "fast" takes Winograd's algorithm where that is quicker, "exact" never does. Where K channels are added up,
    the results of "fast" differ from the definition by up to 3e-6 · √K of their largest number (2e-5 for 32 channels),
    those of "exact" by up to 6e-6.

    On a GPU "fast" multiplies on tensor cores, also in dense layers, with the factors rounded to TF32: a result differs
    from the definition by up to 2⁻¹⁰ of the sum of its products' absolute values. "exact" rounds as float32 does.
    """
    if precision not in ("fast", "exact"):
        raise ValueError(f"precision must be 'fast' or 'exact', not {precision!r}")
    Ops.precision = get_ops("cpu").precision = precision  # which may have one of its own


__all__ = ["DEVICES", "Ops", "get_ops", "set_precision"]

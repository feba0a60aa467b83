"""The one place where a device is chosen: `get_ops("cpu")`, `get_ops("gpu")` or `get_ops("reference")`."""

from functools import cache

from .reference import Ops

DEVICES = ("cpu", "gpu", "reference")


@cache
def get_ops(device: str = "cpu") -> Ops:
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


__all__ = ["DEVICES", "Ops", "get_ops"]

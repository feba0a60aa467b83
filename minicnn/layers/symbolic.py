"""Values without numbers, which layers are called on to say how they follow each other."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ..checks import is_number

if TYPE_CHECKING:
    from .base import Layer

Shape: TypeAlias = tuple[Any, ...]  # sizes; that of the batch, in front, is None where it does not matter


class Symbol:
    """Base of symbolic values, which have no numbers yet.

    Times a number, or plus one, it is what the layer `Rescaling` makes of it; other calculations, which Keras has, are a
    TypeError.
    """

    name: str
    shape: Shape
    __array_priority__ = 1  # so that a number of NumPy's leaves the calculation to this

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def _refuse_calculation(self, *_: Any) -> Any:
        raise TypeError(
            f"what comes out of {self.name} goes from layer to layer here and cannot be calculated with, but by a number: "
            "Reshape, Activation and Lambda are layers, and so is a class of your own whose call calculates and that names no layers"
        )

    def _rescaled(self, scale: Any, offset: Any) -> Any:
        from .normalization import Rescaling

        if not (is_number(scale) and is_number(offset)):
            self._refuse_calculation()
        return Rescaling(scale, offset, name="rescaling" if isinstance(self, Probe) else None)(self)

    def __add__(self, other: Any) -> Any:
        return self._rescaled(1.0, other)

    def __sub__(self, other: Any) -> Any:
        return self._rescaled(1.0, -other if is_number(other) else other)

    def __rsub__(self, other: Any) -> Any:
        return self._rescaled(-1.0, other)

    def __mul__(self, other: Any) -> Any:
        return self._rescaled(other, 0.0)

    def __truediv__(self, other: Any) -> Any:
        return self._rescaled(1 / other if is_number(other) else other, 0.0)

    def __neg__(self) -> Any:
        return self._rescaled(-1.0, 0.0)

    __radd__, __rmul__ = __add__, __mul__
    __rtruediv__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __abs__ = _refuse_calculation
    __getitem__ = __iter__ = __array__ = _refuse_calculation


class Tensor(Symbol):
    """The symbolic output of a layer for a symbolic input: `Model(inputs, outputs)` follows it back to the `Input`.

    `mode` is True where the layer always works as in training, False where it never does, None where the model decides.
    """

    def __init__(self, layer: "Layer", source: "Tensor | None" = None, mode: bool | None = None) -> None:
        self.layer, self.source, self.name, self.mode = layer, source, layer.name, mode
        self.model: Any = None  # that was called, if the layer is one of a model within the model
        self.owner: Callable[[], Any] = lambda: None  # gives the model whose input this is, while there is that

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.layer.output_shape

    @property
    def dtype(self) -> str:
        return self.layer.dtype.name

    @property
    def path(self) -> "list[Tensor]":
        """The tensors that lead here, of the `Input` first, and this one."""
        found = [self]
        while found[-1].source is not None:
            found.append(found[-1].source)
        return found[::-1]

    @property
    def chain(self) -> "list[Layer]":
        """Their layers."""
        return [tensor.layer for tensor in self.path]

    def __repr__(self) -> str:
        return f"<Tensor {self.shape} of {self.layer.name}>"


class Probe(Tensor):
    """Stands for a tensor, to learn which layers a function puts behind it: they are in no model, and are not counted."""

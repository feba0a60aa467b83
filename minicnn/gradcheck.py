"""Checks of hand-written gradients against differences of the function itself.

Everything is done in float64, on the same operations and kernels that train. For a function f with parameters w and
input x, and the scalar L = <u, f(x)> for a random u, two comparisons are made:

    every element      ∂L/∂x_i and ∂L/∂w_i with (L(+h) - L(-h)) / 2h, one element at a time, where tensors are small
    random directions  <v, Jᵀu> with <J v, u>, J v being (f(+h v) - f(-h v)) / 2h: the adjoint test, for all tensors

A difference cannot be finer than the rounding of L itself, so a function with very large values hides small errors.
A function with kinks (ReLU, max-pooling) has no derivative there. `smooth_input` draws numbers that are all different
and keep away from zero by more than any step, so that a check does not depend on luck.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .checks import check
from .layers.base import Layer, RandomLayer
from .layers.parameter import Parameter
from .models import Sequential

STEP = 6e-6  # about the cube root of float64's precision, where rounding and truncation of a central difference balance
SMALL = 2000  # tensors up to this many elements are checked element by element
DIRECTIONS = 4  # random directions for larger ones


class GradientError(AssertionError):
    """A gradient that differs from the difference quotient."""


def smooth_input(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Numbers from -1 to 1 in random order, any two at least 1 / size apart, none nearer to 0 than half of that."""
    size = int(np.prod(shape))
    values = (np.arange(size) + 0.5) * 2 / size - 1
    values[np.abs(values) < 0.5 / size] += 1 / size  # the middle one of an odd number
    return np.random.default_rng(seed).permutation(values).reshape(shape)


def check_layer(layer: Layer, x: Any, training: bool = True, tolerance: float = 1e-6, seed: int = 0) -> float:
    """Checks a layer's gradients for its input and parameters at x, an array or the shape of one to draw.

    A shape is filled by `smooth_input`. The layer itself is left as it is. Returns the largest relative error found;
    raises GradientError, naming layer, tensor and index, if it is above the tolerance. Errors are relative to the
    largest gradient of the tensor.
    """
    check("check_layer", ("a layer, such as Dense(3)", lambda layer: isinstance(layer, Layer)), layer=layer)
    x = smooth_input(x, seed) if isinstance(x, tuple) else np.array(x, np.float64)
    layer = copy.deepcopy(layer)
    if not layer.built:
        layer.build((None, *x.shape[1:]))
    layer.astype("float64")
    x_on_device = layer.ops.array(x)
    step = layer.step if isinstance(layer, RandomLayer) else 0

    def forward() -> np.ndarray:
        if isinstance(layer, RandomLayer):
            layer.step = step
        return np.array(layer.ops.numpy(layer.forward(x_on_device, training=training)))

    u = np.random.default_rng(seed + 1).standard_normal(forward().shape)
    forward()
    dx = np.array(layer.ops.numpy(layer.backward(layer.ops.array(u))))
    if dx.shape != x.shape:
        raise GradientError(f"layer {layer.name}: the gradient for an input of shape {x.shape} has shape {dx.shape}")
    tensors = [("input", x_on_device, dx), *_gradients(layer.trainable_parameters, layer)]
    return max(
        _check(f"layer {layer.name}", name, value, gradient, forward, u, layer, tolerance, seed)
        for name, value, gradient in tensors
    )


def check_model(model: Sequential, x: Any, y: Any, tolerance: float = 1e-6, seed: int = 0) -> float:
    """Checks the gradients of a compiled model's loss for the input and all parameters, on a batch x, y.

    Dropout keeps its mask. The model itself is left as it is. Returns the largest relative error; raises GradientError,
    naming layer, tensor and index, if it is too large.
    """
    x = np.array(x, np.float64)
    model.build((None, *x.shape[1:]))
    model = copy.deepcopy(model).astype("float64")
    x_on_device = model.ops.array(x)
    steps = {layer: layer.step for layer in model.chain if isinstance(layer, RandomLayer)}

    def scores() -> Any:
        for layer, step in steps.items():
            layer.step = step
        return model.forward(x_on_device, training=True, scores=True)

    def forward() -> np.ndarray:
        return np.array([model.loss_of(y, scores())[0] + model.penalty()])

    _, dscores = model.loss_of(y, scores())
    dx = np.array(model.ops.numpy(model.backward(dscores, scores=True)))
    model.penalty(gradients=True)
    tensors = [("input", x_on_device, dx), *_gradients(model.trainable_parameters, model)]
    return max(
        _check(f"model {model.name}", name, value, gradient, forward, np.ones(1), model, tolerance, seed)
        for name, value, gradient in tensors
    )


def _gradients(parameters: list[Parameter], owner: Layer | Sequential) -> list[tuple[str, Any, np.ndarray]]:
    return [
        (parameter.name, parameter.value, np.array(owner.ops.numpy(parameter.gradient))) for parameter in parameters
    ]


def _check(
    where: str,
    tensor: str,
    value: Any,
    gradient: np.ndarray,
    forward: Callable[[], np.ndarray],
    u: np.ndarray,
    owner: Layer | Sequential,
    tolerance: float,
    seed: int,
) -> float:
    """Both comparisons for one tensor, which is changed in place and put back."""
    start = np.array(owner.ops.numpy(value))

    def difference(direction: np.ndarray) -> np.ndarray:
        """J v, from two evaluations."""
        value[...] = owner.ops.array(start + STEP * direction)
        above = forward()
        value[...] = owner.ops.array(start - STEP * direction)
        below = forward()
        value[...] = owner.ops.array(start)
        return (above - below) / (2 * STEP)

    def compare(expected: float, got: float, scale: float, what: str) -> float:
        error = abs(expected - got) / max(scale, abs(expected), noise / tolerance, 1e-300)
        if not error <= tolerance:
            raise GradientError(
                f"{where}, {tensor}{what}: backward gives {got:.10g}, the difference quotient {expected:.10g}"
                f" (off by {error:.1e} of the largest gradient of {tensor})"
            )
        return error

    noise = 16 * np.finfo(float).eps * float(np.abs(forward() * u).sum()) / STEP  # of a difference, from rounding
    worst = 0.0
    scale = float(np.abs(gradient[np.isfinite(gradient)]).max(initial=0.0))
    if gradient.size <= SMALL:
        for index in np.ndindex(gradient.shape):
            direction = np.zeros(gradient.shape)
            direction[index] = 1.0
            expected = float((difference(direction) * u).sum())
            worst = max(worst, compare(expected, float(gradient[index]), scale, f"[{', '.join(map(str, index))}]"))
    random = np.random.default_rng(seed + 2)
    for number in range(DIRECTIONS):
        direction = random.standard_normal(gradient.shape)
        got = float((direction * gradient).sum())  # <v, Jᵀu>
        expected = float((difference(direction) * u).sum())  # <J v, u>
        scale = float(np.sqrt((gradient**2).sum()))
        worst = max(worst, compare(expected, got, scale, f" along random direction {number}"))
    return worst

"""The optimizers: for each its formula, its moments, and the numbers its operation takes in a step.

In the formulas η is the learning rate, g the gradient, t the step, from 1 on; moments begin at 0.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import BELOW_ONE, FROM_ZERO, SHARE, check, numbers
from ..ops import Ops
from ..ops.reference import Array
from .base import Optimizer, Options, Rate

if TYPE_CHECKING:
    from typing_extensions import Unpack


def _epsilon(optimizer: Optimizer, epsilon: float | None) -> float:
    """The setting of this name; 10⁻⁷ for None, which it was in Keras 2. ValueError for what is no number from 0 on."""
    if epsilon is None:
        return 1e-7
    check(type(optimizer).__name__, FROM_ZERO, epsilon=epsilon)
    return epsilon


class SGD(Optimizer):
    """v = μ v - η g;  w = w + v, or with Nesterov's look-ahead w = w + μ v - η g  (Polyak, 1964; Sutskever et al., 2013)

    η is the learning rate, g the gradient, μ the momentum; other arguments are those of `Optimizer`. ValueError for a
    momentum that is not from 0 to 1.
    """

    operation, slots = "sgd", ("velocity",)

    def __init__(
        self, learning_rate: Rate = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: "Unpack[Options]"
    ) -> None:
        super().__init__(learning_rate, **options)
        check(type(self).__name__, SHARE, momentum=momentum)
        self.momentum, self.nesterov = momentum, nesterov

    @property
    def moments(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.slots if self.momentum else ()

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        return learning_rate, self.momentum, float(self.nesterov)


class RMSprop(Optimizer):
    """s = ρ s + (1-ρ) g²;  w = w - η g / √(s + ε)  (Tieleman and Hinton, 2012)

    `centered` takes the squared mean of the gradients off s; `momentum` gives the steps a velocity.
    """

    operation, slots = "rmsprop", ("square", "mean", "velocity")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(learning_rate, **options)
        check(type(self).__name__, SHARE, rho=rho, momentum=momentum)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, _epsilon(self, epsilon), centered

    @property
    def moments(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("square", *(("mean",) if self.centered else ()), *(("velocity",) if self.momentum else ()))

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        return learning_rate, self.rho, self.momentum, self.epsilon


class Adagrad(Optimizer):
    """s = s + g²;  w = w - η g / √(s + ε)  (Duchi, Hazan and Singer, 2011); s begins at `initial_accumulator_value`"""

    operation = "adagrad"
    moments = slots = ("square",)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(learning_rate, **options)
        check(type(self).__name__, FROM_ZERO, initial_accumulator_value=initial_accumulator_value)
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, _epsilon(self, epsilon)

    def start(self, w: Array, ops: Ops) -> None:
        super().start(w, ops)
        self.state["square"][...] = self.initial_accumulator_value

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        return learning_rate, self.epsilon


class Adadelta(Optimizer):
    """s = ρ s + (1-ρ) g²;  d = g √(x + ε) / √(s + ε);  x = ρ x + (1-ρ) d²;  w = w - η d  (Zeiler, 2012)"""

    operation = "adadelta"
    moments = slots = ("square", "moved")

    def __init__(
        self, learning_rate: Rate = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **options: "Unpack[Options]"
    ) -> None:
        super().__init__(learning_rate, **options)
        check(type(self).__name__, SHARE, rho=rho)
        self.rho, self.epsilon = rho, _epsilon(self, epsilon)

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        return learning_rate, self.rho, self.epsilon


class _Moments(Optimizer):
    """What follows a running mean of the gradients, with β₁, and of their size, with β₂."""

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(learning_rate, **options)
        check(type(self).__name__, BELOW_ONE, beta_1=beta_1, beta_2=beta_2)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, _epsilon(self, epsilon)


class Adam(_Moments):
    """m = β₁ m + (1-β₁) g;  v = β₂ v + (1-β₂) g²;  w = w - η √(1-β₂ᵗ) / (1-β₁ᵗ) · m / (√v + ε)  (Kingma and Ba, 2014)

    η is the learning rate, g the gradient, t the step, from 1 on; other arguments are those of `Optimizer`. `amsgrad`
    divides by the root of the largest v so far (Reddi, Kale and Kumar, 2018).
    """

    operation, slots = "adam", ("m", "v", "top")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.amsgrad = amsgrad

    @property
    def moments(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.slots if self.amsgrad else self.slots[:2]

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        corrections = math.sqrt(1 - self.beta_2**self.iterations) / (1 - self.beta_1**self.iterations)
        return learning_rate * corrections, self.beta_1, self.beta_2, self.epsilon


class AdamW(Adam):
    """Adam with weight decay (Loshchilov and Hutter, 2017), which any optimizer here can have; it differs in the defaults."""

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        if weight_decay is None:
            raise ValueError("AdamW: weight_decay must be a number, not None; Adam has none")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)


class Nadam(_Moments):
    """Adam with Nesterov's look-ahead (Dozat, 2016): m and v as there, and

    w = w - η (u₊ m / (1 - Π u₊) + (1-u) g / (1 - Π)) / (√(v / (1-β₂ᵗ)) + ε), with u = β₁ (1 - 0.96ᵗ / 2), u₊ that of
    the next step, and Π the product of all u so far.
    """

    operation = "nadam"
    moments = slots = ("m", "v")

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        t = self.iterations
        now, following = self.beta_1 * (1 - 0.5 * 0.96**t), self.beta_1 * (1 - 0.5 * 0.96 ** (t + 1))
        product = self.beta_1**t * _WARMTH[min(t, len(_WARMTH)) - 1]
        return (
            learning_rate * following / (1 - product * following), learning_rate * (1 - now) / (1 - product),
            1 / (1 - self.beta_2**t), self.beta_1, self.beta_2, self.epsilon,
        )  # fmt: skip


_WARMTH: list[float] = np.cumprod(1 - 0.5 * 0.96 ** np.arange(1, 1001)).tolist()  # which has converged at its end


class Adamax(_Moments):
    """m = β₁ m + (1-β₁) g;  u = max(β₂ u, |g|);  w = w - η / (1-β₁ᵗ) · m / (u + ε)  (Kingma and Ba, 2014, section 7)"""

    operation = "adamax"
    moments = slots = ("m", "u")

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        return learning_rate / (1 - self.beta_1**self.iterations), self.beta_1, self.beta_2, self.epsilon


class Lion(Optimizer):
    """w = w - η sign(β₁ m + (1-β₁) g);  m = β₂ m + (1-β₂) g  (Chen et al., 2023): all weights move by η in every step

    ValueError for a β₁ that is not above 0, or one of both that is above 1.
    """

    operation = "lion"
    moments = slots = ("m",)

    def __init__(
        self, learning_rate: Rate = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **options: "Unpack[Options]"
    ) -> None:
        super().__init__(learning_rate, **options)
        check(type(self).__name__, SHARE, beta_1=beta_1, beta_2=beta_2)
        if beta_1 == 0:
            raise ValueError("Lion: beta_1 must be above 0, or nothing but the sign of each gradient is left")
        self.beta_1, self.beta_2 = beta_1, beta_2

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        return learning_rate, self.beta_1, self.beta_2


class Ftrl(Optimizer):
    """Follow the regularized leader (McMahan et al., 2013), which sets weights to 0 if λ₁ is above it:

    n = n₋ + g²;  z = z + g + 2 λₛ w - (nᵖ - n₋ᵖ) / η · w;  w = (clip(z, -λ₁, λ₁) - z) / ((β + nᵖ) / η + 2 λ₂)

    with p = -`learning_rate_power`, and λ₁, λ₂ and λₛ for `l1_…`, `l2_…` and `l2_shrinkage_regularization_strength`; n begins
    at `initial_accumulator_value`. ValueError for a power above 0, another number below 0, and a learning rate of 0 in a step.
    """

    operation = "ftrl"
    moments = slots = ("accumulator", "linear")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: "Unpack[Options]",
    ) -> None:
        super().__init__(learning_rate, **options)
        check(
            type(self).__name__,
            FROM_ZERO,
            initial_accumulator_value=initial_accumulator_value,
            l1_regularization_strength=l1_regularization_strength,
            l2_regularization_strength=l2_regularization_strength,
            l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength,
            beta=beta,
        )
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        kind = numbers("a number up to 0", lambda power: power <= 0)
        check("Ftrl", kind, learning_rate_power=learning_rate_power)

    def start(self, w: Array, ops: Ops) -> None:
        super().start(w, ops)
        self.state["accumulator"][...] = self.initial_accumulator_value

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        if learning_rate == 0:
            raise ValueError(
                f"Ftrl: the learning rate must be above 0, as it is divided by, but is 0 in step {self.iterations}"
            )
        return (
            learning_rate, -self.learning_rate_power, self.l1_regularization_strength, self.l2_regularization_strength,
            self.l2_shrinkage_regularization_strength, self.beta,
        )  # fmt: skip

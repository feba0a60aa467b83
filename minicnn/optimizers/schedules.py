"""Learning-rate schedules: functions of the training step, to be given to an optimizer in place of a number.

Step 0 is the first. The formulas, names and defaults are those of Keras 3, but for `OneCycle`, which it does not have.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..checks import ABOVE_ZERO, NUMBER, check, is_number, numbers, or_none
from ..numbers import Number, Numbers
from ..registered import Configured, class_of, description, known


class LearningRateSchedule(Configured):
    """Base class: `schedule(step)` is the learning rate of step 0, 1, 2, …, and of an array of steps that of each.

    A schedule of your own defines `__call__`, and keeps its arguments as attributes of the same names, or defines
    `get_config`.
    """

    def __call__(self, step: Any) -> Any:
        if np.ndim(step):
            return np.vectorize(self.at, [float])(step).view(Numbers)
        return Number(self.at(step))

    def at(self, step: float) -> float:
        """What `__call__` gives for one step."""
        raise TypeError(f"{type(self).__name__} does not define __call__(step)")


class ExponentialDecay(LearningRateSchedule):
    """η · decay_rate^(step / decay_steps), the exponent rounded down if `staircase`. ValueError for no decay_steps."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        check(type(self).__name__, NUMBER, initial_learning_rate=initial_learning_rate, decay_rate=decay_rate)
        check(type(self).__name__, ABOVE_ZERO, decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def at(self, step: float) -> float:
        return self.initial_learning_rate * self.decay_rate ** self.passed(step)

    def passed(self, step: float) -> float:
        """How many times `decay_steps` steps have passed."""
        share = step / self.decay_steps
        return math.floor(share) if self.staircase else share


class InverseTimeDecay(ExponentialDecay):
    """η / (1 + decay_rate · step / decay_steps), the quotient rounded down if `staircase`."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def at(self, step: float) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self.passed(step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and with step boundaries[0], then values[1] up to boundaries[1], …, and values[-1] after the last.

    ValueError unless there is one value more than boundaries, and these increase.
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        lists = all(np.iterable(given) and all(map(is_number, given)) for given in (boundaries, values))
        if not lists or len(boundaries) != len(values) - 1 or list(boundaries) != sorted(boundaries):
            raise ValueError(
                f"PiecewiseConstantDecay needs increasing boundaries and one value more, not {boundaries} and {values}"
            )
        self.boundaries, self.values, self.name = list(boundaries), list(values), name

    def at(self, step: float) -> float:
        return float(self.values[bisect_left(self.boundaries, step)])


class PolynomialDecay(LearningRateSchedule):
    """(η - end) · (1 - step / decay_steps)^power + end, up to decay_steps, and `end_learning_rate` from there on.

    With `cycle`, decay_steps is doubled, tripled, … as soon as it is passed, so that the rate rises again.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        rates = {"initial_learning_rate": initial_learning_rate, "end_learning_rate": end_learning_rate}
        check("PolynomialDecay", NUMBER, **rates, power=power)
        check("PolynomialDecay", ABOVE_ZERO, decay_steps=decay_steps)
        self.initial_learning_rate, self.end_learning_rate = initial_learning_rate, end_learning_rate
        self.decay_steps, self.power, self.cycle, self.name = decay_steps, power, cycle, name

    def at(self, step: float) -> float:
        times = max(1, math.ceil(step / self.decay_steps)) if self.cycle else 1
        share = min(1.0, step / (self.decay_steps * times))
        return (self.initial_learning_rate - self.end_learning_rate) * (
            1 - share
        ) ** self.power + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """From η down to alpha · η over `decay_steps`, along half a cosine (Loshchilov and Hutter, 2016).

    With `warmup_target` the rate first goes in a straight line from η to that, over `warmup_steps`, and falls from there.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        settings = {"initial_learning_rate": initial_learning_rate, "alpha": alpha, "warmup_steps": warmup_steps}
        check("CosineDecay", NUMBER, **settings)
        check("CosineDecay", or_none(NUMBER), warmup_target=warmup_target)
        check("CosineDecay", ABOVE_ZERO, decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.alpha, self.name = alpha, name
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def at(self, step: float) -> float:
        start, top = self.initial_learning_rate, self.warmup_target
        if top is None:
            return _cosine(start, self.alpha * start, step / self.decay_steps)
        if step < self.warmup_steps:
            return start + (top - start) * step / self.warmup_steps
        return _cosine(top, self.alpha * top, (step - self.warmup_steps) / self.decay_steps)


class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine from η down to alpha · η again and again (Loshchilov and Hutter, 2016).

    The first takes `first_decay_steps`; each of the next takes t_mul times as many steps as the one before, and comes
    from m_mul times its height above alpha · η. ValueError for a t_mul below 1, with which it would never get far.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        check("CosineDecayRestarts", NUMBER, initial_learning_rate=initial_learning_rate, m_mul=m_mul, alpha=alpha)
        check("CosineDecayRestarts", ABOVE_ZERO, first_decay_steps=first_decay_steps)
        check("CosineDecayRestarts", numbers("a number from 1 on", lambda factor: factor >= 1), t_mul=t_mul)
        self.initial_learning_rate, self.first_decay_steps = initial_learning_rate, first_decay_steps
        self.t_mul, self.m_mul, self.alpha, self.name = t_mul, m_mul, alpha, name

    def at(self, step: float) -> float:
        restarts, share = divmod(step / self.first_decay_steps, 1)
        if self.t_mul > 1:
            restarts, share, length = 0, step / self.first_decay_steps, 1.0
            while share >= length:
                restarts, share, length = restarts + 1, share - length, length * self.t_mul
            share /= length
        height = (1 - self.alpha) * self.m_mul**restarts
        return self.initial_learning_rate * (_cosine(height, 0.0, share) + self.alpha)


class OneCycle(LearningRateSchedule):
    """Up to `peak` over the first `warmup` share of the steps, then down to nearly 0, both along half a cosine.

    It starts at a 25th of the peak. Smith, "Super-convergence" (2017), in the form in which it is mostly used today.
    """

    def __init__(self, peak: float, steps: int, warmup: float = 0.3) -> None:
        check("OneCycle", NUMBER, peak=peak, steps=steps, warmup=warmup)
        if steps < 1 or not 0 < warmup < 1:
            raise ValueError(
                f"OneCycle needs at least one step and a warm-up share between 0 and 1, not {steps} and {warmup}"
            )
        self.peak, self.steps, self.warmup = peak, steps, warmup

    def at(self, step: float) -> float:
        start, end, top = self.peak / 25, self.peak / 250_000, self.warmup * self.steps
        if step < top:
            return _cosine(start, self.peak, step / top)
        return _cosine(self.peak, end, (step - top) / (self.steps - top))


def _cosine(begin: float, end: float, share: float) -> float:
    """Along half a cosine from one number to another, which stays from share 1 on."""
    return end + (begin - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2


CLASSES: dict[str, type[LearningRateSchedule]] = {
    cls.__name__: cls
    for cls in (
        CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay, OneCycle, PiecewiseConstantDecay, PolynomialDecay,
    )
}  # fmt: skip


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """A schedule in types that JSON has, for `deserialize`."""
    return description(schedule)


def deserialize(config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> LearningRateSchedule:
    """A schedule from what `serialize` returned; ValueError for a class that is neither ours nor in custom_objects."""
    name = class_of(config)
    cls = known(custom_objects).get(name) or CLASSES.get(name)
    if cls is None:
        raise ValueError(
            f"unknown schedule {name!r}; expected one of {', '.join(CLASSES)}, or pass it in custom_objects"
        )
    return cls.from_config(config["config"])


__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "LearningRateSchedule", "OneCycle",
    "PiecewiseConstantDecay", "PolynomialDecay", "deserialize", "serialize",
]  # fmt: skip

"""Learning-rate schedules: functions of the training step, to be given to an optimizer in place of a number."""

import math
from typing import Any


class LearningRateSchedule:
    """Base class: `schedule(step)` is the learning rate of step 0, 1, 2, …"""

    def __call__(self, step: int) -> float:
        raise TypeError(f"{type(self).__name__} does not define __call__(step)")

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))


class OneCycle(LearningRateSchedule):
    """Up to `peak` over the first `warmup` share of the steps, then down to nearly 0, both along half a cosine.

    It starts at a 25th of the peak. Smith, "Super-convergence" (2017), in the form in which it is mostly used today.
    """

    def __init__(self, peak: float, steps: int, warmup: float = 0.3) -> None:
        if steps < 1 or not 0 < warmup < 1:
            raise ValueError(
                f"OneCycle needs at least one step and a warm-up share between 0 and 1, not {steps} and {warmup}"
            )
        self.peak, self.steps, self.warmup = peak, steps, warmup

    def __call__(self, step: int) -> float:
        start, end, top = self.peak / 25, self.peak / 250_000, self.warmup * self.steps
        if step < top:
            return self._cosine(start, self.peak, step / top)
        return self._cosine(self.peak, end, min(1.0, (step - top) / (self.steps - top)))

    @staticmethod
    def _cosine(begin: float, end: float, share: float) -> float:
        return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


CLASSES = {cls.__name__: cls for cls in (OneCycle,)}

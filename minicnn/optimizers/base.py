"""What all optimizers share: the learning rate, clipping, weight decay, averages of the weights, and moments.

An optimizer works on one flat array that holds all parameters of a model, and keeps moments of the same size.
"""

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from ..checks import COUNT, FROM_ZERO, SHARE, check, check_begun, numbers, or_none
from ..ops import Ops, get_ops
from ..ops.reference import Array
from . import schedules
from .schedules import LearningRateSchedule

if TYPE_CHECKING:
    from ..layers.parameter import Parameter

Rate = float | LearningRateSchedule | Callable[[], float]


class CurrentRate(float):
    """A learning rate as an optimizer shows it: a number that can be assigned to, as Keras' variable can."""

    optimizer: "Optimizer"

    def assign(self, rate: Rate) -> None:
        self.optimizer.learning_rate = rate

    def numpy(self) -> np.float32:
        return np.float32(self)

    @property
    def value(self) -> np.float32:
        return self.numpy()

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (float(self),)  # a copy is a number


class Count(int):
    """The number of steps as an optimizer shows it: it can be asked as Keras' variable can."""

    def numpy(self) -> np.int64:
        return np.int64(self)

    @property
    def value(self) -> np.int64:
        return self.numpy()


class Options(TypedDict, total=False):
    """The arguments that every optimizer takes; see `Optimizer`."""

    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: None
    gradient_accumulation_steps: None
    name: str | None


class Operation(NamedTuple):
    """A part of a step: the name of an operation of `ops`, the arrays of each call, and the numbers that follow them."""

    name: str
    calls: Sequence[tuple[Array | None, ...]]
    settings: Callable[[float], tuple[float, ...]]  # of the learning rate, after `iterations` was counted up


class Optimizer:
    """Base class; `update(w, g)` makes one step from parameters w along gradients g, both flat, in place.

    `learning_rate` is a number, a schedule, or a function without arguments. Before the step, gradients are clipped by one
    of these: `clipnorm`, the largest Euclidean norm of the gradient of one parameter; `global_clipnorm`, that of all
    together; `clipvalue`, the largest absolute value. Then `weight_decay` takes the share weight_decay · learning_rate off
    the parameters (Loshchilov and Hutter, 2017). After the step, `use_ema` keeps averages of the parameters,
    a = ema_momentum · a + (1 - ema_momentum) · w, which replace them every `ema_overwrite_frequency` steps, if that is
    given, and in `finalize_variable_values`. ValueError for settings that mean nothing, TypeError for unknown ones.

    An optimizer of your own defines `apply`, and names its moments; it begins with `super().__init__(learning_rate)`.
    """

    operation = ""  # of `ops`: it takes w, g, the moments named by `slots`, None if not kept, and the `settings`
    slots: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()  # names of the arrays kept from step to step
    built = False  # by `build`

    def __init__(
        self,
        learning_rate: Rate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: None = None,
        gradient_accumulation_steps: None = None,
        name: str | None = None,
        **unknown: Any,
    ) -> None:
        kind = type(self).__name__
        if unknown.pop("decay", None):
            warnings.warn(f"{kind}: decay is ignored, as in Keras 3; {NO_DECAY}", stacklevel=3)
        if unknown:
            raise TypeError(f"{kind}: {_UNKNOWN.get(min(unknown), f'there is no argument {min(unknown)!r}')}")
        for option, value in (
            ("loss_scale_factor", loss_scale_factor),
            ("gradient_accumulation_steps", gradient_accumulation_steps),
        ):
            if value is not None:
                raise ValueError(f"{kind}: {option} is not supported, it can only be None, not {value!r}")
        self.name = name or kind.lower()
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema, self.ema_momentum = use_ema, ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        clipping = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        check(kind, or_none(FROM_ZERO), weight_decay=weight_decay, **clipping)
        if sum(value is not None for value in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(
                f"{kind}: only one of clipnorm, clipvalue and global_clipnorm can be given, "
                f"not {clipnorm}, {clipvalue} and {global_clipnorm}"
            )
        check(kind, SHARE, ema_momentum=ema_momentum)
        check(kind, or_none(COUNT), ema_overwrite_frequency=ema_overwrite_frequency)
        self.iterations = 0
        self.ops = get_ops("cpu")
        self.state: dict[str, Array] = {}
        self.spans: list[tuple[Parameter, slice]] = []  # where each parameter lies in w; a model says it
        self.excluded: tuple[tuple[Any, ...], tuple[str, ...]] = (), ()

    def __init_subclass__(cls) -> None:
        """Shows the arguments of this class in the place of `**options`; TypeError for what Keras would call and nobody does."""
        for name in ("update_step", "apply_gradients", "get_gradients"):
            if name in vars(cls):
                raise TypeError(f"optimizer class {cls.__name__}: expected apply(w, g, learning_rate), got {name}")
        if "__init__" in vars(cls):
            own = list(inspect.signature(cls.__init__).parameters.values())[1:]
            if own and own[-1].name == "options":
                common = list(inspect.signature(Optimizer.__init__).parameters.values())[2:-1]
                own[-1:] = [p.replace(kind=p.KEYWORD_ONLY) for p in common if p.name not in {q.name for q in own}]
            cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]

    @property
    def iterations(self) -> Count:
        """How many steps were made."""
        return Count(self._iterations)

    @iterations.setter
    def iterations(self, count: int) -> None:
        self._iterations = int(count)

    @property
    def variables(self) -> list[Any]:
        """The number of steps, the learning rate and the moments, parameter by parameter: arrays that can be written to."""
        moments = [
            moment[part].reshape(parameter.shape) for moment in self.state.values() for parameter, part in self.spans
        ]
        return [self.iterations, self.learning_rate, *moments]

    @property
    def learning_rate(self) -> CurrentRate:
        """That of the next step; what is assigned may also be a schedule or a function."""
        rate = self._learning_rate
        if callable(rate):
            rate = rate(self.iterations) if isinstance(rate, LearningRateSchedule) else rate()
        current = CurrentRate(rate)
        current.optimizer = self
        return current

    @learning_rate.setter
    def learning_rate(self, rate: Rate) -> None:
        """ValueError for what is no rate; TypeError for a number where a schedule was chosen, which says the rate."""
        kind = type(self).__name__
        if callable(rate):
            self._learning_rate: Rate = rate
            return
        if isinstance(getattr(self, "_learning_rate", None), LearningRateSchedule):
            raise TypeError(f"{kind}: the learning rate is set by a schedule, and cannot become {rate!r} beside it")
        words = "a number from 0 on, or a schedule"
        check(kind, numbers(words, lambda rate: rate >= 0), learning_rate=rate)
        self._learning_rate = float(rate)

    @property
    def lr(self) -> Any:
        if "lr" in self.__dict__:
            return self.__dict__["lr"]
        raise AttributeError(f"{type(self).__name__}: {_UNKNOWN['lr']}")

    @lr.setter
    def lr(self, rate: Any) -> None:
        if type(self).__module__.partition(".")[0] == __package__.partition(".")[0]:
            raise AttributeError(f"{type(self).__name__}: {_UNKNOWN['lr']}")
        self.__dict__["lr"] = rate  # an optimizer of your own may call something so

    def __getattr__(self, name: str) -> Any:
        """Says what there is in the place of what Keras has, or had."""
        check_begun(self, "_iterations", name)
        if name in _UNKNOWN:
            raise AttributeError(f"{type(self).__name__}: {_UNKNOWN[name]}")
        return object.__getattribute__(self, name)  # raises what a property did

    # ------------------------------------------------------------------ a step

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of all arrays in `state`."""
        return (*self.moments, *(("average",) if self.use_ema else ()))

    def start(self, w: Array, ops: Ops) -> None:
        """Starts the moments of parameters w: at zero, and averages at w."""
        self.ops = ops
        self.state = {name: ops.zeros(w.shape, w.dtype) for name in self.kept}
        if self.use_ema:
            self.state["average"][...] = w

    def prepare(self, w: Array, ops: Ops) -> None:
        """Starts those moments that are not there, or are those of other parameters."""
        found = {name: moment for name, moment in self.state.items() if moment.shape == w.shape}
        self.ops = ops
        if set(found) != set(self.kept):
            self.start(w, ops)
            self.state = {name: found.get(name, moment) for name, moment in self.state.items()}

    def update(self, w: Array, g: Array) -> None:
        """One step: clips g, decays w, applies the step and averages."""
        if any(part.stop > w.size for _, part in self.spans):
            self.spans = []
        self.prepare(w, self.ops)
        rate = float(self.learning_rate)  # CuPy takes no subclass of float
        self.iterations += 1
        self._do(self._before(w, g), rate)
        self.apply(w, g, rate)
        self._do(self._after(w), rate)

    def apply(self, w: Array, g: Array, learning_rate: float) -> None:
        """The step alone; `iterations` is its number, from 1 on."""
        if not self.operation:
            raise TypeError(f"{type(self).__name__} does not define apply(w, g, learning_rate)")
        self._do([self._step(w, g)], learning_rate)

    def settings(self, learning_rate: float) -> tuple[float, ...]:
        """The numbers that `operation` takes after the arrays, in step number `iterations`."""
        raise TypeError(f"{type(self).__name__} does not define settings(learning_rate)")

    @property
    def native(self) -> bool:
        """Whether a step is its `operations` and nothing else: not if a subclass has an `update` or `apply` of its own."""
        kind = type(self)
        return bool(self.operation) and kind.update is Optimizer.update and kind.apply is Optimizer.apply

    def operations(self, w: Array, g: Array) -> list[Operation]:
        """All that a step does, in order, if it is `native`."""
        return [*self._before(w, g), self._step(w, g), *self._after(w)]

    @property
    def parts(self) -> tuple[Any, ...]:
        """What the list of operations depends on."""
        return (
            self.kept, bool(self.clipnorm), bool(self.global_clipnorm), bool(self.clipvalue), bool(self.weight_decay), self.excluded,
        )  # fmt: skip

    def _do(self, operations: list[Operation], rate: float) -> None:
        for name, calls, settings in operations:
            for arrays in calls:
                getattr(self.ops, name)(*arrays, *settings(rate))

    def _before(self, w: Array, g: Array) -> list[Operation]:
        found: list[Operation] = []
        if self.clipnorm:
            parts = [(g[part],) for _, part in self.spans] or [(g,)]
            found.append(Operation("clip_norm", parts, lambda rate: (self.clipnorm or 0.0,)))
        elif self.global_clipnorm:
            found.append(Operation("clip_norm", [(g,)], lambda rate: (self.global_clipnorm or 0.0,)))
        elif self.clipvalue:
            found.append(Operation("clip_value", [(g,)], lambda rate: (self.clipvalue or 0.0,)))
        if self.weight_decay:
            parts = [(w[part],) for parameter, part in self.spans if self.decays(parameter)]
            parts = [(w,)] if len(parts) == len(self.spans) else parts
            found.append(Operation("decay", parts, lambda rate: (rate * (self.weight_decay or 0.0),)))
        return found

    def _step(self, w: Array, g: Array) -> Operation:
        return Operation(self.operation, [(w, g, *map(self.state.get, self.slots))], self.settings)

    def _after(self, w: Array) -> list[Operation]:
        return [Operation("moving_average", [(w, self.state["average"])], self._averaging)] if self.use_ema else []

    def _averaging(self, rate: float) -> tuple[float, float]:
        """The momentum, 0 in the first step, and whether the average replaces the parameters."""
        frequency = self.ema_overwrite_frequency
        momentum = self.ema_momentum if self.iterations > 1 else 0.0
        return momentum, float(bool(frequency) and self.iterations % (frequency or 1) == 0)

    # ------------------------------------------------------------------ as in Keras

    def build(self, variables: "Iterable[Parameter]") -> None:
        """Has `load_weights` set this optimizer before its first step too; the moments themselves begin with that."""
        self.built = True

    def exclude_from_weight_decay(
        self, var_list: "Iterable[Parameter] | None" = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Lets `weight_decay` spare these parameters, and those in whose name ("kernel", "bias", …) one of the words occurs.

        The words are regular expressions. What an earlier call said does not hold any more.
        """
        self.excluded = tuple(var_list or ()), tuple(var_names or ())

    def decays(self, parameter: "Parameter") -> bool:
        """Whether weight decay is for this parameter too."""
        spared, words = self.excluded
        name = parameter.name.rpartition("/")[2]
        return not (any(parameter is one for one in spared) or any(re.search(word, name) for word in words))

    def finalize_variable_values(self, var_list: "Iterable[Parameter]") -> None:
        """With `use_ema`, replaces these parameters by their averages; `fit` ends with this."""
        chosen = {id(parameter) for parameter in var_list}
        if self.use_ema and "average" in self.state:
            for parameter, part in self.spans:
                if id(parameter) in chosen:
                    parameter.value = self.state["average"][part].reshape(parameter.shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in types that JSON has. ValueError for a learning rate that is a function."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            config: dict[str, Any] = {"learning_rate": schedules.serialize(rate)}
        elif callable(rate):
            raise ValueError(
                f"{type(self).__name__}: a learning rate that is a function cannot be saved; use a schedule"
            )
        else:
            config = {"learning_rate": rate}
        accepted = inspect.signature(type(self)).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        settings = {name: value for name, value in vars(self).items() if name not in _NO_ARGUMENTS}
        return config | {name: value for name, value in settings.items() if takes_any or name in accepted}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Optimizer":
        """An optimizer from what `get_config` returned; `custom_objects` has the classes of schedules of your own."""
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            config = config | {"learning_rate": schedules.deserialize(rate, custom_objects)}
        return cls(**config)


NO_DECAY = "give learning_rate a schedule: ExponentialDecay or InverseTimeDecay"
_NO_ARGUMENTS = {"_learning_rate", "_iterations", "state", "ops", "spans", "excluded", "built"}
_UNKNOWN = {
    "lr": "lr is called learning_rate today",
    "decay": f"there is no decay any more; {NO_DECAY}",
    "get_weights": "Keras 3 has dropped get_weights, use variables",
    "weights": "Keras 3 has dropped weights, use variables",
    "set_weights": "Keras 3 has dropped set_weights, use model.save and load_model",
    **dict.fromkeys(
        ("apply_gradients", "minimize", "compute_gradients", "get_gradients", "get_updates"),
        "a model has its gradients inside; for training loops of your own there is train_on_batch",
    ),
}

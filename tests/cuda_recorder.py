"""A stand-in for a GPU and its graphs, stricter than the emulator alone: what is captured is written down, not run.

Arrays of the device are of a class of their own. They do not meet those of the host, as CuPy's do not; while a step is
captured, neither numbers nor copies of them go to and fro, and what NumPy would compute is written down as CuPy's kernels are
captured. A replay does what was written, in memory that holds no numbers to begin with.
"""

from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
from cuda_emulator import EmulatedKernels, emulated_ops

TAPE = SimpleNamespace(calls=None)  # (what it is, a function that does it) of all that is written down, while it is
CREATING = ("zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "arange", "eye", "indices")
MOVING = ("array", "asarray", "ascontiguousarray")


def recording():
    return TAPE.calls is not None


def do(call, what="array code"):
    TAPE.calls.append((what, call)) if recording() else call()


def plain(value):
    """The same without the class."""
    if isinstance(value, tuple | list):
        return type(value)(plain(one) for one in value)
    return value.view(np.ndarray) if isinstance(value, DeviceArray) else value


def check(values):
    for value in values:
        number = isinstance(value, int | float | complex) and not isinstance(value, np.generic)
        if number and type(value) not in (bool, int, float, complex):
            raise TypeError(f"CuPy takes no subclass of Python's numbers: {type(value)}")
        if isinstance(value, np.ndarray) and not isinstance(value, DeviceArray) and value.ndim:
            raise TypeError("an array of the host meets one of the device")


def given(result, again):
    """The result as an array of the device; `again` computes it when the step is replayed."""
    if not isinstance(result, np.ndarray | np.generic):
        return result
    result = np.asarray(result)
    if recording():
        do(lambda: np.copyto(result, again(), casting="unsafe"))
    return result.view(DeviceArray)


def of(result, source, again):
    """The same for what may be a view of the source, or several of them."""
    if isinstance(result, list):
        return [of(one, source, lambda k=k: again()[k]) for k, one in enumerate(result)]
    view = isinstance(result, np.ndarray) and np.may_share_memory(result, source)
    return result.view(DeviceArray) if view else given(result, again)


class DeviceArray(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        check(inputs)
        assert not (recording() and ufunc is np.matmul), "cuBLAS refuses to be captured"
        call = partial(getattr(ufunc, method), *plain(inputs), **options)
        if out is not None or method == "at":
            call = partial(call, **({} if out is None else {"out": plain(out)}))
            do(call)
            return None if out is None else out[0]
        with np.errstate(all="ignore"):
            return given(call(), call)

    def __array_function__(self, function, types, arguments, options):
        if not all(issubclass(one, np.ndarray) for one in types):
            return NotImplemented
        assert not (recording() and function in (np.stack, np.concatenate)), (
            "CuPy uploads the addresses of what it joins"
        )
        check(arguments)
        call = partial(function, *plain(arguments), **{name: plain(value) for name, value in options.items()})
        if options.get("out") is not None:
            do(call)
            return options["out"]
        with np.errstate(all="ignore"):
            return of(call(), self.view(np.ndarray), call)

    def __getitem__(self, key):
        found = self.view(np.ndarray)[plain(key)]
        if not isinstance(found, np.ndarray) and recording():
            found = self.view(np.ndarray)[(*(key if isinstance(key, tuple) else (key,)), ...)]
        if not isinstance(found, np.ndarray):
            return found
        return of(found, self.view(np.ndarray), lambda: self.view(np.ndarray)[plain(key)])

    def __setitem__(self, key, value):
        check([value])
        call = partial(self.view(np.ndarray).__setitem__, plain(key), plain(value))
        do(call)

    def set(self, values):
        assert type(values) is np.ndarray and not recording(), "the host moves numbers to the device"
        assert (values.shape, values.dtype) == (self.shape, self.dtype)
        self.view(np.ndarray)[...] = values

    def fill(self, value):
        self[...] = value

    def astype(self, *arguments, **options):
        call = partial(self.view(np.ndarray).astype, *arguments, **options)
        with np.errstate(all="ignore"):
            return of(call(), self.view(np.ndarray), call)

    def reshape(self, *arguments):
        call = partial(self.view(np.ndarray).reshape, *arguments)
        return of(call(), self.view(np.ndarray), call)

    def copy(self, *arguments):
        return given(self.view(np.ndarray).copy(), self.view(np.ndarray).copy)


def _looks(name):
    look = getattr(np.ndarray, name)

    def call(self, *arguments):
        assert not recording(), "the host asks for a number of the device"
        return look(self.view(np.ndarray), *arguments)

    return call


for _name in ("__float__", "__int__", "__bool__", "__index__", "item", "tolist"):
    setattr(DeviceArray, _name, _looks(_name))


def _created(name):
    def call(*arguments, **options):
        call = partial(getattr(np, name), *plain(arguments), **options)
        return given(call(), call)

    return call


def _moved(name):
    def call(values, *arguments, **options):
        if isinstance(values, DeviceArray):
            call = partial(getattr(np, name), values.view(np.ndarray), *arguments, **options)
            return of(call(), values.view(np.ndarray), call)
        assert not recording(), "the host moves numbers to the device"
        return np.array(values, *arguments, **options | {"order": "C"}).view(DeviceArray)

    return call


def _as_strided(x, shape, strides):
    return np.lib.stride_tricks.as_strided(x.view(np.ndarray), shape, strides).view(DeviceArray)


def _empty(shape, dtype=float):
    """Memory nobody has written to holds no numbers, in every step anew."""
    array = np.empty(shape, dtype)
    poison = partial(array.reshape(-1).view(np.uint8).fill, 0xFF)
    do(poison, "")
    return array.view(DeviceArray)


def _asnumpy(values):
    assert not recording(), "the host asks for numbers of the device"
    return np.array(values.view(np.ndarray))


class RecordingKernels(EmulatedKernels):
    captured = replayed = 0
    early = False  # whether what may run beside the rest does so as early as it may, or as late
    waiting = ()  # such work
    step = ()  # what the last captured one consists of
    refused = None  # an exception that a capture ends with

    def launch(self, file, name, dtype, grid, block, arguments, shared=0, **macros):
        for argument in arguments:
            assert isinstance(argument, DeviceArray) or not isinstance(argument, np.ndarray), (
                f"{name}: an array of the host"
            )
        call = partial(super().launch, file, name, dtype, grid, block, plain(arguments), shared, **macros)
        do(call, name)

    def mark(self):
        return len(TAPE.calls) if recording() else None

    @contextmanager
    def beside(self, mark):
        if not recording():
            yield
            return
        main, TAPE.calls = TAPE.calls, []
        try:
            yield
        finally:
            TAPE.calls, side = main, TAPE.calls
            if self.early:
                main[mark:mark] = side
            else:
                self.waiting = [*self.waiting, *side]

    def join(self):
        if recording():
            TAPE.calls += self.waiting
            self.waiting = ()

    def capture(self, step):
        TAPE.calls = calls = []
        self.waiting = ()
        try:
            step()
            if self.refused:
                raise self.refused
        finally:
            TAPE.calls = None
        assert not self.waiting, "a graph ends with nothing left beside it"
        self.captured += 1
        self.step = [what for what, _ in calls if what]

        def replay():
            self.replayed += 1
            for _, call in calls:
                call()

        return replay


def recording_ops():
    """GpuOps on the stand-in, in full precision."""
    ops = emulated_ops()
    made = {name: _created(name) for name in CREATING} | {name: _moved(name) for name in MOVING}
    made["lib"] = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=_as_strided))  # the others look at numbers
    ops.xp = SimpleNamespace(**{**vars(np), **made, "empty": _empty, "asnumpy": _asnumpy})
    ops.kernels = RecordingKernels()
    return ops

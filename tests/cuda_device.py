"""The operations of the GPU for tests that have NumPy arrays."""

import numpy as np


class OnDevice:
    """Operations whose arrays are NumPy's: they go to the device and come back, those that are changed in place too.

    What an operation saves for its gradient stays where it is.
    """

    def __init__(self, ops):
        self.ops = ops

    def __getattr__(self, name):
        found = getattr(self.ops, name)
        if not callable(found):
            return found

        def call(*arguments):
            moved = [self.ops.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
            moved = [(*a[:1], self.ops.array(a[1]), *a[2:]) if _is_key(a) else a for a in moved]
            result = found(*moved)
            for argument, there in zip(arguments, moved, strict=True):
                if isinstance(argument, np.ndarray):
                    argument[...] = self.ops.numpy(there)
            return tuple(map(self.back, result)) if isinstance(result, tuple) else self.back(result)

        return call

    def back(self, value):
        return self.ops.numpy(value) if hasattr(value, "dtype") and value.ndim else value


def _is_key(argument):
    """(seed, step, layer) with an array for the step"""
    return isinstance(argument, tuple) and len(argument) == 3 and isinstance(argument[1], np.ndarray)

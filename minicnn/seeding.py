"""Where randomness starts: one seed, from which every initializer, dropout layer and shuffle takes a seed of its own.

`set_random_seed(7)` before building a model makes the whole run repeatable to the bit; without it, every run differs.
"""

import random

import numpy as np

_sequence = np.random.SeedSequence()


def set_random_seed(seed: int) -> None:
    """Makes everything random that follows a function of `seed`, an integer from 0 on: also what `random` and NumPy draw.

    ValueError for what is no such number.
    """
    global _sequence
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"a seed is an integer from 0 on, not {seed!r}")
    _sequence = np.random.SeedSequence(int(seed))
    random.seed(int(seed))
    np.random.seed(int(seed) % 2**32)


def generator(seed: int, number: int) -> np.random.Generator:
    """NumPy's Philox, keyed by a 64-bit seed and a number: what it draws is a function of both."""
    key = np.array([seed % 2**64, number], np.uint64)  # a list would become float64
    return np.random.Generator(np.random.Philox(key=key))


def new_seed() -> int:
    """The next 64-bit seed of the sequence."""
    low, high = _sequence.spawn(1)[0].generate_state(2)
    return int(low) | int(high) << 32

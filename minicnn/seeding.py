"""Where randomness starts: one seed, from which every initializer, dropout layer and shuffle takes a seed of its own.

`set_random_seed(7)` before building a model makes the whole run repeatable to the bit; without it, every run differs.
"""

import numpy as np

_sequence = np.random.SeedSequence()


def set_random_seed(seed: int) -> None:
    """Makes everything random that follows a function of `seed`, an integer from 0 on."""
    global _sequence
    if seed < 0:
        raise ValueError(f"a seed is an integer from 0 on, not {seed}")
    _sequence = np.random.SeedSequence(seed)


def new_seed() -> int:
    """The next 64-bit seed of the sequence."""
    low, high = _sequence.spawn(1)[0].generate_state(2)
    return int(low) | int(high) << 32

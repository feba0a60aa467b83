"""Threads: `fit` of the four reference networks with one, two, four … and all workers, which take turns in one run.

The ratio is that to one worker; there is no peer.
"""

from minicnn import set_threads

from . import networks
from .report import Row, Runner, Table
from .timing import Settings, race


def run(settings: Settings) -> Table:
    rows = [row for name in networks.NETWORKS for row in rows_of(name, settings)]
    return Table("threads", f"training at batch {networks.BATCH}, float32", rows)


def rows_of(name: str, settings: Settings) -> list[Row]:
    model = networks.build(name)
    networks.check_network(model)
    epoch = networks.epoch(model, *networks.digits(networks.STEPS * networks.BATCH))

    def with_workers(workers: int) -> Runner:
        def run() -> None:
            set_threads(workers)
            epoch()

        return run

    numbers = counts(settings.threads)
    times = [seconds / networks.STEPS for seconds in race(list(map(with_workers, numbers)), settings.seconds)]
    set_threads(settings.threads)
    flop = networks.BATCH * networks.training_flop(model)
    return [
        {
            "network": name,
            "workers": workers,
            "ms": 1e3 * seconds,
            "images/s": networks.BATCH / seconds,
            "GFLOP/s": flop / seconds / 1e9,
            "vs one worker": times[0] / seconds,
        }
        for workers, seconds in zip(numbers, times, strict=True)
    ]


def counts(threads: int) -> list[int]:
    """Powers of two, and all."""
    return sorted({threads, *(2**power for power in range(threads.bit_length()))})

"""Memory: the most that a process ever held while it trained `ghouzam`, ours beside PyTorch's.

Each trains in a process of its own, which reads its own peak from the system at the end.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .report import Table, child

if TYPE_CHECKING:
    from .timing import Settings

NETWORK, BATCH, STEPS = "ghouzam", 128, 10


def peak_megabytes() -> float:
    """The most memory this process held so far, in units of 10⁶ bytes.

    Linux has it in /proc (VmHWM); getrusage there also counts what the parent held when it started the child.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def with_minicnn(threads: int) -> tuple[float, float]:
    """Peak after the imports, and after training."""
    from minicnn import set_threads

    from . import networks

    before = peak_megabytes()
    set_threads(threads)
    model = networks.build(NETWORK)
    networks.epoch(model, *networks.digits(STEPS * BATCH))()
    return before, peak_megabytes()


def with_pytorch(threads: int, layout: int) -> tuple[float, float]:
    import numpy as np

    from . import peers

    before = peak_megabytes()
    peers.use_threads(threads)
    rng = np.random.default_rng(0)
    x, y = rng.random((STEPS * BATCH, 28, 28, 1), np.float32), rng.integers(0, 10, STEPS * BATCH)
    peers.epoch(NETWORK, x, y, BATCH, peers.formats()[layout])()
    return before, peak_megabytes()


def run(settings: "Settings") -> Table:
    from . import peers

    table = Table("memory", f"training {NETWORK} at batch {BATCH}, {STEPS} steps, peak of the process in 10⁶ bytes")
    programs = ["minicnn", *(f"pytorch {layout}" for layout in range(len(peers.formats())))]
    for program in programs:
        before, after = json.loads(child(["benchmarks.memory", *program.split(), str(settings.threads)], os.environ))
        names = {"minicnn": "minicnn", "pytorch 0": "PyTorch, contiguous", "pytorch 1": "PyTorch, channels_last"}
        table.rows.append({"program": names[program], "imported MB": before, "trained MB": after})
    return table


if __name__ == "__main__":
    program, *layout, threads = sys.argv[1:]
    print(json.dumps(with_pytorch(int(threads), int(layout[0])) if layout else with_minicnn(int(threads))))

"""`python -m benchmarks [name …]`: measures, prints a table for each name, and writes all of them as JSON if asked.

Nothing that loads NumPy is imported before the environment is in order.
"""

import argparse
import importlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from .report import Failure, cell

STEMS = {
    "conv": "convolution.run",
    "depthwise": "convolution.depthwise",
    "algorithms": "algorithms.run",
    "pool": "pooling.run",
    "dense": "dense.run",
    "norm": "normalization.run",
    "augment": "augment.run",
    "step": "steps.run",
    "engine": "engine.run",
    "threads": "threads.run",
    "scaling": "scaling.run",
    "resnet": "scaling.resnet",
    "vgg": "scaling.vgg",
    "job": "job.run",
    "memory": "memory.run",
    "gpu-kernels": "gpu.kernels",
    "gpu-convolutions": "gpu.convolutions",
    "gpu-steps": "gpu.steps",
    "gpu-recipes": "gpu.recipes",
    "gpu-job": "gpu.whole_job",
}
GPU = [name for name in STEMS if name.startswith("gpu-")]  # together they are called "gpu"


def stop(message: str, status: int = 2) -> NoReturn:
    print(f"benchmarks: {message}", file=sys.stderr)
    sys.exit(status)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast minicnn is, beside PyTorch.")
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"any of {', '.join(STEMS)}, gpu; all if none is given"
    )
    parser.add_argument("--json", metavar="FILE", help="write the same rows there")
    parser.add_argument("--seconds", type=float, default=3.0, help="per row (default: 3)")
    parser.add_argument("--threads", type=int, help="for us and for PyTorch (default: all cores)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="with train.csv and test.csv, for job and gpu (default: $MINICNN_DATA, else digits are drawn)",
    )
    options = parser.parse_args()
    if options.data is None and os.environ.get("MINICNN_DATA"):
        options.data = Path(os.environ["MINICNN_DATA"])
    options.names = [stem for name in options.names for stem in (GPU if name == "gpu" else [name])]
    if unknown := [name for name in options.names if name not in STEMS]:
        stop(f"there is no benchmark {unknown[0]!r}; expected any of {', '.join(STEMS)}, gpu")
    if not (options.seconds > 0 and math.isfinite(options.seconds)):
        stop(f"--seconds must be above 0, not {options.seconds}")
    if options.threads is not None and options.threads < 1:
        stop(f"--threads must be 1 or more, not {options.threads}")
    if options.data and not all((options.data / name).is_file() for name in ("train.csv", "test.csv")):
        stop(f"expected train.csv and test.csv in the folder {options.data}")
    return options


def prepare(threads: int | None) -> None:
    """Sets what NumPy and PyTorch read when they are imported."""
    os.environ.pop("OPENBLAS_CORETYPE", None)  # one that names an old processor halves the speed of NumPy, a peer
    if threads is not None:
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ[f"{library}_NUM_THREADS"] = str(threads)


def run(options: argparse.Namespace) -> None:
    from minicnn import get_threads, set_threads
    from minicnn.data import check_writable
    from minicnn.data.files import write_bytes
    from minicnn.report import processor

    from . import exported, gpu, machine, peers
    from .timing import Settings, race

    names = list(dict.fromkeys(options.names)) or list(STEMS)
    if options.json:
        check_writable(options.json)
    on_gpu = [name for name in names if name in GPU]
    if on_gpu and (why := gpu.unavailable()):
        if options.names:
            stop(f"gpu cannot be measured here: {why}")
        print(f"gpu is left out: {why}", file=sys.stderr)
        names, on_gpu = [name for name in names if name not in GPU], []
    if options.threads:
        set_threads(options.threads)
    threads = get_threads()
    peers.use_threads(threads)

    tile = machine.Tile(threads)
    about: dict[str, Any] = {"processor": processor(), "threads": threads, "versions": machine.versions()}
    libraries = ", ".join(f"{name} {number}" for name, number in machine.versions().items() if number)
    print(f"{processor()}; threads: {threads}; {libraries}")
    if on_gpu:
        about["gpu"] = gpu.about()
        print(", ".join(f"{what}: {cell(what, value)}" for what, value in about["gpu"].items()))
    if names != on_gpu:
        together, alone = (tile.flop / time / 1e9 for time in race([tile.run, tile.run_alone], options.seconds / 3))
        about |= {"tile GFLOP/s, one core": alone, "tile GFLOP/s, all threads": together}
        print(f"the register tile alone: {alone:.0f} GFLOP/s on one core, {together:.0f} on all threads")
        print("where the tile is slower in a row, other programs disturbed it; PyTorch suffers most from them")
    print("vs PyTorch: how many times as fast as the better of its two memory formats, in alternation")
    print("vs best: the same, over the fastest of all peers in the table")
    if not peers.formats():
        print("PyTorch is not installed, so there is nothing to compare with: its columns show -")
    if not exported.installed():
        print("onnxruntime or onnx is not installed, so there is no second peer for inference: its columns show -")

    tables = []
    for name in names:
        module, _, function = STEMS[name].partition(".")
        measured = getattr(importlib.import_module(f"{__package__}.{module}"), function)
        table = measured(Settings(options.seconds, threads, options.data, tile))
        print(f"\n{table.text()}", flush=True)
        tables.append({"stem": table.stem, "title": table.title, "rows": table.rows, "means": table.means})
        if options.json:  # after each, so that what was measured is kept if a later one fails
            write_bytes(options.json, json.dumps({"machine": about, "tables": tables}, indent=1).encode())


def main() -> None:
    options = arguments()
    prepare(options.threads)
    from minicnn.data import DataError

    try:
        run(options)
    except DataError as error:
        stop(str(error))
    except Failure as error:
        stop(str(error), status=1)


if __name__ == "__main__":
    main()

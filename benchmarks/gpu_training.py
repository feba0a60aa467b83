"""Training on a GPU through `fit` itself, beside PyTorch: eager, and with a CUDA graph of the whole step.

All have the images as bytes on the device, gather their batches there in a new order each epoch, and multiply in TF32.
Epochs are timed from an idle device to an idle device.
"""

import gc
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from minicnn import Input, Rescaling, Sequential, get_ops
from minicnn.callbacks import Callback
from minicnn.losses import SparseCategoricalCrossentropy
from minicnn.recipes import RECIPES

from . import networks, peers
from .gpu_timing import sentence
from .report import Row

IMAGES = 41_984  # 328 batches of 128, 41 of 1,024
TURN = 2  # epochs that count, of a contestant's turn
EPOCHS = 3  # of a recipe other than `fast`
DEVICE = "cuda"  # of PyTorch
Turn = Callable[[], list[float]]  # trains for some epochs: the seconds of each

STEP_COLUMNS = (
    "first s", "ms", "images/s", "TFLOP/s", "eager ms", "graph ms", "vs eager", "vs graph", "MB", "PyTorch MB",
)  # fmt: skip
RECIPE_COLUMNS = "first s", "epoch ms", "all epochs s", "accuracy", "device MB"


class Epochs(Callback):
    """The seconds of every epoch of `fit`."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.synchronize: Callable[[], object] = get_ops("gpu").xp.cuda.Device().synchronize

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.synchronize()
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.synchronize()
        self.seconds.append(time.perf_counter() - self.begin)


def bytes_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 28, 28, 1), np.uint8), rng.integers(0, 10, count)


def taken(first: bool = False) -> int:
    """Bytes of the device that are taken, by whom ever; `first` gives back what nobody uses any more."""
    xp: Any = get_ops("gpu").xp
    if first:
        gc.collect()
        xp.get_default_memory_pool().free_all_blocks()
        if peers.has_cuda():
            peers.torch.cuda.empty_cache()
    free, total = xp.cuda.Device().mem_info
    return int(total - free)


def ours(model: Sequential, x: np.ndarray, y: np.ndarray, batch: int) -> Turn:
    """One epoch more than is counted: each call of `fit` begins with what is done once."""

    def turn() -> list[float]:
        clock = Epochs()
        model.fit(x, y, batch_size=batch, epochs=1 + TURN, verbose=0, callbacks=[clock])
        return clock.seconds

    return turn


# ---------------------------------------------------------------------- PyTorch


def theirs(name: str, x: np.ndarray, y: np.ndarray, batch: int, memory_format: Any, captured: bool) -> Turn:
    """PyTorch's step on batches gathered on the device, launched call by call or as one graph."""
    torch = peers.torch
    model = peers.network(name).to(DEVICE, memory_format=memory_format).train()
    optimizer = torch.optim.Adam(model.parameters(), fused=True, capturable=captured and DEVICE == "cuda")
    loss = peers.nn.CrossEntropyLoss()
    images, labels = torch.from_numpy(x).permute(0, 3, 1, 2).to(DEVICE), torch.from_numpy(y).to(DEVICE)

    def step(rows: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        image = images[rows].to(torch.float32, memory_format=memory_format).div_(255)
        loss(model(image), labels[rows]).backward()
        optimizer.step()

    if captured:
        step = replayed(step, batch)

    def turn() -> list[float]:
        seconds = []
        for _ in range(1 + TURN):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for rows in torch.split(torch.randperm(len(labels), device=DEVICE), batch):
                step(rows)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begin)
        return seconds

    return turn


def replayed(step: Callable[[Any], None], batch: int) -> Callable[[Any], None]:
    """The step as a graph of its own, on rows that are copied to where it looks for them."""
    torch = peers.torch
    place = torch.arange(batch, device=DEVICE)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # what PyTorch asks for before a capture
            step(place)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(place)

    def replay(rows: Any) -> None:
        place.copy_(rows)
        graph.replay()

    return replay


# ---------------------------------------------------------------------- rows


def step_row(name: str, batch: int, seconds: float) -> Row:
    """A training step: the epoch's time over its steps. `seconds` are for all contestants."""
    networks.check_network(networks.build(name), "gpu")
    x, y = bytes_and_labels(IMAGES)
    steps = len(x) // batch
    model = Sequential([Input((28, 28, 1)), Rescaling(1 / 255), *networks.NETWORKS[name]()], name=name)
    model.compile("adam", SparseCategoricalCrossentropy(from_logits=True))
    model.to("gpu")
    before = taken(first=True)
    turns: dict[str, Turn] = {"minicnn": ours(model, x, y, batch)}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        first = turns["minicnn"]()[0]
    notes = [str(warning.message) for warning in said]  # where a step is not captured
    memory, their_memory = (taken() - before) / 1e6, None
    if peers.has_cuda():
        peers.torch.backends.cudnn.benchmark = True
        for memory_format in peers.formats():
            for kind in ("eager", "graph"):
                title, before = f"{kind} {memory_format}", taken(first=True)
                try:
                    turns[title] = theirs(name, x, y, batch, memory_format, kind == "graph")
                    turns[title]()
                except Exception as error:
                    notes.append(f"PyTorch, {title}: {sentence(error)}")
                    turns.pop(title, None)
                    continue
                if kind == "graph":
                    continue
                own_memory = (taken() - before) / 1e6
                their_memory = own_memory if their_memory is None else min(own_memory, their_memory)
    best = {title: median(times) / steps for title, times in alternated(turns, seconds).items()}
    own = best["minicnn"]
    eager, graph = (
        min((1e3 * time for title, time in best.items() if title.startswith(kind)), default=None)
        for kind in ("eager", "graph")
    )
    flop = batch * networks.training_flop(model)
    return {
        "first s": first,
        "ms": 1e3 * own,
        "images/s": batch / own,
        "TFLOP/s": flop / own / 1e12,
        "eager ms": eager,
        "graph ms": graph,
        "vs eager": eager and eager / own / 1e3,
        "vs graph": graph and graph / own / 1e3,
        "MB": memory,
        "PyTorch MB": their_memory,
        "note": "; ".join(notes),
    }


def alternated(turns: dict[str, Turn], seconds: float) -> dict[str, list[float]]:
    """The seconds of the epochs that count, of contestants in turn until `seconds` have passed."""
    times: dict[str, list[float]] = {title: [] for title in turns}
    end = time.perf_counter() + seconds
    while not times["minicnn"] or time.perf_counter() < end:
        for title, turn in turns.items():
            times[title] += turn()[1:]
    return times


def recipe_row(name: str, images: np.ndarray, labels: np.ndarray, trained: int) -> Row:
    """A recipe on the first `trained` images: `fast` to its end, in a second training, when all is compiled.

    The others are trained for some epochs, and "all epochs s" is that of an epoch times the epochs of all its networks.
    """
    recipe, before = RECIPES[name], taken(first=True)
    epochs = recipe.epochs if name == "fast" else EPOCHS
    batch = min(recipe.batch_size, trained)
    runs, accuracy = [], None
    for _ in range(2 if name == "fast" else 1):
        model, clock = recipe.model(trained, epochs, batch).to("gpu"), Epochs()
        begin = time.perf_counter()
        model.fit(images[:trained], labels[:trained], batch, epochs, verbose=0, callbacks=[clock])
        runs.append((clock.seconds, time.perf_counter() - begin))
    times, total = runs[-1]
    epoch = median(times[1:] or times)
    if name == "fast" and trained < len(images):
        found = model.predict(images[trained:]).argmax(axis=1)
        accuracy = float((found == labels[trained:]).mean())
    return {
        "first s": runs[0][0][0],
        "epoch ms": 1e3 * epoch,
        "all epochs s": total if name == "fast" else epoch * recipe.epochs * len(recipe.networks),
        "accuracy": accuracy,
        "device MB": (taken() - before) / 1e6,
        "note": "",
    }

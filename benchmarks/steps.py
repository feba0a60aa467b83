"""Whole networks as a user runs them: `fit` and `predict` of the four reference networks, and `predict` of one image.

`fit` runs against PyTorch's ordinary loop over as many batches (forward, loss, backward and Adam on shuffled images);
GFLOP/s count the multiply-adds of convolution and dense layers.
"""

import numpy as np

from minicnn import Sequential

from . import exported, networks, peers
from .report import Row, Table, geometric_mean
from .timing import Settings, check, measure

ASKED = 256  # images per batch in inference


def run(settings: Settings) -> Table:
    rows = [row for name in networks.NETWORKS for row in rows_of(name, settings)]
    title = f"training (batch {networks.BATCH}), inference (batch {ASKED}) and latency (one image), float32"
    means: Row = {}
    for kind in ("training", "inference", "latency"):
        means[f"vs best, {kind}"] = geometric_mean([row for row in rows if row["pass"] == kind], "vs best")
    return Table("step", title, rows, means)


def rows_of(name: str, settings: Settings) -> list[Row]:
    model = networks.build(name)
    networks.check_network(model)
    asked, _ = networks.digits(ASKED)
    inference, latency = prediction(model, asked, settings), prediction(model, asked[:1], settings)

    x, y = networks.digits(networks.STEPS * networks.BATCH)
    peer = peers.epochs(name, x, y, networks.BATCH)
    times = measure(networks.epoch(model, x, y), {"PyTorch": peer, "onnxruntime": []}, settings, networks.STEPS)
    flop = networks.BATCH * networks.training_flop(model)
    training: Row = {"network": name, "pass": "training", **times.columns(flop, images=networks.BATCH)}
    return [training, inference, latency]


def prediction(model: Sequential, x: np.ndarray, settings: Settings) -> Row:
    """`predict` of one batch; the peers have the same weights and must give the same scores."""
    contestants = {
        "PyTorch": peers.inference(model.name, x, networks.channels_first(model, mirrored=True)),
        "onnxruntime": exported.inference(model, x, settings.threads),
    }
    scores = model.predict(x, batch_size=len(x))
    for peer, runners in contestants.items():
        for runner in runners:
            check(f"{model.name} in {peer}", runner(), scores)
    times = measure(lambda: model.predict(x, batch_size=len(x)), contestants, settings)
    kind = "latency" if len(x) == 1 else "inference"
    flop = len(x) * networks.inference_flop(model)
    return {"network": model.name, "pass": kind, **times.columns(flop, images=len(x))}

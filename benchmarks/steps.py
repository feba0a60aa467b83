"""Whole networks: a training step of the four reference networks, and their inference.

A training step is forward, loss, backward and Adam; GFLOP/s count the multiply-adds of convolution and dense layers.
"""

from . import networks, peers
from .report import Failure, Row, Table
from .timing import Settings, measure

TRAINED, ASKED = 128, 256  # images per batch


def run(settings: Settings) -> Table:
    rows = [row for name in networks.NETWORKS for row in rows_of(name, settings)]
    return Table("step", f"training at batch {TRAINED}, inference at batch {ASKED}, float32", rows)


def rows_of(name: str, settings: Settings) -> list[Row]:
    model = networks.build(name)
    networks.check_network(model)
    numbers = sum(parameter.value.size for parameter in model.trainable_parameters)
    if peers.formats() and numbers != peers.parameters(name):
        raise Failure(
            f"{name} trains {numbers} numbers here but {peers.parameters(name)} in PyTorch: not the same network"
        )

    x, y = networks.digits(ASKED)
    images, labels = x[:TRAINED], y[:TRAINED]
    training = measure(
        lambda: model.train_step(images, labels), {"PyTorch": peers.training(name, images, labels)}, settings
    )
    inference = measure(lambda: model.predict(x, ASKED), {"PyTorch": peers.inference(name, x)}, settings)
    flop, flop_asked = TRAINED * networks.training_flop(model), ASKED * networks.inference_flop(model)
    label: Row = {"network": name}
    return [
        label | {"pass": "training"} | training.columns(flop, images=TRAINED),
        label | {"pass": "inference"} | inference.columns(flop_asked, images=ASKED),
    ]

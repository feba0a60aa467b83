"""The whole job as a user sees it: a process that reads both CSV files, trains, and writes the submission.

It is timed from outside: minicnn with an empty kernel cache (cold) and with a full one (warm), beside PyTorch with the
same network and epochs.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .report import Row, Table, child

if TYPE_CHECKING:
    from .timing import Settings

ROUNDS = 3
EPOCHS, BATCH, PEAK, BETAS = 2, 256, 0.01, (0.7, 0.9)
TRAINED = 0.9  # share of the training file; the rest is for validation
DIGITS = 42_000, 28_000  # how many are drawn where there are no files

# ---------------------------------------------------------------------- the job, twice


def with_minicnn(train: str, test: str, out: str, threads: int, seed: int, device: str = "cpu") -> float:
    """Does the job and returns the validation accuracy."""
    from minicnn import (
        Conv2D,
        Dense,
        Flatten,
        Input,
        MaxPooling2D,
        ReLU,
        Rescaling,
        Sequential,
        data,
        set_random_seed,
        set_threads,
    )
    from minicnn.losses import SparseCategoricalCrossentropy
    from minicnn.optimizers import Adam
    from minicnn.schedules import OneCycle

    set_threads(threads)
    set_random_seed(seed)
    x, y = data.read_kaggle(train, labels=True)
    assert y is not None
    asked, _ = data.read_kaggle(test, labels=False)
    kept = int(len(x) * TRAINED)
    model = Sequential([
        Input((28, 28, 1)), Rescaling(1 / 255),
        Conv2D(24, 5), MaxPooling2D(), ReLU(),
        Conv2D(32, 3), MaxPooling2D(), ReLU(),
        Flatten(), Dense(256, activation="relu"), Dense(10),
    ])  # fmt: skip
    adam = Adam(OneCycle(PEAK, EPOCHS * -(-kept // BATCH)), *BETAS)
    model.compile(adam, SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.to(device).fit(x[:kept], y[:kept], batch_size=BATCH, epochs=EPOCHS, verbose=0)
    accuracy = model.evaluate(x[kept:], y[kept:])[1]
    data.write_submission(out, model.predict(asked).argmax(axis=1))
    return float(accuracy)


def with_pytorch(train: str, test: str, out: str, threads: int, seed: int, device: str = "cpu") -> float:
    """The same with PyTorch, as one would write it to be fast; on a GPU its products take TF32, as ours do."""
    import pandas as pd
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    place = "cuda" if device == "gpu" else device
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

    def images(frame: pd.DataFrame) -> torch.Tensor:
        pixels = torch.from_numpy(frame.to_numpy()).to(place).float() / 255
        return pixels.view(-1, 1, 28, 28).contiguous(memory_format=torch.channels_last)

    table = pd.read_csv(train, dtype="uint8")
    x, y = images(table.drop(columns="label")), torch.from_numpy(table["label"].to_numpy("int64")).to(place)
    asked = images(pd.read_csv(test, dtype="uint8"))
    kept = int(len(x) * TRAINED)
    layers: Any = nn.Sequential(
        nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip
    model = layers.to(place, memory_format=torch.channels_last)
    adam = torch.optim.Adam(model.parameters(), betas=BETAS, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, PEAK, EPOCHS * -(-kept // BATCH), cycle_momentum=False)
    loss = nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(kept, device=place), BATCH):
            adam.zero_grad(set_to_none=True)
            loss(model(x[rows]), y[rows]).backward()
            adam.step()
            schedule.step()
    with torch.inference_mode():
        accuracy = (
            torch.cat([model(part) for part in torch.split(x[kept:], BATCH)]).argmax(1).eq(y[kept:]).float().mean()
        )
        labels = torch.cat([model(part) for part in torch.split(asked, BATCH)]).argmax(1)
    pd.DataFrame({"ImageId": range(1, len(labels) + 1), "Label": labels.cpu().numpy()}).to_csv(out, index=False)
    return float(accuracy)


# ---------------------------------------------------------------------- from outside


def run(settings: "Settings") -> Table:
    from . import peers

    programs = ["with_minicnn", *(["with_pytorch"] if peers.formats() else [])]
    times: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="minicnn-job-") as place:
        folder = Path(place)
        train, test = files(settings.data or folder, draw=settings.data is None)
        for number in range(ROUNDS):
            cache = os.environ | {"NUMBA_CACHE_DIR": str(folder / f"cache-{number}")}
            for program, state in [("with_minicnn", "cold"), *((program, "warm") for program in programs)]:
                arguments = [train, test, str(folder / "submission.csv"), str(settings.threads), str(number)]
                begin = perf_counter()
                answer = child(["benchmarks.job", program, *arguments], cache)
                times.setdefault(f"{program} {state}", []).append((perf_counter() - begin, json.loads(answer)))
    digits = "synthetic digits" if settings.data is None else str(settings.data)
    table = Table("job", f"from CSV files ({digits}) to the submission, {EPOCHS} epochs, median of {ROUNDS} runs")
    peer = median(seconds for seconds, _ in times["with_pytorch warm"]) if peers.formats() else None
    for name, runs in times.items():
        program, state = name.split()
        seconds = median(seconds for seconds, _ in runs)
        ours = program == "with_minicnn"
        row: Row = {"program": "minicnn" if ours else "PyTorch", "kernel cache": state if ours else "none"}
        row |= {"seconds": seconds, "accuracy": mean(accuracy for _, accuracy in runs)}
        table.rows.append(row | {"vs PyTorch": peer and peer / seconds})
    return table


def files(folder: Path, draw: bool) -> tuple[str, str]:
    """The paths of train.csv and test.csv in a folder; with `draw` they are made there, of synthetic digits."""
    paths = folder / "train.csv", folder / "test.csv"
    if draw:
        from minicnn.data import synthetic_digits

        number = [str(value) for value in range(256)]
        header = ",".join(f"pixel{i}" for i in range(784))
        for path, count, seed in zip(paths, DIGITS, (0, 1), strict=True):
            images, labels = synthetic_digits(count, seed)
            labelled = path.stem == "train"
            with path.open("w", encoding="ascii") as file:
                file.write("label," * labelled + header + "\n")
                for label, pixels in zip(labels.tolist(), images.reshape(count, -1).tolist(), strict=True):
                    file.write(f"{label}," * labelled + ",".join([number[pixel] for pixel in pixels]) + "\n")
    return str(paths[0].resolve()), str(paths[1].resolve())


if __name__ == "__main__":
    program, train, test, out, threads, seed, *device = sys.argv[1:]
    print(
        json.dumps(
            {"with_minicnn": with_minicnn, "with_pytorch": with_pytorch}[program](
                train, test, out, int(threads), int(seed), *device
            )
        )
    )

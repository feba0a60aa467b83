"""Callbacks: objects that `fit` tells what happens. The history and the progress bar are callbacks themselves."""

import sys
from typing import Any

Logs = dict[str, float]


class Callback:
    """Base class with a hook for every event; `self.model` is the model and `self.params` has epochs, steps, samples, verbose."""

    model: Any = None
    params: dict[str, Any] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None: ...
    def on_train_end(self, logs: Logs | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...


class History(Callback):
    """Keeps the logs of every epoch: `history` maps each name to a list with one number per epoch."""

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


def format_logs(logs: Logs) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in logs.items())


class ProgressBar(Callback):
    """verbose=1: a bar per epoch with images per second and the time left; verbose=2: a line per epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        from tqdm import tqdm

        digits = len(str(self.params["epochs"]))
        self.title = f"epoch {epoch + 1:{digits}}/{self.params['epochs']}"
        self.bar = tqdm(
            total=self.params["samples"],
            desc=self.title,
            unit=" images",
            unit_scale=True,
            mininterval=0.2,
            file=sys.stdout,
            disable=self.params["verbose"] != 1,
            bar_format="{desc} {percentage:3.0f}% |{bar:20}| {rate_fmt}, {remaining} left{postfix}",
        )

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        logs = dict(logs or {})
        self.bar.update(int(logs.pop("size", 0)))
        self.bar.set_postfix_str(format_logs(logs), refresh=False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.bar.set_postfix_str(format_logs(logs or {}))
        self.bar.close()
        if self.params["verbose"] == 2:
            print(f"{self.title}: {format_logs(logs or {})}", flush=True)

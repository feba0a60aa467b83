"""Compiles kernels before they are needed: `python -m minicnn.warmup [recipe …]` those of the recipes, say at install time.

A model whose kernels are not on disk yet also starts a second process of this module: it compiles what the model needs
too, last things first, so that the two meet in the middle.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from . import saving
from .kernels import jit
from .threads import get_threads

if TYPE_CHECKING:
    from .models import Sequential

Request = tuple[str, int]  # kind of a run ("train", "evaluate" or "predict") and number of images


def prepare(model: "Sequential", requests: Iterable[Request]) -> None:
    """Lays out the tapes of a model for these runs, and so compiles their kernels."""
    model.build()
    assert model._flat is not None
    if model.optimizer is not None:
        model.optimizer.start(model._flat[0], model.ops)
    for kind, images in requests:
        model._engine.run(model, images, kind)


def backwards(description: dict[str, Any], requests: Iterable[Request]) -> None:
    """Compiles the kernels for these runs of a model, in the opposite order."""
    noted: list[Any] = []
    jit.watch.noted = noted
    prepare(saving.from_description(description), requests)
    jit.watch.noted = None
    for signature, function, name in reversed(noted):
        jit.native(signature, function, name)


class Helper:
    """The second process; started by the first kernel that is not on disk, and ended with the `with` block."""

    def __init__(self, model: "Sequential", kind: str, images: int) -> None:
        self.model, self.request = model, (kind, images)
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Helper":
        python = Path(sys.executable or "").name.startswith("python") and not getattr(sys, "frozen", False)
        if python and get_threads() > 1 and jit.watch.missed is None and jit.watch.noted is None:
            jit.watch.missed = self.start
        return self

    def start(self) -> None:
        jit.watch.missed = None
        try:
            task = json.dumps([saving.describe(self.model), [self.request]])
            path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
            self.process = subprocess.Popen(
                [sys.executable, "-m", "minicnn.warmup", "--helper"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, text=True, env=os.environ | {"PYTHONPATH": path},
            )  # fmt: skip
            assert self.process.stdin is not None
            self.process.stdin.write(task)
            self.process.stdin.close()
        except Exception:
            pass  # a model of your own layers, or a system without processes: then this one compiles alone

    def __exit__(self, *error: object) -> None:
        jit.watch.missed = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def main() -> None:
    from . import recipes

    parser = argparse.ArgumentParser(prog="python -m minicnn.warmup", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "recipes", nargs="*", metavar="recipe", help=f"any of {', '.join(recipes.RECIPES)}; all if none"
    )
    parser.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.helper:
        backwards(*json.load(sys.stdin))
        return
    start = perf_counter()
    for name in options.recipes or recipes.RECIPES:
        try:
            recipe = recipes.get(name)
        except ValueError as error:
            parser.error(str(error))
        asked = [(kind, images) for kind in ("evaluate", "predict") for images in (256, 96, 1)]
        last = recipe.batch_size * 5 // 8  # a smaller last batch
        for member in range(len(recipe.networks)):
            model = recipe.model(samples=60_000, member=member)
            prepare(model, [("train", recipe.batch_size), ("train", last), *asked])
    print(f"kernels of {', '.join(options.recipes or recipes.RECIPES)} are in {jit.cache_folder()}")
    print(f"compiled or found in {perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()

"""The layers of a model as a picture."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.files import DataError
from ..layers import Input, Layer
from ..layers.activation import ActivatedLayer

if TYPE_CHECKING:
    from ..models import Sequential

LINE, GAP = 0.2, 0.35  # inches


def plot_model(
    model: "Sequential",
    to_file: str | Path = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **options: Any,
) -> None:
    """Draws the layers as boxes, one below the other or, with a `rankdir` of "LR", beside it, into a PNG, PDF or SVG file.

    A box names a layer's class and, as the settings say, its name, activation, number type, whether it is trained, and its
    shapes. Models within the model are one box unless `expand_nested`. Other options of Keras are there for its sake. This
    takes matplotlib: without it there is a warning, and nothing is drawn. DataError where the file cannot be written.
    """
    try:
        figure = import_module("matplotlib.figure").Figure
    except ImportError:
        warnings.warn(
            "plot_model: nothing is drawn without the package matplotlib: pip install matplotlib", stacklevel=2
        )
        return
    model.build()
    layers = model._layers if expand_nested else [*model._layers[:1], *model.layers] if _begins(model) else model.layers
    boxes = []
    for layer in layers:
        lines = [f"{layer.name} ({type(layer).__name__})" if show_layer_names else type(layer).__name__]
        if show_layer_activations and isinstance(layer, ActivatedLayer):
            lines.append(f"activation: {layer.activation_name}")
        if show_dtype and isinstance(layer, Layer):
            lines.append(f"dtype: {layer.dtype.name}")
        if show_trainable:
            lines.append("trained" if layer.trainable else "not trained")
        if show_shapes:
            lines += [f"input: {layer.input_shape}", f"output: {layer.output_shape}"]
        boxes.append("\n".join(lines))
    high = max(box.count("\n") + 1 for box in boxes) * LINE
    wide = max(len(line) for box in boxes for line in box.split("\n")) * 0.09 + 0.2
    across = rankdir == "LR"
    step = (wide if across else high) + GAP
    length = step * len(boxes)
    drawing = figure(figsize=(length, high + GAP) if across else (wide + GAP, length))
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, drawing.get_figwidth())
    axes.set_ylim(drawing.get_figheight(), 0)
    axes.axis("off")
    for number, box in enumerate(boxes):
        along, middle = step * (number + 0.5), (high if across else wide) / 2 + GAP / 2
        place = (along, middle) if across else (middle, along)
        if number:
            before = (along - step, middle) if across else (middle, along - step)
            size = (wide if across else high) / 2
            ends = [
                (x + size * across * side, y + size * (not across) * side)
                for (x, y), side in ((before, 1), (place, -1))
            ]
            axes.annotate("", ends[1], ends[0], arrowprops={"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0})
        left, top = place[0] - wide / 2, place[1] - high / 2
        axes.add_patch(import_module("matplotlib.patches").Rectangle((left, top), wide, high, fill=False))
        axes.text(*place, box, ha="center", va="center", fontsize=9)
    try:
        drawing.savefig(to_file, dpi=dpi)
    except (OSError, ValueError) as error:
        raise DataError(f"{to_file}: the picture cannot be written: {error}") from error


def _begins(model: "Sequential") -> bool:
    """Whether the model begins with an `Input` that `model.layers` does not list."""
    return isinstance(model._layers[0], Input) and not (model.layers and model.layers[0] is model._layers[0])

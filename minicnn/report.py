"""A page about a trained model: how well it reads, how it learnt, where it errs, what its convolutions see.

One HTML file that needs nothing else: its style, its curves (SVG) and its pictures (PNG) are inside.
"""

import os
import platform
import struct
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from html import escape
from math import ceil, floor, isfinite, log, log10
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

from . import metrics
from .callbacks import History
from .data.files import DataError, PathLike, check_writable, make_folder, write_bytes
from .layers import Conv2D
from .models import Sequential
from .optimizers.schedules import LearningRateSchedule
from .threads import get_threads
from .training import is_validated

NAME = "report.html"
MAPS = 32  # channels shown of each convolution
Points = list[tuple[float, float]]


def check(directory: PathLike) -> None:
    """Makes the folder where it is missing; DataError if `write` could not write its page there. For before a training."""
    if Path(directory).is_file():
        raise DataError(f"{directory}: expected a folder for the report, but this is a file.")
    make_folder(directory)
    check_writable(Path(directory) / NAME)


def write(
    directory: PathLike,
    model: Sequential | Sequence[Sequential] | None = None,
    history: History | Sequence[History] | None = None,
    images: Any = None,
    labels: Any = None,
    probabilities: Any = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `report.html` into a folder, which is made where it is missing, and returns the path of the page.

    `images` (N, H, W, 1), `labels` (N,) and `probabilities` (N, K) are those of held-out data, and may be left out, as
    may the model and its history; several models that were asked together are given as lists. `settings` is shown as it
    is, paths by their file names; the first paragraph repeats of it `recipe`, `training time`, which is in seconds, and a `note`.
    The models are not changed. DataError if the page cannot be written, ValueError for data that do not fit together.
    """
    models, histories = _several(model), _several(history)
    parts = [_head(models)]
    if images is not None and len(images):
        images, labels, probabilities = _checked(images, labels, probabilities)
        parts += [
            _result(labels, probabilities, settings or {}),
            _learning(histories),
            _confusions(labels, probabilities),
            _misread(images, labels, probabilities),
            _convolutions(models, images, labels),
        ]
    else:
        parts += [
            f'<p class="lead">No images were held out to measure on. {_training(settings or {})}</p>',
            _learning(histories),
            _convolutions(models, None, None),
        ]
    parts.append(_details(models, settings or {}))
    check(directory)
    path = Path(directory) / NAME
    write_bytes(path, (PAGE % (_name(models), STYLE, "\n".join(filter(None, parts)))).encode())
    return path


def _several(one_or_more: Any) -> list[Any]:
    if one_or_more is None:
        return []
    return list(one_or_more) if isinstance(one_or_more, list | tuple) else [one_or_more]


def _checked(images: Any, labels: Any, probabilities: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three as arrays: uint8 pixels (N, H, W), labels (N,), probabilities (N, K)."""
    images = np.asarray(images)
    if labels is None or probabilities is None:
        raise ValueError("report: images need their labels and the probabilities that the model gives them")
    labels, probabilities = metrics.labels_of(labels).astype(int), np.asarray(probabilities, float)
    if images.ndim != 4 or images.shape[3] != 1 or probabilities.ndim != 2:
        raise ValueError(
            "report: expected images of shape (N, height, width, 1) and probabilities of shape (N, classes), "
            f"got {images.shape} and {probabilities.shape}"
        )
    if not len(images) == len(labels) == len(probabilities):
        raise ValueError(f"report: got {len(images)} images, {len(labels)} labels and {len(probabilities)} predictions")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(
            f"report: expected labels from 0 to {probabilities.shape[1] - 1}, got {labels.min()} to {labels.max()}"
        )
    return images[..., 0], labels, probabilities


# ---------------------------------------------------------------------- words and numbers


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}\u202f%"


def _sure(confidence: float) -> str:
    """A confidence, never rounded up to certainty."""
    return f"&gt;\u202f{_percent(0.999, 1)}" if 0.9995 <= confidence < 1 else _percent(confidence, 1)


def _plain(value: float) -> str:
    return f"{value:.6g}".replace("e-0", "e-").replace("-", "\N{MINUS SIGN}")


def _plain_percent(share: float) -> str:
    return f"{_plain(100 * share)}\u202f%"


def _rounded(value: float) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _shown(name: str, value: Any) -> str:
    """A setting as text: of a path only the last part, so that the page tells nothing about the machine's folders."""
    if name == "training time" and isinstance(value, int | float):
        return _duration(value)
    if isinstance(value, os.PathLike) or (isinstance(value, str) and Path(value).is_absolute()):
        return Path(value).name
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _size(shape: Sequence[int | None]) -> str:
    """A shape without its batch axis."""
    return " × ".join(map(str, shape[1:]))


def _name(models: list[Sequential]) -> str:
    return escape(models[0].name) if models else "trained model"


def processor() -> str:
    """The model name of the CPU, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


# ---------------------------------------------------------------------- pictures


def png(pixels: np.ndarray) -> bytes:
    """uint8 pixels, grey (H, W) or red, green, blue (H, W, 3), as a PNG file (ISO/IEC 15948)."""
    height, width = pixels.shape[:2]
    rows = np.insert(pixels.reshape(height, -1), 0, 0, axis=1)  # each begins with its filter: 0, none
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(rows.tobytes(), 9), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def _picture(pixels: np.ndarray, words: str, scale: float) -> str:
    """An <img>; grey pixels are taken as ink, which is dark on light paper and light on dark."""
    height, width = pixels.shape[:2]
    kind = ' class="ink"' if pixels.ndim == 2 else ""
    return (
        f'<img{kind} src="data:image/png;base64,{b64encode(png(pixels)).decode()}" alt="{escape(words)}" '
        f'width="{round(scale * width)}" height="{round(scale * height)}" loading="lazy" decoding="async">'
    )


def _grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 for `low` to 255 for `high`."""
    share = (np.asarray(values, float) - low) / ((high - low) or 1.0)
    return np.rint(255 * np.clip(np.nan_to_num(share), 0, 1)).astype(np.uint8)


def _digits(images: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """How to make pixels of an image: bytes as they are, other numbers between the least and the largest of all."""
    low, high = (0, 255) if images.dtype == np.uint8 else (images.min(), images.max())
    return lambda image: _grey(image, float(low), float(high))


def _signed(values: np.ndarray, largest: float) -> np.ndarray:
    """(H, W) to colours (H, W, 3): white for 0, orange for `largest`, blue for its negative."""
    share = np.clip(np.nan_to_num(values / (largest or 1.0)), -1, 1)[..., None]
    colour = np.where(share > 0, [196.0, 78.0, 20.0], [24.0, 92.0, 158.0])
    return np.rint(255 + np.abs(share) * (colour - 255)).astype(np.uint8)


# ---------------------------------------------------------------------- curves


class Curve(NamedTuple):
    kind: str  # of line, a class of the style
    label: str
    lines: list[Points]  # one for each network


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most `most` steps, that enclose low to high."""
    if low == high:
        low, high = min(0.0, low), max(0.0, high) or 1.0
    power = 10.0 ** floor(log10((high - low) / most))
    step = next(m * power for m in (1, 2, 5, 10, 20) if (high - low) / (m * power) <= most - 1)
    first, last = floor(round(low / step, 6)), ceil(round(high / step, 6))
    return [round(k * step, 12) for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """The same for a logarithmic axis: powers of ten, and where they are few, their double and fivefold too."""
    for within in ((1, 2, 5), (1,)):
        every = [m * 10.0**k for k in range(floor(log10(low)) - 1, ceil(log10(high)) + 2) for m in within]
        first = max(k for k, tick in enumerate(every) if tick <= low * (1 + 1e-9))
        last = min(k for k, tick in enumerate(every) if tick >= high * (1 - 1e-9))
        found = every[first : max(last, first + 1) + 1]
        if len(found) <= 7:
            break
    return found


def _chart(title: str, curves: list[Curve], shown: Callable[[float], str] = _plain, logarithmic: bool = False) -> str:
    """A panel of curves over epochs, from 0 to the last; logarithmic where asked for and where it makes sense."""
    curves = [
        Curve(kind, label, [[(x, y) for x, y in line if isfinite(y)] for line in lines])
        for kind, label, lines in curves
    ]
    points = [point for curve in curves for line in curve.lines for point in line]
    if not points:
        return ""
    low, high = (pick(y for _, y in points) for pick in (min, max))
    logarithmic = logarithmic and low > 0 and high > 5 * low
    rows, columns = (log_ticks if logarithmic else ticks)(low, high), ceil(max(x for x, _ in points))
    scale: Callable[[float], float] = log if logarithmic else float
    width, height, left, bottom = 320, 200, 46, 24

    def place(x: float, y: float) -> str:
        share = (scale(y) - scale(rows[0])) / (scale(rows[-1]) - scale(rows[0]))
        return f"{left + (width - left - 8) * x / columns:.1f},{8 + (height - bottom - 8) * (1 - share):.1f}"

    marks = []
    for tick in rows:
        x, y = place(0, tick).split(",")
        marks.append(f'<path class="grid" d="M{x} {y}H{width - 8}"/>')
        marks.append(f'<text x="{left - 6}" y="{y}" dy=".32em" text-anchor="end">{shown(tick)}</text>')
    for tick in ticks(0, columns, 6):
        if tick <= columns and tick == int(tick):
            x, y = place(tick, rows[0]).split(",")
            marks.append(
                f'<path class="axis" d="M{x} {y}v4"/><text x="{x}" y="{height - 5}" text-anchor="middle">{tick:g}</text>'
            )
    marks.append(f'<path class="axis" d="M{left} {height - bottom}H{width - 8}"/>')
    keys = []
    for kind, label, lines in curves:
        for line in filter(None, lines):
            marks.append(f'<polyline class="{kind}" points="{" ".join(place(*point) for point in line)}"/>')
            if len(line) <= 12:
                marks += [
                    '<circle class="{}" cx="{}" cy="{}" r="2.6"/>'.format(kind, *place(*point).split(","))
                    for point in line
                ]
        if any(lines):
            keys.append(f'<span class="key {kind}">{label}</span>')
    words = f"{title} over {columns:g} epochs, from {shown(_rounded(low))} to {shown(_rounded(high))}"
    return (
        f'<div class="chart"><p><b>{title}</b><br>{"".join(keys)}</p>'
        f'<svg viewBox="0 0 {width} {height}" role="img"><title>{words}</title>{"".join(marks)}</svg></div>'
    )


def _recorded(histories: list[History], name: str) -> list[Points]:
    """For each network (epochs done, value)."""
    lines = []
    for history in histories:
        values = history.history.get(name, [])
        every = history.params.get("validation_freq", 1) if len(values) < len(history.epoch) else 1
        epochs = [epoch + 1 for epoch in history.epoch if is_validated(epoch, every)]
        lines.append(list(zip(map(float, epochs), map(float, values), strict=False)))
    return lines


def _rates(history: History) -> Points:
    """(epochs done, learning rate): what was recorded, what a schedule says of each part of an epoch, or one number."""
    if "learning_rate" in history.history:
        return _recorded([history], "learning_rate")[0]
    optimizer = getattr(history.model, "optimizer", None)
    if optimizer is None or not history.epoch:
        return []
    first, last = history.epoch[0], history.epoch[-1] + 1
    schedule, steps = optimizer._learning_rate, history.params.get("steps")
    if not isinstance(schedule, LearningRateSchedule):
        return [(first, optimizer.learning_rate), (last, optimizer.learning_rate)]
    if steps is None:
        return []
    before = max(0, optimizer.iterations - (last - first) * steps)
    done = np.unique(np.linspace(0, (last - first) * steps - 1, 200).round().astype(int)).tolist()
    return [(first + step / steps, float(schedule(before + step))) for step in done]


def _learning(histories: list[History]) -> str:
    if not any(history.epoch for history in histories):
        return ""
    measured = next(
        (name for name in histories[0].history if "acc" in name and not name.startswith("val_")), "accuracy"
    )
    charts = []
    for title, name, shown in (("Loss", "loss", _plain), ("Accuracy", measured, _plain_percent)):
        curves = []
        for kind, prefix in (("training", ""), ("validation", "val_")):
            lines = _recorded(histories, prefix + name)
            end = f" {shown(_rounded(lines[0][-1][1]))}" if len(lines) == 1 and lines[0] else ""
            curves.append(Curve(kind, kind + end, lines))
        charts.append(_chart(title, curves, shown, logarithmic=name == "loss"))
    rates = [rate for history in histories if (rate := _rates(history))]
    highest = max((rate for line in rates for _, rate in line), default=0.0)
    charts.append(_chart("Learning rate", [Curve("rate", f"up to {highest:.3g}", rates)]))
    many = f"One line for each of the {len(histories)} networks. " if len(histories) > 1 else ""
    means = "Training values are means over an epoch, while the network changes"
    means += "; validation follows at its end." if any("val_loss" in h.history for h in histories) else "."
    return (
        f'<section><h2>Learning</h2><figure><div class="row{" many" if many else ""}">{"".join(charts)}</div>'
        f"<figcaption>Loss, accuracy and learning rate by epochs of training. {many}{means}</figcaption></figure></section>"
    )


# ---------------------------------------------------------------------- sections


def _head(models: list[Sequential]) -> str:
    return f'<header><h1>How it reads: {_name(models)}</h1><p class="date">Report of {time.strftime("%Y-%m-%d, %H:%M")}</p></header>'


def _training(settings: Mapping[str, Any]) -> str:
    said = [
        f"{name} {escape(_shown(name, settings[name]))}" for name in ("recipe", "training time") if name in settings
    ]
    facts = (", ".join(said).capitalize() + ".") if said else ""
    return f"{facts} {escape(str(settings.get('note', '')))}".strip()


def _result(labels: np.ndarray, probabilities: np.ndarray, settings: Mapping[str, Any]) -> str:
    total = len(labels)
    right = int((probabilities.argmax(axis=1) == labels).sum())
    low, high = metrics.confidence_interval(right, total)
    error = metrics.expected_calibration_error(labels, probabilities)
    return (
        f'<p class="lead">Of {total:,} images kept out of training, {right:,} were read rightly: a validation '
        f"accuracy of <strong>{_percent(right / total)}</strong>, with a 95\u202f% confidence interval of {_percent(low)} to "
        f"{_percent(high)}. Misread digits: {total - right:,}. Expected calibration error: {_percent(error)}. "
        f"{_training(settings)}</p>"
    )


def _confusions(labels: np.ndarray, probabilities: np.ndarray) -> str:
    classes = probabilities.shape[1]
    matrix = metrics.confusion_matrix(labels, probabilities, classes)
    right, true, taken = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    worst = max(1, int((matrix - np.diag(right)).max()))

    def share(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f}" if whole else "–"

    rows = []
    for row in range(classes):
        cells = []
        for column, count in enumerate(matrix[row].tolist()):
            kind, depth = ("hit", right[row] / max(1, true[row])) if row == column else ("miss", (count / worst) ** 0.5)
            shade = f' class="{kind}" style="--depth:{depth:.2f}"' if count else ' class="none"'
            cells.append(f"<td{shade}>{f'{count:,}' if count else '·'}</td>")
        sums = f'<td class="sum">{true[row]:,}</td><td class="sum">{share(right[row], true[row])}</td>'
        rows.append(f'<tr><th scope="row">{row}</th>{"".join(cells)}{sums}</tr>')
    head = "".join(f'<th scope="col">{column}</th>' for column in range(classes))
    sums = "".join(f'<td class="sum">{count:,}</td>' for count in taken)
    precision = "".join(f'<td class="sum">{share(r, t)}</td>' for r, t in zip(right, taken, strict=True))
    return (
        '<section><h2>What is taken for what</h2><div class="pair"><div class="wide"><table class="matrix"><caption>Confusion '
        "matrix: rows are the true digits, columns what they were read as. Recall is the share of a digit’s images that "
        "were read as it, precision the share of images read as a digit that are it.</caption>"
        f'<thead><tr><td></td>{head}<th scope="col">sum</th><th scope="col">recall, %</th></tr></thead>'
        f'<tbody>{"".join(rows)}</tbody><tfoot><tr><th scope="row">sum</th>{sums}<td class="sum">{len(labels):,}</td><td></td></tr>'
        f'<tr class="precision"><th scope="row">precision, %</th>{precision}<td></td>'
        f'<td class="sum">{share(right.sum(), len(labels))}</td></tr>'
        f"</tfoot></table></div>{_reliability(labels, probabilities)}</div></section>"
    )


def _reliability(labels: np.ndarray, probabilities: np.ndarray) -> str:
    """Accuracy over confidence, with the interval that so few images allow, above the number of images in each bin."""
    bins = 15
    counts, confidence, right = metrics.calibration(labels, probabilities, bins)
    left, top, side, base, strip = 40, 6, 270, 350, 44  # `base`: where the bars of counts stand

    def x(share: float) -> float:
        return left + side * share

    def y(share: float) -> float:
        return top + side * (1 - share)

    marks = [f'<path class="diagonal" d="M{x(0)} {y(0)}L{x(1)} {y(1)}"/>']
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        marks.append(f'<path class="grid" d="M{x(0)} {y(tick):.1f}h{side}"/>')
        marks.append(f'<text x="{x(0) - 5}" y="{y(tick):.1f}" dy=".32em" text-anchor="end">{100 * tick:.0f}</text>')
        marks.append(f'<text x="{x(tick):.1f}" y="{base + 14}" text-anchor="middle">{100 * tick:.0f}</text>')
    for b in np.flatnonzero(counts):
        count, middle = int(counts[b]), x(confidence[b])
        low, high = metrics.confidence_interval(round(right[b] * count), count)
        marks.append(f'<path class="whisker" d="M{middle:.1f} {y(low):.1f}V{y(high):.1f}"/>')
        marks.append(f'<circle class="validation" cx="{middle:.1f}" cy="{y(right[b]):.1f}" r="3.4"/>')
        tall, centre = strip * log(1 + count) / log(1 + counts.max()), x((b + 0.5) / bins)
        marks.append(
            f'<rect x="{x(b / bins) + 1:.1f}" y="{base - tall:.1f}" width="{side / bins - 2:.1f}" height="{tall:.1f}"/>'
        )
        words = f"{count}" if count < 1000 else f"{count / 1000:.1f}k"
        marks.append(
            f'<text class="count" x="{centre:.1f}" y="{base - tall - 3:.1f}" text-anchor="middle">{words}</text>'
        )
    marks.append(f'<path class="axis" d="M{x(0)} {y(0)}h{side}M{x(0)} {base}h{side}"/>')
    marks.append(f'<text class="name" x="{x(1)}" y="{base + 28}" text-anchor="end">confidence, %</text>')
    marks.append(f'<text class="name" x="{x(0) + 6}" y="{y(1) + 11}">accuracy, %</text>')
    return (
        f'<figure class="small"><svg viewBox="0 0 320 382" role="img"><title>Reliability diagram: accuracy against confidence '
        f"in {bins} bins</title>{''.join(marks)}</svg><figcaption>Reliability: how often the network is right where it is so sure; on the "
        f"diagonal it knows how much it knows. {bins} bins of equal width with 95\u202f% intervals; below, images in "
        "each, on a logarithmic scale.</figcaption></figure>"
    )


def _misread(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> str:
    taken, confidence, pixels = probabilities.argmax(axis=1), probabilities.max(axis=1), _digits(images)
    wrong = np.flatnonzero(taken != labels)
    if not len(wrong):
        return "<section><h2>Misread digits</h2><p>None.</p></section>"
    items = []
    for k in wrong[np.argsort(-confidence[wrong], kind="stable")]:
        words = f"a {labels[k]}, read as {taken[k]}"
        items.append(
            f"<li>{_picture(pixels(images[k]), words, 2)}<b>{labels[k]}</b> → <b>{taken[k]}</b> <small>{_sure(confidence[k])}</small></li>"
        )
    return (
        f"<section><h2>Misread digits</h2><p>All {len(wrong):,} of {len(labels):,}, the most confident mistakes first: the "
        f'true digit → what it was read as, and the confidence in that.</p><ul class="digits">{"".join(items)}</ul></section>'
    )


def _outputs(model: Sequential, image: np.ndarray) -> Iterator[tuple[Conv2D, np.ndarray]]:
    """Every convolution with its output (OH, OW, F) for one image (1, H, W, 1); on copies, which leave the model alone."""
    x = model.as_input(image)
    for layer in deepcopy(model._layers):
        x = layer.forward(x, training=False)
        if isinstance(layer, Conv2D):
            yield layer, model.ops.numpy(x)[0]


def _convolutions(models: list[Sequential], images: np.ndarray | None, labels: np.ndarray | None) -> str:
    found = [layer for layer in models[0].chain if isinstance(layer, Conv2D)] if models else []
    if not found:
        return ""
    models[0].build()
    which = f" of the first of {len(models)} networks" if len(models) > 1 else ""
    kernel = np.asarray(found[0].get_weights()[0], float)  # (KH, KW, C, F)
    height, width, channels, filters = kernel.shape
    side_by_side = kernel.transpose(3, 0, 2, 1).reshape(filters, height, channels * width)
    strip = "".join(
        _picture(_signed(each, np.abs(kernel).max()), f"filter {k}", 40 / height) for k, each in enumerate(side_by_side)
    )
    beside = f", their {channels} input channels side by side" if channels > 1 else ""
    parts = [
        f'<section><h2>What the convolutions see</h2><figure><div class="strip filters">{strip}</div><figcaption>The {filters} '
        f"filters {height} × {width} of <code>{escape(found[0].name)}</code>, the first convolution{which}{beside}: orange "
        "weights are positive, blue ones negative.</figcaption></figure>"
    ]
    if images is not None and labels is not None:
        parts.append(
            f'<figure><div class="strip">{_picture(_digits(images)(images[0]), f"a {labels[0]}", 2)}</div><figcaption>The '
            f"first image that was held out, a {labels[0]}, and below it what each convolution{which} makes of it: the more "
            "ink, the larger the output, relative to the largest of that convolution.</figcaption></figure>"
        )
        for layer, maps in _outputs(models[0], images[:1, :, :, None]):
            height, width, channels = maps.shape
            shown = maps[..., :MAPS]
            pixels = _grey(shown, min(0.0, float(shown.min())), float(shown.max()))
            strip = "".join(
                _picture(pixels[..., k], f"channel {k}", 52 / max(height, width)) for k in range(shown.shape[2])
            )
            number = f"the first {MAPS} of {channels} channels" if channels > MAPS else f"all {channels} channels"
            parts.append(
                f'<figure><div class="strip">{strip}</div><figcaption><code>{escape(layer.name)}</code>, {height} × {width}, '
                f"{number}.</figcaption></figure>"
            )
    return "".join(parts) + "</section>"


def _details(models: list[Sequential], settings: Mapping[str, Any]) -> str:
    from . import __version__

    parts = ["<section><h2>Model, settings, versions</h2>"]
    if models:
        model = models[0]
        model.build()
        rows = []
        for layer in model.chain:
            cells = (
                type(layer).__name__,
                _size(layer.output_shape),
                f"{layer.count_params():,}",
                f"{layer.multiply_adds():,}",
            )
            name = f'<th scope="row"><code>{escape(layer.name)}</code></th>'
            rows.append(f"<tr>{name}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
        which = f"The first of {len(models)} networks" if len(models) > 1 else "The network"
        parts.append(
            f'<div class="wide"><table class="layers"><caption>{which}, for inputs of {_size(model.input.shape)}; multiply-adds are those '
            'of one image.</caption><thead><tr><th scope="col">layer</th><th scope="col">kind</th><th scope="col">output</th>'
            f'<th scope="col">parameters</th><th scope="col">multiply-adds</th></tr></thead><tbody>{"".join(rows)}</tbody><tfoot><tr>'
            f'<th scope="row">sum</th><td></td><td></td><td>{model.count_params():,}</td>'
            f"<td>{sum(layer.multiply_adds() for layer in model.chain):,}</td></tr></tfoot></table></div>"
        )
    facts = {
        "networks": len(models) if len(models) > 1 else None,
        "device": models[0].ops.name if models else None,
        "threads": get_threads(),
        "processor": processor(),
        "minicnn": __version__,
        "NumPy": np.__version__,
        "Numba": numba.__version__,
        "Python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }
    rows = [
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(_shown(name, value))}</td></tr>'
        for name, value in (dict(settings) | facts | dict(settings)).items()
        if value is not None
    ]
    parts.append(
        f'<table class="facts"><caption>Settings and versions.</caption><tbody>{"".join(rows)}</tbody></table></section>'
    )
    return "".join(parts)


# ---------------------------------------------------------------------- the page

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>How it reads: %s</title>
<style>%s</style>
</head>
<body>
%s
</body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1d1c1a; --paper: #fffefc; --soft: #6a6863; --rule: #dedbd3;
  --blue: 28 94 156; --orange: 190 76 20; --invert: 1; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e3dc; --paper: #17181b; --soft: #9d9a92; --rule: #383a40;
  --blue: 116 174 228; --orange: 240 148 92; --invert: 0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 64rem; padding: 3.5rem 1.5rem 5rem; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.55 Charter, "Bitstream Charter", "Iowan Old Style", "Palatino Linotype", Palatino, P052, Georgia,
  "Times New Roman", serif; font-variant-numeric: lining-nums; counter-reset: figure table; }
h1, h2 { font-weight: 600; line-height: 1.2; letter-spacing: -.01em; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: 2.1rem; margin: 0; }
h2 { font-size: 1.35rem; margin: 3.2rem 0 1rem; padding-top: .8rem; border-top: 1px solid var(--rule); break-after: avoid; }
p { max-width: 42rem; margin: 0 0 1rem; }
.date { color: var(--soft); margin: .3rem 0 1.8rem; }
.lead { font-size: 1.2rem; hyphens: auto; }
figure { margin: 0 0 1.6rem; counter-increment: figure; break-inside: avoid; }
figcaption, caption { font-size: .9rem; line-height: 1.45; color: var(--soft); text-align: left; max-width: 42rem;
  margin-top: .6rem; }
caption { margin: 0 0 .6rem; counter-increment: table; }
figcaption::before { content: "Figure " counter(figure) ". "; color: var(--ink); font-weight: 600; }
caption::before { content: "Table " counter(table) ". "; color: var(--ink); font-weight: 600; }
code { font: .88em/1 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(18.5rem, 100%), 1fr)); gap: 1.4rem 1.6rem; }
.chart p { margin: 0 0 .4rem; font-size: .9rem; line-height: 1.4; }
.key { color: var(--soft); margin-right: .9rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.key::before { content: ""; display: inline-block; width: 1.3em; margin-right: .4em; vertical-align: .28em;
  border-top: 2px solid rgb(var(--blue)); }
.key.validation::before { border-top: 2px dashed rgb(var(--orange)); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 10.5px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
svg text.count { font-size: 7.5px; }
svg path { fill: none; stroke: var(--rule); }
svg path.axis, svg path.diagonal { stroke: var(--soft); }
svg path.diagonal { stroke-dasharray: 3 3; }
svg path.whisker { stroke: rgb(var(--blue) / .55); stroke-width: 1.6; }
svg rect { fill: rgb(var(--blue) / .35); }
polyline { fill: none; stroke: rgb(var(--blue)); stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
polyline.validation { stroke: rgb(var(--orange)); stroke-dasharray: 5 3.5; }
.many polyline { stroke-width: 1; }
circle { fill: rgb(var(--blue)); }
.chart circle.validation { fill: var(--paper); stroke: rgb(var(--orange)); stroke-width: 1.6; }
circle.rate { display: none; }
.pair { display: flex; flex-wrap: wrap; gap: 2rem 2.4rem; align-items: flex-start; }
.pair .wide { flex: 1 1 36rem; }
.small { flex: 1 1 15rem; max-width: 21rem; }
.wide { max-width: 100%; overflow-x: auto; margin-bottom: 1.6rem; }
table { border-collapse: collapse; border-top: 1.5px solid var(--ink); border-bottom: 1.5px solid var(--ink);
  font-variant-numeric: lining-nums tabular-nums; font-size: .92rem; line-height: 1.3; }
th { font-weight: 400; text-align: left; }
td, th { padding: .28rem .5rem; }
thead { border-bottom: 1px solid var(--soft); } tfoot { border-top: 1px solid var(--soft); }
caption { caption-side: top; border: 0; }
.matrix { width: 100%; table-layout: fixed; font-size: .84rem; } .matrix td, .matrix th { text-align: center; padding: .34rem .18rem; }
.matrix td:first-child, .matrix th:first-child { width: 5.6em; } .matrix th:last-child { width: 4.8em; }
.matrix thead th, .matrix tbody th { font-weight: 600; }
.matrix .sum, .matrix thead th:nth-last-child(-n+2), .matrix tfoot th { color: var(--soft); font-weight: 400; }
.matrix .precision { font-size: .72rem; }
.hit { background: rgb(var(--blue) / calc(.34 * var(--depth) * var(--depth))); }
.miss { background: rgb(var(--orange) / calc(.08 + .4 * var(--depth))); }
.none { color: var(--rule); }
.layers td:nth-child(n+4), .layers th:nth-child(n+4) { text-align: right; }
.layers { min-width: min(42rem, 100%); }
.facts { margin-top: 2rem; } .facts th { color: var(--soft); padding-right: 1.6rem; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
img { display: block; image-rendering: pixelated; outline: 1px solid var(--rule); }
img.ink { filter: invert(var(--invert)); outline-color: color-mix(in srgb, var(--soft) 40%, transparent); }
.digits { list-style: none; margin: 0; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(4.4rem, 1fr));
  gap: 1.1rem .7rem; }
.digits li { text-align: center; font-size: .9rem; line-height: 1.25; break-inside: avoid; }
.digits img { margin: 0 auto .35rem; }
.digits small { display: block; color: var(--soft); font-size: .8rem; font-variant-numeric: tabular-nums; }
.strip { display: flex; flex-wrap: wrap; gap: 5px; }
@media (max-width: 34rem) {
  body { padding: 2rem 1rem 3rem; font-size: 1rem; } h1 { font-size: 1.7rem; } .lead { font-size: 1.08rem; }
  .matrix { font-size: .7rem; } .matrix .precision { font-size: .62rem; } .matrix td, .matrix th { padding: .3rem .05rem; }
  .layers { font-size: .8rem; } .layers td, .layers th { padding: .25rem .3rem; }
  .row, .pair { gap: 1.6rem; } }
@media print { @page { margin: 16mm; } body { padding: 0; max-width: none; font-size: 10.5pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } tr, li { break-inside: avoid; } }
"""

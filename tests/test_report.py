"""The report of a trained model, read as a browser would: well-formed, complete in itself, and with the right numbers.

Pictures are decoded by a reader of their own, and by Pillow where it is installed.
"""

import base64
import copy
import math
import re
import struct
import zlib
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest

import minicnn
from minicnn import Conv2D, Dense, Flatten, Input, MaxPooling2D, Rescaling, Sequential, data, metrics, report
from minicnn.callbacks import History
from minicnn.schedules import OneCycle

RANDOM = np.random.default_rng(0)
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Elements as (tag, attributes, text), checked for being closed in their order."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open, self.found = [], []
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        element = [tag, dict(attributes), ""]
        assert len(element[1]) == len(attributes)
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.found.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, text):
        for element in self.open:
            element[2] += text

    def all(self, tag, kind=None):
        return [e for e in self.found if e[0] == tag and (kind is None or kind in e[1].get("class", "").split())]

    @property
    def text(self):
        return self.all("body")[0][2].replace("\u202f", " ")

    def section(self, title):
        return next((e[2].replace("\u202f", " ") for e in self.all("section") if e[2].startswith(title)), None)

    def table(self, kind):
        """The texts of the cells, row by row."""
        html = re.search(rf'<table class="{kind}">.*?</table>', self.source, re.S)[0]
        return [
            [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
            for row in re.findall("<tr[^>]*>(.*?)</tr>", html, re.S)
        ]


def decoded(image):
    """The pixels of an <img>, from the bytes of its PNG."""
    content = base64.b64decode(image[1]["src"].removeprefix("data:image/png;base64,"), validate=True)
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, {}
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        name, body = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        assert struct.unpack(">I", content[place + 8 + length : place + 12 + length])[0] == zlib.crc32(name + body)
        chunks[name], place = body, place + 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert depth == 8 and rest == [0, 0, 0]
    channels = {0: 1, 2: 3}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()  # the filter of each row: none
    pixels = rows[:, 1:].reshape(height, width, channels)
    pixels = pixels[..., 0] if channels == 1 else pixels
    try:
        from PIL import Image
    except ImportError:
        return pixels
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(content))), pixels)
    return pixels


def network(**options):
    layers = [
        Input((28, 28, 1)),
        Rescaling(1 / 255),
        Conv2D(5, 3, activation="relu", name="<b>&bold"),
        MaxPooling2D(4),
        Conv2D(40, 3, padding="same", name="second"),
        Flatten(),
        Dense(10, activation="softmax"),
    ]
    model = Sequential(layers, name="<i>net</i>")
    model.compile(
        optimizer=minicnn.optimizers.Adam(OneCycle(3e-3, 12)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **options,
    )
    return model


def recorded(epochs, **lists):
    """A history as if there had been a training."""
    history = History()
    history.set_params({"steps": 4})
    history.epoch, history.history = list(range(epochs)), lists
    return history


def predictions(labels, wrong, classes=10):
    """Probabilities (N, K) that misread the first `wrong` images."""
    p = RANDOM.dirichlet(np.full(classes, 0.3), len(labels))
    for row, label in enumerate(labels):
        best = (label + 1) % classes if row < wrong else label
        taken = p[row].argmax()
        p[row, [best, taken]] = p[row, [taken, best]]
    return p


@pytest.fixture(scope="module")
def trained():
    minicnn.set_random_seed(1)
    images, labels = data.synthetic_digits(180, 3)
    model = network()
    held_out = images[128:], labels[128:]
    history = model.fit(images[:128], labels[:128], 32, epochs=3, validation_data=held_out, verbose=0)
    return model, history, *held_out, model.predict(held_out[0])


@pytest.fixture
def page(trained, tmp_path):
    settings = {"recipe": "<u>", "seed": 1, "data": tmp_path / "train.csv", "save": str(tmp_path / "net"), "none": None}
    return Page(report.write(tmp_path / "a" / "b", *trained, settings | {"training time": 83.2, "note": "5 < 6."}))


def test_the_page_needs_nothing_else_and_runs_nothing(page, tmp_path):
    assert not re.search(
        r"https?:|//|@import|url\(|<script|<link|<iframe|\son\w+=", re.sub(r"base64,[^\"]*", "", page.source)
    )
    for _, attributes, _ in page.found:
        assert "href" not in attributes and attributes.get("src", "data:").startswith("data:")
    assert "default-src 'none'" in page.source
    assert str(tmp_path) not in page.source and "train.csv" in page.text and "net" in page.text
    assert list((tmp_path / "a" / "b").iterdir()) == [tmp_path / "a" / "b" / "report.html"]


def test_all_text_is_escaped(page):
    assert not [e for e in page.found if e[0] in ("u", "i")] and len(page.all("title")) == 5
    assert page.all("h1")[0][2] == "How it reads: <i>net</i>" and "<b>&bold" in page.section("What the conv")
    assert ["recipe", "&lt;u&gt;"] in page.table("facts")


def test_the_first_paragraph(trained, page):
    *_, labels, probabilities = trained
    right = sum(int(row.argmax()) == label for row, label in zip(probabilities, labels, strict=True))
    low, high = metrics.confidence_interval(right, 52)
    error = metrics.expected_calibration_error(labels, probabilities)
    lead = page.all("p", "lead")[0][2].replace("\u202f", " ")
    for part in (
        "Of 52 images",
        f"{right} were read rightly",
        f"accuracy of {100 * right / 52:.2f} %",
        f"interval of {100 * low:.2f} % to {100 * high:.2f} %",
        f"Misread digits: {52 - right}.",
        f"calibration error: {100 * error:.2f} %",
        "Recipe <u>, training time 1 min 23 s. 5 < 6.",
    ):
        assert part in lead


def test_the_confusion_matrix(trained, page):
    *_, labels, probabilities = trained
    head, *rows, sums, precision = page.table("matrix")
    assert head == ["", *map(str, range(10)), "sum", "recall, %"]
    taken = [max(range(10), key=list(p).__getitem__) for p in probabilities]
    pairs = list(zip(labels.tolist(), taken, strict=True))
    for digit, row in enumerate(rows):
        counts = [pairs.count((digit, other)) for other in range(10)]
        recall = f"{100 * counts[digit] / sum(counts):.1f}" if sum(counts) else "–"
        assert row == [str(digit), *(str(count or "·") for count in counts), str(sum(counts)), recall]
    assert sums == ["sum", *(str(taken.count(digit)) for digit in range(10)), "52", ""]
    for digit, cell in enumerate(precision[1:11]):
        assert cell == (f"{100 * pairs.count((digit, digit)) / taken.count(digit):.1f}" if digit in taken else "–")


@pytest.mark.parametrize("wrong", [0, 1, 7, 1500])
def test_every_misread_digit_is_there_the_surest_first(tmp_path, wrong):
    labels = RANDOM.integers(0, 10, 2000)
    images = RANDOM.integers(0, 256, (2000, 6, 5, 1)).astype(np.uint8)
    probabilities = predictions(labels, wrong)
    page = Page(report.write(tmp_path, None, None, images, labels, probabilities))
    items = page.all("li")
    assert len(items) == len(page.all("img")) == wrong
    if not wrong:
        assert page.section("Misread digits") == "Misread digitsNone."
        return
    assert f"All {wrong:,} of 2,000" in page.section("Misread digits")
    order = sorted(range(wrong), key=lambda k: -max(probabilities[k]))
    for k, item, image in zip(order, items, page.all("img"), strict=True):
        sure, taken = max(probabilities[k]), (labels[k] + 1) % 10
        words = "> 99.9 %" if sure >= 0.9995 else f"{100 * sure:.1f} %"
        assert item[2].replace("\u202f", " ") == f"{labels[k]} → {taken} {words}"
        assert image[1]["alt"] == f"a {labels[k]}, read as {taken}" and image[1]["loading"] == "lazy"
        np.testing.assert_array_equal(decoded(image), images[k, ..., 0])


def test_filters_and_what_each_convolution_makes_of_a_digit(trained, page):
    model, _, images, labels, probabilities = trained
    wrong = int((probabilities.argmax(axis=1) != labels).sum())
    pictures = [decoded(image) for image in page.all("img")]
    assert len(pictures) == wrong + 5 + 1 + 5 + 32
    filters, digit, first, second = (
        pictures[wrong : wrong + 5], pictures[wrong + 5], pictures[wrong + 6 : wrong + 11], pictures[wrong + 11 :],
    )  # fmt: skip
    kernel = model.layers[1].get_weights()[0]
    for f, colours in enumerate(filters):
        assert colours.shape == (3, 3, 3)
        for a, b in np.ndindex(3, 3):
            red, _, blue = colours[a, b].astype(int)
            share = kernel[a, b, 0, f] / np.abs(kernel).max()
            assert abs(share) < 0.01 or (red > blue) == (share > 0)
            assert min(red, blue) == pytest.approx(255 - abs(share) * (235 if share > 0 else 231), abs=0.51)
    np.testing.assert_array_equal(digit, images[0, ..., 0])
    for maps, depth, size in ((first, 2, 26), (second, 4, 6)):
        part = Sequential([Input((28, 28, 1)), *copy.deepcopy(model.layers[:depth])]).predict(images[:1])[0]
        part = part[..., :32]
        assert part.shape[:2] == (size, size)
        low = min(0, part.min())
        for channel, pixels in enumerate(maps):
            assert np.abs(pixels - 255 * (part[..., channel] - low) / (part.max() - low)).max() <= 0.51
    assert "all 5 channels" in page.text and "the first 32 of 40 channels" in page.text


def test_the_model_is_as_before(trained, tmp_path):
    model, *rest = trained
    held_back = model.layers[1].forward(np.ones((2, 28, 28, 1), np.float32)), model.layers[1].saved
    weights, memory = model.get_weights(), [p.data.ctypes.data for p in model.parameters]
    known = [p.shared for p in model.parameters]
    before = model.predict(rest[1])
    report.write(tmp_path, model, *rest)
    assert model.layers[1].saved is held_back[1]
    assert [p.data.ctypes.data for p in model.parameters] == memory and [p.shared for p in model.parameters] == known
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    np.testing.assert_array_equal(model.predict(rest[1]), before)


def test_the_tables_of_layers_and_settings(page):
    head, *rows, total = page.table("layers")
    assert head == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert [row[1] for row in rows] == ["Rescaling", "Conv2D", "MaxPooling2D", "Conv2D", "Flatten", "Dense"]
    assert rows[1] == ["&lt;b&gt;&amp;bold", "Conv2D", "26 × 26 × 5", "50", f"{26 * 26 * 9 * 5:,}"]
    assert rows[-1][2:] == ["10", f"{1440 * 10 + 10:,}", "14,400"]
    assert total[3] == f"{50 + (45 * 40 + 40) + 14_410:,}"
    facts = dict(page.table("facts"))
    assert facts["seed"] == "1" and facts["data"] == "train.csv" and facts["save"] == "net" and "none" not in facts
    assert facts["minicnn"] == minicnn.__version__ and facts["NumPy"] == np.__version__
    assert facts["threads"] == str(minicnn.get_threads()) and facts["device"] == "cpu" and facts["processor"]


# ---------------------------------------------------------------------- curves


def lines(page, kind):
    """For each line of a kind, panel by panel, its points in the panel's coordinates."""
    found = [e[1]["points"].split() for e in page.all("polyline", kind)]
    return [[tuple(map(float, point.split(","))) for point in points] for points in found]


@pytest.mark.parametrize("epochs", [1, 4, 100])
def test_curves_lie_where_their_axes_say(tmp_path, epochs):
    loss, accuracy = [2 * 0.9**k for k in range(epochs)], [1 - 0.5 * 0.9**k for k in range(epochs)]
    history = recorded(epochs, loss=loss, accuracy=accuracy, val_loss=loss[::-1], val_accuracy=accuracy[::-1])
    page = Page(report.write(tmp_path, history=history))
    assert len(page.all("span", "validation")) == 2
    assert f"training {float(f'{100 * accuracy[-1]:.4g}'):g} %" in page.text
    panels = re.findall(r"<svg.*?</svg>", page.source, re.S)
    assert len(panels) == 2  # no learning rate is known
    for panel, values, training, validation in zip(
        panels, (loss, accuracy), lines(page, "training"), lines(page, "validation"), strict=True
    ):
        marks = re.findall(r'<text x="(\S+)" y="(\S+)"([^>]*)>([^<]*)<', panel)
        ticks = [
            (float(y), float(t.replace("\u202f%", "").replace("−", "-"))) for _, y, place, t in marks if "end" in place
        ]
        scale = math.log if values is loss and epochs == 100 else float
        share = 1 if values is loss else 100
        (y0, low), (y1, high) = ticks[0], ticks[-1]
        assert 3 <= len(ticks) <= 8 and low <= share * min(values) and high >= share * max(values)
        for (x, y), (_, mirrored), value, epoch in zip(training, validation[::-1], values, range(1, 101), strict=False):
            part = (scale(share * value) - scale(low)) / (scale(high) - scale(low))
            assert y == mirrored == pytest.approx(y0 + part * (y1 - y0), abs=0.2)
            assert x == pytest.approx(46 + (320 - 8 - 46) * epoch / epochs, abs=0.06)
        epochs_shown = [int(t) for _, _, place, t in marks if "middle" in place]
        assert epochs_shown[0] == 0 and epochs_shown[-1] == epochs and len(epochs_shown) <= 7


def test_the_schedule_is_drawn_from_the_first_step_to_the_last(page):
    (points,) = lines(page, "rate")
    schedule = OneCycle(3e-3, 12)
    rates = [schedule(step) for step in range(12)]
    ys = [y for _, y in points]
    assert len(points) == 12 and f"up to {max(rates):.3g}" in page.text
    for rate, (x, y), step in zip(rates, points, range(12), strict=True):
        share = (rate - rates[-1]) / (max(rates) - rates[-1])
        assert y == pytest.approx(ys[-1] + share * (min(ys) - ys[-1]), abs=0.11)
        assert x == pytest.approx(46 + (320 - 8 - 46) * step / 12, abs=0.06)


def test_recorded_and_constant_rates(tmp_path):
    page = Page(report.write(tmp_path, history=recorded(3, loss=[3.0, 2, 1], learning_rate=[0.1, 0.05, 0.025])))
    assert len(lines(page, "rate")[0]) == 3 and "up to 0.1" in page.text
    history = recorded(2, loss=[2.0, 1.0])
    history.model = network()
    history.model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    (points,) = lines(Page(report.write(tmp_path, history=history)), "rate")
    assert len({y for _, y in points}) == 1 and len(points) == 2


def test_without_validation_and_with_some_epochs_validated(tmp_path):
    page = Page(report.write(tmp_path, network(), recorded(4, loss=[4.0, 3, 2, 1], accuracy=[0.1, 0.2, 0.3, 0.4])))
    assert "No images were held out" in page.text and lines(page, "validation") == []
    for absent in ("confusion", "Misread", "Reliability", "validation"):
        assert absent not in page.text
    assert len(page.all("img")) == 5 and "filters 3 × 3" in page.text
    history = recorded(7, loss=[7.0, 6, 5, 4, 3, 2, 1], val_loss=[6.0, 2.0, math.nan])
    for every in (2, [2, 4, 6]):
        history.params["validation_freq"] = every
        page = Page(report.write(tmp_path, history=history))
        ((one, another),) = lines(page, "validation")
        (training,) = lines(page, "training")
        assert one == training[1]  # a loss of 6 in epoch 2
        assert another == (training[3][0], training[5][1])  # of 2 in epoch 4
    assert report.write(tmp_path).exists()


def test_several_networks_together(trained, tmp_path):
    model, history, images, labels, _ = trained
    probabilities = predictions(labels, 3)
    settings = {"device": "two of them"}
    page = Page(report.write(tmp_path, [model, network()], [history, history], images, labels, probabilities, settings))
    assert "49 were read rightly" in page.text and "One line for each of the 2 networks" in page.text
    assert len(lines(page, "training")) == 4 and len(lines(page, "validation")) == 4 and len(lines(page, "rate")) == 2
    assert "the first convolution of the first of 2 networks" in page.text
    facts = dict(page.table("facts"))
    assert facts["networks"] == "2" and facts["device"] == "two of them"


@pytest.mark.parametrize(
    "low, high", [(0.03, 0.97), (0, 1), (0.98, 0.9991), (5, 5), (0, 0), (1e-6, 3e-6), (12, 90_000)]
)
def test_ticks_enclose_what_is_drawn(low, high):
    found = report.ticks(low, high)
    assert found[0] <= low and found[-1] >= high and 2 <= len(found) <= 7
    step = found[1] - found[0]
    np.testing.assert_allclose(np.diff(found), step, rtol=1e-6)
    assert round(step / 10 ** math.floor(math.log10(step * 1.0000001)), 6) in (1, 2, 5)
    if low > 0:
        found = report.log_ticks(low, high)
        assert found[0] <= low * (1 + 1e-9) and found[-1] >= high * (1 - 1e-9) and 2 <= len(found) <= 7
        assert {f"{tick:e}"[0] for tick in found} <= {"1", "2", "5"}


def test_the_reliability_diagram(trained, page):
    *_, labels, probabilities = trained
    counts, confidence, right = metrics.calibration(labels, probabilities)
    svg = next(part for part in re.findall(r"<svg.*?</svg>", page.source, re.S) if "Reliability" in part)
    dots = [tuple(map(float, dot)) for dot in re.findall(r'<circle class="validation" cx="(\S+)" cy="(\S+)"', svg)]
    expected = [(40 + 270 * c, 6 + 270 * (1 - r)) for n, c, r in zip(counts, confidence, right, strict=True) if n]
    np.testing.assert_allclose(dots, expected, atol=0.051)
    assert re.findall(r'<text class="count"[^>]*>(\d+)<', svg) == [str(n) for n in counts if n]


# ---------------------------------------------------------------------- what cannot be


def test_a_place_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    for call in (report.check, report.write):
        with pytest.raises(data.DataError, match=r"file: expected a folder for the report, but this is a file\.$"):
            call(file)
        with pytest.raises(data.DataError, match=r"the folder cannot be made \(not a directory\)\.$"):
            call(file / "below")
    assert file.read_text() == "old"
    (tmp_path / "taken" / "report.html").mkdir(parents=True)
    with pytest.raises(
        data.DataError, match="report.html: expected a file that can be written, but this is a directory"
    ):
        report.check(tmp_path / "taken")
    report.check(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


IMAGES, LABELS, EVEN = np.zeros((3, 4, 4, 1)), [0, 1, 2], np.full((3, 10), 0.1)


@pytest.mark.parametrize(
    "given, sentence",
    [
        ((IMAGES, None, EVEN), "images need their labels and the probabilities"),
        ((IMAGES[..., 0], LABELS, EVEN), r"images of shape \(N, height, width, 1\).*got \(3, 4, 4\)"),
        ((IMAGES, LABELS, [0, 1, 2]), r"probabilities of shape \(N, classes\), got \(3, 4, 4, 1\) and \(3,\)"),
        ((IMAGES, LABELS[:2], EVEN), "3 images, 2 labels and 3 predictions"),
        ((IMAGES, [0, 1, 10], EVEN), "labels from 0 to 9, got 0 to 10"),
        ((IMAGES, LABELS, EVEN - 1), "expected probabilities from 0 to 1"),
    ],
)
def test_data_that_do_not_fit(tmp_path, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        report.write(tmp_path / "out", None, None, *given)
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- the numbers behind it, in metrics


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("right, total", [(0, 1), (1, 1), (0, 20), (20, 20), (7, 20), (5967, 6000), (91, 100)])
def test_the_confidence_interval_is_where_the_score_test_rejects(right, total, level):
    """|right / total - p| ≤ z · √(p (1 - p) / total), the end points found by bisection, and z by that of erf."""

    def bisect(f, low, high):
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if f(middle) else (low, middle)
        return (low + high) / 2

    z = bisect(lambda z: math.erf(z / math.sqrt(2)) < level, 0, 10)
    share = right / total

    def rejected(p):
        return abs(share - p) > z * math.sqrt(p * (1 - p) / total)

    low = bisect(rejected, 0, share) if right else 0
    high = bisect(lambda p: not rejected(p), share, 1) if right < total else 1
    assert metrics.confidence_interval(right, total, level) == pytest.approx((low, high), abs=1e-9)


def test_confidence_intervals_that_cannot_be():
    for right, total in ((0, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match=f"expected right between 0 and total.*got {right} of {total}"):
            metrics.confidence_interval(right, total)
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 1"):
        metrics.confidence_interval(1, 2, 1)


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_expected_calibration_error(bins):
    labels = RANDOM.integers(0, 4, 300)
    probabilities = RANDOM.dirichlet(np.full(4, 0.4), 300)
    probabilities[:40] = RANDOM.choice([0.1, 0.2, 0.5], (40, 1)) * [1, 1, 0, 0]  # on the borders of bins
    probabilities[40:50] = [0, 0, 1, 0]
    total, expected = 0.0, []
    for b in range(bins):
        inside = [
            (max(p), float(list(p).index(max(p)) == label))
            for p, label in zip(probabilities, labels, strict=True)
            if b / bins < max(p) <= (b + 1) / bins
        ]
        count = len(inside)
        confidence, right = (math.fsum(column) / count for column in zip(*inside, strict=True)) if count else (0, 0)
        expected.append((count, confidence, right))
        total += count / 300 * abs(right - confidence)
    np.testing.assert_allclose(np.transpose(metrics.calibration(labels, probabilities, bins)), expected, rtol=1e-12)
    assert metrics.expected_calibration_error(labels, probabilities, bins) == pytest.approx(total, rel=1e-12)
    one_hot = np.eye(4)[labels]
    assert metrics.expected_calibration_error(one_hot, probabilities, bins) == pytest.approx(total, rel=1e-12)


def test_calibration_that_cannot_be():
    with pytest.raises(ValueError, match="bins must be 1 or more, got 0"):
        metrics.calibration(LABELS, EVEN, 0)
    for scores in (EVEN * 20, EVEN - 0.2, EVEN * np.nan, EVEN[0]):
        with pytest.raises(ValueError, match="expected probabilities from 0 to 1"):
            metrics.expected_calibration_error(LABELS, scores)

"""The example from the outside: a run on small CSV files, and every kind of bad input, as a user would meet them.

Bad input must give one sentence on the error stream and status 2, and must leave an existing submission as it is.
"""

import re
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minicnn

EXAMPLE = str(Path(__file__).parents[1] / "examples" / "train_mnist.py")
HEADER = ["label", *(f"pixel{k}" for k in range(784))]
IMAGES, LABELS = minicnn.data.synthetic_digits(60)
OLD = "ImageId,Label\n1,7\n"


def table(header=HEADER, rows=60):
    """The cells of a train.csv, as lists that a test may spoil."""
    pixels = IMAGES.reshape(len(IMAGES), -1)
    return [list(header), *([int(LABELS[n]), *map(int, pixels[n])] for n in range(rows))]


def text(cells):
    return "".join(",".join(map(str, row)) + "\n" for row in cells)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with good files, a submission of an earlier run, and no way to a network."""
    (tmp_path / "train.csv").write_text(text(table()))
    (tmp_path / "test.csv").write_text(text([row[1:] for row in table(rows=20)]))
    (tmp_path / "submission.csv").write_text(OLD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys, threads):
    """Runs the example with these arguments; returns (status, output, errors)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [EXAMPLE, *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(EXAMPLE, run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return call


def assert_refused(outcome, *parts):
    """Status 2 and one sentence that holds all the parts."""
    status, _, errors = outcome
    assert status == 2
    assert errors.startswith("train_mnist: ") and errors.count("\n") == 1 and "Traceback" not in errors
    for part in parts:
        assert str(part) in errors
    assert Path("submission.csv").read_text() == OLD
    assert sorted(path.name for path in Path().glob(".submission*")) == []


def test_a_run_from_csv_to_submission(folder, run):
    arguments = ["--train", "train.csv", "--test", "test.csv", "--recipe", "fast", "--epochs", 2, "--validation", 0.2]
    status, output, errors = run(*arguments, "--batch-size", 16, "--threads", 2, "--save", "net.safetensors")
    assert (status, errors) == (0, "")
    for part in (
        "Model: digits",
        "epoch 2/2",
        "val_accuracy",
        "expected accuracy",
        "95 % confidence",
        "calibration error",
        "bar of 91 %",
        "by digit, %: 0",
        "most taken for another",
    ):
        assert part in output
    assert str(folder / "submission.csv") in output
    lines = Path("submission.csv").read_text().split()
    model = minicnn.load_model("net.safetensors")
    predicted = model.predict(IMAGES[:20]).argmax(axis=1)
    assert lines == ["ImageId,Label", *(f"{n},{label}" for n, label in enumerate(predicted, 1))]


def test_the_same_seed_gives_the_same_network(folder, run):
    weights = []
    for name, threads in (("a.safetensors", 1), ("b.safetensors", 3)):
        arguments = ["--train", "train.csv", "--recipe", "fast", "--epochs", 1, "--seed", 5, "--threads", threads]
        assert run(*arguments, "--save", name)[0] == 0
        weights.append(minicnn.load_model(name).get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.fixture
def pair(monkeypatch):
    """A recipe of two small networks."""

    def network():
        return [minicnn.Flatten(), minicnn.Dense(10, activation="softmax")]

    monkeypatch.setitem(minicnn.recipes.RECIPES, "pair", minicnn.recipes.Recipe((network, network), 2, 16, 1e-2))


def test_a_recipe_of_several_networks_goes_on_where_it_was_cut(folder, run, pair):
    arguments = ["--train", "train.csv", "--test", "test.csv", "--recipe", "pair", "--out", "votes.csv"]
    status, output, _ = run(*arguments)
    assert status == 0 and "network 1 of 2" in output and "network 2 of 2" in output
    votes = Path("votes.csv").read_bytes()
    files = [f"network-0{n}.{end}" for n in (1, 2) for end in ("json", "safetensors")]
    assert sorted(path.name for path in Path("votes-networks").iterdir()) == files
    for file in files[2:]:
        Path("votes-networks", file).unlink()
    status, output, _ = run(*arguments)
    assert status == 0 and "network 1 of 2" not in output and "network 2 of 2" in output
    assert Path("votes.csv").read_bytes() == votes
    assert_refused(run(*arguments, "--seed", 1), "votes-networks", "seed")
    assert_refused(run(*arguments, "--save", "net.safetensors"), "--keep")


def test_a_report(folder, run, pair):
    arguments = [
        "--train",
        "train.csv",
        "--test",
        "test.csv",
        "--recipe",
        "pair",
        "--report",
        "about",
        "--out",
        "votes.csv",
    ]
    status, output, _ = run(*arguments, "--validation", 0.5)
    page = Path("about", "report.html").read_text()
    assert status == 0 and str(Path("about", "report.html")) in output
    misread = 60 - round(60 * float(re.search(r"expected accuracy ([\d.]+)%", output)[1]) / 100)
    assert "60 images kept out of training" in output and "kept from some of the networks" in output
    assert page.count("<img") >= misread > 0 and "pair" in page
    assert "Each was kept from some of the networks" in page[: page.index("<section")] and "training time" in page
    run(*arguments, "--validation", 0.5)  # goes on from votes-networks
    assert "training time" not in Path("about", "report.html").read_text()
    assert str(folder) not in page
    (folder / "file").write_text("mine")
    assert_refused(run(*arguments, "--report", "file"), "file", "folder")
    assert (folder / "file").read_text() == "mine"
    assert run(*arguments, "--validation", 0, "--keep", "all")[0] == 0
    assert "No images were held out" in Path("about", "report.html").read_text()


def test_cross_validation(folder, run, pair):
    arguments = ["--train", "train.csv", "--test", "test.csv", "--recipe", "pair", "--cross-validate", 3]
    status, output, _ = run(*arguments)
    assert status == 0
    folds = [float(share) / 100 for share in re.findall(r"fold \d of 3: accuracy ([\d.]+)% on 20 images", output)]
    mean, deviation = re.search(
        r"3-fold accuracy ([\d.]+)%, standard deviation of the folds ([\d.]+)%", output
    ).groups()
    assert len(folds) == 3
    assert float(mean) / 100 == pytest.approx(np.mean(folds), abs=1e-4)
    assert float(deviation) / 100 == pytest.approx(np.std(folds, ddof=1), abs=1e-4)
    assert "on\n60 images kept out of training" in output
    kept = sorted(path.name for path in Path("submission-networks").iterdir())
    assert kept[:3] == ["fold-1", "fold-2", "fold-3"] and len(kept) == 3 + 4


def test_distorted_digits_have_files_of_their_own(folder, run, monkeypatch, pair):
    monkeypatch.setitem(minicnn.recipes.RECIPES, "robust", minicnn.recipes.RECIPES["pair"])
    (folder / "data").mkdir()
    for name in ("train.csv", "trainset.csv", "testset.csv"):
        shutil.copy(folder / ("test.csv" if name == "testset.csv" else "train.csv"), folder / "data" / name)
    assert "data/trainset.csv to train on, data/testset.csv to label" in run("--recipe", "robust")[1]
    hard = [[int(LABELS[n]), *map(int, image.reshape(-1))] for n, image in enumerate(minicnn.data.distort(IMAGES))]
    (folder / "data" / "trainset.csv").write_text(text([HEADER, *hard]))
    robust = minicnn.recipes.RECIPES["robust"]
    monkeypatch.setitem(minicnn.recipes.RECIPES, "robust", replace(robust, distorted=replace(robust, calm=0.5)))
    assert "these images are distorted already" in run("--recipe", "robust", "--keep", "hard")[1]
    (folder / "data" / "trainset.csv").unlink()
    output = run("--recipe", "robust", "--keep", "other")[1]
    assert "data/train.csv to train on" in output and "distorted already" not in output


def test_files_in_the_data_folder_are_found(folder, run):
    (folder / "data").mkdir()
    for name in ("train.csv", "test.csv"):
        (folder / name).rename(folder / "data" / name)
    status, output, _ = run("--recipe", "fast", "--epochs", 1)
    assert status == 0 and "data/train.csv" in output
    assert len(Path("submission.csv").read_text().split()) == 21


def test_without_data_and_network_digits_are_drawn(folder, run, monkeypatch):
    def unreachable(cache=None):
        raise ConnectionError("no mirror answers")

    draw = minicnn.data.synthetic_digits
    monkeypatch.setattr(minicnn.data, "load_mnist", unreachable)
    monkeypatch.setattr(minicnn.data, "synthetic_digits", lambda n, seed: draw(n // 100, seed))
    status, output, _ = run("--recipe", "fast", "--epochs", 1)
    assert status == 0 and "synthetic digits" in output
    assert len(Path("submission.csv").read_text().split()) == 21


def spoil(row, column, value):
    cells = table()
    cells[row][column] = value
    return cells


@pytest.mark.parametrize(
    "cells, parts",
    [
        ([], ["got nothing"]),
        (table(rows=0), ["row"]),
        ([row[1:] for row in table()], ["label"]),
        ([row[:-1] for row in table()], ["pixel783"]),
        (table(header=[*HEADER[:-1], "pixel0"]), ["pixel0"]),
        ([*table(), [1, 2, 3]], ["61"]),
        (spoil(3, 5, "ink"), ["row 3", "pixel4", "ink"]),
        (spoil(3, 5, "nan"), ["row 3", "pixel4"]),
        (spoil(2, 1, 256), ["row 2", "pixel0", "256"]),
        (spoil(2, 1, -1), ["row 2", "pixel0", "-1"]),
        (spoil(4, 0, 10), ["row 4", "label", "10"]),
    ],
    ids=[
        "empty",
        "no-rows",
        "no-label",
        "missing",
        "duplicated",
        "short",
        "word",
        "nan",
        "256",
        "negative",
        "label-10",
    ],
)
def test_bad_training_files(folder, run, cells, parts):
    (folder / "bad.csv").write_text(text(cells))
    assert_refused(run("--train", "bad.csv", "--test", "test.csv"), "bad.csv", *parts)


def test_a_missing_file(folder, run):
    assert_refused(run("--train", "nowhere.csv"), "nowhere.csv")
    assert_refused(run("--train", "train.csv", "--test", "nowhere.csv"), "nowhere.csv")


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["--out", "no/such/folder.csv"], "no/such"),
        (["--out", "."], "directory"),
        (["--save", "no/such/net.safetensors"], "no/such"),
        (["--out", "train.csv"], "different files"),
        (["--epochs", 0], "--epochs"),
        (["--batch-size", "many"], "--batch-size"),
        (["--validation", 2], "--validation"),
        (["--threads", 0], "--threads"),
        (["--recipe", "unknown"], "unknown"),
        (["--seed", -1], "--seed: expected a whole number from 0 on, got '-1'"),
        (["--cross-validate", 1], "--cross-validate"),
        (["--cross-validate", 61], "--cross-validate"),
        (["--keep", "train.csv"], "train.csv"),
    ],
)
def test_bad_arguments(folder, run, arguments, part):
    before = (folder / "train.csv").read_bytes()
    assert_refused(run("--train", "train.csv", "--test", "test.csv", *arguments), part)
    assert (folder / "train.csv").read_bytes() == before


def test_a_package_that_a_file_needs_is_missed_before_the_training(folder, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setattr(minicnn.recipes, "train", None)  # whoever gets so far fails otherwise
    assert_refused(run("--train", "train.csv", "--test", "test.csv", "--save", "net.keras"), "pip install h5py")
    assert not (folder / "net.keras").exists()


def test_a_gpu_that_is_not_there(folder, run):
    try:
        minicnn.get_ops("gpu")
    except RuntimeError as error:
        assert_refused(run("--train", "train.csv", "--device", "gpu"), str(error))
    else:
        pytest.skip("there is a GPU")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--train", "none.csv"], "none.csv"),
        (["--train", "test.csv"], "expected Kaggle's files in test.csv and test.csv: 'label'"),
        (["--test", "train.csv"], "cannot reshape"),
        (["--epochs", "0"], "--epochs: expected a number from 1 on, got 0"),
        (["--epochs", "x"], "--epochs"),
        (["--rows", "1"], "--rows: expected a number from 2 on, got 1"),
        (["--out", "no/such/folder.csv"], "--out: expected a file in a folder that is there, got no/such/folder.csv"),
        (["--out", "."], "--out"),
    ],
)
def test_bad_arguments_of_the_script_for_keras(folder, monkeypatch, capsys, arguments, sentence):
    script = Path(EXAMPLE).with_name("keras_notebook.py")
    monkeypatch.setattr(sys, "argv", [str(script), "--train", "train.csv", "--test", "test.csv", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith("keras_notebook: ") and said.count("\n") == 1
    assert sentence in said and (folder / "submission.csv").read_text() == OLD

"""The example for Keras users runs on Keras too, when only its import lines are changed."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import minicnn

pytestmark = pytest.mark.parity
SCRIPT = Path(__file__).parents[2] / "examples" / "keras_notebook.py"
PIXELS = [f"pixel{i}" for i in range(784)]


def in_keras(text):
    """The script with its import lines changed; this generator has moved out of Keras' public names."""
    text = text.replace("from minicnn.preprocessing.image", "from keras.src.legacy.preprocessing.image")
    text = re.sub(r"^import minicnn as keras$", "import keras", text, flags=re.MULTILINE)
    return re.sub(r"^from minicnn", "from keras", text, flags=re.MULTILINE)


def test_only_import_lines_differ():
    ours = SCRIPT.read_text().splitlines()
    theirs = in_keras(SCRIPT.read_text()).splitlines()
    changed = [line for line, other in zip(ours, theirs, strict=True) if line != other]
    assert changed and all(line.startswith(("import ", "from ")) for line in changed)
    assert sum("minicnn" in line for line in theirs) == 1  # the first line of the description


@pytest.mark.parametrize("library", ["minicnn", "keras"])
def test_it_runs(keras, library, tmp_path):
    pytest.importorskip("scipy")
    images, labels = minicnn.data.synthetic_digits(120)
    pixels = pd.DataFrame(images.reshape(120, -1), columns=PIXELS)
    pixels.to_csv(tmp_path / "test.csv", index=False)
    pd.concat([pd.Series(labels, name="label"), pixels], axis=1).to_csv(tmp_path / "train.csv", index=False)
    text = SCRIPT.read_text()
    (tmp_path / "script.py").write_text(text if library == "minicnn" else in_keras(text))
    files = ["--train", "train.csv", "--test", "test.csv", "--out", "out.csv", "--epochs", "2"]
    done = subprocess.run([sys.executable, "script.py", *files], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "best validation accuracy: 0." in done.stdout and "(channels_last)" in done.stdout
    submission = pd.read_csv(tmp_path / "out.csv")
    assert list(submission) == ["ImageId", "Label"] and len(submission) == 120
    assert np.isin(submission["Label"], range(10)).all()

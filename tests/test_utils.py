"""The helpers of `utils`: labels as rows, rows of length one, models and pictures drawn."""

import re
import sys

import numpy as np
import pytest

import minicnn
from minicnn import Conv2D, Dense, Flatten, Input, Sequential


def test_to_categorical():
    np.testing.assert_array_equal(minicnn.utils.to_categorical([2, 0, 1]), np.eye(3)[[2, 0, 1]])
    assert minicnn.utils.to_categorical(np.array([[1], [3]]), num_classes=5).shape == (2, 5)
    for wrong, sentence in (([0, -1], r"label \(1,\).*got -1"), ([0.5], "got 0.5"), ([3], "from 0 to 2, got 3")):
        with pytest.raises(ValueError, match=sentence):
            minicnn.utils.to_categorical(wrong, 3)


@pytest.mark.parametrize("labels", [np.array(["2", "0", "1"], object), ["2", "0", "1"], np.array([2, 0, 1], object)])
def test_labels_of_strings(labels):
    np.testing.assert_array_equal(minicnn.utils.to_categorical(labels), np.eye(3)[[2, 0, 1]])
    with pytest.raises(ValueError, match=r"label \(0,\): expected a whole number from 0 to 1, got 2"):
        minicnn.utils.to_categorical(labels, 2)
    with pytest.raises(ValueError, match="labels must be whole numbers, or strings of such: .*'cat'"):
        minicnn.utils.to_categorical(["cat", *labels])


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(minicnn.utils.normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_array_equal(minicnn.utils.normalize(x, axis=0, order=1), [[1, 1], [0, 0]])


def test_pictures_as_arrays():
    assert minicnn.utils.img_to_array(np.zeros((5, 4), "uint8")).shape == (5, 4, 1)
    with pytest.raises(ValueError, match=r"expected an array \(H, W\) or \(H, W, C\), got shape \(3,\)"):
        minicnn.preprocessing.image.img_to_array([1, 2, 3])


def test_a_model_is_drawn(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    inner = Sequential([Conv2D(2, 3)], name="base")
    model = Sequential([Input((6, 6, 1), name="start"), inner, Flatten(), Dense(4, activation="softmax", name="end")])
    drawn = {}
    for expand in (False, True):
        path = tmp_path / f"{expand}.svg"
        minicnn.utils.plot_model(
            model, path, show_shapes=True, show_layer_names=True, show_layer_activations=True, expand_nested=expand
        )
        drawn[expand] = "\n".join(
            re.findall("<!-- (.*?) -->", path.read_text())
        )  # the words, which are drawn as shapes
    for text in drawn.values():
        assert [text.index(name) for name in ("start", "flatten", "end")] == sorted(
            text.index(name) for name in ("start", "flatten", "end")
        )
        assert "end (Dense)" in text and "activation: softmax" in text and "output: (None, 32)" in text
    assert "base (Sequential)" in drawn[False] and "(Conv2D)" not in drawn[False]
    assert "base (Sequential)" not in drawn[True] and "(Conv2D)" in drawn[True]
    minicnn.utils.plot_model(model, tmp_path / "m.png", rankdir="LR", dpi=60)
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(minicnn.data.DataError, match=r"m\.words: the picture cannot be written"):
        minicnn.utils.plot_model(model, tmp_path / "m.words")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(UserWarning, match="nothing is drawn without the package matplotlib"):
        minicnn.utils.plot_model(model, tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()

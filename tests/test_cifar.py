"""Tests of the archives of CIFAR-10 and CIFAR-100: small ones of the same layout, put into the cache by hand."""

import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from minicnn.data import cifar, load_cifar10, load_cifar100
from minicnn.datasets import cifar10, cifar100

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (7, 32, 32, 3), np.uint8)
COARSE, FINE = RANDOM.integers(0, 20, 7), RANDOM.integers(0, 100, 7)
PARTS = {f"data_batch_{n}": [n - 1] for n in range(1, 6)} | {"test_batch": [5, 6]}


def record(n, *labels):
    """An image as the files have it: its labels, then all of its red, green and blue numbers, row by row."""
    return bytes(labels) + bytes(int(IMAGES[n, i, j, c]) for c in range(3) for i in range(32) for j in range(32))


def archive(**files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache that holds both archives, where no mirror answers."""
    folder = tmp_path / "minicnn" / "cifar"
    folder.mkdir(parents=True)
    ten = {
        f"cifar-10-batches-bin/{part}.bin": b"".join(record(n, FINE[n] % 10) for n in ns) for part, ns in PARTS.items()
    }
    hundred = {
        f"cifar-100-binary/{part}.bin": b"".join(record(n, COARSE[n], FINE[n]) for n in ns)
        for part, ns in {"train": range(5), "test": (5, 6)}.items()
    }
    for source, files in (("CIFAR_10", ten), ("CIFAR_100", hundred)):
        (name,), content = getattr(cifar, source).sha256, archive(**files)
        (folder / name).write_bytes(content)
        known = {name: hashlib.sha256(content).hexdigest()}
        monkeypatch.setattr(
            cifar, source, replace(getattr(cifar, source), mirrors=("http://127.0.0.1:9/",), sha256=known)
        )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return folder


@pytest.mark.parametrize(
    "load, labels",
    [(load_cifar10, FINE % 10), (load_cifar100, FINE), (lambda: load_cifar100(coarse=True), COARSE)],
    ids=["ten", "hundred", "twenty"],
)
def test_images_and_labels(load, labels):
    (x, y), (x_test, y_test) = load()
    assert x.dtype == np.uint8 and y.dtype == np.int64 and x.flags.c_contiguous
    np.testing.assert_array_equal(np.concatenate([x, x_test]), IMAGES)
    np.testing.assert_array_equal(np.concatenate([y, y_test]), labels)


@pytest.mark.parametrize(
    "load, labels, dtype",
    [
        (cifar10.load_data, FINE % 10, np.uint8),
        (cifar100.load_data, FINE, np.int64),
        (lambda: cifar100.load_data(label_mode="coarse"), COARSE, np.int64),
    ],
)
def test_as_keras_gives_them(load, labels, dtype):
    (x, y), (x_test, y_test) = load()
    assert (x.shape, x_test.shape) == ((5, 32, 32, 3), (2, 32, 32, 3))
    assert y.shape == (5, 1) and y.dtype == y_test.dtype == dtype
    np.testing.assert_array_equal(np.concatenate([y, y_test])[:, 0], labels)


def test_what_is_missing_is_said(cache):
    with pytest.raises(ValueError, match="label_mode must be 'fine' or 'coarse', not 'both'"):
        cifar100.load_data("both")
    (cache / "cifar-10-binary.tar.gz").write_bytes(b"cut")
    with pytest.raises(
        ConnectionError, match="the copy in .* is damaged; .* put cifar-10-binary.tar.gz into .* by hand"
    ):
        cifar10.load_data()

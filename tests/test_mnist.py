"""Tests of the download of MNIST and Fashion-MNIST, from servers of our own on this machine.

They hold four small files with the names of the real ones; what is asked of them is written down.
"""

import gzip
import hashlib
import http.server
import os
import struct
import threading
from dataclasses import replace

import numpy as np
import pytest

from minicnn.data import DataError, load_fashion_mnist, load_mnist, mnist
from minicnn.datasets import fashion_mnist
from minicnn.datasets.mnist import load_data


def idx(array):
    return gzip.compress(
        struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes(), mtime=0
    )


RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte.gz": RNG.integers(0, 256, (6, 28, 28), np.uint8),
    "train-labels-idx1-ubyte.gz": RNG.integers(0, 10, 6, np.uint8),
    "t10k-images-idx3-ubyte.gz": RNG.integers(0, 256, (4, 28, 28), np.uint8),
    "t10k-labels-idx1-ubyte.gz": RNG.integers(0, 10, 4, np.uint8),
}
CONTENTS = {name: idx(array) for name, array in ARRAYS.items()}


@pytest.fixture
def server():
    """A mirror: `server.contents` is what it gives, `server.asked` what it was asked for, `server.url` where it is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            mirror.asked.append(name)
            if name not in mirror.contents:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(mirror.contents[name])))
            self.end_headers()
            self.wfile.write(mirror.contents[name])

        def log_message(self, *arguments):
            pass

    mirror = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    mirror.contents, mirror.asked = dict(CONTENTS), []
    mirror.url = f"http://127.0.0.1:{mirror.server_port}/"
    thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield mirror
    mirror.shutdown()
    mirror.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    for name in ("MNIST", "FASHION_MNIST"):  # from where nobody answers
        source = replace(getattr(mnist, name), mirrors=("http://127.0.0.1:9/",), sha256=digests)
        monkeypatch.setattr(mnist, name, source)


@pytest.fixture
def set_mirrors(monkeypatch):
    def set_mirrors(*mirrors, name="MNIST"):
        monkeypatch.setattr(mnist, name, replace(getattr(mnist, name), mirrors=mirrors))

    return set_mirrors


def assert_loaded(digits):
    for images, labels, kind in ((*digits[0], "train"), (*digits[1], "t10k")):
        assert images.dtype == np.uint8 and labels.dtype == np.int64
        np.testing.assert_array_equal(images, ARRAYS[f"{kind}-images-idx3-ubyte.gz"][..., np.newaxis])
        np.testing.assert_array_equal(labels, ARRAYS[f"{kind}-labels-idx1-ubyte.gz"])


def test_downloads_once(tmp_path, set_mirrors, server):
    set_mirrors(server.url)
    cache = tmp_path / "a" / "b"
    assert_loaded(load_mnist(cache))
    assert_loaded(load_mnist(cache))
    assert server.asked == list(CONTENTS) and sorted(os.listdir(cache)) == sorted(CONTENTS)


@pytest.mark.parametrize("variable, under", [("XDG_CACHE_HOME", "."), ("HOME", ".cache")])
def test_the_cache_is_where_caches_are(tmp_path, monkeypatch, set_mirrors, server, variable, under):
    set_mirrors(server.url)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert_loaded(load_mnist())
    assert sorted(os.listdir(tmp_path / under / "minicnn")) == sorted(CONTENTS)


def test_a_damaged_copy_is_downloaded_again(tmp_path, set_mirrors, server):
    set_mirrors(server.url)
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    assert_loaded(load_mnist(tmp_path))
    assert server.asked == ["t10k-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize("fault", ["damaged", "missing", "silent"])
def test_the_next_mirror_is_asked(tmp_path, set_mirrors, server, fault):
    bad = {"damaged": server.url + "bad/", "missing": server.url + "none/", "silent": "http://127.0.0.1:9/"}[fault]
    server.contents |= {f"bad/{name}": content[:-1] + b"?" for name, content in CONTENTS.items()}
    set_mirrors(bad, server.url)
    assert_loaded(load_mnist(tmp_path))
    assert len(server.asked) == (4 if fault == "silent" else 8)


def test_without_a_mirror_it_says_what_to_do(tmp_path, set_mirrors, server):
    server.contents = dict.fromkeys(CONTENTS, b"<html>please log in</html>")
    set_mirrors("http://127.0.0.1:9/", server.url)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(ConnectionError) as caught:
        load_mnist(tmp_path)
    said = str(caught.value)
    assert "\n" not in said and "http://127.0.0.1:9/ gave no answer" in said and f"{server.url} sent a damaged" in said
    assert f"into {tmp_path} by hand" in said and all(name in said for name in CONTENTS)
    assert server.asked == ["train-images-idx3-ubyte.gz"]  # the other three are not tried
    assert (tmp_path / "train-images-idx3-ubyte.gz").read_bytes() == b"damaged" and len(os.listdir(tmp_path)) == 1


def test_files_put_there_by_hand_need_no_mirror(tmp_path):
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    assert_loaded(load_mnist(tmp_path))


def test_fashion_mnist_has_a_folder_of_its_own(tmp_path, monkeypatch, set_mirrors, server):
    set_mirrors(server.url, name="FASHION_MNIST")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    for found, kept in zip((x_train, y_train, x_test, y_test), ARRAYS.values(), strict=True):
        np.testing.assert_array_equal(found, kept)
        assert found.dtype == np.uint8
    assert sorted(os.listdir(tmp_path / "minicnn" / "fashion-mnist")) == sorted(CONTENTS)
    assert os.listdir(tmp_path / "minicnn") == ["fashion-mnist"]
    set_mirrors(server.url)
    load_mnist(tmp_path / "minicnn")
    load_fashion_mnist(tmp_path / "minicnn")
    load_mnist(tmp_path / "minicnn")
    assert len(server.asked) == 8  # neither takes the other's files for its own


def test_a_cache_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file"):
        load_mnist(tmp_path / "file" / "cache")


# ---------------------------------------------------------------------- the file of Keras


def arrays_of_keras():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (5, 28, 28), np.uint8), random.integers(0, 10, 5).astype(np.uint8)
    return {"x_train": x[:3], "y_train": y[:3], "x_test": x[3:], "y_test": y[3:]}


@pytest.mark.parametrize("name, path", [("mnist.npz", None), ("mnist.npz", "mnist.npz"), ("mine.npz", "mine.npz")])
def test_the_file_of_keras_is_read_where_it_is(tmp_path, monkeypatch, name, path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    arrays = arrays_of_keras()
    np.savez(tmp_path / "datasets" / name, **arrays)
    (x_train, y_train), (x_test, y_test) = load_data(path)
    for found, kept in zip((x_train, y_train, x_test, y_test), arrays.values(), strict=True):
        np.testing.assert_array_equal(found, kept)
        assert found.dtype == np.uint8


@pytest.mark.parametrize(
    "write, sentence",
    [
        (lambda path: path.write_bytes(b"no archive"), "expected the arrays x_train, y_train, x_test and y_test"),
        (lambda path: path.write_bytes(b""), "expected the arrays x_train"),
        (lambda path: np.savez(path, x_train=np.zeros(3)), "expected the arrays x_train"),
        (lambda path: np.savez(path, **arrays_of_keras() | {"x_test": np.zeros((2, 28, 28))}), r"expected x_test uint8 .* got float64"),
        (lambda path: np.savez(path, **arrays_of_keras() | {"y_train": np.zeros(2, np.uint8)}), r"got uint8 \(3, 28, 28\) and \(2,\)"),
    ],
)  # fmt: skip
def test_a_file_of_keras_that_is_something_else(tmp_path, monkeypatch, write, sentence):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    write(tmp_path / "datasets" / "mnist.npz")
    with pytest.raises(DataError, match=f"mnist.npz: .*{sentence}"):
        load_data()

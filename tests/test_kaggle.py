"""Tests of reading Kaggle's CSV files and writing submissions, on files joined by hand from strings.

Each kind of bad input has one test of what the message names: file, row and column.
"""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from minicnn.data import DataError, check_writable, read_kaggle, write_submission

PIXELS = [f"pixel{i}" for i in range(784)]
HEADER = ["label", *PIXELS]


def cells(rows=3, seed=0):
    """Rows of cells, a label and 784 pixels each, with both ends of the range among them."""
    rng = np.random.default_rng(seed)
    table = [[int(rng.integers(10)), *rng.integers(0, 256, 784).tolist()] for _ in range(rows)]
    table[0][1], table[-1][-1] = 255, 0
    return [[str(value) for value in row] for row in table]


def text(rows, header=HEADER, end="\n"):
    return end.join(",".join(row) for row in [header, *rows]) + end


def save(folder, content, name="train.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def assert_holds(path, rows, **settings):
    images, labels = read_kaggle(path, **settings)
    assert images.dtype == np.uint8 and images.shape == (len(rows), 28, 28, 1) and images.flags.c_contiguous
    assert labels.dtype == np.int64 and labels.tolist() == [int(row[0]) for row in rows]
    for n, row in enumerate(rows):
        for i in range(784):
            assert images[n, i // 28, i % 28, 0] == int(row[1 + i])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("tail", ["as is", "no newline", "blank lines"])
def test_reads_rows_whatever_the_line_ends(tmp_path, end, tail):
    content = text(cells(), end=end)
    content = {"as is": content, "no newline": content.removesuffix(end), "blank lines": content + 3 * end}[tail]
    assert_holds(save(tmp_path, content), cells())


def test_reads_a_single_row(tmp_path):
    assert_holds(save(tmp_path, text(cells(1))), cells(1))


@pytest.mark.parametrize("name", ["train.csv.gz", "train.csv"])
def test_reads_gzip_by_name_or_first_bytes(tmp_path, name):
    assert_holds(save(tmp_path, gzip.compress(text(cells()).encode()), name), cells())


def test_finds_columns_by_name(tmp_path):
    order = np.random.default_rng(1).permutation(785)
    rows = [[row[i] for i in order] for row in cells()]
    assert_holds(save(tmp_path, text(rows, [HEADER[i] for i in order])), cells())


def test_forgives_a_mark_spaces_capitals_quotes_and_decimal_zeros(tmp_path):
    header = [f" {name.upper()} " for name in HEADER]
    styles = ('"{}"', " {}.0", "0{}", "{}.0")
    rows = [[styles[i % 4].format(value) for i, value in enumerate(row)] for row in cells()]
    assert_holds(save(tmp_path, b"\xef\xbb\xbf" + text(rows, header).encode()), cells())


def test_labels_are_as_asked(tmp_path):
    train = save(tmp_path, text(cells()))
    test = save(tmp_path, text([row[1:] for row in cells()], PIXELS), "test.csv")
    assert_holds(train, cells(), labels=True)
    assert read_kaggle(train, labels=False)[1] is None
    assert read_kaggle(test)[1] is None and read_kaggle(test, labels=False)[1] is None
    np.testing.assert_array_equal(read_kaggle(test)[0], read_kaggle(train)[0])


def test_unwanted_labels_may_be_anything(tmp_path):
    path = save(tmp_path, text([["?", *row[1:]] for row in cells()]))
    assert read_kaggle(path, labels=False)[0].shape == (3, 28, 28, 1)


def message(path, **settings):
    with pytest.raises(DataError) as caught:
        read_kaggle(path, **settings)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and said.endswith(".") and "\n" not in said
    return said


@pytest.mark.parametrize(
    "cell", ["256", "300", "-1", "3.5", "", " ", "NaN", "NA", "inf", "x", "True", "1e2", "1_0", "0x1", "9" * 30]
)
def test_a_bad_pixel_is_found(tmp_path, cell):
    rows = cells()
    rows[1][6] = cell
    said = message(save(tmp_path, text(rows)))
    assert "row 2 (line 3), column pixel5: expected an integer from 0 to 255, got " in said


@pytest.mark.parametrize("cell", ["10", "-1", "256", "", "1.5", "nan"])
def test_a_bad_label_is_found(tmp_path, cell):
    rows = cells()
    rows[2][0] = cell
    said = message(save(tmp_path, text(rows)))
    assert f"row 3 (line 4), column label: expected an integer from 0 to 9, got {cell!r}" in said


def test_a_bad_pixel_is_found_by_name_in_permuted_columns(tmp_path):
    rows = [row[::-1] for row in cells()]
    rows[0][0] = "256"
    assert "row 1 (line 2), column pixel783: " in message(save(tmp_path, text(rows, HEADER[::-1])))


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_short_row_is_found(tmp_path, row):
    rows = cells()
    del rows[row][-2:]
    said = message(save(tmp_path, text(rows)))
    assert f"row {row + 1} (line {row + 2}), column pixel782: expected a row of 785 cells, got 783" in said


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_long_row_is_found(tmp_path, row):
    rows = cells()
    rows[row].append("0")
    said = message(save(tmp_path, text(rows)))
    assert f"row {row + 1} (line {row + 2}), column 786: expected a row of 785 cells, got 786" in said


def test_a_long_row_is_not_made_up_for_by_a_short_one(tmp_path):
    rows = cells()
    rows[0].append(rows[1].pop())
    assert "row 1 (line 2), column 786: " in message(save(tmp_path, text(rows)))


def test_a_blank_line_between_rows_is_found(tmp_path):
    said = message(save(tmp_path, text([*cells(2), [], *cells(1)])))
    assert "row 3 (line 4), column label: expected 785 cells, got a blank line" in said


def test_an_open_quote_is_found(tmp_path):
    rows = cells(500)
    rows[1][1] = '"0'
    assert "line " in message(save(tmp_path, text(rows)))


def test_a_missing_file_is_named(tmp_path):
    assert "expected a file, but there is none" in message(tmp_path / "none.csv")


def test_a_directory_is_named(tmp_path):
    assert "this is a directory" in message(tmp_path)


@pytest.mark.parametrize("content", ["", "\n", "\r\n\r\n"])
def test_an_empty_file_is_named(tmp_path, content):
    assert "header (line 1): expected the columns pixel0 to pixel783, got nothing" in message(save(tmp_path, content))


@pytest.mark.parametrize("tail", ["", "\n", "\r\n", "\n\n\n"])
def test_a_header_without_rows_is_found(tmp_path, tail):
    assert "row 1 (line 2), column label: expected at least one row" in message(save(tmp_path, ",".join(HEADER) + tail))


def test_a_missing_label_column_is_found(tmp_path):
    path = save(tmp_path, text([row[1:] for row in cells()], PIXELS))
    assert "header (line 1): expected a column label, got 784 columns" in message(path, labels=True)


def test_missing_pixel_columns_are_counted(tmp_path):
    keep = [i for i in range(785) if i not in (8, 9, 100)]
    path = save(tmp_path, text([[row[i] for i in keep] for row in cells()], [HEADER[i] for i in keep]))
    said = message(path)
    assert "header (line 1), column pixel7: " in said and "(missing: 3)" in said


def test_a_repeated_column_is_found(tmp_path):
    path = save(tmp_path, text([[*row, "0"] for row in cells()], [*HEADER, "pixel3"]))
    assert "header (line 1), column 786: expected each column once, got pixel3 a second time" in message(path)


@pytest.mark.parametrize("name", ["pixel784", "id", "", "pixel3.1"])
def test_an_unknown_column_is_found(tmp_path, name):
    path = save(tmp_path, text([["0", *row] for row in cells()], [name, *HEADER]))
    said = message(path)
    assert "header (line 1), column 1: expected label or one of pixel0 to pixel783" in said and repr(name) in said


def test_damaged_gzip_is_found(tmp_path):
    whole = gzip.compress(text(cells()).encode())
    flipped = whole[:200] + bytes([whole[200] ^ 255]) + whole[201:]
    for content in (whole[:-20], whole[:5], flipped, text(cells()).encode()):
        assert "expected a complete gzip file" in message(save(tmp_path, content, "train.csv.gz"))


def test_a_submission_counts_from_one(tmp_path):
    path = write_submission(tmp_path / "mine.csv", np.array([7, 0, 9]))
    assert path == tmp_path / "mine.csv" and path.read_bytes() == b"ImageId,Label\n1,7\n2,0\n3,9\n"
    assert os.listdir(tmp_path) == ["mine.csv"]


def test_a_submission_follows_its_sample(tmp_path):
    sample = save(tmp_path, b'Id,"The, label"\r\n30,0\r\n10,0\r\n20,0\r\n', "sample.csv")
    path = write_submission(tmp_path / "mine.csv", [1, 2, 3], sample)
    assert path.read_bytes() == b'Id,"The, label"\r\n30,1\r\n10,2\r\n20,3\r\n'


def refuse(path, labels, *words, sample=None):
    with pytest.raises(DataError) as caught:
        write_submission(path, labels, sample)
    said = str(caught.value)
    assert "\n" not in said and all(word in said for word in words), said


def test_a_bad_submission_leaves_the_old_one(tmp_path):
    path = save(tmp_path, b"precious", "mine.csv")
    sample = save(tmp_path, b"ImageId,Label\n1,0\n2,0\n", "sample.csv")
    ragged = save(tmp_path, b"ImageId,Label\n1,0\n2\n", "ragged.csv")
    refuse(path, [1, 2, 3], str(sample), "expected 3 rows", "got 2", sample=sample)
    refuse(path, [1, 2], str(ragged), "row 2 (line 3), column 2", sample=ragged)
    refuse(path, [1, 2], "none.csv", sample=tmp_path / "none.csv")
    refuse(path, [1, 10], str(path), "row 2, column Label", "got 10")
    refuse(path, [1, -1], str(path), "row 2, column Label", "got -1")
    refuse(path, [[1], [2]], str(path), "shape (2, 1)")
    refuse(path, [1.0, 2.0], str(path), "float64")
    assert path.read_bytes() == b"precious" and sorted(os.listdir(tmp_path)) == ["mine.csv", "ragged.csv", "sample.csv"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_submission(tmp_path, monkeypatch, step):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    path = save(tmp_path, b"precious", "mine.csv")
    monkeypatch.setattr(os, step, fail)
    refuse(path, [1, 2], str(path), "no space left on device")
    assert path.read_bytes() == b"precious" and os.listdir(tmp_path) == ["mine.csv"]


def test_a_place_that_cannot_be_written_is_found_before_and_after(tmp_path, monkeypatch):
    file = save(tmp_path, b"precious", "file")
    for path in (
        tmp_path,
        tmp_path / "none" / "mine.csv",
        file / "mine.csv",
        tmp_path / ("x" * 300),
        tmp_path / "a\0b",
    ):
        refuse(path, [1], str(path))
        with pytest.raises(DataError, match="mine.csv|writ"):
            check_writable(path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refuse(file, [1], str(file), "read-only")
    assert file.read_bytes() == b"precious" and os.listdir(tmp_path) == ["file"]


def test_looking_whether_a_place_can_be_written_changes_nothing(tmp_path):
    path = save(tmp_path, b"precious", "mine.csv")
    before = path.stat()
    check_writable(path)
    check_writable(tmp_path / "new.csv")
    assert path.stat() == before  # before it is read, which changes its time of access
    assert path.read_bytes() == b"precious" and os.listdir(tmp_path) == ["mine.csv"]


def test_a_submission_keeps_links_and_permissions(tmp_path):
    path = save(tmp_path, b"old", "mine.csv")
    path.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    write_submission(link, [1])
    assert link.is_symlink() and path.read_bytes() == b"ImageId,Label\n1,1\n" and path.stat().st_mode & 0o777 == 0o640


needs_data = pytest.mark.skipif(
    not os.environ.get("MINICNN_DATA"), reason="MINICNN_DATA does not name the folder with Kaggle's train.csv"
)


@needs_data
def test_reads_the_real_files(tmp_path):
    folder = Path(os.environ["MINICNN_DATA"])
    images, labels = read_kaggle(folder / "train.csv", labels=True)
    assert images.shape == (42000, 28, 28, 1)
    assert np.bincount(labels).tolist() == [4132, 4684, 4177, 4351, 4072, 3795, 4137, 4401, 4063, 4188]
    images_of_test, nothing = read_kaggle(folder / "test.csv")
    assert images_of_test.shape == (28000, 28, 28, 1) and nothing is None

    with open(folder / "train.csv", newline="") as file:
        rows = [row for row, _ in zip(csv.reader(file), range(21), strict=False)]
    order = np.random.default_rng(2).permutation(785)
    excerpt = save(tmp_path, "\n".join(",".join(row[i] for i in order) for row in rows))
    np.testing.assert_array_equal(read_kaggle(excerpt)[0], images[:20])
    np.testing.assert_array_equal(read_kaggle(excerpt)[1], labels[:20])
    assert_holds(excerpt, rows[1:])


@needs_data
def test_a_submission_with_the_real_sample_is_the_sample(tmp_path):
    sample = Path(os.environ["MINICNN_DATA"]) / "sample_submission.csv"
    path = write_submission(tmp_path / "mine.csv", np.zeros(28000, int), sample)
    assert path.read_bytes() == sample.read_bytes()


def test_a_null_character_is_found_by_line(tmp_path):
    """Before Python 3.11 the csv module refuses the whole line, so only the line is named on every version."""
    rows = cells()
    rows[1][6] = "2\0"
    assert "line 3" in message(save(tmp_path, text(rows)))

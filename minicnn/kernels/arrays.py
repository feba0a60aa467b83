"""What is done to arrays as such: gathering the images of a batch, rescaling, padding and adding up."""

from .jit import kernel, part
from .simd import (
    clear,
    copy,
    fill,
    int_at,
    load,
    load_bytes,
    number_at,
    put,
    real,
    size_of,
    store,
    transpose_block,
    width_of,
)


@kernel("x")
def gather(zero, count, source, first, x, image):
    """Images of so many numbers, from sample `first` of the batch on.

    `source` has three int64: the address of the data set, that of the batch's sample numbers, and 1 if the data set holds
    bytes, 0 if it holds numbers.
    """
    size, lanes = size_of(zero), width_of(zero)
    data, rows, bytes_ = int_at(source), int_at(source + 8), int_at(source + 16)
    for n in range(count):
        row = int_at(rows + 8 * (first + n))
        target = x + size * n * image
        if bytes_:
            for k in range(0, image, lanes):
                store(load_bytes(data + row * image + k, image - k, zero), target + size * k, image - k)
        else:
            copy(data + size * row * image, target, size * image)


@kernel("y")
def rescale(zero, count, x, y, image, scale, offset):
    """y = x · scale + offset, for images of so many numbers; the two are float64 in an integer's bits."""
    size, lanes = size_of(zero), width_of(zero)
    factor, shift = fill(real(scale), zero), fill(real(offset), zero)
    for k in range(0, count * image, lanes):
        left, place = count * image - k, size * k
        store(load(x + place, left, zero) * factor + shift, y + place, left)


@kernel("y")
def move_lines(zero, count, x, y, x_corner, y_corner, cleared, lines, line, x_image, x_line, y_image, y_line):
    """Copies the lines of images to where they belong in images of another size, `cleared` first; sizes in bytes."""
    if cleared:
        clear(y, count * y_image)
    for n in range(count):
        for i in range(lines):
            copy(x + x_corner + n * x_image + i * x_line, y + y_corner + n * y_image + i * y_line, line)


@kernel("total")
def add_rows(zero, count, rows, number, stride, total, first, skip):
    """total[k] = Σ_n rows[n, skip + k] for the columns from `first` on; rows lie `stride` bytes apart."""
    size, lanes = size_of(zero), width_of(zero)
    rows += size * skip
    for k in range(first, first + count, lanes):
        left = first + count - k
        even, odd = load(rows + size * k, left, zero), fill(zero, zero)
        for n in range(1, number):
            even, odd = odd, even + load(rows + n * stride + size * k, left, zero)
        store(even + odd, total + size * k, left)


@kernel("y")
def repeat_channels(zero, count, x, y, numbers, times):
    """Each of `numbers` numbers of an image, so many times in a row."""
    size = size_of(zero)
    for k in range(count * numbers):
        number = number_at(x + size * k, zero)
        for _ in range(times):
            put(number, y, zero)
            y += size


@kernel("y")
def add_channels(zero, count, x, y, numbers, times):
    """The other way round: each of `numbers` numbers of an image is a sum of so many in a row."""
    size = size_of(zero)
    for k in range(count * numbers):
        total = zero
        for _ in range(times):
            total += number_at(x, zero)
            x += size
        put(total, y + size * k, zero)


@part
def transpose(source, rows, columns, source_row, target, target_row, zero):
    """target (columns, rows) = sourceᵀ, blocks of W × W numbers first; rows lie so many bytes apart."""
    size, lanes = size_of(zero), width_of(zero)
    whole_rows, whole_columns = rows // lanes * lanes, columns // lanes * lanes
    for i in range(0, whole_rows, lanes):
        for j in range(0, whole_columns, lanes):
            transpose_block(
                source + i * source_row + size * j, source_row, target + j * target_row + size * i, target_row, zero
            )
    for i in range(rows):
        for j in range(whole_columns if i < whole_rows else 0, columns):
            put(number_at(source + i * source_row + size * j, zero), target + j * target_row + size * i, zero)

"""Augmentation: images of 28×28 turned, shifted, sheared and resized at random by `ImageDataGenerator.flow`.

A row is a batch from beginning to end: motions drawn, images gathered from bytes, interpolated and rescaled.
"""

import numpy as np

from minicnn import get_ops
from minicnn.preprocessing.image import ImageDataGenerator, _matrices

from .report import Table
from .timing import Settings, check, measure

IMAGES = 20_000
MOTIONS = {
    "rotation_range": 15,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "shear_range": 10,
    "zoom_range": 0.1,
}


def run(settings: Settings) -> Table:
    x = np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28, 1)).astype("uint8")
    generator = ImageDataGenerator(**MOTIONS, rescale=1 / 255)
    rows = []
    for batch in (32, 128, 1024):
        flow = generator.flow(x, batch_size=batch, shuffle=False, seed=0)
        maps = _matrices(generator._draw(x.shape[1:], IMAGES, (0, 0, 0)), 28, 28)[:batch]
        expected, _ = get_ops("reference").affine(x[:batch] / 255, maps, "nearest")
        check(f"augmentation, batch {batch}", next(flow), expected)
        timing = measure(lambda flow=flow: next(flow), {}, settings)
        rows.append({"augment": "all motions", "batch": batch} | timing.columns(images=batch))
    return Table("augment", "28×28 images of bytes, to float32", rows)

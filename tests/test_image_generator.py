"""ImageDataGenerator: maps known by hand and a loop over pixels in float64, statistics, and the batches of `flow`.

The kernel on images of several channels is held to the same loop in test_augmentation.py.
"""

import gc
import multiprocessing
import threading
import time
import warnings
import weakref

import naive
import numpy as np
import pandas
import pytest
from conftest import DTYPES, assert_close
from guards import PLACES, between_pages, protecting

import minicnn
from minicnn import get_ops
from minicnn.preprocessing import files, pictures
from minicnn.preprocessing.image import ImageDataGenerator

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (40, 7, 6, 2)).astype("uint8")
LABELS = np.arange(40)
ALL_MOTIONS = {
    "rotation_range": 20, "width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 15, "zoom_range": 0.2,
    "horizontal_flip": True, "vertical_flip": True, "channel_shift_range": 20, "brightness_range": (0.5, 1.5),
}  # fmt: skip
SQUARE = IMAGES[0, :6]  # (6, 6, 2)


MODES = ["nearest", "constant", "reflect", "wrap"]


def moved(x, fill_mode="nearest", cval=0.0, **motion):
    return ImageDataGenerator(fill_mode=fill_mode, cval=cval).apply_transform(x, motion)


# ---------------------------------------------------------------------- the kernel on images of one channel, in vectors


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fill_mode", MODES)
def test_many_points_at_once(fill_mode, dtype):
    """Lines of more and fewer pixels than vectors have lanes, at points near and far, on the edges and not numbers."""
    ops = get_ops("cpu")
    for shape in ((3, 9, 37, 1), (2, 5, 16, 1), (2, 2, 8, 1), (4, 6, 9, 1)):
        x = RANDOM.standard_normal(shape).astype(dtype)
        for size in (0.0, 0.02, 0.3, 3.0):
            matrices = np.eye(2, 3) + size * RANDOM.standard_normal((shape[0], 2, 3))
            if size == 0.02:
                matrices[:, :, 2] = RANDOM.integers(-2, 3, (shape[0], 2))
            expected, _ = naive.affine(x, np.zeros(shape), matrices, fill_mode, 0.5)
            y, _ = ops.affine(x, matrices, fill_mode, 0.5)
            assert_close(y, expected)
            if size == 0:
                np.testing.assert_array_equal(y, x)


@protecting
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fill_mode", MODES)
def test_nothing_beside_the_images_is_read(fill_mode, dtype, place):
    ops = get_ops("cpu")
    for H, W in ((8, 8), (1, 9), (5, 19)):
        matrices = np.concatenate(
            [
                np.eye(2, 3) + scale * RANDOM.standard_normal((30, 2, 3)) * [1, 1, max(H, W)]
                for scale in (0.0, 1e-16, 1e-3, 0.1, 1e3)
            ]
        )
        x = between_pages(RANDOM.standard_normal((len(matrices), H, W, 1)).astype(dtype), place)
        y, _ = ops.affine(x, matrices, fill_mode, 0.0)
        assert np.isfinite(y).all()
        ops.affine(x, np.where(RANDOM.random(matrices.shape) < 0.1, np.nan, matrices), fill_mode, 0.0)


# ---------------------------------------------------------------------- motions


def by_definition(x, motion, fill_mode, cval):
    """A motion as a product of 3×3 matrices in (x, y, 1), x to the right, about the centre; pixel by pixel."""
    H, W, _ = x.shape
    turn, shear = np.deg2rad(motion["theta"]), np.deg2rad(motion["shear"])
    centre = np.array([[1, 0, (W - 1) / 2], [0, 1, (H - 1) / 2], [0, 0, 1]])
    rotate = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    shift = np.array([[1, 0, motion["tx"]], [0, 1, motion["ty"]], [0, 0, 1]])
    slant = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    resize = np.diag([motion["zx"], motion["zy"], 1])
    flip = np.diag([-1.0 if motion["flip_horizontal"] else 1, -1.0 if motion["flip_vertical"] else 1, 1])
    m = centre @ rotate @ shift @ slant @ resize @ flip @ np.linalg.inv(centre)
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    y, _ = naive.affine(x[None].astype(float), np.zeros((1, *x.shape)), (swap @ m @ swap)[None, :2], fill_mode, cval)
    return y[0]


@pytest.mark.parametrize("fill_mode", MODES)
@pytest.mark.parametrize("seed", range(4))
def test_a_motion_is_its_definition(fill_mode, seed):
    generator = ImageDataGenerator(**ALL_MOTIONS | {"channel_shift_range": 0, "brightness_range": None})
    motion = generator.get_random_transform((7, 6, 2), seed)
    expected = by_definition(IMAGES[seed], motion, fill_mode, 9.0)
    actual = moved(IMAGES[seed], fill_mode, 9.0, **motion)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * 255)


@pytest.mark.parametrize("fill_mode", MODES)
@pytest.mark.parametrize(
    "motion, expected",
    [
        ({}, SQUARE),
        ({"theta": 90}, np.rot90(SQUARE)),
        ({"theta": 180}, np.rot90(SQUARE, 2)),
        ({"theta": -90}, np.rot90(SQUARE, 3)),
        ({"theta": 450}, np.rot90(SQUARE)),
        ({"flip_horizontal": True}, SQUARE[:, ::-1]),
        ({"flip_vertical": True}, SQUARE[::-1]),
        ({"flip_vertical": True, "theta": 90}, np.rot90(SQUARE)[::-1]),
    ],
    ids=str,
)
def test_turns_and_flips_only_move_pixels(fill_mode, motion, expected):
    np.testing.assert_array_equal(moved(SQUARE, fill_mode, 77.0, **motion), expected)


@pytest.mark.parametrize("tx, ty", [(1, 0), (0, 2), (-3, 1), (8, 0)])
def test_whole_pixels_to_the_left_and_up(tx, ty):
    x = IMAGES[0]
    np.testing.assert_array_equal(moved(x, "wrap", tx=tx, ty=ty), np.roll(x, (-ty, -tx), (0, 1)))
    around = np.pad(x, ((9, 9), (9, 9), (0, 0)), constant_values=5)[9 + ty : 16 + ty, 9 + tx : 15 + tx]
    np.testing.assert_array_equal(moved(x, "constant", 5.0, tx=tx, ty=ty), around)
    around = np.pad(x, ((9, 9), (9, 9), (0, 0)), mode="edge")[9 + ty : 16 + ty, 9 + tx : 15 + tx]
    np.testing.assert_array_equal(moved(x, "nearest", tx=tx, ty=ty), around)
    around = np.pad(x, ((9, 9), (9, 9), (0, 0)), mode="symmetric")[9 + ty : 16 + ty, 9 + tx : 15 + tx]
    np.testing.assert_array_equal(moved(x, "reflect", tx=tx, ty=ty), around)


def test_colours_by_hand():
    x = np.array([10.0, 100.0, 200.0, 250.0], "float32").reshape(2, 2, 1)
    np.testing.assert_array_equal(moved(x, channel_shift_intensity=60).ravel(), [70, 160, 250, 250])
    np.testing.assert_array_equal(moved(x, channel_shift_intensity=-95).ravel(), [10, 10, 105, 155])
    np.testing.assert_array_equal(moved(x, brightness=1.5).ravel(), [15, 150, 255, 255])


@pytest.mark.parametrize(
    "settings, name, values",
    [
        ({"width_shift_range": 3}, "tx", [-2, -1, 0, 1, 2]),
        ({"height_shift_range": 1}, "ty", [0]),
        ({"width_shift_range": [1, 4]}, "tx", [-4, -1, 1, 4]),
        ({"height_shift_range": [0.1, 0.5]}, "ty", [-5.0, -1.0, 1.0, 5.0]),
        ({"horizontal_flip": True}, "flip_horizontal", [False, True]),
        ({"vertical_flip": True}, "flip_vertical", [False, True]),
        ({}, "flip_vertical", [False]),
        ({}, "zx", [1.0]),
    ],
    ids=str,
)
def test_what_is_chosen_from(settings, name, values):
    generator = ImageDataGenerator(**settings)
    found = {generator.get_random_transform((10, 20, 1), seed)[name] for seed in range(200)}
    assert sorted(found) == values


@pytest.mark.parametrize(
    "settings, name, low, high",
    [
        ({"rotation_range": 30}, "theta", -30, 30),
        ({"shear_range": 10}, "shear", -10, 10),
        ({"width_shift_range": 0.25}, "tx", -5, 5),
        ({"height_shift_range": 0.25}, "ty", -2.5, 2.5),
        ({"width_shift_range": 1.5}, "tx", -1.5, 1.5),
        ({"zoom_range": 0.2}, "zx", 0.8, 1.2),
        ({"zoom_range": (0.5, 2)}, "zy", 0.5, 2),
        ({"channel_shift_range": 8.0}, "channel_shift_intensity", -8, 8),
        ({"brightness_range": [0.5, 0.9]}, "brightness", 0.5, 0.9),
    ],
    ids=str,
)
def test_what_is_drawn_is_even_between_its_bounds(settings, name, low, high):
    generator = ImageDataGenerator(**settings)
    drawn = np.array([generator.get_random_transform((10, 20, 1), seed)[name] for seed in range(400)])
    assert low <= drawn.min() and drawn.max() <= high
    quarters, _ = np.histogram(drawn, 4, (low, high))
    assert quarters.min() > 60  # of 100; five standard deviations are 43
    motion = generator.get_random_transform((10, 20, 1), 1)
    assert motion == generator.get_random_transform((10, 20, 1), 1)
    assert generator.get_random_transform((10, 20, 1)) != generator.get_random_transform((10, 20, 1))


def test_the_two_zooms_are_drawn_apart():
    motion = ImageDataGenerator(zoom_range=0.5).get_random_transform((8, 8, 1), 0)
    assert motion["zx"] != motion["zy"]


def test_random_transform_is_a_function_of_its_seed():
    generator = ImageDataGenerator(**ALL_MOTIONS)
    first = generator.random_transform(IMAGES[0], seed=3)
    expected = generator.apply_transform(IMAGES[0], generator.get_random_transform((7, 6, 2), 3))
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(generator.random_transform(IMAGES[0], seed=3), first)
    assert (generator.random_transform(IMAGES[0], seed=4) != first).any()


# ---------------------------------------------------------------------- normalisation


def correlated(samples):
    mixing = RANDOM.standard_normal((12, 12))
    return (RANDOM.standard_normal((samples, 12)) @ mixing + 3).reshape(samples, 2, 2, 3).astype("float32")


@pytest.mark.filterwarnings("ignore:ImageDataGenerator")
def test_featurewise_statistics():
    x = correlated(100)
    generator = ImageDataGenerator(featurewise_std_normalization=True, rescale=0.25)
    generator.fit(x)
    z = generator.standardize(x.copy())
    np.testing.assert_allclose(z.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=(0, 1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(generator.mean.ravel(), 0.25 * x.mean(axis=(0, 1, 2), dtype=float), rtol=1e-6)
    np.testing.assert_allclose(generator.std.ravel(), 0.25 * x.std(axis=(0, 1, 2), dtype=float), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:ImageDataGenerator")
def test_samplewise_statistics():
    z = ImageDataGenerator(samplewise_std_normalization=True).standardize(IMAGES)
    np.testing.assert_allclose(z.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=(1, 2, 3)), 1, atol=1e-6)
    np.testing.assert_array_equal(ImageDataGenerator(samplewise_std_normalization=True).standardize(IMAGES[3]), z[3])


@pytest.mark.filterwarnings("ignore:ImageDataGenerator")
def test_whitened_data_has_the_identity_as_covariance():
    x = correlated(500)
    generator = ImageDataGenerator(zca_whitening=True)
    generator.fit(x)
    z = generator.standardize(x).reshape(500, -1).astype(float)
    np.testing.assert_allclose(z.T @ z / 500, np.eye(12), atol=1e-3)
    np.testing.assert_allclose(generator.zca_whitening_matrix, generator.zca_whitening_matrix.T, atol=1e-6)  # "ZCA"


def test_fit_on_moved_images():
    generator = ImageDataGenerator(featurewise_center=True, channel_shift_range=50)
    means = []
    for rounds, seed in ((1, 5), (1, 5), (1, 6), (30, 5)):
        generator.fit(IMAGES, augment=True, rounds=rounds, seed=seed)
        means.append(generator.mean.copy())
    np.testing.assert_array_equal(means[0], means[1])
    assert (means[0] != means[2]).all() and (means[0] != means[3]).all()
    generator = ImageDataGenerator(featurewise_center=True, horizontal_flip=True, vertical_flip=True)
    generator.fit(IMAGES, augment=True, rounds=2)  # the same pixels in another order
    np.testing.assert_allclose(generator.mean.ravel(), IMAGES.mean(axis=(0, 1, 2)), rtol=1e-6)


def test_the_order_of_normalisation_and_what_is_left_alone():
    generator = ImageDataGenerator(preprocessing_function=lambda image: image + 1, rescale=2, samplewise_center=True)
    x = np.arange(8, dtype="float32").reshape(2, 2, 2, 1)
    before = x.copy()
    generator.flow(x)[0]
    np.testing.assert_array_equal(x, before)
    for given in (before.astype("uint8"), before.astype("float64"), x):  # floats are changed themselves, as in Keras
        z = generator.standardize(given)
        np.testing.assert_array_equal(z[0].ravel(), [-3, -1, 1, 3])
        np.testing.assert_array_equal(given, before if given.dtype == np.uint8 else z)


def test_warnings_of_what_one_setting_does_to_another():
    for settings, sentence in (
        ({"zca_whitening": True}, "zca_whitening needs featurewise_center"),
        ({"featurewise_std_normalization": True}, "featurewise_std_normalization needs featurewise_center"),
        ({"samplewise_std_normalization": True}, "samplewise_std_normalization needs samplewise_center"),
    ):
        with pytest.warns(UserWarning, match=sentence):
            ImageDataGenerator(**settings)
    with pytest.warns(UserWarning, match="zca_whitening replaces featurewise_std_normalization"):
        generator = ImageDataGenerator(True, zca_whitening=True, featurewise_std_normalization=True)
    assert not generator.featurewise_std_normalization
    with pytest.warns(UserWarning, match="featurewise_center is left out until fit"):
        flow = ImageDataGenerator(featurewise_center=True).flow(IMAGES, shuffle=False)
    np.testing.assert_array_equal(flow[0], IMAGES[:32])


# ---------------------------------------------------------------------- batches


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int16"])
def test_nothing_asked_nothing_changed(dtype):
    x = IMAGES.astype(dtype)
    flow = ImageDataGenerator().flow(x, LABELS, batch_size=16, shuffle=False, sample_weight=LABELS / 2)
    assert len(flow) == 3 and flow.n == 40 and flow.batch_size == 16
    for k in range(3):
        rows = slice(16 * k, 16 * k + 16)
        for got, expected in zip(flow[k], (x[rows], LABELS[rows], LABELS[rows] / 2), strict=True):
            np.testing.assert_array_equal(got, expected)
        assert flow[k][0].dtype == np.float32
    np.testing.assert_array_equal(flow[-1][1], LABELS[32:])


def by_label(flow, batches):
    """The images of so many batches, in the order of their labels."""
    images, labels = (np.concatenate(parts) for parts in zip(*(next(flow) for _ in range(batches)), strict=True))
    return images[np.argsort(labels)]


def test_images_do_not_depend_on_threads_or_batch_size(threads):
    generator = ImageDataGenerator(**ALL_MOTIONS)
    results = []
    for number, batch_size in ((1, 16), (2, 16), (5, 16), (2, 7), (2, 1), (1, 40)):
        threads(number)
        flow = generator.flow(IMAGES, LABELS, batch_size=batch_size, seed=11)
        results.append([by_label(flow, len(flow)) for _ in range(2)])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    assert (results[0][0] != results[0][1]).any(axis=(1, 2, 3)).all()  # every image moves otherwise in the next epoch
    other = by_label(generator.flow(IMAGES, LABELS, seed=12), 2)
    assert (other != results[0][0]).any(axis=(1, 2, 3)).all()


def test_a_batch_is_each_image_on_its_own():
    """Whole batches go through one kernel and array code; single images through apply_transform and standardize."""
    generator = ImageDataGenerator(**ALL_MOTIONS, rescale=0.01, samplewise_center=True)
    flow = generator.flow(IMAGES, shuffle=False, batch_size=40, seed=2)
    drawn = generator._draw((7, 6, 2), 40, (2, 0, 0))
    for k, image in enumerate(flow[0]):
        motion = {name: values[k] for name, values in drawn.items()}
        np.testing.assert_array_equal(image, generator.standardize(generator.apply_transform(IMAGES[k], motion)))


def test_shuffling():
    orders = []
    flow = ImageDataGenerator().flow(IMAGES, LABELS, batch_size=9, seed=1)
    for _ in range(3):
        batches = [next(flow) for _ in range(len(flow))]
        assert [len(labels) for _, labels in batches] == [9, 9, 9, 9, 4]
        for images, labels in batches:
            np.testing.assert_array_equal(images, IMAGES[labels])
        orders.append(np.concatenate([labels for _, labels in batches]))
        np.testing.assert_array_equal(np.sort(orders[-1]), LABELS)
    assert (orders[0] != orders[1]).any() and (orders[1] != orders[2]).any() and (orders[0] != LABELS).any()


def test_indexing_and_next_give_the_same_epochs():
    make = ImageDataGenerator(**ALL_MOTIONS).flow
    walked, indexed = make(IMAGES, LABELS, 16, seed=4), make(IMAGES, LABELS, 16, seed=4)
    for _ in range(3):
        for k in (0, 1, 2):
            for a, b in zip(next(walked), indexed[k], strict=True):
                np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(indexed[0][1], indexed[0][1])  # also out of turn, and again
        indexed.on_epoch_end()
    assert iter(walked) is walked


def test_reset_begins_an_epoch():
    flow, other = (ImageDataGenerator().flow(IMAGES, LABELS, 16, seed=4) for _ in range(2))
    flow.reset()
    np.testing.assert_array_equal(next(flow)[1], other[0][1])
    flow.reset()
    other.on_epoch_end()
    np.testing.assert_array_equal(next(flow)[1], other[0][1])
    assert (flow.epoch, flow.batch_index) == (1, 1)


def test_batches_of_an_epoch_are_counted_from_0():
    flow = ImageDataGenerator().flow(IMAGES, LABELS, 16, shuffle=False)
    labels, taken = [], 0
    while taken <= flow.batch_index:  # as scripts walk through an epoch
        labels += next(flow)[1].tolist()
        taken += 1
    assert labels == LABELS.tolist() and flow.batch_index == 0


def test_subsets_are_cut_from_the_front():
    generator = ImageDataGenerator(validation_split=0.33)
    for subset, rows in (("validation", slice(13)), ("training", slice(13, None))):
        flow = generator.flow(
            IMAGES, LABELS, 40, False, sample_weight=LABELS * 3, subset=subset, ignore_class_split=True
        )
        for got, expected in zip(flow[0], (IMAGES, LABELS, LABELS * 3), strict=True):
            np.testing.assert_array_equal(got, expected[rows])
    assert generator.flow(IMAGES, LABELS % 5, subset="training").n == 27


def test_batches_belong_to_the_one_who_has_them():
    flow = ImageDataGenerator().flow(IMAGES, batch_size=10, shuffle=False)
    first = flow[0]
    kept = first.copy()
    second = flow[1]
    second[:] = -1
    flow[0][:] = -2
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(flow[1], IMAGES[10:20])


# ---------------------------------------------------------------------- batches made ahead


def test_the_next_batch_is_made_meanwhile(threads):
    threads(2)
    made, at = threading.Event(), []

    def watch(image):
        at.append(threading.current_thread())
        if len(at) == 4:
            made.set()
        return image

    flow = ImageDataGenerator(preprocessing_function=watch).flow(IMAGES, batch_size=2)
    next(flow)
    assert made.wait(30)  # without anybody asking for the second batch
    assert at[0] is threading.current_thread() and at[3] is not threading.current_thread()
    next(flow)
    assert len({id(thread) for thread in at}) >= 2


def test_a_model_trains_on_the_same_images_meanwhile(threads):
    weights = []
    for number in (1, 2, 3):
        threads(number)
        minicnn.set_random_seed(7)
        model = minicnn.Sequential(
            [minicnn.Input((7, 6, 2)), minicnn.Flatten(), minicnn.Dense(5, activation="softmax")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        flow = ImageDataGenerator(**ALL_MOTIONS, rescale=1 / 255).flow(IMAGES, LABELS % 5, batch_size=8, seed=3)
        for _ in range(30):
            model.train_on_batch(*next(flow))
        weights.append(model.get_weights())
    for other in weights[1:]:
        for a, b in zip(weights[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_reaches_who_asks_for_that_batch(threads, number):
    threads(number)

    def refuse(image):
        if image[0, 0, 0] == 7:
            raise ArithmeticError("seven")
        return image

    x = np.arange(8, dtype="float32").reshape(8, 1, 1, 1)
    flow = ImageDataGenerator(preprocessing_function=refuse).flow(x, batch_size=2, shuffle=False)
    for _ in range(3):
        next(flow)
    for _ in range(2):
        with pytest.raises(ArithmeticError, match="seven"):
            next(flow)
    np.testing.assert_array_equal(flow[1].ravel(), [2, 3])


def test_an_abandoned_iterator_leaves_nothing(threads):
    threads(2)
    next(ImageDataGenerator().flow(IMAGES))  # starts the helper that all kernels share
    before = set(threading.enumerate())
    flows = [ImageDataGenerator(**ALL_MOTIONS).flow(IMAGES, batch_size=4) for _ in range(5)]
    for flow in flows:
        next(flow)
    gone, done = [weakref.ref(flow) for flow in flows], threading.Event()
    del flow, flows
    from minicnn.threads import hand_over

    hand_over(done.set)  # a helper does this after all that was given before, but another one may still be at work
    assert done.wait(30)
    end = time.monotonic() + 30
    while any(ref() for ref in gone) and time.monotonic() < end:
        time.sleep(0.01)
        gc.collect()
    assert not any(ref() for ref in gone)
    assert set(threading.enumerate()) <= before


def _in_child(flow, queue):
    queue.put([next(flow)[1] for _ in range(3)])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_makes_its_own_batches(threads):
    threads(2)
    flow = ImageDataGenerator(**ALL_MOTIONS).flow(IMAGES, LABELS, 8, seed=1)
    next(flow)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(flow, queue), daemon=True)
    child.start()
    found = queue.get(timeout=60)
    child.join(60)
    np.testing.assert_array_equal(found, [next(flow)[1] for _ in range(3)])


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"rotation_range": -1}, "rotation_range must be a number from 0 on, not -1"),
        ({"shear_range": "x"}, "shear_range must be a number from 0 on, not 'x'"),
        ({"zoom_range": (1, 2, 3)}, r"zoom_range must be a pair of numbers \(lower, upper\), not \(1, 2, 3\)"),
        ({"zoom_range": "ab"}, "zoom_range must be .*, not 'ab'"),
        ({"width_shift_range": []}, r"width_shift_range must be a number from 0 on or a list of numbers, not \[\]"),
        ({"height_shift_range": None}, "height_shift_range must be .*, not None"),
        ({"height_shift_range": -0.5}, "height_shift_range must be .*, not -0.5"),
        ({"brightness_range": 0.5}, "brightness_range must be a pair of numbers .*, not 0.5"),
        ({"channel_shift_range": float("nan")}, "channel_shift_range must be a number from 0 on, not nan"),
        ({"fill_mode": "mirror"}, "fill_mode must be .*'wrap', not 'mirror'"),
        ({"data_format": "channels_first"}, "data_format must be None or 'channels_last', not 'channels_first'"),
        ({"validation_split": 1.0}, "validation_split must be a number from 0 to below 1, not 1.0"),
        ({"interpolation_order": 3}, "interpolation_order must be 1, not 3"),
        ({"cval": "a"}, "cval must be a number, not 'a'"),
        ({"rescale": (1, 2)}, r"rescale must be a number, not \(1, 2\)"),
        ({"dtype": "float64"}, "dtype must be None or 'float32'.*, not 'float64'"),
    ],
    ids=str,
)
def test_wrong_settings(settings, sentence):
    with pytest.raises(ValueError, match=f"ImageDataGenerator: {sentence}"):
        ImageDataGenerator(**settings)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda g: g.flow(IMAGES[0]),
            r"flow: expected numbers in an array \(N, H, W, C\), got uint8 of shape \(7, 6, 2\)",
        ),
        (lambda g: g.flow([["a"]]), "flow: expected numbers in an array"),
        (
            lambda g: g.flow((IMAGES, LABELS), LABELS),
            r"flow: expected numbers in an array \(N, H, W, C\), got arrays of different shapes",
        ),
        (
            lambda g: g.flow(IMAGES, LABELS[:9]),
            r"flow: expected 40 samples in y, as in x, got an array of shape \(9,\)",
        ),
        (lambda g: g.flow(IMAGES, LABELS, sample_weight=[1.0]), "flow: expected 40 samples in sample_weight"),
        (lambda g: g.flow(IMAGES, sample_weight=LABELS), "flow: sample_weight needs y"),
        (lambda g: g.flow(IMAGES, batch_size=0), "flow: batch_size must be a whole number from 1 on, not 0"),
        (lambda g: g.flow(IMAGES, seed=-1), "a seed must be a whole number from 0 .*, not -1"),
        (lambda g: g.flow(IMAGES, subset="test"), "flow: subset must be 'training' or 'validation', not 'test'"),
        (lambda g: g.flow(IMAGES, subset="validation"), "flow: there is no sample in the validation subset"),
        (lambda g: g.flow(IMAGES[:0]), "flow: there is no sample"),
        (lambda g: g.fit(IMAGES[0]), r"fit: expected numbers in an array \(N, H, W, C\)"),
        (
            lambda g: g.fit(IMAGES, True, rounds=0),
            "fit: expected at least one image and one round, got 40 and rounds=0",
        ),
        (lambda g: g.fit(IMAGES[:0]), "fit: expected at least one image and one round, got 0 and rounds=1"),
        (
            lambda g: ImageDataGenerator(preprocessing_function=np.sum).standardize(IMAGES[0]),
            r"preprocessing_function: expected an image of shape \(7, 6, 2\), as given, got \(\)",
        ),
        (lambda g: g.standardize(IMAGES[0, 0]), "standardize: expected numbers in an array"),
        (lambda g: g.apply_transform(IMAGES, {}), r"apply_transform: expected numbers in an array \(H, W, C\)"),
        (
            lambda g: g.apply_transform(IMAGES[0], {"angle": 3}),
            "apply_transform: there is no parameter 'angle'; there are theta",
        ),
        (
            lambda g: ImageDataGenerator(validation_split=0.5).flow(IMAGES, LABELS // 20, subset="training"),
            "the classes in y of the training and of the validation subset differ",
        ),
    ],
)
def test_wrong_arrays(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(ImageDataGenerator())


def test_a_batch_that_is_not_there():
    flow = ImageDataGenerator().flow(IMAGES, batch_size=16)
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"there is no batch {index}: an epoch has 3"):
            flow[index]


def test_defaults_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(ImageDataGenerator().flow(IMAGES))


# ---------------------------------------------------------------------- pictures


def test_pictures_are_read_resized_and_written(tmp_path):
    Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    x = np.arange(24, dtype="uint8").reshape(4, 6) * 10
    path = tmp_path / "digit.png"
    Image.fromarray(x).save(path)
    assert pictures.load_img(path).size == (6, 4) and pictures.load_img(path).mode == "RGB"
    np.testing.assert_array_equal(pictures.img_to_array(pictures.load_img(path, color_mode="grayscale"))[..., 0], x)
    small = pictures.img_to_array(pictures.load_img(path, color_mode="grayscale", target_size=(2, 3)))
    np.testing.assert_array_equal(small[..., 0], x[1::2, 1::2])  # the nearest of each 2×2 pixels
    middle = pictures.load_img(path, "grayscale", (4, 4), keep_aspect_ratio=True)
    np.testing.assert_array_equal(np.asarray(middle), x[:, 1:5])
    pictures.save_img(tmp_path / "again.png", x[..., None], scale=False)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "again.png")), x)
    spread = np.asarray(pictures.array_to_img([[[2.0], [3.0]], [[4.0], [2.0]]]))
    np.testing.assert_array_equal(spread, [[0, 127], [255, 0]])


def test_what_is_no_picture(tmp_path):
    pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    (tmp_path / "a.png").write_bytes(b"no picture")
    for path in (tmp_path / "a.png", tmp_path / "nowhere.png"):
        with pytest.raises(minicnn.data.DataError, match=f"{path.name}: expected a picture that Pillow reads"):
            pictures.load_img(path)
    for settings, sentence in (
        ({"color_mode": "gray"}, "load_img: color_mode must be one of grayscale, rgb, rgba, not 'gray'"),
        ({"interpolation": "cubic"}, "load_img: interpolation must be one of nearest, .*, not 'cubic'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            pictures.load_img(tmp_path / "a.png", **settings)
    with pytest.raises(TypeError, match="Keras 3 has dropped it, use color_mode='grayscale'"):
        pictures.load_img(tmp_path / "a.png", grayscale=True)
    with pytest.raises(ValueError, match=r"expected an array \(H, W, C\) of 1, 3 or 4 channels, got shape \(4, 6\)"):
        pictures.array_to_img(np.zeros((4, 6)))
    with pytest.raises(minicnn.data.DataError, match="no/such"):
        pictures.save_img(tmp_path / "no/such/a.png", np.zeros((4, 6, 1)))


# ---------------------------------------------------------------------- pictures in folders


def drawn(number):
    """The gray picture that lies in the folder under this number, 4 pixels high and 6 wide."""
    return (np.arange(24).reshape(4, 6) + 30 * number).astype("uint8")


PLACES_OF_PICTURES = ["one/a.png", "one/b.PNG", "one/deep/0.png", "two/0.png", "two/1.bmp", "two/c.tif", "two/d.ppm"]


@pytest.fixture
def folder(tmp_path):
    """Two classes, three and four pictures, and files that are none."""
    Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    for number, name in reversed(list(enumerate(PLACES_OF_PICTURES))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn(number)).save(tmp_path / name)
    (tmp_path / "two" / "notes.txt").write_text("no picture")
    (tmp_path / "list.csv").write_text("id")
    return tmp_path


GRAY = {"target_size": (4, 6), "color_mode": "grayscale", "shuffle": False}


def test_pictures_in_folders(folder, capsys):
    flow = ImageDataGenerator().flow_from_directory(folder, batch_size=4, **GRAY)
    assert capsys.readouterr().out == "Found 7 images belonging to 2 classes.\n"
    assert flow.filenames == PLACES_OF_PICTURES
    assert flow.filepaths == [str(folder / name) for name in PLACES_OF_PICTURES]
    assert flow.class_indices == {"one": 0, "two": 1} and flow.classes.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert flow.labels is flow.classes
    assert (flow.n, flow.samples, flow.num_classes, flow.batch_size, len(flow)) == (7, 7, 2, 4, 2)
    assert flow.image_shape == (4, 6, 1)
    x, y = flow[1]
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[..., 0], [drawn(number) for number in (4, 5, 6)])
    np.testing.assert_array_equal(y, [[0, 1]] * 3)


def test_a_whole_run_on_folders(folder):
    generator = ImageDataGenerator(rescale=1 / 255, rotation_range=5, validation_split=0.34)
    options = GRAY | {"class_mode": "sparse", "batch_size": 2, "seed": 1}
    train, validation, everything = (
        generator.flow_from_directory(folder, subset=subset, **options) for subset in ("training", "validation", None)
    )
    assert train.n == 5 and validation.filenames == ["one/a.png", "two/0.png"]
    minicnn.set_random_seed(0)
    layers = [minicnn.Input((4, 6, 1)), minicnn.Flatten(), minicnn.Dense(2, activation="softmax")]
    model = minicnn.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(train, epochs=2, validation_data=validation, verbose=0).history
    assert len(history["val_accuracy"]) == 2 and np.isfinite(history["loss"]).all()
    everything.reset()
    assert model.predict(everything, verbose=0).shape == (7, 2)
    assert len(model.evaluate(everything, verbose=0)) == 2


@pytest.mark.parametrize("mode", ["binary", "sparse", "input", None])
def test_targets_of_folders(folder, mode):
    flow = ImageDataGenerator(channel_shift_range=9.0).flow_from_directory(folder, class_mode=mode, **GRAY)
    batch = next(flow)
    if mode is None:
        assert batch.shape == (7, 4, 6, 1)
        return
    x, y = batch
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x if mode == "input" else [0, 0, 0, 1, 1, 1, 1])
    assert y is not x and not np.shares_memory(x, y)


def test_some_classes_in_another_order(folder):
    flow = ImageDataGenerator().flow_from_directory(folder, classes=["two", "one"], class_mode="sparse", **GRAY)
    assert flow.class_indices == {"two": 0, "one": 1}
    assert flow.filenames == PLACES_OF_PICTURES[3:] + PLACES_OF_PICTURES[:3]
    np.testing.assert_array_equal(flow[0][1], [0, 0, 0, 0, 1, 1, 1])
    flow = ImageDataGenerator().flow_from_directory(folder, classes=["two"], class_mode=None, **GRAY)
    np.testing.assert_array_equal(flow[0][..., 0], [drawn(number) for number in (3, 4, 5, 6)])


def test_a_class_that_is_named_twice_counts_once(folder):
    once, twice = (
        ImageDataGenerator().flow_from_directory(folder, classes=names, **GRAY)
        for names in (["two", "one"], ["two", "one", "two"])
    )
    assert twice.class_indices == once.class_indices and twice.filenames == once.filenames
    np.testing.assert_array_equal(twice[0][1], once[0][1])


def test_folders_and_files_come_sorted_as_strings(folder):
    for name in ("7", "10", "two/x", "9", "0", "a", "B"):
        (folder / name).mkdir()
        for file in ("2.png", "10.png", "1.png", "a.png", "B.png"):
            (folder / name / file).write_bytes((folder / "one/a.png").read_bytes())
    flow = ImageDataGenerator().flow_from_directory(folder, classes=["two"], **GRAY)
    below = [f"two/x/{file}" for file in ("1.png", "10.png", "2.png", "B.png", "a.png")]
    assert flow.filenames == PLACES_OF_PICTURES[3:] + below
    flow = ImageDataGenerator().flow_from_directory(folder, **GRAY)
    assert list(flow.class_indices) == ["0", "10", "7", "9", "B", "a", "one", "two"]


@pytest.mark.parametrize("follow", [False, True])
def test_links_are_followed_where_told(folder, tmp_path_factory, follow):
    other = tmp_path_factory.mktemp("other")
    (folder / "two" / "0.png").rename(other / "linked.png")
    (folder / "one" / "more").symlink_to(other)
    flow = ImageDataGenerator().flow_from_directory(folder, follow_links=follow, **GRAY)
    assert ("one/more/linked.png" in flow.filenames) == follow


def test_pictures_of_every_depth_and_size(folder):
    """A gray picture of 16 bits keeps its numbers; a smaller one is resized as load_img does it."""
    Image = pytest.importorskip("PIL.Image")
    deep = (drawn(0).astype("uint16") + 1) * 200
    Image.fromarray(deep).save(folder / "two" / "c.png")
    flow = ImageDataGenerator().flow_from_directory(folder, **GRAY)
    np.testing.assert_array_equal(flow[0][0][5, ..., 0], deep)
    np.testing.assert_array_equal(flow[0][0][4, ..., 0], drawn(4))
    options = {"target_size": (5, 3), "interpolation": "bilinear", "keep_aspect_ratio": True}
    flow = ImageDataGenerator().flow_from_directory(folder, shuffle=False, **options)
    picture = pictures.load_img(flow.filepaths[2], **options)
    np.testing.assert_array_equal(flow[0][0][2], pictures.img_to_array(picture))
    assert flow.image_shape == (5, 3, 3)


def test_pictures_of_a_table(folder, capsys):
    table = pandas.DataFrame(
        {
            "filename": ["two/c.tif", "one/a.png", "nowhere.png", "two/notes.txt", "two/0.png", "one/b.PNG"],
            "class": ["t", "o", "o", "t", "z", "o"],
            "weight": [1, 2, 3, 4, 5, 6],
            "height": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        }
    )
    generator = ImageDataGenerator(validation_split=0.34)
    with pytest.warns(UserWarning, match=r"2 rows name no picture and are left out, first .*/nowhere\.png"):
        flow = generator.flow_from_dataframe(table, folder, weight_col="weight", classes=["t", "o"], **GRAY)
    assert capsys.readouterr().out == "Found 3 validated image filenames belonging to 2 classes.\n"
    assert flow.filenames == ["two/c.tif", "one/a.png", "one/b.PNG"]
    assert flow.filepaths[0] == str(folder / "two/c.tif")
    assert flow.class_indices == {"t": 0, "o": 1} and flow.classes.tolist() == [0, 1, 1]
    x, y, weights = flow[0]
    np.testing.assert_array_equal(x[..., 0], [drawn(5), drawn(0), drawn(1)])
    np.testing.assert_array_equal(y, [[1, 0], [0, 1], [0, 1]])
    np.testing.assert_array_equal(weights, [1, 2, 6])

    table["filename"] = [str(folder / name) for name in table["filename"]]
    table = table.drop([2, 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = generator.flow_from_dataframe(table, class_mode="sparse", subset="training", **GRAY)
    assert flow.class_indices == {"o": 0, "t": 1, "z": 2} and flow.classes.tolist() == [
        0,
        2,
        0,
    ]  # the first is not there
    for columns, targets in ("height", [0.1, 0.2, 0.5, 0.6]), (["height", "weight"], table[["height", "weight"]]):
        flow = generator.flow_from_dataframe(table, y_col=columns, class_mode="raw", **GRAY)
        np.testing.assert_array_equal(flow[0][1], targets)
        np.testing.assert_array_equal(flow.labels, targets)
    some = table[["filename", "weight"]]
    flow = generator.flow_from_dataframe(some, weight_col="weight", class_mode=None, validate_filenames=False, **GRAY)
    assert capsys.readouterr().out.endswith("Found 4 non-validated image filenames.\n")
    assert flow[0].shape == (4, 4, 6, 1)
    flow = generator.flow_from_dataframe(table, weight_col="weight", class_mode="input", **GRAY)
    x, y, weights = flow[0]
    np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(weights, [1, 2, 5, 6])


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"directory": "no/such"}, "no/such: expected a folder with one folder of pictures .* no folder of this name"),
        (
            {"classes": ["one", "six"]},
            "expected a folder with one folder of pictures .* there is no folder 'six' in it",
        ),
        (
            {"directory": "one/deep"},
            "one/deep: expected a folder with one folder of pictures .* but there is no folder in it",
        ),
        (
            {"subset": "validation"},
            "flow_from_directory: no picture was found in .* for the validation subset; names must end in .png",
        ),
        ({"subset": "test"}, "flow_from_directory: subset must be 'training' or 'validation', not 'test'"),
        ({"color_mode": "gray"}, "flow_from_directory: color_mode must be one of grayscale, rgb, rgba, not 'gray'"),
        ({"class_mode": "raw"}, "class_mode must be 'categorical' or 'binary' or .* or None, not 'raw'"),
        ({"target_size": 28}, r"target_size must be two whole numbers \(height, width\), not 28"),
        ({"target_size": (28, 0)}, r"target_size must be two whole numbers .*, not \(28, 0\)"),
        ({"interpolation": "cubic"}, "interpolation must be one of nearest, .*, not 'cubic'"),
        ({"batch_size": 0}, "flow_from_directory: batch_size must be a whole number from 1 on, not 0"),
        ({"target_size": (20_000, 20_000)}, r"7 pictures of shape \(20000, 20000, 1\) would take 2.8 GB of memory"),
    ],
    ids=str,
)
def test_wrong_folders(folder, monkeypatch, settings, sentence):
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match=sentence):
        ImageDataGenerator().flow_from_directory(**GRAY | {"directory": folder} | settings)


@pytest.mark.parametrize("threads", [1, 2])
def test_batches_that_are_taken_are_written_as_pictures(folder, threads):
    """The kept images are read again: each sample that was taken, and none of those that were made ahead."""
    Image = pytest.importorskip("PIL.Image")
    before = minicnn.get_threads()
    minicnn.set_threads(threads)
    try:
        saving = {"save_to_dir": folder / "one", "save_prefix": "x", "save_format": "bmp"}
        flow = ImageDataGenerator().flow(IMAGES[..., :1], LABELS, 8, seed=2, **saving)
        few = ImageDataGenerator().flow(IMAGES[:3, ..., :1], shuffle=False, **saving)
        for take in (flow.__next__, flow.__next__, lambda: flow[4], lambda: few[0]):
            taken = take()
            images, rows = taken if isinstance(taken, tuple) else (taken, np.arange(3))
            names = {name.name: name for name in (folder / "one").glob("x_*.bmp")}
            assert sorted(int(name.split("_")[1]) for name in names) == sorted(rows.tolist())
            for row, image in zip(rows, images[..., 0], strict=True):
                found = [name for name in names if name.startswith(f"x_{row}_")]
                expected = 255 * (image - image.min()) / (image.max() - image.min())
                assert any(np.abs(np.asarray(Image.open(names[one]), float) - expected).max() < 1.001 for one in found)
            for name in names.values():
                name.unlink()
        flow = ImageDataGenerator(rotation_range=9).flow_from_directory(folder, **GRAY, save_to_dir=folder / "two")
        next(flow)
        assert len(list((folder / "two").glob("_?_*.png"))) == 7
    finally:
        minicnn.set_threads(before)
    with pytest.raises(minicnn.data.DataError, match="the picture cannot be written"):
        next(ImageDataGenerator().flow(IMAGES[..., :1], save_to_dir=folder / "none"))


def test_a_picture_that_cannot_be_read(folder):
    (folder / "two" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(minicnn.data.DataError, match=r"two/broken\.png: expected a picture that Pillow reads"):
        ImageDataGenerator().flow_from_directory(folder, **GRAY)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"x_col": "id"}, r"expected a DataFrame with a column 'id', got a DataFrame with \['filename', 'class'\]"),
        ({"y_col": "label"}, "expected a DataFrame with a column 'label', got a DataFrame"),
        ({"y_col": ["class", "b"], "class_mode": "raw"}, "expected a DataFrame with a column 'b', got"),
        ({"weight_col": "w"}, "expected a DataFrame with a column 'w', got"),
        ({"dataframe": "train.csv"}, "expected a DataFrame with a column 'filename', got a str"),
        ({"y_col": "filename", "x_col": "class"}, "column 'class' must hold strings, not 7: astype"),
        ({}, "column 'class' must hold strings, not 7: astype.str. makes strings, and class_mode 'raw' takes numbers"),
        ({"class_mode": "multi_output"}, "flow_from_dataframe: class_mode must be .* or 'raw', not 'multi_output'"),
        ({"class_mode": "binary", "y_col": "filename"}, r"class_mode 'binary' needs two classes, not \['one/a.png'\]"),
        (
            {"directory": "no/such", "class_mode": None},
            "flow_from_dataframe: no picture was found in no/such; names must end in",
        ),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*name no picture")
def test_wrong_tables(folder, settings, sentence):
    table = pandas.DataFrame({"filename": ["one/a.png"], "class": [7]})
    with pytest.raises(ValueError, match=sentence):
        ImageDataGenerator().flow_from_dataframe(**{"dataframe": table, "directory": folder} | settings)


def test_the_limit_of_memory_is_as_said(folder, monkeypatch):
    monkeypatch.setattr(files, "MOST", 7 * 24)
    assert ImageDataGenerator().flow_from_directory(folder, **GRAY).n == 7
    monkeypatch.setattr(files, "MOST", 7 * 24 - 1)
    with pytest.raises(ValueError, match="7 pictures of shape .* would take"):
        ImageDataGenerator().flow_from_directory(folder, **GRAY)


def test_folders_warn_until_fit(folder):
    generator = ImageDataGenerator(featurewise_center=True)
    with pytest.warns(UserWarning, match="featurewise_center is left out until fit"):
        flow = generator.flow_from_directory(folder, **GRAY)
    generator.fit(flow.x)
    assert abs(np.mean(flow[0][0])) < 1e-3

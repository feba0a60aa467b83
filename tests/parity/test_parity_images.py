"""ImageDataGenerator against the one that Keras keeps for old programs, on SciPy's interpolation: given motions,
normalisation, and how subsets are cut; pictures as arrays, and pictures in folders.

What is drawn cannot be the same. Images are square, as Keras turns others about a wrong centre.
"""

import numpy as np
import pandas
import pytest

from minicnn import utils
from minicnn.preprocessing.image import ImageDataGenerator

pytestmark = pytest.mark.parity

MOTIONS = [
    {"theta": 17.0},
    {"theta": -90},
    {"tx": 2.3, "ty": -1.4},
    {"shear": 25.0},
    {"zx": 0.8, "zy": 1.3},
    {"flip_horizontal": True},
    {"flip_vertical": True},
    {"channel_shift_intensity": 40.0},
    {
        "theta": 33,
        "tx": 1.7,
        "ty": 2.9,
        "shear": -12,
        "zx": 1.2,
        "zy": 0.7,
        "flip_horizontal": True,
        "flip_vertical": 1,
    },
]


@pytest.fixture
def theirs(keras):
    pytest.importorskip("scipy", reason="Keras' generator needs SciPy")
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator


@pytest.mark.parametrize("fill_mode", ["nearest", "reflect"])
@pytest.mark.parametrize("motion", MOTIONS, ids=lambda motion: "+".join(motion))
def test_given_motions(theirs, random, motion, fill_mode):
    x = random.uniform(0, 255, (11, 11, 3)).astype("float32")
    expected = theirs(fill_mode=fill_mode).apply_transform(x, motion)
    actual = ImageDataGenerator(fill_mode=fill_mode).apply_transform(x, motion)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * 255)


def test_brightness_is_theirs_up_to_their_rounding(theirs, random):
    pytest.importorskip("PIL", reason="Keras' brightness needs Pillow")
    x = random.integers(0, 256, (9, 9, 3)).astype("float32")
    for factor in (0.3, 1.0, 1.7):
        expected = theirs().apply_transform(x, {"brightness": factor})
        actual = ImageDataGenerator().apply_transform(x, {"brightness": factor})
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1)


def test_a_constant_is_filled_in_where_the_point_is_outside(theirs):
    """All of a constant image tells which pixels of the result come from outside."""
    x = np.ones((9, 9, 1), "float32")
    motion = {"tx": 2, "ty": -3, "flip_horizontal": True}
    expected = theirs(fill_mode="constant", cval=5.0).apply_transform(x, motion)
    np.testing.assert_array_equal(
        ImageDataGenerator(fill_mode="constant", cval=5.0).apply_transform(x, motion), expected
    )


@pytest.mark.filterwarnings("ignore")  # that one setting implies another
@pytest.mark.parametrize(
    "settings",
    [
        {"rescale": 1 / 255},
        {"samplewise_center": True},
        {"samplewise_std_normalization": True, "rescale": 0.5},
        {"featurewise_center": True},
        {"featurewise_std_normalization": True, "rescale": 0.1},
        {"zca_whitening": True, "zca_epsilon": 1e-3},
        {"preprocessing_function": lambda image: image[::-1] * 2, "samplewise_center": True},
    ],
    ids=lambda settings: "+".join(settings),
)
def test_normalisation(theirs, random, settings):
    x = (random.standard_normal((200, 4, 4, 3)) * [1, 2, 3] + 5).astype("float32")
    ours, reference = ImageDataGenerator(**settings), theirs(**settings)
    ours.fit(x)
    reference.fit(x)
    for image in x[:5]:
        expected = reference.standardize(image.copy())
        np.testing.assert_allclose(ours.standardize(image), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    got = ours.flow(x, shuffle=False, batch_size=7)[2]
    expected = reference.flow(x, shuffle=False, batch_size=7)[2]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("subset", ["training", "validation"])
def test_subsets(theirs, random, subset):
    x, y = random.random((23, 3, 3, 1)), np.arange(23) % 2
    options = {"batch_size": 4, "shuffle": False, "subset": subset}
    ours, expected = (kind(validation_split=0.3).flow(x, y, **options) for kind in (ImageDataGenerator, theirs))
    assert (len(ours), ours.n) == (len(expected), expected.n)
    for k in range(len(ours)):
        for a, b in zip(ours[k], expected[k], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", ["grayscale", "rgb", "rgba"])
@pytest.mark.parametrize("size", [None, (28, 28), (9, 30)])
@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_pictures(tmp_path, keras, mode, size, kind):
    Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    values = np.random.default_rng(7).integers(0, 256, (20, 33, 3), "uint8")
    picture = Image.fromarray(values[..., 0].astype("uint16") * 200) if kind == "I;16" else Image.fromarray(values)
    path = tmp_path / "digit.png"
    (picture if kind == "I;16" else picture.convert(kind)).save(path)
    for options in ({}, {"interpolation": "bilinear"}, {"keep_aspect_ratio": True, "interpolation": "lanczos"}):
        settings = {"color_mode": mode, "target_size": size} | options
        ours, theirs = (place.img_to_array(place.load_img(path, **settings)) for place in (utils, keras.utils))
        np.testing.assert_array_equal(ours, theirs)
    for scale in (True, False):
        back = [np.asarray(place.array_to_img(ours[..., :1], scale=scale)) for place in (utils, keras.utils)]
        np.testing.assert_array_equal(*back)
    for name in ("a.png", "a.jpg"):
        for place in (utils, keras.utils):
            place.save_img(tmp_path / f"{place.__name__}-{name}", ours)
        written = [(tmp_path / f"{place.__name__}-{name}").read_bytes() for place in (utils, keras.utils)]
        assert written[0] == written[1]


@pytest.fixture
def folder(tmp_path):
    """Three classes of colourful pictures of different sizes, in several formats, some in folders below; and other files."""
    Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    random = np.random.default_rng(3)
    names = ["b.png", "a.PNG", "c.jpg", "below/z.png", "below/a.bmp", "10.png", "9.png"]
    for kind in ("seven", "Two", "10"):
        for name in names:
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            size = random.integers(5, 30, 2)
            Image.fromarray(random.integers(0, 256, (*size, 3), "uint8")).save(path)
        names.pop()
        (tmp_path / kind / "readme.txt").write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "top.png").write_bytes(b"")
    return tmp_path


def assert_same_flow(ours, theirs):
    for name in ("filenames", "filepaths", "samples", "n", "batch_size", "image_shape"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("class_indices", "num_classes"):
        if hasattr(theirs, name):
            assert getattr(ours, name) == getattr(theirs, name)
    if hasattr(theirs, "classes"):
        np.testing.assert_array_equal(ours.classes, theirs.classes)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert len(ours) == len(theirs)
    for k in range(len(ours)):
        got, expected = ours[k], theirs[k]
        if isinstance(expected, np.ndarray):
            got, expected = (got,), (expected,)
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"class_mode": "binary", "color_mode": "grayscale", "interpolation": "bilinear"},
        {"class_mode": "sparse", "color_mode": "rgba", "keep_aspect_ratio": True, "interpolation": "lanczos"},
        {"class_mode": "input", "target_size": (9, 14)},
        {"class_mode": None, "classes": ["seven", "10"]},
        {"subset": "training"},
        {"subset": "validation"},
    ],
    ids=str,
)
def test_pictures_in_folders(theirs, folder, capsys, settings):
    settings = {"target_size": (28, 28), "batch_size": 4, "shuffle": False} | settings
    flows, said = [], []
    for kind in (ImageDataGenerator, theirs):
        generator = kind(validation_split=0.3, preprocessing_function=lambda image: image - 7)
        flows.append(generator.flow_from_directory(str(folder), **settings))
        said.append(capsys.readouterr().out)
    assert_same_flow(*flows)
    assert said[0] == said[1]


@pytest.mark.filterwarnings("ignore")  # that files are missing
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"class_mode": "sparse", "subset": "training", "weight_col": "weight"},
        {"class_mode": "sparse", "subset": "validation"},
        {"class_mode": "categorical", "classes": ["seven", "Two"], "weight_col": "weight"},
        {"class_mode": "binary", "classes": ["seven", "10"]},
        {"class_mode": "raw", "y_col": "weight"},
        {"class_mode": "raw", "y_col": ["weight", "other"]},
        {"class_mode": "input", "weight_col": "weight"},
        {"class_mode": None, "weight_col": "weight"},
    ],
    ids=str,
)
def test_pictures_of_a_table(theirs, folder, capsys, settings):
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.*")) if path.name != "top.png"]
    table = pandas.DataFrame({"filename": [*names, "missing.png"]}).sample(frac=1, random_state=5)
    table["class"] = [name.partition("/")[0] for name in table["filename"]]
    table["weight"], table["other"] = np.linspace(0, 1, len(table)), np.arange(len(table))
    settings = {"target_size": (14, 14), "batch_size": 4, "shuffle": False} | settings
    flows, said = [], []
    for kind in (ImageDataGenerator, theirs):
        flows.append(kind(validation_split=0.3).flow_from_dataframe(table, str(folder), **settings))
        said.append(capsys.readouterr().out)
    assert_same_flow(*flows)
    assert said[0] == said[1]

"""Arguments that cannot be, wherever they are given: one sentence each, which says what was expected and what came."""

import json

import numpy as np
import pytest

import minicnn
from minicnn import (
    Dense,
    Input,
    Sequential,
    callbacks,
    constraints,
    data,
    gradcheck,
    initializers,
    layers,
    metrics,
    models,
    optimizers,
)
from minicnn.optimizers import schedules
from minicnn.preprocessing.image import ImageDataGenerator

IMAGES = np.ones((4, 6, 6, 1), "float32")
X = np.ones((4, 3), "float32")
GENERATOR = ImageDataGenerator()


def small(**options):
    model = Sequential([Input((3,)), Dense(2, name="d", **options)], name="m")
    model.compile("sgd", "mse")
    return model


def built():
    layer = Dense(2, name="d")
    layer.build((None, 3))
    return layer


def trained(**options):
    small(**options).fit(X, X[:, :2], verbose=0)


SIZES = r"must be a tuple of sizes, such as \(28, 28, 1\), not "
BATCH_SIZES = r"input_shape must be a tuple of sizes, that of the batch first, such as \(None, 28, 28, 1\), not "
PATH = "must be the name of a file or folder, not "
STEPS = "PiecewiseConstantDecay needs increasing boundaries and one value more, not "


@pytest.mark.parametrize(
    "call, sentence",
    [
        # layers and models
        (lambda: Sequential(Dense(10, name="d")), "Sequential: layers must be a list of layers, not <Dense d>"),
        (lambda: Sequential(5), "Sequential: layers must be a list of layers, not 5"),
        (lambda: built().add_weight((None, 3)), r"layer d: the shape of weight must be a tuple of whole numbers, not \(None, 3\)"),
        (lambda: built().add_weight(3), "layer d: the shape of weight must be a tuple of whole numbers, not 3"),
        (lambda: built().add_weight((2.5,), name="w"), r"the shape of w must be a tuple of whole numbers, not \(2.5,\)"),
        (lambda: built().add_weight((-2,)), r"must be a tuple of whole numbers, not \(-2,\)"),
        (lambda: small()("a"), "model m: x must be an array, not 'a'"),
        (lambda: small()(None), "model m: x must be an array, not None"),
        (lambda: layers.Conv2D(3, 3, name="c")(None), "layer c: x must be an array, not None"),
        (lambda: Dense(3, name="d")(5), "layer d: x must be an array, not 5"),
        (lambda: small().set_weights(5), "model m: weights must be a list, not 5"),
        (lambda: built().set_weights(None), "layer d: weights must be a list, not None"),
        (lambda: small().get_layer(index="a"), "get_layer: index must be a whole number, or None, not 'a'"),
        (lambda: small().build(5), r"model m: input_shape must be a tuple of sizes, .*, or None, not 5"),
        (lambda: built().build("ab"), f"layer d: {BATCH_SIZES}'ab'"),
        (lambda: built().build(None), f"layer d: {BATCH_SIZES}None"),
        (lambda: layers.Conv2D(3, 3).build((None, "a", 3, 1)), rf"{BATCH_SIZES}\(None, 'a', 3, 1\)"),
        (lambda: Dense(3).build((None, 2.5)), rf"{BATCH_SIZES}\(None, 2.5\)"),
        (lambda: Input(("28", 28, 1)), rf"layer input_layer: shape {SIZES}\('28', 28, 1\)"),
        (lambda: Input((28.0, 28, 1)), rf"shape {SIZES}\(28.0, 28, 1\)"),
        (lambda: Input(28, 28, 1, name="i"), f"layer i: shape {SIZES}28"),
        (lambda: layers.Lambda(abs, 5, name="l"), f"layer l: output_shape {SIZES}5"),
        (lambda: layers.Softmax(5, name="s").build((None, 3)), r"layer s: axis must be from -2 to 1, or .* shape \(None, 3\), not 5"),
        (lambda: Sequential([Input((3,)), layers.Softmax("a")]), r"axis must be from -2 to 1, or .* not \('a',\)"),
        (lambda: small(kernel_initializer=lambda s: 1), "initializer of kernel cannot be called as a function of shape and dtype: "),
        (lambda: layers.Permute((1, "a"), name="p"), r"layer p: dims must be the numbers from 1 on in some order, not \(1, 'a'\)"),
        (lambda: layers.RandomAffine(elastic=("a", "b"), name="r"), r"layer r: elastic must be a pair \(alpha, sigma\) of positive .*'b'"),
        (lambda: layers.RandomElasticTransform(alpha="a", name="r"), "layer r: alpha must be a positive number, not 'a'"),
        (lambda: layers.RandomErasing(fill_value="black")(IMAGES), "fill_value must be a number or one for each of 1 channels, not 'b"),
        (lambda: layers.Normalization(mean="a", variance="b", name="n"), "layer n: mean must be a number, or an array of numbers, or No"),
        (lambda: layers.Normalization(name="n").adapt(5), "layer n: data must be an array, or give batches of arrays, not 5"),
        (lambda: layers.Normalization().adapt("a"), "data must be an array, or give batches of arrays, not 'a'"),
        (lambda: layers.BatchNormalization(momentum=2, name="b"), "layer b: momentum must be between 0 and 1, not 2"),
        (lambda: layers.BatchNormalization(epsilon=-1, name="b"), "layer b: epsilon must be a number from 0 on, not -1"),
        (lambda: layers.LayerNormalization(epsilon=-1), "epsilon must be a number from 0 on, not -1"),
        (lambda: small().compile(optimizers.Adam), r"an optimizer is an object, Adam\(\), not its class"),
        (lambda: small().compile("adam", "mse", "accuracy"), "metrics are given by name, metrics=…"),
        (lambda: models.model_from_json("{"), "model_from_json: expected what to_json wrote, got '{' "),
        (lambda: models.model_from_json("{}"), "expected a description, with a class_name and a config, got a dictionary with nothing"),
        (lambda: models.model_from_json("5"), "expected a description, with a class_name and a config, got 5"),
        (lambda: models.model_from_json(None), "model_from_json: expected what to_json wrote, got None"),
        (lambda: layers.deserialize(5), "expected a description, with a class_name and a config, got 5"),
        (lambda: models.clone_model(5), "clone_model: model must be a Sequential or Model, not 5"),
        (lambda: gradcheck.check_layer(Dense, (2, 3)), r"check_layer: layer must be a layer, such as Dense\(3\), not <class"),
        # files
        (lambda: small().save(None), f"filepath {PATH}None"),
        (lambda: small().save(5), f"filepath {PATH}5"),
        (lambda: small().save_weights(None), f"filepath {PATH}None"),
        (lambda: minicnn.load_model("."), r"\.: the file cannot be read \(this is a directory\)"),
        (lambda: data.read_kaggle(None), f"path {PATH}None"),
        (lambda: data.write_submission(None, [1]), f"path {PATH}None"),
        # optimizers and their schedules
        (lambda: optimizers.Adam(clipnorm="1"), "Adam: clipnorm must be a number from 0 on, or None, not '1'"),
        (lambda: optimizers.Adam(weight_decay="a"), "Adam: weight_decay must be a number from 0 on, or None, not 'a'"),
        (lambda: optimizers.Adam(ema_momentum="a"), "Adam: ema_momentum must be between 0 and 1, not 'a'"),
        (lambda: optimizers.Adam("0.1"), "Adam: learning_rate must be a number from 0 on, or a schedule, not '0.1'"),
        (lambda: schedules.ExponentialDecay(0.1, "a", 0.5), "ExponentialDecay: decay_steps must be above 0, not 'a'"),
        (lambda: schedules.ExponentialDecay(0.1, 10, "a"), "ExponentialDecay: decay_rate must be a number, not 'a'"),
        (lambda: schedules.InverseTimeDecay("a", 10, 1), "InverseTimeDecay: initial_learning_rate must be a number, not 'a'"),
        (lambda: schedules.PolynomialDecay(0.1, None), "PolynomialDecay: decay_steps must be above 0, not None"),
        (lambda: schedules.PolynomialDecay(0.1, 10, power="a"), "PolynomialDecay: power must be a number, not 'a'"),
        (lambda: schedules.CosineDecay("a", 10), "CosineDecay: initial_learning_rate must be a number, not 'a'"),
        (lambda: schedules.CosineDecay(0.1, 10, warmup_target="a"), "warmup_target must be a number, or None, not 'a'"),
        (lambda: schedules.CosineDecayRestarts(0.1, 10, "a"), "CosineDecayRestarts: t_mul must be a number from 1 on, not 'a'"),
        (lambda: schedules.CosineDecayRestarts(0.1, 10, m_mul="a"), "CosineDecayRestarts: m_mul must be a number, not 'a'"),
        (lambda: schedules.OneCycle(0.1, "a"), "OneCycle: steps must be a number, not 'a'"),
        (lambda: schedules.PiecewiseConstantDecay(10, [0.1, 0.2]), f"{STEPS}10 and"),
        (lambda: schedules.PiecewiseConstantDecay([10], ["a", 0.2]), rf"{STEPS}\[10\] and \['a', 0.2\]"),
        # callbacks
        (lambda: callbacks.ModelCheckpoint(None), f"ModelCheckpoint: filepath {PATH}None"),
        (lambda: callbacks.ModelCheckpoint("a", initial_value_threshold="a"), "initial_value_threshold must be a number, or None, not 'a'"),
        (lambda: callbacks.BackupAndRestore(None), f"BackupAndRestore: backup_dir {PATH}None"),
        (lambda: callbacks.CSVLogger(None), f"CSVLogger: filename {PATH}None"),
        (lambda: callbacks.CSVLogger("a.csv", ", "), "CSVLogger: separator must be one character, not ', '"),
        (lambda: callbacks.TensorBoard(None), f"TensorBoard: log_dir {PATH}None"),
        (lambda: callbacks.EarlyStopping(min_delta="a"), "EarlyStopping: min_delta must be a number, not 'a'"),
        (lambda: callbacks.EarlyStopping(patience=None), "EarlyStopping: patience must be a number, not None"),
        (lambda: callbacks.EarlyStopping(baseline="a"), "EarlyStopping: baseline must be a number, or None, not 'a'"),
        (lambda: callbacks.ReduceLROnPlateau(factor="0.5"), "factor must be from 0 on and below 1, not '0.5'"),
        (lambda: callbacks.ReduceLROnPlateau(min_lr="a"), "ReduceLROnPlateau: min_lr must be a number, not 'a'"),
        (lambda: callbacks.LearningRateScheduler(0.1), "LearningRateScheduler: schedule must be a function, not 0.1"),
        (lambda: callbacks.LambdaCallback(on_epoch_end=5), "LambdaCallback: on_epoch_end must be a function, not 5"),
        (lambda: callbacks.LambdaCallback(on_test_end=5), "LambdaCallback: on_test_end must be a function, not 5"),
        # initializers and constraints
        (lambda: initializers.RandomNormal(stddev="a"), "initializer RandomNormal: stddev must be a number, not 'a'"),
        (lambda: initializers.RandomUniform(1, 0), "initializer RandomUniform: maxval must be a number from minval, 1, on, not 0"),
        (lambda: initializers.HeNormal(-1)((2, 2)), "initializer HeNormal: seed must be a whole number from 0 on, or None, not -1"),
        (lambda: initializers.VarianceScaling("a"), "initializer VarianceScaling: scale must be above 0, not 'a'"),
        (lambda: initializers.Constant("a"), "initializer Constant: value must be a number, or an array of numbers, not 'a'"),
        (lambda: initializers.Orthogonal("a"), "initializer Orthogonal: gain must be a number, not 'a'"),
        (lambda: constraints.MaxNorm("a"), "MaxNorm: max_value must be a number, not 'a'"),
        (lambda: constraints.MinMaxNorm(rate=None), "MinMaxNorm: rate must be a number, not None"),
        (lambda: constraints.UnitNorm("a")(X), r"constraint: weights of shape \(4, 3\) have no axis 'a'"),
        (lambda: trained(kernel_constraint=lambda w: None), "d/kernel: what its constraint makes of it must be an array, not None"),
        (lambda: trained(kernel_constraint=constraints.MaxNorm(axis=[0, 1, 2])), r"weights of shape \(3, 2\) have no axis \[0, 1, 2\]"),
        # metrics
        (lambda: metrics.AUC("a", name="a"), "metric a: num_thresholds must be 2 or more, not 'a'"),
        (lambda: metrics.AUC(thresholds=["a"], name="a"), r"metric a: thresholds must be a list of numbers, not \['a'\]"),
        (lambda: metrics.FBetaScore(beta="a", name="f"), "metric f: beta must be a positive number, not 'a'"),
        (lambda: metrics.F1Score(threshold="a"), "threshold must be above 0 and at most 1, not 'a'"),
        (lambda: metrics.Precision("a", name="p"), "metric p: thresholds must be from 0 to 1, not 'a'"),
        (lambda: metrics.Recall(top_k="a", name="r"), "metric r: top_k must be a number, or None, not 'a'"),
        (lambda: metrics.TopKCategoricalAccuracy("a"), "TopKCategoricalAccuracy: k must be a number, not 'a'"),
        (lambda: metrics.BinaryAccuracy(threshold="a"), "BinaryAccuracy: threshold must be a number, not 'a'"),
        (lambda: metrics.CategoricalCrossentropy(label_smoothing="a"), "label_smoothing must be between 0 and 1, not 'a'"),
        # images
        (lambda: ImageDataGenerator(preprocessing_function=5), "preprocessing_function must be a function, or None, not 5"),
        (lambda: GENERATOR.get_random_transform(28), r"img_shape must be the shape of an image, \(H, W, C\), not 28"),
        (lambda: GENERATOR.random_transform(5), r"img_shape must be the shape of an image, \(H, W, C\), not \(\)"),
        (lambda: GENERATOR.apply_transform(IMAGES[0], {"theta": "a"}), "apply_transform: theta must be a number, not 'a'"),
        (lambda: GENERATOR.apply_transform(IMAGES[0], {"theta": None}), "apply_transform: theta must be a number, not None"),
        (lambda: GENERATOR.apply_transform(IMAGES[0], 5), "apply_transform: transform_parameters must be a dictionary, not 5"),
        (lambda: GENERATOR.flow(IMAGES)["a"], "flow: the number of a batch must be a whole number, not 'a'"),
        (lambda: GENERATOR.flow_from_directory(5), f"flow_from_directory: directory {PATH}5"),
        (lambda: data.synthetic_digits("a"), "expected a number of images and a seed of 0 or more, got 'a' and 0"),
        (lambda: data.synthetic_digits(2.5), "expected a number of images and a seed of 0 or more, got 2.5 and 0"),
        (lambda: data.distort(IMAGES, strength="a"), "distort: strength must be a number, not 'a'"),
        (lambda: data.distort(IMAGES, -1), "distort: seed must be a whole number from 0 on, not -1"),
    ],
)  # fmt: skip
def test_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value) and type(error.value) is not json.JSONDecodeError


class Forgetful:
    """Without `super().__init__()`."""

    def __init__(self):
        self.rate = 1.0


@pytest.mark.parametrize("base", [optimizers.Optimizer, metrics.Metric])
def test_an_init_without_that_of_the_base(base):
    kind = type("Mine", (Forgetful, base), {"__module__": __name__})
    model = small()
    with pytest.raises(AttributeError, match=r"class Mine: its __init__ must first call super\(\).__init__\(\)"):
        model.compile(
            kind() if base is optimizers.Optimizer else "sgd", "mse", metrics=[kind()] if base is metrics.Metric else []
        )
        model.fit(X, X[:, :2], verbose=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda one: Dense(one),
        lambda one: layers.Conv2D(one, one),
        lambda one: Input((one, 28, 1)),
        lambda one: layers.Dropout(0.5, seed=one),
        lambda one: layers.Rescaling(one),
        lambda one: optimizers.Adam(clipnorm=one),
        lambda one: initializers.RandomNormal(seed=one),
    ],
)
def test_true_is_one_as_in_keras(make):
    found, expected = make(True).get_config(), make(1).get_config()
    assert found | {"name": ""} == expected | {"name": ""}


def test_numbers_without_axes_are_numbers():
    one = np.array(1.0)
    assert optimizers.Adam(clipnorm=one).clipnorm == optimizers.Adam(np.float32(0.5), clipvalue=one).clipvalue == 1
    assert schedules.ExponentialDecay(one, one, one).at(3) == 1

"""Names, modules, attributes and arguments that scripts for Keras know: which are here, and what the others say."""

import importlib
import inspect

import numpy as np
import pytest
from small import X, Y, small

import minicnn
from minicnn import Conv2D, Input, MaxPooling2D, Sequential, callbacks, layers

# ---------------------------------------------------------------------- names


def starred(module):
    found = {}
    exec(f"from minicnn.{module} import *", found)
    return {name: value for name, value in found.items() if not name.startswith("__")}


@pytest.mark.parametrize(
    "module, some",
    [
        ("layers", "AvgPool2D Convolution2D SeparableConvolution2D GlobalMaxPool2D Dense Input Add LSTM average"),
        ("models", "Model Sequential load_model model_from_json save_model clone_model model_from_yaml"),
        ("callbacks", "ModelCheckpoint EarlyStopping History TensorBoard"),
        ("losses", "Loss MeanSquaredError categorical_crossentropy mse get Huber hinge kld Dice"),
        ("metrics", "Metric Mean categorical_crossentropy mean_squared_error CategoricalAccuracy MeanIoU"),
        ("utils", "to_categorical Sequence model_to_dot get_file set_random_seed get_custom_objects"),
        ("optimizers", "Adam SGD schedules Lion adam get"),
        ("optimizers.schedules", "ExponentialDecay"),
        ("initializers", "HeNormal he_normal get STFT"),
        ("regularizers", "l2 L2 get"),
        ("activations", "relu softmax get glu"),
        ("constraints", "MaxNorm max_norm get maxnorm"),
        ("backend", "image_data_format clear_session set_value"),
        ("config", "floatx set_floatx set_dtype_policy"),
        ("saving", "load_model register_keras_serializable"),
        ("preprocessing", "image image_dataset_from_directory"),
        ("preprocessing.image", "ImageDataGenerator img_to_array load_img"),
    ],
)
def test_a_star_brings_the_names_of_keras_and_no_others(module, some):
    found = starred(module)
    assert set(some.split()) <= set(found)
    no_names = {"np", "Any", "Sequence", "Callable", "Mapping", "without", "refuse", "Path", "Ops", "Array", "sum"}
    assert set(found) & no_names == ({"Sequence"} if module == "utils" else set())
    modules = {name for name, value in found.items() if inspect.ismodule(value)}
    assert modules <= {"schedules", "image"} and all(callable(found[name]) for name in set(found) - modules)


def test_stars_of_models_and_utils_one_after_the_other():
    found = {}
    exec("from minicnn.utils import *\nfrom minicnn.models import *\nfrom minicnn.layers import *", found)
    assert found["Sequence"] is minicnn.utils.Sequence and found["MaxPool2D"] is MaxPooling2D
    with pytest.raises(ValueError, match="minicnn has no layer Add: a model is one chain of layers here"):
        found["Add"]()


def test_base_classes_and_initializers_by_the_names_of_keras():
    assert issubclass(minicnn.losses.MeanSquaredError, minicnn.Loss)
    assert issubclass(minicnn.optimizers.SGD, minicnn.Optimizer) and issubclass(
        minicnn.regularizers.L2, minicnn.Regularizer
    )
    assert minicnn.initializers.he_normal is minicnn.initializers.HeNormal and minicnn.Initializer and minicnn.Metric


@pytest.mark.parametrize(
    "place, sentence",
    [
        ("backend.function", r"Keras 3 has dropped it, use Model\(model.inputs, layer.output\).predict"),
        ("backend.image_dim_ordering", "use image_data_format"),
        ("backend.set_image_dim_ordering", "use set_image_data_format"),
        ("backend.set_session", "there are no sessions"),
        ("backend.learning_phase", "by the argument training"),
        ("optimizers.adam", "Keras 3 has dropped it, the classes are SGD, RMSprop"),
        ("losses.Reduction", "Keras 3 has dropped it, write reduction='sum', 'sum_over_batch_size' or None"),
        ("regularizers.l1l2", "Keras 3 has dropped it, use l1_l2"),
        ("regularizers.activity_l2", "Keras 3 has dropped it, give the layer an activity_regularizer"),
        ("models.model_from_yaml", "use model_from_json"),
        ("layers.Concatenate", "one chain"),
        ("layers.LSTM", "images"),
        ("layers.RandomCrop", "a Layer of your own"),
        ("layers.MaxPool1D", "for the classification of images"),
        ("layers.RepeatVector", "for the classification of images"),
        ("layers.ThresholdedReLU", "make a Layer of your own"),
        ("layers.multiply", "one chain of layers"),
        ("layers.InputSpec", "input_rank"),
        ("losses.dice", "a Loss with such a `call`"),
        ("metrics.IoU", "a function of y_true and y_pred"),
        ("callbacks.BaseLogger", "fit shows its progress itself"),
        ("utils.multi_gpu_model", "a model is on one device, that of model.to"),
        ("initializers.STFT", "one of your own is a function of shape and dtype"),
        ("activations.glu", "pass a function that calculates"),
        ("config.set_dtype_policy", "numbers are float32"),
        ("saving.KerasFileEditor", "h5py and safetensors"),
    ],
)
def test_names_of_any_keras_say_what_is_used_today(place, sentence):
    module, _, name = place.rpartition(".")
    module = importlib.import_module(f"minicnn.{module}")
    with pytest.raises(ValueError, match=f"^minicnn has no .*{name}: .*{sentence}"):
        getattr(module, name)("anything", of=3)
    with pytest.raises(AttributeError, match=sentence):  # what was a module once
        getattr(module, name).anything  # noqa: B018
    assert not hasattr(getattr(module, name), "__anything__")


@pytest.mark.parametrize(
    "name",
    [
        "callbacks.RemoteMonitor", "utils.model_to_dot", "constraints.maxnorm", "optimizers.Lamb", "losses.Dice",
        "metrics.MeanIoU",
    ],
)  # fmt: skip
def test_other_things_that_are_not_here_say_so_when_used(name):
    module, name = name.split(".")
    module = importlib.import_module(f"minicnn.{module}")
    with pytest.raises(ValueError, match=f"^minicnn has no [a-z ]*{name}: "):
        getattr(module, name)(1, to_file="a")
    with pytest.raises(ValueError, match=f"^minicnn has no [a-z ]*{name}: "):
        type("Mine", (getattr(module, name),), {})
    assert not isinstance(3, getattr(module, name))
    assert not hasattr(module, "Nothing")


def test_a_class_that_is_not_here_given_as_a_setting():
    for name, choose in (("losses.Dice", "loss"), ("optimizers.Lamb", "optimizer")):
        module, _, kind = name.partition(".")
        with pytest.raises(ValueError, match=f"minicnn has no {choose} {kind}: "):
            small(**{choose: getattr(getattr(minicnn, module), kind)})
    with pytest.raises(ValueError, match="minicnn has no metric MeanIoU: "):
        small(metrics=[minicnn.metrics.MeanIoU])


# ---------------------------------------------------------------------- modules


@pytest.mark.parametrize(
    "statement, sentence",
    [
        ("from minicnn.utils import np_utils", "minicnn.utils has no np_utils: Keras 3 .*, use minicnn.utils.to_categ"),
        (
            "from minicnn.utils.np_utils import to_categorical",
            "Keras 3 has dropped it, use minicnn.utils.to_categorical",
        ),
        (
            "from minicnn.layers.core import Dense",
            "minicnn.layers has no core: Keras 3 has dropped it, use minicnn.layers",
        ),
        ("import minicnn.layers.convolutional", "use minicnn.layers$"),
        ("from minicnn.applications import VGG16", "minicnn has no applications: nothing is trained beforehand"),
        (
            "from minicnn.datasets import imdb",
            "minicnn.datasets has no imdb: the data sets are mnist, fashion_mnist, cifar10",
        ),
        ("from minicnn.wrappers.scikit_learn import KerasClassifier", "minicnn has no wrappers: call fit and predict"),
        ("import minicnn; minicnn.backend.map_fn(3)", "use NumPy's functions or those of minicnn.activations"),
        (
            "from minicnn.ops import scatter",
            "minicnn.ops has no scatter: it is where a device is chosen, not keras.ops",
        ),
        ("import minicnn; minicnn.ops.vectorized_map(3)", "use NumPy's functions or those of minicnn.activations"),
        ("from minicnn.layers.merge import add", "minicnn.layers has no merge: a model is one chain of layers here"),
        ("from minicnn.layers.recurrent import LSTM", "for the classification of images"),
        ("from minicnn.layers.advanced_activations import LeakyReLU", "use minicnn.layers$"),
        ("from minicnn.engine.topology import Layer", "use minicnn.layers.Layer"),
        ("from minicnn.callbacks.callbacks import History", "use minicnn.callbacks$"),
        ("from minicnn.callbacks import callbacks", "use minicnn.callbacks$"),
        ("from minicnn.utils.vis_utils import plot_model", "use minicnn.utils$"),
        ("from minicnn.utils.data_utils import Sequence", "use minicnn.utils$"),
        ("from minicnn.preprocessing.text import Tokenizer", "for the classification of images"),
        ("from minicnn.preprocessing import sequence", "for the classification of images"),
        ("from minicnn.backend.tensorflow_backend import set_session", "use minicnn.backend$"),
        ("from minicnn.optimizer_v2.adam import Adam", "use minicnn.optimizers$"),
        ("from minicnn.optimizers import adam_v2; adam_v2.Adam()", "the classes are"),
        ("from minicnn.src.layers import Dense", "minicnn has no src: import from minicnn itself"),
        ("import minicnn.legacy", "import from minicnn itself"),
        ("from minicnn.objectives import mse", "use minicnn.losses$"),
        ("import minicnn.initializations", "use minicnn.initializers$"),
        ("from minicnn.datasets import imdb", "are mnist, fashion_mnist, cifar10 and cifar100"),
        ("from minicnn.random import normal", "numpy.random"),
        ("from minicnn.callbacks import Nothing", "cannot import name 'Nothing'"),
        ("import minicnn.layers.nothing", "No module named 'minicnn.layers.nothing'"),
    ],
)
def test_places_of_any_keras_say_what_is_used_today(statement, sentence):
    with pytest.raises((ImportError, AttributeError), match=sentence):
        exec(statement, {})


# ---------------------------------------------------------------------- attributes


@pytest.mark.parametrize(
    "ask, sentence",
    [
        (lambda: small().fit_generator, "Keras 3 has dropped it, use fit"),
        (lambda: small().predict_classes, r"use predict\(x\).argmax\(axis=-1\)"),
        (lambda: minicnn.utils.np_utils, "use minicnn.utils.to_categorical"),
        (lambda: small().nothing, "has no attribute 'nothing'$"),
        (
            lambda: minicnn.preprocessing.image.ImageDataGenerator().flow(np.zeros((4, 5, 5, 1)), np.zeros(4)).next(),
            r"no attribute 'next': Keras 3 has dropped it, use next\(iterator\)",
        ),
    ],
)
def test_attributes_that_keras_has_dropped(ask, sentence):
    with pytest.raises(AttributeError, match=sentence):
        ask()


def test_what_a_model_does_not_have():
    assert small().make_predict_function() is None
    for name, hint in (
        ("_make_predict_function", "Keras 3 has dropped it, use make_predict_function"),
        ("add_loss", "a Regularizer"),
        ("export", "Keras reads, and exports"),
        ("add_metric", "compile"),
        ("call", r"the model itself is called, model\(x\)"),
    ):
        with pytest.raises(AttributeError, match=f"a model has no attribute '{name}': .*{hint}"):
            getattr(small(), name)
    with pytest.raises(AttributeError, match="a model has no attribute 'call': the model itself is called"):
        minicnn.Model(x := Input((1,)), x).call(X)


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("apply_gradients", "there is train_on_batch"),
        ("get_weights", "Keras 3 has dropped get_weights, use variables"),
        ("nothing", "'SGD' object has no attribute 'nothing'"),
    ],
)
def test_what_an_optimizer_does_not_have(name, sentence):
    with pytest.raises(AttributeError, match=sentence):
        getattr(small().optimizer, name)
    assert not hasattr(small().optimizer, name)


def test_errors_in_properties_are_not_hidden():
    class Slow(minicnn.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return self.rat

    class Odd(Sequential):
        @property
        def shape(self):
            return self.shap

    with pytest.raises(AttributeError, match="'Slow' object has no attribute 'rat'"):
        _ = minicnn.optimizers.SGD(Slow()).learning_rate
    with pytest.raises(AttributeError, match="'Odd' object has no attribute 'shap'"):
        _ = Odd([Input((3,))]).shape


# ---------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "give, sentence",
    [
        (lambda: small().predict(X, workers=2), "predict has no argument 'workers': Keras 3 .* utils.PyDataset"),
        (
            lambda: small().evaluate(X, Y, use_multiprocessing=True),
            "evaluate has no argument 'use_multiprocessing'.* utils.PyDataset",
        ),
        (
            lambda: small().train_on_batch(X, Y, reset_metrics=False),
            "train_on_batch has no argument 'reset_metrics': Keras 3 has dropped it",
        ),
        (lambda: small().fit(X, Y, nb_epoch=3), "fit has no argument 'nb_epoch': Keras 3 has dropped it, use epochs$"),
        (
            lambda: small().fit(X, Y, workers=3),
            "fit has no argument 'workers': .*, use the arguments of a utils.PyDataset$",
        ),
        (lambda: small().fit(X, Y, show_accuracy=True), r"use metrics=\['accuracy'\] of compile"),
        (lambda: small().load_weights("w.weights.h5", by_name=True), "use skip_mismatch"),
        (
            lambda: callbacks.ModelCheckpoint("a.keras", period=5),
            "ModelCheckpoint has no argument 'period'.* save_freq",
        ),
        (lambda: callbacks.ReduceLROnPlateau(what=1), "ReduceLROnPlateau has no argument 'what'$"),
        (lambda: minicnn.utils.to_categorical([1], dtype="float32"), r"use astype\(dtype\) of what is returned"),
        (lambda: small().predict(X, what=2), "predict has no argument 'what'$"),
        (
            lambda: minicnn.Model(input=(x := Input((2,))), output=x),
            "Model has no argument 'input': Keras 3 has dropped it, use inputs$",
        ),
        (lambda: minicnn.Model(Input((2,)), what=2), "Model has no argument 'what'$"),
        (
            lambda: small().compile("sgd", "mse", experimental_steps_per_execution=9),
            "compile has no argument 'experimental_steps_per_execution': Keras 3 has dropped it, use steps_per_execution$",
        ),
        (
            lambda: small().compile("sgd", "mse", sample_weight_mode="temporal"),
            "use sample_weight or class_weight of fit",
        ),
        (lambda: small().compile("sgd", "mse", target_tensors=[Y]), "use the y of fit$"),
        (lambda: small().compile("sgd", "mse", distribute=None), "use model.to, a model is on one device$"),
        (lambda: small().compile("sgd", "mse", metric=["acc"]), "compile has no argument 'metric'$"),
    ],
)
def test_arguments_that_keras_has_dropped(give, sentence):
    with pytest.raises(TypeError, match=sentence):
        give()


def test_arguments_of_layers_that_keras_has_dropped():
    with pytest.raises(ValueError, match="layer c: a Conv2D has no argument weights.* use set_weights of the built"):
        Conv2D(8, 3, weights=[1], name="c")
    with pytest.warns(UserWarning, match="alpha is called negative_slope today"):
        assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1
    with pytest.warns(UserWarning, match="epsilon is called min_delta today"):
        assert callbacks.ReduceLROnPlateau(epsilon=0.5).min_delta == 0.5


@pytest.mark.parametrize(
    "line, sentence",
    [
        (lambda: callbacks.BaseLogger(), "Keras 3 has dropped it: make yours from Callback"),
        (
            lambda: minicnn.backend.dropout(X, 0.5),
            "a layer Dropout that is called with training=True drops in predictions",
        ),
        (lambda: minicnn.ops.image.resize(X, (3, 3)), "minicnn has no ops.image: the layer Resizing, called on images"),
        (
            lambda: layers.Flatten(name="f").get_output_at(0),
            "layer f: there is no get_output_at: .* dropped it, use output",
        ),
        (
            lambda: layers.Flatten(name="f").add_loss(X),
            "layer f: there is no add_loss: .* argument activity_regularizer",
        ),
        (
            lambda: layers.Flatten(name="f").add_variable("kernel", shape=[3, 2]),
            r"layer f: there is no add_variable: today it is add_weight\(name=…, shape=…\)",
        ),
        (
            lambda: small().stateless_call([], [], X),
            "no attribute 'stateless_call': a model has its gradients inside",
        ),
        (lambda: minicnn.Variable(3.0), "minicnn has no Variable: a layer makes its weights with add_weight"),
        (
            lambda: callbacks.EarlyStopping().validation_data,
            "EarlyStopping has no validation_data: Keras 3 has dropped it, give the data to your callback",
        ),
        (lambda: callbacks.History().nothing, "'History' object has no attribute 'nothing'"),
        (lambda: small().quantize("int8"), "no attribute 'quantize': numbers are float32 and nothing is quantized"),
    ],
)
def test_what_is_said_of_names_that_are_not_here(line, sentence):
    with pytest.raises((ValueError, AttributeError), match=sentence):
        line()

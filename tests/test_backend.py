"""What scripts ask of `backend`, `config` and `ops`: settings that cannot change, values of weights, functions on arrays."""

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin
from small import X, Y, small

import minicnn
from minicnn import backend as K
from minicnn.gradcheck import check_layer


def test_images_are_channels_last():
    assert K.image_data_format() == "channels_last" and K.floatx() == "float32"
    K.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match=r"images are channels_last here.*moveaxis"):
        K.set_image_data_format("channels_first")


def test_what_is_set_for_all_of_keras():
    config = minicnn.config
    assert (config.floatx(), config.epsilon(), config.backend(), K.floatx is config.floatx) == (
        "float32",
        1e-7,
        "minicnn",
        True,
    )
    for module in (config, K):
        module.set_floatx("float32"), module.set_epsilon(1e-7), module.set_image_data_format("channels_last")
        with pytest.raises(ValueError, match="floatx is 'float32' here, not 'float16': give layers a dtype"):
            module.set_floatx("float16")
        with pytest.raises(ValueError, match="epsilon is 1e-07 here, not 0.1"):
            module.set_epsilon(0.1)
    config.enable_unsafe_deserialization()


def test_what_tf_keras_has_in_its_backend():
    backend, model = minicnn.backend, small()
    kernel, bias = model.layers[-1].weights
    assert (
        backend.int_shape(model.output) == (None, *model.output.shape[1:])
        and backend.count_params(bias) == bias.shape[0]
    )
    before, (again, _) = kernel.numpy(), backend.batch_get_value([kernel, bias])
    np.testing.assert_array_equal(again, before)
    backend.batch_set_value([(kernel, before + 1), (bias, 2 * np.ones(bias.shape))])
    np.testing.assert_array_equal(backend.eval(kernel), before + 1)
    with pytest.raises(
        TypeError, match=r"set_value: expected a parameter or a learning rate, not 0\.9, which is assigned by ="
    ):
        backend.set_value(minicnn.optimizers.SGD(momentum=0.9).momentum, 0.5)
    assert (backend.eval(bias) == 2).all() and backend.eval(model.optimizer.learning_rate) == pytest.approx(
        float(model.optimizer.learning_rate)
    )
    assert (
        backend.constant(3, shape=(2, 2)).tolist() == [[3, 3], [3, 3]]
        and backend.dtype(backend.constant([1])) == "float32"
    )
    assert backend.constant([1], "int64").dtype == "int64" and backend.cast_to_floatx([1, 2]).dtype == "float32"
    np.testing.assert_array_equal(backend.eval(backend.constant([[1.0, 2.0]])), [[1, 2]])


def test_functions_of_the_backend_of_tf_keras_have_derivatives():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert (K.expand_dims(x).shape, K.expand_dims(x, 0).shape) == ((2, 3, 4, 1), (1, 2, 3, 4))
    np.testing.assert_array_equal(K.batch_flatten(x), [range(12), range(12, 24)])
    np.testing.assert_array_equal(K.permute_dimensions(x, (0, 2, 1)), [one.T for one in x])
    np.testing.assert_allclose(K.l2_normalize(np.array([[3.0, 4.0], [0.0, 0.0]]), axis=1), [[0.6, 0.8], [0, 0]])
    assert np.linalg.norm(K.l2_normalize(x)) == pytest.approx(1)
    for function in (
        lambda x: K.l2_normalize(x, axis=1),
        lambda x: K.batch_flatten(K.permute_dimensions(K.expand_dims(x), (0, 2, 3, 1))),
    ):
        check_layer(minicnn.Lambda(function), (3, 4, 2))


def test_metrics_written_with_the_backend_of_tf_keras():
    from minicnn import backend as K

    def recall(y_true, y_pred):
        found = K.sum(K.round(K.clip(y_true * y_pred, 0, 1)))
        return found / (K.sum(K.round(K.clip(y_true, 0, 1))) + K.epsilon())

    y, p = np.eye(2)[[0, 1, 1]], np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    assert recall(y, p) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(K.flatten(y), y.ravel())
    with pytest.raises(AttributeError, match=r"minicnn\.backend has no nothing"):
        K.nothing  # noqa: B018


class OnDevice(NDArrayOperatorsMixin):
    """An array as CuPy's are: NumPy makes none of its own of it."""

    __cuda_array_interface__: dict = {}

    def __init__(self, values):
        self.values, self.dtype = values, values.dtype

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion to a NumPy array")

    def __array_ufunc__(self, ufunc, method, *inputs):
        return OnDevice(ufunc(*(getattr(one, "values", one) for one in inputs)))

    def astype(self, dtype):
        return OnDevice(self.values.astype(dtype))


def test_arrays_of_a_device_stay_there():
    x = np.array([1.0, -3.0])
    assert K.cast(OnDevice(x), "float32").values.dtype == "float32"
    np.testing.assert_array_equal(minicnn.activations.softsign(OnDevice(x)).values, [0.5, -0.75])


def test_functions_of_keras_ops_that_numpy_has_not():
    x = np.array([[1.0, 2.0, -3.0], [4.0, 900.0, 0.0]])
    np.testing.assert_array_equal(minicnn.ops.one_hot([2, 0, 5], 3), [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(minicnn.ops.logsumexp(x, axis=1), [np.log(np.exp(x[0]).sum()), 900.0], rtol=1e-12)
    assert minicnn.ops.logsumexp(x, axis=1, keepdims=True).shape == (2, 1) and minicnn.ops.logsumexp(x) == 900
    infinite = np.array([[-np.inf, -np.inf], [np.inf, 1.0]])
    np.testing.assert_array_equal(minicnn.ops.logsumexp(infinite, axis=1), [-np.inf, np.inf])
    np.testing.assert_allclose(minicnn.ops.rsqrt(np.array([4.0])), 0.5)
    assert minicnn.ops.norm(np.array([3.0, 4.0])) == 5


def test_operations_of_keras_in_a_metric():
    from minicnn import ops

    def f1(y_true, y_pred):
        right = ops.cast(ops.equal(ops.argmax(y_pred, axis=-1), ops.convert_to_tensor(y_true)), "float32")
        return ops.sum(right) / (len(right) + ops.relu(-1.0))

    found = small(metrics=[f1, "accuracy"]).evaluate(X, Y)
    assert found[1] == pytest.approx(found[2])

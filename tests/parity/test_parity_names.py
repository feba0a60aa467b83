"""Whether every public name of Keras 3 is here, or is a sentence."""

from importlib import import_module

import pytest

pytestmark = pytest.mark.parity

MODULES = (
    "activations backend callbacks config constraints datasets initializers layers losses metrics models ops optimizers "
    "optimizers.schedules preprocessing preprocessing.image regularizers saving utils"
)


@pytest.mark.parametrize("module", ["", *(f".{name}" for name in MODULES.split())])
def test_every_name_of_keras_is_here_or_says_why_not(keras, module):
    ours, theirs = import_module(f"minicnn{module}"), import_module(f"keras{module}")
    names = [name for name in dir(theirs) if not name.startswith("_")]
    for name in names:
        try:
            getattr(ours, name)
        except AttributeError as error:
            assert f"minicnn{module} has no {name}: " in str(error)

"""What stands for a part of Keras that is not here."""

from collections.abc import Callable
from typing import Any


def absent(why: str) -> Callable[..., Any]:
    """Something that can be imported, and says so when it is called: ValueError with this sentence."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise ValueError(why)

    return refuse

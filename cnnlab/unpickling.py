"""Shared by the unpicklers that run no code of a file: an error, and stand-ins for its names."""

import pickle
from collections.abc import Callable
from typing import Any, NoReturn


class RefusedError(pickle.UnpicklingError):
    """The pickle names a function that files of its kind do not need, or is of another kind."""


class StandIn:
    """The stand-in for a permitted name. Its state cannot be set, so a pickle cannot alter it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise RefusedError("the pickle sets the state of a function; it was not run.")

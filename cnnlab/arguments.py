"""Checks of arguments: one number, a whole one, a value of the kind of its default.

Importing this module imports no jax.
"""

import operator
from collections.abc import Sequence
from typing import Any


def check_rate(learning_rate: Any) -> None:
    """Refuses what is no learning rate: one positive finite number.

    Raises:
      ValueError: then, also for several numbers, with how members have their own.
    """
    try:
        number = None if isinstance(learning_rate, str) else float(learning_rate)
    except (TypeError, ValueError):
        number = None
    if number is not None and 0 < number < float("inf"):
        return
    kind = "one number" if number is None else "finite" if number > 0 else "positive"
    several = isinstance(learning_rate, Sequence) and not isinstance(learning_rate, str)
    advice = (
        ' For one rate a member: optim.create(..., varied=True) and fit(..., hyperparameters={"'
        'learning_rate_factor": [...]}).'
    )
    raise ValueError(
        f"the learning rate must be {kind}, got {learning_rate!r:.60}.{advice * several}"
    )


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuses what is no whole number, or is less than ``least``.

    Raises:
      ValueError: naming the argument.
    """
    try:
        whole = operator.index(value)
    except TypeError:
        whole = None
    if whole is None or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r:.60}.")
    if whole < least:
        raise ValueError(f"{name} must be at least {least}, got {whole}.")


def check_like(name: str, value: Any, default: Any) -> None:
    """Refuses a value of another kind than the default: a word for a number, a number for several.

    Several whole numbers are widths of layers: each must be at least 1. A default of None, or one
    that is a word, says nothing: such an option may take other kinds.

    Raises:
      ValueError: naming the option, with the default as an example.
    """
    kinds = {bool: "True or False", int: "a whole number", float: "a number", tuple: "widths >= 1"}
    kind = type(default)
    if kind not in kinds or _is_like(value, default):
        return
    raise ValueError(f"{name} must be {kinds[kind]}, such as {default}, got {value!r:.60}.")


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, tuple):
        each = default[0] if default else None
        several = isinstance(value, Sequence) and not isinstance(value, str)
        if isinstance(each, int):
            return several and all(_is_like(item, each) and item >= 1 for item in value)
        return several and all(each is None or _is_like(item, each) for item in value)
    if isinstance(default, int):
        return hasattr(value, "__index__")
    if isinstance(default, float):
        return hasattr(value, "__float__")
    return True

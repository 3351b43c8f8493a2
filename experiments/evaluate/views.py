"""Test-time views by their names on the command line."""

import functools
from collections.abc import Sequence
from typing import Any

from cnnlab.augment import Views, views
from cnnlab.spelling import unknown

_NUMBERS = {"identity": 0, "mirror": 0, "shifts": 1, "ten_crop": 1, "scales": 2}
"""View -> how many numbers follow it."""


def parse_views(texts: Sequence[str]) -> Views:
    """The product of the views that texts such as "mirror" and "scales:28,32:28" name.

    Raises:
      ValueError: for an unknown name (the nearest is named) or numbers that do not fit.
    """
    made = []
    for text in texts:
        name, *numbers = text.split(":")
        if name not in _NUMBERS:
            raise ValueError(unknown("view", name, tuple(_NUMBERS)))
        if len(numbers) != _NUMBERS[name] or not all(
            part.isdecimal() for number in numbers for part in number.split(",")
        ):
            raise ValueError(
                f"the view {name} needs {_NUMBERS[name]} numbers after colons, such as shifts:2, "
                f"ten_crop:24 or scales:28,32:28, got {text!r}."
            )
        values: list[Any] = [int(number) for number in numbers if "," not in number]
        if name == "scales":
            values = [tuple(map(int, numbers[0].split(","))), int(numbers[1])]
        made.append(getattr(views, name)(*values))
    return functools.reduce(views.product, made)

"""The claims about starting a deep network, of the errors of every method."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim

from .config import GROWN, METHODS


def compare(points: Sequence[Mapping[str, Any]], guessing: float, margin: float) -> list[Claim]:
    """The claims, each tested by itself.

    Args:
      points: ``method``, ``train_error`` and ``test_error`` as ``over_seeds`` gives them.
      guessing: its error; a network with less than half of it on the training images has started.
      margin: the gain in error up to which growing counts as unnecessary.
    """
    train, test = (
        {each["method"]: np.asarray(each[f"{part}_error"]["values"]) for each in points}
        for part in ("train", "test")
    )
    grown = [method for method in GROWN if method in train]
    half = guessing / 2
    claims = []

    def add(text: str, difference: str, ours: Any, theirs: Any) -> None:
        left, right = np.broadcast_arrays(ours, theirs)
        figure = paired(left, right)
        claims.append(Claim(text, difference, figure))

    if "gaussian" in train:
        text = "a deep network does not start from a small gaussian"
        add(text, "training error - half of guessing's", train["gaussian"], half)
    for method in grown:
        text = f"a deep network starts where it is {METHODS[method]}"
        add(text, "half of guessing's - training error", half, train[method])
        if "gaussian" in train:
            text = f"{METHODS[method]}, it beats a small gaussian"
            add(text, "test errors", test["gaussian"], test[method])
    for start in (each for each in ("glorot", "he") if each in test):
        for method in grown:
            text = f"from {METHODS[start]}'s weights it is as good as {METHODS[method]}"
            difference = f"test errors, and {100 * margin:g} points"
            add(text, difference, test[method] + margin, test[start])
    return claims

"""Patches of the two photographs that come with scikit-learn, for want of a coloured data set.

``photographs`` or ``photographs:SIZE``: china.jpg and flower.jpg, 427 x 640 pixels each, whose
parts are those of ``cnnlab.data.backgrounds``: the right fifth of each is the test part, the fifth
left of it the validation part, so that no pixel is in two parts. But the parts are of the same
photographs: a result holds for these two only.
"""

import dataclasses

import numpy as np

from cnnlab.data import Dataset, Splits, subset
from cnnlab.data.backgrounds import photographs
from cnnlab.data.dataset import compute_statistics

from .config import PHOTOGRAPHS

CLASSES = ("china", "flower")


def load_patches(
    name: str = PHOTOGRAPHS,
    *,
    per_class: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
) -> Splits:
    """The photographs cut in squares, which do not overlap.

    Args:
      name: "photographs" (16 pixels a side) or "photographs:SIZE".
      per_class: train on this many patches of each photograph only.
      fraction: train on this part only.
      seed: of that choice.

    Raises:
      ValueError: for a name that does not read so, or a size that does not fit.
    """
    size = _size(name)
    train, validation, test = (
        _cut(photographs(part), size) for part in ("train", "validation", "test")
    )
    train = subset(train, per_class=per_class, fraction=fraction, seed=seed)
    statistics = compute_statistics(train)
    return Splits(
        dataclasses.replace(train, statistics=statistics),
        dataclasses.replace(validation, statistics=statistics),
        dataclasses.replace(test, statistics=statistics),
        f"patches of {size} x {size} pixels of two photographs; test: the right fifth of each, "
        "validation: the fifth left of it",
    )


def _size(name: str) -> int:
    _, _, text = name.partition(":")
    if not text:
        return 16
    if not text.isdecimal() or not 2 <= int(text) <= 80:
        raise ValueError(
            "photographs must be named photographs or photographs:SIZE with a side of 2 to 80 "
            f"pixels, got {name!r}."
        )
    return int(text)


def _cut(photographs: np.ndarray, size: int) -> Dataset:
    """The patches of photographs ``[2, H, W, 3]``, with the photograph as their class."""
    images, labels = [], []
    for label, photograph in enumerate(photographs):
        windows = np.lib.stride_tricks.sliding_window_view(photograph, (size, size), axis=(0, 1))
        patches = windows[::size, ::size].reshape(-1, 3, size, size).transpose(0, 2, 3, 1)
        images.append(patches)
        labels.append(np.full(len(patches), label, np.int32))
    joined = np.ascontiguousarray(np.concatenate(images))
    return Dataset(joined, np.concatenate(labels), CLASSES, PHOTOGRAPHS)

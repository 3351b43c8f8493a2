"""Arrays that are folded: what repeats along an axis is kept once.

An image of one line is the same all along the line, and behind kernels of equal weights so are all
maps: ``models.summary`` probes networks with such. How to compute with them: folded_evaluation.py.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Folded:
    """An array of which place ``(i, j, …)`` is ``array[index[0][i], index[1][j], …]``.

    Attributes:
      array: what is kept.
      index: for every axis, which entry of ``array`` each of its places holds.
    """

    array: np.ndarray
    index: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""
        return tuple(len(index) for index in self.index)

    def unfolded(self, *axes: int) -> Folded:
        """The same array with all places of ``axes`` kept, of every axis where none is given."""
        x = self
        for axis in axes or range(len(self.index)):
            if x.index[axis] is not identity(len(x.index[axis])):
                x = x.replaced(axis, take(x, x.index[axis], axis), identity(len(x.index[axis])))
        return x

    def replaced(self, axis: int, array: np.ndarray, index: np.ndarray) -> Folded:
        """``array`` and, along ``axis``, ``index`` in the place of its own."""
        return Folded(array, (*self.index[:axis], index, *self.index[axis + 1 :]))


def fold(value: Any) -> Folded:
    """An array as it is, nothing folded."""
    value = value if jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended) else np.asarray(value)
    return Folded(value, tuple(map(identity, value.shape)))


def full(shape: Sequence[int], value: float, dtype: Any) -> Folded:
    """An array of one value."""
    return Folded(np.full((1,) * len(shape), value, dtype), tuple(map(constant, shape)))


def aligned(values: Sequence[Folded], but: int = -1) -> tuple[list[np.ndarray], tuple[Any, ...]]:
    """Arrays that NumPy broadcasts, and their common index; one axis may be left as it is.

    Numbers may stand among the values, and have no say in the index.
    """
    arrays = [value.array for value in values]
    index = []
    for axis in range(max(array.ndim for array in arrays)):
        sizes = [len(value.index[axis]) for value in values if value.index]
        several = [i for i, x in enumerate(arrays) if x.ndim and x.shape[axis] != 1]
        mine = [values[i].index[axis] for i in several]
        if axis == but or not several:
            index.append(constant(0 if 0 in sizes else max(sizes)))
        elif all(each is mine[0] or np.array_equal(each, mine[0]) for each in mine[1:]):
            index.append(mine[0])
        else:
            met, joint = distinct(np.stack(mine, axis=1))
            index.append(joint)
            for i, entries in zip(several, met.T, strict=True):
                arrays[i] = arrays[i].take(entries, axis)
    return arrays, tuple(index)


def select(x: Folded, places: Sequence[np.ndarray], other: Any = 0) -> Folded:
    """The places of every axis that are named; ``other`` where the name is -1."""
    for axis, named in enumerate(places):
        if not np.array_equal(named, np.arange(x.shape[axis])):
            entries, index = distinct(entries_at(x, axis, named)[:, None])
            x = x.replaced(axis, take(x, entries[:, 0], axis, other), index)
    return x


def split(x: Folded, axis: int, parts: int) -> list[Folded]:
    """Equal parts along an axis."""
    places = [identity(n) for n in x.shape]
    shares = np.split(places[axis], parts)
    return [select(x, [*places[:axis], share, *places[axis + 1 :]]) for share in shares]


def windows_of(
    size: int, window: int, step: int, pads: tuple[int, int], spread: int = 1, dilation: int = 1
) -> np.ndarray:
    """Which place every window of an axis holds at each of its taps, -1 for padding: [n, window].

    ``spread`` is the distance of neighbours of the axis, ``dilation`` that of neighbouring taps.
    """
    length, (low, high) = (size - 1) * spread + 1, pads
    count = (length + low + high - (window - 1) * dilation - 1) // step + 1
    place = np.arange(count)[:, None] * step - low + np.arange(window) * dilation
    inside = (place >= 0) & (place < length) & (place % spread == 0)
    return np.where(inside, place // spread, -1)


def entries_at(x: Folded, axis: int, places: np.ndarray) -> np.ndarray:
    """The entries of ``x.array`` that places hold; what is -1 stays."""
    return np.where(places < 0, -1, x.index[axis][np.maximum(places, 0)])


def take(x: Folded, entries: np.ndarray, axis: int, other: Any = 0) -> np.ndarray:
    """Entries along an axis; ``other`` for -1."""
    array = x.array
    if (entries < 0).any():
        edge = np.full((*array.shape[:axis], 1, *array.shape[axis + 1 :]), other, array.dtype)
        array = np.concatenate([array, edge], axis)
    return array.take(entries, axis)


def distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of [n, k] that differ, in order of their first place, and which one each is."""
    _, first, index = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return rows[first[order]], tidy(np.argsort(order)[index.reshape(-1)])


def tidy(index: np.ndarray) -> np.ndarray:
    """The index itself, or ``identity`` or ``constant`` if it equals one of them."""
    if np.array_equal(index, identity(len(index))):
        return identity(len(index))
    return index if index.any() else constant(len(index))


@functools.cache
def identity(size: int) -> np.ndarray:
    """The index of an axis whose every place is kept; always the same object."""
    return np.arange(size)


@functools.cache
def constant(size: int) -> np.ndarray:
    """The index of an axis whose places all hold the first entry; always the same object."""
    return np.zeros(size, np.int64)

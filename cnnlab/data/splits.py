"""Splits, folds and subsets of a data set: stratified by class, seeded, reproducible.

The examples of each class are shuffled with NumPy's PCG64 generator, and each part gets its share
of every class, rounded so that the total is exact. Each part keeps the order of the source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import get_args

import numpy as np

from cnnlab.data.dataset import Dataset, Part, compute_statistics
from cnnlab.spelling import nearest


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """Training, validation and test part, with the statistics of the training part attached.

    Each is marked as the part that it is, ``Dataset.part``.

    Attributes:
      train: the examples to learn from.
      validation: the examples to choose checkpoints and settings by, or None.
      test: the examples that results are reported of.
      notes: how the parts were made, in one line.

    Raises:
      ValueError: if the validation part is marked as a test part.
    """

    train: Dataset
    validation: Dataset | None
    test: Dataset
    notes: str = ""

    def __post_init__(self) -> None:
        if self.validation is not None and self.validation.part == "test":
            raise ValueError(
                f"{self.validation.name}: a test part must not be the validation part, by which "
                "checkpoints are chosen. Split a validation part off the training part; if it is "
                "no test part here, mark it so: dataclasses.replace(dataset, part=None)."
            )
        for part in get_args(Part):
            dataset = getattr(self, part)
            if dataset is not None and dataset.part != part:
                object.__setattr__(self, part, dataclasses.replace(dataset, part=part))


def split(dataset: Dataset, size: float | int, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Splits a stratified part off ``dataset``.

    With the same seed a larger part contains a smaller one, up to rounding. If the data set has
    statistics, they are recomputed from the rest and attached to both.

    Args:
      dataset: the data set to split.
      size: the part's fraction, a float in (0, 1), or its number of examples, an int >= 1.
      seed: any int >= 0.

    Returns:
      (rest, part). Each class that has two examples or more is in both, if the part is not
      smaller than the number of classes.

    Raises:
      ValueError: if the part or the rest would be empty, or the rest without some class.
    """
    count = part_size(len(dataset), size, "the part")
    labels = dataset.labels
    chosen = _stratified(labels, dataset, count, seed, keep_rest=True)
    mask = np.zeros(len(dataset), bool)
    mask[chosen] = True
    rest, part = dataset.take(np.flatnonzero(~mask)), dataset.take(np.flatnonzero(mask))
    return _with_statistics(rest, part)


def folds(dataset: Dataset, k: int, seed: int = 0) -> list[tuple[Dataset, Dataset]]:
    """Stratified folds of ``dataset``, for cross-validation.

    Each example is in exactly one validation part; the sizes of these differ by at most one. If
    the data set has statistics, each fold gets those of its own training part.

    Args:
      dataset: the data set to divide.
      k: the number of folds, >= 2.
      seed: any int >= 0.

    Returns:
      k pairs (train, validation).

    Raises:
      ValueError: if k is too small, or a class has fewer than k examples.
    """
    if k < 2:
        raise ValueError(f"there must be at least 2 folds, got {k}.")
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    for name, count in zip(dataset.class_names, counts, strict=True):
        if count < k:
            raise ValueError(
                f"{dataset.name}: {k} folds need {k} examples of every class, got {count} of "
                f"class {name!r}. Use fewer folds."
            )
    fold = np.empty(len(dataset), np.int64)
    order = np.concatenate(_shuffled_classes(dataset.labels, dataset.num_classes, seed))
    fold[order] = np.arange(len(order)) % k
    return [
        _with_statistics(
            dataset.take(np.flatnonzero(fold != i)), dataset.take(np.flatnonzero(fold == i))
        )
        for i in range(k)
    ]


def subset(
    dataset: Dataset,
    *,
    per_class: int | None = None,
    fraction: float | None = None,
    classes: Sequence[str | int] | None = None,
    seed: int = 0,
) -> Dataset:
    """A smaller data set: some classes, then some examples of each.

    If the data set has statistics, they are recomputed.

    Args:
      dataset: the data set to choose from.
      per_class: take this many examples of every class, >= 1. Not together with ``fraction``.
      fraction: take this fraction of the examples, in (0, 1], stratified.
      classes: keep only these classes, by name or index; labels are renumbered 0 to k - 1 in this
        order. A string that is not a name but a number is an index.
      seed: of the choice of examples; any int >= 0. With the same seed ``per_class=10`` is a subset
        of ``per_class=20``.

    Raises:
      ValueError: for an unknown or repeated class, too few examples, or a bad size.
    """
    chosen = dataset
    if classes is not None:
        chosen = _only_classes(chosen, classes)
    if per_class is not None and fraction is not None:
        raise ValueError("give per_class or fraction, not both.")
    if per_class is not None:
        chosen = chosen.take(_per_class(chosen, per_class, seed))
    elif fraction is not None:
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {fraction}.")
        count = round(fraction * len(chosen))
        if count == 0:
            raise ValueError(
                f"{dataset.name}: a fraction of {fraction} of {len(chosen)} examples is none."
            )
        indices = _stratified(chosen.labels, chosen, count, seed, keep_rest=False)
        chosen = chosen.take(np.sort(indices))
    if dataset.statistics is not None and chosen is not dataset:
        chosen = dataclasses.replace(chosen, statistics=compute_statistics(chosen))
    return chosen


def part_size(total: int, size: float | int, what: str) -> int:
    """The number of examples that ``size`` asks for: a float in (0, 1) or an int in [1, total).

    Raises:
      ValueError: if the size is neither, or comes to no example or to all of them.
    """
    whole = isinstance(size, int | np.integer)
    if isinstance(size, bool) or not isinstance(size, int | float | np.integer | np.floating):
        raise ValueError(f"{what} must be a fraction or a number of examples, got {size!r}.")
    if size == 0:
        raise ValueError(
            f"{what} must have at least one example, got a size of {size}. "
            "None leaves it out, where the part is optional."
        )
    if not whole and not 0 < size < 1:
        raise ValueError(
            f"{what} must be a fraction in (0, 1) or a whole number of examples, got {size}."
        )
    count = int(size) if whole else round(float(size) * total)
    if count < 1:
        raise ValueError(
            f"{what} must have at least one example, got {size}"
            + ("." if whole else f" of {total} examples, which rounds to none.")
        )
    if count >= total:
        raise ValueError(
            f"{what} must leave some of the {total} examples, got {size}"
            + ("." if whole else f", which rounds to {count}.")
        )
    return count


def _only_classes(dataset: Dataset, classes: Sequence[str | int]) -> Dataset:
    if isinstance(classes, str):
        raise ValueError(f"classes must be a sequence of names or indices, got {classes!r}.")
    indices = [class_index(dataset, c) for c in classes]
    repeated = [dataset.class_names[i] for i in indices if indices.count(i) > 1]
    if not indices or repeated:
        got = f"{repeated[0]!r} twice" if repeated else "none"
        raise ValueError(f"classes must be at least one class, each only once; got {got}.")
    number = np.full(dataset.num_classes, -1, np.int32)
    number[indices] = np.arange(len(indices), dtype=np.int32)
    kept = np.flatnonzero(number[dataset.labels] >= 0)
    names = tuple(dataset.class_names[i] for i in indices)
    if not len(kept):
        raise ValueError(f"{dataset.name}: there is no example of class {' or '.join(names)}.")
    part = dataset.take(kept)
    if part.targets is not None:
        part = dataclasses.replace(part, targets=None)  # they are of other classes
    return dataclasses.replace(part, labels=number[part.labels], class_names=names)


def class_index(dataset: Dataset, name: str | int) -> int:
    """The index of a class, from its name, its index, or its index written as text.

    Raises:
      ValueError: if there is no such class; the message has the nearest names.
    """
    if isinstance(name, str) and name in dataset.class_names:
        return dataset.class_names.index(name)
    if not isinstance(name, str) or name.isdecimal():
        if 0 <= int(name) < dataset.num_classes:
            return int(name)
        raise ValueError(
            f"{dataset.name} has classes 0 to {dataset.num_classes - 1}, got {name}. "
            f"Their names are: {_name_list(dataset.class_names)}."
        )
    hint = nearest(name, dataset.class_names)
    raise ValueError(
        f"{dataset.name} has no class {name!r}.{hint} "
        f"Its {dataset.num_classes} classes are: {_name_list(dataset.class_names)}."
    )


def _name_list(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 20 else ", ".join([*names[:19], "..."])


def _per_class(dataset: Dataset, per_class: int, seed: int) -> np.ndarray:
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}.")
    chosen = []
    shuffled = _shuffled_classes(dataset.labels, dataset.num_classes, seed)
    for name, members in zip(dataset.class_names, shuffled, strict=True):
        if len(members) < per_class:
            raise ValueError(
                f"{dataset.name}: {per_class} examples of every class were asked for, but class "
                f"{name!r} has {len(members)}."
            )
        chosen.append(members[:per_class])
    return np.sort(np.concatenate(chosen))


def _stratified(
    labels: np.ndarray, dataset: Dataset, count: int, seed: int, *, keep_rest: bool
) -> np.ndarray:
    # Indices of `count` examples, with shares of the classes as near as possible to those of all.
    counts = np.bincount(labels, minlength=dataset.num_classes)
    quotas = _quotas(counts, count, keep_rest=keep_rest)
    if quotas is None:
        raise ValueError(
            f"{dataset.name}: a part of {count} of {len(labels)} examples would leave a class "
            f"without any; at most {int(np.maximum(counts - 1, 0).sum())} can be taken."
        )
    shuffled = _shuffled_classes(labels, dataset.num_classes, seed)
    return np.concatenate([m[:q] for m, q in zip(shuffled, quotas, strict=True)])


def _quotas(counts: np.ndarray, total: int, *, keep_rest: bool) -> np.ndarray | None:
    # Largest remainders, with at least one of each class if possible and, with keep_rest, never all
    # of a class.
    upper = np.maximum(counts - 1, 0) if keep_rest else counts
    if total > upper.sum():
        return None
    lower = np.minimum(upper, 1)
    if total < lower.sum():
        lower = np.zeros_like(upper)
    exact = counts * (total / counts.sum())
    quotas = np.clip(np.floor(exact).astype(np.int64), lower, upper)
    while quotas.sum() < total:
        quotas[np.argmax(np.where(quotas < upper, exact - quotas, -np.inf))] += 1
    while quotas.sum() > total:
        quotas[np.argmax(np.where(quotas > lower, quotas - exact, -np.inf))] -= 1
    return quotas


def _shuffled_classes(labels: np.ndarray, num_classes: int, seed: int) -> list[np.ndarray]:
    generator = np.random.Generator(np.random.PCG64(seed))
    by_class = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))
    return [generator.permutation(members) for members in np.split(by_class, ends[:-1])]


def _with_statistics(train: Dataset, other: Dataset) -> tuple[Dataset, Dataset]:
    """Both with the statistics of ``train``, if it has any."""
    if train.statistics is None:
        return train, other
    statistics = compute_statistics(train)
    replace = dataclasses.replace
    return replace(train, statistics=statistics), replace(other, statistics=statistics)

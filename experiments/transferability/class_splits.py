"""Classes cut into halves, at random or by what they have in common, for members to learn."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cnnlab.data import Dataset
from cnnlab.data.splits import class_index

DISSIMILAR = {
    "cifar10": ("vehicles against animals", ("airplane", "automobile", "ship", "truck")),
    "fashion_mnist": ("footwear and bags against clothes", ("5", "7", "8", "9")),
    "digits": ("digits with loops against those without", ("0", "6", "8", "9")),
    "mnist": ("digits with loops against those without", ("0", "6", "8", "9")),
}
"""Data set -> a name, and classes that have something in common which the others have not."""

RANDOM = "random halves"


class Member(NamedTuple):
    """One of the networks that train at once.

    Attributes:
      cut: name of the cut into halves.
      repetition: from 0.
      classes: indices of the half that it learns, rising.
      seed: of its order of the images.
      partner: the member that learns the other half.
    """

    cut: str
    repetition: int
    classes: tuple[int, ...]
    seed: int
    partner: int


def dissimilar_half(
    dataset: str, train: Dataset, half: Sequence[str] | None
) -> tuple[str, tuple[int, ...]] | None:
    """The name of the cut into dissimilar halves, and the classes of its first half.

    Args:
      dataset: the name of the data set, which may have such a cut of its own.
      train: the training part, with all classes that are to be cut.
      half: classes by name or number; None for those of ``DISSIMILAR``, empty for no such cut.

    Returns:
      None where there is no such cut.

    Raises:
      ValueError: for classes that are not a half.
    """
    name = "given halves"
    if half is None:
        name, half = DISSIMILAR.get(dataset, ("", ()))
    if not half:
        return None
    classes = [class_index(train, each) for each in half]
    if len(set(classes)) < len(classes) or not 2 <= len(classes) <= train.num_classes - 2:
        raise ValueError(
            f"both halves must have at least 2 of the {train.num_classes} classes, each named "
            f"once, got the half {', '.join(half)}."
        )
    return name, tuple(classes)


def make_members(
    classes: int, seeds: Sequence[int], dissimilar: tuple[str, tuple[int, ...]] | None = None
) -> list[Member]:
    """A member for each cut, repetition and half: those of random cuts first.

    The two halves of a repetition have seeds of their own, which all cuts share.

    Args:
      classes: how many there are, >= 4.
      seeds: of the repetitions.
      dissimilar: of ``dissimilar_half``. Random halves have its sizes, or half of the classes each.

    Raises:
      ValueError: if there are too few classes.
    """
    if classes < 4:
        raise ValueError(f"two halves of the classes need 4 of them or more, got {classes}.")
    name, fixed = dissimilar or (None, tuple(range(classes // 2)))
    members: list[Member] = []
    for cut in filter(None, (RANDOM, name)):
        for repetition, seed in enumerate(seeds):
            drawn = np.random.default_rng(seed).permutation(classes)[: len(fixed)].tolist()
            one = set(drawn if cut == RANDOM else fixed)
            for half in (one, set(range(classes)) - one):
                own, place = 2 * seed + len(members) % 2, len(members)
                members.append(Member(cut, repetition, tuple(sorted(half)), own, place ^ 1))
    return members


def member_images(members: Sequence[Member], train: Dataset) -> np.ndarray:
    """The images that each member trains on: int32 ``[M, n]``, as many of each of its classes.

    n is the largest number that every half can give; where it does not divide by the classes of a
    half, the first ones have an image more.
    """
    counts = np.bincount(train.labels, minlength=train.num_classes)
    n = min(len(each.classes) * int(counts[list(each.classes)].min()) for each in members)
    rows = []
    for member in members:
        quota, more = divmod(n, len(member.classes))
        chosen = []
        for i, label in enumerate(member.classes):
            generator = np.random.default_rng((member.seed, label))
            order = generator.permutation(np.flatnonzero(train.labels == label))
            chosen.append(order[: quota + (i < more)])
        rows.append(np.sort(np.concatenate(chosen)))
    return np.stack(rows).astype(np.int32)


def accuracy_within_halves(
    logits: np.ndarray, labels: np.ndarray, members: Sequence[Member]
) -> np.ndarray:
    """The accuracy [M] of each member on the images of its half, among the classes of its half.

    Args:
      logits: ``[M, N, K]``.
      labels: ``[N]``.
      members: M of them.
    """
    accuracies = []
    for own, member in zip(logits, members, strict=True):
        classes = np.asarray(member.classes)
        inside = np.isin(labels, classes)
        predicted = classes[own[inside][:, classes].argmax(-1)]
        accuracies.append(float((predicted == labels[inside]).mean()))
    return np.asarray(accuracies)


def cut_names(members: Sequence[Member]) -> list[str]:
    """The names of the cuts, in their order."""
    return list(dict.fromkeys(member.cut for member in members))


def by_repetition(members: Sequence[Member], cut: str, values: np.ndarray) -> np.ndarray:
    """``[..., M] -> [..., R]``: of a cut, the means over both halves of each repetition."""
    own = values[..., [i for i, member in enumerate(members) if member.cut == cut]]
    return np.asarray(own.reshape(*own.shape[:-1], -1, 2).mean(-1))

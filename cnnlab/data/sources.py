"""Data sets by name: reads them and makes the training, validation and test parts.

Nothing is downloaded: the files are those that the publishers distribute, in a folder that the
caller names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data import cifar, digits, folder, idx, npz, splits, synthetic, tfds
from cnnlab.data.dataset import (
    MEMORY_LIMIT,
    Dataset,
    Parts,
    Statistics,
    compute_statistics,
)
from cnnlab.data.part_checks import Title, check_parts
from cnnlab.data.splits import Splits
from cnnlab.spelling import nearest

_NAMES = (
    "digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "folder", "npz", "tfds", "synthetic",
)  # fmt: skip
_WITH_PATH = ("folder", "npz")  # the path may follow the name: folder:PATH
_LABELS = ("cifar100:coarse", "cifar100:fine")


def names() -> tuple[str, ...]:
    """The data sets that `load` knows, by the first word of their name."""
    return _NAMES


def load(
    name: str,
    data_dir: str | Path | None = None,
    *,
    validation: float | int | None = 0.1,
    test: float | int = 0.2,
    split_seed: int = 0,
    per_class: int | None = None,
    fraction: float | None = None,
    classes: Sequence[str | int] | None = None,
    image_size: int | tuple[int, int] | None = None,
    on_unreadable: str = "error",
    memory_limit: int = MEMORY_LIMIT,
) -> Splits:
    """Reads a data set and splits it.

    In this order: the test part is the published one, or else split off; ``classes`` are chosen in
    all parts; ``per_class`` or ``fraction`` make the training part smaller; the validation part is
    split off the remaining training part. The statistics are those of the final training part,
    attached to all. Each part is marked, ``Dataset.part``. How many images the parts share, and how
    many are in several classes, is in the notes; of lazy tfds parts it is not known.

    Args:
      name: "digits" (comes with scikit-learn), "mnist", "fashion_mnist", "cifar10", "cifar100" or
        "cifar100:coarse" (its 20 superclasses), "folder" or "folder:PATH" (images in a folder for
        each class), "npz" or "npz:PATH", "tfds:NAME[:CONFIG]", "synthetic" or
        "synthetic:N:HxWxC:K".
      data_dir: the folder that holds the files, or for "npz" and the archives of CIFAR the file
        itself. Not used by "digits" and "synthetic".
      validation: the size of the validation part, a fraction of training in (0, 1) or a number of
        examples >= 1, stratified; None for no validation part. A published validation part, as in
        a folder with ``train/``, ``val/`` and ``test/``, is used whole instead.
      test: likewise, the size of the test part where none is published.
      split_seed: the seed of all these choices, >= 0.
      per_class: keep this many training examples of every class.
      fraction: keep this part of the training examples, in (0, 1], stratified.
      classes: keep these classes, by name or index, renumbered in this order.
      image_size: folders only: the size to give the images, a side or (H, W).
      on_unreadable: folders only: "error", or "skip" to leave unreadable files out.
      memory_limit: folders and tfds: parts of more bytes than this stay lazy.

    Raises:
      ValueError: for an unknown name or option (the message has the nearest), a damaged file or
        one of another data set (the message names it), a part without examples, a class without
        examples in some part, a single class, a published part that is for the most part in another
        one, training images that are all the same, or values of only 0 and 1.
      FileNotFoundError: if files are missing; the message lists the names that were tried.
    """
    parts = read_parts(
        name,
        data_dir,
        image_size=image_size,
        on_unreadable=on_unreadable,
        memory_limit=memory_limit,
    )
    return _split(parts, validation, test, split_seed, per_class, fraction, classes)


def from_arrays(
    images: Any,
    labels: Any,
    class_names: Sequence[str] | None = None,
    *,
    validation: float | int | tuple[Any, Any] | None = 0.1,
    test: float | int | tuple[Any, Any] = 0.2,
    split_seed: int = 0,
    name: str = "arrays",
) -> Splits:
    """Images and labels in memory, split as ``load`` splits a data set that it reads.

    Args:
      images: uint8 [N, H, W, C] or [N, H, W], 0 to 255; NumPy's, or what it makes an array of.
      labels: integers [N] or [N, 1], in [0, K).
      class_names: of the K classes; "0", "1" and so on where None.
      validation: the size of the part to split off the others, as of ``load``; or ``(images,
        labels)`` of its own, or None for none.
      test: likewise, but never None.
      split_seed: of the split, >= 0.
      name: of the data set.

    Raises:
      ValueError: for arrays of another shape or dtype, and as ``load`` does.

    Example:
      >>> splits = from_arrays(images, labels, ("cat", "dog"), test=(test_images, test_labels))
    """
    arrays = {"train_images": images, "train_labels": labels}
    for part, given in (("test", test), ("val", validation)):
        if isinstance(given, tuple):
            arrays |= dict(zip((f"{part}_images", f"{part}_labels"), given, strict=True))
    if class_names is not None:
        arrays["class_names"] = list(class_names)
    parts = npz.parts_of({key: np.asarray(x) for key, x in arrays.items()}, name, name, name)
    # The parts that were given are there, and no size of theirs counts.
    size = 0.1 if isinstance(validation, tuple) else validation
    return _split(parts, size, 0.2 if isinstance(test, tuple) else test, split_seed)


def _split(
    parts: Parts,
    validation: float | int | None,
    test: float | int,
    split_seed: int,
    per_class: int | None = None,
    fraction: float | None = None,
    classes: Sequence[str | int] | None = None,
) -> Splits:
    """The training, validation and test part of what was published, as ``load`` makes them."""
    if split_seed < 0:
        raise ValueError(f"split_seed must be at least 0, got {split_seed}.")
    notes = list(parts.notes)
    published: list[Title] = ["test"] if parts.test is not None else []
    _check_classes(parts.train, "the training part" if parts.test else "the data set")
    if parts.test is None:
        count = splits.part_size(len(parts.train), test, "the test part")
        remaining, held_out = splits.split(parts.train, count, split_seed)
        parts = dataclasses.replace(parts, train=remaining, test=held_out)
        notes.append(f"test: {_size_text(test, 'all')}, seed {split_seed}")
    if classes is not None:
        parts = _only_classes(parts, classes)
        notes.append(f"classes: {', '.join(parts.train.class_names)}")
    _check_several_classes(parts.train)
    train = splits.subset(parts.train, per_class=per_class, fraction=fraction, seed=split_seed)
    if per_class is not None:
        notes.append(f"training subset: {per_class} a class, seed {split_seed}")
    elif fraction is not None:
        notes.append(f"training subset: {_size_text(fraction, 'training')}, seed {split_seed}")
    chosen = parts.validation if validation is not None else None
    published += ["validation"] if chosen is not None else []
    if validation is not None and chosen is None:
        train, chosen = _split_validation(train, validation, split_seed)
        notes.append(f"validation: {_size_text(validation, 'training')}, seed {split_seed}")
    elif chosen is None:
        notes.append("no validation part")
    assert parts.test is not None
    return _splits(train, chosen, parts.test, notes, published)


def _splits(
    train: Dataset,
    validation: Dataset | None,
    test: Dataset,
    notes: list[str],
    published: list[Title],
) -> Splits:
    _check_classes(train, "the training part")
    _check_classes(test, "the test part")
    if validation is not None:
        _check_classes(validation, "the validation part")
    for part in (test, validation):
        if part is not None and part.image_shape != train.image_shape:
            raise ValueError(
                f"{train.name}: all parts must have images of one shape, got {train.image_shape} "
                f"in training and {part.image_shape} in another part."
            )
    checked: dict[Title, Dataset] = {"training": train, "test": test}
    if validation is not None:
        checked["validation"] = validation
    notes = notes + check_parts(checked, published)
    statistics = compute_statistics(train)
    return Splits(
        _with_statistics(train, statistics),
        _with_statistics(validation, statistics) if validation is not None else None,
        _with_statistics(test, statistics),
        "; ".join(notes),
    )


def _split_validation(
    train: Dataset, validation: float | int, seed: int
) -> tuple[Dataset, Dataset]:
    try:
        count = splits.part_size(len(train), validation, "the validation part")
        return splits.split(train, count, seed)
    except ValueError as error:
        raise ValueError(
            f"{error} {len(train)} training examples of {train.num_classes} classes are there to "
            "split it off: take more (--per-class, --fraction), or pass validation=None "
            "(--validation None)."
        ) from error


def _with_statistics(dataset: Dataset, statistics: Statistics) -> Dataset:
    return dataclasses.replace(dataset, statistics=statistics)


def _size_text(size: float | int, of: str) -> str:
    if isinstance(size, float):
        return f"{100 * size:g} % of {of}, stratified"
    return f"{size} examples of {of}, stratified"


def _only_classes(parts: Parts, classes: Sequence[str | int]) -> Parts:
    def with_classes(part: Dataset | None) -> Dataset | None:
        return None if part is None else splits.subset(part, classes=classes)

    return dataclasses.replace(
        parts,
        train=splits.subset(parts.train, classes=classes),
        test=with_classes(parts.test),
        validation=with_classes(parts.validation),
    )


def _check_several_classes(train: Dataset) -> None:
    if train.num_classes < 2:
        raise ValueError(
            f"{train.name}: there must be at least 2 classes, got only {train.class_names[0]!r}. "
            "Name another one (--classes), or add its images."
        )


def _check_classes(dataset: Dataset, part: str) -> None:
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    empty = [dataset.class_names[i] for i in np.flatnonzero(counts == 0)]
    if not empty:
        return
    shown = ", ".join(repr(n) for n in empty[:5]) + (", ..." if len(empty) > 5 else "")
    advice = {
        "the validation part": "Make it larger, or pass None for none (--validation None)",
        "the test part": "Make it larger, or leave the class out with classes=",
    }.get(part, "Add examples, or leave the class out with classes=")
    raise ValueError(
        f"{dataset.name}: empty class: every class must have an example in {part}, but of its "
        f"{len(dataset)} none is of {shown}. {advice}."
    )


def read_parts(
    name: str,
    data_dir: str | Path | None = None,
    *,
    image_size: int | tuple[int, int] | None = None,
    on_unreadable: str = "error",
    memory_limit: int = MEMORY_LIMIT,
) -> Parts:
    """A data set as it was published: all its images, nothing split off.

    Args and errors are those of ``load``.
    """
    if not isinstance(name, str):
        raise ValueError(
            f"the data set must be a name such as 'digits' or 'folder:PATH', got {name!r:.60}."
        )
    source, _, options = name.partition(":")
    plain = options and source not in (*_WITH_PATH, "tfds", "synthetic") and name not in _LABELS
    if source not in _NAMES or plain:
        known = ", ".join(_NAMES).replace("tfds", "tfds:NAME").replace("100", "100[:coarse]")
        raise ValueError(f"unknown data set {name!r}.{nearest(source, _NAMES)} Known: {known}.")
    if image_size is not None and source != "folder":
        raise ValueError(f"image_size is for image folders only; {source} has its own size.")
    if source in ("digits", "synthetic"):
        parts = digits.read() if source == "digits" else synthetic.read(options)
        unread = () if data_dir is None else (f"{data_dir} is not read: {source} has no files",)
        return dataclasses.replace(parts, notes=parts.notes + unread)
    if source == "tfds" and not options:
        raise ValueError("name the tfds data set too: tfds:NAME or tfds:NAME:CONFIG.")
    path = _path(source, options if source in _WITH_PATH else "", data_dir)
    if source == "folder":
        return folder.read(path, image_size, on_unreadable, memory_limit)
    if source == "npz":
        return npz.read(path)
    if source == "tfds":
        return tfds.read(options, path, memory_limit)
    if source in ("mnist", "fashion_mnist"):
        return idx.read(source, path)
    return cifar.read(name.removesuffix(":fine"), path)


def _path(source: str, inline_path: str, data_dir: str | Path | None) -> Path:
    # A path in the name is relative to data_dir where there is one.
    if not inline_path and data_dir is None:
        what = {"folder": "the image folder", "npz": "the .npz file"}.get(source)
        inline = f", or write {source}:PATH" if source in _WITH_PATH else ""
        raise ValueError(
            f"{source} needs files: pass data_dir (--data-dir), {what or 'the folder they are in'}"
            f"{inline}."
        )
    path = Path(data_dir or ".").expanduser() / Path(inline_path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{source}: {path} does not exist. Pass another data_dir.")
    return path

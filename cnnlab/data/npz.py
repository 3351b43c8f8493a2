"""Images and labels from a NumPy .npz file.

The arrays may be called ``images``, ``labels``; or ``x_train``, ``y_train``, ``x_test``,
``y_test`` (as Keras does); or ``train_images``, ``train_labels``, ``test_images``,
``test_labels``, without case and in either order (``npz_keys``). Test arrays may be missing;
``x_val``, ``y_val`` or ``val_images``, ``val_labels`` are a validation part. ``class_names`` is
optional, and may be called ``classes`` or ``label_names``. Other arrays are named in the notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnnlab import npz_files
from cnnlab.data.class_lookalikes import check_names
from cnnlab.data.dataset import Dataset, Parts
from cnnlab.data.npz_keys import find_keys
from cnnlab.spelling import printable, some


def read(path: Path) -> Parts:
    """The parts in the file at ``path``.

    Images are uint8 [N, H, W, C] or [N, H, W], which gets a channel axis; labels are integers [N]
    or [N, 1]. Without ``class_names`` the classes are "0", "1" and so on. Arrays of objects, which
    would need unpickling, are refused.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the file is damaged or no .npz, or has other arrays; it is named.
    """
    if not path.is_file():
        raise FileNotFoundError(_no_file(path))
    return parts_of(npz_files.read(path), str(path), path.stem, path.name)


def parts_of(arrays: Mapping[str, np.ndarray], where: str, name: str, source: str) -> Parts:
    """The parts in arrays that are called as in a file.

    Args:
      arrays: by name.
      where: they are, for messages, such as the path of the file.
      name: of the data set.
      source: of the arrays, for the notes.

    Raises:
      ValueError: for other arrays; they are named.
    """
    try:
        keys = find_keys(arrays)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    pairs = {
        part: (_images(where, images, arrays[images]), _labels(where, labels, arrays[labels]))
        for part, (images, labels) in keys.parts.items()
    }
    names = _class_names(where, arrays, keys.class_names, [labels for _, labels in pairs.values()])
    parts = {part: _dataset(where, name, part, pair, names) for part, pair in pairs.items()}
    notes = [f"the test part of {source}"] if "test" in parts else []
    if keys.ignored:
        notes.append(f"arrays of {source} passed over: {some(map(printable, keys.ignored))}")
    return Parts(parts["train"], parts.get("test"), parts.get("validation"), tuple(notes))


def _no_file(path: Path) -> str:
    if not path.is_dir():
        return f"npz: {path} must be a .npz file, but there is no such file."
    here = sorted(file.name for file in path.glob("*.npz"))
    advice = (
        f"Pass one of {some(here)}: data_dir={str(path / here[0])!r} (--data-dir)"
        if here
        else ("There is no .npz in it; for images in folders, load it as folder (--dataset folder)")
    )
    return f"npz: {path} must be a .npz file, but it is a folder. {advice}."


def _images(where: str, key: str, images: np.ndarray) -> np.ndarray:
    advice = ""
    if images.dtype != np.uint8:
        advice = "Scale them to 0..255, round, and save them as uint8."
    elif images.ndim == 4 and _channels_first(*images.shape[1:]):
        advice = "Put the channels last: images.transpose(0, 2, 3, 1)."
    elif images.ndim not in (3, 4):
        advice = "Save them with these axes."
    if advice:
        raise ValueError(
            f"{where}: {key} must be [N, H, W, C] or [N, H, W] uint8, got {images.dtype} of shape "
            f"{images.shape}. {advice}"
        )
    return images[..., None] if images.ndim == 3 else images


def _channels_first(first: int, second: int, third: int) -> bool:
    """Whether an image of these sides is [C, H, W]: as [H, W, C] it would be an unlikely strip."""
    as_channels_last = third in (1, 3, 4) and not (first in (1, 3) and second == third)
    return first <= 4 and not as_channels_last


def _labels(where: str, key: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: {key} must be whole numbers [N] or [N, 1], got {labels.dtype} of shape "
            f"{labels.shape}."
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= 2**31):
        raise ValueError(f"{where}: {key} must be 0 or more, got {labels.min()}..{labels.max()}.")
    return labels.astype(np.int32)


def _class_names(
    where: str, arrays: Mapping[str, np.ndarray], key: str | None, labels: list[np.ndarray]
) -> tuple[str, ...]:
    if key is None:
        highest = max((int(x.max()) for x in labels if len(x)), default=0)
        if highest >= 10**6:
            raise ValueError(f"{where}: a label of {highest} is no class index.")
        return tuple(str(i) for i in range(highest + 1))
    listed = arrays[key]
    if listed.ndim != 1 or listed.dtype.kind not in "US":
        raise ValueError(
            f"{where}: {key} must be text [K], the names of the classes, got {listed.dtype} of "
            f"shape {listed.shape}. Rename it if it is something else."
        )
    names = tuple(printable(name) for name in listed.tolist())
    check_names(names, f"{where}: {key}")
    return names


def _dataset(
    where: str,
    name: str,
    part: str,
    pair: tuple[np.ndarray, np.ndarray],
    names: tuple[str, ...],
) -> Dataset:
    try:
        return Dataset(*pair, names, name)
    except ValueError as error:
        raise ValueError(f"{where}, {part} part: {error}") from error

"""Images and labels from a NumPy .npz file.

The arrays may be called ``images``, ``labels``; or ``x_train``, ``y_train``, ``x_test``,
``y_test`` (as Keras does); or ``train_images``, ``train_labels``, ``test_images``,
``test_labels``. Test arrays may be missing; ``x_val``, ``y_val`` or ``val_images``,
``val_labels`` are a validation part. ``class_names`` is optional.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cnnlab import npz_files
from cnnlab.data.dataset import Dataset, Parts
from cnnlab.spelling import printable, some

_KEYS = {
    "train": (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}


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
    arrays = npz_files.read(path)
    pairs = {part: _pair(path, arrays, part) for part in _KEYS}
    if pairs["train"] is None:
        wanted = "; ".join(" and ".join(pair) for pair in _KEYS["train"])
        raise ValueError(f"{path} must hold {wanted}; got {some(arrays) or 'no array'}.")
    names = _class_names(path, arrays, [pair[1] for pair in pairs.values() if pair])
    parts = {
        part: _dataset(path, part, pair, names) if pair else None for part, pair in pairs.items()
    }
    assert parts["train"] is not None
    notes = (f"the test part of {path.name}",) if parts["test"] else ()
    return Parts(parts["train"], parts["test"], parts["validation"], notes)


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


def _pair(
    path: Path, arrays: dict[str, np.ndarray], part: str
) -> tuple[np.ndarray, np.ndarray] | None:
    for images, labels in _KEYS[part]:
        present = [key for key in (images, labels) if key in arrays]
        if len(present) == 1:
            lacking = labels if present == [images] else images
            raise ValueError(f"{path} holds {present[0]} but lacks {lacking}.")
        if present:
            return _images(path, images, arrays[images]), _labels(path, labels, arrays[labels])
    return None


def _images(path: Path, key: str, images: np.ndarray) -> np.ndarray:
    advice = ""
    if images.dtype != np.uint8:
        advice = "Scale them to 0..255, round, and save them as uint8."
    elif images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        advice = "Put the channels last: images.transpose(0, 2, 3, 1)."
    elif images.ndim not in (3, 4):
        advice = "Save them with these axes."
    if advice:
        raise ValueError(
            f"{path}: {key} must be [N, H, W, C] or [N, H, W] uint8, got {images.dtype} of shape "
            f"{images.shape}. {advice}"
        )
    return images[..., None] if images.ndim == 3 else images


def _labels(path: Path, key: str, labels: np.ndarray) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: {key} must be whole numbers [N] or [N, 1], got {labels.dtype} of shape "
            f"{labels.shape}."
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= 2**31):
        raise ValueError(f"{path}: {key} must be 0 or more, got {labels.min()}..{labels.max()}.")
    return labels.astype(np.int32)


def _class_names(
    path: Path, arrays: dict[str, np.ndarray], labels: list[np.ndarray]
) -> tuple[str, ...]:
    if "class_names" not in arrays:
        highest = max((int(x.max()) for x in labels if len(x)), default=0)
        if highest >= 10**6:
            raise ValueError(f"{path}: a label of {highest} is no class index.")
        return tuple(str(i) for i in range(highest + 1))
    listed = arrays["class_names"]
    if listed.ndim != 1 or listed.dtype.kind not in "US":
        raise ValueError(f"{path}: class_names must be text [K], got {listed.dtype}.")
    return tuple(printable(name) for name in listed.tolist())


def _dataset(
    path: Path, part: str, pair: tuple[np.ndarray, np.ndarray], names: tuple[str, ...]
) -> Dataset:
    try:
        return Dataset(*pair, names, path.stem)
    except ValueError as error:
        raise ValueError(f"{path}, {part} part: {error}") from error

"""MNIST and Fashion-MNIST in the IDX format, plain or gzipped.

Sources: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, 1998, which
describes the format; H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, 2017.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnnlab import limits
from cnnlab.data.dataset import Dataset, Parts
from cnnlab.data.packed import open_decompressed

CLASS_NAMES = {
    "mnist": tuple(str(i) for i in range(10)),
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip
_FOLDERS = {
    "mnist": ("mnist", "MNIST/raw", "MNIST"),
    "fashion_mnist": ("fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "FashionMNIST"),
}
# Both data sets have the same file names; the first labels distinguish them.
_FIRST_LABELS = {
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    "fashion_mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
}
_IMAGE_SHAPE = (28, 28)
_CHUNK = 2**20  # bytes
_KINDS = {1: "labels", 3: "images"}


def read(name: str, data_dir: Path) -> Parts:
    """The training and the test part of "mnist" or "fashion_mnist".

    Args:
      name: "mnist" or "fashion_mnist".
      data_dir: the folder that holds the four files, or its parent.

    Raises:
      FileNotFoundError: if a file is missing; the names that were tried are listed.
      ValueError: if a file is truncated, damaged or of another data set; the file is named.
    """
    train = _part(name, data_dir, "train")
    test = _part(name, data_dir, "t10k")
    return Parts(train, test, notes=("the official test part",))


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """The uint8 array of ``ndim`` dimensions in an IDX file, plain or gzipped.

    Raises:
      ValueError: for any other file, which is named with what was expected, or one that unpacks to
        more than ``cnnlab.limits`` allows.
    """
    try:
        with open_decompressed(path) as file:
            return _read_stream(path, file, ndim)
    except EOFError as error:
        raise ValueError(f"{path} is truncated: its gzip stream has no end.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}. Fetch the file again.") from error


def _read_stream(path: Path, file: gzip.GzipFile | BinaryIO, ndim: int) -> np.ndarray:
    """The array; nothing is allocated before the header and the size of the file agree."""
    header = 4 + 4 * ndim
    data = file.read(header)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise ValueError(
            f"{path} is no IDX file: it must begin with the bytes 00 00 08 {ndim:02x} (or be "
            f"gzipped), got {data[:4].hex(' ') or 'an empty file'}."
        )
    kind, axes = data[2], data[3]
    if kind != 8 or axes != ndim:
        raise ValueError(
            f"{path} must hold {_KINDS.get(ndim, 'an array')}: unsigned bytes (type 08) in {ndim} "
            f"dimensions, got type {kind:02x} in {axes} dimensions"
            f"{f' ({_KINDS[axes]})' if axes in _KINDS else ''}."
        )
    if len(data) < header:
        raise ValueError(f"{path} is truncated: its header must be {header} bytes long.")
    shape = struct.unpack(f">{ndim}I", data[4:header])
    expected = math.prod(shape)
    if isinstance(file, gzip.GzipFile):
        limits.check_unpacked(path, expected)
        content = file.read(expected)
        after = len(file.read(_CHUNK))  # which checks the CRC at the end of the stream
        got, more = len(content) + after, " or more" if after == _CHUNK else ""
    else:
        got, more = path.stat().st_size - header, ""
        content = file.read(expected) if got == expected else b""
    if got != expected:
        state = "truncated" if got < expected else "damaged"
        raise ValueError(
            f"{path} is {state}: its header declares {' x '.join(map(str, shape))} = {expected} "
            f"bytes of data, got {got}{more}."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _part(name: str, data_dir: Path, prefix: str) -> Dataset:
    image_path = _find(name, data_dir, prefix, "images-idx3")
    label_path = _find(name, data_dir, prefix, "labels-idx1")
    images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    if images.shape[1:] != _IMAGE_SHAPE:
        raise ValueError(
            f"{image_path} must hold images of 28 x 28, got {images.shape[1]} x {images.shape[2]}."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{label_path} must hold one label for each image of {image_path.name}: "
            f"{len(images)} images, {len(labels)} labels."
        )
    if len(labels) and labels.max() > 9:
        raise ValueError(f"{label_path}: labels must be in 0..9, got {labels.max()}.")
    for other, first in _FIRST_LABELS.items():
        if prefix == "train" and other != name and tuple(labels[:10]) == first:
            raise ValueError(
                f"{label_path} holds the labels of {other}, not of {name}. Pass the folder of "
                f"{name}, or load {other!r}."
            )
    return Dataset(images[..., None], labels.astype(np.int32), CLASS_NAMES[name], name)


def _find(name: str, data_dir: Path, prefix: str, name_end: str) -> Path:
    if data_dir.is_file():
        raise FileNotFoundError(
            f"{name}: {data_dir} must be the folder of the publisher's four files, but it is a "
            f"file. Pass {data_dir.parent}."
        )
    wanted = _file_names(prefix, name_end)
    folder = _folder(name, data_dir)
    for file in wanted:
        if (folder / file).is_file():
            return folder / file
    under = f" and in {', '.join(_FOLDERS[name])} under it" if folder == data_dir else ""
    raise FileNotFoundError(
        f"{name}: no {wanted[0]} in {folder}. Looked for {', '.join(wanted)} there{under}. "
        f"Put the publisher's four files of {name} there, gzipped or not; nothing is downloaded."
    )


def _folder(name: str, data_dir: Path) -> Path:
    # The first folder that has any of the four files, so that two copies are never mixed.
    parts = [(p, r) for p in ("train", "t10k") for r in ("images-idx3", "labels-idx1")]
    files = [file for prefix, name_end in parts for file in _file_names(prefix, name_end)]
    for folder in _FOLDERS[name]:
        if any((data_dir / folder / file).is_file() for file in files):
            return data_dir / folder
    return data_dir


def _file_names(prefix: str, name_end: str) -> list[str]:
    dashes, dots = (
        f"{prefix}-{name_end}-ubyte",
        f"{prefix}-{name_end.replace('-idx', '.idx')}-ubyte",
    )
    return [dashes, f"{dashes}.gz", dots, f"{dots}.gz"]

"""CIFAR-10 and CIFAR-100: the binary and the Python version, from a folder or from the tar.gz.

Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009. CIFAR-100 has
100 fine labels and 20 coarse ones, the superclasses.
"""

from __future__ import annotations

import dataclasses
import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from cnnlab import limits
from cnnlab.data import pickles
from cnnlab.data.dataset import Dataset, Parts
from cnnlab.data.packed import open_decompressed
from cnnlab.spelling import one_line, printable

_PIXELS = 3 * 32 * 32
Batch = tuple[np.ndarray, np.ndarray]  # uint8 [N, 32, 32, 3], int32 [N]


@dataclasses.dataclass(frozen=True)
class _Layout:
    """One published version of one data set: its files, and how labels are laid out in them."""

    name: str
    num_classes: int
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    names: str  # the file of the class names
    binary: bool
    label_bytes: int  # before the pixels of a record
    label_at: int  # which of them is the label
    label_key: str
    names_key: str

    @property
    def files(self) -> tuple[str, ...]:
        return (self.names, *self.train, self.test)


_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_LAYOUTS = (
    _Layout(
        "cifar10", 10, "cifar-10-batches-bin", "cifar-10-binary.tar.gz",
        tuple(f"{b}.bin" for b in _BATCHES), "test_batch.bin", "batches.meta.txt",
        True, 1, 0, "", "",
    ),
    _Layout(
        "cifar10", 10, "cifar-10-batches-py", "cifar-10-python.tar.gz",
        _BATCHES, "test_batch", "batches.meta", False, 0, 0, "labels", "label_names",
    ),
    _Layout(
        "cifar100", 100, "cifar-100-binary", "cifar-100-binary.tar.gz",
        ("train.bin",), "test.bin", "fine_label_names.txt", True, 2, 1, "", "",
    ),
    _Layout(
        "cifar100", 100, "cifar-100-python", "cifar-100-python.tar.gz",
        ("train",), "test", "meta", False, 0, 0, "fine_labels", "fine_label_names",
    ),
    _Layout(
        "cifar100:coarse", 20, "cifar-100-binary", "cifar-100-binary.tar.gz",
        ("train.bin",), "test.bin", "coarse_label_names.txt", True, 2, 0, "", "",
    ),
    _Layout(
        "cifar100:coarse", 20, "cifar-100-python", "cifar-100-python.tar.gz",
        ("train",), "test", "meta", False, 0, 0, "coarse_labels", "coarse_label_names",
    ),
)  # fmt: skip


def read(name: str, data_dir: Path) -> Parts:
    """The training and the test part of CIFAR-10 or CIFAR-100: images uint8 [N, 32, 32, 3].

    Args:
      name: "cifar10", "cifar100", or "cifar100:coarse" with the labels of the 20 superclasses.
      data_dir: the published folder or tar.gz, in either version, or the folder that contains
        either. A folder is preferred to a tar.gz, and the binary version to the other.

    Raises:
      FileNotFoundError: if neither is there, or a file is missing from it.
      ValueError: if a file is truncated, damaged or of another data set; the file is named.
    """
    layouts = [layout for layout in _LAYOUTS if layout.name == name]
    layout, place = _find(name, layouts, data_dir)
    batches: dict[str, Batch] = {}
    class_names: tuple[str, ...] = ()
    for file, shown, data in _contents(layout, place):
        if file == layout.names:
            class_names = _class_names(layout, data, shown)
        else:
            batches[file] = (_read_binary if layout.binary else _read_pickle)(layout, data, shown)
    missing = [f for f in layout.files if f not in batches and f != layout.names]
    missing += [layout.names] if not class_names else []
    if missing:
        raise FileNotFoundError(
            f"{place} must hold {', '.join(layout.files)}; it lacks {', '.join(missing)}. "
            f"Fetch {layout.archive} again from its publisher."
        )
    _check_lengths(layout, place, batches)
    train = _concatenate([batches[file] for file in layout.train])
    version = "binary" if layout.binary else "Python"
    return Parts(
        Dataset(*train, class_names, name.replace(":", "_")),
        Dataset(*batches[layout.test], class_names, name.replace(":", "_")),
        notes=("the official test part", f"{version} version, {place.name}"),
    )


def _find(name: str, layouts: list[_Layout], data_dir: Path) -> tuple[_Layout, Path]:
    if data_dir.is_file():
        return _archive_layout(name, layouts, data_dir), data_dir
    for folder in (data_dir, data_dir / name.partition(":")[0]):
        for layout in layouts:
            for place in (folder / layout.folder, folder):
                if any((place / file).is_file() for file in (*layout.train, layout.test)):
                    return layout, place
        for layout in layouts:
            if (folder / layout.archive).is_file():
                return layout, folder / layout.archive
    looked = ", ".join(x for layout in layouts for x in (f"{layout.folder}/", layout.archive))
    raise FileNotFoundError(
        f"{name}: no files of it in {data_dir}. Looked for {looked}, or the files of such a "
        f"folder ({', '.join(layouts[0].files)}; {', '.join(layouts[1].files)}). Put the "
        "publisher's archive there; nothing is downloaded."
    )


def _archive_layout(name: str, layouts: list[_Layout], path: Path) -> _Layout:
    for layout in layouts:
        if path.name == layout.archive:
            return layout
    for file, _, _ in _members(path, {f for layout in layouts for f in layout.files}, read=False):
        for layout in layouts:
            if file in layout.files:
                return layout
    raise ValueError(
        f"{path} holds no file of {name}: it must be {' or '.join(x.archive for x in layouts)}."
    )


def _contents(layout: _Layout, place: Path) -> Iterator[tuple[str, str, bytes]]:
    if place.is_dir():
        for file in layout.files:
            if (place / file).is_file():
                yield file, str(place / file), (place / file).read_bytes()
    else:
        yield from _members(place, set(layout.files))


def _members(
    path: Path, wanted: set[str], *, read: bool = True
) -> Iterator[tuple[str, str, bytes]]:
    # One pass over the stream; nothing is written to disk. It is read to its end, where gzip has
    # its checksum, and through gzip, because tarfile does not verify the checksum.
    try:
        with open_decompressed(path) as file:
            stream: Any = _Bounded(path, file)
            size = 0
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    file_name = PurePosixPath(member.name).name
                    if member.isfile() and file_name in wanted:
                        size += member.size  # which can be more than the archive has of it
                        limits.check_unpacked(path, size)
                        content = archive.extractfile(member) if read else None
                        data = content.read() if content else b""
                        yield file_name, f"{path}:{member.name}", data
            while stream.read(2**20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"{path} is truncated, damaged or no tar archive: {one_line(error, 300)}. "
            "Fetch it again from its publisher."
        ) from error


class _Bounded:
    """A stream that ends in an error where it unpacks to more than ``limits`` allows."""

    def __init__(self, path: Path, stream: gzip.GzipFile | BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._left = limits.allowed_bytes(path)

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise limits.LimitError(limits.too_large(self._path))
        return data


def _class_names(layout: _Layout, data: bytes, shown: str) -> tuple[str, ...]:
    if layout.binary:
        lines = data.decode("utf-8", "replace").splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
    else:
        meta = pickles.load(data, shown)
        listed = _get(meta, layout.names_key) or ()
        names = tuple(printable(n) if isinstance(n, bytes) else str(n) for n in listed)
    if len(names) != layout.num_classes:
        raise ValueError(
            f"{shown} must list the {layout.num_classes} class names of {layout.name}, "
            f"got {len(names)}."
        )
    return names


def _read_binary(layout: _Layout, data: bytes, shown: str) -> Batch:
    record = layout.label_bytes + _PIXELS
    if not data or len(data) % record:
        raise ValueError(
            f"{shown} is truncated or another file: it must be records of {record} bytes "
            f"({layout.label_bytes} of labels, {_PIXELS} of pixels), got {len(data)} bytes, which "
            f"is {len(data) // record} records and {len(data) % record} bytes."
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    labels = rows[:, layout.label_at].astype(np.int32)
    return _batch(layout, rows[:, layout.label_bytes :], labels, shown)


def _read_pickle(layout: _Layout, data: bytes, shown: str) -> Batch:
    batch = pickles.load(data, shown)
    rows, labels = _get(batch, "data"), _get(batch, layout.label_key)
    if rows is None or labels is None:
        keys = sorted(str(k) for k in batch) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(
            f"{shown} must hold 'data' and {layout.label_key!r} as a batch of {layout.name} does, "
            f"got {keys}."
        )
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != _PIXELS:
        raise ValueError(
            f"{shown}: 'data' must be [N, {_PIXELS}] uint8, got shape {np.shape(rows)}."
        )
    if not isinstance(labels, list) or any(type(x) is not int for x in labels):
        raise ValueError(f"{shown}: {layout.label_key!r} must be a list of whole numbers.")
    return _batch(layout, rows, np.array([min(max(x, -1), 2**31 - 1) for x in labels]), shown)


def _batch(layout: _Layout, rows: np.ndarray, labels: np.ndarray, shown: str) -> Batch:
    if len(rows) != len(labels) or not len(rows):
        raise ValueError(
            f"{shown} must hold one label for each image, got {len(rows)} images and "
            f"{len(labels)} labels."
        )
    if labels.min() < 0 or labels.max() >= layout.num_classes:
        raise ValueError(
            f"{shown}: labels must be in 0..{layout.num_classes - 1}, "
            f"got {labels.min()}..{labels.max()}."
        )
    images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, labels.astype(np.int32)


def _get(batch: Any, key: str) -> Any:
    # Python 2 wrote the keys as bytes; a copy made with Python 3 may have text.
    if not isinstance(batch, dict):
        return None
    return batch.get(key.encode(), batch.get(key))


def _check_lengths(layout: _Layout, place: Path, batches: dict[str, Batch]) -> None:
    # All published batches of CIFAR-10 are of one length: one cut at a record's end shows here.
    if layout.name != "cifar10":
        return
    lengths = {file: len(labels) for file, (_, labels) in batches.items()}
    longest = max(lengths.values())
    for file, length in lengths.items():
        if length != longest:
            raise ValueError(
                f"{place}: {file} is truncated or another file: the batches must be of one "
                f"length, got {length} images and {longest} in others."
            )


def _concatenate(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches])

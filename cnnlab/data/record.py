"""What a run keeps of its data: class names, statistics, and which images were in which part.

    record = DataRecord.of(splits)
    splits = record.find(read_parts("folder", "photos"))  # the same parts, whatever was added since

An image is known by a fingerprint: of its pixels, or of its file's name and contents where the
images stay on the disk. With the record, a finished run never computes its statistics or its split
again.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import io
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from cnnlab import npz_files
from cnnlab.data.dataset import (
    Dataset,
    Images,
    LazyImages,
    Part,
    Parts,
    Statistics,
    materialise,
)
from cnnlab.data.splits import Splits
from cnnlab.spelling import one_line

_TITLES = {"train": "training", "validation": "validation", "test": "test"}


class DataChangedError(ValueError):
    """The images of a run are not all in its data set any more."""


@dataclasses.dataclass(frozen=True, eq=False)
class PartRecord:
    """The images of a part.

    Attributes:
      fingerprints: uint64 [N], of each image.
      labels: int32 [N], indices into the record's class names.
      by_file: whether the fingerprints are of files; else they are of pixels.
    """

    fingerprints: np.ndarray
    labels: np.ndarray
    by_file: bool

    @classmethod
    def of(cls, dataset: Dataset) -> PartRecord:
        """The record of this part."""
        by_file = isinstance(dataset.images, LazyImages)
        return cls(fingerprints(dataset.images), dataset.labels, by_file)


@dataclasses.dataclass(frozen=True, eq=False)
class DataRecord:
    """What a run keeps of its data.

    Attributes:
      name: of the data set.
      notes: how the parts were made.
      class_names: the K names; a label is an index into them.
      image_shape: (H, W, C).
      statistics: of the training part.
      parts: by name, "train", "test" and, where there is one, "validation".
    """

    name: str
    notes: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    statistics: Statistics | None
    parts: Mapping[str, PartRecord]

    @classmethod
    def of(cls, splits: Splits) -> DataRecord:
        """The record of these parts."""
        train = splits.train
        return cls(
            train.name,
            splits.notes,
            train.class_names,
            train.image_shape,
            train.statistics,
            {
                part: PartRecord.of(dataset)
                for part in get_args(Part)
                if (dataset := getattr(splits, part)) is not None
            },
        )

    @property
    def by_file(self) -> bool:
        """Whether some images are known by their files: then they must be read lazily."""
        return any(part.by_file for part in self.parts.values())

    def trained_on(self, train: Dataset) -> DataRecord | None:
        """The record of a training on ``train``, which may be some of the training part's images.

        None where they are of other classes or another shape: data that were made of these.
        """
        if train.class_names != self.class_names or train.image_shape != self.image_shape:
            return None
        if np.array_equal(train.labels, self.parts["train"].labels):
            return self
        own = {**self.parts, "train": PartRecord.of(train)}
        return dataclasses.replace(self, statistics=train.statistics, parts=own)

    def has_images_of(self, other: DataRecord) -> bool:
        """Whether its parts hold the images of another record's, with the same classes."""
        return self.class_names == other.class_names and all(
            name in other.parts
            and np.array_equal(part.fingerprints, other.parts[name].fingerprints)
            and np.array_equal(part.labels, other.parts[name].labels)
            for name, part in self.parts.items()
        )

    def find(self, published: Parts) -> Splits:
        """The parts of the run, out of a data set that may have been added to since.

        An image belongs to a part where its fingerprint and the name of its class are those of the
        record. Classes may stand in another order.

        Args:
          published: the data set as it is now, before any splitting.

        Returns:
          The images in the order of the record, with its class names and its statistics.

        Raises:
          DataChangedError: if images of the record are gone or have another class.
        """
        pool = _Pool(published, self.class_names)
        chosen, lacking = {}, []
        for name, part in self.parts.items():
            places, missing = pool.take(name, part)
            chosen[name] = places
            if missing:
                lacking.append(f"{missing} of its {len(part.labels)} {_TITLES[name]} images")
        if lacking:
            raise DataChangedError(
                f"the data have changed: {' and '.join(lacking)} are not in {published.train.name} "
                f"as they were (of {len(pool)} images there now): they are gone, have another "
                "class, or were changed. Bring them back, or say where they are."
            )
        datasets = {}
        for name, part in self.parts.items():
            images = pool.images(chosen[name])
            if not part.by_file:
                images = materialise(images)
            datasets[name] = Dataset(
                images, part.labels, self.class_names, self.name, self.statistics
            )
        return _splits(datasets, self.notes)

    def without_images(self) -> Splits:
        """The parts with labels and statistics, whose images are not there to be read."""
        datasets = {
            name: Dataset(
                _Unread((len(part.labels), *self.image_shape), self.name),
                part.labels,
                self.class_names,
                self.name,
                self.statistics,
            )
            for name, part in self.parts.items()
        }
        return _splits(datasets, self.notes)

    def write(self) -> bytes:
        """The record as the bytes of an .npz."""
        about: dict[str, Any] = {
            "name": self.name,
            "notes": self.notes,
            "class_names": self.class_names,
            "image_shape": self.image_shape,
            "by_file": {name: part.by_file for name, part in self.parts.items()},
        }
        arrays: dict[str, Any] = {}
        for name, part in self.parts.items():
            arrays |= {f"{name}_images": part.fingerprints, f"{name}_labels": part.labels}
        if self.statistics is not None:
            arrays |= statistics_arrays(self.statistics)
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: pathlib.Path, data: bytes | None = None) -> DataRecord:
        """The record in a file of ``write``.

        Args:
          path: of the file.
          data: what ``write`` gave, where it is a part of that file.

        Raises:
          ValueError: if it is damaged; the message names it.
        """
        try:
            arrays = npz_files.read(path, data=data)
            about = json.loads(arrays["about"].tobytes())
            record = cls(
                about["name"],
                about["notes"],
                tuple(about["class_names"]),
                tuple(about["image_shape"]),
                arrays_statistics(arrays) if "mean" in arrays else None,
                {
                    name: PartRecord(arrays[f"{name}_images"], arrays[f"{name}_labels"], by_file)
                    for name, by_file in about["by_file"].items()
                },
            )
            for part in record.parts.values():
                _check_part(part, len(record.class_names))
        except Exception as error:  # any part of a damaged file can be of another kind
            raise ValueError(
                f"{path} is damaged ({type(error).__name__}: {one_line(error, 300)}): it says "
                "which images the run has trained on. Bring it back from a copy."
            ) from error
        return record


def _check_part(part: PartRecord, num_classes: int) -> None:
    count, labels = part.fingerprints.shape, part.labels
    if len(count) != 1 or labels.shape != count or part.fingerprints.dtype != np.uint64:
        raise ValueError("fingerprints and labels that do not fit each other")
    if labels.dtype.kind not in "iu" or (
        labels.size and not 0 <= labels.min() <= labels.max() < num_classes
    ):
        raise ValueError(f"labels that are not of the {num_classes} classes")


def fingerprints(images: Images) -> np.ndarray:
    """uint64 [N] that tell images apart: of pixels, or of lazy images' files, names and contents.

    Lazy images are not decoded, and keep theirs in whatever size they are shown.
    """
    if isinstance(images, LazyImages):
        shape = repr(images.shape[1:])  # that they are brought to
        named = (images.identity(np.array([index])) for index in range(len(images)))
        texts = ("\0".join(text for text in each if text != shape) for each in named)
        keys = (text.encode("utf-8", "surrogateescape") for text in texts)
        return np.fromiter(map(_digest, keys), np.uint64, len(images))
    return pixel_fingerprints(images)


def pixel_fingerprints(images: Images) -> np.ndarray:
    """uint64 [N], of the pixels of each image; lazy images are decoded once."""
    shape = repr(tuple(images.shape[1:])).encode()
    keys = (shape + np.ascontiguousarray(images[i]).tobytes() for i in range(len(images)))
    return np.fromiter(map(_digest, keys), np.uint64, len(images))


def statistics_arrays(statistics: Statistics) -> dict[str, np.ndarray]:
    """Statistics as arrays by name, for a file."""
    arrays = {
        "mean": np.asarray(statistics.mean, np.float64),
        "std": np.asarray(statistics.std, np.float64),
        "examples": np.asarray(statistics.examples),
    }
    if statistics.mean_image is not None:
        arrays["mean_image"] = statistics.mean_image
    return arrays


def arrays_statistics(arrays: Mapping[str, np.ndarray]) -> Statistics:
    """The statistics of which ``statistics_arrays`` made the arrays."""
    return Statistics(
        mean=tuple(arrays["mean"].tolist()),
        std=tuple(arrays["std"].tolist()),
        mean_image=arrays.get("mean_image"),
        examples=int(arrays["examples"]),
    )


def _splits(datasets: Mapping[str, Dataset], notes: str) -> Splits:
    return Splits(datasets["train"], datasets.get("validation"), datasets["test"], notes)


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


class _Unread(LazyImages):
    """The images of a run whose data set was not read."""

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        self.shape, self._name = shape, name

    def read(self, index: int) -> np.ndarray:
        raise ValueError(f"the images of {self._name} were not read: load the run with its data.")

    def identity(self, indices: np.ndarray) -> list[str]:
        raise ValueError(f"the images of {self._name} were not read: load the run with its data.")


class _Joined(LazyImages):
    """Images of several sequences, at places (number of the sequence, index)."""

    def __init__(self, sequences: Sequence[Images], places: Sequence[tuple[int, int]]) -> None:
        self._sequences, self._places = sequences, places
        self.shape = (len(places), *sequences[0].shape[1:])

    def read(self, index: int) -> np.ndarray:
        sequence, at = self._places[index]
        return np.asarray(self._sequences[sequence][at])

    def identity(self, indices: np.ndarray) -> Iterator[str]:
        for sequence, at in (self._places[index] for index in indices):
            images = self._sequences[sequence]
            assert isinstance(images, LazyImages)  # else the part is in memory
            yield from images.identity(np.array([at]))


class _Pool:
    """All images of a data set, of which each is taken once."""

    def __init__(self, published: Parts, class_names: tuple[str, ...]) -> None:
        self.sources: dict[str, Dataset] = {
            part: dataset
            for part in get_args(Part)
            if (dataset := getattr(published, part)) is not None
        }
        number = {name: label for label, name in enumerate(class_names)}
        self._labels = {
            part: np.array([number.get(name, -1) for name in dataset.class_names], np.int32)[
                dataset.labels
            ]
            for part, dataset in self.sources.items()
        }
        self._places: dict[bool, dict[tuple[str, int, int], collections.deque[int]]] = {}
        self._taken: set[tuple[str, int]] = set()

    def __len__(self) -> int:
        return sum(map(len, self.sources.values()))

    def take(self, name: str, part: PartRecord) -> tuple[list[tuple[str, int]], int]:
        """The places (source, index) of a part's images, and how many are missing.

        The published part of the same name comes first.
        """
        places = self._index(part.by_file)
        order = sorted(self.sources, key=lambda source: source != name)
        chosen: list[tuple[str, int]] = []
        missing = 0
        for key, label in zip(part.fingerprints.tolist(), part.labels.tolist(), strict=True):
            for source in order:
                found = places.get((source, key, label))
                while found and (source, found[0]) in self._taken:  # under the other fingerprint
                    found.popleft()
                if found:
                    place = (source, found.popleft())
                    self._taken.add(place)
                    chosen.append(place)
                    break
            else:
                missing += 1
        return chosen, missing

    def images(self, places: Sequence[tuple[str, int]]) -> Images:
        """The images at these places."""
        names = list(dict.fromkeys(source for source, _ in places))
        if len(names) == 1:
            return self.sources[names[0]].take([index for _, index in places]).images
        sequences = [self.sources[name].images for name in names]
        return _Joined(sequences, [(names.index(source), index) for source, index in places])

    def _index(self, by_file: bool) -> dict[tuple[str, int, int], collections.deque[int]]:
        """Where the images are by (source, fingerprint, label)."""
        if by_file not in self._places:
            places = self._places[by_file] = collections.defaultdict(collections.deque)
            for source, dataset in self.sources.items():
                if by_file and not isinstance(dataset.images, LazyImages):
                    continue  # no file is known
                keys = (fingerprints if by_file else pixel_fingerprints)(dataset.images)
                labels = self._labels[source].tolist()
                for index, (key, label) in enumerate(zip(keys.tolist(), labels, strict=True)):
                    places[source, key, label].append(index)
        return self._places[by_file]

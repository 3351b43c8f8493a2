"""The `Dataset` value: uint8 images, int32 labels, class names and the statistics of training.

Images are a NumPy array where they fit in memory and otherwise a lazy sequence (`LazyImages`) that
decodes on access; everything here works on both.
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import operator
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from cnnlab.spelling import unknown

MEMORY_LIMIT = 2**30  # bytes of uint8 images that a source of files may hold in memory
_CHUNK = 2**24  # bytes of images processed together

Part = Literal["train", "validation", "test"]


@runtime_checkable
class Images(Protocol):
    """A sequence of uint8 images [N, H, W, C]: a NumPy array, or a `LazyImages`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        ...

    def __len__(self) -> int:
        """The number of images N."""
        ...

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """uint8 [H, W, C] for an int; [n, H, W, C] for a slice or an array of n indices."""
        ...


class LazyImages(abc.ABC):
    """Images that are read on access.

    A subclass sets ``shape`` to (N, H, W, C) and defines how one image is read.
    """

    shape: tuple[int, ...]
    dtype = np.dtype(np.uint8)

    @abc.abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Image number ``index``, in [0, N): uint8 [H, W, C]."""

    @abc.abstractmethod
    def identity(self, indices: np.ndarray) -> Iterable[str]:
        """Texts that identify these images without decoding them, for `fingerprint`."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, slice):
            indices = np.arange(*index.indices(len(self)))
        elif np.ndim(index) == 0:
            return self.read(int(_check_indices([operator.index(index)], len(self))[0]))
        else:
            indices = _check_indices(index, len(self))
        images = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for row, i in enumerate(indices):
            images[row] = self.read(int(i))
        return images


class Selection(LazyImages):
    """Some images of a lazy sequence, in the order of ``indices``."""

    def __init__(self, images: Images, indices: np.ndarray) -> None:
        self.source: Images = images
        self.indices: np.ndarray = indices
        if isinstance(images, Selection):  # so that nested selections cost one look-up
            self.source = images.source
            self.indices = images.indices[indices]
        self.shape = (len(indices), *images.shape[1:])
        self.dtype = images.dtype

    def read(self, index: int) -> np.ndarray:
        """Image number ``index`` of the selection."""
        return np.asarray(self.source[int(self.indices[index])])

    def identity(self, indices: np.ndarray) -> Iterable[str]:
        """The identity of the images that were selected."""
        chosen = self.indices[indices]
        if isinstance(self.source, LazyImages):
            return self.source.identity(chosen)
        return (self.read(int(i)).tobytes().hex() for i in indices)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Statistics of the training part that normalisation uses, in pixel units (0 to 255).

    Attributes:
      mean: the mean of each channel.
      std: the population standard deviation of each channel; 1.0 for a channel that is constant,
        so that it can be divided by.
      mean_image: float32 [H, W, C], the mean of each pixel, or None. Not compared by ``==``.
      examples: how many images they were computed from.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean_image: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)
    examples: int = 0

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(s > 0 for s in self.std):
            raise ValueError(
                f"statistics need one mean and one std > 0 a channel, got {self.mean}, {self.std}."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images.

    Attributes:
      images: uint8 [N, H, W, C], 0 to 255; a NumPy array or a lazy sequence (`Images`). N >= 1.
      labels: int32 [N], in [0, K).
      class_names: the K names, all different; a label is an index into them.
      name: the name of the data set, such as "cifar10".
      statistics: of the training part that the data set belongs to, or None.
      targets: float32 [N, K], a teacher's logits for each example, or None.
      annotations: [N, ...], ground truth of each example besides its label, such as a mask [H, W]
        or boxes [R, 5], or None. The loss gets them as it gets targets, but in evaluation, too.
        Augmentation does not move them, so one that moves pixels is refused.
      part: the part of its data, "train", "validation" or "test", as ``Splits`` marks it; None
        where it is not known. Examples that are taken from it are of the same part. No checkpoint
        is chosen by a test part. Not part of the ``fingerprint``.

    Raises:
      ValueError: where images, labels, class names, targets and annotations do not fit each other,
        or for an unknown part.
    """

    images: Images
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    statistics: Statistics | None = None
    targets: np.ndarray | None = None
    annotations: np.ndarray | None = None
    part: Part | None = None

    def __post_init__(self) -> None:
        if self.part not in (None, *get_args(Part)):
            raise ValueError(f"{self.name}: {unknown('part', str(self.part), get_args(Part))}")
        self._check_images()
        _check_labels(self.name, self.labels, len(self.images), self.class_names)
        channels = self.image_shape[-1]
        if self.statistics is not None and len(self.statistics.mean) != channels:
            raise ValueError(
                f"{self.name}: statistics must have one mean for each of {channels} channels, "
                f"got {len(self.statistics.mean)}."
            )
        if self.targets is not None:
            _check_targets(self.name, self.targets, (len(self), self.num_classes))
        if self.annotations is not None:
            _check_annotations(self.name, self.annotations, self.targets, len(self))

    def _check_images(self) -> None:
        _check_images(self.name, self.images)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def supervision(self) -> np.ndarray | None:
        """The targets or the annotations, which a loss gets besides the labels."""
        return self.annotations if self.targets is None else self.targets

    def take(self, indices: Any) -> Dataset:
        """The examples at ``indices``, in that order; the statistics stay as they are.

        Args:
          indices: integers [n], n >= 1, in [-N, N); repeats are allowed.

        Raises:
          TypeError: if the indices are not integers.
          IndexError: if one lies outside.
        """
        indices = _check_indices(indices, len(self))
        if isinstance(self.images, LazyImages | np.memmap):
            images: Images = Selection(self.images, indices)
        else:
            images = self.images[indices]
        return dataclasses.replace(
            self,
            images=images,
            labels=self.labels[indices],
            targets=None if self.targets is None else self.targets[indices],
            annotations=None if self.annotations is None else self.annotations[indices],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a source as they were published, and how they were read.

    Attributes:
      train: the training part, or all there is.
      test: the published test part, or None where there is none.
      validation: the published validation part, or None where there is none.
      notes: remarks for the reader of the results, a few words each.
    """

    train: Dataset
    test: Dataset | None = None
    validation: Dataset | None = None
    notes: tuple[str, ...] = ()


def compute_statistics(dataset: Dataset) -> Statistics:
    """Mean and standard deviation of each channel, and the mean image, of ``dataset``.

    The sums are integers, so the result does not depend on the order of the images, nor on how
    they are read. Lazy images are decoded once, in chunks.
    """
    height, width, channels = dataset.image_shape
    total = np.zeros((height, width, channels), np.int64)
    squares = np.zeros((height, width, channels), np.int64)
    for chunk in chunks(dataset.images):
        total += chunk.sum(axis=0, dtype=np.uint32)
        squares += np.multiply(chunk, chunk, dtype=np.uint16).sum(axis=0, dtype=np.uint32)
    count = len(dataset) * height * width
    mean, std = [], []
    for channel in range(channels):
        first, second = int(total[..., channel].sum()), int(squares[..., channel].sum())
        mean.append(first / count)
        std.append(((count * second - first * first) / count**2) ** 0.5 or 1.0)
    mean_image = (total / len(dataset)).astype(np.float32)
    return Statistics(tuple(mean), tuple(std), mean_image, len(dataset))


def fingerprint(dataset: Dataset) -> str:
    """16 hexadecimal digits that identify this data, the same in every process.

    Made from the images, the labels, the class names and, if there are any, targets or annotations.
    Lazy images are not decoded: the name, the size and a checksum of each file (or the name of the
    record file) is used, so a lazy data set and the same in memory have different fingerprints.
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((tuple(dataset.images.shape), dataset.class_names)).encode())
    digest.update(np.ascontiguousarray(dataset.labels).astype("<i4").tobytes())
    if isinstance(dataset.images, LazyImages):
        for text in dataset.images.identity(np.arange(len(dataset))):
            digest.update(text.encode() + b"\0")
    else:
        for chunk in chunks(dataset.images):
            digest.update(np.ascontiguousarray(chunk).data)
    if dataset.targets is not None:
        digest.update(np.ascontiguousarray(dataset.targets).astype("<f4").tobytes())
    if dataset.annotations is not None:
        annotations = np.ascontiguousarray(dataset.annotations)
        digest.update(f"annotations {annotations.dtype.str} {annotations.shape}".encode())
        digest.update(annotations.tobytes())
    return digest.hexdigest()


def materialise(images: Images, memory_limit: int = MEMORY_LIMIT) -> Images:
    """``images`` as a NumPy array if they take at most ``memory_limit`` bytes, else unchanged."""
    if isinstance(images, np.ndarray) or image_bytes(images.shape) > memory_limit:
        return images
    return images[:]


def image_bytes(shape: tuple[int, ...]) -> int:
    """The bytes that uint8 images of this shape take."""
    size = 1
    for length in shape:
        size *= int(length)
    return size


def chunks(images: Images) -> Iterator[np.ndarray]:
    """The images a few at a time, uint8 [n, H, W, C]."""
    # At most 65,536 images at a time: their squares, 255**2 each, then sum to less than 2**32.
    size = max(1, image_bytes(images.shape[1:]) * images.dtype.itemsize)
    step = min(max(1, _CHUNK // size), 65536)
    for start in range(0, len(images), step):
        yield images[start : start + step]


def _check_indices(indices: Any, length: int) -> np.ndarray:
    array = np.asarray(indices)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"indices must be integers [n], got {array.dtype} of shape {array.shape}. "
            "For a mask, pass np.flatnonzero(mask)."
        )
    outside = (array < -length) | (array >= length)
    if outside.any():
        raise IndexError(f"index {array[outside][0]} is outside of {length} images.")
    return np.where(array < 0, array + length, array).astype(np.int64)


def _check_images(name: str, images: Images) -> None:
    missing = [a for a in ("shape", "dtype", "__len__", "__getitem__") if not hasattr(images, a)]
    if missing:
        raise ValueError(
            f"{name}: images must be an array or a lazy sequence of images, got "
            f"{type(images).__name__} without {', '.join(missing)}."
        )
    shape = tuple(images.shape)
    if images.dtype != np.uint8 or len(shape) != 4:
        advice = ""
        if images.dtype != np.uint8:
            advice = " Scale them to 0..255, round, and convert: images.astype(np.uint8)."
        elif len(shape) == 3:
            advice = " Add the channel axis: images[..., None]."
        raise ValueError(
            f"{name}: images must be [N, H, W, C] uint8, got {images.dtype} of shape {shape}."
            + advice
        )
    if 0 in shape:
        raise ValueError(f"{name}: there must be at least one image, got images of shape {shape}.")


def _check_labels(name: str, labels: np.ndarray, count: int, class_names: tuple[str, ...]) -> None:
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int32 or labels.ndim != 1:
        got = f"{getattr(labels, 'dtype', type(labels).__name__)} of shape {np.shape(labels)}"
        raise ValueError(
            f"{name}: labels must be an int32 array [N], got {got}. "
            "Convert them: np.asarray(labels, np.int32)."
        )
    if len(labels) != count:
        raise ValueError(
            f"{name}: each image needs one label, got {count} images and {len(labels)} labels."
        )
    if not isinstance(class_names, tuple) or len(set(class_names)) != len(class_names):
        raise ValueError(
            f"{name}: class names must be a tuple of different names, got {class_names!r}."
        )
    invalid = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(invalid):
        raise ValueError(
            f"{name}: labels must be in 0..{len(class_names) - 1} (there are {len(class_names)} "
            f"class names), got {labels[invalid[0]]} for example {invalid[0]}"
            f"{f' and {len(invalid) - 1} more like it' if len(invalid) > 1 else ''}."
        )


def _check_targets(name: str, targets: np.ndarray, shape: tuple[int, int]) -> None:
    fits = isinstance(targets, np.ndarray) and targets.dtype == np.float32
    if not fits or targets.shape != shape or not np.isfinite(targets).all():
        got = f"{getattr(targets, 'dtype', type(targets).__name__)} of shape {np.shape(targets)}"
        raise ValueError(
            f"{name}: targets must be finite float32 logits [N, K], here {list(shape)}, got {got}. "
            "The teacher must have the same classes and have been applied to the same examples in "
            "the same order."
        )


def _check_annotations(
    name: str, annotations: np.ndarray, targets: np.ndarray | None, count: int
) -> None:
    if not isinstance(annotations, np.ndarray) or annotations.dtype.kind not in "iuf":
        got = getattr(annotations, "dtype", type(annotations).__name__)
        raise ValueError(f"{name}: annotations must be an array of numbers [N, ...], got {got}.")
    if len(annotations) != count or (
        annotations.dtype.kind == "f" and not np.isfinite(annotations).all()
    ):
        raise ValueError(
            f"{name}: annotations must be finite and one for each of {count} examples, got shape "
            f"{annotations.shape}."
        )
    if targets is not None:
        raise ValueError(
            f"{name}: a data set has either a teacher's targets or annotations, since the loss "
            "takes one of them: got both."
        )

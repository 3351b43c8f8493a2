"""Data sets that tensorflow-datasets has prepared on this machine, read without TensorFlow.

Only ArrayRecord files in the data folder are read; nothing is downloaded or prepared.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data.dataset import (
    MEMORY_LIMIT,
    Dataset,
    Images,
    LazyImages,
    Parts,
    materialise,
)
from cnnlab.data.images import decode_image
from cnnlab.spelling import nearest, printable

_SAMPLE = 64  # images of which a checksum is taken
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_TRAIN, _TEST, _VALIDATION = "train", "test", "validation"


class TfdsImages(LazyImages):
    """The images of one split of a prepared data set, read on access.

    All images have the shape of the first.

    Args:
      source: of ``as_data_source``, its images not decoded.
      key: the feature that is the image, uint8 [H, W, C].
      channels: C where the images are files in a record, None where they are arrays or it differs.
      name: the name of the split, for errors and `fingerprint`.
    """

    def __init__(self, source: Any, key: str, channels: int | None, name: str) -> None:
        self._source = source
        self._key = key
        self._channels = channels
        self._name = name
        self.shape = (len(source), *self._image(0).shape)

    def read(self, index: int) -> np.ndarray:
        """Image number ``index``: uint8 [H, W, C]."""
        return _check_image(self._image(index), self.shape[1:], self._name, index)

    @functools.cached_property
    def _checksum(self) -> int:
        """The CRC-32 of images from the first to the last: another one if it is prepared anew."""
        checksum = 0
        for index in np.unique(np.linspace(0, len(self) - 1, _SAMPLE).astype(int)).tolist():
            checksum = zlib.crc32(self._stored(index), checksum)
        return checksum

    def _stored(self, index: int) -> Any:
        """The bytes of a file, or an array uint8 [H, W, C]."""
        return self._source[index][self._key]

    def _image(self, index: int) -> np.ndarray:
        image = self._stored(index)
        if isinstance(image, bytes):
            return decode_image(image, f"{self._name}, number {index},", self._channels)
        return np.asarray(image)

    def identity(self, indices: np.ndarray) -> Iterable[str]:
        """The data set's name, version and split, a checksum of some images, and the positions."""
        yield f"{self._name}, {self._checksum:08x}"
        yield " ".join(map(str, indices))


def read(name: str, data_dir: Path, memory_limit: int = MEMORY_LIMIT) -> Parts:
    """The training part and, where there is one, the test part of a prepared data set.

    Without a split called ``test``, or where its labels are all -1, which is how tfds marks that
    there are none, the one called ``validation`` is the test part. With both, ``validation`` is the
    validation part.

    Args:
      name: "NAME" or "NAME:CONFIG"; the newest prepared version is read.
      data_dir: the folder that tensorflow-datasets prepared it in, the one that holds NAME/.
      memory_limit: parts of more bytes than this are read on access instead of once.

    Raises:
      FileNotFoundError: if it is not prepared there; the message has the command that does it.
      ValueError: if it is not of labelled images of one size, or not in ArrayRecord files.
    """
    name, _, config = name.replace("/", ":", 1).partition(":")
    folder = _find_prepared(name, config, data_dir)
    import tensorflow_datasets  # noqa: PLC0415 slow to import, and optional

    builder = tensorflow_datasets.builder_from_directory(str(folder))
    file_format = builder.info.file_format
    if file_format is None or file_format.value != "array_record":
        full = folder.parent.relative_to(data_dir).as_posix()
        raise ValueError(
            f"{folder} must hold ArrayRecord files, which can be read without TensorFlow, got "
            f"{file_format.value if file_format else 'none'}. {_preparation_advice(full, data_dir)}"
        )
    splits = builder.info.splits
    if _TRAIN not in splits:
        raise ValueError(f"{folder} must have a split {_TRAIN!r}, got {', '.join(splits)}.")
    image_key, label_key = _keys(builder.info, folder)
    parts, notes = {}, [f"tfds {builder.info.full_name}"]
    for split in (_TRAIN, _TEST, _VALIDATION):
        if split in splits:
            dataset = _part(builder, split, image_key, label_key, memory_limit)
            if dataset is None and split == _TRAIN:
                raise ValueError(f"{folder} must have labels, but all of {_TRAIN!r} are -1.")
            if dataset is None:
                notes.append(f"its split {split!r} passed over: no labels, all are -1")
            else:
                parts[split] = dataset
    test = next((split for split in (_TEST, _VALIDATION) if split in parts), None)
    validation = _VALIDATION if test == _TEST and _VALIDATION in parts else None
    notes += [f"test is its split {test!r}"] if test else []
    notes += [f"validation is its split {validation!r}"] if validation else []
    return Parts(
        parts[_TRAIN],
        parts[test] if test else None,
        parts[validation] if validation else None,
        tuple(notes),
    )


def _find_prepared(name: str, config: str, data_dir: Path) -> Path:
    root = data_dir / name
    folder = root / config if config else root
    versions = _versions(folder)
    if not versions and not config:
        configs = sorted(p.name for p in _folders(root) if _versions(p))
        if len(configs) == 1:
            folder = root / configs[0]
            versions = _versions(folder)
        elif configs:
            raise ValueError(
                f"tfds:{name} is prepared in several configs under {root}: {', '.join(configs)}. "
                f"Name one: tfds:{name}:{configs[0]}."
            )
    if not versions:
        raise FileNotFoundError(_not_prepared_message(name, config, data_dir))
    return max(versions, key=lambda p: tuple(int(n) for n in p.name.split(".")))


def _versions(folder: Path) -> list[Path]:
    return [
        p
        for p in _folders(folder)
        if _VERSION.fullmatch(p.name) and (p / "dataset_info.json").is_file()
    ]


def _folders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []


def _not_prepared_message(name: str, config: str, data_dir: Path) -> str:
    import tensorflow_datasets  # noqa: PLC0415 slow to import, and optional

    here = [p.name for p in _folders(data_dir) if not p.name.startswith(".")]
    text = f"tfds:{name}{f':{config}' if config else ''} is not prepared in {data_dir}"
    text += f" (which holds {', '.join(sorted(here)[:10])})." if here else "."
    known = tensorflow_datasets.list_builders(with_community_datasets=False)
    if name not in known:
        hint = nearest(name, [*here, *known])
        return f"{text} tensorflow-datasets has no data set of this name.{hint}"
    return f"{text} {_preparation_advice(f'{name}/{config}' if config else name, data_dir)}"


def _preparation_advice(full: str, data_dir: Path) -> str:
    return (
        "Nothing is downloaded automatically. To prepare it, run once:\n"
        f'  python -c "import tensorflow_datasets as tfds; tfds.builder({full!r}, '
        f"data_dir={str(data_dir)!r}, file_format='array_record').download_and_prepare()\"\n"
        "This downloads the data from its publisher. tensorflow-datasets' own builders need "
        "TensorFlow for it (pip install tensorflow, also in another environment); reading "
        "prepared data does not."
    )


def _keys(info: Any, folder: Path) -> tuple[str, str]:
    import tensorflow_datasets  # noqa: PLC0415 slow to import, and optional

    kinds = tensorflow_datasets.features
    features = dict(info.features)
    images = [
        key
        for key, feature in features.items()
        if isinstance(feature, (kinds.Image, kinds.Tensor))
        and len(feature.shape) == 3
        and feature.np_dtype == np.uint8
    ]
    labels = [key for key, feature in features.items() if isinstance(feature, kinds.ClassLabel)]
    supervised = info.supervised_keys
    if supervised and len(supervised) == 2:
        images.sort(key=lambda key: key != supervised[0])
        labels.sort(key=lambda key: key != supervised[1])
    else:
        images.sort(key=lambda key: key != "image")
        labels.sort(key=lambda key: key != "label")
    if not images or not labels:
        raise ValueError(
            f"{folder} must have a uint8 image [H, W, C] and a class label for each example, got "
            f"{', '.join(f'{k}: {type(f).__name__}' for k, f in features.items())}."
        )
    return images[0], labels[0]


def _part(
    builder: Any, split: str, image_key: str, label_key: str, memory_limit: int
) -> Dataset | None:
    """The examples of a split; None where it has no labels, which tfds marks by -1."""
    name = f"tfds {builder.info.full_name} {split}"
    source = _without_decoding(builder, split, image_key, label_key)
    if not len(source):
        raise ValueError(f"{name} has no example.")
    labels = np.array([example[label_key] for example in source], np.int32)
    if (labels == -1).all():
        return None
    class_names = tuple(map(printable, builder.info.features[label_key].names))
    channels = builder.info.features[image_key].shape[-1]
    lazy: Images = TfdsImages(source, image_key, channels, name)
    return Dataset(materialise(lazy, memory_limit), labels, class_names, builder.info.name)


def _without_decoding(builder: Any, split: str, image_key: str, label_key: str) -> Any:
    """The examples of a split, image files left as bytes and only the label decoded.

    tfds itself opens images of any format that Pillow has, see ``images.FORMATS``.
    """
    import tensorflow_datasets  # noqa: PLC0415 slow to import, and optional

    features = dict(builder.info.features)
    decoded = {label_key}
    if not isinstance(features[image_key], tensorflow_datasets.features.Image):
        decoded.add(image_key)
    decoders = {key: _skip(feature) for key, feature in features.items() if key not in decoded}
    return builder.as_data_source(split=split, decoders=decoders or None)


def _skip(feature: Any) -> Any:
    import tensorflow_datasets  # noqa: PLC0415 slow to import, and optional

    if isinstance(feature, tensorflow_datasets.features.FeaturesDict):
        return {key: _skip(inner) for key, inner in feature.items()}
    if isinstance(feature, tensorflow_datasets.features.Sequence):
        return _skip(feature.feature)
    return _NotDecoded()


class _NotDecoded:
    """A decoder of tfds that leaves a feature as it is in the record."""

    def setup(self, *, feature: Any) -> None:
        """Takes what the feature is; not used."""

    def decode_example_np(self, example: Any) -> Any:
        """The feature of an example, as it is."""
        return example

    decode_batch_example_np = decode_ragged_example_np = decode_example_np


def _check_image(image: Any, shape: tuple[int, ...], name: str, index: int) -> np.ndarray:
    image = np.asarray(image)
    if image.shape != shape or image.dtype != np.uint8:
        raise ValueError(
            f"{name}: images must be of one size, uint8 {shape} as the first is; number {index} "
            f"is {image.dtype} {image.shape}. Lay the images out in folders and load them with "
            "folder and image_size instead."
        )
    return image

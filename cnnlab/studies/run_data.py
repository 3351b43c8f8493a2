"""The data of a run: the images that it was trained and tested on, whatever was added since.

A run directory holds a ``DataRecord``, with class names, statistics and a fingerprint of each image
of each part. Everything that reads a run takes its data from here.
"""

import pathlib
import warnings

import numpy as np

from cnnlab import data
from cnnlab.data import Dataset, Features, LazyImages, Splits
from cnnlab.data.dataset import MEMORY_LIMIT
from cnnlab.data.record import (
    DataChangedError,
    DataRecord,
    PartRecord,
    fingerprints,
    pixel_fingerprints,
)
from cnnlab.run_directory import DATA, ResumeError, read_config, read_file
from cnnlab.studies.build import load_data
from cnnlab.studies.network_sources import source_files
from cnnlab.studies.settings import Training

HISTORY = "learned_from"
"""In config.json: how the networks that a training started from were trained, the latest first."""

_DATA_FIELDS = (
    *("dataset", "data_dir", "validation", "split_seed", "per_class", "fraction", "classes"),
    *("image_size", "on_unreadable"),
)


def data_settings(config: Training) -> tuple[object, ...]:
    """The settings that say which images are in which part."""
    return tuple(getattr(config, name) for name in _DATA_FIELDS)


class RunData:
    """The data that an experiment has read, each with a record for what trains on them."""

    def __init__(self) -> None:
        self._records: dict[tuple[object, ...], DataRecord] = {}  # by the data's settings

    def load(self, config: Training, run: pathlib.Path | None) -> Splits:
        """The data that the config names.

        Args:
          config: the settings.
          run: that goes on, whose own images they are, whatever was added since; None for a new
            one, or other data than the run's own.
        """
        kept = None if run is None else read_file(run, DATA)
        if kept is not None:
            assert run is not None
            record = DataRecord.read(run / DATA, kept)
            splits = load_recorded(config, record, f"the run in {run}")
        else:
            splits = load_data(config)
            record = DataRecord.of(splits)
        self._records[data_settings(config)] = record
        return splits

    def record(self, config: Training, train: Dataset | None = None) -> DataRecord | None:
        """The record of the data that were loaded for the config.

        Args:
          config: the settings.
          train: what is trained on, if not the whole training part; the experiment may have made
            other data of it, of which there is no record.
        """
        record = self._records.get(data_settings(config))
        if record is None or train is None:
            return record
        return None if isinstance(train, Features) else record.trained_on(train)

    def files(self, config: Training, train: Dataset | None = None) -> dict[str, bytes]:
        """What a run directory keeps: the record of these data, if there is one, and its sources.

        These are the Python files of a network of one's own.
        """
        record = self.record(config, train)
        sources = source_files(config)
        return sources if record is None else {DATA: record.write(), **sources}


def read_record(directory: pathlib.Path, name: str = DATA) -> DataRecord:
    """What the run in ``directory`` keeps of its data, or of other data in the file ``name``.

    Raises:
      ResumeError: if it keeps nothing, or what it keeps is gone, damaged or of another run.
      ValueError: if the file of a run of an earlier version is damaged.
    """
    kept = read_file(directory, name)
    if kept is None:
        raise ResumeError(
            f"the run in {directory} has no {name}, which says on which images it has trained and "
            "how they are normalised: the run is one of an earlier version, or it trained on data "
            "that its experiment made. Train anew."
        )
    return DataRecord.read(pathlib.Path(directory) / name, kept)


def history_file(index: int) -> str:
    """The file in a run directory with the record of the data of training ``index`` before it."""
    return f"data-before-{index + 1}.npz"


def read_earlier_records(directory: pathlib.Path) -> tuple[DataRecord, ...]:
    """The records of the trainings that a run's networks had before, the latest first.

    Raises:
      ResumeError: if there is no run, or a file is gone, damaged or that of another run.
    """
    names = map(history_file, range(len(read_config(directory).get(HISTORY, []))))
    return tuple(read_record(directory, name) for name in names)


def load_recorded(config: Training, record: DataRecord, whose: str) -> Splits:
    """The parts of the record, read from where the config says.

    Args:
      config: of the run; its data set, its folder and how images are read.
      record: what the run keeps of its data.
      whose: in the message, such as "the run in runs/digits-1".

    Raises:
      DataChangedError: if images of the record are gone or have another class.
      FileNotFoundError: if the files are not there.
    """
    published = data.read_parts(
        config.dataset,
        config.data_dir,
        image_size=config.image_size,
        on_unreadable=config.on_unreadable,
        memory_limit=0 if record.by_file else MEMORY_LIMIT,
    )
    try:
        return record.find(published)
    except DataChangedError as error:
        raise DataChangedError(f"{whose}: {error}") from error


def check_unseen(record: DataRecord, own: Splits | None, test: Dataset, whose: str) -> None:
    """Refuses a network that has trained on images of a test part.

    Images of data sets that both stay on the disk are compared by file names and contents, whatever
    shape they are brought to; others pixel by pixel, where they have the same shape. Where they
    have not, and where pixels are needed and ``own`` is not given, there is nothing to compare:
    nothing is refused, and for a data set of the same name, or with the same named classes, there
    is a warning.
    An image that the network's own test part holds as well is a twin within the data set: its split
    has held it out.

    Args:
      record: of the data that the network was trained on.
      own: these data, for the pixels of images that the record knows by their files; or None.
      test: what it must not have seen.
      whose: in the message, such as "the network of runs/digits-1".

    Raises:
      ValueError: if it has.
    """
    parts = record.parts["train"], record.parts["test"]
    if isinstance(test.images, LazyImages) and all(part.by_file for part in parts):
        trained, held_out = (part.fingerprints for part in parts)
        tested = fingerprints(test.images)
    elif record.image_shape != test.image_shape:
        named = not all(name.isdecimal() for name in record.class_names)
        same_classes = named and set(record.class_names) == set(test.class_names)
        if record.name == test.name or same_classes:
            warnings.warn(
                f"whether {whose} has trained on images of the test part is not known: it was "
                f"trained on {record.name} at {record.image_shape}, and is tested on {test.name} "
                f"at {test.image_shape}. Split both with the same seed.",
                stacklevel=2,
            )
        return
    else:
        datasets = (None, None) if own is None else (own.train, own.test)
        trained, held_out = map(_pixels, parts, datasets)
        tested = pixel_fingerprints(test.images)
    seen = len(np.setdiff1d(np.intersect1d(tested, trained), held_out))
    if seen:
        raise ValueError(
            f"{whose} must not have trained on images that are tested on, but it has on {seen} of "
            f"the {len(test)}. Its data: {record.name}, {record.notes}. Give the same --split-seed "
            "and files, so that both have the same test part, or another network."
        )


def _pixels(part: PartRecord, dataset: Dataset | None) -> np.ndarray:
    """The fingerprints of a part's pixels; none where they are not known."""
    if not part.by_file:
        return part.fingerprints
    return np.zeros(0, np.uint64) if dataset is None else pixel_fingerprints(dataset.images)

"""The data that trained networks have seen: their history, and test images among it."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from cnnlab.data import Dataset
from cnnlab.data.record import DataRecord
from cnnlab.run_directory import read_config
from cnnlab.spelling import some
from cnnlab.studies.run_data import (
    HISTORY,
    check_unseen,
    load_recorded,
    read_earlier_records,
    read_record,
)
from cnnlab.studies.settings import Training, from_json, to_json
from cnnlab.studies.trained import TrainedNetworks, check_finished, load_run, run_config


class PastTraining(NamedTuple):
    """A training that networks have had.

    Attributes:
      config: as JSON.
      record: of its data.
    """

    config: dict[str, Any]
    record: DataRecord


def training_history(
    directory: pathlib.Path, data_dir: pathlib.Path | None = None
) -> list[PastTraining]:
    """The trainings of a run's networks: its own, then those before it.

    Args:
      directory: of the run.
      data_dir: where its own data are, if not where the run found them.
    """
    directory = pathlib.Path(directory)
    own = PastTraining(to_json(run_config(directory, data_dir)), read_record(directory))
    configs = read_config(directory).get(HISTORY, [])
    return [own, *map(PastTraining, configs, read_earlier_records(directory))]


def load_unseen_run(
    directory: str | pathlib.Path,
    test: Dataset,
    data_dir: pathlib.Path | None = None,
    member: int = 0,
) -> TrainedNetworks:
    """A network of a finished run that has not trained on images of a test part.

    Args:
      directory: of the run.
      test: what it must not have seen: the test part of those who learn from it.
      data_dir: where its data set's files are; None for where the run found them.
      member: which of its networks, from 0 in the order of their seeds.

    Raises:
      ResumeError: if there is no run, or it is not finished.
      CheckpointError: if its checkpoint is gone or damaged.
      ValueError: if it has no such member, or has trained on images of ``test``.
    """
    directory = pathlib.Path(directory)
    check_finished(directory)
    networks = load_run(directory, data_dir=data_dir)
    networks.check_unseen(test)
    return networks.member(member)


def check_history_unseen(directory: pathlib.Path, test: Dataset, say: Callable[[str], Any]) -> None:
    """Refuses networks that had trained on images of a test part before their latest training.

    Args:
      directory: of their run.
      test: what they must not have seen.
      say: prints a line where the data of an earlier training are gone.

    Raises:
      ValueError: if they have.
    """
    for fields, record in training_history(directory)[1:]:
        config = from_json(Training, fields)
        classes = "" if config.classes is None else f", {some(config.classes)}"
        whose = f"the network that {directory} began with, of {config.dataset}{classes},"
        own = None
        if record.by_file:
            try:
                own = load_recorded(config, record, whose)
            except (FileNotFoundError, ValueError) as error:
                say(f"note: {whose} is compared with the test part by file names only: {error}")
        check_unseen(record, own, test, whose)

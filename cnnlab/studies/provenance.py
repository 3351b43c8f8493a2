"""The data that trained networks have seen: their history, and test images among it."""

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from cnnlab.data import Dataset, LazyImages, Splits
from cnnlab.run_directory import read_config
from cnnlab.studies.build import load_data
from cnnlab.studies.settings import Training, from_json, to_json
from cnnlab.studies.trained import TrainedNetworks, check_finished, load_run, run_config

HISTORY = "learned_from"
"""In config.json: how the networks that a training started from were trained, the latest first."""


def training_history(
    directory: pathlib.Path, data_dir: pathlib.Path | None = None
) -> list[dict[str, Any]]:
    """The trainings of a run's networks as JSON configs: its own, then those before it.

    Args:
      directory: of the run.
      data_dir: where its own data are, if not where the run found them.
    """
    return [to_json(run_config(directory, data_dir)), *read_config(directory).get(HISTORY, [])]


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
    assert networks.splits is not None
    check_unseen(networks.splits, test, f"the network of {directory}")
    return networks.member(member)


def check_unseen(own: Splits, test: Dataset, whose: str) -> None:
    """Refuses a network that has trained on images of a test part.

    Images of data sets that both stay on the disk are compared by file names and sizes, whatever
    shape they are brought to; others byte by byte, where they have the same shape. Where they have
    not there is nothing to compare, and nothing is refused: that the network of another image size
    has not seen the test part is then for the caller to know. An image that the network's own test
    part holds as well is a twin within the data set: its split has held it out.

    Args:
      own: the data that the network was trained on.
      test: what it must not have seen.
      whose: in the message, such as "the network of runs/digits-1".

    Raises:
      ValueError: if it has.
    """
    lazy = all(isinstance(part.images, LazyImages) for part in (own.train, own.test, test))
    if not lazy and own.train.image_shape != test.image_shape:
        return
    trained, held_out, tested = (
        _identities(part.images, lazy) for part in (own.train, own.test, test)
    )
    seen = len((tested & trained) - held_out)
    if seen:
        raise ValueError(
            f"{whose} must not have trained on images that are tested on, but it has on {seen} of "
            f"the {len(test)}. Its data: {own.train.name}, {own.notes}. Give the same --split-seed "
            "and files, so that both have the same test part, or another network."
        )


def check_history_unseen(directory: pathlib.Path, test: Dataset, say: Callable[[str], Any]) -> None:
    """Refuses networks that had trained on images of a test part before their latest training.

    Args:
      directory: of their run.
      test: what they must not have seen.
      say: prints a line where the data of an earlier training are gone.

    Raises:
      ValueError: if they have.
    """
    for fields in training_history(directory)[1:]:
        config = from_json(Training, fields)
        classes = "" if config.classes is None else f", {', '.join(config.classes)}"
        data = f"{config.dataset}{classes}"
        try:
            own = load_data(config)
        except FileNotFoundError as error:
            say(f"note: whether {directory} had seen the test part in {data} is unknown: {error}")
        else:
            check_unseen(own, test, f"the network that {directory} began with, of {data},")


def _identities(images: Any, lazy: bool) -> set[Any]:
    """A key for each image that tells it from others."""
    if lazy:
        size = repr(images.shape[1:])  # that they are brought to, which files say as well
        named = (images.identity(np.array([i])) for i in range(len(images)))
        return {tuple(text for text in each if text != size) for each in named}
    each = (np.ascontiguousarray(images[i]).tobytes() for i in range(len(images)))
    return {hashlib.blake2b(image, digest_size=16).digest() for image in each}

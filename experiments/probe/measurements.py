"""Probes and neighbours on features: which test images are right, as flat dictionaries of arrays.

A measurement of one network has by "correct/METHOD/STAGE" which test images are right, bool [N]; by
"penalty/METHOD/STAGE" a probe's penalty; by "near/METRIC/STAGE" the neighbours of the queries; and
by "own/STAGE" which images the network itself gets right.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnlab.data import Dataset
from cnnlab.studies.settings import parse_pool
from cnnlab.train import Recipe, TrainState
from cnnlab.transfer import neighbours, probes
from cnnlab.transfer.features import features, pixels

from .config import PIXELS, Config

Measurement = dict[str, np.ndarray]

Measurements = Mapping[str, Sequence[Measurement]]
"""network -> the measurement of each member, or of the pixels."""

Correct = dict[str, dict[str, dict[str, np.ndarray]]]
"""network -> method -> stage -> which test images are right, bool ``[R, N]``; the network "pixels"
has one stage of that name and R = 1."""


class Images(NamedTuple):
    """The images of the study.

    Attributes:
      train: that probes learn from and neighbours are among.
      validation: that penalties are chosen on.
      test: that accuracies are of.
      queries: int ``[Q]``, those of the test images in the figure of neighbours.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    queries: np.ndarray

    @property
    def parts(self) -> tuple[Dataset, Dataset, Dataset]:
        """Training, validation and test images."""
        return self.train, self.validation, self.test


def first_of_classes(dataset: Dataset, count: int) -> np.ndarray:
    """The first image of each class, of the first ``count`` classes that have one."""
    _, first = np.unique(dataset.labels, return_index=True)
    return np.asarray(first[:count])


def pixel_features(images: Images) -> list[Measurement]:
    """The pixels of each part of the images, as a stage."""
    return [{PIXELS: pixels(part)} for part in images.parts]


def stage_features(
    config: Config, recipe: Recipe, states: TrainState, images: Images
) -> list[Measurement]:
    """For each part of the images, stage -> features ``[N, D]`` of one network ``[1, ...]``."""
    stages, pool = config.stages or None, parse_pool(config.pool)
    parts = [features(recipe, states, part, stages, pool=pool) for part in images.parts]
    return [
        {stage: array[0].reshape(array.shape[1], -1) for stage, array in each.items()}
        for each in parts
    ]


def measure(
    config: Config, images: Images, last: str, parts: Sequence[Mapping[str, np.ndarray]]
) -> Measurement:
    """The measurement of one network's features.

    Args:
      config: which probes, and how many neighbours.
      images: that the features are of.
      last: the last stage of the network, whose features are its logits.
      parts: stage -> features ``[N, D]`` of the training, validation and test images.
    """
    train, validation, test = parts
    labels, test_labels = images.train.labels, images.test.labels
    classes = images.train.num_classes
    result: Measurement = {}
    for stage, known in train.items():
        for kind in config.probes:
            probe = probes.fit_probe(
                known, labels, validation[stage], images.validation.labels, classes, kind=kind
            )
            result[f"correct/{kind}/{stage}"] = probe.linear.correct(test[stage], test_labels)
            result[f"penalty/{kind}/{stage}"] = np.asarray(probe.penalty)
        most = max(config.neighbours, config.shown)
        for metric in neighbours.METRICS:
            near, _ = neighbours.neighbours(test[stage], known, most, metric)
            votes = neighbours.vote(labels[near[:, : config.neighbours]], classes)
            result[f"correct/{metric}/{stage}"] = votes == test_labels
            result[f"near/{metric}/{stage}"] = near[images.queries, : config.shown]
        if known.shape[1] == classes and stage == last:
            result[f"own/{stage}"] = test[stage].argmax(1) == test_labels
    return result


def correct_by_stage(measurements: Measurements) -> Correct:
    """Which test images are right, of R networks of each kind; see ``Correct``."""
    correct: Correct = {}
    for network, members in measurements.items():
        for key in members[0]:
            kind, _, name = key.partition("/")
            if kind == "correct":
                method, _, stage = name.partition("/")
                right = np.stack([each[key] for each in members])
                correct.setdefault(network, {}).setdefault(method, {})[stage] = right
    return correct


def own_correct(members: Sequence[Measurement], last: str) -> np.ndarray | None:
    """Which test images the networks themselves get right, bool ``[R, N]``.

    None where their logits are not among the stages, or not of the data's classes.
    """
    key = f"own/{last}"
    return np.stack([each[key] for each in members]) if key in members[0] else None


def penalties(measurements: Measurements) -> dict[str, Any]:
    """By network and "METHOD/STAGE": the penalty of each member."""
    return {
        network: {
            key.partition("/")[2]: [float(each[key]) for each in members]
            for key in members[0]
            if key.startswith("penalty/")
        }
        for network, members in measurements.items()
    }

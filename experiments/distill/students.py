"""The recipes, losses and training data of students."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlab import losses
from cnnlab.data import Dataset, Splits
from cnnlab.data.splits import class_index
from cnnlab.losses import TargetLoss
from cnnlab.studies import build
from cnnlab.studies.study import Study
from cnnlab.studies.teachers import Teacher, cached_teacher_logits
from cnnlab.train import Recipe
from cnnlab.transfer import live_teacher, with_teacher_targets, without_classes

from .config import Config, Kind


def missing_classes(config: Config, train: Dataset) -> list[int]:
    """The indices of the classes that are left out of the transfer set.

    Raises:
      ValueError: for an unknown class, or if none is left.
    """
    if config.without:
        without_classes(train, config.without)
    return sorted({class_index(train, name) for name in config.without})


def student_recipe(
    s: Study[Config], kind: Kind, teacher: Teacher, splits: Splits, missing: Sequence[int]
) -> tuple[Recipe, Dataset]:
    """The recipe and the training data of the students of a kind.

    Args:
      s: the study, where the teacher's logits are kept.
      kind: of students.
      teacher: of all distilled ones.
      splits: the data.
      missing: the indices of the classes that a reduced transfer set lacks.
    """
    config, train = s.config, splits.train
    if kind.temperature is None:
        train = without_classes(train, missing) if kind.reduced else train
        return build.make_recipe(config, train), train

    options: dict[str, Any] = {"rule": config.rule, "temperature": kind.temperature}
    live = config.teaching == "live"
    if not live:
        logits = cached_teacher_logits(s, teacher, "train", train, **options)
        train = with_teacher_targets(train, logits)
    if kind.reduced:
        train = without_classes(train, missing)
    if config.unlabelled:
        train = dataclasses.replace(train, labels=np.zeros_like(train.labels))
    recipe = build.make_recipe(config, train)
    recipe = dataclasses.replace(recipe, loss=student_loss(config, kind.temperature))
    if live:
        outputs = live_teacher(teacher.networks, recipe, train, **options)
        recipe = dataclasses.replace(recipe, teacher=outputs)
    return recipe, train


def student_loss(config: Config, temperature: float) -> TargetLoss:
    """The loss of distilled students: T² KL and cross-entropy, or regression on the logits.

    Raises:
      ValueError: for a temperature or a weight out of range.
    """
    weight = 1.0 if config.unlabelled else config.weight
    if config.matching == "logits":
        return losses.logits_matching(weight, centred=True, label_smoothing=config.label_smoothing)
    return losses.distillation(temperature, weight, label_smoothing=config.label_smoothing)

"""The settings of ``experiments.distill``: the teacher's training, and the kinds of students."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import tyro

from cnnlab.studies.settings import Training, refuse_unused


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train a teacher, students alone and students distilled from it, and count their errors.

    Options with "teacher" in their name hold for the teacher in place of those without; all others
    hold for both. The defaults are a quick setting for digits.
    """

    teachers: int = 3
    """Networks of the teacher; several are an ensemble. Their seeds follow the students'."""
    teacher_run: pathlib.Path | None = None
    """The run of experiments.train with the networks of the teacher, instead of training any."""
    teacher_model: str = "resnet8"
    """As --model."""
    teacher_model_options: tuple[str, ...] = ()
    """As --model-options."""
    teacher_epochs: int = 40
    """Passes over the training images."""
    teacher_learning_rate: float = 0.1
    """The highest one."""
    teacher_weight_decay: float = 5e-4
    """On kernels."""
    teacher_crop: int = 1
    """As --crop."""
    teacher_flip: bool = False
    """As --flip."""

    rule: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the networks of the teacher."""
    matching: Literal["soft", "logits"] = "soft"
    """Soft targets, or regression on the logits, the mean over the classes taken off."""
    temperatures: tuple[float, ...] = (4.0,)
    """Of soft targets; students are distilled at each."""
    weight: float = 0.9
    """Of the teacher in the loss; the labels have the rest."""
    teaching: Literal["cached", "live"] = "cached"
    """The teacher's logits of each image, or of each image as the student sees it, augmented."""
    unlabelled: bool = False
    """Distilled students are shown no labels: the weight is 1."""
    without: tuple[str, ...] = ()
    """Distil on a transfer set without these classes as well, and correct their bias."""
    control: bool = False
    """With --without: also students that learn the labels of this transfer set."""

    model: str = "mlp"
    model_options: tuple[str, ...] = ("widths=(64,)",)
    """Further settings of the model; of another model than mlp none by default."""
    epochs: int = 100
    crop: int = 0
    weight_decay: float = 0.0
    learning_rate: float = 0.05
    seeds: int = 5
    keep_every: tyro.conf.Suppress[int | None] = None


class Kind(NamedTuple):
    """One way to train students."""

    name: str  # and of its folder
    temperature: float | None  # of the teacher; None for labels alone
    reduced: bool = False  # on the transfer set without the missing classes


def check(config: Config) -> None:
    """Refuses settings that contradict each other.

    Raises:
      ValueError: for such settings.
    """
    if config.control and not config.without:
        raise ValueError("control needs --without: it learns from what is left. Leave it out.")
    if not config.temperatures:
        raise ValueError("temperatures must be one or more, got none.")
    if config.teachers < 1:
        raise ValueError(f"teachers must be at least 1 network, got {config.teachers}.")
    if config.teacher_run is not None:
        names = [field.name for field in dataclasses.fields(config)]
        unused = [name for name in names if name.startswith("teacher") and name != "teacher_run"]
        refuse_unused(config, unused, "the networks of --teacher-run are trained already")


def teacher_training(config: Config) -> Training:
    """How the teacher is trained: its folder is a run of experiments.train."""
    shared = {field.name: getattr(config, field.name) for field in dataclasses.fields(Training)}
    return dataclasses.replace(
        Training(**shared),
        model=config.teacher_model,
        model_options=config.teacher_model_options,
        epochs=config.teacher_epochs,
        learning_rate=config.teacher_learning_rate,
        weight_decay=config.teacher_weight_decay,
        crop=config.teacher_crop,
        flip=config.teacher_flip,
        seeds=config.teachers,
        seed=config.seed + config.seeds,
    )


def student_kinds(config: Config, missing: Sequence[int]) -> list[Kind]:
    """The ways to train students, in the order in which they are reported.

    Args:
      config: the temperatures, the matching, the control.
      missing: the indices of the classes that a second transfer set lacks.
    """
    alone = Kind("alone", None)
    distilled = [Kind("distilled-logits", 1.0)]
    if config.matching == "soft":
        distilled = [Kind(f"distilled-T{t:g}", t) for t in dict.fromkeys(config.temperatures)]
    kinds = [alone, *distilled]
    if missing:
        without = "-without-" + "-".join(map(str, missing))
        repeated = [alone, *distilled] if config.control else distilled
        kinds += [Kind(kind.name + without, kind.temperature, True) for kind in repeated]
    return kinds

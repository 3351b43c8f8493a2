"""The teacher of a study's students: networks trained for it or of a finished run, their outputs.

teacher = teachers.train_teacher(s, config, splits)
logits = teachers.cached_teacher_logits(s, teacher, "train", splits.train)
student_data = with_teacher_targets(splits.train, logits)
"""

import dataclasses
import pathlib
from typing import Any, Literal

import numpy as np

from cnnlab.data import Dataset, Splits, fingerprint
from cnnlab.files import read_checked_json
from cnnlab.report.statistics import over_seeds
from cnnlab.run_directory import RESULT
from cnnlab.studies import build, trained
from cnnlab.studies.settings import Training
from cnnlab.studies.study import Study
from cnnlab.train import Recipe, TrainState, predict
from cnnlab.transfer import teacher_logits

ONE_TEACHER = "students of one teacher; its own variance is not in the intervals"
"""The note of every claim about students that have the same teacher."""


@dataclasses.dataclass(frozen=True)
class Teacher:
    """One network, or an ensemble of one architecture.

    Attributes:
      recipe: how it was trained.
      states: ``[M, ...]``.
      name: such as "3 x resnet8".
      seconds: of training; None where they are not known.
    """

    recipe: Recipe
    states: TrainState
    name: str
    seconds: float | None

    @property
    def networks(self) -> list[tuple[Recipe, TrainState]]:
        """The teacher as the functions of ``transfer.distillation`` take it."""
        return [(self.recipe, self.states)]


def train_teacher(s: Study[Any], config: Training, splits: Splits) -> Teacher:
    """Trains a teacher in the study's folder "teacher", goes on there, or reads it."""
    recipe = build.make_recipe(config, splits.train)
    result = s.train("teacher", recipe, splits.train, splits.validation, config=config)
    return Teacher(recipe, result.states, _name(config), round(result.seconds, 2))


def load_teacher(directory: pathlib.Path, data_dir: pathlib.Path | None, splits: Splits) -> Teacher:
    """The networks of a finished run as a teacher.

    Args:
      directory: of the run.
      data_dir: where its data set's files are; None for where the run found them.
      splits: the data of its students.

    Raises:
      ResumeError: if there is no run.
      ValueError: if its test part is another one: it may have been trained on the students'.
    """
    trained.check_finished(directory)
    networks = trained.load_run(directory, data_dir=data_dir)
    assert networks.config is not None and networks.splits is not None
    own = networks.splits
    if fingerprint(own.test) != fingerprint(splits.test):
        raise ValueError(
            f"the teacher in {directory} must have the test part of its students, or it may have "
            f"learned from it. The teacher's: {own.test.name}, {own.notes}. The students': "
            f"{splits.test.name}, {splits.notes}. Give the same data set, classes and splits."
        )
    result = pathlib.Path(directory) / RESULT
    seconds = read_checked_json(result).get("seconds") if result.is_file() else None
    return Teacher(networks.recipe, networks.states, _name(networks.config), seconds)


def cached_teacher_logits(
    s: Study[Any],
    teacher: Teacher,
    part: str,
    dataset: Dataset,
    *,
    rule: Literal["logits", "probabilities"] = "logits",
    temperature: float = 1.0,
) -> np.ndarray:
    """The teacher's logits of a part of the data, float32 ``[N, K]``.

    They are kept in the study's folder "targets", so that a resume goes on from the same bits.

    Args:
      s: the study.
      teacher: whose logits.
      part: the name of the file.
      dataset: the images.
      rule: as of ``transfer.teacher_logits``.
      temperature: as of ``transfer.teacher_logits``.
    """
    name = part if rule == "logits" else f"{part}-{rule}-T{temperature:g}"
    earlier = s.directory / "targets" / f"{name}.npy"
    if earlier.is_file():  # an earlier version wrote it, without a checksum
        kept: np.ndarray = np.load(earlier)
        return kept

    def compute() -> dict[str, np.ndarray]:
        return {
            "logits": teacher_logits(teacher.networks, dataset, rule=rule, temperature=temperature)
        }

    return s.cached(f"targets/{name}.npz", compute)["logits"]


def network_accuracies(teacher: Teacher, dataset: Dataset) -> dict[str, Any]:
    """The accuracy of each of the teacher's networks alone, as ``over_seeds`` gives it."""
    answers = predict(teacher.recipe, teacher.states, dataset).argmax(-1)
    return over_seeds((answers == dataset.labels).mean(axis=1))


def _name(config: Training) -> str:
    return f"{config.seeds} x {config.model_name}" if config.seeds > 1 else config.model_name

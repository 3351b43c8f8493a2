"""Whom students learn from: networks trained for it, or those of a finished run."""

import dataclasses
import io
import pathlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from experiments.config import Training, load_data, make_recipe
from experiments.finished import config_of, networks_of
from experiments.parts import Whole, train_part

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset, Splits
    from cnnlab.train import Recipe, TrainState

AnyConfig = TypeVar("AnyConfig", bound=Training)


class Teacher(NamedTuple):
    """One network, or an ensemble of one architecture.

    Attributes:
      recipe: how it was trained.
      states: ``[M, ...]``.
      name: such as "3 x resnet8".
      seconds: of training, if known.
    """

    recipe: "Recipe"
    states: "TrainState"
    name: str
    seconds: float | None


def own_options(config: AnyConfig) -> AnyConfig:
    """The config, where options that are the default model's are not taken for another model's."""
    default = {field.name: field.default for field in dataclasses.fields(config)}
    if config.model == default["model"] or config.model_options != default["model_options"]:
        return config
    return dataclasses.replace(config, model_options=())


def trained(config: Training, whole: Whole, splits: "Splits") -> Teacher:
    """Trains a teacher in the whole's folder "teacher", goes on there, or reads it."""
    recipe = make_recipe(config, splits.train)
    part = train_part(config, whole, "teacher", recipe, splits.train, splits.validation)
    return Teacher(recipe, part.states, _name(config), round(part.seconds, 2))


def of_run(directory: pathlib.Path, data_dir: pathlib.Path | None, splits: "Splits") -> Teacher:
    """The networks of a finished run of experiments.train.

    Args:
      directory: of the run.
      data_dir: where its data set's files are; None for where the run found them.
      splits: what its students learn from.

    Raises:
      ResumeError: if there is no run.
      ValueError: if its test part is another one: it may have been trained on the students'.
    """
    from cnnlab.data import fingerprint
    from cnnlab.train import records
    from cnnlab.train.run import RESULT

    config = config_of(directory, data_dir)
    own = load_data(config)
    if fingerprint(own.test) != fingerprint(splits.test):
        raise ValueError(
            f"the teacher in {directory} must have the test part of its students, or it may have "
            f"learned from it. The teacher's: {own.test.name}, {own.notes}. The students': "
            f"{splits.test.name}, {splits.notes}. Give the same data set, classes and splits."
        )
    recipe, states, _ = networks_of(directory, config, own.train)
    result = directory / RESULT
    seconds = records.read_json(result).get("seconds") if result.is_file() else None
    return Teacher(recipe, states, _name(config), seconds)


def says(
    teacher: Teacher,
    whole: Whole,
    part: str,
    dataset: "Dataset",
    *,
    rule: Literal["logits", "probabilities"] = "logits",
    temperature: float = 1.0,
) -> "np.ndarray":
    """What the teacher says of a part of the data, float32 ``[N, K]``.

    It is kept in the whole's folder "targets", so that a resume goes on from the same bits.

    Args:
      teacher: who.
      whole: where it is kept.
      part: the name of the file.
      dataset: what it looks at.
      rule: as of ``transfer.teacher_logits``.
      temperature: as of ``transfer.teacher_logits``.
    """
    import numpy as np

    from cnnlab.train.recorder import first_process
    from cnnlab.train.records import write_bytes
    from cnnlab.transfer import teacher_logits

    name = part if rule == "logits" else f"{part}-{rule}-T{temperature:g}"
    path = whole.directory / "targets" / f"{name}.npy"
    if path.is_file():
        kept: np.ndarray = np.load(path)
        return kept
    networks = [(teacher.recipe, teacher.states)]
    logits = teacher_logits(networks, dataset, rule=rule, temperature=temperature)
    if first_process():
        path.parent.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, logits)
        write_bytes(path, buffer.getvalue())
    return logits


def accuracies(teacher: Teacher, dataset: "Dataset") -> dict[str, Any]:
    """The accuracy of each of the teacher's networks alone, as ``over_seeds`` gives it."""
    from cnnlab.report.statistics import over_seeds
    from cnnlab.train import predict

    answers = predict(teacher.recipe, teacher.states, dataset).argmax(-1)
    return over_seeds((answers == dataset.labels).mean(axis=1))


def _name(config: Training) -> str:
    return f"{config.seeds} x {config.model}" if config.seeds > 1 else config.model

"""Trained networks with all that is known of them: those of a run; ``weights_files`` reads files.

networks = trained.load_run("runs/digits-resnet8-1")
logits = predict(networks.recipe, networks.states, networks.splits.test)
"""

import dataclasses
import io
import pathlib
from typing import Any, Literal

import jax
import numpy as np

from cnnlab import models
from cnnlab.data import Dataset, Splits
from cnnlab.data.dataset import Part, Statistics
from cnnlab.files import write_bytes
from cnnlab.models import Network
from cnnlab.run_directory import CHECKPOINTS, RESULT, ResumeError, read_config
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.settings import Training, from_json
from cnnlab.train import Recipe, TrainState
from cnnlab.train.run import Run

STATISTICS = "statistics.npz"
"""In a run directory: the statistics that its networks normalise images by, where they are not
those of the run's own data."""


@dataclasses.dataclass(frozen=True)
class TrainedNetworks:
    """Networks of one architecture that were trained, and how.

    Attributes:
      recipe: with the network, and how it is shown images.
      states: ``[M, ...]``.
      name: of them in results, such as "resnet8 of digits-resnet8-1".
      model: its name in the zoo.
      model_options: further settings of the model.
      image_shape: ``(H, W, C)`` of its images.
      normalization: of images before the network, as of ``Training``.
      statistics: by which; None where it needs none.
      class_names: of its classes; empty where they are not known.
      seeds: of the members; empty where they are not known.
      config: how they were trained; None for a file.
      splits: what they were trained on; None for a file.
      directory: of the run; None for a file.
      step: of the checkpoint; None for a file.
      report: of loading a file; None for a run.
    """

    recipe: Recipe
    states: TrainState
    name: str
    model: str
    model_options: tuple[str, ...]
    image_shape: tuple[int, int, int]
    normalization: Literal["channel", "mean-image", "unit"] = "unit"
    statistics: Statistics | None = None
    class_names: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    config: Training | None = None
    splits: Splits | None = None
    directory: pathlib.Path | None = None
    step: int | None = None
    report: models.weights.Report | None = None

    @property
    def members(self) -> int:
        """M, how many networks there are."""
        return len(self.states.step)

    @property
    def network(self) -> Network:
        """The row of stages."""
        return self.recipe.network

    @property
    def channels(self) -> int:
        """Of its images."""
        return self.image_shape[2]

    @property
    def variables(self) -> dict[str, Any]:
        """Of one network, without a leading axis: what is evaluated of it.

        Raises:
          ValueError: if there are several networks: choose one by ``member``.
        """
        if self.members != 1:
            raise ValueError(f"{self.name} are {self.members} networks: choose one, member(0).")
        evaluated = self.states.evaluated
        tree = {"params": evaluated.params, **evaluated.model_state}
        return jax.tree.map(lambda leaf: leaf[0], tree)

    def member(self, index: int) -> "TrainedNetworks":
        """One of the networks.

        Args:
          index: from 0, in the order of the seeds.

        Raises:
          ValueError: if there is no such one.
        """
        if not 0 <= index < self.members:
            where = "there are" if self.directory is None else f"the run in {self.directory} has"
            raise ValueError(f"{where} members 0 to {self.members - 1}, got {index}.")
        states = jax.tree.map(lambda leaf: leaf[index : index + 1], self.states)
        seeds = self.seeds[index : index + 1]
        named = "".join(f", seed {seed}" for seed in seeds)
        return dataclasses.replace(self, states=states, seeds=seeds, name=f"{self.name}{named}")


def load_run(
    directory: str | pathlib.Path, *, data_dir: pathlib.Path | None = None, best: bool = False
) -> TrainedNetworks:
    """The networks of a run, those of its latest checkpoint also where it is not finished.

    Args:
      directory: of the run; one of ``experiments.train``, or one in ``RUN/networks`` of
        ``experiments.finetune``.
      data_dir: where its data set's files are; None for where the run found them.
      best: the best checkpoint on the validation part, not the latest.

    Raises:
      ResumeError: if there is no run, or one that holds no networks itself.
      CheckpointError: if its checkpoint is gone or damaged.
    """
    directory = pathlib.Path(directory)
    config = run_config(directory, data_dir)
    splits = load_data(config)
    recipe = make_recipe(config, with_run_statistics(directory, splits.train))
    seeds, shape = config.all_seeds, splits.train.image_shape
    with Run.read(directory) as run:
        step, states = run.load(recipe, shape, members=len(seeds), best=best)
    study = read_config(directory).get("part_of")
    place = directory.name if study is None else f"{study}, {directory.name}"
    networks = from_training(config, recipe, states, f"{config.model} of {place}", splits)
    statistics = with_run_statistics(directory, splits.train).statistics
    return dataclasses.replace(networks, directory=directory, step=step, statistics=statistics)


def from_training(
    config: Training, recipe: Recipe, states: TrainState, name: str, splits: Splits
) -> TrainedNetworks:
    """Networks that were trained just now.

    Args:
      config: how.
      recipe: made of it.
      states: ``[M, ...]``.
      name: of them in results.
      splits: what they were trained on.
    """
    train = splits.train
    return TrainedNetworks(
        recipe,
        states,
        name,
        config.model,
        config.model_options,
        train.image_shape,
        config.normalization,
        train.statistics,
        train.class_names,
        config.all_seeds,
        config,
        splits,
    )


def load_run_on(
    directory: pathlib.Path, part: Part, data: Training | None = None, *, best: bool = False
) -> tuple[TrainedNetworks, Dataset]:
    """The networks of a run, and a part of its data or of others.

    Args:
      directory: of the run, see ``load_run``.
      part: of the data.
      data: names another data set of the same image shape; the run's own by default.
      best: the best checkpoint on the validation part, not the latest.

    Raises:
      ResumeError: if there is no run, or one that holds no networks itself.
      ValueError: if the data have no such part, or images of another shape.
    """
    networks = load_run(directory, best=best)
    assert networks.splits is not None
    dataset = part_images(networks.splits if data is None else load_data(data), part)
    if dataset.image_shape != networks.image_shape:
        raise ValueError(
            f"the network was trained on images of shape {networks.image_shape}, those of "
            f"{dataset.name} are {dataset.image_shape}."
        )
    return networks, dataset


def part_images(splits: Splits, part: Part) -> Dataset:
    """A part of the data.

    Raises:
      ValueError: if there is no such part.
    """
    dataset: Dataset | None = getattr(splits, part)
    if dataset is None:
        raise ValueError(f"there is no {part} part: choose --part train or --part test.")
    return dataset


def run_config(directory: pathlib.Path, data_dir: pathlib.Path | None = None) -> Training:
    """How the networks of a run were trained; their data in another folder where one is given.

    Raises:
      ResumeError: if there is no run, or one that holds no networks itself.
    """
    fields, directory = read_config(directory), pathlib.Path(directory)
    if fields.get("experiment", "train") != "train" and not (directory / CHECKPOINTS).is_dir():
        inside = sorted(path.parent for path in directory.glob(f"networks/*/{CHECKPOINTS}"))
        inside = inside or sorted(path.parent for path in directory.glob(f"*/{CHECKPOINTS}"))
        named = f": give one of {', '.join(map(str, inside))}" if inside else ""
        raise ResumeError(
            f"the run in {directory} is one of experiments.{fields['experiment']} and holds no "
            f"networks itself{named}."
        )
    config = from_json(Training, fields)
    return config if data_dir is None else dataclasses.replace(config, data_dir=data_dir)


def check_finished(directory: pathlib.Path) -> None:
    """Refuses a run that has not come to its end.

    Raises:
      ResumeError: then, or if there is no run.
    """
    read_config(directory)
    if not (pathlib.Path(directory) / RESULT).is_file():
        raise ResumeError(
            f"the run in {directory} must be finished, but it has no {RESULT}: its networks would "
            "still change. Go on with it by --resume, or give another one."
        )


def with_run_statistics(directory: pathlib.Path, train: Dataset) -> Dataset:
    """The training part, with the statistics that a run's networks normalise images by."""
    path = pathlib.Path(directory) / STATISTICS
    if not path.is_file():
        return train
    with np.load(path) as stored:
        statistics = Statistics(
            mean=tuple(stored["mean"].tolist()),
            std=tuple(stored["std"].tolist()),
            mean_image=stored.get("mean_image"),
            examples=int(stored["examples"]),
        )
    return dataclasses.replace(train, statistics=statistics)


def write_statistics(directory: pathlib.Path, statistics: Statistics) -> None:
    """Writes the statistics that a run's networks normalise by, for ``with_run_statistics``."""
    arrays: dict[str, Any] = {
        name: getattr(statistics, name) for name in ("mean", "std", "examples")
    }
    if statistics.mean_image is not None:
        arrays["mean_image"] = statistics.mean_image
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(pathlib.Path(directory) / STATISTICS, buffer.getvalue())

"""Trained networks with all that is known of them: those of a run; ``weights_files`` reads files.

    networks = trained.load("runs/digits-resnet8-1")
    probabilities = networks.predict(["photo.jpg", "other.png"])  # of networks.class_names

    networks = trained.load_run("runs/digits-resnet8-1")  # with its data
    logits = predict(networks.recipe, networks.states, networks.splits.test)

A run is complete in itself: class names, statistics and the images of its parts are those that it
began with (``data.record``), whatever has come to its data set since.
"""

import dataclasses
import pathlib
from typing import Any, Literal

import jax
import numpy as np

from cnnlab import models
from cnnlab.data import Dataset, Splits
from cnnlab.data.dataset import Part, Statistics
from cnnlab.data.part_checks import warn_of_range
from cnnlab.data.record import DataRecord
from cnnlab.models import Network
from cnnlab.run_directory import CHECKPOINTS, CONFIG, RESULT, ResumeError, read_config
from cnnlab.spelling import some
from cnnlab.studies import build
from cnnlab.studies.build import make_recipe
from cnnlab.studies.network_sources import check_sources
from cnnlab.studies.prediction import ImagesOrPaths, probabilities
from cnnlab.studies.run_data import check_unseen, load_recorded, read_earlier_records, read_record
from cnnlab.studies.settings import Training, from_json, with_data_dir
from cnnlab.train import Recipe, TrainState
from cnnlab.train.run import Run


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
      records: of these data, then of those that they had learned from before; empty where they are
        not known, as for networks that were trained just now.
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
    records: tuple[DataRecord, ...] = ()
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

    def predict(self, images: ImagesOrPaths, *, batch_size: int = 256) -> np.ndarray:
        """The probability of each class for each image, float32 ``[n, K]``; the mean over members.

        Args:
          images: uint8 ``[n, H, W, C]``, 0 to 255; or the paths of n image files, which are brought
            to ``image_shape`` as an image folder's are.
          batch_size: images at a time.

        Raises:
          ValueError: for images of another shape or dtype, or files that are no images.
        """
        return probabilities(self.recipe, self.states, images, self.image_shape, batch_size)

    def check_unseen(self, test: Dataset) -> None:
        """Refuses a test part of whose images the networks have trained on some, ever.

        Raises:
          ValueError: then.
        """
        for index, record in enumerate(self.records):
            whose = self.name if not index else f"what {self.name} began with"
            check_unseen(record, None if index else self.splits, test, f"the network {whose}")

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


def load(directory: str | pathlib.Path, *, best: bool = False) -> TrainedNetworks:
    """The networks of a run, ready to ``predict``: its data set is not needed.

    Args:
      directory: of the run, see ``load_run``.
      best: the best checkpoint on the validation part, not the latest.

    Raises:
      ResumeError: if there is no run, or one that holds no networks itself.
      CheckpointError: if its checkpoint is gone or damaged.
    """
    return load_run(directory, best=best, images=False)


def load_run(
    directory: str | pathlib.Path,
    *,
    data_dir: pathlib.Path | None = None,
    best: bool = False,
    images: bool = True,
) -> TrainedNetworks:
    """The networks of a run, those of its latest checkpoint also where it is not finished.

    Args:
      directory: of the run; one of ``experiments.train``, or one in ``RUN/networks`` of
        ``experiments.finetune``.
      data_dir: where its data set's files are; None for where the run found them.
      best: the best checkpoint on the validation part, not the latest.
      images: whether to read its data set. Without, the parts have labels and statistics only, and
        the files need not be there.

    Raises:
      ResumeError: if there is no run, or one that holds no networks itself.
      CheckpointError: if its checkpoint is gone or damaged.
      DataChangedError: if images that it was trained or tested on are gone or changed.
      FileNotFoundError: if its data are not where they were.
    """
    directory = pathlib.Path(directory)
    config, record = run_config(directory, data_dir), read_record(directory)
    splits = record.without_images()
    if images:
        splits = load_recorded(config, record, f"the run in {directory}")
    recipe = make_recipe(config, splits.train)
    seeds, shape = config.all_seeds, splits.train.image_shape
    with Run.read(directory) as run:
        step, states = run.load(recipe, shape, members=len(seeds), best=best)
    study = read_config(directory).get("part_of")
    place = directory.name if study is None else f"{study}, {directory.name}"
    networks = from_training(config, recipe, states, f"{config.model_name} of {place}", splits)
    records = (record, *read_earlier_records(directory))
    return dataclasses.replace(networks, directory=directory, step=step, records=records)


def load_data(directory: str | pathlib.Path, data_dir: pathlib.Path | None = None) -> Splits:
    """The data of a run: the images that it was trained and tested on.

    Args:
      directory: of the run.
      data_dir: where its data set's files are; None for where the run found them.

    Raises:
      ResumeError: if there is no run.
      DataChangedError: if some of the images are gone or changed.
      FileNotFoundError: if the files are not there.
    """
    directory = pathlib.Path(directory)
    config = run_config(directory, data_dir)
    return load_recorded(config, read_record(directory), f"the run in {directory}")


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
    directory: pathlib.Path,
    part: Part,
    data: Training | None = None,
    *,
    class_numbers: tuple[int, ...] | None = None,
    data_dir: pathlib.Path | None = None,
    best: bool = False,
) -> tuple[TrainedNetworks, Dataset]:
    """The networks of a run, and a part of its data or of others.

    Args:
      directory: of the run, see ``load_run``.
      part: of the data.
      data: names another data set of the same image shape; the run's own by default.
      class_numbers: of its classes to choose, in place of those that ``data`` names.
      data_dir: where the run's own data are, if not where it found them.
      best: the best checkpoint on the validation part, not the latest.

    Raises:
      ResumeError: if there is no run, or one that holds no networks itself.
      ValueError: if the data have no such part, or images of another shape, or if the networks
        have trained on images of the other data's test or validation part.
    """
    own_place = data_dir if data is None else None
    networks = load_run(directory, data_dir=own_place, best=best, images=data is None)
    assert networks.splits is not None
    splits = networks.splits
    if data is not None:
        splits = build.load_data(data, class_numbers=class_numbers)
    dataset = part_images(splits, part)
    if data is not None:
        warn_of_range(dataset, networks.statistics, f"the network of {directory.name}")
        if part != "train":
            networks.check_unseen(dataset)
    if dataset.image_shape != networks.image_shape:
        raise ValueError(
            f"the network was trained on images of shape {networks.image_shape}, those of "
            f"{dataset.name} are {dataset.image_shape}."
        )
    return networks, dataset


def other_data(directory: pathlib.Path, dataset: str, data_dir: pathlib.Path | None) -> Training:
    """The settings of another data set for the networks of a run, with their classes by name.

    Args:
      directory: of the run; how images are read, and how a part that is not published is split off.
      dataset: the name of the other one.
      data_dir: where its files are; the run's own folder by default.

    Raises:
      ResumeError: if there is no run.
    """
    own = run_config(directory)
    folder = own.data_dir if data_dir is None else data_dir
    classes = None if own.classes is None else read_record(directory).class_names
    return dataclasses.replace(own, dataset=dataset, data_dir=folder, classes=classes)


def class_numbers(directory: pathlib.Path) -> tuple[int, ...] | None:
    """The numbers of the classes that a run has chosen of its data set; None where it took all.

    Raises:
      ResumeError: if there is no run.
      ValueError: if it chose them by names, of which the numbers are not known.
    """
    own = run_config(directory)
    if own.classes is None:
        return None
    by_name = set(own.classes) & set(read_record(directory).class_names)
    numbered = own.dataset.partition(":")[0] in ("digits", "mnist", "synthetic")  # named by number
    if by_name and not numbered:
        raise ValueError(
            f"the run in {directory} chose classes by name ({some(sorted(by_name))}), so their "
            "numbers are not known. Rename the classes of the data, and match them by name."
        )
    return tuple(map(int, own.classes))


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
      ResumeError: if there is no run, or one that holds no networks itself, or if the files that
        make its network have changed.
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
    try:
        config = from_json(Training, fields)
    except ValueError as error:
        raise ResumeError(f"{directory / CONFIG} cannot be used: {error}.") from error
    check_sources(directory, config)
    return with_data_dir(config, data_dir)


def check_finished(directory: pathlib.Path) -> None:
    """Refuses a run that has not come to its end.

    Raises:
      ResumeError: then, or if there is no run.
    """
    if not is_finished(directory):
        raise ResumeError(
            f"the run in {directory} must be finished, but it has no {RESULT}: its networks would "
            "still change. Go on with it by --resume, or give another one."
        )


def is_finished(directory: pathlib.Path) -> bool:
    """Whether a run has come to its end, or the study that it is a part of.

    Raises:
      ResumeError: if there is no run.
    """
    study = read_config(directory).get("part_of")
    directory = pathlib.Path(directory).resolve()
    places = [directory, *(path for path in directory.parents if path.name == study)]
    return any((path / RESULT).is_file() for path in places)


def unfinished_note(directory: pathlib.Path) -> str:
    """A line on a run that is not finished; "" for one that is."""
    if is_finished(directory):
        return ""
    return f"note: the run in {directory} is not finished: these are its latest networks."

"""Trained networks, of a finished run or of a file of weights, with all that is known of them.

    networks = trained.load_run("runs/digits-resnet8-1")
    logits = predict(networks.recipe, networks.states, networks.splits.test)

    networks = trained.load_weights(WeightsFile(weights="resnet20.th", model="resnet20"), 10, shape)

Both are ``TrainedNetworks``.
"""

import dataclasses
import io
import pathlib
from typing import Any, Literal

import jax
import numpy as np
import optax
from jax import numpy as jnp

from cnnlab import augment, models
from cnnlab.augment import Transform
from cnnlab.data import Dataset, Splits
from cnnlab.data.dataset import Part, Statistics
from cnnlab.files import write_bytes
from cnnlab.models import Network
from cnnlab.models.weights import HeadError
from cnnlab.run_directory import CHECKPOINTS, RESULT, ResumeError, read_config
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.settings import (
    Normalization,
    Training,
    WeightsFile,
    from_json,
    parse_options,
)
from cnnlab.train import Recipe, TrainState, states_of
from cnnlab.train.run import Run

STATISTICS = "statistics.npz"
"""In a run directory: the statistics that its networks normalise images by, where they are not
those of the run's own data."""

# Mean and deviation of red, green and blue, in pixel units.
_WEIGHTS_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "torchvision": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
}


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


def load_weights(
    file: WeightsFile,
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    own_channels: bool = False,
    classes_option: str | None = None,
) -> TrainedNetworks:
    """The network whose weights are in a file of another program.

    Args:
      file: the file and the network; its model options may say ``num_classes=1000``.
      num_classes: of the file, where the model options do not say it.
      image_shape: ``(H, W, C)`` of the images that it will see.
      own_channels: whether the network takes images of as many channels as the file says, which
        may be others than C.
      classes_option: the command line's option for the number of classes, for the message where
        the file has another one.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the model is missing, or the file is that of another one.
    """
    if file.weights is None or file.model is None:
        raise ValueError("--weights needs --model as well: the network that they are of.")
    path = pathlib.Path(file.weights)
    num_classes = parse_options(file.model_options).get("num_classes", num_classes)
    options = tuple(text for text in file.model_options if not text.startswith("num_classes="))
    network = models.create(file.model, num_classes, **parse_options(options))
    height, width, channels = image_shape
    if own_channels:
        channels = models.weights.input_channels(path, network, image_shape, mapping=file.mapping)
    prepare = _weights_preparation(file.normalization, channels)
    image = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    try:
        variables, report = models.weights.load(path, shapes, mapping=file.mapping)
    except HeadError as error:
        advice = _head_advice(error, num_classes, classes_option)
        raise ValueError(f"{error.details}\n{advice}") from error
    recipe = Recipe(network, optax.identity(), prepare)
    return TrainedNetworks(
        recipe,
        states_of(recipe, variables),
        path.name,
        file.model,
        options,
        (height, width, channels),
        "unit" if file.normalization == "unit" else "channel",
        weights_statistics(file.normalization),
        report=dataclasses.replace(report, path=path.name),
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
    dataset = _part(networks.splits if data is None else load_data(data), part)
    if dataset.image_shape != networks.image_shape:
        raise ValueError(
            f"the network was trained on images of shape {networks.image_shape}, those of "
            f"{dataset.name} are {dataset.image_shape}."
        )
    return networks, dataset


def load_weights_on(
    file: WeightsFile,
    part: Part,
    dataset: str,
    data_dir: pathlib.Path | None = None,
    image_size: int | None = None,
) -> tuple[TrainedNetworks, Dataset]:
    """The network of a file of weights, and a part of a data set.

    Args:
      file: the file and the network; of the data set's number of classes unless it says another.
      part: of the data; without a validation part all others are training images.
      dataset: its name, as of ``Training``.
      data_dir: where its files are.
      image_size: side in pixels that an image folder's images are brought to.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if the file is that of another network, or for an unknown data set.
    """
    validation = 0.1 if part == "validation" else None
    data = Training(
        dataset=dataset, data_dir=data_dir, image_size=image_size, validation=validation
    )
    images = _part(load_data(data), part)
    return load_weights(file, images.num_classes, images.image_shape), images


def _part(splits: Splits, part: Part) -> Dataset:
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


def weights_statistics(normalization: Normalization) -> Statistics | None:
    """The statistics by which weights of another program normalise; None for 0 to 1."""
    numbers = _WEIGHTS_STATISTICS.get(normalization)
    return None if numbers is None else Statistics(*numbers)


def _weights_preparation(normalization: Normalization, channels: int) -> Transform:
    statistics = weights_statistics(normalization)
    if statistics is None:
        return augment.to_unit_range()
    if channels != len(statistics.mean):
        raise ValueError(
            f"the normalization {normalization} is for networks that take images of 3 channels, "
            f"these have {channels}: choose unit."
        )
    return augment.normalize(statistics.mean, statistics.std)


def _head_advice(error: HeadError, num_classes: int, classes_option: str | None) -> str:
    """The advice on a command line where only the head differs."""
    if error.outputs is None:
        return "Only the head differs: choose the model options and the image size of the file."
    mend = "" if classes_option is None else f": {classes_option} {error.outputs}"
    return f"Only the head differs, the file has {error.outputs} classes, not {num_classes}{mend}."

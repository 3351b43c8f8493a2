"""Finished runs of ``experiments.train``, read: how they were trained, and their networks.

So are the networks that ``experiments.finetune`` leaves in ``RUN/networks``.
"""

import dataclasses
import io
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.config import from_plain, make_recipe
from experiments.train import Config

if TYPE_CHECKING:
    from cnnlab.data import Dataset
    from cnnlab.data.dataset import Statistics
    from cnnlab.train import Recipe, TrainState

STATISTICS = "statistics.npz"
"""In a run directory: by what its networks normalise images, where it is not their data's own."""


class Networks(NamedTuple):
    """The networks of a run, one for each seed.

    Attributes:
      recipe: how they were trained.
      states: ``[M, ...]``.
      step: of their checkpoint.
    """

    recipe: "Recipe"
    states: "TrainState"
    step: int


def config_of(run: pathlib.Path, data_dir: pathlib.Path | None = None) -> Config:
    """How a finished run was trained; its data in another folder where one is given.

    Raises:
      ResumeError: if there is no run, or one that has no networks itself.
    """
    from cnnlab.train.run import CHECKPOINTS, ResumeError, read_config

    fields, run = read_config(run), pathlib.Path(run)
    if fields.get("experiment", "train") != "train" and not (run / CHECKPOINTS).is_dir():
        inside = sorted(path.parent for path in run.glob(f"networks/*/{CHECKPOINTS}"))
        inside = inside or sorted(path.parent for path in run.glob(f"*/{CHECKPOINTS}"))
        named = f": give one of {', '.join(map(str, inside))}" if inside else ""
        raise ResumeError(
            f"the run in {run} is one of experiments.{fields['experiment']} and holds no networks "
            f"itself{named}."
        )
    config: Config = from_plain(Config, fields)
    return config if data_dir is None else dataclasses.replace(config, data_dir=data_dir)


def check_finished(run: pathlib.Path) -> None:
    """Refuses a run that has not come to its end.

    Raises:
      ResumeError: then, or if there is no run.
    """
    from cnnlab.train.run import RESULT, ResumeError, read_config

    read_config(run)
    if not (pathlib.Path(run) / RESULT).is_file():
        raise ResumeError(
            f"the run in {run} must be finished, but it has no {RESULT}: its networks would still "
            "change. Go on with it by --resume, or give another one."
        )


def networks_of(
    run: pathlib.Path, config: Config, train: "Dataset", *, best: bool = False
) -> Networks:
    """The networks of a finished run.

    Args:
      run: its directory.
      config: ``config_of`` it.
      train: the training part that it was trained on.
      best: those of the best checkpoint on the validation part, not of the latest.

    Raises:
      CheckpointError: if the checkpoint is gone or damaged.
    """
    from cnnlab.train.run import Run

    recipe = recipe_of(run, config, train)
    members = len(config.all_seeds)
    with Run.read(run) as opened:
        step, states = opened.load(recipe, train.image_shape, members=members, best=best)
    return Networks(recipe, states, step)


def recipe_of(run: pathlib.Path, config: Config, train: "Dataset") -> "Recipe":
    """How the networks of a run were trained, and how they are shown images.

    Args:
      run: its directory.
      config: ``config_of`` it.
      train: the training part that it was trained on.
    """
    return make_recipe(config, as_shown(run, train))


def as_shown(run: pathlib.Path, train: "Dataset") -> "Dataset":
    """The training part, with the statistics that a run's networks normalise images by."""
    import numpy as np

    from cnnlab.data.dataset import Statistics

    path = pathlib.Path(run) / STATISTICS
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


def write_statistics(run: pathlib.Path, statistics: "Statistics") -> None:
    """Writes down by what a run's networks normalise images, for ``as_shown``."""
    import numpy as np

    from cnnlab.train.records import write_bytes

    held: dict[str, Any] = {name: getattr(statistics, name) for name in ("mean", "std", "examples")}
    if statistics.mean_image is not None:
        held["mean_image"] = statistics.mean_image
    buffer = io.BytesIO()
    np.savez(buffer, **held)
    write_bytes(pathlib.Path(run) / STATISTICS, buffer.getvalue())

"""Experiments that are made of several trainings: one whole run directory, a folder for each part.

    whole = open_whole(config, "ensemble-digits")
    part = train_part(config, whole, "members", recipe, splits.train)
    result = whole.finish("ensemble", config, splits.notes, {"accuracy": …})

Each part is a run directory of its own. A whole that was interrupted goes on by ``--resume``: parts
that are finished are read, the one under way goes on to the same bits.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from experiments.config import Training, plain
from experiments.train import epochs_of, open_run

if TYPE_CHECKING:
    from cnnlab.data import Dataset
    from cnnlab.train import Recipe, TrainState
    from cnnlab.train.run import Run

AnyConfig = TypeVar("AnyConfig", bound=Training)


class Whole(NamedTuple):
    """The run directory of an experiment, with the machine that it runs on."""

    run: "Run"
    environment: dict[str, Any]

    @property
    def directory(self) -> pathlib.Path:
        """Where it is."""
        return self.run.directory

    def finish(
        self, experiment: str, config: Training, notes: str, found: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Writes result.json, and returns what it holds.

        Args:
          experiment: the name of its module.
          config: of the experiment.
          notes: how its data came about.
          found: what it found, between what it was and how it was run; a key of the former that it
            has, too, counts.
        """
        result = {
            "experiment": experiment,
            "dataset": config.dataset,
            "data": notes,
            "seeds": config.all_seeds,
            **found,
            "config": plain(config),
            "environment": self.environment,
            "run_dir": str(self.directory),
        }
        self.run.finish(result)
        return result


class Part(NamedTuple):
    """What a training gave.

    Attributes:
      states: ``[M, ...]`` at its end.
      kept: epoch -> the states at its end, of the epochs that were to be kept.
      steps: updates of each member.
      seconds: of training, over all sittings.
    """

    states: "TrainState"
    kept: dict[int, "TrainState"]
    steps: int
    seconds: float


def open_whole(config: Training, name: str) -> Whole:
    """Makes the run directory, or opens the one that ``config.resume`` names.

    Args:
      config: of the experiment.
      name: of the directory, which gets a number; such as "ensemble-digits".
    """
    from cnnlab.train import records
    from cnnlab.train.run import ENVIRONMENT, numbered

    if config.resume is None and config.run_dir is None:
        directory = numbered(config.runs, name.replace("/", "-").replace(":", "-"))
        config = dataclasses.replace(config, run_dir=directory)
    whole = open_run(config)
    return Whole(whole, records.read_json(whole.directory / ENVIRONMENT))


def train_part(
    config: Training,
    whole: Whole,
    name: str,
    recipe: "Recipe",
    train: "Dataset",
    validation: "Dataset | None" = None,
    *,
    keep_epochs: Collection[int] = (),
    missing: Literal["error", "skip"] = "error",
    **settings: Any,
) -> Part:
    """Trains in the whole's folder ``name``, goes on there, or reads what is finished.

    Args:
      config: its epochs, batch size, seeds …
      whole: the experiment.
      name: of the part, and of its folder.
      recipe: network, optimiser, loss, augmentation.
      train: the training part of the data.
      validation: evaluated after each epoch, or None.
      keep_epochs: after which epochs the states are kept.
      missing: what to do where a kept checkpoint is gone or damaged: an error that names it, or go
        on without it and say so.
      **settings: of ``Run.fit``, such as seeds, init_seeds, subsets, hyperparameters, initial.

    Raises:
      Interrupted: after SIGTERM or Ctrl-C; its directory is the whole's, which can be resumed.
      CheckpointError: if a checkpoint is gone or damaged.
    """
    import jax

    from cnnlab.mesh import make_mesh
    from cnnlab.train.recorder import Interrupted, first_process
    from cnnlab.train.run import CONFIG, Run

    directory = whole.directory / name
    seeds = tuple(settings.get("seeds", config.all_seeds))
    mesh = make_mesh(len(seeds), member_axis=config.member_axis)
    steps = [_steps(config, train, epoch, settings.get("subsets")) for epoch in keep_epochs]
    keep: dict[str, Any] = {"keep": config.keep, "keep_steps": steps}
    # The first process decides: the others may look when it has begun to write.
    if any_process(first_process() and (directory / CONFIG).is_file()):
        opening = Run.resume(directory, **keep)
    else:
        own = dataclasses.replace(config, seed=seeds[0], seeds=len(seeds), resume=None)
        about = {**plain(own), "part_of": whole.directory.name}
        opening = Run.create(directory, about, whole.environment, **keep)
    with opening as opened:
        step = 0
        try:
            for at in epochs_of(config, opened, recipe, train, validation, mesh, **settings):
                step = at.step
        except Interrupted as error:
            error.directory = whole.directory
            raise
        if any_process(opened.stop()):  # in the last epoch: the next part must not begin
            raise Interrupted(whole.directory, step, opened.stop.received)
        shape, members = train.image_shape, len(seeds)
        last, states = opened.load(recipe, shape, members=members, mesh=mesh)
        kept = {}
        for epoch, at_step in zip(keep_epochs, steps, strict=True):
            if at_step == last:
                kept[epoch] = states
            else:
                found = _kept(opened, recipe, shape, members, mesh, at_step, missing)
                if found is not None:
                    kept[epoch] = found
        states, kept = jax.block_until_ready((states, kept))
    return Part(states, kept, last, opened.seconds)


def member_seeds(config: Training, members: int) -> tuple[int, ...]:
    """A seed for each of M members of each of R repetitions, [M * R], member by member.

    They follow each other, and the first member's are the repetitions' own.
    """
    return tuple(range(config.seed, config.seed + members * len(config.all_seeds)))


def fresh_states(
    config: Training, recipe: "Recipe", train: "Dataset", seeds: Sequence[int]
) -> "TrainState":
    """Networks at their start, ``[M, ...]``, spread over the devices as ``train_part`` does it.

    Args:
      config: its member_axis.
      recipe: network and initialisation.
      train: the images that they are for, which some initialisations look at.
      seeds: one for each network.
    """
    import numpy as np

    from cnnlab.mesh import MEMBER, make_mesh, place, sharding
    from cnnlab.train.program import initialise

    mesh = make_mesh(len(seeds), member_axis=config.member_axis)
    placed = place(np.asarray(seeds, np.uint32), sharding(mesh, MEMBER))
    return initialise(recipe, train, placed, mesh)[0]


def any_process(flag: bool) -> bool:
    """Whether any process says so: the same answer on all."""
    import jax

    if jax.process_count() == 1:
        return flag
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.int32(flag))))


def _steps(config: Training, train: "Dataset", epochs: int, subsets: Any) -> int:
    """The step after so many epochs."""
    from cnnlab.data.batches import steps_per_epoch

    seen = len(train) if subsets is None else subsets.shape[1]
    return epochs * steps_per_epoch(seen, config.batch_size, config.remainder)


def _kept(
    opened: "Run",
    recipe: "Recipe",
    shape: tuple[int, int, int],
    members: int,
    mesh: Any,
    step: int,
    missing: str,
) -> "TrainState | None":
    from cnnlab.train.checkpoint import CheckpointError

    try:
        return opened.load(recipe, shape, members=members, mesh=mesh, step=step)[1]
    except CheckpointError as error:
        if missing == "error":
            raise CheckpointError(f"{error} To go on without it: --missing skip.") from error
        print(f"going on without the checkpoint of step {step}: {error}")
        return None

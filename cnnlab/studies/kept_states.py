"""The networks of one training: its states at the end and at the ends of chosen epochs."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from cnnlab.train import FitOptions, Recipe, TrainState
from cnnlab.train.checkpoint import CheckpointError
from cnnlab.train.run import Run


class Trained(NamedTuple):
    """The networks of one training.

    Attributes:
      states: ``[M, ...]`` at its end.
      kept: epoch -> the states at its end, of the epochs that were to be kept.
      steps: updates of each member.
      seconds: of training, over all sittings.
    """

    states: TrainState
    kept: dict[int, TrainState]
    steps: int
    seconds: float


def load_states(
    run: Run,
    recipe: Recipe,
    image_shape: tuple[int, int, int],
    options: FitOptions,
    steps: Mapping[int, int],
    missing: Literal["error", "skip"],
    say: Callable[[str], Any],
) -> tuple[int, TrainState, dict[int, TrainState]]:
    """The last step of a training, its states ``[M, ...]``, and those of chosen epochs.

    Args:
      run: of the training, open.
      recipe: how it trained.
      image_shape: ``(H, W, C)`` of its images.
      options: its members and its mesh.
      steps: by epoch, the step at its end.
      missing: what to do where a checkpoint is gone or damaged: an error that names it, or go on
        without it and say so.
      say: prints a line.

    Raises:
      CheckpointError: if a checkpoint is gone or damaged.
    """
    members, mesh = options.members, options.mesh
    last, states = run.load(recipe, image_shape, members=members, mesh=mesh)
    kept = {}
    for epoch, step in steps.items():
        if step == last:
            kept[epoch] = states
            continue
        try:
            _, kept[epoch] = run.load(recipe, image_shape, members=members, mesh=mesh, step=step)
        except CheckpointError as error:
            if missing == "error":
                raise CheckpointError(f"{error} To go on without it: --missing skip.") from error
            say(f"going on without the checkpoint of step {step}: {error}")
    return last, states, kept

"""Predictions of several members on the same data, such as the networks of finished runs."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from cnnlab.data import Splits
from cnnlab.data.dataset import fingerprint
from cnnlab.run_directory import ResumeError, run_number
from cnnlab.studies import trained
from cnnlab.train import predict
from cnnlab.train.checkpoint import CheckpointError
from cnnlab.train.program import forward_cost


@dataclasses.dataclass(frozen=True, eq=False)
class MemberPredictions:
    """Logits of the members of an ensemble, and what they cost.

    Attributes:
      test: ``[M, R, N, K]`` on the test part, of R repetitions.
      validation: the same on the validation part, or None where there is none.
      names: of the M members, all different.
      epochs: of each member's training ``[M]``, over the whole training part.
      multiply_adds: of each member's forward pass for one image ``[M]``.
      seconds: of all their trainings, for one repetition; None where it is not known.
    """

    test: np.ndarray
    validation: np.ndarray | None
    names: tuple[str, ...]
    epochs: tuple[float, ...]
    multiply_adds: tuple[int, ...]
    seconds: float | None


def predict_runs(
    runs: Sequence[pathlib.Path],
    splits: Splits,
    missing: Literal["error", "skip"],
    data_dir: pathlib.Path | None,
    say: Callable[[str], Any],
) -> MemberPredictions:
    """The predictions of the networks of finished runs; each seed of a run is a member.

    Args:
      runs: run directories, as ``trained.load_run`` takes them.
      splits: the data of the first run, on whose parts all predict.
      missing: what to do where a run or its checkpoints are gone or damaged.
      data_dir: where the data are, if not where the runs found them.
      say: prints a line on each run that is left out.

    Raises:
      CheckpointError: if a run or its checkpoint is gone or damaged, and ``missing`` is "error".
      ValueError: if the networks were trained for other classes, other images or another split
        between training and test part (it says which run), or if no member is left.
    """
    names: list[str] = []
    test: list[np.ndarray] = []
    validation: list[np.ndarray] = []
    costs: list[int] = []
    epochs: list[float] = []
    seen: dict[tuple[str, int | None], pathlib.Path] = {}
    for run in map(pathlib.Path, runs):
        try:
            trained.check_finished(run)
            networks = trained.load_run(run, data_dir=data_dir)
        except (CheckpointError, ResumeError) as error:
            if missing == "error":
                raise CheckpointError(
                    f"the member {run} cannot be read: {error} To go on without it: --missing skip."
                ) from error
            say(f"going on without {run}: {error}")
            continue
        assert networks.config is not None and networks.splits is not None
        first = seen.setdefault((run_number(run), networks.step), run)
        if first is not run:
            raise ValueError(
                f"members must be different networks, but {run} is the run {first}, or a copy of "
                "it. Leave one out."
            )
        check_same_task(run, networks.splits, splits, runs[0])
        name = run.resolve().name
        named = [f"{name}, seed {seed}" for seed in networks.seeds]
        named = [name] if len(named) == 1 else named
        names += [f"{each} in {run}" if each in names else each for each in named]
        test.append(predict(networks.recipe, networks.states, splits.test))
        if splits.validation is not None:
            validation.append(predict(networks.recipe, networks.states, splits.validation))
        costs += [forward_cost(networks.recipe, networks.image_shape)] * networks.members
        epochs += [float(networks.config.epochs)] * networks.members
    if not test:
        raise ValueError("no member could be read, and an ensemble needs at least one.")
    return MemberPredictions(
        np.concatenate(test)[:, None],
        np.concatenate(validation)[:, None] if validation else None,
        tuple(names),
        tuple(epochs),
        tuple(costs),
        None,
    )


def check_same_task(run: pathlib.Path, own: Splits, first: Splits, first_run: pathlib.Path) -> None:
    """Refuses a run whose networks have another task, or have trained on what is tested.

    Args:
      run: in the message.
      own: the data of the run.
      first: the data of the first run.
      first_run: in the message.

    Raises:
      ValueError: saying what differs.
    """

    def refuse(what: str, ours: Any, theirs: Any) -> None:
        raise ValueError(
            f"members must have the same {what}, but {run} has {ours} and {first_run} has "
            f"{theirs}. Leave one of them out."
        )

    pairs = [("test part", own.test, first.test)]
    if own.test.class_names != first.test.class_names:
        refuse("classes", list(own.test.class_names), list(first.test.class_names))
    if own.test.image_shape != first.test.image_shape:
        refuse("image shape", own.test.image_shape, first.test.image_shape)
    if (own.validation is None) != (first.validation is None):
        refuse("validation part", own.notes, first.notes)
    if own.validation is not None and first.validation is not None:
        pairs.append(("validation part", own.validation, first.validation))
    for what, ours, theirs in pairs:
        if fingerprint(ours) != fingerprint(theirs):
            refuse(what, f"{len(ours)} images ({own.notes})", f"{len(theirs)} ({first.notes})")

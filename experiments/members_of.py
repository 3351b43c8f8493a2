"""The networks of finished runs as the members of one ensemble."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from experiments.config import load_data
from experiments.finished import config_of, networks_of

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset, Splits


class Predicted(NamedTuple):
    """What members say.

    Attributes:
      test: logits [M, R, N, K] on the test part.
      validation: the same on the validation part, or None where there is none.
      names: of the M members, all different.
      epochs: of each member's training [M], over the whole training part.
      multiply_adds: of each member's forward pass for one image [M].
      seconds: of all their trainings, for one repetition; None where it is not known.
    """

    test: "np.ndarray"
    validation: "np.ndarray | None"
    names: tuple[str, ...]
    epochs: tuple[float, ...]
    multiply_adds: tuple[int, ...]
    seconds: float | None


def members_of(
    runs: Sequence[str],
    splits: "Splits",
    missing: Literal["error", "skip"] = "error",
    data_dir: pathlib.Path | None = None,
) -> Predicted:
    """What the networks of finished runs say on the parts of the first one's data.

    Args:
      runs: run directories of ``experiments.train``; each seed of a run is a member.
      splits: the data of the first run.
      missing: what to do where a run or its checkpoints are gone or damaged.
      data_dir: where the data are, if not where the runs found them.

    Raises:
      ResumeError: if one of them is no run.
      ValueError: if the networks were trained for other classes, other images or another split
        between training and test part; it says which run.
      CheckpointError: if the checkpoint of a run is gone or damaged.
    """
    import numpy as np

    from cnnlab.train import predict
    from cnnlab.train.checkpoint import CheckpointError
    from cnnlab.train.program import forward_cost
    from cnnlab.train.run import ResumeError

    names: list[str] = []
    test: list[Any] = []
    validation: list[Any] = []
    costs: list[int] = []
    epochs: list[float] = []
    for run in runs:
        try:
            trained = config_of(pathlib.Path(run), data_dir)
            own = load_data(trained)
            check_same(run, own, splits, runs[0])
            recipe, states, _ = networks_of(pathlib.Path(run), trained, own.train)
        except (CheckpointError, ResumeError) as error:
            if missing == "error":
                raise CheckpointError(
                    f"the member {run} cannot be read: {error} To go on without it: --missing skip."
                ) from error
            print(f"going on without {run}: {error}")
            continue
        name, members = pathlib.Path(run).resolve().name, len(trained.all_seeds)
        named = [name if members == 1 else f"{name}, seed {seed}" for seed in trained.all_seeds]
        names += [f"{each} in {run}" if each in names else each for each in named]
        test.append(predict(recipe, states, splits.test))
        if splits.validation is not None:
            validation.append(predict(recipe, states, splits.validation))
        costs += [forward_cost(recipe, own.train.image_shape)] * members
        epochs += [float(trained.epochs)] * members
    if not test:
        raise ValueError("no member could be read, and an ensemble needs at least one.")
    return Predicted(
        np.concatenate(test)[:, None],
        np.concatenate(validation)[:, None] if validation else None,
        tuple(names),
        tuple(epochs),
        tuple(costs),
        None,
    )


def check_same(run: str, own: "Splits", first: "Splits", first_run: str) -> None:
    """Refuses a run whose network has not the same task, or has trained on what is tested.

    Raises:
      ValueError: saying what differs.
    """
    from cnnlab.data.dataset import fingerprint

    def refuse(what: str, ours: Any, theirs: Any) -> None:
        raise ValueError(
            f"members must have the same {what}, but {run} has {ours} and {first_run} has "
            f"{theirs}. Leave one of them out."
        )

    pairs: list[tuple[str, Dataset, Dataset]] = [("test part", own.test, first.test)]
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

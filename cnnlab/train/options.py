"""Options of a training: the arguments of ``fit`` as a value, and parts that are only watched."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from cnnlab.arguments import check_whole
from cnnlab.data.batches import Remainder, steps_per_epoch
from cnnlab.data.dataset import Dataset
from cnnlab.train.state import TrainState


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FitOptions:
    """How a recipe is trained: what ``fit`` takes besides the recipe and the data.

    Attributes:
      epochs: passes over the training part, >= 1.
      batch_size: of a member's update, over all devices.
      seeds: one member for each; they train at once. Seed s gives the same network alone and in
        company, up to rounding.
      mesh: ``make_mesh(len(seeds))`` by default: all devices.
      remainder: "drop" the last partial batch of an epoch, or "wrap" round to fill it.
      stream: read the images on the host (True), lay them on the devices (False), or by where they
        are (None): in memory resident, lazy ones streamed.
      steps_per_call: updates in one compiled call; chosen by their cost by default. It changes
        nothing but the speed and how often ``steps`` yields.
      init_seeds: of the initial weights only, one for each member; ``seeds`` then say the order of
        the images, the augmentation and dropout, and may repeat themselves.
      subsets: int ``[M, n]``, which examples each member trains on, such as ``ensemble.bootstrap``
        gives; repeats are allowed. All by default.
      hyperparameters: name -> one value for each member, for an optimizer made by
        ``optim.create(..., varied=True)``; set in initial states, too.
      initial: states ``[M, ...]`` to train from, from their step on; fresh ones by default. Where
        the recipe has a moving average and they have none, it starts at their weights.

    Raises:
      ValueError: for numbers out of range, or ``initial`` and ``init_seeds`` at once.
    """

    epochs: int
    batch_size: int = 128
    seeds: Sequence[int] = (0,)
    mesh: Mesh | None = None
    remainder: Remainder = "drop"
    stream: bool | None = None
    steps_per_call: int | None = None
    init_seeds: Sequence[int] | None = None
    subsets: ArrayLike | None = None
    hyperparameters: Mapping[str, Sequence[float]] | None = None
    initial: TrainState | None = None

    def __post_init__(self) -> None:
        if self.initial is not None and self.init_seeds is not None:
            raise ValueError(
                "the members cannot begin from initial and from init_seeds: give one of them."
            )
        given: Any = self.seeds
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise ValueError(
                f"seeds must be a sequence with one for each member, got {given!r:.60}: "
                "range(3) for three."
            )
        seeds = tuple(int(seed) for seed in self.seeds)
        starts = seeds if self.init_seeds is None else tuple(int(seed) for seed in self.init_seeds)
        if not seeds or any(not 0 <= s < 2**32 for s in (*seeds, *starts)):
            raise ValueError(
                f"seeds must be one or more integers in [0, 2^32), got {seeds}, {starts}."
            )
        if len(starts) != len(seeds):
            raise ValueError(
                f"init_seeds must be one for each of {len(seeds)} seeds, got {starts}."
            )
        check_whole("epochs", self.epochs, least=1)
        check_whole("batch_size", self.batch_size, least=1)
        if self.steps_per_call is not None:
            check_whole("steps_per_call", self.steps_per_call, least=1)
        object.__setattr__(self, "seeds", seeds)
        if self.subsets is not None:
            object.__setattr__(self, "subsets", np.asarray(self.subsets))

    @property
    def members(self) -> int:
        """M, how many networks train at once."""
        return len(self.seeds)

    @property
    def weight_seeds(self) -> tuple[int, ...]:
        """The seed of each member's initial weights, [M]."""
        return tuple(self.seeds if self.init_seeds is None else map(int, self.init_seeds))

    def steps_per_epoch(self, examples: int) -> int:
        """Updates in an epoch of a training part with ``examples`` examples.

        Raises:
          ValueError: if the batch size does not fit.
        """
        seen = examples if self.subsets is None else np.shape(self.subsets)[1]
        return steps_per_epoch(seen, self.batch_size, self.remainder)


@dataclasses.dataclass(frozen=True)
class Watched:
    """A part of the data that is evaluated after each epoch and chooses nothing.

    Give it in the place of a validation part to see, for instance, the test part's curve: its
    metrics are "watched/loss" and "watched/accuracy", and no checkpoint is the best by them.
    """

    dataset: Dataset


def check_members(options: FitOptions, examples: int, *, distinct: bool) -> None:
    """Refuses subsets that do not fit the training part, and members that would be the same.

    Args:
      options: of the training.
      examples: of the training part.
      distinct: whether every member must differ from the others by its seeds or its subset.

    Raises:
      ValueError: then.
    """
    seeds, starts, subsets = options.seeds, options.weight_seeds, options.subsets
    rows = [b""] * len(seeds)
    if subsets is not None:
        indices = np.asarray(subsets)
        shape, dtype = indices.shape, indices.dtype
        if len(shape) != 2 or shape[0] != len(seeds) or dtype.kind not in "iu" or not shape[1]:
            raise ValueError(
                f"subsets must be integers [M, n] with a row for each of {len(seeds)} members, got "
                f"{dtype} of shape {shape}."
            )
        if indices.min() < 0 or indices.max() >= examples:
            raise ValueError(
                f"subsets must be indices into {examples} training examples, got {indices.min()} "
                f"to {indices.max()}."
            )
        rows = [row.tobytes() for row in indices]
    members = list(zip(seeds, starts, rows, strict=True))
    if distinct and len(set(members)) < len(members):
        same = seeds if options.init_seeds is None else list(zip(seeds, starts, strict=True))
        also = "" if subsets is None else " with the same subset"
        raise ValueError(
            f"seeds must be different, or two networks would be the same one, got {same}{also}."
        )

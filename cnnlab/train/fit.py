"""Training as an iterator: ``for epoch in fit(...)``.

``fit`` yields after each epoch. ``steps``, on which it stands, yields after each compiled call, for
who records, shows or interrupts a run.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from cnnlab.data.batches import Remainder, steps_per_epoch, training_plan
from cnnlab.data.dataset import Dataset
from cnnlab.mesh import MEMBER, check_divides, make_mesh, place, sharding
from cnnlab.optim import set_hyperparameters
from cnnlab.train.evaluate import as_source, evaluate, evaluation_source
from cnnlab.train.metrics import NEVER, Sums, means
from cnnlab.train.program import (
    forward_cost,
    initialise,
    no_sums,
    steps_in_a_call,
    teacher_cost,
    train_program,
)
from cnnlab.train.start import begun_from, check_annotations, check_loss
from cnnlab.train.state import Recipe, TrainState

IN_FLIGHT = 2  # calls that may be under way while the host goes on


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite.

    Attributes:
      step: the first such step.
      seeds: of the members that it happened to.
    """

    def __init__(self, step: int, seeds: Sequence[int], learning_rate: float | None) -> None:
        self.step, self.seeds = step, tuple(seeds)
        rate = "" if learning_rate is None else f" at the learning rate {learning_rate:.4g}"
        super().__init__(
            f"the loss is not finite at step {step}{rate} (seed {', '.join(map(str, seeds))}). "
            "A loss that becomes NaN or infinite almost always means that the learning rate is too "
            "high: divide it by 3 to 10, or warm it up, or clip the gradient."
        )


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a training stands.

    Attributes:
      step: updates done.
      steps_per_epoch: updates in an epoch.
      states: ``[M, ...]``, on the devices, perhaps not computed yet.
      sums: of the training batches of this epoch so far, ``[M]``, perhaps not computed yet.
      arrived: the means of the sums that have arrived last, ``{"loss", "accuracy"}`` ``[M]``; None
        until there are some. Reading it never waits.
      metrics: at the end of an epoch ``{"train/loss", "train/accuracy", "validation/loss",
        "validation/accuracy", "learning_rate"}``, ``[M]`` each but the rate; None in between.
        Without a score there are no accuracies.
      stopped: whether this is the last one because a stop was asked for.
    """

    step: int
    steps_per_epoch: int
    states: TrainState
    sums: Sums
    arrived: dict[str, np.ndarray] | None = None
    metrics: dict[str, Any] | None = None
    stopped: bool = False

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.step // self.steps_per_epoch


def fit(
    recipe: Recipe, train: Dataset, validation: Dataset | None = None, **settings: Any
) -> Iterator[Position]:
    """Trains, and yields at the end of each epoch.

    Stop when you like: ``break`` ends the training; keep what you like: no state is overwritten.

    Args:
      recipe: network, optimiser, loss, augmentation.
      train: the training part.
      validation: evaluated after each epoch, or None.
      **settings: those of ``steps``; ``epochs`` is needed.

    Example:
      >>> for epoch in fit(recipe, splits.train, splits.validation, epochs=10, seeds=(0, 1, 2)):
      ...     print(epoch.epoch, epoch.metrics["validation/accuracy"].mean())
    """
    return (at for at in steps(recipe, train, validation, **settings) if at.metrics is not None)


def steps(
    recipe: Recipe,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    epochs: int,
    batch_size: int = 128,
    seeds: Sequence[int] = (0,),
    mesh: Mesh | None = None,
    remainder: Remainder = "drop",
    stream: bool | None = None,
    steps_per_call: int | None = None,
    init_seeds: Sequence[int] | None = None,
    subsets: ArrayLike | None = None,
    hyperparameters: Mapping[str, Sequence[float]] | None = None,
    initial: TrainState | None = None,
    begin: tuple[TrainState, Sums] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Position]:
    """Trains, and yields before the first update (compiled) and after each compiled call.

    Args:
      recipe: network, optimiser, loss, augmentation.
      train: the training part.
      validation: evaluated after each epoch, or None.
      epochs: how long, >= 1.
      batch_size: of a member's update, over all devices.
      seeds: one member for each; they train at once. Seed s gives the same network alone and in
        company, up to rounding.
      mesh: ``make_mesh(len(seeds))`` by default: all devices.
      remainder: "drop" the last partial batch of an epoch, or "wrap" round to fill it.
      stream: read the images on the host (True), lay them on the devices (False), or by where they
        are (None): in memory resident, lazy ones streamed.
      steps_per_call: updates in one compiled call; chosen by their cost by default. It changes
        nothing but the speed and how often this yields.
      init_seeds: of the initial weights only, one for each member; ``seeds`` then say the order of
        the images, the augmentation and dropout, and may repeat themselves.
      subsets: int ``[M, n]``, which examples each member trains on, such as ``ensemble.bootstrap``
        gives; repeats are allowed. All by default.
      hyperparameters: name -> one value for each member, for an optimizer made by
        ``optim.create(..., varied=True)``; set in the states that are begun from, too.
      initial: states ``[M, ...]`` to begin from, from their step on; fresh ones by default. Where
        the recipe has a moving average and they have none, it begins at their weights.
      begin: where to go on: the states and sums of a ``Position``. ``init_seeds`` then were heeded
        when the training began.
      stop: asked before each call; once it says True, on any process, the iterator ends with a
        ``Position`` whose ``stopped`` is True, at the same step on all processes.

    Raises:
      ValueError: for settings out of range or data that do not fit.
      DivergedError: when a loss is not finite.
    """
    if initial is not None and (init_seeds is not None or begin is not None):
        other = "begin" if init_seeds is None else "init_seeds"
        raise ValueError(f"the members cannot begin from initial and from {other}: give one.")
    subsets = None if subsets is None else np.asarray(subsets)
    seeds, init_seeds = _checked_seeds(seeds, init_seeds)
    _check_subsets(subsets, len(seeds), len(train))
    if not hyperparameters and initial is None and begin is None:
        _check_distinct(seeds, init_seeds, subsets)
    check_loss(recipe, train)
    check_annotations(recipe, train)
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}.")
    if steps_per_call is not None and steps_per_call < 1:
        raise ValueError(f"steps_per_call must be at least 1, got {steps_per_call}.")
    mesh = make_mesh(len(seeds)) if mesh is None else mesh
    check_divides(mesh, batch_size)
    seen = len(train) if subsets is None else subsets.shape[1]
    per_epoch = steps_per_epoch(seen, batch_size, remainder)
    placed_seeds = place(np.asarray(seeds, np.uint32), sharding(mesh, MEMBER))
    given = begin if initial is None else (initial, no_sums(len(seeds), mesh))
    if given is None:
        placed_init_seeds = place(np.asarray(init_seeds, np.uint32), sharding(mesh, MEMBER))
        states, cost = initialise(recipe, train, placed_init_seeds, mesh)
        sums = no_sums(len(seeds), mesh)
    else:
        states = begun_from(recipe, train.image_shape, given[0], len(seeds), mesh)
        sums = jax.device_put(given[1], sharding(mesh))
        cost = forward_cost(recipe, train.image_shape)
    if hyperparameters:
        opt_state = set_hyperparameters(states.opt_state, hyperparameters)
        states = states._replace(opt_state=opt_state)
    if steps_per_call is None:
        teacher = teacher_cost(recipe, train.image_shape)
        steps_per_call = steps_in_a_call(cost, batch_size, mesh, teacher)
    step = int(_first(states.step))
    if initial is not None and step >= epochs * per_epoch:
        raise ValueError(
            f"initial must be at a step before the end of the training, {epochs * per_epoch}, got "
            f"{step}. Set it to zero: initial._replace(step=jnp.zeros_like(initial.step))."
        )
    source = as_source(train, mesh, stream)
    validation_source = None if validation is None else evaluation_source(validation, mesh, stream)
    program = train_program(recipe, source.batch_at, mesh)

    scored = recipe.score is not None
    compiled = None
    pending: collections.deque[tuple[Sums, jax.Array]] = collections.deque()
    arrived: dict[str, np.ndarray] | None = None
    voted = False

    def settle(most: int) -> None:
        """Waits until at most ``most`` calls are under way, and looks at what has arrived."""
        nonlocal arrived, voted
        # What happens to be there already is only shown: all processes must heed a vote or a
        # divergence at the same call.
        while len(pending) > most:
            done, ballot = pending.popleft()
            check_finite(done, seeds, recipe)
            voted = int(ballot) > 0 or voted
            arrived = means(done, scored=scored)
        there = [done for done, _ in pending if _ready(done)]
        if there:
            arrived = means(there[-1], scored=scored)

    while step < epochs * per_epoch:
        plan = training_plan(len(train), batch_size, seeds, step // per_epoch, remainder, subsets)
        if step % per_epoch == 0:
            sums = no_sums(len(seeds), mesh)
        for window in source.windows(plan, step % per_epoch, steps_per_call):
            arguments = (
                placed_seeds,
                window.own,
                window.shared,
                np.int32(window.start),
                np.int32(window.steps),
                _votes(mesh, stop()),
            )
            if compiled is None:
                compiled = program.lower(states, sums, *arguments).compile()
                yield Position(step, per_epoch, states, sums)
            states, sums, ballot = compiled(states, sums, *arguments)
            step += window.steps
            pending.append((sums, ballot))
            settle(IN_FLIGHT)
            if step % per_epoch:
                if voted:
                    settle(0)
                yield Position(step, per_epoch, states, sums, arrived, stopped=voted)
                if voted:
                    return
        settle(0)
        figures = means(sums, scored=scored)
        metrics: dict[str, Any] = {f"train/{name}": value for name, value in figures.items()}
        if validation is not None:
            figures = evaluate(recipe, states, validation, mesh=mesh, source=validation_source)
            metrics |= {f"validation/{name}": value for name, value in figures.items()}
        if recipe.schedule is not None:
            metrics["learning_rate"] = float(recipe.schedule(step - 1))
        stopped = voted and step < epochs * per_epoch
        yield Position(step, per_epoch, states, sums, arrived, metrics, stopped)
        if stopped:
            return


def member(states: TrainState, index: int) -> TrainState:
    """One network of ``states [M, ...]``: the state without the leading axis."""
    return jax.tree.map(lambda x: x[index], states)


def _checked_seeds(
    seeds: Sequence[int], init_seeds: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    seeds = tuple(int(seed) for seed in seeds)
    starts = seeds if init_seeds is None else tuple(int(seed) for seed in init_seeds)
    if not seeds or any(not 0 <= s < 2**32 for s in (*seeds, *starts)):
        raise ValueError(f"seeds must be one or more integers in [0, 2^32), got {seeds}, {starts}.")
    if len(starts) != len(seeds):
        raise ValueError(f"init_seeds must be one for each of {len(seeds)} seeds, got {starts}.")
    return seeds, starts


def _check_distinct(
    seeds: Sequence[int], starts: Sequence[int], subsets: np.ndarray | None
) -> None:
    rows = [b""] * len(seeds) if subsets is None else [row.tobytes() for row in subsets]
    members = list(zip(seeds, starts, rows, strict=True))
    if len(set(members)) < len(members):
        same = seeds if seeds == starts else list(zip(seeds, starts, strict=True))
        also = "" if subsets is None else " with the same subset"
        raise ValueError(
            f"seeds must be different, or two networks would be the same one, got {same}{also}."
        )


def _check_subsets(subsets: np.ndarray | None, members: int, examples: int) -> None:
    if subsets is None:
        return
    shape, dtype = np.shape(subsets), np.asarray(subsets).dtype
    if len(shape) != 2 or shape[0] != members or dtype.kind not in "iu" or not shape[1]:
        raise ValueError(
            f"subsets must be integers [M, n] with a row for each of {members} members, got "
            f"{dtype} of shape {shape}."
        )
    if np.min(subsets) < 0 or np.max(subsets) >= examples:
        raise ValueError(
            f"subsets must be indices into {examples} training examples, got {np.min(subsets)} "
            f"to {np.max(subsets)}."
        )


def check_finite(sums: Sums, seeds: Sequence[int], recipe: Recipe) -> None:
    """Raises DivergedError if a loss in ``sums [M]`` was not finite. This waits for the device."""
    diverged = np.asarray(sums.diverged)
    if (diverged < NEVER).any():
        step = int(diverged.min())
        rate = None if recipe.schedule is None else float(recipe.schedule(step))
        raise DivergedError(step, [seeds[int(i)] for i in np.flatnonzero(diverged < NEVER)], rate)


def _ready(sums: Sums) -> bool:
    """Whether the sums have arrived; asking does not wait."""
    loss: Any = sums.loss
    return bool(loss.is_ready())


def _votes(mesh: Mesh, stop: bool) -> jax.Array:
    """One vote for each device, cast by the process that holds it."""
    where = sharding(mesh, (*mesh.axis_names,))
    shape = (mesh.devices.size,)
    return jax.make_array_from_callback(shape, where, lambda index: np.full(1, stop, np.int32))


def _first(x: jax.Array) -> np.ndarray:
    """The first number of an array of which this process may hold only a part."""
    return np.asarray(x.addressable_data(0)).ravel()[0]

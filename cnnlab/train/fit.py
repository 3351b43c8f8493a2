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

from cnnlab.data.batches import Remainder, training_plan
from cnnlab.data.dataset import Dataset
from cnnlab.data.splits import Splits
from cnnlab.mesh import MEMBER, check_divides, make_mesh, place, sharding
from cnnlab.optim import set_hyperparameters
from cnnlab.train.evaluate import as_source, evaluate, evaluation_source
from cnnlab.train.metrics import NEVER, Sums, means
from cnnlab.train.options import FitOptions, Watched, check_members
from cnnlab.train.program import (
    forward_cost,
    initialise,
    no_sums,
    steps_in_a_call,
    teacher_cost,
    train_program,
)
from cnnlab.train.start import check_annotations, check_loss, check_outputs, place_initial_states
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
    """The position of a training.

    Attributes:
      step: updates done.
      steps_per_epoch: updates in an epoch.
      states: ``[M, ...]``, on the devices, perhaps not computed yet.
      sums: of the training batches of this epoch so far, ``[M]``, perhaps not computed yet.
      arrived: the means of the sums that have arrived last, ``{"loss", "accuracy"}`` ``[M]``; None
        until there are some. Reading it never waits.
      metrics: at the end of an epoch ``{"train/loss", "train/accuracy", "validation/loss",
        "validation/accuracy", "learning_rate"}``, ``[M]`` each but the rate ("watched/loss" … of
        a ``Watched`` part); None in between. Without a score there are no accuracies.
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
    recipe: Recipe,
    train: Dataset,
    validation: Dataset | Watched | None = None,
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
) -> Iterator[Position]:
    """Trains, and yields at the end of each epoch.

    Stop when you like: ``break`` ends the training; keep what you like: no state is overwritten.

    Args:
      recipe: network, optimiser, loss, augmentation.
      train: the training part.
      validation: evaluated after each epoch, or None.
      epochs: passes over the training part; this and what follows are ``FitOptions``, which see.
      batch_size: of a member's update, over all devices.
      seeds: one member for each.
      mesh: all devices by default.
      remainder: "drop" or "wrap" the last partial batch of an epoch.
      stream: images read on the host, or laid on the devices.
      steps_per_call: updates in one compiled call.
      init_seeds: of the initial weights only.
      subsets: the examples of each member.
      hyperparameters: the values of each member.
      initial: states to train from.

    Raises:
      ValueError: for settings out of range or data that do not fit.
      DivergedError: when a loss is not finite.

    Example:
      >>> for epoch in fit(recipe, splits.train, splits.validation, epochs=10, seeds=(0, 1, 2)):
      ...     print(epoch.epoch, epoch.metrics["validation/accuracy"].mean())
    """
    options = FitOptions(
        epochs=epochs,
        batch_size=batch_size,
        seeds=seeds,
        mesh=mesh,
        remainder=remainder,
        stream=stream,
        steps_per_call=steps_per_call,
        init_seeds=init_seeds,
        subsets=subsets,
        hyperparameters=hyperparameters,
        initial=initial,
    )
    return (at for at in steps(recipe, train, validation, options) if at.metrics is not None)


def steps(
    recipe: Recipe,
    train: Dataset,
    validation: Dataset | Watched | None,
    options: FitOptions,
    *,
    resume_from: tuple[TrainState, Sums] | None = None,
    stop: Callable[[], bool] = lambda: False,
    every: int | None = None,
) -> Iterator[Position]:
    """Trains, and yields before the first update (compiled) and after each compiled call.

    Args:
      recipe: network, optimiser, loss, augmentation.
      train: the training part.
      validation: evaluated after each epoch, or None.
      options: how long, in what batches, which members.
      resume_from: the states and sums of a ``Position``, to go on from in the place of
        ``options.initial`` and of fresh states.
      stop: asked before each call; once it returns True, on any process, the iterator ends with a
        ``Position`` whose ``stopped`` is True, at the same step on all processes.
      every: yield at least so often, counted in updates: no compiled call is longer.

    Raises:
      ValueError: for settings out of range or data that do not fit.
      DivergedError: when a loss is not finite.
    """
    _check_dataset("train", train)
    _check_dataset("validation", getattr(validation, "dataset", validation), optional=True)
    start = options.initial is None and resume_from is None
    check_members(options, len(train), distinct=start and not options.hyperparameters)
    check_loss(recipe, train)
    check_outputs(recipe, train)
    check_annotations(recipe, train)
    seeds, members = tuple(options.seeds), options.members
    subsets = None if options.subsets is None else np.asarray(options.subsets)
    mesh = make_mesh(members) if options.mesh is None else options.mesh
    check_divides(mesh, options.batch_size)
    per_epoch = options.steps_per_epoch(len(train))
    last_step = options.epochs * per_epoch
    states, sums, steps_per_call = _first_states(recipe, train, options, mesh, resume_from)
    if every is not None:  # the fewest equal calls that are short enough
        steps_per_call = _divide_up(every, _divide_up(every, steps_per_call))
    step = int(_first_number(states.step))
    if options.initial is not None and resume_from is None and step >= last_step:
        raise ValueError(
            f"initial must be at a step before the end of the training, {last_step}, got "
            f"{step}. Set it to zero: initial._replace(step=jnp.zeros_like(initial.step))."
        )
    if resume_from is not None and step > last_step:
        raise ValueError(
            f"the training ends at step {last_step}, and the states to go on from are those of "
            f"step {step}: take epochs={-(-step // per_epoch)} or more."
        )
    placed_seeds = place(np.asarray(seeds, np.uint32), sharding(mesh, MEMBER))
    source = as_source(train, mesh, options.stream)
    evaluated = _Validation(recipe, validation, mesh, options.stream)
    program = train_program(recipe, source.batch_at, mesh)
    calls = _CallsInFlight(recipe, seeds)
    compiled = None
    while step < last_step:
        epoch, size, remainder = step // per_epoch, options.batch_size, options.remainder
        plan = training_plan(len(train), size, seeds, epoch, remainder, subsets)
        if step % per_epoch == 0:
            sums = no_sums(members, mesh)
        for window in source.windows(plan, step % per_epoch, steps_per_call):
            arguments = (
                placed_seeds,
                window.own,
                window.shared,
                np.int32(window.start),
                np.int32(window.steps),
                _stop_votes(mesh, stop()),
            )
            if compiled is None:
                compiled = program.lower(states, sums, *arguments).compile()
                yield Position(step, per_epoch, states, sums)
            states, sums, ballot = compiled(states, sums, *arguments)
            step += window.steps
            calls.add(sums, ballot)
            if step % per_epoch:
                if calls.stop_voted:
                    calls.wait(0)
                stopped = calls.stop_voted
                yield Position(step, per_epoch, states, sums, calls.arrived, stopped=stopped)
                if stopped:
                    return
        calls.wait(0)
        metrics = evaluated.metrics(states, sums, step)
        stopped = calls.stop_voted and step < last_step
        yield Position(step, per_epoch, states, sums, calls.arrived, metrics, stopped)
        if stopped:
            return


def _check_dataset(name: str, given: Any, *, optional: bool = False) -> None:
    if isinstance(given, Dataset) or (optional and given is None):
        return
    example = f"splits.{name}" if isinstance(given, Splits) else "data.load(...).train"
    raise ValueError(f"{name} must be a Dataset, such as {example}, got {type(given).__name__}.")


class _CallsInFlight:
    """Calls of the compiled program that may still be under way.

    Attributes:
      arrived: the means of the sums that have arrived last, or None; only to be shown.
      stop_voted: whether a call that was waited for carried a vote to stop.
    """

    def __init__(self, recipe: Recipe, seeds: Sequence[int]) -> None:
        self._recipe, self._seeds = recipe, seeds
        self._pending: collections.deque[tuple[Sums, jax.Array]] = collections.deque()
        self.arrived: dict[str, np.ndarray] | None = None
        self.stop_voted = False

    def add(self, sums: Sums, ballot: jax.Array) -> None:
        """Adds a call, and waits until no more than ``IN_FLIGHT`` are under way."""
        self._pending.append((sums, ballot))
        self.wait(IN_FLIGHT)

    def wait(self, most: int) -> None:
        """Waits until at most ``most`` calls are under way, and looks at what has arrived."""
        scored = self._recipe.score is not None
        # What happens to be there already is only shown: all processes must act on a vote or a
        # divergence at the same call.
        while len(self._pending) > most:
            sums, ballot = self._pending.popleft()
            check_finite(sums, self._seeds, self._recipe)
            self.stop_voted = int(ballot) > 0 or self.stop_voted
            self.arrived = means(sums, scored=scored)
        ready = [sums for sums, _ in self._pending if _is_ready(sums)]
        if ready:
            self.arrived = means(ready[-1], scored=scored)


class _Validation:
    """The part of the data that is evaluated after each epoch, if there is one."""

    def __init__(
        self,
        recipe: Recipe,
        validation: Dataset | Watched | None,
        mesh: Mesh,
        stream: bool | None,
    ) -> None:
        self._name = "watched" if isinstance(validation, Watched) else "validation"
        dataset = validation.dataset if isinstance(validation, Watched) else validation
        self._recipe, self._dataset, self._mesh = recipe, dataset, mesh
        self._source = None if dataset is None else evaluation_source(dataset, mesh, stream)

    def metrics(self, states: TrainState, sums: Sums, step: int) -> dict[str, Any]:
        """The metrics at the end of an epoch, as ``Position`` has them."""
        recipe = self._recipe
        averages = means(sums, scored=recipe.score is not None)
        metrics: dict[str, Any] = {f"train/{name}": value for name, value in averages.items()}
        if self._dataset is not None:
            scores = evaluate(recipe, states, self._dataset, mesh=self._mesh, source=self._source)
            metrics |= {f"{self._name}/{name}": value for name, value in scores.items()}
        if recipe.schedule is not None:
            metrics["learning_rate"] = float(recipe.schedule(step - 1))
        return metrics


def _first_states(
    recipe: Recipe,
    train: Dataset,
    options: FitOptions,
    mesh: Mesh,
    resume_from: tuple[TrainState, Sums] | None,
) -> tuple[TrainState, Sums, int]:
    """The states and sums that the training starts from, and the updates in a compiled call."""
    shape, members = train.image_shape, options.members
    sums = no_sums(members, mesh)
    initial = options.initial if resume_from is None else resume_from[0]
    if initial is None:
        init_seeds = np.asarray(options.weight_seeds, np.uint32)
        states, cost = initialise(recipe, train, place(init_seeds, sharding(mesh, MEMBER)), mesh)
    else:
        states = place_initial_states(recipe, shape, initial, members, mesh)
        cost = forward_cost(recipe, shape)
    if resume_from is not None:
        sums = jax.device_put(resume_from[1], sharding(mesh))
    if options.hyperparameters:
        opt_state = set_hyperparameters(states.opt_state, options.hyperparameters)
        states = states._replace(opt_state=opt_state)
    if options.steps_per_call is not None:
        return states, sums, options.steps_per_call
    teacher = teacher_cost(recipe, shape)
    return states, sums, steps_in_a_call(cost, options.batch_size, mesh, teacher)


def member(states: TrainState, index: int) -> TrainState:
    """One network of ``states [M, ...]``: the state without the leading axis."""
    return jax.tree.map(lambda x: x[index], states)


def check_finite(sums: Sums, seeds: Sequence[int], recipe: Recipe) -> None:
    """Raises DivergedError if a loss in ``sums [M]`` was not finite. This waits for the device."""
    diverged = np.asarray(sums.diverged)
    if (diverged < NEVER).any():
        step = int(diverged.min())
        rate = None if recipe.schedule is None else float(recipe.schedule(step))
        raise DivergedError(step, [seeds[int(i)] for i in np.flatnonzero(diverged < NEVER)], rate)


def _divide_up(number: int, by: int) -> int:
    """``number / by``, rounded up."""
    return -(-number // by)


def _is_ready(sums: Sums) -> bool:
    """True where the sums have arrived; asking does not wait."""
    loss: Any = sums.loss
    return bool(loss.is_ready())


def _stop_votes(mesh: Mesh, stop: bool) -> jax.Array:
    """One vote for each device, cast by the process that holds it."""
    where = sharding(mesh, (*mesh.axis_names,))
    shape = (mesh.devices.size,)
    return jax.make_array_from_callback(shape, where, lambda index: np.full(1, stop, np.int32))


def _first_number(x: jax.Array) -> np.ndarray:
    """The first number of an array of which this process may hold only a part."""
    return np.asarray(x.addressable_data(0)).ravel()[0]

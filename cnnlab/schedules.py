"""The learning rate as a function of the step, ready for any optax optimiser."""

from collections.abc import Callable, Sequence
from typing import Any

import optax

from cnnlab.spelling import unknown

Schedule = Callable[[Any], Any]
"""``(step) -> rate``; the step is an integer, traced or not."""


def constant(learning_rate: float) -> Schedule:
    """The same rate at every step."""
    _check_rate(learning_rate)
    return optax.constant_schedule(learning_rate)


def step(learning_rate: float, boundaries: Sequence[int], factor: float = 0.1) -> Schedule:
    """Multiplies the rate by ``factor`` at each of ``boundaries``.

    Args:
      learning_rate: of the first steps, > 0.
      boundaries: rising steps; the rate is already lower at the boundary itself.
        Where two are the same step, as in a very short training, the factor applies twice.
      factor: > 0; 0.1 in He et al. 2016, with boundaries at a half and three quarters.

    Raises:
      ValueError: if the boundaries fall or a number is not positive.
    """
    _check_rate(learning_rate)
    if list(boundaries) != sorted(boundaries) or any(b < 0 for b in boundaries):
        raise ValueError(f"boundaries must be rising steps >= 0, got {list(boundaries)}.")
    if not factor > 0:
        raise ValueError(f"factor must be positive, got {factor}.")
    factors = {b: factor ** list(boundaries).count(b) for b in boundaries}
    return optax.piecewise_constant_schedule(learning_rate, factors)


def cosine(learning_rate: float, steps: int, final: float = 0.0) -> Schedule:
    """Half a cosine from ``learning_rate`` at step 0 to ``final`` at ``steps``, then constant.

    Source: Loshchilov & Hutter, SGDR, ICLR 2017, equation 5, without restarts.
    """
    _check_rate(learning_rate)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    return optax.cosine_decay_schedule(learning_rate, steps, alpha=final / learning_rate)


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """Rises linearly to ``schedule(steps)`` over ``steps`` steps, then follows ``schedule``.

    Step ``t < steps`` has the rate ``schedule(steps) * (t + 1) / (steps + 1)``, so that the first
    step is not lost on a rate of zero. The warm-up counts: the schedule ends when it did.

    Source: Goyal et al., arXiv 1706.02677, 2017, section 2.2.
    """
    if steps < 0:
        raise ValueError(f"warm-up steps must be >= 0, got {steps}.")
    if steps == 0:
        return schedule
    peak = schedule(steps)
    rise = optax.linear_schedule(peak / (steps + 1), peak, steps)
    return optax.join_schedules([rise, lambda t: schedule(t + steps)], [steps])


NAMES = ("constant", "step", "cosine")


def create(
    name: str,
    learning_rate: float,
    total_steps: int,
    *,
    warmup_steps: int = 0,
    milestones: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
) -> Schedule:
    """Makes a schedule over ``total_steps`` by name.

    Args:
      name: "constant", "step" or "cosine".
      learning_rate: the highest rate.
      total_steps: the length of the training.
      warmup_steps: steps of a linear rise in front, part of ``total_steps``.
      milestones: for "step", when the rate falls, as fractions of ``total_steps``.
      factor: for "step", by how much.

    Raises:
      ValueError: for an unknown name (the nearest is named) or numbers out of range.
    """
    if warmup_steps >= total_steps:
        raise ValueError(
            f"the warm-up of {warmup_steps} steps must be shorter than the {total_steps} steps of "
            "the training: take more epochs or a shorter warm-up."
        )
    if name == "constant":
        schedule = constant(learning_rate)
    elif name == "step":
        schedule = step(learning_rate, [round(m * total_steps) for m in milestones], factor)
    elif name == "cosine":
        schedule = cosine(learning_rate, total_steps)
    else:
        raise ValueError(unknown("schedule", name, NAMES))
    return warmup(schedule, warmup_steps)


def _check_rate(learning_rate: float) -> None:
    if not learning_rate > 0:
        raise ValueError(f"the learning rate must be positive, got {learning_rate}.")

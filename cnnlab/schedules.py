"""The learning rate as a function of the step, for any optax optimiser."""

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np
import optax
from jax import numpy as jnp

from cnnlab.arguments import check_rate
from cnnlab.spelling import unknown

Schedule = Callable[[Any], Any]
"""``(step) -> rate``; the step is an integer, traced or not."""


def constant(learning_rate: float) -> Schedule:
    """The same rate at every step."""
    check_rate(learning_rate)
    return optax.constant_schedule(learning_rate)


def step(learning_rate: float, boundaries: Sequence[int], factor: float = 0.1) -> Schedule:
    """Multiplies the rate by ``factor`` at each of ``boundaries``.

    Args:
      learning_rate: of the first steps, > 0.
      boundaries: rising steps; the rate is already lower at the boundary itself. If two are the
        same step, as in a very short training, the factor applies twice.
      factor: > 0; 0.1 in He et al. 2016, with boundaries at a half and three quarters.

    Raises:
      ValueError: if the boundaries fall or a number is not positive.
    """
    check_rate(learning_rate)
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
    check_rate(learning_rate)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    return optax.cosine_decay_schedule(learning_rate, steps, alpha=final / learning_rate)


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """Rises linearly to ``schedule(steps)`` over ``steps`` steps, then follows ``schedule``.

    Step ``t < steps`` has the rate ``schedule(steps) * (t + 1) / (steps + 1)``, so that the first
    step does not have a rate of zero. The schedule's steps are not shifted: it ends at the same
    step as without warm-up.

    Source: Goyal et al., arXiv 1706.02677, 2017, section 2.2.
    """
    if steps < 0:
        raise ValueError(f"warm-up steps must be >= 0, got {steps}.")
    if steps == 0:
        return schedule
    peak = schedule(steps)
    rise = optax.linear_schedule(peak / (steps + 1), peak, steps)
    return optax.join_schedules([rise, lambda t: schedule(t + steps)], [steps])


def swa(learning_rate: float, steps: int, swa_learning_rate: float) -> Schedule:
    """The rate for stochastic weight averaging: high, then falling linearly, then constantly low.

    With ``t = step / steps`` and r the ratio of the two rates, the first is multiplied by 1 for
    t <= 0.5, by ``1 - (1 - r) (t - 0.5) / 0.4`` for t <= 0.9, and by r from there on, also beyond
    ``steps``.

    Args:
      learning_rate: of the first half, > 0.
      steps: in the paper the step at which averaging starts; from 0.9 of it the rate is low.
      swa_learning_rate: the low rate, > 0 and at most ``learning_rate``; a fifth to a half of it in
        the paper.

    Raises:
      ValueError: for numbers out of range.

    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI
    2018, and its authors' code.
    """
    _check_rates("learning_rate", learning_rate, "swa_learning_rate", swa_learning_rate)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")

    def schedule(step: Any) -> jax.Array:
        fallen = jnp.clip((jnp.asarray(step, jnp.float32) / steps - 0.5) / 0.4, 0, 1)
        return learning_rate + (swa_learning_rate - learning_rate) * fallen

    return schedule


def cycle_lengths(total: int, cycles: int, growth: float = 1.0) -> tuple[int, ...]:
    """The lengths of cycles, integers that add up to ``total``.

    Args:
      total: the steps or epochs to divide.
      cycles: the number of cycles, >= 1.
      growth: 1 for cycles that differ by at most one unit, the longer ones first; above 1 each is
        about ``growth`` times as long as the one before, and never shorter.

    Raises:
      ValueError: if a cycle would be empty, or a number is out of range.
    """
    if cycles < 1:
        raise ValueError(f"cycles must be at least 1, got {cycles}.")
    if not 1 <= growth < math.inf:
        raise ValueError(f"growth must be at least 1 and finite, got {growth}.")
    if growth == 1:
        shortest, longer = divmod(total, cycles)
        lengths = [shortest + (index < longer) for index in range(cycles)]
    else:
        parts = [Fraction(growth) ** index for index in range(cycles)]
        lengths = [math.floor(total * part / sum(parts)) for part in parts]
        # Rounding down leaves less than one unit per cycle, which the last, longest cycles get.
        left = total - sum(lengths)
        lengths = [n + (index >= cycles - left) for index, n in enumerate(lengths)]
    if min(lengths) < 1:
        raise ValueError(
            f"every cycle needs at least one of the units, got {total} for {cycles} cycles with a "
            f"growth of {growth:g}: take fewer cycles, a longer training or less growth."
        )
    return tuple(lengths)


def cosine_cycles(learning_rate: float, lengths: Sequence[int], final: float = 0.0) -> Schedule:
    """Half a cosine from ``learning_rate`` towards ``final``, again and again.

    In the i-th cycle, T_i steps long and T_cur steps old, the rate is

        final + (learning_rate - final) (1 + cos(pi T_cur / T_i)) / 2

    (SGDR's equation 5). The first step of a cycle has the full rate; after the last cycle the rate
    stays at ``final``. If all lengths are equal and ``final`` is 0 this is equation 2 of snapshot
    ensembles, for M cycles in T iterations t = 1, 2 ...:

        a(t) = a0/2 (cos(pi mod(t - 1, ceil(T/M)) / ceil(T/M)) + 1)

    There the last cycle is cut short if M does not divide T; those of ``cycle_lengths`` are not.

    Args:
      learning_rate: at the beginning of each cycle, > 0.
      lengths: of the cycles in steps, >= 1 each.
      final: in [0, learning_rate].

    Raises:
      ValueError: if a number is out of range or there is no cycle.

    Source: Loshchilov & Hutter, SGDR, ICLR 2017; Huang et al., Snapshot Ensembles, ICLR 2017.
    """
    check_rate(learning_rate)
    if not lengths or min(lengths) < 1:
        raise ValueError(f"lengths must be one or more steps a cycle, got {list(lengths)}.")
    if not 0 <= final <= learning_rate:
        raise ValueError(
            f"final must be in [0, learning_rate], got {final} with a rate of {learning_rate}."
        )
    ends = np.cumsum(np.asarray(lengths, np.int32), dtype=np.int32)

    def schedule(step: Any) -> jax.Array:
        cycle = jnp.minimum(jnp.searchsorted(ends, step, side="right"), len(lengths) - 1)
        length = jnp.asarray(lengths, jnp.int32)[cycle]
        age = jnp.minimum(step - (jnp.asarray(ends)[cycle] - length), length)
        angle = math.pi * age.astype(jnp.float32) / length.astype(jnp.float32)
        return final + (learning_rate - final) * (1 + jnp.cos(angle)) / 2

    return schedule


def triangular_cycles(high: float, low: float, period: int) -> Schedule:
    """Linearly down to ``low`` and up to ``high`` again in every ``period`` steps, without end.

    With iterations i = 1, 2 ..., a1 = ``high``, a2 = ``low``, c = ``period``:

        t(i) = (mod(i - 1, c) + 1) / c
        a(i) = (1 - 2 t) a1 + 2 t a2        for t <= 1/2
               (2 - 2 t) a2 + (2 t - 1) a1  for t > 1/2

    Fast geometric ensembles collect a network in the middle of each cycle, where the rate is the
    lowest: after ``period / 2`` updates, and then every ``period`` updates. An odd period passes
    ``low`` between two steps.

    Args:
      high: the highest rate, at the end of each cycle.
      low: the lowest, > 0 and at most ``high``.
      period: steps in a cycle, >= 2.

    Raises:
      ValueError: if a number is out of range.

    Source: Garipov et al., Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs, NeurIPS
    2018, section 4.
    """
    _check_rates("high", high, "low", low)
    if period < 2:
        raise ValueError(f"period must be at least 2 steps, got {period}.")

    def schedule(step: Any) -> jax.Array:
        t = ((jnp.asarray(step) % period + 1) / period).astype(jnp.float32)
        return low + (high - low) * jnp.abs(1 - 2 * t)

    return schedule


def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Schedules one after the other, each counting its steps from its own start.

    Args:
      schedules: one or more.
      boundaries: the first step of each schedule but the first, rising, >= 1.

    Raises:
      ValueError: if the boundaries are not one fewer than the schedules, or do not rise.
    """
    if not schedules or len(boundaries) != len(schedules) - 1:
        raise ValueError(
            "there must be one boundary between two schedules, got "
            f"{len(schedules)} schedules and {len(boundaries)} boundaries."
        )
    if any(before >= after for before, after in itertools.pairwise([0, *boundaries])):
        raise ValueError(f"boundaries must be rising steps >= 1, got {list(boundaries)}.")
    return optax.join_schedules(list(schedules), list(boundaries))


NAMES = ("constant", "step", "cosine", "swa")


def create(
    name: str,
    learning_rate: float,
    total_steps: int,
    *,
    warmup_steps: int = 0,
    milestones: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
    swa_learning_rate: float | None = None,
) -> Schedule:
    """Makes a schedule over ``total_steps`` by name.

    Args:
      name: "constant", "step", "cosine" or "swa".
      learning_rate: the highest rate.
      total_steps: the length of the training.
      warmup_steps: steps of a linear rise at the start, part of ``total_steps``.
      milestones: for "step", the steps at which the rate falls, as fractions of ``total_steps``.
      factor: for "step", the factor of the rate at each of them.
      swa_learning_rate: for "swa", the rate of the last quarter, whose weights are to be averaged;
        a fifth of ``learning_rate`` by default.

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
        _check_milestones(milestones)
        schedule = step(learning_rate, [round(m * total_steps) for m in milestones], factor)
    elif name == "cosine":
        schedule = cosine(learning_rate, total_steps)
    elif name == "swa":
        low = learning_rate / 5 if swa_learning_rate is None else swa_learning_rate
        schedule = swa(learning_rate, max(1, round(0.75 * total_steps)), low)
    else:
        raise ValueError(unknown("schedule", name, NAMES))
    return warmup(schedule, warmup_steps)


def _check_milestones(milestones: Sequence[float]) -> None:
    fractions = list(milestones)
    if fractions != sorted(fractions) or not all(0 <= each <= 1 for each in fractions):
        raise ValueError(
            "milestones must be rising fractions of the training in [0, 1], such as 0.5 0.75, got "
            f"{' '.join(f'{each:g}' for each in fractions)}: epoch 80 of 160 is 0.5."
        )


def _check_rates(high_name: str, high: float, low_name: str, low: float) -> None:
    if not 0 < low <= high:
        raise ValueError(
            f"the rates must be positive and {low_name} at most {high_name}, "
            f"got {low_name}={low} and {high_name}={high}."
        )

"""The cycles: where snapshots are taken, and the learning rate between them."""

import itertools
from collections.abc import Sequence

from cnnlab import schedules
from cnnlab.data.batches import steps_per_epoch
from cnnlab.schedules import Schedule

from .config import Config


def snapshot_ends(config: Config) -> tuple[tuple[int, ...], str]:
    """The epochs after which a snapshot is taken, and a note on them.

    Raises:
      ValueError: if there are not enough epochs.
    """
    if config.kind == "triangular":
        first, half = _triangles(config)
        ends = tuple(first + half * (1 + 2 * cycle) for cycle in range(config.cycles))
        return ends, f"{first} epochs of pretraining, then snapshots every {2 * half} epochs"
    lengths = schedules.cycle_lengths(config.epochs, config.cycles, config.growth)
    ends = tuple(itertools.accumulate(lengths))
    note = f"snapshots after epochs {', '.join(map(str, ends))}"
    if config.growth == 1 and config.epochs % config.cycles:
        note += (
            f": {config.epochs} epochs do not divide by {config.cycles} cycles, so the first ones "
            "are an epoch longer"
        )
    return ends, note


def cycle_schedule(config: Config, ends: Sequence[int], examples: int) -> Schedule | None:
    """The rate of a run with snapshots after the epochs ``ends``; None for the config's own.

    Args:
      config: the kind of the cycles.
      ends: of ``snapshot_ends``.
      examples: of the training part.
    """
    per_epoch = steps_per_epoch(examples, config.batch_size, config.remainder)
    rate, warmup = config.learning_rate, round(config.warmup_epochs * per_epoch)
    if config.kind == "none":
        return None
    if config.kind == "triangular":
        first, half = (epochs * per_epoch for epochs in _triangles(config))
        high, low = (rate * part for part in config.triangle)
        usual = schedules.create(
            config.schedule,
            rate,
            config.epochs * per_epoch,
            warmup_steps=warmup,
            milestones=config.milestones,
        )
        cycles = schedules.triangular_cycles(high, low, 2 * half)
        return schedules.join([usual, cycles], [first]) if first else cycles
    lengths = [(end - before) * per_epoch for before, end in itertools.pairwise([0, *ends])]
    return schedules.warmup(schedules.cosine_cycles(rate, lengths), warmup)


def _triangles(config: Config) -> tuple[int, int]:
    """The epochs before the triangular cycles, and those of half a cycle.

    Down, then up and down for each further one: the last snapshot is at the end of the last epoch.
    """
    half_cycles = 2 * config.cycles - 1
    half = (
        round((1 - config.pretraining) * config.epochs) // half_cycles if config.cycles > 0 else 0
    )
    if half < 1:
        raise ValueError(
            f"{config.cycles} triangular cycles need {half_cycles} epochs or more after the "
            f"pretraining, got {config.epochs} epochs of which {config.pretraining:g} are "
            "pretraining: take more epochs, fewer cycles or less pretraining."
        )
    return config.epochs - half_cycles * half, half

"""Snapshot ensembles: one training run, M networks (Huang et al., ICLR 2017).

Claim: at the same budget, the M snapshots of one run with a cyclic rate beat the single network,
and snapshots without cycles.
Published: CIFAR-100, ResNet-110, error 28.02 (single), 26.97 (no cycles), 24.19 (M = 5, rate 0.2).
Measured: see docs/ensembles.md; of a run, in its result.json and figures/.

    python -m experiments.snapshot
    python -m experiments.snapshot --cycles 3 --growth 2          # SGDR's growing periods
    python -m experiments.snapshot --kind none                    # the control without cycles
    python -m experiments.snapshot --kind reinitialised           # each cycle from a fresh start
    python -m experiments.snapshot --kind triangular              # fast geometric ensembling
    python -m experiments.snapshot --dataset cifar100 --data-dir DIR --model resnet110 \
        --epochs 300 --learning-rate 0.2 --flip --crop 4 --weight-decay 1e-4
    python -m experiments.snapshot --resume runs/snapshot-digits-1

``--seeds R`` repeats all of it R times, in one program. The single network is trained for as many
epochs as the run with snapshots, by the usual schedule (``--schedule``). Nothing is chosen by the
test part.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments import judgement
from experiments.config import Training, load_data, make_recipe
from experiments.parts import Whole, member_seeds, open_whole, train_part
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Splits
    from cnnlab.schedules import Schedule

Kind = Literal["cosine", "none", "reinitialised", "triangular"]


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train once, keep M networks, and compare them with one network of the same budget."""

    cycles: int = 5
    """M, how many snapshots are taken."""
    growth: float = 1.0
    """How much longer each cycle is than the one before; 2 is usual in SGDR."""
    kind: Kind = "cosine"
    """cosine cycles; none: the usual schedule; reinitialised: M fresh starts; triangular: FGE."""
    last: int | None = None
    """Average the last so many snapshots; all by default."""
    rule: Literal["probabilities", "logits", "geometric", "vote"] = "probabilities"
    """What is averaged."""
    pretraining: float = 0.75
    """For triangular: the part of the epochs that goes before the cycles, by the usual schedule."""
    triangle: tuple[float, float] = (0.5, 0.005)
    """For triangular: the highest and the lowest rate of the cycles, as parts of the rate."""
    single: bool = True
    """Train the single network, too."""
    missing: Literal["error", "skip"] = "error"
    """What to do where a snapshot's checkpoint is gone or damaged."""

    keep_every: tyro.conf.Suppress[int | None] = None
    epochs: int = 40
    warmup_epochs: float = 0.0
    learning_rate: float = 0.1
    seeds: int = 3


def run(config: Config) -> dict[str, Any]:
    """Trains as ``config`` says, and writes the run directory.

    Returns:
      What result.json holds: ``methods`` (scores, costs and differences, as ``judgement.judged``
      gives them), ``ends`` (the epochs after which snapshots were to be taken), ``taken`` (those
      that are there), ``by_count`` (the accuracy
      of the last m snapshots together) and ``diversity`` (for each repetition).

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
      CheckpointError: if a snapshot is gone or damaged, and ``missing`` is "error".
    """
    if config.resume is not None:
        config = resumed(config)
    from cnnlab.train import check_fits
    from cnnlab.train.program import forward_cost

    splits = load_data(config)
    check(config)
    usual = make_recipe(config, splits.train)
    check_fits(usual, splits.train)
    whole = open_whole(config, f"snapshot-{config.dataset}")
    say = (lambda text: None) if config.quiet else print
    ends, note = snapshot_ends(config)
    say(f"{splits.notes}\nrun directory: {whole.directory}\n{note}")
    taken, logits, seconds = snapshots(config, whole, splits)
    used = logits if config.last is None else logits[-config.last :]
    cost = forward_cost(usual, splits.train.image_shape)
    spent = judgement.Method("", "one budget", used, config.epochs, cost, seconds)
    together = spent.of(f"the last {len(used)} snapshots", used, config.rule)
    methods = [
        together,
        spent.of("the last snapshot alone", logits[-1:], config.rule),
        spent.each_of("a snapshot alone, their mean", used),
    ]
    if config.single and config.kind != "none":  # which is the single network already
        say(f"\none network, {config.epochs} epochs:")
        part = train_part(config, whole, "single", usual, splits.train, splits.validation)
        alone = judgement.predicted(usual, [part.states], splits.test)
        spent = spent._replace(seconds=part.seconds / config.seeds)
        methods = [spent.of("the single network", alone, config.rule), *methods]
    labels = splits.test.labels
    baseline = "the last snapshot alone" if methods[0] is together else methods[0].name
    about: dict[str, Any] = {
        "model": config.model,
        "ends": ends,
        "taken": taken,
        "note": note,
        "methods": judgement.judged(
            methods, labels, baseline=baseline, examples_per_epoch=len(splits.train)
        ),
        "by_count": judgement.by_count(logits[::-1], labels, config.rule),
        "diversity": judgement.diversities(logits, labels),
    }
    judgement.draw(
        whole.directory / "figures",
        about["methods"],
        methods,
        labels,
        {"the last m snapshots": about["by_count"]},
        calibrated=(baseline, together.name),
        title=f"{config.model} on {config.dataset}, {config.epochs} epochs, {config.kind}",
    )
    result = whole.finish("snapshot", config, splits.notes, about)
    print("\n" + judgement.printed(judgement.table(result["methods"])))
    print(f"see {whole.directory}")
    return result


def check(config: Config) -> None:
    """Refuses, before anything is written, what cannot be.

    Raises:
      ValueError: with what can.
    """
    if config.last is not None and not 1 <= config.last <= config.cycles:
        raise ValueError(f"last must be 1 to {config.cycles} snapshots, got {config.last}.")
    if config.kind == "triangular":
        if not 0 <= config.pretraining < 1:
            raise ValueError(f"pretraining must be in [0, 1), got {config.pretraining}.")
        if config.growth != 1:
            raise ValueError(f"triangular cycles do not grow, got a growth of {config.growth}.")
    snapshot_ends(config)


def snapshots(
    config: Config, whole: Whole, splits: "Splits"
) -> tuple[tuple[int, ...], "np.ndarray", float]:
    """Trains by cycles.

    Returns:
      The epochs at whose ends snapshots were taken, those that are lost left out; their logits on
      the test part, [M, R, N, K]; the seconds of training for each of R repetitions.
    """
    ends, _ = snapshot_ends(config)
    if config.kind == "reinitialised":
        networks, seconds = reinitialised(config, whole, splits)
        return ends, networks, seconds / config.seeds
    schedule = cycled(config, ends, len(splits.train))
    recipe = make_recipe(config, splits.train, schedule=schedule)
    part = train_part(
        config,
        whole,
        "snapshots",
        recipe,
        splits.train,
        splits.validation,
        keep_epochs=ends,
        missing=config.missing,
    )
    logits = judgement.predicted(recipe, list(part.kept.values()), splits.test)
    return tuple(part.kept), logits, part.seconds / config.seeds


def reinitialised(config: Config, whole: Whole, splits: "Splits") -> tuple["np.ndarray", float]:
    """One network for each cycle, from a fresh start, by a whole cosine: [M, R, N, K], seconds."""
    import numpy as np

    from cnnlab import schedules
    from cnnlab.data.batches import steps_per_epoch

    per_epoch = steps_per_epoch(len(splits.train), config.batch_size, config.remainder)
    lengths = schedules.cycle_lengths(config.epochs, config.cycles, config.growth)
    seeds = np.reshape(member_seeds(config, config.cycles), (config.cycles, -1))
    found: dict[int, np.ndarray] = {}
    seconds = 0.0
    for length in dict.fromkeys(lengths):
        numbers = [number for number, each in enumerate(lengths) if each == length]
        schedule = schedules.warmup(
            schedules.cosine_cycles(config.learning_rate, [length * per_epoch]),
            round(config.warmup_epochs * per_epoch),
        )
        recipe = make_recipe(config, splits.train, schedule=schedule)
        part = train_part(
            dataclasses.replace(config, epochs=length),
            whole,
            f"cycle-of-{length}",
            recipe,
            splits.train,
            splits.validation,
            seeds=tuple(seeds[numbers].ravel().tolist()),
        )
        logits = judgement.predicted(recipe, [part.states], splits.test, len(numbers))
        found |= dict(zip(numbers, logits, strict=True))
        seconds += part.seconds
    return np.stack([found[number] for number in range(config.cycles)]), seconds


def snapshot_ends(config: Config) -> tuple[tuple[int, ...], str]:
    """The epochs after which a snapshot is taken, and what is to be known of them.

    Raises:
      ValueError: if there are not enough epochs.
    """
    from cnnlab.schedules import cycle_lengths

    if config.kind == "triangular":
        first, half = _triangles(config)
        ends = tuple(first + half * (1 + 2 * cycle) for cycle in range(config.cycles))
        return ends, f"{first} epochs of pretraining, then snapshots every {2 * half} epochs"
    lengths = cycle_lengths(config.epochs, config.cycles, config.growth)
    ends = tuple(itertools.accumulate(lengths))
    note = f"snapshots after epochs {', '.join(map(str, ends))}"
    if config.growth == 1 and config.epochs % config.cycles:
        note += (
            f": {config.epochs} epochs do not divide by {config.cycles} cycles, so the first ones "
            "are an epoch longer"
        )
    return ends, note


def _triangles(config: Config) -> tuple[int, int]:
    """The epochs before the triangular cycles, and those of half a cycle.

    Down, then up and down for each further one: the last snapshot is at the end of the last epoch.
    """
    halves = 2 * config.cycles - 1
    half = round((1 - config.pretraining) * config.epochs) // halves if config.cycles > 0 else 0
    if half < 1:
        raise ValueError(
            f"{config.cycles} triangular cycles need {halves} epochs or more behind the "
            f"pretraining, got {config.epochs} epochs of which {config.pretraining:g} are "
            "pretraining: take more epochs, fewer cycles or less pretraining."
        )
    return config.epochs - halves * half, half


def cycled(config: Config, ends: Sequence[int], examples: int) -> "Schedule | None":
    """The rate of a run with snapshots at ``ends``; None for the config's own."""
    from cnnlab import schedules
    from cnnlab.data.batches import steps_per_epoch

    per_epoch = steps_per_epoch(examples, config.batch_size, config.remainder)
    rate, warm = config.learning_rate, round(config.warmup_epochs * per_epoch)
    if config.kind == "none":
        return None
    if config.kind == "triangular":
        first, half = (epochs * per_epoch for epochs in _triangles(config))
        high, low = (rate * part for part in config.triangle)
        usual = schedules.create(
            config.schedule,
            rate,
            config.epochs * per_epoch,
            warmup_steps=warm,
            milestones=config.milestones,
        )
        cycles = schedules.triangular_cycles(high, low, 2 * half)
        return schedules.join([usual, cycles], [first]) if first else cycles
    lengths = [(end - before) * per_epoch for before, end in itertools.pairwise([0, *ends])]
    return schedules.warmup(schedules.cosine_cycles(rate, lengths), warm)


def main() -> None:
    """The command line."""
    command_line("experiments.snapshot", run, Config(), __doc__)


if __name__ == "__main__":
    main()

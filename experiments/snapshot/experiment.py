"""One run with snapshots, or as many fresh starts, and the single network of the same budget."""

import dataclasses
from typing import Any

import numpy as np

from cnnlab import schedules
from cnnlab.data import Splits
from cnnlab.data.batches import steps_per_epoch
from cnnlab.studies import build, study
from cnnlab.studies.methods import (
    Comparison,
    Cost,
    accuracy_by_count,
    combine_networks,
    compare_methods,
    diversity_by_repetition,
    networks_alone,
    predict_logits,
    save_figures,
    score_methods,
)
from cnnlab.studies.study import Study
from cnnlab.train import check_fits
from cnnlab.train.program import forward_cost

from ..cli import host
from .config import Config, check
from .cycles import cycle_schedule, snapshot_ends
from .summary import summary_lines

# By kind: the published difference of errors from the single network, whose rate falls in steps.
_PUBLISHED = {
    "cosine": (0.0383, "CIFAR-100, ResNet-110, error 24.19 (M = 5, rate 0.2) against 28.02"),
    "none": (0.0105, "CIFAR-100, ResNet-110, error 26.97 against 28.02"),
    "reinitialised": (0.0172, "CIFAR-100, ResNet-110, error 26.30 against 28.02"),
}


def run(config: Config) -> dict[str, Any]:
    """Trains by cycles, combines the snapshots, and writes the run directory.

    Returns:
      The content of result.json: ``methods`` (of ``score_methods``), ``ends`` (the epochs after
      which snapshots were to be taken), ``taken`` (those that are there), ``by_count`` (the
      accuracy of the last m snapshots together), ``diversity`` (for each repetition), ``claims``
      where there is a single network.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
      CheckpointError: if a snapshot is gone or damaged, and ``missing`` is "error".
    """
    with study.open(config, host()) as s:
        config = s.config
        check(config)
        ends, note = snapshot_ends(config)
        splits = s.load_data(config)
        usual = build.make_recipe(config, splits.train)
        check_fits(usual, splits.train)
        s.begin(f"snapshot-{config.data_name}", splits.notes)
        s.say(note)
        taken, logits, seconds = train_snapshots(s, splits)
        used = logits if config.last is None else logits[-config.last :]
        group, rule = "one budget", config.rule
        cost = Cost(config.epochs, forward_cost(usual, splits.train.image_shape), seconds)
        together = combine_networks(f"the last {len(used)} snapshots", group, used, cost, rule)
        last = combine_networks("the last snapshot alone", group, logits[-1:], cost, rule)
        each = networks_alone("a snapshot alone, their mean", group, used, cost)
        methods = [together, last, each]
        if config.single and config.kind != "none":  # which is the single network already
            s.say(f"\none network, {config.epochs} epochs:")
            trained = s.train("single", usual, splits.train, splits.validation)
            alone = predict_logits(usual, [trained.states], splits.test)
            cost = dataclasses.replace(cost, seconds=trained.seconds / config.seeds)
            single = combine_networks("the single network", group, alone, cost, rule)
            methods = [single, *methods]
        labels = splits.test.labels
        baseline = last.name if methods[0] is together else methods[0].name
        scores = score_methods(
            methods, labels, baseline=baseline, examples_per_epoch=len(splits.train)
        )
        about: dict[str, Any] = {
            "model": config.model_name,
            "ends": ends,
            "taken": taken,
            "note": note,
            "methods": scores,
            "by_count": accuracy_by_count(logits[::-1], labels, rule),
            "diversity": diversity_by_repetition(logits, labels),
        }
        save_figures(
            s.save_figure,
            scores,
            methods,
            labels,
            {"the last m snapshots": about["by_count"]},
            calibrated=(baseline, together.name),
            title=f"{config.model_name} on {config.data_name}, {config.epochs} epochs, "
            f"{config.kind}",
        )
        comparisons = []
        if config.single or config.kind == "none":
            claim = "the snapshots together beat the single network"
            comparisons = [
                Comparison(claim, together.name, baseline, *published_difference(config))
            ]
        return s.finish(about, compare_methods(scores, comparisons), summary_lines)


def published_difference(config: Config) -> tuple[float | None, str]:
    """The published difference that the claim's can be held against, if any, and its source."""
    difference, source = _PUBLISHED.get(config.kind, (None, "not compared"))
    if difference is None or config.schedule == "step":
        return difference, source
    return None, f"{source}, whose rate falls in steps"


def train_snapshots(s: Study[Config], splits: Splits) -> tuple[tuple[int, ...], np.ndarray, float]:
    """Trains by cycles.

    Returns:
      The epochs at whose ends snapshots were taken, those that are lost left out; their logits on
      the test part, ``[M, R, N, K]``; the seconds of training for each of R repetitions.
    """
    config = s.config
    ends, _ = snapshot_ends(config)
    if config.kind == "reinitialised":
        logits, seconds = train_fresh_starts(s, splits)
        return ends, logits, seconds / config.seeds
    schedule = cycle_schedule(config, ends, len(splits.train))
    recipe = build.make_recipe(config, splits.train, schedule=schedule)
    trained = s.train(
        "snapshots",
        recipe,
        splits.train,
        splits.validation,
        keep_epochs=ends,
        missing=config.missing,
    )
    logits = predict_logits(recipe, list(trained.kept.values()), splits.test)
    return tuple(trained.kept), logits, trained.seconds / config.seeds


def train_fresh_starts(s: Study[Config], splits: Splits) -> tuple[np.ndarray, float]:
    """One network for each cycle, from a fresh start, by a whole cosine.

    Returns:
      Logits on the test part, ``[M, R, N, K]``; the seconds of training of all repetitions.
    """
    config = s.config
    per_epoch = steps_per_epoch(len(splits.train), config.batch_size, config.remainder)
    lengths = schedules.cycle_lengths(config.epochs, config.cycles, config.growth)
    seeds = np.reshape(build.member_seeds(config, config.cycles), (config.cycles, -1))
    by_cycle: dict[int, np.ndarray] = {}
    seconds = 0.0
    for length in dict.fromkeys(lengths):
        numbers = [number for number, each in enumerate(lengths) if each == length]
        schedule = schedules.warmup(
            schedules.cosine_cycles(config.learning_rate, [length * per_epoch]),
            round(config.warmup_epochs * per_epoch),
        )
        recipe = build.make_recipe(config, splits.train, schedule=schedule)
        shorter = dataclasses.replace(config, epochs=length)
        own = seeds[numbers].ravel().tolist()
        trained = s.train(
            f"cycle-of-{length}",
            recipe,
            splits.train,
            splits.validation,
            config=shorter,
            options=dataclasses.replace(build.fit_options(shorter), seeds=own),
        )
        logits = predict_logits(recipe, [trained.states], splits.test, len(numbers))
        by_cycle |= dict(zip(numbers, logits, strict=True))
        seconds += trained.seconds
    return np.stack([by_cycle[number] for number in range(config.cycles)]), seconds

"""The training of one architecture, and its errors; a network that diverges counts as guessing."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from cnnlab.data import Splits
from cnnlab.run_directory import METRICS, RESULT
from cnnlab.studies import build
from cnnlab.studies.study import Study
from cnnlab.train import DivergedError, Watched, evaluate
from cnnlab.train.records import read_metrics

from .config import Config

PARTS = {"train": "train", "test": "watched"}
"""Part of the data -> its name in metrics.jsonl."""


def train_or_read(s: Study[Config], config: Config, name: str, splits: Splits) -> dict[str, Any]:
    """The errors of one architecture, trained now or, where it is finished, before.

    If a seed diverges, each is trained alone: the others do not suffer from it.

    Returns:
      ``errors`` ("train", "test" -> [M], at the end), ``curves`` (the same -> [E][M], those of the
      training with augmentation, while it went on), ``diverged`` (seeds) and ``seconds``.
    """

    def compute() -> dict[str, Any]:
        try:
            return train(s, config, name, splits)
        except DivergedError as error:
            s.host.say(
                f"{config.model_name}, seeds {', '.join(map(str, config.all_seeds))}: {error}"
            )
        if config.seeds == 1:
            return guessing_errors(config, splits.train.num_classes)
        alone = [dataclasses.replace(config, seed=seed, seeds=1) for seed in config.all_seeds]
        return join_seeds([train_or_read(s, c, f"{name}-seed{c.seed}", splits) for c in alone])

    errors: dict[str, Any] = s.cached_json(f"{name}/{RESULT}", compute)
    return errors


def train(s: Study[Config], config: Config, name: str, splits: Splits) -> dict[str, Any]:
    """Trains one architecture; see ``train_or_read`` for the result."""
    recipe = build.make_recipe(config, splits.train)
    watched = Watched(splits.test)
    trained = s.train(name, recipe, splits.train, watched, config=config)
    scores = evaluate(recipe, trained.states, splits.train)
    records = read_metrics(s.directory / name / METRICS)
    curves = {
        part: [_errors(record[f"{key}/accuracy"]) for record in records if "epoch" in record]
        for part, key in PARTS.items()
    }
    return {
        "errors": {"train": (1 - scores["accuracy"]).tolist(), "test": curves["test"][-1]},
        "curves": curves,
        "diverged": [],
        "seconds": trained.seconds,
    }


def guessing_errors(config: Config, classes: int) -> dict[str, Any]:
    """The errors that a network counts with which diverged."""
    chance = 1 - 1 / classes
    return {
        "errors": {part: [chance] for part in PARTS},
        "curves": {part: [[chance]] * config.epochs for part in PARTS},
        "diverged": [config.seed],
        "seconds": 0.0,
    }


def join_seeds(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The errors of networks that were trained one by one, as if they had been together."""

    def join(rows: Sequence[list[float]]) -> list[float]:
        return list(itertools.chain.from_iterable(rows))

    return {
        "errors": {part: join([one["errors"][part] for one in each]) for part in PARTS},
        "curves": {
            part: [join(rows) for rows in zip(*(one["curves"][part] for one in each), strict=True)]
            for part in PARTS
        },
        "diverged": join([one["diverged"] for one in each]),
        "seconds": sum(one["seconds"] for one in each),
    }


def _errors(accuracy: float | list[float]) -> list[float]:
    return [1 - each for each in (accuracy if isinstance(accuracy, list) else [accuracy])]

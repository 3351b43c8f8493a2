"""Trains all networks of the study, and compares the ways to predict with them."""

import dataclasses
from typing import Any

import numpy as np

from cnnlab.studies import build, study
from cnnlab.studies.methods import (
    Method,
    accuracy_by_count,
    compare_methods,
    diversity_by_repetition,
    save_figures,
    score_methods,
)
from cnnlab.train import check_fits

from ..cli import host
from .claims import study_comparisons
from .config import Config
from .summary import summary_lines
from .trainings import (
    EQUAL,
    ONE,
    RUN,
    WHOLE,
    Trainer,
    train_short,
    train_snapshots,
    train_swa,
    train_whole_budgets,
)


def run(config: Config) -> dict[str, Any]:
    """Trains all that is compared, one training after the other, and writes the run directory.

    Returns:
      The content of result.json: ``methods`` (of ``score_methods``), ``claims``, ``by_count``
      (accuracy by the number of members) and ``diversity`` (of the snapshots, the short and the
      whole trainings).

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        config = s.config
        splits = s.load_data(config)
        recipe = build.make_recipe(config, splits.train)
        check_fits(recipe, splits.train)
        s.begin(f"ensemble_study-{config.data_name}", splits.notes)
        trainer = Trainer(s, splits, dataclasses.replace(recipe, ema_decay=None))
        methods: list[Method] = []
        logits: dict[str, np.ndarray] = {}
        seconds = 0.0
        for train in (train_whole_budgets, train_snapshots, train_short, train_swa):
            outcome = train(trainer)
            methods += outcome.methods
            logits |= outcome.logits
            seconds += outcome.seconds
        labels = splits.test.labels
        scores = score_methods(
            methods, labels, baseline="single, cosine", examples_per_epoch=len(splits.train)
        )
        about: dict[str, Any] = {
            "examples": len(splits.train),
            "model": config.model_name,
            "seconds": round(seconds, 1),
            "methods": scores,
            "by_count": {name: accuracy_by_count(each, labels) for name, each in logits.items()},
            "diversity": {
                name: diversity_by_repetition(each, labels) for name, each in logits.items()
            },
        }
        groups = (ONE, RUN, EQUAL, WHOLE)
        images = f"{about['examples']:,} images"
        save_figures(
            s.save_figure,
            dict(sorted(scores.items(), key=lambda each: groups.index(each[1]["group"]))),
            methods,
            labels,
            about["by_count"],
            calibrated=(
                "single, cosine",
                f"ensemble of {config.members}, {config.members} budgets",
            ),
            title=f"{config.model_name} on {config.data_name}, {images}, {config.epochs} epochs",
        )
        comparisons = study_comparisons(config.members, config.dataset)
        return s.finish(about, compare_methods(scores, comparisons), summary_lines)

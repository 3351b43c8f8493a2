"""A source network, transferred by every recipe to little and a lot of similar and other data."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from cnnlab.studies import build, study
from cnnlab.studies.fine_tuning import FrontCache
from cnnlab.studies.recipe_settings import AMOUNTS, LABELS
from cnnlab.studies.settings import drop_default_model_options

from ..cli import host
from . import figures
from .claims import compare, make_cell
from .config import Config, check
from .data import load_targets
from .summary import summary_lines
from .training import check_trainings, choose_recipe, train_source


def run(config: Config) -> dict[str, Any]:
    """Trains the source, then every recipe in every cell, and writes the run directory.

    Returns:
      The content of result.json: ``source``; ``cells``: for each its target, the candidate that was
      chosen of each recipe, its score and its difference from scratch, the lecture's recommendation
      and the winner; and ``claims``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        s.config = config = drop_default_model_options(s.config)
        check(config)
        splits, targets = load_targets(config)
        learning = dataclasses.replace(config, epochs=config.source_epochs)
        recipe = build.make_recipe(learning, splits.train)
        check_trainings(config, learning, recipe, splits, targets)
        s.begin(f"transfer-grid-{config.data_name}", splits.notes)
        source, about_source = train_source(s, learning, recipe, splits)
        accuracy = 100 * about_source["test_accuracy"]
        s.say(f"source: {', '.join(about_source['classes'])}; {accuracy:.2f} %")
        cells = []
        for similarity, target in targets.items():
            fronts = FrontCache()  # for both amounts and all recipes
            for amount in AMOUNTS:
                little = amount == AMOUNTS[0]
                images = target.draws.shape[1] if little else len(target.splits.train)
                s.say(f"\n{amount}, {similarity} ({target.name}), {images} images:")
                recipes = {
                    name: choose_recipe(s, source, target, (amount, similarity), name, fronts)
                    for name in config.recipes
                }
                cells.append(make_cell(amount, similarity, target.name, images, recipes))
        s.save_figure("transfer_grid", lambda: _draw(config, cells))
        seconds = about_source["seconds"] + sum(cell["seconds"] for cell in cells)
        about = {
            "other": config.other,
            "model": config.model_name,
            "source": about_source,
            "cells": cells,
            "seconds": round(seconds, 1),
        }
        claims = [claim for cell in cells for claim in compare(cell)]
        return s.finish(about, claims, summary_lines)


def _draw(config: Config, cells: Sequence[dict[str, Any]]) -> Any:
    panels = {
        (cell["amount"], cell["similarity"]): figures.Cell(
            {LABELS[n]: each["test_accuracy"]["values"] for n, each in cell["recipes"].items()},
            [LABELS[cell["recommended"]]],
        )
        for cell in cells
    }
    title = (
        f"{config.model_name}: half of {config.data_name}, transferred; different: {config.other}"
    )
    return figures.transfer_grid(panels, LABELS["scratch"], title=title)

"""The training of the source, and of every recipe in every cell at its best rate."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from cnnlab.data import Splits
from cnnlab.data.batches import steps_per_epoch
from cnnlab.mesh import fetch
from cnnlab.models import Network
from cnnlab.report.statistics import over_seeds, percent
from cnnlab.spelling import unknown
from cnnlab.studies import build
from cnnlab.studies.fine_tuning import FrontCache, Tuned, share_epochs, tune
from cnnlab.studies.recipe_settings import AMOUNTS, EARLY
from cnnlab.studies.recipes import recipe_rates
from cnnlab.studies.study import Study
from cnnlab.train import DivergedError, Recipe, check_fits, evaluate
from cnnlab.train.state import state_shapes

from .config import Config
from .data import Target


class Candidate(NamedTuple):
    """A rate, and the stage that the classifier stands on where it is not the last one."""

    rate: float
    stage: str | None

    @property
    def text(self) -> str:
        """The candidate as part of a file name."""
        return f"{self.rate:g}" if self.stage is None else f"{self.stage}-{self.rate:g}"


class Source(NamedTuple):
    """The trained network that all recipes begin with: its recipe and its variables."""

    recipe: Recipe
    variables: Mapping[str, Any]


def train_source(
    s: Study[Config], config: Config, recipe: Recipe, splits: Splits
) -> tuple[Source, dict[str, Any]]:
    """Trains the source network; its part of result.json."""
    options = dataclasses.replace(build.fit_options(config), seeds=(config.seed,))
    trained = s.train("source", recipe, splits.train, config=config, options=options)
    network = trained.states.evaluated
    variables = fetch({"params": network.params, **network.model_state})
    about = {
        "classes": splits.train.class_names,
        "images": len(splits.train),
        "test_accuracy": float(evaluate(recipe, trained.states, splits.test)["accuracy"][0]),
        "seconds": trained.seconds,
    }
    return Source(recipe, jax.tree.map(lambda leaf: leaf[0], variables)), about


def choose_recipe(
    s: Study[Config],
    source: Source,
    target: Target,
    cell: tuple[str, str],
    name: str,
    fronts: FrontCache,
) -> dict[str, Any]:
    """A recipe at its best candidate by the validation part, and its score on the test part.

    Args:
      s: the study.
      source: the network to begin with.
      target: the task.
      cell: amount and similarity.
      name: of the recipe.
      fronts: outputs of frozen fronts, for both amounts and all recipes of a target.
    """
    tried: dict[Candidate, float] = {}
    best: tuple[Candidate, Tuned] | None = None
    seconds = 0.0
    for candidate in candidates(s.config, name, trained_stages(source.recipe, target)):
        folder = "-".join((*cell, name, candidate.text)).replace(" ", "-")
        tuned = _tune(s, source, target, cell[0], name, candidate, folder, fronts)
        if tuned is None:
            s.say(f"{name}, {candidate.text}: diverged")
            continue
        assert tuned.validation is not None
        seconds += tuned.seconds
        tried[candidate] = float(tuned.validation.mean())
        if best is None or tried[candidate] > tried[best[0]]:
            best = candidate, tuned
    if best is None:
        raise ValueError(
            f"{name} diverged at all rates {s.config.learning_rates}: give lower --learning-rates."
        )
    chosen, tuned = best
    assert tuned.validation is not None
    accuracy = over_seeds(evaluate(tuned.recipe, tuned.states, target.splits.test)["accuracy"])
    s.say(f"{name}, {chosen.text}: test accuracy {percent(accuracy)}")
    return {
        "rate": chosen.rate,
        "stage": chosen.stage,
        "test_accuracy": accuracy,
        "validation_accuracy": over_seeds(tuned.validation),
        "tried": {candidate.text: value for candidate, value in tried.items()},
        "seconds": round(seconds, 1),
    }


def candidates(config: Config, name: str, stages: Sequence[str]) -> list[Candidate]:
    """The candidates of the recipe ``name``; ``stages`` have parameters, the head last."""
    on: Sequence[str | None] = [None]
    if name == EARLY:
        on = config.early or stages[(len(stages) - 2) // 2 :][:1]
    return [Candidate(rate, stage) for stage in on for rate in config.learning_rates]


def with_head_after(network: Network, stage: str) -> Network:
    """The network with its head after ``stage`` instead of its end."""
    return Network((*network.front(stage).stages, network.stages[-1]))


def trained_stages(recipe: Recipe, target: Target) -> list[str]:
    """The stages that have parameters."""
    params = state_shapes(recipe, target.splits.train.image_shape).params
    return [name for name in recipe.network.names if params.get(name)]


def check_trainings(
    config: Config, learning: Config, recipe: Recipe, splits: Splits, targets: Mapping[str, Target]
) -> None:
    """Refuses invalid trainings before anything is written.

    Args:
      config: of the experiment.
      learning: of the source.
      recipe: of the source.
      splits: of the source.
      targets: by similarity.

    Raises:
      ValueError: for settings that do not fit the data or the network.
    """
    check_fits(recipe, splits.train)
    steps_per_epoch(len(splits.train), learning.batch_size, learning.remainder)
    for target in targets.values():
        train = target.splits.train
        stages = trained_stages(recipe, target)
        for stage in config.early:
            if stage not in stages[:-2]:
                raise ValueError(unknown("earlier stage", stage, stages[:-2]))
        own = _recipe(config, recipe, target, "scratch")
        params = state_shapes(own, train.image_shape).params
        for name in (each for each in config.recipes if each != EARLY):
            share_epochs(config, len(recipe_rates(name, own.network, params)))
        steps_per_epoch(len(train), config.batch_size, config.remainder)
        check_fits(own, train)
        if EARLY in config.recipes:
            if len(stages) < 3:
                raise ValueError(f"{config.model_name} has no earlier stage: leave out early.")
            for each in candidates(config, EARLY, stages):
                network = with_head_after(own.network, str(each.stage))
                check_fits(dataclasses.replace(own, network=network), train)


def _tune(
    s: Study[Config],
    source: Source,
    target: Target,
    amount: str,
    name: str,
    candidate: Candidate,
    folder: str,
    fronts: FrontCache,
) -> Tuned | None:
    """One training of all seeds; None if it diverged."""
    config = dataclasses.replace(s.config, learning_rate=candidate.rate, resume=None)
    recipe = _recipe(config, source.recipe, target, name)
    if candidate.stage is not None:
        network = with_head_after(recipe.network, candidate.stage)
        recipe = dataclasses.replace(recipe, network=network)
    names = recipe.network.names
    variables = {
        collection: {stage: tree[stage] for stage in names if stage in tree}
        for collection, tree in source.variables.items()
    }
    own = target.splits  # without the test part, which is for what was chosen only
    assert own.validation is not None
    blind = Splits(own.train, own.validation, own.validation, own.notes)
    options = build.fit_options(config)
    if amount == AMOUNTS[0]:
        options = dataclasses.replace(options, subsets=target.repeated_draws)
    try:
        return tune(
            "linear" if name == EARLY else name,
            s,
            folder,
            variables,
            blind,
            config=config,
            recipe=recipe,
            fronts=fronts,
            options=options,
        )
    except DivergedError:
        return None


def _recipe(config: Config, source: Recipe, target: Target, name: str) -> Recipe:
    """For the target's classes; its images are prepared as the source's were, but for "scratch"."""
    recipe = build.make_recipe(config, target.splits.train)
    return recipe if name == "scratch" else dataclasses.replace(recipe, prepare=source.prepare)

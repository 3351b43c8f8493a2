"""The networks of all halves, then those that keep stages of another one."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from cnnlab.data import Dataset
from cnnlab.data.batches import steps_per_epoch
from cnnlab.mesh import fetch
from cnnlab.report.statistics import over_seeds, paired, percent
from cnnlab.studies import build, study
from cnnlab.studies.settings import drop_default_model_options
from cnnlab.train import Recipe, TrainState, check_fits, predict
from cnnlab.train.state import restarted, state_shapes
from cnnlab.transfer.freezing import freeze
from cnnlab.transfer.surgery import copy_variables

from ..cli import host
from . import figures
from .claims import Accuracies, compare
from .class_splits import (
    RANDOM,
    Member,
    accuracy_within_halves,
    by_repetition,
    cut_names,
    dissimilar_half,
    make_members,
    member_images,
)
from .config import TREATMENTS, Config
from .summary import summary_lines


class Setup(NamedTuple):
    """State shared by all trainings of the study.

    Attributes:
      train: the training part, with all classes.
      test: the test part.
      recipe: with every stage learning.
      members: M networks that train at once.
      subsets: int ``[M, n]``, the images of each.
    """

    train: Dataset
    test: Dataset
    recipe: Recipe
    members: Sequence[Member]
    subsets: np.ndarray


def run(config: Config) -> dict[str, Any]:
    """Trains the networks of all halves, then those that keep stages; writes the run directory.

    Returns:
      The content of result.json: ``cuts`` (for each, its halves, the base accuracy and that of each
      treatment and depth) and the claims of ``claims.compare``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(drop_default_model_options(config), host()) as s:
        config = s.config
        splits = s.load_data(config)
        named = config.dataset if config.classes is None else ""
        dissimilar = dissimilar_half(named, splits.train, config.half)
        members = make_members(splits.train.num_classes, config.all_seeds, dissimilar)
        subsets = member_images(members, splits.train)
        # Of one member's images: the schedule goes by as many steps as there will be.
        recipe = build.make_recipe(config, splits.train.take(subsets[0]))
        setup = Setup(splits.train, splits.test, recipe, members, subsets)
        depths, most = _check_depths(config, setup)
        s.begin(f"transferability-{config.data_name}", splits.notes)
        s.say(f"{len(members)} networks at once, {subsets.shape[1]} images each")

        accuracies, seconds = train_all(s, setup, depths)
        cuts = {
            cut: {name: by_repetition(members, cut, each) for name, each in accuracies.items()}
            for cut in cut_names(members)
        }
        title = f"{config.model_name} on halves of {config.data_name}"
        draw = functools.partial(figures.transferability, cuts, depths, title=title)
        s.save_figure("transferability", draw)
        about = {
            "model": config.model_name,
            "images": subsets.shape[1],
            "stages": list(depths.values()),
            "cuts": {cut: _summarize(setup, cut, each, depths) for cut, each in cuts.items()},
            "seconds": round(seconds, 1),
        }
        claims = compare(cuts, list(depths), all_stages=max(depths) == most)
        return s.finish(about, claims, summary_lines)


def _check_depths(config: Config, setup: Setup) -> tuple[dict[int, str], int]:
    """Depth -> the last stage that is kept; and the largest possible depth.

    Raises:
      ValueError: for settings that could not be trained.
    """
    recipe, train = setup.recipe, setup.train
    check_fits(recipe, train)
    steps_per_epoch(setup.subsets.shape[1], config.batch_size, config.remainder)
    params = state_shapes(recipe, train.image_shape).params
    stages = [name for name in recipe.network.names if params.get(name)][:-1]
    if not stages:
        raise ValueError(
            f"{config.model_name} has no stage with parameters before its last one, so that there "
            "is nothing to keep. Choose a deeper network."
        )
    depths = sorted(set(config.depths or range(1, len(stages) + 1)))
    if depths[0] < 1 or depths[-1] > len(stages):
        raise ValueError(
            f"depths must be in 1 to {len(stages)}, the stages of {config.model_name} that have "
            f"parameters without the last one: {', '.join(stages)}; got {config.depths}."
        )
    return {depth: stages[depth - 1] for depth in depths}, len(stages)


# Training ------------------------------------------------------------------------------------


def train_all(
    s: study.Study[Config], setup: Setup, depths: Mapping[int, str]
) -> tuple[dict[str, np.ndarray], float]:
    """Trains the base networks, and for each depth the four treatments.

    Returns:
      Accuracies of "base" ``[M]`` and of each treatment ``[P, M]``; and the seconds of training.
    """
    base, accuracy = _train(s, setup, "base", setup.recipe)
    seconds = base.seconds
    own = _evaluated_variables(base.states)
    partners = [member.partner for member in setup.members]
    sources = {"BnB": own, "AnB": jax.tree.map(lambda leaf: leaf[partners], own)}
    first = 2 * (s.config.seed + s.config.seeds)  # seeds that no base network started with
    seeds = range(first, first + len(setup.members))
    fresh = _evaluated_variables(s.fresh_states(setup.recipe, setup.train, seeds))
    rows: dict[str, list[np.ndarray]] = {treatment: [] for treatment in TREATMENTS}
    for depth, stage in depths.items():
        rates = freeze(setup.recipe.network, up_to=stage)
        frozen = dataclasses.replace(setup.recipe, rates=rates)
        for letters, source in sources.items():
            for sign, recipe in (("", frozen), ("+", setup.recipe)):
                initial = copy_stages(recipe, source, fresh, stage)
                name = f"{letters[0]}{depth}B{'-tuned' if sign else ''}"
                trained, row = _train(s, setup, name, recipe, initial)
                rows[letters + sign].append(row)
                seconds += trained.seconds
    return {"base": accuracy, **{name: np.stack(row) for name, row in rows.items()}}, seconds


def copy_stages(
    recipe: Recipe, source: Mapping[str, Any], fresh: Mapping[str, Any], stage: str
) -> TrainState:
    """Initial states with each member's stages up to ``stage`` from its own source.

    Args:
      recipe: how they will be trained.
      source: variables of each member's source, every leaf with a leading axis [M].
      fresh: newly initialised ones, likewise.
      stage: the last one that is kept.
    """
    names = recipe.network.names
    others = [name for name in names[names.index(stage) + 1 :] if name in fresh["params"]]
    variables, _ = copy_variables(source, fresh, reinitialise=others)
    return restarted(recipe, variables.pop("params"), variables)


def _evaluated_variables(states: TrainState) -> dict[str, Any]:
    """The variables ``[M, ...]`` that are evaluated, on the host."""
    network = states.evaluated
    variables: dict[str, Any] = fetch({"params": network.params, **network.model_state})
    return variables


def _train(
    s: study.Study[Config],
    setup: Setup,
    name: str,
    recipe: Recipe,
    initial: TrainState | None = None,
) -> tuple[study.Trained, np.ndarray]:
    """One training of all members; and their accuracy ``[M]`` on test images of their halves."""
    members = setup.members
    options = dataclasses.replace(
        build.fit_options(s.config),
        seeds=[member.seed for member in members],
        subsets=setup.subsets,
        initial=initial,
    )
    s.say(f"\n{name}:")
    trained = s.train(name, recipe, setup.train, options=options)
    # With the common recipe, whose rates differ, as all trainings then share one program.
    logits = predict(setup.recipe, trained.states, setup.test)
    accuracy = accuracy_within_halves(logits, setup.test.labels, members)
    for cut in cut_names(members):
        text = percent(over_seeds(by_repetition(members, cut, accuracy)))
        s.say(f"{name}, {cut}: test accuracy {text}")
    return trained, accuracy


def _summarize(
    setup: Setup, cut: str, accuracies: Accuracies, depths: Mapping[int, str]
) -> dict[str, Any]:
    """A cut as it is in result.json."""
    names = setup.train.class_names
    class_halves = [[names[i] for i in m.classes] for m in setup.members if m.cut == cut]
    return {
        "halves": class_halves if cut == RANDOM else class_halves[:2],
        "base": over_seeds(accuracies["base"]),
        "treatments": [
            {
                "treatment": treatment,
                "depth": depth,
                "stage": stage,
                "test_accuracy": over_seeds(accuracies[treatment][i]),
                "difference": paired(accuracies[treatment][i], accuracies["base"]),
            }
            for treatment in TREATMENTS
            for i, (depth, stage) in enumerate(depths.items())
        ],
    }

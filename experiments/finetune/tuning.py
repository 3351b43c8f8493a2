"""The training by one recipe, its part of result.json, and its networks saved."""

from typing import Any, NamedTuple

import jax

from cnnlab.data import Splits
from cnnlab.report.statistics import over_seeds
from cnnlab.studies.build import make_recipe
from cnnlab.studies.fine_tuning import FrontCache, Tuned, tune
from cnnlab.studies.recipe_settings import RECIPES
from cnnlab.studies.saved_networks import save_networks
from cnnlab.studies.study import Study
from cnnlab.studies.trained import TrainedNetworks
from cnnlab.train import DivergedError

from .config import Config
from .source import channel_change, source_history, with_normalization
from .summary import recipe_line


class Transfer(NamedTuple):
    """A trained network and the data that it is tuned to.

    Attributes:
      config: of the new networks.
      network: the trained one.
      splits: the new data.
      fronts: outputs of frozen fronts that recipes share.
    """

    config: Config
    network: TrainedNetworks
    splits: Splits
    fronts: FrontCache


def tune_by_recipe(s: Study[Config], transfer: Transfer, name: str) -> dict[str, Any]:
    """Trains by a recipe, now or, where it is finished, before; its networks are saved.

    Returns:
      The recipe's part of result.json.
    """
    config = transfer.config.for_recipe(name)
    s.say(f"\n{name}, {RECIPES[name]}; {config.seeds} seeds:")
    began = s.host.clock()
    try:
        tuned = _tune(s, transfer, name)
    except DivergedError as error:
        s.say(f"{name}: {error}")
        return _diverged(config)
    fields = _fields(config, tuned)
    if tuned.table:
        s.say(tuned.table)
    s.say(f"{recipe_line(name, fields)}, {s.host.clock() - began:.0f} s with compiling")
    return fields


def _tune(s: Study[Config], transfer: Transfer, name: str) -> Tuned:
    config, seen = with_normalization(
        transfer.config, transfer.network, transfer.splits.train, name
    )
    tuned = tune(
        name,
        s,
        name,
        None if name == "scratch" else transfer.network.variables,
        transfer.splits,
        config=config,
        recipe=make_recipe(config, seen),
        details=config.details,
        channels=channel_change(config, transfer.network.channels, seen),
        fronts=transfer.fronts,
    )
    about = {
        "origin": None if name == "scratch" else transfer.network.name,
        "rates": tuned.table.splitlines(),
        "test": {"accuracy": over_seeds(tuned.accuracy)},
        "seconds": round(tuned.seconds, 1),
    }
    history = [] if name == "scratch" else source_history(s)
    save_networks(s, name, tuned.states, config, transfer.splits, seen, about, history)
    return tuned


def _fields(config: Config, tuned: Tuned) -> dict[str, Any]:
    learning = tuned.recipe.trainable(tuned.states.params)
    validation = tuned.validation
    return {
        "test_accuracy": over_seeds(tuned.accuracy),
        "validation_accuracy": None if validation is None else validation.tolist(),
        "learning_rate": config.learning_rate,
        "epochs": config.epochs,
        "parameters": sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(learning)),
        "cached": tuned.front,
        "cache_seconds": round(tuned.cache_seconds, 1),
        "seconds": round(tuned.seconds, 1),
        "rates": tuned.table.splitlines(),
        "diverged": False,
    }


def _diverged(config: Config) -> dict[str, Any]:
    """The part of a recipe that diverged: nothing was measured."""
    unknown = ("test_accuracy", "validation_accuracy", "parameters", "cached", "cache_seconds")
    return {
        **dict.fromkeys((*unknown, "seconds")),
        "learning_rate": config.learning_rate,
        "epochs": config.epochs,
        "rates": [],
        "diverged": True,
    }

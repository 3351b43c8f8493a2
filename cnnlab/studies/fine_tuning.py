"""Training from a trained network, by the names that lectures give the recipes.

    tuned = tune("linear", s, "linear", networks.variables, splits)
    print(tuned.table, tuned.accuracy.mean())

Where a front of the network is frozen and the images are not augmented, its output is computed once
and only the tail is trained. Each training is a folder of the study, which can be resumed.

The recipes are those of ``recipe_settings``.

Source: Yosinski et al., How transferable are features in deep neural networks?, NIPS 2014.
"""

import dataclasses
import math
from collections.abc import MutableMapping
from typing import Any, NamedTuple

import jax
import numpy as np

from cnnlab.data import Dataset, Features, Splits
from cnnlab.models import Network
from cnnlab.rates import Rates
from cnnlab.schedules import cycle_lengths
from cnnlab.studies import build
from cnnlab.studies.recipe_settings import Details
from cnnlab.studies.recipes import recipe_rates
from cnnlab.studies.settings import Training
from cnnlab.studies.study import Study
from cnnlab.train import FitOptions, Recipe, TrainState, evaluate, restarted
from cnnlab.train.state import state_shapes
from cnnlab.transfer import cache, tail
from cnnlab.transfer.surgery import transplant


class Tuned(NamedTuple):
    """Networks at the end of their training.

    Attributes:
      name: of ``RECIPES``.
      recipe: how the whole network was trained (at last, where there were phases).
      states: of the whole network, ``[M, ...]``.
      seconds: of training over all sittings, those of caching included.
      accuracy: on the test part, float64 ``[M]``.
      validation: on the validation part, ``[M]``, or None where there is none.
      front: the last stage of the front whose output was cached, or None.
      cache_seconds: of computing the front's outputs, part of ``seconds``; 0 where another recipe
        had done so.
      table: which parameters learned how fast; a table for each phase.
    """

    name: str
    recipe: Recipe
    states: TrainState
    seconds: float
    accuracy: np.ndarray
    validation: np.ndarray | None
    front: str | None = None
    cache_seconds: float = 0.0
    table: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class FrontCache:
    """The outputs of frozen fronts, for recipes with the same variables, data and preparation."""

    outputs: MutableMapping[Any, Features] = dataclasses.field(default_factory=dict)


def tune(
    name: str,
    s: Study[Any],
    folder: str,
    variables: Any,
    splits: Splits,
    *,
    config: Training | None = None,
    recipe: Recipe | None = None,
    details: Details = Details(),  # noqa: B008 a frozen value
    channels: Any = None,
    fronts: FrontCache | None = None,
    options: FitOptions | None = None,
) -> Tuned:
    """Trains by a recipe in the study's folder ``folder``, or goes on there.

    Args:
      name: of ``RECIPES``.
      s: the study.
      folder: of the training; phases are ``folder-1``, ``folder-2`` …
      variables: ``{"params": ..., "batch_stats": ...}`` of one trained network, the same for all
        seeds; not used by "scratch".
      splits: the data; the test part is looked at once, at the end.
      config: its model, epochs, rate, seeds …; the study's by default. The epochs are passes over
        the training images, also with copies; "gradual" shares them out among its phases, each
        with a schedule of its own.
      recipe: its network, preparation, augmentation and loss in place of the config's; the
        optimizer and the schedule are the config's.
      details: the choices that the recipe leaves open.
      channels: as of ``transfer.copy_variables``.
      fronts: outputs of fronts that other recipes have computed.
      options: seeds and subsets in place of the config's.

    Raises:
      ValueError: for an unknown recipe or invalid settings.
      SurgeryError: if the variables are of another network.
      Interrupted: after SIGTERM or Ctrl-C; the study can be resumed.
    """
    config = s.config if config is None else config
    options = build.fit_options(config) if options is None else options
    train = splits.train
    images = _images_seen(train, options)
    base = _with_optimizer(config, train, recipe, images)
    shapes = state_shapes(base, train.image_shape).params
    phases = recipe_rates(name, base.network, shapes, details)
    if name == "scratch":
        trained = s.train(folder, base, train, splits.validation, config=config, options=options)
        return _score(name, base, trained.states, splits, trained.seconds)
    common = _Common(name, s, splits, details, FrontCache() if fronts is None else fronts)
    done: list[Tuned] = []
    for number, (rates, own) in enumerate(
        zip(phases, share_epochs(config, len(phases)), strict=True)
    ):
        phase = dataclasses.replace(_with_optimizer(own, train, recipe, images), rates=rates)
        if done:
            last = done[-1].states
            states = restarted(phase, last.params, last.model_state)
        else:
            states, _ = transplant(  # its report is that of ``copy_variables``
                variables,
                phase,
                train,
                options.seeds,
                reinitialise=details.fresh(base.network.names),
                channels=channels,
            )
        part = folder if len(phases) == 1 else f"{folder}-{number + 1}"
        own_options = dataclasses.replace(options, epochs=own.epochs, initial=states)
        tuned = _train_phase(common, own, part, phase, states, own_options)
        table = "" if rates is None else rates.table(shapes, own.learning_rate)
        done.append(tuned._replace(table=table))
    return done[-1]._replace(
        seconds=sum(each.seconds for each in done),
        cache_seconds=sum(each.cache_seconds for each in done),
        table="\n".join(each.table for each in done),
    )


def frozen_front(network: Network, rates: Rates | None, params: Any) -> str | None:
    """The last stage of the front that is frozen as a whole, None where there is no such front.

    A stage without parameters counts as frozen, but does not end a front.
    """
    if rates is None:
        return None
    frozen = rates.frozen(params)
    front = None
    for name in network.names:
        if not all(jax.tree.leaves(frozen.get(name, {}))):
            break
        if name in frozen:
            front = name
    return front


def share_epochs(config: Training, phases: int) -> list[Training]:
    """The config of each phase: equal shares of the epochs, but for rounding."""
    if phases == 1:
        return [config]
    return [_with_epochs(config, epochs) for epochs in cycle_lengths(config.epochs, phases)]


# Helpers -------------------------------------------------------------------------------------


class _Common(NamedTuple):
    """The arguments of ``tune`` that its phases share."""

    name: str
    s: Study[Any]
    splits: Splits
    details: Details
    fronts: FrontCache


def _with_optimizer(config: Training, train: Dataset, recipe: Recipe | None, images: int) -> Recipe:
    """The config's recipe, or the given one with the config's optimizer and schedule.

    Args:
      config: what was asked for.
      train: the training part.
      recipe: a recipe, or None.
      images: how many are seen in an epoch: a subset, or copies.
    """
    made = build.make_recipe(config, train, images=images)
    if recipe is None:
        return made
    return dataclasses.replace(recipe, optimizer=made.optimizer, schedule=made.schedule)


def _images_seen(train: Dataset, options: FitOptions) -> int:
    """How many images each network sees in an epoch."""
    return len(train) if options.subsets is None else np.shape(options.subsets)[1]


def _with_epochs(config: Training, epochs: int) -> Training:
    """The config for ``epochs`` epochs, with as large a part of them for the warm-up."""
    warmup = config.warmup_epochs * epochs / config.epochs
    return dataclasses.replace(config, epochs=epochs, warmup_epochs=warmup)


def _train_phase(
    common: _Common,
    config: Training,
    folder: str,
    recipe: Recipe,
    states: TrainState,
    options: FitOptions,
) -> Tuned:
    """One training from given states, after a cached front where that changes nothing."""
    name, s, splits, details, _ = common
    params = state_shapes(recipe, splits.train.image_shape).params
    front = frozen_front(recipe.network, recipe.rates, params)
    cacheable = details.copies or not recipe.augments
    if front is not None and details.cache != "none" and cacheable:
        return _train_tail(common, config, folder, recipe, states, front, options)
    if details.copies and front is None:
        s.say(f"{name}: no front is frozen, so images are augmented anew in every epoch")
    trained = s.train(
        folder, recipe, splits.train, splits.validation, config=config, options=options
    )
    return _score(name, recipe, trained.states, splits, trained.seconds)


def _train_tail(
    common: _Common,
    config: Training,
    folder: str,
    recipe: Recipe,
    states: TrainState,
    front: str,
    options: FitOptions,
) -> Tuned:
    """Runs the front once, and trains the tail on its outputs."""
    name, s, splits, details, _ = common
    began = s.host.clock()
    outputs = _front_outputs(common, config, recipe, states, front)
    spent = s.host.clock() - began  # a resume repeats it: the seconds of the first sitting count
    stored = s.cached_json(f"{folder}-cache.json", lambda: {"seconds": spent})
    cache_seconds = float(stored["seconds"])
    if details.copies > 1:
        config = _with_epochs(config, math.ceil(config.epochs / details.copies))
        images = _images_seen(splits.train, options) * details.copies
        recipe = _with_optimizer(config, splits.train, recipe, images)
        if options.subsets is not None:
            subsets = np.asarray(options.subsets)
            each = [subsets + i * len(splits.train) for i in range(details.copies)]
            options = dataclasses.replace(options, subsets=np.concatenate(each, axis=1))
    tail_recipe = tail.tail_recipe(recipe, front)
    options = dataclasses.replace(
        options, epochs=config.epochs, initial=tail.tail_states(recipe, states, front)
    )
    trained = s.train(
        folder,
        tail_recipe,
        outputs.train,
        outputs.validation,
        config=config,
        options=options,
    )
    seconds = trained.seconds + cache_seconds
    tuned = _score(name, tail_recipe, trained.states, outputs, seconds)
    whole = tail.join_front(recipe, states, trained.states, front)
    return tuned._replace(recipe=recipe, states=whole, front=front, cache_seconds=cache_seconds)


def _front_outputs(
    common: _Common, config: Training, recipe: Recipe, states: TrainState, front: str
) -> Splits:
    """The front's outputs for each part of the data, computed where they are not yet known."""
    details, outputs = common.details, common.fronts.outputs
    parts: dict[str, Any] = {}
    for part in ("train", "validation", "test"):
        dataset = getattr(common.splits, part)
        copies = details.copies if part == "train" else 0
        key = (part, front, copies)
        if dataset is not None and key not in outputs:
            folder = common.s.directory / "features" / "-".join(map(str, key))
            outputs[key] = cache.front_features(
                recipe,
                states,
                dataset,
                front,
                copies=copies,
                seed=config.seed,
                directory=folder if details.cache == "disk" else None,
            )
        parts[part] = outputs.get(key)
    return Splits(**parts)


def _score(name: str, recipe: Recipe, states: TrainState, splits: Splits, seconds: float) -> Tuned:
    """The networks with their accuracy on the validation and the test part."""
    validation = None
    if splits.validation is not None:
        validation = evaluate(recipe, states, splits.validation)["accuracy"]
    accuracy = evaluate(recipe, states, splits.test)["accuracy"]
    return Tuned(name, recipe, states, seconds, accuracy, validation)

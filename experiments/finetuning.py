"""Training from what another network has learned, by the names that lectures give the recipes.

    tuned = tune("linear", config, whole, "linear", origin.variables, splits)
    print(tuned.table, tuned.accuracy.mean())

Where a front of the network is frozen and the images are not augmented, its output is computed once
and only the rest is trained. Each training is a part of the whole's run directory, which can be
resumed.

The recipes are those of ``finetune_recipes``.

Source: Yosinski et al., How transferable are features in deep neural networks?, NIPS 2014.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.config import Training, make_recipe
from experiments.finetune_recipes import RECIPES, Cache, Details, rates_of
from experiments.parts import Whole, train_part

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset, Features, Splits
    from cnnlab.models import Network
    from cnnlab.rates import Rates
    from cnnlab.train import Recipe, TrainState

__all__ = [
    "RECIPES",
    "Cache",
    "Details",
    "Tuned",
    "frozen_front",
    "rates_of",
    "shares",
    "tune",
]


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
    recipe: "Recipe"
    states: "TrainState"
    seconds: float
    accuracy: "np.ndarray"
    validation: "np.ndarray | None"
    front: str | None
    cache_seconds: float
    table: str


def tune(
    name: str,
    config: Training,
    whole: Whole,
    part: str,
    variables: Any,
    splits: "Splits",
    *,
    recipe: "Recipe | None" = None,
    details: Details | None = None,
    channels: Any = None,
    kept: "MutableMapping[Any, Features] | None" = None,
    say: Callable[[str], Any] = print,
    **settings: Any,
) -> Tuned:
    """Trains by a recipe in the whole's folder ``part``, goes on there, or reads what is finished.

    Args:
      name: of ``RECIPES``.
      config: its model, epochs, rate, seeds … The epochs are passes over the training images, also
        with copies; "gradual" shares them out among its phases, each with a schedule of its own.
      whole: the experiment.
      part: the folder; phases are ``part-1``, ``part-2`` …
      variables: ``{"params": ..., "batch_stats": ...}`` of one trained network, the same for all
        seeds; not looked at by "scratch".
      splits: the data; the test part is looked at once, at the end.
      recipe: its network, preparation, augmentation and loss in place of the config's; the
        optimizer and the schedule are the config's.
      details: what the recipe leaves open; as ``Details()`` has it if left out.
      channels: as of ``transfer.copy_variables``.
      kept: what fronts gave, for other recipes with the same variables, splits and preparation.
      say: is told what a recipe does otherwise than was asked for.
      **settings: of ``train_part``, such as ``seeds`` and ``subsets``.

    Raises:
      ValueError: for a recipe or settings that cannot be.
      SurgeryError: if the variables are of another network.
      Interrupted: after SIGTERM or Ctrl-C; the whole can be resumed.
    """
    from cnnlab.train.state import restarted, state_shapes
    from cnnlab.transfer.surgery import transplant

    details = Details() if details is None else details
    train = splits.train
    images = _seen(train, settings)
    base = _recipe(config, train, recipe, images)
    shapes = state_shapes(base, train.image_shape).params
    phases = rates_of(name, base.network, shapes, details)
    if name == "scratch":
        trained = train_part(config, whole, part, base, train, splits.validation, **settings)
        return _judged(name, base, trained.states, splits, trained.seconds)
    common = _Common(name, whole, splits, details, {} if kept is None else kept, say, settings)
    done: list[Tuned] = []
    for number, (rates, own) in enumerate(zip(phases, shares(config, len(phases)), strict=True)):
        phase = dataclasses.replace(_recipe(own, train, recipe, images), rates=rates)
        if done:
            last = done[-1].states
            states = restarted(phase, last.params, last.model_state)
        else:
            states, _ = transplant(  # the report is that of ``copy_variables``, shown by the caller
                variables,
                phase,
                train,
                settings.get("seeds", config.all_seeds),
                reinitialise=details.fresh(base.network),
                channels=channels,
            )
        folder = part if len(phases) == 1 else f"{part}-{number + 1}"
        tuned = _phase(common, own, folder, phase, states)
        table = "" if rates is None else rates.table(shapes, own.learning_rate)
        done.append(tuned._replace(table=table))
    return done[-1]._replace(
        seconds=sum(each.seconds for each in done),
        cache_seconds=sum(each.cache_seconds for each in done),
        table="\n".join(each.table for each in done),
    )


def frozen_front(network: "Network", rates: "Rates | None", params: Any) -> str | None:
    """The last stage of the front that is frozen as a whole, None where there is no such front.

    A stage without parameters counts as frozen, but does not end a front.
    """
    import jax

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


# Helpers -------------------------------------------------------------------------------------


def _recipe(config: Training, train: "Dataset", given: "Recipe | None", images: int) -> "Recipe":
    """The config's recipe, or the given one with the config's optimizer and schedule.

    Args:
      config: what was asked for.
      train: the training part.
      given: a recipe, or None.
      images: how many are seen in an epoch: a subset, or copies.
    """
    made = make_recipe(config, train, images=images)
    if given is None:
        return made
    return dataclasses.replace(given, optimizer=made.optimizer, schedule=made.schedule)


def _seen(train: "Dataset", settings: Mapping[str, Any]) -> int:
    """How many images each network sees in an epoch."""
    subsets = settings.get("subsets")
    return len(train) if subsets is None else len(subsets[0])


def shares(config: Training, phases: int) -> list[Training]:
    """The config of each phase: equal shares of the epochs, but for rounding."""
    from cnnlab.schedules import cycle_lengths

    if phases == 1:
        return [config]
    return [_shorter(config, epochs) for epochs in cycle_lengths(config.epochs, phases)]


def _shorter(config: Training, epochs: int) -> Training:
    """The same for fewer epochs, with as large a part of them for the warm-up."""
    warmup = config.warmup_epochs * epochs / config.epochs
    return dataclasses.replace(config, epochs=epochs, warmup_epochs=warmup)


class _Common(NamedTuple):
    """What the phases of a training have in common; the fields are arguments of ``tune``."""

    name: str
    whole: Whole
    splits: "Splits"
    details: Details
    kept: "MutableMapping[Any, Features]"
    say: Callable[[str], Any]
    settings: dict[str, Any]


def _phase(
    common: _Common, config: Training, part: str, recipe: "Recipe", states: "TrainState"
) -> Tuned:
    """One training from given states, behind a cache where that changes nothing."""
    from cnnlab.train.state import state_shapes

    name, whole, splits, details, _, say, settings = common
    params = state_shapes(recipe, splits.train.image_shape).params
    front = frozen_front(recipe.network, recipe.rates, params)
    augmented = bool(config.crop or config.flip or config.cutout)
    if front is not None and details.cache != "none" and (details.copies or not augmented):
        return _cached(common, config, part, recipe, states, front)
    if details.copies and front is None:
        say(f"{name}: no front is frozen, so images are augmented anew in every epoch")
    given = {**settings, "initial": states}
    trained = train_part(config, whole, part, recipe, splits.train, splits.validation, **given)
    return _judged(name, recipe, trained.states, splits, trained.seconds)


def _cached(
    common: _Common,
    config: Training,
    part: str,
    recipe: "Recipe",
    states: "TrainState",
    front: str,
) -> Tuned:
    """The front is run once, and only the tail is trained."""
    import numpy as np

    from cnnlab.data import Splits
    from cnnlab.transfer import join_front, tail_recipe, tail_states

    name, whole, splits, details, _, _, settings = common
    begun = time.perf_counter()
    found = _features(common, config, recipe, states, front)
    cache_seconds = _first_sitting(whole, part, time.perf_counter() - begun)
    if details.copies > 1:
        config = _shorter(config, math.ceil(config.epochs / details.copies))
        images = _seen(splits.train, settings) * details.copies
        recipe = _recipe(config, splits.train, recipe, images)
        if settings.get("subsets") is not None:
            subsets = np.asarray(settings["subsets"])
            each = [subsets + i * len(splits.train) for i in range(details.copies)]
            settings = {**settings, "subsets": np.concatenate(each, axis=1)}
    tail = tail_recipe(recipe, front)
    given = {**settings, "initial": tail_states(recipe, states, front)}
    trained = train_part(config, whole, part, tail, found["train"], found["validation"], **given)
    judged = _judged(name, tail, trained.states, Splits(**found), trained.seconds + cache_seconds)
    whole_states = join_front(recipe, states, trained.states, front)
    return judged._replace(
        recipe=recipe, states=whole_states, front=front, cache_seconds=cache_seconds
    )


def _features(
    common: _Common, config: Training, recipe: "Recipe", states: "TrainState", front: str
) -> dict[str, Any]:
    """What the front gives for each part of the data, computed where it is not yet known."""
    from cnnlab.transfer import cache

    details, kept = common.details, common.kept
    found: dict[str, Any] = {}
    for which in ("train", "validation", "test"):
        dataset = getattr(common.splits, which)
        copies = details.copies if which == "train" else 0
        key = (which, front, copies)
        if dataset is not None and key not in kept:
            folder = common.whole.directory / "features" / "-".join(map(str, key))
            kept[key] = cache.front_features(
                recipe,
                states,
                dataset,
                front,
                copies=copies,
                seed=config.seed,
                directory=folder if details.cache == "disk" else None,
            )
        found[which] = kept.get(key)
    return found


def _first_sitting(whole: Whole, part: str, seconds: float) -> float:
    """The seconds that a cache took in the first sitting, which a resume repeats."""
    from cnnlab.train import records
    from cnnlab.train.recorder import first_process

    spent = whole.directory / f"{part}-cache.json"
    if spent.is_file():
        return float(records.read_json(spent)["seconds"])
    if first_process():
        records.write_json(spent, {"seconds": seconds})
    return seconds


def _judged(
    name: str, recipe: "Recipe", states: "TrainState", splits: "Splits", seconds: float
) -> Tuned:
    from cnnlab.train import evaluate

    validation = None
    if splits.validation is not None:
        validation = evaluate(recipe, states, splits.validation)["accuracy"]
    accuracy = evaluate(recipe, states, splits.test)["accuracy"]
    return Tuned(name, recipe, states, seconds, accuracy, validation, None, 0.0, "")

"""Training from what another network has learned, by the names that lectures give the recipes.

    tuned = tune("linear", config, whole, "linear", origin.variables, splits)
    print(tuned.table, tuned.accuracy.mean())

Where a front of the network is frozen and the images are not augmented, its output is computed once
and only the rest is trained. Each training is a part of the whole's run directory, which can be
resumed.

Source: Karpathy and Johnson, CS231n, Stanford, lecture "CNNs in practice", 2016; Yosinski et al.,
NIPS 2014; gradual unfreezing by Howard and Ruder, ACL 2018.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from experiments.config import Training, make_recipe
from experiments.parts import Whole, train_part

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset, Features, Splits
    from cnnlab.models import Network
    from cnnlab.rates import Rates
    from cnnlab.train import Recipe, TrainState

RECIPES = {
    "linear": "a linear classifier on top: all stages but the head are frozen",
    "top": "the last stages are fine-tuned at a tenth of the head's rate, the others frozen",
    "all": "all stages are fine-tuned, those before the head at a tenth of its rate",
    "layerwise": "all stages, each at a rate of its own: 1 for the head, 1/10, then 1/100",
    "gradual": "the head alone first, then a stage more in each phase",
    "scratch": "from fresh weights: nothing is transferred",
}

Cache = Literal["memory", "disk", "none"]


@dataclasses.dataclass(frozen=True)
class Details:
    """What the recipes leave open.

    Attributes:
      top: "top" trains so many stages, the head among them.
      body: the factor of the rate of "top" and "all" behind which the head learns.
      decay: "layerwise" takes this factor from stage to stage, in place of 1, 1/10 and 1/100.
      copies: with a frozen front, train on the front's outputs of so many augmented copies of each
        image, computed once; 0 for the images themselves, or for augmentation without a cache.
      cache: where the outputs of a frozen front are kept: in memory, on the disk (in the run
        directory), or nowhere: the front then runs in every step.
    """

    top: int = 2
    body: float = 0.1
    decay: float | None = None
    copies: int = 0
    cache: Cache = "memory"

    def __post_init__(self) -> None:
        if self.copies < 0:
            raise ValueError(f"copies must be at least 0, got {self.copies}.")
        if not 0 < self.body < math.inf:
            raise ValueError(f"the rate of the body must be a factor > 0, got {self.body}.")
        if self.copies and self.cache == "none":
            raise ValueError("copies are of the cached kind: choose the cache memory or disk.")


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


def rates_of(
    name: str, network: "Network", params: Any, details: Details = Details()
) -> "tuple[Rates | None, ...]":
    """What learns how fast, phase by phase; one phase but for "gradual".

    Args:
      name: of ``RECIPES``.
      network: the row of stages.
      params: of one network, or their shapes.
      details: what the recipe leaves open.

    Raises:
      ValueError: for an unknown recipe, or stages that the network does not have.
    """
    from cnnlab.spelling import unknown
    from cnnlab.transfer import freezing, surgery

    if name not in RECIPES:
        raise ValueError(unknown("recipe", name, RECIPES))
    head = {network.names[-1]: 1.0}
    if name == "scratch":
        return (None,)
    if name == "linear":
        return (freezing.by_stage(network, head, rest=0.0),)
    if name == "top":
        learning = dict.fromkeys(surgery.last_stages(network, details.top), details.body)
        return (freezing.by_stage(network, learning | head, rest=0.0),)
    if name == "all":
        return (freezing.by_stage(network, head, rest=details.body),)
    if name == "layerwise":
        if details.decay is None:
            return (freezing.lecture_rates(network),)
        return (freezing.layer_decay(network, details.decay),)
    phases = {str(rates.frozen(params)): rates for rates in freezing.gradual(network)}
    return tuple(phases.values())  # a stage without parameters adds no phase


def tune(
    name: str,
    config: Training,
    whole: Whole,
    part: str,
    variables: Any,
    splits: "Splits",
    *,
    recipe: "Recipe | None" = None,
    details: Details = Details(),
    reinitialise: Sequence[str] | None = None,
    channels: Any = None,
    kept: "MutableMapping[Any, Features] | None" = None,
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
      details: what the recipe leaves open.
      reinitialise: what starts afresh, as of ``transfer.copied``; the last stage by default.
      channels: as of ``transfer.copied``.
      kept: what fronts gave, for other recipes with the same variables, splits and preparation.
      **settings: of ``train_part``, such as ``seeds`` and ``subsets``.

    Raises:
      ValueError: for a recipe or settings that cannot be.
      SurgeryError: if the variables are of another network.
      Interrupted: after SIGTERM or Ctrl-C; the whole can be resumed.
    """
    from cnnlab.train.state import restarted, state_shapes
    from cnnlab.transfer.surgery import transplant

    train = splits.train
    images = _seen(train, settings)
    base = _recipe(config, train, recipe, images)
    shapes = state_shapes(base, train.image_shape).params
    phases = rates_of(name, base.network, shapes, details)
    if name == "scratch":
        trained = train_part(config, whole, part, base, train, splits.validation, **settings)
        return _judged(name, base, trained.states, splits, trained.seconds)
    done: list[Tuned] = []
    for number, (rates, own) in enumerate(zip(phases, shares(config, len(phases)), strict=True)):
        phase = dataclasses.replace(_recipe(own, train, recipe, images), rates=rates)
        if done:
            last = done[-1].states
            states = restarted(phase, last.params, last.model_state)
        else:
            states, _ = transplant(
                variables,
                phase,
                train,
                settings.get("seeds", config.all_seeds),
                reinitialise=base.network.names[-1:] if reinitialise is None else reinitialise,
                channels=channels,
            )
        folder = part if len(phases) == 1 else f"{part}-{number + 1}"
        tuned = _phase(name, own, whole, folder, phase, states, splits, details, kept, settings)
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


def _phase(
    name: str,
    config: Training,
    whole: Whole,
    part: str,
    recipe: "Recipe",
    states: "TrainState",
    splits: "Splits",
    details: Details,
    kept: "MutableMapping[Any, Features] | None",
    settings: dict[str, Any],
) -> Tuned:
    """One training from given states, behind a cache where that changes nothing."""
    from cnnlab.train.state import state_shapes

    params = state_shapes(recipe, splits.train.image_shape).params
    front = frozen_front(recipe.network, recipe.rates, params)
    augmented = bool(config.crop or config.flip or config.cutout)
    if front is None or details.cache == "none" or (augmented and not details.copies):
        if details.copies and front is None:
            print(f"{name}: no front is frozen, so images are augmented anew in every epoch")
        given = {**settings, "initial": states}
        trained = train_part(config, whole, part, recipe, splits.train, splits.validation, **given)
        return _judged(name, recipe, trained.states, splits, trained.seconds)
    return _cached(
        name, config, whole, part, recipe, states, splits, front, details, kept, settings
    )


def _cached(
    name: str,
    config: Training,
    whole: Whole,
    part: str,
    recipe: "Recipe",
    states: "TrainState",
    splits: "Splits",
    front: str,
    details: Details,
    kept: "MutableMapping[Any, Features] | None",
    settings: dict[str, Any],
) -> Tuned:
    """The front once, the rest as often as it takes."""
    import numpy as np

    from cnnlab.data import Splits
    from cnnlab.train import records
    from cnnlab.train.recorder import first_process
    from cnnlab.transfer import cache

    kept = {} if kept is None else kept
    begun = time.perf_counter()
    found: dict[str, Any] = {}
    for which in ("train", "validation", "test"):
        dataset = getattr(splits, which)
        copies = details.copies if which == "train" else 0
        key = (which, front, copies)
        if dataset is not None and key not in kept:
            folder = whole.directory / "features" / "-".join(map(str, key))
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
    cache_seconds = time.perf_counter() - begun
    spent = whole.directory / f"{part}-cache.json"  # of the first sitting, which a resume repeats
    if spent.is_file():
        cache_seconds = float(records.read_json(spent)["seconds"])
    elif first_process():
        records.write_json(spent, {"seconds": cache_seconds})

    if details.copies > 1:
        config = _shorter(config, math.ceil(config.epochs / details.copies))
        images = _seen(splits.train, settings) * details.copies
        recipe = _recipe(config, splits.train, recipe, images)
        if settings.get("subsets") is not None:
            subsets = np.asarray(settings["subsets"])
            each = [subsets + i * len(splits.train) for i in range(details.copies)]
            settings = {**settings, "subsets": np.concatenate(each, axis=1)}
    rest = cache.rest_recipe(recipe, front)
    trained = train_part(
        config,
        whole,
        part,
        rest,
        found["train"],
        found["validation"],
        **{**settings, "initial": cache.rest_states(recipe, states, front)},
    )
    judged = _judged(name, rest, trained.states, Splits(**found), trained.seconds + cache_seconds)
    whole_states = cache.rejoined(recipe, states, trained.states, front)
    return judged._replace(
        recipe=recipe, states=whole_states, front=front, cache_seconds=cache_seconds
    )


def _judged(
    name: str, recipe: "Recipe", states: "TrainState", splits: "Splits", seconds: float
) -> Tuned:
    from cnnlab.train import evaluate

    validation = None
    if splits.validation is not None:
        validation = evaluate(recipe, states, splits.validation)["accuracy"]
    accuracy = evaluate(recipe, states, splits.test)["accuracy"]
    return Tuned(name, recipe, states, seconds, accuracy, validation, None, 0.0, "")

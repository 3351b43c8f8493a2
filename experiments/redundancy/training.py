"""The trainings: dense, pruned in rounds, small, and small with a teacher."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp

from cnnlab import losses, optim
from cnnlab.data import Dataset, Splits
from cnnlab.report.statistics import over_seeds
from cnnlab.studies import build
from cnnlab.studies.study import Study
from cnnlab.studies.teachers import Teacher
from cnnlab.train import Recipe, TrainState, evaluate
from cnnlab.train.state import restarted
from cnnlab.transfer import live_teacher, pruning, teacher_logits, with_teacher_targets

from .config import Config
from .summary import METHODS


class Networks(NamedTuple):
    """Networks at the end of their training, one for each seed.

    Attributes:
      states: ``[M, ...]``.
      point: of them in result.json.
    """

    states: TrainState
    point: dict[str, Any]


def all_sparsities(config: Config) -> tuple[float, ...]:
    """The sparsities after each round, of all layers but the last.

    Raises:
      ValueError: if they do not rise, or rate or rounds are out of range.
    """
    if config.sparsities:
        return pruning.check_sparsities(config.sparsities)
    return pruning.geometric_sparsities(config.rate, config.rounds)


def train_all(s: Study[Config], splits: Splits) -> Iterator[Networks]:
    """All networks, the dense one first."""
    config, train = s.config, splits.train
    recipe = build.make_recipe(config, train)
    initial = s.fresh_states(recipe, train)
    dense = train_networks(s, splits, "dense", config, recipe, initial=initial)
    yield dense
    longer = dataclasses.replace(config, epochs=config.epochs * (len(all_sparsities(config)) + 1))
    longer_recipe = build.make_recipe(longer, train)
    yield train_networks(s, splits, "longer", longer, longer_recipe, initial=initial)
    yield from prune_in_rounds(s, splits, recipe, initial, dense.states)
    first = jax.tree.map(lambda x: x[:1], dense.states)
    teacher = Teacher(recipe, first, config.model, None)
    for name, each in config.small_networks().items():
        alone = build.make_recipe(each, train)
        yield train_networks(s, splits, "small", each, alone, name)
        yield distill(s, splits, teacher, each, alone, name)


def prune_in_rounds(
    s: Study[Config], splits: Splits, recipe: Recipe, initial: TrainState, dense: TrainState
) -> Iterator[Networks]:
    """After each round the ticket, its connections with fresh weights, and the one trained on."""
    config = s.config
    optimizer = optax.chain(recipe.optimizer, optim.keep_zeros())
    sparse = dataclasses.replace(recipe, optimizer=optimizer)
    sparsities = all_sparsities(config)
    heads = pruning.scale_pruning_rate(sparsities, config.head_factor)
    if float(pruning.sparsity(initial.params)):
        s.say("note: weights that start at exactly zero are as good as pruned, and stay zero")
    last = _last_stage(recipe, initial.params)
    ticket, continued = dense, dense
    for number, (sparsity, head) in enumerate(zip(sparsities, heads, strict=True), start=1):
        options: dict[str, Any] = {"scope": config.scope, "stages": {last: head}, "members": True}
        mask = pruning.prune(ticket.params, sparsity, **options)
        fresh = s.fresh_states(recipe, splits.train, _fresh_seeds(config, number))
        pruned = pruning.prune(continued.params, sparsity, **options)
        trained = {}
        for method, params, state in (
            ("rewound", pruning.rewind(mask, initial.params), initial),
            ("reinitialised", pruning.rewind(mask, fresh.params), fresh),
            ("continued", pruned, continued),
        ):
            trained[method] = train_networks(
                s,
                splits,
                method,
                config,
                sparse,
                f"round{number}",
                epochs_before=number * config.epochs,
                sparse=True,
                initial=restarted(sparse, params, state.model_state),
            )
            yield trained[method]
        ticket, continued = trained["rewound"].states, trained["continued"].states


def distill(
    s: Study[Config], splits: Splits, teacher: Teacher, config: Config, recipe: Recipe, name: str
) -> Networks:
    """A small network distilled from the large one, live where training augments the images."""
    train = splits.train
    loss = losses.distillation(
        config.temperature, config.teacher_weight, label_smoothing=config.label_smoothing
    )
    recipe = dataclasses.replace(recipe, loss=loss)
    if recipe.augments:
        outputs = live_teacher(teacher.networks, recipe, train)
        recipe = dataclasses.replace(recipe, teacher=outputs)
    else:
        train = with_teacher_targets(train, teacher_logits(teacher.networks, train))
    before = config.epochs  # of the teacher
    return train_networks(
        s, splits, "distilled", config, recipe, name, train=train, epochs_before=before
    )


def train_networks(
    s: Study[Config],
    splits: Splits,
    method: str,
    config: Config,
    recipe: Recipe,
    name: str = "",
    *,
    train: Dataset | None = None,
    epochs_before: int = 0,
    sparse: bool = False,
    initial: TrainState | None = None,
) -> Networks:
    """Trains networks, and scores them on the test part.

    Args:
      s: the study.
      splits: the data.
      method: of ``METHODS``.
      config: of these networks.
      recipe: of these networks.
      name: of these networks among those of the method.
      train: their training data, if not those of the splits.
      epochs_before: of the trainings that these networks start from.
      sparse: whether weights that are zero do not count as parameters.
      initial: states ``[M, ...]`` to train from; fresh ones by default.
    """
    s.say(f"\n{METHODS[method]} {name}, {config.seeds} seeds:")
    folder = re.sub(r"\W+", "-", f"{method} {name}").strip("-")
    train = splits.train if train is None else train
    options = dataclasses.replace(build.fit_options(config), initial=initial)
    trained = s.train(folder, recipe, train, config=config, options=options)
    params, sparsity = trained.states.params, 0.0
    parameters = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(params))
    if sparse:
        parameters = int(jnp.max(jax.vmap(pruning.parameters_left)(params)))
        sparsity = float(jnp.max(jax.vmap(pruning.sparsity)(params)))
    accuracy = evaluate(recipe, trained.states, splits.test)["accuracy"]
    point = {
        "method": method,
        "name": name,
        "sparsity": sparsity,
        "parameters": parameters,
        "epochs": config.epochs + epochs_before,
        "test_accuracy": over_seeds(accuracy),
        "seconds": round(trained.seconds, 1),
    }
    return Networks(trained.states, point)


def _fresh_seeds(config: Config, number: int) -> tuple[int, ...]:
    """Seeds of the initial weights that no other network of the experiment has."""
    first = config.seed + config.seeds * number
    return tuple(range(first, first + config.seeds))


def _last_stage(recipe: Recipe, params: Any) -> str:
    """The last stage that has weights to prune."""
    stages = {path.partition("/")[0] for path in pruning.weights_left(params)}
    return [name for name in recipe.network.names if name in stages][-1]

"""The members of the ensemble, trained: what they differ by, and what they predict."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from cnnlab import ensemble
from cnnlab.data import Dataset, Splits
from cnnlab.studies import build
from cnnlab.studies.methods import Cost, Method, combine_networks, predict_logits
from cnnlab.studies.run_predictions import MemberPredictions
from cnnlab.studies.study import Study
from cnnlab.train import FitOptions, Recipe, TrainState, check_fits
from cnnlab.train.program import forward_cost

from .config import Config


def member_recipes(config: Config, train: Dataset) -> list[tuple[Config, Recipe]]:
    """How the members are trained: one way, or one for each architecture.

    Raises:
      ValueError: if a network does not fit the data.
    """
    configs = [config]
    if config.differ == "architecture":
        configs = [
            dataclasses.replace(
                config,
                model=model,
                model_options=config.model_options if model == config.model else (),
            )
            for model in config.models
        ]
    varied = config.differ == "hyperparameters"
    recipes = [(each, build.make_recipe(each, train, varied=varied)) for each in configs]
    for _, recipe in recipes:
        check_fits(recipe, train)
    return recipes


def train_members(
    s: Study[Config], splits: Splits, recipes: Sequence[tuple[Config, Recipe]]
) -> MemberPredictions:
    """Trains the members.

    Args:
      s: the study.
      splits: its data.
      recipes: of ``member_recipes``.
    """
    if s.config.differ == "architecture":
        return _train_architectures(s, splits, recipes)
    [(config, recipe)] = recipes
    names, options, seen = member_options(config, len(splits.train))
    trained = s.train("members", recipe, splits.train, splits.validation, options=options)
    count = len(names)
    return MemberPredictions(
        *_predict(recipe, trained.states, splits, count),
        names,
        (config.epochs * seen,) * count,
        (forward_cost(recipe, splits.train.image_shape),) * count,
        trained.seconds / config.seeds,
    )


def member_options(config: Config, examples: int) -> tuple[tuple[str, ...], FitOptions, float]:
    """How members of one architecture are trained: M of them in each of R repetitions.

    Args:
      config: by what they differ.
      examples: of the training part.

    Returns:
      M names; the options of M * R networks, as ``build.member_seeds`` orders them; the part of the
      images that a member sees.
    """
    names = tuple(f"member {number}" for number in range(config.members))
    seeds, shared = build.member_seeds(config, config.members), config.all_seeds * config.members
    options = dataclasses.replace(build.fit_options(config), seeds=seeds)
    if config.differ == "hyperparameters":
        return (*_hyperparameters(config), 1.0)
    if config.differ == "init":
        options = dataclasses.replace(options, seeds=shared, init_seeds=seeds)
    elif config.differ == "order":
        options = dataclasses.replace(options, init_seeds=shared)
    elif config.differ == "bootstrap":
        rows = ensemble.bootstrap(examples, len(seeds), config.seed)
        options = dataclasses.replace(options, subsets=rows)
    elif config.differ == "subset":
        rows = ensemble.subsets(examples, len(seeds), config.subset, config.seed)
        return names, dataclasses.replace(options, subsets=rows), rows.shape[1] / examples
    return names, options, 1.0


def _hyperparameters(config: Config) -> tuple[tuple[str, ...], FitOptions]:
    """The names and options of members that differ by these."""
    lists = {
        "learning_rate_factor": config.learning_rate_factors,
        "weight_decay": config.weight_decays,
    }
    lists = {name: values for name, values in lists.items() if values}
    rows = list(zip(*lists.values(), strict=True))
    names = tuple(
        ", ".join(f"{name} {value:g}" for name, value in zip(lists, row, strict=True))
        for row in rows
    )
    repeated = {name: np.repeat(values, config.seeds).tolist() for name, values in lists.items()}
    seeds = build.member_seeds(config, len(rows))
    options = build.fit_options(config)
    return names, dataclasses.replace(options, seeds=seeds, hyperparameters=repeated)


def _train_architectures(
    s: Study[Config], splits: Splits, recipes: Sequence[tuple[Config, Recipe]]
) -> MemberPredictions:
    """Trains members of different architectures, one after the other."""
    seeds = np.reshape(build.member_seeds(s.config, len(recipes)), (len(recipes), -1)).tolist()
    test: list[np.ndarray] = []
    validation: list[np.ndarray] = []
    names: list[str] = []
    seconds = 0.0
    for own, (config, recipe) in zip(seeds, recipes, strict=True):
        s.say(f"\n{config.model_name}:")
        name = config.model_name
        name = name if name not in names else f"{name} {len(names)}"
        options = dataclasses.replace(build.fit_options(config), seeds=own)
        trained = s.train(
            f"member-{name}",
            recipe,
            splits.train,
            splits.validation,
            config=config,
            options=options,
        )
        seconds += trained.seconds
        names.append(name)
        on_test, on_validation = _predict(recipe, trained.states, splits, 1)
        test.append(on_test)
        if on_validation is not None:
            validation.append(on_validation)
    return MemberPredictions(
        np.concatenate(test),
        np.concatenate(validation) if validation else None,
        tuple(names),
        (s.config.epochs,) * len(names),
        tuple(forward_cost(recipe, splits.train.image_shape) for _, recipe in recipes),
        seconds / s.config.seeds,
    )


def train_single(s: Study[Config], splits: Splits, epochs: int) -> Method:
    """One network, trained for as many epochs as all members together."""
    longer = dataclasses.replace(s.config, epochs=epochs)
    s.say(f"\none network, {epochs} epochs:")
    recipe = build.make_recipe(longer, splits.train)
    trained = s.train("single", recipe, splits.train, splits.validation, config=longer)
    logits = predict_logits(recipe, [trained.states], splits.test)
    multiply_adds = forward_cost(recipe, splits.train.image_shape)
    cost = Cost(epochs, multiply_adds, trained.seconds / longer.seeds)
    return combine_networks("the single network", "one network", logits, cost)


def _predict(
    recipe: Recipe, states: TrainState, splits: Splits, members: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits ``[M, R, N, K]`` on the test part and on the validation part, where there is one."""
    test = predict_logits(recipe, [states], splits.test, members)
    if splits.validation is None:
        return test, None
    return test, predict_logits(recipe, [states], splits.validation, members)

"""The training of the shallow network and of the deep ones, from scratch or grown."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from cnnlab.data import Dataset, Splits
from cnnlab.run_directory import METRICS
from cnnlab.studies import build
from cnnlab.studies.study import Study
from cnnlab.train import Recipe, TrainState, Watched, check_fits, evaluate, restarted
from cnnlab.train.records import read_metrics
from cnnlab.train.state import state_shapes
from cnnlab.transfer import deepening

from .config import GROWN, METHODS, Config


class Errors(NamedTuple):
    """A training: its states at the end, its errors [M] there and [E][M] while it went on.

    ``before`` are the test errors of a grown network at its first update, [M].
    """

    states: TrainState
    errors: dict[str, list[float]]
    curves: dict[str, list[list[float]]]
    seconds: float
    before: list[float] | None = None


def check_networks(config: Config, train: Dataset) -> None:
    """Refuses networks that could not be trained or grown.

    Raises:
      ValueError: for such networks, before anything is written.
    """
    phases = {
        name: build.make_recipe(config.phase(name), train) for name in ("shallow", *config.methods)
    }
    for recipe in phases.values():
        check_fits(recipe, train)
    shapes = {name: state_shapes(recipe, train.image_shape) for name, recipe in phases.items()}
    shallow = evaluated_variables(shapes["shallow"])
    for method in (each for each in config.methods if each in GROWN):
        deep = evaluated_variables(shapes[method])
        if not deepening.new_layers(shallow, deep):
            raise ValueError(
                f"{config.deep} must have more layers than {config.model_name}: none new."
            )
        if method == "unchanged":
            network = phases[method].network
            image = jax.ShapeDtypeStruct((1, *train.image_shape), "float32")
            jax.eval_shape(
                lambda *trees, network=network: deepening.deepen_with_identity(network, *trees),
                shallow,
                deep,
                image,
            )


def train(
    s: Study[Config],
    config: Config,
    method: str,
    splits: Splits,
    initial: TrainState | None = None,
) -> Errors:
    """Trains "shallow", or a method's deep network, from scratch or from ``initial`` states."""
    phase = config.phase(method)
    s.say(f"\n{METHODS.get(method, method)}: {phase.model}, {phase.seeds} seeds:")
    recipe = build.make_recipe(phase, splits.train)
    watched = Watched(_take_evenly(splits.test, config.watched))
    options = dataclasses.replace(build.fit_options(phase), initial=initial)
    trained = s.train(method, recipe, splits.train, watched, config=phase, options=options)
    errors = {
        name: (1 - evaluate(recipe, trained.states, data)["accuracy"]).tolist()
        for name, data in (("train", splits.train), ("test", splits.test))
    }
    records = [r for r in read_metrics(s.directory / method / METRICS) if "epoch" in r]
    curves = {
        name: [(1 - np.atleast_1d(record[f"{key}/accuracy"])).tolist() for record in records]
        for name, key in (("train", "train"), ("test", "watched"))
    }
    return Errors(trained.states, errors, curves, trained.seconds)


def grow(s: Study[Config], config: Config, method: str, shallow: Errors, splits: Splits) -> Errors:
    """Trains the deep network that begins with the shallow one's layers.

    Returns:
      Its errors, with the shallow one's curves in front.
    """
    phase = config.phase(method)
    recipe = build.make_recipe(phase, splits.train)
    fresh = evaluated_variables(s.fresh_states(recipe, splits.train, phase.all_seeds))
    new = _grown_variables(method, recipe, evaluated_variables(shallow.states), fresh, splits.train)
    state = {name: value for name, value in new.items() if name != "params"}
    initial = restarted(recipe, new["params"], state)
    before = (1 - evaluate(recipe, initial, splits.test)["accuracy"]).tolist()
    grown = train(s, config, method, splits, initial)
    curves = {name: [*shallow.curves[name], *grown.curves[name]] for name in grown.curves}
    return grown._replace(curves=curves, before=before)


def evaluated_variables(states: TrainState) -> dict[str, Any]:
    """The variables that are grown: with a moving average, that."""
    evaluated = states.evaluated
    return {"params": evaluated.params, **evaluated.model_state}


def guessing_error(labels: np.ndarray) -> float:
    """The error of naming the largest class always."""
    return float(1 - np.bincount(labels).max() / len(labels))


def _grown_variables(method: str, recipe: Recipe, old: Any, fresh: Any, train: Dataset) -> Any:
    if method == "grown":
        return deepening.deepen(old, fresh)
    images = recipe.prepare(jax.random.key(0), jnp.asarray(np.asarray(train.images[:256])))

    def one(old: Any, fresh: Any) -> Any:
        return deepening.deepen_with_identity(recipe.network, old, fresh, images)

    return jax.jit(jax.vmap(one))(old, fresh)


def _take_evenly(dataset: Dataset, count: int) -> Dataset:
    """``count`` examples, evenly spaced over the data set."""
    if count >= len(dataset):
        return dataset
    return dataset.take(np.linspace(0, len(dataset), count, endpoint=False).astype(int))

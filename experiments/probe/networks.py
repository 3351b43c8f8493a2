"""The networks that are probed: of a run, of a file of weights, or still to be trained."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from cnnlab.data import Dataset, Splits, subset
from cnnlab.studies import build, trained, weights_files
from cnnlab.studies.file_data import load_data_for
from cnnlab.studies.file_description import describe
from cnnlab.studies.settings import Training, WeightsFile, changed_fields, option_name, parse_pool
from cnnlab.train import Recipe, TrainState, check_fits
from cnnlab.train.state import state_shapes
from cnnlab.transfer.features import stage_shapes

from .config import Config

# How the networks of a run were trained on which data, and how they are made.
_OF_RUN = (
    *("dataset", "data_dir", "validation", "split_seed", "per_class", "fraction", "classes"),
    *("image_size", "on_unreadable", "model", "model_options", "init", "init_options"),
    *("precision", "normalization", "seed", "seeds"),
)


class Source(NamedTuple):
    """Trained networks, or how they are trained.

    Attributes:
      splits: the data that they are probed on.
      recipe: with the network.
      states: ``[M, ...]``; None before training.
      name: in the result.
      report: of loading a file, "" for none.
    """

    splits: Splits
    recipe: Recipe
    states: TrainState | None
    name: str
    report: str = ""


def with_run_settings(config: Config) -> Config:
    """The config with the data, the network and the seeds of the run that it names, if any.

    Of a file of weights that cnnlab wrote it takes the data, unless a data set is named.

    Raises:
      ResumeError: if there is no such run.
      ValueError: if an option that is not at its default disagrees with the run.
    """
    if config.from_run is None:
        return config if config.weights is None else _with_data_of_file(config, config.weights)
    own = trained.run_config(config.from_run, config.data_dir)
    for name in changed_fields(config, _OF_RUN):
        value, known = getattr(config, name), getattr(own, name)
        if value != known:
            raise ValueError(
                f"the network of {config.from_run} was trained with {option_name(name)} {known}, "
                f"got {value!r}: leave it out."
            )
    return dataclasses.replace(config, **{name: getattr(own, name) for name in _OF_RUN})


def _with_data_of_file(config: Config, weights: pathlib.Path) -> Config:
    known = describe(weights)
    if known is None or changed_fields(config, ("dataset",)):
        return config
    given = changed_fields(config, known.data)
    return dataclasses.replace(config, **{k: v for k, v in known.data.items() if k not in given})


def load_source(
    config: Config, load_data: Callable[[Training], Splits] = build.load_data
) -> Source:
    """The networks of the run or the file, or how they are trained; nothing is trained yet.

    Args:
      config: of the experiment.
      load_data: gives the data of networks that are still to be trained.
    """
    if config.from_run is not None:
        trained.check_finished(config.from_run)
        networks = trained.load_run(config.from_run, data_dir=config.data_dir)
        assert networks.splits is not None
        name = f"{networks.name}, step {networks.step:,}, {networks.members} seeds"
        return Source(networks.splits, networks.recipe, networks.states, name)
    if config.weights is None:
        splits = load_data(config)
        recipe = build.make_recipe(config, splits.train)
        return Source(splits, recipe, None, f"{config.model_name}, {config.seeds} seeds")
    splits = load_data_for(config.weights, config)
    file = WeightsFile(
        weights=config.weights,
        model=None if config.model == type(config).model else config.model,
        model_options=config.model_options,
        mapping=config.mapping,
        weights_normalization=config.weights_normalization,
    )
    known = describe(config.weights)
    classes = None if known is not None else splits.train.num_classes
    networks = weights_files.load_weights(
        file,
        classes,
        splits.train.image_shape,
        default_model=config.model,
    )
    name = f"{networks.model} with {config.weights.name}"
    return Source(splits, networks.recipe, networks.states, name, str(networks.report))


def probe_images(config: Config, source: Source) -> Dataset:
    """The training images that probes learn from, after checks that all stages can be probed.

    Raises:
      ValueError: if there are too few images, no validation part, or the stages, the pooling or
        the network do not fit.
    """
    splits, train = source.splits, source.splits.train
    if splits.validation is None:
        advice = "--validation 0.1."
        if config.from_run is not None:
            advice = (
                f"{config.from_run} was trained without any, and knows all others. Give a run that "
                "was trained with --validation 0.1, or leave out --from."
            )
        raise ValueError(f"the penalty is chosen on validation images: {advice}")
    images = train
    if config.examples is not None and config.examples < len(train):
        each = config.examples // train.num_classes
        if each < 1:
            raise ValueError(
                f"examples must be at least one for each of {train.num_classes} classes, got "
                f"{config.examples}."
            )
        images = subset(train, per_class=each, seed=config.split_seed)
    counts = np.bincount(images.labels, minlength=train.num_classes)
    if counts.min() < 2:
        raise ValueError(
            f"every class must have at least 2 training images for the probes, "
            f"{train.class_names[int(counts.argmin())]!r} has {counts.min()}: give more images, or "
            "leave the class out (--classes)."
        )
    if config.neighbours < 1 or max(config.neighbours, config.shown) > len(images):
        raise ValueError(
            f"neighbours and shown must be in 1..{len(images)}, the training images that they are "
            f"among, got {config.neighbours} and {config.shown}."
        )
    if source.states is None:
        check_fits(source.recipe, train)
    shapes = state_shapes(source.recipe, train.image_shape)
    states = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), shapes)
    stage_shapes(source.recipe, states, train, config.stages or None, pool=parse_pool(config.pool))
    return images

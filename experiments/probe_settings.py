"""Which network is read off, and what is asked: the settings of ``experiments.probe``, checked."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import tyro

from experiments.config import Training, load_data, make_recipe
from experiments.features import load_weights, pool_of
from experiments.finished import config_of, networks_of
from experiments.foreign import Foreign, Normalization

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from cnnlab.train import Recipe, TrainState

# What a run that is given was trained on, and how its network is made.
_OF_RUN = (
    *("dataset", "data_dir", "validation", "split_seed", "per_class", "fraction", "classes"),
    *("image_size", "on_unreadable", "model", "model_options", "init", "init_options"),
    *("precision", "normalization", "seed", "seeds"),
)


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Read the classes off every stage of a network, trained and with random weights."""

    from_run: Annotated[pathlib.Path | None, tyro.conf.arg(name="from")] = None
    """A finished run of experiments.train, instead of a training."""
    weights: pathlib.Path | None = None
    """Weights of another program, instead of a training; they need --model and --dataset."""
    mapping: str | None = None
    """With --weights: whose names the file has; found out if left out."""
    foreign_normalization: Normalization = "torchvision"
    """With --weights: what they were trained on, torchvision, caffe or unit."""
    stages: tuple[str, ...] = ()
    """Such as stage2 head; all that give one array if left out."""
    pool: str = "4"
    """Of images at a stage: a number of cells a side, mean over all positions, or none."""
    probes: tuple[Literal["ridge", "logistic"], ...] = ("ridge", "logistic")
    """In closed form, or by scikit-learn's logistic regression; the claims are about the last."""
    neighbours: int = 5
    """How many neighbours vote."""
    examples: int | None = None
    """Read off so many training images only, as many of each class; all if left out."""
    queries: int = 10
    """Images in the figure of neighbours, each of another class."""
    shown: int = 6
    """Neighbours of each in the figure."""

    epochs: int = 15
    seeds: int = 5


class Source(NamedTuple):
    """A network that is given, or how one is trained."""

    config: Config
    splits: "Splits"
    recipe: "Recipe"
    states: "TrainState | None"
    name: str


def source_of(config: Config) -> Source:
    """The network that is given, or how it is trained; nothing is trained yet."""
    if config.from_run is not None and config.weights is not None:
        raise ValueError("give --from RUN or --weights FILE, not both.")
    names = ("mapping", "foreign_normalization")
    asked = [name for name in names if getattr(config, name) != getattr(Config, name)]
    if asked and config.weights is None:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise ValueError(f"{options}: only with --weights FILE.")
    if config.from_run is not None:
        return _of_run(config, config.from_run)
    splits = load_data(config)
    if config.weights is None:
        recipe = make_recipe(config, splits.train)
        return Source(config, splits, recipe, None, f"{config.model}, {config.seeds} seeds")
    given = Foreign(
        weights=config.weights,
        model=config.model,
        model_options=config.model_options,
        mapping=config.mapping,
        normalization=config.foreign_normalization,
    )
    loaded = load_weights(given, splits.train)
    print(loaded.report)
    name = f"{config.model} with {config.weights.name}"
    return Source(config, splits, loaded.recipe, loaded.states, name)


def _of_run(config: Config, run: pathlib.Path) -> Source:
    trained = config_of(run, config.data_dir)
    default = Config()
    for name in _OF_RUN:  # what is at its default was not asked for
        asked, known = getattr(config, name), getattr(trained, name)
        if asked not in (getattr(default, name), known):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"the network of {run} was trained with {option} {known}, got {asked!r}: leave it "
                "out."
            )
    config = dataclasses.replace(config, **{name: getattr(trained, name) for name in _OF_RUN})
    splits = load_data(trained)
    networks = networks_of(run, trained, splits.train)
    name = f"{trained.model} of {run.name}, step {networks.step:,}, {trained.seeds} seeds"
    return Source(config, splits, networks.recipe, networks.states, name)


def check(source: Source) -> "Dataset":
    """Refuses what cannot be read off, before anything is trained.

    Returns:
      The training images to read off.
    """
    import jax
    import numpy as np

    from cnnlab.data import subset
    from cnnlab.train import check_fits
    from cnnlab.train.state import state_shapes
    from cnnlab.transfer.features import stage_shapes

    config, splits = source.config, source.splits
    train = splits.train
    if splits.validation is None:
        advice = "--validation 0.1."
        if config.from_run is not None:
            advice = (
                f"{config.from_run} was trained without any, and knows all others. Give a run that "
                "was trained with --validation 0.1, or leave out --from."
            )
        raise ValueError(f"the penalty is chosen on validation images: {advice}")
    if not config.probes:
        raise ValueError("there must be a linear probe, ridge or logistic, got none.")
    if min(config.queries, config.shown) < 1:
        raise ValueError(
            f"queries and shown must be at least 1, got {config.queries} and {config.shown}."
        )
    gallery = train
    if config.examples is not None and config.examples < len(train):
        each = config.examples // train.num_classes
        if each < 1:
            raise ValueError(
                f"examples must be at least one for each of {train.num_classes} classes, got "
                f"{config.examples}."
            )
        gallery = subset(train, per_class=each, seed=config.split_seed)
    counts = np.bincount(gallery.labels, minlength=train.num_classes)
    if counts.min() < 2:
        raise ValueError(
            f"every class must have at least 2 training images to be read off, "
            f"{train.class_names[int(counts.argmin())]!r} has {counts.min()}: give more images, or "
            "leave the class out (--classes)."
        )
    most = max(config.neighbours, config.shown)
    if config.neighbours < 1 or most > len(gallery):
        raise ValueError(
            f"neighbours and shown must be in 1..{len(gallery)}, the training images that they are "
            f"among, got {config.neighbours} and {config.shown}."
        )
    if source.states is None:
        check_fits(source.recipe, train)
    shapes = state_shapes(source.recipe, train.image_shape)
    states = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), shapes)
    pool = pool_of(config.pool)
    stage_shapes(source.recipe, states, train, config.stages or None, pool=pool)
    return gallery

"""Where a trained network comes from that others learn from: a finished run, or weights."""

import dataclasses
import hashlib
import pathlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from experiments.config import Training, load_data, options
from experiments.finished import as_shown, check_finished, config_of, networks_of
from experiments.foreign import Foreign, Normalization, load_foreign

if TYPE_CHECKING:
    from cnnlab.augment import Transform
    from cnnlab.data import Dataset, Splits
    from cnnlab.data.dataset import Statistics
    from cnnlab.models import Network
    from cnnlab.train import Recipe, TrainState


class Origin(NamedTuple):
    """One trained network.

    Attributes:
      network: with the classes that it was trained on.
      variables: ``{"params": ..., "batch_stats": ...}``, without a leading axis.
      name: what it is called in results.
      prepare: what it wants images to be, or None for the target's own preparation.
      model: its name in the zoo.
      model_options: the further settings of the model.
      channels: of its images.
      normalization: what ``prepare`` does, as of ``config.Training``.
      statistics: by which it does so; None where it needs none.
      loaded: what came of loading a file, or None.
    """

    network: "Network"
    variables: dict[str, Any]
    name: str
    prepare: "Transform | None"
    model: str
    model_options: tuple[str, ...]
    channels: int
    normalization: Literal["channel", "mean-image", "unit"] = "unit"
    statistics: "Statistics | None" = None
    loaded: Any = None


def of_run(
    directory: str | pathlib.Path,
    *,
    test: "Dataset",
    data_dir: pathlib.Path | None = None,
    member: int = 0,
) -> Origin:
    """A network of a finished run of experiments.train.

    Args:
      directory: of the run.
      test: what it must not have learned from: the test part of those who learn from it.
      data_dir: where its data set's files are; None for where the run found them.
      member: which of its networks, counted from 0 in the order of their seeds.

    Raises:
      ResumeError: if there is no run, or it is not finished.
      CheckpointError: if its checkpoint is gone or damaged.
      ValueError: if it has no such member, or has trained on images of ``test``.
    """
    from cnnlab.train.run import read_config

    directory = pathlib.Path(directory)
    check_finished(directory)
    config = config_of(directory, data_dir)
    count = len(config.all_seeds)
    if not 0 <= member < count:
        raise ValueError(f"the run in {directory} has members 0 to {count - 1}, got {member}.")
    own = load_data(config)
    check_unseen(own, test, f"the network of {directory}")
    train = own.train
    recipe, states, _ = networks_of(directory, config, train)
    whole = read_config(directory).get("part_of")
    named = directory.name if whole is None else f"{whole}, {directory.name}"
    name = f"{config.model} of {named}, seed {config.all_seeds[member]}"
    statistics = as_shown(directory, train).statistics
    return of_states(
        config, recipe, states, name, train.image_shape[2], member, statistics=statistics
    )


def check_unseen(own: "Splits", test: "Dataset", whose: str) -> None:
    """Refuses a network that has trained on images of a test part.

    Images of data sets that both stay on the disk are compared by file names and sizes, whatever
    shape they are brought to; others byte by byte, where they have the same shape. Where they have
    not there is nothing to compare, and nothing is refused: that the network of another image size
    has not seen the test part is then for the caller to know. An image that the network's own test
    part holds as well is a twin within the data set: its split has held it out.

    Args:
      own: the data that the network was trained on.
      test: what it must not have seen.
      whose: in the message, such as "the network of runs/digits-1".

    Raises:
      ValueError: if it has.
    """
    from cnnlab.data import LazyImages

    lazy = all(isinstance(part.images, LazyImages) for part in (own.train, own.test, test))
    if not lazy and own.train.image_shape != test.image_shape:
        return
    trained, held_out, tested = (
        _identities(part.images, lazy) for part in (own.train, own.test, test)
    )
    seen = len((tested & trained) - held_out)
    if seen:
        raise ValueError(
            f"{whose} must not have trained on images that are tested on, but it has on {seen} of "
            f"the {len(test)}. Its data: {own.train.name}, {own.notes}. Give the same --split-seed "
            "and files, so that both have the same test part, or another network."
        )


def _identities(images: Any, lazy: bool) -> set[Any]:
    """What tells each image from others."""
    import numpy as np

    if lazy:
        size = repr(images.shape[1:])  # that they are brought to, which files say as well
        named = (images.identity(np.array([i])) for i in range(len(images)))
        return {tuple(text for text in each if text != size) for each in named}
    each = (np.ascontiguousarray(images[i]).tobytes() for i in range(len(images)))
    return {hashlib.blake2b(image, digest_size=16).digest() for image in each}


def of_states(
    config: Training,
    recipe: "Recipe",
    states: "TrainState",
    name: str,
    channels: int,
    member: int = 0,
    *,
    statistics: "Statistics | None" = None,
) -> Origin:
    """One of several networks that were trained; its moving average where there is one.

    Args:
      config: that its model is of.
      recipe: how they were trained.
      states: ``[M, ...]``.
      name: what it is to be called.
      channels: of its images.
      member: which one.
      statistics: by which the recipe normalises images.
    """
    import jax

    network = states.evaluated
    everything = {"params": network.params, **network.model_state}
    variables = jax.tree.map(lambda leaf: leaf[member], everything)
    return Origin(
        recipe.network,
        variables,
        name,
        recipe.prepare,
        config.model,
        config.model_options,
        channels,
        config.normalization,
        statistics,
    )


def statistics_of(normalization: Normalization) -> "Statistics | None":
    """Those by which foreign networks normalise images by channel; None from 0 to 1."""
    from cnnlab.data.dataset import Statistics
    from experiments.foreign import STATISTICS

    found = STATISTICS.get(normalization)
    return None if found is None else Statistics(*found)


def of_weights(
    path: str | pathlib.Path,
    model: str | None,
    model_options: tuple[str, ...] = (),
    *,
    image_shape: tuple[int, int, int],
    num_classes: int = 1000,
    normalization: Normalization = "torchvision",
    mapping: str | None = None,
) -> Origin:
    """The network whose weights are in a file of another program.

    It takes images of as many channels as it was trained on, which the file's first kernel says.

    Args:
      path: the file: .pth, .pt, .th, .safetensors or .npz.
      model: the network that they are of, such as squeezenet.
      model_options: further settings of the model, such as head_padding=1.
      image_shape: ``(H, W, C)`` of the images that it shall see, perhaps with other channels.
      num_classes: of the file.
      normalization: what they were trained on, as of ``experiments.foreign``.
      mapping: whose names the file has; found out if left out.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the model is missing, or the file is that of another one.
    """
    import jax

    path = pathlib.Path(path)
    chosen = options(model_options)
    given = Foreign(
        weights=path,
        model=model,
        model_options=tuple(text for text in model_options if not text.startswith("num_classes=")),
        mapping=mapping,
        normalization=normalization,
    )
    loaded = load_foreign(
        given,
        chosen.get("num_classes", num_classes),
        image_shape,
        own_channels=True,
        classes_option="--weights-classes",
    )
    variables = jax.tree.map(
        lambda leaf: leaf[0], {"params": loaded.states.params, **loaded.states.model_state}
    )
    assert model is not None  # or load_foreign had refused
    return Origin(
        loaded.recipe.network,
        variables,
        path.name,
        loaded.recipe.prepare,
        model,
        given.model_options,
        loaded.channels,
        "unit" if normalization == "unit" else "channel",
        statistics_of(normalization),
        dataclasses.replace(loaded.report, path=path.name),
    )

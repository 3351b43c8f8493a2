"""Where a trained network comes from that others learn from: a finished run, or weights."""

import hashlib
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.config import Training, load_data, options
from experiments.finished import check_finished, config_of, networks_of
from experiments.foreign import Foreign, Normalization, load_foreign

if TYPE_CHECKING:
    from cnnlab.augment import Transform
    from cnnlab.data import Dataset, Splits
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
    """

    network: "Network"
    variables: dict[str, Any]
    name: str
    prepare: "Transform | None"
    model: str
    model_options: tuple[str, ...]
    channels: int


def of_run(
    directory: pathlib.Path,
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
    check_finished(directory)
    config = config_of(directory, data_dir)
    count = len(config.all_seeds)
    if not 0 <= member < count:
        raise ValueError(f"the run in {directory} has members 0 to {count - 1}, got {member}.")
    own = load_data(config)
    check_unseen(own, test, f"the network of {directory}")
    train = own.train
    recipe, states, _ = networks_of(directory, config, train)
    name = f"{config.model} of {pathlib.Path(directory).name}, seed {config.all_seeds[member]}"
    return of_states(config, recipe, states, name, train.image_shape[2], member)


def check_unseen(own: "Splits", test: "Dataset", whose: str) -> None:
    """Refuses a network that has trained on images of a test part.

    Images are compared byte by byte, where they have the same shape; of data sets that both stay on
    the disk, by file names and sizes. An image that the network's own test part holds as well is a
    twin within the data set: its split has held it out.

    Args:
      own: the data that the network was trained on.
      test: what it must not have seen.
      whose: in the message, such as "the network of runs/digits-1".

    Raises:
      ValueError: if it has.
    """
    from cnnlab.data import LazyImages

    if own.train.image_shape != test.image_shape:
        return
    lazy = all(isinstance(part.images, LazyImages) for part in (own.train, own.test, test))
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
        return {tuple(images.identity(np.array([i]))) for i in range(len(images))}
    each = (np.ascontiguousarray(images[i]).tobytes() for i in range(len(images)))
    return {hashlib.blake2b(image, digest_size=16).digest() for image in each}


def of_states(
    config: Training,
    recipe: "Recipe",
    states: "TrainState",
    name: str,
    channels: int,
    member: int = 0,
) -> Origin:
    """One of several networks that were trained; its moving average where there is one.

    Args:
      config: that its model is of.
      recipe: how they were trained.
      states: ``[M, ...]``.
      name: what it is to be called.
      channels: of its images.
      member: which one.
    """
    import jax

    network = states if states.average is None else states.average
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
    )


def of_weights(
    path: pathlib.Path,
    model: str | None,
    model_options: tuple[str, ...] = (),
    *,
    image_shape: tuple[int, int, int],
    num_classes: int = 1000,
    normalization: Normalization = "torchvision",
    mapping: str | None = None,
) -> Origin:
    """The network whose weights are in a file of another program.

    Args:
      path: the file: .pth, .pt, .th, .safetensors or .npz.
      model: the network that they are of, such as squeezenet.
      model_options: further settings of the model, such as head_padding=1.
      image_shape: ``(H, W, C)`` of the images that it shall see.
      num_classes: of the file.
      normalization: what they were trained on, as of ``experiments.foreign``.
      mapping: whose names the file has; found out if left out.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the model is missing, or the file is that of another one.
    """
    import jax

    chosen = options(model_options)
    given = Foreign(
        weights=path,
        model=model,
        model_options=tuple(text for text in model_options if not text.startswith("num_classes=")),
        mapping=mapping,
        normalization=normalization,
    )
    loaded = load_foreign(given, chosen.get("num_classes", num_classes), image_shape)
    variables = jax.tree.map(
        lambda leaf: leaf[0], {"params": loaded.states.params, **loaded.states.model_state}
    )
    assert model is not None  # or load_foreign had refused
    return Origin(
        loaded.recipe.network,
        variables,
        pathlib.Path(path).name,
        loaded.recipe.prepare,
        model,
        given.model_options,
        image_shape[2],
    )

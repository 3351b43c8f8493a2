"""Data, networks and recipes made of the settings of a training."""

import functools
from collections.abc import Sequence
from typing import Literal

import jax
from jax import numpy as jnp

from cnnlab import augment, data, losses, models, optim, schedules
from cnnlab.augment import Transform
from cnnlab.data import Dataset, Splits
from cnnlab.data.batches import steps_per_epoch
from cnnlab.data.dataset import Statistics
from cnnlab.models import Network
from cnnlab.schedules import Schedule
from cnnlab.studies.settings import Training, parse_options, warmup_epochs
from cnnlab.train import FitOptions, Recipe


def load_data(config: Training, *, class_numbers: Sequence[int] | None = None) -> Splits:
    """The data that the config names.

    Args:
      config: names them.
      class_numbers: of the classes to choose, in place of those that the config names.

    Raises:
      ValueError: for an unknown data set or settings that do not fit it.
      FileNotFoundError: if its files are not there.
    """
    return data.load(
        config.dataset,
        config.data_dir,
        validation=config.validation,
        split_seed=config.split_seed,
        per_class=config.per_class,
        fraction=config.fraction,
        classes=config.classes if class_numbers is None else class_numbers,
        image_size=config.image_size,
        on_unreadable=config.on_unreadable,
    )


def make_network(config: Training, num_classes: int) -> Network:
    """The network that the config names."""
    overrides = parse_options(config.model_options)
    if config.precision == "bfloat16":
        if "dtype" not in models.options(config.model):
            raise ValueError(
                f"--precision bfloat16 needs a model with an option dtype, and {config.model} has "
                "none: leave it out."
            )
        overrides["dtype"] = jnp.bfloat16
    return models.create(config.model, num_classes, **overrides)


def make_recipe(
    config: Training,
    train: Dataset,
    *,
    images: int | None = None,
    schedule: Schedule | None = None,
    varied: bool = False,
) -> Recipe:
    """How the config trains a network on ``train``.

    Args:
      config: what was asked for.
      train: the training part, for its length, classes and statistics.
      images: how many are seen in an epoch, by which the schedule goes; all of them by default.
      schedule: in place of the config's own.
      varied: let members have hyperparameters of their own, see ``optim.create``.

    Raises:
      ValueError: for an unknown network, initialisation, optimizer or schedule, or numbers out of
        range.
    """
    if schedule is None:
        seen = len(train) if images is None else images
        per_epoch = steps_per_epoch(seen, config.batch_size, config.remainder)
        schedule = schedules.create(
            config.schedule,
            config.learning_rate,
            config.epochs * per_epoch,
            warmup_steps=round(warmup_epochs(config) * per_epoch),
            milestones=config.milestones,
        )
    optimizer = optim.create(
        config.optimizer,
        schedule,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip=config.clip,
        varied=varied,
    )
    loss = functools.partial(losses.softmax_cross_entropy, label_smoothing=config.label_smoothing)
    # Checks its setting, now and not in the first step: nothing is computed.
    jax.eval_shape(loss, jnp.zeros((1, 2)), jnp.zeros(1, jnp.int32))
    if config.accumulate > 1 and config.batch_size % config.accumulate:
        raise ValueError(
            f"--batch-size {config.batch_size} must divide into --accumulate {config.accumulate} "
            "parts: change one of them."
        )
    return Recipe(
        network=make_network(config, train.num_classes),
        optimizer=optimizer,
        prepare=make_normalization(config, train),
        augment=make_augmentation(config),
        loss=loss,
        schedule=schedule,
        accumulate=config.accumulate,
        ema_decay=config.ema_decay,
        init=models.init.create(config.init, **parse_options(config.init_options)),
    )


def make_augmentation(config: Training) -> Transform:
    """The augmentation that the config asks for; the identity where it asks for none."""
    transforms = []
    if config.crop:
        transforms.append(augment.crop(config.crop))
    if config.flip:
        transforms.append(augment.flip())
    if config.cutout:
        transforms.append(augment.cutout(config.cutout))
    return augment.compose(*transforms)


def make_normalization(config: Training, train: Dataset) -> Transform:
    """From uint8 images to what the network sees, by the statistics of ``train``.

    Raises:
      ValueError: if the data set has not the statistics that are asked for.
    """
    return normalization_of(config.normalization, train.statistics, f"the data set {train.name}")


def normalization_of(
    kind: Literal["channel", "mean-image", "unit"], statistics: Statistics | None, whose: str
) -> Transform:
    """From uint8 images to what the network sees.

    Args:
      kind: as of ``Training``.
      statistics: by which; unused for "unit".
      whose: they are, in messages.

    Raises:
      ValueError: if there are not the statistics that are asked for.
    """
    if kind == "unit":
        return augment.to_unit_range()
    if statistics is None:
        raise ValueError(f"{whose} has no statistics to normalise by.")
    if kind == "channel":
        return augment.normalize(statistics.mean, statistics.std)
    scale = sum(statistics.std) / len(statistics.std)
    if statistics.mean_image is None:
        raise ValueError(f"{whose} has no mean image.")
    return augment.subtract_mean_image(statistics.mean_image, scale)


def fit_options(config: Training) -> FitOptions:
    """How long, in what batches and with which seeds the config trains."""
    return FitOptions(
        epochs=config.epochs,
        batch_size=config.batch_size,
        seeds=config.all_seeds,
        remainder=config.remainder,
        stream=config.stream,
        steps_per_call=config.steps_per_call,
    )


def member_seeds(config: Training, members: int) -> tuple[int, ...]:
    """A seed for each of M members of each of R repetitions, [M * R], member by member.

    They follow each other, and the first member's are the repetitions' own.
    """
    return tuple(range(config.seed, config.seed + members * len(config.all_seeds)))


def kept_steps(config: Training, train: Dataset) -> range:
    """The steps whose checkpoints ``config.keep_every`` keeps.

    Raises:
      ValueError: if it is less than an epoch.
    """
    if config.keep_every is None:
        return range(0)
    if config.keep_every < 1:
        raise ValueError(f"keep_every must be at least 1 epoch, got {config.keep_every}.")
    per_epoch = steps_per_epoch(len(train), config.batch_size, config.remainder)
    every = per_epoch * config.keep_every
    return range(every, per_epoch * config.epochs + 1, every)

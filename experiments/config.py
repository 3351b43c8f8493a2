"""The settings that every experiment which trains has in common, and what they make.

The fields are the command line's options; importing this module imports no jax, so that ``--help``
answers at once.
"""

import ast
import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from cnnlab.models import Network
    from cnnlab.schedules import Schedule
    from cnnlab.train import Recipe

# What may differ between a run and its resume: nothing that the numbers depend on, but for what is
# to be done where a part of it has been lost.
FREE_ON_RESUME = frozenset(
    {"resume", "data_dir", "quiet", "coordinator", "processes", "process_id", "run_dir", "runs"}
    | {"missing"}
)


@dataclasses.dataclass(frozen=True)
class Training:
    """What to train on what, how, and where it is written down."""

    dataset: str = "digits"
    """digits, mnist, fashion_mnist, cifar10, cifar100, folder, npz, tfds:NAME, synthetic."""
    data_dir: pathlib.Path | None = None
    """Where the data set's files are. Nothing is downloaded."""
    validation: int | float | None = 0.1
    """Part of the training images to validate on: a fraction, a number of images, or None."""
    split_seed: int = 0
    """Seed of the splits into training, validation and (where there is no official one) test."""
    per_class: int | None = None
    """Train on so many images a class only."""
    fraction: float | None = None
    """Train on this fraction of the images only."""
    classes: tuple[str, ...] | None = None
    """Keep these classes only, by name or number."""
    image_size: int | None = None
    """Side in pixels that an image folder's images are brought to."""
    on_unreadable: Literal["error", "skip"] = "error"
    """What to do about an image file that cannot be read."""

    model: str = "resnet8"
    """Such as mlp, lenet5, vgg11_small, resnet20, plain20, resnet18, airbench94."""
    model_options: tuple[str, ...] = ()
    """Further settings of the model, such as shortcut=B width=32 norm=group."""
    init: str = "default"
    """How the weights start: default, he (kaiming), glorot (xavier), orthogonal, lsuv, fixup …"""
    init_options: tuple[str, ...] = ()
    """Further settings of the initialisation, such as std=0.05."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; parameters are float32 always."""

    epochs: int = 40
    """Passes over the training images."""
    batch_size: int = 64
    """Images in an update, over all devices."""
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "nesterov"
    """The update rule."""
    learning_rate: float = 0.1
    """The highest one."""
    schedule: Literal["constant", "step", "cosine", "swa"] = "cosine"
    """How the rate falls."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """For the step schedule: when the rate falls tenfold, as fractions of the training."""
    warmup_epochs: float = 1.0
    """A linear rise in front, part of the epochs."""
    momentum: float = 0.9
    """Of SGD; b1 of Adam."""
    weight_decay: float = 5e-4
    """On kernels."""
    clip: float | None = None
    """The largest global norm of the gradient."""
    label_smoothing: float = 0.0
    """Weight of the uniform distribution in the targets."""
    accumulate: int = 1
    """Parts that a batch goes through the network in, to save memory."""
    ema_decay: float | None = None
    """Evaluate a moving average of the parameters with this decay."""
    remainder: Literal["drop", "wrap"] = "drop"
    """The last partial batch of an epoch: dropped, or filled from the epoch's beginning."""

    normalization: Literal["channel", "mean-image", "unit"] = "channel"
    """Per-channel mean and deviation, the mean image, or just 0 to 1."""
    flip: bool = False
    """Mirror half of the training images."""
    crop: int = 1
    """Pad the training images by so many pixels and cut at a random place; 4 for 32 x 32."""
    cutout: int = 0
    """Cover a square with sides of so many pixels."""

    seeds: int = 1
    """How many networks to train at once, with seeds SEED, SEED + 1 …"""
    seed: int = 0
    """The first seed."""
    member_axis: int | None = None
    """Devices that the networks are spread over; the others split the batch. Chosen if left out."""
    stream: bool | None = None
    """Read images while training (True), keep them on the device (False), or as they are stored."""
    steps_per_call: int | None = None
    """Updates in one compiled call; chosen if left out."""

    runs: pathlib.Path = pathlib.Path("runs")
    """Where a numbered run directory is made."""
    run_dir: pathlib.Path | None = None
    """The run directory itself, instead; it must not exist."""
    resume: pathlib.Path | None = None
    """Go on with the run in this directory; nothing else is needed."""
    keep: int = 2
    """Latest checkpoints to keep, besides the best."""
    keep_every: int | None = None
    """Keep the checkpoint of every so many epochs, too."""
    checkpoint_steps: int | None = None
    """Save every so many updates, too, not only after each epoch."""
    quiet: bool = False
    """Show nothing but the result."""

    coordinator: str | None = None
    """For several hosts: HOST:PORT of the first process, or auto on a cluster."""
    processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which one this is, from 0."""

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """One for each network."""
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1 network, got {self.seeds}.")
        return tuple(range(self.seed, self.seed + self.seeds))


def load_data(config: Training) -> "Splits":
    """The data that the config names."""
    from cnnlab import data

    return data.load(
        config.dataset,
        config.data_dir,
        validation=config.validation,
        split_seed=config.split_seed,
        per_class=config.per_class,
        fraction=config.fraction,
        classes=config.classes,
        image_size=config.image_size,
        on_unreadable=config.on_unreadable,
    )


def make_network(config: Training, num_classes: int) -> "Network":
    """The network that the config names."""
    from jax import numpy as jnp

    from cnnlab import models

    overrides = options(config.model_options)
    if config.precision == "bfloat16":
        overrides["dtype"] = jnp.bfloat16
    return models.create(config.model, num_classes, **overrides)


def make_recipe(
    config: Training,
    train: "Dataset",
    *,
    images: int | None = None,
    schedule: "Schedule | None" = None,
    varied: bool = False,
) -> "Recipe":
    """How the config trains a network on ``train``.

    Args:
      config: what was asked for.
      train: the training part, for its length, classes and statistics.
      images: how many are seen in an epoch, by which the schedule goes; all of them by default.
      schedule: in place of the config's own.
      varied: let members have hyperparameters of their own, see ``optim.create``.
    """
    import functools

    from cnnlab import augment, losses, models, optim, schedules
    from cnnlab.data.batches import steps_per_epoch
    from cnnlab.train import Recipe

    if schedule is None:
        seen = len(train) if images is None else images
        per_epoch = steps_per_epoch(seen, config.batch_size, config.remainder)
        schedule = schedules.create(
            config.schedule,
            config.learning_rate,
            config.epochs * per_epoch,
            warmup_steps=round(config.warmup_epochs * per_epoch),
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
    transforms = []
    if config.crop:
        transforms.append(augment.crop(config.crop))
    if config.flip:
        transforms.append(augment.flip())
    if config.cutout:
        transforms.append(augment.cutout(config.cutout))
    loss = losses.softmax_cross_entropy
    return Recipe(
        network=make_network(config, train.num_classes),
        optimizer=optimizer,
        prepare=_normalization(config, train),
        augment=augment.compose(*transforms),
        loss=functools.partial(loss, label_smoothing=config.label_smoothing),
        schedule=schedule,
        accumulate=config.accumulate,
        ema_decay=config.ema_decay,
        init=models.init.create(config.init, **options(config.init_options)),
    )


def experiment_of(kind: type) -> str:
    """The experiment whose config a class is, by its module, also where that is ``__main__``."""
    module = kind.__module__
    if module == "__main__":
        module = getattr(sys.modules[module].__spec__, "name", module)
    return module.rpartition(".")[2].removesuffix("_settings")


def plain(config: Training) -> dict[str, Any]:
    """The config as what JSON can hold."""
    fields = dataclasses.asdict(config)
    if config.data_dir is not None:  # a resume may be asked for from another folder
        fields["data_dir"] = config.data_dir.resolve()
    return {
        name: str(value) if isinstance(value, pathlib.Path) else value
        for name, value in fields.items()
    }


def from_plain(kind: type, fields: dict[str, Any]) -> Any:
    """The config of class ``kind`` that ``plain`` made ``fields`` of."""
    known = {field.name: field for field in dataclasses.fields(kind)}
    values = {}
    for name, value in fields.items():
        if name not in known:
            continue  # written by another version, which had this field
        if isinstance(value, list):
            value = tuple(value)
        if value is not None and "Path" in str(known[name].type):
            value = pathlib.Path(value)
        values[name] = value
    return kind(**values)


def disagreements(config: Training, stored: Training) -> list[str]:
    """What ``config`` says otherwise than the run that it resumes: a line a field."""
    return [
        f"{field.name} was {getattr(stored, field.name)!r}, "
        f"and is now {getattr(config, field.name)!r}"
        for field in dataclasses.fields(config)
        if field.name not in FREE_ON_RESUME
        and getattr(config, field.name) != getattr(stored, field.name)
    ]


def _normalization(config: Training, train: "Dataset") -> Any:
    from cnnlab import augment

    statistics = train.statistics
    if config.normalization == "unit":
        return augment.to_unit_range()
    if statistics is None:
        raise ValueError(f"the data set {train.name} has no statistics to normalise by.")
    if config.normalization == "channel":
        return augment.normalize(statistics.mean, statistics.std)
    scale = sum(statistics.std) / len(statistics.std)
    if statistics.mean_image is None:
        raise ValueError(f"the data set {train.name} has no mean image.")
    return augment.subtract_mean_image(statistics.mean_image, scale)


def options(texts: Sequence[str]) -> dict[str, Any]:
    """Options by name, of texts such as "width=32" and "shortcut=B".

    Raises:
      ValueError: if one does not read NAME=VALUE.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"an option must read NAME=VALUE, such as width=32, got {text!r}.")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found

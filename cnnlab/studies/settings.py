"""The settings that every training has in common: the fields are the command line's options.

Importing this module imports no jax, so that ``--help`` answers at once; ``cnnlab.studies.build``
makes data, networks and recipes of them.
"""

import ast
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from cnnlab.source_file import split_file
from cnnlab.studies.stored_fields import CheckedFields, check_names, check_types

FREE_ON_RESUME = frozenset(
    {"resume", "data_dir", "quiet", "coordinator", "processes", "process_id", "run_dir", "runs"}
    | {"missing", "join_timeout"}
)
"""Fields that may differ between a run and its resume: those that no number depends on, and what is
to be done where a checkpoint has been lost."""

_WITH_PATH = ("folder", "npz")  # data sets whose path may follow the name: folder:PATH


@dataclasses.dataclass(frozen=True)
class Training(CheckedFields):
    """Data, network, training, and where all is written down."""

    earlier_names: ClassVar[Mapping[str, str]] = {}
    """Names that fields had in earlier versions, whose stored configs are read -> names today."""

    dataset: str = "digits"
    """digits, mnist, fashion_mnist, cifar10, cifar100[:coarse], folder, npz, tfds:NAME, synthetic;
    the README has the layout of a folder and the arrays of an npz."""
    data_dir: pathlib.Path | None = None
    """Where the data set's files are. Nothing is downloaded."""
    validation: int | float | None = 0.1
    """Part of the training images to validate on: a fraction, a number of images, or None."""
    split_seed: int = 0
    """Seed of the splits into training, validation and (where there is no official one) test."""
    per_class: int | None = None
    """Train on this many images a class only."""
    fraction: float | None = None
    """Train on this fraction of the images only."""
    classes: tuple[str, ...] | None = None
    """Keep these classes only, by name or number."""
    image_size: int | None = None
    """Side in pixels that an image folder's images are brought to."""
    on_unreadable: Literal["error", "skip"] = "error"
    """What to do about an image file that cannot be read."""

    model: str = "resnet8"
    """Such as mlp, lenet5, vgg11_small, resnet20, plain20, resnet18, airbench94; or one of
    your own, FILE.py:FUNCTION."""
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
    """A linear rise at the start, part of the epochs; by default half of a single epoch."""
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
    """Pad the training images by N pixels and crop at a random place; 4 for 32 x 32."""
    cutout: int = 0
    """Cover a square with sides of N pixels."""

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
    """Keep the checkpoint of every Nth epoch, too."""
    checkpoint_steps: int | None = None
    """Save every N updates, too, not only after each epoch; no compiled call is longer."""
    quiet: bool = False
    """Show nothing but the result."""

    coordinator: str | None = None
    """For several hosts: HOST:PORT of the first process, or auto on a cluster."""
    processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which one this is, from 0."""
    join_timeout: int = 120
    """Seconds that a process waits for the others at the start."""

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """One for each network."""
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1 network, got {self.seeds}.")
        return tuple(range(self.seed, self.seed + self.seeds))

    @property
    def data_name(self) -> str:
        """The data set in names and titles: ``folder:photos`` for ``folder:/home/me/photos``."""
        source, path = split_place(self.dataset)
        return self.dataset if path is None else f"{source}:{path.name}"

    @property
    def model_name(self) -> str:
        """The model in names and titles: ``net.py:make`` for ``/home/me/net.py:make``."""
        return short_model(self.model)


def short_model(model: str) -> str:
    """A model's name without the folder of its file, if it has one."""
    file = split_file(model)
    return model if file is None else f"{file[0].name}:{file[1]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsFile(CheckedFields):
    """A file of weights, and what it does not say itself of the network that it is of."""

    weights: pathlib.Path | None = None
    """A file of weights: .pth, .pt, .th, .ckpt, .pth.tar, .bin, .safetensors or .npz. One that
    cnnlab wrote, and a published one that is recognised, need none of the options below."""
    model: str | None = None
    """The network that they are of, such as resnet20, vgg16, resnet50, squeezenet."""
    model_options: tuple[str, ...] = ()
    """Further settings of the model, such as norm=batch head_padding=1."""
    mapping: str | None = None
    """Whose names the file has: resnet, vgg, squeezenet_caffe …; found out if left out."""
    weights_normalization: str | None = None
    """What the weights were trained on: torchvision (ImageNet's mean and deviation), caffe (mean
    123 117 104 in pixels, RGB), unit (just 0 to 1), or MEAN/STD such as 0.1307/0.3081."""


OF_WEIGHTS = ("model", "model_options", "mapping", "weights_normalization")
"""The fields of ``WeightsFile`` that say what a file does not; a run needs none of them."""

AnyConfig = TypeVar("AnyConfig", bound=Training)


def warmup_epochs(config: Training) -> float:
    """The warm-up; where it has its default and is no shorter than the training, half of that.

    Raises:
      ValueError: if another one is negative or no shorter than the training, or that has no epoch.
    """
    if config.epochs < 1:
        raise ValueError(f"--epochs must be at least 1, got {config.epochs}.")
    if not config.warmup_epochs >= 0:
        raise ValueError(f"--warmup-epochs must be at least 0, got {config.warmup_epochs:g}.")
    if config.warmup_epochs < config.epochs:
        return config.warmup_epochs
    if config.warmup_epochs == type(config).warmup_epochs:
        return config.epochs / 2
    raise ValueError(
        f"--warmup-epochs {config.warmup_epochs:g} must be less than --epochs {config.epochs}, of "
        "which it is a part: take more epochs or a shorter warm-up."
    )


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Options by name, of texts such as "width=32" and "shortcut=B".

    Raises:
      ValueError: if one does not read NAME=VALUE.
    """
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"an option must read NAME=VALUE, such as width=32, got {text!r}.")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    return options


def parse_pool(text: str) -> Literal["mean"] | int | None:
    """The ``pool`` of ``transfer.features`` that an option "mean", "none" or such as "4" names.

    Raises:
      ValueError: for anything else.
    """
    if text == "mean":
        return "mean"
    if text == "none":
        return None
    if not text.isdecimal() or not int(text):
        raise ValueError(f"--pool must be mean, none or a number of cells a side, got {text!r}.")
    return int(text)


def option_name(field: str) -> str:
    """The command line's option for a field: ``--learning-rate`` for ``learning_rate``."""
    return f"--{field.replace('_', '-')}"


def changed_fields(config: Any, fields: Iterable[str] | None = None) -> list[str]:
    """Those of the ``fields`` (all by default) that are not at their defaults, in their order.

    Args:
      config: a dataclass whose fields have defaults.
      fields: some of its fields.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    names = defaults if fields is None else fields
    return [name for name in names if getattr(config, name) != defaults[name]]


def refuse_unused(config: Any, fields: Iterable[str], why: str) -> None:
    """Refuses options that would not be used.

    Args:
      config: a dataclass whose fields have defaults.
      fields: those that are of no use here.
      why: such as "only with --weights FILE".

    Raises:
      ValueError: if one of them is not at its default.
    """
    changed = changed_fields(config, fields)
    if changed:
        options = ", ".join(map(option_name, changed))
        advice = "Leave it out." if len(changed) == 1 else "Leave them out."
        raise ValueError(f"{options}: {why}. {advice}")


def split_place(dataset: str) -> tuple[str, pathlib.Path | None]:
    """A data set's source, and the place that its name holds: ``folder:photos``; None for none."""
    source, _, path = dataset.partition(":")
    if source in _WITH_PATH and path:
        return source, pathlib.Path(path)
    return source, None


def with_absolute_paths(config: AnyConfig) -> AnyConfig:
    """The config with its files and folders as absolute paths: a resume may run elsewhere."""
    data_dir = pathlib.Path("." if config.data_dir is None else config.data_dir)

    def absolute(value: Any, is_path: bool) -> Any:
        if isinstance(value, tuple):
            return tuple(absolute(each, is_path) for each in value)
        if is_path and value is not None:
            return pathlib.Path(value).expanduser().absolute()
        file = split_file(value) if isinstance(value, str) else None
        if file is not None:
            return f"{file[0].expanduser().absolute()}:{file[1]}"
        source, path = split_place(value) if isinstance(value, str) else ("", None)
        if path is None:
            return value
        return f"{source}:{(data_dir.expanduser() / path.expanduser()).absolute()}"

    kept = FREE_ON_RESUME - {"data_dir"}
    values = {
        field.name: absolute(getattr(config, field.name), "Path" in str(field.type))
        for field in dataclasses.fields(config)
        if field.name not in kept
    }
    return dataclasses.replace(config, **values)


def other_data_name(dataset: str, data_dir: pathlib.Path | None) -> str:
    """A name for files on another data set than a run's own, of its kind, name and place."""
    place = pathlib.Path("." if data_dir is None else data_dir).expanduser()
    source, path = split_place(dataset)
    if source not in _WITH_PATH:
        return dataset.replace("/", "-").replace(":", "-")
    place = (place if path is None else place / path.expanduser()).absolute()
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:6]
    return f"{source}-{place.name}-{digest}"


def with_data_dir(config: AnyConfig, data_dir: pathlib.Path | None) -> AnyConfig:
    """The config whose data are in another folder or file; ValueError if they have no files."""
    if data_dir is None:
        return config
    source, path = split_place(config.dataset)
    if source.partition(":")[0] in ("digits", "synthetic"):
        raise ValueError(f"{source} has no files that could be in {data_dir}: leave it out.")
    dataset = config.dataset if path is None else source
    return dataclasses.replace(config, dataset=dataset, data_dir=data_dir)


def drop_default_model_options(config: AnyConfig) -> AnyConfig:
    """The config without its default model options where its model is not the default one."""
    default = {field.name: field.default for field in dataclasses.fields(config)}
    if config.model == default["model"] or config.model_options != default["model_options"]:
        return config
    return dataclasses.replace(config, model_options=())


def experiment_name(kind: type) -> str:
    """The experiment that a config class belongs to: the folder of its module ``config``."""
    package, _, module = kind.__module__.rpartition(".")
    return package.rpartition(".")[2] if module == "config" else module


def to_json(config: Training) -> dict[str, Any]:
    """The config as JSON can hold it."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(plain, value))
        return str(value) if isinstance(value, pathlib.Path) else value

    fields = dataclasses.asdict(with_absolute_paths(config))
    return {name: plain(value) for name, value in fields.items()}


def with_current_names(kind: type, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stored config by the names of this version, of ``kind.earlier_names``."""
    earlier = getattr(kind, "earlier_names", {})
    return {earlier.get(name, name): value for name, value in fields.items()}


def from_json(kind: type[AnyConfig], fields: dict[str, Any]) -> AnyConfig:
    """The config of class ``kind`` whose ``to_json`` is ``fields``.

    Fields that the class does not have are left out: another version or experiment wrote them.

    Raises:
      ValueError: for a field that has another type, or a misspelt name.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    fields = with_current_names(kind, fields)
    check_names(fields, known)
    values = {}
    for name, value in fields.items():
        if name not in known:
            continue
        is_path = "Path" in str(known[name].type)
        if isinstance(value, list):
            value = tuple(pathlib.Path(x) if is_path and isinstance(x, str) else x for x in value)
        elif isinstance(value, str) and is_path:
            value = pathlib.Path(value)
        values[name] = value
    check_types(kind, values)
    if "milestones" in values:  # earlier versions took later ones, which a training never reaches
        values["milestones"] = tuple(min(each, 1.0) for each in values["milestones"])
    return kind(**values)

"""Networks whose weights are in a file, with all that is known of them.

    networks = weights_files.load_weights(WeightsFile(weights="exported.safetensors"))
    networks = weights_files.load_weights(
        WeightsFile(weights="w.pth", model="vgg11", weights_normalization="caffe"), 10, (32, 32, 3)
    )

They are ``TrainedNetworks``, as those of a run. A file that cnnlab wrote says all of its network, a
published one that is recognised is known; of any other the options must say what the network is and
how its images were normalised. Options that contradict the file are refused.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp

from cnnlab import models
from cnnlab.data import Dataset
from cnnlab.data.dataset import Part
from cnnlab.data.part_checks import warn_of_range
from cnnlab.models.weights import HeadError
from cnnlab.spelling import some
from cnnlab.studies.class_names import in_order_of
from cnnlab.studies.file_data import load_data_for
from cnnlab.studies.file_description import Description, describe, with_model_file
from cnnlab.studies.preparation import NORMALIZATIONS, Preparation, parse_normalization
from cnnlab.studies.run_data import check_unseen
from cnnlab.studies.settings import Training, WeightsFile, parse_options
from cnnlab.studies.trained import TrainedNetworks, part_images
from cnnlab.train import Recipe, states_of


class OptionNames(NamedTuple):
    """The command line's options, for messages.

    Attributes:
      classes: for the number of classes; "" for none.
    """

    classes: str = ""


_OPTIONS = OptionNames()
_NORMALIZATION = "--weights-normalization"


def load_weights(
    file: WeightsFile,
    num_classes: int | None = None,
    image_shape: tuple[int, int, int] | None = None,
    *,
    own_channels: bool = False,
    default_model: str | None = None,
    unused: Sequence[str] = (),
    options: OptionNames = _OPTIONS,
) -> TrainedNetworks:
    """The network whose weights are in a file.

    Args:
      file: the file, and what it does not say itself; its model options may say
        ``num_classes=1000``.
      num_classes: of the file, where neither it nor the model options say it.
      image_shape: ``(H, W, C)`` of the images that it will see; None for those of the file.
      own_channels: whether the network takes images of as many channels as the file says, which
        may be others than C.
      default_model: of a file that does not say its model, where no option does either.
      unused: stages or patterns whose values will be replaced, as of ``models.weights.load``.
      options: the command line's, for messages.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the model, the normalization, the classes or the images' shape is not known, an
        option contradicts the file, or the file is that of another network.
    """
    if file.weights is None:
        raise ValueError("give a file of weights: --weights FILE.")
    path = pathlib.Path(file.weights)
    known = describe(path)
    model, texts, num_classes = _network(path, file, known, num_classes, default_model, options)
    if image_shape is None:
        if known is None:
            raise ValueError(f"{path.name} does not say of what images it is: give their shape.")
        image_shape = known.image_shape
    height, width, channels = image_shape
    overrides = parse_options(texts)
    if known is not None and known.precision == "bfloat16":
        overrides["dtype"] = jnp.bfloat16
    network = models.create(model, num_classes, **overrides)
    if own_channels:
        channels = models.weights.input_channels(path, network, image_shape, mapping=file.mapping)
    image = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    try:
        variables, report = models.weights.load(path, shapes, mapping=file.mapping, unused=unused)
    except HeadError as error:
        advice = _head_advice(error, num_classes, options)
        raise ValueError(f"{error.details}\n{advice}") from error
    preparation = _preparation(path, file, known, options)
    _check_channels(preparation, channels, options)
    recipe = Recipe(network, optax.identity(), preparation.transform)
    return TrainedNetworks(
        recipe,
        states_of(recipe, variables),
        path.name,
        model,
        texts,
        (height, width, channels),
        preparation.kind,
        preparation.statistics,
        () if known is None else known.class_names,
        records=() if known is None else known.records,
        report=dataclasses.replace(report, path=path.name, notes=_notes(known, preparation)),
    )


def load_weights_on(
    file: WeightsFile,
    part: Part,
    dataset: str | None = None,
    data_dir: pathlib.Path | None = None,
    image_size: int | None = None,
    *,
    same_classes: bool = False,
) -> tuple[TrainedNetworks, Dataset]:
    """The network of a file of weights, and a part of a data set.

    Args:
      file: the file, and what it does not say itself; of the data set's number of classes unless it
        or the file says another.
      part: of the data; without a validation part all others are training images.
      dataset: its name, as of ``Training``; None for the one that the file's network was trained
        on, with the same parts.
      data_dir: where its files are.
      image_size: side in pixels that an image folder's images are brought to; that of the network
        by default.
      same_classes: whether the images must be of the network's classes; they are then put into its
        order.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if the file is that of another network, for an unknown data set, or images of
        another shape or other classes.
    """
    assert file.weights is not None
    path = pathlib.Path(file.weights)
    known = describe(path)
    data = _data(path, known, part, dataset, data_dir, image_size)
    images = part_images(load_data_for(path, data, own=dataset is None), part)
    if known is not None and known.own and images.image_shape != known.image_shape:
        raise ValueError(
            f"the network of {path.name} was trained on images of shape {known.image_shape}, those "
            f"of {images.name} are {images.image_shape}."
        )
    classes = None if known is not None else images.num_classes
    networks = load_weights(file, classes, images.image_shape)
    warn_of_range(images, networks.statistics, f"the network of {path.name}")
    if same_classes and known is not None:
        whose = f"the network of {path.name}"
        if known.class_names:
            images = in_order_of(images, known.class_names, whose, numbered=not known.own)
        elif known.num_classes != images.num_classes:
            raise ValueError(
                f"{whose} tells {known.num_classes} classes apart, {images.name} has "
                f"{images.num_classes}."
            )
    return networks, images


def check_same_network(path: pathlib.Path, networks: TrainedNetworks, test: Dataset) -> None:
    """Refuses a file whose network is known to be another one than a run's.

    Args:
      path: of the file.
      networks: of the run.
      test: what is evaluated, of which the network must not have trained on images.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if they differ in the model, its options or precision, the normalization or the
        classes (both are named), or the file's has trained on images of ``test``.
    """
    known = describe(path)
    if known is None:
        return
    if known.own:
        config = networks.config
        assert config is not None
        known = with_model_file(path, known, config.model)
        theirs = (known.model, parse_options(known.model_options), known.precision)
        ours = (config.model, parse_options(config.model_options), config.precision)
        if theirs != ours:
            raise ValueError(
                f"the network of {path.name} is {_words(*theirs)}, that of {networks.name} is "
                f"{_words(*ours)}: evaluate the file without the run."
            )
        for record in known.records if test.part != "train" else ():
            check_unseen(record, None, test, f"the network of {path.name}")
    if known.preparation is None:
        return
    shown = Preparation(networks.normalization, networks.statistics)
    if not known.preparation.agrees(shown):
        raise ValueError(
            f"{path.name} was trained with the normalization {known.preparation}, {networks.name} "
            f"with {shown}: evaluate the file without the run."
        )
    if known.own and known.class_names != networks.class_names:
        raise ValueError(
            f"{path.name} tells apart the classes {some(known.class_names)}, {networks.name} "
            f"{some(networks.class_names)}: evaluate the file without the run."
        )


def _words(model: str, options: dict[str, Any], precision: str) -> str:
    return " ".join([model, *(f"{name}={value}" for name, value in options.items()), precision])


def _network(
    path: pathlib.Path,
    file: WeightsFile,
    known: Description | None,
    num_classes: int | None,
    default_model: str | None,
    options: OptionNames,
) -> tuple[str, tuple[str, ...], int]:
    """The model, its options and the number of classes."""
    given = parse_options(file.model_options)
    texts = tuple(text for text in file.model_options if not text.startswith("num_classes="))
    if known is None:
        model = file.model or default_model
        if model is None:
            raise ValueError(
                f"{path.name} does not say what network it is of, and is no published file that is "
                "recognised: --weights needs --model as well."
            )
        count = given.get("num_classes", num_classes)
        if count is None:
            needed = options.classes or "--model-options num_classes="
            raise ValueError(f"{path.name} does not say how many classes it has: give {needed}N.")
        return model, texts, count
    known = with_model_file(path, known, file.model or default_model)
    for option, count in (
        ("--model-options num_classes=", given.pop("num_classes", None)),
        (f"{options.classes} ", num_classes),
    ):
        if count is not None and count != known.num_classes:
            raise _contradiction(
                path, known, "number of classes", known.num_classes, f"{option}{count}"
            )
    if file.model is not None and file.model != known.model:
        if known.own:
            raise _contradiction(path, known, "model", known.model, f"--model {file.model}")
        return file.model, texts, known.num_classes  # another name for it, or its shapes differ
    stated = parse_options(known.model_options)
    defaults = models.options(known.model) if known.own else {}
    for name, value in given.items():
        own = stated.get(name, defaults.get(name, value))
        if own != value and not (isinstance(own, tuple | list) and list(own) == list(value)):
            option = f"--model-options {name}={value}"
            raise _contradiction(path, known, name, own, option)
    further = (text for text in texts if text.partition("=")[0] not in stated)
    return known.model, (*known.model_options, *further), known.num_classes


def _preparation(
    path: pathlib.Path, file: WeightsFile, known: Description | None, options: OptionNames
) -> Preparation:
    """The normalization, of the file or the option."""
    given = (
        None
        if file.weights_normalization is None
        else parse_normalization(file.weights_normalization)
    )
    stated = None if known is None else known.preparation
    if stated is None:
        if given is not None:
            return given
        usual = ""
        if known is not None:
            usual = f" But {known.source}, whose normalization is {known.usual}."
        raise ValueError(
            f"{path.name} does not say how the images that it was trained on were normalised, and "
            f"is no published file that is recognised.{usual} Give {_NORMALIZATION}: "
            f"{NORMALIZATIONS}."
        )
    if given is not None and not given.agrees(stated):
        assert known is not None
        got = f"{_NORMALIZATION} {file.weights_normalization}"
        raise _contradiction(path, known, "normalization", stated, got)
    return stated


def _check_channels(preparation: Preparation, channels: int, options: OptionNames) -> None:
    statistics = preparation.statistics
    if statistics is not None and channels != len(statistics.mean):
        raise ValueError(
            f"the normalization {preparation} is for networks that take images of "
            f"{len(statistics.mean)} channels, these have {channels}: choose unit, or numbers "
            f"for {channels}, such as {_NORMALIZATION} 0.1307/0.3081."
        )


def _contradiction(
    path: pathlib.Path, known: Description, what: str, stated: Any, given: str
) -> ValueError:
    stated = f"the {what} of {path.name} is {stated} ({known.source})"
    return ValueError(f"{stated}, got {given.strip()}: leave it out.")


def _notes(known: Description | None, preparation: Preparation) -> tuple[str, ...]:
    """What a file says of itself, in a line."""
    if known is None:
        return ()
    network = " ".join([known.model, *known.model_options])
    size = " x ".join(map(str, known.image_shape))
    return (f"{known.source}: {network}, images {size}, normalization {preparation}",)


def _data(
    path: pathlib.Path,
    known: Description | None,
    part: Part,
    dataset: str | None,
    data_dir: pathlib.Path | None,
    image_size: int | None,
) -> Training:
    """The settings of the data; those of the network's own where it is the same data set."""
    stated = {} if known is None else known.data
    own = stated.get("dataset")
    if dataset is None and own is None:
        raise ValueError(
            f"{path.name} does not say what data it is of: --weights needs --dataset as well, and "
            "--data-dir where its files are."
        )
    if dataset in (None, own) or str(dataset).partition(":")[0] == own:
        stated = {**stated, "dataset": dataset or own}
    else:
        stated = {"dataset": dataset, "validation": 0.1 if part == "validation" else None}
    if image_size is None and known is not None:
        height, width, _ = known.image_shape
        image_size = height if height == width else None
    folder = str(stated["dataset"]).partition(":")[0] == "folder"
    return Training(
        **{**stated, "data_dir": data_dir, "image_size": image_size if folder else None}
    )


def _head_advice(error: HeadError, num_classes: int, options: OptionNames) -> str:
    """The advice on a command line where only the head differs."""
    if error.outputs is None:
        return "Only the head differs: choose the model options and the image size of the file."
    mend = f": {options.classes} {error.outputs}" if options.classes else ""
    return f"Only the head differs, the file has {error.outputs} classes, not {num_classes}{mend}."

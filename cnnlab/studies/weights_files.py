"""Networks whose weights are in a file, with all that is known of them.

    file = WeightsFile(weights="resnet20.th", model="resnet20")
    networks = weights_files.load_weights(file, num_classes=10, image_shape=(32, 32, 3))

They are ``TrainedNetworks``, as those of a run.
"""

import dataclasses
import pathlib

import jax
import optax
from jax import numpy as jnp

from cnnlab import augment, models
from cnnlab.augment import Transform
from cnnlab.data import Dataset
from cnnlab.data.dataset import Part, Statistics
from cnnlab.models.weights import HeadError
from cnnlab.studies.build import load_data
from cnnlab.studies.settings import Normalization, Training, WeightsFile, parse_options
from cnnlab.studies.trained import TrainedNetworks, part_images
from cnnlab.train import Recipe, states_of

# Mean and deviation of red, green and blue, in pixel units.
_WEIGHTS_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "torchvision": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
}


def load_weights(
    file: WeightsFile,
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    own_channels: bool = False,
    classes_option: str | None = None,
) -> TrainedNetworks:
    """The network whose weights are in a file of another program.

    Args:
      file: the file and the network; its model options may say ``num_classes=1000``.
      num_classes: of the file, where the model options do not say it.
      image_shape: ``(H, W, C)`` of the images that it will see.
      own_channels: whether the network takes images of as many channels as the file says, which
        may be others than C.
      classes_option: the command line's option for the number of classes, for the message where
        the file has another one.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the model is missing, or the file is that of another one.
    """
    if file.weights is None or file.model is None:
        raise ValueError("--weights needs --model as well: the network that they are of.")
    path = pathlib.Path(file.weights)
    num_classes = parse_options(file.model_options).get("num_classes", num_classes)
    options = tuple(text for text in file.model_options if not text.startswith("num_classes="))
    network = models.create(file.model, num_classes, **parse_options(options))
    height, width, channels = image_shape
    if own_channels:
        channels = models.weights.input_channels(path, network, image_shape, mapping=file.mapping)
    prepare = _weights_preparation(file.normalization, channels)
    image = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    try:
        variables, report = models.weights.load(path, shapes, mapping=file.mapping)
    except HeadError as error:
        advice = _head_advice(error, num_classes, classes_option)
        raise ValueError(f"{error.details}\n{advice}") from error
    recipe = Recipe(network, optax.identity(), prepare)
    return TrainedNetworks(
        recipe,
        states_of(recipe, variables),
        path.name,
        file.model,
        options,
        (height, width, channels),
        "unit" if file.normalization == "unit" else "channel",
        weights_statistics(file.normalization),
        report=dataclasses.replace(report, path=path.name),
    )


def load_weights_on(
    file: WeightsFile,
    part: Part,
    dataset: str,
    data_dir: pathlib.Path | None = None,
    image_size: int | None = None,
) -> tuple[TrainedNetworks, Dataset]:
    """The network of a file of weights, and a part of a data set.

    Args:
      file: the file and the network; of the data set's number of classes unless it says another.
      part: of the data; without a validation part all others are training images.
      dataset: its name, as of ``Training``.
      data_dir: where its files are.
      image_size: side in pixels that an image folder's images are brought to.

    Raises:
      FileNotFoundError: if the file or the data are not there.
      ValueError: if the file is that of another network, or for an unknown data set.
    """
    validation = 0.1 if part == "validation" else None
    data = Training(
        dataset=dataset, data_dir=data_dir, image_size=image_size, validation=validation
    )
    images = part_images(load_data(data), part)
    return load_weights(file, images.num_classes, images.image_shape), images


def weights_statistics(normalization: Normalization) -> Statistics | None:
    """The statistics by which weights of another program normalise; None for 0 to 1."""
    numbers = _WEIGHTS_STATISTICS.get(normalization)
    return None if numbers is None else Statistics(*numbers)


def _weights_preparation(normalization: Normalization, channels: int) -> Transform:
    statistics = weights_statistics(normalization)
    if statistics is None:
        return augment.to_unit_range()
    if channels != len(statistics.mean):
        raise ValueError(
            f"the normalization {normalization} is for networks that take images of 3 channels, "
            f"these have {channels}: choose unit."
        )
    return augment.normalize(statistics.mean, statistics.std)


def _head_advice(error: HeadError, num_classes: int, classes_option: str | None) -> str:
    """The advice on a command line where only the head differs."""
    if error.outputs is None:
        return "Only the head differs: choose the model options and the image size of the file."
    mend = "" if classes_option is None else f": {classes_option} {error.outputs}"
    return f"Only the head differs, the file has {error.outputs} classes, not {num_classes}{mend}."

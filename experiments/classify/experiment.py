"""The most probable classes of photographs."""

import pathlib

import jax
import numpy as np

from cnnlab import data
from cnnlab.spelling import some
from cnnlab.studies import weights_files
from cnnlab.studies.file_description import Description, describe
from cnnlab.studies.trained import TrainedNetworks
from cnnlab.train import predict_step

from ..cli import host
from .config import Config


def run(config: Config) -> dict[str, list[tuple[str, float]]]:
    """Prints the most probable classes of each image.

    Returns:
      By file, ``(class name, probability)`` of the ``top`` classes, the most probable first.

    Raises:
      ValueError: if an image or the weights cannot be read, or do not fit the network.
    """
    if config.weights is None or not config.images:
        raise ValueError("give one image file or more, and --weights FILE.")
    known, say = describe(config.weights), host().say
    names = _class_names(config, known)
    if not 1 <= config.top <= len(names):
        raise ValueError(f"--top must be in 1 … {len(names)}, the classes; got {config.top}.")
    shape = _image_shape(config, known)
    pixels = np.stack([_read_pixels(path, shape) for path in config.images])
    networks = weights_files.load_weights(config, None if known else len(names), shape)
    say(str(networks.report))
    result = {}
    for path, probabilities in zip(config.images, _probabilities(networks, pixels), strict=True):
        best = np.argsort(-probabilities)[: config.top]
        classes = [(names[index], float(probabilities[index])) for index in best]
        result[str(path)] = classes
        say(f"{path}: {', '.join(f'{name} {p:.1%}' for name, p in classes)}")
    return result


def _class_names(config: Config, known: Description | None) -> tuple[str, ...]:
    """The names of the classes, of the file or the option."""
    path, stated = config.class_names, () if known is None else known.class_names
    if path is None:
        if stated:
            return stated
        assert config.weights is not None
        raise ValueError(
            f"{config.weights.name} does not say what its classes are: give --class-names FILE, a "
            "text file with a name on each line."
        )
    given = tuple(path.read_text(encoding="utf-8").splitlines())
    if known is not None and known.own and given != stated:
        raise ValueError(
            f"{config.weights} says that its classes are {some(stated)}, got --class-names {path} "
            f"with {some(given)}: leave it out."
        )
    if known is not None and len(given) != known.num_classes:
        raise ValueError(
            f"{config.weights} has {known.num_classes} classes, but --class-names {path} has "
            f"{len(given)} lines."
        )
    return given


def _image_shape(config: Config, known: Description | None) -> tuple[int, int, int]:
    """``(H, W, C)`` of the images that the network is shown."""
    side = config.image_size
    if known is None:
        return side or 224, side or 224, 3
    height, width, channels = known.image_shape
    if side is None:
        return known.image_shape
    if known.own and (height, width) != (side, side):
        raise ValueError(
            f"{config.weights} says that its images are {height} x {width}, got --image-size "
            f"{side}: leave it out."
        )
    return side, side, channels


def _read_pixels(path: pathlib.Path, shape: tuple[int, int, int]) -> np.ndarray:
    """An image [H, W, C] of these channels, 3 or 1: grey as ITU-R 601-2 weighs red, green, blue."""
    height, width, channels = shape
    if channels not in (1, 3):
        raise ValueError(
            f"the network takes images of {channels} channels, which image files do not have."
        )
    pixels = data.read_image(path, (height, width))
    if channels == 3:
        return pixels
    weighted = pixels.astype(np.int32) @ np.array([19595, 38470, 7471]) + 0x8000
    return (weighted >> 16).astype(np.uint8)[:, :, None]


def _probabilities(networks: TrainedNetworks, pixels: np.ndarray) -> np.ndarray:
    """[N, K], of uint8 images [N, H, W, C], one at a time."""
    state = jax.tree.map(lambda leaf: leaf[0], networks.states)
    predict = jax.jit(lambda images: predict_step(networks.recipe, state, images))
    return np.stack([np.asarray(jax.nn.softmax(predict(each[None]))[0]) for each in pixels])

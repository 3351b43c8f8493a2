"""The most probable classes of photographs."""

import numpy as np

from cnnlab.spelling import some
from cnnlab.studies import trained, weights_files
from cnnlab.studies.file_description import Description, describe
from cnnlab.studies.prediction import read_images
from cnnlab.studies.trained import TrainedNetworks

from ..cli import host
from .config import Config, check


def run(config: Config) -> dict[str, list[tuple[str, float]]]:
    """Prints the most probable classes of each image.

    Several networks of a run are an ensemble: the mean of their probabilities.

    Returns:
      By file, ``(class name, probability)`` of the ``top`` classes, the most probable first.

    Raises:
      ResumeError: if there is no run.
      ValueError: if an image or the weights cannot be read, or do not fit the network.
    """
    run_directory, images = check(config)
    if run_directory is None:
        networks, pixels, names = _load_weights(config)
        about = str(networks.report)
    else:
        networks = trained.load(run_directory, best=config.best)
        names = networks.class_names
        pixels = read_images(images, networks.image_shape)
        if note := trained.unfinished_note(run_directory):
            host().say(note)
        seeds = ", ".join(map(str, networks.seeds))
        about = f"{networks.name}, step {networks.step:,}, seed {seeds}"
    say = host().say
    say(about)
    result = {}
    for path, probabilities in zip(images, networks.predict(pixels), strict=True):
        best = np.argsort(-probabilities)[: config.top]
        classes = [(names[index], float(probabilities[index])) for index in best]
        result[str(path)] = classes
        say(f"{path}: {', '.join(f'{name} {p:.1%}' for name, p in classes)}")
    return result


def _load_weights(config: Config) -> tuple[TrainedNetworks, np.ndarray, tuple[str, ...]]:
    """The network of the file, the images as it takes them, and the names of its classes."""
    assert config.weights is not None
    known = describe(config.weights)
    names, shape = _class_names(config, known), _image_shape(config, known)
    pixels = read_images(config.images, shape)
    networks = weights_files.load_weights(config, None if known else len(names), shape)
    return networks, pixels, names


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
    given = tuple(path.read_text(encoding="utf-8-sig").splitlines())
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

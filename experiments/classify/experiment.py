"""The most probable classes of photographs."""

import jax
import numpy as np

from cnnlab import data, models
from cnnlab.studies import trained
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
        raise ValueError("give one image file or more, --weights FILE and --model NAME.")
    if config.class_names is None:
        names = models.weights.imagenet_classes()
    else:
        names = tuple(config.class_names.read_text(encoding="utf-8").splitlines())
    if not 1 <= config.top <= len(names):
        raise ValueError(f"--top must be in 1 … {len(names)}, the classes; got {config.top}.")
    side, say = config.image_size, host().say
    pixels = np.stack([data.read_image(path, (side, side)) for path in config.images])
    networks = trained.load_weights(config, len(names), pixels.shape[1:])
    say(str(networks.report))
    result = {}
    for path, probabilities in zip(config.images, _probabilities(networks, pixels), strict=True):
        best = np.argsort(-probabilities)[: config.top]
        classes = [(names[index], float(probabilities[index])) for index in best]
        result[str(path)] = classes
        say(f"{path}: {', '.join(f'{name} {p:.1%}' for name, p in classes)}")
    return result


def _probabilities(networks: TrainedNetworks, pixels: np.ndarray) -> np.ndarray:
    """[N, K], of uint8 images [N, H, W, C], one at a time."""
    state = jax.tree.map(lambda leaf: leaf[0], networks.states)
    predict = jax.jit(lambda images: predict_step(networks.recipe, state, images))
    return np.stack([np.asarray(jax.nn.softmax(predict(each[None]))[0]) for each in pixels])

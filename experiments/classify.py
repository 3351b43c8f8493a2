r"""What a network with weights from elsewhere sees in photographs: the most probable classes.

python -m experiments.classify photo.jpg --weights resnet50.pth --model resnet50
python -m experiments.classify *.jpg --weights FILE.npz --model squeezenet \
    --model-options head_padding=1 --normalization caffe --image-size 227
"""

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments import launch
from experiments.foreign import Foreign, load_foreign

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Config(Foreign):
    """Which images to show to which network."""

    images: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional] = ()
    """Image files."""
    image_size: int = 224
    """The side in pixels of the square that is cut from the middle of each."""
    class_names: pathlib.Path | None = None
    """A text file with a name on each line; the 1000 classes of ImageNet if left out."""
    top: int = 5
    """How many classes to print."""


def run(config: Config) -> dict[str, list[tuple[str, float]]]:
    """Prints the most probable classes of each image.

    Returns:
      By file, ``(class name, probability)`` of the ``top`` classes, the most probable first.

    Raises:
      ValueError: if an image or the weights cannot be read, or do not fit the network.
    """
    import numpy as np

    from cnnlab import data, models

    if config.weights is None or not config.images:
        raise ValueError("give one image file or more, --weights FILE and --model NAME.")
    if config.class_names is None:
        names = models.weights.imagenet_classes()
    else:
        names = tuple(config.class_names.read_text().splitlines())
    if not 1 <= config.top <= len(names):
        raise ValueError(f"--top must be in 1 … {len(names)}, the classes; got {config.top}.")
    side = config.image_size
    pixels = np.stack([data.read_image(path, (side, side)) for path in config.images])
    loaded = load_foreign(config, len(names), pixels.shape[1:])
    print(loaded.report)
    probabilities = _probabilities(loaded, pixels)
    result = {}
    for path, each in zip(config.images, probabilities, strict=True):
        best = np.argsort(-each)[: config.top]
        result[str(path)] = [(names[index], float(each[index])) for index in best]
        print(f"{path}: {', '.join(f'{name} {p:.1%}' for name, p in result[str(path)])}")
    return result


def _probabilities(loaded: Any, pixels: "np.ndarray") -> "np.ndarray":
    import jax
    import numpy as np

    from cnnlab.train import predict_step

    state = jax.tree.map(lambda leaf: leaf[0], loaded.states)
    predict = jax.jit(lambda images: predict_step(loaded.recipe, state, images))
    return np.stack([np.asarray(jax.nn.softmax(predict(each[None]))[0]) for each in pixels])


def main() -> None:
    """The command line."""
    launch.prepare()
    with launch.speaking_plainly("experiments.classify"):
        run(tyro.cli(Config, args=sys.argv[1:], description=__doc__))


if __name__ == "__main__":
    main()

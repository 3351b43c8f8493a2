"""Networks with weights from elsewhere, for the experiments that take them: a file and a model."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from experiments.config import options

if TYPE_CHECKING:
    from cnnlab.augment import Transform
    from cnnlab.models.weights import HeadError
    from cnnlab.train import Recipe, TrainState

Normalization = Literal["torchvision", "caffe", "unit"]

# Mean and deviation of red, green and blue, in pixel units.
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "torchvision": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foreign:
    """A file of weights and the network that it is of."""

    weights: pathlib.Path | None = None
    """Weights of another program: .pth, .pt, .th, .safetensors or .npz."""
    model: str | None = None
    """The network that they are of, such as resnet20, vgg16, resnet50, squeezenet."""
    model_options: tuple[str, ...] = ()
    """Further settings of the model, such as norm=batch head_padding=1."""
    mapping: str | None = None
    """Whose names the file has: resnet, vgg, squeezenet_caffe …; found out if left out."""
    normalization: Normalization = "torchvision"
    """What the weights were trained on: torchvision's mean 0.485 0.456 0.406 and std 0.229 0.224
    0.225, Caffe's mean 123 117 104 in pixels (RGB), or just 0 to 1."""


class Loaded(NamedTuple):
    """A network with weights from elsewhere, ready to predict."""

    recipe: "Recipe"
    states: "TrainState"
    """[1, ...]."""
    report: Any
    """What came of loading."""
    channels: int
    """Of the images that it takes."""


def load_foreign(
    config: Foreign,
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    own_channels: bool = False,
    classes_option: str | None = None,
) -> Loaded:
    """The network that ``config`` names with the weights of its file.

    Args:
      config: the file and the network.
      num_classes: of the data.
      image_shape: ``(H, W, C)`` of the data.
      own_channels: whether the network takes images of as many channels as the file says, which
        may be others than C.
      classes_option: what says how many classes the file has, for the message if there are others.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the model is missing, or the file is that of another one.
    """
    import jax
    import optax
    from jax import numpy as jnp

    from cnnlab import models
    from cnnlab.train import Recipe, states_of

    assert config.weights is not None
    if config.model is None:
        raise ValueError("--weights needs --model as well: the network that they are of.")
    network = models.create(config.model, num_classes, **options(config.model_options))
    height, width, channels = image_shape
    if own_channels:
        channels = models.weights.input_channels(
            config.weights, network, image_shape, mapping=config.mapping
        )
    prepare = _prepare(config, channels)
    image = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    try:
        variables, report = models.weights.load(config.weights, shapes, mapping=config.mapping)
    except models.weights.HeadError as error:
        raise ValueError(
            f"{error.details}\n{_advice(error, num_classes, classes_option)}"
        ) from error
    recipe = Recipe(network, optax.identity(), prepare)
    return Loaded(recipe, states_of(recipe, variables), report, channels)


def _advice(error: "HeadError", num_classes: int, classes_option: str | None) -> str:
    """What to do on a command line where only the head differs."""
    if error.outputs is None:
        return "Only the head differs: choose the model options and the image size of the file."
    mend = "" if classes_option is None else f": {classes_option} {error.outputs}"
    return f"Only the head differs, the file has {error.outputs} classes, not {num_classes}{mend}."


def _prepare(config: Foreign, channels: int) -> "Transform":
    from cnnlab import augment

    if config.normalization == "unit":
        return augment.to_unit_range()
    mean, std = STATISTICS[config.normalization]
    if channels != len(mean):
        raise ValueError(
            f"the normalization {config.normalization} is for networks that take images of 3 "
            f"channels, these have {channels}: choose unit."
        )
    return augment.normalize(mean, std)

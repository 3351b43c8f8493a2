"""The recipe of an autoencoder, and checks that it fits its images and its task."""

import dataclasses
from typing import Any

import jax
from jax import numpy as jnp

from cnnlab import models
from cnnlab.data import Dataset, Splits
from cnnlab.losses.reconstruction import ReconstructionLoss, reconstruction
from cnnlab.models import Network
from cnnlab.models.network import activations
from cnnlab.studies import build
from cnnlab.studies.settings import parse_options
from cnnlab.train import Recipe

from .colour import with_luma
from .config import Config
from .data import make_corruption


def make_recipe(config: Config, train: Dataset) -> Recipe:
    """How the network of a config, whose defaults are resolved, is trained."""
    # No classifier: the recipe is made for the smallest there is, and gets its network here.
    recipe = build.make_recipe(dataclasses.replace(config, model="linear", model_options=()), train)
    return dataclasses.replace(
        recipe,
        network=make_network(config, train.image_shape[-1]),
        loss=make_loss(config),
        corrupt=make_corruption(config),
        score=None,
    )


def make_network(config: Config, channels: int) -> Network:
    """The autoencoder of the config, for images of ``channels`` channels."""
    if config.model == "unet":
        return build.make_network(config, channels)
    overrides = parse_options(config.model_options) | {"channels": channels}
    if config.precision == "bfloat16":
        overrides["dtype"] = jnp.bfloat16
    return models.create(config.model, **overrides)


def make_loss(config: Config) -> ReconstructionLoss:
    """The loss of the config; to colour, of outputs that are given the known grey values."""
    loss = reconstruction(config.loss)
    if config.task != "colour":
        return loss

    def colour_loss(outputs: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
        return loss(with_luma(outputs, targets), labels, targets)

    return colour_loss


def check_network(config: Config, splits: Splits, recipe: Recipe) -> None:
    """Refuses a task or a network that does not fit the data.

    Raises:
      ValueError: for these; the message says what would fit.
    """
    shape = splits.train.image_shape
    if config.task == "colour" and shape[-1] != 3:
        raise ValueError(
            f"colour needs images of 3 channels, got {splits.train.name} with {shape[-1]}: grey "
            "images do not tell the colours. Take --dataset cifar10, or photographs, which come "
            "with scikit-learn."
        )
    if config.task == "denoise" and splits.validation is None:
        raise ValueError(
            "denoise needs a validation part, which the filters' widths are chosen by: leave "
            "--validation at 0.1, or give a number of images."
        )
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    outputs = jax.eval_shape(recipe.network.init_with_output, jax.random.key(0), images)[0]
    if outputs.shape != images.shape:
        raise ValueError(
            f"the outputs must be images of {shape}, got {outputs.shape[1:]} from {config.model} "
            f"with {', '.join(config.model_options)}."
        )
    if config.task != "plain":
        return
    numbers, code = shape[0] * shape[1] * shape[2], code_size(recipe.network, shape)
    if code >= numbers:
        raise ValueError(
            f"the code must be narrower than the image's {numbers} numbers, got {code}: copying "
            "would do. Give smaller widths, or a code."
        )
    if code > len(splits.train):
        raise ValueError(
            f"the code must have at most {len(splits.train)} numbers, as many as training images, "
            f"got {code}: there are no more principal components to compare with. Give smaller "
            "widths, a smaller code, or more images."
        )


def code_size(network: Network, shape: tuple[int, int, int]) -> int:
    """How many numbers the encoder's last stage makes of an image."""
    last = [name for name in network.names if name.startswith(("stem", "stage"))][-1]

    def encode(key: jax.Array, images: jax.Array) -> Any:
        return network.init_with_output(key, images, stop=last)[0]

    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return int(activations(jax.eval_shape(encode, jax.random.key(0), images)).size)

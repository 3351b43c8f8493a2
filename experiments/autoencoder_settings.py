"""What ``experiments.autoencoder`` is asked for: data, network, corruption and recipe."""

import dataclasses
from typing import TYPE_CHECKING, Any

from experiments import photographs
from experiments.config import load_data, make_recipe, options

if TYPE_CHECKING:
    import jax

    from cnnlab.augment import Transform
    from cnnlab.data import Dataset, Splits
    from cnnlab.losses.reconstruction import ReconstructionLoss
    from cnnlab.models import Network
    from cnnlab.train import Recipe
    from experiments.autoencoder import Config

MODELS = {"plain": "dense_autoencoder", "denoise": "dense_autoencoder", "colour": "unet"}
CODED = {
    "dense_autoencoder": ("widths=(256,128,16)", "activation=relu"),
    "conv_autoencoder": ("widths=(16,32)", "code=16"),
}
OPTIONS = {
    "dense_autoencoder": ("widths=(256,128)", "activation=relu"),
    "conv_autoencoder": ("widths=(16,32)",),
    "unet": ("width=8", "depth=2"),
}


def chosen(config: "Config") -> "Config":
    """The config with the task's model and the model's options where it leaves them open."""
    from cnnlab.spelling import unknown

    model = MODELS[config.task] if config.model == "auto" else config.model
    if model not in OPTIONS:
        raise ValueError(unknown("model that gives images back", model, OPTIONS))
    if config.task == "plain" and model not in CODED:
        raise ValueError(
            f"plain needs a network with a narrow code, {' or '.join(CODED)}, got {model!r}, whose "
            "skips carry the image past it. It is for --task denoise or colour."
        )
    defaults = (CODED if config.task == "plain" else OPTIONS)[model]
    return dataclasses.replace(
        config, model=model, model_options=config.model_options or defaults, normalization="unit"
    )


def load(config: "Config") -> "Splits":
    """The data that the config names."""
    if photographs.named(config.dataset):
        return photographs.patches(
            config.dataset,
            per_class=config.per_class,
            fraction=config.fraction,
            seed=config.split_seed,
        )
    return load_data(config)


def recipe_of(config: "Config", train: "Dataset") -> "Recipe":
    """How the network of a ``chosen`` config is trained."""
    # No classifier: the recipe is made for the smallest there is, and gets its network here.
    recipe = make_recipe(dataclasses.replace(config, model="linear", model_options=()), train)
    return dataclasses.replace(
        recipe,
        network=network_of(config, train.image_shape[-1]),
        loss=loss_of(config),
        corrupt=corruption_of(config),
        score=None,
    )


def loss_of(config: "Config") -> "ReconstructionLoss":
    """The loss; where grey values are known, of the images that have them."""
    from cnnlab.losses.reconstruction import reconstruction
    from experiments.restoration import with_luma

    loss = reconstruction(config.loss)
    if config.task != "colour":
        return loss
    if config.loss == "bernoulli":
        raise ValueError(
            "the loss of colour must be squared or absolute, got 'bernoulli': the outputs are "
            "colours that the known grey values are added to, and no logits."
        )

    def coloured(outputs: "jax.Array", labels: "jax.Array", targets: "jax.Array") -> "jax.Array":
        return loss(with_luma(outputs, targets), labels, targets)

    return coloured


def network_of(config: "Config", channels: int) -> "Network":
    """From images to images of so many channels."""
    from jax import numpy as jnp

    from cnnlab import models

    overrides = options(config.model_options)
    if config.precision == "bfloat16":
        overrides["dtype"] = jnp.bfloat16
    if config.model == "unet":
        return models.create("unet", channels, **overrides)
    return models.create(config.model, **{**overrides, "channels": channels})


def corruption_of(config: "Config") -> "Transform":
    """What the network is shown of images from 0 to 1."""
    from cnnlab.augment import compose, corruption

    if config.task == "plain":
        return compose()
    if config.task == "colour":
        return corruption.grey()
    if not 0 < config.amount <= 1:
        raise ValueError(
            f"the amount of noise must be in (0, 1], where white is 1, got {config.amount}: such "
            "as 0.1 for a standard deviation of 25.5 of 255, or for one pixel in ten."
        )
    if config.noise == "gaussian":
        return corruption.gaussian_noise(config.amount)
    if config.noise == "masking":
        return corruption.masking_noise(config.amount)
    return corruption.salt_and_pepper(config.amount)


def check(config: "Config", splits: "Splits", recipe: "Recipe") -> None:
    """Refuses what could not be trained or scored, before anything is written."""
    import jax
    from jax import numpy as jnp

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
    given = jax.eval_shape(recipe.network.init_with_output, jax.random.key(0), images)[0]
    if given.shape != images.shape:
        raise ValueError(
            f"the network must give images of {shape} back, got {given.shape[1:]} from "
            f"{config.model} with {', '.join(config.model_options)}."
        )
    numbers = shape[0] * shape[1] * shape[2]
    if config.task != "plain":
        return
    code = code_size(recipe, shape)
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


def code_size(recipe: "Recipe", shape: tuple[int, int, int]) -> int:
    """How many numbers the encoder's last stage makes of an image."""
    import jax
    from jax import numpy as jnp

    from cnnlab.models.network import activations

    network = recipe.network
    last = [name for name in network.names if name.startswith(("stem", "stage"))][-1]

    def encode(key: jax.Array, images: jax.Array) -> Any:
        return network.init_with_output(key, images, stop=last)[0]

    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return int(activations(jax.eval_shape(encode, jax.random.key(0), images)).size)

"""The detectors (a classifier's front, windows and a head for them) and their recipes."""

import dataclasses
from typing import Any

import jax
from jax import numpy as jnp

from cnnlab.data import Dataset
from cnnlab.keys import run_key
from cnnlab.models import Network
from cnnlab.models.network import activations
from cnnlab.models.regions import region_network
from cnnlab.studies import build
from cnnlab.studies.scenes import SceneData
from cnnlab.train import Recipe, check_fits, init_state, predict_step
from cnnlab.transfer import freeze
from cnnlab.transfer.detection import detection_loss, window_score

from .config import Config
from .data import make_windows

SCRATCH = "from scratch"
CLASSES_ONLY = "classes only"


def make_recipes(config: Config, data: SceneData) -> dict[str, Recipe]:
    """Name of a training -> its recipe; all but those from scratch begin with the classifiers.

    Raises:
      ValueError: for a classifier that cannot become a detector of such scenes.
    """
    check_fits(build.make_recipe(config.classifier(), data.single), data.single)
    recipe = detector_recipe(config, data.train)
    recipes = {"fine-tuned": recipe}
    for stage in config.partly:
        rates = freeze(recipe.network, up_to=stage)
        recipes[f"frozen up to {stage}"] = dataclasses.replace(recipe, rates=rates)
    rates = freeze(recipe.network, up_to=config.up_to)
    recipes["frozen"] = dataclasses.replace(recipe, rates=rates)
    recipes[SCRATCH] = recipe
    recipes[CLASSES_ONLY] = dataclasses.replace(recipe, loss=detection_loss(box_weight=0))

    def losses(images: Any, labels: Any, goals: Any) -> Any:
        state = init_state(recipe, run_key(0), data.train.image_shape)
        for each in recipes.values():
            if each.rates is not None:
                each.rates.factors(state.params)
        return recipe.loss(predict_step(recipe, state, images), labels, goals)

    two = data.train.take([0, len(data.train) - 1])
    jax.eval_shape(losses, two.images, two.labels, two.annotations)  # refuses other shapes
    return recipes


def detector_recipe(config: Config, train: Dataset) -> Recipe:
    """How a detector is trained where all of it learns, with the correction of boxes."""
    recipe = build.make_recipe(config, train)
    return dataclasses.replace(
        recipe,
        network=make_detector(config, recipe.network, train),
        loss=detection_loss(box_weight=config.box_weight),
        score=window_score,
    )


def make_detector(config: Config, classifier: Network, train: Dataset) -> Network:
    """The classifier's front, the windows and a head for them.

    Raises:
      ValueError: for an unknown stage, one that gives no maps, or maps that do not grow with the
        image.
    """
    front = classifier.front(config.up_to)
    channels = train.image_shape[-1]
    shape = output_shape(front, config.scene_size, channels)
    if len(shape) != 4:
        raise ValueError(
            f"the stage {config.up_to!r} must give maps [N, H, W, C] that windows can be pooled "
            f"from, got shape {shape}. Take an earlier one of {', '.join(classifier.names)}."
        )
    return region_network(
        front,
        make_windows(config),
        image_size=(config.scene_size, config.scene_size),
        stride=stride(front, config, channels),
        num_classes=train.num_classes,
        size=config.bins,
        hidden=config.hidden,
        pooling=config.pooling,
        dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
    )


def output_shape(front: Network, side: int, channels: int) -> tuple[int, ...]:
    """The shape of the front's output for one image of ``side`` pixels."""
    image = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    output, _ = jax.eval_shape(front.init_with_output, jax.random.key(0), image)
    return tuple(activations(output).shape)


def stride(front: Network, config: Config, channels: int) -> int:
    """Pixels a cell: by how many cells the maps grow with the image, however they are rounded.

    Raises:
      ValueError: if they do not.
    """
    more = 512
    sides = [
        output_shape(front, side, channels)[1]
        for side in (config.scene_size, config.scene_size + more)
    ]
    cells = sides[1] - sides[0]
    if cells < 1 or more % cells:
        raise ValueError(
            f"the maps of {config.up_to!r} must grow with the image, by a cell for so many pixels; "
            f"got {sides[0]} and {sides[1]} cells for {config.scene_size} and "
            f"{config.scene_size + more} pixels. Take an earlier stage."
        )
    return more // cells

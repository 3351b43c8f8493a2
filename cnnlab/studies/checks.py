"""What is refused before a run directory is made."""

import dataclasses

import jax
from jax import numpy as jnp
from jax.sharding import Mesh

from cnnlab.mesh import check_divides
from cnnlab.studies.build import fit_options, make_augmentation
from cnnlab.studies.settings import Training, experiment_name
from cnnlab.train.checkpoint import check_keep


def check_augmentation(config: Training, image_shape: tuple[int, int, int]) -> None:
    """Refuses augmentation that leaves nothing of some images.

    Args:
      config: of the training.
      image_shape: ``(H, W, C)``.

    Raises:
      ValueError: then.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    try:
        jax.eval_shape(make_augmentation(config), jax.random.key(0), images)
    except ValueError as error:
        raise ValueError(f"--crop and --cutout: {error}") from error


def check_settings(config: Training, mesh: Mesh) -> None:
    """Refuses settings of an experiment that are out of range.

    Args:
      config: of the experiment.
      mesh: the devices that its networks are spread over.

    Raises:
      ValueError: then.
    """
    # No epochs are for some studies.
    options = fit_options(dataclasses.replace(config, epochs=max(config.epochs, 1)))
    if experiment_name(type(config)) == "train":  # others have more networks than seeds
        check_divides(mesh, options.batch_size)
    elif config.seed >= 2**31:
        raise ValueError(
            f"--seed must be less than 2^31, got {config.seed}: further seeds of this "
            "experiment are counted on from it."
        )
    check_keep(config.keep)

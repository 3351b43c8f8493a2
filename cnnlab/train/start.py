"""Checks of a training before it begins: its initial states, its loss, its data."""

import functools
import inspect

import jax
import numpy as np
from jax.sharding import Mesh

from cnnlab.augment import Spatial
from cnnlab.data.dataset import Dataset
from cnnlab.mesh import MEMBER, sharding
from cnnlab.models.network import WHOLE
from cnnlab.train.metrics import accuracy
from cnnlab.train.state import Average, Recipe, TrainState, state_shapes
from cnnlab.train.step import predict_step


def place_initial_states(
    recipe: Recipe,
    image_shape: tuple[int, int, int],
    states: TrainState,
    members: int,
    mesh: Mesh,
) -> TrainState:
    """Places given states on the mesh, as those that the recipe trains.

    A moving average that the recipe asks for and they lack begins at their weights; one that it
    does not ask for is dropped.

    Args:
      recipe: how they will be trained.
      image_shape: of the data.
      states: ``[M, ...]``.
      members: M, as many as there are seeds.
      mesh: where they will be.

    Raises:
      ValueError: for another number of members, another network or another optimizer.
    """
    shape = np.shape(states.step)
    if shape != (members,):
        advice = "" if shape else " For one network: jax.tree.map(lambda x: x[None], state)."
        raise ValueError(
            f"initial states must be [M, ...] with M = {members} members, one for each "
            f"seed, got {shape[0] if shape else 'one state without a leading axis'}.{advice}"
        )
    wanted = state_shapes(recipe, image_shape)
    for field in ("params", "model_state", "opt_state"):
        ours = [(members, *leaf.shape) for leaf in jax.tree.leaves(getattr(wanted, field))]
        theirs = [np.shape(leaf) for leaf in jax.tree.leaves(getattr(states, field))]
        if ours != theirs:
            raise ValueError(
                "initial states must be of the recipe's network and optimizer, got "
                f"{len(theirs)} arrays in their {field} for {len(ours)}, or of other shapes. "
                "train.restarted(recipe, params, model_state) makes such states of "
                "trained weights."
            )
    if recipe.ema_decay is None:
        states = states._replace(average=None)
    elif states.average is None:
        states = states._replace(average=Average(states.params, states.model_state))
    return jax.device_put(states, sharding(mesh, MEMBER))


def check_annotations(recipe: Recipe, dataset: Dataset) -> None:
    """Refuses augmentation that would move the pixels that annotations are of.

    Raises:
      ValueError: then.
    """
    if dataset.annotations is not None and isinstance(recipe.augment, Spatial):
        raise ValueError(
            "the recipe's augment moves pixels (a crop, a flip), and annotations, such as masks "
            "and boxes, would not move along: leave it out, dataclasses.replace(recipe, "
            "augment=augment.compose())."
        )


def check_outputs(recipe: Recipe, train: Dataset) -> None:
    """Refuses a module of one's own with too few outputs for the classes, before it trains to NaN.

    Raises:
      ValueError: then.
    """
    if recipe.network.names != (WHOLE,) or recipe.score is not accuracy:
        return
    images = jax.ShapeDtypeStruct((2, *train.image_shape), train.images.dtype)
    state = state_shapes(recipe, train.image_shape)
    shape = jax.eval_shape(functools.partial(predict_step, recipe), state, images).shape
    if len(shape) != 2 or shape[1] < train.num_classes:
        kind = type(recipe.network.stages[0][1]).__name__
        raise ValueError(
            f"{kind} must give logits [N, {train.num_classes}] for the classes of {train.name}, "
            f"got shape {shape} for two images."
        )


def check_loss(recipe: Recipe, train: Dataset) -> None:
    """Refuses a loss or a score that would be given targets and takes none, and two kinds of them.

    Raises:
      ValueError: then.
    """
    if recipe.teacher is not None:
        source = "the recipe's teacher says some"
        advice = "Take losses.distillation() or losses.logits_matching()"
    elif recipe.corrupt is not None:
        source = "the recipe's corrupt makes the images themselves the targets"
        advice = "Take one of losses.reconstruction"
    elif train.targets is not None:
        source = "the data set has a teacher's"
        advice = (
            "Take losses.distillation() or losses.logits_matching(), or leave the targets out: "
            "dataclasses.replace(dataset, targets=None)"
        )
    elif train.annotations is not None:
        source = "the data set has annotations"
        advice = (
            "For masks take losses.dense.segmentation() and score=losses.dense.pixel_accuracy, for "
            "boxes those of transfer.detection, or leave the annotations out: "
            "dataclasses.replace(dataset, annotations=None)"
        )
    else:
        return
    if recipe.corrupt is not None and train.supervision is not None:
        raise ValueError(
            "an autoencoder has the images as its targets, and the data set has others "
            "besides: leave them out, dataclasses.replace(dataset, targets=None, annotations=None)."
        )
    if recipe.corrupt is not None and recipe.score is accuracy:
        raise ValueError(
            "images as targets have no label to be right about: give the recipe "
            "score=None, or a score of (outputs, labels, targets)."
        )
    if recipe.teacher is not None and train.annotations is not None:
        raise ValueError(
            "the recipe's teacher would say targets in the place of the data set's annotations: "
            "leave one out, dataclasses.replace(dataset, annotations=None)."
        )
    for name, function in (("loss", recipe.loss), ("score", recipe.score)):
        try:
            signature = None if function is None else inspect.signature(function)
        except (TypeError, ValueError):  # some callables do not tell theirs
            continue
        try:
            if signature is not None:
                signature.bind(None, None, None)
        except TypeError as error:
            raise ValueError(
                f"the {name} must take (outputs, labels, targets), for there are targets "
                f"({source}), got one that takes {signature}. {advice}."
            ) from error

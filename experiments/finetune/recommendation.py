"""The recommended recipe: from how many images there are, and how alike the tasks are.

| | similar | different |
| --- | --- | --- |
| few images | linear: a classifier on top | top, in place of classifiers on earlier stages |
| many images | top: fine-tune a few stages | all: fine-tune a larger number of stages |

For few images of another kind the lecture says "you're in trouble… try a linear classifier from
different stages". No recipe here reads an earlier stage (experiments.transfer_grid has one): the
last stages are fine-tuned in its place.

How alike they are is measured: a linear classifier on the output of each stage, in closed form, by
cross-validation on the training images, for the trained network and for one with fresh weights as
they are initialised: that one has seen no image, its BatchNorm has a mean of 0 and a variance of 1.

Source: Karpathy, CS231n, Stanford, "Transfer learning", 2016, for the table; Yosinski et al., NIPS
2014, for what it means that early stages do better than late ones.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from sklearn.model_selection import StratifiedKFold

from cnnlab.augment import Transform
from cnnlab.data import Dataset
from cnnlab.keys import run_key
from cnnlab.models.init import create
from cnnlab.studies.recipe_settings import AMOUNTS, EARLY, LABELS, LECTURE, SIMILARITIES
from cnnlab.studies.trained import TrainedNetworks
from cnnlab.train import Recipe, init_state, states_of
from cnnlab.train.state import state_shapes
from cnnlab.transfer.features import features
from cnnlab.transfer.probes import ridge_path
from cnnlab.transfer.surgery import copy_variables

ENOUGH = 0.5
"""Of a fresh network's errors, what a trained one's last stage must spare to count as similar."""

TABLE = {key: "top" if name == EARLY else name for key, name in LECTURE.items()}
"""(of ``AMOUNTS``, of ``SIMILARITIES``) -> the recipe."""

_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_FOLDS = 5


class Similarity(NamedTuple):
    """The accuracy of linear classifiers on the stages of a network, trained and fresh.

    Attributes:
      trained: stage -> accuracy of a linear classifier on its output, by cross-validation.
      fresh: the same of a network with fresh weights.
      images: how many there were.
      folds: of the cross-validation.
    """

    trained: dict[str, float]
    fresh: dict[str, float]
    images: int
    folds: int

    @property
    def last(self) -> str:
        """The stage before the head."""
        return list(self.trained)[-1]

    @property
    def best(self) -> str:
        """The stage whose features do best; of several, the last."""
        return max(reversed(self.trained), key=lambda name: self.trained[name])

    @property
    def avoided_errors(self) -> float:
        """The part of the fresh network's errors that the trained one does not make, at the last
        stage; at most 1, and negative where training has made it worse.
        """
        fresh, trained = 1 - self.fresh[self.last], 1 - self.trained[self.last]
        if fresh == 0:
            return 1.0 if trained == 0 else -1.0
        return 1 - trained / fresh

    @property
    def margin(self) -> float:
        """The standard error of an accuracy like that of the best stage."""
        accuracy = self.trained[self.best]
        return float((accuracy * (1 - accuracy) / self.images) ** 0.5)

    @property
    def similar(self) -> bool:
        """True if the last stage spares enough errors, and no earlier one is clearly better."""
        lost = self.trained[self.best] - self.trained[self.last]
        return self.avoided_errors >= ENOUGH and lost <= self.margin


class Recommendation(NamedTuple):
    """A recipe, and why.

    Attributes:
      recipe: of ``RECIPES``.
      lecture: the lecture's recommendation, of ``LABELS``.
      reason: in words.
    """

    recipe: str
    lecture: str
    reason: str


def recommend(
    images: int, classes: int, similarity: Similarity, little: int = 500
) -> Recommendation:
    """The recipe for a task.

    Args:
      images: to train on.
      classes: of the task.
      similarity: as ``measure`` gives it.
      little: images a class under which there are few.
    """
    each = images / classes
    few = each < little
    amount = f"{each:.0f} images a class are {'few' if few else 'many'} (the limit is {little})"
    last, best = similarity.last, similarity.best
    measured = (
        f"on {last} a linear classifier gets {100 * similarity.trained[last]:.1f} % of the "
        f"training images right by {similarity.folds}-fold cross-validation, with fresh weights "
        f"{100 * similarity.fresh[last]:.1f} %"
    )
    alike = SIMILARITIES[0 if similarity.similar else 1]
    why = ""
    if similarity.avoided_errors <= 0:
        why = ": it is no better than fresh"
    elif similarity.avoided_errors >= ENOUGH and not similarity.similar:
        why = f": {best} does better, {100 * similarity.trained[best]:.1f} %"
    key = AMOUNTS[0 if few else 1], alike
    reason = f"{amount}; {measured}, so the tasks are {alike}{why}."
    if TABLE[key] != LECTURE[key]:
        reason += (
            f" The lecture would take a {LABELS[LECTURE[key]]}, which is no recipe here: "
            f"{TABLE[key]} is in its place."
        )
    return Recommendation(TABLE[key], LECTURE[key], reason)


def measure(
    network: TrainedNetworks,
    train: Dataset,
    prepare: Transform,
    seed: int = 0,
    channels: Any = None,
) -> Similarity:
    """Measures linear classifiers on the stages of a trained network; see ``Similarity``.

    Args:
      network: the trained one.
      train: the training part of the task.
      prepare: from uint8 images to what the network sees.
      seed: of the fresh network and the folds.
      channels: as of ``transfer.copy_variables``, where the images have others than the network's.

    Raises:
      SurgeryError: if the network does not fit the images.
      ValueError: if a class has fewer than two images, or the network no stage before its head.
    """
    smallest = check_measurable(train)
    stages = network.network.names[:-1]
    if not stages:
        raise ValueError("the network must have a stage before its head to have features.")
    recipe = Recipe(network.network, optax.identity(), prepare, init=create("he"))
    variables = _with_channels(network, recipe, train, channels)
    fresh = jax.jit(lambda key: init_state(recipe, key, train.image_shape))(run_key(seed))
    networks = {
        "trained": states_of(recipe, variables),
        "fresh": jax.tree.map(lambda leaf: leaf[None], fresh),
    }
    folds = min(_FOLDS, smallest)
    accuracy = {
        name: {
            stage: cross_validation_accuracy(
                values[0], train.labels, train.num_classes, folds, seed
            )
            for stage, values in features(recipe, states, train, stages).items()
        }
        for name, states in networks.items()
    }
    return Similarity(accuracy["trained"], accuracy["fresh"], len(train), folds)


def _with_channels(
    network: TrainedNetworks, recipe: Recipe, train: Dataset, channels: Any
) -> dict[str, Any]:
    """The network's variables, with a first kernel for the channels of these images."""
    if network.channels == train.image_shape[2]:
        return network.variables
    names = network.network.names
    shapes = state_shapes(recipe, train.image_shape)
    first = next(name for name in names if name in shapes.params)
    # Images of another size may not fit the head, which stays as it is: nothing looks at it.
    bodies = [
        {kind: {n: v for n, v in tree.items() if n != names[-1]} for kind, tree in each.items()}
        for each in (network.variables, {"params": shapes.params, **shapes.model_state})
    ]
    copied, _ = copy_variables(*bodies, reinitialise=(), channels=channels, first=first)
    return {kind: {**tree, **copied.get(kind, {})} for kind, tree in network.variables.items()}


def check_measurable(train: Dataset) -> int:
    """The images of the smallest class, of which cross-validation needs two.

    Raises:
      ValueError: if there are fewer.
    """
    counts = np.bincount(train.labels, minlength=train.num_classes)
    smallest = int(counts.argmin())
    if counts[smallest] < 2:
        raise ValueError(
            f"{train.name}: how alike the tasks are is measured by cross-validation, which needs "
            f"two images of every class, got {counts[smallest]} of class "
            f"{train.class_names[smallest]!r}. Name a recipe instead of recommended: linear, say."
        )
    return int(counts[smallest])


def cross_validation_accuracy(
    features: np.ndarray, labels: np.ndarray, classes: int, folds: int, seed: int = 0
) -> float:
    """The accuracy of a ridge classifier on held-out folds, with the best of a few penalties.

    Features are brought to unit variance. The penalty is chosen on the same folds, for every
    network and stage alike.

    Args:
      features: float ``[N, ...]``.
      labels: int ``[N]``.
      classes: how many there are.
      folds: 2 or more, at most the images of the smallest class.
      seed: of the folds.
    """
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    deviation = flat.std(0)
    flat = flat / np.where(deviation > 0, deviation, 1)
    right = np.zeros(len(_PENALTIES))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for train, held_out in splitter.split(flat, labels):
        linears = ridge_path(flat[train], labels[train], classes, _PENALTIES)
        right += [each.correct(flat[held_out], labels[held_out]).sum() for each in linears]
    return float(right.max() / len(labels))


def similarity_fields(similarity: Similarity) -> Mapping[str, Any]:
    """The similarity as result.json holds it."""
    return {
        "trained": similarity.trained,
        "fresh": similarity.fresh,
        "spared": similarity.avoided_errors,
        "similar": similarity.similar,
        "folds": similarity.folds,
    }

"""The trainings of the U-Nets, with every loss and from every start, and of the classifier."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from cnnlab.data import Dataset
from cnnlab.keys import run_key
from cnnlab.losses.dense import centred, pixel_accuracy, segmentation
from cnnlab.report import overlap
from cnnlab.report.statistics import over_seeds, percent, with_interval
from cnnlab.studies import build, study
from cnnlab.studies.scenes import SceneData
from cnnlab.studies.study import Study
from cnnlab.train import Recipe, TrainState, evaluate, init_state, predict_step, restarted
from cnnlab.transfer import freeze
from cnnlab.transfer.segmentation import (
    encoder_classifier,
    encoder_stages,
    predict_masks,
    with_encoders,
)

from .config import STARTS, Config, LossName, Start, training_name
from .data import MaskedScenes
from .summary import point_line


class Setup(NamedTuple):
    """The scenes, the recipe of each loss, and the U-Nets at their start, ``[M, ...]``."""

    data: SceneData
    recipes: dict[str, Recipe]
    fresh: TrainState


class Trained(NamedTuple):
    """U-Nets at the end of their training, one for each seed, and their scores on the test."""

    states: TrainState
    point: dict[str, Any]


def make_recipes(config: Config, scenes: MaskedScenes) -> dict[str, Recipe]:
    """A recipe for each loss, and for the two phases of frozen first: "frozen" and "thawed".

    Each is made once: programs are compiled for recipes.

    Raises:
      ValueError: for a network that is no U-Net or cannot take such scenes.
    """

    def make(loss: str, epochs: int = config.epochs) -> Recipe:
        weight = {"dice": 1.0, "both": config.dice}.get(loss, 0.0)
        weights = scenes.class_weights() if loss == "weighted" else None
        return dataclasses.replace(
            build.make_recipe(dataclasses.replace(config, epochs=epochs), scenes.data.train),
            loss=segmentation(weight, class_weights=weights, present=config.present),
            score=pixel_accuracy,
        )

    recipes: dict[str, Recipe] = {
        loss: make(loss) for loss in dict.fromkeys((*config.losses, config.start_loss))
    }
    network = recipes[config.start_loss].network
    last = encoder_stages(network)[-1]
    if "frozen first" in config.starts and config.few:
        frozen = make(config.start_loss, config.frozen_epochs)
        recipes["frozen"] = dataclasses.replace(frozen, rates=freeze(network, up_to=last))
        recipes["thawed"] = make(config.start_loss, config.epochs - config.frozen_epochs)
    _check_shapes(recipes[config.start_loss], scenes.data.train)
    return recipes


def _check_shapes(recipe: Recipe, train: Dataset) -> None:
    """Refuses a network that cannot take such scenes."""

    def score(images: Any, masks: Any) -> Any:
        state = init_state(recipe, run_key(0), train.image_shape)
        return pixel_accuracy(predict_step(recipe, state, images), masks[:, 0, 0], masks)

    two = train.take([0, len(train) - 1])
    jax.eval_shape(score, two.images, two.annotations)


def train_classifiers(s: Study[Config], data: SceneData) -> tuple[dict[str, Any], TrainState]:
    """The classifiers, one for each seed: their part of result.json, and their states."""
    single = data.single
    config = dataclasses.replace(s.config, epochs=s.config.classifier_epochs)
    recipe = build.make_recipe(config, single)
    network = encoder_classifier(recipe.network, single.num_classes)
    recipe = dataclasses.replace(recipe, network=network)
    s.say(f"\nclassifier of scenes of one digit, {config.seeds} seeds:")
    trained = s.train("classifier", recipe, single, config=config)
    scores = evaluate(recipe, trained.states, data.single_test, batch_size=64)
    accuracy, seconds = over_seeds(scores["accuracy"]), trained.seconds
    s.say(f"test accuracy {percent(accuracy)}, {seconds:.0f} s")
    about = {"scenes": len(single), "test_accuracy": accuracy, "seconds": round(seconds, 1)}
    return about, trained.states


def train_unets(
    s: Study[Config],
    setup: Setup,
    loss: LossName,
    start: Start,
    scenes: int,
    classifiers: Any,
) -> Trained:
    """Trains U-Nets with a loss, from a start, on ``scenes`` scenes with masks.

    It is one training, or two where the encoder is frozen first.

    Args:
      s: the study.
      setup: of its trainings.
      loss: of the training; "both" and so on.
      start: how the U-Nets begin.
      scenes: how many of the scenes with masks are learned from.
      classifiers: states whose encoders they begin with; None from scratch.
    """
    config, recipe, initial, seconds = s.config, setup.recipes[loss], setup.fresh, 0.0
    name = training_name(loss, start, scenes)
    # An epoch is as long with few scenes: each comes several times.
    train = setup.data.train.take(np.resize(np.arange(scenes), config.scenes))
    s.say(f"\n{loss}, {STARTS[start]}, {scenes} scenes, {config.seeds} seeds:")
    if start == "pretrained":
        initial, _ = with_encoders(classifiers, recipe, setup.fresh, mesh=s.mesh())
    elif start == "frozen first":
        frozen, recipe = setup.recipes["frozen"], setup.recipes["thawed"]
        initial, _ = with_encoders(classifiers, frozen, setup.fresh, mesh=s.mesh())
        phase = dataclasses.replace(config, epochs=config.frozen_epochs)
        decoders = _train_from(s, phase, f"{name}-decoder", frozen, train, initial)
        seconds += decoders.seconds
        config = dataclasses.replace(config, epochs=config.epochs - config.frozen_epochs)
        initial = restarted(recipe, decoders.states.params, decoders.states.model_state)
    trained = _train_from(s, config, name, recipe, train, initial)
    point = {
        "name": name,
        "loss": loss,
        "start": start,
        "scenes": scenes,
        **score_masks(setup.recipes[s.config.start_loss], trained.states, setup.data.test),
        "seconds": round(seconds + trained.seconds, 1),
    }
    s.say(point_line(point))
    return Trained(trained.states, point)


def _train_from(
    s: Study[Config],
    config: Config,
    name: str,
    recipe: Recipe,
    train: Dataset,
    initial: TrainState,
) -> study.Trained:
    options = dataclasses.replace(build.fit_options(config), initial=initial)
    return s.train(name, recipe, train, config=config, options=options)


def score_masks(recipe: Recipe, states: TrainState, test: Dataset) -> dict[str, Any]:
    """IoU and Dice of each class and their means, and the part of the pixels that is right."""
    predictions = predict_masks(recipe, states, test)
    truth = centred(np.asarray(test.annotations), predictions[0])
    counts = np.stack([overlap.confusion(truth, each, test.num_classes) for each in predictions])
    iou, dice = overlap.intersection_over_union(counts), overlap.dice(counts)
    return {
        "iou": {name: iou[:, k].tolist() for k, name in enumerate(test.class_names)},
        "mean_iou": with_interval(overlap.mean_over_classes(iou)),
        "mean_iou_digits": with_interval(overlap.mean_over_classes(iou, background=False)),
        "mean_dice": with_interval(overlap.mean_over_classes(dice)),
        "pixel_accuracy": over_seeds(overlap.pixel_accuracy(counts)),
    }

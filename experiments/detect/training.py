"""The trainings of the classifiers and the detectors, and the detections in the test scenes."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnlab.data import Dataset
from cnnlab.report.average_precision import Detections, average_precisions, detections
from cnnlab.report.statistics import over_seeds, percent, with_interval
from cnnlab.studies import build
from cnnlab.studies.scenes import SceneData
from cnnlab.studies.study import Study
from cnnlab.train import Recipe, TrainState, evaluate, predict
from cnnlab.transfer.detection import detect
from cnnlab.transfer.surgery import transplant_each

from .config import Config
from .data import DetectionScenes
from .network import CLASSES_ONLY, SCRATCH
from .summary import point_line


class Trained(NamedTuple):
    """Detectors at the end of their training.

    Attributes:
      detections: of each of M in the test scenes, with the boxes corrected where that was trained.
      points: their scores; two where the correction was trained: with it applied and without.
    """

    detections: list[Detections]
    points: list[dict[str, Any]]


def train_classifiers(s: Study[Config], data: SceneData) -> tuple[dict[str, Any], TrainState]:
    """The classifiers, one for each seed: their part of result.json, and their states."""
    config, cuts = s.config.classifier(), data.single
    recipe = build.make_recipe(config, cuts)
    s.say(f"\nclassifier of cut-outs, {config.seeds} seeds:")
    trained = s.train("classifier", recipe, cuts, config=config)
    accuracy = over_seeds(evaluate(recipe, trained.states, data.single_test)["accuracy"])
    s.say(f"test accuracy {percent(accuracy)}, {trained.seconds:.0f} s")
    seconds = round(trained.seconds, 1)
    return {"cuts": len(cuts), "test_accuracy": accuracy, "seconds": seconds}, trained.states


def train_detectors(
    s: Study[Config],
    scenes: DetectionScenes,
    name: str,
    recipe: Recipe,
    classifiers: TrainState,
) -> Trained:
    """Trains detectors, and scores their detections in the test scenes.

    Args:
      s: the study.
      scenes: to learn from and to measure on.
      name: of the training, one of ``network.make_recipes``.
      recipe: of these detectors.
      classifiers: states that they begin with, unless it is from scratch.
    """
    config, train = s.config, scenes.data.train
    initial = None if name == SCRATCH else initial_states(s, recipe, classifiers, train)
    s.say(f"\n{name}, {config.seeds} seeds:")
    options = dataclasses.replace(build.fit_options(config), initial=initial)
    trained = s.train(name.replace(" ", "-"), recipe, train, options=options)
    # Without what differs from training to training, one compiled program serves them all.
    prediction = dataclasses.replace(recipe, rates=None, loss=_no_loss)
    states = trained.states._replace(opt_state=())
    outputs = predict(prediction, states, scenes.data.test, batch_size=64)
    uses = (
        {"not trained": False} if name == CLASSES_ONLY else {"applied": True, "not applied": False}
    )
    detected = {use: detect_objects(outputs, scenes, corrected=uses[use]) for use in uses}
    points = [
        {
            "name": name,
            "regression": use,
            **score_detections(each, scenes.data, config.overlaps),
            "seconds": 0.0,
        }
        for use, each in detected.items()
    ]
    points[0]["seconds"] = round(trained.seconds, 1)
    s.say("\n".join(point_line(point) for point in points))
    return Trained(next(iter(detected.values())), points)


def _no_loss(*_: Any) -> Any:
    raise NotImplementedError


def initial_states(
    s: Study[Config], recipe: Recipe, classifiers: TrainState, train: Dataset
) -> TrainState:
    """Fresh detectors, the front of each from a classifier of its own: states ``[M, ...]``."""
    fresh = s.fresh_states(recipe, train)
    stages = recipe.network.names[:-2]  # those before "regions" and "head"
    return transplant_each(classifiers, recipe, fresh, stages, mesh=s.mesh())[0]


def detect_objects(
    outputs: np.ndarray, scenes: DetectionScenes, *, corrected: bool
) -> list[Detections]:
    """Each member's detections in the test scenes, of its ``outputs [M, N, R, K + 1 + 4]``."""
    height, width, _ = scenes.data.test.image_shape
    return [
        detections(*detect(own, scenes.windows, image_size=(height, width), corrected=corrected))
        for own in outputs
    ]


def score_detections(
    detected: Sequence[Detections], data: SceneData, overlaps: Sequence[float]
) -> dict[str, Any]:
    """The average precision of detectors on the test scenes.

    Args:
      detected: the detections of each of M.
      data: with the test scenes.
      overlaps: the IoU from which on a detection is right.

    Returns:
      ``average_precision`` (overlap as text -> mean over the classes, a figure over seeds with the
      interval of its mean), ``classes`` (the same -> class -> [M]) and the ``recall`` of all.
    """
    objects, names = data.test_scenes, data.test.class_names
    scores: dict[str, Any] = {"average_precision": {}, "classes": {}, "recall": {}}
    for overlap in overlaps:
        each = [
            average_precisions(own, objects.boxes, objects.classes, len(names), overlap=overlap)
            for own in detected
        ]
        at = f"{overlap:g}"
        scores["average_precision"][at] = with_interval([one["mean"] for one in each])
        scores["classes"][at] = {
            name: [one["classes"][k] for one in each] for k, name in enumerate(names)
        }
        scores["recall"][at] = over_seeds([one["recall"] for one in each])
    return scores

"""A classifier of cut-outs, then detectors that begin with it in several ways, compared."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.report.average_precision import Detections, correct, precision_recall
from cnnlab.studies import study
from cnnlab.studies.scenes import SceneData
from cnnlab.studies.settings import drop_default_model_options

from ..cli import host
from . import figures
from .claims import compare
from .config import Config, check
from .data import compose_scenes
from .network import make_recipes
from .summary import summary_lines
from .training import Trained, train_classifiers, train_detectors

SHOWN = 6
"""Test scenes in a figure."""


def run(config: Config) -> dict[str, Any]:
    """Composes the scenes, trains one network after the other, and writes the run directory.

    Returns:
      The content of result.json: ``points`` (for each detector how it began, what it learned, and
      its average precision over seeds), ``classifier`` (its test accuracy) and ``claims``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        s.config = config = drop_default_model_options(s.config)
        check(config)
        scenes = compose_scenes(config, s.load_data(config))
        recipes = make_recipes(config, scenes.data)
        s.begin(f"detect-{config.data_name}", scenes.notes)
        s.say(f"a window overlaps {scenes.reached:.1%} of the test scenes' digits by half")
        classifier, states = train_classifiers(s, scenes.data)
        trained = {
            name: train_detectors(s, scenes, name, recipe, states)
            for name, recipe in recipes.items()
        }
        points = [point for each in trained.values() for point in each.points]
        _save_figures(s, scenes.data, trained)
        about = {
            "model": config.model_name,
            "class_names": scenes.data.train.class_names,
            "windows": {
                "number": len(scenes.windows),
                "reached": scenes.reached,
                "foreground": scenes.foreground,
            },
            "classifier": classifier,
            "points": points,
            "seconds": round(classifier["seconds"] + sum(p["seconds"] for p in points), 1),
        }
        return s.finish(about, compare(points, config.overlaps), summary_lines)


def _save_figures(s: study.Study[Config], data: SceneData, trained: Mapping[str, Trained]) -> None:
    """Test scenes, precision over recall, and average precision compared."""
    config = s.config
    title = f"{config.model_name} on scenes of {config.data_name}"
    overlap = config.overlaps[0]
    s.save_figure("scenes", lambda: _draw_scenes(data, trained, overlap, title))
    curves_title = f"{title}, all classes and seeds, IoU {overlap:g}"
    s.save_figure(
        "precision_recall",
        lambda: figures.precision_recall(_curves(data, trained, overlap), title=curves_title),
    )
    compared = {
        f"{name}, boxes {point['regression']}": {
            f"IoU {each}": figure["values"] for each, figure in point["average_precision"].items()
        }
        for name, own in trained.items()
        for point in own.points
    }
    s.save_figure("comparison", lambda: figures.comparison(compared, title=title))


def _draw_scenes(
    data: SceneData, trained: Mapping[str, Trained], overlap: float, title: str
) -> Any:
    """Some test scenes with the detections of the first seed's networks."""
    objects, shown = data.test_scenes, {}
    few = slice(0, min(SHOWN, len(objects.boxes)))
    for name, own in trained.items():
        first = own.detections[0]
        shown[name] = Detections(*(each[first.images < SHOWN] for each in first))
    return figures.scenes(
        np.asarray(data.test.images[few]),
        objects.boxes[few],
        objects.classes[few],
        shown,
        data.test.class_names,
        overlap=overlap,
        title=title,
    )


def _curves(
    data: SceneData, trained: Mapping[str, Trained], overlap: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> precision and recall of the detections of all classes and seeds."""
    boxes, classes = data.test_scenes.boxes, data.test_scenes.classes
    curves = {}
    for name, (detected, _) in trained.items():
        right = np.concatenate([correct(seed, boxes, classes, overlap) for seed in detected])
        scores = np.concatenate([seed.scores for seed in detected])
        curves[name] = precision_recall(scores, right, len(detected) * int((classes >= 0).sum()))
    return curves

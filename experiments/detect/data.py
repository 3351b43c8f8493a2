"""The scenes and cut-outs, and the windows that detectors look at."""

from typing import NamedTuple

import numpy as np
from jax import numpy as jnp

from cnnlab.data import Dataset, Splits
from cnnlab.data.scenes import Scenes
from cnnlab.models.regions import Window, sliding_windows
from cnnlab.studies.scenes import SceneData, compose_data
from cnnlab.transfer.detection import check_objects, iou, targets

from .config import Config


class DetectionScenes(NamedTuple):
    """Scenes with windows, and cut-outs of one digit with a label alone.

    Attributes:
      data: the scenes, whose annotations are the targets of each window, and the cut-outs.
      windows: R boxes.
      reached: the part of the test scenes' objects that a window overlaps with an IoU of 0.5.
      foreground: the part of the training scenes' windows that are foreground.
      notes: how they were composed.
    """

    data: SceneData
    windows: tuple[Window, ...]
    reached: float
    foreground: float
    notes: str


def compose_scenes(config: Config, splits: Splits) -> DetectionScenes:
    """Composes the scenes and the cut-outs, which have digits and backgrounds of the same size.

    Raises:
      ValueError: for images that are no digits, scenes that are too small, or windows that do not
        fit into them.
    """
    size, windows, cuts = config.scene_size, make_windows(config), config.cut_outs()

    def annotate(scenes: Scenes, digits: Dataset) -> Dataset:
        boxes, classes = scenes.boxes, scenes.classes
        check_objects(boxes, classes, (size, size), digits.num_classes)
        annotations = targets(windows, boxes, classes)
        labels = np.ascontiguousarray(classes[:, 0])  # of the first digit; nothing reads them
        name = f"scenes of {digits.name}"
        return Dataset(scenes.images, labels, digits.class_names, name, annotations=annotations)

    data = compose_data(config, splits, annotate, cuts, config.cuts)
    first, most = config.digits
    notes = (
        f"{splits.notes}; {config.scenes} scenes of {size} x {size} to learn from, "
        f"{config.test_scenes} to test, {first} to {most} digits each on {config.backgrounds}; "
        f"{config.cuts} cut-outs of {cuts.scene_size} x {cuts.scene_size} with a label; "
        f"{len(windows)} windows"
    )
    foreground = float(np.mean(np.asarray(data.train.annotations)[..., 0] > 0))
    reached = reachable_part(windows, data.test_scenes)
    return DetectionScenes(data, windows, reached, foreground, notes)


def make_windows(config: Config) -> tuple[Window, ...]:
    """The windows that are looked at in every scene."""
    size = config.scene_size
    shapes = [(h * size, a * h * size) for h in config.heights for a in config.aspects]
    return sliding_windows((size, size), shapes, step=config.step)


def reachable_part(windows: tuple[Window, ...], scenes: Scenes) -> float:
    """The part of the objects that a window overlaps enough to be detected without a correction."""
    real = jnp.asarray(scenes.boxes[scenes.classes >= 0])
    overlaps = iou(real, jnp.asarray(windows, jnp.float32))
    return float(np.mean(np.asarray(overlaps).max(1) >= 0.5))

"""Average precision of detections, as PASCAL VOC counts it.

    detected = detections(boxes, scores)
    right = correct(detected, true_boxes, true_classes, overlap=0.5)
    precision, recall = precision_recall(detected.scores, right, objects)

Source: Everingham et al., The PASCAL visual object classes challenge, IJCV 2010, section 4.2, with
the area under all points of the curve, which VOC has taken since 2010 in place of eleven of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.boxes import iou


class Detections(NamedTuple):
    """T boxes that were found.

    Attributes:
      images: int ``[T]``, in which image.
      classes: int ``[T]``, what.
      boxes: float ``[T, 4]``, where: ``(y0, x0, y1, x1)``.
      scores: float ``[T]``, how surely.
    """

    images: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


def detections(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    """Those of ``boxes [N, K, P, 4]`` whose ``scores [N, K, P]`` are above 0."""
    images, classes, places = np.nonzero(scores > 0)
    chosen = images, classes, places
    return Detections(images, classes, boxes[chosen], scores[chosen])


def correct(
    detected: Detections, boxes: np.ndarray, classes: np.ndarray, overlap: float = 0.5
) -> np.ndarray:
    """Which detections are right, bool ``[T]``.

    A detection is compared with the object of its class and image that it overlaps most. It is
    right if their IoU is at least ``overlap`` and no detection with a higher score (of equal ones,
    no earlier one) is for the same object: every further one is wrong.

    Args:
      detected: the detections.
      boxes: float ``[N, D, 4]`` of the objects.
      classes: int ``[N, D]``, -1 where there is no object.
      overlap: in (0, 1].

    Raises:
      ValueError: for an overlap out of range.
    """
    if not 0 < overlap <= 1:
        raise ValueError(f"the overlap must be in (0, 1], got {overlap}.")
    if not len(detected.scores):
        return np.zeros(0, bool)
    same = classes[detected.images] == detected.classes[:, None]
    overlaps = np.where(same, iou(detected.boxes[:, None], boxes[detected.images]), 0)
    best = overlaps.argmax(axis=1)
    order = np.argsort(-detected.scores, kind="stable")
    order = order[overlaps[order, best[order]] >= overlap]
    objects = detected.images[order] * boxes.shape[1] + best[order]
    _, first = np.unique(objects, return_index=True)
    right = np.zeros(len(detected.scores), bool)
    right[order[first]] = True
    return right


def precision_recall(
    scores: ArrayLike, right: ArrayLike, objects: int
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall ``[L]`` of the detections down to each of their L different scores.

    Args:
      scores: ``[T]``.
      right: bool ``[T]``, as ``correct`` gives it.
      objects: how many there are to find, >= 1.

    Raises:
      ValueError: without objects, for other shapes, or scores that are not finite.
    """
    ranks, hits = np.asarray(scores, np.float64), np.asarray(right, bool)
    if objects < 1:
        raise ValueError("average precision needs at least one object to find, got none.")
    if ranks.ndim != 1 or hits.shape != ranks.shape or not np.isfinite(ranks).all():
        raise ValueError(
            f"scores must be finite [T] and right bool [T], got shapes {ranks.shape}, {hits.shape}."
        )
    if hits.sum() > objects:
        raise ValueError(f"{int(hits.sum())} detections cannot be right for {objects} objects.")
    order = np.argsort(-ranks, kind="stable")
    # Detections of one score are let in together: their order would be chance.
    last = np.flatnonzero(np.diff(ranks[order], append=-np.inf))
    right = np.cumsum(hits[order])[last]
    return right / (last + 1), right / objects


def average_precision(
    scores: ArrayLike, right: ArrayLike, objects: int, *, interpolated: bool = True
) -> float:
    """The area under the curve of precision over recall, in [0, 1]; 0 without detections.

    Args:
      scores: ``[T]``.
      right: bool ``[T]``, as ``correct`` gives it.
      objects: how many there are to find, >= 1.
      interpolated: the precision at a recall is the largest at it or any higher one (VOC); without,
        it is that of the recall itself, as scikit-learn has it.

    Raises:
      ValueError: as ``precision_recall``.
    """
    precision, recall = precision_recall(scores, right, objects)
    if interpolated:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def average_precisions(
    detected: Detections,
    boxes: np.ndarray,
    classes: np.ndarray,
    num_classes: int,
    *,
    overlap: float = 0.5,
) -> dict[str, Any]:
    """The average precision of every class, and their mean.

    Args:
      detected: the detections in all images.
      boxes: float ``[N, D, 4]`` of the objects.
      classes: int ``[N, D]`` in [0, K), -1 where there is no object.
      num_classes: K.
      overlap: the IoU from which on a detection is right, in (0, 1].

    Returns:
      ``mean``, over the classes that have objects; ``classes``, ``[K]``, None for a class without;
      ``recall``, the part of all objects that were found.

    Raises:
      ValueError: if there is no object, or an overlap out of range.
    """
    right = correct(detected, boxes, classes, overlap)
    values: list[float | None] = []
    for kind in range(num_classes):
        objects, own = int((classes == kind).sum()), detected.classes == kind
        known = average_precision(detected.scores[own], right[own], objects) if objects else None
        values.append(known)
    there = [value for value in values if value is not None]
    if not there:
        raise ValueError("average precision needs at least one object to find, got none.")
    recall = float(right.sum() / (classes >= 0).sum())
    return {"mean": float(np.mean(there)), "classes": values, "recall": recall}

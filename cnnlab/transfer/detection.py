"""Detection with regions: targets of windows, the loss, and the objects that are detected.

    annotations = targets(windows, scenes.boxes, scenes.classes)  # [N, R, 5], of a Dataset
    recipe = dataclasses.replace(recipe, loss=detection_loss(), score=window_score)
    detections = detect(outputs, windows, image_size=(64, 64))

The network is ``models.regions.region_network``: for each of R windows it returns the logits of
the background and of K classes, and four corrections of the window. Boxes are ``(y0, x0, y1, x1)``
in pixels, y1 and x1 after the last row and column; windows may be any sequence of them.

Sources: Girshick et al., Rich feature hierarchies, CVPR 2014 (R-CNN), appendix C; Girshick, Fast
R-CNN, ICCV 2015, section 2.3.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
import optax
from jax import numpy as jnp
from numpy.typing import ArrayLike

from cnnlab.boxes import iou as pairwise_iou

IGNORED = -1
"""The class of a window that the loss leaves out; 0 is background, k + 1 class k."""

SCALES = (0.1, 0.1, 0.2, 0.2)
"""Divisors of corrections, so that each has a variance of about 1 (Fast R-CNN's code)."""

_LARGEST = float(np.log(1000 / 16))  # the log of the largest factor by which a side may grow

DetectionLoss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class ScoredBoxes(NamedTuple):
    """Detected objects, the best first; P candidates for each of K classes.

    Attributes:
      boxes: float32 ``[N, K, P, 4]``.
      scores: float32 ``[N, K, P]``, the probability of the class; 0 for a candidate that is none:
        another box of its class covers it, or its probability is too small.
    """

    boxes: np.ndarray
    scores: np.ndarray


def iou(boxes: jax.Array, others: jax.Array) -> jax.Array:
    """Intersection over union of each of ``boxes [A, 4]`` with each of ``others [B, 4]``: [A, B].

    0 where they do not meet, and where one is empty.
    """
    overlaps: jax.Array = pairwise_iou(boxes[:, None], others[None], jnp)
    return overlaps


def encode(windows: jax.Array, boxes: jax.Array, scales: Sequence[float] = SCALES) -> jax.Array:
    """The correction of each window to its box: ``[..., 4]``, (dy, dx, dh, dw) over ``scales``.

    The distance of the centres over the window's height and width, and the logarithms of the ratios
    of heights and widths.

    Args:
      windows: ``[..., 4]``, not empty.
      boxes: ``[..., 4]``, not empty.
      scales: of (dy, dx, dh, dw).

    Source: R-CNN, appendix C, equations 6 to 9.
    """
    centre, sides = _centre_and_sides(windows)
    to, large = _centre_and_sides(boxes)
    deltas = jnp.concatenate([(to - centre) / sides, jnp.log(large / sides)], axis=-1)
    return deltas / jnp.asarray(scales, deltas.dtype)


def decode(
    windows: jax.Array,
    deltas: jax.Array,
    scales: Sequence[float] = SCALES,
    *,
    image_size: tuple[int, int] | None = None,
) -> jax.Array:
    """The box that each window is corrected to: the inverse of ``encode``, ``[..., 4]``.

    Args:
      windows: ``[..., 4]``.
      deltas: ``[..., 4]``; no window grows more than 62.5 times, as in the authors' later code.
      scales: of (dy, dx, dh, dw).
      image_size: height and width that boxes are cut to; None leaves them as they are.

    Source: R-CNN, appendix C, equations 1 to 4.
    """
    deltas = deltas * jnp.asarray(scales, deltas.dtype)
    centre, sides = _centre_and_sides(windows)
    centre = centre + deltas[..., :2] * sides
    half = sides * jnp.exp(jnp.minimum(deltas[..., 2:], _LARGEST)) / 2
    low, high = centre - half, centre + half
    if image_size is not None:
        limits = jnp.asarray(image_size, low.dtype)
        low, high = jnp.clip(low, 0, limits), jnp.clip(high, 0, limits)
    return jnp.concatenate([low, high], axis=-1)


def targets(
    windows: ArrayLike,
    boxes: np.ndarray,
    classes: np.ndarray,
    *,
    foreground: float = 0.5,
    background: tuple[float, float] = (0.0, 0.5),
) -> np.ndarray:
    """The targets of each window of each image, float32 ``[N, R, 5]``: ``Dataset.annotations``.

    A window has the class of the object that it overlaps most, if their IoU is at least
    ``foreground``; it is background if the IoU lies in ``background``, and ignored otherwise.

    Args:
      windows: ``[R, 4]``, the same for all images.
      boxes: float ``[N, D, 4]`` of the objects.
      classes: int ``[N, D]``, -1 where there is no object.
      foreground: the smallest IoU of a window with its object, in (0, 1].
      background: the range [low, high) of the IoU of background; (0.1, 0.5) in Fast R-CNN, which
        ignores windows below it as too easy.

    Returns:
      The class, 0 for background, k + 1 for class k, ``IGNORED``; and the correction, as
      ``encode`` returns it, 0 for all but the foreground.

    Raises:
      ValueError: for numbers out of range.
    """
    low, high = background
    if not (0 < foreground <= 1 and 0 <= low < high <= foreground):
        raise ValueError(
            "0 <= background[0] < background[1] <= foreground <= 1 must hold, got "
            f"background={background} and foreground={foreground}."
        )

    def one(boxes: jax.Array, classes: jax.Array) -> jax.Array:
        overlap = jnp.where(classes >= 0, iou(proposals, boxes), 0)
        best = jnp.argmax(overlap, axis=1)
        most = jnp.max(overlap, axis=1)
        inside = most >= foreground
        kind = jnp.where((most >= low) & (most < high), 0, IGNORED)
        kind = jnp.where(inside, classes[best] + 1, kind).astype(jnp.float32)
        goal = jnp.where(inside[:, None], boxes[best], proposals)
        return jnp.concatenate([kind[:, None], encode(proposals, goal)], axis=1)

    proposals = jnp.asarray(windows, jnp.float32)
    return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(boxes, jnp.float32), jnp.asarray(classes)))


def check_objects(
    boxes: np.ndarray, classes: np.ndarray, image_size: tuple[int, int], num_classes: int
) -> None:
    """Checks objects that a detector is to be trained on.

    Args:
      boxes: float ``[N, D, 4]``.
      classes: int ``[N, D]``, -1 where there is no object.
      image_size: height and width of the images in pixels.
      num_classes: K.

    Raises:
      ValueError: for other shapes, no object at all, a class that is not in [-1, K), and boxes that
        are empty or reach out of the image.
    """
    if boxes.ndim != 3 or boxes.shape[2] != 4 or classes.shape != boxes.shape[:2]:
        raise ValueError(
            f"boxes must be [N, D, 4] and classes [N, D], got shapes {boxes.shape} and "
            f"{classes.shape}."
        )
    real = classes >= 0
    if not real.any():
        raise ValueError(
            f"there must be at least one object to detect, got none in {len(boxes)} images."
        )
    if classes.max() >= num_classes or classes.min() < -1:
        wrong = classes.max() if classes.max() >= num_classes else classes.min()
        raise ValueError(
            f"classes must be in 0..{num_classes - 1}, or -1 for no object, got {wrong}."
        )
    low, high = boxes[..., :2], boxes[..., 2:]
    for rule, wrong in (
        ("not be empty: y0 < y1 and x0 < x1", ~(low < high).all(-1)),
        (
            f"lie inside the image, {image_size[0]} x {image_size[1]} pixels",
            ~((low >= 0) & (high <= np.asarray(image_size))).all(-1),
        ),
    ):
        places = np.argwhere(real & wrong)
        if len(places):
            image, place = (int(each) for each in places[0])
            raise ValueError(
                f"boxes must {rule}; got (y0, x0, y1, x1) = "
                f"{tuple(boxes[image, place].tolist())} in image {image}"
                + (f", and {len(places) - 1} more like it." if len(places) > 1 else ".")
            )


# Training -------------------------------------------------------------------------------------


def detection_loss(*, box_weight: float = 1.0, foreground: float = 0.25) -> DetectionLoss:
    """Cross-entropy of the windows' classes, and smooth L1 of the corrections of the foreground.

    Fast R-CNN samples windows so that a quarter of them are foreground. Here all windows count, the
    foreground ones of an image with the weight ``foreground`` together: the expectation of such
    samples. In an image without foreground the background has the whole weight.

    Args:
      box_weight: lambda >= 0 of the corrections; 0 leaves them out.
      foreground: the weight of the foreground windows of an image together, in (0, 1).

    Returns:
      ``loss(outputs [N, R, K + 1 + 4], labels [N], targets [N, R, 5]) -> [N]``; labels are not
      used.

    Raises:
      ValueError: for numbers out of range.

    Source: Girshick, ICCV 2015, section 2.3, equations 1 to 3.
    """
    if not 0 <= box_weight < float("inf"):
        raise ValueError(f"box_weight must be >= 0 and finite, got {box_weight}.")
    _check_foreground(foreground)

    def loss(outputs: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
        del labels
        _check_outputs(outputs, targets)
        kind = targets[..., 0].astype(jnp.int32)
        weights = window_weights(kind, foreground)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            outputs[..., :-4], jnp.maximum(kind, 0)
        )
        if box_weight:
            errors = jnp.sum(smooth_l1(outputs[..., -4:] - targets[..., 1:]), axis=-1)
            losses += jnp.where(kind > 0, box_weight * errors, 0)
        return jnp.sum(weights * losses, axis=-1)

    return loss


def window_score(
    outputs: jax.Array, labels: jax.Array, targets: jax.Array, *, foreground: float = 0.25
) -> jax.Array:
    """The part of each image's windows that have the right class, weighted as in the loss: [N].

    Args are those of the loss; to be recorded as the accuracy while training.
    """
    del labels
    _check_outputs(outputs, targets)
    kind = targets[..., 0].astype(jnp.int32)
    right = jnp.argmax(outputs[..., :-4], axis=-1) == kind
    return jnp.sum(window_weights(kind, foreground) * right, axis=-1)


def window_weights(kind: jax.Array, foreground: float = 0.25) -> jax.Array:
    """The weight of each window, float32 ``[N, R]``; an image's sum is 1 (0 if all are ignored).

    Args:
      kind: int ``[N, R]``: 0 for background, above for foreground, below for ignored.
      foreground: the weight of the foreground windows of an image together, in (0, 1), where it
        has both.
    """
    _check_foreground(foreground)
    front, back = kind > 0, kind == 0
    fronts = jnp.sum(front, axis=-1, keepdims=True)
    backs = jnp.sum(back, axis=-1, keepdims=True)
    share = jnp.where(backs == 0, 1.0, jnp.where(fronts == 0, 0.0, foreground))
    each = jnp.where(front, share / jnp.maximum(fronts, 1), (1 - share) / jnp.maximum(backs, 1))
    return jnp.where(front | back, each, 0.0)


def smooth_l1(x: jax.Array) -> jax.Array:
    """``x^2 / 2`` where ``|x| < 1``, and ``|x| - 1 / 2`` elsewhere (Fast R-CNN, equation 3)."""
    size = jnp.abs(x)
    return jnp.where(size < 1, 0.5 * jnp.square(x), size - 0.5)


# ScoredBoxes ----------------------------------------------------------------------------------


def nms(boxes: jax.Array, scores: jax.Array, threshold: float) -> jax.Array:
    """Greedy non-maximum suppression: a mask of the boxes that stay, bool ``[R]``.

    From the best score down, a box stays if its IoU with every box that stays so far is at most the
    threshold. Of equal scores the first box counts as the better one.

    Args:
      boxes: ``[R, 4]``.
      scores: ``[R]``.
      threshold: in [0, 1].

    Source: Felzenszwalb et al., PAMI 2010, section 3.4; R-CNN, section 2.2.
    """
    order = jnp.argsort(-scores, stable=True)
    ranked = boxes[order]
    covers = iou(ranked, ranked) > threshold
    places = jnp.arange(len(scores))

    def suppress(place: jax.Array, stays: jax.Array) -> jax.Array:
        covered = covers[place] & (places > place) & stays[place]
        return stays & ~covered

    stays = jax.lax.fori_loop(0, len(scores), suppress, jnp.ones(len(scores), bool))
    return jnp.zeros(len(scores), bool).at[order].set(stays)


def detect(
    outputs: np.ndarray,
    windows: ArrayLike,
    *,
    image_size: tuple[int, int],
    threshold: float = 0.3,
    smallest: float = 0.01,
    candidates: int = 100,
    corrected: bool = True,
) -> ScoredBoxes:
    """The objects that a network detects in images, with one box for each after suppression.

    Args:
      outputs: float ``[N, R, K + 1 + 4]``.
      windows: ``[R, 4]``.
      image_size: height and width that boxes are cut to.
      threshold: the largest IoU of two boxes of one class in one image, as R-CNN's.
      smallest: the lowest probability of an object, in [0, 1).
      candidates: P, the number of most probable boxes of each class that are considered.
      corrected: whether windows are corrected; without, the windows themselves are the boxes.

    Raises:
      ValueError: for other shapes, or numbers out of range.
    """
    proposals = jnp.asarray(windows, jnp.float32)
    if outputs.ndim != 3 or outputs.shape[1] != len(proposals) or outputs.shape[2] < 6:
        raise ValueError(
            f"outputs must be [N, R, K + 1 + 4] for R = {len(proposals)} windows and K >= 1 "
            f"classes, got shape {outputs.shape}."
        )
    if not (0 <= threshold <= 1 and 0 <= smallest < 1 and candidates >= 1):
        raise ValueError(
            "threshold must be in [0, 1], smallest in [0, 1) and candidates at least 1, got "
            f"{threshold}, {smallest}, {candidates}."
        )
    count = min(candidates, len(proposals))
    options = (image_size, threshold, smallest, count, corrected)
    boxes, scores = jax.device_get(_detect(jnp.asarray(outputs), proposals, *options))
    return ScoredBoxes(boxes, scores)


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def _detect(
    outputs: jax.Array,
    windows: jax.Array,
    image_size: tuple[int, int],
    threshold: float,
    smallest: float,
    count: int,
    corrected: bool,
) -> tuple[jax.Array, jax.Array]:
    def suppress_class(boxes: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
        best, which = jax.lax.top_k(scores, count)
        own = boxes[which]
        stays = nms(own, best, threshold) & (best >= smallest)
        return own, jnp.where(stays, best, 0)

    def detect_in_image(outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        probabilities = jax.nn.softmax(outputs[:, :-4])[:, 1:]
        boxes = windows
        if corrected:
            boxes = decode(windows, outputs[:, -4:], image_size=image_size)
        return jax.vmap(suppress_class, in_axes=(None, 1))(boxes, probabilities)

    boxes, scores = jax.lax.map(detect_in_image, outputs, batch_size=32)
    return boxes, scores


def _centre_and_sides(boxes: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def _check_foreground(foreground: float) -> None:
    if not 0 < foreground < 1:
        raise ValueError(f"the weight of the foreground must be in (0, 1), got {foreground}.")


def _check_outputs(outputs: jax.Array, targets: jax.Array) -> None:
    if outputs.ndim != 3 or targets.shape != (*outputs.shape[:2], 5) or outputs.shape[2] < 6:
        raise ValueError(
            "outputs must be [N, R, K + 1 + 4] and targets [N, R, 5], got shapes "
            f"{outputs.shape} and {targets.shape}."
        )

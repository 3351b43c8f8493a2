"""Boxes ``(y0, x0, y1, x1)``, y1 and x1 after the last row and column."""

from typing import Any

import numpy as np


def iou(boxes: Any, others: Any, xp: Any = np) -> Any:
    """Intersection over union of boxes ``[..., 4]`` that are broadcast: ``[...]``.

    0 for disjoint boxes, and where both are empty.

    Args:
      boxes: float ``[..., 4]``.
      others: the same; ``iou(boxes[:, None], others[None])`` compares all pairs.
      xp: ``numpy``, or ``jax.numpy`` in a traced function.
    """
    low = xp.maximum(boxes[..., :2], others[..., :2])
    high = xp.minimum(boxes[..., 2:], others[..., 2:])
    both = xp.prod(xp.maximum(high - low, 0), axis=-1)
    union = _area(boxes, xp) + _area(others, xp) - both
    return xp.where(union > 0, both / xp.where(union > 0, union, 1), 0)


def check_windows(windows: np.ndarray, image_size: tuple[int, int], stride: int) -> None:
    """Checks that windows can be pooled.

    Args:
      windows: ``[R, 4]``.
      image_size: height and width in pixels.
      stride: pixels per cell of the features.

    Raises:
      ValueError: if there is no window, or one is not inside the image or smaller than a cell.
    """
    if windows.ndim != 2 or windows.shape[1] != 4 or not len(windows):
        raise ValueError(f"windows must be boxes [R, 4], R >= 1, got shape {windows.shape}.")
    low, high = windows[:, :2], windows[:, 2:]
    outside = ~((low >= 0) & (high <= np.asarray(image_size))).all(1)
    if outside.any():
        raise ValueError(
            f"windows must lie inside the image, {image_size[0]} x {image_size[1]} pixels, got "
            f"(y0, x0, y1, x1) = {tuple(windows[outside][0].tolist())}."
        )
    small = (high - low < stride).any(1)
    if small.any():
        height, width = (high - low)[small][0]
        raise ValueError(
            f"windows must be at least one cell of the features large, {stride} x {stride} pixels, "
            f"got one of {height:g} x {width:g}. Make the windows larger, or take the features of "
            "an earlier stage."
        )


def _area(boxes: Any, xp: Any) -> Any:
    return xp.prod(xp.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)

"""Figures of detection: scenes with boxes, precision over recall, and average precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, mosaics, plots
from cnnlab.report.average_precision import Detections, correct

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRUE, _RIGHT, _WRONG = "#FFFFFF", "#56B4E9", "#E69F00"


def scenes(
    images: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    detections: Mapping[str, Detections],
    class_names: Sequence[str],
    *,
    overlap: float = 0.5,
    title: str = "",
) -> Figure:
    """Draws a row for each network, and the same scenes in each.

    Objects are white and dashed; detections are blue where they are right and orange where they
    are wrong, with their class and score. Of each scene as many detections are drawn as there are
    objects, those of the highest scores.

    Args:
      images: uint8 ``[N, H, W, C]`` with 1 or 3 channels.
      boxes: float ``[N, D, 4]`` of the objects, (y0, x0, y1, x1).
      classes: int ``[N, D]``, -1 where there is no object.
      detections: label -> detections in these images.
      class_names: K.
      overlap: the IoU from which on a detection is right.
      title: above the figure.

    Raises:
      ValueError: without scenes or networks.
    """
    if not len(images) or not detections:
        raise ValueError(
            f"got {len(images)} scenes and {len(detections)} networks: both are needed."
        )
    rows = [list(images)] * len(detections)
    figure, grid = mosaics.mosaic(rows, labels=list(detections), side=1.85, title=title, below=0.4)
    for line, each in zip(grid, detections.values(), strict=True):
        right = correct(each, boxes, classes, overlap)
        for index, axes in enumerate(line):
            objects = boxes[index][classes[index] >= 0]
            for box in objects:
                mosaics.rectangle(axes, box, _TRUE, dashes="--", width=1.0)
            own = np.flatnonzero(each.images == index)
            best = np.argsort(-each.scores[own], kind="stable")[: len(objects)]
            for place in own[best]:
                colour = _RIGHT if right[place] else _WRONG
                text = f"{class_names[each.classes[place]]} {each.scores[place]:.2f}"
                mosaics.rectangle(axes, each.boxes[place], colour, text=text)
    _scene_legend(figure, overlap)
    return figure


def _scene_legend(figure: Figure, overlap: float) -> None:
    """On dark grey, as objects are white."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 matplotlib is slow to import

    kinds: tuple[tuple[str, Any, str], ...] = (
        (_TRUE, "--", "an object"),
        (_RIGHT, "-", f"found, IoU at least {overlap:g}"),
        (_WRONG, "-", "wrong class, place, or found twice"),
    )
    handles = [Line2D([], [], color=c, linestyle=dash, label=text) for c, dash, text in kinds]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        fontsize=8.5,
        facecolor="#777777",
        edgecolor="none",
        labelcolor="#FFFFFF",
    )


def precision_recall(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str = ""
) -> Figure:
    """Draws precision over recall, a curve for each network.

    Args:
      curves: label -> precision and recall, ``[L]`` each, with recall rising.
      title: above the figure.

    Raises:
      ValueError: without curves, or for one whose two sides are not as long.
    """
    if not curves:
        raise ValueError("there must be at least one curve, got none.")
    drawn = {}
    for label, curve in curves.items():
        precision, recall = (100 * np.asarray(side, np.float64) for side in curve)
        if precision.shape != recall.shape or precision.ndim != 1:
            raise ValueError(
                f"precision and recall of {label} must be [L] both, got shapes {precision.shape} "
                f"and {recall.shape}."
            )
        drawn[label] = plots.Curve(recall, precision)
    figure, [[axes]] = drawing.figure(size=(6.6, 5.6), title=title)
    plots.series(axes, drawn)
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 101)
    drawing.set_labels(axes, x="recall (%)", y="precision (%)")
    drawing.legend(axes, "below")
    return figure


def comparison(networks: Mapping[str, Mapping[str, ArrayLike]], *, title: str = "") -> Figure:
    """Draws the mean average precision of each network, a column for each way to count.

    Means over the seeds with bars of one standard error; the seeds are small dots.

    Args:
      networks: label -> way to count, such as "IoU 0.5" -> ``[M]`` in [0, 1], M seeds.
      title: above the figure.

    Raises:
      ValueError: without networks, or if one has no seeds or is not counted as the others are.
    """
    ways = list(next(iter(networks.values()), {}))
    if not ways:
        raise ValueError("there must be at least one network and one way to count, got none.")
    for label, values in networks.items():
        if list(values) != ways or any(np.ndim(v) != 1 or not np.size(v) for v in values.values()):
            raise ValueError(f"{label} must have values [M] for {', '.join(ways)} each.")
    size = (3.2 + 2.6 * len(ways), 1.7 + 0.5 * len(networks))
    figure, [grid] = drawing.figure(len(ways), size=size, title=title, share_y=True)
    seeds = max(np.size(each) for values in networks.values() for each in values.values())
    for axes, way in zip(grid, ways, strict=True):
        rows = [
            plots.mean_dot(label, each[way], "standard error", scale=100, text="{:.1f}")
            for label, each in networks.items()
        ]
        plots.dots(axes, rows)
        drawing.set_labels(axes, title=way, x="mean average precision (%)")
    if seeds > 1:
        figure.supxlabel("mean ± standard error; a pale dot for each seed", fontsize=9)
    return figure

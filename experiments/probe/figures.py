"""The accuracy of probes and neighbours at each stage, and the nearest neighbours of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, mosaics, plots, scales

from .config import METHODS, NETWORKS, PIXELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# {"mean": [S], "low": [S], "high": [S]} in [0, 1]: one for each stage; low and high may be None
Curve = Mapping[str, Sequence[Any]]

RIGHT, WRONG = "#009E73", "#D55E00"


def accuracy_panels(points: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """The panels of ``accuracy_by_stage``, of ``claims.accuracies``."""
    panels: dict[str, dict[str, Curve]] = {}
    for panel, methods in (
        ("linear probes", ("ridge", "logistic")),
        ("nearest neighbours", ("l2", "cosine")),
    ):
        for network, label in NETWORKS.items():
            for method in methods:
                own = [each for each in points if each["method"] == method]
                stages = [each for each in own if each["network"] == network]
                if stages:
                    row = [*(each for each in own if each["network"] == PIXELS), *stages]
                    panels.setdefault(panel, {})[f"{label}, {METHODS[method]}"] = {
                        "mean": [each["mean"] for each in row],
                        "low": [each["interval"][0] for each in row],
                        "high": [each["interval"][1] for each in row],
                    }
    return panels


def accuracy_by_stage(
    panels: Mapping[str, Mapping[str, Curve]],
    stages: Sequence[str],
    *,
    lines: Mapping[str, float] | None = None,
    title: str = "",
    bars: str = "",
) -> Figure:
    """Draws the accuracy of classifiers on the features of each stage, from the pixels on.

    Args:
      panels: title of the panel -> label -> accuracies with the ends of their intervals.
      stages: their names, S; the first may be the pixels.
      lines: label -> accuracy in [0, 1], drawn across all stages: the network's own.
      title: above the figure.
      bars: what the bars are, such as "95 % interval over 5 seeds".

    Raises:
      ValueError: if a curve has another number of stages.

    Source: Alain and Bengio, ICLR workshop 2017, figures 5 to 8.
    """
    for name, curves in panels.items():
        for label, curve in curves.items():
            if {len(curve[key]) for key in ("mean", "low", "high")} != {len(stages)}:
                raise ValueError(
                    f"{label!r} of {name!r} must have an accuracy for each of {len(stages)} "
                    f"stages, got {len(curve['mean'])}."
                )
    own = {label: 100 * value for label, value in (lines or {}).items()}
    size = (5.6 * len(panels), 5.2)
    figure, [grid] = drawing.figure(len(panels), size=size, title=title, share_y=True)
    for axes, (name, curves) in zip(grid, panels.items(), strict=True):
        drawn = {
            label: _percent(curve, index, len(curves))
            for index, (label, curve) in enumerate(curves.items())
        }
        plots.series(axes, drawn, intervals="bars", spread=0.07, lines=own)
        scales.names(axes, stages)
        drawing.set_labels(axes, title=name, x="features of")
    scales.accuracies(grid[0])
    for axes in grid:
        drawing.legend(axes, "below", bars)
    return figure


def _percent(curve: Curve, index: int, count: int) -> plots.Curve:
    """The first half of the curves solid and filled, the other dashed and hollow."""
    second = 2 * index >= count > 1
    look = drawing.look(index)._replace(dashes="--" if second else "-", hollow=second)
    mean = 100 * np.asarray(curve["mean"], np.float64)
    low = high = None
    if all(end is not None for end in (*curve["low"], *curve["high"])):
        low, high = (
            np.clip(100 * np.asarray(curve[key], np.float64), 0, 100) for key in ("low", "high")
        )
    return plots.Curve(range(len(mean)), mean, low, high, look=look)


def retrieval(
    queries: ArrayLike,
    neighbours: Mapping[str, ArrayLike],
    query_labels: Sequence[int],
    neighbour_labels: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Draws a row for each query: the image, and its nearest neighbours by each way of looking.

    A frame tells whether a neighbour is of the query's class: solid green, or dashed orange. Above
    each group stands how many are.

    Args:
      queries: uint8 ``[Q, H, W, C]``, C = 1 or 3.
      neighbours: what was looked at -> uint8 ``[Q, R, H, W, C]``, the nearest first.
      query_labels: ``[Q]``.
      neighbour_labels: as ``neighbours``, ``[Q, R]``.
      class_names: K names.
      title: above the figure.

    Raises:
      ValueError: if there is no query, or a group is not of as many.

    Source: Krizhevsky et al., NIPS 2012, figure 4.
    """
    shown = np.asarray(queries)
    rows: list[list[ArrayLike | None]] = [[image] for image in shown]
    same: list[np.ndarray | None] = [None]  # by column, [Q]
    headings = ["query"]
    for name, each in neighbours.items():
        images, labels = np.asarray(each), np.asarray(neighbour_labels[name])
        if not len(shown) or len(images) != len(shown) or labels.shape != images.shape[:2]:
            raise ValueError(
                f"{name!r} must have neighbours [Q, R, ...] with labels [Q, R] of {len(shown)} "
                f"queries (at least one), got shapes {images.shape} and {labels.shape}."
            )
        right = labels == np.asarray(query_labels)[:, None]
        headings += ["", f"{name}\n{right.sum()} of {right.size} of the same class"]
        headings += [""] * (labels.shape[1] - 1)
        same += [None, *right.T]
        for row, line in zip(rows, images, strict=True):
            row += [None, *line]
    names = [class_names[label] for label in query_labels]
    title = f"{title}\nframes: green of the query's class; orange, dashed of another".strip()
    figure, grid = mosaics.mosaic(rows, labels=names, columns=headings, side=0.62, title=title)
    for column, flags in enumerate(same):
        for axes, flag in zip(grid[:, column], [] if flags is None else flags, strict=False):
            mosaics.frame(axes, RIGHT if flag else WRONG, dashed=not flag)
    return figure

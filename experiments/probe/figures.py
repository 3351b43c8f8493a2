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

RIGHT, WRONG = "#009E73", "#D55E00"

_PANELS = {"linear probes": ("ridge", "logistic"), "nearest neighbours": ("l2", "cosine")}


def accuracy_by_stage(
    points: Sequence[Mapping[str, Any]],
    *,
    own: float | None = None,
    title: str = "",
    bars: str = "",
) -> Figure:
    """Draws the accuracy of probes and neighbours on the features of each stage and the pixels.

    Args:
      points: accuracies in [0, 1] with their intervals, of ``claims.accuracies``.
      own: accuracy of the network itself, drawn across all stages.
      title: above the figure.
      bars: what the bars are, such as "95 % interval over 5 seeds".

    Raises:
      ValueError: if a method lacks a stage.

    Source: Alain and Bengio, ICLR workshop 2017, figures 5 to 8.
    """
    stages = list(dict.fromkeys(each["stage"] for each in points))
    panels = {name: _rows(points, stages, methods) for name, methods in _PANELS.items()}
    panels = {name: rows for name, rows in panels.items() if rows}
    lines = {} if own is None else {"the network itself": 100 * own}
    size = (5.6 * len(panels), 5.2)
    figure, [grid] = drawing.figure(len(panels), size=size, title=title, share_y=True)
    for axes, (name, rows) in zip(grid, panels.items(), strict=True):
        curves = {
            label: _curve(row, index, len(rows)) for index, (label, row) in enumerate(rows.items())
        }
        plots.series(axes, curves, intervals="bars", spread=0.07, lines=lines)
        scales.names(axes, stages)
        drawing.set_labels(axes, title=name, x="features of")
    scales.accuracies(grid[0])
    for axes in grid:
        drawing.legend(axes, "below", bars)
    return figure


def _rows(
    points: Sequence[Mapping[str, Any]], stages: Sequence[str], methods: Sequence[str]
) -> dict[str, list[Mapping[str, Any]]]:
    """Label -> the points of the pixels and of each stage, for each network and method."""
    rows = {}
    for network, name in NETWORKS.items():
        for method in methods:
            both = (PIXELS, network)
            row = [p for p in points if p["method"] == method and p["network"] in both]
            if all(point["network"] == PIXELS for point in row):
                continue
            label = f"{name}, {METHODS[method]}"
            if [point["stage"] for point in row] != stages:
                raise ValueError(
                    f"{label!r} must have an accuracy for each of {len(stages)} stages, "
                    f"{', '.join(stages)}, got {len(row)}."
                )
            rows[label] = row
    return rows


def _curve(row: Sequence[Mapping[str, Any]], index: int, count: int) -> plots.Curve:
    """The first half of the curves solid and filled, the other dashed and hollow."""
    second = 2 * index >= count > 1
    look = drawing.look(index)._replace(dashes="--" if second else "-", hollow=second)
    mean = [100 * point["mean"] for point in row]
    low, high = np.clip([point["interval"] for point in row], 0, 1).T * 100
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

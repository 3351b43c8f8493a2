"""Figures of features: what is read off each stage, and which images are neighbours there.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, dashes and markers that differ too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import scales
from cnnlab.report.drawing import COLOURS, PathLike, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# {"mean": [S], "low": [S], "high": [S]} in [0, 1]: one for each stage; low and high may be None
Curve = Mapping[str, Sequence[Any]]


RIGHT, WRONG = "#009E73", "#D55E00"


def accuracy_by_stage(
    panels: Mapping[str, Mapping[str, Curve]],
    stages: Sequence[str],
    path: PathLike,
    *,
    lines: Mapping[str, float] | None = None,
    title: str = "",
    bars: str = "",
) -> pathlib.Path:
    """Saves what is read off each stage as a PNG; see ``draw_accuracy_by_stage``.

    Returns:
      The path.
    """
    figure = draw_accuracy_by_stage(panels, stages, lines=lines, title=title, bars=bars)
    return save(figure, path)


def draw_accuracy_by_stage(
    panels: Mapping[str, Mapping[str, Curve]],
    stages: Sequence[str],
    *,
    lines: Mapping[str, float] | None = None,
    title: str = "",
    bars: str = "",
) -> Figure:
    """Draws the accuracy of classifiers on the features of each stage, from the pixels on.

    Args:
      panels: what the panel shows -> label -> accuracies with the ends of their intervals.
      stages: their names, S; the first may be the pixels.
      lines: label -> accuracy in [0, 1], drawn across all stages: the network's own.
      title: above the figure.
      bars: what the bars are, such as "95 % interval over 5 seeds".

    Raises:
      ValueError: if a curve has another number of stages.

    Source: Alain and Bengio, ICLR workshop 2017, figures 5 to 8.
    """
    from matplotlib.figure import Figure

    for name, curves in panels.items():
        for label, curve in curves.items():
            if {len(curve[key]) for key in ("mean", "low", "high")} != {len(stages)}:
                raise ValueError(
                    f"{label!r} of {name!r} must have an accuracy for each of {len(stages)} "
                    f"stages, got {len(curve['mean'])}."
                )
    figure = Figure(figsize=(5.6 * len(panels), 5.2), dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, curves) in zip(grid, panels.items(), strict=True):
        for label, value in (lines or {}).items():
            axes.axhline(100 * value, color="#7F7F7F", ls=":", lw=1.4, label=label)
        for index, (label, curve) in enumerate(curves.items()):
            _curve(axes, label, curve, index, len(curves))
        axes.set_xticks(range(len(stages)), stages, rotation=30 if len(stages) > 6 else 0)
        axes.set_title(name, fontsize=11, parse_math=False)
        axes.set_xlabel("features of")
        axes.tick_params(labelleft=True)
        tidy(axes)
        axes.legend(
            fontsize=8.5,
            title=bars,
            title_fontsize=8.5,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
            ncols=2,
            frameon=False,
            alignment="left",
        )
    scales.accuracies(grid[0])
    return figure


def retrieval(
    queries: ArrayLike,
    found: Mapping[str, ArrayLike],
    query_labels: Sequence[int],
    found_labels: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    path: PathLike,
    *,
    title: str = "",
) -> pathlib.Path:
    """Saves queries and their nearest neighbours as a PNG; see ``draw_retrieval``.

    Returns:
      The path.
    """
    figure = draw_retrieval(queries, found, query_labels, found_labels, class_names, title=title)
    return save(figure, path)


def draw_retrieval(
    queries: ArrayLike,
    found: Mapping[str, ArrayLike],
    query_labels: Sequence[int],
    found_labels: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Draws a row for each query: the image, and its nearest neighbours by each way of looking.

    A frame says whether a neighbour is of the query's class: solid green, or dashed orange. Above
    each group stands how many are.

    Args:
      queries: uint8 ``[Q, H, W, C]``, C = 1 or 3.
      found: what was looked at -> uint8 ``[Q, R, H, W, C]``, the nearest first.
      query_labels: ``[Q]``.
      found_labels: as ``found``, ``[Q, R]``.
      class_names: K names.
      title: above the figure.

    Raises:
      ValueError: if there is no query, or a group is not of as many.

    Source: Krizhevsky et al., NIPS 2012, figure 4.
    """
    from matplotlib.figure import Figure

    shown = np.asarray(queries)
    groups = {
        name: (np.asarray(images), np.asarray(found_labels[name])) for name, images in found.items()
    }
    for name, (images, labels) in groups.items():
        if (
            not len(shown)
            or images.shape[:1] != shown.shape[:1]
            or labels.shape != images.shape[:2]
        ):
            raise ValueError(
                f"{name!r} must have neighbours [Q, R, ...] with labels [Q, R] of {len(shown)} "
                f"queries (at least one), got shapes {images.shape} and {labels.shape}."
            )
    columns = [1, *(images.shape[1] for images, _ in groups.values())]
    ratios = [width for count in columns for width in (*[1.0] * count, 0.3)][:-1]
    side = 0.62
    figure = Figure(
        figsize=(side * sum(ratios) * 1.1 + 1.2, side * len(shown) * 1.12 + 1.1), dpi=120
    )
    top = 1 - 0.9 / figure.get_figheight()
    grid = figure.subplots(
        len(shown),
        len(ratios),
        squeeze=False,
        gridspec_kw={
            "width_ratios": ratios,
            "left": 1.05 / figure.get_figwidth(),
            "right": 0.99,
            "top": top,
            "bottom": 0.01,
            "wspace": 0.18,
            "hspace": 0.16,
        },
    )
    for axes in grid.ravel():
        axes.set_axis_off()
    for row, label in enumerate(query_labels):
        _image(grid[row, 0], shown[row])
        grid[row, 0].text(
            -0.12,
            0.5,
            class_names[label],
            transform=grid[row, 0].transAxes,
            ha="right",
            va="center",
            fontsize=9,
            parse_math=False,
        )
    grid[0, 0].set_title("query", fontsize=9.5)
    start = 2
    for name, (images, labels) in groups.items():
        same = labels == np.asarray(query_labels)[:, None]
        for row, column in np.ndindex(labels.shape):
            _image(grid[row, start + column], images[row, column], bool(same[row, column]))
        left, right = (grid[0, at].get_position() for at in (start, start + labels.shape[1] - 1))
        figure.text(
            (left.x0 + right.x1) / 2,
            top + 0.1 / figure.get_figheight(),
            f"{name}\n{same.sum()} of {same.size} of the same class",
            ha="center",
            va="bottom",
            fontsize=9.5,
            parse_math=False,
        )
        start += labels.shape[1] + 1
    if title:
        figure.suptitle(title, fontsize=11, y=1 - 0.08 / figure.get_figheight(), parse_math=False)
    return figure


def _curve(axes: Axes, label: str, curve: Curve, index: int, count: int) -> None:
    """The first half of the curves solid and filled, the other dashed and hollow."""
    mean = 100 * np.asarray(curve["mean"], np.float64)
    errors = None
    if all(end is not None for end in (*curve["low"], *curve["high"])):
        low, high = (100 * np.asarray(curve[key], np.float64) for key in ("low", "high"))
        errors = np.maximum([mean - np.maximum(low, 0), np.minimum(high, 100) - mean], 0)
    second = 2 * index >= count > 1
    colour = COLOURS[index % len(COLOURS)]
    axes.errorbar(
        np.arange(len(mean)) + 0.07 * (index - (count - 1) / 2),  # side by side, not on each other
        mean,
        yerr=errors,
        fmt="--" if second else "-",
        marker="osD^vPX"[index % 7],
        markersize=5,
        markerfacecolor="white" if second else colour,
        color=colour,
        linewidth=1.6,
        elinewidth=1.1,
        capsize=2.5,
        label=label,
    )


def _image(axes: Axes, image: np.ndarray, same: bool | None = None) -> None:
    """An image, in a frame where it is to be said whether it is of the same class."""
    from matplotlib.patches import Rectangle

    grey = image.shape[2] == 1
    axes.imshow(image[..., 0] if grey else image, cmap="gray", vmin=0, vmax=255)
    if same is None:
        return
    height, width = image.shape[:2]
    frame = Rectangle(
        (-0.5, -0.5),
        width,
        height,
        fill=False,
        edgecolor=RIGHT if same else WRONG,
        linestyle="-" if same else (0, (2.2, 1.4)),
        linewidth=2.2,
        clip_on=False,
    )
    axes.add_patch(frame)

"""Figures of detection: scenes with boxes, precision over recall, and average precision compared.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, dashes and markers that differ too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.average_precision import Detections, correct
from cnnlab.report.drawing import COLOURS, PathLike, over_seeds, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRUE, _RIGHT, _WRONG = "#FFFFFF", "#56B4E9", "#E69F00"


def scenes(
    images: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    found: Mapping[str, Detections],
    class_names: Sequence[str],
    path: PathLike,
    *,
    overlap: float = 0.5,
    title: str = "",
) -> pathlib.Path:
    """Saves scenes with their boxes as a PNG; see ``draw_scenes``.

    Returns:
      The path.
    """
    figure = draw_scenes(images, boxes, classes, found, class_names, overlap=overlap, title=title)
    return save(figure, path)


def draw_scenes(
    images: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    found: Mapping[str, Detections],
    class_names: Sequence[str],
    *,
    overlap: float = 0.5,
    title: str = "",
) -> Figure:
    """Draws a row for each network, and the same scenes in each.

    Objects are white and dashed; what was found is blue where it is right and orange where it is
    wrong, with its class and score. Of each scene as many detections are drawn as there are
    objects, the surest ones.

    Args:
      images: uint8 ``[N, H, W, C]`` with 1 or 3 channels.
      boxes: float ``[N, D, 4]`` of the objects, (y0, x0, y1, x1).
      classes: int ``[N, D]``, -1 where there is no object.
      found: label -> detections in these images.
      class_names: K.
      overlap: the IoU from which on a detection is right.
      title: above the figure.

    Raises:
      ValueError: without scenes or networks.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not len(images) or not found:
        raise ValueError(f"got {len(images)} scenes and {len(found)} networks: both are needed.")
    rows, columns = len(found), len(images)
    figure = Figure(figsize=(1.9 * columns, 2.0 * rows + 0.9), dpi=130, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for line, (label, detections) in zip(grid, found.items(), strict=True):
        right = correct(detections, boxes, classes, overlap)
        for index, axes in enumerate(line):
            _picture(axes, images[index])
            objects = boxes[index][classes[index] >= 0]
            for box in objects:
                _rectangle(axes, box, _TRUE, "--", 1.0)
            own = np.flatnonzero(detections.images == index)
            surest = np.argsort(-detections.scores[own], kind="stable")[: len(objects)]
            for place in own[surest]:
                colour = _RIGHT if right[place] else _WRONG
                said = f"{class_names[detections.classes[place]]} {detections.scores[place]:.2f}"
                _rectangle(axes, detections.boxes[place], colour, "-", 1.6, said)
        line[0].set_ylabel(label, fontsize=10, parse_math=False)
    kinds: tuple[tuple[str, Any, str], ...] = (
        (_TRUE, "--", "an object"),
        (_RIGHT, "-", f"found, IoU at least {overlap:g}"),
        (_WRONG, "-", "wrong class, place, or found twice"),
    )
    handles = [Line2D([], [], color=c, linestyle=dash, label=said) for c, dash, said in kinds]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    legend.get_frame().set(facecolor="#777777", edgecolor="none")
    for text in legend.get_texts():
        text.set_color("#FFFFFF")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    return figure


def precision_recall(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves precision over recall as a PNG; see ``draw_precision_recall``.

    Returns:
      The path.
    """
    return save(draw_precision_recall(curves, title=title), path)


def draw_precision_recall(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], *, title: str = ""
) -> Figure:
    """Draws precision over recall, a curve for each network.

    Args:
      curves: label -> precision and recall, ``[L]`` each, with recall rising.
      title: above the figure.

    Raises:
      ValueError: without curves, or for one whose two sides are not as long.
    """
    from matplotlib.figure import Figure

    if not curves:
        raise ValueError("there must be at least one curve, got none.")
    figure = Figure(figsize=(6.6, 5.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    dashes = itertools.cycle(("-", "--", "-.", ":"))
    for (label, curve), colour, dash in zip(
        curves.items(), itertools.cycle(COLOURS), dashes, strict=False
    ):
        precision, recall = (np.asarray(side, np.float64) for side in curve)
        if precision.shape != recall.shape or precision.ndim != 1:
            raise ValueError(
                f"precision and recall of {label} must be [L] both, got shapes {precision.shape} "
                f"and {recall.shape}."
            )
        axes.plot(100 * recall, 100 * precision, dash, color=colour, linewidth=1.7, label=label)
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 101)
    axes.set_xlabel("recall (%)")
    axes.set_ylabel("precision (%)")
    axes.legend(fontsize=9, loc="lower left", frameon=False)
    if title:
        axes.set_title(title, fontsize=12, parse_math=False)
    tidy(axes)
    return figure


def comparison(
    networks: Mapping[str, Mapping[str, ArrayLike]], path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves the mean average precision of networks as a PNG; see ``draw_comparison``.

    Returns:
      The path.
    """
    return save(draw_comparison(networks, title=title), path)


def draw_comparison(networks: Mapping[str, Mapping[str, ArrayLike]], *, title: str = "") -> Figure:
    """Draws the mean average precision of each network, a column for each way to count.

    Means over the seeds with bars of one standard error; the seeds are small dots.

    Args:
      networks: label -> way to count, such as "IoU 0.5" -> ``[M]`` in [0, 1], M seeds.
      title: above the figure.

    Raises:
      ValueError: without networks, or if one has no seeds or is not counted as the others are.
    """
    from matplotlib.figure import Figure

    ways = list(next(iter(networks.values()), {}))
    if not ways:
        raise ValueError("there must be at least one network and one way to count, got none.")
    figure = Figure(figsize=(3.2 + 2.6 * len(ways), 1.7 + 0.5 * len(networks)), dpi=120)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(1, len(ways), sharey=True, squeeze=False)[0]
    for row, (label, values) in enumerate(networks.items()):
        for axes, way in zip(grid, ways, strict=True):
            if list(values) != ways or np.ndim(values[way]) != 1 or not np.size(values[way]):
                raise ValueError(f"{label} must have values [M] for {', '.join(ways)} each.")
            seeds = 100 * np.asarray(values[way], np.float64)
            mean, _, high = (float(each[0]) for each in over_seeds(seeds[None], "standard error"))
            colour = COLOURS[row % len(COLOURS)]
            dots = np.full(len(seeds), row + 0.2)
            axes.plot(seeds, dots, ".", color=colour, markersize=4, alpha=0.6)
            bar = {"capsize": 3, "markersize": 6, "linewidth": 1.4}
            axes.errorbar(mean, row, xerr=high - mean, fmt="o", color=colour, **bar)
            axes.annotate(
                f"{mean:.1f}",
                (mean, row),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
            )
    for axes, way in zip(grid, ways, strict=True):
        axes.set_title(way, fontsize=10.5, parse_math=False)
        axes.set_xlabel("mean average precision (%)\n± standard error")
        axes.margins(x=0.12)
        tidy(axes)
    grid[0].set_yticks(range(len(networks)), list(networks), parse_math=False)
    grid[0].set_ylim(len(networks) - 0.4, -0.6)
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    return figure


def _picture(axes: Axes, image: np.ndarray) -> None:
    height, width, channels = image.shape
    shown = image[..., 0] if channels == 1 else image
    extent = (0, width, height, 0)  # so that boxes are in pixels from the image's corner
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent)
    axes.set_xticks([])
    axes.set_yticks([])


def _rectangle(
    axes: Axes, box: np.ndarray, colour: str, dash: str, width: float, said: str = ""
) -> None:
    from matplotlib.patches import Rectangle

    y0, x0, y1, x1 = (float(side) for side in box)
    axes.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, ls=dash, linewidth=width)
    )
    if said:
        behind = {"facecolor": colour, "edgecolor": "none", "pad": 0.6}
        axes.text(x0, y0, said, fontsize=6.5, color="#000000", va="bottom", bbox=behind)

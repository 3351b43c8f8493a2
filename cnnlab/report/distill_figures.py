"""The figures of teachers and students: their errors, each seed a dot, and their errors by class.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, markers that differ too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import scales
from cnnlab.report.drawing import COLOURS, PathLike, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.figure import Figure

_MARKERS = "osD^vP*X"


def errors(
    rows: Mapping[str, ArrayLike], path: PathLike, *, examples: int, title: str = ""
) -> pathlib.Path:
    """Saves the errors of a teacher and its students as a PNG; see ``draw_errors``.

    Returns:
      The path.
    """
    return save(draw_errors(rows, examples=examples, title=title), path)


def draw_errors(rows: Mapping[str, ArrayLike], *, examples: int, title: str = "") -> Figure:
    """Draws a row for each kind of network: a dot for each seed, and a bar at their mean.

    Args:
      rows: from top to bottom: what it is -> how many test examples it gets wrong, ``[M]``. The
        first is the teacher, whose mean is a line through all rows.
      examples: how many test examples there are.
      title: above the figure.

    Raises:
      ValueError: if a row has no seed, or there is no row.

    Source: the numbers of Hinton et al., arXiv 1503.02531, 2015, section 3.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    values = {label: np.asarray(counts, np.float64) for label, counts in rows.items()}
    if not values or any(each.ndim != 1 or not each.size for each in values.values()):
        shapes = [each.shape for each in values.values()]
        raise ValueError(f"each row must be errors [M] of one seed or more, got shapes {shapes}.")
    figure = Figure(figsize=(8.6, 1.7 + 0.55 * len(values)), dpi=120, layout="constrained")
    axes = figure.subplots()
    looks = zip(itertools.cycle(COLOURS), itertools.cycle(_MARKERS), strict=False)
    for place, (each, (colour, marker)) in enumerate(zip(values.values(), looks, strict=False)):
        # Seeds side by side, so that equal ones are told apart.
        offsets = np.linspace(-0.16, 0.16, each.size) if each.size > 1 else np.zeros(1)
        axes.plot(each, place + offsets, marker, color=colour, markersize=5, alpha=0.75)
        mean = each.mean()
        axes.vlines(mean, place - 0.3, place + 0.3, color=colour, linewidth=2.2)
        error = f" ± {each.std(ddof=1) / np.sqrt(each.size):.2g}" if each.size > 1 else ""
        text = f"{mean:.4g}{error} ({100 * mean / examples:.2f} %)"
        axes.annotate(
            text,
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
        if place == 0:
            axes.axvline(mean, color=colour, linewidth=1.0, linestyle="--", zorder=0)
    axes.set_yticks(range(len(values)), list(values), parse_math=False)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    several = max(each.size for each in values.values()) > 1
    each_seed = "; a dot for each seed, a bar at the mean (± standard error)" if several else ""
    axes.set_xlabel(f"errors on {examples:,} test examples{each_seed}")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    tidy(axes)
    return figure


def by_class(
    rows: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    path: PathLike,
    *,
    missing: Sequence[int] = (),
    title: str = "",
) -> pathlib.Path:
    """Saves the errors by class as a PNG; see ``draw_by_class``.

    Returns:
      The path.
    """
    return save(draw_by_class(rows, class_names, missing=missing, title=title), path)


def draw_by_class(
    rows: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    *,
    missing: Sequence[int] = (),
    title: str = "",
) -> Figure:
    """Draws the part of each class's examples that is taken for another, in %.

    Args:
      rows: what it is -> ``[M, K]`` in [0, 1], of M seeds; the point is their mean, its line from
        the lowest to the highest.
      class_names: K names.
      missing: indices of classes that students were not shown; they are shaded.
      title: above the figure.

    Raises:
      ValueError: for rows of other shapes, or none.
    """
    from matplotlib.figure import Figure

    values = {label: 100 * np.asarray(parts, np.float64) for label, parts in rows.items()}
    shapes = [each.shape for each in values.values()]
    if not values or any(
        len(shape) != 2 or not shape[0] or shape[1] != len(class_names) for shape in shapes
    ):
        raise ValueError(f"rows must be [M, {len(class_names)}], a column a class, got {shapes}.")
    figure = Figure(figsize=(max(7.0, 2 + 0.8 * len(class_names)), 4.6), dpi=120)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    for index in missing:
        axes.axvspan(index - 0.5, index + 0.5, color="#EEEEEE", zorder=0)
    places = np.arange(len(class_names))
    looks = zip(itertools.cycle(COLOURS), itertools.cycle(_MARKERS), strict=False)
    offsets = (np.arange(len(values)) - (len(values) - 1) / 2) * 0.7 / len(values)
    for (label, each), offset, (colour, marker) in zip(
        values.items(), offsets, looks, strict=False
    ):
        axes.vlines(places + offset, each.min(0), each.max(0), color=colour, linewidth=1.3)
        axes.plot(places + offset, each.mean(0), marker, color=colour, markersize=5.5, label=label)
    scales.errors(axes, label="errors (%), square-root scale")
    top = max(each.max() for each in values.values())
    axes.set_ylim(0, min(104, 1.15 * top + 1))
    axes.set_xticks(places, list(class_names), parse_math=False)
    axes.set_xlim(-0.5, len(class_names) - 0.5)
    axes.set_xlabel("class" + (" (shaded: not in the transfer set)" if len(missing) else ""))
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    tidy(axes)
    axes.grid(False, axis="x")
    axes.legend(fontsize=8.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure

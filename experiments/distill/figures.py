"""The figures of teachers and students: errors of each seed, and errors by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots, scales


def errors(rows: Mapping[str, ArrayLike], *, examples: int, title: str = "") -> Any:
    """Draws a row for each kind of network: a pale dot for each seed, and their mean.

    Args:
      rows: from top to bottom: kind -> how many test examples it gets wrong, ``[M]``. The first is
        the teacher, whose mean is a line through all rows.
      examples: how many test examples there are.
      title: above the figure.

    Returns:
      A matplotlib Figure.

    Raises:
      ValueError: if a row has no seed, or there is no row.

    Source: the numbers of Hinton et al., arXiv 1503.02531, 2015, section 3.
    """
    values = {label: np.asarray(counts, np.float64) for label, counts in rows.items()}
    if not values or any(each.ndim != 1 or not each.size for each in values.values()):
        shapes = [each.shape for each in values.values()]
        raise ValueError(f"each row must be errors [M] of one seed or more, got shapes {shapes}.")
    size = (8.6, 1.9 + 0.55 * len(values))
    figure, [[axes]] = drawing.figure(size=size, title=title)
    dots = []
    for label, each in values.items():
        mean, low, _ = drawing.over_seeds(each)
        error = f" ± {mean - low:.2g}" if each.size > 1 else ""
        note = f"{mean:.4g}{error} ({100 * mean / examples:.2f} %)"
        dots.append(plots.mean_dot(label, each, "standard error", note=note))
    teacher = next(iter(values.values())).mean()
    plots.dots(axes, dots, lines={"teacher": teacher})
    axes.set_xlim(left=0)
    scales.integers(axes, "x", 8)
    several = max(each.size for each in values.values()) > 1
    seeds = ";\na pale dot for each seed, their mean ± standard error" if several else ""
    drawing.set_labels(axes, x=f"errors on {examples:,} test examples{seeds}")
    return figure


def by_class(
    rows: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    *,
    missing: Sequence[int] = (),
    title: str = "",
) -> Any:
    """Draws the part of each class's examples that is taken for another, in %.

    Args:
      rows: label -> ``[M, K]`` in [0, 1], of M seeds; the point is their mean, its bar from the
        lowest to the highest.
      class_names: K names.
      missing: indices of classes that students were not shown; they are shaded.
      title: above the figure.

    Returns:
      A matplotlib Figure.

    Raises:
      ValueError: for rows of other shapes, or none.
    """
    values = {label: 100 * np.asarray(parts, np.float64) for label, parts in rows.items()}
    shapes = [each.shape for each in values.values()]
    if not values or any(
        len(shape) != 2 or not shape[0] or shape[1] != len(class_names) for shape in shapes
    ):
        raise ValueError(f"rows must be [M, {len(class_names)}], a column a class, got {shapes}.")
    size = (max(7.0, 2 + 0.8 * len(class_names)), 4.6)
    figure, [[axes]] = drawing.figure(size=size, title=title)
    for index in missing:
        axes.axvspan(index - 0.5, index + 0.5, color="#EEEEEE", zorder=0)
    classes = range(len(class_names))
    curves = {}
    for index, (label, each) in enumerate(values.items()):
        look = drawing.look(index)._replace(dashes="none")
        curves[label] = plots.mean_curve(each.T, classes, "range", look=look)
    plots.series(axes, curves, intervals="bars", spread=0.7 / len(values))
    scales.errors(axes, label="errors (%), square-root scale")
    axes.set_ylim(0, min(104, 1.15 * max(each.max() for each in values.values()) + 1))
    axes.set_xlim(-0.5, len(class_names) - 0.5)
    axes.grid(False, axis="x")
    scales.names(axes, class_names)
    shaded = " (shaded: not in the transfer set)" if len(missing) else ""
    drawing.set_labels(axes, x=f"class{shaded}")
    seeds = max(len(each) for each in values.values())
    bars = f"mean of {seeds} seeds, from the lowest to the highest" if seeds > 1 else ""
    drawing.legend(axes, "below", bars, columns=4)
    return figure

"""The figure of deepening: errors of grown networks and others against the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots, scales

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# {"train": error [E, M], "test": error [E, M]}, in [0, 1], for each epoch and seed
Errors = Mapping[str, ArrayLike]


def growth(
    methods: Mapping[str, Errors],
    *,
    grown_at: int,
    guessing: float | None = None,
    watched: int | None = None,
    title: str = "",
) -> Figure:
    """Draws training errors and test errors against the epoch, a panel each.

    Means over the seeds, in bands of one standard error.

    Args:
      methods: label -> its errors; those of a grown network begin with the shallow one's.
      grown_at: the epoch after which networks grow, a dotted line.
      guessing: the error of guessing, in [0, 1], a horizontal line.
      watched: of how many test images the test errors are, if not of all.
      title: above the figure.

    Raises:
      ValueError: if there is no method, or one without an epoch.
    """
    shapes = [np.shape(errors["test"]) for errors in methods.values()]
    if not shapes or not all(len(shape) == 2 and all(shape) for shape in shapes):
        raise ValueError(f"each method must have errors [E, M] to draw, got shapes {shapes}.")
    epochs, seeds = (int(most) for most in np.max(shapes, axis=0))
    figure, [grid] = drawing.figure(2, size=(11.2, 5.6), title=title, share_y=True)
    lines = {} if guessing is None else {"guessing": 100 * guessing}
    for axes, part, name in zip(grid, ("train", "test"), ("training", "test"), strict=True):
        curves = {}
        for index, (label, errors) in enumerate(methods.items()):
            look = drawing.look(index)
            curve = plots.mean_curve(errors[part], scale=100, look=look)
            curves[f"{label}: {curve.last()} at the end"] = curve
        plots.series(axes, curves, lines=lines)
        axes.axvline(grown_at + 0.5, color=drawing.GREY, linestyle="-.", label="networks grow")
        some = "" if watched is None or part == "train" else f" on {watched:,} images"
        drawing.set_labels(axes, title=f"{name} error{some}", x="epoch")
        scales.epochs(axes, 1, epochs)
    scales.errors(grid[0])
    grid[0].set_ylim(bottom=0)
    band = f"mean of {seeds} seeds ± standard error" if seeds > 1 else ""
    for axes in grid:
        drawing.legend(axes, "below", band, columns=1)
    return figure

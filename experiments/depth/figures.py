"""The errors of networks of several depths against the epoch, a panel for each kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots, scales

Curves = Mapping[str, ArrayLike]
"""``{"train": error [E, M], "test": error [E, M]}``, in [0, 1], for each epoch and seed."""


def errors(panels: Mapping[str, Mapping[str, Curves]], *, title: str = "") -> Any:
    """Draws training errors (thin, dashed) and test errors (bold) against the epoch.

    Means over the seeds, in bands of one standard error. All panels have the same axes.

    Args:
      panels: kind of network -> label of the network -> its curves.
      title: above the figure.

    Returns:
      A matplotlib Figure.

    Raises:
      ValueError: if a network has no epoch, or there is no network.

    Source: He et al., CVPR 2016, figures 1 and 6.
    """
    shapes = [np.shape(each["test"]) for networks in panels.values() for each in networks.values()]
    if not shapes or not all(shape[0] for shape in shapes):
        raise ValueError(f"each network must have an epoch to draw, got [E, M] of {shapes}.")
    epochs, seeds = np.max(shapes, axis=0)
    several = f", mean of {seeds} seeds ± standard error" if seeds > 1 else ""
    figure, [grid] = drawing.figure(
        len(panels), size=(5.0 * len(panels), 4.9), title=title, share_x=True, share_y=True
    )
    lowest = []
    for axes, (kind, networks) in zip(grid, panels.items(), strict=True):
        curves = {}
        for index, (label, parts) in enumerate(networks.items()):
            colour = drawing.look(index).colour
            for part, dashes, width in (("train", "--", 1.0), ("test", "-", 2.2)):
                look = drawing.Look(colour, dashes=dashes, marker="", width=width)
                curve = plots.mean_curve(parts[part], scale=100, look=look)
                shown = f"{label}, last {curve.last()}" if part == "test" else f"_{label}"
                curves[shown] = curve
                lowest.append(np.min(curve.mean))
        plots.series(axes, curves)
        drawing.set_labels(axes, title=kind, x="epoch")
        scales.epochs(axes, 1, epochs)
        scales.errors(axes, label="error (%), square-root scale" if axes is grid[0] else "")
        drawing.legend(axes, "below", f"bold: test, thin dashes: training{several}", columns=1)
    grid[0].set_ylim(bottom=max(0, min(lowest) - 20))
    return figure

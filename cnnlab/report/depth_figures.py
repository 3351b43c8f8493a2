"""The figure of networks of several depths: errors against the epoch, a panel for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots, scales

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# {"train": error [E, M], "test": error [E, M]}, in [0, 1], for each epoch and seed
Curves = Mapping[str, ArrayLike]


def errors(panels: Mapping[str, Mapping[str, Curves]], *, title: str = "") -> Figure:
    """Draws training errors (thin, dashed) and test errors (bold) against the epoch.

    Means over the seeds, in bands of one standard error. All panels have the same axes.

    Args:
      panels: title of the panel -> label of the network -> its curves.
      title: above the figure.

    Raises:
      ValueError: if a network has no epoch, or there is no network.

    Source: He et al., CVPR 2016, figures 1 and 6.
    """
    every = [curves for networks in panels.values() for curves in networks.values()]
    shapes = [np.shape(curves["test"]) for curves in every]
    if not shapes or not all(shape[0] for shape in shapes):
        raise ValueError(f"each network must have an epoch to draw, got [E, M] of {shapes}.")
    epochs, seeds = (int(most) for most in np.max(shapes, axis=0))
    size = (5.0 * len(panels), 4.9)
    figure, [grid] = drawing.figure(len(panels), size=size, title=title, share_x=True, share_y=True)
    for axes, (name, networks) in zip(grid, panels.items(), strict=True):
        for index, (label, curves) in enumerate(networks.items()):
            colour, marker, *_ = drawing.look(index)
            thin, bold = (
                plots.mean_curve(curves[part], scale=100, look=look)
                for part, look in (
                    ("train", drawing.Look(colour, marker, "--", 1.0)),
                    ("test", drawing.Look(colour, marker, "-", 2.2)),
                )
            )
            plots.series(axes, {f"_{label}": thin, f"{label}, last {bold.last()}": bold})
        drawing.set_labels(axes, title=name, x="epoch")
        scales.epochs(axes, 1, epochs)
    scales.errors(grid[0])
    lowest = min(np.min(curve) for curves in every for curve in curves.values())
    grid[0].set_ylim(bottom=max(0, 100 * lowest - 20))
    several = f",\nmean of {seeds} seeds ± standard error" if seeds > 1 else ""
    for axes in grid:
        drawing.legend(axes, "below", f"bold: test, thin dashes: training{several}", columns=1)
    return figure

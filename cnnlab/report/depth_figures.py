"""The figure of networks of several depths: their errors against the epoch, a panel for each kind.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, dashes that differ too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import scales
from cnnlab.report.drawing import COLOURS, PathLike, over_seeds, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# {"train": error [E, M], "test": error [E, M]}, in [0, 1], for each epoch and seed
Curves = Mapping[str, ArrayLike]


def errors(
    panels: Mapping[str, Mapping[str, Curves]], path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves the errors of networks as a PNG; see ``draw_errors``.

    Returns:
      The path.
    """
    return save(draw_errors(panels, title=title), path)


def draw_errors(panels: Mapping[str, Mapping[str, Curves]], *, title: str = "") -> Figure:
    """Draws training errors (thin, dashed) and test errors (bold) against the epoch.

    Means over the seeds, in bands of one standard error. All panels have the same axes.

    Args:
      panels: what the panel shows -> label of the network -> its curves.
      title: above the figure.

    Raises:
      ValueError: if a network has no epoch, or there is no network.

    Source: He et al., CVPR 2016, figures 1 and 6.
    """
    from matplotlib.figure import Figure

    shapes = [np.shape(found["test"]) for lines in panels.values() for found in lines.values()]
    if not shapes or not all(shape[0] for shape in shapes):
        raise ValueError(f"each network must have an epoch to draw, got [E, M] of {shapes}.")
    epochs, seeds = np.max(shapes, axis=0)
    figure = Figure(figsize=(5.0 * len(panels), 4.9), dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, lines) in zip(grid, panels.items(), strict=True):
        for (label, found), colour in zip(lines.items(), itertools.cycle(COLOURS), strict=False):
            _network(axes, label, found, colour)
        axes.set_title(name, fontsize=11, parse_math=False)
        axes.set_xlabel("epoch")
        axes.tick_params(labelleft=True)
        scales.epochs(axes, 1, epochs)
        tidy(axes)
        several = f", mean of {seeds} seeds ± standard error" if seeds > 1 else ""
        axes.legend(
            fontsize=8.5,
            title=f"bold: test, thin dashes: training{several}",
            title_fontsize=8.5,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),  # under the panel: curves go everywhere in it
            frameon=False,
            alignment="left",
        )
    scales.errors(grid[0])
    lowest = min(np.min(c) for lines in panels.values() for f in lines.values() for c in f.values())
    grid[0].set_ylim(bottom=max(0, 100 * lowest - 20))
    return figure


def _network(axes: Axes, label: str, found: Curves, colour: str) -> None:
    last = ""
    for part, dashes, width, alpha in (("train", "--", 1.0, 0.12), ("test", "-", 2.2, 0.22)):
        values = 100 * np.asarray(found[part], np.float64)
        mean, low, high = over_seeds(values, "standard error")
        epochs = np.arange(1, len(values) + 1)
        if part == "test":
            error = f" ± {(high - mean)[-1]:.2g}" if values.shape[1] > 1 else ""
            last = f", last {mean[-1]:.2f}{error} %"
        axes.plot(
            epochs,
            mean,
            dashes,
            color=colour,
            linewidth=width,
            label=label + last if part == "test" else None,
        )
        axes.fill_between(epochs, low, high, color=colour, alpha=alpha, linewidth=0)

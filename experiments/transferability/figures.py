"""The figure of transferability: accuracy against the number of stages that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots

from .config import TREATMENTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Accuracies = Mapping[str, ArrayLike]

_SPREAD = 0.09  # of a stage, between treatments


def transferability(
    cuts: Mapping[str, Accuracies], stages: Mapping[int, str], *, title: str = ""
) -> Figure:
    """Draws test accuracy against how many stages are kept: a column for each cut.

    Above, means with a dot for each repetition. Below, what the accuracy differs by from the base
    network of the same repetition: the mean and its 95 % interval, in which what repetitions have
    in common, such as hard classes, does not count.

    Args:
      cuts: title of the column -> accuracies in [0, 1] of R repetitions: "base" ``[R]``, and of
        each treatment ``[P, R]``.
      stages: P depths, rising -> the last stage that is kept, for the ticks.
      title: above the figure.

    Raises:
      ValueError: without a cut or a treatment, or where repetitions do not agree.

    Source: Yosinski et al., NIPS 2014, figure 2.
    """
    _check(cuts, len(stages))
    size = (max(5.2 * len(cuts), 6.2), 7.6)
    figure, grid = drawing.figure(len(cuts), 2, size=size, title=title, share_x=True, share_y="row")
    for (name, accuracies), above, below in zip(cuts.items(), *grid, strict=True):
        _column(accuracies, list(stages), above, below)
        below.set_xticks(list(stages), [f"{n}\n{stage}" for n, stage in stages.items()])
        drawing.set_labels(above, title=name)
        drawing.set_labels(below, x="n, stages kept (up to and with)")
    drawing.set_labels(grid[0, 0], y="test accuracy (%)")
    drawing.set_labels(grid[1, 0], y="difference from the base (points)")
    repetitions = max(np.size(accuracies["base"]) for accuracies in cuts.values())
    note = "one repetition"
    if repetitions > 1:
        note = f"above: a dot is one of {repetitions} repetitions; below: 95 % intervals over them"
    drawing.figure_legend(figure, note, columns=2)
    return figure


def _check(cuts: Mapping[str, Accuracies], depths: int) -> None:
    if not cuts or not all(TREATMENTS.keys() & accuracies for accuracies in cuts.values()):
        raise ValueError("there must be a cut to draw, and a treatment in each.")
    for cut, accuracies in cuts.items():
        wanted = (depths, np.size(accuracies["base"]))
        for name in TREATMENTS.keys() & accuracies:
            if np.shape(accuracies[name]) != wanted or not all(wanted):
                raise ValueError(
                    f"accuracy of {name} in {cut} must be [P, R] for P depths and R repetitions, "
                    f"here {list(wanted)}, got shape {np.shape(accuracies[name])}."
                )


def _column(accuracies: Accuracies, depths: Sequence[int], above: Axes, below: Axes) -> None:
    base = 100 * np.asarray(accuracies["base"], np.float64)
    above.axhline(base.mean(), color="#000000", linewidth=1.2, label="base network")
    below.axhline(0, color="#000000", linewidth=1.2)
    means, differences = {}, {}
    for index, (name, label) in enumerate(TREATMENTS.items()):
        if name in accuracies:
            values = 100 * np.asarray(accuracies[name], np.float64)
            look, seeds = drawing.look(index), values if base.size > 1 else None
            means[label] = plots.Curve(depths, values.mean(1), seeds=seeds, look=look)
            differences[label] = plots.mean_curve(values - base, depths, "95 % interval", look=look)
    plots.series(above, means, spread=_SPREAD)
    plots.series(below, differences, intervals="bars", spread=_SPREAD)

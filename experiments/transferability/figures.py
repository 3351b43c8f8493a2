"""The figure of transferability: accuracy against the number of stages that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPREAD = 0.09  # of a stage, between treatments


class Treatment(NamedTuple):
    """Networks that keep some stages of another one.

    Attributes:
      depths: int ``[P]``, how many stages are kept.
      accuracy: float ``[P, R]`` in [0, 1], of R repetitions.
    """

    depths: ArrayLike
    accuracy: ArrayLike


class Panel(NamedTuple):
    """A column of the figure.

    Attributes:
      base: float ``[R]`` in [0, 1], the networks that they are compared with.
      treatments: label -> its networks, of the same repetitions.
    """

    base: ArrayLike
    treatments: Mapping[str, Treatment]


def transferability(
    panels: Mapping[str, Panel], stages: Mapping[int, str], *, title: str = ""
) -> Figure:
    """Draws test accuracy against how many stages are kept: a column for each panel.

    Above, means with a dot for each repetition. Below, what the accuracy differs by from the base
    network of the same repetition: the mean and its 95 % interval, in which what repetitions have
    in common, such as hard classes, does not count.

    Args:
      panels: title of the column -> its networks.
      stages: depth -> the last stage that is kept, for the ticks.
      title: above the figure.

    Raises:
      ValueError: without a panel or a treatment, or where repetitions do not agree.

    Source: Yosinski et al., NIPS 2014, figure 2.
    """
    _check(panels)
    count = len(panels)
    size = (max(5.2 * count, 6.2), 7.6)
    figure, grid = drawing.figure(count, 2, size=size, title=title, share_x=True, share_y="row")
    for (name, panel), above, below in zip(panels.items(), *grid, strict=True):
        _column(panel, above, below)
        depths = sorted({int(n) for t in panel.treatments.values() for n in np.ravel(t.depths)})
        below.set_xticks(depths, [f"{n}\n{stages[n]}" for n in depths])
        drawing.set_labels(above, title=name)
        drawing.set_labels(below, x="n, stages kept (up to and with)")
    drawing.set_labels(grid[0, 0], y="test accuracy (%)")
    drawing.set_labels(grid[1, 0], y="difference from the base (points)")
    repetitions = max(np.size(panel.base) for panel in panels.values())
    note = "one repetition"
    if repetitions > 1:
        note = f"above: a dot is one of {repetitions} repetitions; below: 95 % intervals over them"
    drawing.figure_legend(figure, note, columns=2)
    return figure


def _check(panels: Mapping[str, Panel]) -> None:
    if not panels or not all(panel.treatments for panel in panels.values()):
        raise ValueError("there must be a panel to draw, and a treatment in each.")
    for name, panel in panels.items():
        repetitions = np.size(panel.base)
        for label, treatment in panel.treatments.items():
            wanted = (np.size(treatment.depths), repetitions)
            if np.shape(treatment.accuracy) != wanted or not all(wanted):
                raise ValueError(
                    f"accuracy of {label} in {name} must be [P, R] for P depths and R repetitions, "
                    f"here {list(wanted)}, got shape {np.shape(treatment.accuracy)}."
                )


def _column(panel: Panel, above: Axes, below: Axes) -> None:
    base = 100 * np.asarray(panel.base, np.float64)
    above.axhline(base.mean(), color="#000000", linewidth=1.2, label="base network")
    below.axhline(0, color="#000000", linewidth=1.2)
    accuracies, differences = {}, {}
    for index, (label, treatment) in enumerate(panel.treatments.items()):
        order = np.argsort(np.ravel(treatment.depths))
        depths = np.ravel(treatment.depths)[order]
        values = 100 * np.asarray(treatment.accuracy, np.float64)[order]
        look = drawing.look(index, black=False)
        seeds = values if base.size > 1 else None
        accuracies[label] = plots.Curve(depths, values.mean(1), seeds=seeds, look=look)
        differences[label] = plots.mean_curve(values - base, depths, "95 % interval", look=look)
    plots.series(above, accuracies, spread=_SPREAD)
    plots.series(below, differences, intervals="bars", spread=_SPREAD)

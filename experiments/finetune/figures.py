"""The figure of fine-tuning: test accuracy of each recipe, and linear classifiers on each stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots, scales

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def recipes(
    accuracy: Mapping[str, ArrayLike | None],
    *,
    chance: float,
    probes: Mapping[str, Mapping[str, float]] | None = None,
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draws the test accuracy of each recipe: every seed, the mean and its 95 % interval.

    Args:
      accuracy: recipe -> accuracies ``[M]`` in [0, 1], one for each seed; drawn from top to bottom.
        None, of one that diverged, has a row without dots.
      chance: the accuracy of guessing, a dotted line.
      probes: whose network -> stage -> accuracy of a linear classifier: a second panel.
      notes: recipe -> a few words under its name.
      title: above the figure.

    Raises:
      ValueError: if there is no recipe, or accuracies without a seed.
    """
    values = {n: np.asarray(each, np.float64) for n, each in accuracy.items() if each is not None}
    if not accuracy or any(each.ndim != 1 or not each.size for each in values.values()):
        shapes = {name: each.shape for name, each in values.items()}
        raise ValueError(f"accuracies must be [M] of one or more recipes, got {shapes or 'none'}.")
    height = 1.6 + 0.62 * max(len(accuracy), 4)
    if probes is None:
        figure, [[axes]] = drawing.figure(size=(8.4, height), title=title)
    else:
        size = (12.6, height)
        figure, [[axes, right]] = drawing.figure(2, size=size, title=title, widths=(3, 2))
        _probes(right, probes)
    rows = []
    for name in accuracy:
        label = "\n".join(filter(None, [name, (notes or {}).get(name)]))
        if name in values:
            rows.append(plots.mean_dot(label, values[name], scale=100, text="{:.1f}"))
        else:
            rows.append(plots.Dot(label, None))
    plots.dots(axes, rows, lines={"guessing": 100 * chance})
    axes.set_xlim(right=min(axes.get_xlim()[1], 101))
    seeds = max((each.size for each in values.values()), default=0)
    several = f": {seeds} seeds, mean and its 95 % interval" if seeds > 1 else ""
    drawing.set_labels(axes, x=f"test accuracy (%){several}")
    return figure


def _probes(axes: Axes, probes: Mapping[str, Mapping[str, float]]) -> None:
    stages = list(next(iter(probes.values())))
    looks = (drawing.Look("#000000", "o", "-"), drawing.Look(drawing.GREY, "s", "--"))
    curves = {
        name: plots.Curve(range(len(stages)), [100 * each[stage] for stage in stages], look=look)
        for (name, each), look in zip(probes.items(), looks, strict=False)
    }
    plots.series(axes, curves)
    axes.set_xlim(-0.4, len(stages) - 0.6)
    scales.names(axes, stages)
    y = "a linear classifier on each stage,\ncross-validated accuracy (%)"
    drawing.set_labels(axes, x="stage", y=y)
    drawing.legend(axes, "below")

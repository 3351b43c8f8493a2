"""The figure of pretraining without labels: accuracy against labels a class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots, scales

Curve = Mapping[str, ArrayLike]
"""``{"labels": images a class [P], "accuracy": [P, M] in [0, 1]}``, of M seeds."""

_SPREAD = 0.08  # of the labels, between methods


def accuracy(methods: Mapping[str, Curve], *, baseline: str | None = None, title: str = "") -> Any:
    """Draws test accuracy against labels a class, and how it differs from the baseline's.

    Means over the seeds with 95 % intervals (Student's t). Those of the differences are of pairs
    with the same seed, and so the same labelled images: they tell what the others cannot.

    Args:
      methods: label -> its curve; all with the same seeds.
      baseline: the label of the method that the others are compared with; None for no such panel.
      title: above the figure.

    Returns:
      A matplotlib Figure.

    Raises:
      ValueError: if an accuracy is not [P, M] for its labels.

    Source: Erhan et al., JMLR 2010, of the question.
    """
    for label, each in methods.items():
        shape, count = np.shape(each["accuracy"]), np.size(each["labels"])
        if len(shape) != 2 or not all(shape) or shape[0] != count:
            raise ValueError(
                f"accuracy of {label} must be [P, M] for {count} numbers of labels, got {shape}."
            )
    values = {
        label: 100 * np.asarray(each["accuracy"], np.float64) for label, each in methods.items()
    }
    curves, gains = {}, {}
    for index, (label, each) in enumerate(methods.items()):
        labels, look = each["labels"], drawing.look(index, black=False)
        curves[label] = plots.mean_curve(values[label], labels, "95 % interval", look=look)
        if baseline not in (None, label):
            gain = values[label] - values[baseline]
            gains[label] = plots.mean_curve(gain, labels, "95 % interval", look=look)
    panels = 1 if baseline is None else 2
    figure, [grid] = drawing.figure(panels, size=(5.6 * panels, 5.4), title=title)
    counts = [int(n) for each in methods.values() for n in np.ravel(each["labels"])]
    for axes, drawn in zip(grid, (curves, gains), strict=False):
        scales.log_counts(axes, counts)
        plots.series(axes, drawn, intervals="bars", spread=_SPREAD)
        drawing.set_labels(axes, x="labelled images a class (log scale)")
    drawing.set_labels(grid[0], y="test accuracy (%)")
    if baseline is not None:
        grid[1].axhline(0, color="#000000", linewidth=1.0)
        drawing.set_labels(grid[1], y=f"points above {baseline}, same seeds")
    seeds = max(each.shape[1] for each in values.values())
    note = f"mean of {seeds} seeds, 95 % intervals" if seeds > 1 else "one seed"
    drawing.figure_legend(figure, note, columns=2)
    return figure

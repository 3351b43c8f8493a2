"""The figure of small and sparse networks: accuracy against the parameters they have."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots, scales

Networks = Mapping[str, ArrayLike]
"""``{"parameters": [P], "accuracy": [P, M] in [0, 1]}``: P networks, M seeds of each."""


def redundancy(
    methods: Mapping[str, Networks],
    dense: Networks,
    *,
    margin: float | None = None,
    title: str = "",
) -> Any:
    """Draws test accuracy against the parameters that are left, which fall to the right.

    Means over the seeds, with bars of one standard error; a band for the dense network. The
    accuracy is on a scale of the root of the error, so that 1 % can be read off beside 50 %.

    Args:
      methods: label -> networks, in any order.
      dense: the one network that they are compared with.
      margin: accuracy in [0, 1] that may be lost: a dotted line so far under the dense network.
      title: above the figure.

    Returns:
      A matplotlib Figure.

    Raises:
      ValueError: if a method has no network, a network no seed, or dense is not one network.

    Source: Frankle and Carbin, ICLR 2019, figure 3.
    """
    counts = [(label, each, np.size(each["parameters"])) for label, each in methods.items()]
    for label, each, wanted in [("the dense network", dense, 1), *counts]:
        shape = np.shape(each["accuracy"])
        if len(shape) != 2 or not all(shape) or shape[0] != wanted:
            raise ValueError(
                f"accuracy of {label} must be [P, M] for {wanted} networks, got shape {shape}."
            )
    figure, [[axes]] = drawing.figure(size=(8.6, 6.0), title=title)
    accuracy = np.asarray(dense["accuracy"], np.float64)
    mean, low, high = (100 * each[0] for each in drawing.over_seeds(accuracy))
    count = int(np.ravel(dense["parameters"])[0])
    axes.axhspan(low, high, color="#000000", alpha=0.13, linewidth=0)
    axes.axhline(mean, color="#000000", linewidth=1.2, label=f"dense, {count:,} parameters")
    lines = {}
    if margin is not None:
        lines[f"{100 * margin:g} points under it"] = mean - 100 * margin
    curves, parameters = {}, [count]
    for index, (label, each) in enumerate(methods.items()):
        order = np.argsort(np.ravel(each["parameters"]))[::-1]
        left = np.ravel(each["parameters"])[order]
        values = np.asarray(each["accuracy"], np.float64)[order]
        look = drawing.look(index, black=False)
        curves[label] = plots.mean_curve(values, left, scale=100, look=look)
        parameters += left.tolist()
    plots.series(axes, curves, intervals="bars", lines=lines)
    axes.set_xlim(1.25 * max(parameters), min(parameters) / 1.25)
    scales.log(axes, np.asarray(parameters), "x")
    scales.accuracies(axes, lines=16)
    drawing.set_labels(axes, x="parameters left (log scale)")
    seeds = accuracy.shape[1]
    drawing.legend(axes, "below", f"mean of {seeds} seeds ± standard error" if seeds > 1 else "")
    return figure

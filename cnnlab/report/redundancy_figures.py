"""The figure of small and sparse networks: what they get right against the parameters they have.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, dashes and markers that differ too.
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

# {"parameters": [P], "accuracy": [P, M] in [0, 1]}: P networks, M seeds of each
Networks = Mapping[str, ArrayLike]


def redundancy(
    methods: Mapping[str, Networks],
    dense: Networks,
    path: PathLike,
    *,
    margin: float | None = None,
    title: str = "",
) -> pathlib.Path:
    """Saves accuracy against parameters as a PNG; see ``draw_redundancy``.

    Returns:
      The path.
    """
    return save(draw_redundancy(methods, dense, margin=margin, title=title), path)


def draw_redundancy(
    methods: Mapping[str, Networks],
    dense: Networks,
    *,
    margin: float | None = None,
    title: str = "",
) -> Figure:
    """Draws test accuracy against the parameters that are left, which fall to the right.

    Means over the seeds, with bars of one standard error; a band for the dense network. The
    accuracy is on a scale of the root of the error, so that 1 % can be read off beside 50 %.

    Args:
      methods: label -> networks, in any order.
      dense: the one network that they are compared with.
      margin: accuracy in [0, 1] that may be lost: a dotted line so far under the dense network.
      title: above the figure.

    Raises:
      ValueError: if a method has no network, a network no seed, or dense is not one network.

    Source: Frankle and Carbin, ICLR 2019, figure 3.
    """
    from matplotlib.figure import Figure

    checked = [(label, found, np.size(found["parameters"])) for label, found in methods.items()]
    for label, found, wanted in [("the dense network", dense, 1), *checked]:
        shape = np.shape(found["accuracy"])
        if len(shape) != 2 or not all(shape) or shape[0] != wanted:
            raise ValueError(
                f"accuracy of {label} must be [P, M] for {wanted} networks, got shape {shape}."
            )
    figure = Figure(figsize=(8.6, 6.0), dpi=120, layout="constrained")
    axes = figure.subplots()
    mean, low, high = (100 * each[0] for each in over_seeds(_accuracy(dense), "standard error"))
    count = int(np.ravel(dense["parameters"])[0])
    axes.axhspan(low, high, color="#000000", alpha=0.13, linewidth=0)
    axes.axhline(mean, color="#000000", linewidth=1.2, label=f"dense, {count:,} parameters")
    if margin is not None:
        within = f"{100 * margin:g} points under it"
        axes.axhline(mean - 100 * margin, color="#000000", ls=":", lw=1.0, label=within)
    styles = zip(itertools.cycle(COLOURS), itertools.cycle("osD^vPX"), strict=False)
    dashes = itertools.cycle(("-", "-", "--", "-.", "-"))
    for (label, found), (colour, marker), dash in zip(
        methods.items(), styles, dashes, strict=False
    ):
        _method(axes, label, found, colour, marker, dash)
    _scales(
        axes, [count, *(n for found in methods.values() for n in np.ravel(found["parameters"]))]
    )
    seeds = np.shape(dense["accuracy"])[1]
    several = f"mean of {seeds} seeds ± standard error" if seeds > 1 else ""
    axes.legend(
        fontsize=9,
        title=several,
        title_fontsize=9,
        ncols=2,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),  # under the axes: curves go everywhere in them
        frameon=False,
        alignment="left",
    )
    if title:
        axes.set_title(title, fontsize=12, parse_math=False)
    tidy(axes)
    return figure


def _accuracy(found: Networks) -> np.ndarray:
    return np.asarray(found["accuracy"], np.float64)


def _method(axes: Axes, label: str, found: Networks, colour: str, marker: str, dashes: str) -> None:
    order = np.argsort(np.ravel(found["parameters"]))[::-1]
    parameters = np.ravel(found["parameters"])[order]
    mean, _, high = (100 * each for each in over_seeds(_accuracy(found), "standard error"))
    axes.errorbar(
        parameters,
        mean[order],
        yerr=(high - mean)[order],
        fmt=dashes,
        marker=marker,
        markersize=5,
        color=colour,
        linewidth=1.6,
        elinewidth=1.1,
        capsize=2.5,
        label=label,
    )


def _scales(axes: Axes, parameters: list[int]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(1.25 * max(parameters), min(parameters) / 1.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("parameters left (log scale)")
    scales.accuracies(axes, lines=16)

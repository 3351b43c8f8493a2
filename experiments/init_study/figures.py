"""The figures of initialisations: histograms and deviations by layer, and curves of training."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.diagnose import LayerStatistics, Values
from cnnlab.report import drawing, plots, scales

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_COLUMNS = 11


def inputs(statistics: Mapping[str, Sequence[Sequence[LayerStatistics]]], name: str) -> Figure:
    """Draws histograms of what each layer reads, of the first seed; see ``histograms``.

    Args:
      statistics: label -> for each seed the statistics of every layer, with labels, on the host.
      name: of the network and its data, for the title.
    """
    return histograms(
        {label: [layer.reads for layer in seeds[0]] for label, seeds in statistics.items()},
        _layers(statistics),
        title=f"{name}: what each layer reads, mean ± standard deviation (first seed)",
    )


def deviations(statistics: Mapping[str, Sequence[Sequence[LayerStatistics]]], name: str) -> Figure:
    """Draws deviations of inputs and gradients from layer to layer; see ``by_layer``.

    Args:
      statistics: label -> for each seed the statistics of every layer, with labels, on the host.
      name: of the network and its data, for the title.
    """

    def panel(get: Callable[[LayerStatistics], Any]) -> dict[str, np.ndarray]:
        return {
            label: np.array([[float(get(layer)) for layer in seed] for seed in seeds])
            for label, seeds in statistics.items()
        }

    return by_layer(
        {
            "forward: std of what the layer reads": panel(lambda layer: layer.reads.std),
            "backward: rms gradient at its output": panel(lambda layer: layer.gradient_std),
            "gradient norm / kernel norm": panel(lambda layer: layer.gradient_to_weight),
        },
        _layers(statistics),
        title=name,
    )


def _layers(statistics: Mapping[str, Sequence[Sequence[LayerStatistics]]]) -> list[str]:
    return [layer.name for layer in next(iter(statistics.values()))[0]]


def histograms(
    rows: Mapping[str, Sequence[Values]], columns: Sequence[str], *, title: str = ""
) -> Figure:
    """Draws a grid of histograms: a row for each initialisation, a column for each layer.

    Each has its own axes; the mean and standard deviation stand above it. A bar of more than twice
    the height of all others is cut off, and zeros are counted in per cent. Of more than 11 columns
    11 are drawn, evenly spaced.

    Args:
      rows: label -> the values of each layer, of one network: every leaf without a leading axis.
      columns: names of the columns.
      title: above the figure.

    Raises:
      ValueError: if a row has not a value for each column.
    """
    for label, values in rows.items():
        if len(values) != len(columns):
            raise ValueError(
                f"the row {label!r} must have a value for each of {len(columns)} columns, got "
                f"{len(values)}."
            )
    shown = scales.spread(len(columns), _MOST_COLUMNS)
    size = (1.55 * len(shown) + 0.8, 1.45 * len(rows) + 0.7)
    figure, grid = drawing.figure(len(shown), len(rows), size=size, title=title)
    for line, (label, values) in zip(grid, rows.items(), strict=True):
        for axes, column in zip(line, shown, strict=True):
            _histogram(axes, values[column])
        line[0].set_ylabel(label.replace(":", "\n"), fontsize=9, parse_math=False)
    for axes, column in zip(grid[0], shown, strict=True):
        axes.set_title(f"{_short(columns[column])}\n{axes.get_title()}", fontsize=7.5)
    return figure


def _histogram(axes: Axes, value: Values) -> None:
    edges, counts = np.asarray(value.edges, np.float64), np.asarray(value.counts)
    axes.stairs(counts, edges, fill=True, color=drawing.COLOURS[0])
    axes.set_ylim(0, _height(counts))
    if float(value.zeros) > 0.01:
        text = f"{100 * float(value.zeros):.0f} % zero"
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "va": "top"}
        axes.text(0.96, 0.94, text, fontsize=7, color=drawing.COLOURS[1], **place)
    axes.set_title(f"{_number(value.mean)} ± {_number(value.std)}", fontsize=7.5)
    axes.set_yticks([])
    axes.set_xticks([edges[0], edges[-1]], [_number(edges[0]), _number(edges[-1])])
    axes.tick_params(labelsize=6.5)
    axes.margins(x=0.02)


def by_layer(
    panels: Mapping[str, Mapping[str, np.ndarray]], columns: Sequence[str], *, title: str = ""
) -> Figure:
    """Draws how deviations change from layer to layer, on a logarithmic scale.

    Args:
      panels: title of a panel -> label -> ``[S, L]``, one row for each seed, one column for each
        layer. The line is the geometric mean over the seeds, the band reaches from the smallest
        to the largest. Zeros leave gaps.
      columns: the L layers.
      title: above the figure.
    """
    size = (5.4 * len(panels) + 1.8, 4.4)
    figure, [grid] = drawing.figure(len(panels), size=size, title=title)
    places = np.arange(len(columns))
    for axes, (name, lines) in zip(grid, panels.items(), strict=True):
        curves = {}
        for label, values in lines.items():
            positive = np.where(np.asarray(values) > 0, values, np.nan)
            mean = np.exp(np.log(positive).mean(0))
            curves[label] = plots.Curve(places, mean, positive.min(0), positive.max(0))
        plots.series(axes, curves)
        axes.set_yscale("log")
        scales.names(axes, [_short(column) for column in columns], most=12)
        drawing.set_labels(axes, title=name)
    seeds = len(next(iter(next(iter(panels.values())).values())))
    note = f"{seeds} seeds: geometric mean,\nsmallest to largest" if seeds > 1 else ""
    drawing.legend(grid[-1], "right", note)
    return figure


def learning(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draws the training of each initialisation: mean over the seeds, band of one standard error.

    Args:
      panels: what is shown -> label -> ``[E, S]``, for each epoch from the first a value for each
        seed; empty where there was none. A panel whose name has "loss" in it is logarithmic.
      notes: label -> remark in the legend, such as "diverged at step 12".
      title: above the figure.
    """
    size = (5.0 * len(panels) + 2.2, 4.2)
    figure, [grid] = drawing.figure(len(panels), size=size, title=title)
    seeds, epochs = 1, 1
    for axes, (name, lines) in zip(grid, panels.items(), strict=True):
        curves = {}
        for label, curve in lines.items():
            values = np.asarray(curve, np.float64)
            values = values.reshape(len(values), -1 if values.size else 1)
            note = f", {notes[label]}" if notes and label in notes else ""
            curves[label + note] = plots.mean_curve(values) if len(values) else plots.Curve([], [])
            seeds, epochs = max(seeds, values.shape[1]), max(epochs, len(values))
        plots.series(axes, curves)
        if "loss" not in name:
            axes.set_ylim(-0.02, 1.02)
        elif any(np.any(np.asarray(each.mean) > 0) for each in curves.values()):
            axes.set_yscale("log")
        drawing.set_labels(axes, title=name, x="epoch")
        scales.epochs(axes, 1, epochs)
    drawing.legend(
        grid[-1], "right", f"mean of {seeds} seeds ± standard error" if seeds > 1 else ""
    )
    return figure


def _height(counts: np.ndarray) -> float:
    """Of a histogram: a spike, such as ReLU's zeros, is cut off so that the rest can be seen."""
    tallest, next_one = [*np.sort(counts)[::-1], 0][:2]
    return max(1.1 * (min(tallest, 2 * next_one) if next_one else tallest), 1e-9)


def _short(name: str) -> str:
    for inner in ("/dense", "/conv", "/classifier"):
        name = name.removesuffix(inner)
    return re.sub(r"stage(\d+)/block(\d+)/", r"\1.\2 ", name)


def _number(value: Any) -> str:
    return f"{float(value):.2g}"

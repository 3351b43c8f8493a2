"""Figures of initialisations: histograms and deviations by layer, and how each one learns.

Each function returns a matplotlib Figure, which ``drawing.save`` saves.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.diagnose import LayerStatistics, Values
from cnnlab.report import drawing, plots, scales

_MOST_COLUMNS = 11


def file_name(setting: str) -> str:
    """The name of a setting as part of a file's name."""
    return "".join(c if c.isalnum() else "-" for c in setting)


def histograms(
    rows: Mapping[str, Sequence[Values]], columns: Sequence[str], *, title: str = ""
) -> Any:
    """Draws a grid of histograms: a row for each initialisation, a column for each layer.

    Each has its own axes; the mean and standard deviation stand above it. A bar of more than twice
    the height of all others is cut off, and zeros are given in per cent. Of more than 11 columns 11
    are drawn, evenly spaced.

    Args:
      rows: label -> the values of each layer, of one network: every leaf without a leading axis.
      columns: the layers.
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
    shown = _spread(len(columns), _MOST_COLUMNS)
    size = (1.55 * len(shown) + 0.8, 1.45 * len(rows) + 0.7)
    figure, grid = drawing.figure(len(shown), len(rows), size=size, title=title)
    for i, (label, values) in enumerate(rows.items()):
        for j, column in enumerate(shown):
            head = f"{_short(columns[column])}\n" if i == 0 else ""
            _histogram(grid[i, j], values[column], head)
        grid[i, 0].set_ylabel(label.replace(":", "\n"), fontsize=9)
    return figure


def by_layer(
    panels: Mapping[str, Mapping[str, np.ndarray]], columns: Sequence[str], *, title: str = ""
) -> Any:
    """Draws deviations from layer to layer, on a logarithmic scale.

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
        axes.set_yscale("log")
        curves = {}
        for label, values in lines.items():
            positive = np.where(np.asarray(values) > 0, values, np.nan)
            mean = np.exp(np.log(positive).mean(0))
            curves[label] = plots.Curve(places, mean, positive.min(0), positive.max(0))
        plots.series(axes, curves)
        drawing.set_labels(axes, title=name)
        ticks = _spread(len(columns), 12)
        names = [_short(columns[i]) for i in ticks]
        axes.set_xticks(ticks, names, rotation=45, ha="right", fontsize=8)
    seeds = len(next(iter(next(iter(panels.values())).values())))
    drawing.legend(grid[-1], "right", f"{seeds} seeds: geometric mean,\nsmallest to largest")
    return figure


def layer_panels(
    runs: Mapping[str, Sequence[Sequence[LayerStatistics]]],
) -> dict[str, dict[str, np.ndarray]]:
    """The panels of ``by_layer``.

    Args:
      runs: label -> for each seed the statistics of every layer, with labels, on the host.
    """

    def panel(get: Callable[[LayerStatistics], Any]) -> dict[str, np.ndarray]:
        return {
            label: np.array([[float(get(layer)) for layer in seed] for seed in seeds])
            for label, seeds in runs.items()
        }

    return {
        "forward: std of the layer's input": panel(lambda layer: layer.reads.std),
        "backward: rms gradient at its output": panel(lambda layer: layer.gradient_std),
        "gradient norm / kernel norm": panel(lambda layer: layer.gradient_to_weight),
    }


def learning(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    *,
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> Any:
    """Draws how each initialisation learns: mean over the seeds, band of one standard error.

    Args:
      panels: name of a panel -> label -> ``[E][S]``, for each epoch from the first a value for each
        seed; empty where there was none. A panel whose name has "loss" in it is logarithmic.
      notes: label -> a remark in the legend, such as "diverged at step 12".
      title: above the figure.
    """
    figure, [grid] = drawing.figure(len(panels), size=(5.0 * len(panels) + 2.2, 4.2), title=title)
    seeds = longest = 1
    for axes, (name, lines) in zip(grid, panels.items(), strict=True):
        curves = {}
        for label, rows in lines.items():
            values = np.asarray(rows, np.float64).reshape(len(rows), -1 if len(rows) else 1)
            seeds, longest = max(seeds, values.shape[1]), max(longest, len(values))
            note = f", {notes[label]}" if notes and label in notes else ""
            curves[label + note] = plots.mean_curve(values)
        plots.series(axes, curves)
        drawing.set_labels(axes, title=name, x="epoch")
        if "loss" in name:
            means = [np.asarray(curve.mean) for curve in curves.values()]
            if any(np.any(mean > 0) for mean in means):
                axes.set_yscale("log")
        else:
            axes.set_ylim(-0.02, 1.02)
        scales.epochs(axes, 1, longest)
    drawing.legend(grid[-1], "right", f"mean of {seeds} seeds, ± standard error")
    return figure


def _histogram(axes: Any, value: Values, head: str) -> None:
    edges, counts = np.asarray(value.edges, np.float64), np.asarray(value.counts)
    axes.stairs(counts, edges, fill=True, color=drawing.COLOURS[0])
    axes.set_ylim(0, _height(counts))
    if float(value.zeros) > 0.01:
        text = f"{100 * float(value.zeros):.0f} % zero"
        place = {"transform": axes.transAxes, "ha": "right", "va": "top"}
        axes.text(0.96, 0.94, text, fontsize=7, color=drawing.COLOURS[1], **place)
    axes.set_title(f"{head}{_number(value.mean)} ± {_number(value.std)}", fontsize=7.5)
    axes.set_yticks([])
    axes.set_xticks([edges[0], edges[-1]], [_number(edges[0]), _number(edges[-1])])
    axes.tick_params(labelsize=6.5)
    axes.margins(x=0.02)


def _height(counts: np.ndarray) -> float:
    """Of a histogram: a spike, such as ReLU's zeros, is cut off so that the rest can be seen."""
    tallest, next_one = [*np.sort(counts)[::-1], 0][:2]
    return max(1.1 * (min(tallest, 2 * next_one) if next_one else tallest), 1e-9)


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` places, the first and the last among them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})


def _short(name: str) -> str:
    for inner in ("/dense", "/conv", "/classifier"):
        name = name.removesuffix(inner)
    return re.sub(r"stage(\d+)/block(\d+)/", r"\1.\2 ", name)


def _number(value: Any) -> str:
    return f"{float(value):.2g}"

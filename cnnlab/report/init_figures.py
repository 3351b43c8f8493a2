"""The figures of initialisations: histograms and deviations by layer, and how each one learns.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, dashes and markers that differ too.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.report.drawing import COLOURS, PathLike, over_seeds, save, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cnnlab.diagnose import LayerStatistics, Values

_DASHES = ("-", "--", "-.", ":")
_MARKERS = "osD^vP*X"
_MOST_COLUMNS = 11


def histograms(
    rows: Mapping[str, Sequence[Values]], columns: Sequence[str], path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves a grid of histograms: a row for each initialisation, a column for each layer.

    Each has its own axes; the mean and standard deviation stand above it. A bar of more than twice
    the height of all others is cut off, and zeros are told in per cent. Of more than 11 columns 11
    are drawn, evenly spaced.

    Args:
      rows: label -> the values of each layer, of one network: every leaf without a leading axis.
      columns: what the columns are called.
      path: ends in .png.
      title: above the figure.

    Returns:
      The path.

    Raises:
      ValueError: if a row has not a value for each column.
    """
    from matplotlib.figure import Figure

    for label, values in rows.items():
        if len(values) != len(columns):
            raise ValueError(
                f"the row {label!r} must have a value for each of {len(columns)} columns, got "
                f"{len(values)}."
            )
    shown = _spread(len(columns), _MOST_COLUMNS)
    figure = Figure(
        figsize=(1.55 * len(shown) + 0.8, 1.45 * len(rows) + 0.7), dpi=110, layout="constrained"
    )
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for i, (label, values) in enumerate(rows.items()):
        for j, column in enumerate(shown):
            axes, value = grid[i, j], values[column]
            edges, counts = np.asarray(value.edges, np.float64), np.asarray(value.counts)
            axes.stairs(counts, edges, fill=True, color=COLOURS[0])
            axes.set_ylim(0, _height(counts))
            if float(value.zeros) > 0.01:
                text = f"{100 * float(value.zeros):.0f} % zero"
                place = {"transform": axes.transAxes, "ha": "right", "va": "top"}
                axes.text(0.96, 0.94, text, fontsize=7, color=COLOURS[1], **place)
            head = f"{_short(columns[column])}\n" if i == 0 else ""
            axes.set_title(f"{head}{_number(value.mean)} ± {_number(value.std)}", fontsize=7.5)
            axes.set_yticks([])
            axes.set_xticks([edges[0], edges[-1]], [_number(edges[0]), _number(edges[-1])])
            axes.tick_params(labelsize=6.5)
            axes.margins(x=0.02)
        grid[i, 0].set_ylabel(label.replace(":", "\n"), fontsize=9)
    return save(figure, path)


def layers(
    found: Mapping[str, Sequence[Sequence[LayerStatistics]]], folder: PathLike, name: str
) -> list[pathlib.Path]:
    """Saves both figures of what each layer reads and how it learns.

    Args:
      found: label -> for each seed the statistics of every layer, with labels, on the host.
      folder: where ``histograms-NAME.png`` (of the first seed) and ``layers-NAME.png`` go.
      name: of the network and its data, for the titles too.

    Returns:
      The paths.
    """
    folder = pathlib.Path(folder)
    file = "".join(c if c.isalnum() else "-" for c in name)
    columns = [layer.name for layer in next(iter(found.values()))[0]]

    def panel(get: Callable[[LayerStatistics], Any]) -> dict[str, np.ndarray]:
        return {
            label: np.array([[float(get(layer)) for layer in seed] for seed in seeds])
            for label, seeds in found.items()
        }

    return [
        histograms(
            {label: [layer.reads for layer in seeds[0]] for label, seeds in found.items()},
            columns,
            folder / f"histograms-{file}.png",
            title=f"{name}: what each layer reads, mean ± standard deviation (first seed)",
        ),
        by_layer(
            {
                "forward: std of what the layer reads": panel(lambda layer: layer.reads.std),
                "backward: rms gradient at its output": panel(lambda layer: layer.gradient_std),
                "gradient norm / kernel norm": panel(lambda layer: layer.gradient_to_weight),
            },
            columns,
            folder / f"layers-{file}.png",
            title=name,
        ),
    ]


def by_layer(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    columns: Sequence[str],
    path: PathLike,
    *,
    title: str = "",
) -> pathlib.Path:
    """Saves what becomes of deviations from layer to layer, on a logarithmic scale.

    Args:
      panels: title of a panel -> label -> ``[S, L]``, one row for each seed, one column for each
        layer. The line is the geometric mean over the seeds, the band reaches from the smallest
        to the largest. Zeros leave gaps.
      columns: the L layers.
      path: ends in .png.
      title: above the figure.

    Returns:
      The path.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * len(panels) + 1.8, 4.4), dpi=110, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    places = np.arange(len(columns))
    for axes, (name, lines) in zip(grid, panels.items(), strict=True):
        for number, (label, values) in enumerate(lines.items()):
            positive = np.where(np.asarray(values) > 0, values, np.nan)
            mean = np.exp(np.log(positive).mean(0))
            style = _style(number, len(columns) <= 15)
            axes.plot(places, mean, label=label, **style)
            axes.fill_between(
                places, positive.min(0), positive.max(0), color=style["color"], alpha=0.2, lw=0
            )
        axes.set_yscale("log")
        axes.set_title(name, fontsize=11)
        ticks = _spread(len(columns), 12)
        axes.set_xticks(
            ticks, [_short(columns[i]) for i in ticks], rotation=45, ha="right", fontsize=8
        )
        tidy(axes)
    seeds = len(next(iter(next(iter(panels.values())).values())))
    _legend(grid[-1], f"{seeds} seeds: geometric mean,\nsmallest to largest")
    return save(figure, path)


def learning(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    path: PathLike,
    *,
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> pathlib.Path:
    """Saves how each initialisation learns: mean over the seeds, band of one standard error.

    Args:
      panels: what is shown -> label -> ``[E][S]``, for each epoch from the first a value for each
        seed; empty where there was none. A panel whose name has "loss" in it is logarithmic.
      path: ends in .png.
      notes: label -> what to say of it in the legend, such as "diverged at step 12".
      title: above the figure.

    Returns:
      The path.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(5.0 * len(panels) + 2.2, 4.2), dpi=110, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    seeds = 1
    for axes, (name, lines) in zip(grid, panels.items(), strict=True):
        for number, (label, curve) in enumerate(lines.items()):
            values = np.asarray(curve, np.float64).reshape(len(curve), -1 if len(curve) else 1)
            note = f", {notes[label]}" if notes and label in notes else ""
            style = _style(number, len(values) <= 15)
            mean, low, high = over_seeds(values, "standard error")
            epochs = np.arange(1, len(values) + 1)
            axes.plot(epochs, mean, label=label + note, **style)
            axes.fill_between(epochs, low, high, color=style["color"], alpha=0.2, lw=0)
            seeds = max(seeds, values.shape[1])
        _scale(axes, name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        tidy(axes)
    _legend(grid[-1], f"mean of {seeds} seeds, ± standard error")
    return save(figure, path)


def _legend(axes: Axes, title: str) -> None:
    """Beside the last panel, so that it covers no line."""
    axes.legend(
        fontsize=8.5,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        title=title,
        title_fontsize=8.5,
        alignment="left",
    )


def _height(counts: np.ndarray) -> float:
    """Of a histogram: a spike, such as ReLU's zeros, is cut off so that the rest can be seen."""
    tallest, next_one = [*np.sort(counts)[::-1], 0][:2]
    return max(1.1 * (min(tallest, 2 * next_one) if next_one else tallest), 1e-9)


def _scale(axes: Axes, name: str) -> None:
    axes.set_title(name, fontsize=11)
    if "loss" in name:
        if any(np.any(np.asarray(line.get_ydata()) > 0) for line in axes.get_lines()):
            axes.set_yscale("log")
    else:
        axes.set_ylim(-0.02, 1.02)


def _style(number: int, marked: bool) -> dict[str, Any]:
    # Where the colours come round again, dashes and markers are other ones.
    turn = number + number // len(COLOURS)
    style: dict[str, Any] = {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[turn % len(_DASHES)],
        "linewidth": 1.6,
    }
    if marked:
        style |= {"marker": _MARKERS[turn % len(_MARKERS)], "markersize": 4}
    return style


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` places, the first and the last among them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})


def _short(name: str) -> str:
    for inner in ("/dense", "/conv", "/classifier"):
        name = name.removesuffix(inner)
    return re.sub(r"stage(\d+)/block(\d+)/", r"\1.\2 ", name)


def _number(value: Any) -> str:
    return f"{float(value):.2g}"

"""The figures of transfer: accuracy against the stages kept, and the grid of amount and similarity.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, dashes and markers that differ too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.drawing import COLOURS, PathLike, save, tidy
from cnnlab.report.statistics import paired

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES = (
    *((COLOURS[0], "o", "-"), (COLOURS[5], "^", "--"), (COLOURS[1], "s", "-")),
    *((COLOURS[4], "D", "--"), (COLOURS[2], "v", "-."), (COLOURS[3], "P", ":")),
)


class Treatment(NamedTuple):
    """Networks that keep some stages of another one.

    Attributes:
      depths: int ``[P]``, how many stages are kept.
      accuracy: float ``[P, R]`` in [0, 1], of R repetitions.
    """

    depths: ArrayLike
    accuracy: ArrayLike


class Panel(NamedTuple):
    """What a column of the figure of transferability shows.

    Attributes:
      base: float ``[R]`` in [0, 1], the networks that they are compared with.
      treatments: label -> its networks, of the same repetitions.
    """

    base: ArrayLike
    treatments: Mapping[str, Treatment]


class Cell(NamedTuple):
    """A cell of the grid.

    Attributes:
      accuracy: label -> float ``[M]`` in [0, 1], of M seeds.
      recommended: labels that the lecture recommends.
    """

    accuracy: Mapping[str, ArrayLike]
    recommended: Collection[str] = ()


# Transferability -----------------------------------------------------------------------------


def transferability(
    panels: Mapping[str, Panel], stages: Mapping[int, str], path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves accuracy against the stages kept as a PNG; see ``draw_transferability``.

    Returns:
      The path.
    """
    return save(draw_transferability(panels, stages, title=title), path)


def draw_transferability(
    panels: Mapping[str, Panel], stages: Mapping[int, str], *, title: str = ""
) -> Figure:
    """Draws test accuracy against how many stages are kept: a column for each panel.

    Above, means with a dot for each repetition. Below, what the accuracy differs by from the base
    network of the same repetition: the mean and its 95 % interval, in which what repetitions have
    in common, such as hard classes, does not count.

    Args:
      panels: what the column shows -> its networks.
      stages: depth -> the last stage that is kept, for the ticks.
      title: above the figure.

    Raises:
      ValueError: without a panel or a treatment, or where repetitions do not agree.

    Source: Yosinski et al., NIPS 2014, figure 2.
    """
    from matplotlib.figure import Figure

    _check_panels(panels)
    columns = len(panels)
    figure = Figure(figsize=(max(5.2 * columns, 6.2), 7.6), dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(2, columns, sharex=True, sharey="row", squeeze=False)
    for (name, panel), above, below in zip(panels.items(), grid[0], grid[1], strict=True):
        above.set_title(name, fontsize=11, parse_math=False)
        _column(panel, above, below)
        depths = sorted({int(n) for t in panel.treatments.values() for n in np.ravel(t.depths)})
        below.set_xticks(depths, [f"{n}\n{stages[n]}" for n in depths])
        below.set_xlabel("n, stages kept (up to and with)")
        above.tick_params(labelbottom=True, labelleft=True)
        below.tick_params(labelleft=True)
    grid[0, 0].set_ylabel("test accuracy (%)")
    grid[1, 0].set_ylabel("difference from the base (points)")
    repetitions = max(np.size(panel.base) for panel in panels.values())
    note = "below: 95 % intervals over repetitions; " if repetitions > 1 else ""
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        title=f"{note}above: a dot is one of {repetitions}",
        title_fontsize=9,
        fontsize=9,
        ncols=2,
        loc="outside lower center",
        frameon=False,
    )
    return figure


def _check_panels(panels: Mapping[str, Panel]) -> None:
    if not panels or not all(panel.treatments for panel in panels.values()):
        raise ValueError("there must be a panel to draw, and a treatment in each.")
    for name, panel in panels.items():
        repetitions = np.size(panel.base)
        for label, found in panel.treatments.items():
            wanted = (np.size(found.depths), repetitions)
            if np.shape(found.accuracy) != wanted or not all(wanted):
                raise ValueError(
                    f"accuracy of {label} in {name} must be [P, R] for P depths and R repetitions, "
                    f"here {list(wanted)}, got shape {np.shape(found.accuracy)}."
                )


def _column(panel: Panel, above: Axes, below: Axes) -> None:
    base = 100 * np.asarray(panel.base, np.float64)
    above.axhline(base.mean(), color="#000000", linewidth=1.2, label="base network")
    below.axhline(0, color="#000000", linewidth=1.2)
    count = len(panel.treatments)
    for i, (label, found) in enumerate(panel.treatments.items()):
        colour, marker, dashes = _STYLES[i % len(_STYLES)]
        order = np.argsort(np.ravel(found.depths))
        values = 100 * np.asarray(found.accuracy, np.float64)[order]
        # Beside each other: intervals at one place would hide each other.
        places = np.ravel(found.depths)[order] + 0.09 * (i - (count - 1) / 2)
        style: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "markersize": 5.5,
            "linewidth": 1.6,
        }
        above.plot(places, values.mean(1), dashes, label=label, **style)
        if base.size > 1:
            scatter = np.repeat(places, base.size)
            above.plot(scatter, values.ravel(), ".", color=colour, markersize=4, alpha=0.45)
        figures = [paired(row, base) for row in values]
        means = np.array([each["mean"] for each in figures])
        reach = [0 if e["interval"] is None else e["interval"][1] - e["mean"] for e in figures]
        below.errorbar(places, means, yerr=reach, fmt=dashes, elinewidth=1.1, capsize=2.5, **style)
    tidy(above)
    tidy(below)


# The grid ------------------------------------------------------------------------------------


def transfer_grid(
    cells: Mapping[tuple[str, str], Cell], reference: str, path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves the grid of amount and similarity as a PNG; see ``draw_transfer_grid``.

    Returns:
      The path.
    """
    return save(draw_transfer_grid(cells, reference, title=title), path)


def draw_transfer_grid(
    cells: Mapping[tuple[str, str], Cell], reference: str, *, title: str = ""
) -> Figure:
    """Draws what each recipe comes to in each cell: amounts of data down, similarities across.

    A dot is a seed's test accuracy, the large marker the mean; the best mean is ringed, and what
    the lecture recommends lies on a band. At the right, how the mean differs from the reference's,
    with the 95 % interval of the paired difference.

    Args:
      cells: (amount, similarity) -> its accuracies; every amount with every similarity.
      reference: label of the recipe that the others are compared with.
      title: above the figure.

    Raises:
      ValueError: if a cell is missing or has no recipe, seeds do not agree, or a cell lacks the
        reference.

    Source: the 2 x 2 of Stanford's CS231n, lecture on transfer learning.
    """
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    _check_cells(cells, rows, columns, reference)
    labels = list(dict.fromkeys(label for cell in cells.values() for label in cell.accuracy))
    size = (6.4 * len(columns), 0.8 + len(rows) * (1.1 + 0.36 * len(labels)))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(len(rows), len(columns), sharey=True, squeeze=False)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            axes = grid[i, j]
            axes.set_title(f"{row}, {column}", fontsize=11, parse_math=False)
            _cell(axes, cells[row, column], labels, reference)
    for axes in grid[-1]:
        axes.set_xlabel("test accuracy (%)")
    seeds = max(np.size(each) for cell in cells.values() for each in cell.accuracy.values())
    note = f"; {seeds} seeds, 95 % intervals" if seeds > 1 else ""
    said = f"band: recommended; ring: best mean; right: points more than {reference}{note}"
    figure.supxlabel(said, fontsize=9)
    return figure


def _check_cells(
    cells: Mapping[tuple[str, str], Cell],
    rows: Sequence[str],
    columns: Sequence[str],
    reference: str,
) -> None:
    missing = [(row, column) for row in rows for column in columns if (row, column) not in cells]
    if not cells or missing:
        raise ValueError(f"every amount must come with every similarity, lacking are {missing}.")
    for place, cell in cells.items():
        if reference not in cell.accuracy:
            raise ValueError(f"the cell {place} must have {reference!r}, to compare with.")
        shapes = {label: np.shape(values) for label, values in cell.accuracy.items()}
        if len(set(shapes.values())) != 1 or not np.size(cell.accuracy[reference]):
            raise ValueError(
                f"all of the cell {place} must be [M] of the same seeds, got {shapes}."
            )


def _cell(axes: Axes, cell: Cell, labels: Sequence[str], reference: str) -> None:
    found = {label: 100 * np.asarray(v, np.float64) for label, v in cell.accuracy.items()}
    best = max(found, key=lambda label: found[label].mean())
    for place, label in enumerate(labels):
        if label not in found:
            continue
        colour = COLOURS[place % len(COLOURS)]
        if label in cell.recommended:
            axes.axhspan(place - 0.42, place + 0.42, color="#F0E442", alpha=0.45, linewidth=0)
        values = found[label]
        if values.size > 1:
            axes.plot(values, np.full(values.size, place), ".", color=colour, alpha=0.5)
        axes.plot(values.mean(), place, "D", color=colour, markersize=6.5)
        if label == best:
            axes.plot(values.mean(), place, "o", mfc="none", mec="#000000", markersize=14)
        if label != reference:
            said = _difference(values, found[reference])
            axes.text(
                1.01, place, said, transform=axes.get_yaxis_transform(), fontsize=8, va="center"
            )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.margins(x=0.08)
    tidy(axes)


def _difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    figure = paired(ours, theirs)
    text = f"{figure['mean']:+.1f}"
    if figure["interval"] is None:
        return text
    low, high = figure["interval"]
    return f"{text} ({low:+.1f} to {high:+.1f})"

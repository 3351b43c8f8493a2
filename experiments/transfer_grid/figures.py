"""The figure of the grid of amount of data and similarity: recipes side by side in each cell."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots
from cnnlab.report.statistics import paired

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Cell(NamedTuple):
    """A cell of the grid.

    Attributes:
      accuracy: label -> float ``[M]`` in [0, 1], of M seeds.
      recommended: labels that the lecture recommends.
    """

    accuracy: Mapping[str, ArrayLike]
    recommended: Collection[str] = ()


def transfer_grid(
    cells: Mapping[tuple[str, str], Cell], reference: str, *, title: str = ""
) -> Figure:
    """Draws each recipe's accuracy in each cell: amounts of data down, similarities across.

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
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    _check(cells, rows, columns, reference)
    labels = list(dict.fromkeys(label for cell in cells.values() for label in cell.accuracy))
    size = (6.4 * len(columns), 0.8 + len(rows) * (1.1 + 0.36 * len(labels)))
    figure, grid = drawing.figure(len(columns), len(rows), size=size, title=title, share_y=True)
    for i, j in np.ndindex(grid.shape):
        place = rows[i], columns[j]
        _cell(grid[i, j], cells[place], labels, reference)
        drawing.set_labels(grid[i, j], title=", ".join(place))
    for axes in grid[-1]:
        drawing.set_labels(axes, x="test accuracy (%)")
    seeds = max(np.size(each) for cell in cells.values() for each in cell.accuracy.values())
    note = f"; {seeds} seeds, 95 % intervals" if seeds > 1 else ""
    text = f"band: recommended; ring: best mean; right: points more than {reference}{note}"
    figure.supxlabel(text, fontsize=9, parse_math=False)
    return figure


def _check(
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
    percent = {label: 100 * np.asarray(v, np.float64) for label, v in cell.accuracy.items()}
    best = max(percent, key=lambda label: percent[label].mean())
    rows = []
    for y, label in enumerate(labels):
        if label not in percent:
            rows.append(plots.Dot(label, None))
            continue
        values = percent[label]
        note = "" if label == reference else _difference(values, percent[reference])
        rows.append(plots.Dot(label, values.mean(), seeds=values, note=note))
        if label in cell.recommended:
            axes.axhspan(y - 0.42, y + 0.42, color="#F0E442", alpha=0.45, linewidth=0)
        if label == best:
            axes.plot(values.mean(), y, "o", mfc="none", mec="#000000", markersize=14)
    plots.dots(axes, rows)


def _difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    figure = paired(ours, theirs)
    text = f"{figure['mean']:+.1f}"
    if figure["interval"] is None:
        return text
    low, high = figure["interval"]
    return f"{text} ({low:+.1f} to {high:+.1f})"

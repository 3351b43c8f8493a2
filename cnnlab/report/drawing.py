"""The kit that every figure is built from: the figure, dots, curves, legends, and saving.

    def recipes(accuracy: Mapping[str, ArrayLike], curves: Mapping[str, ArrayLike]) -> Figure:
        figure, [[left, right]] = drawing.figure(2, size=(11, 4.5), title="ten seeds")
        rows = [plots.mean_dot(name, each, scale=100) for name, each in accuracy.items()]
        plots.dots(left, rows, lines={"guessing": 10.0})
        drawing.set_labels(left, x="test accuracy (%), mean and 95 % interval")
        plots.series(right, {n: plots.mean_curve(each) for n, each in curves.items()})
        drawing.set_labels(right, x="epoch", y="loss")
        scales.epochs(right, 1, 30)
        drawing.legend(right, "below", "mean of 10 seeds ± standard error")  # last: it measures
        return figure

    drawing.save(recipes(accuracy, curves), folder / "recipes.png")

``figure`` gives the Figure and its axes in rows; ``plots.dots`` draws a labelled row for each `Dot`
(row i at y = i), ``plots.series`` a line for each `Curve`, in looks that differ in colour, marker
and dashes. Axis scales and ticks are in ``scales``; images in a grid, frames and filters in
``mosaics``. No pyplot, so no global state; matplotlib, slow to import, is loaded by ``figure``.
"""

from __future__ import annotations

import io
import os
import pathlib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.files import make_folder, write_bytes
from cnnlab.spelling import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]
Interval = Literal["standard error", "95 % interval", "range"]

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F"),
    *("#882255", "#117733"),
)
"""Okabe and Ito's eight, grey for yellow, and two darker ones."""
GREY = "#7F7F7F"
_DPI = 120
_MARKERS = "osD^vP*X"
_DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 0.6)), (0, (7, 2)))


# The figure ----------------------------------------------------------------------------------


def figure(
    columns: int = 1,
    rows: int = 1,
    *,
    size: tuple[float, float] | None = None,
    title: str = "",
    share_x: bool | Literal["row", "col"] = False,
    share_y: bool | Literal["row", "col"] = False,
    widths: Sequence[float] | None = None,
    heights: Sequence[float] | None = None,
    layout: Literal["constrained", "compressed"] = "constrained",
) -> tuple[Figure, Any]:
    """An empty figure and its axes.

    Args:
      columns: of axes.
      rows: of axes.
      size: width and height in inches; by default 5.4 by 4.6 for each of the axes.
      title: above all, broken into lines that fit.
      share_x: which axes have one scale; "col": those of a column.
      share_y: the same; "row": those of a row.
      widths: of the columns, relative to each other.
      heights: of the rows.
      layout: "compressed" for images, which keep their proportions.

    Returns:
      The figure, and the axes as an array ``[rows, columns]``.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 matplotlib is slow to import

    size = size or (5.4 * columns, 4.6 * rows)
    made = Figure(figsize=size, dpi=_DPI, layout=layout)
    if title:
        made.suptitle(wrapped(title, size[0], 12), fontsize=12, parse_math=False)
    grid = made.subplots(
        rows,
        columns,
        sharex=share_x,
        sharey=share_y,
        squeeze=False,
        width_ratios=widths,
        height_ratios=heights,
    )
    return made, grid


def set_labels(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Sets the title of a panel and the labels of its axes, as plain text; empty ones stay."""
    if title:
        width = 1.15 * axes.get_window_extent().width / _DPI
        axes.set_title(wrapped(title, width, 11), fontsize=11, parse_math=False)
    if x:
        axes.set_xlabel(x, parse_math=False)
    if y:
        axes.set_ylabel(y, parse_math=False)


def tidy(axes: Axes) -> None:
    """A light grid under the data, and no frame above and to the right."""
    axes.grid(True, color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def legend(
    axes: Axes,
    where: Literal["below", "right", "inside"] = "below",
    title: str = "",
    *,
    columns: int = 2,
    labels: Sequence[str] | None = None,
) -> None:
    """A legend outside of the axes, or inside where there is room.

    Args:
      axes: with all else drawn: the legend is "below" the ticks and labels that they have by then.
      where: "below", "right" or "inside".
      title: above the entries, such as what the bands are.
      columns: of entries, below.
      labels: the entries and their order, if not all as drawn.
    """
    style: dict[str, Any] = {"loc": "best", "framealpha": 0.85}
    if where == "below":
        outside = axes.xaxis.get_tightbbox()
        gap = 0.0 if outside is None else max(axes.bbox.y0 - outside.y0, 0)
        style = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 0.0}
        style |= {"ncols": columns, "frameon": False}
        style["bbox_transform"] = _shift_down(axes, 72 * gap / _DPI + 6)
    elif where == "right":
        style = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False}
    _legend(axes, [axes], title, labels, style)


def figure_legend(
    figure: Figure,
    title: str = "",
    *,
    columns: int = 4,
    labels: Sequence[str] | None = None,
) -> None:
    """A legend below all axes, of what any of them shows, each label once; see ``legend``."""
    style = {"loc": "outside lower center", "ncols": columns, "frameon": False}
    _legend(figure, figure.axes, title, labels, style)


def _legend(
    target: Axes | Figure,
    panels: Sequence[Axes],
    title: str,
    labels: Sequence[str] | None,
    style: dict[str, Any],
) -> None:
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(str(label), handle)
    labels = list(entries) if labels is None else labels
    handles = [entries[label] for label in labels]
    style |= {"title": title, "alignment": "left", "fontsize": 8.5, "title_fontsize": 8.5}
    made = target.legend(handles, labels, **style)
    for text in (made.get_title(), *made.get_texts()):
        text.set_parse_math(False)


def save(figure: Figure, path: PathLike) -> pathlib.Path:
    """Saves as a PNG, atomically; the suffix must say so.

    Returns:
      The path.

    Raises:
      ValueError: for another suffix.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"a figure's path must end in .png, got {str(path)!r}.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    make_folder(path.parent)
    write_bytes(path, buffer.getvalue())
    return path


# Looks and intervals -------------------------------------------------------------------------


class Look(NamedTuple):
    """Colour, marker and dashes of a curve or a group of dots; see ``look``."""

    colour: str
    marker: str
    dashes: Any
    width: float = 1.7
    hollow: bool = False


def look(index: int, *, black: bool = True) -> Look:
    """The look of the ``index``-th curve or group; the first thirty all differ.

    Without ``black``, that colour is left to another line.
    """
    if not black:
        index += (index + 3) // (len(COLOURS) - 1)  # over the seventh of each ten
    turn = index + index // len(COLOURS)  # where colours come round again, the rest has moved on
    return Look(
        COLOURS[index % len(COLOURS)], _MARKERS[turn % len(_MARKERS)], _DASHES[turn % len(_DASHES)]
    )


def over_seeds(
    values: ArrayLike, interval: str = "standard error"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and interval over the last axis; a seed that is NaN makes a gap, not a rosier mean.

    Args:
      values: ``[..., M]``, of M seeds.
      interval: "standard error" (to either side of the mean; with M - 1), "95 % interval"
        (Student's t, of the mean) or "range" (smallest to largest).

    Returns:
      Mean, low and high, ``[...]`` each; all the same for one seed.
    """
    numbers = np.asarray(values, np.float64)
    mean, seeds = numbers.mean(-1), numbers.shape[-1]
    if seeds == 1:
        return mean, mean, mean
    if interval == "range":
        return mean, numbers.min(-1), numbers.max(-1)
    reach = numbers.std(-1, ddof=1) / np.sqrt(seeds)
    if interval == "95 % interval":
        from scipy import stats  # noqa: PLC0415 scipy.stats is slow to import

        reach = stats.t.ppf(0.975, seeds - 1) * reach
    return mean, mean - reach, mean + reach


def wrapped(text: str, inches: float, points: float) -> str:
    """The text in lines of ``inches``, in a font of ``points``."""
    width = max(int(inches * 72 / (0.56 * points)), 12)
    return "\n".join(textwrap.fill(line, width) for line in printable(text).split("\n"))


def _shift_down(axes: Any, points: float) -> Any:
    from matplotlib.transforms import ScaledTranslation  # noqa: PLC0415 matplotlib is slow

    return axes.transAxes + ScaledTranslation(0, -points / 72, axes.figure.dpi_scale_trans)

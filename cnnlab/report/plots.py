"""Dots with intervals, a row each, and curves with bands: see ``drawing`` for an example."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.drawing import GREY, Interval, Look, look, over_seeds, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_MARKED = 15  # points of a curve that has a marker at each


@dataclasses.dataclass(frozen=True)
class Dot:
    """A row of ``dots``.

    Attributes:
      label: at the left.
      value: where the dot is; None for a row without one.
      low: where its interval begins; None for no interval.
      high: where it ends.
      seeds: ``[M]``, small dots in the background; none for one seed.
      group: rows of a group have one look, and a line is between them and the next group's; where
        no row has a group, each has its own look.
      text: over the dot.
      note: at the right of the panel.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    seeds: ArrayLike = ()
    group: str = ""
    text: str = ""
    note: str = ""


def mean_dot(
    label: str,
    values: ArrayLike,
    interval: Interval = "95 % interval",
    *,
    scale: float = 1.0,
    group: str = "",
    text: str = "",
    note: str = "",
) -> Dot:
    """The dot of values ``[M]`` of M seeds, times ``scale``: mean, interval and each seed.

    ``text`` may hold ``{}`` with a format, as in ``"{:.1f}"``, for the mean.
    """
    seeds = scale * np.asarray(values, np.float64)
    mean, low, high = (float(each) for each in over_seeds(seeds, interval))
    several = seeds.size > 1
    return Dot(
        label,
        mean,
        low if several else None,
        high if several else None,
        seeds if several else (),
        group,
        text.format(mean),
        note,
    )


def dots(
    axes: Axes,
    rows: Sequence[Dot],
    *,
    groups: Sequence[str] = (),
    lines: Mapping[str, float] | None = None,
) -> None:
    """Draws a row for each dot from top to bottom, the i-th at y = i, with its interval.

    The mean is a marker with an error bar, in a legend under its group's name; seeds are small
    pale dots, apart from each other.

    Args:
      axes: to draw into.
      rows: from top to bottom.
      groups: in the order of their looks; by default as they come.
      lines: label -> value: dotted vertical lines, such as the accuracy of guessing.
    """
    groups = list(groups) or list(dict.fromkeys(row.group for row in rows))
    drawn: set[str] = set()
    for y, row in enumerate(rows):
        style = look(groups.index(row.group) if any(groups) else y)
        if y and row.group != rows[y - 1].group:
            axes.axhline(y - 0.5, color="#BBBBBB", linewidth=0.8)
        if row.note:
            axes.annotate(
                row.note,
                (1.0, y),
                xycoords=axes.get_yaxis_transform(),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                parse_math=False,
            )
        if row.value is None:
            continue
        new = bool(row.group) and row.group not in drawn
        drawn.add(row.group)
        _dot(axes, row.value, y, row, style, label=row.group if new else None)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=9, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.1)
    _vertical_lines(axes, lines or {})
    axes.set_ylim(len(rows) - 0.5, -0.6 - 0.3 * len(lines or {}))
    tidy(axes)


def _dot(axes: Axes, value: float, y: int, row: Dot, style: Look, label: str | None) -> None:
    seeds = np.asarray(row.seeds, np.float64)
    if seeds.size > 1:
        spread = np.linspace(-0.16, 0.16, seeds.size)  # equal seeds lie apart
        axes.plot(seeds, y + spread, "o", color=style.colour, alpha=0.4, markersize=4)
    reach = None
    if row.low is not None and row.high is not None:
        reach = np.maximum([[value - row.low], [row.high - value]], 0)
    axes.errorbar(
        [value],
        [y],
        xerr=reach,
        fmt=style.marker,
        color=style.colour,
        markersize=6.5,
        capsize=3,
        linewidth=1.8,
        label=label,
    )
    if row.text:
        axes.annotate(
            row.text,
            (value, y),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            parse_math=False,
        )


def _vertical_lines(axes: Axes, lines: Mapping[str, float]) -> None:
    """Dotted lines, each with its label in a strip above the rows."""
    for x in lines.values():
        axes.axvline(x, color=GREY, linestyle=":", linewidth=1.3)
    low, high = axes.get_xlim()
    for index, (label, x) in enumerate(lines.items()):
        left = x > (low + high) / 2
        axes.annotate(
            label,
            (x, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-3 if left else 3, -2 - 11 * index),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
            fontsize=8,
            color="#555555",
            parse_math=False,
        )


# Curves --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Curve:
    """A line of ``series``.

    Attributes:
      x: ``[P]``, in order.
      mean: ``[P]``; NaN makes a gap.
      low: ``[P]``, the lower end of the interval; None for none.
      high: ``[P]``.
      seeds: ``[P, M]``, small dots in the background, or None.
      look: of this curve, if not that of its place.
    """

    x: ArrayLike
    mean: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    seeds: ArrayLike | None = None
    look: Look | None = None

    def last(self, number: str = "{:.2f}", unit: str = " %", *, error: bool = True) -> str:
        """The last known mean and half of its interval, such as "98.20 ± 0.11 %"."""
        mean = np.asarray(self.mean, np.float64)
        known = np.flatnonzero(np.isfinite(mean))
        if not known.size:
            return "unknown"
        reach = ""
        if self.high is not None and error:
            reach = f" ± {(np.asarray(self.high) - mean)[known[-1]]:.2g}"
        return number.format(mean[known[-1]]) + reach + unit


def mean_curve(
    values: ArrayLike,
    x: ArrayLike | None = None,
    interval: Interval = "standard error",
    *,
    scale: float = 1.0,
    look: Look | None = None,
) -> Curve:
    """The curve of values ``[P, M]`` of M seeds, times ``scale``, at ``x`` or from 1 to P."""
    numbers = scale * np.asarray(values, np.float64)
    mean, low, high = over_seeds(numbers, interval)
    places = np.arange(1, len(numbers) + 1) if x is None else x
    if numbers.shape[1] == 1:
        return Curve(places, mean, look=look)
    return Curve(places, mean, low, high, look=look)


def series(
    axes: Axes,
    curves: Mapping[str, Curve],
    *,
    intervals: Literal["band", "bars"] = "band",
    spread: float = 0.0,
    lines: Mapping[str, float] | None = None,
) -> None:
    """Draws a line for each curve, by ``look``, with markers where there are few points.

    Args:
      axes: to draw into; its scale on x is set before.
      curves: label, for the legend (an underscore in front keeps it out) -> curve.
      intervals: as bands, or as bars at each point.
      spread: distance on x of neighbouring curves, so that bars do not hide each other; on a
        logarithmic axis a fraction of x.
      lines: label, for the legend -> value: dotted horizontal lines.
    """
    for number, (label, value) in enumerate((lines or {}).items()):
        dashes = (":", (0, (4, 2)), "-.")[number % 3]
        axes.axhline(value, color=GREY, linestyle=dashes, linewidth=1.3, label=label)
    for index, (label, curve) in enumerate(curves.items()):
        style = curve.look or look(index)
        x = np.asarray(curve.x, np.float64)
        offset = spread * (index - (len(curves) - 1) / 2)
        x = x * (1 + spread) ** (offset / spread) if _log_x(axes) and spread else x + offset
        if curve.seeds is not None:
            seeds = np.asarray(curve.seeds, np.float64)
            each = np.repeat(x, seeds.shape[1])
            axes.plot(each, seeds.ravel(), ".", color=style.colour, markersize=4, alpha=0.45)
        _line(axes, label, x, curve, style, intervals)
    axes.tick_params(labelleft=True, labelbottom=True)
    tidy(axes)


def _line(axes: Axes, label: str, x: np.ndarray, curve: Curve, style: Look, intervals: str) -> None:
    mean = np.asarray(curve.mean, np.float64)
    shown: dict[str, Any] = {
        "linestyle": style.dashes,
        "color": style.colour,
        "linewidth": style.width,
        "label": label,
    }
    if x.size <= _MOST_MARKED:
        face = "white" if style.hollow else style.colour
        shown |= {"marker": style.marker, "markersize": 5, "markerfacecolor": face}
    ends = None
    if curve.low is not None and curve.high is not None:
        ends = np.asarray(curve.low, np.float64), np.asarray(curve.high, np.float64)
    if intervals == "bars":
        reach = None if ends is None else np.maximum([mean - ends[0], ends[1] - mean], 0)
        axes.errorbar(x, mean, yerr=reach, elinewidth=1.1, capsize=2.5, **shown)
        return
    axes.plot(x, mean, **shown)
    if ends is not None and x.size == 1:  # a band would have no width
        axes.vlines(x, *ends, color=style.colour, linewidth=1.4)
    elif ends is not None:
        axes.fill_between(x, *ends, color=style.colour, alpha=0.18, linewidth=0)


def _log_x(axes: Axes) -> bool:
    return axes.get_xscale() == "log"

"""The figures of ensembles: accuracy by the number of members, and methods side by side.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, dashes and markers that differ too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.drawing import COLOURS, PathLike, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP*X"
_DASHES = ("-", "--", "-.", ":")

# {"members": [P], "mean": [P], and "low", "high": [P] or left out}, accuracies in [0, 1]
Curve = Mapping[str, ArrayLike | None]


def by_members(curves: Mapping[str, Curve], path: PathLike, *, title: str = "") -> pathlib.Path:
    """Saves the accuracy by the number of members as a PNG; see ``draw_by_members``.

    Returns:
      The path.
    """
    return save(draw_by_members(curves, title=title), path)


def draw_by_members(curves: Mapping[str, Curve], *, title: str = "") -> Figure:
    """Draws accuracy in % against the number of members, with the band from low to high.

    Args:
      curves: label -> "members" (counts, [P]), "mean" (accuracies in [0, 1], [P]), and "low" and
        "high" ([P], or None or left out for no band). The caller's title says what the band is.
      title: above the figure.

    Raises:
      ValueError: no curve, an empty one, lengths that differ, or accuracies outside [0, 1].
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not curves:
        raise ValueError("curves must hold a curve to draw, got none.")
    figure = Figure(figsize=(8.6, 4.9), dpi=120, layout="constrained")
    axes = figure.subplots()
    looks = zip(
        itertools.cycle(COLOURS), itertools.cycle(_MARKERS), itertools.cycle(_DASHES), strict=False
    )
    for (label, curve), look in zip(curves.items(), looks, strict=False):
        _curve(axes, label, curve, *look)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.margins(x=0.04)
    axes.set_xlabel("members")
    axes.set_ylabel("accuracy (%)")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    tidy(axes)
    # Beside the curves, which go everywhere.
    handles, labels = axes.get_legend_handles_labels()
    last = [float(np.asarray(curve["mean"])[-1]) for curve in curves.values()]
    order = sorted(range(len(last)), key=lambda i: -last[i])
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        fontsize=8.5,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        title="the last point, best first",
        title_fontsize=8.5,
        alignment="left",
    )
    return figure


def _curve(axes: Axes, label: str, curve: Curve, colour: str, marker: str, dashes: str) -> None:
    members, mean = (np.asarray(curve[key], np.float64) for key in ("members", "mean"))
    band = [curve.get("low"), curve.get("high")]
    ends = [np.asarray(end, np.float64) for end in band if end is not None]
    if (
        members.ndim != 1
        or not members.size
        or any(x.shape != members.shape for x in (mean, *ends))
    ):
        raise ValueError(
            f"members, mean, low and high of {label!r} must be equally many, at least one, got "
            f"shapes {[members.shape, mean.shape, *(end.shape for end in ends)]}."
        )
    _check_fractions(label, mean)
    axes.plot(
        members,
        100 * mean,
        dashes,
        color=colour,
        marker=marker,
        markersize=5.5,
        linewidth=1.8,
        label=f"{label}: {100 * mean[-1]:.2f} % with {members[-1]:g}",
    )
    if len(ends) == 2:
        low, high = 100 * ends[0], 100 * ends[1]
        if members.size == 1:  # a band of no width
            axes.vlines(members, low, high, color=colour, linewidth=1.4)
        else:
            axes.fill_between(members, low, high, color=colour, alpha=0.15, linewidth=0)


Row = Mapping[str, Any]


def comparison(rows: Sequence[Row], path: PathLike, *, title: str = "") -> pathlib.Path:
    """Saves methods side by side as a PNG; see ``draw_comparison``.

    Returns:
      The path.
    """
    return save(draw_comparison(rows, title=title), path)


def draw_comparison(rows: Sequence[Row], *, title: str = "") -> Figure:
    """Draws a point with its interval for each method: test error in %, and NLL.

    Args:
      rows: from top to bottom, each with "name"; "group" (such as "equal budget": the colour);
        "error", in [0, 1], and "nll", in nats: each {"mean", "low", "high"}, the last two None
        or left out for no interval, or None altogether for no point. The caller's title says
        what the intervals are.
      title: above the figure.

    Raises:
      ValueError: no row, or an error outside [0, 1].
    """
    from matplotlib.figure import Figure

    if not rows:
        raise ValueError("rows must hold a row to draw, got none.")
    groups = list(dict.fromkeys(str(row["group"]) for row in rows))
    height = 1.6 + 0.31 * len(rows)
    figure = Figure(figsize=(11.5, height), dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, rows, groups, "error", 100.0, "test error (%)", 2)
    _panel(right, rows, groups, "nll", 1.0, "negative log-likelihood (nats)", 4)
    left.set_yticks(range(len(rows)), [str(row["name"]) for row in rows], parse_math=False)
    left.set_ylim(len(rows) - 0.4, -0.6)
    handles = [_handle(i, group) for i, group in enumerate(groups)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _panel(
    axes: Axes,
    rows: Sequence[Row],
    groups: Sequence[str],
    key: str,
    factor: float,
    label: str,
    digits: int,
) -> None:
    """One point for each row, its number in a column beside the panel."""
    for y, row in enumerate(rows):
        if y and row["group"] != rows[y - 1]["group"]:
            axes.axhline(y - 0.5, color="#BBBBBB", linewidth=0.8)
        found = row[key]
        if found is None:
            continue
        if key == "error":
            _check_fractions(str(row["name"]), np.asarray(found["mean"], np.float64))
        group = groups.index(str(row["group"]))
        colour, marker = COLOURS[group % len(COLOURS)], _MARKERS[group % len(_MARKERS)]
        mean = factor * float(found["mean"])
        text = f"{mean:.{digits}f}"
        if found.get("low") is not None and found.get("high") is not None:
            low, high = factor * float(found["low"]), factor * float(found["high"])
            axes.plot([low, high], [y, y], color=colour, linewidth=2.0, solid_capstyle="butt")
            text += f"  [{low:.{digits}f}, {high:.{digits}f}]"
        axes.plot([mean], [y], marker, color=colour, markersize=6.5)
        place: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(
            text, (1.0, y), xycoords=axes.get_yaxis_transform(), fontsize=8.5, color=colour, **place
        )
    axes.set_xlabel(label)
    axes.tick_params(axis="y", length=0, labelsize=9)
    tidy(axes)


def _handle(group: int, label: str) -> Any:
    from matplotlib.lines import Line2D

    colour, marker = COLOURS[group % len(COLOURS)], _MARKERS[group % len(_MARKERS)]
    return Line2D([], [], color=colour, marker=marker, linewidth=2.0, label=label)


def _check_fractions(label: str, values: np.ndarray) -> None:
    if not (np.all(values >= 0) and np.all(values <= 1)):
        raise ValueError(
            f"accuracies and errors must lie in [0, 1], got {values.min():g} to "
            f"{values.max():g} for {label!r}. Divide per cent by 100."
        )

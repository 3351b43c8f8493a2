"""Methods side by side by error and likelihood, and accuracy by the number of members.

Each function returns a matplotlib Figure, which ``drawing.save`` saves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, plots, scales

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# {"members": [P], "mean": [P], and "low", "high": [P] or left out}, accuracies in [0, 1]
Curve = Mapping[str, ArrayLike | None]
Row = Mapping[str, Any]


def by_members(curves: Mapping[str, Curve], *, title: str = "") -> Figure:
    """Draws accuracy in % against the number of members, with the band from low to high.

    Args:
      curves: label -> "members" (counts, [P]), "mean" (accuracies in [0, 1], [P]), and "low" and
        "high" ([P], or None or left out for no band). The caller's title names the band.
      title: above the figure.

    Raises:
      ValueError: no curve, an empty one, lengths that differ, or accuracies outside [0, 1].
    """
    if not curves:
        raise ValueError("curves must hold a curve to draw, got none.")
    figure, [[axes]] = drawing.figure(size=(8.6, 4.9), title=title)
    drawn = {}
    for name, curve in curves.items():
        each = _percent(name, curve)
        last = f"{np.asarray(each.mean)[-1]:.2f} % with {np.asarray(each.x)[-1]:g}"
        drawn[f"{name}: {last}"] = each
    plots.series(axes, drawn)
    scales.integers(axes)
    axes.margins(x=0.04)
    drawing.set_labels(axes, x="members", y="accuracy (%)")
    best_first = sorted(drawn, key=lambda label: -np.asarray(drawn[label].mean)[-1])
    drawing.legend(axes, "right", "the last point, best first", labels=best_first)
    return figure


def _percent(label: str, curve: Curve) -> plots.Curve:
    """The curve in per cent, checked."""
    members, mean = (np.asarray(curve[key], np.float64) for key in ("members", "mean"))
    ends = [curve.get("low"), curve.get("high")]
    band = [np.asarray(end, np.float64) for end in ends if end is not None]
    shapes = [members.shape, mean.shape, *(end.shape for end in band)]
    if members.ndim != 1 or not members.size or len(set(shapes)) > 1:
        raise ValueError(
            f"members, mean, low and high of {label!r} must be equally many, at least one, got "
            f"shapes {shapes}."
        )
    _check_fractions(label, mean)
    low, high = (100 * band[0], 100 * band[1]) if len(band) == 2 else (None, None)
    return plots.Curve(members, 100 * mean, low, high)


def comparison(rows: Sequence[Row], *, title: str = "") -> Figure:
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
    if not rows:
        raise ValueError("rows must hold a row to draw, got none.")
    size = (11.5, 1.6 + 0.31 * len(rows))
    figure, [[left, right]] = drawing.figure(2, size=size, title=title, share_y=True)
    for row in rows:
        if row["error"] is not None:
            _check_fractions(str(row["name"]), np.asarray(row["error"]["mean"], np.float64))
    groups = list(dict.fromkeys(str(row["group"]) for row in rows))
    plots.dots(left, [_dot(row, "error", 100.0, 2) for row in rows], groups=groups)
    plots.dots(right, [_dot(row, "nll", 1.0, 4) for row in rows], groups=groups)
    drawing.set_labels(left, x="test error (%)")
    drawing.set_labels(right, x="negative log-likelihood (nats)")
    drawing.figure_legend(figure)
    return figure


def _dot(row: Row, key: str, factor: float, digits: int) -> plots.Dot:
    """A method's dot, with its number at the right."""
    name, group, score = str(row["name"]), str(row["group"]), row[key]
    if score is None:
        return plots.Dot(name, None, group=group)
    mean, ends = factor * float(score["mean"]), [score.get("low"), score.get("high")]
    if None in ends:
        return plots.Dot(name, mean, group=group, note=f"{mean:.{digits}f}")
    low, high = (factor * float(end) for end in ends)
    note = f"{mean:.{digits}f}  [{low:.{digits}f}, {high:.{digits}f}]"
    return plots.Dot(name, mean, low, high, group=group, note=note)


def _check_fractions(label: str, values: np.ndarray) -> None:
    if not (np.all(values >= 0) and np.all(values <= 1)):
        raise ValueError(
            f"accuracies and errors must lie in [0, 1], got {values.min():g} to "
            f"{values.max():g} for {label!r}. Divide per cent by 100."
        )

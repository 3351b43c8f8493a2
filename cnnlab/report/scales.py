"""Scales and ticks of axes: errors by their roots, logarithms, epochs and names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCURACIES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 99, 99.5, 99.8)
_ERRORS = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100)


def accuracies(axes: Axes, *, lines: int = 22) -> None:
    """Accuracies in percent on the y axis: 99 % and 98 % lie apart, and 50 % still fits.

    The scale is the square root of the error.

    Args:
      axes: with everything drawn: its limits stay.
      lines: of text that the axis has room for.
    """
    low, high = axes.get_ylim()
    low, high = max(low, 0), min(high, 100)
    axes.set_yscale(
        "function", functions=(lambda y: -np.sqrt(np.maximum(100 - y, 0)), lambda y: 100 - y**2)
    )
    axes.set_ylim(low, high)
    span = np.sqrt(100 - low) - np.sqrt(100 - high)
    ticks: list[float] = []
    for tick in sorted((*_ACCURACIES, 100), reverse=True):
        apart = all(abs(np.sqrt(100 - tick) - np.sqrt(100 - t)) > span / lines for t in ticks)
        if low <= tick <= high and apart:
            ticks.append(tick)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylabel("test accuracy (%), root scale of the error")


def errors(axes: Axes, *, label: str = "error (%), square-root scale") -> None:
    """Errors in percent on the y axis, by their square roots; limits are set after."""
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set_yticks(_ERRORS)
    axes.set_ylabel(label)


def spans(values: np.ndarray, factor: float) -> bool:
    """True where the finite values are positive and span so large a factor."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() / known.min() > factor)


def log(axes: Axes, values: np.ndarray, which: str = "y") -> None:
    """A logarithmic axis with plain numbers, at 1, 2 and 5 unless that would crowd it."""
    from matplotlib import ticker  # noqa: PLC0415 matplotlib is slow to import

    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_locator(ticker.LogLocator(subs=(1.0,) if spans(values, 3e3) else (1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(_number))
    axis.set_minor_formatter(ticker.NullFormatter())


def _number(value: float, _: object) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def log_counts(axes: Axes, counts: Iterable[float]) -> None:
    """A logarithmic x axis with a tick at each of these numbers, and no others."""
    ticks = sorted({int(count) for count in counts})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{count:,}" for count in ticks])
    axes.set_xticks([], minor=True)


def epochs(axes: Axes, first: float, last: float) -> None:
    """Whole numbers on the x axis, from the first epoch to the last."""
    if first == last:
        axes.set_xlim(first - 0.5, last + 0.5)
        axes.set_xticks([first], [f"{first:g}"])
    elif last - first >= 1:
        integers(axes, "x", 8)


def integers(axes: Axes, which: str = "x", most: int = 10) -> None:
    """Whole numbers on the x or y axis, at most ``most``."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 matplotlib is slow to import

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def names(
    axes: Axes, labels: Sequence[str], at: Sequence[float] | None = None, *, most: int = 25
) -> None:
    """Names on the x axis, at 0, 1, ... by default; of more than ``most`` names, some of them.

    They are slanted where they would touch.
    """
    at = range(len(labels)) if at is None else at
    shown = spread(len(labels), most)
    letters = sum(len(labels[i]) + 1 for i in shown)
    room = axes.get_window_extent().width / 9  # letters of 8.5 points at 120 dots an inch
    axes.set_xticks([at[i] for i in shown], [labels[i] for i in shown], fontsize=8.5)
    for tick in axes.get_xticklabels():
        tick.set_parse_math(False)
        if letters > room:
            tick.set(rotation=40, ha="right", rotation_mode="anchor")


def spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` places, evenly, the first and the last among them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})

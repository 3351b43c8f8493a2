"""Scales of figures on which 1 % can be read off beside 50 %: the root of the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCURACIES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 99, 99.5, 99.8)
_ERRORS = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100)


def accuracies(axes: Axes, *, lines: int = 22) -> None:
    """Accuracies in percent on the y axis: 99 % can be told from 98 %, and 50 % is there, too.

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
    """Errors in percent on the y axis, whose limits are still to be set."""
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set_yticks(_ERRORS)
    axes.set_ylabel(label)

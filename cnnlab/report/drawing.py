"""What the figures share: colours, bands over seeds, scales, and how a figure is saved."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F"),
    *("#882255", "#117733"),
)
"""Okabe and Ito's eight, grey for yellow, and two darker ones."""


def over_seeds(values: np.ndarray, band: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and band of [E, M]; a seed that is NaN makes a gap rather than a rosier mean."""
    mean = values.mean(1)
    if values.shape[1] == 1:
        return mean, mean, mean
    if band == "range":
        return mean, values.min(1), values.max(1)
    error = values.std(1, ddof=1) / np.sqrt(values.shape[1])
    return mean, mean - error, mean + error


def spans(values: np.ndarray, factor: float) -> bool:
    """Whether the finite values are positive and span so large a factor."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() / known.min() > factor)


def log_scale(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic axis with plain numbers, at 1, 2 and 5 unless that would crowd it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if spans(values, 3e3) else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def epoch_ticks(axes: Axes, first: float, last: float) -> None:
    """Whole numbers from the first epoch to the last."""
    from matplotlib.ticker import MaxNLocator

    if first == last:
        axes.set_xlim(first - 0.5, last + 0.5)
        axes.set_xticks([first], [f"{first:g}"])
    elif last - first >= 1:
        steps = [1, 2, 5, 10]
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=steps, min_n_ticks=1))


def tidy(axes: Axes) -> None:
    """A light grid behind, and no frame above and to the right."""
    axes.grid(True, color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save(figure: Figure, path: PathLike) -> pathlib.Path:
    """Saves as a PNG, atomically; the suffix must say so."""
    import io

    from cnnlab.files import write_bytes

    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"a figure's path must end in .png, got {str(path)!r}.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
    return path

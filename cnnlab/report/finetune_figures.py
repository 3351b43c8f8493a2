"""The figure of fine-tuning: what each recipe gets right, and what each stage knows of the task.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.drawing import COLOURS, PathLike, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def recipes(
    found: Mapping[str, ArrayLike | None],
    path: PathLike,
    *,
    chance: float,
    probes: Mapping[str, Mapping[str, float]] | None = None,
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> pathlib.Path:
    """Saves the accuracy of recipes as a PNG; see ``draw_recipes``.

    Returns:
      The path.
    """
    figure = draw_recipes(found, chance=chance, probes=probes, notes=notes, title=title)
    return save(figure, path)


def draw_recipes(
    found: Mapping[str, ArrayLike | None],
    *,
    chance: float,
    probes: Mapping[str, Mapping[str, float]] | None = None,
    notes: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draws the test accuracy of each recipe: every seed, the mean and its 95 % interval.

    Args:
      found: recipe -> accuracies ``[M]`` in [0, 1], one for each seed; drawn from top to bottom.
        None, of one that diverged, has a row without dots.
      chance: the accuracy of guessing, a dotted line.
      probes: whose network -> stage -> accuracy of a linear classifier: a second panel.
      notes: recipe -> a few words under its name.
      title: above the figure.

    Raises:
      ValueError: if there is no recipe, or accuracies without a seed.
    """
    from matplotlib.figure import Figure

    values = {
        name: np.asarray(each, np.float64) for name, each in found.items() if each is not None
    }
    if not found or any(each.ndim != 1 or not each.size for each in values.values()):
        shapes = {name: each.shape for name, each in values.items()}
        raise ValueError(f"accuracies must be [M] of one or more recipes, got {shapes or 'none'}.")
    height = 1.6 + 0.62 * max(len(found), 4)
    width = 8.4 if probes is None else 12.6
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    if probes is None:
        axes = figure.subplots()
    else:
        axes, beside = figure.subplots(1, 2, width_ratios=(3, 2))
        _probes(beside, probes)
    _dots(axes, list(found), values, chance, notes or {})
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    return figure


def _dots(
    axes: Axes,
    names: Sequence[str],
    values: Mapping[str, np.ndarray],
    chance: float,
    notes: Mapping[str, str],
) -> None:
    labels = [name + (f"\n{notes[name]}" if name in notes else "") for name in names]
    for row, name in enumerate(names):
        if name not in values:
            continue
        each = values[name]
        colour = COLOURS[row % len(COLOURS)]
        mean, reach = 100 * each.mean(), 100 * _reach(each)
        spread = np.linspace(-0.14, 0.14, each.size) if each.size > 1 else np.zeros(1)
        axes.plot(100 * each, row + spread, "o", color=colour, alpha=0.4, markersize=4.5)
        axes.errorbar(
            mean, row, xerr=reach, fmt="D", color=colour, markersize=7, capsize=4, linewidth=1.8
        )
        axes.annotate(
            f"{mean:.1f}", (mean, row), (0, 9), textcoords="offset points", ha="center", fontsize=9
        )
    axes.axvline(100 * chance, color="#7F7F7F", linestyle=":", linewidth=1.2)
    axes.annotate(
        "guessing", (100 * chance, 1), (3, -3), xycoords=("data", "axes fraction"),
        textcoords="offset points", va="top", fontsize=8, color="#555555",
    )  # fmt: skip
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_ylim(len(labels) - 0.5, -0.6)
    axes.set_xlim(right=min(axes.get_xlim()[1], 101))
    seeds = max((each.size for each in values.values()), default=0)
    several = f": {seeds} seeds, mean and its 95 % interval" if seeds > 1 else ""
    axes.set_xlabel(f"test accuracy (%){several}")
    tidy(axes)


def _reach(values: np.ndarray) -> float:
    """Half of Student's interval of the mean; 0 for one seed."""
    from scipy import stats

    if values.size == 1:
        return 0.0
    return float(stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))


def _probes(axes: Axes, probes: Mapping[str, Mapping[str, float]]) -> None:
    stages = list(next(iter(probes.values())))
    styles = zip(("#000000", "#7F7F7F"), "os", strict=True)
    for (name, found), (colour, marker) in zip(probes.items(), styles, strict=False):
        axes.plot(
            range(len(stages)),
            [100 * found[stage] for stage in stages],
            "-" if marker == "o" else "--",
            marker=marker,
            color=colour,
            label=name,
        )
    axes.set_xticks(range(len(stages)), stages, fontsize=9)
    axes.set_xlim(-0.4, len(stages) - 0.6)
    axes.set_ylabel("a linear classifier on each stage,\ncross-validated accuracy (%)", fontsize=9)
    axes.legend(fontsize=9, frameon=False)
    tidy(axes)

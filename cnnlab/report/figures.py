"""The figures of a run: training curves, confusion matrix, reliability diagram.

Each ``draw_*`` gives a matplotlib Figure (a notebook shows it); the function without the prefix
draws and saves it as a PNG. No pyplot, so no global state and no window. Colours are from Okabe
and Ito's palette, which colour-blind readers can tell apart; lines differ in dashes too.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import calibration as calibration_lib
from cnnlab.report import scales
from cnnlab.report.drawing import (
    PathLike,
    over_seeds,
    save,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _VERMILLION, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#595959"
_PARTS = (
    ("train", "training", _BLUE, "-", "o"),
    ("validation", "validation", _VERMILLION, "--", "s"),
)
_BANDS = ("standard error", "range")
# Up to so many classes each count is printed, and so many ticks stay legible.
_PRINTED_CLASSES, _MOST_TICKS = 20, 25


# Curves --------------------------------------------------------------------------------------


def curves(
    records: Sequence[Mapping[str, Any]],
    path: PathLike,
    *,
    title: str = "",
    band: str = "standard error",
) -> pathlib.Path:
    """Saves the curves of loss, accuracy and learning rate as a PNG; see `draw_curves`.

    Returns:
      The path.
    """
    return save(draw_curves(records, title=title, band=band), path)


def draw_curves(
    records: Sequence[Mapping[str, Any]], *, title: str = "", band: str = "standard error"
) -> Figure:
    """Draws loss, accuracy and learning rate over the epochs.

    Args:
      records: as `cnnlab.train.records.read_metrics` gives them: "epoch" (a number; 0.5 is half
        the first epoch), and any of "train/loss", "train/accuracy" (in [0, 1]),
        "validation/loss", "validation/accuracy", "learning_rate", each a number or a list of M,
        one a seed. NaN leaves a gap, so does None. Records without "epoch" are passed over, and
        a panel whose keys never occur is left out.
      title: above the figure.
      band: what is shaded round the mean over the seeds: "standard error" (the standard
        deviation with M - 1, over the root of M) or "range" (smallest to largest).

    Raises:
      ValueError: nothing to draw, an accuracy outside [0, 1], a number of seeds that changes,
        or an unknown band.
    """
    from matplotlib.figure import Figure

    if band not in _BANDS:
        raise ValueError(f"band must be one of {', '.join(map(repr, _BANDS))}, got {band!r}.")
    rows = sorted((r for r in records if r.get("epoch") is not None), key=lambda r: r["epoch"])
    panels = []
    for name, draw in (("loss", _loss_panel), ("accuracy", _accuracy_panel)):
        found: dict[str, Series] = {}
        for part, *_ in _PARTS:
            series = _series(rows, f"{part}/{name}")
            if series is not None:
                found[part] = series
        if found:
            panels.append((draw, found))
    rate = _series(rows, "learning_rate")
    if rate is not None:
        panels.append((_rate_panel, {"learning_rate": rate}))
    if not panels:
        raise ValueError(
            'records must hold "epoch" and at least one of "train/loss", "validation/loss", '
            f'"train/accuracy", "validation/accuracy", "learning_rate"; none of {len(records)} '
            "does."
        )
    figure = Figure(figsize=(4.6 * len(panels), 3.9), dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    for i, (draw, found) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), i)
        draw(axes, found, band)
        axes.set_xlabel("epoch")
        scales.epochs(axes, float(rows[0]["epoch"]), float(rows[-1]["epoch"]))
        tidy(axes)
    return figure


Series = tuple[np.ndarray, np.ndarray]  # epochs [E], values [E, M]


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> Series | None:
    """The epochs [E] and values [E, M] of a key; None where no record has it."""
    epochs, values = [], []
    for row in rows:
        if key in row:
            value = [row[key]] if row[key] is None or np.ndim(row[key]) == 0 else row[key]
            epochs.append(float(row["epoch"]))
            values.append([np.nan if v is None else float(v) for v in value])
    if not values:
        return None
    seeds = {len(v) for v in values}
    if len(seeds) > 1:
        raise ValueError(
            f"{key!r} must have the same number of seeds in every record, got {sorted(seeds)}. "
            "Draw runs with different seeds apart."
        )
    return np.array(epochs), np.array(values)


def _loss_panel(axes: Axes, found: Mapping[str, Series], band: str) -> None:
    _lines(axes, found, band, "{:.3g}")
    values = np.concatenate([series[1].ravel() for series in found.values()])
    log = scales.spans(values, 30)
    if log:
        scales.log(axes, values)
    axes.set_ylabel("loss, mean over examples" + (" (log scale)" if log else ""))
    axes.set_title("Loss", fontsize=11)


def _accuracy_panel(axes: Axes, found: Mapping[str, Series], band: str) -> None:
    for part, (_, values) in found.items():
        known = values[np.isfinite(values)]
        if np.any(known < 0) or np.any(known > 1):
            raise ValueError(
                f'"{part}/accuracy" must lie in [0, 1], got {known.min():.4g} to '
                f"{known.max():.4g}. Divide percentages by 100."
            )
    percent = {part: (epochs, 100 * values) for part, (epochs, values) in found.items()}
    _lines(axes, percent, band, "{:.2f}", " %")
    axes.set_ylabel("accuracy (%)")
    axes.set_title("Accuracy", fontsize=11)


def _rate_panel(axes: Axes, found: Mapping[str, Series], band: str) -> None:
    epochs, values = found["learning_rate"]
    for seed in range(values.shape[1]):
        axes.plot(epochs, values[:, seed], color=_GREEN, linewidth=1.6, **_markers(epochs, "o"))
    steps = 2 * len(np.unique(values)) <= len(values)
    if steps and scales.spans(values, 5):
        scales.log(axes, values)
        axes.set_ylabel("learning rate (log scale)")
    else:
        axes.set_ylim(bottom=0)
        axes.set_ylabel("learning rate")
    axes.set_title("Learning rate", fontsize=11)


def _lines(axes: Axes, found: Mapping[str, Series], band: str, number: str, unit: str = "") -> None:
    """A line for each part, with its band over the seeds and its last value in the legend."""
    several = 1
    for part, label, colour, dashes, marker in _PARTS:
        if part not in found:
            continue
        epochs, values = found[part]
        several = max(several, values.shape[1])
        mean, low, high = over_seeds(values, band)
        shown = np.flatnonzero(np.isfinite(mean))
        last = ""
        if shown.size:
            last = f", last {number.format(mean[shown[-1]])}"
            if values.shape[1] > 1 and band == "standard error":
                last += f" ± {(high - mean)[shown[-1]]:.2g}"
            last += unit
        axes.plot(
            epochs,
            mean,
            dashes,
            color=colour,
            linewidth=1.8,
            label=label + last,
            **_markers(epochs, marker),
        )
        if values.shape[1] > 1:
            axes.fill_between(epochs, low, high, color=colour, alpha=0.22, linewidth=0)
    title = None
    if several > 1:
        what = "± standard error" if band == "standard error" else "smallest to largest"
        title = f"mean of {several} seeds, band {what}"
    axes.legend(fontsize=8.5, title=title, title_fontsize=8.5, framealpha=0.85, alignment="left")


def _markers(epochs: np.ndarray, marker: str) -> dict[str, Any]:
    return {"marker": marker, "markersize": 4} if len(epochs) <= 15 else {}


# Confusion matrix ----------------------------------------------------------------------------


def confusion_matrix(
    counts: ArrayLike, class_names: Sequence[str], path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves a confusion matrix as a PNG; see `draw_confusion_matrix`.

    Returns:
      The path.
    """
    return save(draw_confusion_matrix(counts, class_names, title=title), path)


def draw_confusion_matrix(
    counts: ArrayLike, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draws a confusion matrix, each row shaded by its percentages on a root scale.

    The counts are printed up to 20 classes; above 25 not every class has a tick. The row of a
    class without examples stays white.

    Args:
      counts: [K, K] integers >= 0, rows the true class, columns the predicted one.
      class_names: K names.
      title: above the figure.

    Raises:
      ValueError: ``counts`` or the number of names is not as said.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    table = calibration_lib.square_counts(counts)
    k = len(table)
    if len(class_names) != k:
        raise ValueError(
            f"class_names must be as many as the classes in counts, {k}, got {len(class_names)}."
        )
    totals = table.sum(1, keepdims=True)
    percent = 100 * table / np.maximum(totals, 1)
    side = float(np.clip(2.2 + 0.52 * k, 4.2, 11.0))
    figure = Figure(figsize=(side + 1.4, side), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    # A root scale: confusions of 1 % can be seen beside a diagonal of 90 %.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(percent, cmap="Blues", norm=norm, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("% of the true class (square-root scale)")
    correct = table.trace() / max(table.sum(), 1)
    default = f"{100 * correct:.2f} % of {table.sum():,} correct"
    axes.set_title(f"{title}\n{default}" if title else default, fontsize=11, parse_math=False)
    _class_ticks(axes, class_names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if k <= _PRINTED_CLASSES:
        digits = len(str(table.max()))
        cell = 72 * 0.7 * side / k  # points, about
        size = float(np.clip(1.3 * cell / digits, 5, 11))
        for i, j in zip(*np.nonzero(table), strict=True):
            colour = "white" if norm(percent[i, j]) > 0.6 else "black"
            axes.text(j, i, str(table[i, j]), ha="center", va="center", color=colour, fontsize=size)
    return figure


def _class_ticks(axes: Axes, class_names: Sequence[str]) -> None:
    k = len(class_names)
    every = -(-k // _MOST_TICKS)
    places = list(range(0, k, every))
    names = [_short(str(class_names[i])) for i in places]
    rotation = 0 if max(map(len, names)) <= 3 else 45
    axes.set_xticks(places, names, rotation=rotation, fontsize=8.5)
    axes.set_yticks(places, names, fontsize=8.5)
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        label.set_parse_math(False)  # a class may be called "$"
        if rotation and label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"


# Reliability ---------------------------------------------------------------------------------


def reliability(
    calibration: calibration_lib.Calibration, path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves a reliability diagram as a PNG; see `draw_reliability`.

    Returns:
      The path.
    """
    return save(draw_reliability(calibration, title=title), path)


def draw_reliability(calibration: calibration_lib.Calibration, *, title: str = "") -> Figure:
    """Draws accuracy against confidence, over a histogram of the confidence.

    Bars under the diagonal are too confident, bars over it not confident enough.

    Args:
      calibration: from `cnnlab.report.calibration.expected_calibration_error`.
      title: above the figure.

    Raises:
      TypeError: if it is not a Calibration.

    Source: Guo et al., ICML 2017, figure 1.
    """
    from matplotlib.figure import Figure

    if not isinstance(calibration, calibration_lib.Calibration):
        raise TypeError(
            f"calibration must be a Calibration, got {type(calibration).__name__}. "
            "expected_calibration_error makes one."
        )
    edges = 100 * calibration.edges
    left, width = edges[:-1], np.diff(edges)
    filled = calibration.counts > 0
    accuracy, confidence = 100 * calibration.accuracy, 100 * calibration.confidence
    total = int(calibration.counts.sum())
    figure = Figure(figsize=(4.8, 5.6), dpi=120, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.bar(
        left[filled],
        accuracy[filled],
        width[filled],
        align="edge",
        color=_BLUE,
        edgecolor="white",
        linewidth=0.8,
        label="accuracy",
    )
    gap = (confidence - accuracy)[filled]
    upper.bar(
        left[filled],
        gap,
        width[filled],
        bottom=accuracy[filled],
        align="edge",
        facecolor=_VERMILLION + "55",
        edgecolor=_VERMILLION,
        hatch="///",
        linewidth=0.8,
        label="gap to the mean confidence",
    )
    upper.plot([0, 100], [0, 100], "--", color=_GREY, linewidth=1.2, label="perfectly calibrated")
    upper.set_ylim(0, 100)
    upper.set_ylabel("accuracy (%)")
    upper.legend(fontsize=8.5, loc="upper left", framealpha=0.85)
    measured = f"ECE {100 * calibration.ece:.2f} % ({len(left)} bins, {total:,} examples)"
    upper.set_title(f"{title}\n{measured}" if title else measured, fontsize=11, parse_math=False)
    lower.bar(
        left,
        100 * calibration.counts / max(total, 1),
        width,
        align="edge",
        color=_GREY,
        edgecolor="white",
        linewidth=0.8,
    )
    lower.set_xlim(0, 100)
    lower.set_ylabel("examples (%)")
    lower.set_xlabel("confidence (%)")
    for axes in (upper, lower):
        tidy(axes)
    return figure

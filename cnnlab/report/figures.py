"""The figures of a run: training curves, confusion matrix, reliability diagram.

Each function returns a matplotlib Figure, which a notebook shows and ``drawing.save`` saves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import calibration as calibration_lib
from cnnlab.report import drawing, plots, scales
from cnnlab.spelling import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _VERMILLION, _GREEN, _GREY = *drawing.COLOURS[:3], "#595959"
_PARTS = {"train": "training", "validation": "validation"}  # in the order of their looks
_BANDS = ("standard error", "range")
# Up to so many classes each count is printed, and so many ticks stay legible.
_PRINTED_CLASSES, _MOST_TICKS = 20, 25

Series = tuple[np.ndarray, np.ndarray]  # epochs [E], values [E, M]


# Curves --------------------------------------------------------------------------------------


def curves(
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
    if band not in _BANDS:
        raise ValueError(f"band must be one of {', '.join(map(repr, _BANDS))}, got {band!r}.")
    rows = sorted((r for r in records if r.get("epoch") is not None), key=lambda r: r["epoch"])
    loss, accuracy = (
        {part: series for part in _PARTS if (series := _series(rows, f"{part}/{name}")) is not None}
        for name in ("loss", "accuracy")
    )
    rate = _series(rows, "learning_rate")
    count = bool(loss) + bool(accuracy) + (rate is not None)
    if not count:
        raise ValueError(
            'records must hold "epoch" and at least one of "train/loss", "validation/loss", '
            f'"train/accuracy", "validation/accuracy", "learning_rate"; none of {len(records)} '
            "does."
        )
    figure, [panels] = drawing.figure(count, size=(4.6 * count, 3.9), title=title)
    remaining = iter(panels)
    if loss:
        _loss_panel(next(remaining), loss, band)
    if accuracy:
        _accuracy_panel(next(remaining), accuracy, band)
    if rate is not None:
        _rate_panel(next(remaining), *rate)
    for axes in panels:
        drawing.set_labels(axes, x="epoch")
        scales.epochs(axes, float(rows[0]["epoch"]), float(rows[-1]["epoch"]))
    return figure


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


def _loss_panel(axes: Axes, parts: Mapping[str, Series], band: str) -> None:
    _lines(axes, parts, band, 1, "{:.3g}")
    values = np.concatenate([values.ravel() for _, values in parts.values()])
    log = scales.spans(values, 30)
    if log:
        scales.log(axes, values)
    label = "loss, mean over examples" + (" (log scale)" if log else "")
    drawing.set_labels(axes, title="Loss", y=label)


def _accuracy_panel(axes: Axes, parts: Mapping[str, Series], band: str) -> None:
    for part, (_, values) in parts.items():
        known = values[np.isfinite(values)]
        if np.any(known < 0) or np.any(known > 1):
            raise ValueError(
                f'"{part}/accuracy" must lie in [0, 1], got {known.min():.4g} to '
                f"{known.max():.4g}. Divide percentages by 100."
            )
    _lines(axes, parts, band, 100, "{:.2f}", " %")
    drawing.set_labels(axes, title="Accuracy", y="accuracy (%)")


def _rate_panel(axes: Axes, epochs: np.ndarray, values: np.ndarray) -> None:
    look = drawing.Look(_GREEN, "o", "-")
    seeds = {f"_{m}": plots.Curve(epochs, each, look=look) for m, each in enumerate(values.T)}
    plots.series(axes, seeds)
    steps = 2 * len(np.unique(values)) <= len(values)
    log = steps and scales.spans(values, 5)
    if log:
        scales.log(axes, values)
    else:
        axes.set_ylim(bottom=0)
    label = "learning rate" + (" (log scale)" if log else "")
    drawing.set_labels(axes, title="Learning rate", y=label)


def _lines(
    axes: Axes,
    parts: Mapping[str, Series],
    band: str,
    scale: float,
    number: str,
    unit: str = "",
) -> None:
    """A line for each part, with its band over the seeds and its last value in the legend."""
    drawn = {}
    for index, (part, label) in enumerate(_PARTS.items()):
        if part in parts:
            epochs, values = parts[part]
            interval = cast(drawing.Interval, band)
            look = drawing.look(index)
            curve = plots.mean_curve(values, epochs, interval, scale=scale, look=look)
            error = band == "standard error"
            drawn[f"{label}, last {curve.last(number, unit, error=error)}"] = curve
    seeds = max(values.shape[1] for _, values in parts.values())
    what = "± standard error" if band == "standard error" else "smallest to largest"
    plots.series(axes, drawn)
    drawing.legend(axes, "inside", f"mean of {seeds} seeds, band {what}" if seeds > 1 else "")


# Confusion matrix ----------------------------------------------------------------------------


def confusion_matrix(counts: ArrayLike, class_names: Sequence[str], *, title: str = "") -> Figure:
    """Draws a confusion matrix, each row shaded by its percentages on a root scale.

    The counts are printed up to 20 classes; above 25 not every class has a tick. The row of a
    class without examples stays white.

    Args:
      counts: [K, K] integers >= 0, rows the true class, columns the predicted one.
      class_names: K names.
      title: above the figure.

    Raises:
      ValueError: ``counts`` is no square of counts, or names are not as many.
    """
    from matplotlib.colors import PowerNorm  # noqa: PLC0415 matplotlib is slow to import

    table = calibration_lib.square_counts(counts)
    k = len(table)
    if len(class_names) != k:
        raise ValueError(
            f"class_names must be as many as the classes in counts, {k}, got {len(class_names)}."
        )
    totals = table.sum(1, keepdims=True)
    percent = 100 * table / np.maximum(totals, 1)
    side = float(np.clip(2.2 + 0.52 * k, 4.2, 11.0))
    figure, [[axes]] = drawing.figure(size=(side + 1.4, side))
    # A root scale: confusions of 1 % can be seen beside a diagonal of 90 %.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    image = axes.imshow(percent, cmap="Blues", norm=norm, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
    bar.set_label("% of the true class (square-root scale)")
    correct = table.trace() / max(table.sum(), 1)
    default = f"{100 * correct:.2f} % of {table.sum():,} correct"
    drawing.set_labels(
        axes,
        title=f"{title}\n{default}" if title else default,
        x="predicted class",
        y="true class",
    )
    _class_ticks(axes, class_names)
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
    names = [_short(printable(str(class_names[i]))) for i in places]
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
    calibration: calibration_lib.Calibration, *, title: str = "", pooled: str = ""
) -> Figure:
    """Draws accuracy against confidence, over a histogram of the confidence.

    Bars under the diagonal are too confident, bars over it not confident enough.

    Args:
      calibration: from `cnnlab.report.calibration.expected_calibration_error`.
      title: above the figure.
      pooled: whose predictions are counted together, such as "5 seeds"; nothing for one network's.
        The error of all together is not the mean of their errors.

    Raises:
      TypeError: if it is not a Calibration.

    Source: Guo et al., ICML 2017, figure 1.
    """
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
    figure, [[upper], [lower]] = drawing.figure(1, 2, size=(4.8, 5.6), share_x=True, heights=(3, 1))
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
    drawing.legend(upper, "inside")
    together = f"{pooled} pooled, " if pooled else ""
    measured = f"ECE {100 * calibration.ece:.2f} % ({together}{len(left)} bins, {total:,} examples)"
    text = f"{title}\n{measured}" if title else measured
    drawing.set_labels(upper, title=text, y="accuracy (%)")
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
    drawing.set_labels(lower, x="confidence (%)", y="examples (%)")
    for axes in (upper, lower):
        drawing.tidy(axes)
    return figure

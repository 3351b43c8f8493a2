"""Figures of images: before and after, with PSNR and SSIM; methods by score; learned filters.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.drawing import COLOURS, PathLike, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INCHES = 1.15  # an image's side


class Row(NamedTuple):
    """The same pictures in one state.

    Attributes:
      images: ``[n, H, W, C]``, 0 to 1 (what lies outside is drawn as black or white); C is 1 or 3.
      psnr: ``[n]`` in dB, written under them, or None.
      ssim: ``[n]``, likewise.
    """

    images: ArrayLike
    psnr: ArrayLike | None = None
    ssim: ArrayLike | None = None


def restorations(rows: Mapping[str, Row], path: PathLike, *, title: str = "") -> pathlib.Path:
    """Saves rows of images as a PNG; see ``draw_restorations``.

    Returns:
      The path.
    """
    return save(draw_restorations(rows, title=title), path)


def draw_restorations(rows: Mapping[str, Row], *, title: str = "") -> Figure:
    """Draws a row for each state of the same pictures, such as original, noisy and restored.

    Args:
      rows: label -> row, from top to bottom; as many images in each.
      title: above the figure.

    Raises:
      ValueError: if there is no image, a row has another number of them than the first, images
        are not grey or RGB, or there are not as many scores as images.
    """
    from matplotlib.figure import Figure

    shown = {label: np.asarray(row.images, np.float64) for label, row in rows.items()}
    counts = {label: len(images) for label, images in shown.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f"each row must have the same images, at least one, got {counts}.")
    (count,) = set(counts.values())
    for label, images in shown.items():
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(
                f"images of row {label!r} must be [n, H, W, C] with C = 1 or 3, got shape "
                f"{images.shape}."
            )
        for name in ("psnr", "ssim"):
            scores = getattr(rows[label], name)
            if scores is not None and np.shape(scores) != (count,):
                raise ValueError(
                    f"{name} of row {label!r} must be [{count}], a number an image, got shape "
                    f"{np.shape(scores)}."
                )
    size = (_INCHES * (count + 1.1), (_INCHES + 0.27) * len(rows) + 0.4)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for axes_row, (label, row) in zip(grid, rows.items(), strict=True):
        for column, axes in enumerate(axes_row):
            _picture(axes, np.clip(shown[label][column], 0, 1))
            axes.set_xlabel(_score(row, column), fontsize=7.5, labelpad=2)
        axes_row[0].set_ylabel(
            label, rotation=0, ha="right", va="center", fontsize=9, parse_math=False
        )
    note = "under each image: PSNR in dB · SSIM" if any(_score(r, 0) for r in rows.values()) else ""
    figure.suptitle("\n".join(filter(None, [title, note])), fontsize=10, parse_math=False)
    return figure


def _picture(axes: Axes, image: np.ndarray) -> None:
    coloured = np.broadcast_to(image, (*image.shape[:2], 3))
    axes.imshow(coloured, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def _score(row: Row, column: int) -> str:
    parts = []
    if row.psnr is not None:
        parts.append(f"{np.asarray(row.psnr)[column]:.1f}")
    if row.ssim is not None:
        parts.append(f"{np.asarray(row.ssim)[column]:.2f}")
    return " · ".join(parts)


# Scores --------------------------------------------------------------------------------------


def scores(
    panels: Mapping[str, Mapping[str, Mapping[str, Any]]],
    path: PathLike,
    *,
    ours: Sequence[str] = (),
    title: str = "",
) -> pathlib.Path:
    """Saves the scores of methods as a PNG; see ``draw_scores``.

    Returns:
      The path.
    """
    return save(draw_scores(panels, ours=ours, title=title), path)


def draw_scores(
    panels: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    ours: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Draws methods from top to bottom, and what they score from left to right.

    Args:
      panels: score, such as "PSNR (dB)" -> method -> ``{"mean", "interval"}``: the mean over
        images and seeds and the ends of its interval, or None. The same methods in each.
      ours: which ones are drawn in another colour.
      title: above the figure.

    Raises:
      ValueError: if there is no method, or panels have different ones.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = [list(methods) for methods in panels.values()]
    if not names or not names[0] or any(each != names[0] for each in names):
        raise ValueError(f"each panel must have the same methods, at least one, got {names}.")
    figure = Figure(
        figsize=(2.6 + 3.4 * len(panels), 1.3 + 0.34 * len(names[0])), dpi=120, layout="constrained"
    )
    for axes, (label, methods) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for place, (method, figures) in enumerate(methods.items()):
            mean = figures["mean"]
            low, high = figures["interval"] or (mean, mean)
            mine = method in ours
            colour, marker = (COLOURS[1], "o") if mine else (COLOURS[0], "s")
            reach = [[max(mean - low, 0)], [max(high - mean, 0)]]
            axes.errorbar(mean, place, xerr=reach, fmt=marker, color=colour, ms=6, capsize=3)
        axes.set_yticks(range(len(names[0])), names[0], parse_math=False)
        axes.set_ylim(len(names[0]) - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(label)
        tidy(axes)
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


# Filters -------------------------------------------------------------------------------------


def filters(kernels: ArrayLike, path: PathLike, *, most: int = 64, title: str = "") -> pathlib.Path:
    """Saves learned filters as a PNG; see ``draw_filters``.

    Returns:
      The path.
    """
    return save(draw_filters(kernels, most=most, title=title), path)


def draw_filters(kernels: ArrayLike, *, most: int = 64, title: str = "") -> Figure:
    """Draws filters as images: no weight is grey, the largest of a filter black or white.

    Args:
      kernels: ``[h, w, C, F]``: F filters of C = 1 or 3 channels, such as the kernel of the first
        convolution, or that of a dense layer cut into images.
      most: so many of them, those of the largest norm, in their order.
      title: above the figure.

    Raises:
      ValueError: for another shape, or ``most`` below 1.
    """
    from matplotlib.figure import Figure

    weights = np.asarray(kernels, np.float64)
    if weights.ndim != 4 or weights.shape[2] not in (1, 3) or not weights.size:
        raise ValueError(
            f"kernels must be [h, w, C, F] with C = 1 or 3, got shape {weights.shape}."
        )
    if most < 1:
        raise ValueError(f"most must be at least 1 filter, got {most}.")
    total = weights.shape[-1]
    norms = np.sqrt(np.square(weights).sum((0, 1, 2)))
    weights = weights[..., np.sort(np.argsort(-norms, kind="stable")[:most])]
    count = weights.shape[-1]
    columns = min(count, max(4, int(np.ceil(np.sqrt(count * 1.6)))))
    rows = -(-count // columns)
    size = (0.62 * columns + 0.3, 0.62 * rows + 0.5)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, weight in zip(grid.flat, np.moveaxis(weights, -1, 0), strict=False):
        axes.axis("on")
        _picture(axes, 0.5 + weight / (2 * max(np.abs(weight).max(), 1e-12)))
    if count < total:
        title = f"{title}: the {count} largest of {total}".removeprefix(": ")
    figure.suptitle(title, fontsize=10, parse_math=False)
    return figure

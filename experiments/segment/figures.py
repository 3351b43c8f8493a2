"""Figures of segmentation: scenes with masks and errors, and IoU by class and by scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing, mosaics, plots, scales

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MISSED, _WRONG, _EXTRA = "#000000", "#F0E442", "#CC0077"  # none is a class's colour
_ERRORS = {"missed": _MISSED, "another class": _WRONG, "seen on the background": _EXTRA}


def overlays(
    images: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Draws a row for each scene: the image, the truth, and for each network its mask and errors.

    Masks lie over the grey image, a colour for each class, their names in a legend. Errors are
    black where a digit was missed, magenta where one was seen on the background, yellow where one
    was taken for another.

    Args:
      images: uint8 ``[N, H, W, C]`` with 1 or 3 channels.
      truth: integers ``[N, H, W]``, 0 for the background.
      predictions: label -> integers ``[N, H, W]``.
      class_names: K, the background first.
      title: above the figure.

    Raises:
      ValueError: if shapes do not fit, or there is no scene or no prediction.
    """
    from matplotlib.patches import Patch  # noqa: PLC0415 matplotlib is slow to import

    _check(images, truth, predictions, class_names)
    columns = ["image", "truth"]
    for label in predictions:
        columns += [label, "its errors"]
    rows: list[list[ArrayLike | None]] = []
    for index, (image, mask) in enumerate(zip(images, truth, strict=True)):
        row: list[ArrayLike | None] = [image, _coloured(image, mask)]
        for masks in predictions.values():
            row += [_coloured(image, masks[index]), _errors(image, mask, masks[index])]
        rows.append(row)
    figure, grid = mosaics.mosaic(rows, columns=columns, side=1.4, title=title, below=0.7)
    for axes in grid.flat:
        axes.set_axis_off()
    there = sorted({*np.unique(truth), *(c for p in predictions.values() for c in np.unique(p))})
    handles = [Patch(color=_colour(k), label=class_names[k]) for k in there if k > 0]
    handles += [Patch(color=colour, label=f"error: {name}") for name, colour in _ERRORS.items()]
    across = max(int(1.1 * len(columns)), 2)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=across, fontsize=8, frameon=False
    )
    return figure


def iou_by_class(
    networks: Mapping[str, ArrayLike], class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draws the IoU of each class, and their mean after a gap, beside each other for networks.

    Means over seeds, which are small dots.

    Args:
      networks: label -> IoU ``[M, K]`` in [0, 1]; NaN where there is none.
      class_names: K.
      title: above the figure.

    Raises:
      ValueError: if there is no network, or for other shapes.
    """
    count = len(class_names)
    values = {label: 100 * np.asarray(iou, np.float64) for label, iou in networks.items()}
    if not values or any(v.ndim != 2 or v.shape[1] != count or not len(v) for v in values.values()):
        raise ValueError(
            f"IoU must be [M, K] with K = {count} classes for each network, got "
            f"{ {label: v.shape for label, v in values.items()} }."
        )
    size = (max(7.0, 1.0 + 0.75 * (count + 2)), 4.6)
    figure, [[axes]] = drawing.figure(size=size, title=title)
    places = np.array([*range(count), count + 0.5])
    width = 0.8 / len(values)
    for index, (label, iou) in enumerate(values.items()):
        joined = np.concatenate([iou, np.nanmean(iou, axis=1, keepdims=True)], axis=1)
        at = places + (index - (len(values) - 1) / 2) * width
        heights = joined.mean(0)
        known = ~np.isnan(heights)
        colour = drawing.look(index).colour
        axes.bar(at[known], heights[known], 0.9 * width, color=colour, label=label, alpha=0.75)
        if len(iou) > 1:
            for seed in joined:
                axes.plot(at, seed, ".", color="black", markersize=3)
    scales.names(axes, [*class_names, "mean"], places.tolist())
    axes.set_ylim(0, 100)
    drawing.tidy(axes)
    drawing.set_labels(axes, y="intersection over union (%)")
    seeds = max(len(v) for v in values.values())
    several = f"means of {seeds} seeds, which are the dots" if seeds > 1 else ""
    drawing.legend(axes, "below", several, columns=4)
    return figure


def iou_by_scenes(networks: Mapping[str, Mapping[int, ArrayLike]], *, title: str = "") -> Figure:
    """Draws mean IoU against the number of training scenes, a line for each start.

    Means over the seeds, with bars of one standard error.

    Args:
      networks: label -> scenes -> mean IoU ``[M]`` in [0, 1].
      title: above the figure.

    Raises:
      ValueError: if there is nothing to draw.
    """
    if not networks or not all(networks.values()):
        raise ValueError("there must be a start, with a number of scenes for each, got none.")
    figure, [[axes]] = drawing.figure(size=(6.8, 4.9), title=title)
    curves, seeds = {}, 1
    for label, by_scenes in networks.items():
        scenes = sorted(by_scenes)
        values = np.asarray([by_scenes[n] for n in scenes], np.float64)
        curves[label] = plots.mean_curve(values, scenes, scale=100)
        seeds = max(seeds, values.shape[1])
    scales.log_counts(axes, [n for by_scenes in networks.values() for n in by_scenes])
    plots.series(axes, curves, intervals="bars", spread=0.04)
    drawing.set_labels(
        axes,
        x="scenes with masks to learn from (log scale)",
        y="mean intersection over union (%)",
    )
    drawing.legend(axes, "below", f"mean of {seeds} seeds ± standard error" if seeds > 1 else "")
    return figure


def _check(
    images: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> None:
    if not predictions or not len(images):
        raise ValueError("there must be a scene and a prediction to draw, got none.")
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] not in (1, 3):
        raise ValueError(
            "images must be uint8 [N, H, W, C] with 1 or 3 channels, got "
            f"{images.dtype} of shape {images.shape}."
        )
    for name, masks in (("truth", truth), *predictions.items()):
        if masks.shape != images.shape[:3]:
            raise ValueError(
                f"{name} must be masks {list(images.shape[:3])} of the images, got shape "
                f"{masks.shape}."
            )
        if masks.min() < 0 or masks.max() >= len(class_names):
            raise ValueError(
                f"{name} must be in 0..{len(class_names) - 1}, there are {len(class_names)} names, "
                f"got {masks.min()} to {masks.max()}."
            )


def _grey(image: np.ndarray) -> np.ndarray:
    """The image without colours, and paler, to draw on: float [H, W, 3] in [0, 1]."""
    grey = image.mean(-1, keepdims=True) / 255
    return np.broadcast_to(0.35 + 0.55 * grey, (*image.shape[:2], 3)).copy()


def _colour(index: int) -> tuple[float, float, float]:
    """The colour of a class; the background has none."""
    import matplotlib  # noqa: PLC0415 it is slow to import

    order = (*range(0, 20, 2), *range(1, 20, 2))  # the strong ones first
    red, green, blue, _ = matplotlib.colormaps["tab20"](order[(index - 1) % 20])
    return red, green, blue


def _coloured(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    picture = _grey(image)
    for k in np.unique(mask):
        if k > 0:
            where = mask == k
            picture[where] = 0.2 * picture[where] + 0.8 * np.asarray(_colour(int(k)))
    return picture


def _errors(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    from matplotlib.colors import to_rgb  # noqa: PLC0415 matplotlib is slow to import

    picture = _grey(image)
    wrong = truth != predicted
    for where, colour in (
        (wrong & (predicted == 0), _MISSED),
        (wrong & (truth == 0), _EXTRA),
        (wrong & (truth > 0) & (predicted > 0), _WRONG),
    ):
        picture[where] = to_rgb(colour)
    return picture

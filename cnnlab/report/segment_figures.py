"""Figures of segmentation: scenes under what was said of them, and IoU by class and by scenes.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours where lines are told apart.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.drawing import COLOURS, PathLike, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MISSED, _WRONG, _EXTRA = "#000000", "#F0E442", "#CC0077"  # none is a class's colour


def overlays(
    images: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    path: PathLike,
    *,
    title: str = "",
) -> pathlib.Path:
    """Saves scenes, their masks, what was predicted and the errors as a PNG.

    See ``draw_overlays``.

    Returns:
      The path.
    """
    return save(draw_overlays(images, truth, predictions, class_names, title=title), path)


def draw_overlays(
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
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    _check(images, truth, predictions, class_names)
    columns = ["image", "truth"]
    for label in predictions:
        columns += [label, "its errors"]
    rows = len(images)
    figure = Figure(figsize=(1.45 * len(columns), 1.45 * rows + 1.3), dpi=120, layout="constrained")
    grid = figure.subplots(rows, len(columns), squeeze=False)
    for row, (image, mask) in enumerate(zip(images, truth, strict=True)):
        shown: list[np.ndarray] = [_rgb(image), _coloured(image, mask)]
        for found in predictions.values():
            shown += [_coloured(image, found[row]), _errors(image, mask, found[row])]
        for axes, picture, name in zip(grid[row], shown, columns, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(textwrap.fill(name, 18), fontsize=9.5, parse_math=False)
    errors = {"missed": _MISSED, "another class": _WRONG, "seen on the background": _EXTRA}
    there = sorted({*np.unique(truth), *(c for p in predictions.values() for c in np.unique(p))})
    handles = [Patch(color=_colour(k), label=class_names[k]) for k in there if k > 0]
    handles += [Patch(color=colour, label=f"error: {name}") for name, colour in errors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=7, fontsize=8, frameon=False)
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    return figure


def iou_by_class(
    networks: Mapping[str, ArrayLike],
    class_names: Sequence[str],
    path: PathLike,
    *,
    title: str = "",
) -> pathlib.Path:
    """Saves IoU by class as a PNG; see ``draw_iou_by_class``.

    Returns:
      The path.
    """
    return save(draw_iou_by_class(networks, class_names, title=title), path)


def draw_iou_by_class(
    networks: Mapping[str, ArrayLike], class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draws the IoU of each class, and their mean behind a gap, beside each other for networks.

    Means over seeds, which are small dots.

    Args:
      networks: label -> IoU ``[M, K]`` in [0, 1]; NaN where there is none.
      class_names: K.
      title: above the figure.

    Raises:
      ValueError: if there is no network, or for other shapes.
    """
    from matplotlib.figure import Figure

    count = len(class_names)
    values = {label: 100 * np.asarray(iou, np.float64) for label, iou in networks.items()}
    if not values or any(v.ndim != 2 or v.shape[1] != count or not len(v) for v in values.values()):
        raise ValueError(
            f"IoU must be [M, K] with K = {count} classes for each network, got "
            f"{ {label: v.shape for label, v in values.items()} }."
        )
    seeds = max(len(v) for v in values.values())
    figure = Figure(figsize=(max(7.0, 1.0 + 0.75 * (count + 2)), 4.6), dpi=120)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    places = np.array([*range(count), count + 0.5])
    width = 0.8 / len(values)
    for index, (label, iou) in enumerate(values.items()):
        mean = np.nanmean(iou, axis=1, keepdims=True)
        joined = np.concatenate([iou, mean], axis=1)
        at = places + (index - (len(values) - 1) / 2) * width
        colour = COLOURS[index % len(COLOURS)]
        heights = joined.mean(0)
        known = ~np.isnan(heights)
        axes.bar(at[known], heights[known], 0.9 * width, color=colour, label=label, alpha=0.75)
        if seeds > 1:
            for row in joined:
                axes.plot(at, row, ".", color="black", markersize=3)
    axes.set_xticks(places, [*class_names, "mean"], rotation=30 if count > 6 else 0)
    axes.set_ylabel("intersection over union (%)")
    axes.set_ylim(0, 100)
    if title:
        axes.set_title(title, fontsize=12, parse_math=False)
    tidy(axes)
    several = f"means of {seeds} seeds, which are the dots" if seeds > 1 else ""
    _legend(axes, several)
    return figure


def iou_by_scenes(
    networks: Mapping[str, Mapping[int, ArrayLike]], path: PathLike, *, title: str = ""
) -> pathlib.Path:
    """Saves mean IoU against the scenes that were learned from as a PNG.

    See ``draw_iou_by_scenes``.

    Returns:
      The path.
    """
    return save(draw_iou_by_scenes(networks, title=title), path)


def draw_iou_by_scenes(
    networks: Mapping[str, Mapping[int, ArrayLike]], *, title: str = ""
) -> Figure:
    """Draws mean IoU against the number of training scenes, a line for each start.

    Means over the seeds, with bars of one standard error.

    Args:
      networks: label -> scenes -> mean IoU ``[M]`` in [0, 1].
      title: above the figure.

    Raises:
      ValueError: if there is nothing to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    if not networks or not all(networks.values()):
        raise ValueError("there must be a start, with a number of scenes for each, got none.")
    figure = Figure(figsize=(6.8, 4.9), dpi=120, layout="constrained")
    axes = figure.subplots()
    seeds = 1
    for index, (label, found) in enumerate(networks.items()):
        scenes = sorted(found)
        values = [100 * np.asarray(found[n], np.float64) for n in scenes]
        seeds = max(seeds, *(len(v) for v in values))
        errors = [v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0.0 for v in values]
        axes.errorbar(
            np.array(scenes) * 1.012 ** (index - (len(networks) - 1) / 2),  # side by side
            [v.mean() for v in values],
            yerr=errors,
            fmt=("o-", "s--", "^-.", "D:")[index % 4],
            color=COLOURS[index % len(COLOURS)],
            linewidth=1.6,
            capsize=3,
            markersize=5,
            label=label,
        )
    every = sorted({n for found in networks.values() for n in found})
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(every, [f"{n:,}" for n in every])
    axes.set_xlabel("scenes with masks to learn from (log scale)")
    axes.set_ylabel("mean intersection over union (%)")
    if title:
        axes.set_title(title, fontsize=12, parse_math=False)
    tidy(axes)
    _legend(axes, f"mean of {seeds} seeds ± standard error" if seeds > 1 else "")
    return figure


def _legend(axes: Axes, title: str) -> None:
    axes.legend(
        fontsize=9,
        title=title,
        title_fontsize=9,
        ncols=2,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        frameon=False,
        alignment="left",
    )


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


def _rgb(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return np.broadcast_to(image, (*image.shape[:2], 3))


def _grey(image: np.ndarray) -> np.ndarray:
    """The image without colours, and paler, to draw on: float [H, W, 3] in [0, 1]."""
    grey = image.mean(-1, keepdims=True) / 255
    return np.broadcast_to(0.35 + 0.55 * grey, (*image.shape[:2], 3)).copy()


def _colour(index: int) -> tuple[float, float, float]:
    """Of a class; the background has none."""
    import matplotlib

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


def _errors(image: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    from matplotlib.colors import to_rgb

    picture = _grey(image)
    wrong = truth != found
    for where, colour in (
        (wrong & (found == 0), _MISSED),
        (wrong & (truth == 0), _EXTRA),
        (wrong & (truth > 0) & (found > 0), _WRONG),
    ):
        picture[where] = to_rgb(colour)
    return picture

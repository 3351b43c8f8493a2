"""Images in a grid with labels, frames and captions, and kernels as images."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = 0.3  # of an image's width


def mosaic(
    rows: Mapping[str, Sequence[ArrayLike | None]],
    *,
    columns: Sequence[str] = (),
    captions: Mapping[str, Sequence[str]] | None = None,
    side: float = 1.15,
    title: str = "",
) -> tuple[Figure, np.ndarray]:
    """Images in rows and columns.

    Args:
      rows: label, at the left -> images, as ``picture`` takes them, as many in each row. A column
        of None is a narrow gap; another None leaves a place empty.
      columns: labels above the images.
      captions: row -> a line under each of its images.
      side: of an image, in inches.
      title: above all.

    Returns:
      The figure and its axes ``[rows, columns]``, with pixels as coordinates.

    Raises:
      ValueError: if there is no image, or rows are not as long as each other.
    """
    counts = {label: len(images) for label, images in rows.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f"each row must have as many images, at least one, got {counts}.")
    (count,) = set(counts.values())
    gaps = [all(images[i] is None for images in rows.values()) for i in range(count)]
    widths = [_GAP if gap else 1.0 for gap in gaps]
    left = min(max(map(len, rows)), _LABEL) * 0.085 + 0.3
    lines = [textwrap.fill(each, _letters(side)) for each in columns]
    above = 0.17 * max((each.count("\n") + 1 for each in lines), default=0)
    wide = (side + 0.08) * sum(widths) + left
    title = drawing.wrapped(title, wide, 11)
    above += 0.25 * (title.count("\n") + 1) if title else 0
    tall = (side + 0.08 + (0.2 if captions else 0.0)) * len(rows) + above + 0.1
    figure, grid = drawing.figure(
        count, len(rows), size=(wide, tall), widths=widths, layout="compressed"
    )
    if title:
        figure.suptitle(title, fontsize=11, parse_math=False)
    for line, (label, images) in zip(grid, rows.items(), strict=True):
        for column, (axes, image) in enumerate(zip(line, images, strict=True)):
            if image is None:
                axes.set_axis_off()
                continue
            picture(axes, image)
            if captions and label in captions:
                axes.set_xlabel(captions[label][column], fontsize=7.5, labelpad=2, parse_math=False)
        line[0].set_ylabel(
            textwrap.fill(label, _LABEL),
            rotation=0,
            ha="right",
            va="center",
            fontsize=9,
            parse_math=False,
        )
    for axes, name in zip(grid[0], lines, strict=False):
        axes.set_title(name, fontsize=9, parse_math=False)
    return figure, grid


_LABEL = 18  # letters of a row's label in a line


def _letters(side: float) -> int:
    return max(int(side * 14), 8)


def picture(axes: Axes, image: ArrayLike) -> None:
    """Draws an image without ticks; coordinates are pixels from its upper left corner.

    Args:
      axes: to draw into.
      image: ``[H, W]`` or ``[H, W, C]``, C = 1 or 3; uint8, or floats in [0, 1] (what is outside
        is black or white).

    Raises:
      ValueError: for another shape.
    """
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"an image must be [H, W, C] with C = 1 or 3, got {np.shape(image)}.")
    if pixels.dtype != np.uint8:
        pixels = np.clip(pixels.astype(np.float64), 0, 1)
    height, width = pixels.shape[:2]
    axes.imshow(
        np.broadcast_to(pixels, (height, width, 3)),
        interpolation="nearest",
        extent=(0, width, height, 0),
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def frame(axes: Axes, colour: str, *, dashed: bool = False) -> None:
    """A thick frame round a picture."""
    x0, x1 = axes.get_xlim()
    y1, y0 = axes.get_ylim()
    rectangle(axes, (y0, x0, y1, x1), colour, dashes=(0, (2.2, 1.4)) if dashed else "-", width=2.2)


def rectangle(
    axes: Axes,
    box: Sequence[float] | np.ndarray,
    colour: str,
    *,
    dashes: str | tuple[float, Sequence[float]] = "-",
    width: float = 1.5,
    text: str = "",
) -> None:
    """A box (y0, x0, y1, x1) in pixels, with a text over its upper left corner."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415 matplotlib is slow to import

    y0, x0, y1, x1 = (float(side) for side in box)
    axes.add_patch(
        Rectangle(
            (x0, y0),
            x1 - x0,
            y1 - y0,
            fill=False,
            edgecolor=colour,
            linestyle=dashes,
            linewidth=width,
            clip_on=False,
        )
    )
    if text:
        ground = {"facecolor": colour, "edgecolor": "none", "pad": 0.6}
        axes.text(
            x0, y0, text, fontsize=6.5, color="black", va="bottom", bbox=ground, parse_math=False
        )


# Filters -------------------------------------------------------------------------------------


def filters(kernels: Mapping[str, ArrayLike], *, most: int = 64, title: str = "") -> Figure:
    """Draws filters as images, a panel for each layer.

    No weight is medium grey, the largest of each filter black or white. Those of the largest norm
    come first.

    Args:
      kernels: label -> ``[h, w, C, F]``: F filters of C = 1 or 3 channels, such as the kernel of
        the first convolution, or that of a dense layer on pixels, reshaped.
      most: of a layer; so many with the largest norm.
      title: above the figure.

    Raises:
      ValueError: without kernels, for another shape, or ``most`` below 1.

    Source: Erhan et al., JMLR 2010, and Vincent et al., JMLR 2010, who show layers so.
    """
    if not kernels or most < 1:
        raise ValueError(f"there must be a kernel and at least 1 filter, got most = {most}.")
    figure, [panels] = drawing.figure(
        len(kernels), size=(4.4 * len(kernels), 4.9), title=title, layout="compressed"
    )
    for axes, (label, kernel) in zip(panels, kernels.items(), strict=True):
        images = kernel_images(kernel, most)
        picture(axes, tiles(images))
        axes.set_axis_off()
        total = np.shape(kernel)[-1]
        shown = f"{total}" if len(images) == total else f"the {len(images)} largest of {total}"
        drawing.set_labels(axes, title=f"{label}: {shown}")
    return figure


def kernel_images(kernels: ArrayLike, most: int) -> np.ndarray:
    """The filters of the largest norm, largest first, as images ``[n, h, w, C]`` in [0, 1].

    Args:
      kernels: ``[h, w, C, F]``, C = 1 or 3.
      most: at most so many.

    Raises:
      ValueError: for another shape.
    """
    weights = np.asarray(kernels, np.float64)
    if weights.ndim != 4 or weights.shape[2] not in (1, 3) or not weights.size:
        raise ValueError(
            f"kernels must be [h, w, C, F] with C = 1 or 3, got shape {weights.shape}."
        )
    norms = np.sqrt(np.square(weights).sum((0, 1, 2)))
    chosen = np.moveaxis(weights[..., np.argsort(-norms, kind="stable")[:most]], -1, 0)
    largest = np.abs(chosen).max((1, 2, 3), keepdims=True)
    return 0.5 + chosen / (2 * np.maximum(largest, 1e-12))


def tiles(images: ArrayLike) -> np.ndarray:
    """Images ``[N, h, w, C]`` in [0, 1] as one, in about as many rows as columns, white between."""
    array = np.asarray(images, np.float64)
    count, height, width, channels = array.shape
    across = int(np.ceil(np.sqrt(count)))
    down = -(-count // across)
    canvas = np.ones((down * (height + 1) - 1, across * (width + 1) - 1, channels))
    for index, image in enumerate(array):
        y, x = divmod(index, across)
        canvas[y * (height + 1) :, x * (width + 1) :][:height, :width] = image
    return canvas

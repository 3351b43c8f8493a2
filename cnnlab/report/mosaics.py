"""Images in a grid with labels, frames and captions, and kernels as images."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import drawing
from cnnlab.spelling import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = 0.3  # of an image's width
_LABEL = 18  # letters of a row's label in a line


def mosaic(
    rows: Sequence[Sequence[ArrayLike | None]],
    *,
    labels: Sequence[str] = (),
    columns: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    side: float = 1.15,
    below: float = 0.0,
    title: str = "",
) -> tuple[Figure, Any]:
    """Images in rows and columns.

    Args:
      rows: images, as ``picture`` takes them, as many in each row. A column of None is a narrow
        gap; another None leaves a place empty.
      labels: of the rows, at the left.
      columns: labels above the images; one reaches over the columns after it whose labels are
        empty, up to the next gap.
      captions: of each row, a line under each image.
      side: of an image, in inches.
      below: room for a legend of the figure, in inches.
      title: above all.

    Returns:
      The figure and its axes ``[rows, columns]``, with pixels as coordinates.

    Raises:
      ValueError: if there is no image, or rows are not as long as each other.
    """
    counts = [len(images) for images in rows]
    if len(set(counts)) != 1 or 0 in counts:
        raise ValueError(f"each row must have as many images, at least one, got {counts}.")
    gaps = [all(images[i] is None for images in rows) for i in range(counts[0])]
    headings = _headings(columns, gaps, side)
    pitch = side + 0.08
    width = pitch * sum(_GAP if gap else 1.0 for gap in gaps) + 0.2
    width += min(max(map(len, labels), default=0), _LABEL) * 0.085
    title = drawing.wrapped(title, width, 11)
    above = 0.17 * max((text.count("\n") + 1 for text, _ in headings.values()), default=0)
    above += 0.25 * (title.count("\n") + 1) if title else 0
    height = (pitch + (0.2 if captions else 0.0)) * len(rows) + above + below + 0.1
    figure, grid = drawing.figure(
        len(gaps),
        len(rows),
        size=(width, height),
        widths=[_GAP if gap else 1.0 for gap in gaps],
        layout="compressed",
    )
    if title:
        figure.suptitle(printable(title), fontsize=11, parse_math=False)
    for i, j in np.ndindex(grid.shape):
        axes = grid[i, j]
        image = rows[i][j]
        if image is None:
            axes.set_axis_off()
            continue
        picture(axes, image)
        if captions:
            axes.set_xlabel(printable(captions[i][j]), fontsize=7.5, labelpad=2, parse_math=False)
    place: dict[str, Any] = {"rotation": 0, "ha": "right", "va": "center"}
    for axes, label in zip(grid[:, 0], labels, strict=False):
        axes.set_ylabel(
            textwrap.fill(printable(label), _LABEL), fontsize=9, parse_math=False, **place
        )
    for column, (text, wide) in headings.items():
        _heading(grid[0, column], text, wide)
    return figure, grid


def _headings(
    columns: Sequence[str], gaps: Sequence[bool], side: float
) -> dict[int, tuple[str, bool]]:
    """Column -> the lines above it, and whether they are as wide as more columns than one."""
    headings: dict[int, tuple[str, bool]] = {}
    for index, label in enumerate(columns):
        if not label:
            continue
        end = index + 1
        while end < len(columns) and not columns[end] and not gaps[end]:
            end += 1
        letters = max(int((end - index) * (side + 0.08) * 13), 8)
        lines = "\n".join(textwrap.fill(line, letters) for line in label.split("\n"))
        headings[index] = lines, end > index + 1
    return headings


def _heading(axes: Axes, text: str, wide: bool) -> None:
    if not wide:
        axes.set_title(text, fontsize=9, parse_math=False)
        return
    above = axes.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 5),
        textcoords="offset points",
        fontsize=9,
        parse_math=False,
    )
    above.set_in_layout(False)  # its width belongs to other columns, too: this takes its height
    axes.set_title("\n".join(" " for _ in text.split("\n")), fontsize=9)


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
      most: kernels of a layer; those with the largest norm.
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
        _, height, width, _ = images.shape
        for index in range(len(images)):  # a white corner differs from the gap
            y, x = divmod(index, _across(len(images)))
            y0, x0 = y * (height + 1), x * (width + 1)
            rectangle(axes, (y0, x0, y0 + height, x0 + width), "#777777", width=0.4)
        total = np.shape(kernel)[-1]
        shown = f"{total}" if len(images) == total else f"the {len(images)} largest of {total}"
        drawing.set_labels(axes, title=f"{label}: {shown}")
    return figure


def kernel_images(kernels: ArrayLike, most: int) -> np.ndarray:
    """The filters of the largest norm, largest first, as images ``[n, h, w, C]`` in [0, 1].

    Args:
      kernels: ``[h, w, C, F]``, C = 1 or 3.
      most: at most this many.

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
    across = _across(count)
    down = -(-count // across)
    canvas = np.ones((down * (height + 1) - 1, across * (width + 1) - 1, channels))
    for index, image in enumerate(array):
        y, x = divmod(index, across)
        canvas[y * (height + 1) :, x * (width + 1) :][:height, :width] = image
    return canvas


def _across(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))

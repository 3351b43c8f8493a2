"""Figures of reconstructed images with their PSNR and SSIM, of methods by score, and kernels."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.models import Network
from cnnlab.report import drawing, mosaics, plots


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


def restorations(rows: Mapping[str, Row], *, title: str = "") -> Any:
    """Draws a row for each state of the same pictures, such as original, noisy and restored.

    Args:
      rows: label -> row, from top to bottom; as many images in each.
      title: above the figure.

    Returns:
      A matplotlib Figure.

    Raises:
      ValueError: if there is no image, a row has another number of them than the first, images
        are not grey or RGB, or there are not as many scores as images.
    """
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
    captions = [[_caption(row, i) for i in range(count)] for row in rows.values()]
    note = "under each image: PSNR in dB · SSIM" if any(map(any, captions)) else ""
    figure, _ = mosaics.mosaic(
        [list(images) for images in shown.values()],
        labels=list(rows),
        captions=captions if note else (),
        title="\n".join(filter(None, [title, note])),
    )
    return figure


def _caption(row: Row, column: int) -> str:
    parts = []
    if row.psnr is not None:
        parts.append(f"{np.asarray(row.psnr)[column]:.1f}")
    if row.ssim is not None:
        parts.append(f"{np.asarray(row.ssim)[column]:.2f}")
    return " · ".join(parts)


def scores(
    panels: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    ours: Sequence[str] = (),
    title: str = "",
) -> Any:
    """Draws methods from top to bottom, and their scores from left to right.

    Args:
      panels: score, such as "PSNR (dB)" -> method -> ``{"mean", "interval"}``: the mean over
        images and seeds and the ends of its interval, or None. The same methods in each.
      ours: the methods that are the network's, drawn in another colour.
      title: above the figure.

    Returns:
      A matplotlib Figure.

    Raises:
      ValueError: if there is no method, or panels have different ones.
    """
    names = [list(methods) for methods in panels.values()]
    if not names or not names[0] or any(each != names[0] for each in names):
        raise ValueError(f"each panel must have the same methods, at least one, got {names}.")
    size = (2.6 + 3.4 * len(panels), 1.6 + 0.34 * len(names[0]))
    figure, [grid] = drawing.figure(len(panels), size=size, title=title, share_y=True)
    groups = ("other methods", "the network")
    for axes, (label, methods) in zip(grid, panels.items(), strict=True):
        rows = []
        for method, score in methods.items():
            low, high = score["interval"] or (None, None)
            rows.append(plots.Dot(method, score["mean"], low, high, group=groups[method in ours]))
        plots.dots(axes, rows, groups=groups)
        drawing.set_labels(axes, x=label)
    if ours:
        drawing.figure_legend(figure)
    return figure


def first_filters(network: Network, params: Mapping[str, Any], shape: tuple[int, int, int]) -> Any:
    """Draws the filters of the first layer of the first member.

    Args:
      network: whose row it is.
      params: ``[M, ...]``.
      shape: of the images, which a dense layer's weights are cut into.

    Returns:
      A matplotlib Figure.
    """
    stage = next(params[name] for name in network.names if name in params)
    layer = next(stage[name] for name in ("conv", "conv1", "dense") if name in stage)
    kernel = np.asarray(layer["kernel"][0])  # [h, w, C, F], or [D, F] of a dense layer
    kernel = kernel if kernel.ndim == 4 else kernel.reshape(*shape, -1)
    return mosaics.filters({"first layer": kernel})

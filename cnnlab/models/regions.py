"""Regions of interest: pooling features inside boxes, and the two stages that classify regions.

A detector is a classifier's front with these after it, for windows that are the same for every
image:

    windows = sliding_windows((64, 64), shapes=((24, 24), (24, 16)))
    front = classifier.front("stage3")
    detector = region_network(front, windows, image_size=(64, 64), stride=4, num_classes=10)

Boxes are ``(y0, x0, y1, x1)`` in pixels of the image, y1 and x1 after the last row and column.

Sources: He et al., Spatial pyramid pooling in deep convolutional networks, ECCV 2014; Girshick,
Fast R-CNN, ICCV 2015, section 2; He et al., Mask R-CNN, ICCV 2017, section 3.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import numpy as np
from jax import numpy as jnp

from cnnlab.boxes import check_windows
from cnnlab.models.layers import Dense
from cnnlab.models.network import Network
from cnnlab.spelling import unknown

Window = tuple[float, float, float, float]
Pooling = Literal["max", "align"]


def roi_pool(features: jax.Array, boxes: jax.Array, size: int, scale: float) -> jax.Array:
    """The largest feature in each of ``size`` x ``size`` bins of each box.

    A box covers the cells from ``round(y0 * scale)`` to ``round(y1 * scale)``, both included, as in
    the authors' code (halves are rounded away from zero), and one cell at least. Of n cells, bin p
    has those from ``floor(p n / size)`` to ``ceil((p + 1) n / size)``: neighbouring bins may share
    a cell. Bins that lie outside the features are 0.

    Args:
      features: float ``[H, W, C]`` of one image; ``jax.vmap`` for several.
      boxes: float ``[R, 4]``, in pixels of the image. Their gradient is 0.
      size: bins down and across, >= 1.
      scale: cells a pixel, 1 / the stride of the features.

    Returns:
      ``[R, size, size, C]``. The gradient goes to the largest cell of a bin; where several are as
      large, they share it.

    Raises:
      ValueError: for other shapes, or a size or scale that is not positive.

    Source: Girshick, ICCV 2015, section 2.1; the same as torchvision.ops.roi_pool, but for its
    rounding errors in bins that end at a whole cell.
    """
    _check(features, boxes, size, scale)
    height, width, _ = features.shape
    rows = _bins(boxes[:, 0], boxes[:, 2], size, scale, height, jnp)
    columns = _bins(boxes[:, 1], boxes[:, 3], size, scale, width, jnp)

    return jax.vmap(_largest, in_axes=(None, 0, 0))(features, rows, columns)


def roi_align(
    features: jax.Array,
    boxes: jax.Array,
    size: int,
    scale: float,
    *,
    samples: int = 2,
    aligned: bool = True,
) -> jax.Array:
    """The mean of bilinearly interpolated features in each of ``size`` x ``size`` bins.

    Nothing is rounded, so that the result changes smoothly with the boxes.

    Args:
      features: float ``[H, W, C]`` of one image.
      boxes: float ``[R, 4]``, in pixels of the image.
      size: bins down and across, >= 1.
      scale: cells a pixel, 1 / the stride of the features.
      samples: points down and across in each bin, >= 1.
      aligned: cell i has its centre at i + 1/2, as pixels have; without, at i, and boxes are one
        cell large at least, as in the authors' first code.

    Returns:
      ``[R, size, size, C]``; differentiable in features and boxes.

    Raises:
      ValueError: for other shapes, or a size, scale or number of samples that is not positive.

    Source: He et al., ICCV 2017, section 3; the same as torchvision.ops.roi_align with this
    sampling_ratio.
    """
    _check(features, boxes, size, scale)
    if samples < 1:
        raise ValueError(f"samples must be at least 1 point a bin, got {samples}.")
    height, width, _ = features.shape
    how = (size, scale, samples, aligned)
    rows = _interpolation(boxes[:, 0], boxes[:, 2], height, *how, jnp)
    columns = _interpolation(boxes[:, 1], boxes[:, 3], width, *how, jnp)
    across = jnp.einsum("rqw,hwc->rhqc", columns, features)
    return jnp.einsum("rph,rhqc->rpqc", rows, across)


def sliding_windows(
    image_size: tuple[int, int],
    shapes: Sequence[tuple[float, float]],
    *,
    step: float = 0.25,
) -> tuple[Window, ...]:
    """Windows of several shapes, spread evenly over an image: proposals that need no image.

    Args:
      image_size: height and width in pixels.
      shapes: height and width of the windows in pixels; each is rounded to whole ones.
      step: the largest distance between neighbours, a fraction of the window's side, > 0.

    Returns:
      R boxes ``(y0, x0, y1, x1)``, shape by shape, row by row.

    Raises:
      ValueError: without shapes, for one that is empty or larger than the image, or a step of 0.
    """
    if not shapes:
        raise ValueError("there must be at least one shape of windows, got none.")
    if not step > 0:
        raise ValueError(f"the step must be a positive fraction of a window's side, got {step}.")
    windows: list[Window] = []
    for shape in shapes:
        sides = [round(side) for side in shape]
        if any(not 1 <= side <= whole for side, whole in zip(sides, image_size, strict=True)):
            raise ValueError(
                f"windows must be at least 1 x 1 pixel and fit into images of {image_size[0]} x "
                f"{image_size[1]}, got {shape[0]:g} x {shape[1]:g}."
            )
        tops, lefts = (
            _places(whole, side, step) for whole, side in zip(image_size, sides, strict=True)
        )
        windows += [(y, x, y + sides[0], x + sides[1]) for y in tops for x in lefts]
    return tuple(dict.fromkeys(windows))


class Regions(nn.Module):
    """Pools the same windows from the features of every image.

    Attributes:
      windows: R boxes in pixels.
      image_size: height and width of the images in pixels.
      stride: pixels a cell of the features.
      size: bins down and across.
      pooling: "max" is ``roi_pool``, "align" ``roi_align``.
    """

    windows: tuple[Window, ...]
    image_size: tuple[int, int]
    stride: int
    size: int = 3
    pooling: Pooling = "max"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, R, size, size, C]``.

        Raises:
          ValueError: for features that are not ``[N, H, W, C]`` of such images, an unknown pooling,
            and windows that are smaller than a cell or reach out of the image.
        """
        del train
        if x.ndim != 4:
            raise ValueError(f"features must be [N, H, W, C], got shape {x.shape}.")
        if self.pooling not in ("max", "align"):
            raise ValueError(unknown("pooling", self.pooling, ("max", "align")))
        if self.stride < 1 or x.shape[1:3] != tuple(-(-s // self.stride) for s in self.image_size):
            raise ValueError(
                "features must have image_size / stride cells, rounded up, got "
                f"{x.shape[1]} x {x.shape[2]} for image_size={tuple(self.image_size)} and stride="
                f"{self.stride}. Give those of the stage before, with padded convolutions."
            )
        boxes = np.asarray(self.windows, np.float32)
        check_windows(boxes, self.image_size, self.stride)
        scale = 1 / self.stride
        return _pool_windows(x, boxes, self.size, scale, self.pooling)


class RegionHead(nn.Module):
    """Classifies regions and corrects their boxes: ``[N, R, ...] -> [N, R, K + 1 + 4]``.

    The outputs of a region are the logits of the background and of K classes, and the four
    corrections that ``transfer.detection.decode`` applies, which all classes share. Both start near
    zero, with the paper's deviations of 0.01 and 0.001.

    Attributes:
      num_classes: K.
      hidden: units of the dense layers before, ``dense1``, ``dense2`` …
      dtype: of the computation; the outputs are float32.
    """

    num_classes: int
    hidden: tuple[int, ...] = (64,)
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        x = x.reshape(*x.shape[:2], -1)
        for number, units in enumerate(self.hidden, start=1):
            init = nn.initializers.he_normal()
            dense = Dense(units, kernel_init=init, dtype=self.dtype, name=f"dense{number}")
            x = nn.relu(dense(x))
        outputs = [
            Dense(count, kernel_init=nn.initializers.normal(std), dtype=self.dtype, name=name)(x)
            for name, count, std in (("classes", self.num_classes + 1, 0.01), ("boxes", 4, 0.001))
        ]
        return jnp.concatenate(outputs, axis=-1).astype(jnp.float32)


def region_network(
    front: Network,
    windows: tuple[Window, ...],
    *,
    image_size: tuple[int, int],
    stride: int,
    num_classes: int,
    size: int = 3,
    hidden: tuple[int, ...] = (64,),
    pooling: Pooling = "max",
    dtype: jnp.dtype | None = None,
) -> Network:
    """A detector: ``front``, which gives features ``[N, H, W, C]``, "regions" and "head".

    Args:
      front: the first stages of a classifier, ``network.front(up_to)``.
      windows: R boxes, as ``sliding_windows`` gives them.
      image_size: height and width of the images in pixels.
      stride: pixels a cell of the front's features.
      num_classes: K, without the background.
      size: bins down and across of each window.
      hidden: units of the dense layers before the last.
      pooling: "max" or "align".
      dtype: of the computation of the head.

    Returns:
      A network that gives float32 ``[N, R, K + 1 + 4]``, see ``RegionHead``.
    """
    stages = (
        ("regions", Regions(windows, image_size, stride, size, pooling)),
        ("head", RegionHead(num_classes, hidden, dtype)),
    )
    return Network((*front.stages, *stages))


# Bins -----------------------------------------------------------------------------------------


def _pool_windows(
    x: jax.Array, boxes: np.ndarray, size: int, scale: float, pooling: Pooling
) -> jax.Array:
    """``roi_pool`` or ``roi_align`` of the same boxes for every image ``[N, H, W, C]``.

    Windows of a grid share most of their bins' rows and columns: each is pooled once.
    """

    def bins(low: np.ndarray, high: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        if pooling == "max":
            return _unique_bins(_bins(low, high, size, scale, length, np))
        return _unique_bins(_interpolation(low, high, length, size, scale, 2, True, np))

    rows, row_of = bins(boxes[:, 0], boxes[:, 2], x.shape[1])
    columns, column_of = bins(boxes[:, 1], boxes[:, 3], x.shape[2])
    if pooling == "max":
        pooled = _largest_along(_largest_along(x, rows, 1), columns, 2)
    else:
        weights = (jnp.asarray(each, x.dtype) for each in (rows, columns))
        pooled = jnp.einsum("uh,vw,nhwc->nuvc", *weights, x)
    cells = row_of[:, :, None] * len(columns) + column_of[:, None, :]  # [R, size, size]
    flat = pooled.reshape(x.shape[0], -1, x.shape[3])
    features = jnp.take(flat, cells.reshape(-1), axis=1)
    return features.reshape(x.shape[0], *cells.shape, x.shape[3])


def _unique_bins(bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different bins ``[U, B]`` of ``[R, size, B]``, and which one each is: ``[R, size]``."""
    distinct, which = np.unique(bins.reshape(-1, bins.shape[2]), axis=0, return_inverse=True)
    return distinct, which.reshape(bins.shape[:2])


def _bins(low: Any, high: Any, size: int, scale: float, length: int, xp: Any) -> Any:
    """The first cell and the one after the last of every bin: int ``[R, size, 2]``.

    Args:
      low: where boxes begin, ``[R]``.
      high: where they end.
      size: bins of a box.
      scale: cells a pixel.
      length: cells that there are; bins are cut to them.
      xp: ``numpy`` for windows that are known, or ``jax.numpy``.
    """
    first, last = (_round(side * scale, xp)[:, None] for side in (low, high))
    cells = xp.maximum(last - first + 1, 1)
    places = np.arange(size, dtype=np.int32)
    start = first + places * cells // size
    stop = first - (-(places + 1) * cells // size)
    return xp.clip(xp.stack([start, stop], axis=-1), 0, length)


def _round(x: Any, xp: Any) -> Any:
    """To the nearest whole number, halves away from zero as C's ``round`` does: int."""
    size = xp.abs(x)
    whole = xp.floor(size)
    return (xp.sign(x) * (whole + (size - whole >= 0.5))).astype(np.int32)


def _largest(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """The largest in every bin of ``image [H, W, C]``; rows and columns are ``[size, 2]``.

    Returns:
      ``[size, size, C]``, 0 for a bin without a cell.
    """
    height, width, _ = image.shape
    rows, columns = (
        (jnp.arange(length) >= bins[:, :1]) & (jnp.arange(length) < bins[:, 1:])
        for bins, length in ((rows, height), (columns, width))
    )
    x = jnp.max(jnp.where(rows[:, :, None, None], image, -jnp.inf), axis=1)
    x = jnp.max(jnp.where(columns[:, :, None], x[:, None], -jnp.inf), axis=2)
    return jnp.where(jnp.isneginf(x), jnp.zeros((), x.dtype), x)


def _largest_along(x: jax.Array, bins: np.ndarray, axis: int) -> jax.Array:
    """The largest in each of U bins ``[U, 2]`` along an axis, which becomes U long; 0 if empty."""
    start, stop = bins.T
    there = (stop > start).reshape(*[1] * axis, -1, *[1] * (x.ndim - axis - 1))
    longest = int((stop - start).max())
    # Cell by cell: ten times as fast on a CPU, with its gradient, as masks or slices.
    parts = [
        jnp.take(x, np.minimum(start + place, stop - 1), axis=axis) for place in range(longest)
    ]
    return jnp.where(there, functools.reduce(jnp.maximum, parts), 0)


def _interpolation(
    low: Any,
    high: Any,
    length: int,
    size: int,
    scale: float,
    samples: int,
    aligned: bool,
    xp: Any,
) -> Any:
    """The weight of each cell in each bin of each box, on one axis: ``[R, size, length]``."""
    start = low * scale - 0.5 * aligned
    extent = high * scale - low * scale
    if not aligned:
        extent = xp.maximum(extent, 1.0)
    within = (np.arange(size * samples) + 0.5) / (size * samples)
    points = start[:, None] + within * extent[:, None]  # [R, size * samples]
    inside = (points >= -1) & (points <= length)
    nearest = xp.clip(points, 0, length - 1)[..., None]
    weights = xp.maximum(0, 1 - xp.abs(nearest - np.arange(length))) * inside[..., None]
    return weights.reshape(len(low), size, samples, length).mean(2)


def _places(whole: int, side: int, step: float) -> list[int]:
    """The first pixels of windows of one side, evenly from one end of the image to the other."""
    count = 1 + int(np.ceil((whole - side) / (step * side)))
    return [int(place) for place in np.rint(np.linspace(0, whole - side, count))]


def _check(features: jax.Array, boxes: jax.Array, size: int, scale: float) -> None:
    if jnp.ndim(features) != 3 or jnp.ndim(boxes) != 2 or jnp.shape(boxes)[1] != 4:
        raise ValueError(
            "features must be [H, W, C] and boxes [R, 4], got shapes "
            f"{jnp.shape(features)} and {jnp.shape(boxes)}. For several images: jax.vmap."
        )
    if size < 1 or not scale > 0:
        raise ValueError(f"size and scale must be positive, got size={size} and scale={scale}.")

"""Scenes: real digits on textures or photographs, with exact masks and boxes.

A digit's image is cropped to its ink, resized to a random size, and blended into a background in a
random colour; its mask is where the ink of the resized image is over a threshold. So the shapes are
those of handwriting, and no mask or box was drawn by hand.

    train = compose(splits.train, count=500, size=64, backgrounds=photographs("train"), seed=0)
    test = compose(splits.test, count=200, size=64, backgrounds=photographs("test"), seed=1)

Compose each part from digits of that part, so that no digit is in two parts. The same holds for
backgrounds: ``backgrounds.photographs`` has a separate strip for each part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cnnlab.data.backgrounds import check, texture, window
from cnnlab.data.dataset import Dataset, compute_statistics
from cnnlab.spelling import unknown

BACKGROUND = "background"  # the name of class 0 of a mask

_SMALLEST = 5  # pixels of the longer side of a digit, below which digits look alike
_TRIES = 40  # places tried for one digit, and arrangements tried for one scene


class Scenes(NamedTuple):
    """Images with the digits that are in them.

    Attributes:
      images: uint8 ``[N, S, S, C]``.
      masks: uint8 ``[N, S, S]``: 0 is background, k + 1 a pixel of a digit of class k. Where two
        digits overlap, it is the one drawn later.
      boxes: float32 ``[N, D, 4]``, ``(y0, x0, y1, x1)`` in pixels, the smallest that holds the
        digit's mask, y1 and x1 after its last row and column; zeros where there is no digit.
      classes: int32 ``[N, D]``, -1 where there is no digit. D is the most digits of a scene.
    """

    images: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


class _Digit(NamedTuple):
    """A resized digit: its ink [h, w] in [0, 1], its mask [h, w] and its label."""

    ink: np.ndarray
    mask: np.ndarray
    label: int


def compose(
    dataset: Dataset,
    *,
    count: int,
    size: int,
    digits: tuple[int, int] = (1, 3),
    backgrounds: np.ndarray | None = None,
    scale: tuple[float, float] = (0.3, 0.55),
    contrast: tuple[float, float] = (50.0, 120.0),
    overlap: float = 0.05,
    threshold: int = 96,
    resize: str = "bilinear",
    seed: int = 0,
) -> Scenes:
    """Draws scenes; the same arguments give the same scenes on every machine.

    Args:
      dataset: grey images of light ink on black: digits, mnist, fashion_mnist.
      count: N >= 1, scenes.
      size: S, the side of a scene in pixels.
      digits: the fewest and the most digits of a scene, 1 <= fewest <= most; their number and the
        examples are drawn uniformly. Without room for all, a scene has fewer digits, but no fewer
        than the fewest.
      backgrounds: uint8 ``[B, H, W, C]``, H and W at least ``size``, of which random windows are
        cut, half of them mirrored; None for textures with as many channels as the data set.
      scale: the longer side of a digit's ink as a fraction of ``size``, from and to.
      contrast: the difference, of 0..255, of the ink from the background behind it, from and to,
        drawn for each channel; at most 127, so that brighter or darker always fits.
      overlap: the largest part of a digit's box that another one's may cover, in [0, 1).
      threshold: the ink of 0..255 over which a pixel belongs to the mask.
      resize: "bilinear" or "nearest".
      seed: any int >= 0.

    Raises:
      ValueError: if the images are not grey or hold no ink, the scenes are too small for the
        digits, the backgrounds too small for the scenes, or a number is out of range.
    """
    _check_numbers(count, digits, scale, contrast, overlap, threshold)
    if resize not in ("bilinear", "nearest"):
        raise ValueError(unknown("resize", resize, ("bilinear", "nearest")))
    if dataset.image_shape[2] != 1:
        raise ValueError(
            f"{dataset.name}: scenes are made of grey images with light ink on black, such as "
            f"digits, mnist or fashion_mnist; got {dataset.image_shape[2]} channels."
        )
    if scale[0] * size < _SMALLEST:
        raise ValueError(
            f"scenes of {size} x {size} pixels are too small: the smallest digits would have "
            f"{scale[0] * size:.1f} pixels, and must have {_SMALLEST}. Make the scenes larger, at "
            f"least {int(np.ceil(_SMALLEST / scale[0]))} pixels, or the digits (scale)."
        )
    if backgrounds is not None:
        check(backgrounds, size)
    channels = 1 if backgrounds is None else backgrounds.shape[3]
    most = digits[1]
    scenes = Scenes(
        np.empty((count, size, size, channels), np.uint8),
        np.zeros((count, size, size), np.uint8),
        np.zeros((count, most, 4), np.float32),
        np.full((count, most), -1, np.int32),
    )
    generator = np.random.Generator(np.random.PCG64(seed))
    for i in range(count):
        if backgrounds is None:
            image = texture(generator, size, channels)
        else:
            image = window(generator, backgrounds, size)
        drawn = _digits(generator, dataset, size, scale, threshold, resize)
        placed = _arrangement(generator, drawn, size, digits, overlap)
        for place, (digit, top, left) in enumerate(placed):
            _blend(generator, image, digit, top, left, contrast)
            height, width = digit.mask.shape
            scenes.masks[i, top : top + height, left : left + width][digit.mask] = digit.label + 1
            scenes.boxes[i, place] = top, left, top + height, left + width
            scenes.classes[i, place] = digit.label
        scenes.images[i] = np.clip(np.rint(image), 0, 255)
    return scenes


def masked(scenes: Scenes, digits: Dataset) -> Dataset:
    """Scenes as a data set for segmentation: ``annotations`` are the masks.

    The classes are those of a pixel, ``background`` first. The label of a scene is that of its
    first digit, as in the mask; segmentation does not use it.

    Args:
      scenes: of ``compose``.
      digits: the data set that they were made of, for its name, its part and the names of its
        classes.

    Raises:
      ValueError: if a mask has a class that the data set does not have.
    """
    names = (BACKGROUND, *digits.class_names)
    highest = int(scenes.masks.max())
    if highest >= len(names):
        raise ValueError(
            f"{digits.name}: masks must be in 0..{digits.num_classes}, background and "
            f"{digits.num_classes} classes; got {highest}."
        )
    labels = np.asarray(scenes.classes[:, 0] + 1, np.int32)
    return _dataset(scenes, labels, names, digits, annotations=scenes.masks)


def labelled(scenes: Scenes, digits: Dataset) -> Dataset:
    """Scenes of one digit each as a data set for a classifier.

    Args:
      scenes: of ``compose(digits=(1, 1))``.
      digits: the data set that they were made of.

    Raises:
      ValueError: if a scene has several digits.
    """
    if (scenes.classes[:, 1:] >= 0).any():
        raise ValueError(
            "a classifier's scenes must have one digit each, got some with more: compose them "
            "with digits=(1, 1)."
        )
    labels = np.ascontiguousarray(scenes.classes[:, 0])
    return _dataset(scenes, labels, digits.class_names, digits)


def _dataset(
    scenes: Scenes,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    digits: Dataset,
    annotations: np.ndarray | None = None,
) -> Dataset:
    """Scenes as a data set of the same part as the digits, with its own statistics."""
    dataset = Dataset(
        scenes.images,
        labels,
        class_names,
        f"scenes of {digits.name}",
        annotations=annotations,
        part=digits.part,
    )
    return dataclasses.replace(dataset, statistics=compute_statistics(dataset))


# Digits --------------------------------------------------------------------------------------


def _digits(
    generator: np.random.Generator,
    dataset: Dataset,
    size: int,
    scale: tuple[float, float],
    threshold: int,
    resize: str,
) -> Iterator[_Digit]:
    """An endless iterator of digits, each of a random example and size."""
    without_ink = 0
    while without_ink < 100:
        index = int(generator.integers(len(dataset)))
        longest = round(float(generator.uniform(*scale)) * size)
        digit = _resize_ink(np.asarray(dataset.images[index])[..., 0], longest, threshold, resize)
        if digit is None:
            without_ink += 1
            continue
        without_ink = 0
        yield _Digit(*digit, int(dataset.labels[index]))
    raise ValueError(
        f"{dataset.name}: no digits: 100 images in a row had no pixel over the threshold of "
        f"{threshold}. Lower it, or use images of light ink on black."
    )


def _resize_ink(
    image: np.ndarray, longest: int, threshold: int, resize: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Ink [h, w] in [0, 1] and mask of an image, cropped to its mask; None if there is no ink."""
    from PIL import Image  # noqa: PLC0415 Pillow is needed for image files only

    box = _box(image > threshold)
    if box is None:
        return None
    # One more pixel on each side, so that strokes at the edge are interpolated like others.
    padded = np.pad(image, 1)[box[0] : box[2] + 2, box[1] : box[3] + 2]
    factor = longest / max(box[2] - box[0], box[3] - box[1])
    to = [max(3, round(factor * side)) for side in padded.shape]
    how = Image.Resampling.BILINEAR if resize == "bilinear" else Image.Resampling.NEAREST
    ink = np.asarray(Image.fromarray(padded).resize((to[1], to[0]), how))
    box = _box(ink > threshold)
    if box is None:
        return None
    ink = ink[box[0] : box[2], box[1] : box[3]]
    return ink.astype(np.float32) / 255, ink > threshold


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _arrangement(
    generator: np.random.Generator,
    drawn: Iterator[_Digit],
    size: int,
    digits: tuple[int, int],
    overlap: float,
) -> list[tuple[_Digit, int, int]]:
    """Digits with their top left corners, overlapping by at most ``overlap``."""
    wanted = int(generator.integers(digits[0], digits[1] + 1))
    placed: list[tuple[_Digit, int, int]] = []
    for _ in range(_TRIES):
        placed = []
        for remaining in range(wanted - 1, -1, -1):
            place = _place(generator, next(drawn), placed, size, overlap)
            if place is not None:
                placed.append(place)
            if len(placed) + remaining < digits[0]:
                break
        if len(placed) >= digits[0]:
            return placed
    raise ValueError(
        f"scenes of {size} x {size} pixels are too small for {digits[0]} digits: {_TRIES} tries "
        "did not place them. Make the scenes larger or the digits smaller (scale)."
    )


def _place(
    generator: np.random.Generator,
    digit: _Digit,
    placed: list[tuple[_Digit, int, int]],
    size: int,
    overlap: float,
) -> tuple[_Digit, int, int] | None:
    height, width = digit.mask.shape
    if max(height, width) > size:
        return None
    for _ in range(_TRIES):
        top = int(generator.integers(size - height + 1))
        left = int(generator.integers(size - width + 1))
        for other, y, x in placed:
            rows = min(top + height, y + other.mask.shape[0]) - max(top, y)
            columns = min(left + width, x + other.mask.shape[1]) - max(left, x)
            smaller = min(digit.mask.size, other.mask.size)
            if max(rows, 0) * max(columns, 0) > overlap * smaller:
                break
        else:
            return digit, top, left
    return None


def _blend(
    generator: np.random.Generator,
    image: np.ndarray,
    digit: _Digit,
    top: int,
    left: int,
    contrast: tuple[float, float],
) -> None:
    """Draws a digit into a float image, lighter or darker than the pixels behind its strokes."""
    height, width = digit.mask.shape
    patch = image[top : top + height, left : left + width]
    mean = patch[digit.mask].mean(0)
    by = generator.uniform(*contrast, size=mean.shape)
    up = np.full(mean.shape, generator.random() < 0.5)
    up = np.where(up, mean + by <= 255, mean - by < 0)  # the other way where it does not fit
    ink = np.where(up, mean + by, mean - by)
    patch += digit.ink[..., None] * (ink - patch)


# Checks --------------------------------------------------------------------------------------


def _check_numbers(
    count: int,
    digits: tuple[int, int],
    scale: tuple[float, float],
    contrast: tuple[float, float],
    overlap: float,
    threshold: int,
) -> None:
    if count < 1:
        raise ValueError(f"there must be at least one scene, got count={count}.")
    if len(digits) != 2 or not 1 <= digits[0] <= digits[1]:
        raise ValueError(
            f"digits must be the fewest and the most of a scene, 1 <= fewest <= most, got {digits}."
        )
    if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(f"scale must be two fractions 0 < from <= to <= 1, got {scale}.")
    if len(contrast) != 2 or not 0 < contrast[0] <= contrast[1] <= 127:
        raise ValueError(f"contrast must be two numbers 0 < from <= to <= 127, got {contrast}.")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be in [0, 1), got {overlap}.")
    if not 0 <= threshold < 255:
        raise ValueError(f"threshold must be in 0..254, got {threshold}.")

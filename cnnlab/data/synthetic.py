"""Synthetic images that a network can learn, for tests and benchmarks.

Each class has a smooth random pattern; an image is its class's pattern, at a random strength, with
noise. No file is read, and the same name gives the same images on every machine.
"""

from __future__ import annotations

import re

import numpy as np

from cnnlab.data.dataset import Dataset, Parts

_FORM = re.compile(r"(\d+)(?::(\d+)x(\d+)x(\d+)(?::(\d+))?)?")
_COARSE = 4  # the patterns are drawn on a grid of this size and interpolated
_CHUNK = 1024


def read(options: str = "") -> Parts:
    """A training and a test part.

    Args:
      options: "" or "N" or "N:HxWxC" or "N:HxWxC:K": N training images (1,000 by default; the test
        part has a fifth as many, but at least K) of H x W pixels and C channels (16x16x3), of K
        classes (10), each with as many examples as the others, or one more.

    Raises:
      ValueError: if the options are not of this form, or too small.
    """
    match = _FORM.fullmatch(options or "1000")
    if match is None:
        raise ValueError(
            f"synthetic data is named synthetic, synthetic:N or synthetic:N:HxWxC:K, such as "
            f"synthetic:1000:16x16x3:10, got 'synthetic:{options}'."
        )
    count = int(match[1])
    shape = tuple(int(n) for n in match.group(2, 3, 4)) if match[2] else (16, 16, 3)
    classes = int(match[5] or 10)
    if count < classes or classes < 1 or 0 in shape:
        raise ValueError(
            f"synthetic data needs at least one image a class and one pixel an image, got "
            f"{count} images of {'x'.join(map(str, shape))} in {classes} classes."
        )
    generator = np.random.Generator(np.random.PCG64(0))
    patterns = _patterns(generator, classes, shape)
    train = _part(generator, patterns, count)
    test = _part(generator, patterns, max(count // 5, classes))
    return Parts(train, test, notes=("made-up data with a test part of its own",))


def _patterns(generator: np.random.Generator, classes: int, shape: tuple[int, ...]) -> np.ndarray:
    height, width, channels = shape
    coarse = generator.standard_normal((classes, _COARSE, _COARSE, channels))
    rows, columns = _interpolation(height), _interpolation(width)
    return np.einsum("hi,wj,kijc->khwc", rows, columns, coarse).astype(np.float32)


def _interpolation(size: int) -> np.ndarray:
    # Linear interpolation as a matrix [size, _COARSE].
    at = np.linspace(0, _COARSE - 1, size)[:, None]
    return np.maximum(0, 1 - np.abs(at - np.arange(_COARSE)))


def _part(generator: np.random.Generator, patterns: np.ndarray, count: int) -> Dataset:
    classes = len(patterns)
    labels = generator.permutation(np.arange(count, dtype=np.int32) % classes)
    images = np.empty((count, *patterns.shape[1:]), np.uint8)
    for start in range(0, count, _CHUNK):
        chosen = labels[start : start + _CHUNK]
        strength = generator.uniform(20, 40, (len(chosen), 1, 1, 1)).astype(np.float32)
        noise = generator.standard_normal((len(chosen), *images.shape[1:]), np.float32)
        pixels = 128 + strength * patterns[chosen] + 40 * noise
        images[start : start + _CHUNK] = np.clip(np.rint(pixels), 0, 255)
    names = tuple(f"class{i}" for i in range(classes))
    return Dataset(images, labels, names, "synthetic")

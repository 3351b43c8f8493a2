"""How images are normalised before a network: by name, in numbers, and as text in a file."""

import dataclasses
import json
import math
from typing import Any, Literal, get_args

import numpy as np

from cnnlab.augment import Transform
from cnnlab.data.dataset import Statistics
from cnnlab.spelling import unknown
from cnnlab.studies.build import normalization_of

Kind = Literal["channel", "mean-image", "unit"]

# Mean and deviation of red, green and blue, in pixel units.
_NAMED: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "torchvision": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
}

NORMALIZATIONS = (
    "torchvision (ImageNet's mean and deviation), caffe (mean 123 117 104 in pixels, RGB), unit "
    "(just 0 to 1), or MEAN/STD as of pixels from 0 to 1, such as "
    "0.4914,0.4822,0.4465/0.247,0.2435,0.2616 or 0.1307/0.3081"
)
"""What ``parse_normalization`` takes, for messages."""


@dataclasses.dataclass(frozen=True)
class Preparation:
    """The normalization of images before a network.

    Attributes:
      kind: by the mean and deviation of each channel, by the mean image, or just to 0 to 1.
      statistics: by which; None for "unit".
    """

    kind: Kind
    statistics: Statistics | None = None

    @property
    def transform(self) -> Transform:
        """From uint8 images to what the network sees."""
        return normalization_of(self.kind, self.statistics, "the file")

    def agrees(self, other: "Preparation") -> bool:
        """True where both give the same images, up to rounding."""
        if self.kind != other.kind:
            return False
        if self.kind == "unit":
            return True
        ours, theirs = _numbers(self), _numbers(other)
        return len(ours) == len(theirs) and all(
            a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-5)
            for a, b in zip(ours, theirs, strict=True)
        )

    def __str__(self) -> str:
        for name in (*_NAMED, "unit"):
            if self.agrees(parse_normalization(name)):
                return name
        assert self.statistics is not None
        mean, std = (
            ",".join(f"{number / 255:.4g}" for number in numbers)
            for numbers in (self.statistics.mean, self.statistics.std)
        )
        return f"{mean}/{std}" if self.kind == "channel" else f"mean image (mean {mean}, std {std})"


def parse_normalization(text: str) -> Preparation:
    """The normalization that an option names.

    Args:
      text: see ``NORMALIZATIONS``.

    Raises:
      ValueError: for anything else.
    """
    if text == "unit":
        return Preparation("unit")
    if text in _NAMED:
        return Preparation("channel", Statistics(*_NAMED[text]))
    if "/" not in text:
        names = (*_NAMED, "unit")
        raise ValueError(f"{unknown('normalization', text, names)} It is {NORMALIZATIONS}.")
    mean, std = (_parse_numbers(part) for part in text.split("/", 1))
    in_range = all(0 <= m <= 1 for m in mean) and all(0 < s <= 1 for s in std)
    if len(mean) != len(std) or not in_range:
        raise ValueError(
            "a normalization MEAN/STD must have one mean from 0 to 1 and one deviation above 0 and "
            f"up to 1 for each channel, as of pixels from 0 to 1, got {text!r}."
        )
    in_pixels = Statistics(tuple(255 * m for m in mean), tuple(255 * s for s in std))
    return Preparation("channel", in_pixels)


def to_metadata(preparation: Preparation) -> tuple[str, np.ndarray | None]:
    """The preparation as JSON, and its mean image [H, W, C] where it subtracts that."""
    statistics = preparation.statistics
    if preparation.kind == "unit" or statistics is None:
        return json.dumps({"kind": preparation.kind}), None
    fields: dict[str, Any] = {"kind": preparation.kind, "examples": statistics.examples}
    fields |= {name: [float(n) for n in getattr(statistics, name)] for name in ("mean", "std")}
    return json.dumps(fields), statistics.mean_image if preparation.kind == "mean-image" else None


def from_metadata(text: str, mean_image: np.ndarray | None) -> Preparation:
    """The preparation of what ``to_metadata`` gave.

    Raises:
      ValueError: if it is damaged, or the mean image is missing.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
        kind = fields["kind"]
        if kind not in get_args(Kind) or (kind == "mean-image") != (mean_image is not None):
            raise ValueError(f"the kind {kind!r} does not go with the arrays that are there")
        if kind == "unit":
            return Preparation(kind)
        mean, std = (tuple(map(float, fields[name])) for name in ("mean", "std"))
        if not all(map(math.isfinite, (*mean, *std))):
            raise ValueError("the mean and the deviation must be finite")
        return Preparation(kind, Statistics(mean, std, mean_image, int(fields["examples"])))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"its normalization cannot be read, {reason}") from error


def _numbers(preparation: Preparation) -> list[np.ndarray]:
    """All that the transform depends on."""
    statistics = preparation.statistics
    assert statistics is not None
    if preparation.kind == "mean-image":
        assert statistics.mean_image is not None
        return [np.asarray(statistics.mean_image), np.asarray(np.mean(statistics.std))]
    return [np.asarray(statistics.mean), np.asarray(statistics.std)]


def _parse_numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(
            f"a normalization MEAN/STD is numbers with commas, such as 0.1307/0.3081, got {text!r}."
        ) from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"the numbers of a normalization must be finite, got {text!r}.")
    return numbers

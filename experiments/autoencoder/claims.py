"""The claims about autoencoders, each with its interval over seeds and over images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.report.statistics import paired_over_both
from cnnlab.studies.claims import Claim

from .scores import Scores

_RESAMPLES = 2000  # of the bootstrap over images
_NAMES = {"psnr": "PSNR", "ssim": "SSIM", "error": "squared error"}
_UNITS = {"psnr": "dB", "ssim": "SSIM", "error": "squared error"}

PUBLISHED = {(784, 30): (13.87 - 3.00) / 784}
"""(numbers of an image, of its code) -> by how much the mean squared error is below that of PCA."""
_SOURCE = "MNIST, squared error of an image 3.00, PCA 13.87 (Hinton and Salakhutdinov, 2006)"


def compare(
    ours: str,
    scores: Mapping[str, Scores],
    kinds: Sequence[str] = ("psnr", "ssim"),
    published: float | None = None,
) -> list[Claim]:
    """The claims that an autoencoder does better than each of the other methods.

    Args:
      ours: the autoencoder.
      scores: method -> its scores, on the same images.
      kinds: of the scores to compare by; where it is "error", less is better.
      published: the difference, where it is known.
    """
    claims = []
    for theirs, kind in ((t, k) for t in scores if t != ours for k in kinds):
        left, right = (theirs, ours) if kind == "error" else (ours, theirs)
        claims.append(
            _claim(
                f"{ours} is better than {theirs}",
                f"{_NAMES[kind]}: {left} - {right}",
                *(getattr(scores[left], kind), getattr(scores[right], kind)),
                _UNITS[kind],
                {"score": kind, "ours": ours, "theirs": theirs},
                published,
            )
        )
    return claims


def compare_saturation(ours: str, saturations: np.ndarray, truth: np.ndarray) -> Claim:
    """The claim that colours are weaker than they should be.

    Args:
      ours: the autoencoder.
      saturations: ``[S, N]``, of the coloured images.
      truth: ``[N]``, of the originals.
    """
    return _claim(
        "squared error makes colours paler than they are",
        f"saturation: originals - {ours}",
        *(np.broadcast_to(truth, saturations.shape), saturations),
        "saturation",
        {"score": "saturation", "ours": "originals", "theirs": "the network's"}
        | {"ratio": float(saturations.mean() / truth.mean())},
    )


def _claim(
    text: str,
    difference: str,
    left: np.ndarray,
    right: np.ndarray,
    unit: str,
    extra: Mapping[str, Any],
    published: float | None = None,
) -> Claim:
    """The claim that ``left`` is larger than ``right``, each ``[S, N]`` or ``[1, N]``."""
    figure = paired_over_both(left, right, resamples=_RESAMPLES)
    both = figure.pop("both")
    extra = {**extra, "over_seeds": figure["interval"], "images": figure.pop("images")}
    return Claim(
        text,
        difference,
        figure | {"interval": both},
        published=published,
        source="" if published is None else _SOURCE,
        over="seeds and images",
        unit=unit,
        extra=extra,
    )

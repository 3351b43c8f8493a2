"""Scores of reconstructed images, over seeds and over images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from cnnlab.report import image_scores
from cnnlab.report.statistics import over_seeds, with_interval


class Scores(NamedTuple):
    """Of a method on the test part, float64 ``[S, N]``: S seeds (1 where there is no chance).

    Attributes:
      psnr: in dB.
      ssim: in [-1, 1].
      error: mean squared error.
    """

    psnr: np.ndarray
    ssim: np.ndarray
    error: np.ndarray


def score_images(images: np.ndarray, clean: np.ndarray, window: int) -> Scores:
    """The scores of images ``[N, H, W, C]`` or, of S seeds, ``[S, N, H, W, C]``.

    Args:
      images: float, 0 to 1.
      clean: ``[N, H, W, C]``, the originals.
      window: of SSIM, in pixels.
    """
    return Scores(
        np.atleast_2d(image_scores.psnr(images, clean, highest=image_scores.ROUNDING_PSNR)),
        np.atleast_2d(image_scores.ssim(images, clean, window=window)),
        np.atleast_2d(image_scores.mean_squared_error(images, clean)),
    )


def summarize(scores: Scores) -> dict[str, Any]:
    """Each score as ``over_seeds`` gives it, and ``image_error``, the standard error over images.

    The latter is of the mean over seeds: what other test images would change.
    """
    summary = {}
    for name, values in scores._asdict().items():
        per_image = values.mean(0)
        error = float(per_image.std(ddof=1) / np.sqrt(per_image.size))
        summary[name] = {**over_seeds(values.mean(1)), "image_error": error}
    return summary


def with_both_interval(figure: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of a score of ``summarize`` and its 95 % interval over seeds and images.

    As in ``statistics.over_both``, of Student's interval over seeds (none where there is no chance,
    or one seed) and the normal one over images.
    """
    mean = figure["mean"]
    seeds = with_interval(figure["values"])["interval"] or [mean]
    error = float(np.hypot(stats.norm.ppf(0.975) * figure["image_error"], seeds[-1] - mean))
    return {"mean": mean, "interval": (mean - error, mean + error)}

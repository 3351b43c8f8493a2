"""What the scores of restored images say: a network against what it has to beat."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

RESAMPLES = 2000


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


def scores(images: np.ndarray, clean: np.ndarray, window: int) -> Scores:
    """The scores of restored images ``[N, H, W, C]`` or, of S seeds, ``[S, N, H, W, C]``."""
    from cnnlab.report import image_scores

    return Scores(
        np.atleast_2d(image_scores.psnr(images, clean, highest=image_scores.ROUNDING_PSNR)),
        np.atleast_2d(image_scores.ssim(images, clean, window=window)),
        np.atleast_2d(image_scores.mean_squared_error(images, clean)),
    )


def summary(found: Scores) -> dict[str, Any]:
    """Each score as ``over_seeds`` gives it, and ``image_error``, the standard error over images.

    The latter is of the mean over seeds: what other test images would change.
    """
    from cnnlab.report.statistics import over_seeds

    said = {}
    for name, values in found._asdict().items():
        per_image = values.mean(0)
        error = float(per_image.std(ddof=1) / np.sqrt(per_image.size))
        said[name] = {**over_seeds(values.mean(1)), "image_error": error}
    return said


def compare(
    ours: str, found: Mapping[str, Scores], names: Sequence[str] = ("psnr", "ssim")
) -> list[dict[str, Any]]:
    """Whether a network does better than each of the others.

    Args:
      ours: the network.
      found: method -> its scores, on the same images.
      names: of the scores; where it is "error", less is better.

    Returns:
      For each other method and score: ``claim``, ``score``, ``ours``, ``theirs``, the difference
      that is positive where the claim holds, as ``against`` gives it.
    """
    rows = []
    for theirs, score in ((t, s) for t in found if t != ours for s in names):
        mine, other = (getattr(found[name], score) for name in (ours, theirs))
        sign = -1 if score == "error" else 1
        rows.append(
            {
                "claim": f"{ours} is better than {theirs}",
                "score": score,
                "ours": ours,
                "theirs": theirs,
                **against(sign * mine, sign * other),
            }
        )
    return rows


def against(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """The mean difference, over seeds and over images, and what both say.

    Args:
      ours: ``[S, N]``.
      theirs: ``[S, N]`` or ``[1, N]``, which every seed is compared with.

    Returns:
      What ``statistics.paired_over_both`` gives, and ``verdict``, of the interval over both.
    """
    from cnnlab.report.statistics import paired_over_both, verdict

    figure = paired_over_both(ours, theirs, resamples=RESAMPLES)
    return {**figure, "verdict": verdict(figure["both"])}


def paler(ours: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Whether colours are weaker than they should be.

    Args:
      ours: saturations ``[S, N]`` of the coloured images.
      truth: ``[N]``, of the originals.
    """
    claim = "squared error makes colours paler than they are"
    return {
        "claim": claim,
        "score": "saturation",
        "ours": "originals",
        "theirs": "the network's",
        **against(np.broadcast_to(truth, ours.shape), ours),
        "ratio": float(ours.mean() / truth.mean()),
    }


def reach(figure: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of a ``summary`` and its 95 % interval over seeds and images, for a figure.

    As in ``statistics.over_both``, of Student's interval over seeds (none where there is no chance,
    or one seed) and the normal one over images.
    """
    from scipy import stats

    from cnnlab.report.statistics import with_interval

    mean, over_seeds = (
        figure["mean"],
        with_interval(figure["values"])["interval"] or [figure["mean"]],
    )
    error = float(np.hypot(stats.norm.ppf(0.975) * figure["image_error"], over_seeds[-1] - mean))
    return {"mean": mean, "interval": (mean - error, mean + error)}


# What is said --------------------------------------------------------------------------------


def table(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each method: its scores with their standard errors over seeds."""
    width = max(map(len, summaries))
    lines = []
    for name, said in summaries.items():
        psnr, ssim = said["psnr"], said["ssim"]
        setting = f"  ({said['setting']})" if said.get("setting") else ""
        lines.append(
            f"{name:{width}}  PSNR {psnr['mean']:6.2f}{_error(psnr, 2)} dB  "
            f"SSIM {ssim['mean']:.4f}{_error(ssim, 4)}  "
            f"squared error {said['error']['mean']:.5f}{setting}"
        )
    return lines


def _error(figure: Mapping[str, Any], digits: int) -> str:
    error = figure["standard_error"]
    return "" if error is None else f" ± {error:.{digits}f}"


def lines(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each claim."""
    units = {"psnr": " dB PSNR", "ssim": " SSIM", "error": " squared error"}
    from cnnlab.report.statistics import over_both

    said = []
    for row in claims:
        ends, both = "", over_both(row)  # results of before this was written down have no "both"
        if both is not None:
            ends = (
                " (95 % interval over seeds and images {:+.4g} to {:+.4g}: over seeds by Student's "
                "t {:+.4g} to {:+.4g}, over images by bootstrap {:+.4g} to {:+.4g})"
            ).format(*both, *row["interval"], *row["images"]["interval"])
        unit = units.get(row["score"], f" {row['score']}")
        said.append(f"{row['claim']}: {row['mean']:+.4g}{unit}{ends}: {row['verdict']}")
    return said

"""Figures over seeds: never a number without its uncertainty."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def over_seeds(values: ArrayLike) -> dict[str, Any]:
    """The mean of one figure over seeds and its standard error.

    Args:
      values: ``[M]``, one for each seed.

    Returns:
      ``mean``; ``standard_error``, the sample standard deviation (M - 1) over the root of M, None
      for one seed; ``values``, the list of them.

    Raises:
      ValueError: if there is no value, or more than one axis.
    """
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"values must be [M], one for each seed, got shape {numbers.shape}.")
    error = None
    if numbers.size > 1:
        error = float(numbers.std(ddof=1) / np.sqrt(numbers.size))
    return {"mean": float(numbers.mean()), "standard_error": error, "values": numbers.tolist()}


def paired(ours: ArrayLike, theirs: ArrayLike, confidence: float = 0.95) -> dict[str, Any]:
    """How much larger one figure is than another that was taken with the same seeds.

    Args:
      ours: ``[M]``, one for each seed.
      theirs: ``[M]``, of the same seeds in the same order.
      confidence: of the interval, in (0, 1).

    Returns:
      What ``over_seeds`` gives for ``ours - theirs``, ``confidence``, and ``interval``: the ends of
      Student's t interval of the mean difference with M - 1 degrees of freedom, None for one seed.

    Raises:
      ValueError: if there is no value, they are not as many, or the confidence is out of range.
    """
    from scipy import stats  # noqa: PLC0415 scipy.stats is slow to import

    left, right = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if left.shape != right.shape:
        raise ValueError(f"both must be of the same seeds, got shapes {left.shape}, {right.shape}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}.")
    figure = over_seeds(left - right)
    interval = None
    if figure["standard_error"] is not None:
        reach = stats.t.ppf((1 + confidence) / 2, left.size - 1) * figure["standard_error"]
        interval = [figure["mean"] - reach, figure["mean"] + reach]
    return {**figure, "confidence": confidence, "interval": interval}


def with_interval(values: ArrayLike, confidence: float = 0.95) -> dict[str, Any]:
    """The mean of one figure over seeds with its interval: ``paired`` against nothing.

    Args:
      values: ``[M]``, one for each seed.
      confidence: of the interval, in (0, 1).
    """
    numbers = np.asarray(values, np.float64)
    return paired(numbers, np.zeros_like(numbers), confidence)


def paired_bootstrap(
    ours: ArrayLike,
    theirs: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """How much larger our scores are than theirs of the same examples, by resampling examples.

    The interval is for other examples of the same distribution, these networks given: it is about
    the test set alone. What training again would change is not in it: `paired`, over repetitions,
    covers that and nothing else. With R repetitions the same resampled examples are taken for
    all of them, so each example counts with its mean over repetitions.

    Args:
      ours: ``[N]`` of N >= 2 test examples, or ``[R, N]`` for R repetitions; finite.
      theirs: of the same examples in the same order, and as many repetitions.
      confidence: of the interval, in (0, 1).
      resamples: how many times N examples are drawn with replacement, >= 1.
      seed: of the draws.

    Returns:
      ``mean`` of ``ours - theirs``; ``standard_error``, the standard deviation of the mean over
      the resamples; ``confidence``; ``interval``, its percentiles (a little narrow under some 50
      examples); ``examples``, N; ``repetitions``, R, 1 for ``[N]``.

    Raises:
      ValueError: other shapes, a value that is not finite, or an option out of its range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    left, right = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if left.shape != right.shape or left.ndim not in (1, 2) or left.size < 2 or left.shape[-1] < 2:
        raise ValueError(
            f"both must be [N] or [R, N] of the same N >= 2 examples, got shapes {left.shape}, "
            f"{right.shape}."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}.")
    if resamples < 1:
        raise ValueError(f"resamples must be >= 1, got {resamples}.")
    differences = np.atleast_2d(left - right).mean(0)
    if not np.isfinite(differences).all():
        raise ValueError("scores must be finite, got NaN or infinity. Did a network diverge?")
    means = _resampled_means(differences, resamples, np.random.default_rng(seed))
    ends = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {
        "mean": float(differences.mean()),
        "standard_error": float(means.std()),
        "confidence": confidence,
        "interval": ends.tolist(),
        "examples": differences.size,
        "repetitions": len(np.atleast_2d(left)),
    }


def _resampled_means(
    values: np.ndarray, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Means of [N] drawn with replacement; in chunks of a few megabytes."""
    # Indices, not multinomial counts of the examples: those take ten times as long.
    chunk = max(1, 1_000_000 // values.size)
    return np.concatenate(
        [
            values[
                generator.integers(0, values.size, (min(chunk, resamples - i), values.size))
            ].mean(1)
            for i in range(0, resamples, chunk)
        ]
    )


def paired_over_both(ours: ArrayLike, theirs: ArrayLike, resamples: int = 10_000) -> dict[str, Any]:
    """How much larger our scores are than theirs: over seeds, over images, and over both.

    Args:
      ours: ``[R, N]``, of R seeds and N >= 2 images; or ``[1, N]`` for one network (or what leaves
        nothing to chance) that each of theirs is compared with.
      theirs: ``[R, N]`` of the same seeds and images, or ``[1, N]``.
      resamples: of the bootstrap.

    Returns:
      What ``paired`` gives (over seeds, these images given), ``images``, what ``paired_bootstrap``
      gives (over images, these seeds given), and ``both``, the interval ``over_both``.

    Raises:
      ValueError: for other shapes, or a value that is not finite.
    """
    left, right = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    shapes = {left.shape[-1:], right.shape[-1:]}, {left.shape[:-1], right.shape[:-1]} - {(1,)}
    if left.ndim != 2 or right.ndim != 2 or max(map(len, shapes)) > 1:
        raise ValueError(
            "both must be [R, N] of the same R seeds and N images, or one of them [1, N], got "
            f"shapes {left.shape}, {right.shape}."
        )
    left, right = np.broadcast_arrays(left, right)
    figure = paired(left.mean(1), right.mean(1))
    figure["images"] = paired_bootstrap(left, right, resamples=resamples)
    return {**figure, "both": over_both(figure)}


def over_both(figure: Mapping[str, Any]) -> list[float] | None:
    """The interval for other seeds and other images, None where there was one seed.

    What seeds change and what images change is taken for independent, so the lengths on either side
    of the mean add up as the sides of a right angle do. That is a little wide: what only this seed
    makes of this image is in both.

    Args:
      figure: its ``mean``, ``interval`` over seeds and, of ``images``, ``interval`` over images, of
        the same confidence.
    """
    if figure["interval"] is None:
        return None
    mean, seeds, images = figure["mean"], figure["interval"], figure["images"]["interval"]
    low, high = (float(np.hypot(a - mean, b - mean)) for a, b in zip(seeds, images, strict=True))
    return [mean - low, mean + high]


def wilson(successes: int, trials: int, confidence: float = 0.95) -> list[float]:
    """Wilson's interval of a probability, such as that of one network to be right.

    Args:
      successes: in 0 to ``trials``.
      trials: >= 1.
      confidence: of the interval, in (0, 1).

    Raises:
      ValueError: for numbers out of range.

    Source: Wilson, Journal of the American Statistical Association 22, 1927.
    """
    from scipy import stats  # noqa: PLC0415 scipy.stats is slow to import

    if not (trials >= 1 and 0 <= successes <= trials and 0 < confidence < 1):
        raise ValueError(
            "successes must be in 0 to trials, trials >= 1 and confidence in (0, 1), got "
            f"{successes}, {trials} and {confidence}."
        )
    share, z = successes / trials, stats.norm.ppf((1 + confidence) / 2)
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = share * (1 - share) / trials + z**2 / (4 * trials**2)
    reach = z * np.sqrt(spread) / (1 + z**2 / trials)
    return [float(middle - reach), float(middle + reach)]


def varies_less(ours: ArrayLike, theirs: ArrayLike, confidence: float = 0.95) -> dict[str, Any]:
    """By how much ours vary less than theirs of the same seeds: of the log of a ratio.

    Args:
      ours: ``[M]``, one for each seed.
      theirs: ``[M]``, of the same seeds.
      confidence: of the interval.

    Returns:
      ``ratio`` of their standard deviation to ours; ``mean``, its log, and ``interval`` around it,
      for normal values that may be correlated: both None where there are fewer than three seeds, or
      all values of one are equal; ``confidence``.

    Source: Pitman, Biometrika 1939; Morgan, Biometrika 1939.
    """
    from scipy import stats  # noqa: PLC0415 scipy.stats is slow to import

    left, right = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    row: dict[str, Any] = {"ratio": None, "mean": None, "confidence": confidence}
    if left.size < 3 or not left.std() or not right.std():
        return {**row, "interval": None}
    ratio = right.std() / left.std()
    correlation = np.corrcoef(left, right)[0, 1]
    t = stats.t.ppf((1 + confidence) / 2, left.size - 2)
    k = 1 + 2 * (1 - correlation**2) * t**2 / (left.size - 2)
    reach = np.log(k + np.sqrt(max(k**2 - 1, 0))) / 2
    center = float(np.log(ratio))
    interval = [center - float(reach), center + float(reach)]
    return {**row, "ratio": float(ratio), "mean": center, "interval": interval}


# Figures as text --------------------------------------------------------------------------------


def points(figure: Mapping[str, Any], digits: int = 2, *, of: str = "") -> str:
    """A difference of fractions as text: ``+1.20 points (95 % interval +0.35 to +2.05)``.

    Args:
      figure: of ``paired``, or with the same ``mean``, ``confidence`` and ``interval``; without the
        latter the text has none.
      digits: after the point.
      of: the kind of the interval, such as "over images by bootstrap", where it is not
        Student's over seeds.
    """
    text = f"{100 * figure['mean']:+.{digits}f} points"
    if figure["interval"] is None:
        return text
    low, high = (f"{100 * end:+.{digits}f}" for end in figure["interval"])
    named = " ".join(filter(None, [f"{100 * figure['confidence']:g} % interval", of]))
    return f"{text} ({named} {low} to {high})"


def percent(figure: dict[str, Any], digits: int = 2) -> str:
    """A figure of ``over_seeds`` between 0 and 1 as text: ``98.72 ± 0.11 % (5 seeds)``."""
    text = f"{100 * figure['mean']:.{digits}f}"
    if figure["standard_error"] is None:
        return f"{text} %"
    return f"{text} ± {100 * figure['standard_error']:.{digits}f} % ({len(figure['values'])} seeds)"


def mean_and_error(figure: Mapping[str, Any], *, scale: float = 1, digits: int = 1) -> str:
    """A figure of ``over_seeds`` as text: ``161.2 ± 2.6``, the mean and its standard error.

    Args:
      figure: its ``mean`` and ``standard_error``; without the latter (one seed) the text has none.
      scale: of both numbers, 100 for per cent.
      digits: after the point; with 1, the number of one seed has only those that it needs.
    """
    text = f"{scale * figure['mean']:.{digits}f}"
    if figure["standard_error"] is None:
        return text if digits > 1 else f"{scale * figure['mean']:g}"
    return f"{text} ± {scale * figure['standard_error']:.{digits}f}"

"""Figures of networks that did not start at random: pretrained without labels, or grown.

Like ``figures``: no pyplot, PNG files, Okabe and Ito's colours, dashes and markers that differ too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report import scales
from cnnlab.report.drawing import COLOURS, PathLike, over_seeds, save, tidy

if TYPE_CHECKING:
    import pathlib

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# {"labels": images a class [P], "accuracy": [P, M] in [0, 1]}: M seeds with each number of labels
Curve = Mapping[str, ArrayLike]
# {"train": error [E, M], "test": error [E, M]}, in [0, 1], for each epoch and seed
Errors = Mapping[str, ArrayLike]


def accuracy(
    methods: Mapping[str, Curve],
    path: PathLike,
    *,
    baseline: str | None = None,
    title: str = "",
) -> pathlib.Path:
    """Saves accuracy against labels a class as a PNG; see ``draw_accuracy``.

    Returns:
      The path.
    """
    return save(draw_accuracy(methods, baseline=baseline, title=title), path)


def draw_accuracy(
    methods: Mapping[str, Curve], *, baseline: str | None = None, title: str = ""
) -> Figure:
    """Draws test accuracy against labels a class, and how it differs from the baseline's.

    Means over the seeds with 95 % intervals (Student's t). Those of the differences are of pairs
    with the same seed, and so the same labelled images: they tell what the others cannot.

    Args:
      methods: label -> its curve; all with the same seeds.
      baseline: the label of the method that the others are compared with; None for no such panel.
      title: above the figure.

    Raises:
      ValueError: if an accuracy is not [P, M] for its labels.

    Source: Erhan et al., JMLR 2010, of the question.
    """
    from matplotlib.figure import Figure

    for label, found in methods.items():
        shape, count = np.shape(found["accuracy"]), np.size(found["labels"])
        if len(shape) != 2 or not all(shape) or shape[0] != count:
            raise ValueError(
                f"accuracy of {label} must be [P, M] for {count} numbers of labels, got {shape}."
            )
    panels = 1 if baseline is None else 2
    figure = Figure(figsize=(5.6 * panels, 5.4), dpi=120, layout="constrained")
    grid = figure.subplots(1, panels, squeeze=False)[0]
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    # Beside each other, so that intervals do not hide each other.
    offsets = 1.03 ** (np.arange(len(methods)) - (len(methods) - 1) / 2)
    styles = zip(itertools.cycle(COLOURS), itertools.cycle("osD^vPX"), strict=False)
    for (label, found), (colour, marker), offset in zip(
        methods.items(), styles, offsets, strict=False
    ):
        values = 100 * np.asarray(found["accuracy"], np.float64)
        places = np.asarray(found["labels"], np.float64) * offset
        _interval(grid[0], places, values, label, colour, marker)
        if baseline is not None and label != baseline:
            others = 100 * np.asarray(methods[baseline]["accuracy"], np.float64)
            _interval(grid[1], places, values - others, label, colour, marker)
    counts = sorted({int(n) for found in methods.values() for n in np.ravel(found["labels"])})
    for axes in grid:
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{n:,}" for n in counts], minor=False)
        axes.set_xticks([], minor=True)
        axes.set_xlabel("labelled images a class (log scale)")
        tidy(axes)
    grid[0].set_ylabel("test accuracy (%)")
    if baseline is not None:
        grid[1].axhline(0, color="#000000", linewidth=1.0)
        grid[1].set_ylabel(f"points above {baseline}, same seeds")
    seeds = max(np.shape(found["accuracy"])[1] for found in methods.values())
    grid[0].legend(
        fontsize=9,
        title=f"mean of {seeds} seeds, 95 % intervals" if seeds > 1 else "one seed",
        title_fontsize=9,
        ncols=2,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.11),  # under the axes: intervals go everywhere in them
        frameon=False,
        alignment="left",
    )
    return figure


def _interval(
    axes: Axes, places: np.ndarray, values: np.ndarray, label: str, colour: str, marker: str
) -> None:
    from scipy import stats

    mean, seeds = values.mean(1), values.shape[1]
    reach = None
    if seeds > 1:
        reach = stats.t.ppf(0.975, seeds - 1) * values.std(1, ddof=1) / np.sqrt(seeds)
    axes.errorbar(
        places,
        mean,
        yerr=reach,
        marker=marker,
        markersize=5,
        color=colour,
        linewidth=1.6,
        elinewidth=1.1,
        capsize=2.5,
        label=label,
    )


# What a layer looks for ----------------------------------------------------------------------


def filters(
    kernels: Mapping[str, ArrayLike],
    image_shape: Sequence[int],
    path: PathLike,
    *,
    count: int = 49,
    title: str = "",
) -> pathlib.Path:
    """Saves first layers' weights as images in a PNG; see ``draw_filters``.

    Returns:
      The path.
    """
    return save(draw_filters(kernels, image_shape, count=count, title=title), path)


def draw_filters(
    kernels: Mapping[str, ArrayLike],
    image_shape: Sequence[int],
    *,
    count: int = 49,
    title: str = "",
) -> Figure:
    """Draws the weights of the units of a dense layer on pixels, as images.

    Those with the largest norm come first. Each has its own scale around a medium grey of zero; of
    several channels the mean is shown.

    Args:
      kernels: label -> ``[D, W]``.
      image_shape: (H, W, C) with D pixels in all.
      count: units of each layer, at most; >= 1.
      title: above the figure.

    Raises:
      ValueError: if a kernel is not of such images, or the count is none.

    Source: Erhan et al., JMLR 2010, and Vincent et al., JMLR 2010, who show layers so.
    """
    from matplotlib.figure import Figure

    if count < 1:
        raise ValueError(f"count must be at least 1 unit, got {count}.")
    figure = Figure(figsize=(4.2 * len(kernels), 4.7), dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(1, len(kernels), squeeze=False, gridspec_kw={"wspace": 0.06})[0]
    for axes, (label, kernel) in zip(grid, kernels.items(), strict=True):
        weights = np.asarray(kernel, np.float64)
        if weights.ndim != 2 or weights.shape[0] != np.prod(image_shape):
            raise ValueError(
                f"the kernel of {label} must be [D, W] with D the pixels of {tuple(image_shape)}, "
                f"got shape {weights.shape}."
            )
        order = np.argsort(-np.linalg.norm(weights, axis=0), kind="stable")[:count]
        images = weights.T[order].reshape(-1, *image_shape).mean(-1)
        axes.imshow(_mosaic(images), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axes.set_title(f"{label}: {len(order)} of {weights.shape[1]} units", fontsize=10)
        axes.set_axis_off()
    return figure


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W], each divided by its largest magnitude, in rows with white between."""
    count, height, width = images.shape
    across = int(np.ceil(np.sqrt(count)))
    down = -(-count // across)
    canvas = np.ones((down * (height + 1) - 1, across * (width + 1) - 1))
    for index, image in enumerate(images):
        y, x = divmod(index, across)
        scaled = image / max(np.abs(image).max(), 1e-12)
        canvas[y * (height + 1) :, x * (width + 1) :][:height, :width] = scaled
    return canvas


# Growing -------------------------------------------------------------------------------------


def growth(
    methods: Mapping[str, Errors],
    path: PathLike,
    *,
    grown_at: int,
    guessing: float | None = None,
    watched: int | None = None,
    title: str = "",
) -> pathlib.Path:
    """Saves the errors of grown networks and others as a PNG; see ``draw_growth``.

    Returns:
      The path.
    """
    how: dict[str, Any] = {"grown_at": grown_at, "guessing": guessing, "watched": watched}
    return save(draw_growth(methods, title=title, **how), path)


def draw_growth(
    methods: Mapping[str, Errors],
    *,
    grown_at: int,
    guessing: float | None = None,
    watched: int | None = None,
    title: str = "",
) -> Figure:
    """Draws training errors and test errors against the epoch, a panel each.

    Means over the seeds, in bands of one standard error.

    Args:
      methods: label -> its errors; those of a grown network begin with the shallow one's.
      grown_at: the epoch after which networks grow, a dotted line.
      guessing: the error of guessing, in [0, 1], a dashed line.
      watched: of how many test images the test errors are, if not of all.
      title: above the figure.

    Raises:
      ValueError: if there is no method, or one without an epoch.
    """
    from matplotlib.figure import Figure

    shapes = [np.shape(found["test"]) for found in methods.values()]
    if not shapes or not all(len(shape) == 2 and all(shape) for shape in shapes):
        raise ValueError(f"each method must have errors [E, M] to draw, got shapes {shapes}.")
    epochs, seeds = np.max(shapes, axis=0)
    figure = Figure(figsize=(11.2, 5.6), dpi=120, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12, parse_math=False)
    grid = figure.subplots(1, 2, sharey=True)
    dashes = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 0.6)), (0, (7, 2)))
    for axes, part, name in zip(grid, ("train", "test"), ("training", "test"), strict=True):
        styles = zip(itertools.cycle(COLOURS), itertools.cycle(dashes), strict=False)
        for (label, found), (colour, dash) in zip(methods.items(), styles, strict=False):
            values = 100 * np.asarray(found[part], np.float64)
            mean, low, high = over_seeds(values, "standard error")
            at = np.arange(1, len(values) + 1)
            error = f" ± {(high - mean)[-1]:.2g}" if values.shape[1] > 1 else ""
            last = f"{label}: {mean[-1]:.2f}{error} % at the end"
            axes.plot(at, mean, linestyle=dash, color=colour, linewidth=1.9, label=last)
            axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.axvline(grown_at + 0.5, color="#7F7F7F", linestyle=":", linewidth=1.2)
        if guessing is not None:
            axes.axhline(100 * guessing, color="#7F7F7F", linestyle="--", linewidth=1.0)
        some = "" if watched is None or part == "train" else f" on {watched:,} images"
        axes.set_title(f"{name} error{some} (dotted: networks grow)", fontsize=10.5)
        axes.set_xlabel("epoch")
        axes.tick_params(labelleft=True)
        scales.epochs(axes, 1, int(epochs))
        tidy(axes)
        axes.legend(
            fontsize=8.5,
            title=f"mean of {seeds} seeds ± standard error" if seeds > 1 else "",
            title_fontsize=8.5,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),  # under the panel: curves go everywhere in it
            frameon=False,
            alignment="left",
        )
    scales.errors(grid[0])
    grid[0].set_ylim(bottom=0)
    return figure

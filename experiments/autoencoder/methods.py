"""Methods that an autoencoder has to beat: closed forms, and filters of SciPy.

Each is a ``Method``; settings are chosen by the mean PSNR on validation images. All work on float32
images ``[N, H, W, C]`` whose black is 0 and white 1, and their outputs are clipped to that.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage, signal, stats
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from cnnlab.data import Splits
from cnnlab.report.image_scores import ROUNDING_PSNR, psnr

from .colour import luma
from .config import Config
from .data import Pairs, corrupt_images

_SIGMAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0)
_SIDES = (3, 5, 7)
_PENALTIES = (0.001, 0.01, 0.1, 1.0)
_NUMBERS = 50_000_000  # of the training images that methods learn from: 64,000 of MNIST
_VALIDATION = 1000  # images that settings are chosen by


class Method(NamedTuple):
    """A way to reconstruct images.

    Attributes:
      apply: ``seen [N, H, W, C] -> images [N, H, W, C']``.
      setting: what was chosen, such as "sigma 0.6".
    """

    apply: Callable[[np.ndarray], np.ndarray]
    setting: str = ""


def make_methods(config: Config, splits: Splits, code: int | None) -> dict[str, Method]:
    """The methods of the config's task; to denoise or to colour, the corrupted image comes first.

    Args:
      config: of the experiment.
      splits: the data; to denoise, with a validation part.
      code: how many numbers plain images go through.
    """
    if code is not None:
        images = corrupt_images(config, splits.train, "train").clean
        return {"PCA": principal_components(images, code)}
    # fewer of large images: a minute's work
    count = min(len(splits.train), _NUMBERS // int(np.prod(splits.train.image_shape)))
    chosen = np.linspace(0, len(splits.train) - 1, count).astype(int)
    train = corrupt_images(config, splits.train.take(chosen), "train")
    unchanged = Method(lambda seen: seen)
    if config.task == "colour":
        return {"grey image": unchanged, **colourings(train.clean)}
    assert splits.validation is not None  # check_network refuses that
    part = splits.validation.take(np.arange(min(len(splits.validation), _VALIDATION)))
    validation = corrupt_images(config, part, "validation")
    return {
        "noisy image": unchanged,
        **filters(validation, config.amount if config.noise == "gaussian" else None),
        "ridge regression": linear_map(train, validation),
    }


def filters(validation: Pairs, noise: float | None) -> dict[str, Method]:
    """SciPy's filters against noise, each with the width that is best on validation.

    Args:
      validation: what they are chosen by.
      noise: the standard deviation of normal noise, which the Wiener filter is given; None for
        another kind of noise: it guesses.
    """

    def gaussian(sigma: float, x: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(x, (0, sigma, sigma, 0)))

    def median(side: int, x: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.median_filter(x, (1, side, side, 1)))

    def wiener(side: int, x: np.ndarray) -> np.ndarray:
        width = side // 2  # SciPy takes what is beyond the border for black: mirror instead
        border = ((0, 0), (width, width), (width, width), (0, 0))
        padded = np.pad(x, border, "symmetric").astype(np.float64)
        power = None if noise is None else noise**2
        with np.errstate(divide="ignore", invalid="ignore"):  # where all is one value: keep it
            filtered = np.asarray(signal.wiener(padded, (1, side, side, 1), power))
        inside = (slice(None), slice(width, -width), slice(width, -width))
        return np.where(np.isfinite(filtered), filtered, padded)[inside]

    return {
        "gaussian filter": best_on_validation(gaussian, "sigma", _SIGMAS, validation),
        "median filter": best_on_validation(median, "side", _SIDES, validation),
        "Wiener filter": best_on_validation(wiener, "side", _SIDES, validation),
    }


def linear_map(train: Pairs, validation: Pairs) -> Method:
    """Ridge regression from all numbers of an image to all of the clean one: the best linear map.

    scikit-learn's; the penalty, a fraction of the numbers' variance times the examples, is chosen
    on validation.
    """
    x, y = (part.reshape(len(part), -1) for part in train)
    unit = float(np.var(x)) * len(x)
    fitted = {each: Ridge(alpha=each * unit).fit(x, y) for each in _PENALTIES}

    def apply(penalty: float, seen: np.ndarray) -> np.ndarray:
        flat = fitted[penalty].predict(seen.reshape(len(seen), -1))
        return np.asarray(flat).reshape(len(seen), *train.clean.shape[1:])

    return best_on_validation(apply, "penalty", _PENALTIES, validation)


def principal_components(train: np.ndarray, count: int) -> Method:
    """The projection on the first ``count`` principal components, by scikit-learn.

    No linear autoencoder with a code of ``count`` numbers has a smaller squared error on the
    training images (Baldi and Hornik, Neural Networks 1989).
    """
    flat = train.reshape(len(train), -1)
    solver = "covariance_eigh" if len(flat) >= flat.shape[1] else "full"
    pca = PCA(count, svd_solver=solver).fit(flat)

    def apply(seen: np.ndarray) -> np.ndarray:
        projected = pca.inverse_transform(pca.transform(seen.reshape(len(seen), -1)))
        return np.asarray(projected, np.float32).reshape(seen.shape)

    return Method(apply, f"{count} numbers")


def colourings(clean: np.ndarray) -> dict[str, Method]:
    """Colours by the grey value of a pixel alone, as the training images have them.

    Args:
      clean: training images ``[N, H, W, 3]``.
    """
    grey = luma(clean)
    chroma = clean - grey
    mean = chroma.mean((0, 1, 2))
    levels = np.linspace(0, 1, 65)
    table = np.stack(
        [
            stats.binned_statistic(grey.ravel(), c.ravel(), "mean", levels).statistic
            for c in np.moveaxis(chroma, -1, 0)
        ],
        axis=-1,
    )
    table = np.where(np.isfinite(table), table, mean)

    def by_level(seen: np.ndarray) -> np.ndarray:
        bins = np.clip(np.digitize(luma(seen)[..., 0], levels) - 1, 0, len(table) - 1)
        return seen + table[bins]

    return {
        "mean chroma": Method(lambda seen: seen + mean),
        "mean chroma of the grey value": Method(by_level, "64 levels"),
    }


def best_on_validation(
    apply: Callable[[Any, np.ndarray], np.ndarray],
    name: str,
    values: Iterable[Any],
    validation: Pairs,
) -> Method:
    """The method with the value of its setting that has the highest mean PSNR on validation."""

    def quality(value: Any) -> float:
        images = np.clip(apply(value, validation.seen), 0, 1)
        return float(psnr(images, validation.clean, highest=ROUNDING_PSNR).mean())

    chosen = max(values, key=quality)
    return Method(lambda seen: apply(chosen, seen), f"{name} {chosen:g}")


def apply_methods(methods: Mapping[str, Method], seen: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of each method, clipped to 0 to 1: float32."""
    return {
        name: np.clip(method.apply(seen), 0, 1).astype(np.float32)
        for name, method in methods.items()
    }

"""What a network that gives images back has to beat: methods with a closed form, or of SciPy.

Each is a ``Method``; settings are chosen by the mean PSNR on validation images. All work on float32
images ``[N, H, W, C]`` whose black is 0 and white 1, and all answers are cut off there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cnnlab.augment.corruption import LUMA

SIGMAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0)
SIDES = (3, 5, 7)
PENALTIES = (0.001, 0.01, 0.1, 1.0)


class Method(NamedTuple):
    """A way to give images back.

    Attributes:
      apply: ``seen [N, H, W, C] -> images [N, H, W, C']``.
      setting: what was chosen, such as "sigma 0.6".
    """

    apply: Callable[[np.ndarray], np.ndarray]
    setting: str = ""


class Pairs(NamedTuple):
    """Images and what was made of them.

    Attributes:
      seen: ``[N, H, W, C]``, corrupted.
      clean: ``[N, H, W, C']``, what to give back.
    """

    seen: np.ndarray
    clean: np.ndarray


def filters(validation: Pairs, noise: float | None) -> dict[str, Method]:
    """SciPy's filters against noise, each with the width that is best on validation.

    Args:
      validation: what they are chosen by.
      noise: the standard deviation of normal noise, which the Wiener filter is told; None for
        another kind of noise: it guesses.
    """
    from scipy import ndimage, signal

    def gaussian(sigma: float, x: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(x, (0, sigma, sigma, 0)))

    def median(side: int, x: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.median_filter(x, (1, side, side, 1)))

    def wiener(side: int, x: np.ndarray) -> np.ndarray:
        reach = side // 2  # SciPy takes what is beyond the border for black: mirror instead
        border = ((0, 0), (reach, reach), (reach, reach), (0, 0))
        padded = np.pad(x, border, "symmetric").astype(np.float64)
        told = None if noise is None else noise**2
        with np.errstate(divide="ignore", invalid="ignore"):  # where all is one value: keep it
            found = np.asarray(signal.wiener(padded, (1, side, side, 1), told))
        inside = (slice(None), slice(reach, -reach), slice(reach, -reach))
        return np.where(np.isfinite(found), found, padded)[inside]

    return {
        "gaussian filter": best(gaussian, "sigma", SIGMAS, validation),
        "median filter": best(median, "side", SIDES, validation),
        "Wiener filter": best(wiener, "side", SIDES, validation),
    }


def linear_map(train: Pairs, validation: Pairs) -> Method:
    """Ridge regression from all numbers of an image to all of the clean one: the best linear map.

    scikit-learn's; the penalty, a fraction of the numbers' variance times the examples, is chosen
    on validation.
    """
    from sklearn.linear_model import Ridge

    x, y = (part.reshape(len(part), -1) for part in train)
    unit = float(np.var(x)) * len(x)
    fitted = {each: Ridge(alpha=each * unit).fit(x, y) for each in PENALTIES}

    def apply(penalty: float, seen: np.ndarray) -> np.ndarray:
        flat = fitted[penalty].predict(seen.reshape(len(seen), -1))
        return np.asarray(flat).reshape(len(seen), *train.clean.shape[1:])

    return best(apply, "penalty", PENALTIES, validation)


def components(train: np.ndarray, count: int) -> Method:
    """The projection on the first ``count`` principal components, by scikit-learn.

    No linear autoencoder with a code of ``count`` numbers has a smaller squared error on the
    training images (Baldi and Hornik, Neural Networks 1989).
    """
    from sklearn.decomposition import PCA

    flat = train.reshape(len(train), -1)
    solver = "covariance_eigh" if len(flat) >= flat.shape[1] else "full"
    pca = PCA(count, svd_solver=solver).fit(flat)

    def apply(seen: np.ndarray) -> np.ndarray:
        back = pca.inverse_transform(pca.transform(seen.reshape(len(seen), -1)))
        return np.asarray(back, np.float32).reshape(seen.shape)

    return Method(apply, f"{count} numbers")


def colourings(clean: np.ndarray) -> dict[str, Method]:
    """What the colours of the training images say about a pixel by its grey value alone.

    Args:
      clean: training images ``[N, H, W, 3]``.
    """
    from scipy import stats

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


def luma(images: Any) -> Any:
    """The grey value: ``[..., 3]`` to ``[..., 1]``, of NumPy or of jax."""
    return images @ np.asarray(LUMA, images.dtype)[:, None]


def saturation(images: np.ndarray) -> np.ndarray:
    """How strong an image's colours are: the root mean square of ``RGB - luma``, [..., H, W, 3]."""
    found: np.ndarray = np.sqrt(np.mean(np.square(images - luma(images)), axis=(-3, -2, -1)))
    return found


def with_luma(images: Any, seen: Any) -> Any:
    """The images' colours with the grey values of ``seen``, which are known to be right.

    Of NumPy or of jax: the loss of a colouring network is taken behind it, too, so that it need
    not learn to copy what it is shown.
    """
    return images + (luma(seen) - luma(images))


def best(
    apply: Callable[[Any, np.ndarray], np.ndarray],
    name: str,
    values: Iterable[Any],
    validation: Pairs,
) -> Method:
    """The method with the value of its setting that has the highest mean PSNR on validation."""
    from cnnlab.report.image_scores import ROUNDING_PSNR, psnr

    def quality(value: Any) -> float:
        images = np.clip(apply(value, validation.seen), 0, 1)
        return float(psnr(images, validation.clean, highest=ROUNDING_PSNR).mean())

    chosen = max(values, key=quality)
    return Method(lambda seen: apply(chosen, seen), f"{name} {chosen:g}")


def applied(methods: Mapping[str, Method], seen: np.ndarray) -> dict[str, np.ndarray]:
    """What each method makes of the images, cut off at 0 and 1: float32."""
    return {
        name: np.clip(method.apply(seen), 0, 1).astype(np.float32)
        for name, method in methods.items()
    }

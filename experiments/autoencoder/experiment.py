"""An autoencoder is trained, and its reconstructions are scored beside those of other methods."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.augment import identity
from cnnlab.data import Dataset, Features
from cnnlab.losses.reconstruction import images_of
from cnnlab.report.image_scores import largest_window, mean_squared_error
from cnnlab.report.statistics import over_seeds
from cnnlab.studies import study
from cnnlab.studies.claims import Claim
from cnnlab.studies.study import Study
from cnnlab.train import Recipe, TrainState, evaluate, predict

from ..cli import host
from . import figures
from .claims import PUBLISHED, compare, compare_saturation
from .colour import saturation, with_luma
from .config import PHOTOGRAPHS_CONDITION, Config, check, is_photographs, resolve_defaults
from .data import Pairs, corrupt_images, load
from .methods import Method, apply_methods, make_methods
from .recipe import check_network, code_size, make_recipe
from .scores import Scores, score_images, summarize, with_both_interval
from .summary import summary_lines

SHOWN = 8  # test images in the figure


def run(config: Config) -> dict[str, Any]:
    """Trains the autoencoder, scores it and the other methods, and writes the run directory.

    Returns:
      The content of result.json: ``methods`` (name -> PSNR, SSIM and squared error, with standard
      errors over seeds and over images), ``claims``, and for ``plain`` the ``code``: its numbers,
      and the training error as a multiple of that of as many principal components.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        config = s.config = resolve_defaults(s.config)
        check(config)
        splits = load(config)
        recipe = make_recipe(config, splits.train)
        check_network(config, splits, recipe)
        s.begin(f"autoencoder-{config.task}-{config.data_name}", splits.notes)
        trained = s.train("network", recipe, splits.train, splits.validation)

        # Reconstructions of the test part, by the other methods and by the networks.
        shape, plain = splits.train.image_shape, config.task == "plain"
        code = code_size(recipe.network, shape) if plain else None
        test = corrupt_images(config, splits.test, "test")
        methods = make_methods(config, splits, code)
        own = reconstruct(config, recipe, trained.states, splits.test, test.seen)
        images = {**apply_methods(methods, test.seen), config.model: own}
        if config.task == "colour":
            images = {name: restore_luma(each, test.seen) for name, each in images.items()}

        window = largest_window(*shape[:2])
        scores = {name: score_images(each, test.clean, window) for name, each in images.items()}
        settings = {name: method.setting for name, method in methods.items()}
        settings[config.model] = " ".join(config.model_options)
        summaries = {
            name: {**summarize(each), "setting": settings[name]} for name, each in scores.items()
        }
        about: dict[str, Any] = {
            "task": config.task,
            "model": config.model_name,
            "methods": summaries,
        }
        if code is not None:
            about["code"] = {"numbers": code, "of": test.clean[0].size}
            if config.loss == "squared":
                about["code"]["training_error_over_pca"] = training_error_over_pca(
                    config, recipe, trained.states, splits.train, methods["PCA"]
                )
        about |= {"ssim_window": window, "test_images": len(test.clean)}
        about["seconds"] = round(trained.seconds, 1)
        params = trained.states.params
        s.save_figure("filters", lambda: figures.first_filters(recipe.network, params, shape))
        _draw(s, test, images, scores, summaries)
        return s.finish(about, _claims(config, test, own, scores, code), summary_lines)


def reconstruct(
    config: Config, recipe: Recipe, states: TrainState, test: Dataset, seen: np.ndarray
) -> np.ndarray:
    """The outputs of each network as images, float32 ``[S, N, H, W, C]``, of the ``seen`` ones."""
    features = Features(seen, test.labels, test.class_names, test.name)
    outputs = predict(dataclasses.replace(recipe, prepare=identity, corrupt=None), states, features)
    if config.task == "colour":
        return restore_luma(outputs, seen)
    images = np.stack([images_of(each, config.loss) for each in outputs])
    return np.clip(images, 0, 1).astype(np.float32)


def restore_luma(images: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Coloured images with the known grey values, clipped to 0 to 1: float32."""
    return np.clip(with_luma(images, seen), 0, 1).astype(np.float32)


def training_error_over_pca(
    config: Config, recipe: Recipe, states: TrainState, train: Dataset, pca: Method
) -> dict[str, Any]:
    """The training error as a multiple of that of as many principal components, over seeds."""
    clean = corrupt_images(config, train, "train").clean
    least = float(mean_squared_error(pca.apply(clean), clean).mean())
    return over_seeds(evaluate(recipe, states, train)["loss"] / least)


def _claims(
    config: Config,
    test: Pairs,
    own: np.ndarray,
    scores: Mapping[str, Scores],
    code: int | None,
) -> list[Claim]:
    ours = config.model
    if code is not None:
        return compare(ours, scores, ("error",), PUBLISHED.get((test.clean[0].size, code)))
    claims = compare(ours, scores, ("psnr", "ssim"))
    if config.task == "colour":
        claims.append(compare_saturation(ours, saturation(own), saturation(test.clean)))
    return claims


def _draw(
    s: Study[Config],
    test: Pairs,
    images: Mapping[str, np.ndarray],
    scores: Mapping[str, Scores],
    summaries: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draws some test images as the best methods reconstruct them, and all scores."""
    config = s.config
    title = f"{config.task}, {config.model_name} on {config.data_name}"
    chosen = np.linspace(0, len(test.clean) - 1, min(SHOWN, len(test.clean))).astype(int)
    rows = {"original": figures.Row(test.clean[chosen])}
    for name in _choose_methods(config, summaries):
        first = images[name][0] if images[name].ndim == 5 else images[name]
        psnr, ssim = scores[name].psnr[0, chosen], scores[name].ssim[0, chosen]
        rows[name] = figures.Row(first[chosen], psnr, ssim)
    s.save_figure("autoencoder", lambda: figures.restorations(rows, title=f"{title}: test images"))
    panels = {
        label: {name: with_both_interval(each[kind]) for name, each in summaries.items()}
        for label, kind in (("PSNR (dB)", "psnr"), ("SSIM", "ssim"))
    }
    title += (
        f": means of {len(test.clean):,} test images with their 95 % intervals over seeds and "
        "images"
    )
    if is_photographs(config.dataset):
        title += f"\n({PHOTOGRAPHS_CONDITION})"
    s.save_figure("scores", lambda: figures.scores(panels, ours=[config.model], title=title))


def _choose_methods(config: Config, summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The corrupted images, the best of the other methods and the network."""
    names = [name for name in summaries if name != config.model]
    shown = [] if config.task == "plain" else names[:1]
    best = max(names[len(shown) :], key=lambda name: summaries[name]["psnr"]["mean"])
    return [*shown, best, config.model]

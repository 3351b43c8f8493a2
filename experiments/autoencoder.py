"""Networks that give images back: through a narrow code, without noise, with their colours.

Claims: through a code of as many numbers a deep autoencoder gives images back better than principal
components, which no linear one can do (Hinton and Salakhutdinov, Science 2006; Baldi and Hornik,
Neural Networks 1989). Trained to give back clean images for noisy ones it denoises (Vincent et al.,
ICML 2008), here better than filters whose width is chosen on validation. From grey images it learns
to guess colours, which by the squared error come out pale (Zhang et al., ECCV 2016).
Published: MNIST through 30 numbers, squared error of an image: autoencoder 3.00, logistic PCA 8.01,
PCA 13.87 (Hinton and Salakhutdinov, figure 2). Nothing at these sizes for noise and colours.
Measured: see results/autoencoder-*.json (written by this module).

    python -m experiments.autoencoder
    python -m experiments.autoencoder --model-options "widths=(16,)" activation=identity
    python -m experiments.autoencoder --task denoise
    python -m experiments.autoencoder --task colour --dataset photographs \
        --model conv_autoencoder --epochs 30 --batch-size 32 --flip
    python -m experiments.autoencoder --task denoise --dataset fashion_mnist --data-dir DIR \
        --model unet --fraction 0.2 --epochs 12
    python -m experiments.autoencoder --task colour --dataset cifar10 --data-dir DIR \
        --fraction 0.2 --epochs 10 --batch-size 32 --flip
    python -m experiments.autoencoder --task colour --dataset cifar10 --data-dir DIR \
        --model-options width=64 depth=3 norm=batch --batch-size 128 --epochs 60 --flip
    python -m experiments.autoencoder --dataset mnist --data-dir DIR --loss bernoulli \
        --model-options "widths=(1000,500,250,30)" --batch-size 128 --epochs 200
    python -m experiments.autoencoder --resume runs/autoencoder-plain-digits-1

The first four are quick, the next two take a CPU some ten minutes, the two behind them want a GPU.
The second is linear and must come to the principal components, its training error no less.
PSNR and SSIM are means over the images of the test part, which nothing is chosen by; what chance
there is in the corruption is the same for all methods and seeds. Images are 0 to 1; every method's
answer is cut off there. In colouring, grey values are known: every answer is given the right ones.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from experiments import autoencoder_claims, photographs
from experiments.autoencoder_settings import (
    check,
    chosen,
    code_size,
    corruption_of,
    load,
    recipe_of,
)
from experiments.config import Training
from experiments.parts import Whole, open_whole, train_part
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset, Splits
    from cnnlab.models import Network
    from cnnlab.train import Recipe, TrainState
    from experiments.restoration import Method, Pairs

_SHOWN = 8  # test images in the figure
_CHUNK = 500  # images that are corrupted at a time
_EXAMPLES = 50_000_000  # numbers of training images that other methods learn from: 64,000 of MNIST


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train a network that gives images back, and hold it against what is known to."""

    task: Literal["plain", "denoise", "colour"] = "plain"
    """Through a narrow code, noise taken away, or colours given to grey images."""
    noise: Literal["gaussian", "masking", "salt_and_pepper"] = "gaussian"
    """What a denoiser is to take away."""
    amount: float = 0.2
    """The noise's standard deviation where white is 1, or the fraction of the pixels it hits."""
    loss: Literal["squared", "bernoulli", "absolute"] = "squared"
    """Of a pixel."""

    dataset: str = "digits"
    """digits, mnist, fashion_mnist, cifar10, cifar100, folder, npz, … and photographs[:SIZE]."""
    model: str = "auto"
    """dense_autoencoder, conv_autoencoder or unet; by default the first, to colour the last."""
    model_options: tuple[str, ...] = ()
    """Further settings of the model; by default those of a small one."""
    epochs: int = 100
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    crop: int = 0
    seeds: int = 3
    normalization: tyro.conf.Suppress[Literal["channel", "mean-image", "unit"]] = "unit"
    label_smoothing: tyro.conf.Suppress[float] = 0.0
    keep_every: tyro.conf.Suppress[int | None] = None


class Study(NamedTuple):
    """What the parts of the experiment have in common.

    Attributes:
      config: with the model that was chosen.
      whole: the run directory.
      splits: the data.
      recipe: of the network.
      test: the test part as the network sees it, and as it should be.
      say: to the user.
    """

    config: Config
    whole: Whole
    splits: "Splits"
    recipe: "Recipe"
    test: "Pairs"
    say: Any


def run(config: Config) -> dict[str, Any]:
    """Trains the network, scores it and the others, and writes the run directory.

    Returns:
      What result.json holds: ``methods`` (name -> PSNR, SSIM and squared error, with standard
      errors over seeds and over images), ``claims``, as ``autoencoder_claims`` gives them, and for
      ``plain`` the ``code`` and what a linear one comes to.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    config = chosen(config)
    splits = load(config)
    recipe = recipe_of(config, splits.train)
    check(config, splits, recipe)
    whole = open_whole(config, f"autoencoder-{config.task}-{config.dataset}")
    say = (lambda text: None) if config.quiet else print
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    study = Study(config, whole, splits, recipe, pairs(config, splits.test, "test"), say)
    part = train_part(config, whole, "network", recipe, splits.train, splits.validation)
    images = answers(study, part.states)
    about = {
        "task": config.task,
        "model": config.model,
        **judged(study, images, part.states),
        "seconds": round(part.seconds, 1),
    }
    result = whole.finish("autoencoder", config, splits.notes, about)
    print("\n".join(["", *said(result), f"see {whole.directory}"]))
    return result


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: the scores of each method, then the claims."""
    found = autoencoder_claims.table(result["methods"])
    claims = autoencoder_claims.lines(result["claims"])
    if photographs.named(result["dataset"]):
        claims.append(f"Intervals over images: {photographs.CONDITION}.")
    return [*found, "", *claims]


# Images --------------------------------------------------------------------------------------


def pairs(config: Config, dataset: "Dataset", part: str) -> "Pairs":
    """The images as the network sees them and as they should be; the same whatever the seeds.

    Args:
      config: of the experiment.
      dataset: the part.
      part: its name, which has a noise of its own.
    """
    import jax
    import numpy as np

    from cnnlab.keys import run_key, stream_key
    from experiments.restoration import Pairs

    corrupt = jax.jit(corruption_of(config))
    key = run_key(config.split_seed)
    clean, seen = [], []
    for index, start in enumerate(range(0, len(dataset), _CHUNK)):
        images = np.asarray(dataset.images[start : start + _CHUNK], np.float32) / 255
        clean.append(images)
        seen.append(np.asarray(corrupt(stream_key(key, f"corrupt {part}", index), images)))
    return Pairs(np.concatenate(seen), np.concatenate(clean))


def answers(study: Study, states: "TrainState") -> "np.ndarray":
    """What each network makes of the test part: float32 ``[S, N, H, W, C]``, 0 to 1."""
    import numpy as np

    from cnnlab.augment import compose
    from cnnlab.data import Features
    from cnnlab.losses.reconstruction import images_of
    from cnnlab.train import predict

    test = study.splits.test
    shown = Features(study.test.seen, test.labels, test.class_names, test.name)
    recipe = dataclasses.replace(study.recipe, prepare=compose(), corrupt=None)
    outputs = predict(recipe, states, shown)
    if study.config.task != "colour":
        outputs = np.stack([images_of(each, study.config.loss) for each in outputs])
    return finished(study.config, outputs, study.test.seen)


def finished(config: Config, images: "np.ndarray", seen: "np.ndarray") -> "np.ndarray":
    """Answers as they are scored: with the grey values where they are known, and cut off."""
    import numpy as np

    from experiments.restoration import with_luma

    if config.task == "colour":
        images = with_luma(images, seen)
    return np.clip(images, 0, 1).astype(np.float32)


def others(study: Study) -> "dict[str, Method]":
    """What the network is held against."""
    import numpy as np

    from experiments import restoration

    config, splits = study.config, study.splits
    if config.task == "plain":
        code = code_size(study.recipe, splits.train.image_shape)
        return {"PCA": restoration.components(pairs(config, splits.train, "train").clean, code)}
    # Of large images so many only as are dealt with in a minute.
    most = min(len(splits.train), _EXAMPLES // study.test.clean[0].size)
    places = np.linspace(0, len(splits.train) - 1, most).astype(int)
    train = pairs(config, splits.train.take(places), "train")
    same = restoration.Method(lambda seen: seen)
    if config.task == "colour":
        return {"grey image": same, **restoration.colourings(train.clean)}
    assert splits.validation is not None  # checked
    some = splits.validation.take(np.arange(min(len(splits.validation), 1000)))
    validation = pairs(config, some, "validation")
    noise = config.amount if config.noise == "gaussian" else None
    return {
        "noisy image": same,
        **restoration.filters(validation, noise),
        "ridge regression": restoration.linear_map(train, validation),
    }


# Judgement -----------------------------------------------------------------------------------


def judged(study: Study, images: "np.ndarray", states: "TrainState") -> dict[str, Any]:
    """The part of the result that scores and compares; it draws the figures, too.

    Args:
      study: the experiment.
      images: what the networks gave back, ``[S, N, H, W, C]``.
      states: of the networks.
    """
    from cnnlab.report.image_scores import largest_window
    from experiments.restoration import applied, saturation

    config, test = study.config, study.test
    methods = others(study)
    restored = {**applied(methods, test.seen), config.model: images}
    if config.task == "colour":
        restored = {name: finished(config, each, test.seen) for name, each in restored.items()}
    window = largest_window(*test.clean.shape[1:3])
    found = {
        name: autoencoder_claims.scores(each, test.clean, window) for name, each in restored.items()
    }
    kinds = ("error",) if config.task == "plain" else ("psnr", "ssim")
    claims = autoencoder_claims.compare(config.model, found, kinds)
    more: dict[str, Any] = {}
    if config.task == "colour":
        truth = saturation(test.clean)
        claims.append(autoencoder_claims.paler(saturation(images), truth))
    if config.task == "plain":
        more["code"] = _code(study, methods["PCA"], states)
    summaries = {
        name: {
            **autoencoder_claims.summary(each),
            "setting": methods[name].setting if name in methods else _setting(config),
        }
        for name, each in found.items()
    }
    _draw(study, restored, found, summaries, states)
    about = {"ssim_window": window, "test_images": len(test.clean)}
    return {"methods": summaries, "claims": claims, **more, **about}


def _setting(config: Config) -> str:
    return " ".join(config.model_options)


def _code(study: Study, pca: "Method", states: "TrainState") -> dict[str, Any]:
    """The code's numbers, and the training error as a multiple of that of as many components."""
    from cnnlab.report.image_scores import mean_squared_error
    from cnnlab.report.statistics import over_seeds
    from cnnlab.train import evaluate

    numbers = code_size(study.recipe, study.splits.train.image_shape)
    found: dict[str, Any] = {"numbers": numbers, "of": study.test.clean[0].size}
    if study.config.loss == "squared":
        clean = pairs(study.config, study.splits.train, "train").clean
        least = float(mean_squared_error(pca.apply(clean), clean).mean())
        ours = evaluate(study.recipe, states, study.splits.train)["loss"]
        found["training_error_over_pca"] = over_seeds(ours / least)
        ratio = found["training_error_over_pca"]["mean"]
        study.say(f"\ntraining error: {ratio:.3f} times that of {numbers} principal components")
    return found


def _draw(
    study: Study,
    restored: "Mapping[str, np.ndarray]",
    found: Mapping[str, autoencoder_claims.Scores],
    summaries: Mapping[str, Mapping[str, Any]],
    states: "TrainState",
) -> None:
    import jax
    import numpy as np

    from cnnlab.report import drawing, image_figures, mosaics

    if jax.process_index() > 0:
        return
    config, test, folder = study.config, study.test, study.whole.directory / "figures"
    title = f"{config.task}, {config.model} on {config.dataset}"
    condition = f"\n({photographs.CONDITION})" if photographs.named(config.dataset) else ""
    places = np.linspace(0, len(test.clean) - 1, min(_SHOWN, len(test.clean))).astype(int)
    rows = {"original": image_figures.Row(test.clean[places])}
    for name in _worth_showing(config, summaries):
        images = restored[name][0] if restored[name].ndim == 5 else restored[name]
        psnr, ssim = found[name].psnr[0, places], found[name].ssim[0, places]
        rows[name] = image_figures.Row(images[places], psnr, ssim)
    pictures = image_figures.restorations(rows, title=f"{title}: test images")
    drawing.save(pictures, folder / "autoencoder.png")
    scores = image_figures.scores(
        {
            label: {name: autoencoder_claims.reach(said[score]) for name, said in summaries.items()}
            for label, score in (("PSNR (dB)", "psnr"), ("SSIM", "ssim"))
        },
        ours=[config.model],
        title=f"{title}: means of {len(test.clean):,} test images with their 95 % intervals over "
        f"seeds and images{condition}",
    )
    drawing.save(scores, folder / "scores.png")
    kernels = first_kernels(study.recipe.network, states.params, study.splits.train.image_shape)
    drawing.save(mosaics.filters({"first layer": kernels}), folder / "filters.png")


def _worth_showing(config: Config, summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the network saw, the best of the other methods and the network."""
    names = [name for name in summaries if name != config.model]
    shown = [] if config.task == "plain" else names[:1]
    best = max(names[len(shown) :], key=lambda name: summaries[name]["psnr"]["mean"])
    return [*shown, best, config.model]


def first_kernels(
    network: "Network", params: Mapping[str, Any], shape: tuple[int, int, int]
) -> "np.ndarray":
    """The kernel of the first layer of the first member as images: ``[h, w, C, F]``.

    Args:
      network: whose row it is.
      params: ``[M, ...]``.
      shape: of the images, which a dense layer's weights are cut into.
    """
    import numpy as np

    stage = next(params[name] for name in network.names if name in params)
    layer = next(stage[name] for name in ("conv", "conv1", "dense") if name in stage)
    kernel = np.asarray(layer["kernel"][0])
    return kernel if kernel.ndim == 4 else kernel.reshape(*shape, -1)


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.autoencoder", run, Config(), __doc__)


if __name__ == "__main__":
    main()

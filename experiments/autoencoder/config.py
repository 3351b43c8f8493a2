"""The settings of ``experiments.autoencoder``, and the defaults that depend on the task."""

import dataclasses
from typing import Literal

import tyro

from cnnlab.spelling import unknown
from cnnlab.studies.settings import Training

PHOTOGRAPHS = "photographs"
"""The data set of patches of two photographs, see the module ``photographs``."""
PHOTOGRAPHS_CONDITION = (
    "adjoining patches of two photographs are taken for independent images; nothing is said of "
    "other photographs"
)
"""The condition of intervals over these patches."""

_MODELS = {"plain": "dense_autoencoder", "denoise": "dense_autoencoder", "colour": "unet"}
_CODED = {
    "dense_autoencoder": ("widths=(256,128,16)", "activation=relu"),
    "conv_autoencoder": ("widths=(16,32)", "code=16"),
}
_OPTIONS = {
    "dense_autoencoder": ("widths=(256,128)", "activation=relu"),
    "conv_autoencoder": ("widths=(16,32)",),
    "unet": ("width=8", "depth=2"),
}


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train an autoencoder, and compare it with classical methods of the same task."""

    task: Literal["plain", "denoise", "colour"] = "plain"
    """Reconstruct through a narrow code, remove noise, or colour grey images."""
    noise: Literal["gaussian", "masking", "salt_and_pepper"] = "gaussian"
    """The kind of noise that a denoiser learns to remove."""
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


def resolve_defaults(config: Config) -> Config:
    """The config with the task's model and the model's options where it leaves them open.

    Raises:
      ValueError: for a model that is no autoencoder, or one whose code is not narrow where it must
        be.
    """
    model = _MODELS[config.task] if config.model == "auto" else config.model
    if model not in _OPTIONS:
        raise ValueError(unknown("autoencoder", model, _OPTIONS))
    if config.task == "plain" and model not in _CODED:
        raise ValueError(
            f"plain needs a network with a narrow code, {' or '.join(_CODED)}, got {model!r}, "
            "whose skips carry the image past it. It is for --task denoise or colour."
        )
    defaults = (_CODED if config.task == "plain" else _OPTIONS)[model]
    return dataclasses.replace(
        config, model=model, model_options=config.model_options or defaults, normalization="unit"
    )


def check(config: Config) -> None:
    """Refuses a loss or an amount of noise that is invalid for the task.

    Raises:
      ValueError: for such a setting.
    """
    if config.task == "colour" and config.loss == "bernoulli":
        raise ValueError(
            "the loss of colour must be squared or absolute, got 'bernoulli': the outputs are "
            "colours that the known grey values are added to, and no logits."
        )
    if config.task == "denoise" and not 0 < config.amount <= 1:
        raise ValueError(
            f"the amount of noise must be in (0, 1], where white is 1, got {config.amount}: such "
            "as 0.1 for a standard deviation of 25.5 of 255, or for one pixel in ten."
        )


def is_photographs(dataset: str) -> bool:
    """True where the data set is ``photographs``, of any size."""
    return dataset.partition(":")[0] == PHOTOGRAPHS

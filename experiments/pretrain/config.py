"""The settings of ``experiments.pretrain``."""

import dataclasses
from typing import Literal

import tyro

from cnnlab.spelling import unknown
from cnnlab.studies.settings import Training, parse_options

METHODS = {
    "none": "no pretraining",
    "relu": "no pretraining, ReLU",
    "autoencoder": "autoencoders",
    "denoising": "denoising autoencoders",
    "rbm": "Boltzmann machines",
}
"""Names of ``Config.methods`` -> their names in words; the last three pretrain."""

PRETRAINED = ("autoencoder", "denoising", "rbm")


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Pretrain networks without labels, fine-tune them with few, and compare."""

    methods: tuple[str, ...] = ("none", "relu", "denoising", "rbm")
    """Of none, relu, autoencoder, denoising and rbm."""
    labels: tuple[int, ...] = (5, 20, 100)
    """How many images a class have labels."""
    updates: int = 60
    """The least updates in an epoch of fine-tuning."""
    same_images: bool = False
    """Give all seeds the same labelled images, so that only their weights and order differ."""

    pretrain_epochs: int = 20
    """Passes over all training images, for each layer."""
    pretrain_batch_size: int = 20
    """Images in an update of pretraining."""
    corruption: float = 0.25
    """The fraction of its input that a denoising autoencoder does not see."""
    autoencoder_rate: float = 3e-3
    """Learning rate of the autoencoders, by Adam."""
    rbm_rate: float = 0.05
    """Learning rate of the Boltzmann machines, by gradient descent with momentum 0.9."""
    gibbs_steps: int = 1
    """Of contrastive divergence."""
    persistent: bool = False
    """Let its chains go on from batch to batch."""

    model: tyro.conf.Suppress[str] = "mlp"
    model_options: tuple[str, ...] = ("widths=(100,100,100)", "activation=sigmoid")
    """Of the perceptron; no normalisation."""
    init: str = "glorot"
    """How weights start that are not pretrained; those of relu start by he."""
    epochs: int = 10
    batch_size: int = 50
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    learning_rate: float = 5e-3
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    normalization: Literal["channel", "mean-image", "unit"] = "unit"
    """With unit the inputs are probabilities, otherwise real numbers ("gaussian" units)."""
    crop: int = 0
    seeds: int = 5
    validation: tyro.conf.Suppress[float | int | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None

    @property
    def visible(self) -> Literal["bernoulli", "gaussian"]:
        """The kind of the inputs."""
        return "bernoulli" if self.normalization == "unit" else "gaussian"

    def for_method(self, method: str) -> "Config":
        """The config that trains the networks of a method."""
        if method != "relu":
            return self
        options = (*self.model_options, "activation=relu")  # the later one counts
        return dataclasses.replace(self, model_options=options, init="he", init_options=())


def check(config: Config) -> None:
    """Refuses settings that are invalid for any data.

    Raises:
      ValueError: for such a setting.
    """
    for method in config.methods:
        if method not in METHODS:
            raise ValueError(unknown("method of pretraining", method, METHODS))
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise ValueError(f"methods must be some, each given once, got {config.methods}.")
    for name in ("updates", "pretrain_epochs", "pretrain_batch_size", "gibbs_steps"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}.")
    for name in ("autoencoder_rate", "rbm_rate"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}.")
    options = parse_options(config.model_options)
    activation = options.get("activation", "relu")
    if config.model != "mlp" or options.get("norm", "none") != "none":
        raise ValueError("the layers of mlp without normalisation can be pretrained: leave it so.")
    if activation != "sigmoid" and "rbm" in config.methods:
        raise ValueError(
            f"the units of Boltzmann machines must be sigmoid ones, got activation={activation}. "
            "Leave rbm out of the methods."
        )
    if activation == "relu" and "relu" in config.methods:
        raise ValueError("with activation=relu the method relu is none: leave one of them out.")

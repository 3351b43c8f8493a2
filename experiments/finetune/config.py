"""The settings of ``experiments.finetune``."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import tyro

from cnnlab.studies.recipe_settings import RECIPES, Cache, Details, parse_rules
from cnnlab.studies.settings import Training, WeightsFile, refuse_unused

# Those of RECIPES, and the one that the data recommend.
Named = Literal["linear", "top", "all", "layerwise", "gradual", "rules", "scratch", "recommended"]
MAIN: tuple[Named, ...] = ("linear", "top", "all", "layerwise", "scratch")


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Take a trained network, and train it for other classes in several ways."""

    earlier_names: ClassVar[Mapping[str, str]] = {
        "recipe": "recipes",
        "rates": "rules",
        "top": "top_stages",
    }

    from_run: Annotated[pathlib.Path | None, tyro.conf.arg(name="from")] = None
    """The trained network: a finished run of experiments.train."""
    from_member: int = 0
    """Which of its networks, from 0."""
    from_data_dir: pathlib.Path | None = None
    """Where the files of its data set are; by default where the run found them."""
    weights: pathlib.Path | None = None
    """The network as a file of weights: .pth, .pt, .th, .ckpt, .safetensors or .npz. One that
    cnnlab wrote, and a published one that is recognised, need no further option."""
    weights_classes: int | None = None
    """How many classes the file has, where it does not say so itself."""
    weights_normalization: str | None = None
    """What the file was trained on, likewise: torchvision (ImageNet's mean and deviation), caffe
    (mean 123 117 104 in pixels, RGB), unit (just 0 to 1), or MEAN/STD such as 0.1307/0.3081."""
    mapping: str | None = None
    """Whose names the file has: resnet, vgg, squeezenet_caffe …; found out if left out."""
    source_classes: tuple[str, ...] = ()
    """Without --from and --weights: train a network first on these classes; of digits 0 to 4."""
    source_epochs: int = 20
    """Passes over the images of --source-classes."""

    recipes: tuple[Named, ...] = (*MAIN, "recommended")
    """What to compare."""
    head_options: tuple[str, ...] = ()
    """Settings of the model for the new classes only, such as head_activation=identity."""
    channels: Literal["sum", "adapt"] | None = None
    """What to do with the first kernels if the images have other channels than the network's."""
    reinitialise: tuple[str, ...] = ()
    """What starts afresh, and must learn: stages or patterns such as "stage3/.*"; else the head."""
    rules: tuple[str, ...] = ()
    """For the recipe rules: PATTERN=FACTOR …, one for every parameter's path; 0 freezes."""
    top_stages: int = 2
    """For the recipe top: how many stages are trained, the head among them."""
    body: float = 0.1
    """For top and all: the rate of the stages before the head, as a factor of the head's."""
    decay: float | None = None
    """For layerwise: the factor of the rate from stage to stage; 1, 1/10, 1/100 if left out."""
    copies: int = 0
    """Augmented copies of each image whose features are cached, where a front is frozen."""
    cache: Cache = "memory"
    """Where the features of a frozen front are kept."""
    little: int = 500
    """With fewer images a class than this, training few stages is recommended."""
    scratch_epochs: int | None = None
    """Epochs of training from scratch; as many as of the others by default."""
    scratch_learning_rate: float | None = None
    """Rate of training from scratch; that of the others by default."""

    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 0.03
    crop: int = 0
    seeds: int = 5
    per_class: int | None = None
    """Train on so many images a class only; 10 by default where a network is trained first."""
    validation: float | int | None = None
    """Part of the training images to validate on; shown only, nothing is chosen by it."""
    keep_every: tyro.conf.Suppress[int | None] = None

    @property
    def details(self) -> Details:
        """The choices that the recipes leave open.

        Raises:
          ValueError: for invalid settings.
        """
        rules = parse_rules(self.rules)
        if rules and "rules" not in self.recipes:
            raise ValueError(
                "--rules are for the recipe rules, which is not among the recipes "
                f"{', '.join(self.recipes)}: add it, or leave them out."
            )
        return Details(
            top=self.top_stages,
            body=self.body,
            decay=self.decay,
            copies=self.copies,
            cache=self.cache,
            rules=rules,
            reinitialise=self.reinitialise,
        )

    def for_recipe(self, recipe: str) -> "Config":
        """The config that trains by a recipe."""
        if recipe != "scratch":
            return self
        epochs = self.epochs if self.scratch_epochs is None else self.scratch_epochs
        rate = self.scratch_learning_rate
        return dataclasses.replace(
            self,
            epochs=epochs,
            learning_rate=self.learning_rate if rate is None else rate,
            warmup_epochs=min(self.warmup_epochs, epochs / 2),
        )

    @property
    def file(self) -> WeightsFile:
        """The file of weights and the network that it is of; the default model is not said."""
        return WeightsFile(
            weights=self.weights,
            model=None if self.model == type(self).model else self.model,
            model_options=self.model_options,
            mapping=self.mapping,
            weights_normalization=self.weights_normalization,
        )

    @property
    def trains_source(self) -> bool:
        """True where a network is trained first, since none is given."""
        return self.from_run is None and self.weights is None


def check(config: Config) -> None:
    """Refuses invalid settings, and those that would not be used.

    Raises:
      ValueError: for such a setting.
    """
    if config.from_run is not None and config.weights is not None:
        raise ValueError("begin from a run (--from) or from a file (--weights), not from both.")
    if not config.recipes:
        raise ValueError(f"name at least one recipe of {', '.join(RECIPES)}, recommended.")
    if config.source_classes and not config.trains_source:
        raise ValueError(
            "--source-classes are for a network that is trained first: leave them out, or "
            "leave out --from and --weights."
        )
    if config.weights is None:
        of_file = ("weights_classes", "weights_normalization", "mapping")
        refuse_unused(config, of_file, "only with --weights FILE")
    if config.from_run is None:
        refuse_unused(config, ("from_member", "from_data_dir"), "only with --from RUN")
    else:
        why = (
            "not with --from, whose run says what its network is; for the new head there are "
            "--head-options"
        )
        refuse_unused(config, ("model_options",), why)
    if not config.trains_source:
        why = "only where a network is trained first, without --from and --weights"
        refuse_unused(config, ("source_epochs",), why)

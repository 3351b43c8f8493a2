"""The settings of ``experiments.redundancy``."""

import dataclasses
from typing import Literal

import tyro

from cnnlab.studies.settings import Training


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Prune a network in rounds, train smaller ones, and compare the accuracies that they keep."""

    rate: float = 0.5
    """The fraction of the weights that are left which a round prunes; 0.2 in the paper."""
    rounds: int = 5
    """How often."""
    sparsities: tuple[float, ...] = ()
    """The fraction of zeros after each round, rising, instead of rate and rounds."""
    scope: Literal["layer", "global"] = "layer"
    """Rank the weights of each layer, or those of all together."""
    head_factor: float = 0.5
    """Factor of the pruning rate for the last layer; 0 leaves it unpruned."""
    small: tuple[str, ...] = ("widths=(40,40)", "widths=(20,20)", "widths=(10,10)")
    """Smaller ones (by default, mlps): "OPTION=VALUE …" of the model each, or "MODEL …"."""
    temperature: float = 4.0
    """Of the distillation."""
    teacher_weight: float = 0.9
    """Of the teacher; the labels have the rest."""
    margin: float = 0.005
    """The loss of accuracy that still counts as keeping it."""

    model: str = "mlp"
    model_options: tuple[str, ...] = ("widths=(100,100)",)
    """Further settings of the model; of another model than mlp none by default."""
    epochs: int = 20
    batch_size: int = 60
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    learning_rate: float = 5e-3
    schedule: Literal["constant", "step", "cosine", "swa"] = "cosine"
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    crop: int = 0
    seeds: int = 5
    validation: tyro.conf.Suppress[float | int | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None

    def small_networks(self) -> dict[str, "Config"]:
        """The name of a smaller network -> the config that trains it.

        Raises:
          ValueError: if one of ``small`` does not name options or one model.
        """
        configs = {}
        for text in self.small:
            words = text.split()
            models = [word for word in words if "=" not in word]
            if not words or len(models) > 1:
                raise ValueError(
                    f'a small network must read "OPTION=VALUE …" or "MODEL OPTION=VALUE …", got '
                    f'{text!r}: such as "widths=(20,20)" or "resnet8 width=4".'
                )
            own = tuple(word for word in words if "=" in word)
            model = models[0] if models else self.model
            options = own if models else (*self.model_options, *own)  # the later one counts
            configs[text] = dataclasses.replace(self, model=model, model_options=options)
        return configs


def check(config: Config) -> None:
    """Refuses numbers out of range.

    Raises:
      ValueError: for such numbers.
    """
    if not 0 <= config.margin < 1:
        raise ValueError(
            f"the margin must be in [0, 1), 0.005 is half a point, got {config.margin}."
        )

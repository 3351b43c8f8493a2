"""A fine-tuning under way: what it begins from, what is taken over, and one recipe's training."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments import finetune_start, handing_on
from experiments.config import load_data, make_recipe, plain
from experiments.finetuning import Tuned, tune
from experiments.parts import Whole, open_whole, train_part

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from cnnlab.transfer.surgery import Report
    from experiments.finetune import Config
    from experiments.origins import Origin


class Study(NamedTuple):
    """What all trainings of the experiment have in common.

    Attributes:
      config: of the new networks.
      whole: the run directory.
      origin: the trained network.
      before: how that was trained, as of ``handing_on``.
      surgery: what is taken over of it.
      splits: the new data.
      say: tells unless it is to be quiet.
    """

    config: "Config"
    whole: Whole
    origin: "Origin"
    before: list[dict[str, Any]]
    surgery: "Report"
    splits: "Splits"
    say: Callable[[str], Any]


def begin(config: "Config", splits: "Splits") -> tuple[Study, float]:
    """The trained network and the open run directory, and the seconds that it took to train.

    What cannot be is refused before anything is written.
    """
    from experiments.origins import of_states

    say: Callable[[str], Any] = (lambda text: None) if config.quiet else print
    origin = finetune_start.given(config, splits)
    if origin is not None:
        before: list[dict[str, Any]] = []
        if config.from_run is not None:
            handing_on.check_unseen_before(config.from_run, splits.test, say)
            before = handing_on.trainings(config.from_run, config.from_data_dir)
        own = finetune_start.as_origin(config, origin.model, origin.model_options)
        surgery = finetune_start.check(own, origin.variables, origin.channels, splits)
        shown(own, origin, splits.train)
        whole = open_whole(config, f"finetune-{config.dataset}")
        finetune_start.check_same(whole.directory, origin)
        return Study(own, whole, origin, before, surgery, splits, say), 0.0
    source = dataclasses.replace(
        config,
        classes=config.source_classes,
        per_class=None,
        fraction=None,
        epochs=config.source_epochs,
        seeds=1,
        resume=None,
    )
    data = load_data(source)
    recipe = make_recipe(source, data.train)
    channels = data.train.image_shape[2]
    own = finetune_start.as_origin(config, config.model, config.model_options)
    surgery = finetune_start.check(
        own, finetune_start.shapes_of(recipe, data.train), channels, splits
    )
    whole = open_whole(config, f"finetune-{config.dataset}")
    say(f"\nfirst {config.model} on the classes {', '.join(data.train.class_names)}:")
    part = train_part(source, whole, "source", recipe, data.train, data.validation)
    name = f"{config.model} trained on {config.dataset}, {', '.join(data.train.class_names)}"
    statistics = data.train.statistics
    origin = of_states(config, recipe, part.states, name, channels, statistics=statistics)
    finetune_start.check_same(whole.directory, origin)
    before = [plain(handing_on.as_training(source))]
    return Study(own, whole, origin, before, surgery, splits, say), part.seconds


def shown(
    config: "Config", origin: "Origin", train: "Dataset", name: str = "all"
) -> "tuple[Config, Dataset]":
    """The config of a recipe and the training part with the trained network's normalisation.

    From scratch, and for images with other channels, it is that of the new data.

    Raises:
      ValueError: if the trained network subtracts a mean image of another shape.
    """
    own = config.of(name)
    if name == "scratch" or origin.channels != train.image_shape[2]:
        return own, train
    statistics = origin.statistics
    image = None if statistics is None else statistics.mean_image
    subtracted = origin.normalization == "mean-image" and image is not None
    if image is not None and subtracted and image.shape != train.image_shape:
        raise ValueError(
            f"{origin.name} subtracts its mean image, of shape {image.shape}, from images, which "
            f"must have that shape, got {train.image_shape}. Take a network that was trained with "
            "--normalization channel."
        )
    own = dataclasses.replace(own, normalization=origin.normalization)
    return own, dataclasses.replace(train, statistics=statistics)


def trained(study: Study, name: str, kept: dict[Any, Any]) -> Tuned:
    """One recipe's training; its networks are handed on."""
    from cnnlab.report.statistics import over_seeds

    config, seen = shown(study.config, study.origin, study.splits.train, name)
    tuned = tune(
        name,
        config,
        study.whole,
        name,
        study.origin.variables,
        study.splits,
        recipe=make_recipe(config, seen),
        details=config.details,
        channels=finetune_start.channel_change(config, study.origin.channels, seen),
        kept=kept,
        say=study.say,
    )
    about = {
        "origin": None if name == "scratch" else study.origin.name,
        "rates": tuned.table.splitlines(),
        "test": {"accuracy": over_seeds(tuned.accuracy)},
        "seconds": round(tuned.seconds, 1),
    }
    before = [] if name == "scratch" else study.before
    handing_on.hand_on(tuned, config, study.whole, study.splits, seen, about, before)
    return tuned

"""The trained network that fine-tuning begins with, and the checks before anything is written."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

from cnnlab.data import Dataset, Splits
from cnnlab.data.splits import class_index
from cnnlab.files import read_checked_json, write_checked_json
from cnnlab.processes import first_process, wait_for_all
from cnnlab.run_directory import CONFIG, ResumeError
from cnnlab.spelling import some
from cnnlab.studies import provenance, trained, weights_files
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.file_data import file_history
from cnnlab.studies.fine_tuning import share_epochs
from cnnlab.studies.provenance import PastTraining
from cnnlab.studies.recipes import recipe_rates
from cnnlab.studies.saved_networks import as_training
from cnnlab.studies.settings import to_json
from cnnlab.studies.study import Study
from cnnlab.studies.trained import TrainedNetworks
from cnnlab.studies.weights_files import OptionNames
from cnnlab.train import Recipe, check_fits
from cnnlab.train.state import state_shapes
from cnnlab.transfer.cache import weights_digest
from cnnlab.transfer.surgery import Report, SurgeryError, copy_variables

from .config import Config, check
from .recommendation import TABLE, check_measurable

WEIGHTS_FILE = "origin.json"
"""In a run directory: the weights that it began with."""


def resolve_defaults(config: Config) -> Config:
    """The config with the source's classes and what follows from them, checked.

    Raises:
      ValueError: if it names no network to begin from, or two, or sets an option that is not used.
    """
    check(config)
    if not config.trains_source:
        return config
    source = config.source_classes
    if not source and config.dataset == "digits":
        source = ("0", "1", "2", "3", "4")
    if not source:
        raise ValueError(
            "a trained network is needed: --from RUN, --weights FILE with --model, or some classes "
            "of the data set to train one on first, --source-classes."
        )
    everything = dataclasses.replace(
        config, classes=None, per_class=None, fraction=None, validation=None
    )
    known = load_data(everything).train
    indices = {class_index(known, name) for name in source}
    others = tuple(name for i, name in enumerate(known.class_names) if i not in indices)
    classes = others if config.classes is None else config.classes
    both = [name for name in classes if class_index(known, name) in indices]
    if both or not classes:
        raise ValueError(
            f"the classes to tune to must be others than the source's {some(source)}, got "
            f"{some(both) or 'none'}."
        )
    each = 10 if config.per_class is None and config.fraction is None else config.per_class
    return dataclasses.replace(config, source_classes=source, classes=classes, per_class=each)


def load_pretrained(config: Config, splits: Splits) -> TrainedNetworks | None:
    """The network of a run or a file; None where one is to be trained.

    Raises:
      ValueError: if it does not fit the images, or has trained on images of the test part.
      ResumeError: if the run is not finished.
    """
    if config.weights is not None:
        of_file = weights_files.load_weights(
            config.file,
            config.weights_classes,
            splits.train.image_shape,
            own_channels=True,
            default_model=config.model,
            unused=config.details.fresh(("head",)),
            options=OptionNames("--weights-classes"),
        )
        of_file.check_unseen(splits.test)
        return of_file
    if config.from_run is None:
        return None
    network = provenance.load_unseen_run(
        config.from_run, splits.test, config.from_data_dir, config.from_member
    )
    if config.model not in (type(config).model, network.model):
        raise ValueError(
            f"the run in {config.from_run} is of another family, {network.model}, not of "
            f"{config.model}: leave out --model, the run says what its network is."
        )
    return network


def train_source(s: Study[Config], config: Config) -> tuple[TrainedNetworks, float]:
    """Trains a network on the source's classes; it, and the seconds."""
    source = source_config(config)
    data = s.load_data(source)
    classes = ", ".join(data.train.class_names)
    s.say(f"\nfirst {config.model_name} on the classes {classes}:")
    recipe = make_recipe(source, data.train)
    done = s.train("source", recipe, data.train, data.validation, config=source)
    name = f"{config.model_name} trained on {config.data_name}, {classes}"
    return trained.from_training(source, recipe, done.states, name, data), done.seconds


def source_config(config: Config) -> Config:
    """How the source network is trained."""
    return dataclasses.replace(
        config,
        classes=config.source_classes,
        per_class=None,
        fraction=None,
        epochs=config.source_epochs,
        seeds=1,
        resume=None,
    )


def source_history(s: Study[Config]) -> list[PastTraining]:
    """How the trained network was trained, as of ``provenance.training_history``."""
    config = s.config
    if config.from_run is not None:
        return provenance.training_history(config.from_run, config.from_data_dir)
    if config.weights is not None:
        return file_history(config.weights)
    if not config.trains_source:
        return []
    source = source_config(config)
    return [PastTraining(to_json(as_training(source)), s.record(source))]


def with_model(config: Config, model: str, model_options: tuple[str, ...]) -> Config:
    """The config that trains the source's model for the new classes."""
    own = (*model_options, *config.head_options)  # the later one counts
    return dataclasses.replace(config, model=model, model_options=own)


def with_normalization(
    config: Config, network: TrainedNetworks, train: Dataset, recipe: str = "all"
) -> tuple[Config, Dataset]:
    """The config of a recipe and the training part, with the trained network's normalisation.

    From scratch, and for images with other channels, it is that of the new data.

    Raises:
      ValueError: if the trained network subtracts a mean image of another shape.
    """
    own = config.for_recipe(recipe)
    if recipe == "scratch" or network.channels != train.image_shape[2]:
        return own, train
    statistics = network.statistics
    image = None if statistics is None else statistics.mean_image
    subtracted = network.normalization == "mean-image" and image is not None
    if image is not None and subtracted and image.shape != train.image_shape:
        raise ValueError(
            f"{network.name} subtracts its mean image, of shape {image.shape}, from images, which "
            f"must have that shape, got {train.image_shape}. Take a network that was trained with "
            "--normalization channel."
        )
    own = dataclasses.replace(own, normalization=network.normalization)
    return own, dataclasses.replace(train, statistics=statistics)


def check_transfer(
    config: Config, variables: Mapping[str, Any], channels: int, splits: Splits
) -> Report:
    """The report of the surgery, before it is done; refuses what could not be trained.

    Args:
      config: of the new network.
      variables: of the trained one, or their shapes.
      channels: of its images.
      splits: the new data.

    Raises:
      SurgeryError: if the trained network is not that of the config.
      ValueError: for settings that do not fit the new data.
    """
    train = splits.train
    recipe = make_recipe(config, train)
    check_fits(recipe, train)
    shapes = variable_shapes(recipe, train)
    names = recipe.network.names
    first = next(name for name in names if name in shapes["params"])
    fresh = config.details.fresh(names)
    changes = channel_change(config, channels, train)
    try:
        _, report = copy_variables(
            variables, shapes, reinitialise=fresh, channels=changes, first=first
        )
    except SurgeryError as error:
        raise SurgeryError(name_options(str(error))) from error
    possible: list[str] = [name for name in config.recipes if name != "recommended"]
    if "recommended" in config.recipes:
        check_measurable(train)
        possible += TABLE.values()
    for name in possible:
        phases = recipe_rates(name, recipe.network, shapes["params"], config.details)
        for each in share_epochs(config.for_recipe(name), len(phases)):
            make_recipe(each, train)
    return report


def check_same_weights(s: Study[Config], network: TrainedNetworks) -> None:
    """Records the digest of a run's initial weights; refuses to resume from others.

    Raises:
      ResumeError: if the run began with other weights, or has trained and does not say from which.
    """
    path, weights = s.directory / WEIGHTS_FILE, weights_digest(network.variables)
    if not path.is_file():
        runs = {path.relative_to(s.directory).parts[0] for path in s.directory.rglob(CONFIG)}
        if runs - {CONFIG, "source"}:  # it has fine-tuned networks already
            raise ResumeError(
                f"{path} is gone, which says from which weights the run in {s.directory} began. "
                "Bring it back from a copy, or start a new run."
            )
        wait_for_all("weights")  # by all, before the first writes
        if first_process():
            write_checked_json(path, {"name": network.name, "weights": weights})
        return
    try:
        recorded = read_checked_json(path)
        known = recorded["name"], recorded["weights"]
    except (ValueError, KeyError) as error:
        raise ResumeError(
            f"{path} is damaged, which says from which weights the run in {s.directory} began "
            f"({' '.join(str(error).split())[:200]}). Bring it back from a copy, or start a new "
            "run."
        ) from error
    if known[1] != weights:
        raise ResumeError(
            f"the run in {s.directory} must go on from the weights that it began with, those of "
            f"{known[0]} with the digest {known[1]}; {network.name} now has "
            f"{weights}. Bring those weights back, or start a new run."
        )


def channel_change(config: Config, channels: int, train: Dataset) -> Literal["sum", "adapt"] | None:
    """The change of a network's first kernels for images with another number of channels."""
    return None if channels == train.image_shape[2] else config.channels


def variable_shapes(recipe: Recipe, train: Dataset) -> dict[str, Any]:
    """The shapes of a network's variables."""
    state = state_shapes(recipe, train.image_shape)
    return {"params": state.params, **state.model_state}


def name_options(message: str) -> str:
    """A message of ``transfer.surgery`` with the command line's options for Python's arguments.

    ``reinitialise=("head", "stage3")`` becomes ``--reinitialise head stage3``.
    """

    def option(match: re.Match[str]) -> str:
        return " ".join([f"--{match[1]}", *re.findall(r'"([^"]*)"', match[2])])

    several = r'\((?:"[^"]*"(?:, |,)?)+\)'
    return re.sub(rf'\b(reinitialise|channels)=("[^"]*"|{several})', option, message)

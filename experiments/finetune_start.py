"""What fine-tuning begins from, and what is refused before it begins."""

import dataclasses
import pathlib
import re
from typing import TYPE_CHECKING, Any, Literal

from experiments.config import load_data, make_recipe
from experiments.finetuning import RECIPES, rates_of, shares

ORIGIN = "origin.json"
"""In a run directory: the weights that it began with."""

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from cnnlab.train import Recipe
    from cnnlab.transfer.surgery import Report
    from experiments.finetune import Config
    from experiments.origins import Origin


def settled(config: "Config") -> "Config":
    """The config with what follows from it.

    Raises:
      ValueError: if it does not say what to begin from, says two things, or something that nothing
        would look at.
    """
    from cnnlab.data.splits import class_index

    if config.from_run is not None and config.weights is not None:
        raise ValueError("begin from a run (--from) or from a file (--weights), not from both.")
    if not config.recipe:
        raise ValueError(f"name at least one recipe of {', '.join(RECIPES)}, recommended.")
    if config.from_run is not None or config.weights is not None:
        if config.source_classes:
            raise ValueError(
                "--source-classes are for a network that is trained first: leave them out, or "
                "leave out --from and --weights."
            )
        _check_used(config)
        return config
    _check_used(config)
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
            f"the classes to tune to must be others than the source's {', '.join(source)}, got "
            f"{', '.join(both) or 'none'}."
        )
    each = 10 if config.per_class is None and config.fraction is None else config.per_class
    return dataclasses.replace(config, source_classes=source, classes=classes, per_class=each)


def given(config: "Config", splits: "Splits") -> "Origin | None":
    """The network of a run or a file; None where one is to be trained."""
    from experiments import origins

    if config.weights is not None:
        channels = splits.train.image_shape[2]
        if config.weights_normalization != "unit" and channels != 3 and config.channels is None:
            raise ValueError(
                f"--weights-normalization {config.weights_normalization} is for images of 3 "
                f"channels, these have {channels}: choose unit, or say by --channels what to do "
                "with the first kernels of a network that takes 3."
            )
        return origins.of_weights(
            config.weights,
            config.model,
            config.model_options,
            image_shape=splits.train.image_shape,
            num_classes=config.weights_classes,
            normalization=config.weights_normalization,
            mapping=config.mapping,
        )
    if config.from_run is None:
        return None
    origin = origins.of_run(
        config.from_run,
        test=splits.test,
        data_dir=config.from_data_dir,
        member=config.from_member,
    )
    if config.model not in (type(config).model, origin.model):
        raise ValueError(
            f"the run in {config.from_run} is of another family, {origin.model}, not of "
            f"{config.model}: leave out --model, the run says what its network is."
        )
    return origin


def _check_used(config: "Config") -> None:
    """Refuses settings that nothing would look at."""
    weights = ("weights_classes", "weights_normalization", "mapping")
    run = ("from_member", "from_data_dir")
    own = ("source_epochs",)
    begins = config.from_run is not None or config.weights is not None
    for unused, names, why in (
        (config.weights is None, weights, "only with --weights FILE"),
        (config.from_run is None, run, "only with --from RUN"),
        (begins, own, "only where a network is trained first, without --from and --weights"),
        (
            config.from_run is not None,
            ("model_options",),
            "not with --from, whose run says what its network is; for the new head there are "
            "--head-options",
        ),
    ):
        asked = [name for name in names if getattr(config, name) != getattr(type(config), name)]
        if unused and asked:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
            raise ValueError(f"{options}: {why}.")


def in_options(message: str) -> str:
    """A message of ``transfer.surgery`` with the command line's options for Python's arguments.

    ``reinitialise=("head", "stage3")`` becomes ``--reinitialise head stage3``.
    """

    def option(found: re.Match[str]) -> str:
        return " ".join([f"--{found[1]}", *re.findall(r'"([^"]*)"', found[2])])

    several = r'\((?:"[^"]*"(?:, |,)?)+\)'
    return re.sub(rf'\b(reinitialise|channels)=("[^"]*"|{several})', option, message)


def check_same(directory: pathlib.Path, origin: "Origin") -> None:
    """Writes down with which weights a run begins; refuses to go on with others.

    Args:
      directory: of the run.
      origin: the trained network.

    Raises:
      ResumeError: if the run began with other weights.
    """
    from cnnlab.train import records
    from cnnlab.train.recorder import first_process
    from cnnlab.train.run import ResumeError
    from cnnlab.transfer.cache import weights_digest

    path = directory / ORIGIN
    weights = weights_digest(origin.variables)
    if not path.is_file():
        if first_process():
            records.write_json(path, {"name": origin.name, "weights": weights})
        return
    begun = records.read_json(path)
    if begun["weights"] != weights:
        raise ResumeError(
            f"the run in {directory} must go on from the weights that it began with, those of "
            f"{begun['name']} with the digest {begun['weights']}; {origin.name} now has "
            f"{weights}. Bring those weights back, or start a new run."
        )


def as_origin(config: "Config", model: str, model_options: tuple[str, ...]) -> "Config":
    """The config that trains the origin's model for the new classes."""
    own = (*model_options, *config.head_options)  # the later one counts
    return dataclasses.replace(config, model=model, model_options=own)


def check(config: "Config", variables: Any, channels: int, splits: "Splits") -> "Report":
    """What will be taken over of the trained network; what could not be trained is refused.

    Args:
      config: of the new network.
      variables: of the trained one, or their shapes.
      channels: of its images.
      splits: the new data.

    Raises:
      SurgeryError: if the trained network is not that of the config.
      ValueError: for settings that do not fit the new data.
    """
    from cnnlab.train import check_fits
    from cnnlab.transfer.surgery import SurgeryError, copy_variables
    from experiments.recommending import TABLE, check_measurable

    train = splits.train
    recipe = make_recipe(config, train)
    check_fits(recipe, train)
    shapes = shapes_of(recipe, train)
    changes = channel_change(config, channels, train)
    names = recipe.network.names
    first = next(name for name in names if name in shapes["params"])
    fresh = config.details.fresh(recipe.network)
    try:
        _, report = copy_variables(
            variables, shapes, reinitialise=fresh, channels=changes, first=first
        )
    except SurgeryError as error:
        raise SurgeryError(in_options(str(error))) from error
    possible: list[str] = [name for name in config.recipe if name != "recommended"]
    if "recommended" in config.recipe:
        check_measurable(train)
        possible += TABLE.values()
    for name in possible:
        phases = rates_of(name, recipe.network, shapes["params"], config.details)
        for each in shares(config.of(name), len(phases)):
            make_recipe(each, train)
    return report


def channel_change(
    config: "Config", channels: int, train: "Dataset"
) -> Literal["sum", "adapt"] | None:
    """What to do with the first kernels of a network for images with so many channels."""
    return None if channels == train.image_shape[2] else config.channels


def shapes_of(recipe: "Recipe", train: "Dataset") -> dict[str, Any]:
    """The shapes of a network's variables."""
    from cnnlab.train.state import state_shapes

    state = state_shapes(recipe, train.image_shape)
    return {"params": state.params, **state.model_state}

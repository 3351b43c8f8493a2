"""Ensembles of independent networks: M trainings that differ in something, combined.

Claim: the ensemble beats one network that was trained for as many epochs as all members together.
Published: ImageNet top-5 error 18.2 -> 16.4 with five AlexNets (Krizhevsky et al., NIPS 2012);
CIFAR-10, WRN-28-10 x 4, accuracy 96.0 -> 96.6, NLL 0.159 -> 0.114.
Measured: see docs/ensembles.md; of a run, in its result.json and figures/.

    python -m experiments.ensemble                                 # five, from different seeds
    python -m experiments.ensemble --differ bootstrap              # bagging
    python -m experiments.ensemble --differ hyperparameters --weight-decays 0 1e-4 5e-4 1e-3 5e-3
    python -m experiments.ensemble --differ architecture --models resnet8 mlp linear
    python -m experiments.ensemble --of runs/digits-resnet8-1 runs/digits-mlp-1
    python -m experiments.ensemble --resume runs/ensemble-digits-1

Members of one architecture train in one program, spread over the devices. ``--seeds R`` repeats all
of it R times. Weights of members are chosen on the validation part; nothing is chosen by the test
part.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments import judgement
from experiments.config import FREE_ON_RESUME, Training, load_data, make_recipe
from experiments.finished import config_of
from experiments.judgement import Method
from experiments.members_of import Predicted, members_of
from experiments.parts import Whole, member_seeds, open_whole, train_part
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    from cnnlab.data import Splits
    from cnnlab.train import Recipe

Difference = Literal[
    "seed", "init", "order", "bootstrap", "subset", "hyperparameters", "architecture"
]


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train M networks that differ in something, and combine what they predict."""

    members: int = 5
    """M; of hyperparameters and architectures as many as are given."""
    differ: Difference = "seed"
    """In what; seed: start and order; bootstrap and subset: the images that they see, too."""
    subset: float = 0.7
    """For subset: the part of the training images that a member sees."""
    learning_rate_factors: tuple[float, ...] = ()
    """For hyperparameters: what the learning rate of each member is multiplied by."""
    weight_decays: tuple[float, ...] = ()
    """For hyperparameters: the weight decay of each member."""
    models: tuple[str, ...] = ()
    """For architecture: the model of each member."""
    of: tuple[str, ...] = ()
    """Train nothing: the members are the networks of these finished runs."""
    missing: Literal["error", "skip"] = "error"
    """What to do where the checkpoint of one of these is gone or damaged."""
    single: bool = True
    """Train the single network, too, for as many epochs as all members together."""

    keep_every: tyro.conf.Suppress[int | None] = None
    epochs: int = 10
    """Of a member."""
    seeds: int = 3
    """Repetitions."""


def run(config: Config) -> dict[str, Any]:
    """Trains or reads the members as ``config`` says, and writes the run directory.

    Returns:
      What result.json holds: ``methods`` (scores, costs and differences, as ``judgement.judged``
      gives them), ``alone`` (each member's accuracy), ``weights`` of the members chosen on the
      validation part, ``by_count`` (accuracy by the number of members), ``diversity`` (for each
      repetition).

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
      CheckpointError: if a member's checkpoint is gone or damaged, and ``missing`` is "error".
    """
    if config.resume is not None:
        config = resumed(config)
    check(config)
    first = config_of(pathlib.Path(config.of[0]), config.data_dir) if config.of else config
    splits = load_data(first)
    recipes = [] if config.of else recipes_of(config, splits)
    whole = open_whole(config, f"ensemble-{first.dataset}")
    say = (lambda text: None) if config.quiet else print
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    if config.of:
        found = members_of(config.of, splits, config.missing, config.data_dir)
    elif config.differ == "architecture":
        found = architectures(config, whole, splits, recipes)
    else:
        found = trained(config, whole, splits, recipes[0][1])
    methods, weights = together(found, splits)
    if config.single and not config.of:
        say(f"\none network, {round(sum(found.epochs))} epochs:")
        methods.insert(0, single(config, whole, splits, found))
    labels = splits.test.labels
    about: dict[str, Any] = {
        "dataset": first.dataset,
        "model": first.model,
        "seeds": None if config.of else config.all_seeds,
        "members": found.names,
        "methods": judgement.judged(
            methods, labels, baseline=methods[0].name, examples_per_epoch=len(splits.train)
        ),
        "alone": judgement.accuracies(found.names, found.test, labels),
        "weights": weights,
        "by_count": judgement.by_count(found.test, labels),
        "diversity": judgement.diversities(found.test, labels),
    }
    what = f"members differ by {config.differ}, {config.epochs} epochs each"
    judgement.draw(
        whole.directory / "figures",
        about["methods"],
        methods,
        labels,
        {"the first m members": about["by_count"]},
        calibrated=(methods[0].name, methods[2].name),
        title=f"{first.dataset}, {'members are finished runs' if config.of else what}",
    )
    result = whole.finish("ensemble", config, splits.notes, about)
    print("\n" + judgement.printed(judgement.table(result["methods"])))
    print(f"\n{judgement.said_alone(result['alone'])}\nsee {whole.directory}")
    return result


def check(config: Config) -> None:
    """Refuses, before anything is trained, what cannot be an ensemble.

    Raises:
      ValueError: with what can.
    """
    if config.of:
        free = {*FREE_ON_RESUME, "of", "keep_every", "member_axis"}
        said = [
            f"--{field.name.replace('_', '-')}"
            for field in dataclasses.fields(config)
            if field.name not in free and getattr(config, field.name) != field.default
        ]
        if said:
            raise ValueError(f"{', '.join(said)}: nothing is trained with --of. Leave it out.")
    if config.members < 1:
        raise ValueError(f"an ensemble needs at least one member, got {config.members}.")
    lists = [each for each in (config.learning_rate_factors, config.weight_decays) if each]
    if config.differ == "hyperparameters" and len({len(each) for each in lists}) != 1:
        raise ValueError(
            "members that differ by hyperparameters need --learning-rate-factors, --weight-decays "
            f"or both, one number a member, got {config.learning_rate_factors} and "
            f"{config.weight_decays}."
        )
    if config.differ == "architecture" and not config.models:
        raise ValueError(
            "members that differ by architecture need --models, such as resnet8 mlp linear."
        )
    if not 0 < config.subset < 1:
        raise ValueError(f"the part that a member sees must be in (0, 1), got {config.subset}.")
    unused = {
        "hyperparameters": ("learning_rate_factors", "weight_decays"),
        "architecture": ("models",),
    }
    for kind, names in unused.items():
        for name in names:
            if getattr(config, name) and config.differ != kind:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{option} is for --differ {kind}, got --differ {config.differ}.")


def recipes_of(config: Config, splits: "Splits") -> list[tuple[Config, "Recipe"]]:
    """How the members are trained: one way, or one for each architecture.

    Raises:
      ValueError: if a network does not fit the data.
    """
    from cnnlab.train import check_fits

    configs = [config]
    if config.differ == "architecture":
        configs = [
            dataclasses.replace(
                config,
                model=model,
                model_options=config.model_options if model == config.model else (),
            )
            for model in config.models
        ]
    varied = config.differ == "hyperparameters"
    recipes = [(each, make_recipe(each, splits.train, varied=varied)) for each in configs]
    for _, recipe in recipes:
        check_fits(recipe, splits.train)
    return recipes


# The members ---------------------------------------------------------------------------------


def trained(config: Config, whole: Whole, splits: "Splits", recipe: "Recipe") -> Predicted:
    """Trains members of one architecture, in one program."""
    from cnnlab.train.program import forward_cost

    names, settings, seen = differences(config, len(splits.train))
    part = train_part(config, whole, "members", recipe, splits.train, splits.validation, **settings)
    count = len(names)
    test, validation = (_logits(recipe, part.states, each, count) for each in _parts(splits))
    return Predicted(
        test,
        validation,
        names,
        (config.epochs * seen,) * count,
        (forward_cost(recipe, splits.train.image_shape),) * count,
        part.seconds / config.seeds,
    )


def differences(config: Config, examples: int) -> tuple[tuple[str, ...], dict[str, Any], float]:
    """What members differ by: their names, the settings of their training, the part they see."""
    import numpy as np

    from cnnlab import ensemble

    names = tuple(f"member {number}" for number in range(config.members))
    settings: dict[str, Any] = {"seeds": member_seeds(config, config.members)}
    total = len(settings["seeds"])
    if config.differ == "hyperparameters":
        given = {
            "learning_rate_factor": config.learning_rate_factors,
            "weight_decay": config.weight_decays,
        }
        given = {name: values for name, values in given.items() if values}
        rows = list(zip(*given.values(), strict=True))
        names = tuple(
            ", ".join(f"{name} {value:g}" for name, value in zip(given, row, strict=True))
            for row in rows
        )
        settings["seeds"] = member_seeds(config, len(rows))
        settings["hyperparameters"] = {
            name: np.repeat(values, config.seeds).tolist() for name, values in given.items()
        }
    elif config.differ == "init":
        repeated = config.all_seeds * config.members
        settings = {"seeds": repeated, "init_seeds": settings["seeds"]}
    elif config.differ == "order":
        settings["init_seeds"] = config.all_seeds * config.members
    elif config.differ == "bootstrap":
        settings["subsets"] = ensemble.bootstrap(examples, total, config.seed)
    elif config.differ == "subset":
        settings["subsets"] = ensemble.subsets(examples, total, config.subset, config.seed)
        return names, settings, settings["subsets"].shape[1] / examples
    return names, settings, 1.0


def architectures(
    config: Config,
    whole: Whole,
    splits: "Splits",
    recipes: Sequence[tuple[Config, "Recipe"]],
) -> Predicted:
    """Trains members of different architectures, one after the other."""
    import numpy as np

    from cnnlab.train.program import forward_cost

    seeds = np.reshape(member_seeds(config, len(recipes)), (len(recipes), -1)).tolist()
    logits: list[Any] = []
    names: list[str] = []
    seconds = 0.0
    for own, (each, recipe) in zip(seeds, recipes, strict=True):
        if not config.quiet:
            print(f"\n{each.model}:")
        name = each.model if each.model not in names else f"{each.model} {len(names)}"
        data = splits.train, splits.validation
        part = train_part(each, whole, f"member-{name}", recipe, *data, seeds=tuple(own))
        seconds += part.seconds
        names.append(name)
        logits.append([_logits(recipe, part.states, of, 1) for of in _parts(splits)])
    test, validation = zip(*logits, strict=True)
    return Predicted(
        np.concatenate(test),
        None if splits.validation is None else np.concatenate(validation),
        tuple(names),
        (config.epochs,) * len(names),
        tuple(forward_cost(recipe, splits.train.image_shape) for _, recipe in recipes),
        seconds / config.seeds,
    )


def single(config: Config, whole: Whole, splits: "Splits", found: Predicted) -> Method:
    """One network, trained for as many epochs as all members together."""
    from cnnlab.train.program import forward_cost

    longer = dataclasses.replace(config, epochs=round(sum(found.epochs)))
    recipe = make_recipe(longer, splits.train)
    part = train_part(longer, whole, "single", recipe, splits.train, splits.validation)
    alone = judgement.predicted(recipe, [part.states], splits.test)
    cost = forward_cost(recipe, splits.train.image_shape)
    blank = Method("", "one network", alone, longer.epochs, cost, part.seconds / config.seeds)
    return blank.of("the single network", alone)


def _parts(splits: "Splits") -> tuple[Any, Any]:
    return splits.test, splits.validation


def _logits(recipe: Any, states: Any, part: Any, members: int) -> Any:
    return None if part is None else judgement.predicted(recipe, [states], part, members)


# What they say together ----------------------------------------------------------------------


def together(found: Predicted, splits: "Splits") -> tuple[list[Method], dict[str, Any]]:
    """The ways to combine them, and the weights that the validation part gives to the members."""
    from cnnlab import ensemble

    count, repetitions = found.test.shape[:2]
    cost = sum(found.multiply_adds)
    share = None if found.seconds is None else found.seconds / count
    alone = Method(
        "", "one network", found.test, sum(found.epochs) / count, cost / count, share
    ).each_of(f"a member alone, the mean of {count}", found.test)
    blank = Method("", "ensemble", found.test, sum(found.epochs), cost / count, found.seconds)
    methods = [
        alone,
        blank.of(f"mean of {count} probabilities", found.test, "probabilities"),
        blank.of(f"mean of {count} logits", found.test, "logits"),
        blank.of(f"vote of {count}", found.test, "vote"),
    ]
    weights: dict[str, Any] = {}
    if found.validation is None or splits.validation is None or count == 1:
        return methods, weights
    labels = splits.validation.labels
    for name, choose in (
        ("weights of the validation part", ensemble.validation_weights),
        ("greedy selection", ensemble.greedy_selection),
    ):
        chosen = [choose(found.validation[:, r], labels) for r in range(repetitions)]
        methods.append(blank.of(name, found.test, weights=chosen))
        weights[name] = {
            member: [float(each[m]) for each in chosen] for m, member in enumerate(found.names)
        }
    return methods, weights


def main() -> None:
    """The command line."""
    command_line("experiments.ensemble", run, Config(), __doc__)


if __name__ == "__main__":
    main()

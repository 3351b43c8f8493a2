"""Ensembles of independent networks: M trainings that differ in something, combined.

Claim: the ensemble beats one network that was trained for as many epochs as all members together.
Published: ImageNet top-5 error 18.2 -> 16.4 with five AlexNets (Krizhevsky et al., NIPS 2012);
CIFAR-10, WRN-28-10 x 4, accuracy 96.0 -> 96.6, NLL 0.159 -> 0.114.
Measured: see docs/ensembles.md; of a run, in its result.json and figures/.

    python -m experiments.ensemble                                 # five, from different seeds
    python -m experiments.ensemble --differ bootstrap              # bagging
    python -m experiments.ensemble --differ hyperparameters --weight-decays 0 1e-4 5e-4 1e-3 5e-3
    python -m experiments.ensemble --differ architecture --models resnet8 lenet5 mlp
    python -m experiments.ensemble --of runs/digits-resnet8-1 runs/digits-lenet5-1
    python -m experiments.ensemble --resume runs/ensemble-digits-1

Members of one architecture train in one program, spread over the devices. ``--seeds R`` repeats all
of it R times. Weights of members are chosen on the validation part; nothing is chosen by the test
part.
"""

import dataclasses
import sys
from typing import TYPE_CHECKING, Any, Literal

from experiments import judgement, launch
from experiments.config import Training, load_data, make_recipe, plain
from experiments.judgement import Method
from experiments.members_of import Predicted, data_of, members_of
from experiments.parts import Whole, open_whole, train_part
from experiments.resuming import parse, resumed

if TYPE_CHECKING:
    from cnnlab.data import Splits

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

    epochs: int = 10
    """Of a member."""
    seeds: int = 3
    """Repetitions."""


def run(config: Config) -> dict[str, Any]:
    """Trains or reads the members as ``config`` says, and writes the run directory.

    Returns:
      What result.json holds: ``methods`` (scores, costs and differences, as ``judgement.judged``
      gives them), ``weights`` of the members chosen on the validation part, ``by_count`` (accuracy
      by the number of members), ``diversity`` (for each repetition).

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
      CheckpointError: if a member's checkpoint is gone or damaged, and ``missing`` is "error".
    """
    if config.resume is not None:
        config = resumed(config)
    check(config)
    splits = data_of(config.of) if config.of else load_data(config)
    whole = open_whole(config, f"ensemble-{config.dataset}")
    say = (lambda text: None) if config.quiet else print
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    if config.of:
        found = members_of(config.of, splits, config.missing)
    else:
        found = trained(config, whole, splits)
    repetitions = found.test.shape[1]
    methods, weights = together(found, splits)
    if config.single and not config.of:
        epochs = config.epochs * len(found.names)
        say(f"\none network, {epochs} epochs:")
        longer = dataclasses.replace(config, epochs=epochs)
        recipe = make_recipe(longer, splits.train)
        part = train_part(longer, whole, "single", recipe, splits.train, splits.validation)
        alone = judgement.predicted(recipe, [part.states], splits.test)
        seconds = part.seconds / repetitions
        blank = Method("", "one network", alone, epochs, 1, seconds)
        methods.insert(0, blank.of("the single network", alone))
    labels = splits.test.labels
    result: dict[str, Any] = {
        "experiment": "ensemble",
        "dataset": config.dataset,
        "data": splits.notes,
        "model": config.model,
        "seeds": config.all_seeds,
        "members": found.names,
        "methods": judgement.judged(
            methods,
            labels,
            baseline=methods[0].name,
            examples_per_epoch=len(splits.train),
            multiply_adds=sum(found.multiply_adds) // len(found.multiply_adds),
        ),
        "weights": weights,
        "by_count": judgement.by_count(found.test, labels),
        "diversity": judgement.diversities(found.test, labels),
        "config": plain(config),
        "environment": whole.environment,
        "run_dir": str(whole.directory),
    }
    _draw(config, whole, result)
    whole.finish(result)
    print("\n" + judgement.printed(judgement.table(result["methods"])))
    print(f"see {whole.directory}")
    return result


def check(config: Config) -> None:
    """Refuses, before anything is trained, what cannot be an ensemble.

    Raises:
      ValueError: with what can.
    """
    if config.members < 1:
        raise ValueError(f"an ensemble needs at least one member, got {config.members}.")
    lists = [each for each in (config.learning_rate_factors, config.weight_decays) if each]
    if config.differ == "hyperparameters" and (not lists or len({len(each) for each in lists}) > 1):
        raise ValueError(
            "members that differ by hyperparameters need --learning-rate-factors, --weight-decays "
            f"or both, one number a member, got {config.learning_rate_factors} and "
            f"{config.weight_decays}."
        )
    if config.differ == "architecture" and not config.models:
        raise ValueError(
            "members that differ by architecture need --models, such as resnet8 lenet5 mlp."
        )
    unused = {
        "hyperparameters": ("learning_rate_factors", "weight_decays"),
        "architecture": ("models",),
    }
    for kind, names in unused.items():
        for name in names:
            if getattr(config, name) and config.differ != kind:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{option} is for --differ {kind}, got --differ {config.differ}.")


# The members ---------------------------------------------------------------------------------


def trained(config: Config, whole: Whole, splits: "Splits") -> Predicted:
    """Trains the members: those of one architecture in one program."""
    if config.differ == "architecture":
        return _architectures(config, whole, splits)
    import numpy as np

    from cnnlab.ensemble import members
    from cnnlab.train import check_fits
    from cnnlab.train.program import forward_cost

    count = config.members
    names = tuple(f"member {number}" for number in range(count))
    settings: dict[str, Any] = {"seeds": _seeds(config, count)}
    varied = config.differ == "hyperparameters"
    if varied:
        given = {
            "learning_rate_factor": config.learning_rate_factors,
            "weight_decay": config.weight_decays,
        }
        given = {name: values for name, values in given.items() if values}
        count = len(next(iter(given.values())))
        names = tuple(
            ", ".join(f"{name} {values[number]:g}" for name, values in given.items())
            for number in range(count)
        )
        settings["seeds"] = _seeds(config, count)
        settings["hyperparameters"] = {
            name: np.repeat(values, config.seeds).tolist() for name, values in given.items()
        }
    elif config.differ == "init":
        settings = {"seeds": config.all_seeds * count, "init_seeds": settings["seeds"]}
    elif config.differ == "order":
        settings["init_seeds"] = config.all_seeds * count
    elif config.differ == "bootstrap":
        total = count * config.seeds
        settings["subsets"] = members.bootstrap(len(splits.train), total, config.seed)
    elif config.differ == "subset":
        total = count * config.seeds
        part_of = members.subsets(len(splits.train), total, config.subset, config.seed)
        settings["subsets"] = part_of
    recipe = make_recipe(config, splits.train, varied=varied)
    check_fits(recipe, splits.train)
    part = train_part(config, whole, "members", recipe, splits.train, splits.validation, **settings)
    seen = len(splits.train)
    if config.differ == "subset":
        seen = settings["subsets"].shape[1]
    test, validation = (_logits(recipe, part.states, each, count) for each in _parts(splits))
    return Predicted(
        test,
        validation,
        names,
        config.epochs * count * seen / len(splits.train),
        part.seconds / config.seeds,
        (forward_cost(recipe, splits.train.image_shape),) * count,
    )


def _architectures(config: Config, whole: Whole, splits: "Splits") -> Predicted:
    import numpy as np

    from cnnlab.train import check_fits
    from cnnlab.train.program import forward_cost

    recipes = []
    for model in config.models:
        options = config.model_options if model == config.model else ()
        each = dataclasses.replace(config, model=model, model_options=options)
        recipes.append((each, make_recipe(each, splits.train)))
        check_fits(recipes[-1][1], splits.train)
    logits, seconds = [], 0.0
    for number, (each, recipe) in enumerate(recipes):
        print(f"\n{each.model}:")
        name = f"member{number}-{each.model}"
        seeds = tuple(seed + config.seeds * number for seed in config.all_seeds)
        part = train_part(each, whole, name, recipe, splits.train, splits.validation, seeds=seeds)
        seconds += part.seconds
        logits.append([_logits(recipe, part.states, of, 1) for of in _parts(splits)])
    test = np.concatenate([each[0] for each in logits])
    validation = None
    if splits.validation is not None:
        validation = np.concatenate([each[1] for each in logits])
    costs = tuple(forward_cost(recipe, splits.train.image_shape) for _, recipe in recipes)
    epochs = config.epochs * len(recipes)
    return Predicted(test, validation, config.models, epochs, seconds / config.seeds, costs)


def _seeds(config: Config, members: int) -> tuple[int, ...]:
    """A seed for each repetition of each member; the first member's are the repetitions' own."""
    return tuple(s + config.seeds * m for m in range(members) for s in config.all_seeds)


def _parts(splits: "Splits") -> tuple[Any, Any]:
    return splits.test, splits.validation


def _logits(recipe: Any, states: Any, part: Any, members: int) -> Any:
    if part is None:
        return None
    logits = judgement.predicted(recipe, [states], part)[0]
    return logits.reshape(members, -1, *logits.shape[1:])


# What they say together ----------------------------------------------------------------------


def together(found: Predicted, splits: "Splits") -> tuple[list[Method], dict[str, Any]]:
    """The ways to combine them, and the weights that the validation part gives to the members."""
    import numpy as np

    from cnnlab.ensemble.combine import combine
    from cnnlab.ensemble.selection import greedy_selection, validation_weights

    count, repetitions = found.test.shape[:2]
    share = None if found.seconds is None else found.seconds / count
    blank = Method("", "ensemble", found.test, found.epochs, count, found.seconds)
    alone = blank._replace(group="one network", epochs=found.epochs / count, seconds=share)
    methods = [
        alone.of(f"{found.names[0]} alone", found.test[:1]),
        blank.of(f"mean of {count} probabilities", found.test, "probabilities"),
        blank.of(f"mean of {count} logits", found.test, "logits"),
        blank.of(f"vote of {count}", found.test, "vote"),
    ]
    weights: dict[str, Any] = {}
    if found.validation is None or splits.validation is None or count == 1:
        return methods, weights
    labels = splits.validation.labels
    for name, choose in (
        ("weights of the validation part", validation_weights),
        ("greedy selection", greedy_selection),
    ):
        chosen = [choose(found.validation[:, r], labels) for r in range(repetitions)]
        probabilities = np.stack(
            [combine(found.test[:, r], "probabilities", chosen[r]) for r in range(repetitions)]
        )
        methods.append(blank._replace(name=name, probabilities=probabilities))
        weights[name] = {
            member: [float(each[m]) for each in chosen] for m, member in enumerate(found.names)
        }
    return methods, weights


def _draw(config: Config, whole: Whole, result: dict[str, Any]) -> None:
    import jax

    from cnnlab.report import ensemble_figures

    if jax.process_index() > 0:
        return
    folder = whole.directory / "figures"
    what = "finished runs" if config.of else f"{config.epochs} epochs each"
    title = f"{config.dataset}, members differ by {config.differ}, {what}"
    if config.of:
        title = f"{config.dataset}, members of {what}"
    rows = judgement.rows(result["methods"])
    ensemble_figures.comparison(rows, folder / "comparison.png", title=title)
    curves = {"the first m members": result["by_count"]}
    ensemble_figures.by_members(curves, folder / "by_count.png", title=title)


def main() -> None:
    """The command line."""
    launch.prepare()
    with launch.speaking_plainly("experiments.ensemble"):
        config = parse(Config, sys.argv[1:], __doc__)
        launch.join_processes(config.coordinator, config.processes, config.process_id)
        run(config)


if __name__ == "__main__":
    main()

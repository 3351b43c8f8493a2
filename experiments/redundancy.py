"""How small a student, or how sparse a network, keeps the accuracy (Frankle & Carbin, ICLR 2019).

Claims: of a trained network most weights can go, the smallest ones first (Han et al., NeurIPS
2015); what is left learns as well from the weights that it began with, but not from fresh ones
("winning tickets"); a small network learns more from the large one than from labels alone (Hinton
et al., 2015).
Published: Lenet-300-100 on MNIST, rewound: accuracy rises down to 21 % of the weights, is that of
the dense network again at 3.6 %; reinitialised, it falls from the first round on (figure 3).
Measured: see results/redundancy-*.json (written by this module).

    python -m experiments.redundancy
    python -m experiments.redundancy --dataset mnist --data-dir DIR --batch-size 60 --epochs 50 \
        --model-options "widths=(300,100)" --init glorot --learning-rate 1.2e-3 \
        --schedule constant --rate 0.2 --rounds 16 \
        --small "widths=(100,30)" "widths=(30,10)" "widths=(10,5)"
    python -m experiments.redundancy --dataset cifar10 --data-dir DIR --model resnet20 \
        --model-options --scope global --head-factor 0 --rate 0.2 --rounds 15 --batch-size 128 \
        --optimizer nesterov --learning-rate 0.03 --warmup-epochs 10 --epochs 80 --crop 4 --flip \
        --small width=8 width=4 width=2
    python -m experiments.redundancy --resume runs/redundancy-digits-1

Every training, of a round or of a small network, has the same epochs, schedule and order of the
images; so a network after three rounds of pruning has cost four trainings. The dense network
trained for as long as all rounds together is there to compare with. The teacher of all students is
the first seed's dense network, whose own variance is not in their intervals. The test part is
looked at once, at the end of each training; nothing is chosen by it.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from experiments import teachers
from experiments.config import Training, load_data, make_recipe
from experiments.parts import Whole, fresh_states, open_whole, train_part
from experiments.redundancy_claims import METHODS, against_dense, compare, conclusions, keeps, line
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    from cnnlab.data import Splits
    from cnnlab.train import Recipe, TrainState


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Prune a network in rounds, train smaller ones, and compare what they keep."""

    rate: float = 0.5
    """The fraction of the weights that are left which a round prunes; 0.2 in the paper."""
    rounds: int = 5
    """How often."""
    sparsities: tuple[float, ...] = ()
    """The fraction of zeros after each round, rising, instead of rate and rounds."""
    scope: Literal["layer", "global"] = "layer"
    """Rank the weights of each layer, or those of all together."""
    head_factor: float = 0.5
    """The last layer is pruned at so many times the rate; 0 spares it."""
    small: tuple[str, ...] = ("widths=(40,40)", "widths=(20,20)", "widths=(10,10)")
    """Smaller ones (by default, mlps): "OPTION=VALUE …" of the model each, or "MODEL …"."""
    temperature: float = 4.0
    """Of the distillation."""
    teacher_weight: float = 0.9
    """Of the teacher; the labels have the rest."""
    margin: float = 0.005
    """The accuracy that may be lost where it is said to be kept."""

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

    def all_sparsities(self) -> tuple[float, ...]:
        """Of the rounds, for all layers but the last."""
        from cnnlab.transfer import pruning

        if self.sparsities:
            return pruning.rising(self.sparsities)
        return pruning.geometric(self.rate, self.rounds)

    def small_ones(self) -> dict[str, "Config"]:
        """What a smaller network is called -> the config that trains it."""
        found = {}
        for text in self.small:
            words = text.split()
            named = [word for word in words if "=" not in word]
            if not words or len(named) > 1:
                raise ValueError(
                    f'a small network must read "OPTION=VALUE …" or "MODEL OPTION=VALUE …", got '
                    f'{text!r}: such as "widths=(20,20)" or "resnet8 width=4".'
                )
            given = tuple(word for word in words if "=" in word)
            model = named[0] if named else self.model
            options = given if named else (*self.model_options, *given)  # the later one counts
            found[text] = dataclasses.replace(self, model=model, model_options=options)
        return found


class Study(NamedTuple):
    """What all trainings of the experiment have in common."""

    config: Config
    whole: Whole
    splits: "Splits"
    say: Any


class Trained(NamedTuple):
    """Networks at the end of their training, one for each seed, and what result.json says."""

    states: "TrainState"
    point: dict[str, Any]


def run(config: Config) -> dict[str, Any]:
    """Trains one after the other, and writes the run directory.

    Returns:
      What result.json holds: ``points`` (for each network the method, the parameters that are left,
      the epochs that it cost in all, the test accuracy and how it differs from the dense one's),
      ``claims`` and ``kept``, as ``compare`` and ``keeps`` give them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    config = teachers.own_options(config)
    splits = load_data(config)
    say = (lambda text: None) if config.quiet else print
    _check(config, splits)
    study = Study(config, open_whole(config, f"redundancy-{config.dataset}"), splits, say)
    say(f"{splits.notes}\nrun directory: {study.whole.directory}")
    points = []
    for trained in train_all(study):
        points.append(trained.point)
        say(line(trained.point))
    points = against_dense(points)
    claims, kept = compare(points), keeps(points, config.margin)
    _draw(config, points, study.whole)
    about = {
        "model": config.model,
        "points": points,
        "claims": claims,
        "kept": kept,
        "seconds": round(sum(each["seconds"] for each in points), 1),
    }
    result = study.whole.finish("redundancy", config, splits.notes, about)
    lines = conclusions(claims, kept, config.margin)
    print("\n".join(["", *lines, f"see {study.whole.directory}"]))
    return result


def _check(config: Config, splits: "Splits") -> None:
    """Refuses what could not be trained, before anything is written."""
    from cnnlab import losses
    from cnnlab.train import check_fits
    from cnnlab.transfer import pruning

    pruning.slower(config.all_sparsities(), config.head_factor)
    losses.distillation(config.temperature, config.teacher_weight)
    if not 0 <= config.margin < 1:
        raise ValueError(
            f"the margin must be in [0, 1), 0.005 is half a point, got {config.margin}."
        )
    for each in (config, *config.small_ones().values()):
        check_fits(make_recipe(each, splits.train), splits.train)


# Training ------------------------------------------------------------------------------------


def train_all(study: Study) -> Iterator[Trained]:
    """All networks, the dense one first."""
    import jax

    config, train = study.config, study.splits.train
    recipe = make_recipe(config, train)
    initial = fresh_states(config, recipe, train, config.all_seeds)
    dense = _train(study, "dense", config, recipe, initial=initial)
    yield dense
    rounds = len(config.all_sparsities())
    longer = dataclasses.replace(config, epochs=config.epochs * (rounds + 1))
    yield _train(study, "longer", longer, make_recipe(longer, train), initial=initial)
    yield from prune_in_rounds(study, recipe, initial, dense)
    teacher = recipe, jax.tree.map(lambda x: x[:1], dense.states)
    for name, each in config.small_ones().items():
        alone = make_recipe(each, train)
        yield _train(study, "small", each, alone, name)
        yield distilled(study, teacher, each, alone, name)


def prune_in_rounds(
    study: Study, recipe: "Recipe", initial: "TrainState", dense: Trained
) -> Iterator[Trained]:
    """After each round the ticket, its connections with fresh weights, and the one trained on."""
    import optax

    from cnnlab import optim
    from cnnlab.train.state import restarted
    from cnnlab.transfer import pruning

    config = study.config
    sparse = dataclasses.replace(
        recipe, optimizer=optax.chain(recipe.optimizer, optim.keep_zeros())
    )
    sparsities = config.all_sparsities()
    heads = pruning.slower(sparsities, config.head_factor)
    if float(pruning.sparsity(initial.params)):
        study.say("note: weights that start at exactly zero are as good as pruned, and stay zero")
    last = _last_stage(recipe, initial.params)
    ticket, continued = dense.states, dense.states
    for number, (sparsity, head) in enumerate(zip(sparsities, heads, strict=True), start=1):
        how: dict[str, Any] = {"scope": config.scope, "stages": {last: head}, "members": True}
        mask = pruning.prune(ticket.params, sparsity, **how)
        fresh = fresh_states(config, recipe, study.splits.train, _fresh_seeds(config, number))
        further = pruning.prune(continued.params, sparsity, **how)
        found = {}
        for method, params, state in (
            ("rewound", pruning.rewound(mask, initial.params), initial),
            ("reinitialised", pruning.rewound(mask, fresh.params), fresh),
            ("continued", further, continued),
        ):
            found[method] = _train(
                study,
                method,
                config,
                sparse,
                f"round{number}",
                epochs_before=number * config.epochs,
                sparse=True,
                initial=restarted(sparse, params, state.model_state),
            )
            yield found[method]
        ticket, continued = found["rewound"].states, found["continued"].states


def distilled(
    study: Study,
    teacher: tuple["Recipe", "TrainState"],
    config: Config,
    recipe: "Recipe",
    name: str,
) -> Trained:
    """A small network taught by the large one, live where images are augmented."""
    from cnnlab import losses
    from cnnlab.transfer.distillation import live_teacher, taught, teacher_logits

    train = study.splits.train
    loss = losses.distillation(
        config.temperature, config.teacher_weight, label_smoothing=config.label_smoothing
    )
    recipe = dataclasses.replace(recipe, loss=loss)
    if config.crop or config.flip or config.cutout:
        recipe = dataclasses.replace(recipe, teacher=live_teacher([teacher], recipe, train))
    else:
        train = taught(train, teacher_logits([teacher], train))
    before = config.epochs  # of the teacher
    return _train(study, "distilled", config, recipe, name, train=train, epochs_before=before)


def _train(
    study: Study,
    method: str,
    config: Config,
    recipe: "Recipe",
    name: str = "",
    *,
    train: Any = None,
    epochs_before: int = 0,
    sparse: bool = False,
    **settings: Any,
) -> Trained:
    """A part of the run, and what is said of it.

    Args:
      study: the experiment.
      method: of ``METHODS``.
      config: of these networks.
      recipe: of these networks.
      name: which ones of the method.
      train: what they train on, where it is not the study's training part.
      epochs_before: what it cost to come so far.
      sparse: whether weights that are zero do not count as parameters.
      **settings: of ``train_part``.
    """
    import jax
    from jax import numpy as jnp

    from cnnlab.report.statistics import over_seeds
    from cnnlab.train import evaluate
    from cnnlab.transfer import pruning

    train = study.splits.train if train is None else train
    study.say(f"\n{METHODS[method]} {name}, {config.seeds} seeds:")
    folder = re.sub(r"\W+", "-", f"{method} {name}").strip("-")
    part = train_part(config, study.whole, folder, recipe, train, **settings)
    params, sparsity = part.states.params, 0.0
    parameters = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(params))
    if sparse:
        parameters = int(jnp.max(jax.vmap(pruning.parameters_left)(params)))
        sparsity = float(jnp.max(jax.vmap(pruning.sparsity)(params)))
    point = {
        "method": method,
        "name": name,
        "sparsity": sparsity,
        "parameters": parameters,
        "epochs": config.epochs + epochs_before,
        "test_accuracy": over_seeds(evaluate(recipe, part.states, study.splits.test)["accuracy"]),
        "seconds": round(part.seconds, 1),
    }
    return Trained(part.states, point)


def _fresh_seeds(config: Config, number: int) -> tuple[int, ...]:
    """Seeds of the initial weights that no other network of the experiment has."""
    first = config.seed + config.seeds * number
    return tuple(range(first, first + config.seeds))


def _last_stage(recipe: "Recipe", params: Any) -> str:
    """The last stage that has weights to prune."""
    from cnnlab.transfer import pruning

    stages = {path.partition("/")[0] for path in pruning.weights_left(params)}
    return [name for name in recipe.network.names if name in stages][-1]


# What is drawn --------------------------------------------------------------------------------


def _draw(config: Config, points: Sequence[Mapping[str, Any]], whole: Whole) -> None:
    import jax

    from cnnlab.report import drawing, redundancy_figures

    if jax.process_index() > 0:
        return

    def networks(method: str) -> dict[str, list[Any]]:
        own = [each for each in points if each["method"] == method]
        return {
            "parameters": [each["parameters"] for each in own],
            "accuracy": [each["test_accuracy"]["values"] for each in own],
        }

    drawn = {label: networks(method) for method, label in METHODS.items() if method != "dense"}
    figure = redundancy_figures.redundancy(
        {label: found for label, found in drawn.items() if found["parameters"]},
        networks("dense"),
        margin=config.margin,
        title=f"{config.model} on {config.dataset}",
    )
    drawing.save(figure, whole.directory / "figures" / "redundancy.png")


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.redundancy", run, Config(), __doc__)


if __name__ == "__main__":
    main()

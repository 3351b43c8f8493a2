"""How transferable the features of each stage are (Yosinski et al., NIPS 2014).

The classes are cut into halves A and B. A network learns each; then the first n stages of one are
kept, the others start afresh, and the whole learns B:

    BnB   the front of the network that learned B, frozen     BnB+  the same, fine-tuned
    AnB   the front of the network that learned A, frozen     AnB+  the same, fine-tuned

Claims: AnB+ beats the network that learned B alone, and not for its longer training (BnB+ does
not); BnB dips in the middle, where stages that have learned together are parted, and BnB+ does not;
AnB falls behind at the last stages, which are specific, and further where A and B differ more.
Published: ImageNet, 8 layers: AnB+ 1.6 points above the base on average over n; AnB at the last
layer 8 points below it for random halves, 25 for natural against man-made things.
Measured: see results/transferability-*.json (written by this module).

    python -m experiments.transferability
    python -m experiments.transferability --dataset cifar10 --data-dir DIR \
        --model-options norm=batch --per-class 300 --epochs 8 --batch-size 32
    python -m experiments.transferability --dataset cifar10 --data-dir DIR --per-class None \
        --model alexnet_small --model-options norm=batch --epochs 40 --batch-size 128 \
        --optimizer nesterov --learning-rate 0.03 --weight-decay 5e-4 --crop 4 --flip
    python -m experiments.transferability --resume runs/transferability-digits-1

Each half takes both parts, and an accuracy is the mean over both directions. A repetition is a
random cut, or another seed of the given one ("half"); random halves have the given ones' sizes.
Every training has equally many images, the same epochs and schedule, and in a repetition the same
order of the images. Frozen stages keep their batch statistics, too. Heads have an output for every
class of the data set: those of the other half never occur in training, and are left out when a
network is asked. The test part is looked at once, at the end of each training; nothing is chosen
by it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from experiments import teachers
from experiments.config import Training, load_data, make_recipe
from experiments.halves import (
    RANDOM,
    Member,
    given_half,
    images_of,
    make_members,
    within_halves,
)
from experiments.parts import Whole, fresh_states, open_whole, train_part
from experiments.resuming import command_line, resumed
from experiments.transferability_claims import TREATMENTS, Accuracies, compare, said

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Splits
    from cnnlab.train import Recipe, TrainState


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train on one half of the classes with a front that learned the other, or the same one."""

    half: tuple[str, ...] | None = None
    """Classes of one half of a dissimilar cut, by name or number. Left out: digits, mnist,
    fashion_mnist and cifar10 have one of their own. Empty: random halves only."""
    depths: tuple[int, ...] = ()
    """How many stages are kept, of those that have parameters; all but the head by default."""
    seeds: int = 4
    """Repetitions: so many random cuts, and so many seeds of the given one."""

    model: str = "lenet5"
    model_options: tuple[str, ...] = ("padding=SAME",)
    """Further settings of the model; of another model than lenet5 none by default."""
    per_class: int | None = 40
    epochs: int = 10
    batch_size: int = 16
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    learning_rate: float = 3e-3
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    crop: int = 0
    validation: tyro.conf.Suppress[float | int | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None


class Study(NamedTuple):
    """What all trainings of the experiment have in common."""

    config: Config
    whole: Whole
    splits: "Splits"
    recipe: "Recipe"
    members: Sequence[Member]
    subsets: "np.ndarray"  # [M, n]
    say: Any


class Trained(NamedTuple):
    """The members at the end of a training."""

    states: "TrainState"
    accuracy: "np.ndarray"  # [M], on the test images of their halves
    seconds: float


def run(config: Config) -> dict[str, Any]:
    """Trains the networks of all halves, then those that keep a front; writes the run directory.

    Returns:
      What result.json holds: ``cuts`` (for each, its halves, the base accuracy and that of each
      treatment and depth) and ``claims``, as ``compare`` gives them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    config = teachers.own_options(config)
    splits = load_data(config)
    say = (lambda text: None) if config.quiet else print
    known = config.dataset if config.classes is None else ""
    given = given_half(known, splits.train, config.half)
    members = make_members(splits.train.num_classes, config.all_seeds, given)
    subsets = images_of(members, splits.train)
    recipe = make_recipe(config, splits.train.take(subsets[0]))  # as many steps as there will be
    depths, most = _checked(config, splits, recipe, subsets)
    whole = open_whole(config, f"transferability-{config.dataset}")
    study = Study(config, whole, splits, recipe, members, subsets, say)
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    say(f"{len(members)} networks at once, {subsets.shape[1]} images each")
    base, found, seconds = train_all(study, depths)
    cuts = {
        cut: {
            "base": _by_repetition(study, cut, base),
            **{
                treatment: _stacked([_by_repetition(study, cut, each) for each in row])
                for treatment, row in found.items()
            },
        }
        for cut in dict.fromkeys(member.cut for member in members)
    }
    claims = compare(cuts, list(depths), whole=max(depths) == most)
    _draw(config, cuts, depths, whole)
    about = {
        "model": config.model,
        "images": subsets.shape[1],
        "stages": list(depths.values()),
        "cuts": {cut: _summary(study, cut, each, depths) for cut, each in cuts.items()},
        "claims": claims,
        "seconds": round(seconds, 1),
    }
    result = whole.finish("transferability", config, splits.notes, about)
    print("\n".join(["", *said(result), f"see {whole.directory}"]))
    return result


def _checked(
    config: Config, splits: "Splits", recipe: "Recipe", subsets: "np.ndarray"
) -> tuple[dict[int, str], int]:
    """Refuses what could not be trained, before anything is written.

    Returns:
      Depth -> the last stage that is kept; and the largest depth that there could be.
    """
    from cnnlab.data.batches import steps_per_epoch
    from cnnlab.train import check_fits
    from cnnlab.train.state import state_shapes

    check_fits(recipe, splits.train)
    steps_per_epoch(subsets.shape[1], config.batch_size, config.remainder)
    params = state_shapes(recipe, splits.train.image_shape).params
    stages = [name for name in recipe.network.names if params.get(name)][:-1]
    if not stages:
        raise ValueError(
            f"{config.model} has no stage with parameters before its last one, so that there is "
            "nothing to keep. Choose a deeper network."
        )
    depths = sorted(set(config.depths or range(1, len(stages) + 1)))
    if depths[0] < 1 or depths[-1] > len(stages):
        raise ValueError(
            f"depths must be in 1 to {len(stages)}, the stages of {config.model} that have "
            f"parameters without the last one: {', '.join(stages)}; got {config.depths}."
        )
    return {depth: stages[depth - 1] for depth in depths}, len(stages)


# Training ------------------------------------------------------------------------------------


def train_all(
    study: Study, depths: Mapping[int, str]
) -> tuple["np.ndarray", dict[str, list["np.ndarray"]], float]:
    """The base networks, and for each depth the four treatments.

    Returns:
      Accuracies ``[M]`` of the base networks, of each treatment for each depth, and the seconds.
    """
    import jax

    from cnnlab.transfer.freezing import freeze

    base = _train(study, "base", study.recipe)
    seconds = base.seconds
    others = [member.partner for member in study.members]
    crossed = jax.tree.map(lambda leaf: leaf[others], _variables(base.states))
    sources = {"BnB": _variables(base.states), "AnB": crossed}
    fresh = _variables(_fresh(study))
    found: dict[str, list[Any]] = {treatment: [] for treatment in TREATMENTS}
    for depth, stage in depths.items():
        rates = freeze(study.recipe.network, up_to=stage)
        frozen = dataclasses.replace(study.recipe, rates=rates)
        for letters, source in sources.items():
            for sign, recipe in (("", frozen), ("+", study.recipe)):
                initial = with_front(recipe, source, fresh, stage)
                name = f"{letters[0]}{depth}B"
                trained = _train(study, f"{name}{'-tuned' if sign else ''}", recipe, initial)
                found[letters + sign].append(trained.accuracy)
                seconds += trained.seconds
    return base.accuracy, found, seconds


def with_front(
    recipe: "Recipe", source: Mapping[str, Any], fresh: Mapping[str, Any], stage: str
) -> "TrainState":
    """States to begin from: each member's stages up to ``stage`` from its own source.

    Args:
      recipe: how they will be trained.
      source: variables of each member's source, every leaf with a leading axis [M].
      fresh: newly initialised ones, likewise.
      stage: the last one that is kept.
    """
    from cnnlab.train.state import restarted
    from cnnlab.transfer.surgery import copied

    names = recipe.network.names
    rest = [name for name in names[names.index(stage) + 1 :] if name in fresh["params"]]
    variables, _ = copied(source, fresh, reinitialise=rest)
    return restarted(recipe, variables.pop("params"), variables)


def _fresh(study: Study) -> "TrainState":
    """New networks, of seeds that no base network began with."""
    first = 2 * (study.config.seed + study.config.seeds)
    seeds = range(first, first + len(study.members))
    return fresh_states(study.config, study.recipe, study.splits.train, seeds)


def _variables(states: "TrainState") -> dict[str, Any]:
    """What is copied of networks: with a moving average, what was evaluated."""
    from cnnlab.mesh import fetch

    network = states if states.average is None else states.average
    found: dict[str, Any] = fetch({"params": network.params, **network.model_state})
    return found


def _train(
    study: Study, name: str, recipe: "Recipe", initial: "TrainState | None" = None
) -> Trained:
    """A part of the run: all members at once."""
    from cnnlab.report.statistics import over_seeds, percent
    from cnnlab.train import predict

    settings: dict[str, Any] = {"seeds": [m.seed for m in study.members], "subsets": study.subsets}
    if initial is not None:
        settings["initial"] = initial
    study.say(f"\n{name}:")
    part = train_part(study.config, study.whole, name, recipe, study.splits.train, **settings)
    test = study.splits.test
    # The rates change nothing here, and one recipe means one program.
    logits = predict(study.recipe, part.states, test)
    accuracy = within_halves(logits, test.labels, study.members)
    for cut in dict.fromkeys(member.cut for member in study.members):
        said = percent(over_seeds(_by_repetition(study, cut, accuracy)))
        study.say(f"{name}, {cut}: test accuracy {said}")
    return Trained(part.states, accuracy, part.seconds)


def _by_repetition(study: Study, cut: str, accuracy: "np.ndarray") -> "np.ndarray":
    """``[M] -> [R]``: the means over both directions."""
    own = [value for value, m in zip(accuracy, study.members, strict=True) if m.cut == cut]
    return _stacked(own).reshape(-1, 2).mean(1)


def _stacked(rows: Sequence[Any]) -> "np.ndarray":
    import numpy as np

    return np.asarray(rows, np.float64)


# What is said and drawn ----------------------------------------------------------------------


def _summary(
    study: Study, cut: str, found: Accuracies, depths: Mapping[int, str]
) -> dict[str, Any]:
    from cnnlab.report.statistics import over_seeds, paired

    names = study.splits.train.class_names
    halves = [[names[i] for i in m.classes] for m in study.members if m.cut == cut]
    return {
        "halves": halves if cut == RANDOM else halves[:2],
        "base": over_seeds(found["base"]),
        "treatments": [
            {
                "treatment": treatment,
                "depth": depth,
                "stage": stage,
                "test_accuracy": over_seeds(found[treatment][i]),
                "difference": paired(found[treatment][i], found["base"]),
            }
            for treatment in TREATMENTS
            for i, (depth, stage) in enumerate(depths.items())
        ],
    }


def _draw(
    config: Config, cuts: Mapping[str, Accuracies], depths: Mapping[int, str], whole: Whole
) -> None:
    import jax

    from cnnlab.report import drawing
    from cnnlab.report import transferability_figures as figures

    if jax.process_index() > 0:
        return
    panels = {
        cut: figures.Panel(
            found["base"],
            {
                label: figures.Treatment(list(depths), found[treatment])
                for treatment, label in TREATMENTS.items()
            },
        )
        for cut, found in cuts.items()
    }
    title = f"{config.model} on halves of {config.dataset}"
    figure = figures.transferability(panels, depths, title=title)
    drawing.save(figure, whole.directory / "figures" / "transferability.png")


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.transferability", run, Config(), __doc__)


if __name__ == "__main__":
    main()

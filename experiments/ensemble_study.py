"""Every way from one budget to a prediction: one network, snapshots, averages, true ensembles.

Claim: at the same budget the snapshots of a cyclic run beat one network, snapshots without cycles
and M short trainings; averaged weights beat one network; M whole budgets beat them all.
Published: Huang et al. 2017, CIFAR-10 / CIFAR-100, ResNet-110, error: single 5.52 / 28.02, no cycle
5.49 / 26.97, one cycle 7.35 / 26.30, snapshots 5.32 / 24.19; Izmailov et al. 2018, CIFAR-100,
VGG-16, accuracy: 72.55 -> 73.91 by SWA.
Measured: docs/ensembles.md, written from results/ensemble_study-*.json.

    python -m experiments.ensemble_study                               # digits, under two minutes
    python -m experiments.ensemble_study --size hour --dataset fashion_mnist --data-dir DIR
    python -m experiments.ensemble_study --size full --dataset cifar10 --data-dir DIR   # for a GPU
    python -m experiments.ensemble_study --resume runs/ensemble_study-digits-1

A repetition has its own seeds for all methods; ``--seeds R`` of them train in the same programs.
Nothing is chosen by the test part: rates and decays are those of the papers.
"""

import dataclasses
import itertools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from experiments import judgement, launch
from experiments.config import Training, load_data, make_recipe
from experiments.judgement import Method
from experiments.parts import Part, Whole, member_seeds, open_whole, train_part
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Splits
    from cnnlab.schedules import Schedule
    from cnnlab.train import Recipe

SIZES: dict[str, dict[str, Any]] = {
    "quick": {},
    "hour": {
        "fraction": 0.05,
        "seeds": 5,
        "epochs": 30,
        "members": 5,
        "model_options": ("width=8",),
        "flip": True,
        "crop": 2,
    },
    "full": {
        "model": "resnet110",
        "model_options": (),
        "epochs": 300,
        "members": 5,
        "batch_size": 64,
        "weight_decay": 1e-4,
        "flip": True,
        "crop": 4,
    },
}
"""What each size sets, where nothing else is asked for."""

ONE, RUN, EQUAL, WHOLE = "one network", "one run", "M networks, one budget", "M budgets"


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Compare one network, snapshots, averages of weights and true ensembles."""

    size: Literal["quick", "hour", "full"] = "quick"
    """quick: digits; hour: an hour on two cores; full: the papers'. It sets the defaults."""
    members: int = 3
    """M: of the largest ensemble, and the number of cycles."""
    high_rate: float = 0.2
    """Of the second run with snapshots; the first has the rate of the others."""
    swa_rate: float = 0.05
    """The rate at which SWA averages."""

    epochs: int = 12
    """B: the budget."""
    model_options: tuple[str, ...] = ("width=8",)
    ema_decay: float | None = 0.998
    validation: float | int | None = None
    seeds: int = 3
    """Repetitions."""
    # Each method has a schedule of its own.
    schedule: tyro.conf.Suppress[Literal["constant", "step", "cosine", "swa"]] = "cosine"
    warmup_epochs: tyro.conf.Suppress[float] = 0.0
    keep_every: tyro.conf.Suppress[int | None] = None

    def __post_init__(self) -> None:
        """Refuses what cannot be compared."""
        if self.members < 2:
            raise ValueError(f"members must be at least 2, got {self.members}.")
        if self.epochs < self.members:
            raise ValueError(
                f"{self.members} members need an epoch each, got a budget of {self.epochs} epochs."
            )
        if self.ema_decay is None:
            raise ValueError("ema_decay must be given: the moving average is one of the methods.")

    @classmethod
    def sized(cls, size: str, **settings: Any) -> "Config":
        """The config of a size, with settings in place of those that it sets.

        Raises:
          ValueError: for an unknown size.
        """
        from cnnlab.spelling import unknown

        if size not in SIZES:
            raise ValueError(unknown("size", size, tuple(SIZES)))
        return cls(**{**SIZES[size], "size": size, **settings})


def run(config: Config) -> dict[str, Any]:
    """Trains all there is to compare, one part after the other, and writes the run directory.

    Returns:
      What result.json holds: ``methods`` and ``claims`` as ``judgement`` gives them, ``by_count``
      (accuracy by the number of members) and ``diversity`` (of the snapshots, the short and the
      whole trainings).

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    from cnnlab.train import check_fits
    from cnnlab.train.program import forward_cost

    splits = load_data(config)
    usual = make_recipe(config, splits.train)
    check_fits(usual, splits.train)
    whole = open_whole(config, f"ensemble_study-{config.dataset}")
    say = (lambda text: None) if config.quiet else print
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    usual = dataclasses.replace(usual, ema_decay=None)
    study = Study(config, whole, splits, usual, forward_cost(usual, splits.train.image_shape), say)
    labels = splits.test.labels
    methods: list[Method] = []
    sets: dict[str, np.ndarray] = {}
    seconds = 0.0
    for step in (whole_trainings, one_run, short_trainings, averaged_weights):
        found = step(study)
        methods += found.methods
        sets |= found.sets
        seconds += found.seconds
    judged = judgement.judged(
        methods, labels, baseline="single, cosine", examples_per_epoch=len(splits.train)
    )
    about: dict[str, Any] = {
        "examples": len(splits.train),
        "model": config.model,
        "seconds": round(seconds, 1),
        "methods": judged,
        "claims": judgement.claims(judged, wanted(config.members)),
        "by_count": {name: judgement.by_count(each, labels) for name, each in sets.items()},
        "diversity": {name: judgement.diversities(each, labels) for name, each in sets.items()},
    }
    images = f"{about['examples']:,} images"
    order = {group: number for number, group in enumerate((ONE, RUN, EQUAL, WHOLE))}
    judgement.draw(
        whole.directory / "figures",
        dict(sorted(judged.items(), key=lambda each: order[each[1]["group"]])),
        methods,
        labels,
        about["by_count"],
        calibrated=("single, cosine", f"ensemble of {config.members}, {config.members} budgets"),
        title=f"{config.model} on {config.dataset}, {images}, {config.epochs} epochs",
    )
    result = whole.finish("ensemble_study", config, splits.notes, about)
    print("\n" + judgement.printed(judgement.table(judged)))
    print(f"\n{judgement.said(result['claims'])}\nsee {whole.directory}")
    return result


def wanted(members: int) -> list[tuple[str, str, str, str]]:
    """The claims: what is said, which method should be better, than which, what was published."""
    high, same = f"{members} snapshots, high rate", f"{members} snapshots"
    no_cycles, many = f"{members} snapshots, no cycles", f"ensemble of {members}"
    short, dear = f"{many}, one budget", f"{many}, {members} budgets"
    paper = "CIFAR-10/100, ResNet-110:"
    single = f"{paper} 5.32/24.19 against 5.52/28.02"
    cycles = f"{paper} 5.32/24.19 (high rate), 5.73/25.55 (the same) against 5.49/26.97"
    starts = f"{paper} 5.32/24.19 (high rate), 5.73/25.55 (the same) against 7.35/26.30"
    return [
        ("snapshots beat the single network by steps", high, "single, step", single),
        ("snapshots beat the single network by a cosine", high, "single, cosine", "not compared"),
        ("cycles of a high rate make better snapshots", high, no_cycles, cycles),
        ("cycles of the same rate make better snapshots", same, no_cycles, cycles),
        ("snapshots of a high rate beat as many fresh starts", high, short, starts),
        ("snapshots of the same rate beat as many fresh starts", same, short, starts),
        (
            "the higher rate makes better snapshots",
            high,
            same,
            f"{paper} 5.32/24.19 against 5.73/25.55",
        ),
        (
            "SWA beats the single network by steps",
            "SWA",
            "single, step",
            "CIFAR-100, VGG-16, accuracy 73.91 against 72.55",
        ),
        ("SWA beats the single network by a cosine", "SWA", "single, cosine", "not compared"),
        (
            "M whole budgets beat one network",
            dear,
            "single, cosine",
            "CIFAR-10, WRN-28-10 x 4, accuracy 96.6 against 96.0",
        ),
        (
            "M whole budgets beat the snapshots of one",
            dear,
            high,
            "CIFAR-10/100, WRN-28-10 with restarts: 3.25/16.64 (3 runs) against 3.51/17.75 (1 run)",
        ),
    ]


# The trainings -------------------------------------------------------------------------------


class Study(NamedTuple):
    """What every part of the study needs."""

    config: Config
    whole: Whole
    splits: "Splits"
    usual: "Recipe"  # by the cosine, without a moving average
    cost: int  # multiply-adds of a network for one image
    say: Callable[[str], None]

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        from cnnlab.data.batches import steps_per_epoch

        config = self.config
        return steps_per_epoch(len(self.splits.train), config.batch_size, config.remainder)

    def recipe(self, schedule: "Schedule") -> "Recipe":
        """As ever, but with another schedule and without a moving average."""
        recipe = make_recipe(self.config, self.splits.train, schedule=schedule)
        return dataclasses.replace(recipe, ema_decay=None)

    def seeds(self, members: int) -> tuple[int, ...]:
        """Seeds of M networks for each repetition."""
        return member_seeds(self.config, members)

    def train(self, name: str, recipe: "Recipe", epochs: int, **settings: Any) -> Part:
        """Trains a part of the study."""
        shorter = dataclasses.replace(self.config, epochs=epochs)
        self.say(f"\n{name}, {epochs} epochs:")
        return train_part(shorter, self.whole, name, recipe, self.splits.train, **settings)

    def logits(self, *states: Any, members: int | None = None) -> "np.ndarray":
        """On the test part, as ``judgement.predicted`` gives them."""
        return judgement.predicted(self.usual, list(states), self.splits.test, members)

    def method(self, name: str, group: str, logits: Any, epochs: int, seconds: float) -> Method:
        """M networks combined, of a training that took so long for all repetitions."""
        blank = Method(name, group, logits, epochs, self.cost, seconds / self.config.seeds)
        return blank.of(name, logits)


class Found(NamedTuple):
    """What a part of the study gave."""

    methods: list[Method]
    sets: dict[str, "np.ndarray"]  # logits [M, R, N, K] by name
    seconds: float


def whole_trainings(study: Study) -> Found:
    """M networks of one budget each: the single one, its moving average, true ensembles."""
    import jax
    import numpy as np

    from cnnlab import augment
    from cnnlab.ensemble import view_logits

    config, budget = study.config, study.config.epochs
    recipe = dataclasses.replace(study.usual, ema_decay=config.ema_decay)
    seeds = study.seeds(config.members)
    part = study.train("whole", recipe, budget, seeds=seeds)
    each = part.seconds / config.members
    logits = study.logits(part.states._replace(average=None), members=config.members)
    firsts = jax.tree.map(lambda x: x[: config.seeds], part.states)  # a single one a repetition
    averages = judgement.predicted(recipe, [firsts], study.splits.test)
    singles = firsts._replace(average=None)
    # A view must be something that the training has shown, too.
    kind, views = (
        ("its mirror view", augment.views.mirror())
        if config.flip
        else ("its four shifts", augment.views.shifts(1))
    )
    viewed = np.moveaxis(view_logits(study.usual, singles, study.splits.test, views), 1, 0)
    methods = [
        study.method("single, cosine", ONE, logits[:1], budget, each),
        study.method(f"single, with {kind}", ONE, viewed, budget, each),
        study.method("EMA", ONE, averages, budget, each),
    ]
    methods += [
        study.method(
            f"ensemble of {count}, {count} budgets",
            WHOLE,
            logits[:count],
            count * budget,
            count * each,
        )
        for count in range(2, config.members + 1)
    ]
    return Found(methods, {"M budgets": logits}, part.seconds)


def one_run(study: Study) -> Found:
    """Snapshots: without cycles, with them, and with a higher rate."""
    from cnnlab import schedules

    config, budget, members = study.config, study.config.epochs, study.config.members
    lengths = schedules.cycle_lengths(budget, members)
    ends = tuple(itertools.accumulate(lengths))
    study.say(f"\nsnapshots are taken after epochs {', '.join(map(str, ends))}")
    steps = [length * study.per_epoch for length in lengths]
    rate = config.learning_rate
    usual = schedules.create("step", rate, budget * study.per_epoch, milestones=config.milestones)
    methods: list[Method] = []
    sets: dict[str, np.ndarray] = {}
    seconds = 0.0
    for folder, name, schedule in (
        ("no-cycles", f"{members} snapshots, no cycles", usual),
        ("cycles", f"{members} snapshots", schedules.cosine_cycles(rate, steps)),
        (
            "high-cycles",
            f"{members} snapshots, high rate",
            schedules.cosine_cycles(config.high_rate, steps),
        ),
    ):
        recipe = study.recipe(schedule)
        part = study.train(folder, recipe, budget, keep_epochs=ends)
        logits = study.logits(*part.kept.values())
        seconds += part.seconds
        if schedule is usual:
            single = study.method("single, step", ONE, logits[-1:], budget, part.seconds)
            methods.insert(0, single)
        methods.append(study.method(name, RUN, logits, budget, part.seconds))
        sets[f"one run, {name.partition(', ')[2] or 'cycles'}"] = logits[::-1]
    return Found(methods, sets, seconds)


def short_trainings(study: Study) -> Found:
    """M networks for one budget together: each has a whole cosine of its share of the epochs."""
    from cnnlab import schedules

    config = study.config
    methods: list[Method] = []
    sets: dict[str, np.ndarray] = {}
    seconds = 0.0
    for members in range(2, config.members + 1):
        epochs = config.epochs // members
        schedule = schedules.cosine_cycles(config.learning_rate, [epochs * study.per_epoch])
        recipe = study.recipe(schedule)
        seeds = study.seeds(members)
        part = study.train(f"short-{members}", recipe, epochs, seeds=seeds)
        logits = study.logits(part.states, members=members)
        seconds += part.seconds
        methods.append(
            study.method(
                f"ensemble of {members}, one budget", EQUAL, logits, members * epochs, part.seconds
            )
        )
        sets = {"M networks, one budget": logits}
    return Found(methods, sets, seconds)


def averaged_weights(study: Study) -> Found:
    """SWA: the weights at the ends of the last quarter's epochs, averaged and recalibrated."""
    from cnnlab import schedules
    from cnnlab.ensemble import average
    from cnnlab.train import recalibrate

    config, budget = study.config, study.config.epochs
    first = round(0.75 * budget)
    schedule = schedules.swa(config.learning_rate, first * study.per_epoch, config.swa_rate)
    recipe = study.recipe(schedule)
    part = study.train("swa", recipe, budget, keep_epochs=range(first, budget + 1))
    swa = recalibrate(recipe, average(list(part.kept.values())), study.splits.train)
    methods = [
        study.method("SWA", ONE, study.logits(swa), budget, part.seconds),
        study.method("SWA's last network", ONE, study.logits(part.states), budget, part.seconds),
    ]
    return Found(methods, {}, part.seconds)


def main() -> None:
    """The command line."""
    size = launch.option_value(sys.argv[1:], "--size")
    default = Config.sized(size if size in SIZES else "quick")
    command_line("experiments.ensemble_study", run, default, __doc__)


if __name__ == "__main__":
    main()

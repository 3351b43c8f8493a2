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
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from experiments import judgement, launch
from experiments.config import Training, load_data, make_recipe, plain
from experiments.judgement import Method
from experiments.parts import Part, Whole, open_whole, train_part
from experiments.resuming import parse, resumed

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
"""What each size sets, where the command line did not."""

ONE, RUN, EQUAL, WHOLE = "one network", "one run", "M networks, one budget", "M budgets"


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Compare one network, snapshots, averages of weights and true ensembles."""

    size: Literal["quick", "hour", "full"] = "quick"
    """quick: digits; hour: an hour on two cores; full: the papers'. Sets what is at its default."""
    members: int = 3
    """M: of the largest ensemble, and the number of cycles."""
    high_rate: float = 0.2
    """Of the second run with snapshots; the first has the rate of the others."""
    swa_rate: float = 0.05
    """The rate at which SWA averages."""

    epochs: int = 12
    """B: the budget."""
    model_options: tuple[str, ...] = ("width=8",)
    warmup_epochs: float = 0.0
    ema_decay: float | None = 0.998
    validation: float | int | None = None
    seeds: int = 3
    """Repetitions."""

    def __post_init__(self) -> None:
        """Refuses what cannot be compared."""
        if self.members < 2:
            raise ValueError(f"members must be at least 2, got {self.members}.")
        if self.ema_decay is None:
            raise ValueError("ema_decay must be given: the moving average is one of the methods.")


def sized(config: Config) -> Config:
    """The config with what its size sets, but for what was set otherwise."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    chosen = {
        name: value
        for name, value in SIZES[config.size].items()
        if getattr(config, name) == defaults[name]
    }
    return dataclasses.replace(config, **chosen)


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
    config = resumed(config) if config.resume is not None else sized(config)
    from cnnlab.train import check_fits
    from cnnlab.train.program import forward_cost

    splits = load_data(config)
    usual = make_recipe(config, splits.train)
    check_fits(usual, splits.train)
    whole = open_whole(config, f"ensemble_study-{config.dataset}")
    print(f"{splits.notes}\nrun directory: {whole.directory}")
    study = Study(config, whole, splits, dataclasses.replace(usual, ema_decay=None))
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
        methods,
        labels,
        baseline="single, cosine",
        examples_per_epoch=len(splits.train),
        multiply_adds=forward_cost(usual, splits.train.image_shape),
    )
    result: dict[str, Any] = {
        "experiment": "ensemble_study",
        "dataset": config.dataset,
        "data": splits.notes,
        "examples": len(splits.train),
        "model": config.model,
        "seeds": config.all_seeds,
        "seconds": round(seconds, 1),
        "methods": judged,
        "claims": judgement.claims(judged, wanted(config.members)),
        "by_count": {name: judgement.by_count(each, labels) for name, each in sets.items()},
        "diversity": {name: judgement.diversities(each, labels) for name, each in sets.items()},
        "config": plain(config),
        "environment": whole.environment,
        "run_dir": str(whole.directory),
    }
    _draw(config, whole, result)
    whole.finish(result)
    print("\n" + judgement.printed(judgement.table(judged)))
    print(f"\n{judgement.said(result['claims'])}\nsee {whole.directory}")
    return result


def wanted(members: int) -> list[tuple[str, str, str, str]]:
    """The claims: what is said, which method should be better, than which, what was published."""
    snapshots = f"{members} snapshots, high rate"
    many = f"ensemble of {members}"
    resnet = "CIFAR-10/100, ResNet-110:"
    return [
        (
            "snapshots beat the single network of their budget",
            snapshots,
            "single, step",
            f"{resnet} 5.32/24.19 against 5.52/28.02",
        ),
        (
            "cycles make better snapshots",
            snapshots,
            f"{members} snapshots, no cycles",
            f"{resnet} 5.32/24.19 against 5.49/26.97",
        ),
        (
            "snapshots beat as many fresh starts of one cycle",
            snapshots,
            f"{many}, one budget",
            f"{resnet} 5.32/24.19 against 7.35/26.30",
        ),
        (
            "the higher rate makes better snapshots",
            snapshots,
            f"{members} snapshots",
            f"{resnet} 5.32/24.19 against 5.73/25.55",
        ),
        (
            "SWA beats the single network of its budget",
            "SWA",
            "single, step",
            "CIFAR-100, VGG-16, accuracy 73.91 against 72.55",
        ),
        (
            "M whole budgets beat one network",
            f"{many}, {members} budgets",
            "single, cosine",
            "CIFAR-10, WRN-28-10 x 4, accuracy 96.6 against 96.0",
        ),
        (
            "M whole budgets beat the snapshots of one",
            f"{many}, {members} budgets",
            snapshots,
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
        """Seeds of M networks for each repetition, those of a member side by side."""
        config = self.config
        return tuple(s + config.seeds * m for m in range(members) for s in config.all_seeds)

    def train(self, name: str, recipe: "Recipe", epochs: int, **settings: Any) -> Part:
        """Trains a part of the study."""
        shorter = dataclasses.replace(self.config, epochs=epochs)
        print(f"\n{name}, {epochs} epochs:")
        return train_part(shorter, self.whole, name, recipe, self.splits.train, **settings)

    def logits(self, *states: Any) -> "np.ndarray":
        """On the test part, [M, R, N, K], of states [M * R, ...] (as ``seeds`` has them)."""
        logits = judgement.predicted(self.usual, list(states), self.splits.test)
        members = logits.shape[0] * logits.shape[1] // self.config.seeds
        return logits.reshape(members, self.config.seeds, *logits.shape[2:])

    def method(self, name: str, group: str, logits: Any, epochs: int, seconds: float) -> Method:
        """M networks combined, of a training that took so long for all repetitions."""
        blank = Method(name, group, logits, epochs, 1, seconds / self.config.seeds)
        return blank.of(name, logits)


class Found(NamedTuple):
    """What a part of the study gave."""

    methods: list[Method]
    sets: dict[str, "np.ndarray"]  # logits [M, R, N, K] by name
    seconds: float


def whole_trainings(study: Study) -> Found:
    """M networks of one budget each: the single one, its moving average, true ensembles."""
    import numpy as np

    from cnnlab import augment
    from cnnlab.ensemble.predictions import view_logits

    config, budget = study.config, study.config.epochs
    recipe = dataclasses.replace(study.usual, ema_decay=config.ema_decay)
    seeds = study.seeds(config.members)
    part = study.train("whole", recipe, budget, seeds=seeds)
    each = part.seconds / config.members
    logits = study.logits(part.states._replace(average=None))
    averages = judgement.predicted(recipe, [part.states], study.splits.test)[0, : config.seeds]
    firsts = _first(part.states._replace(average=None), config.seeds)
    # A view must be something that the training has shown, too.
    kind, views = (
        ("its mirror view", augment.views.mirror())
        if config.flip
        else ("its four shifts", augment.views.shifts(1))
    )
    viewed = np.moveaxis(view_logits(study.usual, firsts, study.splits.test, views), 1, 0)
    methods = [
        study.method("single, cosine", ONE, logits[:1], budget, each),
        study.method(f"single, with {kind}", ONE, viewed, budget, each),
        study.method("EMA", ONE, averages[None], budget, each),
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
    print(f"\nsnapshots are taken after epochs {', '.join(map(str, ends))}")
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
        logits = study.logits(part.states)
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
    from cnnlab.ensemble.averages import average
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


def _first(states: Any, count: int) -> Any:
    import jax

    return jax.tree.map(lambda x: x[:count], states)


# What is drawn -------------------------------------------------------------------------------


def _draw(config: Config, whole: Whole, result: dict[str, Any]) -> None:
    import jax

    from cnnlab.report import ensemble_figures

    if jax.process_index() > 0:
        return
    folder = whole.directory / "figures"
    title = (
        f"{config.model} on {config.dataset}, {result['examples']:,} images, {config.epochs} epochs"
    )
    order = [ONE, RUN, EQUAL, WHOLE]
    rows = sorted(judgement.rows(result["methods"]), key=lambda row: order.index(row["group"]))
    ensemble_figures.comparison(
        rows,
        folder / "comparison.png",
        title=f"{title}; 95 % intervals, {config.seeds} repetitions",
    )
    ensemble_figures.by_members(
        result["by_count"], folder / "by_count.png", title=f"{title}; ± standard error"
    )


def main() -> None:
    """The command line."""
    launch.prepare()
    with launch.speaking_plainly("experiments.ensemble_study"):
        config = parse(Config, sys.argv[1:], __doc__)
        launch.join_processes(config.coordinator, config.processes, config.process_id)
        run(config)


if __name__ == "__main__":
    main()

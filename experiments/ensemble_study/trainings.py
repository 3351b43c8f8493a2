"""The trainings of the study, each with the methods that use its networks."""

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import jax
import numpy as np

from cnnlab import augment, schedules
from cnnlab.data import Dataset, Splits
from cnnlab.data.batches import steps_per_epoch
from cnnlab.ensemble import average, view_logits
from cnnlab.schedules import Schedule
from cnnlab.studies import build
from cnnlab.studies.methods import Cost, Method, combine_networks, predict_logits
from cnnlab.studies.study import Study, Trained
from cnnlab.train import Recipe, TrainState, recalibrate
from cnnlab.train.program import forward_cost

from .config import Config

ONE, RUN, EQUAL, WHOLE = "one network", "one run", "M networks, one budget", "M budgets"
"""The groups of the methods."""


class Outcome(NamedTuple):
    """The outcome of some trainings.

    Attributes:
      methods: that predict with their networks.
      logits: ``[M, R, N, K]`` on the test part, by name of the ensemble.
      seconds: of training.
    """

    methods: list[Method]
    logits: dict[str, np.ndarray]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains networks of the study, and predicts with them.

    Attributes:
      study: the study.
      splits: its data.
      usual: how a network is trained by a cosine, without a moving average.
    """

    study: Study[Config]
    splits: Splits
    usual: Recipe

    @property
    def config(self) -> Config:
        """The config of the study."""
        return self.study.config

    @property
    def train_part(self) -> Dataset:
        """The training part."""
        return self.splits.train

    @property
    def per_epoch(self) -> int:
        """Updates in an epoch."""
        config = self.config
        return steps_per_epoch(len(self.train_part), config.batch_size, config.remainder)

    def recipe(self, schedule: Schedule) -> Recipe:
        """The usual recipe, with another schedule."""
        recipe = build.make_recipe(self.config, self.train_part, schedule=schedule)
        return dataclasses.replace(recipe, ema_decay=None)

    def train(
        self,
        name: str,
        recipe: Recipe,
        epochs: int,
        *,
        members: int = 1,
        keep_epochs: Collection[int] = (),
    ) -> Trained:
        """Trains M networks for each repetition, as ``build.member_seeds`` orders them."""
        config = dataclasses.replace(self.config, epochs=epochs)
        options = dataclasses.replace(
            build.fit_options(config), seeds=build.member_seeds(config, members)
        )
        self.study.say(f"\n{name}, {epochs} epochs:")
        return self.study.train(
            name, recipe, self.train_part, config=config, options=options, keep_epochs=keep_epochs
        )

    def logits(self, states: Sequence[TrainState], members: int | None = None) -> np.ndarray:
        """Logits on the test part, see ``predict_logits``."""
        return predict_logits(self.usual, states, self.splits.test, members)

    def method(
        self, name: str, group: str, logits: np.ndarray, epochs: int, seconds: float
    ) -> Method:
        """Combines M networks; ``seconds`` is the training time of all repetitions."""
        multiply_adds = forward_cost(self.usual, self.train_part.image_shape)
        cost = Cost(epochs, multiply_adds, seconds / self.config.seeds)
        return combine_networks(name, group, logits, cost)


def train_whole_budgets(t: Trainer) -> Outcome:
    """M networks of one budget each: the single one, its moving average, true ensembles."""
    config, budget = t.config, t.config.epochs
    recipe = dataclasses.replace(t.usual, ema_decay=config.ema_decay)
    trained = t.train("whole", recipe, budget, members=config.members)
    seconds = trained.seconds / config.members
    logits = t.logits([trained.states._replace(average=None)], config.members)
    firsts = jax.tree.map(lambda x: x[: config.seeds], trained.states)  # one of each repetition
    averages = predict_logits(recipe, [firsts], t.splits.test)
    singles = firsts._replace(average=None)
    # A view must be one that the training has shown, too.
    kind, views = (
        ("its mirror view", augment.views.mirror())
        if config.flip
        else ("its four shifts", augment.views.shifts(1))
    )
    by_view = np.moveaxis(view_logits(t.usual, singles, t.splits.test, views), 1, 0)
    methods = [
        t.method("single, cosine", ONE, logits[:1], budget, seconds),
        t.method(f"single, with {kind}", ONE, by_view, budget, seconds),
        t.method("EMA", ONE, averages, budget, seconds),
    ]
    for count in range(2, config.members + 1):
        name = f"ensemble of {count}, {count} budgets"
        methods.append(t.method(name, WHOLE, logits[:count], count * budget, count * seconds))
    return Outcome(methods, {"M budgets": logits}, trained.seconds)


def train_snapshots(t: Trainer) -> Outcome:
    """Snapshots: without cycles, with them, and with a higher rate."""
    config, budget, members = t.config, t.config.epochs, t.config.members
    lengths = schedules.cycle_lengths(budget, members)
    ends = tuple(itertools.accumulate(lengths))
    t.study.say(f"\nsnapshots are taken after epochs {', '.join(map(str, ends))}")
    steps = [length * t.per_epoch for length in lengths]
    rate = config.learning_rate
    by_steps = schedules.create("step", rate, budget * t.per_epoch, milestones=config.milestones)
    methods: list[Method] = []
    by_name: dict[str, np.ndarray] = {}
    seconds = 0.0
    for folder, kind, schedule in (
        ("no-cycles", "no cycles", by_steps),
        ("cycles", "", schedules.cosine_cycles(rate, steps)),
        ("high-cycles", "high rate", schedules.cosine_cycles(config.high_rate, steps)),
    ):
        trained = t.train(folder, t.recipe(schedule), budget, keep_epochs=ends)
        logits = t.logits(list(trained.kept.values()))
        seconds += trained.seconds
        if schedule is by_steps:
            methods.append(t.method("single, step", ONE, logits[-1:], budget, trained.seconds))
        name = f"{members} snapshots{f', {kind}' if kind else ''}"
        methods.append(t.method(name, RUN, logits, budget, trained.seconds))
        by_name[f"one run, {kind or 'cycles'}"] = logits[::-1]
    return Outcome(methods, by_name, seconds)


def train_short(t: Trainer) -> Outcome:
    """M networks for one budget together: each has a whole cosine of its share of the epochs."""
    config = t.config
    methods: list[Method] = []
    by_name: dict[str, np.ndarray] = {}
    seconds = 0.0
    for members in range(2, config.members + 1):
        epochs = config.epochs // members
        schedule = schedules.cosine_cycles(config.learning_rate, [epochs * t.per_epoch])
        trained = t.train(f"short-{members}", t.recipe(schedule), epochs, members=members)
        logits = t.logits([trained.states], members)
        seconds += trained.seconds
        name = f"ensemble of {members}, one budget"
        methods.append(t.method(name, EQUAL, logits, members * epochs, trained.seconds))
        by_name = {"M networks, one budget": logits}  # of the largest M
    return Outcome(methods, by_name, seconds)


def train_swa(t: Trainer) -> Outcome:
    """SWA: the weights at the ends of the last quarter's epochs, averaged and recalibrated."""
    config, budget = t.config, t.config.epochs
    first = round(0.75 * budget)
    schedule = schedules.swa(config.learning_rate, first * t.per_epoch, config.swa_rate)
    recipe = t.recipe(schedule)
    trained = t.train("swa", recipe, budget, keep_epochs=range(first, budget + 1))
    swa = recalibrate(recipe, average(list(trained.kept.values())), t.train_part)
    methods = [
        t.method("SWA", ONE, t.logits([swa]), budget, trained.seconds),
        t.method("SWA's last network", ONE, t.logits([trained.states]), budget, trained.seconds),
    ]
    return Outcome(methods, {}, trained.seconds)

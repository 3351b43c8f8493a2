"""The checkpoints that may be averaged, and what to do about those that are missing or damaged."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cnnlab.data import Dataset
from cnnlab.data.batches import steps_per_epoch
from cnnlab.run_directory import ResumeError, run_number
from cnnlab.studies import build
from cnnlab.studies.preparation import Preparation
from cnnlab.studies.run_data import read_record
from cnnlab.studies.settings import Training
from cnnlab.studies.trained import run_config
from cnnlab.train import Recipe, TrainState
from cnnlab.train.checkpoint import CheckpointError
from cnnlab.train.run import Run

from .config import Config

_ADVICE = (
    "A run keeps its latest two checkpoints and the best one, unless it was trained with --keep 10 "
    "or --keep-every 1."
)

# The settings in which runs that are averaged must agree: the network, its images and their parts.
_SHARED = (
    "model model_options dataset validation split_seed per_class fraction classes image_size "
    "on_unreadable normalization"
).split()

_START = ("seed", "init", "init_options")  # of a run's first weights


class Candidate(NamedTuple):
    """A checkpoint that may be averaged."""

    run: pathlib.Path
    step: int
    states: TrainState  # [M, ...], without moving averages and optimizer state


class Skipped:
    """Checkpoints and runs that are missing: an error, or with ``--missing skip`` a line.

    Attributes:
      say: prints a line.
      messages: the lines so far.
    """

    def __init__(self, config: Config, say: Callable[[str], Any]) -> None:
        self._raises, self.say = config.missing == "error", say
        self.messages: list[str] = []

    def add(self, message: str) -> None:
        """Goes on without something, if that was asked for.

        Raises:
          CheckpointError: if it was not.
        """
        if self._raises:
            raise CheckpointError(f"{message} To go on without: --missing skip.")
        self.say(f"passed over: {message}")
        self.messages.append(message)


def read_configs(config: Config, skipped: Skipped) -> dict[pathlib.Path, Training]:
    """How each run was trained.

    Args:
      config: which runs.
      skipped: gets those that are missing.

    Raises:
      ResumeError: if there is no run.
      ValueError: for runs of other networks, data or numbers of seeds.
    """
    configs: dict[pathlib.Path, Training] = {}
    for directory in config.run:
        try:
            configs[directory] = run_config(directory, config.data_dir)
        except ResumeError as error:
            if len(config.run) == 1:
                raise
            skipped.add(str(error))
    if len(configs) < min(len(config.run), 2):
        raise ValueError(f"a soup needs at least two runs, found {len(configs)}.")
    first, *others = configs
    record = read_record(first)
    here = Preparation(configs[first].normalization, record.statistics)
    for other in others:
        for field in (*_SHARED, "seeds"):
            ours, theirs = getattr(configs[first], field), getattr(configs[other], field)
            if ours != theirs:
                raise ValueError(
                    f"runs must be of the same network, data and number of seeds: {field} is "
                    f"{ours!r} in {first}, and {theirs!r} in {other}. Leave one out."
                )
        its = read_record(other)
        if not record.has_images_of(its):
            raise ValueError(
                f"runs must be of the same images in the same parts, but {other} has others than "
                f"{first}. Leave one out."
            )
        there = Preparation(configs[other].normalization, its.statistics)
        if not here.agrees(there):
            raise ValueError(
                f"runs must normalise images alike, but {other} does by {there}, and {first} by "
                f"{here}: the weights of one are not for the images of the other. Leave one out."
            )
    for field in _START:
        starts = [str(getattr(each, field)) for each in configs.values()]
        if len(set(starts)) > 1:
            skipped.say(
                "note: these runs began from different weights: an average of them is usually "
                "worthless, Wortsman et al. average what was fine-tuned from one start. Their "
                f"{field}: {', '.join(starts)}."
            )
    return configs


def run_recipe(directory: pathlib.Path, config: Training) -> Recipe:
    """How the networks of a run were trained, and how they are shown images.

    Args:
      directory: of the run.
      config: ``run_config`` of it.
    """
    return build.make_recipe(config, read_record(directory).without_images().train)


def load_candidates(
    config: Config, configs: Mapping[pathlib.Path, Training], train: Dataset, skipped: Skipped
) -> list[Candidate]:
    """The checkpoints of the runs that are asked for and there, in their order.

    Raises:
      CheckpointError: if there are fewer than two, or one is missing or damaged.
      ValueError: for copies of one run.
    """
    candidates = []
    seen: dict[tuple[str, int], pathlib.Path] = {}
    for directory, trained in configs.items():
        # Its own: a checkpoint holds the optimizer's state.
        recipe = run_recipe(directory, trained)
        options: Any = {"members": trained.seeds, "best": config.best}
        with Run.read(directory, say=skipped.say) as run:
            steps: Sequence[int | None] = [None]
            if len(config.run) == 1:
                present = run.checkpoints.steps()
                steps = _wanted_steps(config, trained, len(train), present, skipped)
            for step in steps:
                try:
                    at, states = run.load(recipe, train.image_shape, step=step, **options)
                except CheckpointError as error:
                    skipped.add(str(error))
                else:
                    same = seen.setdefault((run_number(directory), at), directory)
                    if same is not directory:
                        raise ValueError(
                            f"{directory} is a copy of the run {same}, with the same networks. "
                            "Leave one out."
                        )
                    plain = states._replace(average=None, opt_state=())
                    candidates.append(Candidate(directory, at, plain))
    if len(candidates) < 2:
        short = f"an average needs at least two checkpoints, found {len(candidates)}."
        raise CheckpointError(f"{short} {_ADVICE}")
    return candidates


def _wanted_steps(
    config: Config, trained: Training, examples: int, present: Sequence[int], skipped: Skipped
) -> list[int]:
    """The steps of one run that are asked for and there."""
    lacking: list[str] = []
    wanted = list(present)
    if config.steps:
        wanted = sorted(set(config.steps))
    elif config.last is not None:
        wanted = wanted[-config.last :]
        if (short := config.last - len(wanted)) > 0:
            lacking.append(f"{short} of the last {config.last} checkpoints")
    elif config.from_epoch is not None:
        epoch = steps_per_epoch(examples, trained.batch_size, trained.remainder)
        every = trained.keep_every or 1
        done = range(max(config.from_epoch, 1), max(present, default=0) // epoch + 1)
        ends = {number * epoch for number in done}
        wanted = sorted({end for end in ends if end // epoch % every == 0} | (ends & {*present}))
    lacking += [f"the checkpoint of step {step}" for step in wanted if step not in present]
    if lacking:
        steps = ", ".join(map(str, present)) or "none"
        skipped.add(f"missing: {', '.join(lacking)}; the run has steps {steps}. {_ADVICE}")
    return [step for step in wanted if step in present]

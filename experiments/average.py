"""One network out of several: a mean of a run's checkpoints, or a soup of several runs.

Claim: the mean of the weights that one training passes through, or of several trainings that began
at the same weights, is better than each of them, at the cost of one; with batch normalisation only
once its statistics are taken anew.
Published: CIFAR-100, SWA at equal budget, VGG-16 72.55 -> 73.91 %, ResNet-164 78.49 -> 79.77 %
(Izmailov et al., UAI 2018, table 1); ImageNet, ViT-G, the best of the fine-tuned networks 90.78 %,
their greedy soup 90.94 % (Wortsman et al., ICML 2022, table 1).
Measured: see average-NAME.json in the run directory (written by this module).

    python -m experiments.train --schedule swa --keep-every 1
    python -m experiments.average runs/digits-resnet8-1 --last 5
    python -m experiments.average runs/digits-resnet8-1 --from-epoch 20 --how greedy
    python -m experiments.average RUN --steps 100 200 --missing skip
    python -m experiments.average RUN-1 RUN-2 RUN-3 --how greedy --best

Of one run its checkpoints are averaged, for each seed by itself. Of several runs (of one network on
the same data) the first seed of each makes one soup, the second of each another one, and so on: it
is one seed that began at one set of weights; what is written lies in the directory of the first.
Weights themselves are averaged and compared: a run's moving average is left out.
"""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro

from experiments import launch
from experiments.config import load_data
from experiments.distill_errors import number
from experiments.finished import config_of, recipe_of
from experiments.judgement import printed
from experiments.train import Config as TrainConfig

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from cnnlab.train import Recipe, TrainState

_ADVICE = (
    "A run keeps its latest two checkpoints and the best one, unless it was trained with --keep 10 "
    "or --keep-every 1."
)

# What runs must have in common to be mixed: the network, what it sees and what it was held from.
_SHARED = (
    "model model_options dataset validation split_seed per_class fraction classes image_size "
    "on_unreadable normalization"
).split()

_START = ("seed", "init", "init_options")  # of a run's first weights


@dataclasses.dataclass(frozen=True)
class Config:
    """Which weights to average."""

    run: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional]
    """A run directory, for its checkpoints; or several, for a soup."""
    last: int | None = None
    """Of one run: its last so many checkpoints; all that there are without any of these three."""
    steps: tuple[int, ...] = ()
    """Of one run: the checkpoints of these steps."""
    from_epoch: int | None = None
    """Of one run: the checkpoints of the ends of epochs, from that of this epoch on."""
    best: bool = False
    """Of several runs: the best checkpoint of each on the validation part, not the latest."""
    how: Literal["average", "uniform", "greedy"] = "average"
    """All of them alike (uniform says the same), or those with which validation gets no worse."""
    recalibrate: bool = True
    """Take the statistics of batch normalisation anew, from the training part."""
    missing: Literal["error", "skip"] = "error"
    """What to do about a checkpoint, or a run, that is missing or damaged."""
    name: str | None = None
    """Of the files average-NAME.*; made of the settings if left out."""
    batch_size: int = 512
    """Images at a time."""


class Candidate(NamedTuple):
    """A checkpoint that may be averaged."""

    run: pathlib.Path
    step: int
    states: "TrainState"  # [M, ...], without moving averages and optimizer state


class Mixture(NamedTuple):
    """What was averaged."""

    averaged: "TrainState"  # [M, ...], statistics of batch normalisation averaged, too
    recalibrated: "TrainState"  # [M, ...], the same where there was nothing to recalibrate
    chosen: list[list[int]]  # the candidates in each seed's average
    tries: list[list[dict[str, Any]]]  # of each seed's greedy soup


def run(config: Config) -> dict[str, Any]:
    """Averages, evaluates the average and what it is of, prints a table and writes the files.

    Returns:
      What average-NAME.json holds: ``candidates``, ``averaged`` and ``recalibrated`` (None where
      that changes nothing), each with ``scores`` on ``validation`` and ``test``, as ``over_seeds``
      gives them; ``chosen``, the candidates in each seed's average; ``skipped``;
      ``weights``, the files.

    Raises:
      ResumeError: if there is no run.
      CheckpointError: if a checkpoint, or one of several runs, is missing or damaged.
      ValueError: for settings that cannot be, or runs that cannot be mixed.
    """
    from cnnlab.train.environment import environment
    from cnnlab.train.records import write_json

    _check(config)
    skipped: list[str] = []
    trained = _configs(config, skipped)
    directory, first = next(iter(trained.items()))
    splits = load_data(first)
    if config.how == "greedy" and splits.validation is None:
        raise ValueError("a greedy soup needs a validation part, and the run has none.")
    recipe = recipe_of(directory, first, splits.train)
    candidates = _candidates(config, trained, splits.train, skipped)
    mix = _greedy if config.how == "greedy" else _uniform
    mixture = mix(config, recipe, [each.states for each in candidates], splits)

    figures = functools.partial(_figures, config, recipe, splits)
    same = mixture.recalibrated is mixture.averaged
    result = {
        "experiment": "average",
        "runs": [each.name for each in trained],
        "dataset": first.dataset,
        "model": first.model,
        "seeds": first.all_seeds,
        "how": "greedy" if config.how == "greedy" else "uniform",
        "candidates": [
            {"run": each.run.name, "step": each.step, **figures(each.states)} for each in candidates
        ],
        "skipped": skipped,
        "chosen": mixture.chosen,
        "tries": mixture.tries,
        "averaged": figures(mixture.averaged),
        "recalibrated": None if same else figures(mixture.recalibrated),
        "environment": environment(pathlib.Path(__file__).resolve().parent),
    }
    name = config.name or _name(config, len(trained))
    files = _save(first, splits.train, mixture.recalibrated, directory, name)
    result["weights"] = [file.name for file in files]
    write_json(directory / f"average-{name}.json", result)
    print(_table(result), *files, sep="\n")
    return result


# What is averaged ----------------------------------------------------------------------------


def _check(config: Config) -> None:
    chosen = [
        f"--{field.replace('_', '-')}"
        for field in ("last", "steps", "from_epoch")
        if getattr(config, field) not in (None, ())
    ]
    if not config.run:
        raise ValueError("give the directory of a run, or of several for a soup.")
    if len({each.resolve() for each in config.run}) < len(config.run):
        raise ValueError(f"runs must be different ones, got {', '.join(map(str, config.run))}.")
    if len(config.run) > 1 and chosen:
        raise ValueError(f"{chosen[0]}: only with one run; of several, the latest or --best.")
    if len(config.run) == 1 and config.best:
        raise ValueError("--best: only with several runs; of one, choose --last, --steps …")
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)} exclude each other: give one of them.")
    if config.last is not None and config.last < 2:
        raise ValueError(f"--last must be at least 2 checkpoints, got {config.last}.")
    if config.name is not None and pathlib.Path(config.name).name != config.name:
        raise ValueError(f"--name must be part of a file's name, got {config.name!r}.")


def _configs(config: Config, skipped: list[str]) -> dict[pathlib.Path, TrainConfig]:
    """How each run was trained; runs that have little in common are refused."""
    from cnnlab.train.run import ResumeError

    found: dict[pathlib.Path, TrainConfig] = {}
    for directory in config.run:
        try:
            found[directory] = config_of(directory)
        except ResumeError as error:
            if len(config.run) == 1:
                raise
            _skip(config, skipped, str(error))
    if len(found) < min(len(config.run), 2):
        raise ValueError(f"a soup needs at least two runs, found {len(found)}.")
    first, *others = found
    for other in others:
        for field in (*_SHARED, "seeds"):
            ours, theirs = getattr(found[first], field), getattr(found[other], field)
            if ours != theirs:
                raise ValueError(
                    f"runs must be of the same network, data and number of seeds: {field} is "
                    f"{ours!r} in {first}, and {theirs!r} in {other}. Leave one out."
                )
    _note_starts(tuple(found.values()))
    return found


def _note_starts(trained: Sequence[TrainConfig]) -> None:
    for field in _START:
        starts = [str(getattr(each, field)) for each in trained]
        if len(set(starts)) > 1:
            print(
                "note: these runs began from different weights: an average of them is usually "
                "worthless, Wortsman et al. average what was fine-tuned from one start. Their "
                f"{field}: {', '.join(starts)}."
            )


def _candidates(
    config: Config, trained: dict[pathlib.Path, TrainConfig], train: "Dataset", skipped: list[str]
) -> list[Candidate]:
    from cnnlab.train.checkpoint import CheckpointError
    from cnnlab.train.run import Run

    found = []
    for directory, about in trained.items():
        # Its own: a checkpoint holds the optimizer's state.
        recipe = recipe_of(directory, about, train)
        settings: Any = {"members": about.seeds, "best": config.best}
        with Run.read(directory) as opened:
            steps: Sequence[int | None] = [None]
            if len(config.run) == 1:
                there = opened.checkpoints.steps()
                steps = _wanted(config, about, len(train), there, skipped)
            for step in steps:
                try:
                    at, states = opened.load(recipe, train.image_shape, step=step, **settings)
                except CheckpointError as error:
                    _skip(config, skipped, str(error))
                else:
                    plain = states._replace(average=None, opt_state=())
                    found.append(Candidate(directory, at, plain))
    if len(found) < 2:
        short = f"an average needs at least two checkpoints, found {len(found)}."
        raise CheckpointError(f"{short} {_ADVICE}")
    return found


def _wanted(
    config: Config, about: TrainConfig, examples: int, there: Sequence[int], skipped: list[str]
) -> list[int]:
    """The steps of one run that are asked for and there."""
    from cnnlab.data.batches import steps_per_epoch

    lacking: list[str] = []
    wanted = list(there)
    if config.steps:
        wanted = sorted(set(config.steps))
    elif config.last is not None:
        wanted = wanted[-config.last :]
        if (short := config.last - len(wanted)) > 0:
            lacking.append(f"{short} of the last {config.last} checkpoints")
    elif config.from_epoch is not None:
        epoch = steps_per_epoch(examples, about.batch_size, about.remainder)
        every = about.keep_every or 1
        done = range(max(config.from_epoch, 1), max(there, default=0) // epoch + 1)
        ends = {number * epoch for number in done}
        wanted = sorted({end for end in ends if end // epoch % every == 0} | (ends & {*there}))
    lacking += [f"the checkpoint of step {step}" for step in wanted if step not in there]
    if lacking:
        has = ", ".join(map(str, there)) or "none"
        message = f"missing: {', '.join(lacking)}; the run has steps {has}. {_ADVICE}"
        _skip(config, skipped, message)
    return [step for step in wanted if step in there]


def _skip(config: Config, skipped: list[str], message: str) -> None:
    """Goes on without something, if that was asked for."""
    from cnnlab.train.checkpoint import CheckpointError

    if config.missing == "error":
        raise CheckpointError(f"{message} To go on without: --missing skip.")
    print(f"passed over: {message}")
    skipped.append(message)


def _uniform(
    config: Config, recipe: "Recipe", candidates: Sequence["TrainState"], splits: "Splits"
) -> Mixture:
    from cnnlab.ensemble.averages import average
    from cnnlab.train import recalibrate

    averaged = final = average(candidates)
    if config.recalibrate:
        final = recalibrate(recipe, averaged, splits.train, batch_size=config.batch_size)
    seeds = averaged.step.shape[0]
    return Mixture(averaged, final, [list(range(len(candidates)))] * seeds, [])


def _greedy(
    config: Config, recipe: "Recipe", candidates: Sequence["TrainState"], splits: "Splits"
) -> Mixture:
    import jax
    from jax import numpy as jnp

    from cnnlab.ensemble.averages import average, greedy_soup
    from cnnlab.train import member

    assert splits.validation is not None
    train = splits.train if config.recalibrate else None
    averaged, soups = [], []
    for seed in range(candidates[0].step.shape[0]):
        rows = [member(states, seed) for states in candidates]
        soup = greedy_soup(recipe, rows, splits.validation, train, batch_size=config.batch_size)
        averaged.append(average([rows[index] for index in soup.chosen]))
        soups.append(soup)
    before = jax.tree.map(lambda *leaves: jnp.stack(leaves), *averaged)
    after = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(s.states for s in soups))
    recalibrated = train is not None and "batch_stats" in before.model_state
    return Mixture(
        before,
        after if recalibrated else before,
        [list(soup.chosen) for soup in soups],
        [[each._asdict() for each in soup.history] for soup in soups],
    )


# What is said and written --------------------------------------------------------------------


def _figures(
    config: Config, recipe: "Recipe", splits: "Splits", states: "TrainState"
) -> dict[str, Any]:
    import numpy as np
    from scipy.special import softmax

    from cnnlab.report.scores import scores
    from cnnlab.report.statistics import over_seeds
    from cnnlab.train import predict

    figures = {}
    for part, dataset in (("validation", splits.validation), ("test", splits.test)):
        if dataset is not None:
            logits = predict(recipe, states, dataset, batch_size=config.batch_size)
            probabilities = softmax(logits.astype(np.float64), axis=-1)
            each = [scores(p, dataset.labels) for p in probabilities]
            figures[part] = {name: over_seeds([one[name] for one in each]) for name in each[0]}
    return figures


def _save(
    about: TrainConfig, train: "Dataset", states: "TrainState", folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
    """The weights of each seed as a file."""
    from cnnlab.models import weights
    from cnnlab.train import member

    files = []
    for index, seed in enumerate(about.all_seeds):
        ending = f"-seed{seed}" if about.seeds > 1 else ""
        files.append(folder / f"average-{name}{ending}.safetensors")
        state = member(states, index)
        text = {"model": about.model, "options": json.dumps(about.model_options)}
        text |= {"classes": json.dumps(train.class_names), "seed": str(seed), "average": name}
        weights.save_safetensors({"params": state.params, **state.model_state}, files[-1], text)
    return files


def _name(config: Config, runs: int) -> str:
    before = "greedy-" if config.how == "greedy" else ""
    behind = "" if config.recalibrate else "-as-averaged"
    name = "all" if runs == 1 else f"soup-of-{runs}{'-best' * config.best}"
    if config.last is not None:
        name = f"last-{config.last}"
    elif config.steps:
        name = f"steps-{'-'.join(map(str, sorted(set(config.steps))))}"
    elif config.from_epoch is not None:
        name = f"from-epoch-{config.from_epoch}"
    return before + name + behind


def _table(result: dict[str, Any]) -> str:
    rows = [(f"{each['run']}, step {each['step']:,}", each) for each in result["candidates"]]
    seeds = len(result["seeds"])
    title = f"{result['model']} on {result['dataset']}, {seeds} seed{'s' * (seeds > 1)}"
    kind = "average"
    if result["how"] == "greedy":
        kind = f"greedy soup of {', '.join(str(len(each)) for each in result['chosen'])}"
    rows.append((kind, result["averaged"]))
    if result["recalibrated"] is not None:
        rows.append((f"{kind}, recalibrated", result["recalibrated"]))
    parts = [part for part in ("validation", "test") if part in result["averaged"]]
    lines = [["", *(text for part in parts for text in (f"{part} accuracy, %", "NLL"))]]
    for name, each in rows:
        lines.append([name])
        for part in parts:
            lines[-1].append(number(each[part]["accuracy"], scale=100, digits=2))
            lines[-1].append(number(each[part]["nll"], digits=4))
    return f"{title}\n{printed(lines)}"


def main() -> None:
    """The command line."""
    launch.prepare()
    with launch.speaking_plainly("experiments.average"):
        run(tyro.cli(Config, args=sys.argv[1:], description=__doc__))


if __name__ == "__main__":
    main()

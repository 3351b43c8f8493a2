"""The average of checkpoints: its scores beside those of each of them, and its weights in files."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from cnnlab.data import Splits
from cnnlab.files import write_json
from cnnlab.report.scores import scores
from cnnlab.report.statistics import over_seeds
from cnnlab.studies.file_description import save_weights
from cnnlab.studies.run_data import read_earlier_records, read_record
from cnnlab.studies.settings import Training
from cnnlab.studies.trained import load_data
from cnnlab.train import Recipe, TrainState, member, predict
from cnnlab.train.environment import environment

from ..cli import host
from .candidates import Skipped, load_candidates, read_configs, run_recipe
from .config import Config, check, file_name
from .mixing import mix
from .summary import summary_lines


def run(config: Config) -> dict[str, Any]:
    """Averages, scores the average and what it is of, prints a table and writes the files.

    Returns:
      The content of average-NAME.json: ``candidates``, ``averaged`` and ``recalibrated`` (None
      where that changes nothing), each with scores on ``validation`` and ``test``, as
      ``over_seeds`` gives them; ``chosen``, the candidates in each seed's average; ``skipped``;
      ``weights``, the files.

    Raises:
      ResumeError: if there is no run.
      CheckpointError: if a checkpoint, or one of several runs, is missing or damaged.
      ValueError: for invalid settings, or runs whose weights cannot be averaged.
    """
    process = host()
    check(config)
    skipped = Skipped(config, process.say)
    configs = read_configs(config, skipped)
    directory, first = next(iter(configs.items()))
    splits = load_data(directory, config.data_dir)
    if config.how == "greedy" and splits.validation is None:
        raise ValueError("a greedy soup needs a validation part, and the run has none.")
    recipe = run_recipe(directory, first)
    candidates = load_candidates(config, configs, splits.train, skipped)
    mixture = mix(config, recipe, [each.states for each in candidates], splits)

    def score(states: TrainState) -> dict[str, Any]:
        return _scores(config, recipe, splits, states)

    same = mixture.recalibrated is mixture.averaged
    result = {
        "experiment": "average",
        "runs": [each.name for each in configs],
        "dataset": first.data_name,
        "model": first.model,
        "seeds": first.all_seeds,
        "how": "greedy" if config.how == "greedy" else "uniform",
        "candidates": [
            {"run": each.run.name, "step": each.step, **score(each.states)} for each in candidates
        ],
        "skipped": skipped.messages,
        "chosen": mixture.chosen,
        "tries": mixture.tries,
        "averaged": score(mixture.averaged),
        "recalibrated": None if same else score(mixture.recalibrated),
        "environment": environment(process.project, process.xla_flags),
    }
    process.say("\n".join(summary_lines(result)))  # before anything is written: it may fail
    name = file_name(config, len(configs))
    files = _save(first, mixture.recalibrated, list(configs), name)
    result["weights"] = [file.name for file in files]
    write_json(directory / f"average-{name}.json", result)
    process.say("\n".join(map(str, files)))
    return result


def _scores(config: Config, recipe: Recipe, splits: Splits, states: TrainState) -> dict[str, Any]:
    """Part of the data -> the scores of networks, as ``over_seeds`` gives them."""
    scored = {}
    for part, dataset in (("validation", splits.validation), ("test", splits.test)):
        if dataset is not None:
            logits = predict(recipe, states, dataset, batch_size=config.batch_size)
            probabilities = softmax(logits.astype(np.float64), axis=-1)
            each = [scores(p, dataset.labels) for p in probabilities]
            scored[part] = {name: over_seeds([one[name] for one in each]) for name in each[0]}
    return scored


def _save(
    trained: Training, states: TrainState, runs: Sequence[pathlib.Path], name: str
) -> list[pathlib.Path]:
    """Writes the weights of each seed, a file each, into the first run."""
    folder, files = runs[0], []
    earlier = {each.write(): each for run in runs for each in read_earlier_records(run)}
    for index, seed in enumerate(trained.all_seeds):
        ending = f"-seed{seed}" if trained.seeds > 1 else ""
        files.append(folder / f"average-{name}{ending}.safetensors")
        state = member(states, index)
        save_weights(
            files[-1],
            {"params": state.params, **state.model_state},
            trained,
            (read_record(folder), *earlier.values()),
            seed=str(seed),
            average=name,
        )
    return files

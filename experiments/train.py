"""Train one network, or several seeds of it at once, and report what it does on the test part.

Claim: none; this is the baseline that the other experiments are compared with.
Measured: see result.json and figures/curves.png in the run directory.

    python -m experiments.train --seeds 5
    python -m experiments.train --dataset fashion_mnist --data-dir DIR --flip --crop 2
    python -m experiments.train --resume runs/digits-resnet8-1
"""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from experiments.config import Training, experiment_of, load_data, make_recipe, plain
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from cnnlab.data import Dataset
    from cnnlab.train import Position, Recipe
    from cnnlab.train.run import Run


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train one network, or several seeds of it at once."""


def run(config: Config) -> dict[str, Any]:
    """Trains as ``config`` says, and writes the run directory.

    Returns:
      What result.json holds: the figures on the test part (mean, standard error and every seed's),
      the best epoch on the validation part, the run directory and the seconds of training.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; the run is saved.
      DivergedError: where the loss became NaN or infinite.
    """
    if config.resume is not None:
        config = resumed(config)
    from cnnlab.mesh import make_mesh
    from cnnlab.train import check_fits, evaluate

    splits = load_data(config)
    recipe = make_recipe(config, splits.train)
    mesh = make_mesh(len(config.all_seeds), member_axis=config.member_axis)
    if config.resume is None:
        check_fits(recipe, splits.train)
    with open_run(config, kept_steps(config, splits.train)) as opened:
        say = (lambda text: None) if config.quiet else print
        say(f"{splits.notes}\nrun directory: {opened.directory}")
        epochs = epochs_of(config, opened, recipe, splits.train, splits.validation, mesh)
        try:
            for _ in epochs:
                pass
        except BaseException:
            with contextlib.suppress(Exception):  # the error that ended the run is what matters
                _draw(config, opened)
            raise
        _draw(config, opened)
        shape = splits.train.image_shape
        step, states = opened.load(recipe, shape, members=len(config.all_seeds), mesh=mesh)
        test = evaluate(recipe, states, splits.test, mesh=mesh)
        result = _result(config, splits.notes, opened, step, test)
        opened.finish(result)
    say(_summary(config, result))
    return result


def kept_steps(config: Training, train: "Dataset") -> range:
    """The steps whose checkpoints ``config.keep_every`` keeps."""
    from cnnlab.data.batches import steps_per_epoch

    if config.keep_every is None:
        return range(0)
    if config.keep_every < 1:
        raise ValueError(f"keep_every must be at least 1 epoch, got {config.keep_every}.")
    per_epoch = steps_per_epoch(len(train), config.batch_size, config.remainder)
    every = per_epoch * config.keep_every
    return range(every, per_epoch * config.epochs + 1, every)


def open_run(config: Training, keep_steps: Collection[int] = ()) -> "Run":
    """A new run in the config's directory, or the one that it resumes."""
    from cnnlab.train import records
    from cnnlab.train.environment import differences, environment
    from cnnlab.train.run import ENVIRONMENT, Run, numbered

    project = pathlib.Path(__file__).resolve().parent
    now = environment(project, os.environ.get("XLA_FLAGS"))
    if config.resume is not None:
        before = records.read_json(config.resume / ENVIRONMENT)
        for line in differences(before, now):
            print(f"warning: not the machine that the run began on, so not the same bits: {line}")
        return Run.resume(config.resume, keep=config.keep, keep_steps=keep_steps)
    name = config.dataset.replace("/", "-").replace(":", "-")
    directory = config.run_dir or numbered(config.runs, f"{name}-{config.model}")
    about = {"experiment": experiment_of(type(config)), **plain(config)}
    return Run.create(directory, about, now, keep=config.keep, keep_steps=keep_steps)


def epochs_of(
    config: Training,
    opened: "Run",
    recipe: "Recipe",
    train: "Dataset",
    validation: "Dataset | None",
    mesh: "Mesh",
    **settings: Any,
) -> Iterator["Position"]:
    """Trains in the run directory ``opened`` as ``config`` says: what ``Run.fit`` yields.

    Args:
      config: what was asked for.
      opened: where it is recorded.
      recipe: network, optimiser, loss, augmentation.
      train: the training part.
      validation: evaluated after each epoch, or None.
      mesh: where it runs.
      **settings: of ``Run.fit``, besides those that the config has, or in their place.
    """
    from cnnlab.report.progress import Progress

    given: dict[str, Any] = {
        "epochs": config.epochs,
        "seeds": config.all_seeds,
        "display": None if config.quiet else Progress,
        "checkpoint_steps": config.checkpoint_steps,
        "batch_size": config.batch_size,
        "remainder": config.remainder,
        "stream": config.stream,
        "steps_per_call": config.steps_per_call,
    }
    clocks: dict[str, Any] = {"clock": time.perf_counter, "wall_clock": time.time}
    return opened.fit(recipe, train, validation, mesh=mesh, **clocks, **{**given, **settings})


def _draw(config: Training, opened: "Run") -> None:
    import jax

    from cnnlab.report import drawing, figures
    from cnnlab.train import records

    if jax.process_index() > 0:
        return
    metrics = opened.directory / records.METRICS_FILE
    if metrics.exists() and (found := records.read_metrics(metrics)):
        title = f"{config.model} on {config.dataset}"
        path = opened.directory / "figures" / "curves.png"
        drawing.save(figures.curves(found, title=title), path)


def _result(
    config: Config, notes: str, opened: "Run", step: int, test: dict[str, Any]
) -> dict[str, Any]:
    from cnnlab.report.statistics import over_seeds
    from cnnlab.train import records
    from cnnlab.train.run import ENVIRONMENT

    return {
        "experiment": "train",
        "dataset": config.dataset,
        "data": notes,
        "model": config.model,
        "seeds": config.all_seeds,
        "test": {name: over_seeds(values) for name, values in test.items()},
        "step": step,
        "best_step": opened.checkpoints.best_step(),
        "seconds": round(opened.seconds, 1),
        "config": plain(config),
        "environment": records.read_json(opened.directory / ENVIRONMENT),
        "run_dir": str(opened.directory),
    }


def _summary(config: Config, result: dict[str, Any]) -> str:
    from cnnlab.report.statistics import percent

    return (
        f"{config.model} on {config.dataset}: test accuracy {percent(result['test']['accuracy'])}, "
        f"{result['seconds']:.0f} s of training; see {result['run_dir']}"
    )


def main() -> None:
    """The command line."""
    command_line("experiments.train", run, Config(), __doc__)


if __name__ == "__main__":
    main()

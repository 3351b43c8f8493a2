"""What fine-tuning has learned, handed on: whole networks as finished runs of their own.

The parts of a fine-tuning hold what was trained: behind a cache a rest without its front, and the
memory of an optimizer that knows what learns only. Here the networks are put together and written
to ``RUN/networks/RECIPE`` as ``experiments.train`` would have written them, with the statistics
that their images are normalised by; ``experiments.finished`` reads them like any other run.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from experiments.config import Training, from_plain, load_data, make_recipe, plain
from experiments.finished import config_of, write_statistics
from experiments.parts import Whole, any_process
from experiments.train import Config

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from cnnlab.train import Recipe, TrainState
    from experiments.finetuning import Tuned

FOLDER = "networks"
BEFORE = "learned_from"
"""In config.json: how what the networks began with was trained, the latest training first."""


def hand_on(
    tuned: "Tuned",
    config: Training,
    whole: Whole,
    splits: "Splits",
    shown: "Dataset",
    found: Mapping[str, Any],
    before: "list[dict[str, Any]]",
) -> pathlib.Path:
    """Writes the networks of a recipe; what is there already stays as it is.

    Args:
      tuned: the networks.
      config: how they were trained; its normalization is theirs.
      whole: the experiment.
      splits: the data.
      shown: the training part with the statistics that images were normalised by.
      found: what result.json says of them, besides.
      before: as ``trainings`` gives it, of what they began with.

    Returns:
      Their directory.
    """
    from cnnlab.train.recorder import first_process
    from cnnlab.train.run import CONFIG, RESULT, Run

    directory = whole.directory / FOLDER / tuned.name
    if any_process(first_process() and (directory / RESULT).is_file()):
        return directory
    own = as_training(config)
    if any_process(first_process() and (directory / CONFIG).is_file()):
        opening = Run.resume(directory)  # it was stopped in here
    else:
        about = {"experiment": "finetune", "part_of": whole.directory.name, **plain(own)}
        opening = Run.create(directory, {**about, BEFORE: before}, whole.environment)
    with opening as run:
        run.stop.__exit__()  # nothing is lost: it would be done again
        if first_process() and shown.statistics is not None:
            write_statistics(directory, shown.statistics)
        step = _save(run, make_recipe(own, shown), tuned.states, own, splits)
        run.finish(
            {
                "experiment": "finetune",
                "part_of": whole.directory.name,
                "recipe": tuned.name,
                "dataset": own.dataset,
                "data": splits.notes,
                "model": own.model,
                "seeds": own.all_seeds,
                **found,
                "step": step,
                "config": plain(own),
                "environment": whole.environment,
                "run_dir": str(directory),
            }
        )
    return directory


def as_training(config: Training) -> Config:
    """What ``experiments.train`` would train so, of a config with further fields."""
    names = [field.name for field in dataclasses.fields(Config)]
    values = {name: getattr(config, name) for name in names}
    return Config(**{**values, "resume": None, "run_dir": None})


def trainings(
    directory: pathlib.Path, data_dir: pathlib.Path | None = None
) -> list[dict[str, Any]]:
    """How the networks of a run were trained, then what they began with, and so on: plain configs.

    Args:
      directory: of the run.
      data_dir: where its own data are, if not where the run found them.
    """
    from cnnlab.train.run import read_config

    return [plain(config_of(directory, data_dir)), *read_config(directory).get(BEFORE, [])]


def check_unseen_before(
    directory: pathlib.Path, test: "Dataset", say: Callable[[str], Any]
) -> None:
    """Refuses networks that had trained on images of a test part before they were tuned.

    Args:
      directory: of their run.
      test: what they must not have seen.
      say: is told where the data of an earlier training are gone.

    Raises:
      ValueError: if they have.
    """
    from experiments.origins import check_unseen

    for fields in trainings(directory)[1:]:
        config: Config = from_plain(Config, fields)
        classes = "" if config.classes is None else f", {', '.join(config.classes)}"
        named = f"{config.dataset}{classes}"
        try:
            own = load_data(config)
        except FileNotFoundError as error:
            say(f"note: whether {directory} had seen the test part in {named} is unknown: {error}")
        else:
            check_unseen(own, test, f"the network that {directory} began with, of {named},")


def _save(
    run: Any, recipe: "Recipe", states: "TrainState", config: Training, splits: "Splits"
) -> int:
    """The whole networks with a fresh optimizer's state, as a checkpoint at their step."""
    from cnnlab.data.dataset import fingerprint
    from cnnlab.mesh import fetch, make_mesh
    from cnnlab.train.program import no_sums
    from cnnlab.train.start import begun_from
    from cnnlab.train.state import restarted

    members = len(config.all_seeds)
    mesh = make_mesh(members, member_axis=config.member_axis)
    step = int(fetch(states.step)[0])
    fresh = restarted(recipe, states.params, states.model_state)
    fresh = fresh._replace(step=states.step, average=states.average)
    placed = begun_from(recipe, splits.train.image_shape, fresh, members, mesh)
    parts = (splits.train, splits.validation)
    data = [fingerprint(part) for part in parts if part is not None]
    meta = {"best": None, "seconds": 0.0, "data": data}
    run.checkpoints.save(step, {"states": placed, "sums": no_sums(members, mesh)}, meta)
    run.checkpoints.wait()
    return step

"""Networks saved as finished runs of their own, in ``RUN/networks/NAME``.

The trainings of a fine-tuning hold what was trained: after a cached front a tail without it, and
the state of an optimizer of what learns only. Here the networks are put together and written as
``experiments.train`` would have written them, with the statistics that their images are normalised
by, so that ``trained.load_run`` reads them like any other run.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.data import Dataset, Splits, fingerprint
from cnnlab.data.record import DataRecord
from cnnlab.mesh import fetch, make_mesh
from cnnlab.processes import any_process, first_process
from cnnlab.run_directory import CONFIG, DATA, RESULT
from cnnlab.studies.build import make_recipe
from cnnlab.studies.network_sources import source_files
from cnnlab.studies.provenance import PastTraining
from cnnlab.studies.run_data import HISTORY, history_file
from cnnlab.studies.settings import Training, experiment_name, to_json
from cnnlab.studies.study import Study
from cnnlab.train import TrainState, restarted
from cnnlab.train.program import no_sums
from cnnlab.train.run import Run
from cnnlab.train.start import place_initial_states

FOLDER = "networks"


def save_networks(
    s: Study[Any],
    name: str,
    states: TrainState,
    config: Training,
    splits: Splits,
    normalized: Dataset,
    about: Mapping[str, Any],
    history: Sequence[PastTraining],
) -> pathlib.Path:
    """Saves networks as a run; what is saved already stays as it is.

    Args:
      s: the study.
      name: of the networks, and of their folder.
      states: of whole networks, ``[M, ...]``.
      config: how they were trained; its normalization is theirs.
      splits: the data.
      normalized: the training part with the statistics that images were normalised by.
      about: further fields of their result.json.
      history: how the networks that they began with were trained, as of ``training_history``.

    Returns:
      Their directory.
    """
    directory = s.directory / FOLDER / name
    if any_process(first_process() and (directory / RESULT).is_file()):
        return directory
    own = as_training(config)
    experiment = {"experiment": experiment_name(type(s.config)), "part_of": s.directory.name}
    environment = s.environment
    if any_process(first_process() and (directory / CONFIG).is_file()):
        opening = Run.resume(directory)  # it was stopped in here
    else:
        fields = {**experiment, **to_json(own), HISTORY: [past.config for past in history]}
        record = DataRecord.of(splits)
        record = dataclasses.replace(record, statistics=normalized.statistics)
        files = {history_file(i): past.record.write() for i, past in enumerate(history)}
        files |= {DATA: record.write(), **source_files(own)}
        opening = Run.create(directory, fields, environment, files=files)
    with opening as run:
        step = _save(run, states, own, splits, normalized)
        run.finish(
            {
                **experiment,
                "recipe": name,
                "dataset": own.data_name,
                "data": splits.notes,
                "model": own.model,
                "seeds": own.all_seeds,
                **about,
                "step": step,
                "config": to_json(own),
                "environment": environment,
                "run_dir": str(directory),
            }
        )
    return directory


def as_training(config: Training) -> Training:
    """The settings that ``experiments.train`` would have, of a config with further fields."""
    names = [field.name for field in dataclasses.fields(Training)]
    values = {name: getattr(config, name) for name in names}
    return Training(**{**values, "resume": None, "run_dir": None})


def _save(
    run: Run, states: TrainState, config: Training, splits: Splits, normalized: Dataset
) -> int:
    """Saves whole networks with a fresh optimizer's state, as a checkpoint at their step."""
    recipe = make_recipe(config, normalized)
    members = len(config.all_seeds)
    mesh = make_mesh(members, member_axis=config.member_axis)
    step = int(fetch(states.step)[0])
    fresh = restarted(recipe, states.params, states.model_state)
    fresh = fresh._replace(step=states.step, average=states.average)
    placed = place_initial_states(recipe, splits.train.image_shape, fresh, members, mesh)
    data = [fingerprint(part) for part in (splits.train, splits.validation) if part is not None]
    meta = {"best": None, "seconds": 0.0, "data": data}
    run.checkpoints.save(step, {"states": placed, "sums": no_sums(members, mesh)}, meta)
    run.checkpoints.wait()
    return step

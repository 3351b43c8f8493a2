"""Trained networks: of a run, one of several."""

import numpy as np
import pytest

from cnnlab.run_directory import ResumeError
from cnnlab.studies import trained
from cnnlab.train import evaluate


def test_a_run_is_loaded_with_all_that_is_known_of_it(finished):
    directory, result = finished
    networks = trained.load_run(directory)
    scores = evaluate(networks.recipe, networks.states, networks.splits.test)
    np.testing.assert_allclose(scores["accuracy"], result["test"]["accuracy"]["values"])
    assert (networks.members, networks.seeds, networks.step) == (2, (0, 1), result["step"])
    assert networks.name == "mlp of run" and networks.image_shape == (6, 6, 1)
    assert networks.class_names == networks.splits.train.class_names
    assert networks.statistics == networks.splits.train.statistics


def test_one_of_several_networks_is_chosen_by_its_number(finished):
    networks = trained.load_run(finished[0])
    with pytest.raises(ValueError, match="are 2 networks: choose one"):
        _ = networks.variables
    second = networks.member(1)
    kernel = second.variables["params"]["head"]["dense"]["kernel"]
    np.testing.assert_array_equal(kernel, networks.states.params["head"]["dense"]["kernel"][1])
    assert second.name == "mlp of run, seed 1" and second.seeds == (1,)
    with pytest.raises(ValueError, match="members 0 to 1, got 2"):
        networks.member(2)


def test_unfinished_runs_are_refused(tmp_path, finished):
    with pytest.raises(ResumeError, match="there is no run"):
        trained.load_run(tmp_path)
    (tmp_path / "config.json").write_text('{"experiment": "probe"}')
    with pytest.raises(ResumeError, match=r"one of experiments\.probe and holds no networks"):
        trained.load_run(tmp_path)
    with pytest.raises(ResumeError, match="must be finished"):
        trained.check_finished(tmp_path)
    trained.check_finished(finished[0])

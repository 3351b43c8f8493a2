"""A teacher's outputs, which are computed once and kept."""

import types

import jax
import numpy as np
import pytest

from cnnlab.run_directory import write_config
from cnnlab.studies import build, teachers
from cnnlab.studies.settings import Training
from cnnlab.studies.stored import stored_arrays
from cnnlab.studies.teachers import Teacher, cached_teacher_logits, network_accuracies
from cnnlab.train import init_state, predict

TINY = Training(dataset="synthetic:60:4x4x1:3", model="mlp", batch_size=18, seeds=2)


@pytest.fixture(scope="module")
def splits():
    return build.load_data(TINY)


@pytest.fixture(scope="module")
def teacher(splits):
    """Two networks."""
    recipe = build.make_recipe(TINY, splits.train)
    networks = [init_state(recipe, jax.random.key(seed), (4, 4, 1)) for seed in TINY.all_seeds]
    states = jax.tree.map(lambda *leaves: np.stack(leaves), *networks)
    return Teacher(recipe, states, "2 x mlp", None)


def test_logits_are_computed_once_and_kept_by_part_rule_and_temperature(
    tmp_path, monkeypatch, splits, teacher
):
    def cached(path, compute):
        return stored_arrays(tmp_path, path, compute, pytest.fail)

    write_config(tmp_path, {})
    s = types.SimpleNamespace(directory=tmp_path, cached=cached)
    logits = cached_teacher_logits(s, teacher, "test", splits.test)
    mean = predict(teacher.recipe, teacher.states, splits.test).mean(0)
    np.testing.assert_allclose(logits, mean, rtol=1e-5, atol=1e-6)
    options = {"rule": "probabilities", "temperature": 2.5}
    cached_teacher_logits(s, teacher, "test", splits.test, **options)
    files = sorted(path.name for path in (tmp_path / "targets").iterdir())
    assert files == ["test-probabilities-T2.5.npz", "test.npz"]
    monkeypatch.setattr(teachers, "teacher_logits", None)
    again = cached_teacher_logits(s, teacher, "test", splits.test)
    np.testing.assert_array_equal(again, logits)


def test_each_network_of_a_teacher_has_its_own_accuracy(splits, teacher):
    answers = predict(teacher.recipe, teacher.states, splits.test).argmax(-1)
    accuracy = (answers == splits.test.labels).mean(1)
    assert network_accuracies(teacher, splits.test)["values"] == accuracy.tolist()

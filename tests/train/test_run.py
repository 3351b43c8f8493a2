"""A run on the disk: what it leaves, how it is interrupted, and how it goes on."""

import itertools
import json
import os
import re
import shutil
import signal
import time

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, data, models, optim, train
from cnnlab.files import read_checked_json
from cnnlab.run_directory import read_config
from cnnlab.train.checkpoint import CheckpointError, Checkpoints
from cnnlab.train.recorder import Interrupted, Recording
from cnnlab.train.records import read_metrics
from cnnlab.train.run import ResumeError, Run, numbered


@pytest.fixture(scope="module")
def splits():
    return data.load("synthetic:120:6x6x1:3")


@pytest.fixture(scope="module")
def recipe(splits):
    statistics = splits.train.statistics
    return train.Recipe(
        models.create("mlp", 3, widths=(8,)),
        optim.sgd(0.05),
        augment.normalize(statistics.mean, statistics.std),
        augment.crop(1),
        ema_decay=0.9,
    )


def follow(run, recipe, splits, **settings):
    """The epochs of a recorded run."""
    with run:
        options = train.FitOptions(
            **{"epochs": 4, "batch_size": 20, "steps_per_call": 1, **settings}
        )
        recording = Recording(clock=time.perf_counter)
        yield from run.fit(recipe, splits.train, splits.validation, options, recording)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, recipe, splits):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    epochs = list(follow(Run.create(directory, {}, {}), recipe, splits))
    return directory, epochs


def same_leaves(left, right):
    return all(
        (np.asarray(a) == np.asarray(b)).all()
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )


def test_it_leaves_records_checkpoints_and_events(finished):
    directory, epochs = finished
    records = read_metrics(directory / "metrics.jsonl")
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert records[-1]["validation/accuracy"] == epochs[-1].metrics["validation/accuracy"][0]
    assert (directory / "checkpoints" / str(epochs[-1].step)).is_dir()
    assert list((directory / "tensorboard").glob("events*"))


def test_a_newest_checkpoint_that_is_gone_is_noted_where_the_one_before_is_read(
    tmp_path, recipe, splits, finished
):
    directory = tmp_path / "run"
    shutil.copytree(finished[0], directory)
    messages = []

    def loaded_step():
        with Run.read(directory, say=messages.append) as run:
            return run.load(recipe, splits.train.image_shape)[0]

    last = finished[1][-1].step
    assert loaded_step() == last
    assert not messages
    shutil.rmtree(directory / "checkpoints" / str(last))
    before = loaded_step()
    assert before < last
    (message,) = messages
    assert f"records up to step {last}, but no checkpoint after step {before}" in message


def interrupted_after(count, number, run, recipe, splits, **settings):
    """Sends itself a signal after so many epochs; returns the interruption."""
    with pytest.raises(Interrupted) as raised:
        for epoch in follow(run, recipe, splits, **settings):
            if epoch.epoch == count:
                os.kill(os.getpid(), number)
    return raised.value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_within_the_epoch_and_the_run_goes_on_to_the_same_bits(
    tmp_path, recipe, splits, finished, number
):
    before = signal.getsignal(number)
    interrupted = interrupted_after(2, number, Run.create(tmp_path / "run", {}, {}), recipe, splits)
    assert interrupted.signal == number and interrupted.directory == tmp_path / "run"
    assert signal.getsignal(number) == before
    per_epoch = finished[1][0].steps_per_epoch
    assert 2 * per_epoch < interrupted.step < 3 * per_epoch  # in the midst of an epoch
    epochs = list(follow(Run.resume(tmp_path / "run"), recipe, splits))
    assert [epoch.epoch for epoch in epochs] == [3, 4]
    assert same_leaves(epochs[-1].states, finished[1][-1].states)
    assert read_metrics(tmp_path / "run/metrics.jsonl") == read_metrics(
        finished[0] / "metrics.jsonl"
    )


def test_records_after_the_checkpoint_are_written_once_after_a_resume(
    tmp_path, recipe, splits, finished
):
    list(itertools.islice(follow(Run.create(tmp_path / "run", {}, {}), recipe, splits), 2))
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 10**6, "epoch": 9}) + '\n{"step": 5, "tor')
    list(follow(Run.resume(tmp_path / "run"), recipe, splits))
    assert read_metrics(tmp_path / "run/metrics.jsonl") == read_metrics(
        finished[0] / "metrics.jsonl"
    )


def test_a_damaged_checkpoint_is_passed_over_and_written_again(tmp_path, recipe, splits, finished):
    list(itertools.islice(follow(Run.create(tmp_path / "run", {}, {}), recipe, splits), 3))
    newest = max((tmp_path / "run/checkpoints").iterdir(), key=lambda path: int(path.name))
    arrays = max((newest / "tree").rglob("d/*"), key=lambda path: path.stat().st_size)
    damaged = bytearray(arrays.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    arrays.write_bytes(damaged)
    with pytest.warns(UserWarning, match=re.escape(str(newest))):
        epochs = list(follow(Run.resume(tmp_path / "run"), recipe, splits))
    assert epochs[0].epoch == 3
    assert same_leaves(epochs[-1].states, finished[1][-1].states)


def test_the_best_score_survives_a_resume_and_a_worse_epoch(tmp_path, recipe, splits):
    def scored(at, score):
        metrics = {"validation/accuracy": np.array([score]), "validation/loss": np.zeros(1)}
        return at.metrics | metrics

    scores = iter([0.4, 0.9, 0.1, 0.2])

    import cnnlab.train.run as module

    def graded(*args, **kwargs):
        import dataclasses

        for at in train.steps(*args, **kwargs):
            if at.metrics is not None:
                at = dataclasses.replace(at, metrics=scored(at, next(scores)))
            yield at

    original, module.steps = module.steps, graded
    try:
        list(itertools.islice(follow(Run.create(tmp_path / "run", {}, {}), recipe, splits), 2))
        best = 2 * (len(splits.train) // 20)
        run = Run.resume(tmp_path / "run")
        list(follow(run, recipe, splits))
    finally:
        module.steps = original
    with Run.resume(tmp_path / "run") as opened:
        assert opened.checkpoints.best_step() == best
        assert opened.load(recipe, splits.train.image_shape, best=True)[0] == best


def test_a_finished_run_has_nothing_left_to_do(finished, recipe, splits):
    assert list(follow(Run.resume(finished[0]), recipe, splits)) == []


def test_divergence_keeps_the_last_good_checkpoint(tmp_path, recipe, splits):
    import dataclasses

    hot = dataclasses.replace(recipe, optimizer=optim.sgd(lambda step: 0.05 * 1e38 ** (step > 7)))
    per_epoch = len(splits.train) // 20
    assert per_epoch < 7
    with pytest.raises(train.DivergedError):
        list(follow(Run.create(tmp_path / "run", {}, {}), hot, splits))
    with Run.resume(tmp_path / "run") as opened:
        step, states = opened.load(hot, splits.train.image_shape)
    assert step == per_epoch
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states.params))


def test_other_data_are_refused_on_resume(tmp_path, recipe, splits):
    next(follow(Run.create(tmp_path / "run", {}, {}), recipe, splits))
    other = data.load("synthetic:120:6x6x1:3", split_seed=1)
    with pytest.raises(ResumeError, match="fingerprints"):
        next(follow(Run.resume(tmp_path / "run"), recipe, other))


def test_a_directory_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    Run.create(tmp_path / "mine", {}, {})  # an empty one is fine
    with pytest.raises(FileExistsError, match="--resume"):
        Run.create(tmp_path / "mine", {"other": 1}, {})
    assert read_config(tmp_path / "mine") == {}
    with pytest.raises(ResumeError, match="there is no run in"):
        Run.resume(tmp_path / "nothing")


def test_run_directories_are_numbered(tmp_path):
    (tmp_path / "digits-1").mkdir()
    assert [numbered(tmp_path, "digits").name for _ in range(2)] == ["digits-2", "digits-3"]
    Run.create(numbered(tmp_path, "digits"), {}, {})


def test_missing_checkpoints_are_an_error_not_a_fresh_start(tmp_path, recipe, splits):
    list(follow(Run.create(tmp_path / "run", {}, {}), recipe, splits))
    shutil.rmtree(tmp_path / "run/checkpoints")
    with pytest.raises(ResumeError, match="checkpoints .* are gone"):
        next(follow(Run.resume(tmp_path / "run"), recipe, splits))


def test_a_watched_part_is_recorded_and_chooses_nothing(tmp_path, recipe, splits):
    options = train.FitOptions(epochs=1, batch_size=20)
    recording = Recording(clock=time.perf_counter)
    with Run.create(tmp_path / "run", {}, {}) as run:
        (epoch,) = run.fit(recipe, splits.train, train.Watched(splits.test), options, recording)
        assert run.checkpoints.best_step() is None
        with pytest.raises(ValueError, match=r"must not be chosen by the test part.*Watched"):
            run.fit(recipe, splits.train, splits.test, options, recording)
    (record,) = read_metrics(tmp_path / "run/metrics.jsonl")
    assert record["watched/accuracy"] == epoch.metrics["watched/accuracy"][0]
    assert not any(name.startswith("validation") for name in record)


def test_without_validation_there_is_no_best(tmp_path, recipe, splits):
    options, recording = (
        train.FitOptions(epochs=1, batch_size=20),
        Recording(clock=time.perf_counter),
    )
    with Run.create(tmp_path / "run", {}, {}) as run:
        list(run.fit(recipe, splits.train, None, options, recording))
    with Run.read(tmp_path / "run") as run, pytest.raises(CheckpointError, match="no best"):
        run.load(recipe, splits.train.image_shape, best=True)


def test_a_kept_step_is_what_the_run_was_then_and_another_one_is_named(tmp_path, recipe, splits):
    run = Run.create(tmp_path / "run", {}, {}, keep_steps=(5,))
    epochs = list(follow(run, recipe, splits))
    with Run.read(tmp_path / "run") as opened:
        step, states = opened.load(recipe, (6, 6, 1), step=5)
        assert step == 5 and same_leaves(states, epochs[0].states)
        with pytest.raises(
            CheckpointError, match=r"no checkpoint of step 10; it has 5, .*keep_steps="
        ):
            opened.load(recipe, (6, 6, 1), step=10)


def test_a_run_can_begin_with_given_states(tmp_path, recipe, splits, finished):
    _, epochs = finished
    first = epochs[0].states
    initial = first._replace(step=jnp.zeros_like(first.step))
    (one,) = follow(Run.create(tmp_path / "run", {}, {}), recipe, splits, epochs=1, initial=initial)
    *_, plain = train.fit(recipe, splits.train, epochs=1, batch_size=20, initial=initial)
    assert same_leaves(one.states, plain.states)


def test_what_it_was_to_keep_is_kept_by_a_resume_that_does_not_say_so(tmp_path, recipe, splits):
    """Created to keep step 5, resumed to keep step 10 besides, then without a word."""
    run = Run.create(tmp_path / "run", {}, {}, keep_steps=(5,))
    list(itertools.islice(follow(run, recipe, splits), 1))
    run = Run.resume(tmp_path / "run", keep_steps=[10])
    list(itertools.islice(follow(run, recipe, splits), 1))
    list(follow(Run.resume(tmp_path / "run"), recipe, splits, epochs=6))
    with Run.read(tmp_path / "run") as opened:
        assert {5, 10} < set(opened.checkpoints.steps())
        with pytest.raises(ValueError, match="not both"):
            opened.load(recipe, (6, 6, 1), best=True, step=5)


def test_given_states_get_the_hyperparameters_and_a_resume_has_them(tmp_path, splits):
    """A factor of zero trains nothing: so each member shows which factor it has."""
    recipe = train.Recipe(
        models.linear(3), optim.create("sgd", 0.05, varied=True), augment.to_unit_range()
    )
    fresh = train.init_state(recipe, jax.random.key(0), (6, 6, 1))
    initial = jax.tree.map(lambda x: jnp.stack([x, x]), fresh)
    settings = {
        "seeds": (1, 1),
        "initial": initial,
        "hyperparameters": {"learning_rate_factor": [0.0, 1.0]},
        "epochs": 2,
    }
    first = next(follow(Run.create(tmp_path / "run", {}, {}), recipe, splits, **settings))
    (last,) = follow(Run.resume(tmp_path / "run"), recipe, splits, **settings)
    for at in (first, last):
        kernels = np.asarray(at.states.params["head"]["dense"]["kernel"])
        assert (kernels[0] == 0).all() and (kernels[1] != 0).any()


def test_two_resumes_at_once_are_refused(tmp_path, recipe, splits):
    epochs = follow(Run.create(tmp_path / "run", {}, {}), recipe, splits)
    next(epochs)
    with pytest.raises(ResumeError, match=f"being written by process {os.getpid()} on "):
        Run.resume(tmp_path / "run")
    with Run.read(tmp_path / "run") as reading:  # which disturbs nobody
        assert reading.load(recipe, splits.train.image_shape)[0] > 0
    epochs.close()
    assert len(list(follow(Run.resume(tmp_path / "run"), recipe, splits))) == 3


def test_a_run_whose_first_checkpoint_could_not_be_written_can_be_resumed(
    tmp_path, recipe, splits, finished, monkeypatch
):
    """The disk is full when the first checkpoint is committed, in the background."""
    run = Run.create(tmp_path / "run", {}, {})
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "wait", full_disk)
        with pytest.raises(CheckpointError, match="disk is full"):
            list(follow(run, recipe, splits))
    assert len(read_metrics(tmp_path / "run/metrics.jsonl")) == 1
    shutil.rmtree(tmp_path / "run/checkpoints")
    with pytest.warns(UserWarning, match="no checkpoint was saved yet"):
        epochs = list(follow(Run.resume(tmp_path / "run"), recipe, splits))
    assert same_leaves(epochs[-1].states, finished[1][-1].states)
    assert read_metrics(tmp_path / "run/metrics.jsonl") == read_metrics(
        finished[0] / "metrics.jsonl"
    )


def full_disk(self):
    raise CheckpointError("the disk is full")


@pytest.mark.parametrize("damage", ["deleted", "emptied", "a number changed"])
def test_lost_or_changed_records_are_named_on_a_resume(tmp_path, recipe, splits, damage):
    list(itertools.islice(follow(Run.create(tmp_path / "run", {}, {}), recipe, splits), 2))
    path = tmp_path / "run/metrics.jsonl"
    if damage == "deleted":
        path.unlink()
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 7'))
    with pytest.warns(UserWarning, match=r"metrics\.jsonl is not what it was at step"):
        list(follow(Run.resume(tmp_path / "run"), recipe, splits))


@pytest.mark.parametrize("text", ["", "null", '{"steps": 5}', '{"steps": ["a"]}', "flip", None])
def test_damaged_steps_to_keep_are_named_and_those_of_the_start_stay(tmp_path, text):
    with Run.create(tmp_path / "run", {}, {}, keep_steps=(5,)):
        pass
    path, said = tmp_path / "run/keep_steps.json", []
    if text is None:
        path.unlink()
    else:
        path.write_text(path.read_text().replace("5", "4", 1) if text == "flip" else text)
    with Run.resume(tmp_path / "run", say=said.append) as run:
        assert run._keep_steps == {5}
    assert text is None or "keep_steps.json is damaged" in said[0]


def test_a_result_that_was_changed_is_not_read(tmp_path):
    with Run.create(tmp_path / "run", {}, {}) as run:
        run.finish({"accuracy": 0.75})
    path = tmp_path / "run/result.json"
    assert read_checked_json(path) == {"accuracy": 0.75}
    path.write_text(path.read_text().replace("0.75", "0.95"))
    with pytest.raises(ValueError, match=r"result\.json was changed or damaged"):
        read_checked_json(path)


def test_fewer_than_two_checkpoints_are_refused_before_the_directory_is_made(tmp_path):
    with pytest.raises(ValueError, match="at least 2"):
        Run.create(tmp_path / "run", {}, {}, keep=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("steps_per_call", "at"), [(None, [5, 10, 15, 20]), (3, [6, 10, 16, 20])])
def test_checkpoints_within_an_epoch_are_saved_where_a_compiled_call_would_be_longer(
    tmp_path, recipe, splits, steps_per_call, at
):
    settings = {"epochs": 2, "batch_size": 10, "steps_per_call": steps_per_call}
    *_, plain = follow(Run.create(tmp_path / "plain", {}, {}), recipe, splits, **settings)

    with Run.create(tmp_path / "run", {}, {}, keep=9) as run:
        options = train.FitOptions(**settings)
        recording = Recording(clock=time.perf_counter, checkpoint_steps=5)
        *_, last = run.fit(recipe, splits.train, splits.validation, options, recording)
        saved = run.checkpoints.steps()
    assert saved == at and same_leaves(last.states, plain.states)

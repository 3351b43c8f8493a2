"""Snapshots: where they are taken, at which rates, and that a killed run has the same ones."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.data.batches import steps_per_epoch
from cnnlab.ensemble import concatenate_members
from cnnlab.signals import StopSignals
from cnnlab.studies import study
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.train import states_of
from cnnlab.train.checkpoint import CheckpointError
from cnnlab.train.recorder import Interrupted
from cnnlab.train.run import Run
from experiments import cli, snapshot
from experiments.snapshot.cycles import cycle_schedule, snapshot_ends
from experiments.snapshot.experiment import published_difference, train_fresh_starts
from experiments.snapshot.summary import summary_lines

TINY = snapshot.Config(
    dataset="synthetic:90:6x6x1:3",
    model="mlp",
    model_options=("widths=(6,)",),
    epochs=4,
    cycles=2,
    batch_size=15,
    learning_rate=0.05,
    seeds=2,
    quiet=True,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, snapshot.run(dataclasses.replace(TINY, run_dir=directory))


def kept(directory):
    """The parameters of the snapshots on the disk, by step."""
    config = dataclasses.replace(TINY, run_dir=directory)
    train = load_data(config).train
    per_epoch = steps_per_epoch(len(train), config.batch_size)
    recipe = make_recipe(config, train)
    actual = {}
    with Run.read(directory / "snapshots") as run:
        for epoch in (2, 4):
            actual[epoch] = run.load(recipe, (6, 6, 1), members=2, step=epoch * per_epoch)[1]
    return actual


def test_it_reports_the_single_network_and_the_snapshots(finished):
    directory, result = finished
    names = ["the single network", "the last 2 snapshots", "the last snapshot alone"]
    names.append("a snapshot alone, their mean")
    assert list(result["methods"]) == names
    for actual in result["methods"].values():
        assert len(actual["scores"]["accuracy"]["values"]) == 2
        assert actual["cost"]["epochs"] == 4
    costs = [result["methods"][name]["cost"]["multiply_adds"] for name in names]
    assert costs[1] == 2 * costs[0] == 2 * costs[2]
    # The last one of one snapshot is that snapshot; of all it is the ensemble.
    alone, both = result["by_count"]["mean"]
    assert alone == pytest.approx(result["methods"][names[2]]["scores"]["accuracy"]["mean"])
    assert both == pytest.approx(result["methods"][names[1]]["scores"]["accuracy"]["mean"])
    for figure in ("comparison", "by_count"):
        assert (directory / f"figures/{figure}.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((directory / "result.json").read_text())["ends"] == [2, 4]


def test_the_claim_is_the_difference_that_was_measured_beside_the_published_one(finished):
    _, result = finished
    [row] = result["claims"]
    less_error = result["methods"]["the last 2 snapshots"]["less_error"]
    assert row["values"] == pytest.approx(less_error["repetitions"]["values"])
    assert row["difference"] == "error of the single network - error of the last 2 snapshots"
    # The paper's single network is another one than a cosine's.
    assert row["published"] is None and "28.02, whose rate falls in steps" in row["source"]


@pytest.mark.parametrize(
    ("kind", "error"), [("cosine", 0.2419), ("none", 0.2697), ("reinitialised", 0.2630)]
)
def test_a_network_trained_by_steps_is_held_against_the_published_difference(kind, error):
    difference, source = published_difference(dataclasses.replace(TINY, kind=kind, schedule="step"))
    assert difference == pytest.approx(0.2802 - error) and f"{100 * error:.2f}" in source


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"triangle": (0.5, 0.1)}, "--triangle: only with --kind triangular"),
        ({"pretraining": 0.5}, "--pretraining: only with --kind triangular"),
        ({"kind": "reinitialised", "missing": "skip"}, "--missing: of no use"),
    ],
)
def test_options_that_a_kind_leaves_unused_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        snapshot.run(dataclasses.replace(TINY, **settings))


def test_the_summary_shows_all_methods_the_cycles_and_the_diversity(finished):
    text = "\n".join(summary_lines(finished[1]))
    for name in (*finished[1]["methods"], "snapshots after epochs 2, 4", "disagreement"):
        assert name in text


def test_a_killed_run_that_goes_on_has_the_same_snapshots_to_the_bit(
    finished, tmp_path, monkeypatch
):
    asked = iter([False] * 7 + [True] * 100)  # in the third epoch, with one snapshot taken
    config = dataclasses.replace(TINY, run_dir=tmp_path / "run", single=False, steps_per_call=2)
    with monkeypatch.context() as patch:
        patch.setattr(StopSignals, "__call__", lambda self: next(asked))
        with pytest.raises(Interrupted) as stopped:
            snapshot.run(config)
    assert stopped.value.directory == tmp_path / "run"
    assert 10 < stopped.value.step < 20
    snapshot.run(snapshot.Config(resume=tmp_path / "run", quiet=True))
    ours, theirs = kept(tmp_path / "run"), kept(finished[0])
    for epoch in (2, 4):
        for left, right in zip(
            jax.tree.leaves(ours[epoch]), jax.tree.leaves(theirs[epoch]), strict=True
        ):
            np.testing.assert_array_equal(left, right)
    assert not np.array_equal(
        *(np.asarray(ours[epoch].params["head"]["dense"]["kernel"]) for epoch in (2, 4))
    )


def test_a_snapshot_that_is_gone_is_named_or_left_out_on_request(finished, tmp_path, capsys):
    directory = tmp_path / "run"
    shutil.copytree(finished[0], directory)
    shutil.rmtree(directory / "snapshots/checkpoints/10")
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 10; .*--missing skip"):
        snapshot.run(snapshot.Config(resume=directory, quiet=True))
    result = snapshot.run(snapshot.Config(resume=directory, missing="skip", quiet=True))
    assert "the last 1 snapshots" in result["methods"] and result["taken"] == (4,)
    assert "going on without the checkpoint of step 10" in capsys.readouterr().out


# Where snapshots are taken, and at which rates


def at(**settings):
    config = dataclasses.replace(TINY, **settings)
    ends, note = snapshot_ends(config)
    schedule = cycle_schedule(config, ends, 15 * 10)  # ten steps an epoch
    return ends, note, schedule


def test_cosine_cycles_end_with_their_snapshots_as_in_the_paper():
    ends, note, schedule = at(epochs=6, cycles=3, learning_rate=0.2, warmup_epochs=0.0)
    assert ends == (2, 4, 6) and "do not divide" not in note
    t = np.arange(1, 61)
    wanted = 0.1 * (np.cos(np.pi * ((t - 1) % 20) / 20) + 1)
    np.testing.assert_allclose([float(schedule(step)) for step in t - 1], wanted, atol=1e-7)


def test_a_note_says_that_cycles_do_not_divide_the_epochs():
    ends, note, _ = at(epochs=7, cycles=3)
    assert ends == (3, 5, 7)
    assert "7 epochs do not divide by 3 cycles" in note


def test_growing_cycles_are_those_of_sgdr():
    ends, _, schedule = at(epochs=7, cycles=3, growth=2.0, learning_rate=0.1)
    assert ends == (1, 3, 7)
    np.testing.assert_allclose(
        [float(schedule(step)) for step in (0, 10, 30, 5, 20, 50)],
        [0.1] * 3 + [0.05] * 3,
        rtol=1e-6,
    )


def test_triangles_are_lowest_where_snapshots_are_taken_and_the_last_is_at_the_end():
    settings = {"epochs": 20, "cycles": 3, "kind": "triangular", "schedule": "constant"}
    ends, note, schedule = at(**settings, learning_rate=0.1)
    assert ends == (16, 18, 20) and "15 epochs of pretraining" in note
    rates = [float(schedule(step)) for step in range(200)]
    assert set(np.round(rates[:150], 6)) == {0.1}
    for end in ends:  # the update that made the snapshot had the lowest rate
        assert rates[10 * end - 1] == pytest.approx(0.0005, rel=1e-4)
        assert min(rates[150:]) == pytest.approx(rates[10 * end - 1])
    assert rates[169] == pytest.approx(0.05, rel=1e-4)


def test_one_triangle_goes_down_to_the_end_after_the_pretraining():
    settings = {"cycles": 1, "kind": "triangular", "schedule": "constant", "learning_rate": 0.1}
    ends, _, schedule = at(epochs=10, pretraining=0.9, **settings)
    assert ends == (10,)
    rates = [float(schedule(step)) for step in range(100)]
    assert set(np.round(rates[:90], 6)) == {0.1}
    assert (np.diff(rates[90:]) < 0).all() and rates[-1] == pytest.approx(0.0005, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cycles": 5}, "every cycle needs at least one"),
        ({"cycles": 0}, "cycles must be at least 1"),
        ({"kind": "triangular"}, "take more epochs, fewer cycles"),
        ({"last": 3}, "last must be 1 to 2 snapshots, got 3"),
        ({"kind": "triangular", "pretraining": -1.0}, r"pretraining must be in \[0, 1\)"),
        ({"kind": "triangular", "pretraining": 0.0, "growth": 2.0}, "do not grow"),
    ],
)
def test_invalid_cycles_are_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        snapshot.run(dataclasses.replace(TINY, run_dir=tmp_path / "run", **settings))
    assert not (tmp_path / "run").exists()


def test_fresh_starts_have_as_many_networks_for_the_same_epochs(monkeypatch):
    """With networks in the place of trainings: 3 epochs for 2 cycles of 2 repetitions."""
    asked = {}

    def train(self, name, recipe, train, validation=None, *, config, options, **settings):
        asked[name] = (options.epochs, options.seeds)
        assert config.epochs == options.epochs
        starts = [
            {"kernel": jnp.zeros((36, 3)), "bias": seed * jnp.eye(3)[0]} for seed in options.seeds
        ]
        states = concatenate_members(
            [states_of(recipe, {"params": {"head": {"dense": each}}}) for each in starts]
        )
        return study.Trained(states, {}, 3, 1.0)

    monkeypatch.setattr(study.Study, "train", train)
    config = dataclasses.replace(
        TINY, kind="reinitialised", epochs=3, model="linear", model_options=()
    )
    with study.open(config, cli.host()) as s:
        logits, seconds = train_fresh_starts(s, load_data(config))
    assert asked == {"cycle-of-2": (2, (0, 1)), "cycle-of-1": (1, (2, 3))}
    assert logits[:, :, 0, 0].tolist() == [[0, 1], [2, 3]] and seconds == 2.0


def test_without_cycles_the_last_snapshot_is_the_single_network(tmp_path):
    config = dataclasses.replace(
        TINY, kind="none", model="linear", model_options=(), seeds=1, run_dir=tmp_path / "run"
    )
    result = snapshot.run(config)
    assert result["taken"] == (2, 4)
    assert list(result["methods"])[:2] == ["the last 2 snapshots", "the last snapshot alone"]
    assert result["methods"]["the last snapshot alone"]["less_error"] is None
    assert not (tmp_path / "run/single").exists()
    [row] = result["claims"]
    assert row["published"] is None and row["verdict"] == "undecided"

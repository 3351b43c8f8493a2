"""Plain against residual networks: the experiment at tiny size, and what it concludes."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from scipy import stats

from cnnlab.models import mlp, registry
from cnnlab.run_directory import ResumeError, write_config
from cnnlab.signals import StopSignals
from cnnlab.studies import study, trained
from cnnlab.studies.build import load_data, make_network
from cnnlab.studies.host import Host
from cnnlab.train import DivergedError, predict
from cnnlab.train.recorder import Interrupted
from cnnlab.train.run import Run
from experiments import depth
from experiments.depth import training
from experiments.depth.claims import compare
from experiments.depth.summary import network_line

TINY = depth.Config(
    dataset="synthetic:60:6x6x1:3",
    depths=(20, 8),
    width=2,
    epochs=2,
    batch_size=15,
    seeds=2,
    quiet=True,
)
MODELS = ["plain8", "resnet8", "plain20", "resnet20"]


def use_small_networks(patch):
    """Puts perceptrons in the place of the convolutional networks, which take long to compile."""

    def small(num_classes, *, width):
        return mlp(num_classes, widths=(width,))

    patch.setattr(registry, "_MAKERS", {**registry._MAKERS, **dict.fromkeys(MODELS, small)})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        use_small_networks(patch)
        return directory, depth.run(dataclasses.replace(TINY, run_dir=directory))


def test_a_run_trains_both_kinds_at_both_depths_and_draws_them(finished):
    directory, result = finished
    assert list(result["architectures"]) == MODELS
    for name, errors in result["architectures"].items():
        lines = (directory / name / "metrics.jsonl").read_text().splitlines()
        # What is reported is what the test part gave after the last epoch.
        last = np.array(json.loads(lines[-1])["watched/accuracy"])
        np.testing.assert_allclose(errors["test_error"]["values"], 1 - last, atol=1e-6)
        assert len(errors["train_error"]["values"]) == 2 and errors["diverged"] == []
        with Run.read(directory / name) as run:
            assert run.checkpoints.best_step() is None  # nothing is chosen by the test part
    assert (directory / "figures/curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((directory / "result.json").read_text())["claims"] == result["claims"]


def test_an_architecture_s_folder_is_a_run_whose_networks_can_be_loaded(finished, monkeypatch):
    use_small_networks(monkeypatch)
    directory, result = finished
    networks = trained.load_run(directory / "plain8")
    test = networks.splits.test
    answers = predict(networks.recipe, networks.states, test).argmax(-1)
    wanted = result["architectures"]["plain8"]["test_error"]["values"]
    np.testing.assert_allclose((answers != test.labels).mean(1), wanted, atol=1e-6)


def test_a_resume_trains_only_what_is_missing(finished, monkeypatch):
    use_small_networks(monkeypatch)
    directory, result = finished
    models = []

    def train(_, config, *__):
        models.append(config.model)
        errors = training.join_seeds([training.guessing_errors(config, 3)] * 2)
        return {**errors, "seconds": 7.0}

    monkeypatch.setattr(training, "train", train)
    before = (directory / "plain20/result.json").read_text()
    (directory / "plain20/result.json").unlink()
    try:
        again = depth.run(depth.Config(resume=directory, quiet=True))
    finally:
        (directory / "plain20/result.json").write_text(before)
    assert models == ["plain20"]
    assert again["architectures"]["resnet20"] == result["architectures"]["resnet20"]
    assert again["architectures"]["plain20"]["test_error"]["mean"] == pytest.approx(2 / 3)
    with pytest.raises(ResumeError, match="width was 2, and is now 4"):
        depth.run(depth.Config(resume=directory, width=4))


def test_a_stop_in_the_last_epoch_begins_no_other_architecture(tmp_path, monkeypatch):
    use_small_networks(monkeypatch)
    monkeypatch.setattr(StopSignals, "__call__", lambda self: True)
    config = dataclasses.replace(TINY, epochs=1, warmup_epochs=0.0, run_dir=tmp_path / "run")
    with pytest.raises(Interrupted) as stopped:
        depth.run(config)
    assert stopped.value.directory == tmp_path / "run"  # what can be resumed
    assert stopped.value.step == 4
    assert [path.name for path in (tmp_path / "run").iterdir() if path.is_dir()] == ["plain8"]


def test_a_seed_that_diverges_counts_as_guessing_and_does_not_stop_the_others(
    tmp_path, monkeypatch
):
    def train(_, config, *__):
        if 1 in config.all_seeds:
            raise DivergedError(3, config.all_seeds, 0.1)
        curve = [[0.5], [0.25]]
        return {
            "errors": {"train": [0.25], "test": [0.25]},
            "curves": {"train": curve, "test": curve},
            "diverged": [],
            "seconds": 1.0,
        }

    monkeypatch.setattr(training, "train", train)
    for name in ("plain8", "plain8-seed0", "plain8-seed1", "plain8-seed2"):
        (tmp_path / "run" / name).mkdir(parents=True)
    write_config(tmp_path / "run", {})
    lines = []
    host = Host(lines.append, float, float, None, pathlib.Path("."))
    config = dataclasses.replace(TINY, model="plain8", seeds=3)
    monkeypatch.setattr(study.Study, "directory", tmp_path / "run")
    with study.open(config, host) as s:
        actual = training.train_or_read(s, config, "plain8", load_data(TINY))
    assert actual["errors"]["test"] == [0.25, pytest.approx(2 / 3), 0.25]
    assert actual["curves"]["test"][0] == [0.5, pytest.approx(2 / 3), 0.5]
    assert actual["diverged"] == [1] and actual["seconds"] == 2.0
    assert any("plain8, seeds 1: the loss is not finite at step 3" in line for line in lines)
    assert "counted as guessing: seeds 1" in network_line("plain8", actual)


def test_the_networks_have_the_depth_and_the_shortcuts_that_they_are_named_after():
    configs = depth.Config(depths=(20, 8), width=4).architectures()
    assert list(configs) == [(k, d) for d in (8, 20) for k in ("plain", "residual")]
    shapes = {}
    for (kind, layers), config in configs.items():
        network = make_network(config, 10)
        image = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
        made = jax.eval_shape(network.init, jax.random.key(0), image)["params"]
        kernels = [x for path, x in jax.tree.leaves_with_path(made) if "kernel" in str(path[-1])]
        assert len(kernels) == layers and kernels[-1].ndim == 4
        assert made["stem"]["conv"]["kernel"].shape == (3, 3, 3, 4)
        shortcuts = {stage.shortcut for _, stage in network.stages if hasattr(stage, "shortcut")}
        assert shortcuts == {"none" if kind == "plain" else "A"}
        shapes[kind, layers] = jax.tree.map(lambda x: x.shape, made)
    # Shortcuts without parameters: the twins are otherwise the same.
    assert shapes["plain", 20] == shapes["residual", 20]


PLAIN20, PLAIN56 = np.array([0.10, 0.12, 0.11, 0.09]), np.array([0.15, 0.18, 0.16, 0.16])
RESNET20, RESNET56 = np.array([0.09, 0.08, 0.10, 0.09]), np.array([0.10, 0.07, 0.09, 0.10])


def test_a_claim_is_reproduced_where_the_interval_of_the_paired_difference_excludes_zero():
    values = {
        ("plain", 20): PLAIN20,
        ("plain", 56): PLAIN56,
        ("residual", 20): RESNET20,
        ("residual", 56): RESNET56,
    }
    actual = {place: {"errors": {"train": x, "test": x}} for place, x in values.items()}
    claims = [claim for claim in compare(actual) if claim.difference.startswith("test")]
    plain, residual, harm, help_ = (claim.to_row() for claim in claims)
    for figure, difference in (
        (plain, PLAIN56 - PLAIN20),
        (residual, RESNET20 - RESNET56),
        (harm, (PLAIN56 - PLAIN20) - (RESNET56 - RESNET20)),
        (help_, PLAIN56 - RESNET56),
    ):
        assert figure["mean"] == pytest.approx(difference.mean())
        interval = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
        np.testing.assert_allclose(figure["interval"], interval)
    assert [f["verdict"] for f in (plain, harm, help_)] == ["reproduced"] * 3
    assert residual["verdict"] == "undecided"
    assert residual["published"] == pytest.approx(0.0178)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": (8, 8)}, "at least two of 8, 20, 32"),
        ({"depths": (18, 34)}, "at least two of 8, 20, 32"),
        ({"width": 0}, "width must be at least 1"),
        ({"batch_size": 5000}, "at most"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path, change, message):
    config = dataclasses.replace(TINY, runs=tmp_path / "runs", **change)
    with pytest.raises(ValueError, match=message):
        depth.run(config)
    assert not (tmp_path / "runs").exists()

"""With and without pretraining: first weights, labelled images, and the claims."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from scipy import stats

from cnnlab.run_directory import ResumeError
from cnnlab.studies import claims as claim_rows
from cnnlab.studies import study
from cnnlab.studies.study import Study
from cnnlab.train.state import state_shapes
from cnnlab.transfer import rbm, stacking
from experiments import pretrain
from experiments.pretrain import experiment
from experiments.pretrain.claims import compare
from experiments.pretrain.config import METHODS, PRETRAINED
from experiments.pretrain.data import draw_labelled
from experiments.pretrain.summary import summary_lines

RESULTS = pathlib.Path(__file__).parents[3] / "results"

TINY = pretrain.Config(
    dataset="synthetic:60:4x4x1:3",
    methods=tuple(METHODS),
    model_options=("widths=(6,5)", "activation=sigmoid"),
    labels=(5, 2),
    updates=2,
    batch_size=10,
    epochs=1,
    pretrain_batch_size=10,
    seeds=2,
)


def stack_of(key, widths):
    """Layers that tell their seed."""
    seed = int(jax.random.key_data(key)[-1]) % 1000
    sizes = zip((16, *widths), widths, strict=False)
    shapes = [((i, o), (i,), (o,)) for i, o in sizes]
    layers = tuple(
        rbm.Machine(*(np.full(s, seed + n, np.float32) for s in shape))
        for n, shape in enumerate(shapes)
    )
    return stacking.Stack(layers, np.full((len(widths), 3), 2.0, np.float32))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run in which nothing learns: its directory, its result, and what was asked for."""
    asked = {"learned": [], "trained": {}}

    def learn(name):
        def learned(key, inputs, widths, **settings):
            asked["learned"].append((name, np.asarray(inputs), settings))
            return stack_of(key, widths)

        return learned

    def train(s, name, recipe, train, *, config, options):
        asked["trained"][name] = (config, recipe, options)
        folder = s.directory / name
        folder.mkdir(exist_ok=True)
        (folder / "metrics.jsonl").write_text('{"step": 2, "epoch": 1, "train/accuracy": [1, 1]}\n')
        return study.Trained(len(name), {}, 2, 1.0)

    def evaluate(recipe, states, dataset):
        return {"accuracy": np.array([0.5, 0.6]) + states / 100}

    def fresh(s, recipe, train):
        shapes, members = state_shapes(recipe, train.image_shape), s.config.seeds
        return jax.tree.map(lambda x: np.zeros((members, *x.shape), x.dtype), shapes)

    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacking, "denoising_autoencoders", learn("denoising"))
        patch.setattr(stacking, "belief_network", learn("rbm"))
        patch.setattr(Study, "train", train)
        patch.setattr(Study, "fresh_states", fresh)
        patch.setattr(experiment, "evaluate", evaluate)
        result = pretrain.run(dataclasses.replace(TINY, run_dir=directory))
        once = len(asked["learned"])
        initial = {name: each[2].initial for name, each in asked["trained"].items()}
        patch.setattr(Study, "save_figure", lambda *figure: None)
        again = pretrain.run(pretrain.Config(resume=directory, quiet=True))
        assert again["claims"] == result["claims"] and len(asked["learned"]) == once
        # What was read back is what was in memory before.
        for name, before in initial.items():
            after = asked["trained"][name][2].initial
            jax.tree.map(np.testing.assert_array_equal, before, after)
    return directory, result, asked


def test_all_images_are_pretrained_on_once_for_each_seed_and_kept(finished):
    directory, result, asked = finished
    learned = asked["learned"]
    assert [name for name, _, _ in learned] == ["denoising"] * 4 + ["rbm"] * 2
    for name, inputs, settings in learned:
        assert inputs.shape == (60, 16) and 0 <= inputs.min() < inputs.max() <= 1
        assert (settings["visible"], settings["batch_size"]) == ("bernoulli", 10)
        assert name == "rbm" or settings["activation"] == "sigmoid"
    corruptions = [settings["corrupt"] for name, _, settings in learned if name == "denoising"]
    assert corruptions == [None, None, *[stacking.masking(0.25)] * 2]
    kept = sorted(path.name for path in (directory / "pretrained").iterdir())
    assert kept == sorted(f"{method}-seed{seed}.npz" for method in PRETRAINED for seed in range(2))
    assert set(result["pretraining"]) == set(PRETRAINED)


def test_networks_begin_with_their_own_seed_s_layers_and_a_fresh_head(finished):
    directory, _, asked = finished
    for name, (config, _, options) in asked["trained"].items():
        method = name.split("-")[0]
        assert ("activation=relu" in config.model_options) == (method == "relu")
        assert (options.initial is not None) == (method in PRETRAINED)
        if method not in PRETRAINED:
            continue
        params = options.initial.params
        for seed in range(2):
            with np.load(directory / "pretrained" / f"{method}-seed{seed}.npz") as arrays:
                for index, stage in enumerate(("stage1", "stage2")):
                    actual = params[stage]["dense"]
                    np.testing.assert_array_equal(actual["kernel"][seed], arrays[f"kernel{index}"])
                    np.testing.assert_array_equal(actual["bias"][seed], arrays[f"hidden{index}"])
        assert not np.asarray(params["head"]["dense"]["kernel"]).any()
        kernel = np.asarray(params["stage1"]["dense"]["kernel"])
        assert (kernel[0] != kernel[1]).all()


def test_every_method_learns_from_the_same_labels_and_updates(finished):
    _, result, asked = finished
    trained = asked["trained"]
    assert list(trained) == [f"{method}-{count}" for method in METHODS for count in (2, 5)]
    for count in (2, 5):
        rows = [trained[f"{method}-{count}"][2].subsets for method in METHODS]
        for each in rows:
            np.testing.assert_array_equal(each, rows[0])
        assert rows[0].shape == (2, 20)  # updates x batch, also where there are but 6 or 15 images
        assert [len(set(row)) for row in rows[0]] == [3 * count] * 2
    assert [(p["method"], p["labels"]) for p in result["points"]][:2] == [("none", 2), ("none", 5)]


def test_labelled_images_are_of_each_class_and_a_few_are_among_many():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), 8))
    few, many = (draw_labelled(labels, count, (0, 7)) for count in (2, 5))
    for row, more in zip(few, many, strict=True):
        np.testing.assert_array_equal(np.bincount(labels[row]), [2, 2, 2])
        assert set(row) <= set(more)
    assert set(many[0]) != set(many[1])
    same = draw_labelled(labels, 5, (7, 0), same=True)
    np.testing.assert_array_equal(same, np.stack([many[1]] * 2))


def test_the_run_has_its_figures_and_says_its_claims(finished, capsys):
    directory, result, _ = finished
    for figure in ("accuracy", "filters"):
        assert (directory / f"figures/{figure}.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((directory / "result.json").read_text())
    assert stored["claims"] == result["claims"]
    with pytest.raises(ResumeError, match="corruption was 0.25, and is now 0.5"):
        pretrain.run(pretrain.Config(resume=directory, corruption=0.5))


# The claims ----------------------------------------------------------------------------------


NOISE = np.array([0.003, -0.004, 0.001, 0.002])


def point(method, labels, values):
    return {"method": method, "labels": labels, "test_accuracy": {"values": list(values)}}


POINTS = [
    point("none", 10, 0.80 + 5 * NOISE),
    point("none", 100, 0.95 + NOISE),
    point("rbm", 10, 0.86 + NOISE[::-1]),
    point("rbm", 100, 0.95 + NOISE[::-1]),
    point("relu", 10, 0.82 + NOISE),
    point("relu", 100, 0.97 - NOISE),
]


def rows_of(points, **settings):
    return [claim.to_row() for claim in compare(points, **settings)]


def test_claims_are_of_pairs_with_the_same_seed():
    rows = {(row["claim"], row["at"]): row for row in rows_of(POINTS)}
    gain = 0.06 + NOISE[::-1] - 5 * NOISE
    helps = rows["pretraining with Boltzmann machines helps", "10 a class"]
    interval = stats.ttest_1samp(gain, 0).confidence_interval(0.95)
    np.testing.assert_allclose(helps["interval"], interval)
    assert helps["verdict"] == "reproduced"
    later = rows["pretraining with Boltzmann machines helps", "100 a class"]
    assert later["verdict"] == "undecided"
    claim = "pretraining with Boltzmann machines helps most with few labels"
    most = rows[claim, "10 against 100 a class"]
    wanted = stats.ttest_1samp(gain - (NOISE[::-1] - NOISE), 0).confidence_interval(0.95)
    np.testing.assert_allclose(most["interval"], wanted)
    claim = "networks pretrained with Boltzmann machines vary less over draws of labels and seeds"
    assert rows[claim, "10 a class"]["ratio"] == pytest.approx(5)
    same = {row["claim"] for row in rows_of(POINTS, same_images=True)}
    alone = "networks pretrained with Boltzmann machines vary less from seed to seed"
    assert alone in same and claim not in same
    relu = "ReLU from scratch beats a sigmoid network pretrained with Boltzmann machines"
    assert rows[relu, "10 a class"]["verdict"] == "contradicted"
    assert not any("autoencoder" in claim for claim, _ in rows)
    (line,) = (each for each in claim_rows.lines(list(rows.values())) if "5.00 times" in each)
    assert "5.00 times (95 % interval by Pitman and Morgan's test" in line


def test_kept_results_are_summarised_and_their_claims_read():
    result = json.loads((RESULTS / "pretrain-mnist.json").read_text())
    lines = summary_lines(result)
    assert len(lines) == len(result["points"])
    assert lines[0].startswith("no pretraining, 10 a class: test accuracy 74.99 ± 0.68 % (5 seeds)")
    rows = claim_rows.read_rows(result)
    assert {row["unit"] for row in rows} == {"points", "log ratio"}
    assert all(row["difference"] for row in rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("none", "rmb")}, "unknown method .*Did you mean 'rbm'"),
        ({"methods": ("none", "none")}, "each given once"),
        ({"labels": (5, 500)}, "of 1 to 20, as many as the smallest class has"),
        ({"labels": ()}, "must be numbers of images"),
        ({"corruption": 1.0}, r"in \[0, 1\)"),
        ({"pretrain_epochs": 0}, "pretrain_epochs must be at least 1"),
        ({"pretrain_batch_size": 100}, "at most 60"),
        ({"rbm_rate": 0.0}, "rbm_rate must be positive"),
        ({"model_options": ("norm=batch",)}, "without normalisation"),
        ({"model_options": ("activation=tanh",)}, "must be sigmoid ones, got activation=tanh"),
        (
            {"model_options": ("activation=relu",), "methods": ("none", "relu")},
            "leave one of them out",
        ),
        ({"model_options": ("wdths=(3,)", "activation=sigmoid")}, "widths"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path, change, message):
    config = dataclasses.replace(TINY, runs=tmp_path / "runs", **change)
    with pytest.raises((ValueError, TypeError), match=message):
        pretrain.run(config)
    assert not (tmp_path / "runs").exists()

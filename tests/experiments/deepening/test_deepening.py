"""Growing against starting from scratch: initial weights, claims and summary."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy import stats

from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.study import Study, Trained
from cnnlab.train.state import state_shapes
from experiments import deepening
from experiments.deepening import training
from experiments.deepening.claims import compare
from experiments.deepening.config import GROWN, METHODS

TINY = deepening.Config(
    dataset="synthetic:60:4x4x1:3",
    model="mlp",
    deep="mlp",
    model_options=("widths=(4,)",),
    deep_options=("widths=(4,4)",),
    shallow_epochs=1,
    epochs=3,
    warmup_epochs=0.0,
    batch_size=20,
    seeds=2,
)


def filled(recipe, shape, members, value):
    shapes = state_shapes(recipe, shape)
    values = value + np.arange(members)

    def one(leaf):
        lead = values.reshape(-1, *[1] * len(leaf.shape))
        return np.broadcast_to(lead, (members, *leaf.shape)).astype(leaf.dtype)

    return jax.tree.map(one, shapes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run in which nothing learns, and what each training was asked for."""
    asked = {}

    def train(study, name, recipe, train, watched, *, config, options):
        asked[name] = (config, options)
        folder = study.directory / name
        folder.mkdir()
        line = {"train/accuracy": [0.5, 0.6], "watched/accuracy": [0.4, 0.5]}
        lines = [json.dumps({"step": e, "epoch": e, **line}) for e in range(1, config.epochs + 1)]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        initial = options.initial
        states = filled(recipe, train.image_shape, 2, 7) if initial is None else initial
        return Trained(states, {}, 2, 1.0)

    def evaluate(recipe, states, dataset):
        return {"accuracy": np.array([0.7, 0.8])}

    def fresh(study, recipe, train, seeds):
        return filled(recipe, train.image_shape, 2, 100)

    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "train", train)
        patch.setattr(Study, "fresh_states", fresh)
        patch.setattr(training, "evaluate", evaluate)
        result = deepening.run(dataclasses.replace(TINY, run_dir=directory))
    return directory, result, asked


def test_all_methods_have_the_same_epochs_and_their_own_start(finished):
    directory, result, asked = finished
    assert list(asked) == ["shallow", *METHODS]
    for name, (config, options) in asked.items():
        grown = name in GROWN
        assert config.epochs == {"shallow": 1}.get(name, 2 if grown else 3)
        assert config.init == (name if name in ("glorot", "he") else "gaussian")
        assert (options.initial is not None) == grown
    assert (directory / "figures/curves.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((directory / "result.json").read_text())
    assert stored["claims"] == result["claims"]
    assert [point["method"] for point in result["points"]] == list(METHODS)


def test_a_grown_network_begins_with_the_shallow_one_s_layers(finished):
    _, _, asked = finished
    for method, wanted in (("grown", [100, 101]), ("unchanged", None)):
        initial = asked[method][1].initial
        assert (np.asarray(initial.step) == 0).all()
        for stage in ("stage1", "head"):
            kernel = np.asarray(initial.params[stage]["dense"]["kernel"])
            np.testing.assert_array_equal(kernel[:, 0, 0], [7, 8])
        new = np.asarray(initial.params["stage2"]["dense"]["kernel"])
        if wanted is None:
            np.testing.assert_array_equal(new, np.stack([np.eye(4)] * 2))
        else:
            np.testing.assert_array_equal(new[:, 0, 0], wanted)


def test_what_grows_is_the_moving_average_where_it_was_evaluated():
    recipe = make_recipe(dataclasses.replace(TINY, ema_decay=0.9), load_data(TINY).train)
    states = filled(recipe, (4, 4, 1), 2, 7)
    averaged = jax.tree.map(lambda leaf: leaf + 1, states.average)
    actual = training.evaluated_variables(states._replace(average=averaged))
    np.testing.assert_array_equal(actual["params"]["head"]["dense"]["bias"][:, 0], [8, 9])


# The claims ----------------------------------------------------------------------------------


def point(method, train, test):
    return {
        "method": method,
        "train_error": {"values": train},
        "test_error": {"values": test},
    }


def test_claims_compare_with_guessing_and_within_the_margin():
    points = [
        point("grown", [0.02, 0.03, 0.01], [0.05, 0.06, 0.05]),
        point("gaussian", [0.9, 0.88, 0.9], [0.9, 0.9, 0.89]),
        point("glorot", [0.3, 0.02, 0.9], [0.3, 0.05, 0.9]),
        point("he", [0.02, 0.03, 0.02], [0.052, 0.061, 0.053]),
    ]
    rows = {claim.text: claim.to_row() for claim in compare(points, 0.9, 0.01)}
    still = rows["a deep network does not start from a small gaussian"]
    wanted = stats.ttest_1samp([0.45, 0.43, 0.45], 0).confidence_interval(0.95)
    np.testing.assert_allclose(still["interval"], wanted)
    assert still["verdict"] == "reproduced"
    starts = rows["a deep network starts where it is grown, new layers fresh"]
    assert starts["mean"] == pytest.approx(0.43) and starts["verdict"] == "reproduced"
    he = rows["from He's weights it is as good as grown, new layers fresh"]
    assert he["mean"] == pytest.approx(0.008) and he["verdict"] == "reproduced"
    glorot = rows["from Glorot's weights it is as good as grown, new layers fresh"]
    assert glorot["verdict"] == "undecided"
    assert len(rows) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("grwn",)}, "unknown method .*Did you mean 'grown'"),
        ({"shallow_epochs": 3}, "less than all 3 epochs"),
        ({"watched": 0}, "watched must be at least 1"),
        ({"margin": 1.0}, r"margin must be in \[0, 1\)"),
        ({"deep_options": ()}, "must have more layers than mlp"),
        ({"deep_options": ("widths=(3,3)",)}, "must have the same shapes"),
        ({"deep": "linear", "deep_options": (), "model_options": ()}, "same family"),
        (
            {"model_options": ("widths=(4,)", "activation=tanh")},
            "must have activation relu or identity",
        ),
        ({"std": 0.0}, "std must be"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path, change, message):
    config = dataclasses.replace(TINY, runs=tmp_path / "runs", **change)
    with pytest.raises((ValueError, TypeError), match=message):
        deepening.run(config)
    assert not (tmp_path / "runs").exists()

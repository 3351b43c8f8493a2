"""The study of initialisations, from Python and from the command line."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.keys import run_key, stream_key
from cnnlab.mesh import make_mesh
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.train.program import initialise
from experiments import init_study
from experiments.init_study import measurement

LSUV = "lsuv:examples=20"
TINY = init_study.Config(
    lecture=False,
    dataset="synthetic:60:6x6x1:3",
    model_options=("widths=(8,8)",),
    inits=("constant", LSUV),
    examples=30,
    epochs=2,
    batch_size=15,
    seeds=2,
    quiet=True,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, init_study.run(dataclasses.replace(TINY, run_dir=directory))


def test_a_study_leaves_its_figures_and_its_result(finished):
    directory, result = finished
    title = "mlp on synthetic:60:6x6x1:3"
    layers = result["layers"][title]
    assert set(layers) == set(result["learning"]) == set(TINY.inits)
    assert [row["layer"] for row in layers[LSUV]] == ["stage1/dense", "stage2/dense", "head/dense"]
    std = layers[LSUV][1]["reads_std"]
    assert len(std["values"]) == 2 and std["standard_error"] > 0
    drawn = {path.name for path in (directory / "figures").iterdir()}
    name = "mlp-on-synthetic-60-6x6x1-3"
    assert drawn == {f"histograms-{name}.png", f"layers-{name}.png", "learning.png"}
    for path in (directory / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    stored = json.loads((directory / "result.json").read_text())
    assert stored["learning"][LSUV]["last"] == result["learning"][LSUV]["last"]
    assert stored["environment"]["versions"]["jax"]


def test_what_is_measured_is_what_is_claimed(finished):
    _, result = finished
    layers = result["layers"]["mlp on synthetic:60:6x6x1:3"]
    distinct = {name: learning["distinct_units"] for name, learning in result["learning"].items()}
    assert distinct["constant"]["first_seed"] == {"stage1/dense": [1, 8], "stage2/dense": [1, 8]}
    assert distinct[LSUV]["fraction"]["mean"] == 1
    # LSUV looks at 20 images, the statistics are of these and ten more.
    given = [row["gives_std"]["mean"] for row in layers[LSUV]]
    np.testing.assert_allclose(given, 1, rtol=0.3)
    curve = result["learning"][LSUV]["curves"]["train/loss"]
    assert np.shape(curve) == (2, 2) and np.mean(curve[1]) < np.mean(curve[0])


def test_a_divergence_is_a_result(tmp_path):
    config = dataclasses.replace(
        TINY,
        inits=("gaussian:std=50.0",),
        model_options=("widths=(8,)",),
        learning_rate=1e30,
        run_dir=tmp_path / "run",
    )
    learning = init_study.run(config)["learning"]["gaussian:std=50.0"]
    assert learning["diverged"]["step"] >= 0 and learning["last"] is None


def test_an_initialisation_in_words():
    assert str(measurement.parse_init("gaussian:std=0.05")) == "gaussian(std=0.05)"
    assert measurement.parse_init("data:balance=0,examples=9").examples == 9
    with pytest.raises(ValueError, match="Did you mean 'std'"):
        measurement.parse_init("gaussian:stdd=1")
    with pytest.raises(ValueError, match="NAME=VALUE"):
        measurement.parse_init("gaussian:0.05")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inits": ("he", "hee")}, "Did you mean 'he'"),
        ({"model": "mpl"}, "Did you mean"),
        ({"dataset": "digist"}, "Did you mean"),
        ({"inits": ("he", "fixup")}, "fixup needs residual blocks"),
        ({"inits": ("he", "lsuv:examples=500")}, "looks at 500 images, but .* has 54 to train on"),
        ({"inits": ("he", "airbench:examples=9")}, "Use this initialisation for airbench"),
        ({"inits": ("data:balance=2.5",)}, "balance must be an integer"),
        ({"inits": ()}, "inits must be at least one"),
        ({"model": "vgg16", "model_options": ()}, "the images are too small"),
        ({"examples": 0}, "examples must be at least 1"),
        ({"epochs": -1}, "epochs must be at least 0"),
        ({"seeds": 0}, "seeds must be at least 1"),
    ],
)
@pytest.mark.parametrize("place", ["run_dir", "runs"])
def test_settings_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path, change, message, place
):
    config = dataclasses.replace(TINY, **{place: tmp_path / "run"}, **change)
    with pytest.raises(ValueError, match=message):
        init_study.run(config)
    assert not list(tmp_path.iterdir())


def test_a_directory_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(FileExistsError, match="exists already: choose another one"):
        init_study.run(dataclasses.replace(TINY, run_dir=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_resumed_study_measures_and_trains_only_what_is_missing(finished, monkeypatch):
    directory, result = finished
    monkeypatch.setattr(measurement, "activations", None)  # would fail
    name = "learning-constant/learning.json"
    (directory / name).unlink()
    again = init_study.run(init_study.Config(resume=directory, quiet=True))
    assert again["layers"] == result["layers"] and again["learning"] == result["learning"]
    assert (directory / name).is_file()


@pytest.mark.parametrize("text", ["he", LSUV, "data:examples=54,balance=1"])
def test_what_is_measured_starts_as_what_is_trained(text, quick_jit):
    splits = load_data(TINY.training)
    chosen = measurement.parse_init(text)
    recipe = dataclasses.replace(make_recipe(TINY.training, splits.train), init=chosen)
    # More images are measured than there are, which does not change what the start is made from.
    setting = measurement.model_setting("", recipe, {text: chosen}, splits.train, examples=999)
    key = stream_key(run_key(7), "init")
    shown = setting.start_images(chosen, key)
    learning = quick_jit(functools.partial(chosen, recipe.network))(key, shown)["params"]
    states, _ = initialise(recipe, splits.train, jnp.uint32([7]), make_mesh(1))
    trained = jax.tree.map(lambda leaf: leaf[0], states.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), learning, trained
    )
    assert setting.images(key).shape == (len(splits.train), 6, 6, 1)
    assert setting.labels.tolist() == splits.train.labels.tolist()

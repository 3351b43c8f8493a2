"""Settings of a training: options as text, JSON, options that would not be used."""

import dataclasses
import importlib
import json
import pathlib
import subprocess
import sys
import typing

import numpy as np
import pytest

from cnnlab import run_directory, schedules
from cnnlab.studies import settings
from cnnlab.studies.resume import stored_config
from cnnlab.studies.settings import Training


def test_a_config_survives_json():
    config = Training(classes=("0", "2"), clip=1.5, run_dir="x", milestones=(0.3, 0.6))
    stored = json.loads(json.dumps(settings.to_json(config)))
    back = settings.from_json(Training, stored)
    assert settings.to_json(back) == settings.to_json(config) and back.milestones == (0.3, 0.6)


def test_a_config_of_before_a_field_was_there_has_its_default():
    config = Training(model="mlp")
    fields = {name: value for name, value in settings.to_json(config).items() if "init" not in name}
    assert settings.from_json(Training, {**fields, "of_another_version": 3}) == config


def test_paths_are_stored_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = settings.with_absolute_paths
    assert here(Training(dataset="npz:a.npz")).dataset == f"npz:{tmp_path}/a.npz"
    both = here(Training(dataset="folder:photos", data_dir=pathlib.Path("data")))
    assert (both.dataset, both.data_dir) == (f"folder:{tmp_path}/data/photos", tmp_path / "data")
    assert here(Training(dataset="tfds:mnist")).dataset == "tfds:mnist"
    assert here(both) == both and both.data_name == "folder:photos"
    moved = settings.with_data_dir(both, pathlib.Path("elsewhere"))
    assert (moved.dataset, moved.data_dir) == ("folder", pathlib.Path("elsewhere"))
    assert settings.with_data_dir(both, None) == both


def test_options_are_numbers_tuples_or_text():
    texts = ("width=32", "widths=(8,4)", "shortcut=B")
    assert settings.parse_options(texts) == {"width": 32, "widths": (8, 4), "shortcut": "B"}
    with pytest.raises(ValueError, match="NAME=VALUE"):
        settings.parse_options(("width",))


def test_options_that_would_not_be_used_are_refused_by_name():
    config = Training(epochs=3, crop=2)
    settings.refuse_unused(config, ("flip", "cutout"), "only with images")
    with pytest.raises(ValueError, match=r"^--crop: only with images. Leave it out.$"):
        settings.refuse_unused(config, ("flip", "crop"), "only with images")
    with pytest.raises(ValueError, match=r"^--epochs, --crop: not here. Leave them out.$"):
        settings.refuse_unused(config, ("epochs", "crop"), "not here")


def test_default_model_options_go_with_the_default_model():
    @dataclasses.dataclass(frozen=True)
    class Config(Training):
        model: str = "mlp"
        model_options: tuple[str, ...] = ("widths=(8,)",)

    kept = (Config(), Config(model="resnet8", model_options=("width=4",)))
    assert all(settings.drop_default_model_options(each) is each for each in kept)
    assert settings.drop_default_model_options(Config(model="resnet8")).model_options == ()


def test_seeds_are_consecutive_and_at_least_one():
    assert Training(seed=3, seeds=2).all_seeds == (3, 4)
    with pytest.raises(ValueError, match="at least 1"):
        _ = Training(seeds=0).all_seeds


def test_settings_resume_and_host_import_no_jax():
    code = (
        "import sys, cnnlab.studies.settings, cnnlab.studies.resume, cnnlab.studies.host\n"
        "import cnnlab.studies.run_table; print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_schedules_that_are_offered_exist():
    offered = typing.get_args(typing.get_type_hints(Training)["schedule"])
    assert offered == schedules.NAMES


@pytest.mark.parametrize(
    ("experiment", "stored", "now"),
    [
        ("segment", {"size": 48}, {"scene_size": 48}),
        ("detect", {"size": 48}, {"scene_size": 48}),
        ("transfer_grid", {"rates": [0.1, 0.2]}, {"learning_rates": (0.1, 0.2)}),
        ("probe", {"foreign_normalization": "unit"}, {"weights_normalization": "unit"}),
        (
            "finetune",
            {"recipe": ["rules"], "rates": ["a=1"], "top": 3},
            {"recipes": ("rules",), "rules": ("a=1",), "top_stages": 3},
        ),
    ],
)
def test_a_stored_config_with_earlier_names_is_read_and_resumed(tmp_path, experiment, stored, now):
    kind = importlib.import_module(f"experiments.{experiment}").Config
    fields = {k: v for k, v in settings.to_json(kind()).items() if k not in now}
    config = settings.from_json(kind, {**fields, **stored})
    assert config == dataclasses.replace(settings.from_json(kind, fields), **now)
    run_directory.write_config(tmp_path, {"experiment": experiment, **fields, **stored})
    assert stored_config(kind, tmp_path) == config


def test_a_config_made_in_python_has_paths_and_tuples_as_the_command_line_gives_them():
    config = Training(
        run_dir="x", classes=["0", "2"], epochs=np.int64(3), learning_rate=np.float32(1)
    )
    same = Training(run_dir=pathlib.Path("x"), classes=("0", "2"), epochs=3, learning_rate=1.0)
    assert config == same and type(config.epochs) is int and json.dumps(settings.to_json(config))
    soup = importlib.import_module("experiments.average").Config(run=["a", "b"])
    assert soup.run == (pathlib.Path("a"), pathlib.Path("b"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"learning_rate": [0.1]}, r"learning_rate must be float, got \[0.1\]"),
        ({"learning_rate": "0.1"}, "learning_rate must be float, got '0.1'"),
        ({"dataset": ("digits",)}, r"dataset must be str, got \('digits',\)"),
        ({"seeds": [0, 1]}, r"seeds must be int, got \[0, 1\]"),
        ({"epochs": 2.5}, "epochs must be int, got 2.5"),
        ({"flip": "yes"}, "flip must be bool, got 'yes'"),
        ({"classes": "012"}, "classes must be tuple.* got '012'"),
        ({"model_options": "width=4"}, "model_options must be tuple.* got 'width=4'"),
        ({"runs": 3}, "runs must be Path, got 3"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'. Did you mean 'cosine'"),
        ({"normalization": "chanel"}, "unknown normalization 'chanel'. Did you mean 'channel'"),
    ],
)
def test_a_value_of_another_type_is_refused_where_it_is_written(value, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Training(**value)


def test_milestones_that_an_earlier_version_took_are_read_as_the_end():
    fields = settings.to_json(Training())
    config = settings.from_json(Training, {**fields, "milestones": [0.5, 80.0]})
    assert config.milestones == (0.5, 1.0)

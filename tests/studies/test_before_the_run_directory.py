"""Settings out of range are refused before a run directory is made; quiet runs print the result."""

import dataclasses
import shutil

import pytest

from experiments import distill, dropout, ensemble, snapshot, train

TINY = {
    "dataset": "synthetic:90:6x6x1:3",
    "model": "mlp",
    "epochs": 1,
    "batch_size": 15,
    "quiet": True,
}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 2**32}, r"seeds must be .* in \[0, 2\^32\)"),
        ({"seed": 2**32 - 1, "seeds": 2}, r"seeds must be .* in \[0, 2\^32\)"),
        ({"label_smoothing": 3.0}, r"label_smoothing must be in \[0, 1\), got 3"),
        ({"label_smoothing": float("nan")}, "label_smoothing must be in"),
        ({"model_options": ("dropout=2",)}, r"dropout must be in \[0, 1\), got 2"),
        ({"accumulate": 4}, "--batch-size 15 must divide into --accumulate 4"),
        ({"keep": 1}, "keep must be at least 2"),
        ({"checkpoint_steps": 0}, "checkpoint_steps must be at least 1"),
        ({"member_axis": 3}, "member_axis must divide"),
    ],
)
def test_a_training_is_checked_first(tmp_path, settings, message):
    config = train.Config(**{**TINY, **settings}, run_dir=tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        train.run(config)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=message):
        train.run(dataclasses.replace(config, run_dir=None, runs=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("module", [dropout, ensemble, snapshot, distill])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 2**31}, r"--seed must be less than 2\^31"),
        ({"label_smoothing": 3.0}, "label_smoothing must be in"),
        ({"keep": 1}, "keep must be at least 2"),
    ],
)
def test_so_are_studies(tmp_path, module, settings, message):
    config = module.Config(**{**TINY, "epochs": 5, **settings}, run_dir=tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        module.run(config)
    assert not (tmp_path / "run").exists()


def test_a_quiet_run_prints_its_result_and_nothing_else(tmp_path, capsys):
    train.run(train.Config(**TINY, run_dir=tmp_path / "run"))
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].startswith("mlp on synthetic") and "test accuracy" in lines[0]
    assert lines[1:] == [f"see {tmp_path / 'run'}"]


def test_a_resume_without_its_environment_says_so_and_goes_on(finished, tmp_path, capsys):
    directory = shutil.copytree(finished[0], tmp_path / "run")
    for damage in (None, b"", b"null", b"3"):
        (directory / "environment.json").unlink()
        if damage is not None:
            (directory / "environment.json").write_bytes(damage)
        result = train.run(train.Config(resume=directory))
        assert result["test"] == finished[1]["test"]
        assert "environment.json is gone or damaged" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["figures", "tensorboard"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, name):
    config = train.Config(**TINY, run_dir=tmp_path / "run")
    train.run(config)
    shutil.rmtree(tmp_path / "run" / name)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / name).write_text("")
    with pytest.raises(OSError, match=f"must be a folder, but a file is in its place.*{name}"):
        train.run(train.Config(resume=tmp_path / "run"))

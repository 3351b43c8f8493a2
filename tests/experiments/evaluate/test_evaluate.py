"""Evaluating a run in other ways: views, masks of dropout, weights from a file."""

import errno
import json
import os
import pathlib

import numpy as np
import pytest

from cnnlab import files
from cnnlab.models import weights
from experiments import evaluate, export
from experiments.evaluate.views import parse_views


def test_one_view_is_the_plain_evaluation_and_leaves_its_file_alone(finished):
    directory, _ = finished
    plain = evaluate.run(evaluate.Config(directory))
    seen = evaluate.run(evaluate.Config(directory, views=("identity",)))
    assert seen["accuracy"] == plain["accuracy"]
    assert seen["loss"]["mean"] == pytest.approx(plain["loss"]["mean"], rel=1e-5)
    stored = [path.name for path in directory.glob("evaluate-test-*.json")]
    assert len([name for name in stored if name.endswith("-identity.json")]) == 1


def test_views_are_read_one_after_the_other():
    assert len(parse_views(("mirror", "shifts:2"))) == 10
    assert len(parse_views(("scales:8,10:6",))) == 20


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (("miror",), "mirror"),
        (("shifts",), r"needs 1 numbers after colons, such as shifts:2.*got 'shifts'"),
        (("mirror:3",), "needs 0 numbers"),
        (("shifts:x",), "got 'shifts:x'"),
    ],
)
def test_views_that_are_not_known_are_refused(views, message):
    with pytest.raises(ValueError, match=message):
        parse_views(views)


def test_masks_of_a_network_without_dropout_are_refused(finished):
    with pytest.raises(ValueError, match="dropout"):
        evaluate.run(evaluate.Config(finished[0], dropout_samples=3))


def test_a_run_s_own_weights_from_a_file_do_what_the_run_did(finished, tmp_path):
    """Normalised as the run is, though the file does not say how."""
    directory, result = finished
    file = tmp_path / "seed.safetensors"
    export.run(export.Config(directory, file, seed=1))
    actual = evaluate.run(evaluate.Config(directory, weights=file))
    assert actual["accuracy"]["values"] == [result["test"]["accuracy"]["values"][1]]
    assert json.loads((directory / f"evaluate-test-{actual['dataset']}-seed.json").read_text())
    assert weights.read(file)
    with pytest.raises(ValueError, match="--best: only without --weights"):
        evaluate.run(evaluate.Config(directory, weights=file, best=True))


def test_evaluation_agrees_with_the_training_and_with_scikit_learn(finished, capsys):
    directory, result = finished
    actual = evaluate.run(evaluate.Config(directory))
    for name in ("accuracy", "loss"):
        wanted = result["test"][name]["values"]
        np.testing.assert_allclose(actual[name]["values"], wanted, rtol=1e-5)
    assert "calibration error" in capsys.readouterr().out
    by_class = np.mean([figure["mean"] for figure in actual["per_class"].values()])
    assert by_class == pytest.approx(actual["accuracy"]["mean"], abs=0.15)
    for path in actual["figures"]:
        assert pathlib.Path(path).read_bytes().startswith(b"\x89PNG")
    best = evaluate.run(evaluate.Config(directory, part="validation", best=True))
    assert best["step"] == result["best_step"] and best["part"] == "validation"


def test_evaluation_on_other_data_must_fit(finished, tmp_path):
    images = np.zeros((20, 5, 5, 1), np.uint8)
    np.savez(tmp_path / "other.npz", images=images, labels=np.arange(20) % 3)
    with pytest.raises(ValueError, match=r"shape \(6, 6, 1\).*\(5, 5, 1\)"):
        evaluate.run(evaluate.Config(finished[0], dataset="npz", data_dir=tmp_path / "other.npz"))


def test_the_table_is_printed_where_nothing_can_be_written(finished, monkeypatch, capsys):
    def read_only(*arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files.os, "replace", read_only)
    before = sorted(finished[0].rglob("*"))
    with pytest.raises(OSError, match="Read-only"):
        evaluate.run(evaluate.Config(finished[0]))
    assert "accuracy" in capsys.readouterr().out
    assert sorted(finished[0].rglob("*")) == before

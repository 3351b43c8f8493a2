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
from experiments.evaluate.summary import summary_lines
from experiments.evaluate.views import parse_views


def test_one_view_is_the_plain_evaluation_and_leaves_its_file_alone(finished):
    directory, _ = finished
    plain = evaluate.run(evaluate.Config(directory))
    seen = evaluate.run(evaluate.Config(directory, views=("identity",)))
    assert seen["accuracy"] == plain["accuracy"]
    assert seen["loss"]["mean"] == pytest.approx(plain["loss"]["mean"], rel=1e-5)
    stored = [path.name for path in directory.glob("evaluate-test-*.json")]
    assert len([name for name in stored if name.endswith("-identity.json")]) == 1


def test_scores_over_views_stand_beside_those_without_and_harm_is_said(finished, capsys):
    directory, result = finished
    views = evaluate.run(evaluate.Config(directory, views=("shifts:3",)))
    printed = capsys.readouterr().out
    plain = result["test"]["accuracy"]["values"]
    np.testing.assert_allclose(views["plain"]["accuracy"]["values"], plain, rtol=1e-6)
    for name in ("accuracy", "ece"):
        for score in (views, views["plain"]):
            assert f"{100 * score[name]['mean']:.2f} ±" in printed
    lost = 100 * (np.mean(plain) - views["accuracy"]["mean"])
    assert (f"lowers the accuracy by {lost:.2f} points" in printed) == (lost > 0)
    assert evaluate.run(evaluate.Config(directory)).keys().isdisjoint({"plain"})
    assert "of one pass" not in capsys.readouterr().out


SCORES = {
    "dataset": "digits",
    "part": "test",
    "examples": 360,
    "accuracy": {"mean": 0.813, "standard_error": None, "values": [0.813]},
    "loss": {"mean": 0.6, "standard_error": None, "values": [0.6]},
    "ece": {"mean": 0.2, "standard_error": None, "values": [0.2]},
    "pooled_ece": 0.2,
    "per_class": {},
    "figures": ["reliability.png"],
}


@pytest.mark.parametrize(
    ("accuracy", "loss", "warning"),
    [
        (0.992, 0.7, "averaging lowers the accuracy by 17.90 points."),
        (0.813, 0.5, "averaging raises the loss by 0.1000 nats."),
        (0.992, 0.5, "accuracy by 17.90 points and raises the loss by 0.1000 nats."),
        (0.813, 0.6, ""),
        (0.80, 0.7, ""),
    ],
)
def test_a_warning_says_by_how_much_views_are_worse(accuracy, loss, warning):
    plain = {"accuracy": accuracy, "loss": loss, "ece": 0.1}
    without = {name: {**SCORES[name], "mean": mean} for name, mean in plain.items()}
    text = "\n".join(summary_lines({**SCORES, "plain": without}))
    assert f"81.30 %; of one pass {100 * accuracy:.2f} %" in text
    assert warning in text and ("warning" in text) == bool(warning)


def test_the_two_calibration_errors_of_several_networks_say_which_they_are(finished, capsys):
    actual = evaluate.run(evaluate.Config(finished[0]))
    printed = capsys.readouterr().out
    assert f"calibration error, mean    {100 * actual['ece']['mean']:.2f} ±" in printed
    assert f"calibration error, pooled  {100 * actual['pooled_ece']:.2f} % (in the fig" in printed
    alone = "\n".join(summary_lines(SCORES))
    assert "calibration error  20.00 %" in alone and "pooled" not in alone


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
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 5, 1), np.uint8)
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

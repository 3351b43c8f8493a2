"""The runs in a folder as a table."""

import json

import pytest

from cnnlab.studies.run_table import run_table


def write_run(parent, name, config, result=None, metrics=()):
    folder = parent / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    if metrics:
        (folder / "metrics.jsonl").write_text("\n".join(metrics))


def test_finished_and_running_runs_have_a_state_and_a_score(tmp_path):
    about = {"experiment": "train", "dataset": "digits", "model": "mlp"}
    write_run(tmp_path, "a", about, {"test": {"accuracy": {"mean": 0.9871}}})
    lines = ['{"step": 1, "epoch": 1, "validation/accuracy": [0.5, 0.7]}', '{"step": 2, "ep']
    write_run(tmp_path, "b", about, metrics=lines)
    write_run(tmp_path, "c", about)
    rows = [{"verdict": "reproduced"}, {"verdict": "undecided"}]
    write_run(tmp_path, "d", {"experiment": "probe", "dataset": "digits"}, {"claims": rows})
    (tmp_path / "no-run").mkdir()
    head, a, b, c, d = run_table(tmp_path)
    assert head.split() == ["run", "experiment", "data", "set", "model", "state", "score"]
    assert a.split()[:5] == ["a", "train", "digits", "mlp", "finished"]
    assert a.endswith("98.71 % test accuracy")
    assert b.endswith("after epoch 1  60.00 % validation accuracy")
    assert c.endswith("not finished")
    assert d.endswith("finished       1 of 2 claims reproduced")


def test_a_damaged_run_is_named_and_does_not_hide_the_others(tmp_path):
    write_run(tmp_path, "a", {"experiment": "train"})
    (tmp_path / "a" / "config.json").write_text("{")
    write_run(tmp_path, "b", {"experiment": "train"})
    _, a, b = run_table(tmp_path)
    assert "damaged" in a and b.startswith("b")


def test_an_empty_and_a_missing_folder_are_said(tmp_path):
    assert run_table(tmp_path) == [f"There are no runs in {tmp_path}."]
    with pytest.raises(FileNotFoundError, match="no folder"):
        run_table(tmp_path / "nowhere")

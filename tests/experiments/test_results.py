"""The tables of the README, made from result files."""

import json

import pytest

from experiments import results


def result(mean, error):
    return {
        "dataset": "digits",
        "model": "resnet8",
        "seconds": 61.4,
        "test": {"accuracy": {"mean": mean, "standard_error": error, "values": [mean] * 5}},
        "config": {"epochs": 40, "data_dir": "/somebody/s/files", "run_dir": "/else/where"},
        "environment": {"device_count": 1, "device_kind": "cpu", "platform": "cpu", "cpu_count": 2},
        "run_dir": "/else/where",
    }


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "BENCHMARKS", tmp_path / "none")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    (run / "figures/curves.png").write_bytes(b"picture")
    return run, readme


def test_a_kept_result_stands_in_the_table_and_names_no_path_of_the_machine(place, tmp_path):
    run, readme = place
    (run / "result.json").write_text(json.dumps(result(0.9877, 0.0019)))
    results.run(results.Config(add=run, readme=readme))
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| digits | resnet8 | 40 | 98.77 ± 0.19 % (5 seeds) | 61 | 2 CPU cores |" in text
    kept = (tmp_path / "results/digits-resnet8.json").read_text()
    assert "somebody" not in kept and "where" not in kept
    assert (tmp_path / "results/digits-resnet8.png").read_bytes() == b"picture"
    once = readme.read_text()
    results.run(results.Config(readme=readme))
    assert readme.read_text() == once


def test_depths_have_a_table_of_their_own_with_what_became_of_the_claims(place):
    run, readme = place
    error = {"mean": 0.0752, "standard_error": 0.0107, "values": [0.0752] * 5}
    lost = {**error, "mean": 0.68, "interval": [0.59, 0.77], "verdict": "reproduced"}
    alone = {**error, "mean": -0.01, "interval": None, "verdict": "one seed cannot tell"}
    depth = {
        **{name: value for name, value in result(0, 0).items() if name not in ("model", "test")},
        "experiment": "depth",
        "config": {"epochs": 20, "width": 8, "fraction": 0.12, "data_dir": "/somebody/s/files"},
        "architectures": {"plain20": {"train_error": error, "test_error": error}},
        "claims": {"depth harms": {"difference": "a - b", "train": lost, "test": alone}},
    }
    (run / "result.json").write_text(json.dumps(depth))
    text = results.run(results.Config(add=run, readme=readme))
    assert "on digits, 12 % of the images (width 8, 20 epochs, 61 s on 2 CPU cores;" in text
    assert "| plain20 | 7.52 ± 1.07 % (5 seeds) | 7.52 ± 1.07 % (5 seeds) |" in text
    wanted = "+68.00 (+59.00 to +77.00): reproduced | -1.00: one seed cannot tell |"
    assert f"| depth harms: a - b | {wanted}" in text
    kept = (results.RESULTS / "depth-digits.json").read_text()
    assert "somebody" not in kept and "/else" not in kept


def test_an_unfinished_run_or_a_readme_without_a_place_is_refused(place, tmp_path):
    run, readme = place
    with pytest.raises(ValueError, match="not finished"):
        results.run(results.Config(add=run, readme=readme))
    (tmp_path / "other.md").write_text("no place")
    with pytest.raises(ValueError, match="must hold the lines"):
        results.run(results.Config(readme=tmp_path / "other.md"))


def test_a_study_of_initialisations_is_kept_without_each_seeds_statistics(place, tmp_path):
    run, readme = place
    std = {"mean": 0.21345678, "standard_error": 0.001, "values": [0.21] * 5}
    layers = [
        {"layer": "stage1/dense", "reads_std": {**std, "mean": 1.0}, "reads_mean": std},
        {"layer": "head/dense", "reads_std": std, "reads_mean": std},
    ]
    last = {"train/loss": {"mean": 0.0123}, "validation/accuracy": {**std, "mean": 0.953}}
    study = {
        **{name: value for name, value in result(0, 0).items() if name != "test"},
        "experiment": "init_study",
        "layers": {"10 x 500 tanh": {"gaussian:std=0.01": layers}, "resnet8 on digits": {}},
        "learning": {"he": {"last": last, "diverged": None}, "bad": {"diverged": "at step 1"}},
    }
    (run / "result.json").write_text(json.dumps(study))
    for name in ("learning", "histograms-10-x-500-tanh"):
        (run / f"figures/{name}.png").write_bytes(b"picture")
    results.run(results.Config(add=run, readme=readme))
    text = readme.read_text()
    assert "| 10 x 500 tanh | gaussian:std=0.01 | 0.213 |" in text
    assert "| he | 0.0123 | 95.30 ± 0.10 % (5 seeds) |" in text and "| bad | diverged |  |" in text
    kept = json.loads((tmp_path / "results/init_study-digits.json").read_text())
    first, second = kept["layers"]["10 x 500 tanh"]["gaussian:std=0.01"]
    assert set(first) == {"layer", "reads_std"}
    assert second["reads_std"] == {"mean": 0.2135, "standard_error": 0.001}
    figures = {path.name for path in (tmp_path / "results").glob("*.png")}
    assert figures == {"init_study-digits.png", "init_study-digits-histograms-10-x-500-tanh.png"}

"""Dropout at several rates: the experiment at tiny size."""

import dataclasses
import json

import numpy as np
import pytest

from cnnlab.report.statistics import paired
from cnnlab.studies import trained
from experiments import dropout

TINY = dropout.Config(
    dataset="synthetic:60:6x6x1:3", rates=(0.0, 0.9), epochs=2, batch_size=15, seeds=2, quiet=True
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, dropout.run(dataclasses.replace(TINY, run_dir=directory))


def test_each_rate_is_compared_with_the_first(finished):
    directory, result = finished
    accuracy = {k: np.array(v["values"]) for k, v in result["accuracy by rate"].items()}
    assert list(accuracy) == ["0", "0.9"]
    (claim,) = result["claims"]
    wanted = paired(accuracy["0.9"], accuracy["0"])
    assert claim["mean"] == pytest.approx(wanted["mean"])
    assert json.loads((directory / "result.json").read_text())["claims"] == result["claims"]
    assert (directory / "figures/accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_rate_reaches_the_network(finished):
    directory, _ = finished
    losses = [
        json.loads((directory / f"rate-{r}" / "metrics.jsonl").read_text().splitlines()[-1])
        for r in ("0", "0.9")
    ]
    assert losses[0]["train/loss"] != losses[1]["train/loss"]


def test_a_resume_gives_the_same_result(finished):
    directory, result = finished
    again = dropout.run(dataclasses.replace(TINY, resume=directory))
    assert again["accuracy by rate"] == result["accuracy by rate"]


def test_the_folder_of_a_rate_is_a_run_of_the_network_with_that_dropout(finished):
    directory, _ = finished
    networks = trained.load_run(directory / "rate-0.9")
    assert networks.model_options == ("dropout=0.9",)

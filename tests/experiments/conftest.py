"""A tiny run, trained once, for the experiments that take one."""

import dataclasses

import pytest

from experiments import train


@pytest.fixture(scope="session")
def tiny_config():
    """A run of two small networks that takes a few seconds."""
    return train.Config(
        dataset="synthetic:90:6x6x1:3",
        model="mlp",
        model_options=("widths=(8,)",),
        epochs=2,
        batch_size=15,
        seeds=2,
        quiet=True,
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory, tiny_config):
    """The directory and the result of such a run."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, train.run(dataclasses.replace(tiny_config, run_dir=directory))

"""A run, exported as weights and as a program."""

import jax
import numpy as np
import pytest

from cnnlab import train
from cnnlab.models import weights
from cnnlab.studies import trained
from experiments import export


def test_a_run_is_exported_as_weights_and_as_a_program(finished, tmp_path):
    directory, _ = finished
    networks = trained.load_run(directory)
    recipe, states, splits = networks.recipe, networks.states, networks.splits
    wanted = train.predict(recipe, states, splits.test)[1]

    tensors = tmp_path / "weights.safetensors"
    export.run(export.Config(directory, tensors, seed=1))
    loaded, report = weights.load(tensors, {"params": train.member(states, 1).params})
    assert report.loaded == report.total == 4
    images = recipe.prepare(jax.random.key(0), splits.test.images)
    np.testing.assert_allclose(recipe.network.apply(loaded, images), wanted, rtol=1e-5, atol=1e-5)

    program = tmp_path / "program.stablehlo"
    export.run(export.Config(directory, program, seed=1, platforms=("cpu",)))
    call = weights.load_exported(program)
    np.testing.assert_allclose(call(splits.test.images), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(call(splits.test.images[:1]), wanted[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "seed", "message"),
    [
        ("x.pth", 0, ".safetensors or .stablehlo"),
        ("x.safetensors", 7, "0, 1"),
    ],
)
def test_an_invalid_export_is_refused(finished, tmp_path, name, seed, message):
    with pytest.raises(ValueError, match=message):
        export.run(export.Config(finished[0], tmp_path / name, seed=seed))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        export.run(export.Config(finished[0], tmp_path / "nowhere" / "x.safetensors"))

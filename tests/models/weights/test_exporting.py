"""Exports: variables that load again, and a program that computes the same."""

import errno
import os

import jax
import numpy as np
import pytest
import safetensors
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models import weights

SHAPE = (9, 8, 3)


@pytest.fixture(scope="module")
def network():
    return models.create("resnet8", 4, width=2)


@pytest.fixture(scope="module")
def variables(network, quick_jit):
    made = quick_jit(network.init)(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    noise = np.random.default_rng(0)
    stats = lambda leaf: leaf + noise.uniform(0.1, 1, leaf.shape).astype(np.float32)  # noqa: E731
    return {**made, "batch_stats": jax.tree.map(stats, made["batch_stats"])}


def test_safetensors_come_back(variables, tmp_path):
    path = tmp_path / "w.safetensors"
    # An array whose bytes lie in another order than its axes must not come back scrambled.
    turned = jax.tree.map(lambda leaf: np.asfortranarray(leaf), variables)
    weights.save_safetensors(turned, path, {"accuracy": "0.9"})
    loaded, report = weights.load(path, jax.tree.map(jnp.zeros_like, variables))
    assert report.mapping == "cnnlab"
    assert report.loaded == report.total == len(jax.tree.leaves(variables))
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)
    with safetensors.safe_open(path, "np") as file:
        assert "params/stage1/block0/conv1/kernel" in file.keys()  # noqa: SIM118
        assert file.metadata() == {"format": "cnnlab", "accuracy": "0.9"}


def test_a_wrong_extension_or_nothing_is_refused(variables, tmp_path):
    with pytest.raises(ValueError, match="must end with .safetensors"):
        weights.save_safetensors(variables, tmp_path / "w.bin")
    with pytest.raises(ValueError, match="must hold arrays"):
        weights.save_safetensors({}, tmp_path / "w.safetensors")


def test_an_exported_network_takes_any_number_of_images(network, variables, tmp_path, quick_jit):
    weights.save_exported(tmp_path / "net", weights.export(network, variables, SHAPE))
    program = weights.load_exported(tmp_path / "net")
    images = np.random.default_rng(1).standard_normal((5, *SHAPE)).astype(np.float32)
    expected = quick_jit(network.apply)(variables, images)
    np.testing.assert_allclose(program(images), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(program(images[:1]), expected[:1], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="Shape mismatch"):
        program(images[:, :4])


def test_a_fixed_batch_and_platform_can_be_asked_for(tmp_path):
    network = models.create("linear", 2)
    variables = {"params": {"head": {"dense": {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)}}}}
    exported = weights.export(network, variables, (2, 2, 1), platforms=("cpu",), batch=3)
    read = jax.export.deserialize(bytearray(exported))
    assert read.platforms == ("cpu",)
    assert [a.shape for a in read.in_avals] == [(3, 2, 2, 1)]
    with pytest.raises(ValueError, match=r"must be \(H, W, C\)"):
        weights.export(network, variables, (2, 2))


@pytest.mark.parametrize("platforms", [("cpuu",), ("cpu", "cpuu"), (), "cpu"])
def test_an_unknown_platform_is_refused(platforms):
    message = "Did you mean 'cpu'" if "cpuu" in platforms else "must be one or more of"
    with pytest.raises(ValueError, match=message):
        weights.export_function(lambda images: images, (2, 2, 1), platforms=platforms)


def test_a_file_that_cannot_be_written_is_named_before_the_work(variables, tmp_path):
    lost = tmp_path / "lost" / "w.safetensors"
    with pytest.raises(FileNotFoundError, match=r"there is no .*lost. Create it first"):
        weights.save_safetensors(variables, lost)
    with pytest.raises(FileNotFoundError, match="Create it first"):
        weights.save_exported(lost, b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="which is no folder"):
        weights.check_writable(tmp_path / "file" / "w.safetensors")
    with pytest.raises(ValueError, match="but is a folder"):
        weights.check_writable(tmp_path)
    weights.check_writable(tmp_path / "file")
    weights.check_writable("w.safetensors")


def test_a_file_that_is_no_program_is_named(tmp_path):
    path = tmp_path / "net"
    with pytest.raises(FileNotFoundError, match="net must be an exported network"):
        weights.load_exported(path)
    network = models.create("linear", 2)
    variables = {"params": {"head": {"dense": {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)}}}}
    whole = weights.export(network, variables, (2, 2, 1), platforms=("cpu",))
    for content in (b"", b"x" * 50, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="net is truncated, damaged or no exported network"):
            weights.load_exported(path)


def test_a_good_file_stays_whole_where_the_disk_is_full(tmp_path, monkeypatch):
    variables = {"params": {"kernel": np.ones(3, np.float32)}}
    weights.save_safetensors(variables, tmp_path / "a.safetensors")
    weights.save_exported(tmp_path / "a.stablehlo", b"program")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="what it held before is intact"):
        weights.save_safetensors(variables, tmp_path / "a.safetensors")
    with pytest.raises(OSError, match="what it held before is intact"):
        weights.save_exported(tmp_path / "a.stablehlo", b"other")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

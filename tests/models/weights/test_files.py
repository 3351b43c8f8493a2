"""Weights of every kind of file, by extension."""

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from cnnlab.models import weights

ARRAYS = {
    "b.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.bias": np.array([1.5, -2], ml_dtypes.bfloat16),
    "steps": np.array(3, np.int64),
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".bin"])
def test_pytorch_files_have_several_extensions(suffix, tmp_path, torch_format):
    arrays = {"w": ARRAYS["b.weight"]}
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(torch_format.checkpoint(arrays, "zip"))
    np.testing.assert_array_equal(weights.read(path)["w"], arrays["w"])


def test_safetensors_are_read_with_bfloat16(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.numpy.save(ARRAYS))
    found = weights.read(str(path))
    assert sorted(found) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="weights.safetensors is truncated"):
        weights.read(path)


def test_npz_is_read_without_objects(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **{"conv1/w": ARRAYS["b.weight"]})
    np.testing.assert_array_equal(weights.read(path)["conv1/w"], ARRAYS["b.weight"])
    np.savez(path, w=np.array([{}], object))
    with pytest.raises(ValueError, match="array of Python objects"):
        weights.read(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="weights.npz is not an .npz file"):
        weights.read(path)


def test_an_unknown_extension_is_told_the_known(tmp_path):
    with pytest.raises(ValueError, match=r"unknown kind of weights '.pkl'.*\.safetensors, \.npz"):
        weights.read(tmp_path / "weights.pkl")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.npz"])
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        weights.read(tmp_path / name)

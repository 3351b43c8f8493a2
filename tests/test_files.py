"""Files written whole or not at all, JSON documents among them."""

import dataclasses
import errno
import math
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab import files


@dataclasses.dataclass(frozen=True)
class Config:
    model: str
    sizes: tuple


def test_write_json_takes_numpy_jax_dataclasses_and_paths(tmp_path):
    value = {
        "config": Config("resnet20", (16, 32)),
        "array": np.arange(4, dtype=np.uint8).reshape(2, 2),
        "scalars": [np.float32(0.5), np.int64(3), np.bool_(True), jnp.float32(2.0)],
        "half": jnp.asarray([1.5], jnp.bfloat16),
        "bad": [math.nan, -math.inf, np.float64("nan"), np.array([np.inf])],
        "path": pathlib.Path("a") / "b",
    }
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == {
        "config": {"model": "resnet20", "sizes": [16, 32]},
        "array": [[0, 1], [2, 3]],
        "scalars": [0.5, 3, True, 2.0],
        "half": [1.5],
        "bad": [None, None, None, [None]],
        "path": os.path.join("a", "b"),
    }
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_write_json_names_where_a_value_cannot_be_written(tmp_path):
    with pytest.raises(TypeError, match=r"value\['a'\]\[1\] must be .* got object"):
        files.write_json(tmp_path / "x.json", {"a": [1, object()]})
    with pytest.raises(TypeError, match="keys of value must be strings, got 3"):
        files.write_json(tmp_path / "x.json", {3: 1})
    assert not list(tmp_path.iterdir())


def full_disk(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_write_json_on_a_full_disk_keeps_the_old_file_and_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"Free some space.*--resume.*x\.json") as raised:
        files.write_json(path, {"a": 2})
    assert raised.value.errno == errno.ENOSPC and raised.value.filename == str(path)
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_read_json_names_the_damaged_file(tmp_path):
    (tmp_path / "x.json").write_text('{"a": [1, 2')
    with pytest.raises(ValueError, match=r"x\.json must hold JSON, but it is damaged"):
        files.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"x\.json must hold JSON, but it is damaged"):
        files.read_json(tmp_path / "x.json")

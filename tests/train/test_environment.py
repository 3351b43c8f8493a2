"""The environment of a run, and what of it a bitwise resume depends on."""

import copy
import json
import os
import subprocess

import jax
import pytest

from cnnlab.train.environment import differences, environment


def test_environment_is_json_and_names_the_device_and_versions():
    got = environment(xla_flags="--a=1")
    assert json.loads(json.dumps(got)) == got
    assert got["versions"]["jax"] == jax.__version__
    assert got["device_kind"] == jax.devices()[0].device_kind
    assert got["device_count"] == len(jax.devices())
    assert got["cpu_count"] <= os.cpu_count()
    assert got["xla_flags"] == "--a=1" and got["git"] is None
    assert got["jax_config"]["x64"] == jax.config.jax_enable_x64


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_environment_has_the_commit_and_whether_files_were_changed(tmp_path):
    git(tmp_path, "init", "-q")
    assert environment(tmp_path)["git"] is None  # no commit yet
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")  # untracked: the code is what it was
    assert environment(tmp_path)["git"] == {"commit": commit, "dirty": False}
    (tmp_path / "a.py").write_text("2\n")
    assert environment(tmp_path)["git"] == {"commit": commit, "dirty": True}


def test_differences_are_none_between_equal_environments():
    now = environment()
    assert differences(now, copy.deepcopy(now)) == []


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("versions", "jaxlib"), "0.1", "jaxlib: 0.1 then"),
        (("device_kind",), "H100", "device kind: H100 then"),
        (("device_count",), 64, "device count: 64 then"),
        (("cpu_count",), 999, "CPU cores: 999 then"),
        (("xla_flags",), "--b", "XLA flags: --b then, none now"),
        (("jax_config", "x64"), "yes", "x64: yes then"),
    ],
)
def test_differences_name_each_field_that_the_bits_depend_on(keys, value, message):
    now = environment()
    before = copy.deepcopy(now)
    inner = before
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (line,) = differences(before, now)
    assert line.startswith(message)


def test_differences_pass_over_what_the_bits_do_not_depend_on():
    now = environment()
    before = {**now, "git": {"commit": "f00", "dirty": True}, "python": "3.0", "xla_flags": ""}
    assert differences(before, now) == []

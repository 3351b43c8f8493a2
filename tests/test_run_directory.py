"""The config of a run directory: its identity, and that a change of it is seen."""

import json

import pytest

from cnnlab.run_directory import (
    CONFIG,
    ResumeError,
    read_config,
    read_file,
    read_first_keep_steps,
    read_identity,
    write_config,
)

CONFIGURED = {"learning_rate": 0.1, "seed": 0, "model": "mlp", "sizes": [1, 2]}


def test_a_config_is_read_as_it_was_written_and_each_run_has_a_number_of_its_own(tmp_path):
    identities = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_config(tmp_path / name, CONFIGURED)
        assert read_config(tmp_path / name) == CONFIGURED
        identities.append(read_identity(tmp_path / name))
    assert identities[0]["run"] != identities[1]["run"]
    assert identities[0]["config"] == identities[1]["config"]


def test_every_flip_of_a_config_is_seen_or_changes_nothing(tmp_path):
    write_config(tmp_path, CONFIGURED)
    whole = (tmp_path / CONFIG).read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        (tmp_path / CONFIG).write_bytes(damaged)
        try:
            assert CONFIGURED.items() <= read_config(tmp_path).items()
        except ResumeError as error:
            assert "config.json" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("text", ["", "null", "[]", '"x"', '{"identity": 3}', '{"a": '])
def test_a_config_of_another_kind_is_refused_in_a_line(tmp_path, text):
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(ResumeError, match=r"config\.json"):
        read_config(tmp_path)


def test_a_changed_setting_is_refused(tmp_path):
    write_config(tmp_path, CONFIGURED)
    fields = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(fields | {"learning_rate": 0.3}))
    with pytest.raises(ResumeError, match="changed or damaged after the run began"):
        read_config(tmp_path)


def test_a_config_of_an_earlier_version_has_no_number(tmp_path):
    (tmp_path / CONFIG).write_text(json.dumps(CONFIGURED))
    assert read_config(tmp_path) == CONFIGURED
    assert read_identity(tmp_path)["run"] is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone", "another run's"])
def test_a_file_that_was_written_with_the_config_is_read_as_it_was_or_refused(tmp_path, damage):
    data = bytes(range(99))
    (tmp_path / "data.npz").write_bytes(data)
    write_config(tmp_path, CONFIGURED, {"data.npz": data}, keep_steps=(40, 20))
    assert read_file(tmp_path, "data.npz") == data
    assert read_file(tmp_path, "other.npz") is None
    assert read_first_keep_steps(tmp_path) == {20, 40}
    damaged = {
        "flip": bytes([data[0] ^ 1]) + data[1:],
        "cut": data[:50],
        "empty": b"",
        "another run's": data[::-1],
    }
    if damage == "gone":
        (tmp_path / "data.npz").unlink()
    else:
        (tmp_path / "data.npz").write_bytes(damaged[damage])
    with pytest.raises(
        ResumeError, match=r"data\.npz (is gone|was changed).*Bring it back"
    ) as error:
        read_file(tmp_path, "data.npz")
    assert "\n" not in str(error.value)


def test_every_flip_of_the_sums_and_steps_in_a_config_is_seen(tmp_path):
    (tmp_path / "data.npz").write_bytes(b"data")
    write_config(tmp_path, CONFIGURED, {"data.npz": b"data"}, keep_steps=(20,))
    whole = (tmp_path / CONFIG).read_bytes()
    for position in range(whole.index(b'"identity"'), len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        (tmp_path / CONFIG).write_bytes(damaged)
        try:
            assert read_first_keep_steps(tmp_path) == {20}
            assert read_file(tmp_path, "data.npz") == b"data"
        except ResumeError:
            pass

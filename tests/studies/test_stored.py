"""What a study keeps for a resume: damage is named, and it is computed again."""

import io
import json

import numpy as np

from cnnlab.run_directory import write_config
from cnnlab.studies.stored import stored_arrays, stored_json

ARRAYS = {"logits": np.arange(24, dtype=np.float32).reshape(4, 6), "few": np.ones(2)}
DOCUMENT = {"errors": [0.25, 0.125], "name": "plain20"}


def test_arrays_are_computed_once_and_every_flip_is_seen(tmp_path):
    file, said, calls = tmp_path / "measured" / "a.npz", [], []
    write_config(tmp_path, {})

    def compute():
        calls.append(1)
        return ARRAYS

    def read():
        arrays = stored_arrays(tmp_path, "measured/a.npz", compute, said.append)
        assert all((arrays[name] == value).all() for name, value in ARRAYS.items())

    read()
    read()
    assert len(calls) == 1 and not said
    whole = file.read_bytes()
    for position in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        file.write_bytes(damaged)
        read()  # compares every number: seen, or of no consequence
    for data in (b"", whole[:100]):
        file.write_bytes(data)
        said.clear()
        read()
        assert "is damaged, and is computed again" in said[0] and str(file) in said[0]
        read()
        assert len(said) == 1


def test_a_changed_number_in_a_document_is_seen(tmp_path):
    file, said = tmp_path / "result.json", []
    write_config(tmp_path, {})
    assert stored_json(tmp_path, "result.json", lambda: DOCUMENT, said.append) == DOCUMENT
    assert stored_json(tmp_path, "result.json", dict, said.append) == DOCUMENT and not said
    for text in (file.read_text().replace("0.25", "0.75"), "", "null", "[1]", '{"a": 1, "sha256"'):
        file.write_text(text)
        assert stored_json(tmp_path, "result.json", lambda: DOCUMENT, said.append) == DOCUMENT
    assert len(said) == 5
    file.write_text(json.dumps(DOCUMENT | {"name": "of an earlier version"}))
    assert (
        stored_json(tmp_path, "result.json", dict, said.append)["name"] == "of an earlier version"
    )


def test_a_file_in_another_one_s_place_or_of_another_run_is_computed_again(tmp_path):
    runs = [tmp_path / "a", tmp_path / "b"]
    for number, run in enumerate(runs):
        run.mkdir()
        write_config(run, {})
        for name in ("train", "test"):
            value = {"logits": np.full(3, number), "of": np.asarray(name)}
            stored_arrays(run, f"{name}.npz", value.copy, [].append)
            stored_json(run, f"{name}.json", {"of": name, "run": number}.copy, [].append)
    for suffix in ("npz", "json"):
        (runs[0] / f"train.{suffix}").write_bytes((runs[0] / f"test.{suffix}").read_bytes())
        (runs[0] / f"test.{suffix}").write_bytes((runs[1] / f"test.{suffix}").read_bytes())
    said = []
    for name in ("train", "test"):
        arrays = stored_arrays(
            runs[0], f"{name}.npz", lambda: {"logits": np.arange(3)}, said.append
        )
        assert arrays["logits"].tolist() == [0, 1, 2] and list(arrays) == ["logits"]
        assert stored_json(runs[0], f"{name}.json", {"new": name}.copy, said.append) == {
            "new": name
        }
    assert len(said) == 4 and all("computed again: it must be" in line for line in said)


def test_an_array_that_is_shorter_than_it_was_is_seen(tmp_path):
    """NumPy reads fewer numbers then, and never comes to the checksum at the end."""
    write_config(tmp_path, {})
    buffer = io.BytesIO()
    np.savez(buffer, errors=np.arange(1797.0))
    damaged = buffer.getvalue().replace(b"(1797,)", b"(1697,)")  # one bit
    (tmp_path / "a.npz").write_bytes(damaged)
    assert len(np.load(io.BytesIO(damaged))["errors"]) == 1697
    said = []
    arrays = stored_arrays(tmp_path, "a.npz", lambda: {"errors": np.ones(2)}, said.append)
    assert arrays["errors"].tolist() == [1, 1] and len(said) == 1

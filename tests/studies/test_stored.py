"""What a study keeps for a resume: damage is named, and it is computed again."""

import json

import numpy as np

from cnnlab.studies.stored import stored_arrays, stored_json

ARRAYS = {"logits": np.arange(24, dtype=np.float32).reshape(4, 6), "few": np.ones(2)}
DOCUMENT = {"errors": [0.25, 0.125], "name": "plain20"}


def test_arrays_are_computed_once_and_every_flip_is_seen(tmp_path):
    file, said, calls = tmp_path / "measured" / "a.npz", [], []

    def compute():
        calls.append(1)
        return ARRAYS

    def read():
        arrays = stored_arrays(file, compute, said.append)
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
        assert file.read_bytes() == whole


def test_a_changed_number_in_a_document_is_seen(tmp_path):
    file, said = tmp_path / "result.json", []
    assert stored_json(file, lambda: DOCUMENT, said.append) == DOCUMENT
    assert stored_json(file, dict, said.append) == DOCUMENT and not said
    for text in (file.read_text().replace("0.25", "0.75"), "", "null", "[1]", '{"a": 1, "sha256"'):
        file.write_text(text)
        assert stored_json(file, lambda: DOCUMENT, said.append) == DOCUMENT
    assert len(said) == 5
    file.write_text(json.dumps(DOCUMENT | {"name": "of an earlier version"}))
    assert stored_json(file, dict, said.append)["name"] == "of an earlier version"

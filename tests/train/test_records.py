"""The records of a run: metrics and events."""

import errno
import math
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.train import records


def full_disk(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# metrics.jsonl


def test_scalars_are_numbers_members_are_lists_and_nan_is_null(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = records.JsonLinesWriter(path)
    writer.write_scalars(3, {"a": 0.5, "b": np.array([1.0, np.nan]), "c": jnp.ones(1), "n": 7})
    assert path.read_text() == '{"step": 3, "a": 0.5, "b": [1.0, null], "c": 1.0, "n": 7}\n'
    writer.write_scalars(np.int64(4), {"a": jnp.inf})
    writer.close()
    first, second = records.read_metrics(path)
    assert first["b"][0] == 1.0 and math.isnan(first["b"][1])
    assert math.isnan(second["a"]) and second["step"] == 4


def test_a_value_of_two_axes_or_no_number_is_refused(tmp_path):
    writer = records.JsonLinesWriter(tmp_path / "metrics.jsonl")
    for bad in (np.ones((2, 2)), np.ones(0), "high"):
        with pytest.raises(ValueError, match=r"value of 'a' must be a number or an array \[M\]"):
            writer.write_scalars(1, {"a": bad})
    writer.close()
    assert records.read_metrics(tmp_path / "metrics.jsonl") == []


LINES = '{"step": 1, "a": 1.0}\n{"step": 2, "a": 2.0}\n{"step": 3, "a": 3.0}\n'


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        (LINES, 1),
        (LINES + '{"step": 4, "a"', 2),
        (LINES[:-1], 1),  # only the line end is missing
        (LINES + '{"step": 1, "a": 9', 2),  # torn, whatever its step
        (LINES + "\0\0\0", 2),  # what a power cut leaves
    ],
)
def test_truncate_drops_later_records_and_a_torn_line(tmp_path, text, dropped):
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    assert records.truncate(path, 2) == dropped
    assert path.read_text() == "".join(LINES.splitlines(keepends=True)[:2])


def test_truncate_keeps_a_whole_record_that_lacks_its_line_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(LINES[:-1])
    assert records.truncate(path, 3) == 0
    assert path.read_text() == LINES


def test_truncate_leaves_a_missing_file_missing(tmp_path):
    assert records.truncate(tmp_path / "metrics.jsonl", 5) == 0
    assert not list(tmp_path.iterdir())


def test_a_damaged_line_that_is_not_the_last_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for damage in ('{"step": 2, "a"', "[1]", '{"a": 1}'):
        path.write_text('{"step": 1}\n' + damage + '\n{"step": 3}\n')
        for call in (lambda: records.truncate(path, 9), lambda: records.read_metrics(path)):
            with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is damaged"):
                call()


def test_read_metrics_passes_over_a_torn_last_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(LINES + '{"step": 4')
    assert [r["step"] for r in records.read_metrics(path)] == [1, 2, 3]
    assert path.read_text() == LINES + '{"step": 4'


def test_a_record_that_does_not_fit_on_the_disk_leaves_no_trace(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "metrics.jsonl"
    writer = records.JsonLinesWriter(path)
    writer.write_scalars(1, {"a": 1.0})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A real short write: some of the record fits under the limit, the rest does not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(OSError, match="Free some space") as raised:
            writer.write_scalars(2, {"a": 2.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert raised.value.filename == str(path)
    assert path.read_bytes() == before
    writer.write_scalars(2, {"a": 2.0})  # space was made
    writer.close()
    assert [r["step"] for r in records.read_metrics(path)] == [1, 2]


# Writers


def events(folder):
    """tag -> [(step, value, wall time)], by TensorBoard's own reader."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(e.step, pytest.approx(e.value), e.wall_time) for e in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_both_writers_get_every_record_at_once(tmp_path):
    writer = records.Writers(tmp_path, clock=lambda: 1e9)
    writer.write_scalars(5, {"loss": np.array([1.0, 3.0]), "learning_rate": 0.5})
    # Neither flushed nor closed: a kill would lose nothing.
    assert records.read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 5, "loss": [1.0, 3.0], "learning_rate": 0.5}
    ]
    assert events(tmp_path / "tensorboard") == {
        "loss": [(5, 2.0, 1e9)],
        "loss/seed0": [(5, 1.0, 1e9)],
        "loss/seed1": [(5, 3.0, 1e9)],
        "learning_rate": [(5, 0.5, 1e9)],
    }
    writer.close()


def test_one_member_has_no_seed_of_its_own(tmp_path):
    writer = records.TensorBoardWriter(tmp_path)
    writer.write_scalars(1, {"loss": np.ones(1)})
    writer.close()
    assert set(events(tmp_path)) == {"loss"}


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(tmp_path):
    writer = records.Writers(tmp_path)
    for step in (1, 2, 3):
        writer.write_scalars(step, {"loss": float(step)})
    writer.close()
    writer = records.Writers(tmp_path, resume_step=2)  # within the same second
    writer.write_scalars(3, {"loss": 30.0})
    writer.close()
    got = [(r["step"], r["loss"]) for r in records.read_metrics(tmp_path / "metrics.jsonl")]
    assert got == [(1, 1.0), (2, 2.0), (3, 30.0)]
    shown = [e[:2] for e in events(tmp_path / "tensorboard")["loss"]]
    assert shown == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_a_new_run_does_not_mix_with_an_older_ones_records(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(LINES)
    with pytest.raises(FileExistsError, match="older run's records"):
        records.Writers(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == LINES


def test_events_on_a_full_disk_raise_and_name_the_folder(tmp_path, monkeypatch):
    writer = records.TensorBoardWriter(tmp_path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="Free some space") as raised:
        writer.write_scalars(1, {"loss": 1.0})
    assert raised.value.filename == str(tmp_path)
    monkeypatch.undo()
    writer.close()


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_writers_need_neither_tensorflow_nor_clu(tmp_path):
    run_python(
        "import sys; sys.modules['tensorflow'] = sys.modules['clu'] = None\n"
        "from cnnlab.train import records\n"
        f"writer = records.Writers({str(tmp_path)!r})\n"
        "writer.write_scalars(1, {'a': 1.0}); writer.close()"
    )
    assert records.read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "a": 1.0}]

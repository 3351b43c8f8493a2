"""What a run directory holds besides checkpoints: JSON, metrics, events."""

import dataclasses
import errno
import math
import os
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.train import records

# JSON documents


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
    records.write_json(tmp_path / "x.json", value)
    assert records.read_json(tmp_path / "x.json") == {
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
        records.write_json(tmp_path / "x.json", {"a": [1, object()]})
    with pytest.raises(TypeError, match="keys of value must be strings, got 3"):
        records.write_json(tmp_path / "x.json", {3: 1})
    assert not list(tmp_path.iterdir())


def full_disk(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_write_json_on_a_full_disk_keeps_the_old_file_and_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    records.write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"Free some space.*--resume.*x\.json") as raised:
        records.write_json(path, {"a": 2})
    assert raised.value.errno == errno.ENOSPC and raised.value.filename == str(path)
    assert records.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_read_json_names_the_damaged_file(tmp_path):
    (tmp_path / "x.json").write_text('{"a": [1, 2')
    with pytest.raises(ValueError, match=r"x\.json must hold JSON, but it is damaged"):
        records.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"x\.json must hold JSON, but it is damaged"):
        records.read_json(tmp_path / "x.json")


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
    writer = records.open_writers(tmp_path, clock=lambda: 1e9)
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
    writer = records.open_writers(tmp_path)
    for step in (1, 2, 3):
        writer.write_scalars(step, {"loss": float(step)})
    writer.close()
    writer = records.open_writers(tmp_path, resume_step=2)  # within the same second
    writer.write_scalars(3, {"loss": 30.0})
    writer.close()
    got = [(r["step"], r["loss"]) for r in records.read_metrics(tmp_path / "metrics.jsonl")]
    assert got == [(1, 1.0), (2, 2.0), (3, 30.0)]
    shown = [e[:2] for e in events(tmp_path / "tensorboard")["loss"]]
    assert shown == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_a_new_run_does_not_mix_with_an_older_ones_records(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(LINES)
    with pytest.raises(FileExistsError, match="older run's records"):
        records.open_writers(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == LINES


def test_events_on_a_full_disk_raise_and_name_the_folder(tmp_path, monkeypatch):
    writer = records.TensorBoardWriter(tmp_path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="Free some space") as raised:
        writer.write_scalars(1, {"loss": 1.0})
    assert raised.value.filename == str(tmp_path)
    monkeypatch.undo()
    writer.close()


def test_the_writers_are_clu_writers_with_every_method(tmp_path):
    writer = records.open_writers(tmp_path)
    interface = sys.modules["clu.metric_writers"].MetricWriter
    for kind in (records.JsonLinesWriter, records.TensorBoardWriter):
        assert issubclass(kind, interface)
        assert all(callable(getattr(kind, name)) for name in interface.__abstractmethods__)
    with pytest.raises(NotImplementedError, match="scalars only"):
        writer.write_images(1, {"x": np.zeros((2, 2, 3))})
    writer.close()


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_records_loads_neither_clu_nor_tensorboard():
    run_python(
        "import sys, cnnlab.train.records; "
        "assert not {'clu', 'tensorboardX', 'tensorflow'} & set(sys.modules)"
    )


def test_the_writers_need_no_tensorflow(tmp_path):
    run_python(
        "import sys; sys.modules['tensorflow'] = None\n"
        "from cnnlab.train import records\n"
        f"writer = records.open_writers({str(tmp_path)!r})\n"
        "writer.write_scalars(1, {'a': 1.0}); writer.close()\n"
        "from clu import metric_writers, periodic_actions\n"
        "assert isinstance(writer, metric_writers.MultiWriter)"
    )


def test_a_writer_opened_on_its_own_is_a_clu_writer(tmp_path):
    run_python(
        "from cnnlab.train import records\n"
        f"a = records.JsonLinesWriter({str(tmp_path / 'm.jsonl')!r})\n"
        "from clu.metric_writers import MetricWriter\n"
        "assert isinstance(a, MetricWriter)"
    )


def test_where_clu_finds_tensorflow_its_own_summary_writer_is_left_alone(tmp_path):
    # A stand-in for clu's TensorFlow half, for what an import of the real one would give.
    run_python(
        "import sys, types\n"
        "real = types.ModuleType('clu.metric_writers.tf.summary_writer')\n"
        "real.SummaryWriter = type('SummaryWriter', (), {})\n"
        "sys.modules['clu.metric_writers.tf.summary_writer'] = real\n"
        "from cnnlab.train import records\n"
        f"records.open_writers({str(tmp_path)!r}).close()\n"
        "from clu import metric_writers\n"
        "assert metric_writers.SummaryWriter is real.SummaryWriter"
    )

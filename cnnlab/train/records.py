"""What a run directory holds besides its checkpoints.

JSON documents written atomically, ``metrics.jsonl`` and TensorBoard events through clu's
``MetricWriter`` interface (without TensorFlow). JSON has no NaN and no infinity: both are written
as ``null``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from clu.metric_writers import MultiWriter

PathLike = str | os.PathLike[str]

METRICS_FILE = "metrics.jsonl"
EVENTS_FOLDER = "tensorboard"

# No space left, over the quota, over the limit of a file's size.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# JSON documents ------------------------------------------------------------------------------


def write_json(path: PathLike, value: Any) -> None:
    """Writes a JSON document atomically: a reader sees the old file or the new one, whole.

    Args:
      path: the file; its folder must exist.
      value: dicts with string keys, sequences, numbers, strings, None, paths, dataclasses, and
        NumPy or JAX arrays and scalars (of any dtype; an array becomes nested lists). NaN and
        infinities become null.

    Raises:
      TypeError: a value that JSON cannot hold, naming where it stands.
      OSError: the file could not be written; the old one is untouched. A full disk is said.
    """
    text = json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def read_json(path: PathLike) -> Any:
    """Reads a JSON document.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, naming the file and the place.
    """
    try:
        return json.loads(pathlib.Path(path).read_bytes())
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise ValueError(
            f"{os.fspath(path)} must hold JSON, but it is damaged: {error}. "
            "Restore it from a copy, or start the run again in a new run directory."
        ) from error


def write_bytes(path: PathLike, data: bytes) -> None:
    """Writes a file atomically: to ``NAME.tmp`` beside it, synced, then put in its place.

    Raises:
      OSError: naming the file and, on a full disk, what to do; an older file is untouched.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".tmp")
    with _named(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def plain(value: Any, where: str = "value") -> Any:
    """What `json.dumps` takes for a value: see `write_json`. ``where`` names it in errors."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: plain(getattr(value, f.name), f"{where}.{f.name}") for f in fields}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the keys of {where} must be strings, got {key!r}.")
        return {key: plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind == "V":  # bfloat16 and the other small floats
            array = array.astype(np.float64)
        if array.dtype.kind in "biufU":
            return plain(array.tolist(), where)
    raise TypeError(
        f"{where} must be something that JSON can hold, got {type(value).__name__}. "
        "Turn it into numbers, strings, lists or dicts first."
    )


@contextlib.contextmanager
def _named(path: PathLike) -> Iterator[None]:
    """Makes an OSError name the file and, on a full disk, say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            message = (
                f"{os.strerror(error.errno)} while writing this file; what it held before is "
                "intact. Free some space, then continue the run with --resume"
            )
            raise OSError(error.errno, message, os.fspath(path)) from error
        if error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
        raise


# metrics.jsonl -------------------------------------------------------------------------------


def read_metrics(path: PathLike) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl, in order, each with ``step`` and numbers or lists.

    A null is read as NaN (what it was, or an infinity). A last line that a killed run left
    half written is passed over; the file is left as it is.

    Raises:
      ValueError: another line is damaged, naming file and line.
    """
    return [_with_nan(record) for record, _ in _records(pathlib.Path(path))]


def truncate(path: PathLike, step: int) -> int:
    """Drops what a resumed run will write again: records after ``step`` and a torn last line.

    Atomic. A file that is not there is left so.

    Args:
      path: the metrics.jsonl.
      step: the step that the run resumes from; its own records stay.

    Returns:
      How many records were dropped, a torn one counted.

    Raises:
      ValueError: a line before the last is damaged, naming file and line.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return 0
    data = path.read_bytes()
    kept = [line for record, line in _records(path) if record["step"] <= step]
    wanted = b"".join(line + b"\n" for line in kept)
    if wanted != data:
        write_bytes(path, wanted)
    return len([line for line in data.split(b"\n") if line.strip()]) - len(kept)


def _records(path: pathlib.Path) -> list[tuple[dict[str, Any], bytes]]:
    """Each whole record with its line, without the line end; a torn last line left out."""
    *lines, rest = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate([*lines, rest], start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or not isinstance(record.get("step"), int):
                raise ValueError('a line must be an object with an integer "step"')
        except ValueError as error:
            if number > len(lines):  # no line end follows it: the writer was killed
                continue
            raise ValueError(
                f"{path}, line {number} is damaged: {error}. Remove that line to go on."
            ) from error
        found.append((record, line))
    return found


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return float("nan") if value is None else value


# Writers -------------------------------------------------------------------------------------


def open_writers(
    run_dir: PathLike, resume_step: int | None = None, clock: Callable[[], float] | None = None
) -> MultiWriter:
    """Opens a run's metrics.jsonl and TensorBoard events behind one clu writer.

    Args:
      run_dir: the run directory, which must exist.
      resume_step: None for a new run; else the step that is resumed: what was recorded after it
        is dropped from metrics.jsonl and hidden in TensorBoard.
      clock: () -> seconds since 1970, `time.time`, for TensorBoard's wall-time axis; without it
        the events have no time and only the step axis means something.

    Raises:
      FileExistsError: a new run where metrics.jsonl already holds records.
      OSError: a file could not be written.
    """
    multi_writer = _metric_writers().MultiWriter
    run_dir = pathlib.Path(run_dir)
    metrics = run_dir / METRICS_FILE
    if resume_step is not None:
        truncate(metrics, resume_step)
    elif metrics.exists() and metrics.stat().st_size > 0:
        raise FileExistsError(
            errno.EEXIST,
            "a new run must not write into an older run's records. Resume that run, or choose "
            "another run directory",
            str(metrics),
        )
    purge_step = None if resume_step is None else resume_step + 1
    events = TensorBoardWriter(run_dir / EVENTS_FOLDER, purge_step, clock)
    return multi_writer([JsonLinesWriter(metrics), events])


class _ScalarsOnly:
    """The parts of clu's MetricWriter that the writers here do not have."""

    def _refuse(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} writes scalars only: use write_scalars.")

    write_summaries = write_images = write_videos = write_audios = _refuse
    write_texts = write_histograms = write_hparams = _refuse


class JsonLinesWriter(_ScalarsOnly):
    """A clu MetricWriter of one JSON object a line: ``{"step": 10, "train/loss": 0.25}``.

    A value is a number or an array [M], one entry a member, written as a number where M is 1 and
    as a list else. Each record reaches the operating system before `write_scalars` returns; one
    that could not be written whole leaves no trace, and OSError is raised.
    """

    def __init__(self, path: PathLike):
        """Opens the file to append to it; see `truncate` for a run that was killed."""
        _metric_writers()
        self._path = pathlib.Path(path)
        with _named(self._path):
            self._file = self._path.open("ab", buffering=0)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        record: dict[str, Any] = {"step": int(step)}
        for key, value in scalars.items():
            members = _members(key, value)
            record[key] = members[0] if members.size == 1 else members
        line = (json.dumps(plain(record), allow_nan=False) + "\n").encode()
        end = os.fstat(self._file.fileno()).st_size
        with _named(self._path):
            try:
                while line:
                    line = line[self._file.write(line) :]
            except OSError:
                self._file.truncate(end)
                raise

    def flush(self) -> None:
        """Does nothing: nothing is held back."""

    def close(self) -> None:
        self._file.close()


class TensorBoardWriter(_ScalarsOnly):
    """A clu MetricWriter of TensorBoard events, by tensorboardX.

    Of an array [M] with M > 1, one entry a member, the mean goes under the key itself and each
    member under ``KEY/seedI``. Written and synced at each call: tensorboardX's own
    ``SummaryWriter`` writes from a thread, where a full disk would end in a silent wait.
    """

    def __init__(
        self,
        folder: PathLike,
        purge_step: int | None = None,
        clock: Callable[[], float] | None = None,
    ):
        """Starts a new event file at the first record.

        Args:
          folder: made where it is missing; earlier event files stay.
          purge_step: TensorBoard hides what earlier files have at this step and after.
          clock: () -> seconds since 1970, stamped on the events; None leaves them without time.
        """
        _metric_writers()
        self._path = pathlib.Path(folder)
        self._clock = clock
        self._purge_step = purge_step
        self._events: Any = None  # opened by the first record: tensorboardX is slow to import

    def _open(self) -> None:
        if self._events is not None:
            return
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        self._path.mkdir(parents=True, exist_ok=True)
        # The file's name holds the second; the number keeps a quick restart from its file.
        number = len(list(self._path.glob("events.out.tfevents.*")))
        self._events = EventsWriter(str(self._path / "events"), f".{number:04d}")
        if self._purge_step is not None:
            self._add(self._purge_step, session_log=SessionLog(status=SessionLog.START))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        from tensorboardX.summary import scalar

        with _named(self._path):
            self._open()
            for key, value in scalars.items():
                members = _members(key, value)
                self._add(step, summary=scalar(key, members.mean()))
                for i, member in enumerate(members if members.size > 1 else ()):
                    self._add(step, summary=scalar(f"{key}/seed{i}", member))
            self._events.flush()

    def flush(self) -> None:
        if self._events is not None:
            with _named(self._path):
                self._events.flush()

    def close(self) -> None:
        if self._events is not None:
            with _named(self._path):
                self._events.close()

    def _add(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        event = Event(step=int(step), **content)
        if self._clock is not None:
            event.wall_time = self._clock()
        self._events.write_event(event)


def _members(key: str, value: Any) -> np.ndarray:
    """A scalar's value as an array [M] of numbers."""
    array = np.asarray(value)
    if array.dtype.kind == "V":
        array = array.astype(np.float32)
    if array.ndim > 1 or array.size == 0 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"the value of {key!r} must be a number or an array [M] of numbers, one a member, got "
            f"{array.dtype} of shape {array.shape}. Reduce it first."
        )
    return array.reshape(-1)


def _metric_writers() -> Any:
    """clu.metric_writers, also where TensorFlow is not installed, which clu 0.0.12 imports."""
    try:
        import clu.metric_writers as metric_writers
    except ImportError:
        stand_in: Any = types.ModuleType("clu.metric_writers.summary_writer")
        stand_in.SummaryWriter = TensorBoardWriter
        sys.modules["clu.metric_writers.summary_writer"] = stand_in
        import clu.metric_writers as metric_writers
    for writer in (JsonLinesWriter, TensorBoardWriter):
        metric_writers.MetricWriter.register(writer)
    return metric_writers

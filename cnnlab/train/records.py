"""The records of a run: ``metrics.jsonl`` and TensorBoard events, without TensorFlow.

JSON has no NaN and no infinity: both are written as ``null``.
"""

import errno
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from cnnlab.files import PathLike, make_folder, naming, to_plain, write_bytes
from cnnlab.run_directory import METRICS

EVENTS_FOLDER = "tensorboard"


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
    data, wanted = path.read_bytes(), lines_until(path, step)
    if wanted != data:
        write_bytes(path, wanted)
    return len([line for line in data.split(b"\n") if line.strip()]) - wanted.count(b"\n")


def lines_until(path: PathLike, step: int) -> bytes:
    """The records up to ``step`` as they stand in a metrics.jsonl, each with its line end.

    Raises:
      ValueError: a line before the last is damaged, naming file and line.
    """
    records = _records(pathlib.Path(path))
    return b"".join(line + b"\n" for record, line in records if record["step"] <= step)


def _records(path: pathlib.Path) -> list[tuple[dict[str, Any], bytes]]:
    """Each whole record with its line, without the line end; a torn last line left out."""
    *lines, rest = path.read_bytes().split(b"\n")
    records = []
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
        records.append((record, line))
    return records


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return float("nan") if value is None else value


# Writers -------------------------------------------------------------------------------------


class Writers:
    """metrics.jsonl and TensorBoard events, each record to both."""

    def __init__(
        self,
        run_dir: PathLike,
        resume_step: int | None = None,
        clock: Callable[[], float] | None = None,
    ):
        """Opens both.

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
        run_dir = pathlib.Path(run_dir)
        metrics = run_dir / METRICS
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
        self._writers = (JsonLinesWriter(metrics), events)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Records numbers, or arrays [M] of one entry a member, of a step; on the disk at once."""
        for writer in self._writers:
            writer.write_scalars(step, scalars)

    def close(self) -> None:
        """Closes both files."""
        for writer in self._writers:
            writer.close()


class JsonLinesWriter:
    """Writes one JSON object a line: ``{"step": 10, "train/loss": 0.25}``.

    A value is a number or an array [M], one entry a member, written as a number where M is 1 and
    as a list else. Each record reaches the operating system before `write_scalars` returns; one
    that could not be written whole leaves no trace, and OSError is raised.
    """

    def __init__(self, path: PathLike):
        """Opens the file to append to it; see `truncate` for a run that was killed."""
        self._path = pathlib.Path(path)
        with naming(self._path):
            self._file = self._path.open("ab", buffering=0)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        record: dict[str, Any] = {"step": int(step)}
        for key, value in scalars.items():
            members = _members(key, value)
            record[key] = members[0] if members.size == 1 else members
        line = (json.dumps(to_plain(record), allow_nan=False) + "\n").encode()
        end = os.fstat(self._file.fileno()).st_size
        with naming(self._path):
            try:
                while line:
                    line = line[self._file.write(line) :]
            except OSError:
                self._file.truncate(end)
                raise

    def close(self) -> None:
        self._file.close()


class TensorBoardWriter:
    """Writes TensorBoard events, by tensorboardX.

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
        self._path = pathlib.Path(folder)
        self._clock = clock
        self._purge_step = purge_step
        self._events: EventsWriter | None = None  # opened by the first record

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        with naming(self._path):
            events = self._open()
            for key, value in scalars.items():
                members = _members(key, value)
                self._add(step, summary=scalar(key, members.mean()))
                for i, member in enumerate(members if members.size > 1 else ()):
                    self._add(step, summary=scalar(f"{key}/seed{i}", member))
            events.flush()

    def close(self) -> None:
        if self._events is not None:
            with naming(self._path):
                self._events.close()

    def _open(self) -> EventsWriter:
        if self._events is None:
            make_folder(self._path)
            # The file's name holds the second; the number keeps a quick restart from its file.
            number = len(list(self._path.glob("events.out.tfevents.*")))
            self._events = EventsWriter(str(self._path / "events"), f".{number:04d}")
            if self._purge_step is not None:
                self._add(self._purge_step, session_log=SessionLog(status=SessionLog.START))
        return self._events

    def _add(self, step: int, **content: Any) -> None:
        event = Event(step=int(step), **content)
        if self._clock is not None:
            event.wall_time = self._clock()
        self._open().write_event(event)


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

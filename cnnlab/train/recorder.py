"""The record of a training while it runs: metrics, checkpoints, the best of them, a display."""

import dataclasses
import hashlib
import math
import pathlib
import signal
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from cnnlab.processes import first_process
from cnnlab.run_directory import METRICS
from cnnlab.train.checkpoint import Checkpoints, NotFiniteError
from cnnlab.train.fit import DivergedError, Position, check_finite
from cnnlab.train.records import Writers, lines_until
from cnnlab.train.state import Recipe


class Interrupted(Exception):
    """A run was asked to stop, and has saved itself.

    Attributes:
      directory: of the run, or of the study that it is a part of.
      signal: what asked, such as ``signal.SIGTERM``; None where another process did.
      step: how far the run is.
    """

    def __init__(self, directory: pathlib.Path, step: int, number: int | None) -> None:
        self.directory, self.step, self.signal = directory, step, number
        name = "another process" if number is None else signal.Signals(number).name
        super().__init__(f"stopped by {name}; step {step} is saved in {directory}.")


class Display(Protocol):
    """A live display of a training; numbers are Python's."""

    def __enter__(self) -> Any:
        """Starts the display."""
        ...

    def __exit__(self, *exception: Any) -> Any:
        """Ends it."""
        ...

    def compiled(self, seconds: float, step: int | None = None) -> None:
        """The program was compiled."""
        ...

    def update(self, step: int, metrics: Mapping[str, float | int | str] | None = None) -> None:
        """``step`` updates are done."""
        ...


@dataclasses.dataclass(frozen=True)
class Recording:
    """How a training is recorded.

    Attributes:
      clock: seconds, such as ``time.perf_counter``, for rates.
      wall_clock: seconds since 1970, ``time.time``, for TensorBoard.
      display: makes a ``Display``, such as ``report.progress.Progress``, of the updates in all, the
        updates in an epoch, the examples in an update, the clock and the update to start from.
      checkpoint_steps: also save within an epoch, every N updates; no compiled call is longer.
      say: prints a line, such as one on a damaged checkpoint.

    Raises:
      ValueError: if ``checkpoint_steps`` is less than 1.
    """

    clock: Callable[[], float]
    wall_clock: Callable[[], float] | None = None
    display: Callable[[int, int, int, Callable[[], float], int], Display] | None = None
    checkpoint_steps: int | None = None
    say: Callable[[str], Any] = warnings.warn

    def __post_init__(self) -> None:
        if self.checkpoint_steps is not None and self.checkpoint_steps < 1:
            raise ValueError(f"checkpoint_steps must be at least 1, got {self.checkpoint_steps}.")


class Recorder:
    """Writes down what happens in one training, from its first position on.

    Args:
      directory: of the run.
      checkpoints: of the run.
      recording: how.
      recipe: that is trained.
      seeds: of its members.
      meta: of the checkpoint that is resumed: ``best``, ``seconds``.
      data: the fingerprints of its data.
      resumed: whether records are there already.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        checkpoints: Checkpoints,
        recording: Recording,
        recipe: Recipe,
        seeds: tuple[int, ...],
        meta: Mapping[str, Any],
        data: list[str],
        *,
        resumed: bool,
    ) -> None:
        self._directory, self._checkpoints, self._recording = directory, checkpoints, recording
        self._recipe, self._seeds, self._data = recipe, seeds, data
        self._best: dict[str, Any] | None = meta["best"]
        self.seconds: float = meta["seconds"]  # of training, over all sittings, when last recorded
        self._seconds_before = self.seconds
        self._resumed = resumed
        self._began = recording.clock()
        self._display: Display = _Silent()
        self._writers: Writers | None = None
        self._first_step = self._saved_step = 0
        self._one_is_saved = False

    def start(self, first: Position, total_steps: int, batch_size: int) -> None:
        """Starts the display at the first position, whose program is compiled."""
        recording = self._recording
        self._first_step = self._saved_step = first.step
        self._one_is_saved = bool(self._checkpoints.steps())
        if recording.display is not None and first_process():
            examples = batch_size * len(self._seeds)
            self._display = recording.display(
                total_steps, first.steps_per_epoch, examples, recording.clock, first.step
            )
        self._display.__enter__()
        self._display.compiled(recording.clock() - self._began)

    def record(self, at: Position) -> None:
        """Shows a position; writes down and saves the end of an epoch, and before a stop.

        Raises:
          DivergedError: if a number that would be saved is not finite.
          CheckpointError: if a checkpoint could not be written.
        """
        self.seconds = self._seconds_before + self._recording.clock() - self._began
        self._display.update(at.step, _to_floats(at.arrived))
        every = self._recording.checkpoint_steps
        if at.metrics is not None:
            self._save(at, self._write(at, at.metrics))
        elif at.stopped or (every and at.step - self._saved_step >= every):
            self._save(at, None)

    def close(self) -> None:
        """Ends the display and closes the files."""
        self._display.__exit__(None, None, None)
        if self._writers is not None:
            self._writers.close()

    def _write(self, at: Position, metrics: Mapping[str, Any]) -> float | None:
        """Writes the metrics of an epoch; returns its score on the validation part, if any."""
        score = None
        if "validation/accuracy" in metrics:
            score = float(np.mean(metrics["validation/accuracy"]))
        elif "validation/loss" in metrics:
            score = -float(np.mean(metrics["validation/loss"]))
        if score is not None and not math.isfinite(score):
            score = None
        if score is not None and (self._best is None or score > self._best["score"]):
            self._best = {"score": score, "step": at.step, "epoch": at.epoch}
        if first_process():
            if self._writers is None:
                resume_step = self._first_step if self._resumed else None
                clock = self._recording.wall_clock
                self._writers = Writers(self._directory, resume_step, clock)
            self._writers.write_scalars(at.step, {"epoch": at.epoch, **metrics})
        return score

    def _save(self, at: Position, score: float | None) -> None:
        meta: dict[str, Any] = {"best": self._best, "seconds": self.seconds, "data": self._data}
        if first_process():
            meta["metrics"] = metrics_digest(self._directory, at.step)
        # Calls are under way since the last check.
        check_finite(at.sums, self._seeds, self._recipe)
        tree = {"states": at.states, "sums": at.sums}
        try:
            self._checkpoints.save(at.step, tree, meta, score=score)
        except NotFiniteError:
            schedule = self._recipe.schedule
            rate = None if schedule is None else float(schedule(at.step - 1))
            raise DivergedError(at.step - 1, self._seeds, rate) from None
        if not self._one_is_saved:
            # On the disk before a second epoch is recorded: so records of two epochs without a
            # checkpoint mean that the checkpoints are gone, not that none was saved yet.
            self._checkpoints.wait()
            self._one_is_saved = True
        self._saved_step = at.step


def metrics_digest(directory: pathlib.Path, step: int) -> str | None:
    """The SHA-256 sum of the records up to ``step``; None where there are none."""
    path = directory / METRICS
    lines = lines_until(path, step) if path.is_file() else b""
    return hashlib.sha256(lines).hexdigest() if lines else None


class _Silent:
    """The display that shows nothing."""

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: Any) -> None: ...

    def compiled(self, seconds: float, step: int | None = None) -> None: ...

    def update(self, step: int, metrics: Any = None) -> None: ...


def epoch_line(at: Position) -> str:
    """The metrics at the end of an epoch as a line of text, means over the members."""
    assert at.metrics is not None
    means = {name: float(np.mean(value)) for name, value in at.metrics.items()}
    line = f"epoch {at.epoch}: " + _part_text(means, "train")
    for part in ("validation", "watched"):
        if f"{part}/loss" in means:
            line += f"; {part} " + _part_text(means, part)
    members = np.size(at.metrics["train/loss"])
    return line if members == 1 else f"{line} (means of {members} seeds)"


def _to_floats(metrics: Mapping[str, np.ndarray] | None) -> dict[str, float] | None:
    if metrics is None:
        return None
    return {name: float(np.mean(value)) for name, value in metrics.items()}


def _part_text(means: Mapping[str, float], part: str) -> str:
    text = f"loss {means[f'{part}/loss']:.4f}"
    if f"{part}/accuracy" in means:
        text += f", accuracy {100 * means[f'{part}/accuracy']:.2f} %"
    return text

"""What becomes of a training while it runs: records, checkpoints, a display, an orderly stop."""

import pathlib
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np

from cnnlab.train import records
from cnnlab.train.checkpoint import NotFiniteError
from cnnlab.train.fit import DivergedError, Position, check_finite
from cnnlab.train.state import Recipe

if TYPE_CHECKING:
    from cnnlab.train.run import Run


class Interrupted(Exception):
    """A run was asked to stop, and has saved itself.

    Attributes:
      signal: what asked, such as ``signal.SIGTERM``; None where another process did.
      step: how far the run is.
    """

    def __init__(self, directory: pathlib.Path, step: int, number: int | None) -> None:
        self.directory, self.step, self.signal = directory, step, number
        name = "a signal" if number is None else signal.Signals(number).name
        super().__init__(f"stopped by {name}; step {step} is saved in {directory}.")


class Display(Protocol):
    """What shows a run, such as ``cnnlab.report.progress.Progress``; numbers are Python's."""

    def compiled(self, seconds: float, step: int | None = None) -> None:
        """The program was compiled."""
        ...

    def update(self, step: int, metrics: Mapping[str, float | int | str] | None = None) -> None:
        """So many updates are done."""
        ...

    def epoch(self, line: str) -> None:
        """An epoch is over."""
        ...

    def message(self, text: str) -> None:
        """Anything else."""
        ...


class Recorder:
    """Follows an iterator of ``Position`` and writes down what happens."""

    def __init__(
        self,
        run: "Run",
        recipe: Recipe,
        seeds: tuple[int, ...],
        meta: dict[str, Any],
        data: list[str],
        clock: Callable[[], float],
        checkpoint_steps: int | None,
    ) -> None:
        self._run = run
        self._recipe, self._seeds = recipe, seeds
        self._best: dict[str, Any] | None = meta["best"]
        self._seconds_before = meta["seconds"]
        self._data = data
        self._clock = clock
        self._checkpoint_steps = checkpoint_steps

    def follow(
        self,
        iterator: Iterator[Position],
        epochs: int,
        settings: Mapping[str, Any],
        display: Callable[..., Any] | None,
        wall_clock: Callable[[], float] | None,
    ) -> Iterator[Position]:
        """Yields the ends of epochs."""
        run, began = self._run, self._clock()
        run.seconds = self._seconds_before
        first = next(iterator, None)
        if first is None:
            return  # the run was over already
        examples = settings.get("batch_size", 128) * len(self._seeds)
        total = epochs * first.steps_per_epoch
        writer = None
        shown: Any = _Silent()
        if display is not None and first_process():
            shown = display(
                total, first.steps_per_epoch, examples, self._clock, start_step=first.step
            )
        saved = first.step
        try:
            with shown:
                shown.compiled(self._clock() - began)
                for at in iterator:
                    run.seconds = self._seconds_before + self._clock() - began
                    shown.update(at.step, _plain(at.arrived))
                    if at.metrics is not None:
                        if writer is None and first_process():
                            begun = first.step if run.resumed else None
                            writer = records.open_writers(run.directory, begun, wall_clock)
                        self._end_of_epoch(at, writer, shown)
                        saved = at.step
                        yield at
                    elif at.stopped or (
                        self._checkpoint_steps and at.step - saved >= self._checkpoint_steps
                    ):
                        self._save(at, None)
                        saved = at.step
                    if at.stopped:
                        run.checkpoints.wait()
                        raise Interrupted(run.directory, at.step, run.stop.received)
                run.checkpoints.wait()
        finally:
            run.stop.__exit__()  # what comes after the training is not stopped by saving it
            if writer is not None:
                writer.close()

    def _end_of_epoch(self, at: Position, writer: Any, shown: Any) -> None:
        assert at.metrics is not None
        score = None
        if "validation/accuracy" in at.metrics:
            score = float(np.mean(at.metrics["validation/accuracy"]))
        elif "validation/loss" in at.metrics:
            score = -float(np.mean(at.metrics["validation/loss"]))
        if score is not None and (self._best is None or score > self._best["score"]):
            self._best = {"score": score, "step": at.step, "epoch": at.epoch}
        if writer is not None:
            writer.write_scalars(at.step, {"epoch": at.epoch, **at.metrics})
            writer.flush()
        self._save(at, score)
        shown.epoch(_line(at))

    def _save(self, at: Position, score: float | None) -> None:
        meta = {"best": self._best, "seconds": self._run.seconds, "data": self._data}
        check_finite(
            at.sums, self._seeds, self._recipe
        )  # calls are under way behind the last check
        tree = {"states": at.states, "sums": at.sums}
        try:
            self._run.checkpoints.save(at.step, tree, meta, score=score)
        except NotFiniteError:
            schedule = self._recipe.schedule
            rate = None if schedule is None else float(schedule(at.step - 1))
            raise DivergedError(at.step - 1, self._seeds, rate) from None


class _Silent:
    """The display that shows nothing."""

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *exception: Any) -> None: ...

    def compiled(self, seconds: float, step: int | None = None) -> None: ...

    def update(self, step: int, metrics: Any = None) -> None: ...

    def epoch(self, line: str) -> None: ...

    def message(self, text: str) -> None: ...


def _plain(metrics: Mapping[str, np.ndarray] | None) -> dict[str, float] | None:
    if metrics is None:
        return None
    return {name: float(np.mean(value)) for name, value in metrics.items()}


def _line(at: Position) -> str:
    assert at.metrics is not None
    figures = {name: float(np.mean(value)) for name, value in at.metrics.items()}
    line = f"epoch {at.epoch}: " + _part(figures, "train")
    if "validation/loss" in figures:
        line += "; validation " + _part(figures, "validation")
    members = np.size(at.metrics["train/loss"])
    return line if members == 1 else f"{line} (means of {members} seeds)"


def _part(figures: Mapping[str, float], part: str) -> str:
    text = f"loss {figures[f'{part}/loss']:.4f}"
    if f"{part}/accuracy" in figures:
        text += f", accuracy {100 * figures[f'{part}/accuracy']:.2f} %"
    return text


def first_process() -> bool:
    """Whether this process is the one that writes files."""
    return jax.process_index() == 0

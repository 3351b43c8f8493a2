"""A live display of a run's progress, from numbers that have already arrived.

Nothing here touches the device: the metrics are Python numbers, and a device array is refused
rather than waited for. On a terminal a bar is kept up to date; elsewhere one plain line is
printed for each epoch.
"""

from __future__ import annotations

import collections
import numbers
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import rich.console

# The rate is that of the last updates within this many seconds.
_WINDOW_SECONDS = 30.0


class Progress:
    """Shows epoch, step, examples a second, time left and the latest metrics.

        with Progress(1000, 100, 128, clock=time.perf_counter) as progress:
            progress.compiled(3.2)
            progress.update(100, {"loss": 0.41})
            progress.epoch("epoch 1: loss 0.41, accuracy 87.2 %")

    The rate is examples over time, counted from `compiled` (or from the ``with``) and smoothed
    over the last half minute; whatever lies between two updates is in it, evaluation too.
    """

    def __init__(
        self,
        total_steps: int,
        steps_per_epoch: int,
        examples_per_step: int,
        clock: Callable[[], float],
        console: rich.console.Console | None = None,
        *,
        start_step: int = 0,
        quiet: bool = False,
    ):
        """Prepares the display; the ``with`` starts it.

        Args:
          total_steps: the run's steps, >= 1, those before a resume counted.
          steps_per_epoch: >= 1.
          examples_per_step: images that one step trains on, >= 1, over all devices.
          clock: () -> seconds, never going back, such as `time.perf_counter`.
          console: rich's; None for one on the standard output.
          start_step: the step that a resumed run continues from, in [0, total_steps].
          quiet: print nothing at all.

        Raises:
          ValueError: a number out of its range.
        """
        for name, value in (
            ("total_steps", total_steps),
            ("steps_per_epoch", steps_per_epoch),
            ("examples_per_step", examples_per_step),
        ):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}.")
        if not 0 <= start_step <= total_steps:
            raise ValueError(f"start_step must lie in [0, {total_steps}], got {start_step}.")
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._examples_per_step = examples_per_step
        self._clock = clock
        self._step = start_step
        self._metrics: dict[str, float | int | str] = {}
        self._marks: collections.deque[tuple[float, int]] = collections.deque()
        self._console: Any = None if quiet else console
        self._make_console = not quiet and console is None
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self._make_console:
            import rich.console  # noqa: PLC0415 only where a run is shown

            self._console = rich.console.Console()
        self._restart_rate(self._step)
        if self._console is not None and self._console.is_terminal:
            self._bar = _bar(self._console)
            self._task = self._bar.add_task("", total=self._total_steps, **self._fields())
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def compiled(self, seconds: float, step: int | None = None) -> None:
        """Prints how long compiling took, and counts the rate from now on.

        Args:
          seconds: what the compilation took.
          step: the last step done by now, where the call that compiled also ran steps: these
            are left out of the rate. None: that of the latest update.
        """
        self._step = self._step if step is None else step
        self._restart_rate(self._step)
        self.message(f"compiled in {seconds:.1f} s")

    def update(self, step: int, metrics: Mapping[str, float | int | str] | None = None) -> None:
        """Shows that ``step`` steps of the run are done, and the latest metrics.

        Args:
          step: in [0, total_steps]; not below the last one.
          metrics: name -> Python number (or text) that has already arrived; None keeps the last.

        Raises:
          TypeError: a metric that is an array: reading it would make the device wait.
          ValueError: a step out of range.
        """
        if not self._step <= step <= self._total_steps:
            raise ValueError(
                f"step must lie in [{self._step}, {self._total_steps}] (never going back), got "
                f"{step}."
            )
        for name, value in (metrics or {}).items():
            if not isinstance(value, numbers.Real | str):
                raise TypeError(
                    f"metrics must be Python numbers, got {type(value).__name__} for {name!r}. "
                    "Pass what has already arrived on the host, as float(value)."
                )
        if metrics is not None:
            self._metrics = dict(metrics)
        self._step = step
        self._mark(step)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, **self._fields())

    def epoch(self, line: str) -> None:
        """Prints an epoch's line; where there is no bar, with the rate and the time left."""
        if self._bar is None and self.rate is not None:
            line = f"{line}  ({self._rate_text()}, {self._left_text()})"
        self.message(line)

    def message(self, text: str) -> None:
        """Prints a line, above the bar where there is one."""
        if self._console is not None:
            # soft_wrap: a line stays one line; markup off: brackets are just brackets.
            self._console.print(_printable(text), markup=False, highlight=False, soft_wrap=True)

    @property
    def rate(self) -> float | None:
        """Examples a second, smoothed; None as long as nothing was measured."""
        if len(self._marks) < 2:
            return None
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) * self._examples_per_step / (end - start) if end > start else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end of the run at that rate; None without a rate."""
        if not self.rate:
            return None
        return (self._total_steps - self._step) * self._examples_per_step / self.rate

    def _restart_rate(self, step: int) -> None:
        self._marks.clear()
        self._mark(step)

    def _mark(self, step: int) -> None:
        now = self._clock()
        self._marks.append((now, step))
        # The oldest mark kept is the last one that is a window old, so that epochs longer than
        # the window still have a rate.
        while len(self._marks) > 2 and self._marks[1][0] <= now - _WINDOW_SECONDS:
            self._marks.popleft()

    def _fields(self) -> dict[str, str]:
        epochs = -(-self._total_steps // self._steps_per_epoch)
        epoch = min(self._step // self._steps_per_epoch + 1, epochs)
        metrics = "  ".join(f"{name} {_number(value)}" for name, value in self._metrics.items())
        return {
            "epoch": f"epoch {epoch}/{epochs}",
            "rate": self._rate_text(),
            "left": self._left_text(),
            "metrics": _printable(metrics),
        }

    def _rate_text(self) -> str:
        if self.rate is None:
            return ""
        return f"{self.rate:,.{0 if self.rate >= 100 else 1}f} images/s"

    def _left_text(self) -> str:
        return "" if self.seconds_left is None else f"{_duration(self.seconds_left)} left"


def _bar(console: rich.console.Console) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn  # noqa: PLC0415 only where a run is shown
    from rich.progress import Progress as Bar  # noqa: PLC0415 only where a run is shown

    def text(name: str) -> TextColumn:
        return TextColumn("{task.fields[" + name + "]}", markup=False)

    columns = (text("epoch"), BarColumn(bar_width=20), MofNCompleteColumn())
    more = (text("rate"), text("left"), text("metrics"))
    return Bar(*columns, *more, console=console, transient=True, refresh_per_second=4)


def _number(value: float | int | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable() or c == "\n")

"""SIGTERM (a cluster's warning) and Ctrl-C as a flag that a loop can ask."""

import signal
from types import FrameType
from typing import Any


class StopSignals:
    """Turns the first SIGTERM or Ctrl-C into a flag; the second one acts as ever.

    Called, it returns whether one has come.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self.received is not None

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread, where signals are somebody else's
                return self
        return self

    def __exit__(self, *exception: Any) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = number
        signal.signal(number, self._before.get(number, signal.SIG_DFL))

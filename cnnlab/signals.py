"""SIGTERM (a cluster's warning), Ctrl-C and SIGHUP: saved and stopped in training, else ended."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class StopSignals:
    """Turns the first of the signals into a flag that a loop can ask; the second acts as ever.

    Called, it returns whether one has come.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self.received is not None

    def __enter__(self) -> "StopSignals":
        for number in _heeded():
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not in the main thread, where signals are somebody else's
                return self
        return self

    def __exit__(self, *exception: Any) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            return
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, frame)
        else:
            signal.signal(number, before)
            os.kill(os.getpid(), number)


class ExitSignals:
    """Ends the process at the first of the signals, at once and wherever it is; a context manager.

    A KeyboardInterrupt can be swallowed, by an import or a destructor, or has to wait for a library
    to come back from C++; so a thread ends the process, with the exit status 128 + number that
    shells use. Whatever is written atomically stays whole. While ``StopSignals`` listens, it has
    the signals. Outside of the main thread this does nothing.

    Args:
      last_words: called with the number before the end; must not raise.
    """

    def __init__(self, last_words: Callable[[int], Any]) -> None:
        self._last_words = last_words
        self._ending = threading.Lock()
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1
        self._writer: socket.socket | None = None

    def __enter__(self) -> "ExitSignals":
        if threading.current_thread() is not threading.main_thread():
            return self
        reader, writer = socket.socketpair()
        self._writer = writer
        writer.setblocking(False)
        threading.Thread(target=self._listen, args=(reader,), daemon=True).start()
        # Python writes the number of each signal there, even while a library is in C++.
        self._wakeup_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._handler = self._end
        for number in _heeded():
            self._before[number] = signal.signal(number, self._handler)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._writer is None:
            return
        while self._before:
            signal.signal(*self._before.popitem())
        signal.set_wakeup_fd(self._wakeup_before)
        self._writer.close()

    def _listen(self, reader: socket.socket) -> None:
        with reader:
            while numbers := reader.recv(64):
                for number in numbers:
                    if number in self._before and signal.getsignal(number) is self._handler:
                        self._end(number, None)

    def _end(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._ending.acquire(blocking=False):
            try:
                self._last_words(number)
            finally:
                os._exit(128 + number)


def take_signals_back() -> None:
    """Makes Python's handlers count again where a library has put its own in their place in C++.

    JAX does so with SIGTERM in a run of several processes: it then only notes the signal.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _heeded():
            signal.signal(number, signal.getsignal(number))


def _heeded() -> Iterator[int]:
    """The signals that exist here and are Python's, but those that are to be ignored (nohup)."""
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # None is a handler of another library, which could not be put back.
        if number is not None and signal.getsignal(number) not in (None, signal.SIG_IGN):
            yield number

"""Which process of a run over several is gone: each is told at once, by the operating system.

JAX itself notices after its heartbeat's time-out, or ends the process from C++ without saying which
other one is missing. Here every process keeps a connection open to the first one, which is closed
when a process ends, however it ends.
"""

import contextlib
import ctypes
import signal
import socket
import threading
from collections.abc import Callable
from typing import IO, Any

_HELLO, _GONE, _BYE = "cnnlab", "gone", "bye"


class Watch:
    """One process's connections to the others: closed by ``leave``, or by the end of the process.

    Args:
      process: which one this is, from 0.
      lost: called once, in a thread, with the number of a process that is gone.
    """

    def __init__(self, process: int, lost: Callable[[int], Any]) -> None:
        self._process, self._lost = process, lost
        self._peers: dict[int, socket.socket] = {}
        self._guard = threading.Lock()
        self._left = False

    def listen(self) -> int:
        """Waits for the other processes, on the first one; returns the port."""
        server = socket.create_server(("", 0))
        self._start(self._accept, server)
        return int(server.getsockname()[1])

    def connect(self, host: str, port: int) -> None:
        """Connects to the first process, on another one.

        Raises:
          OSError: if it cannot be reached.
        """
        peer = socket.create_connection((host, port), timeout=20)
        peer.settimeout(None)
        peer.sendall(f"{_HELLO} {self._process}\n".encode())
        with self._guard:
            self._peers[0] = peer
        self._start(self._follow, 0, peer, peer.makefile())

    def stop(self) -> None:
        """Calls ``lost`` no more; the others still notice the end of this process."""
        with self._guard:
            self._left = True

    def leave(self) -> None:
        """Tells the others that this process ends as it should."""
        with self._guard:
            self._left = True
            for peer in self._peers.values():
                with contextlib.suppress(OSError):
                    peer.sendall(f"{_BYE}\n".encode())

    def _start(self, function: Callable[..., Any], *arguments: Any) -> None:
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            peer, _ = server.accept()
            self._start(self._greet, peer)

    def _greet(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            lines = peer.makefile()
            word, number = lines.readline(40).split()
            if word == _HELLO:
                with self._guard:
                    self._peers[int(number)] = peer
                self._follow(int(number), peer, lines)

    def _follow(self, number: int, peer: socket.socket, lines: IO[str]) -> None:
        """Waits until a process says goodbye, or is gone."""
        words = []
        with contextlib.suppress(OSError):  # reset: gone
            _notice_a_dead_machine(peer)
            words = lines.readline(40).split()
        if words == [_BYE]:
            return
        gone = int(words[1]) if len(words) == 2 and words[0] == _GONE else number
        with self._guard:
            if self._left:
                return
            self._left = True
            others = [each for other, each in self._peers.items() if other != gone]
            for each in others:
                with contextlib.suppress(OSError):
                    each.sendall(f"{_GONE} {gone}\n".encode())
        self._lost(gone)


def exit_late_on_abort() -> None:
    """Lets ``abort`` wait some seconds before it ends the process, where there is a C library.

    JAX aborts from C++ when the first process is gone; what ``Watch`` calls might come too late.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # Windows
        library = ctypes.CDLL(None)
        library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        # The handler of SIGABRT, which is number 6, is called with the number: sleep(6).
        library.signal(int(signal.SIGABRT), ctypes.cast(library.sleep, ctypes.c_void_p))


def _notice_a_dead_machine(peer: socket.socket) -> None:
    """Asks every few seconds whether the other machine is still there."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

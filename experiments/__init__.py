"""Entry modules: ``python -m experiments.NAME --help``, or from Python ``Config`` and ``run``."""

import os
import pathlib
import signal
import sys


def _end(number: int, frame: object) -> None:
    os.write(2, f"stopped by {signal.Signals(number).name}.\n".encode())
    os._exit(128 + number)


# On a command line, Ctrl-C ends the process without a trace while it still imports; ``cli.main``
# then has its own handlers. Python calls a program "-m" until its module is found.
if (
    pathlib.PurePath(sys.argv[0] if sys.argv else "").name in ("-m", "cnnlab")
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _end)

"""Runs experiments one after another in one process beside this one, and says how each ended.

Starting Python, JAX and a compiled program takes longer than a tiny training, and so does drawing:
no figures are saved. What ends the process (a crash, a hang) is an outcome, too: the next
experiment gets a new process.

    with Worker() as worker:
        outcome = worker.run("train", ["--resume", "runs/digits-resnet8-1"])
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, Literal

Ending = Literal["finished", "refused", "trace", "crash", "hang"]


@dataclasses.dataclass
class Outcome:
    """How an experiment ended.

    Attributes:
      ending: "finished", "refused" with a message of this project, or else.
      message: of the refusal, or the last lines of the trace.
      output: what was printed, standard error too.
      seconds: until then.
    """

    ending: Ending
    message: str
    output: str
    seconds: float = 0.0


class Worker:
    """A process that runs experiments; a context manager.

    Args:
      limit: the seconds that an experiment may take before the process is killed.
      environment: variables besides those of this process.
    """

    def __init__(self, limit: float = 120.0, environment: dict[str, str] | None = None) -> None:
        self._limit = limit
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def run(self, experiment: str, arguments: Sequence[str]) -> Outcome:
        """Runs ``python -m experiments.EXPERIMENT ARGUMENTS`` and waits for it.

        Raises:
          InterruptedError: if somebody else ended the process by SIGTERM.
        """
        began = time.monotonic()
        if self._process is None:
            command = [sys.executable, "-m", "benchmarks.in_process"]
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._process = subprocess.Popen(
                command, stderr=subprocess.DEVNULL, env=self._environment, bufsize=0, **pipes
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write((json.dumps([experiment, *arguments]) + "\n").encode())
        line = b""
        while not line.endswith(b"\n"):
            left = self._limit - (time.monotonic() - began)
            ready, _, _ = select.select([self._process.stdout], [], [], max(left, 0))
            data = os.read(self._process.stdout.fileno(), 2**16) if ready else b""
            if not data:
                self._process.kill()
                status = self._process.wait()
                self._process = None
                if status in (-signal.SIGTERM, 128 + signal.SIGTERM):
                    raise InterruptedError(f"somebody ended the process of {experiment}.")
                text = f"exit status {status}" if ready else f"no end in {self._limit:g} s"
                ending: Ending = "crash" if ready else "hang"
                return Outcome(ending, text, "", time.monotonic() - began)
            line += data
        return Outcome(**json.loads(line), seconds=time.monotonic() - began)


def _run(experiment: str, arguments: list[str]) -> Outcome:
    from experiments import cli

    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            cli.main(f"experiments.{experiment}", arguments)
        except SystemExit as stop:
            if stop.code not in (None, 0):
                message = stop.code if isinstance(stop.code, str) else output.getvalue()
                return Outcome("refused", message, output.getvalue())
        except BaseException:
            return Outcome("trace", traceback.format_exc()[-1500:], output.getvalue())
    return Outcome("finished", "", output.getvalue())


def main() -> None:
    """Reads a command a line, and answers with how it ended."""
    from cnnlab.report import drawing

    drawing.save = lambda figure, path: pathlib.Path(path)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library in C++ prints is no answer
    for line in sys.stdin:
        experiment, *arguments = json.loads(line)
        outcome = dataclasses.asdict(_run(experiment, arguments))
        del outcome["seconds"]
        answers.write(json.dumps(outcome) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

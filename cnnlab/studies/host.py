"""The process around a study: the library itself reads no clock and prints nothing.

Importing this module imports no jax.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Host:
    """The process around a study.

    Attributes:
      say: prints a line, ``print`` on a command line.
      clock: seconds, never going back, ``time.perf_counter``.
      wall_clock: seconds since 1970, ``time.time``.
      xla_flags: the process's XLA_FLAGS, which results depend on.
      project: a folder of the git working tree that the code comes from.
      opened: is told the run directory, once it is there.
    """

    say: Callable[[str], Any]
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    xla_flags: str | None
    project: pathlib.Path
    opened: Callable[[pathlib.Path], Any] = lambda directory: None

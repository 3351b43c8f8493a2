"""Agreement of the processes of one run over several hosts."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def first_process() -> bool:
    """True where this process is the one that writes files."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """True where ``flag`` is set on any process: the same answer on all."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.int32(flag))))


def wait_for_all(name: str) -> None:
    """Waits until every process has come here; ``name`` says where in messages."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_first_process(number: int) -> int:
    """The number that the first process has."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))
